//! When the visits of a group come: a Poisson process of the rate that the scenario draws, or a herd.

use std::time::Duration;

use fastrand::Rng;

use super::scenario::{Arrivals, RatePerSecond, Time};

/// The step in which a changing rate is followed.
const STEP: Duration = Duration::from_millis(1);

/// The moments of the visits, counted from the beginning of the group, in order; all are before `length`.
pub(crate) fn moments(arrivals: Arrivals, length: Duration, random: &mut Rng) -> Vec<Duration> {
    if let Arrivals::Herd { count, within } = arrivals {
        return herd(count, within.0.min(length), random);
    }
    let mut moments = Vec::new();
    let (mut at, mut expected, mut next) = (Duration::ZERO, 0.0, exponential(random));
    while at < length {
        let step = rate(arrivals, at, length) * STEP.as_secs_f64();
        while step > 0.0 && next <= expected + step {
            let moment = at + STEP.mul_f64((next - expected) / step);
            if moment < length {
                moments.push(moment);
            }
            next += exponential(random);
        }
        expected += step;
        at += STEP;
    }
    moments
}

/// About how many visits come in `length`.
pub(crate) fn visits_expected(arrivals: Arrivals, length: Duration) -> f64 {
    if let Arrivals::Herd { count, .. } = arrivals {
        return f64::from(count);
    }
    let steps = 1000_u32;
    let step = length / steps;
    (0..steps).map(|index| rate(arrivals, step * index, length) * step.as_secs_f64()).sum()
}

impl Arrivals {
    /// The same shape with `factor` times the visits.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        let scale = |RatePerSecond(rate)| RatePerSecond(rate * factor);
        match self {
            Self::Constant { rate } => Self::Constant { rate: scale(rate) },
            Self::Ramp { rate, rate_end, hold, over } => {
                Self::Ramp { rate: scale(rate), rate_end: scale(rate_end), hold, over }
            }
            Self::Pulse { rate, rate_between, on, off } => {
                Self::Pulse { rate: scale(rate), rate_between: rate_between.map(scale), on, off }
            }
            Self::Herd { count, within } => Self::Herd { count: (f64::from(count) * factor) as u32, within },
        }
    }
}

/// Visits a second at a moment of a group that lasts `length`.
pub(crate) fn rate(arrivals: Arrivals, at: Duration, length: Duration) -> f64 {
    match arrivals {
        Arrivals::Constant { rate: RatePerSecond(rate) } => rate,
        Arrivals::Ramp { rate: RatePerSecond(first), rate_end: RatePerSecond(last), hold, over } => {
            let hold = hold.map_or(Duration::ZERO, |Time(hold)| hold);
            let over = over.map_or(length.saturating_sub(hold), |Time(over)| over);
            if at < hold {
                first
            } else if over.is_zero() {
                last
            } else {
                let done = (at - hold).as_secs_f64() / over.as_secs_f64();
                first + (last - first) * done.min(1.0)
            }
        }
        Arrivals::Pulse { rate: RatePerSecond(rate), rate_between, on: Time(on), off: Time(off) } => {
            let cycle = (on + off).as_micros().max(1);
            if at.as_micros() % cycle < on.as_micros() {
                rate
            } else {
                rate_between.map_or(0.0, |RatePerSecond(rate)| rate)
            }
        }
        Arrivals::Herd { count, within: Time(within) } => f64::from(count) / within.as_secs_f64().max(0.001),
    }
}

/// A unit-mean exponential draw: the gap between visits at one a second.
pub(crate) fn exponential(random: &mut Rng) -> f64 {
    -(1.0 - random.f64()).ln()
}

/// Most come at the beginning: the rate falls to a twentieth by the end (e⁻³).
fn herd(count: u32, within: Duration, random: &mut Rng) -> Vec<Duration> {
    const DECAYS: f64 = 3.0;
    let remaining = (-DECAYS).exp();
    let draw = |random: &mut Rng| -(1.0 - random.f64() * (1.0 - remaining)).ln() / DECAYS;
    let mut moments: Vec<_> = (0..count).map(|_| within.mul_f64(draw(random))).collect();
    moments.sort_unstable();
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    fn check(arrivals: Arrivals, expected: f64) -> Vec<Duration> {
        let length = Duration::from_secs(20);
        let moments = moments(arrivals, length, &mut Rng::with_seed(1));
        let slack = 4.0 * expected.sqrt() + 1.0;
        assert!((moments.len() as f64 - expected).abs() <= slack, "{arrivals:?}: {} visits", moments.len());
        assert!((visits_expected(arrivals, length) - expected).abs() <= slack, "{arrivals:?}");
        assert!(moments.is_sorted() && moments.iter().all(|moment| *moment <= length), "{arrivals:?}");
        moments
    }

    #[test]
    fn each_kind_comes_as_often_as_it_says() {
        let rate = RatePerSecond;
        check(Arrivals::Constant { rate: rate(50.0) }, 1000.0);
        check(Arrivals::Ramp { rate: rate(0.0), rate_end: rate(100.0), hold: None, over: None }, 1000.0);
        let step =
            Arrivals::Ramp { rate: rate(20.0), rate_end: rate(50.0), hold: Some(seconds(10)), over: Some(seconds(0)) };
        let moments = check(step, 700.0);
        let early = moments.iter().filter(|moment| **moment < Duration::from_secs(10)).count();
        assert!((150..250).contains(&early), "{early} in the first half");
        let pulse = Arrivals::Pulse { rate: rate(100.0), rate_between: None, on: seconds(1), off: seconds(3) };
        for moment in check(pulse, 500.0) {
            assert!(moment.as_millis() % 4000 < 1000, "{moment:?} is in a pause");
        }
    }

    #[test]
    fn a_herd_is_exact_and_comes_mostly_at_first() {
        let moments = check(Arrivals::Herd { count: 578, within: seconds(20) }, 578.0);
        assert_eq!(moments.len(), 578);
        let early = moments.iter().filter(|moment| **moment < Duration::from_secs(5)).count();
        assert!(early > 289, "{early} in the first quarter");
    }
}
