//! Rules and filters as people write them: `method = POST and path = "/ca/cacert.pem"`.
//!
//! Owns the grammar, and nothing else: [`Expression::parse`] reads a text, [`Expression::matches`] asks it of a request, and
//! its `Display` writes it in one canonical way that reads back as the same expression. What an attribute's values are is
//! said in [`crate::observation::attribute`] alone. Reading is bounded in length, depth and number of conditions; asking
//! allocates nothing and takes time linear in the request.
//!
//! The files, in the order in which a text meets them: `lexer`, `parser` (with `value`, which checks values, and `list`), then
//! `comparison`, which is one condition; `display`; `file` reads a file of rules; `error` says what is wrong and where;
//! `description` is the table of attributes for the documentation; `view` is for whoever writes rules in another language, and
//! `alternatives` takes an expression apart for the gate.

mod alternatives;
mod comparison;
mod description;
mod display;
mod error;
mod file;
mod lacking;
mod lexer;
mod list;
mod parser;
mod value;
mod view;

use std::time::Duration;

use super::{Condition, Rule};
use crate::address::ClientAddress;
use crate::observation::{Observation, Outcome, Request};
use crate::units::Timestamp;

pub use alternatives::{Alternative, Lookup, Mixed};
pub use comparison::{Comparison, Evidence, Relation, Subject};
pub use description::{Description, descriptions};
pub use error::{ExpressionError, Problem};
pub use file::{LineProblem, NamedExpression, read_file};
pub use list::{List, Lists};
pub use view::{Asked, View};

/// The longest text of an expression, in bytes, as written and in its canonical form: a rule that detection makes has at most
/// four conditions of 256 bytes, each of which may be written as `\xNN`, and must always be readable.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;

/// How deep `not` and parentheses may be nested.
pub const DEPTH_MAX: usize = 16;

/// The most conditions in one expression.
pub const CONDITIONS_MAX: usize = 64;

/// What an expression is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To refuse requests. It can ask only what is known when a request arrives.
    Rule,
    /// To count requests of single clients, some of them by their answers. It can also ask for [`Evidence::Status`].
    Limit,
    /// To choose among requests that are over, as those of a log. It can also ask for [`Evidence`].
    Filter,
}

/// What became of a request, for what only filters ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status of the answer; `None` when there was none.
    pub status: Option<u16>,
    /// Bytes of answer.
    pub bytes: u64,
    /// When the request was logged.
    pub at: Option<Timestamp>,
    /// How long it took; `None` when that is not known.
    pub duration: Option<Duration>,
}

impl Answer {
    /// The answer of an observation with this outcome and these bytes of answer.
    pub const fn new(outcome: Outcome, bytes: u64) -> Self {
        let status = match outcome {
            Outcome::Served { status } | Outcome::Failed { status } => Some(status),
            Outcome::Arrived | Outcome::UnderWay | Outcome::Refused(_) => None,
        };
        Self { status, bytes, at: None, duration: None }
    }

    /// The answer of a whole observation, of which `is_timed` says whether it knows how long the request took.
    pub fn of(observation: &Observation<'_>, is_timed: bool) -> Self {
        let duration = is_timed.then_some(observation.cost.connection_time);
        Self { at: Some(observation.at), duration, ..Self::new(observation.outcome, observation.cost.bytes) }
    }
}

/// Conditions joined by `and`, `or` and `not`.
///
/// Its `Display` writes client networks as they are: it is for what the operator wrote, or asked for. What is shown
/// unasked is the text of a [`Rule`], which leaves them out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    root: Node,
}

/// A part of an expression. `All` and `Any` have two parts or more, none of which is of the same kind as the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Condition(Box<Comparison>),
}

impl Use {
    /// Whether it can ask for this.
    pub(super) const fn asks_for(self, evidence: Evidence) -> bool {
        match self {
            Self::Rule => false,
            Self::Limit => matches!(evidence, Evidence::Status),
            Self::Filter => true,
        }
    }
}

impl Expression {
    /// Reads a text. Names after `in` are looked up in `lists`.
    ///
    /// # Errors
    /// What is wrong with the text, where, and what would be right.
    pub fn parse(text: &str, usage: Use, lists: &Lists) -> Result<Self, ExpressionError> {
        parser::parse(text, usage, lists)
    }

    /// Whether a request meets it. For a request that has not been answered, `answer` is the default.
    pub fn matches(&self, request: &Request<'_>, client: Option<ClientAddress>, answer: Answer) -> bool {
        self.root.matches(request, client, answer)
    }

    /// The conditions that all must hold, if that is all that it asks and each is of one value of an attribute, or of any; what the gate
    /// can look up.
    pub fn as_conditions(&self) -> Option<Vec<Condition>> {
        match &self.root {
            Node::All(parts) => parts
                .iter()
                .map(|part| if let Node::Condition(comparison) = part { comparison.as_condition() } else { None })
                .collect(),
            Node::Condition(comparison) => Some(vec![comparison.as_condition()?]),
            Node::Any(_) | Node::Not(_) => None,
        }
    }

    /// The first part that is none of what [`Self::as_conditions`] can say, in its canonical form.
    pub fn beyond_conditions(&self) -> Option<String> {
        let is_beyond = |node: &&Node| match node {
            Node::Condition(comparison) => comparison.as_condition().is_none(),
            Node::All(_) | Node::Any(_) | Node::Not(_) => true,
        };
        match &self.root {
            Node::All(parts) => parts.iter().find(is_beyond).map(ToString::to_string),
            node => is_beyond(&node).then(|| node.to_string()),
        }
    }

    /// Every condition, in the order written.
    pub fn conditions(&self) -> Vec<&Comparison> {
        let mut found = Vec::new();
        self.root.collect(&mut found);
        found
    }
}

/// The expression that asks the same as a rule, with the client networks that the rule's own text leaves out.
impl From<&Rule> for Expression {
    fn from(rule: &Rule) -> Self {
        let conditions = rule.conditions.iter().map(|condition| Node::Condition(Box::new(Comparison::from(condition))));
        Self { root: Node::all(conditions.collect()) }
    }
}

impl Node {
    /// What all of `parts` ask; parts that are conjunctions themselves are taken apart.
    fn all(parts: Vec<Self>) -> Self {
        let flat = |part| if let Self::All(parts) = part { parts } else { vec![part] };
        let mut parts: Vec<Self> = parts.into_iter().flat_map(flat).collect();
        match (parts.len(), parts.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                parts.extend(last);
                Self::All(parts)
            }
        }
    }

    /// What any of `parts` asks; parts that are disjunctions themselves are taken apart.
    fn any(parts: Vec<Self>) -> Self {
        let flat = |part| if let Self::Any(parts) = part { parts } else { vec![part] };
        let mut parts: Vec<Self> = parts.into_iter().flat_map(flat).collect();
        match (parts.len(), parts.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                parts.extend(last);
                Self::Any(parts)
            }
        }
    }

    fn matches(&self, request: &Request<'_>, client: Option<ClientAddress>, answer: Answer) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(request, client, answer)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(request, client, answer)),
            Self::Not(part) => !part.matches(request, client, answer),
            Self::Condition(comparison) => comparison.matches(request, client, answer),
        }
    }

    fn collect<'a>(&'a self, found: &mut Vec<&'a Comparison>) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.collect(found)),
            Self::Not(part) => part.collect(found),
            Self::Condition(comparison) => found.push(comparison),
        }
    }
}

#[cfg(test)]
mod tests;
