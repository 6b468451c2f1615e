//! What one rule has met: totals for the record, and the last minute second by second for its expiry.

use crate::detection::RuleTraffic;
use crate::detection::statistics::share_lower_95;
use crate::units::Timestamp;

/// The window that decides whether a rule is still needed, in seconds.
pub(crate) const WINDOW_SECONDS: u64 = 60;

/// The most of the known good clients' requests that a rule may match.
const KNOWN_SHARE_MAX: f64 = 0.05;

/// How many times its predicted collateral a rule may really have.
const PREDICTION_FACTOR: f64 = 3.0;

/// Fewer matches of known good clients than this may be chance, or the sender's own first requests.
const MATCHED_KNOWN_MIN: u64 = 3;

/// What one rule has met since it was made.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) matched: u64,
    pub(crate) refused: u64,
    pub(crate) canaries: u64,
    pub(crate) matched_known: u64,
    pub(crate) known: u64,
    seconds: [(u64, u32); WINDOW_SECONDS as usize],
}

impl Default for Met {
    fn default() -> Self {
        Self {
            matched: 0,
            refused: 0,
            canaries: 0,
            matched_known: 0,
            known: 0,
            seconds: [(0, 0); WINDOW_SECONDS as usize],
        }
    }
}

impl Met {
    pub(crate) fn count(&mut self, now: Timestamp, traffic: &RuleTraffic) {
        self.matched = self.matched.saturating_add(traffic.matched);
        self.refused = self.refused.saturating_add(traffic.refused);
        self.canaries = self.canaries.saturating_add(traffic.canaries);
        self.matched_known = self.matched_known.saturating_add(traffic.matched_known);
        self.known = self.known.saturating_add(traffic.known);
        let second = now.as_seconds();
        let slot = &mut self.seconds[(second % WINDOW_SECONDS) as usize];
        if slot.0 != second {
            *slot = (second, 0);
        }
        slot.1 = slot.1.saturating_add(u32::try_from(traffic.matched).unwrap_or(u32::MAX));
    }

    /// Requests matched over the last minute.
    pub(crate) fn last_minute(&self, now: Timestamp) -> f64 {
        let from = now.as_seconds().saturating_sub(WINDOW_SECONDS - 1);
        self.seconds.iter().filter(|(second, _)| *second >= from).map(|(_, matched)| f64::from(*matched)).sum()
    }

    /// The share of known good clients' requests that it matched, where any were counted.
    pub(crate) fn known_share(&self) -> Option<f32> {
        (self.known > 0).then(|| (self.matched_known as f64 / self.known as f64) as f32)
    }

    /// Whether it hurts more than it may. One unlucky visitor does not prove it: three requests at least, and more than
    /// three times the prediction with 95% confidence.
    pub(crate) fn is_harmful(&self, predicted: f32) -> bool {
        let (matched, known) = (self.matched_known as f64, self.known as f64);
        if self.matched_known < MATCHED_KNOWN_MIN {
            return false;
        }
        matched > KNOWN_SHARE_MAX * known || share_lower_95(matched, known) > PREDICTION_FACTOR * f64::from(predicted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::RuleId;

    fn traffic(matched: u64, matched_known: u64, known: u64) -> RuleTraffic {
        RuleTraffic { rule: RuleId(1), matched, refused: 0, canaries: 0, matched_known, known }
    }

    #[test]
    fn a_minute_is_remembered_and_no_more() {
        let mut met = Met::default();
        for second in 0..90 {
            met.count(Timestamp::from_seconds(1000 + second), &traffic(2, 0, 0));
        }
        assert_eq!(met.last_minute(Timestamp::from_seconds(1089)), 120.0);
        assert_eq!(met.last_minute(Timestamp::from_seconds(1119)), 60.0);
        assert_eq!(met.last_minute(Timestamp::from_seconds(5000)), 0.0);
        assert_eq!(met.matched, 180);
    }

    #[test]
    fn harm_is_more_than_a_few_unlucky_visitors() {
        let harmful = |matched_known, known, predicted| {
            let mut met = Met::default();
            met.count(Timestamp::from_seconds(1), &traffic(1000, matched_known, known));
            met.is_harmful(predicted)
        };
        assert!(!harmful(0, 0, 0.0));
        assert!(!harmful(2, 10, 0.0));
        assert!(harmful(6, 100, 0.1));
        assert!(harmful(4, 100, 0.001));
        assert!(!harmful(4, 1000, 0.003));
    }
}
