use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::address::AddressSet;
use crate::decision::expression::{Lists, Use};
use crate::gate::{Judgement, Limit, LimitKey, RuleSet};

const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn limit(name: &str, rule: &str, action: LimitAction) -> Limit {
    let rule = Expression::parse(rule, Use::Limit, &Lists::default()).unwrap_or_else(|error| panic!("{rule}: {error}"));
    Limit {
        name: name.into(),
        rule: Some(rule),
        requests: 5,
        period: Duration::from_secs(600),
        key: LimitKey::Client,
        action,
        length: None,
        spares: true,
        counts: Arc::default(),
    }
}

fn rules(limits: &[Limit]) -> Arc<RuleSet> {
    let never_ban = AddressSet::new([client(99).prefix(32)]);
    Arc::new(RuleSet::compile(&[], limits, never_ban).expect("few enough limits"))
}

fn gate(limits: &[Limit]) -> Gate {
    let mut gate = Gate::new(1, 1_024, 1);
    gate.install(rules(limits), |_, _| ());
    gate
}

fn client(number: u32) -> ClientAddress {
    ClientAddress::new(Ipv4Addr::from_bits(0xcb00_7100 + number).into())
}

fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

const LOGIN: Request<'static> = Request {
    method: b"POST",
    host: b"example.org",
    path: b"/wp-login.php",
    query: None,
    version: crate::observation::Version::Http11,
    user_agent: Some(b"bot/1"),
    referer: None,
    header_order: None,
    ja4: None,
    country: None,
    asn: None,
};

const PAGE: Request<'static> = Request { method: b"GET", path: b"/", ..LOGIN };

/// A request and its answer.
fn exchange(
    gate: &mut Gate,
    request: &Request<'_>,
    number: u32,
    status: u16,
    now: Timestamp,
) -> (Judgement, Option<Offence>) {
    let judged = gate.judge(request, Some(client(number)), now);
    if judged.judgement != Judgement::Pass {
        return (judged.judgement, judged.offence);
    }
    let offence = gate.answered(judged.awaited, client(number), status, now);
    (judged.judgement, judged.offence.or(offence))
}

#[test]
fn whoever_asks_too_often_offends_once_and_nobody_else_does() {
    let login = limit("login", "method = POST and path = /wp-login.php", LimitAction::Ban);
    let mut gate = gate(std::slice::from_ref(&login));
    let offences: Vec<_> = (0..20).filter_map(|second| exchange(&mut gate, &LOGIN, 1, 200, at(second)).1).collect();
    let expected = Offence {
        client: client(1),
        limit: login.id(),
        action: LimitAction::Ban,
        at: at(5),
        length: Duration::from_secs(600),
    };
    assert_eq!(offences, [expected], "the sixth");
    assert_eq!(exchange(&mut gate, &LOGIN, 1, 200, at(30)).0, Judgement::ClientLimit);
    assert_eq!(exchange(&mut gate, &PAGE, 1, 200, at(30)).0, Judgement::Pass);
    assert_eq!(exchange(&mut gate, &LOGIN, 2, 200, at(30)), (Judgement::Pass, None));
    let status = gate.rules().limit_statuses().next().expect("one");
    assert_eq!((status.matched, status.offences, status.refused), (22, 1, 16));
}

#[test]
fn a_limit_that_asks_for_the_answer_counts_when_it_is_known() {
    let mut gate = gate(&[limit("auth", "status = 401 and host = example.org", LimitAction::Refuse)]);
    for second in 0..50 {
        assert_eq!(exchange(&mut gate, &PAGE, 1, 200, at(second)), (Judgement::Pass, None), "it is let in");
    }
    for second in 50..55 {
        assert_eq!(exchange(&mut gate, &PAGE, 1, 401, at(second)).1, None);
    }
    // The right password after five wrong ones.
    assert_eq!(exchange(&mut gate, &PAGE, 1, 200, at(55)), (Judgement::Pass, None));
    let (judgement, offence) = exchange(&mut gate, &PAGE, 1, 401, at(56));
    assert_eq!((judgement, offence.map(|offence| offence.action)), (Judgement::Pass, Some(LimitAction::Refuse)));
    assert_eq!(exchange(&mut gate, &PAGE, 1, 401, at(57)), (Judgement::ClientLimit, None));
    let elsewhere = Request { host: b"other.example", ..PAGE };
    assert_eq!(exchange(&mut gate, &elsewhere, 1, 401, at(57)), (Judgement::Pass, None));
}

#[test]
fn one_attempt_after_the_other_brings_the_ban_with_the_sixth_wrong_one() {
    let mut gate = gate(&[limit("login", "method = POST and path = /wp-login.php and status = 401", LimitAction::Ban)]);
    let offences: Vec<_> =
        (0..10).filter_map(|second| exchange(&mut gate, &LOGIN, 1, 401, at(second)).1.map(|_| second)).collect();
    assert_eq!(offences, [5]);
}

#[test]
fn where_a_limit_only_limits_what_is_beyond_is_refused_before_it_is_answered() {
    let mut gate = gate(&[limit("auth", "status = 401", LimitAction::Limit)]);
    let judged: Vec<_> = (0..7).map(|second| exchange(&mut gate, &PAGE, 1, 401, at(second)).0).collect();
    assert_eq!(judged[..5], [Judgement::Pass; 5]);
    assert_eq!(judged[5..], [Judgement::ClientLimit; 2]);
    assert_eq!(exchange(&mut gate, &PAGE, 1, 200, at(180)).0, Judgement::Pass, "after two minutes one may be tried");
}

#[test]
fn whoever_is_spared_is_refused_beforehand_too() {
    let mut gate = gate(&[limit("login", "status = 401", LimitAction::Ban)]);
    let judged: Vec<_> = (0..12)
        .map(|second| {
            let agent: &[u8] = if second % 2 == 0 { b"one/1" } else { b"two/1" };
            exchange(&mut gate, &Request { user_agent: Some(agent), ..PAGE }, 1, 401, at(second))
        })
        .collect();
    assert!(judged.iter().all(|(_, offence)| offence.is_none()), "{judged:?}");
    assert!(judged[6..].iter().all(|(judgement, _)| *judgement == Judgement::ClientLimit), "{judged:?}");
}

#[test]
fn answers_that_come_at_once_are_too_many_at_once() {
    let mut gate = gate(&[limit("auth", "status in (401, 403)", LimitAction::Ban)]);
    let judged: Vec<_> = (0..20).map(|_| gate.judge(&PAGE, Some(client(1)), at(0))).collect();
    assert!(judged.iter().all(|judged| judged.judgement == Judgement::Pass), "nothing was answered yet");
    let offences = judged.iter().filter_map(|judged| gate.answered(judged.awaited, client(1), 401, at(1))).count();
    assert_eq!(offences, 1);
    assert_eq!(gate.judge(&PAGE, Some(client(1)), at(2)).judgement, Judgement::ClientLimit);
}

#[test]
fn beyond_a_plain_limit_what_comes_is_refused_until_some_of_it_is_back() {
    let mut gate = gate(&[limit("login", "path = /wp-login.php", LimitAction::Limit)]);
    let passed = |gate: &mut Gate, from: u64, count: u64| {
        (from..from + count).filter(|second| exchange(gate, &LOGIN, 1, 200, at(*second)).0 == Judgement::Pass).count()
    };
    assert_eq!(passed(&mut gate, 0, 60), 5);
    assert_eq!(passed(&mut gate, 130, 60), 1);
}

#[test]
fn a_dry_limit_says_who_it_would_have_been_and_nobody_feels_it() {
    let mut gate = gate(&[limit("login", "path = /wp-login.php", LimitAction::Ban).dry()]);
    let exchanges: Vec<_> = (0..20).map(|second| exchange(&mut gate, &LOGIN, 1, 200, at(second))).collect();
    assert!(exchanges.iter().all(|(judgement, _)| *judgement == Judgement::Pass));
    let offences: Vec<_> = exchanges.iter().filter_map(|(_, offence)| *offence).collect();
    assert_eq!(offences.len(), 1);
    assert_eq!(offences[0].action, LimitAction::Log);
}

#[test]
fn where_several_people_may_be_behind_an_address_it_is_only_slowed_down() {
    let five_wrong_passwords = |spares: bool, agents: &[&[u8]]| {
        let mut gate = gate(&[Limit { spares, ..limit("login", "path = /wp-login.php", LimitAction::Ban) }]);
        (0..20).any(|second| {
            let agent = agents[second as usize % agents.len()];
            exchange(&mut gate, &Request { user_agent: Some(agent), ..LOGIN }, 1, 200, at(second)).1.is_some()
        })
    };
    assert!(five_wrong_passwords(true, &[b"browser/1"]));
    assert!(!five_wrong_passwords(true, &[b"browser/1", b"browser/2.0"]));
    assert!(five_wrong_passwords(false, &[b"browser/1", b"browser/2.0"]), "unless the operator says so");
}

#[test]
fn a_visitor_of_many_hours_is_slowed_down_and_not_banned() {
    let mut gate = gate(&[limit("login", "path = /wp-login.php", LimitAction::Ban)]);
    for second in (0..10 * 3_600).step_by(600) {
        assert_eq!(exchange(&mut gate, &PAGE, 1, 200, at(second)).0, Judgement::Pass);
    }
    let exchanges: Vec<_> = (0..20).map(|second| exchange(&mut gate, &LOGIN, 1, 200, at(36_000 + second))).collect();
    assert!(exchanges.iter().all(|(_, offence)| offence.is_none()));
    assert!(exchanges.iter().any(|(judgement, _)| *judgement == Judgement::ClientLimit));
}

#[test]
fn nobody_on_the_never_ban_list_is_counted() {
    let mut gate = gate(&[
        limit("login", "path = /wp-login.php", LimitAction::Ban),
        limit("auth", "status = 401", LimitAction::Ban),
    ]);
    for second in 0..50 {
        assert_eq!(exchange(&mut gate, &LOGIN, 99, 401, at(second)), (Judgement::Pass, None));
    }
    assert!(gate.rules().limit_statuses().all(|status| status.matched == 0));
}

#[test]
fn workers_count_together() {
    let login = [limit("login", "path = /wp-login.php", LimitAction::Ban)];
    let allowances = Arc::new(Allowances::new(1));
    let mut gates: Vec<Gate> = (0..4).map(|_| Gate::new(4, 64, 1).sharing(Arc::clone(&allowances))).collect();
    let set = rules(&login);
    gates.iter_mut().for_each(|gate| gate.install(Arc::clone(&set), |_, _| ()));
    let offences = (0..6).filter(|number| exchange(&mut gates[number % 4], &LOGIN, 1, 200, at(1)).1.is_some()).count();
    assert_eq!(offences, 1, "the sixth, whichever of them it comes to");
    // Taken back, it has its allowance again.
    assert!(set.forget(client(1), &allowances, at(2)));
    assert_eq!(exchange(&mut gates[0], &LOGIN, 1, 200, at(2)), (Judgement::Pass, None));
}

#[test]
fn whoever_is_given_back_an_allowance_has_it_for_every_host_and_action() {
    for action in [LimitAction::Refuse, LimitAction::Ban] {
        for key in [LimitKey::Client, LimitKey::ClientAndHost, LimitKey::Prefix] {
            // What asks for the answer holds a client off before it is known.
            for rule in ["path = /wp-login.php", "status = 401"] {
                let mut gate = gate(&[Limit { key, ..limit("login", rule, action) }]);
                let offences = (0..6).filter(|_| exchange(&mut gate, &LOGIN, 1, 401, at(1)).1.is_some()).count();
                assert_eq!(offences, 1, "{key:?}, {rule}");
                assert_eq!(exchange(&mut gate, &LOGIN, 1, 401, at(2)).0, Judgement::ClientLimit);
                assert!(gate.rules.forget(client(1), &gate.allowances, at(2)), "{key:?}, {rule}");
                assert_eq!(exchange(&mut gate, &LOGIN, 1, 401, at(2)), (Judgement::Pass, None), "{key:?}, {rule}");
            }
        }
    }
}

#[test]
fn hosts_and_networks_are_counted_as_the_key_says() {
    let by = |key: LimitKey| Limit { key, ..limit("login", "path = /wp-login.php", LimitAction::Ban) };
    let other_host = Request { host: b"other.example", ..LOGIN };
    let offends = |key: LimitKey, requests: &[(&Request<'_>, u32)]| {
        let mut gate = gate(&[by(key)]);
        (0..6).any(|turn| {
            let (request, number) = requests[turn % requests.len()];
            exchange(&mut gate, request, number, 200, at(1)).1.is_some()
        })
    };
    assert!(offends(LimitKey::Client, &[(&LOGIN, 1), (&other_host, 1)]));
    assert!(!offends(LimitKey::ClientAndHost, &[(&LOGIN, 1), (&other_host, 1)]));
    assert!(offends(LimitKey::ClientAndHost, &[(&LOGIN, 1)]));
    assert!(offends(LimitKey::Prefix, &[(&LOGIN, 1), (&LOGIN, 2)]));
    assert!(!offends(LimitKey::Client, &[(&LOGIN, 1), (&LOGIN, 2)]));
}

#[test]
fn an_answer_to_limits_that_are_others_by_now_counts_for_nothing() {
    let mut gate = gate(&[limit("auth", "status = 401", LimitAction::Ban)]);
    let judged: Vec<_> = (0..20).map(|_| gate.judge(&PAGE, Some(client(1)), at(0)).awaited).collect();
    gate.install(rules(&[limit("other", "status = 401 and path = /", LimitAction::Ban)]), |_, _| ());
    assert!(judged.into_iter().all(|awaited| gate.answered(awaited, client(1), 401, at(1)).is_none()));
}

#[test]
fn a_request_that_meets_a_limit_in_two_ways_counts_once() {
    let mut gate = gate(&[limit("login", "path = /wp-login.php or method = POST", LimitAction::Ban)]);
    assert!((0..5).all(|second| exchange(&mut gate, &LOGIN, 1, 200, at(second)).1.is_none()));
    assert!(exchange(&mut gate, &LOGIN, 1, 200, at(5)).1.is_some());
}

#[test]
fn whoever_comes_back_every_ninety_minutes_meets_its_ban() {
    let mut gate = gate(&[limit("login", "path = /wp-login.php", LimitAction::Ban)]);
    let (mut banned_until, mut met) = (START, Vec::new());
    for visit in 0..12_u64 {
        let begin = at(visit * 5_400);
        if begin < banned_until {
            met.push(visit);
            continue;
        }
        for second in 0..60 {
            if let (_, Some(offence)) = exchange(&mut gate, &LOGIN, 1, 200, begin + Duration::from_secs(second)) {
                banned_until = offence.at + offence.length;
                break;
            }
        }
    }
    // The first ban ends before it comes back; every later one outlasts its next visit, and then more of them.
    assert!(!met.contains(&1) && met.contains(&2), "{met:?}");
    assert!(met.len() >= 8, "{met:?}");
}
