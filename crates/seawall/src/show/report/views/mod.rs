//! What operators ask of logs besides a report: views that are tables of their own. A view of one panel is a report with that panel
//! alone, and not here.
//!
//! To add one: a file with a [`Viewer`], its variant in [`View`], and its line in [`View::viewer`].

mod first_seen;
mod leech;
mod matches;
mod page;

use std::collections::HashSet;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Options;
use crate::show::log::inputs::Inputs;
use crate::show::log::read::{LogRequest, Visitor, read_inputs};
use crate::show::log::summary::{InputSummary, Totals, UnreadSummary};
use crate::show::log::{Logs, Progress};
use crate::source::follow::InputError;
use seawall_engine::decision::expression::Expression;
use seawall_engine::distinct::Distinct;
use siphasher::sip::SipHasher13;

pub use page::render;

/// A view that is a table of its own.
pub enum View {
    /// The clients that take most, and how they come.
    Leech,
    /// How many requests of each file match an expression.
    Matches(Box<regex::bytes::Regex>),
    /// Since when there are requests that a rule matches.
    FirstSeen(Box<Expression>),
}

/// The names of all views, and what each shows.
pub const VIEWS: [(&str, &str); 3] = [
    ("leech", "the clients that took most bytes, and how they come"),
    ("matches", "how many requests match --match, for each file"),
    ("first-seen", "the first requests that the rule in front of the files matches"),
];

/// A view that is being made.
trait Viewer: Visitor {
    /// What it has seen, as a table of at most so many rows where they are in order of importance.
    fn table(self: Box<Self>, inputs: &Inputs, options: &Options<'_>, top: usize) -> ViewTable;
}

/// Clients that are counted exactly; when there are more, how many there are is estimated.
const CLIENTS_EXACT_MAX: usize = 16_384;

/// How many different clients there were.
#[derive(Default)]
struct ClientCount {
    /// The first of them, until there are more than [`CLIENTS_EXACT_MAX`].
    first: HashSet<u128>,
    all: Distinct,
}

impl ClientCount {
    fn add(&mut self, client: u128) {
        // Whoever is among them has been counted in both.
        if self.first.len() <= CLIENTS_EXACT_MAX && !self.first.insert(client) {
            return;
        }
        self.all.add(SipHasher13::new_with_keys(1, 2).hash(&client.to_be_bytes()));
    }

    /// The number, and whether it is exact.
    fn count(&self) -> (u64, bool) {
        match self.first.len() {
            few @ ..=CLIENTS_EXACT_MAX => (few as u64, true),
            _ => (self.all.estimate(), false),
        }
    }
}

/// A table of any columns.
struct ViewTable {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// What there is to say about it.
    notes: Vec<String>,
}

/// A column of a table.
#[derive(Clone, Copy, Serialize)]
struct Column {
    /// Its name in JSON and CSV, with its unit.
    #[serde(skip)]
    name: &'static str,
    /// What people read above it; columns without are for programs.
    title: &'static str,
    /// Numbers stand at the right, and are never cut.
    is_number: bool,
    /// Whether a text gives way where the screen is narrow: of what is cut, several may look the same.
    gives_way: bool,
}

const fn number(name: &'static str, title: &'static str) -> Column {
    Column { name, title, is_number: true, gives_way: false }
}

const fn text(name: &'static str, title: &'static str) -> Column {
    Column { name, title, is_number: false, gives_way: true }
}

/// Texts of few letters, and names that are alike.
const fn name(name: &'static str, title: &'static str) -> Column {
    Column { name, title, is_number: false, gives_way: false }
}

/// What stands in a row.
#[derive(Serialize)]
struct Cell {
    /// For programs.
    value: Value,
    /// For people.
    label: String,
}

impl Cell {
    fn new(value: impl Into<Value>, label: String) -> Self {
        Self { value: value.into(), label }
    }

    fn text(text: String) -> Self {
        Self { value: Value::String(text.clone()), label: text }
    }

    /// Nothing.
    fn none() -> Self {
        Self { value: Value::Null, label: "-".to_owned() }
    }
}

/// What a view shows. Its serialised form is the output of `--json`: each row is an object with the names of the columns.
#[derive(Serialize)]
pub struct ViewSummary {
    view: &'static str,
    totals: Totals,
    filter: Option<String>,
    inputs: Vec<InputSummary>,
    notes: Vec<String>,
    rows: Vec<RowOfView>,
    unread: Vec<UnreadSummary>,
    #[serde(skip)]
    columns: Vec<Column>,
}

struct RowOfView {
    names: Vec<&'static str>,
    cells: Vec<Cell>,
}

impl Column {
    /// Whether people see it.
    const fn is_shown(&self) -> bool {
        !self.title.is_empty()
    }
}

impl RowOfView {
    /// What people see.
    fn shown<'a>(&'a self, columns: &[Column]) -> Vec<&'a Cell> {
        self.cells.iter().zip(columns).filter(|(_, column)| column.is_shown()).map(|(cell, _)| cell).collect()
    }
}

impl Serialize for RowOfView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.cells.len()))?;
        for (name, cell) in self.names.iter().zip(&self.cells) {
            map.serialize_entry(name, &cell.value)?;
        }
        map.end()
    }
}

/// A view as a web page shows it.
#[derive(Serialize)]
pub struct ViewPage<'a> {
    title: &'static str,
    totals: &'a Totals,
    filter: Option<&'a str>,
    inputs: &'a [InputSummary],
    notes: &'a [String],
    /// Those that people see.
    columns: Vec<Column>,
    rows: Vec<Vec<&'a Cell>>,
    unread: &'a [UnreadSummary],
}

impl View {
    const fn name(&self) -> &'static str {
        match self {
            Self::Leech => "leech",
            Self::Matches(_) => "matches",
            Self::FirstSeen(_) => "first-seen",
        }
    }

    fn viewer(self, top: usize) -> Box<dyn Viewer> {
        match self {
            Self::Leech => Box::new(leech::Leech::default()),
            Self::Matches(expression) => Box::new(matches::Matches::new(*expression)),
            Self::FirstSeen(rule) => Box::new(first_seen::FirstSeen::new(*rule, top)),
        }
    }

    /// Reads every input, in order, and shows it.
    pub fn read(
        self,
        logs: &Logs<'_>,
        options: &Options<'_>,
        top: usize,
        progress: &mut Progress,
        failed: impl FnMut(&InputError),
    ) -> ViewSummary {
        let logs = Logs { networks: Some(options.networks), ..*logs };
        let (view, mut inputs, mut viewer) = (self.name(), Inputs::default(), self.viewer(top));
        let mut seen = ClientCount::default();
        let visit = |request: &LogRequest<'_>| {
            if let Some(client) = request.observation.client {
                seen.add(client.client_key());
            }
            viewer.visit(request)
        };
        read_inputs(&mut inputs, &logs, progress, visit, failed);
        let (clients, is_exact) = seen.count();
        let ViewTable { columns, rows, notes } = viewer.table(&inputs, options, top);
        let names: Vec<&'static str> = columns.iter().map(|column| column.name).collect();
        ViewSummary {
            view,
            totals: inputs.totals(clients, is_exact),
            filter: logs.filter.map(|filter| crate::show::text::escape(filter.text().as_bytes())),
            inputs: inputs.summaries(),
            notes,
            rows: rows.into_iter().map(|cells| RowOfView { names: names.clone(), cells }).collect(),
            unread: inputs.unread_summaries(&options.clients),
            columns,
        }
    }
}

impl ViewSummary {
    /// What people read above it.
    fn title(&self) -> &'static str {
        match self.view {
            "leech" => "Clients by bytes",
            "matches" => "Matches by file",
            _ => "First seen",
        }
    }

    /// What a web page shows.
    pub fn page(&self) -> ViewPage<'_> {
        ViewPage {
            title: self.title(),
            totals: &self.totals,
            filter: self.filter.as_deref(),
            inputs: &self.inputs,
            notes: &self.notes,
            columns: self.columns.iter().filter(|column| column.is_shown()).copied().collect(),
            rows: self.rows.iter().map(|row| row.shown(&self.columns)).collect(),
            unread: &self.unread,
        }
    }

    /// The rows as comma-separated values.
    ///
    /// # Errors
    /// Never, as long as memory can be written to; the library does not know that it is memory.
    pub fn csv(&self) -> Result<String, ::csv::Error> {
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        writer.write_record(self.columns.iter().map(|column| column.name))?;
        for row in &self.rows {
            writer.write_record(row.cells.iter().map(|cell| match &cell.value {
                Value::String(text) => super::csv::harmless(text).into_owned(),
                Value::Null => String::new(),
                number => number.to_string(),
            }))?;
        }
        let bytes = writer.into_inner().map_err(::csv::IntoInnerError::into_error)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests;
