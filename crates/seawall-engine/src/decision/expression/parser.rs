//! Puts the pieces of a text together: `or` joins what `and` joins what `not` turns round.

use ipnet::IpNet;

use super::comparison::{Comparison, Evidence, Listed, Needle, Networks, Relation, Subject, Test, Values};
use super::error::{Fault, Problem, nearest};
use super::lexer::{Token, TokenKind, tokens};
use super::value::{self, Extent, Kind};
use super::{CONDITIONS_MAX, DEPTH_MAX, Expression, ExpressionError, List, Lists, Node, TEXT_BYTES_MAX, Use};
use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

/// Another name of [`Attribute::ClientPrefix`].
pub(super) const CLIENT: &str = "client";

/// What other tools call an attribute.
const FOREIGN_NAMES: [(&str, &str); 13] = [
    ("ua", "user-agent"),
    ("agent", "user-agent"),
    ("useragent", "user-agent"),
    ("http-user-agent", "user-agent"),
    ("ip", CLIENT),
    ("address", CLIENT),
    ("remote-addr", CLIENT),
    ("uri", "path"),
    ("url", "path"),
    ("query", "query-keys"),
    ("referer", "referer-origin"),
    ("referrer", "referer-origin"),
    ("protocol", "version"),
];

/// Reads a whole text.
pub(super) fn parse(text: &str, usage: Use, lists: &Lists) -> Result<Expression, ExpressionError> {
    parse_from(text, 0, usage, lists).map_err(|fault| fault.in_text(text))
}

/// Reads what begins at a byte of `text`.
pub(super) fn parse_from(text: &str, start: usize, usage: Use, lists: &Lists) -> Result<Expression, Fault> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Fault::new(start, Problem::TooLong { bytes: text.len() }));
    }
    let mut tokens = tokens(text)?;
    tokens.retain(|token| token.at >= start);
    let mut parser = Parser { text, tokens, next: 0, usage, lists, conditions: 0 };
    let root = parser.any(0)?;
    match parser.tokens.get(parser.next) {
        None => {}
        Some(Token { kind: TokenKind::Closing, at, .. }) => return Err(Fault::new(*at, Problem::Unopened)),
        Some(Token { at, .. }) => {
            let hint = parser.keyword_hint(&["and", "or"]);
            return Err(Fault::new(*at, Problem::Trailing { found: parser.found(), hint }));
        }
    }
    let expression = Expression { root };
    // Escapes can make four bytes of one: what is accepted must be readable when it has been written.
    let bytes = expression.to_string().len();
    if bytes > TEXT_BYTES_MAX {
        return Err(Fault::new(start, Problem::TooLong { bytes }));
    }
    Ok(expression)
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
    usage: Use,
    lists: &'a Lists,
    conditions: usize,
}

impl Parser<'_> {
    fn any(&mut self, depth: usize) -> Result<Node, Fault> {
        let mut parts = vec![self.all(depth)?];
        while self.take_word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(Node::any(parts))
    }

    fn all(&mut self, depth: usize) -> Result<Node, Fault> {
        let mut parts = vec![self.one(depth)?];
        while self.take_word("and") {
            parts.push(self.one(depth)?);
        }
        Ok(Node::all(parts))
    }

    fn one(&mut self, depth: usize) -> Result<Node, Fault> {
        let opening = self.at();
        if depth > DEPTH_MAX {
            return Err(Fault::new(opening, Problem::TooDeep));
        }
        if self.take_word("not") {
            return Ok(Node::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take(&TokenKind::Opening) {
            let inner = self.any(depth + 1)?;
            if self.take(&TokenKind::Closing) {
                return Ok(inner);
            }
            if self.tokens.len() == self.next {
                return Err(Fault::new(opening, Problem::Unclosed));
            }
            let hint = self.keyword_hint(&["and", "or"]);
            return Err(self.fault(Problem::Trailing { found: self.found(), hint }));
        }
        self.condition().map(|condition| Node::Condition(Box::new(condition)))
    }

    fn condition(&mut self) -> Result<Comparison, Fault> {
        let subject = self.subject()?;
        self.conditions += 1;
        if self.conditions > CONDITIONS_MAX {
            return Err(self.fault_before(Problem::TooManyConditions));
        }
        let operator = self.operator(subject)?;
        let test = match subject {
            Subject::Attribute(attribute) => self.test_of_attribute(attribute, operator.kind)?,
            Subject::Evidence(evidence) => self.test_of_number(evidence, operator.kind)?,
        };
        Ok(Comparison { subject, is_negated: operator.is_negated, test })
    }

    fn subject(&mut self) -> Result<Subject, Fault> {
        let Some(Token { kind: TokenKind::Word(name), .. }) = self.tokens.get(self.next) else {
            return Err(self.fault(Problem::ExpectedCondition { found: self.found() }));
        };
        let evidence = Evidence::ALL.into_iter().find(|evidence| evidence.name() == name);
        let attribute = if name == CLIENT { Some(Attribute::ClientPrefix) } else { Attribute::from_name(name) };
        let subject = match (attribute, evidence) {
            (Some(attribute), _) => Subject::Attribute(attribute),
            (None, Some(evidence)) if self.usage.asks_for(evidence) => Subject::Evidence(evidence),
            (None, Some(evidence)) if self.usage == Use::Limit => {
                return Err(self.fault(Problem::EvidenceInLimit { name: evidence.name() }));
            }
            (None, Some(evidence)) => return Err(self.fault(Problem::EvidenceInRule { name: evidence.name() })),
            (None, None) if ["and", "or", "in", "none"].contains(&name.as_str()) => {
                return Err(self.fault(Problem::ExpectedCondition { found: self.found() }));
            }
            (None, None) => {
                let hint = self.name_hint(name);
                return Err(self.fault(Problem::UnknownAttribute { name: shown(name.as_bytes()), hint }));
            }
        };
        self.next += 1;
        Ok(subject)
    }

    /// What an unknown name probably means, or all that there are.
    fn name_hint(&self, name: &str) -> String {
        let lower = name.to_lowercase().replace('_', "-");
        let evidence =
            Evidence::ALL.iter().filter(|evidence| self.usage.asks_for(**evidence)).map(|evidence| evidence.name());
        let names: Vec<&str> =
            Attribute::ALL.iter().map(|attribute| attribute.name()).chain([CLIENT]).chain(evidence).collect();
        if lower.ends_with(':') && self.next == 0 {
            return "; a name stands before a rule in files of rules alone".to_owned();
        }
        let foreign = FOREIGN_NAMES.iter().find(|(foreign, _)| *foreign == lower).map(|(_, ours)| *ours);
        let meant = foreign.or_else(|| nearest(name, names.iter().copied().chain(["not"])));
        match meant {
            Some(meant) => format!("; did you mean `{meant}`?"),
            None => format!("; there are {}", names.join(", ")),
        }
    }

    fn operator(&mut self, subject: Subject) -> Result<Operator, Fault> {
        let start = self.next;
        let allowed = allowed(subject);
        let mut is_negated = self.take_word("not");
        let kind = match self.tokens.get(self.next).map(|token| &token.kind) {
            Some(TokenKind::Equal) if !is_negated => Some(OperatorKind::Relation(Relation::Equal)),
            Some(TokenKind::NotEqual) if !is_negated => {
                is_negated = true;
                Some(OperatorKind::Relation(Relation::Equal))
            }
            Some(TokenKind::Less) if !is_negated => Some(OperatorKind::Relation(Relation::Less)),
            Some(TokenKind::LessOrEqual) if !is_negated => Some(OperatorKind::Relation(Relation::LessOrEqual)),
            Some(TokenKind::Greater) if !is_negated => Some(OperatorKind::Relation(Relation::Greater)),
            Some(TokenKind::GreaterOrEqual) if !is_negated => Some(OperatorKind::Relation(Relation::GreaterOrEqual)),
            Some(TokenKind::Word(word)) => match word.as_str() {
                "in" => Some(OperatorKind::In),
                "contains" => Some(OperatorKind::Contains),
                "starts-with" => Some(OperatorKind::StartsWith),
                "ends-with" => Some(OperatorKind::EndsWith),
                _ => None,
            },
            _ => None,
        };
        let kind = kind.filter(|kind| kind.is_of(subject));
        let Some(kind) = kind else {
            let words: &[&str] = &["in", "contains", "starts-with", "ends-with", "not"];
            let hint = self.keyword_hint(words);
            self.next = if hint.is_empty() { start } else { self.next };
            let (found, subject) = (self.found(), subject.name().to_owned());
            return Err(self.fault(Problem::ExpectedOperator { found, subject, allowed, hint }));
        };
        self.next += 1;
        Ok(Operator { kind, is_negated })
    }

    fn test_of_attribute(&mut self, attribute: Attribute, operator: OperatorKind) -> Result<Test, Fault> {
        let kind = Kind::of(attribute);
        if operator == OperatorKind::In {
            if self.is_next(&TokenKind::Opening) {
                if kind == Kind::Client {
                    return Ok(Test::Networks(Networks::new(self.values(|value, _| value::network(value))?)));
                }
                let check = |value: &[u8], is_bare| value::check(kind, value, Extent::Whole, is_bare);
                return Ok(Test::OneOf(Values::new(self.values(check)?)));
            }
            return self.list(kind);
        }
        if operator == OperatorKind::Relation(Relation::Equal) && self.take_word("none") {
            return Ok(Test::Absent);
        }
        if kind == Kind::Client && self.is_next(&TokenKind::Opening) {
            let hint = "; the text of a rule leaves out networks, and `in (…)` asks for several";
            return Err(self.fault(Problem::ExpectedValue { found: self.found(), expected: "a network", hint }));
        }
        if kind == Kind::Client {
            return Ok(Test::Network(self.value(|value, _| value::network(value))?));
        }
        let part = |value: &[u8], is_bare| value::check(kind, value, Extent::Part, is_bare);
        Ok(match operator {
            OperatorKind::Contains => Test::Contains(Needle::new(&self.value(part)?)),
            OperatorKind::StartsWith => Test::StartsWith(self.value(part)?),
            OperatorKind::EndsWith => Test::EndsWith(self.value(part)?),
            OperatorKind::In | OperatorKind::Relation(_) => {
                Test::Equal(self.value(|value, is_bare| value::check(kind, value, Extent::Whole, is_bare))?)
            }
        })
    }

    fn test_of_number(&mut self, evidence: Evidence, operator: OperatorKind) -> Result<Test, Fault> {
        let check = |value: &[u8], _| number(evidence, value);
        Ok(match operator {
            OperatorKind::In => Test::Numbers(self.values(check)?),
            OperatorKind::Relation(Relation::Equal)
                if matches!(evidence, Evidence::Status | Evidence::Duration) && self.take_word("none") =>
            {
                Test::Absent
            }
            OperatorKind::Relation(relation) => Test::Number(relation, self.value(check)?),
            // The operators of text are not given to numbers.
            OperatorKind::Contains | OperatorKind::StartsWith | OperatorKind::EndsWith => {
                Test::Number(Relation::Equal, self.value(check)?)
            }
        })
    }

    /// One value.
    fn value<T>(&mut self, check: impl Fn(&[u8], bool) -> Result<T, String>) -> Result<T, Fault> {
        let (value, is_bare): (&[u8], bool) = match self.tokens.get(self.next).map(|token| &token.kind) {
            Some(TokenKind::Word(word)) => (word.as_bytes(), true),
            Some(TokenKind::Quoted(value)) => (value, false),
            _ => {
                let (found, hint) = (self.found(), "; put quotes around one that holds such a character");
                let hint = if self.tokens.len() == self.next { "" } else { hint };
                return Err(self.fault(Problem::ExpectedValue { found, expected: "a value", hint }));
            }
        };
        let checked = check(value, is_bare);
        let checked = checked.map_err(|reason| self.fault(Problem::Value { value: shown(value), reason }))?;
        self.next += 1;
        Ok(checked)
    }

    /// Several values in parentheses.
    fn values<T>(&mut self, check: impl Fn(&[u8], bool) -> Result<T, String>) -> Result<Vec<T>, Fault> {
        let opening = self.at();
        if !self.take(&TokenKind::Opening) {
            let (found, expected) = (self.found(), "a list in parentheses, as `in (404, 410)`,");
            return Err(self.fault(Problem::ExpectedValue { found, expected, hint: "" }));
        }
        if matches!(self.tokens.get(self.next), Some(Token { kind: TokenKind::Closing, .. })) {
            let expected = "at least one value, as in `in (a, b)`,";
            return Err(self.fault(Problem::ExpectedValue { found: self.found(), expected, hint: "" }));
        }
        let mut values = vec![self.value_in_list(&check)?];
        while self.take(&TokenKind::Comma) {
            values.push(self.value_in_list(&check)?);
        }
        if self.take(&TokenKind::Closing) {
            return Ok(values);
        }
        if self.tokens.len() == self.next {
            return Err(Fault::new(opening, Problem::Unclosed));
        }
        let hint = "; put quotes around a value with spaces";
        Err(self.fault(Problem::ExpectedValue { found: self.found(), expected: "`,` or `)`", hint }))
    }

    fn value_in_list<T>(&mut self, check: &impl Fn(&[u8], bool) -> Result<T, String>) -> Result<T, Fault> {
        if self.is_word("none") {
            let hint = "; absence is asked for by itself, as in `user-agent = none or user-agent in (…)`";
            return Err(self.fault(Problem::ExpectedValue { found: self.found(), expected: "a value", hint }));
        }
        self.value(check)
    }

    /// The name of a list.
    fn list(&mut self, kind: Kind) -> Result<Test, Fault> {
        let Some(Token { kind: TokenKind::Word(name), .. }) = self.tokens.get(self.next) else {
            let expected = "a list in parentheses or the name of one";
            return Err(self.fault(Problem::ExpectedValue { found: self.found(), expected, hint: "" }));
        };
        let Some(list) = self.lists.get(name) else {
            let names: Vec<&str> = self.lists.names().collect();
            let hint = match nearest(name, names.iter().copied()) {
                Some(nearest) => format!("; did you mean `{nearest}`?"),
                None if names.is_empty() => "; several values stand in parentheses: `in (a, b)`".to_owned(),
                None => format!("; there is {}, and several values stand in parentheses", names.join(", ")),
            };
            return Err(self.fault(Problem::UnknownList { name: shown(name.as_bytes()), hint }));
        };
        let test = if kind == Kind::Client {
            let networks = list.values().map(|value| value::network(value).ok()).collect::<Option<Vec<IpNet>>>();
            networks.filter(|_| !list.is_open()).map(|mut networks| {
                networks.sort_unstable();
                Test::ListedNetworks(name.as_str().into(), Networks::new(networks))
            })
        } else {
            let listed = || Test::Listed(Listed { name: name.as_str().into(), list: list.clone() });
            has_values_of(list, kind).then(listed)
        };
        let Some(test) = test else {
            let (value, reason) = (shown(name.as_bytes()), "is a list of other values than these".to_owned());
            return Err(self.fault(Problem::Value { value, reason }));
        };
        self.next += 1;
        Ok(test)
    }

    fn take(&mut self, kind: &TokenKind) -> bool {
        let taken = self.is_next(kind);
        self.next += usize::from(taken);
        taken
    }

    fn take_word(&mut self, word: &str) -> bool {
        let taken = self.is_word(word);
        self.next += usize::from(taken);
        taken
    }

    fn is_next(&self, kind: &TokenKind) -> bool {
        self.tokens.get(self.next).is_some_and(|token| token.kind == *kind)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.tokens.get(self.next), Some(Token { kind: TokenKind::Word(next), .. }) if next == word)
    }

    /// Where the next piece begins, or the text ends.
    fn at(&self) -> usize {
        let end = || self.tokens.last().map_or(self.text.len(), |token| token.end);
        self.tokens.get(self.next).map_or_else(end, |token| token.at)
    }

    fn fault(&self, problem: Problem) -> Fault {
        Fault::new(self.at(), problem)
    }

    /// A fault at the piece that was taken last.
    fn fault_before(&self, problem: Problem) -> Fault {
        let before = self.next.checked_sub(1).and_then(|before| self.tokens.get(before));
        Fault::new(before.map_or(0, |token| token.at), problem)
    }

    /// The next piece as an error names it.
    fn found(&self) -> String {
        let piece = self.tokens.get(self.next).and_then(|token| self.text.get(token.at..token.end));
        piece.map_or_else(|| "the end".to_owned(), |piece| format!("`{}`", shown(piece.as_bytes())))
    }

    /// Which of these words the next piece was probably meant to be.
    fn keyword_hint(&self, keywords: &[&'static str]) -> String {
        let Some(Token { kind: TokenKind::Word(word), .. }) = self.tokens.get(self.next) else { return String::new() };
        match nearest(word, keywords.iter().copied()) {
            Some(meant) if meant != word => format!("; did you mean `{meant}`?"),
            _ => String::new(),
        }
    }
}

/// How something is compared.
struct Operator {
    kind: OperatorKind,
    is_negated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OperatorKind {
    Relation(Relation),
    Contains,
    StartsWith,
    EndsWith,
    In,
}

/// The operators of a subject, for people.
pub(super) fn allowed(subject: Subject) -> &'static str {
    match subject {
        Subject::Evidence(_) => "=, !=, <, <=, >, >=, in, not in",
        Subject::Attribute(attribute) if Kind::of(attribute).has_parts() => {
            "=, !=, contains, starts-with, ends-with, in, not in"
        }
        Subject::Attribute(_) => "=, !=, in, not in",
    }
}

impl OperatorKind {
    fn is_of(self, subject: Subject) -> bool {
        match (subject, self) {
            (_, Self::In | Self::Relation(Relation::Equal)) => true,
            (Subject::Evidence(_), Self::Relation(_)) => true,
            (Subject::Evidence(_), Self::Contains | Self::StartsWith | Self::EndsWith) => false,
            (Subject::Attribute(_), Self::Relation(_)) => false,
            (Subject::Attribute(attribute), Self::Contains | Self::StartsWith | Self::EndsWith) => {
                Kind::of(attribute).has_parts()
            }
        }
    }
}

/// Whether every value of a list could be one of this kind, in the form in which it is compared.
fn has_values_of(list: &List, kind: Kind) -> bool {
    list.values().all(|value| value::check(kind, value, Extent::Whole, true).is_ok_and(|compared| *compared == *value))
}

/// A status, a number of bytes, a moment in seconds, or a duration in milliseconds.
fn number(evidence: Evidence, value: &[u8]) -> Result<u64, String> {
    if evidence == Evidence::Time {
        let written = crate::observation::log::time::written(value);
        return written.map(Timestamp::as_seconds).ok_or_else(|| {
            "is no moment; one is written as 2024-05-01, 2024-05-01T12:30 or 2024-05-01T12:30:05+02:00, in UTC unless it \
             says its zone"
                .to_owned()
        });
    }
    let number = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number: Option<u64> = number.and_then(|text| text.parse().ok());
    match (evidence, number) {
        (Evidence::Status, Some(100..=599)) | (Evidence::Bytes | Evidence::Duration, Some(_)) => {
            Ok(number.unwrap_or_default())
        }
        (Evidence::Status, _) => Err("is no status; a status is a number from 100 to 599".to_owned()),
        (Evidence::Bytes, _) => Err("is no whole number of bytes".to_owned()),
        (Evidence::Duration | Evidence::Time, _) => Err("is no whole number of milliseconds".to_owned()),
    }
}

/// A text of the writer's as errors show it: escaped, and cut where it is long.
fn shown(text: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 60;
    match text.get(..SHOWN_BYTES_MAX) {
        Some(beginning) if text.len() > SHOWN_BYTES_MAX => format!("{}…", beginning.escape_ascii()),
        _ => text.escape_ascii().to_string(),
    }
}
