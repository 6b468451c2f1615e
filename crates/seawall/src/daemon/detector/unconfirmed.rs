//! Rules of the operator that end unless they are confirmed.

use seawall_engine::decision::{RuleId, RuleStatus};
use seawall_engine::units::Timestamp;

use super::{Detecting, Running};
use crate::record::{Action, Actor};

/// A rule that ends with its deadline unless it is confirmed.
pub(super) struct Unconfirmed {
    pub(super) rule: RuleId,
    until: Timestamp,
    /// When it ends once it is confirmed.
    expires: Timestamp,
}

impl Detecting {
    /// Has a rule that was just added end with its deadline; in the record, too, so that a killed guard undoes it.
    pub(super) fn await_confirmation(&self, running: &mut Running, added: &RuleStatus, until: Timestamp) {
        let (rule, expires) = (added.id, added.expires.unwrap_or(until));
        running.own.set_end(rule, expires.min(until));
        running.unconfirmed.push(Unconfirmed { rule, until, expires });
    }

    /// The operator's rules as they are shown, those that wait to be confirmed with their deadlines.
    pub(super) fn own_status(running: &Running) -> Vec<RuleStatus> {
        let mut rules = running.own.status();
        for Unconfirmed { rule, until, .. } in &running.unconfirmed {
            let waiting = rules.iter_mut().find(|status| status.id == *rule);
            waiting.into_iter().for_each(|status| status.confirm_until = Some(*until));
        }
        rules
    }

    /// What waits to be confirmed lasts for as long as was asked for; returns how many rules that are.
    pub(super) fn confirm(&self, running: &mut Running) -> usize {
        let confirmed = std::mem::take(&mut running.unconfirmed);
        for Unconfirmed { rule, expires, .. } in &confirmed {
            running.own.set_end(*rule, *expires);
        }
        if !confirmed.is_empty() {
            let rules: Vec<String> = confirmed.iter().map(|confirmed| confirmed.rule.to_string()).collect();
            self.record.journal(Actor::Operator, Action::Confirm, rules.join(", "));
            self.own_changed(running, &[]);
        }
        // Only now: what is undone leaves everything as it was before.
        confirmed.iter().for_each(|confirmed| self.lift_vetoes_for(running, confirmed.rule));
        confirmed.len()
    }

    /// Takes rules back whose time to be confirmed is over.
    pub(super) fn undo_unconfirmed(&self, running: &mut Running, now: Timestamp) {
        let undone: Vec<RuleId> =
            running.unconfirmed.extract_if(.., |change| change.until <= now).map(|change| change.rule).collect();
        for rule in &undone {
            if running.own.remove(*rule).is_some() {
                self.record.journal(Actor::Guard, Action::Undo, format!("{rule} was not confirmed in time"));
                tracing::info!("{rule} was not confirmed in time and is taken back");
            }
        }
        if !undone.is_empty() {
            self.own_changed(running, &undone);
        }
    }
}
