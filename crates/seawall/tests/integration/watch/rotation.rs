//! Rotation while lines come, by hand and by logrotate, and restarts of the guard.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use seawall::host::clock::Clock;

use super::{append, line, ordinary};
use crate::support::eventually;
use crate::support::guard::Guard;

fn lines(guard: &Guard) -> u64 {
    guard.sensor()["lines"].as_u64().expect("a count")
}

fn some(number: u32) -> String {
    let clock = Clock::start();
    (0..number).map(|number| ordinary(&clock, number)).collect()
}

#[test]
fn it_goes_on_where_it_was_after_a_restart() {
    let mut guard = Guard::watch(&["access.log"], |folder| append(&folder.join("access.log"), &some(10)));
    let log = guard.folder().join("access.log");
    append(&log, &some(100));
    eventually("the lines", || lines(&guard) == 100);
    guard.signal(Signal::TERM);
    guard.wait();
    append(&log, &some(20));
    fs::rename(&log, guard.folder().join("access.log.1")).expect("rotated");
    append(&log, &some(3));
    guard.again(&["access.log"]);
    eventually("what was written meanwhile", || lines(&guard) == 23);
    append(&log, &some(5));
    eventually("what is written now", || lines(&guard) == 28);
    assert_eq!(guard.sensor()["read"], 28, "{:#}", guard.sensor());
}

#[test]
fn a_line_that_was_split_is_read_whole_after_a_restart_between_its_parts() {
    let entry = |mark: &str, text: &str| format!("2026-11-27T12:00:00.5Z stdout {mark} {text}\n");
    let whole = some(1).trim_end().to_owned();
    let (first, rest) = whole.split_at(whole.len() - 40);
    let mut guard = Guard::watch(&["access.log"], |folder| append(&folder.join("access.log"), &entry("P", first)));
    let log = guard.folder().join("access.log");
    append(&log, &(entry("F", rest) + &entry("F", &whole) + &entry("P", first)));
    eventually("the lines", || lines(&guard) == 3);
    assert_eq!(guard.sensor()["read"], 2, "{:#}", guard.sensor());
    guard.signal(Signal::TERM);
    guard.wait();
    append(&log, &entry("F", rest));
    guard.again(&["access.log"]);
    eventually("the rest", || lines(&guard) == 1);
    assert_eq!(guard.sensor()["read"], 1, "{:#}", guard.sensor());
}

#[test]
fn without_the_kernel_telling_files_are_looked_at_all_the_same() {
    let guard = Guard::watch(&["logs/*.log", "--poll"], |folder| fs::create_dir(folder.join("logs")).expect("made"));
    let log = guard.folder().join("logs/access.log");
    append(&log, &some(10));
    eventually("a new file", || guard.status()["sensors"][0]["log"]["lines"] == 10);
    append(&log, &some(20));
    eventually("what is appended", || lines(&guard) == 30);
    fs::rename(&log, guard.folder().join("logs/access.log.1")).expect("rotated");
    append(&log, &some(3));
    eventually("the next file", || lines(&guard) == 33);
    let descriptors = fs::read_dir(format!("/proc/{}/fd", guard.pid())).expect("descriptors");
    let targets: Vec<_> = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect();
    assert!(!targets.iter().any(|target| target.to_string_lossy().contains("inotify")), "{targets:?}");
}

#[test]
fn what_was_read_is_kept_even_if_the_guard_is_killed() {
    let mut guard = Guard::watch(&["access.log"], |_| {});
    let log = guard.folder().join("access.log");
    append(&log, &some(50));
    let positions = guard.state_path().join("positions.json");
    let size = fs::metadata(&log).expect("there").len().to_string();
    eventually("the position", || fs::read_to_string(&positions).is_ok_and(|text| text.contains(&size)));
    guard.signal(Signal::KILL);
    guard.wait();
    append(&log, &some(7));
    guard.again(&["access.log"]);
    eventually("the rest", || lines(&guard) == 7);
}

#[test]
fn files_that_come_to_match_are_read_and_rotated_ones_are_not_read_twice() {
    let guard = Guard::watch(&["logs/*.log*"], |folder| fs::create_dir(folder.join("logs")).expect("made"));
    let folder = guard.folder().join("logs");
    let all = || {
        let status = guard.status();
        let sensors = status["sensors"].as_array().expect("sensors").clone();
        sensors.iter().filter_map(|sensor| sensor["log"]["lines"].as_u64()).sum::<u64>()
    };
    append(&folder.join("a.log"), &some(10));
    eventually("the first", || all() == 10);
    // It begins otherwise: what begins the same is a copy.
    append(&folder.join("b.log"), &ordinary(&Clock::start(), 39));
    append(&folder.join("b.log"), &some(19));
    eventually("the second", || all() == 30);
    fs::rename(folder.join("a.log"), folder.join("a.log.1")).expect("rotated");
    append(&folder.join("a.log"), &some(5));
    fs::copy(folder.join("b.log"), folder.join("b.log.1")).expect("copied");
    OpenOptions::new().write(true).open(folder.join("b.log")).expect("there").set_len(0).expect("emptied");
    append(&folder.join("b.log"), &some(7));
    fs::write(folder.join("c.log.gz"), "not a log").expect("written");
    eventually("what is new", || all() == 42);
    // New files are looked for once a second: nothing of the old ones may be found then, nor under their next names.
    thread::sleep(Duration::from_millis(1_500));
    fs::rename(folder.join("a.log.1"), folder.join("a.log.2")).expect("rotated again");
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(all(), 42);
}

/// Bits of the numbers that lines have: as many lines come in minutes.
const BITS: usize = 18;

/// Limits that count the lines whose number has each bit. So not only how many lines were read is known: one that is lost and another that is
/// read twice change the counts.
fn limits() -> String {
    let limit = |bit| {
        format!(
            "[[limit]]\nname = \"bit-{bit:02}\"\nrule = 'user-agent contains \"b{bit:02}.\"'\nrate = \"1000000 in 60s\"\naction = \"log\"\n"
        )
    };
    (0..BITS).map(limit).collect()
}

/// A line with its number, bit by bit.
fn numbered(clock: &Clock, number: u32) -> String {
    let set = (0..BITS).filter(|bit| number >> bit & 1 == 1);
    let bits: String = set.map(|bit| format!("b{bit:02}.")).collect();
    line(clock, &format!("198.51.100.{}", number % 250), "GET /a", &format!("Mozilla/5.0 {bits}"))
}

/// The number of a line.
fn number(line: &str) -> u32 {
    (0..BITS).filter(|bit| line.contains(&format!("b{bit:02}."))).map(|bit| 1 << bit).sum()
}

/// How many lines there are, and how many of them have each bit.
type Counts = [u64; BITS + 1];

fn add(counts: &mut Counts, number: u32) {
    let (all, bits) = counts.split_first_mut().expect("a count");
    *all += 1;
    bits.iter_mut().enumerate().for_each(|(bit, count)| *count += u64::from(number >> bit & 1));
}

fn counts_of(numbers: impl IntoIterator<Item = u32>) -> Counts {
    let mut counts = [0; BITS + 1];
    numbers.into_iter().for_each(|number| add(&mut counts, number));
    counts
}

/// What the guard has counted.
fn counted(guard: &Guard) -> Counts {
    let status = guard.status();
    let limits = status["client_limits"].as_array().expect("limits");
    let mut counts = [status["sensors"][0]["log"]["lines"].as_u64().expect("a count"); BITS + 1];
    for (bit, count) in counts.iter_mut().skip(1).enumerate() {
        let limit = limits.iter().find(|limit| limit["name"] == format!("bit-{bit:02}")).expect("a limit");
        *count = limit["matched"].as_u64().expect("a count");
    }
    counts
}

/// Whether that can be of all these lines, and of each run of those that were lost the first few or none: those that the guard read before
/// they were.
fn can_be(counted: &Counts, of: Counts, runs: &[Vec<u32>]) -> bool {
    let Some((run, rest)) = runs.split_first() else { return *counted == of };
    let mut of = of;
    can_be(counted, of, rest)
        || run.iter().any(|number| {
            add(&mut of, *number);
            can_be(counted, of, rest)
        })
}

/// Runs logrotate three times, in the way that `directive` says, while 5,000 lines a second come. How many lines were written.
fn rotate(guard: &Guard, directive: &str) -> u32 {
    let folder = guard.folder().to_owned();
    let log = folder.join("access.log");
    append(&log, "");
    let configuration = folder.join("rotate.conf");
    let text = format!("{} {{\n rotate 9\n {directive}\n nocompress\n su root root\n}}\n", log.display());
    fs::write(&configuration, text).expect("written");
    let (reopens, ends) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let server = thread::spawn({
        let (reopens, ends) = (Arc::clone(&reopens), Arc::clone(&ends));
        move || serve(&log, &reopens, &ends)
    });
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(900));
        let mut logrotate = Command::new("logrotate");
        logrotate.arg("--force").arg("--state").arg(folder.join("rotate.state")).arg(&configuration);
        let output = logrotate.output().expect("logrotate is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // What `postrotate` tells a server.
        reopens.store(true, Ordering::Release);
    }
    thread::sleep(Duration::from_millis(500));
    ends.store(true, Ordering::Release);
    server.join().expect("a server")
}

/// A server that writes 5,000 lines a second.
fn serve(log: &Path, reopens: &AtomicBool, ends: &AtomicBool) -> u32 {
    let open = || -> File { OpenOptions::new().append(true).create(true).open(log).expect("a log") };
    let clock = Clock::start();
    let (mut file, mut written) = (open(), 0);
    while !ends.load(Ordering::Acquire) {
        if reopens.swap(false, Ordering::AcqRel) {
            file = open();
        }
        while u128::from(written) < clock.uptime().as_millis() * 5 {
            file.write_all(numbered(&clock, written).as_bytes()).expect("written");
            written += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    written
}

/// The lines that logrotate left, in the order of their numbers.
fn remaining(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let logs =
        entries.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("access.log")));
    let texts = logs.map(|path| fs::read_to_string(path).expect("a log"));
    let mut numbers: Vec<u32> = texts.flat_map(|text| text.lines().map(number).collect::<Vec<_>>()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn logrotate_with_create_loses_and_doubles_nothing() {
    let guard = Guard::watch_with(&limits(), &["access.log"]);
    let written = rotate(&guard, "create");
    assert_eq!(remaining(guard.folder()), (0..written).collect::<Vec<_>>());
    let expected = counts_of(0..written);
    eventually("every line", || counted(&guard)[0] >= u64::from(written));
    thread::sleep(Duration::from_millis(700));
    assert_eq!(counted(&guard), expected);
}

#[test]
fn logrotate_with_copytruncate_loses_only_what_it_loses_itself() {
    let guard = Guard::watch_with(&limits(), &["access.log"]);
    let written = rotate(&guard, "copytruncate");
    let left = remaining(guard.folder());
    assert!(left.iter().zip(left.iter().skip(1)).all(|(one, next)| one < next), "logrotate doubles nothing");
    eventually("every line", || counted(&guard)[0] >= left.len() as u64);
    thread::sleep(Duration::from_millis(700));
    // What came between a copy and its emptying is gone, unless the guard was quicker.
    let mut runs: Vec<Vec<u32>> = Vec::new();
    for lost in (0..written).filter(|number| left.binary_search(number).is_err()) {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|last| last + 1 == lost) => run.push(lost),
            _ => runs.push(vec![lost]),
        }
    }
    assert!(runs.len() <= 3, "one for each time: {runs:?}");
    let (counted, of) = (counted(&guard), counts_of(left.iter().copied()));
    assert!(can_be(&counted, of, &runs), "{counted:?} were read, {of:?} left of {written} without {runs:?}");
}

#[test]
fn a_lost_line_and_a_doubled_one_do_not_cancel() {
    let all = counts_of(0..20_000);
    assert!(can_be(&all, all, &[]));
    assert!(!can_be(&counts_of((1..20_000).chain([4_711])), all, &[]));
    let left = counts_of((0..100).chain(105..20_000));
    let runs = [(100..105).collect::<Vec<_>>()];
    assert!(can_be(&counts_of((0..103).chain(105..20_000)), left, &runs));
    assert!(!can_be(&counts_of((0..100).chain([101]).chain(105..20_000)), left, &runs), "the second without the first");
    let line = numbered(&Clock::start(), 12_345);
    assert_eq!(number(&line), 12_345);
}
