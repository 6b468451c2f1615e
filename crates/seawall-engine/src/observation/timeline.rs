//! When what a log says happened, as detection is to have it.
//!
//! A line tells when its request was, often in whole seconds, and comes some time later: at once, with a buffer of the server's, or
//! never when it is to be believed, since a clock is wrong. [`Timeline`] gives each line a moment that is neither in the future
//! nor so far back that detection has let go of it, and knows by how much the lines of its log come late.

use std::time::Duration;

use crate::units::Timestamp;

/// Up to here a line comes at once: half of the whole second that its time was cut to, and what it takes to be read.
const PROMPT: Duration = Duration::from_millis(1_250);

/// The latest that a line may come and still be put where it belongs; detection keeps sixteen seconds.
const LAG_MAX: Duration = Duration::from_secs(12);

/// How far ahead of this machine's clock a line may be without being wrong.
const AHEAD_MAX: Duration = Duration::from_millis(1_100);

/// Lags by the second, the last for what comes later than all.
const LAGS: usize = LAG_MAX.as_secs() as usize + 1;

/// The share of lines that detection waits for.
const WAITED_FOR: f32 = 0.9;

/// The share of lines that are wrong from which on it is said.
const WRONG: f32 = 0.5;

/// In this time what was learned about lags counts half.
const HALF_LIFE: Duration = Duration::from_secs(20);

/// Where the lines of one log are in time.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Lines by their lag, older ones faded as of `faded`.
    lags: [f32; LAGS],
    /// Lines whose time is not to be believed, faded the same way, and how far the last of them was behind, in microseconds.
    wrong: f32,
    behind_micros: i64,
    faded: Timestamp,
    /// [`Self::delay`] as of `faded`.
    delay: Duration,
    /// Where the next line of a second goes in it, in parts of 2³².
    spread: u32,
}

impl Timeline {
    /// The moment of a line that was written at `written`, by its own word, and read at `read`. `is_fresh` says that it was appended
    /// just now, so that the moment of reading is the better one when the two disagree; else such a line is history, and `None`.
    pub fn place(&mut self, written: Timestamp, read: Timestamp, is_fresh: bool) -> Option<Timestamp> {
        self.fade(read);
        if written > read {
            if written.since(read) <= AHEAD_MAX {
                self.note(Duration::ZERO);
                return Some(read);
            }
        } else {
            let lag = read.since(written);
            if lag <= PROMPT {
                self.note(Duration::ZERO);
                // The newest lines out of a buffer are spread as the others are.
                let at = if self.delay.is_zero() { read } else { self.within_second(written).min(read) };
                return Some(at);
            }
            if lag <= LAG_MAX {
                self.note(lag);
                return Some(self.within_second(written).min(read));
            }
        }
        if !is_fresh {
            return None;
        }
        self.wrong += 1.0;
        self.behind_micros = i64::try_from(read.as_micros()).unwrap_or(i64::MAX)
            - i64::try_from(written.as_micros()).unwrap_or(i64::MAX);
        Some(read)
    }

    /// How long to wait until nine lines of ten have come.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    fn delay_by_lags(&self) -> Duration {
        let all: f32 = self.lags.iter().sum();
        let mut come = 0.0;
        for (seconds, lines) in self.lags.iter().enumerate() {
            come += lines;
            if come >= WAITED_FOR * all {
                return Duration::from_secs(seconds as u64);
            }
        }
        Duration::ZERO
    }

    /// By how many seconds the times of this log are behind this machine's clock, negative when they are ahead, if most cannot be
    /// right.
    pub fn wrong_by(&self) -> Option<i64> {
        let all: f32 = self.lags.iter().sum::<f32>() + self.wrong;
        (self.wrong > 0.0 && self.wrong >= WRONG * all).then_some(self.behind_micros / 1_000_000)
    }

    fn note(&mut self, lag: Duration) {
        // What is a little late waits for the whole second.
        let seconds = lag.as_millis().div_ceil(1_000) as usize;
        if let Some(lines) = self.lags.get_mut(seconds.min(LAGS - 1)) {
            *lines += 1.0;
        }
    }

    fn fade(&mut self, now: Timestamp) {
        let passed = now.since(self.faded);
        if passed < Duration::from_secs(1) {
            return;
        }
        self.faded = now;
        let factor = 0.5_f32.powf(passed.as_secs_f32() / HALF_LIFE.as_secs_f32());
        self.lags.iter_mut().for_each(|lines| *lines *= factor);
        self.wrong *= factor;
        self.delay = self.delay_by_lags();
    }

    /// Lines of one whole second are spread over it: all in its first quarter they would look like a surge.
    fn within_second(&mut self, written: Timestamp) -> Timestamp {
        if !written.as_micros().is_multiple_of(1_000_000) {
            return written;
        }
        // The golden ratio: any number of lines one after the other is spread evenly.
        self.spread = self.spread.wrapping_add(0x9E37_79B9);
        written + Duration::from_micros((u64::from(self.spread) * 1_000_000) >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    #[test]
    fn prompt_lines_are_of_now_whatever_second_they_were_cut_to() {
        let mut timeline = Timeline::default();
        for millis in [0, 400, 999, 1_200] {
            let read = NOW + Duration::from_millis(millis);
            assert_eq!(timeline.place(NOW, read, true), Some(read));
        }
        assert_eq!(timeline.place(NOW + Duration::from_secs(1), NOW, true), Some(NOW));
        assert_eq!((timeline.delay(), timeline.wrong_by()), (Duration::ZERO, None));
    }

    #[test]
    fn lines_out_of_a_buffer_go_where_they_belong_and_detection_waits_for_them() {
        let mut timeline = Timeline::default();
        let mut quarters = [0; 24];
        for flush in [0, 5, 10] {
            quarters = [0; 24];
            let begin = NOW + Duration::from_secs(flush);
            for line in 0..500 {
                let written = begin + Duration::from_secs(line / 100);
                let at = timeline.place(written, begin + Duration::from_secs(5), true).expect("not late");
                quarters[(at.since(begin).as_millis() / 250) as usize] += 1;
            }
        }
        assert!(quarters[..20].iter().all(|lines| (20..=30).contains(lines)), "{quarters:?}");
        assert_eq!(timeline.delay(), Duration::from_secs(5));
        // When the buffer is switched off, detection is prompt again.
        let later = NOW + Duration::from_secs(150);
        for line in 0..100 {
            let at = later + Duration::from_secs(line / 10);
            timeline.place(at, at, true);
        }
        assert_eq!(timeline.delay(), Duration::ZERO);
    }

    #[test]
    fn wrong_clocks_are_told_and_do_no_harm() {
        for (written, seconds) in [
            (NOW - Duration::from_secs(3_600), 3_600),
            (NOW + Duration::from_secs(7_200), -7_200),
            (NOW - Duration::from_secs(20 * 365 * 86_400), 20 * 365 * 86_400),
            (Timestamp::EPOCH, NOW.as_seconds() as i64),
            (Timestamp::from_micros(u64::MAX), NOW.as_seconds() as i64 - i64::MAX / 1_000_000),
        ] {
            let mut timeline = Timeline::default();
            assert_eq!(timeline.place(written, NOW, true), Some(NOW), "{seconds}");
            assert_eq!(timeline.wrong_by(), Some(seconds));
            assert_eq!(timeline.delay(), Duration::ZERO);
            assert_eq!(timeline.place(written, NOW, false), None, "what is read later is history");
        }
    }

    #[test]
    fn a_few_slow_requests_make_nobody_wait() {
        let mut timeline = Timeline::default();
        for line in 0..100 {
            let written = if line % 12 == 0 { NOW - Duration::from_secs(9) } else { NOW };
            timeline.place(written, NOW, true);
        }
        timeline.place(NOW + Duration::from_secs(1), NOW + Duration::from_secs(1), true);
        assert_eq!(timeline.delay(), Duration::ZERO);
    }
}
