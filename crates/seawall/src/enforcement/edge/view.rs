//! What is shown of the edge. No address is in it: entries are counted.

use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::{Changes, Installed, LeftOut, Pool, Target};
use crate::config::{self, EdgeUse};

/// What is left out and shown; the rest is counted.
const LEFT_OUT_MAX: usize = 8;

/// How the edge is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeState {
    /// No CDN is configured.
    #[default]
    Off,
    /// Nothing has been read yet.
    Starting,
    /// It is only said what would be done.
    Proposing,
    /// What is there is what is wanted.
    Active,
    /// It could not be read or changed; it is tried again, and the guard refuses by itself meanwhile.
    Failing,
    /// The operator took everything out.
    Panicked,
}

/// What is shown of the edge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeStatus {
    /// The provider; none when the edge is off.
    pub provider: Option<String>,
    /// How it is.
    pub state: EdgeState,
    /// Why it is failing.
    pub reason: Option<String>,
    /// When it is tried again, while it is failing.
    pub retry_at: Option<Timestamp>,
    /// Addresses and networks that are refused there.
    pub entries: u64,
    /// The most that there can be.
    pub entries_max: u64,
    /// Rules of ours that are there.
    pub rules: u64,
    /// The most that there can be, with those of others.
    pub rules_max: u64,
    /// Changes that would be made, were it on.
    pub proposed: u64,
    /// What is not there for want of room, or since the edge cannot say it; the first few.
    pub left_out: Vec<LeftOut>,
    /// How many more there are.
    pub left_out_more: u64,
    /// How often something of ours was found changed by somebody else, and repaired.
    pub repairs: u64,
    /// What that was, the last time.
    pub last_repair: Option<String>,
    /// Attempts that failed.
    pub failures: u64,
    /// How often it was changed.
    pub changes: u64,
    /// When it was last found to be, or made, what is wanted.
    pub in_line_at: Option<Timestamp>,
    /// Requests to the API.
    pub requests: u64,
}

impl EdgeStatus {
    pub(super) fn new(settings: &config::Edge) -> Self {
        Self {
            provider: Some(settings.place.provider().to_owned()),
            state: EdgeState::Starting,
            entries_max: settings.entries_max as u64,
            rules_max: settings.rules_max as u64,
            ..Self::default()
        }
    }

    pub(super) fn leave_out(&mut self, left_out: &[LeftOut]) {
        self.left_out = left_out.iter().take(LEFT_OUT_MAX).cloned().collect();
        self.left_out_more = left_out.len().saturating_sub(LEFT_OUT_MAX) as u64;
    }
}

/// What would be done, or was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// The provider.
    pub provider: String,
    /// Whether the guard does it by itself.
    pub is_on: bool,
    /// Addresses and networks that come into the list.
    pub entries_added: usize,
    /// Those that get another comment, as their bans last longer.
    pub entries_renewed: usize,
    /// Those that go: their bans are over, or somebody else put them there.
    pub entries_removed: usize,
    /// How many there were of who is refused.
    pub entries: usize,
    /// How many rules of the guard's there were.
    pub rules: usize,
    /// Rules that come.
    pub rules_added: Vec<RuleView>,
    /// Rules that become others.
    pub rules_changed: Vec<RuleView>,
    /// Rules that go.
    pub rules_removed: Vec<RuleView>,
    /// Rules of others, which are left alone.
    pub rules_foreign: usize,
    /// What is not there for want of room, or since the edge cannot say it.
    pub left_out: Vec<LeftOut>,
}

/// A rule at the edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// What it is called there.
    pub name: String,
    /// What it says.
    pub text: String,
}

impl PlanView {
    pub(super) fn new(settings: &config::Edge, changes: &Changes, target: &Target, installed: &Installed) -> Self {
        let rule = |name: &str, text: &str| RuleView { name: name.to_owned(), text: text.to_owned() };
        let is_renewed = |added: &&super::plan::Added| added.id.is_some();
        let renewed = changes.added.iter().filter(is_renewed).count();
        Self {
            provider: settings.place.provider().to_owned(),
            is_on: settings.usage == EdgeUse::On,
            entries_added: changes.added.len() - renewed,
            entries_renewed: renewed,
            entries_removed: changes.removed.len(),
            entries: installed.banned(),
            rules: installed.rules,
            rules_added: changes.statements_added.iter().map(|added| rule(&added.name, &added.text)).collect(),
            rules_changed: changes.statements_changed.iter().map(|(_, to)| rule(&to.name, &to.text)).collect(),
            rules_removed: changes
                .statements_removed
                .iter()
                .map(|held| rule(&held.statement.name, &held.statement.text))
                .collect(),
            rules_foreign: installed.foreign_rules,
            left_out: target.left_out.clone(),
        }
    }

    /// Everything of ours goes.
    pub(super) fn removed(settings: &config::Edge, installed: &Installed) -> Self {
        let changes = Changes {
            removed: installed.entries.clone(),
            statements_removed: installed.statements.clone(),
            ..Changes::default()
        };
        Self::new(settings, &changes, &Target::default(), installed)
    }

    /// Whether rules come, change or go.
    pub(super) const fn changes_rules(&self) -> bool {
        !(self.rules_added.is_empty() && self.rules_changed.is_empty() && self.rules_removed.is_empty())
    }

    /// That this was done, in words, with how many entries and rules there were before and are now: for the journal.
    pub fn done(&self, entries: u64, rules: u64) -> String {
        let mut parts = Vec::new();
        for (count, word) in
            [(self.entries_added, "added"), (self.entries_renewed, "renewed"), (self.entries_removed, "removed")]
        {
            if count > 0 {
                parts.push(format!("{word} {count} {}", if count == 1 { "entry" } else { "entries" }));
            }
        }
        for (rules, word) in
            [(&self.rules_added, "added"), (&self.rules_changed, "changed"), (&self.rules_removed, "removed")]
        {
            parts.extend(rules.iter().map(|rule| format!("{word} {}", rule.name)));
        }
        if parts.is_empty() {
            parts.push("nothing to do".to_owned());
        }
        let Self { provider, entries: entries_before, rules: rules_before, .. } = self;
        let parts = parts.join(", ");
        format!("{provider}: {parts}; entries {entries_before} -> {entries}, rules {rules_before} -> {rules}")
    }
}

/// What differs, in words, for the log and the status.
pub(super) fn in_words(changes: &Changes) -> String {
    let mut parts = Vec::new();
    let of = |pool| changes.removed.iter().filter(|entry| entry.pool == pool).count();
    let strange = of(Pool::Banned) + of(Pool::Spared);
    let missing = changes.added.iter().filter(|added| added.id.is_none()).count();
    for (count, what) in [
        (missing, "entries had been taken out"),
        (strange, "entries had been put in"),
        (changes.added.len() - missing, "comments had been changed"),
        (changes.statements_added.len(), "rules had been removed"),
        (changes.statements_changed.len(), "rules had been changed"),
        (changes.statements_removed.len(), "rules had been added"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(", ")
}
