//! Who the clients are: an address for each, its group, its agent; and when each group's visits come.
//!
//! The address is the only thing that tells one label from the other, and only the drill knows which is whose.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use fastrand::Rng;

use super::arrivals;
use super::scenario::{Group, Label, Order, Scenario};

/// All clients of a scenario.
pub(crate) struct Population {
    /// For each group, the addresses of its clients.
    addresses: Vec<Vec<Ipv4Addr>>,
    /// The group of each address.
    groups: HashMap<Ipv4Addr, u16>,
    labels: Vec<Label>,
}

/// One client of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientId {
    /// The group's place in the scenario.
    pub(crate) group: u16,
    /// Its number in the group.
    pub(crate) number: u32,
}

/// A client comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Visit {
    /// When, after the start of the drill.
    pub(crate) at: Duration,
    /// Who.
    pub(crate) client: ClientId,
    /// Where the visit's own randomness comes from.
    pub(crate) seed: u64,
}

impl Population {
    /// Gives every client its address: networks are drawn out of 127.1.0.0 to 127.254.255.0 and shared by no two groups.
    pub(crate) fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut random = Rng::with_seed(mix(seed, 0xADD2));
        let mut taken = HashSet::new();
        let mut groups = HashMap::new();
        let mut addresses = Vec::with_capacity(scenario.groups.len());
        for (index, group) in (0_u16..).zip(&scenario.groups) {
            let count = group.networks.unwrap_or_else(|| group.clients.min(NETWORKS_MAX));
            let mut networks = Vec::with_capacity(count as usize);
            while networks.len() < count as usize && taken.len() < NETWORKS_ALL {
                let network = (random.u8(1..=254), random.u8(..));
                if taken.insert(network) {
                    networks.push(network);
                }
            }
            let of_group: Vec<_> = (0..group.clients)
                .filter_map(|number| {
                    let (second, third) = *networks.get(number as usize % networks.len().max(1))?;
                    let place = number as usize / networks.len().max(1);
                    // 1 to 250 in an order of the network's own, so that the last byte says nothing.
                    let last = (place * 37 + usize::from(third)) % 250 + 1;
                    Some(Ipv4Addr::new(127, second, third, u8::try_from(last).unwrap_or(1)))
                })
                .collect();
            groups.extend(of_group.iter().map(|address| (*address, index)));
            addresses.push(of_group);
        }
        Self { addresses, groups, labels: scenario.groups.iter().map(|group| group.label).collect() }
    }

    /// The address of a client.
    pub(crate) fn address(&self, client: ClientId) -> Option<Ipv4Addr> {
        self.addresses.get(usize::from(client.group))?.get(client.number as usize).copied()
    }

    /// Which label an address has.
    pub(crate) fn label(&self, address: Ipv4Addr) -> Option<Label> {
        self.labels.get(usize::from(*self.groups.get(&address)?)).copied()
    }
}

/// The most networks that one group without `networks` takes; then clients share them.
const NETWORKS_MAX: u32 = 20_000;

/// 127.1.0.0/24 to 127.254.255.0/24
const NETWORKS_ALL: usize = 254 * 256;

/// Every visit of a scenario, in order of time.
pub(crate) fn visits(scenario: &Scenario, seed: u64) -> Vec<Visit> {
    let mut visits = Vec::new();
    for (index, group) in (0_u16..).zip(&scenario.groups) {
        let begins = group.begins(scenario.onset);
        let ends = group.ends.map_or(scenario.duration.0, |ends| ends.0);
        let mut random = Rng::with_seed(mix(seed, 0x1000 + u64::from(index)));
        let moments = arrivals::moments(group.arrivals, ends.saturating_sub(begins), &mut random);
        visits.extend(moments.into_iter().enumerate().map(|(number, moment)| Visit {
            at: begins + moment,
            client: ClientId { group: index, number: draw_client(group, number, &mut random) },
            seed: random.u64(..),
        }));
    }
    visits.sort_by_key(|visit| visit.at);
    visits
}

/// Who makes the visit of this number.
pub(crate) fn draw_client(group: &Group, visit: usize, random: &mut Rng) -> u32 {
    match group.order {
        Order::Random => random.u32(0..group.clients),
        Order::Rotating => u32::try_from(visit % group.clients as usize).unwrap_or(0),
    }
}

/// The seed of a client's own lasting traits.
pub(crate) fn client_seed(seed: u64, client: ClientId) -> u64 {
    mix(mix(seed, u64::from(client.group) + 1), u64::from(client.number))
}

/// Another seed out of two numbers (SplitMix64's finaliser), so that neighbours have nothing in common.
pub(crate) const fn mix(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
