//! The recent sample: the last minute in one-second buckets, of at most 1,024 rows for the twelve newest seconds, which
//! are mined, and 380 for those before. A look into an incident goes through what it sees several times, so it sees the 384 and 96
//! of them that a smaller sample would have kept; learning, and who came before an incident, are of all.
//!
//! Within a bucket rows are kept by priority sampling (Duffield, Lund and Thorup, "Priority sampling for estimation of
//! arbitrary subset sums", JACM 2007): a row of importance w gets the priority w/u for a uniform u, the largest
//! priorities stay, and a row counts max(1, τ/w) times, where τ is the largest priority that did not stay. Sums over any
//! subset of the rows are then unbiased, in every cost.

use crate::address::ClientAddress;
use crate::decision::CostKind;
use crate::units::Timestamp;

use super::values::Marks;

/// How many seconds are kept.
pub(crate) const SECONDS: usize = 60;

/// How many rows a second keeps at first,
const BUCKET_ROWS_MAX: usize = 1024;

/// for this many seconds,
const FRESH_SECONDS: usize = 12;

/// and how many then.
const OLDER_ROWS_MAX: usize = 380;

/// How many of each a look sees at most.
const LOOKED_ROWS_MAX: usize = 384;
const LOOKED_OLDER_ROWS_MAX: usize = 96;

/// How Seawall itself has answered a request, as far as detection cares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The site answered, or will.
    #[default]
    BySite,
    /// A rule refused it: it still counts as offered, or the rule would hide the flood from itself.
    ByRule,
    /// For a host that is not ours.
    Misdirected,
    /// Malformed, or over a limit.
    Otherwise,
}

/// One sampled observation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) marks: Marks,
    /// In memory only, to write the network of a rule as text.
    pub(crate) client: Option<ClientAddress>,
    /// The keyed hash of the client; zero when the source does not know it.
    pub(crate) client_hash: u32,
    /// Each cost, in the order of [`CostKind::ALL`], times the weight of the observation.
    pub(crate) costs: [f32; CostKind::ALL.len()],
    /// What earlier rows have told of the same request, in the same order and without the weight.
    pub(crate) before: [f32; CostKind::ALL.len()],
    /// The weight of the observation.
    pub(crate) weight: f32,
    pub(crate) importance: f32,
    pub(crate) priority: f32,
    pub(crate) at: Timestamp,
    /// The status of the answer; zero before there is one.
    pub(crate) status: u16,
    pub(crate) answered: Answered,
    /// Whether the request goes on, and this tells a part of what it costs.
    pub(crate) under_way: bool,
    /// Whether the client is an old acquaintance.
    pub(crate) returning: bool,
    /// Whether it has such a name that rules spare it.
    pub(crate) of_good_name: bool,
    /// Whether the client is on the never-ban list: no rule may count on hitting it.
    pub(crate) exempt: bool,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            marks: Marks::default(),
            client: None,
            client_hash: 0,
            costs: [0.0; CostKind::ALL.len()],
            before: [0.0; CostKind::ALL.len()],
            weight: 1.0,
            importance: 0.0,
            priority: 0.0,
            at: Timestamp::default(),
            status: 0,
            answered: Answered::default(),
            under_way: false,
            returning: false,
            of_good_name: false,
            exempt: false,
        }
    }
}

impl Row {
    /// Whether a rule could change anything about it.
    pub(crate) fn is_mineable(&self) -> bool {
        !self.exempt && matches!(self.answered, Answered::BySite | Answered::ByRule)
    }

    /// What the whole request has cost so far, by itself.
    pub(crate) fn whole(&self, cost: usize) -> f32 {
        let part = self.costs.get(cost).copied().unwrap_or_default();
        self.before.get(cost).copied().unwrap_or_default() + part / self.weight.max(f32::MIN_POSITIVE)
    }

    /// How many requests it stands for by itself.
    pub(crate) const fn requests(&self) -> f32 {
        self.costs[0]
    }
}

/// A row with its moment and the factor that its sampling calls for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampled<'a> {
    pub(crate) row: &'a Row,
    pub(crate) at: Timestamp,
    /// The inverse of the probability that this row was kept.
    pub(crate) factor: f32,
}

impl Sampled<'_> {
    /// The part of the total of this cost that the row stands for.
    pub(crate) fn cost(&self, cost: usize) -> f64 {
        f64::from(self.row.costs.get(cost).copied().unwrap_or_default()) * f64::from(self.factor)
    }
}

/// One second, or another stretch of which rows are kept.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    second: u64,
    rows_max: usize,
    rows: Vec<Row>,
    /// Once the rows are full: their indices as a binary heap, the least priority first.
    heap: Vec<u16>,
    /// The largest priority that did not stay; zero while all did.
    threshold: f32,
}

impl Bucket {
    /// Keeps at most so many rows, fewer than 65,536.
    pub(crate) fn new(rows_max: usize) -> Self {
        Self {
            second: 0,
            rows_max,
            rows: Vec::with_capacity(rows_max),
            heap: Vec::with_capacity(rows_max),
            threshold: 0.0,
        }
    }

    fn clear(&mut self, second: u64) {
        self.second = second;
        self.rows.clear();
        self.heap.clear();
        self.threshold = 0.0;
    }

    /// Whether a row of this priority would be kept: the cheap question before a row is made.
    pub(crate) fn wants(&self, priority: f32) -> bool {
        self.heap.first().is_none_or(|least| priority > self.rows[usize::from(*least)].priority)
    }

    /// Counts a row that was not wanted.
    pub(crate) const fn pass(&mut self, priority: f32) {
        self.threshold = self.threshold.max(priority);
    }

    /// Keeps a row, if its priority suffices.
    pub(crate) fn offer(&mut self, row: Row) {
        if self.rows.len() < self.rows_max {
            self.rows.push(row);
            if self.rows.len() == self.rows_max {
                self.heap.extend(0..self.rows_max as u16);
                for at in (0..self.rows_max / 2).rev() {
                    self.sift_down(at);
                }
            }
            return;
        }
        let least = usize::from(self.heap[0]);
        if row.priority > self.rows[least].priority {
            self.threshold = self.threshold.max(self.rows[least].priority);
            self.rows[least] = row;
            self.sift_down(0);
        } else {
            self.threshold = self.threshold.max(row.priority);
        }
    }

    fn sift_down(&mut self, mut at: usize) {
        let priority = |heap: &[u16], at: usize| self.rows[usize::from(heap[at])].priority;
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && priority(&self.heap, child) < priority(&self.heap, least) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    /// The rows, in no order once they are full.
    pub(crate) fn sampled(&self) -> impl DoubleEndedIterator<Item = Sampled<'_>> {
        self.rows.iter().map(move |row| Sampled {
            row,
            at: row.at,
            factor: (self.threshold / row.importance.max(f32::MIN_POSITIVE)).max(1.0),
        })
    }
}

impl Bucket {
    /// How many rows a look sees at most.
    const fn looked_max(&self) -> usize {
        if self.rows_max > OLDER_ROWS_MAX { LOOKED_ROWS_MAX } else { LOOKED_OLDER_ROWS_MAX }
    }

    /// The rows that a bucket of this size would have kept, the newest first as far as they are in order.
    fn looked_at(&self, most: usize) -> impl Iterator<Item = Sampled<'_>> {
        let mut threshold = self.threshold;
        if self.rows.len() > most {
            let mut priorities: Vec<f32> = self.rows.iter().map(|row| row.priority).collect();
            threshold = *priorities.select_nth_unstable_by(most, |one, other| other.total_cmp(one)).1;
        }
        let all = self.rows.len() <= most;
        self.rows.iter().rev().filter(move |row| all || row.priority > threshold).map(move |row| Sampled {
            row,
            at: row.at,
            factor: (threshold / row.importance.max(f32::MIN_POSITIVE)).max(1.0),
        })
    }
}

/// The last minute.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    fresh: Vec<Bucket>,
    older: Vec<Bucket>,
    /// The newest second there is.
    newest: u64,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self {
            fresh: (0..FRESH_SECONDS).map(|_| Bucket::new(BUCKET_ROWS_MAX)).collect(),
            older: (FRESH_SECONDS..SECONDS).map(|_| Bucket::new(OLDER_ROWS_MAX)).collect(),
            newest: 0,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let of_bucket = |bucket: &Bucket| {
            size_of::<Bucket>() + bucket.rows.capacity() * size_of::<Row>() + bucket.heap.capacity() * size_of::<u16>()
        };
        self.fresh.iter().chain(&self.older).map(of_bucket).sum()
    }

    /// Goes on to `second`. Everything that leaves the minute is handed to `leave`, second by second, oldest first.
    pub(crate) fn advance(&mut self, second: u64, mut leave: impl FnMut(u64, &mut dyn Iterator<Item = Sampled<'_>>)) {
        if second <= self.newest {
            return;
        }
        // After a jump of more than a minute each bucket is passed once.
        let first = (self.newest + 1).max(second.saturating_sub(SECONDS as u64 - 1));
        for second in first..=second {
            let fresh = &mut self.fresh[(second % FRESH_SECONDS as u64) as usize];
            // The second that is no longer fresh takes the place of the one that leaves. Its best rows stay: a sample by
            // priority of a sample by priority is one of the whole.
            let older = &mut self.older[(second % (SECONDS - FRESH_SECONDS) as u64) as usize];
            if !older.rows.is_empty() {
                leave(older.second, &mut older.sampled());
            }
            older.clear(fresh.second);
            older.threshold = fresh.threshold;
            fresh.rows.iter().for_each(|row| older.offer(*row));
            fresh.clear(second);
        }
        self.newest = second;
        // What a jump has left behind is too old for the minute.
        for bucket in self.fresh.iter_mut().chain(&mut self.older) {
            if !bucket.rows.is_empty() && bucket.second + SECONDS as u64 <= second {
                leave(bucket.second, &mut bucket.sampled());
                bucket.clear(0);
            }
        }
    }

    fn bucket(&self, second: u64) -> Option<&Bucket> {
        if second + FRESH_SECONDS as u64 > self.newest {
            return self.fresh.get((second % FRESH_SECONDS as u64) as usize);
        }
        self.older.iter().find(|bucket| bucket.second == second)
    }

    fn bucket_mut(&mut self, second: u64) -> Option<&mut Bucket> {
        if second + FRESH_SECONDS as u64 > self.newest {
            return self.fresh.get_mut((second % FRESH_SECONDS as u64) as usize);
        }
        self.older.iter_mut().find(|bucket| bucket.second == second)
    }

    /// Whether a row of this priority would be kept in this second.
    pub(crate) fn wants(&self, second: u64, priority: f32) -> bool {
        self.bucket(second).is_some_and(|bucket| bucket.wants(priority))
    }

    /// Counts a row that was not wanted.
    pub(crate) fn pass(&mut self, second: u64, priority: f32) {
        if let Some(bucket) = self.bucket_mut(second) {
            bucket.pass(priority);
        }
    }

    /// Keeps a row, if its priority suffices. `second` is within the last minute.
    pub(crate) fn offer(&mut self, second: u64, row: Row) {
        if let Some(bucket) = self.bucket_mut(second) {
            bucket.offer(row);
        }
    }

    /// How many rows a look sees of the seconds since `from`, at most.
    pub(crate) fn looked_at_since(&self, from: Timestamp) -> usize {
        let buckets = self.fresh.iter().chain(&self.older).filter(|bucket| bucket.second >= from.as_seconds());
        buckets.map(|bucket| bucket.rows.len().min(bucket.looked_max())).sum()
    }

    /// What a look sees of the last minute, newest seconds first.
    pub(crate) fn looked_at(&self) -> impl Iterator<Item = Sampled<'_>> {
        let oldest = self.newest.saturating_sub(SECONDS as u64 - 1);
        let buckets = (oldest..=self.newest).rev().filter_map(|second| self.bucket(second));
        buckets.flat_map(|bucket| bucket.looked_at(bucket.looked_max()))
    }

    /// All rows since `from`, newest seconds first.
    pub(crate) fn since(&self, from: Timestamp) -> impl Iterator<Item = Sampled<'_>> {
        let oldest = self.newest.saturating_sub(SECONDS as u64 - 1).max(from.as_seconds());
        (oldest..=self.newest)
            .rev()
            .filter_map(|second| self.bucket(second))
            .flat_map(|bucket| bucket.sampled().rev())
            .filter(move |sampled| sampled.at >= from)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        for bucket in self.fresh.iter_mut().chain(&mut self.older) {
            bucket.clear(0);
        }
        self.newest = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::random::Random;

    fn row(importance: f32, random: &mut Random) -> Row {
        let costs = [1.0, importance, 0.0, 0.0];
        Row { costs, importance, priority: importance / random.uniform(), ..Row::default() }
    }

    #[test]
    fn sums_over_a_sampled_second_are_right_in_every_cost() {
        const SAMPLES: u64 = 40;
        const REQUESTS: u64 = 20_000;
        // The estimates of requests and bytes, of what is fresh, of what no longer is, and of what a look sees of it, summed over many samples.
        let mut sums = [[0.0; 2]; 3];
        let mut bytes = 0.0;
        for seed in 0..SAMPLES {
            let mut random = Random::new(seed);
            let mut recent = Recent::new();
            recent.advance(100, |_, _| {});
            for number in 0..REQUESTS {
                let row = row(if number % 10 == 0 { 20.0 } else { 1.0 }, &mut random);
                bytes += f64::from(row.costs[1]);
                if recent.wants(100, row.priority) {
                    recent.offer(100, row);
                } else {
                    recent.pass(100, row.priority);
                }
            }
            let mut add = |place: usize, rows: &mut dyn Iterator<Item = Sampled<'_>>, most: usize| {
                let rows: Vec<Sampled<'_>> = rows.collect();
                assert_eq!(rows.len(), most);
                let sums = sums[place].iter_mut().enumerate();
                sums.for_each(|(cost, sum)| *sum += rows.iter().map(|row| row.cost(cost)).sum::<f64>());
            };
            add(0, &mut recent.since(Timestamp::EPOCH), BUCKET_ROWS_MAX);
            assert_eq!(recent.looked_at_since(Timestamp::from_seconds(100)), LOOKED_ROWS_MAX);
            recent.advance(130, |_, _| {});
            add(1, &mut recent.since(Timestamp::EPOCH), OLDER_ROWS_MAX);
            add(2, &mut recent.looked_at(), LOOKED_OLDER_ROWS_MAX);
        }
        for [requests_found, bytes_found] in sums {
            let requests = (SAMPLES * REQUESTS) as f64;
            // The standard errors of what a look sees are 3% and 2%.
            assert!((requests_found / requests - 1.0).abs() < 0.1, "{requests_found} of {requests} requests");
            assert!((bytes_found / bytes - 1.0).abs() < 0.06, "{bytes_found} of {bytes} bytes");
        }
    }

    #[test]
    fn seconds_leave_after_a_minute_and_jumps_leave_all_at_once() {
        let mut random = Random::new(7);
        let mut recent = Recent::new();
        let mut left = Vec::new();
        for second in 100..170 {
            recent.advance(second, |second, rows| left.push((second, rows.count())));
            recent.offer(second, Row { at: Timestamp::from_seconds(second), ..row(1.0, &mut random) });
        }
        assert_eq!(left, (100..110).map(|second| (second, 1)).collect::<Vec<_>>());
        assert_eq!(recent.since(Timestamp::from_seconds(160)).count(), 10);
        recent.advance(1_000_000, |second, rows| left.push((second, rows.count())));
        assert_eq!(left.len(), 70);
        assert_eq!(recent.since(Timestamp::EPOCH).count(), 0);
    }
}
