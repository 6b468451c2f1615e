//! Amazon's load balancers (application and classic) and S3; its CloudFront writes W3C extended logs.
//!
//! ```text
//! https 2023-04-26T12:23:00.186641Z app/name/id 192.0.2.1:44740 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://host:443/ HTTP/1.1" "agent" …
//! 2015-05-13T23:39:43.945958Z name 192.0.2.1:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 "GET http://host:80/ HTTP/1.1" "agent" - -
//! owner bucket [06/Feb/2019:00:00:38 +0000] 192.0.2.3 requester id REST.GET.OBJECT key "GET /key HTTP/1.1" 200 - 2662992 3462992 70 10 "referer" "agent" -
//! ```

use super::cursor::Cursor;
use super::fields::{self, Unit};
use super::{Encoding, Entry, Format, Parts, Reason, request_line, time};
use crate::observation::Request;

pub(super) const LOAD_BALANCER_FORMATS: &[Format] = &[Format::AwsLoadBalancer];
pub(super) const S3_FORMATS: &[Format] = &[Format::AwsS3];

/// How an application load balancer names what a request came by, before the time.
const KINDS: [&[u8]; 6] = [b"http", b"https", b"h2", b"grpcs", b"ws", b"wss"];

/// Reads a line of a load balancer.
pub(super) fn read_load_balancer(line: &[u8]) -> Result<Entry<'_>, Reason> {
    let mut cursor = Cursor { rest: line, escaped: false };
    let mut first = cursor.word().ok_or(Reason::NoTimestamp)?;
    if KINDS.contains(&first) {
        first = cursor.word().ok_or(Reason::NoTimestamp)?;
    }
    let at = time::iso(first).ok_or(Reason::NoTimestamp)?;
    let mut word = || cursor.word().ok_or(Reason::TooFewFields);
    let (_name, client, _target) = (word()?, word()?, word()?);
    let times = [word()?, word()?, word()?].map(|time| fields::duration(time, Unit::Seconds));
    let outcome = fields::status(word()?)?;
    let (_status_of_target, _received) = (word()?, word()?);
    let bytes = fields::size(cursor.word().ok_or(Reason::NoSize)?)?;
    let named = request(cursor.quoted(Reason::NoRequest)?);
    let agent = cursor.quoted(Reason::TooFewFields)?;
    let parts = Parts {
        at: Some(at),
        client: fields::address_with_port(client),
        request: Request { user_agent: fields::present(agent), ..named },
        is_peer: false,
        outcome,
        bytes,
        request_time: times.iter().copied().sum(),
        upstream_time: times[1],
        ..Parts::default()
    };
    parts.into_entry(Format::AwsLoadBalancer, if cursor.escaped { Encoding::Backslash } else { Encoding::Plain })
}

/// What a load balancer writes of a request. Of one that is malformed it knows nothing but where it came: `- http://host:80- -`; of a
/// connection that is no HTTP not even that: `- - - `.
fn request(line: &[u8]) -> Request<'_> {
    let malformed = line.strip_prefix(b"- ").and_then(|rest| rest.trim_ascii_end().strip_suffix(b"- -"));
    let Some(address) = malformed else { return request_line::read(line) };
    let (host, _) = request_line::split_authority(b"", address);
    Request { host, ..request_line::read(b"-") }
}

/// Reads a line of S3's server access log.
pub(super) fn read_s3(line: &[u8]) -> Result<Entry<'_>, Reason> {
    let mut cursor = Cursor { rest: line, escaped: false };
    let (_owner, bucket) = (cursor.word().ok_or(Reason::NoTimestamp)?, cursor.word().ok_or(Reason::NoTimestamp)?);
    cursor.skip_spaces();
    let rest = cursor.rest.strip_prefix(b"[").ok_or(Reason::NoTimestamp)?;
    let (text, rest) = rest.split_first_chunk().ok_or(Reason::NoTimestamp)?;
    let at = time::common(text).ok_or(Reason::NoTimestamp)?;
    cursor.rest = rest.strip_prefix(b"]").ok_or(Reason::NoTimestamp)?;
    let mut word = || cursor.word().ok_or(Reason::TooFewFields);
    let client = word()?;
    // What S3 did by itself has no client.
    if client != b"-" && fields::address(client).is_none() {
        return Err(Reason::NoTimestamp);
    }
    let (_requester, _id, _operation, _key) = (word()?, word()?, word()?, word()?);
    let named = request_line::read(cursor.quoted(Reason::NotARequest)?);
    let outcome = fields::status(cursor.word().ok_or(Reason::NoStatus)?)?;
    let _error = cursor.word().ok_or(Reason::NoSize)?;
    let bytes = fields::size(cursor.word().ok_or(Reason::NoSize)?)?;
    let mut word = || cursor.word().ok_or(Reason::TooFewFields);
    let (_object_size, total, turn_around) = (word()?, word()?, word()?);
    let referer = cursor.quoted(Reason::TooFewFields)?;
    let agent = cursor.quoted(Reason::TooFewFields)?;
    let parts = Parts {
        at: Some(at),
        client: fields::address(client),
        request: Request {
            host: if named.host.is_empty() { bucket } else { named.host },
            user_agent: fields::present(agent),
            referer: fields::present(referer),
            ..named
        },
        is_peer: false,
        outcome,
        bytes,
        request_time: fields::duration(total, Unit::Milliseconds),
        upstream_time: fields::duration(turn_around, Unit::Milliseconds),
        ..Parts::default()
    };
    parts.into_entry(Format::AwsS3, if cursor.escaped { Encoding::Backslash } else { Encoding::Plain })
}
