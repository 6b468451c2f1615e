//! Splits an input into lines, in a buffer of fixed size: a line too long for it is counted and passed over, never held.

use std::io::{self, Read};

use seawall_engine::observation::log::LINE_BYTES_MAX;

/// How much of a line that is too long is kept, to be shown.
const BEGINNING_BYTES: usize = 256;

/// How many bytes the buffer holds: several lines of the greatest length, so that moving what is left to its front costs
/// little.
const BUFFER_BYTES: usize = 8 * LINE_BYTES_MAX;

/// A line, without its line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'b> {
    /// A line of at most [`LINE_BYTES_MAX`].
    Whole(&'b [u8]),
    /// A longer one.
    TooLong {
        /// How it begins.
        beginning: &'b [u8],
        /// Its length in bytes.
        length: u64,
    },
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineBreak {
    /// With the input.
    None,
    /// With the input, after `\r`.
    Return,
    /// `\n`
    Newline,
    /// `\r\n`
    ReturnNewline,
}

impl LineBreak {
    /// The bytes that it is made of.
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::Return => b"\r",
            Self::Newline => b"\n",
            Self::ReturnNewline => b"\r\n",
        }
    }
}

/// The lines of an input.
pub struct Lines<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    ended: bool,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// The lines of `input`.
    pub fn new(input: R) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { input, buffer, start: 0, end: 0, ended: false, number: 0 }
    }

    /// The number of the line that was given last, from 1; 0 before the first.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The input.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// The first lines that fit into the buffer, without taking them. To be called before the first line is taken.
    ///
    /// # Errors
    /// What the input says.
    pub fn peek(&mut self) -> io::Result<impl Iterator<Item = &[u8]>> {
        self.fill()?;
        let filled = &self.buffer[self.start..self.end];
        // The last piece may be half a line, unless the input has ended or it is all there is.
        let whole = match memchr::memrchr(b'\n', filled) {
            Some(last) if !self.ended => &filled[..last],
            _ => filled,
        };
        Ok(whole.split(|byte| *byte == b'\n').map(without_return))
    }

    /// The next line, or `None` at the end. A line break may be `\n` or `\r\n`, and may be missing from the last line.
    ///
    /// # Errors
    /// What the input says.
    #[expect(clippy::should_implement_trait, reason = "the line borrows from the buffer, which no iterator can say")]
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        Ok(self.next_with_break()?.map(|(line, _)| line))
    }

    /// The next line and how it ended, so that it can be written again as it was.
    ///
    /// # Errors
    /// What the input says.
    pub fn next_with_break(&mut self) -> io::Result<Option<(Line<'_>, LineBreak)>> {
        if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.start..self.end]) {
            return Ok(Some(self.take(length, 1)));
        }
        self.fill()?;
        match memchr::memchr(b'\n', &self.buffer[self.start..self.end]) {
            Some(length) => Ok(Some(self.take(length, 1))),
            None if self.ended && self.start == self.end => Ok(None),
            None if self.ended => Ok(Some(self.take(self.end - self.start, 0))),
            None => self.pass_over().map(|line| Some((line, LineBreak::Newline))),
        }
    }

    fn take(&mut self, length: usize, line_break: usize) -> (Line<'_>, LineBreak) {
        let line = self.start..self.start + length;
        self.start = line.end + line_break;
        self.number += 1;
        let line = &self.buffer[line];
        let kind = match (line_break, line.ends_with(b"\r")) {
            (0, false) => LineBreak::None,
            (0, true) => LineBreak::Return,
            (_, false) => LineBreak::Newline,
            (_, true) => LineBreak::ReturnNewline,
        };
        (whole_or_too_long(line), kind)
    }

    /// Moves what is left to the front of the buffer and reads until it is full or the input ends.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let mut looked_at = 0;
        while !self.ended && self.end < self.buffer.len() {
            self.read_more()?;
            // What is there can be given at once: a pipe need not fill the buffer before its lines are seen.
            if memchr::memchr(b'\n', &self.buffer[looked_at..self.end]).is_some() {
                break;
            }
            looked_at = self.end;
        }
        Ok(())
    }

    fn read_more(&mut self) -> io::Result<()> {
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }

    /// Reads on to the end of a line that fills the whole buffer, keeping its beginning at the front of it.
    fn pass_over(&mut self) -> io::Result<Line<'_>> {
        let mut length = self.end as u64;
        loop {
            self.end = BEGINNING_BYTES;
            self.read_more()?;
            let read = &self.buffer[BEGINNING_BYTES..self.end];
            let line_break = memchr::memchr(b'\n', read);
            length += line_break.unwrap_or(read.len()) as u64;
            if line_break.is_some() || self.ended {
                self.start = line_break.map_or(self.end, |at| BEGINNING_BYTES + at + 1);
                self.number += 1;
                return Ok(Line::TooLong { beginning: &self.buffer[..BEGINNING_BYTES], length });
            }
        }
    }
}

fn whole_or_too_long(line: &[u8]) -> Line<'_> {
    let line = without_return(line);
    if line.len() > LINE_BYTES_MAX {
        Line::TooLong { beginning: &line[..BEGINNING_BYTES], length: line.len() as u64 }
    } else {
        Line::Whole(line)
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::follow::trickle::Trickle;

    /// Every line as its length and first bytes.
    fn lines(content: &[u8], at_once: usize) -> Vec<(u64, Vec<u8>)> {
        let mut lines = Lines::new(Trickle(content, at_once));
        let mut found = Vec::new();
        while let Some(line) = lines.next().expect("memory can be read") {
            found.push(match line {
                Line::Whole(line) => (line.len() as u64, line[..line.len().min(8)].to_vec()),
                Line::TooLong { beginning, length } => {
                    assert_eq!(beginning.len(), BEGINNING_BYTES);
                    (length, beginning[..8].to_vec())
                }
            });
        }
        assert_eq!(lines.number(), found.len() as u64);
        found
    }

    fn check(content: &[u8], expected: &[(u64, &[u8])]) {
        for at_once in [1, 7, 4096, usize::MAX] {
            // One byte at a time through megabytes would only be slow.
            if content.len() > 1_000_000 && at_once < 4096 {
                continue;
            }
            let expected: Vec<_> = expected.iter().map(|(length, text)| (*length, text.to_vec())).collect();
            assert_eq!(lines(content, at_once), expected, "{at_once} bytes at once");
        }
    }

    #[test]
    fn line_breaks_of_both_kinds_and_none_at_the_end() {
        check(b"", &[]);
        check(b"\n", &[(0, b"")]);
        check(b"a\nb\r\n\nc", &[(1, b"a"), (1, b"b"), (0, b""), (1, b"c")]);
        check(b"a\0b\xFF\n\r\n", &[(4, b"a\0b\xFF"), (0, b"")]);
    }

    #[test]
    fn lines_and_their_breaks_are_the_whole_input() {
        for content in [b"a\nb\r\n\nc".as_slice(), b"a\r\n\r\n\r", b"a\rb\r\r\n", b""] {
            let mut lines = Lines::new(Trickle(content, 2));
            let mut written = Vec::new();
            while let Some((line, line_break)) = lines.next_with_break().expect("memory can be read") {
                let Line::Whole(line) = line else { panic!("no line is long") };
                written.extend_from_slice(line);
                written.extend_from_slice(line_break.as_bytes());
            }
            assert_eq!(written, content);
        }
    }

    #[test]
    fn lines_too_long_are_measured_and_passed_over() {
        for length in [LINE_BYTES_MAX, LINE_BYTES_MAX + 1, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 10_000_000]
        {
            let long = vec![b'x'; length];
            let expected = (length as u64, b"xxxxxxxx".as_slice());
            check(&long, &[expected]);
            check(&[b"before\n", &long[..], b"\nafter"].concat(), &[(6, b"before"), expected, (5, b"after")]);
        }
    }

    #[test]
    fn peeking_takes_nothing_and_shows_no_half_line() {
        let mut lines = Lines::new(Trickle(b"one\r\ntwo\nthree", 11));
        assert_eq!(lines.peek().expect("memory").collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!(lines.next().expect("memory"), Some(Line::Whole(b"one")));
        let mut lines = Lines::new(b"only".as_slice());
        assert_eq!(lines.peek().expect("memory").collect::<Vec<_>>(), [b"only"]);
        assert_eq!(Lines::new(b"".as_slice()).peek().expect("memory").collect::<Vec<_>>(), [b""]);
    }
}
