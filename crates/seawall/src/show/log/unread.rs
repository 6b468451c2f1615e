//! The lines that could not be read: how many for each reason, and the first of each to look at.

use seawall_engine::observation::log::Reason;

/// How many lines of each reason are kept to be shown.
const EXAMPLES_MAX: usize = 3;

/// How much of a line is kept to be shown, in bytes.
pub(in crate::show) const EXAMPLE_BYTES_MAX: usize = 256;

/// Lines that could not be read, by reason.
#[derive(Default)]
pub(in crate::show) struct Unread {
    by_reason: [Lines; Reason::ALL.len()],
}

#[derive(Default)]
struct Lines {
    count: u64,
    examples: Vec<Example>,
}

/// A line that could not be read.
pub(in crate::show) struct Example {
    /// Which of the inputs it comes from.
    pub(in crate::show) input: usize,
    /// Its number there, from 1.
    pub(in crate::show) line: u64,
    /// Its length in bytes.
    pub(in crate::show) length: u64,
    /// How it begins.
    pub(in crate::show) beginning: Vec<u8>,
}

impl Unread {
    /// Counts a line.
    pub(in crate::show) fn add(&mut self, reason: Reason, input: usize, line: u64, length: u64, text: &[u8]) {
        let Some(lines) = self.by_reason.get_mut(reason as usize) else { return };
        lines.count += 1;
        if lines.examples.len() < EXAMPLES_MAX {
            let beginning = text.get(..EXAMPLE_BYTES_MAX).unwrap_or(text).to_vec();
            lines.examples.push(Example { input, line, length, beginning });
        }
    }

    /// Adds what was counted of other parts of the same inputs, and keeps the first examples of both.
    pub(in crate::show) fn merge(&mut self, other: Self) {
        for (lines, other) in self.by_reason.iter_mut().zip(other.by_reason) {
            lines.count += other.count;
            lines.examples.extend(other.examples);
            lines.examples.sort_by_key(|example| (example.input, example.line));
            lines.examples.truncate(EXAMPLES_MAX);
        }
    }

    /// All lines that could not be read, without those that are not meant to say anything of a request.
    pub(in crate::show) fn failures(&self) -> u64 {
        let by_reason = Reason::ALL.into_iter().zip(&self.by_reason);
        by_reason.filter(|(reason, _)| reason.is_failure()).map(|(_, lines)| lines.count).sum()
    }

    /// The reasons that occurred, most frequent first, each with its number of lines and its examples.
    pub(in crate::show) fn by_reason(&self) -> Vec<(Reason, u64, &[Example])> {
        let mut found: Vec<_> = Reason::ALL
            .into_iter()
            .zip(&self.by_reason)
            .filter(|(_, lines)| lines.count > 0)
            .map(|(reason, lines)| (reason, lines.count, lines.examples.as_slice()))
            .collect();
        found.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
        found
    }
}
