//! The common log format and what grew from it: combined, and both behind a virtual host.
//!
//! ```text
//! [vhost[:port] ]client identity user [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5120[ "referer" "user agent"][ …]
//! ```

use std::time::Duration;

use super::cursor::Cursor;
use super::fields::{self, Unit};
use super::layout::{Layout, Parties};
use super::{Encoding, Entry, Format, Parts, Reason, request_line, time};
use crate::observation::Request;
use crate::units::Timestamp;

/// The formats that [`read`] tells apart.
pub(super) const FORMATS: &[Format] = &[Format::Combined, Format::Common, Format::VhostCombined, Format::VhostCommon];

/// Reads a line of any of [`FORMATS`].
pub(super) fn read<'a>(line: &'a [u8], layout: &mut Layout) -> Result<Entry<'a>, Reason> {
    let (before, at, after) = split_at_timestamp(line)?;
    let mut learnt = *layout;
    let Parties { host: vhost, client, forwarded_for, is_peer } = learnt.read(before)?;
    let mut cursor = Cursor { rest: after, escaped: false };
    let request_line = cursor.quoted(Reason::NoRequest)?;
    let outcome = fields::status(cursor.word().ok_or(Reason::NoStatus)?)?;
    let bytes = fields::size(cursor.word().ok_or(Reason::NoSize)?)?;
    let headers = read_headers(&mut cursor)?;
    let (referer, user_agent) = headers.unwrap_or_default();

    let named = request_line::read(request_line);
    // A target that names its host overrules the Host header (RFC 9112, section 3.2.2).
    let host = if named.host.is_empty() { vhost.unwrap_or_default() } else { named.host };
    let format = match (vhost.is_some(), headers.is_some()) {
        (false, false) => Format::Common,
        (false, true) => Format::Combined,
        (true, false) => Format::VhostCommon,
        (true, true) => Format::VhostCombined,
    };
    let further = if headers.is_some() { Further::read(cursor.rest) } else { Further::default() };
    let parts = Parts {
        at: Some(at),
        client,
        forwarded_for: forwarded_for.or(further.forwarded_for),
        is_peer,
        request: Request { host, user_agent, referer, ..named },
        outcome,
        bytes,
        request_time: further.request_time,
        upstream_time: further.upstream_time,
    };
    let encoding = if cursor.escaped { Encoding::Backslash } else { Encoding::Plain };
    // Nothing is learnt from what is no line.
    *layout = learnt;
    parts.into_entry(format, encoding)
}

/// What follows the fields of a combined line, as far as it says what it is: nobody names these.
#[derive(Default)]
struct Further<'a> {
    forwarded_for: Option<&'a [u8]>,
    request_time: Option<Duration>,
    upstream_time: Option<Duration>,
}

impl<'a> Further<'a> {
    fn read(rest: &'a [u8]) -> Self {
        let mut further = Self::default();
        let mut cursor = Cursor { rest, escaped: false };
        cursor.skip_spaces();
        if cursor.rest.is_empty() {
            return further;
        }
        // ingress-nginx: length, time, [upstream], [alternative], addresses, lengths, times, statuses, number.
        if let Some((time, upstream)) = ingress(cursor.rest) {
            further.request_time = fields::duration(time, Unit::Seconds);
            further.upstream_time = fields::duration(upstream, Unit::Seconds);
            return further;
        }
        // Traefik: number, "router", "server", milliseconds.
        let last = cursor.rest.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        if let Some(time) = last.strip_suffix(b"ms").and_then(|time| fields::duration(time, Unit::Milliseconds)) {
            further.request_time = Some(time);
            return further;
        }
        // nginx: the addresses that the client came by, in quotes; then seconds with a fraction, of the request and of the site.
        if cursor.at_quote() {
            let Ok(field) = cursor.quoted(Reason::UnclosedQuote) else { return further };
            if fields::last_forwarded(field).is_some() {
                further.forwarded_for = Some(field);
            }
        }
        for time in [&mut further.request_time, &mut further.upstream_time] {
            let Some(word) = cursor.word() else { break };
            // `rt=0.005`, `"0.005"`: a name before it, or quotes around it.
            let number = word.rsplit(|byte| *byte == b'=').next().unwrap_or_default();
            let number = number.strip_prefix(b"\"").unwrap_or(number);
            let number = number.strip_suffix(b"\"").unwrap_or(number);
            if memchr::memchr(b'.', number).is_none() {
                break;
            }
            *time = fields::duration(number, Unit::Seconds);
        }
        further
    }
}

/// The times of the request and of the site in what ingress-nginx writes after a combined line.
fn ingress(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = rest.split(|byte| *byte == b' ');
    let (length, time, name, alternative) = (words.next()?, words.next()?, words.next()?, words.next()?);
    fields::integer(length)?;
    let is_bracketed = |word: &[u8]| word.starts_with(b"[") && word.ends_with(b"]");
    if !is_bracketed(name) || !is_bracketed(alternative) {
        return None;
    }
    words.nth(1)?;
    Some((time, words.next()?))
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
