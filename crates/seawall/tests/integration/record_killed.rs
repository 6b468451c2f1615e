//! The record of a guard that is killed: at most the last second is missing, of decisions and of counts, and never the file.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use seawall::config::Retention;
use seawall::host::clock::Clock;
use seawall::privacy::KeyStore;
use seawall::record::rollup::Rollup;
use seawall::record::{self, Inbox, Measure, Reader, Record, Situation, Writer};
use seawall_engine::decision::{Event, EventKind, Evidence};
use seawall_engine::observation::{ClientHistory, Cost, Observation, Outcome, Request};

use crate::support::{PATIENCE, eventually};

/// What a killed guard may lose.
const LOST_MAX: Duration = Duration::from_secs(1);

/// Tells the process that writes where, and which of several it is.
const FOLDER: &str = "SEAWALL_TEST_RECORD_FOLDER";
const RUN: &str = "SEAWALL_TEST_RECORD_RUN";

fn open(inbox: Inbox, folder: &Path, clock: Clock) -> Writer {
    let retention = Retention { days: 30, size_max: 1 << 30 };
    let keys = folder.to_owned();
    let open_keys = Box::new(move || KeyStore::open(&keys, 7));
    Writer::open(inbox, record::path(folder), retention, open_keys, clock, Box::new(|_| {})).0
}

/// How often the detecting thread hands over what was counted.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// The process that writes decisions, a thousand a second, and counts as many requests, until it is killed, and says the number of each
/// once it is handed over.
#[test]
#[ignore = "started by the tests that kill it"]
fn writer() {
    let (Ok(folder), Ok(run)) = (env::var(FOLDER), env::var(RUN)) else { return };
    let clock = Clock::start();
    let (record, inbox) = Record::new(clock, Measure::by(Situation::default));
    let writer = open(inbox, Path::new(&folder), clock);
    thread::spawn(move || writer.run());
    let (mut told, begun) = (std::io::stdout().lock(), clock.uptime());
    let (mut number, site) = (0_u128, run.as_str().into());
    let (mut rollup, mut tick_at) = (Rollup::start(clock.now()), clock.uptime());
    // What runs tests may have begun a line.
    writeln!(told).expect("a reader");
    loop {
        // What was late is made good.
        while number < (clock.uptime() - begun).as_millis() {
            let text = format!("{run} {number:06}");
            let evidence = Evidence { closure: vec!["method = GET".to_owned(); 4], ..Evidence::default() };
            record.decision(&Event { at: clock.now(), kind: EventKind::RuleEnforced, text }, Some(&evidence));
            let served = Observation {
                at: clock.now(),
                client: None,
                request: Request::default(),
                outcome: Outcome::Served { status: 200 },
                cost: Cost::default(),
                weight: 1.0,
                history: ClientHistory::default(),
            };
            rollup.count(&served, |_| Some(&site));
            // Whoever reads it has gone when this fails, and nobody would end it.
            writeln!(told, "{number}").expect("a reader");
            number += 1;
        }
        if clock.uptime() >= tick_at {
            tick_at = clock.uptime() + TICK_INTERVAL;
            if let Some((minute, counts)) = rollup.take(clock.now()) {
                record.minute(minute, counts);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn start(folder: &Path, run: &str) -> Child {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", "record_killed::writer", "--ignored"]).env(FOLDER, folder).env(RUN, run);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started")
}

/// Lets a writer go on for so long after its first decision, kills it, and gives back how many decisions had been handed over a second
/// before that. With `is_writing` it is killed as soon as it next changes the file.
fn write_and_kill(folder: &Path, run: &str, time: Duration, is_writing: bool) -> u64 {
    let mut child = start(folder, run);
    let clock = Clock::start();
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = move || lines.find_map(|line| line.ok()?.parse::<u64>().ok());
    assert_eq!(next(), Some(0), "the writer did not begin");
    let begun = clock.uptime();
    let reading = thread::spawn(move || {
        let mut read = Vec::new();
        while let Some(number) = next() {
            read.push((clock.uptime(), number));
        }
        read
    });
    thread::sleep(time.saturating_sub(clock.uptime() - begun));
    if is_writing {
        let log = folder.join(format!("{}-wal", record::FILE_NAME));
        let state = || fs::metadata(&log).ok().and_then(|metadata| Some((metadata.len(), metadata.modified().ok()?)));
        let (before, waited) = (state(), Clock::start());
        while state() == before {
            assert!(waited.uptime() < PATIENCE, "nothing is written");
        }
    }
    let killed = clock.uptime();
    child.kill().expect("it runs");
    child.wait().expect("a process of ours");
    let read = reading.join().expect("no panic");
    let all = read.last().map_or(0, |(_, number)| number + 1);
    let due = (killed - begun).as_millis() as u64;
    assert!(all >= due / 2, "the writer has handed over {all} decisions in {due} ms, where it was to be one in each");
    read.iter().take_while(|(at, _)| *at + LOST_MAX <= killed).last().map_or(0, |(_, number)| number + 1)
}

/// Opens the file as anybody may, asks the database whether it is whole, and counts the decisions of a run, which have no gap.
fn found(folder: &Path, run: &str) -> u64 {
    let connection = Connection::open(record::path(folder)).expect("it can be opened");
    let checked: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it can be looked through");
    assert_eq!(checked, "ok");
    let sql = "SELECT count(*), coalesce(max(detail), '') FROM decision WHERE detail LIKE ? || ' %'";
    let (count, last): (u64, String) =
        connection.query_row(sql, [run], |row| Ok((row.get(0)?, row.get(1)?))).expect("it can be read");
    let numbered = last.split_once(' ').map_or(0, |(_, number)| number.parse::<u64>().expect("a number") + 1);
    assert_eq!(count, numbered, "decisions are missing before the last one, {last}");
    count
}

/// How many requests of a run were counted.
fn counted(folder: &Path, run: &str) -> u64 {
    let connection = Connection::open(record::path(folder)).expect("it can be opened");
    let sql = "SELECT coalesce(sum(requests), 0) FROM minute WHERE site = ?";
    connection.query_row(sql, [run], |row| row.get::<_, f64>(0)).expect("it can be read") as u64
}

#[test]
fn a_kill_loses_at_most_the_last_second_and_never_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut runs = Vec::new();
    for (run, is_writing) in [("a", false), ("b", true), ("c", false), ("d", false), ("e", true), ("f", false)] {
        let time = Duration::from_millis(random.u64(1_300..2_200));
        let expected = write_and_kill(folder.path(), run, time, is_writing);
        assert!(expected > 0, "nothing was a second old after {time:?}, so nothing is tried");
        let count = found(folder.path(), run);
        assert!(
            count >= expected,
            "killed after {time:?} (seed {seed}): {expected} decisions were over a second old and {count} are in the record"
        );
        let counted = counted(folder.path(), run);
        assert!(
            counted >= expected,
            "killed after {time:?} (seed {seed}): {expected} requests were over a second old and {counted} are counted"
        );
        runs.push((run, count));
    }
    // What each has begun with is what those before it have left.
    for (run, count) in runs {
        assert_eq!(found(folder.path(), run), count, "of run {run} some have gone since");
    }
    assert!(!folder.path().join("record.db.damaged").exists(), "a file was set aside");
    assert_eq!(Reader::open(folder.path()).expect("a record").journal(10, None).expect("lines").len(), 10);
}

#[test]
fn a_kill_while_the_file_is_made_leaves_one_that_can_be_used() {
    for _ in 0..8 {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = start(folder.path(), "a");
        let path = record::path(folder.path());
        eventually("the file is begun", || path.exists());
        thread::sleep(Duration::from_micros(fastrand::u64(..20_000)));
        child.kill().expect("it runs");
        child.wait().expect("a process of ours");
        let clock = Clock::start();
        let (record, inbox) = Record::new(clock, Measure::by(Situation::default));
        let writer = open(inbox, folder.path(), clock);
        let writing = thread::spawn(move || writer.run());
        record.decision(&Event { at: clock.now(), kind: EventKind::RuleEnforced, text: "b 000000".to_owned() }, None);
        record.stop();
        writing.join().expect("no panic");
        let status = record.status();
        assert_eq!((status.written, status.lost, status.problem), (1, 0, None));
        assert_eq!(found(folder.path(), "b"), 1);
    }
}
