//! What a surge has in common where there is too little ordinary traffic to say whom a rule about it would hurt.

use rustc_hash::FxHashMap;

use super::super::crowd::Marked;
use super::super::inquiry::EXPLAINED_SHARE;
use super::super::recent::Sampled;
use super::super::reference::Reference;
use super::super::values::{ABSENT, Item, UNUSED};
use super::surges::Surge;
use crate::decision::CostKind;
use crate::observation::attribute::Attribute;

/// With fewer votes than this even a rule that hits none of them may hit several in a hundred visitors, and none is made.
const VOTES_MIN: f64 = 100.0;

/// What may be a rule, the best kind first: what says most of a sender, then what is asked for.
const KINDS: [Attribute; 5] =
    [Attribute::UserAgent, Attribute::HeaderOrder, Attribute::Ja4, Attribute::UserAgentWord, Attribute::Path];

/// The value that most of the excess has and no ordinary request, with the share that it explains; `None` when there is none, or
/// ordinary traffic enough to tell.
pub(super) fn candidate(
    surge: &Surge,
    rows: &[Sampled<'_>],
    reference: &Reference,
    marked: &Marked,
) -> Option<(Item, f64)> {
    if surge.strongest() != CostKind::Requests || reference.votes(&[]).effective >= VOTES_MIN {
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
                && !reference.has_all(&[*item])
        })
        .min_by(|one, other| {
            kind(&one.0).cmp(&kind(&other.0)).then(other.1.total_cmp(&one.1)).then(one.0.cmp(&other.0))
        })
}
