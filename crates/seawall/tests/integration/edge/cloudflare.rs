//! Cloudflare: what arrives there, what stays as it is, and what goes again.

use std::time::Duration;

use rustix::process::Signal;
use seawall::host::clock::Clock;

use super::{edge, guard, is_active, journal, of_cloudflare, run, without_guard, write_token};
use crate::support::edge::Fault;
use crate::support::edge::cloudflare::{Cloudflare, Item};
use crate::support::eventually;
use crate::support::guard::{Guard, text};
use crate::support::origin::Origin;
use crate::watch::{append, line};

const RULE: &str = "path = \"/unwanted\" and user-agent = \"flood/1\"";
const EXPRESSION: &str =
    "(((raw.http.request.uri.path eq \"/unwanted\") and (http.user_agent eq \"flood/1\")) and not ip.src in {";

fn on(origin: &Origin, fake: &crate::support::edge::Fake<Cloudflare>) -> Guard {
    guard(origin, &format!("use = \"on\"\n{}", of_cloudflare(fake)))
}

#[test]
fn by_default_it_is_only_said_what_would_be_done() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    fake.api().with_others(&["challenge bots", "seawalls of others"]);
    let guard = guard(&origin, &of_cloudflare(&fake));
    run(&guard, &["bans", "add", "203.0.113.7", "203.0.113.0/24", "2001:db8:7::/48", "--for", "1h"]);
    run(&guard, &["rules", "add", RULE, "--for", "1h", "--anyway"]);
    eventually("it is known what is wanted", || edge(&guard)["proposed"] == 5);
    assert_eq!((fake.changes(), edge(&guard)["state"].as_str()), (0, Some("proposing")));
    let said = run(&guard, &["edge", "plan"]);
    for part in ["would add 3 entries", "would add seawall: bans:", EXPRESSION, "2 rules of others are left alone"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(run(&guard, &["status"]).contains("5 changes are proposed"));
    assert_eq!(fake.changes(), 0, "nothing was changed");

    let done = run(&guard, &["edge", "apply", "--json"]);
    let done: serde_json::Value = serde_json::from_str(&done).expect("JSON");
    assert_eq!((done["entries_added"].as_u64(), done["rules_foreign"].as_u64()), (Some(3), Some(2)));
    {
        let cloudflare = fake.api();
        assert_eq!(cloudflare.ips(), ["2001:db8:7::/48", "203.0.113.0/24", "203.0.113.7"]);
        assert_eq!(cloudflare.names(), ["challenge bots", "seawalls of others", "seawall: bans", "seawall: R10001"]);
        let rule = cloudflare.rule("seawall: R10001").expect("the rule");
        assert_eq!((rule.action.as_str(), rule.enabled), ("block", true));
        // With whatever else is never refused on this machine.
        assert!(rule.expression.starts_with(EXPRESSION) && rule.expression.contains("198.51.100.7"), "{rule:?}");
        assert_eq!(cloudflare.rule("seawall: bans").expect("the rule").expression, "(ip.src in $seawall)");
    }
    assert!(run(&guard, &["edge", "plan"]).contains("nothing to do"));
}

#[test]
fn bans_and_rules_come_and_go_and_what_others_have_stays_as_it_is() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    fake.api().with_others(&["first", "second"]);
    let before = fake.api().rules.clone().expect("rules");
    let mut guard = on(&origin, &fake);
    run(&guard, &["bans", "add", "203.0.113.7", "--for", "1h"]);
    run(&guard, &["bans", "add", "198.51.100.0/24", "--for", "1h"]);
    run(&guard, &["rules", "add", RULE, "--for", "1h", "--anyway"]);
    eventually("all of it arrives", || fake.api().ips().len() == 2 && fake.api().names().len() == 4);
    eventually("it is in line", || is_active(&guard) && edge(&guard)["entries"] == 2 && edge(&guard)["rules"] == 1);
    // Who is never banned is spared within a banned network.
    let bans = fake.api().rule("seawall: bans").expect("the rule").expression.clone();
    assert_eq!(bans, "(ip.src in $seawall and not ip.src in {198.51.100.7})");
    let Item { comment, .. } = fake.api().items[0].clone();
    assert!(comment.starts_with("until 20") && comment.ends_with('Z') && comment.len() == 26, "{comment}");

    run(&guard, &["bans", "remove", "203.0.113.7"]);
    run(&guard, &["rules", "remove", "10001"]);
    eventually("they are gone", || fake.api().ips() == ["198.51.100.0/24"] && fake.api().names().len() == 3);
    assert_eq!(fake.api().names(), ["first", "second", "seawall: bans"]);

    guard.signal(Signal::TERM);
    assert!(guard.wait().success());
    let cloudflare = fake.api();
    assert_eq!((&cloudflare.list, cloudflare.items.len()), (&None, 0));
    assert_eq!(cloudflare.rules.as_ref(), Some(&before));
}

#[test]
fn a_client_that_comes_through_the_cdn_and_goes_on_is_refused_there() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let guard = on(&origin, &fake);
    run(&guard, &["rules", "add", RULE, "--for", "1h", "--anyway"]);
    let ask = |client: &str| {
        let mut proxy = crate::support::client::Client::connect_from(super::PROXY, guard.address());
        proxy.send(format!(
            "GET /unwanted HTTP/1.1\r\nHost: example.org\r\nUser-Agent: flood/1\r\nX-Forwarded-For: {client}\r\n\r\n"
        ));
        proxy.answer().status
    };
    // On every thread, and by clients none of whom asks often.
    let mut number = 0;
    let mut is_refused = || {
        number += 1;
        ask(&format!("203.0.113.{}", 100 + number % 100)) == 403
    };
    eventually("the rule is in use", || (0..16).all(|_| is_refused()));
    // Each thread counts for itself, and which one a connection comes to is the kernel's choice.
    for _ in 0..160 {
        assert_eq!(ask("203.0.113.9"), 403);
        // Whom nobody ever bans is not refused, and not handed down.
        assert_eq!(ask("198.51.100.7"), 200);
    }
    // It goes on meanwhile, as such clients do.
    eventually("it is refused at the edge", || {
        let _ = ask("203.0.113.9");
        fake.api().ips() == ["203.0.113.9"]
    });
    let Item { comment, .. } = fake.api().items[0].clone();
    assert!(comment.starts_with("until 20") && comment.ends_with("Z rule R10001"), "{comment}");
    assert_eq!(guard.status()["enforcement"]["kernel"]["clients"], 0);
    // It is shown by its pseudonym, as any client.
    let listed = run(&guard, &["bans", "list"]);
    assert!(listed.contains("goes on with what R10001 matches") && !listed.contains("203.0.113."), "{listed}");
    run(&guard, &["rules", "remove", "10001"]);
    eventually("it is free with the rule that it went on against", || fake.api().ips().is_empty());
}

#[test]
fn beside_a_server_whom_its_log_says_that_the_cdn_named_is_refused_there() {
    let (fake, clock) = (Cloudflare::start(), Clock::start());
    let config = format!(
        "admin = \"off\"\n[kernel]\nuse = \"never\"\n[trust]\nproxies = [\"198.51.100.1\"]\n\
         [edge]\nuse = \"on\"\ntoken-file = \"token\"\n{}",
        of_cloudflare(&fake)
    );
    let guard = Guard::watch_as(&config, &["access.log"], |folder| {
        write_token(folder, 0o600);
        append(&folder.join("access.log"), "");
    });
    run(&guard, &["rules", "add", "path = \"/unwanted\"", "--for", "1h", "--anyway"]);
    let log = guard.folder().join("access.log");
    let unwanted = |client: &str, times: usize| {
        let line = line(&clock, "198.51.100.1", "GET /unwanted", "flood/1");
        append(&log, &format!("{} \"{client}\"\n", line.trim_end()).repeat(times));
    };
    let mut number = 0;
    eventually("the rule is in use", || {
        number += 1;
        unwanted(&format!("203.0.113.{}", number % 200), 1);
        guard.status()["detection"]["rules"][0]["matched"].as_u64().is_some_and(|matched| matched > 0)
    });
    unwanted("203.0.113.250", 100);
    eventually("it is refused at the edge", || fake.api().ips() == ["203.0.113.250"]);
}

#[test]
fn what_a_killed_guard_has_left_is_removed_page_by_page() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    {
        let mut cloudflare = fake.api();
        let left: Vec<String> = (0..10).map(|number| format!("192.0.2.{number}")).collect();
        cloudflare.leave(&left.iter().map(String::as_str).collect::<Vec<_>>());
        // The pages overlap, as they do when others change the list, and an item is there twice.
        (cloudflare.page_max, cloudflare.repeats) = (3, true);
        let twice = Item { id: "twice".to_owned(), ..cloudflare.items[4].clone() };
        cloudflare.items.push(twice);
    }
    let guard = on(&origin, &fake);
    run(&guard, &["bans", "add", "192.0.2.4", "--for", "1h"]);
    eventually("only what is wanted is there", || fake.api().ips() == ["192.0.2.4"]);
    eventually("it is in line", || is_active(&guard) && edge(&guard)["entries"] == 1);
    let comment = fake.api().items[0].comment.clone();
    assert!(!comment.contains("2020"), "it says when the ban ends: {comment}");
    assert_eq!(edge(&guard)["repairs"], 0, "nobody has meddled");
}

#[test]
fn without_a_guard_it_is_told_and_cleared_as_a_configuration_says() {
    let (folder, fake) = (tempfile::tempdir().expect("a folder"), Cloudflare::start());
    fake.api().with_others(&["first", "seawall: bans"]);
    fake.api().leave(&["192.0.2.1", "192.0.2.2"]);
    let output = without_guard(folder.path(), &of_cloudflare(&fake), &["plan"]);
    let said = text(&output.stdout);
    assert!(said.contains("would remove 2 entries") && said.contains("would remove seawall: bans"), "{said}");
    assert_eq!(fake.changes(), 0);
    let output = without_guard(folder.path(), &of_cloudflare(&fake), &["clear", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let done: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(done["entries_removed"], 2);
    let cloudflare = fake.api();
    assert_eq!((cloudflare.names(), cloudflare.list.is_none()), (vec!["first"], true));
}

#[test]
fn a_panic_and_a_clearing_take_everything_out() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    fake.api().with_others(&["first"]);
    let guard = on(&origin, &fake);
    let is_there = || fake.api().ips() == ["203.0.113.7"] && fake.api().names() == ["first", "seawall: bans"];
    let is_gone = || fake.api().list.is_none() && fake.api().names() == ["first"];
    run(&guard, &["bans", "add", "203.0.113.7", "--for", "1h"]);
    eventually("it is there", is_there);
    let clock = Clock::start();
    run(&guard, &["panic"]);
    assert!(clock.uptime() < Duration::from_secs(1), "{:?}", clock.uptime());
    assert!(is_gone(), "whoever was told so may rely on it");
    eventually("it is told", || edge(&guard)["state"] == "panicked");
    run(&guard, &["panic", "--over"]);
    eventually("it is there again", is_there);

    run(&guard, &["edge", "clear"]);
    assert!(is_gone());
    run(&guard, &["bans", "add", "203.0.113.8", "--for", "1h"]);
    eventually("it is only proposed", || edge(&guard)["proposed"].as_u64().is_some_and(|proposed| proposed >= 3));
    assert!(is_gone(), "it stays out until it is applied");
    run(&guard, &["edge", "apply"]);
    assert_eq!(fake.api().ips(), ["203.0.113.7", "203.0.113.8"]);
}

#[test]
fn what_an_operator_has_done_is_in_the_journal() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let guard = guard(&origin, &of_cloudflare(&fake));
    run(&guard, &["bans", "add", "203.0.113.7", "--for", "1h"]);
    run(&guard, &["rules", "add", RULE, "--for", "1h", "--anyway"]);
    eventually("it is known what is wanted", || edge(&guard)["proposed"] == 3);
    run(&guard, &["edge", "plan"]);
    run(&guard, &["edge", "apply"]);
    run(&guard, &["edge", "clear"]);
    fake.fail("POST", Fault::Status(500));
    assert!(!guard.command(&["edge", "apply"]).status.success());
    let line = |action: &str, detail: &str| ("operator".to_owned(), action.to_owned(), detail.to_owned());
    let expected = [
        line(
            "edge-apply",
            "Cloudflare: added 1 entry, added seawall: bans, added seawall: R10001; entries 0 -> 1, rules 0 -> 1",
        ),
        line(
            "edge-clear",
            "Cloudflare: removed 1 entry, removed seawall: bans, removed seawall: R10001; entries 1 -> 0, rules 1 -> 0",
        ),
        line("edge-apply", "Cloudflare: failed, perhaps half way; the guard's log has the reason"),
    ];
    eventually("all is in the journal", || journal(&guard).len() == expected.len());
    assert_eq!(journal(&guard), expected);
    let all = run(&guard, &["journal", "--json"]);
    let all: Vec<serde_json::Value> = serde_json::from_str(&all).expect("JSON");
    let applied = all.iter().find(|line| line["action"] == "edge-apply").expect("it is there");
    assert!(applied["before"]["requests"].is_number(), "how the traffic was: {applied}");
}

#[test]
fn what_the_guard_does_by_itself_is_in_the_journal_to_its_end() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let mut guard = on(&origin, &fake);
    run(&guard, &["rules", "add", RULE, "--for", "1h", "--anyway"]);
    eventually("it is there", || fake.api().names() == ["seawall: R10001"]);
    eventually("it is in the journal", || journal(&guard).len() == 1);
    guard.signal(Signal::TERM);
    assert!(guard.wait().success());
    let line = |action: &str, detail: &str| ("guard".to_owned(), action.to_owned(), detail.to_owned());
    let expected = [
        line("edge-apply", "Cloudflare: added seawall: R10001; entries 0 -> 0, rules 0 -> 1"),
        line("edge-clear", "Cloudflare: removed seawall: R10001; entries 0 -> 0, rules 1 -> 0"),
    ];
    assert_eq!(journal(&guard), expected);
}

/// A panic where no guard runs. This machine's own packet filter is left alone.
fn panic(guard: &Guard) -> std::process::Output {
    guard.command(&["panic", "--table", "seawall-of-no-guard"])
}

#[test]
fn a_panic_without_a_guard_takes_out_what_one_left() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    fake.api().with_others(&["first"]);
    let mut guard = on(&origin, &fake);
    run(&guard, &["bans", "add", "203.0.113.7", "--for", "1h"]);
    eventually("it is there", || is_active(&guard) && edge(&guard)["entries"] == 1);
    guard.signal(Signal::KILL);
    guard.wait();

    // What cannot be done is told with the command that does it.
    fake.fail("", Fault::Status(500));
    let output = panic(&guard);
    let (said, config) = (text(&output.stderr), guard.config_path());
    assert_eq!(output.status.code(), Some(4), "{said}");
    let clear = format!("`seawall edge clear --config {}` takes it out", config.display());
    assert!(said.contains("at Cloudflare is still refused there") && said.contains(&clear), "{said}");
    assert!(text(&output.stdout).contains("until `seawall panic --over`"));
    fake.mend();

    let output = panic(&guard);
    let removed = "Cloudflare: removed 1 entry, removed seawall: bans; entries 1 -> 0, rules 0 -> 0";
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(&format!("At the CDN: {removed}.")), "{}", text(&output.stdout));
    assert!(fake.api().list.is_none() && fake.api().names() == ["first"]);
    // Nothing is left, so nobody is asked.
    let asked = fake.count("");
    let output = panic(&guard);
    assert!(output.status.success() && !text(&output.stdout).contains("CDN"));
    assert_eq!(fake.count(""), asked);
    let lines: Vec<_> = journal(&guard).into_iter().filter(|(_, action, _)| action == "panic").collect();
    assert!(lines.len() == 3 && lines[0].2.contains("at the CDN was left there"), "{lines:?}");
    assert!(lines.iter().all(|(actor, _, _)| actor == "operator") && lines[1].2.contains(removed), "{lines:?}");
}

#[test]
fn another_users_note_of_what_is_left_is_not_followed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let mut guard = on(&origin, &fake);
    run(&guard, &["bans", "add", "203.0.113.7", "--for", "1h"]);
    eventually("it is there", || fake.api().ips().len() == 1);
    guard.signal(Signal::KILL);
    guard.wait();
    std::os::unix::fs::chown(guard.state_path().join("edge"), Some(65_534), None).expect("root may");
    let asked = fake.count("");
    let said = text(&panic(&guard).stderr);
    assert!(said.contains("another user's") && said.contains("`seawall edge clear --config "), "{said}");
    assert_eq!(fake.count(""), asked);
}

#[test]
fn what_is_to_stay_stays_when_the_guard_stops() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    let mut guard = guard(&origin, &format!("use = \"on\"\nkeep = true\n{}", of_cloudflare(&fake)));
    run(&guard, &["bans", "add", "203.0.113.7", "--for", "1h"]);
    eventually("it is in line", || is_active(&guard) && edge(&guard)["entries"] == 1);
    guard.signal(Signal::TERM);
    assert!(guard.wait().success());
    let cloudflare = fake.api();
    assert_eq!((cloudflare.ips(), cloudflare.names()), (vec!["203.0.113.7"], vec!["seawall: bans"]));
}

#[test]
fn what_does_not_fit_and_what_cannot_be_said_is_told() {
    let (origin, fake) = (Origin::echoing(), Cloudflare::start());
    fake.api().with_others(&["first", "second", "third"]);
    let guard = guard(&origin, &format!("use = \"on\"\nentries-max = 2\n{}", of_cloudflare(&fake)));
    run(&guard, &["bans", "add", "203.0.113.7", "203.0.113.8", "203.0.113.9", "64.0.0.0/6", "--for", "1h", "--anyway"]);
    for rule in ["header-order = \"host,user-agent\"", "path = \"/a\"", "path = \"/b\""] {
        run(&guard, &["rules", "add", rule, "--for", "1h", "--anyway"]);
    }
    eventually("there is room for five rules", || {
        let cloudflare = fake.api();
        let names = cloudflare.names();
        // In which order they have come is chance.
        let has_ours = ["seawall: bans", "seawall: R10002"].iter().all(|name| names.contains(name));
        names.starts_with(&["first", "second", "third"]) && names.len() == 5 && has_ours
    });
    eventually("it is in line", || is_active(&guard));
    eventually("what is left out is told", || edge(&guard)["left_out"].as_array().is_some_and(|left| left.len() == 4));
    assert_eq!(fake.api().items.len(), 2);
    let said = run(&guard, &["edge", "status"]);
    for part in [
        "left out: 1 ban, since the list takes no network larger than a /8",
        "left out: 1 ban, since the list has room for 2 entries (entries-max in [edge])",
        "left out: R10001, since header-order is the CDN's own",
        "left out: R10003, since the zone has room for 5 custom rules (rules-max in [edge]), of which others have 3",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(run(&guard, &["status"]).replace("\n              ", " ").contains("4 left out"));
}
