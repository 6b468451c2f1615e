//! Rules: what each does, and what speaks for it.

use seawall_engine::decision::{Action, Evidence, OwnRules, RuleStatus, Stage};
use seawall_engine::units::{Timestamp, counted};

use super::layout::name;
use crate::show::standing::Standing;
use crate::show::text::percent_at_most;
use crate::show::time::{date_and_time, time_of_day};

/// One rule in two lines.
pub fn rule(rule: &RuleStatus, standing: Standing) -> Vec<String> {
    let evidence = &rule.evidence;
    let speaks = if is_unknown(evidence) {
        "what it would match of normal is not known".to_owned()
    } else {
        format!(
            "explains {:.0}% of the excess, would match {:.2}% (at most {:.2}%) of normal",
            100.0 * evidence.coverage,
            100.0 * evidence.collateral,
            percent_at_most(evidence.collateral_upper),
        )
    };
    vec![
        format!("{} {} {}", rule.id, what_it_does(rule, standing), rule.text),
        format!(
            "   {speaks}; matched {}, {} {}{}{}",
            rule.matched,
            standing.refused(),
            rule.refused,
            by_server(rule),
            asking(rule, standing).map(|asking| format!("; {asking}")).unwrap_or_default()
        ),
    ]
}

/// Everything about one rule.
pub fn rule_in_full(rule: &RuleStatus, standing: Standing) -> String {
    let does = what_it_does(rule, standing);
    let mut lines = vec![format!("{} {does} {}", rule.id, rule.text), rule.reason.clone()];
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
            percent_at_most(evidence.collateral_upper)
        ));
    }
    if !evidence.closure.is_empty() {
        lines.push(format!("All that it matched has in common: {}.", evidence.closure.join(" and ")));
    }
    lines.push(what_it_did(rule, standing));
    if let Some(asking) = asking(rule, standing) {
        lines.push(format!("Nobody knows yet what they do with what they are given: {asking}."));
    }
    if let Some(share) = rule.collateral_actual {
        lines.push(format!("Of the clients known good, each counted once a minute, it matched {:.2}%.", 100.0 * share));
    }
    let end = if rule.stage == Stage::Vetoed {
        format!("`seawall rules remove {} --undo` lets the guard make it again.", rule.id)
    } else if OwnRules::is_configured(rule.id) {
        "It ends once it is taken out of the configuration and `seawall reload` is said.".to_owned()
    } else {
        format!("`seawall rules remove {}` takes it back.", rule.id)
    };
    lines.push(format!("Found at {}. {end}", time_of_day(rule.found)));
    lines.join("\n") + "\n"
}

/// What has become of what a rule met.
fn what_it_did(rule: &RuleStatus, standing: Standing) -> String {
    let RuleStatus { matched, refused, canaries, spared, closed, refused_by_server, action, .. } = rule;
    if !standing.is_beside() {
        return format!(
            "It matched {matched} requests and refused {refused}; {canaries} passed as probes, {spared} were spared for a good \
             name; {closed} connections were closed unread."
        );
    }
    // Nobody is dropped for what is only slowed down.
    let drops = standing == Standing::Beside { drops: true } && !matches!(action, Action::Throttle { .. });
    let done = match (*refused_by_server, drops) {
        (0, false) => "nothing was done".to_owned(),
        (0, true) => "the kernel drops who goes on with it".to_owned(),
        (refused, false) => format!("the server refused {refused}"),
        (refused, true) => format!("the server refused {refused}, and the kernel drops who goes on with it"),
    };
    format!(
        "It matched {matched} requests and would have refused {refused}, had it been in line; {canaries} would have passed as \
         probes, {spared} been spared for a good name; {done}."
    )
}

/// What is let through to learn whom it meets.
fn asking(rule: &RuleStatus, standing: Standing) -> Option<String> {
    let would = if standing.is_beside() { "would pass" } else { "passes" };
    rule.asking.map(|every| format!("one in {every} {would} until it is known whether these are people"))
}

/// How much of it the server has refused, where it has.
fn by_server(rule: &RuleStatus) -> String {
    match rule.refused_by_server {
        0 => String::new(),
        refused => format!("; the server refused {refused}"),
    }
}

/// Whether nothing is known of what a rule that people said would match of normal traffic.
fn is_unknown(evidence: &Evidence) -> bool {
    evidence.rows == 0 && evidence.collateral_upper >= 1.0
}

/// Until when a rule that was taken back is not put in force again.
pub fn veto_end(until: Option<Timestamp>) -> String {
    until.map_or_else(|| "until a day after its incident".to_owned(), |until| format!("until {}", date_and_time(until)))
}

/// The stage of a rule; of one in force, what it does, and until when.
pub(in crate::show) fn what_it_does(rule: &RuleStatus, standing: Standing) -> String {
    if let Some(at) = rule.taken_back {
        return format!("taken back at {}, vetoed {}:", date_and_time(at), veto_end(rule.expires));
    }
    if rule.stage != Stage::Enforced {
        return name(&rule.stage);
    }
    let until = rule.expires.map(|expires| format!(" until {}", time_of_day(expires)));
    let waits = if rule.confirm_until.is_some() { ", unless it is confirmed" } else { "" };
    format!("{}{}{waits}:", rule.action.words(standing.is_beside()), until.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::rule_status;

    #[test]
    fn beside_a_server_nothing_is_said_to_be_refused() {
        let reason = "decided: it is a flood".to_owned();
        let found = RuleStatus { reason, matched: 12, refused: 11, canaries: 1, ..rule_status(3) };
        let said = |standing, action| {
            let rule_status = RuleStatus { action, ..found.clone() };
            rule(&rule_status, standing).join("\n") + "\n" + &rule_in_full(&rule_status, standing)
        };
        for action in [Action::Throttle { rate: 2.0 }, Action::Refuse { status: 403 }, Action::Drop] {
            for drops in [false, true] {
                let text = said(Standing::Beside { drops }, action);
                assert!(text.contains("R3 would ") && text.contains("would have refused 11"), "{text}");
                assert!(
                    !["refuses", "throttles", " drops:", "and refused", ", refused"]
                        .iter()
                        .any(|word| text.contains(word)),
                    "{text}"
                );
                let drops = drops && !matches!(action, Action::Throttle { .. });
                assert_eq!(text.contains("the kernel drops who goes on"), drops, "{text}");
            }
        }
        let carried_out = RuleStatus { refused_by_server: 9, ..found.clone() };
        let standing = Standing::Beside { drops: false };
        let text = rule(&carried_out, standing).join("\n") + "\n" + &rule_in_full(&carried_out, standing);
        assert!(text.contains("would have refused 11; the server refused 9\n"), "{text}");
        assert!(text.contains("for a good name; the server refused 9."), "{text}");
        let asking = RuleStatus { asking: Some(16), ..found.clone() };
        let asks = |standing, how: &str| {
            let sentence = format!("one in 16 {how} until it is known whether these are people");
            assert!(rule(&asking, standing)[1].ends_with(&format!("; {sentence}")), "{sentence}");
            assert!(rule_in_full(&asking, standing).contains(&format!("given: {sentence}.\n")), "{sentence}");
        };
        asks(standing, "would pass");
        asks(Standing::InLine, "passes");
        let text = said(Standing::InLine, Action::Refuse { status: 403 });
        assert!(text.contains("R3 refuses with 403: ") && text.contains("matched 12, refused 11"), "{text}");
        assert!(text.contains("12 requests and refused 11;") && !text.contains("would have"), "{text}");
    }
}
