//! Many clients, few requests from each, one target: what limits for each client cannot see.

use rustc_hash::{FxHashMap, FxHashSet};

use super::Scene;
use crate::observation::attribute::Attribute;

/// Clients in a flood of this shape.
const CLIENTS_MIN: usize = 20;

/// Requests of each, on average, at most.
const REQUESTS_PER_CLIENT_MAX: f64 = 3.0;

/// The share of the requests that go to one path or directory.
const TARGET_SHARE_MIN: f64 = 0.5;

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    let mut clients = FxHashSet::default();
    let mut targets: FxHashMap<u32, f64> = FxHashMap::default();
    let (mut requests, mut seen) = (0.0, 0);
    for sampled in scene.rows.iter().filter(|sampled| sampled.row.is_mineable() && sampled.row.requests() > 0.0) {
        clients.insert(sampled.row.client_hash);
        (requests, seen) = (requests + sampled.cost(0), seen + 1);
        *targets.entry(sampled.row.marks.one(Attribute::Path)).or_default() += sampled.cost(0);
    }
    let target = targets.values().copied().fold(0.0, f64::max);
    let is_distributed = clients.len() >= CLIENTS_MIN
        && scene.excess() > scene.expected
        && requests <= REQUESTS_PER_CLIENT_MAX * clients.len() as f64
        && target >= TARGET_SHARE_MIN * requests;
    is_distributed.then(|| {
        let share = target / requests * 100.0;
        format!("{seen} of its requests are from {} clients, {share:.0}% of them for one path", clients.len())
    })
}
