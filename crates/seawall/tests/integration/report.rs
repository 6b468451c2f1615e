//! `seawall report`, from outside.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::say_skipped;

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("report").args(arguments).env_remove("COLUMNS").env_remove("NO_COLOR");
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    command(arguments).stdin(Stdio::null()).output().expect("the program runs")
}

pub(crate) fn run_with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the writer ends").expect("all of it is read");
    output
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

#[track_caller]
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("the output is one JSON object")
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

pub(crate) fn test_data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/report").join(name);
    path.to_str().expect("a path of UTF-8").to_owned()
}

/// A file in a folder that goes away with the test.
pub(crate) fn file(folder: &TempDir, name: &str, content: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("room for a file");
    path.to_str().expect("a path of UTF-8").to_owned()
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

pub(crate) fn line(second: u32, path: &str) -> String {
    format!("192.0.2.1 - - [01/Jun/2024:12:00:{:02} +0000] \"GET {path} HTTP/1.1\" 200 10 \"-\" \"a\"\n", second % 60)
}

#[test]
fn plain_and_gzipped_logs_and_standard_input_say_the_same() {
    let folder = folder();
    let content = fs::read(test_data("combined.log")).expect("test data");
    let middle = content.len() / 2;
    let members = [gzip(&content[..middle]), gzip(&content[middle..])].concat();
    let (plain, gzipped) = (test_data("combined.log"), file(&folder, "no-extension", &members));
    let panels = |output: Output| {
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let mut report = json(&output);
        assert_eq!(report["totals"]["requests"], 65);
        (report["inputs"][0]["compression"].take(), report["totals"].take(), report["panels"].take())
    };
    let arguments = |file| ["--json", "--show-addresses", "--top", "100", file];
    let (compression, totals, tables) = panels(run(&arguments(&plain)));
    assert_eq!(compression, "none");
    assert_eq!(panels(run(&arguments(&gzipped))), ("gzip".into(), totals.clone(), tables.clone()));
    assert_eq!(panels(run_with_input(&arguments("-"), &content)), ("none".into(), totals.clone(), tables.clone()));
    assert_eq!(panels(run_with_input(&arguments("-"), &members)), ("gzip".into(), totals, tables));
}

#[test]
fn files_that_cannot_be_read_are_named_and_the_others_reported() {
    let folder = folder();
    let lines: String = (0..200_000).map(|number| line(number, &format!("/{}", number * 7919 % 100_003))).collect();
    let whole = gzip(lines.as_bytes());
    let cut = file(&folder, "cut.gz", &whole[..whole.len() / 2]);
    let good = file(&folder, "good.log", line(0, "/good").as_bytes());
    let directory = folder.path().to_str().expect("a path of UTF-8");
    let missing = format!("{directory}/missing.log");
    let output = run(&["--json", &missing, directory, &cut, &good]);
    assert_eq!(output.status.code(), Some(4));
    let errors = text(&output.stderr);
    for expected in [
        format!("seawall: cannot open {missing}: No such file"),
        format!("seawall: cannot read {directory}: it is a directory"),
        format!("seawall: {cut} is a gzip file that was cut short: it ends in the middle of its data, after line "),
    ] {
        assert!(errors.contains(&expected), "{expected} in {errors}");
    }
    assert_eq!(errors.lines().count(), 3, "{errors}");
    // Each is said once: the page names the file, and not the error again.
    let page = run(&[&missing, &good]);
    assert!(text(&page.stdout).contains("missing.log") && !text(&page.stdout).contains("No such file"));
    assert_eq!(text(&page.stderr).matches("No such file").count(), 1);
    let report = json(&output);
    let inputs = report["inputs"].as_array().expect("inputs");
    assert!(inputs[..3].iter().all(|input| input["error"].is_string()));
    assert_eq!(inputs[3]["error"], Value::Null);
    let of_cut = inputs[2]["lines"].as_u64().expect("a number");
    assert!((50_000..200_000).contains(&of_cut), "{of_cut} lines before the cut");
    assert_eq!(report["totals"]["requests"], of_cut + 1);
}

#[test]
fn a_file_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let path = file(&folder, "secret.log", b"");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("it is ours");
    let mut command = command(&[&path]);
    if fs::File::open(&path).is_ok() {
        // Permissions do not bind this user: the program runs as nobody, who may enter the folder but not read the file.
        use std::os::unix::process::CommandExt as _;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let program = folder.path().join("seawall");
        fs::copy(env!("CARGO_BIN_EXE_seawall"), &program).expect("room for the program");
        command = Command::new(program);
        command.args(["report", &path]).uid(65_534).gid(65_534);
    }
    let output = command.stdin(Stdio::null()).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains(&format!("cannot open {path}: Permission denied")));
}

#[test]
fn lines_of_ten_megabytes_are_counted_and_not_held() {
    let long = vec![b'x'; 10_000_000];
    let input = [line(0, "/before").as_bytes(), &long, b"\n", line(1, "/after").as_bytes(), &long].concat();
    let output = run_with_input(&["--json", "-"], &input);
    assert_eq!(output.status.code(), Some(0));
    let report = json(&output);
    assert_eq!(report["totals"]["requests"], 2);
    assert_eq!(report["totals"]["lines_unread"], 2);
    let unread = &report["unread"][0];
    assert_eq!((&unread["reason"], &unread["lines"]), (&"too-long".into(), &2.into()));
    assert_eq!((&unread["examples"][0]["line"], &unread["examples"][0]["length"]), (&2.into(), &10_000_000.into()));
    let shown = run_with_input(&["-"], &input);
    assert!(text(&shown.stdout).contains("standard input:4 (9.5 MiB)"), "{}", text(&shown.stdout));
}

/// Gigabytes of a flood from ever new addresses must not be held: here a million, in an address space of 256 MiB.
#[test]
fn memory_does_not_grow_with_clients() {
    let folder = folder();
    let path = folder.path().join("flood.gz");
    let mut encoder = GzEncoder::new(fs::File::create(&path).expect("room"), flate2::Compression::fast());
    for number in 0..1_000_000_u32 {
        let [a, b, c, d] = number.to_be_bytes();
        let address = format!("2001:db8:{a:02x}{b:02x}:{c:02x}{d:02x}::1");
        let line = format!(
            "{address} - - [01/Jun/2024:12:00:00 +0000] \"GET /{number} HTTP/1.1\" 200 10 \"-\" \"{number}\"\n"
        );
        encoder.write_all(line.as_bytes()).expect("room");
    }
    for _ in 0..100_000 {
        encoder.write_all(line(0, "/hot").as_bytes()).expect("room");
    }
    encoder.finish().expect("room");
    let limited = Command::new("sh")
        .args([
            "-c",
            "ulimit -v 262144 && exec \"$0\" report --json --show-addresses \"$1\"",
            env!("CARGO_BIN_EXE_seawall"),
        ])
        .arg(&path)
        .output()
        .expect("a shell");
    assert_eq!(limited.status.code(), Some(0), "{}", text(&limited.stderr));
    let report = json(&limited);
    let clients = panel(&report, "clients");
    assert_eq!(clients["exact"], false);
    let distinct = clients["distinct"].as_f64().expect("a number") / 1_000_001.0;
    assert!((0.97..1.03).contains(&distinct), "{distinct} of what there are");
    let first = &clients["rows"][0];
    assert_eq!(first["value"], "192.0.2.1");
    let (hits, error) = (first["hits"].as_u64().expect("hits"), first["hits_error"].as_u64().expect("an error"));
    assert!(hits >= 100_000 && hits - error <= 100_000, "{hits} less at most {error}");
    assert!(error <= clients["hits_error_max"].as_u64().expect("a bound"));
}

#[test]
fn nothing_in_a_log_or_a_name_reaches_the_terminal() {
    let folder = folder();
    let damaged = fs::read(test_data("damaged.log")).expect("test data");
    let name = file(&folder, "evil\x1b[2Jname.log", &damaged);
    let missing = format!("{}/missing\x1b[2J.log", folder.path().display());
    for arguments in [vec![name.as_str(), &missing], vec!["--json", &name, &missing]] {
        let output = run(&arguments);
        for bytes in [&output.stdout, &output.stderr] {
            let control = text(bytes).chars().find(|character| character.is_control() && *character != '\n');
            assert_eq!(control, None, "{arguments:?}");
        }
        assert!(text(&output.stdout).contains("evil"));
        assert!(text(&output.stderr).contains(r"missing\x1b[2J.log"));
    }
}

/// Where the server logs the header of a proxy in place of the client, as `LogFormat "%{X-Forwarded-For}i %l %u …"` does.
#[test]
fn a_list_of_addresses_in_place_of_the_client_is_shown_nowhere() {
    let folder = folder();
    let rest = r#"- - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let lines = [
        format!("192.0.2.1, 10.0.0.1 {rest}\n"),
        format!("192.0.2.2,10.0.0.1 {rest}\n"),
        format!("192.0.2.3 {rest}\n"),
        // As a host there is the one who was asked for, and who knows what that is.
        format!("www.example 192.0.2.4 {rest}\n192.0.2.5 192.0.2.4 {rest}\n"),
    ];
    let log = file(&folder, "forwarded.log", lines.concat().as_bytes());
    let page = format!("{}/report.html", folder.path().display());
    for arguments in [&[][..], &["--json"], &["--csv"], &["--view", "hosts"], &["--html", &page]] {
        let output = run(&[arguments, &[&log]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        let shown = text(&output.stdout).to_owned() + &fs::read_to_string(&page).unwrap_or_default();
        assert!(!shown.contains("192.0.2.") && !shown.contains("10.0.0.1"), "{arguments:?}: {shown}");
    }
    let report = json(&run(&["--json", "--show-addresses", &log]));
    let clients = panel(&report, "clients")["rows"].to_string();
    let hosts = panel(&report, "hosts")["rows"].to_string();
    assert!(
        clients.contains("\"10.0.0.1\"") && clients.contains("\"192.0.2.3\"") && clients.contains("\"192.0.2.4\""),
        "{clients}"
    );
    assert!(hosts.contains("\"192.0.2.5\"") && !hosts.contains("192.0.2.1"), "{hosts}");
}

#[test]
fn a_page_replaces_an_older_one_and_no_log() {
    let folder = folder();
    let log = file(&folder, "access.log.1", b"192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 5\n");
    // As the shell hands over `--html access.log*`.
    let live = file(&folder, "access.log", b"a line\n");
    let output = run(&["--html", &live, &log]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
    assert!(text(&output.stderr).contains("is no report of seawall"), "{}", text(&output.stderr));
    assert_eq!(fs::read(&live).expect("it is there"), b"a line\n");
    let page = format!("{}/report.html", folder.path().display());
    let pages = [&[][..], &["--view", "leech"]].map(|arguments| {
        let output = run(&[arguments, &["--html", &page, &log]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        fs::read_to_string(&page).expect("it is there")
    });
    assert_ne!(pages[0], pages[1]);
}

#[test]
fn pseudonyms_are_new_in_each_run() {
    let clients = || {
        let report = json(&run(&["--json", &test_data("combined.log")]));
        let rows = panel(&report, "clients")["rows"].as_array().expect("rows").clone();
        rows.iter().map(|row| row["value"].as_str().expect("a name").to_owned()).collect::<HashSet<_>>()
    };
    let (one, other) = (clients(), clients());
    assert!(one.len() > 5 && one.iter().all(|name| name.starts_with("client-")), "{one:?}");
    assert!(one.is_disjoint(&other), "{one:?} {other:?}");
}

#[test]
fn the_command_line_is_checked() {
    for arguments in
        [&["--top", "0", "x"][..], &["--top", "many", "x"], &["--colour", "x"], &["--days", "0"], &["--csv"]]
    {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = folder.path().to_string_lossy();
    assert_eq!(run(&["--state", &nowhere]).status.code(), Some(5), "there is no record");
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for expected in ["seawall report /var/log/nginx/access.log*", "--show-addresses", "Exit codes:"] {
        assert!(text(&help.stdout).contains(expected), "{expected}");
    }
}

#[test]
fn an_empty_log_is_no_error() {
    let folder = folder();
    let empty = file(&folder, "empty.log", b"");
    let output = run(&[&empty]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("requests  0"));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let script = "\"$0\" report --top 1000 \"$1\" | head -n 1; exit ${PIPESTATUS[0]}";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_seawall"), &test_data("combined.log")])
        .output()
        .expect("bash runs");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

pub(crate) fn panel<'a>(report: &'a Value, name: &str) -> &'a Value {
    let panels = report["panels"].as_array().expect("panels");
    panels.iter().find(|panel| panel["name"] == name).expect("a panel of this name")
}

/// A real log, from the folder that SEAWALL_CORPUS names.
fn corpus(name: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("SEAWALL_CORPUS") else {
        say_skipped("SEAWALL_CORPUS is unset; it names the folder with real logs");
        return None;
    };
    let path = PathBuf::from(folder).join("logs").join(name);
    assert!(path.exists(), "SEAWALL_CORPUS is set, but {} is not there", path.display());
    Some(path.to_str().expect("a path of UTF-8").to_owned())
}

/// Counts a combined log by cutting its lines at quotes: nothing of the program's own is used.
#[derive(Default)]
struct CountedByQuotes {
    requests: u64,
    bytes: u64,
    clients: HashSet<String>,
    by_status: BTreeMap<String, u64>,
    by_path: BTreeMap<String, u64>,
}

fn count_by_quotes(path: &str) -> CountedByQuotes {
    let mut counted = CountedByQuotes::default();
    let content = fs::read(path).expect("a readable log");
    for line in String::from_utf8_lossy(&content).lines() {
        let pieces: Vec<&str> = line.split('"').collect();
        let [before, request, status_and_size, _, _, _, _, ..] = pieces[..] else { continue };
        let mut numbers = status_and_size.split_whitespace();
        let (Some(status), Some(size)) = (numbers.next(), numbers.next()) else { continue };
        counted.requests += 1;
        counted.bytes += size.parse::<u64>().unwrap_or(0);
        counted.clients.insert(before.split(' ').next().unwrap_or_default().to_owned());
        *counted.by_status.entry(status.to_owned()).or_default() += 1;
        let target = request.split(' ').nth(1).unwrap_or_default();
        *counted.by_path.entry(target.split('?').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    counted
}

#[test]
fn real_combined_logs_are_counted_as_another_way_of_counting_does() {
    for (name, lines) in [("apache-combined-10k.log", 10_000), ("lnav-shop_access_log.0.log", 1000)] {
        let Some(path) = corpus(name) else { return };
        let output = run(&["--json", "--top", "10000", "--show-addresses", &path]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let (report, counted) = (json(&output), count_by_quotes(&path));
        let totals = &report["totals"];
        assert_eq!(totals["lines"], lines, "{name}");
        assert!(counted.requests >= lines * 99 / 100, "{name}");
        assert_eq!(totals["requests"], counted.requests, "{name}");
        assert_eq!(totals["bytes"], counted.bytes, "{name}");
        assert_eq!(totals["clients"], counted.clients.len(), "{name}");
        assert_eq!(report["inputs"][0]["format"], "combined");
        for (panel_name, expected) in [("status", &counted.by_status), ("paths", &counted.by_path)] {
            let rows = panel(&report, panel_name)["rows"].as_array().expect("rows");
            // Paths of more than 256 bytes are cut, and may then be one.
            for (value, hits) in expected.iter().filter(|(value, _)| value.len() <= 256 && !value.contains('\\')) {
                let row = rows.iter().find(|row| row["value"] == value.as_str());
                assert_eq!(row.map(|row| &row["hits"]), Some(&(*hits).into()), "{name}: {panel_name} {value}");
            }
        }
    }
}

#[test]
fn real_times_are_right() {
    for (name, from, to) in [
        ("apache-combined-10k.log", "2015-05-17T10:05:00Z", "2015-05-20T21:05:59Z"),
        // Its zone is +03:30.
        ("lnav-shop_access_log.0.log", "2019-01-22T00:26:14Z", "2019-01-22T00:29:11Z"),
    ] {
        let Some(path) = corpus(name) else { return };
        let totals = json(&run(&["--json", &path]))["totals"].take();
        assert_eq!((&totals["from"], &totals["to"]), (&from.into(), &to.into()), "{name}");
    }
}

#[test]
fn real_samples_of_odd_and_mixed_logs() {
    // What is not read is of another log that is mixed in.
    for (name, format, lines, unread) in [
        ("hub-nginx-http-malformed.log", "combined", 12, 0),
        ("hub-apache2-malformed.log", "combined", 11, 0),
        ("hub-apache2-logs.log", "combined", 9, 2),
        ("hub-http-dos-bypass-cache.log", "combined", 356, 0),
        ("hub-traefik_clf.log", "combined", 9, 0),
        ("hub-litespeed-logs.log", "combined", 3, 2),
        ("hub-nginx-proxy-manager-logs.log", "nginx-proxy-manager", 14, 2),
        ("hub-caddy-logs.log", "caddy", 12, 1),
        ("hub-haproxy-logs.log", "haproxy", 5, 3),
        ("hub-envoy-logs.log", "envoy", 10, 0),
        ("hub-traefik_json.log", "traefik", 7, 1),
        ("hub-aws-alb-logs.log", "aws-load-balancer", 14, 0),
        ("lnav-caddy_log.0.log", "caddy", 39, 35),
        ("lnav-haproxy.0.log", "haproxy", 17, 4),
    ] {
        let Some(path) = corpus(name) else { return };
        let report = json(&run(&["--json", &path]));
        assert_eq!(report["inputs"][0]["format"], format, "{name}");
        assert_eq!(report["totals"]["lines"], lines, "{name}");
        assert_eq!(report["totals"]["lines_unread"], unread, "{name}: {}", report["unread"]);
    }
}
