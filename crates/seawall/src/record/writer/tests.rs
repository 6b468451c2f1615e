mod dates;
mod limits;
mod situations;

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ipnet::IpNet;
use rusqlite::Connection;
use seawall_engine::decision::{BanCause, Event, EventKind};

use super::*;
use crate::record::{Action, Actor, Measure, MinuteCount, RULES, Reader, Record, RecordStatus, Situation, Span};

const RETENTION: Retention = Retention { days: 30, size_max: 1 << 30 };

/// A record that is being written.
struct Begun {
    record: Record,
    /// What was read at the start.
    bans: Vec<Ban>,
    rules: Option<String>,
    is_read: bool,
    late: Arc<Mutex<Vec<Late>>>,
    writing: std::thread::JoinHandle<()>,
}

impl Begun {
    fn open(folder: &Path, retention: Retention, clock: Clock) -> Self {
        let measure = Measure::by(|| Situation { requests: 12.5, ..Situation::default() });
        let (record, inbox) = Record::new(clock, measure);
        let directory = folder.to_owned();
        let keys = Box::new(move || KeyStore::open(&directory, 7));
        let late = Arc::<Mutex<Vec<Late>>>::default();
        let told = Arc::clone(&late);
        let late_told = Box::new(move |late| told.lock().expect("no panic").push(late));
        let path = crate::record::path(folder);
        let (writer, bans) = Writer::open(inbox, path, retention, keys, clock, late_told);
        let (rules, is_read) = (writer.kept(RULES), writer.is_read());
        let writing = std::thread::spawn(move || writer.run());
        Self { record, bans, rules, is_read, late, writing }
    }

    fn start(folder: &Path) -> Self {
        Self::open(folder, RETENTION, Clock::start())
    }

    /// Waits until all is written.
    fn end(self) -> RecordStatus {
        let shared = Arc::clone(&self.record.shared);
        drop(self.record);
        self.writing.join().expect("no panic");
        let status = shared.status.lock().expect("no panic");
        status.clone()
    }

    fn networks(&self) -> Vec<String> {
        let mut networks: Vec<String> = self.bans.iter().map(|ban| ban.network.to_string()).collect();
        networks.sort_unstable();
        networks
    }

    /// Hands all bans over, as the thread that enforces does when it is asked.
    fn answer(&self, bans: &[Ban]) {
        eventually("all bans are asked for", || self.record.wants_bans());
        self.record.all_bans(bans.to_vec());
    }

    fn problem(&self) -> String {
        self.record.status().problem.unwrap_or_default()
    }
}

impl Record {
    fn ban(&self, ban: &Ban) {
        self.bans_changed([(ban.network, Some(ban.clone()))]);
    }

    fn unban(&self, network: &str) {
        self.bans_changed([(network.parse().expect("a network"), None)]);
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !condition() {
        assert!(clock.uptime() < Duration::from_secs(20), "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Opens the record of a folder, does something with it, and waits until all is written.
fn with(folder: &Path, retention: Retention, act: impl FnOnce(&Record)) -> (Vec<Ban>, RecordStatus) {
    let begun = Begun::open(folder, retention, Clock::start());
    act(&begun.record);
    (begun.bans.clone(), begun.end())
}

/// Runs `test` in a folder that is a disk of a mebibyte; says so and does nothing where that is not allowed.
fn on_a_small_disk(test: impl FnOnce(&Path) + Send + 'static) {
    // Only a thread is moved; the other tests stay where they are.
    let moved = std::thread::spawn(|| {
        let flags = rustix::thread::UnshareFlags::NEWNS;
        #[expect(deprecated, reason = "the replacement is unsafe for flags that this is not; mounts are not memory")]
        if let Err(error) = rustix::thread::unshare(flags) {
            return eprintln!("skipped: mounts of its own need CAP_SYS_ADMIN ({error})");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let mount = |arguments: &[&str]| {
            let status = std::process::Command::new("mount").args(arguments).arg(folder.path()).status();
            assert!(status.is_ok_and(|status| status.success()), "mount {arguments:?}");
        };
        let private = std::process::Command::new("mount").args(["--make-rprivate", "/"]).status();
        assert!(private.is_ok_and(|status| status.success()), "its mounts are nobody else's");
        mount(&["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"]);
        test(folder.path());
        let unmounted = std::process::Command::new("umount").arg("-l").arg(folder.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "it was mounted");
    });
    moved.join().expect("no panic");
}

/// Copies the record and the keys, as a killed guard leaves them.
fn copy(from: &Path, to: &Path) {
    for name in ["record.db", "record.db-wal"] {
        fs::copy(from.join(name), to.join(name)).expect("it is there");
    }
    fs::create_dir(to.join("keys")).expect("room");
    fs::set_permissions(to.join("keys"), fs::Permissions::from_mode(0o700)).expect("ours");
    for key in fs::read_dir(from.join("keys")).expect("a folder") {
        let key = key.expect("an entry");
        fs::copy(key.path(), to.join("keys").join(key.file_name())).expect("room");
    }
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
        record.unban("203.0.113.5/32");
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
        let network = "192.0.2.7/32".parse().expect("a network");
        record.journal_about(network, Actor::Operator, Action::Ban, ": scraper".to_owned());
        let event =
            Event { at: at + Duration::from_secs(1), kind: EventKind::RuleEnforced, text: "R1 is in force".to_owned() };
        record.decision(&event, None);
        let counts = vec![MinuteCount { site: "example".into(), outcome: "served", rule: None, requests: 2.5 }];
        record.minute(at.as_seconds() / 60, counts.clone());
        record.minute(at.as_seconds() / 60, counts);
    });
    let reader = Reader::open(folder.path()).expect("a record");
    let lines = reader.journal(10, KeyStore::open(folder.path(), 7).ok()).expect("lines");
    let shown: Vec<_> =
        lines.iter().map(|line| (line.actor.as_str(), line.action.as_str(), line.detail.as_str())).collect();
    assert_eq!(shown, [("operator", "ban", "192.0.2.7/32: scraper"), ("guard", "rule-enforced", "R1 is in force")]);
    assert!(lines[0].before.is_some_and(|before| before.requests == 12.5));
    for span in [Span::Minute, Span::Hour] {
        let counts = reader.traffic(span, Timestamp::EPOCH, at).expect("counts");
        let counted: Vec<_> = counts.iter().map(|count| (count.at, count.outcome.as_str(), count.requests)).collect();
        assert_eq!(counted, [(at.as_seconds() / span.seconds() * span.seconds(), "served", 5.0)]);
    }
    let decisions = reader.rule_decisions(Timestamp::EPOCH, at).expect("decisions");
    assert_eq!(decisions.iter().map(|decision| decision.rule).collect::<Vec<_>>(), [1]);
    assert_eq!(reader.journal(1, None).expect("lines").len(), 1);
    assert_eq!(reader.journal(2, None).expect("lines")[0].detail, "(a /32 whose key is gone): scraper");
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

/// Which nothing but a look through all of the file finds: what a start reads is sound.
#[test]
fn one_damaged_page_in_the_middle_is_found_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = crate::record::path(folder.path());
    for _ in 0..4 {
        let (_, status) = with(folder.path(), RETENTION, |record| {
            (0..500).for_each(|_| record.journal(Actor::Guard, Action::Start, "what was done, at length ".repeat(20)));
        });
        assert_eq!((status.written, status.lost, status.problem), (500, 0, None));
    }
    let mut bytes = fs::read(&path).expect("there");
    let page = bytes.len() / 2 / 4096 * 4096;
    assert!(page > 100 * 4096, "{page}");
    bytes[page..page + 4096].fill(0xff);
    fs::write(&path, bytes).expect("room");
    let (_, status) =
        with(folder.path(), RETENTION, |record| record.journal(Actor::Guard, Action::Start, String::new()));
    assert!(status.problem.as_deref().is_some_and(|problem| problem.contains("damaged")), "{status:?}");
    assert_eq!((status.written, status.lost), (1, 0));
    assert!(folder.path().join("record.db.damaged").exists());
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
fn a_full_disk_at_the_start_loses_neither_bans_nor_rules() {
    on_a_small_disk(|disk| {
        let now = Clock::start().now();
        let folder = tempfile::tempdir().expect("a folder");
        let killed = Begun::start(folder.path());
        killed.record.ban(&ban("192.0.2.7/32", now, 3_600));
        killed.record.keep(RULES, "[1]".to_owned());
        eventually("it is written", || killed.record.status().written >= 2);
        copy(folder.path(), disk);
        killed.end();
        let fill = disk.join("fill");
        let target = format!("of={}", fill.display());
        let filled = std::process::Command::new("dd").args(["if=/dev/zero", "bs=1k", &target]).output();
        assert!(!filled.expect("dd").status.success(), "until there is no room");

        let begun = Begun::start(disk);
        assert_eq!((begun.networks(), begun.rules.as_deref()), (vec!["192.0.2.7/32".to_owned()], Some("[1]")));
        begun.record.ban(&ban("192.0.2.8/32", now, 3_600));
        begun.record.unban("192.0.2.7/32");
        begun.record.keep(RULES, "[2]".to_owned());
        eventually("it cannot be written", || begun.record.status().failures > 1);
        assert_eq!(begun.record.status().written, 0);
        fs::remove_file(fill).expect("ours");
        eventually("there is room again", || begun.record.status().written >= 3);
        let status = begun.end();
        assert_eq!((status.lost, status.problem), (0, None));
        let again = Begun::start(disk);
        assert_eq!((again.networks(), again.rules.as_deref()), (vec!["192.0.2.8/32".to_owned()], Some("[2]")));
        again.end();
    });
}

#[test]
fn a_locked_file_holds_up_nobody_and_nothing_is_lost_once_it_is_free() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Clock::start().now();
    with(folder.path(), RETENTION, |record| record.ban(&ban("192.0.2.7/32", now, 3_600)));
    let path = crate::record::path(folder.path());
    let other = Connection::open(&path).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    let begun = Begun::start(folder.path());
    assert_eq!(begun.networks(), ["192.0.2.7/32"]);
    begun.record.ban(&ban("192.0.2.8/32", now, 3_600));
    begun.record.journal(Actor::Guard, Action::Start, String::new());
    // However long it takes, what is counted meanwhile takes nobody's room.
    let at = now.as_seconds() / 60;
    let portions = BATCH_ENTRIES_MAX + 900;
    for _ in 0..portions {
        let count = MinuteCount { site: "example".into(), outcome: "served", rule: None, requests: 1.0 };
        begun.record.minute(at, vec![count]);
    }
    eventually("it is locked", || begun.record.status().failures > 1);
    other.execute_batch("ROLLBACK").expect("it is free");
    let status = begun.end();
    assert_eq!((status.lost, status.problem), (0, None));
    let counted = Reader::open(folder.path()).and_then(|reader| reader.traffic(Span::Minute, Timestamp::EPOCH, now));
    let counted: f64 = counted.expect("counts").iter().map(|count| count.requests).sum();
    assert_eq!(counted, portions as f64);
    assert_eq!(Begun::start(folder.path()).networks(), ["192.0.2.7/32", "192.0.2.8/32"]);
}

#[test]
fn what_could_not_be_read_at_the_start_is_taken_up_late_and_not_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Clock::start().now();
    with(folder.path(), RETENTION, |record| {
        record.ban(&ban("192.0.2.7/32", now, 3_600));
        record.keep(RULES, "[1]".to_owned());
    });
    let path = crate::record::path(folder.path());
    let other = Connection::open(&path).expect("a database");
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").expect("nobody else may so much as read");
    let begun = Begun::start(folder.path());
    assert!(begun.bans.is_empty() && !begun.is_read && begun.rules.is_none());
    begun.record.ban(&ban("192.0.2.8/32", now, 3_600));
    drop(other);
    eventually("it is read", || !begun.late.lock().expect("no panic").is_empty());
    let late = begun.late.lock().expect("no panic").remove(0);
    assert_eq!(late.bans, [ban("192.0.2.7/32", now, 3_600)]);
    assert_eq!(late.values.expect("they were not known").get(RULES).map(String::as_str), Some("[1]"));
    assert_eq!(begun.end().lost, 0);
    let again = Begun::start(folder.path());
    assert_eq!((again.networks().len(), again.rules.as_deref()), (2, Some("[1]")));
    again.end();
}

#[test]
fn however_many_bans_are_lifted_at_once_none_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Clock::start().now();
    let networks: Vec<String> =
        (0..30_000).map(|number| format!("10.0.{}.{}/32", number / 250, number % 250)).collect();
    let (_, status) = with(folder.path(), RETENTION, |record| {
        networks.iter().for_each(|network| record.ban(&ban(network, now, 3_600)));
        eventually("they are written", || record.status().written >= 30_000);
        networks.iter().for_each(|network| record.unban(network));
        record.ban(&ban("192.0.2.7/32", now, 3_600));
    });
    assert_eq!(status.lost, 0);
    assert_eq!(Begun::start(folder.path()).networks(), ["192.0.2.7/32"]);
}

#[test]
fn bans_whose_key_cannot_be_read_for_a_while_are_taken_up_when_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Clock::start().now();
    with(folder.path(), RETENTION, |record| record.ban(&ban("192.0.2.7/32", now, 3_600)));
    let key =
        fs::read_dir(folder.path().join("keys")).expect("a folder").next().expect("a key").expect("an entry").path();
    let set_mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("ours");
    set_mode(0o644);
    let begun = Begun::start(folder.path());
    assert_eq!((begun.bans.len(), begun.is_read), (0, true));
    begun.record.ban(&ban("192.0.2.8/32", now, 3_600));
    begun.record.journal(Actor::Guard, Action::Start, String::new());
    eventually("the rest is written", || begun.record.status().written == 1);
    eventually("it is said", || begun.problem().contains("1 change of bans cannot be written"));
    assert!(begun.problem().contains("is open to others (mode 0644)"), "{}", begun.problem());
    set_mode(0o600);
    eventually("they are taken up", || !begun.late.lock().expect("no panic").is_empty());
    assert_eq!(begun.late.lock().expect("no panic")[0].bans, [ban("192.0.2.7/32", now, 3_600)]);
    eventually("the other is written", || begun.record.status().written == 2);
    assert_eq!(begun.end().problem, None);
    assert_eq!(Begun::start(folder.path()).networks(), ["192.0.2.7/32", "192.0.2.8/32"]);
    // The same where a run ends without.
    set_mode(0o644);
    let begun = Begun::start(folder.path());
    assert!(begun.problem().contains("2 bans written on "), "{}", begun.problem());
    begun.end();
    set_mode(0o600);
    assert_eq!(Begun::start(folder.path()).networks(), ["192.0.2.7/32", "192.0.2.8/32"]);
}

#[test]
fn a_machine_that_begins_in_1970_loses_no_ban() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Clock::start().now();
    with(folder.path(), RETENTION, |record| record.ban(&ban("192.0.2.7/32", now, 3_600)));
    // Read and written while the machine's clock shows 1970; the writer does not run, so that it is not seen to be set.
    let early = Clock::anchored(Timestamp::from_seconds(100));
    let (record, inbox) = Record::new(early, Measure::by(Situation::default));
    let directory = folder.path().to_owned();
    let keys = Box::new(move || KeyStore::open(&directory, 7));
    let path = crate::record::path(folder.path());
    let (mut writer, bans) = Writer::open(inbox, path, RETENTION, keys, early, Box::new(|_| {}));
    writer.reopen().expect("a file");
    // As much is left of it as when the right date was last seen.
    let left = bans.iter().map(|ban| ban.expires.since(early.now()).as_secs()).collect::<Vec<_>>();
    assert!(matches!(left.as_slice(), [3_590..=3_600]), "{left:?}");
    record.ban(&ban("192.0.2.8/32", early.now(), 3_600));
    assert!(writer.write(&[], early.now()).expect("room"));
    writer.keep_bounds(early.now()).expect("room");
    assert!(folder.path().join("keys/1970-01-01.key").exists());
    drop((writer, record));
    // Then it is right again at a start: what was made before has not ended in 1970.
    assert_eq!(Begun::start(folder.path()).networks(), ["192.0.2.7/32", "192.0.2.8/32"]);

    // And when it is set while the guard runs, bans are written anew in the time that is right.
    let begun = Begun::open(folder.path(), RETENTION, early);
    assert_eq!(begun.bans.len(), 2);
    begun.answer(&[ban("192.0.2.9/32", early.now(), 3_600)]);
    eventually("they are written", || begun.record.status().written >= 1);
    begun.end();
    let again = Begun::start(folder.path());
    assert_eq!(again.networks(), ["192.0.2.9/32"]);
    assert!(again.bans[0].expires.since(now) > Duration::from_secs(3_500));
    again.end();
    dates::let_settle(folder.path(), now);
    assert!(!folder.path().join("keys/1970-01-01.key").exists(), "its time is over");
}

fn damage(path: &Path) {
    let mut content = fs::read(path).expect("it is there");
    content.iter_mut().skip(4_096).for_each(|byte| *byte ^= 0x5a);
    let mut file = fs::OpenOptions::new().write(true).open(path).expect("ours");
    std::io::Write::write_all(&mut file, &content).expect("room");
}

fn delete(path: &Path) {
    for ending in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{ending}", path.display())).expect("it is there");
    }
}

fn empty(path: &Path) {
    fs::File::options().write(true).open(path).and_then(|file| file.set_len(0)).expect("it is there");
}

fn put_something_else_there(path: &Path) {
    delete(path);
    fs::write(path, [7; 9_000]).expect("room");
}

#[test]
fn a_record_that_is_damaged_deleted_or_replaced_meanwhile_is_made_anew() {
    let now = Clock::start().now();
    let bans = [ban("192.0.2.7/32", now, 3_600), ban("192.0.2.8/32", now, 3_600)];
    let ways = [
        ("is damaged", damage as fn(&Path)),
        ("was deleted while", delete),
        ("is damaged", put_something_else_there),
        ("is damaged", empty),
    ];
    for (said, act) in ways {
        let folder = tempfile::tempdir().expect("a folder");
        let path = crate::record::path(folder.path());
        with(folder.path(), RETENTION, |record| bans.iter().for_each(|ban| record.ban(ban)));
        let begun = Begun::start(folder.path());
        begun.record.keep(RULES, "[1]".to_owned());
        eventually("it is written", || begun.record.status().written == 1);
        act(&path);
        begun.answer(&bans);
        eventually(said, || begun.problem().contains(said));
        begun.record.journal(Actor::Guard, Action::Start, String::new());
        let status = begun.end();
        assert!(status.problem.is_some_and(|problem| problem.contains(said)));
        assert_eq!(status.lost, 0);
        let again = Begun::start(folder.path());
        assert_eq!(
            (again.networks(), again.rules.as_deref()),
            (bans.each_ref().map(|ban| ban.network.to_string()).to_vec(), Some("[1]"))
        );
        again.end();
        assert_eq!(Reader::open(folder.path()).and_then(|reader| reader.journal(9, None)).expect("whole").len(), 1);
    }
}

#[test]
fn a_record_that_is_empty_at_the_start_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let begun = Begun::start(folder.path());
    assert_eq!(begun.problem(), "", "a first start");
    begun.end();
    let path = crate::record::path(folder.path());
    empty(&path);
    fs::write(folder.path().join("baseline"), "what was learnt").expect("room");
    let begun = Begun::start(folder.path());
    assert!(begun.problem().contains("was empty at the start"), "{}", begun.problem());
    begun.end();
}

#[test]
fn the_file_stays_within_its_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = crate::record::path(folder.path());
    let now = Clock::start().now();
    with(folder.path(), RETENTION, |record| {
        for number in 0..4_000_u64 {
            let at = now + Duration::from_secs(number);
            record.decision(&Event { at, kind: EventKind::RuleEnforced, text: "x".repeat(1_000) }, None);
        }
    });
    let count = || {
        let connection = Connection::open(&path).expect("a database");
        connection.query_row("SELECT count(*) FROM decision", [], |row| row.get::<_, i64>(0)).expect("a number")
    };
    assert_eq!(count(), 4_000);
    let size_max = 1 << 20;
    let small = Retention { days: 30, size_max };
    let size = || fs::metadata(&path).expect("a file").len();
    with(folder.path(), small.clone(), |record| {
        record.journal(Actor::Guard, Action::Start, String::new());
        record.ban(&ban("192.0.2.7/32", now, 3_600));
    });
    assert!(count() < 1_000 && size() <= size_max as u64, "{} in {}", count(), size());
    // And with each batch, not only now and then.
    with(folder.path(), small, |record| {
        for number in 0..6_000_u64 {
            let at = now + Duration::from_secs(9_000 + number);
            record.decision(&Event { at, kind: EventKind::RuleEnforced, text: "x".repeat(1_000) }, None);
            if number % 1_000 == 999 {
                eventually("it is written", || record.status().written > number);
                assert!(record.status().bytes < 4 * size_max as u64, "{}", record.status().bytes);
            }
        }
    });
    assert!(count() > 300 && size() <= size_max as u64, "{} in {}", count(), size());
    assert_eq!(with(folder.path(), RETENTION, |_| {}).0.len(), 1, "bans stay");
}
