//! The table that is asked: sorted ranges of addresses, each with the network that it belongs to.
//!
//! The ranges of a family cover all of it without gaps, so only where each starts is kept, and beside it which network it
//! belongs to. Both families first narrow the search by something small that stays in the processor's cache.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::packed::{PackedNetwork, Start};
use super::v4::RangesV4;
use super::v6::{Leaf, RangesV6};
use super::{Network, NetworkKind};
use crate::address::ClientAddress;

/// Addresses that are looked up together.
const GROUP: usize = 32;

/// Country and autonomous system by address, for both families, and the names of the systems. Immutable once made.
///
/// IPv6 is told apart by /64, the smallest network that anyone is given.
#[derive(Clone, Default)]
pub struct NetworkTable {
    v4: RangesV4,
    v6: RangesV6,
    /// The number of each system, ascending.
    asns: Box<[u32]>,
    /// Where the name of each ends; it begins where that of the one before ends.
    name_ends: Box<[u32]>,
    /// The names of all systems, one after the other.
    names: Box<str>,
    origin: Box<str>,
}

/// How far the look-up of an address has come: to where its range is to be searched.
enum Step {
    Unknown,
    V4(Range<u32>, u32),
    V6(Option<Leaf>, u64),
}

/// A range of addresses and the network that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkRange {
    /// Its first address.
    pub first: IpAddr,
    /// Its last address.
    pub last: IpAddr,
    /// What is known about it.
    pub network: Network,
}

/// What a table is made of. The starts of each family ascend from zero, and every system exists; both builder and decoder
/// see to that.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) v4: Vec<Start>,
    pub(super) v6: Vec<Start>,
    /// Number and name of each system, by ascending number.
    pub(super) systems: Vec<(u32, String)>,
    pub(super) origin: String,
}

impl NetworkTable {
    pub(super) fn from_parts(parts: Parts) -> Self {
        let mut names = String::with_capacity(parts.systems.iter().map(|(_, name)| name.len()).sum());
        let mut name_ends = Vec::with_capacity(parts.systems.len());
        for (_, name) in &parts.systems {
            names.push_str(name);
            // Systems and the lengths of their names are bounded, and so is the sum: see the builder and the decoder.
            name_ends.push(u32::try_from(names.len()).unwrap_or(u32::MAX));
        }
        Self {
            v4: RangesV4::new(&parts.v4),
            v6: RangesV6::new(&parts.v6),
            asns: parts.systems.iter().map(|(asn, _)| *asn).collect(),
            name_ends: name_ends.into(),
            names: names.into(),
            origin: parts.origin.into(),
        }
    }

    /// What is known about the network of `address`; nothing when the table does not hold it.
    pub fn lookup(&self, address: ClientAddress) -> Network {
        let packed = match address.ip() {
            IpAddr::V4(ip) => self.v4.find(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.find(upper_half(ip)),
        };
        packed.map(|packed| packed.unpack(&self.asns)).unwrap_or_default()
    }

    /// The same for each of several addresses, and nothing for none, in place of what `networks` held. They are looked up step by
    /// step together, so that none waits for the memory that another needs.
    pub fn lookup_all(
        &self,
        mut addresses: impl ExactSizeIterator<Item = Option<ClientAddress>>,
        networks: &mut Vec<Network>,
    ) {
        networks.clear();
        networks.reserve(addresses.len());
        while addresses.len() > 0 {
            let mut group = [const { Step::Unknown }; GROUP];
            let count = addresses.len().min(GROUP);
            for (step, address) in group.iter_mut().zip(addresses.by_ref().take(GROUP)) {
                *step = match address.map(ClientAddress::ip) {
                    None => Step::Unknown,
                    Some(IpAddr::V4(ip)) => Step::V4(self.v4.bounds(ip.to_bits()), ip.to_bits()),
                    Some(IpAddr::V6(ip)) => Step::V6(self.v6.leaf(upper_half(ip)), upper_half(ip)),
                };
            }
            let packed = group.map(|step| match step {
                Step::Unknown => None,
                Step::V4(bounds, address) => self.v4.find_within(bounds, address),
                Step::V6(leaf, address) => self.v6.find_within(leaf?, address),
            });
            let known = packed.iter().take(count);
            networks.extend(known.map(|packed| packed.map(|packed| packed.unpack(&self.asns)).unwrap_or_default()));
        }
    }

    /// What the autonomous system calls itself.
    pub fn asn_name(&self, asn: u32) -> Option<&str> {
        let index = self.system(asn)?;
        let start = index.checked_sub(1).and_then(|before| self.name_ends.get(before)).copied().unwrap_or(0);
        let end = *self.name_ends.get(index)?;
        self.names.get(start as usize..end as usize).filter(|name| !name.is_empty())
    }

    /// What kind of network the autonomous system is, as far as its name tells. The name is read each time: few are ever asked of,
    /// and to read them all would take a quarter of the time in which a table is made.
    pub fn kind(&self, asn: u32) -> NetworkKind {
        self.asn_name(asn).map(NetworkKind::of_name).unwrap_or_default()
    }

    /// The place of the system.
    pub(super) fn system(&self, asn: u32) -> Option<usize> {
        self.asns.binary_search(&asn).ok()
    }

    /// Where the data is from, in the words of whoever made the table.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many ranges there are, of IPv4 and of IPv6, those of which nothing is known included.
    pub fn range_counts(&self) -> (usize, usize) {
        (self.ranges_v4().count(), self.ranges_v6().count())
    }

    /// How many autonomous systems there are.
    pub fn system_count(&self) -> usize {
        self.asns.len()
    }

    /// The memory that the table holds, in bytes.
    pub fn resident_bytes(&self) -> usize {
        size_of::<Self>()
            + self.v4.resident_bytes()
            + self.v6.resident_bytes()
            + size_of_val(&*self.asns)
            + size_of_val(&*self.name_ends)
            + self.names.len()
            + self.origin.len()
    }

    /// Every range of which something is known, IPv4 first, ascending. Neighbours differ.
    pub fn ranges(&self) -> impl Iterator<Item = NetworkRange> + '_ {
        let v4 = with_ends(self.ranges_v4(), u64::from(u32::MAX)).map(|(first, last, place)| {
            let address = |bits: u64| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)));
            (address(first), address(last), place)
        });
        let v6 = with_ends(self.ranges_v6(), u64::MAX).map(|(first, last, place)| {
            let first = Ipv6Addr::from_bits(u128::from(first) << 64);
            let last = Ipv6Addr::from_bits(u128::from(last) << 64 | u128::from(u64::MAX));
            (IpAddr::V6(first), IpAddr::V6(last), place)
        });
        v4.chain(v6).filter_map(|(first, last, packed)| {
            let network = packed.unpack(&self.asns);
            (!network.is_unknown()).then_some(NetworkRange { first, last, network })
        })
    }

    /// The networks of which `is_wanted` says so, as few as they can be written with.
    pub fn prefixes(&self, is_wanted: impl Fn(Network) -> bool) -> Vec<IpNet> {
        let mut prefixes = Vec::new();
        for range in self.ranges().filter(|range| is_wanted(range.network)) {
            match (range.first, range.last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    prefixes.extend(Ipv4Subnets::new(first, last, 0).map(IpNet::V4));
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    prefixes.extend(Ipv6Subnets::new(first, last, 0).map(IpNet::V6));
                }
                _ => {}
            }
        }
        IpNet::aggregate(&prefixes)
    }

    /// Number and name of every system, ascending; the name is empty where none is known.
    pub fn systems(&self) -> impl Iterator<Item = (u32, &str)> + '_ {
        let starts = std::iter::once(0).chain(self.name_ends.iter().copied());
        let names = starts.zip(&self.name_ends).map(|(start, end)| self.names.get(start as usize..*end as usize));
        self.asns.iter().copied().zip(names.map(Option::unwrap_or_default))
    }

    pub(super) fn ranges_v4(&self) -> impl Iterator<Item = Start> + '_ {
        self.v4.starts()
    }

    pub(super) fn ranges_v6(&self) -> impl Iterator<Item = Start> + '_ {
        self.v6.starts()
    }
}

/// How much is in it; all of it would be millions of lines.
impl fmt::Debug for NetworkTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ranges_v4, ranges_v6) = self.range_counts();
        formatter
            .debug_struct("NetworkTable")
            .field("origin", &self.origin)
            .field("ranges_v4", &ranges_v4)
            .field("ranges_v6", &ranges_v6)
            .field("systems", &self.asns.len())
            .finish_non_exhaustive()
    }
}

/// The upper 64 bits of an IPv6 address.
pub(super) fn upper_half(address: Ipv6Addr) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = address.octets();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Ranges with their last addresses: each ends before the next one, the last one at `end`.
fn with_ends(starts: impl Iterator<Item = Start>, end: u64) -> impl Iterator<Item = (u64, u64, PackedNetwork)> {
    let mut starts = starts.peekable();
    std::iter::from_fn(move || {
        let (start, place) = starts.next()?;
        let last = starts.peek().map_or(end, |(next, _)| next.saturating_sub(1));
        Some((start, last, place))
    })
}
