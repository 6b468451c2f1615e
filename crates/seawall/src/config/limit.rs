//! Limits of single clients, as people write them, and the cases that they are tried on.
//!
//! Owns how `[[limit]]` is read and checked, in the configuration and in the files that it includes. Counting is the engine's
//! ([`seawall_engine::gate::Limit`]).

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use seawall_engine::address::AddressSet;
use seawall_engine::decision::BAN_DURATION_MAX;
use seawall_engine::decision::expression::{Expression, Lists, Use};
use seawall_engine::gate::{Limit, LimitAction, LimitKey, RuleSet};
use toml::Spanned;

use super::case::{self, Case, Name, Words};
use super::kind::{Choice, Flag, Located, OrWord, Text, Time};
use super::quantity;
use super::section::{Report, Section};

/// What `[[limit]]` is for.
pub(super) const WHY: &str = "How much one client may send of something, and what happens to whoever sends more: for what is a fault of single clients, \
     as trying passwords. There can be several. In front of a server and beside it alike; nobody on the never-ban list is ever \
     counted. docs/limits.md tells of it, and `[include]` has some that are made already.";

/// The most requests that can be allowed, and the longest period.
const REQUESTS_MAX: u32 = 1_000_000;
const PERIOD_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A limit with the places of what is checked later.
pub(super) struct LimitFound {
    name: Spanned<String>,
    rule: Spanned<String>,
    rate: (u32, Duration),
    key: LimitKey,
    action: LimitAction,
    length: Option<Duration>,
    spares: bool,
    cases: Vec<Case>,
    place: Range<usize>,
}

/// Limits that have been checked.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) limits: Vec<Limit>,
    /// The cases that they were tried on.
    pub(super) cases: usize,
    names: HashSet<String>,
}

/// Reads one `[[limit]]`.
pub(super) fn read(table: &mut Section<'_, '_>) -> LimitFound {
    let name = table
        .setting("name", Located(Name))
        .example_in_use("\"login\"")
        .why("What it is called in bans, in the journal and in `seawall status`. No two have the same.")
        .required(Spanned::new(0..0, String::new()));
    let rule = table
        .setting("rule", Located(Words))
        .example_in_use("'method = POST and path = \"/login\"'")
        .why(
            "Which requests count, as rules are written (docs/rules.md), in the whole language. It may ask for the `status` of the \
             answer: such a request counts once it is answered, others as they come. What it asks of the request and of the \
             answer is joined by `and`.",
        )
        .required(Spanned::new(0..0, String::new()));
    let rate = table
        .setting("rate", Rate)
        .example_in_use("\"5 in 10m\"")
        .why(
            "How many are allowed in which time: with `\"5 in 10m\"` the sixth is too much. Whoever is found to have sent too much has \
             truly sent more than that many within some ten minutes. With 0, one is too much.",
        )
        .required((0, Duration::from_secs(1)));
    let key = table
        .setting(
            "key",
            Choice {
                words: &[
                    ("client", LimitKey::Client, "the requests of a client: an IPv4 address, or an IPv6 /64"),
                    ("prefix", LimitKey::Prefix, "those of its network: an IPv4 /24, or an IPv6 /48"),
                    ("client+host", LimitKey::ClientAndHost, "those of a client for one host"),
                ],
            },
        )
        .why("What is counted together, and what a ban is about.")
        .default(LimitKey::Client);
    let action = table
        .setting(
            "action",
            Choice {
                words: &[
                    ("log", LimitAction::Log, "nothing happens; the journal says who it would have been"),
                    ("limit", LimitAction::Limit, "what is beyond the rate is refused (429)"),
                    (
                        "refuse",
                        LimitAction::Refuse,
                        "whatever the rule asks of requests is refused (429) for a time, however little comes",
                    ),
                    (
                        "ban",
                        LimitAction::Ban,
                        "the client is banned for a time: closed unread, and dropped by the kernel where it can",
                    ),
                ],
            },
        )
        .why(
            "What happens to whoever sends more. `\"limit\"` is the default since it hurts least; `\"log\"` tries a limit out. With \
             enforce = \"never\" in [policy], every limit is as with `\"log\"`.",
        )
        .default(LimitAction::Limit);
    let length = table
        .setting("for", OrWord { word: "auto", kind: Time { range: Duration::from_secs(1)..=BAN_DURATION_MAX } })
        .why(
            "For how long, with the actions that last. `\"auto\"` is ten minutes, or long enough to outlast the next visit of a client \
             that comes back every few hours, and twice as long with each time that it comes back to the same, up to a day.",
        )
        .default(None);
    let spares = table
        .setting("spare", Flag)
        .why(
            "Whether an address from which several user agents come, perhaps several people, and a visitor of several different hours \
             are only slowed down, as with `\"limit\"`, instead of refused or banned: five wrong passwords of five people are none of \
             one. Turn it off where whoever tries passwords changes the user agent.",
        )
        .default(true);
    let cases = table.tables("[[limit.test]]", case::WHY, |table| case::read(table, "\"/login\"")).unwrap_or_default();
    LimitFound { name, rule, rate, key, action, length, spares, cases, place: table.place() }
}

/// Reads the rules of limits and tries each on its cases. What is good is added to `checked`.
pub(super) fn check(report: &mut Report, found: Vec<LimitFound>, lists: &Lists, checked: &mut Checked) {
    for found in found {
        // What is missing has its own problem.
        let (name, text) = (found.name.get_ref(), found.rule.get_ref());
        if !name.is_empty() && !checked.names.insert(name.clone()) {
            report
                .refuse(&found.name.span(), format!("two limits have the name {name:?}; give each a name of its own"));
        }
        if text.is_empty() {
            continue;
        }
        let rule = match Expression::parse(text, Use::Limit, lists) {
            Ok(rule) => rule,
            Err(error) => {
                let offset = report.offset_within(&found.rule.span(), text, error.line, error.column);
                report.refuse(&(offset..offset), format!("`rule` in [[limit]]: {error}"));
                continue;
            }
        };
        if let Err(mixed) = rule.alternatives() {
            report.refuse(&found.rule.span(), format!("`rule` in [[limit]]: {mixed}"));
            continue;
        }
        for case in &found.cases {
            if let Err((place, message)) = case.run("limit", name, &rule) {
                report.refuse(&place, message);
            }
        }
        checked.cases += found.cases.len();
        checked.limits.push(Limit {
            name: name.as_str().into(),
            rule: Some(rule),
            requests: found.rate.0,
            period: found.rate.1,
            key: found.key,
            action: found.action,
            length: found.length,
            spares: found.spares,
            counts: Arc::default(),
        });
        if let Err(error) = RuleSet::compile(&[], &checked.limits, AddressSet::default()) {
            report.refuse(&found.place, error.to_string());
            checked.limits.pop();
        }
    }
}

/// So many in a time.
pub(super) struct Rate;

impl Text for Rate {
    type Value = (u32, Duration);
    const NAME: &'static str = "rate, as \"5 in 10m\"";
    const EXAMPLE: &'static str = "\"5 in 10m\"";

    fn parse(&self, text: &str) -> Result<(u32, Duration), String> {
        let wrong =
            || format!("which is no rate; write a number, `in` and a time with its unit, such as {}", Self::EXAMPLE);
        let (requests, period) = text.split_once(" in ").ok_or_else(wrong)?;
        let requests: u32 = requests.trim().parse().map_err(|_| wrong())?;
        let period = quantity::parse_duration(period.trim()).and_then(|period| Duration::try_from(period).ok());
        let period = period.ok_or_else(wrong)?;
        if requests > REQUESTS_MAX {
            return Err(format!("where {REQUESTS_MAX} are the most that can be allowed"));
        }
        if !(Duration::from_secs(1)..=PERIOD_MAX).contains(&period) {
            let most = quantity::show_duration(PERIOD_MAX);
            return Err(format!("whose time is not between 1s and {most}"));
        }
        Ok((requests, period))
    }

    fn show_text(&self, (requests, period): &(u32, Duration)) -> String {
        format!("{requests} in {}", quantity::show_duration(*period))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_back_as_shown() {
        for (text, requests, seconds) in [("5 in 10m", 5, 600), ("0 in 1s", 0, 1), ("1000 in 168h", 1_000, 604_800)] {
            assert_eq!(Rate.parse(text), Ok((requests, Duration::from_secs(seconds))));
            assert_eq!(Rate.show_text(&(requests, Duration::from_secs(seconds))), text);
        }
        for text in ["", "5", "5 in", "5 in 10", "5 per 10m", "-1 in 10m", "5 in 1ms", "5 in 169h", "1000001 in 1m"] {
            assert!(Rate.parse(text).is_err(), "{text}");
        }
    }
}
