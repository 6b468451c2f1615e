//! Keeps what is normal and, when something is not, finds what the excess has in common.
//!
//! The path of an observation: [`Detector::observe`] counts its cost exactly (`series`), and keeps it in the sample of
//! the last minute (`recent`) with its values as hashes (`values`). A minute later it teaches the `baseline` what
//! requests look like, if nothing was wrong meanwhile; seconds and ten-second sums teach `seasonal` how many there are, and
//! `composition` watches that what is learned stays what it was.
//!
//! The path of a [`Detector::tick`]: the `trigger` compares the two. While an incident is open, an `inquiry` mines
//! conjunctions that tell the excess from what is normal (`mining`, `score`, `cover`), asks whether it is a crowd
//! (`crowd`), names well-known `shapes` and gives a `verdict`. What it finds climbs the ladder of
//! [`crate::decision`], which alone decides what is enforced.
//!
//! It does no I/O and reads no clock; all tables have their full size from the beginning.

mod assets;
mod baseline;
mod before;
mod bits;
mod cold;
mod composition;
mod cover;
mod crowd;
pub mod explain;
mod few;
mod incident;
mod index;
mod inquiry;
mod material;
mod mining;
mod newcomers;
mod people;
mod prior;
mod random;
mod recent;
mod reference;
mod restraint;
mod saved;
mod score;
mod seasonal;
mod seen;
mod series;
mod shapes;
mod stability;
pub(crate) mod statistics;
mod surroundings;
mod sustained;
mod trigger;
mod values;
mod verdict;
mod waiting;

use std::collections::HashMap;
use std::time::Duration;

use crate::address::AddressSet;
use crate::decision::{
    Aspect, Collateral, Condition, CostKind, Enforce, Event, EventKind, Finding, Ladder, Numbers, Pardons, Permit,
    Rule, RuleId, Stage, Status, Veto,
};
use crate::observation::attribute::Attribute;
use crate::observation::{Observation, Outcome, Refusal};
use crate::units::Timestamp;

use baseline::Baseline;
use before::Before;
use cold::Suspicion;
use composition::{Change, Composition};
use crowd::Marked;
use incident::{Incidents, Judgement};
use inquiry::Inquiry;
use material::{Material, NEWEST, NORMAL_ROWS_MIN, Window, normal_rows};
use newcomers::Newcomers;
use random::Random;
use recent::{Answered, Recent, Row};
use reference::Reference;
use restraint::Restraint;
use seasonal::Seasonal;
use seen::Seen;
use series::{Passed, Series};
use shapes::Rhythms;
use trigger::{Exceeded, Sign, Trigger};
use values::{Item, Keys, Texts, UNUSED};

pub use saved::RestoreError;
pub use surroundings::{Pressure, RuleTraffic, Stress, Surroundings};

const COSTS: usize = CostKind::ALL.len();

/// Stress counts for this long after it was last seen, so that a rule that relieves the server is not taken down by its
/// own success.
const STRESS_MEMORY: Duration = Duration::from_secs(10);

/// A client known for this long, or served this often, is an old acquaintance.
const RETURNING_AGE: Duration = Duration::from_secs(3600);
const RETURNING_SERVED: u32 = 50;

/// An agent is new while at most this share of the votes of 28 days had it.
const RARE_SHARE: f64 = 0.001;

/// A single observation is never more important than this many ordinary requests, so that one large file does not push
/// all else out of a sample.
const IMPORTANCE_MAX: f64 = 1000.0;

/// What one request costs on an ordinary site, until this one's is known.
const TYPICAL: [f64; COSTS] = [1.0, 10_000.0, 0.01, 0.1];

/// The most that a search holds at once, in bytes. What is normal in columns: 1.5 MiB. Bitsets of 1.5 KiB each (2,048 drawn
/// rows of the excess, as many of the amount of normal traffic, 8,192 of its votes) for 480 values, 256 conjunctions followed
/// and 64 finalists: 1.2 MiB. The list of the last minute's rows: 0.9 MiB; what is indexed of it: 0.5 MiB. Counts of values,
/// conjunctions seen and clients of the crowd test, one after another: 1.1 MiB. What is known of the site's files, of 8,192
/// normal rows in three directories each: 0.5 MiB; in how many of them values were found: 32 KiB.
const MINING_BYTES_MAX: usize = (5 << 20) + (3 << 18);

/// How detection is set up.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// When rules are put in force.
    pub enforce: Enforce,
    /// Networks that no rule may name and nobody of whom is ever enforced against.
    pub never_ban: AddressSet,
    /// Whether the guard only sees what passes beside a server: its rules are said to do what they would do.
    pub beside: bool,
    /// The seed of sampling and of the keys of hashes. Unguessable where strangers' requests are observed; any number
    /// where a run is to be repeated.
    pub seed: u64,
}

/// Detection and decision for one guard.
#[derive(Clone, Debug)]
pub struct Detector {
    enforce: Enforce,
    never_ban: AddressSet,
    keys: Keys,
    marked: Marked,
    random: Random,
    texts: Texts,
    recent: Recent,
    series: Series,
    newcomers: Newcomers,
    rhythms: Rhythms,
    seasonal: Seasonal,
    baseline: Baseline,
    restraint: Restraint,
    seen: Seen,
    composition: Composition,
    trigger: Trigger,
    incidents: Incidents,
    ladder: Ladder,
    /// What is normal as the search of an incident asks for it; with the incident's number and the hour.
    reference: Option<((u32, u64, usize), Reference)>,
    before: Before,
    /// The values behind the conditions of each rule, to find it in the sample.
    values: HashMap<RuleId, Vec<Item>>,
    /// What one request costs normally, in the unit of each cost.
    typical: [f64; COSTS],
    /// When the server was under stress last, and which.
    stressed: Option<(Timestamp, Stress)>,
    ticked: Timestamp,
    suspicion: Suspicion,
}

impl Detector {
    /// A detector that has learned nothing yet.
    pub fn new(settings: Settings) -> Self {
        let keys = Keys::new(settings.seed);
        Self {
            enforce: settings.enforce,
            never_ban: settings.never_ban,
            marked: Marked::new(&keys),
            keys,
            random: Random::new(settings.seed),
            texts: Texts::new(),
            recent: Recent::new(),
            series: Series::new(),
            newcomers: Newcomers::new(),
            rhythms: Rhythms::new(),
            seasonal: Seasonal::new(),
            baseline: Baseline::new(),
            restraint: Restraint::new(),
            seen: Seen::new(),
            composition: Composition::new(),
            trigger: Trigger::default(),
            incidents: Incidents::default(),
            ladder: Ladder::new(settings.beside),
            reference: None,
            before: Before::new(),
            values: HashMap::new(),
            typical: TYPICAL,
            stressed: None,
            ticked: Timestamp::EPOCH,
            suspicion: Suspicion::default(),
        }
    }

    /// Takes a new policy. When nothing is to be enforced any more, what is in force goes out of it at once; under any other
    /// policy it stays for as long as it is needed.
    pub fn set_policy(&mut self, enforce: Enforce, never_ban: AddressSet) {
        if enforce == Enforce::Never {
            self.ladder.suspend();
        }
        self.enforce = enforce;
        self.never_ban = never_ban;
    }

    /// Takes one observation. Every cost is counted exactly; the observation itself is kept if the sample has room for
    /// its like. Allocates nothing but at the end of a second.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        if Series::step(observation.at) > self.series.newest() {
            self.advance(observation.at);
        }
        let weight = if observation.weight.is_finite() { observation.weight.clamp(0.0, 1e6) } else { 1.0 };
        let costs = observed_costs(observation).map(|cost| cost * f64::from(weight));
        self.series.add(observation.at, &costs);
        let client_hash = observation.client.map_or(0, |client| self.keys.client(client));
        let arrives =
            client_hash != 0 && observation.cost.requests > 0 && self.series.add_client(client_hash, f64::from(weight));
        let importance = importance(&costs, &self.typical);
        let priority = importance / self.random.uniform();
        let at = self.moment(observation.at);
        let second = at.as_seconds();
        if !self.recent.wants(second, priority) {
            self.recent.pass(second, priority);
            return;
        }
        let (history, before) = (&observation.history, &observation.cost.before);
        let (answered, mut status) = outcome(observation.outcome);
        // Beside a server it may be that of a rule which is not in force here any more, since the guard was started anew, say. It would prove
        // itself right: nobody crowds in front of errors.
        if status == FORBIDDEN && self.ladder.is_beside() {
            status = 0;
        }
        let row = Row {
            marks: self.texts.marks(&self.keys, &observation.request, observation.client, second as u32),
            client: observation.client,
            client_hash,
            costs: costs.map(|cost| cost as f32),
            before: spent(0, before.bytes, before.upstream_time, before.connection_time).map(|cost| cost as f32),
            weight,
            importance,
            priority,
            at,
            status,
            answered,
            under_way: observation.outcome == Outcome::UnderWay,
            returning: history.age >= RETURNING_AGE || history.served >= RETURNING_SERVED,
            exempt: observation.client.is_some_and(|client| self.never_ban.contains(client)),
        };
        // What hardly anybody has can only be told where somebody was seen. What most visitors have arrives often as well.
        if arrives && row.is_mineable() && self.seen.is_telling() {
            let (step, seen) = (self.series.newest(), &self.seen);
            let is_ordinary = |item| seen.share(item).is_none_or(|share| share > RARE_SHARE);
            for attribute in [Attribute::UserAgent, Attribute::UserAgentWord] {
                for hash in row.marks.of(attribute).iter().copied().take_while(|hash| *hash != UNUSED) {
                    self.newcomers.arrive(Item { attribute, hash }, step, weight, is_ordinary);
                }
            }
        }
        if observation.cost.requests > 0 {
            self.rhythms.arrive(row.marks.one(Attribute::Path), observation.at);
        }
        self.recent.offer(second, row);
    }

    /// Lets time pass, and decides. Returns what happened. Any spacing will do; 250 ms is what the speed of detection is
    /// reckoned with.
    pub fn tick(&mut self, now: Timestamp, surroundings: &Surroundings) -> Vec<Event> {
        if Series::step(now) > self.series.newest() {
            self.advance(now);
        }
        let stress = surroundings.pressure.stress().or_else(|| self.site_is_slow().then_some(Stress::Slowness));
        if let Some(stress) = stress {
            self.stressed = Some((now, stress));
        }
        self.count_rules(now, surroundings);
        let permit = self.permit(now);
        let mut events = Vec::new();

        let newcomers = self.newcomers(now);
        let exceeded = self.trigger.look(now, &self.series, &self.recent, newcomers.is_some(), &self.seasonal);
        let is_new = !exceeded.is_empty() && self.incidents.open().is_none();
        if is_new {
            self.seasonal.discard_sample();
        }
        events.extend(self.incidents.exceeded(now, &exceeded, self.trigger.readings()));
        if self.trigger.surge() {
            events.extend(self.arm_again(now, permit));
        }
        events.extend(self.look_by_prior(now, permit));
        events.extend(self.inquire(now, permit, newcomers));
        events.extend(self.ladder.step(now, permit));
        let ladder = &self.ladder;
        self.values.retain(|id, _| ladder.rules().any(|rule| rule.id == *id));
        if let Some(event) = self.incidents.settle(now, self.trigger.readings(), self.ladder.is_enforcing()) {
            events.push(event);
            self.trigger.reset();
            self.reference = None;
        }
        self.ladder.pass_vetoes(now, self.incidents.open().map(|open| open.id));
        events.extend(self.drift(now));
        self.ticked = now;
        events
    }

    /// The rules that the gate needs: those in shadow and those in force.
    pub fn rules(&self) -> Vec<Rule> {
        self.ladder.for_gate()
    }

    /// Every rule, whatever its stage, retired ones that are remembered among them.
    pub fn every_rule(&self) -> impl Iterator<Item = &Rule> {
        self.ladder.rules()
    }

    /// Rules whose marks on clients the gate is to wipe out, since they were taken back.
    pub fn pardons(&self) -> Pardons {
        self.ladder.pardons().clone()
    }

    /// Changes whenever [`Self::rules`] or [`Self::pardons`] do.
    pub fn generation(&self) -> u64 {
        self.ladder.generation()
    }

    /// Everything there is to show.
    pub fn status(&self, now: Timestamp) -> Status {
        Status {
            at: now,
            learned_seconds: self.seasonal.observed_seconds(),
            cold: self.seasonal.is_cold(),
            incidents: self.incidents.status(&self.ladder),
            rules: self.ladder.status(),
            drifts: self.composition.drifts(),
        }
    }

    /// Whether too little was learned yet for anything to be refused for good.
    pub fn is_cold(&self) -> bool {
        self.seasonal.is_cold()
    }

    /// What a rule of these conditions would do to normal traffic; none when nothing was learned yet, or when it asks for client
    /// networks, which nobody remembers.
    pub fn predicted_collateral(&self, conditions: &[Condition], now: Timestamp) -> Option<Collateral> {
        let normal = normal_rows(&self.baseline, &self.seasonal, now);
        if normal.is_empty() || conditions.iter().any(|condition| condition.attribute == Attribute::ClientPrefix) {
            return None;
        }
        let item = |condition: &Condition| Item {
            attribute: condition.attribute,
            hash: self.keys.value(condition.attribute, condition.value.as_deref()),
        };
        let items: Vec<Item> = conditions.iter().map(item).collect();
        let (share, upper) = Reference::new(&normal, &self.marked).collateral(&items);
        Some(Collateral { share: share as f32, upper: upper as f32 })
    }

    /// Takes a rule back at the operator's word, and with it what comes to the same. Neither is put in force again for this time, or, where
    /// none is said, until a day after its incident; what is found again is shown. Of one that was taken back before that time is said anew.
    pub fn withdraw(&mut self, rule: RuleId, now: Timestamp, length: Option<Duration>) -> Vec<Event> {
        self.ladder.withdraw(rule, now, length, self.incidents.open().map(|open| open.id))
    }

    /// What the operator took back, to be kept over a restart.
    pub fn vetoes(&self) -> impl Iterator<Item = &Veto> {
        self.ladder.vetoes()
    }

    /// Takes up what the operator took back before a restart; what was found meanwhile and comes to the same goes.
    pub fn take_up_vetoes(&mut self, vetoes: Vec<Veto>, now: Timestamp) -> Vec<Event> {
        self.ladder.take_up_vetoes(vetoes, now)
    }

    /// Lets a rule be made again that the operator took back; returns how it was.
    pub fn lift_veto(&mut self, rule: RuleId) -> Option<Veto> {
        self.ladder.lift_veto(rule)
    }

    /// Lets those rules be made again of which the operator wants all refused, by a rule of these conditions; returns which.
    pub fn lift_vetoes_within(&mut self, conditions: &[Condition]) -> Vec<RuleId> {
        self.ladder.lift_vetoes_within(conditions)
    }

    /// The last numbers that were given to a rule and to an incident.
    pub const fn numbers(&self) -> Numbers {
        Numbers { rule: self.ladder.last_number(), incident: self.incidents.last_number() }
    }

    /// Goes on after these numbers, where others had them before a start: none is given twice.
    pub fn number_after(&mut self, last: Numbers) {
        self.ladder.number_after(last.rule);
        self.incidents.number_after(last.incident);
    }

    /// Closes the incident that is open, since the guard stops.
    pub fn stop(&mut self, now: Timestamp) -> Option<Event> {
        let event = self.incidents.stop(now);
        self.ladder.pass_vetoes(now, None);
        event
    }

    /// What has been learned, to be kept over a restart. It holds no address, and nothing from which one could be
    /// worked out: neither clients nor their networks, not even hashed.
    pub fn save(&self) -> Vec<u8> {
        let Self { keys, seasonal, baseline, seen, composition, ladder, .. } = self;
        saved::save(keys, seasonal, baseline, seen, composition, ladder.barred(), self.numbers())
    }

    /// Takes up what was saved, in place of everything learned so far.
    ///
    /// # Errors
    ///
    /// When the data is damaged, of another kind or version, or larger than anything that [`Self::save`] makes. Nothing
    /// is changed then.
    pub fn restore(&mut self, saved: &[u8]) -> Result<(), RestoreError> {
        let (values, seasonal, baseline, seen, composition, barred, numbers) = saved::restore(saved)?;
        self.keys.values = values;
        self.marked = Marked::new(&self.keys);
        self.texts = Texts::new();
        self.recent.clear();
        self.seasonal = seasonal;
        self.baseline = baseline;
        self.seen = seen;
        self.composition = composition;
        self.ladder.bar_again(barred);
        self.number_after(numbers);
        self.trigger.reset();
        self.reference = None;
        Ok(())
    }

    /// The memory of all tables, in bytes, with what a search takes at most. It does not depend on what was observed.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.texts.memory_bytes()
            + self.recent.memory_bytes()
            + self.series.memory_bytes()
            + self.newcomers.memory_bytes()
            + self.rhythms.memory_bytes()
            + self.seasonal.memory_bytes()
            + self.baseline.memory_bytes()
            + self.restraint.memory_bytes()
            + self.seen.memory_bytes()
            + self.composition.memory_bytes()
            + self.before.memory_bytes()
            + MINING_BYTES_MAX
    }

    /// The moment under which an observation is kept: its own, or the present for one that comes more than a minute late.
    fn moment(&self, at: Timestamp) -> Timestamp {
        let newest = self.series.newest() / series::STEPS_PER_SECOND;
        if at.as_seconds() + recent::SECONDS as u64 <= newest || at.as_seconds() > newest {
            return Timestamp::from_seconds(newest);
        }
        at
    }

    /// Goes on to `to`: seconds that end teach what is normal, and so do requests of a minute ago.
    fn advance(&mut self, to: Timestamp) {
        let Self { series, seasonal, trigger, incidents, baseline, seen, composition, recent, random, typical, .. } =
            self;
        let restraint = &mut self.restraint;
        let is_cold = seasonal.is_cold();
        series.advance(to, |passed| match passed {
            Passed::Second(second, sums) if incidents.may_learn(second) => {
                for cost in 1..COSTS {
                    if sums[0] > 0.0 {
                        // An exponential mean over about a thousand seconds.
                        typical[cost] = (typical[cost] * 0.999 + sums[cost] / sums[0] * 0.001).max(1e-6);
                    }
                }
                if let Some(sample) = seasonal.learn(second, &sums) {
                    trigger.sample(Timestamp::from_seconds(second), &sample, seasonal);
                }
            }
            Passed::Second(..) => seasonal.discard_sample(),
            Passed::Gap => {
                seasonal.gap(to.as_seconds());
                trigger.reset();
            }
        });
        recent.advance(to.as_seconds(), |second, rows| {
            if incidents.may_learn(second) {
                baseline.learn(second, rows, random, |marks, is_vote| {
                    if is_vote {
                        composition.vote(second, marks);
                    }
                    // On the first day everything is new.
                    let is_learned = is_cold || !is_vote || restraint.admits(second, marks, seen);
                    if is_learned {
                        seen.learn(second, marks, is_vote);
                    }
                    is_learned
                });
            }
        });
    }

    /// Says once that the mix of normal traffic is no longer what it was, with an example of what has grown, and once that it is
    /// again.
    fn drift(&mut self, now: Timestamp) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(change) = self.composition.change() {
            let (kind, text) = match change {
                Change::Begun(aspect, bin) => {
                    self.composition.set_example(aspect, self.example(aspect, bin));
                    let drifts = self.composition.drifts();
                    let drift = drifts.iter().find(|drift| drift.aspect == aspect).map(ToString::to_string);
                    (EventKind::DriftAlarmed, drift.unwrap_or_default())
                }
                Change::Ended(aspect) => (EventKind::DriftEnded, format!("the mix of {aspect} is what it was again")),
            };
            events.push(Event { at: now, kind, text });
        }
        events
    }

    /// The commonest value of the last minute in this bin of this aspect, as a condition is written.
    fn example(&self, aspect: Aspect, bin: usize) -> Option<String> {
        let mut counts: HashMap<Item, (u32, &Row)> = HashMap::new();
        let rows = self.recent.since(Timestamp::EPOCH).map(|sampled| sampled.row);
        for row in rows.filter(|row| composition::bin(aspect, &row.marks) == bin) {
            counts.entry(composition::shown(aspect, &row.marks)).or_insert((0, row)).0 += 1;
        }
        let (item, (_, row)) = counts.into_iter().max_by_key(|(item, (count, _))| (*count, *item))?;
        self.texts.condition(&self.keys, item, std::iter::once(row)).map(|condition| condition.to_string())
    }

    /// The user agent, or word of it, that hardly any ordinary visitor has and many clients arrive with, if there is one.
    fn newcomers(&self, now: Timestamp) -> Option<Item> {
        let (item, arrivals) = self.newcomers.foremost(self.series.newest())?;
        // On a busy site a new browser comes with as many.
        (arrivals >= self.seasonal.normal_second(now, series::ARRIVALS).median).then_some(item)
    }

    /// Whether rules that stand hit less than half of what came with this value in the last seconds.
    fn is_unanswered(&self, newcomer: Item, standing: &[Vec<Item>], now: Timestamp) -> bool {
        let (mut all, mut answered) = (0.0, 0.0);
        for sampled in self.recent.since(now - NEWEST).filter(|sampled| sampled.row.marks.has(newcomer)) {
            all += sampled.cost(0);
            if standing.iter().any(|items| sampled.row.marks.has_all(items)) {
                answered += sampled.cost(0);
            }
        }
        2.0 * answered < all
    }

    /// Whether the site takes many times as long as usual for a request: it is about to fall over, whoever is to blame.
    fn site_is_slow(&self) -> bool {
        let (requests, upstream_time) = (CostKind::Requests as usize, CostKind::UpstreamTime as usize);
        let sums = self.series.last(SLOW_SECONDS * series::STEPS_PER_SECOND);
        let readings = self.trigger.readings();
        let normal = |cost: usize| readings[cost].normal.median;
        // On a site so quiet that nothing is usual there is nothing to compare with.
        if sums[requests] < SLOW_REQUESTS_MIN || normal(requests) < 1.0 || !self.seasonal.has_contrast() {
            return false;
        }
        let (each, usual) = (sums[upstream_time] / sums[requests], normal(upstream_time) / normal(requests));
        each >= (SLOW_FACTOR * usual).max(SLOW_TIME_MIN)
    }

    /// Whether no incident is open.
    pub fn is_calm(&self) -> bool {
        self.incidents.open().is_none()
    }

    /// Under which stress the server or the site is, or was until just now.
    pub fn stress(&self, now: Timestamp) -> Option<Stress> {
        self.stressed.filter(|(at, _)| now.since(*at) <= STRESS_MEMORY).map(|(_, stress)| stress)
    }

    fn permit(&self, now: Timestamp) -> Permit {
        self.enforce.permit(self.stress(now).is_some(), self.seasonal.is_cold())
    }

    /// Hands the gate's counts to the ladder; a rule that the gate did not speak of is counted from the sample.
    fn count_rules(&mut self, now: Timestamp, surroundings: &Surroundings) {
        let counted = |id: RuleId| surroundings.rule_traffic.iter().find(|traffic| traffic.rule == id);
        let mut traffic: Vec<RuleTraffic> = surroundings.rule_traffic.clone();
        for rule in self.ladder.rules().filter(|rule| matches!(rule.stage, Stage::Shadow | Stage::Enforced)) {
            if counted(rule.id).is_none()
                && let Some(items) = self.values.get(&rule.id)
            {
                let matched = self.matched_since(self.ticked, items).round() as u64;
                traffic.push(RuleTraffic { matched, ..RuleTraffic::none(rule.id) });
            }
        }
        for traffic in &traffic {
            self.ladder.count(now, traffic);
        }
    }

    /// Requests with all of these values since `from`, by the sample.
    fn matched_since(&self, from: Timestamp, items: &[Item]) -> f64 {
        let matching = self.recent.since(from).filter(|sampled| sampled.row.marks.has_all(items));
        matching.filter(|sampled| sampled.row.is_mineable()).map(|sampled| sampled.cost(0)).sum()
    }

    /// Puts retired rules in force again whose flood is back in this very second.
    fn arm_again(&mut self, now: Timestamp, permit: Permit) -> Vec<Event> {
        let from = now - Duration::from_secs(1);
        let retired: Vec<RuleId> = self
            .ladder
            .ready(now)
            .filter(|rule| {
                let matched = self.values.get(rule).map_or(0.0, |items| self.matched_since(from, items));
                matched >= REARM_REQUESTS_MIN && matched >= REARM_SHARE * self.series.last(4)[0]
            })
            .collect();
        let mut events = Vec::new();
        for id in retired {
            let onset = Exceeded { cost: CostKind::Requests, sign: Sign::Return, onset: from };
            events.extend(self.incidents.exceeded(now, &[onset], self.trigger.readings()));
            if let Some(incident) = self.incidents.open() {
                events.extend(self.ladder.arm(now, id, incident.id, permit));
            }
        }
        events
    }

    /// Hands what was found for an incident to the ladder, and remembers the values behind the conditions.
    fn take(
        &mut self,
        now: Timestamp,
        incident: u32,
        findings: Vec<(Vec<Item>, Finding)>,
        permit: Permit,
    ) -> Vec<Event> {
        let (items, findings): (Vec<Vec<Item>>, Vec<_>) = findings.into_iter().unzip();
        let conditions: Vec<_> = findings.iter().map(|finding| finding.conditions.clone()).collect();
        let events = self.ladder.take(now, incident, findings, permit);
        for (items, conditions) in items.into_iter().zip(conditions) {
            if let Some(rule) = self.ladder.rules().find(|rule| rule.conditions == conditions) {
                self.values.insert(rule.id, items);
            }
        }
        events
    }

    /// Looks into the open incident, when it is time, and hands what is found to the ladder.
    fn inquire(&mut self, now: Timestamp, permit: Permit, newcomer: Option<Item>) -> Vec<Event> {
        let Some(incident) = self.incidents.open() else { return Vec::new() };
        if incident.is_by_prior() && !self.seasonal.has_contrast() {
            return Vec::new();
        }
        let (id, onset, costs) = (incident.id, incident.onset, incident.costs.clone());
        let was_crowd = incident.was_crowd(now);
        let is_of_newcomers = incident.is_of_newcomers(now);
        let values = |rules: &mut dyn Iterator<Item = &Rule>| -> Vec<Vec<Item>> {
            rules.filter_map(|rule| self.values.get(&rule.id).cloned()).collect()
        };
        let standing = values(&mut self.ladder.rules().filter(|rule| rule.stage != Stage::Retired));
        let kept = values(&mut self.ladder.harmless_in_force());
        // Beside an incident that has been going on, as a crowd, what has just begun is small: it is looked for by itself.
        let is_fresh = incident.is_due_for_newcomers(now)
            && newcomer.is_some_and(|newcomer| self.is_unanswered(newcomer, &standing, now));
        if !is_fresh && !incident.is_due(now) {
            return Vec::new();
        }
        self.before.look(id, onset, &self.recent);
        let window = if is_fresh { Window::Newest } else { Window::Usual };
        // Nothing is learned during an incident: what is normal is laid out once for it, and for each hour of it. But what was seen in
        // the minute before it comes in late, which in the guard's first minutes is most of what there is.
        let known = if self.seasonal.is_by_minutes() { self.baseline.before_count().min(NORMAL_ROWS_MIN) } else { 0 };
        let key = (id, now.as_seconds() / 3600, known);
        let (_, reference) = match self.reference.take().filter(|(known, _)| *known == key) {
            Some(known) => self.reference.insert(known),
            None => {
                let normal = normal_rows(&self.baseline, &self.seasonal, now);
                self.reference.insert((key, Reference::new(&normal, &self.marked)))
            }
        };
        let insight = Inquiry {
            material: Material::live(&self.recent, reference, onset, now, window),
            costs: &costs,
            readings: self.trigger.readings(),
            // In ten minutes most of what a site has was not seen.
            seen: (!self.seasonal.is_cold()).then_some(&self.seen),
            texts: &self.texts,
            keys: &self.keys,
            marked: &self.marked,
            never_ban: &self.never_ban,
            rhythms: &self.rhythms,
            before: Some(&self.before),
            standing: &standing,
            kept: &kept,
            was_crowd,
            is_of_newcomers,
        }
        .look();
        let spared = insight.crowds.iter().filter_map(|conditions| self.ladder.spare(now, conditions));
        let mut events: Vec<Event> = spared.collect();
        let mut judgement = Judgement {
            explained_in_force: 0.0,
            verdict: insight.verdict,
            shapes: insight.shapes,
            explanation: insight.explanation,
            is_cleared: !insight.findings.is_empty() && insight.findings.iter().all(|(_, finding)| finding.cleared),
            is_news: insight.findings.iter().any(|(items, _)| !standing.contains(items)),
        };
        events.extend(self.take(now, id, insight.findings, permit));
        let still = self.ladder.is_enforcing();
        judgement.explained_in_force = self.ladder.explained(id);
        events.extend(self.incidents.judged(now, judgement, still));
        events
    }
}

/// What an observation cost, in the unit of each cost.
const fn observed_costs(observation: &Observation<'_>) -> [f64; COSTS] {
    let cost = &observation.cost;
    spent(cost.requests, cost.bytes, cost.upstream_time, cost.connection_time)
}

/// Costs in the unit of each.
const fn spent(requests: u32, bytes: u64, upstream_time: Duration, connection_time: Duration) -> [f64; COSTS] {
    [requests as f64, bytes as f64, upstream_time.as_secs_f64(), connection_time.as_secs_f64()]
}

/// How much an observation counts among others when not all can be kept: by all its costs, each beside a typical one.
fn importance(costs: &[f64; COSTS], typical: &[f64; COSTS]) -> f32 {
    let each = costs.iter().zip(typical).map(|(cost, typical)| (cost / typical).min(IMPORTANCE_MAX));
    (each.sum::<f64>() as f32).max(0.01)
}

/// The site is slow when, over so many seconds with at least so many requests, one takes so many times as long as usual, and so
/// many seconds at least: long enough for a visitor to notice.
const SLOW_SECONDS: u64 = 3;
const SLOW_REQUESTS_MIN: f64 = 10.0;
const SLOW_FACTOR: f64 = 5.0;
const SLOW_TIME_MIN: f64 = 0.2;

/// Requests in one second, and their share of all in it, at which a retired rule's flood counts as back.
const REARM_REQUESTS_MIN: f64 = 10.0;
const REARM_SHARE: f64 = 0.3;

/// The status of what a rule refuses.
const FORBIDDEN: u16 = 403;

/// Who answered, and with which status.
const fn outcome(outcome: Outcome) -> (Answered, u16) {
    match outcome {
        Outcome::Arrived | Outcome::UnderWay => (Answered::BySite, 0),
        Outcome::Served { status } | Outcome::Failed { status } => (Answered::BySite, status),
        Outcome::Refused(Refusal::Rule(_)) => (Answered::ByRule, 0),
        Outcome::Refused(Refusal::Misdirected) => (Answered::Misdirected, 421),
        Outcome::Refused(Refusal::Malformed) => (Answered::Otherwise, 400),
        Outcome::Refused(Refusal::Unfinished) => (Answered::Otherwise, 408),
        Outcome::Refused(Refusal::ClientLimit) => (Answered::Otherwise, 429),
        Outcome::Refused(Refusal::Overload) => (Answered::Otherwise, 503),
    }
}
