//! Who came in the minute before an incident. The baseline knows what an hour is usually like; it does not know that a link has
//! brought a network's people today. A rule about nothing but what senders share with ordinary ones (a common agent, a provider)
//! would hit them, so it is also asked how many clients of that minute it would have hit. Not so a rule about what is asked for,
//! or about a mark that ordinary traffic has hardly ever: what came before of that may be the flood's own beginning. But a rule that
//! asks for any query is asked about those with a query that several of them had, as they have who follow a link of a campaign: a flood that
//! makes its queries up has each but once.

use rustc_hash::FxHashMap;

use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

use super::recent::{Answered, Recent};
use super::statistics::share_upper_95;
use super::values::{ABSENT, Item, Marks, PRESENT};

/// How long before the onset a flood may have begun unnoticed, in seconds.
const MARGIN_SECONDS: u64 = 3;

/// Clients that are remembered, each with its first request; more are met by chance of their address.
const CLIENTS_MAX: usize = 256;

/// With fewer clients nothing is said.
const CLIENTS_MIN: usize = 10;

/// The clients of the minute before one incident.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    incident: u32,
    clients: Vec<Marks>,
}

impl Before {
    pub(crate) fn new() -> Self {
        Self { incident: 0, clients: Vec::with_capacity(CLIENTS_MAX) }
    }

    /// Looks at the minute before this incident, unless it was looked at already.
    pub(crate) fn look(&mut self, incident: u32, onset: Timestamp, recent: &Recent) {
        if self.incident == incident {
            return;
        }
        self.incident = incident;
        self.clients.clear();
        let until = onset.as_seconds().saturating_sub(MARGIN_SECONDS);
        let mut first: FxHashMap<u32, Marks> = FxHashMap::default();
        let rows = recent.since(Timestamp::EPOCH).filter(|sampled| {
            let row = sampled.row;
            sampled.at.as_seconds() < until
                && row.client_hash != 0
                && row.is_mineable()
                && row.answered != Answered::ByRule
        });
        for sampled in rows {
            first.insert(sampled.row.client_hash, sampled.row.marks);
        }
        let mut clients: Vec<(u32, Marks)> = first.into_iter().collect();
        clients.sort_unstable_by_key(|(client, _)| *client);
        self.clients.extend(clients.into_iter().take(CLIENTS_MAX).map(|(_, marks)| marks));
    }

    /// The share of those clients that a rule about these values would have hit, with its upper bound at 95%; `None` when none is
    /// known to be hit, or when what came before may be the flood's own. `has_rare_mark` says whether hardly anybody in
    /// ordinary traffic has one of the values.
    pub(crate) fn hit(&self, items: &[Item], has_rare_mark: bool) -> Option<(f64, f64)> {
        // Of a network's people the next may have any agent.
        let networks: Vec<Item> = items.iter().filter(|item| item.attribute.is_network()).copied().collect();
        // What people leave out of their requests tells as little of them as their agents do, nor does that they do not.
        let says_nothing_of_what_is_asked =
            |item: &Item| is_of_sender(item.attribute) || matches!(item.hash, ABSENT | PRESENT);
        let is_about_senders =
            items.iter().all(says_nothing_of_what_is_asked) && items.iter().any(|item| is_of_sender(item.attribute));
        if has_rare_mark || self.clients.len() < CLIENTS_MIN {
            return None;
        }
        if !is_about_senders {
            return items.iter().find(|item| item.hash == PRESENT).and_then(|any| self.hit_alike(items, any.attribute));
        }
        let asked = if networks.is_empty() { items } else { &networks };
        let hit = self.clients.iter().filter(|marks| marks.has_all(asked)).count() as f64;
        let all = self.clients.len() as f64;
        // One client of that minute may be the very one that floods now.
        let least = if asked.iter().any(|item| item.attribute == Attribute::ClientPrefix) { 2.0 } else { 1.0 };
        (hit >= least).then(|| (hit / all, share_upper_95(hit, all)))
    }

    /// The same of a rule that asks for any value of an attribute: of those who had a value that another client had as well.
    fn hit_alike(&self, items: &[Item], attribute: Attribute) -> Option<(f64, f64)> {
        let hit = || self.clients.iter().filter(|marks| marks.has_all(items));
        let is_alike = |marks: &&Marks| {
            let value = marks.one(attribute);
            hit().filter(|other| other.one(attribute) == value).count() >= 2
        };
        let alike = hit().filter(is_alike).count() as f64;
        let all = self.clients.len() as f64;
        (alike > 0.0).then(|| (alike / all, share_upper_95(alike, all)))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.clients.capacity() * size_of::<Marks>()
    }
}

/// Whether this is about who sends, and not about what is asked for.
const fn is_of_sender(attribute: Attribute) -> bool {
    attribute.is_network()
        || attribute.is_mark()
        || matches!(attribute, Attribute::UserAgentWord | Attribute::RefererOrigin | Attribute::Version)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty clients, half of them of one network; all without a referer and with no query.
    fn twenty() -> Before {
        let client = |number: u32| {
            let mut marks = Marks::default();
            marks.of_mut(Attribute::Asn)[0] = 10 + number % 2;
            marks.of_mut(Attribute::QueryKeys)[0] = ABSENT;
            marks.of_mut(Attribute::RefererOrigin)[0] = ABSENT;
            marks.of_mut(Attribute::Path)[0] = 50;
            marks
        };
        Before { incident: 1, clients: (0..20).map(client).collect() }
    }

    const NETWORK: Item = Item { attribute: Attribute::Asn, hash: 10 };
    const NO_QUERY: Item = Item { attribute: Attribute::QueryKeys, hash: ABSENT };
    const NO_REFERER: Item = Item { attribute: Attribute::RefererOrigin, hash: ABSENT };
    const ANY: Item = Item { attribute: Attribute::QueryKeys, hash: PRESENT };
    const PATH: Item = Item { attribute: Attribute::Path, hash: 50 };

    #[test]
    fn what_a_network_leaves_out_is_as_telling_as_the_network() {
        let before = twenty();
        for rule in [&[NETWORK][..], &[NO_REFERER, NETWORK], &[NO_REFERER, NO_QUERY, NETWORK]] {
            let (share, upper) = before.hit(rule, false).expect("half of them would be hit");
            assert!((share - 0.5).abs() < 1e-9 && upper > 0.5, "{rule:?}: {share} {upper}");
        }
        assert!(before.hit(&[ANY, NETWORK], false).is_some(), "nor does that they ask for something");
    }

    #[test]
    fn what_is_asked_for_or_hardly_anybody_has_is_not_asked_about() {
        let before = twenty();
        assert_eq!(before.hit(&[PATH, NETWORK], false), None, "the path may be the flood's own");
        assert_eq!(before.hit(&[NO_QUERY], false), None, "nothing is said of who sends");
        assert_eq!(before.hit(&[PATH, ANY], false), None, "nobody had a query");
        assert!(before.hit(&[NO_REFERER, NO_QUERY], false).is_some(), "nor of what is asked for");
        assert_eq!(before.hit(&[NETWORK], true), None, "with a mark that hardly anybody has");
        assert_eq!(before.hit(&[Item { hash: 99, ..NETWORK }], false), None, "nobody of that network was there");
        let few = Before { incident: 1, clients: before.clients.into_iter().take(CLIENTS_MIN - 1).collect() };
        assert_eq!(few.hit(&[NETWORK], false), None, "too few to say anything");
    }

    #[test]
    fn a_link_that_several_follow_speaks_against_asking_for_any_query() {
        let with_queries = |value: &dyn Fn(u32) -> u32| {
            let mut before = twenty();
            for (number, marks) in (0..).zip(before.clients.iter_mut().take(5)) {
                marks.set(Attribute::QueryKeys, value(number));
            }
            before
        };
        let (share, upper) = with_queries(&|_| 77).hit(&[PATH, ANY], false).expect("five of twenty follow it");
        assert!(share == 0.25 && upper > 0.25, "{share}, {upper}");
        assert!(with_queries(&|_| 77).hit(&[ANY], false).is_some());
        assert_eq!(with_queries(&|_| 77).hit(&[PATH, ANY], true), None, "with a mark that hardly anybody has");
        assert_eq!(with_queries(&|number| 77 + number).hit(&[PATH, ANY], false), None, "each is made up");
    }
}
