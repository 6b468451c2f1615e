//! Clients that were told to wait (429, 503) and ask on as if nothing had been said: the next refusal will not stop them
//! either.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::Scene;
use crate::gate::RETRY_AFTER_MIN;
use crate::units::{Timestamp, counted};

/// What comes so soon after the refusal was under way already, as the parts of a page are.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// Requests within its own waiting time from which on a client ignores refusals: people press reload, once or twice.
const REQUESTS_MIN: u32 = 3;

/// The share of the excess.
const SHARE_MIN: f64 = 0.3;

/// What one client did after it had been told to wait.
#[derive(Default)]
struct Told {
    at: Option<Timestamp>,
    ignoring: u32,
    requests: f64,
}

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    let mut rows: Vec<_> = scene.rows.iter().filter(|sampled| sampled.row.client_hash != 0).collect();
    rows.sort_by_key(|sampled| sampled.at);
    let mut clients: FxHashMap<u32, Told> = FxHashMap::default();
    for sampled in rows {
        let is_refusal = matches!(sampled.row.status, 429 | 503);
        let is_request = sampled.row.requests() > 0.0;
        let Some(told) = (match is_refusal {
            true => Some(clients.entry(sampled.row.client_hash).or_default()),
            false => clients.get_mut(&sampled.row.client_hash),
        }) else {
            continue;
        };
        let since = told.at.map(|at| sampled.at.since(at));
        if is_request && since.is_some_and(|since| since > UNDER_WAY && since <= RETRY_AFTER_MIN) {
            told.ignoring += 1;
            told.requests += sampled.cost(0);
        }
        // The first word counts until its time is over: later ones would begin the time anew with each request.
        if is_refusal && since.is_none_or(|since| since > RETRY_AFTER_MIN) {
            told.at = Some(sampled.at);
        }
    }
    let ignorant = || clients.values().filter(|told| told.ignoring >= REQUESTS_MIN);
    let ignoring = ignorant().map(|told| told.requests).sum::<f64>();
    (ignoring >= 10.0 && ignoring >= SHARE_MIN * scene.excess()).then(|| {
        let who = counted(ignorant().count() as u64, "client");
        format!("{who} sent {ignoring:.0} requests within {} s of being told to wait", RETRY_AFTER_MIN.as_secs())
    })
}
