//! What happened, from logs: totals, then who asked for what, when, and what it cost.
//!
//! A [`Report`] takes observations and lines that could not be read, in memory that does not grow with the logs; its
//! [`Summary`] is what is shown, the same for people ([`terminal`]) and for programs (JSON). Client addresses leave it
//! only as pseudonyms unless it was made to show them.

mod panel;
mod summary;
pub mod terminal;

use std::ops::ControlFlow;

use super::log::inputs::Inputs;
use super::log::read::{LogRequest, read_inputs};
use super::log::table::{Bounds, Count, Table};
use super::log::{Clients, Logs, Progress};
use crate::source::follow::InputError;

pub use summary::Summary;

use panel::{PANELS, Scratch};

/// What is known so far.
pub struct Report {
    clients: Clients,
    tables: [PanelTable; PANELS.len()],
    inputs: Inputs,
}

/// The counts of one panel.
struct PanelTable {
    table: Table,
    /// Requests whose log has no room for the value.
    unrecorded: Count,
}

impl Report {
    /// An empty report, which names clients in this way.
    pub fn new(clients: Clients) -> Self {
        Self {
            clients,
            tables: PANELS.map(|_| PanelTable { table: Table::new(Bounds::REPORT), unrecorded: Count::default() }),
            inputs: Inputs::default(),
        }
    }

    /// Reads every input into the report. One that cannot be read, or not whole, does not keep the others out: it is given
    /// to `failed` at once, and named in the report.
    pub fn collect(&mut self, logs: &Logs<'_>, progress: &mut Progress, failed: impl FnMut(&InputError)) {
        let Self { tables, inputs, .. } = self;
        let visit = |request: &LogRequest<'_>| {
            count(tables, request);
            ControlFlow::Continue(())
        };
        read_inputs(inputs, logs, progress, visit, failed);
    }
}

fn count(tables: &mut [PanelTable; PANELS.len()], request: &LogRequest<'_>) {
    let observation = &request.observation;
    let bytes = observation.cost.bytes;
    for (panel, counts) in PANELS.iter().zip(tables) {
        let mut scratch: Scratch = Scratch::default();
        match (panel.value)(observation, &mut scratch) {
            None if !(panel.is_recorded)(request.fields) => counts.unrecorded.add(bytes),
            value => counts.table.add(value, bytes),
        }
    }
}

#[cfg(test)]
mod tests;
