//! Which rows have which values: a bitset for each of some values, made in one pass, so that each of many conjunctions is tried with
//! a few ANDs instead of a walk over the rows.

use super::bits::Bits;
use super::values::{Item, Marks};

/// Slots for each value, and at least: nearly all values of a row are none of those that are asked for, and meet an empty slot.
const SLOTS_EACH: usize = 16;
const SLOTS_MIN: usize = 1024;

/// Some values, and the rows that have each.
#[derive(Debug)]
pub(super) struct Having {
    items: Vec<Item>,
    sets: Vec<Bits>,
    /// The number of the value from one on, or of one that came before it and took the slot; zero where there is none.
    slots: Vec<u16>,
}

impl Having {
    /// Of these values, 65,535 at most, in `count` rows.
    pub(super) fn new<'m>(
        items: impl Iterator<Item = Item>,
        count: usize,
        rows: impl Iterator<Item = &'m Marks>,
    ) -> Self {
        let wanted: Vec<Item> = items.take(usize::from(u16::MAX)).collect();
        let slots = (SLOTS_EACH * wanted.len()).next_power_of_two().max(SLOTS_MIN);
        let mut having = Self { items: Vec::with_capacity(wanted.len()), sets: Vec::new(), slots: vec![0; slots] };
        for item in wanted {
            let (slot, number) = having.find(item);
            if number == 0 {
                having.items.push(item);
                having.slots[slot] = having.items.len() as u16;
            }
        }
        having.sets = vec![Bits::new(count); having.items.len()];
        for (at, marks) in rows.enumerate() {
            for item in marks.placed() {
                let (_, number) = having.find(item);
                if number > 0 {
                    having.sets[usize::from(number) - 1].set(at);
                }
            }
        }
        having
    }

    /// The slot of a value, and its number there; zero when it is none of these.
    fn find(&self, item: Item) -> (usize, u16) {
        let last = self.slots.len() - 1;
        let mut slot = (item.hash ^ (item.attribute as u32).wrapping_mul(0x9e37_79b1)) as usize & last;
        loop {
            match self.slots[slot] {
                0 => return (slot, 0),
                number if self.items[usize::from(number) - 1] == item => return (slot, number),
                _ => slot = (slot + 1) & last,
            }
        }
    }

    /// The rows that have all of these values, `None` when one is none of those that it was made for.
    pub(super) fn all_of(&self, items: &[Item]) -> Option<Bits> {
        let numbers = items.iter().map(|item| usize::from(self.find(*item).1));
        let sets: Option<Vec<&Bits>> = numbers.map(|number| self.sets.get(number.checked_sub(1)?)).collect();
        Bits::all_of(sets?.into_iter())
    }

    /// The rows that have each of the values, in the order in which these were given, without those that came twice.
    pub(super) fn into_sets(self) -> Vec<Bits> {
        self.sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::attribute::Attribute;

    #[test]
    fn values_in_one_slot_are_told_apart() {
        let rows: Vec<Marks> = (0..300)
            .map(|number: u32| {
                let mut marks = Marks::default();
                // The slots of these are the same.
                marks.of_mut(Attribute::UserAgent)[0] = 5 + (number % 3) * (1 << 20);
                marks.of_mut(Attribute::QueryKeys)[0] = 1;
                marks
            })
            .collect();
        let item = |attribute, hash| Item { attribute, hash };
        let agents: Vec<Item> = (0..3).map(|number| item(Attribute::UserAgent, 5 + number * (1 << 20))).collect();
        let none = item(Attribute::QueryKeys, 1);
        let asked = agents.iter().copied().chain([none, agents[0], item(Attribute::RefererOrigin, 1)]);
        let having = Having::new(asked, rows.len(), rows.iter());
        for (number, agent) in agents.iter().enumerate() {
            let rows = having.all_of(&[*agent, none]).expect("both were asked for");
            assert_eq!(rows.count(), 100);
            assert!(rows.into_places().all(|place| place % 3 == number));
        }
        assert_eq!(having.all_of(&[item(Attribute::RefererOrigin, 1)]).expect("asked for").count(), 0);
        assert_eq!(having.all_of(&[item(Attribute::UserAgent, 6)]), None, "not asked for");
        assert_eq!(having.all_of(&[]), None);
        let counts: Vec<u32> = having.into_sets().iter().map(Bits::count).collect();
        assert_eq!(counts, [100, 100, 100, 300, 0]);
    }
}
