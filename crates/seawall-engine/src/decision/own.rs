//! The operator's own rules: put in force as they are said, for as long as they are said, beside what detection finds. Those of the
//! configuration are in force for as long as they stand there. They go up and down no ladder.

use serde::{Deserialize, Serialize};

use super::expression::{Expression, ExpressionError, Lists, Use};
use super::{Action, BAN_DURATION_MAX, Condition, Evidence, REASON_CHARACTERS_MAX, Rule, RuleId, RuleStatus, Stage};
use crate::address::AddressSet;
use crate::detection::RuleTraffic;
use crate::silence::RuleReading;
use crate::units::Timestamp;

/// The most that there can be: with those that detection makes they fit into one rule set.
pub const OWN_RULES_MAX: usize = 16;

/// How many of these the configuration may have, so that there is room for what is said while it floods.
pub const CONFIGURED_RULES_MAX: usize = 8;

/// The number of the first; below are those of detection.
const FIRST: u32 = 10_001;

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

/// Why a rule cannot be taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnRuleError {
    /// It cannot be read.
    #[error("column {column}: {0}", column = .0.column)]
    Expression(ExpressionError),
    /// It asks for what the gate cannot look up at once.
    #[error(
        "{}`{part}` cannot be looked up for each request: a rule that is put in force is conditions with `=` joined by `and`, as in: \
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
}

fn at_column(column: &Option<usize>) -> String {
    column.map(|column| format!("column {column}: ")).unwrap_or_default()
}

/// The operator's rules.
#[derive(Clone, Debug, Default)]
pub struct OwnRules {
    rules: Vec<Held>,
    next: u32,
    next_configured: u32,
}

#[derive(Clone, Debug)]
struct Held {
    said: OwnRule,
    conditions: Vec<Condition>,
    matched: u64,
    votes: u64,
    refused: u64,
    closed: u64,
}

impl OwnRules {
    /// Takes a rule in and numbers it.
    ///
    /// # Errors
    /// When it cannot be read or put in force. Nothing has changed then.
    pub fn add(&mut self, rule: OwnRule, never_ban: &AddressSet) -> Result<RuleId, OwnRuleError> {
        let said = self.rules.iter().filter(|held| !Self::is_configured(held.said.id));
        let number = self.next.max(said.map(|held| held.said.id.0 + 1).max().unwrap_or(FIRST)).max(FIRST);
        let id = self.put(rule, number, never_ban)?;
        self.next = self.next.max(number + 1);
        Ok(id)
    }

    /// Whether a rule of this number is one of the configuration's.
    pub const fn is_configured(id: RuleId) -> bool {
        id.0 >= CONFIGURED_FIRST
    }

    /// Puts the rules of the configuration in force in place of those that it had. One that is as it was goes on with its number and what
    /// it has met. Returns which have gone, and which cannot be put in force and why.
    pub fn configure(
        &mut self,
        rules: Vec<OwnRule>,
        never_ban: &AddressSet,
    ) -> (Vec<RuleId>, Vec<(OwnRule, OwnRuleError)>) {
        let is_same = |one: &OwnRule, other: &OwnRule| {
            (&one.text, one.action, &one.reason) == (&other.text, other.action, &other.reason)
        };
        let is_gone =
            |held: &mut Held| Self::is_configured(held.said.id) && !rules.iter().any(|rule| is_same(rule, &held.said));
        let gone = self.rules.extract_if(.., is_gone).map(|held| held.said.id).collect();
        let mut failed = Vec::new();
        for rule in rules {
            let is_there = |held: &Held| Self::is_configured(held.said.id) && is_same(&held.said, &rule);
            if self.rules.iter().any(is_there) {
                continue;
            }
            let number = self.next_configured.max(CONFIGURED_FIRST);
            match self.put(rule.clone(), number, never_ban) {
                Ok(_) => self.next_configured = number + 1,
                Err(error) => failed.push((rule, error)),
            }
        }
        (gone, failed)
    }

    /// Takes a rule of before a restart in, with the number that people and bans know it by, unless another has it.
    ///
    /// # Errors
    /// When it cannot be read or put in force. Nothing has changed then.
    pub fn take_up(&mut self, rule: OwnRule, never_ban: &AddressSet) -> Result<RuleId, OwnRuleError> {
        let number = rule.id.0;
        let is_free =
            (FIRST..CONFIGURED_FIRST).contains(&number) && self.rules.iter().all(|held| held.said.id != rule.id);
        if !is_free {
            return self.add(rule, never_ban);
        }
        let id = self.put(rule, number, never_ban)?;
        self.next = self.next.max(number + 1);
        Ok(id)
    }

    fn put(&mut self, mut rule: OwnRule, number: u32, never_ban: &AddressSet) -> Result<RuleId, OwnRuleError> {
        let conditions = Self::read(&rule.text, never_ban)?;
        if self.rules.len() >= OWN_RULES_MAX {
            return Err(OwnRuleError::Full);
        }
        rule.id = RuleId(number);
        rule.expires = rule.expires.min(rule.since + BAN_DURATION_MAX);
        rule.reason = rule.reason.map(|reason| {
            reason.chars().filter(|character| !character.is_control()).take(REASON_CHARACTERS_MAX).collect()
        });
        self.rules.push(Held { said: rule, conditions, matched: 0, votes: 0, refused: 0, closed: 0 });
        Ok(RuleId(number))
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

    /// Takes one back that was said; one of the configuration goes with [`Self::configure`] alone.
    pub fn remove(&mut self, id: RuleId) -> Option<OwnRule> {
        let at = self.rules.iter().position(|held| held.said.id == id && !Self::is_configured(id))?;
        Some(self.rules.remove(at).said)
    }

    /// Has a rule end then, and says whether there is one; a year after it was made at the latest.
    pub fn set_end(&mut self, id: RuleId, expires: Timestamp) -> bool {
        let held = self.rules.iter_mut().find(|held| held.said.id == id);
        held.map(|held| held.said.expires = expires.min(held.said.since + BAN_DURATION_MAX)).is_some()
    }

    /// Lets time pass; returns the rules that have ended.
    pub fn expire(&mut self, now: Timestamp) -> Vec<OwnRule> {
        let is_over = |held: &mut Held| held.said.expires <= now && !Self::is_configured(held.said.id);
        self.rules.extract_if(.., is_over).map(|held| held.said).collect()
    }

    /// As they were said, without those of the configuration.
    pub fn said(&self) -> Vec<OwnRule> {
        self.rules.iter().map(|held| &held.said).filter(|rule| !Self::is_configured(rule.id)).cloned().collect()
    }

    /// The rules that the gate needs.
    pub fn for_gate(&self) -> Vec<Rule> {
        let rule = |held: &Held| Rule {
            id: held.said.id,
            conditions: held.conditions.clone(),
            action: held.said.action,
            stage: Stage::Enforced,
            canary_interval: 0,
        };
        self.rules.iter().map(rule).collect()
    }

    /// Counts what a rule has met.
    pub fn count(&mut self, traffic: &RuleTraffic) {
        if let Some(held) = self.rules.iter_mut().find(|held| held.said.id == traffic.rule) {
            held.matched += traffic.matched;
            held.votes += traffic.votes;
            held.refused += traffic.refused;
            held.closed += traffic.closed;
        }
    }

    /// What each has met since it was put in force.
    pub fn met(&self) -> impl Iterator<Item = (RuleId, RuleReading)> + '_ {
        self.rules.iter().map(|held| {
            (held.said.id, RuleReading { matched: held.matched, votes: held.votes, kept_away: held.closed })
        })
    }

    /// Everything there is to show.
    pub fn status(&self) -> Vec<RuleStatus> {
        let status = |held: &Held| RuleStatus {
            id: held.said.id,
            incident: 0,
            // As rules are shown, so without client networks.
            text: Rule {
                id: held.said.id,
                conditions: held.conditions.clone(),
                action: held.said.action,
                stage: Stage::Enforced,
                canary_interval: 0,
            }
            .to_string(),
            action: held.said.action,
            stage: Stage::Enforced,
            reason: match &held.said.reason {
                Some(name) if Self::is_configured(held.said.id) => format!("the configuration has it: {name}"),
                Some(reason) => format!("an operator said so: {reason}"),
                None => "an operator said so".to_owned(),
            },
            found: held.said.since,
            enforced: Some(held.said.since),
            expires: Some(held.said.expires).filter(|_| !Self::is_configured(held.said.id)),
            // Of what is not known the worst is possible.
            evidence: Evidence {
                collateral: held.said.predicted.map_or(0.0, |predicted| predicted.share),
                collateral_upper: held.said.predicted.map_or(1.0, |predicted| predicted.upper),
                ..Evidence::default()
            },
            matched: held.matched,
            refused: held.refused,
            canaries: 0,
            spared: 0,
            closed: held.closed,
            collateral_actual: None,
        };
        self.rules.iter().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn rule(text: &str, seconds: u64) -> OwnRule {
        let (action, expires) = (Action::Refuse { status: 403 }, NOW + Duration::from_secs(seconds));
        OwnRule { id: RuleId(0), text: text.to_owned(), action, reason: None, since: NOW, expires, predicted: None }
    }

    #[test]
    fn a_conjunction_is_put_in_force_until_it_ends() {
        let mut rules = OwnRules::default();
        let added =
            rules.add(rule("method = POST and path = \"/login\" and referer = none", 60), &AddressSet::default());
        // A referer is looked up by its origin.
        assert!(matches!(added, Err(OwnRuleError::Expression(_))), "{added:?}");
        let id = rules.add(rule("method = POST and path = \"/login\"", 60), &AddressSet::default()).expect("a rule");
        assert_eq!(id, RuleId(FIRST));
        assert_eq!(rules.for_gate()[0].conditions.len(), 2);
        assert_eq!(rules.expire(NOW + Duration::from_secs(59)), []);
        assert_eq!(rules.expire(NOW + Duration::from_secs(60)).len(), 1);
        assert!(rules.for_gate().is_empty());
    }

    #[test]
    fn a_rule_of_before_keeps_its_number() {
        let (mut rules, never_ban) = (OwnRules::default(), AddressSet::default());
        let before = OwnRule { id: RuleId(FIRST + 4), ..rule("path = \"/x\"", 60) };
        assert_eq!(rules.take_up(before.clone(), &never_ban), Ok(RuleId(FIRST + 4)));
        assert_eq!(rules.add(rule("path = \"/y\"", 60), &never_ban), Ok(RuleId(FIRST + 5)));
        assert_eq!(rules.take_up(before, &never_ban), Ok(RuleId(FIRST + 6)), "another has it");
        let first = OwnRule { id: RuleId(FIRST), ..rule("path = \"/z\"", 60) };
        assert_eq!(rules.take_up(first, &never_ban), Ok(RuleId(FIRST)));
    }

    #[test]
    fn rules_of_the_configuration_last_as_long_as_they_stand_there() {
        let (mut rules, never_ban) = (OwnRules::default(), AddressSet::default());
        let named = |name: &str, text: &str| OwnRule { reason: Some(name.to_owned()), ..rule(text, 0) };
        let (first, second) = (named("a", "path = \"/a\""), named("b", "path = \"/b\""));
        assert_eq!(rules.configure(vec![first, second.clone()], &never_ban), (vec![], vec![]));
        let said = rules.add(rule("path = \"/x\"", 60), &never_ban).expect("room");
        assert_eq!(said, RuleId(FIRST));
        // They neither end by themselves nor are they kept or taken back as what was said is.
        assert_eq!(rules.expire(NOW + Duration::from_secs(59)), []);
        assert_eq!(rules.remove(RuleId(CONFIGURED_FIRST)), None);
        assert_eq!(rules.said().iter().map(|rule| rule.id).collect::<Vec<_>>(), [said]);
        assert_eq!(rules.status()[0].expires, None);
        rules.count(&RuleTraffic { matched: 7, ..RuleTraffic::none(RuleId(CONFIGURED_FIRST + 1)) });
        // What has changed is another rule, what has not goes on.
        let changed = named("a", "path = \"/c\"");
        let protected = named("p", "client-prefix = 192.0.2.0/24");
        let never_ban = AddressSet::new(["192.0.2.7/32".parse().expect("a network")]);
        let (gone, failed) = rules.configure(vec![changed, protected.clone(), second], &never_ban);
        assert_eq!(gone, [RuleId(CONFIGURED_FIRST)]);
        assert_eq!(failed, [(protected, OwnRuleError::Protected)]);
        let status = rules.status();
        let shown: Vec<(u32, u64)> = status.iter().map(|status| (status.id.0, status.matched)).collect();
        assert_eq!(shown, [(CONFIGURED_FIRST + 1, 7), (FIRST, 0), (CONFIGURED_FIRST + 2, 0)]);
        assert_eq!(rules.configure(vec![], &never_ban).0.len(), 2);
    }

    #[test]
    fn what_cannot_be_put_in_force_is_refused() {
        let mut rules = OwnRules::default();
        let never_ban = AddressSet::new(["192.0.2.7/32".parse().expect("a network")]);
        let mut add = |text: &str| rules.add(rule(text, 60), &never_ban);
        for (text, expected) in [
            ("method = GET or method = POST", None),
            ("path != \"/\"", Some(1)),
            ("host = \"a.example\" and path contains \"x\"", Some(24)),
            ("host = \"a.example\" and not (method = GET or method = POST)", None),
        ] {
            match add(text) {
                Err(OwnRuleError::Shape { part, column }) => {
                    assert!(expected.is_none() || column == expected, "{text}: {part} at {column:?}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        let many = ["method = GET"; CONDITIONS_MAX + 1].join(" and ");
        assert_eq!(add(&many), Err(OwnRuleError::TooManyConditions { found: CONDITIONS_MAX + 1 }));
        let wrong = add("method = GET and pth = \"/x\"").expect_err("no such attribute");
        assert!(wrong.to_string().starts_with("column 18: there is no attribute `pth`"), "{wrong}");
        assert!(matches!(add("nonsense"), Err(OwnRuleError::Expression(_))));
        assert_eq!(add("client-prefix = 192.0.2.0/24"), Err(OwnRuleError::Protected));
        for _ in 0..OWN_RULES_MAX {
            add("method = POST").expect("room");
        }
        assert_eq!(add("method = POST"), Err(OwnRuleError::Full));
    }
}
