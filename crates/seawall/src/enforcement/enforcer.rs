//! The thread that enforces: takes in whom the workers hand down and what the operator says, and brings the gate and the kernel
//! into line with it, in batches.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use seawall_engine::address::{AddressSet, ClientAddress};
use seawall_engine::decision::{
    Ban, BanCause, BanError, Bans, Innocent, Pardons, REASON_CHARACTERS_MAX, RuleId, ban_network, check_ban,
    client_network,
};
use seawall_engine::gate::{BanSet, LimitAction, LimitId};
use seawall_engine::units::{Timestamp, counted};

use super::asked;
use super::edge::WantedBans;
use super::kernel::Kernel;
use super::kernel::table::Desired;
use super::limits::Offences;
use super::never::{Configured, NeverBan};
use super::orders::{
    BanRequest, BanView, Banned, Confirmed, EnforcementStatus, NeverBanView, Order, UnbanRequest, Unbannable, Unbanned,
    seconds,
};
use super::{Edge, HandDown, Why};
use crate::config;
use crate::networks::Networks;
use crate::privacy::{Cipher, Day, KeyStore, Scheme};
use crate::record::{Action, Actor, Record};
use crate::source::shared::Shared;

/// How often the queues are emptied. A worker's holds what it can hand down in as long.
const TAKE_INTERVAL: Duration = Duration::from_millis(50);

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

/// The longest that a client which went on after refusals stays in the kernel before its connections are looked at again: the
/// gate reads one of a banned client now and then, and another user agent ends the ban. Less than the pause after which it
/// counts as having come back.
const HANDED_DOWN_MAX: Duration = Duration::from_secs(240);

/// How long a client that came through a proxy and went on after refusals is refused at the edge. Nothing there tells whether
/// another person comes from its address; but a CDN takes seconds for a change and counts them, so that it is no shorter.
const AT_EDGE: Duration = Duration::from_secs(600);

/// How often the edge is told of changes.
const EDGE_INTERVAL: Duration = Duration::from_secs(2);

/// A ban of a client by a rule that lasts at least this long is put into the record.
const RECORDED_MIN: Duration = Duration::from_secs(60);

/// How often room is made, at most.
const ROOM_INTERVAL: Duration = Duration::from_secs(10);

/// The longest that a client which went on before a restart stays banned after it: the gate no longer knows it, and looks at none
/// of its connections.
const RESTORED_MAX: Duration = Duration::from_secs(3_600);

/// The share of innocent traffic that merged bans may hit, 0 to 1.
const INNOCENT_SHARE_MAX: f32 = 0.001;

/// Changes that wait to be confirmed.
const UNCONFIRMED_MAX: usize = 64;

/// What the thread needs.
pub struct Parts {
    /// What the workers share; bans and the never-ban list are published here.
    pub shared: Arc<Shared>,
    /// From each worker.
    pub queues: Vec<rtrb::Consumer<HandDown>>,
    /// What visitors were served, noted by the detecting thread.
    pub innocent: Arc<Mutex<Innocent>>,
    /// The settings.
    pub kernel: config::Kernel,
    /// The CDN in front, and its settings.
    pub edge: Option<(Edge, config::Edge)>,
    /// Who is never banned, by the settings.
    pub never_ban: Configured,
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
    /// Where the state is published.
    pub status: Arc<ArcSwap<EnforcementStatus>>,
}

/// A change that is undone unless it is confirmed.
struct Unconfirmed {
    until: Timestamp,
    before: Vec<(IpNet, Option<Ban>)>,
}

/// The thread's state.
pub struct Enforcer {
    parts: Parts,
    bans: Bans,
    /// Clients that went on after refusals and were named by a proxy: for the edge alone.
    proxied: Bans,
    never_ban: NeverBan,
    kernel: Kernel,
    unconfirmed: Vec<Unconfirmed>,
    pardons: Pardons,
    ports: BTreeSet<u16>,
    /// The never-ban list as the kernel has it.
    spared: BTreeSet<IpNet>,
    /// What the kernel is to hold while everything is out.
    nobody: Bans,
    overflowed: u64,
    /// Before this no room is made: where nothing can be merged, trying for each ban would be all that is done.
    room_at: Timestamp,
    panicked: bool,
    /// Whether the kernel may differ from the ports and the never-ban list, and whether the gate from the bans. Which bans have changed
    /// the bans know themselves.
    is_kernel_stale: bool,
    is_gate_stale: bool,
    /// Who has gone beyond limits, still to be said.
    offences: Offences,
    /// Whether the edge has not been told of the last changes.
    is_edge_stale: bool,
}

impl Enforcer {
    /// Opens the kernel layer and takes up the bans of before.
    pub fn new(mut parts: Parts) -> Self {
        let kernel = Kernel::open(&parts.kernel);
        let mut enforcer = Self {
            bans: Bans::new(parts.kernel.entries_max),
            proxied: Bans::new(parts.edge.as_ref().map_or(0, |(_, settings)| settings.entries_max)),
            never_ban: NeverBan::new(parts.never_ban.clone()),
            kernel,
            unconfirmed: Vec::new(),
            pardons: Pardons::default(),
            spared: BTreeSet::new(),
            nobody: Bans::new(0),
            ports: parts.ports.iter().chain(&parts.kernel.ports).copied().collect(),
            overflowed: 0,
            room_at: Timestamp::EPOCH,
            panicked: parts.panicked,
            is_kernel_stale: true,
            is_gate_stale: true,
            offences: Offences::default(),
            is_edge_stale: true,
            parts: {
                parts.restored.sort_unstable_by_key(|ban| std::cmp::Reverse(ban.expires));
                parts
            },
        };
        let now = enforcer.parts.shared.clock.now();
        enforcer.refresh_never_ban(now);
        for ban in std::mem::take(&mut enforcer.parts.restored) {
            enforcer.take(taken_up(ban, now));
        }
        if enforcer.panicked {
            enforcer.kernel.panic(true, now);
        }
        enforcer
    }

    /// Runs until told to stop.
    pub fn run(mut self, orders: &Receiver<Order>) {
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
            self.undo_unconfirmed(now);
            if now >= expire_at {
                expire_at = now + EXPIRE_INTERVAL;
                // The gate sees for itself that a ban has ended.
                self.bans.expire(now);
                self.offences.tell(&self.parts.record);
                self.proxied.expire(now);
            }
            if now >= refresh_at {
                refresh_at = now + REFRESH_INTERVAL;
                self.refresh_never_ban(now);
            }
            if now >= fade_at {
                fade_at = now + FADE_INTERVAL;
                self.parts.innocent.lock().unwrap_or_else(PoisonError::into_inner).fade();
            }
            if now >= batch_at || self.bans.len() <= PUBLISH_FREELY_MAX {
                self.publish_gate();
            }
            if now >= batch_at {
                batch_at = now + BATCH_INTERVAL;
                self.bring_into_line(now);
            }
            if now >= edge_at {
                edge_at = now + EDGE_INTERVAL;
                self.tell_edge();
            }
            if now >= verify_at {
                verify_at = now + VERIFY_INTERVAL;
                let (desired, kernel) = self.desired();
                kernel.verify(desired, now);
            }
            self.publish_status();
        }
        if self.parts.kernel.keep {
            tracing::info!("the kernel's table stays, as [kernel] keep says; its entries end within ten minutes");
        } else {
            self.kernel.clear(self.parts.shared.clock.now());
        }
    }

    /// Makes the kernel what is decided. Costs nothing when nothing has changed.
    fn bring_into_line(&mut self, now: Timestamp) {
        let touched = self.bans.take_changed();
        self.is_edge_stale |= !touched.is_empty();
        // A failure is tried again when its time has come.
        let is_asked = self.is_kernel_stale || self.kernel.is_failing() || self.kernel.is_due(now);
        if touched.is_empty() && !is_asked {
            return;
        }
        self.is_kernel_stale = false;
        let (desired, kernel) = self.desired();
        kernel.reconcile(desired, touched, now);
        kernel.end_connections(desired);
    }

    fn take_handed_down(&mut self, now: Timestamp) {
        for index in 0..self.parts.queues.len() {
            while let Some(handed) = self.parts.queues.get_mut(index).and_then(|queue| queue.pop().ok()) {
                let whole = seconds(u64::from(handed.seconds));
                let rule = match handed.why {
                    Why::GoesOn(rule) => rule.filter(|_| !self.panicked),
                    Why::Beyond(limit, action) => {
                        self.take_beyond(handed.client, (limit, action), whole, now);
                        None
                    }
                };
                let Some(rule) = rule else { continue };
                if handed.is_proxied {
                    self.take_proxied(handed.client, rule, now);
                    continue;
                }
                if !self.kernel.is_usable() {
                    continue;
                }
                let network = client_network(handed.client);
                let ban = Ban {
                    network,
                    since: now,
                    expires: now + whole.min(HANDED_DOWN_MAX),
                    cause: BanCause::Rule(rule),
                    reason: None,
                };
                if whole >= RECORDED_MIN {
                    self.parts.record.ban(&Ban { expires: now + whole, ..ban.clone() });
                }
                self.take(ban);
            }
        }
    }

    /// Takes in who has gone beyond a limit.
    fn take_beyond(
        &mut self,
        client: ClientAddress,
        (limit, action): (LimitId, LimitAction),
        whole: Duration,
        now: Timestamp,
    ) {
        let rules = self.parts.shared.rules.load_full();
        // It may have gone with a reload, or everything with a panic.
        let Some(limit) = rules.limit(limit).filter(|_| !self.panicked) else { return };
        if action == LimitAction::Ban {
            let network = limit.key.network(client);
            if check_ban(network, self.never_ban.set()).is_err() {
                return;
            }
            let reason = Some(printable(&format!("{}: {limit}", limit.name)));
            let ban = Ban { network, since: now, expires: now + whole, cause: BanCause::Limit, reason };
            self.parts.record.ban(&ban);
            self.take(ban);
        }
        self.offences.add(limit, action, whole);
    }

    /// A client that a proxy named goes on: it is refused at the edge, once for as long as that lasts.
    fn take_proxied(&mut self, client: ClientAddress, rule: RuleId, now: Timestamp) {
        let network = client_network(client);
        if self.proxied.get(network).is_some() {
            return;
        }
        let ban = Ban { network, since: now, expires: now + AT_EDGE, cause: BanCause::Rule(rule), reason: None };
        match self.proxied.add(ban, self.never_ban.set()) {
            Ok(_) => {}
            Err(BanError::Full { .. }) => self.overflowed += 1,
            Err(BanError::Protected { .. } | BanError::TooLarge { .. }) => {}
        }
    }

    /// Tells the edge who is to be refused, when that has changed.
    fn tell_edge(&mut self) {
        self.is_edge_stale |= !self.proxied.take_changed().is_empty();
        let Some((edge, _)) = self.parts.edge.as_ref().filter(|_| self.is_edge_stale) else { return };
        self.is_edge_stale = false;
        let bans = self.bans.iter().chain(self.proxied.iter()).cloned().collect();
        edge.set_bans(WantedBans { bans, spared: self.spared.iter().copied().collect() });
    }

    /// Takes a ban in; when there is no room, some is made.
    fn take(&mut self, ban: Ban) {
        let is_for_gate = !matches!(ban.cause, BanCause::Rule(_));
        let now = ban.since;
        if self.bans.is_tight() && now >= self.room_at {
            self.room_at = now + ROOM_INTERVAL;
            let innocent = self.parts.innocent.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let merged = self.bans.make_room(&innocent, INNOCENT_SHARE_MAX, self.never_ban.set(), now);
            if !merged.networks.is_empty() {
                let text = format!(
                    "bans were merged into {}, which hold {:.2}% of the traffic that is served",
                    counted(merged.networks.len() as u64, "network"),
                    100.0 * merged.innocent_share
                );
                tracing::info!("{text}");
                self.parts.record.journal(Actor::Guard, Action::Merge, text);
            }
        }
        match self.bans.add(ban, self.never_ban.set()) {
            Ok(is_new) => {
                self.is_gate_stale |= is_new && is_for_gate;
            }
            Err(BanError::Full { .. }) => self.overflowed += 1,
            // A protected client is not even turned away by the gate; this is one that has just become so.
            Err(BanError::Protected { .. } | BanError::TooLarge { .. }) => {}
        }
    }

    fn obey(&mut self, order: Order, now: Timestamp) {
        // Whoever asked may have gone; what was ordered is done all the same.
        match order {
            Order::Ban(request, done) => drop(done.send(self.ban(&request, now))),
            Order::Unban(names, done) => drop(done.send(self.unban(&names, now))),
            Order::List(in_clear, done) => drop(done.send(self.list(in_clear, now))),
            Order::NeverBan(done) => {
                let view = |entry: &super::Entry| NeverBanView {
                    network: entry.network,
                    reason: entry.reason,
                    words: entry.reason.words().to_owned(),
                };
                drop(done.send(self.never_ban.entries().iter().map(view).collect()));
            }
            Order::Operator(address) => {
                self.never_ban.operator(address, now);
                self.refresh_never_ban(now);
            }
            Order::Panic(is_on, done) => {
                self.panicked = is_on;
                self.kernel.panic(is_on, now);
                self.bans.retain(|ban| !matches!(ban.cause, BanCause::Rule(_) | BanCause::Limit));
                self.proxied.retain(|_| false);
                if let Some((edge, _)) = &self.parts.edge {
                    edge.set_panicked(is_on);
                }
                (self.is_gate_stale, self.is_kernel_stale) = (true, true);
                self.publish_gate();
                let action = if is_on { Action::Panic } else { Action::Resume };
                self.parts.record.journal(Actor::Operator, action, String::new());
                let _ = done.send(());
            }
            Order::Confirm(done) => {
                let changes = std::mem::take(&mut self.unconfirmed).len();
                if changes > 0 {
                    self.parts.record.journal(Actor::Operator, Action::Confirm, format!("{changes} changes"));
                }
                let _ = done.send(Confirmed { changes });
            }
            Order::Configure { never_ban, ports } => {
                self.never_ban.configure(never_ban);
                self.ports = ports.into_iter().chain(self.parts.kernel.ports.iter().copied()).collect();
                self.refresh_never_ban(now);
                self.is_kernel_stale = true;
            }
            Order::Pardon(pardons) => {
                let everyone = pardons.everyone != self.pardons.everyone;
                let rules: Vec<_> = pardons.rules_since(&self.pardons).collect();
                let is_pardoned = |ban: &Ban| match ban.cause {
                    BanCause::Rule(rule) => everyone || rules.contains(&rule),
                    BanCause::Limit | BanCause::Merged => everyone,
                    BanCause::Operator | BanCause::Import => false,
                };
                let pardoned: Vec<IpNet> =
                    self.bans.iter().filter(|ban| is_pardoned(ban)).map(|ban| ban.network).collect();
                self.proxied.retain(|ban| !is_pardoned(ban));
                for network in pardoned {
                    self.parts.record.unban(network);
                    self.bans.remove(network);
                }
                self.pardons = pardons;
            }
            Order::Stop => {}
        }
    }

    fn ban(&mut self, request: &BanRequest, now: Timestamp) -> Banned {
        if let Some(operator) = request.operator {
            self.never_ban.operator(operator, now);
            self.refresh_never_ban(now);
        }
        let networks = asked::networks(request, &self.parts.shared.settings.load().networks);
        let innocent = self.parts.innocent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let collateral = asked::collateral(&networks, &innocent);
        let withheld = asked::is_too_much(request, collateral);
        let layers = self.layers();
        let mut banned = Banned { layers, networks: networks.len(), collateral, withheld, ..Banned::default() };
        let reason = request.reason.as_deref().map(printable);
        let (mut before, mut recorded, mut asked) = (Vec::new(), Vec::new(), 0_usize);
        for (network, duration) in networks {
            asked += 1;
            let refuse = |reason: String| Unbannable { network, reason };
            // An address of an operator is refused by what it is, and by whose it is.
            if let Err(error) = check_ban(network, self.never_ban.set()) {
                let why = self.never_ban.reason(network).filter(|_| matches!(error, BanError::Protected { .. }));
                let why = why.map(|reason| format!(": {}", reason.words())).unwrap_or_default();
                banned.refused.push(refuse(format!("{error}{why}")));
                continue;
            }
            if request.dry_run || withheld {
                continue;
            }
            let ban = Ban {
                network: ban_network(network),
                since: now,
                expires: now + seconds(duration.unwrap_or(request.seconds)),
                cause: request.cause,
                reason: reason.clone(),
            };
            let present = self.bans.get(network).cloned();
            match self.bans.add(ban.clone(), self.never_ban.set()) {
                Ok(true) => {
                    banned.added += 1;
                    recorded.push(ban.clone());
                    before.push((ban.network, present));
                    let within = |entry: &&super::Entry| ban.network.contains(&entry.network);
                    banned.spared.extend(self.never_ban.entries().iter().filter(within).copied());
                }
                Ok(false) => banned.unchanged += 1,
                Err(error) => banned.refused.push(refuse(error.to_string())),
            }
        }
        self.parts.record.bans(recorded);
        self.is_gate_stale = true;
        if banned.added > 0 {
            let actor = if request.cause == BanCause::Import { Actor::Import } else { Actor::Operator };
            let whom = match before.as_slice() {
                [(network, _)] => network.to_string(),
                networks => format!("{} of {asked} networks", networks.len()),
            };
            let places = asked::places(&request.countries, &request.systems);
            let of_places = if places.is_empty() { String::new() } else { format!(" of {places}") };
            let reason = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let text = format!("{whom}{of_places}{reason}");
            self.parts.record.journal(actor, Action::Ban, text);
            if let Some(confirm) = request.confirm_seconds {
                if self.unconfirmed.len() >= UNCONFIRMED_MAX {
                    self.undo_first();
                }
                let until = now + seconds(confirm);
                banned.confirm_until = Some(until);
                self.unconfirmed.push(Unconfirmed { until, before });
            }
        }
        banned
    }

    fn unban(&mut self, request: &UnbanRequest, now: Timestamp) -> Unbanned {
        let UnbanRequest { names, countries, systems } = request;
        let mut unbanned = Unbanned::default();
        let mut gone = Vec::new();
        let is_of_places = !countries.is_empty() || !systems.is_empty();
        if is_of_places {
            let settings = self.parts.shared.settings.load();
            let places = AddressSet::new(asked::of_places(countries, systems, &settings.networks));
            let is_there = |ban: &&Ban| places.contains(ClientAddress::new(ban.network.addr()));
            gone.extend(self.bans.iter().chain(self.proxied.iter()).filter(is_there).map(|ban| ban.network));
        } else if names.is_empty() {
            gone.extend(self.bans.iter().chain(self.proxied.iter()).map(|ban| ban.network));
        }
        let cipher = self.cipher(now);
        for name in names {
            let address = name.parse::<std::net::IpAddr>().ok().map(IpNet::from);
            let network = address.or_else(|| name.parse().ok()).map(ban_network);
            let is_banned = |network: &IpNet| self.bans.get(*network).or_else(|| self.proxied.get(*network)).is_some();
            let named = network.filter(is_banned);
            let by_pseudonym = || {
                self.bans
                    .iter()
                    .chain(self.proxied.iter())
                    .find(|ban| pseudonym(cipher.as_ref(), ban.network).as_ref() == Some(name))
                    .map(|ban| ban.network)
            };
            match named.or_else(by_pseudonym) {
                Some(network) => gone.push(network),
                None => unbanned.unknown.push(name.clone()),
            }
        }
        let rules = self.parts.shared.rules.load_full();
        for network in &gone {
            let is_proxied = self.proxied.remove(*network).is_some();
            let here = self.bans.remove(*network);
            unbanned.removed += usize::from(here.is_some() || is_proxied);
            if let Some(ban) = here {
                if ban.cause == BanCause::Limit {
                    // It begins anew, or its next request would be too much again.
                    rules.forget(ClientAddress::new(network.addr()), &self.parts.shared.allowances);
                }
                self.parts.record.unban(*network);
            }
        }
        if unbanned.removed > 0 {
            let text = match names.as_slice() {
                [] if is_of_places => {
                    let places = asked::places(countries, systems);
                    format!("{} of {places}", counted(unbanned.removed as u64, "ban"))
                }
                [] => format!("all, {}", counted(unbanned.removed as u64, "ban")),
                [name] => name.chars().filter(|character| !character.is_control()).collect(),
                _ => counted(unbanned.removed as u64, "ban"),
            };
            self.parts.record.journal(Actor::Operator, Action::Unban, text);
            self.is_gate_stale = true;
        }
        unbanned
    }

    fn list(&self, in_clear: bool, now: Timestamp) -> Vec<BanView> {
        let cipher = self.cipher(now);
        let settings = self.parts.shared.settings.load();
        let view = |ban: &Ban| {
            let is_given = matches!(ban.cause, BanCause::Operator | BanCause::Import);
            let shown = if is_given || in_clear { None } else { Some(pseudonym(cipher.as_ref(), ban.network)) };
            BanView {
                is_pseudonym: shown.is_some(),
                network: match shown {
                    None => shown_network(ban.network),
                    Some(pseudonym) => pseudonym.unwrap_or_else(|| format!("(a /{})", ban.network.prefix_len())),
                },
                since: ban.since,
                expires: ban.expires,
                cause: ban.cause,
                reason: ban.reason.as_deref().map(str::to_owned),
                country: country(&settings.networks, ban.network),
            }
        };
        self.shown().filter(|ban| ban.expires > now).map(view).collect()
    }

    /// The bans that are in force anywhere. Where the edge only proposes, those for it alone are not.
    fn shown(&self) -> impl Iterator<Item = &Ban> {
        let is_on = self.is_edge_on();
        self.bans.iter().chain(self.proxied.iter().filter(move |_| is_on))
    }

    fn is_edge_on(&self) -> bool {
        self.parts.edge.as_ref().is_some_and(|(_, settings)| settings.usage == config::EdgeUse::On)
    }

    /// What pseudonyms of today are made with.
    fn cipher(&self, now: Timestamp) -> Option<Cipher> {
        let today = Day::of(now);
        let key = self.parts.keys.as_ref()?.key(today, today).ok()?;
        Some(Cipher::new(&key, Scheme::PrefixPreserving))
    }

    fn undo_unconfirmed(&mut self, now: Timestamp) {
        while self.unconfirmed.first().is_some_and(|change| change.until <= now) {
            self.undo_first();
        }
    }

    fn undo_first(&mut self) {
        if self.unconfirmed.is_empty() {
            return;
        }
        let change = self.unconfirmed.remove(0);
        let count = change.before.len();
        for (network, before) in change.before {
            self.bans.remove(network);
            match before {
                Some(ban) => {
                    self.parts.record.ban(&ban);
                    self.take(ban);
                }
                None => self.parts.record.unban(network),
            }
        }
        let bans = counted(count as u64, "ban");
        tracing::info!("not confirmed in time and so undone: {bans}");
        self.parts.record.journal(Actor::Guard, Action::Undo, format!("{bans} not confirmed in time"));
        self.is_gate_stale = true;
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
        let protected: Vec<IpNet> =
            self.bans.iter().map(|ban| ban.network).filter(|network| check_ban(*network, set).is_err()).collect();
        for network in protected {
            self.bans.remove(network);
            self.parts.record.unban(network);
            self.is_gate_stale = true;
        }
        self.proxied.retain(|ban| check_ban(ban.network, set).is_ok());
        (self.is_kernel_stale, self.is_edge_stale) = (true, true);
    }

    /// The layers that hold a ban.
    fn layers(&self) -> Vec<String> {
        let kernel = self.kernel.is_usable().then(|| "kernel".to_owned());
        std::iter::once("proxy".to_owned()).chain(kernel).filter(|_| !self.panicked).collect()
    }

    /// What the kernel is to hold, and the kernel.
    fn desired(&mut self) -> (Desired<'_>, &mut Kernel) {
        let bans = if self.panicked { &self.nobody } else { &self.bans };
        (Desired { ports: &self.ports, never_ban: &self.spared, bans }, &mut self.kernel)
    }

    /// Hands the bans to the workers when they have changed. Clients that a rule's refusals sent down are not among them: the
    /// gate has its own say about those.
    fn publish_gate(&mut self) {
        if !self.is_gate_stale {
            return;
        }
        self.is_gate_stale = false;
        let is_for_gate = |ban: &&Ban| !matches!(ban.cause, BanCause::Rule(_)) && !self.panicked;
        self.parts.shared.bans.store(Arc::new(BanSet::new(self.bans.iter().filter(is_for_gate))));
        self.parts.shared.generation.fetch_add(1, Ordering::Release);
    }

    fn publish_status(&self) {
        self.parts.shared.takes_clients.store(self.kernel.is_usable() && !self.panicked, Ordering::Relaxed);
        self.parts.shared.takes_proxied.store(self.parts.edge.is_some() && !self.panicked, Ordering::Relaxed);
        let status = EnforcementStatus {
            panicked: self.panicked,
            bans: (self.bans.len() + if self.is_edge_on() { self.proxied.len() } else { 0 }) as u64,
            bans_max: self.parts.kernel.entries_max as u64,
            never_ban: self.never_ban.entries().len() as u64,
            overflowed: self.overflowed,
            unconfirmed: self.unconfirmed.len() as u64,
            kernel: self.kernel.status().clone(),
        };
        if **self.parts.status.load() != status {
            self.parts.status.store(Arc::new(status));
        }
    }
}

/// A ban of before a restart, as it goes on. The guard's clock does not step while it runs, but the machine's may have been set
/// meanwhile: whatever it shows now, no ban lasts for longer than it was made for.
fn taken_up(mut ban: Ban, now: Timestamp) -> Ban {
    let whole = ban.expires.since(ban.since);
    let longest = if matches!(ban.cause, BanCause::Rule(_)) { whole.min(RESTORED_MAX) } else { whole };
    ban.expires = ban.expires.min(now + longest);
    ban.since = ban.since.min(now);
    ban
}

/// A reason as it can be shown anywhere.
fn printable(reason: &str) -> Arc<str> {
    let plain = reason.chars().filter(|character| !character.is_control());
    plain.take(REASON_CHARACTERS_MAX).collect::<String>().into()
}

/// A client without its length, as people write it.
fn shown_network(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

/// The pseudonym of a network: the same part of the pseudonym of its first address.
fn pseudonym(cipher: Option<&Cipher>, network: IpNet) -> Option<String> {
    let pseudonym = cipher?.pseudonym(ClientAddress::new(network.addr()));
    // A pseudonym of an IPv6 address may come out as one that stands for IPv4.
    let length = network.prefix_len().min(IpNet::from(pseudonym).max_prefix_len());
    IpNet::new(pseudonym, length).ok().map(|network| shown_network(network.trunc()))
}

fn country(networks: &Networks, network: IpNet) -> Option<String> {
    let mut request = seawall_engine::observation::Request::default();
    networks.locate(Some(ClientAddress::new(network.addr())), &mut request);
    request.country.map(|letters| String::from_utf8_lossy(&letters).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_makes_no_ban_longer() {
        let made = Timestamp::from_seconds(1_700_000_000);
        let after = |seconds: u64| made + Duration::from_secs(seconds);
        let left = |cause: BanCause, now: Timestamp| {
            let network = "192.0.2.7/32".parse().expect("a network");
            let ban = Ban { network, since: made, expires: after(7_200), cause, reason: None };
            taken_up(ban, now).expires.since(now).as_secs()
        };
        assert_eq!(left(BanCause::Operator, after(60)), 7_140);
        // Set back by a day, a year, to the epoch; and forward.
        for now in [Timestamp::from_seconds(1_700_000_000 - 86_400), Timestamp::from_seconds(1), Timestamp::EPOCH] {
            assert_eq!(left(BanCause::Operator, now), 7_200);
            assert_eq!(left(BanCause::Rule(RuleId(1)), now), 3_600);
        }
        assert_eq!(left(BanCause::Operator, after(86_400)), 0);
    }
}
