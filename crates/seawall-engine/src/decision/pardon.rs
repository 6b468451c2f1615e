//! Rules that were taken back: what they did must end everywhere, also where they have left a mark on a client.

use super::RuleId;

/// Rules taken back that are remembered: by then every worker has heard of them.
const REMEMBERED_MAX: usize = 32;

/// Whose marks on clients are to be wiped out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pardons {
    /// Those of these rules, a bounded number, the latest last; each with how often any was taken back by then, since one that came back may
    /// be taken back again.
    pub rules: Vec<(RuleId, u32)>,
    /// How often all of them were.
    pub everyone: u32,
}

impl Pardons {
    /// One more.
    pub fn add(&mut self, rule: RuleId) {
        if self.rules.len() >= REMEMBERED_MAX {
            self.rules.remove(0);
        }
        let nth = self.rules.last().map_or(0, |(_, nth)| nth.wrapping_add(1));
        self.rules.push((rule, nth));
    }

    pub(crate) fn add_everyone(&mut self) {
        self.everyone = self.everyone.wrapping_add(1);
    }

    /// The rules that are new since `before`.
    pub fn rules_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = RuleId> + Clone + 'a {
        self.rules.iter().filter(|pardon| !before.rules.contains(pardon)).map(|(rule, _)| *rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_came_back_can_be_taken_back_again() {
        let mut pardons = Pardons::default();
        pardons.add(RuleId(1));
        let before = pardons.clone();
        assert_eq!(pardons.rules_since(&before).count(), 0);
        pardons.add(RuleId(1));
        assert_eq!(pardons.rules_since(&before).collect::<Vec<_>>(), [RuleId(1)]);
    }
}
