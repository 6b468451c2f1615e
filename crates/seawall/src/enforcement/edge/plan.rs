//! What the edge should hold, what it holds, and the changes between the two. Pure: nothing here asks an API.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;
use seawall_engine::decision::RuleId;
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

/// A comment that says another end than this is written anew: whoever reads it after the guard was killed learns the hour.
const SLACK_SECONDS: u64 = 3_600;

/// What a comment says of an entry: until when it is meant to stay, and the rule that its client went on against. Nothing else
/// about anybody leaves this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// Until when.
    pub(super) until: Option<Timestamp>,
    /// The rule.
    pub(super) rule: Option<RuleId>,
}

impl Note {
    /// What a comment says that we have written; nothing of any other.
    pub(super) fn parse(comment: &str) -> Self {
        let mut words = comment.split(' ');
        let mut note = Self::default();
        while let (Some(word), Some(value)) = (words.next(), words.next()) {
            match word {
                "until" => {
                    let seconds = value.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
                    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
                    note.until = seconds.map(Timestamp::from_seconds);
                }
                "rule" => note.rule = value.strip_prefix('R').and_then(|number| number.parse().ok()).map(RuleId),
                _ => return Self::default(),
            }
        }
        note
    }

    /// Whether a comment that says `other` need not be written anew.
    fn is_near(self, other: Self) -> bool {
        let seconds = |note: Self| note.until.map(Timestamp::as_seconds);
        match (seconds(self), seconds(other)) {
            (Some(here), Some(there)) => here.abs_diff(there) <= SLACK_SECONDS,
            (here, there) => here == there,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(until) = self.until {
            let seconds = i64::try_from(until.as_seconds()).unwrap_or(i64::MAX);
            write!(formatter, "until {}", jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX))?;
        }
        if let Some(rule) = self.rule {
            let space = if self.until.is_some() { " " } else { "" };
            write!(formatter, "{space}rule {rule}")?;
        }
        Ok(())
    }
}

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pool {
    /// Who is never refused, where that is a list of its own. Before the others, so that nobody on it is refused meanwhile.
    Spared,
    /// Who is refused.
    Banned,
}

/// A rule as the provider writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// What it is called.
    pub(super) name: String,
    /// What it says.
    pub(super) text: String,
}

/// What the edge should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) entries: BTreeMap<(Pool, IpNet), Note>,
    pub(super) statements: Vec<Statement>,
    /// What there is no room for, or what the edge cannot say.
    pub(super) left_out: Vec<LeftOut>,
}

/// What is not at the edge, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// A rule, or how many bans.
    pub what: String,
    /// Why.
    pub why: String,
}

/// An entry of a list as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pool: Pool,
    pub(super) id: String,
    /// None where it is something that we never put there.
    pub(super) network: Option<IpNet>,
    pub(super) note: Note,
}

/// A rule of ours as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) statement: Statement,
    /// Whether it does what we have it do: it refuses, and is switched on.
    pub(super) is_in_force: bool,
}

/// What the edge holds of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Installed {
    pub(super) entries: Vec<Entry>,
    pub(super) statements: Vec<Held>,
    /// How many rules of the guard these say.
    pub(super) rules: usize,
    /// Rules of others.
    pub(super) foreign_rules: usize,
}

impl Installed {
    /// Entries of who is refused.
    pub(super) fn banned(&self) -> usize {
        self.entries.iter().filter(|entry| entry.pool == Pool::Banned).count()
    }
}

/// An entry to be put in, or written anew where it has an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) pool: Pool,
    pub(super) id: Option<String>,
    pub(super) network: IpNet,
    pub(super) note: Note,
}

/// The changes that make the edge what it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Entries that go.
    pub(super) removed: Vec<Entry>,
    /// Entries that come, or get another comment.
    pub(super) added: Vec<Added>,
    /// Rules that go.
    pub(super) statements_removed: Vec<Held>,
    /// Rules that become another, by id.
    pub(super) statements_changed: Vec<(String, Statement)>,
    /// Rules that come, in this order.
    pub(super) statements_added: Vec<Statement>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.removed.len()
            + self.added.len()
            + self.statements_removed.len()
            + self.statements_changed.len()
            + self.statements_added.len()
    }
}

/// The changes that make `installed` what the target says. What is there twice is there once afterwards.
pub(super) fn plan(target: &Target, installed: &Installed) -> Changes {
    let mut changes = Changes::default();
    let (mut seen, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for entry in &installed.entries {
        // A page may repeat what the one before ended with, when others change the list meanwhile.
        if !ids.insert((entry.pool, &entry.id)) {
            continue;
        }
        let key = entry.network.map(|network| (entry.pool, network));
        match key.and_then(|key| Some((key, target.entries.get(&key)?))) {
            Some((key, note)) if seen.insert(key) => {
                if !note.is_near(entry.note) {
                    let (pool, network) = key;
                    changes.added.push(Added { pool, id: Some(entry.id.clone()), network, note: *note });
                }
            }
            Some(_) | None => changes.removed.push(entry.clone()),
        }
    }
    let missing = target.entries.iter().filter(|(key, _)| !seen.contains(*key));
    changes.added.extend(missing.map(|((pool, network), note)| Added {
        pool: *pool,
        id: None,
        network: *network,
        note: *note,
    }));
    let mut found = BTreeSet::new();
    for held in &installed.statements {
        let wanted = target.statements.iter().find(|statement| statement.name == held.statement.name);
        match wanted {
            Some(wanted) if found.insert(&wanted.name) => {
                if *wanted != held.statement || !held.is_in_force {
                    changes.statements_changed.push((held.id.clone(), wanted.clone()));
                }
            }
            Some(_) | None => changes.statements_removed.push(held.clone()),
        }
    }
    let missing = target.statements.iter().filter(|statement| !found.contains(&statement.name));
    changes.statements_added.extend(missing.cloned());
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn until(seconds: u64) -> Note {
        Note { until: Some(Timestamp::from_seconds(seconds)), rule: None }
    }

    fn entry(id: &str, text: &str, note: Note) -> Entry {
        Entry { pool: Pool::Banned, id: id.to_owned(), network: text.parse().ok(), note }
    }

    fn held(id: &str, name: &str, text: &str) -> Held {
        let statement = Statement { name: name.to_owned(), text: text.to_owned() };
        Held { id: id.to_owned(), statement, is_in_force: true }
    }

    fn target(entries: &[(&str, Note)], statements: &[(&str, &str)]) -> Target {
        let statement = |(name, text): &(&str, &str)| Statement { name: (*name).to_owned(), text: (*text).to_owned() };
        Target {
            entries: entries.iter().map(|(text, note)| ((Pool::Banned, network(text)), *note)).collect(),
            statements: statements.iter().map(statement).collect(),
            left_out: Vec::new(),
        }
    }

    #[test]
    fn a_comment_reads_back_and_says_nothing_of_others() {
        let note = Note { until: Some(Timestamp::from_seconds(1_764_187_200)), rule: Some(RuleId(10_001)) };
        assert_eq!(note.to_string(), "until 2025-11-26T20:00:00Z rule R10001");
        for note in [note, until(1_764_187_200), Note { until: None, ..note }, Note::default()] {
            assert_eq!(Note::parse(&note.to_string()), note);
        }
        for comment in ["", "until then", "put here by hand", "until 2025-11-26T20:00:00Z of course", "rule 7"] {
            assert_eq!(Note::parse(comment).rule, None, "{comment}");
        }
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        let target = target(&[("192.0.2.7/32", until(9_000))], &[("seawall: bans", "a")]);
        let installed = Installed {
            entries: vec![entry("1", "192.0.2.7/32", until(9_000 + SLACK_SECONDS))],
            statements: vec![held("7", "seawall: bans", "a")],
            rules: 0,
            foreign_rules: 3,
        };
        assert!(plan(&target, &installed).is_empty(), "{:?}", plan(&target, &installed));
    }

    #[test]
    fn what_is_missing_comes_and_what_is_over_goes() {
        let target = target(
            &[("192.0.2.7/32", until(90_000)), ("192.0.2.8/32", until(9_000))],
            &[("seawall: bans", "b"), ("seawall: R1", "c")],
        );
        let installed = Installed {
            entries: vec![
                entry("1", "192.0.2.7/32", until(9_000)),
                entry("2", "192.0.2.9/32", until(9_000)),
                entry("3", "no network", Note::default()),
            ],
            statements: vec![held("7", "seawall: bans", "a"), held("8", "seawall: R2", "d")],
            ..Installed::default()
        };
        let changes = plan(&target, &installed);
        let added: Vec<_> = changes.added.iter().map(|added| (added.id.as_deref(), added.network)).collect();
        assert_eq!(added, [(Some("1"), network("192.0.2.7/32")), (None, network("192.0.2.8/32"))]);
        let removed: Vec<&str> = changes.removed.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(removed, ["2", "3"]);
        assert_eq!(changes.statements_changed, [("7".to_owned(), target.statements[0].clone())]);
        assert_eq!(changes.statements_added, target.statements[1..]);
        assert_eq!(changes.statements_removed[0].id, "8");
        assert_eq!(changes.len(), 7);
    }

    #[test]
    fn what_is_there_twice_is_there_once_afterwards() {
        let target = target(&[("192.0.2.7/32", until(9_000))], &[("seawall: bans", "a")]);
        let twice = entry("1", "192.0.2.7/32", until(9_000));
        let installed = Installed {
            entries: vec![twice.clone(), twice, entry("2", "192.0.2.7/32", until(9_000))],
            statements: vec![held("7", "seawall: bans", "a"), held("8", "seawall: bans", "a")],
            ..Installed::default()
        };
        let changes = plan(&target, &installed);
        assert_eq!(changes.removed.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["2"]);
        assert_eq!(changes.statements_removed.iter().map(|held| held.id.as_str()).collect::<Vec<_>>(), ["8"]);
        assert_eq!(changes.len(), 2);
    }

    #[test]
    fn a_rule_that_was_switched_off_is_switched_on() {
        let target = target(&[], &[("seawall: bans", "a")]);
        let off = Held { is_in_force: false, ..held("7", "seawall: bans", "a") };
        let changes = plan(&target, &Installed { statements: vec![off], ..Installed::default() });
        assert_eq!(changes.statements_changed, [("7".to_owned(), target.statements[0].clone())]);
    }
}
