//! One condition of an expression: what is compared, how, and with what.

use std::collections::HashSet;

use ipnet::IpNet;
use memchr::memmem::Finder;

use super::{Answer, List};
use crate::address::{AddressSet, ClientAddress};
use crate::decision::{Condition, Wanted};
use crate::observation::Request;
use crate::observation::attribute::{Attribute, each_value};
use crate::units::Timestamp;

/// What is known only of a request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The status of the answer.
    Status,
    /// Bytes of answer.
    Bytes,
    /// When the request was logged.
    Time,
    /// How long it took, in milliseconds.
    Duration,
}

impl Evidence {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Status, Self::Bytes, Self::Time, Self::Duration];

    /// The name in filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Bytes => "bytes",
            Self::Time => "time",
            Self::Duration => "duration",
        }
    }

    fn of(self, answer: Answer) -> Option<u64> {
        match self {
            Self::Status => answer.status.map(u64::from),
            Self::Bytes => Some(answer.bytes),
            Self::Time => answer.at.map(Timestamp::as_seconds),
            Self::Duration => answer.duration.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// What a condition asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An attribute of the request.
    Attribute(Attribute),
    /// What became of it.
    Evidence(Evidence),
}

impl Subject {
    /// The attribute, if it is one.
    pub const fn attribute(self) -> Option<Attribute> {
        match self {
            Self::Attribute(attribute) => Some(attribute),
            Self::Evidence(_) => None,
        }
    }

    /// Its name in rules and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attribute(attribute) => attribute.name(),
            Self::Evidence(evidence) => evidence.name(),
        }
    }
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Relation {
    /// How it is written.
    pub(super) const fn mark(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    fn holds(self, found: u64, wanted: u64) -> bool {
        match self {
            Self::Equal => found == wanted,
            Self::Less => found < wanted,
            Self::LessOrEqual => found <= wanted,
            Self::Greater => found > wanted,
            Self::GreaterOrEqual => found >= wanted,
        }
    }
}

/// One condition: `path = "/announce"`. Negated (`!=`, `not in`) it is true of exactly those requests of which it would
/// otherwise be false, so also of those that have no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub(super) subject: Subject,
    pub(super) is_negated: bool,
    pub(super) test: Test,
}

/// What is asked of the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// It has no value.
    Absent,
    Equal(Box<[u8]>),
    Contains(Needle),
    StartsWith(Box<[u8]>),
    EndsWith(Box<[u8]>),
    OneOf(Values),
    Listed(Listed),
    /// Of clients: `=` with one network, and `in` with several.
    Network(IpNet),
    Networks(Networks),
    /// Of clients: the networks of a list, with its name.
    ListedNetworks(Box<str>, Networks),
    Number(Relation, u64),
    Numbers(Vec<u64>),
}

impl Comparison {
    /// What it asks about.
    pub const fn subject(&self) -> Subject {
        self.subject
    }

    /// Whether it asks that there be no value.
    pub const fn is_about_absence(&self) -> bool {
        matches!(self.test, Test::Absent)
    }

    /// The same as a condition of a rule, if it asks for one value of an attribute, or for any where that may be asked.
    pub(super) fn as_condition(&self) -> Option<Condition> {
        let Subject::Attribute(attribute) = self.subject else { return None };
        if self.is_negated {
            let asks_for_anything = matches!(self.test, Test::Absent) && Wanted::may_be_anything(attribute);
            return asks_for_anything.then(|| Condition::present(attribute));
        }
        match &self.test {
            Test::Equal(value) => Some(Condition::new(attribute, value)),
            Test::Network(network) => Some(Condition::new(attribute, network.to_string().as_bytes())),
            Test::Absent => Some(Condition::absent(attribute)),
            _ => None,
        }
    }

    /// Whether a request meets it.
    pub fn matches(&self, request: &Request<'_>, client: Option<ClientAddress>, answer: Answer) -> bool {
        let holds = match self.subject {
            Subject::Attribute(attribute) => self.test.holds_of_attribute(attribute, request, client),
            Subject::Evidence(evidence) => self.test.holds_of_number(evidence.of(answer)),
        };
        holds != self.is_negated
    }
}

impl Test {
    fn holds_of_attribute(&self, attribute: Attribute, request: &Request<'_>, client: Option<ClientAddress>) -> bool {
        match self {
            Self::Network(network) => client.is_some_and(|client| network.contains(&client.ip())),
            Self::Networks(networks) | Self::ListedNetworks(_, networks) => {
                client.is_some_and(|client| networks.set.contains(client))
            }
            // Even what has no value is in a list of everything, as a request without host is for the site of every host.
            Self::Listed(listed) if listed.list.is_everything() => true,
            Self::Absent => {
                let mut is_absent = true;
                each_value(attribute, request, client, |value| is_absent &= value.is_none());
                is_absent
            }
            _ => {
                let mut holds = false;
                each_value(attribute, request, client, |value| {
                    holds |= value.is_some_and(|value| self.holds_of(value));
                });
                holds
            }
        }
    }

    fn holds_of(&self, value: &[u8]) -> bool {
        match self {
            Self::Equal(wanted) => value == &**wanted,
            Self::Contains(needle) => needle.finder.find(value).is_some(),
            Self::StartsWith(beginning) => value.starts_with(beginning),
            Self::EndsWith(ending) => value.ends_with(ending),
            Self::OneOf(values) => values.set.contains(value),
            Self::Listed(listed) => listed.list.contains(value),
            // These are asked of the client itself, of the absence of a value, and of numbers.
            Self::Absent
            | Self::Network(_)
            | Self::Networks(_)
            | Self::ListedNetworks(..)
            | Self::Number(..)
            | Self::Numbers(_) => false,
        }
    }

    fn holds_of_number(&self, number: Option<u64>) -> bool {
        match (self, number) {
            (Self::Absent, number) => number.is_none(),
            (Self::Number(relation, wanted), Some(number)) => relation.holds(number, *wanted),
            (Self::Numbers(wanted), Some(number)) => wanted.contains(&number),
            _ => false,
        }
    }
}

impl From<&Condition> for Comparison {
    fn from(condition: &Condition) -> Self {
        let test = match (condition.network(), &condition.wanted) {
            (Some(network), _) => Test::Network(network),
            (None, Wanted::Value(value)) => Test::Equal(value.clone()),
            (None, Wanted::Nothing | Wanted::Anything) => Test::Absent,
        };
        let is_negated = condition.wanted == Wanted::Anything;
        Self { subject: Subject::Attribute(condition.attribute), is_negated, test }
    }
}

/// A part that is looked for, with what makes the search linear.
#[derive(Clone, Debug)]
pub(super) struct Needle {
    finder: Finder<'static>,
}

impl Needle {
    pub(super) fn new(part: &[u8]) -> Self {
        Self { finder: Finder::new(part).into_owned() }
    }

    pub(super) fn part(&self) -> &[u8] {
        self.finder.needle()
    }
}

impl PartialEq for Needle {
    fn eq(&self, other: &Self) -> bool {
        self.part() == other.part()
    }
}

impl Eq for Needle {}

/// Values that are asked for together: in the order written, and to look one up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) written: Vec<Box<[u8]>>,
    /// The seed is fixed: whoever sends values cannot add any, so cannot make them collide.
    set: HashSet<Box<[u8]>, foldhash::fast::FixedState>,
}

impl Values {
    pub(super) fn new(written: Vec<Box<[u8]>>) -> Self {
        let set = written.iter().cloned().collect();
        Self { written, set }
    }
}

/// A list, with the name under which it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: Box<str>,
    pub(super) list: List,
}

/// Networks that are asked for together: in the order written, and to look an address up.
#[derive(Clone, Debug)]
pub(super) struct Networks {
    pub(super) written: Vec<IpNet>,
    set: AddressSet,
}

impl Networks {
    pub(super) fn new(written: Vec<IpNet>) -> Self {
        let set = AddressSet::new(written.iter().copied());
        Self { written, set }
    }
}

impl PartialEq for Networks {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Networks {}
