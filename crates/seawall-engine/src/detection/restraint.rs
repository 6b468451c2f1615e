//! How much of a new sender is learned: a flood that grows slowly is learned while it is still small, and by the time it is one its
//! agent would be as ordinary as any.
//!
//! So an agent or order of headers that has less than a thousandth of the votes of 28 days may have one two-hundredth of the votes
//! of an hour. What comes to stay crosses the thousandth within days; what floods stays below what a rule may hit.
//!
//! A table of fixed size, keyed by hash; senders in one place share what they may have.

use crate::observation::attribute::Attribute;

use super::seen::Seen;
use super::values::{ABSENT, Item, Marks, UNUSED};

/// Whoever has this share of the votes of 28 days is known, and learned as it comes.
const KNOWN_SHARE: f64 = 0.001;

/// The share of an hour's votes that one new sender may have, and the votes that any may: a rule that hits no more than this is
/// within what rules may hit.
const NEW_SHARE: f64 = 0.005;
const NEW_VOTES_MIN: f64 = 2.0;

/// How many senders are counted.
const SENDERS: usize = 4096;

/// What was learned in this hour.
#[derive(Clone, Debug)]
pub(super) struct Restraint {
    hour: u64,
    /// All votes that were learned, and those of the senders in each place.
    all: f64,
    votes: Vec<u16>,
}

impl Restraint {
    pub(super) fn new() -> Self {
        Self { hour: 0, all: 0.0, votes: vec![0; SENDERS] }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(self.votes.as_slice())
    }

    /// Whether a vote of this second with these values may be learned; it is counted as one that is.
    pub(super) fn admits(&mut self, second: u64, marks: &Marks, seen: &Seen) -> bool {
        if second / 3600 != self.hour {
            self.hour = second / 3600;
            self.all = 0.0;
            self.votes.fill(0);
        }
        let most = (self.all * NEW_SHARE).max(NEW_VOTES_MIN);
        let senders = [Attribute::UserAgent, Attribute::HeaderOrder];
        let new = senders.map(|attribute| Item { attribute, hash: marks.one(attribute) });
        let new = new.map(|item| (!matches!(item.hash, UNUSED | ABSENT) && is_new(item, seen)).then(|| place(item)));
        let places = || new.into_iter().flatten();
        if places().any(|place| f64::from(self.votes[place]) >= most) {
            return false;
        }
        self.all += 1.0;
        for place in places() {
            self.votes[place] = self.votes[place].saturating_add(1);
        }
        true
    }
}

/// Whether hardly anybody has had this in 28 days.
fn is_new(item: Item, seen: &Seen) -> bool {
    seen.share(item).is_some_and(|share| share < KNOWN_SHARE)
}

const fn place(item: Item) -> usize {
    (item.hash ^ (item.attribute as u32).wrapping_mul(0x9e37_79b1)) as usize % SENDERS
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn marks(agent: u32) -> Marks {
        let mut marks = Marks::default();
        marks.of_mut(Attribute::UserAgent)[0] = agent;
        marks
    }

    /// A site that has known ten agents for two days, 500 votes an hour.
    fn known() -> Seen {
        let mut seen = Seen::new();
        for number in 0..24_000_u32 {
            seen.learn(100 * 24 * HOUR + u64::from(number) * 7, &marks(10 + number % 10), true);
        }
        seen
    }

    #[test]
    fn of_a_new_agent_little_is_learned_and_of_known_ones_everything() {
        let (mut restraint, mut seen) = (Restraint::new(), known());
        let (mut new, mut old) = (0, 0);
        for number in 0..1_000_u32 {
            let second = 102 * 24 * HOUR + u64::from(number);
            for agent in [7, 10 + number % 10] {
                if restraint.admits(second, &marks(agent), &seen) {
                    seen.learn(second, &marks(agent), true);
                    *if agent == 7 { &mut new } else { &mut old } += 1;
                }
            }
        }
        assert_eq!(old, 1_000);
        assert!((5..=12).contains(&new), "{new}");
    }

    #[test]
    fn what_comes_to_stay_is_known_within_days() {
        let (mut restraint, mut seen) = (Restraint::new(), known());
        let mut hour = 102 * 24;
        let is_known = |seen: &Seen| !is_new(Item { attribute: Attribute::UserAgent, hash: 7 }, seen);
        while !is_known(&seen) {
            hour += 1;
            for number in 0..500_u32 {
                let agent = if number % 5 == 0 { 7 } else { 10 + number % 10 };
                if restraint.admits(hour * HOUR, &marks(agent), &seen) {
                    seen.learn(hour * HOUR, &marks(agent), true);
                }
            }
            assert!(hour < 107 * 24, "not known after five days");
        }
        assert!(hour > 102 * 24 + 5, "nobody is known within hours: {hour}");
    }
}
