//! What the operator took back of what detection has found: kept over a restart, and lifted at the operator's word.

use std::time::Duration;

use seawall_engine::decision::{RuleId, Veto};
use seawall_engine::units::Timestamp;

use super::{Detecting, Running};
use crate::host::clock::carried_over;
use crate::record::{self, Action, Actor};

/// What became of a rule that detection had found and that was taken back.
#[derive(Debug)]
pub struct Withdrawn {
    /// Rules that went with it, since they come to the same.
    pub with: Vec<RuleId>,
    /// For how long it is not put in force again; none of one that there was not.
    pub veto: Option<Veto>,
}

impl Detecting {
    /// Takes back what detection has found.
    pub(super) fn withdraw(&self, running: &mut Running, rule: RuleId, length: Option<Duration>) -> Withdrawn {
        let before: Vec<RuleId> = running.detector.every_rule().map(|rule| rule.id).collect();
        for event in running.detector.withdraw(rule, running.at, length) {
            self.note(running, Some(event));
        }
        let is_gone = |id: &RuleId| *id != rule && running.detector.every_rule().all(|left| left.id != *id);
        let with = before.into_iter().filter(is_gone).collect();
        let veto = running.detector.vetoes().find(|veto| veto.rule.id == rule).cloned();
        self.keep_vetoes(running);
        self.publish_rules(running);
        Withdrawn { with, veto }
    }

    /// Lets a rule be made again that was taken back.
    pub(super) fn lift_veto(&self, running: &mut Running, rule: RuleId) -> Option<Veto> {
        let veto = running.detector.lift_veto(rule);
        self.keep_vetoes(running);
        veto
    }

    /// Lets rules be made again all of which a rule of the operator's refuses from now on, for good.
    pub(super) fn lift_vetoes_for(&self, running: &mut Running, rule: RuleId) {
        let said = running.own.for_gate().into_iter().find(|said| said.id == rule);
        let lifted = said.map(|said| running.detector.lift_vetoes_within(&said.conditions));
        for lifted in lifted.unwrap_or_default() {
            let text = format!("{lifted} may be made again, since {rule} refuses all of it");
            self.record.journal(Actor::Operator, Action::Undo, text);
        }
        self.keep_vetoes(running);
    }

    /// Takes up what was taken back before a restart.
    pub(super) fn take_up_vetoes(&self, running: &mut Running, vetoes: Vec<Veto>, now: Timestamp) {
        let (step, at) = (running.step, running.at);
        let mut lasting = Vec::new();
        for kept in vetoes {
            let mut veto = kept.clone();
            veto.since = step.to_guard(veto.since);
            if let Some(until) = veto.until {
                let (since, until) = carried_over(veto.since, step.to_guard(until), now);
                (veto.since, veto.until) = (since, Some(until));
            }
            if veto.until.is_some_and(|until| until <= now) {
                running.passed_over.vetoes.push(kept);
            } else {
                lasting.push(veto);
            }
        }
        for event in running.detector.take_up_vetoes(lasting, at) {
            self.note(running, Some(event));
        }
    }

    /// Keeps what is taken back over a restart, where that has changed.
    pub(super) fn keep_vetoes(&self, running: &mut Running) {
        if !running.are_own_complete || running.detector.vetoes().eq(&running.vetoes) {
            return;
        }
        let vetoes: Vec<Veto> = running.detector.vetoes().cloned().collect();
        let is_over = |veto: &Veto| veto.until.is_some_and(|until| until <= running.at);
        for gone in running.vetoes.iter().filter(|before| vetoes.iter().all(|veto| veto.rule.id != before.rule.id)) {
            if is_over(gone) {
                self.journal_lapsed(gone, "");
            }
        }
        self.write_vetoes(running);
    }

    /// Keeps all of it anew.
    pub(super) fn write_vetoes(&self, running: &mut Running) {
        if !running.are_own_complete {
            return;
        }
        // Whom one about a network names is written nowhere, so that it ends with the guard.
        let vetoes: Vec<Veto> = running.detector.vetoes().cloned().collect();
        let kept = vetoes.iter().filter(|veto| veto.is_told_by_text()).cloned().map(|mut veto| {
            veto.since = running.step.to_machine(veto.since);
            veto.until = veto.until.map(|until| running.step.to_machine(until));
            veto
        });
        let kept: Vec<Veto> = kept.chain(running.passed_over.vetoes.iter().cloned()).collect();
        self.record.keep(record::VETOES, serde_json::to_string(&kept).unwrap_or_default());
        running.vetoes = vetoes;
    }

    pub(super) fn journal_lapsed(&self, veto: &Veto, when: &str) {
        let text = format!("{} may be made again{when}: {}", veto.rule.id, veto.rule.text);
        self.record.journal(Actor::Guard, Action::Expire, text);
    }
}
