//! When there was more than usual: sums of each cost over short stretches of time, compared with what is usual at that hour.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::{COSTS, observed_costs};
use super::edges::surging;
use super::found::Found;
use crate::decision::CostKind;
use crate::observation::Observation;
use crate::units::Timestamp;

/// How long a stretch is at first, in seconds,
const STRETCH_SECONDS: u64 = 10;

/// and the longer ones that are tried when requests are too few for that.
const COARSER_SECONDS: [u64; 3] = [60, 600, LONGEST_SECONDS];
const LONGEST_SECONDS: u64 = 3600;

/// Stretches that are kept; of a longer log they are made longer. At ten seconds these are fifteen days.
const STRETCHES_MAX: usize = 1 << 17;

/// A stretch is long enough when half of them have this many requests.
const REQUESTS_MIN: f64 = 3.0;

/// From this many days on each hour of the day is compared with itself.
const DAYS_MIN: u64 = 3;

/// A stretch exceeds what is usual at the median and this many median absolute deviations (made comparable with a standard
/// deviation), at this many times the ordinary maximum, and at the floor below.
const SPREADS: f64 = 6.0 * 1.4826;
const MAXIMUM_FACTOR: f64 = 2.0;

/// The ordinary maximum is the median of the maxima of this many parts of the log (of its days, where hours are compared): a
/// flood in fewer than half of them does not change it.
const BLOCKS: u64 = 24;

/// A log that is silent in most hours of its span, and has at least this many in which something came, was not written then, or
/// the site was down: what is usual is told by the hours in which something came.
const HOURS_MIN: usize = 24;

/// The share of requests at either end of a log that may have strayed there.
const STRAYS: f64 = 0.001;

/// What must be exceeded in ten seconds at least: the same as live (ten requests, 2 MB, three seconds of work).
const FLOORS: [f64; COSTS] = [10.0, 2e6, 3.0, 100.0];

/// A surge is as long as pauses within are shorter than this many stretches, and seconds.
const PAUSE_STRETCHES: u64 = 3;
const PAUSE_SECONDS: u64 = 60;

/// It is worth an explanation with this many times the floor in excess.
const EXCESS_FLOORS: f64 = 6.0;

/// The edges found at a finer scale stand when they hold one part in so many of what the coarser one found.
const FINER_PART_MIN: u64 = 3;

/// Surges that are explained; of more, the strongest.
const SURGES_MAX: usize = 8;

/// How much there was of one cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The cost.
    pub cost: CostKind,
    /// What is usual at that time, in units a second.
    pub normal: f64,
    /// What there was on average, in units a second.
    pub mean: f64,
    /// What there was in the strongest stretch, in units a second.
    pub peak: f64,
    /// How much more than usual there was, all told, in units.
    pub excess: f64,
}

/// A time in which there was more than usual.
#[derive(Clone, Debug, PartialEq)]
pub struct Surge {
    /// When it began.
    pub from: Timestamp,
    /// When it was over.
    pub until: Timestamp,
    /// The costs that exceeded what is usual, the strongest first.
    pub levels: Vec<Level>,
    /// What is usual of each cost, in units a second, in the order of [`CostKind::ALL`].
    pub usual: [f64; COSTS],
    /// The strongest cost over the surge and as long before and after, in units a second.
    pub curve: Vec<f64>,
}

impl Surge {
    /// Whether a moment is within.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    /// The cost that exceeds what is usual most.
    pub fn strongest(&self) -> CostKind {
        self.levels.first().map_or(CostKind::Requests, |level| level.cost)
    }

    /// How many times what is usual there was of the strongest cost.
    pub fn strength(&self) -> f64 {
        self.levels.first().map_or(0.0, |level| level.excess / FLOORS[level.cost as usize])
    }
}

/// A time in which a cost, or several, exceed what is usual, in seconds.
#[derive(Clone, Debug)]
struct Run {
    from: u64,
    until: u64,
    /// How long the stretches are in which it was found: it may begin or end that much beside them.
    scale: u64,
    costs: Vec<CostKind>,
    /// What is usual of each cost, in units a second.
    usual: [f64; COSTS],
}

/// Adds a run, or what it says to those that it overlaps. What was found before, at a finer scale, has the sharper edges,
/// unless it is only a few bursts of something much longer.
fn join(runs: &mut Vec<Run>, run: Run) {
    let overlapping = |known: &Run| known.from < run.until && run.from < known.until;
    let (within, others): (Vec<Run>, Vec<Run>) = runs.drain(..).partition(overlapping);
    *runs = others;
    let mut joined = run;
    if let (Some(from), Some(until)) =
        (within.iter().map(|known| known.from).min(), within.iter().map(|known| known.until).max())
    {
        let is_most = (until - from) * FINER_PART_MIN >= joined.until - joined.from;
        let finer = within.iter().map(|known| known.scale).max().unwrap_or(joined.scale);
        (joined.from, joined.until, joined.scale) =
            if is_most { (from, until, finer) } else { (from.min(joined.from), until.max(joined.until), joined.scale) };
    }
    for known in within {
        let new: Vec<CostKind> = known.costs.into_iter().filter(|cost| !joined.costs.contains(cost)).collect();
        joined.costs = [new, joined.costs].concat();
    }
    runs.push(joined);
}

/// Sums costs and finds surges.
#[derive(Debug)]
pub struct SurgeFinder {
    seconds: u64,
    sums: FxHashMap<u64, [f64; COSTS]>,
}

impl Default for SurgeFinder {
    fn default() -> Self {
        Self { seconds: STRETCH_SECONDS, sums: FxHashMap::default() }
    }
}

impl SurgeFinder {
    /// Takes one observation of the first reading.
    pub fn add(&mut self, observation: &Observation<'_>) {
        let sums = self.sums.entry(observation.at.as_seconds() / self.seconds).or_default();
        sums.iter_mut().zip(observed_costs(observation)).for_each(|(sum, cost)| *sum += cost);
        if self.sums.len() > STRETCHES_MAX {
            self.coarsen(self.coarser());
        }
    }

    /// The length of stretches that comes after the present one.
    fn coarser(&self) -> u64 {
        COARSER_SECONDS.into_iter().find(|seconds| *seconds > self.seconds).unwrap_or(self.seconds * 24)
    }

    /// Takes what another finder took of other observations.
    pub fn merge(&mut self, mut other: Self) {
        while self.seconds != other.seconds {
            let (finer, seconds) =
                if self.seconds < other.seconds { (&mut *self, other.seconds) } else { (&mut other, self.seconds) };
            finer.coarsen(seconds);
        }
        for (stretch, costs) in other.sums {
            let sums = self.sums.entry(stretch).or_default();
            sums.iter_mut().zip(costs).for_each(|(sum, cost)| *sum += cost);
        }
        while self.sums.len() > STRETCHES_MAX {
            self.coarsen(self.coarser());
        }
    }

    /// The surges. They are looked for at every scale at which there are requests enough: a burst shows at ten seconds, and what
    /// is weaker and lasts for hours only where the bursts of ordinary traffic have levelled out.
    pub fn find(mut self) -> Found {
        let finest = Self { seconds: self.seconds, sums: self.sums.clone() };
        let mut runs: Vec<Run> = Vec::new();
        let coarser = COARSER_SECONDS.into_iter().filter(|coarser| *coarser > finest.seconds);
        for seconds in [finest.seconds].into_iter().chain(coarser) {
            if seconds > self.seconds {
                self.coarsen(seconds);
            }
            if self.median_requests() < REQUESTS_MIN && seconds < LONGEST_SECONDS {
                continue;
            }
            let usual = Usual::new(&self);
            for cost in CostKind::ALL {
                for run in self.runs(&usual, cost) {
                    join(&mut runs, run);
                }
            }
        }
        let mut found: Vec<Surge> = runs.iter().flat_map(|run| finest.surges_of(run)).collect();
        found.sort_by(|first, second| second.strength().total_cmp(&first.strength()));
        // What two neighbours both reach into belongs to the stronger.
        let mut surges: Vec<Surge> = Vec::new();
        for surge in found {
            if surges.iter().all(|known| surge.until <= known.from || known.until <= surge.from) {
                surges.push(surge);
            }
        }
        let left_out = surges.split_off(surges.len().min(SURGES_MAX));
        let at = |stretch: u64| Timestamp::from_seconds(stretch * finest.seconds);
        let amounts: Vec<(Timestamp, f64)> =
            finest.sums.iter().map(|(stretch, sums)| (at(*stretch), sums[CostKind::Requests as usize])).collect();
        Found::new(surges, left_out, &amounts)
    }

    /// When a cost exceeds what is usual by enough to be explained.
    fn runs(&self, usual: &Usual, cost: CostKind) -> Vec<Run> {
        let mut exceeding: Vec<u64> = self
            .sums
            .iter()
            .filter(|(stretch, sums)| sums[cost as usize] > usual.at(**stretch).most[cost as usize])
            .map(|(stretch, _)| *stretch)
            .collect();
        exceeding.sort_unstable();
        let pause = PAUSE_STRETCHES.max(PAUSE_SECONDS / self.seconds);
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for stretch in exceeding {
            match runs.last_mut() {
                Some(run) if stretch < run.1 + pause => run.1 = stretch + 1,
                _ => runs.push((stretch, stretch + 1)),
            }
        }
        let floor = self.floor(cost as usize);
        let run = |(from, until): (u64, u64)| {
            let offered: f64 = (from..until).map(|stretch| self.sum(stretch, cost)).sum();
            let expected: f64 = (from..until).map(|stretch| usual.at(stretch).median[cost as usize]).sum();
            let mut mean = [0.0; COSTS];
            for stretch in from..until {
                let medians = usual.at(stretch).median;
                mean.iter_mut().zip(medians).for_each(|(mean, median)| *mean += median);
            }
            let usual = mean.map(|sum| sum / ((until - from) * self.seconds) as f64);
            let (from, until) = (from * self.seconds, until * self.seconds);
            let run = Run { from, until, scale: self.seconds, costs: vec![cost], usual };
            (offered - expected >= EXCESS_FLOORS * floor).then_some(run)
        };
        runs.into_iter().filter_map(run).collect()
    }

    /// What must be exceeded at least.
    fn floor(&self, cost: usize) -> f64 {
        FLOORS[cost] * (self.seconds as f64 / STRETCH_SECONDS as f64).sqrt()
    }

    /// The surges in a run, with edges as sharp as the log allows. One that was found at a coarser scale may begin or end beside
    /// the stretches of that, or be several.
    fn surges_of(&self, run: &Run) -> Vec<Surge> {
        let strongest = run.costs.first().copied().unwrap_or(CostKind::Requests);
        let usual = run.usual[strongest as usize] * self.seconds as f64;
        let beside = if run.scale > self.seconds { run.scale } else { 0 };
        let first = run.from.saturating_sub(beside) / self.seconds;
        let last = (run.until + beside).div_ceil(self.seconds);
        let sums: Vec<f64> = (first..last).map(|stretch| self.sum(stretch, strongest)).collect();
        surging(&sums, usual, FLOORS[strongest as usize] / 10.0, SURGES_MAX)
            .into_iter()
            .map(|part| ((first + part.start as u64) * self.seconds, (first + part.end as u64) * self.seconds))
            .filter(|(from, until)| *from < run.until && run.from < *until)
            .map(|(from, until)| self.surge(run, from, until))
            .filter(|surge| surge.strength() >= EXCESS_FLOORS)
            .collect()
    }

    fn surge(&self, run: &Run, from: u64, until: u64) -> Surge {
        let seconds = (until - from) as f64;
        let mut levels: Vec<Level> = run
            .costs
            .iter()
            .map(|cost| {
                let sums = || (from / self.seconds..until / self.seconds).map(|stretch| self.sum(stretch, *cost));
                let offered: f64 = sums().sum();
                let normal = run.usual[*cost as usize];
                let peak = sums().fold(0.0, f64::max) / self.seconds as f64;
                Level { cost: *cost, normal, mean: offered / seconds, peak, excess: offered - normal * seconds }
            })
            .collect();
        let strength = |level: &Level| level.excess / FLOORS[level.cost as usize];
        // Of several surges in a run, each has its own costs.
        levels.retain(|level| strength(level) >= 1.0);
        levels.sort_by(|first, second| strength(second).total_cmp(&strength(first)));
        Surge {
            from: Timestamp::from_seconds(from),
            until: Timestamp::from_seconds(until),
            curve: self.curve(from, until, levels.first().map_or(CostKind::Requests, |level| level.cost)),
            levels,
            usual: run.usual,
        }
    }

    /// A cost in sixty parts of the surge and as long before and after.
    fn curve(&self, from: u64, until: u64, cost: CostKind) -> Vec<f64> {
        const PARTS: u64 = 60;
        let length = (until - from).max(self.seconds);
        let begin = from.saturating_sub(length);
        let part = (3 * length).div_ceil(PARTS).div_ceil(self.seconds) * self.seconds;
        (0..(3 * length).div_ceil(part))
            .map(|number| {
                let first = (begin + number * part) / self.seconds;
                let stretches = part / self.seconds;
                let sum: f64 = (first..first + stretches).map(|stretch| self.sum(stretch, cost)).sum();
                sum / (stretches * self.seconds) as f64
            })
            .collect()
    }

    fn sum(&self, stretch: u64, cost: CostKind) -> f64 {
        self.sums.get(&stretch).map_or(0.0, |sums| sums[cost as usize])
    }

    fn coarsen(&mut self, seconds: u64) {
        let mut sums: FxHashMap<u64, [f64; COSTS]> = FxHashMap::default();
        for (stretch, parts) in &self.sums {
            let sum = sums.entry(stretch * self.seconds / seconds).or_default();
            sum.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        *self = Self { seconds, sums };
    }

    /// The median of requests in all stretches of the span, the empty ones among them.
    fn median_requests(&self) -> f64 {
        let (first, last) = self.span();
        let mut requests: Vec<f64> = self.sums.values().map(|sums| sums[0]).collect();
        let stretches = self.written_hours().map(|hours| hours.len() as u64 * self.stretches_an_hour());
        quantile(&mut requests, stretches.unwrap_or(last - first + 1), 0.5)
    }

    fn stretches_an_hour(&self) -> u64 {
        (LONGEST_SECONDS / self.seconds).max(1)
    }

    /// The hours in which the log was written, when in most of its span it was not; they are numbered from the Unix epoch.
    fn written_hours(&self) -> Option<FxHashSet<u64>> {
        let (first, last) = self.span();
        let hours: FxHashSet<u64> = self.sums.keys().map(|stretch| stretch * self.seconds / LONGEST_SECONDS).collect();
        let all = ((last - first + 1) * self.seconds / LONGEST_SECONDS) as usize;
        (hours.len() >= HOURS_MIN && hours.len() < all / 2).then_some(hours)
    }

    /// The first and the last stretch, without the few requests at either end that may have strayed there: one line with a
    /// wrong date would make years of silence usual.
    fn span(&self) -> (u64, u64) {
        let mut stretches: Vec<(u64, f64)> = self.sums.iter().map(|(stretch, sums)| (*stretch, sums[0])).collect();
        stretches.sort_unstable_by_key(|(stretch, _)| *stretch);
        let strays = stretches.iter().map(|(_, requests)| requests).sum::<f64>() * STRAYS;
        let mut before = 0.0;
        let first = stretches.iter().find(|(_, requests)| {
            before += requests;
            before > strays
        });
        let mut after = 0.0;
        let last = stretches.iter().rev().find(|(_, requests)| {
            after += requests;
            after > strays
        });
        let first = first.map_or(0, |(stretch, _)| *stretch);
        (first, last.map_or(0, |(stretch, _)| *stretch).max(first))
    }
}

/// What is usual in a stretch.
#[derive(Clone, Copy, Debug, Default)]
struct Typical {
    median: [f64; COSTS],
    /// What it may be.
    most: [f64; COSTS],
}

/// What is usual, for each hour of the day or for all.
struct Usual {
    hours: Vec<Typical>,
    seconds: u64,
}

impl Usual {
    fn new(finder: &SurgeFinder) -> Self {
        let (first, last) = finder.span();
        let days = (last - first) * finder.seconds / 86_400;
        let hours = if days >= DAYS_MIN { 24 } else { 1 };
        let mut usual = Self { hours: vec![Typical::default(); hours], seconds: finder.seconds };
        let written = finder.written_hours();
        let stretches = |hour: usize| match &written {
            Some(written) => {
                let like = written.iter().filter(|number| **number as usize % hours == hour);
                like.count() as u64 * finder.stretches_an_hour()
            }
            None => (last - first + 1).div_ceil(hours as u64),
        };
        let span = last - first + 1;
        let (blocks, block): (u64, Box<dyn Fn(u64) -> u64>) = if hours > 1 {
            let written_days =
                written.as_ref().map(|hours| hours.iter().map(|hour| hour / 24).collect::<FxHashSet<u64>>());
            (
                written_days.map_or(days + 1, |days| days.len() as u64),
                Box::new(|stretch| stretch.saturating_sub(first) * finder.seconds / 86_400),
            )
        } else {
            (
                BLOCKS.min(span),
                Box::new(|stretch| stretch.saturating_sub(first).saturating_mul(BLOCKS.min(span)) / span),
            )
        };
        for hour in 0..hours {
            let of_hour: Vec<(u64, &[f64; COSTS])> = finder
                .sums
                .iter()
                .map(|(stretch, sums)| (*stretch, sums))
                .filter(|(stretch, _)| usual.hour(*stretch) == hour)
                .collect();
            for cost in 0..COSTS {
                let mut sums: Vec<f64> = of_hour.iter().map(|(_, sums)| sums[cost]).collect();
                let median = quantile(&mut sums, stretches(hour), 0.5);
                let mut deviations: Vec<f64> = sums.iter().map(|sum| (sum - median).abs()).collect();
                let spread = quantile(&mut deviations, sums.len() as u64, 0.5);
                let mut maxima: FxHashMap<u64, f64> = FxHashMap::default();
                for (stretch, sums) in &of_hour {
                    let maximum = maxima.entry(block(*stretch)).or_default();
                    *maximum = maximum.max(sums[cost]);
                }
                let maximum = quantile(&mut maxima.into_values().collect::<Vec<f64>>(), blocks, 0.5);
                let most = (median + SPREADS * spread).max(MAXIMUM_FACTOR * maximum).max(median + finder.floor(cost));
                usual.hours[hour].median[cost] = median;
                usual.hours[hour].most[cost] = most;
            }
        }
        usual
    }

    fn hour(&self, stretch: u64) -> usize {
        (stretch * self.seconds / 3600) as usize % self.hours.len()
    }

    fn at(&self, stretch: u64) -> Typical {
        self.hours.get(self.hour(stretch)).copied().unwrap_or_default()
    }
}

/// The value that this share of `count` values does not exceed, of which those that are not listed are zero. Sorts them.
fn quantile(values: &mut [f64], count: u64, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (share * count.saturating_sub(1) as f64).round() as u64;
    let zeros = count.saturating_sub(values.len() as u64);
    at.checked_sub(zeros).and_then(|at| values.get(at as usize)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{ClientHistory, Cost, Outcome, Request};

    /// A Monday.
    const START: u64 = 1_600_041_600;

    fn add(finder: &mut SurgeFinder, second: u64, bytes: u64) {
        finder.add(&Observation {
            at: Timestamp::from_seconds(START + second),
            client: None,
            request: Request::default(),
            outcome: Outcome::Served { status: 200 },
            cost: Cost { requests: 1, bytes, ..Cost::default() },
            weight: 1.0,
            history: ClientHistory::default(),
        });
    }

    #[test]
    fn a_flood_is_found_with_its_edges_and_its_costs() {
        let mut finder = SurgeFinder::default();
        for second in 0..7200 {
            add(&mut finder, second, 5_000);
            for _ in 0..if (3600..3900).contains(&second) { 30 } else { 0 } {
                add(&mut finder, second, 300);
            }
        }
        let surges = finder.find().surges;
        assert_eq!(surges.len(), 1, "{surges:#?}");
        let surge = &surges[0];
        assert_eq!(surge.from, Timestamp::from_seconds(START + 3600));
        assert_eq!(surge.until, Timestamp::from_seconds(START + 3900));
        assert_eq!(surge.levels.len(), 1, "more bytes, but not so many: {surge:?}");
        let level = surge.levels[0];
        assert_eq!((level.cost, level.normal, level.mean, level.peak), (CostKind::Requests, 1.0, 31.0, 31.0));
        assert_eq!(level.excess, 9000.0);
        assert!(surge.curve.contains(&31.0) && surge.curve.contains(&1.0));
    }

    #[test]
    fn a_flood_in_a_quiet_log_is_as_long_as_it_was() {
        let mut finder = SurgeFinder::default();
        for second in 0..12 * 3600_u64 {
            // Now and then several at once, as a page with its parts.
            for _ in 0..if second % 97 == 0 { 4 } else { 0 } {
                add(&mut finder, second, 500);
            }
        }
        let flood = 8 * 3600 + 3300..9 * 3600 + 420_u64;
        for second in flood.clone() {
            add(&mut finder, second, 300);
        }
        let surges = finder.find().surges;
        assert_eq!(surges.len(), 1, "{surges:#?}");
        let near = |at: Timestamp, second: u64| at.as_seconds().abs_diff(START + second) <= 10;
        assert!(near(surges[0].from, flood.start) && near(surges[0].until, flood.end), "{surges:#?}");
    }

    #[test]
    fn a_flood_is_found_in_a_log_that_is_silent_for_most_of_its_span() {
        let mut finder = SurgeFinder::default();
        // A day and a half of traffic, forty days of nothing, and the same again with a flood in it.
        for start in [0, 42 * 86_400] {
            for second in (0..36 * 3600_u64).step_by(2) {
                add(&mut finder, start + second, 500);
            }
        }
        let flood = 43 * 86_400..43 * 86_400 + 600_u64;
        for second in flood.clone() {
            for _ in 0..5 {
                add(&mut finder, second, 300);
            }
        }
        let surges = finder.find().surges;
        assert_eq!(surges.len(), 1, "{surges:#?}");
        let near = |at: Timestamp, second: u64| at.as_seconds().abs_diff(START + second) <= 10;
        assert!(near(surges[0].from, flood.start) && near(surges[0].until, flood.end), "{surges:#?}");
    }

    #[test]
    fn a_stray_date_hides_nothing() {
        let mut finder = SurgeFinder::default();
        for second in 0..7200 {
            for _ in 0..if (3600..3900).contains(&second) { 30 } else { 1 } {
                add(&mut finder, second, 300);
            }
        }
        add(&mut finder, 10 * 86_400, 300);
        add(&mut finder, 400 * 86_400, 300);
        assert_eq!(finder.find().surges.len(), 1);
    }

    #[test]
    fn surges_beyond_those_that_are_explained_are_known() {
        let mut finder = SurgeFinder::default();
        for second in 0..86_400 {
            let is_flood = second > 3600 && second % 8000 < 200;
            for _ in 0..if is_flood { 10 + second / 8000 } else { 1 } {
                add(&mut finder, second, 300);
            }
        }
        let found = finder.find();
        assert_eq!((found.surges.len(), found.left_out.len()), (8, 2), "{found:#?}");
        assert!(found.left_out.iter().all(|surge| surge.until < found.surges[0].from), "the weakest came first");
    }

    #[test]
    fn what_is_usual_at_its_hour_is_no_surge() {
        let mut finder = SurgeFinder::default();
        for minute in 0..6 * 1440_u64 {
            let busy = (18..20).contains(&(minute / 60 % 24));
            for number in 0..if busy { 120 } else { 12 } {
                add(&mut finder, minute * 60 + number % 60, 1000);
            }
        }
        assert_eq!(finder.find().surges, Vec::new());
    }

    #[test]
    fn a_log_of_any_length_and_shape_is_bounded() {
        let mut finder = SurgeFinder::default();
        for number in 0..400_000_u64 {
            add(&mut finder, number * 977 % 4_000_000_000, 10);
        }
        assert!(finder.sums.len() <= STRETCHES_MAX);
        assert!(finder.find().surges.len() <= SURGES_MAX);
        assert_eq!(SurgeFinder::default().find().surges, Vec::new());
        let mut lone = SurgeFinder::default();
        add(&mut lone, 0, 1);
        add(&mut lone, u64::MAX / 2_000_000, 1);
        assert_eq!(lone.find().surges, Vec::new());
    }
}
