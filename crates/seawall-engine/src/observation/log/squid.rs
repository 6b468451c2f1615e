//! Squid's own access log.
//!
//! ```text
//! 1286536308.779    180 192.0.2.224 TCP_MISS/200 411 GET http://host/path user DIRECT/192.0.2.7 text/html
//! ```

use super::cursor::Cursor;
use super::fields::{self, Unit};
use super::{Encoding, Entry, Format, Parts, Reason, Unrecorded, time};
use crate::observation::log::request_line;
use crate::observation::{Outcome, Request};

pub(super) const FORMATS: &[Format] = &[Format::Squid];

pub(super) fn read(line: &[u8]) -> Result<Entry<'_>, Reason> {
    let mut cursor = Cursor { rest: line, escaped: false };
    let at = cursor.word().filter(|word| memchr::memchr(b'.', word).is_some()).and_then(time::epoch);
    let at = at.ok_or(Reason::NoTimestamp)?;
    let elapsed =
        cursor.word().and_then(|word| fields::duration(word, Unit::Milliseconds)).ok_or(Reason::NoTimestamp)?;
    let client = cursor.word().ok_or(Reason::TooFewFields)?;
    let result = cursor.word().ok_or(Reason::NoStatus)?;
    let status = memchr::memrchr(b'/', result).map(|at| &result[at + 1..]).ok_or(Reason::NoStatus)?;
    let outcome: Outcome = fields::status(status)?;
    let bytes = fields::size(cursor.word().ok_or(Reason::NoSize)?)?;
    let method = cursor.word().ok_or(Reason::NoRequest)?;
    let target = cursor.word().ok_or(Reason::NoRequest)?;
    let request = match (method, target) {
        // Of what is no HTTP it says only what is wrong: `error:transaction-end-before-headers`.
        (_, [b'e', b'r', b'r', b'o', b'r', b':', ..]) => request_line::read(b"-"),
        (b"-" | b"NONE", _) => named(b"", target),
        _ => named(method, target),
    };
    let parts = Parts {
        at: Some(at),
        client: fields::address(client),
        request,
        outcome,
        bytes,
        request_time: Some(elapsed),
        unrecorded: Unrecorded { version: true, ..Unrecorded::default() },
        ..Parts::default()
    };
    parts.into_entry(Format::Squid, Encoding::Plain)
}

fn named<'a>(method: &'a [u8], target: &'a [u8]) -> Request<'a> {
    let (host, path_and_query) = request_line::split_authority(method, target);
    let (path, query) = Request::split_target(path_and_query);
    Request { method, host, path: if path.is_empty() { b"/" } else { path }, query, ..Request::default() }
}
