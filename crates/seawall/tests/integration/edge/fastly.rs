//! Fastly: what arrives there, what stays as it is, and what goes again.

use rustix::process::Signal;

use super::{edge, guard, is_active, of_fastly, reason, run, without_guard};
use crate::support::edge::fastly::{Entry, Fastly};
use crate::support::edge::{Fake, Fault, TOKEN};
use crate::support::eventually;
use crate::support::guard::{Guard, text};
use crate::support::origin::Origin;

const IDLE: &str = "# seawall refuses nobody";

fn set_up(fake: &Fake<Fastly>) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let output = without_guard(folder.path(), &of_fastly(fake), &["set-up"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn on(origin: &Origin, fake: &Fake<Fastly>) -> Guard {
    guard(origin, &format!("use = \"on\"\n{}", of_fastly(fake)))
}

#[test]
fn a_service_is_set_up_by_one_new_version_and_only_when_told_to() {
    let (origin, fake) = (Origin::echoing(), Fastly::start());
    let guard = on(&origin, &fake);
    run(&guard, &["bans", "add", "203.0.113.7", "--for", "1h"]);
    eventually("it is told what is missing", || {
        reason(&guard).contains("`seawall edge set-up` adds them in a new version")
    });
    assert_eq!(fake.changes(), 0);
    let said = run(&guard, &["edge", "set-up"]);
    assert!(said.contains("in its version 8, which is active; the one before was 7"), "{said}");
    {
        let fastly = fake.api();
        assert_eq!(fastly.versions.len(), 2);
        let lists: Vec<&String> = fastly.active().lists.keys().collect();
        assert_eq!(lists, ["office", "seawall", "seawall_never"]);
        assert_eq!(fastly.list("office"), ["192.0.2.99"]);
    }
    eventually("the ban arrives", || fake.api().list("seawall") == ["203.0.113.7/32"]);
    assert!(set_up(&fake).contains("The active version 8 of the service has everything already"));
    assert_eq!(fake.api().versions.len(), 2);
}

#[test]
fn a_version_that_fastly_finds_fault_with_is_not_activated() {
    let (folder, fake) = (tempfile::tempdir().expect("a folder"), Fastly::start());
    fake.api().is_invalid = true;
    let output = without_guard(folder.path(), &of_fastly(&fake), &["set-up"]);
    assert_eq!(output.status.code(), Some(4));
    let said = text(&output.stderr);
    assert!(said.contains("it is not activated: Syntax error at office.vcl line 3"), "{said}");
    assert_eq!(fake.api().active().number, 7);
}

#[test]
fn bans_and_rules_come_and_go_without_a_new_version() {
    let (origin, fake) = (Origin::echoing(), Fastly::start());
    set_up(&fake);
    let mut guard = on(&origin, &fake);
    run(&guard, &["bans", "add", "203.0.113.7", "2001:db8:7::/48", "--for", "1h"]);
    run(&guard, &["rules", "add", "path = \"/unwanted\" and user-agent-word = flood", "--for", "1h", "--anyway"]);
    eventually("all of it arrives", || {
        fake.api().list("seawall") == ["2001:db8:7::/48", "203.0.113.7/32"]
            && fake.api().snippet("seawall").contains("R10001")
    });
    eventually("it is in line", || is_active(&guard) && edge(&guard)["entries"] == 2 && edge(&guard)["rules"] == 1);
    {
        let fastly = fake.api();
        // Who is never refused is asked first.
        assert!(
            fastly.list("seawall_never").contains(&"198.51.100.7/32".to_owned()),
            "{:?}",
            fastly.list("seawall_never")
        );
        insta::assert_snapshot!(fastly.snippet("seawall"), @r#"
        # Written by seawall, which overwrites what is changed here.
        if (fastly.ff.visits_this_service == 0 && client.ip !~ seawall_never) {
          if (client.ip ~ seawall) { error 403 "Refused"; }
          # seawall: R10001
          if (req.url.path == "/unwanted" && req.http.User-Agent ~ "(^|[^A-Za-z0-9\x80-\xff])flood([^A-Za-z0-9\x80-\xff]|$)") { error 403 "Refused"; }
        }
        "#);
        let id = fastly.active().lists["seawall"].clone();
        assert!(fastly.entries[&id].iter().all(|entry| entry.comment.starts_with("until 20")));
    }
    run(&guard, &["bans", "remove", "203.0.113.7"]);
    eventually("it is gone", || fake.api().list("seawall") == ["2001:db8:7::/48"]);
    run(&guard, &["panic"]);
    eventually("all is gone", || fake.api().list("seawall").is_empty() && fake.api().snippet("seawall") == IDLE);
    run(&guard, &["panic", "--over"]);
    eventually("it is back", || fake.api().list("seawall") == ["2001:db8:7::/48"] && is_active(&guard));
    guard.signal(Signal::TERM);
    assert!(guard.wait().success());
    let fastly = fake.api();
    assert_eq!((fastly.list("seawall").len(), fastly.list("seawall_never").len()), (0, 0));
    assert_eq!((fastly.snippet("seawall"), fastly.versions.len()), (IDLE, 2));
    assert_eq!(fastly.list("office"), ["192.0.2.99"]);
}

#[test]
fn many_bans_go_in_batches_and_pages_and_the_rest_is_told() {
    let (origin, fake) = (Origin::echoing(), Fastly::start());
    set_up(&fake);
    fake.api().page_max = 70;
    let guard = guard(&origin, &format!("use = \"on\"\nentries-max = 1000\n{}", of_fastly(&fake)));
    let list: String = (0..1_200).map(|number| format!("203.0.{}.{}\n", number / 250, number % 250)).collect();
    std::fs::write(guard.folder().join("list"), list).expect("written");
    let path = guard.folder().join("list").display().to_string();
    run(&guard, &["bans", "import", &path]);
    eventually("a thousand are there", || fake.api().list("seawall").len() == 1_000);
    eventually("the rest is told", || {
        let left = edge(&guard)["left_out"].to_string();
        is_active(&guard) && left.contains("200 bans") && left.contains("room for 1000 entries")
    });
    assert_eq!(edge(&guard)["repairs"], 0, "all pages are read");
}

#[test]
fn what_is_left_of_the_changes_of_an_hour_is_left_to_others() {
    let (origin, fake) = (Origin::echoing(), Fastly::start());
    set_up(&fake);
    fake.api().changes_left = 90;
    let guard = on(&origin, &fake);
    run(&guard, &["bans", "add", "203.0.113.7", "--for", "1h"]);
    eventually("it is told", || reason(&guard).contains("little is left of the changes that the provider allows"));
    assert!(fake.api().list("seawall").is_empty());
    fake.api().changes_left = 1_000;
    eventually("it arrives in the next hour", || fake.api().list("seawall") == ["203.0.113.7/32"]);
}

#[test]
fn a_full_list_and_a_token_that_may_not_are_told() {
    let (origin, fake) = (Origin::echoing(), Fastly::start());
    set_up(&fake);
    fake.api().entries_max = 1;
    let guard = on(&origin, &fake);
    run(&guard, &["bans", "add", "203.0.113.7", "203.0.113.8", "--for", "1h"]);
    eventually("it is told", || reason(&guard).contains("Exceeding max_acl_entries: 1"));
    fake.api().entries_max = 1_000;
    eventually("it is in line", || fake.api().list("seawall").len() == 2 && is_active(&guard));
    fake.fail("", Fault::Status(403));
    eventually("it is told", || reason(&guard).contains("the scope global, of a user with the role engineer"));
    fake.fail("", Fault::Status(401));
    eventually("it is told", || reason(&guard).contains("not known to Fastly, or it has ended"));
    assert!(!guard.log().contains(TOKEN) && !guard.status().to_string().contains(TOKEN));
    fake.mend();
    eventually("it is in line", || is_active(&guard));
}

#[test]
fn what_another_program_changes_is_repaired_and_told() {
    let (origin, fake) = (Origin::echoing(), Fastly::start());
    set_up(&fake);
    let guard = on(&origin, &fake);
    run(&guard, &["bans", "add", "203.0.113.0/24", "--for", "1h"]);
    eventually("it is in line", || fake.api().list("seawall") == ["203.0.113.0/24"] && is_active(&guard));
    {
        let mut fastly = fake.api();
        let (list, snippet) = (fastly.active().lists["seawall"].clone(), fastly.active().snippets["seawall"].clone());
        // Somebody takes an address out of the banned network, and empties the snippet.
        let negated = Entry {
            id: "mine".to_owned(),
            ip: "203.0.113.9".to_owned(),
            subnet: Some(32),
            negated: true,
            comment: "a friend".to_owned(),
        };
        fastly.entries.get_mut(&list).expect("the list").push(negated);
        fastly.contents.insert(snippet, String::new());
    }
    eventually("it is repaired", || {
        fake.api().list("seawall") == ["203.0.113.0/24"]
            && fake.api().snippet("seawall").contains("client.ip ~ seawall)")
    });
    eventually("it is told", || edge(&guard)["repairs"].as_u64().is_some_and(|repairs| repairs > 0));
}
