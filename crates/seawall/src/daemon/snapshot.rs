//! What the guard shows of itself: taken by the detecting thread, read by whoever asks.

use std::net::SocketAddr;

use seawall_engine::decision::{Event, RuleStatus, Stage, Status};
use seawall_engine::detection::Stress;
use seawall_engine::gate::LimitStatus;
use seawall_engine::silence::{Alarm, RuleAlarm};
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use crate::enforcement::EnforcementStatus;
use crate::enforcement::edge::EdgeStatus;
use crate::record::RecordStatus;
use crate::show::notify::Notified;
use crate::show::way_out::WayOut;
use crate::source::proxy::settings::Destination;
use crate::source::proxy::traffic::TrafficTotals;
use crate::source::proxy::{Health, UpstreamHealth};
use crate::source::watch::report::LogSensor;

/// The state of a running guard at one moment; what `seawall status --json` and the status page print.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version of the guard.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// How long it has run.
    pub uptime_seconds: u64,
    /// Whether no incident is open.
    pub calm: bool,
    /// When rules are put in force: `never`, `under-stress` or `on-excess`.
    pub enforce: seawall_engine::decision::Enforce,
    /// What the server is short of at present, or the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stress: Option<Stress>,
    /// Counts since the start.
    pub traffic: TrafficTotals,
    /// The last ten seconds.
    pub rates: Rates,
    /// Whether the traffic is another server's, which its logs tell of.
    #[serde(default)]
    pub beside: bool,
    /// Where traffic is seen.
    pub sensors: Vec<Sensor>,
    /// The sites, in line.
    #[serde(default)]
    pub sites: Vec<SiteStatus>,
    /// Bounds, and how near they are.
    pub limits: Limits,
    /// What is enforced below the proxy.
    #[serde(default)]
    pub enforcement: EnforcementStatus,
    /// What is refused at the CDN in front.
    #[serde(default)]
    pub edge: EdgeStatus,
    /// The record.
    #[serde(default)]
    pub record: RecordStatus,
    /// Incidents and rules.
    pub detection: Status,
    /// What to type so that the server refuses what was found; beside a server, while an incident is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_out: Option<WayOut>,
    /// Beside a server, while an incident is open: whether the server refuses nearly all that was found, as it was told to.
    #[serde(default)]
    pub server_refuses: bool,
    /// The limits that each client has for itself.
    #[serde(default)]
    pub client_limits: Vec<LimitStatus>,
    /// Rules of people, those of the configuration among them, that used to match and no longer do.
    #[serde(default)]
    pub silent_rules: Vec<RuleAlarm>,
    /// In line: that nearly all clients are seen as one. Of a log it is among the sensor's alarms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_clients: Option<Alarm>,
    /// Rules of people, those of the configuration among them, that cannot be in force, each with the reason.
    #[serde(default)]
    pub rules_not_in_force: Vec<String>,
    /// What is to be said of rules of the configuration that hit more than 1% of normal traffic.
    #[serde(default)]
    pub harmful_rules: Vec<String>,
    /// Until when the configuration waits to be confirmed, if it does; then that of before comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_until: Option<Timestamp>,
    /// Why the status page cannot be served, while that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_trouble: Option<String>,
    /// What a restart would make of the last panic or its end, where the state directory could not be told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panic_unkept: Option<String>,
    /// What has happened, newest last; a bounded number.
    pub events: Vec<Event>,
    /// Who is told of it, and how that goes.
    #[serde(default)]
    pub notifications: Vec<Notified>,
}

impl Snapshot {
    /// What is known before anything was seen.
    pub(super) fn at_start(beside: bool, sensors: Vec<Sensor>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            calm: true,
            beside,
            sensors,
            ..Self::default()
        }
    }
}

/// A rule as it is shown while a panic has everything out: no more than what it would be.
pub(super) fn out_of_force(rule: &mut RuleStatus) {
    if rule.stage == Stage::Enforced {
        (rule.stage, rule.enforced) = (Stage::Proposed, None);
        "not in force since `seawall panic`".clone_into(&mut rule.reason);
    }
}

/// Requests a second over the last ten seconds, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// All.
    pub requests: f64,
    /// Answered by the site.
    pub served: f64,
    /// Refused or dropped by a rule; beside a server, refused by that of what a rule in force matches.
    pub refused: f64,
    /// Beside a server: that rules would have refused or dropped and the server has not.
    #[serde(default)]
    pub would_refuse: f64,
    /// For hosts that are none of ours.
    pub misdirected: f64,
    /// No clear HTTP.
    pub malformed: f64,
    /// Beyond a limit of the client, or of all.
    pub limited: f64,
    /// Of these, beyond a limit of the client.
    #[serde(default)]
    pub client_limited: f64,
    /// And refused because too much came at once.
    #[serde(default)]
    pub overloaded: f64,
    /// The site did not answer as it should.
    pub failed: f64,
    /// Connections closed unread.
    pub closed_unread: f64,
    /// Bytes sent a second.
    pub bytes_sent: f64,
}

/// A guarded site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// Its name.
    pub name: String,
    /// Where its answers come from: the URL of another server, `clock` or `files`.
    pub origin: String,
    /// Whether they come.
    pub state: SiteState,
    /// When the other server answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Timestamp>,
    /// Since when it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whether a site answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SiteState {
    /// The guard answers for it.
    BuiltIn,
    /// It has not been asked yet.
    Unknown,
    /// It does.
    Answers,
    /// Every request since some time has failed.
    Fails,
}

impl SiteStatus {
    /// The site called `name`, whose requests go to `destination`.
    pub(super) fn new(name: &str, destination: &Destination, health: &Health) -> Self {
        let built_in = |origin: &str| Self {
            name: name.to_owned(),
            origin: origin.to_owned(),
            state: SiteState::BuiltIn,
            answered: None,
            failing_since: None,
            error: None,
        };
        let upstream = match destination {
            Destination::Upstream(upstream) => upstream,
            Destination::Clock => return built_in("clock"),
            Destination::Files(_) => return built_in("files"),
        };
        let site = built_in(&upstream.to_string());
        match health.of(upstream) {
            None => Self { state: SiteState::Unknown, ..site },
            Some(UpstreamHealth { answered, failing_since: None, .. }) => {
                Self { state: SiteState::Answers, answered, ..site }
            }
            Some(UpstreamHealth { answered, failing_since, error, .. }) => {
                Self { state: SiteState::Fails, answered, failing_since, error: Some(error), ..site }
            }
        }
    }
}

/// A place where traffic is seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensor {
    /// What it is: `proxy`, or `file`, `pipe`, `journal`, `syslog` for logs.
    pub name: String,
    /// Its address, or what it reads.
    pub address: String,
    /// How it does, when it reads a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogSensor>,
}

impl Sensor {
    /// Those of a guard in line.
    pub(super) fn of_proxy(listening: &[SocketAddr]) -> Vec<Self> {
        let sensor = |address: &SocketAddr| Self { name: "proxy".to_owned(), address: address.to_string(), log: None };
        listening.iter().map(sensor).collect()
    }
}

/// Bounds, and how near they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Connections open, streams of the clock among them.
    pub connections: u64,
    /// The most that are let in.
    pub connections_max: u64,
    /// The limit on open files.
    pub open_files_max: u64,
    /// The share of all processors in use, 0 to 1.
    pub cpu_used: f32,
    /// The share of memory in use, 0 to 1.
    pub memory_used: f32,
    /// Bytes that the engine's tables take, whatever they hold.
    pub engine_bytes: u64,
}
