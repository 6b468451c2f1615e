//! Which rules can match nothing, since no log tells what they ask for.
//!
//! Nobody has to have seen them match before: a log in the common format has no user agent from its first line on.

use super::{FIELD_CLIENTS, FIELD_REQUESTS, Field, Reading};
use crate::decision::expression::{Evidence, Expression, Subject};
use crate::observation::attribute::Attribute;

/// So many requests in a format that has no room for a field: fewer may be those of another log, or misread.
const ROOMLESS_REQUESTS: u64 = 10;

/// Attributes that are seen in line alone: no server writes them down.
pub const NEVER_LOGGED: [Attribute; 2] = [Attribute::Ja4, Attribute::HeaderOrder];

/// The fields without any one of which a rule can match nothing.
pub fn needed(expression: &Expression) -> Vec<Field> {
    let is_needed = |field: &Field| !expression.can_match_without(|subject| of_subject(subject) == Some(*field));
    Field::ALL.into_iter().filter(is_needed).collect()
}

/// The field that a subject is read from.
fn of_subject(subject: Subject) -> Option<Field> {
    match subject {
        Subject::Attribute(attribute) => Field::of(attribute),
        Subject::Evidence(Evidence::Status) => Some(Field::Status),
        Subject::Evidence(_) => None,
    }
}

/// Why a rule beside a server can match nothing, in a sentence for people; none where it can. Without logs nothing is known.
pub fn unmatchable(expression: &Expression, readings: &[Reading]) -> Option<String> {
    if readings.is_empty() {
        return None;
    }
    let is_lacking = |subject| match subject {
        Subject::Attribute(attribute) if NEVER_LOGGED.contains(&attribute) => true,
        Subject::Attribute(attribute) => Field::of(attribute).is_some_and(|field| is_in_none(field, readings)),
        Subject::Evidence(Evidence::Status) => is_in_none(Field::Status, readings),
        Subject::Evidence(_) => false,
    };
    if expression.can_match_without(is_lacking) {
        return None;
    }
    let (mut never, mut missing) = (Vec::new(), Vec::new());
    for subject in expression.conditions().into_iter().map(|condition| condition.subject()) {
        let field = match subject {
            _ if !is_lacking(subject) => continue,
            Subject::Attribute(attribute) => Field::of(attribute),
            Subject::Evidence(_) => Some(Field::Status),
        };
        let (names, name) = match field {
            Some(field) => (&mut missing, field.to_string()),
            None => (&mut never, subject.name().to_owned()),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let read: u64 = readings.iter().map(|reading| reading.read).sum();
    let never = (!never.is_empty()).then(|| format!("no log records {}", never.join(" or ")));
    let missing = (!missing.is_empty()).then(|| {
        let verb = if missing.len() == 1 { "is" } else { "are" };
        format!("the {} {verb} in none of the {read} requests that were read", missing.join(" and the "))
    });
    let why: Vec<String> = never.into_iter().chain(missing).collect();
    Some(format!("can match nothing beside the server: {}", why.join(", and ")))
}

/// Whether no log has a field: none has room for it, or none has had it in so many requests of so many clients that it is not theirs to
/// leave it out, as they may a referer and a query.
fn is_in_none(field: Field, readings: &[Reading]) -> bool {
    let index = field as usize;
    let sum = |count: fn(&Reading, usize) -> u64| readings.iter().map(|reading| count(reading, index)).sum::<u64>();
    let read = sum(|reading, _| reading.read);
    if sum(|reading, index| reading.with[index]) > 0 {
        return false;
    }
    let has_no_room = read >= ROOMLESS_REQUESTS && sum(|reading, index| reading.without_room[index]) == read;
    let is_optional = matches!(field, Field::Referer | Field::Query);
    let is_never = || {
        let clients: u64 = sum(|reading, index| reading.clients_without[index].into());
        read >= FIELD_REQUESTS && clients >= FIELD_CLIENTS.into()
    };
    has_no_room || (!is_optional && is_never())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::expression::{Lists, Use};
    use crate::observation::log::Format;

    /// What is said of a rule where so many requests of so many clients have none of these fields, in this format.
    fn said(rule: &str, requests: u64, clients: u32, format: Format, without: &[Field]) -> Option<String> {
        let mut reading = Reading { lines: requests, read: requests, ..Reading::default() };
        for field in Field::ALL {
            let index = field as usize;
            let is_without = without.contains(&field);
            reading.with[index] = if is_without { 0 } else { requests };
            reading.clients_without[index] = if is_without { clients } else { 0 };
            reading.without_room[index] = if field.has_room_in(format) { 0 } else { requests };
        }
        let expression = Expression::parse(rule, Use::Limit, &Lists::default()).expect("a rule");
        unmatchable(&expression, &[reading])
    }

    #[test]
    fn a_rule_for_what_the_format_has_no_room_for_matches_nothing() {
        let without = [Field::Host, Field::UserAgent, Field::Referer];
        let common = |rule: &str| said(rule, 10, 1, Format::Common, &without);
        for (rule, field) in [
            ("host = a.example", "the host is in none of the 10 requests"),
            ("user-agent contains sqlmap", "the user agent is in none"),
            ("user-agent-word = sqlmap and path = /a", "the user agent is in none"),
            ("referer-origin = \"http://a.example\"", "the referer is in none"),
            ("not (path = /a or host = none)", "the host is in none"),
            ("host = a.example and user-agent = x", "the host and the user agent are in none"),
            ("host = a.example or user-agent = x", "the host and the user agent are in none"),
        ] {
            let said = common(rule).unwrap_or_default();
            assert!(said.contains(field), "{rule}: {said}");
        }
        for rule in
            ["host = none", "host != a.example", "path = /a or host = a.example", "status = 404", "method = GET"]
        {
            assert_eq!(common(rule), None, "{rule}");
        }
        assert_eq!(said("host = a.example", 9, 1, Format::Common, &without), None, "too few to tell");
    }

    #[test]
    fn what_a_format_has_room_for_must_be_missing_from_several_clients() {
        let said = |rule: &str, requests, clients, field| said(rule, requests, clients, Format::Json, &[field]);
        assert_eq!(said("host = a.example", 29, 20, Field::Host), None);
        assert_eq!(said("host = a.example", 300, 9, Field::Host), None);
        assert!(said("host = a.example", 30, 10, Field::Host).is_some());
        assert!(said("status in (401, 403)", 30, 10, Field::Status).is_some());
        assert!(said("version = HTTP/1.0", 30, 10, Field::Protocol).is_some());
        for (rule, field) in
            [("referer-origin = \"http://a.example\"", Field::Referer), ("query-keys = a", Field::Query)]
        {
            assert_eq!(said(rule, 1_000, 100, field), None, "{rule}: clients may leave it out");
        }
    }

    #[test]
    fn the_fields_that_a_rule_needs_are_those_without_which_it_matches_nothing() {
        for (rule, fields) in [
            ("method = POST and path = /login", &[Field::Method, Field::Path][..]),
            ("status in (401, 403)", &[Field::Status]),
            ("path = /a or user-agent contains sqlmap", &[]),
            ("user-agent = a or user-agent-word = bot", &[Field::UserAgent]),
            ("host = none and path = /a", &[Field::Path]),
        ] {
            let expression = Expression::parse(rule, Use::Limit, &Lists::default()).expect("a rule");
            assert_eq!(needed(&expression), fields, "{rule}");
        }
    }

    #[test]
    fn what_no_log_records_is_said_at_once_and_in_line_nothing_is() {
        for rule in ["ja4 = t13d", "path = /a and header-order = host"] {
            let expression = Expression::parse(rule, Use::Rule, &Lists::default()).expect("a rule");
            let said = unmatchable(&expression, &[Reading::default()]).unwrap_or_default();
            assert!(said.contains("no log records ja4") || said.contains("no log records header-order"), "{said}");
            assert_eq!(unmatchable(&expression, &[]), None);
        }
    }
}
