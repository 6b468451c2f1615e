//! What operators say: who is banned or no longer, who is on which list, and what has not been confirmed in time.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use ipnet::IpNet;
use seawall_engine::address::ClientAddress;
use seawall_engine::decision::{BAN_DURATION_MAX, Ban, BanCause, BanError, ban_network, check_ban};
use seawall_engine::units::{Timestamp, counted};

use super::super::asked;
use super::super::never::Entry;
use super::super::orders::{BanRequest, BanView, Banned, Confirmed, NeverBanView, Order, Then, Unbannable, seconds};
use super::super::unconfirmed::{Confirming, Pending, Undoing, Undone};
use super::super::{printable, shown_network, to_be_confirmed};
use super::Enforcer;
use super::recorded::JOURNALLED_MAX;
use crate::config::quantity::show_duration;
use crate::host::clock::Step;
use crate::networks::Networks;
use crate::privacy::{Day, Labels};
use crate::record::{Action, Actor};

impl Enforcer {
    pub(super) fn obey(&mut self, order: Order, now: Timestamp) {
        // Whoever asked may have gone; what was ordered is done all the same.
        match order {
            Order::Ban(request, done) => {
                let banned = self.ban(request, now);
                // What is said to be in force is so in the proxy, and whoever is answered may ask at once how it is.
                self.publish_gate();
                self.publish_status(now);
                drop(done.send(banned));
            }
            Order::Unban(names, done) => {
                let unbanned = self.unban(&names, now);
                self.publish_gate();
                self.publish_status(now);
                drop(done.send(unbanned));
            }
            Order::List(in_clear, done) => drop(done.send(self.views(self.shown(), in_clear, now))),
            Order::NeverBan(done) => {
                let view = |entry: &Entry| NeverBanView {
                    network: entry.network,
                    reason: entry.reason,
                    words: entry.reason.words().to_owned(),
                };
                drop(done.send(self.never_ban.entries().iter().map(view).collect()));
            }
            Order::Operator(address) => {
                // Of one that is known nothing changes, and this comes with every command.
                if self.never_ban.operator(address, now) {
                    self.refresh_never_ban(now);
                }
            }
            Order::Panic(is_on, done) => {
                let moment = self.parts.record.moment();
                self.panicked = is_on;
                // Going on is not hurried for: the hurry is that of a panic behind it.
                if is_on {
                    self.parts.hurry.store(false, Ordering::Release);
                }
                let kernel = self.kernel.panic(is_on, now);
                let is_guards = |ban: &Ban| ban.cause.is_guards();
                self.bans.retain(|ban| !is_guards(ban));
                self.unconfirmed.forget_before(is_guards);
                self.proxied.retain(|_| false);
                // Nor does a limit keep anybody away whom it kept away before.
                self.parts.shared.allowances.forget_all();
                (self.is_gate_stale, self.is_kernel_stale) = (true, true);
                self.publish_gate();
                let action = if is_on { Action::Panic } else { Action::Resume };
                self.parts.record.journal_of(moment, Actor::Operator, action, String::new());
                // Whoever is answered may ask at once how it is.
                self.publish_status(now);
                let _ = done.send(kernel);
            }
            Order::Confirm(done) => {
                let confirmed = self.confirm();
                // Whoever is answered may ask at once what still waits.
                self.publish_status(now);
                let _ = done.send(confirmed);
            }
            Order::Configure { never_ban, ports, then: Then(then) } => {
                self.never_ban.configure(never_ban);
                self.parts.ports = ports;
                self.refresh_ports();
                self.refresh_never_ban(now);
                then(self.never_ban.set());
                self.is_kernel_stale = true;
            }
            Order::Pardon(pardons) => {
                let everyone = pardons.everyone != self.pardons.everyone;
                let rules: Vec<_> = pardons.rules_since(&self.pardons).collect();
                let is_pardoned = |ban: &Ban| {
                    (everyone && ban.cause.is_guards()) || ban.cause.rule().is_some_and(|rule| rules.contains(&rule))
                };
                let pardoned: Vec<IpNet> =
                    self.bans.iter().filter(|ban| is_pardoned(ban)).map(|ban| ban.network).collect();
                self.proxied.retain(|ban| !is_pardoned(ban));
                self.unconfirmed.forget_before(is_pardoned);
                for network in pardoned {
                    self.bans.remove(network);
                }
                self.pardons = pardons;
            }
            Order::TakeUp(bans) => self.take_up_late(bans, now),
            Order::Stop => {}
        }
    }

    fn ban(&mut self, mut request: BanRequest, now: Timestamp) -> Banned {
        let known = self.parts.shared.settings.load();
        let unknown_places = asked::take_unknown_places(&mut request, &known.networks);
        let request = &request;
        let named = asked::networks(request, &known.networks, self.never_ban.set());
        let count = named.len();
        let (networks, refused) = self.part_refused(named);
        let innocent = self.parts.innocent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let collateral = asked::collateral(&networks, &innocent);
        let (withheld, doubtful) = asked::withheld(request, &networks, collateral).unzip();
        let clients = networks.iter().filter(|(network, _)| asked::is_client(*network)).count();
        let mut banned = Banned {
            refused,
            networks: count,
            collateral,
            clients,
            withheld,
            doubtful: doubtful.flatten(),
            unknown_places,
            ..Banned::default()
        };
        if request.dry_run || withheld.is_some() {
            return banned;
        }
        let lasts = lasting(&networks, request.seconds);
        let reason = request.reason.as_deref().map(printable);
        let until = request.confirm_seconds.map(|time| now + seconds(time));
        let (mut added, mut few) = (Vec::new(), Vec::new());
        let mut gave_way = self.make_way(request.cause, &networks, now);
        for (network, duration) in networks {
            let refuse = |reason: String| Unbannable { network, reason };
            // Whoever calls a panic does not wait for the end of a long list.
            if self.parts.hurry.load(Ordering::Acquire) {
                banned.refused.push(refuse("a panic or the end of the guard came first".to_owned()));
                continue;
            }
            let ban = Ban {
                network: ban_network(network),
                since: now,
                expires: now + seconds(duration.unwrap_or(request.seconds)),
                cause: request.cause,
                reason: reason.clone(),
            };
            if request.cause == BanCause::Import && until.is_none() && self.unconfirmed.stand_behind(&ban) {
                banned.added += 1;
                added.push(Pending { ban, before: None });
                continue;
            }
            let before = until.and_then(|_| self.bans.get(network).cloned());
            match self.bans.add(ban.clone(), self.never_ban.set()) {
                Ok(true) => {
                    banned.added += 1;
                    if few.len() < JOURNALLED_MAX {
                        few.push(ban.network);
                    }
                    let within = |entry: &&Entry| ban.network.contains(&entry.network);
                    banned.spared.extend(self.never_ban.entries().iter().filter(within).copied());
                    match until {
                        // In the kernel and in the record, too, it ends with the deadline, so that a killed guard undoes it.
                        Some(until) => drop(self.bans.shorten(ban.network, until)),
                        None => self.unconfirmed.forget(ban.network),
                    }
                    // Of a list that needs no confirmation none is ever looked at again.
                    if until.is_some() || added.is_empty() {
                        added.push(Pending { ban, before });
                    }
                }
                Ok(false) => banned.unchanged += 1,
                Err(error) => banned.refused.push(refuse(error.to_string())),
            }
        }
        if banned.added == 0 {
            self.put_back(std::mem::take(&mut gave_way));
        } else {
            (banned.layers, banned.kernel_problem) = self.layers();
            let actor = if request.cause == BanCause::Import { Actor::Import } else { Actor::Operator };
            let places = asked::places(&request.countries, &request.systems);
            let source = request.source.as_deref().map(printable);
            let whose = Some(places.as_str()).filter(|places| !places.is_empty()).or(source.as_deref());
            let whose = whose.map(|whose| format!(" of {whose}")).unwrap_or_default();
            let waits = request.confirm_seconds.map(|time| to_be_confirmed(seconds(time))).unwrap_or_default();
            let reason = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let detail = format!("{whose} for {lasts}{waits}{reason}");
            if actor == Actor::Operator && few.len() == banned.added {
                self.journal_each(&few, actor, Action::Ban, &detail);
            } else {
                let text = format!("{} of {}{detail}", banned.added, counted(count as u64, "network"));
                self.parts.record.journal(actor, Action::Ban, text);
            }
            banned.confirm_until = until;
            if let Some(until) = until
                && let Some(undone) = self.unconfirmed.add(until, added, gave_way)
            {
                self.undo(undone, now);
            }
        }
        banned
    }

    /// Takes out whom nobody can ban, whatever is said: they say nothing of whom the others keep away.
    fn part_refused(&self, named: Vec<(IpNet, Option<u64>)>) -> (Vec<(IpNet, Option<u64>)>, Vec<Unbannable>) {
        let mut refused = Vec::new();
        let mut networks = named;
        networks.retain(|(network, _)| {
            let Err(error) = check_ban(*network, self.never_ban.set()) else { return true };
            // An address of an operator is refused by what it is, and by whose it is.
            let why = self.never_ban.reason(*network).filter(|_| matches!(error, BanError::Protected { .. }));
            let why = why.map(|reason| format!(": {}", reason.words())).unwrap_or_default();
            refused.push(Unbannable { network: *network, reason: format!("{error}{why}") });
            false
        });
        (networks, refused)
    }

    /// Makes room for an operator's bans: first by merging what the guard made, then others give way, imported ones first. Returns those.
    fn make_way(&mut self, cause: BanCause, networks: &[(IpNet, Option<u64>)], now: Timestamp) -> Vec<Ban> {
        let is_new =
            |network: &IpNet| self.bans.get(*network).is_none() && check_ban(*network, self.never_ban.set()).is_ok();
        let count = networks.iter().map(|(network, _)| *network).filter(is_new).count();
        if cause != BanCause::Operator || self.bans.len() + count <= self.parts.kernel.entries_max {
            return Vec::new();
        }
        self.make_room(now);
        let gone = self.bans.make_way(count);
        if gone.is_empty() {
            return gone;
        }
        let bans = counted(gone.len() as u64, "ban");
        let text = format!("{bans} of lists or of the guard that were to end first gave way to what an operator says");
        tracing::info!("{text}");
        self.parts.record.journal(Actor::Guard, Action::Merge, text);
        gone
    }

    /// Bans as they are shown, in the machine's time: whoever reads them has its clock.
    pub(super) fn views<'b>(
        &self,
        bans: impl Iterator<Item = &'b Ban>,
        in_clear: bool,
        now: Timestamp,
    ) -> Vec<BanView> {
        let labels = self.labels(now);
        let step = Step::of(&self.parts.shared.clock);
        let settings = self.parts.shared.settings.load();
        let view = |ban: &Ban| {
            let is_given = !ban.cause.is_guards();
            let (confirm_until, unconfirmed_expires) = self.unconfirmed.waiting(ban).unzip();
            let shown =
                if is_given || in_clear { None } else { Some(labels.as_ref().map(|labels| labels.of(ban.network))) };
            BanView {
                is_pseudonym: shown.is_some(),
                network: match shown {
                    None => shown_network(ban.network),
                    Some(pseudonym) => pseudonym.unwrap_or_else(|| format!("(a /{})", ban.network.prefix_len())),
                },
                since: step.to_machine(ban.since),
                expires: step.to_machine(ban.expires),
                cause: ban.cause,
                reason: ban.reason.as_deref().map(str::to_owned),
                country: country(&settings.networks, ban.network),
                confirm_until: confirm_until.map(|until| step.to_machine(until)),
                unconfirmed_expires: unconfirmed_expires.flatten().map(|expires| step.to_machine(expires)),
            }
        };
        bans.filter(|ban| ban.expires > now).map(view).collect()
    }

    /// The bans that are in force anywhere. Where the edge only proposes, those for it alone are not.
    fn shown(&self) -> impl Iterator<Item = &Ban> {
        let is_on = self.is_edge_on();
        self.bans.iter().chain(self.proxied.iter().filter(move |_| is_on))
    }

    /// What pseudonyms of today are made with.
    pub(super) fn labels(&self, now: Timestamp) -> Option<Labels> {
        let today = Day::of(now);
        let key = self.parts.keys.as_ref()?.key(today, today).ok()?;
        Some(Labels::new(&key))
    }

    /// What waits to be confirmed lasts for as long as was asked for.
    fn confirm(&mut self) -> Confirmed {
        let (bans, changes) = self.unconfirmed.confirm();
        if changes > 0 {
            for Confirming { since, ban } in bans {
                // What is in force until the deadline is of the same moment; what is not was taken back, or has ended.
                if self.bans.get(ban.network).is_some_and(|present| present.since == since) {
                    self.take(ban);
                }
            }
            self.parts.record.journal(Actor::Operator, Action::Confirm, counted(changes as u64, "change"));
        }
        Confirmed { changes }
    }

    /// Bans that gave way come back as far as there is room, the others with the next change that is undone.
    fn put_back(&mut self, mut bans: Vec<Ban>) {
        bans.retain(|ban| {
            let done = self.bans.put_back(ban.clone(), self.never_ban.set());
            matches!(done, Err(BanError::Full { .. }))
        });
        let lost = self.unconfirmed.wait_for_room(bans);
        if lost > 0 {
            let bans = counted(lost as u64, "ban");
            tracing::warn!(
                "{bans} that had given way could not come back: {} is as many as there can be",
                self.bans.len()
            );
        }
    }

    pub(super) fn undo_unconfirmed(&mut self, now: Timestamp) {
        for undone in self.unconfirmed.run_out(now) {
            self.undo(undone, now);
        }
    }

    pub(super) fn undo(&mut self, undoing: Undoing, now: Timestamp) {
        let Undoing { bans: undone, gave_way } = undoing;
        let (mut back, mut networks) = (Vec::new(), Vec::new());
        for Undone { network, since, before } in undone {
            if self.bans.get(network).is_some_and(|ban| ban.since == since) {
                self.bans.remove(network);
            }
            back.extend(before);
            networks.push(network);
        }
        back.extend(gave_way);
        back.retain(|ban| ban.expires > now);
        self.put_back(back);
        if networks.is_empty() {
            return;
        }
        let bans = counted(networks.len() as u64, "ban");
        tracing::info!("not confirmed in time and so undone: {bans}");
        if networks.len() <= JOURNALLED_MAX {
            self.journal_each(&networks, Actor::Guard, Action::Undo, " was not confirmed in time");
        } else {
            self.parts.record.journal(Actor::Guard, Action::Undo, format!("{bans} not confirmed in time"));
        }
    }
}

/// For how long these are banned, those without a time of their own for so many seconds.
fn lasting(networks: &[(IpNet, Option<u64>)], unless_said: u64) -> String {
    let times = || networks.iter().map(|(_, own)| seconds(own.unwrap_or(unless_said)).min(BAN_DURATION_MAX));
    let (shortest, longest) = (times().min().unwrap_or_default(), times().max().unwrap_or_default());
    let longest = show_duration(longest);
    match show_duration(shortest) {
        shortest if shortest == longest => longest,
        shortest => format!("{shortest} to {longest}"),
    }
}

fn country(networks: &Networks, network: IpNet) -> Option<String> {
    let mut request = seawall_engine::observation::Request::default();
    networks.locate(Some(ClientAddress::new(network.addr())), &mut request);
    request.country.map(|letters| String::from_utf8_lossy(&letters).into_owned())
}
