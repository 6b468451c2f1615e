//! Reads a request head far enough to judge it, and refuses whatever is ambiguous.
//!
//! It decides whether a message is clear enough to be let near a site (RFC 9112, section 11.2). What has a body is read again
//! by hyper before it is forwarded, so this never decides how a body is framed upstream.

use std::mem::MaybeUninit;

use seawall_engine::observation::{HeaderOrder, Request, Version};

use super::headers;

/// Headers in one request; browsers send about fifteen.
const HEADERS_MAX: usize = 100;

/// A host name has at most 253 characters (RFC 1035), a port five, a colon one.
const HOST_BYTES_MAX: usize = 253;

/// Why a head is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    /// It is not HTTP, or can be read in more than one way: 400.
    Malformed,
    /// It is larger than allowed: 431.
    TooLarge,
}

/// A complete head, borrowed from the buffer that it was read into.
pub(super) struct Head<'a> {
    /// Bytes from the start of the buffer to the end of the head.
    pub(super) length: usize,
    /// Whether the client expects the connection to stay open after the answer.
    pub(super) keep_alive: bool,
    /// The body that follows.
    pub(super) body: BodyLength,
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
    host: Host,
    user_agent: Option<&'a [u8]>,
    referer: Option<&'a [u8]>,
    header_order: HeaderOrder,
    has_length: bool,
    /// It asks for more than an answer, or says more of its connection than whether it stays.
    is_special: bool,
    headers: &'a [httparse::Header<'a>],
}

/// Room for the headers of one request. It is the caller's, so that it is neither cleared nor moved.
pub(super) type HeaderRoom<'a> = [MaybeUninit<httparse::Header<'a>>; HEADERS_MAX];

/// Room that holds nothing yet.
pub(super) const fn header_room<'a>() -> HeaderRoom<'a> {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

/// What a head says of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// There is none.
    None,
    /// This many bytes.
    Known(u64),
    /// Chunked.
    Chunked,
}

/// A host in lower case, without port and final dot, on the stack.
#[derive(Clone, Copy)]
pub(super) struct Host {
    bytes: [u8; HOST_BYTES_MAX],
    length: usize,
}

/// Remembers how much of a growing buffer has been looked at, so that a head sent byte by byte costs no more than one
/// sent at once.
#[derive(Default)]
pub(super) struct HeadScanner {
    scanned: usize,
}

impl HeadScanner {
    /// Whether `buffer` holds a whole head.
    ///
    /// # Errors
    /// As soon as it is certain that no acceptable head will come of it.
    pub(super) fn is_complete(&mut self, buffer: &[u8]) -> Result<bool, HeadError> {
        let first = self.scanned == 0;
        let start = self.scanned.saturating_sub(3);
        for at in memchr::memchr_iter(b'\n', &buffer[start..]).map(|at| start + at) {
            if at == 0 || buffer[at - 1] != b'\r' {
                return Err(HeadError::Malformed);
            }
            if at >= 3 && buffer[at - 2] == b'\n' {
                return Ok(true);
            }
        }
        self.scanned = buffer.len();
        if first {
            // Not HTTP at all, as a TLS hello, is told from its first bytes.
            let mut headers = header_room();
            let mut request = httparse::Request::new(&mut []);
            request.parse_with_uninit_headers(buffer, &mut headers).map_err(head_error)?;
        }
        Ok(false)
    }
}

impl<'a> Head<'a> {
    /// Parses a buffer that begins with a complete head.
    ///
    /// # Errors
    /// When the head is not acceptable.
    pub(super) fn parse(buffer: &'a [u8], room: &'a mut HeaderRoom<'a>) -> Result<Self, HeadError> {
        let mut request = httparse::Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(buffer, room) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Err(HeadError::Malformed),
            Err(error) => return Err(head_error(error)),
        };
        let version = match request.version {
            Some(0) => Version::Http10,
            Some(1) => Version::Http11,
            _ => return Err(HeadError::Malformed),
        };
        let (Some(method), Some(target)) = (request.method, request.path) else { return Err(HeadError::Malformed) };
        let mut head = Self {
            length,
            keep_alive: version == Version::Http11,
            body: BodyLength::None,
            method: method.as_bytes(),
            target: target.as_bytes(),
            version,
            host: Host::default(),
            user_agent: None,
            referer: None,
            header_order: HeaderOrder::default(),
            has_length: false,
            is_special: false,
            headers: request.headers,
        };
        head.read_headers()?;
        Ok(head)
    }

    /// The matchable part.
    pub(super) fn request(&self) -> Request<'_> {
        let (path, query) = Request::split_target(self.target);
        Request {
            method: self.method,
            host: self.host.as_bytes(),
            path,
            query,
            version: self.version,
            user_agent: self.user_agent,
            referer: self.referer,
            header_order: Some(self.header_order.as_bytes()),
            ..Request::default()
        }
    }

    /// Whether the guard sends it on by itself: HTTP/1.1, no body, a path that holds nothing unusual, and no wish for
    /// anything but an answer.
    pub(super) fn is_plain(&self) -> bool {
        let is_usual = |byte: &u8| matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'Z' | b'_' | b'a'..=b'z' | b'~');
        self.version == Version::Http11
            && self.body == BodyLength::None
            && !self.is_special
            && matches!(self.target, [b'/', ..])
            && self.target.iter().all(is_usual)
    }

    /// The method.
    pub(super) const fn method(&self) -> &'a [u8] {
        self.method
    }

    /// The path and the query.
    pub(super) const fn target(&self) -> &'a [u8] {
        self.target
    }

    /// Whether it says how long its body is.
    pub(super) const fn has_length(&self) -> bool {
        self.has_length
    }

    /// Every header, in the order sent.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// The values of the headers of this name, in the order sent.
    pub(super) fn values<'h>(&'h self, name: &'h str) -> impl DoubleEndedIterator<Item = &'a [u8]> + 'h {
        self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    fn read_headers(&mut self) -> Result<(), HeadError> {
        let mut host = None;
        let mut length = None;
        let mut chunked = false;
        for header in self.headers {
            let (name, value) = (header.name, header.value);
            self.header_order.push(name.as_bytes());
            // Told apart by length first: comparing every name with each of these would cost more than all the rest.
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => once(&mut host, value)?,
                6 if name.eq_ignore_ascii_case("expect") => self.is_special = true,
                // Of several the first counts, as for hyper, which reads the later requests of a connection.
                7 if name.eq_ignore_ascii_case("referer") => self.referer = self.referer.or(Some(value)),
                7 if name.eq_ignore_ascii_case("upgrade") => self.is_special = true,
                10 if name.eq_ignore_ascii_case("user-agent") => self.user_agent = self.user_agent.or(Some(value)),
                10 if name.eq_ignore_ascii_case("connection") => self.read_connection(value),
                14 if name.eq_ignore_ascii_case("content-length") => once(&mut length, value)?,
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    if chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                        return Err(HeadError::Malformed);
                    }
                    chunked = true;
                }
                _ => {}
            }
        }
        self.has_length = length.is_some();
        self.body = match (length, chunked) {
            (None, false) => BodyLength::None,
            (Some(length), false) => match headers::decimal(length).ok_or(HeadError::Malformed)? {
                0 => BodyLength::None,
                length => BodyLength::Known(length),
            },
            (None, true) if self.version == Version::Http11 => BodyLength::Chunked,
            _ => return Err(HeadError::Malformed),
        };
        self.read_target(host)
    }

    fn read_connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.keep_alive = false;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive |= self.version == Version::Http10;
            } else {
                self.is_special = true;
            }
        }
    }

    /// Settles host and path. A target in absolute form (`http://host/path`) names the host, and the Host header must
    /// then say the same.
    fn read_target(&mut self, host: Option<&'a [u8]>) -> Result<(), HeadError> {
        if host.is_none() && self.version == Version::Http11 {
            return Err(HeadError::Malformed);
        }
        if let Some(host) = host {
            self.host = Host::parse(host)?;
        }
        // A fragment never leaves a browser; hyper would cut it off, and forward another path than the one judged. CONNECT
        // asks for a tunnel, which is nothing to judge.
        if memchr::memchr(b'#', self.target).is_some() || self.method == b"CONNECT" {
            return Err(HeadError::Malformed);
        }
        match self.target {
            [b'/', ..] => Ok(()),
            b"*" if self.method == b"OPTIONS" => Ok(()),
            target => {
                let scheme_end = memchr::memmem::find(target, b"://").ok_or(HeadError::Malformed)?;
                let scheme = &target[..scheme_end];
                if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
                    return Err(HeadError::Malformed);
                }
                let rest = &target[scheme_end + 3..];
                let path_start = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
                let named = Host::parse(&rest[..path_start])?;
                if host.is_some() && named.as_bytes() != self.host.as_bytes() {
                    return Err(HeadError::Malformed);
                }
                self.is_special = true;
                self.host = named;
                self.target = match &rest[path_start..] {
                    [b'/', ..] => &rest[path_start..],
                    _ => b"/",
                };
                Ok(())
            }
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self { bytes: [0; HOST_BYTES_MAX], length: 0 }
    }
}

impl Host {
    /// Reads a Host header or authority: lower case, without port, without the final dot of a full name.
    ///
    /// # Errors
    /// When it holds what no host holds, or credentials.
    pub(super) fn parse(value: &[u8]) -> Result<Self, HeadError> {
        let value = value.trim_ascii();
        let name_end = match value {
            [b'[', ..] => memchr::memchr(b']', value).ok_or(HeadError::Malformed)? + 1,
            _ => memchr::memchr(b':', value).unwrap_or(value.len()),
        };
        let (name, port) = value.split_at(name_end);
        let is_port = matches!(port, [] | [b':', ..]) && port.iter().skip(1).all(u8::is_ascii_digit);
        let is_host_byte =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b']' | b':' | b'~');
        let name = name.strip_suffix(b".").unwrap_or(name);
        if !is_port || port.len() > 6 || !name.iter().all(is_host_byte) {
            return Err(HeadError::Malformed);
        }
        let mut host = Self { bytes: [0; HOST_BYTES_MAX], length: name.len() };
        let kept = host.bytes.get_mut(..name.len()).ok_or(HeadError::Malformed)?;
        kept.copy_from_slice(name);
        kept.make_ascii_lowercase();
        Ok(host)
    }

    /// The name; empty when none was given.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8]) -> Result<(), HeadError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(HeadError::Malformed),
    }
}

fn head_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooLarge,
        _ => HeadError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `text` and hands what was read to `check`.
    fn parse<T>(text: &str, check: impl FnOnce(&Head<'_>) -> T) -> Result<T, HeadError> {
        let mut scanner = HeadScanner::default();
        assert!(scanner.is_complete(text.as_bytes())?, "{text:?} is not a whole head");
        let mut room = header_room();
        Head::parse(text.as_bytes(), &mut room).map(|head| check(&head))
    }

    fn error(text: &str) -> Option<HeadError> {
        parse(text, |_| ()).err()
    }

    #[test]
    fn a_browser_request_is_read_whole() {
        let text = "GET /a/b?c=d HTTP/1.1\r\nHost: Example.ORG.:8080\r\nUser-Agent: curl/8\r\n\
                    Referer: http://a/\r\nX-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 192.0.2.2\r\n\r\nrest";
        let read = parse(text, |head| {
            let request = head.request();
            assert_eq!(request.host, b"example.org");
            assert_eq!((request.path, request.query), (&b"/a/b"[..], Some(&b"c=d"[..])));
            assert_eq!(request.user_agent, Some(&b"curl/8"[..]));
            assert_eq!(request.referer, Some(&b"http://a/"[..]));
            assert_eq!(head.length, text.len() - 4);
            assert!(head.keep_alive);
            let forwarded: Vec<&[u8]> = head.values("X-Forwarded-For").collect();
            assert_eq!(forwarded, [b"192.0.2.1", b"192.0.2.2"]);
        });
        assert_eq!(read, Ok(()));
    }

    #[test]
    fn whatever_is_ambiguous_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a:port\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(error(text), Some(HeadError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn odd_but_clear_requests_are_accepted() {
        for (text, path, host) in [
            ("GET / HTTP/1.0\r\n\r\n", "/", ""),
            ("GET http://A.example:80/x HTTP/1.1\r\nHost: a.example\r\n\r\n", "/x", "a.example"),
            ("GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", "/", "a.example"),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", "a"),
            ("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "/", "[::1]"),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "/", ""),
        ] {
            let read = parse(text, |head| {
                assert_eq!(head.request().path, path.as_bytes());
                assert_eq!(head.request().host, host.as_bytes());
            });
            assert_eq!(read, Ok(()), "{text:?}");
        }
    }

    #[test]
    fn of_several_user_agents_the_first_counts() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: one\r\nUser-Agent: two\r\n\r\n";
        let read = parse(text, |head| assert_eq!(head.request().user_agent, Some(&b"one"[..])));
        assert_eq!(read, Ok(()));
    }

    #[test]
    fn a_head_that_dribbles_in_is_scanned_once() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut scanner = HeadScanner::default();
        for end in 1..text.len() {
            assert_eq!(scanner.is_complete(&text[..end]), Ok(false), "{end}");
        }
        assert_eq!(scanner.is_complete(text), Ok(true));
    }

    #[test]
    fn what_is_not_http_is_told_at_once() {
        assert_eq!(HeadScanner::default().is_complete(b"\x16\x03\x01\x02\x00\x01"), Err(HeadError::Malformed));
        assert_eq!(HeadScanner::default().is_complete(b"\0\0\0"), Err(HeadError::Malformed));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX));
        assert_eq!(error(&many), Some(HeadError::TooLarge));
    }

    #[test]
    fn bodies_are_known_by_their_head() {
        for (header, expected) in [
            ("Content-Length: 0", BodyLength::None),
            ("Content-Length: 12", BodyLength::Known(12)),
            ("Transfer-Encoding: Chunked", BodyLength::Chunked),
            ("Connection: close", BodyLength::None),
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
            let read = parse(&text, |head| (head.body, head.keep_alive));
            assert_eq!(read, Ok((expected, header != "Connection: close")), "{text:?}");
        }
    }
}
