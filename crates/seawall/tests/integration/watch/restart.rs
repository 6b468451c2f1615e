//! What goes on over a restart of what was decided: the numbers, the ends of what was open, and the operator's word.

use rustix::process::Signal;
use seawall::host::clock::Clock;
use serde_json::Value;

use super::{Traffic, knowing};
use crate::support::eventually;
use crate::support::guard::{Guard, text};

fn rules(guard: &Guard) -> Vec<Value> {
    guard.status()["detection"]["rules"].as_array().expect("rules").clone()
}

fn in_force(guard: &Guard) -> Vec<u64> {
    let rules = rules(guard).into_iter().filter(|rule| rule["stage"] == "enforced");
    rules.map(|rule| rule["id"].as_u64().expect("a number")).collect()
}

/// Floods the guard until it puts rules in force; returns their numbers.
fn flood(guard: &Guard, traffic: &mut Traffic) -> Vec<u64> {
    for _ in 0..25 {
        traffic.write(1, 40);
        let found = in_force(guard);
        if !found.is_empty() {
            return found;
        }
    }
    panic!("no rule was put in force: {:#}", guard.status()["detection"]);
}

/// What the journal says of incidents, in its order.
fn incidents(guard: &Guard) -> Vec<String> {
    let journal = guard.command(&["journal", "--json"]).stdout;
    let lines: Vec<Value> = serde_json::from_slice(&journal).expect("JSON");
    let kinds = ["incident-opened", "incident-closed"];
    let lines = lines.iter().filter(|line| kinds.iter().any(|kind| line["action"] == *kind));
    lines.map(|line| line["detail"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn numbers_go_on_what_was_open_ends_and_what_was_taken_back_stays_so() {
    let clock = Clock::start();
    let mut guard = knowing(&clock);
    let mut traffic = Traffic { clock, log: guard.folder().join("access.log"), number: 0, status: 200 };
    traffic.write(5, 0);
    let first = flood(&guard, &mut traffic);
    eventually("the incident is in the journal", || incidents(&guard).len() == 1);
    guard.signal(Signal::KILL);
    guard.wait();
    guard.again(&["access.log"]);
    // Of what the killed guard has left open the next one says the end, also to who looks at it.
    eventually("it is closed", || incidents(&guard).len() == 2);
    let closed = incidents(&guard).remove(1);
    let expected = "incident 1 is over: the guard was restarted meanwhile; last seen at 20";
    assert!(closed.starts_with(expected), "{closed}");
    assert!(guard.status()["events"].to_string().contains(expected));

    traffic.write(5, 0);
    let second = flood(&guard, &mut traffic);
    assert!(second.iter().all(|id| first.iter().all(|before| id > before)), "{second:?} after {first:?}");
    assert!(incidents(&guard).iter().any(|text| text.starts_with("incident 2 opened")), "{:?}", incidents(&guard));

    // The flood goes on, and by none of its marks is it refused again.
    let taken_back = second[0].to_string();
    let said = text(&guard.command(&["rules", "remove", &taken_back]).stdout);
    assert!(said.starts_with("Took back R") && said.contains("until a day after its incident"), "{said}");
    let mut is_found = false;
    for _ in 0..8 {
        traffic.write(1, 40);
        assert_eq!(in_force(&guard), [0; 0], "{:#?}", rules(&guard));
        is_found |= rules(&guard).iter().any(|rule| {
            rule["stage"] == "vetoed" && rule["reason"].as_str().is_some_and(|reason| reason.contains("found again in"))
        });
    }
    assert!(is_found, "{:#?}", rules(&guard));
    let listed = text(&guard.command(&["rules", "list"]).stdout);
    assert!(listed.contains(&format!("R{taken_back} taken back at 20")), "{listed}");

    guard.signal(Signal::TERM);
    guard.wait();
    let closed = incidents(&guard).pop().expect("a line");
    assert!(closed.starts_with("incident 2 is over: the guard stopped; until then "), "{closed}");
    let report = text(&guard.command(&["report", "--hours", "1"]).stdout);
    assert!(report.contains("incident 2 is over") && !report.contains("still open"), "{report}");
    guard.again(&["access.log"]);
    traffic.write(5, 0);
    for _ in 0..8 {
        traffic.write(1, 40);
        assert_eq!(in_force(&guard), [0; 0], "{:#?}", rules(&guard));
    }
    let explained = text(&guard.command(&["rules", "explain", &taken_back]).stdout);
    assert!(explained.contains("vetoed until 20") && explained.contains("remove R"), "{explained}");

    let removal = |arguments: &[&str]| guard.command(&[&["rules", "remove", &taken_back], arguments].concat());
    let said = text(&removal(&["--for", "2h"]).stdout);
    assert!(said.contains("in force until 20"), "{said}");
    assert!(removal(&["--undo"]).status.success());
    assert_eq!(removal(&["--undo"]).status.code(), Some(1), "there is nothing to undo any more");
    let third = flood(&guard, &mut traffic);
    assert!(third.iter().all(|id| second.iter().all(|before| id > before)), "{third:?} after {second:?}");
}
