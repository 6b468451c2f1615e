//! Standard input while no guard runs: a web server that writes into a pipe waits for whoever reads it, and must not wait for a
//! configuration to be put right. What is read is written on, or thrown away; no line is judged.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::copy::PrivateCopy;
use crate::host::clock::Clock;
use crate::privacy::Anonymizer;
use crate::source::follow::Pieces;

/// How long it waits for input at most before it looks at the time.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Standard input.
pub struct UnjudgedInput {
    pieces: Pieces<File>,
    copy: Option<PrivateCopy>,
}

impl UnjudgedInput {
    /// Opens it.
    ///
    /// # Errors
    /// When the system allows no more open files.
    pub fn open() -> io::Result<Self> {
        let input: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
        // As much as the system allows, for the moments in which a start is tried; what is no pipe has none.
        let _ = rustix::pipe::fcntl_setpipe_size(&input, 1 << 20);
        Ok(Self { pieces: Pieces::growing(input.into()), copy: None })
    }

    /// Whether lines are written on.
    pub const fn is_written_on(&self) -> bool {
        self.copy.is_some()
    }

    /// Writes the lines to come on to this file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn write_on(&mut self, path: &Path, anonymizer: Anonymizer) -> io::Result<()> {
        self.copy = Some(PrivateCopy::open(path, anonymizer)?);
        Ok(())
    }

    /// Reads for this time, and on to the end of a line, so that somebody else can go on. Whether more can come.
    pub fn read(&mut self, clock: &Clock, time: Duration) -> bool {
        let until = clock.now() + time;
        let mut is_over = false;
        while !is_over {
            let now = clock.now();
            if now >= until && self.pieces.is_between_lines() {
                return true;
            }
            let wait = if now < until { until.since(now).min(LOOK_INTERVAL) } else { LOOK_INTERVAL };
            let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
            let mut polled = [PollFd::from_borrowed_fd(self.pieces.input().as_fd(), PollFlags::IN)];
            if !poll(&mut polled, Some(&wait)).is_ok_and(|ready| ready > 0) {
                continue;
            }
            match self.pieces.fill() {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(false) | Err(_) => {
                    is_over = true;
                    self.pieces.finish();
                }
            }
            while let Some(piece) = self.pieces.ready() {
                if let Some(copy) = &mut self.copy {
                    copy.take(&piece, now);
                }
            }
            if let Some(copy) = &mut self.copy {
                copy.flush();
            }
        }
        false
    }
}
