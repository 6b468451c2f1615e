//! The systemd journal, as `journalctl -o json -f` writes it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::OFlags;
use seawall_engine::observation::log::{LINE_BYTES_MAX, Reason};
use seawall_engine::units::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::positions::Positions;
use super::report::Report;
use super::sensor::Sensor;
use super::tail::Arrival;
use super::watcher::Watcher;
use crate::source::follow::Pieces;

/// What is read before others have their turn, in entries.
const TURN_ENTRIES: usize = 10_000;

/// How long to wait before `journalctl` is started again.
const PAUSE: Duration = Duration::from_secs(5);

/// When entries have been older than this for as long, more is written than `journalctl` gives. It begins with the newest then: detection
/// can do nothing with what is twelve seconds old.
const BEHIND_MAX: Duration = Duration::from_secs(5);

/// When nothing has come for this long, all that there was had been read.
const PAUSE_BETWEEN: Duration = Duration::from_secs(2);

/// An entry that is no older than this is of now.
const FRESH: Duration = Duration::from_secs(2);

/// The longest cursor that is kept; real ones have 150 bytes.
const CURSOR_BYTES_MAX: usize = 512;

/// How many lines at once may have parts whose rest has not come yet; the oldest is given up.
const SPLIT_LINES_MAX: usize = 16;

/// How the journal says that it cut a line there since it is long (`LineMax=` of journald.conf).
const CUT: &[u8] = b"line-max";

/// The first parts of lines that the journal cut, each with what names its stream.
type Parts = VecDeque<(Vec<u8>, Vec<u8>)>;

/// The journal of a unit, or of all.
pub(super) struct Journal {
    unit: Option<String>,
    sensor: Sensor,
    cursor: Option<String>,
    running: Option<Running>,
    started: Timestamp,
    trouble: Option<String>,
    lag: Lag,
    /// The last entry before others were passed over, until the next comes.
    passed_from: Option<String>,
    /// Entries that were passed over.
    passed_over: u64,
    parts: Parts,
}

/// How far behind the journal is read.
#[derive(Clone, Copy, Debug, Default)]
struct Lag {
    /// When the last entry was written, and when it came.
    last: Option<(Timestamp, Timestamp)>,
    /// Since when all that came were old, and came without a pause.
    behind_since: Option<Timestamp>,
}

struct Running {
    child: Child,
    pieces: Pieces<File>,
}

/// What an entry says that is of use here.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    realtime: Option<Value>,
    #[serde(rename = "MESSAGE")]
    message: Option<Value>,
    #[serde(rename = "_STREAM_ID")]
    stream: Option<Value>,
    #[serde(rename = "_LINE_BREAK")]
    line_break: Option<Value>,
}

impl Entry {
    /// The text of a line, or of a part of one.
    fn text(value: Option<&Value>) -> Vec<u8> {
        let mut text = Vec::new();
        value.into_iter().for_each(|value| value.texts(&mut |part| text.extend_from_slice(part)));
        text
    }

    /// The line that ends with it, if it goes on from a part; an empty one if it is a part that others follow.
    fn joined(&self, parts: &mut Parts) -> Option<Vec<u8>> {
        let is_cut = Self::text(self.line_break.as_ref()) == CUT;
        if !is_cut && parts.is_empty() {
            return None;
        }
        let stream = Self::text(self.stream.as_ref());
        let known = parts.iter().position(|(name, _)| *name == stream);
        if !is_cut && known.is_none() {
            return None;
        }
        let (_, mut line) = known.and_then(|index| parts.remove(index)).unwrap_or_default();
        // What is too long already need not grow.
        if line.len() <= LINE_BYTES_MAX {
            line.extend(Self::text(self.message.as_ref()));
        }
        if !is_cut {
            return Some(line);
        }
        if parts.len() >= SPLIT_LINES_MAX {
            parts.pop_front();
        }
        parts.push_back((stream, line));
        Some(Vec::new())
    }
}

/// The value of a field.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    /// What is no text is written as numbers.
    Bytes(Vec<u8>),
    /// A field that was given more than once.
    Several(Vec<Value>),
    Other(IgnoredAny),
}

impl Value {
    fn moment(&self) -> Option<Timestamp> {
        match self {
            Self::Text(micros) => micros.parse().ok().map(Timestamp::from_micros),
            Self::Several(values) => values.iter().find_map(Self::moment),
            Self::Bytes(_) | Self::Other(_) => None,
        }
    }

    /// Gives each text that there is.
    fn texts(&self, take: &mut impl FnMut(&[u8])) {
        match self {
            Self::Text(text) => take(text.as_bytes()),
            Self::Bytes(bytes) => take(bytes),
            Self::Several(values) => values.iter().for_each(|value| value.texts(take)),
            Self::Other(_) => {}
        }
    }
}

impl Journal {
    /// Begins with what comes after the last entry that was read; with what comes now if none was.
    ///
    /// # Errors
    /// When `journalctl` cannot be started.
    pub(super) fn open(unit: Option<String>, sensor: Sensor, saved: &Positions) -> io::Result<Self> {
        let cursor = saved.journal.get(unit.as_deref().unwrap_or_default()).cloned();
        let mut journal = Self {
            unit,
            sensor,
            cursor,
            running: None,
            started: Timestamp::EPOCH,
            trouble: None,
            lag: Lag::default(),
            passed_from: None,
            passed_over: 0,
            parts: Parts::new(),
        };
        journal.start(None)?;
        Ok(journal)
    }

    /// Starts `journalctl` where it was left, with what is written from now on where nothing was left, or with what is no older than
    /// `newest`.
    fn start(&mut self, newest: Option<Timestamp>) -> io::Result<()> {
        let mut command = Command::new("journalctl");
        command.args(options(self.unit.as_deref(), self.cursor.as_deref(), newest));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        let output = File::from(OwnedFd::from(output));
        rustix::fs::fcntl_setfl(&output, rustix::fs::fcntl_getfl(&output)? | OFlags::NONBLOCK)?;
        self.running = Some(Running { child, pieces: Pieces::growing(output) });
        Ok(())
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.pieces.input().as_fd())
    }

    pub(super) fn sensor(&self) -> &Sensor {
        &self.sensor
    }

    /// Reads what is there, and says whether there is more.
    pub(super) fn look(&mut self, watcher: &mut Watcher, now: Timestamp) -> bool {
        let Some(running) = &mut self.running else {
            if now.since(self.started) >= PAUSE {
                self.started = now;
                // Only now: what stops the guard often ends journalctl first, and that is no trouble.
                if let Some(trouble) = &self.trouble {
                    tracing::warn!("{trouble}; it is started again");
                }
                // One that has just been started may end at once, as those before it: the trouble lasts until it does not.
                if let Err(error) = self.start(None) {
                    self.trouble = Some(format!("journalctl cannot be started: {error}"));
                }
            }
            return false;
        };
        if self.trouble.is_some() && now.since(self.started) >= PAUSE {
            self.trouble = None;
        }
        let mut entries = 0;
        let ended = loop {
            while let Some(piece) = running.pieces.ready() {
                self.trouble = None;
                if let Some(cursor) = cursor(piece.text) {
                    let before = self.passed_from.take();
                    self.passed_over += before.map_or(0, |before| between(&before, cursor));
                    self.cursor = Some(cursor.to_owned());
                }
                let is_whole = piece.text.ends_with(b"\n");
                match (piece.begins_line, is_whole) {
                    (true, true) => {
                        if let Some(at) = take(piece.text, &mut self.parts, &mut self.sensor, watcher, now) {
                            self.lag.note(at, now);
                        }
                    }
                    // It does not fit into the buffer. What follows of it belongs to no other.
                    (true, false) => self.sensor.refuse(Reason::TooLong, piece.text),
                    (false, _) => continue,
                }
                entries += 1;
            }
            if entries >= TURN_ENTRIES {
                return true;
            }
            match running.pieces.fill() {
                Ok(true) if self.lag.is_lasting() => {
                    self.pass_over(now);
                    return true;
                }
                Ok(true) => {}
                Ok(false) => break None,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => break Some(error),
            }
        };
        self.trouble = Some(match (ended, running.child.wait()) {
            (Some(error), _) | (None, Err(error)) => format!("what journalctl writes cannot be read: {error}"),
            (None, Ok(status)) => explain(status),
        });
        (self.running, self.started) = (None, now);
        false
    }

    /// Goes on with the newest, and leaves out what was not read yet.
    fn pass_over(&mut self, now: Timestamp) {
        if self.passed_over == 0 {
            tracing::warn!(name = %self.sensor.name, "more is written than can be read: old entries are passed over");
        }
        if let Some(running) = self.running.take() {
            running.end();
        }
        // Entries that are passed over before the first of those has come are counted with it.
        self.passed_from = self.passed_from.take().or_else(|| self.cursor.clone());
        (self.lag, self.started) = (Lag::default(), now);
        // All that was read so far is older than what is fresh, so nothing comes twice, and nothing that is written meanwhile is lost.
        self.trouble =
            self.start(Some(now - FRESH)).err().map(|error| format!("journalctl cannot be started: {error}"));
    }

    pub(super) fn report(&mut self, now: Timestamp) -> Report {
        let mut report = self.sensor.report(now);
        report.log.trouble.clone_from(&self.trouble);
        report.log.lag_seconds = self.lag.of(now).as_secs_f64();
        report.log.passed_over_entries = self.passed_over;
        report
    }

    pub(super) fn note_position(&self, positions: &mut Positions) {
        if let Some(cursor) = &self.cursor {
            positions.journal.insert(self.unit.clone().unwrap_or_default(), cursor.clone());
        }
    }
}

/// Why `journalctl` has ended, which follows the journal for ever.
fn explain(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("journalctl was ended by signal {signal}"),
        None => format!(
            "journalctl has ended ({status}); may this user read the journal, as the members of the group systemd-journal may?"
        ),
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
        }
    }
}

impl Running {
    fn end(mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lag {
    /// An entry that was written at `at` has come.
    fn note(&mut self, at: Timestamp, now: Timestamp) {
        let has_paused = self.last.is_none_or(|(_, came)| now.since(came) > PAUSE_BETWEEN);
        self.last = Some((at, now));
        let is_old = now.since(at) > BEHIND_MAX;
        self.behind_since = is_old.then(|| self.behind_since.filter(|_| !has_paused).unwrap_or(now));
    }

    /// Whether old entries have come for so long that they will not end by themselves. What did not come in the meantime says nothing.
    fn is_lasting(&self) -> bool {
        let (Some(since), Some((_, came))) = (self.behind_since, self.last) else { return false };
        came.since(since) > BEHIND_MAX
    }

    /// By how much the entries that come now are late.
    fn of(&self, now: Timestamp) -> Duration {
        let late = self.last.filter(|(_, came)| now.since(*came) <= FRESH).map(|(at, came)| came.since(at));
        late.filter(|late| *late > FRESH).unwrap_or_default()
    }
}

/// Takes an entry. Whatever it holds is counted, since nobody would miss what was dropped here.
fn take(
    text: &[u8],
    parts: &mut Parts,
    sensor: &mut Sensor,
    watcher: &mut Watcher,
    now: Timestamp,
) -> Option<Timestamp> {
    let Ok(entry) = serde_json::from_slice::<Entry>(text) else {
        sensor.refuse(Reason::DamagedEntry, text);
        return None;
    };
    let at = entry.realtime.as_ref().and_then(Value::moment);
    let is_fresh = at.is_some_and(|at| now.since(at) <= FRESH);
    let arrival = Arrival { at: now, is_fresh, weight: 1.0 };
    match entry.joined(parts) {
        Some(line) if line.is_empty() => {
            sensor.refuse(Reason::Part, b"");
            return at;
        }
        Some(line) => {
            watcher.line(sensor, line.trim_ascii_end(), arrival);
            return at;
        }
        None => {}
    }
    let mut lines = 0;
    let mut take = |text: &[u8]| {
        for line in text.split(|byte| *byte == b'\n') {
            lines += 1;
            watcher.line(sensor, line.strip_suffix(b"\r").unwrap_or(line), arrival);
        }
    };
    entry.message.iter().for_each(|message| message.texts(&mut take));
    if lines == 0 {
        sensor.refuse(Reason::Empty, b"");
    }
    at
}

/// The cursor of an entry, or of the beginning of one: it is wanted also of what cannot be read. Within a text the quote behind a name
/// would have a backslash before it.
fn cursor(text: &[u8]) -> Option<&str> {
    const KEY: &[u8] = b"\"__CURSOR\":";
    let at = memchr::memmem::find(text, KEY)?;
    let value = text.get(at + KEY.len()..)?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', value.get(..CURSOR_BYTES_MAX.min(value.len()))?)?;
    str::from_utf8(value.get(..end)?).ok().filter(|cursor| !cursor.is_empty() && !cursor.contains('\\'))
}

/// How many entries, of any unit, lie between two with these cursors; 0 where they do not tell.
fn between(before: &str, after: &str) -> u64 {
    // `s=` names who has numbered the entries, `i=` is the number, in base sixteen.
    let part = |cursor: &str, name: &str| cursor.split(';').find_map(|part| part.strip_prefix(name)).map(str::to_owned);
    let number = |cursor: &str| u64::from_str_radix(&part(cursor, "i=")?, 16).ok();
    let is_same = part(before, "s=").is_some() && part(before, "s=") == part(after, "s=");
    match (number(before), number(after)) {
        (Some(before), Some(after)) if is_same => after.saturating_sub(before).saturating_sub(1),
        _ => 0,
    }
}

/// What `journalctl` is started with.
fn options(unit: Option<&str>, cursor: Option<&str>, newest: Option<Timestamp>) -> Vec<String> {
    let mut options = ["--output=json", "--follow", "--all", "--quiet"].map(str::to_owned).to_vec();
    options.extend(unit.map(|unit| format!("--unit={unit}")));
    match (newest, cursor) {
        (Some(newest), _) => options.extend(["--lines=all".to_owned(), format!("--since=@{}", newest.as_seconds())]),
        (None, Some(cursor)) => options.push(format!("--after-cursor={cursor}")),
        (None, None) => options.push("--lines=0".to_owned()),
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_journalctl_takes_these_options() {
        let newest = Some(Timestamp::from_seconds(1_700_000_000));
        for (unit, cursor, newest) in
            [(None, None, None), (Some("nginx"), Some("s=1;i=2"), None), (Some("a@b"), None, newest)]
        {
            // It reads every option before it helps, and refuses what it does not know.
            let output = Command::new("journalctl").args(options(unit, cursor, newest)).arg("--help").output();
            match output {
                Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
                Err(error) => return eprintln!("skipped: journalctl cannot be started ({error})"),
            }
        }
    }

    #[test]
    fn why_journalctl_has_ended_is_said() {
        assert_eq!(explain(ExitStatus::from_raw(15)), "journalctl was ended by signal 15");
        let text = explain(ExitStatus::from_raw(1 << 8));
        assert!(text.contains("exit status: 1") && text.contains("group systemd-journal"), "{text}");
    }

    #[test]
    fn what_the_journal_cut_is_one_line() {
        let mut parts = Parts::new();
        let mut joined = |stream: &str, text: &str, line_break: Option<&str>| {
            let value = |text: &str| Some(Value::Text(text.to_owned()));
            let (message, stream, line_break) = (value(text), value(stream), line_break.and_then(value));
            let line = Entry { realtime: None, message, stream, line_break }.joined(&mut parts);
            line.map(|line| String::from_utf8(line).expect("a text"))
        };
        let (part, whole) = (Some(String::new()), |text: &str| Some(text.to_owned()));
        assert_eq!(joined("a", "by itself", None), None);
        assert_eq!(joined("a", "one ", Some("line-max")), part);
        assert_eq!(joined("b", "by itself", Some("eof")), None);
        assert_eq!(joined("b", "other", Some("line-max")), part);
        assert_eq!(joined("a", "of ", Some("line-max")), part);
        assert_eq!(joined("a", "three", None), whole("one of three"));
        assert_eq!(joined("b", " line", Some("eof")), whole("other line"));
        assert_eq!(joined("b", "by itself", None), None);
        for _ in 0..1_000 {
            assert_eq!(joined("a", &"x".repeat(48 * 1024), Some("line-max")), part);
        }
        let length = joined("a", "forged", None).map(|line| line.len());
        assert!(length.is_some_and(|length| (LINE_BYTES_MAX..3 * LINE_BYTES_MAX).contains(&length)), "{length:?}");
    }

    #[test]
    fn entries_between_two_are_counted() {
        for (before, after, expected) in [
            ("s=a;i=f;b=1", "s=a;i=14;b=1", 4),
            ("s=a;i=f", "s=a;i=10", 0),
            ("s=a;i=10", "s=a;i=f", 0),
            ("s=a;i=f", "s=b;i=ff", 0),
            ("i=f", "i=ff", 0),
            ("s=a;i=x", "s=a;i=ff", 0),
        ] {
            assert_eq!(between(before, after), expected, "{before} {after}");
        }
    }

    #[test]
    fn it_is_behind_while_old_entries_come_and_for_no_longer() {
        let (mut lag, start) = (Lag::default(), Timestamp::from_seconds(1_700_000_000));
        let second = Duration::from_secs(1);
        for seconds in 0..=5 {
            let now = start + seconds * second;
            lag.note(start - 20 * second, now);
            assert!(!lag.is_lasting() && lag.of(now) == (20 + seconds) * second, "{lag:?}");
        }
        lag.note(start - 20 * second, start + 6 * second);
        assert!(lag.is_lasting());
        // Nothing more came: it was the last that there is.
        assert_eq!(lag.of(start + 9 * second), Duration::ZERO);
        lag.note(start + 6 * second, start + 7 * second);
        assert!(!lag.is_lasting() && lag.of(start + 7 * second) == Duration::ZERO);
        // Old ones that come now and then are all that there is each time.
        for times in 0..5 {
            lag.note(start, start + (20 + 3 * times) * second);
            assert!(!lag.is_lasting(), "{lag:?}");
        }
    }

    #[test]
    fn cursors_are_found_in_whatever_holds_one() {
        for (text, expected) in [
            (r#"{"__CURSOR":"s=1;i=2","MESSAGE":"x"}"#, Some("s=1;i=2")),
            (r#"{"MESSAGE":"cut off", "__CURSOR" : "s=1"#, None),
            (r#"{"MESSAGE":"\"__CURSOR\":\"forged\"","__CURSOR": "s=1;i=2"}"#, Some("s=1;i=2")),
            (r#"{"__CURSOR":"","MESSAGE":"x"}"#, None),
            (r#"{"__CURSOR":"s=1\n"}"#, None),
            (r#"{"__CURSOR":["s=1"]}"#, None),
            (r#"{"__CURSOR":"#, None),
            ("no json", None),
        ] {
            assert_eq!(cursor(text.as_bytes()), expected, "{text}");
        }
        let long = format!(r#"{{"__CURSOR":"{}"}}"#, "x".repeat(CURSOR_BYTES_MAX));
        assert_eq!(cursor(long.as_bytes()), None);
    }
}
