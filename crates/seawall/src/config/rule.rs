//! Rules that the configuration has: read and checked as `[[limit]]`s are, in it and in the files that it includes. What is done with them is
//! the engine's ([`seawall_engine::decision::OwnRules`]).

use std::collections::HashSet;

use seawall_engine::address::AddressSet;
use seawall_engine::decision::expression::{Expression, Lists, Use};
use seawall_engine::decision::{Action, CONFIGURED_RULES_MAX, OwnRuleError, OwnRules};
use toml::Spanned;

use super::case::{self, Case, Name, Words};
use super::kind::{Choice, Located};
use super::section::{Report, Section};

/// What `[[rule]]` is for.
pub(super) const WHY: &str = "What is refused for as long as it stands here, whoever asks. There can be eight. With `enforce = \"never\"` it is only counted. `seawall rules add` does the same for a time, and what \
     floods the guard finds by itself. docs/rules.md tells how rules are written.";

/// The status of a refusal.
const REFUSED: u16 = 403;

/// A rule of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfiguredRule {
    /// What it is called.
    pub name: String,
    /// The rule as rules are written.
    pub text: String,
    /// What it does.
    pub action: Action,
}

/// A rule with the places of what is checked later.
pub(super) struct RuleFound {
    name: Spanned<String>,
    rule: Spanned<String>,
    action: Action,
    cases: Vec<Case>,
}

/// Rules that have been checked.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) rules: Vec<ConfiguredRule>,
    /// The cases that they were tried on.
    pub(super) cases: usize,
    names: HashSet<String>,
}

/// Reads one `[[rule]]`.
pub(super) fn read(table: &mut Section<'_, '_>) -> RuleFound {
    let name = table
        .setting("name", Located(Name))
        .example_in_use("\"xmlrpc\"")
        .why("What it is called in `seawall rules list`. No two have the same.")
        .required(Spanned::new(0..0, String::new()));
    let rule = table
        .setting("rule", Located(Words))
        .example_in_use("'method = POST and path = \"/xmlrpc.php\"'")
        .why(
            "What it is about, as rules are written: conditions with `=`, or `query-keys != none`, joined by `and`, which is what can be looked up for each \
             request. What it hits of ordinary traffic `seawall backtest` says of a log, and `seawall rules add --dry-run` of what the guard has seen.",
        )
        .required(Spanned::new(0..0, String::new()));
    let action = table
        .setting(
            "action",
            Choice {
                words: &[
                    ("refuse", Action::Refuse { status: REFUSED }, "what it matches is refused (403)"),
                    ("drop", Action::Drop, "its connection is closed without an answer"),
                ],
            },
        )
        .why("What happens to what it matches. Nobody on the never-ban list is refused.")
        .default(Action::Refuse { status: REFUSED });
    let cases =
        table.tables("[[rule.test]]", case::WHY, |table| case::read(table, "\"/xmlrpc.php\"")).unwrap_or_default();
    RuleFound { name, rule, action, cases }
}

/// Reads the rules and tries each on its cases. What is good is added to `checked`.
pub(super) fn check(report: &mut Report, found: Vec<RuleFound>, lists: &Lists, checked: &mut Checked) {
    for found in found {
        // What is missing has its own problem.
        let (name, text) = (found.name.get_ref(), found.rule.get_ref());
        if !name.is_empty() && !checked.names.insert(name.clone()) {
            report.refuse(&found.name.span(), format!("two rules have the name {name:?}; give each a name of its own"));
        }
        if text.is_empty() {
            continue;
        }
        // Whom it may be about is known by the guard alone: its never-ban list builds itself.
        if let Err(error) = OwnRules::read(text, &AddressSet::default()) {
            let (line, column) = match &error {
                OwnRuleError::Expression(error) => (error.line, error.column),
                OwnRuleError::Shape { column, .. } => (1, column.unwrap_or(1)),
                OwnRuleError::TooManyConditions { .. }
                | OwnRuleError::Protected
                | OwnRuleError::Full
                | OwnRuleError::InForce { .. } => (1, 1),
            };
            // Where that is, its place says.
            let message = match &error {
                OwnRuleError::Expression(error) => error.to_string(),
                OwnRuleError::Shape { part, .. } => {
                    OwnRuleError::Shape { part: part.clone(), column: None }.to_string()
                }
                _ => error.to_string(),
            };
            let offset = report.offset_within(&found.rule.span(), text, line, column);
            report.refuse(&(offset..offset), format!("`rule` in [[rule]]: {message}"));
            continue;
        }
        // It was read just now.
        let Ok(rule) = Expression::parse(text, Use::Rule, lists) else { continue };
        for case in &found.cases {
            if let Err((place, message)) = case.run("rule", name, &rule) {
                report.refuse(&place, message);
            }
        }
        checked.cases += found.cases.len();
        if checked.rules.len() >= CONFIGURED_RULES_MAX {
            let message = format!(
                "{CONFIGURED_RULES_MAX} rules are the most that a configuration can have, those of included files among them"
            );
            report.refuse(&found.rule.span(), message);
            continue;
        }
        checked.rules.push(ConfiguredRule { name: name.clone(), text: text.clone(), action: found.action });
    }
}
