//! The state of a guard on one screen of a terminal.

use std::fmt::Write as _;

use seawall_engine::decision::{Action, Event, Evidence, IncidentStatus, OwnRules, RuleStatus, Stage};
use seawall_engine::gate::{LimitAction, LimitStatus};
use seawall_engine::units::counted;

use super::notify::Notified;
use super::text::{self, escape};
use crate::daemon::{Sensor, SiteState, SiteStatus, Snapshot};
use crate::enforcement::edge::{EdgeState, EdgeStatus};
use crate::enforcement::{EnforcementStatus, KernelState};
use crate::source::watch::report::LogSensor;

/// Incidents and rules shown.
const INCIDENTS_MAX: usize = 2;
const RULES_MAX: usize = 4;

/// Sites shown that do not answer.
const SITES_MAX: usize = 3;

/// Limits of single clients shown: those that did most.
const LIMITS_MAX: usize = 3;

/// Logs shown.
const SENSORS_MAX: usize = 3;

/// What is rendered fits a screen of 24 lines with the prompt, and within `watch`. What has happened lately takes what the rest
/// leaves.
const LINES_MAX: usize = 21;

/// Rules that are shown since they no longer match, and as many since they are not in force.
const SILENT_RULES_MAX: usize = 4;

/// Where a line goes on that is too long.
const INDENT: usize = 14;

/// Renders a snapshot; no line is longer than `width`. What clients sent has been escaped by the engine.
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
    let beside = snapshot.beside;
    let place = match logs.len() {
        _ if !beside => format!("on {}", addresses.join(", ")),
        1 => "beside the server, on its log".to_owned(),
        count => format!("beside the server, on {count} logs"),
    };
    lines.push(format!("Seawall {} {place}: {state}, up {}", snapshot.version, span(snapshot.uptime_seconds)));
    lines.extend(logs.iter().flat_map(|(sensor, log)| alarms(sensor, log)));
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
    if let Some(until) = snapshot.confirm_until {
        lines.push(format!(
            "WAITS       the configuration is to be confirmed until {}: say `seawall confirm`, or that of before comes back",
            time(until.as_seconds())
        ));
    }
    let fails = |site: &&SiteStatus| site.state == SiteState::Fails;
    lines.extend(snapshot.sites.iter().filter(fails).take(SITES_MAX).map(failing));
    let troubled = snapshot.notifications.iter().filter_map(|notified| Some((notified, notified.trouble.as_ref()?)));
    lines.extend(troubled.map(|(notified, trouble)| {
        format!("ALARM       {} is not told: {}", escape(notified.name.as_bytes()), escape(trouble.as_bytes()))
    }));
    let rates = &snapshot.rates;
    lines.push(String::new());
    lines.push(format!(
        "requests/s  {:>9.1}   served {:.1}  refused {:.1}  misdirected {:.1}  limited {:.1}  failed {:.1}",
        rates.requests, rates.served, rates.refused, rates.misdirected, rates.limited, rates.failed
    ));
    let traffic = &snapshot.traffic;
    lines.push(format!(
        "since start {:>9}   served {}  refused {}  misdirected {}  limited {}  failed {}",
        traffic.requests,
        traffic.served,
        traffic.refused_rule + traffic.dropped_rule,
        traffic.misdirected,
        traffic.client_limited + traffic.overloaded,
        traffic.failed
    ));
    // Beside the server there are no connections to tell of.
    if !beside {
        lines.push(format!(
            "            malformed {}  left before the answer {}  connections closed unread {} ({:.1}/s)",
            traffic.malformed, traffic.gone, traffic.closed_unread, rates.closed_unread
        ));
    }
    lines.extend(sites(&snapshot.sites));
    lines.push(format!("sent        {:>9}/s  clock streams {}", bytes(rates.bytes_sent), snapshot.traffic.streams));
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
        // Without the kernel nothing beside a server can keep anybody away.
        let drops = match snapshot.enforcement.kernel.state {
            KernelState::Ready | KernelState::Active => "who goes on with what rules refuse is dropped by the kernel",
            KernelState::Off | KernelState::Failing | KernelState::Panicked => {
                "nobody is refused, what rules would refuse is counted"
            }
        };
        format!("{} in logs, none in line: {drops}", logs.len())
    };
    lines.push(format!(
        "sensors     {sensors}; learnt from {learned}{}",
        if detection.cold { " (a day is needed before anything is refused for good)" } else { "" }
    ));
    lines.extend(
        logs.iter()
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
    lines.push(format!("bans        {}", enforcement(&snapshot.enforcement)));
    lines.extend(client_limits(&snapshot.client_limits));
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
    section(&mut lines, "rules", &detection.rules, RULES_MAX, |found| rule(found, beside));
    let mut lines: Vec<String> = lines.iter().flat_map(|line| wrap(line, width)).collect();
    let event = |event: &Event| wrap(&format!("  {}  {}", time(event.at.as_seconds()), event.text), width);
    let mut room = LINES_MAX.saturating_sub(lines.len() + 1);
    let events = snapshot.events.iter().rev().map(event).take_while(|event| {
        let fits = event.len() <= room;
        room = room.saturating_sub(event.len());
        fits
    });
    let lately: Vec<String> = events.flatten().collect();
    match snapshot.events.len() {
        0 => lines.push(format!("{:<11} none", "lately")),
        _ if lately.is_empty() => {}
        _ => lines.push("lately".to_owned()),
    }
    lines.extend(lately);
    let mut text = String::new();
    for line in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

/// The sites in one line, where other servers answer for them.
fn sites(sites: &[SiteStatus]) -> Option<String> {
    if sites.iter().all(|site| site.state == SiteState::BuiltIn) {
        return None;
    }
    let states = [
        (SiteState::Answers, "answering"),
        (SiteState::Fails, "failing"),
        (SiteState::Unknown, "not asked yet"),
        (SiteState::BuiltIn, "built in"),
    ];
    let counts = states.into_iter().filter_map(|(state, text)| {
        let count = sites.iter().filter(|site| site.state == state).count();
        (count > 0).then(|| format!("{count} {text}"))
    });
    Some(format!("sites       {}", counts.collect::<Vec<_>>().join(", ")))
}

/// A site that does not answer.
fn failing(site: &SiteStatus) -> String {
    let since = site.failing_since.map(|since| time(since.as_seconds())).unwrap_or_default();
    let error = site.error.as_deref().unwrap_or("unknown");
    let (name, origin) = (escape(site.name.as_bytes()), escape(site.origin.as_bytes()));
    format!("ALARM       {name}: {origin} has not answered since {since}: {}", escape(error.as_bytes()))
}

/// The limits that have met anybody, those that did most first.
fn client_limits(limits: &[LimitStatus]) -> Option<String> {
    let mut busy: Vec<&LimitStatus> = limits.iter().filter(|limit| limit.offences + limit.refused > 0).collect();
    busy.sort_by_key(|limit| std::cmp::Reverse((limit.offences, limit.refused)));
    let word = |limit: &LimitStatus| match limit.action {
        LimitAction::Log => "would have met",
        LimitAction::Limit | LimitAction::Refuse => "met",
        LimitAction::Ban => "banned",
    };
    let shown = |limit: &&LimitStatus| {
        let LimitStatus { name, offences, refused, spared, .. } = limit;
        let spared = if *spared > 0 { format!(", spared {spared}") } else { String::new() };
        format!("{} {} {offences}, refused {refused}{spared}", escape(name.as_bytes()), word(limit))
    };
    let shown: Vec<String> = busy.iter().take(LIMITS_MAX).map(shown).collect();
    (!shown.is_empty()).then(|| format!("per client  {}", shown.join("; ")))
}

/// Who is banned, and how the kernel is.
fn enforcement(status: &EnforcementStatus) -> String {
    let kernel = &status.kernel;
    let reason = kernel.reason.as_deref().unwrap_or("unknown");
    if status.panicked && kernel.state == KernelState::Failing {
        return format!("the proxy refuses nobody since `seawall panic`, BUT {reason}; it is tried again");
    }
    if status.panicked {
        return "nothing is in force since `seawall panic`; `seawall panic --over` goes on".to_owned();
    }
    let layer = match kernel.state {
        KernelState::Off => format!("the kernel drops nobody: {reason}"),
        KernelState::Ready => "the kernel drops nobody yet".to_owned(),
        KernelState::Active => {
            let (dropped, size) = (kernel.dropped.packets, bytes(kernel.dropped.bytes as f64));
            let repairs = match kernel.repairs {
                0 => String::new(),
                repairs => format!(", repaired {}", counted(repairs, "time")),
            };
            let (clients, networks) = (counted(kernel.clients, "client"), counted(kernel.networks, "network"));
            let packets = counted(dropped, "packet");
            format!("the kernel drops {clients} and {networks}; {packets} ({size}){repairs}")
        }
        KernelState::Failing => format!("the kernel's table cannot be changed: {reason}"),
        KernelState::Panicked => "the kernel drops nobody".to_owned(),
    };
    format!("{}, {layer}", status.bans)
}

/// What is refused at the CDN, if there is one; in one line.
fn edge(edge: &EdgeStatus) -> Option<String> {
    let provider = edge.provider.as_deref()?;
    let there = format!("{} of {} entries and {} rules", edge.entries, edge.entries_max, edge.rules);
    let reason = escape(edge.reason.as_deref().unwrap_or("unknown").as_bytes());
    let mut text = match edge.state {
        EdgeState::Off => return None,
        EdgeState::Starting => format!("{provider} has not been read yet"),
        EdgeState::Proposing => {
            format!("{provider} has {there}; {} changes are proposed, see `seawall edge plan`", edge.proposed)
        }
        EdgeState::Active => format!("{provider} refuses by {there}"),
        EdgeState::Failing => format!("{provider} cannot be brought into line: {reason}"),
        EdgeState::Panicked => format!("{provider} refuses nobody"),
    };
    if edge.repairs > 0 {
        text += &format!(", repaired {} times", edge.repairs);
    }
    let left_out = edge.left_out.len() as u64 + edge.left_out_more;
    if left_out > 0 {
        text += &format!("; {left_out} left out, see `seawall edge status`");
    }
    Some(text)
}

/// Everything about the edge.
pub fn edge_in_full(status: &EdgeStatus) -> String {
    let Some(line) = edge(status) else {
        return "This guard has no edge: name the CDN with `provider` in [edge] of its configuration.\n".to_owned();
    };
    let mut lines = vec![line];
    if let Some(at) = status.in_line_at {
        lines.push(format!("It was last found to be what is wanted at {}.", time(at.as_seconds())));
    }
    if let Some(at) = status.retry_at {
        lines.push(format!("It is tried again at {}; the guard refuses by itself meanwhile.", time(at.as_seconds())));
    }
    for left in &status.left_out {
        lines.push(format!("left out: {}, since {}", left.what, left.why));
    }
    if status.left_out_more > 0 {
        lines.push(format!("and {} more", status.left_out_more));
    }
    if let Some(repair) = &status.last_repair {
        lines.push(format!("The last time that somebody else changed what is the guard's: {repair}."));
    }
    lines.push(format!(
        "Changed {} times, {} attempts failed, {} requests to the API.",
        status.changes, status.failures, status.requests
    ));
    lines.join("\n") + "\n"
}

/// One rule in two lines. Beside a server it is only counted what a rule would refuse.
pub fn rule(rule: &RuleStatus, is_beside: bool) -> Vec<String> {
    let evidence = &rule.evidence;
    let refused = if is_beside { "would have refused" } else { "refused" };
    let speaks = if is_unknown(evidence) {
        "what it would match of normal is not known".to_owned()
    } else {
        format!(
            "explains {:.0}% of the excess, would match {:.2}% (at most {:.2}%) of normal",
            100.0 * evidence.coverage,
            100.0 * evidence.collateral,
            100.0 * evidence.collateral_upper,
        )
    };
    vec![
        format!("{} {} {}", rule.id, what_it_does(rule), rule.text),
        format!("   {speaks}; matched {}, {refused} {}", rule.matched, rule.refused),
    ]
}

/// Everything about one rule.
pub fn rule_in_full(rule: &RuleStatus) -> String {
    let mut lines = vec![format!("{} {} {}", rule.id, what_it_does(rule), rule.text), rule.reason.clone()];
    let evidence = &rule.evidence;
    if evidence.rows > 0 {
        lines.push(format!(
            "It explains {:.0}% of the excess, in every window at least {:.0}%, by {} of {}.",
            100.0 * evidence.coverage,
            100.0 * evidence.stability,
            counted(u64::from(evidence.rows), "observation"),
            counted(u64::from(evidence.clients), "client")
        ));
    }
    // Of a rule that a person said this is all that speaks for or against it.
    if is_unknown(evidence) {
        lines.push("What it would match of normal traffic is not known: too little was learned, or it is about client networks.".to_owned());
    } else if evidence.rows > 0 || evidence.collateral_upper > 0.0 {
        lines.push(format!(
            "It would match {:.2}% of normal traffic, {:.2}% at most (95% confidence).",
            100.0 * evidence.collateral,
            100.0 * evidence.collateral_upper
        ));
    }
    if !evidence.closure.is_empty() {
        lines.push(format!("All that it matched has in common: {}.", evidence.closure.join(" and ")));
    }
    lines.push(format!(
        "It matched {} requests and refused {}; {} passed as probes, {} were spared for a good name; {} connections were \
         closed unread.",
        rule.matched, rule.refused, rule.canaries, rule.spared, rule.closed
    ));
    if let Some(share) = rule.collateral_actual {
        lines.push(format!("Of the requests of known good clients it matched {:.2}%.", 100.0 * share));
    }
    let end = if rule.stage == Stage::Vetoed {
        format!("`seawall rules remove {} --undo` lets the guard make it again.", rule.id)
    } else if OwnRules::is_configured(rule.id) {
        "It ends once it is taken out of the configuration and `seawall reload` is said.".to_owned()
    } else {
        format!("`seawall rules remove {}` takes it back.", rule.id)
    };
    lines.push(format!("Found at {}. {end}", time(rule.found.as_seconds())));
    lines.join("\n") + "\n"
}

/// Whether nothing is known of what a rule that people said would match of normal traffic.
fn is_unknown(evidence: &Evidence) -> bool {
    evidence.rows == 0 && evidence.collateral_upper >= 1.0
}

/// What is wrong with a sensor, where it would be missed last.
fn alarms(sensor: &Sensor, log: &LogSensor) -> Vec<String> {
    let name = escape(sensor.address.as_bytes());
    let wrong = log.clock_wrong_by_seconds.map(|seconds| match seconds {
        0.. => format!("its times are {seconds} s behind this machine's clock; the moment of reading is taken instead"),
        _ => format!(
            "its times are {} s ahead of this machine's clock; the moment of reading is taken instead",
            -seconds
        ),
    });
    let lost = log.copy.as_ref().and_then(|copy| {
        let trouble = copy.trouble.as_ref()?;
        Some(format!("the private copy {} loses lines: {trouble}; {} so far", copy.path, copy.lost_lines))
    });
    let alarms = log.alarms.iter().map(|alarm| alarm.text.clone());
    alarms
        .chain(log.trouble.clone())
        .chain(wrong)
        .chain(lost)
        .map(|text| format!("ALARM       {name}: {}", escape(text.as_bytes())))
        .collect()
}

/// Reasons of each log of which an example is shown.
const EXAMPLES_MAX: usize = 3;

/// A log in one line.
fn log_sensor(sensor: &Sensor, log: &LogSensor) -> String {
    let format = match &log.format {
        Some(format) => format!("{format} ({:.0}%)", 100.0 * log.confidence),
        None => "format not known yet".to_owned(),
    };
    let mut text = format!(
        "  {}: {format}, {:.1} lines/s, {} lines, {} not read",
        escape(sensor.address.as_bytes()),
        log.rate,
        log.lines,
        log.unread.iter().filter(|unread| unread.is_failure).map(|unread| unread.lines).sum::<u64>()
    );
    if log.unread_durations > 0 {
        text += &format!(", {} with an unreadable duration", log.unread_durations);
    }
    if log.late > 0 {
        text += &format!(", {} too old", log.late);
    }
    if log.delay_seconds > 0.0 {
        text += &format!(", {:.0} s late by the server's buffer", log.delay_seconds);
    }
    if log.lag_seconds > 0.0 || log.behind_bytes > 0 {
        text += &format!(", behind by {} ({:.1} s)", bytes(log.behind_bytes as f64), log.lag_seconds);
    }
    if log.dropped_datagrams > 0 {
        text += &format!(", {} datagrams dropped", log.dropped_datagrams);
    }
    if log.passed_over_entries > 0 {
        text += &format!(", {} entries passed over", log.passed_over_entries);
    }
    if log.passed_over_bytes > 0 {
        text += &format!(", {} passed over", bytes(log.passed_over_bytes as f64));
    }
    text
}

/// Lines that could not be read, with an example of each reason.
fn not_read(log: &LogSensor) -> impl Iterator<Item = String> {
    // The example is escaped already.
    let examples =
        log.unread.iter().filter(|unread| unread.is_failure && !unread.example.is_empty()).take(EXAMPLES_MAX);
    examples.map(|unread| format!("    {} not read, {}, as: {}", unread.lines, unread.reason, unread.example))
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
pub(super) fn span(seconds: u64) -> String {
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

/// Until when a rule that was taken back is not put in force again.
pub fn veto_end(until: Option<seawall_engine::units::Timestamp>) -> String {
    until.map_or_else(|| "until a day after its incident".to_owned(), |until| format!("until {}", text::moment(until)))
}

/// The stage of a rule; of one in force, what it does, and until when.
pub(super) fn what_it_does(rule: &RuleStatus) -> String {
    if let Some(at) = rule.taken_back {
        return format!("taken back at {}, vetoed {}:", text::moment(at), veto_end(rule.expires));
    }
    if rule.stage != Stage::Enforced {
        return name(&rule.stage);
    }
    let action = match rule.action {
        Action::Throttle { rate } => format!("lets {rate:.0}/s through"),
        Action::Refuse { status } => format!("refuses with {status}"),
        Action::Drop => "drops".to_owned(),
    };
    let until = rule.expires.map(|expires| format!(" until {}", time(expires.as_seconds())));
    format!("{action}{}:", until.unwrap_or_default())
}

/// `line` in pieces of at most `width`, cut at spaces where there are some.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let width = width.max(2 * INDENT);
    let mut pieces = Vec::new();
    let mut rest: Vec<char> = line.chars().collect();
    while rest.len() > width {
        let from = if pieces.is_empty() { 1 } else { INDENT + 1 };
        let at = (from..=width).rev().find(|at| rest[*at] == ' ').unwrap_or(width);
        let tail: String = rest.split_off(at).into_iter().collect();
        pieces.push(rest.into_iter().collect::<String>().trim_end().to_owned());
        rest = format!("{:INDENT$}{}", "", tail.trim_start()).chars().collect();
    }
    pieces.push(rest.into_iter().collect());
    pieces
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::{Aspect, Drift, Status};

    use super::*;

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
    fn a_panic_is_in_the_first_line_whatever_else_is() {
        let enforcement = EnforcementStatus { panicked: true, ..EnforcementStatus::default() };
        let text = render(&Snapshot { enforcement, calm: false, ..Snapshot::default() }, 400);
        assert!(text.lines().next().is_some_and(|line| line.contains("PANIC, nothing is in force")), "{text}");
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

    #[test]
    fn long_lines_go_on_below_and_lose_nothing() {
        let line = format!("incident    {}", "alpha beta gamma delta ".repeat(9));
        for width in [10, 28, 40, 80, 500] {
            let pieces = wrap(&line, width);
            assert!(pieces.iter().all(|piece| piece.len() <= width.max(2 * INDENT)), "{pieces:?}");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&pieces.join(" ")), words(&line));
        }
        assert!(wrap(&"x".repeat(200), 80).iter().all(|piece| piece.len() <= 80));
    }
}
