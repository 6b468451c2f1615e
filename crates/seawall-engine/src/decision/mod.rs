//! Decisions: rules with their action, evidence and expiry.

mod policy;
mod rule;
mod status;

pub use policy::Enforce;
pub use rule::{Action, Condition, Rule, RuleId, Stage};
pub use status::{CostKind, Event, EventKind, Evidence, IncidentStatus, RuleStatus, Shape, Status, Verdict};
