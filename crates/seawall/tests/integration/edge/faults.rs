//! What goes wrong at an API, and what becomes of it.

use std::time::Duration;

use rustix::process::Signal;
use seawall::host::clock::Clock;

use super::{edge, guard, is_active, of_cloudflare, reason, run};
use crate::support::edge::cloudflare::{Cloudflare, Item};
use crate::support::edge::{Fake, Fault, TOKEN};
use crate::support::eventually;
use crate::support::guard::{Guard, text};
use crate::support::origin::Origin;

fn on(origin: &Origin, fake: &Fake<Cloudflare>) -> Guard {
    guard(origin, &format!("use = \"on\"\n{}", of_cloudflare(fake)))
}

fn ban(guard: &Guard) {
    run(guard, &["bans", "add", "203.0.113.7", "--for", "1h"]);
}

/// Waits until the only ban is there, and all is well.
fn is_in_line(guard: &Guard, fake: &Fake<Cloudflare>) {
    eventually("it is in line", || {
        fake.api().ips() == ["203.0.113.7"] && is_active(guard) && edge(guard)["reason"].is_null()
    });
}

#[test]
fn a_token_without_a_permission_is_told_which_it_needs_and_is_never_shown() {
    for (forbidden, needed) in [("lists", "Account Filter Lists: Edit"), ("waf", "Zone WAF: Edit")] {
        let (origin, fake) = (Origin::echoing(), Cloudflare::start());
        fake.api().forbidden = Some(forbidden);
        let guard = on(&origin, &fake);
        ban(&guard);
        eventually("it is told", || reason(&guard).contains(needed));
        let plan = guard.command(&["edge", "plan"]);
        assert_eq!(plan.status.code(), Some(4));
        let said = format!("{}{}{}", String::from_utf8_lossy(&plan.stderr), guard.log(), guard.status());
        assert!(said.contains("403") && !said.contains(TOKEN), "{said}");
        fake.api().forbidden = None;
        is_in_line(&guard, &fake);
    }
}

#[test]
fn a_zone_that_is_not_there_is_told() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let other = of_cloudflare(&fake).replace(crate::support::edge::cloudflare::ZONE, "abc123");
    let guard = guard(&origin, &format!("use = \"on\"\n{other}"));
    ban(&guard);
    eventually("it is told", || reason(&guard).contains("is `zone` in [edge] the number of your zone?"));
    assert_eq!((edge(&guard)["state"].as_str(), fake.changes()), (Some("failing"), 0));
}

#[test]
fn a_pause_that_the_api_asks_for_is_kept() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let guard = on(&origin, &fake);
    eventually("it is in line", || is_active(&guard));
    fake.fail("POST", Fault::TooMany(2));
    ban(&guard);
    eventually("it is told", || reason(&guard).contains("429"));
    let (clock, sent) = (Clock::start(), fake.count(" /"));
    fake.mend();
    eventually("it is asked again", || fake.count(" /") > sent);
    let waited = clock.uptime();
    assert!(waited > Duration::from_millis(1_000), "again after {waited:?}");
    is_in_line(&guard, &fake);
}

#[test]
fn visitors_are_served_while_the_api_hangs_and_it_is_made_good_afterwards() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let guard = on(&origin, &fake);
    ban(&guard);
    is_in_line(&guard, &fake);
    fake.fail("", Fault::Hang);
    run(&guard, &["bans", "add", "203.0.113.8", "--for", "1h"]);
    let asked = fake.count("");
    eventually("it hangs", || fake.count("") > asked);
    let clock = Clock::start();
    for _ in 0..50 {
        let mut visitor = guard.connect();
        assert_eq!(visitor.fetch("/").status, 200);
    }
    // Bans, rules and panics do not wait for it either.
    run(&guard, &["rules", "add", "path = \"/unwanted\"", "--for", "1h", "--anyway"]);
    assert!(clock.uptime() < Duration::from_secs(6), "{:?}", clock.uptime());
    let clock = Clock::start();
    let panicked = guard.command(&["panic"]);
    let said = text(&panicked.stderr);
    assert_eq!(panicked.status.code(), Some(4), "{said}");
    assert!(said.contains("may still be refused there: its API was not done within 5 s"), "{said}");
    run(&guard, &["panic", "--over"]);
    assert!(clock.uptime() < Duration::from_secs(9), "{:?}", clock.uptime());
    fake.mend();
    eventually("both are there", || fake.api().ips() == ["203.0.113.7", "203.0.113.8"] && is_active(&guard));
}

#[test]
fn a_panic_does_not_wait_until_a_failure_would_be_tried_again() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let mut guard = on(&origin, &fake);
    ban(&guard);
    is_in_line(&guard, &fake);
    guard.signal(Signal::KILL);
    guard.wait();
    // From the first failure on nothing would be asked for half a minute.
    fake.fail("", Fault::Status(500));
    let config = std::fs::read_to_string(guard.config_path()).expect("a configuration");
    let config = config.replace("interval = \"100ms\"", "interval = \"60s\"");
    let state = guard.state_path();
    let guard = Guard::start(&config, |folder| {
        super::write_token(folder, 0o600);
        let copied = std::process::Command::new("cp").arg("-a").args([&state, folder]).status();
        assert!(copied.expect("started").success());
    });
    eventually("it has failed", || reason(&guard).contains("answered 500"));
    // What is left there is told, with the code of what the machine refuses.
    let panicked = guard.command(&["panic"]);
    let said = text(&panicked.stderr);
    assert_eq!(panicked.status.code(), Some(4), "{said}");
    assert!(said.contains("may still be refused there") && said.contains("answered 500"), "{said}");
    fake.mend();
    let said = run(&guard, &["panic"]);
    assert!(said.contains("at the CDN after"), "{said}");
    assert!(fake.api().items.is_empty() && fake.api().rules.as_ref().is_none_or(Vec::is_empty));
}

#[test]
fn while_everything_is_out_bans_that_change_ask_nothing_of_the_api() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let edge = of_cloudflare(&fake).replace("verify-interval = \"300ms\"", "verify-interval = \"60s\"");
    let guard = guard(&origin, &format!("use = \"on\"\n{edge}"));
    ban(&guard);
    is_in_line(&guard, &fake);
    run(&guard, &["panic"]);
    let sent = fake.count("");
    run(&guard, &["bans", "add", "203.0.113.8", "--for", "1h"]);
    // Longer than until the edge is told of bans.
    std::thread::sleep(Duration::from_millis(2_300));
    assert_eq!(fake.count(""), sent);
    run(&guard, &["panic", "--over"]);
    eventually("both are there", || fake.api().ips() == ["203.0.113.7", "203.0.113.8"]);
}

#[test]
fn a_panic_does_not_wait_for_an_api_where_nothing_was_put() {
    for usage in ["propose", "on"] {
        let (origin, fake) = (Origin::echoing(), Cloudflare::start());
        fake.fail("", Fault::Hang);
        let guard = guard(&origin, &format!("use = \"{usage}\"\n{}", of_cloudflare(&fake)));
        ban(&guard);
        eventually("it hangs", || fake.count("") > 0);
        let clock = Clock::start();
        run(&guard, &["panic"]);
        assert!(clock.uptime() < Duration::from_secs(4), "{usage}: {:?}", clock.uptime());
        // Nor is anything put there once the API answers.
        fake.mend();
        eventually("everything is out", || edge(&guard)["state"] == "panicked");
        assert!(fake.api().items.is_empty(), "{usage}");
    }
}

#[test]
fn a_panic_that_is_ended_meanwhile_is_told_so() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let guard = on(&origin, &fake);
    ban(&guard);
    is_in_line(&guard, &fake);
    fake.fail("", Fault::Hang);
    let said = std::thread::scope(|scope| {
        let panicked = scope.spawn(|| guard.command(&["panic"]));
        eventually("it has begun", || guard.status()["enforcement"]["panicked"] == true);
        run(&guard, &["panic", "--over"]);
        text(&panicked.join().expect("it ended").stderr)
    });
    assert!(said.contains("`seawall panic --over` ended the panic"), "{said}");
}

#[test]
fn a_guard_stops_within_its_bound_though_the_api_hangs() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let mut guard = on(&origin, &fake);
    ban(&guard);
    is_in_line(&guard, &fake);
    fake.fail("", Fault::Hang);
    guard.signal(Signal::TERM);
    let clock = Clock::start();
    while guard.ended().is_none() {
        assert!(clock.uptime() < Duration::from_secs(20), "it waits for the API");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(guard.log().contains("`seawall edge clear`"), "{}", guard.log());
}

#[test]
fn errors_and_half_answers_are_told_and_tried_again() {
    for (fault, told) in
        [(Fault::Status(500), "the API answered 500: a fault of the test, 500"), (Fault::Half, "failed to ")]
    {
        let (origin, fake) = (Origin::echoing(), Cloudflare::start());
        let guard = on(&origin, &fake);
        eventually("it is in line", || is_active(&guard));
        fake.fail("/items", fault);
        ban(&guard);
        eventually("it is told", || reason(&guard).contains(told));
        assert!(edge(&guard)["failures"].as_u64().is_some_and(|failures| failures > 0));
        fake.mend();
        is_in_line(&guard, &fake);
    }
}

#[test]
fn an_operation_that_fails_is_told_and_tried_again() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    fake.api().operations_fail = true;
    let guard = on(&origin, &fake);
    ban(&guard);
    eventually("it is told", || reason(&guard).contains("it failed: the list is being migrated"));
    assert_eq!(fake.api().items.len(), 0);
    fake.api().operations_fail = false;
    is_in_line(&guard, &fake);
}

#[test]
fn a_list_that_is_full_is_told() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    fake.api().items_max = 1;
    let guard = on(&origin, &fake);
    run(&guard, &["bans", "add", "203.0.113.7", "203.0.113.8", "--for", "1h"]);
    eventually("it is told", || reason(&guard).contains("would have more than 1 items"));
    run(&guard, &["bans", "remove", "203.0.113.8"]);
    is_in_line(&guard, &fake);
}

#[test]
fn what_another_program_changes_in_between_is_repaired_and_told() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    // Right after the guard's operation, and before it reads back.
    fake.api().meddling = Some(Box::new(|cloudflare| {
        cloudflare.items.clear();
        let id = cloudflare.id("i");
        cloudflare.items.push(Item { id, ip: "192.0.2.250".to_owned(), comment: "mine".to_owned() });
    }));
    let guard = on(&origin, &fake);
    ban(&guard);
    is_in_line(&guard, &fake);
    eventually("it is told", || edge(&guard)["repairs"] == 1);
    let said = run(&guard, &["edge", "status"]);
    assert!(said.contains("1 entries had been taken out, 1 entries had been put in"), "{said}");
    assert!(guard.log().contains("somebody else has changed what is the guard's at the edge"), "{}", guard.log());

    // And while nothing of the guard's is under way.
    fake.api().rules.as_mut().expect("rules")[0].enabled = false;
    eventually("it is switched on again", || fake.api().rules.as_ref().expect("rules")[0].enabled);
    eventually("it is told", || edge(&guard)["repairs"] == 2);
    fake.api().rules.as_mut().expect("rules").clear();
    eventually("it is there again", || fake.api().names() == ["seawall: bans"]);
}
