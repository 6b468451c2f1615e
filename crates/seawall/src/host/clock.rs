//! The one place that reads the clock. Everything else is told the time.

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use seawall_engine::units::Timestamp;

/// The least difference between the machine's clock and the guard's that counts as a [`Step`]: more than clocks drift apart or are
/// put right by in ordinary use.
const STEP_MIN: Duration = Duration::from_secs(60);

/// The first of 2020: a machine that shows an earlier date has no clock yet, since there was no guard then.
pub const CLOCK_SET_MIN: Timestamp = Timestamp::from_seconds(1_577_836_800);

/// A clock that is anchored to the wall clock once and then runs monotonically, so that time never steps back while the
/// guard runs, whatever is done to the machine's clock. It is not anchored anew when that is set: what was learnt and everything
/// with a deadline would jump with it. What outlives the guard is written in the machine's time instead ([`Step`]).
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Timestamp,
    started: Instant,
    /// Microseconds since the epoch, where a test says what time it is.
    #[cfg(test)]
    hand: Option<&'static AtomicU64>,
}

impl Clock {
    /// A clock anchored now.
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
    pub fn start() -> Self {
        Self {
            anchor: wall_clock(),
            started: Instant::now(),
            #[cfg(test)]
            hand: None,
        }
    }

    /// A clock that was anchored when the machine's showed another time, as one is that is set later.
    #[cfg(test)]
    pub(crate) fn anchored(anchor: Timestamp) -> Self {
        Self { anchor, ..Self::start() }
    }

    /// A clock that stands still until its hand, in microseconds since the epoch, is moved. The hand is never freed: clocks are copied to
    /// every thread.
    #[cfg(test)]
    pub(crate) fn set(at: Timestamp) -> (Self, &'static AtomicU64) {
        let hand: &AtomicU64 = Box::leak(Box::new(AtomicU64::new(at.as_micros())));
        (Self { anchor: at, hand: Some(hand), ..Self::start() }, hand)
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        #[cfg(test)]
        if let Some(hand) = self.hand {
            return Timestamp::from_micros(hand.load(Ordering::Acquire));
        }
        self.anchor + self.started.elapsed()
    }

    /// How long the clock has run.
    pub fn uptime(&self) -> Duration {
        self.now().since(self.anchor)
    }
}

/// How far the machine's clock has been set since the guard's was anchored: nothing, until it is at least a minute. A machine
/// without a battery begins in 1970 and is set once it has a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    micros: i64,
}

impl Step {
    /// How far it has been set so far.
    pub fn of(clock: &Clock) -> Self {
        let mut step = Self::default();
        step.follow(clock);
        step
    }

    /// A clock that was set by so many seconds.
    #[cfg(test)]
    pub(crate) const fn by_seconds(seconds: i64) -> Self {
        Self { micros: seconds * 1_000_000 }
    }

    /// Looks at the machine's clock, and says whether it has been set since it was last looked at.
    pub fn follow(&mut self, clock: &Clock) -> bool {
        let (machine, guard) = (wall_clock().as_micros().cast_signed(), clock.now().as_micros().cast_signed());
        let micros = machine.saturating_sub(guard);
        let is_set = u128::from(micros.abs_diff(self.micros)) >= STEP_MIN.as_micros();
        if is_set {
            self.micros = micros;
        }
        is_set
    }

    /// A moment of the guard's, as the machine's clock shows it.
    pub const fn to_machine(self, at: Timestamp) -> Timestamp {
        Timestamp::from_micros(at.as_micros().saturating_add_signed(self.micros))
    }

    /// A moment as the machine's clock showed it, in the guard's time.
    pub const fn to_guard(self, at: Timestamp) -> Timestamp {
        Timestamp::from_micros(at.as_micros().saturating_add_signed(self.micros.saturating_neg()))
    }
}

/// How far the machine's clock is behind the latest that it is known to have shown. A machine without a battery begins with the date that
/// was last kept for it, or that its system was made on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    machine: Timestamp,
    by: Duration,
}

impl Behind {
    /// The clock shows one where it has shown the other.
    pub fn new(machine: Timestamp, shown: Timestamp) -> Self {
        Self { machine, by: shown.since(machine) }
    }

    /// The beginning and the end of what was made, as this clock would have shown them: what it shows as still to come was made by one
    /// ahead of it, and no more is left of that than was when that one was last seen. What had ended by then is over. What was made before
    /// the clock was set is of no known date, and stays as it is.
    pub fn to_machine(self, since: Timestamp, expires: Timestamp) -> (Timestamp, Timestamp) {
        if since <= self.machine || since < CLOCK_SET_MIN {
            return (since, expires);
        }
        ((since - self.by).max(self.machine), expires - self.by)
    }
}

/// The beginning and the end of what was made before a restart, as it goes on. The machine's clock may have been set meanwhile:
/// whatever it shows now, nothing lasts for longer than it was made for, and what was made before the clock was set begins anew.
pub fn carried_over(since: Timestamp, expires: Timestamp, now: Timestamp) -> (Timestamp, Timestamp) {
    let whole = expires.since(since);
    if since < CLOCK_SET_MIN && now >= CLOCK_SET_MIN {
        return (now, now + whole);
    }
    (since.min(now), expires.min(now + whole))
}

/// What the machine's wall clock shows, for what people read (the clock image) rather than for measuring.
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH + since_epoch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_later_is_followed_once() {
        let (mut step, right) = (Step::default(), Clock::start());
        assert!(!step.follow(&right), "it runs with the machine's");
        let early = Clock::anchored(Timestamp::from_seconds(1_000));
        assert!(step.follow(&early) && !step.follow(&early));
        let machine = step.to_machine(early.now());
        assert!(wall_clock().since(machine) < STEP_MIN && machine.since(wall_clock()) < STEP_MIN);
        assert_eq!(step.to_guard(step.to_machine(early.now())).as_seconds(), early.now().as_seconds());
    }

    #[test]
    fn a_clock_that_is_behind_gives_what_was_left_and_no_more() {
        let hour = Duration::from_secs(3_600);
        let (made, seen) = (Timestamp::from_seconds(1_700_000_000), Timestamp::from_seconds(1_700_000_600));
        let left = |since: Timestamp, length: Duration, machine: Timestamp| {
            let (since, expires) = Behind::new(machine, seen).to_machine(since, since + length);
            carried_over(since, expires, machine).1.since(machine)
        };
        for machine in [Timestamp::from_seconds(9), CLOCK_SET_MIN, made - hour * 24 * 600, made - hour / 60] {
            assert_eq!(left(made, hour, machine), hour * 5 / 6, "{machine}");
            assert_eq!(left(made, hour / 10, machine), Duration::ZERO, "{machine}");
        }
        // Made by this clock, or by one that nobody believed.
        assert_eq!(left(made, hour, made + hour / 60), hour * 59 / 60);
        assert_eq!(left(made + hour * 200_000, hour, seen), hour);
        // Made before it was set, in an earlier run.
        assert_eq!(left(Timestamp::from_seconds(60), hour, Timestamp::from_seconds(9)), hour);
    }

    #[test]
    fn nothing_lasts_longer_than_it_was_made_for_nor_ends_for_want_of_a_clock() {
        let day = Duration::from_secs(86_400);
        let made = Timestamp::from_seconds(1_700_000_000);
        let left = |since: Timestamp, now: Timestamp| carried_over(since, since + day, now).1.since(now);
        assert_eq!(left(made, made + day / 4), day * 3 / 4);
        assert_eq!(left(made, made + 2 * day), Duration::ZERO);
        // Set back, and not set at all.
        assert_eq!(left(made, made - day), day);
        assert_eq!(left(made, Timestamp::from_seconds(9)), day);
        // Made before the clock was set.
        assert_eq!(left(Timestamp::from_seconds(9), made), day);
        assert_eq!(left(Timestamp::from_seconds(9), Timestamp::from_seconds(9) + day / 4), day * 3 / 4);
    }
}
