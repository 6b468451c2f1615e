//! The head of an answer on its way to the client: read strictly, and written anew.

use std::io::Write as _;

use super::super::answers::DATE_BYTES;
use super::super::headers::{self, Kind};
use super::body::Body;
use super::request::write_line;

/// Headers in one answer.
const HEADERS_MAX: usize = 256;

/// What is asked for, and how the client's connection goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// An answer to HEAD has no body, whatever it says.
    pub(super) is_head_request: bool,
    /// Whether the client's connection ends with this answer.
    pub(super) closes: bool,
    /// The present date, for answers that have none.
    pub(super) date: [u8; DATE_BYTES],
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Bytes from the start of what was received to the end of the head.
    pub(super) length: usize,
    /// The body that follows.
    pub(super) body: Body,
    /// Whether the upstream keeps its connection.
    pub(super) keep_alive: bool,
}

/// What the headers say of framing and connection.
#[derive(Default)]
struct Survey {
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
    keeps: bool,
    names_options: bool,
    has_date: bool,
}

/// Reads the head of the answer that `received` begins with, past interim ones, and writes the client's to `text`. None
/// while it is not complete.
///
/// # Errors
/// Why it is none, or none that can be read in one way only.
pub(super) fn translate(received: &[u8], asked: &Asked, text: &mut Vec<u8>) -> Result<Option<Answer>, &'static str> {
    let mut start = 0;
    loop {
        let mut room = [const { std::mem::MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let rest = received.get(start..).unwrap_or_default();
        let config = httparse::ParserConfig::default();
        let length = match config.parse_response_with_uninit_headers(&mut response, rest, &mut room) {
            Ok(httparse::Status::Complete(length)) => start + length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err("it has more than 256 headers"),
            Err(_) => return Err("it is no HTTP"),
        };
        let status = response.code.unwrap_or_default();
        match status {
            101 => return Err("it changes to another protocol, which nobody asked for"),
            // Early hints and the like: the guard waits for the answer itself.
            100..=199 => start = length,
            200..=999 => {
                let is_http_1_1 = response.version == Some(1);
                let survey = survey(response.headers, is_http_1_1)?;
                let body = match (survey.is_chunked, survey.length) {
                    _ if asked.is_head_request || matches!(status, 204 | 304) => Body::none(),
                    (true, _) => Body::chunked(),
                    (false, Some(length)) => Body::of_length(length),
                    (false, None) => Body::until_close(),
                };
                write(&response, &survey, &body, asked, text);
                // A length beside a coding is no message to trust the connection with (RFC 9112, section 6.1).
                let has_both = survey.is_chunked && survey.length.is_some();
                let is_kept = !survey.closes && (is_http_1_1 || survey.keeps);
                let keep_alive = is_kept && !has_both && !body.ends_with_connection();
                return Ok(Some(Answer { status, length, body, keep_alive }));
            }
            _ => return Err("its status is none"),
        }
    }
}

fn survey(headers: &[httparse::Header<'_>], is_http_1_1: bool) -> Result<Survey, &'static str> {
    let mut survey = Survey::default();
    for header in headers {
        match Kind::of_any_case(header.name) {
            Kind::ContentLength => {
                // The same one several times is one (RFC 9110, section 8.6).
                for length in headers::options(header.value) {
                    let length = headers::decimal(length).ok_or("its length is none")?;
                    if survey.length.replace(length).is_some_and(|other| other != length) {
                        return Err("it has two lengths");
                    }
                }
            }
            Kind::TransferEncoding => {
                let is_chunked = header.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                if survey.is_chunked || !is_chunked || !is_http_1_1 {
                    return Err("its body is coded other than by being chunked");
                }
                survey.is_chunked = true;
            }
            Kind::Connection => {
                for option in headers::options(header.value) {
                    match () {
                        () if option.eq_ignore_ascii_case(b"close") => survey.closes = true,
                        () if option.eq_ignore_ascii_case(b"keep-alive") => survey.keeps = true,
                        () => survey.names_options = true,
                    }
                }
            }
            _ => survey.has_date |= header.name.eq_ignore_ascii_case("date"),
        }
    }
    Ok(survey)
}

fn write(response: &httparse::Response<'_, '_>, survey: &Survey, body: &Body, asked: &Asked, text: &mut Vec<u8>) {
    let (status, reason) = (response.code.unwrap_or_default(), response.reason.unwrap_or_default());
    // Writing to memory does not fail.
    let _ = write!(text, "HTTP/1.1 {status} {reason}\r\n");
    for header in response.headers.iter() {
        let kind = Kind::of_any_case(header.name);
        let is_named = || survey.names_options && is_named_by_connection(response.headers, header.name);
        if kind.is_of_one_connection() || kind == Kind::ContentLength || is_named() {
            continue;
        }
        write_line(header.name.as_bytes(), header.value, text);
    }
    if body.needs_chunks() {
        write_line(b"Transfer-Encoding", b"chunked", text);
    } else if let Some(length) = survey.length.filter(|_| status != 204 && !survey.is_chunked) {
        let _ = write!(text, "Content-Length: {length}\r\n");
    }
    if !survey.has_date {
        write_line(b"Date", &asked.date, text);
    }
    if asked.closes {
        write_line(b"Connection", b"close", text);
    }
    text.extend_from_slice(b"\r\n");
}

fn is_named_by_connection(headers: &[httparse::Header<'_>], name: &str) -> bool {
    let connection = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection"));
    connection
        .flat_map(|header| headers::options(header.value))
        .any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(is_head_request: bool, closes: bool) -> Asked {
        Asked { is_head_request, closes, date: *b"Sun, 06 Nov 1994 08:49:37 GMT" }
    }

    /// What becomes of an answer's head: what the client gets, and whether the connection is kept.
    fn check(received: &str, asked: &Asked, expected: &str, keeps: bool) {
        let mut text = Vec::new();
        let answer = translate(received.as_bytes(), asked, &mut text);
        let answer = answer.unwrap_or_else(|why| panic!("{received:?}: {why}")).expect("a whole head");
        assert_eq!(String::from_utf8_lossy(&text), expected, "{received:?}");
        assert_eq!(answer.keep_alive, keeps, "{received:?}");
        let head_end = received.rfind("\r\n\r\n").expect("an end") + 4;
        assert_eq!(answer.length, head_end, "{received:?}");
    }

    #[test]
    fn an_answer_is_written_anew() {
        let plain = asked(false, false);
        check(
            "HTTP/1.1 200 Fine\r\ndate: x\r\nX-A: b\r\nContent-Length: 3\r\nKeep-Alive: 5\r\n\r\n",
            &plain,
            "HTTP/1.1 200 Fine\r\ndate: x\r\nX-A: b\r\nContent-Length: 3\r\n\r\n",
            true,
        );
        check(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nDate: x\r\nContent-Length: 0\r\n\r\n",
            &plain,
            "HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n",
            true,
        );
        check(
            "HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close, x-gone\r\nX-Gone: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            &plain,
            "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
        );
        check(
            "HTTP/1.0 200 OK\r\n\r\n",
            &asked(false, true),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\n",
            false,
        );
        check(
            "HTTP/1.0 200 OK\r\nDate: x\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n",
            &plain,
            "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 3\r\n\r\n",
            true,
        );
    }

    #[test]
    fn an_answer_to_head_tells_the_length_and_has_no_body() {
        let text = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 3\r\n\r\n";
        check(text, &asked(true, false), text, true);
        let coded = "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(coded, &asked(true, false), "HTTP/1.1 200 OK\r\nDate: x\r\n\r\n", true);
    }

    #[test]
    fn a_coding_overrides_a_length_and_ends_the_connection() {
        check(
            "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            &asked(false, false),
            "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for received in [
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 99 Few\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3,\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        ] {
            let mut text = Vec::new();
            let answer = translate(received.as_bytes(), &asked(false, false), &mut text);
            assert!(answer.is_err(), "{received:?}");
            assert!(text.is_empty(), "{received:?}");
        }
    }

    #[test]
    fn a_part_of_a_head_is_none() {
        let whole = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        for length in 0..whole.len() {
            let mut text = Vec::new();
            let answer = translate(&whole.as_bytes()[..length], &asked(false, false), &mut text);
            assert!(matches!(answer, Ok(None)), "{length}");
            assert!(text.is_empty(), "{length}");
        }
    }
}
