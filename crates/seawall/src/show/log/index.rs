//! Where the rows of a table stand, by the hashes of their values.
//!
//! A hash table with linear probing, whose slots hold half of the hash beside the place: one cache line mostly answers, whether
//! there is a row or not, and hardly any row is looked at in vain. Nothing is ever taken out. A row that has got another value leaves
//! its slot behind, which leads to a row that is not the one looked for, and is gone when the index is made anew.

/// The fewest slots.
const SLOTS_MIN: usize = 16;

/// What stands in a slot that was never used. Places are counted from 1 in slots.
const EMPTY: u64 = 0;

/// Places by hash. The upper half of a slot is that of the hash, the lower half the place.
pub(super) struct Index {
    /// A power of two, of which some are always empty.
    slots: Box<[u64]>,
    used: usize,
}

impl Index {
    /// Of no rows yet.
    pub(super) fn new() -> Self {
        Self { slots: [EMPTY; SLOTS_MIN].into(), used: 0 }
    }

    /// Makes it the index of rows with these hashes, in this order. There is room for half as many more at least.
    pub(super) fn renew(&mut self, hashes: impl ExactSizeIterator<Item = u64>) {
        let count = (2 * hashes.len()).next_power_of_two().max(SLOTS_MIN);
        if self.slots.len() == count {
            self.slots.fill(EMPTY);
        } else {
            self.slots = vec![EMPTY; count].into();
        }
        self.used = 0;
        for (place, hash) in (0..).zip(hashes) {
            self.insert(hash, place);
        }
    }

    /// Whether it has to be made anew before anything more is added. With three quarters of the slots in use, what is not there
    /// is known after eight slots on average, which are a cache line.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.used >= self.slots.len() / 4 * 3
    }

    /// Adds the place of a row. The index must not be full.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, place: u32) {
        debug_assert!(!self.is_full(), "what is full is made anew");
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(slot) = self.slots.get_mut(at) {
            if *slot == EMPTY {
                *slot = upper_half(hash) | (u64::from(place) + 1);
                self.used += 1;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// The slot at which a search for this hash begins. Who searches for many reads those of all before, without a branch between
    /// them, so that their memory is fetched at the same time.
    #[inline]
    pub(super) fn first_slot(&self, hash: u64) -> u64 {
        self.slots.get(hash as usize & (self.slots.len() - 1)).copied().unwrap_or(EMPTY)
    }

    /// The place of the row with this hash that `is_it`. The search begins with the first slot of the hash.
    #[inline]
    pub(super) fn find(&self, first_slot: u64, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        let mut slot = first_slot;
        loop {
            if slot == EMPTY {
                return None;
            }
            if upper_half(slot) == upper_half(hash) {
                let place = slot as u32 - 1;
                if is_it(place) {
                    return Some(place);
                }
            }
            at = (at + 1) & mask;
            slot = *self.slots.get(at)?;
        }
    }
}

const fn upper_half(bits: u64) -> u64 {
    bits >> 32 << 32
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Rows as a table has them, and what they should be.
    #[derive(Default)]
    struct Rows {
        hashes: Vec<u64>,
        known: HashMap<u64, u32>,
    }

    impl Rows {
        fn check(&self, index: &Index, hash: u64) {
            let found =
                index.find(index.first_slot(hash), hash, |place| self.hashes.get(place as usize) == Some(&hash));
            assert_eq!(found, self.known.get(&hash).copied(), "{hash:x}");
        }
    }

    #[test]
    fn what_was_put_in_is_found_and_what_was_replaced_is_not() {
        // Few different halves, so that many hashes collide in their slot, in what the slot holds of them, or in both.
        for (lower, upper) in [(u64::from(u32::MAX), u64::from(u32::MAX)), (0xF, 0xFFFF), (0xFFFF, 1), (0, 0x3FF)] {
            let mut dice = fastrand::Rng::with_seed(lower ^ upper);
            let (mut rows, mut index) = (Rows::default(), Index::new());
            for _ in 0..3_000 {
                let hash = (dice.u64(..) & upper) << 32 | dice.u64(..) & lower;
                rows.check(&index, hash);
                if rows.known.contains_key(&hash) {
                    continue;
                }
                let place = if rows.hashes.len() < 500 {
                    rows.hashes.push(hash);
                    rows.hashes.len() - 1
                } else {
                    let place = dice.usize(..500);
                    rows.known.remove(&std::mem::replace(&mut rows.hashes[place], hash));
                    place
                } as u32;
                rows.known.insert(hash, place);
                if index.is_full() {
                    index.renew(rows.hashes.iter().copied());
                    assert!(index.slots.len() <= 2048, "500 rows take no more");
                } else {
                    index.insert(hash, place);
                }
            }
            rows.known.keys().for_each(|hash| rows.check(&index, *hash));
        }
    }
}
