//! What each attribute is, for the documentation: the table there is made from this.

use super::comparison::{Evidence, Subject};
use super::parser::{CLIENT, allowed};
use crate::observation::attribute::Attribute;

/// An attribute as the documentation describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name in rules and filters.
    pub name: &'static str,
    /// Another name for the same, if it has one.
    pub alias: Option<&'static str>,
    /// What its values are.
    pub meaning: &'static str,
    /// A condition on it.
    pub example: &'static str,
    /// The operators that it has.
    pub operators: &'static str,
    /// Whether only filters can ask for it.
    pub is_evidence: bool,
    /// Whether a request can have several values of it at once.
    pub is_set: bool,
}

/// Name, meaning and example of everything that can be asked for. An attribute that is missing here fails a test.
const TEXTS: [(&str, &str, &str); 20] = [
    ("user-agent", "the `User-Agent` header", r#"user-agent contains "QQGameHall""#),
    (
        "user-agent-word",
        "a word of the user agent: three letters and digits or more, beginning with a letter",
        "user-agent-word = MicroMessenger",
    ),
    (
        "header-order",
        "the names of the headers that the program always sends, in the order sent; no log has them",
        r#"header-order = "host user-agent accept""#,
    ),
    (
        "ja4",
        "the JA4 fingerprint of the TLS handshake; no source has it yet",
        "ja4 = t13d1516h2_8daaf6152771_b186095e22b6",
    ),
    ("referer-origin", "scheme and host of the `Referer` header", r#"referer-origin = "https://news.example""#),
    (
        "query-keys",
        "the names of the query's parameters in the order sent, joined by `&`",
        r#"query-keys = "action&id""#,
    ),
    ("path", "the path without the query, as sent", r#"path = "/announce""#),
    (
        "path-template",
        "the path with what machines write in it as `{digits}`, `{hex}`, `{uuid}` or `{token}`; none where it holds no such",
        r#"path-template = "/{hex}""#,
    ),
    ("path-prefix", "a directory above the path, up to three levels deep", r#"path-prefix = "/wiki/""#),
    (
        "extension",
        "the extension of the path, in lower case, without the dot; `php` for `/index.php/style.css`",
        "extension in (php, asp, cgi)",
    ),
    ("host", "the host in lower case, without the port", "host not in sites"),
    ("method", "the method, as sent; empty for what is no HTTP", "method = POST"),
    ("version", "the version of HTTP", r#"version = "HTTP/1.0""#),
    ("asn", "the number of the autonomous system that the client's network belongs to", "asn in (4134, 4837)"),
    ("country", "the country of the client's network, as two letters (ISO 3166-1)", "country = CN"),
    (
        "client-prefix",
        "the client's address: compared with addresses and networks in CIDR notation",
        "client in (192.0.2.7, 2001:db8::/32)",
    ),
    ("status", "the status of the answer", "status >= 500"),
    ("bytes", "bytes of answer", "bytes > 1000000"),
    ("time", "when the request was logged; in UTC unless a zone is written", "time >= 2024-05-01T12:30"),
    ("duration", "how long the request took, in milliseconds; `none` where the log does not say", "duration > 500"),
];

/// Everything that can be asked for, attributes in the order of [`Attribute::ALL`], then evidence.
pub fn descriptions() -> impl Iterator<Item = Description> {
    let attributes = Attribute::ALL.into_iter().map(Subject::Attribute);
    attributes.chain(Evidence::ALL.into_iter().map(Subject::Evidence)).map(describe)
}

fn describe(subject: Subject) -> Description {
    let text = TEXTS.iter().find(|(name, ..)| *name == subject.name());
    let (name, meaning, example) = text.copied().unwrap_or((subject.name(), "", ""));
    let (alias, is_set) = match subject {
        Subject::Attribute(Attribute::ClientPrefix) => (Some(CLIENT), false),
        Subject::Attribute(attribute) => (None, attribute.is_set()),
        Subject::Evidence(_) => (None, false),
    };
    let is_evidence = matches!(subject, Subject::Evidence(_));
    Description { name, alias, meaning, example, operators: allowed(subject), is_evidence, is_set }
}

#[cfg(test)]
mod tests {
    use super::super::{Expression, List, Lists, Use};
    use super::*;

    #[test]
    fn every_attribute_is_described_by_an_example_that_can_be_read() {
        let mut lists = Lists::default();
        lists.insert("sites", List::default());
        for description in descriptions() {
            let name = description.name;
            assert!(!description.meaning.is_empty(), "`{name}` has no line in TEXTS: say there what its values are");
            let expression = Expression::parse(description.example, Use::Filter, &lists);
            let names =
                expression.map(|expression| expression.conditions().iter().any(|one| one.subject().name() == name));
            assert_eq!(names, Ok(true), "{name}");
        }
    }
}
