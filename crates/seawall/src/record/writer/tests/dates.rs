//! What a machine's clock that is wrong must not do: take history and keys, or bring back what has ended.

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const DAY: Duration = Duration::from_secs(86_400);

/// The year 2050.
const AHEAD: Timestamp = Timestamp::from_seconds(2_524_608_000);

/// A record as a guard has it that starts at that date. The writer does not run, so that the date stays.
fn start(folder: &Path, at: Timestamp) -> (Record, Writer, Vec<Ban>) {
    start_told(folder, at, Box::new(|_| {}))
}

fn start_told(folder: &Path, at: Timestamp, late: Box<dyn Fn(Late) + Send>) -> (Record, Writer, Vec<Ban>) {
    let clock = Clock::anchored(at);
    let (record, inbox) = Record::new(clock, Measure::by(Situation::default));
    let directory = folder.to_owned();
    let keys = Box::new(move || KeyStore::open(&directory, 7));
    let path = crate::record::path(folder);
    let (mut writer, bans) = Writer::open(inbox, path, RETENTION, keys, clock, late);
    writer.reopen().expect("a file");
    (record, writer, bans)
}

/// Writes what was handed over and deletes what is too old, at that date.
fn write(writer: &mut Writer, now: Timestamp) {
    let batch: Vec<Entry> = writer.inbox.received.try_iter().collect();
    writer.follow_date(now).expect("room");
    writer.write(&batch, now).expect("room");
    writer.trim_at = now;
    writer.keep_bounds(now).expect("room");
}

/// Has a guard run until the date has settled.
pub(super) fn let_settle(folder: &Path, at: Timestamp) {
    let (record, mut writer, bans) = start(folder, at);
    record.all_bans(bans);
    for seconds in [0, 400] {
        write(&mut writer, at + Duration::from_secs(seconds));
    }
}

/// Has the machine's clock set by so many seconds, of which the guard's does not know.
fn set_clock(writer: &mut Writer, seconds: i64, now: Timestamp) {
    writer.step = Step::by_seconds(seconds);
    writer.present.was_set(writer.step.to_machine(now));
}

fn decisions(folder: &Path) -> i64 {
    let connection = schema::open_to_read(&crate::record::path(folder)).expect("a database");
    connection.query_row("SELECT count(*) FROM decision", [], |row| row.get(0)).expect("a number")
}

/// A folder with a decision, a ban of an hour and the key of its day, at [`NOW`].
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (record, mut writer, _) = start(folder.path(), NOW);
    record.decision(&Event { at: NOW, kind: EventKind::RuleEnforced, text: "R1".to_owned() }, None);
    record.ban(&ban("192.0.2.7/32", NOW, 3_600));
    write(&mut writer, NOW + Duration::from_secs(600));
    folder
}

#[test]
fn a_clock_that_is_far_ahead_for_a_minute_deletes_no_history_and_no_key() {
    let folder = written();
    let key = folder.path().join(format!("keys/{}.key", Day::of(NOW)));
    for start_at in [AHEAD, AHEAD + Duration::from_secs(3_100)] {
        let (record, mut writer, bans) = start(folder.path(), start_at);
        // By that clock it has ended, which is the safe side.
        assert_eq!(bans, []);
        record.journal(Actor::Guard, Action::Start, "in 2050".to_owned());
        for seconds in [0, 600, 3_000] {
            write(&mut writer, start_at + Duration::from_secs(seconds));
        }
        assert!(key.exists() && decisions(folder.path()) == 1);
        writer.tell_status();
        let problem = record.status().problem.expect("it is said");
        assert!(problem.contains("days ahead of what was written last"), "{problem}");
    }
    // Then it is right again.
    let right = NOW + Duration::from_secs(1_200);
    let (record, mut writer, bans) = start(folder.path(), right);
    assert_eq!(bans, [ban("192.0.2.7/32", NOW, 3_600)]);
    record.journal(Actor::Guard, Action::Start, "right again".to_owned());
    write(&mut writer, right);
    writer.tell_status();
    assert_eq!((record.status().problem, decisions(folder.path())), (None, 1));
    assert!(key.exists());
    // What was written meanwhile is not what was done last.
    let reader = Reader::open(folder.path()).expect("a record");
    let last =
        |count| reader.journal(count, None).expect("lines").into_iter().map(|line| line.detail).collect::<Vec<_>>();
    assert_eq!(last(1), ["right again"]);
    assert_eq!(last(9), ["R1", "in 2050", "in 2050", "right again"]);
}

#[test]
fn what_was_counted_while_the_clock_was_ahead_is_in_no_report() {
    let folder = written();
    for at in [AHEAD, NOW] {
        let (record, mut writer, _) = start(folder.path(), at);
        let counts = vec![MinuteCount { site: "example".into(), outcome: "served", rule: None, requests: 2.0 }];
        record.minute(at.as_seconds() / 60, counts);
        record.decision(&Event { at, kind: EventKind::RuleEnforced, text: "R2".to_owned() }, None);
        record.bans_made(vec![("192.0.2.7/32".parse().expect("a network"), at)]);
        write(&mut writer, at);
    }
    let reader = Reader::open(folder.path()).expect("a record");
    // The last minute may be a part of one, and the clock a little behind.
    let now = NOW - Duration::from_secs(30);
    for span in [Span::Minute, Span::Hour] {
        let counted = reader.traffic(span, NOW - DAY, now).expect("counts");
        assert_eq!(counted.iter().map(|count| count.at / 3_600).collect::<Vec<_>>(), [NOW.as_seconds() / 3_600]);
    }
    assert_eq!(reader.rule_decisions(NOW - DAY, now).expect("decisions").len(), 2);
    let keys = KeyStore::open(folder.path(), 7).expect("keys");
    let made = reader.bans_made(keys, now).expect("bans");
    assert_eq!(made.bans.len() as u64 + made.keyless, 1);
}

#[test]
fn a_machine_that_begins_years_back_brings_no_ban_back_and_is_believed_once_it_is_right() {
    let folder = written();
    {
        // Another had ended before the guard did, which could not write that any more.
        let (record, mut writer, _) = start(folder.path(), NOW + Duration::from_secs(600));
        record.ban(&ban("192.0.2.8/32", NOW, 300));
        let batch: Vec<Entry> = writer.inbox.received.try_iter().collect();
        writer.follow_date(NOW + Duration::from_secs(600)).expect("room");
        writer.write(&batch, NOW + Duration::from_secs(600)).expect("room");
    }
    for years in [2_u32, 1] {
        let back = NOW - 365 * DAY * years;
        let (record, mut writer, bans) = start(folder.path(), back);
        // Of the one that goes on as much is left as when the date was last known, not the whole.
        let left = bans.iter().map(|ban| (ban.network.to_string(), ban.expires.since(back).as_secs()));
        assert_eq!(left.collect::<Vec<_>>(), [("192.0.2.7/32".to_owned(), 3_000)]);
        record.journal(Actor::Guard, Action::Start, String::new());
        write(&mut writer, back);
        assert_eq!(writer.present.seen(), Some(NOW + Duration::from_secs(600)));
        // The network has set it.
        let right = NOW + Duration::from_secs(7_200);
        writer.follow_date(right).expect("room");
        writer.tell_status();
        assert_eq!((writer.present.seen(), record.status().problem), (Some(right), None));
    }
    let (_record, _writer, bans) = start(folder.path(), NOW + Duration::from_secs(7_260));
    assert_eq!(bans, []);
}

#[test]
fn a_ban_that_has_ended_stays_so_with_every_start_while_the_date_is_doubted() {
    for days in [9, 40] {
        let folder = written();
        for minutes in [0, 10, 20, 30] {
            let now = NOW + days * DAY + Duration::from_secs(60 * minutes);
            let (record, mut writer, bans) = start(folder.path(), now);
            assert_eq!(bans, [], "{days} days, {minutes} minutes");
            record.journal(Actor::Guard, Action::Start, String::new());
            write(&mut writer, now);
            assert!(writer.date_problem.is_some());
        }
    }
}

#[test]
fn a_weekend_is_no_wrong_date_nor_is_a_week_without_traffic() {
    let problem = |folder: &Path, at: Timestamp| {
        let (record, mut writer, _) = start(folder, at);
        write(&mut writer, at);
        writer.tell_status();
        record.status().problem
    };
    for (days, is_said) in [(2, false), (7, false), (9, true)] {
        let folder = written();
        assert_eq!(problem(folder.path(), NOW + days * DAY).is_some(), is_said, "{days} days");
    }
    let folder = written();
    for days in [6, 12, 18] {
        assert_eq!(problem(folder.path(), NOW + days * DAY), None, "{days} days");
    }
}

#[test]
fn a_date_is_believed_that_follows_on_what_was_seen_or_stays() {
    // A guard that runs deletes what is too old, day by day.
    let folder = written();
    let (_record, mut writer, _) = start(folder.path(), NOW);
    for day in 0..31 {
        assert_eq!(decisions(folder.path()), 1, "after {day} days");
        write(&mut writer, NOW + day * DAY + Duration::from_secs(60));
    }
    assert_eq!(decisions(folder.path()), 0);
    // So does one that was off for long, an hour after its start.
    let folder = written();
    let (_record, mut writer, _) = start(folder.path(), NOW + 40 * DAY);
    write(&mut writer, NOW + 40 * DAY);
    write(&mut writer, NOW + 40 * DAY + Duration::from_secs(3_590));
    assert_eq!(decisions(folder.path()), 1);
    write(&mut writer, NOW + 40 * DAY + Duration::from_secs(3_610));
    assert_eq!(decisions(folder.path()), 0);
}

#[test]
fn a_ban_that_has_ended_while_the_machine_was_off_has_ended() {
    for days in [1, 7, 29, 400] {
        let folder = written();
        let now = NOW + days * DAY;
        let (_record, mut writer, bans) = start(folder.path(), now);
        assert_eq!(bans, [], "{days} days");
        // Which the journal says once.
        for seconds in [0, 3_601, 7_202] {
            write(&mut writer, now + Duration::from_secs(seconds));
        }
        let lines = Reader::open(folder.path()).and_then(|reader| reader.journal(9, None)).expect("lines");
        let said = lines.iter().filter(|line| line.action == "expire").map(|line| line.detail.as_str());
        assert_eq!(said.collect::<Vec<_>>(), ["1 ban by hand, while no guard ran"]);
    }
}

#[test]
fn a_date_before_there_were_guards_is_not_learnt_from() {
    let folder = written();
    let early = Timestamp::from_seconds(100);
    let (_record, mut writer, bans) = start(folder.path(), early);
    assert_eq!(bans.len(), 1);
    write(&mut writer, early);
    assert_eq!(writer.present.seen().map(Timestamp::as_seconds), Some(1_700_000_600));
    drop(writer);
    let (_record, mut writer, _) = start(folder.path(), NOW + Duration::from_secs(1_200));
    write(&mut writer, NOW + Duration::from_secs(1_200));
    assert_eq!(writer.present.seen(), Some(NOW + Duration::from_secs(1_200)));
}

#[test]
fn a_ban_that_had_ended_by_a_clock_ahead_goes_on_once_that_is_set_back() {
    for ahead in [3 * DAY, AHEAD.since(NOW)] {
        let folder = written();
        let told = Arc::<Mutex<Vec<Ban>>>::default();
        let late = Arc::clone(&told);
        let begun = NOW + ahead + Duration::from_secs(900);
        let take_up = Box::new(move |read: Late| late.lock().expect("no panic").extend(read.bans));
        let (record, mut writer, bans) = start_told(folder.path(), begun, take_up);
        assert_eq!(bans, []);
        // On another day all bans that there are are written anew.
        record.all_bans(Vec::new());
        write(&mut writer, begun);
        record.bans_changed([("192.0.2.9/32".parse().expect("a network"), Some(ban("192.0.2.9/32", begun, 600)))]);
        write(&mut writer, begun + Duration::from_secs(60));
        let now = begun + Duration::from_secs(120);
        set_clock(&mut writer, -ahead.as_secs().cast_signed(), now);
        write(&mut writer, now);
        let again = told.lock().expect("no panic").clone();
        let left = again.iter().map(|ban| (ban.network.to_string(), ban.expires.since(now).as_secs()));
        assert_eq!(left.collect::<Vec<_>>(), [("192.0.2.7/32".to_owned(), 3_600 - 900 - 120)]);
        // The thread that enforces answers with it, and another start finds both.
        record.all_bans([again, vec![ban("192.0.2.9/32", begun, 600)]].concat());
        write(&mut writer, now + Duration::from_secs(1));
        assert_eq!(told.lock().expect("no panic").len(), 1, "once");
        let (_record, _writer, mut bans) = start(folder.path(), NOW + Duration::from_secs(1_100));
        bans.sort_unstable_by_key(|ban| ban.network);
        let networks: Vec<_> = bans.iter().map(|ban| ban.network.to_string()).collect();
        assert_eq!(networks, ["192.0.2.7/32", "192.0.2.9/32"]);
    }
}

#[test]
fn nothing_is_deleted_before_the_clock_has_stood_for_minutes() {
    let folder = written();
    let begun = NOW + 7 * DAY;
    let rows = || {
        let connection = schema::open_to_read(&crate::record::path(folder.path())).expect("a database");
        connection.query_row("SELECT count(*) FROM ban", [], |row| row.get::<_, i64>(0)).expect("a number")
    };
    let (record, mut writer, _) = start(folder.path(), begun);
    for (seconds, expected) in [(0, 1), (290, 1), (310, 0)] {
        write(&mut writer, begun + Duration::from_secs(seconds));
        assert_eq!((rows(), record.has_date_settled()), (expected, expected == 0), "{seconds} s");
    }
}

#[test]
fn what_a_first_start_under_a_wrong_date_has_written_goes_in_its_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let hour = Duration::from_secs(3_600);
    let write_something = |record: &Record, at: Timestamp| {
        record.decision(&Event { at, kind: EventKind::RuleEnforced, text: "R1".to_owned() }, None);
        record.ban(&ban("192.0.2.7/32", at, 600));
        let counts = vec![MinuteCount { site: "example".into(), outcome: "served", rule: None, requests: 2.0 }];
        record.minute(at.as_seconds() / 60, counts);
    };
    let (record, mut writer, _) = start(folder.path(), AHEAD);
    write_something(&record, AHEAD);
    write(&mut writer, AHEAD + 2 * hour);
    assert_eq!(writer.present.seen(), Some(AHEAD + 2 * hour));
    drop((record, writer));
    let count = |sql: &str| {
        let connection = schema::open_to_read(&crate::record::path(folder.path())).expect("a database");
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number")
    };
    let key = folder.path().join(format!("keys/{}.key", Day::of(AHEAD)));
    let (record, mut writer, bans) = start(folder.path(), NOW);
    assert_eq!(bans, [], "it had ended by the time that was last known");
    write_something(&record, NOW);
    write(&mut writer, NOW + 11 * hour);
    assert_eq!(writer.present.seen(), Some(AHEAD + 2 * hour), "the machine may be behind");
    assert!(key.exists());
    write(&mut writer, NOW + 24 * hour);
    record.all_bans(Vec::new());
    write(&mut writer, NOW + 25 * hour);
    assert_eq!(writer.present.seen(), Some(NOW + 25 * hour));
    assert_eq!(count("SELECT count(*) FROM decision"), 2);
    assert_eq!((count("SELECT count(*) FROM minute"), count("SELECT count(*) FROM hour")), (1, 1));
    assert!(!key.exists(), "nobody can be told by it any more");
    for day in 2..33 {
        write(&mut writer, NOW + day * DAY);
    }
    assert_eq!(count("SELECT count(*) FROM decision"), 0);
}

#[test]
fn a_clock_that_is_set_back_takes_back_what_was_seen_of_it() {
    // At a first start, and where a date had been seen before.
    for folder in [tempfile::tempdir().expect("a folder"), written()] {
        let (record, mut writer, _) = start(folder.path(), NOW + 5 * DAY);
        record.journal(Actor::Guard, Action::Start, String::new());
        write(&mut writer, NOW + 5 * DAY);
        assert_eq!(writer.present.seen(), Some(NOW + 5 * DAY));
        let now = NOW + 5 * DAY + Duration::from_secs(60);
        set_clock(&mut writer, -4 * 86_400, now);
        write(&mut writer, now);
        assert_eq!(writer.present.seen(), Some(NOW + DAY + Duration::from_secs(60)));
        // One that is set far back is behind what had been seen before, if anything had.
        let seen = writer.present.seen();
        set_clock(&mut writer, -400 * 86_400, now);
        write(&mut writer, now);
        assert!(writer.present.seen() < seen);
    }
}

#[test]
fn a_machine_that_is_behind_for_hours_keeps_the_dates_of_what_was_written() {
    let folder = written();
    let back = NOW - 700 * DAY;
    let (record, mut writer, _) = start(folder.path(), back);
    record.journal(Actor::Guard, Action::Start, String::new());
    for hours in [0, 5, 11] {
        write(&mut writer, back + Duration::from_secs(3_600 * hours));
    }
    assert_eq!(writer.present.seen(), Some(NOW + Duration::from_secs(600)));
    let reader = Reader::open(folder.path()).expect("a record");
    assert_eq!(reader.rule_decisions(NOW, NOW).expect("decisions").len(), 1);
}
