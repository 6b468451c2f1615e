//! What outside the surges is the flood's own all the same: a sender that goes on in a trickle all day would else be taken for
//! one of the site's visitors, with a vote for each of its addresses.
//!
//! A mark of a sender is the flood's own when most of its requests are in surges, and those outside are not as visitors are:
//! clients do not return where others do, and parts of pages are not fetched where others fetch them. A page is nobody's mark,
//! so one that is popular all day stays normal.

use rustc_hash::FxHashMap;

use super::super::baseline::{Baseline, NormalRow, STRATA};
use super::super::crowd::ASSET_SHARE_MIN;
use super::super::marked::Marked;
use super::super::recent::Sampled;
use super::super::statistics::g_test;
use super::super::values::{ABSENT, Item, Marks, UNUSED, ValueHash};
use crate::observation::attribute::Attribute;

/// The share of a surge that a mark has at least.
const SURGE_SHARE_MIN: f64 = 0.1;

/// How many times as many requests it has in the surge as outside.
const WITHIN_FACTOR: f64 = 2.0;

/// More votes of all than this are the site's own visitors.
const OUTSIDE_SHARE_MAX: f64 = 1.0 / 3.0;

/// At most this share of its votes comes from clients that were here before, where at least that share of others does; and how
/// likely that may be chance.
const RETURNING_MAX: f64 = 0.05;
const OTHERS_RETURNING_MIN: f64 = 0.1;
const CHANCE_MAX: f64 = 0.001;

/// The place of networks of 256 addresses (IPv6: /56 or so) among those of a client.
const ONE_NETWORK: usize = 1;

/// Nearly all of a mark's requests in a surge; and less than this share of those outside is of others.
const ONE_NETWORK_SHARE_MIN: f64 = 0.9;
const OTHERS_SHARE_MAX: f64 = 0.5;

/// What normal traffic has of something.
#[derive(Clone, Copy, Debug, Default)]
struct Outside {
    /// About how many requests.
    requests: f64,
    votes: f64,
    returning: f64,
    statics: f64,
}

impl Outside {
    fn add(&mut self, row: &NormalRow, requests: f64, marked: &Marked) {
        self.requests += requests;
        self.votes += 1.0;
        self.returning += f64::from(u8::from(row.returning));
        self.statics += f64::from(u8::from(marked.is_static(row.marks.one(Attribute::Extension))));
    }

    fn statics_share(&self) -> f64 {
        self.statics / self.votes.max(1.0)
    }
}

/// The marks of the flood in a surge of which `rows` are a sample that normal traffic has too. `requests` is how many requests
/// there were outside surges in each stratum of the week.
pub(super) fn own_marks(
    rows: &[Sampled<'_>],
    baseline: &Baseline,
    requests: &[u64; STRATA],
    marked: &Marked,
) -> Vec<Item> {
    let all: f64 = rows.iter().map(|sampled| sampled.cost(0)).sum();
    let mut within: FxHashMap<Item, f64> = FxHashMap::default();
    for sampled in rows {
        for item in sampled.row.marks.items().filter(|item| is_mark(*item, marked)) {
            *within.entry(item).or_default() += sampled.cost(0);
        }
    }
    within.retain(|_, weight| *weight >= SURGE_SHARE_MIN * all);
    let mut whole = Outside::default();
    let mut outside: FxHashMap<Item, Outside> = FxHashMap::default();
    for (stratum, requests) in baseline.strata().iter().zip(requests) {
        let counted: f64 = stratum.rows.iter().map(|row| f64::from(row.requests)).sum();
        for row in &stratum.rows {
            let stands_for = f64::from(row.requests) * *requests as f64 / counted.max(1.0);
            whole.add(row, stands_for, marked);
            for item in row.marks.items().filter(|item| within.contains_key(item)) {
                outside.entry(item).or_default().add(row, stands_for, marked);
            }
        }
    }
    let is_own = |(item, outside): (&Item, &Outside)| {
        let (others, others_returning) = (whole.votes - outside.votes, whole.returning - outside.returning);
        let browses =
            whole.statics_share() >= ASSET_SHARE_MIN && outside.statics_share() >= whole.statics_share() / 2.0;
        let own = within.get(item).is_some_and(|within| *within >= WITHIN_FACTOR * outside.requests)
            && outside.votes <= OUTSIDE_SHARE_MAX * whole.votes
            && !browses
            && outside.returning <= RETURNING_MAX * outside.votes
            && others_returning >= OTHERS_RETURNING_MIN * others
            && g_test((outside.returning, outside.votes), (others_returning, others)) <= CHANCE_MAX;
        own.then_some(*item)
    };
    let mut own: Vec<Item> = outside.iter().filter_map(is_own).collect();
    own.retain(|item| !is_shared_with_others(*item, rows, baseline));
    own.sort_unstable();
    own
}

/// Whether one address, or a network of 256, sends nearly all that has a mark in the surge and others send it outside: then the
/// mark is of a program that many use, and those outside are not the flood's senders.
fn is_shared_with_others(mark: Item, rows: &[Sampled<'_>], baseline: &Baseline) -> bool {
    let network = |marks: &Marks| marks.of(Attribute::ClientPrefix).get(ONE_NETWORK).copied().unwrap_or(UNUSED);
    let mut within: FxHashMap<ValueHash, f64> = FxHashMap::default();
    for sampled in rows.iter().filter(|sampled| sampled.row.marks.has(mark)) {
        *within.entry(network(&sampled.row.marks)).or_default() += sampled.cost(0);
    }
    let all: f64 = within.values().sum();
    let Some((most, weight)) = within.into_iter().max_by(|one, other| one.1.total_cmp(&other.1)) else { return false };
    if most == UNUSED || weight < ONE_NETWORK_SHARE_MIN * all {
        return false;
    }
    let having = || baseline.strata().iter().flat_map(|stratum| &stratum.rows).filter(|row| row.marks.has(mark));
    let of_it = having().filter(|row| network(&row.marks) == most).count();
    (of_it as f64) < OTHERS_SHARE_MAX * having().count() as f64
}

/// Whether a value says who sends, and not what is asked for.
fn is_mark(item: Item, marked: &Marked) -> bool {
    let is_sender = item.attribute.is_mark() || item.attribute == Attribute::UserAgentWord;
    is_sender && ![UNUSED, ABSENT].contains(&item.hash) && !marked.is_of_address(item)
}
