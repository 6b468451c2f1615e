//! What each moment asks of what was observed: whether the site is slow, what rules hit, whether a flood is back, and what an open
//! incident is about.

use std::collections::HashMap;
use std::time::Duration;

use crate::decision::{Aspect, CostKind, Event, EventKind, Finding, Permit, Rule, RuleId, Stage};
use crate::units::Timestamp;

use super::assets::Assets;
use super::composition::Change;
use super::incident::Judgement;
use super::inquiry::{CrowdBefore, InForce, Inquiry};
use super::material::{Material, NEWEST, NORMAL_ROWS_MIN, Window, normal_rows};
use super::recent::{Row, Sampled};
use super::reference::Reference;
use super::trigger::{Exceeded, Sign};
use super::values::Item;
use super::{Detector, RuleTraffic, Surroundings, composition, series};

/// The site is slow when, over so many seconds with at least so many requests, one takes so many times as long as usual, and so
/// many seconds at least: long enough for a visitor to notice.
const SLOW_SECONDS: u64 = 3;
const SLOW_REQUESTS_MIN: f64 = 10.0;
const SLOW_FACTOR: f64 = 5.0;
const SLOW_TIME_MIN: f64 = 0.2;

/// Requests in one second, and their share of all in it, at which a retired rule's flood counts as back.
const REARM_REQUESTS_MIN: f64 = 10.0;
const REARM_SHARE: f64 = 0.3;

impl Detector {
    /// The user agent, or word of it, that hardly any ordinary visitor has and many clients arrive with, if there is one.
    pub(super) fn newcomers(&self, now: Timestamp) -> Option<Item> {
        let (item, arrivals) = self.newcomers.foremost(self.series.newest())?;
        // On a busy site a new browser comes with as many.
        (arrivals >= self.seasonal.normal_second(now, series::ARRIVALS).median).then_some(item)
    }

    /// Whether rules that stand hit less than half of what came with this value in the last seconds.
    fn is_unmet(&self, newcomer: Item, standing: &[Vec<Item>], now: Timestamp) -> bool {
        let (mut all, mut met) = (0.0, 0.0);
        for sampled in self.recent.since(now - NEWEST).filter(|sampled| sampled.row.marks.has(newcomer)) {
            all += sampled.cost(0);
            if standing.iter().any(|items| sampled.row.marks.has_all(items)) {
                met += sampled.cost(0);
            }
        }
        2.0 * met < all
    }

    /// Whether the site takes many times as long as usual for a request: it is about to fall over, whoever is to blame.
    pub(super) fn site_is_slow(&self) -> bool {
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

    /// Hands the gate's counts to the ladder; a rule that the gate did not speak of is counted from the sample.
    pub(super) fn count_rules(&mut self, now: Timestamp, surroundings: &Surroundings) {
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
    pub(super) fn arm_again(&mut self, now: Timestamp, permit: Permit) -> Vec<Event> {
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
    pub(super) fn take(
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
    pub(super) fn inquire(&mut self, now: Timestamp, permit: Permit, newcomer: Option<Item>) -> Vec<Event> {
        let Some(incident) = self.incidents.open() else { return Vec::new() };
        if incident.is_by_prior() && !self.seasonal.has_contrast() {
            return Vec::new();
        }
        let (id, onset, costs) = (incident.id, incident.onset, incident.costs.clone());
        let (crowd_seen, was_crowd) = (incident.crowd_seen(), incident.was_crowd(now));
        let is_of_newcomers = incident.is_of_newcomers(now);
        let values = |rules: &mut dyn Iterator<Item = &Rule>| -> Vec<Vec<Item>> {
            rules.filter_map(|rule| self.values.get(&rule.id).cloned()).collect()
        };
        let standing = values(&mut self.ladder.rules().filter(|rule| rule.stage != Stage::Retired));
        let kept = values(&mut self.ladder.harmless_in_force());
        let in_force = self.ladder.to_be_told(now).filter_map(|(rule, since)| {
            self.values.get(&rule).map(|items| InForce { rule, items: items.clone(), since })
        });
        let in_force: Vec<InForce> = in_force.collect();
        // Beside an incident that has been going on, as a crowd, what has just begun is small: it is looked for by itself.
        let is_fresh = incident.is_due_for_newcomers(now)
            && newcomer.is_some_and(|newcomer| self.is_unmet(newcomer, &standing, now));
        if !is_fresh && !incident.is_due(now, self.recent.looked_at_since(onset)) {
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
        if crowd_seen.is_some() {
            let news: Vec<Sampled<'_>> = self.recent.since(self.readers.noted(id)).collect();
            self.readers.note(id, &news, &Assets::new(&self.marked, reference.files(), &news));
        }
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
            in_force: &in_force,
            crowd: crowd_seen.map(|seen| CrowdBefore { readers: &self.readers, seen }),
            was_crowd,
            is_of_newcomers,
        }
        .look();
        let told = insight.told.iter().filter_map(|(rule, told)| self.ladder.note_told(now, *rule, *told));
        let mut events: Vec<Event> = told.collect();
        if !events.is_empty() {
            self.incidents.note_crowd(now);
        }
        events.extend(
            insight.spared.iter().filter_map(|spared| self.ladder.spare(now, &spared.conditions, spared.is_side)),
        );
        let mut judgement = Judgement {
            explained_in_force: 0.0,
            verdict: insight.verdict,
            shapes: insight.shapes,
            explanation: insight.explanation,
            is_cleared: !insight.findings.is_empty() && insight.findings.iter().all(|(_, finding)| finding.cleared),
            crowd_seen: insight.crowd_seen,
            is_news: insight.findings.iter().any(|(items, _)| !standing.contains(items)),
        };
        events.extend(self.take(now, id, insight.findings, permit));
        let still = self.ladder.is_enforcing();
        judgement.explained_in_force = self.ladder.explained(id);
        events.extend(self.incidents.judged(now, judgement, still));
        events
    }

    /// Says once that the mix of normal traffic is no longer what it was, with an example of what has grown, and once that it is
    /// again.
    pub(super) fn drift(&mut self, now: Timestamp) -> Vec<Event> {
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
}
