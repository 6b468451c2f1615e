//! The canonical text of an expression: values in quotes, numbers and names bare, parentheses only where they are needed.

use std::fmt;

use super::comparison::{Comparison, Evidence, Relation, Subject, Test};
use super::{Expression, Node};
use crate::observation::log::time::in_calendar;

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(formatter)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) => join(formatter, parts, " and ", |part| matches!(part, Self::Any(_))),
            Self::Any(parts) => join(formatter, parts, " or ", |_| false),
            Self::Not(part) if matches!(**part, Self::All(_) | Self::Any(_)) => write!(formatter, "not ({part})"),
            Self::Not(part) => write!(formatter, "not {part}"),
            Self::Condition(comparison) => comparison.fmt(formatter),
        }
    }
}

fn join(
    formatter: &mut fmt::Formatter<'_>,
    parts: &[Node],
    word: &str,
    needs_parentheses: fn(&Node) -> bool,
) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            formatter.write_str(word)?;
        }
        if needs_parentheses(part) {
            write!(formatter, "({part})")?;
        } else {
            write!(formatter, "{part}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.subject.name())?;
        let equal = if self.is_negated { "!=" } else { "=" };
        let not = if self.is_negated { "not " } else { "" };
        match &self.test {
            Test::Absent => write!(formatter, " {equal} none"),
            Test::Equal(value) => write!(formatter, " {equal} {}", Quoted(value)),
            Test::Contains(needle) => write!(formatter, " {not}contains {}", Quoted(needle.part())),
            Test::StartsWith(beginning) => write!(formatter, " {not}starts-with {}", Quoted(beginning)),
            Test::EndsWith(ending) => write!(formatter, " {not}ends-with {}", Quoted(ending)),
            Test::OneOf(values) => {
                write!(formatter, " {not}in ")?;
                list(formatter, values.written.iter().map(|value| Quoted(value)))
            }
            Test::Listed(listed) => write!(formatter, " {not}in {}", listed.name),
            Test::Network(network) => write!(formatter, " {equal} \"{network}\""),
            Test::Networks(networks) => {
                write!(formatter, " {not}in ")?;
                list(formatter, networks.written.iter().map(|network| format!("\"{network}\"")))
            }
            Test::ListedNetworks(name, _) => write!(formatter, " {not}in {name}"),
            Test::Number(Relation::Equal, number) => write!(formatter, " {equal} {}", self.number(*number)),
            Test::Number(relation, number) => write!(formatter, " {} {}", relation.mark(), self.number(*number)),
            Test::Numbers(numbers) => {
                write!(formatter, " {not}in ")?;
                list(formatter, numbers.iter().map(|number| self.number(*number)))
            }
        }
    }
}

impl Comparison {
    /// A number that it compares with, as it is written.
    fn number(&self, number: u64) -> String {
        match self.subject {
            Subject::Evidence(Evidence::Time) => in_calendar(number),
            _ => number.to_string(),
        }
    }
}

fn list(formatter: &mut fmt::Formatter<'_>, values: impl IntoIterator<Item: fmt::Display>) -> fmt::Result {
    formatter.write_str("(")?;
    for (index, value) in values.into_iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        write!(formatter, "{comma}{value}")?;
    }
    formatter.write_str(")")
}

/// A value as the text of a [`crate::decision::Condition`] writes it.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.0.escape_ascii())
    }
}
