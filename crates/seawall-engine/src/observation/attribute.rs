//! The attributes of a request that a rule can match, and how each is read off it.
//!
//! The gate matches with the same functions that detection mines with, so a rule hits exactly what its evidence counted.
//! An attribute is either *single* (a request has one value or none) or a *set* (a request has several; a condition
//! asks for one of them). To add an attribute: a variant here, its text name, its arm in [`each_value`].

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use super::path_template::path_template;

use super::Request;
use crate::address::ClientAddress;

/// The longest value of any attribute that is kept or compared, in bytes, and how much of a query or a referer is looked at
/// for it. Longer ones are cut here, the same way in the gate and in detection.
pub const VALUE_BYTES_MAX: usize = 256;

/// The same for the method; the longest that is registered has 17 characters (`UPDATEREDIRECTREF`).
pub const METHOD_BYTES_MAX: usize = 24;

/// How many path levels count as prefixes: `/a/`, `/a/b/`, `/a/b/c/`.
pub const PATH_LEVELS_MAX: usize = 3;

/// How many words of a user agent are considered; real ones have fewer than twenty.
pub const USER_AGENT_WORDS_MAX: usize = 20;

/// How many query keys are considered, in the order sent.
pub const QUERY_KEYS_MAX: usize = 16;

/// Something about a request that a rule can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    /// The method, as sent.
    Method,
    /// The host, lower case, without port.
    Host,
    /// The exact path, without query.
    Path,
    /// The path with what machines write in it collapsed, as [`path_template`] does; only of paths that hold such.
    PathTemplate,
    /// A directory that the path lies under: `/wiki/` for `/wiki/Front/edit` (set).
    PathPrefix,
    /// The extension of the last path segment, lower case, without the dot; of a program that answers for what is below it, as
    /// `php` for `/index.php/style.css`.
    Extension,
    /// The names of the query parameters in the order sent, joined by `&`.
    QueryKeys,
    /// The exact user agent.
    UserAgent,
    /// A word of the user agent of three characters or more, as `MicroMessenger` or `Friendica` (set).
    UserAgentWord,
    /// Scheme and host of the referer.
    RefererOrigin,
    /// The version of HTTP.
    Version,
    /// The names of the headers in the order sent, as [`super::HeaderOrder`] writes them.
    HeaderOrder,
    /// The fingerprint of the TLS handshake (JA4), where a source knows it.
    Ja4,
    /// The country of the client's network, ISO 3166-1 alpha-2, where a source knows it.
    Country,
    /// The number of the autonomous system that the client's network belongs to, where a source knows it.
    Asn,
    /// A network that holds the client: /32, /24, /16 of IPv4; /64, /48 of IPv6 (set).
    ClientPrefix,
}

impl Attribute {
    /// Every attribute, in the order in which ties between rules are broken: the sender's mark before its target, the
    /// target before its network.
    pub const ALL: [Self; 16] = [
        Self::UserAgent,
        Self::HeaderOrder,
        Self::Ja4,
        Self::UserAgentWord,
        Self::RefererOrigin,
        Self::QueryKeys,
        Self::Path,
        Self::PathTemplate,
        Self::PathPrefix,
        Self::Extension,
        Self::Host,
        Self::Method,
        Self::Version,
        Self::Asn,
        Self::Country,
        Self::ClientPrefix,
    ];

    /// The number of attributes.
    pub const COUNT: usize = Self::ALL.len();

    /// The name in rules, reports and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Host => "host",
            Self::Path => "path",
            Self::PathTemplate => "path-template",
            Self::PathPrefix => "path-prefix",
            Self::Extension => "extension",
            Self::QueryKeys => "query-keys",
            Self::UserAgent => "user-agent",
            Self::UserAgentWord => "user-agent-word",
            Self::RefererOrigin => "referer-origin",
            Self::Version => "version",
            Self::HeaderOrder => "header-order",
            Self::Ja4 => "ja4",
            Self::Country => "country",
            Self::Asn => "asn",
            Self::ClientPrefix => "client-prefix",
        }
    }

    /// The attribute of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attribute| attribute.name() == name)
    }

    /// Whether a request can have several values of it at once.
    pub const fn is_set(self) -> bool {
        matches!(self, Self::PathPrefix | Self::UserAgentWord | Self::ClientPrefix)
    }

    /// Whether a source may not know it, as a log does not know the order of headers. Such a request has no value of it, and
    /// says nothing about those that have one.
    pub const fn may_be_unknown(self) -> bool {
        matches!(self, Self::HeaderOrder | Self::Ja4 | Self::Country | Self::Asn | Self::ClientPrefix)
    }

    /// Whether it is a mark of the program that sends, which a sender keeps whatever it asks for.
    pub const fn is_mark(self) -> bool {
        matches!(self, Self::UserAgent | Self::HeaderOrder | Self::Ja4)
    }

    /// Whether it says where a request comes from, which people share with others who send nothing unwanted.
    pub const fn is_network(self) -> bool {
        matches!(self, Self::Country | Self::Asn | Self::ClientPrefix)
    }

    /// Whether a value of `self` says no more than a value of `other` on the same request does, so that a rule that
    /// holds both is the rule that holds `other`: the prefix of a path, a word of a user agent.
    pub const fn is_ancestor_of(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::PathTemplate | Self::PathPrefix | Self::Extension, Self::Path)
                | (Self::UserAgentWord, Self::UserAgent)
                | (Self::Asn | Self::Country, Self::ClientPrefix)
        )
    }
}

/// Calls `visit` with each value that the request has of `attribute`: once with `None` where a single-valued attribute
/// is absent, never for an empty set, for what the source does not know, or for a path that has no template. Allocates nothing.
#[inline]
pub fn each_value(
    attribute: Attribute,
    request: &Request<'_>,
    client: Option<ClientAddress>,
    mut visit: impl FnMut(Option<&[u8]>),
) {
    match attribute {
        Attribute::Method => visit(Some(&request.method[..request.method.len().min(METHOD_BYTES_MAX)])),
        Attribute::Host => visit((!request.host.is_empty()).then_some(cut(request.host))),
        Attribute::Path => visit(Some(cut(request.path))),
        Attribute::PathTemplate => {
            let mut buffer = [0; VALUE_BYTES_MAX];
            path_template(request.path, &mut buffer).into_iter().for_each(|template| visit(Some(template)));
        }
        Attribute::PathPrefix => path_prefixes(request.path).for_each(|prefix| visit(Some(prefix))),
        Attribute::Extension => {
            let mut buffer = [0; EXTENSION_BYTES_MAX];
            visit(extension(request.path, &mut buffer));
        }
        Attribute::QueryKeys => {
            let mut buffer = [0; VALUE_BYTES_MAX];
            visit(request.query.map(|query| query_keys(cut(query), &mut buffer)));
        }
        Attribute::UserAgent => visit(request.user_agent.map(cut)),
        Attribute::UserAgentWord => {
            if let Some(user_agent) = request.user_agent {
                user_agent_words(user_agent).for_each(|word| visit(Some(word)));
            }
        }
        Attribute::RefererOrigin => visit(request.referer.map(|referer| referer_origin(cut(referer)))),
        Attribute::Version => visit(Some(request.version.as_str().as_bytes())),
        Attribute::HeaderOrder => request.header_order.into_iter().for_each(|order| visit(Some(cut(order)))),
        Attribute::Ja4 => request.ja4.into_iter().for_each(|ja4| visit(Some(cut(ja4)))),
        Attribute::Country => request.country.into_iter().for_each(|country| visit(Some(&country))),
        Attribute::Asn => {
            let mut buffer = [0; ASN_DIGITS_MAX];
            request.asn.into_iter().for_each(|asn| visit(Some(decimal(asn, &mut buffer))));
        }
        Attribute::ClientPrefix => {
            if let Some(client) = client {
                client_prefixes(client).for_each(|prefix| visit(Some(prefix.as_bytes())));
            }
        }
    }
}

/// The directories that a path lies under, outermost first: `/a/`, `/a/b/` for `/a/b/c`.
pub fn path_prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let path = cut(path);
    // A plain search: directories are short, and vectors pay only from some thirty bytes on.
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.skip(1).take(PATH_LEVELS_MAX).map(move |(at, _)| &path[..=at])
}

/// The longest extension considered: `webmanifest` has eleven letters.
pub(crate) const EXTENSION_BYTES_MAX: usize = 12;

/// Extensions of programs that answer for everything below them: `/index.php/style.css` is a page of `index.php`.
const PROGRAM_EXTENSIONS: [&[u8]; 8] = [b".php", b".cgi", b".pl", b".py", b".asp", b".aspx", b".jsp", b".fcgi"];

/// The extension of a path, lower case: ASCII letters and digits after the last dot of its last segment, or of the first that
/// names a program; at most twelve. A leading dot (`/.env`) begins a name, not an extension.
pub fn extension<'b>(path: &[u8], buffer: &'b mut [u8; EXTENSION_BYTES_MAX]) -> Option<&'b [u8]> {
    let path = cut(path);
    // Most pages have none, and before the first dot nothing ends in an extension.
    let first_dot = memchr::memchr(b'.', path)?;
    let is_program = |end: &usize| PROGRAM_EXTENSIONS.iter().any(|extension| ends_with(&path[..*end], extension));
    let path = match memchr::memchr_iter(b'/', &path[first_dot..]).map(|at| first_dot + at).find(is_program) {
        Some(end) => &path[..end],
        None => path,
    };
    let segment = match memchr::memrchr(b'/', path) {
        Some(at) => &path[at + 1..],
        None => path,
    };
    let dot = memchr::memrchr(b'.', segment).filter(|at| *at > 0)?;
    let extension = &segment[dot + 1..];
    let kept = buffer.get_mut(..extension.len())?;
    if extension.is_empty() || !extension.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    kept.copy_from_slice(extension);
    kept.make_ascii_lowercase();
    Some(kept)
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    text.len().checked_sub(end.len()).is_some_and(|at| text[at..].eq_ignore_ascii_case(end))
}

/// The names of the query parameters in the order sent, joined by `&`, cut to the buffer.
pub fn query_keys<'b>(query: &[u8], buffer: &'b mut [u8; VALUE_BYTES_MAX]) -> &'b [u8] {
    let mut used = 0;
    for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).take(QUERY_KEYS_MAX) {
        // Keys are short: a plain search ends before one with vectors has begun.
        let key = pair.split(|byte| *byte == b'=').next().unwrap_or(pair);
        let separator: &[u8] = if used == 0 { b"" } else { b"&" };
        for part in [separator, key] {
            let free = &mut buffer[used..];
            let length = part.len().min(free.len());
            free[..length].copy_from_slice(&part[..length]);
            used += length;
        }
    }
    &buffer[..used]
}

/// The words of a user agent: runs of ASCII letters, digits after a letter, and bytes above ASCII; of three bytes or
/// more, so that `Friendica 'Giant Rhubarb' 2019.05; https://a.example` yields `Friendica`, `Giant`, `Rhubarb`, `https`,
/// `example`.
pub fn user_agent_words(user_agent: &[u8]) -> impl Iterator<Item = &[u8]> {
    Words::new(cut(user_agent)).filter(|word| word.len() >= 3 && !word[0].is_ascii_digit()).take(USER_AGENT_WORDS_MAX)
}

/// The runs of bytes that belong to words. Every byte of every user agent is looked at, so that is done for 64 at a time:
/// asking byte by byte took nearly half of a judgement.
struct Words<'a> {
    bytes: &'a [u8],
    /// A bit for each place where a word begins or the text after a word does, the lowest first.
    edges: [u64; VALUE_BYTES_MAX / 64],
    /// The block that is being gone through, and what is left of its edges.
    block: usize,
    left: u64,
}

impl<'a> Words<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut edges = [0; VALUE_BYTES_MAX / 64];
        let mut before = 0;
        for (block, edges) in bytes.chunks(64).zip(&mut edges) {
            let mut padded = [0; 64];
            padded[..block.len()].copy_from_slice(block);
            let words = word_bits(&padded);
            *edges = words ^ (words << 1 | before);
            before = words >> 63;
        }
        // A word that ends with a block, and the text with it, has its end in the next one, which may not have been looked at.
        if let Some(after) = edges.get_mut(bytes.len() / 64).filter(|_| bytes.len().is_multiple_of(64)) {
            *after |= before;
        }
        Self { bytes, edges, block: 0, left: edges[0] }
    }

    /// The next place where a word begins or ends; the end of the text when there is none.
    #[inline]
    fn edge(&mut self) -> usize {
        while self.left == 0 {
            self.block += 1;
            match self.edges.get(self.block) {
                Some(edges) => self.left = *edges,
                None => return self.bytes.len(),
            }
        }
        let at = self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        self.block * 64 + at
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (start, end) = (self.edge(), self.edge());
        self.bytes.get(start..end).filter(|word| !word.is_empty())
    }
}

/// One bit for each byte that belongs to a word, the first in the lowest.
fn word_bits(bytes: &[u8; 64]) -> u64 {
    // Without branches, so that the compiler does sixteen and more at once.
    let is_in_word = |byte: u8| {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        u8::from(is_letter | (byte.wrapping_sub(b'0') < 10) | (byte >= 0x80))
    };
    let ones = bytes.map(is_in_word);
    let mut bits = 0;
    for (number, eight) in ones.as_chunks::<8>().0.iter().enumerate() {
        // Moves the lowest bit of byte i to bit 56 + i; no two of the products meet in one place.
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits |= gathered << (8 * number);
    }
    bits
}

/// Scheme and host of a referer: all before the third slash. A referer of another shape is its own origin.
pub fn referer_origin(referer: &[u8]) -> &[u8] {
    match memchr::memchr_iter(b'/', referer).nth(2) {
        Some(at) => &referer[..at],
        None => referer,
    }
}

/// The networks around a client that a rule may name, narrowest first.
pub fn client_prefixes(client: ClientAddress) -> impl Iterator<Item = PrefixText> {
    let lengths: &[u8] = match client.ip() {
        IpAddr::V4(_) => &[32, 24, 16],
        IpAddr::V6(_) => &[64, 48],
    };
    lengths.iter().map(move |length| PrefixText::new(client, *length))
}

/// A network written as text on the stack: `192.0.2.0/24`.
#[derive(Clone, Copy)]
pub struct PrefixText {
    buffer: [u8; Self::BYTES_MAX],
    length: usize,
}

impl PrefixText {
    /// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128`
    const BYTES_MAX: usize = 50;

    fn new(client: ClientAddress, length: u8) -> Self {
        use std::io::Write as _;
        let mut text = Self { buffer: [0; Self::BYTES_MAX], length: 0 };
        let mut free: &mut [u8] = &mut text.buffer;
        // The buffer holds the longest network, so this cannot fail; a cut value would only match nothing.
        let written = write!(free, "{}", client.prefix(length)).map(|()| Self::BYTES_MAX - free.len());
        text.length = written.unwrap_or(0);
        text
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

/// Digits of the largest number of an autonomous system.
const ASN_DIGITS_MAX: usize = 10;

fn decimal(mut number: u32, buffer: &mut [u8; ASN_DIGITS_MAX]) -> &[u8] {
    let mut start = ASN_DIGITS_MAX;
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[start..];
        }
    }
}

pub(crate) fn cut(value: &[u8]) -> &[u8] {
    &value[..value.len().min(VALUE_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Version;

    fn values(attribute: Attribute, request: &Request<'_>) -> Vec<String> {
        let client = Some(ClientAddress::new("192.0.2.77".parse().expect("an address")));
        let mut found = Vec::new();
        each_value(attribute, request, client, |value| {
            found.push(value.map_or("absent".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned()));
        });
        found
    }

    fn check(attribute: Attribute, request: &Request<'_>, expected: &[&str]) {
        assert_eq!(values(attribute, request), expected, "{}", attribute.name());
    }

    #[test]
    fn values_of_a_full_request() {
        let request = Request {
            method: b"GET",
            host: b"example.org",
            path: b"/wiki/2019/Front.HTML",
            query: Some(b"action=edit&id=7&flag"),
            version: Version::Http10,
            user_agent: Some(b"Friendica 'Giant Rhubarb' 2019.05-1310; https://a.example"),
            referer: Some(b"https://news.example/item?id=1"),
            header_order: Some(b"host user-agent accept"),
            ja4: Some(b"t13d1516h2_8daaf6152771_b186095e22b6"),
            country: Some(*b"DE"),
            asn: Some(u32::MAX),
        };
        check(Attribute::Method, &request, &["GET"]);
        check(Attribute::Host, &request, &["example.org"]);
        check(Attribute::Path, &request, &["/wiki/2019/Front.HTML"]);
        check(Attribute::PathTemplate, &request, &["/wiki/{digits}/Front.HTML"]);
        check(Attribute::PathPrefix, &request, &["/wiki/", "/wiki/2019/"]);
        check(Attribute::Extension, &request, &["html"]);
        check(Attribute::QueryKeys, &request, &["action&id&flag"]);
        check(Attribute::UserAgentWord, &request, &["Friendica", "Giant", "Rhubarb", "https", "example"]);
        check(Attribute::RefererOrigin, &request, &["https://news.example"]);
        check(Attribute::Version, &request, &["HTTP/1.0"]);
        check(Attribute::HeaderOrder, &request, &["host user-agent accept"]);
        check(Attribute::Ja4, &request, &["t13d1516h2_8daaf6152771_b186095e22b6"]);
        check(Attribute::Country, &request, &["DE"]);
        check(Attribute::Asn, &request, &["4294967295"]);
        check(Attribute::Asn, &Request { asn: Some(0), ..request }, &["0"]);
        check(Attribute::ClientPrefix, &request, &["192.0.2.77/32", "192.0.2.0/24", "192.0.0.0/16"]);
    }

    #[test]
    fn absent_values_are_said_for_single_attributes_and_left_out_of_sets() {
        let request = Request { method: b"HEAD", path: b"/", ..Request::default() };
        for attribute in [
            Attribute::Host,
            Attribute::Extension,
            Attribute::QueryKeys,
            Attribute::UserAgent,
            Attribute::RefererOrigin,
        ] {
            check(attribute, &request, &["absent"]);
        }
        let sets_and_unknown = [
            Attribute::PathTemplate,
            Attribute::PathPrefix,
            Attribute::UserAgentWord,
            Attribute::HeaderOrder,
            Attribute::Ja4,
            Attribute::Country,
            Attribute::Asn,
        ];
        for attribute in sets_and_unknown {
            check(attribute, &request, &[]);
        }
    }

    #[test]
    fn extensions_are_only_what_looks_like_one() {
        for (path, expected) in [
            ("/a.tar.gz", Some("gz")),
            ("/.env", None),
            ("/a.", None),
            ("/a.b/c", None),
            ("/x.thisisnotanextension", None),
            ("/index.php/style.css", Some("php")),
            ("/cgi-bin/Wiki.PL/a/b.png", Some("pl")),
            ("/php/style.css", Some("css")),
            ("/x.p%20f", None),
            ("time.gif", Some("gif")),
        ] {
            let mut buffer = [0; EXTENSION_BYTES_MAX];
            assert_eq!(extension(path.as_bytes(), &mut buffer), expected.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn long_values_are_cut_and_never_overrun() {
        let long = vec![b'a'; 4 * VALUE_BYTES_MAX];
        let mut buffer = [0; VALUE_BYTES_MAX];
        assert_eq!(query_keys(&long, &mut buffer).len(), VALUE_BYTES_MAX);
        let request = Request { path: &long, user_agent: Some(&long), ..Request::default() };
        assert_eq!(values(Attribute::UserAgent, &request)[0].len(), VALUE_BYTES_MAX);
        assert_eq!(values(Attribute::Path, &request)[0].len(), VALUE_BYTES_MAX);
    }

    proptest::proptest! {
        #[test]
        fn words_are_the_runs_of_word_bytes(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), is_text: bool) {
            // Mostly letters, else there would hardly be a word of three.
            let text: Vec<u8> = text.iter().map(|byte| if is_text && byte % 5 > 0 { b'a' + byte % 26 } else { *byte }).collect();
            let expected: Vec<&[u8]> = cut(&text)
                .split(|byte| !(byte.is_ascii_alphanumeric() || *byte >= 0x80))
                .filter(|word| word.len() >= 3 && !word[0].is_ascii_digit())
                .take(USER_AGENT_WORDS_MAX)
                .collect();
            proptest::prop_assert_eq!(user_agent_words(&text).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn names_are_unique_and_read_back() {
        for attribute in Attribute::ALL {
            assert_eq!(Attribute::from_name(attribute.name()), Some(attribute));
        }
    }
}
