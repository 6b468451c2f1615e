//! What of the operator's had ended by the date at the start: not in force, and kept until it is sure that the date is right. A machine's
//! clock may be ahead for a minute at its start, and what it ends would be gone for good.

use seawall_engine::decision::{OwnRule, Veto};
use seawall_engine::units::Timestamp;

use super::{Detecting, Running};
use crate::record::{Action, Actor};

/// What is kept, in the machine's time, as it was read.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    pub(super) rules: Vec<OwnRule>,
    pub(super) vetoes: Vec<Veto>,
}

impl Detecting {
    /// The machine's clock was set: what has not ended by the date that it shows now is in force again.
    pub(super) fn take_up_passed_over(&self, running: &mut Running, now: Timestamp) {
        let PassedOver { rules, vetoes } = std::mem::take(&mut running.passed_over);
        if rules.is_empty() && vetoes.is_empty() {
            return;
        }
        let before: Vec<_> = running.own.said().iter().map(|rule| rule.id).collect();
        self.take_up_said(running, rules, now);
        self.take_up_vetoes(running, vetoes, now);
        let said = running.own.said();
        let again: Vec<&OwnRule> = said.iter().filter(|rule| !before.contains(&rule.id)).collect();
        for rule in &again {
            let text = format!("{} goes on, since the machine's clock was set back: {}", rule.id, rule.text);
            self.record.journal(Actor::Guard, Action::Undo, text);
        }
        if !again.is_empty() {
            running.published = None;
        }
    }

    /// Lets go of it, once the date is right.
    pub(super) fn end_passed_over(&self, running: &mut Running) {
        if !self.record.has_date_settled() {
            return;
        }
        let PassedOver { rules, vetoes } = std::mem::take(&mut running.passed_over);
        let when = ", while no guard ran";
        rules.iter().for_each(|rule| self.journal_ended(rule, when));
        vetoes.iter().for_each(|veto| self.journal_lapsed(veto, when));
        if !rules.is_empty() {
            self.keep_own(running);
        }
        if !vetoes.is_empty() {
            self.write_vetoes(running);
        }
    }
}
