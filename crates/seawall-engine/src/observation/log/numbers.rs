//! Whole numbers behind the lines of a log, which do not say what they are: the time that a request took (Apache's `%D`, in
//! microseconds, or `%T %D`, in seconds and in microseconds), bytes of the request or of the answer, the number of a process or a
//! connection.
//!
//! Only a time is both far below the size of an answer and far above that of any request, from one line to the next. What is sent is
//! never less than the answer's body, a request without a body never more than a server takes, and processes and connections that follow
//! each other have numbers of one size. Of two numbers the one bears the other out, once some requests took a second or more.

use std::time::Duration;

/// Numbers that are looked at before it is said what they are.
const WINDOW: u16 = 100;

/// Numbers below this are small; at least this many of a window must be.
const SMALL: u64 = 10_000;
const SMALL_MIN: u16 = WINDOW / 10;

/// A request that has no body is never as long as this in bytes; at least so many numbers of such must be.
const LARGE: u64 = 65_536;
const LARGE_MIN: u16 = WINDOW / 20;

/// So many numbers must be less than the bytes that were sent.
const BELOW_MIN: u16 = WINDOW / 20;

/// So many pairs of a window must be of a second or more, of requests without a body: of less the first number is 0, as others are.
const WHOLE_SECONDS_MIN: u16 = 2;

/// What is known of the numbers of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Whether there are any.
    are_there: bool,
    is_micros: bool,
    seen: u16,
    small: u16,
    large: u16,
    below: u16,
    /// Lines in which the second number, as microseconds, is the first, in seconds; and of them those in which that is a second or
    /// more, and those in which it is less than the bytes that were sent.
    paired: u16,
    whole_seconds: u16,
    paired_below: u16,
    is_pair: bool,
    /// Whether what is known is all that will be.
    is_settled: bool,
}

impl Numbers {
    /// Whether they are known to tell how long requests took.
    pub(super) const fn are_times(&self) -> bool {
        self.is_micros || self.is_pair
    }

    /// Whether any was seen.
    pub(super) const fn are_there(&self) -> bool {
        self.are_there
    }

    /// The same for good: nothing is learnt any more.
    pub(super) fn settled(self) -> Self {
        Self { is_micros: self.is_micros, is_pair: self.is_pair, is_settled: true, ..Self::default() }
    }

    /// How long a request took, of which a whole number tells, or that with the `next` one, if the numbers of its log are known to
    /// tell that.
    pub(super) fn read(&mut self, number: u64, next: Option<u64>, bytes: u64, method: &[u8]) -> Option<Duration> {
        if !self.are_times() && !self.is_settled {
            self.learn(number, next, bytes, method);
        }
        if self.is_pair {
            let micros = next.filter(|micros| are_pair(number, *micros));
            // They are something else, or the log's format has changed.
            if micros.is_none() && !self.is_settled {
                *self = Self::default();
            }
            return micros.map(Duration::from_micros);
        }
        self.is_micros.then(|| Duration::from_micros(number))
    }

    fn learn(&mut self, number: u64, next: Option<u64>, bytes: u64, method: &[u8]) {
        self.are_there = true;
        self.seen += 1;
        self.small += u16::from(number < SMALL);
        self.large += u16::from(number > LARGE && matches!(method, b"GET" | b"HEAD"));
        self.below += u16::from(number < bytes);
        if let Some(micros) = next.filter(|micros| are_pair(number, *micros)) {
            self.paired += 1;
            self.whole_seconds += u16::from(number > 0 && matches!(method, b"GET" | b"HEAD"));
            self.paired_below += u16::from(micros < bytes);
        }
        if self.seen >= WINDOW {
            let is_micros = self.small >= SMALL_MIN && self.large >= LARGE_MIN && self.below >= BELOW_MIN;
            let is_pair =
                self.paired == self.seen && self.whole_seconds >= WHOLE_SECONDS_MIN && self.paired_below >= BELOW_MIN;
            *self = Self { are_there: true, is_micros, is_pair, ..Self::default() };
        }
    }
}

const fn are_pair(seconds: u64, micros: u64) -> bool {
    micros / 1_000_000 == seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether numbers are taken for microseconds that come about like this, of the place of a line and the size of its answer.
    fn are_micros(number: impl Fn(u64, u64) -> u64) -> bool {
        let mut numbers = Numbers::default();
        for place in 0..300 {
            // Sizes of pages, images, and what was not modified.
            let bytes = [0, 512, 5_120, 40_000, 203_023][place as usize % 5];
            let _ = numbers.read(number(place, bytes), None, bytes, b"GET");
        }
        numbers.read(5, None, 0, b"GET") == Some(Duration::from_micros(5))
    }

    #[test]
    fn times_are_told_from_everything_else() {
        // Files within a millisecond, every seventh request a page of a tenth of a second.
        assert!(are_micros(|place, _| if place % 7 == 0 { 100_000 + place * 900 } else { 180 + place }));
        // Bytes of the answer, of the request, processes, connections, ports, seconds, requests on a connection.
        assert!(!are_micros(|_, bytes| bytes + 250));
        assert!(!are_micros(|place, _| 300 + place * 7 % 900));
        assert!(!are_micros(|place, _| 123_456 + place % 8));
        assert!(!are_micros(|place, _| 9_990 + place));
        assert!(!are_micros(|place, _| 1_024 + place * 7_919 % 60_000));
        assert!(!are_micros(|place, _| u64::from(place % 9 == 0)));
        assert!(!are_micros(|place, _| place % 100));
        // Files alone, all quick: it could be anything.
        assert!(!are_micros(|place, _| 180 + place));
    }

    /// What is read of a pair, after so many that come about like this, of the place of a line and the size of its answer.
    fn after_pairs(method: &[u8], pair: impl Fn(u64, u64) -> (u64, u64)) -> Option<Duration> {
        let mut numbers = Numbers::default();
        for place in 0..300 {
            let bytes = [0, 512, 5_120, 40_000, 1_500_000][place as usize % 5];
            let (number, next) = pair(place, bytes);
            let _ = numbers.read(number, Some(next), bytes, method);
        }
        numbers.read(1, Some(1_250_000), 5_120, method)
    }

    #[test]
    fn seconds_and_microseconds_bear_each_other_out() {
        let micros = |place: u64| if place.is_multiple_of(20) { 1_000_000 + place * 40_000 } else { 180 + place };
        let time = |place: u64, _: u64| (micros(place) / 1_000_000, micros(place));
        assert_eq!(after_pairs(b"GET", time), Some(Duration::from_micros(1_250_000)));
        // Nothing took a second; requests on a connection, bytes; one that does not fit.
        assert_eq!(after_pairs(b"GET", |place, _| (0, 180 + place)), None);
        assert_eq!(after_pairs(b"GET", |place, _| (place % 3, 512 + place)), None);
        let other = |place: u64| u64::from(place % 90 == 7);
        assert_eq!(after_pairs(b"GET", |place, _| (micros(place) / 1_000_000 + other(place), micros(place))), None);
        // Seconds, and the bytes of the answer, or of the request, which a client may time as it likes.
        assert_eq!(after_pairs(b"GET", |_, bytes| ((bytes + 250) / 1_000_000, bytes + 250)), None);
        assert_eq!(after_pairs(b"POST", time), None);
    }

    #[test]
    fn pairs_that_no_longer_fit_are_learnt_anew() {
        let mut numbers = Numbers::default();
        let mut read = |number, next| numbers.read(number, Some(next), 5_120, b"GET");
        for place in 0..100 {
            let _ = read(place % 2, if place % 2 == 0 { 300 } else { 1_000_000 });
        }
        assert_eq!(read(2, 2_000_000), Some(Duration::from_secs(2)));
        assert_eq!((read(2, 700), read(2, 2_000_000)), (None, None));
    }

    #[test]
    fn what_is_settled_is_learnt_no_more() {
        let (mut known, mut unknown) = (Numbers::default(), Numbers::default());
        let pair = |place: u64| if place.is_multiple_of(2) { (0, 300) } else { (1, 1_000_000) };
        for (number, next) in (0..100).map(pair) {
            let _ = known.read(number, Some(next), 5_120, b"GET");
        }
        (known, unknown) = (known.settled(), unknown.settled());
        for (number, next) in (0..300).map(pair) {
            assert_eq!(unknown.read(number, Some(next), 5_120, b"GET"), None);
        }
        assert_eq!(known.read(2, Some(700), 5_120, b"GET"), None);
        assert_eq!(known.read(2, Some(2_000_000), 5_120, b"GET"), Some(Duration::from_secs(2)));
    }

    #[test]
    fn requests_with_a_body_prove_nothing() {
        let mut numbers = Numbers::default();
        for place in 0..300_u64 {
            let number = if place.is_multiple_of(7) { 100_000 } else { 400 };
            assert_eq!(numbers.read(number, None, 5_000, b"POST"), None);
        }
    }
}
