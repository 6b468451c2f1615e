//! `seawall report`: which files it reads, what it makes of bad ones, filters, views and other outputs.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::report::{command, file, folder, gzip, json, line, panel, run, run_with_input, test_data, text};

/// The requests of one line of a log.
#[track_caller]
fn check_line(content: &[u8], requests: u64, unread: u64, reason: Option<&str>) -> Value {
    let output = run_with_input(&["--json", "--show-addresses", "-"], content);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&output);
    let shown = content.get(..2_000).unwrap_or(content).escape_ascii();
    assert_eq!(report["totals"]["requests"], requests, "{shown}: {}", report["unread"]);
    assert_eq!(report["totals"]["lines_unread"], unread, "{shown}");
    assert_eq!(report["unread"][0]["reason"].as_str(), reason, "{shown}");
    report
}

#[test]
fn lines_that_a_container_runtime_split_are_requests_once() {
    let mut content = String::new();
    for number in 0..100 {
        let line = format!(
            "192.0.2.{number} - - [01/Jun/2024:12:00:00 +0000] \"GET /a?{:b<40000} HTTP/1.1\" 200 10 \"-\" \"A\"",
            number
        );
        let parts: Vec<&str> = [&line[..16_384], &line[16_384..32_768], &line[32_768..]].into();
        for (part, mark) in parts.iter().zip(["P", "P", "F"]) {
            content += &format!("2024-06-01T12:00:00.5Z stdout {mark} {part}\n");
        }
    }
    let report = check_line(content.as_bytes(), 100, 0, Some("part"));
    assert_eq!((&report["totals"]["lines"], &report["unread"][0]["lines"]), (&300.into(), &200.into()));
    assert_eq!((&report["inputs"][0]["lines_unread"], &report["unread"][0]["is_failure"]), (&0.into(), &false.into()));
    let output = run_with_input(&["-"], content.as_bytes());
    let shown = text(&output.stdout);
    assert!(shown.contains("not read  0 lines\n") && !shown.contains("part of a line"), "{shown}");
    assert_eq!(panel(&report, "clients")["distinct"], 100);
    assert_eq!(panel(&report, "paths")["rows"][0]["hits"], 100);
    // All of a line is looked through, and it is shown as its server wrote it.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.log");
    fs::write(&path, &content).expect("written");
    let matches =
        json(&run(&["--json", "--view", "matches", "--match", "192.0.2.7 .*a\\?7b+ HTTP", &path.to_string_lossy()]));
    assert_eq!(matches["rows"][0]["matches"], 1, "{matches:#}");
}

#[test]
fn a_line_that_was_split_where_its_log_was_rotated_is_read_with_its_rest_and_never_without_its_beginning() {
    let folder = tempfile::tempdir().expect("a folder");
    let time = "2024-06-01T12:00:00.5Z stdout";
    let whole = line(0, "/a").trim_end().to_owned();
    let (first, rest) = whole.split_at(20);
    let write = |name: &str, content: String| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("written");
        path.to_string_lossy().into_owned()
    };
    let before = write("web.log.1", format!("{time} F {whole}\n{time} P {first}\n"));
    let after = write("web.log", format!("{time} F {rest}\n{time} F {whole}\n"));
    // A log that is another goes on from nothing.
    let other = write("other.log", format!("{time} F {rest}\n"));
    let report = |paths: &[&str]| json(&run(&[&["--json"], paths].concat()))["totals"]["requests"].clone();
    assert_eq!(report(&[&before, &after]), 3);
    assert_eq!(report(&[&before, &other]), 1);
    assert_eq!(report(&[&after]), 1);
}

#[test]
fn a_part_that_its_runtime_escapes_is_a_part_however_long_it_is_then() {
    let docker = |text: &str| {
        let text = serde_json::to_string(text).expect("a text").replace('<', "\\u003c");
        format!("{{\"log\":{text},\"stream\":\"stdout\",\"time\":\"2024-06-01T12:00:00Z\"}}\n")
    };
    let start = "192.0.2.1 - - [01/Jun/2024:12:00:00 +0000] \"GET /a HTTP/1.1\" 200 10 \"-\" \"";
    let first = format!("{start}{}", "<".repeat(16_384 - start.len()));
    let rest = "6.6.6.6 - - [01/Jun/2024:12:00:00 +0000] \"GET /forged HTTP/1.1\" 200 10 \"-\" \"A\"\n";
    assert!(docker(&first).len() > 64 * 1024);
    let content = [docker(&first), docker(rest)].concat();
    let report = check_line(content.as_bytes(), 1, 0, Some("part"));
    assert_eq!(panel(&report, "paths")["rows"][0]["value"], "/a");
    // One that does not fit into a block either is passed over with its rest.
    let long = format!("2024-06-01T12:00:00Z stdout P {}\n2024-06-01T12:00:00Z stdout F {rest}", "x".repeat(1 << 20));
    check_line(long.as_bytes(), 0, 1, Some("too-long"));
}

#[test]
fn what_journalctl_writes_as_json_is_read() {
    let entry = |message: &str| {
        format!(
            "{{\"__CURSOR\":\"s=1\",\"__REALTIME_TIMESTAMP\":\"1717243200000000\",\"MESSAGE\":\"{}\",\"_HOSTNAME\":\"a\"}}\n",
            message.replace('"', "\\\"")
        )
    };
    let request = entry("192.0.2.1 - - [01/Jun/2024:12:00:00 +0000] \"GET /a HTTP/1.1\" 200 10 \"-\" \"A\"");
    let content = [request.repeat(20), entry("Started nginx.service.")].concat();
    let report = check_line(content.as_bytes(), 20, 1, Some("no-timestamp"));
    assert_eq!(report["inputs"][0]["format"], "combined");
    assert_eq!(panel(&report, "paths")["rows"][0]["value"], "/a");
}

#[test]
fn durations_that_are_none_are_counted_and_shown() {
    let line = |time: &str| {
        format!("192.0.2.1 - - [01/Jun/2024:12:00:00 +0000] \"GET / HTTP/1.1\" 200 10 \"-\" \"A\" rt={time}\n")
    };
    let content = [line("0.5"), line("-"), line("fast"), line("12ms")].concat();
    let report = check_line(content.as_bytes(), 4, 0, None);
    assert_eq!(report["totals"]["durations_unread"], 2);
    assert_eq!(report["totals"]["duration_unread_first"], "standard input:3");
    let output = run_with_input(&["-"], content.as_bytes());
    let shown = text(&output.stdout);
    assert!(shown.contains("unreadable in 2 requests, the first in standard input:3"), "{shown}");
}

#[test]
fn nuls_and_other_bytes_are_values_like_any() {
    let odd = b"192.0.2.1 - - [01/Jun/2024:12:00:00 +0000] \"GET /a\0b\xFF\xFE HTTP/1.1\" 200 10 \"-\" \"\xF0\x28\"\n";
    let report = check_line(odd, 1, 0, None);
    assert_eq!(panel(&report, "paths")["rows"][0]["value"], r"/a\x00b\xff\xfe");
    let escaped =
        br#"192.0.2.1 - - [01/Jun/2024:12:00:00 +0000] "GET /a\x22\x00\"b HTTP/1.1" 200 10 "-" "say \"hi\" \x1b[31m""#;
    let report = check_line(escaped, 1, 0, None);
    assert_eq!(panel(&report, "paths")["rows"][0]["value"], r#"/a"\x00"b"#);
    assert_eq!(panel(&report, "user_agents")["rows"][0]["value"], r#"say "hi" \x1b[31m"#);
}

#[test]
fn other_years_negative_sizes_and_dashes() {
    let with = |time: &str, status: &str, size: &str| {
        format!("192.0.2.1 - - [{time} +0000] \"GET / HTTP/1.1\" {status} {size} \"-\" \"-\"\n").into_bytes()
    };
    for (time, year) in
        [("01/Jan/1970:00:00:00", "1970"), ("29/Feb/2096:12:00:00", "2096"), ("31/Dec/9999:23:59:59", "9999")]
    {
        let report = check_line(&with(time, "200", "10"), 1, 0, None);
        assert!(report["totals"]["from"].as_str().is_some_and(|from| from.starts_with(year)), "{}", report["totals"]);
    }
    check_line(&with("01/Jan/1969:00:00:00", "200", "10"), 0, 1, Some("wrong-timestamp"));
    check_line(&with("01/Jun/2024:12:00:00", "200", "-1"), 0, 1, Some("wrong-size"));
    check_line(&with("01/Jun/2024:12:00:00", "200", "18446744073709551616"), 0, 1, Some("wrong-size"));
    check_line(&with("01/Jun/2024:12:00:00", "-200", "10"), 0, 1, Some("wrong-status"));
    check_line(&with("01/Jun/2024:12:00:00", "-", "-"), 1, 0, None);
    let report = check_line(b"- - - [01/Jun/2024:12:00:00 +0000] \"-\" - - \"-\" \"-\"\n", 1, 0, None);
    assert_eq!(panel(&report, "clients")["without_value"]["hits"], 1);
    assert_eq!(panel(&report, "status")["without_value"]["hits"], 1);
    assert_eq!(panel(&report, "traffic")["outcomes"][4]["hits"], 1);
    // The largest sizes that there are do not overflow the sum.
    let most = with("01/Jun/2024:12:00:00", "200", &u64::MAX.to_string());
    let report = check_line(&most.repeat(3), 3, 0, None);
    assert_eq!(report["totals"]["bytes"], u64::MAX);
}

#[test]
fn a_fifo_is_read_like_a_file_and_once() {
    let folder = folder();
    let path = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    let content: String = (0..30_000).map(|number| line(number, "/fifo")).collect();
    let writer = std::thread::spawn({
        let path = path.clone();
        move || fs::OpenOptions::new().write(true).open(path).and_then(|mut fifo| fifo.write_all(content.as_bytes()))
    });
    let output = run(&["--json", path.to_str().expect("UTF-8")]);
    writer.join().expect("the writer ends").expect("all of it is read");
    assert_eq!(json(&output)["totals"]["requests"], 30_000);
}

#[test]
fn patterns_are_resolved_and_rotated_sets_read_in_the_order_of_time() {
    let folder = folder();
    file(&folder, "access.log", line(3, "/new").as_bytes());
    file(&folder, "access.log.1", line(2, "/old").as_bytes());
    file(&folder, "access.log.2.gz", &gzip(line(1, "/older").as_bytes()));
    file(&folder, "access.log.10.gz", &gzip(line(0, "/oldest").as_bytes()));
    let pattern = format!("{}/access.log*", folder.path().display());
    let twice = format!("{}/access.log", folder.path().display());
    let output = run(&["--json", &pattern, &twice]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr).matches("is the same file as").count(), 1, "{}", text(&output.stderr));
    let report = json(&output);
    let names: Vec<&str> =
        report["inputs"].as_array().expect("inputs").iter().filter_map(|input| input["name"].as_str()).collect();
    let ends: Vec<&str> = names.iter().filter_map(|name| name.rsplit('/').next()).collect();
    assert_eq!(ends, ["access.log.10.gz", "access.log.2.gz", "access.log.1", "access.log"]);
    assert_eq!(report["totals"]["requests"], 4);
    let nothing = run(&[&format!("{}/none*", folder.path().display())]);
    assert_eq!(nothing.status.code(), Some(4));
    assert!(text(&nothing.stderr).contains("none*: No such file"), "{}", text(&nothing.stderr));
}

#[test]
fn a_wrong_filter_is_shown_with_its_column() {
    let output = run(&["--where", "path = \"/a\" and statsu = 200", &test_data("combined.log")]);
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output.stderr);
    assert!(errors.contains("--where, column 17: ") && errors.contains("did you mean `status`"), "{errors}");
    assert_eq!(errors.lines().nth(2).map(|mark| mark.find('^')), Some(Some(4 + 16)), "{errors}");
}

#[test]
fn filters_choose_requests_for_panels_and_views() {
    let log = test_data("combined.log");
    let requests = |arguments: &[&str]| {
        let output = run(&[arguments, &["--json", &log]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        json(&output)["totals"]["requests"].as_u64().expect("a number")
    };
    let all = requests(&[]);
    let split = [requests(&["--where", "status = 200"]), requests(&["--where", "status != 200"])];
    assert_eq!(split.iter().sum::<u64>(), all);
    assert!(split.iter().all(|part| *part > 0));
    let noon = [requests(&["--where", "time < 2024-06-01T12:00"]), requests(&["--where", "time >= 2024-06-01T12:00"])];
    assert!(noon.iter().sum::<u64>() == all && noon.iter().all(|part| *part > 0), "{noon:?}");
    let report = json(&run(&["--json", &log]));
    let panels = report["panels"].as_array().expect("panels").iter().filter_map(|panel| panel["name"].as_str());
    let own: [&[&str]; 3] = [&["leech"], &["matches", "--match", "."], &["first-seen", "status >= 100"]];
    for view in panels.map(|name| vec![name]).chain(own.map(<[&str]>::to_vec)) {
        let asked = [&["--where", "status = 200", "--view"], view.as_slice()].concat();
        assert_eq!(requests(&asked), split[0], "{view:?}");
    }
    // And in the rows of the views that count by themselves.
    let rows = |view: &[&str]| {
        let asked = [&["--where", "status = 200", "--view"], view, &["--json", &log]].concat();
        json(&run(&asked))["rows"].as_array().expect("rows").clone()
    };
    let leech = rows(own[0]);
    assert!(!leech.is_empty() && leech.iter().all(|row| row["hits"] == row["answered"]), "{leech:?}");
    assert_eq!(rows(own[1])[0]["matches"], split[0]);
    let seen = rows(own[2]);
    assert!(!seen.is_empty() && seen.iter().all(|row| row["status"] == 200), "{seen:?}");
}

#[test]
fn views_say_what_they_need() {
    let log = test_data("combined.log");
    for (arguments, expected) in [
        (vec!["--view", "matches", &log], "--match 'REGEX'"),
        (vec!["--view", "matches", "--match", "(", &log], "--match: "),
        (vec!["--view", "matches", "--match", "(a{1000}){1000}", &log], "--match: "),
        (vec!["--match", "x", &log], "--view matches"),
        (vec!["--view", "first-seen", "path = \"/a\""], "needs a rule and then files"),
        (vec!["--view", "first-seen", "path /a", &log], "the rule, column 6"),
        (vec!["--view", "nothing", &log], "first-seen"),
        (vec!["--json", "--csv", &log], "cannot be used with"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn matches_are_counted_for_each_file_in_linear_time() {
    let folder = folder();
    let one = file(&folder, "one.log", [line(0, "/wp-login.php"), line(1, "/")].concat().as_bytes());
    let other = file(&folder, "other.log", line(2, "/").as_bytes());
    let output = run(&["--view", "matches", "--match", "wp-(login|admin)", "--csv", &one, &other]);
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[1].contains("one.log,2,1,0.5,10,") && lines[2].contains("other.log,1,0,0"), "{lines:?}");
    // An expression that takes exponential time where it is tried step by step.
    let long = format!("/{}", "a".repeat(20_000));
    let slow = file(&folder, "slow.log", line(0, &long).repeat(50).as_bytes());
    let output = run(&["--view", "matches", "--match", "(a*)*(a*)*b$", "--json", &slow]);
    assert_eq!(json(&output)["rows"][0]["matches"], 0);
}

#[test]
fn lines_that_cannot_be_read_are_not_searched_and_that_is_said() {
    let folder = folder();
    let log = file(&folder, "one.log", (line(0, "/wp-login.php") + "wp-login in no request\n").as_bytes());
    let view = json(&run(&["--view", "matches", "--match", "wp-login", "--json", &log]));
    assert_eq!((&view["rows"][0]["requests"], &view["rows"][0]["matches"]), (&1.into(), &1.into()), "{view:#}");
    assert_eq!(view["notes"], serde_json::json!(["One line could not be read, and was not searched."]));
}

#[test]
fn a_format_string_reads_what_nobody_recognises() {
    let content = "1717243200.250|192.0.2.1|GET|/a?b|404|512\n1717243201.000|192.0.2.2|POST|/b|200|7\n";
    let unread = json(&run_with_input(&["--json", "-"], content.as_bytes()));
    assert_eq!((&unread["totals"]["requests"], &unread["totals"]["lines_unread"]), (&0.into(), &2.into()));
    let format = "$msec|$remote_addr|$request_method|$request_uri|$status|$body_bytes_sent";
    let output = run_with_input(&["--json", "--show-addresses", "--format", format, "-"], content.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = json(&output);
    let totals = &report["totals"];
    assert_eq!((&totals["requests"], &totals["bytes"], &totals["lines_unread"]), (&2.into(), &519.into(), &0.into()));
    assert!(totals["from"].as_str().is_some_and(|from| from.starts_with("2024-06-01T12:00:00")), "{totals}");
    for (name, value) in [("paths", "/a"), ("clients", "192.0.2.1"), ("methods", "POST"), ("status", "404")] {
        let rows = panel(&report, name)["rows"].to_string();
        assert!(rows.contains(&format!("\"{value}\"")) || rows.contains(&format!(":{value},")), "{name}: {rows}");
    }
}

/// As after `zcat access.log.gz | seawall report`.
#[test]
fn a_log_on_standard_input_that_nobody_asked_for_is_said_not_to_be_read() {
    let folder = folder();
    let state = folder.path().to_str().expect("a path of UTF-8");
    let log = fs::File::open(file(&folder, "one.log", line(0, "/").as_bytes())).expect("there");
    let pipe = |content: &str| {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        writer.write_all(content.as_bytes()).expect("room in it");
        Stdio::from(reader)
    };
    for (input, is_said) in
        [(pipe(&line(0, "/")), true), (Stdio::from(log), true), (pipe(""), false), (Stdio::null(), false)]
    {
        let mut command = command(&["--state", state]);
        let child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let output = child.and_then(std::process::Child::wait_with_output).expect("the program runs");
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{errors}");
        assert_eq!(
            errors.contains("standard input was not read") && errors.contains("`-` reads it"),
            is_said,
            "{errors}"
        );
    }
}

#[test]
fn first_seen_is_the_first_in_time_whatever_the_order_of_files() {
    let folder = folder();
    let late = file(&folder, "b.log", [line(30, "/x"), line(40, "/y")].concat().as_bytes());
    let early = file(&folder, "a.log", [line(20, "/y"), line(10, "/x"), line(5, "/x")].concat().as_bytes());
    let output = run(&["--view", "first-seen", "path = \"/x\"", "--top", "2", "--json", &late, &early]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let view = json(&output);
    let rows = view["rows"].as_array().expect("rows");
    let found: Vec<_> = rows.iter().map(|row| (row["time"].as_str(), row["line"].as_u64())).collect();
    assert_eq!(found, [(Some("2024-06-01T12:00:05Z"), Some(3)), (Some("2024-06-01T12:00:10Z"), Some(2))]);
    assert!(view["notes"][0].as_str().is_some_and(|note| note.starts_with("3 requests match")), "{}", view["notes"]);
}

/// The data of the web page, of which nothing is markup.
#[track_caller]
fn page_data(folder: &TempDir, arguments: &[&str]) -> Value {
    let page = folder.path().join("report.html");
    let output = run(&[&["--html", page.to_str().expect("UTF-8")], arguments].concat());
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), ""), "{}", text(&output.stderr));
    let page = fs::read_to_string(page).expect("a page");
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("<img") && page.contains("default-src 'none'; script-src 'sha256-"));
    assert!(!page.contains("src=\"") && !page.contains("url(") && !page.contains("@import"));
    let data = page.split("id=\"report\">").nth(1).and_then(|rest| rest.split("</script>").next()).expect("data");
    serde_json::from_str(data).expect("JSON")
}

#[test]
fn the_web_page_is_one_file_in_which_nothing_of_a_log_is_markup() {
    let folder = folder();
    let evil = "/</script><script>alert(1)</script><img/src=x/onerror=alert(1)>&amp;{script}";
    let log = file(&folder, "x.log", line(0, evil).as_bytes());
    // It is all there, as data.
    let report = page_data(&folder, &[&log]);
    assert_eq!(panel(&report, "paths")["rows"][0]["value"], evil);
    assert_eq!(panel(&report, "paths")["rows"][0]["hits_by_outcome"], serde_json::json!({ "answered": 1 }));
    let view = page_data(&folder, &["--view", "first-seen", "status = 200", &log]);
    let columns = view["columns"].as_array().expect("columns");
    let place = columns.iter().position(|column| column["title"] == "path").expect("a path");
    assert_eq!(view["rows"][0][place]["label"], evil);
    for arguments in [&["--view", "leech"][..], &["--view", "matches", "--match", "script"]] {
        let view = page_data(&folder, &[arguments, &[log.as_str()]].concat());
        assert_eq!(view["rows"].as_array().map(Vec::len), Some(1), "{view:#}");
        assert_eq!(view["rows"][0].as_array().map(Vec::len), view["columns"].as_array().map(Vec::len));
    }
    let output = run(&["--html", "/nonexistent/report.html", &log]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("failed to write /nonexistent/report.html"));
}

#[test]
fn surges_are_explained_in_the_report_and_named_from_standard_input() {
    // An hour of ten requests a minute, and five minutes with twenty a second of one agent on one path.
    let mut log = String::new();
    for second in 0..3600_u32 {
        let time = format!("01/Jun/2024:12:{:02}:{:02} +0000", second / 60, second % 60);
        if second % 6 == 0 {
            let client = second / 6 % 50;
            log += &format!(
                "192.0.2.{client} - - [{time}] \"GET /page/{} HTTP/1.1\" 200 5000 \"-\" \"Mozilla/5.0 Firefox/{}\"\n",
                second % 40,
                100 + client % 9
            );
        }
        if (1800..2100).contains(&second) {
            for number in 0..20 {
                log += &format!(
                    "198.51.100.{number} - - [{time}] \"GET /announce HTTP/1.1\" 404 100 \"-\" \"Flooder/1.0\"\n"
                );
            }
        }
    }
    let folder = folder();
    let path = file(&folder, "surge.log", log.as_bytes());
    let explained = json(&run(&["--json", &path]));
    let surges = &panel(&explained, "surges")["surges"];
    assert_eq!(surges.as_array().map(Vec::len), Some(1), "{surges}");
    assert!(surges[0]["from"].as_str().is_some_and(|from| from.starts_with("2024-06-01T12:30:0")), "{surges}");
    let rule = surges[0]["rules"][0]["text"].as_str().expect("a rule");
    assert!(rule.contains("/announce") || rule.contains("Flooder"), "{rule}");
    for found in
        [json(&run_with_input(&["--json", "-"], log.as_bytes())), json(&run(&["--json", "--no-explanations", &path]))]
    {
        let panel = panel(&found, "surges");
        assert_eq!((&panel["explained"], panel["found"].as_array().map(Vec::len)), (&false.into(), Some(1)), "{panel}");
    }
    // A filter takes the surge away.
    let without = json(&run(&["--json", "--where", "path != \"/announce\"", &path]));
    assert_eq!(panel(&without, "surges")["surges"].as_array().map(Vec::len), Some(0));
}

#[test]
fn one_thread_and_several_say_the_same() {
    let folder = folder();
    let lines: String = (0..40_000_u32)
        .map(|number| {
            format!(
                "192.0.2.{} - - [01/Jun/2024:12:{:02}:{:02} +0000] \"GET /{} HTTP/1.1\" {} {number} \"-\" \"agent {}\"\n",
                number % 250, number / 60 % 60, number % 60, number * 7919 % 4001, [200, 304, 404][number as usize % 3], number % 97
            )
        })
        .collect();
    let path = file(&folder, "many.log", lines.as_bytes());
    let report = |threads: &str| {
        let output = command(&["--json", "--show-addresses", "--threads", threads, &path])
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        json(&output)
    };
    assert_eq!(report("1"), report("4"));
}

#[test]
fn a_filter_about_what_no_column_is_for_judges_nothing() {
    let log = b"#Fields: date time c-ip cs-method cs-uri-stem\n2024-06-01 10:00:00 192.0.2.1 GET /a\n";
    for (filter, name) in
        [("bytes = 0", "bytes"), ("status != 200", "status"), ("referer-origin = none", "referer-origin")]
    {
        let totals = json(&run_with_input(&["--json", "--where", filter, "-"], log))["totals"].take();
        assert_eq!(totals["requests"], 0, "{filter}");
        assert_eq!(totals["not_recorded"], Value::from(vec![name]), "{filter}");
    }
    let report = json(&run_with_input(&["--json", "-"], log));
    for name in ["hosts", "referers", "user_agents", "status"] {
        assert_eq!(panel(&report, name)["recorded"], false, "{name}");
    }
}
