//! Traefik 3: dynamic configuration with a router for each rule, which goes before all others and lets nobody through.

use std::fmt::Write as _;

use ipnet::IpNet;
use seawall_engine::decision::expression::Expression;
use serde_json::json;

use super::networks::short;
use super::pattern::{Patterns, Reads};
use super::term::{Dialect, Field, Language, Leaf, Test, lower, pattern_of};
use super::{Block, Content, Kind, System, Why};

pub(super) const SYSTEM: System = System {
    name: "traefik",
    about: "dynamic configuration for the file provider",
    title: "Traefik",
    file: "/etc/traefik/dynamic/seawall.yaml",
    usage: &[
        "in the static configuration: providers: { file: { directory: /etc/traefik/dynamic, watch: true } }",
        "Its routers stand at every entry point, once without TLS and once with it, before all others (priority 1000000).",
        "It needs Traefik 3.",
        "In a value of more than 256 bytes, parts are looked for only where characters can be counted for bytes: never more is refused.",
    ],
    test: "",
    reload: "",
    bans_max: None,
    kind: Kind::Web { rule, body },
};

const PATTERNS: Patterns = Patterns { reads: Reads::Characters };

const DIALECT: Dialect = Dialect {
    patterns: Some(PATTERNS),
    tells_missing: true,
    unseen: |field| match field {
        Field::Path | Field::Query => {
            Some("Traefik matches paths and queries decoded, so it would refuse other spellings too")
        }
        Field::Version => Some("Traefik has no matcher for it"),
        Field::Method | Field::Host | Field::UserAgent | Field::Referer => None,
    },
};

/// How many networks one rule of a router asks for.
const NETWORKS_IN_ROUTER: usize = 100;

fn rule(_: usize, expression: &Expression) -> Result<Block, Why> {
    let condition = Matchers.write(&lower(expression, &DIALECT)?)?;
    Ok(Block { before: String::new(), condition })
}

struct Matchers;

impl Language for Matchers {
    const AND: &'static str = " && ";
    const OR: &'static str = " || ";
    const NOT: &'static str = "!";

    fn leaf(&self, leaf: &Leaf) -> Result<String, Why> {
        match leaf {
            // A line of the header, however empty, has a beginning.
            Leaf::Missing(field @ (Field::UserAgent | Field::Referer)) => Ok(format!("!{}", header(*field, "^"))),
            Leaf::Missing(_) => Err("Traefik does not tell requests without a host".to_owned()),
            Leaf::Blank(field) => Ok(format!("!{}", header(*field, r"[\x00-\x{0010ffff}]"))),
            Leaf::Text(Field::Method, tests) => {
                let methods = tests.iter().map(method).collect::<Result<Vec<_>, _>>()?;
                Ok(format!("({})", methods.join(Self::OR)))
            }
            Leaf::Text(Field::Host, tests) => {
                Ok(format!("HostRegexp(`{}`)", pattern_of(Field::Host, tests, PATTERNS)?))
            }
            Leaf::Text(field, tests) => Ok(header(*field, &pattern_of(*field, tests, PATTERNS)?)),
            Leaf::Client(networks) => Ok(clients(networks)),
        }
    }
}

/// Patterns hold no backticks.
fn header(field: Field, pattern: &str) -> String {
    format!("HeaderRegexp(`{}`, `{pattern}`)", field.header().unwrap_or_default())
}

/// Methods are compared as a whole, and those of a rule are put into upper case before.
fn method(test: &Test) -> Result<String, Why> {
    match test {
        Test::Equal(value)
            if !value.is_empty() && value.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-') =>
        {
            Ok(format!("Method(`{}`)", String::from_utf8_lossy(value)))
        }
        _ => Err("Traefik knows methods in upper case alone, and no parts of them".to_owned()),
    }
}

fn clients(networks: &[IpNet]) -> String {
    let networks: Vec<String> = networks.iter().map(|network| format!("ClientIP(`{}`)", short(*network))).collect();
    format!("({})", networks.join(" || "))
}

fn body(content: &Content) -> String {
    let mut text = content.comment();
    if content.bans.is_empty() && content.rules.is_empty() {
        // Sections without anything in them would be errors.
        return text + "{}\n";
    }
    let never =
        if content.never_ban.is_empty() { String::new() } else { format!(" && !{}", clients(&content.never_ban)) };
    let banned = content.banned();
    let bans = banned.chunks(NETWORKS_IN_ROUTER).map(clients);
    let bans = (1..).zip(bans).map(|(number, condition)| (format!("seawall-bans-{number}"), condition, None));
    let rules = (1..).zip(&content.rules).map(|(number, rule)| {
        (format!("seawall-r{number}"), rule.block.condition.clone(), Some(format!("{}: {}", rule.name, rule.text)))
    });
    text += "\nhttp:\n  routers:\n";
    for (name, condition, comment) in bans.chain(rules) {
        // Writing to a string cannot fail; here and below. A string of JSON is one of YAML.
        let rule = json!(format!("{condition}{never}"));
        if let Some(comment) = comment {
            let _ = writeln!(text, "    # {comment}");
        }
        for (name, tls) in [(name.clone(), ""), (format!("{name}-tls"), "      tls: {}\n")] {
            let _ = write!(
                text,
                "    {name}:\n      rule: {rule}\n      priority: 1000000\n      service: noop@internal\n      \
                 middlewares: [seawall-refuse]\n{tls}"
            );
        }
    }
    // Only the address that stands for everybody may pass, from which nobody comes; all others get 403.
    text + "  middlewares:\n    seawall-refuse:\n      ipAllowList:\n        sourceRange: [\"255.255.255.255/32\"]\n"
}
