//! Requests over time, by what became of them: in cells of equal length, which grow with the time that a log spans.

use std::collections::BTreeMap;

use crate::show::log::table::{Count, KINDS};

/// What became of a request, as people count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutcomeClass {
    /// 100 to 299
    Answered,
    /// 300 to 399
    Redirected,
    /// 400 to 499
    ClientError,
    /// 500 to 599
    ServerError,
    /// No status was logged.
    Unanswered,
}

// Tables tell the hits of a row apart by outcome.
const _: () = assert!(OutcomeClass::ALL.len() == KINDS);

impl OutcomeClass {
    pub(super) const ALL: [Self; 5] =
        [Self::Answered, Self::Redirected, Self::ClientError, Self::ServerError, Self::Unanswered];

    pub(super) const fn of(status: Option<u16>) -> Self {
        match status {
            None => Self::Unanswered,
            Some(..300) => Self::Answered,
            Some(300..400) => Self::Redirected,
            Some(400..500) => Self::ClientError,
            Some(500..) => Self::ServerError,
        }
    }

    /// The name in JSON and CSV.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Redirected => "redirected",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Unanswered => "unanswered",
        }
    }

    /// What people read.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Answered => "answered (2xx)",
            Self::Redirected => "redirected (3xx)",
            Self::ClientError => "client errors (4xx)",
            Self::ServerError => "server errors (5xx)",
            Self::Unanswered => "no answer",
        }
    }
}

const CLASSES: usize = OutcomeClass::ALL.len();

/// The hits of each class in one cell.
type Cell = [u64; CLASSES];

/// Lengths of cells, in seconds; beyond the last, twice as long each time.
const CELL_SECONDS: [u64; 9] = [1, 10, 60, 300, 900, 3600, 10_800, 21_600, 86_400];

/// The most cells that are kept.
const CELLS_MAX: usize = 2048;

/// Requests by time and class.
pub(super) struct Traffic {
    cell_seconds: u64,
    cells: BTreeMap<u64, Cell>,
    /// The cell that was counted in last, not yet among the others.
    present: (u64, Cell),
    totals: [Count; CLASSES],
}

impl Default for Traffic {
    fn default() -> Self {
        let [cell_seconds, ..] = CELL_SECONDS;
        Self { cell_seconds, cells: BTreeMap::new(), present: (0, Cell::default()), totals: Default::default() }
    }
}

impl Traffic {
    #[inline]
    pub(super) fn add(&mut self, second: u64, class: OutcomeClass, count: Count) {
        let class = class as usize;
        let number = second / self.cell_seconds;
        if self.present.0 != number {
            self.put_away();
            self.present.0 = second / self.cell_seconds;
        }
        if let (Some(hits), Some(total)) = (self.present.1.get_mut(class), self.totals.get_mut(class)) {
            *hits += count.hits;
            total.add(count);
        }
    }

    /// Adds what another counted.
    pub(super) fn merge(&mut self, other: &Self) {
        let cells = other.cells.iter().map(|(number, cell)| (*number, *cell)).chain([other.present]);
        while self.cell_seconds < other.cell_seconds {
            self.coarsen();
        }
        for (number, cell) in cells {
            let number = number * other.cell_seconds / self.cell_seconds;
            add(self.cells.entry(number).or_default(), &cell);
        }
        for (total, other) in self.totals.iter_mut().zip(other.totals) {
            total.add(other);
        }
        while self.cells.len() > CELLS_MAX {
            self.coarsen();
        }
    }

    /// What there was of each class.
    pub(super) fn totals(&self) -> impl Iterator<Item = (OutcomeClass, Count)> {
        OutcomeClass::ALL.into_iter().zip(self.totals)
    }

    /// The whole span in at most so many cells: when the first begins, how long each is, in seconds, and the hits of each class.
    pub(super) fn span(&self, cells_max: u64) -> Option<(u64, u64, [Vec<u64>; CLASSES])> {
        let mut cells = self.cells.clone();
        add(cells.entry(self.present.0).or_default(), &self.present.1);
        cells.retain(|_, cell| cell.iter().any(|hits| *hits > 0));
        let (first, last) = (*cells.first_key_value()?.0, *cells.last_key_value()?.0);
        let mut seconds = self.cell_seconds;
        let number = |cell: u64, seconds: u64| cell.saturating_mul(self.cell_seconds) / seconds;
        while number(last, seconds) - number(first, seconds) >= cells_max {
            seconds = longer(seconds);
        }
        let begin = number(first, seconds);
        let count = usize::try_from(number(last, seconds) - begin + 1).ok()?;
        let mut hits: [Vec<u64>; CLASSES] = std::array::from_fn(|_| vec![0; count]);
        for (cell, counts) in cells {
            let place = usize::try_from(number(cell, seconds) - begin).ok()?;
            for (hits, count) in hits.iter_mut().zip(counts) {
                *hits.get_mut(place)? += count;
            }
        }
        Some((begin.saturating_mul(seconds), seconds, hits))
    }

    #[cold]
    fn put_away(&mut self) {
        let (number, cell) = std::mem::take(&mut self.present);
        if cell.iter().any(|hits| *hits > 0) {
            add(self.cells.entry(number).or_default(), &cell);
        }
        while self.cells.len() > CELLS_MAX {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        let seconds = longer(self.cell_seconds);
        let mut cells: BTreeMap<u64, Cell> = BTreeMap::new();
        let present = std::mem::take(&mut self.present);
        for (number, cell) in std::mem::take(&mut self.cells).into_iter().chain([present]) {
            add(cells.entry(number.saturating_mul(self.cell_seconds) / seconds).or_default(), &cell);
        }
        (self.cells, self.cell_seconds) = (cells, seconds);
    }
}

fn longer(seconds: u64) -> u64 {
    CELL_SECONDS.into_iter().find(|longer| *longer > seconds).unwrap_or(seconds.saturating_mul(2))
}

fn add(cell: &mut Cell, other: &Cell) {
    cell.iter_mut().zip(other).for_each(|(hits, other)| *hits += other);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(seconds: impl Iterator<Item = u64>) -> Traffic {
        let mut traffic = Traffic::default();
        for (number, second) in (0_u16..).zip(seconds) {
            traffic.add(second, OutcomeClass::of(Some(200 + number % 4 * 100)), Count::of_bytes(1));
        }
        traffic
    }

    fn hits(traffic: &Traffic, cells: u64) -> (u64, u64, u64) {
        let (from, seconds, hits) = traffic.span(cells).expect("there is something");
        assert!(hits.iter().all(|class| class.len() as u64 <= cells));
        (from, seconds, hits.iter().flatten().sum())
    }

    #[test]
    fn cells_are_as_short_as_the_span_allows() {
        assert!(Traffic::default().span(72).is_none());
        assert_eq!(hits(&counted([7].into_iter()), 72), (7, 1, 1));
        assert_eq!(hits(&counted(1000..1072), 72), (1000, 1, 72));
        assert_eq!(hits(&counted(1000..1073), 72), (1000, 10, 73));
        assert_eq!(hits(&counted((0..50_000).map(|minute| minute * 60)), 72), (0, 86_400, 50_000));
        // The first and the last moment that there is.
        assert_eq!(hits(&counted([0, u64::MAX / 1_000_000].into_iter()), 240).2, 2);
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost() {
        let spread = (0..20_000_u64).map(|number| number * 7_919 % 20_000 * 100_000);
        let traffic = counted(spread);
        assert!(traffic.cells.len() <= CELLS_MAX);
        assert_eq!(hits(&traffic, 240).2, 20_000);
        assert_eq!(traffic.totals().map(|(_, count)| count.hits).sum::<u64>(), 20_000);
    }

    #[test]
    fn parts_together_are_the_whole() {
        let seconds = |part: u64| (0..10_000).filter(move |second| second / 100 % 2 == part).map(|second| second * 97);
        let mut all = counted(seconds(0));
        all.merge(&counted(seconds(1)));
        all.merge(&counted([5].into_iter()));
        let (from, _, sum) = hits(&all, 240);
        assert_eq!((from, sum), (0, 10_001));
    }
}
