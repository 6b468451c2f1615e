//! Rules that were taken back: what they did must end everywhere, also where they have left a mark on a client.

use super::RuleId;

/// Rules taken back that are remembered: by then every worker has heard of them.
const REMEMBERED_MAX: usize = 32;

/// Whose marks on clients are to be wiped out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pardons {
    /// Those of these rules, a bounded number, the latest last.
    pub rules: Vec<RuleId>,
    /// How often all of them were.
    pub everyone: u32,
}

impl Pardons {
    /// One more.
    pub fn add(&mut self, rule: RuleId) {
        if self.rules.len() >= REMEMBERED_MAX {
            self.rules.remove(0);
        }
        self.rules.push(rule);
    }

    pub(crate) fn add_everyone(&mut self) {
        self.everyone = self.everyone.wrapping_add(1);
    }

    /// The rules that are new since `before`.
    pub fn rules_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = RuleId> + Clone + 'a {
        self.rules.iter().copied().filter(|rule| !before.rules.contains(rule))
    }
}
