//! The table that is asked: sorted ranges of addresses, each with the network that it belongs to.
//!
//! The ranges of a family cover all of it without gaps, so only where each starts is kept, and which of the distinct
//! networks it belongs to. Both families first narrow the search by something small that stays in the processor's cache.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::{CountryCode, Network, NetworkKind};
use crate::address::ClientAddress;

/// One of so many starts of IPv6 ranges is kept apart, of these one of so many again, and so on. As many starts are a cache line. How many of them
/// are no greater is counted: to halve them takes a third longer, since each step waits for the one before.
const SAMPLE_STEP: usize = 8;

/// How often. Of a quarter of a million ranges eight are left.
const SAMPLE_LEVELS: usize = 5;

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

/// A network in four bytes, so that the ranges themselves tell it: the place of its country among all countries in the
/// lower eight bits, that of its system among the systems in the others; both counted from 1, and 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct PackedNetwork(u32);

impl PackedNetwork {
    /// `system` is a place below 2^24 - 1, which all systems have: see [`super::SYSTEMS_MAX`].
    pub(super) fn new(country: Option<CountryCode>, system: Option<usize>) -> Self {
        let country = country.map_or(0, |country| u32::from(country.place()) + 1);
        let system = system.map_or(0, |system| system as u32 + 1);
        Self(system << 8 | country)
    }

    pub(super) fn country(self) -> Option<CountryCode> {
        CountryCode::at((self.0 as u8).checked_sub(1)?)
    }

    /// The place of the system.
    pub(super) fn system(self) -> Option<usize> {
        (self.0 >> 8).checked_sub(1).map(|place| place as usize)
    }
}

/// IPv4 ranges by the upper half of their start. Every upper half has a range that starts at its first address, so the
/// answer lies within it.
#[derive(Clone, Debug, Default)]
struct RangesV4 {
    /// For each upper half where its ranges begin, and one more for the end: 65,537 in all.
    halves: Box<[u32]>,
    ranges: Box<[RangeV4]>,
}

/// An IPv4 range: the lower half of its start, and beside it its network in two halves, so that it takes six bytes and both are
/// mostly in one cache line.
#[derive(Clone, Copy, Debug)]
struct RangeV4 {
    start: u16,
    network: [u16; 2],
}

/// IPv6 ranges by the upper 64 bits of their start.
#[derive(Clone, Debug, Default)]
struct RangesV6 {
    /// Every [`SAMPLE_STEP`]th of the samples behind it, from the first on; of the starts, where it is the last.
    samples: [Box<[u64]>; SAMPLE_LEVELS],
    starts: Box<[u64]>,
    /// The network of each range.
    networks: Box<[PackedNetwork]>,
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

/// Where a range starts, in the upper 64 bits of IPv6 or all of IPv4, and its network.
pub(super) type Start = (u64, PackedNetwork);

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
        packed.map(|packed| self.unpack(packed)).unwrap_or_default()
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
            let mut group = [const { None }; GROUP];
            let count = addresses.len().min(GROUP);
            for (entry, address) in group.iter_mut().zip(addresses.by_ref().take(GROUP)) {
                *entry = address.map(|address| match address.ip() {
                    IpAddr::V4(ip) => (self.v4.bounds(ip.to_bits()), IpAddr::V4(ip)),
                    IpAddr::V6(ip) => (Range::default(), IpAddr::V6(ip)),
                });
            }
            let packed = group.map(|entry| match entry? {
                (bounds, IpAddr::V4(ip)) => self.v4.find_within(bounds, ip.to_bits()),
                (_, IpAddr::V6(ip)) => self.v6.find(upper_half(ip)),
            });
            let known = packed.iter().take(count);
            networks.extend(known.map(|packed| packed.map(|packed| self.unpack(packed)).unwrap_or_default()));
        }
    }

    fn unpack(&self, packed: PackedNetwork) -> Network {
        let asn = packed.system().and_then(|system| self.asns.get(system)).copied();
        Network { country: packed.country(), asn }
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

    fn system(&self, asn: u32) -> Option<usize> {
        self.asns.binary_search(&asn).ok()
    }

    /// Where the data is from, in the words of whoever made the table.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many ranges there are, of IPv4 and of IPv6, those of which nothing is known included.
    pub fn range_counts(&self) -> (usize, usize) {
        (self.ranges_v4().count(), self.v6.starts.len())
    }

    /// How many autonomous systems there are.
    pub fn system_count(&self) -> usize {
        self.asns.len()
    }

    /// The memory that the table holds, in bytes.
    pub fn resident_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.v4.halves)
            + size_of_val(&*self.v4.ranges)
            + self.v6.samples.iter().map(|level| size_of_val(&**level)).sum::<usize>()
            + size_of_val(&*self.v6.starts)
            + size_of_val(&*self.v6.networks)
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
            let network = self.unpack(packed);
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

    /// The starts of IPv4 ranges, without those that only the upper halves need.
    pub(super) fn ranges_v4(&self) -> impl Iterator<Item = Start> + '_ {
        let halves = self.v4.halves.windows(2).zip(0_u64..).flat_map(|(bounds, half)| {
            let (from, to) = match bounds {
                [from, to] => (*from as usize, *to as usize),
                _ => (0, 0),
            };
            let ranges = self.v4.ranges.get(from..to).unwrap_or_default();
            ranges.iter().map(move |range| (half << 16 | u64::from(range.start), range.network()))
        });
        let mut before = None;
        halves.filter(move |(_, place)| before.replace(*place) != Some(*place))
    }

    pub(super) fn ranges_v6(&self) -> impl Iterator<Item = Start> + '_ {
        self.v6.starts.iter().copied().zip(self.v6.networks.iter().copied())
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

impl RangeV4 {
    fn new(start: u16, PackedNetwork(network): PackedNetwork) -> Self {
        Self { start, network: [(network >> 16) as u16, network as u16] }
    }

    fn network(self) -> PackedNetwork {
        let [upper, lower] = self.network.map(u32::from);
        PackedNetwork(upper << 16 | lower)
    }
}

impl RangesV4 {
    fn new(starts: &[Start]) -> Self {
        // No more than one for each upper half is added to those that there are.
        let (mut halves, mut ranges) = (Vec::with_capacity(65_537), Vec::with_capacity(starts.len() + 65_536));
        let mut coming = starts.iter().peekable();
        let mut current = PackedNetwork::default();
        for half in 0..=u64::from(u16::MAX) {
            halves.push(ranges.len() as u32);
            if coming.peek().is_none_or(|(start, _)| *start != half << 16) {
                ranges.push(RangeV4::new(0, current));
            }
            while let Some((start, network)) = coming.next_if(|(start, _)| start >> 16 == half) {
                // What remains of the start is its lower half.
                ranges.push(RangeV4::new(*start as u16, *network));
                current = *network;
            }
        }
        halves.push(ranges.len() as u32);
        Self { halves: halves.into(), ranges: ranges.into() }
    }

    #[inline]
    fn find(&self, address: u32) -> Option<PackedNetwork> {
        self.find_within(self.bounds(address), address)
    }

    /// Between which places the ranges are that an address may be in.
    #[inline]
    fn bounds(&self, address: u32) -> Range<u32> {
        let half = (address >> 16) as usize;
        let bound = |half: usize| self.halves.get(half).copied().unwrap_or_default();
        bound(half)..bound(half + 1)
    }

    #[inline]
    fn find_within(&self, bounds: Range<u32>, address: u32) -> Option<PackedNetwork> {
        let ranges = self.ranges.get(bounds.start as usize..bounds.end as usize)?;
        let after = ranges.partition_point(|range| range.start <= address as u16);
        ranges.get(after.checked_sub(1)?).map(|range| range.network())
    }
}

impl RangesV6 {
    fn new(ranges: &[Start]) -> Self {
        let (starts, networks): (Vec<u64>, Vec<PackedNetwork>) = ranges.iter().copied().unzip();
        let mut samples: [Box<[u64]>; SAMPLE_LEVELS] = Default::default();
        for (level, power) in samples.iter_mut().rev().zip(1..) {
            *level = starts.iter().copied().step_by(SAMPLE_STEP.pow(power)).collect();
        }
        Self { samples, starts: starts.into(), networks: networks.into() }
    }

    fn find(&self, address: u64) -> Option<PackedNetwork> {
        let [top, samples @ ..] = &self.samples;
        let mut place = up_to(top, address).checked_sub(1)?;
        for level in samples {
            place = last_below(level, place, address)?;
        }
        // So their networks are fetched while the starts are, and not after them: they are in one cache line.
        std::hint::black_box(self.networks.get(place * SAMPLE_STEP).copied());
        self.networks.get(last_below(&self.starts, place, address)?).copied()
    }
}

/// The place of the last of `starts` that does not exceed `address`, among those that the sample at `place` stands for.
#[inline]
fn last_below(starts: &[u64], place: usize, address: u64) -> Option<usize> {
    let from = place * SAMPLE_STEP;
    let block = starts.get(from..starts.len().min(from + SAMPLE_STEP))?;
    (from + up_to(block, address)).checked_sub(1)
}

/// How many of `starts` do not exceed `address`. They ascend.
#[inline]
fn up_to(starts: &[u64], address: u64) -> usize {
    starts.iter().map(|start| usize::from(*start <= address)).sum()
}

/// The upper 64 bits of an IPv6 address.
pub(super) fn upper_half(address: Ipv6Addr) -> u64 {
    (address.to_bits() >> 64) as u64
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
