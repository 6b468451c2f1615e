//! Undoing what a log did to a request, so that it compares equal to the request that the server received.

use crate::observation::Request;

/// The request as the server received it: escapes undone and the host in lower case, kept in `buffer`, whose earlier
/// content is dropped. Needed only for an [`Entry`](super::Entry) that is not verbatim.
pub fn restore<'b>(request: &Request<'_>, buffer: &'b mut Vec<u8>) -> Request<'b> {
    buffer.clear();
    let mut append = |field: &[u8]| {
        let start = buffer.len();
        unescape(field, buffer);
        start..buffer.len()
    };
    let method = append(request.method);
    let host = append(request.host);
    let path = append(request.path);
    let query = request.query.map(&mut append);
    let user_agent = request.user_agent.map(&mut append);
    let referer = request.referer.map(&mut append);
    let header_order = request.header_order.map(&mut append);
    let ja4 = request.ja4.map(&mut append);
    buffer[host.clone()].make_ascii_lowercase();
    let buffer: &'b [u8] = buffer;
    Request {
        method: &buffer[method],
        host: &buffer[host],
        path: &buffer[path],
        query: query.map(|range| &buffer[range]),
        user_agent: user_agent.map(|range| &buffer[range]),
        version: request.version,
        referer: referer.map(|range| &buffer[range]),
        header_order: header_order.map(|range| &buffer[range]),
        ja4: ja4.map(|range| &buffer[range]),
        country: request.country,
        asn: request.asn,
    }
}

/// Appends `field` with `\xHH` (nginx, Apache), `\"`, `\\` and the letters of C (Apache) undone. Anything else after a
/// backslash is left as it is: not every server escapes.
fn unescape(field: &[u8], buffer: &mut Vec<u8>) {
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        buffer.extend_from_slice(&rest[..at]);
        let (byte, used) = match &rest[at..] {
            [_, b'x', high, low, ..] if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => (high << 4 | low, 4),
            [_, b'"', ..] => (b'"', 2),
            [_, b'\\', ..] => (b'\\', 2),
            [_, b'n', ..] => (b'\n', 2),
            [_, b'r', ..] => (b'\r', 2),
            [_, b't', ..] => (b'\t', 2),
            [_, b'b', ..] => (0x08, 2),
            [_, b'v', ..] => (0x0B, 2),
            [_, b'f', ..] => (0x0C, 2),
            _ => (b'\\', 1),
        };
        buffer.push(byte);
        rest = &rest[at + used..];
    }
    buffer.extend_from_slice(rest);
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_each_server_are_undone() {
        for (logged, sent) in [
            (r"plain", b"plain".as_slice()),
            (r"a\x22b\x5Cc", b"a\"b\\c"),
            (r#"a\"b\\c"#, b"a\"b\\c"),
            (r"\xd0\xBF", "п".as_bytes()),
            (r"\n\r\t\b\v\f", b"\n\r\t\x08\x0B\x0C"),
            (r"\x1b[31m", b"\x1b[31m"),
            (r"\xZZ \x4", br"\xZZ \x4"),
            (r"C:\Windows\", br"C:\Windows\"),
            (r"\\x41", br"\x41"),
        ] {
            let mut buffer = Vec::new();
            unescape(logged.as_bytes(), &mut buffer);
            assert_eq!(buffer, sent, "{logged}");
        }
    }

    #[test]
    fn a_whole_request_is_restored() {
        let mut buffer = b"left over".to_vec();
        let logged = Request {
            method: b"GET",
            host: b"WWW.Example.org",
            path: br"/a\x22",
            query: Some(br"q=\x5C"),
            user_agent: Some(br#"say \"hi\""#),
            referer: None,
            ..Request::default()
        };
        let sent = Request {
            host: b"www.example.org",
            path: b"/a\"",
            query: Some(b"q=\\"),
            user_agent: Some(b"say \"hi\""),
            ..logged
        };
        assert_eq!(restore(&logged, &mut buffer), sent);
    }
}
