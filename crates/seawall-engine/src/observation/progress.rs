//! What a request costs is told while it goes on: a flood on a page that hangs is to be seen before the page answers.

use std::time::Duration;

use super::Cost;

/// A request tells nothing before it has lasted this long: nearly all are over by then.
const FIRST: Duration = Duration::from_millis(500);

/// It tells anew when as much again has passed, but after this long at the latest. So what is told is at least half of what there
/// is, and a request of half a minute has eight parts.
const INTERVAL_MAX: Duration = Duration::from_secs(8);

/// What a request has taken since it arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Bytes of answer sent to the client.
    pub bytes: u64,
    /// Time that the site worked on it.
    pub upstream_time: Duration,
    /// Time that it held a connection.
    pub connection_time: Duration,
}

/// How much of what a request takes has been told already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    told: Spent,
}

impl Progress {
    /// Whether a request that goes on, and has taken so much, is to tell a part of it.
    pub fn is_due(&self, spent: &Spent) -> bool {
        let told = self.told.connection_time;
        spent.connection_time.saturating_sub(told) >= told.clamp(FIRST, INTERVAL_MAX)
    }

    /// What of `spent` has not been told yet; it counts as told from here on. It counts no request: the arrival did.
    pub fn tell(&mut self, spent: Spent) -> Cost {
        let before = std::mem::replace(&mut self.told, spent);
        Cost {
            requests: 0,
            bytes: spent.bytes.saturating_sub(before.bytes),
            upstream_time: spent.upstream_time.saturating_sub(before.upstream_time),
            connection_time: spent.connection_time.saturating_sub(before.connection_time),
            before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_and_come_to_the_whole() {
        let after = |millis: u64| Spent {
            bytes: millis,
            upstream_time: Duration::from_millis(millis.min(20_000)),
            connection_time: Duration::from_millis(millis),
        };
        let mut progress = Progress::default();
        let mut parts = Vec::new();
        for millis in (0..30_000).step_by(250) {
            if progress.is_due(&after(millis)) {
                parts.push((millis, progress.tell(after(millis))));
            }
        }
        parts.push((30_100, progress.tell(after(30_100))));
        let at: Vec<u64> = parts.iter().map(|(millis, _)| *millis).collect();
        assert_eq!(at, [500, 1000, 2000, 4000, 8000, 16_000, 24_000, 30_100]);
        assert_eq!(parts.iter().map(|(_, cost)| cost.bytes).sum::<u64>(), 30_100);
        assert_eq!(parts.iter().map(|(_, cost)| cost.upstream_time).sum::<Duration>(), Duration::from_secs(20));
        assert_eq!(parts.iter().map(|(_, cost)| cost.connection_time).sum::<Duration>(), Duration::from_millis(30_100));
        assert!(parts.iter().all(|(_, cost)| cost.requests == 0));
        assert_eq!(parts.last().map(|(_, cost)| cost.before), Some(after(24_000)));
    }

    #[test]
    fn a_request_that_is_soon_over_tells_all_at_its_end() {
        let mut progress = Progress::default();
        let spent = Spent { connection_time: Duration::from_millis(499), ..Spent::default() };
        assert!(!progress.is_due(&spent));
        assert_eq!(progress.tell(spent), Cost { connection_time: spent.connection_time, ..Cost::default() });
    }
}
