//! Networks to refuse: which of several bans counts, who is spared within them, and bans that overlap taken apart.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv6Net};
use seawall_engine::address::AddressSet;
use seawall_engine::decision::expression::{Asked, Expression, Subject, View};
use seawall_engine::observation::attribute::Attribute;
use seawall_engine::units::Timestamp;

use super::Why;

/// How much of an IPv6 address is one client: any host can take any address of its /64 (RFC 8981).
const CLIENT_LENGTH: u8 = 64;

/// A network that is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Whom.
    pub network: IpNet,
    /// Until when; for good when there is no end.
    pub expires: Option<Timestamp>,
}

/// The networks that a rule is about, if it asks for nothing else.
pub(super) fn of_rule(expression: &Expression) -> Result<Vec<IpNet>, Why> {
    match expression.view() {
        View::Asks(Subject::Attribute(Attribute::ClientPrefix), Asked::Networks(networks)) => Ok(networks),
        _ => Err("it is about requests, and a packet filter sees packets".to_owned()),
    }
}

/// A ban of an IPv6 address is of its /64, as it is in the guard.
pub fn of_client(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(network) if network.prefix_len() > CLIENT_LENGTH => {
            IpNet::V6(Ipv6Net::new_assert(network.addr(), CLIENT_LENGTH).trunc())
        }
        network => network.trunc(),
    }
}

/// Every network once, none within another.
pub(super) fn distinct(networks: &[IpNet]) -> Vec<IpNet> {
    AddressSet::new(networks.iter().copied()).networks().collect()
}

/// The bans that last, one for each network, in order, and how many were left out since they are of nobody but those who are never banned.
pub(super) fn bans(bans: &[Ban], never_ban: &[IpNet], now: Timestamp) -> (Vec<Ban>, usize) {
    let mut longest = BTreeMap::<IpNet, Option<Timestamp>>::new();
    for ban in bans.iter().filter(|ban| ban.expires.is_none_or(|expires| expires > now)) {
        let canonical = AddressSet::new([ban.network]).networks().next().unwrap_or(ban.network);
        let found = longest.entry(canonical).or_insert(ban.expires);
        *found = later(*found, ban.expires);
    }
    let before = longest.len();
    longest.retain(|network, _| !never_ban.iter().any(|never| never.contains(network)));
    let spared = before - longest.len();
    (longest.into_iter().map(|(network, expires)| Ban { network, expires }).collect(), spared)
}

/// Keeps so many of the bans, those that last longest, in their order; returns how many were left out.
pub(super) fn keep_longest(bans: &mut Vec<Ban>, most: usize) -> usize {
    let too_many = bans.len().saturating_sub(most);
    if too_many > 0 {
        // Of those that end together the larger networks hold more.
        let end = |ban: &Ban| ban.expires.map_or(u64::MAX, Timestamp::as_micros);
        bans.sort_by_key(|ban| (Reverse(end(ban)), ban.network.prefix_len(), ban.network));
        bans.truncate(most);
        bans.sort_by_key(|ban| ban.network);
    }
    too_many
}

/// The same bans without overlap: nft refuses sets of intervals that do. Each address keeps the ban that lasts longest.
pub(super) fn disjoint(bans: &[Ban]) -> Vec<Ban> {
    // Outer networks come before those within them.
    let mut sorted: Vec<Ban> = bans.to_vec();
    sorted.sort_by_key(|ban| (ban.network.network(), ban.network.prefix_len()));
    let mut kept = Vec::<Ban>::new();
    // Those around the present one, outermost first.
    let mut around = Vec::<Ban>::new();
    for ban in sorted {
        around.retain(|outer| outer.network.contains(&ban.network));
        if around.iter().any(|outer| later(outer.expires, ban.expires) == outer.expires) {
            continue;
        }
        around.push(ban);
        kept.push(ban);
    }
    let mut pieces = Vec::new();
    for (index, ban) in kept.iter().enumerate() {
        let inner = kept.get(index + 1..).unwrap_or_default();
        let inner = inner.iter().map(|inner| inner.network).take_while(|inner| ban.network.contains(inner));
        carve(ban.network, &inner.collect::<Vec<_>>(), &mut |network| pieces.push(Ban { network, ..*ban }));
    }
    pieces
}

/// What of `network` is in none of `holes`, which all lie within it.
pub(crate) fn carve(network: IpNet, holes: &[IpNet], piece: &mut impl FnMut(IpNet)) {
    let within: Vec<IpNet> = holes.iter().copied().filter(|hole| network.contains(hole)).collect();
    if within.is_empty() && !holes.iter().any(|hole| hole.contains(&network)) {
        return piece(network);
    }
    if holes.iter().any(|hole| hole.contains(&network)) {
        return;
    }
    // One bit more: two halves. A network with a hole in it is longer than none.
    for half in network.subnets(network.prefix_len() + 1).into_iter().flatten() {
        carve(half, &within, piece);
    }
}

/// The later of two ends, none being later than any.
fn later(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.zip(other).map(|(one, other)| one.max(other))
}

/// A network as most systems write it: an address alone without its length.
pub(crate) fn short(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ban(network: &str, end: u64) -> Ban {
        let expires = (end > 0).then(|| Timestamp::from_seconds(end));
        Ban { network: network.parse().expect("a network"), expires }
    }

    #[test]
    fn the_longest_ban_of_a_network_counts_and_the_never_banned_are_left_out() {
        let given = [
            ban("192.0.2.1/32", 50),
            ban("192.0.2.1/32", 70),
            ban("192.0.2.2/32", 10),
            ban("198.51.100.7/32", 90),
            ban("203.0.113.0/24", 0),
            ban("203.0.113.0/24", 90),
            ban("::ffff:192.0.2.9/128", 90),
        ];
        let never = ["198.51.100.0/24".parse().expect("a network"), "203.0.113.7/32".parse().expect("a network")];
        let (kept, spared) = bans(&given, &never, Timestamp::from_seconds(20));
        assert_eq!(kept, [ban("192.0.2.1/32", 70), ban("192.0.2.9/32", 90), ban("203.0.113.0/24", 0)]);
        assert_eq!(spared, 1);
    }

    #[test]
    fn an_ipv6_client_is_its_64() {
        for (given, expected) in
            [("2001:db8::7/128", "2001:db8::/64"), ("2001:db8::/48", "2001:db8::/48"), ("192.0.2.7/32", "192.0.2.7/32")]
        {
            assert_eq!(of_client(given.parse().expect("a network")).to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn bans_taken_apart_end_when_they_did_and_overlap_nowhere(
            given in proptest::collection::vec((0_u8..16, 24_u8..=32, 0_u64..6), 0..12),
        ) {
            let given: Vec<Ban> = given
                .into_iter()
                .map(|(last, length, end)| {
                    let network: IpNet = format!("192.0.2.{}/{length}", last * 16).parse().expect("a network");
                    Ban { network: network.trunc(), expires: (end > 0).then(|| Timestamp::from_seconds(end)) }
                })
                .collect();
            let (given, _) = bans(&given, &[], Timestamp::EPOCH);
            let pieces = disjoint(&given);
            for last in 0..=255_u8 {
                let address: std::net::IpAddr = [192, 0, 2, last].into();
                let longest = given.iter().filter(|ban| ban.network.contains(&address)).map(|ban| ban.expires).reduce(later);
                let found: Vec<_> = pieces.iter().filter(|ban| ban.network.contains(&address)).map(|ban| ban.expires).collect();
                prop_assert_eq!(found, longest.into_iter().collect::<Vec<_>>(), "{}", address);
            }
        }
    }
}
