//! One log: its format, where it is in time, and its counts.

use std::collections::VecDeque;
use std::time::Duration;

use seawall_engine::observation::log::{FormatChoice, Reader, Reason, recognise};
use seawall_engine::observation::timeline::Timeline;
use seawall_engine::silence::RecentPeers;
use seawall_engine::units::Timestamp;

use super::report::{Counts, Report};
use super::voters::Voters;

/// After so many lines the format that most were in is tried first.
const RECOGNITION_LINES: u64 = 200;

/// Over how long the rate is taken.
const RATE_SPAN: Duration = Duration::from_secs(10);

/// One log.
pub(super) struct Sensor {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) reader: Reader,
    pub(super) timeline: Timeline,
    pub(super) counts: Counts,
    pub(super) voters: Voters,
    /// From whom its requests came.
    pub(super) peers: RecentPeers,
    /// Whether only this machine can write its lines, so that nobody else can have a client dropped with them.
    pub(super) is_own: bool,
    /// Lines at moments of the last [`RATE_SPAN`].
    history: VecDeque<(Timestamp, u64)>,
    is_primed: bool,
}

impl Sensor {
    pub(super) fn new(kind: &'static str, name: String, format: Option<&FormatChoice>) -> Self {
        Self {
            kind,
            name,
            reader: format.map_or_else(Reader::default, |format| Reader::of(format.clone())),
            timeline: Timeline::default(),
            counts: Counts::default(),
            voters: Voters::default(),
            peers: RecentPeers::default(),
            is_own: true,
            history: VecDeque::new(),
            is_primed: false,
        }
    }

    /// Whether it has seen how the log begins.
    pub(super) fn is_primed(&self) -> bool {
        self.is_primed
    }

    /// Shows it how the log begins, once: what names the columns of all lines stands there.
    pub(super) fn prime(&mut self, beginning: &[u8]) {
        if beginning.is_empty() {
            return;
        }
        self.is_primed = true;
        let whole = memchr::memrchr(b'\n', beginning).and_then(|end| beginning.get(..end)).unwrap_or_default();
        let lines = || whole.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        if let Some(recognition) = recognise(lines()) {
            self.reader.know(&recognition);
        }
        lines().filter(|line| line.first() == Some(&b'#')).for_each(|line| self.remember(line));
    }

    /// Shows it a line that is counted with none, for what it says of those that follow.
    pub(super) fn remember(&mut self, line: &[u8]) {
        // Only what the reader remembers counts.
        let _ = self.reader.read(line.strip_suffix(b"\r").unwrap_or(line));
    }

    /// Counts what came in place of a line and is none.
    pub(super) fn refuse(&mut self, reason: Reason, text: &[u8]) {
        self.counts.reading.lines += 1;
        self.counts.add_unread(reason, text);
    }

    /// After the first lines.
    pub(super) fn settle(&mut self) {
        if self.counts.reading.read == RECOGNITION_LINES
            && let Some((format, _)) = self.counts.format()
        {
            self.reader.expect(format);
        }
    }

    /// What it tells of itself; `delay` and what is behind are added by whoever reads.
    pub(super) fn report(&mut self, now: Timestamp) -> Report {
        let lines = self.counts.reading.lines;
        self.history.push_back((now, lines));
        while self.history.len() > 2 && self.history.get(1).is_some_and(|(at, _)| now.since(*at) >= RATE_SPAN) {
            self.history.pop_front();
        }
        let mut report = Report { kind: self.kind, name: self.name.clone(), peers: self.peers, ..Report::default() };
        self.counts.report(&mut report);
        if let Some((from, before)) = self.history.front() {
            let seconds = now.since(*from).as_secs_f64();
            report.log.rate = if seconds > 0.0 { lines.saturating_sub(*before) as f64 / seconds } else { 0.0 };
        }
        report.log.delay_seconds = self.timeline.delay().as_secs_f64();
        report.log.clock_wrong_by_seconds = self.timeline.wrong_by();
        report
    }
}
