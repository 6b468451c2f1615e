//! When a client comes back, and how long a ban has to be for it to notice. A federated reader that returned every ninety
//! minutes never met the ten-minute bans of an operator: a ban shorter than the time between two visits does nothing.

/// A pause this long ends a visit: whoever asks after it has come back, in seconds.
const PAUSE_MIN: u32 = 300;

/// The unit in which periods are kept: two bytes hold three days.
const UNIT_SECONDS: u32 = 4;

/// A ban is this much longer than the period, so that a return that comes a little late meets it too.
const PERIOD_FACTOR: f32 = 1.5;

/// The longest ban, in seconds.
const BAN_SECONDS_MAX: u32 = 24 * 60 * 60;

/// The shortest time for which a client is kept away that has gone beyond a limit, in seconds: what operators of such jails have
/// chosen for twenty years.
pub(super) const AWAY_SECONDS_MIN: u32 = 600;

/// The most that a repeater's ban doubles.
const DOUBLINGS_MAX: u8 = 4;

/// The returns of one client; 3 bytes, and room for none more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Revisit {
    /// The time between two visits, in units; 0 when it has not come back. It follows longer pauses at once and shorter ones
    /// slowly.
    period: u16,
    /// How often it came back although it had been dropped, as far as it matters.
    repeats: u8,
}

impl Revisit {
    /// Notes that the client asks after so many seconds. `after_drop` says whether it had been dropped on its last visit.
    /// Says whether this is another visit.
    pub(super) fn pause(&mut self, seconds: u32, after_drop: bool) -> bool {
        if seconds < PAUSE_MIN {
            return false;
        }
        let pause = u16::try_from(seconds / UNIT_SECONDS).unwrap_or(u16::MAX);
        self.period = if pause >= self.period { pause } else { self.period - (self.period - pause) / 4 };
        self.repeats = if after_drop { self.repeats.saturating_add(1) } else { 0 };
        true
    }

    /// Whether it has come back after a drop.
    pub(super) const fn is_repeated(self) -> bool {
        self.repeats > 0
    }

    /// How long it is to be banned, in seconds: longer than the time between its visits, twice as long with each return, but
    /// no longer than twice the time for which it has been `observed`. If anyone else were behind the address, that much time
    /// should have shown it. 0 for a client that has not come back.
    pub(super) fn ban_seconds(self, observed: u32) -> u32 {
        if !self.is_repeated() {
            return 0;
        }
        self.grown(self.period_seconds()).min(observed.saturating_mul(2)).min(BAN_SECONDS_MAX)
    }

    /// How long a client is kept away that has gone beyond a limit, in seconds: as [`Self::ban_seconds`], but also the first time,
    /// and never less than [`AWAY_SECONDS_MIN`], which grows in the same way.
    pub(super) fn away_seconds(self, observed: u32) -> u32 {
        let period = self.period_seconds().min(observed.saturating_mul(2));
        self.grown(period.max(AWAY_SECONDS_MIN)).min(BAN_SECONDS_MAX)
    }

    /// A little longer than the time between two visits, in seconds.
    fn period_seconds(self) -> u32 {
        (f32::from(self.period) * UNIT_SECONDS as f32 * PERIOD_FACTOR) as u32
    }

    /// Twice as long with each return after the first.
    fn grown(self, seconds: u32) -> u32 {
        seconds.saturating_mul(1 << self.repeats.saturating_sub(1).min(DOUBLINGS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u32 = 90 * 60;

    #[test]
    fn a_ban_outlasts_the_next_return_and_grows_up_to_a_day() {
        let mut revisit = Revisit::default();
        let mut observed = 0;
        let mut bans = Vec::new();
        for _ in 0..8 {
            observed += PERIOD;
            assert!(revisit.pause(PERIOD, true));
            bans.push(revisit.ban_seconds(observed));
        }
        assert!(bans[0] > PERIOD && bans[0] < 2 * PERIOD, "{bans:?}");
        assert!(bans.is_sorted() && bans[7] == BAN_SECONDS_MAX, "{bans:?}");
    }

    #[test]
    fn it_follows_longer_pauses_at_once_and_forgives_who_was_not_dropped() {
        let mut revisit = Revisit::default();
        revisit.pause(600, true);
        revisit.pause(PERIOD, true);
        assert!(revisit.ban_seconds(u32::MAX) > 2 * PERIOD);
        revisit.pause(600, false);
        assert_eq!(revisit.ban_seconds(u32::MAX), 0);
        assert!(!revisit.pause(PAUSE_MIN - 1, true));
    }

    #[test]
    fn whoever_goes_beyond_a_limit_is_kept_away_until_after_its_next_visit() {
        let mut revisit = Revisit::default();
        assert_eq!(revisit.away_seconds(0), AWAY_SECONDS_MIN, "nothing is known of it");
        // It is met by chance on its first visits.
        revisit.pause(PERIOD, false);
        assert!(revisit.away_seconds(PERIOD) > PERIOD);
        let mut observed = PERIOD;
        let mut lengths = Vec::new();
        for _ in 0..8 {
            observed += PERIOD;
            revisit.pause(PERIOD, true);
            lengths.push(revisit.away_seconds(observed));
        }
        assert!(lengths[0] > PERIOD && lengths.is_sorted() && lengths[7] == BAN_SECONDS_MAX, "{lengths:?}");
        // One that comes back every ten minutes is kept away for longer and longer too.
        let mut often = Revisit::default();
        often.pause(605, true);
        let first = often.away_seconds(605);
        often.pause(605, true);
        assert!(often.away_seconds(1_210) > first && first >= AWAY_SECONDS_MIN);
    }

    #[test]
    fn an_address_that_was_hardly_observed_is_not_banned_for_long() {
        let mut revisit = Revisit::default();
        revisit.pause(PERIOD, true);
        assert_eq!(revisit.ban_seconds(60), 120);
    }
}
