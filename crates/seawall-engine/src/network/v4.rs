//! The ranges of IPv4, which are many and dense: half of the address's bits narrow the search to what is mostly one cache line.

use std::ops::Range;

use super::packed::{PackedNetwork, Start};

/// IPv4 ranges by the upper half of their start. Every upper half has a range that starts at its first address, so the
/// answer lies within it.
#[derive(Clone, Debug, Default)]
pub(super) struct RangesV4 {
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

impl RangeV4 {
    fn new(start: u16, network: PackedNetwork) -> Self {
        let network = network.to_bits();
        Self { start, network: [(network >> 16) as u16, network as u16] }
    }

    fn network(self) -> PackedNetwork {
        let [upper, lower] = self.network.map(u32::from);
        PackedNetwork::from_bits(upper << 16 | lower)
    }
}

impl RangesV4 {
    pub(super) fn new(starts: &[Start]) -> Self {
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
    pub(super) fn find(&self, address: u32) -> Option<PackedNetwork> {
        self.find_within(self.bounds(address), address)
    }

    /// Between which places the ranges are that an address may be in.
    #[inline]
    pub(super) fn bounds(&self, address: u32) -> Range<u32> {
        let half = (address >> 16) as usize;
        let bound = |half: usize| self.halves.get(half).copied().unwrap_or_default();
        bound(half)..bound(half + 1)
    }

    #[inline]
    pub(super) fn find_within(&self, bounds: Range<u32>, address: u32) -> Option<PackedNetwork> {
        let ranges = self.ranges.get(bounds.start as usize..bounds.end as usize)?;
        let after = ranges.partition_point(|range| range.start <= address as u16);
        ranges.get(after.checked_sub(1)?).map(|range| range.network())
    }

    /// All starts, ascending, without those that only the upper halves need.
    pub(super) fn starts(&self) -> impl Iterator<Item = Start> + '_ {
        let ranges = self.halves.windows(2).zip(0_u64..).flat_map(|(bounds, half)| {
            let (from, to) = match bounds {
                [from, to] => (*from as usize, *to as usize),
                _ => (0, 0),
            };
            let ranges = self.ranges.get(from..to).unwrap_or_default();
            ranges.iter().map(move |range| (half << 16 | u64::from(range.start), range.network()))
        });
        let mut before = None;
        ranges.filter(move |(_, network)| before.replace(*network) != Some(*network))
    }

    /// The memory that is held, in bytes.
    pub(super) fn resident_bytes(&self) -> usize {
        size_of_val(&*self.halves) + size_of_val(&*self.ranges)
    }
}
