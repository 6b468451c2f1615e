//! Writes a log on with addresses made private.
//!
//! The web server must never wait for the disk: what is to be written goes through a bounded queue to a thread of its own, and
//! lines that do not fit, because the disk is full or too slow, are left out and counted. A line whose addresses cannot be made
//! private is left out as well.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use seawall_engine::units::Timestamp;

use super::fingerprint::FileId;
use super::report::CopyReport;
use crate::privacy::Anonymizer;
use crate::source::follow::Piece;

/// Chunks that wait to be written, and the size of each at least when more wait: 8 MiB in all.
const CHUNKS: usize = 32;
const CHUNK_BYTES: usize = 256 << 10;

/// How often it is looked whether the file is still the one with its name.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The copy of one log.
pub(super) struct PrivateCopy {
    anonymizer: Anonymizer,
    buffer: Vec<u8>,
    /// Lines in the buffer.
    lines: u64,
    queue: Option<SyncSender<Chunk>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct Chunk {
    text: Vec<u8>,
    lines: u64,
}

struct State {
    path: PathBuf,
    lines: AtomicU64,
    lost_lines: AtomicU64,
    /// Whether a new file is asked for.
    reopens: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl PrivateCopy {
    /// A copy in the file at `path`, which is appended to.
    ///
    /// # Errors
    /// When the file cannot be opened, or no thread can be had.
    pub(super) fn open(path: &Path, anonymizer: Anonymizer) -> io::Result<Self> {
        let file = append_to(path)?;
        let state = Arc::new(State {
            path: path.to_owned(),
            lines: AtomicU64::new(0),
            lost_lines: AtomicU64::new(0),
            reopens: AtomicBool::new(false),
            trouble: Mutex::new(None),
        });
        let (queue, chunks) = sync_channel(CHUNKS);
        let writer = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("copy".to_owned()).spawn(move || writer.run(file, &chunks))?;
        let (queue, thread) = (Some(queue), Some(thread));
        Ok(Self { anonymizer, buffer: Vec::new(), lines: 0, queue, state, thread })
    }

    /// Takes a line, or a piece of one.
    pub(super) fn take(&mut self, piece: &Piece<'_>, now: Timestamp) {
        let told = if piece.begins_line { self.anonymizer.tell(now) } else { Ok(()) };
        self.state.lines.fetch_add(u64::from(piece.begins_line), Ordering::Relaxed);
        match told.and_then(|()| self.anonymizer.rewrite(piece, &mut self.buffer)) {
            Ok(()) => self.lines += u64::from(piece.begins_line),
            Err(error) => self.state.lose(u64::from(piece.begins_line), &error.to_string()),
        }
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush();
        }
    }

    /// Hands over what was taken.
    pub(super) fn flush(&mut self) {
        let Some(queue) = self.queue.as_ref().filter(|_| !self.buffer.is_empty()) else { return };
        let chunk = Chunk { text: std::mem::take(&mut self.buffer), lines: std::mem::take(&mut self.lines) };
        match queue.try_send(chunk) {
            Ok(()) => {}
            // While there are few, they can wait for the next time.
            Err(TrySendError::Full(chunk)) if chunk.text.len() < CHUNK_BYTES => {
                (self.buffer, self.lines) = (chunk.text, chunk.lines);
            }
            Err(TrySendError::Full(chunk)) => self.state.lose(chunk.lines, "the disk is too slow"),
            Err(TrySendError::Disconnected(chunk)) => self.state.lose(chunk.lines, "its thread has ended"),
        }
    }

    /// Asks for a new file, as after a rotation.
    pub(super) fn reopen(&self) {
        self.state.reopens.store(true, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> CopyReport {
        CopyReport {
            path: self.state.path.display().to_string(),
            lines: self.state.lines.load(Ordering::Relaxed),
            lost_lines: self.state.lost_lines.load(Ordering::Relaxed),
            trouble: self.state.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// What was taken is written before the guard ends.
impl Drop for PrivateCopy {
    fn drop(&mut self) {
        self.flush();
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the private copy had panicked");
        }
    }
}

impl State {
    /// Counts lines that are not written. Only a change is logged: a full disk is not to be filled further.
    fn lose(&self, lines: u64, why: &str) {
        self.lost_lines.fetch_add(lines, Ordering::Relaxed);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_deref() != Some(why) {
            tracing::error!(path = %self.path.display(), "the private copy loses lines: {why}");
            *trouble = Some(why.to_owned());
        }
    }

    fn run(&self, file: File, chunks: &Receiver<Chunk>) {
        let mut file = Some(file);
        // Whether the last line was not written to its end.
        let mut is_torn = false;
        loop {
            let chunk = match chunks.recv_timeout(LOOK_INTERVAL) {
                Ok(chunk) => Some(chunk),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.reopens.swap(false, Ordering::Relaxed) || !file.as_ref().is_some_and(|file| self.is_current(file)) {
                file = append_to(&self.path).inspect_err(|error| self.lose(0, &error.to_string())).ok();
                is_torn = false;
            }
            let Some(chunk) = chunk else { continue };
            let Some(file) = &mut file else {
                self.lost_lines.fetch_add(chunk.lines, Ordering::Relaxed);
                continue;
            };
            let written =
                if is_torn { file.write_all(b"\n") } else { Ok(()) }.and_then(|()| file.write_all(&chunk.text));
            is_torn = written.is_err();
            match written {
                Ok(()) => *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None,
                Err(error) => self.lose(chunk.lines, &error.to_string()),
            }
        }
    }

    /// Whether the file is still the one with its name.
    fn is_current(&self, file: &File) -> bool {
        let id = |metadata: io::Result<Metadata>| metadata.ok().map(|metadata| FileId::of(&metadata));
        id(fs::metadata(&self.path)).is_some_and(|named| Some(named) == id(file.metadata()))
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}
