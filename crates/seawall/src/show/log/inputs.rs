//! The inputs of a command that reads logs: what they are, how much of them was read, and what was not.

use seawall_engine::observation::log::{Reason, Recognition};
use seawall_engine::units::Timestamp;

use super::table::Count;
use super::unread::Unread;
use crate::source::follow::Compression;

/// What is known of all inputs so far.
#[derive(Default)]
pub(in crate::show) struct Inputs {
    pub(in crate::show) inputs: Vec<InputReport>,
    /// Every request that was read.
    pub(in crate::show) total: Count,
    /// The earliest and the latest of them.
    pub(in crate::show) first: Option<Timestamp>,
    pub(in crate::show) last: Option<Timestamp>,
    pub(super) unread: Unread,
}

/// What is known of one input.
pub(in crate::show) struct InputReport {
    pub(in crate::show) name: String,
    pub(super) compression: Option<Compression>,
    pub(super) recognition: Option<Recognition>,
    pub(super) lines: u64,
    pub(super) read: u64,
    pub(super) error: Option<String>,
}

impl Inputs {
    /// Begins an input; what follows belongs to it.
    pub(super) fn begin(&mut self, name: String) {
        let (compression, recognition, error) = (None, None, None);
        self.inputs.push(InputReport { name, compression, recognition, lines: 0, read: 0, error });
    }

    /// The input that was begun last.
    pub(super) fn present(&mut self) -> Option<&mut InputReport> {
        self.inputs.last_mut()
    }

    /// Counts a line that was read.
    pub(super) fn add(&mut self, at: Timestamp, bytes: u64) {
        if let Some(input) = self.present() {
            input.lines += 1;
            input.read += 1;
        }
        self.total.add(bytes);
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
    }

    /// Counts a line that could not be read.
    pub(super) fn add_unread(&mut self, reason: Reason, number: u64, length: u64, text: &[u8]) {
        let Some(index) = self.inputs.len().checked_sub(1) else { return };
        if let Some(input) = self.present() {
            input.lines += 1;
        }
        self.unread.add(reason, index, number, length, text);
    }
}
