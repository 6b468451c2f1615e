//! Access logs: one line of a web server's log becomes an [`Observation`].
//!
//! Owns which formats are known, how a log's format is recognised from its first lines, and how a line of each is read.
//! Reading a line is pure, borrows from the line and allocates nothing. It never guesses: what cannot be read is refused
//! with a [`Reason`], for the caller to count and show. Files, compression and line splitting are not known here.
//!
//! To add a format: a file beside `combined.rs`, its variants in [`Format`], its entry in `FAMILIES`.

mod combined;
mod format;
mod reason;
mod recognise;
mod request_line;
mod restore;
mod time;

use super::Observation;

pub use format::{Fields, Format};
pub use reason::Reason;
pub use recognise::{RECOGNITION_LINES_MAX, Recognition, recognise};
pub use restore::restore;

/// The longest line that is read, in bytes. Web servers bound a request's head to 8 KiB or 16 KiB, and escaping can make
/// four bytes of one; whatever is longer is damage, or an attack on the reader.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// A line that was read.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What the line says.
    pub observation: Observation<'a>,
    /// The format that the line is in.
    pub format: Format,
    /// Whether the request is byte for byte what the server received. When it is not (the log escaped something, or the
    /// host is not in lower case), [`restore`] gives the request as the gate would have seen it.
    pub verbatim: bool,
}

/// Formats that one function reads, because they are told apart only while reading.
struct Family {
    formats: &'static [Format],
    read: for<'a> fn(&'a [u8]) -> Result<Entry<'a>, Reason>,
}

/// Every known format, in the order in which they are tried on a line of an unknown one.
const FAMILIES: &[Family] = &[Family { formats: combined::FORMATS, read: combined::read }];

/// Reads one line, without its line break: in the family of the `expected` format first, then in the others, since logs
/// are joined and servers reconfigured. When no format fits, the reason is that of the one that came furthest.
///
/// # Errors
/// The [`Reason`] why no known format can read the line.
pub fn read<'a>(line: &'a [u8], expected: Option<Format>) -> Result<Entry<'a>, Reason> {
    if line.len() > LINE_BYTES_MAX {
        return Err(Reason::TooLong);
    }
    if line.trim_ascii().is_empty() {
        return Err(Reason::Empty);
    }
    let is_expected = |family: &&Family| expected.is_some_and(|format| family.formats.contains(&format));
    let expected_first = FAMILIES.iter().filter(is_expected);
    let others = FAMILIES.iter().filter(|family| !is_expected(family));
    let mut furthest = Reason::Empty;
    for family in expected_first.chain(others) {
        match (family.read)(line) {
            Ok(entry) => return Ok(entry),
            Err(reason) => furthest = furthest.max(reason),
        }
    }
    Err(furthest)
}

#[cfg(test)]
mod tests;
