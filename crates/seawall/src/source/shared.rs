//! What the threads that see traffic share with the daemon.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use seawall_engine::address::AddressSet;
use seawall_engine::decision::RuleId;
use seawall_engine::gate::{Allowances, BanSet, Gate, RuleCount, RuleSet};
use seawall_engine::silence::Peers;

use super::proxy::Health;
use super::proxy::settings::Settings;
use crate::host::clock::Clock;

/// Clients that the guard remembers, over all threads: 4 MiB.
pub const CLIENT_ENTRIES: usize = 65_536;

/// What all threads that see traffic share; read by many, written by the daemon alone.
pub struct Shared {
    /// The configuration in use.
    pub settings: ArcSwap<Settings>,
    /// The rules in use.
    pub rules: ArcSwap<RuleSet>,
    /// Who is banned, whatever they ask for.
    pub bans: ArcSwap<BanSet>,
    /// What clients have left of their limits.
    pub allowances: Arc<Allowances>,
    /// Whom nothing is ever done to: what the configuration says, and what the guard finds out by itself.
    pub never_ban: ArcSwap<AddressSet>,
    /// Whether clients that go on after refusals are to be handed down to the kernel.
    pub takes_clients: AtomicBool,
    /// The same of those that a trusted proxy names: whether they are to be handed down to the edge.
    pub takes_proxied: AtomicBool,
    /// Raised with each change of any of these, so that a thread sees a change by one load.
    pub generation: AtomicU64,
    /// What rules have done since the detector last asked, and how many requests came from clients of good standing.
    pub counts: Mutex<Counts>,
    /// Whether the sites' upstreams answer.
    pub health: Health,
    /// The time.
    pub clock: Clock,
    /// By how much what is seen comes late, in microseconds: detection is that far behind the clock. 0 in line.
    pub delay: AtomicU64,
}

/// What rules have done since the detector last asked.
#[derive(Debug, Default)]
pub struct Counts {
    /// For each rule.
    pub rules: Vec<(RuleId, RuleCount)>,
    /// Requests from clients of good standing, whatever they asked.
    pub known: u64,
    /// From whom requests came, in line.
    pub peers: Peers,
}

impl Shared {
    /// Settings in use, without rules or bans. `seed` is the key of tables that outsiders' values are hashed into.
    pub fn new(settings: Settings, never_ban: AddressSet, clock: Clock, seed: u64) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            rules: ArcSwap::default(),
            bans: ArcSwap::default(),
            allowances: Arc::new(Allowances::new(seed)),
            never_ban: ArcSwap::from_pointee(never_ban),
            takes_clients: AtomicBool::new(false),
            takes_proxied: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            counts: Mutex::default(),
            health: Health::default(),
            clock,
            delay: AtomicU64::new(0),
        }
    }

    /// The counts, even after another thread panicked with them: they are then off by little, which harms nobody.
    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the rules of a gate have done.
    pub fn take_counts(&self, gate: &mut Gate) {
        let mut counts = self.counts();
        let known = gate.take_counts(|rule, count| counts.rules.push((rule, count)));
        counts.known += known;
    }
}
