//! Bans of single clients merged into networks when there are too many: the smallest networks that hold the least innocent
//! traffic, up to a budget.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Innocent;
use crate::address::AddressSet;

/// The largest networks that are made, as prefix lengths: one provider's pool, and one customer's or two's.
const LENGTH_MIN_V4: u8 = 16;
const LENGTH_MIN_V6: u8 = 40;

/// What was merged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// The networks that stand for two or more of before, each with the number of its group. None of them lies in another of its group.
    pub networks: Vec<(u32, IpNet)>,
    /// How many entries there are after it, those not merged among them.
    pub entries: usize,
    /// The share of all innocent traffic that comes from the new networks, 0 to 1.
    pub innocent_share: f32,
}

/// A merge that could be made: the smallest network around two neighbours.
#[derive(Clone, Copy)]
struct Candidate {
    /// Innocent traffic within it.
    innocent: f32,
    /// Its size: the number of bits that it leaves open.
    open_bits: u8,
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.innocent.total_cmp(&other.innocent).then(self.open_bits.cmp(&other.open_bits))
    }
}

/// Merges neighbours of one group among `networks`, each of which has the number of its group, until at most `entries_max` are left, the
/// least harmful merge first, and stops before the networks that are more than one client hold more than `innocent_share_max` of all
/// innocent traffic, those among them that were merged before, or anybody on the never-ban list.
pub fn merge(
    mut networks: Vec<(u32, IpNet)>,
    entries_max: usize,
    innocent: &Innocent,
    innocent_share_max: f32,
    never_ban: &AddressSet,
) -> Merged {
    networks.sort_unstable();
    networks.dedup();
    let (groups, mut networks): (Vec<u32>, Vec<IpNet>) = networks.into_iter().unzip();
    let mut shares: Vec<(IpNet, f32)> = innocent.shares().collect();
    shares.sort_unstable_by_key(|(network, _)| *network);
    let within = |network: IpNet| -> f32 {
        let from = shares.partition_point(|(share, _)| share.broadcast() < network.network());
        let inside = shares.iter().skip(from).take_while(|(share, _)| share.network() <= network.broadcast());
        inside.filter(|(share, _)| share.addr().is_ipv4() == network.addr().is_ipv4()).map(|(_, share)| share).sum()
    };
    let candidate = |(left, right): (usize, usize), networks: &[IpNet]| -> Option<(Candidate, IpNet)> {
        if groups.get(left) != groups.get(right) {
            return None;
        }
        let around = around(*networks.get(left)?, *networks.get(right)?)?;
        (!never_ban.overlaps(around)).then(|| {
            let open_bits = around.max_prefix_len() - around.prefix_len();
            (Candidate { innocent: within(around), open_bits }, around)
        })
    };
    // A doubly linked list over indices: an entry that was merged away leads to nowhere.
    let mut next: Vec<usize> = (1..=networks.len()).collect();
    let mut previous: Vec<usize> = (0..networks.len()).map(|index| index.wrapping_sub(1)).collect();
    let mut merged = vec![false; networks.len()];
    let mut gone = vec![false; networks.len()];
    let mut heap = BinaryHeap::new();
    for index in 0..networks.len() {
        if let Some((cost, around)) = candidate((index, index + 1), &networks) {
            heap.push(Reverse((cost, index, index + 1, around)));
        }
    }
    // What was merged before is paid for with the same budget, or each merge would have all of it.
    let mut is_paid: Vec<bool> = networks.iter().map(|network| is_of_many(*network)).collect();
    let of_many = networks.iter().filter(|network| is_of_many(**network));
    let (mut entries, mut spent) = (networks.len(), of_many.map(|network| within(*network)).sum::<f32>());
    while entries > entries_max {
        let Some(Reverse((cost, left, right, around_both))) = heap.pop() else { break };
        // Neighbours change with each merge: what was reckoned for others is out of date.
        if gone[left]
            || gone[right]
            || next[left] != right
            || around(networks[left], networks[right]) != Some(around_both)
        {
            continue;
        }
        let before =
            [left, right].iter().filter(|index| is_paid[**index]).map(|index| within(networks[*index])).sum::<f32>();
        if spent - before + cost.innocent > innocent_share_max {
            continue;
        }
        spent += cost.innocent - before;
        networks[left] = around_both;
        (merged[left], is_paid[left], gone[right]) = (true, true, true);
        next[left] = next[right];
        if let Some(after) = previous.get_mut(next[left]) {
            *after = left;
        }
        entries -= 1;
        let neighbours = [(previous[left], left), (left, next[left])];
        for (one, other) in neighbours {
            if let Some((cost, around)) = candidate((one, other), &networks) {
                heap.push(Reverse((cost, one, other, around)));
            }
        }
    }
    let kept = groups.into_iter().zip(networks).zip(merged).zip(gone).filter(|((_, merged), gone)| *merged && !gone);
    Merged { networks: kept.map(|((network, _), _)| network).collect(), entries, innocent_share: spent }
}

/// Whether it is more than one client: an address, or of IPv6 a /64.
fn is_of_many(network: IpNet) -> bool {
    network.prefix_len() < if network.addr().is_ipv4() { 32 } else { 64 }
}

/// The smallest network that holds both, if it is not too large.
fn around(left: IpNet, right: IpNet) -> Option<IpNet> {
    let length = left.prefix_len().min(right.prefix_len());
    let network = match (left.addr(), right.addr()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let common = (one.to_bits() ^ other.to_bits()).leading_zeros() as u8;
            IpNet::V4(Ipv4Net::new(one, length.min(common)).ok()?.trunc())
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let common = (one.to_bits() ^ other.to_bits()).leading_zeros() as u8;
            IpNet::V6(Ipv6Net::new(one, length.min(common)).ok()?.trunc())
        }
        _ => return None,
    };
    let least = if network.addr().is_ipv4() { LENGTH_MIN_V4 } else { LENGTH_MIN_V6 };
    (network.prefix_len() >= least).then_some(network)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::address::ClientAddress;

    fn network(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    /// These, of one group.
    fn networks(texts: &[&str]) -> Vec<(u32, IpNet)> {
        texts.iter().map(|text| (0, network(text))).collect()
    }

    #[test]
    fn the_densest_neighbours_are_merged_first() {
        let bans = networks(&["192.0.2.8/32", "192.0.2.9/32", "192.0.9.1/32", "203.0.113.5/32"]);
        let merged = merge(bans.clone(), 3, &Innocent::new(), 1.0, &AddressSet::default());
        assert_eq!((merged.networks, merged.entries), (networks(&["192.0.2.8/31"]), 3));
        // Those too far apart stay.
        let merged = merge(bans, 1, &Innocent::new(), 1.0, &AddressSet::default());
        assert_eq!((merged.networks, merged.entries), (networks(&["192.0.0.0/20"]), 2));
    }

    #[test]
    fn only_what_is_of_one_group_is_merged() {
        let bans: Vec<(u32, IpNet)> = (0..8)
            .map(|host| (host % 2, network(&format!("192.0.2.{host}/32"))))
            .chain([(2, network("192.0.2.9/32"))])
            .collect();
        let merged = merge(bans, 1, &Innocent::new(), 1.0, &AddressSet::default());
        assert_eq!(merged.networks, [(0, network("192.0.2.0/29")), (1, network("192.0.2.0/29"))]);
        assert_eq!(merged.entries, 3);
    }

    #[test]
    fn innocent_traffic_is_spared_within_the_budget() {
        let mut innocent = Innocent::new();
        innocent.serve(ClientAddress::new("192.0.2.77".parse().expect("an address")), 60.0);
        innocent.serve(ClientAddress::new("10.0.0.1".parse().expect("an address")), 40.0);
        let bans = networks(&["192.0.2.8/32", "192.0.2.9/32", "198.51.100.1/32", "198.51.103.1/32"]);
        let merged = merge(bans.clone(), 2, &innocent, 0.1, &AddressSet::default());
        assert_eq!(merged.networks, networks(&["198.51.100.0/22"]));
        assert_eq!((merged.entries, merged.innocent_share), (3, 0.0));
        let merged = merge(bans, 2, &innocent, 1.0, &AddressSet::default());
        assert_eq!(merged.entries, 2);
        assert!((merged.innocent_share - 0.6).abs() < 0.01, "{}", merged.innocent_share);
    }

    #[test]
    fn what_was_merged_before_has_a_part_of_the_budget() {
        let mut innocent = Innocent::new();
        for number in 0..1_000_u32 {
            // One in a hundred at each of the two places.
            let address = match number % 100 {
                0 => network("192.0.2.77/32").addr(),
                1 => network("198.51.100.77/32").addr(),
                _ => Ipv4Addr::from_bits(number << 8).into(),
            };
            innocent.serve(ClientAddress::new(address), 1.0);
        }
        let bans = networks(&["192.0.2.8/32", "192.0.2.9/32", "198.51.100.8/32", "198.51.100.9/32"]);
        let first = merge(bans, 1, &innocent, 0.015, &AddressSet::default());
        assert_eq!((first.networks.len(), first.entries), (1, 3), "the budget is for one of them");
        // The next time the others come, and more of them.
        let again: Vec<(u32, IpNet)> =
            first.networks.iter().copied().chain(networks(&["198.51.100.8/32", "198.51.100.9/32"])).collect();
        let second = merge(again, 1, &innocent, 0.015, &AddressSet::default());
        assert_eq!((second.networks, second.entries), (vec![], 3));
        assert!((second.innocent_share - 0.01).abs() < 0.001, "{}", second.innocent_share);
    }

    #[test]
    fn nobody_protected_is_merged_in() {
        let never_ban = AddressSet::new([network("192.0.2.10/32")]);
        let bans = networks(&["192.0.2.8/32", "192.0.2.12/32"]);
        assert_eq!(merge(bans, 1, &Innocent::new(), 1.0, &never_ban).networks, []);
    }

    proptest! {
        #[test]
        fn everybody_stays_banned_and_nothing_is_larger_than_allowed(
            hosts in proptest::collection::vec(any::<u32>().prop_map(|bits| bits & 0xC003_07FF), 1..200),
            entries_max in 0_usize..50,
        ) {
            let bans: Vec<IpNet> =
                hosts.iter().map(|bits| ClientAddress::new(Ipv4Addr::from_bits(*bits).into()).prefix(32)).collect();
            let distinct: std::collections::BTreeSet<IpNet> = bans.iter().copied().collect();
            let bans = bans.into_iter().map(|ban| (0, ban)).collect();
            let mut merged = merge(bans, entries_max, &Innocent::new(), 1.0, &AddressSet::default());
            let networks: Vec<IpNet> = merged.networks.drain(..).map(|(_, network)| network).collect();
            let left = distinct.iter().filter(|ban| !networks.iter().any(|network| network.contains(*ban)));
            prop_assert_eq!(left.count() + networks.len(), merged.entries);
            prop_assert!(networks.iter().all(|network| network.prefix_len() >= LENGTH_MIN_V4));
            for (index, one) in networks.iter().enumerate() {
                prop_assert!(!networks[..index].iter().any(|other| other.contains(one) || one.contains(other)));
                prop_assert!(distinct.iter().filter(|ban| one.contains(*ban)).count() >= 2);
            }
        }
    }
}
