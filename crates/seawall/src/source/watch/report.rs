//! What a sensor that reads logs tells of itself.

use seawall_engine::observation::log::{Format, LINE_BYTES_MAX, Reason};
use seawall_engine::silence::{Alarm, Reading, RecentPeers};
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use crate::privacy::{Anonymizer, Treatment};
use crate::source::follow::Piece;

/// A sensor, as of a moment.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What kind it is: `file`, `pipe`, `journal`, `syslog`.
    pub kind: &'static str,
    /// What it reads.
    pub name: String,
    /// What is shown.
    pub log: LogSensor,
    /// Whether nothing can be read since nothing is there, and for no other reason.
    pub is_absent: bool,
    /// What tells whether it does its work.
    pub reading: Reading,
    /// And whether its clients can be told apart.
    pub peers: RecentPeers,
}

/// What is shown of a sensor that reads a log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogSensor {
    /// Lines since the start.
    pub lines: u64,
    /// Those that could be read.
    pub read: u64,
    /// Lines a second, over the last ten seconds.
    pub rate: f64,
    /// Those that could not be read, by reason, the commonest first.
    pub unread: Vec<Unread>,
    /// Requests that were read, and in which something that is no time stands for how long they took.
    #[serde(default)]
    pub unread_durations: u64,
    /// Lines that came too late to count as traffic of now.
    pub late: u64,
    /// By how much lines come after what they tell of, in seconds: a buffer of the server's.
    pub delay_seconds: f64,
    /// For how long the newest line has not been read, in seconds; 0 when everything is.
    pub lag_seconds: f64,
    /// Bytes that were written and have not been read.
    pub behind_bytes: u64,
    /// Bytes that were passed over, since there was too much to be read in time.
    pub passed_over_bytes: u64,
    /// Entries of the journal, of any unit, that were passed over, since there was too much to be read in time.
    #[serde(default)]
    pub passed_over_entries: u64,
    /// Syslog datagrams that the kernel has dropped, since they came faster than they were read.
    #[serde(default)]
    pub dropped_datagrams: u64,
    /// The format that most lines are in.
    pub format: Option<String>,
    /// The share of the lines that are in it, 0 to 1.
    pub confidence: f32,
    /// By how many seconds the times of the log are behind this machine's clock, when they cannot be right.
    pub clock_wrong_by_seconds: Option<i64>,
    /// Why nothing can be read now.
    pub trouble: Option<String>,
    /// The private copy that is written, if one is.
    pub copy: Option<CopyReport>,
    /// What it no longer tells.
    pub alarms: Vec<Alarm>,
}

/// Lines that could not be read for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unread {
    /// Why.
    pub reason: String,
    /// How many.
    pub lines: u64,
    /// Whether they are meant to say something of a request, as blank ones, directives and parts of lines are not.
    #[serde(default = "of_failures")]
    pub is_failure: bool,
    /// How the first of them begins that is not the rest of a line that was split, without addresses and queries, and with whatever
    /// is not printable ASCII escaped.
    #[serde(default)]
    pub example: String,
}

/// What a guard of before did not tell apart.
const fn of_failures() -> bool {
    true
}

/// How much of a line is kept as an example, in characters as they are shown.
const EXAMPLE_CHARACTERS_MAX: usize = 160;

/// The beginning of a line that could not be read, as it may be shown.
fn example(line: &[u8], is_part: bool) -> String {
    let (line, is_cut) = line.get(..LINE_BYTES_MAX).map_or((line, is_part), |beginning| (beginning, true));
    // What is left of an address that is cut apart would be none to the anonymizer.
    let is_of_address = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'%');
    let unfinished = if is_cut { line.iter().rev().take_while(is_of_address).count() } else { 0 };
    let whole = line.get(..line.len() - unfinished).unwrap_or_default();
    let mut shown = Vec::new();
    let anonymizer = Anonymizer::new(Treatment::Remove, true, Timestamp::EPOCH);
    let rewritten =
        anonymizer.and_then(|mut anonymizer| anonymizer.rewrite(&Piece { text: whole, begins_line: true }, &mut shown));
    match rewritten {
        Ok(()) => {
            let characters = shown.trim_ascii().iter().map(|byte| byte.escape_ascii());
            let mut room = EXAMPLE_CHARACTERS_MAX;
            // No escape is cut apart.
            let fits = |character: &std::ascii::EscapeDefault| match room.checked_sub(character.len()) {
                Some(left) => {
                    room = left;
                    true
                }
                None => false,
            };
            characters.take_while(fits).flatten().map(char::from).collect()
        }
        Err(_) => String::new(),
    }
}

/// What became of the copy with private addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CopyReport {
    /// Where it is written.
    pub path: String,
    /// Lines that were handed to it.
    pub lines: u64,
    /// Lines that are not in it, since the disk was full or slow, or a key could not be had.
    pub lost_lines: u64,
    /// What went wrong last, while it does.
    pub trouble: Option<String>,
}

/// The counts of one sensor.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) reading: Reading,
    /// Requests in which something that is no time stands for how long they took.
    pub(super) unread_durations: u64,
    formats: [u64; Format::ALL.len()],
    reasons: [u64; Reason::ALL.len()],
    /// The first line of each.
    examples: [String; Reason::ALL.len()],
}

impl Counts {
    /// Counts a line in a format.
    pub(super) fn add_format(&mut self, format: Format) {
        for (known, lines) in Format::ALL.iter().zip(&mut self.formats) {
            *lines += u64::from(*known == format);
        }
    }

    /// Counts a line that could not be read.
    pub(super) fn add_unread(&mut self, reason: Reason, line: &[u8]) {
        for ((known, lines), first) in Reason::ALL.iter().zip(&mut self.reasons).zip(&mut self.examples) {
            if *known == reason {
                if first.is_empty() && !line.trim_ascii().is_empty() {
                    *first = example(line, reason == Reason::Part);
                }
                *lines += 1;
            }
        }
        // What is meant to say nothing of a request is no failure.
        if reason.is_failure() {
            self.reading.unread_run += 1;
            self.reading.reason = Some(reason);
        }
    }

    /// The format of most lines, and how many are in it.
    pub(super) fn format(&self) -> Option<(Format, u64)> {
        let formats = Format::ALL.into_iter().zip(self.formats);
        formats.max_by_key(|(_, lines)| *lines).filter(|(_, lines)| *lines > 0)
    }

    /// Lines that say nothing of a request and are not meant to.
    fn blank(&self) -> u64 {
        let reasons = Reason::ALL.iter().zip(self.reasons);
        reasons.filter(|(reason, _)| !reason.is_failure()).map(|(_, lines)| lines).sum()
    }

    /// Writes them into a report.
    pub(super) fn report(&self, report: &mut Report) {
        let filled = self.reading.lines - self.blank().min(self.reading.lines);
        report.reading = Reading { lines: filled, ..self.reading };
        let log = &mut report.log;
        (log.lines, log.read, log.late) = (self.reading.lines, self.reading.read, self.reading.late);
        log.unread_durations = self.unread_durations;
        if let Some((format, lines)) = self.format() {
            log.format = Some(format.name().to_owned());
            log.confidence = lines as f32 / filled.max(1) as f32;
        }
        let reasons = Reason::ALL.iter().zip(self.reasons).zip(&self.examples).filter(|((_, lines), _)| *lines > 0);
        let unread = |((reason, lines), example): ((&Reason, u64), &String)| Unread {
            reason: reason.to_string(),
            lines,
            is_failure: reason.is_failure(),
            example: example.clone(),
        };
        log.unread = reasons.map(unread).collect();
        log.unread.sort_by_key(|unread| std::cmp::Reverse(unread.lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As an idle IIS that is started again and again writes them.
    #[test]
    fn lines_that_are_no_requests_are_no_failure_to_read() {
        let mut counts = Counts::default();
        for _ in 0..10 {
            counts.add_unread(Reason::Directive, b"#Version: 1.0");
            counts.add_unread(Reason::Empty, b"");
            counts.add_unread(Reason::Part, b"");
            counts.add_unread(Reason::Part, b"2025-12-31T17:37:40Z stdout P 192.0.2.1 - 203.0.11");
        }
        assert_eq!((counts.reading.unread_run, counts.reading.reason), (0, None));
        // Nothing is shown of an address that is cut apart.
        assert_eq!(counts.examples[Reason::Part as usize], "2025-12-31T17:37:40Z stdout P - -");
        counts.add_unread(Reason::NoTimestamp, b"x");
        counts.add_unread(Reason::Empty, b"");
        assert_eq!((counts.reading.unread_run, counts.reading.reason), (1, Some(Reason::NoTimestamp)));
    }

    #[test]
    fn the_first_line_of_each_reason_is_shown_without_addresses_and_queries() {
        let mut counts = Counts::default();
        counts.add_unread(
            Reason::NoTimestamp,
            b"client: 192.0.2.1, GET /a?token=secret HTTP/1.1\x1b[2J \xC3\xA9 192%2E0%2E2%2E2\r",
        );
        counts.add_unread(Reason::NoTimestamp, b"another");
        counts.add_unread(Reason::NoRequest, &[0; 3_000]);
        // Of a line of addresses that is cut, nothing is left over of the last.
        counts.add_unread(
            Reason::TooLong,
            &b"?".repeat(LINE_BYTES_MAX - 5).into_iter().chain(*b" 203.0.113.77").collect::<Vec<_>>(),
        );
        counts.add_unread(Reason::WrongStatus, &b"2001:db8::1,".repeat(10_000));
        let mut report = Report::default();
        counts.report(&mut report);
        let example = |reason: Reason| {
            report
                .log
                .unread
                .iter()
                .find(|unread| unread.reason == reason.to_string())
                .expect("counted")
                .example
                .clone()
        };
        let shown = example(Reason::NoTimestamp);
        assert!(shown.starts_with("client: -, GET /a HTTP/1.1") && shown.contains(r"\x1b[2J \xc3\xa9 "), "{shown}");
        assert!(!shown.contains("192") && !shown.contains("secret"), "{shown}");
        assert_eq!(example(Reason::NoRequest), r"\x00".repeat(40));
        assert!(!example(Reason::TooLong).contains("203"), "{}", example(Reason::TooLong));
        assert!(example(Reason::WrongStatus).starts_with("-,-,") && !example(Reason::WrongStatus).contains("db8"));
        assert!(report.log.unread.iter().all(|unread| unread.example.len() <= EXAMPLE_CHARACTERS_MAX));
    }
}
