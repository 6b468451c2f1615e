//! What a look into an incident is made of: the rows that are mined, those around them, and what is normal. The live guard
//! takes it from the last minute, `seawall explain` from whole logs; the search is the same.

use std::time::Duration;

use crate::units::Timestamp;

use super::baseline::{Baseline, NormalRow};
use super::recent::{Recent, Sampled};
use super::reference::{ROWS_MAX, Reference};
use super::seasonal::Seasonal;

/// The longest stretch that is mined.
const WINDOW_MAX: Duration = Duration::from_secs(10);

/// The longest where requests are few, and how few that is.
const WINDOW_MAX_QUIET: Duration = Duration::from_secs(60);
const WINDOW_ROWS_FEW: usize = 100;

/// The shortest.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// How much of the present is looked at where something has just begun.
pub(super) const NEWEST: Duration = Duration::from_millis(2500);

/// The windows in which a rule must hold, in seconds back from the present.
const STABILITY_SECONDS: [u64; 3] = [1, 10, 60];

/// Of the rows of the last minute so many at most are asked whether a rule holds in it.
const TRIED_MAX: usize = 4608;

/// Normal rows below which the ten minutes before are asked as well.
pub(super) const NORMAL_ROWS_MIN: usize = 500;

/// Which stretch is mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    /// Since the onset, the last seconds at most.
    Usual,
    /// Only what is newest.
    Newest,
}

/// Everything that a look needs.
pub(super) struct Material<'a> {
    /// All that is known of the time around, newest first.
    pub(super) around: Vec<Sampled<'a>>,
    /// Since when what is mined is, and until when.
    pub(super) from: Timestamp,
    pub(super) now: Timestamp,
    /// When the excess began.
    pub(super) onset: Timestamp,
    /// The stretches of the time around, from and until, in which a rule must hold.
    pub(super) windows: Vec<(Timestamp, Timestamp)>,
    /// On how many of the rows around it is tried at most.
    pub(super) tried_max: usize,
    pub(super) reference: &'a Reference,
}

impl<'a> Material<'a> {
    /// Of an incident that is under way.
    pub(super) fn live(
        recent: &'a Recent,
        reference: &'a Reference,
        onset: Timestamp,
        now: Timestamp,
        window: Window,
    ) -> Self {
        let shortest = now - WINDOW_MIN;
        let mut from = onset.max(now - WINDOW_MAX).min(shortest);
        let around: Vec<Sampled<'_>> = recent.looked_at().collect();
        if window == Window::Newest {
            from = from.max(now - NEWEST);
        } else if since(&around, from).len() < WINDOW_ROWS_FEW {
            // On a quiet site ten seconds say little.
            from = onset.max(now - WINDOW_MAX_QUIET).min(shortest);
        }
        Self {
            around,
            from,
            now,
            onset,
            windows: STABILITY_SECONDS.map(|seconds| (now - Duration::from_secs(seconds), now)).to_vec(),
            tried_max: TRIED_MAX,
            reference,
        }
    }

    /// What is mined.
    pub(super) fn rows(&self) -> &[Sampled<'a>] {
        since(&self.around, self.from)
    }

    /// All since the onset.
    pub(super) fn since_onset(&self) -> &[Sampled<'a>] {
        since(&self.around, self.from.min(self.onset))
    }

    /// How long what is mined took, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.now.since(self.from).as_secs_f64()
    }
}

/// The rows since a moment. Within one second they are in no order, so a few of that second may be missed or be too many.
fn since<'r, 'a>(newest_first: &'r [Sampled<'a>], from: Timestamp) -> &'r [Sampled<'a>] {
    let count = newest_first.partition_point(|sampled| sampled.at >= from);
    newest_first.get(..count).unwrap_or_default()
}

/// What is normal at this time.
pub(super) fn normal_rows<'a>(baseline: &'a Baseline, seasonal: &Seasonal, now: Timestamp) -> Vec<&'a NormalRow> {
    if seasonal.is_by_minutes() {
        return baseline.before(now);
    }
    let mut rows = baseline.normal(now, ROWS_MAX);
    if rows.len() < NORMAL_ROWS_MIN {
        rows.extend(baseline.before(now));
    }
    rows
}
