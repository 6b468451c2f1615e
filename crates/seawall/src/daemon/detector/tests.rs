//! The detecting thread and the watching one with a clock that is set, so that an hour passes in a moment: log lines go in, and what
//! people are told comes out.

mod own;
mod vetoes;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::thread;

use seawall_engine::decision::{Action as RuleAction, OwnRule, Stage};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::config::{self, Environment};
use crate::daemon::watching::{Opened, Watching};
use crate::enforcement::Order;
use crate::host::clock::Clock;
use crate::source::proxy::settings::Settings;
use crate::source::watch::place::Place;
use crate::source::watch::{Next, Watch, Watching as Logs};

/// 2023-11-14 22:13:20
const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// How far the clock is set on at once: as often as the detecting thread asks.
const STEP: Duration = TICK_INTERVAL;

/// A guard beside a server, but for its threads.
struct Guard {
    hand: &'static AtomicU64,
    logs: Logs,
    detecting: Detecting,
    running: Running,
    log: PathBuf,
    folder: TempDir,
    /// What would go to threads that this guard does not have.
    inbox: record::Inbox,
    _orders: Receiver<Order>,
}

impl Guard {
    /// A guard that reads `logs`, a path or a pattern in its folder, with these settings beside the one who is told.
    fn start(logs: &str, settings: &str) -> Self {
        Self::start_with(logs, settings, KeptRules::default(), START)
    }

    /// The same at another time, with what the record has of the guard before.
    fn start_with(logs: &str, settings: &str, kept: KeptRules, at: Timestamp) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (log, state_path) = (folder.path().join("access.log"), folder.path().join("state"));
        let told = folder.path().join("told");
        let text = format!(
            "state-directory = {state_path:?}\n[[notify]]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> '{}'\"]\n{settings}",
            told.display()
        );
        let config = config::parse_in(&text, "test.toml", &Environment { beside: true, ..Environment::default() })
            .expect("a configuration");
        let (clock, hand) = Clock::set(at);
        let shared = Settings::new(&config, 1_000).expect("settings");
        let shared = Arc::new(Shared::new(shared, config.never_ban_set(), clock, 7));
        let path = folder.path().join(logs);
        let place = path.to_str().expect("UTF-8").parse::<Place>().expect("a place");
        let watch = Watch { places: vec![place], format: None, polls: true, from_start: true, copy: None };
        let state = StateDirectory::open(&config.state_directory).expect("a state directory");
        let Opened { sources, start, intake, queue, .. } =
            Watching::open(&shared, watch, &config.state_directory, 7).expect("a log");
        let intake = Arc::new(Intake::Logs(intake));
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::at_start(true, intake.sensors())));
        let notifications = Notifications::start(&config, clock, &snapshot).expect("a thread");
        let (record, inbox) = record::Record::new(clock, record::Measure::by(record::Situation::default));
        let (orders, received) = std::sync::mpsc::channel();
        let mut detecting = Detecting {
            shared,
            traffic: intake.traffic(),
            queues: vec![queue],
            snapshot,
            state,
            enforcement: Enforcement { orders, status: Arc::default(), hurry: Arc::default() },
            edge: None,
            record,
            innocent: Arc::default(),
            rules: Some(kept),
            configured: config.rules.clone(),
            is_panicked: false,
            enforce: config.policy.enforce,
            open_files: 1_024,
            intake,
            notifications: Arc::new(ArcSwap::from_pointee(notifications)),
            seed: 7,
        };
        let running = detecting.begin();
        let logs = sources.begin(start);
        Self { hand, logs, detecting, running, log, folder, inbox, _orders: received }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.hand.load(Ordering::Acquire))
    }

    /// Adds a rule as the operator does.
    fn add_rule(&mut self, text: &str) {
        self.add_rule_until(text, None);
    }

    /// The same, and at that moment it is taken back unless it is confirmed.
    fn add_rule_until(&mut self, text: &str, until: Option<Timestamp>) {
        let now = self.now();
        let rule = OwnRule {
            id: RuleId(0),
            text: text.to_owned(),
            action: RuleAction::Refuse { status: 403 },
            reason: None,
            since: now,
            expires: now + Duration::from_secs(86_400),
            predicted: None,
        };
        let (done, added) = oneshot::channel();
        self.detecting.turn(&mut self.running, Some(Command::AddRule(rule, until, done)));
        added.blocking_recv().expect("an answer").expect("a rule");
    }

    /// Lets so many seconds pass, in each of which the server writes what `lines` says of it; what is told meanwhile, each with the
    /// second.
    fn run(&mut self, seconds: u64, lines: impl Fn(u64) -> String) -> Vec<(u64, EventKind, String)> {
        let begin = self.now();
        let mut told = Vec::new();
        for second in 0..seconds {
            let text = lines((begin + Duration::from_secs(second)).as_seconds());
            if !text.is_empty() {
                let log = File::options().append(true).create(true).open(&self.log);
                log.expect("a log").write_all(text.as_bytes()).expect("written");
            }
            let end = begin + Duration::from_secs(second + 1);
            while self.now() < end {
                self.hand.store((self.now() + STEP).as_micros(), Ordering::Release);
                while self.logs.turn() == Next::Turn {}
                let before = self.running.events.back().cloned();
                self.detecting.turn(&mut self.running, None);
                let news = self.running.events.iter().rev().take_while(|event| Some(*event) != before.as_ref());
                let news: Vec<_> = news.map(|event| (second, event.kind, event.text.clone())).collect();
                told.extend(news.into_iter().rev());
            }
        }
        told
    }

    /// Ends the guard; whether people were sent what contains all of this.
    fn end(self, expected: &[&str]) {
        let Self { detecting, running, folder, .. } = self;
        // What waits to be sent is sent when nothing can follow any more.
        drop((detecting, running));
        let mut sent = String::new();
        for _ in 0..200 {
            sent = fs::read_to_string(folder.path().join("told")).unwrap_or_default();
            if expected.iter().all(|expected| sent.contains(expected)) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{expected:?} is not in what was sent: {sent}");
    }
}

/// What of it is about a rule, with the second.
fn of_rules(told: &[(u64, EventKind, String)]) -> Vec<(u64, EventKind, &str)> {
    let is_of_rule = |kind: &EventKind| matches!(kind, EventKind::RuleSilent | EventKind::RuleHeard);
    told.iter().filter(|(_, kind, _)| is_of_rule(kind)).map(|(second, kind, text)| (*second, *kind, &**text)).collect()
}

/// The lines of a second: nine visitors with browsers, and one of a hundred probes, which call themselves `curl`. Without agents the
/// server's format has changed from combined to common.
fn traffic(second: u64, has_agents: bool) -> String {
    let mut text = String::new();
    for nth in 0..10 {
        let (client, agent) = match nth {
            0 => (format!("203.0.113.{}", second % 100), "curl/8.5.0"),
            _ => (format!("198.51.100.{}", (9 * second + nth) % 250), "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0"),
        };
        let time = time_of_day(second);
        write!(text, "{client} - - [14/Nov/2023:{time} +0000] \"GET /page{nth} HTTP/1.1\" 200 512").expect("room");
        text += &if has_agents { format!(" \"-\" \"{agent}\"\n") } else { "\n".to_owned() };
    }
    text
}

fn time_of_day(second: u64) -> String {
    let second = second % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

#[test]
fn a_rule_that_a_change_of_the_log_silences_is_told_of_within_a_minute_and_again_once_it_matches() {
    let rules = r#"
        [[rule]]
        name = "browsers"
        rule = 'user-agent = "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0"'
        [[limit]]
        name = "probes"
        rule = 'user-agent contains "curl/"'
        rate = "100000 in 60s"
        action = "log"
    "#;
    let mut guard = Guard::start("access.log", rules);
    guard.add_rule(r#"user-agent = "curl/8.5.0""#);
    let told = guard.run(360, |second| traffic(second, true));
    assert_eq!(of_rules(&told), []);
    assert_eq!(guard.detecting.snapshot.load().silent_rules, []);

    let told = guard.run(90, |second| traffic(second, false));
    let told = of_rules(&told);
    assert_eq!(told.len(), 3, "{told:?}");
    for name in ["limit \"probes\"", "rule R10001 (", "rule R20001 ("] {
        let (second, kind, text) = told.iter().find(|(_, _, text)| text.starts_with(name)).expect("told");
        assert_eq!(*kind, EventKind::RuleSilent);
        assert!((19..60).contains(second), "after {second} s");
        assert!(text.contains("the user agent is in none of the last"), "{text}");
    }
    let status = guard.detecting.snapshot.load_full();
    assert_eq!(status.silent_rules.len(), 3, "{:?}", status.silent_rules);
    assert!(status.events.iter().any(|event| event.kind == EventKind::RuleSilent));

    let told = guard.run(10, |second| traffic(second, true));
    let told = of_rules(&told);
    assert_eq!(told.iter().map(|(_, kind, _)| *kind).collect::<Vec<_>>(), [EventKind::RuleHeard; 3], "{told:?}");
    assert!(told.iter().all(|(second, ..)| *second < 5), "{told:?}");
    assert_eq!(guard.detecting.snapshot.load().silent_rules, []);
    guard.end(&["limit \\\"probes\\\" has matched nothing", "the user agent is in none of the last", "matches again"]);
}

#[test]
fn a_rule_that_the_log_cannot_tell_of_is_told_of_within_a_minute_and_one_that_no_log_can_at_once() {
    let rules = r#"
        [[rule]]
        name = "other-host"
        rule = 'host = "a.example"'
        [[limit]]
        name = "scanners"
        rule = 'user-agent contains "sqlmap"'
        rate = "5 in 60s"
        action = "ban"
        [[limit]]
        name = "missing"
        rule = 'status = 404'
        rate = "1000 in 60s"
        action = "log"
    "#;
    let mut guard = Guard::start("access.log", rules);
    guard.add_rule(r#"ja4 = "t13d1516h2_8daaf6152771_b186095e22b6""#);
    // Within the very turn in which it is said.
    let told = guard.running.events.iter().find(|event| event.kind == EventKind::RuleSilent);
    let text = told.map(|event| event.text.as_str()).unwrap_or_default();
    assert!(text.contains("can match nothing beside the server: no log records ja4"), "{text}");

    let told = guard.run(60, |second| traffic(second, false));
    let told = of_rules(&told);
    assert_eq!(told.len(), 2, "{told:?}");
    for (name, field) in [("rule R20001 (", "host"), ("limit \"scanners\"", "user agent")] {
        let (second, kind, text) = told.iter().find(|(_, _, text)| text.starts_with(name)).expect("told");
        assert!(*kind == EventKind::RuleSilent && *second < 60, "after {second} s");
        assert!(
            text.contains(&format!("can match nothing beside the server: the {field} is in none of the")),
            "{text}"
        );
    }
    let status = guard.detecting.snapshot.load_full();
    assert_eq!(status.silent_rules.len(), 3, "{:?}", status.silent_rules);
    let shown = crate::show::status::render(&status, 1_000);
    assert_eq!(shown.matches("ALARM").count(), 3, "{shown}");

    // The server's format is put right.
    let told = guard.run(10, |second| traffic(second, true));
    let [(0..3, EventKind::RuleHeard, text)] = of_rules(&told)[..] else { panic!("{told:?}") };
    assert!(text.starts_with("limit \"scanners\" can match now"), "{text}");
    guard.end(&["no log records ja4", "the host is in none of the", "the user agent is in none of the"]);
}

/// The lines of a second as a server behind a proxy writes them, with whom that names at the end.
fn proxied(second: u64, names_client: bool) -> String {
    let line = |line: &str| {
        let (client, rest) = line.split_once(' ').expect("a client");
        let named = if names_client { format!(" \"{client}\"") } else { String::new() };
        format!("127.0.0.1 {rest}{named}\n")
    };
    traffic(second, true).lines().map(line).collect()
}

/// What of it is about clients that are one, with the second.
fn of_clients(told: &[(u64, EventKind, String)]) -> Vec<(u64, EventKind, &str)> {
    let is_of_clients = |kind: &EventKind| matches!(kind, EventKind::ClientsMerged | EventKind::ClientsApart);
    let told = told.iter().filter(|(_, kind, _)| is_of_clients(kind));
    told.map(|(second, kind, text)| (*second, *kind, &**text)).collect()
}

#[test]
fn a_log_of_a_server_behind_a_proxy_is_told_of_within_a_minute_until_clients_are_in_it() {
    let mut guard = Guard::start("access.log", "");
    let alarms = |guard: &Guard| {
        let status = guard.detecting.snapshot.load_full();
        status.sensors.iter().filter_map(|sensor| sensor.log.as_ref()).map(|log| log.alarms.len()).sum::<usize>()
    };
    assert_eq!(of_clients(&guard.run(100, |second| traffic(second, true))), []);
    let told = guard.run(100, |second| proxied(second, false));
    let [(second, EventKind::ClientsMerged, text)] = of_clients(&told)[..] else { panic!("{told:?}") };
    assert!(second < 60 && text.contains("access.log: ") && text.contains("have the client 127.0.0.1, "), "{text}");
    let status = guard.detecting.snapshot.load_full();
    let shown = crate::show::status::render(&status, 1_000);
    assert!(shown.contains("ALARM") && shown.contains("set_real_ip_from") && alarms(&guard) == 1, "{shown}");
    let told = guard.run(60, |second| traffic(second, true));
    let [(second, EventKind::ClientsApart, _)] = of_clients(&told)[..] else { panic!("{told:?}") };
    assert!(second < 30 && alarms(&guard) == 0, "after {second} s");
    guard.end(&["have the client 127.0.0.1, so all visitors are one client", "clients are told apart again"]);
}

#[test]
fn a_log_that_names_clients_wants_the_proxy_trusted_and_then_is_over_at_once() {
    let mut guard = Guard::start("access.log", "");
    let told = guard.run(100, |second| proxied(second, true));
    let [(second, EventKind::ClientsMerged, text)] = of_clients(&told)[..] else { panic!("{told:?}") };
    assert!(second < 60 && text.ends_with("write `[trust] proxies = [\"127.0.0.1\"]`"), "{text}");
    let config = config::parse_in(
        "[trust]\nproxies = [\"127.0.0.1\"]\n",
        "test.toml",
        &Environment { beside: true, ..Environment::default() },
    );
    let settings = Settings::new(&config.expect("a configuration"), 1_000).expect("settings");
    guard.detecting.shared.settings.store(Arc::new(settings));
    guard.detecting.shared.generation.fetch_add(1, Ordering::Release);
    let told = guard.run(100, |second| proxied(second, true));
    let [(0..3, EventKind::ClientsApart, _)] = of_clients(&told)[..] else { panic!("{told:?}") };
}

#[test]
fn lines_that_a_container_runtime_split_are_requests_once() {
    let mut guard = Guard::start("access.log", "");
    guard.run(20, |second| {
        let line = traffic(second, true).lines().next().unwrap_or_default().replace("/page", &"/page".repeat(4_000));
        let (first, rest) = line.split_at(16_384);
        format!("2023-11-14T22:13:20Z stdout P {first}\n2023-11-14T22:13:20Z stdout F {rest}\n")
    });
    let status = guard.detecting.snapshot.load_full();
    let log = status.sensors.first().and_then(|sensor| sensor.log.as_ref()).expect("a log");
    assert_eq!((log.lines, log.read, status.traffic.requests), (40, 20, 20), "{log:?}");
    assert_eq!((log.unread.len(), log.confidence, log.alarms.len()), (1, 1.0, 0), "{log:?}");
    assert!(log.unread[0].reason.starts_with("part of a line") && log.unread[0].example.contains(" stdout P "));
    let shown = crate::show::status::render(&status, 200);
    assert!(shown.contains("40 lines, 0 not read") && !shown.contains("part of a line"), "{shown}");
}

#[test]
fn no_example_is_of_the_rest_of_a_line() {
    let mut guard = Guard::start("access.log", "");
    guard.run(2, |second| {
        let line = traffic(second, true).lines().next().unwrap_or_default().replace("/page", "/page?a=SECRET x");
        let (first, rest) = line.split_at(line.find("SECRET").expect("it is there"));
        let rest = rest.split_once("HTTP/").expect("a request").0;
        format!("2023-11-14T22:13:20Z stdout P {first}\n2023-11-14T22:13:20Z stdout F {rest}\n")
    });
    let status = guard.detecting.snapshot.load_full();
    let log = status.sensors.first().and_then(|sensor| sensor.log.as_ref()).expect("a log");
    assert_eq!((log.lines, log.read, log.unread.len()), (4, 0, 2), "{log:?}");
    assert!(log.unread.iter().all(|unread| !unread.example.contains("SECRET")), "{log:?}");
}

#[test]
fn durations_that_are_none_are_counted() {
    let mut guard = Guard::start("access.log", "");
    guard.run(2, |second| traffic(second, true).replace("\"\n", "\" rt=0.5\n"));
    guard.run(2, |second| traffic(second, true).replace("\"\n", "\" rt=fast\n"));
    let status = guard.detecting.snapshot.load_full();
    let log = status.sensors.first().and_then(|sensor| sensor.log.as_ref()).expect("a log");
    assert_eq!((log.read, log.unread_durations), (40, 20));
    let shown = crate::show::status::render(&status, 200);
    assert!(shown.contains("0 not read, 20 with an unreadable duration"), "{shown}");
}

#[test]
fn a_pattern_that_matches_nothing_is_told_of_within_a_minute_of_the_start() {
    let mut guard = Guard::start("logs/*.log", "");
    let told = guard.run(60, |_| String::new());
    let [(second, EventKind::SensorSilent, text)] = told.as_slice() else { panic!("{told:?}") };
    assert!(*second < 60 && text.contains("logs/*.log: nothing could be read for 45 s"), "{text}");
    assert!(text.contains("no file matches it yet: there is no folder"), "{text}");
    let status = guard.detecting.snapshot.load_full();
    let logs: Vec<_> = status.sensors.iter().filter_map(|sensor| sensor.log.as_ref()).collect();
    assert!(logs.iter().all(|log| log.alarms.len() == 1 && log.trouble.is_some()), "{logs:?}");

    fs::create_dir(guard.folder.path().join("logs")).expect("a folder");
    guard.log = guard.folder.path().join("logs/access.log");
    let told = guard.run(5, |second| traffic(second, true));
    assert!(told.iter().any(|(_, kind, _)| *kind == EventKind::SensorHeard), "{told:?}");
    guard.end(&["no file matches it yet", "is not missed any more"]);
}

#[test]
fn what_a_rule_of_the_configuration_hits_is_said_once_enough_was_learned() {
    let rules =
        "[[rule]]\nname = \"page\"\nrule = 'path = \"/page1\"'\n[[rule]]\nname = \"none\"\nrule = 'path = \"/none\"'\n";
    let mut guard = Guard::start("access.log", rules);
    guard.run(1, |second| traffic(second, true));
    let predicted = |guard: &Guard| {
        let rules = guard.detecting.snapshot.load().detection.rules.clone();
        rules.iter().map(|rule| (rule.evidence.collateral, rule.evidence.collateral_upper)).collect::<Vec<_>>()
    };
    assert_eq!(predicted(&guard), [(0.0, 1.0), (0.0, 1.0)]);
    guard.run(300, |second| traffic(second, true));
    let [(page, page_upper), (none, none_upper)] = predicted(&guard)[..] else { panic!("two rules") };
    assert!((0.05..0.2).contains(&page) && page_upper < 0.5, "{page} {page_upper}");
    assert!(none < 0.01 && none_upper < 0.5, "{none} {none_upper}");
    // Nobody has read the answer of a start, so the status says what is much.
    let harmful = guard.detecting.snapshot.load().harmful_rules.clone();
    assert!(harmful.len() == 1 && harmful[0].starts_with("the rule \"page\" hits "), "{harmful:?}");
    assert_eq!(guard.running.harm_said.len(), 1);
    // Whoever configures it is told what is much, and of a new one that it is not known.
    let now = guard.now();
    let rule = |name: &str, text: &str| ConfiguredRule {
        name: name.to_owned(),
        text: text.to_owned(),
        action: RuleAction::Drop,
    };
    let network = rule("net", "client-prefix = 192.0.2.0/24");
    let rules = vec![rule("page", "path = \"/page1\""), rule("none", "path = \"/none\""), network];
    let mut configure = || {
        let nobody = AddressSet::default();
        guard.detecting.configure_rules(&mut guard.running, rules.clone(), &nobody, now)
    };
    let told = configure();
    assert!(told.len() == 2 && told[0].starts_with("the rule \"page\" hits "), "{told:?}");
    assert!(told[1].starts_with("what the rule \"net\" hits of normal traffic is not known"), "{told:?}");
    assert_eq!(configure().len(), 1, "it is not new any more");
}

#[test]
fn beside_a_server_a_rule_of_the_configuration_drops_nobody_where_nothing_is_enforced() {
    let rule = "[[rule]]\nname = \"page\"\nrule = 'path = \"/page1\"'\naction = \"drop\"\n";
    for (enforce, stage) in [("never", Stage::Proposed), ("on-excess", Stage::Enforced)] {
        let mut guard = Guard::start("access.log", &format!("[policy]\nenforce = \"{enforce}\"\n{rule}"));
        guard.run(5, |second| traffic(second, true));
        let status = guard.detecting.snapshot.load_full();
        let shown = &status.detection.rules[0];
        let turned_away = shown.refused + status.traffic.refused_rule + status.traffic.dropped_rule;
        assert_eq!((shown.stage, shown.matched > 0), (stage, true), "{shown:?}");
        assert_eq!(turned_away > 0, stage == Stage::Enforced, "{enforce}: {turned_away}");
    }
}

#[test]
fn a_rule_of_the_configuration_is_tried_again_when_the_never_ban_list_changes() {
    let settings = "[policy]\nnever-ban = [\"203.0.113.7\"]\n\
                    [[rule]]\nname = \"net\"\nrule = 'client-prefix = 203.0.113.0/24'\n";
    let mut guard = Guard::start("access.log", settings);
    let not_in_force = |guard: &Guard| guard.detecting.snapshot.load().rules_not_in_force.len();
    guard.run(1, |second| traffic(second, true));
    assert_eq!(not_in_force(&guard), 1);
    guard.detecting.turn(&mut guard.running, Some(Command::NeverBan(AddressSet::default())));
    guard.run(1, |second| traffic(second, true));
    assert_eq!(not_in_force(&guard), 0);
    assert_eq!(guard.running.own.for_gate().len(), 1);
}
