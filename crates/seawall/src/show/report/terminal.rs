//! A report as people read it: aligned, in the width of the terminal, in colour where it has any.

use std::borrow::Cow;

use anstyle::Style;

use super::panel::RESPONSE_TIMES;
use super::summary::{
    Amount, Content, DistributionSummary, FoundSurge, Mean, Summary, SurgesSummary, TableSummary, Tally, TrafficSummary,
};
use crate::show::log::Screen;
use crate::show::log::page::{BAR, Page, QUIET, TITLE, WARNING, block, hits_text, padded, requests_text, span, width};
use crate::show::text::{byte_count, cut, cut_middle, grouped, percent};

/// Where a terminal is wide enough for every label to have one line. Below, a long one takes a second: of what is left of
/// a user agent after one, several look the same.
const ONE_LINE_COLUMNS: usize = 100;

/// Surges that are too weak to be explained, of which a line is shown.
const LEFT_OUT_MAX: usize = 12;

/// What requests are called whose log has no room for a value.
const NOT_RECORDED: &str = "(not recorded in this log's format)";

/// The summary as text.
pub fn render(summary: &Summary, screen: Screen) -> String {
    let columns = screen.columns.clamp(40, 240);
    let mut page = Page::new(Screen { columns, ..screen });
    page.inputs(&summary.inputs);
    if let Some(filter) = &summary.filter {
        page.sentence("filter", filter);
    }
    page.totals(&summary.totals);
    if summary.totals.requests > 0 {
        let layout = Layout::new(summary, columns);
        for panel in &summary.panels {
            page.line("");
            match &panel.content {
                Content::Table(table) => page.table(panel.title, table, summary, &layout),
                Content::Traffic(traffic) => page.traffic(panel.title, traffic, summary),
                Content::Distribution(distribution) => {
                    let unknown = summary.totals.unknown_number.as_deref().filter(|_| panel.name == RESPONSE_TIMES);
                    page.distribution(panel.title, distribution, unknown, summary);
                }
                Content::Surges(surges) => page.surges(panel.title, surges),
            }
        }
    }
    page.unread(&summary.unread, summary.totals.lines);
    page.text
}

/// The widths of the columns, the same in every table.
struct Layout {
    hits: usize,
    bar: usize,
    /// Of the mean time, if any log says how long requests took and there is room.
    mean: usize,
    label: usize,
}

impl Layout {
    /// Shares are at most as wide as `<0.1%`, which is wider than `100%`; byte counts as `1023.9 KiB`.
    const SHARE: usize = 6;
    const BYTES: usize = 10;
    const MEAN: usize = 9;

    fn new(summary: &Summary, columns: usize) -> Self {
        let hits = grouped(summary.totals.requests).len().max("hits".len());
        let bar = match columns {
            ..70 => 0,
            70..100 => 8,
            100..130 => 14,
            _ => 20,
        };
        let mean = if columns >= 70 && summary.is_timed() { Self::MEAN } else { 0 };
        let gaps = 2 + 1 + 2 + if bar > 0 { bar + 2 } else { 0 } + 1 + 2 + if mean > 0 { mean + 1 } else { 0 };
        let label = columns.saturating_sub(hits + 2 * Self::SHARE + Self::BYTES + gaps);
        Self { hits, bar, mean, label }
    }
}

impl Page {
    /// Says that the logs do not have it.
    fn not_recorded(&mut self, title: &str, summary: &Summary) {
        let formats = summary.formats().join(", ");
        let note = format!("not recorded in these logs (format: {formats})");
        let note = cut(&note, self.screen.columns.saturating_sub(width(title) + 2));
        let title = self.styled(TITLE, title);
        let note = self.styled(QUIET, &note);
        self.line(&format!("{title}  {note}"));
    }

    fn traffic(&mut self, title: &str, traffic: &TrafficSummary, summary: &Summary) {
        let cells = traffic.outcomes.first().map_or(0, |outcome| outcome.cells.len());
        let merged = cells.div_ceil(self.screen.columns.saturating_sub(4).max(1)).max(1);
        let merge = |cells: &[u64]| -> Vec<u64> { cells.chunks(merged).map(|cells| cells.iter().sum()).collect() };
        let seconds = traffic.cell_seconds.saturating_mul(merged as u64);
        self.heading(title, &format!("each column is {}", span(seconds)));
        let mut all = vec![0; cells];
        for outcome in &traffic.outcomes {
            all.iter_mut().zip(&outcome.cells).for_each(|(sum, hits)| *sum += hits);
        }
        self.heights(&merge(&all), BAR);
        let most = merge(&all).into_iter().max().unwrap_or(0);
        let note = self.styled(QUIET, &format!("the highest has {}", hits_text(most)));
        self.line(&format!("  {note}"));
        let hits_columns = grouped(summary.totals.requests).len();
        for outcome in traffic.outcomes.iter().filter(|outcome| outcome.tally.hits > 0) {
            let (hits, bytes) = (outcome.tally.hits, byte_count(outcome.tally.bytes));
            let share = percent(hits, summary.totals.requests);
            self.line(&format!("  {:<20}  {:>hits_columns$} {share:>6}  {bytes:>10}", outcome.title, grouped(hits)));
            // What is nearly all has the shape of the whole.
            if hits * 10 < summary.totals.requests * 9 {
                let style = if outcome.outcome.ends_with("error") { WARNING } else { BAR };
                self.heights(&merge(&outcome.cells), style);
            }
        }
    }

    /// A line of columns, as high as the largest of them.
    fn heights(&mut self, hits: &[u64], style: Style) {
        let most = hits.iter().copied().max().unwrap_or(0);
        let curve: String = hits.iter().map(|hits| block(*hits, most)).collect();
        let curve = self.styled(style, &curve);
        self.line(&format!("  {curve}"));
    }

    /// `unknown` is what is said of logs that may have the amount, but nothing says so.
    fn distribution(
        &mut self,
        title: &str,
        distribution: &DistributionSummary,
        unknown: Option<&str>,
        summary: &Summary,
    ) {
        if distribution.requests == 0 {
            let Some(unknown) = unknown else { return self.not_recorded(title, summary) };
            self.heading(title, "none is known");
            return self.paragraph(WARNING, 2, unknown);
        }
        let of = if distribution.requests_not_recorded > 0 {
            format!("of {} that record it", requests_text(distribution.requests))
        } else {
            format!("of {}", requests_text(distribution.requests))
        };
        self.heading(title, &of);
        let mean = match distribution.mean {
            Some(Mean::Milliseconds(mean)) => milliseconds_text(mean),
            Some(Mean::Bytes(mean)) => byte_count(mean as u64),
            None => String::new(),
        };
        self.line(&format!("  {:<16}{mean:>10}", "mean"));
        for quantile in &distribution.quantiles {
            let name = match quantile.quantile {
                1.0.. => "largest".to_owned(),
                part => format!("{}% up to", part * 100.0),
            };
            self.line(&format!("  {name:<16}{:>10}", amount_text(quantile.amount)));
        }
        if let Some(unknown) = unknown {
            self.paragraph(WARNING, 2, unknown);
        }
    }

    fn surges(&mut self, title: &str, surges: &SurgesSummary) {
        if surges.surges.is_empty() && surges.found.is_empty() {
            return self.heading(title, "none: no time has much more than is usual");
        }
        for (number, surge) in (1..).zip(&surges.surges) {
            if number > 1 {
                self.line("");
            }
            self.surge(surge, number);
        }
        if !surges.found.is_empty() {
            self.heading(title, "`seawall explain` says more of logs that are files");
            for surge in &surges.found {
                self.found_surge(surge);
            }
        }
        if !surges.left_out.is_empty() {
            let more = match surges.left_out.len() {
                1 => "another that is weaker is not explained".to_owned(),
                count => format!("{count} more that are weaker are not explained"),
            };
            self.heading(title, &more);
            for surge in surges.left_out.iter().take(LEFT_OUT_MAX) {
                self.found_surge(surge);
            }
            let rest = surges.left_out.len().saturating_sub(LEFT_OUT_MAX);
            if rest > 0 {
                self.line(&format!("  and {rest} later ones, which --json names"));
            }
        }
    }

    fn found_surge(&mut self, surge: &FoundSurge) {
        let plain = |time: &str| time.replace('T', " ").replace('Z', "");
        let (from, until, length) = (plain(&surge.from), plain(&surge.until), span(surge.seconds));
        let factor = format!("{:.1} times the usual {}", surge.times_usual, surge.cost);
        self.line(&format!("  {from} to {until} UTC ({length}): {factor}"));
    }

    fn table(&mut self, title: &str, table: &TableSummary, summary: &Summary, layout: &Layout) {
        if !table.recorded {
            return self.not_recorded(title, summary);
        }
        self.heading(title, &extent(table));
        let rows = rows(table);
        if rows.is_empty() {
            return;
        }
        let Layout { hits, bar, mean, .. } = *layout;
        let bar_gap = if bar > 0 { bar + 2 } else { 0 };
        let mean_title = if mean > 0 { format!(" {:>mean$}", "mean") } else { String::new() };
        let columns = format!(
            "  {:>hits$} {:>share$}  {:bar_gap$}{:>bytes$} {:>share$}{mean_title}",
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
        let most = rows.iter().map(|row| row.tally.hits).max().unwrap_or(0);
        for row in &rows {
            self.row(row, most, summary, layout);
        }
    }

    fn row(&mut self, row: &Row<'_>, most: u64, summary: &Summary, layout: &Layout) {
        let Layout { hits, bar, mean, label } = *layout;
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
        let time = row.tally.mean_ms.map(milliseconds_text).unwrap_or_default();
        let time = if mean > 0 { format!(" {time:>mean$}") } else { String::new() };
        let numbers = format!("  {hits}  {bar}{cost}{time}  ");
        let (first, second) = if self.screen.columns < ONE_LINE_COLUMNS {
            let whole = cut_middle(&row.label, (2 * label).saturating_sub(1));
            let (first, second) = split(&whole, label);
            (first.to_owned(), second.to_owned())
        } else {
            (cut_middle(&row.label, label), String::new())
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
    label: Cow<'a, str>,
    /// Not so for a row that stands for requests without one.
    is_value: bool,
    tally: Tally,
}

/// The rows of a table, among them those for requests without a value: they never take the place of a value, and are
/// said wherever there are any.
fn rows(table: &TableSummary) -> Vec<Row<'_>> {
    let values = table.rows.iter().map(|row| {
        let label = match &row.detail {
            Some(detail) => Cow::Owned(format!("{}  {detail}", row.label)),
            None => Cow::Borrowed(row.label.as_str()),
        };
        Row { label, is_value: true, tally: row.tally }
    });
    let mut rows: Vec<_> = values.collect();
    let others = [(table.absent_label, table.without_value), (NOT_RECORDED, table.not_recorded)];
    for (label, tally) in others.into_iter().filter(|(_, tally)| tally.hits > 0) {
        let by_hits = rows.partition_point(|row| row.tally.hits >= tally.hits);
        let place = if table.is_of_time { rows.len() } else { by_hits };
        rows.insert(place, Row { label: Cow::Borrowed(label), is_value: false, tally });
    }
    rows
}

/// How many values there are, and how far the counts can be trusted.
fn extent(table: &TableSummary) -> String {
    let values = table.rows.len();
    let distinct = match (table.exact, table.is_of_time) {
        (true, _) if table.distinct == 0 => return "none".to_owned(),
        (true, _) if table.distinct == values as u64 => return format!("all {}", grouped(table.distinct)),
        (true, true) => format!("the {values} busiest of {}", grouped(table.distinct)),
        (true, false) => format!("{values} of {}", grouped(table.distinct)),
        (false, _) => format!("{values} of about {}", grouped(table.distinct)),
    };
    if table.exact {
        return distinct;
    }
    match table.rows.iter().map(|row| row.hits_error).max().unwrap_or(0) {
        0 => format!("{distinct}; the counts shown are exact"),
        error => format!("{distinct}; counts at most {} too high", hits_text(error)),
    }
}

/// A time in the unit in which it has few digits.
fn milliseconds_text(time: f64) -> String {
    match time {
        ..1.0 => format!("{:.0} µs", time * 1000.0),
        ..10.0 => format!("{time:.1} ms"),
        ..1000.0 => format!("{time:.0} ms"),
        ..100_000.0 => format!("{:.1} s", time / 1000.0),
        _ => format!("{:.0} s", time / 1000.0),
    }
}

fn amount_text(amount: Amount) -> String {
    match amount {
        Amount::Milliseconds(time) => milliseconds_text(time),
        Amount::Bytes(bytes) => byte_count(bytes),
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
