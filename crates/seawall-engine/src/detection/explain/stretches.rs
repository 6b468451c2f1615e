//! How much there was of each cost in short stretches of time, and when a log was written at all.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::{COSTS, observed_costs};
use super::usual::quantile;
use crate::decision::CostKind;
use crate::observation::Observation;

/// How long a stretch is at first, in seconds,
const SECONDS: u64 = 10;

/// and the longer ones that are tried when requests are too few for that.
pub(super) const COARSER_SECONDS: [u64; 3] = [60, 600, LONGEST_SECONDS];
pub(super) const LONGEST_SECONDS: u64 = 3600;

/// Stretches that are kept; of a longer log they are made longer. At ten seconds these are fifteen days.
pub(super) const STRETCHES_MAX: usize = 1 << 17;

/// What must be exceeded in ten seconds at least: the same as live (ten requests, 2 MB, three seconds of work).
pub(super) const FLOORS: [f64; COSTS] = [10.0, 2e6, 3.0, 100.0];

/// A log that is silent in most hours of its span, and has at least this many in which something came, was not written then, or
/// the site was down: what is usual is told by the hours in which something came.
const HOURS_MIN: usize = 24;

/// The share of requests at either end of a log that may have strayed there.
const STRAYS: f64 = 0.001;

/// Sums over stretches of the same length; those without any request are not listed.
#[derive(Clone, Debug)]
pub(super) struct Stretches {
    /// How long each is.
    pub(super) seconds: u64,
    /// By their number since the Unix epoch.
    pub(super) sums: FxHashMap<u64, [f64; COSTS]>,
}

impl Default for Stretches {
    fn default() -> Self {
        Self { seconds: SECONDS, sums: FxHashMap::default() }
    }
}

impl Stretches {
    pub(super) fn add(&mut self, observation: &Observation<'_>) {
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

    pub(super) fn coarsen(&mut self, seconds: u64) {
        let mut sums: FxHashMap<u64, [f64; COSTS]> = FxHashMap::default();
        for (stretch, parts) in &self.sums {
            let sum = sums.entry(stretch * self.seconds / seconds).or_default();
            sum.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        *self = Self { seconds, sums };
    }

    /// Takes what others have.
    pub(super) fn merge(&mut self, mut other: Self) {
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

    pub(super) fn sum(&self, stretch: u64, cost: CostKind) -> f64 {
        self.sums.get(&stretch).map_or(0.0, |sums| sums[cost as usize])
    }

    /// How much of a cost there was between two seconds.
    pub(super) fn between(&self, from: u64, until: u64, cost: CostKind) -> f64 {
        (from / self.seconds..until.div_ceil(self.seconds)).map(|stretch| self.sum(stretch, cost)).sum()
    }

    /// What must be exceeded at least.
    pub(super) fn floor(&self, cost: usize) -> f64 {
        FLOORS[cost] * (self.seconds as f64 / SECONDS as f64).sqrt()
    }

    pub(super) fn an_hour(&self) -> u64 {
        (LONGEST_SECONDS / self.seconds).max(1)
    }

    /// The median of requests in all stretches of the span, the empty ones among them.
    pub(super) fn median_requests(&self) -> f64 {
        let (first, last) = self.span();
        let mut requests: Vec<f64> = self.sums.values().map(|sums| sums[0]).collect();
        let stretches = self.written_hours().map(|hours| hours.len() as u64 * self.an_hour());
        quantile(&mut requests, stretches.unwrap_or(last - first + 1), 0.5)
    }

    /// The hours in which the log was written, when in most of its span it was not; they are numbered from the Unix epoch.
    pub(super) fn written_hours(&self) -> Option<FxHashSet<u64>> {
        let (first, last) = self.span();
        let hours: FxHashSet<u64> = self.sums.keys().map(|stretch| stretch * self.seconds / LONGEST_SECONDS).collect();
        let all = ((last - first + 1) * self.seconds / LONGEST_SECONDS) as usize;
        (hours.len() >= HOURS_MIN && hours.len() < all / 2).then_some(hours)
    }

    /// The first and the last stretch, without the few requests at either end that may have strayed there: one line with a
    /// wrong date would make years of silence usual.
    pub(super) fn span(&self) -> (u64, u64) {
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
