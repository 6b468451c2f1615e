//! Lines of every format, and what must hold for any.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::privacy::{KeyStore, Scheme};

fn today() -> Timestamp {
    Timestamp::from_seconds(1_714_564_801)
}

fn pseudonyms(scheme: Scheme) -> Treatment {
    let keys = KeyStore::open(Path::new("unused"), 0).expect("no folder is needed");
    Treatment::Pseudonyms(Box::new(Pseudonyms::new(keys, scheme)))
}

fn anonymizer(treatment: Treatment, drop_queries: bool) -> Anonymizer {
    Anonymizer::new(treatment, drop_queries, today()).expect("nothing to delete")
}

fn rewrite_bytes(anonymizer: &mut Anonymizer, text: &[u8]) -> Vec<u8> {
    let mut output = b"before".to_vec();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        anonymizer.rewrite(&Piece { text: line, begins_line: true }, &mut output).expect("keys need no file");
    }
    output.split_off(6)
}

fn rewrite(anonymizer: &mut Anonymizer, text: &str) -> String {
    String::from_utf8(rewrite_bytes(anonymizer, text.as_bytes())).expect("UTF-8 stays UTF-8")
}

/// A line of each format, with documentation addresses for all that are one.
const LINES: [&str; 14] = [
    r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 5 "-" "Chrome/71.0.35.78" "203.0.113.7, 2001:db8::1""#,
    r#"www.example.org:80 2001:db8:1:2::1 - - [17/May/2015:10:05:03 +0000] "GET http://192.0.2.9/ HTTP/1.1" 200 5 "-" "A/1""#,
    r#"{"time":"2024-05-01T12:00:01+02:00","remote_addr":"192.0.2.1","request":"GET /a HTTP/2.0","status":200,"http_x_forwarded_for":"203.0.113.7"}"#,
    r#"{"level":"info","ts":1693840791.75,"request":{"remote_ip":"192.0.2.9","remote_port":"1","client_ip":"192.0.2.1","proto":"HTTP/2.0","method":"GET","host":"example.org:8080","uri":"/a"},"size":12,"status":200}"#,
    r#"{"ClientAddr":"192.0.2.1:39496","ClientHost":"192.0.2.1","DownstreamContentSize":357,"DownstreamStatus":200,"Duration":3,"RequestMethod":"GET","RequestPath":"/a","RequestProtocol":"HTTP/1.1","StartUTC":"2021-12-08T14:02:43Z"}"#,
    r#"[2016-04-15T20:17:00.310Z] "POST /a HTTP/2" 204 - 154 9 226 100 "203.0.113.7, 192.0.2.1" "A/1" "cc21d9b0" "example.org:8443" "tcp://198.51.100.1:80""#,
    r#"192.0.2.1:53332 [25/Feb/2019:16:19:48.143] in~ bk/srv 0/0/7/1457/1487 200 11394 - - ---- 2/1/0/0/0 0/0 "GET /a HTTP/1.1""#,
    r#"[2001:db8::1]:53332 [25/Feb/2019:16:19:48.143] in~ bk/srv 0/0/7/1457/1487 200 11394 - - ---- 2/1/0/0/0 0/0 "GET /a HTTP/1.1""#,
    r#"[01/Oct/2025:14:32:15 +0000] HIT 200 304 - GET https example.org "/a" [Client 192.0.2.1] [Length 1543] [Gzip 2.45] [Sent-to 198.51.100.15:8080] "A/1" "-""#,
    r#"https 2023-04-26T12:23:00.186641Z app/name/id 192.0.2.1:44740 198.51.100.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://www.example.org:443/a HTTP/1.1" "curl/7.46.0" ECDHE TLSv1.2 arn "Root=1""#,
    r#"79a59df bucket [06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a59df 3E5 REST.GET.OBJECT key "GET /key HTTP/1.1" 200 - 26 34 70 10 "-" "S3/0.4" -"#,
    "1286536308.779    180 192.0.2.224 TCP_MISS/200 411 GET http://example.org/a - HIER_DIRECT/198.51.100.7 text/html",
    "<134>May 17 10:05:03 host nginx[7]: 192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 5",
    "2024/05/01 12:00:01 [error] 7#7: *1 SSL routines::no shared cipher, client: 2001:db8::1, server: 192.0.2.80:443",
];

/// Without addresses a line says the same in everything but its client.
#[test]
fn lines_of_every_format_stay_in_it() {
    let show = |line: &str| {
        let mut reader = Reader::default();
        reader.read(line.as_bytes()).map(|entry| {
            let observation = entry.observation;
            let request = observation.request;
            let texts = [request.method, request.path, request.user_agent.unwrap_or_default()].map(<[u8]>::to_vec);
            (entry.format, observation.at, texts, format!("{:?} {:?}", observation.outcome, observation.cost))
        })
    };
    let treatments = || {
        [
            pseudonyms(Scheme::Deterministic),
            pseudonyms(Scheme::PrefixPreserving),
            Treatment::Truncate,
            Treatment::Remove,
        ]
    };
    for line in LINES {
        for treatment in treatments() {
            let rewritten = rewrite(&mut anonymizer(treatment, false), line);
            assert_ne!(rewritten, line);
            assert_eq!(show(&rewritten), show(line), "{rewritten}");
            for address in ["192.0.2.1", "192.0.2.9", "203.0.113.7", "2001:db8::1", "198.51.100.1"] {
                let is_left = addresses(rewritten.as_bytes()).any(|found| rewritten[found.range] == *address);
                assert!(!is_left, "{address} in {rewritten}");
            }
        }
    }
}

#[test]
fn truncated_removed_and_without_queries() {
    let line = r#"192.0.2.77 - - [17/May/2015:10:05:03 +0000] "GET /a?ip=192.0.2.78 HTTP/1.1" 200 5 "https://[2001:db8:1:2::3]:80/?q" "rv:1.9.2.13" "203.0.113.7, ::ffff:192.0.2.79""#.to_owned() + "\r\n";
    for (treatment, drop_queries, expected) in [
        (
            Treatment::Truncate,
            false,
            r#"192.0.2.0 - - [17/May/2015:10:05:03 +0000] "GET /a?ip=192.0.2.0 HTTP/1.1" 200 5 "https://[2001:db8:1::]:80/?q" "rv:1.9.2.13" "203.0.113.0, 192.0.2.0""#,
        ),
        (
            Treatment::Remove,
            false,
            r#"- - - [17/May/2015:10:05:03 +0000] "GET /a?ip=0.0.0.0 HTTP/1.1" 200 5 "https://[0.0.0.0]:80/?q" "rv:1.9.2.13" "-, -""#,
        ),
        (
            Treatment::Truncate,
            true,
            r#"192.0.2.0 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "https://[2001:db8:1::]:80/" "rv:1.9.2.13" "203.0.113.0, 192.0.2.0""#,
        ),
    ] {
        assert_eq!(rewrite(&mut anonymizer(treatment, drop_queries), &line), format!("{expected}\r\n"));
    }
    let lines = "#Fields: date time c-ip cs-uri-stem cs-uri-query\n2024-05-01 12:00:01 192.0.2.77 /a b=192.0.2.78\n";
    let expected = "#Fields: date time c-ip cs-uri-stem cs-uri-query\n2024-05-01 12:00:01 192.0.2.0 /a -\n";
    assert_eq!(rewrite(&mut anonymizer(Treatment::Truncate, true), lines), expected);
}

#[test]
fn pseudonyms_get_brackets_where_their_end_could_not_be_told() {
    let mut anonymizer = anonymizer(pseudonyms(Scheme::Deterministic), false);
    let plain = rewrite(&mut anonymizer, "192.0.2.1");
    assert!(plain.contains(':'), "an IPv6 address: {plain}");
    let encoded = rewrite(&mut anonymizer, "2001:db8::1").replace(':', "%3A");
    for (text, expected) in [
        ("192.0.2.1:443 [192.0.2.1]:443", format!("[{plain}]:443 [{plain}]:443")),
        ("http://192.0.2.1/ 192.0.2.1: gone", format!("http://[{plain}]/ {plain}: gone")),
        ("?a=2001%3Adb8%3A%3A1&b", format!("?a={encoded}&b")),
        ("::ffff:192.0.2.1, 192.0.2.1", format!("{plain}, {plain}")),
    ] {
        assert_eq!(rewrite(&mut anonymizer, text), expected);
    }
}

#[test]
fn a_pseudonym_holds_for_the_day_of_its_line() {
    let mut anonymizer = anonymizer(pseudonyms(Scheme::Deterministic), false);
    let mut of = |at: &str| rewrite(&mut anonymizer, &format!("192.0.2.1 - - [{at}] \"GET / HTTP/1.1\" 200 5"));
    let client = |line: String| line.split(' ').next().map(str::to_owned);
    let first = client(of("17/May/2015:00:00:01 +0000"));
    assert_eq!(client(of("17/May/2015:23:59:59 +0000")), first);
    assert_eq!(client(of("18/May/2015:01:00:00 +0200")), first);
    assert_ne!(client(of("18/May/2015:00:00:00 +0000")), first);
    let now = client(of("01/May/2024:23:00:00 +0000"));
    assert_eq!(client(of("no time")), now);
    anonymizer.tell(today() + std::time::Duration::from_secs(86_400)).expect("nothing to delete");
    let later = client(rewrite(&mut anonymizer, "192.0.2.1 no time"));
    assert_ne!(later, now);
}

#[test]
fn pieces_of_a_line_belong_to_the_day_of_their_line() {
    let mut anonymizer = anonymizer(pseudonyms(Scheme::Deterministic), false);
    let expected = rewrite(&mut anonymizer, "192.0.2.1 [17/May/2015:10:05:03 +0000]");
    let mut output = Vec::new();
    anonymizer
        .rewrite(&Piece { text: b"[17/May/2015:10:05:03 +0000] ", begins_line: true }, &mut output)
        .expect("a key");
    let length = output.len();
    anonymizer.rewrite(&Piece { text: b"192.0.2.1", begins_line: false }, &mut output).expect("a key");
    assert_eq!(output.split_off(length), expected.split(' ').next().expect("a client").as_bytes());
}

/// Everything that is no address is as it was, and a placeholder is where each was.
fn only_addresses_are_removed(text: &[u8]) {
    let removed = rewrite_bytes(&mut anonymizer(Treatment::Remove, false), text);
    let mut rest = removed.as_slice();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let mut at = 0;
        for found in addresses(line) {
            let placeholder = if is_field(&found, line) { NOTHING } else { NOBODY };
            let expected = [&line[at..found.range.start], placeholder].concat();
            assert!(rest.starts_with(&expected), "{}", line.escape_ascii());
            rest = &rest[expected.len()..];
            at = found.range.end;
        }
        assert!(rest.starts_with(&line[at..]), "{}", line.escape_ascii());
        rest = &rest[line.len() - at..];
    }
    assert!(rest.is_empty());
}

/// A mutation of a line, as a fuzzer would make it: bytes changed, left out, doubled or put in, and parts of two joined.
fn mutated(random: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    const PIECES: [&[u8]; 14] =
        [b"\"", b"\\", b"\\x", b"%", b"%2E", b"%3A", b":", b".", b"::", b"1", b"\n", b"\0", b"\xFF", b"?"];
    let mut line = LINES[random(LINES.len())].as_bytes().to_vec();
    for _ in 0..=random(6) {
        let at = random(line.len() + 1);
        match random(6) {
            0 if at < line.len() => line[at] = random(256) as u8,
            1 => line.truncate(at),
            2 => line = [&line[..at], PIECES[random(PIECES.len())], &line[at..]].concat(),
            3 => line = [&line[..at], &line[at / 2..]].concat(),
            4 => {
                let other = LINES[random(LINES.len())].as_bytes();
                line = [&line[..at], &other[random(other.len())..]].concat();
            }
            _ if at < line.len() => drop(line.remove(at)),
            _ => {}
        }
        line.truncate(4_096);
    }
    line
}

/// The same in each run.
#[test]
fn mutations_of_real_lines_lose_nothing_but_addresses_and_queries() {
    // SplitMix64.
    let mut state = 0x5EA_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) as usize % below.max(1)
    };
    let mut dropping = anonymizer(Treatment::Remove, true);
    let mut changed = 0;
    for _ in 0..10_000 {
        let text = mutated(&mut random);
        only_addresses_are_removed(&text);
        let breaks = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
        let without = rewrite_bytes(&mut dropping, &text);
        assert_eq!(breaks(&without), breaks(&text), "{}", text.escape_ascii());
        // A query leaves a dash at most, an address a placeholder.
        let found: usize = text.split_inclusive(|byte| *byte == b'\n').map(|line| addresses(line).count()).sum();
        assert!(without.len() <= text.len() + found * NOBODY.len(), "{}", text.escape_ascii());
        changed += usize::from(without != text);
    }
    assert!(changed > 6_000, "{changed} were changed: mutations without an address would find nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What comes out differs from what went in only where addresses were, whatever the bytes.
    #[test]
    fn only_addresses_change(parts in prop::collection::vec(prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        any::<[u8; 4]>().prop_map(|bytes| std::net::IpAddr::from(bytes).to_string().into_bytes()),
        any::<[u8; 16]>().prop_map(|bytes| std::net::IpAddr::from(bytes).to_string().into_bytes()),
        prop::sample::select(LINES.to_vec()).prop_map(|line| line.as_bytes().to_vec()),
        Just(b"\r\n".to_vec()), Just(b", ".to_vec()), Just(b"\0\xFF".to_vec()),
    ], 0..12)) {
        let text = parts.concat();
        only_addresses_are_removed(&text);
        let mut with_pseudonyms = anonymizer(pseudonyms(Scheme::Deterministic), false);
        let output = rewrite_bytes(&mut with_pseudonyms, &text);
        prop_assert_eq!(output, rewrite_bytes(&mut with_pseudonyms, &text), "the same addresses, the same pseudonyms");
    }

    /// Without addresses nothing changes at all.
    #[test]
    fn what_holds_no_address_stays(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let has_none = bytes.split_inclusive(|byte| *byte == b'\n').all(|line| addresses(line).next().is_none());
        prop_assume!(has_none);
        prop_assert_eq!(rewrite_bytes(&mut anonymizer(Treatment::Remove, false), &bytes), bytes);
    }
}
