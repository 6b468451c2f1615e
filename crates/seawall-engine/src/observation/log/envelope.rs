//! What others write around a server's line: syslog, the systemd journal, Docker, the container runtimes of Kubernetes, docker compose,
//! kubectl, and the times that their tools put before lines.

use super::json::{self, Value};
use super::restore::unescape_json;
use super::time;
use crate::units::Timestamp;

/// How far into a line a colon or a bar may end such a prefix.
const PREFIX_BYTES_MAX: usize = 160;

/// What is inside. Docker's own files and the journal hold the line as a JSON text, which is written into `buffer`.
pub(super) fn unwrap<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    if line.first() == Some(&b'{') {
        return if docker(line, buffer).is_some() || journal(line, buffer).is_some() {
            Some(buffer.trim_ascii_end())
        } else {
            None
        };
    }
    container_runtime(line)
        .map(|entry| entry.text)
        .or_else(|| syslog(line))
        .or_else(|| compose(line))
        .or_else(|| kubectl(line))
}

/// What a container runtime writes of a line, or of a part of one.
pub(super) struct ContainerEntry<'a> {
    /// When it was written; not looked at in Docker's own files.
    pub(super) at: Option<Timestamp>,
    /// 0 is standard output, 1 is standard error.
    pub(super) stream: usize,
    /// With its line break, where it has one.
    pub(super) text: &'a [u8],
    /// Whether it is marked as a part that others follow.
    pub(super) is_partial: bool,
}

fn stream(name: &[u8]) -> Option<usize> {
    match name {
        b"stdout" => Some(0),
        b"stderr" => Some(1),
        _ => None,
    }
}

/// `{"log":"…\n","stream":"stdout","time":"2025-12-31T17:37:40Z"}`
pub(super) fn docker<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<ContainerEntry<'a>> {
    let (mut log, mut name) = (None, None);
    json::members(line, |key, value| match (key, value) {
        (b"log", Value::Text(text)) => log = Some(text),
        (b"stream", Value::Text(text)) => name = Some(text),
        _ => {}
    })?;
    let (log, stream) = (log?, stream(name?)?);
    buffer.clear();
    unescape_json(log, buffer);
    Some(ContainerEntry { at: None, stream, text: buffer, is_partial: false })
}

/// What an entry of the systemd journal says of the line in it.
pub(super) struct JournalEntry<'a> {
    /// What names the stream that the line came by; empty where nothing does.
    pub(super) stream: &'a [u8],
    /// Whether the journal cut the line there since it is long (`LineMax=` of journald.conf, 48 KiB).
    pub(super) is_partial: bool,
}

/// `{"__CURSOR":"…","MESSAGE":"…",…}`, as `journalctl -o json` writes entries: the text of one line, which is written into `buffer`.
pub(super) fn journal<'a>(line: &'a [u8], buffer: &mut Vec<u8>) -> Option<JournalEntry<'a>> {
    let (mut message, mut is_entry) = (None, false);
    let (mut stream, mut is_partial) = (&b""[..], false);
    json::members(line, |key, value| match (key, value) {
        (b"MESSAGE", value) => message = Some(value),
        (b"_STREAM_ID", Value::Text(name)) => stream = name,
        (b"_LINE_BREAK", Value::Text(how)) => is_partial = how == b"line-max",
        (b"__CURSOR" | b"__REALTIME_TIMESTAMP", _) => is_entry = true,
        _ => {}
    })?;
    buffer.clear();
    match message.filter(|_| is_entry)? {
        Value::Text(text) => unescape_json(text, buffer),
        // What is no UTF-8 is written as numbers.
        Value::List(bytes) => {
            let mut are_bytes = true;
            json::elements(bytes, |byte| match byte {
                Value::Bare(number) => match str::from_utf8(number).ok().and_then(|number| number.parse().ok()) {
                    Some(byte) => buffer.push(byte),
                    None => are_bytes = false,
                },
                _ => are_bytes = false,
            })?;
            if !are_bytes {
                return None;
            }
        }
        _ => return None,
    }
    // Several lines would be several requests, and an entry is one.
    memchr::memchr(b'\n', buffer.trim_ascii_end()).is_none().then_some(JournalEntry { stream, is_partial })
}

/// `2025-12-31T17:37:40.493035218+01:00 stdout F …`, as CRI has it.
pub(super) fn container_runtime(line: &[u8]) -> Option<ContainerEntry<'_>> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let (at, name, kind, text) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let stream = stream(name).filter(|_| matches!(kind, b"F" | b"P"))?;
    time::iso(at).map(|at| ContainerEntry { at: Some(at), stream, text, is_partial: kind == b"P" })
}

/// RFC 3164 (`<134>Feb 25 16:19:49 host program[7]: …`), with or without priority, and without the host, as HAProxy (`format local`, its
/// default) and nginx (`nohostname`) send it; RFC 5424 (`<134>1 2025-12-31T17:37:40Z host program 7 - - …`); what rsyslog writes into files
/// (`2025-12-31T17:37:40+01:00 host program[7]: …`). Also less of it, with a program or without: a time alone (`docker logs -t`,
/// `kubectl logs --timestamps`, HAProxy's `format iso` and `timed`), or a priority alone (its `short` and `priority`).
fn syslog(line: &[u8]) -> Option<&[u8]> {
    let (has_priority, rest) = match line {
        [b'<', rest @ ..] => (true, behind_priority(rest)?),
        rest => (false, rest),
    };
    if let Some(rest) = rest.strip_prefix(b"1 ") {
        return structured(rest);
    }
    if let Some(rest) = month_day_time(rest) {
        return behind_program(rest).or_else(|| behind_host(rest));
    }
    if let Some(rest) = behind_time(rest) {
        return behind_program(rest).or_else(|| behind_host(rest)).or(Some(rest));
    }
    has_priority.then(|| behind_program(rest).unwrap_or(rest))
}

/// Whether a line begins as the name of a host might: with a priority of syslog, or with the name of a pod.
pub(super) fn looks_like_host(line: &[u8]) -> bool {
    line.strip_prefix(b"<").and_then(behind_priority).is_some() || kubectl(line).is_some()
}

/// What follows `134>`, which is no space.
fn behind_priority(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().take(4).position(|byte| *byte == b'>').filter(|end| *end > 0)?;
    let (priority, rest) = (&text[..end], &text[end + 1..]);
    (priority.iter().all(u8::is_ascii_digit) && !rest.starts_with(b" ")).then_some(rest)
}

/// What follows `program[7]: `, without a host before it.
fn behind_program(text: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b' ', &text[..text.len().min(PREFIX_BYTES_MAX)])?;
    let program = text[..end].strip_suffix(b":")?;
    // A host that is an IPv6 address may end in a colon too.
    let is_program = !program.is_empty() && is_name(program) && memchr::memchr(b':', program).is_none();
    is_program.then(|| text[end..].trim_ascii_start())
}

/// What follows `host program[7]: `.
fn behind_host(text: &[u8]) -> Option<&[u8]> {
    let host_end = memchr::memchr(b' ', text)?;
    let program = text.get(host_end + 1..)?;
    let colon = memchr::memmem::find(&program[..program.len().min(PREFIX_BYTES_MAX)], b": ")?;
    is_name(&program[..colon]).then(|| program[colon + 2..].trim_ascii_start())
}

fn is_name(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"')
}

/// What follows `2025-12-31T17:37:40.493035218+01:00 `.
fn behind_time(text: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b' ', text)?;
    time::iso(&text[..end]).map(|_| &text[end + 1..])
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

/// `name  | …`, as docker compose shows logs, with times or without.
fn compose(line: &[u8]) -> Option<&[u8]> {
    let bar = memchr::memmem::find(&line[..line.len().min(PREFIX_BYTES_MAX)], b" | ")?;
    let name = line[..bar].trim_ascii_end();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let inside = &line[bar + 3..];
    (!name.is_empty() && name.iter().all(is_name)).then(|| behind_time(inside).unwrap_or(inside))
}

/// `[pod/name/container] …`, as `kubectl logs --prefix` shows logs, with times or without.
fn kubectl(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"[pod/")?;
    let end = memchr::memmem::find(&rest[..rest.len().min(2 * PREFIX_BYTES_MAX)], b"] ")?;
    let is_name = |name: &[u8]| {
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    };
    let (pod, container) = rest.split_at_checked(memchr::memchr(b'/', &rest[..end])?)?;
    let inside = &rest[end + 2..];
    (is_name(pod) && is_name(&container[1..end - pod.len()])).then(|| behind_time(inside).unwrap_or(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_found() {
        for (line, inside) in [
            ("2025-12-31T17:37:40.49+01:00 stdout F inside", Some("inside")),
            ("2025-12-31T17:37:40.49+01:00 stdlog F inside", Some("stdlog F inside")),
            ("<134>Feb 25 16:19:49 host program[7]: inside", Some("inside")),
            ("Feb  5 16:19:49 host program: inside: more", Some("inside: more")),
            ("2025-12-31T17:37:40+01:00 host program[7]: inside", Some("inside")),
            ("<134>Feb 25 16:19:49 program[7]: inside: more", Some("inside: more")),
            ("Feb  5 16:19:49 program: inside", Some("inside")),
            ("<134>Feb 25 16:19:49 2001:db8:: program: inside", Some("inside")),
            ("<134>Feb 25 16:19:49 host inside", None),
            ("2025-12-31T17:37:40+01:00 program[7]: inside", Some("inside")),
            ("<6>2025-12-31T17:37:40.493035+01:00 inside", Some("inside")),
            ("2025-12-31T17:37:40.493035218Z inside more", Some("inside more")),
            (r#"2025-12-31T17:37:40Z {"a": 1, "b": 2}"#, Some(r#"{"a": 1, "b": 2}"#)),
            ("2025-12-31T17:37:40 : inside", Some(": inside")),
            ("2025-12-31T25:37:40Z inside", None),
            ("<134>program[7]: inside", Some("inside")),
            ("<6>inside more", Some("inside more")),
            ("<>inside", None),
            ("<6> inside", None),
            ("<a>inside", None),
            ("program: inside", None),
            ("<134>1 2025-12-31T17:37:40Z host program 7 - - inside", Some("inside")),
            ("<134>1 - - - - - [a b=\"c\\]\"][d] \u{feff}inside", Some("inside")),
            ("<134>1 2025-12-31T17:37:40Z host program 7 -", None),
            ("caddy  | inside", Some("inside")),
            ("web-1  | 2025-12-31T17:37:40.493035218Z inside more", Some("inside more")),
            ("a b | inside", None),
            ("[pod/web-7d9c-x2x/nginx] inside more", Some("inside more")),
            ("[pod/web-7d9c-x2x/nginx] 2025-12-31T17:37:40.493035218Z inside more", Some("inside more")),
            ("[pod/web/nginx]inside", None),
            ("[pod/web] inside", None),
            ("[pod/web/] inside", None),
            ("[pod//nginx] inside", None),
            ("[pod/we b/nginx] inside", None),
            (r#"{"log":"in\"side\u0041\n","stream":"stdout","time":"2025-12-31T17:37:40Z"}"#, Some("in\"sideA")),
            (r#"{"log":"inside"}"#, None),
            (r#"{"__CURSOR":"s=1","PRIORITY":"6","MESSAGE":"in\"side \u00e9"}"#, Some("in\"side é")),
            (r#"{"MESSAGE":[105,110,255,115],"__REALTIME_TIMESTAMP":"1767199060493035"}"#, Some("in\u{fffd}s")),
            (r#"{"__CURSOR":"s=1","MESSAGE":[105,300]}"#, None),
            (r#"{"__CURSOR":"s=1","MESSAGE":["inside","inside"]}"#, None),
            (r#"{"__CURSOR":"s=1","MESSAGE":"in\nside"}"#, None),
            (r#"{"__CURSOR":"s=1","MESSAGE":null}"#, None),
            (r#"{"__CURSOR":"s=1"}"#, None),
            (r#"{"MESSAGE":"inside"}"#, None),
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
