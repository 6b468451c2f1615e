//! The inputs of a command that reads logs: what they are, how much of them was read, and what was not.

use seawall_engine::observation::log::{Format, Reason, Recognition};
use seawall_engine::units::Timestamp;

use super::recorded::Attributes;
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
    /// Requests that were read but do not meet the filter, and those whose log does not record what it asks for.
    pub(in crate::show) left_out: u64,
    pub(in crate::show) not_judged: u64,
    /// What that is.
    pub(in crate::show) unrecorded: Attributes,
    pub(super) unread: Unread,
    /// Requests in which something that is no time stands for how long they took.
    pub(super) unread_durations: u64,
    /// The first of them: which input, and its line there.
    pub(super) unread_duration: Option<(usize, u64)>,
}

/// What is known of one input.
pub(in crate::show) struct InputReport {
    pub(in crate::show) name: String,
    pub(super) compression: Option<Compression>,
    pub(super) recognition: Option<Recognition>,
    /// Whether the format was given, so that nothing was recognised.
    pub(super) is_given: bool,
    /// In which formats how many lines were read.
    pub(super) formats: Vec<(Format, u64)>,
    pub(super) lines: u64,
    pub(super) read: u64,
    /// Lines that could not be read and are meant to say something of a request.
    pub(super) failures: u64,
    /// Requests whose lines end with a number that may be how long they took, and of which nothing says what it is.
    pub(super) unknown_numbers: u64,
    pub(super) error: Option<String>,
}

impl Inputs {
    /// Begins an input; what follows belongs to it.
    pub(super) fn begin(&mut self, name: String) {
        let (compression, recognition, error) = (None, None, None);
        let (is_given, formats) = (false, Vec::new());
        let (lines, read, failures, unknown_numbers) = (0, 0, 0, 0);
        self.inputs.push(InputReport {
            name,
            compression,
            recognition,
            is_given,
            formats,
            lines,
            read,
            failures,
            unknown_numbers,
            error,
        });
    }

    /// The input that was begun last.
    pub(super) fn present(&mut self) -> Option<&mut InputReport> {
        self.inputs.last_mut()
    }

    /// Counts a line that was read.
    #[inline]
    pub(super) fn add_read(&mut self, format: Format) {
        if let Some(input) = self.present() {
            input.lines += 1;
            input.read += 1;
            input.add_format(format, 1);
        }
    }

    /// Counts a request that is looked at.
    pub(super) fn add(&mut self, at: Timestamp, cost: Count) {
        self.total.add(cost);
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
    }

    /// Counts a line that could not be read.
    pub(super) fn add_unread(&mut self, reason: Reason, number: u64, length: u64, text: &[u8]) {
        let Some(index) = self.inputs.len().checked_sub(1) else { return };
        if let Some(input) = self.present() {
            input.lines += 1;
            input.failures += u64::from(reason.is_failure());
        }
        self.unread.add(reason, index, number, length, text);
    }

    /// Lines that could not be read and are meant to say something of a request.
    pub(in crate::show) fn lines_unread(&self) -> u64 {
        self.unread.failures()
    }

    /// Counts a request in which something that is no time stands for how long it took.
    pub(super) fn add_unread_duration(&mut self, number: u64) {
        self.unread_durations += 1;
        self.unread_duration = self.unread_duration.or(self.inputs.len().checked_sub(1).map(|input| (input, number)));
    }

    /// Counts a request whose line ends with a number of which nothing says what it is.
    pub(super) fn add_unknown_number(&mut self) {
        if let Some(input) = self.present() {
            input.unknown_numbers += 1;
        }
    }

    /// The first input of whose requests most have such a number.
    pub(super) fn of_unknown_numbers(&self) -> Option<&InputReport> {
        self.inputs.iter().find(|input| input.unknown_numbers > input.read / 2)
    }

    /// Adds what was counted of other parts of the same inputs.
    pub(super) fn merge(&mut self, other: Self) {
        for (input, other) in self.inputs.iter_mut().zip(other.inputs) {
            input.lines += other.lines;
            input.read += other.read;
            input.failures += other.failures;
            input.unknown_numbers += other.unknown_numbers;
            other.formats.iter().for_each(|(format, lines)| input.add_format(*format, *lines));
        }
        self.total.add(other.total);
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.into_iter().chain(other.last).max();
        self.left_out += other.left_out;
        self.not_judged += other.not_judged;
        self.unrecorded.extend(other.unrecorded);
        self.unread.merge(other.unread);
        self.unread_durations += other.unread_durations;
        self.unread_duration = self.unread_duration.into_iter().chain(other.unread_duration).min();
    }
}

impl InputReport {
    /// The format that most of its lines are in, and how many those are.
    pub(super) fn commonest(&self) -> Option<(Format, u64)> {
        self.formats.iter().copied().max_by_key(|(_, lines)| *lines)
    }

    #[inline]
    fn add_format(&mut self, format: Format, lines: u64) {
        match self.formats.iter_mut().find(|(known, _)| *known == format) {
            Some((_, known)) => *known += lines,
            None => self.formats.push((format, lines)),
        }
    }
}
