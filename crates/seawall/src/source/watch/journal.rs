//! The systemd journal, as `journalctl -o json -f` writes it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::OFlags;
use seawall_engine::observation::log::Reason;
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

/// An entry that is no older than this is of now.
const FRESH: Duration = Duration::from_secs(2);

/// The longest cursor that is kept; real ones have 150 bytes.
const CURSOR_BYTES_MAX: usize = 512;

/// The journal of a unit, or of all.
pub(super) struct Journal {
    unit: Option<String>,
    sensor: Sensor,
    cursor: Option<String>,
    running: Option<Running>,
    started: Timestamp,
    trouble: Option<String>,
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
        let (running, trouble) = (None, None);
        let mut journal = Self { unit, sensor, cursor, running, started: Timestamp::EPOCH, trouble };
        journal.start()?;
        Ok(journal)
    }

    fn start(&mut self) -> io::Result<()> {
        let mut command = Command::new("journalctl");
        command.args(["--output=json", "--follow", "--all", "--quiet"]);
        if let Some(unit) = &self.unit {
            command.arg(format!("--unit={unit}"));
        }
        match &self.cursor {
            Some(cursor) => command.arg(format!("--after-cursor={cursor}")),
            None => command.arg("--lines=0"),
        };
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
                self.trouble = self.start().err().map(|error| format!("journalctl cannot be started: {error}"));
            }
            return false;
        };
        let mut entries = 0;
        let ended = loop {
            while let Some(piece) = running.pieces.ready() {
                if let Some(cursor) = cursor(piece.text) {
                    self.cursor = Some(cursor.to_owned());
                }
                let is_whole = piece.text.ends_with(b"\n");
                match (piece.begins_line, is_whole) {
                    (true, true) => {
                        take(piece.text, &mut self.sensor, watcher, now);
                    }
                    // It does not fit into the buffer. What follows of it belongs to no other.
                    (true, false) => self.sensor.refuse(Reason::TooLong),
                    (false, _) => continue,
                }
                entries += 1;
            }
            if entries >= TURN_ENTRIES {
                return true;
            }
            match running.pieces.fill() {
                Ok(true) => {}
                Ok(false) => break "it has ended".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => break error.to_string(),
            }
        };
        let status = running.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let trouble = format!("journalctl: {ended} ({status}); does this user's groups have `systemd-journal`?");
        tracing::warn!("{trouble}");
        self.trouble = Some(trouble);
        (self.running, self.started) = (None, now);
        false
    }

    pub(super) fn report(&mut self, now: Timestamp) -> Report {
        let mut report = self.sensor.report(now);
        report.log.trouble.clone_from(&self.trouble);
        report
    }

    pub(super) fn note_position(&self, positions: &mut Positions) {
        if let Some(cursor) = &self.cursor {
            positions.journal.insert(self.unit.clone().unwrap_or_default(), cursor.clone());
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            // It may have ended by itself.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

/// Takes an entry. Whatever it holds is counted, since nobody would miss what was dropped here.
fn take(text: &[u8], sensor: &mut Sensor, watcher: &mut Watcher, now: Timestamp) -> Option<Timestamp> {
    let Ok(entry) = serde_json::from_slice::<Entry>(text) else {
        sensor.refuse(Reason::DamagedEntry);
        return None;
    };
    let at = entry.realtime.as_ref().and_then(Value::moment);
    let is_fresh = at.is_some_and(|at| now.since(at) <= FRESH);
    let arrival = Arrival { at: now, is_fresh, weight: 1.0 };
    let mut lines = 0;
    let mut take = |text: &[u8]| {
        for line in text.split(|byte| *byte == b'\n') {
            lines += 1;
            watcher.line(sensor, line.strip_suffix(b"\r").unwrap_or(line), arrival);
        }
    };
    entry.message.iter().for_each(|message| message.texts(&mut take));
    if lines == 0 {
        sensor.refuse(Reason::Empty);
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

#[cfg(test)]
mod tests {
    use super::*;

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
