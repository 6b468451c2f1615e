//! The state of a guard on one screen of a terminal.

use std::fmt::Write as _;

use seawall_engine::decision::{IncidentStatus, RuleStatus};

use crate::daemon::Snapshot;

/// Incidents, rules and events shown; a screen has 24 lines.
const INCIDENTS_MAX: usize = 2;
const RULES_MAX: usize = 4;
const EVENTS_MAX: usize = 4;

/// Renders a snapshot; no line is longer than `width`. What clients sent has been escaped by the engine.
pub fn render(snapshot: &Snapshot, width: usize) -> String {
    let mut lines = Vec::new();
    let state = if snapshot.calm { "calm" } else { "INCIDENT" };
    let addresses: Vec<String> = snapshot.sensors.iter().map(|sensor| sensor.address.to_string()).collect();
    lines.push(format!(
        "Seawall {} on {}: {state}, up {}",
        snapshot.version,
        addresses.join(", "),
        span(snapshot.uptime_seconds)
    ));
    let rates = &snapshot.rates;
    lines.push(String::new());
    lines.push(format!(
        "requests/s  {:>9.1}   served {:.1}  refused {:.1}  misdirected {:.1}  limited {:.1}  failed {:.1}",
        rates.requests, rates.served, rates.refused, rates.misdirected, rates.limited, rates.failed
    ));
    lines.push(format!(
        "since start {:>9}   served {}  refused {}  misdirected {}  malformed {}  failed {}",
        snapshot.traffic.requests,
        snapshot.traffic.served,
        snapshot.traffic.refused_rule + snapshot.traffic.dropped_rule,
        snapshot.traffic.misdirected,
        snapshot.traffic.malformed,
        snapshot.traffic.failed
    ));
    lines.push(format!("sent        {:>9}/s  clock streams {}", bytes(rates.bytes_sent), snapshot.traffic.streams));
    let limits = &snapshot.limits;
    lines.push(format!(
        "limits      connections {} of {}, processor {:.0}%, memory {:.0}%, engine {}{}",
        limits.connections,
        limits.connections_max,
        100.0 * limits.cpu_used,
        100.0 * limits.memory_used,
        bytes(limits.engine_bytes as f64),
        if snapshot.stressed { "  (under stress)" } else { "" }
    ));
    let detection = &snapshot.detection;
    let learned = span(detection.learned_seconds);
    lines.push(format!(
        "sensors     {} in line; learnt from {learned}{}",
        snapshot.sensors.len(),
        if detection.cold { " (a day is needed before anything is refused for good)" } else { "" }
    ));
    lines.push(String::new());
    section(&mut lines, "incidents", &detection.incidents, INCIDENTS_MAX, incident);
    section(&mut lines, "rules", &detection.rules, RULES_MAX, rule);
    let events = snapshot.events.iter().rev().take(EVENTS_MAX);
    let events: Vec<String> = events.map(|event| format!("{}  {}", time(event.at.as_seconds()), event.text)).collect();
    section(&mut lines, "lately", &events, EVENTS_MAX, |event| vec![event.clone()]);
    let mut text = String::new();
    for line in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", cut(&line, width));
    }
    text
}

/// One rule in two lines.
pub fn rule(rule: &RuleStatus) -> Vec<String> {
    let evidence = &rule.evidence;
    vec![
        format!("{} {} {}", rule.id, name(&rule.stage), rule.text),
        format!(
            "   explains {:.0}% of the excess, would match {:.2}% (at most {:.2}%) of normal; matched {}, refused {}",
            100.0 * evidence.coverage,
            100.0 * evidence.collateral,
            100.0 * evidence.collateral_upper,
            rule.matched,
            rule.refused
        ),
    ]
}

fn incident(incident: &IncidentStatus) -> Vec<String> {
    let state = if incident.closed.is_some() { "over" } else { "open" };
    let opened = time(incident.opened.as_seconds());
    vec![format!("{opened}  {state}, {}: {}", name(&incident.verdict), incident.explanation)]
}

fn section<T>(lines: &mut Vec<String>, title: &str, items: &[T], max: usize, render: impl Fn(&T) -> Vec<String>) {
    if items.is_empty() {
        lines.push(format!("{title:<11} none"));
        return;
    }
    let more = items.len().saturating_sub(max);
    lines.push(if more > 0 { format!("{title} ({more} more)") } else { title.to_owned() });
    lines.extend(items.iter().take(max).flat_map(render).map(|line| format!("  {line}")));
}

/// The name that a value has in JSON.
fn name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A number of bytes in decimal units.
fn bytes(number: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut number, mut unit) = (number, 0);
    while number >= 1_000.0 && unit + 1 < units.len() {
        number /= 1_000.0;
        unit += 1;
    }
    format!("{number:.1} {}", units[unit])
}

/// A length of time in its largest sensible unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The time of day where the reader is.
fn time(seconds: u64) -> String {
    let moment = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or_default()).unwrap_or_default();
    moment.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}
