//! What the operator takes back, and with what else it stays so.

use std::sync::LazyLock;

use seawall_engine::decision::RuleStatus;
use seawall_engine::observation::Observation;
use seawall_engine::observation::log::Reader;

use super::*;

/// What a guard has learned that has seen two visitors a second for a day and an hour until the start: after less than a day it
/// would compare with the last minutes alone.
static LEARNED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let settings = detection::Settings { seed: 7, ..detection::Settings::default() };
    let (mut detector, mut reader) = (Detector::new(settings), Reader::default());
    for second in START.as_seconds() - 25 * 3_600..START.as_seconds() {
        let at = Timestamp::from_seconds(second);
        for line in ordinary(second).lines() {
            let entry = reader.read(line.as_bytes()).expect("a line");
            detector.observe(&Observation { at, ..entry.observation });
        }
        detector.tick(at, &Surroundings::default());
    }
    detector.save()
});

/// A guard that has found a flood and was told to take its rule back, and the rule.
fn vetoed() -> (Guard, RuleStatus) {
    let mut guard = Guard::start("access.log", "");
    guard.running.detector.restore(&LEARNED).expect("what was just saved");
    guard.run(20, ordinary);
    guard.run(20, flooded);
    let status = guard.detecting.snapshot.load_full();
    let found = status.detection.rules.first().cloned().unwrap_or_else(|| panic!("{:#?}", status.detection));
    let (done, withdrawn) = oneshot::channel();
    guard.detecting.turn(&mut guard.running, Some(Command::Withdraw(found.id, None, done)));
    assert!(withdrawn.blocking_recv().expect("an answer").veto.is_some_and(|veto| veto.until.is_none()));
    guard.run(5, flooded);
    (guard, found)
}

fn ordinary(second: u64) -> String {
    traffic(second, true).lines().skip(1).take(2).map(|line| format!("{line}\n")).collect()
}

fn flooded(second: u64) -> String {
    let time = time_of_day(second);
    let flood = (0..40).map(|nth| {
        let client = (40 * second + nth) % 250;
        format!("203.0.113.{client} - - [14/Nov/2023:{time} +0000] \"POST /ca/cacert.pem HTTP/1.1\" 200 512 \"-\" \"QQGameHall\"\n")
    });
    ordinary(second) + &flood.collect::<String>()
}

/// The rules that are not the operator's, with their stages.
fn found(guard: &Guard) -> Vec<(RuleId, Stage)> {
    let rules = guard.detecting.snapshot.load().detection.rules.clone();
    rules
        .iter()
        .filter(|rule| rule.taken_back.is_some() || rule.id.0 <= 10_000)
        .map(|rule| (rule.id, rule.stage))
        .collect()
}

fn confirm(guard: &mut Guard) {
    let (done, confirmed) = oneshot::channel();
    guard.detecting.turn(&mut guard.running, Some(Command::Confirm(done)));
    assert_eq!(confirmed.blocking_recv(), Ok(1));
}

#[test]
fn a_rule_of_the_operators_ends_it_once_it_is_there_for_good() {
    for (is_confirmed, expected) in [(false, true), (true, false)] {
        let (mut guard, rule) = vetoed();
        assert_eq!(found(&guard), [(rule.id, Stage::Vetoed)]);
        let until = guard.now() + Duration::from_secs(10);
        guard.add_rule_until(&rule.text, Some(until));
        guard.run(5, flooded);
        assert_eq!(found(&guard), [(rule.id, Stage::Vetoed)], "as long as it waits");
        if is_confirmed {
            confirm(&mut guard);
        }
        guard.run(10, flooded);
        assert_eq!(found(&guard).contains(&(rule.id, Stage::Vetoed)), expected);
    }
}

#[test]
fn a_panic_and_another_policy_leave_it_as_it_is() {
    let (mut guard, rule) = vetoed();
    for is_on in [true, false] {
        let (done, _panicked) = oneshot::channel();
        guard.detecting.turn(&mut guard.running, Some(Command::Panic(is_on, done)));
        guard.run(2, flooded);
        assert_eq!(found(&guard), [(rule.id, Stage::Vetoed)]);
    }
    for enforce in [Enforce::Never, Enforce::OnExcess] {
        let (done, _told) = oneshot::channel();
        let (never_ban, rules) = (AddressSet::default(), Vec::new());
        let command = Command::Configuration { enforce, never_ban, rules, done };
        guard.detecting.turn(&mut guard.running, Some(command));
        guard.run(2, flooded);
        assert_eq!(found(&guard), [(rule.id, Stage::Vetoed)]);
    }
}

#[test]
fn one_that_is_lifted_is_found_anew_under_another_number() {
    let (mut guard, rule) = vetoed();
    let (done, lifted) = oneshot::channel();
    guard.detecting.turn(&mut guard.running, Some(Command::LiftVeto(rule.id, done)));
    assert_eq!(lifted.blocking_recv().expect("an answer").map(|veto| veto.rule.id), Some(rule.id));
    guard.run(5, flooded);
    let found = found(&guard);
    assert!(!found.is_empty() && found.iter().all(|(id, stage)| *id > rule.id && *stage != Stage::Vetoed), "{found:?}");
}
