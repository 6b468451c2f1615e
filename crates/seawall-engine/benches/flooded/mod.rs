//! A gate and a detector that get to know a site of so many clients, and then see a flood.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use seawall_engine::address::{AddressSet, ClientAddress};
use seawall_engine::decision::{Enforce, Stage};
use seawall_engine::detection::{Detector, Pressure, RuleTraffic, Settings, Surroundings};
use seawall_engine::gate::{Allowances, Gate, Judgement, RuleSet};
use seawall_engine::observation::{Cost, Observation, Outcome, Refusal, Request};
use seawall_engine::units::Timestamp;

use crate::judging::{LAST_RULE, ORDINARY};

/// Entries of the client table, as all workers of the program together have them.
const CLIENT_ENTRIES: usize = 65_536;

/// Requests by which the site gets to be known, at least: one client's run is as long as many clients'.
const REQUESTS_MIN: u64 = 100_000;

/// For how long: over a day, after which rules refuse.
const KNOWN: Duration = Duration::from_secs(26 * 3600);

/// How long the flood lasts, and how many requests come in a second of it, every fourth of an ordinary visitor.
const FLOOD: Duration = Duration::from_secs(60);
const FLOOD_RATE: u32 = 1_000;

const TICK: Duration = Duration::from_millis(250);

/// The engine in use.
pub(crate) struct Flooded {
    gate: Gate,
    detector: Detector,
    generation: u64,
    now: Timestamp,
    ticked: Timestamp,
}

impl Flooded {
    pub(crate) fn new() -> Self {
        let now = Timestamp::from_seconds(1_700_000_000);
        Self {
            gate: Gate::new(1, CLIENT_ENTRIES, 1),
            detector: Detector::new(Settings { enforce: Enforce::OnExcess, ..Settings::default() }),
            generation: 0,
            now,
            ticked: now,
        }
    }

    /// Ordinary requests of so many clients, each from a network of its own.
    pub(crate) fn know(&mut self, clients: u64) {
        let requests = clients.max(REQUESTS_MIN);
        let step = KNOWN / u32::try_from(requests).unwrap_or(u32::MAX);
        for number in 0..requests {
            self.now = self.now + step;
            self.serve(&ORDINARY, number % clients);
        }
    }

    /// A flood beside them, each request of which comes from an address of its own; says how many rules are in force at its end.
    pub(crate) fn flood(&mut self, clients: u64) -> usize {
        for number in 0..FLOOD.as_secs() * u64::from(FLOOD_RATE) {
            self.now = self.now + Duration::from_secs(1) / FLOOD_RATE;
            match number % 4 {
                0 => self.serve(&ORDINARY, number % clients),
                _ => self.serve(&LAST_RULE, (1 << 32) + number),
            }
        }
        self.detector.rules().iter().filter(|rule| rule.stage == Stage::Enforced).count()
    }

    /// The memory that they say they have, in bytes.
    pub(crate) fn stated_bytes(&self) -> usize {
        self.gate.memory_bytes() + Allowances::memory_bytes() + self.detector.memory_bytes()
    }

    /// Judges a request of a client, and observes what became of it. Lets time pass when a quarter of a second has.
    fn serve(&mut self, request: &Request<'_>, client: u64) {
        if self.now.since(self.ticked) >= TICK {
            self.tick();
        }
        self.pass(request, client);
    }

    /// The same, and no time passes: what happens to each request.
    pub(crate) fn pass(&mut self, request: &Request<'_>, client: u64) {
        let network = client.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let client = ClientAddress::new(IpAddr::V6(Ipv6Addr::from_bits(u128::from(network) << 64 | 1)));
        let judged = self.gate.judge(request, Some(client), self.now);
        let (outcome, bytes) = match judged.judgement {
            Judgement::Pass | Judgement::ClientLimit => (Outcome::Served { status: 200 }, 8_000),
            Judgement::Refuse { rule, .. } | Judgement::Drop { rule } => (Outcome::Refused(Refusal::Rule(rule)), 150),
        };
        self.detector.observe(&Observation {
            at: self.now,
            client: Some(client),
            request: *request,
            outcome,
            cost: Cost { requests: 1, bytes, ..Cost::default() },
            weight: 1.0,
            history: judged.history,
        });
    }

    fn tick(&mut self) {
        self.ticked = self.now;
        let mut traffic: Vec<RuleTraffic> = Vec::new();
        let known = self.gate.take_counts(|rule, count| {
            let mut counted = RuleTraffic::none(rule);
            count.add_to(&mut counted);
            traffic.push(counted);
        });
        traffic.iter_mut().for_each(|traffic| traffic.known = known);
        let pressure = Pressure { cpu_used: 0.98, ..Pressure::default() };
        self.detector.tick(self.now, &Surroundings { pressure, rule_traffic: traffic });
        if self.generation != self.detector.generation() {
            self.generation = self.detector.generation();
            let rules = self.detector.rules();
            let set = RuleSet::compile(&rules, &[], AddressSet::default()).expect("five rules");
            self.gate.install(Arc::new(set.with_pardons(self.detector.pardons())), |_, _| ());
        }
    }
}
