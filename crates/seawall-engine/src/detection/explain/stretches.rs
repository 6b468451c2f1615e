//! How much there was of each cost in short stretches of time, and when a log was written at all.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::COSTS;
use super::super::observing::observed_costs;
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

/// Of the bytes of a stretch this many of the dearest requests are no surge, as live: one download is none. Smaller ones than a quarter of
/// the floor need not be known.
const DEAREST: usize = 3;
const DEAREST_MIN: f64 = FLOORS[CostKind::Bytes as usize] / 4.0;

/// A log that is silent in most hours of its span, and has at least this many in which something came, was not written then, or
/// the site was down: what is usual is told by the hours in which something came.
const HOURS_MIN: usize = 24;

/// A silence is one of the log, and not of the site, when it is this much longer than all that was written, and this long, in
/// hours.
const SILENCE_FACTOR: u64 = 4;
const SILENCE_HOURS_MIN: u64 = 72;

/// What lies beyond such a silence with at most this share of all requests has a wrong date.
const FAR_SHARE_MAX: f64 = 0.01;

/// The share of requests at either end of a log that may have strayed there.
const STRAYS: f64 = 0.001;

/// What is dated far from nearly all else, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Far {
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) requests: u64,
}

/// How many hours of silence are one of a log that was written in so many.
fn silence_min(hours: usize) -> u64 {
    (hours as u64).saturating_mul(SILENCE_FACTOR).max(SILENCE_HOURS_MIN)
}

/// Sums over stretches of the same length; those without any request are not listed.
#[derive(Clone, Debug)]
pub(super) struct Stretches {
    /// How long each is.
    pub(super) seconds: u64,
    /// By their number since the Unix epoch.
    pub(super) sums: FxHashMap<u64, [f64; COSTS]>,
    /// The largest answers in each, where there are large ones.
    dearest: FxHashMap<u64, [f64; DEAREST]>,
}

impl Default for Stretches {
    fn default() -> Self {
        Self { seconds: SECONDS, sums: FxHashMap::default(), dearest: FxHashMap::default() }
    }
}

/// Keeps the largest.
fn keep(dearest: &mut [f64; DEAREST], mut bytes: f64) {
    for kept in dearest {
        if bytes > *kept {
            std::mem::swap(&mut bytes, kept);
        }
    }
}

impl Stretches {
    pub(super) fn add(&mut self, observation: &Observation<'_>) {
        let (stretch, costs) = (observation.at.as_seconds() / self.seconds, observed_costs(observation));
        let sums = self.sums.entry(stretch).or_default();
        sums.iter_mut().zip(costs).for_each(|(sum, cost)| *sum += cost);
        let bytes = costs[CostKind::Bytes as usize];
        if bytes >= DEAREST_MIN {
            keep(self.dearest.entry(stretch).or_default(), bytes);
        }
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
        let mut dearest: FxHashMap<u64, [f64; DEAREST]> = FxHashMap::default();
        for (stretch, largest) in &self.dearest {
            let kept = dearest.entry(stretch * self.seconds / seconds).or_default();
            largest.iter().for_each(|bytes| keep(kept, *bytes));
        }
        *self = Self { seconds, sums, dearest };
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
        for (stretch, largest) in other.dearest {
            let kept = self.dearest.entry(stretch).or_default();
            largest.iter().for_each(|bytes| keep(kept, *bytes));
        }
        while self.sums.len() > STRETCHES_MAX {
            self.coarsen(self.coarser());
        }
    }

    pub(super) fn sum(&self, stretch: u64, cost: CostKind) -> f64 {
        self.sums.get(&stretch).map_or(0.0, |sums| sums[cost as usize])
    }

    /// The same without the bytes of the few largest answers, which visitors may have whenever they like.
    pub(super) fn sum_of_many(&self, stretch: u64, cost: CostKind) -> f64 {
        let largest = self.dearest.get(&stretch).filter(|_| cost == CostKind::Bytes);
        self.sum(stretch, cost) - largest.map_or(0.0, |largest| largest.iter().sum())
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

    /// Sets aside what is dated far from nearly all else, as by a clock that was wrong: years of silence would be usual.
    pub(super) fn set_aside_far(&mut self) -> Vec<Far> {
        let mut hours: Vec<u64> = self.hours().into_iter().collect();
        hours.sort_unstable();
        let silence = silence_min(hours.len());
        let mut parts: Vec<(u64, u64)> = Vec::new();
        for hour in hours {
            match parts.last_mut() {
                Some(part) if hour - part.1 <= silence => part.1 = hour,
                _ => parts.push((hour, hour)),
            }
        }
        if parts.len() < 2 {
            return Vec::new();
        }
        let mut requests = vec![0.0; parts.len()];
        let part_of = |hour: u64| parts.partition_point(|(_, last)| *last < hour);
        for (stretch, sums) in &self.sums {
            requests[part_of(self.hour(*stretch))] += sums[0];
        }
        let all: f64 = requests.iter().sum();
        let is_far = |part: usize| requests.get(part).is_some_and(|requests| *requests <= FAR_SHARE_MAX * all);
        let seconds = self.seconds;
        self.sums.retain(|stretch, _| !is_far(part_of(stretch * seconds / LONGEST_SECONDS)));
        let far = |(part, (first, last)): (usize, &(u64, u64))| Far {
            from: first * LONGEST_SECONDS,
            until: last * LONGEST_SECONDS + LONGEST_SECONDS.max(seconds),
            requests: requests[part] as u64,
        };
        parts.iter().enumerate().filter(|(part, _)| is_far(*part)).map(far).collect()
    }

    /// The hour in which a stretch is or begins, from the Unix epoch.
    fn hour(&self, stretch: u64) -> u64 {
        stretch * self.seconds / LONGEST_SECONDS
    }

    /// The hours in which anything came.
    fn hours(&self) -> FxHashSet<u64> {
        self.sums.keys().map(|stretch| self.hour(*stretch)).collect()
    }

    /// The hours in which the log was written, when in most of its span it was not; they are numbered from the Unix epoch.
    pub(super) fn written_hours(&self) -> Option<FxHashSet<u64>> {
        let (first, last) = self.span();
        let hours = self.hours();
        let all = ((last - first + 1) * self.seconds / LONGEST_SECONDS) as usize;
        let is_cut = || {
            let mut hours: Vec<u64> = hours.iter().copied().collect();
            hours.sort_unstable();
            hours.windows(2).any(|pair| pair[1] - pair[0] > silence_min(hours.len()))
        };
        (hours.len() < all / 2 && (hours.len() >= HOURS_MIN || is_cut())).then_some(hours)
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
