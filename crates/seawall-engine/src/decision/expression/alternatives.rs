//! An expression taken apart for the gate: into the ways in which a request can meet it, and each of these into what can be looked
//! up, what else is asked of the request, and what is asked of its answer.

use super::comparison::Test;
use super::{Comparison, Expression, Node, Subject};
use crate::observation::attribute::Attribute;

/// Ways that an expression is taken apart into at most; one with more is asked as a whole.
const ALTERNATIVES_MAX: usize = 16;

/// One way in which a request can meet an expression. All that is in it must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// What can be looked up.
    pub lookups: Vec<Lookup>,
    /// What else is asked of the request.
    pub rest: Option<Expression>,
    /// What is asked of its answer.
    pub answer: Option<Expression>,
}

/// That an attribute has one of these values; `None` among them is for having none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The attribute.
    pub attribute: Attribute,
    /// The values, as they are compared.
    pub values: Vec<Option<Box<[u8]>>>,
}

/// A part of an expression that asks of the request and of its answer at once and cannot be taken apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{part}` asks of the request and of its answer at once; join the two with `and`, as in `path = \"/login\" and status = 401`"
)]
pub struct Mixed {
    /// The part, in its canonical form.
    pub part: String,
}

impl Expression {
    /// The ways in which a request can meet it: it does when it meets one of them.
    ///
    /// # Errors
    /// When what it asks of the request cannot be told from what it asks of the answer.
    pub fn alternatives(&self) -> Result<Vec<Alternative>, Mixed> {
        match &self.root {
            Node::Any(parts) if parts.len() <= ALTERNATIVES_MAX || self.root.asks().1 => {
                parts.iter().map(alternative).collect()
            }
            root => Ok(vec![alternative(root)?]),
        }
    }
}

fn alternative(node: &Node) -> Result<Alternative, Mixed> {
    let parts = match node {
        Node::All(parts) => parts.as_slice(),
        other => std::slice::from_ref(other),
    };
    let (mut lookups, mut rest, mut answer) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        match (part.asks(), part) {
            ((true, true), _) => return Err(Mixed { part: part.to_string() }),
            ((_, true), _) => answer.push(part.clone()),
            (_, Node::Condition(comparison)) => match comparison.lookup() {
                Some(lookup) => lookups.push(lookup),
                None => rest.push(part.clone()),
            },
            _ => rest.push(part.clone()),
        }
    }
    let joined = |parts: Vec<Node>| (!parts.is_empty()).then(|| Expression { root: Node::all(parts) });
    Ok(Alternative { lookups, rest: joined(rest), answer: joined(answer) })
}

impl Node {
    /// Whether it asks of the request, and of its answer.
    fn asks(&self) -> (bool, bool) {
        let mut found = Vec::new();
        self.collect(&mut found);
        let of_answer = |comparison: &&Comparison| matches!(comparison.subject, Subject::Evidence(_));
        (!found.iter().all(of_answer), found.iter().any(of_answer))
    }
}

impl Comparison {
    fn lookup(&self) -> Option<Lookup> {
        let Subject::Attribute(attribute) = self.subject else { return None };
        if self.is_negated || attribute == Attribute::ClientPrefix {
            return None;
        }
        let values = match &self.test {
            Test::Absent => vec![None],
            Test::Equal(value) => vec![Some(value.clone())],
            Test::OneOf(values) => values.written.iter().cloned().map(Some).collect(),
            _ => return None,
        };
        Some(Lookup { attribute, values })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Answer, Lists, Use};
    use super::*;
    use crate::observation::Request;
    use crate::observation::attribute::each_value;

    fn parse(text: &str) -> Expression {
        Expression::parse(text, Use::Limit, &Lists::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_asked_of_the_answer_is_told_from_what_is_asked_of_the_request() {
        let text = "method in (GET, POST) and path starts-with \"/a\" and status in (401, 403)";
        let alternatives = parse(text).alternatives().expect("taken apart");
        let [one] = alternatives.as_slice() else { panic!("{alternatives:?}") };
        assert_eq!(one.lookups.len(), 1);
        assert_eq!(one.lookups[0].values.len(), 2);
        assert_eq!(one.rest.as_ref().map(ToString::to_string).as_deref(), Some("path starts-with \"/a\""));
        assert_eq!(one.answer.as_ref().map(ToString::to_string).as_deref(), Some("status in (401, 403)"));
        assert_eq!(parse("(path = /a and status = 401) or path = /b").alternatives().expect("two").len(), 2);
    }

    #[test]
    fn what_cannot_be_told_apart_is_named() {
        let error = parse("method = GET and (path = /a or status = 401)").alternatives().expect_err("mixed");
        assert_eq!(error.part, "path = \"/a\" or status = 401");
        assert!(parse("not (path = /a and status = 401)").alternatives().is_err());
    }

    fn text() -> impl Strategy<Value = String> {
        let condition = prop::sample::select(vec![
            "method = GET",
            "method in (POST, PUT)",
            "path = /a",
            "path in (/a, /b)",
            "path starts-with \"/b\"",
            "user-agent = none",
            "user-agent != none",
            "query-keys = none",
            "query-keys != none",
            "not path = /a",
            "status = 401",
            "status in (401, 404)",
            "status >= 400",
            "not status = 404",
        ]);
        let all = prop::collection::vec(condition, 1..4).prop_map(|parts| parts.join(" and "));
        prop::collection::vec(all, 1..4).prop_map(|parts| parts.join(" or "))
    }

    proptest! {
        #[test]
        fn a_request_meets_an_expression_when_it_meets_an_alternative(
            text in text(),
            method in prop::sample::select(vec!["GET", "POST", "HEAD"]),
            path in prop::sample::select(vec!["/a", "/b", "/b/c", "/d"]),
            user_agent in prop::option::of(Just("x/1")),
            status in prop::sample::select(vec![200, 401, 404]),
        ) {
            let expression = parse(&text);
            let request = Request {
                method: method.as_bytes(),
                path: path.as_bytes(),
                user_agent: user_agent.map(str::as_bytes),
                ..Request::default()
            };
            let answer = Answer { status: Some(status), ..Answer::default() };
            let meets = |alternative: &Alternative| {
                let looked_up = alternative.lookups.iter().all(|lookup| {
                    let mut found = false;
                    each_value(lookup.attribute, &request, None, |value| {
                        found |= lookup.values.iter().any(|wanted| wanted.as_deref() == value);
                    });
                    found
                });
                looked_up
                    && alternative.rest.as_ref().is_none_or(|rest| rest.matches(&request, None, Answer::default()))
                    && alternative.answer.as_ref().is_none_or(|asked| asked.matches(&request, None, answer))
            };
            let alternatives = expression.alternatives().expect("no part asks of both");
            prop_assert_eq!(alternatives.iter().any(meets), expression.matches(&request, None, answer), "{}", text);
        }
    }
}
