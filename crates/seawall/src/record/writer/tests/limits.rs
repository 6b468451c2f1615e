//! What the record does not hold: history for which there is no room, and bans that were made of whom no key tells.

use super::*;

#[test]
fn history_stays_where_bans_alone_are_larger_than_the_file_may_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Clock::start().now();
    let small = Retention { days: 30, size_max: 1 << 20 };
    let begun = Begun::open(folder.path(), small, Clock::start());
    let bans = |seconds| -> Vec<Ban> {
        let one = |number: u32| Ban {
            network: IpNet::from(IpAddr::from(std::net::Ipv4Addr::from_bits((10 << 24) + number))),
            reason: Some("x".repeat(1_000).into()),
            ..ban("192.0.2.7/32", now, seconds)
        };
        (0..1_500).map(one).collect()
    };
    begun.record.bans_changed(bans(3_600).into_iter().map(|ban| (ban.network, Some(ban))));
    for number in 0..2_000_u64 {
        let at = now + Duration::from_secs(number);
        begun.record.decision(&Event { at, kind: EventKind::RuleEnforced, text: "x".repeat(1_000) }, None);
    }
    eventually("it is said", || begun.problem().contains("more than `[record] size-max` (1 MiB), since the bans"));
    let count = || {
        let connection = schema::open_to_read(&crate::record::path(folder.path())).expect("a database");
        connection.query_row("SELECT count(*) FROM decision", [], |row| row.get::<_, i64>(0)).expect("a number")
    };
    eventually("all is written", || begun.record.status().written == 3_500);
    eventually("history is cut to its part", || (80..300).contains(&count()));
    for number in 0..3 {
        let written = begun.record.status().written;
        begun.record.journal(Actor::Guard, Action::Reload, String::new());
        eventually("it is written", || begun.record.status().written > written);
        assert!(count() > 80, "{} are left after {number}", count());
    }
    begun.record.bans_changed(bans(3_600).into_iter().map(|ban| (ban.network, None)));
    eventually("there is room", || begun.problem().is_empty());
    begun.end();
}

#[test]
fn bans_made_while_there_is_no_key_are_counted_as_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Clock::start().now();
    fs::create_dir(folder.path().join("keys")).expect("room");
    fs::set_permissions(folder.path().join("keys"), fs::Permissions::from_mode(0o755)).expect("ours");
    let begun = Begun::start(folder.path());
    begun.record.bans_made(vec![("192.0.2.7/32".parse().expect("a network"), now); 3]);
    eventually("they are counted", || begun.record.status().lost == 3);
    begun.end();
}

#[test]
fn bans_made_whose_key_is_gone_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Clock::start().now();
    let made = |count: usize| {
        with(folder.path(), RETENTION, |record| {
            record.bans_made(vec![("192.0.2.7/32".parse().expect("a network"), now); count]);
        });
    };
    let read = || {
        let keys = KeyStore::open(folder.path(), 7).expect("keys");
        let made = Reader::open(folder.path()).and_then(|reader| reader.bans_made(keys, now)).expect("a record");
        (made.bans.len(), made.keyless)
    };
    made(2);
    assert_eq!(read(), (2, 0));
    let key = fs::read_dir(folder.path().join("keys")).expect("a folder").next().expect("a key").expect("an entry");
    fs::remove_file(key.path()).expect("ours");
    assert_eq!(read(), (0, 2));
    // Another key takes its place.
    made(1);
    assert_eq!(read(), (1, 2));
}
