//! Whether the server beside which the guard is refuses what was found, so that there is nothing left to do: it is known by what it has
//! answered lately to what the rules match.

use std::collections::HashMap;
use std::time::Duration;

use seawall_engine::decision::{RuleId, RuleStatus, Status};
use seawall_engine::units::Timestamp;

use crate::show::way_out::answers;

/// What was this long ago counts for a third.
const MEMORY: Duration = Duration::from_secs(4);

/// The server refuses what was found when it has refused this share of at least so many requests.
const SHARE: f64 = 0.9;
const REQUESTS_MIN: f64 = 5.0;

/// What the server has done of late with what each rule matches.
#[derive(Debug, Default)]
pub(super) struct CarriedOut {
    at: Timestamp,
    incident: Option<u32>,
    rules: HashMap<RuleId, Lately>,
    is_so: bool,
}

#[derive(Debug, Default)]
struct Lately {
    /// All that it has ever matched, and that the server has refused of it.
    matched: u64,
    refused: u64,
    /// The same of late.
    matched_lately: f64,
    refused_lately: f64,
}

impl CarriedOut {
    /// Takes in what the rules have met by now, and says whether the server refuses what they have found of the open incident. Where
    /// hardly anything comes, it is as before.
    pub(super) fn look(&mut self, now: Timestamp, detection: &Status) -> bool {
        let open = detection.incidents.iter().find(|incident| incident.closed.is_none()).map(|incident| incident.id);
        if self.incident != open {
            (self.incident, self.is_so) = (open, false);
        }
        let left = (-now.since(self.at).as_secs_f64() / MEMORY.as_secs_f64()).exp();
        self.at = now;
        let known = |id: &RuleId| detection.rules.iter().any(|rule| rule.id == *id);
        self.rules.retain(|id, _| known(id));
        for rule in &detection.rules {
            self.rules.entry(rule.id).or_insert_with(|| Lately::of(rule)).go_on(rule, left);
        }
        let lately = answers(detection).filter_map(|rule| self.rules.get(&rule.id));
        let (matched, refused) = lately.fold((0.0, 0.0), |(matched, refused), rule| {
            (matched + rule.matched_lately, refused + rule.refused_lately)
        });
        if matched >= REQUESTS_MIN {
            self.is_so = refused >= SHARE * matched;
        }
        self.is_so
    }
}

impl Lately {
    /// What it met before it was first seen is not of late.
    fn of(rule: &RuleStatus) -> Self {
        Self { matched: rule.matched, refused: rule.refused_by_server, ..Self::default() }
    }

    fn go_on(&mut self, rule: &RuleStatus, left: f64) {
        let more = |present: u64, before: u64| present.saturating_sub(before) as f64;
        self.matched_lately = self.matched_lately * left + more(rule.matched, self.matched);
        self.refused_lately = self.refused_lately * left + more(rule.refused_by_server, self.refused);
        (self.matched, self.refused) = (rule.matched, rule.refused_by_server);
    }
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::{CostKind, IncidentStatus, Verdict};

    use super::*;
    use crate::fixtures::rule_status;

    fn status(id: u32, matched: u64, refused_by_server: u64) -> Status {
        let incident = IncidentStatus {
            id,
            opened: Timestamp::EPOCH,
            closed: None,
            cost: CostKind::Requests,
            offered_rate: 400.0,
            normal_rate: 2.0,
            verdict: Verdict::Explained,
            shapes: Vec::new(),
            explanation: String::new(),
            rules: Vec::new(),
        };
        let rule = RuleStatus { incident: id, matched, refused_by_server, ..rule_status(id) };
        Status { incidents: vec![incident], rules: vec![rule], ..Status::default() }
    }

    #[test]
    fn it_is_known_within_seconds_and_kept_while_nothing_comes() {
        let mut carried_out = CarriedOut::default();
        let (mut second, mut matched, mut refused) = (1000, 0, 0);
        let mut look = |seconds: u64, rate: u64, refused_rate: u64, id: u32| {
            let mut is_so = false;
            for _ in 0..seconds * 4 {
                (second, matched, refused) = (second + 250, matched + rate / 4, refused + refused_rate / 4);
                is_so = carried_out.look(Timestamp::from_micros(second * 1000), &status(id, matched, refused));
            }
            is_so
        };
        assert!(!look(10, 40, 0, 1), "it serves all");
        assert!(!look(2, 40, 40, 1), "it has just begun");
        assert!(look(10, 40, 40, 1));
        assert!(look(120, 0, 0, 1), "a pause");
        assert!(look(10, 40, 40, 1));
        assert!(!look(10, 40, 0, 1), "the file has run out");
        assert!(look(20, 40, 40, 1));
        assert!(!look(1, 0, 0, 2), "another incident");
    }
}
