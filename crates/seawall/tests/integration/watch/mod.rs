//! `seawall watch`: a guard on the logs of another server, in a process of its own.

mod bans;
mod pipes;
mod restart;
mod rotation;
mod silence;
mod sources;
mod syslog;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;
use seawall_engine::detection::{self, Detector, Surroundings};
use seawall_engine::observation::Observation;
use seawall_engine::observation::log::Reader;

use crate::support::eventually;
use crate::support::guard::Guard;

/// A line as nginx writes it by default, of now.
pub(crate) fn line(clock: &Clock, client: &str, request: &str, agent: &str) -> String {
    answered(clock, client, request, agent, 200)
}

/// The same with the status of its answer.
fn answered(clock: &Clock, client: &str, request: &str, agent: &str, status: u16) -> String {
    let seconds = i64::try_from(clock.now().as_seconds()).expect("a moment");
    let at = jiff::Timestamp::from_second(seconds).expect("a moment").strftime("%d/%b/%Y:%H:%M:%S +0000");
    format!("{client} - - [{at}] \"{request} HTTP/1.1\" {status} 512 \"-\" \"{agent}\"\n")
}

/// A visitor of the site: one of forty, on one of seven pages.
fn ordinary(clock: &Clock, number: u32) -> String {
    let client = format!("198.51.100.{}", number % 40);
    line(clock, &client, &format!("GET /page/{}", number % 7), &format!("Mozilla/5.0 Firefox/{}", 120 + number % 9))
}

pub(crate) fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("a log");
    file.write_all(text.as_bytes()).expect("written");
}

/// What a guard has learned that has seen ordinary visitors, two a second, for a day and an hour until now: after less than a
/// day it would only propose.
fn learned(clock: &Clock) -> Vec<u8> {
    let settings = detection::Settings { seed: 7, ..detection::Settings::default() };
    let (mut detector, mut reader) = (Detector::new(settings), Reader::default());
    let seconds = 25 * 3_600;
    let begin = clock.now() - Duration::from_secs(seconds);
    for second in 0..seconds {
        let at = begin + Duration::from_secs(second);
        for number in [2 * second, 2 * second + 1] {
            let line = ordinary(clock, number as u32);
            let entry = reader.read(line.trim_end().as_bytes()).expect("a line");
            detector.observe(&Observation { at, ..entry.observation });
        }
        detector.tick(at, &Surroundings::default());
    }
    detector.save()
}

/// A guard on `access.log` that has learned what is ordinary.
fn knowing(clock: &Clock) -> Guard {
    Guard::watch(&["access.log"], |folder| {
        let state = folder.join("state");
        fs::create_dir(&state).expect("made");
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("ours");
        fs::write(state.join("baseline"), learned(clock)).expect("written");
    })
}

/// What a server writes.
struct Traffic {
    clock: Clock,
    log: PathBuf,
    number: u32,
    /// What the server answers to a flood.
    status: u16,
}

impl Traffic {
    /// Two visitors a second for so many seconds, and in each tenth of one so many requests of a flood.
    fn write(&mut self, seconds: u64, flood: u32) {
        for tenth in 0..seconds * 10 {
            let visitors = if tenth % 10 == 0 { 2 } else { 0 };
            let numbers = self.number..self.number + visitors;
            let mut text: String = numbers.map(|number| ordinary(&self.clock, number)).collect();
            for _ in 0..flood {
                let client = format!("203.0.113.{}", self.number % 250);
                text += &answered(&self.clock, &client, "POST /ca/cacert.pem", "QQGameHall", self.status);
                self.number += 1;
            }
            self.number += visitors;
            append(&self.log, &text);
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_flood_in_a_followed_log_is_found() {
    let clock = Clock::start();
    let guard = knowing(&clock);
    let mut traffic = Traffic { clock, log: guard.folder().join("access.log"), number: 0, status: 200 };
    traffic.write(5, 0);
    let calm = guard.status();
    assert_eq!(calm["calm"], true, "{calm}");
    assert_eq!(calm["sensors"][0]["log"]["format"], "combined");
    let mut rule = None;
    for _ in 0..20 {
        traffic.write(1, 40);
        let status = guard.status();
        let rules = status["detection"]["rules"].as_array().expect("rules").clone();
        rule = rules.into_iter().find(|rule| {
            rule["text"].as_str().is_some_and(|text| text.contains("QQGameHall") || text.contains("cacert"))
                && rule["stage"] == "enforced"
                && rule["refused"].as_u64().is_some_and(|refused| refused > 0)
        });
        if rule.is_some() {
            break;
        }
    }
    let rule = rule.unwrap_or_else(|| panic!("no rule was found: {:#}", guard.status()["detection"]));
    let shown = String::from_utf8(guard.command(&["status"]).stdout).expect("text");
    assert!(shown.contains("beside the server, on its log") && shown.contains("nobody is refused"), "{shown}");
    assert!(!shown.contains("203.0.113."), "{shown}");
    // Nothing is said to be done that only the server can do, and how it does it is.
    let state = guard.folder().join("state");
    let export = format!("seawall export nginx --state {} --output /etc/nginx/conf.d/", state.display());
    assert!(shown.contains("\nto end it   seawall ") && shown.contains(&export), "{shown}");
    assert!(shown.contains("rules would refuse ") && shown.contains(" until "), "{shown}");
    assert!(!["refuses", "throttles", "lets "].iter().any(|word| shown.contains(word)), "{shown}");
    let status = guard.status();
    assert!(status["traffic"]["would_refuse"].as_u64() > Some(0), "{status}");
    let id = rule["id"].as_u64().expect("a number").to_string();
    assert!(guard.command(&["rules", "remove", &id]).status.success());
    // The status is made anew four times a second.
    eventually("the rule is told to be gone", || guard.status()["events"].to_string().contains("rule-withdrawn"));
    // Of what was decided the journal says how the traffic was, as of what the operator did.
    let mut lines = Vec::new();
    eventually("all is in the journal", || {
        let journal = guard.command(&["journal", "--json"]).stdout;
        lines = serde_json::from_slice::<Vec<serde_json::Value>>(&journal).expect("JSON");
        ["rule-enforced", "rule-withdrawn", "remove-rule"].iter().all(|action| line_of(&lines, action).is_some())
    });
    for action in ["rule-enforced", "rule-withdrawn", "remove-rule"] {
        let before = line_of(&lines, action).map(|line| line["before"]["requests"].as_f64());
        assert!(before.flatten().is_some_and(|requests| requests > 1.0), "{action}: {lines:#?}");
    }
}

#[test]
fn what_the_server_refuses_as_it_was_told_to_is_no_page_served() {
    let clock = Clock::start();
    let guard = knowing(&clock);
    let mut traffic = Traffic { clock, log: guard.folder().join("access.log"), number: 0, status: 200 };
    traffic.write(5, 0);
    let mut waited = 0;
    while guard.status()["way_out"].is_null() {
        traffic.write(1, 40);
        waited += 1;
        assert!(waited < 20, "{}", guard.status()["detection"]);
    }
    // The operator has done what was printed.
    traffic.status = 403;
    let served = guard.status()["traffic"]["served"].as_u64().expect("a number");
    traffic.write(20, 40);
    let status = guard.status();
    assert_eq!(status["server_refuses"], true, "{status}");
    assert!(status["way_out"].is_null(), "{status}");
    assert!(!status["calm"].as_bool().expect("a word"), "the flood goes on: {status}");
    let count = |name: &str| status["traffic"][name].as_u64().expect("a number");
    // 40 requests in each tenth of a second, and two visitors a second; some lines were not read yet.
    assert!(count("refused_rule") > 6_000 && count("served") < served + 1_000, "{served}: {status}");
    let rules = status["detection"]["rules"].as_array().expect("rules");
    assert!(rules.iter().any(|rule| rule["refused_by_server"].as_u64() > Some(6_000)), "{status}");
    let shown = String::from_utf8(guard.command(&["status"]).stdout).expect("text");
    assert!(shown.contains("\nheld        your server refuses what was found"), "{shown}");
    assert!(!shown.contains("to end it") && shown.contains("; the server refused "), "{shown}");
    // The file has run out.
    traffic.status = 200;
    traffic.write(12, 40);
    assert!(guard.status()["way_out"].is_object(), "{}", guard.status());
}

fn line_of<'l>(lines: &'l [serde_json::Value], action: &str) -> Option<&'l serde_json::Value> {
    lines.iter().find(|line| line["action"] == action)
}
