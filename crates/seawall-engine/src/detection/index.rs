//! Some rows, and which of them have the values of some conjunctions.

use super::having::Having;
use super::recent::Sampled;
use super::values::Item;

/// A row that matches, and its place among all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matching<'r, 'a> {
    pub(super) place: usize,
    pub(super) sampled: &'r Sampled<'a>,
}

/// Rows, and which of them have the values that it was made for.
#[derive(Debug)]
pub(super) struct RowIndex<'a> {
    rows: Vec<Sampled<'a>>,
    having: Having,
}

impl<'a> RowIndex<'a> {
    /// Over at most `rows_max` of these rows, evenly taken, for the values of these conjunctions.
    pub(super) fn new<'i>(
        rows: Vec<Sampled<'a>>,
        rows_max: usize,
        conjunctions: impl Iterator<Item = &'i [Item]>,
    ) -> Self {
        let stride = rows.len().div_ceil(rows_max).max(1);
        let rows: Vec<Sampled<'a>> = if stride == 1 {
            rows
        } else {
            // What is left out is stood for by what is kept.
            let kept = rows.into_iter().step_by(stride);
            kept.map(|sampled| Sampled { factor: sampled.factor * stride as f32, ..sampled }).collect()
        };
        let marks = rows.iter().map(|sampled| &sampled.row.marks);
        let having = Having::new(conjunctions.flatten().copied(), rows.len(), marks);
        Self { rows, having }
    }

    /// The rows that have all of these values, which are among those that the index was made for.
    pub(super) fn matching(&self, items: &[Item]) -> impl Iterator<Item = Matching<'_, 'a>> {
        let places = self.having.all_of(items).unwrap_or_default().into_places();
        places.filter_map(|place| Some(Matching { place, sampled: self.rows.get(place)? }))
    }

    /// All rows.
    pub(super) fn rows(&self) -> &[Sampled<'a>] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::recent::Row;
    use crate::observation::attribute::Attribute;
    use crate::units::Timestamp;

    #[test]
    fn it_finds_what_a_walk_would() {
        let rows: Vec<Row> = (0..300)
            .map(|number: u32| {
                let mut row = Row::default();
                row.marks.of_mut(Attribute::Path)[0] = 10 + number % 3;
                row.marks.of_mut(Attribute::UserAgent)[0] = 10 + number % 5;
                row
            })
            .collect();
        let sampled = || rows.iter().map(|row| Sampled { row, at: Timestamp::EPOCH, factor: 1.0 }).collect::<Vec<_>>();
        let item = |attribute, hash| Item { attribute, hash };
        let both = [item(Attribute::UserAgent, 11), item(Attribute::Path, 12)];
        let other = [item(Attribute::Path, 99)];
        let conjunctions = [&both[..], &other[..]];
        let index = RowIndex::new(sampled(), 1000, conjunctions.into_iter());
        assert_eq!(index.matching(&both).count(), sampled().iter().filter(|row| row.row.marks.has_all(&both)).count());
        assert_eq!(index.matching(&both).count(), 20);
        assert!(index.matching(&both).all(|found| found.place % 15 == 11));
        assert_eq!(index.matching(&other).count(), 0);
        assert_eq!(index.matching(&[item(Attribute::Method, 5)]).count(), 0, "not indexed");
        let sparse = RowIndex::new(sampled(), 100, conjunctions.into_iter());
        assert_eq!(sparse.rows().len(), 100);
        assert_eq!(sparse.rows().iter().map(|row| row.factor).sum::<f32>(), 300.0);
    }
}
