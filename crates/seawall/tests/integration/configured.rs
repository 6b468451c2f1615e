//! Rules of the configuration, through reloads that are not confirmed and restarts.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::guard::{Guard, Setup, text};
use crate::support::origin::Origin;
use crate::support::{PATIENCE, eventually, free_address};

const RULE: &str = "[[rule]]\nname = \"old\"\nrule = 'path = \"/old\"'\n";

/// A rule about a network of clients.
const NETWORK: &str = "[[rule]]\nname = \"net\"\nrule = 'client-prefix = 203.0.113.0/24'\n";

/// A guard that enforces against loopback, with this in its `[policy]` and these rules.
fn setup(origin: &Origin, policy: &str, rules: &str) -> Setup {
    Setup::to(&origin.url()).sections(&format!("[policy]\nnever-ban-loopback = false\n{policy}\n{rules}"))
}

/// Changes the file.
fn write(guard: &Guard, setup: &Setup) {
    fs::write(guard.config_path(), setup.text()).expect("a configuration");
}

/// What a command says that succeeds.
fn said(guard: &Guard, arguments: &[&str]) -> String {
    let output = guard.command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The stages of the rules, by their numbers.
fn stages(guard: &Guard) -> Vec<(u64, String)> {
    let rules = guard.status()["detection"]["rules"].as_array().cloned().unwrap_or_default();
    rules
        .iter()
        .map(|rule| (rule["id"].as_u64().unwrap_or(0), rule["stage"].as_str().unwrap_or("").to_owned()))
        .collect()
}

#[test]
fn what_comes_back_unconfirmed_has_its_rules_whatever_the_never_ban_list_was_meanwhile() {
    let origin = Origin::echoing();
    let before = setup(&origin, "", NETWORK);
    let guard = before.start();
    let in_force = [(20_001, "enforced".to_owned())];
    eventually("it is in force", || stages(&guard) == in_force);
    write(&guard, &setup(&origin, "never-ban = [\"203.0.113.0/24\"]", ""));
    said(&guard, &["reload", "--confirm", "1s"]);
    eventually("it is out", || stages(&guard).is_empty());
    let status = said(&guard, &["status"]);
    assert!(status.contains("WAITS       the configuration is to be confirmed until "), "{status}");
    eventually("it is in force again, with its number", || stages(&guard) == in_force);
    assert!(!said(&guard, &["status"]).contains("WAITS"));

    // A signal does not put what was undone in force, and a word does.
    guard.signal(Signal::HUP);
    eventually("it was looked at", || guard.log().contains("the file still has what was not confirmed in time"));
    assert_eq!(stages(&guard), in_force);
    said(&guard, &["reload"]);
    eventually("it is out", || stages(&guard).is_empty());
    // A reload that lets the network go has the rule in force at once.
    write(&guard, &before);
    said(&guard, &["reload"]);
    eventually("it is in force once more", || stages(&guard) == in_force);
}

#[test]
fn a_rule_that_cannot_be_in_force_is_named_everywhere() {
    let origin = Origin::echoing();
    let guard = setup(&origin, "", RULE).start();
    eventually("it is in force", || guard.connect().fetch("/old").status == 403);
    write(&guard, &setup(&origin, "never-ban = [\"203.0.113.7\"]", &format!("{NETWORK}{RULE}")));
    let why = "the rule \"net\" of the configuration is not in force: it names a client that is on the never-ban list";
    let reloaded = said(&guard, &["reload"]);
    assert!(reloaded.contains(&format!("Note: {why}.")), "{reloaded}");
    assert!(reloaded.contains("Note: what the rule \"net\" hits of normal traffic is not known yet"), "{reloaded}");
    assert!(!reloaded.contains("what the rule \"old\""), "only of new ones: {reloaded}");
    eventually("it is shown", || stages(&guard) == [(20_002, "proposed".to_owned()), (20_001, "enforced".to_owned())]);
    let status = said(&guard, &["status"]);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&status).contains(&format!("ALARM {why}")), "{status}");
    let listed = said(&guard, &["rules", "list"]);
    assert!(listed.contains("the configuration has it: net; it is not in force: it names a client"), "{listed}");
    assert!(listed.contains("what it would match of normal is not known"), "{listed}");
    let explained = said(&guard, &["rules", "explain", "R20001"]);
    assert!(explained.contains("It ends once it is taken out of the configuration"), "{explained}");
    assert!(!explained.contains("rules remove"), "{explained}");
}

#[test]
fn where_nothing_is_enforced_a_rule_of_the_configuration_is_counted() {
    let origin = Origin::echoing();
    let guard = setup(&origin, "enforce = \"never\"", RULE).start();
    eventually("it is proposed", || stages(&guard) == [(20_001, "proposed".to_owned())]);
    eventually("it counts and lets pass", || {
        assert_eq!(guard.connect().fetch("/old").status, 200);
        guard.status()["detection"]["rules"][0]["matched"].as_u64() >= Some(1)
    });
    write(&guard, &setup(&origin, "", RULE));
    said(&guard, &["reload"]);
    eventually("it is in force", || guard.connect().fetch("/old").status == 403);
}

#[test]
fn a_rule_keeps_its_number_over_a_restart_and_a_stop_tells_what_waited() {
    let origin = Origin::echoing();
    let other = RULE.replace("old", "new");
    let mut guard = setup(&origin, "", &format!("{RULE}{other}")).start();
    eventually("they are in force", || stages(&guard).len() == 2);
    let after = setup(&origin, "", &other);
    write(&guard, &after);
    said(&guard, &["reload", "--confirm", "1h"]);
    said(&guard, &["stop"]);
    assert!(guard.wait().success());
    let second = after.start_after(&guard);
    eventually("it has its number", || stages(&second) == [(20_002, "enforced".to_owned())]);
    eventually("the stop told of it", || {
        said(&second, &["journal"]).contains("the configuration waited to be confirmed; the file has it")
    });
    let output = second.command(&["confirm"]);
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("in force since the next start"), "{said}");
}

/// What the first visitor is answered who comes as soon as there is somebody to connect to.
fn first_answer(address: SocketAddr) -> String {
    let mut stream = None;
    eventually("it listens", || {
        stream = TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok();
        stream.is_some()
    });
    let mut stream = stream.expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn after_a_restart_nobody_is_served_before_the_rules_of_before_are_in_force() {
    let origin = Origin::echoing();
    let address = free_address();
    let setup = setup(&origin, "", "").listen(&[address]);
    let mut guard = setup.start();
    said(&guard, &["rules", "add", "path = \"/\"", "--anyway"]);
    eventually("it is written", || guard.status()["record"]["written"].as_u64() >= Some(2));
    guard.signal(Signal::KILL);
    guard.wait();
    for _ in 0..8 {
        std::thread::scope(|scope| {
            let visitor = scope.spawn(|| first_answer(address));
            let next = setup.start_after(&guard);
            let answer = visitor.join().expect("no panic");
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}\n{}", next.log());
        });
    }
}
