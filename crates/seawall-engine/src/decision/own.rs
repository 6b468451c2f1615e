//! The operator's own rules: put in force as they are said, for as long as they are said, beside what detection finds. Those of the
//! configuration are in force for as long as they stand there. They go up and down no ladder.

mod configured;
mod names;

use serde::{Deserialize, Serialize};

use super::expression::{Expression, ExpressionError, Lists, Use};
use super::{
    Action, BAN_DURATION_MAX, Condition, Enforce, Evidence, REASON_CHARACTERS_MAX, Rule, RuleId, RuleStatus, Stage,
};
use crate::address::AddressSet;
use crate::detection::RuleTraffic;
use crate::silence::RuleReading;
use crate::units::Timestamp;
pub use names::{NamedRule, RuleNames};

/// The most that can be said: with those of the configuration and those that detection makes they fit into one rule set.
pub const OWN_RULES_MAX: usize = 16;

/// How many the configuration may have, beside those that are said, so that neither take the others' places.
pub const CONFIGURED_RULES_MAX: usize = 8;

/// The number of the first; below are those of detection.
pub(super) const FIRST: u32 = 10_001;

/// The number of the first that the configuration has.
const CONFIGURED_FIRST: u32 = 20_001;

/// Conditions that the gate asks for at once.
const CONDITIONS_MAX: usize = 8;

/// A rule as the operator says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnRule {
    /// Its number; whatever is said for one that is not yet taken in.
    pub id: RuleId,
    /// The rule as rules are written.
    pub text: String,
    /// What it does.
    pub action: Action,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub expires: Timestamp,
    /// What it was predicted to do to normal traffic when it was said; none where that was not known.
    #[serde(default)]
    pub predicted: Option<Collateral>,
}

/// The share of normal traffic that a rule would hit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Collateral {
    /// The share, 0 to 1.
    pub share: f32,
    /// Its upper bound at 95% confidence.
    pub upper: f32,
}

/// What became of rules when the never-ban list changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// Those that are in force no longer.
    pub suspended: Vec<RuleId>,
    /// Those that are again.
    pub resumed: Vec<RuleId>,
}

/// Why a rule cannot be taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnRuleError {
    /// It cannot be read.
    #[error("column {column}: {0}", column = .0.column)]
    Expression(ExpressionError),
    /// It asks for what the gate cannot look up at once.
    #[error(
        "{}`{part}` cannot be looked up for each request: a rule that is put in force is conditions with `=`, or `query-keys != none`, joined by `and`, as in: \
         method = POST and path = \"/login\"; `seawall backtest` takes the whole language",
        at_column(.column)
    )]
    Shape {
        /// The first part that cannot be.
        part: String,
        /// Where it begins, from 1, where it was written as it is shown.
        column: Option<usize>,
    },
    /// It has too many conditions.
    #[error("these are {found} conditions, where {CONDITIONS_MAX} are the most in a rule that is put in force")]
    TooManyConditions {
        /// How many there are.
        found: usize,
    },
    /// It is about somebody who is never banned.
    #[error("it names a client that is on the never-ban list")]
    Protected,
    /// There are too many.
    #[error("there are {OWN_RULES_MAX} rules of yours already; take one back with `seawall rules remove`")]
    Full,
    /// The same is in force already, and this one would be taken back unless it is confirmed: which of the two that is cannot be told.
    #[error(
        "{id} is the same and in force already: say it without --confirm, which has it last longer, or take {id} back first with \
         `seawall rules remove {id}`"
    )]
    InForce {
        /// Its number.
        id: RuleId,
    },
}

fn at_column(column: &Option<usize>) -> String {
    column.map(|column| format!("column {column}: ")).unwrap_or_default()
}

/// The operator's rules.
#[derive(Clone, Debug, Default)]
pub struct OwnRules {
    said: Vec<Held>,
    /// Those of the configuration, in its order, also those that cannot be in force.
    configured: Vec<Held>,
    next: u32,
    names: RuleNames,
    /// Under `never` those of the configuration are counted only.
    enforce: Enforce,
}

#[derive(Clone, Debug)]
struct Held {
    said: OwnRule,
    conditions: Vec<Condition>,
    met: Met,
    /// Why it is not in force.
    trouble: Option<OwnRuleError>,
}

/// What a rule has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Met {
    matched: u64,
    votes: u64,
    refused: u64,
    closed: u64,
    refused_by_server: u64,
}

impl OwnRules {
    /// Takes a rule in and numbers it.
    ///
    /// # Errors
    /// When it cannot be read or put in force. Nothing has changed then.
    pub fn add(&mut self, rule: OwnRule, never_ban: &AddressSet) -> Result<RuleId, OwnRuleError> {
        let conditions = Self::read(&rule.text, never_ban)?;
        if self.said.len() >= OWN_RULES_MAX {
            return Err(OwnRuleError::Full);
        }
        let number = self.next_number()?;
        Ok(self.hold(rule, number, conditions, None))
    }

    /// The number that the next one gets at least, to be kept over a restart.
    pub const fn next(&self) -> u32 {
        self.next
    }

    /// Goes on from there: what had these numbers before a start may be gone, and people know it by them.
    pub fn number_from(&mut self, next: u32) {
        self.next = self.next.max(next);
    }

    fn next_number(&self) -> Result<u32, OwnRuleError> {
        let after_last = self.said.iter().map(|held| held.said.id.0 + 1).max().unwrap_or(FIRST);
        let number = self.next.max(after_last).max(FIRST);
        if number < CONFIGURED_FIRST {
            return Ok(number);
        }
        // After ten thousand the numbers begin anew, or it would pass for one of the configuration's.
        let is_free = |number: &u32| self.said.iter().all(|held| held.said.id.0 != *number);
        (FIRST..CONFIGURED_FIRST).find(is_free).ok_or(OwnRuleError::Full)
    }

    /// Whether a rule of this number is one of the configuration's.
    pub const fn is_configured(id: RuleId) -> bool {
        id.0 >= CONFIGURED_FIRST
    }

    /// Takes a rule of before a restart in, with the number that people and bans know it by, unless another has it. One that cannot be in
    /// force at present is held all the same, and tried again with [`Self::retry`]: it is not lost for an address that is on the never-ban list
    /// for an hour.
    ///
    /// # Errors
    /// When no number is left for it. Nothing has changed then.
    pub fn take_up(&mut self, rule: OwnRule, never_ban: &AddressSet) -> Result<RuleId, OwnRuleError> {
        let number = rule.id.0;
        let is_free =
            (FIRST..CONFIGURED_FIRST).contains(&number) && self.said.iter().all(|held| held.said.id != rule.id);
        let number = if is_free { number } else { self.next_number()? };
        let (conditions, trouble) = Self::examine(&rule.text, never_ban);
        let trouble = trouble.or_else(|| (self.room() == 0).then_some(OwnRuleError::Full));
        Ok(self.hold(rule, number, conditions, trouble))
    }

    fn hold(
        &mut self,
        mut rule: OwnRule,
        number: u32,
        conditions: Vec<Condition>,
        trouble: Option<OwnRuleError>,
    ) -> RuleId {
        rule.id = RuleId(number);
        rule.expires = rule.expires.min(rule.since + BAN_DURATION_MAX);
        rule.reason = rule.reason.as_deref().map(printable);
        self.said.push(Held { said: rule, conditions, met: Met::default(), trouble });
        self.next = self.next.max(number + 1);
        RuleId(number)
    }

    /// How many more of those that are said may be in force.
    fn room(&self) -> usize {
        let in_force = self.said.iter().filter(|held| held.trouble.is_none()).count();
        OWN_RULES_MAX.saturating_sub(in_force)
    }

    /// What the gate looks up for a rule, or what is shown of one that cannot be in force, and why it cannot.
    fn examine(text: &str, never_ban: &AddressSet) -> (Vec<Condition>, Option<OwnRuleError>) {
        match Self::read(text, never_ban) {
            Ok(conditions) => (conditions, None),
            Err(error) => (Self::read(text, &AddressSet::default()).unwrap_or_default(), Some(error)),
        }
    }

    /// Looks at all again, since the never-ban list has changed; says which are in force no longer, and which are again.
    pub fn retry(&mut self, never_ban: &AddressSet) -> Retried {
        let (mut retried, mut room) = (Retried::default(), self.room());
        for held in self.configured.iter_mut().chain(&mut self.said) {
            let (conditions, mut trouble) = Self::examine(&held.said.text, never_ban);
            let comes_back = held.trouble.is_some() && trouble.is_none();
            if comes_back && !Self::is_configured(held.said.id) {
                if room == 0 {
                    trouble = Some(OwnRuleError::Full);
                }
                room = room.saturating_sub(1);
            }
            match (&held.trouble, &trouble) {
                (None, Some(_)) => retried.suspended.push(held.said.id),
                (Some(_), None) => retried.resumed.push(held.said.id),
                _ => {}
            }
            (held.conditions, held.trouble) = (conditions, trouble);
        }
        retried
    }

    /// Those that cannot be in force, and why.
    pub fn not_in_force(&self) -> impl Iterator<Item = (&OwnRule, &OwnRuleError)> {
        self.all().filter_map(|held| Some((&held.said, held.trouble.as_ref()?)))
    }

    /// Reads a rule, and says what the gate would look up for it.
    ///
    /// # Errors
    /// When it cannot be read or put in force.
    pub fn read(text: &str, never_ban: &AddressSet) -> Result<Vec<Condition>, OwnRuleError> {
        let expression = Expression::parse(text, Use::Rule, &Lists::default()).map_err(OwnRuleError::Expression)?;
        let Some(conditions) = expression.as_conditions() else {
            let part = expression.beyond_conditions().unwrap_or_default();
            let column = text.find(&part).and_then(|at| text.get(..at)).map(|before| before.chars().count() + 1);
            return Err(OwnRuleError::Shape { part, column });
        };
        if conditions.len() > CONDITIONS_MAX {
            return Err(OwnRuleError::TooManyConditions { found: conditions.len() });
        }
        if conditions.iter().filter_map(Condition::network).any(|network| never_ban.overlaps(network)) {
            return Err(OwnRuleError::Protected);
        }
        Ok(conditions)
    }

    /// A rule in force that was said with these conditions, in whatever order, and does the same.
    pub fn same(&self, conditions: &[Condition], action: Action) -> Option<RuleId> {
        let is_same = |held: &&Held| {
            held.trouble.is_none()
                && held.said.action == action
                && held.conditions.len() == conditions.len()
                && held.conditions.iter().all(|condition| conditions.contains(condition))
        };
        self.said.iter().find(is_same).map(|held| held.said.id)
    }

    /// Has a rule that was said last until then, unless it lasts for longer already; a year after it was made at the most. A reason that is
    /// given takes the place of its own.
    pub fn renew(&mut self, id: RuleId, expires: Timestamp, reason: Option<&str>) {
        let held = self.said.iter_mut().map(|held| &mut held.said).find(|said| said.id == id);
        if let Some(said) = held {
            said.expires = said.expires.max(expires.min(said.since + BAN_DURATION_MAX));
            said.reason = reason.map(printable).or(said.reason.take());
        }
    }

    /// Takes one back that was said; one of the configuration goes with [`Self::configure`] alone.
    pub fn remove(&mut self, id: RuleId) -> Option<OwnRule> {
        let at = self.said.iter().position(|held| held.said.id == id)?;
        Some(self.said.remove(at).said)
    }

    /// Has a rule that was said end then, and says whether there is one; a year after it was made at the latest.
    pub fn set_end(&mut self, id: RuleId, expires: Timestamp) -> bool {
        let held = self.said.iter_mut().find(|held| held.said.id == id);
        held.map(|held| held.said.expires = expires.min(held.said.since + BAN_DURATION_MAX)).is_some()
    }

    /// Lets time pass; returns the rules that have ended.
    pub fn expire(&mut self, now: Timestamp) -> Vec<OwnRule> {
        self.said.extract_if(.., |held| held.said.expires <= now).map(|held| held.said).collect()
    }

    /// As they were said, without those of the configuration.
    pub fn said(&self) -> Vec<OwnRule> {
        self.said.iter().map(|held| held.said.clone()).collect()
    }

    /// All, those of the configuration first.
    fn all(&self) -> impl Iterator<Item = &Held> {
        self.configured.iter().chain(&self.said)
    }

    /// The rules that the gate needs.
    pub fn for_gate(&self) -> Vec<Rule> {
        let can_be = self.all().filter(|held| held.trouble.is_none());
        can_be.map(|held| held.rule(if self.is_counted_only(held) { Stage::Shadow } else { Stage::Enforced })).collect()
    }

    /// Counts what a rule has met.
    pub fn count(&mut self, traffic: &RuleTraffic) {
        let mut all = self.configured.iter_mut().chain(&mut self.said);
        if let Some(held) = all.find(|held| held.said.id == traffic.rule) {
            held.met.matched += traffic.matched;
            held.met.votes += traffic.votes;
            held.met.refused += traffic.refused;
            held.met.closed += traffic.closed;
            held.met.refused_by_server += traffic.refused_by_server;
        }
    }

    /// What each has met since it was put in force.
    pub fn met(&self) -> impl Iterator<Item = (RuleId, RuleReading)> + '_ {
        self.all().map(|held| {
            let Met { matched, votes, closed, .. } = held.met;
            (held.said.id, RuleReading { matched, votes, kept_away: closed })
        })
    }

    /// Everything there is to show.
    pub fn status(&self) -> Vec<RuleStatus> {
        let status = |held: &Held| {
            let stage =
                if held.trouble.is_some() || self.is_counted_only(held) { Stage::Proposed } else { Stage::Enforced };
            RuleStatus {
                id: held.said.id,
                incident: 0,
                // As rules are shown, so without client networks.
                text: held.rule(stage).to_string(),
                action: held.said.action,
                stage,
                reason: self.reason(held),
                found: held.said.since,
                enforced: (stage == Stage::Enforced).then_some(held.said.since),
                expires: Some(held.said.expires).filter(|_| !Self::is_configured(held.said.id)),
                taken_back: None,
                confirm_until: None,
                // Of what is not known the worst is possible.
                evidence: Evidence {
                    collateral: held.said.predicted.map_or(0.0, |predicted| predicted.share),
                    collateral_upper: held.said.predicted.map_or(1.0, |predicted| predicted.upper),
                    ..Evidence::default()
                },
                matched: held.met.matched,
                refused: held.met.refused,
                canaries: 0,
                asking: None,
                spared: 0,
                closed: held.met.closed,
                refused_by_server: held.met.refused_by_server,
                collateral_actual: None,
            }
        };
        self.all().map(status).collect()
    }

    /// Why there is a rule, and why it is not in force where that is so.
    fn reason(&self, held: &Held) -> String {
        let is_configured = Self::is_configured(held.said.id);
        let mut reason = match &held.said.reason {
            Some(name) if is_configured => format!("the configuration has it: {name}"),
            Some(reason) => format!("an operator said so: {reason}"),
            None => "an operator said so".to_owned(),
        };
        match &held.trouble {
            Some(error) => reason += &format!("; it is not in force: {error}"),
            None if self.is_counted_only(held) => {
                reason += "; it is counted only, since enforce = \"never\" in [policy]";
            }
            None => {}
        }
        reason
    }
}

/// A reason as it can be shown anywhere.
fn printable(reason: &str) -> String {
    reason.chars().filter(|character| !character.is_control()).take(REASON_CHARACTERS_MAX).collect()
}

impl Held {
    fn rule(&self, stage: Stage) -> Rule {
        let (id, conditions, action) = (self.said.id, self.conditions.clone(), self.said.action);
        Rule { id, conditions, action, stage, canary_interval: 0, is_asking: false }
    }
}

#[cfg(test)]
mod tests;
