//! A rule in words, and what speaks for it.

use rustc_hash::FxHashSet;

use crate::decision::{Condition, CostKind, Evidence};
use crate::observation::attribute::Attribute;

use super::super::mining::Candidate;
use super::super::recent::Sampled;
use super::super::values::{Item, PRESENT};
use super::{Inquiry, View};

/// Whose requests all share a value when this share does.
const CLOSURE_SHARE: f64 = 0.98;
const CLOSURE_MAX: usize = 8;

impl Inquiry<'_> {
    /// The conditions of a rule, in words; `None` when a text is no longer known.
    pub(super) fn conditions(&self, items: &[Item], rows: &[Sampled<'_>]) -> Option<Vec<Condition>> {
        items.iter().map(|item| self.condition(*item, rows)).collect()
    }

    fn condition(&self, item: Item, rows: &[Sampled<'_>]) -> Option<Condition> {
        self.texts.condition(self.keys, item, rows.iter().map(|sampled| sampled.row))
    }

    /// The share that these explain of the whole excess of the cost that was exceeded first, whatever else was found.
    fn share_of_excess(&self, items: &[Item], view: &View<'_>) -> f64 {
        let cost = self.costs.first().copied().unwrap_or(CostKind::Requests);
        let (mut offered, mut matched) = (0.0, 0.0);
        for sampled in self.material.rows().iter().filter(|sampled| sampled.row.is_mineable()) {
            let own = self.own_cost(cost, sampled, view);
            offered += own;
            if sampled.row.marks.has_all(items) {
                matched += own;
            }
        }
        let expected = self.rate(cost) * view.growth * self.material.seconds();
        let normal = expected * self.material.reference.requests_share(items);
        if offered > expected { ((matched - normal) / (offered - expected)).clamp(0.0, 1.0) } else { 0.0 }
    }

    pub(super) fn evidence(&self, candidate: &Candidate, view: &View<'_>) -> Evidence {
        let rows = self.material.rows();
        let matched: Vec<Sampled<'_>> =
            rows.iter().filter(|sampled| sampled.row.marks.has_all(&candidate.items)).copied().collect();
        let clients: FxHashSet<u32> = matched.iter().map(|sampled| sampled.row.client_hash).collect();
        Evidence {
            coverage: self.share_of_excess(&candidate.items, view) as f32,
            collateral: candidate.collateral as f32,
            collateral_upper: candidate.score.collateral_upper as f32,
            stability: candidate.score.stability as f32,
            score: candidate.score.total() as f32,
            rows: candidate.rows,
            clients: clients.len() as u32,
            closure: self.closure(&candidate.items, &matched),
        }
    }

    /// What all matched requests share beyond the rule, and not all the others too. Networks are left out: they would show
    /// addresses.
    fn closure(&self, items: &[Item], matched: &[Sampled<'_>]) -> Vec<String> {
        let Some(first) = matched.first() else { return Vec::new() };
        let implies = |named: &Item, item: &Item| match item.hash {
            PRESENT => named.attribute == item.attribute,
            _ => named == item || item.attribute.is_ancestor_of(named.attribute),
        };
        let implied = |item: &Item| items.iter().any(|named| implies(named, item));
        let shared = |item: &Item| {
            let having = matched.iter().filter(|sampled| sampled.row.marks.has(*item)).count();
            having as f64 >= CLOSURE_SHARE * matched.len() as f64
        };
        let is_common = |item: &Item| self.material.reference.share(*item) >= CLOSURE_SHARE;
        let mut closure: Vec<Item> = Vec::new();
        let values = first.row.marks.items().filter(|item| item.attribute != Attribute::ClientPrefix);
        for item in values.filter(|item| !implied(item)).filter(shared).filter(|item| !is_common(item)) {
            if !closure.iter().any(|kept| implies(kept, &item)) {
                closure.push(item);
            }
        }
        closure.truncate(CLOSURE_MAX);
        closure.into_iter().filter_map(|item| self.condition(item, matched)).map(|shown| shown.to_string()).collect()
    }
}
