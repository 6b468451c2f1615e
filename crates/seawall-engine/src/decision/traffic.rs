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

/// Of fewer known good clients than this it may be chance, or senders that have behaved for hours for just this.
const KNOWN_CLIENTS_MIN: u64 = 5;

/// A rule that hits no more than this of the known good hits no more than one that is put in force may, whatever was predicted.
const KNOWN_SHARE_BORNE: f64 = 0.01;

/// Clients go on when, in a minute, at least so many requests were refused to those who had been refused before, and at least
/// this share of all that were refused.
const AGAIN_MIN: u32 = 64;
const AGAIN_SHARE: f64 = 0.5;

/// What one rule has met since it was made.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) matched: u64,
    pub(crate) refused: u64,
    pub(crate) canaries: u64,
    pub(crate) spared: u64,
    pub(crate) closed: u64,
    pub(crate) refused_by_server: u64,
    pub(crate) matched_known: u64,
    pub(crate) known_clients: u64,
    pub(crate) known: u64,
    most: f64,
    seconds: [Second; WINDOW_SECONDS as usize],
}

/// What it has met in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    second: u64,
    matched: u32,
    refused: u32,
    refused_again: u32,
    closed: u32,
}

impl Default for Met {
    fn default() -> Self {
        Self {
            matched: 0,
            refused: 0,
            canaries: 0,
            spared: 0,
            closed: 0,
            refused_by_server: 0,
            matched_known: 0,
            known_clients: 0,
            known: 0,
            most: 0.0,
            seconds: [Second::default(); WINDOW_SECONDS as usize],
        }
    }
}

impl Met {
    pub(crate) fn count(&mut self, now: Timestamp, traffic: &RuleTraffic) {
        self.matched = self.matched.saturating_add(traffic.matched);
        self.refused = self.refused.saturating_add(traffic.refused);
        self.canaries = self.canaries.saturating_add(traffic.canaries);
        self.spared = self.spared.saturating_add(traffic.spared);
        self.closed = self.closed.saturating_add(traffic.closed);
        self.refused_by_server = self.refused_by_server.saturating_add(traffic.refused_by_server);
        self.matched_known = self.matched_known.saturating_add(traffic.matched_known);
        self.known_clients = self.known_clients.saturating_add(traffic.known_clients);
        self.known = self.known.saturating_add(traffic.known);
        let second = now.as_seconds();
        let slot = &mut self.seconds[(second % WINDOW_SECONDS) as usize];
        if slot.second != second {
            *slot = Second { second, ..Second::default() };
        }
        let add = |sum: &mut u32, more: u64| *sum = sum.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        // What is closed unread would have been refused again: a rule is needed by those, too, that never reach it.
        add(&mut slot.matched, traffic.matched.saturating_add(traffic.closed));
        add(&mut slot.refused, traffic.refused.saturating_add(traffic.closed));
        add(&mut slot.refused_again, traffic.refused_again.saturating_add(traffic.closed));
        add(&mut slot.closed, traffic.closed);
        self.most = self.most.max(self.last(WINDOW_SECONDS, now));
    }

    /// The most that it has matched in a minute.
    pub(crate) const fn most(&self) -> f64 {
        self.most
    }

    /// Forgets how much that was: what comes next is another flood.
    pub(crate) const fn forget_most(&mut self) {
        self.most = 0.0;
    }

    /// Requests matched over the last seconds, at most a minute.
    pub(crate) fn last(&self, seconds: u64, now: Timestamp) -> f64 {
        self.since(seconds, now).map(|second| f64::from(second.matched)).sum()
    }

    /// Requests matched a second, over so many seconds that are over, fewer than a minute.
    pub(crate) fn rate(&self, seconds: u64, now: Timestamp) -> f64 {
        let present = now.as_seconds();
        let over = self.since(seconds + 1, now).filter(|second| second.second < present);
        over.map(|second| f64::from(second.matched)).sum::<f64>() / seconds as f64
    }

    /// Whether those who are refused go on all the same.
    pub(crate) fn goes_on(&self, now: Timestamp) -> bool {
        let (refused, again) = self.since(WINDOW_SECONDS, now).fold((0_u32, 0_u32), |(refused, again), second| {
            (refused.saturating_add(second.refused), again.saturating_add(second.refused_again))
        });
        again >= AGAIN_MIN && f64::from(again) >= AGAIN_SHARE * f64::from(refused)
    }

    /// Whether most of what it has met in a minute was closed unread, so that it is not seen that its flood goes on.
    pub(crate) fn is_closing(&self, now: Timestamp) -> bool {
        let (matched, closed) = self.since(WINDOW_SECONDS, now).fold((0_u32, 0_u32), |(matched, closed), second| {
            (matched.saturating_add(second.matched), closed.saturating_add(second.closed))
        });
        closed >= AGAIN_MIN && f64::from(closed) >= AGAIN_SHARE * f64::from(matched)
    }

    fn since(&self, seconds: u64, now: Timestamp) -> impl Iterator<Item = &Second> {
        let from = now.as_seconds().saturating_sub(seconds.saturating_sub(1));
        self.seconds.iter().filter(move |second| second.second >= from)
    }

    /// The share of the known good that it matched, by one request in a minute of each, where any were counted.
    pub(crate) fn known_share(&self) -> Option<f32> {
        (self.known > 0).then(|| (self.matched_known as f64 / self.known as f64) as f32)
    }

    /// Whether it hurts more than it may. A few unlucky visitors do not prove it: five clients at least, and more than three times the
    /// prediction, and more than a rule may hit anyway, with 95% confidence. Each counts once in a minute, however often it asks.
    pub(crate) fn is_harmful(&self, predicted: f32) -> bool {
        let (matched, known) = (self.matched_known as f64, self.known as f64);
        if self.known_clients < KNOWN_CLIENTS_MIN {
            return false;
        }
        let borne = (PREDICTION_FACTOR * f64::from(predicted)).max(KNOWN_SHARE_BORNE);
        matched > KNOWN_SHARE_MAX * known || share_lower_95(matched, known) > borne
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::RuleId;

    fn traffic(matched: u64, matched_known: u64, known: u64) -> RuleTraffic {
        RuleTraffic { matched, matched_known, known_clients: matched_known, known, ..RuleTraffic::none(RuleId(1)) }
    }

    #[test]
    fn a_minute_is_remembered_and_no_more() {
        let mut met = Met::default();
        for second in 0..90 {
            met.count(Timestamp::from_seconds(1000 + second), &traffic(2, 0, 0));
        }
        assert_eq!(met.last(60, Timestamp::from_seconds(1089)), 120.0);
        assert_eq!(met.last(60, Timestamp::from_seconds(1119)), 60.0);
        assert_eq!(met.last(2, Timestamp::from_seconds(1089)), 4.0);
        assert_eq!(met.last(60, Timestamp::from_seconds(5000)), 0.0);
        assert_eq!(met.matched, 180);
    }

    #[test]
    fn clients_go_on_when_most_refusals_are_to_the_refused() {
        let goes_on = |refused_again, refused| {
            let mut met = Met::default();
            let now = Timestamp::from_seconds(1000);
            met.count(now, &RuleTraffic { refused, refused_again, ..traffic(refused, 0, 0) });
            (met.goes_on(now), met.goes_on(now + std::time::Duration::from_secs(60)))
        };
        assert_eq!(goes_on(100, 120), (true, false));
        assert_eq!(goes_on(100, 300), (false, false));
        assert_eq!(goes_on(40, 40), (false, false));
    }

    #[test]
    fn most_is_closed_unread_for_a_minute_at_most() {
        let is_closing = |closed, matched| {
            let mut met = Met::default();
            let now = Timestamp::from_seconds(1000);
            met.count(now, &RuleTraffic { closed, ..traffic(matched, 0, 0) });
            (met.is_closing(now), met.is_closing(now + std::time::Duration::from_secs(60)))
        };
        assert_eq!(is_closing(100, 80), (true, false));
        assert_eq!(is_closing(100, 120), (false, false));
        assert_eq!(is_closing(40, 0), (false, false));
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
        assert!(!harmful(4, 100, 0.001), "four may be senders in disguise");
        assert!(harmful(6, 100, 0.1));
        assert!(harmful(6, 150, 0.001));
        assert!(!harmful(6, 1000, 0.0001), "a rule may hit so few");
        assert!(!harmful(40, 1000, 0.02));
    }

    #[test]
    fn one_client_alone_proves_no_harm() {
        let mut met = Met::default();
        for minute in 0..600 {
            let once = RuleTraffic { matched_known: 1, known: 10, ..RuleTraffic::none(RuleId(1)) };
            met.count(
                Timestamp::from_seconds(60 * minute),
                &RuleTraffic { known_clients: u64::from(minute == 0), ..once },
            );
        }
        assert!(!met.is_harmful(0.0001));
    }
}
