//! Keeps what is normal and, when something is not, finds what the excess has in common.
//!
//! The path of an observation: [`Detector::observe`] (`observing`) counts its cost exactly (`series`), and keeps it in the
//! sample of the last minute (`recent`) with its values as hashes (`values`). A minute later it teaches the `baseline` what
//! requests look like, if nothing was wrong meanwhile; seconds and ten-second sums teach `seasonal` how many there are, and
//! `composition` watches that what is learned stays what it was.
//!
//! The path of a [`Detector::tick`]: the `trigger` compares the two, and `looking` does what follows. While an incident is
//! open, an `inquiry` mines conjunctions that tell the excess from what is normal (`mining`, `score`, `cover`), asks whether
//! it is a crowd (`crowd`), names well-known `shapes` and gives a `verdict`. What it finds climbs the ladder of
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
mod having;
mod incident;
mod index;
mod inquiry;
mod looking;
mod marked;
mod material;
mod mining;
mod newcomers;
mod observing;
mod people;
mod prior;
mod random;
mod readers;
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
pub mod statistics;
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
    Collateral, Condition, CostKind, Enforce, Event, Ladder, Numbers, Pardons, Permit, Rule, RuleId, Status, Veto,
};
use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

use baseline::Baseline;
use before::Before;
use cold::Suspicion;
use composition::Composition;
use incident::Incidents;
use marked::Marked;
use material::normal_rows;
use newcomers::Newcomers;
use random::Random;
use readers::Readers;
use recent::Recent;
use reference::Reference;
use restraint::Restraint;
use seasonal::Seasonal;
use seen::Seen;
use series::Series;
use shapes::Rhythms;
use trigger::Trigger;
use values::{Item, Keys, Texts};

pub use saved::RestoreError;
pub use surroundings::{Pressure, RuleTraffic, Stress, Surroundings};

const COSTS: usize = CostKind::ALL.len();

/// Stress counts for this long after it was last seen, so that a rule that relieves the server is not taken down by its
/// own success.
const STRESS_MEMORY: Duration = Duration::from_secs(10);

/// An agent is new while at most this share of the votes of 28 days had it.
const RARE_SHARE: f64 = 0.001;

/// What one request costs on an ordinary site, until this one's is known.
const TYPICAL: [f64; COSTS] = [1.0, 10_000.0, 0.01, 0.1];

/// The most that a search holds at once, in bytes. What is normal in columns: 1.5 MiB. Bitsets of 1.5 KiB each (2,048 drawn
/// rows of the excess, as many of the amount of normal traffic, 8,192 of its votes) for 480 values, 256 conjunctions followed
/// and 64 finalists: 1.2 MiB. The list of the last minute's rows that a look sees: 0.3 MiB; what is indexed of these, and of what is mined: 1 MiB. Counts of values,
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
    readers: Readers,
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
            readers: Readers::new(),
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
        let item = |condition: &Condition| Item { attribute: condition.attribute, hash: self.keys.asked(condition) };
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
            + self.readers.memory_bytes()
            + MINING_BYTES_MAX
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
}
