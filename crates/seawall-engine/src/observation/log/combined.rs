//! The common log format and what grew from it: combined, and both behind a virtual host.
//!
//! ```text
//! [vhost[:port] ]client identity user [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5120[ "referer" "user agent"][ …]
//! ```

use std::net::IpAddr;

use super::{Entry, Format, Reason, request_line, time};
use crate::address::ClientAddress;
use crate::observation::{ClientHistory, Cost, Observation, Outcome, Request};
use crate::units::Timestamp;

/// The formats that [`read`] tells apart.
pub(super) const FORMATS: &[Format] = &[Format::Combined, Format::Common, Format::VhostCombined, Format::VhostCommon];

/// Reads a line of any of [`FORMATS`].
pub(super) fn read(line: &[u8]) -> Result<Entry<'_>, Reason> {
    let (before, at, after) = split_at_timestamp(line)?;
    let (vhost, client) = read_client(before)?;
    let mut cursor = Cursor { rest: after, escaped: false };
    let request_line = cursor.quoted(Reason::NoRequest)?;
    let outcome = read_status(cursor.word().ok_or(Reason::NoStatus)?)?;
    let bytes = read_size(cursor.word().ok_or(Reason::NoSize)?)?;
    let headers = read_headers(&mut cursor)?;
    let (referer, user_agent) = headers.unwrap_or_default();

    let named = request_line::read(request_line);
    // A target that names its host overrules the Host header (RFC 9112, section 3.2.2).
    let host = if named.host.is_empty() { vhost.unwrap_or_default() } else { named.host };
    let request = Request { host, user_agent, referer, ..named };
    let format = match (vhost.is_some(), headers.is_some()) {
        (false, false) => Format::Common,
        (false, true) => Format::Combined,
        (true, false) => Format::VhostCommon,
        (true, true) => Format::VhostCombined,
    };
    let observation = Observation {
        at,
        client,
        request,
        outcome,
        cost: Cost { requests: 1, bytes, ..Cost::default() },
        weight: 1.0,
        history: ClientHistory::default(),
    };
    let verbatim = !cursor.escaped && !host.iter().any(|byte| byte.is_ascii_uppercase() || *byte == b'\\');
    Ok(Entry { observation, format, verbatim })
}

/// What lies before the time stamp, the time stamp, and what follows it. The time stamp is the only field whose place is
/// certain: those before it may hold spaces (users do), or be fewer than they should.
fn split_at_timestamp(line: &[u8]) -> Result<(&[u8], Timestamp, &[u8]), Reason> {
    let mut reason = Reason::NoTimestamp;
    for opening in memchr::memchr_iter(b'[', line) {
        let Some((text, [b']', after @ ..])) = line[opening + 1..].split_first_chunk::<{ time::COMMON_BYTES }>() else {
            continue;
        };
        if let Some(at) = time::common(text) {
            return Ok((&line[..opening], at, after));
        }
        if time::is_common_shape(text) {
            reason = Reason::WrongTimestamp;
        }
    }
    Err(reason)
}

/// The virtual host, if there is one (empty for `-`), and the client's address, if that is what its field holds.
///
/// A virtual host is there when the second field is an address and the first is none. Where neither is one, because
/// names or nothing are logged, the identity field decides: it is `-` in practice, and the third of four fields.
fn read_client(before: &[u8]) -> Result<(Option<&[u8]>, Option<ClientAddress>), Reason> {
    let mut fields = before.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let (Some(first), Some(second), Some(third)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(Reason::TooFewFields);
    };
    if let Some(client) = address(first) {
        return Ok((None, Some(client)));
    }
    if fields.next().is_none() {
        return Ok((None, None));
    }
    let client = address(second);
    if client.is_none() && third != b"-" {
        return Ok((None, None));
    }
    let vhost = if first == b"-" { &first[..0] } else { request_line::without_port(first) };
    Ok((Some(vhost), client))
}

fn address(field: &[u8]) -> Option<ClientAddress> {
    /// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
    const ADDRESS_BYTES_MAX: usize = 45;
    if field.len() > ADDRESS_BYTES_MAX {
        return None;
    }
    let address: IpAddr = str::from_utf8(field).ok()?.parse().ok()?;
    Some(ClientAddress::new(address))
}

/// A status of `-` or 000 is what servers write when no answer was sent.
fn read_status(word: &[u8]) -> Result<Outcome, Reason> {
    match word {
        b"-" | b"000" => Ok(Outcome::Arrived),
        [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            let status = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            Ok(Outcome::Served { status })
        }
        _ => Err(Reason::WrongStatus),
    }
}

/// `-` is what Apache writes for no bytes at all.
fn read_size(word: &[u8]) -> Result<u64, Reason> {
    if word == b"-" {
        return Ok(0);
    }
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let append = |number: u64, byte: &u8| number.checked_mul(10)?.checked_add(digit(byte)?);
    word.iter().try_fold(0, append).ok_or(Reason::WrongSize)
}

type Headers<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Referer and user agent, when two quoted fields follow at once. One alone is a further field of the common format,
/// and whatever comes after two is a further field of the combined.
fn read_headers<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Headers<'a>>, Reason> {
    if !cursor.at_quote() {
        return Ok(None);
    }
    let referer = cursor.quoted(Reason::UnclosedQuote)?;
    if !cursor.at_quote() {
        return Ok(None);
    }
    let user_agent = cursor.quoted(Reason::UnclosedQuote)?;
    let present = |field: &'a [u8]| (field != b"-").then_some(field);
    Ok(Some((present(referer), present(user_agent))))
}

/// Goes through the fields after the time stamp.
struct Cursor<'a> {
    rest: &'a [u8],
    /// Whether any quoted field so far holds a backslash.
    escaped: bool,
}

impl<'a> Cursor<'a> {
    fn skip_spaces(&mut self) {
        while let [b' ', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn at_quote(&mut self) -> bool {
        self.skip_spaces();
        self.rest.first() == Some(&b'"')
    }

    /// The field up to the next space; `None` at the end of the line.
    fn word(&mut self) -> Option<&'a [u8]> {
        self.skip_spaces();
        let end = memchr::memchr(b' ', self.rest).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// The field in quotes that comes next, without them; `missing` when there is none. A quote ends the field only
    /// before a space or at the end of the line, since some servers write quotes inside it as they came.
    fn quoted(&mut self, missing: Reason) -> Result<&'a [u8], Reason> {
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
