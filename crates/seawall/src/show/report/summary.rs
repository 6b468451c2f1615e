//! What a report says, ready to be shown. Its serialised form is the output of `--json`, whose names are kept stable and
//! described in `docs/report.md`. Every text in it has been made safe for a terminal.

use serde::Serialize;

use super::panel::{Order, PANELS, Panel};
use super::{PanelTable, Report};
use crate::show::log::moment;
use crate::show::log::summary::{InputSummary, TIMELINE_CELLS_MAX, Timeline, Totals, UnreadSummary, share};
use crate::show::log::table::{Count, Row, Table};

/// How many rows of a panel in order of time are shown at least: a whole day.
const TIME_ROWS_MIN: usize = 24;

/// What a report says.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub(super) totals: Totals,
    pub(super) inputs: Vec<InputSummary>,
    pub(super) panels: Vec<PanelSummary>,
    pub(super) unread: Vec<UnreadSummary>,
}

#[derive(Debug, Serialize)]
pub(super) struct PanelSummary {
    pub(super) name: &'static str,
    #[serde(skip)]
    pub(super) title: &'static str,
    /// Whether the logs record this at all.
    pub(super) recorded: bool,
    /// Distinct values.
    pub(super) distinct: u64,
    /// Whether `distinct` and the counts of all rows are exact.
    pub(super) exact: bool,
    /// By how much the counts of a row can be too high at most, and how many hits a value that is missing can have.
    pub(super) hits_error_max: u64,
    /// Requests that have no value.
    pub(super) without_value: Tally,
    /// Requests from logs whose format has no room for the value.
    pub(super) not_recorded: Tally,
    pub(super) rows: Vec<RowSummary>,
    /// What people read for requests that have no value.
    #[serde(skip)]
    pub(super) absent_label: &'static str,
    /// The whole span, in cells of equal length; only of panels in order of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeline: Option<Timeline>,
}

#[derive(Debug, Serialize)]
pub(super) struct RowSummary {
    pub(super) value: String,
    /// What people read for it.
    #[serde(skip)]
    pub(super) label: String,
    #[serde(flatten)]
    pub(super) tally: Tally,
    /// By how much the hits may be too many.
    pub(super) hits_error: u64,
    /// By how much the bytes may be too many.
    pub(super) bytes_error: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Tally {
    pub(super) hits: u64,
    pub(super) hits_share: f64,
    pub(super) bytes: u64,
    pub(super) bytes_share: f64,
}

impl Report {
    /// What the report says, with the `top` rows of each panel.
    pub fn summary(&self, top: usize) -> Summary {
        Summary {
            totals: self.totals(),
            inputs: self.inputs.summaries(),
            panels: PANELS.iter().zip(&self.tables).map(|(panel, counts)| self.panel(panel, counts, top)).collect(),
            unread: self.inputs.unread_summaries(&self.clients),
        }
    }

    fn totals(&self) -> Totals {
        let clients = PANELS.iter().zip(&self.tables).find(|(panel, _)| panel.name == "clients");
        let (distinct, is_exact) =
            clients.map_or((0, true), |(_, counts)| (counts.table.distinct(), counts.table.is_exact()));
        self.inputs.totals(distinct, is_exact)
    }

    fn panel(&self, panel: &Panel, counts: &PanelTable, top: usize) -> PanelSummary {
        let table = &counts.table;
        let wanted = if panel.order == Order::Time { top.max(TIME_ROWS_MIN) } else { top };
        let mut chosen = table.top(wanted);
        if panel.order == Order::Time {
            chosen.sort_unstable_by(|a, b| a.value.cmp(&b.value));
        }
        let row = |row: &&Row| {
            let text = (panel.text)(&row.value, &self.clients);
            RowSummary {
                label: panel.label.map_or_else(|| text.clone(), |label| label(&row.value)),
                value: text,
                tally: self.tally(row.count),
                hits_error: row.error.hits,
                bytes_error: row.error.bytes,
            }
        };
        PanelSummary {
            name: panel.name,
            title: panel.title,
            recorded: counts.unrecorded.hits == 0 || table.distinct() > 0 || table.absent().hits > 0,
            distinct: table.distinct(),
            exact: table.is_exact(),
            hits_error_max: table.missing_hits_max(),
            without_value: self.tally(table.absent()),
            not_recorded: self.tally(counts.unrecorded),
            rows: chosen.iter().map(row).collect(),
            absent_label: panel.absent,
            timeline: (panel.order == Order::Time).then(|| timeline(table)).flatten(),
        }
    }

    fn tally(&self, count: Count) -> Tally {
        Tally {
            hits: count.hits,
            hits_share: share(count.hits, self.inputs.total.hits),
            bytes: count.bytes,
            bytes_share: share(count.bytes, self.inputs.total.bytes),
        }
    }
}

impl Summary {
    /// The formats of the inputs, each once.
    pub(super) fn formats(&self) -> Vec<&'static str> {
        let mut formats: Vec<_> = self.inputs.iter().filter_map(|input| input.format).collect();
        formats.sort_unstable();
        formats.dedup();
        formats
    }
}

/// The hours of a table from its first to its last, in cells of equal length.
fn timeline(table: &Table) -> Option<Timeline> {
    let hours = || table.rows().iter().filter_map(|row| Some((hour(&row.value)?, row.count.hits)));
    let (first, last) = (hours().map(|(hour, _)| hour).min()?, hours().map(|(hour, _)| hour).max()?);
    let cell_hours = (last - first + 1).div_ceil(TIMELINE_CELLS_MAX);
    let cells = (last - first) / cell_hours + 1;
    let mut hits = vec![0; usize::try_from(cells).ok()?];
    for (hour, count) in hours() {
        let cell = usize::try_from((hour - first) / cell_hours).ok()?;
        *hits.get_mut(cell)? += count;
    }
    Some(Timeline { from: moment(first.saturating_mul(3600)).to_string(), cell_hours, hits })
}

fn hour(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}
