//! Which number a rule of the configuration has: that of its name for good, so that a report of an earlier day names the right one.

use serde::{Deserialize, Serialize};

use super::super::{Action, RuleId};
use super::{CONFIGURED_FIRST, Met, OwnRule};

/// Names that are remembered; of more, those go that have been unused for longest.
const NAMES_MAX: usize = 64;

/// The numbers of names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleNames {
    /// Those that were taken last come last.
    names: Vec<NamedRule>,
    /// The next number; one that had another name is never given again.
    next: u32,
}

/// A name, its number, and what it stood for last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedRule {
    /// The number.
    pub id: RuleId,
    /// The name.
    pub name: String,
    /// The rule as rules are written.
    pub text: String,
    /// What it did.
    pub action: Action,
    /// The rule that it had before and what that had met, for when it comes back.
    #[serde(skip)]
    left: Option<(String, Action, Met)>,
}

impl NamedRule {
    /// Whether this is what the name stands for.
    pub fn is_of(&self, name: &str, text: &str, action: Action) -> bool {
        (self.name.as_str(), self.text.as_str(), self.action) == (name, text, action)
    }
}

impl RuleNames {
    /// The names, whether or not there is such a rule at present.
    pub fn iter(&self) -> impl Iterator<Item = &NamedRule> {
        self.names.iter()
    }

    /// The number of a rule's name, which is given one if it has none, and what the rule had met when it went, if it is as it was. None of
    /// those that are in use is let go of.
    pub(super) fn take(&mut self, rule: &OwnRule, in_use: &[RuleId]) -> (RuleId, Met) {
        let name = rule.reason.clone().unwrap_or_default();
        let known = self.names.iter().position(|named| named.name == name).map(|at| self.names.remove(at));
        if self.names.len() >= NAMES_MAX
            && let Some(oldest) = self.names.iter().position(|named| !in_use.contains(&named.id))
        {
            self.names.remove(oldest);
        }
        let (id, left) = match known {
            Some(named) => (named.id, named.left),
            None => (self.number(), None),
        };
        let is_back = |(text, action, _): &&(String, Action, Met)| *text == rule.text && *action == rule.action;
        let met = left.as_ref().filter(is_back).map(|(.., met)| *met).unwrap_or_default();
        self.names.push(NamedRule { id, name, text: rule.text.clone(), action: rule.action, left });
        (id, met)
    }

    /// Remembers what a rule has met that goes.
    pub(super) fn leave(&mut self, rule: &OwnRule, met: Met) {
        if let Some(named) = self.names.iter_mut().find(|named| named.id == rule.id) {
            named.left = Some((rule.text.clone(), rule.action, met));
        }
    }

    fn number(&mut self) -> RuleId {
        let id = self.next.max(CONFIGURED_FIRST);
        self.next = id + 1;
        RuleId(id)
    }
}
