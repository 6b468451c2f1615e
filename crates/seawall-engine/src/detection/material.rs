//! What a look into an incident is made of: the rows that are mined, those around them, and what is normal. The live guard
//! takes it from the last minute, `seawall explain` from whole logs; the search is the same.

use std::time::Duration;

use crate::units::Timestamp;

use super::baseline::{Baseline, NormalRow};
use super::mining::ROWS_MAX;
use super::recent::{Recent, Sampled};
use super::seasonal::Seasonal;

/// The longest stretch that is mined.
const WINDOW_MAX: Duration = Duration::from_secs(10);

/// The longest where requests are few, and how few that is.
const WINDOW_MAX_QUIET: Duration = Duration::from_secs(60);
const WINDOW_ROWS_FEW: usize = 100;

/// The shortest.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// The windows in which a rule must hold, in seconds back from the present.
const STABILITY_SECONDS: [u64; 3] = [1, 10, 60];

/// Normal rows below which the ten minutes before are asked as well.
const NORMAL_ROWS_MIN: usize = 500;

/// Everything that a look needs.
pub(super) struct Material<'a> {
    /// What is mined, newest first, and since when that is.
    pub(super) rows: Vec<Sampled<'a>>,
    pub(super) from: Timestamp,
    /// Until when that is.
    pub(super) now: Timestamp,
    pub(super) onset: Timestamp,
    pub(super) since_onset: Vec<Sampled<'a>>,
    /// All that is known of the time around: in its windows, from and until, a rule must hold.
    pub(super) around: Vec<Sampled<'a>>,
    pub(super) windows: Vec<(Timestamp, Timestamp)>,
    pub(super) normal: Vec<&'a NormalRow>,
}

impl<'a> Material<'a> {
    /// Of an incident that is under way.
    pub(super) fn live(
        recent: &'a Recent,
        baseline: &'a Baseline,
        seasonal: &Seasonal,
        onset: Timestamp,
        now: Timestamp,
    ) -> Self {
        let shortest = now - WINDOW_MIN;
        let mut from = onset.max(now - WINDOW_MAX).min(shortest);
        let mut rows: Vec<Sampled<'_>> = recent.since(from).collect();
        if rows.len() < WINDOW_ROWS_FEW {
            // On a quiet site ten seconds say little.
            from = onset.max(now - WINDOW_MAX_QUIET).min(shortest);
            rows = recent.since(from).collect();
        }
        Self {
            rows,
            from,
            now,
            onset,
            since_onset: recent.since(from.min(onset)).collect(),
            around: recent.since(Timestamp::EPOCH).collect(),
            windows: STABILITY_SECONDS.map(|seconds| (now - Duration::from_secs(seconds), now)).to_vec(),
            normal: normal_rows(baseline, seasonal, now),
        }
    }

    /// How long what is mined took, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.now.since(self.from).as_secs_f64()
    }
}

fn normal_rows<'a>(baseline: &'a Baseline, seasonal: &Seasonal, now: Timestamp) -> Vec<&'a NormalRow> {
    if seasonal.is_cold() {
        return baseline.before(now);
    }
    let mut rows = baseline.normal(now, ROWS_MAX);
    if rows.len() < NORMAL_ROWS_MIN {
        rows.extend(baseline.before(now));
    }
    rows
}
