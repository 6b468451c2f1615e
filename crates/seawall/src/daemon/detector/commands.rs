//! What the detecting thread is told, and what it does then.

use std::time::Duration;

use seawall_engine::address::AddressSet;
use seawall_engine::decision::{Enforce, OwnRule, OwnRuleError, RuleId, Stage, Veto};
use seawall_engine::units::Timestamp;
use tokio::sync::oneshot;

use super::{AddedRule, Detecting, KeptRules, Running, Withdrawn};
use crate::config::ConfiguredRule;

/// What the detecting thread is told.
#[derive(Debug)]
pub enum Command {
    /// The configuration has changed.
    Configuration {
        /// When rules are put in force.
        enforce: Enforce,
        /// Whom nothing is ever done to.
        never_ban: AddressSet,
        /// What is always refused.
        rules: Vec<ConfiguredRule>,
        /// Told what there is to say of these rules to whoever put them there.
        done: oneshot::Sender<Vec<String>>,
    },
    /// The never-ban list has changed.
    NeverBan(AddressSet),
    /// Take every rule out of force, or go on; answered with how many were in force.
    Panic(bool, oneshot::Sender<usize>),
    /// Put a rule of the operator in force, and take it back at a moment unless it is confirmed.
    AddRule(OwnRule, Option<Timestamp>, oneshot::Sender<Result<AddedRule, OwnRuleError>>),
    /// Answered with what a rule of the operator would be and do, which is not put in force.
    TryRule(OwnRule, oneshot::Sender<Result<AddedRule, OwnRuleError>>),
    /// Take up the operator's rules of before the start, which could be read only now.
    TakeUpRules(KeptRules),
    /// Let stay what waits to be confirmed; answered with how many rules that were.
    Confirm(oneshot::Sender<usize>),
    /// Answered once what is shown is of now.
    Show(oneshot::Sender<()>),
    /// Answered with the whole text of every rule, client networks included.
    RuleTexts(oneshot::Sender<Vec<(RuleId, String)>>),
    /// Take a rule back, and put what comes to the same not in force for this time; answered once that is so.
    Withdraw(RuleId, Option<Duration>, oneshot::Sender<Withdrawn>),
    /// Let a rule be made again that was taken back; answered with how it was.
    LiftVeto(RuleId, oneshot::Sender<Option<Veto>>),
    /// Save and end.
    Stop,
}

impl Detecting {
    /// Does what it is told, and says whether the engine is to be asked at once.
    pub(super) fn obey(&self, running: &mut Running, command: Command, now: Timestamp) -> bool {
        match command {
            // The thread ends with it.
            Command::Stop => false,
            Command::Configuration { enforce, never_ban, rules, done } => {
                running.enforce = enforce;
                running.detector.set_policy(enforce, never_ban.clone());
                let _ = done.send(self.configure_rules(running, rules, &never_ban, now));
                // The gate's rules carry the never-ban list, so they are made anew even if none has changed.
                running.published = None;
                true
            }
            Command::NeverBan(never_ban) => {
                self.recheck_own(running, &never_ban);
                running.detector.set_policy(running.enforce, never_ban);
                running.published = None;
                false
            }
            Command::Panic(is_on, done) => {
                let rules = running.own.for_gate().into_iter().chain(running.detector.rules());
                let in_force =
                    if running.is_panicked { 0 } else { rules.filter(|rule| rule.stage == Stage::Enforced).count() };
                (running.is_panicked, running.published) = (is_on, None);
                running.panics += 1;
                self.publish_rules(running);
                let _ = done.send(in_force);
                true
            }
            Command::AddRule(rule, until, done) => {
                let added = self.add_rule(running, rule, until);
                let _ = done.send(added);
                true
            }
            Command::TryRule(rule, done) => {
                let _ = done.send(self.try_rule(running, rule, false).map(|(_, added)| added));
                false
            }
            Command::TakeUpRules(rules) => {
                self.take_up(running, rules, now);
                self.own_changed(running, &[]);
                true
            }
            Command::Confirm(done) => {
                let _ = done.send(self.confirm(running));
                false
            }
            Command::Show(done) => {
                running.asked_to_show = Some(done);
                true
            }
            Command::RuleTexts(done) => {
                let own = running.own.for_gate();
                let rules = own.iter().chain(running.detector.every_rule());
                let _ = done.send(rules.map(|rule| (rule.id, rule.text_with_networks())).collect());
                false
            }
            Command::Withdraw(rule, _, done) if running.own.remove(rule).is_some() => {
                running.unconfirmed.retain(|unconfirmed| unconfirmed.rule != rule);
                self.own_changed(running, &[rule]);
                let _ = done.send(Withdrawn { with: Vec::new(), veto: None });
                true
            }
            Command::Withdraw(rule, length, done) => {
                // Whoever asked may have gone; the rule is withdrawn all the same.
                let _ = done.send(self.withdraw(running, rule, length));
                true
            }
            Command::LiftVeto(rule, done) => {
                let _ = done.send(self.lift_veto(running, rule));
                true
            }
        }
    }
}
