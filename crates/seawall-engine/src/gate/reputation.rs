//! The reputation of one client: two sums of log-likelihood ratios, of which one forgets with a half-life of ten minutes and
//! the other of a day. Above zero it is more likely unwanted, below more likely a visitor, in natural logarithms.
//!
//! Each kind of evidence has a cap, so that no amount of one thing decides alone. What speaks for a client is chiefly the
//! number of different hours in which it behaved: pages are cheap to ask for, so a flood could buy a good name with them
//! within a minute, while hours cannot be hurried.

/// The half-lives, in seconds.
const HALF_LIFE_SHORT: f32 = 600.0;
const HALF_LIFE_LONG: f32 = 86_400.0;

/// Sums fade in steps of this many seconds; to do it for each request would cost more than it says.
const FADE_STEP: u32 = 15;

/// A client may be banned when its sum is more than this: twenty to one.
pub(super) const BAN_MIN: f32 = 3.0;

/// A client is exempt from rules when its sum is less than this: one to seven.
pub(super) const EXEMPT_MAX: f32 = -2.0;

/// A client is known good when the sum of a day alone is less than this: it takes three different hours within half a day. Rules that
/// hit such clients are withdrawn, so whoever can become one cheaply can have any rule withdrawn.
const KNOWN_MAX: f32 = -1.0;

/// One kind of evidence: what it adds to either sum, and how far it can take each. They are set so
/// that 32 refusals in a minute suffice for a ban, and an exemption takes at least four different hours of behaving.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight {
    short: f32,
    short_limit: f32,
    long: f32,
    long_limit: f32,
}

/// A rule refused it.
pub(super) const REFUSED: Weight = Weight { short: 0.1, short_limit: 4.0, long: 0.03, long_limit: 4.0 };

/// It asked again before the time that it was told to wait for was over.
pub(super) const IMPATIENT: Weight = Weight { short: 0.1, short_limit: 2.0, long: 0.01, long_limit: 1.0 };

/// It posted to a static file.
pub(super) const POSTED_TO_STATIC: Weight = Weight { short: 0.2, short_limit: 2.0, long: 0.02, long_limit: 1.0 };

/// A rule matched, and it was spared for its good name: the name wears off after forty times.
pub(super) const SPARED: Weight = Weight { short: 0.0, short_limit: 0.0, long: 0.05, long_limit: 4.0 };

/// It was served.
pub(super) const SERVED: Weight = Weight { short: -0.05, short_limit: -0.5, long: 0.0, long_limit: 0.0 };

/// It was served in an hour in which it had not been before.
pub(super) const SERVED_IN_NEW_HOUR: Weight = Weight { short: 0.0, short_limit: 0.0, long: -0.4, long_limit: -4.0 };

/// It came back when it had been told to, and not before.
pub(super) const PATIENT: Weight = Weight { short: -0.5, short_limit: -0.5, long: 0.0, long_limit: 0.0 };

/// What is known of one client; 12 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reputation {
    short: f32,
    long: f32,
    /// When both were last faded, in seconds.
    faded: u32,
}

impl Reputation {
    /// The sum, as of `now`.
    pub(super) fn sum(&mut self, now: u32) -> f32 {
        self.fade(now);
        self.short + self.long
    }

    /// The sum as of the last evidence, before it faded any further.
    pub(super) const fn sum_then(&self) -> f32 {
        self.short + self.long
    }

    /// Whether it has behaved for hours, whatever it did in the last minutes.
    pub(super) fn is_of_long_standing(&mut self, now: u32) -> bool {
        self.fade(now);
        self.long < KNOWN_MAX && self.short + self.long < KNOWN_MAX
    }

    /// Adds one piece of evidence.
    pub(super) fn add(&mut self, weight: Weight, now: u32) {
        self.fade(now);
        self.short = toward(self.short, weight.short, weight.short_limit);
        self.long = toward(self.long, weight.long, weight.long_limit);
    }

    fn fade(&mut self, now: u32) {
        let passed = now.saturating_sub(self.faded);
        if passed < FADE_STEP {
            return;
        }
        self.faded = now;
        if self.short != 0.0 || self.long != 0.0 {
            self.short *= (-(passed as f32) / HALF_LIFE_SHORT).exp2();
            self.long *= (-(passed as f32) / HALF_LIFE_LONG).exp2();
        }
    }
}

/// Moves a sum as far as the limit, and leaves it where other evidence has taken it beyond.
fn toward(sum: f32, step: f32, limit: f32) -> f32 {
    if step > 0.0 { (sum + step).min(sum.max(limit)) } else { (sum + step).max(sum.min(limit)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day of which nothing is remembered.
    const START: u32 = 1_700_000_000;

    fn after(evidence: &[(Weight, u32, u32)], now: u32) -> f32 {
        let mut reputation = Reputation::default();
        for (weight, times, at) in evidence {
            for _ in 0..*times {
                reputation.add(*weight, START + at);
            }
        }
        reputation.sum(START + now)
    }

    #[test]
    fn what_speaks_against_a_client_fades_and_a_part_of_it_slowly() {
        assert!(after(&[(REFUSED, 32, 0)], 0) > BAN_MIN);
        assert!(after(&[(REFUSED, 20, 0)], 0) < BAN_MIN);
        assert!(after(&[(REFUSED, 32, 0)], 3600) < BAN_MIN);
        // Who went on for long is known as such when it returns after an hour and a half.
        assert!(after(&[(REFUSED, 150, 0)], 5400) > BAN_MIN);
        assert!(after(&[(REFUSED, 150, 0)], 2 * 86_400) < BAN_MIN);
    }

    #[test]
    fn no_kind_of_evidence_decides_alone_but_refusals() {
        assert!(after(&[(IMPATIENT, 10_000, 0)], 0) <= BAN_MIN);
        assert!(after(&[(POSTED_TO_STATIC, 10_000, 0)], 0) <= BAN_MIN);
        assert!(after(&[(IMPATIENT, 10_000, 0), (REFUSED, 20, 0)], 0) > BAN_MIN);
    }

    #[test]
    fn a_good_name_takes_hours_and_wears_off() {
        // However much it asks for, and however well it behaves, in three hours.
        let hours = |count: u32| {
            let mut evidence: Vec<(Weight, u32, u32)> =
                (0..count).map(|hour| (SERVED_IN_NEW_HOUR, 1, hour * 3600)).collect();
            evidence.extend([(SERVED, 100_000, count * 3600), (PATIENT, 100, count * 3600)]);
            after(&evidence, count * 3600)
        };
        assert!(hours(3) > EXEMPT_MAX);
        assert!(hours(5) < EXEMPT_MAX);
        let mut best: Vec<(Weight, u32, u32)> = (0..48).map(|hour| (SERVED_IN_NEW_HOUR, 1, hour * 3600)).collect();
        assert!(after(&best, 48 * 3600) >= -4.0);
        best.push((SPARED, 41, 48 * 3600));
        assert!(after(&best, 48 * 3600) > EXEMPT_MAX);
    }
}
