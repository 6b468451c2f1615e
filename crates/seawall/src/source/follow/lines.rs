//! Splits a block into lines.

use super::Block;

/// How much of a line that is too long is kept, to be shown.
pub(super) const BEGINNING_BYTES: usize = 256;

/// A line, without its line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'b> {
    /// A line that fits into a block: longer than any that is read it may be the part of one, escaped.
    Whole(&'b [u8]),
    /// One that does not.
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

/// The lines of a block, each with how it ended.
pub fn lines(block: &Block) -> impl Iterator<Item = (Line<'_>, LineBreak)> {
    let long = block.too_long.map(|length| (Line::TooLong { beginning: &block.text, length }, LineBreak::Newline));
    let rest: &[u8] = if long.is_some() { &[] } else { &block.text };
    long.into_iter().chain(Whole { rest })
}

/// What is left of the lines of a block.
struct Whole<'b> {
    rest: &'b [u8],
}

impl<'b> Iterator for Whole<'b> {
    type Item = (Line<'b>, LineBreak);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest, is_ended) = match memchr::memchr(b'\n', self.rest) {
            Some(at) => (self.rest.get(..at)?, self.rest.get(at + 1..)?, true),
            None => (self.rest, &[][..], false),
        };
        self.rest = rest;
        let line_break = match (is_ended, line.ends_with(b"\r")) {
            (false, false) => LineBreak::None,
            (false, true) => LineBreak::Return,
            (true, false) => LineBreak::Newline,
            (true, true) => LineBreak::ReturnNewline,
        };
        Some((Line::Whole(line.strip_suffix(b"\r").unwrap_or(line)), line_break))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_their_breaks_are_the_whole_block() {
        for content in [b"a\nb\r\n\nc".as_slice(), b"a\r\n\r\n\r", b"a\rb\r\r\n", b"\n", b""] {
            let block = Block { text: content.to_vec(), ..Block::default() };
            let mut written = Vec::new();
            for (line, line_break) in lines(&block) {
                let Line::Whole(line) = line else { panic!("no line is long") };
                written.extend_from_slice(line);
                written.extend_from_slice(line_break.as_bytes());
            }
            assert_eq!(written, content);
        }
    }
}
