//! Envoy's default format in text; its JSON is read with the others'.
//!
//! ```text
//! [2016-04-15T20:17:00.310Z] "POST /a HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "agent" "request id" "host" "tcp://10.0.2.1:80"
//! ```
//!
//! Istio's says more behind the status, why it is what it is, and at the end who was connected:
//!
//! ```text
//! … 418 - via_upstream - "-" 0 135 4 3 "-" "agent" "request id" "host" "10.44.1.23:80" cluster 127.0.0.1:1 10.44.1.23:80 10.44.1.27:37652 …
//! ```

use super::cursor::Cursor;
use super::fields::{self, Unit};
use super::{Encoding, Entry, Format, Parts, Reason, request_line, time};
use crate::address::ClientAddress;
use crate::observation::Request;

pub(super) const FORMATS: &[Format] = &[Format::Envoy];

pub(super) fn read(line: &[u8]) -> Result<Entry<'_>, Reason> {
    let [b'[', rest @ ..] = line else { return Err(Reason::NoTimestamp) };
    let end = memchr::memchr(b']', rest).ok_or(Reason::NoTimestamp)?;
    let at = time::iso(&rest[..end]).ok_or(Reason::NoTimestamp)?;
    let mut cursor = Cursor { rest: &rest[end + 1..], escaped: false };
    let named = request_line::read(cursor.quoted(Reason::NoRequest)?);
    let outcome = fields::status(cursor.word().ok_or(Reason::NoStatus)?)?;
    let _flags = cursor.word().ok_or(Reason::NoSize)?;
    let received = cursor.word().ok_or(Reason::NoSize)?;
    let is_of_istio = fields::integer(received).is_none();
    if is_of_istio {
        let _termination = cursor.word().ok_or(Reason::NoSize)?;
        let _failure = cursor.quoted(Reason::NoSize)?;
        let _received = cursor.word().ok_or(Reason::NoSize)?;
    }
    let mut word = || cursor.word().ok_or(Reason::NoSize);
    let bytes = fields::size(word()?)?;
    let (total, upstream) = (word()?, word()?);
    let mut quoted = || cursor.quoted(Reason::TooFewFields);
    let (forwarded, agent, _id, authority) = (quoted()?, quoted()?, quoted()?, quoted()?);
    // Envoy adds the address that it saw itself at the end.
    let named_client = fields::last_forwarded(forwarded);
    let peer = if is_of_istio { istio_peer(&mut cursor) } else { None };
    let mut parts = Parts {
        at: Some(at),
        client: named_client.or(peer),
        forwarded_for: fields::present(forwarded),
        is_peer: named_client.is_none() && peer.is_some(),
        request: Request {
            host: fields::present(authority).map(request_line::without_port).unwrap_or_default(),
            user_agent: fields::present(agent),
            ..named
        },
        outcome,
        bytes,
        ..Parts::default()
    };
    parts.take_request_time(total, Unit::Milliseconds);
    parts.take_upstream_time(upstream, Unit::Milliseconds);
    parts.into_entry(Format::Envoy, if cursor.escaped { Encoding::Backslash } else { Encoding::Plain })
}

/// Who was connected: behind the upstream, its cluster, and the addresses of this end of both connections.
fn istio_peer(cursor: &mut Cursor<'_>) -> Option<ClientAddress> {
    cursor.quoted(Reason::TooFewFields).ok()?;
    let (_cluster, _upstream_local, _downstream_local) = (cursor.word()?, cursor.word()?, cursor.word()?);
    fields::address_with_port(cursor.word()?)
}
