//! Rules of the operator: those that are said, with their end, and those of the configuration.

use seawall_engine::decision::{OwnRule, OwnRuleError, OwnRules, RuleId, RuleStatus};
use seawall_engine::units::Timestamp;

use super::{Detecting, Running};
use crate::config::ConfiguredRule;
use crate::host::clock::carried_over;
use crate::record::{self, Action, Actor};

impl Detecting {
    pub(super) fn add_rule(
        &self,
        running: &mut Running,
        rule: OwnRule,
        until: Option<Timestamp>,
    ) -> Result<RuleStatus, OwnRuleError> {
        let (own, added) = self.try_rule(running, rule)?;
        running.own = own;
        if let Some(until) = until {
            self.await_confirmation(running, &added, until);
        }
        self.own_changed(running, &[]);
        self.record.journal(Actor::Operator, Action::AddRule, format!("{}: {}", added.id, added.text));
        Ok(added)
    }

    /// The operator's rules with one more, and what is to be shown of that, with what it would do to normal traffic.
    pub(super) fn try_rule(&self, running: &Running, rule: OwnRule) -> Result<(OwnRules, RuleStatus), OwnRuleError> {
        let never_ban = self.shared.never_ban.load();
        let conditions = OwnRules::read(&rule.text, &never_ban)?;
        let predicted = running.detector.predicted_collateral(&conditions, running.at);
        let mut own = running.own.clone();
        let id = own.add(OwnRule { predicted, ..rule }, &never_ban)?;
        let added = own.status().into_iter().find(|status| status.id == id);
        // It has just been added.
        let added = added.ok_or(OwnRuleError::Full)?;
        Ok((own, added))
    }

    /// Takes up the operator's rules of before.
    pub(super) fn take_up(&self, running: &mut Running, rules: Vec<OwnRule>, now: Timestamp) {
        let mut has_ended = false;
        for mut rule in rules {
            let step = running.step;
            (rule.since, rule.expires) = carried_over(step.to_guard(rule.since), step.to_guard(rule.expires), now);
            if rule.expires <= now {
                self.journal_ended(&rule, ", while no guard ran");
                has_ended = true;
            } else if let Err(error) = running.own.take_up(rule, &self.shared.never_ban.load()) {
                tracing::warn!(%error, "a rule of before cannot be put in force again");
            }
        }
        running.are_own_complete = true;
        if has_ended {
            self.keep_own(running);
        }
    }

    /// Puts the rules of the configuration in force in place of those that it had.
    pub(super) fn configure_rules(&self, running: &mut Running, rules: Vec<ConfiguredRule>, now: Timestamp) {
        let rule = |ConfiguredRule { name, text, action }: ConfiguredRule| OwnRule {
            id: RuleId(0),
            text,
            action,
            reason: Some(name),
            since: now,
            expires: now,
            predicted: None,
        };
        let rules = rules.into_iter().map(rule).collect();
        let (gone, failed) = running.own.configure(rules, &self.shared.never_ban.load());
        for (rule, error) in failed {
            let name = rule.reason.unwrap_or_default();
            tracing::warn!("the rule \"{name}\" of the configuration is not in force: {error}");
        }
        gone.iter().for_each(|rule| running.pardoned.add(*rule));
    }

    /// Puts into the journal that a rule of the operator's has ended.
    pub(super) fn journal_ended(&self, rule: &OwnRule, when: &str) {
        self.record.journal(Actor::Guard, Action::Expire, format!("{}{when}: {}", rule.id, rule.text));
    }

    /// Keeps the operator's rules over a restart.
    pub(super) fn keep_own(&self, running: &Running) {
        if !running.are_own_complete {
            return;
        }
        let mut rules = running.own.said();
        for rule in &mut rules {
            (rule.since, rule.expires) = (running.step.to_machine(rule.since), running.step.to_machine(rule.expires));
        }
        self.record.keep(record::RULES, serde_json::to_string(&rules).unwrap_or_default());
    }

    /// The operator's rules have changed: they are kept, and published.
    pub(super) fn own_changed(&self, running: &mut Running, gone: &[RuleId]) {
        gone.iter().for_each(|rule| running.pardoned.add(*rule));
        self.keep_own(running);
        running.published = None;
        self.publish_rules(running);
    }
}
