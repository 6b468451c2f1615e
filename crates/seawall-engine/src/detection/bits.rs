//! Sets of rows as bits.

/// A set of rows, by their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// None of so many.
    pub(crate) fn new(length: usize) -> Self {
        Self(vec![0; length.div_ceil(64)])
    }

    /// All of so many.
    pub(crate) fn full(length: usize) -> Self {
        let mut all = Self(vec![u64::MAX; length.div_ceil(64)]);
        if let (Some(last), used @ 1..) = (all.0.last_mut(), length % 64) {
            *last = (1 << used) - 1;
        }
        all
    }

    pub(crate) fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    /// Sets all places of a range.
    pub(crate) fn set_range(&mut self, range: std::ops::Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let length = (64 - at % 64).min(range.end - at);
            if let Some(word) = self.0.get_mut(at / 64) {
                *word |= (u64::MAX >> (64 - length)) << (at % 64);
            }
            at += length;
        }
    }

    /// Adds the places at which this value stands.
    pub(crate) fn add_where(&mut self, values: &[u32], value: u32) {
        for (word, values) in self.0.iter_mut().zip(values.chunks(64)) {
            // Most stretches have none, and a sum over a stretch is what processors do fastest.
            let found = values.iter().map(|other| u32::from(*other == value)).sum::<u32>() as usize;
            if found == values.len() {
                *word |= u64::MAX >> (64 - values.len());
            } else if found > 0 {
                for (at, other) in values.iter().enumerate() {
                    *word |= u64::from(*other == value) << at;
                }
            }
        }
    }

    pub(crate) fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The places that are set, in order.
    pub(crate) fn into_places(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(word, bits)| {
            let mut left = bits;
            std::iter::from_fn(move || {
                let at = (left != 0).then(|| word * 64 + left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(at)
            })
        })
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(first, second)| first & second).collect())
    }

    /// Keeps what is in the other as well.
    pub(crate) fn keep(&mut self, other: &Self) {
        self.0.truncate(other.0.len());
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    /// What is in all of these; `None` of none.
    pub(crate) fn all_of<'b>(mut sets: impl Iterator<Item = &'b Self>) -> Option<Self> {
        let mut all = sets.next()?.clone();
        sets.for_each(|set| all.keep(set));
        Some(all)
    }

    pub(crate) fn count_and(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(first, second)| (first & second).count_ones()).sum()
    }

    /// How many are in all three.
    pub(crate) fn count_and_and(&self, other: &Self, third: &Self) -> u32 {
        let both = self.0.iter().zip(&other.0).map(|(first, second)| first & second);
        both.zip(&third.0).map(|(both, third)| (both & third).count_ones()).sum()
    }

    pub(crate) fn count_without(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(first, second)| (first & !second).count_ones()).sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_what_their_places_are() {
        let of = |places: &[usize]| {
            let mut bits = Bits::new(200);
            places.iter().for_each(|at| bits.set(*at));
            bits
        };
        let (first, second) = (of(&[0, 63, 64, 130, 199]), of(&[63, 130, 131]));
        assert_eq!(first.clone().into_places().collect::<Vec<_>>(), [0, 63, 64, 130, 199]);
        assert_eq!(first.and(&second), of(&[63, 130]));
        assert_eq!(Bits::all_of([&first, &second, &of(&[5, 130])].into_iter()), Some(of(&[130])));
        assert_eq!(Bits::all_of(std::iter::empty()), None);
        assert_eq!((first.count_and(&second), first.count_without(&second)), (2, 3));
        assert_eq!(first.count_and_and(&second, &of(&[130])), 1);
        assert!(first.has(199) && !first.has(198) && !first.has(5000));
        assert_eq!((Bits::full(200).count(), Bits::full(128).count(), Bits::full(0).count()), (200, 128, 0));
        let values: Vec<u32> = (0..200).map(|at| if first.has(at) { 7 } else { 8 }).collect();
        let mut found = Bits::new(200);
        found.add_where(&values, 7);
        assert_eq!(found, first);
        let mut all = Bits::new(200);
        all.add_where(&[7; 200], 7);
        assert_eq!(all, Bits::full(200));
        for range in [0..0, 3..5, 0..64, 60..70, 63..200, 128..192] {
            let mut ranged = Bits::new(200);
            ranged.set_range(range.clone());
            assert_eq!(ranged, of(&range.collect::<Vec<_>>()));
        }
    }
}
