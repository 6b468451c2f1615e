//! A rule: a conjunction of conditions and what is done to the requests that meet them all.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::expression::Expression;
use crate::address::ClientAddress;
use crate::observation::Request;
use crate::observation::attribute::{Attribute, each_value};

/// The number of a rule, unique while the guard's state lives; it is shown to the refused, so that they can ask about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleId(pub u32);

impl RuleId {
    /// Stands for no rule, but the ban of an address. Rules are numbered from 1.
    pub const BANNED: Self = Self(0);
}

/// The last numbers that were given, so that those of after a start go on from those of before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// To a rule of detection.
    pub rule: u32,
    /// To an incident.
    pub incident: u32,
}

impl Numbers {
    /// The highest that detection gives to a rule; after it they begin anew.
    pub const RULE_MAX: u32 = super::own::FIRST - 1;
}

impl fmt::Display for RuleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "R{}", self.0)
    }
}

/// What a condition asks of an attribute. Written to disk, so the order stays.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wanted {
    /// That there be no value, as a request without referer has none.
    Nothing,
    /// This value, at most [`crate::observation::attribute::VALUE_BYTES_MAX`] bytes.
    Value(Box<[u8]>),
    /// Any value, whatever it is: only of what [`Self::may_be_anything`].
    Anything,
}

impl Wanted {
    /// Whether a rule of conditions may ask that there be any value of this: the names of a query's parameters, which senders make
    /// up. Of the others it is remembered of normal traffic only which values it had.
    pub const fn may_be_anything(attribute: Attribute) -> bool {
        matches!(attribute, Attribute::QueryKeys)
    }
}

/// What one attribute has to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Condition {
    /// Of what.
    pub attribute: Attribute,
    /// What is asked of it.
    pub wanted: Wanted,
}

impl Condition {
    /// That `attribute` has `value`.
    pub fn new(attribute: Attribute, value: &[u8]) -> Self {
        Self { attribute, wanted: Wanted::Value(value.into()) }
    }

    /// That the request has no value of `attribute`.
    pub const fn absent(attribute: Attribute) -> Self {
        Self { attribute, wanted: Wanted::Nothing }
    }

    /// That the request has a value of `attribute`, whatever it is.
    pub const fn present(attribute: Attribute) -> Self {
        debug_assert!(Wanted::may_be_anything(attribute), "of this it is not known");
        Self { attribute, wanted: Wanted::Anything }
    }

    /// The value, where one is asked for.
    pub const fn value(&self) -> Option<&[u8]> {
        match &self.wanted {
            Wanted::Value(value) => Some(value),
            Wanted::Nothing | Wanted::Anything => None,
        }
    }

    /// The network that a condition on [`Attribute::ClientPrefix`] names. It matches every client inside, whatever its
    /// length; only mining keeps to the lengths in [`crate::observation::attribute::client_prefixes`].
    pub fn network(&self) -> Option<IpNet> {
        let text = std::str::from_utf8(self.value()?).ok()?;
        text.parse().ok().filter(|_| self.attribute == Attribute::ClientPrefix)
    }

    /// What stands, byte for byte as it was sent, in every request that meets this; `None` where there need not be
    /// any. Of the names of a query's parameters it is the longest.
    pub fn literal(&self) -> Option<&[u8]> {
        let value = self.value()?;
        match self.attribute {
            Attribute::UserAgent
            | Attribute::UserAgentWord
            | Attribute::RefererOrigin
            | Attribute::Path
            | Attribute::PathPrefix => Some(value),
            Attribute::QueryKeys => value.split(|byte| *byte == b'&').max_by_key(|key| key.len()),
            _ => None,
        }
    }

    /// Whether whatever meets this meets `other`, by what the two say alone.
    pub(super) fn implies(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let Some(value) = self.value() else { return false };
        if other.wanted == Wanted::Anything && other.attribute == self.attribute {
            return true;
        }
        let has =
            |request: Request<'_>| other.attribute.is_ancestor_of(self.attribute) && other.matches(&request, None);
        match self.attribute {
            Attribute::Path => has(Request { path: value, ..Request::default() }),
            Attribute::UserAgent => has(Request { user_agent: Some(value), ..Request::default() }),
            Attribute::PathPrefix => {
                // Both end with a slash.
                let wider = other.value().filter(|_| other.attribute == self.attribute);
                wider.is_some_and(|wider| value.starts_with(wider))
            }
            Attribute::ClientPrefix => {
                let networks = self.network().zip(other.network());
                networks.is_some_and(|(narrow, wide)| wide.contains(&narrow))
            }
            _ => false,
        }
    }

    /// Whether a request meets it. The gate has a compiled form; this is the definition that it must agree with.
    pub fn matches(&self, request: &Request<'_>, client: Option<ClientAddress>) -> bool {
        if self.attribute == Attribute::ClientPrefix {
            let network = self.network();
            return client.is_some_and(|client| network.is_some_and(|network| network.contains(&client.ip())));
        }
        let mut matched = false;
        each_value(self.attribute, request, client, |value| {
            matched |= match &self.wanted {
                Wanted::Nothing => value.is_none(),
                Wanted::Value(asked) => value == Some(asked),
                Wanted::Anything => value.is_some(),
            };
        });
        matched
    }
}

/// As rules are written everywhere: `method = "POST"`, `referer-origin = none`. Bytes outside printable ASCII are
/// escaped, so that no value can act on a terminal.
/// For logs, pages and terminals, so without a client's network: of that only the size is said.
impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(network) = self.network() {
            let family = if network.addr().is_ipv4() { "IPv4" } else { "IPv6" };
            return write!(formatter, "{} = (an {family} /{})", self.attribute.name(), network.prefix_len());
        }
        match &self.wanted {
            Wanted::Value(value) => write!(formatter, "{} = \"{}\"", self.attribute.name(), value.escape_ascii()),
            Wanted::Nothing => write!(formatter, "{} = none", self.attribute.name()),
            Wanted::Anything => write!(formatter, "{} != none", self.attribute.name()),
        }
    }
}

/// What is done to a request that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Action {
    /// Let at most this many through each second, refuse the rest (429).
    Throttle {
        /// Requests a second over the whole guard.
        rate: f32,
    },
    /// Refuse with this status.
    Refuse {
        /// 403, 410 or 429.
        status: u16,
    },
    /// Close the connection without an answer.
    Drop,
}

impl Action {
    /// What a rule in force does, in words that follow its name. Beside a server nothing stands in the way of a request, so they say
    /// what it would do.
    pub fn words(self, beside: bool) -> String {
        match (self, beside) {
            (Self::Throttle { rate }, false) => format!("throttles to {rate:.1} requests/s"),
            (Self::Throttle { rate }, true) => format!("would slow down to {rate:.1} requests/s"),
            (Self::Refuse { status }, false) => format!("refuses with {status}"),
            (Self::Refuse { status }, true) => format!("would refuse with {status}"),
            (Self::Drop, false) => "drops".to_owned(),
            (Self::Drop, true) => "would drop".to_owned(),
        }
    }
}

/// How far a rule has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Shown to the operator, and nothing else.
    Proposed,
    /// Counts whom it would hit, and hits nobody.
    Shadow,
    /// In force.
    Enforced,
    /// No longer in force; kept so that it re-arms at once if the flood returns.
    Retired,
    /// The operator took it back: until that ends it is shown when it is found again, and not put in force.
    Vetoed,
}

/// A rule as the gate needs it. All conditions must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its number.
    pub id: RuleId,
    /// 1 to 4 conditions.
    pub conditions: Vec<Condition>,
    /// What is done to what it matches, once enforced.
    pub action: Action,
    /// How far it has come.
    pub stage: Stage,
    /// One matching request in this many passes all the same, as a probe of what the rule holds back; 0 for none.
    pub canary_interval: u32,
    /// Whether they pass since it is to be learned what they do whom the site gives something: whether it meets people.
    pub is_asking: bool,
}

impl Rule {
    /// One matching request in this many passes where nothing else is to be learned of whom an automatic rule meets. With one in a
    /// hundred the probes alone would use up the one per cent of unwanted requests that may reach a site.
    pub const CANARY_INTERVAL: u32 = 256;

    /// Whether a request meets every condition.
    pub fn matches(&self, request: &Request<'_>, client: Option<ClientAddress>) -> bool {
        self.conditions.iter().all(|condition| condition.matches(request, client))
    }

    /// Its text with the client networks that its `Display` leaves out, so that it can be read back as an
    /// [`Expression`]. Only for files that the operator asked for.
    pub fn text_with_networks(&self) -> String {
        Expression::from(self).to_string()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.conditions.iter().enumerate() {
            if index > 0 {
                formatter.write_str(" and ")?;
            }
            write!(formatter, "{condition}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<'static> {
        Request {
            method: b"POST",
            host: b"example.org",
            path: b"/ca/cacert.pem",
            user_agent: Some(b"QQGameHall"),
            ..Request::default()
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let post = Condition::new(Attribute::Method, b"POST");
        let agent = Condition::new(Attribute::UserAgentWord, b"QQGameHall");
        let without_referer = Condition::absent(Attribute::RefererOrigin);
        let get = Condition::new(Attribute::Method, b"GET");
        let rule = |conditions: &[&Condition]| Rule {
            id: RuleId(1),
            conditions: conditions.iter().map(|condition| (*condition).clone()).collect(),
            action: Action::Refuse { status: 403 },
            stage: Stage::Enforced,
            canary_interval: 0,
            is_asking: false,
        };
        assert!(rule(&[&post, &agent, &without_referer]).matches(&request(), None));
        assert!(!rule(&[&agent, &get]).matches(&request(), None));
        assert_eq!(rule(&[&post, &without_referer]).to_string(), "method = \"POST\" and referer-origin = none");
    }

    #[test]
    fn any_value_is_met_by_whatever_there_is() {
        let any = Condition::present(Attribute::QueryKeys);
        let with = |query: &'static str| Request { query: Some(query.as_bytes()), ..request() };
        assert!(any.matches(&with("kq=8f"), None) && any.matches(&with(""), None) && !any.matches(&request(), None));
        assert_eq!(any.to_string(), "query-keys != none");
        assert!(Condition::new(Attribute::QueryKeys, b"id").implies(&any));
        assert!(!any.implies(&Condition::new(Attribute::QueryKeys, b"id")));
        assert!(!Condition::absent(Attribute::QueryKeys).implies(&any));
        assert!(!Condition::new(Attribute::Path, b"/a").implies(&any));
    }

    #[test]
    fn hostile_values_are_escaped_when_shown() {
        let condition = Condition::new(Attribute::UserAgent, b"\x1b[2J\"<script>");
        assert_eq!(condition.to_string(), "user-agent = \"\\x1b[2J\\\"<script>\"");
    }

    #[test]
    fn the_text_of_a_rule_names_no_network() {
        for (network, expected) in [
            ("192.0.2.77/32", "client-prefix = (an IPv4 /32)"),
            ("192.0.2.0/24", "client-prefix = (an IPv4 /24)"),
            ("2001:db8:1:2::/64", "client-prefix = (an IPv6 /64)"),
        ] {
            let condition = Condition::new(Attribute::ClientPrefix, network.as_bytes());
            assert_eq!(condition.to_string(), expected);
        }
        assert_eq!(Condition::new(Attribute::Path, b"/a\x1b").to_string(), "path = \"/a\\x1b\"");
    }
}
