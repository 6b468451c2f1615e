//! The clock of the simulation: a site with its ordinary visitors, what is sent beside them, and the guard.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use seawall_engine::address::ClientAddress;
use seawall_engine::decision::{Enforce, EventKind, Rule, Stage, Status};
use seawall_engine::detection::{Detector, Pressure};
use seawall_engine::observation::{ClientHistory, Cost, Observation, Outcome, Progress, Refusal, Request, Spent};
use seawall_engine::units::Timestamp;

use crate::background::{Background, Plan, Synthetic};
use crate::dice::Dice;
use crate::guard::{Fate, Guard};
use crate::request::Sent;
use crate::tally::{RuleTally, Tally, Work};

/// A Monday, 00:00 UTC.
pub const START: u64 = 1_600_041_600;

/// How often the guard looks.
pub const TICK: Duration = Duration::from_millis(250);

/// A request that the site works on for longer is observed when it comes, in parts while it goes on, and at its end, as in
/// line.
const LASTS: Duration = Duration::from_millis(250);

/// The ordinary traffic by which the harm of rules is measured: so many seconds out of each hour of a day.
const ORDINARY_HOURS: u32 = 24;
const ORDINARY_SECONDS: u32 = 120;

/// What is sent beside the ordinary traffic.
pub trait Traffic {
    /// What is sent in the tick that begins now.
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan);
}

/// What traffic is told, and made of.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Randomness.
    pub dice: &'a mut Dice,
    /// Seconds since the traffic began.
    pub seconds: f64,
    /// The ordinary traffic, to be like.
    pub background: &'a mut Background,
    /// Who was refused anything since the traffic began.
    pub refused: &'a HashSet<IpAddr>,
}

impl Scene<'_> {
    /// How many of `rate` requests a second come in this tick.
    pub fn count(&mut self, rate: f64) -> usize {
        self.dice.poisson(rate * TICK.as_secs_f64())
    }

    /// A moment in this tick.
    pub fn moment(&mut self) -> Duration {
        TICK.mul_f64(self.dice.uniform())
    }
}

/// The site, its visitors, and the guard.
#[derive(Clone)]
pub struct World {
    guard: Guard,
    /// Randomness.
    pub dice: Dice,
    /// The present.
    pub now: Timestamp,
    /// How hard the server is pressed.
    pub pressure: Pressure,
    /// Everything takes this many times as long.
    pub slowness: u32,
    /// What it came to since the onset.
    pub tally: Tally,
    background: Background,
    /// Requests of a day of ordinary traffic, by which the harm of rules is measured.
    ordinary: Arc<[Sent]>,
    ahead: VecDeque<(Timestamp, Sent)>,
    under_way: Vec<UnderWay>,
    known: HashMap<IpAddr, (Timestamp, u32)>,
    refused: HashSet<IpAddr>,
    onset: Option<Timestamp>,
    in_incident: bool,
}

impl World {
    /// A world that has just begun, with the made-up site.
    pub fn new(seed: u64, enforce: Enforce) -> Self {
        Self::with(Background::Synthetic(Synthetic::default()), seed, enforce)
    }

    /// The same with a guard that is beside the server, which refuses for it.
    pub fn beside(seed: u64, enforce: Enforce) -> Self {
        Self { guard: Guard::beside(seed, enforce), ..Self::new(seed, enforce) }
    }

    /// A world that has just begun.
    pub fn with(background: Background, seed: u64, enforce: Enforce) -> Self {
        Self {
            guard: Guard::new(seed, enforce),
            dice: Dice::new(seed),
            now: Timestamp::from_seconds(START),
            pressure: Pressure::default(),
            slowness: 1,
            tally: Tally::default(),
            background,
            ordinary: Arc::default(),
            ahead: VecDeque::new(),
            under_way: Vec::new(),
            known: HashMap::new(),
            refused: HashSet::new(),
            onset: None,
            in_incident: false,
        }
    }

    /// A world of the made-up site that is a week old.
    ///
    /// # Panics
    /// When the guard put a rule in force against ordinary traffic.
    pub fn warm(seed: u64, enforce: Enforce) -> Self {
        let mut world = Self::new(seed, enforce);
        world.grow_warm();
        assert!(world.tally.rules.is_empty(), "ordinary traffic: {:#?}", world.tally.events);
        assert!(!world.status().cold, "a week is enough to be warm");
        world
    }

    /// Goes through seven days, ten seconds out of each five minutes, then five whole minutes on a morning.
    pub fn grow_warm(&mut self) {
        for slot in 0..2016 {
            self.now = Timestamp::from_seconds(START + slot * 300);
            self.ahead.clear();
            self.under_way.clear();
            self.run(Duration::from_secs(10), |_, _| Vec::new());
        }
        self.now = Timestamp::from_seconds(START + 7 * 86_400 + 36_000);
        self.run(Duration::from_secs(300), |_, _| Vec::new());
    }

    /// Draws a day of ordinary traffic, two minutes out of each hour, by which the harm of rules is measured from here on.
    pub fn know_ordinary(&mut self) {
        let (mut background, mut dice) = (self.background.clone(), self.dice.clone());
        let mut plan = Plan::new();
        for hour in 0..ORDINARY_HOURS {
            let now = Timestamp::from_seconds(START + u64::from(hour) * 3600);
            (0..ORDINARY_SECONDS).for_each(|_| background.plan(&mut dice, now, Duration::from_secs(1), &mut plan));
        }
        self.ordinary = plan.into_iter().map(|(_, sent)| sent).collect();
    }

    /// From here on the tally counts.
    pub fn begin(&mut self) {
        self.onset = Some(self.now);
        self.tally = Tally::default();
    }

    /// When the tally began to count, or the world.
    pub fn began(&self) -> Timestamp {
        self.onset.unwrap_or(Timestamp::from_seconds(START))
    }

    /// What the guard shows.
    pub fn status(&self) -> Status {
        self.guard.detector.status(self.now)
    }

    /// Requests a second of ordinary traffic, on average over the day that was drawn.
    pub fn ordinary_rate(&self) -> f64 {
        self.ordinary.len() as f64 / f64::from(ORDINARY_HOURS * ORDINARY_SECONDS)
    }

    /// The memory of the engine, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.guard.memory_bytes()
    }

    /// The detector.
    pub const fn detector(&mut self) -> &mut Detector {
        &mut self.guard.detector
    }

    /// Takes the gate away: rules are counted from what was observed, as beside a log.
    pub const fn remove_gate(&mut self) {
        self.guard.has_gate = false;
    }

    /// The ordinary traffic.
    pub const fn background(&self) -> &Background {
        &self.background
    }

    /// Goes on for this long. `more` says what is sent beside the ordinary traffic in the tick that begins now, evenly over
    /// it; it is told the seconds since the beginning.
    pub fn run(&mut self, time: Duration, more: impl FnMut(&mut Dice, f64) -> Vec<Sent>) {
        self.run_beside(time, &mut Evenly(more));
    }

    /// Goes on for this long, with this beside the ordinary traffic.
    pub fn run_beside(&mut self, time: Duration, traffic: &mut dyn Traffic) {
        let begin = self.now;
        self.refused.clear();
        while self.now.since(begin) < time {
            let mut plan = Plan::new();
            self.background.plan(&mut self.dice, self.now, TICK, &mut plan);
            let seconds = self.now.since(begin).as_secs_f64();
            let (background, refused) = (&mut self.background, &self.refused);
            let mut scene = Scene { dice: &mut self.dice, seconds, background, refused };
            traffic.send(&mut scene, &mut plan);
            let now = self.now;
            self.ahead.extend(plan.into_iter().map(|(after, sent)| (now + after, sent)));
            self.ahead.make_contiguous().sort_by_key(|(at, _)| *at);
            let until = now + TICK;
            self.tally.ticks.push((0, 0));
            while self.ahead.front().is_some_and(|(at, _)| *at < until) {
                if let Some((at, sent)) = self.ahead.pop_front() {
                    self.serve(at, &sent);
                }
            }
            self.now = until;
            self.go_on();
            self.tick();
        }
    }

    fn serve(&mut self, at: Timestamp, sent: &Sent) {
        let client = ClientAddress::new(sent.client);
        let request = sent.request();
        let known = self.known.get(&sent.client).copied();
        let (fate, is_of_good_name) = self.guard.judge(&request, client, at);
        self.count(sent, &request, fate);
        if fate != Fate::Passes {
            self.refused.insert(sent.client);
        }
        let (outcome, cost) = match fate {
            // What is not read is not seen either.
            Fate::Unread => return,
            Fate::Refused(rule) => {
                (Outcome::Refused(Refusal::Rule(rule)), Cost { requests: 1, bytes: 150, ..Cost::default() })
            }
            Fate::Passes if sent.misdirected => {
                (Outcome::Refused(Refusal::Misdirected), Cost { requests: 1, bytes: 120, ..Cost::default() })
            }
            Fate::Passes => {
                let entry = self.known.entry(sent.client).or_insert((at, 0));
                entry.1 += 1;
                let upstream_time = sent.upstream * self.slowness;
                let connection_time = upstream_time + sent.taking;
                // A head that never ends is no request before it is given up.
                let lasts = connection_time > LASTS && sent.status != 408;
                let cost = Cost {
                    requests: 1,
                    bytes: if lasts { 0 } else { sent.bytes },
                    upstream_time: if lasts { Duration::ZERO } else { upstream_time },
                    connection_time: if lasts { Duration::ZERO } else { connection_time },
                    ..Cost::default()
                };
                (if lasts { Outcome::Arrived } else { Outcome::Served { status: sent.status } }, cost)
            }
        };
        let (since, served) = known.unwrap_or((at, 0));
        let history = ClientHistory { requests_recent: 1, age: at.since(since), served, is_of_good_name };
        if outcome == Outcome::Arrived {
            let upstream_time = sent.upstream * self.slowness;
            let progress = Progress::default();
            self.under_way.push(UnderWay { sent: sent.clone(), history, arrived: at, upstream_time, progress });
        }
        self.guard.detector.observe(&Observation {
            at,
            client: Some(client),
            request,
            outcome,
            cost,
            weight: 1.0,
            history,
        });
    }

    /// Lets the requests under way tell what they cost.
    fn go_on(&mut self) {
        let (now, detector) = (self.now, &mut self.guard.detector);
        self.under_way.retain_mut(|under_way| {
            let UnderWay { sent, upstream_time, .. } = &*under_way;
            let end = under_way.arrived + *upstream_time + sent.taking;
            let is_over = end <= now;
            let at = end.min(now);
            let time = at.since(under_way.arrived);
            // The answer goes out evenly while it is taken.
            let taken = match is_over {
                true => 1.0,
                false => {
                    time.saturating_sub(*upstream_time).as_secs_f64() / sent.taking.as_secs_f64().max(f64::MIN_POSITIVE)
                }
            };
            let bytes = (sent.bytes as f64 * taken) as u64;
            let spent = Spent { bytes, upstream_time: time.min(*upstream_time), connection_time: time };
            if is_over || under_way.progress.is_due(&spent) {
                detector.observe(&Observation {
                    at,
                    client: Some(ClientAddress::new(under_way.sent.client)),
                    request: under_way.sent.request(),
                    outcome: match is_over {
                        true => Outcome::Served { status: under_way.sent.status },
                        false => Outcome::UnderWay,
                    },
                    cost: under_way.progress.tell(spent),
                    weight: 1.0,
                    history: under_way.history,
                });
            }
            !is_over
        });
    }

    fn count(&mut self, sent: &Sent, request: &Request<'_>, fate: Fate) {
        let is_refused = fate != Fate::Passes;
        let client = ClientAddress::new(sent.client);
        let in_force = self.tally.time_to_rule.is_some();
        let tally = &mut self.tally;
        if sent.wanted {
            tally.wanted += 1;
            tally.wanted_refused += u64::from(is_refused);
            for rule in self.guard.rules_in_force() {
                let rule_tally = tally.rules.entry(rule.id).or_default();
                rule_tally.wanted += 1;
                rule_tally.wanted_refused += u64::from(rule.matches(request, Some(client)));
            }
        } else {
            tally.unwanted += 1;
            tally.unwanted_refused += u64::from(is_refused);
            tally.unwanted_after_rule += u64::from(in_force);
            tally.unwanted_refused_after_rule += u64::from(in_force && is_refused);
            if let Some(tick) = tally.ticks.last_mut() {
                *tick = (tick.0 + 1, tick.1 + u32::from(is_refused));
            }
        }
    }

    fn tick(&mut self) {
        let begin = processor_time();
        let events = self.guard.tick(self.now, self.pressure);
        let time = processor_time().saturating_sub(begin);
        let was_in_incident = self.in_incident;
        for event in &events {
            match event.kind {
                EventKind::IncidentOpened => self.in_incident = true,
                EventKind::IncidentClosed => self.in_incident = false,
                _ => {}
            }
        }
        self.tally.work.push(Work { time, in_incident: was_in_incident || self.in_incident });
        if !events.is_empty() {
            for shown in self.status().rules.into_iter().filter(|rule| rule.stage == Stage::Enforced) {
                let rule = self.tally.rules.entry(shown.id).or_default();
                if rule.text.is_empty() {
                    let conditions = self.guard.rules_in_force().find(|rule| rule.id == shown.id);
                    let matches = |sent: &&Sent| {
                        let client = Some(ClientAddress::new(sent.client));
                        conditions.is_some_and(|rule| rule.matches(&sent.request(), client))
                    };
                    let matched = self.ordinary.iter().filter(matches).count() as u64;
                    *rule = RuleTally {
                        predicted: shown.evidence.collateral_upper,
                        text: shown.text,
                        names_address: conditions.is_some_and(names_address),
                        ordinary: (self.ordinary.len() as u64, matched),
                        ..rule.clone()
                    };
                }
            }
        }
        self.tally.events.extend(events);
        if let Some(onset) = self.onset
            && self.tally.time_to_rule.is_none()
            && self.guard.rules_in_force().next().is_some()
        {
            self.tally.time_to_rule = Some(self.now.since(onset).as_secs_f64());
        }
    }
}

/// A request that the site works on.
#[derive(Clone)]
struct UnderWay {
    sent: Sent,
    history: ClientHistory,
    arrived: Timestamp,
    upstream_time: Duration,
    progress: Progress,
}

/// Whether a rule asks for a single address.
fn names_address(rule: &Rule) -> bool {
    let networks = rule.conditions.iter().filter_map(|condition| condition.network());
    networks.into_iter().any(|network| network.prefix_len() == network.max_prefix_len())
}

/// Requests that a function makes, evenly over each tick.
struct Evenly<F>(F);

impl<F: FnMut(&mut Dice, f64) -> Vec<Sent>> Traffic for Evenly<F> {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        let sent = (self.0)(scene.dice, scene.seconds);
        let count = sent.len().max(1) as u32;
        plan.extend(sent.into_iter().enumerate().map(|(index, sent)| (TICK * index as u32 / count, sent)));
    }
}

/// The time that this thread has had of a processor, so that what else runs here does not count.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A server in trouble.
pub fn stressed() -> Pressure {
    Pressure { cpu_used: 0.98, ..Pressure::default() }
}
