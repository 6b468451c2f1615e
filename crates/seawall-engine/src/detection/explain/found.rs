//! What was found in a log: its surges, and which moments are neither in one nor beside one, so that they show what is normal.
//!
//! Floods seldom begin and end where they stand out. What comes within an hour of a surge, or within as long as it was, is
//! therefore neither its own nor normal.

use std::time::Duration;

use super::habits::Habit;
use super::stretches::Far;
use super::surges::Surge;
use crate::units::Timestamp;

/// How much of the time before and after a surge is beside it, at least.
const BESIDE_MIN: Duration = Duration::from_secs(3600);

/// Half as much, and so on, is tried so often in a log of which less than this share would be left.
const HALVINGS: u32 = 8;
const LEFT_MIN: f64 = 0.5;

/// Where a moment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// In the surge of this number.
    Within(usize),
    /// Just before or after a surge, or in one that is not explained.
    Beside,
    /// Outside, where everything is taken for normal.
    Outside,
}

/// Requests with dates that are most likely wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarRequests {
    /// How many.
    pub requests: u64,
    /// The hour of the first of them.
    pub from: Timestamp,
    /// The end of the hour of the last.
    pub until: Timestamp,
}

/// The surges of a log.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Those that are explained, in the order of time.
    pub surges: Vec<Surge>,
    /// Weaker ones beyond what can be explained at once, in the order of time.
    pub left_out: Vec<Surge>,
    /// Requests that are dated far from nearly all others, as by a clock that was wrong, when there are any.
    pub far: Option<FarRequests>,
    /// What comes at the same hour on about half of the days or more, in the order of time.
    pub habits: Vec<Habit>,
    /// When the far ones are.
    far_times: Vec<(Timestamp, Timestamp)>,
    /// In order, none of which overlap.
    beside: Vec<(Timestamp, Timestamp)>,
}

impl Found {
    /// Of these surges. `amounts` is when how many requests came, and `far` when some did that are not taken for normal either.
    pub(super) fn new(
        mut surges: Vec<Surge>,
        mut left_out: Vec<Surge>,
        amounts: &[(Timestamp, f64)],
        far: &[Far],
    ) -> Self {
        surges.sort_by_key(|surge| surge.from);
        left_out.sort_by_key(|surge| surge.from);
        let times = |far: &Far| (Timestamp::from_seconds(far.from), Timestamp::from_seconds(far.until));
        let far_requests = far.first().zip(far.last()).map(|(first, last)| FarRequests {
            requests: far.iter().map(|far| far.requests).sum(),
            from: times(first).0,
            until: times(last).1,
        });
        let far_times = far.iter().map(times).collect();
        let mut found = Self { surges, left_out, far: far_requests, far_times, ..Self::default() };
        let outside = |found: &Self| -> f64 {
            amounts.iter().filter(|(at, _)| found.zone(*at) == Zone::Outside).map(|(_, amount)| amount).sum()
        };
        let all = outside(&found);
        for halving in 0..=HALVINGS {
            // The last of them is nothing but the surges that are left out.
            found.beside = found.around(if halving < HALVINGS { 0.5_f64.powi(halving as i32) } else { 0.0 });
            if outside(&found) >= LEFT_MIN * all {
                break;
            }
        }
        found
    }

    /// Where a moment is.
    pub fn zone(&self, at: Timestamp) -> Zone {
        if let Some(surge) = self.surges.iter().position(|surge| surge.contains(at)) {
            return Zone::Within(surge);
        }
        let next = self.beside.partition_point(|(_, until)| *until <= at);
        if self.beside.get(next).is_some_and(|(from, _)| *from <= at) { Zone::Beside } else { Zone::Outside }
    }

    /// Whether a moment is in what is dated far from nearly all else.
    pub(super) fn is_far(&self, at: Timestamp) -> bool {
        self.far_times.iter().any(|(from, until)| (*from..*until).contains(&at))
    }

    /// All surges with what is beside them, of which this part.
    fn around(&self, part: f64) -> Vec<(Timestamp, Timestamp)> {
        let around = |surge: &Surge| {
            let beside = surge.until.since(surge.from).max(BESIDE_MIN).mul_f64(part);
            (surge.from - beside, surge.until + beside)
        };
        let surges = self.surges.iter().chain(&self.left_out).map(around);
        let mut stretches: Vec<(Timestamp, Timestamp)> = surges.chain(self.far_times.iter().copied()).collect();
        stretches.sort_unstable();
        let mut joined: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (from, until) in stretches {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => joined.push((from, until)),
            }
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surge(from: u64, until: u64) -> Surge {
        Surge {
            from: Timestamp::from_seconds(from),
            until: Timestamp::from_seconds(until),
            levels: Vec::new(),
            usual: Default::default(),
            curve: Vec::new(),
            curve_seconds: 10,
        }
    }

    /// Where each of these seconds is, in a log of so many hours that are alike.
    fn zones(hours: u64, surges: Vec<Surge>, left_out: Vec<Surge>, seconds: &[u64]) -> Vec<Zone> {
        let amounts: Vec<_> = (0..hours * 60).map(|minute| (Timestamp::from_seconds(minute * 60), 1.0)).collect();
        let found = Found::new(surges, left_out, &amounts, &[]);
        seconds.iter().map(|second| found.zone(Timestamp::from_seconds(*second))).collect()
    }

    #[test]
    fn what_is_beside_a_surge_is_not_taken_for_normal() {
        use Zone::{Beside, Outside, Within};
        let day = zones(24, vec![surge(40_000, 40_600)], Vec::new(), &[36_300, 36_500, 40_100, 40_600, 44_100, 44_300]);
        assert_eq!(day, [Outside, Beside, Within(0), Beside, Beside, Outside]);
        // As long as it was, but not more than half of what there is.
        let long = zones(24, vec![surge(40_000, 50_000)], Vec::new(), &[29_900, 30_100, 59_900, 60_100]);
        assert_eq!(long, [Outside, Beside, Beside, Outside]);
        let short = zones(2, vec![surge(3600, 4200)], Vec::new(), &[600, 3500, 4300, 7000]);
        assert_eq!(short, [Outside, Beside, Beside, Outside]);
        let left_out = zones(24, vec![surge(40_000, 40_600)], vec![surge(70_000, 70_600)], &[70_100, 80_000]);
        assert_eq!(left_out, [Beside, Outside]);
    }
}
