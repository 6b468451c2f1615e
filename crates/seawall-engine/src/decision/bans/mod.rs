//! Bans: networks whose connections are not taken at all, until a stated moment.
//!
//! Owns who is banned, why and until when, in a table with a stated maximum; [`merge`](merge()) makes room in it. It never
//! looks at requests: the gate has its own look-up form of it ([`crate::gate::BanSet`]).

mod innocent;
mod merge;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::RuleId;
use crate::address::{AddressSet, ClientAddress, canonical_network};
use crate::units::Timestamp;

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
    /// Bans of clients, merged to make room: of those that went on although this rule refused them, or by one limit.
    Merged(Option<RuleId>),
}

impl BanCause {
    /// Whether packets of whom it is about can come here with their own address.
    pub const fn is_for_packets(self) -> bool {
        !matches!(self, Self::ProxiedLimit)
    }

    /// Whether the guard came to it by itself, and nobody else said so.
    pub const fn is_guards(self) -> bool {
        !matches!(self, Self::Operator | Self::Import)
    }

    /// Whether the gate refuses for it. Whom a rule's refusals sent down to the kernel it judges itself, again and again.
    pub const fn is_for_gate(self) -> bool {
        self.rule().is_none()
    }

    /// The rule that it ends with.
    pub const fn rule(self) -> Option<RuleId> {
        match self {
            Self::Rule(rule) | Self::Merged(Some(rule)) => Some(rule),
            Self::Limit | Self::ProxiedLimit | Self::Operator | Self::Import | Self::Merged(None) => None,
        }
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

impl Ban {
    /// Whether it takes the place of one of the same network that is there: what the operator says goes before all, and gives way to
    /// nothing but a list of his that names it for longer; else the one that lasts longer stays.
    pub fn replaces(&self, present: &Self) -> bool {
        match (self.cause, present.cause) {
            (BanCause::Operator, _) => true,
            (BanCause::Import, _) => self.expires > present.expires,
            (_, BanCause::Operator) => false,
            _ => self.expires > present.expires,
        }
    }
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
    /// Whether one that the gate refuses for came, went before its end or changed since that was last [asked](Self::take_gate_changed).
    is_gate_changed: bool,
    entries_max: usize,
}

impl Bans {
    /// An empty table for at most `entries_max` bans.
    pub const fn new(entries_max: usize) -> Self {
        Self {
            bans: BTreeMap::new(),
            ends: BTreeSet::new(),
            changed: BTreeSet::new(),
            is_gate_changed: false,
            entries_max,
        }
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

    /// Takes a ban in. One of the same network is replaced by whichever lasts longer; what the operator says of it goes before all, and
    /// gives way to nothing but a list of his that names it for longer. Says whether anything changed.
    ///
    /// # Errors
    /// When nobody may ban that network, or there is no room. Nothing has changed then.
    pub fn add(&mut self, ban: Ban, never_ban: &AddressSet) -> Result<bool, BanError> {
        let entries_max = self.room_for(ban.cause);
        self.add_within(entries_max, ban, never_ban)
    }

    /// Takes a ban in that was there before and gave way to what the operator said. It takes back the place that it had, so that nothing
    /// is kept from it for him.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn put_back(&mut self, ban: Ban, never_ban: &AddressSet) -> Result<bool, BanError> {
        self.add_within(self.entries_max, ban, never_ban)
    }

    fn add_within(&mut self, entries_max: usize, mut ban: Ban, never_ban: &AddressSet) -> Result<bool, BanError> {
        ban.network = check(ban.network, never_ban)?;
        ban.expires = ban.expires.min(ban.since + BAN_DURATION_MAX);
        let count = self.bans.len();
        let (network, expires, is_for_gate) = (ban.network, ban.expires, ban.cause.is_for_gate());
        // A list of a hundred thousand is looked up once each.
        match self.bans.entry(network) {
            Entry::Occupied(present) if !ban.replaces(present.get()) || *present.get() == ban => return Ok(false),
            Entry::Occupied(mut present) => {
                let before = present.insert(ban);
                self.is_gate_changed |= before.cause.is_for_gate();
                self.ends.remove(&(before.expires, network));
            }
            Entry::Vacant(_) if count >= entries_max => return Err(BanError::Full { entries_max }),
            Entry::Vacant(place) => drop(place.insert(ban)),
        }
        self.is_gate_changed |= is_for_gate;
        self.changed.insert(network);
        self.ends.insert((expires, network));
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
    pub fn make_way(&mut self, count: usize) -> Vec<Ban> {
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
        imported.into_iter().chain(made).take(needed).filter_map(|network| self.remove(network)).collect()
    }

    fn put(&mut self, ban: Ban) {
        let (network, expires) = (ban.network, ban.expires);
        self.changed.insert(network);
        self.is_gate_changed |= ban.cause.is_for_gate();
        if let Some(before) = self.bans.insert(network, ban) {
            self.is_gate_changed |= before.cause.is_for_gate();
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
        let ban = self.take_out(network)?;
        self.is_gate_changed |= ban.cause.is_for_gate();
        Some(ban)
    }

    fn take_out(&mut self, network: IpNet) -> Option<Ban> {
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

    /// Takes back what has ended, and returns it. Looks at nothing else.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Ban> {
        let mut ended = Vec::new();
        while let Some((_, network)) = self.ends.first().copied().filter(|(expires, _)| *expires <= now) {
            // The gate sees by itself that it has ended.
            match self.take_out(network) {
                Some(ban) => ended.push(ban),
                None => break,
            }
        }
        ended
    }

    /// The networks whose bans came, went or changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<IpNet> {
        std::mem::take(&mut self.changed)
    }

    /// Whether anything changed for the gate since this was last asked.
    pub const fn take_gate_changed(&mut self) -> bool {
        std::mem::replace(&mut self.is_gate_changed, false)
    }

    /// Whether the table is so full that clients should be merged into networks.
    pub fn is_tight(&self) -> bool {
        self.bans.len() >= self.entries_max - self.entries_max / 8
    }

    /// Merges bans of single clients that rules and limits made, until half of the table is free or nothing more can be merged within
    /// `innocent_share_max` of `innocent` traffic. Only what one rule or one limit made is merged with each other, so that it lasts no
    /// longer than that bans anybody, and ends with it. Says what was merged into what: nothing as long as it is not known who is served,
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
        let mut groups: BTreeMap<Group, u32> = BTreeMap::new();
        let mut networks = Vec::new();
        for ban in self.bans.values() {
            if let Some(group) = Group::of(ban) {
                let number = groups.len() as u32;
                networks.push((*groups.entry(group).or_insert(number), ban.network));
            }
        }
        let others = self.bans.len() - networks.len();
        let wanted = (self.entries_max / 2).saturating_sub(others);
        let mut merged = merge(networks, wanted, innocent, innocent_share_max, never_ban);
        let groups: BTreeMap<u32, Group> = groups.into_iter().map(|(group, number)| (number, group)).collect();
        merged.networks.retain(|(number, network)| {
            let Some(group) = groups.get(number) else { return false };
            let is_of_group = |ban: &&Ban| Group::of(ban).as_ref() == Some(group);
            // What is said of exactly that network for another reason stays as it was said, and the clients' bans beside it.
            if !self.bans.get(network).as_ref().is_none_or(is_of_group) {
                return false;
            }
            // In their order those within a network follow each other.
            let start = network.network();
            let after = self.bans.range(IpNet::from(start).min(*network)..).map(|(_, ban)| ban);
            let inside = after.skip_while(|ban| ban.network.addr() < start);
            let inside = inside.take_while(|ban| ban.network.addr() <= network.broadcast());
            let within: Vec<IpNet> = inside.filter(is_of_group).map(|ban| ban.network).collect();
            let gone: Vec<Ban> = within.into_iter().filter_map(|network| self.remove(network)).collect();
            let expires = gone.iter().map(|ban| ban.expires).max().unwrap_or(now);
            let cause = BanCause::Merged(group.rule);
            self.put(Ban { network: *network, since: now, expires, cause, reason: group.limit.clone() });
            true
        });
        merged
    }
}

/// What made a ban: of the same, bans can stand for each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    rule: Option<RuleId>,
    /// The reason that a limit gives, which names it.
    limit: Option<Arc<str>>,
}

impl Group {
    /// The group of a ban that the guard made of clients whose packets come here.
    fn of(ban: &Ban) -> Option<Self> {
        match ban.cause {
            BanCause::Rule(rule) | BanCause::Merged(Some(rule)) => Some(Self { rule: Some(rule), limit: None }),
            BanCause::Limit | BanCause::Merged(None) => Some(Self { rule: None, limit: ban.reason.clone() }),
            BanCause::ProxiedLimit | BanCause::Operator | BanCause::Import => None,
        }
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
mod tests;
