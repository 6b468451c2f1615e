//! A report as people read it: aligned, in the width of the terminal, in colour where it has any.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::summary::{InputSummary, PanelSummary, Summary, Tally, Timeline, UnreadSummary};
use crate::show::text::{byte_count, cut, cut_middle, grouped, percent};

const TITLE: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();
const BAR: Style = AnsiColor::Cyan.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();

/// Where a terminal is wide enough for every label to have one line. Below, a long one takes a second: of what is left of
/// a user agent after one, several look the same.
const ONE_LINE_COLUMNS: usize = 100;

/// The share of the first lines in a log's format below which the format is in doubt.
const SURE: f32 = 0.9;

/// How many inputs are listed; of more, the rest is counted.
const INPUTS_SHOWN_MAX: usize = 12;

/// What requests are called whose log has no room for a value.
const NOT_RECORDED: &str = "(not recorded in this log's format)";

/// What a report is shown on.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Its width.
    pub columns: usize,
    /// Whether it shows colours.
    pub colour: bool,
}

/// The summary as text.
pub fn render(summary: &Summary, screen: Screen) -> String {
    let columns = screen.columns.clamp(40, 240);
    let mut page = Page { text: String::new(), screen: Screen { columns, ..screen } };
    page.inputs(&summary.inputs);
    page.totals(summary);
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

struct Page {
    text: String,
    screen: Screen,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.screen.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn inputs(&mut self, inputs: &[InputSummary]) {
        let name_columns = self.screen.columns * 3 / 5;
        let widest = inputs.iter().take(INPUTS_SHOWN_MAX).map(|input| width(&input.name)).max().unwrap_or(0);
        let widest = widest.min(name_columns);
        for input in inputs.iter().take(INPUTS_SHOWN_MAX) {
            let name = self.styled(TITLE, &padded(&cut_middle(&input.name, widest), widest));
            let room = self.screen.columns.saturating_sub(widest + 4);
            let doubtful = input.error.is_some() || (input.lines > 0 && input.format_confidence.unwrap_or(0.0) < SURE);
            let style = if doubtful { WARNING } else { Style::new() };
            let what = self.styled(style, &cut(&what(input), room));
            self.line(&format!("  {name}  {what}"));
            if let Some(error) = &input.error {
                let error = self.styled(WARNING, &cut(error, self.screen.columns - 4));
                self.line(&format!("    {error}"));
            }
        }
        if let Some(more @ 1..) = inputs.len().checked_sub(INPUTS_SHOWN_MAX) {
            self.line(&format!("  and {more} more"));
        }
        self.line("");
    }

    fn totals(&mut self, summary: &Summary) {
        let totals = &summary.totals;
        let clients =
            if totals.clients_exact { grouped(totals.clients) } else { format!("about {}", grouped(totals.clients)) };
        let mut facts =
            vec![("requests", grouped(totals.requests)), ("bytes", byte_count(totals.bytes)), ("clients", clients)];
        if let (Some(from), Some(to)) = (&totals.from, &totals.to) {
            let plain = |time: &str| time.replace('T', " ").replace('Z', "");
            facts.push(("from", format!("{} UTC", plain(from))));
            facts.push(("to", format!("{} UTC ({})", plain(to), span(totals.span_seconds))));
        }
        for (name, value) in facts {
            let name = self.styled(QUIET, &format!("{name:<10}"));
            self.line(&format!("  {name}{value}"));
        }
        let unread = match totals.lines_unread {
            0 => "0 lines".to_owned(),
            count => format!("{}, {} of all; see the end", lines(count), percent(count, totals.lines)),
        };
        let name = self.styled(QUIET, "not read  ");
        let style = if totals.lines_unread > 0 { WARNING } else { Style::new() };
        let unread = self.styled(style, &unread);
        self.line(&format!("  {name}{unread}"));
    }

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

    /// A title at the left, and what is to be known about the table at the right.
    fn heading(&mut self, title: &str, note: &str) {
        let note = cut(note, self.screen.columns.saturating_sub(width(title) + 4));
        let gap = self.screen.columns.saturating_sub(width(title) + width(&note) + 1);
        let rule = if gap > 2 { format!(" {} ", "─".repeat(gap - 1)) } else { "  ".to_owned() };
        let (title, rest) = (self.styled(TITLE, title), self.styled(QUIET, &format!("{rule}{note}")));
        self.line(&format!("{title}{rest}"));
    }

    fn timeline(&mut self, timeline: &Timeline) {
        let cells = self.screen.columns.saturating_sub(4).max(1);
        let merged = timeline.hits.len().div_ceil(cells);
        let hits: Vec<u64> = timeline.hits.chunks(merged).map(|cells| cells.iter().sum()).collect();
        let most = hits.iter().copied().max().unwrap_or(0);
        let curve: String = hits.iter().map(|hits| block(*hits, most)).collect();
        let curve = self.styled(BAR, &curve);
        self.line(&format!("  {curve}"));
        let each = match timeline.cell_hours * merged as u64 {
            1 => "each column is an hour".to_owned(),
            hours => format!("each column is {}", span(hours.saturating_mul(3600))),
        };
        let note = self.styled(QUIET, &format!("{each}, the highest has {}", hits_text(most)));
        self.line(&format!("  {note}"));
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

    fn unread(&mut self, unread: &[UnreadSummary], all_lines: u64) {
        if unread.is_empty() {
            return;
        }
        let count: u64 = unread.iter().map(|reason| reason.lines).sum();
        self.line("");
        self.heading("Not read", &format!("{} of {}", grouped(count), lines(all_lines)));
        let columns = unread.iter().map(|reason| grouped(reason.lines).len()).max().unwrap_or(0);
        for reason in unread {
            let text = self.styled(WARNING, reason.text);
            self.line(&format!("  {:>columns$}  {text}", grouped(reason.lines)));
            for example in &reason.examples {
                let place = cut_middle(&format!("{}:{}", example.input, example.line), self.screen.columns / 3);
                let long = match example.length {
                    length if length > super::unread::EXAMPLE_BYTES_MAX as u64 => format!(" ({})", byte_count(length)),
                    _ => String::new(),
                };
                let room = self.screen.columns.saturating_sub(columns + 4 + width(&place) + width(&long) + 2);
                let place = self.styled(QUIET, &format!("{place}{long}"));
                self.line(&format!("  {:>columns$}  {place}  {}", "", cut(&example.text, room)));
            }
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

/// What there is to say about an input, in a line.
fn what(input: &InputSummary) -> String {
    if input.error.is_some() {
        return if input.lines > 0 { format!("read in part, {}", lines(input.lines)) } else { "not read".to_owned() };
    }
    let format = match (input.format, input.format_confidence, input.format_lines) {
        _ if input.lines == 0 => "empty".to_owned(),
        (Some(format), Some(confidence), _) if confidence >= 1.0 => format.to_owned(),
        (Some(format), Some(confidence), Some(lines)) => {
            // Shares of few lines are whole numbers of them.
            let fitting = (confidence * lines as f32).round() as u64;
            format!("{format} in {} of the first {lines} lines", percent(fitting, lines as u64))
        }
        _ => "format not recognised".to_owned(),
    };
    let compression = if input.compression == Some("gzip") { ", gzip" } else { "" };
    if input.lines == 0 { format } else { format!("{format}{compression}, {}", lines(input.lines)) }
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

/// A column of a curve; what has hits at all is seen.
fn block(part: u64, whole: u64) -> char {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let eighths = ((share * 8.0).round() as usize).max(usize::from(part > 0));
    BLOCKS.get(eighths).copied().unwrap_or('█')
}

fn lines(count: u64) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{} lines", grouped(count)) }
}

fn hits_text(count: u64) -> String {
    if count == 1 { "1 hit".to_owned() } else { format!("{} hits", grouped(count)) }
}

/// A length of time in its two largest units: `3 d 11 h`.
fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let mut text = String::new();
    let from = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    for (unit, name) in UNITS.iter().skip(from).take(2) {
        let amount = rest / unit;
        rest %= unit;
        if amount > 0 || text.is_empty() {
            let gap = if text.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{gap}{} {name}", grouped(amount));
        }
    }
    text
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

fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// The text with spaces after it up to a number of columns.
fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}
