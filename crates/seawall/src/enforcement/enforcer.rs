//! The thread that enforces: takes in whom the workers hand down and what the operator says, and brings the gate and the kernel
//! into line with it, in batches. Whom the workers hand down is in [`handed_down`], what operators say in [`operator`] and [`unban`],
//! what the record is told in [`recorded`].

mod handed_down;
mod operator;
mod recorded;
mod unban;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use seawall_engine::address::AddressSet;
use seawall_engine::decision::{Ban, Bans, Innocent, Pardons, check_ban};
use seawall_engine::gate::BanSet;
use seawall_engine::units::Timestamp;

use super::edge::WantedBans;
use super::kernel::Kernel;
use super::kernel::table::Desired;
use super::limits::Offences;
use super::never::{self, Configured, NeverBan};
use super::orders::{EnforcementStatus, Order};
use super::recurring::Recurring;
use super::telling::{Telling, Told};
use super::unconfirmed::Unconfirmed;
use super::undropped::Undropped;
use super::{Edge, HandDown};
use crate::config;
use crate::host::clock::Step;
use crate::privacy::KeyStore;
use crate::record::Record;
use crate::source::shared::Shared;
use recorded::EndedOfLists;

/// How often the queues are emptied. A worker's holds what it can hand down in as long.
const TAKE_INTERVAL: Duration = Duration::from_millis(50);

/// How often the end tries to take the table away.
const REMOVAL_TRIES: usize = 10;

/// Changes that come within this time go into one transaction.
const BATCH_INTERVAL: Duration = Duration::from_millis(200);

/// With more bans than this the gate is told of changes no more often than the kernel: its look-up form is made anew each time.
const PUBLISH_FREELY_MAX: usize = 1_000;

/// How often the table is compared with what it should be.
const VERIFY_INTERVAL: Duration = Duration::from_secs(1);

/// How often bans that have ended are taken out. They end by themselves in the gate and in the kernel.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);

/// How often the never-ban list is made anew.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// How often what visitors were served is halved.
const FADE_INTERVAL: Duration = Duration::from_secs(3_600);

/// How often the edge is told of changes.
const EDGE_INTERVAL: Duration = Duration::from_secs(2);

/// What the thread needs.
pub struct Parts {
    /// What the workers share; bans and the never-ban list are published here.
    pub shared: Arc<Shared>,
    /// From each worker.
    pub queues: Vec<rtrb::Consumer<HandDown>>,
    /// To each worker, in the same order.
    pub told: Vec<rtrb::Producer<Told>>,
    /// What visitors were served, noted by the detecting thread.
    pub innocent: Arc<Mutex<Innocent>>,
    /// The settings.
    pub kernel: config::Kernel,
    /// The state directory.
    pub state: PathBuf,
    /// The CDN in front, and its settings.
    pub edge: Option<(Edge, config::Edge)>,
    /// Who is never banned, by the settings.
    pub never_ban: Configured,
    /// Whether the guard is beside another server: there is no proxy that could hold a ban then.
    pub beside: bool,
    /// The ports that the guard listens on.
    pub ports: Vec<u16>,
    /// The record, and who was banned when the guard last ran.
    pub record: Record,
    /// Bans from before.
    pub restored: Vec<Ban>,
    /// The keys that pseudonyms are made with; none when they cannot be had.
    pub keys: Option<KeyStore>,
    /// Told with each change of the never-ban list.
    pub never_ban_changed: Box<dyn Fn(&AddressSet) + Send>,
    /// Whether the operator had taken everything out.
    pub panicked: bool,
    /// Set while a panic or the end waits: whatever is under way is ended for it.
    pub hurry: Arc<AtomicBool>,
    /// Where the state is published.
    pub status: Arc<ArcSwap<EnforcementStatus>>,
}

/// The thread's state.
pub struct Enforcer {
    parts: Parts,
    bans: Bans,
    /// Clients that went on after refusals and were named by a proxy: for the edge alone.
    proxied: Bans,
    never_ban: NeverBan,
    kernel: Kernel,
    telling: Telling,
    /// Bans that end unless they are confirmed.
    unconfirmed: Unconfirmed,
    pardons: Pardons,
    ports: BTreeSet<u16>,
    /// Ports that the settings name and sshd listens on.
    left_to_ssh: BTreeSet<u16>,
    /// The never-ban list as the kernel has it.
    spared: BTreeSet<IpNet>,
    /// What the kernel is to hold while everything is out.
    nobody: Bans,
    overflowed: u64,
    /// Before this no room is made: where nothing can be merged, trying for each ban would be all that is done.
    room_at: Timestamp,
    panicked: bool,
    /// Networks whose bans have changed, of which the record knows and the kernel does not yet.
    touched: BTreeSet<IpNet>,
    /// Whether the kernel may differ from the ports and the never-ban list, and whether the gate has not been told that everything
    /// is out, or in force again. Of bans that change both hear from the bans.
    is_kernel_stale: bool,
    is_gate_stale: bool,
    /// Who has gone beyond limits, still to be said.
    offences: Offences,
    recurring: Recurring,
    undropped: Undropped,
    ended_of_lists: EndedOfLists,
    /// Whether the edge has not been told of the last changes.
    is_edge_stale: bool,
}

impl Enforcer {
    /// Opens the kernel layer and takes up the bans of before.
    pub fn new(mut parts: Parts) -> Self {
        let kernel = Kernel::new(&parts.kernel, parts.state.clone(), Arc::clone(&parts.hurry));
        let mut enforcer = Self {
            bans: Bans::new(parts.kernel.entries_max),
            proxied: Bans::new(parts.edge.as_ref().map_or(0, |(_, settings)| settings.entries_max)),
            never_ban: NeverBan::new(parts.never_ban.clone()),
            kernel,
            telling: Telling::new(std::mem::take(&mut parts.told)),
            unconfirmed: Unconfirmed::default(),
            pardons: Pardons::default(),
            spared: BTreeSet::new(),
            nobody: Bans::new(0),
            ports: BTreeSet::new(),
            left_to_ssh: BTreeSet::new(),
            overflowed: 0,
            room_at: Timestamp::EPOCH,
            panicked: parts.panicked,
            touched: BTreeSet::new(),
            is_kernel_stale: true,
            is_gate_stale: true,
            offences: Offences::default(),
            recurring: Recurring::default(),
            undropped: Undropped::default(),
            ended_of_lists: EndedOfLists::default(),
            is_edge_stale: true,
            parts: {
                parts.restored.sort_unstable_by_key(|ban| std::cmp::Reverse(ban.expires));
                parts
            },
        };
        let now = enforcer.parts.shared.clock.now();
        enforcer.refresh_ports();
        enforcer.kernel.open(now);
        enforcer.refresh_never_ban(now);
        enforcer.restore(now);
        if enforcer.panicked {
            // It says so, and it is tried again.
            let _ = enforcer.kernel.panic(true, now);
        }
        enforcer.publish_gate();
        enforcer
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// What it had to leave in force, for people.
    pub fn run(mut self, orders: &Receiver<Order>) -> Result<(), String> {
        let start = self.parts.shared.clock.now();
        let (mut batch_at, mut verify_at, mut refresh_at, mut expire_at) = (start, start, start, start);
        let (mut fade_at, mut edge_at) = (start + FADE_INTERVAL, start);
        loop {
            let order = orders.recv_timeout(TAKE_INTERVAL);
            let now = self.parts.shared.clock.now();
            self.take_handed_down(now);
            match order {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(order) => self.obey(order, now),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.telling.go_on(now);
            self.undo_unconfirmed(now);
            if self.kernel.open(now) {
                self.is_kernel_stale = true;
            }
            self.kernel.keep_out(now);
            let changed = self.note_changed();
            if now >= expire_at {
                expire_at = now + EXPIRE_INTERVAL;
                // The gate sees for itself that a ban has ended.
                let ended = self.bans.expire(now);
                self.journal_ended(&ended, now);
                self.offences.tell(&self.parts.record);
                self.recurring.tell(&self.parts.record, now);
                self.proxied.expire(now);
            }
            if now >= refresh_at {
                refresh_at = now + REFRESH_INTERVAL;
                self.refresh_ports();
                self.refresh_never_ban(now);
            }
            if now >= fade_at {
                fade_at = now + FADE_INTERVAL;
                self.parts.innocent.lock().unwrap_or_else(PoisonError::into_inner).fade();
            }
            let mut has_changed = false;
            if now >= batch_at || self.bans.len() <= PUBLISH_FREELY_MAX {
                has_changed = self.publish_gate();
            }
            // After a while without any the first change goes at once, and what comes next is collected.
            if now >= batch_at && (self.bring_into_line(now) || has_changed) {
                batch_at = now + BATCH_INTERVAL;
            }
            if now >= edge_at {
                edge_at = now + EDGE_INTERVAL;
                self.tell_edge();
            }
            if now >= verify_at {
                verify_at = now + VERIFY_INTERVAL;
                let (desired, kernel) = self.desired();
                if let Some(harm) = kernel.verify(desired, now) {
                    self.recurring.repaired(harm);
                }
            }
            self.publish_status(now);
            // Whoever is to be dropped is dropped before it is written down.
            self.tell_record(&changed, now);
        }
        self.parts.hurry.store(false, Ordering::Release);
        // Nobody can confirm it any more.
        for undone in self.unconfirmed.undo_all() {
            self.undo(undone, self.parts.shared.clock.now());
        }
        let changed = self.note_changed();
        self.tell_record(&changed, self.parts.shared.clock.now());
        self.journal_ended_of_lists();
        self.offences.tell(&self.parts.record);
        self.recurring.tell_all(&self.parts.record);
        if self.parts.kernel.keep && !self.panicked {
            self.bring_into_line(self.parts.shared.clock.now());
            tracing::info!("the kernel's table stays, as [kernel] keep says; its entries end within ten minutes");
            return Ok(());
        }
        self.leave_nothing()
    }

    /// Takes the table away, for which the end waits a little.
    fn leave_nothing(&mut self) -> Result<(), String> {
        let mut left = self.kernel.clear(self.parts.shared.clock.now());
        for _ in 1..REMOVAL_TRIES {
            if left.is_ok() {
                break;
            }
            std::thread::sleep(TAKE_INTERVAL);
            left = self.kernel.clear(self.parts.shared.clock.now());
        }
        left
    }

    /// Makes the kernel what is decided, and says whether anything was to be done. Costs nothing when nothing has changed.
    fn bring_into_line(&mut self, now: Timestamp) -> bool {
        let touched = std::mem::take(&mut self.touched);
        self.is_edge_stale |= !touched.is_empty();
        // A failure is tried again when its time has come.
        let is_asked = self.is_kernel_stale || self.kernel.is_failing() || self.kernel.is_due(now);
        if touched.is_empty() && !is_asked {
            if self.kernel.is_ending(now) {
                let (desired, kernel) = self.desired();
                kernel.end_connections(desired, now);
                return true;
            }
            return false;
        }
        self.is_kernel_stale = false;
        let (desired, kernel) = self.desired();
        kernel.reconcile(desired, touched, now);
        kernel.end_connections(desired, now);
        true
    }

    /// Tells the edge who is to be refused, when that has changed.
    fn tell_edge(&mut self) {
        self.is_edge_stale |= !self.proxied.take_changed().is_empty();
        let Some((edge, _)) = self.parts.edge.as_ref().filter(|_| self.is_edge_stale) else { return };
        self.is_edge_stale = false;
        let bans = self.bans.iter().chain(self.proxied.iter()).cloned().collect();
        edge.set_bans(WantedBans { bans, spared: self.spared.iter().copied().collect() });
    }

    /// Looks again on which ports the banned are dropped: sshd may have moved onto one of them.
    fn refresh_ports(&mut self) {
        let (named, ssh) = (&self.parts.kernel.ports, never::ssh_ports(Path::new("/")));
        let left: BTreeSet<u16> = named.iter().copied().filter(|port| ssh.contains(port)).collect();
        for port in left.difference(&self.left_to_ssh) {
            tracing::warn!(
                "[kernel] ports: sshd listens on {port}, which is never closed to anybody; it is left out. Take it out of the \
                 setting, or have sshd listen elsewhere"
            );
        }
        self.left_to_ssh = left;
        let ports = guarded(&self.parts.ports, named, &ssh);
        if ports != self.ports {
            self.ports = ports;
            self.is_kernel_stale = true;
        }
    }

    fn refresh_never_ban(&mut self, now: Timestamp) {
        if !self.never_ban.refresh(now) {
            return;
        }
        let set = self.never_ban.set();
        self.spared = set.networks().collect();
        self.parts.shared.never_ban.store(Arc::new(set.clone()));
        self.parts.shared.generation.fetch_add(1, Ordering::Release);
        (self.parts.never_ban_changed)(set);
        // Who has just become protected is free, within the second.
        let every = self.bans.iter().chain(self.proxied.iter()).map(|ban| ban.network);
        let protected: BTreeSet<IpNet> = every.filter(|network| check_ban(*network, set).is_err()).collect();
        for network in &protected {
            self.bans.remove(*network);
            self.proxied.remove(*network);
            // Nobody can confirm what is over.
            self.unconfirmed.forget(*network);
        }
        self.journal_protected(&protected);
        (self.is_kernel_stale, self.is_edge_stale) = (true, true);
    }

    fn is_edge_on(&self) -> bool {
        self.parts.edge.as_ref().is_some_and(|(_, settings)| settings.usage == config::EdgeUse::On)
    }

    /// The layers that hold a ban or are about to, and why the kernel is not one of them where it is to be.
    fn layers(&self) -> (Vec<String>, Option<String>) {
        if self.panicked {
            return (Vec::new(), None);
        }
        let (is_usable, is_failing) = (self.kernel.is_usable(), self.kernel.is_failing());
        let mut layers = Vec::new();
        layers.extend((!self.parts.beside).then(|| "proxy".to_owned()));
        layers.extend((is_usable && !is_failing).then(|| "kernel".to_owned()));
        // What the kernel lacks, the guard has said when it began, and the proxy does it instead; beside a server nobody does.
        let is_missed = self.parts.beside && !is_usable && self.parts.kernel.usage != config::KernelUse::Never;
        (layers, self.kernel.status().reason.clone().filter(|_| is_failing || is_missed))
    }

    /// What the kernel is to hold, and the kernel.
    fn desired(&mut self) -> (Desired<'_>, &mut Kernel) {
        let bans = if self.panicked { &self.nobody } else { &self.bans };
        (Desired { ports: &self.ports, never_ban: &self.spared, bans }, &mut self.kernel)
    }

    /// Hands the bans to the workers when they have changed. Clients that a rule's refusals sent down are not among them: the
    /// gate has its own say about those.
    fn publish_gate(&mut self) -> bool {
        let is_changed = self.bans.take_gate_changed();
        if !std::mem::take(&mut self.is_gate_stale) && !is_changed {
            return false;
        }
        let is_for_gate = |ban: &&Ban| ban.cause.is_for_gate() && !self.panicked;
        self.parts.shared.bans.store(Arc::new(BanSet::new(self.bans.iter().filter(is_for_gate))));
        self.parts.shared.generation.fetch_add(1, Ordering::Release);
        true
    }

    fn publish_status(&mut self, now: Timestamp) {
        self.parts.shared.takes_clients.store(self.kernel.is_usable() && !self.panicked, Ordering::Relaxed);
        self.parts.shared.takes_proxied.store(self.parts.edge.is_some() && !self.panicked, Ordering::Relaxed);
        let status = EnforcementStatus {
            panicked: self.panicked,
            bans: (self.bans.len() + if self.is_edge_on() { self.proxied.len() } else { 0 }) as u64,
            bans_max: self.parts.kernel.entries_max as u64,
            never_ban: self.never_ban.entries().len() as u64,
            overflowed: self.overflowed,
            unconfirmed: self.unconfirmed.len() as u64,
            confirm_until: self
                .unconfirmed
                .first_deadline()
                .map(|until| Step::of(&self.parts.shared.clock).to_machine(until)),
            undropped: self.undropped.lately(now),
            kernel: self.kernel.status().clone(),
        };
        if **self.parts.status.load() != status {
            self.parts.status.store(Arc::new(status));
        }
    }
}

/// The ports on which the banned are dropped: those of visitors, and what the settings name beside them but for SSH, on whichever port
/// that is.
fn guarded(of_visitors: &[u16], named: &[u16], ssh: &[u16]) -> BTreeSet<u16> {
    of_visitors.iter().chain(named.iter().filter(|port| !ssh.contains(port))).copied().collect()
}

#[cfg(test)]
mod tests;
