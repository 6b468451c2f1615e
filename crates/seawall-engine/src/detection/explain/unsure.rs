//! What a surge has in common where there is too little ordinary traffic to say whom a rule about it would hurt.

use rustc_hash::FxHashMap;

use super::super::crowd::Marked;
use super::super::inquiry::EXPLAINED_SHARE;
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

/// What may be a rule, the best kind first: what says most of a sender, then what is asked for.
const KINDS: [Attribute; 5] =
    [Attribute::UserAgent, Attribute::HeaderOrder, Attribute::Ja4, Attribute::UserAgentWord, Attribute::Path];

/// The value that most of the excess has and hardly any ordinary request, with the share that it explains; `None` when there is none,
/// or ordinary traffic enough to tell.
pub(super) fn candidate(
    surge: &Surge,
    rows: &[Sampled<'_>],
    reference: &Reference,
    marked: &Marked,
) -> Option<(Item, f64)> {
    let votes = reference.votes(&[]).effective;
    if surge.strongest() != CostKind::Requests || votes >= VOTES_MIN {
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
            *coverage >= EXPLAINED_SHARE
                && ![UNUSED, ABSENT].contains(&item.hash)
                && !marked.is_of_address(*item)
                && share_lower_95(reference.share(*item) * votes, votes) <= ORDINARY_SHARE_MAX
        })
        .min_by(|one, other| {
            kind(&one.0).cmp(&kind(&other.0)).then(other.1.total_cmp(&one.1)).then(one.0.cmp(&other.0))
        })
}
