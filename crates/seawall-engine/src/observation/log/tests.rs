//! Lines of every known format, their oddities, and properties that hold for any bytes.

use proptest::prelude::*;

use super::*;
use crate::observation::Version;

const COMBINED: &str =
    r#"192.0.2.1 - - [17/May/2015:10:05:03 +0200] "GET /a?b=c HTTP/1.1" 200 5120 "https://a.example/" "Agent/1.0""#;

/// One line's reading, as text that can be compared.
fn show(line: &[u8]) -> String {
    let mut reader = Reader::default();
    let entry = match reader.read(line) {
        Ok(entry) => entry,
        Err(reason) => return reason.name().to_owned(),
    };
    let Observation { at, client, request, outcome, cost, .. } = entry.observation;
    let text = |field: &[u8]| field.escape_ascii().to_string();
    let optional = |field: Option<&[u8]>| field.map_or("none".to_owned(), text);
    let status = match outcome {
        Outcome::Served { status } => status.to_string(),
        other => format!("{other:?}"),
    };
    format!(
        "{} at={} client={} method={} host={} path={} query={} {} status={status} bytes={} agent={} referer={}{}",
        entry.format,
        at.as_seconds(),
        client.map_or("none".to_owned(), |client| client.ip().to_string()),
        text(request.method),
        text(request.host),
        text(request.path),
        optional(request.query),
        request.version.as_str(),
        cost.bytes,
        optional(request.user_agent),
        optional(request.referer),
        if entry.encoding == Encoding::Plain { "" } else { " (not verbatim)" },
    )
}

#[track_caller]
fn check(line: impl AsRef<[u8]>, expected: &str) {
    let line = line.as_ref();
    assert_eq!(show(line), expected, "{}", line.escape_ascii());
}

#[test]
fn combined_and_its_values() {
    check(
        COMBINED,
        "combined at=1431849903 client=192.0.2.1 method=GET host= path=/a query=b=c HTTP/1.1 status=200 bytes=5120 \
         agent=Agent/1.0 referer=https://a.example/",
    );
}

#[test]
fn common_with_and_without_further_fields() {
    let expected = "common at=0 client=2001:db8::1 method=HEAD host= path=/ query=none HTTP/1.0 status=304 bytes=0 \
                    agent=none referer=none";
    let line = r#"2001:db8::1 - frank [01/Jan/1970:00:00:00 +0000] "HEAD / HTTP/1.0" 304 -"#;
    check(line, expected);
    check(format!("{line} 0.003 \"one quoted field\""), expected);
    check(format!("{line} \"one quoted field\" 12"), expected);
    check(format!("{line}   "), expected);
}

#[test]
fn further_fields_after_combined_are_tolerated() {
    let expected = show(COMBINED.as_bytes());
    for further in [r#" "-""#, " 0.001 0.002", r#" "a" "b" 12ms"#, r#" "never closed"#, " "] {
        check(format!("{COMBINED}{further}"), &expected);
    }
}

#[test]
fn virtual_hosts() {
    let rest = r#"- - [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.1" 200 1"#;
    let reading = |format: &str, client: &str, host: &str, agent: &str| {
        format!(
            "{format} at=0 client={client} method=GET host={host} path=/ query=none HTTP/1.1 status=200 bytes=1 \
             agent={agent} referer=none"
        )
    };
    check(format!("www.example:443 192.0.2.1 {rest}"), &reading("vhost-common", "192.0.2.1", "www.example", "none"));
    check(
        format!(r#"www.example 192.0.2.1 {rest} "-" "A""#),
        &reading("vhost-combined", "192.0.2.1", "www.example", "A"),
    );
    check(format!("www.example - {rest}"), &reading("vhost-common", "none", "www.example", "none"));
    check(format!("- 192.0.2.1 {rest}"), &reading("vhost-common", "192.0.2.1", "", "none"));
    check(
        format!("WWW.Example 192.0.2.1 {rest}"),
        &format!("{} (not verbatim)", reading("vhost-common", "192.0.2.1", "WWW.Example", "none")),
    );
    // The first field is an address, or the only one before identity and user: no virtual host.
    check(format!("192.0.2.1 {rest}"), &reading("common", "192.0.2.1", "", "none"));
    check(format!("192.0.2.1 - {rest}"), &reading("common", "192.0.2.1", "", "none"));
    check(format!("pc.example {rest}"), &reading("common", "none", "", "none"));
    check(
        r#"pc.example - two words [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.1" 200 1"#,
        &reading("common", "none", "", "none"),
    );
}

/// Whoever asks for `9.9.9.9` neither has that one taken for the client nor hides himself.
#[test]
fn a_host_that_is_an_address_is_not_the_client() {
    let line = |before: &str| format!(r#"{before} [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "A""#);
    let lines = [line("www.example 192.0.2.1 - -"), line("9.9.9.9 192.0.2.2 - -")];
    let mut reader = Reader::default();
    for (line, client) in lines.iter().zip(["192.0.2.1", "192.0.2.2"]) {
        let entry = reader.read(line.as_bytes()).expect("a line");
        assert_eq!(entry.observation.client, Some(ClientAddress::new(client.parse().expect("an address"))), "{line}");
        assert!(entry.is_peer, "{line}");
    }
    // What is known of a log is handed on with its format.
    let recognition = recognise([lines[0].as_bytes()]).expect("a format");
    let mut reader = Reader::default();
    assert!(!reader.read(lines[1].as_bytes()).expect("a line").is_peer);
    let mut reader = Reader::default();
    reader.know(&recognition);
    assert!(reader.read(lines[1].as_bytes()).expect("a line").is_peer);
}

#[test]
fn a_target_that_names_its_host_overrules_the_virtual_host() {
    check(
        r#"www.example 192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] "GET http://other.example/x HTTP/1.1" 200 1"#,
        "vhost-common at=0 client=192.0.2.1 method=GET host=other.example path=/x query=none HTTP/1.1 status=200 \
         bytes=1 agent=none referer=none",
    );
}

#[test]
fn clients_that_are_no_addresses() {
    for client in ["-", "pc.example", "192.0.2.256", "192.0.2.1:http", "unknown"] {
        let line = COMBINED.replacen("192.0.2.1", client, 1);
        assert!(show(line.as_bytes()).contains(" client=none "), "{client}");
    }
    for client in ["::ffff:192.0.2.1", "192.0.2.1:5555"] {
        let line = COMBINED.replacen("192.0.2.1", client, 1);
        assert!(show(line.as_bytes()).contains(" client=192.0.2.1 "), "{client}");
    }
}

#[test]
fn escapes_and_quotes_inside_quoted_fields() {
    let line = |agent: &str| format!(r#"- - - [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "{agent}""#);
    for (logged, agent) in [
        (r#"a \"b\" c"#, br#"a "b" c"#.as_slice()),
        (r"a \x22b\x22 c", br#"a "b" c"#),
        (r#"a"b"c"#, br#"a"b"c"#),
        (r"ends in one \\", br"ends in one \"),
        ("caf\u{e9}", "caf\u{e9}".as_bytes()),
    ] {
        let line = line(logged);
        let mut reader = Reader::default();
        let entry = reader.read(line.as_bytes()).expect("a line");
        let mut buffer = Vec::new();
        assert_eq!(entry.encoding == Encoding::Plain, !logged.contains('\\'), "{logged}");
        let restored = restore(&entry.observation.request, entry.encoding, &mut buffer);
        assert_eq!(restored.user_agent, Some(agent), "{logged}");
    }
    assert_eq!(show(line("-").as_bytes()).split_once(" agent=").expect("an agent").1, "none referer=none");
    assert_eq!(show(line("").as_bytes()).split_once(" agent=").expect("an agent").1, " referer=none");
}

#[test]
fn requests_that_are_no_http() {
    let line = |request: &str| format!(r#"192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] "{request}" 400 226 "-" "-""#);
    for request in ["", "-", r"\x16\x03\x01\x01 \x02", "HELP"] {
        let line = line(request);
        let mut reader = Reader::default();
        let entry = reader.read(line.as_bytes()).expect("a line");
        assert_eq!(entry.observation.request.method, b"", "{request}");
        assert_eq!(entry.observation.request.version, Version::Http09, "{request}");
        assert_eq!(entry.observation.outcome, Outcome::Served { status: 400 }, "{request}");
    }
}

#[test]
fn dashes_everywhere() {
    check(
        r#"- - - [01/Jan/1970:00:00:00 +0000] "-" - - "-" "-""#,
        "combined at=0 client=none method= host= path= query=none HTTP/0.9 status=Arrived bytes=0 agent=none \
         referer=none",
    );
    assert!(show(COMBINED.replace(" 200 ", " 000 ").as_bytes()).contains("status=Arrived"));
}

#[test]
fn every_reason_to_refuse() {
    let stamp = "[01/Jan/1970:00:00:00 +0000]";
    check("", "empty");
    check("\t \r", "empty");
    check(vec![b'a'; LINE_BYTES_MAX + 1], "too-long");
    check(b"\0\0\0\0", "no-timestamp");
    check("192.0.2.1 - - \"GET / HTTP/1.1\" 200 1", "no-timestamp");
    check("192.0.2.1 - - [2015-05-17T10:05] \"GET / HTTP/1.1\" 200 1", "no-timestamp");
    check("192.0.2.1 - - [01/Jan/1970:00:00:00 +0000", "no-timestamp");
    check("192.0.2.1 - - [31/Feb/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 1", "wrong-timestamp");
    check("192.0.2.1 - - [31/Dec/9999:23:59:60 -0700] \"GET / HTTP/1.1\" 200 1", "wrong-timestamp");
    check("192.0.2.1 - - [01/Jan/1960:10:05:03 +0000] \"GET / HTTP/1.1\" 200 1", "wrong-timestamp");
    check(format!("{stamp} \"GET / HTTP/1.1\" 200 1"), "too-few-fields");
    check(format!("192.0.2.1 - {stamp} \"GET / HTTP/1.1\" 200 1"), "too-few-fields");
    check(format!("192.0.2.1 - - {stamp}"), "no-request");
    check(format!("192.0.2.1 - - {stamp} GET / 200 1"), "no-request");
    check(format!("192.0.2.1 - - {stamp} \"GET / HTTP/1.1"), "unclosed-quote");
    check(format!("192.0.2.1 - - {stamp} \"GET / HTTP/1.1\\"), "unclosed-quote");
    check(format!("192.0.2.1 - - {stamp} \"GET / HTTP/1.1\" 200 1 \"-\" \"cut"), "unclosed-quote");
    check(format!("192.0.2.1 - - {stamp} \"GET / HTTP/1.1\""), "no-status");
    for status in ["20", "2000", "abc", "099", "600", "-1", "+20"] {
        check(format!("192.0.2.1 - - {stamp} \"GET / HTTP/1.1\" {status} 1"), "wrong-status");
    }
    check(format!("192.0.2.1 - - {stamp} \"GET / HTTP/1.1\" 200"), "no-size");
    for size in ["-5", "1.5", "1k", "99999999999999999999"] {
        check(format!("192.0.2.1 - - {stamp} \"GET / HTTP/1.1\" 200 {size}"), "wrong-size");
    }
}

#[test]
fn reasons_have_unique_names_and_stand_in_order() {
    assert!(Reason::ALL.is_sorted_by(|a, b| a < b));
    for (index, reason) in Reason::ALL.iter().enumerate() {
        assert!(
            Reason::ALL[..index].iter().all(|other| other.name() != reason.name() && other.text() != reason.text())
        );
    }
}

#[test]
fn every_format_belongs_to_a_family() {
    for format in Format::ALL {
        // It takes more than a line: a format string.
        let is_apart = format == Format::Custom;
        assert_ne!(FAMILIES.iter().any(|family| family.formats.contains(&format)), is_apart, "{format}");
    }
}

#[test]
fn formats_are_recognised_by_the_most_lines() {
    let common = r#"192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.1" 200 1"#;
    let of = |lines: &[&str]| {
        recognise(lines.iter().map(|line| line.as_bytes())).map(|found| (found.format, found.confidence, found.lines))
    };
    assert_eq!(of(&[COMBINED, COMBINED]), Some((Format::Combined, 1.0, 2)));
    assert_eq!(of(&["", common, "rubbish", common, COMBINED]), Some((Format::Common, 0.5, 4)));
    assert_eq!(of(&[common, COMBINED]), Some((Format::Combined, 0.5, 2)));
    assert_eq!(of(&["rubbish"]), None);
    assert_eq!(of(&[]), None);
    let many = vec![COMBINED; 10 * RECOGNITION_LINES_MAX];
    assert_eq!(of(&many), Some((Format::Combined, 1.0, RECOGNITION_LINES_MAX)));
}

/// Whether `part` borrows from `whole`, or is the `/` that stands for an empty path.
fn lies_within(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

fn slices<'a>(request: &Request<'a>) -> Vec<&'a [u8]> {
    let optional = [request.query, request.user_agent, request.referer];
    [request.method, request.host, request.path].into_iter().chain(optional.into_iter().flatten()).collect()
}

fn holds_for_any_bytes(line: &[u8]) {
    let mut reader = Reader::default();
    if let Ok(entry) = reader.read(line) {
        for slice in slices(&entry.observation.request) {
            assert!(slice.is_empty() || slice == b"/" || lies_within(slice, line), "{}", slice.escape_ascii());
        }
        let mut buffer = Vec::new();
        let restored = restore(&entry.observation.request, entry.encoding, &mut buffer);
        assert!(entry.encoding != Encoding::Plain || restored == entry.observation.request, "{}", line.escape_ascii());
    }
}

/// Bytes that are nearly lines: parts of lines and rubbish, joined at random.
fn nearly_lines() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"192.0.2.1".to_vec()),
        Just(b"www.example:80".to_vec()),
        Just(b" - ".to_vec()),
        Just(b" ".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"\\".to_vec()),
        Just(b"[17/May/2015:10:05:03 +0000]".to_vec()),
        Just(b" \"GET http://A.example?x HTTP/1.1\" 200 1".to_vec()),
        Just(b" \"-\" \"agent\\x22\"".to_vec()),
        Just(b" \"\\x16\\x03\" 400 -".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// A field as a server writes it: what is not printable ASCII, and quotes and backslashes, as `\xHH`.
fn escaped(field: &[u8]) -> String {
    field
        .iter()
        .map(|byte| match byte {
            b'"' | b'\\' => format!("\\x{byte:02X}"),
            b' '..=b'~' => char::from(*byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_read_or_refused(line in proptest::collection::vec(any::<u8>(), 0..300)) {
        holds_for_any_bytes(&line);
    }

    #[test]
    fn nearly_lines_are_read_or_refused(line in nearly_lines()) {
        holds_for_any_bytes(&line);
    }

    #[test]
    fn what_a_server_writes_is_read_back(
        client in any::<std::net::IpAddr>(),
        seconds in 0_i64..253_000_000_000,
        method in "[A-Z]{1,12}",
        path in proptest::collection::vec(any::<u8>().prop_filter("ends the path", |byte| *byte != b'?'), 0..40),
        query in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        status in 100_u16..600,
        bytes in any::<u64>(),
        agent in proptest::collection::vec(any::<u8>(), 0..60),
        vhost in proptest::option::of("[A-Za-z]{1,8}\\.example"),
    ) {
        let path = [b"/".as_slice(), &path].concat();
        let target = [path.clone(), query.as_ref().map_or(Vec::new(), |query| [b"?", &query[..]].concat())].concat();
        // Spaces at the end of a target cannot be told from the one before the version.
        prop_assume!(target.last().is_some_and(|byte| !byte.is_ascii_whitespace()));
        prop_assume!(agent != b"-");
        let moment = jiff::Timestamp::from_second(seconds).expect("a moment");
        let line = format!(
            r#"{}{client} - - [{}] "{method} {} HTTP/1.1" {status} {bytes} "-" "{}""#,
            vhost.as_ref().map_or(String::new(), |host| format!("{host}:443 ")),
            moment.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            escaped(&target),
            escaped(&agent),
        );
        let mut reader = Reader::default();
        let entry = reader.read(line.as_bytes()).expect("a well-formed line");
        let mut buffer = Vec::new();
        let request = restore(&entry.observation.request, entry.encoding, &mut buffer);
        prop_assert_eq!(entry.observation.client, Some(ClientAddress::new(client)));
        prop_assert_eq!(entry.observation.at.as_seconds(), u64::try_from(seconds).expect("since 1970"));
        prop_assert_eq!(entry.observation.outcome, Outcome::Served { status });
        prop_assert_eq!(entry.observation.cost.bytes, bytes);
        prop_assert_eq!(request.method, method.as_bytes());
        prop_assert_eq!(request.path, &path[..]);
        prop_assert_eq!(request.query, query.as_deref());
        prop_assert_eq!(request.user_agent, Some(&agent[..]));
        let host = vhost.unwrap_or_default().to_ascii_lowercase();
        prop_assert_eq!(request.host, host.as_bytes());
    }
}

macro_rules! seed {
    ($name:literal) => {
        include_str!(concat!("../../../../../fuzz/seeds/log_line/", $name))
    };
}

/// Lines that servers really write, which the mutations below begin with, as the fuzz target does.
const SEEDS: [&str; 22] = [
    seed!("aws-load-balancer"),
    seed!("aws-s3"),
    seed!("caddy"),
    seed!("combined"),
    seed!("combined-in-docker"),
    seed!("combined-with-times"),
    seed!("common-in-container-runtime"),
    seed!("common-in-syslog"),
    seed!("common-with-further-fields"),
    seed!("envoy"),
    seed!("haproxy"),
    seed!("haproxy-cut"),
    seed!("json"),
    seed!("nginx-proxy-manager"),
    seed!("not-http"),
    seed!("squid"),
    seed!("traefik"),
    seed!("vhost-combined-escaped"),
    seed!("vhost-combined-escaped-query"),
    seed!("vhost-common"),
    seed!("w3c"),
    seed!("w3c-quoted"),
];

#[test]
fn every_format_has_a_line_that_is_mutated() {
    let recognised =
        SEEDS.map(|text| recognise(text.as_bytes().split(|byte| *byte == b'\n')).map(|found| found.format));
    // What is no request of HTTP is mutated, too.
    assert_eq!(recognised.iter().filter(|format| format.is_none()).count(), 1, "{recognised:?}");
    for format in Format::ALL.into_iter().filter(|format| *format != Format::Custom) {
        assert!(recognised.contains(&Some(format)), "{} has none", format.name());
    }
}

/// A mutation of one of them, as a fuzzer would make it: bytes changed, left out, doubled or put in, and parts of two joined.
fn mutated(random: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    const PIECES: [&[u8]; 12] =
        [b"\"", b"\\", b"\\x", b"[", b"]", b" ", b"\n", b"\0", b"\xFF", b"\\u", b"99999999999999999999", b"-"];
    let mut line = SEEDS[random(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..=random(6) {
        let at = random(line.len() + 1);
        match random(6) {
            0 if at < line.len() => line[at] = random(256) as u8,
            1 => line.truncate(at),
            2 => line = [&line[..at], PIECES[random(PIECES.len())], &line[at..]].concat(),
            3 => line = [&line[..at], &line[at / 2..]].concat(),
            4 => {
                let other = SEEDS[random(SEEDS.len())].as_bytes();
                line = [&line[..at], &other[random(other.len())..]].concat();
            }
            _ if at < line.len() => drop(line.remove(at)),
            _ => {}
        }
        line.truncate(4096);
    }
    line
}

/// What the fuzz target `log_line` asks, of a bounded number of mutations that are the same in each run, for compilers without one.
#[test]
fn mutations_of_real_lines_do_no_harm() {
    // SplitMix64.
    let mut state = 0x5EA_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) as usize % below.max(1)
    };
    let of_goaccess = [
        r#"~h{," } %~[%d:%t] "%r" %s %b %T"#,
        r#"{"ts":"%x.%^","request":{"remote_ip":"%h","uri":"%U","headers":{"User-Agent":["%u","%^"]}},"status":"%s"}"#,
    ]
    .map(|format| Template::parse(format).expect("a format"));
    let mut read = 0;
    for _ in 0..36_000 {
        let text = mutated(&mut random);
        let mut reader = Reader::default();
        let mut buffer = Vec::new();
        for line in text.split(|byte| *byte == b'\n') {
            if let Ok(entry) = reader.read(line) {
                read += 1;
                assert!(entry.is_timed || entry.observation.cost.connection_time.is_zero());
                let request = entry.observation.request;
                let restored = restore(&request, entry.encoding, &mut buffer);
                assert!(entry.encoding != Encoding::Plain || restored == request, "{}", line.escape_ascii());
            }
            for format in Format::ALL {
                let _ = Reader::new(Some(format)).read(line);
            }
            for template in &of_goaccess {
                let _ = template.read(line);
            }
        }
        let _ = unfinished_line(&text);
        if let Ok(format) = str::from_utf8(&text) {
            let _ = Template::parse(format);
        }
    }
    // Mutations that no reader takes for a line would find nothing.
    assert!(read > 5_000, "{read} lines were read");
}
