//! The thread that detects: takes in what the workers saw, asks the engine four times a second, and publishes the rules
//! and the state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use arc_swap::ArcSwap;
use seawall_engine::address::AddressSet;
use seawall_engine::decision::{Enforce, Event, EventKind, RuleId};
use seawall_engine::detection::{self, Detector, Pressure, RuleTraffic, Surroundings};
use seawall_engine::gate::{Gate, RuleSet};
use seawall_engine::units::Timestamp;
use tokio::sync::oneshot;

use super::intake::Intake;
use super::silences::Silences;
use super::snapshot::{Limits, Rates, Snapshot};
use super::state::StateDirectory;
use crate::host::pressure::HostPressure;
use crate::show::notify::Notifications;
use crate::source::proxy::traffic::{Traffic, TrafficTotals};
use crate::source::record::Record;
use crate::source::shared::{CLIENT_ENTRIES, Shared};

/// How often the queues are emptied. They hold what a worker hands over in ten times as long.
const TAKE_INTERVAL: Duration = Duration::from_millis(50);

/// How often the engine is asked.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// How often what was learnt is saved.
const SAVE_INTERVAL: Duration = Duration::from_secs(600);

/// The span of [`Rates`].
const RATE_SPAN: Duration = Duration::from_secs(10);

/// Events kept for whoever looks later.
const EVENTS_MAX: usize = 200;

/// What the detecting thread is told.
#[derive(Debug)]
pub enum Command {
    /// The configuration has changed.
    Configuration {
        /// When rules are put in force.
        enforce: Enforce,
        /// Whom nothing is ever done to.
        never_ban: AddressSet,
    },
    /// Take a rule back; answered once that is so.
    Withdraw(RuleId, oneshot::Sender<()>),
    /// Save and end.
    Stop,
}

/// What the thread needs.
pub(super) struct Detecting {
    pub(super) shared: Arc<Shared>,
    pub(super) traffic: Vec<Arc<Traffic>>,
    pub(super) queues: Vec<rtrb::Consumer<Record>>,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) state: StateDirectory,
    pub(super) enforce: Enforce,
    pub(super) open_files: usize,
    pub(super) intake: Arc<Intake>,
    pub(super) notifications: Arc<ArcSwap<Notifications>>,
    pub(super) seed: u64,
}

/// What changes while it runs.
struct Running {
    detector: Detector,
    /// The generation of the rules that the workers have.
    published: Option<u64>,
    enforce: Enforce,
    host: HostPressure,
    pressure: Pressure,
    /// Totals of the last [`RATE_SPAN`], oldest first.
    totals: VecDeque<(Timestamp, TrafficTotals)>,
    events: VecDeque<Event>,
    gate_bytes: usize,
    /// Where detection is in time: it never steps back.
    at: Timestamp,
    silences: Silences,
    notifications: Arc<ArcSwap<Notifications>>,
}

impl Detecting {
    /// Runs until told to stop.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let never_ban = self.shared.settings.load().never_ban.clone();
        let mut detector = Detector::new(detection::Settings { enforce: self.enforce, never_ban, seed: self.seed });
        if let Some(saved) = self.state.load_baseline()
            && let Err(error) = detector.restore(&saved)
        {
            tracing::warn!(%error, "failed to use the saved baseline; it is set aside and learning begins anew");
            self.state.set_baseline_aside();
        }
        let mut running = Running {
            detector,
            published: None,
            enforce: self.enforce,
            host: HostPressure::default(),
            pressure: Pressure::default(),
            totals: VecDeque::new(),
            events: VecDeque::new(),
            gate_bytes: self.traffic.len() * Gate::new(1, CLIENT_ENTRIES / self.traffic.len().max(1), 0).memory_bytes(),
            at: self.shared.clock.now(),
            silences: Silences::default(),
            notifications: Arc::clone(&self.notifications),
        };
        let start = self.shared.clock.now();
        let (mut tick_at, mut save_at) = (start, start + SAVE_INTERVAL);
        loop {
            let command = commands.recv_timeout(TAKE_INTERVAL);
            self.take(&mut running.detector);
            let now = self.shared.clock.now();
            // What comes late is waited for, so that seconds are learned from when all of them is there.
            let delay = Duration::from_micros(self.shared.delay.load(Ordering::Relaxed));
            running.at = running.at.max(now - delay);
            let is_told = match command {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Command::Configuration { enforce, never_ban }) => {
                    running.enforce = enforce;
                    running.detector.set_policy(enforce, never_ban);
                    // The gate's rules carry the never-ban list, so they are made anew even if none has changed.
                    running.published = None;
                    true
                }
                Ok(Command::Withdraw(rule, done)) => {
                    let event = running.detector.withdraw(rule, running.at);
                    running.note(event);
                    self.publish_rules(&mut running);
                    // Whoever asked may have gone; the rule is withdrawn all the same.
                    let _ = done.send(());
                    true
                }
                Err(RecvTimeoutError::Timeout) => false,
            };
            if is_told || now >= tick_at {
                tick_at = now + TICK_INTERVAL;
                self.tick(&mut running, now);
            }
            if now >= save_at {
                save_at = now + SAVE_INTERVAL;
                self.save(&running.detector);
            }
        }
        self.save(&running.detector);
    }

    fn take(&mut self, detector: &mut Detector) {
        let settings = self.shared.settings.load();
        for queue in &mut self.queues {
            while let Ok(record) = queue.pop() {
                let mut observation = record.observation();
                settings.networks.locate(observation.client, &mut observation.request);
                detector.observe(&observation);
            }
        }
    }

    fn tick(&self, running: &mut Running, now: Timestamp) {
        let mut totals = TrafficTotals::default();
        self.traffic.iter().for_each(|traffic| totals.add(traffic));
        let before = running.totals.back().map_or(TrafficTotals::default(), |(_, totals)| *totals);
        running.totals.push_back((now, totals));
        while running.totals.len() > 2 && running.totals.get(1).is_some_and(|(at, _)| now.since(*at) >= RATE_SPAN) {
            running.totals.pop_front();
        }
        let limits = self.limits(running, &totals);
        let since = |count: fn(&TrafficTotals) -> u64| count(&totals).saturating_sub(count(&before)) as f32;
        let requests = since(|totals| totals.requests).max(1.0);
        running.pressure = Pressure {
            queue_delay: Duration::from_secs_f32(since(|totals| totals.upstream_wait_micros) / requests / 1e6),
            failure_share: since(|totals| totals.failed + totals.overloaded) / requests,
            connections_used: limits.connections as f32 / limits.connections_max.max(1) as f32,
            cpu_used: limits.cpu_used,
            memory_used: limits.memory_used,
        };
        let surroundings =
            Surroundings { pressure: running.pressure, rule_traffic: self.rule_traffic(&running.detector) };
        for event in running.detector.tick(running.at, &surroundings) {
            running.note(Some(event));
        }
        self.listen(running, now);
        self.publish_rules(running);
        self.publish_snapshot(running, now, totals, limits);
    }

    /// Notes which sensors no longer tell what they are there to tell.
    fn listen(&self, running: &mut Running, now: Timestamp) {
        let readings = self.intake.readings();
        if readings.is_empty() {
            return;
        }
        let status = running.detector.status(running.at);
        let has_matched = |id: RuleId| status.rules.iter().any(|rule| rule.id == id && rule.matched > 0);
        let (sensors, rules) = (self.intake.sensors(), running.detector.rules());
        for event in running.silences.look(now, &sensors, &readings, &rules, has_matched) {
            running.note(Some(event));
        }
    }

    fn limits(&self, running: &mut Running, totals: &TrafficTotals) -> Limits {
        Limits {
            connections: totals.connections + totals.streams,
            connections_max: self.shared.settings.load().connections_max as u64,
            open_files_max: self.open_files as u64,
            cpu_used: running.host.cpu_used(),
            memory_used: running.host.memory_used(),
            engine_bytes: (running.detector.memory_bytes() + running.gate_bytes) as u64,
        }
    }

    /// What the gates counted since the last time: an entry for each rule that they have, though it met nothing.
    fn rule_traffic(&self, detector: &Detector) -> Vec<RuleTraffic> {
        let counts = std::mem::take(&mut *self.shared.counts());
        let entry = |rule: RuleId| {
            let mut entry = RuleTraffic { known: counts.known, ..RuleTraffic::none(rule) };
            for (_, count) in counts.rules.iter().filter(|(counted, _)| *counted == rule) {
                entry.matched += count.matched;
                entry.refused += count.refused;
                entry.refused_again += count.refused_again;
                entry.canaries += count.canaries;
                entry.matched_known += count.matched_known;
                entry.spared += count.spared;
                entry.closed += count.closed;
            }
            entry
        };
        detector.rules().iter().map(|rule| entry(rule.id)).collect()
    }

    /// Hands the rules to the workers when they have changed.
    fn publish_rules(&self, running: &mut Running) {
        let generation = running.detector.generation();
        if running.published == Some(generation) {
            return;
        }
        running.published = Some(generation);
        let settings = self.shared.settings.load();
        match RuleSet::compile(&running.detector.rules(), &settings.client_limits, settings.never_ban.clone()) {
            Ok(rules) => {
                let rules = rules.with_pardons(running.detector.pardons());
                self.shared.rules.store(Arc::new(rules));
                self.shared.generation.fetch_add(1, Ordering::Release);
            }
            // The old rules stay: better those than none or a part.
            Err(error) => tracing::error!(%error, "failed to put the rules in force"),
        }
    }

    fn publish_snapshot(&self, running: &Running, now: Timestamp, totals: TrafficTotals, limits: Limits) {
        let detection = running.detector.status(running.at);
        let (first_at, first) = running.totals.front().copied().unwrap_or((now, totals));
        let seconds = now.since(first_at).as_secs_f64();
        let rate = |count: fn(&TrafficTotals) -> u64| match count(&totals).saturating_sub(count(&first)) {
            count if seconds > 0.0 => count as f64 / seconds,
            _ => 0.0,
        };
        let mut sensors = self.intake.sensors();
        running.silences.tell(&mut sensors);
        self.snapshot.store(Arc::new(Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.shared.clock.uptime().as_secs(),
            calm: detection.is_calm(),
            enforce: running.enforce,
            stressed: running.detector.is_stressed(running.at),
            traffic: totals,
            rates: Rates {
                requests: rate(|totals| totals.requests),
                served: rate(|totals| totals.served),
                refused: rate(|totals| totals.refused_rule + totals.dropped_rule),
                misdirected: rate(|totals| totals.misdirected),
                malformed: rate(|totals| totals.malformed),
                limited: rate(|totals| totals.client_limited + totals.overloaded),
                failed: rate(|totals| totals.failed),
                closed_unread: rate(|totals| totals.closed_unread),
                bytes_sent: rate(|totals| totals.bytes_sent),
            },
            sensors,
            limits,
            detection,
            events: running.events.iter().cloned().collect(),
            notifications: running.notifications.load().statuses(),
        }));
    }

    fn save(&self, detector: &Detector) {
        if let Err(error) = self.state.save_baseline(&detector.save()) {
            tracing::warn!(%error, "failed to save what was learnt; it is kept in memory and tried again");
        }
    }
}

impl Running {
    fn note(&mut self, event: Option<Event>) {
        let Some(event) = event else { return };
        match event.kind {
            EventKind::SensorSilent => tracing::warn!(kind = ?event.kind, "{}", event.text),
            _ => tracing::info!(kind = ?event.kind, "{}", event.text),
        }
        self.notifications.load().note(&event);
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}
