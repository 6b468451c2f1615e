//! What a machine's clock that is wrong must not do: take history and keys, or bring back what has ended.

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const DAY: Duration = Duration::from_secs(86_400);

/// The year 2050.
const AHEAD: Timestamp = Timestamp::from_seconds(2_524_608_000);

/// A record as a guard has it that starts at that date. The writer does not run, so that the date stays.
fn start(folder: &Path, at: Timestamp) -> (Record, Writer, Vec<Ban>) {
    let clock = Clock::anchored(at);
    let (record, inbox) = Record::new(clock, Measure::by(Situation::default));
    let directory = folder.to_owned();
    let keys = Box::new(move || KeyStore::open(&directory, 7));
    let path = crate::record::path(folder);
    let (writer, bans) = Writer::open(inbox, path, RETENTION, keys, clock, Box::new(|_| {}));
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
    assert_eq!(bans, []);
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
    assert_eq!(last(9), ["R1", "in 2050", "1 ban by hand, while no guard ran", "in 2050", "right again"]);
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
        assert_eq!((writer.is_date_believed, record.status().problem), (true, None));
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
            assert!(!writer.is_date_believed);
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
    assert!(writer.is_date_believed);
}
