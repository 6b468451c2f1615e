//! Envoy's default format in text; its JSON is read with the others'.
//!
//! ```text
//! [2016-04-15T20:17:00.310Z] "POST /a HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "agent" "request id" "host" "tcp://10.0.2.1:80"
//! ```

use super::cursor::Cursor;
use super::fields::{self, Unit};
use super::{Encoding, Entry, Format, Parts, Reason, request_line, time};
use crate::observation::Request;

pub(super) const FORMATS: &[Format] = &[Format::Envoy];

pub(super) fn read(line: &[u8]) -> Result<Entry<'_>, Reason> {
    let [b'[', rest @ ..] = line else { return Err(Reason::NoTimestamp) };
    let end = memchr::memchr(b']', rest).ok_or(Reason::NoTimestamp)?;
    let at = time::iso(&rest[..end]).ok_or(Reason::NoTimestamp)?;
    let mut cursor = Cursor { rest: &rest[end + 1..], escaped: false };
    let named = request_line::read(cursor.quoted(Reason::NoRequest)?);
    let outcome = fields::status(cursor.word().ok_or(Reason::NoStatus)?)?;
    let mut word = || cursor.word().ok_or(Reason::NoSize);
    let (_flags, _received) = (word()?, word()?);
    let bytes = fields::size(word()?)?;
    let (total, upstream) = (word()?, word()?);
    let mut quoted = || cursor.quoted(Reason::TooFewFields);
    let (forwarded, agent, _id, authority) = (quoted()?, quoted()?, quoted()?, quoted()?);
    let parts = Parts {
        at: Some(at),
        // Envoy adds the address that it saw itself at the end.
        client: fields::last_forwarded(forwarded),
        forwarded_for: fields::present(forwarded),
        is_peer: false,
        request: Request {
            host: fields::present(authority).map(request_line::without_port).unwrap_or_default(),
            user_agent: fields::present(agent),
            ..named
        },
        outcome,
        bytes,
        request_time: fields::duration(total, Unit::Milliseconds),
        upstream_time: fields::duration(upstream, Unit::Milliseconds),
    };
    parts.into_entry(Format::Envoy, if cursor.escaped { Encoding::Backslash } else { Encoding::Plain })
}
