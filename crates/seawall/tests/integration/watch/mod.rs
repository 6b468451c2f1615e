//! `seawall watch`: a guard on the logs of another server, in a process of its own.

mod rotation;
mod silence;
mod sources;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;

use crate::support::guard::Guard;

/// A line as nginx writes it by default, of now.
fn line(clock: &Clock, client: &str, request: &str, agent: &str) -> String {
    let seconds = i64::try_from(clock.now().as_seconds()).expect("a moment");
    let at = jiff::Timestamp::from_second(seconds).expect("a moment").strftime("%d/%b/%Y:%H:%M:%S +0000");
    format!("{client} - - [{at}] \"{request} HTTP/1.1\" 200 512 \"-\" \"{agent}\"\n")
}

/// A visitor of the site: one of forty, on one of seven pages.
fn ordinary(clock: &Clock, number: u32) -> String {
    let client = format!("198.51.100.{}", number % 40);
    line(clock, &client, &format!("GET /page/{}", number % 7), &format!("Mozilla/5.0 Firefox/{}", 120 + number % 9))
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("a log");
    file.write_all(text.as_bytes()).expect("written");
}

#[test]
fn a_flood_in_a_followed_log_is_found() {
    let guard = Guard::watch(&["access.log"], |_| {});
    let log = guard.folder().join("access.log");
    let clock = Clock::start();
    let mut number = 0;
    let mut write = |seconds: u64, flood: u32| {
        for _ in 0..seconds * 10 {
            let mut text: String = (number..number + 2).map(|number| ordinary(&clock, number)).collect();
            for _ in 0..flood {
                let client = format!("203.0.113.{}", number % 250);
                text += &line(&clock, &client, "POST /ca/cacert.pem", "QQGameHall");
                number += 1;
            }
            number += 2;
            append(&log, &text);
            thread::sleep(Duration::from_millis(100));
        }
    };
    write(20, 0);
    let calm = guard.status();
    assert_eq!(calm["calm"], true, "{calm}");
    assert_eq!(calm["sensors"][0]["log"]["format"], "combined");
    let mut rule = serde_json::Value::Null;
    for _ in 0..15 {
        write(1, 40);
        let status = guard.status();
        let rules = status["detection"]["rules"].as_array().expect("rules").clone();
        let found = rules.iter().find(|rule| {
            rule["text"].as_str().is_some_and(|text| text.contains("QQGameHall") || text.contains("cacert"))
                && rule["stage"] == "enforced"
                && rule["refused"].as_u64().is_some_and(|refused| refused > 0)
        });
        if let Some(found) = found {
            rule = found.clone();
            break;
        }
    }
    assert!(rule.is_object(), "no rule was found: {:#}", guard.status()["detection"]);
    let id = rule["id"].as_u64().expect("a number").to_string();
    assert!(guard.command(&["rules", "remove", &id]).status.success());
    let shown = String::from_utf8(guard.command(&["status"]).stdout).expect("text");
    assert!(shown.contains("beside the server, on its log"), "{shown}");
    assert!(!shown.contains("203.0.113."), "{shown}");
}
