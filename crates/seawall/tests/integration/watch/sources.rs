//! What is no plain log file: pipes, the journal, and what cannot be watched at all.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;

use super::{append, line, ordinary};
use crate::support::eventually;
use crate::support::guard::{Guard, text};

/// Runs `seawall watch` with what must fail.
fn refused(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.args(["watch", "--admin", "off", "--state", "state"]).args(arguments).current_dir(folder);
    command.stdin(Stdio::null()).output().expect("seawall can be started")
}

#[test]
fn what_cannot_be_watched_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("logs")).expect("made");
    fs::write(directory.path().join("access.log.1.gz"), "").expect("made");
    fs::write(directory.path().join("packed"), [0x1F, 0x8B, 8, 0]).expect("made");
    for (arguments, code, expected) in [
        (&["logs"][..], 4, "it is a directory; name the log files in it, as 'logs/*.log'"),
        (&["access.log.1.gz"], 4, "it is compressed, so nothing is written to it any more; `seawall report` reads it"),
        (&["packed"], 4, "it is compressed, so nothing is written to it any more; `seawall report` reads it"),
        (&["/dev/null"], 4, "neither a file nor a named pipe"),
        (&["udp://localhost:5514"], 2, "expected an IP address and a port"),
        (&["udp://192.0.2.1:5514"], 4, "cannot watch udp://192.0.2.1:5514"),
        (&["access.log", "--write", "copy.log"], 2, "--write writes on what comes from standard input"),
        (&["-", "--pipe"], 2, "standard input can be watched once"),
        (&["--pipe", "--write", "missing/copy.log"], 4, "missing/copy.log cannot be written"),
        (&["access.log", "--mode", "remove"], 2, "add --write FILE"),
        (&["-", "--write", "copy.log", "--mode", "remove", "--prefix-preserving"], 2, "is about pseudonyms"),
        (&["access.log", "--format", "nonsense"], 2, "there is no format"),
        (&[], 2, "SOURCE"),
    ] {
        let output = refused(directory.path(), arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn a_file_that_may_not_be_read_is_named_with_the_group_that_may() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let log = directory.path().join("access.log");
    append(&log, "line\n");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o640)).expect("ours");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&log, None, Some(4)).expect("root may");
    }
    let seawall = env!("CARGO_BIN_EXE_seawall");
    let state = tempfile::tempdir().expect("a directory");
    let mut command = if rustix::process::geteuid().is_root() {
        // Nobody, for whom the rights count.
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o777)).expect("ours");
        let program = state.path().join("seawall");
        fs::copy(seawall, &program).expect("copied");
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        command
    } else {
        fs::set_permissions(&log, fs::Permissions::from_mode(0o000)).expect("ours");
        Command::new(seawall)
    };
    command.args(["watch", "--admin", "off", "--state"]).arg(state.path().join("own")).arg(&log);
    let output = command.stdin(Stdio::null()).output().expect("started");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    for part in ["permission denied", &log.display().to_string(), "group", "usermod -aG"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn damaged_lines_are_counted_and_the_others_are_read() {
    let guard = Guard::watch(&["access.log"], |_| {});
    let log = guard.folder().join("access.log");
    let clock = Clock::start();
    let mut file = fs::OpenOptions::new().append(true).create(true).open(&log).expect("a log");
    file.write_all(ordinary(&clock, 1).as_bytes()).expect("written");
    file.write_all(&[vec![b'x'; 10_000_000], b"\n".to_vec()].concat()).expect("written");
    file.write_all(&[vec![0; 3_000], b"\n\xFF\xFE\xC3\n\n\\x22\\\"\n".to_vec()].concat()).expect("written");
    for at in ["31/Dec/1969:00:00:00 +0000", "01/Jan/2077:00:00:00 +0000", "99/Foo/2025:99:99:99 +9999"] {
        file.write_all(format!("192.0.2.1 - - [{at}] \"GET / HTTP/1.1\" 200 -5 \"-\" \"-\"\n").as_bytes())
            .expect("written");
    }
    file.write_all(b"- - - [-] \"-\" - - \"-\" \"-\"\n").expect("written");
    file.write_all(ordinary(&clock, 2).as_bytes()).expect("written");
    eventually("every line", || guard.sensor()["lines"] == 11);
    let sensor = guard.sensor();
    assert_eq!(sensor["read"], 2, "{sensor:#}");
    let reasons = sensor["unread"].to_string();
    assert!(reasons.contains("longer than 64 KiB") && reasons.contains("time stamp"), "{reasons}");
    // An example of each reason, without the client.
    append(&log, "2024/05/01 12:00:01 [error] 7#7: *1 open() failed, client: 192.0.2.44, request: \"GET /a?secret\"\n");
    append(&log, "192.0.2.45 - - [01/Jan/2025:00:00:00 +0000] \"GET /b?secret HTTP/1.1\" 999 5\n");
    eventually("the others", || guard.sensor()["lines"] == 13);
    let examples = guard.sensor()["unread"].to_string();
    let shown = text(&guard.command(&["status"]).stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(examples.contains("GET /b HTTP/1.1") && examples.contains("xxxxxxxx"), "{examples}");
    assert!(shown.contains(" not read, no time stamp of a known format, as: "), "{shown}");
    for told in [examples, shown] {
        assert!(!told.contains("192.0.2.4") && !told.contains("secret"), "{told}");
    }
    assert!(guard.memory("VmRSS") < 200 * 1024, "{} KiB", guard.memory("VmRSS"));
}

#[test]
fn lines_that_nobody_recognises_are_read_in_the_format_that_is_named() {
    // As Apache has it.
    let format = "%{sec}t|%a|%m|%U%q|%>s|%B";
    let configured = format!("[watch]\nformat = '{format}'\n");
    let clock = Clock::start();
    for (guard, read) in [
        (Guard::watch(&["access.log"], |_| {}), 0),
        (Guard::watch(&["access.log", "--format", format], |_| {}), 20),
        (Guard::watch_with(&configured, &["access.log"]), 20),
        // What the command line says goes before.
        (Guard::watch_with(&configured, &["access.log", "--format", "combined"]), 0),
    ] {
        let at = clock.now().as_seconds();
        let lines = (0..20).map(|number| format!("{at}|198.51.100.{number}|GET|/page/{number}?a=b|200|512\n"));
        append(&guard.folder().join("access.log"), &lines.collect::<String>());
        eventually("the lines", || guard.sensor()["lines"] == 20);
        let sensor = guard.sensor();
        assert_eq!(sensor["read"], read, "{sensor:#}");
        assert_eq!(guard.count("requests"), read, "{sensor:#}");
    }
}

#[test]
fn lines_of_other_years_and_of_wrong_clocks_are_traffic_of_now() {
    let guard = Guard::watch(&["access.log"], |_| {});
    let log = guard.folder().join("access.log");
    let mut lines = String::new();
    for number in 0..40 {
        lines += &format!(
            "192.0.2.{number} - - [01/Jan/2031:00:00:{number:02} +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"a\"\n"
        );
    }
    thread::sleep(Duration::from_millis(300));
    append(&log, &lines);
    eventually("the lines", || guard.count("requests") == 40);
    eventually("what is wrong", || {
        guard.sensor()["clock_wrong_by_seconds"].as_i64().is_some_and(|seconds| seconds < -86_400)
    });
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(shown.contains("ahead of this machine's clock"), "{shown}");
}

#[test]
fn a_named_pipe_is_read_from_one_writer_after_the_other() {
    let guard = Guard::watch(&["pipe"], |folder| {
        let made = Command::new("mkfifo").arg(folder.join("pipe")).status().expect("mkfifo is there");
        assert!(made.success());
    });
    let clock = Clock::start();
    for writer in 1..=3 {
        let mut pipe = fs::OpenOptions::new().write(true).open(guard.folder().join("pipe")).expect("a pipe");
        for number in 0..10 {
            pipe.write_all(ordinary(&clock, number).as_bytes()).expect("written");
        }
        drop(pipe);
        eventually("the lines", || guard.sensor()["read"] == writer * 10);
    }
}

#[test]
fn a_pipe_is_written_on_with_private_addresses() {
    let mut guard = Guard::watch(&["--pipe", "--write", "private.log"], |_| {});
    let mut input = guard.input();
    let clock = Clock::start();
    let copy = guard.folder().join("private.log");
    let lines = |path: &Path| fs::read_to_string(path).unwrap_or_default().lines().count();
    for number in 0..100 {
        input.write_all(ordinary(&clock, number).as_bytes()).expect("taken");
    }
    eventually("the copy", || lines(&copy) == 100);
    // It is rotated; the next is written within a second.
    fs::rename(&copy, guard.folder().join("private.log.1")).expect("renamed");
    eventually("a new file", || copy.exists());
    for number in 0..10 {
        input.write_all(ordinary(&clock, number).as_bytes()).expect("taken");
    }
    eventually("the rest", || lines(&copy) == 10);
    eventually("every line", || guard.sensor()["read"] == 110);
    let written = fs::read_to_string(guard.folder().join("private.log.1")).expect("written");
    assert!(!written.contains("198.51.100.") && written.contains("Firefox/"), "{written}");
    // The end of the server is the end of the guard.
    drop(input);
    assert!(guard.wait().success());
}

#[test]
fn a_pipe_can_be_written_on_with_networks_or_nothing_in_place_of_addresses() {
    for (options, expected) in
        [(&["--mode", "truncate"][..], "198.51.100.0 - - ["), (&["--mode", "remove", "--drop-queries"], "- - - [")]
    {
        let mut guard = Guard::watch(&[&["-", "--write", "copy.log"], options].concat(), |_| {});
        let clock = Clock::start();
        let mut input = guard.input();
        input.write_all(line(&clock, "198.51.100.7", "GET /a?b=secret", "Mozilla/5.0").as_bytes()).expect("taken");
        let copy = guard.folder().join("copy.log");
        eventually("the copy", || fs::read_to_string(&copy).is_ok_and(|text| text.starts_with(expected)));
        let written = fs::read_to_string(&copy).expect("written");
        assert_eq!(written.contains("?b=secret"), !options.contains(&"--drop-queries"), "{written}");
        drop(input);
        assert!(guard.wait().success());
    }
}

#[test]
fn the_configuration_can_name_what_is_watched() {
    let guard = Guard::watch_with("[watch]\nsources = [\"logs/*.log\", \"udp://127.0.0.1:0\"]\n", &[]);
    assert!(guard.watching().iter().any(|name| name.ends_with("logs/*.log")), "{:?}", guard.watching());
    assert!(guard.watching().iter().any(|name| name.starts_with("udp://")), "{:?}", guard.watching());
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("empty.toml"), "admin = \"off\"\n").expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.args(["watch", "--config", "empty.toml"]).current_dir(directory.path()).stdin(Stdio::null());
    let output = command.output().expect("started");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("write sources = [\"…\"] in [watch]"), "{said}");
}

#[test]
fn a_full_disk_stops_neither_the_server_nor_the_guard() {
    let mut guard = Guard::watch(&["-", "--write", "/dev/full"], |_| {});
    let mut input = guard.input();
    let clock = Clock::start();
    for number in 0..2_000 {
        input.write_all(ordinary(&clock, number).as_bytes()).expect("taken");
    }
    eventually("the lines", || guard.sensor()["read"] == 2_000 && guard.sensor()["copy"]["lost_lines"] == 2_000);
    let shown = text(&guard.command(&["status"]).stdout);
    assert!(shown.contains("loses lines") && shown.contains("No space left"), "{shown}");
    let complaints = guard.log().matches("loses lines").count();
    assert_eq!(complaints, 1, "a log that grows with each would fill the next disk: {}", guard.log());
}

#[test]
fn the_journal_is_followed_and_read_on_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("journalctl");
    // What it was asked is written down; two entries come, one of them no text.
    let program = "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/asked\"\nmicros=$(($(date +%s) * 1000000))\n\
        echo '{\"__CURSOR\":\"s=1;i=1\",\"__REALTIME_TIMESTAMP\":\"'$micros'\",\"MESSAGE\":\"192.0.2.1 - - ['\"$(date +%d/%b/%Y:%H:%M:%S) +0000\"'] \\\"GET / HTTP/1.1\\\" 200 5 \\\"-\\\" \\\"a\\\"\"}'\n\
        echo '{\"__CURSOR\":\"s=1;i=2\",\"__REALTIME_TIMESTAMP\":\"'$micros'\",\"MESSAGE\":[255,0,10]}'\n\
        echo 'no json'\nexec sleep 60\n";
    fs::write(&script, program).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let run = |state: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command.args(["watch", "journal:web.service", "--admin", "off", "--state"]).arg(state).env("PATH", &path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started")
    };
    let state = directory.path().join("state");
    for asked in ["--unit=web.service --lines=0", "--unit=web.service --after-cursor=s=1;i=2"] {
        let mut child = run(&state);
        eventually("the cursor", || {
            fs::read_to_string(state.join("positions.json")).is_ok_and(|text| text.contains("s=1;i=2"))
        });
        eventually("the question", || {
            fs::read_to_string(directory.path().join("asked")).is_ok_and(|text| text.contains(asked))
        });
        let ask = |what: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
            command.args([what, "--state"]).arg(&state).output().expect("started")
        };
        eventually("its entries", || text(&ask("status").stdout).contains("journal:web.service: combined"));
        assert!(ask("stop").status.success());
        assert!(child.wait().expect("ended").success());
    }
}

/// A program in place of `journalctl`, in a folder that is searched first.
struct Journalctl {
    directory: tempfile::TempDir,
}

impl Journalctl {
    fn new(program: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let script = directory.path().join("journalctl");
        fs::write(&script, program).expect("written");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
        Self { directory }
    }

    fn seawall(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        let path = format!("{}:/usr/bin:/bin", self.directory.path().display());
        command.arg(arguments.first().unwrap_or(&"status")).arg("--state").arg(self.directory.path().join("state"));
        command.args(arguments.iter().skip(1)).env("PATH", path);
        command.stdin(Stdio::null());
        command
    }

    fn watch(&self) -> Child {
        // The firewall of this machine is left alone.
        let config = self.directory.path().join("seawall.toml");
        fs::write(&config, "admin = \"off\"\n[kernel]\nuse = \"never\"\n").expect("written");
        let mut command = self.seawall(&["watch", "journal:web.service", "--config"]);
        command.arg(config);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started")
    }

    fn sensor(&self) -> serde_json::Value {
        let output = self.seawall(&["status", "--json"]).output().expect("started");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default()["sensors"][0]["log"].clone()
    }

    fn stop(&self, mut child: Child) {
        assert!(self.seawall(&["stop"]).output().expect("started").status.success());
        assert!(child.wait().expect("ended").success());
    }
}

#[test]
fn a_unit_that_systemd_does_not_know_is_said_at_the_start() {
    for (state, is_said) in [("not-found", true), ("loaded", false), ("", false)] {
        let journal = Journalctl::new("#!/bin/sh\nexec sleep 60\n");
        let systemctl = journal.directory.path().join("systemctl");
        fs::write(&systemctl, format!("#!/bin/sh\necho \"$@\" > {}.asked\necho {state}\n", systemctl.display()))
            .expect("written");
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).expect("ours");
        let log = journal.directory.path().join("log");
        let mut command = journal.seawall(&["watch", "journal:nosuch.service", "--admin", "off"]);
        command.stdout(Stdio::null()).stderr(fs::File::create(&log).expect("a log"));
        let child = command.spawn().expect("started");
        let asked = || fs::read_to_string(systemctl.with_extension("asked")).unwrap_or_default();
        eventually("the question", || asked().contains("--value -- nosuch.service"));
        let said = || fs::read_to_string(&log).unwrap_or_default().contains("systemd knows no unit nosuch.service");
        if is_said {
            eventually("the answer", said);
        }
        eventually("the guard", || journal.sensor().is_object());
        journal.stop(child);
        assert_eq!(said(), is_said, "{state}");
    }
}

#[test]
fn every_entry_of_the_journal_is_counted_and_its_cursor_kept() {
    // A field that was given twice, texts as numbers, a moment given twice, an entry that is too long, and no entry at all.
    let program = r#"#!/bin/sh
at=$(date -u '+%d/%b/%Y:%H:%M:%S +0000')
micros=$(($(date +%s) * 1000000))
line() { printf '192.0.2.%s - - [%s] \\"GET / HTTP/1.1\\" 200 5 \\"-\\" \\"a\\"' "$1" "$at"; }
echo "{\"__CURSOR\":\"s=1;i=1\",\"__REALTIME_TIMESTAMP\":\"$micros\",\"MESSAGE\":\"$(line 1)\"}"
echo "{\"__CURSOR\":\"s=1;i=2\",\"__REALTIME_TIMESTAMP\":\"$micros\",\"MESSAGE\":[\"$(line 2)\",\"$(line 3)\"]}"
echo "{\"__CURSOR\":\"s=1;i=3\",\"__REALTIME_TIMESTAMP\":[\"$micros\",\"$micros\"],\"MESSAGE\":\"$(line 4)\"}"
printf '{"__CURSOR":"s=1;i=4","__REALTIME_TIMESTAMP":"%s","MESSAGE":"' "$micros"
head -c 700000 /dev/zero | tr '\0' x
echo '"}'
echo "{\"__CURSOR\":\"s=1;i=5\",\"__REALTIME_TIMESTAMP\":\"$micros\",\"MESSAGE\":\"broken"
echo "{\"__CURSOR\":\"s=1;i=6\",\"__REALTIME_TIMESTAMP\":\"$micros\",\"MESSAGE\":[[120,120],[121]]}"
echo "{\"__CURSOR\":\"s=1;i=7\",\"__REALTIME_TIMESTAMP\":\"$micros\",\"MESSAGE\":7}"
echo "{\"__CURSOR\":\"s=1;i=8\",\"__REALTIME_TIMESTAMP\":\"$micros\",\"MESSAGE\":null}"
exec sleep 60
"#;
    let journal = Journalctl::new(program);
    let child = journal.watch();
    eventually("every entry", || journal.sensor()["lines"] == 10);
    let sensor = journal.sensor();
    assert_eq!(sensor["read"], 4, "{sensor:#}");
    let unread = sensor["unread"].to_string();
    for (reason, lines) in [
        ("line longer than 64 KiB", 1),
        ("entry of the journal that is no JSON", 1),
        ("no time stamp of a known format", 2),
        ("empty line", 2),
    ] {
        assert!(unread.contains(&format!("\"lines\":{lines},\"reason\":\"{reason}\"")), "{reason}: {unread}");
    }
    eventually("the cursor", || {
        let kept = fs::read_to_string(journal.directory.path().join("state/positions.json"));
        kept.is_ok_and(|text| text.contains("s=1;i=8"))
    });
    journal.stop(child);
}

#[test]
fn a_journal_that_comes_faster_than_it_is_given_is_read_from_the_newest() {
    // At first it gives what is twenty seconds old, and ever older; the second time it begins with what is new.
    let program = r#"#!/bin/sh
folder=$(dirname "$0")
echo "$@" >> "$folder/asked"
times=$(wc -l < "$folder/asked")
i=0
age=20
if [ "$times" -gt 1 ]; then i=4096; age=0; fi
while :; do
  i=$((i + 1))
  now=$(($(date +%s) - age))
  at=$(date -u -d "@$now" '+%d/%b/%Y:%H:%M:%S +0000')
  printf '{"__CURSOR":"s=1;i=%x","__REALTIME_TIMESTAMP":"%s000000","MESSAGE":"192.0.2.1 - - [%s] \\"GET / HTTP/1.1\\" 200 5 \\"-\\" \\"a\\""}\n' "$i" "$now" "$at"
  sleep 0.05
done
"#;
    let journal = Journalctl::new(program);
    let child = journal.watch();
    eventually("how far behind it is", || journal.sensor()["lag_seconds"].as_f64().is_some_and(|lag| lag >= 19.0));
    eventually("what was passed over", || {
        journal.sensor()["passed_over_entries"].as_u64().is_some_and(|count| count > 3_000)
    });
    let asked = fs::read_to_string(journal.directory.path().join("asked")).expect("it was asked");
    let asked: Vec<&str> = asked.lines().collect();
    assert!(asked.len() == 2 && asked[0].ends_with("--lines=0") && asked[1].contains("--since=@"), "{asked:?}");
    let late = journal.sensor()["late"].as_u64().expect("a count");
    let read = journal.sensor()["read"].as_u64().expect("a count");
    assert!(late > 0, "{:#}", journal.sensor());
    eventually("what is new", || journal.sensor()["read"].as_u64().is_some_and(|count| count > read + 20));
    let sensor = journal.sensor();
    assert_eq!((sensor["late"].as_u64(), sensor["lag_seconds"].as_f64()), (Some(late), Some(0.0)), "{sensor:#}");
    let shown = text(&journal.seawall(&["status"]).output().expect("started").stdout);
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("entries passed over"), "{shown}");
    journal.stop(child);
}

#[test]
fn one_old_entry_of_the_journal_is_no_flood() {
    // What was written while nobody watched, and six seconds later what is new.
    let program = r#"#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
entry() {
  now=$(($(date +%s) - $2))
  at=$(date -u -d "@$now" '+%d/%b/%Y:%H:%M:%S +0000')
  printf '{"__CURSOR":"s=1;i=%s","__REALTIME_TIMESTAMP":"%s000000","MESSAGE":"192.0.2.1 - - [%s] \\"GET / HTTP/1.1\\" 200 5 \\"-\\" \\"a\\""}\n' "$1" "$now" "$at"
}
entry 1 20
sleep 6
entry 2 0
entry 3 0
exec sleep 60
"#;
    let journal = Journalctl::new(program);
    let child = journal.watch();
    eventually("every entry", || journal.sensor()["read"] == 3);
    assert_eq!(journal.sensor()["passed_over_entries"].as_u64().unwrap_or_default(), 0);
    let asked = fs::read_to_string(journal.directory.path().join("asked")).expect("it was asked");
    assert_eq!(asked.lines().count(), 1, "{asked}");
    journal.stop(child);
}

/// As systemd does it: every process of the service is told to end at once.
#[test]
fn what_stops_the_guard_and_the_journal_is_no_trouble() {
    use std::os::unix::process::CommandExt as _;
    let journalctl = Journalctl::new("#!/bin/sh\ntouch \"$(dirname \"$0\")/started\"\nexec sleep 60\n");
    let folder = journalctl.directory.path();
    let log = fs::File::create(folder.join("log")).expect("a log");
    let mut command = journalctl.seawall(&["watch", "journal:web.service", "--admin", "off"]);
    let mut guard = command.stdout(Stdio::null()).stderr(log).process_group(0).spawn().expect("started");
    eventually("the journal is followed", || folder.join("started").exists());
    // Before that a signal just kills it.
    let answers = || journalctl.seawall(&["status"]).output().is_ok_and(|output| output.status.success());
    eventually("the guard answers", answers);
    let group = rustix::process::Pid::from_child(&guard);
    rustix::process::kill_process_group(group, rustix::process::Signal::TERM).expect("it runs");
    assert!(guard.wait().expect("it ends").success());
    let said = fs::read_to_string(folder.join("log")).expect("a log");
    assert!(!said.contains("journalctl"), "{said}");
}
