//! Matches by hour, in bounded memory: when there are too many hours, two become one, and so on.

use std::collections::BTreeMap;

use crate::show::log::moment;
use crate::show::log::summary::{TIMELINE_CELLS_MAX, Timeline};

/// The most cells that are kept: five months of hours.
const CELLS_MAX: usize = 4096;

const SECONDS_OF_AN_HOUR: u64 = 3600;
const HOURS_OF_A_DAY: u64 = 24;

/// How many hours a cell of a curve may have below a day.
const PARTS_OF_A_DAY: [u64; 7] = [1, 2, 3, 4, 6, 8, 12];

/// Requests by cells of equal length.
pub(super) struct Hours {
    cell_hours: u64,
    cells: BTreeMap<u64, u64>,
}

impl Hours {
    pub(super) fn new() -> Self {
        Self { cell_hours: 1, cells: BTreeMap::new() }
    }

    /// Counts a request at this second since the Unix epoch.
    pub(super) fn add(&mut self, second: u64) {
        *self.cells.entry(second / SECONDS_OF_AN_HOUR / self.cell_hours).or_default() += 1;
        while self.cells.len() > CELLS_MAX {
            self.cell_hours *= 2;
            let mut merged = BTreeMap::new();
            for (cell, requests) in std::mem::take(&mut self.cells) {
                *merged.entry(cell / 2).or_default() += requests;
            }
            self.cells = merged;
        }
    }

    /// The requests over a span from one second to another: by hour when it has few enough of them, else by longer and longer
    /// parts of a day, then by days.
    pub(super) fn timeline(&self, first: u64, last: u64) -> Option<Timeline> {
        let (first, last) = (first / SECONDS_OF_AN_HOUR, last.max(first) / SECONDS_OF_AN_HOUR);
        // Cells of a part of a day, then of whole days, that begin at midnight UTC.
        let days = (last - first) / HOURS_OF_A_DAY + 2;
        let cell_hours =
            PARTS_OF_A_DAY.into_iter().find(|hours| last.saturating_sub(first) / hours + 2 <= TIMELINE_CELLS_MAX);
        let cell_hours = cell_hours.unwrap_or_else(|| HOURS_OF_A_DAY * days.div_ceil(TIMELINE_CELLS_MAX));
        let start = first - first % cell_hours.min(HOURS_OF_A_DAY);
        let mut hits = vec![0; usize::try_from((last - start) / cell_hours + 1).ok()?];
        for (cell, requests) in &self.cells {
            // Cells that became one may begin before the span does.
            let hour = (cell * self.cell_hours).max(start);
            *hits.get_mut(usize::try_from((hour - start) / cell_hours).ok()?)? += requests;
        }
        Some(Timeline { from: moment(start.saturating_mul(SECONDS_OF_AN_HOUR)).to_string(), cell_hours, hits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_spans_are_by_hour_and_long_ones_by_day() {
        let mut hours = Hours::new();
        for hour in [0, 1, 1, 30, 70] {
            hours.add(hour * 3600 + 1800);
        }
        let by_hour = hours.timeline(0, 70 * 3600).expect("a span");
        assert_eq!((by_hour.cell_hours, by_hour.hits.len()), (1, 71));
        assert_eq!((by_hour.hits[1], by_hour.hits[30], by_hour.hits[70]), (2, 1, 1));
        let by_two = hours.timeline(0, 71 * 3600).expect("a span");
        assert_eq!((by_two.cell_hours, by_two.hits.len(), by_two.hits[0]), (2, 36, 3));
        let by_day = hours.timeline(0, 40 * 24 * 3600).expect("a span");
        assert_eq!((by_day.cell_hours, &by_day.hits[..4]), (24, &[3, 1, 1, 0][..]));
    }

    #[test]
    fn years_of_hours_are_bounded_and_none_is_lost() {
        let mut hours = Hours::new();
        for hour in 0..100_000 {
            hours.add(hour * 3600);
        }
        assert!(hours.cells.len() <= CELLS_MAX);
        let timeline = hours.timeline(0, 99_999 * 3600).expect("a span");
        assert!(timeline.hits.len() <= 72 && timeline.cell_hours.is_multiple_of(24), "{timeline:?}");
        assert_eq!(timeline.hits.iter().sum::<u64>(), 100_000);
    }
}
