//! Rules of the operator: those that are said, with their end, and those of the configuration.

use std::time::Duration;

use seawall_engine::address::AddressSet;
use seawall_engine::decision::{
    Collateral, Event, EventKind, Numbers, OwnRule, OwnRuleError, OwnRules, Retried, RuleId, RuleNames, RuleStatus,
    Veto,
};
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Detecting, Running};
use crate::config::ConfiguredRule;
use crate::config::quantity::show_duration;
use crate::enforcement::{COLLATERAL_MAX, printable, to_be_confirmed};
use crate::host::clock::carried_over;
use crate::record::{self, Action, Actor, LeftOpen, Past};
use crate::show::text;

/// How often it is looked anew what the rules of the configuration would hit, while little is known.
const PREDICT_INTERVAL: Duration = Duration::from_secs(10);

/// The last numbers that people were told, whether or not what had them is still in the record: it is deleted by age and size, and what was
/// said may be taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenNumbers {
    /// To what detection found.
    pub found: Numbers,
    /// The next of what is said.
    pub said: u32,
}

/// What the record has of the operator's rules, and of the guard before.
#[derive(Clone, Debug, Default)]
pub struct KeptRules {
    /// Those that were said.
    pub said: Vec<OwnRule>,
    /// The numbers of those of the configuration.
    pub names: RuleNames,
    /// What the operator took back of what detection had found.
    pub vetoes: Vec<Veto>,
    /// The last numbers that were given.
    pub numbers: GivenNumbers,
    /// The guard before.
    pub past: Past,
}

/// A rule of the operator's that was put in force, or would be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddedRule {
    /// The rule.
    #[serde(flatten)]
    pub rule: RuleStatus,
    /// Whether the same was in force already, and lasts for longer now.
    #[serde(default)]
    pub renewed: bool,
    /// Whether everything is out, so that it is in force only after `seawall panic --over`.
    #[serde(default)]
    pub panicked: bool,
}

impl Detecting {
    pub(super) fn add_rule(
        &self,
        running: &mut Running,
        rule: OwnRule,
        until: Option<Timestamp>,
    ) -> Result<AddedRule, OwnRuleError> {
        let (since, lasts) = (rule.since, show_duration(rule.expires.since(rule.since)));
        let reason = rule.reason.as_deref().map(|reason| format!("; reason: {}", printable(reason)));
        let (own, added) = self.try_rule(running, rule, until.is_some())?;
        let id = added.rule.id;
        running.own = own;
        if let Some(until) = until {
            self.await_confirmation(running, &added.rule, until);
        } else {
            // One that waited to be confirmed is meant.
            running.unconfirmed.retain(|unconfirmed| unconfirmed.rule != id);
        }
        self.own_changed(running, &[]);
        let renewed = if added.renewed { " renewed" } else { "" };
        let waits = until.map(|until| to_be_confirmed(until.since(since))).unwrap_or_default();
        let text = format!("{id}{renewed} for {lasts}{waits}: {}{}", added.rule.text, reason.unwrap_or_default());
        self.record.journal(Actor::Operator, Action::AddRule, text);
        if until.is_none() {
            self.lift_vetoes_for(running, id);
        }
        Ok(added)
    }

    /// The operator's rules with one more, or with the same one for longer, and what is to be said of that, with what it would do to normal
    /// traffic.
    pub(super) fn try_rule(
        &self,
        running: &Running,
        rule: OwnRule,
        waits: bool,
    ) -> Result<(OwnRules, AddedRule), OwnRuleError> {
        let never_ban = self.shared.never_ban.load();
        let conditions = OwnRules::read(&rule.text, &never_ban)?;
        let mut own = running.own.clone();
        let same = own.same(&conditions, rule.action);
        let id = match same {
            // Were it undone, the one that is in force would go with it.
            Some(id) if waits => return Err(OwnRuleError::InForce { id }),
            Some(id) => {
                own.renew(id, rule.expires, rule.reason.as_deref());
                id
            }
            None => {
                let predicted = running.detector.predicted_collateral(&conditions, running.at);
                own.add(OwnRule { predicted, ..rule }, &never_ban)?
            }
        };
        let added = own.status().into_iter().find(|status| status.id == id);
        // It has just been added.
        let rule = added.ok_or(OwnRuleError::Full)?;
        Ok((own, AddedRule { rule, renewed: same.is_some(), panicked: running.is_panicked }))
    }

    /// Takes up the operator's rules of before, and goes on from the guard that had them.
    pub(super) fn take_up(&self, running: &mut Running, kept: KeptRules, now: Timestamp) {
        self.follow(running, kept.past, now);
        running.detector.number_after(kept.numbers.found);
        running.own.number_from(kept.numbers.said);
        self.take_up_vetoes(running, kept.vetoes, now);
        running.own.take_up_names(kept.names).iter().for_each(|rule| running.pardoned.add(*rule));
        self.take_up_said(running, kept.said, now);
        running.are_own_complete = true;
        self.keep_vetoes(running);
        self.keep_names(running);
    }

    /// Takes up rules that were said before; those that have ended are passed over.
    pub(super) fn take_up_said(&self, running: &mut Running, said: Vec<OwnRule>, now: Timestamp) {
        let step = running.step;
        for rule in said {
            let (since, expires) = carried_over(step.to_guard(rule.since), step.to_guard(rule.expires), now);
            if expires <= now {
                running.passed_over.rules.push(rule);
                continue;
            }
            match running.own.take_up(OwnRule { since, expires, ..rule }, &self.shared.never_ban.load()) {
                Ok(id) => self.say_not_in_force(running, &[id]),
                Err(error) => tracing::warn!(%error, "a rule of before cannot be kept"),
            }
        }
    }

    /// The never-ban list has changed: rules that name somebody on it are not in force as long as it has him.
    pub(super) fn recheck_own(&self, running: &mut Running, never_ban: &AddressSet) {
        let Retried { suspended, resumed } = running.own.retry(never_ban);
        self.say_not_in_force(running, &suspended);
        for rule in running.own.status().iter().filter(|rule| resumed.contains(&rule.id)) {
            tracing::info!("{} is in force again, since the never-ban list has changed", rule.id);
            self.record.journal(Actor::Guard, Action::ResumeRule, format!("{}: {}", rule.id, rule.text));
        }
        // Whom one of them had dropped is free, as when it is taken back.
        suspended.iter().for_each(|rule| running.pardoned.add(*rule));
        if !suspended.is_empty() || !resumed.is_empty() {
            running.published = None;
        }
    }

    /// Tells the log and the journal which of these are not in force, and why.
    fn say_not_in_force(&self, running: &Running, rules: &[RuleId]) {
        for (rule, error) in running.own.not_in_force().filter(|(rule, _)| rules.contains(&rule.id)) {
            tracing::warn!("{}", is_not_in_force(rule, error));
            self.record.journal(Actor::Guard, Action::SuspendRule, format!("{}: {error}", rule.id));
        }
    }

    /// Goes on from the guard before: with other numbers than it gave, and with an end for what it left open.
    fn follow(&self, running: &mut Running, past: Past, now: Timestamp) {
        running.detector.number_after(past.numbers);
        if let Some(LeftOpen { incident, last_seen }) = past.left_open {
            let seen = last_seen.map(|at| format!("; last seen at {}", text::moment(at))).unwrap_or_default();
            let text = format!("incident {incident} is over: the guard was restarted meanwhile{seen}");
            self.note(running, Some(Event { at: now, kind: EventKind::IncidentClosed, text }));
        }
    }

    /// Puts the rules of the configuration in force in place of those that it had, and says what whoever wrote them should know.
    pub(super) fn configure_rules(
        &self,
        running: &mut Running,
        rules: Vec<ConfiguredRule>,
        never_ban: &AddressSet,
        now: Timestamp,
    ) -> Vec<String> {
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
        let before: Vec<OwnRule> = running.own.configured().cloned().collect();
        let gone = running.own.configure(rules, never_ban, running.enforce);
        gone.iter().for_each(|rule| running.pardoned.add(*rule));
        self.recheck_own(running, never_ban);
        self.keep_names(running);
        self.predict(running, true, now);
        let failed = running.own.not_in_force().filter(|(rule, _)| OwnRules::is_configured(rule.id));
        let failed: Vec<String> = failed.map(|(rule, error)| is_not_in_force(rule, error)).collect();
        failed.iter().for_each(|text| tracing::warn!("{text}"));
        let is_new = |rule: &OwnRule| !before.iter().any(|before| before.id == rule.id && before.text == rule.text);
        let unknown = running.own.configured().filter(|rule| is_new(rule) && !is_predicted(rule));
        unknown.filter_map(|rule| prediction(rule, true)).for_each(|text| tracing::info!("{text}"));
        let predicted = running.own.configured().filter_map(|rule| prediction(rule, is_new(rule)));
        failed.into_iter().chain(predicted).collect()
    }

    /// Looks what the rules of the configuration would do to normal traffic: in the first day anew, as it becomes known.
    pub(super) fn predict(&self, running: &mut Running, is_due: bool, now: Timestamp) {
        if !is_due && now < running.predict_at {
            return;
        }
        running.predict_at = now + PREDICT_INTERVAL;
        let (detector, at) = (&running.detector, running.at);
        let is_anew = is_due || detector.is_cold();
        running.own.predict(is_anew, |conditions| detector.predicted_collateral(conditions, at));
        self.say_harm(running);
    }

    /// Tells the log which rules of the configuration hit more of normal traffic than `rules add` would take without asking, each once: at
    /// a start and after a signal nobody reads an answer.
    fn say_harm(&self, running: &mut Running) {
        let harmful: Vec<OwnRule> = running.own.configured().filter(|rule| is_harmful(rule)).cloned().collect();
        let is_said = |said: &[(RuleId, String)], rule: &OwnRule| {
            said.iter().any(|(id, text)| *id == rule.id && *text == rule.text)
        };
        for rule in harmful.iter().filter(|rule| !is_said(&running.harm_said, rule)) {
            tracing::warn!("{}", prediction(rule, false).unwrap_or_default());
        }
        running.harm_said = harmful.into_iter().map(|rule| (rule.id, rule.text)).collect();
    }

    /// Keeps the numbers of the configuration's rules over a restart.
    fn keep_names(&self, running: &Running) {
        if running.are_own_complete {
            self.record.keep(record::RULE_NAMES, serde_json::to_string(running.own.names()).unwrap_or_default());
        }
    }

    /// Keeps the last numbers that were given, when they are others.
    pub(super) fn keep_numbers(&self, running: &mut Running) {
        let numbers = GivenNumbers { found: running.detector.numbers(), said: running.own.next() };
        if running.are_own_complete && numbers != running.numbers {
            running.numbers = numbers;
            self.record.keep(record::NUMBERS, serde_json::to_string(&numbers).unwrap_or_default());
        }
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
        rules.extend(running.passed_over.rules.iter().cloned());
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

/// Which rules are not in force, and why.
pub(super) fn not_in_force(own: &OwnRules) -> Vec<String> {
    own.not_in_force().map(|(rule, error)| is_not_in_force(rule, error)).collect()
}

fn is_not_in_force(rule: &OwnRule, error: &OwnRuleError) -> String {
    match &rule.reason {
        Some(name) if OwnRules::is_configured(rule.id) => {
            format!("the rule \"{name}\" of the configuration is not in force: {error}")
        }
        _ => format!("your rule {} is not in force: {error}", rule.id),
    }
}

/// What is to be said of those of the configuration that hit much of normal traffic.
pub(super) fn harmful(own: &OwnRules) -> Vec<String> {
    own.configured().filter(|rule| is_harmful(rule)).filter_map(|rule| prediction(rule, false)).collect()
}

fn is_predicted(rule: &OwnRule) -> bool {
    rule.predicted.is_some_and(|predicted| predicted.upper < 1.0)
}

fn is_harmful(rule: &OwnRule) -> bool {
    is_predicted(rule) && rule.predicted.is_some_and(|predicted| predicted.share > COLLATERAL_MAX)
}

/// What is to be said of what a rule of the configuration hits, where `rules add` would ask whether that is meant. What is not known is said
/// of one that is new.
fn prediction(rule: &OwnRule, is_new: bool) -> Option<String> {
    let name = rule.reason.as_deref().unwrap_or_default();
    match rule.predicted {
        Some(Collateral { share, upper }) if is_predicted(rule) => is_harmful(rule).then(|| {
            format!("the rule \"{name}\" hits {:.2}% of normal traffic, {:.2}% at most", 100.0 * share, 100.0 * upper)
        }),
        _ if !is_new => None,
        _ => Some(format!(
            "what the rule \"{name}\" hits of normal traffic is not known yet; `seawall rules list` says it once enough was learned, \
             though never of client networks"
        )),
    }
}
