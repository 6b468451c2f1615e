//! The never-ban list: whom nothing is ever enforced against. It builds itself, so that no guard locks its owner out.
//!
//! Beside what the configuration names it holds this machine's own addresses, its gateways and DNS resolvers, and the addresses
//! from which somebody is logged in. Those stay for half a day after they were last seen.

mod sessions;
mod sshd;
mod system;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::address::{AddressSet, ClientAddress};
use seawall_engine::decision::client_network;
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::kernel::netlink::connections;
use sessions::Sessions;

pub(super) use sessions::own_session;

/// The ports that sshd listens on, on the machine whose root folder this is.
pub(crate) fn ssh_ports(root: &Path) -> Vec<u16> {
    sshd::Sshd::read(root).ports
}

/// How long an operator's address is kept after it was last seen.
const OPERATOR_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Addresses of operators that are remembered.
const OPERATORS_MAX: usize = 256;

/// Why somebody is never banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It is this machine, by its loopback addresses.
    Loopback,
    /// A trusted proxy: it stands for its clients.
    Proxy,
    /// The configuration names it.
    Configured,
    /// Somebody is logged in from there, or gave the guard a command from there.
    Session,
    /// An address of this machine.
    Own,
    /// A gateway of this machine.
    Gateway,
    /// A DNS resolver of this machine.
    Resolver,
}

impl Reason {
    /// In words, to complete "it is …".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Loopback => "this machine's loopback",
            Self::Proxy => "a trusted proxy of the configuration",
            Self::Configured => "named by never-ban in the configuration",
            Self::Session => "where an operator is logged in from",
            Self::Own => "an address of this machine",
            Self::Gateway => "a gateway of this machine",
            Self::Resolver => "a DNS resolver of this machine",
        }
    }
}

/// An entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Whom it is about.
    pub network: IpNet,
    /// Why.
    pub reason: Reason,
}

/// What the configuration says about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configured {
    /// Entries with their reasons: loopback, proxies, what the operator lists.
    pub entries: Vec<Entry>,
    /// Whether loopback is protected; it is not in drills, whose clients all live there, and then neither are this machine's
    /// own addresses.
    pub loopback: bool,
}

/// The list, and what it takes to keep it.
#[derive(Debug)]
pub(crate) struct NeverBan {
    configured: Configured,
    sessions: Sessions,
    /// Of an IPv6 address its /64: a machine changes its own address within it.
    operators: BTreeMap<IpNet, Timestamp>,
    entries: Vec<Entry>,
    set: AddressSet,
}

impl NeverBan {
    /// The list of a configuration; of the machine nothing is known before the first [`Self::refresh`].
    pub(crate) fn new(configured: Configured) -> Self {
        let mut list = Self {
            configured,
            sessions: Sessions::default(),
            operators: BTreeMap::new(),
            entries: Vec::new(),
            set: AddressSet::default(),
        };
        list.build(Vec::new());
        list
    }

    /// Another configuration. What is known of the machine comes back with the next [`Self::refresh`].
    pub(crate) fn configure(&mut self, configured: Configured) {
        self.configured = configured;
    }

    /// Notes that an operator is at this address, and says whether that was not known.
    pub(crate) fn operator(&mut self, address: IpAddr, now: Timestamp) -> bool {
        let address = ClientAddress::new(address);
        // A command from this machine itself tells nothing, and in a drill all clients are there.
        if address.is_loopback() {
            return false;
        }
        let is_new = self.operators.insert(client_network(address), now).is_none();
        while self.operators.len() > OPERATORS_MAX {
            let oldest = self.operators.iter().min_by_key(|(_, seen)| **seen).map(|(network, _)| *network);
            oldest.map(|network| self.operators.remove(&network));
        }
        is_new
    }

    /// Looks at the machine again, and says whether the list has changed.
    pub(crate) fn refresh(&mut self, now: Timestamp) -> bool {
        let root = Path::new("/");
        for address in self.sessions.look(root, |port| connections(Some(port)), now) {
            self.operator(address, now);
        }
        self.operators.retain(|_, seen| now.since(*seen) < OPERATOR_LIFE);
        let machine = system::entries(root, self.configured.loopback);
        self.build(machine)
    }

    fn build(&mut self, machine: Vec<Entry>) -> bool {
        let operators = self.operators.keys().map(|network| Entry { network: *network, reason: Reason::Session });
        let mut entries: Vec<Entry> = self.configured.entries.iter().copied().chain(operators).chain(machine).collect();
        entries.iter_mut().for_each(|entry| entry.network = canonical(entry.network));
        entries.sort_unstable();
        entries.dedup_by_key(|entry| entry.network);
        if entries == self.entries {
            return false;
        }
        self.set = AddressSet::new(entries.iter().map(|entry| entry.network));
        self.entries = entries;
        true
    }

    /// Every entry, sorted.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// For look-ups.
    pub(crate) const fn set(&self) -> &AddressSet {
        &self.set
    }

    /// Why a network is protected, if it is.
    pub(crate) fn reason(&self, network: IpNet) -> Option<Reason> {
        let network = canonical(network);
        let around = |entry: &&Entry| entry.network.contains(&network) || network.contains(&entry.network);
        self.entries.iter().find(around).map(|entry| entry.reason)
    }
}

/// As look-ups have it: an IPv4-mapped network as IPv4, without host bits.
fn canonical(network: IpNet) -> IpNet {
    AddressSet::new([network]).networks().next().unwrap_or(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv4_is_on_the_list_in_whichever_form() {
        let network = |text: &str| text.parse::<IpNet>().expect("a network");
        let entries = [("127.0.0.0/8", Reason::Loopback), ("198.51.100.7/32", Reason::Configured)];
        let entries = entries.map(|(text, reason)| Entry { network: network(text), reason }).to_vec();
        let list = NeverBan::new(Configured { entries, loopback: false });
        assert_eq!(list.reason(network("::ffff:127.0.0.1/128")), Some(Reason::Loopback));
        assert_eq!(list.reason(network("::ffff:198.51.100.7/128")), Some(Reason::Configured));
        assert_eq!(list.reason(network("::ffff:198.51.100.8/128")), None);
    }

    #[test]
    fn an_operator_stays_for_half_a_day_and_their_number_is_bounded() {
        let mut list = NeverBan::new(Configured::default());
        let start = Timestamp::from_seconds(1_700_000_000);
        let address: IpAddr = "198.51.100.7".parse().expect("an address");
        list.operator(address, start);
        list.operator("127.0.0.1".parse().expect("an address"), start);
        assert!(list.refresh(start));
        assert_eq!(list.reason(address.into()), Some(Reason::Session));
        assert!(list.set().contains(ClientAddress::new(address)));
        list.operator("2001:db8:9:2::7".parse().expect("an address"), start);
        list.refresh(start);
        assert_eq!(list.reason("2001:db8:9:2:ffff::1/128".parse().expect("a network")), Some(Reason::Session));
        list.refresh(start + OPERATOR_LIFE);
        assert_eq!(list.reason(address.into()), None);
        for number in 0..1_000_u32 {
            list.operator(std::net::Ipv4Addr::from_bits(0x0A00_0000 + number).into(), start);
        }
        assert!(list.operators.len() <= OPERATORS_MAX);
    }
}
