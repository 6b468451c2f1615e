//! Randomness from a seed.

use std::net::{IpAddr, Ipv4Addr};

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x1234_5678)
    }

    /// Dice of their own that follow from these, which stay as they are.
    pub fn apart(&self) -> Self {
        Self(self.0 ^ 0x5851_f42d_4c95_7f2d)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// From 0 to below 1.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// How many of a Poisson process with this mean.
    pub fn poisson(&mut self, mean: f64) -> usize {
        let (limit, mut product, mut count) = ((-mean).exp(), self.uniform(), 0);
        while product > limit {
            product *= self.uniform();
            count += 1;
        }
        count
    }

    /// A number below `bound`, small ones more often.
    pub fn zipf(&mut self, bound: usize) -> usize {
        ((bound as f64).powf(self.uniform()) - 1.0) as usize
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A word of lower-case letters.
    pub fn word(&mut self, letters: usize) -> String {
        (0..letters).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    /// An address out of the `count` ones of a pool.
    pub fn address(&mut self, pool: u8, count: usize) -> IpAddr {
        address(pool, self.below(count))
    }
}

/// The address of a number in a pool, spread over many networks. Pools that are eight apart share none.
pub fn address(pool: u8, number: usize) -> IpAddr {
    let mixed = (number as u32).wrapping_mul(0x9e37_79b1);
    IpAddr::V4(Ipv4Addr::new(
        pool.wrapping_add((mixed >> 24) as u8 & 7),
        (mixed >> 16) as u8,
        (mixed >> 8) as u8,
        number as u8,
    ))
}
