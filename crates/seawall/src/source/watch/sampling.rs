//! What is left of lines that come faster than every one can be judged, from where whoever writes them waits or loses them until they
//! are read: pipes and sockets.

use std::time::Duration;

use seawall_engine::observation::log::Reader;
use seawall_engine::units::Timestamp;

/// What has not been empty for this long comes faster than every line can be judged.
const BEHIND_MAX: Duration = Duration::from_secs(5);

/// One line in so many is judged then.
const SAMPLED: u32 = 8;

/// Which lines are judged, and what became of the others.
#[derive(Debug, Default)]
pub(super) struct Sampling {
    behind_since: Option<Timestamp>,
    /// How many lines the next that is judged stands for, but for itself.
    since_judged: u32,
    passed_over: u64,
}

impl Sampling {
    /// Notes after a turn whether there was more than could be taken in it.
    pub(super) fn note(&mut self, has_more: bool, now: Timestamp) {
        self.behind_since = has_more.then(|| self.behind_since.unwrap_or(now));
    }

    /// How many lines one that is judged stands for now.
    pub(super) fn interval(&self, now: Timestamp) -> u32 {
        if self.behind_since.is_some_and(|since| now.since(since) > BEHIND_MAX) { SAMPLED } else { 1 }
    }

    /// Whether the next line, of so many bytes, is judged where one in `interval` is.
    pub(super) fn is_next(&mut self, interval: u32, bytes: usize) -> bool {
        self.since_judged += 1;
        if self.since_judged < interval {
            self.passed_over += bytes as u64;
            return false;
        }
        self.since_judged = 0;
        true
    }

    /// The same of a line that a container runtime may have split: all parts of one are judged, or none, as was decided at its first.
    pub(super) fn is_next_of(&mut self, interval: u32, line: &[u8], reader: &mut Reader) -> bool {
        match reader.goes_on(line) {
            None => self.is_next(interval, line.len()),
            Some(true) => true,
            Some(false) => {
                self.passed_over += line.len() as u64;
                false
            }
        }
    }

    /// For how long there has been more than could be taken, in seconds.
    pub(super) fn lag_seconds(&self, now: Timestamp) -> f64 {
        self.behind_since.map_or(0.0, |since| now.since(since).as_secs_f64())
    }

    /// Bytes of the lines that were not judged.
    pub(super) fn passed_over_bytes(&self) -> u64 {
        self.passed_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_lines_that_were_split_one_in_eight_is_whole() {
        let part = |mark: &str, text: &str| format!("2024-06-01T12:00:00Z stdout {mark} {text}");
        let first = part("P", "192.0.2.1 - - [01/Jun/2024:12:00:00 +0000] \"GET /a HT");
        let (more, last) = (part("P", "TP/1.1\" "), part("F", "200 10"));
        let (mut sampling, mut reader) = (Sampling::default(), Reader::default());
        let (mut judged, mut read) = (0, 0);
        for _ in 0..80 {
            for line in [&first, &more, &last] {
                if sampling.is_next_of(SAMPLED, line.as_bytes(), &mut reader) {
                    judged += 1;
                    read += u32::from(reader.read(line.as_bytes()).is_ok());
                } else {
                    reader.pass_over(line.as_bytes());
                }
            }
        }
        let bytes = (first.len() + more.len() + last.len()) as u64;
        assert_eq!((judged, read, sampling.passed_over_bytes()), (30, 10, 70 * bytes));
    }

    #[test]
    fn one_line_in_eight_is_judged_after_five_seconds_without_an_end() {
        let at = |second: u64| Timestamp::from_seconds(1_700_000_000 + second);
        let mut sampling = Sampling::default();
        let judged = |sampling: &mut Sampling, second| {
            let interval = sampling.interval(at(second));
            (0..80).filter(|_| sampling.is_next(interval, 10)).count()
        };
        for second in 0..6 {
            sampling.note(true, at(second));
            assert_eq!(judged(&mut sampling, second), 80);
        }
        assert_eq!((judged(&mut sampling, 6), sampling.passed_over_bytes()), (10, 700));
        assert!((sampling.lag_seconds(at(6)) - 6.0).abs() < 0.01);
        // It is caught up with: the next is judged again.
        sampling.note(false, at(7));
        assert_eq!((judged(&mut sampling, 7), sampling.lag_seconds(at(7))), (80, 0.0));
    }
}
