//! A limit that each client has for itself: which requests count, how many are allowed in which time, and what happens to
//! whoever sends more.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::address::ClientAddress;
use crate::decision::client_network;
use crate::decision::expression::Expression;
use crate::units::Timestamp;

/// The networks that [`LimitKey::Prefix`] counts together, as prefix lengths: what one household, office or mobile gateway has
/// at most.
const PREFIX_LENGTH_V4: u8 = 24;
const PREFIX_LENGTH_V6: u8 = 48;

/// A limit that each client has for itself.
#[derive(Clone)]
pub struct Limit {
    /// What it is called.
    pub name: Arc<str>,
    /// Which requests count; all when there is none.
    pub rule: Option<Expression>,
    /// How many are allowed in `period`, and all at once. With 0, one is too many.
    pub requests: u32,
    /// The period that the number refers to.
    pub period: Duration,
    /// What is counted together.
    pub key: LimitKey,
    /// What happens to whoever sends more.
    pub action: LimitAction,
    /// For how long it happens, where the action lasts; none for as long as the client needs until it comes back.
    pub length: Option<Duration>,
    /// Whether an address that may be several visitors', or a visitor's of long standing, is only slowed down.
    pub spares: bool,
    /// What it has done. Shared by everything that is made from it.
    pub counts: Arc<LimitCounts>,
}

/// Which limit: the same one over a reload, another one as soon as what it counts is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitId(pub(super) u64);

/// What a limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKey {
    /// The requests of a client: an IPv4 address, or an IPv6 /64.
    Client,
    /// Those of its network: an IPv4 /24, or an IPv6 /48.
    Prefix,
    /// Those of a client for one host.
    #[serde(rename = "client+host")]
    ClientAndHost,
}

/// What happens to whoever sends more than is allowed, the gravest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitAction {
    /// Nothing: it is said who it would have been.
    Log,
    /// Requests beyond it are refused (429).
    Limit,
    /// Whatever the rule asks of requests is refused (429), for a time.
    Refuse,
    /// The client is banned, for a time.
    Ban,
}

/// What a limit has done since it was made.
#[derive(Debug, Default)]
pub struct LimitCounts {
    matched: AtomicU64,
    votes: AtomicU64,
    refused: AtomicU64,
    offences: AtomicU64,
    spared: AtomicU64,
}

/// A limit as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitStatus {
    /// What it is called.
    pub name: String,
    /// Which requests count, in the one canonical form; empty for all.
    pub rule: String,
    /// How many are allowed in the period.
    pub requests: u32,
    /// The period, in milliseconds.
    pub period_milliseconds: u64,
    /// What is counted together.
    pub key: LimitKey,
    /// What happens to whoever sends more.
    pub action: LimitAction,
    /// Requests that counted.
    pub matched: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// How often somebody sent so many more that the action was taken, or would have been.
    pub offences: u64,
    /// How often that was somebody who was spared.
    pub spared: u64,
}

/// Somebody who has sent more than a limit allows, and what is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offence {
    /// Who.
    pub client: ClientAddress,
    /// Which limit.
    pub limit: LimitId,
    /// What is to happen.
    pub action: LimitAction,
    /// When.
    pub at: Timestamp,
    /// For how long.
    pub length: Duration,
}

/// What limits have still to see of a request: its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// One bit for each alternative of a limit that the request has met but for the answer.
    pub(super) alternatives: u64,
    /// The [`host_mark`], where one of these asks for it.
    pub(super) host: u64,
    /// The rule set that the bits are about.
    pub(super) set: u64,
}

impl Awaited {
    /// Whether nothing is to be seen.
    pub const fn is_nothing(&self) -> bool {
        self.alternatives == 0
    }
}

impl Limit {
    /// Which it is.
    pub fn id(&self) -> LimitId {
        let mut hasher = SipHasher13::new();
        hasher.write(self.name.as_bytes());
        hasher.write_u8(0);
        hasher.write(self.rule_text().as_bytes());
        hasher.write_u32(self.requests);
        hasher.write_u128(self.period.as_micros());
        hasher.write_u8(self.key as u8);
        LimitId(hasher.finish())
    }

    /// The same, of which nobody feels anything.
    pub fn dry(&self) -> Self {
        Self { action: LimitAction::Log, ..self.clone() }
    }

    /// The same limit is there after a reload: what it has done goes on.
    pub fn go_on_from(&mut self, before: &Self) {
        if self.id() == before.id() {
            self.counts = Arc::clone(&before.counts);
        }
    }

    /// As it is shown.
    pub fn status(&self) -> LimitStatus {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LimitStatus {
            name: self.name.to_string(),
            rule: self.rule_text(),
            requests: self.requests,
            period_milliseconds: u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX),
            key: self.key,
            action: self.action,
            matched: read(&self.counts.matched),
            refused: read(&self.counts.refused),
            offences: read(&self.counts.offences),
            spared: read(&self.counts.spared),
        }
    }

    /// The rule in its one canonical form; empty for all requests.
    pub fn rule_text(&self) -> String {
        self.rule.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// Two limits are the same when they say the same, whatever they have done.
impl PartialEq for Limit {
    fn eq(&self, other: &Self) -> bool {
        let all = |limit: &Self| (limit.id(), limit.action, limit.length, limit.spares);
        all(self) == all(other)
    }
}

/// What it says, without what it has done.
impl fmt::Debug for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Limit")
            .field("name", &self.name)
            .field("rule", &self.rule_text())
            .field("requests", &self.requests)
            .field("period", &self.period)
            .field("key", &self.key)
            .field("action", &self.action)
            .field("length", &self.length)
            .field("spares", &self.spares)
            .finish_non_exhaustive()
    }
}

/// As bans and journals say what was too much: `more than 5 in 600s of method = "POST"`.
impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "more than {} in ", self.requests)?;
        match (self.period.as_secs(), self.period.subsec_millis()) {
            (seconds, 0) if seconds >= 60 && seconds.is_multiple_of(60) => write!(formatter, "{}m", seconds / 60)?,
            (seconds, 0) => write!(formatter, "{seconds}s")?,
            _ => write!(formatter, "{}ms", self.period.as_millis())?,
        }
        match &self.rule {
            Some(rule) => write!(formatter, " of {rule}"),
            None => formatter.write_str(" of any requests"),
        }
    }
}

impl LimitKey {
    /// The number that all that is counted together has.
    pub(super) fn number(self, client: ClientAddress) -> u128 {
        match self {
            Self::Client | Self::ClientAndHost => client.client_key(),
            Self::Prefix if client.ip().is_ipv4() => client.client_key() >> (32 - PREFIX_LENGTH_V4),
            // Of an IPv6 client the key is its /64, with a bit above.
            Self::Prefix => client.client_key() >> (64 - PREFIX_LENGTH_V6),
        }
    }

    /// The network that a client is banned with.
    pub fn network(self, client: ClientAddress) -> IpNet {
        match self {
            Self::Client | Self::ClientAndHost => client_network(client),
            Self::Prefix => client.prefix(if client.ip().is_ipv4() { PREFIX_LENGTH_V4 } else { PREFIX_LENGTH_V6 }),
        }
    }
}

impl LimitCounts {
    pub(super) fn add_matched(&self) {
        self.matched.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_vote(&self) {
        self.votes.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that counted, and of these one of each client in a minute, so that nobody decides alone how often that is.
    pub fn met(&self) -> (u64, u64) {
        (self.matched.load(Ordering::Relaxed), self.votes.load(Ordering::Relaxed))
    }

    pub(super) fn add_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_offence(&self) {
        self.offences.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_spared(&self) {
        self.spared.fetch_add(1, Ordering::Relaxed);
    }
}

/// A host, where it is counted for itself; never 0.
pub(super) fn host_mark(host: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(host);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::expression::{Lists, Use};

    fn limit(rule: &str, requests: u32) -> Limit {
        Limit {
            name: "login".into(),
            rule: Expression::parse(rule, Use::Limit, &Lists::default()).ok(),
            requests,
            period: Duration::from_secs(600),
            key: LimitKey::Client,
            action: LimitAction::Ban,
            length: None,
            spares: true,
            counts: Arc::default(),
        }
    }

    #[test]
    fn a_limit_goes_on_over_a_reload_unless_it_counts_something_else() {
        let before = limit("path = /login", 5);
        before.counts.add_matched();
        let mut same = Limit { action: LimitAction::Refuse, ..limit("path = \"/login\"", 5) };
        same.go_on_from(&before);
        assert_eq!(same.status().matched, 1);
        let mut other = limit("path = /login", 6);
        other.go_on_from(&before);
        assert_eq!(other.status().matched, 0);
    }

    #[test]
    fn what_was_too_much_is_said_in_words() {
        assert_eq!(limit("path = /login", 5).to_string(), "more than 5 in 10m of path = \"/login\"");
        let each = Limit { rule: None, period: Duration::from_secs(90), ..limit("path = /login", 0) };
        assert_eq!(each.to_string(), "more than 0 in 90s of any requests");
    }

    #[test]
    fn neighbours_are_counted_together_by_prefix_and_never_over_families() {
        let number = |text: &str| LimitKey::Prefix.number(ClientAddress::new(text.parse().expect("an address")));
        assert_eq!(number("192.0.2.7"), number("192.0.2.200"));
        assert_ne!(number("192.0.2.7"), number("192.0.3.7"));
        assert_eq!(number("2001:db8:1:2::1"), number("2001:db8:1:ffff::1"));
        assert_ne!(number("2001:db8:1::1"), number("2001:db8:2::1"));
        assert_ne!(number("::1"), number("0.0.0.1"));
    }
}
