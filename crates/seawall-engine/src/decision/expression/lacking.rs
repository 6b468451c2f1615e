//! Whether an expression can be met where something that it asks for has no value in any request.

use super::comparison::{Comparison, Subject, Test};
use super::{Expression, Node};

/// Which outcomes a part of an expression can have.
#[derive(Clone, Copy)]
struct Outcomes {
    holds: bool,
    fails: bool,
}

impl Expression {
    /// Whether any request meets it, where those subjects have no value of which `is_lacking` says so, and all others may have any.
    pub fn can_match_without(&self, is_lacking: impl Fn(Subject) -> bool) -> bool {
        self.root.outcomes(&is_lacking).holds
    }
}

impl Node {
    fn outcomes(&self, is_lacking: &impl Fn(Subject) -> bool) -> Outcomes {
        match self {
            Self::All(parts) => {
                let parts = || parts.iter().map(|part| part.outcomes(is_lacking));
                Outcomes { holds: parts().all(|part| part.holds), fails: parts().any(|part| part.fails) }
            }
            Self::Any(parts) => {
                let parts = || parts.iter().map(|part| part.outcomes(is_lacking));
                Outcomes { holds: parts().any(|part| part.holds), fails: parts().all(|part| part.fails) }
            }
            Self::Not(part) => part.outcomes(is_lacking).negated(),
            Self::Condition(comparison) => comparison.outcomes(is_lacking),
        }
    }
}

impl Comparison {
    fn outcomes(&self, is_lacking: &impl Fn(Subject) -> bool) -> Outcomes {
        let outcomes = match &self.test {
            Test::Listed(listed) if listed.list.is_everything() => Outcomes { holds: true, fails: false },
            _ if !is_lacking(self.subject) => Outcomes { holds: true, fails: true },
            Test::Absent => Outcomes { holds: true, fails: false },
            _ => Outcomes { holds: false, fails: true },
        };
        if self.is_negated { outcomes.negated() } else { outcomes }
    }
}

impl Outcomes {
    const fn negated(self) -> Self {
        Self { holds: self.fails, fails: self.holds }
    }
}
