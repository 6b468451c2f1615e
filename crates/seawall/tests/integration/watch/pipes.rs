//! Pipes that a web server writes into and waits for, whatever becomes of the guard.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;

use super::{line, ordinary};
use crate::support::eventually;
use crate::support::guard::{Guard, text};

/// Several times what a pipe holds.
const LINES: u32 = 20_000;

/// So long nobody may be kept waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that a web server has started.
struct Piped {
    process: Child,
}

impl Piped {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let log = fs::File::options().append(true).create(true).open(folder.join("log")).expect("a log");
        let process = Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(["watch", "--pipe"])
            .args(arguments)
            .current_dir(folder)
            .env_remove("SEAWALL_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self { process: process.expect("seawall can be started") }
    }

    /// Writes many lines, and fails where the writer is held up.
    fn write_many(&mut self) {
        let mut input = self.process.stdin.take().expect("its input");
        let (done, wait) = mpsc::channel();
        thread::spawn(move || {
            let clock = Clock::start();
            let text: String = (0..LINES).map(|number| ordinary(&clock, number)).collect();
            assert!(text.len() > 2 << 20, "a pipe may hold a mebibyte");
            let written = input.write_all(text.as_bytes());
            let _ = done.send((input, written));
        });
        let (input, written) = wait.recv_timeout(PATIENCE).expect("the server waits for its log");
        written.expect("somebody reads");
        self.process.stdin = Some(input);
    }

    /// The end of the server.
    fn end(mut self) -> ExitStatus {
        drop(self.process.stdin.take());
        self.process.wait().expect("its end")
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_second_guard_whose_status_page_finds_no_room_guards_all_the_same() {
    let first = Guard::watch_as("admin = \"127.0.0.1:0\"\n[kernel]\nuse = \"never\"\n", &["--pipe"], |_| {});
    let admin = first.admin().to_string();
    let mut second = Guard::watch(&["--pipe", "--admin", &admin], |_| {});
    let (mut input, clock) = (second.input(), Clock::start());
    let lines: String = (0..2_000).map(|number| ordinary(&clock, number)).collect();
    assert!(lines.len() > 128 << 10);
    input.write_all(lines.as_bytes()).expect("taken");
    eventually("the lines", || second.sensor()["read"] == 2_000);
    let said = text(&second.command(&["status"]).stdout).replace('\n', " ");
    for part in ["ALARM", &format!("cannot be served on {admin}"), "--admin off"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("--listen") && second.log().contains("the status page cannot be served"), "{said}");
    // It is there as soon as it can be.
    drop(first);
    eventually("the page", || second.status()["page_trouble"].is_null());
    drop(input);
    assert!(second.wait().success());
}

#[test]
fn a_pipe_is_read_and_written_on_privately_whatever_is_wrong() {
    let guard = Guard::watch(&["--pipe"], |_| {});
    let taken = guard.state_path().display().to_string();
    for (arguments, code, is_written, said) in [
        (&["--config", "wrong.toml"][..], 3, true, "the configuration has a problem"),
        (&["--config", "missing.toml"], 4, true, "missing.toml"),
        (&["--state", &taken, "--admin", "off"], 4, true, "another guard is running"),
        (&["--state", "/dev/null/state", "--admin", "off"], 4, true, "/dev/null/state"),
        (&["udp://192.0.2.1:5514", "--state", "state", "--admin", "off"], 4, true, "cannot watch udp://192.0.2.1:5514"),
        (&["--write", "missing/private.log", "--state", "state", "--admin", "off"], 4, false, "thrown away"),
        (&["--no-such-option"], 2, false, "--no-such-option"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("wrong.toml"), "nonsense = 1\n").expect("written");
        let write = if arguments.contains(&"--write") { &[][..] } else { &["--write", "private.log"] };
        let mut piped = Piped::start(directory.path(), &[arguments, write].concat());
        piped.write_many();
        let status = piped.end();
        let log = fs::read_to_string(directory.path().join("log")).expect("a log");
        assert_eq!(status.code(), Some(code), "{arguments:?}: {log}");
        assert!(log.contains(said) && log.contains("standard input is read all the same"), "{arguments:?}: {log}");
        let copy = fs::read_to_string(directory.path().join("private.log")).unwrap_or_default();
        assert_eq!(copy.lines().count(), if is_written { LINES as usize } else { 0 }, "{arguments:?}: {log}");
        assert!(!copy.contains("198.51.100."), "{arguments:?}: an address is on the disk");
    }
}

#[test]
fn a_pipe_is_guarded_as_soon_as_that_can_be_and_no_line_is_lost_meanwhile() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str| directory.path().join(name);
    fs::write(file("seawall.toml"), "nonsense = 1\n").expect("written");
    let mut piped =
        Piped::start(directory.path(), &["--config", "seawall.toml", "--state", "state", "--write", "private.log"]);
    piped.write_many();
    let clock = Clock::start();
    let first = line(&clock, "198.51.100.7", "GET /half", "Mozilla/5.0");
    let (half, rest) = first.split_at(40);
    let mut input = piped.process.stdin.take().expect("its input");
    input.write_all(half.as_bytes()).expect("taken");
    let lines = || fs::read_to_string(file("private.log")).unwrap_or_default();
    eventually("the lines before", || lines().lines().count() >= LINES as usize);
    fs::write(file("seawall.toml"), "admin = \"off\"\n[kernel]\nuse = \"never\"\n").expect("written");
    input.write_all(rest.as_bytes()).expect("taken");
    let status = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        let output = command.args(["status", "--json", "--state"]).arg(file("state")).output().expect("started");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()
    };
    eventually("the guard", || status().is_some());
    (0..100).for_each(|number| input.write_all(ordinary(&clock, number).as_bytes()).expect("taken"));
    eventually("what it judges", || status().is_some_and(|status| status["sensors"][0]["log"]["read"] == 100));
    piped.process.stdin = Some(input);
    assert!(piped.end().success());
    let written = lines();
    assert_eq!(written.lines().count(), LINES as usize + 101);
    assert_eq!(written.matches("GET /half HTTP/1.1").count(), 1);
}
