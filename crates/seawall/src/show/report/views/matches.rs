//! How many requests of each file match a regular expression. It is asked of the line, byte for byte; the library's time is linear
//! in the line whatever the expression. A line that could not be read is no request, and is not searched.

use std::ops::ControlFlow;

use regex::bytes::Regex;
use seawall_engine::units::Timestamp;

use super::{Cell, Column, ViewTable, Viewer, name, number, text};
use crate::show::log::inputs::Inputs;
use crate::show::log::moment;
use crate::show::log::read::{LogRequest, Visitor};
use crate::show::log::summary::share;
use crate::show::report::Options;
use crate::show::text::{byte_count, escape, grouped, percent};

const COLUMNS: [Column; 7] = [
    text("input", "file"),
    number("requests", "requests"),
    number("matches", "matches"),
    number("matches_share", "share"),
    number("bytes", "bytes"),
    name("first", "first (UTC)"),
    name("last", "last (UTC)"),
];

/// What matched.
pub(super) struct Matches {
    expression: Regex,
    /// By the number of the input.
    files: Vec<File>,
}

#[derive(Clone, Copy, Default)]
struct File {
    requests: u64,
    matches: u64,
    bytes: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Matches {
    pub(super) fn new(expression: Regex) -> Self {
        Self { expression, files: Vec::new() }
    }
}

impl Visitor for Matches {
    fn visit(&mut self, request: &LogRequest<'_>) -> ControlFlow<()> {
        if self.files.len() <= request.input {
            self.files.resize(request.input + 1, File::default());
        }
        let Some(file) = self.files.get_mut(request.input) else { return ControlFlow::Continue(()) };
        file.requests += 1;
        if self.expression.is_match(request.line) {
            let at = request.observation.at;
            file.matches += 1;
            file.bytes = file.bytes.saturating_add(request.observation.cost.bytes);
            file.first = Some(file.first.map_or(at, |first| first.min(at)));
            file.last = Some(file.last.map_or(at, |last| last.max(at)));
        }
        ControlFlow::Continue(())
    }
}

impl Viewer for Matches {
    fn table(mut self: Box<Self>, inputs: &Inputs, _: &Options<'_>, _: usize) -> ViewTable {
        // Every file has its row, also one of which nothing was read.
        self.files.resize(inputs.inputs.len(), File::default());
        let time = |at: Option<Timestamp>| {
            at.map_or_else(Cell::none, |at| {
                let at = moment(at.as_seconds());
                Cell::new(at.to_string(), at.strftime("%F %T").to_string())
            })
        };
        let rows = inputs.inputs.iter().zip(&self.files).map(|(input, file)| {
            vec![
                Cell::text(escape(input.name.as_bytes())),
                Cell::new(file.requests, grouped(file.requests)),
                Cell::new(file.matches, grouped(file.matches)),
                Cell::new(share(file.matches, file.requests), percent(file.matches, file.requests)),
                Cell::new(file.bytes, byte_count(file.bytes)),
                time(file.first),
                time(file.last),
            ]
        });
        let note = match inputs.lines_unread() {
            0 => None,
            1 => Some("One line could not be read, and was not searched.".to_owned()),
            lines => Some(format!("{} lines could not be read, and were not searched.", grouped(lines))),
        };
        ViewTable { columns: COLUMNS.to_vec(), rows: rows.collect(), notes: note.into_iter().collect() }
    }
}
