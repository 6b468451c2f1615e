//! Lists with a name, which the caller knows and expressions ask for: `host in sites`.

use std::collections::HashSet;

/// Lists by name.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    lists: Vec<(Box<str>, List)>,
}

impl Lists {
    /// Adds a list, or replaces the one of the same name. A name is a word that needs no quotes.
    pub fn insert(&mut self, name: &str, list: List) {
        self.lists.retain(|(other, _)| **other != *name);
        self.lists.push((name.into(), list));
    }

    /// Whether there is a list of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The list of this name.
    pub(super) fn get(&self, name: &str) -> Option<&List> {
        self.lists.iter().find(|(other, _)| **other == *name).map(|(_, list)| list)
    }

    /// The names, in the order in which the lists were added.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.lists.iter().map(|(name, _)| &**name)
    }
}

/// Values that are asked for together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Values as they are compared.
    values: HashSet<Box<[u8]>, foldhash::fast::FixedState>,
    /// Ends of values, as `.example.org` for all hosts below it.
    endings: Vec<Box<[u8]>>,
    /// Whether every value is in it, and having none.
    is_everything: bool,
}

impl List {
    /// Adds a value.
    pub fn insert(&mut self, value: impl Into<Box<[u8]>>) {
        self.values.insert(value.into());
    }

    /// Adds every value that ends with `ending`, as `.example.org`.
    pub fn insert_ending(&mut self, ending: impl Into<Box<[u8]>>) {
        self.endings.push(ending.into());
    }

    /// Adds every value, and having none.
    pub fn insert_everything(&mut self) {
        self.is_everything = true;
    }

    /// Whether `value` is in it.
    pub fn contains(&self, value: &[u8]) -> bool {
        self.is_everything || self.values.contains(value) || self.endings.iter().any(|ending| value.ends_with(ending))
    }

    /// The values that are in it by themselves, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.values.iter().map(|value| &**value)
    }

    /// The ends of values that are in it.
    pub(super) fn endings(&self) -> impl Iterator<Item = &[u8]> {
        self.endings.iter().map(|ending| &**ending)
    }

    /// Whether every value is in it, and none at all.
    pub(super) fn is_everything(&self) -> bool {
        self.is_everything
    }

    /// Whether it also holds values that it does not name.
    pub(super) fn is_open(&self) -> bool {
        self.is_everything || !self.endings.is_empty()
    }
}
