//! What happened, from logs: totals, then who asked for what, when, and what it cost.
//!
//! A [`Report`] takes observations and lines that could not be read, in memory that does not grow with the logs; its
//! [`Summary`] is what is shown, the same for people ([`terminal`]) and for programs (JSON). Client addresses leave it
//! only as pseudonyms unless it was made to show them.

mod clients;
mod collect;
mod distinct;
mod panel;
mod progress;
mod summary;
mod table;
pub mod terminal;
mod unread;

use seawall_engine::observation::log::{self, Entry, Reason, Recognition};
use seawall_engine::observation::{Observation, Request};
use seawall_engine::units::Timestamp;

use crate::source::follow::Compression;

pub use clients::Clients;
pub use collect::collect;
pub use progress::Progress;
pub use summary::Summary;

use panel::{PANELS, Scratch};
use table::{Bounds, Count, Table};
use unread::Unread;

/// What is known so far.
pub struct Report {
    clients: Clients,
    total: Count,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    tables: [PanelTable; PANELS.len()],
    inputs: Vec<InputReport>,
    unread: Unread,
    restored: Vec<u8>,
}

/// The counts of one panel.
struct PanelTable {
    table: Table,
    /// Requests whose log has no room for the value.
    unrecorded: Count,
}

/// What is known of one input.
struct InputReport {
    name: String,
    compression: Option<Compression>,
    recognition: Option<Recognition>,
    lines: u64,
    read: u64,
    error: Option<String>,
}

impl Report {
    /// An empty report, which names clients in this way.
    pub fn new(clients: Clients) -> Self {
        Self {
            clients,
            total: Count::default(),
            first: None,
            last: None,
            tables: PANELS.map(|_| PanelTable { table: Table::new(Bounds::REPORT), unrecorded: Count::default() }),
            inputs: Vec::new(),
            unread: Unread::default(),
            restored: Vec::new(),
        }
    }

    /// Begins an input; what follows belongs to it.
    fn begin_input(&mut self, name: String) {
        let (compression, recognition, error) = (None, None, None);
        self.inputs.push(InputReport { name, compression, recognition, lines: 0, read: 0, error });
    }

    /// Counts a line that was read.
    fn add(&mut self, entry: &Entry<'_>) {
        if let Some(input) = self.inputs.last_mut() {
            input.lines += 1;
            input.read += 1;
        }
        if entry.verbatim {
            self.count(entry, &entry.observation.request);
        } else {
            // The buffer is taken out while the request borrows from it, and put back to be used again.
            let mut restored = std::mem::take(&mut self.restored);
            let request = log::restore(&entry.observation.request, &mut restored);
            self.count(entry, &request);
            self.restored = restored;
        }
    }

    fn count(&mut self, entry: &Entry<'_>, request: &Request<'_>) {
        let observation = Observation { request: *request, ..entry.observation };
        let bytes = observation.cost.bytes;
        self.total.add(bytes);
        self.first = Some(self.first.map_or(observation.at, |first| first.min(observation.at)));
        self.last = Some(self.last.map_or(observation.at, |last| last.max(observation.at)));
        let fields = entry.format.fields();
        for (panel, counts) in PANELS.iter().zip(&mut self.tables) {
            let mut scratch: Scratch = Scratch::default();
            match (panel.value)(&observation, &mut scratch) {
                None if !(panel.is_recorded)(fields) => counts.unrecorded.add(bytes),
                value => counts.table.add(value, bytes),
            }
        }
    }

    /// Counts a line that could not be read.
    fn add_unread(&mut self, reason: Reason, number: u64, length: u64, text: &[u8]) {
        let Some(index) = self.inputs.len().checked_sub(1) else { return };
        if let Some(input) = self.inputs.last_mut() {
            input.lines += 1;
        }
        self.unread.add(reason, index, number, length, text);
    }
}

/// A moment as calendars know it; the last one that they know for any beyond.
fn moment(seconds: u64) -> jiff::Timestamp {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests;
