//! Addresses wherever they stand in a text, told apart from what only looks like one.
//!
//! For whoever replaces the addresses of a line without knowing which field names a person: the client's field, lists of
//! `X-Forwarded-For`, `client: 192.0.2.1` in messages, IPv6 in brackets, with ports, in queries. When in doubt it is an
//! address, since one that stays names somebody, and a number that was replaced does not. What is none: a product's version
//! (`Chrome/71.0.35.78`, `rv:1.9.2.13`), a number of more than four parts, times, fingerprints, and `::` within words. `::`
//! alone is nobody's.
//!
//! Each decision looks at most at [`CONTEXT_BYTES`] around an address, and each byte is looked at a bounded number of
//! times, whatever a stranger wrote.

mod escape;
mod v4;
mod v6;

use std::iter::FusedIterator;
use std::ops::Range;

use crate::address::ClientAddress;

/// How far around an address what stands there can decide whether it is one, in bytes.
pub const CONTEXT_BYTES: usize = 96;

/// An address in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundAddress {
    /// Where it stands: without brackets, without port.
    pub range: Range<usize>,
    /// Whom it names.
    pub address: ClientAddress,
    /// Whether its colons or points are written `%3A` and `%2E`, as in queries.
    pub is_percent_encoded: bool,
}

/// The addresses of a text, in the order in which they stand.
#[derive(Clone, Debug)]
pub struct Addresses<'t> {
    text: &'t [u8],
    /// Where the last one ended; none that follows begins before it.
    floor: usize,
    /// Where the next mark is looked for.
    from: usize,
    /// What lies before it and is no IPv4 address is no IPv6 address either.
    tried: usize,
}

/// The addresses of `text`.
pub fn addresses(text: &[u8]) -> Addresses<'_> {
    Addresses { text, floor: 0, from: 0, tried: 0 }
}

impl Iterator for Addresses<'_> {
    type Item = FoundAddress;

    #[inline]
    fn next(&mut self) -> Option<FoundAddress> {
        loop {
            let rest = self.text.get(self.from..)?;
            let mark = self.from + memchr::memchr3(b'.', b':', b'%', rest)?;
            self.from = mark + 1;
            let found = match self.text.get(mark) {
                Some(b'.') => v4::find(self.text, self.floor, mark),
                Some(b':') if mark >= self.tried => self.find_v6(mark),
                Some(b'%') => {
                    v6::find_encoded(self.text, self.floor, mark).or_else(|| v4::find(self.text, self.floor, mark))
                }
                _ => None,
            };
            if let Some(found) = found {
                self.floor = found.range.end;
                self.from = self.floor;
                self.tried = self.floor;
                return Some(found);
            }
        }
    }
}

impl FusedIterator for Addresses<'_> {}

impl Addresses<'_> {
    fn find_v6(&mut self, mark: usize) -> Option<FoundAddress> {
        let run = v6::run_around(self.text, self.floor, mark);
        self.tried = run.end;
        v6::find(self.text, self.floor, run)
    }
}

/// Letters and digits: what makes a text next to it one word with it.
const fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests;
