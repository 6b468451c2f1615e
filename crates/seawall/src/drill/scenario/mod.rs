//! The scenario: who comes, when, asking for what, and what must hold in the end.
//!
//! It owns the format (TOML) and its checking: a [`Scenario`] that exists can be run. It never touches the network, and
//! has no way to name a target: a drill only ever meets the guard and the origin that it started itself.

mod check;
mod pattern;
mod quantity;
mod read;

use std::time::Duration;

use seawall_engine::decision::{Enforce, Shape, Verdict};
use serde::{Deserialize, Serialize};

pub(crate) use check::{CLIENTS_AT_ONCE_MAX, REQUESTS_MAX, parse};
pub(crate) use pattern::Pattern;
pub(crate) use quantity::{RatePerSecond, SIZE_MAX, Share, Size, Time};

/// A whole scenario, checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) name: String,
    /// The incident in one line.
    pub(crate) incident: String,
    /// Where all randomness comes from.
    #[serde(default)]
    pub(crate) seed: u64,
    /// How long traffic is sent.
    pub(crate) duration: Time,
    /// When the unusual traffic begins, after the start.
    pub(crate) onset: Time,
    /// What is guarded.
    pub(crate) site: Site,
    /// What answers behind the guard.
    #[serde(default)]
    pub(crate) origin: Origin,
    /// How the guard is set.
    #[serde(default)]
    pub(crate) guard: Guard,
    /// What the guard knows from before.
    #[serde(default)]
    pub(crate) history: History,
    /// Who comes.
    #[serde(rename = "group")]
    pub(crate) groups: Vec<Group>,
    /// What must hold.
    #[serde(default)]
    pub(crate) targets: Targets,
}

/// What is guarded.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Site {
    /// The hosts that are ours; the first is what requests carry unless they say otherwise.
    pub(crate) hosts: Vec<String>,
}

/// What answers behind the guard.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Origin {
    /// A small server of the drill's own, or the guard's built-in clock.
    pub(crate) kind: OriginKind,
    /// Requests that it works on at once.
    pub(crate) requests_at_once_max: usize,
    /// Requests that wait for a place; more are answered 503, or left hanging.
    pub(crate) waiting_max: usize,
    /// The longest wait, then 503.
    pub(crate) waiting_time_max: Time,
    /// What becomes of a request that finds no room to wait.
    pub(crate) when_full: WhenFull,
    /// How long a server that crashes is away.
    pub(crate) restart_time: Time,
    /// What it answers, by path; the first that fits. What fits none is 404.
    #[serde(rename = "answer")]
    pub(crate) answers: Vec<Answer>,
}

impl Default for Origin {
    fn default() -> Self {
        Self {
            kind: OriginKind::Server,
            requests_at_once_max: 32,
            waiting_max: 256,
            waiting_time_max: Time(Duration::from_secs(5)),
            when_full: WhenFull::Refuse,
            restart_time: Time(Duration::from_secs(5)),
            answers: Vec::new(),
        }
    }
}

impl Origin {
    /// What is answered to a request for this path and query: the first answer that asks for such a query, else the first
    /// for exactly this path, else the first for a beginning of it.
    pub(crate) fn find(&self, path: &str, query: Option<&str>) -> Option<&Answer> {
        let fits = |pattern: &str, text: &str| {
            pattern.strip_suffix('*').map_or(pattern == text, |beginning| text.starts_with(beginning))
        };
        let of_query = |answer: &&Answer| {
            let asked = answer.query.as_deref().zip(query);
            asked.is_some_and(|(pattern, query)| fits(pattern, query)) && fits(&answer.path, path)
        };
        let mut plain = self.answers.iter().filter(|answer| answer.query.is_none());
        self.answers
            .iter()
            .find(of_query)
            .or_else(|| plain.clone().find(|answer| answer.path == path))
            .or_else(|| plain.find(|answer| fits(&answer.path, path)))
    }
}

/// What kind of origin.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OriginKind {
    /// A small server of the drill's own.
    Server,
    /// The guard's built-in clock; there is then no server behind it.
    Clock,
}

/// What becomes of a request that finds the origin full.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WhenFull {
    /// 503 at once.
    Refuse,
    /// No answer for as long as the client waits.
    Hang,
    /// The server crashes: everybody who waits, and everybody who comes until it is back, is cut off.
    Crash,
}

/// One answer of the origin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Answer {
    /// The path; a `*` at its end stands for any rest.
    pub(crate) path: String,
    /// The query that it is for; a `*` at its end stands for any rest. Any query, and none, when not said.
    #[serde(default)]
    pub(crate) query: Option<String>,
    /// The status.
    #[serde(default = "status_ok")]
    pub(crate) status: u16,
    /// The length of the body.
    #[serde(default)]
    pub(crate) size: Option<Size>,
    /// How long the origin works on it, holding one of its places.
    #[serde(default)]
    pub(crate) service_time: Option<Time>,
    /// The content type.
    #[serde(default = "content_type_html")]
    pub(crate) content_type: String,
}

const fn status_ok() -> u16 {
    200
}

fn content_type_html() -> String {
    "text/html; charset=utf-8".to_owned()
}

/// How the guard is set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Guard {
    /// When a rule that was found is put in force; the guard's own default when not said.
    pub(crate) enforce: Option<Enforce>,
    /// Threads that serve visitors; one for each core when not said.
    pub(crate) workers: Option<usize>,
    /// The guard's `[limits]`, passed on as written.
    #[serde(default)]
    pub(crate) limits: toml::Table,
}

/// What the guard knows from before.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct History {
    /// Days of wanted traffic that it has seen; 0 for a guard that starts cold.
    #[serde(default)]
    pub(crate) days: u32,
}

/// Clients of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Group {
    /// Its name.
    pub(crate) name: String,
    /// Whether the site wants them. Known to the drill alone: nothing in a request says it.
    pub(crate) label: Label,
    /// When they begin to come; unwanted ones at the onset unless said otherwise.
    pub(crate) begins: Option<Time>,
    /// When the last of them comes; the end when not said.
    pub(crate) ends: Option<Time>,
    /// How many there are, each with an address of its own.
    pub(crate) clients: u32,
    /// The /24 networks that they are spread over; one for each client when not said.
    pub(crate) networks: Option<u32>,
    /// Who comes next.
    #[serde(default)]
    pub(crate) order: Order,
    /// When they come.
    pub(crate) arrivals: Arrivals,
    /// A family of agents that the drill knows.
    #[serde(default)]
    pub(crate) agents: Option<String>,
    /// User agents, one drawn for each client; an empty one sends none.
    #[serde(default)]
    pub(crate) user_agents: Vec<Pattern>,
    /// Whether a connection carries more than one request.
    #[serde(default)]
    pub(crate) connection: Connection,
    /// Connections for the assets of a page.
    #[serde(default = "one")]
    pub(crate) parallel_connections: u32,
    /// Pages in a visit, at least.
    #[serde(default = "one")]
    pub(crate) pages_min: u32,
    /// Pages in a visit, at most.
    #[serde(default = "one")]
    pub(crate) pages_max: u32,
    /// Time between the pages of a visit, at least.
    #[serde(default = "think_time_min")]
    pub(crate) think_time_min: Time,
    /// Time between the pages of a visit, at most.
    #[serde(default = "think_time_max")]
    pub(crate) think_time_max: Time,
    /// What a client does when it is refused.
    #[serde(default)]
    pub(crate) after_refusal: AfterRefusal,
    /// Time between tries, where refused clients retry.
    #[serde(default = "retry_interval")]
    pub(crate) retry_interval: Time,
    /// Tries after the first.
    #[serde(default = "retries_max")]
    pub(crate) retries_max: u32,
    /// How fast the client reads; as fast as it can when not said.
    #[serde(default)]
    pub(crate) read_bytes_per_second: Option<Size>,
    /// The shortest time that an endless answer is watched. Presence of this or the next makes answers streams.
    #[serde(default)]
    pub(crate) stream_time_min: Option<Time>,
    /// The longest time that an endless answer is watched; never past the end.
    #[serde(default)]
    pub(crate) stream_time_max: Option<Time>,
    /// How long a client waits for an answer to begin and between its parts.
    #[serde(default = "answer_time_max")]
    pub(crate) answer_time_max: Time,
    /// Which request is made next.
    #[serde(default)]
    pub(crate) request_order: RequestOrder,
    /// What is asked for each page.
    #[serde(rename = "request")]
    pub(crate) requests: Vec<RequestTemplate>,
}

const fn one() -> u32 {
    1
}

const fn retries_max() -> u32 {
    3
}

const fn think_time_min() -> Time {
    Time(Duration::from_secs(1))
}

const fn think_time_max() -> Time {
    Time(Duration::from_secs(5))
}

const fn retry_interval() -> Time {
    Time(Duration::from_secs(1))
}

const fn answer_time_max() -> Time {
    Time(Duration::from_secs(10))
}

/// Whether the site wants a group of clients.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Label {
    /// Visitors.
    Wanted,
    /// The flood.
    Unwanted,
}

/// Who comes next.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Anybody, by chance.
    #[default]
    Random,
    /// Each in turn, so that with as many clients as visits each comes once.
    Rotating,
}

/// Which request a client makes next in its visit.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RequestOrder {
    /// One drawn by weight.
    #[default]
    ByWeight,
    /// One after another as they are listed, from the first again after the last.
    AsListed,
}

/// When the visits of a group come.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(crate) enum Arrivals {
    /// By chance, at a constant rate.
    Constant {
        /// Visits a second.
        rate: RatePerSecond,
    },
    /// From one rate to another.
    Ramp {
        /// Visits a second at first.
        rate: RatePerSecond,
        /// Visits a second in the end.
        rate_end: RatePerSecond,
        /// Time at the first rate.
        #[serde(default)]
        hold: Option<Time>,
        /// Time from the one to the other; all that is left when not said.
        #[serde(default)]
        over: Option<Time>,
    },
    /// Bursts with pauses.
    Pulse {
        /// Visits a second in a burst.
        rate: RatePerSecond,
        /// Visits a second between bursts.
        #[serde(default)]
        rate_between: Option<RatePerSecond>,
        /// How long a burst is.
        on: Time,
        /// How long a pause is.
        off: Time,
    },
    /// All at once, most at the beginning, as after a link was shared.
    Herd {
        /// Visits in all.
        count: u32,
        /// The time in which they come.
        within: Time,
    },
}

/// Whether a connection carries more than one request.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Connection {
    /// Kept for the whole visit.
    #[default]
    KeepAlive,
    /// A new one for each request.
    OneRequest,
}

/// What a client does when it is refused.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AfterRefusal {
    /// Goes away.
    #[default]
    GivesUp,
    /// Goes on with its visit as though nothing had been said.
    Ignores,
    /// Waits for as long as Retry-After says, then asks again.
    ObeysRetryAfter,
    /// Asks again on its own schedule.
    Retries,
}

/// Something to ask for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RequestTemplate {
    /// How often it is drawn, beside the others.
    #[serde(default = "one")]
    pub(crate) weight: u32,
    /// The method.
    #[serde(default = "method_get")]
    pub(crate) method: String,
    /// Methods with which the same is asked first, one after another, as by a reader that looks before it fetches.
    #[serde(default)]
    pub(crate) methods_before: Vec<String>,
    /// The path.
    pub(crate) path: Pattern,
    /// The query, without `?`.
    #[serde(default)]
    pub(crate) query: Option<Pattern>,
    /// The host; the site's first when not said.
    #[serde(default)]
    pub(crate) host: Option<Pattern>,
    /// The referer; none when it comes out empty.
    #[serde(default)]
    pub(crate) referer: Option<Pattern>,
    /// The body.
    #[serde(default)]
    pub(crate) body: Option<Pattern>,
    /// The version of HTTP.
    #[serde(default)]
    pub(crate) version: HttpVersion,
    /// What a browser loads with the page; each once for each client, later only to ask whether it has changed.
    #[serde(default)]
    pub(crate) assets: Vec<Pattern>,
    /// The share of assets already loaded that a client asks again for, conditionally.
    #[serde(default = "revalidate_share")]
    pub(crate) revalidate_share: Share,
    /// The share of visits that ask conditionally for the page itself, as feed readers do.
    #[serde(default = "no_share")]
    pub(crate) conditional_share: Share,
}

fn method_get() -> String {
    "GET".to_owned()
}

const fn revalidate_share() -> Share {
    Share(0.2)
}

const fn no_share() -> Share {
    Share(0.0)
}

/// The version of HTTP that requests are sent with.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// HTTP/1.0
    #[serde(rename = "HTTP/1.0")]
    Http10,
    /// HTTP/1.1
    #[default]
    #[serde(rename = "HTTP/1.1")]
    Http11,
}

/// What must hold; what is not said is not asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Targets {
    /// Seconds from the onset to the first rule in force, at most.
    pub(crate) onset_to_rule_seconds_max: Option<f64>,
    /// The share of unwanted requests, sent a quarter of a second or more after that, that reach the origin.
    pub(crate) unwanted_reaching_origin_after_rule_share_max: Option<Share>,
    /// The share of all unwanted requests that reach the origin.
    pub(crate) unwanted_reaching_origin_share_max: Option<Share>,
    /// Wanted requests refused, at most.
    pub(crate) wanted_refused_max: Option<u64>,
    /// The share of wanted requests served, at least.
    pub(crate) wanted_served_share_min: Option<Share>,
    /// What the incident is found to be.
    pub(crate) verdict: Option<Verdict>,
    /// A shape that must be seen.
    pub(crate) shape: Option<Shape>,
    /// Rules put in force, at most.
    pub(crate) rules_max: Option<u32>,
    /// Frames a second that all but one in a hundred of the streams get, at least.
    pub(crate) stream_frames_per_second_min: Option<f64>,
    /// Streams open at once, at least.
    pub(crate) streams_at_once_min: Option<u64>,
    /// CPU seconds of the guard, at most.
    pub(crate) guard_cpu_seconds_max: Option<f64>,
}

impl Group {
    /// When its first visit may come, in a scenario with this onset.
    pub(crate) fn begins(&self, onset: Time) -> Duration {
        let usual = if self.label == Label::Unwanted { onset.0 } else { Duration::ZERO };
        self.begins.map_or(usual, |begins| begins.0)
    }

    /// Whether it watches endless answers.
    pub(crate) const fn streams(&self) -> bool {
        self.stream_time_min.is_some() || self.stream_time_max.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_by_query_then_by_path_then_by_its_beginning() {
        let answer = |path: &str, query: Option<&str>, status| Answer {
            path: path.to_owned(),
            query: query.map(str::to_owned),
            status,
            size: None,
            service_time: None,
            content_type: content_type_html(),
        };
        let origin = Origin {
            answers: vec![
                answer("/wiki/*", None, 200),
                answer("/wiki/about", None, 201),
                answer("/wiki/*", Some("search=*"), 202),
                answer("*", Some("action=rc"), 203),
            ],
            ..Origin::default()
        };
        for (path, query, expected) in [
            ("/wiki/a", None, Some(200)),
            ("/wiki/a", Some("page=1"), Some(200)),
            ("/wiki/about", None, Some(201)),
            ("/wiki/about", Some("search=x"), Some(202)),
            ("/other", Some("action=rc"), Some(203)),
            ("/other", Some("action=rc;all=1"), None),
            ("/other", None, None),
        ] {
            assert_eq!(origin.find(path, query).map(|answer| answer.status), expected, "{path}?{query:?}");
        }
    }
}
