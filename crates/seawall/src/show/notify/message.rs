//! What a message says, for somebody half asleep: what it is, since when, how strong, what was done, what to type next.
//!
//! What clients sent has been escaped by the engine, and no client address is in what it tells.

use std::fmt::Write as _;
use std::path::Path;

use seawall_engine::decision::{Event, EventKind, IncidentStatus, RuleStatus, Stage, Verdict};
use seawall_engine::units::Timestamp;
use serde::Serialize;

use crate::daemon::Snapshot;
use crate::show::standing::Standing;
use crate::show::status::{span, what_it_does};
use crate::show::text::escape;
use crate::show::time::day_and_time;
use crate::show::way_out::state_option;

/// Rules that are named, and what happened that is told.
const RULES_MAX: usize = 5;
const LATELY_MAX: usize = 10;

/// The longest that a text of the engine is shown, in characters.
const TEXT_CHARACTERS_MAX: usize = 500;

/// Whether somebody is to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Urgency {
    /// Something has begun.
    High,
    /// Something has gone on, or is over.
    Usual,
}

/// Who tells, and how it is asked.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    host: String,
    /// ` --state DIR` where commands need it.
    option: String,
}

impl Sender {
    pub(super) fn new(state_directory: &Path) -> Self {
        let host = escape(rustix::system::uname().nodename().to_bytes());
        let option = state_option(state_directory);
        Self { host, option }
    }
}

/// One message; its JSON is what commands and URLs get.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Message {
    /// In one line.
    pub(super) title: String,
    /// All of it, in lines.
    pub(super) text: String,
    pub(super) urgency: Urgency,
    /// The machine that the guard runs on.
    host: String,
    /// Whether it is a trial.
    trial: bool,
    /// What happened, oldest first.
    events: Vec<Event>,
    /// What happened and is not in `events`, since there was too much.
    events_left_out: u64,
    /// The open incident, or else the newest.
    incident: Option<IncidentStatus>,
    /// Rules that count: in force, in shadow, proposed.
    rules: Vec<RuleStatus>,
    /// What can be typed next.
    commands: Vec<String>,
}

impl Message {
    /// That these events happened, and how things stand.
    pub(super) fn new(sender: &Sender, mut events: Vec<Event>, events_left_out: u64, snapshot: &Snapshot) -> Self {
        for event in &mut events {
            event.text = cut(&escape_again(&event.text));
        }
        let happened = |kinds: &[EventKind]| events.iter().rev().find(|event| kinds.contains(&event.kind));
        let incidents = &snapshot.detection.incidents;
        let open = incidents.iter().find(|incident| incident.closed.is_none());
        let is_about_incident = events.iter().any(|event| !is_about_silence(event.kind));
        let incident = open.or_else(|| incidents.first().filter(|_| is_about_incident)).cloned();
        let relevant = |rule: &&RuleStatus| incident.as_ref().is_some_and(|incident| rule.incident == incident.id);
        let live = |rule: &&RuleStatus| matches!(rule.stage, Stage::Enforced | Stage::Shadow | Stage::Proposed);
        let rules: Vec<RuleStatus> =
            snapshot.detection.rules.iter().filter(relevant).filter(live).take(RULES_MAX).cloned().collect();
        let silent = happened(&[EventKind::SensorSilent, EventKind::RuleSilent, EventKind::ClientsMerged]);
        let what = match (&incident, silent) {
            (Some(incident), _) if incident.closed.is_none() => strength(incident),
            (_, Some(silent)) if silent.kind == EventKind::SensorSilent => {
                format!("a log says nothing: {}", silent.text)
            }
            (_, Some(silent)) => silent.text.clone(),
            (Some(incident), None) if happened(&[EventKind::IncidentClosed]).is_some() => over(incident),
            _ => events.last().map_or_else(String::new, |event| event.text.clone()),
        };
        let has_begun = happened(&[EventKind::IncidentOpened]).is_some() && open.is_some();
        let urgency = if has_begun || silent.is_some() { Urgency::High } else { Urgency::Usual };
        let commands = commands(sender, &rules, snapshot);
        let mut text = String::new();
        if let Some(incident) = &incident {
            describe(&mut text, incident, &rules, snapshot);
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "Lately:");
        let skipped = events.len().saturating_sub(LATELY_MAX);
        for event in events.iter().skip(skipped) {
            let _ = writeln!(text, "  {}  {}", day_and_time(event.at), event.text);
        }
        let more = events_left_out + skipped as u64;
        if more > 0 {
            let _ = writeln!(text, "  and {more} more before that");
        }
        let _ = writeln!(text, "Type next:\n  {}", commands.join("\n  "));
        let title = cut(&format!("Seawall on {}: {what}", sender.host));
        let host = sender.host.clone();
        Self { title, text, urgency, host, trial: false, events, events_left_out, incident, rules, commands }
    }

    /// That messages arrive.
    pub(super) fn trial(sender: &Sender, now: Timestamp) -> Self {
        let commands = vec![format!("seawall status{}", sender.option)];
        Self {
            title: format!("Seawall on {}: a trial message", sender.host),
            text: format!(
                "This is a trial, sent at {}. Nothing has happened.\nA flood would be told of in this way.\nType next:\n  {}\n",
                day_and_time(now),
                commands.join("\n  ")
            ),
            urgency: Urgency::Usual,
            host: sender.host.clone(),
            trial: true,
            events: Vec::new(),
            events_left_out: 0,
            incident: None,
            rules: Vec::new(),
            commands,
        }
    }

    /// As one JSON object.
    pub(super) fn json(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What, since when, how strong, what was done.
fn describe(text: &mut String, incident: &IncidentStatus, rules: &[RuleStatus], snapshot: &Snapshot) {
    let (explanation, unit) = (cut(&incident.explanation), incident.cost.unit());
    let _ = writeln!(text, "What: {explanation}.");
    match incident.closed {
        None => {
            let lasted = snapshot.detection.at.since(incident.opened).as_secs();
            let _ = writeln!(text, "Since: {}, for {}.", day_and_time(incident.opened), span(lasted));
            let (offered, normal) = (rate(incident.offered_rate), rate(incident.normal_rate));
            let _ = writeln!(text, "How strong: {offered} {unit}, where {normal} are normal.");
        }
        Some(closed) => {
            let lasted = span(closed.since(incident.opened).as_secs());
            let _ = writeln!(text, "From {} to {}, {lasted}.", day_and_time(incident.opened), day_and_time(closed));
        }
    }
    let standing = Standing::of(snapshot);
    let in_force = rules.iter().filter(|rule| rule.stage == Stage::Enforced).count();
    let done = match (in_force, rules.len()) {
        (0, 0) => "nothing; no rule is there for it",
        (0, _) => "nothing; rules were found, and none is in force",
        _ if standing.is_beside() => standing.fate(),
        _ => "rules are in force",
    };
    let _ = writeln!(text, "Done: {done}.");
    for rule in rules {
        let (id, does, condition) = (rule.id, what_it_does(rule, standing), cut(&rule.text));
        let _ = writeln!(text, "  {id} {does} {condition} ({} {})", standing.refused(), rule.refused);
        if rule.stage != Stage::Enforced {
            let _ = writeln!(text, "     {}", cut(&rule.reason));
        }
    }
}

fn strength(incident: &IncidentStatus) -> String {
    let what = match incident.verdict {
        Verdict::Undecided | Verdict::Explained | Verdict::Partial | Verdict::NotSeparable => "too much traffic",
        Verdict::Crowd => "many people come",
        Verdict::External => "the site is slow",
    };
    let (offered, normal) = (rate(incident.offered_rate), rate(incident.normal_rate));
    let (unit, since) = (incident.cost.unit(), day_and_time(incident.opened));
    format!("{what} since {since}: {offered} {unit}, {normal} are normal")
}

fn over(incident: &IncidentStatus) -> String {
    let lasted = incident.closed.unwrap_or(incident.opened).since(incident.opened).as_secs();
    format!("over after {}: {}", span(lasted), incident.explanation)
}

fn commands(sender: &Sender, rules: &[RuleStatus], snapshot: &Snapshot) -> Vec<String> {
    let option = &sender.option;
    let mut commands = vec![format!("seawall status{option}")];
    if let Some(way_out) = &snapshot.way_out {
        commands.extend(way_out.commands.iter().cloned());
        if let Some(last) = commands.last_mut() {
            *last += &format!("   # once, before the reload: {}", way_out.once);
        }
    }
    if let Some(rule) = rules.first() {
        commands.push(format!("seawall rules list{option}"));
        commands.push(format!("seawall rules remove {}{option}   # takes a rule back", rule.id));
    }
    if let Some(sensor) = snapshot.sensors.iter().find(|sensor| sensor.name == "file" && sensor.log.is_some()) {
        commands.push(format!("tail {}   # what the server writes", escape(sensor.address.as_bytes())));
    }
    commands
}

const fn is_about_silence(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::SensorSilent
            | EventKind::SensorHeard
            | EventKind::RuleSilent
            | EventKind::RuleHeard
            | EventKind::ClientsMerged
            | EventKind::ClientsApart
    )
}

/// A rate with as many digits as tell something.
fn rate(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// Names of logs are not the engine's; what it has escaped stays as it is.
fn escape_again(text: &str) -> String {
    escape(text.as_bytes()).replace(r"\\", r"\")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::{Action, CostKind, RuleId, Status};

    use super::*;
    use crate::enforcement::KernelState;
    use crate::fixtures::rule_status;
    use crate::show::way_out::WayOut;

    const OPENED: Timestamp = Timestamp::from_seconds(1_767_000_000);

    fn sender() -> Sender {
        Sender { host: "web1".to_owned(), option: String::new() }
    }

    fn event(kind: EventKind, text: &str) -> Event {
        Event { at: OPENED, kind, text: text.to_owned() }
    }

    fn incident() -> IncidentStatus {
        IncidentStatus {
            id: 1,
            opened: OPENED,
            closed: None,
            cost: CostKind::Requests,
            offered_rate: 431.2,
            normal_rate: 20.4,
            verdict: Verdict::Explained,
            shapes: Vec::new(),
            explanation: "1 rule explains 94% of the excess".to_owned(),
            rules: vec![RuleId(3)],
        }
    }

    fn rule(stage: Stage) -> RuleStatus {
        RuleStatus {
            text: "user-agent = \"QQGameHall\"".to_owned(),
            action: Action::Refuse { status: 429 },
            stage,
            reason: "proposed: the server is not under stress".to_owned(),
            found: OPENED,
            matched: 12_000,
            refused: 11_900,
            canaries: 10,
            asking: None,
            ..rule_status(3)
        }
    }

    fn snapshot(incidents: Vec<IncidentStatus>, rules: Vec<RuleStatus>) -> Snapshot {
        let at = OPENED + std::time::Duration::from_secs(30);
        Snapshot { detection: Status { at, incidents, rules, ..Status::default() }, ..Snapshot::default() }
    }

    #[test]
    fn a_flood_is_told_with_its_strength_what_was_done_and_what_to_type() {
        let events = vec![event(EventKind::IncidentOpened, "incident 1 opened: twenty times as much")];
        let snapshot = snapshot(vec![incident()], vec![rule(Stage::Enforced)]);
        let message = Message::new(&sender(), events, 0, &snapshot);
        assert_eq!(message.urgency, Urgency::High);
        assert!(message.title.starts_with("Seawall on web1: too much traffic since "), "{}", message.title);
        assert!(message.title.ends_with(": 431 requests/s, 20 are normal"), "{}", message.title);
        for part in [
            "What: 1 rule explains 94% of the excess.\n",
            ", for 30 s.\n",
            "How strong: 431 requests/s, where 20 are normal.\n",
            "Done: rules are in force.\n  R3 refuses with 429: user-agent = \"QQGameHall\" (refused 11900)\n",
            "incident 1 opened",
            "Type next:\n  seawall status\n  seawall rules list\n  seawall rules remove R3",
        ] {
            assert!(message.text.contains(part), "{part}\n{}", message.text);
        }
    }

    #[test]
    fn beside_a_server_nothing_is_said_to_be_done_and_how_the_server_does_it_is() {
        let events = vec![event(EventKind::RuleEnforced, "R3 would refuse with 429, it is a flood")];
        let way_out = WayOut { commands: vec!["seawall export nginx".to_owned()], once: "include it".to_owned() };
        let mut snapshot = snapshot(vec![incident()], vec![rule(Stage::Enforced)]);
        (snapshot.beside, snapshot.way_out) = (true, Some(way_out));
        for (state, done) in [
            (KernelState::Off, "nobody is refused, what rules would refuse is counted"),
            (
                KernelState::Active,
                "no request is refused, and who goes on with what rules would refuse is dropped by the kernel",
            ),
        ] {
            snapshot.enforcement.kernel.state = state;
            let text = Message::new(&sender(), events.clone(), 0, &snapshot).text;
            let rule = "R3 would refuse with 429: user-agent = \"QQGameHall\" (would have refused 11900)";
            assert!(text.contains(&format!("Done: {done}.\n  {rule}\n")), "{text}");
            assert!(text.contains("\n  seawall export nginx   # once, before the reload: include it\n"), "{text}");
            assert!(!text.contains("refuses") && !text.contains("in force"), "{text}");
        }
    }

    #[test]
    fn what_was_not_done_is_said_with_the_reason() {
        let events = vec![event(EventKind::RuleProposed, "R3 proposed")];
        let message = Message::new(&sender(), events, 0, &snapshot(vec![incident()], vec![rule(Stage::Proposed)]));
        assert!(message.text.contains("Done: nothing; rules were found, and none is in force.\n"), "{}", message.text);
        assert!(message.text.contains("proposed: the server is not under stress"), "{}", message.text);
        assert_eq!(message.urgency, Urgency::Usual);
    }

    #[test]
    fn an_end_and_a_silent_log_have_titles_of_their_own() {
        let over = IncidentStatus { closed: Some(OPENED + std::time::Duration::from_secs(600)), ..incident() };
        let events = vec![event(EventKind::IncidentClosed, "incident 1 is over")];
        let message = Message::new(&sender(), events, 0, &snapshot(vec![over], Vec::new()));
        assert_eq!(message.title, "Seawall on web1: over after 10 min: 1 rule explains 94% of the excess");
        let events = vec![event(EventKind::SensorSilent, "access.log: no line for 20 s\u{1b}[2J")];
        let message = Message::new(&sender(), events, 0, &snapshot(Vec::new(), Vec::new()));
        assert_eq!(message.title, r"Seawall on web1: a log says nothing: access.log: no line for 20 s\x1b[2J");
        assert_eq!(message.urgency, Urgency::High);
        let events = vec![event(EventKind::RuleSilent, "limit \"login\" has matched nothing for 20 s")];
        let message = Message::new(&sender(), events, 0, &snapshot(Vec::new(), Vec::new()));
        assert_eq!(message.title, "Seawall on web1: limit \"login\" has matched nothing for 20 s");
        let events = vec![event(EventKind::ClientsMerged, "100% of the last 300 requests come from 127.0.0.1")];
        let message = Message::new(&sender(), events, 0, &snapshot(Vec::new(), Vec::new()));
        assert_eq!(message.title, "Seawall on web1: 100% of the last 300 requests come from 127.0.0.1");
        assert_eq!(message.urgency, Urgency::High);
    }

    #[test]
    fn a_message_has_a_bound_and_says_what_it_leaves_out() {
        let events = (0..32).map(|_| event(EventKind::RuleEnforced, &"x".repeat(100_000))).collect();
        let mut rules = vec![rule(Stage::Enforced); 100];
        rules.iter_mut().for_each(|rule| rule.text = "y".repeat(2_000));
        let message = Message::new(&sender(), events, 968, &snapshot(vec![incident()], rules));
        assert!(message.json().len() < 64 * 1_024, "{}", message.json().len());
        assert!(message.text.contains("and 990 more before that"), "{}", message.text);
    }
}
