//! Which clients rules would have hit, and which of those are returning, in bounded memory.
//!
//! A client is *returning* for a rule when the logs show it at least an hour before the last of its requests that the rule
//! matches. Any request shows it, matched or not. It does not depend on the order of the lines: rotated logs are often read
//! newest first.

use seawall_engine::distinct::Distinct;
use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

/// How long before a match a client must have been seen to be returning, in seconds.
pub(super) const RETURN_SECONDS_MIN: u32 = 3600;

/// The most clients that are known one by one: 64 MiB at most. Of more, those that come first in the logs are.
pub(super) const CLIENTS_MAX: usize = 1_000_000;

/// The most pairs of a client and a rule that hit it: 48 MiB at most.
const HITS_MAX: usize = 1_000_000;

/// What is known of clients.
pub(super) struct Visitors {
    hasher: DefaultHashBuilder,
    index: HashTable<u32>,
    known: Vec<Visitor>,
    distinct: Distinct,
    /// Whether there was a client that there was no room for.
    is_overfull: bool,
    hit_index: HashTable<u32>,
    hits: Vec<Hit>,
    /// How many distinct clients each rule hit, whether there was room for them or not.
    hit_by: Vec<Distinct>,
    hits_overfull: bool,
}

struct Visitor {
    /// [`seawall_engine::address::ClientAddress::client_key`]
    key: u128,
    /// Seconds since the Unix epoch.
    first_seen: u32,
}

/// What one rule did to one client.
struct Hit {
    visitor: u32,
    rule: u32,
    last: u32,
    requests: u32,
    answered: u32,
}

/// A client that was seen.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    hash: u64,
    /// `None` for one that there was no room for.
    visitor: Option<u32>,
}

/// The clients that a rule hit.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientsHit {
    /// Distinct clients.
    pub(super) clients: u64,
    /// The returning ones among them, at least.
    pub(super) returning: u64,
    /// Whether both are exact.
    pub(super) is_exact: bool,
    /// Matched requests of the returning ones.
    pub(super) returning_requests: u64,
    /// How many of those had been answered with 2xx or 3xx.
    pub(super) returning_answered: u64,
    /// The returning ones with the most matched requests, most first.
    pub(super) most_hit: Vec<Returning>,
}

/// A returning client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Returning {
    pub(super) answered: u32,
    pub(super) requests: u32,
    pub(super) key: u128,
}

impl Visitors {
    /// Of nobody yet, for so many rules.
    pub(super) fn new(rules: usize) -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            index: HashTable::new(),
            known: Vec::new(),
            distinct: Distinct::new(),
            is_overfull: false,
            hit_index: HashTable::new(),
            hits: Vec::new(),
            hit_by: (0..rules).map(|_| Distinct::new()).collect(),
            hits_overfull: false,
        }
    }

    /// Notes that a client was seen at this second since the Unix epoch.
    pub(super) fn see(&mut self, key: u128, second: u32) -> Seen {
        let hash = self.hasher.hash_one(key);
        let Self { index, known, .. } = self;
        let found = index.find(hash, |place| known.get(*place as usize).is_some_and(|visitor| visitor.key == key));
        if let Some(place) = found.copied() {
            if let Some(visitor) = known.get_mut(place as usize) {
                visitor.first_seen = visitor.first_seen.min(second);
            }
            return Seen { hash, visitor: Some(place) };
        }
        self.distinct.add(hash);
        let place = u32::try_from(self.known.len()).ok().filter(|_| self.known.len() < CLIENTS_MAX);
        match place {
            Some(place) => {
                self.known.push(Visitor { key, first_seen: second });
                let Self { index, known, hasher, .. } = self;
                index.insert_unique(hash, place, |place| {
                    known.get(*place as usize).map_or(0, |visitor| hasher.hash_one(visitor.key))
                });
            }
            None => self.is_overfull = true,
        }
        Seen { hash, visitor: place }
    }

    /// Notes that a rule matches a request of a client that was just seen.
    pub(super) fn hit(&mut self, seen: Seen, rule: u32, second: u32, is_answered: bool) {
        let Some(visitor) = seen.visitor else { return self.note_client(seen, rule) };
        let hash = self.hasher.hash_one((visitor, rule));
        let Self { hit_index, hits, .. } = &mut *self;
        let found = hit_index.find(hash, |place| {
            hits.get(*place as usize).is_some_and(|hit| (hit.visitor, hit.rule) == (visitor, rule))
        });
        if let Some(hit) = found.and_then(|place| hits.get_mut(*place as usize)) {
            hit.last = hit.last.max(second);
            hit.requests = hit.requests.saturating_add(1);
            hit.answered = hit.answered.saturating_add(u32::from(is_answered));
            return;
        }
        self.note_client(seen, rule);
        let place = u32::try_from(self.hits.len()).ok().filter(|_| self.hits.len() < HITS_MAX);
        let Some(place) = place else {
            self.hits_overfull = true;
            return;
        };
        self.hits.push(Hit { visitor, rule, last: second, requests: 1, answered: u32::from(is_answered) });
        let Self { hit_index, hits, hasher, .. } = self;
        hit_index.insert_unique(hash, place, |place| {
            hits.get(*place as usize).map_or(0, |hit| hasher.hash_one((hit.visitor, hit.rule)))
        });
    }

    fn note_client(&mut self, seen: Seen, rule: u32) {
        if let Some(distinct) = self.hit_by.get_mut(rule as usize) {
            distinct.add(seen.hash);
        }
    }

    /// How many distinct clients there are, and whether that is exact.
    pub(super) fn clients(&self) -> (u64, bool) {
        if self.is_overfull { (self.distinct.estimate(), false) } else { (self.known.len() as u64, true) }
    }

    /// Whom each rule hit, and the `most` returning clients that it hit most.
    pub(super) fn hit_clients(&self, most: usize) -> Vec<ClientsHit> {
        let is_exact = !self.is_overfull && !self.hits_overfull;
        let mut found = vec![ClientsHit { is_exact, ..ClientsHit::default() }; self.hit_by.len()];
        for hit in &self.hits {
            let (Some(of_rule), Some(visitor)) =
                (found.get_mut(hit.rule as usize), self.known.get(hit.visitor as usize))
            else {
                continue;
            };
            of_rule.clients += 1;
            if hit.last.saturating_sub(visitor.first_seen) < RETURN_SECONDS_MIN {
                continue;
            }
            of_rule.returning += 1;
            of_rule.returning_requests += u64::from(hit.requests);
            of_rule.returning_answered += u64::from(hit.answered);
            let client = Returning { answered: hit.answered, requests: hit.requests, key: visitor.key };
            let place = of_rule.most_hit.partition_point(|other| *other > client);
            if place < most {
                of_rule.most_hit.insert(place, client);
                of_rule.most_hit.truncate(most);
            }
        }
        for (of_rule, distinct) in found.iter_mut().zip(&self.hit_by) {
            if !is_exact {
                of_rule.clients = of_rule.clients.max(distinct.estimate());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u32 = RETURN_SECONDS_MIN;

    fn returning(requests: &[(u128, u32, bool)]) -> u64 {
        let mut visitors = Visitors::new(1);
        for (client, second, is_hit) in requests {
            let seen = visitors.see(*client, *second);
            if *is_hit {
                visitors.hit(seen, 0, *second, true);
            }
        }
        visitors.hit_clients(3)[0].returning
    }

    #[test]
    fn who_was_there_an_hour_before_a_match_is_returning() {
        assert_eq!(returning(&[(1, 0, false), (1, HOUR, true)]), 1);
        assert_eq!(returning(&[(1, 0, false), (1, HOUR - 1, true)]), 0);
        assert_eq!(returning(&[(1, 0, true), (1, HOUR, true)]), 1);
        assert_eq!(returning(&[(1, 0, true), (1, HOUR, false)]), 0);
        assert_eq!(returning(&[(1, 0, false), (2, HOUR, true)]), 0);
    }

    #[test]
    fn the_order_of_the_lines_does_not_matter() {
        assert_eq!(returning(&[(1, HOUR, true), (1, 0, false)]), 1);
        assert_eq!(returning(&[(1, HOUR, true), (1, 2 * HOUR, false)]), 0);
    }

    #[test]
    fn more_clients_than_there_is_room_for_are_estimated() {
        let mut visitors = Visitors::new(2);
        let clients = CLIENTS_MAX as u128 + 200_000;
        for client in 0..clients {
            let seen = visitors.see(client, 0);
            visitors.hit(seen, 1, HOUR, client.is_multiple_of(2));
        }
        let (count, is_exact) = visitors.clients();
        let near = |count: u64| (count as f64 / clients as f64 - 1.0).abs() < 0.03;
        assert!(near(count) && !is_exact, "{count}");
        assert_eq!(visitors.known.len(), CLIENTS_MAX);
        assert_eq!(visitors.hits.len(), HITS_MAX);
        let [none, all] = &visitors.hit_clients(2)[..] else { panic!("two rules") };
        assert_eq!((none.clients, none.returning), (0, 0));
        assert!(near(all.clients) && !all.is_exact, "{}", all.clients);
        assert_eq!((all.returning, all.returning_answered), (CLIENTS_MAX as u64, CLIENTS_MAX as u64 / 2));
        assert_eq!(all.most_hit.len(), 2);
    }
}
