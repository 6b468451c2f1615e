//! What is asked of the control socket about rules: to list them, to put one of the operator's in force, to take one back.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use seawall_engine::address::AddressSet;
use seawall_engine::decision::{
    Action as RuleAction, Condition, Numbers, OwnRule, OwnRuleError, OwnRules, RuleId, RuleStatus,
};
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Answer, Problem, detect, enforce, problem};
use crate::config::quantity::show_duration;
use crate::daemon::{AddedRule, Command, Daemon, Withdrawn};
use crate::enforcement::{COLLATERAL_MAX, NeverBanView, Order, Withheld, printable, shown_network};
use crate::record::{Action, Actor};

/// What is asked of the list of rules.
#[derive(Deserialize)]
pub(super) struct RulesAsked {
    /// Whether with the client networks that rules name, which are left out otherwise.
    #[serde(default)]
    networks: bool,
}

pub(super) async fn list(
    State(daemon): State<Arc<Daemon>>,
    Query(asked): Query<RulesAsked>,
) -> Answer<Vec<RuleStatus>> {
    let mut rules = daemon.snapshot().detection.rules;
    if asked.networks {
        let texts = detect(&daemon, Command::RuleTexts).await?;
        // A rule that has gone in between is in force no longer.
        rules.retain_mut(|rule| {
            let text = texts.iter().find(|(id, _)| *id == rule.id).map(|(_, text)| text);
            text.inspect(|text| rule.text.clone_from(text)).is_some()
        });
    }
    Ok(Json(rules))
}

/// A rule to put in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleRequest {
    /// The rule as rules are written.
    pub text: String,
    /// What it does.
    pub action: RuleAction,
    /// Why.
    pub reason: Option<String>,
    /// For how long, in seconds.
    pub seconds: u64,
    /// Take it back after so many seconds unless it is confirmed.
    pub confirm_seconds: Option<u64>,
    /// Only say what it would be and do.
    #[serde(default)]
    pub dry_run: bool,
    /// Do it even if it hits more than 1% of ordinary traffic, or it is not known how much.
    #[serde(default)]
    pub anyway: bool,
}

/// Why a rule is not put in force unless it is said that it is meant.
pub fn rule_withheld(rule: &RuleStatus) -> Option<Withheld> {
    match &rule.evidence {
        evidence if evidence.collateral_upper >= 1.0 => Some(Withheld::Unknown),
        evidence => (evidence.collateral > COLLATERAL_MAX).then_some(Withheld::TooMuch),
    }
}

pub(super) async fn add(State(daemon): State<Arc<Daemon>>, Json(request): Json<RuleRequest>) -> Answer<AddedRule> {
    let now = daemon.shared.clock.now();
    let after = |seconds: u64| now + Duration::from_secs(seconds);
    let (expires, until) = (after(request.seconds), request.confirm_seconds.map(after));
    let is_meant = request.anyway || until.is_some();
    let RuleRequest { text, action, reason, dry_run, .. } = request;
    let rule = OwnRule { id: RuleId(0), text, action, reason, since: now, expires, predicted: None };
    if dry_run || !is_meant {
        let tried = match detect(&daemon, |done| Command::TryRule(rule.clone(), done)).await? {
            Ok(tried) => tried,
            Err(error) => return Err(refused(&daemon, &rule.text, &error).await),
        };
        let withheld = match rule_withheld(&tried.rule) {
            _ if dry_run => return Ok(Json(tried)),
            Some(Withheld::TooMuch) => Some("it hits more than 1% of ordinary traffic"),
            Some(Withheld::Unknown) => Some("what it hits of ordinary traffic is not known"),
            None => None,
        };
        if let Some(why) = withheld {
            let advice = "--confirm 60s does it and takes it back unless you say `seawall confirm`, --anyway does it for good, \
                          --dry-run says what is known";
            return Err(problem(
                StatusCode::PRECONDITION_REQUIRED,
                format!("the rule was not put in force: {why}; {advice}"),
            ));
        }
    }
    let text = rule.text.clone();
    match detect(&daemon, |done| Command::AddRule(rule, until, done)).await? {
        Ok(added) => Ok(Json(added)),
        Err(error) => Err(refused(&daemon, &text, &error).await),
    }
}

/// Why a rule cannot be put in force. What is wrong with the text is told apart from what stands in the way of one that is right.
async fn refused(daemon: &Daemon, text: &str, error: &OwnRuleError) -> (StatusCode, Json<Problem>) {
    match error {
        OwnRuleError::Expression(_) | OwnRuleError::Shape { .. } | OwnRuleError::TooManyConditions { .. } => {
            problem(StatusCode::BAD_REQUEST, error.to_string())
        }
        OwnRuleError::Full | OwnRuleError::InForce { .. } => problem(StatusCode::FORBIDDEN, error.to_string()),
        OwnRuleError::Protected => {
            // The error itself names nobody: it stands in the journal and in the log as well.
            let never_ban = enforce(daemon, Order::NeverBan).await.unwrap_or_default();
            let who = protected(text, &never_ban).map(|who| format!(": {who}")).unwrap_or_default();
            problem(StatusCode::FORBIDDEN, format!("{error}{who}"))
        }
    }
}

/// Whom a rule names that is never banned, and why he is not.
fn protected(text: &str, never_ban: &[NeverBanView]) -> Option<String> {
    let conditions = OwnRules::read(text, &AddressSet::default()).ok()?;
    let mut networks = conditions.iter().filter_map(Condition::network);
    let entry = networks.find_map(|network| {
        let named = AddressSet::new([network]);
        never_ban.iter().find(|entry| named.overlaps(entry.network))
    })?;
    Some(format!("{} is {}", shown_network(entry.network), entry.words))
}

/// A rule to take back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RuleRemoval {
    /// For how long neither it nor what comes to the same is put in force again, in seconds.
    pub seconds: Option<u64>,
    /// Why it is taken back.
    pub reason: Option<String>,
}

/// What became of a rule that was taken back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TakenBack {
    /// The rule as it was.
    pub rule: RuleStatus,
    /// Others that went with it, since they come to the same.
    pub with: Vec<RuleStatus>,
    /// For how long it is not put in force again, where the guard had found it.
    pub veto: Option<VetoEnd>,
}

/// For how long a rule is not put in force again.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct VetoEnd {
    /// Until then; none for a day from the end of its incident on, which is open.
    pub until: Option<Timestamp>,
}

pub(super) async fn remove(
    State(daemon): State<Arc<Daemon>>,
    Path(id): Path<u32>,
    Json(asked): Json<RuleRemoval>,
) -> Answer<TakenBack> {
    let id = RuleId(id);
    let Some(rule) = daemon.snapshot().detection.rules.iter().find(|rule| rule.id == id).cloned() else {
        return Err(problem(StatusCode::NOT_FOUND, format!("there is no rule {id}")));
    };
    if OwnRules::is_configured(id) {
        let why = format!("{id} is in the configuration: take it out there and say `seawall reload`");
        return Err(problem(StatusCode::FORBIDDEN, why));
    }
    if id.0 > Numbers::RULE_MAX && asked.seconds.is_some() {
        let why = format!(
            "{id} is yours: once it is taken back it does not come again, so there is no time to say with --for"
        );
        return Err(problem(StatusCode::BAD_REQUEST, why));
    }
    let moment = daemon.record.moment();
    let length = asked.seconds.map(Duration::from_secs);
    let before = daemon.snapshot();
    let Withdrawn { with, veto } = detect(&daemon, |done| Command::Withdraw(id, length, done)).await?;
    let length = length.map(|length| format!(", kept out of force for {}", show_duration(length))).unwrap_or_default();
    let reason = asked.reason.as_deref().map(|reason| format!("; reason: {}", printable(reason))).unwrap_or_default();
    let text = format!("{id}{length}: {}{reason}", rule.text);
    daemon.record.journal_of(moment, Actor::Operator, Action::RemoveRule, text);
    let with = before.detection.rules.iter().filter(|rule| with.contains(&rule.id)).cloned().collect();
    Ok(Json(TakenBack { rule, with, veto: veto.map(|veto| VetoEnd { until: veto.until }) }))
}

pub(super) async fn lift_veto(State(daemon): State<Arc<Daemon>>, Path(id): Path<u32>) -> Answer<RuleStatus> {
    let id = RuleId(id);
    let Some(veto) = detect(&daemon, |done| Command::LiftVeto(id, done)).await? else {
        return Err(problem(
            StatusCode::NOT_FOUND,
            format!("{id} is no rule that the guard is kept from making again"),
        ));
    };
    let text = format!("{id} may be made again: {}", veto.rule.text);
    daemon.record.journal(Actor::Operator, Action::Undo, text);
    Ok(Json(veto.rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforcement::Reason;

    #[test]
    fn whom_a_rule_names_that_is_never_banned_is_said() {
        let entry = |network: &str, reason: Reason| NeverBanView {
            network: network.parse().expect("a network"),
            reason,
            words: reason.words().to_owned(),
        };
        let list = [entry("192.0.2.0/24", Reason::Proxy), entry("198.51.100.7/32", Reason::Configured)];
        for (rule, expected) in [
            ("client = 198.51.100.7", Some("198.51.100.7 is named by never-ban in the configuration")),
            (
                "path = \"/x\" and client-prefix = 192.0.0.0/16",
                Some("192.0.2.0/24 is a trusted proxy of the configuration"),
            ),
            ("client = 203.0.113.7", None),
        ] {
            assert_eq!(protected(rule, &list).as_deref(), expected, "{rule}");
        }
    }
}
