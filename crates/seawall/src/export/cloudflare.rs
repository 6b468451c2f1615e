//! Cloudflare: custom rules of a zone, as the JSON that its API for rulesets takes. JSON has no comments, so what they would say
//! is in descriptions.

use ipnet::IpNet;
use seawall_engine::decision::expression::Expression;
use serde_json::json;

use super::networks::short;
use super::term::{Dialect, Field, Language, Leaf, Test, lower};
use super::{Block, Content, Kind, System, Why};

pub(super) const SYSTEM: System = System {
    name: "cloudflare",
    about: "custom rules as JSON for the API of rulesets",
    title: "Cloudflare",
    file: "seawall.json",
    usage: &[
        "run the last part of that line, with your ZONE and a TOKEN that may edit its rules.",
        "It replaces all custom rules of the zone. A free plan has five; an expression has at most 4096 characters.",
    ],
    test: "",
    reload: "curl -fsS -X PUT \
             https://api.cloudflare.com/client/v4/zones/ZONE/rulesets/phases/http_request_firewall_custom/entrypoint \
             -H 'Authorization: Bearer TOKEN' -H 'Content-Type: application/json' -d @seawall.json",
    bans_max: None,
    kind: Kind::Web { rule, body },
};

const DIALECT: Dialect = Dialect {
    // There are regular expressions, but only in the dearer plans.
    patterns: None,
    tells_missing: true,
    unseen: |_| None,
};

/// The longest expression.
const EXPRESSION_BYTES_MAX: usize = 4_096;

fn rule(_: usize, expression: &Expression) -> Result<Block, Why> {
    let condition = Wirefilter.write(&lower(expression, &DIALECT)?)?;
    if condition.len() > EXPRESSION_BYTES_MAX {
        return Err(format!(
            "it takes an expression of {} characters, where {EXPRESSION_BYTES_MAX} are the most",
            condition.len()
        ));
    }
    Ok(Block { before: String::new(), condition })
}

struct Wirefilter;

impl Language for Wirefilter {
    const AND: &'static str = " and ";
    const OR: &'static str = " or ";
    const NOT: &'static str = "not ";

    fn leaf(&self, leaf: &Leaf) -> Result<String, Why> {
        match leaf {
            Leaf::Missing(Field::Query) => Ok(r#"(not raw.http.request.uri contains "?")"#.to_owned()),
            Leaf::Missing(Field::Host) => Ok(r#"(http.host eq "")"#.to_owned()),
            Leaf::Missing(field) => Ok(format!("(not {})", present(*field))),
            Leaf::Blank(field) => Ok(format!("({} eq \"\")", source(*field)?)),
            Leaf::Text(field, tests) => {
                let tests = tests.iter().map(|test| ask(*field, test)).collect::<Result<Vec<_>, _>>()?;
                Ok(format!("({})", tests.join(Self::OR)))
            }
            Leaf::Client(networks) => {
                let networks: Vec<String> = networks.iter().map(|network| short(*network)).collect();
                Ok(format!("(ip.src in {{{}}})", networks.join(" ")))
            }
        }
    }
}

/// `raw.` is what was sent; without it paths are made shorter, if the zone says so.
fn source(field: Field) -> Result<&'static str, Why> {
    Ok(match field {
        Field::Method => "http.request.method",
        Field::Path => "raw.http.request.uri.path",
        Field::Query => return Err("it asks for parameters, which takes regular expressions".to_owned()),
        Field::Host => "lower(http.host)",
        Field::UserAgent => "http.user_agent",
        Field::Referer => "http.referer",
        Field::Version => "http.request.version",
    })
}

fn present(field: Field) -> String {
    let header = field.header().unwrap_or_default().to_ascii_lowercase();
    format!("any(http.request.headers.names[*] == \"{header}\")")
}

fn ask(field: Field, test: &Test) -> Result<String, Why> {
    let (source, most) = (source(field)?, field.bytes_max());
    let cut = || format!("substring({source}, 0, {most})");
    Ok(match test {
        Test::Equal(value) if value.is_empty() && field.header().is_some() => {
            format!("({} and {source} eq \"\")", present(field))
        }
        Test::Equal(value) if field == Field::Version => {
            let main = value.strip_suffix(b".0").filter(|main| *main != b"HTTP/1");
            format!("{source} eq {}", quoted(main.unwrap_or(value))?)
        }
        // What is as long as is compared stands for all that goes on after it.
        Test::Equal(value) if value.len() >= most => format!("starts_with({source}, {})", quoted(value)?),
        Test::Equal(value) => format!("{source} eq {}", quoted(value)?),
        Test::StartsWith(value) => format!("starts_with({source}, {})", quoted(value)?),
        Test::Contains(value) => format!("{} contains {}", cut(), quoted(value)?),
        Test::EndsWith(value) => format!("ends_with({}, {})", cut(), quoted(value)?),
        Test::Pattern(_) => return Err("it takes regular expressions, which not every plan has".to_owned()),
    })
}

/// A string. Only what no escape is needed for, but those of quotes and backslashes: of others the documentation is not sure.
fn quoted(value: &[u8]) -> Result<String, Why> {
    let mut text = "\"".to_owned();
    for byte in value {
        match byte {
            b'"' | b'\\' => text.extend(['\\', *byte as char]),
            b' '..=b'~' => text.push(*byte as char),
            _ => return Err("it asks for bytes that are no printable ASCII".to_owned()),
        }
    }
    text.push('"');
    Ok(text)
}

fn body(content: &Content) -> String {
    let mut rules = Vec::new();
    // First, so that none of the others is asked of these.
    for expression in of_networks(&content.never_ban) {
        let skip = json!({ "ruleset": "current" });
        let description = "seawall: who is never refused";
        rules.push(json!({ "action": "skip", "action_parameters": skip, "description": description, "expression": expression }));
    }
    for expression in of_networks(&content.banned()) {
        rules.push(json!({ "action": "block", "description": "seawall: who is banned", "expression": expression }));
    }
    for rule in &content.rules {
        let description = format!("seawall {}: {}", rule.name, rule.text);
        rules.push(json!({ "action": "block", "description": description, "expression": rule.block.condition }));
    }
    let file = json!({ "description": content.head.join("\n"), "rules": rules });
    format!("{file:#}\n")
}

/// Expressions for these networks, each as long as one may be.
fn of_networks(networks: &[IpNet]) -> Vec<String> {
    let mut lists = Vec::<String>::new();
    for network in networks {
        let network = short(*network);
        match lists.last_mut() {
            Some(list) if list.len() + network.len() + "(ip.src in {})".len() < EXPRESSION_BYTES_MAX => {
                list.push(' ');
                list.push_str(&network);
            }
            _ => lists.push(network),
        }
    }
    lists.into_iter().map(|list| format!("(ip.src in {{{list}}})")).collect()
}
