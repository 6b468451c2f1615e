//! Clients that ask the same again, and again, after the site has failed: the site cannot come back under them.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::Scene;
use crate::decision::{NamedShape, Shape};
use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

/// A request this soon after a failure of the same is a retry.
const RETRY: Duration = Duration::from_secs(30);

/// The share of the excess.
const SHARE_MIN: f64 = 0.5;

/// Failures that are remembered where everything is read.
const FAILURES_MAX: usize = 1 << 16;

/// Counts retries one by one where everything is read: a sample of a long surge seldom holds both a failure and what followed.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    failures: FxHashMap<(u32, u32), Timestamp>,
    requests: f64,
}

impl Retries {
    /// Takes a request by a known client for a path, with the status of its answer.
    pub(crate) fn observe(&mut self, client: u32, path: u32, at: Timestamp, status: u16, requests: f64) {
        let key = (client, path);
        let is_fresh = |failure: &Timestamp| at.since(*failure) <= RETRY;
        let before = self.failures.get(&key).copied().filter(is_fresh);
        if before.is_some_and(|failure| at > failure) {
            self.requests += requests;
        }
        if status < 500 || before.is_some() {
            return;
        }
        if self.failures.len() >= FAILURES_MAX {
            self.failures.retain(|_, failure| is_fresh(failure));
        }
        if self.failures.len() < FAILURES_MAX {
            self.failures.insert(key, at);
        }
    }

    /// What they are when they make up an excess of so many requests.
    pub(crate) fn storm(&self, excess: f64) -> Option<NamedShape> {
        let is_storm = self.requests >= 10.0 && self.requests >= SHARE_MIN * excess;
        is_storm.then(|| NamedShape { shape: Shape::RetryStorm, evidence: evidence(self.requests) })
    }
}

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    let key = |sampled: &super::Sampled<'_>| (sampled.row.client_hash, sampled.row.marks.one(Attribute::Path));
    let mut failures: FxHashMap<(u32, u32), Timestamp> = FxHashMap::default();
    for sampled in scene.rows.iter().filter(|sampled| sampled.row.client_hash != 0 && sampled.row.status >= 500) {
        let first = failures.entry(key(sampled)).or_insert(sampled.at);
        *first = (*first).min(sampled.at);
    }
    if failures.is_empty() {
        return None;
    }
    let retries = scene.requests(|sampled| {
        let failure = failures.get(&key(sampled));
        failure.is_some_and(|failure| sampled.at > *failure && sampled.at.since(*failure) <= RETRY)
    });
    (retries >= 10.0 && retries >= SHARE_MIN * scene.excess()).then(|| evidence(retries))
}

fn evidence(retries: f64) -> String {
    format!("{retries:.0} requests came again within {} s of a failure (5xx) of the same", RETRY.as_secs())
}
