//! The way from a finding to the end of a flood where the guard is beside a server: what to type so that the server refuses what was
//! found. It only says it; whether it is done the operator decides.

use std::path::Path;

use seawall_engine::address::AddressSet;
use seawall_engine::decision::expression::{Expression, Lists, Use};
use seawall_engine::decision::{Action, OwnRules, RuleStatus, Stage, Status};
use serde::{Deserialize, Serialize};

use crate::config::Environment;
use crate::daemon::Sensor;
use crate::enforcement::COLLATERAL_MAX;
use crate::export::{System, system};

/// Rules that are to be said first; more would be read by nobody in a flood.
const RULES_MAX: usize = 2;

/// What to type while a flood goes on that only the server can refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayOut {
    /// Commands of a shell, in their order.
    pub commands: Vec<String>,
    /// What the server's configuration needs once, when the file is there and before it is read anew.
    pub once: String,
}

/// A web server that the file can be for.
struct Server {
    /// What it is called on the command line of `seawall export`.
    name: &'static str,
    /// What the path of its log, or the format of that, has in it.
    mark: &'static str,
    /// What its configuration needs once.
    once: &'static str,
}

/// Where nothing tells which it is, the first.
const SERVERS: [Server; 5] = [
    Server { name: "nginx", mark: "nginx", once: "in each server block, if ($seawall_refused) { return 403; }" },
    Server { name: "apache", mark: "apache", once: "a2enmod setenvif && a2enconf seawall" },
    Server { name: "apache", mark: "httpd", once: "IncludeOptional of that file, and mod_setenvif" },
    Server { name: "haproxy", mark: "haproxy", once: "what the head of that file says" },
    Server { name: "caddy", mark: "caddy", once: "what the head of that file says" },
];

impl WayOut {
    /// That of a guard beside a server, where an incident is open and something was found that the server can be told to refuse.
    pub fn of(detection: &Status, sensors: &[Sensor], state_directory: &Path) -> Option<Self> {
        let open = detection.incidents.iter().find(|incident| incident.closed.is_none())?;
        let server = server(sensors);
        let system = system(server.name)?;
        let option = state_option(state_directory);
        let is_said = answers(detection).any(|rule| is_written(rule, system));
        let mut commands = Vec::new();
        if !is_said {
            let found = detection.rules.iter().filter(|rule| is_found(rule, open.id));
            let to_say = found.filter(|rule| can_be_said(rule, system, detection.cold));
            // While little is known nobody can tell what a rule hits, so it has to be meant.
            let anyway = if detection.cold { " --anyway" } else { "" };
            let add = |rule: &RuleStatus| format!("seawall rules add {}{anyway}{option}", quoted(&rule.text));
            commands.extend(to_say.take(RULES_MAX).map(add));
        }
        if !is_said && commands.is_empty() {
            return None;
        }
        commands.push(system.renewal(&option));
        Some(Self { commands, once: server.once.to_owned() })
    }
}

/// Whether a rule was found of this incident. What the operator took back is not to be proposed to him.
fn is_found(rule: &RuleStatus, incident: u32) -> bool {
    rule.incident == incident && !matches!(rule.stage, Stage::Retired | Stage::Vetoed)
}

/// The rules that answer to the open incident: what was found of it, and what people have said of the same. What is in force for another
/// reason is written as well, but is no answer to this flood.
pub(crate) fn answers(detection: &Status) -> impl Iterator<Item = &RuleStatus> {
    let open = detection.incidents.iter().find(|incident| incident.closed.is_none());
    let found = move |rule: &&RuleStatus| open.is_some_and(|open| is_found(rule, open.id));
    let is_same = move |rule: &&RuleStatus| detection.rules.iter().filter(found).any(|found| found.text == rule.text);
    detection.rules.iter().filter(move |rule| found(rule) || is_same(rule))
}

/// Whether the file of a system has this rule.
fn is_written(rule: &RuleStatus, system: &System) -> bool {
    let refuses = rule.stage == Stage::Enforced && !matches!(rule.action, Action::Throttle { .. });
    // One that names networks cannot be read back from what is shown of it, but is written whole.
    refuses && expression(rule).is_none_or(|expression| system.says(&expression))
}

/// Whether `rules add` takes this rule as it is shown, so that the file has it then.
fn can_be_said(rule: &RuleStatus, system: &System, is_cold: bool) -> bool {
    let is_taken = OwnRules::read(&rule.text, &AddressSet::default()).is_ok();
    let is_harmless = is_cold || rule.evidence.collateral <= COLLATERAL_MAX;
    is_taken && is_harmless && expression(rule).is_some_and(|expression| system.says(&expression))
}

fn expression(rule: &RuleStatus) -> Option<Expression> {
    Expression::parse(&rule.text, Use::Rule, &Lists::default()).ok()
}

/// The server whose logs these are.
fn server(sensors: &[Sensor]) -> &'static Server {
    let is_marked = |server: &&Server| {
        sensors.iter().any(|sensor| {
            let format = sensor.log.as_ref().and_then(|log| log.format.as_deref());
            sensor.address.contains(server.mark) || format.is_some_and(|format| format.contains(server.mark))
        })
    };
    SERVERS.iter().find(is_marked).unwrap_or(&SERVERS[0])
}

/// ` --state DIR`, where commands need it to find the guard.
pub(super) fn state_option(state_directory: &Path) -> String {
    if state_directory == Environment::of_process().default_state_directory() {
        return String::new();
    }
    let here = std::path::absolute(state_directory).unwrap_or_else(|_| state_directory.to_owned());
    format!(" --state {}", word(&here.to_string_lossy()))
}

/// One word of a shell's command line.
fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if text.bytes().all(is_plain) { text.to_owned() } else { quoted(text) }
}

/// A text in quotes in which a shell replaces nothing.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::{CostKind, IncidentStatus, Verdict};
    use seawall_engine::units::Timestamp;

    use super::*;
    use crate::fixtures::rule_status;

    fn rule(id: u32, incident: u32, text: &str, stage: Stage, action: Action) -> RuleStatus {
        RuleStatus { incident, text: text.to_owned(), action, stage, ..rule_status(id) }
    }

    fn commands(rules: &[RuleStatus], is_cold: bool, log: &str) -> Vec<String> {
        let incident = IncidentStatus {
            id: 1,
            opened: Timestamp::EPOCH,
            closed: None,
            cost: CostKind::Requests,
            offered_rate: 400.0,
            normal_rate: 2.0,
            verdict: Verdict::Explained,
            shapes: Vec::new(),
            explanation: String::new(),
            rules: Vec::new(),
        };
        let sensors = [Sensor { name: "file".to_owned(), address: log.to_owned(), log: None }];
        let mut detection =
            Status { cold: is_cold, incidents: vec![incident], rules: rules.to_vec(), ..Status::default() };
        let default = Environment::of_process().default_state_directory();
        let way_out = WayOut::of(&detection, &sensors, &default);
        detection.incidents[0].closed = Some(Timestamp::EPOCH);
        assert_eq!(WayOut::of(&detection, &sensors, &default), None, "it is over");
        way_out.map(|way_out| way_out.commands).unwrap_or_default()
    }

    const EXPORT: &str =
        "seawall export nginx --output /etc/nginx/conf.d/seawall.conf --test 'nginx -t -q' && nginx -s reload";
    const REFUSE: Action = Action::Refuse { status: 403 };
    const THROTTLE: Action = Action::Throttle { rate: 1.0 };
    const LOG: &str = "/var/log/nginx/access.log";

    #[test]
    fn what_is_found_is_exported_and_said_first_where_the_file_would_not_have_it() {
        let flood = "user-agent = \"x\"";
        assert_eq!(commands(&[], false, LOG), [""; 0]);
        assert_eq!(commands(&[rule(3, 1, flood, Stage::Enforced, REFUSE)], false, LOG), [EXPORT]);
        let add = "seawall rules add 'user-agent = \"x\"'";
        for (stage, action) in [(Stage::Enforced, THROTTLE), (Stage::Proposed, REFUSE), (Stage::Shadow, REFUSE)] {
            let found = rule(3, 1, flood, stage, action);
            assert_eq!(commands(std::slice::from_ref(&found), false, LOG), [add, EXPORT]);
            assert_eq!(commands(std::slice::from_ref(&found), true, LOG), [format!("{add} --anyway").as_str(), EXPORT]);
            // Once it is said the file has it.
            let said = rule(10_001, 0, flood, Stage::Enforced, REFUSE);
            assert_eq!(commands(&[said, found], false, LOG), [EXPORT]);
        }
        assert_eq!(commands(&[rule(3, 1, flood, Stage::Vetoed, REFUSE)], false, LOG), [""; 0], "it was taken back");
        let other = rule(10_001, 0, "path = \"/x\"", Stage::Enforced, REFUSE);
        assert_eq!(commands(&[other], false, LOG), [""; 0], "it is no answer to this flood");
    }

    #[test]
    fn nothing_is_printed_that_would_not_work() {
        let found = |text| [rule(3, 1, text, Stage::Proposed, REFUSE)];
        let quote = r#"user-agent = "it\'s""#;
        assert_eq!(commands(&found(quote), false, LOG)[0], r#"seawall rules add 'user-agent = "it\'\''s"'"#);
        for text in ["client = (an IPv4 /24)", "country = \"CN\"", "asn = \"4134\""] {
            assert_eq!(commands(&found(text), false, LOG), [""; 0], "{text}");
        }
        let mut harmful = found("user-agent = \"x\"");
        harmful[0].evidence.collateral = 0.02;
        assert_eq!(commands(&harmful, false, LOG), [""; 0], "`rules add` would refuse it");
        let apache = commands(&found("user-agent = \"x\""), false, "/var/log/apache2/access.log");
        assert!(
            apache.last().is_some_and(|command| command.starts_with("seawall export apache --output /etc/apache2/"))
        );
        assert_eq!(word("/srv/a b"), "'/srv/a b'");
    }
}
