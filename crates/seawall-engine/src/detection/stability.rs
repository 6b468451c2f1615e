//! Whether a rule lasts: what it covers in windows of different length, and whether its clients stay.

use std::time::Duration;

use rustc_hash::FxHashSet;

use crate::decision::CostKind;
use crate::units::Timestamp;

use super::index::RowIndex;
use super::recent::Sampled;
use super::values::Item;

/// The windows, in seconds.
const WINDOWS: [f64; 3] = [1.0, 10.0, 60.0];

/// A window has excess when it has this many times what is normal, and this many rows.
const EXCESS: f64 = 1.3;
const ROWS_MIN: usize = 10;

/// One of the windows in which rules are tried.
struct Window {
    from: Timestamp,
    excess: f64,
    seconds: f64,
}

/// The windows of the last minute that have excess. Pulses are empty between bursts, and those windows say nothing.
pub(super) struct Stability<'i, 'a> {
    minute: &'i RowIndex<'a>,
    cost: CostKind,
    windows: Vec<Window>,
}

impl<'i, 'a> Stability<'i, 'a> {
    /// `minute` is the last minute, `rate` is what is normal of this cost in a second.
    pub(super) fn new(minute: &'i RowIndex<'a>, now: Timestamp, cost: CostKind, rate: f64) -> Self {
        let mut windows = Vec::new();
        for seconds in WINDOWS {
            let from = now - Duration::from_secs_f64(seconds);
            let since = minute.rows().iter().filter(|sampled| sampled.at >= from);
            let costs = since.map(|sampled| sampled.cost(cost as usize)).filter(|cost| *cost > 0.0);
            let (rows, offered) = costs.fold((0, 0.0), |(rows, offered), cost| (rows + 1, offered + cost));
            if rows >= ROWS_MIN && offered > EXCESS * rate * seconds {
                windows.push(Window { from, excess: offered - rate * seconds, seconds });
            }
        }
        Self { minute, cost, windows }
    }

    /// The least share of a window's excess that has these values; `rate` is what normal traffic has of them in a second.
    pub(super) fn coverage(&self, items: &[Item], rate: f64) -> f64 {
        let matching: Vec<&Sampled<'_>> = self.minute.matching(items).collect();
        let coverage = |window: &Window| {
            let since = matching.iter().filter(|sampled| sampled.at >= window.from);
            let offered: f64 = since.map(|sampled| sampled.cost(self.cost as usize)).sum();
            ((offered - rate * window.seconds) / window.excess).clamp(0.0, 1.0)
        };
        self.windows.iter().map(coverage).fold(1.0, f64::min)
    }
}

/// The share of the later half of a rule's requests whose clients were not in the earlier half, since the first of them:
/// the onset is an estimate, and before the first there was nobody to come back.
pub(super) fn turnover(matching: &[&Sampled<'_>], now: Timestamp) -> f64 {
    let from = matching.iter().map(|sampled| sampled.at).min().unwrap_or(now);
    let middle = from + now.since(from) / 2;
    let earlier: FxHashSet<u32> =
        matching.iter().filter(|sampled| sampled.at < middle).map(|sampled| sampled.row.client_hash).collect();
    let (mut later, mut returned) = (0.0, 0.0);
    for sampled in matching.iter().filter(|sampled| sampled.at >= middle) {
        later += sampled.cost(0);
        if earlier.contains(&sampled.row.client_hash) {
            returned += sampled.cost(0);
        }
    }
    if later > 0.0 { 1.0 - returned / later } else { 0.0 }
}
