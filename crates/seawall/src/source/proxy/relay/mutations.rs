//! What comes from outside, changed at random: nothing may panic, and what is accepted must read the same, and in one way
//! only, once it is written anew.

use proptest::prelude::*;
use seawall_engine::address::{AddressSet, ClientAddress};

use super::super::claims::{Belief, Claims};
use super::super::client_address::{self, ProxyHeader};
use super::super::head::{BodyLength, Head, HeadScanner, header_room};
use super::answer::{self, Asked};
use super::request;
use crate::config::ClientAddressSource;

const REQUESTS: &[&str] = &[
    "GET /a?b=c HTTP/1.1\r\nHost: example.org\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: example.org:8080\r\nContent-Length: 0\r\nConnection: keep-alive, x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET http://example.org/a HTTP/1.0\r\nConnection: close\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: [2001:db8::1]:80\r\nExpect: 100-continue\r\nUpgrade: h2c\r\n\r\n",
];

const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 3\r\nKeep-Alive: 5\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\nX: y\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
    "HTTP/1.0 404 Not Found\r\nContent-Type: text/html\r\n\r\n<p>",
];

const PROXY_HEADERS: &[&[u8]] = &[
    b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 5000 80\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x13\x88\x00\x50",
    b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
];

const CLAIMS: &[&str] = &[
    "192.0.2.1, 198.51.100.7:80, [2001:db8::1]:443",
    "for=192.0.2.1;proto=http, for=\"[2001:db8::1]:80\";by=_hidden, For=unknown",
    "2001:db8::1",
];

/// What is put in: what parsers disagree about, and their own words.
const PIECES: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "\0",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "\"",
    "[",
    "]",
    "%",
    "#",
    "?",
    "\u{b}",
    "\u{e9}",
    "0",
    "1",
    "+",
    "-",
    "18446744073709551616",
    "Host: b\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: host\r\n",
    " folded\r\n",
    "HTTP/1.1",
    "HTTP/2.0",
    "GET",
];

/// A change: at which part of the whole, how many bytes are taken away, and what is put there instead.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, usize, &'static str)>> {
    let change = (any::<prop::sample::Index>(), 0_usize..4, prop::sample::select(PIECES));
    prop::collection::vec(change, 0..6)
}

fn changed(seed: &[u8], changes: &[(prop::sample::Index, usize, &str)]) -> Vec<u8> {
    let mut text = seed.to_vec();
    for (at, taken, piece) in changes {
        let start = at.index(text.len() + 1);
        let end = (start + taken).min(text.len());
        text.splice(start..end, piece.bytes());
    }
    text
}

fn claims() -> Claims {
    let address = |text: &str| ClientAddress::new(text.parse().expect("an address"));
    Claims { belief: Belief::Forwarded, client: Some(address("192.0.2.9")), peer: address("198.51.100.9") }
}

/// Every line ends with CR LF, and the only empty one is the last.
fn assert_one_head(text: &[u8]) {
    let inner = text.strip_suffix(b"\r\n\r\n").expect("an empty line at the end");
    for line in inner.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(!line.is_empty() && !line.contains(&b'\r') && !line.contains(&0), "{:?}", text.escape_ascii());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_request_that_is_sent_on_reads_the_same(seed in prop::sample::select(REQUESTS), changes in changes()) {
        let received = changed(seed.as_bytes(), &changes);
        let at_once = HeadScanner::default().is_complete(&received);
        let mut scanner = HeadScanner::default();
        let in_pieces = (1..=received.len()).map(|length| scanner.is_complete(&received[..length]));
        let in_pieces = in_pieces.take_while(|scanned| *scanned != Ok(true)).all(|scanned| scanned.is_ok());
        let mut room = header_room();
        let Ok(head) = Head::parse(&received, &mut room) else { return Ok(()) };
        // What is read whole was let through whole, however it came.
        prop_assert!(at_once != Ok(true) || in_pieces);
        if at_once != Ok(true) || !head.is_plain() {
            return Ok(());
        }
        let mut text = Vec::new();
        request::write(&head, &claims(), &mut text);
        assert_one_head(&text);
        let mut room = header_room();
        let again = Head::parse(&text, &mut room);
        let again = again.unwrap_or_else(|error| panic!("{error:?}: {}", text.escape_ascii()));
        prop_assert_eq!(again.length, text.len());
        prop_assert_eq!(again.body, BodyLength::None);
        prop_assert_eq!(again.values("host").count(), 1);
        prop_assert_eq!(again.values("transfer-encoding").count(), 0);
        prop_assert_eq!(again.values("connection").count(), 0);
        prop_assert_eq!(again.values("x-forwarded-for").count(), 1);
        let (before, after) = (head.request(), again.request());
        prop_assert_eq!((before.method, before.host, before.path, before.query), (after.method, after.host, after.path, after.query));
        prop_assert_eq!((before.user_agent, before.referer), (after.user_agent, after.referer));
    }

    #[test]
    fn an_answer_that_is_passed_on_reads_the_same(
        seed in prop::sample::select(ANSWERS),
        changes in changes(),
        is_head_request: bool,
        closes: bool,
    ) {
        let received = changed(seed.as_bytes(), &changes);
        let asked = Asked { is_head_request, closes, date: *b"Sun, 06 Nov 1994 08:49:37 GMT" };
        let mut text = Vec::new();
        let Ok(Some(answer)) = answer::translate(&received, &asked, &mut text) else { return Ok(()) };
        prop_assert!(answer.length <= received.len());
        assert_one_head(&text);
        let again = answer::translate(&text, &asked, &mut Vec::new());
        let again = again.unwrap_or_else(|why| panic!("{why}: {}", text.escape_ascii())).expect("a whole head");
        prop_assert_eq!((again.status, again.length), (answer.status, text.len()));
        // The end of the client's connection never is what ends a body.
        prop_assert!(!again.body.ends_with_connection());
        prop_assert_eq!(again.keep_alive, !closes);
        // The body is taken apart without panicking, and is never more than what came.
        let (mut body, mut rest) = (answer.body, received[answer.length..].to_vec());
        if let Some(taken) = body.take(&mut rest) {
            prop_assert!(taken.data <= rest.len());
        }
    }

    #[test]
    fn a_proxy_header_is_within_what_came(seed in prop::sample::select(PROXY_HEADERS), changes in changes()) {
        let received = changed(seed, &changes);
        for length in 0..=received.len() {
            if let ProxyHeader::Complete(header, _) = client_address::proxy_header(&received[..length]) {
                prop_assert!(header > 0 && header <= length);
            }
        }
    }

    #[test]
    fn what_proxies_say_of_clients_is_read_or_not(seed in prop::sample::select(CLAIMS), changes in changes()) {
        let value = changed(seed.as_bytes(), &changes);
        let trusted = AddressSet::new(["198.51.100.0/24".parse().expect("a network")]);
        for source in [
            ClientAddressSource::XForwardedFor,
            ClientAddressSource::Forwarded,
            ClientAddressSource::CfConnectingIp,
            ClientAddressSource::FastlyClientIp,
        ] {
            let named = client_address::from_headers(source, &trusted, |_| [value.as_slice()].into_iter());
            // Whoever is named stands there.
            if let Some(named) = named {
                let text = String::from_utf8_lossy(&value).into_owned();
                let written = |text: &str| text.parse().is_ok_and(|address| ClientAddress::new(address) == named);
                let parts = text.split(|character: char| !character.is_ascii_hexdigit() && !matches!(character, '.' | ':'));
                let found = parts.flat_map(|part| [part, part.rsplit_once(':').map_or(part, |(address, _)| address)]).any(written);
                prop_assert!(found, "{text:?}");
            }
        }
    }
}
