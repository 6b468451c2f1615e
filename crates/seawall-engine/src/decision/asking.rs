//! How many of those whom a rule meets pass while it is not known whether they are people.
//!
//! Whom the site gives nothing can fetch no parts of pages: a crowd that has brought the site down looks like a flood, and a rule that
//! refuses it proves itself. So enough pass to be asked. Pure; what they tell is found out by the detection.

use std::time::Duration;

use crate::units::Timestamp;

use super::traffic::Met;

/// How many requests a second pass at first: thirty in a minute, of which eight suffice to know it.
const RATE: f64 = 0.5;

/// While nobody is given anything, so many pass in half as many after each such time: a flood may cost the site as much as each of them
/// can. At least this rate: one that is given something is a reason to ask more again.
const HALVED_AFTER: Duration = Duration::from_secs(60);
const RATE_MIN: f64 = 1.0 / 30.0;

/// However few come, one of two is refused; and however many, some pass.
const INTERVAL_MIN: f64 = 2.0;
const INTERVAL_MAX: f64 = 65_536.0;

/// What a rule meets a second is the most of what it has met over so many.
const RATE_SECONDS: [u64; 2] = [2, 10];

/// The interval stays where it is while what is wanted is less than this many times as much, or as little.
const HYSTERESIS: f64 = 2.0;

/// What was known is asked again after so long: what the site gave may not have been what they came for.
const ASKED_AGAIN: Duration = Duration::from_secs(120);

/// What they tell, to whom the site has given something since a rule is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// They read what they were given: people.
    People,
    /// Enough were given something, and they are none.
    NoPeople,
    /// Some were given something, too few to tell.
    Little,
    /// The site has given nobody anything.
    Nothing,
}

/// Where the asking is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// Since when nobody has been given anything.
    Since(Timestamp),
    /// When it was known that these are no people.
    Known(Timestamp),
}

impl Asking {
    /// Takes what they tell. What is known holds until it is asked again, unless they turn out to be people.
    pub(super) fn note(&mut self, now: Timestamp, told: Told) {
        match told {
            Told::Little if self.is_open() => *self = Self::Since(now),
            Told::NoPeople if self.is_open() => *self = Self::Known(now),
            Told::Nothing | Told::Little | Told::NoPeople => {}
            Told::People => *self = Self::Since(now),
        }
    }

    /// Lets time pass: what was known a while ago is asked again.
    pub(super) fn step(&mut self, now: Timestamp) {
        if let Self::Known(at) = *self
            && now.since(at) >= ASKED_AGAIN
        {
            *self = Self::Since(now);
        }
    }

    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Since(_))
    }

    /// One matching request in how many passes. `present` is how many it is so far.
    pub(super) fn interval(self, now: Timestamp, met: &Met, present: u32) -> u32 {
        let (Self::Since(since) | Self::Known(since)) = self;
        let halvings = now.since(since).as_secs() / HALVED_AFTER.as_secs();
        let passing = (RATE / 2.0_f64.powi(halvings.min(16) as i32)).max(RATE_MIN);
        let rate = RATE_SECONDS.map(|seconds| met.rate(seconds, now)).into_iter().fold(0.0, f64::max);
        let wanted = (rate / passing).clamp(INTERVAL_MIN, INTERVAL_MAX);
        let is_near = |of: f64| wanted < HYSTERESIS * of && of < HYSTERESIS * wanted;
        // By powers of two, and not to and fro: each change goes to all that judge.
        if is_near(f64::from(present)) { present } else { 1 << (wanted as u32).ilog2() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Rule, RuleId};
    use crate::detection::RuleTraffic;

    const BEGIN: u64 = 1_000_000;

    /// The intervals of each quarter of a second at this rate, from the tenth second on.
    fn intervals(rate: u64, seconds: std::ops::Range<u64>, mut asking: Asking) -> Vec<u32> {
        let mut met = Met::default();
        let mut intervals = Vec::new();
        let mut present = Rule::CANARY_INTERVAL;
        for quarter in (seconds.start - 10) * 4..seconds.end * 4 {
            let now = Timestamp::from_micros((BEGIN * 4 + quarter) * 250_000);
            let matched = rate * (quarter + 1) / 4 - rate * quarter / 4;
            met.count(now, &RuleTraffic { matched, ..RuleTraffic::none(RuleId(1)) });
            asking.step(now);
            present = asking.interval(now, &met, present);
            if quarter >= seconds.start * 4 {
                intervals.push(present);
            }
        }
        intervals.dedup();
        intervals
    }

    #[test]
    fn as_many_pass_as_it_takes_and_no_more() {
        let asking = Asking::Since(Timestamp::from_seconds(BEGIN));
        // Nor does it change as the second passes, whatever the rate.
        for (rate, interval) in [(1, 2), (2, 4), (4, 8), (8, 16), (9, 16), (10, 16), (40, 64), (100, 128), (5000, 8192)]
        {
            assert_eq!(intervals(rate, 10..50, asking), [interval], "{rate}/s");
        }
        assert_eq!(intervals(10, 10..400, asking), [16, 32, 64, 128, 256], "nobody is given anything");
        assert_eq!(intervals(1, 10..900, asking), [2, 4, 8, 16], "two in a minute go on passing");
    }

    #[test]
    fn more_are_asked_once_one_is_given_something() {
        let mut asking = Asking::Since(Timestamp::from_seconds(BEGIN));
        asking.note(Timestamp::from_seconds(BEGIN + 600), Told::Nothing);
        assert_eq!(asking, Asking::Since(Timestamp::from_seconds(BEGIN)));
        asking.note(Timestamp::from_seconds(BEGIN + 600), Told::Little);
        assert_eq!(intervals(10, 610..650, asking), [16]);
        asking.note(Timestamp::from_seconds(BEGIN + 700), Told::NoPeople);
        assert!(!asking.is_open());
        asking.note(Timestamp::from_seconds(BEGIN + 710), Told::Little);
        asking.step(Timestamp::from_seconds(BEGIN + 810));
        assert_eq!(asking, Asking::Known(Timestamp::from_seconds(BEGIN + 700)), "it holds for a while");
        asking.step(Timestamp::from_seconds(BEGIN + 820));
        assert_eq!(asking, Asking::Since(Timestamp::from_seconds(BEGIN + 820)), "and is asked again");
    }
}
