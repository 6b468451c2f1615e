//! Undoing what a log did to a request, so that it compares equal to the request that the server received.

use super::Encoding;
use crate::observation::Request;

/// The request as the server received it: what `encoding` did undone and the host in lower case, kept in `buffer`, whose
/// earlier content is dropped. Needed only for an [`Entry`](super::Entry) that is not plain.
pub fn restore<'b>(request: &Request<'_>, encoding: Encoding, buffer: &'b mut Vec<u8>) -> Request<'b> {
    buffer.clear();
    let (of_texts, of_headers): (Undo, Undo) = match encoding {
        Encoding::Plain => (keep, keep),
        Encoding::Backslash => (unescape, unescape),
        Encoding::Json => (unescape_json, unescape_json),
        Encoding::Hash => (unescape_hash, unescape_hash),
        Encoding::PlusHeaders => (keep, spaces_for_plus),
        Encoding::PercentHeaders => (keep, unescape_percent),
        Encoding::JsonPercentHeaders => (unescape_json, unescape_json_and_percent),
    };
    let mut append = |undo: Undo, field: &[u8]| {
        let start = buffer.len();
        undo(field, buffer);
        start..buffer.len()
    };
    let method = append(of_texts, request.method);
    let host = append(of_texts, request.host);
    let path = append(of_texts, request.path);
    let query = request.query.map(|query| append(of_texts, query));
    let user_agent = request.user_agent.map(|agent| append(of_headers, agent));
    let referer = request.referer.map(|referer| append(of_headers, referer));
    let header_order = request.header_order.map(|order| append(of_texts, order));
    let ja4 = request.ja4.map(|ja4| append(of_texts, ja4));
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

/// Appends a field with what was done to it undone.
type Undo = fn(&[u8], &mut Vec<u8>);

fn keep(field: &[u8], buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(field);
}

fn spaces_for_plus(field: &[u8], buffer: &mut Vec<u8>) {
    buffer.extend(field.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }));
}

/// Undoes `%20` and the like.
fn unescape_percent(field: &[u8], buffer: &mut Vec<u8>) {
    unescape_hex(field, b'%', buffer);
}

/// Undoes what JSON does, and then `%20` and the like.
fn unescape_json_and_percent(field: &[u8], buffer: &mut Vec<u8>) {
    let start = buffer.len();
    unescape_json(field, buffer);
    let text = buffer.split_off(start);
    unescape_percent(&text, buffer);
}

/// Undoes `#22` and the like.
fn unescape_hash(field: &[u8], buffer: &mut Vec<u8>) {
    unescape_hex(field, b'#', buffer);
}

/// Undoes two digits behind a mark.
fn unescape_hex(field: &[u8], mark: u8, buffer: &mut Vec<u8>) {
    let mut rest = field;
    while let Some(at) = memchr::memchr(mark, rest) {
        buffer.extend_from_slice(&rest[..at]);
        let code = match &rest[at..] {
            [_, high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        buffer.push(code.map_or(mark, |(high, low)| high << 4 | low));
        rest = &rest[at + if code.is_some() { 3 } else { 1 }..];
    }
    buffer.extend_from_slice(rest);
}

/// Undoes what JSON does in a text. What is no escape of JSON is left as it is.
pub(super) fn unescape_json(field: &[u8], buffer: &mut Vec<u8>) {
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        buffer.extend_from_slice(&rest[..at]);
        let escape = &rest[at..];
        let (byte, used) = match escape.get(1) {
            Some(byte @ (b'"' | b'\\' | b'/')) => (*byte, 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(b'b') => (0x08, 2),
            Some(b'f') => (0x0C, 2),
            Some(b'u') => {
                let (letter, used) = letter(escape);
                match letter {
                    Some(letter) => buffer.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => buffer.extend_from_slice(&escape[..used]),
                }
                rest = &escape[used..];
                continue;
            }
            _ => (b'\\', 1),
        };
        buffer.push(byte);
        rest = &escape[used..];
    }
    buffer.extend_from_slice(rest);
}

/// The letter that `\uHHHH`, or two of them, stand for, and how many bytes that are.
fn letter(escape: &[u8]) -> (Option<char>, usize) {
    let unit = |from: usize| -> Option<u32> {
        let [b'\\', b'u', digits @ ..] = escape.get(from..from + 6)? else { return None };
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | u32::from(hex(*digit)?)))
    };
    match (unit(0), unit(6)) {
        (Some(high @ 0xD800..0xDC00), Some(low @ 0xDC00..0xE000)) => {
            (char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)), 12)
        }
        (Some(unit), _) => (char::from_u32(unit), 6),
        (None, _) => (None, 2),
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
    fn what_json_and_urls_do_is_undone() {
        for (logged, sent) in [
            (r"plain", "plain"),
            (r#"a\"b\\c\/d\n"#, "a\"b\\c/d\n"),
            (r"\u0041\u00e9", "Aé"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83d!", r"\ud83d!"),
            (r"\u12", r"\u12"),
            (r"\", r"\"),
        ] {
            let mut buffer = Vec::new();
            unescape_json(logged.as_bytes(), &mut buffer);
            assert_eq!(String::from_utf8_lossy(&buffer), sent, "{logged}");
        }
        for (logged, sent) in [("a#22b#7Cc#2", "a\"b|c#2"), ("#zz#", "#zz#"), ("#23", "#")] {
            let mut buffer = Vec::new();
            unescape_hash(logged.as_bytes(), &mut buffer);
            assert_eq!(String::from_utf8_lossy(&buffer), sent, "{logged}");
        }
        for (logged, sent) in [("a%20b%2", "a b%2"), ("%zz%", "%zz%"), ("%25", "%")] {
            let mut buffer = Vec::new();
            unescape_percent(logged.as_bytes(), &mut buffer);
            assert_eq!(String::from_utf8_lossy(&buffer), sent, "{logged}");
        }
    }

    #[test]
    fn headers_alone_have_their_spaces_replaced() {
        let logged = Request { path: b"/a+b%20c", user_agent: Some(b"A+(b)"), ..Request::default() };
        let mut buffer = Vec::new();
        let restored = restore(&logged, Encoding::PlusHeaders, &mut buffer);
        assert_eq!((restored.path, restored.user_agent), (&b"/a+b%20c"[..], Some(&b"A (b)"[..])));
        let logged = Request { user_agent: Some(b"A%20(b)"), ..logged };
        let restored = restore(&logged, Encoding::PercentHeaders, &mut buffer);
        assert_eq!((restored.path, restored.user_agent), (&b"/a+b%20c"[..], Some(&b"A (b)"[..])));
    }

    #[test]
    fn headers_within_json_have_both_undone() {
        let logged = Request { path: br"\/a%20b", user_agent: Some(br"A%20\u0026%22\/"), ..Request::default() };
        let mut buffer = Vec::new();
        let restored = restore(&logged, Encoding::JsonPercentHeaders, &mut buffer);
        assert_eq!((restored.path, restored.user_agent), (&b"/a%20b"[..], Some(&b"A &\"/"[..])));
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
        assert_eq!(restore(&logged, Encoding::Backslash, &mut buffer), sent);
    }
}
