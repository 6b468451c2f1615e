//! What others write around a server's line: syslog, Docker, the container runtimes of Kubernetes, docker compose.

use super::json::{self, Value};
use super::restore::unescape_json;
use super::time;

/// How far into a line a colon or a bar may end such a prefix.
const PREFIX_BYTES_MAX: usize = 160;

/// What is inside. Docker's own files hold the line as a JSON text, which is written into `buffer`.
pub(super) fn unwrap<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    if line.first() == Some(&b'{') {
        return docker(line, buffer);
    }
    container_runtime(line).or_else(|| syslog(line)).or_else(|| compose(line))
}

/// `{"log":"…\n","stream":"stdout","time":"2025-12-31T17:37:40Z"}`
fn docker<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let mut log = None;
    let mut has_stream = false;
    json::members(line, |key, value| match (key, value) {
        (b"log", Value::Text(text)) => log = Some(text),
        (b"stream", _) => has_stream = true,
        _ => {}
    })?;
    let log = log.filter(|_| has_stream)?;
    buffer.clear();
    unescape_json(log, buffer);
    Some(buffer.trim_ascii_end())
}

/// `2025-12-31T17:37:40.493035218+01:00 stdout F …`, as CRI has it.
fn container_runtime(line: &[u8]) -> Option<&[u8]> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let (at, stream, kind, rest) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let is_ours = matches!(stream, b"stdout" | b"stderr") && matches!(kind, b"F" | b"P");
    (is_ours && time::iso(at).is_some()).then_some(rest)
}

/// RFC 3164 (`<134>Feb 25 16:19:49 host program[7]: …`), with or without priority, RFC 5424
/// (`<134>1 2025-12-31T17:37:40Z host program 7 - - …`), and what rsyslog writes into files
/// (`2025-12-31T17:37:40+01:00 host program[7]: …`).
fn syslog(line: &[u8]) -> Option<&[u8]> {
    let rest = match line {
        [b'<', rest @ ..] => {
            let end = rest.iter().take(4).position(|byte| *byte == b'>')?;
            if !rest[..end].iter().all(u8::is_ascii_digit) {
                return None;
            }
            &rest[end + 1..]
        }
        rest => rest,
    };
    if let Some(rest) = rest.strip_prefix(b"1 ") {
        return structured(rest);
    }
    let after_time = match month_day_time(rest) {
        Some(rest) => rest,
        None => {
            let end = memchr::memchr(b' ', rest)?;
            time::iso(&rest[..end])?;
            &rest[end + 1..]
        }
    };
    // The host, then the program up to its colon.
    let host_end = memchr::memchr(b' ', after_time)?;
    let program = after_time.get(host_end + 1..)?;
    let colon = memchr::memmem::find(&program[..program.len().min(PREFIX_BYTES_MAX)], b": ")?;
    let is_name = program[..colon].iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
    is_name.then(|| program[colon + 2..].trim_ascii_start())
}

/// What follows time, host, program, process, message kind and structured data of RFC 5424.
fn structured(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    for number in 0..5 {
        let end = memchr::memchr(b' ', rest)?;
        if number == 0 && &rest[..end] != b"-" {
            time::iso(&rest[..end])?;
        }
        rest = &rest[end + 1..];
    }
    loop {
        match rest {
            [b'-', rest @ ..] => return Some(without_mark(rest)),
            [b'[', ..] => {
                let mut from = 1;
                // A bracket within a value is escaped.
                loop {
                    let at = from + memchr::memchr2(b']', b'\\', rest.get(from..)?)?;
                    if rest[at] == b']' {
                        rest = &rest[at + 1..];
                        break;
                    }
                    from = at + 2;
                }
                if rest.first() != Some(&b'[') {
                    return Some(without_mark(rest));
                }
            }
            _ => return None,
        }
    }
}

/// The space before a message, and the mark that says it is UTF-8.
fn without_mark(message: &[u8]) -> &[u8] {
    let message = message.trim_ascii_start();
    message.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(message)
}

/// What follows `Feb 25 16:19:49 `.
fn month_day_time(text: &[u8]) -> Option<&[u8]> {
    let (stamp, rest) = text.split_first_chunk::<16>()?;
    let [m1, m2, m3, b' ', b' ' | b'1'..=b'3', b'0'..=b'9', b' ', _, _, b':', _, _, b':', _, _, b' '] = stamp else {
        return None;
    };
    [m1, m2, m3].iter().all(|byte| byte.is_ascii_alphabetic()).then_some(rest)
}

/// `name  | …`, as docker compose shows logs.
fn compose(line: &[u8]) -> Option<&[u8]> {
    let bar = memchr::memmem::find(&line[..line.len().min(PREFIX_BYTES_MAX)], b" | ")?;
    let name = line[..bar].trim_ascii_end();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!name.is_empty() && name.iter().all(is_name)).then(|| &line[bar + 3..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_found() {
        for (line, inside) in [
            ("2025-12-31T17:37:40.49+01:00 stdout F inside", Some("inside")),
            ("2025-12-31T17:37:40.49+01:00 stdlog F inside", None),
            ("<134>Feb 25 16:19:49 host program[7]: inside", Some("inside")),
            ("Feb  5 16:19:49 host program: inside: more", Some("inside: more")),
            ("2025-12-31T17:37:40+01:00 host program[7]: inside", Some("inside")),
            ("<134>1 2025-12-31T17:37:40Z host program 7 - - inside", Some("inside")),
            ("<134>1 - - - - - [a b=\"c\\]\"][d] \u{feff}inside", Some("inside")),
            ("<134>1 2025-12-31T17:37:40Z host program 7 -", None),
            ("caddy  | inside", Some("inside")),
            ("a b | inside", None),
            (r#"{"log":"in\"side\u0041\n","stream":"stdout","time":"2025-12-31T17:37:40Z"}"#, Some("in\"sideA")),
            (r#"{"log":"inside"}"#, None),
            ("", None),
            ("<", None),
            ("<9999999>Feb 25 16:19:49 host program: inside", None),
        ] {
            let mut buffer = Vec::new();
            let found = unwrap(line.as_bytes(), &mut buffer).map(|inside| String::from_utf8_lossy(inside).into_owned());
            assert_eq!(found.as_deref(), inside, "{line}");
        }
    }
}
