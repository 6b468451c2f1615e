//! What detection and decision show of themselves: the same structure for the status page, the terminal, `--json` and
//! drills. Texts in it are escaped; no client address is in it unless a rule itself is about one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Action, RuleId, Stage};
use crate::units::Timestamp;

/// The present state, as of `at`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When this was taken.
    pub at: Timestamp,
    /// How long the baseline has been learning, in seconds of observed traffic time.
    pub learned_seconds: u64,
    /// Whether the baseline is too young (under a day) to block on.
    pub cold: bool,
    /// Open incidents first, then closed ones, newest first; a bounded number.
    pub incidents: Vec<IncidentStatus>,
    /// Rules proposed, in shadow, enforced, and retired but remembered; a bounded number.
    pub rules: Vec<RuleStatus>,
    /// In what the mix of normal traffic is no longer what it was. Nobody is refused for it.
    #[serde(default)]
    pub drifts: Vec<Drift>,
}

impl Status {
    /// Whether no incident is open.
    pub fn is_calm(&self) -> bool {
        self.incidents.iter().all(|incident| incident.closed.is_some())
    }
}

/// A mix of normal traffic that is not what it was in the weeks before: somebody may be teaching the guard that a flood to come
/// is normal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The mix of what.
    pub aspect: Aspect,
    /// When it was alarmed.
    pub since: Timestamp,
    /// The Jensen-Shannon divergence of the last day from the weeks before, in bits, 0 to 1.
    pub divergence: f32,
    /// Up to which divergence chance and the usual week explain it.
    pub explained: f32,
    /// The share of clients that had what has grown most, 0 to 1, and the share that has it now.
    pub share_before: f32,
    /// The same as it is now.
    pub share_now: f32,
    /// An example of what has grown, as a condition is written, where one was seen lately.
    pub example: Option<String>,
}

/// In words, for the log and for people who look.
impl fmt::Display for Drift {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, now) = (self.share_before * 100.0, self.share_now * 100.0);
        write!(formatter, "the mix of {} is not what it was: {now:.0}% of the clients are of a kind", self.aspect)?;
        write!(formatter, " that {before:.0}% were of in the weeks before")?;
        match &self.example {
            Some(example) => write!(formatter, ", such as {example}"),
            None => Ok(()),
        }
    }
}

/// In what a mix may drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Kinds of user agents, without their versions.
    Agents,
    /// Autonomous systems, or countries, of clients.
    Networks,
    /// What is asked for first.
    Paths,
}

impl Aspect {
    /// Every aspect.
    pub const ALL: [Self; 3] = [Self::Agents, Self::Networks, Self::Paths];
}

impl fmt::Display for Aspect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Agents => "user agents",
            Self::Networks => "networks",
            Self::Paths => "paths",
        })
    }
}

/// One incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentStatus {
    /// Its number.
    pub id: u32,
    /// When it opened.
    pub opened: Timestamp,
    /// When it ended, if it did.
    pub closed: Option<Timestamp>,
    /// The cost that exceeded what is normal.
    pub cost: CostKind,
    /// What was offered over the last ten seconds, per second, in the unit of the cost.
    pub offered_rate: f64,
    /// What is normal at this time of the week, per second.
    pub normal_rate: f64,
    /// What the excess is.
    pub verdict: Verdict,
    /// The well-known shapes that it shows.
    pub shapes: Vec<NamedShape>,
    /// The verdict in a sentence, for people.
    pub explanation: String,
    /// The rules made for it.
    pub rules: Vec<RuleId>,
}

/// One of the costs that detection watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CostKind {
    /// Requests.
    Requests,
    /// Bytes sent.
    Bytes,
    /// Seconds of work at the site.
    UpstreamTime,
    /// Seconds of held connections.
    ConnectionTime,
}

impl CostKind {
    /// Every cost.
    pub const ALL: [Self; 4] = [Self::Requests, Self::Bytes, Self::UpstreamTime, Self::ConnectionTime];

    /// The unit of its rate, for people.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Requests => "requests/s",
            Self::Bytes => "bytes/s",
            Self::UpstreamTime => "upstream seconds/s",
            Self::ConnectionTime => "connection seconds/s",
        }
    }
}

/// What an excess turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Too early to say.
    Undecided,
    /// At most five rules cover at least 80% of the excess and at most 1% of what is normal.
    Explained,
    /// Rules cover a part of it.
    Partial,
    /// Nothing tells it from wanted traffic: no rule. Limits on each client hold.
    NotSeparable,
    /// Many people: nobody is refused.
    Crowd,
    /// The cause is in no attribute of the requests, as with a slow backend.
    External,
}

impl IncidentStatus {
    /// Whether it shows this shape.
    pub fn has_shape(&self, shape: Shape) -> bool {
        self.shapes.iter().any(|named| named.shape == shape)
    }
}

/// A well-known shape, and what it is told by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedShape {
    /// Which.
    pub shape: Shape,
    /// A sentence for people, with numbers.
    pub evidence: String,
}

/// A well-known shape of unwanted or unusual traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Clients grow with requests, few requests for each, one target.
    Distributed,
    /// Requests for hosts that are not ours.
    Misdirected,
    /// POST to something static.
    PostToStatic,
    /// BitTorrent clients that take the site for a tracker.
    Announce,
    /// A few clients that go through all pages and load none of their parts.
    Crawler,
    /// Clients that ask again and again after the site has failed.
    RetryStorm,
    /// Clients that do not wait when they are told to.
    IgnoresRefusals,
    /// Programs whose clocks agree ask for one link.
    FeedHerd,
    /// Connections that are held and hardly used.
    SlowConnections,
    /// Many people, as after a link on a big site.
    Crowd,
}

/// One rule with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleStatus {
    /// Its number.
    pub id: RuleId,
    /// The incident that it was made for.
    pub incident: u32,
    /// The rule as rules are written.
    pub text: String,
    /// What it does.
    pub action: Action,
    /// How far it has come.
    pub stage: Stage,
    /// Why it stands where it stands, for people: "proposed: the server is not under stress".
    pub reason: String,
    /// When it was found.
    pub found: Timestamp,
    /// When it was put in force, the last time.
    pub enforced: Option<Timestamp>,
    /// When it steps down unless the flood goes on; of one that was taken back, until when it is not put in force again, where that is
    /// known: not while its incident is open.
    pub expires: Option<Timestamp>,
    /// When the operator took it back.
    #[serde(default)]
    pub taken_back: Option<Timestamp>,
    /// Until when it waits to be confirmed, where a person said it so; then it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_until: Option<Timestamp>,
    /// Why it was made.
    pub evidence: Evidence,
    /// Requests that it has matched.
    pub matched: u64,
    /// Requests that it has refused.
    pub refused: u64,
    /// Matching requests that were let through as probes.
    pub canaries: u64,
    /// One matching request in so many passes at present, until it is known whether those are people to whom the site gives something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asking: Option<u32>,
    /// Matching requests that it did not act on, for the good name of the client.
    #[serde(default)]
    pub spared: u64,
    /// Connections closed unread, of clients that go on although it refuses them.
    #[serde(default)]
    pub closed: u64,
    /// Of a guard beside a server: requests that it matched and that the server had refused.
    #[serde(default)]
    pub refused_by_server: u64,
    /// The share of known good clients' requests that it matched since it was made, 0 to 1, where counted.
    pub collateral_actual: Option<f32>,
}

/// Why a rule was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The share of the excess that it explains, 0 to 1.
    pub coverage: f32,
    /// The share of normal traffic that it matches, 0 to 1.
    pub collateral: f32,
    /// The upper bound of that share at 95% confidence (Clopper-Pearson).
    pub collateral_upper: f32,
    /// The least coverage over the windows that have excess, less the turnover of clients, 0 to 1.
    pub stability: f32,
    /// The score by which it was chosen.
    pub score: f32,
    /// Recent observations that it matched.
    pub rows: u32,
    /// Distinct clients among them.
    pub clients: u32,
    /// What all matched requests have in common beyond the rule itself, as conditions.
    pub closure: Vec<String>,
}

/// Something that happened, for the journal and the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// In a sentence, for people.
    pub text: String,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// An incident opened.
    IncidentOpened,
    /// Its verdict changed.
    VerdictChanged,
    /// It ended.
    IncidentClosed,
    /// A rule was proposed.
    RuleProposed,
    /// A rule went into shadow.
    RuleShadowed,
    /// A rule was put in force, or made harder.
    RuleEnforced,
    /// A rule was softened or let go because it was no longer needed.
    RuleRetired,
    /// A rule was taken back because it hurt the wrong ones, or by the operator.
    RuleWithdrawn,
    /// The mix of normal traffic is no longer what it was.
    DriftAlarmed,
    /// It is again.
    DriftEnded,
    /// A rule that people said used to match, and no longer does while traffic goes on.
    RuleSilent,
    /// It does again, or is not missed any more.
    RuleHeard,
    /// A sensor no longer tells what it is there to tell.
    SensorSilent,
    /// It does again.
    SensorHeard,
    /// Nearly all clients are seen as one, as through a proxy that is not trusted.
    ClientsMerged,
    /// They are told apart again.
    ClientsApart,
}
