//! What commands answer to operators, with which exit code, and what of it stands in the journal.

use std::fs;

use super::SECTIONS;
use crate::support::eventually;
use crate::support::guard::{Guard, Setup, text};
use crate::support::origin::Origin;

fn guard(origin: &Origin) -> Guard {
    let sections = SECTIONS.replace("\"127.0.0.99\"", "\"127.0.0.99\", \"198.51.100.7\"");
    Setup::to(&origin.url()).sections(&sections).start()
}

/// Runs a command, and says how it ended and what it printed.
fn ask(guard: &Guard, arguments: &[&str]) -> (i32, String, String) {
    let output = guard.command(arguments);
    (output.status.code().expect("it ended by itself"), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_rule_of_a_panic_waits_for_its_end_and_only_a_panic_can_be_over() {
    let origin = Origin::echoing();
    let guard = guard(&origin);
    let (code, _, said) = ask(&guard, &["panic", "--over"]);
    assert!(code == 1 && said.contains("there was no panic"), "{code} {said}");
    assert_eq!(ask(&guard, &["panic"]).0, 0);
    let (code, said, _) = ask(&guard, &["rules", "add", "path = \"/x\"", "--anyway"]);
    assert!(code == 0 && said.contains("waits for `seawall panic --over`") && !said.contains("is in force"), "{said}");
    assert_eq!(guard.connect().fetch("/x").status, 200);
    let (_, said, _) = ask(&guard, &["bans", "add", "203.0.113.7"]);
    assert!(said.contains("nowhere now"), "{said}");
    assert_eq!(ask(&guard, &["panic", "--over"]).0, 0);
    eventually("the rule is in force", || guard.connect().fetch("/x").status == 403);
    assert_eq!(ask(&guard, &["panic", "--over"]).0, 1);
    let resumed = text(&guard.command(&["journal"]).stdout).matches(" resume ").count();
    assert!(resumed <= 1, "what was no panic is in no journal");
}

#[test]
fn what_was_not_done_is_no_success() {
    let origin = Origin::echoing();
    let guard = guard(&origin);
    for (arguments, expected, why) in [
        (&["bans", "add", "--asn", "999999999", "--anyway"][..], 1, "no network of AS999999999 is known"),
        (&["bans", "add", "--asn", "999999999"], 1, "no network of AS999999999 is known"),
        (&["bans", "remove", "--asn", "13335"], 1, "nobody is banned within the networks of AS13335"),
        (&["bans", "remove", "--country", "LI"], 1, "nobody is banned within the networks of LI"),
        (&["bans", "remove", "--all"], 0, ""),
        (&["bans", "add", "::ffff:198.51.100.7"], 1, "never-ban list: named by never-ban in the configuration"),
        (&["bans", "add", "0.0.0.0/0"], 1, "a /0 is too large a network to ban"),
        (&["rules", "remove", "R20001"], 1, "there is no rule R20001"),
        (
            &["rules", "add", "client = 198.51.100.7", "--anyway"],
            1,
            "198.51.100.7 is named by never-ban in the configuration",
        ),
        (&["rules", "add", "path contains \"x\"", "--anyway"], 2, "cannot be looked up for each request"),
        (&["rules", "add", "pth = \"/x\""], 2, "there is no attribute `pth`"),
    ] {
        let (code, _, said) = ask(&guard, arguments);
        assert!(code == expected && said.contains(why), "{arguments:?}: {code} {said}");
        assert!(!said.contains("--anyway") && !said.contains("--confirm"), "{arguments:?}: {said}");
    }
    // Of a list that is withheld the one reason is said, and who is refused anyway is not it.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("list");
    let import = |list: &str| {
        fs::write(&file, list).expect("room");
        ask(&guard, &["bans", "import", file.to_str().expect("a path")])
    };
    let (code, _, said) = import("203.0.113.7\n10.1.2.3\n198.51.100.7\n");
    assert!(code == 1 && said.contains("nobody was banned: 10.1.2.3 is private"), "{said}");
    assert!(said.contains("198.51.100.7 is not banned: it is on the never-ban list"), "{said}");
    let (code, done, said) = import("203.0.113.7\n198.51.100.7\n");
    assert!(
        code == 1 && done.contains("Banned 1 network") && said.contains("198.51.100.7 is not banned"),
        "{done}{said}"
    );
    let (_, said, _) = ask(&guard, &["bans", "add", "203.0.113.7/24"]);
    assert!(said.contains("For 203.0.113.7/24 that is 203.0.113.0/24."), "{said}");
}

#[test]
fn a_rule_that_is_said_again_is_renewed() {
    let origin = Origin::echoing();
    let guard = guard(&origin);
    let add = |arguments: &[&str]| ask(&guard, &[&["rules", "add", "path = \"/x\"", "--anyway"], arguments].concat());
    assert_eq!(add(&[]).0, 0);
    let (code, said, _) = add(&["--for", "2h"]);
    assert!(code == 0 && said.starts_with("R10001 is already in force; it lasts until 20"), "{said}");
    let (code, _, said) = add(&["--confirm", "60s"]);
    assert!(code == 1 && said.contains("R10001 is the same and in force already"), "{code} {said}");
    assert_eq!(guard.status()["detection"]["rules"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_journal_says_for_how_long_and_why() {
    let origin = Origin::echoing();
    let guard = guard(&origin);
    for arguments in [
        &["bans", "add", "203.0.113.7", "--for", "2h", "--reason", "fills the guest book"][..],
        &["bans", "remove", "203.0.113.7", "--reason", "has apologized"],
        &["rules", "add", "path = \"/x\"", "--for", "3h", "--reason", "asks for all", "--anyway"],
        &["rules", "remove", "R10001", "--reason", "asks no more"],
    ] {
        assert_eq!(ask(&guard, arguments).0, 0, "{arguments:?}");
    }
    for expected in [
        "203.0.113.7/32 for 2h: fills the guest book",
        "203.0.113.7/32: has apologized",
        "R10001 for 3h: path = \"/x\"; reason: asks for all",
        "R10001: path = \"/x\"; reason: asks no more",
    ] {
        eventually(expected, || text(&guard.command(&["journal"]).stdout).contains(expected));
    }
}

#[test]
fn what_became_of_each_command_is_one_json_object() {
    let origin = Origin::echoing();
    let guard = guard(&origin);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("list");
    fs::write(&file, "create b hash:net\nadd b 203.0.113.7\nadd b 203.0.113.8 nomatch\n").expect("room");
    let file = file.to_str().expect("a path");
    for (arguments, code, name, value) in [
        (&["bans", "import", file][..], 0, "added", serde_json::json!(1)),
        (&["bans", "add", "203.0.113.9/24"], 0, "added", serde_json::json!(1)),
        (&["bans", "remove", "203.0.113.7"], 0, "removed", serde_json::json!(1)),
        (&["rules", "add", "path = \"/x\"", "--confirm", "60s"], 0, "renewed", serde_json::json!(false)),
        (&["confirm"], 0, "changes", serde_json::json!(1)),
        (&["confirm"], 1, "changes", serde_json::json!(0)),
        (&["panic"], 0, "rules", serde_json::json!(1)),
        (&["panic", "--over"], 0, "is_none", serde_json::json!(false)),
        (&["panic", "--over"], 1, "is_none", serde_json::json!(true)),
        (&["rules", "remove", "R10001"], 0, "with", serde_json::json!([])),
    ] {
        let (ended, said, _) = ask(&guard, &[arguments, &["--json"]].concat());
        let answer: serde_json::Value =
            serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"));
        assert_eq!((ended, &answer[name]), (code, &value), "{arguments:?}: {answer}");
    }
}

#[test]
fn a_log_of_another_program_is_no_report_of_bans() {
    let origin = Origin::echoing();
    let guard = guard(&origin);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("other.log");
    let report = |content: &str| {
        fs::write(&file, content).expect("room");
        ask(&guard, &["bans", "report", file.to_str().expect("a path")])
    };
    let (code, _, said) = report("203.0.113.7 - - GET /\n");
    assert!(code == 3 && said.contains("other.log is fail2ban's"), "{code} {said}");
    let (code, said, _) =
        report("2024-05-17 12:34:56,789 fail2ban.actions        [77]: NOTICE  [sshd] Ban 192.0.2.1\nanything else\n");
    assert!(code == 0 && said.contains("1 line cannot be read; the first is line 2"), "{code} {said}");
    assert_eq!(report("").0, 0, "nobody was banned");
}
