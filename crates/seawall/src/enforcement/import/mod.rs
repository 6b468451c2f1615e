//! Bans that other programs have written down: ipset's save files ([`ipset`]) and plain lists ([`list`]), fail2ban's database
//! ([`fail2ban`]) and its log, for the report.
//!
//! What is read here comes from files that anybody may have written: every one has a largest size, and what cannot be read is
//! counted and named, never guessed.

pub mod fail2ban;
pub mod ipset;
pub mod list;

use std::collections::BTreeMap;

use ipnet::IpNet;

/// Networks of one file at most.
pub const NETWORKS_MAX: usize = 1_000_000;

/// A network to ban, and for how many seconds it has still to go where the file says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Whom.
    pub network: IpNet,
    /// For how long, in seconds; none where the file does not say.
    pub seconds: Option<u64>,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// Whom to ban.
    pub networks: Vec<Imported>,
    /// Entries that have ended already.
    pub ended: usize,
    /// Bans of fail2ban's jails that are not enabled, while others are.
    pub disabled: usize,
    /// How many bans are of which of fail2ban's jails.
    pub jails: BTreeMap<String, usize>,
    /// Exceptions within sets. What of the networks is in them is left out.
    pub exempt: usize,
    /// Lines that are none that can be imported: their number and what was found, for the first few.
    pub unreadable: Vec<(usize, String)>,
    /// How many of those there are.
    pub unreadable_count: usize,
}

/// Unreadable lines that are quoted.
const QUOTED_MAX: usize = 5;

impl Import {
    fn refuse(&mut self, line: usize, why: String) {
        self.unreadable_count += 1;
        if self.unreadable.len() < QUOTED_MAX {
            self.unreadable.push((line, why));
        }
    }
}
