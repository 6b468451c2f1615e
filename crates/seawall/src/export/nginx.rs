//! nginx: maps and geos for the http block, which end in one variable that each server asks.

use std::fmt::Write as _;

use ipnet::IpNet;
use seawall_engine::decision::expression::Expression;

use super::networks::short;
use super::pattern::{Patterns, Reads};
use super::term::{Dialect, Field, Leaf, Term, lower, patterns_of};
use super::{Block, Content, Kind, System, Why};

pub(super) const SYSTEM: System = System {
    name: "nginx",
    about: "maps for the http block; each server asks `$seawall_refused`",
    title: "nginx",
    file: "/etc/nginx/conf.d/seawall.conf",
    usage: &[
        "1. in the http block (Debian's nginx.conf includes conf.d/*.conf by itself): include /etc/nginx/conf.d/seawall.conf;",
        "2. in each server block: if ($seawall_refused) { return 403; }",
        "Behind a proxy, let the module realip say who the client is.",
    ],
    test: "nginx -t -q",
    reload: "nginx -s reload",
    bans_max: None,
    kind: Kind::Web { rule, body },
};

const PATTERNS: Patterns = Patterns { reads: Reads::Bytes };

pub(super) const DIALECT: Dialect = Dialect {
    patterns: Some(PATTERNS),
    // `$http_user_agent` is empty in both cases.
    tells_missing: false,
    unseen: |_| None,
};

/// Parts of the request, cut as Seawall cuts them. `$request_uri` is what was sent; `$uri` is decoded and made shorter. Maps look
/// for strings without their case, but for patterns with it. Without a Host header, `$host` would be the name of the server.
const PARTS: &str = r#"
map $request_uri $seawall_path {
    default "";
    "~^(?<seawall_path_cut>[^?]{0,256})" $seawall_path_cut;
}
map $request_uri $seawall_query {
    default "";
    "~^[^?]*(?<seawall_query_cut>\?.{0,256})" $seawall_query_cut;
}
map "$server_protocol $http_host" $seawall_host {
    default $host;
    "~^HTTP/1\.[0-9] \z" "";
}
map $request_method $seawall_method {
    default "";
    "~^(?<seawall_method_cut>.{0,24})" $seawall_method_cut;
}
map $http_user_agent $seawall_user_agent {
    default "";
    "~^(?<seawall_user_agent_cut>.{0,256})" $seawall_user_agent_cut;
}
map $http_referer $seawall_referer {
    default "";
    "~^(?<seawall_referer_cut>.{0,256})" $seawall_referer_cut;
}
"#;

fn rule(number: usize, expression: &Expression) -> Result<Block, Why> {
    let term = lower(expression, &DIALECT)?;
    let mut maps = Maps { rule: number, count: 0, text: String::new() };
    let condition = maps.variable(&term)?;
    Ok(Block { before: maps.text, condition })
}

/// A variable for each part of a rule, 1 where it holds and 0 where not. nginx finds out only those that are asked for.
struct Maps {
    rule: usize,
    count: usize,
    text: String,
}

impl Maps {
    fn variable(&mut self, term: &Term) -> Result<String, Why> {
        let of_parts = |maps: &mut Self, parts: &[Term]| {
            let variables = parts.iter().map(|part| maps.variable(part)).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, Why>(format!("\"{}\"", variables.concat()))
        };
        match term {
            // As patterns: strings are hashed, and long ones would need another `map_hash_bucket_size`.
            Term::All(parts) => {
                let source = of_parts(self, parts)?;
                Ok(self.map(&source, &[r"^1+\z".to_owned()]))
            }
            Term::Any(parts) => {
                let source = of_parts(self, parts)?;
                Ok(self.map(&source, &["1".to_owned()]))
            }
            Term::Not(part) => {
                let source = self.variable(part)?;
                Ok(self.map(&source, &["0".to_owned()]))
            }
            Term::Is(Leaf::Missing(field) | Leaf::Blank(field)) => {
                let pattern = (*field == Field::Host).then(|| Patterns::no_host().to_owned());
                // Patterns are not tried on nothing at all.
                Ok(self.map_with(source(*field), "    \"\" 1;\n", pattern.as_slice()))
            }
            Term::Is(Leaf::Text(field, tests)) => {
                let patterns = patterns_of(*field, tests, PATTERNS)?;
                Ok(self.map(source(*field), &patterns))
            }
            Term::Is(Leaf::Client(networks)) => {
                let name = self.name();
                self.text += &geo(&name, networks);
                Ok(name)
            }
        }
    }

    fn map(&mut self, source: &str, patterns: &[String]) -> String {
        self.map_with(source, "", patterns)
    }

    fn map_with(&mut self, source: &str, strings: &str, patterns: &[String]) -> String {
        let name = self.name();
        // Writing to a string cannot fail; here and below.
        let _ = write!(self.text, "map {source} {name} {{\n    default 0;\n{strings}");
        for pattern in patterns {
            let _ = writeln!(self.text, "    \"~{pattern}\" 1;");
        }
        self.text += "}\n";
        name
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("$seawall_r{}_{}", self.rule, self.count)
    }
}

const fn source(field: Field) -> &'static str {
    match field {
        Field::Method => "$seawall_method",
        Field::Path => "$seawall_path",
        Field::Query => "$seawall_query",
        Field::Host => "$seawall_host",
        Field::UserAgent => "$seawall_user_agent",
        Field::Referer => "$seawall_referer",
        Field::Version => "$server_protocol",
    }
}

/// Whether the client is in one of these networks; `geo` takes `$remote_addr`, and an IPv4 address within IPv6 for IPv4.
fn geo(name: &str, networks: &[IpNet]) -> String {
    let lines: String = networks.iter().map(|network| format!("    {} 1;\n", short(*network))).collect();
    format!("geo {name} {{\n    default 0;\n{lines}}}\n")
}

fn body(content: &Content) -> String {
    let mut text = content.comment();
    text += PARTS;
    for rule in &content.rules {
        let _ = write!(text, "\n# {}: {}\n{}", rule.name, rule.text, rule.block.before);
    }
    text += "\n# Who is never refused, and who is banned.\n";
    text += &geo("$seawall_never", &content.never_ban);
    text += &geo("$seawall_banned", &content.banned());
    let rules: String = content.rules.iter().map(|rule| rule.block.condition.as_str()).collect();
    let _ = write!(
        text,
        "\nmap \"$seawall_never$seawall_banned{rules}\" $seawall_refused {{\n    default 0;\n    \"~^0[01]*1\" 1;\n}}\n"
    );
    text
}
