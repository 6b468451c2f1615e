//! Clients that ask the same again, and again, after the site has failed: the site cannot come back under them.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::Scene;
use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

/// A request this soon after a failure of the same is a retry.
const RETRY: Duration = Duration::from_secs(30);

/// The share of the excess.
const SHARE_MIN: f64 = 0.5;

pub(super) fn shows(scene: &Scene<'_>) -> bool {
    let key = |sampled: &super::Sampled<'_>| (sampled.row.client_hash, sampled.row.marks.one(Attribute::Path));
    let mut failures: FxHashMap<(u32, u32), Timestamp> = FxHashMap::default();
    for sampled in scene.rows.iter().filter(|sampled| sampled.row.client_hash != 0 && sampled.row.status >= 500) {
        let first = failures.entry(key(sampled)).or_insert(sampled.at);
        *first = (*first).min(sampled.at);
    }
    if failures.is_empty() {
        return false;
    }
    let retries = scene.requests(|sampled| {
        let failure = failures.get(&key(sampled));
        failure.is_some_and(|failure| sampled.at > *failure && sampled.at.since(*failure) <= RETRY)
    });
    retries >= 10.0 && retries >= SHARE_MIN * scene.excess()
}
