//! `seawall explain`, from outside, on logs that are made up from a seed.

mod advice;

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36",
    "FeedReader/2.1",
];

/// A log of two hours on 1 June 2024, from noon, that is written line by line.
struct Log {
    lines: Vec<(u32, String)>,
    random: u64,
}

impl Log {
    /// Ordinary visitors: pages with their parts, from a few hundred clients.
    fn ordinary() -> Self {
        let mut log = Self { lines: Vec::new(), random: 7 };
        for second in 0..7200 {
            if log.below(3) > 0 {
                continue;
            }
            let client = log.below(400);
            let (address, agent) = (format!("198.51.{}.{}", 100 + client / 250, client % 250), AGENTS[client % 6]);
            let page = format!("GET /blog/{}.html", log.below(40));
            log.line(second, &address, &page, 200, agent);
            for part in 0..2 + log.below(5) {
                let part =
                    if part == 0 { "GET /style.css".to_owned() } else { format!("GET /img/{}.png", log.below(60)) };
                log.line(second + 1, &address, &part, 200, agent);
            }
        }
        log
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.random >> 33) % bound as u64) as usize
    }

    fn line(&mut self, second: u32, address: &str, request: &str, status: u16, agent: &str) {
        self.line_from(second, address, request, status, "-", agent);
    }

    fn line_from(&mut self, second: u32, address: &str, request: &str, status: u16, referer: &str, agent: &str) {
        let time = format!("{:02}:{:02}:{:02}", 12 + second / 3600, second / 60 % 60, second % 60);
        let line = format!(
            "{address} - - [01/Jun/2024:{time} +0000] \"{request} HTTP/1.1\" {status} 4000 \"{referer}\" \"{agent}\"\n"
        );
        self.lines.push((second, line));
    }

    fn text(mut self) -> String {
        self.lines.sort_by_key(|(second, _)| *second);
        self.lines.into_iter().map(|(_, line)| line).collect()
    }
}

/// Runs the command on one log, in a folder of its own.
fn run(log: &str, arguments: &[&str]) -> (Output, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("access.log"), log).expect("room for a log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.args([&["explain"], arguments, &["access.log"]].concat()).current_dir(folder.path());
    (command.env_remove("COLUMNS").output().expect("the program runs"), folder)
}

#[track_caller]
fn json(log: &str) -> Value {
    let (output, _folder) = run(log, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the output is one JSON object")
}

/// The only surge of a log, which is explained by this one rule.
#[track_caller]
fn explained(log: &str, rule: &str) -> Value {
    let found = json(log);
    let surges = found["surges"].as_array().expect("a list");
    assert_eq!(surges.len(), 1, "{found:#}");
    let surge = surges[0].clone();
    assert_eq!(surge["verdict"], "explained", "{surge:#}");
    let rules = surge["rules"].as_array().expect("a list");
    assert_eq!(rules.len(), 1, "{surge:#}");
    assert_eq!(rules[0]["text"], rule, "{surge:#}");
    surge
}

/// Twenty addresses, a minute each.
fn turns() -> String {
    let mut log = Log::ordinary();
    for number in 0..20 * 60 * 8_u32 {
        let (second, path) = (3600 + number / 8, log.below(500));
        let address = format!("203.0.113.{}", number / 480);
        log.line(second, &address, &format!("GET /{path}.php"), 404, "zgrab/0.x");
    }
    log.text()
}

#[test]
fn addresses_that_take_turns_with_one_agent_are_named_by_the_agent() {
    let surge = explained(&turns(), "user-agent = \"zgrab/0.x\"");
    let rule = &surge["rules"][0];
    assert_eq!(rule["requests"], 9600);
    assert_eq!(rule["outside"], 0);
    assert_eq!(rule["clients"], 20);
    assert_eq!(surge["from"], "2024-06-01T13:00:00Z");
    assert_eq!(surge["until"], "2024-06-01T13:20:00Z");
    assert!(rule["collateral_upper"].as_f64().expect("a number") < 0.01);
}

#[test]
fn one_address_with_an_agent_of_others_is_named_by_the_address() {
    let mut log = Log::ordinary();
    for number in 0..6000 {
        let page = format!("GET /blog/{}.html", log.below(40));
        log.line(4000 + number / 10, "203.0.113.77", &page, 200, AGENTS[0]);
    }
    let surge = explained(&log.text(), "client-prefix = (an IPv4 /32)");
    assert_eq!(surge["rules"][0]["clients"], 1);
    assert!(!surge.to_string().contains("203.0.113"), "no address without being asked: {surge:#}");
}

#[test]
fn the_first_try_before_a_surge_is_told() {
    let mut log = Log::ordinary();
    for number in 0..3 {
        // Written as some servers write it, or byte for byte.
        let agent = if number == 1 { r"Surge\x2f1.0" } else { "Surge/1.0" };
        log.line(900 + 60 * number, "203.0.113.9", "GET /login.php", 404, agent);
    }
    for number in 0..6000 {
        let address = format!("203.0.{}.{}", 113 + number % 8, number % 250);
        log.line(5400 + number / 20, &address, "GET /login.php", 404, "Surge/1.0");
    }
    let log = log.text();
    let (output, _folder) = run(&log, &["--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("the output is one JSON object");
    let rule = &found["surges"][0]["rules"][0];
    assert_eq!((&rule["first_before"], &rule["before"]), (&"2024-06-01T12:15:00Z".into(), &3.into()), "{found:#}");
    let (output, _folder) = run(&log, &[]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("12:15"), "{shown}");
}

/// A week, in whose last three days many addresses with one agent ask around the clock, as often as `awake` has it by the hour of UTC.
fn week(awake: impl Fn(u32) -> u32) -> String {
    let mut log = Log::ordinary();
    let mut text = String::new();
    for hour in 0..7 * 24 {
        let time = |second: u32| {
            format!("{:02}/Jun/2024:{:02}:{:02}:{:02} +0000", 1 + hour / 24, hour % 24, second / 60, second % 60)
        };
        let asked = if hour < 4 * 24 { 0 } else { awake(hour % 24) };
        for second in 0..3600 {
            if second % 20 == 0 {
                let client = log.below(400);
                let (page, agent) = (log.below(40), AGENTS[client % 6]);
                for path in [format!("/blog/{page}.html"), "/style.css".to_owned()] {
                    let at = time(second);
                    let address = format!("198.51.{}.{}", 100 + client / 250, client % 250);
                    writeln!(text, "{address} - - [{at}] \"GET {path} HTTP/1.1\" 200 4000 \"-\" \"{agent}\"")
                        .expect("room");
                }
            }
            for _ in 0..(second + 1) * asked / 3600 - second * asked / 3600 {
                let (network, host, at) = (log.below(200), log.below(250), time(second));
                let address = format!("203.{network}.113.{host}");
                writeln!(text, "{address} - - [{at}] \"GET /login.php HTTP/1.1\" 404 400 \"-\" \"Surge/1.0\"")
                    .expect("room");
            }
        }
    }
    text
}

#[test]
fn where_the_senders_sleep_is_told_and_how_sure_that_is() {
    // Fewest are awake at four in the morning of UTC+8.
    let people = week(|hour| {
        let angle = (f64::from(hour) - 20.0) / 24.0 * std::f64::consts::TAU;
        (600.0 - 500.0 * angle.cos()) as u32
    });
    for (log, offset) in [(people, Value::from(8)), (week(|_| 900), Value::Null)] {
        let found = json(&log);
        let zone = &found["surges"][0]["rules"][0]["time_zone"];
        assert_eq!(zone["offset_hours"], offset, "{found:#}");
        assert!(zone["confidence"].as_f64().is_some_and(|sure| sure > 0.8), "{found:#}");
    }
}

/// A log with a flood of announcements that the wrong host name brings, each line with the host it was for.
fn announced() -> String {
    let mut log = Log::ordinary();
    for number in 0..9000 {
        let address = format!("203.0.{}.{}", number % 100, number % 250);
        let announcement = format!("GET /announce?info_hash={number}");
        log.line(4000 + number / 30, &address, &announcement, 404, AGENTS[number as usize % 6]);
    }
    let host = |line: &str| if line.contains("/announce") { "tracker.example.net" } else { "example.org" };
    log.text().lines().map(|line| format!("{}:80 {line}\n", host(line))).collect()
}

#[test]
fn what_is_for_hosts_of_others_is_misdirected_where_the_configuration_says_which_are_yours() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("access.log"), announced()).expect("room for a log");
    let shapes = |hosts: &str| {
        let config = format!("listen = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"{hosts}\"]\norigin = \"clock\"\n");
        fs::write(folder.path().join("seawall.toml"), config).expect("room for a configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command.args(["explain", "--json", "--config", "seawall.toml", "access.log"]).current_dir(folder.path());
        let output = command.output().expect("the program runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).expect("the output is one JSON object");
        found["surges"][0]["shapes"].to_string()
    };
    assert!(shapes("example.org").contains("misdirected"), "{}", shapes("example.org"));
    assert!(!shapes("tracker.example.net").contains("misdirected"), "the flood is for his host");
    assert!(!shapes("*").contains("misdirected"), "every host is his");
}

#[test]
fn an_ordinary_log_has_no_surge_and_says_so() {
    let (output, _folder) = run(&Log::ordinary().text(), &[]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(shown.contains("No surge: there is no time with much more than is usual"), "{shown}");
}

#[test]
fn what_comes_at_the_same_hour_on_many_days_is_no_surge_and_is_named() {
    let mut log = String::new();
    for minute in 0..5 * 1440 {
        let (day, hour) = (minute / 1440 + 1, minute / 60 % 24);
        let is_flooded = day > 1 && hour == 3 && minute % 60 < 10;
        for number in 0..if is_flooded { 400 } else { 4 } {
            let (second, agent) = (number * 7 % 60, AGENTS[number % 6]);
            let time = format!("{day:02}/Jun/2024:{hour:02}:{:02}:{second:02} +0000", minute % 60);
            let client = (minute * 7 + number) % 200;
            writeln!(log, r#"198.51.100.{client} - - [{time}] "GET /page/{number} HTTP/1.1" 200 500 "-" "{agent}""#)
                .expect("a text");
        }
    }
    let (output, _folder) = run(&log, &[]);
    let shown = String::from_utf8_lossy(&output.stdout);
    for said in [
        "No surge",
        "03:00 to 04:00 UTC on about half of the days",
        "up to 400 in 1 min, where the median hour has up to 4",
        "one such day",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let (output, _folder) = run(&log, &["--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("the output is one JSON object");
    let habit = &found["habits"][0];
    assert_eq!((&habit["from_hour"], &habit["until_hour"], &habit["cost"]), (&3.into(), &4.into(), &"requests".into()));
    assert_eq!((&habit["seconds"], &habit["peak"], &habit["elsewhere"]), (&60.into(), &400.0.into(), &4.0.into()));
}

#[test]
fn readers_of_a_link_are_a_crowd() {
    let mut log = Log::ordinary();
    for number in 0..1500_u32 {
        let (second, agent) = (4000 + number / 3, AGENTS[log.below(5)]);
        let address = format!("192.0.{}.{}", number / 250, number % 250);
        log.line(second, &address, "GET /blog/7.html", 200, agent);
        for part in ["GET /style.css", "GET /img/1.png", "GET /img/2.png"] {
            log.line(second + 1, &address, part, 200, agent);
        }
    }
    let found = json(&log.text());
    assert_eq!(found["surges"][0]["verdict"], "crowd", "{found:#}");
    assert_eq!(found["surges"][0]["rules"].as_array().map(Vec::len), Some(0));
}

#[test]
fn its_rules_are_read_by_backtest() {
    let (output, folder) = run(&turns(), &["--rules-out", "rules.txt"]);
    assert_eq!(output.status.code(), Some(0));
    let mut backtest = Command::new(env!("CARGO_BIN_EXE_seawall"));
    backtest.args(["backtest", "--json", "--rules", "rules.txt", "access.log"]).current_dir(folder.path());
    let output = backtest.output().expect("the program runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let tried: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(tried["rules"][0]["requests"], 9600);
}

#[test]
fn where_nothing_can_be_read_no_surge_is_denied() {
    for (log, said) in
        [("", "No surge can be told: there are no lines."), ("rubbish\n", "no line could be read as a request")]
    {
        let (output, _) = run(log, &[]);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(0) && shown.contains(said), "{shown}");
    }
}

/// A flood that does all as visitors do, but with one of their agents.
fn common_agent() -> String {
    let mut log = Log::ordinary();
    for number in 0..6000 {
        let address = format!("{}.{}.{}.7", 20 + number % 180, number / 180 * 7, number % 250);
        let page = format!("GET /blog/{}.html", log.below(40));
        log.line(4000 + number / 20, &address, &page, 200, AGENTS[0]);
    }
    log.text()
}

/// Ten minutes of an office, whose people read pages with five agents from one address.
fn office() -> String {
    let mut log = Log::ordinary();
    for number in 0..800 {
        let (second, agent) = (4000 + number * 3 / 4, AGENTS[log.below(5)]);
        let page = format!("GET /blog/{}.html", log.below(40));
        log.line(second, "193.99.3.9", &page, 200, agent);
        for part in ["GET /style.css", "GET /img/1.png", "GET /img/2.png"] {
            log.line(second + 1, "193.99.3.9", part, 200, agent);
        }
    }
    log.text()
}

#[test]
fn what_it_writes_without_any_rule_that_is_advised_is_read_by_backtest_too() {
    for (log, why) in [
        (Log::ordinary().text(), "explain found no rule"),
        (office(), "explain found no rule"),
        (common_agent(), "each of its rules is one that explain advises against"),
    ] {
        let (output, folder) = run(&log, &["--rules-out", "rules.txt"]);
        assert_eq!(output.status.code(), Some(0));
        let mut backtest = Command::new(env!("CARGO_BIN_EXE_seawall"));
        backtest.args(["backtest", "--json", "--rules", "rules.txt", "access.log"]).current_dir(folder.path());
        let output = backtest.output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(0) && said.contains(why), "{said}");
        let tried: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(tried["rules"].as_array().map(Vec::len), Some(0));
        // One that somebody wrote is another matter.
        fs::write(folder.path().join("mine.txt"), "# nothing yet\n").expect("room");
        let mut backtest = Command::new(env!("CARGO_BIN_EXE_seawall"));
        backtest.args(["backtest", "--rules", "mine.txt", "access.log"]).current_dir(folder.path());
        assert_eq!(backtest.output().expect("the program runs").status.code(), Some(3));
    }
}

#[test]
fn a_short_log_says_that_it_is_and_advises_no_rule() {
    let log = turns();
    let short: Vec<&str> = log
        .lines()
        .filter(|line| {
            ["12:57", "12:58", "12:59", "13:00"].iter().any(|minute| line.contains(&format!("2024:{minute}")))
        })
        .collect();
    let found = json(&short.join("\n"));
    assert!(found["notes"].to_string().contains("The logs span 3 min 59 s"), "{found:#}");
    let surge = &found["surges"][0];
    assert_eq!(
        (&surge["verdict"], &surge["rules"][0]["text"]),
        (&"undecided".into(), &"user-agent = \"zgrab/0.x\"".into()),
        "{surge:#}"
    );
    assert!(surge["advice"].to_string().contains("Add earlier logs"), "{surge:#}");
}

#[test]
fn its_rules_replace_those_of_an_earlier_run_and_nothing_else() {
    let line = "192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 5\n";
    let (output, folder) = run(line, &["--rules-out", "rules.txt"]);
    assert_eq!(output.status.code(), Some(0));
    let live = folder.path().join("live.log");
    fs::write(&live, line).expect("room");
    for (target, code) in [("rules.txt", 0), ("live.log", 2), ("access.log", 2)] {
        let mut again = Command::new(env!("CARGO_BIN_EXE_seawall"));
        again.args(["explain", "--rules-out", target, "access.log"]).current_dir(folder.path());
        let output = again.output().expect("the program runs");
        assert_eq!(output.status.code(), Some(code), "{target}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(fs::read_to_string(&live).expect("it is there"), line);
    // A rule that somebody has added is his.
    let rules = folder.path().join("rules.txt");
    let added = fs::read_to_string(&rules).expect("they were written") + "mine: path = \"/keep\"\n";
    fs::write(&rules, &added).expect("room");
    let mut again = Command::new(env!("CARGO_BIN_EXE_seawall"));
    let output = again.args(["explain", "--rules-out", "rules.txt", "access.log"]).current_dir(folder.path()).output();
    let output = output.expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("rules.txt holds a rule that was not written by an earlier run") && said.contains("mine: "),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&rules).expect("it is there"), added);
}

#[test]
fn what_is_dated_wrong_foretells_nothing() {
    let mut log = Log::ordinary();
    for number in 0..3000_u32 {
        log.line(
            4000 + number / 10,
            &format!("203.0.{}.{}", number % 100, number % 250),
            "GET /wp-json",
            404,
            "Flood/1.0",
        );
    }
    // Of a clock that began anew.
    let wrong = r#"203.0.9.9 - - [01/Jan/1970:03:46:40 +0000] "GET /wp-json HTTP/1.1" 404 5 "-" "Flood/1.0""#;
    let (output, _folder) = run(&format!("{wrong}\n{}", log.text()), &["--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("the output is one JSON object");
    let rule = &found["surges"][0]["rules"][0];
    assert_eq!((&rule["requests"], &rule["beside"]), (&3000.into(), &0.into()), "{rule:#}");
    assert_eq!((&rule["first_before"], &rule["before"]), (&Value::Null, &0.into()), "{rule:#}");
}

#[test]
fn people_read_when_what_whom_and_what_to_do() {
    let (output, _folder) = run(&turns(), &[]);
    let shown = String::from_utf8_lossy(&output.stdout);
    for expected in [
        "Surge 1",
        "2024-06-01 13:00:00 to 2024-06-01 13:20:00 UTC (20 min)",
        "explained",
        "user-agent = \"zgrab/0.x\"",
        "9,600 requests",
        "20 clients, 480 each",
        "Refuse what the rules match.",
        "▇",
    ] {
        assert!(shown.contains(expected), "{expected} is missing:\n{shown}");
    }
}

/// A page fails for ten minutes; half of `clients` ask for it again every other second until it is back.
fn failing(clients: u32, asks_again: bool) -> String {
    let mut log = Log::ordinary();
    for second in 3600..4200 {
        for client in 0..clients {
            let once = second == 3600 + client * 7 % 600;
            if once || (asks_again && (second + client) % 2 == 0) {
                let agent = AGENTS[client as usize % 5];
                log.line(second, &format!("198.51.100.{client}"), "GET /shop/basket", 503, agent);
            }
        }
    }
    log.text()
}

#[test]
fn a_retry_storm_is_told() {
    let found = json(&failing(20, true));
    let shapes = found["surges"][0]["shapes"].to_string();
    assert!(shapes.contains("retry-storm"), "{found:#}");
    let (output, _folder) = run(&failing(20, true), &[]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in ["a retry storm: the site failed", "The site failed first: answer 503"] {
        assert!(told.contains(expected), "{expected} is missing:\n{shown}");
    }
    // Visitors who see the same error once each are none.
    assert!(!json(&failing(200, false)).to_string().contains("retry-storm"));
}

#[test]
fn a_log_that_lacks_one_thing_is_explained_by_the_others() {
    let log = turns();
    let without_addresses: String =
        log.lines().filter_map(|line| line.split_once(" - - ")).map(|(_, rest)| format!("- - - {rest}\n")).collect();
    let backwards: String = log.lines().rev().map(|line| format!("{line}\n")).collect();
    for (log, note) in [(without_addresses, "no addresses"), (backwards, "backwards")] {
        let surge = explained(&log, "user-agent = \"zgrab/0.x\"");
        assert_eq!(surge["rules"][0]["requests"], 9600);
        let notes = json(&log)["notes"].to_string();
        assert!(notes.contains(note), "{note}: {notes}");
    }
    // Twenty addresses that take turns have nothing but what they ask for.
    let without_agents: String = log
        .lines()
        .filter_map(|line| line.rsplit_once(" \"-\" "))
        .map(|(rest, _)| format!("{rest} \"-\" \"-\"\n"))
        .collect();
    let found = json(&without_agents);
    assert!(found["notes"].to_string().contains("no user agents"), "{found:#}");
    assert_eq!(
        (&found["surges"][0]["verdict"], found["surges"].as_array().map(Vec::len)),
        (&"explained".into(), Some(1)),
        "{found:#}"
    );
    assert!(found["surges"][0]["rules"][0]["text"].as_str().is_some_and(|rule| rule.contains("php")), "{found:#}");
}

#[test]
fn odd_logs_are_explained_as_far_as_they_go() {
    // Without addresses and agents, and backwards in time.
    let mut lines: Vec<String> = Vec::new();
    for (number, line) in turns().lines().enumerate() {
        let (_, rest) = line.split_once(" - - ").expect("a line of the log");
        let (request, _) = rest.rsplit_once(" \"-\" ").expect("a line of the log");
        let host = if number % 2 == 0 { "-" } else { "host.example" };
        lines.push(format!("{host} - - {request}"));
    }
    lines.reverse();
    let found = json(&lines.join("\n"));
    let notes = found["notes"].to_string();
    for expected in ["no addresses", "no user agents", "backwards"] {
        assert!(notes.contains(expected), "{expected}: {notes}");
    }
    assert_eq!(found["surges"].as_array().map(Vec::len), Some(1), "{found:#}");
    // Nothing, rubbish, and control characters.
    assert_eq!(json("")["surges"].as_array().map(Vec::len), Some(0));
    let mut rubbish = String::new();
    for number in 0..500 {
        writeln!(rubbish, "\u{1b}[2J rubbish {number} \0").expect("writing to a string");
    }
    let (output, _folder) = run(&rubbish, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(!output.stdout.contains(&0x1b), "no control character reaches the terminal");
}

#[test]
fn logs_of_the_same_time_do_not_run_backwards_and_a_wrong_date_does_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = Log::ordinary().text();
    for name in ["a.log", "b.log"] {
        fs::write(folder.path().join(name), &log).expect("room for a log");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    let output = command.args(["explain", "--json", "a.log", "b.log"]).current_dir(folder.path()).output();
    let found: Value = serde_json::from_slice(&output.expect("the program runs").stdout).expect("JSON");
    assert_eq!(found["notes"].to_string(), "[]");
    let line = log.lines().next().expect("a line").replace("2024", "2034");
    let notes = json(&format!("{line}\n{log}"))["notes"].to_string();
    assert!(notes.contains("at 1 line; it is counted"), "{notes}");
}

#[test]
fn lines_of_a_clock_that_was_wrong_hide_no_flood_and_are_told() {
    let log = turns();
    let wrong: String = log.lines().take(30).map(|line| line.replace("/2024:", "/1970:") + "\n").collect();
    let found = json(&(wrong + &log));
    assert_eq!(found["surges"][0]["verdict"], "explained", "{found:#}");
    let notes = found["notes"].to_string();
    assert!(notes.contains("30 requests are dated far from all others, between 1970-06-01 12:00"), "{notes}");
}

#[test]
fn what_cannot_be_read_is_said() {
    let (output, _folder) = run("", &["missing.log"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("missing.log"));
    let (output, _folder) = run("", &["-"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("read three times"));
}

/// Lines of at most so many characters, but where a word has more.
#[track_caller]
fn check_width(text: &str, columns: usize) {
    for line in text.lines() {
        let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
        assert!(line.chars().count() <= columns || longest + 13 > columns, "{line:?} in\n{text}");
    }
}

#[test]
fn it_keeps_to_the_width_of_the_terminal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("access.log"), turns()).expect("room for a log");
    for columns in [40, 60, 100] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
        command.args(["explain", "access.log"]).current_dir(folder.path()).env("COLUMNS", columns.to_string());
        let output = command.output().expect("the program runs");
        check_width(&String::from_utf8_lossy(&output.stdout), columns);
    }
}

/// Eleven floods, each with an agent of its own, in a day of a visitor every few seconds.
fn many_floods() -> String {
    let mut log = Log { lines: Vec::new(), random: 7 };
    for second in (0..43_200).step_by(4) {
        let client = log.below(400);
        let page = format!("GET /blog/{}.html", log.below(40));
        log.line(second, &format!("198.51.100.{}", client % 250), &page, 200, AGENTS[client % 6]);
    }
    for flood in 0..11 {
        for number in 0..2000 + flood * 100 {
            let address = format!("203.0.{flood}.{}", number % 250);
            log.line(3000 + flood * 3200 + number / 20, &address, "GET /x", 404, &format!("Flood{flood}/1"));
        }
    }
    log.text()
}

#[test]
fn surges_that_are_too_many_are_said_to_be_left_out() {
    let log = many_floods();
    let found = json(&log);
    assert_eq!(found["surges"].as_array().map(Vec::len), Some(8), "{found:#}");
    assert_eq!(found["left_out"].as_array().map(Vec::len), Some(3), "{found:#}");
    let (output, _folder) = run(&log, &[]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("3 surges more") && shown.contains("Further surges"), "{shown}");
}

#[test]
fn a_log_that_is_mostly_flood_says_what_stands_out() {
    let mut log = Log::ordinary();
    for second in 1200..7200 {
        for number in 0..4 {
            let address = format!("203.{}.{}.{number}", second % 200, second / 200);
            log.line(second, &address, "GET /announce?info_hash=x", 404, "uTorrent/3");
        }
    }
    let text = log.text();
    let found = json(&text);
    assert_eq!(found["surges"].as_array().map(Vec::len), Some(0), "{found:#}");
    assert_eq!(found["prevalent"][0]["text"], "user-agent = \"uTorrent/3\"", "{found:#}");
    assert_eq!(found["prevalent"][0]["requests"], 24_000);
    let (output, _folder) = run(&text, &[]);
    assert_eq!(output.status.code(), Some(0));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("stands out") && shown.contains("a flood that does is no surge"), "{shown}");
    // Two seconds of a log say nothing of what is usual.
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("2024:13:00:0")).collect();
    let (output, _folder) = run(&lines.join("\n"), &[]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("too little to say what is usual"), "{shown}");
}

#[test]
fn what_a_log_is_taken_for_is_said() {
    let (output, _folder) = run(&turns(), &["--format", "combined"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("as --format says"), "{shown}");
    // Its first lines are nothing at all.
    let (output, _folder) = run(&("rubbish\n".repeat(300) + &turns()), &[]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("mixed: combined in 9"), "{shown}");
}

/// Addresses in China, with agents and pages of everybody.
fn from_one_country() -> String {
    let mut log = Log::ordinary();
    for number in 0..9000_u32 {
        let (agent, page) = (AGENTS[log.below(5)], format!("GET /blog/{}.html", log.below(40)));
        let address =
            format!("{}.{}.{}.{}", [36, 58, 59, 60][log.below(4)], 16 + log.below(16), log.below(250), number % 250);
        log.line(4000 + number / 15, &address, &page, 200, agent);
    }
    log.text()
}

#[test]
fn rules_about_countries_and_systems_are_read_by_backtest() {
    let (output, folder) = run(&from_one_country(), &["--json", "--rules-out", "rules.txt"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rules = found["surges"][0]["rules"].as_array().expect("a list").clone();
    let is_about_networks =
        |rule: &Value| rule["text"].as_str().is_some_and(|text| text.contains("country") || text.contains("asn"));
    assert!(rules.iter().any(is_about_networks), "{found:#}");
    let mut backtest = Command::new(env!("CARGO_BIN_EXE_seawall"));
    backtest.args(["backtest", "--json", "--rules", "rules.txt", "access.log"]).current_dir(folder.path());
    let output = backtest.output().expect("the program runs");
    let tried: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for (rule, tried) in rules.iter().zip(tried["rules"].as_array().expect("a list")) {
        let all = ["requests", "outside", "beside", "own"].map(|part| rule[part].as_u64().expect("a count"));
        assert_eq!(tried["requests"].as_u64(), Some(all.iter().sum()), "{rule:#} {tried:#}");
    }
}

#[test]
fn what_can_be_read_only_once_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo starts").success());
    let explain = |arguments: &[&std::ffi::OsStr]| {
        Command::new(env!("CARGO_BIN_EXE_seawall")).arg("explain").args(arguments).output().expect("it starts")
    };
    let refused = explain(&[pipe.as_os_str()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("read three times"), "{refused:?}");
    let (log, rules_out) = (folder.path().join("a.log"), "--rules-out=-".as_ref());
    fs::write(&log, Log::ordinary().text()).expect("room");
    let refused = explain(&[rules_out, log.as_os_str()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("names no file"), "{refused:?}");
}
