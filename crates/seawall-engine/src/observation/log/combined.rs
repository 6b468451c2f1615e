//! The common log format and what grew from it: combined, and both behind a virtual host.
//!
//! ```text
//! [vhost[:port] ]client identity user [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5120[ "referer" "user agent"][ …]
//! ```

use super::cursor::Cursor;
use super::fields::{self, Unit};
use super::further::{Further, is_plausible};
use super::layout::{Layout, Parties};
use super::{Encoding, Entry, Format, Parts, Reason, request_line, time};
use crate::observation::Request;
use crate::units::Timestamp;

/// The formats that [`read`] tells apart.
pub(super) const FORMATS: &[Format] = &[Format::Combined, Format::Common, Format::VhostCombined, Format::VhostCommon];

/// Reads a line of any of [`FORMATS`].
pub(super) fn read<'a>(line: &'a [u8], layout: &mut Layout) -> Result<Entry<'a>, Reason> {
    // OpenLiteSpeed takes the quotes around its format for a part of it, and has them around each line.
    let bare = line.strip_prefix(b"\"").map(|inside| inside.strip_suffix(b"\"").unwrap_or(inside));
    match bare {
        None => read_bare(line, layout),
        // A host that a client made up may begin with one as well; then the client stands behind it.
        Some(bare) => read_bare(bare, layout).or_else(|reason| {
            let mut learnt = *layout;
            let entry = read_bare(line, &mut learnt).ok().filter(|entry| entry.observation.client.is_some());
            let entry = entry.ok_or(reason)?;
            *layout = learnt;
            Ok(entry)
        }),
    }
}

fn read_bare<'a>(line: &'a [u8], layout: &mut Layout) -> Result<Entry<'a>, Reason> {
    let (before, at, after) = split_at_timestamp(line)?;
    let mut learnt = *layout;
    let Parties { host: vhost, client, forwarded_for, is_peer } = learnt.read(before)?;
    let mut cursor = Cursor { rest: after, escaped: false };
    let request_line = cursor.quoted(Reason::NoRequest)?;
    let outcome = fields::status(cursor.word().ok_or(Reason::NoStatus)?)?;
    let bytes = fields::size(cursor.word().ok_or(Reason::NoSize)?)?;
    let has_quotes = cursor.at_quote();
    let headers = read_headers(&mut cursor)?;
    let (mut referer, mut user_agent) = headers.unwrap_or_default();
    let further = match (headers, has_quotes) {
        (Some(_), _) => Further::read(cursor.rest, learnt.further_begins_with_text),
        (None, false) => Further::read_behind_common(cursor.rest),
        // One text in quotes behind the common fields may be what a client sent, and says nothing of what follows it.
        (None, true) => Further::default(),
    };
    learnt.further_begins_with_text |= further.begins_with_text;
    if further.is_of_haproxy {
        // It has quotes with nothing between them where others have these.
        referer = referer.and_then(fields::present);
        user_agent = user_agent.and_then(fields::present);
    }
    let vhost = vhost.or(further.host);

    let named = request_line::read(request_line);
    // A target that names its host overrules the Host header (RFC 9112, section 3.2.2).
    let host = if named.host.is_empty() { vhost.unwrap_or_default() } else { named.host };
    let format = match (vhost.is_some(), headers.is_some()) {
        (false, false) => Format::Common,
        (false, true) => Format::Combined,
        (true, false) => Format::VhostCommon,
        (true, true) => Format::VhostCombined,
    };
    let were_times = learnt.numbers.are_times();
    let whole =
        further.number.and_then(|number| learnt.numbers.read(number, further.after_number, bytes, named.method));
    let whole = whole.filter(is_plausible);
    let is_no_duration = |word| fields::duration_if_any(word, Unit::Microseconds).is_err();
    let is_misfit = were_times && further.number.is_some() && whole.is_none();
    let is_no_time = is_misfit || learnt.numbers.are_times() && further.no_number.is_some_and(is_no_duration);
    let parts = Parts {
        at: Some(at),
        client,
        forwarded_for: forwarded_for.or(further.forwarded_for),
        is_peer,
        request: Request { host, user_agent, referer, ..named },
        outcome,
        bytes,
        request_time: further.request_time.or(whole),
        upstream_time: further.upstream_time,
        is_duration_unreadable: further.is_duration_unreadable || is_no_time,
        has_unknown_number: further.ends_with_number && whole.is_none() && !is_no_time,
        ..Parts::default()
    };
    let encoding = if cursor.escaped { Encoding::Backslash } else { Encoding::Plain };
    // Nothing is learnt from what is no line.
    *layout = learnt;
    parts.into_entry(format, encoding)
}

/// What lies before the time stamp, the time stamp, and what follows it. The time stamp is the only field whose place is
/// certain: those before it may hold spaces (users do), or be fewer than they should. A host or a user may look like one, but no client has
/// a bare quote written, so the one before the quoted request is the server's.
fn split_at_timestamp(line: &[u8]) -> Result<(&[u8], Timestamp, &[u8]), Reason> {
    let mut reason = Reason::NoTimestamp;
    let mut first = None;
    for opening in memchr::memchr_iter(b'[', line) {
        let Some((at, after)) = timestamp(&line[opening + 1..], &mut reason) else { continue };
        let found = (&line[..opening], at, after);
        if (Cursor { rest: after, escaped: false }).at_quote() {
            return Ok(found);
        }
        first = first.or(Some(found));
    }
    first.ok_or(reason)
}

/// The time stamp that a text behind a bracket begins with, and what follows its own.
#[inline]
fn timestamp<'a>(text: &'a [u8], reason: &mut Reason) -> Option<(Timestamp, &'a [u8])> {
    if let Some((common, [b']', after @ ..])) = text.split_first_chunk::<{ time::COMMON_BYTES }>() {
        if let Some(at) = time::common(common) {
            return Some((at, after));
        }
        if time::is_common_shape(common) {
            *reason = Reason::WrongTimestamp;
        }
    }
    if !text.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let end = memchr::memchr(b']', text.get(..ISO_BYTES_MAX).unwrap_or(text))?;
    let inside = &text[..end];
    // `$time_iso8601`, `$msec`
    let at = if text.get(4) == Some(&b'-') { time::iso(inside) } else { time::epoch(inside) };
    Some((at?, &text[end + 1..]))
}

/// `2025-12-31 17:37:40.493035218 +01:00]`
const ISO_BYTES_MAX: usize = 37;

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
