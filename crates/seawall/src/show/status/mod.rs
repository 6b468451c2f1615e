//! The state of a guard on one screen of a terminal. A section that is more than a line has a file of its own; [`render`] puts them
//! together.

mod enforcement;
mod layout;
mod rules;
mod sensors;
mod sites;
mod waits;

use std::fmt::Write as _;

use seawall_engine::decision::{Event, IncidentStatus};

pub use self::enforcement::edge_in_full;
use self::enforcement::{client_limits, edge, enforcement};
pub(super) use self::layout::span;
use self::layout::{bytes, name, section, wrap};
pub(super) use self::rules::what_it_does;
pub use self::rules::{rule, rule_in_full, veto_end};
use self::sensors::{alarms, is_troubled, log_sensor, not_read};
use self::sites::{failing, sites};
use self::waits::waits;
use super::notify::Notified;
use super::standing::Standing;
use super::text::escape;
use super::time::time_of_day;
use super::way_out::WayOut;
use crate::daemon::{Sensor, SiteState, SiteStatus, Snapshot};
use crate::source::watch::report::LogSensor;

/// Incidents and rules shown.
const INCIDENTS_MAX: usize = 2;
const RULES_MAX: usize = 4;

/// Sites shown that do not answer.
const SITES_MAX: usize = 3;

/// Logs shown.
const SENSORS_MAX: usize = 3;

/// What is rendered fits a screen of 24 lines with the prompt, and within `watch`. What has happened lately takes what the rest
/// leaves.
const LINES_MAX: usize = 21;

/// Rules that are shown since they no longer match, and as many since they are not in force.
const SILENT_RULES_MAX: usize = 4;

/// Renders a snapshot; no line is longer than `width` but commands, which are there to be copied. What clients sent has been escaped
/// by the engine.
pub fn render(snapshot: &Snapshot, width: usize) -> String {
    let mut lines = Vec::new();
    let state = match (snapshot.calm, snapshot.detection.learned_seconds) {
        _ if snapshot.enforcement.panicked => "PANIC, nothing is in force",
        (false, _) => "INCIDENT",
        // Nothing can be judged yet.
        (true, ..60) => "learning what is normal",
        (true, _) => "calm",
    };
    let in_line = snapshot.sensors.iter().filter(|sensor| sensor.log.is_none());
    let addresses: Vec<&str> = in_line.map(|sensor| sensor.address.as_str()).collect();
    let logs: Vec<(&Sensor, &LogSensor)> =
        snapshot.sensors.iter().filter_map(|sensor| Some((sensor, sensor.log.as_ref()?))).collect();
    let standing = Standing::of(snapshot);
    let beside = standing.is_beside();
    let place = match logs.len() {
        _ if !beside => format!("on {}", addresses.join(", ")),
        1 => "beside the server, on its log".to_owned(),
        count => format!("beside the server, on {count} logs"),
    };
    lines.push(format!("Seawall {} {place}: {state}, up {}", snapshot.version, span(snapshot.uptime_seconds)));
    lines.extend(logs.iter().flat_map(|(sensor, log)| alarms(sensor, log)));
    lines.extend(snapshot.merged_clients.iter().map(|alarm| format!("ALARM       {}", escape(alarm.text.as_bytes()))));
    let silent = snapshot.silent_rules.iter().take(SILENT_RULES_MAX);
    lines.extend(
        silent.map(|alarm| format!("ALARM       {} {}", escape(alarm.rule.as_bytes()), escape(alarm.text.as_bytes()))),
    );
    if let Some(more @ 1..) = snapshot.silent_rules.len().checked_sub(SILENT_RULES_MAX) {
        lines.push(format!("ALARM       {more} more no longer match (status --json names them)"));
    }
    let not_in_force = snapshot.rules_not_in_force.iter().take(SILENT_RULES_MAX);
    lines.extend(not_in_force.map(|text| format!("ALARM       {}", escape(text.as_bytes()))));
    if let Some(more @ 1..) = snapshot.rules_not_in_force.len().checked_sub(SILENT_RULES_MAX) {
        lines.push(format!("ALARM       {more} more are not in force (`seawall rules list` names them)"));
    }
    let harmful = snapshot.harmful_rules.iter().take(SILENT_RULES_MAX);
    lines.extend(harmful.map(|text| format!("ALARM       {}", escape(text.as_bytes()))));
    lines.extend(snapshot.page_trouble.iter().map(|trouble| format!("ALARM       {}", escape(trouble.as_bytes()))));
    lines.extend(snapshot.panic_unkept.iter().map(|text| format!("ALARM       {}", escape(text.as_bytes()))));
    lines.extend(waits(snapshot).map(|text| format!("WAITS       {text}")));
    let fails = |site: &&SiteStatus| site.state == SiteState::Fails;
    lines.extend(snapshot.sites.iter().filter(fails).take(SITES_MAX).map(failing));
    let troubled = snapshot.notifications.iter().filter_map(|notified| Some((notified, notified.trouble.as_ref()?)));
    lines.extend(troubled.map(|(notified, trouble)| {
        format!("ALARM       {} is not told: {}", escape(notified.name.as_bytes()), escape(trouble.as_bytes()))
    }));
    let wrapped = |lines: &[String]| -> Vec<String> { lines.iter().flat_map(|line| wrap(line, width)).collect() };
    let mut screen = wrapped(&lines);
    screen.extend(snapshot.way_out.iter().flat_map(way_out));
    if snapshot.server_refuses {
        screen.extend(wrap(SERVER_REFUSES, width));
    }
    lines = vec![String::new()];
    lines.extend(traffic(snapshot, standing));
    lines.extend(sites(&snapshot.sites));
    let streams = if beside { String::new() } else { format!("  clock streams {}", snapshot.traffic.streams) };
    lines.push(format!("sent        {:>9}/s{streams}", bytes(snapshot.rates.bytes_sent)));
    let limits = &snapshot.limits;
    let connections = if beside {
        String::new()
    } else {
        format!("connections {} of {}, ", limits.connections, limits.connections_max)
    };
    lines.push(format!(
        "limits      {connections}processor {:.0}%, memory {:.0}%, engine {}{}",
        100.0 * limits.cpu_used,
        100.0 * limits.memory_used,
        bytes(limits.engine_bytes as f64),
        snapshot.stress.map(|stress| format!("  (under stress: {stress})")).unwrap_or_default()
    ));
    let detection = &snapshot.detection;
    let learned = span(detection.learned_seconds);
    let sensors = if !beside {
        format!("{} in line", snapshot.sensors.len())
    } else {
        format!("{} in logs, none in line: {}", logs.len(), standing.fate())
    };
    lines.push(format!(
        "sensors     {sensors}; learnt from {learned}{}",
        match (detection.cold, beside) {
            (true, false) => " (a day is needed before anything is refused for good)",
            (true, true) => " (a day is needed before a rule would do more than slow down)",
            (false, _) => "",
        }
    ));
    // What is wrong is not among those that are only counted.
    let mut shown = logs.clone();
    shown.sort_by_key(|(sensor, log)| !is_troubled(sensor, log));
    lines.extend(
        shown
            .iter()
            .take(SENSORS_MAX)
            .flat_map(|(sensor, log)| std::iter::once(log_sensor(sensor, log)).chain(not_read(log))),
    );
    if let Some(more) = logs.len().checked_sub(SENSORS_MAX).filter(|more| *more > 0) {
        lines.push(format!("  and {more} more"));
    }
    if !snapshot.notifications.is_empty() {
        let told: Vec<String> = snapshot.notifications.iter().map(told).collect();
        lines.push(format!("notified    {}", told.join("; ")));
    }
    lines.extend(detection.drifts.iter().map(|drift| format!("drift       {drift}")));
    lines.push(format!("bans        {}", enforcement(&snapshot.enforcement, standing)));
    lines.extend(client_limits(&snapshot.client_limits, standing));
    lines.extend(edge(&snapshot.edge).map(|text| format!("edge        {text}")));
    lines.extend(
        snapshot
            .record
            .problem
            .iter()
            .map(|problem| format!("record      {problem} ({} entries lost)", snapshot.record.lost)),
    );
    lines.push(String::new());
    section(&mut lines, "incidents", &detection.incidents, INCIDENTS_MAX, incident);
    section(&mut lines, "rules", &detection.rules, RULES_MAX, |found| rule(found, standing));
    screen.extend(wrapped(&lines));
    let event = |event: &Event| wrap(&format!("  {}  {}", time_of_day(event.at), event.text), width);
    let mut room = LINES_MAX.saturating_sub(screen.len() + 1);
    let events = snapshot.events.iter().rev().map(event).take_while(|event| {
        let fits = event.len() <= room;
        room = room.saturating_sub(event.len());
        fits
    });
    let lately: Vec<String> = events.flatten().collect();
    match snapshot.events.len() {
        0 => screen.push(format!("{:<11} none", "lately")),
        _ if lately.is_empty() => {}
        _ => screen.push("lately".to_owned()),
    }
    screen.extend(lately);
    let mut text = String::new();
    for line in screen {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

/// That it has been done.
const SERVER_REFUSES: &str = "held        your server refuses what was found. Leave it so: while it comes, the incident is open and the rules stay";

/// How the flood ends. A shell goes on after `&&` at the end of a line, so that both can be pasted.
fn way_out(way_out: &WayOut) -> Vec<String> {
    let commands = way_out.commands.iter().flat_map(|command| match command.split_once(" && ") {
        Some((write, reload)) => vec![format!("{write} &&"), reload.to_owned()],
        None => vec![command.clone()],
    });
    let once = format!("once, before the reload: {}", way_out.once);
    let title = |at: usize| if at == 0 { "to end it" } else { "" };
    commands.chain([once]).enumerate().map(|(at, line)| format!("{:<11} {line}", title(at))).collect()
}

/// What came, and what became of it.
fn traffic(snapshot: &Snapshot, standing: Standing) -> Vec<String> {
    let (rates, traffic) = (&snapshot.rates, &snapshot.traffic);
    if standing.is_beside() {
        // What became of it is the server's doing, and there are no connections to tell of.
        return vec![
            format!(
                "requests/s  {:>9.1}   served {:.1}  refused {:.1}  failed {:.1}  rules would refuse {:.1}",
                rates.requests, rates.served, rates.refused, rates.failed, rates.would_refuse
            ),
            format!(
                "since start {:>9}   served {}  refused {}  failed {}  rules would refuse {}",
                traffic.requests, traffic.served, traffic.refused_rule, traffic.failed, traffic.would_refuse
            ),
        ];
    }
    vec![
        format!(
            "requests/s  {:>9.1}   served {:.1}  refused {:.1}  misdirected {:.1}  limited {:.1}  failed {:.1}",
            rates.requests, rates.served, rates.refused, rates.misdirected, rates.limited, rates.failed
        ),
        format!(
            "since start {:>9}   served {}  refused {}  misdirected {}  limited {}  failed {}",
            traffic.requests,
            traffic.served,
            traffic.refused_rule + traffic.dropped_rule,
            traffic.misdirected,
            traffic.client_limited + traffic.overloaded,
            traffic.failed
        ),
        format!(
            "            malformed {}  left before the answer {}  connections closed unread {} ({:.1}/s)",
            traffic.malformed, traffic.gone, traffic.closed_unread, rates.closed_unread
        ),
    ]
}

/// How often somebody was told.
fn told(notified: &Notified) -> String {
    let mut text = format!("{}: {} sent", escape(notified.name.as_bytes()), notified.sent);
    for (count, what) in [
        (notified.failed, "failed attempts"),
        (notified.waiting, "events waiting"),
        (notified.left_out, "events left out"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}

fn incident(incident: &IncidentStatus) -> Vec<String> {
    let state = if incident.closed.is_some() { "over" } else { "open" };
    let opened = time_of_day(incident.opened);
    vec![format!("{opened}  {state}, {}: {}", name(&incident.verdict), incident.explanation)]
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::{Aspect, Drift, Status};

    use super::*;
    use crate::enforcement::{EnforcementStatus, KernelState, KernelStatus};

    #[test]
    fn a_rule_that_no_longer_matches_is_an_alarm() {
        let alarm = seawall_engine::silence::RuleAlarm {
            rule: "limit \"login\"".to_owned(),
            since: seawall_engine::units::Timestamp::EPOCH,
            text: "has matched nothing for 20 s".to_owned(),
        };
        let text = render(&Snapshot { silent_rules: vec![alarm], ..Snapshot::default() }, 400);
        assert!(text.contains("ALARM       limit \"login\" has matched nothing for 20 s\n"), "{text}");
    }

    #[test]
    fn beside_a_server_the_way_out_is_at_the_top_and_nothing_is_refused() {
        let export = "seawall export nginx > /etc/nginx/conf.d/seawall.conf && nginx -t -q && nginx -s reload";
        let commands = vec![format!("seawall rules add 'user-agent = \"{}\"'", "x ".repeat(60)), export.to_owned()];
        let shown = WayOut { commands: commands.clone(), once: "say so".to_owned() };
        let rates = crate::daemon::Rates { requests: 40.0, would_refuse: 38.5, ..Default::default() };
        let snapshot = Snapshot { beside: true, way_out: Some(shown), rates, ..Snapshot::default() };
        for width in [80, 120] {
            let text = render(&snapshot, width);
            let lines: Vec<&str> = text.lines().collect();
            let way = [
                format!("to end it   {}", commands[0]),
                "            seawall export nginx > /etc/nginx/conf.d/seawall.conf &&".to_owned(),
                "            nginx -t -q && nginx -s reload".to_owned(),
                "            once, before the reload: say so".to_owned(),
                String::new(),
            ];
            assert_eq!(lines[1..6], way, "{text}");
            let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(joined.contains(" refused 0.0 failed 0.0 rules would refuse 38.5 "), "{text}");
        }
    }

    #[test]
    fn beside_a_server_that_refuses_what_was_found_it_is_said_that_nothing_is_left_to_do() {
        let rates = crate::daemon::Rates { requests: 42.0, refused: 40.0, served: 2.0, ..Default::default() };
        let snapshot = Snapshot { beside: true, server_refuses: true, rates, ..Snapshot::default() };
        let text = render(&snapshot, 120);
        assert!(
            text.contains("\nheld        your server refuses what was found.") && !text.contains("to end it"),
            "{text}"
        );
        assert!(text.contains("served 2.0  refused 40.0  failed 0.0  rules would refuse 0.0\n"), "{text}");
    }

    #[test]
    fn logs_with_lines_that_cannot_be_read_are_shown_before_others() {
        let unread = crate::source::watch::report::Unread {
            reason: "no status".to_owned(),
            lines: 7,
            is_failure: true,
            example: String::new(),
        };
        let sensors = (0..10).map(|number| {
            let unread = if number == 8 { vec![unread.clone()] } else { Vec::new() };
            let trouble = (number == 9).then(|| "it is a directory".to_owned());
            let log = LogSensor { unread, trouble, ..LogSensor::default() };
            Sensor { name: "file".to_owned(), address: format!("{number}.log"), log: Some(log) }
        });
        let text = render(&Snapshot { beside: true, sensors: sensors.collect(), ..Snapshot::default() }, 200);
        let shown: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
        let begins = ["  8.log: ", "    7 not read, no status", "  9.log: ", "  0.log: ", "  and 7 more"];
        assert!(shown.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{text}");
    }

    #[test]
    fn clients_that_are_one_are_an_alarm() {
        let alarm = seawall_engine::silence::Alarm {
            trouble: seawall_engine::silence::Trouble::ClientsMerged,
            since: seawall_engine::units::Timestamp::EPOCH,
            text: "all come from 127.0.0.1".to_owned(),
        };
        let text = render(&Snapshot { merged_clients: Some(alarm), ..Snapshot::default() }, 400);
        assert!(text.contains("ALARM       all come from 127.0.0.1\n"), "{text}");
    }

    #[test]
    fn a_panic_is_in_the_first_line_whatever_else_is() {
        let enforcement = EnforcementStatus { panicked: true, ..EnforcementStatus::default() };
        let text = render(&Snapshot { enforcement, calm: false, ..Snapshot::default() }, 400);
        assert!(text.lines().next().is_some_and(|line| line.contains("PANIC, nothing is in force")), "{text}");
    }

    #[test]
    fn a_panic_that_a_restart_ends_is_an_alarm() {
        let unkept = "a restart ends the panic: its mark cannot be written".to_owned();
        let text = render(&Snapshot { panic_unkept: Some(unkept), ..Snapshot::default() }, 400);
        assert!(text.contains("ALARM       a restart ends the panic: its mark cannot be written\n"), "{text}");
    }

    #[test]
    fn whom_the_kernel_drops_in_vain_is_said() {
        let text = |undropped: u64| {
            let kernel = KernelStatus { state: KernelState::Active, ..KernelStatus::default() };
            let enforcement = EnforcementStatus { undropped, kernel, ..EnforcementStatus::default() };
            render(&Snapshot { enforcement, ..Snapshot::default() }, 400)
        };
        assert!(
            text(57).contains("; BUT 57 requests of whom it drops came all the same: through a proxy"),
            "{}",
            text(57)
        );
        assert!(!text(9).contains("BUT"), "{}", text(9));
    }

    #[test]
    fn a_drift_is_shown_with_what_has_grown() {
        let drift = Drift {
            aspect: Aspect::Agents,
            since: seawall_engine::units::Timestamp::EPOCH,
            divergence: 0.05,
            explained: 0.03,
            share_before: 0.02,
            share_now: 0.11,
            example: Some("user-agent = \"reader/1.0\"".to_owned()),
        };
        let detection = Status { drifts: vec![drift], ..Status::default() };
        let text = render(&Snapshot { detection, ..Snapshot::default() }, 400);
        let expected = "drift       the mix of user agents is not what it was: 11% of the clients are of a kind that 2% were of \
                        in the weeks before, such as user-agent = \"reader/1.0\"\n";
        assert!(text.contains(expected), "{text}");
    }
}
