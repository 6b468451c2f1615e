//! The ladder that rules go up and down: proposed, or shadow for a second, then throttle, refuse or drop, then step by step
//! back, retired, and armed again. It holds every rule ([`Held`] knows the steps), enforces the caps, and takes back what hurts
//! the wrong ones. It never looks at requests: findings and counts are handed in.

mod vetoes;

use std::time::Duration;

use crate::detection::RuleTraffic;
use crate::units::Timestamp;

use super::asking::Told;
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

/// A proposal is shown this long after it was last found.
const PROPOSAL_LIFE: Duration = Duration::from_secs(60);

/// A crowd may be taken for a flood for so long before it is known.
const NOT_YET_A_CROWD: Duration = Duration::from_secs(60);

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

    /// The rules in force of which it is to be said what they do who are given something by the site, and since when they are: those that
    /// have asked, and one of the others.
    pub(crate) fn to_be_told(&self, now: Timestamp) -> impl Iterator<Item = (RuleId, Timestamp)> {
        let in_force = || self.rules.iter().filter(|held| held.rule.stage == Stage::Enforced);
        let untold = in_force().filter_map(|held| Some((held.is_untold_since(now)?, held)));
        let longest = untold.min_by_key(|(since, _)| *since).map(|(_, held)| held);
        let held = in_force().filter(|held| held.has_asked()).chain(longest);
        held.filter_map(|held| Some((held.rule.id, held.enforced?)))
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
                if held.is_spared(now) {
                    continue;
                }
                held.found_last = now;
                // Of one that was let go only what is seen now counts.
                held.cleared = finding.cleared || (held.cleared && held.rule.stage != Stage::Retired);
                held.has_foreign_mark &= finding.has_foreign_mark;
                // What is found while next to nobody comes through says nothing of it.
                if held.rule.stage != Stage::Enforced && finding.cleared {
                    held.learn_whom_it_meets(now, &finding);
                }
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
        let mut is_changed = false;
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
            is_changed |= held.rule.stage == Stage::Enforced && held.probe(now);
        }
        if !events.is_empty() || !gone.is_empty() || is_changed {
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
        let may_be = move |held: &&Held| now.since(held.stepped) <= held.armed_again() && !held.is_spared(now);
        retired.filter(may_be).map(|held| held.rule.id)
    }

    /// Puts a retired rule in force at once, or proposes it again, for this incident; not beyond the most that there may be.
    pub(crate) fn arm(&mut self, now: Timestamp, id: RuleId, incident: u32, permit: Permit) -> Option<Event> {
        if !self.has_room(incident) {
            return None;
        }
        let held = self.rules.iter_mut().find(|held| held.rule.id == id && held.rule.stage == Stage::Retired)?;
        held.begin_anew(now, incident);
        self.generation += 1;
        Some(match held.allowed(permit) {
            Permit::Propose(reason) => held.propose(now, reason),
            Permit::Throttle | Permit::Refuse if !held.cleared => held.shadow(now),
            Permit::Throttle | Permit::Refuse => held.enforce(now, permit, "armed again: the flood is back"),
        })
    }

    /// Removes what is proposed or in shadow under these conditions, because it was established that it is a crowd, or is a side of one;
    /// and lets go what is in force, but for what names a sender of whom there was nobody before. What only is a side and was in force
    /// long before asks whom it meets.
    pub(crate) fn spare(&mut self, now: Timestamp, conditions: &[Condition], is_side: bool) -> Option<Event> {
        let at = self.rules.iter().position(|held| held.is_live() && held.rule.conditions == conditions)?;
        let held = &self.rules[at];
        let is_in_force = held.rule.stage == Stage::Enforced;
        let was_before = is_side && held.enforced.is_some_and(|enforced| now.since(enforced) > NOT_YET_A_CROWD);
        if is_in_force && held.has_foreign_mark {
            return None;
        }
        if is_in_force && was_before {
            self.rules[at].suspect(now);
            return None;
        }
        self.generation += 1;
        if is_in_force {
            return Some(self.let_go(at, now));
        }
        self.rules.remove(at);
        None
    }

    /// Lets a rule in force go that meets a crowd.
    fn let_go(&mut self, at: usize, now: Timestamp) -> Event {
        let held = &mut self.rules[at];
        // Who asked again after it was refused is one of the crowd as well.
        self.pardons.add(held.rule.id);
        self.generation += 1;
        held.spare(now)
    }

    /// Takes what they tell whom a rule in force meets and the site has given something; it is let go if they are people.
    pub(crate) fn note_told(&mut self, now: Timestamp, id: RuleId, told: Told) -> Option<Event> {
        let is_it = |held: &Held| held.rule.id == id && held.rule.stage == Stage::Enforced;
        let at = self.rules.iter().position(is_it)?;
        self.rules[at].note(now, told);
        (told == Told::People).then(|| self.let_go(at, now))
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
mod tests;
