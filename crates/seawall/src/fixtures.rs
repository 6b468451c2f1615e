//! What several tests begin with.

use seawall_engine::decision::{Action, Evidence, RuleId, RuleStatus, Stage};
use seawall_engine::units::Timestamp;

/// A rule of incident 1 that refuses a user agent and has met nobody.
pub(crate) fn rule_status(id: u32) -> RuleStatus {
    RuleStatus {
        id: RuleId(id),
        incident: 1,
        text: "user-agent = \"x\"".to_owned(),
        action: Action::Refuse { status: 403 },
        stage: Stage::Enforced,
        reason: String::new(),
        found: Timestamp::from_seconds(1_767_000_000),
        enforced: None,
        expires: None,
        taken_back: None,
        confirm_until: None,
        evidence: Evidence::default(),
        matched: 0,
        refused: 0,
        canaries: 0,
        asking: None,
        spared: 0,
        closed: 0,
        refused_by_server: 0,
        collateral_actual: None,
    }
}
