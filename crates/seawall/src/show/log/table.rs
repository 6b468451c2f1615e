//! Counting by value in bounded memory.
//!
//! A table is exact until there is no memory for a further distinct value. From then on it is a Space-Saving summary
//! (Metwally, Agrawal, El Abbadi: "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005): a new
//! value takes the place of the one with the fewest hits and inherits its counts, so that hits are never too few, and each row
//! knows by how many they may be too many. A value with more hits than the smallest row is never missing.

use std::cmp::Ordering;
use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use seawall_engine::distinct::Distinct;
use smallvec::SmallVec;

use super::index::Index;

/// Rows that a table may have without asking for memory: 1,024 of at most 256 bytes each.
const ROWS_MIN: usize = 1024;

/// Requests whose rows are looked for together.
const GROUP: usize = 32;

/// A value of at most so many bytes is kept in its row.
const INLINE_BYTES: usize = 16;

/// What a row takes besides the bytes of a value that is too long for it: itself, its place in the index, and what allocating the
/// value takes.
const ROW_BYTES: usize = size_of::<Row>() + 24;

/// Hits, and what was spent on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::show) struct Count {
    /// Requests.
    pub(in crate::show) hits: u64,
    /// Bytes of answer.
    pub(in crate::show) bytes: u64,
    /// Those of the requests whose log says how long they took,
    pub(in crate::show) timed: u64,
    /// and how long that was, in microseconds.
    pub(in crate::show) micros: u64,
}

impl Count {
    /// One request with this many bytes of answer, of which nobody knows how long it took.
    pub(in crate::show) const fn of_bytes(bytes: u64) -> Self {
        Self { hits: 1, bytes, timed: 0, micros: 0 }
    }

    /// Adds another count.
    #[inline]
    pub(in crate::show) fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.timed += other.timed;
        self.micros = self.micros.saturating_add(other.micros);
    }

    /// How long a request took on average, in microseconds; `None` when no log says so.
    pub(in crate::show) fn mean_micros(&self) -> Option<u64> {
        self.micros.checked_div(self.timed)
    }
}

/// How many kinds of hits a table tells apart.
pub(in crate::show) const KINDS: usize = 5;

/// Memory that several tables share, in bytes. A table that gets none stops being exact.
#[derive(Clone, Copy, Debug)]
pub(in crate::show) struct Budget {
    left: usize,
}

impl Budget {
    /// So many bytes.
    pub(in crate::show) const fn new(bytes: usize) -> Self {
        Self { left: bytes }
    }

    fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// A value. One of at most so many bytes allocates nothing, as no address does.
type Bytes = SmallVec<[u8; INLINE_BYTES]>;

/// A value that is short enough to be held in place, as long as it waits to be counted.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::show) struct ShortValue {
    bytes: [u8; INLINE_BYTES],
    length: u8,
}

impl ShortValue {
    /// A value of these bytes.
    #[inline]
    pub(in crate::show) fn new<const N: usize>(value: [u8; N]) -> Self {
        const { assert!(N <= INLINE_BYTES, "the value is not short") };
        let mut bytes = [0; INLINE_BYTES];
        if let Some((beginning, _)) = bytes.split_first_chunk_mut() {
            *beginning = value;
        }
        Self { bytes, length: N as u8 }
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// A request whose row is looked for together with those of others.
#[derive(Clone, Copy, Default)]
struct Grouped {
    value: ShortValue,
    hash: u64,
    first_slot: u64,
    found: Option<u32>,
    counted: (Count, usize),
}

/// A value and its counts.
#[derive(Debug)]
pub(in crate::show) struct Row {
    /// The value.
    pub(in crate::show) value: Bytes,
    /// What was counted. The hits are never too few.
    pub(in crate::show) count: Count,
    /// How many hits may be too many,
    pub(in crate::show) hits_error: u64,
    /// and how many bytes were counted of other values.
    pub(in crate::show) bytes_error: u64,
    /// The hits of every kind but the first, the most frequent; those are what is left.
    kinds: [u32; KINDS - 1],
    hash: u64,
}

impl Row {
    #[inline]
    fn add(&mut self, count: Count, kind: usize) {
        self.count.add(count);
        if let Some(hits) = kind.checked_sub(1).and_then(|place| self.kinds.get_mut(place)) {
            *hits = hits.saturating_add(1);
        }
    }

    /// The hits of each kind, without those that may be too many: they are as many as the rest of the hits, or more.
    pub(in crate::show) fn hits_by_kind(&self) -> [u64; KINDS] {
        let mut hits = [0; KINDS];
        for (hits, kind) in hits.iter_mut().skip(1).zip(self.kinds) {
            *hits = u64::from(kind);
        }
        let others = hits.iter().sum();
        if let Some(first) = hits.first_mut() {
            *first = (self.count.hits - self.hits_error).saturating_sub(others);
        }
        hits
    }
}

/// What a value of this length takes outside its row, in bytes.
fn outside(length: usize) -> usize {
    if length > INLINE_BYTES { length } else { 0 }
}

/// Counts by value.
pub(in crate::show) struct Table {
    hasher: DefaultHashBuilder,
    index: Index,
    rows: Vec<Row>,
    /// The row that was counted last: the next request often has the same value.
    last: u32,
    /// Requests that have no value.
    absent: Count,
    distinct: Distinct,
    /// Rows that had the fewest hits when they were last looked for; their counts may have grown since.
    smallest: Vec<u32>,
    /// The fewest hits of any row, when they were last looked for; 0 while the table is exact.
    smallest_hits: u64,
}

impl Table {
    /// An empty table. Only tables with the same hasher can be merged.
    pub(in crate::show) fn new(hasher: DefaultHashBuilder) -> Self {
        Self {
            hasher,
            index: Index::new(),
            rows: Vec::new(),
            last: 0,
            absent: Count::default(),
            distinct: Distinct::new(),
            smallest: Vec::new(),
            smallest_hits: 0,
        }
    }

    /// Counts a request that has `value`, or none, with memory from `budget` for a new one. The kind is its place among the
    /// [`KINDS`].
    #[inline]
    pub(in crate::show) fn add(&mut self, value: Option<&[u8]>, count: Count, kind: usize, budget: &mut Budget) {
        let Some(value) = value else { return self.absent.add(count) };
        if let Some(row) = self.rows.get_mut(self.last as usize).filter(|row| is_same(&row.value, value)) {
            return row.add(count, kind);
        }
        let hash = self.hasher.hash_one(value);
        let found = self.find(value, hash);
        self.add_found((value, hash, found), (count, kind), budget);
    }

    /// The same for several requests. Where they are counted is looked for first, for a group at a time: none of a group waits for the
    /// memory that another needs.
    pub(in crate::show) fn add_all(
        &mut self,
        requests: impl Iterator<Item = (Option<ShortValue>, Count, usize)>,
        budget: &mut Budget,
    ) {
        // So few stay in the processor's caches.
        if self.rows.len() < ROWS_MIN {
            for (value, count, kind) in requests {
                self.add(value.as_ref().map(ShortValue::as_slice), count, kind, budget);
            }
            return;
        }
        let mut absent = Count::default();
        let mut requests = requests.filter_map(|(value, count, kind)| {
            if value.is_none() {
                absent.add(count);
            }
            value.map(|value| (value, (count, kind)))
        });
        let mut group = [Grouped::default(); GROUP];
        loop {
            let mut length = 0;
            for (place, (value, counted)) in group.iter_mut().zip(&mut requests) {
                let hash = self.hasher.hash_one(value.as_slice());
                *place = Grouped { value, hash, counted, ..Grouped::default() };
                length += 1;
            }
            let Some(group) = group.get_mut(..length).filter(|group| !group.is_empty()) else { break };
            for request in &mut *group {
                request.first_slot = self.index.first_slot(request.hash);
            }
            for request in &mut *group {
                request.found = self.find_from(request.first_slot, request.value.as_slice(), request.hash);
            }
            for Grouped { value, hash, found, counted, .. } in &*group {
                let value = value.as_slice();
                // What was counted since may have made it a row, or taken the one that it had.
                let found = found.filter(|found| is_row(&self.rows, *found, value)).or_else(|| self.find(value, *hash));
                self.add_found((value, *hash, found), *counted, budget);
            }
        }
        drop(requests);
        self.absent.add(absent);
    }

    #[inline]
    fn find(&self, value: &[u8], hash: u64) -> Option<u32> {
        self.find_from(self.index.first_slot(hash), value, hash)
    }

    #[inline]
    fn find_from(&self, first_slot: u64, value: &[u8], hash: u64) -> Option<u32> {
        self.index.find(first_slot, hash, |place| is_row(&self.rows, place, value))
    }

    /// Counts a request whose value has the row that was found, or none.
    #[inline]
    fn add_found(
        &mut self,
        (value, hash, found): (&[u8], u64, Option<u32>),
        (count, kind): (Count, usize),
        budget: &mut Budget,
    ) {
        match found.and_then(|place| Some((place, self.rows.get_mut(place as usize)?))) {
            Some((place, row)) => {
                row.add(count, kind);
                self.last = place;
            }
            None => self.add_new(value, hash, (count, kind), budget),
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

    /// The rows with the most hits, most first; ties by bytes, then by value.
    pub(in crate::show) fn top(&self, count: usize) -> Vec<&Row> {
        self.top_by(count, |row| row.count.hits > 0, |row| (row.count.hits, row.count.bytes))
    }

    /// The rows among those `wanted` with the most of something, most first; ties by value.
    pub(in crate::show) fn top_by<K: Ord>(
        &self,
        count: usize,
        wanted: impl Fn(&Row) -> bool,
        key: impl Fn(&Row) -> K,
    ) -> Vec<&Row> {
        let order = |a: &&Row, b: &&Row| -> Ordering { key(b).cmp(&key(a)).then_with(|| a.value.cmp(&b.value)) };
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| wanted(row)).collect();
        if count < rows.len() {
            rows.select_nth_unstable_by(count, order);
            rows.truncate(count);
        }
        rows.sort_unstable_by(order);
        rows
    }

    /// Adds what other tables counted, which have the same hasher. Nothing can be counted afterwards.
    ///
    /// A value that one table has no row for may have had as many hits there as its smallest row: so many are added, as the
    /// error that they may be. ("Mergeable Summaries", Agarwal and others, 2012.)
    pub(in crate::show) fn merge(&mut self, others: Vec<Self>) {
        for other in others {
            self.merge_one(other);
        }
        self.index = Index::new();
    }

    fn merge_one(&mut self, other: Self) {
        self.index.renew(self.rows.iter().map(|row| row.hash));
        self.absent.add(other.absent);
        self.distinct.merge(&other.distinct);
        let rows_max = self.rows.len().max(other.rows.len());
        let is_exact = self.is_exact() && other.is_exact();
        let (unseen_here, unseen_there) = (self.smallest_hits, other.smallest_hits);
        let raise = |row: &mut Row, hits: u64| {
            row.count.hits += hits;
            row.hits_error += hits;
        };
        // All are raised, those that the other table has a row for are lowered again: no row needs a mark.
        self.rows.iter_mut().for_each(|row| raise(row, unseen_there));
        for mut row in other.rows {
            let found = self.find(&row.value, row.hash);
            if let Some(known) = found.and_then(|place| self.rows.get_mut(place as usize)) {
                known.count.hits -= unseen_there;
                known.hits_error -= unseen_there;
                known.count.add(row.count);
                known.hits_error += row.hits_error;
                known.bytes_error = known.bytes_error.saturating_add(row.bytes_error);
                known.kinds.iter_mut().zip(row.kinds).for_each(|(known, other)| *known = known.saturating_add(other));
            } else if let Ok(place) = u32::try_from(self.rows.len()) {
                raise(&mut row, unseen_here);
                let hash = row.hash;
                self.rows.push(row);
                self.enter(hash, place);
            }
        }
        self.smallest_hits = unseen_here + unseen_there;
        if !is_exact && self.rows.len() > rows_max {
            let order = |a: &Row, b: &Row| b.count.hits.cmp(&a.count.hits).then_with(|| a.value.cmp(&b.value));
            let (_, dropped, _) = self.rows.select_nth_unstable_by(rows_max, order);
            self.smallest_hits = self.smallest_hits.max(dropped.count.hits);
            self.rows.truncate(rows_max);
        }
        self.last = 0;
    }

    #[cold]
    fn add_new(&mut self, value: &[u8], hash: u64, (count, kind): (Count, usize), budget: &mut Budget) {
        self.distinct.add(hash);
        let has_room = self.rows.len() < ROWS_MIN || (self.is_exact() && budget.take(ROW_BYTES + outside(value.len())));
        let place = if has_room { self.append(value, hash) } else { self.replace_smallest(value, hash, budget) };
        let Some((place, row)) = place.and_then(|place| Some((place, self.rows.get_mut(place as usize)?))) else {
            return;
        };
        row.add(count, kind);
        self.enter(hash, place);
        self.last = place;
    }

    /// Enters a row that is new, or has a new value, in the index.
    fn enter(&mut self, hash: u64, place: u32) {
        if self.index.is_full() {
            self.index.renew(self.rows.iter().map(|row| row.hash));
        } else {
            self.index.insert(hash, place);
        }
    }

    fn append(&mut self, value: &[u8], hash: u64) -> Option<u32> {
        let place = u32::try_from(self.rows.len()).ok()?;
        let (value, count, kinds) = (SmallVec::from_slice(value), Count::default(), Default::default());
        self.rows.push(Row { value, count, hits_error: 0, bytes_error: 0, kinds, hash });
        Some(place)
    }

    fn replace_smallest(&mut self, value: &[u8], hash: u64, budget: &mut Budget) -> Option<u32> {
        // A longer value in place of a shorter one takes memory too: where there is none, that of further rows.
        let mut place = self.find_smallest()?;
        let mut missing = outside(value.len()).saturating_sub(self.outside_row(place)?);
        while missing > 0 && self.rows.len() > ROWS_MIN && !budget.take(missing) {
            budget.left += ROW_BYTES + self.outside_row(place)?;
            self.rows.swap_remove(place as usize);
            if let Some(moved) = self.rows.get(place as usize) {
                self.enter(moved.hash, place);
            }
            place = self.find_smallest()?;
            missing = outside(value.len()).saturating_sub(self.outside_row(place)?);
        }
        let row = self.rows.get_mut(place as usize)?;
        row.value.clear();
        row.value.reserve_exact(value.len());
        row.value.extend_from_slice(value);
        row.hash = hash;
        (row.hits_error, row.bytes_error, row.kinds) = (row.count.hits, row.count.bytes, Default::default());
        // How long its own requests took has nothing to do with those of another.
        (row.count.timed, row.count.micros) = (0, 0);
        Some(place)
    }

    /// What the value of a row takes outside it, in bytes.
    fn outside_row(&self, place: u32) -> Option<usize> {
        self.rows.get(place as usize).map(|row| outside(row.value.capacity()))
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
fn is_row(rows: &[Row], place: u32, value: &[u8]) -> bool {
    rows.get(place as usize).is_some_and(|row| is_same(&row.value, value))
}

/// Whether two values are the same. Most are short, and are told apart without a call: by their two ends, which together are
/// all of them.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && match one.len() {
            0..4 => one.iter().eq(other),
            4..8 => one.first_chunk::<4>() == other.first_chunk() && one.last_chunk::<4>() == other.last_chunk(),
            8..=16 => one.first_chunk::<8>() == other.first_chunk() && one.last_chunk::<8>() == other.last_chunk(),
            _ => one == other,
        }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn table() -> Table {
        Table::new(DefaultHashBuilder::default())
    }

    #[test]
    fn counts_are_exact_while_there_is_room() {
        let (mut table, mut budget) = (table(), Budget::new(0));
        for (value, bytes) in [("a", 5), ("b", 1), ("a", 7), ("c", 0), ("b", 2)] {
            table.add(Some(value.as_bytes()), Count::of_bytes(bytes), usize::from(bytes > 5), &mut budget);
        }
        table.add(None, Count { timed: 1, micros: 1500, ..Count::of_bytes(9) }, 0, &mut budget);
        assert!(table.is_exact());
        assert_eq!(table.distinct(), 3);
        assert_eq!(table.absent().mean_micros(), Some(1500));
        let top: Vec<_> =
            table.top(2).iter().map(|row| (row.value.to_vec(), row.count.hits, row.count.bytes)).collect();
        assert_eq!(top, [(b"a".to_vec(), 2, 12), (b"b".to_vec(), 2, 3)]);
        assert_eq!(table.top(1)[0].hits_by_kind(), [1, 1, 0, 0, 0]);
        let by_bytes = table.top_by(1, |row| row.count.hits == 1, |row| row.count.bytes);
        assert_eq!(by_bytes[0].value.as_slice(), b"c");
    }

    /// Values from a linear congruential generator, skewed so that there are heavy hitters and a long tail.
    fn skewed(count: u32, seed: u64) -> impl Iterator<Item = u64> {
        let mut state = seed;
        (0..count).map(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if state >> 63 == 0 { (state >> 40) % 20 } else { (state >> 33) % 50_000 }
        })
    }

    /// One request of ten bytes, which took as long as its value says.
    fn timed(value: u64) -> Count {
        Count { timed: 1, micros: value * 1000, ..Count::of_bytes(10) }
    }

    /// Whether every row of `table` and every missing value keeps the promises.
    fn check(table: &Table, truth: &HashMap<u64, u64>) {
        let mut kept = HashMap::new();
        for row in &table.rows {
            let value = u64::from_le_bytes(row.value.as_slice().try_into().expect("eight bytes"));
            let exact = truth[&value];
            assert!(row.count.hits >= exact, "{value}: {} of {exact}", row.count.hits);
            assert!(row.count.hits - row.hits_error <= exact, "{value}");
            assert!(row.count.bytes - row.bytes_error <= exact * 10, "{value}");
            // All hits of a value are of one kind here.
            let mut kinds = [0; KINDS];
            kinds[(value % 5) as usize] = row.count.hits - row.hits_error;
            assert_eq!(row.hits_by_kind(), kinds, "{value}");
            assert!(row.count.mean_micros().is_none_or(|mean| mean == value * 1000), "{value}: how long its own took");
            kept.insert(value, ());
        }
        for (value, hits) in truth {
            assert!(*hits <= table.missing_hits_max() || kept.contains_key(value), "{value} is missing");
        }
        let distinct = table.distinct() as f64;
        assert!((distinct / truth.len() as f64 - 1.0).abs() < 0.05, "{distinct} of {}", truth.len());
    }

    #[test]
    fn a_full_table_keeps_its_size_and_its_promises() {
        let (mut table, mut budget) = (table(), Budget::new(0));
        let mut truth: HashMap<u64, u64> = HashMap::new();
        for value in skewed(200_000, 1) {
            table.add(Some(&value.to_le_bytes()), timed(value), (value % 5) as usize, &mut budget);
            *truth.entry(value).or_default() += 1;
        }
        assert_eq!(table.rows.len(), ROWS_MIN);
        assert!(!table.is_exact());
        assert_eq!(table.rows.iter().map(|row| row.count.hits).sum::<u64>(), 200_000, "no hit is lost");
        check(&table, &truth);
    }

    #[test]
    fn many_at_once_are_counted_as_one_after_the_other() {
        for (bytes, lengths) in [(1 << 30, 1..100), (0, 1..100), (0, 1000..1001)] {
            let hasher = DefaultHashBuilder::default();
            let (mut together, mut apart) = (Table::new(hasher.clone()), Table::new(hasher));
            let mut budgets = [Budget::new(bytes); 2];
            let mut truth: HashMap<u64, u64> = HashMap::new();
            let mut values = skewed(100_000, 7).chain(0..5_000).peekable();
            for length in lengths.cycle() {
                if values.peek().is_none() {
                    break;
                }
                let part: Vec<u64> = values.by_ref().take(length).collect();
                // Every value twice, so that the second is new when it is looked for and no more when it is counted.
                let doubled = part.iter().flat_map(|value| [value; 2]);
                let request = |value: &u64| {
                    *truth.entry(*value).or_default() += 1;
                    (Some(ShortValue::new(value.to_le_bytes())), timed(*value), (value % 5) as usize)
                };
                let requests = doubled.clone().map(request).chain([(None, Count::of_bytes(1), 0)]);
                together.add_all(requests, &mut budgets[0]);
                for value in doubled {
                    let kind = (value % 5) as usize;
                    apart.add(Some(&value.to_le_bytes()), timed(*value), kind, &mut budgets[1]);
                }
                apart.add(None, Count::of_bytes(1), 0, &mut budgets[1]);
            }
            check(&together, &truth);
            assert_eq!(together.is_exact(), bytes > 0);
            assert_eq!(together.absent(), apart.absent());
            assert_eq!(rows(&together), rows(&apart));
        }
    }

    fn rows(table: &Table) -> Vec<(Bytes, Count, u64, [u64; KINDS])> {
        let rows = table.rows.iter().map(|row| (row.value.clone(), row.count, row.hits_error, row.hits_by_kind()));
        rows.collect()
    }

    #[test]
    fn values_that_differ_anywhere_are_not_the_same() {
        for length in 0..40 {
            let value = vec![7; length];
            assert!(is_same(&value, &vec![7; length]));
            assert!(!is_same(&value, &vec![7; length + 1]));
            for place in 0..length {
                let mut other = value.clone();
                other[place] = 8;
                assert!(!is_same(&value, &other), "byte {place} of {length}");
            }
        }
    }

    #[test]
    fn merged_tables_keep_the_promises() {
        // All exact, one of them, none.
        for budgets in [[1 << 30, 1 << 30, 1 << 30], [1 << 30, 0, 200_000], [0, 0, 0]] {
            let hasher = DefaultHashBuilder::default();
            let mut truth: HashMap<u64, u64> = HashMap::new();
            let mut tables = (1..).zip(budgets).map(|(seed, bytes)| {
                let (mut table, mut budget) = (Table::new(hasher.clone()), Budget::new(bytes));
                for value in skewed(100_000, seed) {
                    table.add(Some(&value.to_le_bytes()), timed(value), (value % 5) as usize, &mut budget);
                    *truth.entry(value).or_default() += 1;
                }
                table
            });
            let mut first = tables.next().expect("three");
            let others = tables.collect();
            first.merge(others);
            assert_eq!(first.is_exact(), budgets[1] > 0 && budgets[2] > 1 << 20);
            if first.is_exact() {
                assert!(first.rows.iter().all(|row| row.hits_error == 0));
            }
            check(&first, &truth);
        }
    }

    #[test]
    fn long_values_after_short_ones_take_no_more_memory() {
        const BYTES: usize = 1 << 20;
        let (mut table, mut budget) = (table(), Budget::new(BYTES));
        for number in 0..50_000_u32 {
            table.add(Some(number.to_string().as_bytes()), Count::of_bytes(1), 0, &mut budget);
        }
        let short = table.rows.len();
        for number in 0..50_000_u32 {
            table.add(Some(format!("{number:0>250}").as_bytes()), Count::of_bytes(1), 0, &mut budget);
        }
        let used: usize = table.rows.iter().map(|row| ROW_BYTES + outside(row.value.capacity())).sum();
        assert!(used <= BYTES + ROWS_MIN * (ROW_BYTES + 256), "{used} bytes");
        assert!((ROWS_MIN..short).contains(&table.rows.len()), "{short} rows became {}", table.rows.len());
        for row in &table.rows {
            assert!(table.find(&row.value, row.hash).is_some(), "every row is found");
        }
    }
}
