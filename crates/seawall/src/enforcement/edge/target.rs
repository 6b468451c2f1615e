//! What is wanted at the edge, from the most effective down, and what of it an edge has room for and can say. Pure.

use std::collections::BTreeMap;

use ipnet::IpNet;
use seawall_engine::decision::{Ban, BanCause, Rule, RuleId};
use seawall_engine::units::Timestamp;

use super::plan::{LeftOut, Note, Pool, Statement};
use super::say;

/// A rule in force, as it is wanted at the edge.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedRule {
    /// The rule.
    pub rule: Rule,
    /// Whether a person said it.
    pub is_operators: bool,
    /// Requests that it has refused.
    pub refused: u64,
}

/// Who is banned, and who never is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedBans {
    /// The bans, in any order.
    pub bans: Vec<Ban>,
    /// Who is never refused.
    pub spared: Vec<IpNet>,
}

/// Everything that is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) bans: WantedBans,
    pub(super) rules: Vec<WantedRule>,
}

/// What of a ban an edge takes.
pub(super) struct Lengths {
    /// The largest network of IPv4.
    pub(super) least_v4: u8,
    /// The largest network of IPv6.
    pub(super) least_v6: u8,
}

/// The entries for who is banned, as many as there is room for. What is left out is told.
pub(super) fn entries(
    wanted: &Wanted,
    lengths: &Lengths,
    entries_max: usize,
    now: Timestamp,
    left_out: &mut Vec<LeftOut>,
) -> BTreeMap<(Pool, IpNet), Note> {
    let is_sayable = |ban: &&Ban| {
        let least = if ban.network.addr().is_ipv4() { lengths.least_v4 } else { lengths.least_v6 };
        ban.network.prefix_len() >= least
    };
    let lasting: Vec<&Ban> = wanted.bans.bans.iter().filter(|ban| ban.expires > now).collect();
    let mut bans: Vec<&Ban> = lasting.iter().copied().filter(is_sayable).collect();
    if bans.len() < lasting.len() {
        let Lengths { least_v4, least_v6 } = lengths;
        left_out.push(LeftOut {
            what: counted(lasting.len() - bans.len(), "ban"),
            why: format!("the list takes no network larger than a /{least_v4} of IPv4 or a /{least_v6} of IPv6"),
        });
    }
    bans.sort_by_key(|ban| (rank(ban.cause), std::cmp::Reverse(ban.since), ban.network));
    if bans.len() > entries_max {
        left_out.push(LeftOut {
            what: counted(bans.len() - entries_max, "ban"),
            why: format!("the list has room for {entries_max} entries (entries-max in [edge])"),
        });
        bans.truncate(entries_max);
    }
    let note = |ban: &Ban| Note { until: Some(ban.expires), rule: ban.cause.rule() };
    bans.into_iter().map(|ban| ((Pool::Banned, ban.network), note(ban))).collect()
}

/// Whom a person names comes first; then who is here now, many at once, and whom another program had banned.
const fn rank(cause: BanCause) -> u8 {
    match cause {
        BanCause::Operator => 0,
        BanCause::Rule(_) | BanCause::Limit | BanCause::ProxiedLimit => 1,
        BanCause::Merged(_) => 2,
        BanCause::Import => 3,
    }
}

/// Statements for rules, as many as `room`; `say` writes one, or says why it cannot.
pub(super) fn statements(
    wanted: &Wanted,
    room: usize,
    no_room: &str,
    say: impl Fn(&Rule) -> Result<Statement, String>,
    left_out: &mut Vec<LeftOut>,
) -> Vec<Statement> {
    let mut rules: Vec<&WantedRule> = wanted.rules.iter().collect();
    // By the order of magnitude alone, so that two of a size do not take turns.
    let effect = |wanted: &WantedRule| wanted.refused.checked_ilog2();
    rules.sort_by_key(|wanted| (!wanted.is_operators, std::cmp::Reverse(effect(wanted)), wanted.rule.id));
    let mut statements = Vec::new();
    for WantedRule { rule, .. } in rules {
        let said = say::check_action(rule).and_then(|()| say(rule));
        let why = match said {
            Ok(_) if statements.len() >= room => no_room.to_owned(),
            Ok(statement) => {
                statements.push(statement);
                continue;
            }
            Err(why) => why,
        };
        left_out.push(LeftOut { what: rule.id.to_string(), why });
    }
    statements
}

/// What a statement about a rule is called.
pub(super) fn rule_name(prefix: &str, rule: RuleId) -> String {
    format!("{prefix}: {rule}")
}

/// Of who is never refused, those who can come through a CDN at all.
pub(super) fn spared(wanted: &Wanted) -> impl Iterator<Item = IpNet> {
    let is_public = |network: &IpNet| match network {
        IpNet::V4(network) => {
            let address = network.addr();
            !(address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified())
        }
        IpNet::V6(network) => {
            let address = network.addr();
            !(address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_unspecified())
        }
    };
    wanted.bans.spared.iter().copied().filter(is_public)
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::{Action, Stage};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn ban(network: &str, cause: BanCause, seconds: u64) -> Ban {
        let expires = NOW + std::time::Duration::from_secs(seconds);
        Ban { network: network.parse().expect("a network"), since: NOW, expires, cause, reason: None }
    }

    #[test]
    fn the_most_effective_bans_come_first_and_the_rest_is_told() {
        let bans = vec![
            ban("192.0.2.1/32", BanCause::Import, 60),
            ban("192.0.2.2/32", BanCause::Rule(RuleId(3)), 60),
            ban("192.0.2.3/32", BanCause::Operator, 60),
            ban("192.0.2.4/32", BanCause::Operator, 0),
            ban("64.0.0.0/4", BanCause::Operator, 60),
        ];
        let wanted = Wanted { bans: WantedBans { bans, spared: Vec::new() }, rules: Vec::new() };
        let mut left_out = Vec::new();
        let found = entries(&wanted, &Lengths { least_v4: 8, least_v6: 12 }, 2, NOW, &mut left_out);
        let networks: Vec<String> = found.keys().map(|(_, network)| network.to_string()).collect();
        assert_eq!(networks, ["192.0.2.2/32", "192.0.2.3/32"]);
        assert_eq!(found.values().next().expect("one").rule, Some(RuleId(3)));
        let told: Vec<&str> = left_out.iter().map(|left| left.what.as_str()).collect();
        assert_eq!(told, ["1 ban", "1 ban"]);
        assert!(left_out[0].why.contains("/8") && left_out[1].why.contains("room for 2"), "{left_out:?}");
    }

    #[test]
    fn the_operators_rules_come_first_then_those_that_refuse_most() {
        let wanted = |id, is_operators, refused| WantedRule {
            rule: Rule {
                id: RuleId(id),
                conditions: Vec::new(),
                action: Action::Drop,
                stage: Stage::Enforced,
                canary_interval: 0,
                is_asking: false,
            },
            is_operators,
            refused,
        };
        let mut throttle = wanted(9, true, 0);
        throttle.rule.action = Action::Throttle { rate: 1.0 };
        let rules =
            vec![wanted(1, false, 10), wanted(2, false, 1_000), wanted(10_001, true, 0), throttle, wanted(3, false, 9)];
        let wanted = Wanted { bans: WantedBans::default(), rules };
        let say = |rule: &Rule| Ok(Statement { name: rule_name("seawall", rule.id), text: String::new() });
        let mut left_out = Vec::new();
        let names: Vec<String> =
            statements(&wanted, 3, "no room", say, &mut left_out).into_iter().map(|statement| statement.name).collect();
        // 9 and 10 are of a size.
        assert_eq!(names, ["seawall: R10001", "seawall: R2", "seawall: R1"]);
        let told: Vec<(&str, bool)> = left_out.iter().map(|left| (left.what.as_str(), left.why == "no room")).collect();
        assert_eq!(told, [("R9", false), ("R3", true)]);
    }

    #[test]
    fn who_cannot_come_through_a_cdn_takes_no_room() {
        let spared = ["127.0.0.0/8", "10.1.2.3/32", "::1/128", "fd00::/8", "198.51.100.7/32", "2001:db8::/32"];
        let spared = spared.map(|text| text.parse().expect("a network")).to_vec();
        let wanted = Wanted { bans: WantedBans { bans: Vec::new(), spared }, rules: Vec::new() };
        let found: Vec<String> = super::spared(&wanted).map(|network| network.to_string()).collect();
        assert_eq!(found, ["198.51.100.7/32", "2001:db8::/32"]);
    }
}
