//! How often each value was seen in the last 28 days. The sample of normal requests has room for a few thousand of them, and
//! none of 8,192 is not never: what a rare visitor has who comes once a week is found here. Values are counted by votes, as
//! the sample is, so that nobody can teach by volume.
//!
//! Two tables of fixed size, of what senders are and of what they ask for, so that a site with a million paths forgets no
//! agent. In each the value that was seen least and longest ago makes room. The networks of clients are not counted: what
//! is kept here is saved.

use serde::{Deserialize, Serialize};

use crate::observation::attribute::Attribute;

use super::values::{Item, Marks};

/// How long a value is remembered after it was last seen, in days.
const DAYS: u16 = 28;

/// Counts are exact up to here.
const COUNT_MAX: u8 = u8::MAX;

/// How many values share a set.
const WAYS: usize = 8;

/// Of so many votes, what a third of all visitors have is missing once in two hundred thousand times.
const TELLING_VOTES: f64 = 30.0;

/// Values of senders and of targets.
const SENDERS: usize = 1 << 15;
const TARGETS: usize = 1 << 15;

/// One value: the part of its hash that its place does not tell, how often it was seen, and on which day last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    tag: u16,
    count: u8,
    day: u8,
}

impl Entry {
    /// How many days ago it was last seen.
    const fn age(self, day: u16) -> u8 {
        (day as u8).wrapping_sub(self.day)
    }

    const fn is_used(self, day: u16) -> bool {
        self.count > 0 && self.age(day) <= DAYS as u8
    }
}

/// How often values were seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    senders: Vec<[Entry; WAYS]>,
    targets: Vec<[Entry; WAYS]>,
    /// Votes of each of the last days, by the number of the day.
    votes: [u32; DAYS as usize],
    day: u16,
}

/// What of it is saved.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedSeen {
    senders: Vec<[Entry; WAYS]>,
    targets: Vec<[Entry; WAYS]>,
    votes: Vec<u32>,
    day: u16,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            senders: vec![[Entry::default(); WAYS]; SENDERS / WAYS],
            targets: vec![[Entry::default(); WAYS]; TARGETS / WAYS],
            votes: [0; DAYS as usize],
            day: 0,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(self.senders.as_slice()) + size_of_val(self.targets.as_slice())
    }

    /// Learns the values of one normal request; `is_vote` says that it is the first of its client in this hour. The others only
    /// make known what was not.
    pub(crate) fn learn(&mut self, second: u64, marks: &Marks, is_vote: bool) {
        self.advance((second / 86_400) as u16);
        if is_vote {
            let votes = &mut self.votes[usize::from(self.day % DAYS)];
            *votes = votes.saturating_add(1);
        }
        for item in marks.placed().filter(|item| item.attribute != Attribute::ClientPrefix) {
            self.count(item, is_vote);
        }
    }

    fn count(&mut self, item: Item, is_vote: bool) {
        let (day, mixed) = (self.day, mixed(item));
        let set = set_mut(if is_of_sender(item) { &mut self.senders } else { &mut self.targets }, mixed);
        let tag = tag(mixed);
        if let Some(known) = set.iter_mut().find(|entry| entry.tag == tag && entry.is_used(day)) {
            known.count = known.count.saturating_add(u8::from(is_vote));
            known.day = day as u8;
            return;
        }
        let worth = |entry: &&mut Entry| {
            if entry.is_used(day) { (entry.count, u8::MAX - entry.age(day)) } else { (0, 0) }
        };
        if let Some(least) = set.iter_mut().min_by_key(worth) {
            *least = Entry { tag, count: 1, day: day as u8 };
        }
    }

    /// Goes on to a day. Days that were never observed leave no votes behind.
    fn advance(&mut self, day: u16) {
        if day <= self.day {
            return;
        }
        // A value that is older than a day's number can tell would look new again.
        let older = day - self.day > DAYS;
        for passed in (self.day + 1).max(day.saturating_sub(DAYS - 1))..=day {
            self.votes[usize::from(passed % DAYS)] = 0;
        }
        for entry in self.senders.iter_mut().chain(&mut self.targets).flatten() {
            if older || !entry.is_used(day) {
                *entry = Entry::default();
            }
        }
        self.day = day;
    }

    /// The share of the votes that had a value; `None` when it was so often that a sample knows it better, and for what is not
    /// counted.
    pub(crate) fn share(&self, item: Item) -> Option<f64> {
        let times = self.times(item);
        (item.attribute != Attribute::ClientPrefix && times < COUNT_MAX)
            .then(|| f64::from(times) / self.votes().max(f64::from(times)).max(1.0))
    }

    /// In how many votes a value was seen, at most [`COUNT_MAX`].
    pub(crate) fn times(&self, item: Item) -> u8 {
        let mixed = mixed(item);
        let table = if is_of_sender(item) { &self.senders } else { &self.targets };
        let set = table.get(place(mixed, table.len())).map_or(&[][..], |set| set);
        let known = set.iter().find(|entry| entry.tag == tag(mixed) && entry.is_used(self.day));
        known.map_or(0, |entry| entry.count)
    }

    /// Whether there were so many votes that what many visitors have is among them.
    pub(crate) fn is_telling(&self) -> bool {
        self.votes() >= TELLING_VOTES
    }

    /// How many votes there were.
    fn votes(&self) -> f64 {
        self.votes.iter().map(|votes| f64::from(*votes)).sum()
    }

    pub(crate) fn saved(&self) -> SavedSeen {
        SavedSeen {
            senders: self.senders.clone(),
            targets: self.targets.clone(),
            votes: self.votes.to_vec(),
            day: self.day,
        }
    }

    /// From what was saved; `None` when it cannot be of this kind.
    pub(crate) fn restored(saved: SavedSeen) -> Option<Self> {
        let votes = saved.votes.try_into().ok()?;
        let fits = saved.senders.len() == SENDERS / WAYS && saved.targets.len() == TARGETS / WAYS;
        fits.then_some(Self { senders: saved.senders, targets: saved.targets, votes, day: saved.day })
    }
}

/// Whether a value says what the sender is, and not what it asks for.
const fn is_of_sender(item: Item) -> bool {
    item.attribute.is_mark() || item.attribute.is_network() || matches!(item.attribute, Attribute::UserAgentWord)
}

/// The hash of a value and its attribute.
const fn mixed(item: Item) -> u32 {
    let mut mixed = item.hash ^ (item.attribute as u32 + 1).wrapping_mul(0x9e37_79b9);
    mixed = (mixed ^ (mixed >> 16)).wrapping_mul(0x85eb_ca6b);
    mixed ^ (mixed >> 13)
}

/// The set of a value in a table with so many; a power of two, as the sizes are.
const fn place(mixed: u32, sets: usize) -> usize {
    mixed as usize & sets.saturating_sub(1)
}

const fn tag(mixed: u32) -> u16 {
    (mixed >> 16) as u16
}

fn set_mut(table: &mut [[Entry; WAYS]], mixed: u32) -> &mut [Entry; WAYS] {
    let place = place(mixed, table.len());
    &mut table[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn marks(agent: u32, path: u32) -> Marks {
        let mut marks = Marks::default();
        marks.of_mut(Attribute::UserAgent)[0] = agent;
        marks.of_mut(Attribute::Path)[0] = path;
        marks.of_mut(Attribute::ClientPrefix)[0] = 7;
        marks
    }

    fn agent(hash: u32) -> Item {
        Item { attribute: Attribute::UserAgent, hash }
    }

    #[test]
    fn values_are_counted_by_votes_and_forgotten_after_four_weeks() {
        let mut seen = Seen::new();
        for number in 0..5 {
            seen.learn(100 * DAY, &marks(11, 20), true);
            seen.learn(100 * DAY + number, &marks(11, 30 + number as u32), false);
        }
        assert_eq!(seen.times(agent(11)), 5);
        assert_eq!(seen.times(Item { attribute: Attribute::Path, hash: 31 }), 1, "known, though it is no vote");
        assert_eq!(seen.times(Item { attribute: Attribute::ClientPrefix, hash: 7 }), 0);
        assert_eq!(seen.times(agent(12)), 0);
        assert_eq!(seen.votes(), 5.0);
        assert_eq!((seen.share(agent(11)), seen.share(agent(12))), (Some(1.0), Some(0.0)));
        assert_eq!(seen.share(Item { attribute: Attribute::ClientPrefix, hash: 7 }), None);
        seen.learn(127 * DAY, &marks(12, 20), true);
        assert_eq!((seen.times(agent(11)), seen.votes()), (5, 6.0));
        seen.learn(130 * DAY, &marks(12, 20), true);
        assert_eq!((seen.times(agent(11)), seen.votes()), (0, 2.0));
        seen.learn(130 * DAY + 300 * DAY, &marks(13, 20), true);
        assert_eq!((seen.times(agent(12)), seen.times(agent(13)), seen.votes()), (0, 1, 1.0));
    }

    #[test]
    fn a_million_other_paths_push_out_no_agent_and_no_common_path() {
        let mut seen = Seen::new();
        let before = seen.memory_bytes();
        for _ in 0..3 {
            seen.learn(100 * DAY, &marks(11, 12), true);
        }
        for number in 0..1_000_000 {
            seen.learn(100 * DAY, &marks(5, 1000 + number), true);
        }
        assert_eq!(seen.times(agent(11)), 3);
        assert_eq!(seen.times(Item { attribute: Attribute::Path, hash: 12 }), 3);
        assert_eq!(seen.times(agent(5)), COUNT_MAX);
        assert_eq!(seen.memory_bytes(), before);
        let foreign = (0..10_000).filter(|number| seen.times(agent(500_000 + number)) > 0).count();
        assert!(foreign < 10, "{foreign} of 10,000 agents that never came look known");
    }

    #[test]
    fn what_was_saved_is_what_is_restored() {
        let mut seen = Seen::new();
        seen.learn(100 * DAY, &marks(11, 12), true);
        let restored = Seen::restored(seen.saved()).expect("what was just saved");
        assert_eq!((restored.times(agent(11)), restored.votes()), (1, 1.0));
        let mut broken = seen.saved();
        broken.votes.pop();
        assert!(Seen::restored(broken).is_none());
        let mut broken = seen.saved();
        broken.targets.pop();
        assert!(Seen::restored(broken).is_none());
    }
}
