//! When a rule that was found is put in force, and how hard.

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

/// How far rules may go at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Permit {
    /// They are shown, and that is all; with the reason.
    Propose(&'static str),
    /// They may slow down what they match, for a minute at a time: the baseline is too young to refuse on.
    Throttle,
    /// They may refuse it.
    Refuse,
}

impl Enforce {
    /// What is permitted, given whether the server is under stress and whether less than a day of what is normal is
    /// known. A young baseline needs stress in any case.
    pub(crate) const fn permit(self, stressed: bool, cold: bool) -> Permit {
        match (self, stressed, cold) {
            (Self::Never, ..) => Permit::Propose("the operator decides"),
            (_, false, true) => {
                Permit::Propose("less than a day of normal traffic is known, and the server is not under stress")
            }
            (Self::UnderStress, false, false) => Permit::Propose("the server is not under stress"),
            (_, true, true) => Permit::Throttle,
            (Self::UnderStress, true, false) | (Self::OnExcess, _, false) => Permit::Refuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_refused_without_permission() {
        for stressed in [false, true] {
            for cold in [false, true] {
                assert!(matches!(Enforce::Never.permit(stressed, cold), Permit::Propose(_)));
            }
        }
        assert!(matches!(Enforce::UnderStress.permit(false, false), Permit::Propose(_)));
        assert_eq!(Enforce::UnderStress.permit(true, false), Permit::Refuse);
        assert_eq!(Enforce::OnExcess.permit(false, false), Permit::Refuse);
        assert!(matches!(Enforce::OnExcess.permit(false, true), Permit::Propose(_)));
        assert_eq!(Enforce::OnExcess.permit(true, true), Permit::Throttle);
    }
}
