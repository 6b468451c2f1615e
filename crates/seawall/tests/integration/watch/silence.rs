//! A sensor that no longer tells what it is there to tell is an alarm.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;

use super::{append, line, ordinary};
use crate::support::eventually;
use crate::support::guard::{Guard, text};
use crate::support::namespace::within;

/// What is alarmed of the only log.
fn alarms(guard: &Guard) -> String {
    guard.sensor()["alarms"].to_string()
}

fn events(guard: &Guard) -> String {
    guard.status()["events"].to_string()
}

/// Forty requests of ordinary visitors, within some seconds.
fn write_ordinary(log: &Path, clock: &Clock) {
    for round in 0..4 {
        append(log, &(0..10).map(|number| ordinary(clock, round * 10 + number)).collect::<String>());
        thread::sleep(Duration::from_millis(600));
    }
}

#[test]
fn a_format_that_changes_is_an_alarm_until_it_is_known_again() {
    let guard = Guard::watch(&["access.log"], |_| {});
    let log = guard.folder().join("access.log");
    let clock = Clock::start();
    write_ordinary(&log, &clock);
    assert_eq!(alarms(&guard), "[]");
    append(&log, &"something else altogether\n".repeat(15));
    eventually("the alarm", || alarms(&guard).contains("none of the last 15 lines could be read: no time stamp"));
    assert!(events(&guard).contains("sensor-silent"), "{}", events(&guard));
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(shown.contains("ALARM       access.log: none of the last"), "{shown}");
    assert!(guard.log().contains("none of the last 15 lines"), "{}", guard.log());
    // A single line is not the end of it: most may still be unreadable.
    append(&log, &(0..20).map(|number| ordinary(&clock, number)).collect::<String>());
    eventually("its end", || alarms(&guard) == "[]");
    assert!(events(&guard).contains("sensor-heard"));
}

#[test]
fn addresses_that_are_taken_out_of_a_log_are_an_alarm() {
    let guard = Guard::watch(&["access.log"], |_| {});
    let log = guard.folder().join("access.log");
    let clock = Clock::start();
    write_ordinary(&log, &clock);
    let without = |number| ordinary(&clock, number).replacen(&format!("198.51.100.{}", number % 40), "-", 1);
    append(&log, &(0..30).map(without).collect::<String>());
    eventually("the alarm", || alarms(&guard).contains("the client address is in none of the last 30 requests"));
    assert!(alarms(&guard).contains("it was in 100% before"), "{}", alarms(&guard));
}

#[test]
fn a_log_that_stops_while_another_goes_on_is_an_alarm_until_it_is_written_again() {
    let guard = Guard::watch(&["a.log", "b.log"], |_| {});
    let (a, b) = (guard.folder().join("a.log"), guard.folder().join("b.log"));
    let clock = Clock::start();
    let write = |path: &Path, number: u32| append(path, &(0..number).map(|n| ordinary(&clock, n)).collect::<String>());
    let alarms = |index: usize| guard.status()["sensors"][index]["log"]["alarms"].clone();
    for _ in 0..10 {
        write(&a, 100);
        write(&b, 1);
        thread::sleep(Duration::from_millis(400));
    }
    // Twenty seconds of silence are needed, and the alarm must be there within a minute.
    let silent = Clock::start();
    while alarms(0) == serde_json::json!([]) {
        assert!(silent.uptime() < Duration::from_secs(60), "no alarm: {:#}", guard.status()["sensors"]);
        write(&b, 1);
        thread::sleep(Duration::from_millis(500));
    }
    assert!(silent.uptime() > Duration::from_secs(18), "{:?}", silent.uptime());
    let said = alarms(0).to_string();
    assert!(said.contains("stopped") && said.contains("other sensors have had"), "{said}");
    assert_eq!(alarms(1), serde_json::json!([]));
    write(&a, 1);
    eventually("its end", || alarms(0) == serde_json::json!([]));
}

/// nginx writes 0.000 for what it takes from its cache.
#[test]
fn requests_that_took_no_time_are_no_loss_of_the_time() {
    let guard = Guard::watch(&["access.log"], |_| {});
    let log = guard.folder().join("access.log");
    let clock = Clock::start();
    let timed = |number: u32, time: &str| format!("{} {time}\n", ordinary(&clock, number).trim_end());
    for _ in 0..4 {
        append(&log, &(0..20).map(|number| timed(number, "0.250")).collect::<String>());
        thread::sleep(Duration::from_millis(600));
    }
    append(&log, &(0..40).map(|number| timed(number, "0.000")).collect::<String>());
    eventually("every line", || guard.sensor()["read"] == 120);
    // They are looked at once a second.
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(alarms(&guard), "[]");
    append(&log, &(0..40).map(|number| timed(number, "-")).collect::<String>());
    eventually("the alarm", || alarms(&guard).contains("the request time is in none of the last 40 requests"));
}

#[test]
fn rules_that_ask_for_what_went_missing_are_named() {
    let guard = Guard::watch(&["access.log"], |_| {});
    let log = guard.folder().join("access.log");
    let clock = Clock::start();
    for rule in ["user-agent = \"Mozilla/5.0 Firefox/121\"", "path = \"/page/1\"", "path = \"/never\""] {
        let added = guard.command(&["rules", "add", rule, "--for", "1h", "--anyway"]);
        assert!(added.status.success(), "{}", text(&added.stderr));
    }
    let matched =
        |rule: usize| guard.status()["detection"]["rules"][rule]["matched"].as_u64().is_some_and(|count| count > 0);
    eventually("the rules match", || {
        append(&log, &(0..10).map(|number| ordinary(&clock, number)).collect::<String>());
        matched(0) && matched(1)
    });
    write_ordinary(&log, &clock);
    let shown = || text(&guard.command(&["status"]).stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    // The agents are no longer logged: what asks for them matches nothing, what asks for paths goes on.
    append(&log, &(0..40).map(|n| line(&clock, &format!("198.51.100.{n}"), "GET /page/1", "-")).collect::<String>());
    let expected = "the user agent is in none of the last 40 requests; it was in 100% before; rule R10001 matches nothing any more";
    eventually("the alarm", || alarms(&guard).contains("rule R10001 matches nothing any more"));
    assert!(alarms(&guard).contains(expected), "{}", alarms(&guard));
    assert!(events(&guard).contains(expected) && shown().contains(expected), "{}", shown());
    append(&log, &(0..10).map(|number| ordinary(&clock, number)).collect::<String>());
    eventually("its end", || alarms(&guard) == "[]");
    // Nothing can be read any more: no rule can match that did, whatever it asks for.
    append(&log, &"something else altogether\n".repeat(15));
    eventually("the alarm", || alarms(&guard).contains("; rules R10001, R10002 match nothing any more"));
}

/// In a network namespace, where nobody else's connections count.
#[test]
fn a_log_that_stops_while_connections_are_accepted_is_an_alarm() {
    within(|| {
        let guard = Guard::watch(&["access.log"], |_| {});
        let log = guard.folder().join("access.log");
        let clock = Clock::start();
        for _ in 0..10 {
            append(&log, &(0..100).map(|number| ordinary(&clock, number)).collect::<String>());
            thread::sleep(Duration::from_millis(400));
        }
        let server = TcpListener::bind("127.0.0.1:0").expect("a server");
        let address = server.local_addr().expect("its address");
        let silent = Clock::start();
        while alarms(&guard) == "[]" {
            assert!(silent.uptime() < Duration::from_secs(60), "no alarm: {:#}", guard.status()["sensors"]);
            // The server answers, and writes nothing.
            let visitor = TcpStream::connect(address).expect("a connection");
            drop((server.accept().expect("it is accepted"), visitor));
            thread::sleep(Duration::from_millis(500));
        }
        assert!(silent.uptime() > Duration::from_secs(18), "{:?}", silent.uptime());
        let said = alarms(&guard);
        assert!(said.contains("stopped") && said.contains("this machine accepted"), "{said}");
        append(&log, &ordinary(&clock, 1));
        eventually("its end", || alarms(&guard) == "[]");
    });
}

#[test]
fn a_log_that_was_never_written_is_an_alarm_while_connections_are_accepted() {
    within(|| {
        // It is there, and no server writes to it.
        let guard = Guard::watch(&["wrong.log"], |folder| fs::write(folder.join("wrong.log"), "").expect("written"));
        let server = TcpListener::bind("127.0.0.1:0").expect("a server");
        let address = server.local_addr().expect("its address");
        let silent = Clock::start();
        while alarms(&guard) == "[]" {
            assert!(silent.uptime() < Duration::from_secs(60), "no alarm: {:#}", guard.status()["sensors"]);
            let visitor = TcpStream::connect(address).expect("a connection");
            drop((server.accept().expect("it is accepted"), visitor));
            thread::sleep(Duration::from_millis(400));
        }
        let said = alarms(&guard);
        assert!(said.contains("since the start") && said.contains("is it the log that the server writes?"), "{said}");
    });
}

#[test]
fn one_client_without_a_user_agent_is_no_alarm() {
    let guard = Guard::watch(&["access.log"], |_| {});
    let log = guard.folder().join("access.log");
    let clock = Clock::start();
    for _ in 0..4 {
        append(&log, &(0..40).map(|number| ordinary(&clock, number)).collect::<String>());
        thread::sleep(Duration::from_millis(600));
    }
    for _ in 0..6 {
        append(&log, &(0..50).map(|_| line(&clock, "203.0.113.9", "GET /", "-")).collect::<String>());
        thread::sleep(Duration::from_millis(500));
    }
    eventually("every line", || guard.sensor()["read"] == 460);
    assert_eq!(alarms(&guard), "[]");
    // The same of many is one.
    append(&log, &(0..50).map(|n| line(&clock, &format!("203.0.113.{n}"), "GET /", "-")).collect::<String>());
    eventually("the alarm", || alarms(&guard).contains("the user agent is in none of the last"));
}

#[test]
fn a_pattern_that_matches_nothing_is_an_alarm_until_a_file_matches() {
    let guard = Guard::watch(&["logs/*.log", "other.log"], |folder| {
        fs::write(folder.join("other.log"), "").expect("written");
    });
    let logs = guard.folder().join("logs");
    let sensor = || {
        let status = guard.status();
        assert_eq!(status["beside"], true);
        let sensors = status["sensors"].as_array().expect("sensors").clone();
        sensors.into_iter().find(|sensor| sensor["address"].as_str().is_some_and(|name| name.starts_with("logs/")))
    };
    let trouble = || sensor().map(|sensor| sensor["log"]["trouble"].clone()).unwrap_or_default();
    assert_eq!(
        trouble(),
        "no file matches it yet: there is no folder logs; what comes to match is read from its beginning"
    );
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(shown.contains("ALARM       logs/*.log: no file matches it yet"), "{shown}");
    fs::create_dir(&logs).expect("made");
    eventually("the folder", || trouble().as_str().is_some_and(|text| text.starts_with("no file matches it yet; ")));
    append(&logs.join("access.log"), &ordinary(&Clock::start(), 1));
    eventually("the file", || {
        sensor().is_some_and(|sensor| sensor["address"] == "logs/access.log" && sensor["log"]["read"] == 1)
    });
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(!shown.contains("ALARM"), "{shown}");
}

#[test]
fn a_pattern_in_a_folder_that_may_not_be_read_says_who_may() {
    let guard = Guard::watch_unprivileged(&["closed/*.log"], |folder| {
        fs::create_dir(folder.join("closed")).expect("made");
        fs::write(folder.join("closed/access.log"), "").expect("written");
        fs::set_permissions(folder.join("closed"), fs::Permissions::from_mode(0o711)).expect("ours");
    });
    let closed = guard.folder().join("closed").display().to_string();
    let trouble = guard.sensor()["trouble"].as_str().map(str::to_owned).unwrap_or_default();
    assert!(trouble.starts_with(&format!("permission denied: {closed} belongs to group root")), "{trouble}");
    assert!(trouble.contains("chmod g+rx"), "{trouble}");
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(shown.contains("beside the server, on its log") && shown.contains("1 in logs, none in line"), "{shown}");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).expect("ours");
    eventually("the file", || guard.status()["sensors"][0]["address"] == "closed/access.log");
    assert_eq!(guard.sensor()["trouble"], serde_json::Value::Null);
}
