//! What is wrong with a configuration: every problem at once, each with its place.
//!
//! Owns places and messages. It never decides what is wrong; the readers of values do.

use std::fmt;
use std::io;

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file as a whole: it cannot be read.
    File {
        /// Its name, as given.
        name: String,
    },
    /// A character of a file.
    Character {
        /// The file's name, as given.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
    },
    /// An option of the command line, such as `--to`.
    Option {
        /// The option.
        name: &'static str,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name } => formatter.write_str(name),
            Self::Character { name, line, column } => write!(formatter, "{name}:{line}:{column}"),
            Self::Option { name } => formatter.write_str(name),
        }
    }
}

/// One problem: `FILE:LINE:COLUMN: what is wrong, what was found, what would be right`, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// What is wrong, what was found, and what would be right.
    pub message: String,
}

/// Every problem of a configuration, in the order of the file; never none. Shown as one line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    first: Problem,
    rest: Vec<Problem>,
}

impl Problems {
    /// All of `problems`, or `None` when there is none.
    pub(super) fn new(problems: Vec<Problem>) -> Option<Self> {
        let mut problems = problems.into_iter();
        let first = problems.next()?;
        Some(Self { first, rest: problems.collect() })
    }

    /// That the file `name` could not be read.
    pub(super) fn unreadable(name: &str, error: &io::Error) -> Self {
        Self::about_file(name, format!("failed to read the configuration: {error}"))
    }

    /// One problem with the file as a whole.
    pub(super) fn about_file(name: &str, message: String) -> Self {
        Self { first: Problem { place: Place::File { name: name.to_owned() }, message }, rest: Vec::new() }
    }

    /// Whether the trouble is that the file cannot be read, rather than what stands in it.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.first.place, Place::File { .. })
    }

    /// Each problem.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(formatter)?;
        self.rest.iter().try_for_each(|problem| write!(formatter, "\n{problem}"))
    }
}

impl std::error::Error for Problems {}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::iter::Chain<std::iter::Once<Problem>, std::vec::IntoIter<Problem>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.rest)
    }
}

/// Where the lines of a text begin, so that each of many problems finds its line at once: a log that is named by
/// mistake has one on every line.
pub(super) struct Lines<'a> {
    text: &'a [u8],
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// The lines of `text`.
    pub(super) fn new(text: &'a [u8]) -> Self {
        let after_newlines = memchr::memchr_iter(b'\n', text).map(|newline| newline + 1);
        Self { text, starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    /// The line of the byte at `offset`, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The line of the byte at `offset` and the character in it, both from 1.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or_default();
        // Every byte but the continuation bytes of UTF-8 (0b10xxxxxx) begins a character.
        let characters = before.iter().filter(|byte| **byte & 0b1100_0000 != 0b1000_0000).count();
        (line, characters + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_not_bytes() {
        let text = "ab\nü = 1\n".as_bytes();
        let lines = Lines::new(text);
        assert_eq!(lines.position(0), (1, 1));
        assert_eq!(lines.position(2), (1, 3));
        assert_eq!(lines.position(3), (2, 1));
        assert_eq!(lines.position(6), (2, 3));
        assert_eq!(lines.position(text.len()), (3, 1));
        assert_eq!(lines.position(9999), (3, 1));
    }
}
