//! The matchable part of a request, borrowed from wherever its head lies.

/// What a client asked, as bytes: what comes from outside need not be UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method, as sent.
    pub method: &'a [u8],
    /// The host in lower case, without port; empty when none was sent.
    pub host: &'a [u8],
    /// The path, without query; never empty for a well-formed request (`*` for `OPTIONS *`).
    pub path: &'a [u8],
    /// What follows the `?`, without it; `None` when there is no `?`.
    pub query: Option<&'a [u8]>,
    /// The HTTP version.
    pub version: Version,
    /// The `User-Agent` header.
    pub user_agent: Option<&'a [u8]>,
    /// The `Referer` header.
    pub referer: Option<&'a [u8]>,
    /// The names of the headers in the order sent; `None` when the source does not know.
    pub header_order: Option<&'a [u8]>,
    /// The JA4 fingerprint of the TLS handshake; `None` when the source does not know.
    pub ja4: Option<&'a [u8]>,
    /// The country of the client's network, two capital letters; `None` when it is not known.
    pub country: Option<[u8; 2]>,
    /// The autonomous system of the client's network; `None` when it is not known.
    pub asn: Option<u32>,
}

impl<'a> Request<'a> {
    /// Splits a request target in origin form (`/path?query`) at the `?`.
    pub fn split_target(target: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        }
    }
}

/// The version of HTTP that a request came with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// A request line without version, as HTTP/0.9 has it.
    Http09,
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
    /// HTTP/3
    Http3,
}

impl Version {
    /// As request lines write it: `HTTP/1.1`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http09 => "HTTP/0.9",
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
            Self::Http3 => "HTTP/3.0",
        }
    }

    /// From what a request line or log writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"HTTP/0.9" => Some(Self::Http09),
            b"HTTP/1.0" => Some(Self::Http10),
            b"HTTP/1.1" => Some(Self::Http11),
            b"HTTP/2.0" | b"HTTP/2" => Some(Self::Http2),
            b"HTTP/3.0" | b"HTTP/3" => Some(Self::Http3),
            _ => None,
        }
    }
}
