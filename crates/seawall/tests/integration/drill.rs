//! `seawall drill`, held for real: its own guard, its own origin, clients with addresses of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

/// Visitors beside traffic for other sites, for two seconds.
const SMALL: &str = r#"
name = "small"
incident = "traffic for other sites beside a few visitors"
duration = "2s"
onset = "500ms"
[site]
hosts = ["site.example"]
[[origin.answer]]
path = "/static/*"
size = "3 kB"
content-type = "text/css"
[[origin.answer]]
path = "*"
size = "20 kB"
service-time = "2ms"
[[group]]
name = "visitors"
label = "wanted"
clients = 20
arrivals = { kind = "constant", rate = 20 }
agents = "browsers"
parallel-connections = 2
[[group.request]]
path = "/page/{int:1-9}"
assets = ["/static/a.css", "/static/b.css", "/static/c.css"]
[[group]]
name = "strays"
label = "unwanted"
clients = 200
order = "rotating"
arrivals = { kind = "constant", rate = 100 }
user-agents = ["stray/{int:1-9}"]
connection = "one-request"
[[group.request]]
host = "cdn.example"
path = "/{hex:8}"
"#;

fn drill(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("drill").args(arguments).output().expect("seawall can be started")
}

fn scenario(folder: &Path, targets: &str) -> PathBuf {
    let file = folder.join("small.toml");
    fs::write(&file, format!("{SMALL}[targets]\n{targets}\n")).expect("a folder to write to");
    file
}

fn outcome(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("no outcome ({error}): {said}"))
}

#[test]
fn a_guard_keeps_strays_from_the_origin_and_serves_everybody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let targets = "wanted-refused-max = 0\nwanted-served-share-min = 1.0\nunwanted-reaching-origin-share-max = 0.0";
    let file = scenario(folder.path(), targets);
    let output = drill(&["--scenario", &file.display().to_string(), "--json", "--seed", "7"]);
    let outcome = outcome(&output);
    assert_eq!(output.status.code(), Some(0), "{outcome:#}");
    let (wanted, unwanted) = (&outcome["wanted"], &outcome["unwanted"]);
    assert!(wanted["sent"].as_u64() > Some(40), "{wanted}");
    assert_eq!(wanted["reached_origin"], wanted["sent"]);
    assert_eq!((&unwanted["reached_origin"], &unwanted["refused"]), (&Value::from(0), &unwanted["sent"]));
    assert_eq!(unwanted["statuses"]["421"], unwanted["sent"]);
}

#[test]
fn without_a_guard_the_origin_gets_it_all_and_one_seed_sends_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = scenario(folder.path(), "unwanted-reaching-origin-share-max = 0.0").display().to_string();
    let run = || {
        let output = drill(&["--scenario", &file, "--json", "--without-guard"]);
        assert_eq!(output.status.code(), Some(1), "a missed target is said by the exit code");
        outcome(&output)
    };
    let (first, second) = (run(), run());
    assert_eq!(first["unwanted"]["reached_origin"], first["unwanted"]["sent"]);
    assert_eq!(first["unwanted"]["sent"], second["unwanted"]["sent"]);
    assert_eq!(first["wanted"]["sent"], second["wanted"]["sent"]);
    assert_eq!(first["targets"][0]["met"], Value::Bool(false));
}

#[test]
fn an_interrupted_drill_leaves_no_guard_and_no_folder_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = scenario(folder.path(), "").display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command
        .args(["drill", "--scenario", &file])
        .env("TMPDIR", folder.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null());
    let child = command.spawn().expect("seawall can be started");
    let parent = Pid::from_child(&child);
    let guard = (0..200).find_map(|_| {
        thread::sleep(Duration::from_millis(20));
        let socket = fs::read_dir(folder.path()).ok()?.flatten().map(|entry| entry.path().join("state/control.sock"));
        socket.into_iter().any(|path| path.exists()).then(|| child_of(parent)).flatten()
    });
    let guard = guard.expect("the guard is started");
    kill_process(parent, Signal::INT).expect("the drill is running");
    let output = child.wait_with_output().expect("the drill ends");
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(test_kill_process(guard).is_err(), "the guard is gone");
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("the folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["small.toml"]);
}

#[test]
fn an_origin_that_crashes_is_away_for_a_while_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("crash.toml");
    let full =
        "[origin]\nrequests-at-once-max = 1\nwaiting-max = 20\nwhen-full = \"crash\"\nrestart-time = \"600ms\"\n";
    let text = SMALL
        .replace("[[origin.answer]]\npath = \"/static", &format!("{full}[[origin.answer]]\npath = \"/static"))
        .replace("service-time = \"2ms\"", "service-time = \"20ms\"");
    fs::write(&file, text).expect("a folder to write to");
    let output = drill(&["--scenario", &file.display().to_string(), "--json", "--without-guard"]);
    let outcome = outcome(&output);
    let unwanted = &outcome["unwanted"];
    assert!(unwanted["dropped"].as_u64() > Some(20), "those who wait are cut off, and those who come: {unwanted}");
    assert!(unwanted["served"].as_u64() > Some(0), "{unwanted}");
}

/// A built-in drill, cut short, with the names of the targets that must be met. How fast the rule is found, and how much of the
/// flood it leaves, is for the drill itself to measure, on a machine that has nothing else to do.
fn short_drill(scenario: &str, duration: &str, onset: &str, must_meet: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("short.toml");
    let short: Vec<String> = scenario
        .lines()
        .map(|line| match line.split(" = ").next() {
            Some("duration") if line.ends_with("s\"") => format!("duration = \"{duration}\""),
            Some("onset") => format!("onset = \"{onset}\""),
            Some("days") => "days = 2".to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    fs::write(&file, short.join("\n")).expect("a folder to write to");
    let outcome = outcome(&drill(&["--scenario", &file.display().to_string(), "--json"]));
    for name in must_meet {
        let targets = outcome["targets"].as_array().into_iter().flatten();
        let is_met = targets.filter(|target| target["name"] == *name).any(|target| target["met"] == true);
        assert!(is_met, "{name}: {:#}\n{:#}", outcome["targets"], outcome["incidents"]);
    }
    outcome
}

#[test]
fn announces_at_a_site_that_is_no_tracker_are_explained_and_nobody_else_is_refused() {
    let drill = include_str!("../../../../drills/announce.toml");
    let outcome = short_drill(drill, "18s", "6s", &["verdict", "wanted refused or dropped"]);
    assert_eq!(outcome["duration_seconds"], 18.0);
    let rules: Vec<_> = outcome["rules"].as_array().into_iter().flatten().map(|rule| &rule["text"]).collect();
    assert!(rules.contains(&&Value::from("path = \"/announce\"")), "{rules:?}");
}

#[test]
fn a_program_that_wants_one_file_is_refused_and_nobody_else() {
    let drill = include_str!("../../../../drills/cacert.toml");
    let outcome = short_drill(drill, "20s", "8s", &["verdict", "wanted refused or dropped"]);
    let refused = outcome["unwanted"]["refused"].as_u64().zip(outcome["unwanted"]["dropped"].as_u64());
    assert!(refused.is_some_and(|(refused, dropped)| refused + dropped > 0), "{:#}", outcome["unwanted"]);
}

#[test]
fn a_crowd_at_the_clock_is_left_alone() {
    let drill = include_str!("../../../../drills/clock.toml").replace("\"40s\"", "\"18s\"");
    short_drill(&drill, "20s", "8s", &["verdict", "wanted refused or dropped"]);
}

/// The first process whose parent is this one.
fn child_of(parent: Pid) -> Option<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", parent.as_raw_nonzero());
    let children = fs::read_to_string(path).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

#[test]
fn what_cannot_be_held_is_said_in_one_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = scenario(folder.path(), "wanted-refused = 0").display().to_string();
    for (arguments, code, expected) in [
        (vec!["--scenario", &file], 3, "small.toml:38:1: unknown field `wanted-refused`"),
        (vec!["--scenario", "/nonexistent.toml"], 4, "failed to read the scenario /nonexistent.toml"),
        (
            vec!["kakaert"],
            2,
            "there is no drill named \"kakaert\"; there are cacert, misdirected, announce, clock, wiki-spam",
        ),
        (vec!["clock", "--without-guard"], 2, "cannot be held without a guard"),
        (vec![], 2, "required"),
    ] {
        let output = drill(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn the_list_names_every_drill_with_its_incident() {
    let output = drill(&["list"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let names: Vec<_> = said.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let expected =
        ["cacert", "misdirected", "announce", "clock", "wiki-spam", "wiki-slow", "wiki-friendica", "tracker", "link"];
    assert_eq!((output.status.code(), names), (Some(0), expected.to_vec()), "{said}");
}
