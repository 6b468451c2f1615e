//! Rules of the operator over restarts.

use seawall_engine::decision::OwnRuleError;

use super::*;
use crate::host::clock::wall_clock;
use crate::record::Action;

/// A rule that was said then, for so many seconds.
fn said(text: &str, since: Timestamp, seconds: u64) -> KeptRules {
    let rule = OwnRule {
        id: RuleId(10_007),
        text: text.to_owned(),
        action: RuleAction::Refuse { status: 403 },
        reason: None,
        since,
        expires: since + Duration::from_secs(seconds),
        predicted: None,
    };
    KeptRules { said: vec![rule], ..KeptRules::default() }
}

fn in_force(guard: &Guard) -> Vec<u32> {
    guard.running.own.for_gate().iter().map(|rule| rule.id.0).collect()
}

/// The numbers of the operator's rules as they are kept.
fn kept(guard: &Guard) -> Option<Vec<u32>> {
    let kept = guard.inbox.kept(record::RULES)?;
    Some(serde_json::from_str::<Vec<OwnRule>>(&kept).expect("JSON").iter().map(|rule| rule.id.0).collect())
}

#[test]
fn a_rule_that_had_ended_by_a_clock_ahead_goes_on_once_that_is_set_back() {
    let (right, ahead) = (wall_clock(), Timestamp::from_seconds(2_524_608_000));
    let kept_rules = said("path = \"/x\"", right - Duration::from_secs(60), 3_600);
    // The guard's clock begins in 2050; the machine's is right as soon as it is looked at again.
    let mut guard = Guard::start_with("access.log", "", kept_rules, ahead);
    assert_eq!(in_force(&guard), [0; 0]);
    assert_eq!(guard.inbox.journalled(), []);
    guard.run(1, |second| traffic(second, true));
    assert_eq!(in_force(&guard), [10_007]);
    assert_eq!(kept(&guard), Some(vec![10_007]));
    let text = "R10007 goes on, since the machine's clock was set back: path = \"/x\"";
    assert_eq!(guard.inbox.journalled(), [(Action::Undo, text.to_owned())]);
    let left = guard.running.own.said()[0].expires.since(guard.now());
    assert!((3_400..3_600).contains(&left.as_secs()), "{left:?}");
}

#[test]
fn a_rule_that_waits_to_be_confirmed_is_marked() {
    let mut guard = Guard::start_with("access.log", "", KeptRules::default(), START);
    let until = guard.now() + Duration::from_secs(60);
    guard.add_rule_until("path = \"/x\"", Some(until));
    let text = "R10001 for 24h (to be confirmed within 1m): path = \"/x\"";
    assert_eq!(guard.inbox.journalled(), [(Action::AddRule, text.to_owned())]);
    let waits = |guard: &Guard| guard.detecting.snapshot.load().detection.rules[0].confirm_until;
    guard.run(1, |second| traffic(second, true));
    assert_eq!(waits(&guard), Some(until));
    let (done, _confirmed) = oneshot::channel();
    guard.detecting.turn(&mut guard.running, Some(Command::Confirm(done)));
    guard.run(1, |second| traffic(second, true));
    assert_eq!(waits(&guard), None);
}

#[test]
fn a_rule_that_has_ended_while_no_guard_ran_is_kept_until_that_is_sure() {
    let mut guard =
        Guard::start_with("access.log", "", said("path = \"/x\"", START - Duration::from_secs(7_200), 60), START);
    guard.add_rule("path = \"/y\"");
    assert_eq!((in_force(&guard).len(), kept(&guard).map(|kept| kept.len())), (1, Some(2)));
    guard.inbox.journalled();
    guard.inbox.settle_date(true);
    guard.run(1, |second| traffic(second, true));
    assert_eq!(kept(&guard).map(|kept| kept.len()), Some(1));
    let text = "R10007, while no guard ran: path = \"/x\"";
    assert_eq!(guard.inbox.journalled(), [(Action::Expire, text.to_owned())]);
}

fn never_ban(guard: &mut Guard, networks: &[&str]) {
    let list = AddressSet::new(networks.iter().map(|network| network.parse().expect("a network")));
    guard.detecting.turn(&mut guard.running, Some(Command::NeverBan(list)));
    guard.run(1, |second| traffic(second, true));
}

#[test]
fn a_rule_that_names_somebody_who_is_never_banned_by_now_is_kept_said_and_in_force_again_later() {
    let settings = "[policy]\nnever-ban = [\"203.0.113.7\"]";
    let kept_rules = said("client-prefix = 203.0.113.0/24", START - Duration::from_secs(60), 1 << 30);
    let mut guard = Guard::start_with("access.log", settings, kept_rules, START);
    let because = "is not in force: it names a client that is on the never-ban list";
    assert_eq!(in_force(&guard), [0; 0]);
    let suspended = (Action::SuspendRule, "R10007: it names a client that is on the never-ban list".to_owned());
    assert_eq!(guard.inbox.journalled().iter().collect::<Vec<_>>(), [&suspended]);
    guard.add_rule("path = \"/y\"");
    assert_eq!(kept(&guard), Some(vec![10_007, 10_008]));
    let said = guard.detecting.snapshot.load().rules_not_in_force.clone();
    assert_eq!(said, [format!("your rule R10007 {because}")]);
    guard.inbox.journalled();
    // The entry goes, and comes again.
    never_ban(&mut guard, &[]);
    assert_eq!(in_force(&guard), [10_007, 10_008]);
    assert!(guard.detecting.snapshot.load().rules_not_in_force.is_empty());
    let resumed = (Action::ResumeRule, "R10007: client-prefix = (an IPv4 /24)".to_owned());
    never_ban(&mut guard, &["203.0.113.7/32"]);
    assert_eq!(in_force(&guard), [10_008]);
    assert_eq!(guard.inbox.journalled(), [resumed, suspended]);
}

#[test]
fn a_rule_of_the_configuration_is_suspended_as_soon_as_it_names_somebody_who_is_never_banned() {
    let settings = "[[rule]]\nname = \"net\"\nrule = 'client-prefix = 203.0.113.0/24'\n";
    let mut guard = Guard::start("access.log", settings);
    guard.run(1, |second| traffic(second, true));
    assert_eq!(in_force(&guard), [20_001]);
    // An operator has logged in from there.
    never_ban(&mut guard, &["203.0.113.7/32"]);
    assert_eq!(in_force(&guard), [0; 0]);
    let said = guard.detecting.snapshot.load().rules_not_in_force.clone();
    assert!(
        said.len() == 1 && said[0].starts_with("the rule \"net\" of the configuration is not in force"),
        "{said:?}"
    );
    let is_pardoned = guard.running.pardoned.rules.iter().any(|(rule, _)| *rule == RuleId(20_001));
    assert!(is_pardoned, "whom it had dropped is free");
    never_ban(&mut guard, &[]);
    assert_eq!(in_force(&guard), [20_001]);
    let actions: Vec<Action> = guard.inbox.journalled().into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, [Action::SuspendRule, Action::ResumeRule]);
}

#[test]
fn numbers_that_people_were_told_are_not_given_again_though_what_had_them_is_gone() {
    let mut guard = Guard::start("access.log", "");
    guard.running.detector.number_after(seawall_engine::decision::Numbers { rule: 41, incident: 6 });
    guard.add_rule("path = \"/x\"");
    let (done, taken_back) = oneshot::channel();
    guard.detecting.turn(&mut guard.running, Some(Command::Withdraw(RuleId(10_001), None, done)));
    taken_back.blocking_recv().expect("an answer");
    let numbers = guard.inbox.kept(record::NUMBERS).expect("they are kept");
    // Neither the decisions nor the rules nor what was learnt are there any more.
    let kept = KeptRules { numbers: serde_json::from_str(&numbers).expect("JSON"), ..KeptRules::default() };
    let mut guard = Guard::start_with("access.log", "", kept, START);
    assert_eq!(guard.running.detector.numbers().rule, 41);
    assert_eq!(guard.running.detector.numbers().incident, 6);
    guard.add_rule("path = \"/y\"");
    assert_eq!(in_force(&guard), [10_002]);
}

/// Says a rule for so many seconds and a reason.
fn say(
    guard: &mut Guard,
    text: &str,
    seconds: u64,
    reason: Option<&str>,
    until: Option<Timestamp>,
) -> Result<AddedRule, OwnRuleError> {
    let now = guard.now();
    let rule = OwnRule {
        id: RuleId(0),
        text: text.to_owned(),
        action: RuleAction::Refuse { status: 403 },
        reason: reason.map(str::to_owned),
        since: now,
        expires: now + Duration::from_secs(seconds),
        predicted: None,
    };
    let (done, added) = oneshot::channel();
    guard.detecting.turn(&mut guard.running, Some(Command::AddRule(rule, until, done)));
    added.blocking_recv().expect("an answer")
}

#[test]
fn a_rule_that_is_said_again_takes_no_second_place_and_lasts_for_longer() {
    let mut guard = Guard::start_with("access.log", "", KeptRules::default(), START);
    let until = guard.now() + Duration::from_secs(60);
    let first =
        say(&mut guard, "path = \"/x\" and method = GET", 600, Some("a\u{1b}why"), Some(until)).expect("a rule");
    assert!(!first.renewed && !first.panicked);
    // Were it undone, nobody could tell what stays.
    let both = say(&mut guard, "path = \"/x\" and method = GET", 600, None, Some(until));
    assert_eq!(both.err(), Some(OwnRuleError::InForce { id: first.rule.id }));
    let second = say(&mut guard, "method = GET and path = \"/x\"", 7_200, None, None).expect("the same");
    assert_eq!((second.renewed, second.rule.id), (true, first.rule.id));
    assert_eq!(second.rule.expires, Some(guard.now() + Duration::from_secs(7_200)));
    let text = |words: &str, reason: &str| {
        (Action::AddRule, format!("R10001{words}: path = \"/x\" and method = \"GET\"{reason}"))
    };
    let expected = [text(" for 10m (to be confirmed within 1m)", "; reason: awhy"), text(" renewed for 2h", "")];
    assert_eq!(guard.inbox.journalled(), expected);
    // It is meant by now.
    guard.run(61, |second| traffic(second, true));
    assert_eq!(in_force(&guard), [10_001]);
    let (done, _in_force) = oneshot::channel();
    guard.detecting.turn(&mut guard.running, Some(Command::Panic(true, done)));
    assert!(say(&mut guard, "path = \"/y\"", 60, None, None).expect("a rule").panicked);
}
