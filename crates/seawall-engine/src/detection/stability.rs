//! Whether a rule lasts: what it covers in windows of different length, and whether its clients stay.

use rustc_hash::FxHashSet;

use crate::decision::CostKind;
use crate::units::Timestamp;

use super::index::Matching;
use super::recent::Sampled;

/// A window has excess when it has this many times what is normal, and this many rows.
const EXCESS: f64 = 1.3;
const ROWS_MIN: usize = 10;

/// One of the windows in which rules are tried.
struct Window {
    from: Timestamp,
    until: Timestamp,
    excess: f64,
    seconds: f64,
}

impl Window {
    fn contains(&self, sampled: &Sampled<'_>) -> bool {
        (self.from..=self.until).contains(&sampled.at)
    }
}

/// The windows that have excess. Pulses are empty between bursts, and those windows say nothing.
pub(super) struct Stability {
    cost: CostKind,
    windows: Vec<Window>,
}

impl Stability {
    /// `windows` are stretches of the time `around`, `rate` is what is normal of this cost in a second.
    pub(super) fn new(around: &[Sampled<'_>], windows: &[(Timestamp, Timestamp)], cost: CostKind, rate: f64) -> Self {
        let mut stability = Self { cost, windows: Vec::new() };
        for &(from, until) in windows {
            let mut window = Window { from, until, excess: 0.0, seconds: until.since(from).as_secs_f64() };
            let within = around.iter().filter(|sampled| window.contains(sampled));
            let costs = within.map(|sampled| sampled.cost(cost as usize)).filter(|cost| *cost > 0.0);
            let (rows, offered) = costs.fold((0, 0.0), |(rows, offered), cost| (rows + 1, offered + cost));
            window.excess = offered - rate * window.seconds;
            if rows >= ROWS_MIN && offered > EXCESS * rate * window.seconds {
                stability.windows.push(window);
            }
        }
        stability
    }

    /// The least share of a window's excess that these rows have; `rate` is what normal traffic has of them in a second.
    pub(super) fn coverage(&self, matching: &[Matching<'_, '_>], rate: f64) -> f64 {
        let coverage = |window: &Window| {
            let within = matching.iter().map(|found| found.sampled).filter(|sampled| window.contains(sampled));
            let offered: f64 = within.map(|sampled| sampled.cost(self.cost as usize)).sum();
            ((offered - rate * window.seconds) / window.excess).clamp(0.0, 1.0)
        };
        self.windows.iter().map(coverage).fold(1.0, f64::min)
    }
}

/// The share of the later half of a rule's requests whose clients were not in the earlier half, since the first of them:
/// the onset is an estimate, and before the first there was nobody to come back.
pub(super) fn turnover(matching: &[Matching<'_, '_>], now: Timestamp) -> f64 {
    let rows = || matching.iter().map(|found| found.sampled);
    let from = rows().map(|sampled| sampled.at).min().unwrap_or(now);
    let middle = from + now.since(from) / 2;
    let earlier: FxHashSet<u32> =
        rows().filter(|sampled| sampled.at < middle).map(|sampled| sampled.row.client_hash).collect();
    let (mut later, mut returned) = (0.0, 0.0);
    for sampled in rows().filter(|sampled| sampled.at >= middle) {
        later += sampled.cost(0);
        if earlier.contains(&sampled.row.client_hash) {
            returned += sampled.cost(0);
        }
    }
    if later > 0.0 { 1.0 - returned / later } else { 0.0 }
}
