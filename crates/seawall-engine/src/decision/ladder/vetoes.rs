//! What the ladder does at the operator's word: rules are taken back, and what comes to the same is not put in force again.

use std::time::Duration;

use super::super::veto::{self, Veto};
use super::super::{Condition, Event, EventKind, RuleId};
use super::{Held, Ladder};
use crate::units::Timestamp;

impl Ladder {
    /// Takes a rule back at the operator's word, and with it what comes to the same; neither is put in force again for this time, or
    /// until a day after its incident. `open` is the incident that is open. Of one that was taken back before that time is said anew.
    pub(crate) fn withdraw(
        &mut self,
        id: RuleId,
        now: Timestamp,
        length: Option<Duration>,
        open: Option<u32>,
    ) -> Vec<Event> {
        if let Some((held, event)) = self.take_back(id, now, "by the operator") {
            let until = veto::end(now, length, Some(held.incident) == open);
            self.vetoes.add(held.status(), held.rule.conditions, now, until);
            let mut events = vec![event];
            events.extend(self.obey_vetoes(now));
            return events;
        }
        let is_open = self.vetoes.iter().any(|veto| veto.rule.id == id && Some(veto.rule.incident) == open);
        let renewed = self.vetoes.renew(id, veto::end(now, length, is_open));
        let event = renewed.map(|veto| {
            let text = format!("{id} stays withdrawn, by the operator: {}", veto.rule.text);
            Event { at: now, kind: EventKind::RuleWithdrawn, text }
        });
        event.into_iter().collect()
    }

    /// What the operator took back.
    pub(crate) fn vetoes(&self) -> impl Iterator<Item = &Veto> {
        self.vetoes.iter()
    }

    /// Takes up what the operator took back before a restart; what was found meanwhile and comes to the same goes.
    pub(crate) fn take_up_vetoes(&mut self, vetoes: Vec<Veto>, now: Timestamp) -> Vec<Event> {
        self.vetoes.take_up(vetoes, now);
        self.obey_vetoes(now)
    }

    /// Lets time pass for what the operator took back.
    pub(crate) fn pass_vetoes(&mut self, now: Timestamp, open: Option<u32>) {
        self.vetoes.pass(now, open);
    }

    /// Lets a rule be made again that the operator took back.
    pub(crate) fn lift_veto(&mut self, id: RuleId) -> Option<Veto> {
        self.vetoes.lift(id)
    }

    /// Lets those be made again all of which the operator has refused by a rule of these conditions.
    pub(crate) fn lift_vetoes_within(&mut self, conditions: &[Condition]) -> Vec<RuleId> {
        self.vetoes.lift_within(conditions)
    }

    /// Takes back what comes to the same as what the operator took back: else whom that refused would be refused further.
    fn obey_vetoes(&mut self, now: Timestamp) -> Vec<Event> {
        let vetoes = &mut self.vetoes;
        let mut is_vetoed = |held: &&Held| vetoes.against(&held.rule.conditions, &held.evidence.closure).is_some();
        let vetoed: Vec<RuleId> = self.rules.iter().filter(|held| is_vetoed(held)).map(|held| held.rule.id).collect();
        let why = "since it comes to the same as what the operator took back";
        vetoed.into_iter().filter_map(|id| Some(self.take_back(id, now, why)?.1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, finding, run};
    use super::super::{Finding, Permit, RULES_PER_INCIDENT_MAX};
    use super::*;
    use crate::decision::Stage;
    use crate::observation::attribute::Attribute;

    #[test]
    fn what_the_operator_took_back_is_found_and_shown_and_takes_no_others_place() {
        let mut ladder = Ladder::default();
        let bad = finding("bad");
        let mut narrower = bad.clone();
        narrower.conditions.push(Condition::new(Attribute::Path, b"/x"));
        run(&mut ladder, 0..5000, Some(&bad), Permit::Refuse);
        ladder.take(at(5000), 1, vec![narrower.clone()], Permit::Refuse);
        let pardons = ladder.pardons().clone();
        let events = ladder.withdraw(RuleId(1), at(5000), None, Some(1));
        // What comes to the same goes with it, and whom either has dropped is free.
        assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::RuleWithdrawn; 2]);
        assert_eq!(ladder.pardons().rules_since(&pardons).collect::<Vec<_>>(), [RuleId(1), RuleId(2)]);
        let again: Vec<EventKind> = [&bad, &narrower, &bad]
            .into_iter()
            .flat_map(|finding| ladder.take(at(6000), 1, vec![finding.clone()], Permit::Refuse))
            .map(|event| event.kind)
            .collect();
        assert_eq!(again, [EventKind::RuleProposed], "it is said once");
        assert!(ladder.for_gate().is_empty());
        let [status] = &ladder.status()[..] else { panic!("one rule") };
        assert_eq!((status.id, status.stage, status.matched > 0), (RuleId(1), Stage::Vetoed, true));
        assert!(status.reason.contains("found again in incident 1 and not put in force"), "{}", status.reason);
        assert_eq!(ladder.of_incident(1), [RuleId(1)]);
        // Others have all the room that there is.
        let others: Vec<Finding> = (0..5).map(|number| finding(&format!("other {number}"))).collect();
        assert_eq!(ladder.take(at(6000), 1, others, Permit::Refuse).len(), RULES_PER_INCIDENT_MAX);
        // A day after its incident, or when the operator says so, it may be made again.
        ladder.pass_vetoes(at(7000), None);
        ladder.pass_vetoes(at(7000 + 86_399_000), None);
        assert!(
            ladder
                .take(at(6000), 2, vec![bad.clone()], Permit::Refuse)
                .iter()
                .all(|event| event.kind == EventKind::RuleProposed)
        );
        assert_eq!(ladder.clone().lift_veto(RuleId(1)).map(|veto| veto.rule.id), Some(RuleId(1)));
        ladder.pass_vetoes(at(7000 + 86_400_000), None);
        assert_eq!(ladder.vetoes().count(), 0);
        let made = ladder.take(at(7000 + 86_400_000), 2, vec![bad], Permit::Refuse);
        assert_eq!(made.first().map(|event| event.kind), Some(EventKind::RuleShadowed));
    }

    #[test]
    fn what_was_found_before_the_vetoes_were_read_goes_when_they_are() {
        let mut ladder = Ladder::default();
        run(&mut ladder, 0..5000, Some(&finding("bad")), Permit::Refuse);
        let mut before = ladder.clone();
        before.withdraw(RuleId(1), at(5000), Some(Duration::from_secs(60)), Some(1));
        before.withdraw(RuleId(1), at(6000), Some(Duration::from_secs(60)), Some(1));
        let mut kept: Vec<Veto> = before.vetoes().cloned().collect();
        assert_eq!(kept.iter().map(|veto| veto.until).collect::<Vec<_>>(), [Some(at(66_000))]);
        kept[0].rule.id = RuleId(70);
        assert_eq!(ladder.take_up_vetoes(kept, at(5000)).len(), 1);
        assert!(ladder.for_gate().is_empty());
        assert_eq!(ladder.status().iter().map(|rule| rule.id).collect::<Vec<_>>(), [RuleId(70)]);
    }
}
