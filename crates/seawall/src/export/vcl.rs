//! VCL, as far as Varnish and Fastly have it in common.

use std::cell::RefCell;

use ipnet::IpNet;
use seawall_engine::decision::expression::Expression;

use super::pattern::{Patterns, Reads};
use super::term::{Dialect, Field, Language, Leaf, lower, pattern_of};
use super::{Block, Content, Why};

const PATTERNS: Patterns = Patterns { reads: Reads::Bytes };

pub(super) const DIALECT: Dialect = Dialect { patterns: Some(PATTERNS), tells_missing: true, unseen: |_| None };

/// Writes a rule.
pub(super) fn rule(number: usize, expression: &Expression) -> Result<Block, Why> {
    let vcl = Vcl { rule: number, lists: RefCell::default() };
    let condition = vcl.write(&lower(expression, &DIALECT)?)?;
    Ok(Block { before: vcl.lists.into_inner().concat(), condition })
}

/// A list of networks.
pub(super) fn acl(name: &str, networks: &[IpNet]) -> String {
    let line = |network: &IpNet| format!("    \"{}\"/{};\n", network.addr(), network.prefix_len());
    format!("acl {name} {{\n{}}}\n", networks.iter().map(line).collect::<String>())
}

/// The lists of a file: who is never refused, who is banned, and those of rules.
pub(super) fn lists(content: &Content) -> String {
    let mut text = String::new();
    // A list that nothing asks for would be an error.
    let refuses = !content.bans.is_empty() || !content.rules.is_empty();
    if refuses && !content.never_ban.is_empty() {
        text += &acl("seawall_never", &content.never_ban);
    }
    if !content.bans.is_empty() {
        text += &acl("seawall_banned", &content.banned());
    }
    text.extend(content.rules.iter().map(|rule| rule.block.before.as_str()));
    text
}

/// What refuses, with this statement.
pub(super) fn refusals(content: &Content, statement: &str) -> String {
    let mut text = String::new();
    let unless_never = if content.never_ban.is_empty() { "" } else { "client.ip !~ seawall_never && " };
    if !content.bans.is_empty() {
        text += &format!("    if ({unless_never}client.ip ~ seawall_banned) {{\n        {statement}\n    }}\n");
    }
    for rule in &content.rules {
        let condition = &rule.block.condition;
        text += &format!("    # {}: {}\n", rule.name, rule.text);
        text += &format!("    if ({unless_never}{condition}) {{\n        {statement}\n    }}\n");
    }
    text
}

struct Vcl {
    rule: usize,
    lists: RefCell<Vec<String>>,
}

impl Language for Vcl {
    const AND: &'static str = " && ";
    const OR: &'static str = " || ";
    const NOT: &'static str = "!";

    fn leaf(&self, leaf: &Leaf) -> Result<String, Why> {
        match leaf {
            Leaf::Missing(Field::Host) => {
                let pattern = Patterns::no_host();
                Ok(format!("(!req.http.Host || req.http.Host ~ \"{pattern}\")"))
            }
            Leaf::Missing(field) => match field.header() {
                Some(header) => Ok(format!("(!req.http.{header})")),
                None => Ok(r#"(req.url !~ "\?")"#.to_owned()),
            },
            Leaf::Blank(field) => {
                let header = field.header().unwrap_or_default();
                Ok(format!(r#"(!req.http.{header} || req.http.{header} == "")"#))
            }
            Leaf::Text(field, tests) => {
                let (source, pattern) = (source(*field), pattern_of(*field, tests, PATTERNS)?);
                // Without the header an empty text would be searched.
                let there = field.header().map(|header| format!("req.http.{header} && ")).unwrap_or_default();
                // Strings have no escapes, and patterns no quotes.
                Ok(format!("({there}{source} ~ \"{pattern}\")"))
            }
            Leaf::Client(networks) => {
                let mut lists = self.lists.borrow_mut();
                let name = format!("seawall_r{}_{}", self.rule, lists.len() + 1);
                lists.push(acl(&name, networks));
                Ok(format!("(client.ip ~ {name})"))
            }
        }
    }
}

/// A part of the request, cut as Seawall cuts it. `req.url` is what was sent: nothing in it is decoded.
const fn source(field: Field) -> &'static str {
    match field {
        Field::Method => r#"regsub(req.method, "^(.{24}).*", "\1")"#,
        Field::Path => r#"regsub(req.url, "^([^?]{0,256}).*", "\1")"#,
        Field::Query => r#"regsub(regsub(req.url, "^[^?]*", ""), "^(.{257}).*", "\1")"#,
        Field::Host => "req.http.Host",
        Field::UserAgent => r#"regsub(req.http.User-Agent, "^(.{256}).*", "\1")"#,
        Field::Referer => r#"regsub(req.http.Referer, "^(.{256}).*", "\1")"#,
        Field::Version => "req.proto",
    }
}
