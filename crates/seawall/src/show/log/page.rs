//! A page as people read it: its lines, what every page says of its inputs, and the curves and lengths of time on it.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use seawall_engine::decision::expression::Evidence;

use super::summary::{InputSummary, Timeline, Totals, UnreadSummary};
use super::unread::EXAMPLE_BYTES_MAX;
use crate::show::text::{byte_count, cut, cut_middle, grouped, percent};

pub(in crate::show) const TITLE: Style = Style::new().bold();
pub(in crate::show) const QUIET: Style = Style::new().dimmed();
pub(in crate::show) const BAR: Style = AnsiColor::Cyan.on_default();
pub(in crate::show) const WARNING: Style = AnsiColor::Yellow.on_default();

/// The width of what is named at the left by [`Page::fact`].
pub(in crate::show) const NAME_COLUMNS: usize = 11;

/// The share of the first lines in a log's format below which the format is in doubt.
const SURE: f32 = 0.9;

/// How many inputs are listed; of more, the rest is counted.
const INPUTS_SHOWN_MAX: usize = 12;

/// What the time that a request took is called in a filter.
const DURATION: &str = Evidence::Duration.name();

/// What a page is shown on.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Its width.
    pub columns: usize,
    /// Whether it shows colours.
    pub colour: bool,
}

/// A page that is being written.
pub(in crate::show) struct Page {
    pub(in crate::show) text: String,
    pub(in crate::show) screen: Screen,
}

impl Page {
    /// An empty page.
    pub(in crate::show) fn new(screen: Screen) -> Self {
        Self { text: String::new(), screen }
    }

    /// Adds a line.
    pub(in crate::show) fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// The text in this style, where the screen shows any.
    pub(in crate::show) fn styled(&self, style: Style, text: &str) -> String {
        if self.screen.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// What there is to say about the inputs, each in a line.
    pub(in crate::show) fn inputs(&mut self, inputs: &[InputSummary]) {
        let name_columns = self.screen.columns * 3 / 5;
        let widest = inputs.iter().take(INPUTS_SHOWN_MAX).map(|input| width(&input.name)).max().unwrap_or(0);
        let widest = widest.min(name_columns);
        for input in inputs.iter().take(INPUTS_SHOWN_MAX) {
            let name = self.styled(TITLE, &padded(&cut_middle(&input.name, widest), widest));
            let room = self.screen.columns.saturating_sub(widest + 4);
            let is_sure = input.is_given || input.format_confidence.unwrap_or(0.0) >= SURE;
            let doubtful = input.error.is_some() || (input.lines > 0 && !is_sure);
            let style = if doubtful { WARNING } else { Style::new() };
            let what = self.styled(style, &cut(&what(input), room));
            // Why one was not read is said on standard error, at once.
            self.line(&format!("  {name}  {what}"));
        }
        if let Some(more @ 1..) = inputs.len().checked_sub(INPUTS_SHOWN_MAX) {
            self.line(&format!("  and {more} more"));
        }
        self.line("");
    }

    /// The totals, each in a line.
    pub(in crate::show) fn totals(&mut self, totals: &Totals) {
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
        if totals.requests_left_out + totals.requests_not_judged > 0 {
            let left_out = grouped(totals.requests_left_out);
            let name = self.styled(QUIET, "left out  ");
            self.line(&format!("  {name}{left_out} do not meet the filter"));
        }
        if totals.requests_not_judged > 0 {
            let count = grouped(totals.requests_not_judged);
            let note = format!("{count} are of logs that do not record {}", totals.not_recorded.join(", "));
            let note = self.styled(WARNING, &note);
            self.line(&format!("            {note}"));
            if let Some(note) = totals.unknown_number.as_ref().filter(|_| totals.not_recorded.contains(&DURATION)) {
                self.paragraph(WARNING, 12, note);
            }
        }
        if let Some(first) = &totals.duration_unread_first {
            let requests = requests_text(totals.durations_unread);
            let note = format!("unreadable in {requests}, the first in {first}");
            let (name, note) = (self.styled(QUIET, "durations "), self.styled(WARNING, &note));
            self.line(&format!("  {name}{note}"));
        }
        let name = self.styled(QUIET, "not read  ");
        let style = if totals.lines_unread > 0 { WARNING } else { Style::new() };
        let unread = self.styled(style, &unread);
        self.line(&format!("  {name}{unread}"));
    }

    /// Something that has a name.
    pub(in crate::show) fn fact(&mut self, name: &str, value: &str) {
        let name = self.styled(QUIET, &format!("{name:<NAME_COLUMNS$}"));
        self.line(&format!("  {name}{value}"));
    }

    /// The same with a sentence, which goes on in further lines.
    pub(in crate::show) fn sentence(&mut self, name: &str, text: &str) {
        self.styled_sentence(name, Style::new(), text);
    }

    /// The same in this style.
    pub(in crate::show) fn styled_sentence(&mut self, name: &str, style: Style, text: &str) {
        let lines = wrapped(text, self.screen.columns.saturating_sub(NAME_COLUMNS + 2));
        for (index, line) in lines.iter().enumerate() {
            let line = self.styled(style, line);
            self.fact(if index == 0 { name } else { "" }, &line);
        }
    }

    /// Text in lines that begin at the left, after so many blanks.
    pub(in crate::show) fn paragraph(&mut self, style: Style, indent: usize, text: &str) {
        for line in wrapped(text, self.screen.columns.saturating_sub(indent)) {
            let line = self.styled(style, &line);
            self.line(&format!("{:indent$}{line}", ""));
        }
    }

    /// A title at the left, and what is to be known about the table at the right.
    pub(in crate::show) fn heading(&mut self, title: &str, note: &str) {
        let note = cut(note, self.screen.columns.saturating_sub(width(title) + 4));
        let gap = self.screen.columns.saturating_sub(width(title) + width(&note) + 1);
        let rule = if gap > 2 { format!(" {} ", "─".repeat(gap - 1)) } else { "  ".to_owned() };
        let (title, rest) = (self.styled(TITLE, title), self.styled(QUIET, &format!("{rule}{note}")));
        self.line(&format!("{title}{rest}"));
    }

    /// A curve of a whole span.
    pub(in crate::show) fn timeline(&mut self, timeline: &Timeline) {
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

    /// The lines that could not be read, by reason; nothing when there are none.
    pub(in crate::show) fn unread(&mut self, unread: &[UnreadSummary], all_lines: u64) {
        let unread: Vec<&UnreadSummary> = unread.iter().filter(|reason| reason.is_failure).collect();
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
                    length if length > EXAMPLE_BYTES_MAX as u64 => format!(" ({})", byte_count(length)),
                    _ => String::new(),
                };
                let room = self.screen.columns.saturating_sub(columns + 4 + width(&place) + width(&long) + 2);
                let place = self.styled(QUIET, &format!("{place}{long}"));
                self.line(&format!("  {:>columns$}  {place}  {}", "", cut(&example.text, room)));
            }
        }
    }
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
        _ if input.is_given => "as --format says".to_owned(),
        // Nothing could be said by the first lines.
        _ => match input.commonest {
            Some((format, lines)) => format!("mixed: {format} in {}", percent(lines, input.lines)),
            None => "format not recognised".to_owned(),
        },
    };
    let compression = match input.compression {
        None | Some("none") => String::new(),
        Some(compression) => format!(", {compression}"),
    };
    if input.lines == 0 { format } else { format!("{format}{compression}, {}", lines(input.lines)) }
}

/// A column of a curve; what has hits at all is seen.
pub(in crate::show) fn block(part: u64, whole: u64) -> char {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let eighths = ((share * 8.0).round() as usize).max(usize::from(part > 0));
    BLOCKS.get(eighths).copied().unwrap_or('█')
}

pub(in crate::show) fn lines(count: u64) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{} lines", grouped(count)) }
}

/// A number of hits.
pub(in crate::show) fn hits_text(count: u64) -> String {
    if count == 1 { "1 hit".to_owned() } else { format!("{} hits", grouped(count)) }
}

/// A length of time in its two largest units: `3 d 11 h`.
pub(in crate::show) fn span(seconds: u64) -> String {
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

/// A number of requests.
pub(in crate::show) fn requests_text(count: u64) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{} requests", grouped(count)) }
}

/// The text in lines of at most so many columns, broken at blanks; a longer word is a line of its own.
pub(in crate::show) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// How many terminal columns a text takes.
pub(in crate::show) fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// The text with spaces after it up to a number of columns.
pub(in crate::show) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}
