//! Rewrites lines: other addresses in place of those that name somebody, and everything else as it was.

use seawall_engine::address::ClientAddress;
use seawall_engine::observation::log::{FoundAddress, FoundQuery, Queries, Reader, addresses};
use seawall_engine::units::Timestamp;

use super::{Day, KeyError, Pseudonyms};
use crate::source::follow::Piece;

/// How much of an IPv4 address [`Treatment::Truncate`] leaves, in bits.
const PREFIX_BITS_V4: u8 = 24;

/// How much of an IPv6 address it leaves: what one customer of a provider has, or a little more.
const PREFIX_BITS_V6: u8 = 48;

/// What is written for an address that is removed and was a field of its own: what logs have for nothing.
const NOTHING: &[u8] = b"-";

/// What is written for one that was not, as one with a port: formats that ask for an address there stay readable.
const NOBODY: &[u8] = b"0.0.0.0";

/// What becomes of addresses.
pub enum Treatment {
    /// They become pseudonyms.
    Pseudonyms(Box<Pseudonyms>),
    /// They become networks: /24 of IPv4, /48 of IPv6.
    Truncate,
    /// They go.
    Remove,
}

/// Rewrites the lines of logs, one after the other.
pub struct Anonymizer {
    treatment: Treatment,
    /// Finds queries, when they are dropped.
    queries: Option<Queries>,
    found_queries: Vec<FoundQuery>,
    reader: Reader,
    /// The day of the present line.
    day: Day,
    today: Day,
}

impl Anonymizer {
    /// An anonymizer. `now` is the moment of the run.
    ///
    /// # Errors
    /// When keys whose time is over cannot be deleted.
    pub fn new(treatment: Treatment, drop_queries: bool, now: Timestamp) -> Result<Self, KeyError> {
        let today = Day::of(now);
        let mut anonymizer = Self {
            treatment,
            queries: drop_queries.then(Queries::default),
            found_queries: Vec::new(),
            reader: Reader::default(),
            day: today,
            today,
        };
        anonymizer.forget()?;
        Ok(anonymizer)
    }

    /// Begins another log, which may be in another format.
    pub fn begin(&mut self) {
        self.reader = Reader::default();
        self.queries = self.queries.take().map(|_| Queries::default());
    }

    /// Tells the time, for a run that goes on over midnight.
    ///
    /// # Errors
    /// When keys whose time is over cannot be deleted.
    pub fn tell(&mut self, now: Timestamp) -> Result<(), KeyError> {
        let today = Day::of(now);
        if today > self.today {
            self.today = today;
            self.forget()?;
        }
        Ok(())
    }

    /// Appends what becomes of a line, or of a piece of one, to `output`.
    ///
    /// # Errors
    /// When the key of the line's day cannot be had. Nothing of the piece has been appended then.
    pub fn rewrite(&mut self, piece: &Piece<'_>, output: &mut Vec<u8>) -> Result<(), KeyError> {
        let text = piece.text;
        if piece.begins_line && matches!(self.treatment, Treatment::Pseudonyms(_)) {
            let line = text.strip_suffix(b"\n").unwrap_or(text);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.day = self.reader.moment(line).map_or(self.today, Day::of);
        }
        if let Some(queries) = &mut self.queries {
            queries.find(text, piece.begins_line, &mut self.found_queries);
        }
        let length_before = output.len();
        let result = self.replace(text, output);
        if result.is_err() {
            output.truncate(length_before);
        }
        result
    }

    fn replace(&mut self, text: &[u8], output: &mut Vec<u8>) -> Result<(), KeyError> {
        let mut rest = 0;
        let mut queries = self.found_queries.iter().peekable();
        let mut drop_queries_before = |end: usize, rest: &mut usize, output: &mut Vec<u8>| {
            while let Some(query) = queries.next_if(|query| query.range.start < end) {
                output.extend_from_slice(text.get(*rest..query.range.start).unwrap_or_default());
                if query.is_field {
                    output.extend_from_slice(NOTHING);
                }
                *rest = query.range.end;
            }
        };
        for found in addresses(text) {
            drop_queries_before(found.range.end, &mut rest, output);
            // It went with a query.
            if found.range.start < rest {
                continue;
            }
            output.extend_from_slice(text.get(rest..found.range.start).unwrap_or_default());
            rest = found.range.end;
            match &mut self.treatment {
                Treatment::Pseudonyms(pseudonyms) => {
                    write(pseudonyms.of(self.day, self.today, found.address)?, &found, text, output);
                }
                Treatment::Truncate => write(truncated(found.address).as_bytes(), &found, text, output),
                Treatment::Remove => output.extend_from_slice(if is_field(&found, text) { NOTHING } else { NOBODY }),
            }
        }
        drop_queries_before(text.len(), &mut rest, output);
        output.extend_from_slice(text.get(rest..).unwrap_or_default());
        Ok(())
    }

    fn forget(&mut self) -> Result<(), KeyError> {
        match &mut self.treatment {
            Treatment::Pseudonyms(pseudonyms) => pseudonyms.forget(self.today),
            Treatment::Truncate | Treatment::Remove => Ok(()),
        }
    }
}

/// The network that an address lies in, by its first address.
fn truncated(address: ClientAddress) -> String {
    let length = if address.ip().is_ipv4() { PREFIX_BITS_V4 } else { PREFIX_BITS_V6 };
    address.prefix(length).network().to_string()
}

/// Whether nothing but a separator of fields or the end of the text is on either side of an address.
fn is_field(found: &FoundAddress, text: &[u8]) -> bool {
    let is_separator = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b',');
    let before = text.get(..found.range.start).and_then(<[u8]>::last);
    let after = text.get(found.range.end..).and_then(<[u8]>::first);
    before.is_none_or(is_separator) && after.is_none_or(is_separator)
}

/// Writes an address in place of another. One with colons gets brackets where its end, or what it is, could not be told
/// without: before a port, and in a URL.
fn write(address: &[u8], found: &FoundAddress, text: &[u8], output: &mut Vec<u8>) {
    let has_colons = memchr::memchr(b':', address).is_some();
    let before = text.get(..found.range.start).unwrap_or_default();
    let after = text.get(found.range.end..).unwrap_or_default();
    if found.is_percent_encoded {
        for part in address.split_inclusive(|byte| *byte == b':') {
            let (digits, colon) = part.strip_suffix(b":").map_or((part, &b""[..]), |digits| (digits, b"%3A"));
            output.extend_from_slice(digits);
            output.extend_from_slice(colon);
        }
    } else if has_colons
        && !before.ends_with(b"[")
        && (matches!(after, [b':', b'0'..=b'9', ..]) || before.ends_with(b"//"))
    {
        output.push(b'[');
        output.extend_from_slice(address);
        output.push(b']');
    } else {
        output.extend_from_slice(address);
    }
}

#[cfg(test)]
mod tests;
