//! A sensor that no longer tells what it is there to tell is an alarm.

use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;

use super::{append, ordinary};
use crate::support::eventually;
use crate::support::guard::{Guard, text};

/// What is alarmed of the only log.
fn alarms(guard: &Guard) -> String {
    guard.sensor()["alarms"].to_string()
}

fn events(guard: &Guard) -> String {
    guard.status()["events"].to_string()
}

#[test]
fn a_format_that_changes_is_an_alarm_until_it_is_known_again() {
    let guard = Guard::watch(&["access.log"], |_| {});
    let log = guard.folder().join("access.log");
    let clock = Clock::start();
    for round in 0..4 {
        append(&log, &(0..10).map(|number| ordinary(&clock, round * 10 + number)).collect::<String>());
        thread::sleep(Duration::from_millis(600));
    }
    assert_eq!(alarms(&guard), "[]");
    append(&log, &"something else altogether\n".repeat(15));
    eventually("the alarm", || alarms(&guard).contains("none of the last 15 lines could be read: no time stamp"));
    assert!(events(&guard).contains("sensor-silent"), "{}", events(&guard));
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(shown.contains("ALARM       access.log: none of the last"), "{shown}");
    assert!(guard.log().contains("none of the last 15 lines"), "{}", guard.log());
    append(&log, &ordinary(&clock, 1));
    eventually("its end", || alarms(&guard) == "[]");
    assert!(events(&guard).contains("sensor-heard"));
}

#[test]
fn addresses_that_are_taken_out_of_a_log_are_an_alarm() {
    let guard = Guard::watch(&["access.log"], |_| {});
    let log = guard.folder().join("access.log");
    let clock = Clock::start();
    for round in 0..4 {
        append(&log, &(0..10).map(|number| ordinary(&clock, round * 10 + number)).collect::<String>());
        thread::sleep(Duration::from_millis(600));
    }
    let without = |number| ordinary(&clock, number).replacen(&format!("198.51.100.{}", number % 40), "-", 1);
    append(&log, &(0..30).map(without).collect::<String>());
    eventually("the alarm", || alarms(&guard).contains("the client address is in none of the last 30 requests"));
    assert!(alarms(&guard).contains("it was in 100% before"), "{}", alarms(&guard));
}
