//! How many distinct values there were, in a few KiB.
//!
//! HyperLogLog (Flajolet, Fusy, Gandouet, Meunier: "HyperLogLog: the analysis of a near-optimal cardinality estimation
//! algorithm", 2007).

/// An estimate of how many distinct hashes were added.
#[derive(Clone, Debug)]
pub struct Distinct {
    registers: Box<[u8]>,
    /// The bits of a hash that choose the register.
    bits: u32,
}

impl Default for Distinct {
    fn default() -> Self {
        Self::new()
    }
}

impl Distinct {
    /// Of nothing yet, with 2¹⁴ registers in 16 KiB: a standard error of 0.8%.
    pub fn new() -> Self {
        Self::with_bits(14)
    }

    /// Of nothing yet, with 2¹⁰ registers in 1 KiB: a standard error of 3.3%.
    pub fn small() -> Self {
        Self::with_bits(10)
    }

    fn with_bits(bits: u32) -> Self {
        Self { registers: vec![0; 1 << bits].into_boxed_slice(), bits }
    }

    /// Adds the hash of a value.
    pub fn add(&mut self, hash: u64) {
        // The hash of a table is made to be fast: its bits are mixed once more (the finalizer of MurmurHash3), since this
        // needs all of them to be good.
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
        let hash = hash ^ (hash >> 33);
        let register = (hash >> (u64::BITS - self.bits)) as usize;
        let rank = (hash << self.bits | 1 << (self.bits - 1)).leading_zeros() + 1;
        if let (Some(register), Ok(rank)) = (self.registers.get_mut(register), u8::try_from(rank)) {
            *register = rank.max(*register);
        }
    }

    /// Adds all values of another estimate of the same size, whose hashes were made in the same way.
    pub fn merge(&mut self, other: &Self) {
        for (register, other) in self.registers.iter_mut().zip(&other.registers) {
            *register = (*other).max(*register);
        }
    }

    /// The estimate.
    pub fn estimate(&self) -> u64 {
        let count = self.registers.len() as f64;
        let harmonic: f64 = self.registers.iter().map(|rank| 0.5_f64.powi(i32::from(*rank))).sum();
        let alpha = 0.7213 / (1.0 + 1.079 / count);
        let raw = alpha * count * count / harmonic;
        let empty = self.registers.iter().filter(|rank| **rank == 0).count();
        // Below two and a half values for each register, counting the empty ones is the better estimate.
        let estimate = if raw <= 2.5 * count && empty > 0 { count * (count / empty as f64).ln() } else { raw };
        estimate.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_within_a_few_standard_errors() {
        let hasher = siphasher::sip::SipHasher13::new_with_keys(1, 2);
        let (mut distinct, mut small) = (Distinct::new(), Distinct::small());
        for number in 1..=1_000_000_u64 {
            let hash = hasher.hash(&number.to_le_bytes());
            distinct.add(hash);
            distinct.add(hash);
            small.add(hash);
            if [100, 10_000, 100_000, 1_000_000].contains(&number) {
                let error = distinct.estimate() as f64 / number as f64 - 1.0;
                assert!(error.abs() < 0.03, "{number}: {error}");
                let error = small.estimate() as f64 / number as f64 - 1.0;
                assert!(error.abs() < 0.1, "{number}: {error}");
            }
        }
    }

    #[test]
    fn two_parts_together_are_the_whole() {
        let hasher = siphasher::sip::SipHasher13::new_with_keys(1, 2);
        let (mut whole, mut even, mut odd) = (Distinct::new(), Distinct::new(), Distinct::new());
        for number in 0..50_000_u64 {
            let hash = hasher.hash(&number.to_le_bytes());
            whole.add(hash);
            if number % 2 == 0 { even.add(hash) } else { odd.add(hash) }
        }
        even.merge(&odd);
        assert_eq!(even.estimate(), whole.estimate());
    }
}
