//! Rules in the languages of the edges: expressions of Cloudflare's rules language, and VCL.
//!
//! What a rule asks is said as [`crate::export`] says it: whole or not at all, and never wider than the rule. Here is what is another
//! at an edge that the guard is behind: the CDN has its own table of networks, and what the guard sees of a connection (header
//! order, the version of HTTP) is the CDN's own. Pure.

use seawall_engine::decision::expression::Expression;
use seawall_engine::decision::{Action, Condition, Rule};
use seawall_engine::observation::attribute::Attribute;

use crate::export::{CLOUDFLARE, FASTLY, System};

/// The status of what a rule drops: an edge answers for others over the same connection.
const REFUSED_STATUS: u16 = 403;

/// What both edges cannot say of a rule, whatever it asks.
pub(super) fn check_action(rule: &Rule) -> Result<(), String> {
    if rule.is_asking {
        let every = rule.canary_interval;
        return Err(format!("one request in {every} is to pass here until it is known whether these are people"));
    }
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
    let located = Located { country: "ip.src.country", system: "ip.src.asnum", equals: "eq" };
    Ok(parts(rule, CLOUDFLARE, &located)?.join(" and "))
}

/// The rule as a statement of VCL in `vcl_recv`. One in so many requests is let through, where the rule lets them through: by
/// these it is seen whether the flood goes on.
///
/// # Errors
/// What cannot be said.
pub(super) fn vcl(rule: &Rule) -> Result<String, String> {
    let located = Located { country: "client.geo.country_code", system: "client.as.number", equals: "==" };
    let mut parts = parts(rule, FASTLY, &located)?;
    if rule.canary_interval > 0 {
        parts.push(format!("!randombool(1, {})", rule.canary_interval));
    }
    let status = if let Action::Refuse { status } = rule.action { status } else { REFUSED_STATUS };
    Ok(format!("if ({}) {{ error {status} \"Refused\"; }}", parts.join(" && ")))
}

/// What a CDN's own table of networks says of the client.
struct Located {
    country: &'static str,
    system: &'static str,
    equals: &'static str,
}

/// What must hold, all of it.
fn parts(rule: &Rule, system: &System, located: &Located) -> Result<Vec<String>, String> {
    let is_located = |condition: &Condition| matches!(condition.attribute, Attribute::Country | Attribute::Asn);
    let (of_table, of_request): (Vec<Condition>, Vec<Condition>) =
        rule.conditions.iter().cloned().partition(is_located);
    let mut parts = Vec::new();
    if !of_request.is_empty() {
        if let Some(condition) = of_request.iter().find(|condition| is_of_connection(condition.attribute)) {
            let name = condition.attribute.name();
            return Err(format!("{name} is the CDN's own where the guard sees it, and another there"));
        }
        let rest = Rule { conditions: of_request, ..rule.clone() };
        parts.push(system.condition(&Expression::from(&rest))?);
    }
    for condition in &of_table {
        let attribute = condition.attribute;
        let field = if attribute == Attribute::Asn { located.system } else { located.country };
        let text = condition.value().and_then(|value| std::str::from_utf8(value).ok());
        let quote = if attribute == Attribute::Asn { "" } else { "\"" };
        // Two letters, or digits.
        let text = text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let text = text.ok_or_else(|| format!("{} = none cannot be asked there", attribute.name()))?;
        parts.push(format!("{field} {} {quote}{text}{quote}", located.equals));
    }
    Ok(parts)
}

const fn is_of_connection(attribute: Attribute) -> bool {
    matches!(attribute, Attribute::Version | Attribute::HeaderOrder | Attribute::Ja4)
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::{RuleId, Stage};

    use super::*;

    fn rule(conditions: Vec<Condition>, action: Action, canary_interval: u32) -> Rule {
        Rule { id: RuleId(7), conditions, action, stage: Stage::Enforced, canary_interval, is_asking: false }
    }

    fn refusing(conditions: Vec<Condition>) -> Rule {
        rule(conditions, Action::Refuse { status: 410 }, 0)
    }

    #[test]
    fn what_a_request_is_is_said_as_in_an_export() {
        let conditions = [
            Condition::new(Attribute::Method, b"POST"),
            Condition::new(Attribute::Path, b"/a%41\"\\"),
            Condition::absent(Attribute::UserAgent),
        ];
        let rule = refusing(conditions.to_vec());
        let expression = Expression::from(&rule);
        let said = CLOUDFLARE.condition(&expression).expect("said");
        assert!(said.contains("(http.request.method eq \"POST\")"), "{said}");
        assert!(said.contains("(not any(http.request.headers.names[*] == \"user-agent\"))"), "{said}");
        assert_eq!(cloudflare(&rule), Ok(said));
        let said = FASTLY.condition(&expression).expect("said");
        assert!(said.contains("(!req.http.User-Agent)"), "{said}");
        assert_eq!(vcl(&rule), Ok(format!("if ({said}) {{ error 410 \"Refused\"; }}")));
    }

    #[test]
    fn the_cdn_has_a_table_of_networks_of_its_own() {
        for (attribute, value, expression, condition) in [
            (Attribute::Country, "DE", "ip.src.country eq \"DE\"", "client.geo.country_code == \"DE\""),
            (Attribute::Asn, "64496", "ip.src.asnum eq 64496", "client.as.number == 64496"),
        ] {
            let located = refusing(vec![Condition::new(attribute, value.as_bytes())]);
            assert_eq!(cloudflare(&located).as_deref(), Ok(expression));
            assert_eq!(vcl(&located), Ok(format!("if ({condition}) {{ error 410 \"Refused\"; }}")));
            assert!(cloudflare(&refusing(vec![Condition::absent(attribute)])).is_err());
        }
    }

    #[test]
    fn conjunctions_and_probes() {
        let both = vec![Condition::new(Attribute::Country, b"DE"), Condition::absent(Attribute::RefererOrigin)];
        assert_eq!(
            cloudflare(&refusing(both.clone())).as_deref(),
            Ok("(not any(http.request.headers.names[*] == \"referer\")) and ip.src.country eq \"DE\"")
        );
        assert_eq!(
            vcl(&rule(both, Action::Drop, 256)).as_deref(),
            Ok(
                "if ((!req.http.Referer) && client.geo.country_code == \"DE\" && !randombool(1, 256)) { error 403 \"Refused\"; }"
            )
        );
    }

    #[test]
    fn what_an_edge_sees_in_another_way_is_not_said() {
        for attribute in [Attribute::Version, Attribute::HeaderOrder, Attribute::Ja4] {
            let rule = refusing(vec![Condition::new(attribute, b"x")]);
            let error = cloudflare(&rule).expect_err(attribute.name());
            assert!(error.starts_with(attribute.name()), "{error}");
            assert!(vcl(&rule).is_err(), "{attribute:?}");
        }
        let word = refusing(vec![Condition::new(Attribute::UserAgentWord, b"bot")]);
        assert!(cloudflare(&word).is_err(), "`contains` would match robots as well");
        assert!(vcl(&word).is_ok());
        // A snippet is within a subroutine, and an access list would have to be before it.
        let network = refusing(vec![Condition::new(Attribute::ClientPrefix, b"192.0.2.0/24")]);
        assert_eq!(cloudflare(&network).as_deref(), Ok("(ip.src in {192.0.2.0/24})"));
        assert!(vcl(&network).is_err());
        assert!(check_action(&rule(Vec::new(), Action::Throttle { rate: 3.0 }, 0)).is_err());
        let asking = Rule { is_asking: true, ..rule(Vec::new(), Action::Drop, 16) };
        assert!(check_action(&asking).is_err_and(|why| why.contains("one request in 16")));
        assert!(cloudflare(&refusing(vec![Condition::new(Attribute::UserAgent, b"a\x01\xc3")])).is_err());
    }
}
