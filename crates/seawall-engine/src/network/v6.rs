//! The ranges of IPv6: most of its vast space has none, and some places are dense.
//!
//! A tree narrows the search to a few neighbours by the leading bits of an address, without comparing anything: at its root by
//! sixteen bits, below by as many as the ranges there are dense. What takes longest is to wait for memory. So tree and ranges are
//! small enough for the processor's cache to hold most of them, and the network of a range stands beside its start.

use super::packed::{PackedNetwork, Start};

/// The bits that the root tells apart.
const ROOT_BITS: u32 = 16;

/// The most bits that a node below it tells apart.
const NODE_BITS_MAX: u32 = 8;

/// The fewest children of a node: more than twice as many ranges start below it.
const NODE_CHILDREN_MIN: u32 = 8;

/// The last bits of a start, which ranges do not hold. Few start within: the internet routes nothing smaller than /48.
const FINE_BITS: u32 = 16;

/// The most ranges that start in a leaf behind its first address.
const LEAF_RANGES_MAX: usize = 15;

/// The ranges by the upper 64 bits of their start.
#[derive(Clone, Debug, Default)]
pub(super) struct RangesV6 {
    /// The children of all nodes, those of the root first.
    children: Box<[Child]>,
    /// All of them, by their first address.
    ranges: Box<[RangeV6]>,
    /// The children of the root that any range starts below, ascending, and the place of the first.
    roots: Box<[(u16, u32)]>,
    /// All that start where a range is [`PackedNetwork::DIVIDED`].
    fine: Box<[Start]>,
}

/// A range: the bits of its start behind those of the root and before the fine ones, and its network.
#[derive(Clone, Copy, Debug)]
struct RangeV6 {
    start: u32,
    network: PackedNetwork,
}

/// What is below some leading bits of an address. Its last bit says what it is: a leaf has the place of the range that its first
/// address is in, and in four bits how many start behind that address; a node has the place of its first child, and in four bits
/// how many bits tell its children apart.
#[derive(Clone, Copy, Debug)]
struct Child(u32);

/// A child that is no node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf(Child);

impl Child {
    const NODE: u32 = 1;

    /// No table has as many as 2^27 ranges: see [`super::builder::STARTS_MAX`], of which each may be two.
    const fn leaf(first: usize, behind: usize) -> Self {
        Self((first as u32) << 5 | (behind as u32) << 1)
    }

    /// A node has eight children or more, and the root's are a multiple of that, so the first of a node always has such a place. No table
    /// has as many as 2^30 children: a node has fewer than ranges start below it, and so have those of one depth together. There are at most
    /// eleven depths.
    const fn node(first: usize, bits: u32) -> Self {
        Self((first as u32 / NODE_CHILDREN_MIN) << 5 | bits << 1 | Self::NODE)
    }

    const fn is_node(self) -> bool {
        self.0 & Self::NODE == Self::NODE
    }

    const fn first(self) -> usize {
        let place = (self.0 >> 5) as usize;
        if self.is_node() { place * NODE_CHILDREN_MIN as usize } else { place }
    }

    /// How many ranges start in a leaf behind its first address, how many bits a node tells apart.
    const fn extent(self) -> u32 {
        self.0 >> 1 & 0xF
    }
}

/// Which child of the root an address is below.
const fn root(address: u64) -> u16 {
    (address >> (64 - ROOT_BITS)) as u16
}

/// The bits of an address that ranges have.
const fn coarse(address: u64) -> u32 {
    (address >> FINE_BITS) as u32
}

impl RangesV6 {
    /// `starts` ascend from zero.
    pub(super) fn new(starts: &[Start]) -> Self {
        let (whole, fine) = divide(starts);
        let mut children = vec![Child::leaf(0, 0); 1 << ROOT_BITS];
        Below { starts: &whole, place: 0, begin: 0, depth: 0 }.add_children(0, ROOT_BITS, &mut children);
        let mut roots: Vec<(u16, u32)> = Vec::new();
        for ((start, _), place) in whole.iter().zip(0..) {
            if roots.last().is_none_or(|last| last.0 != root(*start)) {
                roots.push((root(*start), place));
            }
        }
        let ranges = whole.iter().map(|(start, network)| RangeV6 { start: coarse(*start), network: *network });
        Self { children: children.into(), ranges: ranges.collect(), roots: roots.into(), fine: fine.into() }
    }

    /// The network of the range that an address is in, by its upper 64 bits.
    #[inline]
    pub(super) fn find(&self, address: u64) -> Option<PackedNetwork> {
        self.find_within(self.leaf(address)?, address)
    }

    /// The leaf that an address is in.
    #[inline]
    pub(super) fn leaf(&self, address: u64) -> Option<Leaf> {
        let (mut first, mut bits, mut rest) = (0, ROOT_BITS, address);
        loop {
            let child = *self.children.get(first + (rest >> (64 - bits)) as usize)?;
            if !child.is_node() {
                return Some(Leaf(child));
            }
            rest <<= bits;
            (first, bits) = (child.first(), child.extent());
        }
    }

    /// The network of the range that an address in `leaf` is in.
    #[inline]
    pub(super) fn find_within(&self, Leaf(leaf): Leaf, address: u64) -> Option<PackedNetwork> {
        let ranges = self.ranges.get(leaf.first()..=leaf.first() + leaf.extent() as usize)?;
        // The first has what is before the others, wherever it starts itself.
        let others = ranges.get(1..)?;
        let network = ranges.get(others.partition_point(|range| range.start <= coarse(address)))?.network;
        if network == PackedNetwork::DIVIDED { self.find_fine(address) } else { Some(network) }
    }

    #[cold]
    fn find_fine(&self, address: u64) -> Option<PackedNetwork> {
        let after = self.fine.partition_point(|(start, _)| *start <= address);
        Some(self.fine.get(after.checked_sub(1)?)?.1)
    }

    /// All starts, ascending. Neighbours differ in their network.
    pub(super) fn starts(&self) -> impl Iterator<Item = Start> + '_ {
        let ends = self.roots.iter().skip(1).map(|next| next.1 as usize).chain([self.ranges.len()]);
        let whole = self.roots.iter().zip(ends).flat_map(|((root, first), end)| {
            let begin = u64::from(*root) << (64 - ROOT_BITS);
            let ranges = self.ranges.get(*first as usize..end).unwrap_or_default();
            ranges.iter().map(move |range| (begin | u64::from(range.start) << FINE_BITS, range.network))
        });
        let all = whole.flat_map(|(start, network)| {
            let is_divided = network == PackedNetwork::DIVIDED;
            let fine = if is_divided { self.fine_from(start) } else { &[] };
            (!is_divided).then_some((start, network)).into_iter().chain(fine.iter().copied())
        });
        let mut before = None;
        all.filter(move |(_, network)| before.replace(*network) != Some(*network))
    }

    /// What the divided range that starts at `start` is made of.
    fn fine_from(&self, start: u64) -> &[Start] {
        let from = self.fine.partition_point(|fine| fine.0 < start);
        let fine = self.fine.get(from..).unwrap_or_default();
        let end = fine.partition_point(|fine| fine.0 >> FINE_BITS == start >> FINE_BITS);
        fine.get(..end).unwrap_or_default()
    }

    /// The memory that is held, in bytes.
    pub(super) fn resident_bytes(&self) -> usize {
        size_of_val(&*self.children) + size_of_val(&*self.ranges) + size_of_val(&*self.roots) + size_of_val(&*self.fine)
    }
}

/// Starts that need no fine bits, and those that are told only by them: all that are in a range which is then
/// [`PackedNetwork::DIVIDED`], the first at its first address.
fn divide(starts: &[Start]) -> (Vec<Start>, Vec<Start>) {
    let (mut whole, mut fine) = (Vec::with_capacity(starts.len()), Vec::new());
    let mut current = PackedNetwork::UNKNOWN;
    let begin = |start: u64| start >> FINE_BITS << FINE_BITS;
    let mut blocks = starts.chunk_by(|one, other| begin(one.0) == begin(other.0)).peekable();
    while let Some(block) = blocks.next() {
        match *block {
            [(start, network)] if start == begin(start) => whole.push((start, network)),
            [(start, _), ..] => {
                whole.push((begin(start), PackedNetwork::DIVIDED));
                if start != begin(start) {
                    fine.push((begin(start), current));
                }
                fine.extend(block);
            }
            [] => {}
        }
        let (Some((start, network)), next) = (block.last(), blocks.peek().and_then(|next| next.first())) else { break };
        current = *network;
        let end = begin(*start).checked_add(1 << FINE_BITS).filter(|end| next.is_none_or(|next| begin(next.0) > *end));
        let is_divided = whole.last().is_some_and(|last| last.1 == PackedNetwork::DIVIDED);
        whole.extend(end.filter(|_| is_divided).map(|end| (end, current)));
    }
    (whole, fine)
}

/// What is below the first `depth` bits of `begin`, which is the first address there: ranges that start so, and the place of the first
/// of them among all.
struct Below<'a> {
    starts: &'a [Start],
    place: usize,
    begin: u64,
    depth: u32,
}

impl Below<'_> {
    /// Puts what the next `bits` tell apart in the places from `first` on, which there are, and what is below that behind all.
    fn add_children(&self, first: usize, bits: u32, children: &mut Vec<Child>) {
        let (mut coming, mut place, depth) = (self.starts, self.place, self.depth + bits);
        for index in 0..1_usize << bits {
            let begin = self.begin | (index as u64) << (64 - depth);
            let last = begin | u64::MAX >> depth;
            let count = coming.iter().take_while(|(start, _)| *start <= last).count();
            let (starts, others) = coming.split_at(count);
            let child = Below { starts, place, begin, depth }.add(children);
            if let Some(entry) = children.get_mut(first + index) {
                *entry = child;
            }
            (coming, place) = (others, place + count);
        }
    }

    /// All of it as one child, whose own children are added to the others.
    fn add(&self, children: &mut Vec<Child>) -> Child {
        // The range that the first address is in is the one before, unless one starts there.
        let starts_first = self.starts.first().is_some_and(|(start, _)| *start == self.begin);
        let behind = self.starts.len() - usize::from(starts_first);
        if behind <= LEAF_RANGES_MAX {
            let first = if starts_first { self.place } else { self.place.saturating_sub(1) };
            return Child::leaf(first, behind);
        }
        // There are more bits left: each of the ranges starts at another /48.
        let bits = (behind / 2).ilog2().min(NODE_BITS_MAX);
        let first = children.len();
        children.resize(first + (1 << bits), Child::leaf(0, 0));
        self.add_children(first, bits, children);
        Child::node(first, bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            bits ^ (bits >> 31)
        }

        fn one_of(&mut self, values: &[u64]) -> u64 {
            values[self.next() as usize % values.len()]
        }
    }

    /// Starts as they lie in the internet and worse: clusters of all sizes, at borders too, of networks of one length or any.
    fn starts(random: &mut Random) -> Vec<Start> {
        let mut starts = vec![0];
        for _ in 0..random.next() % 5 {
            let any = random.next();
            let middle =
                random.one_of(&[0, u64::MAX, 0x2001_FFFF_FFFF_FFFF, any, any >> 48 << 48, 0x2A00_0000_0000_0000]);
            let (spread, grain) = (random.next() % 64, random.one_of(&[0, 8, 15, 16, 16, 16, 17, 20, 32]));
            for _ in 0..random.next() % random.one_of(&[6, 50, 400, 3000]) {
                starts.push(middle ^ (random.next() >> spread >> grain << grain));
            }
        }
        starts.sort_unstable();
        starts.dedup();
        // Neighbours differ.
        let networks = (1..).map(|number| PackedNetwork::from_bits(number % 3 + 1));
        starts.into_iter().zip(networks).collect()
    }

    #[test]
    fn every_address_is_found_in_the_range_that_a_plain_search_finds() {
        let mut random = Random(1);
        let mut with_nodes = 0;
        for _ in 0..300 {
            let starts = starts(&mut random);
            let ranges = RangesV6::new(&starts);
            with_nodes += usize::from(ranges.children.len() > 1 << ROOT_BITS);
            assert!(ranges.starts().eq(starts.iter().copied()));
            let near = [0, 1, u64::MAX, 1 << FINE_BITS, (1 << FINE_BITS) - 1, u64::MAX << FINE_BITS];
            let near = starts.iter().flat_map(|(start, _)| near.map(|step| start.wrapping_add(step)));
            for address in near.chain([0, u64::MAX, random.next(), random.next()]) {
                let after = starts.partition_point(|(start, _)| *start <= address);
                assert_eq!(ranges.find(address), Some(starts[after - 1].1), "{address:x}");
            }
        }
        assert!(with_nodes > 100, "{with_nodes} of 300 have nodes below the root");
    }

    #[test]
    fn no_ranges_hold_nothing() {
        assert_eq!(RangesV6::new(&[]).find(1), None);
        assert_eq!(RangesV6::default().find(1), None);
    }
}
