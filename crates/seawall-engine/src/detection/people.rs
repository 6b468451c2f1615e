//! How many people are behind a network: by the user agents seen from there that ordinary visitors have too. Agents that
//! nobody else has are made up, and all of them together count as one sender. Of a network of several clients each of them is
//! somebody, too.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::observation::attribute::Attribute;

use super::recent::Sampled;
use super::reference::Reference;
use super::values::{Item, UNUSED, ValueHash};

/// Networks with fewer rows than this in the window are named by no rule.
const ROWS_MIN: u32 = 10;

/// The agents of ordinary visitors, and those behind each network that a rule could name.
#[derive(Debug)]
pub(crate) struct People<'a> {
    normal: &'a Reference,
    behind: FxHashMap<ValueHash, Behind>,
}

/// Who is behind one network: user agents, and clients.
#[derive(Debug, Default)]
struct Behind {
    agents: FxHashSet<ValueHash>,
    clients: FxHashSet<u32>,
}

impl<'a> People<'a> {
    /// `window` is what is mined; `recent` everything of the last minute.
    pub(crate) fn new<'r>(
        window: &[Sampled<'_>],
        recent: impl Iterator<Item = Sampled<'r>>,
        normal: &'a Reference,
    ) -> Self {
        let mut counts: FxHashMap<ValueHash, u32> = FxHashMap::default();
        for sampled in window {
            for network in sampled.row.marks.of(Attribute::ClientPrefix) {
                *counts.entry(*network).or_default() += 1;
            }
        }
        let named = counts.into_iter().filter(|(network, count)| *count >= ROWS_MIN && *network != UNUSED);
        let mut behind: FxHashMap<ValueHash, Behind> = named.map(|(network, _)| (network, Behind::default())).collect();
        if !behind.is_empty() {
            for row in recent.map(|sampled| sampled.row) {
                for network in row.marks.of(Attribute::ClientPrefix) {
                    if let Some(behind) = behind.get_mut(network) {
                        behind.agents.insert(row.marks.one(Attribute::UserAgent));
                        behind.clients.insert(row.client_hash);
                    }
                }
            }
            normal.each_network(|network, agent| {
                if let Some(behind) = behind.get_mut(&network) {
                    behind.agents.insert(agent);
                }
            });
        }
        Self { normal, behind }
    }

    /// Whether ordinary visitors have this user agent.
    pub(crate) fn is_ordinary(&self, agent: ValueHash) -> bool {
        self.normal.has_agent(agent)
    }

    /// How many people are behind the networks that these name.
    pub(crate) fn users(&self, items: &[Item]) -> f64 {
        let named = items.iter().filter(|item| item.attribute == Attribute::ClientPrefix);
        let behind = named.filter_map(|item| self.behind.get(&item.hash));
        let users = behind.map(|Behind { agents, clients }| {
            let known = agents.iter().filter(|agent| self.normal.has_agent(**agent)).count();
            (known + usize::from(known < agents.len())).max(clients.len())
        });
        users.max().unwrap_or(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::baseline::NormalRow;
    use crate::detection::marked::Marked;
    use crate::detection::recent::Row;
    use crate::detection::values::Keys;
    use crate::units::Timestamp;

    #[test]
    fn made_up_agents_are_one_sender_and_ordinary_ones_are_people() {
        let row = |agent: ValueHash, network: ValueHash| {
            let mut row = Row { client_hash: network, costs: [1.0, 0.0, 0.0, 0.0], ..Row::default() };
            row.marks.of_mut(Attribute::UserAgent)[0] = agent;
            row.marks.of_mut(Attribute::ClientPrefix)[0] = network;
            row
        };
        let rows: Vec<Row> =
            (0..40).map(|number| row(100 + number, 7)).chain((0..40).map(|agent| row(10 + agent % 5, 8))).collect();
        let sampled: Vec<Sampled<'_>> =
            rows.iter().map(|row| Sampled { row, at: Timestamp::EPOCH, factor: 1.0 }).collect();
        let normal: Vec<NormalRow> =
            (10..20).map(|agent| NormalRow::saved(row(agent, 0).marks, [1.0, 0.0, 0.0, 0.0], 1.0, false)).collect();
        let normal = Reference::new(&normal.iter().collect::<Vec<_>>(), &Marked::new(&Keys::new(1)));
        let people = People::new(&sampled, sampled.iter().copied(), &normal);
        let named = |hash| people.users(&[Item { attribute: Attribute::ClientPrefix, hash }]);
        assert_eq!(named(7), 1.0);
        assert_eq!(named(8), 5.0);
    }

    #[test]
    fn each_client_of_a_network_is_somebody() {
        let row = |client: u32| {
            let mut row = Row { client_hash: client, costs: [1.0, 0.0, 0.0, 0.0], ..Row::default() };
            row.marks.of_mut(Attribute::UserAgent)[0] = 10;
            row.marks.of_mut(Attribute::ClientPrefix)[..2].copy_from_slice(&[client, 7]);
            row
        };
        let rows: Vec<Row> = (0..40).map(|number| row(100 + number % 20)).collect();
        let sampled: Vec<Sampled<'_>> =
            rows.iter().map(|row| Sampled { row, at: Timestamp::EPOCH, factor: 1.0 }).collect();
        let normal = Reference::new(&[], &Marked::new(&Keys::new(1)));
        let people = People::new(&sampled, sampled.iter().copied(), &normal);
        assert_eq!(people.users(&[Item { attribute: Attribute::ClientPrefix, hash: 7 }]), 20.0);
    }
}
