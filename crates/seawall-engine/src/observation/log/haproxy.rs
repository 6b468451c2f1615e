//! HAProxy's HTTP log (`option httplog`), also behind its syslog prefix.
//!
//! ```text
//! 192.0.2.1:53332 [25/Feb/2019:16:19:48.143] front~ back/server 0/0/7/1457/1487 200 11394 - - ---- 2/1/0/0/0 0/0 {agent} "GET / HTTP/1.1"
//! ```

use super::cursor::Cursor;
use super::fields::{self, Unit};
use super::{Encoding, Entry, Format, Parts, Reason, request_line, time};
use crate::observation::{Outcome, Request, Version};

pub(super) const FORMATS: &[Format] = &[Format::Haproxy];

/// The fields between the size and the captured headers or the request: cookies, state, connections, queues.
const FIELDS_BEFORE_CAPTURES: usize = 5;

pub(super) fn read(line: &[u8]) -> Result<Entry<'_>, Reason> {
    let mut cursor = Cursor { rest: line, escaped: false };
    // Over a socket of this machine come clients without an address.
    let client = match cursor.word() {
        Some(word) if word.starts_with(b"unix:") => None,
        word => Some(word.and_then(fields::address_with_port).ok_or(Reason::NoTimestamp)?),
    };
    let accepted = cursor.word().and_then(|word| word.strip_prefix(b"[")?.strip_suffix(b"]"));
    let at = time::zoneless(accepted.ok_or(Reason::NoTimestamp)?).ok_or(Reason::WrongTimestamp)?;
    let (_frontend, _backend) = (cursor.word(), cursor.word().ok_or(Reason::NotARequest)?);
    let times = cursor.word().ok_or(Reason::NotARequest)?;
    // Tq/Tw/Tc/Tr/Tt; what did not come to pass is -1, and a `+` marks what was not over.
    let mut times = times.split(|byte| *byte == b'/').map(|time| time.strip_prefix(b"+").unwrap_or(time));
    let (answer, total) = (times.nth(3).ok_or(Reason::NotARequest)?, times.next().ok_or(Reason::NotARequest)?);
    let outcome = match cursor.word().ok_or(Reason::NoStatus)? {
        b"-1" => Outcome::Arrived,
        status => fields::status(status)?,
    };
    let size = cursor.word().ok_or(Reason::NoSize)?;
    let bytes = fields::size(size.strip_prefix(b"+").unwrap_or(size))?;
    for _ in 0..FIELDS_BEFORE_CAPTURES {
        cursor.word().ok_or(Reason::NoRequest)?;
    }
    let user_agent = captured_agent(&mut cursor);
    let named = match cursor.quoted(Reason::NoRequest) {
        Ok(line) => request_line::read(line),
        Err(Reason::UnclosedQuote) => cut_request(&cursor.rest[1..]),
        Err(reason) => return Err(reason),
    };
    let parts = Parts {
        at: Some(at),
        client,
        request: Request { user_agent, ..named },
        outcome,
        bytes,
        request_time: fields::duration(total, Unit::Milliseconds),
        upstream_time: fields::duration(answer, Unit::Milliseconds),
        ..Parts::default()
    };
    let Request { path, query, user_agent, .. } = parts.request;
    let texts = [Some(path), query, user_agent];
    let is_escaped = texts.into_iter().flatten().any(|text| memchr::memchr(b'#', text).is_some());
    parts.into_entry(Format::Haproxy, if is_escaped { Encoding::Hash } else { Encoding::Plain })
}

/// What is left of a request at the end of a line that was cut, as HAProxy does with its own at 1,024 bytes: whoever asks for a long target
/// would else not be counted. A version that is not whole is none.
fn cut_request(line: &[u8]) -> Request<'_> {
    let version_start = memchr::memrchr(b' ', line).filter(|at| is_cut_version(&line[at + 1..]));
    let line = &line[..version_start.unwrap_or(line.len())];
    Request { version: Version::default(), ..request_line::read(line) }
}

fn is_cut_version(word: &[u8]) -> bool {
    word.starts_with(b"HTTP/") || b"HTTP/".starts_with(word)
}

/// What looks like a user agent among the headers that the configuration captures, which have no names here: `{a|b} {c}`.
fn captured_agent<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let mut agent = None;
    cursor.skip_spaces();
    while let [b'{', rest @ ..] = cursor.rest {
        let Some(end) = memchr::memchr(b'}', rest) else { break };
        let mut captures = rest[..end].split(|byte| *byte == b'|');
        agent = agent.or_else(|| captures.find(|capture| is_like_an_agent(capture)));
        cursor.rest = &rest[end + 1..];
        cursor.skip_spaces();
    }
    agent
}

/// A product and its version, no address of a page.
fn is_like_an_agent(capture: &[u8]) -> bool {
    let product = memchr::memchr(b'/', capture).map(|end| &capture[..end]);
    product.is_some_and(|product| {
        !product.is_empty() && product.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    })
}
