//! What comes back after a guard was killed, and what does not: who is banned, and the operator's rules.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use rustix::process::Signal;

use crate::support::eventually;
use crate::support::guard::{Guard, Setup, text};
use crate::support::namespace::{connect, run, within};
use crate::support::origin::Origin;

/// Clients live on loopback, and the first request of any below `/u` is one too much.
const SECTIONS: &str = "[policy]\nenforce = \"on-excess\"\nnever-ban-loopback = false\n\n[[limit]]\nname = \"none\"\n\
                        rule = 'path = \"/u\"'\nrate = \"0 in 10m\"\naction = \"ban\"\n";

fn guard(origin: &Origin) -> Guard {
    let guard = Setup::to(&origin.url()).kernel("entries-max = 64").sections(SECTIONS).start();
    eventually("the limit is in use", || !guard.status()["client_limits"].as_array().is_none_or(Vec::is_empty));
    guard
}

/// Another guard with the state that this one leaves when it is killed.
fn restarted(mut first: Guard) -> Guard {
    first.signal(Signal::KILL);
    first.wait();
    let (config, state) = (fs::read_to_string(first.config_path()).expect("a configuration"), first.state_path());
    Guard::start(&config, |directory| {
        assert!(run("cp", &["-a", state.to_str().expect("a path"), directory.to_str().expect("a path")]).0);
    })
}

fn bans(guard: &Guard) -> u64 {
    guard.status()["enforcement"]["bans"].as_u64().expect("a number")
}

/// Waits until nothing is left to be written: what is said of bans is written within half a second.
fn written(guard: &Guard) {
    let count = || guard.status()["record"]["written"].as_u64();
    let mut before = None;
    eventually("nothing more is written", || {
        let is_same = before.is_some() && before == count();
        before = count();
        std::thread::sleep(std::time::Duration::from_millis(700));
        is_same
    });
}

fn ask(client: &str, guard: &Guard, path: &str) {
    let Ok(mut connection) = connect(client, guard.address()) else { return };
    let request = format!("GET {path} HTTP/1.1\r\nHost: example.org\r\nUser-Agent: f\r\nConnection: close\r\n\r\n");
    // It may be banned meanwhile.
    let _ = connection.write_all(request.as_bytes());
    let _ = connection.set_read_timeout(Some(std::time::Duration::from_millis(300)));
    let _ = std::io::Read::read_to_end(&mut connection, &mut Vec::new());
}

#[test]
fn what_a_panic_took_out_does_not_come_back() {
    within(|| {
        let origin = Origin::echoing();
        let first = guard(&origin);
        ask("127.0.0.7", &first, "/u");
        assert!(first.command(&["bans", "add", "127.0.0.8"]).status.success());
        eventually("both are banned", || bans(&first) == 2);
        written(&first);
        assert!(first.command(&["panic"]).status.success() && first.command(&["panic", "--over"]).status.success());
        eventually("the limit's is not", || bans(&first) == 1);
        written(&first);
        let second = restarted(first);
        eventually("the operator's is", || bans(&second) == 1);
        assert!(text(&second.command(&["bans", "list", "--show-addresses"]).stdout).contains("127.0.0.8"));
    });
}

#[test]
fn merged_bans_are_taken_back_with_what_was_merged() {
    within(|| {
        let origin = Origin::echoing();
        let first = guard(&origin);
        // Nothing is merged before it is known who else is served.
        (0..400).for_each(|_| ask("127.0.9.1", &first, "/"));
        std::thread::sleep(std::time::Duration::from_secs(2));
        (0..62).for_each(|host| ask(&format!("127.0.1.{}", 4 * host + 1), &first, "/u"));
        eventually("bans were merged", || {
            text(&first.command(&["bans", "list"]).stdout).contains("merged to make room")
        });
        written(&first);
        let left = bans(&first);
        let second = restarted(first);
        eventually("as many are banned", || bans(&second) == left);
        assert!(second.command(&["bans", "remove", "--all"]).status.success());
        written(&second);
        let third = restarted(second);
        assert_eq!(text(&third.command(&["bans", "list"]).stdout), "Nobody is banned.\n");
    });
}

#[test]
fn the_journal_says_of_each_action_how_the_traffic_was_and_when_what_was_said_has_ended() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).sections(SECTIONS).start();
    let mut visitor = guard.connect();
    eventually("requests are counted", || {
        visitor.get("/");
        visitor.answer();
        guard.status()["rates"]["requests"].as_f64().is_some_and(|rate| rate > 0.0)
    });
    let command = |arguments: &[&str]| assert!(guard.command(arguments).status.success(), "{arguments:?}");
    command(&["bans", "add", "192.0.2.66", "--for", "1s", "--reason", "typed"]);
    command(&["rules", "add", "path = \"/x\"", "--for", "1s", "--anyway"]);
    let mut lines = Vec::new();
    eventually("both have ended", || {
        let journal = guard.command(&["journal", "--json"]).stdout;
        lines = serde_json::from_slice::<Vec<serde_json::Value>>(&journal).expect("JSON");
        lines.iter().filter(|line| line["action"] == "expire").count() == 2
    });
    let shown: Vec<(&str, &str)> = lines
        .iter()
        .filter(|line| line["action"] != "start")
        .map(|line| (line["action"].as_str().expect("text"), line["detail"].as_str().expect("text")))
        .collect();
    assert!(shown.contains(&("expire", "192.0.2.66/32: typed")), "{shown:?}");
    assert!(shown.contains(&("expire", "R10001: path = \"/x\"")), "{shown:?}");
    for line in lines.iter().filter(|line| line["action"] != "start") {
        assert!(line["before"]["requests"].as_f64().is_some_and(|requests| requests > 0.0), "{line:#}");
    }
    // What comes a minute later is not known yet.
    let journal = text(&guard.command(&["journal"]).stdout);
    assert!(journal.contains(" -> ?/s, failed 0.0 -> ?/s"), "{journal}");
}

#[test]
fn the_last_hour_is_reported_by_minute() {
    let origin = Origin::echoing();
    let mut guard = Setup::to(&origin.url()).sections(SECTIONS).start();
    let mut visitor = guard.connect();
    for _ in 0..3 {
        visitor.get("/");
        visitor.answer();
    }
    eventually("they are counted", || guard.count("served") == 3);
    // What is not written yet is at the end.
    guard.signal(Signal::TERM);
    guard.wait();
    let report = guard.command(&["report", "--hours", "1", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).expect("JSON");
    assert_eq!((&report["stretch_seconds"], &report["totals"]["served"]), (&60.into(), &3.0.into()), "{report:#}");
}

#[test]
fn no_address_is_in_the_clear_in_any_file() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).sections(SECTIONS).start();
    let list = guard.folder().join("list");
    fs::write(&list, "192.0.2.55\n").expect("room");
    let command = |arguments: &[&str]| assert!(guard.command(arguments).status.success(), "{arguments:?}");
    command(&["bans", "import", list.to_str().expect("a path"), "--reason", "of a list"]);
    command(&["bans", "add", "192.0.2.66", "--reason", "typed"]);
    command(&["bans", "add", "192.0.2.77"]);
    command(&["bans", "remove", "192.0.2.77"]);
    written(&guard);
    let journal = text(&guard.command(&["journal"]).stdout);
    let imported = format!("1 of 1 network of {} for 24h: of a list", list.display());
    assert!(journal.contains(&imported) && journal.contains("192.0.2.66/32 for 24h: typed"), "{journal}");
    fn search(folder: &Path, found: &mut usize) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                search(&path, found);
            } else if let Ok(content) = fs::read(&path) {
                *found += 1;
                for address in ["192.0.2.55", "192.0.2.66", "192.0.2.77"] {
                    let is_there = content.windows(address.len()).any(|bytes| bytes == address.as_bytes());
                    assert!(!is_there, "{address} is in {}", path.display());
                }
            }
        }
    }
    let mut found = 0;
    search(&guard.state_path(), &mut found);
    assert!(found >= 3, "the record, its log and a key");
}
