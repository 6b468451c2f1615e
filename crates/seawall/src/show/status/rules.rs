//! Rules: what each does, and what speaks for it.

use seawall_engine::decision::{Action, Evidence, OwnRules, RuleStatus, Stage};
use seawall_engine::units::counted;

use super::layout::{name, time};

/// One rule in two lines. Beside a server it is only counted what a rule would refuse.
pub fn rule(rule: &RuleStatus, is_beside: bool) -> Vec<String> {
    let evidence = &rule.evidence;
    let refused = if is_beside { "would have refused" } else { "refused" };
    let speaks = if is_unknown(evidence) {
        "what it would match of normal is not known".to_owned()
    } else {
        format!(
            "explains {:.0}% of the excess, would match {:.2}% (at most {:.2}%) of normal",
            100.0 * evidence.coverage,
            100.0 * evidence.collateral,
            100.0 * evidence.collateral_upper,
        )
    };
    vec![
        format!("{} {} {}", rule.id, what_it_does(rule), rule.text),
        format!("   {speaks}; matched {}, {refused} {}", rule.matched, rule.refused),
    ]
}

/// Everything about one rule.
pub fn rule_in_full(rule: &RuleStatus) -> String {
    let mut lines = vec![format!("{} {} {}", rule.id, what_it_does(rule), rule.text), rule.reason.clone()];
    let evidence = &rule.evidence;
    if evidence.rows > 0 {
        lines.push(format!(
            "It explains {:.0}% of the excess, in every window at least {:.0}%, by {} of {}.",
            100.0 * evidence.coverage,
            100.0 * evidence.stability,
            counted(u64::from(evidence.rows), "observation"),
            counted(u64::from(evidence.clients), "client")
        ));
    }
    // Of a rule that a person said this is all that speaks for or against it.
    if is_unknown(evidence) {
        lines.push("What it would match of normal traffic is not known: too little was learned, or it is about client networks.".to_owned());
    } else if evidence.rows > 0 || evidence.collateral_upper > 0.0 {
        lines.push(format!(
            "It would match {:.2}% of normal traffic, {:.2}% at most (95% confidence).",
            100.0 * evidence.collateral,
            100.0 * evidence.collateral_upper
        ));
    }
    if !evidence.closure.is_empty() {
        lines.push(format!("All that it matched has in common: {}.", evidence.closure.join(" and ")));
    }
    lines.push(format!(
        "It matched {} requests and refused {}; {} passed as probes, {} were spared for a good name; {} connections were \
         closed unread.",
        rule.matched, rule.refused, rule.canaries, rule.spared, rule.closed
    ));
    if let Some(share) = rule.collateral_actual {
        lines.push(format!("Of the requests of known good clients it matched {:.2}%.", 100.0 * share));
    }
    let end = if OwnRules::is_configured(rule.id) {
        "It ends once it is taken out of the configuration and `seawall reload` is said.".to_owned()
    } else {
        format!("`seawall rules remove {}` takes it back.", rule.id)
    };
    lines.push(format!("Found at {}. {end}", time(rule.found.as_seconds())));
    lines.join("\n") + "\n"
}

/// Whether nothing is known of what a rule that people said would match of normal traffic.
fn is_unknown(evidence: &Evidence) -> bool {
    evidence.rows == 0 && evidence.collateral_upper >= 1.0
}

/// The stage of a rule; of one in force, what it does, and until when.
pub(in crate::show) fn what_it_does(rule: &RuleStatus) -> String {
    if rule.stage != Stage::Enforced {
        return name(&rule.stage);
    }
    let action = match rule.action {
        Action::Throttle { rate } => format!("lets {rate:.0}/s through"),
        Action::Refuse { status } => format!("refuses with {status}"),
        Action::Drop => "drops".to_owned(),
    };
    let until = rule.expires.map(|expires| format!(" until {}", time(expires.as_seconds())));
    format!("{action}{}:", until.unwrap_or_default())
}
