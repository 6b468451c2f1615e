//! Bans: networks whose connections are not taken at all, until a stated moment.
//!
//! Owns who is banned, why and until when, in a table with a stated maximum; [`merge`](merge()) makes room in it. It never
//! looks at requests: the gate has its own look-up form of it ([`crate::gate::BanSet`]).

mod innocent;
mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::RuleId;
use crate::address::{AddressSet, ClientAddress, canonical_network};
use crate::units::{Timestamp, counted};

pub use innocent::Innocent;
pub use merge::{Merged, merge};

/// The longest that anybody is banned: a year. What is meant for longer belongs into a firewall's own configuration.
pub const BAN_DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The longest reason that is kept, in characters.
pub const REASON_CHARACTERS_MAX: usize = 200;

/// The largest networks that can be banned, as prefix lengths: a sixteenth of IPv4, and what a registry has.
const LENGTH_MIN_V4: u8 = 4;
const LENGTH_MIN_V6: u8 = 12;

/// Who or what banned a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "rule")]
pub enum BanCause {
    /// A client that went on although this rule refused it.
    Rule(RuleId),
    /// A client that sent more than a limit allows. The reason says which.
    Limit,
    /// The same of a client that a trusted proxy names, whom no packet filter here can see.
    ProxiedLimit,
    /// The operator said so.
    Operator,
    /// It was read from another program's file.
    Import,
    /// Bans of clients, merged to make room.
    Merged,
}

impl BanCause {
    /// Whether packets of whom it is about can come here with their own address.
    pub const fn is_for_packets(self) -> bool {
        !matches!(self, Self::ProxiedLimit)
    }
}

/// A network that is banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Whom it is about; of an IPv6 address its /64, since any host can take any address of it.
    pub network: IpNet,
    /// When it was made.
    pub since: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// Who or what made it.
    pub cause: BanCause,
    /// Why, for people; at most [`REASON_CHARACTERS_MAX`] characters, none of which is a control character.
    pub reason: Option<Arc<str>>,
}

/// Why a network cannot be banned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// It lies within what is never banned.
    #[error("it is on the never-ban list")]
    Protected {
        /// The entry of that list.
        entry: IpNet,
    },
    /// It is too large.
    #[error("a /{length} is too large a network to ban; the largest is a /{least}")]
    TooLarge {
        /// Its prefix length.
        length: u8,
        /// The least that is taken.
        least: u8,
    },
    /// The table is full.
    #[error("there are {entries_max} bans already, and there is room for no more")]
    Full {
        /// The most that there can be.
        entries_max: usize,
    },
}

/// The network of one client: an IPv4 address, or the /64 of an IPv6 address.
pub fn client_network(address: ClientAddress) -> IpNet {
    address.prefix(if address.ip().is_ipv4() { 32 } else { 64 })
}

/// A network as it is banned: an IPv4-mapped one as IPv4, without host bits, and of IPv6 nothing longer than a /64.
pub fn ban_network(network: IpNet) -> IpNet {
    match canonical_network(network) {
        IpNet::V6(net) if net.prefix_len() > 64 => IpNet::V6(Ipv6Net::new_assert(net.addr(), 64).trunc()),
        network => network,
    }
}

/// Who is banned. Ordered by network, so that it is shown and written in the same order each time.
#[derive(Clone, Debug)]
pub struct Bans {
    bans: BTreeMap<IpNet, Ban>,
    /// The same by their ends, so that what has not ended need not be looked at.
    ends: BTreeSet<(Timestamp, IpNet)>,
    /// Networks whose bans came, went or changed since they were last [taken](Self::take_changed).
    changed: BTreeSet<IpNet>,
    entries_max: usize,
}

impl Bans {
    /// An empty table for at most `entries_max` bans.
    pub const fn new(entries_max: usize) -> Self {
        Self { bans: BTreeMap::new(), ends: BTreeSet::new(), changed: BTreeSet::new(), entries_max }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bans.is_empty()
    }

    /// Every one.
    pub fn iter(&self) -> impl Iterator<Item = &Ban> {
        self.bans.values()
    }

    /// The ban of exactly this network.
    pub fn get(&self, network: IpNet) -> Option<&Ban> {
        self.bans.get(&ban_network(network))
    }

    /// Takes a ban in. One of the same network is replaced by whichever lasts longer; the operator's word goes before
    /// others'. Says whether anything changed.
    ///
    /// # Errors
    /// When nobody may ban that network, or there is no room. Nothing has changed then.
    pub fn add(&mut self, mut ban: Ban, never_ban: &AddressSet) -> Result<bool, BanError> {
        ban.network = check(ban.network, never_ban)?;
        ban.expires = ban.expires.min(ban.since + BAN_DURATION_MAX);
        if let Some(present) = self.bans.get(&ban.network) {
            let is_operators = ban.cause == BanCause::Operator;
            let is_stronger = is_operators || (present.cause != BanCause::Operator && ban.expires > present.expires);
            if !is_stronger || *present == ban {
                return Ok(false);
            }
        } else if self.bans.len() >= self.entries_max {
            return Err(BanError::Full { entries_max: self.entries_max });
        }
        self.put(ban);
        Ok(true)
    }

    fn put(&mut self, ban: Ban) {
        let (network, expires) = (ban.network, ban.expires);
        self.changed.insert(network);
        if let Some(before) = self.bans.insert(network, ban) {
            self.ends.remove(&(before.expires, network));
        }
        self.ends.insert((expires, network));
    }

    /// Takes a ban back.
    pub fn remove(&mut self, network: IpNet) -> Option<Ban> {
        let ban = self.bans.remove(&ban_network(network))?;
        self.ends.remove(&(ban.expires, ban.network));
        self.changed.insert(ban.network);
        Some(ban)
    }

    /// Takes every ban back that `is_kept` does not want, and says how many.
    pub fn retain(&mut self, is_kept: impl Fn(&Ban) -> bool) -> usize {
        let gone: Vec<IpNet> = self.iter().filter(|ban| !is_kept(ban)).map(|ban| ban.network).collect();
        gone.iter().for_each(|network| drop(self.remove(*network)));
        gone.len()
    }

    /// Takes back what has ended, and says how many that were. Looks at nothing else.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        let mut gone = 0;
        while let Some((_, network)) = self.ends.first().copied().filter(|(expires, _)| *expires <= now) {
            self.remove(network);
            gone += 1;
        }
        gone
    }

    /// The networks whose bans came, went or changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<IpNet> {
        std::mem::take(&mut self.changed)
    }

    /// Whether the table is so full that clients should be merged into networks.
    pub fn is_tight(&self) -> bool {
        self.bans.len() >= self.entries_max - self.entries_max / 8
    }

    /// Merges bans of single clients that rules and limits made, until half of the table is free or nothing more can be merged within
    /// `innocent_share_max` of `innocent` traffic. Says what was merged into what.
    pub fn make_room(
        &mut self,
        innocent: &Innocent,
        innocent_share_max: f32,
        never_ban: &AddressSet,
        now: Timestamp,
    ) -> Merged {
        let mergeable = |ban: &&Ban| matches!(ban.cause, BanCause::Rule(_) | BanCause::Limit | BanCause::Merged);
        let networks: Vec<IpNet> = self.iter().filter(mergeable).map(|ban| ban.network).collect();
        let others = self.bans.len() - networks.len();
        let wanted = (self.entries_max / 2).saturating_sub(others);
        let merged = merge(networks, wanted, innocent, innocent_share_max, never_ban);
        for network in &merged.networks {
            // In their order those within a network follow each other.
            let start = network.network();
            let after = self.bans.range(IpNet::from(start).min(*network)..).map(|(_, ban)| ban);
            let inside = after.skip_while(|ban| ban.network.addr() < start);
            let inside = inside.take_while(|ban| ban.network.addr() <= network.broadcast());
            let within: Vec<IpNet> = inside.filter(mergeable).map(|ban| ban.network).collect();
            let gone: Vec<Ban> = within.into_iter().filter_map(|network| self.remove(network)).collect();
            let expires = gone.iter().map(|ban| ban.expires).max().unwrap_or(now);
            let reason = format!("{} of clients, merged to make room", counted(gone.len() as u64, "ban"));
            let (cause, reason) = (BanCause::Merged, Some(reason.into()));
            self.put(Ban { network: *network, since: now, expires, cause, reason });
        }
        merged
    }
}

/// The network that a ban of `network` is about, if it may be banned.
///
/// # Errors
/// When it is protected or too large.
pub fn check(network: IpNet, never_ban: &AddressSet) -> Result<IpNet, BanError> {
    let asked = canonical_network(network);
    let network = ban_network(network);
    let least = if network.addr().is_ipv4() { LENGTH_MIN_V4 } else { LENGTH_MIN_V6 };
    if network.prefix_len() < least {
        return Err(BanError::TooLarge { length: network.prefix_len(), least });
    }
    // A protected address within a larger network is spared by the allow set, which is asked first; it does not make the
    // whole network exempt. An IPv6 address is asked for as itself: its /64 is the client.
    let whole = never_ban.networks().find(|entry| entry.contains(&network) || entry.contains(&asked));
    match whole {
        Some(entry) => Err(BanError::Protected { entry }),
        None => Ok(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn network(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn ban(text: &str, seconds: u64, cause: BanCause) -> Ban {
        let expires = NOW + Duration::from_secs(seconds);
        Ban { network: network(text), since: NOW, expires, cause, reason: None }
    }

    #[test]
    fn an_ipv6_client_is_its_64_and_a_mapped_address_is_ipv4() {
        assert_eq!(ban_network(network("2001:db8:1:2:3:4:5:6/128")), network("2001:db8:1:2::/64"));
        assert_eq!(ban_network(network("2001:db8:1:2::/56")), network("2001:db8:1::/56"));
        assert_eq!(ban_network(network("::ffff:192.0.2.7/128")), network("192.0.2.7/32"));
    }

    #[test]
    fn who_is_protected_is_not_banned_but_a_network_around_is() {
        let never_ban = AddressSet::new(["192.0.2.7/32", "2001:db8:7::1/128"].map(network));
        let mut bans = Bans::new(8);
        let protected = |text: &str| Err(BanError::Protected { entry: network(text) });
        let mut add = |text: &str| bans.add(ban(text, 60, BanCause::Operator), &never_ban);
        assert_eq!(add("192.0.2.7/32"), protected("192.0.2.7/32"));
        assert_eq!(add("::ffff:192.0.2.7/128"), protected("192.0.2.7/32"));
        assert_eq!(add("2001:db8:7::1/128"), protected("2001:db8:7::1/128"));
        assert_eq!(add("192.0.2.0/24"), Ok(true));
        assert_eq!(add("0.0.0.0/0"), Err(BanError::TooLarge { length: 0, least: 4 }));
        assert_eq!(bans.len(), 1);
    }

    #[test]
    fn a_ban_is_only_made_longer_unless_the_operator_says_otherwise() {
        let (mut bans, never_ban) = (Bans::new(2), AddressSet::default());
        let rule = BanCause::Rule(RuleId(1));
        assert_eq!(bans.add(ban("192.0.2.7/32", 60, rule), &never_ban), Ok(true));
        assert_eq!(bans.add(ban("192.0.2.7/32", 30, rule), &never_ban), Ok(false));
        assert_eq!(bans.add(ban("192.0.2.7/32", 90, rule), &never_ban), Ok(true));
        assert_eq!(bans.add(ban("192.0.2.7/32", 30, BanCause::Operator), &never_ban), Ok(true));
        assert_eq!(bans.add(ban("192.0.2.7/32", 900, rule), &never_ban), Ok(false));
        assert_eq!(bans.add(ban("192.0.2.8/32", 30, rule), &never_ban), Ok(true));
        assert_eq!(bans.add(ban("192.0.2.9/32", 30, rule), &never_ban), Err(BanError::Full { entries_max: 2 }));
    }

    #[test]
    fn what_has_ended_goes_and_what_was_touched_is_told_once() {
        let (mut bans, never_ban) = (Bans::new(8), AddressSet::default());
        let rule = BanCause::Rule(RuleId(1));
        for (text, seconds) in [("192.0.2.7/32", 60), ("192.0.2.8/32", 60), ("192.0.2.9/32", 90)] {
            bans.add(ban(text, seconds, rule), &never_ban).expect("room");
        }
        // A longer one goes by its new end.
        bans.add(ban("192.0.2.8/32", 120, rule), &never_ban).expect("the same");
        assert_eq!(bans.take_changed().len(), 3);
        assert_eq!(bans.expire(NOW + Duration::from_secs(59)), 0);
        assert!(bans.take_changed().is_empty());
        assert_eq!(bans.expire(NOW + Duration::from_secs(90)), 2);
        assert_eq!(bans.take_changed(), ["192.0.2.7/32", "192.0.2.9/32"].map(network).into());
        assert_eq!(bans.add(ban("192.0.2.8/32", 120, rule), &never_ban), Ok(false));
        assert!(bans.take_changed().is_empty(), "nothing has changed");
        assert_eq!(bans.expire(NOW + Duration::from_secs(120)), 1);
        assert!(bans.is_empty());
    }

    #[test]
    fn when_it_fills_clients_are_merged_and_the_operators_bans_stay() {
        let (mut bans, never_ban) = (Bans::new(64), AddressSet::default());
        bans.add(ban("198.51.100.1/32", 60, BanCause::Operator), &never_ban).expect("room");
        for host in 0..63 {
            bans.add(ban(&format!("192.0.2.{host}/32"), 60 + host, BanCause::Rule(RuleId(1))), &never_ban)
                .expect("room");
        }
        assert!(bans.is_tight());
        let merged = bans.make_room(&Innocent::new(), 0.0, &never_ban, NOW);
        assert!(!merged.networks.is_empty());
        assert!(bans.len() <= 32, "{}", bans.len());
        assert!(bans.get(network("198.51.100.1/32")).is_some());
        for host in 0..63 {
            let client = network(&format!("192.0.2.{host}/32"));
            let ban = bans.iter().find(|ban| ban.network.contains(&client)).expect("still banned");
            assert!(ban.expires >= NOW + Duration::from_secs(60 + host));
        }
    }
}
