//! Bans that end unless they are confirmed, and what was there before each: so that nothing but what was confirmed outlives its
//! deadline, in whatever order changes are made, taken back and run out.

use std::collections::BTreeMap;

use ipnet::IpNet;
use seawall_engine::decision::Ban;
use seawall_engine::units::Timestamp;

/// Changes that wait to be confirmed; beyond that the oldest is undone.
const CHANGES_MAX: usize = 64;

/// What waits, in the order in which it was said.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    changes: Vec<Change>,
}

/// One change.
#[derive(Debug)]
struct Change {
    until: Timestamp,
    /// By network: a country is a hundred thousand.
    bans: BTreeMap<IpNet, Pending>,
    /// Bans of other networks that gave way to these.
    gave_way: BTreeMap<IpNet, Ban>,
}

/// A ban of a change. In force it ends with the change's deadline, here it is as it is to be once it is confirmed.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// As it is to be.
    pub(super) ban: Ban,
    /// What it took the place of.
    pub(super) before: Option<Ban>,
}

/// A network whose ban is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confirming {
    /// When the ban that is in force until the deadline was made: another one of the same network stays.
    pub(super) since: Timestamp,
    /// The ban as it is to be.
    pub(super) ban: Ban,
}

/// A network whose ban has not been confirmed: its ban goes, and what was there before comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undone {
    pub(super) network: IpNet,
    /// When the ban that goes was made: another one of the same network stays.
    pub(super) since: Timestamp,
    pub(super) before: Option<Ban>,
}

/// What is to be undone of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Undoing {
    pub(super) bans: Vec<Undone>,
    /// Bans that gave way, and come back as far as there is room.
    pub(super) gave_way: Vec<Ban>,
}

impl Unconfirmed {
    /// How many changes wait.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// When the first deadline is.
    pub(super) fn first_deadline(&self) -> Option<Timestamp> {
        self.changes.iter().map(|change| change.until).min()
    }

    /// Of a ban that waits: until when, and until when its network stays banned if nothing that waits is confirmed.
    pub(super) fn waiting(&self, ban: &Ban) -> Option<(Timestamp, Option<Timestamp>)> {
        let mut changes = self.changes.iter().filter(|change| change.bans.contains_key(&ban.network));
        let (first, last) = (changes.clone().next()?, changes.next_back()?);
        last.bans.get(&ban.network).filter(|pending| pending.ban.since == ban.since)?;
        let before = first.bans.get(&ban.network).and_then(|pending| pending.before.as_ref());
        Some((last.until, before.map(|before| before.expires)))
    }

    /// One more change waits. Where there are too many, returns what is undone for it.
    pub(super) fn add(&mut self, until: Timestamp, bans: Vec<Pending>, gave_way: Vec<Ban>) -> Option<Undoing> {
        let oldest = if self.changes.len() >= CHANGES_MAX { Some(self.undo(0)) } else { None };
        let bans = bans.into_iter().map(|pending| (pending.ban.network, pending)).collect();
        let gave_way = gave_way.into_iter().map(|ban| (ban.network, ban)).collect();
        self.changes.push(Change { until, bans, gave_way });
        oldest
    }

    /// Takes out the changes whose time is over or of which every ban was taken back, and says what is to be undone of each.
    pub(super) fn run_out(&mut self, now: Timestamp) -> Vec<Undoing> {
        let mut undone = Vec::new();
        let is_over = |change: &Change| change.until <= now || change.bans.is_empty();
        while let Some(index) = self.changes.iter().position(is_over) {
            undone.push(self.undo(index));
        }
        undone
    }

    /// Takes every change out, the newest first.
    pub(super) fn undo_all(&mut self) -> Vec<Undoing> {
        (0..self.changes.len()).rev().map(|index| self.undo(index)).collect()
    }

    /// Everything is confirmed: what is to be of each network, and how many changes that were.
    pub(super) fn confirm(&mut self) -> (Vec<Confirming>, usize) {
        let changes = std::mem::take(&mut self.changes);
        let count = changes.len();
        let mut confirmed: BTreeMap<IpNet, Confirming> = BTreeMap::new();
        for Pending { ban, .. } in changes.into_iter().flat_map(|change| change.bans.into_values()) {
            let since = ban.since;
            match confirmed.get_mut(&ban.network) {
                // As if both had been in force for as long as they say from the start.
                Some(earlier) if !ban.replaces(&earlier.ban) => earlier.since = since,
                _ => drop(confirmed.insert(ban.network, Confirming { since, ban })),
            }
        }
        (confirmed.into_values().collect(), count)
    }

    /// A later word about a network stands, whatever becomes of what waits.
    pub(super) fn forget(&mut self, network: IpNet) {
        for change in &mut self.changes {
            change.bans.remove(&network);
            change.gave_way.remove(&network);
        }
        self.changes.retain(|change| !change.bans.is_empty() || !change.gave_way.is_empty());
    }

    /// A list names somebody whose ban waits to be confirmed: where that would last for longer, the list's ban comes after it if it is
    /// undone. False where there is none such.
    pub(super) fn stand_behind(&mut self, ban: &Ban) -> bool {
        let waiting = self.changes.iter_mut().rev().find_map(|change| change.bans.get_mut(&ban.network));
        let Some(pending) = waiting.filter(|pending| pending.ban.expires > ban.expires) else { return false };
        if pending.before.as_ref().is_none_or(|before| before.expires < ban.expires) {
            pending.before = Some(ban.clone());
        }
        true
    }

    /// Bans that there is no room for as long as another change waits come back with that. Says how many have none to wait for.
    pub(super) fn wait_for_room(&mut self, bans: Vec<Ban>) -> usize {
        let Some(last) = self.changes.last_mut() else { return bans.len() };
        last.gave_way.extend(bans.into_iter().map(|ban| (ban.network, ban)));
        0
    }

    /// Bans that are not to come back, since who made them has let go of them.
    pub(super) fn forget_before(&mut self, is_gone: impl Fn(&Ban) -> bool) {
        for pending in self.changes.iter_mut().flat_map(|change| change.bans.values_mut()) {
            pending.before.take_if(|ban| is_gone(ban));
        }
        self.changes.iter_mut().for_each(|change| change.gave_way.retain(|_, ban| !is_gone(ban)));
        self.changes.retain(|change| !change.bans.is_empty() || !change.gave_way.is_empty());
    }

    fn undo(&mut self, index: usize) -> Undoing {
        let change = self.changes.remove(index);
        let mut undone = Undoing { gave_way: change.gave_way.into_values().collect(), ..Undoing::default() };
        for (network, Pending { ban, before }) in change.bans {
            match self.changes.iter_mut().skip(index).find_map(|change| change.bans.get_mut(&network)) {
                // That one is in force, and took the place of what was never confirmed.
                Some(later) => later.before = before,
                None => undone.bans.push(Undone { network, since: ban.since, before }),
            }
        }
        undone
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use seawall_engine::decision::BanCause;

    use super::*;

    fn after(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_700_000_000) + Duration::from_secs(seconds)
    }

    fn ban(seconds: u64) -> Ban {
        let network = "192.0.2.7/32".parse().expect("a network");
        Ban { network, since: after(seconds), expires: after(3_600), cause: BanCause::Operator, reason: None }
    }

    fn change(unconfirmed: &mut Unconfirmed, until: u64, made: u64, before: Option<Ban>) {
        assert_eq!(unconfirmed.add(after(until), vec![Pending { ban: ban(made), before }], vec![]), None);
    }

    fn flat(undone: Vec<Undoing>) -> Vec<Undone> {
        undone.into_iter().flat_map(|undoing| undoing.bans).collect()
    }

    #[test]
    fn a_short_deadline_does_not_wait_behind_a_long_one() {
        let mut unconfirmed = Unconfirmed::default();
        let other = Ban { network: "192.0.2.8/32".parse().expect("a network"), ..ban(1) };
        unconfirmed.add(after(600), vec![Pending { ban: other, before: None }], vec![]);
        change(&mut unconfirmed, 2, 1, None);
        let undone = flat(unconfirmed.run_out(after(2)));
        assert_eq!(undone, [Undone { network: ban(1).network, since: after(1), before: None }]);
        assert_eq!(unconfirmed.len(), 1);
    }

    #[test]
    fn of_overlapping_changes_none_brings_back_what_was_not_confirmed() {
        let first = ban(0);
        for order in [[10, 20], [20, 10]] {
            let mut unconfirmed = Unconfirmed::default();
            change(&mut unconfirmed, order[0], 1, Some(first.clone()));
            change(&mut unconfirmed, order[1], 2, Some(ban(1)));
            let early = flat(unconfirmed.run_out(after(10)));
            let late = flat(unconfirmed.run_out(after(20)));
            // Whichever goes last brings back what was there before both.
            if order[0] < order[1] {
                assert!(early.is_empty(), "the second is in force");
            } else {
                assert_eq!(early[0].before, Some(ban(1)), "the first still waits");
            }
            assert_eq!(late[0].before, Some(first.clone()), "{order:?}");
        }
        let mut unconfirmed = Unconfirmed::default();
        change(&mut unconfirmed, 10, 1, Some(first.clone()));
        change(&mut unconfirmed, 20, 2, Some(ban(1)));
        let all = flat(unconfirmed.undo_all());
        assert_eq!(all.last().and_then(|undone| undone.before.clone()), Some(first));
    }

    #[test]
    fn what_waits_is_known_with_what_comes_back() {
        let mut unconfirmed = Unconfirmed::default();
        assert_eq!((unconfirmed.waiting(&ban(0)), unconfirmed.first_deadline()), (None, None));
        change(&mut unconfirmed, 20, 1, Some(ban(0)));
        change(&mut unconfirmed, 10, 2, Some(ban(1)));
        assert_eq!(unconfirmed.waiting(&ban(2)), Some((after(10), Some(ban(0).expires))));
        assert_eq!(unconfirmed.waiting(&ban(3)), None, "it was made since");
        assert_eq!(unconfirmed.first_deadline(), Some(after(10)));
        unconfirmed.confirm();
        change(&mut unconfirmed, 20, 1, None);
        assert_eq!(unconfirmed.waiting(&ban(1)), Some((after(20), None)));
    }

    #[test]
    fn what_was_taken_back_meanwhile_stays_so() {
        let mut unconfirmed = Unconfirmed::default();
        change(&mut unconfirmed, 10, 1, Some(ban(0)));
        unconfirmed.forget(ban(0).network);
        assert_eq!(unconfirmed.len(), 0);
        change(&mut unconfirmed, 10, 1, Some(ban(0)));
        unconfirmed.forget_before(|_| true);
        assert_eq!(flat(unconfirmed.run_out(after(10)))[0].before, None);
        for number in 0..CHANGES_MAX as u64 {
            change(&mut unconfirmed, 100, number, None);
        }
        assert!(unconfirmed.add(after(100), vec![Pending { ban: ban(99), before: None }], vec![]).is_some());
        assert_eq!(unconfirmed.len(), CHANGES_MAX);
    }
}
