//! The guard of the simulation: the engine's detector and the engine's gate, with nothing in between.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;
use seawall_engine::address::{AddressSet, ClientAddress};
use seawall_engine::decision::{Enforce, Event, Rule, RuleId, Stage};
use seawall_engine::detection::{Detector, Pressure, RuleTraffic, Settings, Surroundings};
use seawall_engine::gate::{Gate, Judgement, RuleCount, RuleSet};
use seawall_engine::observation::Request;
use seawall_engine::units::Timestamp;

/// Clients that the gate remembers, as all workers of the program do together.
const CLIENT_ENTRIES: usize = 65_536;

/// Detector and gate.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) detector: Detector,
    /// Whether the detector is told what the gate counted; without, rules are counted from what was observed.
    pub(crate) has_gate: bool,
    gate: Gate,
    never_ban: AddressSet,
    rules: Vec<Rule>,
    generation: u64,
}

impl Guard {
    pub(crate) fn new(seed: u64, enforce: Enforce) -> Self {
        // Nobody of the simulation is from there.
        let never_ban = AddressSet::new(["10.0.0.0/8".parse::<IpNet>().ok()].into_iter().flatten());
        Self {
            detector: Detector::new(Settings { enforce, never_ban: never_ban.clone(), beside: false, seed }),
            has_gate: true,
            gate: Gate::new(1, CLIENT_ENTRIES, seed),
            never_ban,
            rules: Vec::new(),
            generation: 0,
        }
    }

    /// One beside a server, which refuses for it.
    pub(crate) fn beside(seed: u64, enforce: Enforce) -> Self {
        let guard = Self::new(seed, enforce);
        let never_ban = guard.never_ban.clone();
        Self { detector: Detector::new(Settings { enforce, never_ban, beside: true, seed }), ..guard }
    }

    pub(crate) fn rules_in_force(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.stage == Stage::Enforced)
    }

    /// What becomes of a request that comes on a connection of its own, and whether its client has a good name.
    pub(crate) fn judge(&mut self, request: &Request<'_>, client: ClientAddress, now: Timestamp) -> (Fate, bool) {
        let slot = self.gate.clients.slot(client);
        if !self.never_ban.contains(client) && self.gate.turns_away(slot, now) {
            return (Fate::Unread, false);
        }
        let judged = self.gate.judge(request, Some(client), now);
        let fate = match judged.judgement {
            Judgement::Pass | Judgement::ClientLimit => Fate::Passes,
            Judgement::Refuse { rule, .. } | Judgement::Drop { rule } => Fate::Refused(rule),
        };
        (fate, judged.history.is_of_good_name)
    }

    /// The memory of both, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.detector.memory_bytes() + self.gate.memory_bytes()
    }

    /// Lets time pass, up to `now`.
    pub(crate) fn tick(&mut self, now: Timestamp, pressure: Pressure) -> Vec<Event> {
        let mut counts: HashMap<RuleId, RuleCount> = HashMap::new();
        let known = self.gate.take_counts(|rule, count| {
            counts.insert(rule, count);
        });
        let traffic = |rule: &Rule| {
            let mut traffic = RuleTraffic { known, ..RuleTraffic::none(rule.id) };
            counts.get(&rule.id).inspect(|count| count.add_to(&mut traffic));
            traffic
        };
        let rule_traffic = if self.has_gate { self.rules.iter().map(traffic).collect() } else { Vec::new() };
        let events = self.detector.tick(now, &Surroundings { pressure, rule_traffic });
        if self.generation != self.detector.generation() {
            self.generation = self.detector.generation();
            self.rules = self.detector.rules();
            // The ladder holds no more rules than fit, each with a condition.
            let set = RuleSet::compile(&self.rules, &[], self.never_ban.clone())
                .unwrap_or_default()
                .with_pardons(self.detector.pardons());
            self.gate.install(Arc::new(set), |_, _| ());
        }
        events
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The site has it.
    Passes,
    /// A rule refuses it.
    Refused(RuleId),
    /// Its connection is closed before it is read.
    Unread,
}
