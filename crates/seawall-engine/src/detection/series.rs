//! What is offered, counted exactly: sums of each cost in steps of a quarter of a second, and how many clients arrive.
//!
//! Nothing here is sampled. The arrivals of clients are a series of their own because they tell a flood from a page
//! load within a second: a browser that fetches forty assets is one arrival, forty bots are forty.

use crate::decision::CostKind;
use crate::units::Timestamp;

/// How long a step is, in microseconds: as long as the time between ticks.
const STEP_MICROS: u64 = 250_000;

/// Steps in a second.
pub(crate) const STEPS_PER_SECOND: u64 = 4;

/// Steps that are kept: sixteen seconds.
const STEPS: usize = 64;

/// A silence of this many steps (fifteen seconds) without even a tick is time that was not observed, rather than time
/// without requests.
const GAP_STEPS_MAX: u64 = 60;

/// The costs and the arrivals of clients.
pub(crate) const SERIES: usize = CostKind::ALL.len() + 1;

/// Where the arrivals are.
pub(crate) const ARRIVALS: usize = CostKind::ALL.len();

/// The sums of one stretch of time, each cost in the order of [`CostKind::ALL`], then arrivals.
pub(crate) type Sums = [f64; SERIES];

/// A client that has not been seen for this long arrives anew, in seconds.
const ARRIVAL_SECONDS: u32 = 10;

/// How many clients are remembered for that.
const CLIENTS: usize = 16_384;

/// The last seconds, in steps.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    steps: [Sums; STEPS],
    newest: u64,
    /// The first step of the time that was observed without a gap.
    run_start: u64,
    clients: Vec<(u32, u32)>,
}

/// What an advance of time went through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Passed {
    /// A whole second, by number, with its sums.
    Second(u64, Sums),
    /// A gap in observation.
    Gap,
}

impl Series {
    pub(crate) fn new() -> Self {
        Self { steps: [[0.0; SERIES]; STEPS], newest: 0, run_start: 0, clients: vec![(0, 0); CLIENTS] }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(self.clients.as_slice())
    }

    /// The step of a moment.
    pub(crate) const fn step(at: Timestamp) -> u64 {
        at.as_micros() / STEP_MICROS
    }

    /// The newest step.
    pub(crate) const fn newest(&self) -> u64 {
        self.newest
    }

    /// Goes on to the step of `at`, saying what passed.
    pub(crate) fn advance(&mut self, at: Timestamp, mut passed: impl FnMut(Passed)) {
        let step = Self::step(at);
        if step <= self.newest {
            return;
        }
        if step - self.newest > GAP_STEPS_MAX {
            if self.newest > 0 {
                // The second that was under way ends with the gap.
                passed(Passed::Second(self.newest / STEPS_PER_SECOND, self.second_before(self.newest + 1)));
                passed(Passed::Gap);
            }
            self.steps = [[0.0; SERIES]; STEPS];
            self.newest = step;
            self.run_start = step;
            return;
        }
        while self.newest < step {
            self.newest += 1;
            if self.newest.is_multiple_of(STEPS_PER_SECOND) {
                passed(Passed::Second(self.newest / STEPS_PER_SECOND - 1, self.second_before(self.newest)));
            }
            self.steps[self.newest as usize % STEPS] = [0.0; SERIES];
        }
    }

    /// Counts costs into the step of `at`, or the newest when that is gone already.
    pub(crate) fn add(&mut self, at: Timestamp, costs: &[f64; CostKind::ALL.len()]) {
        let oldest = self.newest.saturating_sub(STEPS as u64 - 1).max(self.run_start);
        let step = Self::step(at);
        let step = if (oldest..=self.newest).contains(&step) { step } else { self.newest };
        for (sum, cost) in self.steps[step as usize % STEPS].iter_mut().zip(costs) {
            *sum += cost;
        }
    }

    /// Counts a request of a client, which is an arrival unless the client was here a moment ago.
    pub(crate) fn add_client(&mut self, client_hash: u32, weight: f64) {
        let second = (self.newest / STEPS_PER_SECOND) as u32;
        let entry = &mut self.clients[client_hash as usize % CLIENTS];
        if entry.0 != client_hash || second.wrapping_sub(entry.1) >= ARRIVAL_SECONDS {
            self.steps[self.newest as usize % STEPS][ARRIVALS] += weight;
        }
        *entry = (client_hash, second);
    }

    /// The sums of the last `steps` steps, the present one included.
    pub(crate) fn last(&self, steps: u64) -> Sums {
        let first = (self.newest + 1).saturating_sub(steps.min(STEPS as u64)).max(self.run_start);
        self.sum(first..self.newest + 1)
    }

    fn second_before(&self, end: u64) -> Sums {
        let start = (end - 1) / STEPS_PER_SECOND * STEPS_PER_SECOND;
        self.sum(start.max(self.run_start)..end)
    }

    fn sum(&self, steps: std::ops::Range<u64>) -> Sums {
        let mut sums = [0.0; SERIES];
        for step in steps {
            for (sum, part) in sums.iter_mut().zip(self.steps[step as usize % STEPS]) {
                *sum += part;
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(1_000_000_000 + millis * 1000)
    }

    #[test]
    fn seconds_pass_with_their_sums_and_gaps_are_no_zeroes() {
        let mut series = Series::new();
        let mut passed = Vec::new();
        for millis in [0, 300, 900, 1100, 3200] {
            series.advance(at(millis), |what| passed.push(what));
            series.add(at(millis), &[1.0, 10.0, 0.0, 0.0]);
        }
        let second = |number, requests: f64| Passed::Second(number, [requests, requests * 10.0, 0.0, 0.0, 0.0]);
        assert_eq!(passed, [second(1000, 3.0), second(1001, 1.0), second(1002, 0.0)]);
        passed.clear();
        series.advance(at(3_600_000), |what| passed.push(what));
        assert_eq!(passed, [second(1003, 1.0), Passed::Gap]);
        assert_eq!(series.last(40)[0], 0.0);
    }

    #[test]
    fn a_page_load_is_one_arrival_and_a_return_another() {
        let mut series = Series::new();
        series.advance(at(0), |_| {});
        for _ in 0..40 {
            series.add_client(7, 1.0);
        }
        series.add_client(8, 1.0);
        assert_eq!(series.last(4)[ARRIVALS], 2.0);
        series.advance(at(12_000), |_| {});
        series.add_client(7, 1.0);
        assert_eq!(series.last(4)[ARRIVALS], 1.0);
    }

    #[test]
    fn time_that_steps_back_is_counted_now() {
        let mut series = Series::new();
        series.advance(at(60_000), |_| {});
        series.advance(at(0), |_| {});
        series.add(at(0), &[1.0, 0.0, 0.0, 0.0]);
        assert_eq!(series.last(64)[0], 1.0);
    }
}
