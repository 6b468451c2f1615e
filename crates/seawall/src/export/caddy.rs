//! Caddy 2: a snippet with one matcher for each rule, written as an expression.

use std::fmt::Write as _;

use ipnet::IpNet;
use seawall_engine::decision::expression::Expression;

use super::networks::short;
use super::pattern::{Patterns, Reads};
use super::term::{Dialect, Field, Language, Leaf, lower, pattern_of};
use super::{Block, Content, Kind, System, Why};

pub(super) const SYSTEM: System = System {
    name: "caddy",
    about: "the snippet `(seawall)`, which sites import",
    title: "Caddy",
    file: "/etc/caddy/seawall.caddy",
    usage: &[
        "1. at the beginning of the Caddyfile, after its global options: import /etc/caddy/seawall.caddy",
        "2. in each site: import seawall",
        "   Where the site has `handle` or `route` blocks, put all that it does into one `route` block that begins with it:",
        "   Caddy would look at those first.",
        "In a value of more than 256 bytes, parts are looked for only where characters can be counted for bytes: never more is refused.",
    ],
    test: "caddy reload --config /etc/caddy/Caddyfile",
    reload: "",
    bans_max: None,
    kind: Kind::Web { rule, body },
};

const PATTERNS: Patterns = Patterns { reads: Reads::Characters };

pub(super) const DIALECT: Dialect = Dialect { patterns: Some(PATTERNS), tells_missing: true, unseen: |_| None };

const NETWORKS_IN_LINE: usize = 20;

fn rule(_: usize, expression: &Expression) -> Result<Block, Why> {
    let condition = Expressions.write(&lower(expression, &DIALECT)?)?;
    Ok(Block { before: String::new(), condition })
}

struct Expressions;

impl Language for Expressions {
    const AND: &'static str = " && ";
    const OR: &'static str = " || ";
    const NOT: &'static str = "!";

    fn leaf(&self, leaf: &Leaf) -> Result<String, Why> {
        match leaf {
            Leaf::Missing(Field::Query) => Ok(format!("!{}", found(Field::Query, r"\?"))),
            Leaf::Missing(Field::Host) => Ok(found(Field::Host, Patterns::no_host())),
            // A line of the header, however empty, has a beginning.
            Leaf::Missing(field) => Ok(format!("!{}", found(*field, "^"))),
            Leaf::Blank(field) => Ok(format!("!{}", found(*field, r"[\x00-\x{0010ffff}]"))),
            Leaf::Text(field, tests) => Ok(found(*field, &pattern_of(*field, tests, PATTERNS)?)),
            Leaf::Client(networks) => {
                let networks: Vec<String> = networks.iter().map(|network| format!("'{}'", short(*network))).collect();
                Ok(format!("remote_ip({})", networks.join(", ")))
            }
        }
    }
}

/// The path and the query. `orig_uri` is what was sent, whereas `path` and its like are decoded; in absolute form it would name the host,
/// which `uri` leaves out.
const TARGET: &str = "({http.request.orig_uri}.startsWith('/') ? {http.request.orig_uri} : {http.request.uri}).matches";

/// Patterns hold neither quotes nor names in braces.
fn found(field: Field, pattern: &str) -> String {
    match field {
        Field::UserAgent | Field::Referer => {
            format!("header_regexp('{}', r'{pattern}')", field.header().unwrap_or_default())
        }
        Field::Method => format!("{{http.request.method}}.matches(r'{pattern}')"),
        Field::Path | Field::Query => format!("{TARGET}(r'{pattern}')"),
        Field::Host => format!("{{http.request.hostport}}.matches(r'{pattern}')"),
        Field::Version => format!("{{http.request.proto}}.matches(r'{pattern}')"),
    }
}

fn body(content: &Content) -> String {
    let mut text = content.comment();
    text += "\n(seawall) {\n";
    let lines = |networks: &[IpNet], before: &str| {
        let line = |networks: &[IpNet]| {
            let networks: Vec<String> = networks.iter().map(|network| short(*network)).collect();
            format!("\t\t{before}remote_ip {}\n", networks.join(" "))
        };
        networks.chunks(NETWORKS_IN_LINE).map(line).collect::<String>()
    };
    // Several lines of `not` all have to hold.
    let unless_never = lines(&content.never_ban, "not ");
    // Writing to a string cannot fail; here and below.
    if !content.bans.is_empty() {
        let banned = lines(&content.banned(), "");
        let _ = write!(text, "\t# Who is banned.\n\t@seawall_banned {{\n{banned}{unless_never}\t}}\n");
        text += "\trespond @seawall_banned 403\n";
    }
    for (number, rule) in (1..).zip(&content.rules) {
        let _ = write!(text, "\t# {}: {}\n\t@seawall_r{number} {{\n", rule.name, rule.text);
        let _ = write!(text, "\t\texpression `{}`\n{unless_never}\t}}\n", rule.block.condition);
        let _ = writeln!(text, "\trespond @seawall_r{number} 403");
    }
    text += "}\n";
    text
}
