//! Counts the frames of an endless GIF as its bytes arrive, in whatever pieces.
//!
//! It owns the block structure of GIF89a and nothing of its pictures: one state, no buffer, so that thousands of viewers
//! cost nothing.

/// Where in the stream we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameCounter {
    state: State,
    /// Bytes of the present state that have come.
    seen: u32,
    /// Frames that are complete.
    pub(crate) frames: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// `GIF89a` and the screen, 13 bytes.
    #[default]
    Header,
    /// Bytes to pass over, then what.
    Skip { left: u32, then: Then },
    /// What kind of block comes next.
    Block,
    /// The label of an extension.
    Label,
    /// The place and size of an image, 9 bytes; the last says whether it has colours of its own.
    Image,
    /// The length of a sub-block.
    SubBlock { image: bool },
    /// The end, or bytes that are no GIF.
    Done { good: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Block,
    SubBlock {
        image: bool,
    },
    /// The code size that stands before image data.
    CodeSize,
}

impl FrameCounter {
    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// Whether everything so far was a GIF.
    pub(crate) fn is_gif(&self) -> bool {
        self.state != State::Done { good: false }
    }

    fn step(&mut self, byte: u8) {
        self.state = match self.state {
            State::Header => {
                let expected = b"GIF8".get(self.seen as usize);
                self.seen += 1;
                if expected.is_some_and(|expected| *expected != byte) {
                    State::Done { good: false }
                } else if self.seen == 11 {
                    // The packed field; the background and the aspect follow before the colours.
                    State::Skip { left: 2 + colours_bytes(byte), then: Then::Block }
                } else {
                    State::Header
                }
            }
            State::Skip { left, then } => match (left - 1, then) {
                (0, Then::Block) => State::Block,
                (0, Then::SubBlock { image }) => State::SubBlock { image },
                (0, Then::CodeSize) => State::Skip { left: 1, then: Then::SubBlock { image: true } },
                (left, then) => State::Skip { left, then },
            },
            State::Block => match byte {
                0x21 => State::Label,
                0x2C => {
                    self.seen = 0;
                    State::Image
                }
                0x3B => State::Done { good: true },
                _ => State::Done { good: false },
            },
            State::Label => State::SubBlock { image: false },
            State::Image => {
                self.seen += 1;
                match (self.seen, colours_bytes(byte)) {
                    (9, 0) => State::Skip { left: 1, then: Then::SubBlock { image: true } },
                    (9, colours) => State::Skip { left: colours, then: Then::CodeSize },
                    _ => State::Image,
                }
            }
            State::SubBlock { image } if byte == 0 => {
                self.frames += u32::from(image);
                State::Block
            }
            State::SubBlock { image } => State::Skip { left: u32::from(byte), then: Then::SubBlock { image } },
            done @ State::Done { .. } => done,
        };
    }
}

/// The bytes of the colour table that a packed field announces.
const fn colours_bytes(packed: u8) -> u32 {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gif(frames: usize) -> Vec<u8> {
        let mut bytes = b"GIF89a\x02\x00\x02\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff".to_vec();
        bytes.extend(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00");
        for index in 0..frames {
            bytes.extend(b"\x21\xf9\x04\x04\x64\x00\x00\x00");
            if index % 2 == 0 {
                bytes.extend(b"\x2c\x00\x00\x00\x00\x02\x00\x02\x00\x00\x02\x02\x84\x51\x00");
            } else {
                // With colours of its own, and data in two sub-blocks.
                bytes.extend(b"\x2c\x00\x00\x00\x00\x02\x00\x02\x00\x80abcdef\x02\x01\x84\x01\x51\x00");
            }
        }
        bytes
    }

    #[test]
    fn frames_are_counted_however_the_bytes_are_cut() {
        let bytes = gif(5);
        for size in [1, 2, 7, 1000] {
            let mut counter = FrameCounter::default();
            bytes.chunks(size).for_each(|piece| counter.feed(piece));
            assert_eq!((counter.frames, counter.is_gif()), (5, true), "pieces of {size}");
        }
    }

    #[test]
    fn an_unfinished_frame_does_not_count_and_text_is_no_gif() {
        let bytes = gif(2);
        let mut counter = FrameCounter::default();
        counter.feed(&bytes[..bytes.len() - 1]);
        assert_eq!(counter.frames, 1);
        counter.feed(b"\x00;");
        assert_eq!((counter.frames, counter.is_gif()), (2, true));
        let mut counter = FrameCounter::default();
        counter.feed(b"<html>");
        assert!(!counter.is_gif());
    }
}
