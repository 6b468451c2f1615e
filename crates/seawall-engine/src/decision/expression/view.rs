//! An expression as whoever writes it in another language has to see it: what is asked, without how it is looked up.

use ipnet::IpNet;

use super::comparison::{Comparison, Subject, Test};
use super::{Expression, Node};

/// A part of an expression. A negated condition (`!=`, `not in`) is a [`View::Not`] of the one without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View<'a> {
    /// All of these hold.
    All(Vec<Self>),
    /// One of these holds.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// A condition.
    Asks(Subject, Asked<'a>),
}

/// What a condition asks of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// That it has no value.
    Absent,
    /// That it is this.
    Equal(&'a [u8]),
    /// That this is part of it.
    Contains(&'a [u8]),
    /// That it begins with this.
    StartsWith(&'a [u8]),
    /// That it ends with this.
    EndsWith(&'a [u8]),
    /// That it is one of `values`, or ends with one of `endings`.
    OneOf {
        /// Whole values; those of a named list are sorted.
        values: Vec<&'a [u8]>,
        /// Ends of values.
        endings: Vec<&'a [u8]>,
    },
    /// Nothing: every value will do, and having none.
    Anything,
    /// That the client is in one of these networks.
    Networks(Vec<IpNet>),
    /// That a number is another; only filters ask that.
    Number,
}

impl Expression {
    /// What it asks, part by part.
    pub fn view(&self) -> View<'_> {
        self.root.view()
    }
}

impl Node {
    fn view(&self) -> View<'_> {
        match self {
            Self::All(parts) => View::All(parts.iter().map(Self::view).collect()),
            Self::Any(parts) => View::Any(parts.iter().map(Self::view).collect()),
            Self::Not(part) => View::Not(Box::new(part.view())),
            Self::Condition(comparison) => comparison.view(),
        }
    }
}

impl Comparison {
    fn view(&self) -> View<'_> {
        let asked = match &self.test {
            Test::Absent => Asked::Absent,
            Test::Equal(value) => Asked::Equal(value),
            Test::Contains(needle) => Asked::Contains(needle.part()),
            Test::StartsWith(beginning) => Asked::StartsWith(beginning),
            Test::EndsWith(ending) => Asked::EndsWith(ending),
            Test::OneOf(values) => {
                Asked::OneOf { values: values.written.iter().map(|value| &**value).collect(), endings: Vec::new() }
            }
            Test::Listed(listed) if listed.list.is_everything() => Asked::Anything,
            Test::Listed(listed) => {
                let mut values: Vec<&[u8]> = listed.list.values().collect();
                values.sort_unstable();
                Asked::OneOf { values, endings: listed.list.endings().collect() }
            }
            Test::Network(network) => Asked::Networks(vec![*network]),
            Test::Networks(networks) | Test::ListedNetworks(_, networks) => Asked::Networks(networks.written.clone()),
            Test::Number(..) | Test::Numbers(_) => Asked::Number,
        };
        let asks = View::Asks(self.subject, asked);
        if self.is_negated { View::Not(Box::new(asks)) } else { asks }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{List, Lists, Use};
    use super::*;
    use crate::observation::attribute::Attribute;

    #[test]
    fn negations_stand_apart_and_lists_are_opened() {
        let mut sites = List::default();
        sites.insert(&b"b.example"[..]);
        sites.insert(&b"a.example"[..]);
        sites.insert_ending(&b".c.example"[..]);
        let mut lists = Lists::default();
        lists.insert("sites", sites);
        let text = "host not in sites and (path = /a or not client = 192.0.2.1)";
        let expression = Expression::parse(text, Use::Rule, &lists).expect("a rule");
        let asks = |attribute, asked| View::Asks(Subject::Attribute(attribute), asked);
        let hosts =
            Asked::OneOf { values: vec![&b"a.example"[..], &b"b.example"[..]], endings: vec![&b".c.example"[..]] };
        let network = "192.0.2.1/32".parse().expect("a network");
        assert_eq!(
            expression.view(),
            View::All(vec![
                View::Not(Box::new(asks(Attribute::Host, hosts))),
                View::Any(vec![
                    asks(Attribute::Path, Asked::Equal(b"/a")),
                    View::Not(Box::new(asks(Attribute::ClientPrefix, Asked::Networks(vec![network])))),
                ]),
            ])
        );
    }
}
