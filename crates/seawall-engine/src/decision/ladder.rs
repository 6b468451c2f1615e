//! The ladder that rules go up and down: proposed, or shadow for a second, then throttle, refuse or drop, then step by step
//! back, retired, and armed again. It holds every rule ([`Held`] knows the steps), enforces the caps, and takes back what hurts
//! the wrong ones. It never looks at requests: findings and counts are handed in.

mod vetoes;

use std::time::Duration;

use crate::detection::RuleTraffic;
use crate::units::Timestamp;

use super::held::{Finding, HARMLESS_COLLATERAL, Held, LOST};
use super::policy::Permit;
use super::veto::Vetoes;
use super::{Condition, Event, EventKind, Numbers, Pardons, Rule, RuleId, RuleStatus, Stage};

/// Automatic rules that are proposed, in shadow or enforced at once.
const RULES_MAX: usize = 16;

/// Of these, for one incident.
const RULES_PER_INCIDENT_MAX: usize = 5;

/// Retired rules that are remembered.
const RETIRED_MAX: usize = 16;

/// Conditions that hurt the wrong ones and are not to be tried again for a while.
const BARRED_MAX: usize = 32;

/// Rules explain a flood together when they explain this share of it.
const EXPLAINED_SHARE: f32 = 0.8;

/// A rule without the mark of a sender who is nobody else is put in force again without being asked about anew for so long after it was
/// let go, one with it for longer: what it names may since be what people ask for.
const ARMED_AGAIN: Duration = Duration::from_secs(600);
const ARMED_AGAIN_BY_MARK: Duration = Duration::from_secs(86_400);

/// A proposal is shown this long after it was last found.
const PROPOSAL_LIFE: Duration = Duration::from_secs(60);

/// What rules have met of late is of so many seconds.
const MET_OF_LATE_SECONDS: u64 = 10;

/// How long conditions that hurt the wrong ones are barred.
const BARRED: Duration = Duration::from_secs(3600);

/// Every automatic rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ladder {
    /// Whether the guard is beside a server.
    beside: bool,
    rules: Vec<Held>,
    barred: Vec<(Vec<Condition>, Timestamp)>,
    vetoes: Vetoes,
    pardons: Pardons,
    /// The number that was given last.
    last: u32,
    generation: u64,
}

impl Ladder {
    /// Without rules, of a guard in line or beside a server.
    pub(crate) fn new(beside: bool) -> Self {
        Self { beside, ..Self::default() }
    }

    /// Whether the guard is beside a server.
    pub(crate) const fn is_beside(&self) -> bool {
        self.beside
    }

    /// Changes whenever what the gate needs changes.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// The rules that the gate needs, in shadow and enforced: of those that match, the first in force acts, so the least harmful
    /// come first.
    pub(crate) fn for_gate(&self) -> Vec<Rule> {
        let gate = |held: &&Held| matches!(held.rule.stage, Stage::Shadow | Stage::Enforced);
        let mut rules: Vec<&Held> = self.rules.iter().filter(gate).collect();
        rules.sort_by(|one, other| one.evidence.collateral_upper.total_cmp(&other.evidence.collateral_upper));
        rules.into_iter().map(|held| held.rule.clone()).collect()
    }

    /// Whom the gate is to forgive.
    pub(crate) const fn pardons(&self) -> &Pardons {
        &self.pardons
    }

    /// The number, stage and conditions of every rule.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(|held| &held.rule)
    }

    /// The rules in force that hurt hardly anybody.
    pub(crate) fn harmless_in_force(&self) -> impl Iterator<Item = &Rule> {
        let held = self.rules.iter().filter(|held| held.rule.stage == Stage::Enforced);
        held.filter(|held| held.evidence.collateral_upper <= HARMLESS_COLLATERAL).map(|held| &held.rule)
    }

    /// The rules of an incident.
    pub(crate) fn of_incident(&self, incident: u32) -> Vec<RuleId> {
        let held = self.rules.iter().filter(|held| held.incident == incident).map(|held| held.rule.id);
        held.chain(self.vetoes.iter().filter(|veto| veto.rule.incident == incident).map(|veto| veto.rule.id)).collect()
    }

    /// The share of an incident's excess that its rules in force have explained, each of what those before it left.
    pub(crate) fn explained(&self, incident: u32) -> f32 {
        let in_force = self.rules.iter().filter(|held| held.incident == incident && held.rule.stage == Stage::Enforced);
        explained(in_force)
    }

    /// Whether any rule is in force.
    pub(crate) fn is_enforcing(&self) -> bool {
        self.rules.iter().any(|held| held.rule.stage == Stage::Enforced)
    }

    pub(crate) fn status(&self) -> Vec<RuleStatus> {
        let order = |rule: &RuleStatus| match rule.stage {
            Stage::Enforced => 0,
            Stage::Shadow => 1,
            Stage::Proposed => 2,
            Stage::Vetoed => 3,
            Stage::Retired => 4,
        };
        let mut rules: Vec<RuleStatus> = self.rules.iter().map(Held::status).chain(self.vetoes.status()).collect();
        rules.sort_by_key(|rule| (order(rule), std::cmp::Reverse(rule.id)));
        rules
    }

    /// Counts what the rules have met.
    pub(crate) fn count(&mut self, now: Timestamp, traffic: &RuleTraffic) {
        if let Some(held) = self.rules.iter_mut().find(|held| held.rule.id == traffic.rule) {
            held.met.count(now, traffic);
        }
    }

    /// Takes what the search has found for an incident.
    pub(crate) fn take(&mut self, now: Timestamp, incident: u32, findings: Vec<Finding>, permit: Permit) -> Vec<Event> {
        let mut events = Vec::new();
        self.barred.retain(|(_, until)| *until > now);
        for finding in findings {
            if self.barred.iter().any(|(conditions, _)| *conditions == finding.conditions) {
                continue;
            }
            if let Some(vetoed) = self.vetoes.against(&finding.conditions, &finding.evidence.closure) {
                events.extend(vetoed.find_again(now, incident, &finding));
                continue;
            }
            if let Some(held) = self.rules.iter_mut().find(|held| held.rule.conditions == finding.conditions) {
                held.found_last = now;
                // Of one that was let go only what is seen now counts.
                held.cleared = finding.cleared || (held.cleared && held.rule.stage != Stage::Retired);
                held.has_foreign_mark &= finding.has_foreign_mark;
                if held.rule.stage == Stage::Retired {
                    let id = held.rule.id;
                    held.learn(finding);
                    events.extend(self.arm(now, id, incident, permit));
                } else if held.rule.stage != Stage::Enforced || finding.evidence.score > held.evidence.score {
                    // What speaks for a rule in force was measured before it was; it is kept unless more is known.
                    held.learn(finding);
                }
                continue;
            }
            if !self.has_room(incident) && !self.make_room(now, incident, &mut events) {
                continue;
            }
            let mut held = Held::new(self.number(), incident, finding, now, self.beside);
            events.push(match held.allowed(permit) {
                Permit::Propose(reason) => held.propose(now, reason),
                Permit::Throttle | Permit::Refuse => held.shadow(now),
            });
            self.rules.push(held);
            self.generation += 1;
        }
        events.extend(self.soften_harmful(now, incident));
        events
    }

    /// Slows down what rules in force refuse that the search no longer chooses and that could hurt visitors, once others in
    /// force explain the flood with less harm: the first seconds of a flood often have more in common than the whole. Those
    /// others act before it, so what it meets is what they leave.
    fn soften_harmful(&mut self, now: Timestamp, incident: u32) -> Vec<Event> {
        let chosen =
            |held: &&Held| held.incident == incident && held.rule.stage == Stage::Enforced && held.found_last == now;
        if explained(self.rules.iter().filter(chosen)) < EXPLAINED_SHARE {
            return Vec::new();
        }
        let harm = |held: &Held| held.evidence.collateral_upper;
        let most = self.rules.iter().filter(chosen).map(harm).fold(HARMLESS_COLLATERAL, f32::max);
        let outdone = self.rules.iter_mut().filter(|held| {
            held.incident == incident
                && held.rule.stage == Stage::Enforced
                && now.since(held.found_last) > LOST
                && harm(held) > most
        });
        let events: Vec<Event> = outdone.filter_map(|held| held.soften(now)).collect();
        self.generation += u64::from(!events.is_empty());
        events
    }

    /// Lets time pass: shadows end, rules are put in force, made harder, renewed, retired, taken back.
    pub(crate) fn step(&mut self, now: Timestamp, permit: Permit) -> Vec<Event> {
        self.barred.iter_mut().for_each(|(_, until)| *until = (*until).min(now + BARRED));
        let mut events = Vec::new();
        let mut gone = Vec::new();
        for held in &mut self.rules {
            let event = match held.rule.stage {
                Stage::Proposed => match held.allowed(permit) {
                    Permit::Propose(_) => {
                        if now.since(held.found_last) > PROPOSAL_LIFE {
                            gone.push(held.rule.id);
                        }
                        None
                    }
                    Permit::Throttle | Permit::Refuse => (now.since(held.found_last) <= LOST).then(|| held.shadow(now)),
                },
                Stage::Shadow => held.end_shadow(now, permit, &mut gone),
                Stage::Enforced => held.go_on(now, permit),
                Stage::Vetoed | Stage::Retired => None,
            };
            events.extend(event);
        }
        if !events.is_empty() || !gone.is_empty() {
            self.generation += 1;
        }
        let withdrawn: Vec<RuleId> =
            self.rules.iter().filter(|held| held.is_live() && held.is_harmful()).map(|held| held.rule.id).collect();
        for id in withdrawn {
            if let Some((held, event)) = self.take_back(id, now, "it hits known good clients") {
                if self.barred.len() >= BARRED_MAX {
                    self.barred.remove(0);
                }
                self.barred.push((held.rule.conditions, now + BARRED));
                events.push(event);
            }
        }
        self.rules.retain(|held| !gone.contains(&held.rule.id));
        self.forget_oldest();
        events
    }

    /// The last number that was given to a rule.
    pub(crate) const fn last_number(&self) -> u32 {
        self.last
    }

    /// Goes on after this number, which another had before a restart.
    pub(crate) fn number_after(&mut self, last: u32) {
        self.last = self.last.max(last);
    }

    /// The number of the next rule; after the highest they begin anew, with those that no present rule has.
    fn number(&mut self) -> RuleId {
        loop {
            self.last = if self.last < Numbers::RULE_MAX { self.last + 1 } else { 1 };
            let id = RuleId(self.last);
            let is_vetoed = self.vetoes.iter().any(|veto| veto.rule.id == id);
            if !is_vetoed && self.rules.iter().all(|held| held.rule.id != id) {
                return id;
            }
        }
    }

    /// Whether one more rule may be tried, for this incident and in all.
    fn has_room(&self, incident: u32) -> bool {
        let live = || self.rules.iter().filter(|held| held.is_live());
        live().count() < RULES_MAX && live().filter(|held| held.incident == incident).count() < RULES_PER_INCIDENT_MAX
    }

    /// Lets a rule go that the search no longer finds, for one that it does: the one that has met least of late. A flood that goes on
    /// under other names would else use up all that there may be. It is in force again as soon as its own flood is.
    fn make_room(&mut self, now: Timestamp, incident: u32, events: &mut Vec<Event>) -> bool {
        let is_full_of_own = self.rules.iter().filter(|held| held.is_live() && held.incident == incident).count()
            >= RULES_PER_INCIDENT_MAX;
        let met = |held: &Held| held.met.last(MET_OF_LATE_SECONDS, now);
        let least = self
            .rules
            .iter_mut()
            .filter(|held| held.is_live() && now.since(held.found_last) > LOST)
            .filter(|held| !is_full_of_own || held.incident == incident)
            .min_by(|one, other| met(one).total_cmp(&met(other)));
        let Some(held) = least else { return false };
        events.push(held.retire(now, "another explains more"));
        self.generation += 1;
        true
    }

    /// The retired rules that may be put in force again without a search.
    pub(crate) fn ready(&self, now: Timestamp) -> impl Iterator<Item = RuleId> {
        let retired = self.rules.iter().filter(|held| held.rule.stage == Stage::Retired);
        let is_fresh = move |held: &&Held| {
            let age = if held.has_foreign_mark { ARMED_AGAIN_BY_MARK } else { ARMED_AGAIN };
            now.since(held.stepped) <= age
        };
        retired.filter(is_fresh).map(|held| held.rule.id)
    }

    /// Puts a retired rule in force at once, or proposes it again, for this incident; not beyond the most that there may be.
    pub(crate) fn arm(&mut self, now: Timestamp, id: RuleId, incident: u32, permit: Permit) -> Option<Event> {
        if !self.has_room(incident) {
            return None;
        }
        let held = self.rules.iter_mut().find(|held| held.rule.id == id && held.rule.stage == Stage::Retired)?;
        held.incident = incident;
        held.found_last = now;
        self.generation += 1;
        Some(match held.allowed(permit) {
            Permit::Propose(reason) => held.propose(now, reason),
            Permit::Throttle | Permit::Refuse if !held.cleared => held.shadow(now),
            Permit::Throttle | Permit::Refuse => held.enforce(now, permit, "armed again: the flood is back"),
        })
    }

    /// Removes what is proposed or in shadow under these conditions, because it was established that it is a crowd; and lets go what is in
    /// force, but for what names a sender of whom there was nobody before.
    pub(crate) fn spare(&mut self, now: Timestamp, conditions: &[Condition]) -> Option<Event> {
        let at = self.rules.iter().position(|held| held.is_live() && held.rule.conditions == conditions)?;
        let held = &mut self.rules[at];
        let is_in_force = held.rule.stage == Stage::Enforced;
        if is_in_force && held.has_foreign_mark {
            return None;
        }
        self.generation += 1;
        if is_in_force {
            held.cleared = false;
            return Some(held.retire(now, "what it meets is a crowd"));
        }
        self.rules.remove(at);
        None
    }

    /// What may not be tried again, and until when.
    pub(crate) fn barred(&self) -> &[(Vec<Condition>, Timestamp)] {
        &self.barred
    }

    /// Takes up what was barred before a restart. However far ahead the clock was then, [`Self::step`] has none of it last for longer than
    /// what is barred now.
    pub(crate) fn bar_again(&mut self, barred: Vec<(Vec<Condition>, Timestamp)>) {
        self.barred = barred;
        self.barred.truncate(BARRED_MAX);
    }

    /// Turns every rule in force or in shadow into a proposal: the operator wants none enforced.
    pub(crate) fn suspend(&mut self) {
        self.pardons.add_everyone();
        self.generation += 1;
        for held in self.rules.iter_mut().filter(|held| matches!(held.rule.stage, Stage::Shadow | Stage::Enforced)) {
            held.rule.stage = Stage::Proposed;
            held.expires = None;
            held.reason = "proposed: the operator wants no rule enforced".to_owned();
        }
    }

    fn take_back(&mut self, id: RuleId, now: Timestamp, why: &str) -> Option<(Held, Event)> {
        let at = self.rules.iter().position(|held| held.rule.id == id)?;
        let held = self.rules.remove(at);
        let text = format!("{id} withdrawn, {why}: {}", held.rule);
        self.pardons.add(id);
        self.generation += 1;
        Some((held, Event { at: now, kind: EventKind::RuleWithdrawn, text }))
    }

    fn forget_oldest(&mut self) {
        let retired = self.rules.iter().filter(|held| held.rule.stage == Stage::Retired).count();
        for _ in RETIRED_MAX..retired {
            if let Some(oldest) = self.rules.iter().position(|held| held.rule.stage == Stage::Retired) {
                self.rules.remove(oldest);
            }
        }
    }
}

/// The share of an excess that rules explain, each of what those before it left.
fn explained<'h>(rules: impl Iterator<Item = &'h Held>) -> f32 {
    1.0 - rules.map(|held| 1.0 - held.of_left.clamp(0.0, 1.0)).product::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Action, Evidence};
    use crate::observation::attribute::Attribute;

    pub(super) fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(1_000_000_000 + millis * 1000)
    }

    pub(super) fn finding(agent: &str) -> Finding {
        Finding {
            conditions: vec![Condition::new(Attribute::UserAgent, agent.as_bytes())],
            evidence: Evidence { score: 0.9, coverage: 0.95, collateral_upper: 0.001, ..Evidence::default() },
            normal_rate: 0.0,
            of_left: 0.95,
            cleared: true,
            has_foreign_mark: true,
        }
    }

    fn met(id: u32, matched: u64) -> RuleTraffic {
        RuleTraffic { matched, known: 10, ..RuleTraffic::none(RuleId(id)) }
    }

    /// Finds, counts and steps once each quarter of a second.
    pub(super) fn run(
        ladder: &mut Ladder,
        millis: std::ops::Range<u64>,
        finding: Option<&Finding>,
        permit: Permit,
    ) -> Vec<EventKind> {
        let mut kinds = Vec::new();
        for now in millis.step_by(250).map(at) {
            if let Some(finding) = finding {
                ladder.count(now, &met(1, 10));
                kinds.extend(ladder.take(now, 1, vec![finding.clone()], permit).into_iter().map(|event| event.kind));
            }
            kinds.extend(ladder.step(now, permit).into_iter().map(|event| event.kind));
        }
        kinds
    }

    #[test]
    fn rules_that_come_back_are_no_more_than_new_ones_may_be() {
        let mut ladder = Ladder::default();
        // As many as an incident may have, three times over, each lot retired before the next.
        for lot in 0..3_u64 {
            let findings: Vec<Finding> = (0..5).map(|number| finding(&format!("{lot} {number}"))).collect();
            for step in 0..2000 {
                let now = at(lot * 1_000_000 + step * 250);
                let found = if step < 8 { findings.clone() } else { Vec::new() };
                (1..=15).for_each(|id| ladder.count(now, &met(id, if step < 8 { 10 } else { 0 })));
                ladder.take(now, lot as u32, found, Permit::Refuse);
                ladder.step(now, Permit::Refuse);
            }
        }
        assert_eq!(ladder.rules().filter(|rule| rule.stage == Stage::Retired).count(), 15, "all are retired");
        let now = at(6_000_000);
        let armed: Vec<Event> = (1..=15).filter_map(|id| ladder.arm(now, RuleId(id), 9, Permit::Refuse)).collect();
        assert_eq!(armed.len(), RULES_PER_INCIDENT_MAX);
        assert_eq!(ladder.rules().filter(|rule| rule.stage == Stage::Enforced).count(), RULES_PER_INCIDENT_MAX);
    }

    #[test]
    fn beside_a_server_rules_say_what_they_would_do() {
        let told = |beside, mut finding: Finding| {
            let mut ladder = Ladder::new(beside);
            let mut texts = Vec::new();
            for now in (0..15_000).step_by(250).map(at) {
                ladder.count(now, &met(1, 10));
                // Found out later: it slows down first.
                finding.evidence.collateral_upper = if now < at(5_000) { 0.005 } else { 0.001 };
                finding.evidence.score = if now < at(5_000) { 0.4 } else { 0.9 };
                texts.extend(ladder.take(now, 1, vec![finding.clone()], Permit::Refuse));
                texts.extend(ladder.step(now, Permit::Refuse));
            }
            texts.retain(|event| event.kind == EventKind::RuleEnforced);
            let texts: Vec<String> = texts.into_iter().map(|event| event.text).collect();
            (texts.join("\n"), ladder.status().remove(0).reason)
        };
        let (events, reason) = told(false, finding("flood"));
        assert!(
            events.contains("R1 throttles to 1.0 requests/s, ") && events.contains("R1 refuses with 403, "),
            "{events}"
        );
        assert!(reason.starts_with("enforced: it refuses with 403, since "), "{reason}");
        let (events, reason) = told(true, finding("flood"));
        assert!(events.contains("R1 would slow down to 1.0 requests/s, "), "{events}");
        assert!(events.contains("R1 would refuse with 403, ") && !events.contains("refuses"), "{events}");
        assert!(reason.starts_with("decided: it would refuse with 403, since "), "{reason}");
    }

    #[test]
    fn a_rule_goes_up_comes_down_and_is_armed_again() {
        let mut ladder = Ladder::default();
        let finding = finding("bad");
        let up = run(&mut ladder, 0..30_000, Some(&finding), Permit::Refuse);
        assert_eq!(up, [EventKind::RuleShadowed, EventKind::RuleEnforced]);
        assert_eq!(ladder.status()[0].enforced, Some(at(1000)));
        assert_eq!(ladder.for_gate()[0].action, Action::Refuse { status: 403 });
        // Nothing comes: after a minute it slows down only, after one more it is let go.
        assert_eq!(run(&mut ladder, 30_000..120_000, None, Permit::Refuse), [EventKind::RuleRetired]);
        assert!(matches!(ladder.for_gate()[0].action, Action::Throttle { .. }));
        assert_eq!(run(&mut ladder, 120_000..200_000, None, Permit::Refuse), [EventKind::RuleRetired]);
        assert!(ladder.for_gate().is_empty());
        let again = run(&mut ladder, 200_000..200_250, Some(&finding), Permit::Refuse);
        assert_eq!(again, [EventKind::RuleEnforced]);
    }

    #[test]
    fn what_comes_back_meets_the_whole_rule_within_a_window_and_a_more_patient_one() {
        let mut ladder = Ladder::default();
        let finding = finding("bad");
        run(&mut ladder, 0..30_000, Some(&finding), Permit::Refuse);
        assert_eq!(run(&mut ladder, 30_000..100_000, None, Permit::Refuse), [EventKind::RuleRetired]);
        // It is back with forty requests a second.
        let back = run(&mut ladder, 100_000..101_000, Some(&finding), Permit::Refuse);
        assert_eq!(back, [EventKind::RuleEnforced]);
        assert_eq!(ladder.for_gate()[0].action, Action::Refuse { status: 403 });
        // The next pause of as long is waited through, so the rule does not flap.
        assert_eq!(run(&mut ladder, 101_000..171_000, None, Permit::Refuse), []);
        assert_eq!(run(&mut ladder, 171_000..230_000, None, Permit::Refuse), [EventKind::RuleRetired]);
    }

    #[test]
    fn a_trickle_neither_keeps_a_rule_nor_brings_it_back() {
        let mut ladder = Ladder::default();
        run(&mut ladder, 0..30_000, Some(&finding("bad")), Permit::Refuse);
        let mut kinds = Vec::new();
        for tick in 120..1200_u64 {
            if tick % 50 == 0 {
                ladder.count(at(tick * 250), &met(1, 1));
            }
            kinds.extend(ladder.step(at(tick * 250), Permit::Refuse).into_iter().map(|event| event.kind));
        }
        assert_eq!(kinds, [EventKind::RuleRetired, EventKind::RuleRetired]);
    }

    /// A flood of which this share goes on after refusals, for a minute; what the rule does at its end.
    fn action_against(finding: &Finding, refused_again: u64, matched_known: u64) -> (Ladder, Action) {
        let mut ladder = Ladder::default();
        for tick in 0..240 {
            let traffic = RuleTraffic { refused: 10, refused_again, matched_known, known: 1000, ..met(1, 10) };
            ladder.count(at(tick * 250), &traffic);
            ladder.take(at(tick * 250), 1, vec![finding.clone()], Permit::Refuse);
            ladder.step(at(tick * 250), Permit::Refuse);
        }
        let action = ladder.for_gate()[0].action;
        (ladder, action)
    }

    #[test]
    fn only_hard_evidence_against_those_who_go_on_drops() {
        let refuse = Action::Refuse { status: 403 };
        let hard = finding("bad");
        assert_eq!(action_against(&hard, 9, 0).1, Action::Drop);
        assert_eq!(action_against(&hard, 2, 0).1, refuse);
        assert_eq!(action_against(&Finding { has_foreign_mark: false, ..hard.clone() }, 9, 0).1, refuse);
        let mut wide = hard;
        wide.evidence.collateral_upper = 0.002;
        assert_eq!(action_against(&wide, 9, 0).1, refuse);
    }

    #[test]
    fn a_rule_that_drops_counts_and_gives_way_and_is_withdrawn() {
        let (mut ladder, action) = action_against(&finding("bad"), 9, 0);
        assert_eq!(action, Action::Drop);
        let matched = ladder.status()[0].matched;
        // A client of good standing: it refuses from now on, and says so.
        ladder.count(at(60_000), &RuleTraffic { matched_known: 1, known: 1000, ..met(1, 10) });
        let events = ladder.step(at(60_000), Permit::Refuse);
        assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::RuleRetired]);
        assert_eq!(ladder.for_gate()[0].action, Action::Refuse { status: 403 });
        assert_eq!(ladder.status()[0].matched, matched + 10);
        // More of them: it is withdrawn as any other.
        ladder.count(
            at(60_250),
            &RuleTraffic { matched_known: 20_000, known_clients: 9, known: 20_000, ..met(1, 20_000) },
        );
        let events = ladder.step(at(60_250), Permit::Refuse);
        assert_eq!(events.last().map(|event| event.kind), Some(EventKind::RuleWithdrawn));
    }

    #[test]
    fn numbers_go_on_after_those_of_before_and_never_reach_the_operators() {
        let number_after = |last: u32| {
            let mut ladder = Ladder::default();
            ladder.number_after(last);
            ladder.number_after(7);
            ladder.take(at(0), 1, vec![finding("one"), finding("two")], Permit::Refuse);
            assert!(ladder.last_number() >= ladder.status()[1].id.0);
            ladder.status().iter().map(|rule| rule.id.0).rev().collect::<Vec<_>>()
        };
        assert_eq!(number_after(12), [13, 14]);
        assert_eq!(number_after(3), [8, 9]);
        assert_eq!(number_after(9_999), [1, 10_000]);
        assert_eq!(number_after(u32::MAX), [1, 2]);
        // One that is still there keeps its number.
        let mut ladder = Ladder::default();
        ladder.take(at(0), 1, vec![finding("first")], Permit::Refuse);
        ladder.number_after(u32::MAX);
        ladder.take(at(0), 1, vec![finding("second")], Permit::Refuse);
        assert_eq!(ladder.status().iter().map(|rule| rule.id.0).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn its_life_doubles_while_the_flood_goes_on() {
        let mut ladder = Ladder::default();
        run(&mut ladder, 0..400_000, Some(&finding("bad")), Permit::Refuse);
        let status = &ladder.status()[0];
        // In force at 1 s, renewed at 61 s for two minutes and at 181 s for four.
        assert_eq!(status.expires, Some(at(421_000)));
    }

    #[test]
    fn a_young_baseline_throttles_for_a_minute() {
        let mut ladder = Ladder::default();
        let finding = finding("bad");
        run(&mut ladder, 0..5000, Some(&finding), Permit::Throttle);
        assert!(matches!(ladder.for_gate()[0].action, Action::Throttle { .. }));
        assert_eq!(ladder.status()[0].expires, Some(at(61_000)));
    }

    #[test]
    fn nothing_is_enforced_that_is_not_cleared_or_not_met() {
        let mut ladder = Ladder::default();
        let crowd = Finding { cleared: false, ..finding("crowd") };
        assert_eq!(run(&mut ladder, 0..30_000, Some(&crowd), Permit::Refuse), [EventKind::RuleShadowed]);
        assert!(ladder.spare(at(100), &crowd.conditions).is_none());
        assert!(ladder.status().is_empty());
        let mut ladder = Ladder::default();
        let events: Vec<Event> = (0..20)
            .flat_map(|tick| {
                let mut events = ladder.take(at(tick * 250), 1, vec![finding("unmet")], Permit::Refuse);
                events.extend(ladder.step(at(tick * 250), Permit::Refuse));
                events
            })
            .collect();
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn a_rule_that_could_hurt_only_slows_down_once_another_explains_the_flood() {
        let with = |agent: &str, coverage: f32, collateral_upper: f32| {
            let mut finding = finding(agent);
            finding.evidence = Evidence { coverage, collateral_upper, ..finding.evidence };
            finding.of_left = coverage;
            finding
        };
        let wide = with("wide", 0.9, 0.004);
        let refusing = |second: &Finding| -> Vec<String> {
            let mut ladder = Ladder::default();
            for tick in 0..120 {
                (1..=2).for_each(|id| ladder.count(at(tick * 250), &met(id, 10)));
                let found = if tick < 20 { &wide } else { second };
                ladder.take(at(tick * 250), 1, vec![found.clone()], Permit::Refuse);
                ladder.step(at(tick * 250), Permit::Refuse);
            }
            assert_eq!(ladder.for_gate().len(), 2);
            let refusing = |rule: &&Rule| !matches!(rule.action, Action::Throttle { .. });
            ladder.for_gate().iter().filter(refusing).map(ToString::to_string).collect()
        };
        assert_eq!(refusing(&with("better", 0.9, 0.0004)), ["user-agent = \"better\""]);
        // One that explains half of the flood, or is as harmful, replaces nothing; the least harmful acts first.
        assert_eq!(refusing(&with("half", 0.5, 0.0004)), ["user-agent = \"half\"", "user-agent = \"wide\""]);
        assert_eq!(refusing(&with("as wide", 0.9, 0.005)), ["user-agent = \"wide\"", "user-agent = \"as wide\""]);
    }

    #[test]
    fn harm_takes_a_rule_back_and_bars_it() {
        let mut ladder = Ladder::default();
        run(&mut ladder, 0..5000, Some(&finding("bad")), Permit::Refuse);
        ladder.count(at(5000), &RuleTraffic { matched_known: 9, known_clients: 9, known: 100, ..met(1, 9) });
        let events = ladder.step(at(5000), Permit::Refuse);
        assert_eq!(events.last().map(|event| event.kind), Some(EventKind::RuleWithdrawn));
        assert!(ladder.take(at(6000), 1, vec![finding("bad")], Permit::Refuse).is_empty());
        assert!(ladder.for_gate().is_empty());
    }

    #[test]
    fn what_was_barred_by_a_clock_that_was_far_ahead_is_barred_for_an_hour() {
        let hour = BARRED.as_millis() as u64;
        let mut ladder = Ladder::default();
        ladder.bar_again(vec![(finding("bad").conditions, at(1_000 * hour))]);
        for (moment, is_barred) in [(0, true), (hour - 1, true), (hour, false)] {
            ladder.step(at(moment), Permit::Refuse);
            let found = ladder.take(at(moment), 1, vec![finding("bad")], Permit::Refuse);
            assert_eq!(found.is_empty(), is_barred, "after {moment} ms");
        }
    }

    #[test]
    fn caps_hold() {
        let mut ladder = Ladder::default();
        for incident in 0..10 {
            let findings = (0..10).map(|number| finding(&format!("{incident} {number}"))).collect();
            ladder.take(at(0), incident, findings, Permit::Refuse);
        }
        assert_eq!(ladder.for_gate().len(), RULES_MAX);
        assert_eq!(ladder.of_incident(0).len(), RULES_PER_INCIDENT_MAX);
    }

    #[test]
    fn when_nothing_is_to_be_enforced_nothing_is() {
        let mut ladder = Ladder::default();
        ladder.take(at(0), 1, vec![finding("bad")], Permit::Refuse);
        let generation = ladder.generation();
        ladder.suspend();
        assert!(ladder.for_gate().is_empty());
        assert_ne!(ladder.generation(), generation);
        assert_eq!(ladder.status()[0].stage, Stage::Proposed);
    }
}
