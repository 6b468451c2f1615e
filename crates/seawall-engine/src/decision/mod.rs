//! Decisions: rules with their action, evidence and expiry.

mod asking;
mod bans;
pub mod expression;
mod held;
mod ladder;
mod own;
mod pardon;
mod policy;
mod rule;
mod status;
mod traffic;
mod veto;

pub(crate) use asking::Told;
pub use bans::{
    BAN_DURATION_MAX, BAN_LENGTH_MIN_V4, BAN_LENGTH_MIN_V6, Ban, BanCause, BanError, Bans, Innocent, Merged,
    REASON_CHARACTERS_MAX, ban_network, check as check_ban, client_network, merge,
};
pub(crate) use held::{Finding, HARMLESS_COLLATERAL};
pub(crate) use ladder::Ladder;
pub use own::{
    CONFIGURED_RULES_MAX, Collateral, NamedRule, OWN_RULES_MAX, OwnRule, OwnRuleError, OwnRules, Retried, RuleNames,
};
pub use pardon::Pardons;
pub use policy::Enforce;
pub(crate) use policy::Permit;
pub use rule::{Action, Condition, Numbers, Rule, RuleId, Stage, Wanted};
pub use status::{
    Aspect, CostKind, Drift, Event, EventKind, Evidence, IncidentStatus, NamedShape, RuleStatus, Shape, Status, Verdict,
};
pub use veto::Veto;
