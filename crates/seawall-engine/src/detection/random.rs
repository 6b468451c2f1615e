//! Randomness from a seed, for sampling: fast, repeatable, and of no use for secrets.

/// The generator xoroshiro's authors give for seeding, SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): one addition and
/// a mix for each number.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Above 0, at most 1.
    pub(crate) fn uniform(&mut self) -> f32 {
        ((self.next() >> 40) + 1) as f32 / (1_u32 << 24) as f32
    }

    /// Below `bound`, which is not zero. The bias of the remainder is below 2⁻⁴⁰ for the small bounds used here.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
