//! What happened in the present minute: how many requests of which site came to what, by which rule. It is handed over in portions, so
//! that a guard that is killed loses little of it.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use seawall_engine::decision::RuleId;
use seawall_engine::observation::{CLIENT_GONE, Observation, Outcome, Refusal};
use seawall_engine::units::Timestamp;

use super::MinuteCount;

/// Different combinations in one minute; more are counted together, without their site.
const COUNTS_MAX: usize = 512;

/// How long a portion is. With the time until it is looked at whether it is over, and until it is written, it is less than a second.
const PORTION: Duration = Duration::from_millis(500);

/// What closed connections are counted as.
const CLOSED_UNREAD: &str = "closed-unread";

/// Outcomes of what was no request that could be read. They are not among the requests of [`super::Situation`].
pub(super) const NO_REQUESTS: [&str; 3] = ["malformed", "unfinished", CLOSED_UNREAD];

/// Outcomes of what counts as refused there, and as failed.
pub(super) const REFUSED: [&str; 3] = ["refused", "client-limit", CLOSED_UNREAD];
pub(super) const FAILED: [&str; 2] = ["failed", "overload"];

/// Site, outcome, and the rule that refused.
type Key = (Option<Arc<str>>, &'static str, Option<RuleId>);

/// The counts of a portion of one minute.
#[derive(Debug)]
pub struct Rollup {
    /// Which portion since 1970.
    portion: u128,
    counts: HashMap<Key, f64>,
}

impl Rollup {
    /// Nothing is counted yet.
    pub fn start(now: Timestamp) -> Self {
        Self { portion: portion_of(now), counts: HashMap::new() }
    }

    /// Counts an observation, once what became of it is known.
    pub fn count<'s>(&mut self, observation: &Observation<'_>, site_of: impl FnOnce(&[u8]) -> Option<&'s Arc<str>>) {
        let (outcome, rule) = match observation.outcome {
            Outcome::Arrived | Outcome::UnderWay => return,
            outcome if outcome.is_failure() => ("failed", None),
            Outcome::Served { status: CLIENT_GONE } => ("gone", None),
            Outcome::Served { .. } | Outcome::Failed { .. } => ("served", None),
            Outcome::Refused(refusal) => match refusal {
                Refusal::Rule(rule) => ("refused", Some(rule)),
                Refusal::Misdirected => ("misdirected", None),
                Refusal::Malformed => ("malformed", None),
                Refusal::Unfinished => ("unfinished", None),
                Refusal::ClientLimit => ("client-limit", None),
                Refusal::Overload => ("overload", None),
            },
        };
        let key = (site_of(observation.request.host).cloned(), outcome, rule);
        self.add(key, observation.weight.into());
    }

    /// Counts connections that were closed unread, whatever was to be asked for on them.
    pub fn count_closed_unread(&mut self, connections: u64) {
        if connections > 0 {
            self.add((None, CLOSED_UNREAD, None), connections as f64);
        }
    }

    fn add(&mut self, mut key: Key, requests: f64) {
        if self.counts.len() >= COUNTS_MAX && !self.counts.contains_key(&key) {
            key.0 = None;
        }
        *self.counts.entry(key).or_default() += requests;
    }

    /// The counts of the portion that is over, once another has begun, and the minute that they belong to.
    pub fn take(&mut self, now: Timestamp) -> Option<(u64, Vec<MinuteCount>)> {
        let portion = std::mem::replace(&mut self.portion, portion_of(now));
        if portion == self.portion { None } else { self.counts_of(portion) }
    }

    /// What has been counted since, at the end.
    pub fn rest(&mut self) -> Option<(u64, Vec<MinuteCount>)> {
        self.counts_of(self.portion)
    }

    fn counts_of(&mut self, portion: u128) -> Option<(u64, Vec<MinuteCount>)> {
        if self.counts.is_empty() {
            return None;
        }
        let count = |((site, outcome, rule), requests): (Key, f64)| MinuteCount {
            site: site.unwrap_or_else(|| "".into()),
            outcome,
            rule,
            requests,
        };
        // What came in between belongs to the minute that it was counted in, give or take a tick.
        let minute = portion * PORTION.as_millis() / 60_000;
        Some((minute as u64, self.counts.drain().map(count).collect()))
    }
}

fn portion_of(now: Timestamp) -> u128 {
    u128::from(now.as_micros()) / PORTION.as_micros()
}

#[cfg(test)]
mod tests {
    use seawall_engine::observation::{ClientHistory, Cost, Request};

    use super::*;

    #[test]
    fn what_was_counted_is_handed_over_in_portions_of_a_minute() {
        let at = |seconds: u64| Timestamp::from_seconds(1_700_000_040 + seconds);
        let mut rollup = Rollup::start(at(0));
        let observation = |outcome, weight| Observation {
            at: at(0),
            client: None,
            request: Request::default(),
            outcome,
            cost: Cost::default(),
            weight,
            history: ClientHistory::default(),
        };
        let site: Arc<str> = "example".into();
        for (outcome, weight) in [
            (Outcome::Arrived, 9.0),
            (Outcome::Served { status: 200 }, 2.0),
            (Outcome::Served { status: 404 }, 1.0),
            (Outcome::Served { status: 500 }, 3.0),
            (Outcome::Failed { status: 502 }, 4.0),
            (Outcome::Served { status: CLIENT_GONE }, 6.0),
            (Outcome::Refused(Refusal::Rule(RuleId(7))), 5.0),
        ] {
            rollup.count(&observation(outcome, weight), |_| Some(&site));
        }
        let millis = Duration::from_millis;
        assert_eq!(rollup.take(at(0) + millis(490)), None);
        let (minute, mut counts) = rollup.take(at(0) + millis(510)).expect("another portion");
        counts.sort_by(|one, other| one.outcome.cmp(other.outcome));
        let expect = |outcome, rule, requests| MinuteCount { site: Arc::clone(&site), outcome, rule, requests };
        assert_eq!(minute, 1_700_000_040 / 60);
        let expected =
            [("failed", None, 7.0), ("gone", None, 6.0), ("refused", Some(RuleId(7)), 5.0), ("served", None, 3.0)];
        assert_eq!(counts, expected.map(|(outcome, rule, requests)| expect(outcome, rule, requests)));
        assert_eq!(rollup.take(at(59)), None);
        rollup.count(&observation(Outcome::Served { status: 200 }, 1.0), |_| Some(&site));
        let (minute, counts) = rollup.take(at(62)).expect("another minute");
        assert_eq!(
            (minute, counts),
            (1_700_000_040 / 60, vec![expect("served", None, 1.0)]),
            "of the minute that is over"
        );
        assert_eq!(rollup.rest(), None);
        rollup.count(&observation(Outcome::Served { status: 200 }, 2.0), |_| Some(&site));
        assert_eq!(rollup.rest(), Some((1_700_000_100 / 60, vec![expect("served", None, 2.0)])));
    }
}
