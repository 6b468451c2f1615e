//! Standard input and named pipes: what is read is gone, so that there is no position to keep.
//!
//! A web server that writes into a pipe waits for whoever reads it. So a pipe is always read, first of all: when there is too much
//! for every line to be judged, one in so many is.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use seawall_engine::units::Timestamp;

use super::copy::PrivateCopy;
use super::report::Report;
use super::sampling::Sampling;
use super::sensor::Sensor;
use super::tail::Arrival;
use super::watcher::Watcher;
use crate::source::follow::Pieces;

/// What is read before others have their turn, in bytes.
const TURN_BYTES: usize = 4 << 20;

/// A pipe that is read.
pub(super) struct Stream {
    pieces: Pieces<File>,
    sensor: Sensor,
    copy: Option<PrivateCopy>,
    /// Whether the end of a writer is not the end: others may come.
    stays: bool,
    is_over: bool,
    sampling: Sampling,
}

impl Stream {
    /// Standard input.
    pub(super) fn input(sensor: Sensor, copy: Option<PrivateCopy>) -> io::Result<Self> {
        let input: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self::new(input.into(), false, sensor, copy))
    }

    /// A named pipe. It is opened for writing too, where that is allowed, so that it never ends.
    pub(super) fn fifo(path: &Path, sensor: Sensor) -> io::Result<Self> {
        let no_wait = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let open = |writes| fs::OpenOptions::new().read(true).write(writes).custom_flags(no_wait).open(path);
        Ok(Self::new(open(true).or_else(|_| open(false))?, true, sensor, None))
    }

    fn new(file: File, stays: bool, sensor: Sensor, copy: Option<PrivateCopy>) -> Self {
        // As much as the system allows without privileges; what is no pipe has none.
        let _ = rustix::pipe::fcntl_setpipe_size(&file, 1 << 20);
        let pieces = Pieces::growing(file);
        Self { pieces, sensor, copy, stays, is_over: false, sampling: Sampling::default() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_over).then(|| self.pieces.input().as_fd())
    }

    pub(super) fn sensor(&self) -> &Sensor {
        &self.sensor
    }

    /// The copy is to be written to a file made anew.
    pub(super) fn reopen(&self) {
        if let Some(copy) = &self.copy {
            copy.reopen();
        }
    }

    /// Reads what is there, and says whether there is more.
    pub(super) fn look(&mut self, watcher: &mut Watcher, now: Timestamp) -> bool {
        let mut read = 0;
        let mut has_more = false;
        while !self.is_over {
            let waiting = self.pieces.input().as_fd();
            let mut polled = [PollFd::from_borrowed_fd(waiting, PollFlags::IN)];
            if !poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0) {
                break;
            }
            match self.pieces.fill() {
                Ok(true) => {}
                Ok(false) if self.stays => break,
                Ok(false) => {
                    self.is_over = true;
                    self.pieces.finish();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    tracing::error!(name = %self.sensor.name, %error, "failed to read; nothing more is read from there");
                    self.is_over = true;
                    self.pieces.finish();
                }
            }
            read += self.take(watcher, now);
            if read >= TURN_BYTES {
                has_more = true;
                break;
            }
        }
        self.sampling.note(has_more, now);
        if let Some(copy) = &mut self.copy {
            copy.flush();
        }
        has_more
    }

    /// Takes every piece that has been read; how many bytes they were.
    fn take(&mut self, watcher: &mut Watcher, now: Timestamp) -> usize {
        let interval = self.sampling.interval(now);
        let arrival = Arrival { at: now, is_fresh: true, weight: interval as f32 };
        let mut read = 0;
        while let Some(piece) = self.pieces.ready() {
            read += piece.text.len();
            if let Some(copy) = &mut self.copy {
                copy.take(&piece, now);
            }
            if !piece.begins_line {
                continue;
            }
            let line = piece.text.strip_suffix(b"\n").unwrap_or(piece.text);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if self.sampling.is_next_of(interval, line, &mut self.sensor.reader) {
                watcher.line(&mut self.sensor, line, arrival);
            } else {
                self.sensor.reader.pass_over(line);
            }
        }
        read
    }

    pub(super) fn report(&mut self, now: Timestamp) -> Report {
        let mut report = self.sensor.report(now);
        report.log.lag_seconds = self.sampling.lag_seconds(now);
        report.log.passed_over_bytes = self.sampling.passed_over_bytes();
        report.log.copy = self.copy.as_ref().map(PrivateCopy::report);
        report
    }
}
