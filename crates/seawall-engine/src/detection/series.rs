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

/// The costs, the arrivals of clients, and the heaviest client.
pub(crate) const SERIES: usize = CostKind::ALL.len() + 2;

/// Where the arrivals are.
pub(crate) const ARRIVALS: usize = CostKind::ALL.len();

/// Where the requests of the heaviest client are.
pub(crate) const HEAVIEST: usize = CostKind::ALL.len() + 1;

/// The sums of one stretch of time, each cost in the order of [`CostKind::ALL`], then arrivals; and the most requests that
/// one client had at any moment of it, older ones faded.
pub(crate) type Sums = [f64; SERIES];

/// In how many steps a client's requests fade to a half: two seconds. A page with twenty parts comes to less than twenty, and
/// forty requests a second to more than forty within one and a half.
const FADE_STEPS: f32 = 8.0;

/// A client that has not been seen for this long arrives anew, in seconds.
const ARRIVAL_SECONDS: u32 = 10;

/// How few requests make no surge, however dear.
const FEW: usize = 3;

/// How many clients are remembered for that.
const CLIENTS: usize = 16_384;

/// What is remembered of a client.
#[derive(Clone, Copy, Debug, Default)]
struct Remembered {
    client_hash: u32,
    /// The second in which it was last seen.
    second: u32,
    /// The step as of which its requests are faded.
    step: u32,
    requests: f32,
}

/// The last seconds, in steps.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    steps: [Sums; STEPS],
    /// The largest single cost of each step.
    largest: [[f64; CostKind::ALL.len()]; STEPS],
    newest: u64,
    /// The first step of the time that was observed without a gap.
    run_start: u64,
    clients: Vec<Remembered>,
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
        Self {
            steps: [[0.0; SERIES]; STEPS],
            largest: [[0.0; CostKind::ALL.len()]; STEPS],
            newest: 0,
            run_start: 0,
            clients: vec![Remembered::default(); CLIENTS],
        }
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
            self.largest = [[0.0; CostKind::ALL.len()]; STEPS];
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
            self.largest[self.newest as usize % STEPS] = [0.0; CostKind::ALL.len()];
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
        for (largest, cost) in self.largest[step as usize % STEPS].iter_mut().zip(costs) {
            *largest = largest.max(*cost);
        }
    }

    /// The same as [`Self::last`], without the few dearest requests of each cost but the number of requests: one download of a
    /// large file, or one slow page, is no surge. Those of the same step count as one.
    pub(crate) fn last_of_many(&self, steps: u64) -> Sums {
        let mut sums = self.last(steps);
        let first = (self.newest + 1).saturating_sub(steps.min(STEPS as u64)).max(self.run_start);
        for (cost, sum) in sums.iter_mut().enumerate().take(CostKind::ALL.len()).skip(1) {
            let mut dearest = [0.0_f64; FEW];
            for step in first..self.newest + 1 {
                let mut largest = self.largest[step as usize % STEPS][cost];
                for kept in &mut dearest {
                    if largest > *kept {
                        std::mem::swap(&mut largest, kept);
                    }
                }
            }
            *sum -= dearest.iter().sum::<f64>();
        }
        sums
    }

    /// Counts a request of a client, and says whether it is an arrival: the client was not here a moment ago.
    pub(crate) fn add_client(&mut self, client_hash: u32, weight: f64) -> bool {
        let (second, step) = ((self.newest / STEPS_PER_SECOND) as u32, self.newest as u32);
        let sums = &mut self.steps[self.newest as usize % STEPS];
        let entry = &mut self.clients[client_hash as usize % CLIENTS];
        if entry.client_hash != client_hash {
            *entry = Remembered { client_hash, ..Remembered::default() };
        }
        let arrives = second.wrapping_sub(entry.second) >= ARRIVAL_SECONDS;
        if arrives {
            sums[ARRIVALS] += weight;
        }
        let faded = entry.requests * (-(step.wrapping_sub(entry.step) as f32) / FADE_STEPS).exp2();
        *entry = Remembered { client_hash, second, step, requests: faded + weight as f32 };
        sums[HEAVIEST] = sums[HEAVIEST].max(f64::from(entry.requests));
        arrives
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
            let parts = &self.steps[step as usize % STEPS];
            for (sum, part) in sums.iter_mut().zip(&parts[..HEAVIEST]) {
                *sum += part;
            }
            sums[HEAVIEST] = sums[HEAVIEST].max(parts[HEAVIEST]);
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
        let second = |number, requests: f64| Passed::Second(number, [requests, requests * 10.0, 0.0, 0.0, 0.0, 0.0]);
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
    fn the_heaviest_client_is_the_one_that_goes_on() {
        let heaviest = |seconds: u64, requests_a_step: u64, clients: u64| {
            let mut series = Series::new();
            for step in 0..seconds * STEPS_PER_SECOND {
                series.advance(at(step * 250), |_| {});
                for number in 0..requests_a_step {
                    series.add_client(1 + (number % clients) as u32, 1.0);
                }
            }
            series.last(2)[HEAVIEST]
        };
        // Forty requests a second, from one client and from forty.
        assert!((40.0..65.0).contains(&heaviest(2, 10, 1)), "{}", heaviest(2, 10, 1));
        assert!(heaviest(30, 10, 1) < 140.0);
        assert!(heaviest(30, 10, 40) < 15.0);
        let mut series = Series::new();
        series.advance(at(0), |_| {});
        for _ in 0..40 {
            series.add_client(7, 1.0);
        }
        series.advance(at(4_000), |_| {});
        series.add_client(7, 1.0);
        assert!((10.0..12.0).contains(&series.last(2)[HEAVIEST]), "a quarter of forty is left after four seconds");
    }

    #[test]
    fn a_few_dear_requests_are_left_out_and_many_are_not() {
        let sum = |requests: u64| {
            let mut series = Series::new();
            for number in 0..requests {
                series.advance(at(number * 250), |_| {});
                series.add(at(number * 250), &[1.0, 5e7, 0.0, 0.0]);
            }
            (series.last(40)[0], series.last_of_many(40)[1])
        };
        assert_eq!(sum(1), (1.0, 0.0));
        assert_eq!(sum(3), (3.0, 0.0));
        assert_eq!(sum(40), (40.0, 37.0 * 5e7));
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
