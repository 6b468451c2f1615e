//! Connections that are held and hardly used: heads that never end, answers that are taken a few bytes at a time, many at once
//! from each client. They cost no requests and no bytes, only the room that everybody shares.

use rustc_hash::FxHashMap;

use super::Scene;
use crate::decision::CostKind;
use crate::observation::attribute::Attribute;
use crate::units::{Timestamp, counted};

/// The status of what did not come in time.
const REQUEST_TIMEOUT: u16 = 408;

/// A connection is slow when it was held for so many seconds, and fewer bytes a second than this went over it. A modem is
/// faster.
const HELD_SECONDS_MIN: f64 = 10.0;
const BYTES_PER_SECOND_MAX: f64 = 500.0;

/// Slow connections that one visitor has at once, on average: browsers have six to a site. Someone who watches a slow stream
/// has one.
const CONCURRENT_MIN: f64 = 8.0;

/// Heads that never ended, and their share of all that came.
const UNFINISHED_MIN: f64 = 10.0;
const UNFINISHED_SHARE: f64 = 0.3;

/// The share of all time for which connections were held that such visitors have.
const HELD_SHARE: f64 = 0.5;

pub(super) fn shows(scene: &Scene<'_>) -> Option<String> {
    let seconds = |sampled: &super::Sampled<'_>| sampled.cost(CostKind::ConnectionTime as usize);
    let is_unfinished = |sampled: &super::Sampled<'_>| sampled.row.status == REQUEST_TIMEOUT;
    let unfinished = scene.requests(is_unfinished);
    if unfinished >= UNFINISHED_MIN && unfinished >= UNFINISHED_SHARE * scene.requests(|_| true) {
        return Some(format!("{unfinished:.0} heads of requests never ended"));
    }
    let is_slow = |sampled: &super::Sampled<'_>| {
        let held = sampled.row.costs[CostKind::ConnectionTime as usize];
        let bytes = f64::from(sampled.row.costs[CostKind::Bytes as usize]);
        let held_so_far = f64::from(sampled.row.whole(CostKind::ConnectionTime as usize));
        held > 0.0 && held_so_far >= HELD_SECONDS_MIN && bytes <= BYTES_PER_SECOND_MAX * f64::from(held)
    };
    // Time of which it was not yet known that it is a slow connection's counts once it is.
    let held_by = |sampled: &super::Sampled<'_>| {
        let (row, time) = (sampled.row, CostKind::ConnectionTime as usize);
        let is_first = f64::from(row.before[time]) < HELD_SECONDS_MIN;
        let before = if is_first { row.before[time] * row.weight * sampled.factor } else { 0.0 };
        seconds(sampled) + f64::from(before)
    };
    let mut held: FxHashMap<(u32, u32), f64> = FxHashMap::default();
    let (mut all, mut first, mut last) = (0.0, None::<Timestamp>, None::<Timestamp>);
    for sampled in &scene.rows {
        all += seconds(sampled);
        first = Some(first.map_or(sampled.at, |first| first.min(sampled.at)));
        last = Some(last.map_or(sampled.at, |last| last.max(sampled.at)));
        if sampled.row.client_hash != 0 && (is_slow(sampled) || is_unfinished(sampled)) {
            // Many people may watch a slow stream from behind one address.
            let visitor = (sampled.row.client_hash, sampled.row.marks.one(Attribute::UserAgent));
            *held.entry(visitor).or_default() += held_by(sampled);
        }
    }
    // As many are held at once as seconds were held in each second (Little's law).
    let span = last.zip(first).map_or(0.0, |(last, first)| last.since(first).as_secs_f64()).max(1.0);
    let hoarders = || held.values().filter(|seconds| **seconds >= CONCURRENT_MIN * span);
    let hoarded: f64 = hoarders().sum();
    (hoarded > 0.0 && hoarded >= HELD_SHARE * all).then(|| {
        let (who, each) = (hoarders().count(), hoarded / span / hoarders().count() as f64);
        let who = counted(who as u64, "visitor");
        format!("{who} held {each:.0} connections each at once, at less than {BYTES_PER_SECOND_MAX:.0} bytes a second")
    })
}
