//! Splits an input into lines of which nothing is left out: a line that does not fit into the buffer comes in pieces. For whoever
//! writes again what is read.

use std::io::{self, Read};

use seawall_engine::observation::log::LINE_BYTES_MAX;

/// How many bytes the buffer holds, and with it the longest piece.
const BUFFER_BYTES: usize = 8 * LINE_BYTES_MAX;

/// A line, or a piece of one that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'b> {
    /// The text, with its line break.
    pub text: &'b [u8],
    /// Whether a line begins with it.
    pub begins_line: bool,
}

/// The pieces of an input.
pub struct Pieces<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// How far the buffer holds no line break.
    looked_at: usize,
    ended: bool,
    /// Whether more may come where nothing more is to be read.
    grows: bool,
    /// Whether the next piece begins a line.
    begins_line: bool,
    lines: u64,
}

impl<R: Read> Pieces<R> {
    /// The pieces of `input`.
    pub fn new(input: R) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { input, buffer, start: 0, end: 0, looked_at: 0, ended: false, grows: false, begins_line: true, lines: 0 }
    }

    /// The pieces of an input that grows: where it ends now, a piece may go on later. [`Self::finish`] says that none will.
    pub fn growing(input: R) -> Self {
        Self { grows: true, ..Self::new(input) }
    }

    /// The input.
    pub fn input(&self) -> &R {
        &self.input
    }

    /// Goes on from another input, in the middle of a line.
    pub fn replace_input(&mut self, input: R) -> R {
        std::mem::replace(&mut self.input, input)
    }

    /// Nothing more will come: what is left is a piece.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// Whether all that was read has been taken, and the last line has ended.
    pub fn is_between_lines(&self) -> bool {
        self.start == self.end && self.begins_line
    }

    /// How many lines have ended.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The next piece, if it has been read already.
    #[inline]
    pub fn ready(&mut self) -> Option<Piece<'_>> {
        let unseen = self.buffer.get(self.looked_at..self.end)?;
        if let Some(at) = memchr::memchr(b'\n', unseen) {
            self.lines += 1;
            return self.take(self.looked_at + at + 1, true);
        }
        self.looked_at = self.end;
        let filled = self.buffer.get(self.start..self.end).filter(|filled| !filled.is_empty())?;
        if self.ended {
            return self.take(self.end, true);
        }
        if filled.len() < self.buffer.len() {
            return None;
        }
        let length = cut(filled);
        self.take(self.start + length, false)
    }

    /// Reads more, once; `false` when the input has ended and all of it was taken, or, of one that grows, when there is nothing
    /// more at present.
    ///
    /// # Errors
    /// What the input says.
    pub fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.looked_at -= self.start;
        self.start = 0;
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        if !self.ended && !room.is_empty() {
            let read = loop {
                match self.input.read(room) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    // What has come before the end is given all the same.
                    read => break read.inspect_err(|_| self.ended = !self.grows)?,
                }
            };
            self.end += read;
            if self.grows {
                return Ok(read > 0);
            }
            self.ended = read == 0;
        }
        Ok(!self.ended || self.end > 0)
    }

    fn take(&mut self, end: usize, ends_line: bool) -> Option<Piece<'_>> {
        let begins_line = std::mem::replace(&mut self.begins_line, ends_line);
        let start = std::mem::replace(&mut self.start, end);
        self.looked_at = self.looked_at.max(end);
        Some(Piece { text: self.buffer.get(start..end)?, begins_line })
    }
}

/// The length of the first piece of a line too long: up to where no address, and no word that decides whether something is one,
/// is cut apart, as far as its second half has such a place. Only what nobody would write as a line has none.
fn cut(text: &[u8]) -> usize {
    let half = text.len() / 2;
    let later = text.get(half..).unwrap_or_default();
    let is_apart = |byte: &u8| {
        !byte.is_ascii_alphanumeric()
            && !matches!(byte, b'.' | b':' | b'%' | b'\\' | b'/' | b'_' | b'-' | b'=' | b'!' | b' ' | b'+')
    };
    let is_no_part = |byte: &u8| !byte.is_ascii_hexdigit() && !matches!(byte, b'.' | b':' | b'%' | b'\\');
    let place = later.iter().rposition(is_apart);
    let place = place.or_else(|| later.iter().rposition(|byte| *byte == b' '));
    let place = place.or_else(|| later.iter().rposition(is_no_part));
    let place = place.or_else(|| memchr::memrchr(b':', later));
    place.map_or(text.len(), |at| half + at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::follow::trickle::Trickle;

    /// Every piece, with whether it begins a line.
    fn pieces(content: &[u8], at_once: usize) -> Vec<(Vec<u8>, bool)> {
        let mut pieces = Pieces::new(Trickle(content, at_once));
        let mut found = Vec::new();
        loop {
            while let Some(piece) = pieces.ready() {
                found.push((piece.text.to_vec(), piece.begins_line));
            }
            if !pieces.fill().expect("memory can be read") {
                let breaks = content.iter().filter(|byte| **byte == b'\n').count();
                assert_eq!(pieces.lines(), breaks as u64);
                return found;
            }
        }
    }

    #[test]
    fn lines_with_their_breaks() {
        for at_once in [1, 3, usize::MAX] {
            let found = pieces(b"a\nb\r\n\n\0\xFF\r\r\nc", at_once);
            let expected = [&b"a\n"[..], b"b\r\n", b"\n", b"\0\xFF\r\r\n", b"c"];
            assert_eq!(found, expected.map(|text| (text.to_vec(), true)));
            assert_eq!(pieces(b"", at_once), []);
        }
    }

    #[test]
    fn nothing_of_a_line_too_long_is_lost() {
        for filling in ["x", "word 192.0.2.1, ", "192.0.2.1", "1.2.3.4:", "\u{e9}"] {
            for length in [BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 10_000_000] {
                let long: Vec<u8> = filling.bytes().cycle().take(length).collect();
                let content = [b"before\n", &long[..], b"\nafter"].concat();
                let found = pieces(&content, 100_000);
                assert!(found.iter().all(|(text, _)| text.len() <= BUFFER_BYTES));
                assert_eq!(found.iter().filter(|(_, begins)| *begins).count(), 3);
                assert!(found.iter().flat_map(|(text, _)| text).eq(&content), "{filling}");
            }
        }
    }

    #[test]
    fn no_address_is_cut_apart() {
        for filling in ["192.0.2.1, ", "192.0.2.1 2001:db8::1 ", "/192.0.2.1x", "192.0.2.1:"] {
            let long: Vec<u8> = filling.bytes().cycle().take(filling.len() * 100_000).collect();
            let expected = long.windows(9).filter(|window| window == b"192.0.2.1").count();
            let whole = |text: &[u8]| text.windows(9).filter(|window| window == b"192.0.2.1").count();
            let found: usize = pieces(&long, usize::MAX).iter().map(|(text, _)| whole(text)).sum();
            assert_eq!(found, expected, "{filling}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever an input holds and in whatever parts it comes, nothing is lost, and a line begins behind each break and nowhere else.
        #[test]
        fn pieces_are_the_input(
            parts in proptest::collection::vec(prop_oneof![
                8 => proptest::collection::vec(any::<u8>(), 0..200),
                2 => "[a-f0-9:.% /,=\n]{0,200}".prop_map(String::into_bytes),
                1 => ("[a-f0-9:.%x, ]{1,9}", 1..2 * BUFFER_BYTES).prop_map(|(filling, length)| {
                    filling.bytes().cycle().take(length).collect()
                }),
            ], 0..8),
            at_once in prop_oneof![1_usize..100, Just(usize::MAX)],
        ) {
            let content = parts.concat();
            // One byte at a time through much would only be slow.
            let at_once = at_once.max(content.len() / 500 + 1);
            let found = pieces(&content, at_once);
            let mut begins = true;
            for (text, begins_line) in &found {
                prop_assert!(!text.is_empty() && text.len() <= BUFFER_BYTES);
                prop_assert_eq!(*begins_line, begins);
                // A break is nowhere but at the end.
                prop_assert!(memchr::memchr(b'\n', text).is_none_or(|at| at + 1 == text.len()));
                begins = text.ends_with(b"\n");
            }
            prop_assert!(found.iter().flat_map(|(text, _)| text).eq(&content));
        }
    }
}
