//! Nginx Proxy Manager, for sites that it passes on and for those that it answers itself.
//!
//! ```text
//! [24/Jan/2022:16:51:02 +0000] MISS 404 404 - GET http host "/path" [Client 192.0.2.1] [Length 192] [Gzip 3.10] [Sent-to server] "agent" "referer"
//! [24/Jan/2022:13:40:19 +0000] 444 - GET https host "/path" [Client 192.0.2.1] [Length 0] [Gzip -] "agent" "referer"
//! ```

use super::cursor::Cursor;
use super::{Encoding, Entry, Format, Parts, Reason, Unrecorded, fields, request_line, time};
use crate::observation::Request;

pub(super) const FORMATS: &[Format] = &[Format::ProxyManager];

pub(super) fn read(line: &[u8]) -> Result<Entry<'_>, Reason> {
    let [b'[', rest @ ..] = line else { return Err(Reason::NoTimestamp) };
    let (text, rest) = rest.split_first_chunk().ok_or(Reason::NoTimestamp)?;
    let at = time::common(text).ok_or(Reason::NoTimestamp)?;
    let mut cursor = Cursor { rest: rest.strip_prefix(b"]").ok_or(Reason::NoTimestamp)?, escaped: false };
    let mut word = || cursor.word().ok_or(Reason::NoStatus);
    // What the cache did comes first where there is one, and then the status of the site after the client's own.
    let first = word()?;
    if first.starts_with(b"\"") {
        return Err(Reason::NoTimestamp);
    }
    let outcome = match fields::status(first) {
        Ok(outcome) if first != b"-" => outcome,
        _ => {
            let (_of_site, own) = (word()?, word()?);
            fields::status(own)?
        }
    };
    let _nobody = word()?;
    let (method, _scheme, host) = (word()?, word()?, word()?);
    let target = cursor.quoted(Reason::NoRequest)?;
    let client = fields::address(bracketed(&mut cursor, b"Client ").ok_or(Reason::TooFewFields)?);
    let bytes = fields::size(bracketed(&mut cursor, b"Length ").ok_or(Reason::NoSize)?)?;
    while bracketed(&mut cursor, b"").is_some() {}
    let agent = cursor.quoted(Reason::TooFewFields)?;
    let referer = cursor.quoted(Reason::TooFewFields)?;
    let (path, query) = Request::split_target(target);
    let parts = Parts {
        at: Some(at),
        client,
        request: Request {
            method,
            host: request_line::without_port(host),
            path,
            query,
            user_agent: fields::present(agent),
            referer: fields::present(referer),
            ..Request::default()
        },
        outcome,
        bytes,
        unrecorded: Unrecorded { version: true, ..Unrecorded::default() },
        ..Parts::default()
    };
    parts.into_entry(Format::ProxyManager, if cursor.escaped { Encoding::Backslash } else { Encoding::Plain })
}

/// What follows `name` in the brackets that come next.
fn bracketed<'a>(cursor: &mut Cursor<'a>, name: &[u8]) -> Option<&'a [u8]> {
    cursor.skip_spaces();
    let rest = cursor.rest.strip_prefix(b"[")?.strip_prefix(name)?;
    // An IPv6 address with a port has brackets of its own.
    let end = memchr::memmem::find(rest, b"] ")?;
    cursor.rest = &rest[end + 1..];
    Some(&rest[..end])
}
