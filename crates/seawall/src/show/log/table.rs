//! Counting by value in bounded memory.
//!
//! A table is exact until it holds as many distinct values as it may. From then on it is a Space-Saving summary
//! (Metwally, Agrawal, El Abbadi: "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005): a new
//! value takes the place of the one with the fewest hits and inherits its counts, so that counts are never too small, and
//! each row knows by how much it may be too large. A value with more hits than the smallest row is never missing.

use seawall_engine::distinct::Distinct;
use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Hits, and the bytes sent in answer to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::show) struct Count {
    /// Requests.
    pub(in crate::show) hits: u64,
    /// Bytes of answer.
    pub(in crate::show) bytes: u64,
}

impl Count {
    /// Adds one hit.
    #[inline]
    pub(in crate::show) fn add(&mut self, bytes: u64) {
        self.hits += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// How much a table may hold before it stops being exact.
#[derive(Clone, Copy, Debug)]
pub(in crate::show) struct Bounds {
    /// Distinct values.
    pub(in crate::show) rows_max: usize,
    /// Bytes of all values together. Values that come in later may double it at most: none is longer than 256 bytes.
    pub(in crate::show) value_bytes_max: usize,
}

impl Bounds {
    /// What each table of a report may hold. Six full tables together stay below 256 MiB.
    pub(in crate::show) const REPORT: Self = Self { rows_max: 200_000, value_bytes_max: 24 << 20 };
}

/// A value and its counts.
#[derive(Debug)]
pub(in crate::show) struct Row {
    /// The value.
    pub(in crate::show) value: Vec<u8>,
    /// What was counted, never too little.
    pub(in crate::show) count: Count,
    /// By how much it may be too much.
    pub(in crate::show) error: Count,
    hash: u64,
}

/// Counts by value.
pub(in crate::show) struct Table {
    bounds: Bounds,
    hasher: DefaultHashBuilder,
    index: HashTable<u32>,
    rows: Vec<Row>,
    value_bytes: usize,
    /// Requests that have no value.
    absent: Count,
    distinct: Distinct,
    /// Rows that had the fewest hits when they were last looked for; their counts may have grown since.
    smallest: Vec<u32>,
    /// The fewest hits of any row, when they were last looked for; 0 while the table is exact.
    smallest_hits: u64,
}

impl Table {
    /// An empty table.
    pub(in crate::show) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            hasher: DefaultHashBuilder::default(),
            index: HashTable::new(),
            rows: Vec::new(),
            value_bytes: 0,
            absent: Count::default(),
            distinct: Distinct::new(),
            smallest: Vec::new(),
            smallest_hits: 0,
        }
    }

    /// Counts a request that has `value`, or none.
    #[inline]
    pub(in crate::show) fn add(&mut self, value: Option<&[u8]>, bytes: u64) {
        let Some(value) = value else { return self.absent.add(bytes) };
        let hash = self.hasher.hash_one(value);
        let Self { index, rows, .. } = self;
        let found = index.find(hash, |row| is_row(rows, *row, hash, value));
        match found.and_then(|row| rows.get_mut(*row as usize)) {
            Some(row) => row.count.add(bytes),
            None => self.add_new(value, hash, bytes),
        }
    }

    /// Requests that have no value.
    pub(in crate::show) fn absent(&self) -> Count {
        self.absent
    }

    /// Whether every distinct value has a row of its own.
    pub(in crate::show) fn is_exact(&self) -> bool {
        self.smallest_hits == 0
    }

    /// How many distinct values were counted: exact while the table is, else an estimate.
    pub(in crate::show) fn distinct(&self) -> u64 {
        if self.is_exact() { self.rows.len() as u64 } else { self.distinct.estimate() }
    }

    /// How many hits a value without a row can have at most.
    pub(in crate::show) fn missing_hits_max(&self) -> u64 {
        self.smallest_hits
    }

    /// Every row, in no order.
    pub(in crate::show) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows with the most hits, most first; ties by bytes, then by value.
    pub(in crate::show) fn top(&self, count: usize) -> Vec<&Row> {
        let order = |a: &&Row, b: &&Row| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value));
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        if count < rows.len() {
            rows.select_nth_unstable_by(count, order);
            rows.truncate(count);
        }
        rows.sort_unstable_by(order);
        rows
    }

    #[cold]
    fn add_new(&mut self, value: &[u8], hash: u64, bytes: u64) {
        self.distinct.add(hash);
        let is_full = self.rows.len() >= self.bounds.rows_max || self.value_bytes >= self.bounds.value_bytes_max;
        let place = if is_full { self.replace_smallest(value, hash, bytes) } else { self.append(value, hash, bytes) };
        let Some(place) = place else { return };
        let rows = &self.rows;
        self.index.insert_unique(hash, place, |row| rows.get(*row as usize).map_or(0, |row| row.hash));
    }

    fn append(&mut self, value: &[u8], hash: u64, bytes: u64) -> Option<u32> {
        let place = u32::try_from(self.rows.len()).ok()?;
        let count = Count { hits: 1, bytes };
        self.value_bytes += value.len();
        self.rows.push(Row { value: value.to_vec(), count, error: Count::default(), hash });
        Some(place)
    }

    fn replace_smallest(&mut self, value: &[u8], hash: u64, bytes: u64) -> Option<u32> {
        let place = self.find_smallest()?;
        let row = self.rows.get_mut(place as usize)?;
        if let Ok(entry) = self.index.find_entry(row.hash, |other| *other == place) {
            entry.remove();
        }
        row.value.clear();
        row.value.extend_from_slice(value);
        row.hash = hash;
        row.error = row.count;
        row.count.add(bytes);
        Some(place)
    }

    /// A row with the fewest hits of all.
    ///
    /// All of them are found at once and used up before they are looked for again. By then every row has at least one hit
    /// more, so that a table of n rows is gone through once for n hits or more: constant time for each hit.
    fn find_smallest(&mut self) -> Option<u32> {
        loop {
            while let Some(place) = self.smallest.pop() {
                if self.rows.get(place as usize).is_some_and(|row| row.count.hits == self.smallest_hits) {
                    return Some(place);
                }
            }
            self.smallest_hits = self.rows.iter().map(|row| row.count.hits).min()?;
            let places = (0_u32..).zip(&self.rows);
            let smallest = places.filter(|(_, row)| row.count.hits == self.smallest_hits).map(|(place, _)| place);
            self.smallest.extend(smallest);
        }
    }
}

#[inline]
fn is_row(rows: &[Row], place: u32, hash: u64, value: &[u8]) -> bool {
    rows.get(place as usize).is_some_and(|row| row.hash == hash && row.value == value)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn table(rows_max: usize) -> Table {
        Table::new(Bounds { rows_max, value_bytes_max: 1 << 20 })
    }

    #[test]
    fn counts_are_exact_while_there_is_room() {
        let mut table = table(3);
        for (value, bytes) in [("a", 5), ("b", 1), ("a", 7), ("c", 0), ("b", 2)] {
            table.add(Some(value.as_bytes()), bytes);
        }
        table.add(None, 9);
        assert!(table.is_exact());
        assert_eq!(table.distinct(), 3);
        assert_eq!(table.absent(), Count { hits: 1, bytes: 9 });
        let top: Vec<_> = table.top(2).iter().map(|row| (row.value.as_slice(), row.count, row.error)).collect();
        let none = Count::default();
        assert_eq!(
            top,
            [
                (b"a".as_slice(), Count { hits: 2, bytes: 12 }, none),
                (b"b".as_slice(), Count { hits: 2, bytes: 3 }, none),
            ]
        );
    }

    #[test]
    fn a_full_table_keeps_its_size_and_its_promises() {
        let mut table = table(100);
        let mut truth: HashMap<u64, u64> = HashMap::new();
        let mut state = 1_u64;
        for _ in 0..50_000 {
            // A linear congruential generator; values are skewed so that there are heavy hitters and a long tail.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = if state >> 63 == 0 { (state >> 40) % 20 } else { (state >> 33) % 10_000 };
            table.add(Some(&value.to_le_bytes()), 10);
            *truth.entry(value).or_default() += 1;
        }
        assert_eq!(table.rows().len(), 100);
        assert!(!table.is_exact());
        assert_eq!(table.rows().iter().map(|row| row.count.hits).sum::<u64>(), 50_000, "no hit is lost");
        let mut kept = HashMap::new();
        for row in table.rows() {
            let value = u64::from_le_bytes(row.value.as_slice().try_into().expect("eight bytes"));
            let exact = truth[&value];
            assert!(row.count.hits >= exact && row.count.hits - row.error.hits <= exact, "{value}");
            assert_eq!(row.count.bytes, row.count.hits * 10, "bytes are inherited with the hits");
            kept.insert(value, ());
        }
        for (value, hits) in &truth {
            assert!(*hits <= table.missing_hits_max() || kept.contains_key(value), "{value} is missing");
        }
        let distinct = table.distinct() as f64;
        assert!((distinct / truth.len() as f64 - 1.0).abs() < 0.05, "{distinct} of {}", truth.len());
    }

    #[test]
    fn long_values_fill_a_table_too() {
        let mut table = Table::new(Bounds { rows_max: 1_000_000, value_bytes_max: 10_000 });
        for number in 0..10_000_u32 {
            table.add(Some(format!("{number:0>200}").as_bytes()), 1);
        }
        assert_eq!(table.rows().len(), 50);
        assert!(!table.is_exact());
    }
}
