//! What a machine's clock that is far ahead must not take: history, keys, and what is in force.

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
fn a_clock_that_is_far_ahead_for_a_minute_deletes_nothing() {
    let folder = written();
    let key = folder.path().join(format!("keys/{}.key", Day::of(NOW)));
    {
        let (record, mut writer, bans) = start(folder.path(), AHEAD);
        // What was in force goes on for as long as was left of it.
        let left = bans.iter().map(|ban| ban.expires.since(AHEAD).as_secs()).collect::<Vec<_>>();
        assert!(matches!(left.as_slice(), [2_990..=3_010]), "{left:?}");
        assert!(writer.ahead() > 20 * 365 * DAY);
        record.journal(Actor::Guard, Action::Start, String::new());
        for seconds in [0, 600, 3_000] {
            write(&mut writer, AHEAD + Duration::from_secs(seconds));
        }
        assert!(key.exists() && decisions(folder.path()) == 1);
        writer.tell_status();
        let problem = record.status().problem.expect("it is said");
        assert!(problem.contains("days ahead of what was written last") && problem.contains("bans and rules go on"));
        // And the same with the next start.
        let (_, writer, bans) = start(folder.path(), AHEAD + Duration::from_secs(3_100));
        assert!(bans.len() == 1 && writer.ahead() > 20 * 365 * DAY);
    }
    // Then it is right again.
    let (record, mut writer, bans) = start(folder.path(), NOW + Duration::from_secs(1_200));
    assert_eq!(bans, [ban("192.0.2.7/32", NOW, 3_600)]);
    write(&mut writer, NOW + Duration::from_secs(1_200));
    writer.tell_status();
    assert_eq!((record.status().problem, decisions(folder.path())), (None, 1));
    assert!(key.exists());
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
    for days in [1, 7, 29] {
        let folder = written();
        let now = NOW + days * DAY;
        let (_record, mut writer, bans) = start(folder.path(), now);
        assert_eq!((bans, writer.ahead()), (Vec::new(), Duration::ZERO), "{days} days");
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
