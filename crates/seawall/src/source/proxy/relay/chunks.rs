//! Reads a body that came in chunks (RFC 9112, section 7.1), strictly, however it is cut into pieces.

/// Bytes that are not passed on, of the extensions of one chunk, or of all trailers.
const PASSED_OVER_BYTES_MAX: u32 = 16 * 1024;

/// Digits of a chunk's size.
const SIZE_DIGITS_MAX: u8 = 15;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// A digit of a chunk's size, after so many others, or the end of it.
    Size {
        digits: u8,
    },
    /// Blanks after a size, before an extension or the end of the line.
    Blank,
    /// An extension, up to the end of the line.
    Extension,
    /// The line feed after a size.
    SizeEnd,
    /// Data.
    Data,
    /// The two bytes after the data.
    DataReturn,
    DataEnd,
    /// A trailer, from its first byte; an empty line ends the body.
    Trailer,
    /// The rest of a trailer.
    TrailerRest,
    TrailerEnd,
    /// The line feed that ends the body.
    BodyEnd,
    /// Nothing.
    Nothing,
}

/// Where in a chunked body one is.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    expected: Expected,
    /// The present chunk's size, as far as it was read, or what is left of its data.
    size: u64,
    passed_over: u32,
}

/// What a piece of a chunked body held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Bytes of data, which now stand at the beginning of the piece.
    pub(super) data: usize,
    /// Bytes of the piece that belong to the body.
    pub(super) used: usize,
}

impl Chunks {
    /// The beginning of a body.
    pub(super) const fn new() -> Self {
        Self { expected: Expected::Size { digits: 0 }, size: 0, passed_over: 0 }
    }

    /// Whether the body is complete.
    pub(super) fn is_ended(&self) -> bool {
        self.expected == Expected::Nothing
    }

    /// Reads the next piece, and moves the data in it to its beginning. None when it is no chunked body.
    pub(super) fn decode(&mut self, piece: &mut [u8]) -> Option<Decoded> {
        let (mut used, mut data) = (0, 0);
        while let Some(byte) = piece.get(used).copied() {
            self.expected = match (self.expected, byte) {
                (Expected::Nothing, _) => break,
                (Expected::Data, _) => {
                    let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(piece.len() - used);
                    piece.copy_within(used..used + length, data);
                    (used, data) = (used + length, data + length);
                    self.size -= length as u64;
                    if self.size == 0 {
                        self.expected = Expected::DataReturn;
                    }
                    continue;
                }
                (Expected::Size { digits }, _) if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS_MAX => {
                    let digit = char::from(byte).to_digit(16)?;
                    self.size = self.size << 4 | u64::from(digit);
                    Expected::Size { digits: digits + 1 }
                }
                (Expected::Size { digits: 1.. } | Expected::Blank | Expected::Extension, b'\r') => Expected::SizeEnd,
                (Expected::Size { digits: 1.. } | Expected::Blank, b' ' | b'\t') => self.pass(Expected::Blank)?,
                (Expected::Size { digits: 1.. } | Expected::Blank, b';') => self.pass(Expected::Extension)?,
                (Expected::Extension, _) if is_text(byte) => self.pass(Expected::Extension)?,
                (Expected::SizeEnd, b'\n') if self.size == 0 => Expected::Trailer,
                (Expected::SizeEnd, b'\n') => {
                    self.passed_over = 0;
                    Expected::Data
                }
                (Expected::DataReturn, b'\r') => Expected::DataEnd,
                (Expected::DataEnd, b'\n') => Expected::Size { digits: 0 },
                (Expected::Trailer, b'\r') => Expected::BodyEnd,
                (Expected::TrailerRest, b'\r') => Expected::TrailerEnd,
                (Expected::Trailer | Expected::TrailerRest, _) if is_text(byte) => self.pass(Expected::TrailerRest)?,
                (Expected::TrailerEnd, b'\n') => Expected::Trailer,
                (Expected::BodyEnd, b'\n') => Expected::Nothing,
                _ => return None,
            };
            used += 1;
        }
        Some(Decoded { data, used })
    }

    /// Counts a byte that is not passed on.
    fn pass(&mut self, next: Expected) -> Option<Expected> {
        self.passed_over += 1;
        (self.passed_over <= PASSED_OVER_BYTES_MAX).then_some(next)
    }
}

/// What may stand in a header's value.
const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data of `text` when it comes in pieces of `length`, and how much of it is the body.
    fn decode(text: &[u8], length: usize) -> Option<(Vec<u8>, usize, bool)> {
        let mut chunks = Chunks::new();
        let (mut data, mut used) = (Vec::new(), 0);
        for piece in text.chunks(length) {
            let mut piece = piece.to_vec();
            let decoded = chunks.decode(&mut piece)?;
            data.extend_from_slice(&piece[..decoded.data]);
            used += decoded.used;
            if decoded.used < piece.len() {
                break;
            }
        }
        Some((data, used, chunks.is_ended()))
    }

    #[test]
    fn a_body_is_what_its_chunks_hold() {
        for (text, data) in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("2\r\nhe\r\n003\r\nllo\r\n0\r\n\r\n", "hello"),
            ("5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n", "hello"),
            ("5 \r\nhello\r\n0\r\nTrailer: a\r\nAnother: b\r\n\r\n", "hello"),
            ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
            ("0\r\n\r\n", ""),
        ] {
            for length in [1, 2, 3, 7, 100] {
                let after = format!("{text}HTTP/1.1");
                assert_eq!(decode(after.as_bytes(), length), Some((data.into(), text.len(), true)), "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_no_clear_chunk_is_refused() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "1234567890abcdef0\r\n",
            "5;a\nb\r\nhello\r\n",
            "3 5\r\nhello\r\n",
            "5;\0\r\nhello\r\n",
            "0\r\na\nb\r\n\r\n",
            "0\r\n\r\r\n",
        ] {
            assert_eq!(decode(text.as_bytes(), 100), None, "{text:?}");
        }
        assert_eq!(decode(format!("5;{}\r\n", "a".repeat(20_000)).as_bytes(), 4_096), None);
        assert_eq!(decode(format!("0\r\n{}", "a: b\r\n".repeat(5_000)).as_bytes(), 4_096), None);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..6),
            length in 1_usize..40,
        ) {
            let mut text = Vec::new();
            for part in &parts {
                text.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                text.extend_from_slice(part);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decode(&text, length), Some((parts.concat(), text.len(), true)));
        }

        #[test]
        fn rubbish_does_no_harm(text in prop::collection::vec(any::<u8>(), 0..200), length in 1_usize..40) {
            if let Some((data, used, _)) = decode(&text, length) {
                prop_assert!(data.len() <= used && used <= text.len());
            }
        }
    }
}
