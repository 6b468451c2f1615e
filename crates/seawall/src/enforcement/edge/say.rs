//! Rules in the languages of the edges: expressions of Cloudflare's rules language, and VCL.
//!
//! A rule is said whole or not at all, and what is said never matches more than the rule: what an edge sees in another way
//! (header order, the version of HTTP) or cuts in another way (extensions, words) is not said. Pure.

use ipnet::IpNet;
use seawall_engine::decision::{Action, Condition, Rule};
use seawall_engine::observation::attribute::{Attribute, VALUE_BYTES_MAX};

/// The status of what a rule drops: an edge answers for others over the same connection.
const REFUSED_STATUS: u16 = 403;

/// What both edges cannot say of a rule, whatever it asks.
pub(super) fn check_action(rule: &Rule) -> Result<(), String> {
    match rule.action {
        Action::Throttle { rate } => Err(format!("it lets {rate:.0}/s through, and the edge could only refuse all")),
        Action::Refuse { .. } | Action::Drop => Ok(()),
    }
}

/// The rule as a Cloudflare expression.
///
/// # Errors
/// What cannot be said.
pub(super) fn cloudflare(rule: &Rule) -> Result<String, String> {
    let parts: Result<Vec<String>, String> = rule.conditions.iter().map(cloudflare_condition).collect();
    Ok(parts?.join(" and "))
}

fn cloudflare_condition(condition: &Condition) -> Result<String, String> {
    let field = match condition.attribute {
        Attribute::Method => "http.request.method",
        Attribute::Host => "lower(http.host)",
        // As it was sent; the other is what Cloudflare makes of it.
        Attribute::Path | Attribute::PathPrefix => "raw.http.request.uri.path",
        Attribute::UserAgent => "http.user_agent",
        Attribute::RefererOrigin => "http.referer",
        Attribute::Country => "ip.src.country",
        Attribute::Asn => "ip.src.asnum",
        Attribute::ClientPrefix => "ip.src",
        other => return Err(unsayable(other)),
    };
    let Some(value) = condition.value.as_deref() else {
        return match condition.attribute {
            // An empty header is another thing than none.
            Attribute::UserAgent => Ok(absent("user-agent")),
            Attribute::RefererOrigin => Ok(absent("referer")),
            other => Err(format!("{} = none cannot be asked there", other.name())),
        };
    };
    if let Some(network) = condition.network() {
        return Ok(format!("{field} in {{{}}}", plain_network(network)));
    }
    let quoted = || cloudflare_text(value);
    Ok(match condition.attribute {
        Attribute::PathPrefix => format!("starts_with({field}, {})", quoted()?),
        Attribute::Asn => format!("{field} eq {}", number(value)?),
        Attribute::RefererOrigin => {
            let (whole, below) = (quoted()?, cloudflare_text(&[value, b"/"].concat())?);
            format!("({field} eq {whole} or starts_with({field}, {below}))")
        }
        // What is longer was cut, by the rule as well.
        _ if value.len() >= VALUE_BYTES_MAX => format!("starts_with({field}, {})", quoted()?),
        _ => format!("{field} eq {}", quoted()?),
    })
}

fn absent(header: &str) -> String {
    format!("not any(http.request.headers.names[*] == \"{header}\")")
}

/// A string. Of bytes that are no printable ASCII the documentation does not say how they are written.
fn cloudflare_text(value: &[u8]) -> Result<String, String> {
    let mut text = String::from('"');
    for byte in value {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => return Err("a value holds bytes that are no printable ASCII".to_owned()),
        }
    }
    text.push('"');
    Ok(text)
}

/// The rule as a statement of VCL in `vcl_recv`. One in so many requests is let through, where the rule lets them through: by
/// these it is seen whether the flood goes on.
///
/// # Errors
/// What cannot be said.
pub(super) fn vcl(rule: &Rule) -> Result<String, String> {
    let parts: Result<Vec<String>, String> = rule.conditions.iter().map(vcl_condition).collect();
    let probes = match rule.canary_interval {
        0 => String::new(),
        interval => format!(" && !randombool(1, {interval})"),
    };
    let status = if let Action::Refuse { status } = rule.action { status } else { REFUSED_STATUS };
    Ok(format!("if ({}{probes}) {{ error {status} \"Refused\"; }}", parts?.join(" && ")))
}

fn vcl_condition(condition: &Condition) -> Result<String, String> {
    let variable = match condition.attribute {
        Attribute::Method => "req.method",
        Attribute::Host => "std.tolower(req.http.Host)",
        Attribute::Path | Attribute::PathPrefix => "req.url.path",
        Attribute::UserAgent => "req.http.User-Agent",
        Attribute::RefererOrigin => "req.http.Referer",
        Attribute::Country => "client.geo.country_code",
        Attribute::Asn => "client.as.number",
        Attribute::UserAgentWord => return vcl_word(condition.value.as_deref().unwrap_or_default()),
        Attribute::ClientPrefix => return Err("a network in a rule would need an access list of its own".to_owned()),
        other => return Err(unsayable(other)),
    };
    let Some(value) = condition.value.as_deref() else {
        return match condition.attribute {
            Attribute::UserAgent | Attribute::RefererOrigin => Ok(format!("!{variable}")),
            other => Err(format!("{} = none cannot be asked there", other.name())),
        };
    };
    let quoted = || vcl_text(value);
    Ok(match condition.attribute {
        Attribute::PathPrefix => format!("std.prefixof({variable}, {})", quoted()?),
        Attribute::Asn => format!("{variable} == {}", number(value)?),
        Attribute::RefererOrigin => {
            let (whole, below) = (quoted()?, vcl_text(&[value, b"/"].concat())?);
            format!("({variable} == {whole} || std.prefixof({variable}, {below}))")
        }
        _ if value.len() >= VALUE_BYTES_MAX => format!("std.prefixof({variable}, {})", quoted()?),
        _ => format!("{variable} == {}", quoted()?),
    })
}

/// A word of a user agent: nothing of a word before it or behind it.
fn vcl_word(word: &[u8]) -> Result<String, String> {
    match std::str::from_utf8(word) {
        Ok(word) if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Ok(format!("req.http.User-Agent ~ \"(^|[^A-Za-z0-9\\x80-\\xff]){word}([^A-Za-z0-9\\x80-\\xff]|$)\""))
        }
        _ => Err("a word of a user agent with other letters than those of ASCII".to_owned()),
    }
}

fn unsayable(attribute: Attribute) -> String {
    let why = match attribute {
        Attribute::UserAgentWord => "has no word of its own there: what contains it may be a longer one",
        Attribute::Extension => "is cut in another way there",
        Attribute::QueryKeys => "has no counterpart there",
        Attribute::Version | Attribute::HeaderOrder | Attribute::Ja4 => {
            "is the CDN's own where the guard sees it, and another there"
        }
        _ => "cannot be asked there",
    };
    format!("{} {why}", attribute.name())
}

/// A short string of VCL, in which % begins an escape.
fn vcl_text(value: &[u8]) -> Result<String, String> {
    let mut text = String::from('"');
    for byte in value {
        match byte {
            0 => return Err("a value holds a NUL".to_owned()),
            b' '..=b'~' if !matches!(byte, b'"' | b'%') => text.push(char::from(*byte)),
            _ => text += &format!("%{byte:02x}"),
        }
    }
    text.push('"');
    Ok(text)
}

fn number(value: &[u8]) -> Result<u32, String> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| "the number of an autonomous system is none".to_owned())
}

/// A network, or its one address.
pub(super) fn plain_network(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::{RuleId, Stage};

    use super::*;

    fn rule(conditions: Vec<Condition>, action: Action, canary_interval: u32) -> Rule {
        Rule { id: RuleId(7), conditions, action, stage: Stage::Enforced, canary_interval }
    }

    fn refusing(conditions: Vec<Condition>) -> Rule {
        rule(conditions, Action::Refuse { status: 410 }, 0)
    }

    #[test]
    fn conditions_are_said_in_both_languages() {
        let of = |attribute, value: &str| Condition::new(attribute, value.as_bytes());
        for (condition, expression, vcl_text) in [
            (of(Attribute::Method, "POST"), "http.request.method eq \"POST\"", "req.method == \"POST\""),
            (
                of(Attribute::Host, "a.example"),
                "lower(http.host) eq \"a.example\"",
                "std.tolower(req.http.Host) == \"a.example\"",
            ),
            (
                of(Attribute::Path, "/a%41\"\\"),
                "raw.http.request.uri.path eq \"/a%41\\\"\\\\\"",
                "req.url.path == \"/a%2541%22\\\"",
            ),
            (
                of(Attribute::PathPrefix, "/w/"),
                "starts_with(raw.http.request.uri.path, \"/w/\")",
                "std.prefixof(req.url.path, \"/w/\")",
            ),
            (of(Attribute::UserAgent, "a b"), "http.user_agent eq \"a b\"", "req.http.User-Agent == \"a b\""),
            (
                of(Attribute::RefererOrigin, "https://a.example"),
                "(http.referer eq \"https://a.example\" or starts_with(http.referer, \"https://a.example/\"))",
                "(req.http.Referer == \"https://a.example\" || std.prefixof(req.http.Referer, \"https://a.example/\"))",
            ),
            (
                Condition::absent(Attribute::UserAgent),
                "not any(http.request.headers.names[*] == \"user-agent\")",
                "!req.http.User-Agent",
            ),
            (of(Attribute::Country, "DE"), "ip.src.country eq \"DE\"", "client.geo.country_code == \"DE\""),
            (of(Attribute::Asn, "64496"), "ip.src.asnum eq 64496", "client.as.number == 64496"),
        ] {
            let rule = refusing(vec![condition]);
            assert_eq!(cloudflare(&rule).as_deref(), Ok(expression));
            assert_eq!(vcl(&rule).as_deref(), Ok(format!("if ({vcl_text}) {{ error 410 \"Refused\"; }}").as_str()));
        }
    }

    #[test]
    fn what_the_guard_cuts_is_said_as_a_beginning() {
        let long = "x".repeat(VALUE_BYTES_MAX);
        let said = cloudflare(&refusing(vec![Condition::new(Attribute::UserAgent, long.as_bytes())])).expect("said");
        assert_eq!(said, format!("starts_with(http.user_agent, \"{long}\")"));
    }

    #[test]
    fn conjunctions_and_probes() {
        let both = vec![Condition::new(Attribute::Method, b"POST"), Condition::absent(Attribute::RefererOrigin)];
        assert_eq!(
            cloudflare(&refusing(both.clone())).as_deref(),
            Ok("http.request.method eq \"POST\" and not any(http.request.headers.names[*] == \"referer\")")
        );
        assert_eq!(
            vcl(&rule(both, Action::Drop, 256)).as_deref(),
            Ok("if (req.method == \"POST\" && !req.http.Referer && !randombool(1, 256)) { error 403 \"Refused\"; }")
        );
    }

    #[test]
    fn what_an_edge_sees_in_another_way_is_not_said() {
        for attribute in
            [Attribute::Extension, Attribute::QueryKeys, Attribute::Version, Attribute::HeaderOrder, Attribute::Ja4]
        {
            let rule = refusing(vec![Condition::new(attribute, b"x")]);
            let error = cloudflare(&rule).expect_err(attribute.name());
            assert!(error.starts_with(attribute.name()), "{error}");
            assert!(vcl(&rule).is_err(), "{attribute:?}");
        }
        let word = refusing(vec![Condition::new(Attribute::UserAgentWord, b"bot")]);
        assert!(cloudflare(&word).is_err(), "`contains` would match robots as well");
        assert!(vcl(&word).is_ok_and(|text| text.contains("[^A-Za-z0-9\\x80-\\xff])bot([^A-Za-z0-9")));
        let network = refusing(vec![Condition::new(Attribute::ClientPrefix, b"192.0.2.0/24")]);
        assert_eq!(cloudflare(&network).as_deref(), Ok("ip.src in {192.0.2.0/24}"));
        assert!(vcl(&network).is_err());
        assert!(check_action(&rule(Vec::new(), Action::Throttle { rate: 3.0 }, 0)).is_err());
        assert!(vcl(&refusing(vec![Condition::new(Attribute::Path, b"/\0")])).is_err());
        let beyond = refusing(vec![Condition::new(Attribute::UserAgent, b"a\x01\xc3")]);
        assert!(cloudflare(&beyond).is_err());
        assert!(vcl(&beyond).is_ok_and(|text| text.contains("\"a%01%c3\"")));
    }
}
