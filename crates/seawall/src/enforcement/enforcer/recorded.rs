//! What the record is told: who is banned, so that it comes back after a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::decision::{Ban, BanCause, check_ban};
use seawall_engine::units::{Timestamp, counted};

use super::Enforcer;
use super::handed_down::HANDED_DOWN_MAX;
use crate::host::clock::carried_over;
use crate::record::{Action, Actor};

/// A ban of a client by a rule that lasts at least this long is put into the record; all others are.
const RECORDED_MIN: Duration = Duration::from_secs(60);

/// Of so many networks at once the journal names each.
pub(super) const JOURNALLED_MAX: usize = 8;

/// How long bans of lists that end are counted before it is said, unless none is left: the entries of a list may each have an end of
/// their own.
const LISTS_TOLD_INTERVAL: Duration = Duration::from_secs(3_600);

/// The bans of lists that have ended and of which the journal does not know yet.
#[derive(Debug, Default)]
pub(super) struct EndedOfLists {
    count: u64,
    tell_at: Timestamp,
}

impl Enforcer {
    /// Takes up the bans of before a restart. What goes on as it was is not written anew.
    pub(super) fn restore(&mut self, now: Timestamp) {
        let restored: Vec<Ban> = std::mem::take(&mut self.parts.restored);
        let restored: Vec<Ban> = restored.into_iter().map(|ban| taken_up(ban, now)).collect();
        for ban in &restored {
            self.take(ban.clone());
        }
        self.journal_protected_of(&restored);
        let mut changed = self.bans.take_changed();
        self.touched.extend(&changed);
        for ban in restored {
            if self.bans.get(ban.network) == Some(&ban) {
                changed.remove(&ban.network);
            } else {
                changed.insert(ban.network);
            }
        }
        self.bring_record_into_line(self.recorded(&changed));
    }

    /// Takes up bans of before that could be read only now.
    pub(super) fn take_up_late(&mut self, bans: Vec<Ban>, now: Timestamp) {
        let bans: Vec<Ban> = bans.into_iter().map(|ban| taken_up(ban, now)).collect();
        for ban in &bans {
            self.take(ban.clone());
        }
        self.journal_protected_of(&bans);
    }

    /// The same of bans of before a start that were not taken up.
    fn journal_protected_of(&self, bans: &[Ban]) {
        let networks = bans.iter().map(|ban| ban.network);
        self.journal_protected(
            &networks.filter(|network| check_ban(*network, self.never_ban.set()).is_err()).collect(),
        );
    }

    /// Puts into the journal whose bans have ended since they are on the never-ban list now.
    pub(super) fn journal_protected(&self, networks: &BTreeSet<IpNet>) {
        if networks.len() > JOURNALLED_MAX {
            let bans = counted(networks.len() as u64, "ban");
            let text = format!("{bans} of networks that are on the never-ban list now");
            self.parts.record.journal(Actor::Guard, Action::Unban, text);
            return;
        }
        for network in networks {
            let whose =
                self.never_ban.reason(*network).map(|reason| format!(": {}", reason.words())).unwrap_or_default();
            let text = format!(", which is on the never-ban list now{whose}");
            self.parts.record.journal_about(*network, Actor::Guard, Action::Unban, text);
        }
    }

    /// Takes note of what has changed since this was last asked, for the kernel, and returns it for the record: whatever made or ended
    /// a ban, and however many at once.
    pub(super) fn note_changed(&mut self) -> BTreeSet<IpNet> {
        let changed = self.bans.take_changed();
        self.touched.append(&mut changed.clone());
        changed
    }

    /// Brings the record into line with the bans, of which these have changed.
    pub(super) fn tell_record(&mut self, changed: &BTreeSet<IpNet>, now: Timestamp) {
        let changes = self.recorded(changed);
        let is_made = |ban: &&Ban| ban.since >= now && !matches!(ban.cause, BanCause::Merged(_));
        let made = changes.iter().filter_map(|(_, ban)| *ban).filter(is_made);
        let made: Vec<(IpNet, Timestamp)> = made.map(|ban| (ban.network, ban.since)).collect();
        if self.parts.record.wants_bans() {
            self.parts.record.all_bans(self.bans.iter().filter(|ban| is_recorded(ban)).cloned().collect());
        } else {
            self.bring_record_into_line(changes);
        }
        if !made.is_empty() {
            self.parts.record.bans_made(made);
        }
    }

    /// Puts into the journal what was done to a few networks, each with a line of its own, since a line has one network whose address is
    /// written under the key of the day; `detail` follows it.
    pub(super) fn journal_each(&self, networks: &[IpNet], actor: Actor, action: Action, detail: &str) {
        for network in networks {
            self.parts.record.journal_about(*network, actor, action, detail.to_owned());
        }
    }

    /// Puts into the journal which bans that somebody said have ended. Those of the guard come and go by the thousand in a flood.
    pub(super) fn journal_ended(&mut self, ended: &[Ban], now: Timestamp) {
        let by_hand: Vec<&Ban> = ended.iter().filter(|ban| ban.cause == BanCause::Operator).collect();
        match by_hand.as_slice() {
            [] => {}
            [one] => {
                let reason = one.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                self.parts.record.journal_about(one.network, Actor::Guard, Action::Expire, reason);
            }
            _ => {
                let text = format!("{} by hand", counted(by_hand.len() as u64, "ban"));
                self.parts.record.journal(Actor::Guard, Action::Expire, text);
            }
        }
        let is_of_list = |ban: &Ban| ban.cause == BanCause::Import;
        let of_lists = ended.iter().filter(|ban| is_of_list(ban)).count() as u64;
        if of_lists > 0 && self.ended_of_lists.count == 0 {
            self.ended_of_lists.tell_at = now + LISTS_TOLD_INTERVAL;
        }
        self.ended_of_lists.count += of_lists;
        let was_last = of_lists > 0 && !self.bans.iter().any(is_of_list);
        if was_last || now >= self.ended_of_lists.tell_at {
            self.journal_ended_of_lists();
        }
    }

    /// Puts into the journal how many bans of lists have ended since that was last said.
    pub(super) fn journal_ended_of_lists(&mut self) {
        let count = std::mem::take(&mut self.ended_of_lists.count);
        if count > 0 {
            let text = format!("{} of lists", counted(count, "ban"));
            self.parts.record.journal(Actor::Guard, Action::Expire, text);
        }
    }

    /// What is recorded of these networks now.
    fn recorded(&self, networks: &BTreeSet<IpNet>) -> Vec<(IpNet, Option<&Ban>)> {
        networks.iter().map(|network| (*network, self.bans.get(*network).filter(|ban| is_recorded(ban)))).collect()
    }

    fn bring_record_into_line(&self, changes: Vec<(IpNet, Option<&Ban>)>) {
        if !changes.is_empty() {
            self.parts.record.bans_changed(changes.into_iter().map(|(network, ban)| (network, ban.cloned())));
        }
    }
}

/// Whether a ban outlives the guard. Those of seconds by rules would only make work.
fn is_recorded(ban: &Ban) -> bool {
    ban.cause.rule().is_none() || ban.expires.since(ban.since) >= RECORDED_MIN
}

/// A ban of before a restart, as it goes on: of a client that went on after refusals no longer than for a new one, since the gate
/// has to look at it again.
fn taken_up(mut ban: Ban, now: Timestamp) -> Ban {
    if ban.cause.rule().is_some() {
        ban.expires = ban.expires.min(ban.since + HANDED_DOWN_MAX);
    }
    (ban.since, ban.expires) = carried_over(ban.since, ban.expires, now);
    ban
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::RuleId;

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
            assert_eq!(left(BanCause::Rule(RuleId(1)), now), 240);
            assert_eq!(left(BanCause::Merged(Some(RuleId(1))), now), 240);
        }
        assert_eq!(left(BanCause::Operator, after(86_400)), 0);
    }
}
