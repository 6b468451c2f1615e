//! `seawall export` itself: what it reads, what it says, how it ends.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::program::export;
use crate::support::eventually;
use crate::support::guard::{Setup, text};
use crate::support::origin::Origin;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("room for a file");
    }
    folder
}

#[track_caller]
fn ends(output: &Output, code: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn what_cannot_be_said_is_listed_and_named() {
    let folder = folder(&[("rules.txt", "a: path = /a\nb: country = CN and path = /b\nuser-agent = none\n")]);
    let output = export(folder.path(), &["nginx", "--rules", "rules.txt"]);
    let said = ends(&output, 0);
    assert!(said.ends_with("with the reasons: b, line-3\n"), "{said}");
    let file = text(&output.stdout);
    assert!(
        file.contains("#   b: country = \"CN\" and path = \"/b\"\n#     not said, since `country` comes from a table"),
        "{file}"
    );
    // Cron runs it from elsewhere.
    let rules = folder.path().join("rules.txt");
    let line =
        format!("/etc/crontab:\n#   */5 * * * * root seawall export nginx --rules {} --output ", rules.display());
    assert!(file.contains(&line), "{line}: {file}");
    assert!(!file.contains("\\x43N\" 1;") && file.contains("127.0.0.0/8 1;"), "{file}");
    let output = export(folder.path(), &["nginx", "--rules", "rules.txt", "--strict"]);
    let said = ends(&output, 1);
    assert!(said.contains("nothing is written\nb: `country` comes from") && output.stdout.is_empty(), "{said}");
}

#[test]
fn wrong_input_is_named() {
    let folder = folder(&[
        ("rules.txt", "path = /a\nhost not in sites\n"),
        ("bans.txt", "192.0.2.1\nnobody\n"),
        (
            "seawall.toml",
            "[[site]]\nhosts = [\"site.example\"]\nupstream = \"http://127.0.0.1:1\"\n[policy]\nnever-ban = [\"198.51.100.7\"]\n",
        ),
    ]);
    let export = |arguments: &[&str]| export(folder.path(), arguments);
    let said = ends(&export(&["nginx", "--rules", "rules.txt"]), 3);
    assert!(said.contains("rules.txt:2:13: there is no list `sites`"), "{said}");
    let said = ends(&export(&["nginx", "--bans", "bans.txt"]), 3);
    assert!(said.contains("bans.txt:2: 'nobody' is no address, network or range"), "{said}");
    let said = ends(&export(&["iptables", "--bans", "bans.txt"]), 2);
    assert!(said.contains("nftables") && said.contains("ipset"), "{said}");
    ends(&export(&["nginx", "--rules", "missing.txt"]), 4);
    ends(&export(&["nginx", "--state", "."]), 5);
    let output = export(&["varnish", "--rules", "rules.txt", "--config", "seawall.toml"]);
    ends(&output, 0);
    let file = text(&output.stdout);
    assert!(file.contains("[sS][iI][tT][eE]\\.[eE]") && file.contains("\"198.51.100.7\"/32;"), "{file}");
}

/// With a server that says what `verdict` says of its configuration, and notes that it was told to take it into use.
#[test]
fn the_line_for_cron_changes_nothing_that_the_server_does_not_take() {
    let folder = folder(&[
        ("rules.txt", "a: path = /a\n"),
        ("nginx", "#!/bin/sh\n[ \"$1\" = -t ] && exit $(cat verdict)\necho \"$@\" >> reloads\n"),
        ("seawall.conf", "# of before\n"),
        ("verdict", "1"),
    ]);
    let path = |name: &str| folder.path().join(name);
    let set_mode = |name: &str, mode| fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).expect("ours");
    set_mode("nginx", 0o755);
    set_mode("seawall.conf", 0o644);
    let first = export(folder.path(), &["nginx", "--rules", "rules.txt", "--output", "made.conf", "--strict"]);
    ends(&first, 0);
    let made = fs::read_to_string(path("made.conf")).expect("written");
    assert!(first.stdout.is_empty() && made.contains("/a"), "{made}");
    assert_eq!(fs::metadata(path("made.conf")).expect("there").mode() & 0o137, 0, "others may not read it");
    let line = made.lines().find_map(|line| line.split_once(" root seawall ")).expect("a line for cron").1;
    let line = line.replace("made.conf", "seawall.conf");
    let cron = || {
        let mut shell = Command::new("/bin/sh");
        let line = format!("\"$SEAWALL\" {line}");
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        shell.args(["-c", &line]).env("SEAWALL", env!("CARGO_BIN_EXE_seawall")).env("PATH", path);
        shell.current_dir(folder.path()).output().expect("a shell")
    };
    let said = ends(&cron(), 1);
    assert!(said.contains("`nginx -t -q` failed (exit status: 1), so ") && said.contains(" is what it was"), "{said}");
    assert_eq!(fs::read_to_string(path("seawall.conf")).expect("there"), "# of before\n");
    assert!(!path("reloads").exists());
    fs::write(path("verdict"), "0").expect("room");
    ends(&cron(), 0);
    assert!(fs::read_to_string(path("seawall.conf")).expect("there").contains("/a"));
    assert_eq!(fs::metadata(path("seawall.conf")).expect("there").mode() & 0o777, 0o640);
    assert_eq!(fs::read_to_string(path("reloads")).expect("it was told"), "-s reload\n");
    // What is read is not written over.
    let own = export(folder.path(), &["nginx", "--rules", "rules.txt", "--output", "rules.txt"]);
    assert!(ends(&own, 2).contains("is one of the files that are read"));
}

#[test]
fn the_rules_and_bans_of_a_guard_are_written_with_their_networks_until_a_panic() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).sections("[policy]\nnever-ban = [\"203.0.113.9\"]\n").start();
    let run = |arguments: &[&str]| {
        let output = guard.command(arguments);
        ends(&output, 0);
        text(&output.stdout)
    };
    run(&["rules", "add", "client = 198.51.100.0/24 and path = \"/x\"", "--for", "1h", "--anyway"]);
    run(&["rules", "add", "path = \"/slow\"", "--action", "throttle", "--anyway"]);
    run(&["bans", "add", "203.0.113.0/24", "2001:db8:1:2::3", "--for", "2h"]);
    let output = guard.command(&["export", "haproxy"]);
    let said = ends(&output, 0);
    assert!(said.contains("with the reasons: R10002"), "{said}");
    let file = text(&output.stdout);
    for expected in [
        "src 198.51.100.0/24\n",
        "-m reg -- '^/x(?:\\?|\\z)'\n",
        "not said, since it only slows down, to 1 requests a second",
        "acl seawall_banned src 203.0.113.0/24 2001:db8:1:2::/64\n",
        "203.0.113.9",
        "The first of them ends at ",
    ] {
        assert!(file.contains(expected), "{expected}: {file}");
    }
    // The file would keep what is undone unless it is confirmed; what was there before that stays.
    run(&["rules", "add", "path = \"/waits\"", "--confirm", "50s"]);
    run(&["bans", "add", "203.0.113.0/24", "192.0.2.7", "--for", "9h", "--confirm", "50s"]);
    let listed = run(&["bans", "list"]);
    assert_eq!(listed.matches(" left, unless it is confirmed").count(), 2, "{listed}");
    assert!(run(&["rules", "list"]).contains(", unless it is confirmed: path = \"/waits\""));
    eventually("it is shown", || {
        let shown = run(&["status"]);
        shown.contains("WAITS       a change of bans is to be") && shown.contains("WAITS       R10003 is to be")
    });
    let output = guard.command(&["export", "haproxy"]);
    assert!(ends(&output, 0).contains("until `seawall confirm`, and listed in the file: R10003, 2 bans"));
    let file = text(&output.stdout);
    for expected in [
        "confirmed (seawall confirm):\n#   R10003: path = \"/waits\"\n#   2 bans\n",
        "src 203.0.113.0/24 2001:db8:1:2::/64\n",
    ] {
        assert!(file.contains(expected), "{expected}: {file}");
    }
    assert!(!file.contains("'^/waits") && !file.contains("192.0.2.7"), "{file}");
    run(&["confirm"]);
    assert!(!run(&["status"]).contains("WAITS") && !run(&["bans", "list"]).contains("unless it is confirmed"));
    let file = run(&["export", "haproxy"]);
    assert!(file.contains("'^/waits") && file.contains("192.0.2.7") && !file.contains("seawall confirm"), "{file}");
    let file = run(&["export", "ipset"]);
    assert!(
        file.contains(&format!(" root seawall export ipset --state {} --output ", guard.state_path().display())),
        "{file}"
    );
    assert!(file.contains("add seawall4_new 203.0.113.9 timeout 0 nomatch"), "{file}");
    run(&["panic"]);
    eventually("nothing is in force", || {
        let file = run(&["export", "haproxy"]);
        !file.contains("198.51.100") && !file.contains("seawall_banned") && file.contains("acl seawall_never")
    });
}
