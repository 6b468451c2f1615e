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
        (Some(_), _) => Further::read(cursor.rest),
        (None, false) => Further::read_behind_common(cursor.rest),
        // One text in quotes behind the common fields may be what a client sent, and says nothing of what follows it.
        (None, true) => Further::default(),
    };
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
    let were_pairs = learnt.numbers.are_pairs();
    let whole =
        further.number.and_then(|number| learnt.numbers.read(number, further.after_number, bytes, named.method));
    let is_no_duration = |word| fields::duration_if_any(word, Unit::Microseconds).is_err();
    let is_misfit = were_pairs && further.number.is_some() && whole.is_none();
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
        ..Parts::default()
    };
    let encoding = if cursor.escaped { Encoding::Backslash } else { Encoding::Plain };
    // Nothing is learnt from what is no line.
    *layout = learnt;
    parts.into_entry(format, encoding)
}

/// What follows the fields of a combined or a common line, as far as it says what it is: nobody names these.
#[derive(Default)]
struct Further<'a> {
    forwarded_for: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    request_time: Option<Duration>,
    upstream_time: Option<Duration>,
    /// A whole number that comes first: only the others of the log tell what it is.
    number: Option<u64>,
    /// A whole number directly behind it.
    after_number: Option<u64>,
    /// What stands in its place and is none.
    no_number: Option<&'a [u8]>,
    is_of_haproxy: bool,
    /// Whether what is named as a time is none.
    is_duration_unreadable: bool,
}

/// Fields that are looked at behind those of a combined or a common line.
const FURTHER_MAX: usize = 32;

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
        if let Some((time, upstream)) = haproxy(cursor.rest) {
            further.request_time = fields::duration(time, Unit::Milliseconds);
            further.upstream_time = fields::duration(upstream, Unit::Milliseconds);
            further.is_of_haproxy = true;
            return further;
        }
        // Traefik: number, "router", "server", milliseconds.
        let last = cursor.rest.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        if let Some(time) = last.strip_suffix(b"ms").and_then(|time| fields::duration(time, Unit::Milliseconds)) {
            further.request_time = Some(time);
            return further;
        }
        let (mut quoted, mut is_behind_number) = (None, false);
        // How many times without a name may still come, one after the other: that of the request, then that of the site.
        let mut unnamed = 2;
        for index in 0..FURTHER_MAX {
            match Field::read(&mut cursor) {
                None => break,
                Some(Field::Named(name, value)) => {
                    further.take_named(name, value, quoted.take());
                    unnamed = 0;
                }
                // nginx: the addresses that the client came by.
                Some(Field::Text(value, true)) if index == 0 => {
                    further.forwarded_for = Some(value).filter(|list| fields::last_forwarded(list).is_some());
                    quoted = Some(value);
                }
                Some(Field::Text(value, is_quoted)) => {
                    if std::mem::take(&mut is_behind_number) && !is_quoted {
                        further.after_number = fields::integer(value);
                    }
                    quoted = Some(value).filter(|_| is_quoted);
                    let has_fraction = memchr::memchr(b'.', value).is_some();
                    match fields::duration(value, Unit::Seconds).filter(|_| has_fraction && unnamed > 0) {
                        Some(time) if unnamed == 2 => (further.request_time, unnamed) = (Some(time), 1),
                        Some(time) => (further.upstream_time, unnamed) = (Some(time), 0),
                        None => {
                            if unnamed == 2 && !is_quoted {
                                further.take_whole(value);
                                is_behind_number = further.number.is_some();
                            }
                            unnamed = 0;
                        }
                    }
                }
            }
        }
        further
    }

    /// Reads what follows a common line. An agent may stand there without quotes, and a client may send any words in it: so nothing
    /// counts behind the first field without a name.
    fn read_behind_common(rest: &'a [u8]) -> Self {
        let mut further = Self::default();
        let mut cursor = Cursor { rest, escaped: false };
        for index in 0..FURTHER_MAX {
            match Field::read(&mut cursor) {
                Some(Field::Named(name, value)) => further.take_named(name, value, None),
                Some(Field::Text(word, false)) if index == 0 => {
                    further.request_time = request_time_of_nginx(word);
                    if further.request_time.is_none() {
                        further.take_whole(word);
                    }
                    break;
                }
                Some(Field::Text(..)) | None => break,
            }
        }
        further
    }

    /// Takes `rt=0.005`, `urt="0.001, 0.250"`, and `sn="…"`, before which `main_ext` of nginx's handbooks has the host in quotes.
    fn take_named(&mut self, name: &[u8], value: &'a [u8], quoted_before: Option<&'a [u8]>) {
        match name {
            b"rt" | b"request_time" => {
                let time = fields::duration_if_any(value, Unit::Seconds);
                self.request_time = time.unwrap_or_default();
                self.is_duration_unreadable |= time.is_err();
            }
            b"ut" | b"urt" | b"upstream_response_time" => {
                let time = fields::duration_if_any(value, Unit::Seconds);
                self.upstream_time = time.unwrap_or_default();
                self.is_duration_unreadable |= time.is_err();
            }
            b"sn" => self.host = quoted_before.filter(|host| *host != b"-").map(request_line::without_port),
            _ => {}
        }
    }

    /// Takes a whole number, or Apache's `%T/%D`, in which the one bears the other out.
    fn take_whole(&mut self, word: &'a [u8]) {
        match memchr::memchr(b'/', word).map(|at| (&word[..at], &word[at + 1..])) {
            None => {
                self.number = fields::integer(word);
                self.no_number = Some(word).filter(|_| self.number.is_none());
            }
            Some((seconds, micros)) => {
                let (Some(seconds), Some(micros)) = (fields::integer(seconds), fields::integer(micros)) else { return };
                if micros / 1_000_000 == seconds {
                    self.request_time = Some(Duration::from_micros(micros));
                }
            }
        }
    }
}

/// A time as nginx's `$request_time` has it, always with three digits behind the point: its `$gzip_ratio` has two.
fn request_time_of_nginx(word: &[u8]) -> Option<Duration> {
    let point = memchr::memchr(b'.', word)?;
    fields::duration(word, Unit::Seconds).filter(|_| word.len() == point + 4)
}

/// A field behind those of a combined or a common line.
enum Field<'a> {
    /// `name=value`, with quotes around the value or without.
    Named(&'a [u8], &'a [u8]),
    /// Any other, and whether it was in quotes.
    Text(&'a [u8], bool),
}

impl<'a> Field<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        if cursor.at_quote() {
            return cursor.quoted(Reason::UnclosedQuote).ok().map(|text| Self::Text(text, true));
        }
        let name = cursor.rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let Some((name, [b'=', value @ ..])) = cursor.rest.split_at_checked(name) else {
            return cursor.word().map(|word| Self::Text(word, false));
        };
        if value.first() == Some(&b'"') {
            cursor.rest = value;
            return cursor.quoted(Reason::UnclosedQuote).ok().map(|value| Self::Named(name, value));
        }
        let word = cursor.word()?;
        Some(Self::Named(name, &word[name.len() + 1..]))
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

/// The times of the request and of the site in what HAProxy (`option httplog clf`) writes after a combined line: port, milliseconds of the
/// time stamp, names of frontend, backend and server, and five times.
fn haproxy(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = rest.split(|byte| *byte == b' ');
    fields::integer(words.next()?)?;
    fields::integer(words.next()?)?;
    let is_quoted = |word: &[u8]| matches!(word, [b'"', .., b'"']);
    let are_names = is_quoted(words.next()?) && is_quoted(words.next()?) && is_quoted(words.next()?);
    let (answer, total) = (words.nth(3)?, words.next()?);
    // What did not come to pass is -1, and a `+` marks what was not over.
    let total = total.strip_prefix(b"+").unwrap_or(total);
    (are_names && fields::integer(total).is_some()).then_some((total, answer))
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

/// `2025-12-31T17:37:40.493035218+01:00]`
const ISO_BYTES_MAX: usize = 36;

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
