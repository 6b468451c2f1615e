//! The thread that detects: takes in what the workers saw, asks the engine four times a second, and publishes the rules
//! and the state.

mod commands;
mod hearing;
mod own;
mod passed_over;
mod publishing;
mod unconfirmed;
mod vetoes;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use seawall_engine::address::AddressSet;
use seawall_engine::decision::{Enforce, Event, EventKind, Innocent, OwnRules, Pardons, RuleId, Veto};
use seawall_engine::detection::{self, Detector, Pressure, RuleTraffic, Surroundings};
use seawall_engine::gate::{Allowances, ClientTable};
use seawall_engine::observation::Outcome;
use seawall_engine::units::Timestamp;

use super::carried_out::CarriedOut;
use super::intake::Intake;
use super::merged_clients::MergedClients;
use super::rule_silences::RuleSilences;
use super::silences::Silences;
use super::snapshot::{Limits, Snapshot};
use super::state::StateDirectory;
use super::threads::Restoring;
use crate::config::ConfiguredRule;
use crate::enforcement::edge::WantedRule;
use crate::enforcement::{Edge, Enforcement};
use crate::host::clock::Step;
use crate::host::pressure::HostPressure;
use crate::record::{self, rollup::Rollup};
use crate::show::notify::Notifications;
use crate::source::proxy::traffic::{Traffic, TrafficTotals};
use crate::source::record::Record;
use crate::source::shared::{CLIENT_ENTRIES, Shared};
pub use commands::Command;
use own::GivenNumbers;
pub use own::{AddedRule, KeptRules};
use passed_over::PassedOver;
use unconfirmed::Unconfirmed;
pub use vetoes::Withdrawn;

/// How often the queues are emptied. They hold what a worker hands over in ten times as long.
const TAKE_INTERVAL: Duration = Duration::from_millis(50);

/// How often the engine is asked.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// How often what was learnt is saved.
const SAVE_INTERVAL: Duration = Duration::from_secs(600);

/// The span of the rates that are shown.
const RATE_SPAN: Duration = Duration::from_secs(10);

/// Events kept for whoever looks later.
const EVENTS_MAX: usize = 200;

/// What the thread needs.
pub(super) struct Detecting {
    pub(super) shared: Arc<Shared>,
    pub(super) traffic: Vec<Arc<Traffic>>,
    pub(super) queues: Vec<rtrb::Consumer<Record>>,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) state: StateDirectory,
    pub(super) enforcement: Enforcement,
    pub(super) edge: Option<Edge>,
    pub(super) record: record::Record,
    pub(super) innocent: Arc<Mutex<Innocent>>,
    /// The operator's rules of before; none while it is not known which.
    pub(super) rules: Option<KeptRules>,
    /// Those of the configuration.
    pub(super) configured: Vec<ConfiguredRule>,
    pub(super) is_panicked: bool,
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
    rule_silences: RuleSilences,
    merged_clients: MergedClients,
    carried_out: CarriedOut,
    rollup: Rollup,
    own: OwnRules,
    /// The last numbers that were given, as they are kept.
    numbers: GivenNumbers,
    /// Whether the operator's rules of before are among them. Until then none is kept, or those of before would be lost.
    are_own_complete: bool,
    /// What the operator took back of what was found, as it is kept.
    vetoes: Vec<Veto>,
    /// What had ended by the date at the start, which may be wrong.
    passed_over: PassedOver,
    /// When it is next looked what the rules of the configuration would hit.
    predict_at: Timestamp,
    /// Those of which the log was told that they hit much of normal traffic.
    harm_said: Vec<(RuleId, String)>,
    /// How far the machine's clock has been set since the start: the operator's rules are kept in its time.
    step: Step,
    /// The operator's rules that were taken back.
    pardoned: Pardons,
    /// Rules that are taken back unless they are confirmed.
    unconfirmed: Vec<Unconfirmed>,
    /// The rules that the edge was told of, and when it may be told again.
    at_edge: Option<Vec<WantedRule>>,
    edge_at: Timestamp,
    /// How often everybody was pardoned for a panic.
    panics: u32,
    is_panicked: bool,
    notifications: Arc<ArcSwap<Notifications>>,
    /// Who is told once what is shown is of now.
    asked_to_show: Option<tokio::sync::oneshot::Sender<()>>,
    /// When the engine is next asked.
    tick_at: Timestamp,
    /// When what was learnt is next saved.
    save_at: Timestamp,
}

impl Detecting {
    /// Runs until told to stop.
    pub(super) fn run(mut self, commands: &Receiver<Command>, restoring: Restoring) {
        let mut running = self.begin();
        self.publish_rules(&mut running);
        drop(restoring);
        loop {
            let command = match commands.recv_timeout(TAKE_INTERVAL) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
            };
            self.turn(&mut running, command);
        }
        self.end(running);
    }

    /// Takes up what was learnt before, and the operator's rules.
    fn begin(&mut self) -> Running {
        let never_ban = AddressSet::clone(&self.shared.never_ban.load());
        let (enforce, beside) = (self.enforce, self.intake.is_beside());
        let mut detector = Detector::new(detection::Settings { enforce, never_ban, beside, seed: self.seed });
        if let Some(saved) = self.state.load_baseline()
            && let Err(error) = detector.restore(&saved)
        {
            tracing::warn!(%error, "failed to use the saved baseline; it is set aside and learning begins anew");
            self.state.set_baseline_aside();
        }
        let start = self.shared.clock.now();
        let mut running = Running {
            detector,
            published: None,
            enforce: self.enforce,
            host: HostPressure::default(),
            pressure: Pressure::default(),
            totals: VecDeque::new(),
            events: VecDeque::new(),
            gate_bytes: Allowances::memory_bytes()
                + self.traffic.len() * ClientTable::new(CLIENT_ENTRIES / self.traffic.len().max(1), 0).memory_bytes(),
            at: start,
            silences: Silences::default(),
            rule_silences: RuleSilences::default(),
            merged_clients: MergedClients::default(),
            carried_out: CarriedOut::default(),
            rollup: Rollup::start(start),
            own: OwnRules::default(),
            numbers: GivenNumbers::default(),
            are_own_complete: false,
            vetoes: Vec::new(),
            passed_over: PassedOver::default(),
            predict_at: start,
            harm_said: Vec::new(),
            step: Step::default(),
            pardoned: Pardons::default(),
            unconfirmed: Vec::new(),
            at_edge: None,
            edge_at: Timestamp::EPOCH,
            panics: 0,
            is_panicked: self.is_panicked,
            notifications: Arc::clone(&self.notifications),
            asked_to_show: None,
            tick_at: start,
            save_at: start + SAVE_INTERVAL,
        };
        if let Some(rules) = self.rules.take() {
            self.take_up(&mut running, rules, start);
        }
        let configured = std::mem::take(&mut self.configured);
        let never_ban = AddressSet::clone(&self.shared.never_ban.load());
        self.configure_rules(&mut running, configured, &never_ban, start);
        running
    }

    /// Takes in what was seen, obeys, and does what it is time for.
    fn turn(&mut self, running: &mut Running, command: Option<Command>) {
        self.take(running);
        let now = self.shared.clock.now();
        // What comes late is waited for, so that seconds are learned from when all of them is there.
        let delay = Duration::from_micros(self.shared.delay.load(Ordering::Relaxed));
        running.at = running.at.max(now - delay);
        let is_told = command.is_some_and(|command| self.obey(running, command, now));
        if is_told || now >= running.tick_at {
            running.tick_at = now + TICK_INTERVAL;
            self.tick(running, now);
        }
        if let Some(done) = running.asked_to_show.take() {
            let _ = done.send(());
        }
        if now >= running.save_at {
            running.save_at = now + SAVE_INTERVAL;
            self.save(&running.detector);
        }
    }

    /// Gives up what waits, and keeps the rest.
    fn end(mut self, mut running: Running) {
        // Nobody can confirm it any more.
        self.undo_unconfirmed(&mut running, Timestamp::from_micros(u64::MAX));
        self.take(&mut running);
        if let Some((minute, counts)) = running.rollup.rest() {
            self.record.minute(minute, counts);
        }
        if let Some(event) = running.detector.stop(running.at) {
            self.note(&mut running, Some(event));
            // Whoever is told of it is told how things stand then.
            let totals = self.totals();
            let limits = self.limits(&mut running, &totals);
            self.keep_vetoes(&mut running);
            self.publish_snapshot(&mut running, self.shared.clock.now(), totals, limits);
        }
        self.save(&running.detector);
    }

    fn take(&mut self, running: &mut Running) {
        let settings = self.shared.settings.load();
        // Who is served in a flood is not known to be innocent.
        let is_calm = running.detector.is_calm();
        // Held by nobody for longer than it takes to copy it.
        let mut innocent = self.innocent.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in &mut self.queues {
            while let Ok(record) = queue.pop() {
                let mut observation = record.observation();
                settings.networks.locate(observation.client, &mut observation.request);
                if let (true, Some(client), Outcome::Served { .. }) = (is_calm, observation.client, observation.outcome)
                {
                    innocent.serve(client, observation.weight);
                }
                running.rollup.count(&observation, |host| settings.site_of(host));
                running.detector.observe(&observation);
            }
        }
    }

    fn totals(&self) -> TrafficTotals {
        let mut totals = TrafficTotals::default();
        self.traffic.iter().for_each(|traffic| totals.add(traffic));
        totals
    }

    fn tick(&self, running: &mut Running, now: Timestamp) {
        let totals = self.totals();
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
        let peers = std::mem::take(&mut self.shared.counts().peers);
        let merged = running.merged_clients.look(now, &peers, &self.shared.settings.load().trusted);
        self.note(running, merged);
        let mut rule_traffic = self.rule_traffic(running);
        let own = rule_traffic.split_off(running.detector.rules().len());
        own.iter().for_each(|traffic| running.own.count(traffic));
        let surroundings = Surroundings { pressure: running.pressure, rule_traffic };
        for event in running.detector.tick(running.at, &surroundings) {
            self.note(running, Some(event));
        }
        running.rollup.count_closed_unread(totals.closed_unread.saturating_sub(before.closed_unread));
        if let Some((minute, counts)) = running.rollup.take(now) {
            self.record.minute(minute, counts);
        }
        let was_clock_set = running.step.follow(&self.shared.clock);
        if was_clock_set {
            self.take_up_passed_over(running, now);
            self.keep_own(running);
        }
        self.end_passed_over(running);
        self.keep_vetoes(running);
        if was_clock_set {
            // All of it is kept anew, in the machine's time.
            self.write_vetoes(running);
        }
        // Before those that have ended: in force they end with their deadline.
        self.undo_unconfirmed(running, now);
        let ended = running.own.expire(now);
        for rule in &ended {
            self.journal_ended(rule, "");
        }
        if !ended.is_empty() {
            self.own_changed(running, &ended.iter().map(|rule| rule.id).collect::<Vec<RuleId>>());
        }
        self.predict(running, false, now);
        self.listen(running, now);
        self.miss_rules(running, now, &totals);
        // Before anybody is shown one.
        self.keep_numbers(running);
        self.publish_rules(running);
        self.tell_edge(running, now);
        self.publish_snapshot(running, now, totals, limits);
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
    fn rule_traffic(&self, running: &Running) -> Vec<RuleTraffic> {
        let counts = std::mem::take(&mut *self.shared.counts());
        let entry = |rule: RuleId| {
            let mut entry = RuleTraffic { known: counts.known, ..RuleTraffic::none(rule) };
            counts.rules.iter().filter(|(counted, _)| *counted == rule).for_each(|(_, count)| count.add_to(&mut entry));
            entry
        };
        let rules = running.detector.rules().into_iter().chain(running.own.for_gate());
        rules.map(|rule| entry(rule.id)).collect()
    }

    fn save(&self, detector: &Detector) {
        if let Err(error) = self.state.save_baseline(&detector.save()) {
            tracing::warn!(%error, "failed to save what was learnt; it is kept in memory and tried again");
        }
    }

    fn note(&self, running: &mut Running, event: Option<Event>) {
        let Some(event) = event else { return };
        match event.kind {
            EventKind::SensorSilent | EventKind::RuleSilent | EventKind::ClientsMerged => {
                tracing::warn!(kind = ?event.kind, "{}", event.text);
            }
            _ => tracing::info!(kind = ?event.kind, "{}", event.text),
        }
        // An event names its rule first.
        let rules = running.detector.status(event.at).rules;
        let evidence =
            rules.iter().find(|rule| event.text.starts_with(&format!("{} ", rule.id))).map(|rule| &rule.evidence);
        self.record.decision(&event, evidence);
        running.notifications.load().note(&event);
        if running.events.len() >= EVENTS_MAX {
            running.events.pop_front();
        }
        running.events.push_back(event);
    }
}

#[cfg(test)]
mod tests;
