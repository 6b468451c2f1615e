//! Which connections are those of clients that were just banned, and when they are looked for. Pure: nothing here touches the kernel.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::decision::{BAN_LENGTH_MIN_V4, BAN_LENGTH_MIN_V6, BanCause};
use seawall_engine::units::Timestamp;

use super::netlink::Connection;
use super::table::Desired;

/// How often connections of clients that were banned are looked for, at most: the kernel goes through all there are for it.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long those of a client that went on after refusals wait for others: nothing comes in by them any more, and in line the gate
/// has closed the one that it went on by, while beside a web server each keeps its place there for so long. While a flood is
/// handed down, somebody is in each second.
const PATIENCE: Duration = Duration::from_secs(5);

/// Banned clients whose connections are to be ended.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) networks: BTreeSet<IpNet>,
    /// When the first of them can wait no longer.
    due: Timestamp,
    /// Before this nobody's are looked for again.
    at: Timestamp,
}

impl Ending {
    /// Takes in one that was banned now.
    pub(super) fn add(&mut self, network: IpNet, cause: BanCause, now: Timestamp) {
        let due = if matches!(cause, BanCause::Rule(_)) { now + PATIENCE } else { now };
        self.due = if self.networks.is_empty() { due } else { self.due.min(due) };
        self.networks.insert(network);
    }

    /// Whether they are to be looked for now.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        !self.networks.is_empty() && now >= self.due.max(self.at)
    }

    /// All were looked for.
    pub(super) fn done(&mut self, now: Timestamp) {
        self.networks.clear();
        self.at = now + INTERVAL;
    }
}

/// The first `count_max` among `connections`, on the guarded ports, that are of clients in the networks of `ending`, and whether these
/// are all.
pub(super) fn of_banned<'c>(
    connections: &'c [Connection],
    ending: &BTreeSet<IpNet>,
    desired: Desired<'_>,
    count_max: usize,
) -> (Vec<&'c Connection>, bool) {
    let is_banned = |peer: IpAddr| {
        // Every length that a ban can have; a client's own first, which most are.
        let lengths = if peer.is_ipv4() { (BAN_LENGTH_MIN_V4..=32).rev() } else { (BAN_LENGTH_MIN_V6..=64).rev() };
        let network = |length| IpNet::new(peer, length).ok().map(|network| network.trunc());
        lengths.filter_map(network).any(|network| ending.contains(&network))
            && !desired.never_ban.iter().any(|entry| entry.contains(&peer))
    };
    let guarded = connections.iter().filter(|connection| desired.ports.contains(&connection.local_port));
    let mut banned = guarded.filter(|connection| is_banned(connection.peer));
    let first = banned.by_ref().take(count_max).collect();
    (first, banned.next().is_none())
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::{Bans, RuleId};

    use super::*;

    #[test]
    fn a_client_of_the_largest_network_that_can_be_banned_is_found() {
        let network = |text: &str| text.parse::<IpNet>().expect("a network");
        let (ports, never_ban, bans) = ([443].into(), [network("203.0.113.9/32")].into(), Bans::new(0));
        let desired = Desired { ports: &ports, never_ban: &never_ban, bans: &bans };
        let found = |peer: &str, port: u16, banned: &str| {
            let connection = Connection::between(peer.parse().expect("an address"), port);
            of_banned(&[connection], &[network(banned)].into(), desired, 1) == (vec![&connection], true)
        };
        assert!(found("203.0.113.7", 443, "203.0.113.7/32"));
        assert!(found("203.0.113.7", 443, "192.0.0.0/4"));
        assert!(found("2001:db8::7", 443, "2000::/12") && found("2001:db8::7", 443, "2001:db8::/64"));
        assert!(!found("203.0.113.9", 443, "192.0.0.0/4"), "it is protected");
        assert!(!found("203.0.113.7", 22, "192.0.0.0/4"), "it is another port");
        assert!(!found("198.51.100.7", 443, "203.0.113.7/32"));
    }

    #[test]
    fn clients_that_went_on_after_refusals_wait_for_each_other_and_nobody_waits_for_them() {
        let network = |text: &str| text.parse::<IpNet>().expect("a network");
        let after = |seconds: u64| Timestamp::from_seconds(1_700_000_000 + seconds);
        let rule = BanCause::Rule(RuleId(1));
        let mut ending = Ending::default();
        assert!(!ending.is_due(after(0)));
        for second in 0..5 {
            ending.add(network(&format!("203.0.113.{second}/32")), rule, after(second));
            assert!(!ending.is_due(after(second)));
        }
        assert!(ending.is_due(after(5)), "the first has waited for long enough");
        ending.done(after(5));
        assert!(!ending.is_due(after(60)));
        ending.add(network("203.0.113.7/32"), rule, after(5));
        ending.add(network("198.51.100.7/32"), BanCause::Operator, after(5));
        assert_eq!([5, 6].map(|second| ending.is_due(after(second))), [false, true], "once in a second at most");
    }

    #[test]
    fn what_is_more_than_can_be_ended_at_once_is_told() {
        let (ports, never_ban, bans) = ([443].into(), BTreeSet::new(), Bans::new(0));
        let desired = Desired { ports: &ports, never_ban: &never_ban, bans: &bans };
        let connections = [Connection::between(IpAddr::from([203, 0, 113, 7]), 443); 3];
        let ending = ["203.0.113.0/24".parse().expect("a network")].into();
        let found = |count_max| {
            let (found, are_all) = of_banned(&connections, &ending, desired, count_max);
            (found.len(), are_all)
        };
        assert_eq!([found(2), found(3), found(4)], [(2, false), (3, true), (3, true)]);
    }
}
