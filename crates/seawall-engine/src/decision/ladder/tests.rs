//! Rules on their way up and down, with findings and counts as a flood would bring them.

use super::*;
use crate::decision::{Action, Evidence};
use crate::observation::attribute::Attribute;

pub(super) fn at(millis: u64) -> Timestamp {
    Timestamp::from_micros(1_000_000_000 + millis * 1000)
}

pub(super) fn finding(agent: &str) -> Finding {
    Finding {
        conditions: vec![Condition::new(Attribute::UserAgent, agent.as_bytes())],
        evidence: Evidence { score: 0.9, coverage: 0.95, collateral_upper: 0.001, ..Evidence::default() },
        normal_rate: 0.0,
        of_left: 0.95,
        cleared: true,
        is_unanswered: false,
        has_foreign_mark: true,
        is_beside_crowd: false,
    }
}

fn met(id: u32, matched: u64) -> RuleTraffic {
    RuleTraffic { matched, known: 10, ..RuleTraffic::none(RuleId(id)) }
}

/// Finds, counts and steps once each quarter of a second.
pub(super) fn run(
    ladder: &mut Ladder,
    millis: std::ops::Range<u64>,
    finding: Option<&Finding>,
    permit: Permit,
) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    for now in millis.step_by(250).map(at) {
        if let Some(finding) = finding {
            ladder.count(now, &met(1, 10));
            kinds.extend(ladder.take(now, 1, vec![finding.clone()], permit).into_iter().map(|event| event.kind));
        }
        kinds.extend(ladder.step(now, permit).into_iter().map(|event| event.kind));
    }
    kinds
}

#[test]
fn rules_that_come_back_are_no_more_than_new_ones_may_be() {
    let mut ladder = Ladder::default();
    // As many as an incident may have, three times over, each lot retired before the next.
    for lot in 0..3_u64 {
        let findings: Vec<Finding> = (0..5).map(|number| finding(&format!("{lot} {number}"))).collect();
        for step in 0..2000 {
            let now = at(lot * 1_000_000 + step * 250);
            let found = if step < 8 { findings.clone() } else { Vec::new() };
            (1..=15).for_each(|id| ladder.count(now, &met(id, if step < 8 { 10 } else { 0 })));
            ladder.take(now, lot as u32, found, Permit::Refuse);
            ladder.step(now, Permit::Refuse);
        }
    }
    assert_eq!(ladder.rules().filter(|rule| rule.stage == Stage::Retired).count(), 15, "all are retired");
    let now = at(6_000_000);
    let armed: Vec<Event> = (1..=15).filter_map(|id| ladder.arm(now, RuleId(id), 9, Permit::Refuse)).collect();
    assert_eq!(armed.len(), RULES_PER_INCIDENT_MAX);
    assert_eq!(ladder.rules().filter(|rule| rule.stage == Stage::Enforced).count(), RULES_PER_INCIDENT_MAX);
}

#[test]
fn beside_a_server_rules_say_what_they_would_do() {
    let told = |beside, mut finding: Finding| {
        let mut ladder = Ladder::new(beside);
        let mut texts = Vec::new();
        for now in (0..15_000).step_by(250).map(at) {
            ladder.count(now, &met(1, 10));
            // Found out later: it slows down first.
            finding.evidence.collateral_upper = if now < at(5_000) { 0.005 } else { 0.001 };
            finding.evidence.score = if now < at(5_000) { 0.4 } else { 0.9 };
            texts.extend(ladder.take(now, 1, vec![finding.clone()], Permit::Refuse));
            texts.extend(ladder.step(now, Permit::Refuse));
        }
        texts.retain(|event| event.kind == EventKind::RuleEnforced);
        let texts: Vec<String> = texts.into_iter().map(|event| event.text).collect();
        (texts.join("\n"), ladder.status().remove(0).reason)
    };
    let (events, reason) = told(false, finding("flood"));
    assert!(
        events.contains("R1 throttles to 1.0 requests/s, ") && events.contains("R1 refuses with 403, "),
        "{events}"
    );
    assert!(reason.starts_with("enforced: it refuses with 403, since "), "{reason}");
    let (events, reason) = told(true, finding("flood"));
    assert!(events.contains("R1 would slow down to 1.0 requests/s, "), "{events}");
    assert!(events.contains("R1 would refuse with 403, ") && !events.contains("refuses"), "{events}");
    assert!(reason.starts_with("decided: it would refuse with 403, since "), "{reason}");
}

#[test]
fn what_asks_for_any_query_is_only_shown_where_it_might_hit_one_in_five_hundred() {
    let page = Condition::new(Attribute::Path, b"/");
    let wide = |collateral_upper, has_foreign_mark| Finding {
        conditions: vec![page.clone(), Condition::present(Attribute::QueryKeys)],
        evidence: Evidence { collateral_upper, ..finding("").evidence },
        has_foreign_mark,
        ..finding("")
    };
    for (collateral_upper, has_foreign_mark, is_enforced) in
        [(0.0019, false, true), (0.0021, false, false), (0.0021, true, true)]
    {
        let mut ladder = Ladder::default();
        let wide = wide(collateral_upper, has_foreign_mark);
        let told = run(&mut ladder, 0..30_000, Some(&wide), Permit::Refuse);
        assert_eq!(
            told.contains(&EventKind::RuleEnforced),
            is_enforced,
            "{collateral_upper} {has_foreign_mark}: {told:?}"
        );
        assert_eq!(told.contains(&EventKind::RuleProposed), !is_enforced, "{told:?}");
    }
    // On the first day it only slows down; when that is over it neither refuses nor stays.
    let mut ladder = Ladder::default();
    let wide = wide(0.006, false);
    run(&mut ladder, 0..30_000, Some(&wide), Permit::Throttle);
    let first_day = ladder.for_gate();
    assert!(matches!(first_day[0].action, Action::Throttle { .. }), "{first_day:?}");
    for now in (30_000..100_000).step_by(250) {
        run(&mut ladder, now..now + 250, Some(&wide), Permit::Refuse);
        let is_slowed_down = |rule: &Rule| matches!(rule.action, Action::Throttle { .. });
        assert!(ladder.for_gate().iter().all(is_slowed_down), "{now} ms");
    }
    assert!(ladder.for_gate().is_empty());
    let reason = ladder.status().remove(0).reason;
    assert!(reason.starts_with("proposed: it meets queries of all kinds"), "{reason}");
}

#[test]
fn a_rule_goes_up_comes_down_and_is_armed_again() {
    let mut ladder = Ladder::default();
    let finding = finding("bad");
    let up = run(&mut ladder, 0..30_000, Some(&finding), Permit::Refuse);
    assert_eq!(up, [EventKind::RuleShadowed, EventKind::RuleEnforced]);
    assert_eq!(ladder.status()[0].enforced, Some(at(1000)));
    assert_eq!(ladder.for_gate()[0].action, Action::Refuse { status: 403 });
    // Nothing comes: after a minute it slows down only, after one more it is let go.
    assert_eq!(run(&mut ladder, 30_000..120_000, None, Permit::Refuse), [EventKind::RuleRetired]);
    assert!(matches!(ladder.for_gate()[0].action, Action::Throttle { .. }));
    assert_eq!(run(&mut ladder, 120_000..200_000, None, Permit::Refuse), [EventKind::RuleRetired]);
    assert!(ladder.for_gate().is_empty());
    let again = run(&mut ladder, 200_000..200_250, Some(&finding), Permit::Refuse);
    assert_eq!(again, [EventKind::RuleEnforced]);
}

#[test]
fn what_comes_back_meets_the_whole_rule_within_a_window_and_a_more_patient_one() {
    let mut ladder = Ladder::default();
    let finding = finding("bad");
    run(&mut ladder, 0..30_000, Some(&finding), Permit::Refuse);
    assert_eq!(run(&mut ladder, 30_000..100_000, None, Permit::Refuse), [EventKind::RuleRetired]);
    // It is back with forty requests a second.
    let back = run(&mut ladder, 100_000..101_000, Some(&finding), Permit::Refuse);
    assert_eq!(back, [EventKind::RuleEnforced]);
    assert_eq!(ladder.for_gate()[0].action, Action::Refuse { status: 403 });
    // The next pause of as long is waited through, so the rule does not flap.
    assert_eq!(run(&mut ladder, 101_000..171_000, None, Permit::Refuse), []);
    assert_eq!(run(&mut ladder, 171_000..230_000, None, Permit::Refuse), [EventKind::RuleRetired]);
}

#[test]
fn a_trickle_neither_keeps_a_rule_nor_brings_it_back() {
    let mut ladder = Ladder::default();
    run(&mut ladder, 0..30_000, Some(&finding("bad")), Permit::Refuse);
    let mut kinds = Vec::new();
    for tick in 120..1200_u64 {
        if tick % 50 == 0 {
            ladder.count(at(tick * 250), &met(1, 1));
        }
        kinds.extend(ladder.step(at(tick * 250), Permit::Refuse).into_iter().map(|event| event.kind));
    }
    assert_eq!(kinds, [EventKind::RuleRetired, EventKind::RuleRetired]);
}

/// A flood of which this share goes on after refusals, for a minute; what the rule does at its end.
fn action_against(finding: &Finding, refused_again: u64, matched_known: u64) -> (Ladder, Action) {
    let mut ladder = Ladder::default();
    for tick in 0..240 {
        let traffic = RuleTraffic { refused: 10, refused_again, matched_known, known: 1000, ..met(1, 10) };
        ladder.count(at(tick * 250), &traffic);
        ladder.take(at(tick * 250), 1, vec![finding.clone()], Permit::Refuse);
        ladder.step(at(tick * 250), Permit::Refuse);
    }
    let action = ladder.for_gate()[0].action;
    (ladder, action)
}

#[test]
fn only_hard_evidence_against_those_who_go_on_drops() {
    let refuse = Action::Refuse { status: 403 };
    let hard = finding("bad");
    assert_eq!(action_against(&hard, 9, 0).1, Action::Drop);
    assert_eq!(action_against(&hard, 2, 0).1, refuse);
    assert_eq!(action_against(&Finding { has_foreign_mark: false, ..hard.clone() }, 9, 0).1, refuse);
    let mut wide = hard;
    wide.evidence.collateral_upper = 0.002;
    assert_eq!(action_against(&wide, 9, 0).1, refuse);
}

#[test]
fn a_rule_that_drops_counts_and_gives_way_and_is_withdrawn() {
    let (mut ladder, action) = action_against(&finding("bad"), 9, 0);
    assert_eq!(action, Action::Drop);
    let matched = ladder.status()[0].matched;
    // A client of good standing: it refuses from now on, and says so.
    ladder.count(at(60_000), &RuleTraffic { matched_known: 1, known: 1000, ..met(1, 10) });
    let events = ladder.step(at(60_000), Permit::Refuse);
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::RuleRetired]);
    assert_eq!(ladder.for_gate()[0].action, Action::Refuse { status: 403 });
    assert_eq!(ladder.status()[0].matched, matched + 10);
    // More of them: it is withdrawn as any other.
    ladder.count(at(60_250), &RuleTraffic { matched_known: 20_000, known_clients: 9, known: 20_000, ..met(1, 20_000) });
    let events = ladder.step(at(60_250), Permit::Refuse);
    assert_eq!(events.last().map(|event| event.kind), Some(EventKind::RuleWithdrawn));
}

#[test]
fn numbers_go_on_after_those_of_before_and_never_reach_the_operators() {
    let number_after = |last: u32| {
        let mut ladder = Ladder::default();
        ladder.number_after(last);
        ladder.number_after(7);
        ladder.take(at(0), 1, vec![finding("one"), finding("two")], Permit::Refuse);
        assert!(ladder.last_number() >= ladder.status()[1].id.0);
        ladder.status().iter().map(|rule| rule.id.0).rev().collect::<Vec<_>>()
    };
    assert_eq!(number_after(12), [13, 14]);
    assert_eq!(number_after(3), [8, 9]);
    assert_eq!(number_after(9_999), [1, 10_000]);
    assert_eq!(number_after(u32::MAX), [1, 2]);
    // One that is still there keeps its number.
    let mut ladder = Ladder::default();
    ladder.take(at(0), 1, vec![finding("first")], Permit::Refuse);
    ladder.number_after(u32::MAX);
    ladder.take(at(0), 1, vec![finding("second")], Permit::Refuse);
    assert_eq!(ladder.status().iter().map(|rule| rule.id.0).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn its_life_doubles_while_the_flood_goes_on() {
    let mut ladder = Ladder::default();
    run(&mut ladder, 0..400_000, Some(&finding("bad")), Permit::Refuse);
    let status = &ladder.status()[0];
    // In force at 1 s, renewed at 61 s for two minutes and at 181 s for four.
    assert_eq!(status.expires, Some(at(421_000)));
}

#[test]
fn a_young_baseline_throttles_for_a_minute() {
    let mut ladder = Ladder::default();
    let finding = finding("bad");
    run(&mut ladder, 0..5000, Some(&finding), Permit::Throttle);
    assert!(matches!(ladder.for_gate()[0].action, Action::Throttle { .. }));
    assert_eq!(ladder.status()[0].expires, Some(at(61_000)));
}

#[test]
fn nothing_is_enforced_that_is_not_cleared_or_not_met() {
    let mut ladder = Ladder::default();
    let crowd = Finding { cleared: false, ..finding("crowd") };
    assert_eq!(run(&mut ladder, 0..30_000, Some(&crowd), Permit::Refuse), [EventKind::RuleShadowed]);
    assert!(ladder.spare(at(100), &crowd.conditions, false).is_none());
    assert!(ladder.status().is_empty());
    let mut ladder = Ladder::default();
    let events: Vec<Event> = (0..20)
        .flat_map(|tick| {
            let mut events = ladder.take(at(tick * 250), 1, vec![finding("unmet")], Permit::Refuse);
            events.extend(ladder.step(at(tick * 250), Permit::Refuse));
            events
        })
        .collect();
    assert_eq!(events.len(), 1);
}

/// How many of the requests of the first rule there is one that passes.
fn interval(ladder: &Ladder) -> u32 {
    ladder.for_gate()[0].canary_interval
}

#[test]
fn more_is_let_through_until_it_is_known_what_they_do_whom_the_site_answers() {
    let mut ladder = Ladder::default();
    let found = Finding { has_foreign_mark: false, ..finding("bad") };
    let unanswered = Finding { is_unanswered: true, ..found.clone() };
    // What was found last before it is in force counts, if it is known of that what it meets.
    run(&mut ladder, 0..500, Some(&found), Permit::Refuse);
    run(&mut ladder, 500..1_000, Some(&unanswered), Permit::Refuse);
    run(&mut ladder, 1_000..1_250, Some(&Finding { cleared: false, ..found.clone() }), Permit::Refuse);
    run(&mut ladder, 1_250..5_000, None, Permit::Refuse);
    assert_eq!((ladder.to_be_told(at(5_000)).count(), interval(&ladder)), (1, 8));
    // What is found once few come through says nothing.
    run(&mut ladder, 5_000..6_000, Some(&found), Permit::Refuse);
    let told = ladder.to_be_told(at(6_000)).count();
    assert_eq!((told, ladder.status()[0].asking), (1, Some(interval(&ladder))));
    let generation = ladder.generation();
    assert_eq!(ladder.note_told(at(6_000), RuleId(1), Told::NoPeople), None);
    run(&mut ladder, 6_000..7_000, Some(&unanswered), Permit::Refuse);
    assert_eq!((ladder.status()[0].asking, interval(&ladder)), (None, 256));
    assert!(ladder.generation() > generation);
}

#[test]
fn whether_a_crowd_has_come_to_what_was_none_is_asked_now_and_then() {
    for has_foreign_mark in [false, true] {
        let mut ladder = Ladder::default();
        let found = Finding { has_foreign_mark, ..finding("bad") };
        run(&mut ladder, 0..5_000, Some(&found), Permit::Refuse);
        let due = |ladder: &Ladder, moment| ladder.to_be_told(at(moment)).count() == 1;
        assert_eq!((due(&ladder, 9_999), due(&ladder, 10_000)), (false, !has_foreign_mark));
        assert_eq!(ladder.note_told(at(10_000), RuleId(1), Told::Little), None);
        assert_eq!((due(&ladder, 19_999), due(&ladder, 20_000)), (false, !has_foreign_mark));
        assert_eq!(interval(&ladder), 256, "one in so many tells of a crowd that is larger than the flood was");
        let event = ladder.note_told(at(20_000), RuleId(1), Told::People).expect("it is let go");
        assert!(event.text.contains("what it meets is a crowd"), "{event:?}");
    }
}

#[test]
fn one_that_asked_for_readers_who_were_no_crowd_is_not_asked_soon_again() {
    let mut ladder = Ladder::default();
    let found = Finding { has_foreign_mark: false, ..finding("bad") };
    run(&mut ladder, 0..10_000, Some(&found), Permit::Refuse);
    let due = |ladder: &Ladder, moment| ladder.to_be_told(at(moment)).count() == 1;
    ladder.note_told(at(10_000), RuleId(1), Told::LittleOfReaders);
    run(&mut ladder, 10_000..12_000, None, Permit::Refuse);
    assert!(ladder.status()[0].asking.is_some() && due(&ladder, 12_000));
    ladder.note_told(at(12_000), RuleId(1), Told::NoPeople);
    run(&mut ladder, 12_000..13_000, None, Permit::Refuse);
    assert_eq!((ladder.status()[0].asking, interval(&ladder)), (None, 256));
    assert_eq!((due(&ladder, 131_999), due(&ladder, 132_000)), (false, true));
    // Let go for such, it was no crowd either, once the site gave all of them something.
    ladder.note_told(at(132_000), RuleId(1), Told::People).expect("it is let go");
    run(&mut ladder, 132_000..195_000, Some(&found), Permit::Refuse);
    let enforced = ladder.status()[0].enforced.expect("it is in force again");
    assert!(ladder.status()[0].asking.is_none() && enforced > at(192_000));
    let again = |after: u64| ladder.to_be_told(enforced + Duration::from_millis(after)).count() == 1;
    assert_eq!((again(239_999), again(240_000)), (false, true));
}

#[test]
fn what_asked_when_it_was_let_go_asks_again_where_nobody_is_given_anything() {
    let mut ladder = Ladder::default();
    let found = Finding { has_foreign_mark: false, ..finding("bad") };
    run(&mut ladder, 0..5_000, Some(&found), Permit::Refuse);
    ladder.note_told(at(5_000), RuleId(1), Told::LittleOfReaders);
    run(&mut ladder, 5_000..5_500, None, Permit::Refuse);
    assert!(ladder.status()[0].asking.is_some());
    let only = ladder.rules.first_mut().expect("there is one");
    only.retire(at(5_500), "another explains more");
    run(&mut ladder, 5_500..8_000, Some(&Finding { is_unanswered: true, ..found }), Permit::Refuse);
    assert!(ladder.is_enforcing() && ladder.status()[0].asking.is_some());
}

#[test]
fn one_of_those_that_have_not_asked_is_told_at_a_time() {
    let mut ladder = Ladder::default();
    let found = ["one", "two"].map(|agent| Finding { has_foreign_mark: false, ..finding(agent) });
    for tick in 0..20 {
        (1..=2).for_each(|id| ladder.count(at(tick * 250), &met(id, 10)));
        ladder.take(at(tick * 250), 1, found.to_vec(), Permit::Refuse);
        ladder.step(at(tick * 250), Permit::Refuse);
    }
    let due = |ladder: &Ladder| ladder.to_be_told(at(20_000)).map(|(rule, _)| rule.0).collect::<Vec<_>>();
    let first = due(&ladder);
    assert_eq!(first.len(), 1);
    ladder.note_told(at(20_000), RuleId(first[0]), Told::Nothing);
    assert_eq!(due(&ladder), [3 - first[0]]);
}

#[test]
fn the_mark_of_a_sender_is_asked_about_beside_a_crowd_only() {
    for is_beside_crowd in [false, true] {
        let mut ladder = Ladder::default();
        let unanswered = Finding { is_unanswered: true, is_beside_crowd, ..finding("new") };
        run(&mut ladder, 0..3_000, Some(&unanswered), Permit::Refuse);
        assert_eq!(ladder.to_be_told(at(60_000)).count(), usize::from(is_beside_crowd));
        assert_eq!(ladder.status()[0].asking.is_some(), is_beside_crowd);
        // What the search takes for a side of the crowd is not let go, what they tell is believed.
        assert_eq!(ladder.spare(at(3_000), &unanswered.conditions, false), None);
        assert!(ladder.note_told(at(3_000), RuleId(1), Told::People).is_some());
    }
}

#[test]
fn a_crowd_that_was_refused_is_pardoned() {
    let crowd = Finding { has_foreign_mark: false, is_unanswered: true, ..finding("crowd") };
    let spare = |ladder: &mut Ladder| ladder.spare(at(3_000), &crowd.conditions, false);
    let told = |ladder: &mut Ladder| ladder.note_told(at(3_000), RuleId(1), Told::People);
    for let_go in [&spare as &dyn Fn(&mut Ladder) -> Option<Event>, &told] {
        let mut ladder = Ladder::default();
        run(&mut ladder, 0..3_000, Some(&crowd), Permit::Refuse);
        let event = let_go(&mut ladder).expect("it was in force");
        assert!(event.text.contains("what it meets is a crowd"), "{event:?}");
        assert_eq!(ladder.pardons().rules.len(), 1);
        // What is found of the minute before is no reason to refuse it again; in force again it asks again.
        run(&mut ladder, 3_000..63_000, Some(&crowd), Permit::Refuse);
        assert_eq!((ladder.is_enforcing(), ladder.ready(at(63_000)).count()), (false, 0));
        run(&mut ladder, 63_000..65_000, Some(&crowd), Permit::Refuse);
        assert!(ladder.status()[0].asking.is_some());
    }
}

#[test]
fn a_rule_that_could_hurt_only_slows_down_once_another_explains_the_flood() {
    let with = |agent: &str, coverage: f32, collateral_upper: f32| {
        let mut finding = finding(agent);
        finding.evidence = Evidence { coverage, collateral_upper, ..finding.evidence };
        finding.of_left = coverage;
        finding
    };
    let wide = with("wide", 0.9, 0.004);
    let refusing = |second: &Finding| -> Vec<String> {
        let mut ladder = Ladder::default();
        for tick in 0..120 {
            (1..=2).for_each(|id| ladder.count(at(tick * 250), &met(id, 10)));
            let found = if tick < 20 { &wide } else { second };
            ladder.take(at(tick * 250), 1, vec![found.clone()], Permit::Refuse);
            ladder.step(at(tick * 250), Permit::Refuse);
        }
        assert_eq!(ladder.for_gate().len(), 2);
        let refusing = |rule: &&Rule| !matches!(rule.action, Action::Throttle { .. });
        ladder.for_gate().iter().filter(refusing).map(ToString::to_string).collect()
    };
    assert_eq!(refusing(&with("better", 0.9, 0.0004)), ["user-agent = \"better\""]);
    // One that explains half of the flood, or is as harmful, replaces nothing; the least harmful acts first.
    assert_eq!(refusing(&with("half", 0.5, 0.0004)), ["user-agent = \"half\"", "user-agent = \"wide\""]);
    assert_eq!(refusing(&with("as wide", 0.9, 0.005)), ["user-agent = \"wide\"", "user-agent = \"as wide\""]);
}

#[test]
fn harm_takes_a_rule_back_and_bars_it() {
    let mut ladder = Ladder::default();
    run(&mut ladder, 0..5000, Some(&finding("bad")), Permit::Refuse);
    ladder.count(at(5000), &RuleTraffic { matched_known: 9, known_clients: 9, known: 100, ..met(1, 9) });
    let events = ladder.step(at(5000), Permit::Refuse);
    assert_eq!(events.last().map(|event| event.kind), Some(EventKind::RuleWithdrawn));
    assert!(ladder.take(at(6000), 1, vec![finding("bad")], Permit::Refuse).is_empty());
    assert!(ladder.for_gate().is_empty());
}

#[test]
fn what_was_barred_by_a_clock_that_was_far_ahead_is_barred_for_an_hour() {
    let hour = BARRED.as_millis() as u64;
    let mut ladder = Ladder::default();
    ladder.bar_again(vec![(finding("bad").conditions, at(1_000 * hour))]);
    for (moment, is_barred) in [(0, true), (hour - 1, true), (hour, false)] {
        ladder.step(at(moment), Permit::Refuse);
        let found = ladder.take(at(moment), 1, vec![finding("bad")], Permit::Refuse);
        assert_eq!(found.is_empty(), is_barred, "after {moment} ms");
    }
}

#[test]
fn caps_hold() {
    let mut ladder = Ladder::default();
    for incident in 0..10 {
        let findings = (0..10).map(|number| finding(&format!("{incident} {number}"))).collect();
        ladder.take(at(0), incident, findings, Permit::Refuse);
    }
    assert_eq!(ladder.for_gate().len(), RULES_MAX);
    assert_eq!(ladder.of_incident(0).len(), RULES_PER_INCIDENT_MAX);
}

#[test]
fn when_nothing_is_to_be_enforced_nothing_is() {
    let mut ladder = Ladder::default();
    ladder.take(at(0), 1, vec![finding("bad")], Permit::Refuse);
    let generation = ladder.generation();
    ladder.suspend();
    assert!(ladder.for_gate().is_empty());
    assert_ne!(ladder.generation(), generation);
    assert_eq!(ladder.status()[0].stage, Stage::Proposed);
}

#[test]
fn one_that_is_no_longer_found_makes_room_for_the_next() {
    let mut ladder = Ladder::default();
    let waves: Vec<Finding> = (0..RULES_PER_INCIDENT_MAX).map(|number| finding(&format!("wave {number}"))).collect();
    ladder.take(at(0), 1, waves.clone(), Permit::Refuse);
    // While all are found there is no room.
    assert!(ladder.take(at(1000), 1, [waves, vec![finding("next")]].concat(), Permit::Refuse).is_empty());
    for id in 1..=RULES_PER_INCIDENT_MAX as u32 {
        ladder.count(at(9000), &met(id, if id == 3 { 2 } else { 50 }));
    }
    let events = ladder.take(at(9000), 1, vec![finding("next")], Permit::Refuse);
    let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::RuleRetired, EventKind::RuleShadowed]);
    assert!(events[0].text.contains("another explains more: user-agent = \"wave 2\""), "{}", events[0].text);
}

#[test]
fn a_crowd_has_no_rule_but_that_of_a_sender_of_whom_there_was_nobody() {
    for (has_foreign_mark, is_let_go) in [(false, true), (true, false)] {
        let mut ladder = Ladder::default();
        let found = Finding { has_foreign_mark, ..finding("bad") };
        run(&mut ladder, 0..5000, Some(&found), Permit::Refuse);
        assert!(ladder.is_enforcing());
        let event = ladder.spare(at(5000), &found.conditions, false);
        assert_eq!(event.map(|event| event.kind), is_let_go.then_some(EventKind::RuleRetired));
        assert_eq!(ladder.is_enforcing(), !is_let_go);
        assert_eq!(ladder.status()[0].reason.ends_with("once it is found again and is no crowd"), is_let_go);
    }
}

#[test]
fn a_side_of_a_crowd_is_let_go_where_it_came_just_before() {
    let found = Finding { has_foreign_mark: false, ..finding("bad") };
    for (seconds, is_side, is_let_go) in [(50, true, true), (70, true, false), (70, false, true)] {
        let mut ladder = Ladder::default();
        run(&mut ladder, 0..seconds * 1000, Some(&found), Permit::Refuse);
        let event = ladder.spare(at(seconds * 1000), &found.conditions, is_side);
        assert_eq!(event.is_some(), is_let_go, "{seconds} {is_side}");
        // It asks for as long as there is a crowd, and a minute.
        run(&mut ladder, seconds * 1000..seconds * 1000 + 59_000, None, Permit::Refuse);
        assert_eq!(ladder.status()[0].asking.is_some(), !is_let_go);
        run(&mut ladder, seconds * 1000 + 59_000..seconds * 1000 + 61_000, None, Permit::Refuse);
        assert_eq!(ladder.status()[0].asking, None);
    }
}

#[test]
fn what_was_let_go_long_ago_is_not_armed_without_being_asked_about() {
    for (has_foreign_mark, seconds, said) in [(false, 600, "ten minutes"), (true, 86_400, "a day")] {
        let age = Duration::from_secs(seconds);
        let mut ladder = Ladder::default();
        let found = Finding { has_foreign_mark, ..finding("bad") };
        run(&mut ladder, 0..5000, Some(&found), Permit::Refuse);
        run(&mut ladder, 5000..400_000, None, Permit::Refuse);
        let status = &ladder.status()[0];
        assert_eq!(status.stage, Stage::Retired);
        assert!(status.reason.ends_with(&format!("if the flood returns within {said}")), "{}", status.reason);
        let ready = |after: Duration| ladder.ready(at(400_000) + after).count();
        assert_eq!((ready(Duration::ZERO), ready(age)), (1, 0));
        // What the search finds is asked anew whether it is people.
        let crowd = Finding { cleared: false, ..found };
        let events = ladder.take(at(400_000), 2, vec![crowd], Permit::Refuse);
        assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::RuleShadowed]);
    }
}
