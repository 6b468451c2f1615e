//! Decisions: rules with their action, evidence and expiry.

mod rule;

pub use rule::{Action, Condition, Rule, RuleId, Stage};
