//! Every way in which a log is rotated, with lines that are numbered: none may be missing and none may come twice.

use std::fs::OpenOptions;
use std::io::Write as _;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// A log with its tail, and the lines that came out.
struct Log {
    directory: tempfile::TempDir,
    tail: Tail,
    now: Timestamp,
    written: u32,
    found: Vec<String>,
}

impl Log {
    fn new(start: Start) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let tail = Tail::new(directory.path().join("access.log"), start);
        Self { directory, tail, now: NOW, written: 0, found: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Appends so many numbered lines to a file.
    fn write(&mut self, name: &str, lines: u32) {
        for _ in 0..lines {
            let line = format!("line {} of a log, as long as some are in one\n", self.written);
            self.append(name, line.as_bytes());
            self.written += 1;
        }
    }

    fn append(&self, name: &str, text: &[u8]) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).expect("a log");
        file.write_all(text).expect("written");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    /// As logrotate does it.
    fn copy_and_truncate(&self, to: &str) {
        fs::copy(self.path("access.log"), self.path(to)).expect("copied");
        let log = OpenOptions::new().write(true).open(self.path("access.log")).expect("there");
        log.set_len(0).expect("emptied");
    }

    fn compress(&self, name: &str) {
        let text = fs::read(self.path(name)).expect("there");
        let packed = File::create(self.path(&format!("{name}.gz"))).expect("made");
        let mut packer = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        packer.write_all(&text).and_then(|()| packer.finish().map(drop)).expect("written");
        fs::remove_file(self.path(name)).expect("there");
    }

    fn look(&mut self) {
        self.now = self.now + Duration::from_millis(100);
        let Self { tail, found, now, .. } = self;
        tail.begin(*now, &|_, _| false);
        for _ in 0..100 {
            let has_more = tail.look(*now, &|_, _| false, &mut |given, _| {
                let (Given::Piece(Piece { text, .. }) | Given::Directive(text)) = given else { return };
                found.push(String::from_utf8_lossy(text).trim_end().to_owned());
            });
            if !has_more {
                return;
            }
        }
        panic!("there is always more");
    }

    /// What was read is kept and read on by another process.
    fn restart(&mut self) {
        self.tail = Tail::new(self.path("access.log"), Start::Saved(self.tail.positions()));
    }

    fn check(&self) {
        let number = |line: &String| line.split(' ').nth(1).and_then(|number| number.parse::<u32>().ok());
        let numbers: Vec<u32> = self.found.iter().filter_map(number).collect();
        let expected: Vec<u32> = (0..self.written).collect();
        assert_eq!(numbers, expected, "of {} lines", self.written);
        assert_eq!(self.found.len(), numbers.len(), "nothing else: {:?}", self.found);
    }
}

#[test]
fn what_is_appended_is_read_once_and_what_was_there_is_not() {
    let mut log = Log::new(Start::End);
    log.append("access.log", b"old\n");
    log.look();
    for lines in [0, 1, 50] {
        log.write("access.log", lines);
        log.look();
        log.look();
    }
    log.check();
}

#[test]
fn a_file_that_comes_later_is_read_from_its_beginning() {
    let mut log = Log::new(Start::End);
    log.look();
    assert!(log.tail.is_absent() && log.tail.trouble().is_some_and(|trouble| trouble.contains("does not exist yet")));
    log.write("access.log", 10);
    log.look();
    assert_eq!(log.tail.trouble(), None);
    log.check();
}

#[test]
fn what_is_there_and_cannot_be_read_yet_is_not_new() {
    let mut log = Log::new(Start::End);
    fs::create_dir(log.path("access.log")).expect("made");
    log.look();
    log.look();
    assert!(log.tail.trouble().is_some() && !log.tail.has_begun());
    fs::remove_dir(log.path("access.log")).expect("ours");
    log.append("access.log", b"old\n");
    log.look();
    log.write("access.log", 10);
    log.look();
    assert_eq!(log.tail.trouble(), None);
    log.check();
}

#[test]
fn the_columns_of_what_is_read_come_first() {
    let columns = |fields: &str| format!("#Fields: date time {fields}\n");
    let mut log = Log::new(Start::End);
    log.append("access.log", (columns("cs-uri-stem") + &"of before\n".repeat(20_000)).as_bytes());
    log.append("access.log", (columns("cs-uri-stem sc-status") + "of before\n").as_bytes());
    log.look();
    log.append("access.log", b"new\n");
    log.look();
    log.restart();
    log.append("access.log", b"newer\n");
    log.look();
    let directive = "#Fields: date time cs-uri-stem sc-status";
    assert_eq!(log.found, [directive, "new", directive, "newer"]);
    // And of what comes after lines that were passed over.
    log.found.clear();
    log.append("access.log", columns("sc-status cs-uri-stem").as_bytes());
    let filling = "filling of a line that is passed over, and of one that is not\n".repeat(40_000);
    (0..4).for_each(|_| log.append("access.log", filling.as_bytes()));
    log.tail.pass_over().expect("there");
    log.look();
    assert_eq!(log.found.first().map(String::as_str), Some("#Fields: date time sc-status cs-uri-stem"));
    assert!(log.tail.passed_over() > 0 && !log.found.iter().skip(1).any(|line| line.starts_with('#')));
}

#[test]
fn half_a_line_waits_for_its_other_half() {
    let mut log = Log::new(Start::Beginning);
    log.append("access.log", b"line 0 of");
    log.look();
    assert!(log.found.is_empty());
    // Also through a rotation, and a restart.
    log.restart();
    log.look();
    log.rename("access.log", "access.log.1");
    log.look();
    log.append("access.log.1", b" a log\n");
    log.written = 1;
    log.write("access.log", 1);
    log.look();
    log.check();
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let mut log = Log::new(Start::Beginning);
    for rotation in 0..5 {
        log.write("access.log", 10);
        if rotation % 2 == 0 {
            log.look();
        }
        log.write("access.log", 3);
        if rotation % 2 == 1 {
            log.look();
        }
        log.rename("access.log", &format!("access.log.{rotation}"));
        if rotation % 3 == 0 {
            log.look();
        }
        // The server writes on until it is told to open its log anew.
        log.write(&format!("access.log.{rotation}"), 7);
        log.look();
    }
    log.check();
}

#[test]
fn a_renamed_file_is_read_on_although_the_new_one_is_there() {
    let mut log = Log::new(Start::Beginning);
    log.write("access.log", 10);
    log.look();
    log.rename("access.log", "access.log.1");
    log.append("access.log", b"");
    log.look();
    log.write("access.log.1", 5);
    log.look();
    log.write("access.log", 5);
    log.look();
    log.check();
}

#[test]
fn a_file_that_is_emptied_after_a_copy_is_read_to_the_end_of_the_copy() {
    let mut log = Log::new(Start::Beginning);
    for rotation in 0..5 {
        log.write("access.log", 20);
        log.look();
        log.write("access.log", rotation * 4);
        log.copy_and_truncate(&format!("access.log.{rotation}"));
        // It may have grown beyond where it was read to.
        log.write("access.log", if rotation % 2 == 0 { 60 } else { 1 });
        log.look();
        log.look();
    }
    log.check();
}

#[test]
fn what_was_rotated_twice_between_two_looks_is_read_in_its_order() {
    for is_copied in [false, true] {
        let mut log = Log::new(Start::Beginning);
        let rotate = |log: &Log, to: &str| match is_copied {
            true => log.copy_and_truncate(to),
            false => log.rename("access.log", to),
        };
        for round in 0..3 {
            log.write("access.log", 10);
            log.look();
            log.write("access.log", 4);
            for rotation in 0..3 {
                rotate(&log, &format!("access.log.{round}{rotation}"));
                log.write("access.log", 5);
                std::thread::sleep(Duration::from_millis(10));
            }
            log.look();
            log.look();
            log.now = log.now + Duration::from_secs(if round == 0 { 1 } else { 200 });
        }
        log.check();
    }
}

/// What is beside the log is looked for at one moment, and what is at its path is opened at another.
#[test]
fn what_is_rotated_while_others_are_looked_for_is_read_in_its_order() {
    for is_made_at_once in [true, false] {
        let mut log = Log::new(Start::Beginning);
        log.write("access.log", 3);
        log.look();
        log.write("access.log", 2);
        log.rename("access.log", "access.log.3");
        log.write("access.log", 5);
        log.rename("access.log", "access.log.2");
        log.write("access.log", 4);
        let (log_path, rotated) = (log.path("access.log"), log.path("access.log.1"));
        let last = format!("line {} of a log\n", log.written);
        log.written += 1;
        let is_rotated = std::cell::Cell::new(false);
        let is_others = |_: FileId, _: &File| {
            if !is_rotated.replace(true) {
                fs::rename(&log_path, &rotated).expect("renamed");
                if is_made_at_once {
                    fs::write(&log_path, &last).expect("written");
                }
            }
            false
        };
        for _ in 0..10 {
            log.tail.look(log.now, &is_others, &mut |given, _| {
                let Given::Piece(piece) = given else { return };
                log.found.push(String::from_utf8_lossy(piece.text).trim_end().to_owned());
            });
        }
        assert!(is_rotated.get());
        if !is_made_at_once {
            fs::write(&log_path, &last).expect("written");
        }
        log.look();
        log.check();
    }
}

/// A file that was read and deleted leaves its number to another.
#[test]
fn a_file_with_the_number_of_one_that_was_read_is_another() {
    for is_other in [true, false] {
        let mut log = Log::new(Start::Beginning);
        log.append("read", b"what that file began with\n");
        log.write("access.log", 3);
        log.look();
        log.rename("access.log", "access.log.2");
        log.write("access.log", 3);
        log.rename("access.log", "access.log.1");
        log.write("access.log", 3);
        let (between, metadata) = open(&log.path("access.log.1")).expect("there");
        let like = if is_other { File::open(log.path("read")).expect("there") } else { between };
        log.tail.done.push_back((FileId::of(&metadata), Fingerprint::of(&like).expect("it can be read")));
        log.look();
        if !is_other {
            log.found.extend((3..6).map(|number| format!("line {number} was read before")));
            log.found.sort();
        }
        log.check();
    }
}

#[test]
fn what_is_compressed_by_its_content_is_not_followed() {
    let mut log = Log::new(Start::Beginning);
    log.append("access.log", &[0x1F, 0x8B, 8, 0, 0]);
    log.look();
    assert!(log.found.is_empty());
    assert!(log.tail.trouble().is_some_and(|trouble| trouble.contains("compressed")), "{:?}", log.tail.trouble());
    fs::remove_file(log.path("access.log")).expect("there");
    log.write("access.log", 2);
    log.look();
    log.check();
}

#[test]
fn of_many_rotations_between_two_looks_the_newest_files_are_read() {
    let mut log = Log::new(Start::Beginning);
    log.write("access.log", 10);
    log.look();
    for rotation in 0..9 {
        log.rename("access.log", &format!("access.log.{rotation}"));
        log.write("access.log", 5);
        std::thread::sleep(Duration::from_millis(10));
    }
    log.look();
    // Of eight that came and went three are read, before the present one.
    assert_eq!(log.found.len(), 10 + 4 * 5);
    assert_eq!(log.found[10], format!("line {} of a log, as long as some are in one", log.written - 20));
}

#[test]
fn a_deleted_file_is_followed_by_the_next() {
    let mut log = Log::new(Start::Beginning);
    log.write("access.log", 5);
    log.look();
    fs::remove_file(log.path("access.log")).expect("there");
    log.look();
    log.write("access.log", 5);
    log.look();
    log.check();
}

#[test]
fn after_a_restart_it_goes_on_whatever_was_rotated_meanwhile() {
    for how in [
        "nothing",
        "appended",
        "renamed",
        "renamed twice",
        "copied",
        "copied and grown",
        "compressed",
        "all compressed",
    ] {
        let mut log = Log::new(Start::Beginning);
        log.write("access.log", 30);
        log.look();
        log.write("access.log", 2);
        // Of another server, and begins the same.
        fs::copy(log.path("access.log"), log.path("access_api.log")).expect("copied");
        match how {
            "appended" => log.write("access.log", 5),
            "renamed" | "renamed twice" | "compressed" | "all compressed" => {
                log.write("access.log", 5);
                log.rename("access.log", "access.log.1");
                // Modification times tell which is which.
                std::thread::sleep(Duration::from_millis(20));
                log.write("access.log", 5);
            }
            "copied" => {
                log.copy_and_truncate("access.log.1");
                log.write("access.log", 5);
            }
            "copied and grown" => {
                log.copy_and_truncate("access.log.1");
                log.write("access.log", 90);
            }
            _ => {}
        }
        if how == "renamed twice" {
            log.rename("access.log.1", "access.log.2");
            log.rename("access.log", "access.log.1");
            log.write("access.log", 5);
        }
        if how == "compressed" {
            log.compress("access.log.1");
        }
        if how == "all compressed" {
            log.compress("access.log.1");
            log.rename("access.log.1.gz", "access.log.2.gz");
            log.rename("access.log", "access.log.1");
            log.compress("access.log.1");
            log.write("access.log", 5);
        }
        // What is newer and of another server is none of it.
        std::thread::sleep(Duration::from_millis(20));
        log.append("access_api.log", b"another server's\n");
        log.append("access.log_other", b"another server's\n");
        log.restart();
        log.look();
        log.look();
        log.check();
    }
}

#[test]
fn a_file_that_was_empty_when_it_was_left_is_found_again_under_its_next_name() {
    let mut log = Log::new(Start::Beginning);
    log.append("access.log", b"");
    log.look();
    let positions = log.tail.positions();
    log.write("access.log", 5);
    log.rename("access.log", "access.log.1");
    log.write("access.log", 1);
    log.tail = Tail::new(log.path("access.log"), Start::Saved(positions));
    log.look();
    log.check();
}

#[test]
fn a_file_that_is_gone_is_let_go_of_once_nobody_writes_to_it() {
    let mut log = Log::new(Start::Beginning);
    log.write("access.log", 5);
    log.look();
    fs::remove_file(log.path("access.log")).expect("there");
    log.look();
    assert!(!log.tail.is_gone(), "its server may still write to it");
    log.now = log.now + OLD_TIME_MAX;
    log.look();
    assert!(log.tail.is_gone());
    log.write("access.log", 5);
    log.look();
    log.check();
}

#[test]
fn what_cannot_be_read_any_more_is_opened_anew_where_it_was() {
    let mut log = Log::new(Start::Beginning);
    log.write("access.log", 5);
    log.look();
    // As after a file server was started anew: whatever is asked of the open file fails.
    let unreadable = OpenOptions::new().write(true).open(log.path("access.log")).expect("there");
    let current = log.tail.current.as_mut().expect("it is open");
    let offset = current.pieces.input().offset;
    current.pieces.replace_input(Place { file: unreadable, offset });
    log.write("access.log", 5);
    log.look();
    assert!(log.tail.trouble().is_some());
    log.look();
    assert_eq!(log.tail.trouble(), None);
    log.check();
}

#[test]
fn positions_before_the_first_look_are_those_that_were_saved() {
    let mut log = Log::new(Start::Beginning);
    log.write("access.log", 3);
    log.look();
    let positions = log.tail.positions();
    log.restart();
    assert_eq!(log.tail.positions(), positions);
}

#[test]
fn a_copy_that_the_next_one_is_written_over_is_not_read_twice() {
    let mut log = Log::new(Start::Beginning);
    log.write("access.log", 10);
    log.look();
    for lines in [90, 3, 200] {
        log.copy_and_truncate("access.log.1");
        log.look();
        log.write("access.log", lines);
        log.look();
    }
    log.copy_and_truncate("access.log.1");
    log.write("access.log", 5);
    log.look();
    log.look();
    log.check();
}

#[test]
fn nothing_is_missed_of_a_file_that_was_left_at_its_end() {
    let mut log = Log::new(Start::Beginning);
    log.write("access.log", 3);
    log.look();
    let are_done = |log: &Log| log.tail.positions().iter().map(|position| position.is_done).collect::<Vec<_>>();
    assert_eq!(are_done(&log), [false], "more may be written to it before it is left");
    log.rename("access.log", "access.log.1");
    log.write("access.log", 3);
    log.look();
    assert_eq!(are_done(&log), [true, false]);
    log.write("access.log.1", 1);
    assert_eq!(are_done(&log), [false, false]);
}

#[test]
fn a_copy_under_a_name_of_its_own_is_known() {
    let mut log = Log::new(Start::Beginning);
    log.write("access.log", 30);
    log.look();
    log.copy_and_truncate("access.log.1");
    let copy = log.path("access.log.1");
    let (file, metadata) = open(&copy).expect("there");
    assert!(log.tail.knows(&copy, FileId::of(&metadata), &file));
    log.look();
    assert!(log.tail.knows(&copy, FileId::of(&metadata), &file), "after it was read to its end");
}

#[test]
fn another_log_that_begins_the_same_is_another_log() {
    let mut log = Log::new(Start::Beginning);
    // A monitor asks both sites in the same second.
    log.append("access.log", b"a line\n");
    log.append("other.log", b"a line\n");
    log.look();
    let (file, metadata) = open(&log.path("other.log")).expect("there");
    assert!(!log.tail.knows(&log.path("other.log"), FileId::of(&metadata), &file));
}

#[test]
fn a_new_file_is_read_though_it_has_the_number_of_one_that_another_follows() {
    let mut log = Log::new(Start::Beginning);
    log.append("access.log", b"of another\n");
    let others = |_: FileId, _: &File| true;
    log.tail.begin(NOW, &others);
    assert!(!log.tail.look(NOW, &others, &mut |_, _| panic!("it is read under another name")));
    // The same number, as some file systems give to the next file: here it is the same file, with another content.
    fs::write(log.path("access.log"), b"line 0 of the new one\n").expect("written");
    log.written = 1;
    log.look();
    log.check();
}

#[test]
fn nuls_before_a_server_that_does_not_append_are_a_hole() {
    let mut log = Log::new(Start::Beginning);
    log.write("access.log", 500);
    log.look();
    let size = fs::metadata(log.path("access.log")).expect("there").len();
    log.copy_and_truncate("access.log.1");
    let mut server = OpenOptions::new().write(true).open(log.path("access.log")).expect("there");
    io::Seek::seek(&mut server, io::SeekFrom::Start(size)).expect("a place");
    server.write_all(b"line 500 after the hole\n").expect("written");
    log.written += 1;
    log.look();
    log.look();
    let last = log.found.pop().expect("a line");
    assert!(last.trim_start_matches('\0') == "line 500 after the hole" && last.len() < 5_000, "{}", last.len());
    log.written -= 1;
    log.check();
}

#[test]
fn what_comes_too_fast_is_passed_over_oldest_first_and_counted() {
    let mut log = Log::new(Start::Beginning);
    let block: Vec<u8> =
        (0..400_000).flat_map(|number| format!("line {number} is one of many lines\n").into_bytes()).collect();
    log.append("access.log", &block);
    log.tail.begin(NOW, &|_, _| false);
    let (mut lines, mut weight, mut gaps) = (0.0, 0.0, 0);
    let mut last = String::new();
    let mut now = NOW;
    // Each look takes three seconds: that is too slow.
    while log.tail.look(now, &|_, _| false, &mut |given, arrival| {
        let piece = match given {
            Given::Piece(piece) => piece,
            Given::Gap => return gaps += 1,
            Given::Parts(_) | Given::Directive(_) => panic!("no columns are named: {given:?}"),
        };
        assert!(piece.text.starts_with(b"line "), "no half line");
        lines += 1.0;
        weight += f64::from(arrival.weight);
        last = String::from_utf8_lossy(piece.text).into_owned();
    }) {
        now = now + Duration::from_secs(3);
    }
    assert_eq!(last, "line 399999 is one of many lines\n");
    assert!(gaps > 0 && log.tail.passed_over() > 0 && lines < 400_000.0);
    assert!((weight - 400_000.0).abs() < 4_000.0, "{weight} for {lines}");
    assert_eq!(log.tail.behind_since(), None);
}

#[test]
fn only_files_are_followed() {
    let mut log = Log::new(Start::Beginning);
    fs::create_dir(log.path("access.log")).expect("made");
    log.look();
    assert!(log.tail.trouble().is_some_and(|trouble| trouble.contains("directory")), "{:?}", log.tail.trouble());
    assert!(!log.tail.is_absent());
    fs::remove_dir(log.path("access.log")).expect("removed");
    log.write("access.log", 2);
    log.look();
    log.check();
}
