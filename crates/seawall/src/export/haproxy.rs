//! HAProxy 2.6 and later: a named defaults section, since rules can stand in no other place that a second file adds to a frontend.

use std::fmt::Write as _;

use ipnet::IpNet;
use seawall_engine::decision::expression::Expression;

use super::networks::short;
use super::pattern::{Patterns, Reads};
use super::term::{Dialect, Field, Leaf, Term, lower, patterns_of};
use super::{Block, Content, Kind, System, Why};

pub(super) const SYSTEM: System = System {
    name: "haproxy",
    about: "the section `defaults seawall`, which frontends take rules from",
    title: "HAProxy",
    file: "/etc/haproxy/seawall.cfg",
    usage: &[
        "1. read it before your own file: haproxy -f /etc/haproxy/seawall.cfg -f /etc/haproxy/haproxy.cfg",
        "   (Debian: CONFIG and EXTRAOPTS in /etc/default/haproxy)",
        "2. in your own file: frontend NAME from seawall",
        "   Such a frontend takes nothing from your other defaults: repeat in it what it needs, as `log` and timeouts.",
        "It needs HAProxy 2.6 or later.",
    ],
    test: "haproxy -c -q -f /etc/haproxy/seawall.cfg -f /etc/haproxy/haproxy.cfg",
    reload: "systemctl reload haproxy",
    bans_max: None,
    kind: Kind::Web { rule, body },
};

const PATTERNS: Patterns = Patterns { reads: Reads::Bytes };

const DIALECT: Dialect = Dialect { patterns: Some(PATTERNS), tells_missing: true, unseen: |_| None };

/// Parts of the request, cut as Seawall cuts them; of several headers the first counts. What is not there leaves its variable
/// unset, of which no test holds. `path` and `url` are what was sent: nothing in them is decoded.
const PARTS: &str = r#"
    http-request set-var(txn.seawall_path) path,'regsub("^(.{256}).*","\1")'
    http-request set-var(txn.seawall_query) url,'regsub("^[^?]*","")','regsub("^(.{257}).*","\1")'
    http-request set-var(txn.seawall_method) method,'regsub("^(.{24}).*","\1")'
    http-request set-var(txn.seawall_host) req.fhdr(host,1)
    http-request set-var(txn.seawall_user_agent) req.fhdr(user-agent,1),'regsub("^(.{256}).*","\1")'
    http-request set-var(txn.seawall_referer) req.fhdr(referer,1),'regsub("^(.{256}).*","\1")'
"#;

/// A line has at most 64 words.
const NETWORKS_IN_LINE: usize = 40;

fn rule(number: usize, expression: &Expression) -> Result<Block, Why> {
    let term = lower(expression, &DIALECT)?;
    let mut lines = Lines { rule: number, count: 0, text: String::new() };
    let condition = lines.condition(&term)?;
    Ok(Block { before: lines.text, condition })
}

/// Conditions have no parentheses, so each part of a rule has a variable of its own.
struct Lines {
    rule: usize,
    count: usize,
    text: String,
}

impl Lines {
    /// A word that stands for the term in a condition.
    fn condition(&mut self, term: &Term) -> Result<String, Why> {
        match term {
            Term::All(parts) => self.joined(parts, true),
            Term::Any(parts) => self.joined(parts, false),
            Term::Not(part) => {
                let part = self.condition(part)?;
                Ok(part.strip_prefix('!').map_or_else(|| format!("!{part}"), str::to_owned))
            }
            Term::Is(leaf) => self.leaf(leaf),
        }
    }

    /// All parts hold, or any: a line for each, so that none has too many words.
    fn joined(&mut self, parts: &[Term], all: bool) -> Result<String, Why> {
        let parts = parts.iter().map(|part| self.condition(part)).collect::<Result<Vec<_>, _>>()?;
        let name = self.name();
        // Writing to a string cannot fail; here and below.
        if all {
            let _ = writeln!(self.text, "    http-request set-var(txn.{name}) bool(true)");
        }
        for part in parts {
            let _ = match (all, part.strip_prefix('!')) {
                (true, Some(positive)) => writeln!(self.text, "    http-request unset-var(txn.{name}) if {positive}"),
                (true, None) => writeln!(self.text, "    http-request unset-var(txn.{name}) if !{part}"),
                (false, _) => writeln!(self.text, "    http-request set-var(txn.{name}) bool(true) if {part}"),
            };
        }
        let _ = writeln!(self.text, "    acl {name} var(txn.{name}) -m bool");
        Ok(name)
    }

    fn leaf(&mut self, leaf: &Leaf) -> Result<String, Why> {
        let name = self.name();
        match leaf {
            Leaf::Missing(Field::Query) => self.text += &found(&name, Field::Query, r"^\z"),
            Leaf::Missing(Field::Host) => {
                let _ = writeln!(self.text, "    acl {name} req.fhdr_cnt(host) eq 0");
                self.text += &found(&name, Field::Host, Patterns::no_host());
            }
            Leaf::Missing(field) => {
                let header = field.header().unwrap_or_default().to_ascii_lowercase();
                let _ = writeln!(self.text, "    acl {name} req.fhdr_cnt({header}) eq 0");
            }
            // Only of systems that cannot tell what is missing.
            Leaf::Blank(field) => self.text += &found(&name, *field, r"^\z"),
            Leaf::Text(field, tests) => {
                for pattern in patterns_of(*field, tests, PATTERNS)? {
                    self.text += &found(&name, *field, &pattern);
                }
            }
            Leaf::Client(networks) => self.text += &of_networks(&name, networks),
        }
        Ok(name)
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("seawall_r{}_{}", self.rule, self.count)
    }
}

/// Several lines of one name hold when one does. Patterns hold no quotes; `--` is for those that begin with a hyphen.
fn found(name: &str, field: Field, pattern: &str) -> String {
    let (source, pattern) = match field {
        Field::Method => ("var(txn.seawall_method)", pattern.to_owned()),
        Field::Path => ("var(txn.seawall_path)", pattern.to_owned()),
        Field::Query => ("var(txn.seawall_query)", pattern.to_owned()),
        Field::Host => ("var(txn.seawall_host)", pattern.to_owned()),
        Field::UserAgent => ("var(txn.seawall_user_agent)", pattern.to_owned()),
        Field::Referer => ("var(txn.seawall_referer)", pattern.to_owned()),
        // The number alone.
        Field::Version => ("req.ver", pattern.replacen("^HTTP/", "^", 1)),
    };
    format!("    acl {name} {source} -m reg -- '{pattern}'\n")
}

fn of_networks(name: &str, networks: &[IpNet]) -> String {
    let line = |networks: &[IpNet]| {
        let networks: Vec<String> = networks.iter().map(|network| short(*network)).collect();
        format!("    acl {name} src {}\n", networks.join(" "))
    };
    networks.chunks(NETWORKS_IN_LINE).map(line).collect()
}

fn body(content: &Content) -> String {
    let mut text = content.comment();
    text += "\ndefaults seawall\n    mode http\n    timeout client 30s\n    timeout http-request 10s\n";
    text += PARTS;
    // A condition that names no list would be an error.
    let unless_never = if content.never_ban.is_empty() { "" } else { "!seawall_never " };
    text += "\n    # Who is never refused, and who is banned.\n";
    text += &of_networks("seawall_never", &content.never_ban);
    text += &of_networks("seawall_banned", &content.banned());
    if !content.bans.is_empty() {
        let _ = writeln!(text, "    http-request deny deny_status 403 if {unless_never}seawall_banned");
    }
    for rule in &content.rules {
        let _ = write!(text, "\n    # {}: {}\n{}", rule.name, rule.text, rule.block.before);
        let _ = writeln!(text, "    http-request deny deny_status 403 if {unless_never}{}", rule.block.condition);
    }
    text
}
