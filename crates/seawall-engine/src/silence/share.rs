//! What share of the last lines lacks something.

/// How many lines are looked at, about: those before count less and less.
const WINDOW_LINES: f64 = 100.0;

/// Of fewer lines no share is taken.
const LINES_MIN: f64 = 40.0;

/// What more than this share of the lines lacks is missing,
const MOST: f64 = 0.5;

/// and is back when no more than this share lacks it: what comes and goes around a half is told once.
const LITTLE: f64 = 0.25;

/// It is back as well when so many lines one after the other have it: by chance that happens once in 10⁶ times where half of them do.
const GOOD_RUN: u64 = 20;

/// The share of the last lines that lacks something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecentShare {
    lines: f64,
    lacking: f64,
    /// Lines since the last that lacked it.
    good_run: u64,
}

impl RecentShare {
    /// Counts lines, and those of them that lack it.
    pub(super) fn add(&mut self, lines: u64, lacking: u64) {
        if lines == 0 {
            return;
        }
        self.good_run = if lacking > 0 { 0 } else { self.good_run.saturating_add(lines) };
        // Of lines that come at once the order is not known: they count alike, as the last of them would.
        let (count, lacking) = (lines as f64, lacking as f64);
        let kept = (-count / WINDOW_LINES).exp();
        let weight = (1.0 - kept) * WINDOW_LINES / count;
        self.lines = self.lines * kept + count * weight;
        self.lacking = self.lacking * kept + lacking * weight;
    }

    /// Whether most lack it.
    pub(super) fn is_most(&self) -> bool {
        self.lines >= LINES_MIN && self.lacking > MOST * self.lines && self.good_run < GOOD_RUN
    }

    /// Whether few lack it.
    pub(super) fn is_little(&self) -> bool {
        self.good_run >= GOOD_RUN || self.lines >= LINES_MIN && self.lacking <= LITTLE * self.lines
    }

    /// The share in per cent, as a whole number.
    pub(super) fn percent(&self) -> u64 {
        (100.0 * self.lacking / self.lines.max(1.0)).round() as u64
    }
}
