//! What is usual in a stretch of time, and how much it may be: told by the log itself, for each hour of the day or for all.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::COSTS;
use super::stretches::{LONGEST_SECONDS, Stretches};
use crate::decision::CostKind;

/// From this many days on each hour of the day is compared with itself.
const DAYS_MIN: u64 = 3;

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
}

/// What is usual, for each hour of the day or for all.
pub(super) struct Usual {
    hours: Vec<Typical>,
    seconds: u64,
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
        let mut usual = Self { hours: vec![Typical::default(); hours], seconds: log.seconds };
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
                let most = (median + SPREADS * spread).max(MAXIMUM_FACTOR * maximum).max(median + log.floor(cost));
                usual.hours[hour].median[cost] = median;
                usual.hours[hour].most[cost] = most;
            }
        }
        usual
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
            Typical { median, most }
        };
        Self { hours: of_hours.hours.iter().map(of_hour).collect(), seconds: log.seconds }
    }

    fn hour(&self, stretch: u64) -> usize {
        (stretch * self.seconds / LONGEST_SECONDS) as usize % self.hours.len()
    }

    pub(super) fn at(&self, stretch: u64) -> Typical {
        self.hours.get(self.hour(stretch)).copied().unwrap_or_default()
    }
}

/// The value that this share of `count` values does not exceed, of which those that are not listed are zero. Sorts them.
pub(super) fn quantile(values: &mut [f64], count: u64, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (share * count.saturating_sub(1) as f64).round() as u64;
    let zeros = count.saturating_sub(values.len() as u64);
    at.checked_sub(zeros).and_then(|at| values.get(at as usize)).copied().unwrap_or_default()
}
