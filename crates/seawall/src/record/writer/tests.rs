use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use seawall_engine::decision::{Event, EventKind};

use super::*;
use crate::record::{MinuteCount, Reader, Record, RecordStatus};

const RETENTION: Retention = Retention { days: 30, size_max: 1 << 30 };

/// Opens the record of a folder, does something with it, and waits until all is written.
fn with(folder: &std::path::Path, retention: Retention, act: impl FnOnce(&Record)) -> (Vec<Ban>, RecordStatus) {
    let clock = Clock::start();
    let (record, inbox) = Record::new(clock);
    let keys = KeyStore::open(folder, 7).ok();
    let situation = Box::new(|| Situation { requests: 12.5, ..Situation::default() });
    let (writer, bans) = Writer::open(inbox, crate::record::path(folder), retention, keys, clock, situation);
    let writing = std::thread::spawn(move || writer.run());
    act(&record);
    let status = Arc::clone(&record.status);
    drop(record);
    writing.join().expect("no panic");
    let status = status.lock().expect("no panic").clone();
    (bans, status)
}

fn ban(text: &str, now: Timestamp, seconds: u64) -> Ban {
    Ban {
        network: text.parse().expect("a network"),
        since: now,
        expires: now + Duration::from_secs(seconds),
        cause: BanCause::Operator,
        reason: Some("a test".into()),
    }
}

#[test]
fn bans_come_back_and_no_address_is_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Clock::start().now();
    let networks = ["192.0.2.7/32", "198.51.100.0/24", "2001:db8:1:2::/64"];
    with(folder.path(), RETENTION, |record| {
        networks.iter().for_each(|network| record.ban(&ban(network, now, 3_600)));
        record.ban(&ban("203.0.113.5/32", now, 3_600));
        record.unban("203.0.113.5/32".parse().expect("a network"));
    });
    let file = fs::read(crate::record::path(folder.path())).expect("a file");
    for address in networks.map(|text| text.parse::<IpNet>().expect("a network").addr()) {
        let text = address.to_string();
        assert!(!file.windows(text.len()).any(|bytes| bytes == text.as_bytes()));
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        assert!(!file.windows(octets.len()).any(|bytes| bytes == octets));
    }
    let (mut restored, _) = with(folder.path(), RETENTION, |_| {});
    restored.sort_unstable_by_key(|ban| ban.network);
    assert_eq!(restored.iter().map(|ban| ban.network.to_string()).collect::<Vec<_>>(), networks);
    assert_eq!(restored[0], ban("192.0.2.7/32", now, 3_600));
    // Without its key nobody can tell whom they meant.
    fs::remove_dir_all(folder.path().join("keys")).expect("it was made");
    assert_eq!(with(folder.path(), RETENTION, |_| {}).0, []);
}

#[test]
fn the_journal_says_what_was_done_by_whom_and_how_the_traffic_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = Clock::start().now();
    with(folder.path(), RETENTION, |record| {
        record.journal(Actor::Operator, Action::Ban, "192.0.2.7: scraper".to_owned());
        let event =
            Event { at: at + Duration::from_secs(1), kind: EventKind::RuleEnforced, text: "R1 is in force".to_owned() };
        record.decision(&event, None);
        let counts = vec![MinuteCount { site: "example".into(), outcome: "served", rule: None, requests: 2.5 }];
        record.minute(at.as_seconds() / 60, counts.clone());
        record.minute(at.as_seconds() / 60, counts);
    });
    let reader = Reader::open(folder.path()).expect("a record");
    let lines = reader.journal(10).expect("lines");
    let shown: Vec<_> =
        lines.iter().map(|line| (line.actor.as_str(), line.action.as_str(), line.detail.as_str())).collect();
    assert_eq!(shown, [("operator", "ban", "192.0.2.7: scraper"), ("guard", "rule-enforced", "R1 is in force")]);
    assert!(lines[0].before.is_some_and(|before| before.requests == 12.5));
    let hours = reader.hours(Timestamp::EPOCH).expect("counts");
    let counted: Vec<_> = hours.iter().map(|count| (count.hour, count.outcome.as_str(), count.requests)).collect();
    assert_eq!(counted, [(at.as_seconds() / 3_600, "served", 5.0)]);
    let decisions = reader.rule_decisions(Timestamp::EPOCH).expect("decisions");
    assert_eq!(decisions.iter().map(|decision| decision.rule).collect::<Vec<_>>(), [1]);
    assert_eq!(reader.journal(1).expect("lines").len(), 1);
}

#[test]
fn a_damaged_file_and_one_of_a_later_version_are_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = crate::record::path(folder.path());
    for (content, found) in [(vec![7; 9_000], "damaged"), (Vec::new(), "layout 99")] {
        fs::write(&path, &content).expect("room");
        if content.is_empty() {
            let connection = Connection::open(&path).expect("a database");
            connection.pragma_update(None, "user_version", 99).expect("it is set");
        }
        let (_, status) =
            with(folder.path(), RETENTION, |record| record.journal(Actor::Guard, Action::Start, String::new()));
        assert!(status.problem.as_deref().is_some_and(|problem| problem.contains(found)), "{status:?}");
        assert_eq!((status.written, status.lost), (1, 0));
        let aside = folder.path().join("record.db.damaged");
        assert!(aside.exists());
        fs::remove_file(aside).expect("ours");
        fs::remove_file(&path).expect("ours");
    }
}

#[test]
fn where_nothing_can_be_written_what_is_lost_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(crate::record::path(folder.path())).expect("room");
    let (_, status) = with(folder.path(), RETENTION, |record| {
        (0..3).for_each(|_| record.journal(Actor::Guard, Action::Start, String::new()));
    });
    assert_eq!((status.written, status.lost), (0, 3));
    assert!(status.failures > 0 && status.problem.is_some());
}

#[test]
fn a_locked_file_holds_up_nobody_and_nothing_is_lost_once_it_is_free() {
    let folder = tempfile::tempdir().expect("a folder");
    with(folder.path(), RETENTION, |_| {});
    let path = crate::record::path(folder.path());
    let (_, status) = with(folder.path(), RETENTION, |record| {
        let other = Connection::open(&path).expect("a database");
        other.execute_batch("BEGIN EXCLUSIVE").expect("nobody else writes");
        record.journal(Actor::Guard, Action::Start, String::new());
        let clock = Clock::start();
        while record.status().failures == 0 {
            assert!(clock.uptime() < Duration::from_secs(10), "it is locked");
            std::thread::sleep(Duration::from_millis(10));
        }
        other.execute_batch("ROLLBACK").expect("it is free");
    });
    assert_eq!((status.written, status.lost), (1, 0));
}

#[test]
fn what_is_too_old_goes_and_the_file_stays_within_its_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = crate::record::path(folder.path());
    let now = Clock::start().now();
    let old = Timestamp::from_seconds(now.as_seconds() - 31 * 86_400);
    with(folder.path(), RETENTION, |record| {
        for number in 0..4_000_u64 {
            let at = if number == 0 { old } else { now + Duration::from_secs(number) };
            record.decision(&Event { at, kind: EventKind::RuleEnforced, text: "x".repeat(1_000) }, None);
        }
    });
    let count = || {
        let connection = Connection::open(&path).expect("a database");
        connection.query_row("SELECT count(*) FROM decision", [], |row| row.get::<_, i64>(0)).expect("a number")
    };
    // The file is looked at with the first entries after a start.
    assert_eq!(count(), 3_999);
    let begin = |record: &Record| record.journal(Actor::Guard, Action::Start, String::new());
    let size = fs::metadata(&path).expect("a file").len();
    with(folder.path(), Retention { days: 30, size_max: 1 << 20 }, begin);
    assert!(count() < 3_600, "{}", count());
    assert!(fs::metadata(&path).expect("a file").len() < size);
}
