//! What is said of the inputs of every command that reads logs. The serialised forms are part of `--json`, whose names are
//! kept stable. Every text in them has been made safe for a terminal.

use seawall_engine::observation::log::Format;
use serde::Serialize;

use super::clients::Clients;
use super::inputs::{InputReport, Inputs};
use super::moment;
use super::unread::Example;
use crate::show::text;

/// The most cells of a timeline: it fits a terminal of 80 columns.
pub(in crate::show) const TIMELINE_CELLS_MAX: u64 = 72;

#[derive(Debug, Serialize)]
pub(in crate::show) struct Totals {
    /// Lines that were read as requests.
    pub(in crate::show) requests: u64,
    /// Bytes of answer.
    pub(in crate::show) bytes: u64,
    /// Distinct clients.
    pub(in crate::show) clients: u64,
    /// Whether that number is exact; else it is an estimate.
    pub(in crate::show) clients_exact: bool,
    /// The earliest and the latest request, in UTC.
    pub(in crate::show) from: Option<String>,
    pub(in crate::show) to: Option<String>,
    /// Seconds between them.
    pub(in crate::show) span_seconds: u64,
    /// All lines.
    pub(in crate::show) lines: u64,
    /// Lines that could not be read as requests, without those that are not meant to say anything of one.
    pub(in crate::show) lines_unread: u64,
    /// Requests in which something that is no time stands for how long they took.
    pub(in crate::show) durations_unread: u64,
    /// Where the first of them is: `access.log:12`.
    pub(in crate::show) duration_unread_first: Option<String>,
    /// What there is to do where the lines of most requests of a log end with a number that may be how long they took.
    pub(in crate::show) unknown_number: Option<String>,
    /// Requests that do not meet the filter; 0 without one.
    pub(in crate::show) requests_left_out: u64,
    /// Requests whose log does not record what the filter asks for.
    pub(in crate::show) requests_not_judged: u64,
    /// What that is.
    pub(in crate::show) not_recorded: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
pub(in crate::show) struct InputSummary {
    pub(in crate::show) name: String,
    /// `None` when it could not be opened.
    pub(in crate::show) compression: Option<&'static str>,
    /// The format of most of its first lines.
    pub(in crate::show) format: Option<&'static str>,
    /// The share of the first lines that are in it.
    pub(in crate::show) format_confidence: Option<f32>,
    /// How many lines that share is of.
    pub(in crate::show) format_lines: Option<usize>,
    /// Whether the format was given on the command line.
    #[serde(skip)]
    pub(in crate::show) is_given: bool,
    /// The format of most of its lines, and how many those are.
    #[serde(skip)]
    pub(in crate::show) commonest: Option<(&'static str, u64)>,
    pub(in crate::show) lines: u64,
    pub(in crate::show) lines_unread: u64,
    /// Why it was not read, or not whole.
    pub(in crate::show) error: Option<String>,
}

#[derive(Debug, Serialize)]
pub(in crate::show) struct UnreadSummary {
    pub(in crate::show) reason: &'static str,
    pub(in crate::show) text: &'static str,
    pub(in crate::show) lines: u64,
    /// Whether they are meant to say something of a request, as blank ones, directives and parts of lines are not.
    pub(in crate::show) is_failure: bool,
    pub(in crate::show) examples: Vec<ExampleSummary>,
}

#[derive(Debug, Serialize)]
pub(in crate::show) struct ExampleSummary {
    pub(in crate::show) input: String,
    pub(in crate::show) line: u64,
    pub(in crate::show) length: u64,
    pub(in crate::show) text: String,
}

#[derive(Debug, Serialize)]
pub(in crate::show) struct Timeline {
    /// The beginning of the first cell, in UTC.
    pub(in crate::show) from: String,
    pub(in crate::show) cell_hours: u64,
    pub(in crate::show) hits: Vec<u64>,
}

impl Inputs {
    /// The totals, for a command that has counted this many distinct clients.
    pub(in crate::show) fn totals(&self, clients: u64, clients_exact: bool) -> Totals {
        let time = |at: Option<seawall_engine::units::Timestamp>| at.map(|at| moment(at.as_seconds()).to_string());
        let span = self.first.zip(self.last).map_or(0, |(first, last)| last.since(first).as_secs());
        Totals {
            requests: self.total.hits,
            bytes: self.total.bytes,
            clients,
            clients_exact,
            from: time(self.first),
            to: time(self.last),
            span_seconds: span,
            lines: self.inputs.iter().map(|input| input.lines).sum(),
            lines_unread: self.unread.failures(),
            durations_unread: self.unread_durations,
            duration_unread_first: self.unread_duration.and_then(|(input, line)| {
                Some(format!("{}:{line}", text::escape(self.inputs.get(input)?.name.as_bytes())))
            }),
            unknown_number: self.of_unknown_numbers().map(unknown_number),
            requests_left_out: self.left_out,
            requests_not_judged: self.not_judged,
            not_recorded: self.unrecorded.names(),
        }
    }

    /// What is said of each input.
    pub(in crate::show) fn summaries(&self) -> Vec<InputSummary> {
        self.inputs.iter().map(input_summary).collect()
    }

    /// What is said of the lines that could not be read.
    pub(in crate::show) fn unread_summaries(&self, clients: &Clients) -> Vec<UnreadSummary> {
        let example = |example: &Example| ExampleSummary {
            input: self.inputs.get(example.input).map_or(String::new(), |input| text::escape(input.name.as_bytes())),
            line: example.line,
            length: example.length,
            text: text::escape(&clients.mask(&example.beginning, example.length > example.beginning.len() as u64)),
        };
        let by_reason = self.unread.by_reason().into_iter();
        by_reason
            .map(|(reason, lines, examples)| UnreadSummary {
                reason: reason.name(),
                text: reason.text(),
                lines,
                is_failure: reason.is_failure(),
                examples: examples.iter().map(example).collect(),
            })
            .collect()
    }
}

fn input_summary(input: &InputReport) -> InputSummary {
    InputSummary {
        name: text::escape(input.name.as_bytes()),
        compression: input.compression.map(|compression| compression.name()),
        format: input.recognition.map(|recognition| recognition.format.name()),
        format_confidence: input.recognition.map(|recognition| recognition.confidence),
        format_lines: input.recognition.map(|recognition| recognition.lines),
        is_given: input.is_given,
        commonest: input.commonest().map(|(format, lines)| (format.name(), lines)),
        lines: input.lines,
        lines_unread: input.failures,
        error: input.error.as_ref().map(|error| text::escape(error.as_bytes())),
    }
}

/// What is said of a log whose lines end with a number of which nothing says what it is.
fn unknown_number(input: &InputReport) -> String {
    let format = match input.commonest() {
        Some((Format::Common, _)) => r#"%h %l %u %t "%r" %>s %b %D"#,
        Some((Format::VhostCommon, _)) => r#"%v %h %l %u %t "%r" %>s %b %D"#,
        Some((Format::VhostCombined, _)) => r#"%v %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i" %D"#,
        _ => r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i" %D"#,
    };
    format!(
        "lines end with a number whose meaning is not known; if it is a time, name the format, for example --format '{format}'"
    )
}

/// A share of a whole from 0 to 1, to six digits.
pub(in crate::show) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 1e6).round() / 1e6 }
}
