//! The kernel layer: a reconciler for one nftables table of our own.
//!
//! What the table should hold ([`table::Desired`]) is compared with what it holds, and the difference ([`table::plan`], pure) is applied
//! whole or not at all: the table itself, the ports and whom it never drops by [`nft`], and whom it drops, of whom there may be a
//! hundred thousand, by messages to the kernel ([`elements`]), which is a transaction of its own. The kernel numbers every change of its packet
//! filter; as long as that number ([`netlink::generation`]) is the one after our own last change, the table is what we made it.
//! Otherwise it is read back and repaired. Nothing here waits for a request, and no request waits for this.
//!
//! The table is made when there is first somebody to drop: a machine that is never flooded has none.

mod claim;
mod counters;
mod elements;
mod ending;
mod left;
mod listing;
pub(super) mod netlink;
mod nft;
mod removal;
mod right;
pub(super) mod table;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Kernel as Settings, KernelUse};
use crate::host::clock::Clock;
use claim::Claim;
use counters::Tally;
use ending::Ending;
use left::Left;
use listing::Layout;
use nft::{Nft, NftError};
use table::{Changes, Desired, Installed, Place, plan, plan_of};

pub use counters::Dropped;
pub use removal::{Removed, remove_tables};

/// How long it waits after a failure; each further one doubles it, up to the most.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How often it is tried to open the layer.
const OPEN_INTERVAL: Duration = Duration::from_secs(10);

/// Elements that end within this time may be gone for that reason alone.
const ENDING: Duration = Duration::from_secs(5);

/// A table with more elements than this is read back no more often than that: reading 100,000 takes most of a second.
const READ_FREELY_MAX: usize = 1_000;
const READ_INTERVAL: Duration = Duration::from_secs(10);

/// How often the counters are read.
const COUNT_INTERVAL: Duration = Duration::from_secs(3);

/// Connections that are ended in one go; the rest in the next.
const DESTROYED_MAX: usize = 4096;

/// How the kernel layer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelState {
    /// It is not used: the settings say so, or something that it needs is missing.
    #[default]
    Off,
    /// It can be used, and nobody is to be dropped.
    Ready,
    /// The table is in force.
    Active,
    /// The table could not be changed, or not be taken away in a panic; it is tried again, and the proxy does what it can by itself
    /// meanwhile.
    Failing,
    /// The operator took everything out.
    Panicked,
}

/// What is shown of the kernel layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelStatus {
    /// How it is.
    pub state: KernelState,
    /// Why it is off or failing.
    pub reason: Option<String>,
    /// The table, of the family inet.
    pub table: Option<String>,
    /// Clients that are dropped at present.
    pub clients: u64,
    /// Networks that are dropped at present.
    pub networks: u64,
    /// What was dropped since the guard began, also by a table that was made anew meanwhile.
    pub dropped: Dropped,
    /// Transactions since the start.
    pub transactions: u64,
    /// How long the last took, in milliseconds.
    pub transaction_milliseconds: u64,
    /// How often the table was found changed by somebody else, and repaired.
    pub repairs: u64,
    /// Connections of banned clients that were ended.
    pub connections_ended: u64,
    /// Why those that others have open cannot be ended, if it was tried and failed.
    #[serde(default)]
    pub connections_stay: Option<String>,
    /// Transactions that failed.
    pub failures: u64,
}

/// The table and what is known of it.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The table to be claimed; none when the settings want none.
    wanted: Option<String>,
    /// The guard's state directory.
    state: PathBuf,
    hurry: Arc<AtomicBool>,
    /// Before this it is not tried again to open what could not be.
    open_at: Timestamp,
    nft: Option<(Nft, Claim)>,
    size: usize,
    /// How the table lists when it is as we made it; none until it was read once.
    layout: Option<Layout>,
    /// Whether a table of our name may be there.
    exists: bool,
    /// Whether it may be anything but what [`Self::installed`] says.
    is_unknown: bool,
    installed: Installed,
    tally: Tally,
    generation: Option<u32>,
    retry_at: Timestamp,
    /// Before this a large table is not read back, and the counters are not read.
    read_at: Timestamp,
    count_at: Timestamp,
    retry_pause: Duration,
    /// Banned clients whose connections are to be ended.
    ending: Ending,
    /// Whether the operator took everything out.
    is_out: bool,
    /// Whether it is noted that there may be a table.
    is_noted: bool,
    /// What the guard before this one has left.
    left: Left,
    status: KernelStatus,
}

impl Kernel {
    /// The layer as the settings want it, for the guard with this state directory; [`Self::open`] opens it. Whatever it runs is ended
    /// once `hurry` is set.
    pub(super) fn new(settings: &Settings, state: PathBuf, hurry: Arc<AtomicBool>) -> Self {
        let is_wanted = settings.usage != KernelUse::Never;
        let reason = (!is_wanted).then(|| "[kernel] use is \"never\"".to_owned());
        Self {
            wanted: is_wanted.then(|| settings.table.clone()),
            left: Left::of(&state),
            state,
            hurry,
            open_at: Timestamp::EPOCH,
            nft: None,
            size: settings.entries_max,
            layout: None,
            exists: false,
            is_unknown: true,
            installed: Installed::default(),
            tally: Tally::default(),
            generation: None,
            retry_at: Timestamp::EPOCH,
            read_at: Timestamp::EPOCH,
            count_at: Timestamp::EPOCH,
            retry_pause: RETRY_MIN,
            ending: Ending::default(),
            is_out: false,
            is_noted: false,
            status: KernelStatus { reason, ..KernelStatus::default() },
        }
    }

    /// Opens the layer if it is wanted, not open yet, and time to try again: what was missing may have come. Says whether it is open
    /// from now on.
    pub(super) fn open(&mut self, now: Timestamp) -> bool {
        if self.nft.is_some() || now < self.open_at {
            return false;
        }
        self.open_at = now + OPEN_INTERVAL;
        let is_open = self.wanted.clone().is_some_and(|table| self.try_open(&table));
        // Nobody would take anybody out of it.
        self.left.remove(&self.state, now);
        is_open
    }

    fn try_open(&mut self, table: &str) -> bool {
        match self.start(table) {
            Ok(()) => {
                if self.status.reason.take().is_some() {
                    tracing::info!("what the kernel layer needs is there now");
                }
                true
            }
            Err(reason) => {
                if self.status.reason.as_ref() != Some(&reason) {
                    tracing::info!("nothing is dropped in the kernel: {reason}");
                }
                self.status.reason = Some(reason);
                false
            }
        }
    }

    fn start(&mut self, table: &str) -> Result<(), String> {
        right::obtain().map_err(|missing| missing.to_string())?;
        let nft = Nft::find(Arc::clone(&self.hurry)).map_err(|error| error.to_string())?;
        let tables = netlink::tables().map_err(|error| format!("the kernel's nf_tables does not answer: {error}"))?;
        let folder = claim::folder(&self.state);
        let claim = Claim::take(table, &folder, &self.state)
            .map_err(|error| format!("failed to claim the table inet {table} in {}: {error}", folder.display()))?;
        if claim.table() != table {
            tracing::warn!(
                "another guard of this machine has the table inet {table}; this one takes inet {}",
                claim.table()
            );
        }
        // One that a killed guard left behind is replaced at the first chance.
        self.exists = tables.iter().any(|found| found == claim.table());
        self.left.take_over(claim.table());
        self.status.table = Some(claim.table().to_owned());
        self.status.state = if self.is_out { KernelState::Panicked } else { KernelState::Ready };
        self.nft = Some((nft, claim));
        Ok(())
    }

    /// Whether anybody can be dropped here.
    pub(super) const fn is_usable(&self) -> bool {
        self.nft.is_some() && !self.is_out
    }

    /// Whether something waits to be tried again.
    pub(super) const fn is_failing(&self) -> bool {
        matches!(self.status.state, KernelState::Failing)
    }

    fn may_read(&self, now: Timestamp) -> bool {
        let (clients, networks) = self.installed.counts();
        clients + networks <= READ_FREELY_MAX || now >= self.read_at
    }

    /// What is to be shown.
    pub(super) const fn status(&self) -> &KernelStatus {
        &self.status
    }

    /// Whether something is to be done although nothing that is desired has changed: leases end.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.installed.due(now).next().is_some()
    }

    /// Whether connections of banned clients are to be ended now.
    pub(super) fn is_ending(&self, now: Timestamp) -> bool {
        self.ending.is_due(now)
    }

    /// Makes the table what is desired, where nothing but the bans of `touched` can have changed since the last time. A failure
    /// is noted, and all is made anew after a while.
    pub(super) fn reconcile(&mut self, desired: Desired<'_>, mut touched: BTreeSet<IpNet>, now: Timestamp) {
        if !self.is_usable() || now < self.retry_at || (desired.bans.is_empty() && !self.exists) {
            return;
        }
        let Some((nft, claim)) = &self.nft else { return };
        if !self.is_noted {
            self.is_noted = true;
            if let Err(error) = left::note(&self.state, claim.table()) {
                tracing::warn!(%error, "failed to note in the state directory that the kernel has a table of the guard's");
            }
        }
        let before = netlink::generation().ok();
        let clock = Clock::start();
        let result = if self.is_unknown {
            // Also when only a part of it succeeds.
            self.exists = true;
            let changes = plan(desired, &Installed::default(), now);
            nft.rebuild(claim.table(), &changes, self.size).and_then(|()| {
                self.installed = Installed::default();
                if self.layout.is_none() {
                    // Before anybody is in it: reading a hundred thousand takes seconds.
                    self.layout = layout_after(nft, claim.table(), before, now);
                }
                let more = change_elements(claim.table(), &changes)?;
                Ok(Some((changes, 1 + more)))
            })
        } else {
            touched.extend(self.installed.due(now));
            let changes = plan_of(desired, &self.installed, touched.iter().copied(), now);
            if changes.is_empty() { Ok(None) } else { apply(nft, claim.table(), changes).map(Some) }
        };
        match result {
            Ok(Some((changes, transactions))) => {
                let is_new = |network: &&IpNet| match Place::of(**network).is_tree() {
                    true => !self.installed.contains(**network),
                    false => !changes.renewed.contains(*network),
                };
                for network in changes.added.keys().filter(is_new) {
                    // One that is no longer wanted was never put in.
                    desired.bans.get(*network).into_iter().for_each(|ban| self.ending.add(*network, ban.cause, now));
                }
                self.installed.apply(&changes, now);
                let after = netlink::generation().ok();
                // Somebody else's change in between would be hidden by ours, were only the last number kept.
                let is_ours =
                    before.zip(after).is_some_and(|(before, after)| before.wrapping_add(transactions) == after);
                let was_ours = self.is_unknown || before == self.generation;
                self.generation = after.filter(|_| is_ours && was_ours);
                (self.is_unknown, self.retry_pause) = (false, RETRY_MIN);
                self.status.state = KernelState::Active;
                self.status.reason = None;
                self.status.transactions += u64::from(transactions);
                self.status.transaction_milliseconds = clock.uptime().as_millis() as u64;
            }
            Ok(None) => {}
            Err(error) => self.fail(&error, now),
        }
        self.installed.forget_ended(touched, now);
        self.installed.settle(now);
        self.count();
    }

    fn fail(&mut self, error: &NftError, now: Timestamp) {
        // What it holds is no longer certain: the next attempt makes it anew.
        self.is_unknown = true;
        self.retry_at = now + self.retry_pause;
        self.retry_pause = (self.retry_pause * 2).min(RETRY_MAX);
        self.status.failures += 1;
        let reason = error.to_string();
        if self.status.reason.as_ref() != Some(&reason) {
            tracing::warn!("failed to change the kernel's table, which is tried again: {reason}");
        }
        self.status.reason = Some(reason);
        self.status.state = KernelState::Failing;
    }

    fn count(&mut self) {
        let (clients, networks) = self.installed.counts();
        (self.status.clients, self.status.networks) = (clients as u64, networks as u64);
    }

    /// Compares the table with what it was made to be, and repairs it: then it says after what.
    pub(super) fn verify(&mut self, desired: Desired<'_>, now: Timestamp) -> Option<String> {
        if !self.is_usable() || !self.exists || self.is_unknown {
            return None;
        }
        let mut repaired = None;
        let (nft, claim) = self.nft.as_ref()?;
        let generation = netlink::generation().ok();
        let is_untouched = generation.is_some() && generation == self.generation;
        if self.may_read(now) && !(is_untouched && self.layout.is_some()) {
            self.read_at = now + READ_INTERVAL;
            let found = match nft.read(claim.table(), now) {
                Ok(found) => found,
                Err(error) => {
                    self.fail(&error, now);
                    return None;
                }
            };
            let harm = match (found, &self.layout) {
                (None, _) => Some("was removed"),
                // Nothing to compare it with: it is made anew, and looked at right after.
                (Some(_), None) => {
                    self.is_unknown = true;
                    self.reconcile(desired, BTreeSet::new(), now);
                    return None;
                }
                (Some(found), Some(layout)) if found.layout != *layout => Some("was changed"),
                (Some(found), Some(_)) if found.is_foreign || !self.is_same(&found.installed, now) => {
                    Some("had elements put in or taken out")
                }
                (Some(_), Some(_)) => {
                    self.generation = generation;
                    None
                }
            };
            if let Some(harm) = harm {
                self.status.repairs += 1;
                let harm = format!("the table inet {} {harm} by another program", claim.table());
                tracing::warn!("{harm}; it is made anew");
                repaired = Some(harm);
                self.is_unknown = true;
                self.reconcile(desired, BTreeSet::new(), now);
            }
        }
        if now >= self.count_at
            && let Some((_, claim)) = &self.nft
            && let Ok(dropped) = counters::dropped(claim.table())
        {
            self.status.dropped = self.tally.read(dropped);
            self.count_at = now + COUNT_INTERVAL;
        }
        repaired
    }

    /// Whether the table holds what it was made to hold, for as long, apart from what has just ended or is about to.
    fn is_same(&self, found: &Installed, now: Timestamp) -> bool {
        let is_missing = self.installed.beyond(now + ENDING).any(|network| !found.contains(network));
        let is_added = found.beyond(now + ENDING).any(|network| !self.installed.contains(network));
        let is_same_time =
            || found.beyond(now + ENDING).all(|network| self.installed.is_as_long(network, found, ENDING));
        !is_missing
            && !is_added
            && is_same_time()
            && found.ports == self.installed.ports
            && found.never_ban == self.installed.never_ban
    }

    /// Ends the connections of clients that were banned since the last time, on the guarded ports.
    pub(super) fn end_connections(&mut self, desired: Desired<'_>, now: Timestamp) {
        if !self.is_ending(now) || !self.is_usable() {
            return;
        }
        let connections = match netlink::connections(None) {
            Ok(connections) => connections,
            Err(error) => {
                return self.cannot_end(format!("failed to list the connections of banned clients: {error}"));
            }
        };
        let (banned, are_all) = ending::of_banned(&connections, &self.ending.networks, desired, DESTROYED_MAX);
        // What is beyond that is looked for again next time.
        if are_all {
            self.ending.done(now);
        }
        for connection in banned {
            match netlink::destroy(connection) {
                Ok(()) => {
                    self.status.connections_ended += 1;
                    self.status.connections_stay = None;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return self.cannot_end(format!("failed to end a connection of a banned client: {error}"));
                }
            }
        }
    }

    /// Says once that connections stay open until their ends close them, and why.
    fn cannot_end(&mut self, why: String) {
        self.ending.networks.clear();
        if self.status.connections_stay.as_ref() != Some(&why) {
            tracing::warn!("{why}; what a banned client has open stays so until either end closes it");
        }
        self.status.connections_stay = Some(why);
    }

    /// Takes the table away.
    ///
    /// # Errors
    /// Why it is still there, for people.
    pub(super) fn clear(&mut self, now: Timestamp) -> Result<(), String> {
        self.installed = Installed::default();
        self.is_unknown = true;
        self.ending.networks.clear();
        self.count();
        self.left.remove(&self.state, now);
        let Some((nft, claim)) = self.nft.as_ref() else { return self.left.words(now).map_or(Ok(()), Err) };
        if let Err(error) = removal::remove(Some(nft), claim.table()) {
            self.exists = true;
            self.retry_at = now + RETRY_MIN;
            self.status.failures += 1;
            if self.status.reason.as_ref() != Some(&error) {
                tracing::error!("{error}; it is tried again until it is gone");
            }
            self.status.reason = Some(error.clone());
            self.status.state = KernelState::Failing;
            return Err(error);
        }
        left::forget(&self.state);
        (self.exists, self.generation, self.is_noted) = (false, None, false);
        self.status.reason = None;
        self.status.state = if self.is_out { KernelState::Panicked } else { KernelState::Ready };
        Ok(())
    }

    /// Takes the table away and makes none until told otherwise.
    ///
    /// # Errors
    /// Why it is still there, for people; [`Self::keep_out`] goes on trying.
    pub(super) fn panic(&mut self, is_on: bool, now: Timestamp) -> Result<(), String> {
        self.is_out = is_on;
        self.retry_at = now;
        if is_on {
            return self.clear(now);
        }
        if self.status.state == KernelState::Panicked {
            self.status.state = KernelState::Ready;
        }
        Ok(())
    }

    /// What a guard before has in force here, which this one cannot change.
    pub(super) fn left(&self, now: Timestamp) -> Option<String> {
        self.left.words(now)
    }

    /// Tries again what a panic could not do.
    pub(super) fn keep_out(&mut self, now: Timestamp) {
        if self.is_out && self.exists && now >= self.retry_at {
            // The status tells how it went.
            let _ = self.clear(now);
        }
    }
}

/// How the table lists when it is as we made it: read right after the one transaction that followed `before`, if nobody else has
/// changed anything meanwhile.
fn layout_after(nft: &Nft, table: &str, before: Option<u32>, now: Timestamp) -> Option<Layout> {
    let made = before?.wrapping_add(1);
    let found = nft.read(table, now).ok().flatten()?;
    (netlink::generation().ok()? == made).then_some(found.layout)
}

/// Makes the changes, and says in how many transactions: one, unless they are about who is dropped and about other things.
fn apply(nft: &Nft, table: &str, changes: Changes) -> Result<(Changes, u32), NftError> {
    let others = changes.are_of_settings();
    if others {
        nft.apply(table, &changes)?;
    }
    let elements = change_elements(table, &changes)?;
    Ok((changes, u32::from(others) + elements))
}

/// Changes who is dropped, and says in how many transactions: one or none.
fn change_elements(table: &str, changes: &Changes) -> Result<u32, NftError> {
    elements::change(table, changes).map(u32::from).map_err(NftError::Elements)
}
