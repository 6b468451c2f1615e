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
pub const BAN_LENGTH_MIN_V4: u8 = 4;
/// The same of IPv6.
pub const BAN_LENGTH_MIN_V6: u8 = 12;

/// This part of the table, one entry in so many, is kept for what the operator says: a flood must not take away his say.
const RESERVED_SHARE: usize = 64;

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
        /// The most that there can be of those by the same cause and by others.
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
        } else if self.bans.len() >= self.room_for(ban.cause) {
            return Err(BanError::Full { entries_max: self.room_for(ban.cause) });
        }
        self.put(ban);
        Ok(true)
    }

    /// The most bans that there may be with one more of this cause.
    const fn room_for(&self, cause: BanCause) -> usize {
        let reserved = match cause {
            BanCause::Operator => 0,
            _ => self.entries_max / RESERVED_SHARE,
        };
        self.entries_max - reserved
    }

    /// Makes room for `count` bans of the operator: those give way that end first, of an imported list before what the guard made.
    /// Returns them; there are fewer than needed where all that is left is the operator's own.
    pub fn make_way(&mut self, count: usize) -> Vec<IpNet> {
        let needed = (self.bans.len() + count).saturating_sub(self.entries_max);
        if needed == 0 {
            return Vec::new();
        }
        let cause = |network: &IpNet| self.bans.get(network).map(|ban| ban.cause);
        let (mut imported, mut made) = (Vec::new(), Vec::new());
        for (_, network) in &self.ends {
            match cause(network) {
                Some(BanCause::Import) => imported.push(*network),
                Some(BanCause::Operator) | None => {}
                Some(_) => made.push(*network),
            }
        }
        let gone: Vec<IpNet> = imported.into_iter().chain(made).take(needed).collect();
        gone.iter().for_each(|network| drop(self.remove(*network)));
        gone
    }

    fn put(&mut self, ban: Ban) {
        let (network, expires) = (ban.network, ban.expires);
        self.changed.insert(network);
        if let Some(before) = self.bans.insert(network, ban) {
            self.ends.remove(&(before.expires, network));
        }
        self.ends.insert((expires, network));
    }

    /// Has the ban of exactly this network end at `until` if it lasts for longer, and returns it.
    pub fn shorten(&mut self, network: IpNet, until: Timestamp) -> Option<&Ban> {
        let mut ban = self.get(network)?.clone();
        ban.expires = ban.expires.min(until);
        let network = ban.network;
        self.put(ban);
        self.get(network)
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
    /// `innocent_share_max` of `innocent` traffic. Says what was merged into what: nothing as long as it is not known who is served,
    /// since any network might be full of visitors.
    pub fn make_room(
        &mut self,
        innocent: &Innocent,
        innocent_share_max: f32,
        never_ban: &AddressSet,
        now: Timestamp,
    ) -> Merged {
        if !innocent.is_known() {
            return Merged { entries: self.bans.len(), ..Merged::default() };
        }
        let mergeable = |ban: &&Ban| matches!(ban.cause, BanCause::Rule(_) | BanCause::Limit | BanCause::Merged);
        let networks: Vec<IpNet> = self.iter().filter(mergeable).map(|ban| ban.network).collect();
        let others = self.bans.len() - networks.len();
        let wanted = (self.entries_max / 2).saturating_sub(others);
        let mut merged = merge(networks, wanted, innocent, innocent_share_max, never_ban);
        // What an operator or a list says of exactly that network stays as it was said, and the clients' bans beside it.
        merged.networks.retain(|network| self.bans.get(network).as_ref().is_none_or(mergeable));
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
    let least = if network.addr().is_ipv4() { BAN_LENGTH_MIN_V4 } else { BAN_LENGTH_MIN_V6 };
    if network.prefix_len() < least {
        return Err(BanError::TooLarge { length: network.prefix_len(), least });
    }
    // A protected address within a larger network is spared by the allow set, which is asked first; it does not make the
    // whole network exempt. An IPv6 address is asked for as itself: its /64 is the client.
    match never_ban.around(network).or_else(|| never_ban.around(asked)) {
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
    fn one_that_is_made_shorter_ends_sooner() {
        let mut bans = Bans::new(8);
        bans.add(ban("192.0.2.7/32", 60, BanCause::Operator), &AddressSet::default()).expect("room");
        let until = NOW + Duration::from_secs(10);
        assert_eq!(bans.shorten(network("192.0.2.7/32"), until).map(|ban| ban.expires), Some(until));
        bans.shorten(network("192.0.2.7/32"), NOW + Duration::from_secs(30));
        assert_eq!(bans.expire(until), 1);
        assert_eq!(bans.shorten(network("192.0.2.8/32"), until), None);
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

    /// Enough to know who is served, none of whom is banned.
    fn served() -> Innocent {
        let mut innocent = Innocent::new();
        innocent.serve(ClientAddress::new("203.0.113.7".parse().expect("an address")), 1_000.0);
        innocent
    }

    #[test]
    fn what_an_operator_or_a_list_says_of_a_network_is_never_replaced_by_what_was_merged() {
        for cause in [BanCause::Operator, BanCause::Import] {
            let (mut bans, never_ban) = (Bans::new(16), AddressSet::default());
            // Merging the first two makes exactly these networks.
            for text in ["192.0.2.0/31", "192.0.2.0/30", "192.0.2.0/29"] {
                bans.add(ban(text, 7_200, cause), &never_ban).expect("room");
            }
            for host in 0..8 {
                bans.add(ban(&format!("192.0.2.{host}/32"), 60, BanCause::Limit), &never_ban).expect("room");
            }
            bans.make_room(&served(), 1.0, &never_ban, NOW);
            for text in ["192.0.2.0/31", "192.0.2.0/30", "192.0.2.0/29"] {
                let held = bans.get(network(text)).expect("it stays");
                assert_eq!((held.cause, held.expires), (cause, NOW + Duration::from_secs(7_200)), "{text}");
            }
            for host in 0..8 {
                let client = network(&format!("192.0.2.{host}/32"));
                let is_held = bans.iter().any(|ban| ban.cause != cause && ban.network.contains(&client));
                assert!(is_held, "{client} is banned for itself as well");
            }
        }
    }

    #[test]
    fn a_full_table_has_room_for_the_operator() {
        let (mut bans, never_ban) = (Bans::new(128), AddressSet::default());
        let client = |number: u64| format!("10.0.0.{number}/32");
        for number in 0..126 {
            let cause = if number % 2 == 0 { BanCause::Import } else { BanCause::Limit };
            bans.add(ban(&client(number), 1_000 - number, cause), &never_ban).expect("room");
        }
        for cause in [BanCause::Import, BanCause::Limit, BanCause::Rule(RuleId(1))] {
            assert_eq!(bans.add(ban("192.0.2.1/32", 60, cause), &never_ban), Err(BanError::Full { entries_max: 126 }));
        }
        for text in ["192.0.2.1/32", "192.0.2.2/32"] {
            assert_eq!(bans.add(ban(text, 60, BanCause::Operator), &never_ban), Ok(true));
        }
        // Imports that end first give way, and nobody who need not.
        assert_eq!(bans.make_way(2), [network(&client(124)), network(&client(122))]);
        assert!(bans.make_way(2).is_empty());
        assert_eq!(bans.make_way(64 + 2).len(), 64);
        assert!(bans.iter().all(|ban| ban.cause != BanCause::Import || ban.expires > NOW + Duration::from_secs(1_000)));
        // Then what the guard made; what the operator said never does.
        bans.make_way(1_000);
        assert!(bans.iter().all(|ban| ban.cause == BanCause::Operator) && bans.len() == 2);
    }

    #[test]
    fn when_it_fills_clients_are_merged_and_the_operators_bans_stay() {
        let (mut bans, never_ban) = (Bans::new(64), AddressSet::default());
        bans.add(ban("198.51.100.1/32", 60, BanCause::Operator), &never_ban).expect("room");
        for host in 0..62 {
            bans.add(ban(&format!("192.0.2.{host}/32"), 60 + host, BanCause::Rule(RuleId(1))), &never_ban)
                .expect("room");
        }
        assert!(bans.is_tight());
        assert!(
            bans.make_room(&Innocent::new(), 1.0, &never_ban, NOW).networks.is_empty(),
            "nobody knows who is served"
        );
        assert_eq!(bans.len(), 63);
        let merged = bans.make_room(&served(), 0.0, &never_ban, NOW);
        assert!(!merged.networks.is_empty());
        assert!(bans.len() <= 32, "{}", bans.len());
        assert!(bans.get(network("198.51.100.1/32")).is_some());
        for host in 0..62 {
            let client = network(&format!("192.0.2.{host}/32"));
            let ban = bans.iter().find(|ban| ban.network.contains(&client)).expect("still banned");
            assert!(ban.expires >= NOW + Duration::from_secs(60 + host));
        }
    }
}
