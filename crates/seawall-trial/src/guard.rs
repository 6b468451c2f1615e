//! The guard of the simulation: the engine's detector, and a gate that does what its rules say.

use std::collections::HashMap;

use ipnet::IpNet;
use seawall_engine::address::{AddressSet, ClientAddress};
use seawall_engine::decision::{Action, Enforce, Event, Rule, RuleId, Stage};
use seawall_engine::detection::{Detector, Pressure, RuleTraffic, Settings, Surroundings};
use seawall_engine::observation::Request;
use seawall_engine::units::Timestamp;

/// Detector and gate.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) detector: Detector,
    /// Whether there is a gate; without one, rules are counted from what was observed.
    pub(crate) has_gate: bool,
    rules: Vec<Rule>,
    generation: u64,
    matched: HashMap<RuleId, u64>,
    traffic: HashMap<RuleId, RuleTraffic>,
    tokens: HashMap<RuleId, f64>,
}

impl Guard {
    pub(crate) fn new(seed: u64, enforce: Enforce) -> Self {
        let never_ban = AddressSet::new(["127.0.0.0/8".parse::<IpNet>().ok()].into_iter().flatten());
        Self {
            detector: Detector::new(Settings { enforce, never_ban, seed }),
            has_gate: true,
            rules: Vec::new(),
            generation: 0,
            matched: HashMap::new(),
            traffic: HashMap::new(),
            tokens: HashMap::new(),
        }
    }

    pub(crate) fn rules_in_force(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.stage == Stage::Enforced)
    }

    /// Whether a request is refused, and by which rule.
    pub(crate) fn judge(&mut self, request: &Request<'_>, client: ClientAddress, is_known: bool) -> Option<RuleId> {
        let mut refused = None;
        for rule in &self.rules {
            let traffic = self.traffic.entry(rule.id).or_insert(RuleTraffic {
                rule: rule.id,
                matched: 0,
                refused: 0,
                canaries: 0,
                matched_known: 0,
                known: 0,
            });
            traffic.known += u64::from(is_known);
            if !rule.matches(request, Some(client)) {
                continue;
            }
            traffic.matched += 1;
            traffic.matched_known += u64::from(is_known);
            let matched = self.matched.entry(rule.id).or_default();
            *matched += 1;
            if rule.stage != Stage::Enforced || refused.is_some() {
                continue;
            }
            if rule.canary_interval > 0 && (*matched).is_multiple_of(u64::from(rule.canary_interval)) {
                traffic.canaries += 1;
                continue;
            }
            if let Action::Throttle { .. } = rule.action {
                let tokens = self.tokens.entry(rule.id).or_insert(1.0);
                if *tokens >= 1.0 {
                    *tokens -= 1.0;
                    continue;
                }
            }
            traffic.refused += 1;
            refused = Some(rule.id);
        }
        refused
    }

    /// Lets `seconds` pass, up to `now`.
    pub(crate) fn tick(&mut self, now: Timestamp, seconds: f64, pressure: Pressure) -> Vec<Event> {
        let rule_traffic =
            if self.has_gate { self.traffic.drain().map(|(_, traffic)| traffic).collect() } else { Vec::new() };
        let events = self.detector.tick(now, &Surroundings { pressure, rule_traffic });
        if self.generation != self.detector.generation() {
            self.generation = self.detector.generation();
            self.rules = self.detector.rules();
        }
        for rule in &self.rules {
            if let Action::Throttle { rate } = rule.action {
                let tokens = self.tokens.entry(rule.id).or_insert(1.0);
                *tokens = (*tokens + f64::from(rate) * seconds).min(f64::from(rate).max(1.0));
            }
        }
        events
    }
}
