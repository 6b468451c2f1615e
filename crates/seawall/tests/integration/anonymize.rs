//! `seawall anonymize`, from outside.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use flate2::write::GzEncoder;
use seawall::host::clock::wall_clock;
use seawall_engine::observation::log::addresses;
use tempfile::TempDir;

const DAY: u64 = 86_400;

/// A state directory that goes away with the test.
struct State(TempDir);

impl State {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command.arg("anonymize").args(arguments).env("STATE_DIRECTORY", self.directory());
        command
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs")
    }

    fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("the program ends");
        // One that refused to begin has read nothing.
        let _ = writer.join().expect("the writer ends");
        output
    }

    /// What comes out, of a run that succeeds.
    #[track_caller]
    fn filter(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run_with_input(arguments, input);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        output.stdout
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("room for a file");
        path.to_str().expect("a path of UTF-8").to_owned()
    }

    fn keys(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.directory().join("keys")) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// A moment as many days ago, as error logs write it.
fn days_ago(days: u64) -> String {
    let seconds = wall_clock().as_seconds() - days * DAY;
    let moment = jiff::Timestamp::from_second(seconds as i64).expect("a moment");
    moment.strftime("%Y/%m/%d %H:%M:%S").to_string()
}

/// The addresses of each line.
fn addresses_of(output: &[u8]) -> Vec<String> {
    addresses(output).map(|found| text(&output[found.range]).to_owned()).collect()
}

#[test]
fn files_compressed_or_not_and_standard_input_say_the_same() {
    let state = State::new();
    let log =
        "192.0.2.1 - - [01/Jun/2024:12:00:00 +0000] \"GET /192.0.2.2?x HTTP/1.1\" 200 5\r\nx 2001:db8::1\n\n\0\u{e9}";
    let log = [log.as_bytes(), b"\xFF\r"].concat();
    let (plain, gzipped) = (state.file("plain", &log), state.file("gzipped", &gzip(&log)));
    let expected = String::from_utf8_lossy(&log).replace("192.0.2.1", "192.0.2.0").replace("192.0.2.2", "192.0.2.0");
    let expected = expected.replace("2001:db8::1", "2001:db8::");
    for (arguments, input) in
        [(vec![], &log[..]), (vec!["-"], &gzip(&log)), (vec![&plain[..]], b""), (vec![&gzipped], b"")]
    {
        let output = state.filter(&[&["--mode", "truncate"], &arguments[..]].concat(), input);
        assert_eq!(String::from_utf8_lossy(&output), expected);
    }
    let both = state.filter(&["--mode", "truncate", &plain, &gzipped], b"");
    assert_eq!(String::from_utf8_lossy(&both), format!("{expected}\n{expected}"), "a line break keeps them apart");
    assert_eq!(state.keys(), Vec::<String>::new(), "no key is needed");
    assert!(!state.directory().exists());
}

#[test]
fn a_line_of_ten_megabytes_is_not_lost() {
    let state = State::new();
    let long = "192.0.2.1, ".repeat(1_000_000);
    let output = state.filter(&["--mode", "truncate"], format!("before\n{long}\nafter").as_bytes());
    assert!(output == format!("before\n{}\nafter", long.replace("192.0.2.1", "192.0.2.0")).as_bytes());
}

#[test]
fn an_address_keeps_its_pseudonym_for_a_day_and_keys_are_private() {
    let state = State::new();
    let log = format!("{} 192.0.2.1 192.0.2.2\n{} 192.0.2.1\n{} 192.0.2.1\n", days_ago(0), days_ago(1), days_ago(30));
    let [first, second] = [(); 2].map(|()| addresses_of(&state.filter(&[], log.as_bytes())));
    assert_eq!(first.len(), 4);
    assert_eq!(first[..3], second[..3], "the same in another run");
    assert_ne!(first[3], second[3], "but not when the key of the day is not kept");
    let different: std::collections::HashSet<_> = first.iter().chain(&second).collect();
    assert_eq!(different.len(), 5);
    let keys = state.directory().join("keys");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
    assert_eq!((state.keys().len(), mode(&keys)), (2, 0o700));
    assert!(state.keys().iter().all(|name| mode(&keys.join(name)) == 0o600));

    let prefix = addresses_of(&state.filter(&["--prefix-preserving"], b"192.0.2.1 192.0.2.200"));
    let network = |address: &str| address.rsplit_once('.').map(|(network, _)| network.to_owned());
    assert!(network(&prefix[0]).is_some() && network(&prefix[0]) == network(&prefix[1]), "{prefix:?}");
    assert_ne!(prefix[0], prefix[1]);
}

#[test]
fn keys_are_deleted_when_their_time_is_over() {
    let state = State::new();
    let log: String = (0..6).map(|days| format!("{} 192.0.2.1\n", days_ago(days))).collect();
    let first = addresses_of(&state.filter(&[], log.as_bytes()));
    assert_eq!(state.keys().len(), 6);
    let second = addresses_of(&state.filter(&["--retention", "2"], log.as_bytes()));
    assert_eq!(state.keys().len(), 2);
    assert_eq!(first[..2], second[..2]);
    assert!((2..6).all(|day| first[day] != second[day]));
    let configuration = state.file(
        "seawall.toml",
        b"state-directory = \"other\"\n[[site]]\nhosts = [\"*\"]\norigin = \"clock\"\n[privacy]\nkey-retention-days = 1\n",
    );
    state.filter(&["--config", &configuration], log.as_bytes());
    assert_eq!(fs::read_dir(state.0.path().join("other/keys")).expect("a folder").count(), 1);
    let untouched = addresses_of(&state.filter(&["--retention", "0"], log.as_bytes()));
    assert_ne!(untouched[0], first[0]);
    assert_eq!(state.keys().len(), 2);
}

#[test]
fn a_key_that_is_open_or_damaged_is_refused() {
    let state = State::new();
    state.filter(&[], b"192.0.2.1\n");
    let key = state.directory().join("keys").join(&state.keys()[0]);
    let refused = || {
        let output = state.run_with_input(&[], b"192.0.2.1\n");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(4), &b""[..]));
        text(&output.stderr).to_owned()
    };
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("ours");
    let error = refused();
    assert!(error.starts_with("seawall: ") && error.contains("open to others (mode 0644)"), "{error}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::write(&key, b"seawall-key-1\nshort").expect("room");
    assert!(refused().contains("is no key"), "{}", refused());
}

#[test]
fn all_processes_that_begin_at_once_agree_on_the_key() {
    let state = State::new();
    for _ in 0..5 {
        let mut children: Vec<Child> = (0..6).map(|_| state.start(&[])).collect();
        for child in &mut children {
            child.stdin.take().expect("a pipe").write_all(b"192.0.2.1\n").expect("it is read");
        }
        let outputs: Vec<Output> =
            children.into_iter().map(|child| child.wait_with_output().expect("the program ends")).collect();
        assert!(outputs.iter().all(|output| output.status.success() && output.stdout == outputs[0].stdout));
        assert_eq!(state.keys().len(), 1);
        fs::remove_dir_all(state.directory()).expect("ours");
    }
}

#[test]
fn a_line_comes_out_of_a_pipe_as_soon_as_it_went_in() {
    let state = State::new();
    let mut child = state.start(&["--mode", "remove"]);
    let (mut stdin, mut stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    for _ in 0..2 {
        stdin.write_all(b"a line of 192.0.2.1\n").expect("it is read");
        let mut line = [0; 12];
        stdout.read_exact(&mut line).expect("it is written");
        assert_eq!(text(&line), "a line of -\n");
    }
    drop(stdin);
    assert!(child.wait().expect("the program ends").success());
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    let state = State::new();
    let log = state.file("log", "192.0.2.1 word\n".repeat(200_000).as_bytes());
    let mut child = state.start(&["--mode", "truncate", &log]);
    let mut line = [0; 15];
    child.stdout.take().expect("a pipe").read_exact(&mut line).expect("a line");
    assert_eq!(&line, b"192.0.2.0 word\n");
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_written() {
    let state = State::new();
    let content = "192.0.2.1 word\n".repeat(100_000);
    let whole = gzip(content.as_bytes());
    let (cut, good) = (state.file("cut.gz", &whole[..whole.len() / 2]), state.file("good", b"192.0.2.77 last"));
    let output = state.run_with_input(&["--mode", "truncate", "/nonexistent/log", &cut, &good], b"");
    assert_eq!(output.status.code(), Some(4));
    let errors = text(&output.stderr);
    assert!(errors.contains("cannot open /nonexistent/log: ") && errors.contains("cut short"), "{errors}");
    let written = text(&output.stdout);
    assert!(written.starts_with("192.0.2.0 word\n") && written.ends_with("\n192.0.2.0 last"), "{}", written.len());
}

#[test]
fn a_directory_is_named_and_the_rest_written() {
    let state = State::new();
    let (folder, good) = (state.0.path().join("folder"), state.file("good", b"192.0.2.77 last\n"));
    fs::create_dir(&folder).expect("made");
    let folder = folder.to_str().expect("a path of UTF-8").to_owned();
    let output = state.run_with_input(&["--mode", "truncate", &folder, &good], b"");
    assert_eq!(output.status.code(), Some(4));
    let errors = text(&output.stderr);
    assert!(errors.contains(&folder) && errors.contains("directory"), "{errors}");
    assert_eq!(text(&output.stdout), "192.0.2.0 last\n");
}

#[test]
fn a_fifo_is_read_like_a_file_and_once() {
    let state = State::new();
    let path = state.0.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    let content = "192.0.2.1 word\n".repeat(30_000);
    let writer = std::thread::spawn({
        let (path, content) = (path.clone(), content.clone());
        move || fs::OpenOptions::new().write(true).open(path).and_then(|mut fifo| fifo.write_all(content.as_bytes()))
    });
    let written = state.filter(&["--mode", "truncate", path.to_str().expect("a path of UTF-8")], b"");
    writer.join().expect("the writer ends").expect("all of it is read");
    assert_eq!(text(&written), content.replace("192.0.2.1", "192.0.2.0"));
}

#[test]
fn a_file_without_permission_is_named_and_the_rest_written() {
    let state = State::new();
    fs::set_permissions(state.0.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let (closed, good) = (state.file("closed", b"192.0.2.1\n"), state.file("good", b"192.0.2.77 last\n"));
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("ours");
    let arguments = ["anonymize", "--mode", "truncate", closed.as_str(), good.as_str()];
    let mut command = if rustix::process::geteuid().is_root() {
        // Nobody, for whom the rights count.
        let program = state.0.path().join("seawall");
        fs::copy(env!("CARGO_BIN_EXE_seawall"), &program).expect("copied");
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(env!("CARGO_BIN_EXE_seawall"))
    };
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("the program runs");
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{errors}");
    assert!(errors.contains(&closed) && errors.contains("Permission denied"), "{errors}");
    assert_eq!(text(&output.stdout), "192.0.2.0 last\n");
}

#[test]
fn the_output_file_is_there_when_it_is_whole() {
    let state = State::new();
    let log = state.file("log", b"192.0.2.1 /a?b\n");
    let output = state.file("output", b"of before");
    let run =
        |arguments: &[&str]| state.run_with_input(&[&["--mode", "truncate", "--output"], arguments].concat(), b"");
    assert_eq!(run(&[&output, "--drop-queries", &log]).status.code(), Some(0));
    assert_eq!(fs::read(&output).expect("it was written"), b"192.0.2.0 /a\n");
    let in_place = run(&[&log, &log]);
    assert_eq!(in_place.status.code(), Some(2));
    assert!(text(&in_place.stderr).contains("is one of the files that are read"), "{}", text(&in_place.stderr));
    assert_eq!(fs::read(&log).expect("it is there"), b"192.0.2.1 /a?b\n");
    assert_eq!(run(&["/nonexistent/output", &log]).status.code(), Some(4));
    let device = run(&["/dev/stdout", &log]);
    assert_eq!((device.status.code(), text(&device.stdout)), (Some(0), "192.0.2.0 /a?b\n"));
    let names = fs::read_dir(state.0.path()).expect("the folder").count();
    assert_eq!(names, 2, "nothing unfinished is left");
    let wrong = state.run_with_input(&["--mode", "remove", "--prefix-preserving"], b"");
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn of_a_run_that_is_interrupted_nothing_is_left() {
    let state = State::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("shared.log");
    fs::write(&output, "of before\n").expect("room for a file");
    let mut child = state.start(&["--retention", "0", "-", "--output", output.to_str().expect("a path of UTF-8")]);
    let mut stdin = child.stdin.take().expect("a pipe");
    // More than any buffer holds, so that it is in the middle of writing, and it goes on to wait for the rest.
    stdin.write_all(&b"192.0.2.1 - - GET /\n".repeat(400_000)).expect("it reads");
    let process = rustix::process::Pid::from_child(&child);
    // What a background job of a script is started with is passed on to all that it starts: it ignores Ctrl-C.
    let status = fs::read_to_string("/proc/self/status").expect("what this process ignores");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    let ignored = u64::from_str_radix(ignored.expect("a mask"), 16).expect("hexadecimal");
    let signal = if ignored & 2 == 0 { rustix::process::Signal::INT } else { rustix::process::Signal::TERM };
    rustix::process::kill_process(process, signal).expect("it runs");
    let status = child.wait().expect("it ends");
    // Which a shell says as 130 for Ctrl-C.
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(signal.as_raw()));
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    let (flags, mode) = (rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::WRONLY, rustix::fs::Mode::RUSR);
    // Where every file has a name, the unfinished one has one as well.
    if rustix::fs::open(folder.path(), flags, mode).is_ok() {
        assert_eq!(left, [output.as_path()]);
    }
    assert_eq!(fs::read_to_string(&output).expect("there"), "of before\n");
}
