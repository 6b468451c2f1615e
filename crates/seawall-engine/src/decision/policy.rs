//! When a rule that was found is put in force.

use serde::{Deserialize, Serialize};

/// When a rule that was found is put in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enforce {
    /// Never: every rule is a proposal.
    Never,
    /// Only while the server is under stress.
    #[default]
    UnderStress,
    /// As soon as traffic exceeds what is normal.
    OnExcess,
}
