//! What is usual in a stretch of time, and how much it may be: told by the log itself, for each hour of the day, or in a log of few
//! days by the hours around.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::COSTS;
use super::stretches::{LONGEST_SECONDS, Stretches};
use crate::decision::CostKind;

/// From this many days on each hour of the day is compared with itself.
pub(super) const DAYS_MIN: u64 = 3;

/// In a log of fewer days, where the hours before and those after have more than the log as a whole, the lesser of both is usual: the
/// middle of a day is busier than its night. So many hours on each side, so that no flood of up to half as many makes itself usual;
const AROUND_HOURS: usize = 6;

/// of which the log must have some,
const AROUND_HOURS_MIN: usize = 2;

/// and never more than this many times what the whole has, so that a longer one does not either.
const AROUND_FACTOR: f64 = 2.0;

/// A stretch exceeds what is usual at the median and this many median absolute deviations (made comparable with a standard
/// deviation), at this many times the ordinary maximum, and at the floor.
const SPREADS: f64 = 6.0 * 1.4826;
const MAXIMUM_FACTOR: f64 = 2.0;

/// One in so many parts of a quiet log may have more than the ordinary maximum.
const QUIET_PARTS: usize = 10;

/// Spreads in standard deviations.
const DEVIATIONS: f64 = 6.0;

const REQUESTS: usize = CostKind::Requests as usize;

/// The ordinary maximum is the median of the maxima of this many parts of the log (of its days, where hours are compared): a
/// flood in fewer than half of them does not change it.
const BLOCKS: u64 = 24;

/// What is usual in a stretch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Typical {
    pub(super) median: [f64; COSTS],
    /// What it may be.
    pub(super) most: [f64; COSTS],
    /// The ordinary maximum.
    maximum: [f64; COSTS],
}

/// What is usual, for each hour of the day or of the log.
pub(super) struct Usual {
    hours: Vec<Typical>,
    seconds: u64,
    /// The number of the first hour, where they are those of the log.
    first_hour: Option<u64>,
}

impl Usual {
    pub(super) fn new(log: &Stretches) -> Self {
        let (first, last) = log.span();
        let span = last - first + 1;
        let written = log.written_hours();
        let days = match &written {
            Some(hours) => hours.iter().map(|hour| hour / 24).collect::<FxHashSet<u64>>().len() as u64,
            None => (last - first) * log.seconds / 86_400,
        };
        let hours = if days >= DAYS_MIN { 24 } else { 1 };
        let mut usual = Self { hours: vec![Typical::default(); hours], seconds: log.seconds, first_hour: None };
        let stretches = |hour: usize| match &written {
            Some(written) => {
                let like = written.iter().filter(|number| **number as usize % hours == hour);
                like.count() as u64 * log.an_hour()
            }
            None => span.div_ceil(hours as u64),
        };
        let block = |stretch: u64| {
            let place = stretch.saturating_sub(first);
            if hours > 1 { place * log.seconds / 86_400 } else { place.saturating_mul(BLOCKS.min(span)) / span }
        };
        let blocks = match &written {
            Some(_) if hours > 1 => days,
            // Those in which nothing was written have no maximum.
            Some(written) => {
                let of_hour = |hour: &u64| block(hour * LONGEST_SECONDS / log.seconds);
                written.iter().map(of_hour).collect::<FxHashSet<u64>>().len() as u64
            }
            None if hours > 1 => days + 1,
            None => BLOCKS.min(span),
        };
        for hour in 0..hours {
            let of_hour: Vec<(u64, &[f64; COSTS])> = log
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
                let most = most(log, cost, median, spread, maximum);
                usual.hours[hour].median[cost] = median;
                usual.hours[hour].most[cost] = most;
                usual.hours[hour].maximum[cost] = maximum;
            }
        }
        if hours == 1 { usual.by_hours_around(log, first, last) } else { usual }
    }

    /// The same for each hour of a log of more hours than are looked at and of fewer days than are compared. The ordinary maximum remains
    /// that of the whole.
    fn by_hours_around(self, log: &Stretches, first: u64, last: u64) -> Self {
        let hour_of = |stretch: u64| stretch * log.seconds / LONGEST_SECONDS;
        let (first_hour, last_hour) = (hour_of(first), hour_of(last));
        let all = self.at(first);
        let span = last_hour - first_hour;
        if span <= AROUND_HOURS as u64 || span > DAYS_MIN * 24 || log.seconds > LONGEST_SECONDS {
            return self;
        }
        let mut by_hour: Vec<Vec<[f64; COSTS]>> = vec![Vec::new(); span as usize + 1];
        for (stretch, sums) in &log.sums {
            if let Some(hour) =
                hour_of(*stretch).checked_sub(first_hour).and_then(|hour| by_hour.get_mut(hour as usize))
            {
                hour.push(*sums);
            }
        }
        // The middle of some hours, and how far from it most are.
        let typical = |hours: &[Vec<[f64; COSTS]>], cost: usize| {
            let mut sums: Vec<f64> = hours.iter().flatten().map(|sums| sums[cost]).collect();
            let median = quantile(&mut sums, hours.len() as u64 * log.an_hour(), 0.5);
            let mut deviations: Vec<f64> = sums.iter().map(|sum| (sum - median).abs()).collect();
            (median, quantile(&mut deviations, sums.len() as u64, 0.5))
        };
        let around = |hour: usize| {
            let before = &by_hour[hour.saturating_sub(AROUND_HOURS)..hour];
            let after = &by_hour[(hour + 1).min(by_hour.len())..(hour + 1 + AROUND_HOURS).min(by_hour.len())];
            let mut of_hour = all;
            for cost in 0..COSTS {
                let sides = [before, after].into_iter().filter(|side| side.len() >= AROUND_HOURS_MIN);
                let sides: Vec<(f64, f64)> = sides.map(|side| typical(side, cost)).collect();
                let lower = sides.iter().map(|(median, _)| *median).min_by(f64::total_cmp).unwrap_or_default();
                // How much day and night differ says nothing of how much one hour does.
                let spread = sides.iter().map(|(_, spread)| *spread).fold(0.0, f64::max);
                if lower > 0.0 {
                    let usual = all.median[cost];
                    of_hour.median[cost] = lower.clamp(usual, AROUND_FACTOR * usual);
                    let own = most(log, cost, of_hour.median[cost], spread, all.maximum[cost]);
                    of_hour.most[cost] = own.min(all.most[cost].max(of_hour.median[cost] + log.floor(cost)));
                }
            }
            of_hour
        };
        Self { hours: (0..by_hour.len()).map(around).collect(), first_hour: Some(first_hour), ..self }
    }

    /// Where most stretches are empty: the rate of an hour says what is usual of requests, and chance (Poisson) what they may be. The
    /// ordinary maximum is what one part of the log in ten exceeds, of those in which anything came, and never that of the busiest: a
    /// single visit with all the parts of its pages is much in a minute of such a site. Of other costs it says nothing: one large
    /// file is many megabytes at once.
    pub(super) fn quiet(log: &Stretches, of_hours: &Self) -> Self {
        let (first, last) = log.span();
        let span = last - first + 1;
        let mut maxima: FxHashMap<u64, f64> = FxHashMap::default();
        for (stretch, sums) in &log.sums {
            let maximum = maxima.entry(stretch.saturating_sub(first).saturating_mul(BLOCKS) / span).or_default();
            *maximum = maximum.max(sums[REQUESTS]);
        }
        let mut maxima: Vec<f64> = maxima.into_values().collect();
        maxima.sort_by(|one, other| other.total_cmp(one));
        let maximum = maxima.get((maxima.len() / QUIET_PARTS).max(1)).copied().unwrap_or_default();
        let part = log.seconds as f64 / of_hours.seconds as f64;
        let of_hour = |hour: &Typical| {
            let median = hour.median.map(|median| median * part);
            let mut most = [f64::INFINITY; COSTS];
            let chance = median[REQUESTS] + DEVIATIONS * median[REQUESTS].sqrt();
            most[REQUESTS] = chance.max(MAXIMUM_FACTOR * maximum).max(median[REQUESTS] + log.floor(REQUESTS));
            Typical { median, most, maximum: hour.maximum }
        };
        Self {
            hours: of_hours.hours.iter().map(of_hour).collect(),
            seconds: log.seconds,
            first_hour: of_hours.first_hour,
        }
    }

    fn hour(&self, stretch: u64) -> usize {
        let hour = stretch * self.seconds / LONGEST_SECONDS;
        match self.first_hour {
            // What strayed to before the log and after it is compared with its ends.
            Some(first) => (hour.saturating_sub(first) as usize).min(self.hours.len() - 1),
            None => hour as usize % self.hours.len(),
        }
    }

    pub(super) fn at(&self, stretch: u64) -> Typical {
        self.hours.get(self.hour(stretch)).copied().unwrap_or_default()
    }
}

/// What a stretch may have of a cost.
fn most(log: &Stretches, cost: usize, median: f64, spread: f64, maximum: f64) -> f64 {
    (median + SPREADS * spread).max(MAXIMUM_FACTOR * maximum).max(median + log.floor(cost))
}

/// The value that this share of `count` values does not exceed, of which those that are not listed are zero. Sorts them.
pub(super) fn quantile(values: &mut [f64], count: u64, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (share * count.saturating_sub(1) as f64).round() as u64;
    let zeros = count.saturating_sub(values.len() as u64);
    at.checked_sub(zeros).and_then(|at| values.get(at as usize)).copied().unwrap_or_default()
}
