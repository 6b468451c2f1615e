//! A report as people read it: aligned, in the width of the terminal, in colour where it has any.

use super::summary::{PanelSummary, Summary, Tally};
use crate::show::log::Screen;
use crate::show::log::page::{BAR, Page, QUIET, TITLE, hits_text, padded};
use crate::show::text::{byte_count, cut_middle, grouped, percent};

/// Where a terminal is wide enough for every label to have one line. Below, a long one takes a second: of what is left of
/// a user agent after one, several look the same.
const ONE_LINE_COLUMNS: usize = 100;

/// What requests are called whose log has no room for a value.
const NOT_RECORDED: &str = "(not recorded in this log's format)";

/// The summary as text.
pub fn render(summary: &Summary, screen: Screen) -> String {
    let columns = screen.columns.clamp(40, 240);
    let mut page = Page::new(Screen { columns, ..screen });
    page.inputs(&summary.inputs);
    page.totals(&summary.totals);
    if summary.totals.requests > 0 {
        let layout = Layout::new(summary, columns);
        for panel in &summary.panels {
            page.panel(panel, summary, &layout);
        }
    }
    page.unread(&summary.unread, summary.totals.lines);
    page.text
}

/// The widths of the columns, the same in every table.
struct Layout {
    hits: usize,
    bar: usize,
    label: usize,
}

impl Layout {
    /// Shares are at most as wide as `<0.1%`, which is wider than `100%`; byte counts as `1023.9 KiB`.
    const SHARE: usize = 6;
    const BYTES: usize = 10;

    fn new(summary: &Summary, columns: usize) -> Self {
        let hits = grouped(summary.totals.requests).len().max("hits".len());
        let bar = match columns {
            ..70 => 0,
            70..100 => 8,
            100..130 => 14,
            _ => 20,
        };
        let gaps = 2 + 1 + 2 + if bar > 0 { bar + 2 } else { 0 } + 1 + 2;
        let label = columns.saturating_sub(hits + 2 * Self::SHARE + Self::BYTES + gaps);
        Self { hits, bar, label }
    }
}

impl Page {
    fn panel(&mut self, panel: &PanelSummary, summary: &Summary, layout: &Layout) {
        self.line("");
        if !panel.recorded {
            let formats = summary.formats().join(", ");
            let note = format!("not recorded in these logs (format: {formats})");
            let title = self.styled(TITLE, panel.title);
            let note = self.styled(QUIET, &note);
            self.line(&format!("{title}  {note}"));
            return;
        }
        self.heading(panel.title, &extent(panel));
        if let Some(timeline) = panel.timeline.as_ref().filter(|timeline| timeline.hits.len() > 1) {
            self.timeline(timeline);
        }
        let Layout { hits, bar, .. } = *layout;
        let bar_gap = if bar > 0 { bar + 2 } else { 0 };
        let columns = format!(
            "  {:>hits$} {:>share$}  {:bar_gap$}{:>bytes$} {:>share$}",
            "hits",
            "share",
            "",
            "bytes",
            "share",
            share = Layout::SHARE,
            bytes = Layout::BYTES,
        );
        let columns = self.styled(QUIET, columns.trim_end());
        self.line(&columns);
        let rows = rows(panel);
        let most = rows.iter().map(|row| row.tally.hits).max().unwrap_or(0);
        for row in &rows {
            self.row(row, most, summary, layout);
        }
    }

    fn row(&mut self, row: &Row<'_>, most: u64, summary: &Summary, layout: &Layout) {
        let Layout { hits, bar, label } = *layout;
        let (share, bytes) = (Layout::SHARE, Layout::BYTES);
        let hits =
            format!("{:>hits$} {:>share$}", grouped(row.tally.hits), percent(row.tally.hits, summary.totals.requests));
        let bar =
            if bar > 0 { format!("{}  ", self.styled(BAR, &bar_of(row.tally.hits, most, bar))) } else { String::new() };
        let cost = format!(
            "{:>bytes$} {:>share$}",
            byte_count(row.tally.bytes),
            percent(row.tally.bytes, summary.totals.bytes)
        );
        let numbers = format!("  {hits}  {bar}{cost}  ");
        let (first, second) = if self.screen.columns < ONE_LINE_COLUMNS {
            let whole = cut_middle(row.label, (2 * label).saturating_sub(1));
            let (first, second) = split(&whole, label);
            (first.to_owned(), second.to_owned())
        } else {
            (cut_middle(row.label, label), String::new())
        };
        let first = if row.is_value { first } else { self.styled(QUIET, &first) };
        self.line(&format!("{numbers}{first}"));
        if !second.is_empty() {
            let indent = self.screen.columns.saturating_sub(label);
            self.line(&format!("{:indent$}{second}", ""));
        }
    }
}

/// A row of a table.
struct Row<'a> {
    label: &'a str,
    /// Not so for a row that stands for requests without one.
    is_value: bool,
    tally: Tally,
}

/// The rows of a panel, among them those for requests without a value: they never take the place of a value, and are
/// said wherever there are any.
fn rows(panel: &PanelSummary) -> Vec<Row<'_>> {
    let values = panel.rows.iter().map(|row| Row { label: &row.label, is_value: true, tally: row.tally });
    let mut rows: Vec<_> = values.collect();
    let others = [(panel.absent_label, panel.without_value), (NOT_RECORDED, panel.not_recorded)];
    for (label, tally) in others.into_iter().filter(|(_, tally)| tally.hits > 0) {
        let by_hits = rows.partition_point(|row| row.tally.hits >= tally.hits);
        let place = if panel.timeline.is_some() { rows.len() } else { by_hits };
        rows.insert(place, Row { label, is_value: false, tally });
    }
    rows
}

/// How many values there are, and how far the counts can be trusted.
fn extent(panel: &PanelSummary) -> String {
    let values = panel.rows.len();
    let distinct = match (panel.exact, panel.timeline.is_some()) {
        (true, _) if panel.distinct == values as u64 => return format!("all {}", grouped(panel.distinct)),
        (true, true) => format!("the {values} busiest of {}", grouped(panel.distinct)),
        (true, false) => format!("{values} of {}", grouped(panel.distinct)),
        (false, _) => format!("{values} of about {}", grouped(panel.distinct)),
    };
    if panel.exact {
        return distinct;
    }
    let shown_error = panel.rows.iter().map(|row| (row.hits_error, row.bytes_error));
    let (hits, bytes) = shown_error.fold((0, 0), |most, error| (most.0.max(error.0), most.1.max(error.1)));
    if hits == 0 {
        format!("{distinct}; the counts shown are exact")
    } else {
        format!("{distinct}; counts at most {} and {} too high", hits_text(hits), byte_count(bytes))
    }
}

/// A thin bar, in half columns; what has hits at all has at least half a column.
fn bar_of(part: u64, whole: u64, columns: usize) -> String {
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let halves = ((share * columns as f64 * 2.0).round() as usize).max(usize::from(part > 0)).min(columns * 2);
    let bar = format!("{}{}", "━".repeat(halves / 2), if halves % 2 == 1 { "╸" } else { "" });
    padded(&bar, columns)
}

/// The text up to a number of columns, and the rest.
fn split(text: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    let mut fits = |character: char| {
        used += unicode_width::UnicodeWidthChar::width(character).unwrap_or(0);
        used <= columns
    };
    let end = text.find(|character| !fits(character)).unwrap_or(text.len());
    text.split_at(end)
}
