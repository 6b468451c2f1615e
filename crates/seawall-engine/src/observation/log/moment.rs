//! When a line was written, also one that is no request: for whoever sorts lines by days.

use super::{Reader, time};
use crate::units::Timestamp;

/// The longest time stamp in brackets.
const BRACKETED_BYTES_MAX: usize = 37;

impl Reader {
    /// When a line, given without its line break, was written: what the time stamp of its format says, else one in brackets, else
    /// one that it begins with, as messages of nginx (`2024/05/01 12:00:01`) and Apache (`[Wed May 01 12:00:01.5 2024]`) do. Times
    /// without a zone are taken for UTC.
    pub fn moment(&mut self, line: &[u8]) -> Option<Timestamp> {
        // The usual case needs no more of the line than this.
        in_brackets(line)
            .or_else(|| self.read(line).map(|entry| entry.observation.at).ok())
            .or_else(|| at_beginning(line))
    }
}

/// The first time stamp in brackets: `[17/May/2015:10:05:03 +0000]`, or as HAProxy and Envoy write it.
fn in_brackets(line: &[u8]) -> Option<Timestamp> {
    memchr::memchr_iter(b'[', line).find_map(|opening| {
        let inside = line.get(opening + 1..)?;
        if !inside.first()?.is_ascii_digit() {
            return None;
        }
        let inside = inside.get(..BRACKETED_BYTES_MAX).unwrap_or(inside);
        let inside = inside.get(..memchr::memchr(b']', inside)?)?;
        inside.try_into().ok().and_then(time::common).or_else(|| time::zoneless(inside)).or_else(|| time::iso(inside))
    })
}

fn at_beginning(line: &[u8]) -> Option<Timestamp> {
    if let [b'[', inside @ ..] = line {
        return of_apache(inside.get(..memchr::memchr(b']', inside)?)?);
    }
    let (day, rest) = line.split_first_chunk::<10>()?;
    // Its time may be followed by a zone, or by words.
    let day = day.map(|byte| if byte == b'/' { b'-' } else { byte });
    let whole = rest.get(1..).and_then(|rest| rest.split(|byte| *byte == b' ').next());
    let whole = whole.map(|word| [&day[..], b"T", word].concat());
    whole.and_then(|text| time::iso(&text)).or_else(|| time::date_and_time(&day, rest.get(1..9)?))
}

/// `Wed May 01 12:00:01.5 2024`
fn of_apache(text: &[u8]) -> Option<Timestamp> {
    let mut words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (_weekday, month, day, clock, year) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let padding: &[u8] = if day.len() == 1 { b"0" } else { b"" };
    let is_whole = words.next().is_none();
    let text = [padding, day, b"/", month, b"/", year, b":", clock].concat();
    time::zoneless(&text).filter(|_| is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_requests_and_lines_that_are_not() {
        for (line, expected) in [
            (r#"192.0.2.1 - - [01/May/2024:14:00:01 +0200] "GET / HTTP/1.1" 200 5"#, true),
            (r#"192.0.2.1 - - [01/May/2024:12:00:01 +0000] "GET / HT"#, true),
            (r#"[01/May/2024:12:00:01 +0000] 444 - GET https 198.51.100.1 "/" [Client 192.0.2.1] [Length 0]"#, true),
            ("192.0.2.1:50033 [01/May/2024:12:00:01.250] in/1: SSL handshake failure", true),
            ("[2024-05-01T12:00:01.250Z] anything", true),
            ("2024/05/01 12:00:01 [error] 7#7: *1 client: 192.0.2.1", true),
            ("2024-05-01 12:00:01 error: client 192.0.2.9:4711", true),
            ("2024-05-01T14:00:01.250+02:00 host nginx: anything", true),
            ("2024-05-01 12:00:01,250 INFO anything", true),
            ("[Wed May 01 12:00:01.902022 2024] [core:error] [pid 7] [client 192.0.2.1:5] anything", true),
            ("[Wed May  1 12:00:01 2024] [error] anything", true),
            (r#"{"msec":1714564801.250,"remote_addr":"192.0.2.1","request":"GET / HTTP/1.1","status":200}"#, true),
            ("1714564801.250    180 192.0.2.224 TCP_MISS/200 411 GET http://example.org/ - DIRECT/- text/html", true),
            ("May  1 12:00:01 host program: no year", false),
            ("[notice] 1234 anything", false),
            ("2024/05/01", false),
            ("2024/13/01 12:00:01 x", false),
            ("", false),
            ("[", false),
        ] {
            let at = Reader::default().moment(line.as_bytes()).map(Timestamp::as_seconds);
            assert_eq!(at, expected.then_some(1_714_564_801), "{line}");
        }
    }

    #[test]
    fn columns_that_a_directive_names_are_remembered() {
        let mut reader = Reader::default();
        assert_eq!(reader.moment(b"#Fields: c-ip cs-uri-stem date time"), None);
        let at = reader.moment(b"192.0.2.1 /a 2024-05-01 12:00:01");
        assert_eq!(at.map(Timestamp::as_seconds), Some(1_714_564_801));
    }
}
