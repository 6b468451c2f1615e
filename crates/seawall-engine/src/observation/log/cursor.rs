//! Goes through the fields of a line that are parted by spaces, some of them in quotes or brackets.

use super::Reason;

/// What is left of a line.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a [u8],
    /// Whether any quoted field so far holds a backslash.
    pub(super) escaped: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn skip_spaces(&mut self) {
        while let [b' ', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    pub(super) fn at_quote(&mut self) -> bool {
        self.skip_spaces();
        self.rest.first() == Some(&b'"')
    }

    /// The field up to the next space; `None` at the end of the line.
    pub(super) fn word(&mut self) -> Option<&'a [u8]> {
        self.skip_spaces();
        let end = memchr::memchr(b' ', self.rest).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// The field in quotes that comes next, without them; `missing` when there is none. A quote ends the field only
    /// before a space or at the end of the line, since some servers write quotes inside it as they came.
    pub(super) fn quoted(&mut self, missing: Reason) -> Result<&'a [u8], Reason> {
        self.skip_spaces();
        let [b'"', field @ ..] = self.rest else { return Err(missing) };
        let mut from = 0;
        while let Some(found) = field.get(from..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
            let at = from + found;
            if field[at] == b'\\' {
                self.escaped = true;
                from = at + 2;
            } else if matches!(field.get(at + 1), None | Some(b' ')) {
                self.rest = &field[at + 1..];
                return Ok(&field[..at]);
            } else {
                from = at + 1;
            }
        }
        Err(Reason::UnclosedQuote)
    }
}
