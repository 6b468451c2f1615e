//! The systemd journal, as `journalctl -o json -f` writes it.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::OFlags;
use seawall_engine::units::Timestamp;
use serde::Deserialize;

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
struct Entry<'a> {
    #[serde(rename = "__CURSOR", borrow)]
    cursor: Option<Cow<'a, str>>,
    #[serde(rename = "__REALTIME_TIMESTAMP", borrow)]
    realtime: Option<Cow<'a, str>>,
    #[serde(rename = "MESSAGE")]
    message: Option<Message>,
}

/// What is no text is written as numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
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
                entries += 1;
                if let Some(cursor) = take(piece.text, &mut self.sensor, watcher, now) {
                    self.cursor = Some(cursor);
                }
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

/// Takes an entry, and gives its cursor.
fn take(text: &[u8], sensor: &mut Sensor, watcher: &mut Watcher, now: Timestamp) -> Option<String> {
    let entry: Entry<'_> = serde_json::from_slice(text).ok()?;
    let micros = entry.realtime.and_then(|micros| micros.parse().ok()).map(Timestamp::from_micros);
    let is_fresh = micros.is_some_and(|at| now.since(at) <= FRESH);
    let arrival = Arrival { at: now, is_fresh, weight: 1.0 };
    let message = match entry.message {
        Some(Message::Text(text)) => text.into_bytes(),
        Some(Message::Bytes(bytes)) => bytes,
        None => Vec::new(),
    };
    for line in message.split(|byte| *byte == b'\n') {
        watcher.line(sensor, line.strip_suffix(b"\r").unwrap_or(line), arrival);
    }
    entry.cursor.filter(|cursor| cursor.len() <= CURSOR_BYTES_MAX).map(Cow::into_owned)
}
