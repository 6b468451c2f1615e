//! How the traffic was before and after what was done: measured at its own time, and not lost to a restart.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::record::JournalLine;

/// The start of a minute.
const START: Timestamp = Timestamp::from_seconds(1_700_000_040);

/// A record whose writer is told the time, and the traffic.
struct Timed {
    record: Record,
    writer: Writer,
    requests: Arc<AtomicU64>,
    folder: PathBuf,
}

impl Timed {
    /// What is handed over gets the time `at`.
    fn start(folder: &Path, at: Timestamp) -> Self {
        let requests = Arc::<AtomicU64>::default();
        let seen = Arc::clone(&requests);
        let measure = move || Situation { requests: seen.load(Ordering::Relaxed) as f64, ..Situation::default() };
        let clock = Clock::anchored(at);
        let (record, inbox) = Record::new(clock, Measure::by(measure));
        let directory = folder.to_owned();
        let keys = Box::new(move || KeyStore::open(&directory, 7));
        let path = crate::record::path(folder);
        let (mut writer, _) = Writer::open(inbox, path, RETENTION, keys, clock, Box::new(|_| {}));
        writer.reopen().expect("a file");
        Self { record, writer, requests, folder: folder.to_owned() }
    }

    fn traffic(&self, requests: u64) {
        self.requests.store(requests, Ordering::Relaxed);
    }

    /// Writes what was handed over, at that moment.
    fn write(&mut self, now: Timestamp) {
        let batch: Vec<Entry> = self.writer.inbox.received.try_iter().collect();
        self.writer.follow_date(now).expect("room");
        self.writer.write(&batch, now).expect("room");
    }

    fn served(&self, at: Timestamp, requests: f64) {
        let counts = vec![
            MinuteCount { site: "example".into(), outcome: "served", rule: None, requests },
            MinuteCount { site: "example".into(), outcome: "failed", rule: None, requests: requests / 2.0 },
            // No request that could be read is among the requests.
            MinuteCount { site: "".into(), outcome: "malformed", rule: None, requests: 7.0 },
        ];
        self.record.minute(at.as_seconds() / 60, counts);
    }

    fn lines(&self) -> Vec<JournalLine> {
        Reader::open(&self.folder).and_then(|reader| reader.journal(99, None)).expect("lines")
    }

    /// Requests a second before and after each, oldest first.
    fn shown(&self) -> Vec<(Option<f64>, Option<f64>)> {
        let requests = |situation: Option<Situation>| situation.map(|situation| situation.requests);
        self.lines().iter().map(|line| (requests(line.before), requests(line.after))).collect()
    }
}

fn event(at: Timestamp) -> Event {
    Event { at, kind: EventKind::RuleEnforced, text: "R1 is in force".to_owned() }
}

fn after(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

#[test]
fn each_decision_and_action_says_how_the_traffic_was_before_and_a_minute_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut timed = Timed::start(folder.path(), START);
    timed.traffic(800);
    timed.record.decision(&event(START), None);
    let moment = timed.record.moment();
    timed.traffic(700);
    timed.record.journal(Actor::Operator, Action::Reload, String::new());
    // One that took long is of when it was begun; and a writer that is held up changes nothing.
    timed.record.journal_of(moment, Actor::Operator, Action::Panic, String::new());
    timed.traffic(5);
    timed.write(after(30));
    let mut shown = timed.shown();
    shown.sort_by(|one, other| other.partial_cmp(one).expect("numbers"));
    assert_eq!(shown, [(Some(800.0), None), (Some(800.0), None), (Some(700.0), None)]);
    timed.write(after(59));
    assert!(timed.shown().iter().all(|(_, after)| after.is_none()));
    timed.write(after(62));
    assert!(timed.shown().iter().all(|(_, after)| *after == Some(5.0)), "{:?}", timed.shown());
    // It is said once.
    timed.traffic(9);
    timed.write(after(63));
    assert!(timed.shown().iter().all(|(_, after)| *after == Some(5.0)));
}

#[test]
fn a_writer_that_was_held_up_tells_it_from_the_counts_of_the_minute() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut timed = Timed::start(folder.path(), START);
    timed.traffic(800);
    timed.record.decision(&event(after(1)), None);
    timed.served(after(60), 1_200.0);
    timed.traffic(5);
    timed.write(after(300));
    let line = &timed.lines()[0];
    let situation = line.after.expect("it was counted");
    assert_eq!((situation.requests, situation.served, situation.failed), (30.0, 20.0, 10.0));
    assert_eq!(situation.refused, 0.0);
    assert_eq!(situation.cpu_used, None);
}

#[test]
fn what_limits_and_closed_connections_turned_away_is_refused_before_and_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut timed = Timed::start(folder.path(), START);
    timed.record.decision(&event(after(1)), None);
    let counts = ["refused", "client-limit", "closed-unread", "failed", "overload", "gone"];
    let count = |outcome| MinuteCount { site: "example".into(), outcome, rule: None, requests: 60.0 };
    timed.record.minute(after(60).as_seconds() / 60, counts.map(count).to_vec());
    timed.write(after(300));
    let situation = timed.lines()[0].after.expect("it was counted");
    let found = (situation.requests, situation.served, situation.refused, situation.failed);
    assert_eq!(found, (5.0, 0.0, 3.0, 2.0));
}

#[test]
fn a_restart_in_between_does_not_lose_what_came_after() {
    // When the guard was killed, when it was back, and what is said then and eleven seconds later.
    for (killed, back, at_once, later) in [
        // The minute was counted in part.
        (100, 200, Some(30.0), Some(30.0)),
        (100, 90_000, Some(30.0), Some(30.0)),
        // It is not over yet, or nobody counted it: it is looked at as soon as that can be.
        (20, 30, None, None),
        (20, 55, None, Some(5.0)),
        (20, 70, None, Some(5.0)),
        (20, 300, None, Some(5.0)),
        // Of later traffic nobody can say what it was for.
        (20, 90_000, None, None),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut first = Timed::start(folder.path(), START);
        first.traffic(800);
        first.record.decision(&event(after(1)), None);
        first.write(after(2));
        if killed >= 60 {
            first.served(after(killed), 20.0 * (killed - 60) as f64);
        } else {
            first.served(after(killed), 1.0);
        }
        // So late that it was killed before its effect was written.
        first.writer.waiting.clear();
        first.write(after(killed));
        drop(first);
        let mut second = Timed::start(folder.path(), after(back));
        second.traffic(5);
        second.write(after(back));
        assert_eq!(second.shown(), [(Some(800.0), at_once)], "killed at {killed}, back at {back}");
        second.write(after(back + 11));
        assert_eq!(second.shown(), [(Some(800.0), later)], "killed at {killed}, back at {back}");
        if back == 30 {
            second.write(after(62));
            assert_eq!(second.shown(), [(Some(800.0), Some(5.0))]);
        }
    }
}

#[test]
fn the_journal_of_an_earlier_version_is_shown_without() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut timed = Timed::start(folder.path(), START);
    timed.record.decision(&event(START), None);
    timed.write(after(1));
    drop(timed);
    let connection = Connection::open(crate::record::path(folder.path())).expect("a database");
    let undo =
        "ALTER TABLE decision DROP COLUMN before; ALTER TABLE decision DROP COLUMN after; PRAGMA user_version = 3;";
    connection.execute_batch(undo).expect("it was made");
    drop(connection);
    let lines = Reader::open(folder.path()).and_then(|reader| reader.journal(9, None)).expect("lines");
    assert_eq!((lines.len(), lines[0].before), (1, None));
    // With its next start it has them.
    let timed = Timed::start(folder.path(), after(60));
    assert_eq!(timed.shown(), [(None, None)]);
}

#[test]
fn the_lines_of_an_earlier_version_come_in_the_order_of_their_dates_and_new_ones_after_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let timed = Timed::start(folder.path(), START);
    drop(timed);
    let connection = Connection::open(crate::record::path(folder.path())).expect("a database");
    let number = |at: u64| crate::record::micros(after(at));
    for (id, at) in [(1, 10), (2, 30), (3, 50)] {
        let line = "INSERT INTO journal (id, at, actor, action, detail) VALUES (?, ?, 'guard', 'start', ?)";
        connection.execute(line, rusqlite::params![id, number(at), at.to_string()]).expect("room");
        let line = "INSERT INTO decision (id, at, kind, detail) VALUES (?, ?, 'rule-enforced', ?)";
        connection.execute(line, rusqlite::params![id + 1, number(at + 10), (at + 10).to_string()]).expect("room");
    }
    connection.execute_batch("PRAGMA user_version = 4").expect("room");
    drop(connection);
    let shown = |count| -> Vec<String> {
        let lines = Reader::open(folder.path()).and_then(|reader| reader.journal(count, None)).expect("lines");
        lines.into_iter().map(|line| line.detail).collect()
    };
    let before = ["10", "20", "30", "40", "50", "60"];
    assert_eq!(shown(9), before);
    // What is written next is the last, whatever its date.
    let mut timed = Timed::start(folder.path(), after(25));
    assert_eq!(shown(9), before);
    timed.record.journal(Actor::Guard, Action::Start, "25".to_owned());
    timed.write(after(25));
    timed.record.decision(&event(after(5)), None);
    timed.write(after(26));
    assert_eq!(shown(9)[..7], [&before[..], &["25"]].concat());
    assert_eq!((shown(2)[0].as_str(), shown(9).len()), ("25", 8));
}
