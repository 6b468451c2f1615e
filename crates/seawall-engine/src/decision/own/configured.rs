//! The rules of the configuration: in force for as long as they stand there and can be, under `enforce = "never"` counted only.

use super::super::{Action, Collateral, Condition, Enforce, RuleId};
use super::{CONFIGURED_RULES_MAX, Held, Met, OwnRule, OwnRules, RuleNames};
use crate::address::AddressSet;

impl OwnRules {
    /// Puts the rules of the configuration in place of those that it had, [`CONFIGURED_RULES_MAX`] at most, each with its name as its reason.
    /// One that is as it was goes on with what it has met, also when it had gone in between, and one that could not be in force is tried
    /// again. Returns which are in force no longer.
    pub fn configure(&mut self, rules: Vec<OwnRule>, never_ban: &AddressSet, enforce: Enforce) -> Vec<RuleId> {
        let before = self.enforced();
        let mut gone = std::mem::take(&mut self.configured);
        self.enforce = enforce;
        for rule in rules.into_iter().take(CONFIGURED_RULES_MAX) {
            let held = match gone.iter().position(|held| is_same(&held.said, &rule)) {
                Some(at) => {
                    let (conditions, trouble) = Self::examine(&rule.text, never_ban);
                    Held { conditions, trouble, ..gone.remove(at) }
                }
                None => self.take_in(rule, never_ban, &gone),
            };
            self.configured.push(held);
        }
        for held in &gone {
            self.names.leave(&held.said, held.met);
        }
        self.gone_since(before)
    }

    fn take_in(&mut self, mut rule: OwnRule, never_ban: &AddressSet, before: &[Held]) -> Held {
        let met = self.number(&mut rule, before);
        let (conditions, trouble) = Self::examine(&rule.text, never_ban);
        Held { conditions, met, trouble, said: rule }
    }

    /// Gives it the number of its name, and says what it has met under that. Neither those taken in so far nor those of `before`, which may
    /// stay, lose theirs for it.
    fn number(&mut self, rule: &mut OwnRule, before: &[Held]) -> Met {
        let in_use: Vec<RuleId> = self.configured.iter().chain(before).map(|held| held.said.id).collect();
        let (id, met) = self.names.take(rule, &in_use);
        rule.id = id;
        met
    }

    /// Takes up which numbers the names had before a restart. Those that have been given meanwhile give way; returns which rules in force
    /// have them no longer.
    pub fn take_up_names(&mut self, names: RuleNames) -> Vec<RuleId> {
        let before = self.enforced();
        self.names = names;
        for mut held in std::mem::take(&mut self.configured) {
            self.number(&mut held.said, &[]);
            self.configured.push(held);
        }
        self.gone_since(before)
    }

    /// Which number each name has, to be kept over a restart.
    pub const fn names(&self) -> &RuleNames {
        &self.names
    }

    /// What is predicted of those of the configuration, by `predict` for each of which that is not known, or for all.
    pub fn predict(&mut self, all: bool, predict: impl Fn(&[Condition]) -> Option<Collateral>) {
        for held in self.configured.iter_mut().filter(|held| all || held.said.predicted.is_none()) {
            held.said.predicted = predict(&held.conditions);
        }
    }

    /// Those of the configuration, each with its name as its reason.
    pub fn configured(&self) -> impl Iterator<Item = &OwnRule> {
        self.configured.iter().map(|held| &held.said)
    }

    /// Whether nothing is done to what it matches.
    pub(super) fn is_counted_only(&self, held: &Held) -> bool {
        self.enforce == Enforce::Never && Self::is_configured(held.said.id)
    }

    /// Those of the configuration that are in force, each with what it refuses.
    fn enforced(&self) -> Vec<(RuleId, String, Action)> {
        let in_force = self.configured.iter().filter(|held| held.trouble.is_none() && !self.is_counted_only(held));
        in_force.map(|held| (held.said.id, held.said.text.clone(), held.said.action)).collect()
    }

    /// Which of these are in force no longer.
    fn gone_since(&self, before: Vec<(RuleId, String, Action)>) -> Vec<RuleId> {
        let after = self.enforced();
        before.into_iter().filter(|rule| !after.contains(rule)).map(|(id, ..)| id).collect()
    }
}

fn is_same(one: &OwnRule, other: &OwnRule) -> bool {
    (&one.text, one.action, &one.reason) == (&other.text, other.action, &other.reason)
}
