//! `seawall backtest`, from outside.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

/// A folder in which the command runs, so that what it prints holds no path of this machine.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), content).expect("room for a file");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command.arg("backtest").args(arguments).current_dir(self.folder.path());
        command.env_remove("COLUMNS").env_remove("NO_COLOR").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// What is printed by a run that ends with 0.
    #[track_caller]
    fn shown(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        text(&output.stdout).to_owned()
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        serde_json::from_slice(&output.stdout).expect("the output is one JSON object")
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

/// A request of 1 June 2024 in the combined format.
fn line(client: &str, time: &str, request: &str, status: u16, agent: &str) -> String {
    format!("{client} - - [01/Jun/2024:{time} +0000] \"{request} HTTP/1.1\" {status} 100 \"-\" \"{agent}\"\n")
}

/// A flood on one path over an hour, its readers from before it, and others.
fn flood() -> String {
    let mut log = String::new();
    log += &line("203.0.113.7", "06:00:00", "GET /", 200, "Firefox");
    log += &line("203.0.113.8", "07:30:00", "GET /feed", 200, "Reader/1.0");
    for number in 0..30 {
        let time = format!("10:{number:02}:00");
        log += &line(&format!("198.51.100.{number}"), &time, "GET /announce?info_hash=x", 404, "Bittorrent");
    }
    log += &line("203.0.113.7", "10:30:00", "GET /announce", 200, "Firefox");
    log += &line("203.0.113.8", "10:31:00", "GET /announce", 404, "Reader/1.0");
    log += &line("203.0.113.9", "10:32:00", "GET /wiki/", 200, "Firefox");
    log
}

const RULES: &str = "\
# What floods us.
announce: path = /announce
reader: user-agent starts-with \"Reader/\"   # a feed reader
never: path = /announce and method = POST and user-agent contains bittorrent
apart: user-agent contains Bittorrent and path-prefix = /wiki/
host not in (example.org)
";

#[test]
fn rules_are_tried_one_by_one_and_together() {
    let place = Place::new();
    place.file("access.log", flood());
    place.file("rules.txt", RULES);
    insta::assert_snapshot!(place.shown(&["--rules", "rules.txt", "--show-addresses", "access.log"]));
}

#[test]
fn json_says_the_same() {
    let place = Place::new();
    place.file("access.log", flood());
    let arguments = ["--rule", "path = /announce", "--rule", "user-agent = none", "--show-addresses", "access.log"];
    let summary = place.json(&arguments);
    insta::assert_snapshot!(serde_json::to_string_pretty(&summary).expect("it is JSON"));
}

#[test]
fn clients_are_pseudonyms_unless_asked_for() {
    let place = Place::new();
    place.file("access.log", flood());
    for arguments in
        [&["--rule", "path = /announce", "access.log"][..], &["--json", "--rule", "path = /announce", "access.log"]]
    {
        let shown = place.shown(arguments);
        assert!(shown.contains("client-") && !shown.contains("203.0.113") && !shown.contains("198.51.100"), "{shown}");
    }
}

#[test]
fn a_rule_that_is_wrong_is_shown_with_its_column() {
    let place = Place::new();
    place.file("access.log", flood());
    let output = place.run(&["--rule", "method = GET and user-agnet contains \"a\"", "access.log"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(text(&output.stderr), @r#"
    seawall: --rule, column 18: there is no attribute `user-agnet`; did you mean `user-agent`?
        method = GET and user-agnet contains "a"
                         ^
    "#);
    place.file("rules.txt", "good: path = /a\n\nstatus = 404\nhost in sites # and\n\tpath = \"/\x1b\n");
    let output = place.run(&["--rules", "rules.txt", "access.log"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(3), ""));
    insta::assert_snapshot!(text(&output.stderr));
}

#[test]
fn files_of_rules_that_are_none_are_named() {
    let place = Place::new();
    place.file("access.log", flood());
    place.file("empty.txt", "# nothing yet\n\n");
    place.file("latin.txt", b"path = /a\nuser-agent contains \"\xe9\"\n");
    place.file("large.txt", vec![b'#'; (1 << 20) + 1]);
    let many = "path = /a\n".repeat(65);
    place.file("many.txt", many);
    for (name, code, expected) in [
        ("empty.txt", 3, "empty.txt holds no rule; write one on each line"),
        ("latin.txt", 3, "latin.txt:2:22: the line is not UTF-8 from here on"),
        ("large.txt", 3, "large.txt is larger than 1 MiB"),
        ("many.txt", 2, "65 rules were given, where at most 64"),
        ("missing.txt", 4, "cannot read missing.txt: No such file"),
        (".", 4, "cannot read .: Is a directory"),
    ] {
        let output = place.run(&["--rules", name, "access.log"]);
        assert_eq!(output.status.code(), Some(code), "{name}");
        assert!(text(&output.stderr).starts_with(&format!("seawall: {expected}")), "{}", text(&output.stderr));
    }
}

#[test]
fn the_hosts_of_a_configuration_are_a_list() {
    let place = Place::new();
    let vhost = |host: &str, client: u8| {
        format!("{host} {}", line(&format!("192.0.2.{client}"), "10:00:00", "GET /", 200, "a"))
    };
    let hosts = ["example.org", "www.example.net", "example.net", "A.example"];
    place.file("access.log", (1..).zip(hosts).map(|(client, host)| vhost(host, client)).collect::<String>());
    place.file(
        "seawall.toml",
        "[[site]]\nhosts = [\"example.org\", \"*.example.net\"]\nupstream = \"http://127.0.0.1:3000\"\n",
    );
    let summary = place.json(&["--config", "seawall.toml", "--rule", "host not in sites", "access.log"]);
    assert_eq!((&summary["rules"][0]["requests"], &summary["rules"][0]["clients"]), (&2.into(), &2.into()));
    let output = place.run(&["--rule", "host not in sites", "access.log"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("there is no list `sites`; it holds the hosts"), "{}", text(&output.stderr));
}

#[test]
fn matched_lines_are_printed_as_they_are() {
    let place = Place::new();
    let (wanted, other) =
        (line("192.0.2.1", "10:00:00", "GET /a", 200, "x"), line("192.0.2.1", "10:00:00", "GET /b", 200, "x"));
    // A return before the line break, bytes that are not UTF-8, control characters, and no line break at the end.
    let with_return = wanted.replace('\n', "\r\n");
    let strange = wanted.replace("\"x\"", "\"\x1b[31m\"");
    let latin: Vec<u8> = wanted.bytes().map(|byte| if byte == b'x' { 0xE9 } else { byte }).collect();
    let open = wanted.trim_end();
    let matched = [with_return.as_bytes(), strange.as_bytes(), &latin, open.as_bytes()];
    let log: Vec<u8> = matched.iter().flat_map(|line| [other.as_bytes(), line].concat()).collect();
    place.file("access.log", &log);
    place.file("next.log", &wanted);
    let arguments = ["--rule", "path = /a", "--print-matched", "access.log"];
    let output = place.run(&arguments);
    assert_eq!((output.status.code(), output.stdout), (Some(0), matched.concat()));
    assert!(text(&output.stderr).contains("requests   4, 50.0% of all"), "{}", text(&output.stderr));
    // A line without a line break gets one if another follows.
    let both = place.run(&[&arguments[..], &["next.log"]].concat());
    assert_eq!(both.stdout, [&matched.concat()[..], b"\n", wanted.as_bytes()].concat());
}

#[test]
fn a_reader_of_matched_lines_may_leave() {
    let place = Place::new();
    place.file("access.log", flood().repeat(2000));
    let script =
        "\"$0\" backtest --rule 'path = /announce' --print-matched access.log | head -n 1; exit ${PIPESTATUS[0]}";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_seawall")])
        .current_dir(place.folder.path())
        .output()
        .expect("bash runs");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert_eq!(text(&output.stdout).lines().count(), 1);
}

#[test]
fn gzip_and_standard_input_say_the_same() {
    let place = Place::new();
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(flood().as_bytes()).expect("memory takes it");
    place.file("access.log", flood());
    place.file("access.log.gz", encoder.finish().expect("memory takes it"));
    let rule = ["--rule", "path = /announce", "--show-addresses"];
    let plain = place.json(&[&rule[..], &["access.log"]].concat());
    let gzipped = place.json(&[&rule[..], &["access.log.gz"]].concat());
    assert_eq!((&plain["rules"], &plain["totals"]), (&gzipped["rules"], &gzipped["totals"]));
    let mut child = place
        .command(&[&["--json"], &rule[..], &["-"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("a pipe").write_all(flood().as_bytes()).expect("all of it is read");
    let output = child.wait_with_output().expect("the program ends");
    let piped: Value = serde_json::from_slice(&output.stdout).expect("the output is one JSON object");
    assert_eq!(piped["rules"], plain["rules"]);
}

#[test]
fn what_a_log_does_not_record_is_not_judged() {
    let place = Place::new();
    let common = "192.0.2.1 - - [01/Jun/2024:10:00:00 +0000] \"GET /a HTTP/1.1\" 200 100\n";
    let nobody = line("-", "10:00:00", "GET /a", 200, "curl");
    place.file("common.log", common);
    place.file("nobody.log", &nobody);
    let not_judged = |rule: &str, log: &str| {
        let rule = place.json(&["--rule", rule, log])["rules"][0].take();
        (rule["requests"].as_u64(), rule["not_judged"].as_u64(), rule["not_recorded"].clone())
    };
    let missing = |name: &str| (Some(0), Some(1), Value::from(vec![name]));
    let judged = |requests: u64| (Some(requests), Some(0), Value::from(Vec::<String>::new()));
    assert_eq!(not_judged("user-agent = none", "common.log"), missing("user-agent"));
    assert_eq!(not_judged("path = /a or referer-origin = none", "common.log"), missing("referer-origin"));
    assert_eq!(not_judged("host != example.org", "common.log"), missing("host"));
    assert_eq!(not_judged("client != 192.0.2.7", "nobody.log"), missing("client-prefix"));
    assert_eq!(not_judged("user-agent contains curl", "nobody.log"), judged(1));
    assert_eq!(not_judged("client = 192.0.2.1 and path = /a", "common.log"), judged(1));
    assert_eq!(not_judged("query-keys = none", "common.log"), judged(1));
    // What columns there are only their names tell, and these name few; the format of a load balancer has no referers.
    let columns = "#Fields: date time c-ip cs-method cs-uri-stem\n2024-06-01 10:00:00 192.0.2.1 GET /a\n";
    place.file("columns.log", columns);
    for (condition, name) in
        [("host = none", "host"), ("user-agent = none", "user-agent"), ("referer-origin = none", "referer-origin")]
    {
        assert_eq!(not_judged(condition, "columns.log"), missing(name), "{condition}");
    }
    assert_eq!(not_judged("path = /a", "columns.log"), judged(1));
    let all = "#Fields: date time c-ip cs-method cs-uri-stem sc-status sc-bytes cs-host cs(User-Agent) cs(Referer)\n\
               2024-06-01 10:00:00 192.0.2.1 GET /a 200 0 - - -\n";
    place.file("all.log", all);
    for condition in ["host = none", "user-agent = none", "referer-origin = none"] {
        assert_eq!(not_judged(condition, "all.log"), judged(1), "{condition}");
    }
    insta::assert_snapshot!(place.shown(&["--rule", "user-agent contains curl", "common.log", "nobody.log"]));
    insta::assert_snapshot!(place.shown(&["--rule", "user-agent contains curl", "common.log"]));
}

#[test]
fn time_that_runs_backwards_changes_nothing() {
    let place = Place::new();
    let log = flood();
    let backwards: Vec<&str> = log.lines().rev().collect();
    place.file("access.log", &log);
    place.file("backwards.log", backwards.join("\n"));
    let rule = ["--rule", "path = /announce", "--show-addresses"];
    let (forth, back) =
        (place.json(&[&rule[..], &["access.log"]].concat()), place.json(&[&rule[..], &["backwards.log"]].concat()));
    assert_eq!(forth["rules"], back["rules"]);
    assert_eq!(forth["rules"][0]["returning_clients"], 2);
    assert_eq!(forth["rules"][0]["returning_requests_answered"], 1);
}

#[test]
fn matched_lines_and_the_summary_as_json_do_not_mix() {
    let place = Place::new();
    place.file("access.log", flood());
    let output = place.run(&["--rule", "path = /announce", "--print-matched", "--json", "access.log"]);
    let summary: Value = serde_json::from_slice(&output.stderr).expect("JSON on standard error");
    let lines = text(&output.stdout).lines().count();
    assert!(lines > 0);
    assert_eq!(summary["rules"][0]["requests"], lines);
}

#[test]
fn an_empty_log_is_no_error() {
    let place = Place::new();
    place.file("empty.log", "");
    let shown = place.shown(&["--rule", "path = /a", "empty.log"]);
    assert!(shown.contains("matches nothing: there are no requests"), "{shown}");
}

#[test]
fn logs_that_cannot_be_read_are_named_and_the_others_tried() {
    let place = Place::new();
    place.file("access.log", flood() + "rubbish\n");
    let output = place.run(&["--rule", "path = /announce", "missing.log", "access.log"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).starts_with("seawall: cannot open missing.log: No such file"));
    let shown = text(&output.stdout);
    assert!(shown.contains("requests   32,") && shown.contains("no time stamp of a known format"), "{shown}");
}

#[test]
fn the_command_line_is_checked() {
    let place = Place::new();
    place.file("access.log", flood());
    for arguments in [&["access.log"][..], &["--rule", "path = /a"], &["--rule", "", "access.log"]] {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let help = place.run(&["--help"]);
    for expected in ["seawall backtest --rule 'path = \"/announce\"'", "--print-matched", "Exit codes:"] {
        assert!(text(&help.stdout).contains(expected), "{expected}");
    }
}

#[test]
fn rules_about_countries_and_systems_are_judged() {
    let place = Place::new();
    let mut log = String::new();
    for (number, client) in ["8.8.8.8", "8.8.4.4", "193.0.6.139", "192.0.2.1"].into_iter().enumerate() {
        log += &line(client, &format!("10:00:0{number}"), "GET /", 200, "Firefox");
    }
    place.file("access.log", log);
    for (rule, requests) in
        [("country = US", 2), ("asn = 15169", 2), ("country = NL", 1), ("country != US", 2), ("asn = 3333", 1)]
    {
        let summary = place.json(&["--rule", rule, "access.log"]);
        let tried = &summary["rules"][0];
        assert_eq!(
            (tried["requests"].as_u64(), tried["not_judged"].as_u64()),
            (Some(requests), Some(0)),
            "{rule}: {tried:#}"
        );
    }
}
