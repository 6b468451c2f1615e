//! What most of a surge has where no rule can be made of it: there is too little ordinary traffic to say whom it would hurt, or it would
//! hurt visitors.

use rustc_hash::FxHashMap;

use super::super::marked::Marked;
use super::super::recent::Sampled;
use super::super::reference::Reference;
use super::super::statistics::share_lower_95;
use super::super::values::{ABSENT, Item, UNUSED};
use super::surges::Surge;
use crate::decision::CostKind;
use crate::observation::attribute::Attribute;

/// With a third of so many votes even a rule that hits none of them may hit several in a hundred visitors, and with fewer than all one
/// that hits three: none is made.
const VOTES_MIN: f64 = 300.0;

/// Ordinary visitors may have it as long as it is not sure, at 95%, that this share of them does: a flood has often been tried out before,
/// and of a dozen visitors three prove nothing.
const ORDINARY_SHARE_MAX: f64 = 0.1;

/// Where there is enough to tell, at most this share of it may have what is shown: a half of all visitors are nothing to look at.
const COMMON_SHARE_MAX: f64 = 0.05;

/// The share of the excess that what is shown must have.
const COVERAGE_MIN: f64 = 0.4;

/// What may be a rule, the best kind first: what says most of a sender, then what is asked for.
const KINDS: [Attribute; 5] =
    [Attribute::UserAgent, Attribute::HeaderOrder, Attribute::Ja4, Attribute::UserAgentWord, Attribute::Path];

/// Whether there is too little ordinary traffic to say whom a rule would hurt.
pub(super) fn is_unsure(reference: &Reference) -> bool {
    reference.votes(&[]).effective < VOTES_MIN
}

/// The value that most of the excess has and few ordinary requests have, with the share that it explains; `None` when there is none.
pub(super) fn candidate(
    surge: &Surge,
    rows: &[Sampled<'_>],
    reference: &Reference,
    marked: &Marked,
) -> Option<(Item, f64)> {
    let votes = reference.votes(&[]).effective;
    if surge.strongest() != CostKind::Requests {
        return None;
    }
    let mut offered: FxHashMap<Item, f64> = FxHashMap::default();
    for sampled in rows {
        for item in sampled.row.marks.items().filter(|item| KINDS.contains(&item.attribute)) {
            *offered.entry(item).or_default() += sampled.cost(0);
        }
    }
    let all: f64 = rows.iter().map(|sampled| sampled.cost(0)).sum();
    let usual = surge.usual[CostKind::Requests as usize] * surge.until.since(surge.from).as_secs_f64();
    let excess = (all - usual).max(1.0);
    let kind = |item: &Item| KINDS.iter().position(|kind| *kind == item.attribute);
    offered
        .into_iter()
        .map(|(item, offered)| (item, (offered / excess).min(1.0)))
        .filter(|(item, coverage)| {
            *coverage >= COVERAGE_MIN
                && ![UNUSED, ABSENT].contains(&item.hash)
                && !marked.is_of_address(*item)
                && match votes < VOTES_MIN {
                    true => share_lower_95(reference.share(*item) * votes, votes) <= ORDINARY_SHARE_MAX,
                    false => reference.share(*item) <= COMMON_SHARE_MAX,
                }
        })
        .min_by(|one, other| {
            kind(&one.0).cmp(&kind(&other.0)).then(other.1.total_cmp(&one.1)).then(one.0.cmp(&other.0))
        })
}
