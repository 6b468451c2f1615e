//! Buffers that one worker uses again and again, so that a request allocates none.

use std::cell::RefCell;

/// Buffers of one use that are kept for the next.
const KEPT_MAX: usize = 256;

/// What a buffer may have grown to and still be kept.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What is read of an answer at once, and the largest head of one, in bytes.
const ANSWER_BYTES: usize = 32 * 1024;

/// The buffers of one worker.
#[derive(Default)]
pub(super) struct Buffers {
    heads: Shelf,
    answers: Shelf,
    texts: Shelf,
}

impl Buffers {
    /// Room for what a client sends: this many bytes, with anything in them.
    pub(super) fn take_head(&self, length: usize) -> Vec<u8> {
        self.heads.take(length)
    }

    /// Gives one back.
    pub(super) fn return_head(&self, buffer: Vec<u8>) {
        self.heads.give(buffer);
    }

    /// Room for what an upstream sends, with anything in it.
    pub(super) fn take_answer(&self) -> Vec<u8> {
        self.answers.take(ANSWER_BYTES)
    }

    /// Gives one back.
    pub(super) fn return_answer(&self, buffer: Vec<u8>) {
        self.answers.give(buffer);
    }

    /// Something empty to write a message into.
    pub(super) fn take_text(&self) -> Vec<u8> {
        self.texts.take(0)
    }

    /// Gives one back.
    pub(super) fn return_text(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.texts.give(buffer);
    }
}

#[derive(Default)]
struct Shelf(RefCell<Vec<Vec<u8>>>);

impl Shelf {
    fn take(&self, length: usize) -> Vec<u8> {
        let mut buffer = self.0.borrow_mut().pop().unwrap_or_default();
        buffer.resize(length, 0);
        buffer
    }

    fn give(&self, buffer: Vec<u8>) {
        let mut kept = self.0.borrow_mut();
        if (1..=KEPT_BYTES_MAX).contains(&buffer.capacity()) && kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_for_the_next_use() {
        let buffers = Buffers::default();
        let mut text = buffers.take_text();
        text.extend_from_slice(b"some text");
        let place = text.as_ptr();
        buffers.return_text(text);
        let text = buffers.take_text();
        assert_eq!((text.as_ptr(), text.len()), (place, 0));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let buffers = Buffers::default();
        (0..2 * KEPT_MAX).for_each(|_| buffers.return_text(Vec::with_capacity(100)));
        assert_eq!(buffers.texts.0.borrow().len(), KEPT_MAX);
        buffers.return_answer(vec![0; KEPT_BYTES_MAX + 1]);
        buffers.return_answer(Vec::new());
        assert!(buffers.answers.0.borrow().is_empty());
    }
}
