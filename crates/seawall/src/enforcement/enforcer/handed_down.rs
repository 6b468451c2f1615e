//! Takes in whom the workers hand down, those who go on after refusals and those who went beyond a limit, and makes room for bans.

use std::sync::PoisonError;
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::address::ClientAddress;
use seawall_engine::decision::{Ban, BanCause, BanError, RuleId, check_ban, client_network};
use seawall_engine::gate::{LimitAction, LimitId};
use seawall_engine::units::{Timestamp, counted};

use super::super::kernel::KernelState;
use super::super::orders::seconds;
use super::super::recurring::Layer;
use super::super::{HandDown, Why, printable};
use super::Enforcer;
use crate::record::{Action, Actor};

/// The longest that a client which went on after refusals stays in the kernel before its connections are looked at again: the
/// gate reads one of a banned client now and then, and another user agent ends the ban. Less than the pause after which it
/// counts as having come back.
pub(super) const HANDED_DOWN_MAX: Duration = Duration::from_secs(240);

/// How long a client that came through a proxy and went on after refusals is refused at the edge. Nothing there tells whether
/// another person comes from its address; but a CDN takes seconds for a change and counts them, so that it is no shorter.
const AT_EDGE: Duration = Duration::from_secs(600);

/// How often room is made, at most.
const ROOM_INTERVAL: Duration = Duration::from_secs(10);

/// The share of innocent traffic that merged bans may hit, 0 to 1.
const INNOCENT_SHARE_MAX: f32 = 0.001;

impl Enforcer {
    /// Takes in all who wait.
    pub(super) fn take_handed_down(&mut self, now: Timestamp) {
        let rules = self.parts.shared.rules.load_full();
        for index in 0..self.parts.queues.len() {
            while let Some(handed) = self.parts.queues.get_mut(index).and_then(|queue| queue.pop().ok()) {
                let whole = seconds(u64::from(handed.seconds));
                let dropped = match handed.why {
                    // What was under way when its rule or its ban was taken back is late.
                    Why::GoesOn(Some(rule), until)
                        if !self.panicked && rules.has(rule) && !self.telling.is_freed(handed.client) =>
                    {
                        Some((rule, until))
                    }
                    Why::GoesOn(..) => None,
                    Why::Beyond(limit, action) => {
                        self.take_beyond(handed, (limit, action), whole, now);
                        None
                    }
                };
                let Some((rule, until)) = dropped else { continue };
                if handed.is_proxied {
                    self.take_proxied(handed.client, rule, now);
                    continue;
                }
                self.telling.dropped(index, handed.client, until, rule);
                if !self.kernel.is_usable() {
                    continue;
                }
                let network = client_network(handed.client);
                self.note_undropped(network, now);
                let is_new = self.bans.get(network).is_none();
                let is_taken = self.take(Ban {
                    network,
                    since: now,
                    expires: now + whole.min(HANDED_DOWN_MAX),
                    cause: BanCause::Rule(rule),
                    reason: None,
                });
                if is_new && is_taken {
                    self.recurring.handed_down(rule, Layer::Kernel);
                }
            }
        }
    }

    /// Takes in who has gone beyond a limit.
    fn take_beyond(
        &mut self,
        handed: HandDown,
        (limit, action): (LimitId, LimitAction),
        whole: Duration,
        now: Timestamp,
    ) {
        let rules = self.parts.shared.rules.load_full();
        // It may have gone with a reload, or everything with a panic.
        let Some(limit) = rules.limit(limit).filter(|_| !self.panicked) else { return };
        if action == LimitAction::Ban {
            let network = limit.key.network(handed.client);
            if check_ban(network, self.never_ban.set()).is_err() {
                return;
            }
            let reason = Some(printable(&format!("{}: {limit}", limit.name)));
            let cause = if handed.is_proxied { BanCause::ProxiedLimit } else { BanCause::Limit };
            if cause == BanCause::Limit {
                self.note_undropped(network, now);
            }
            self.take(Ban { network, since: now, expires: now + whole, cause, reason });
        }
        self.offences.add(limit, action, whole);
    }

    /// A client that the kernel is to drop has come.
    fn note_undropped(&mut self, network: IpNet, now: Timestamp) {
        if self.kernel.status().state == KernelState::Active {
            let is_banned = self.bans.get(network).is_some_and(|ban| ban.expires > now);
            self.undropped.came(network, is_banned, now);
        } else {
            self.undropped.clear();
        }
    }

    /// A client that a proxy named goes on: it is refused at the edge, once for as long as that lasts.
    fn take_proxied(&mut self, client: ClientAddress, rule: RuleId, now: Timestamp) {
        let network = client_network(client);
        if self.proxied.get(network).is_some() {
            return;
        }
        let ban = Ban { network, since: now, expires: now + AT_EDGE, cause: BanCause::Rule(rule), reason: None };
        match self.proxied.add(ban, self.never_ban.set()) {
            Ok(_) => self.recurring.handed_down(rule, Layer::Edge),
            Err(BanError::Full { .. }) => self.overflowed += 1,
            Err(BanError::Protected { .. } | BanError::TooLarge { .. }) => {}
        }
    }

    /// Takes a ban in, if it can; when there is no room, some is made.
    pub(super) fn take(&mut self, ban: Ban) -> bool {
        let now = ban.since;
        if self.bans.is_tight() && now >= self.room_at {
            self.make_room(now);
        }
        let added = self.bans.add(ban, self.never_ban.set());
        match added {
            Ok(_) => {}
            Err(BanError::Full { .. }) => self.overflowed += 1,
            // A protected client is not even turned away by the gate; this is one that has just become so.
            Err(BanError::Protected { .. } | BanError::TooLarge { .. }) => {}
        }
        added.is_ok()
    }

    /// Merges what the guard itself banned.
    pub(super) fn make_room(&mut self, now: Timestamp) {
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
}
