//! One line or more of every format, with the value of each field; times with their zones.

use super::*;

mod envelopes;
mod haproxy;
mod json;
mod litespeed;
mod w3c;

/// What the last of `lines` says.
fn show(lines: &[&str]) -> String {
    let mut reader = Reader::default();
    let (last, before) = lines.split_last().expect("a line");
    for line in before {
        let _ = reader.read(line.as_bytes());
    }
    let entry = match reader.read(last.as_bytes()) {
        Ok(entry) => entry,
        Err(reason) => return reason.name().to_owned(),
    };
    let mut buffer = Vec::new();
    let request = restore(&entry.observation.request, entry.encoding, &mut buffer);
    let Observation { at, client, outcome, cost, .. } = entry.observation;
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let optional = |field: Option<&[u8]>| field.map_or("-".to_owned(), text);
    let status = match outcome {
        Outcome::Served { status } => status.to_string(),
        other => format!("{other:?}"),
    };
    [
        entry.format.name().to_owned(),
        format!("{}.{:06}", at.as_seconds(), at.as_micros() % 1_000_000),
        client.map_or("-".to_owned(), |client| client.ip().to_string()),
        optional(entry.forwarded_for),
        text(request.method),
        text(request.host),
        text(request.path),
        optional(request.query),
        request.version.as_str().to_owned(),
        status,
        cost.bytes.to_string(),
        format!("{:?}", cost.connection_time),
        format!("{:?}", cost.upstream_time),
        optional(request.user_agent),
        optional(request.referer),
    ]
    .join(" | ")
}

#[track_caller]
fn check(lines: &[&str], expected: &str) {
    assert_eq!(show(lines), expected, "{lines:?}");
}

#[test]
fn what_stands_before_a_line_is_none_of_it() {
    let line = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let object =
        r#"{"time":"2024-05-01T10:00:01Z","remote_addr":"192.0.2.1","request":"GET /a HTTP/1.1","status":200}"#;
    for line in [line, object] {
        let expected = show(&[line]);
        for before in ["\0", "\0\0\0\0", "\u{feff}", "\u{feff}\0"] {
            check(&[&format!("{before}{line}")], &expected);
        }
    }
    check(&["\0\0\0"], "no-timestamp");
}

#[test]
fn combined_with_what_follows() {
    let line = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let read = |forwarded: &str, total: &str, site: &str| {
        format!(
            "combined | 1431849903.000000 | 192.0.2.1 | {forwarded} | GET |  | /a | - | HTTP/1.1 | 200 | 5 | {total} | {site} | A/1 | -"
        )
    };
    check(&[line], &read("-", "0ns", "0ns"));
    // `$time_iso8601`, and `$msec`.
    for stamp in ["2015-05-17T10:05:03+02:00", "1431849903.000", "1431849903"] {
        check(&[&line.replace("17/May/2015:10:05:03 +0200", stamp)], &read("-", "0ns", "0ns"));
    }
    check(&[&format!("{line} \"203.0.113.7, 198.51.100.2\"")], &read("203.0.113.7, 198.51.100.2", "0ns", "0ns"));
    check(&[&format!("{line} \"-\" 0.250 0.200")], &read("-", "250ms", "200ms"));
    check(&[&format!("{line} rt=0.250 uct=\"0.000\" uht=\"0.1\" urt=\"0.050, 0.150\"")], &read("-", "250ms", "200ms"));
    check(&[&format!("{line} gz=3.14 rt=0.250")], &read("-", "250ms", "250ms"));
    check(&[&format!("{line} \"203.0.113.7\" 0.250 \"0.200\" 0.1")], &read("203.0.113.7", "250ms", "200ms"));
    check(&[&format!("{line} 3/3000250")], &read("-", "3.00025s", "3.00025s"));
    check(&[&format!("{line} 0/1500")], &read("-", "1.5ms", "1.5ms"));
    check(&[&format!("{line} 4/3000250")], &read("-", "0ns", "0ns"));
    check(&[&format!("{line} 500 \"r@docker\" \"http://198.51.100.3:80\" 42ms")], &read("-", "42ms", "42ms"));
    check(
        &[&format!("{line} 417 0.250 [ns-svc-80] [] 198.51.100.3:80 5 0.200 200 0123456789abcdef")],
        &read("-", "250ms", "200ms"),
    );
    // Of several sites, the second after the first failed; and of those that an answer sent the request on to.
    for upstreams in [
        "198.51.100.3:80, 198.51.100.4:80 0, 5 0.001, 0.200 502, 200",
        "198.51.100.3:80 : 198.51.100.4:80 0 : 5 0.001 : 0.200 502 : 200",
        "198.51.100.3:80, [2001:db8::4]:80 -, 5 0.201, - 502, -",
    ] {
        check(
            &[&format!("{line} 417 0.250 [ns-svc-80] [] {upstreams} 0123456789abcdef")],
            &read("-", "250ms", "201ms"),
        );
    }
    check(&[&format!("{line} 417 \"a word\"")], &read("-", "0ns", "0ns"));
}

/// `$request_time` and `$upstream_response_time` have three digits behind the point, whatever is around them.
#[test]
fn times_without_a_name_are_told_by_their_digits() {
    let line = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    for (further, times) in [
        (r#""0.250""#, "250ms | 250ms"),
        (r#""0.250" "0.200""#, "250ms | 200ms"),
        (r#""0.250" "0.200" "198.51.100.3:80""#, "250ms | 200ms"),
        (r#""0.250" "-""#, "250ms | 250ms"),
        (r#""-" "0.250" "0.050, 0.150""#, "250ms | 200ms"),
        (r#""US" "0.250""#, "250ms | 250ms"),
        ("0.250123", "250.123ms | 250.123ms"),
        ("0.250s", "250ms | 250ms"),
        ("250us", "250µs | 250µs"),
        // `$gzip_ratio`, with what follows it.
        ("2.53", "0ns | 0ns"),
        ("2.53 0.250", "250ms | 250ms"),
        ("- 0.250", "250ms | 250ms"),
        (r#""203.0.113.7" "2.53" "0.250""#, "250ms | 250ms"),
        // `$msec`, with what follows it.
        ("1741768506.123", "0ns | 0ns"),
        ("1741768506.123 0.250", "250ms | 250ms"),
        // What it says behind a word, a client may have said.
        ("TLSv1.3 0.250", "0ns | 0ns"),
        ("1234 0.250", "0ns | 0ns"),
        ("0.5", "0ns | 0ns"),
    ] {
        let shown = show(&[&format!("{line} {further}")]);
        assert!(shown.contains(&format!("| 200 | 5 | {times} | A/1")), "{further}: {shown}");
    }
}

#[test]
fn a_time_in_the_place_of_a_header_is_none() {
    let line = |further: &str| {
        format!(r#"192.0.2.1 - - [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 5 "-" "A/1" {further}"#)
    };
    let shown = show(&[&line(r#""-""#), &line(r#""9999.250""#)]);
    assert!(shown.contains("| 200 | 5 | 0ns | 0ns |"), "{shown}");
    let shown = show(&[&line(r#""-" 0.250"#), &line(r#""0.001" 0.250"#)]);
    assert!(shown.contains("| 200 | 5 | 250ms | 250ms |"), "{shown}");
}

#[test]
fn numbers_of_which_nothing_says_what_they_are_are_told() {
    let combined = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let common = combined.trim_end_matches(r#" "-" "A/1""#);
    for (before, further, is_timed, has_unknown_number, is_unreadable) in [
        (combined, "", false, false, false),
        (combined, r#""-""#, false, false, false),
        (combined, "0.250", true, false, false),
        (combined, "250000", false, true, false),
        (combined, "0 250000", false, true, false),
        (combined, "2.53", false, true, false),
        (combined, "1234 0.250", false, true, false),
        (combined, "TLSv1.3 0.250", false, true, false),
        (combined, "TLSv1.3 0.250 GET", false, false, false),
        (combined, "250000 rt=0.250", true, false, false),
        (combined, "3/3000250", true, false, false),
        // It cannot be one, which is another matter.
        (combined, "1741768506.123", false, false, true),
        (combined, "1741768506.123 0.250", true, false, false),
        (common, "250000", false, true, false),
        (common, "3.42", false, true, false),
        (common, "5.0 x", false, false, false),
        (common, "1741768506.123", false, false, true),
        (common, r#""-" 5"#, false, false, false),
    ] {
        let mut reader = Reader::default();
        let line = format!("{before} {further}");
        let entry = reader.read(line.as_bytes()).expect("a line");
        let found = (entry.is_timed, entry.has_unknown_number, entry.is_duration_unreadable);
        assert_eq!(found, (is_timed, has_unknown_number, is_unreadable), "{line}");
    }
}

#[test]
fn main_ext_of_nginx() {
    let line = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 5 "-" "A/1" "203.0.113.7" "Www.Example:8080" sn="www.example" rt=0.250 ua="198.51.100.3:80, 198.51.100.4:80" us="502, 200" ut="0.050, 0.150" ul="5" cs=MISS"#;
    let read = |forwarded: &str, host: &str| {
        format!(
            "vhost-combined | 1431849903.000000 | 192.0.2.1 | {forwarded} | GET | {host} | /a | - | HTTP/1.1 | 200 | 5 | 250ms | 200ms | A/1 | -"
        )
    };
    check(&[line], &read("203.0.113.7", "www.example"));
    check(&[&line.replace("\"203.0.113.7\"", "\"-\"")], &read("-", "www.example"));
    // A host that looks like a list of addresses, or like a time, is neither.
    let without = line.replace("\"203.0.113.7\"", "\"-\"");
    check(&[&without.replace("Www.Example:8080", "9.9.9.9")], &read("-", "9.9.9.9"));
    check(&[&without.replace("Www.Example:8080", "0.5")], &read("-", "0.5"));
    check(&[&line.replace("Www.Example:8080", "9.9.9.9")], &read("203.0.113.7", "9.9.9.9"));
}

#[test]
fn times_of_iso_8601_in_brackets() {
    let read =
        "combined | 1431857103.000000 | 192.0.2.1 | - | GET |  | /a | - | HTTP/1.1 | 200 | 5 | 0ns | 0ns | A/1 | -";
    for at in [
        "2015-05-17T10:05:03+00:00",
        "2015-05-17T12:05:03+02:00",
        "2015-05-17T10:05:03Z",
        "2015-05-17 10:05:03",
        "2015-05-17 12:05:03 +0200",
    ] {
        check(&[&format!(r#"192.0.2.1 - - [{at}] "GET /a HTTP/1.1" 200 5 "-" "A/1""#)], read);
    }
}

/// The user and the host are what a client says they are.
#[test]
fn a_time_stamp_that_a_client_sent_is_none() {
    let line = |before: &str| format!(r#"{before} [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#);
    let rest = "192.0.2.1 | - | GET |";
    for before in [
        "192.0.2.1 - [01/Jan/2015:00:00:00 +0000]",
        "192.0.2.1 - x [01/Jan/2015:00:00:00 +0000] x",
        "192.0.2.1 - [2015-01-01T00:00:00Z]",
        r"192.0.2.1 - [01/Jan/2015:00:00:00 +0000]\x22GET",
        "[2015-01-01T00:00:00Z] 192.0.2.1 - -",
    ] {
        let shown = show(&[&line("192.0.2.1 - -"), &line(before)]);
        assert!(shown.contains(" | 1431857103.000000 | ") && shown.contains(rest), "{before}: {shown}");
    }
}

#[test]
fn microseconds_of_apache_are_known_by_the_other_lines() {
    let line = |micros: u64, bytes: u64| {
        format!(r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 {bytes} "-" "A/1" {micros}"#)
    };
    let mut lines: Vec<String> =
        (0..120).map(|n| line(if n % 7 == 0 { 90_000 + 800 * n } else { 300 }, 5_000)).collect();
    let timed = "200 | 5 | 250ms | 250ms";
    lines.push(line(250_000, 5));
    let shown = |lines: &[String]| show(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(shown(&lines).contains(timed), "{}", shown(&lines));
    // By itself it could be anything.
    assert!(shown(&lines[120..]).contains("200 | 5 | 0ns | 0ns"), "{}", shown(&lines[120..]));
    // Of readers that share the lines each knows as much, and none learns more than the others.
    let first = || lines.iter().map(|line| line.as_bytes());
    let is_timed = |mut reader: Reader| {
        let mut timed = 0;
        for line in first().chain(first()) {
            timed += u32::from(reader.read(line).expect("a line").is_timed);
        }
        (timed, reader.read(lines[0].as_bytes()).expect("a line").is_timed)
    };
    let (mut settled, mut of_others) = (Reader::default(), Reader::default());
    settled.settle_numbers(first());
    of_others.settle_numbers(first().take(20));
    assert_eq!((is_timed(settled), is_timed(of_others)), ((242, true), (0, false)));
    // What was found out with the format is known from the first line on.
    let recognition = recognise(lines.iter().map(|line| line.as_bytes())).expect("a format");
    let mut reader = Reader::default();
    reader.know(&recognition);
    assert!(reader.read(lines[0].as_bytes()).expect("a line").is_timed);
}

#[test]
fn times_behind_the_common_fields_are_known_where_no_client_can_have_sent_them() {
    let line =
        |further: &str| format!(r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5{further}"#);
    let read = |further: &str, time: &str| {
        let common = "common | 1431857103.000000 | 192.0.2.1 | - | GET |  | /a | - | HTTP/1.1 | 200 | 5";
        check(&[&line(further)], &format!("{common} | {time} | {time} | - | -"));
        let vhost = "vhost-common | 1431857103.000000 | 192.0.2.1 | - | GET | a.example | /a | - | HTTP/1.1 | 200 | 5";
        check(&[&format!("a.example {}", line(further))], &format!("{vhost} | {time} | {time} | - | -"));
    };
    read(" 3/3000250", "3.00025s");
    read(" 4/3000250", "0ns");
    read(" 0.250", "250ms");
    read(" rt=0.250", "250ms");
    read(" 250", "0ns");
    // What a client may have sent.
    read(r#" "203.0.113.7" 0.250"#, "0ns");
    for agent in
        ["Mozilla/5.0 (X11) rt=999", "some thing 99999ms", "A/1 999.250", "99999ms", "5.0 x", "- rt=999", "- 7/7000000"]
    {
        read(&format!(" {agent}"), "0ns");
        read(&format!(" rt=0.250 {agent}"), "250ms");
    }
    // How well nginx could compress.
    read(" 3.42", "0ns");
    read(" 3.42 -", "0ns");
    let mut lines: Vec<String> = (0..120)
        .map(|n| line(&format!(" {}", if n % 7 == 0 { 90_000 + 800 * n } else { 300 })).replace(" 5 ", " 5000 "))
        .collect();
    lines.push(line(" 250000"));
    let shown = show(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(shown.contains("200 | 5 | 250ms | 250ms"), "{shown}");
    // Once that is known, so is what is no time there.
    let mut reader = Reader::default();
    let mut is_unreadable = |line: &str| reader.read(line.as_bytes()).map(|entry| entry.is_duration_unreadable);
    assert_eq!(is_unreadable(&line(" fast")), Ok(false), "it may be anything");
    assert!(lines.iter().all(|line| is_unreadable(line) == Ok(false)));
    assert_eq!(
        (is_unreadable(&line(" fast")), is_unreadable(&line(" -")), is_unreadable(&line(""))),
        (Ok(true), Ok(false), Ok(false))
    );
}

#[test]
fn seconds_and_microseconds_behind_a_combined_line_are_its_time() {
    let line = |further: &str| {
        format!(r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5000 "-" "A/1" {further}"#)
    };
    let mut lines: Vec<String> = (0..120)
        .map(|n| if n % 7 == 0 { 1_000_000 + 8_000 * n } else { 300 })
        .map(|micros| line(&format!("{} {micros}", micros / 1_000_000)))
        .collect();
    // Behind the addresses that the client came by, too.
    for (further, time) in [("2 2250000", "2.25s"), ("0 900", "900µs"), ("\"203.0.113.7\" 2 2250000", "2.25s")] {
        lines.push(line(further));
        let shown = show(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(shown.contains(&format!("200 | 5000 | {time} | {time}")), "{shown}");
    }
    // What does not fit is told, and they are learnt anew.
    let mut reader = Reader::default();
    let mut read =
        |line: &str| reader.read(line.as_bytes()).map(|entry| (entry.is_timed, entry.is_duration_unreadable));
    lines.iter().for_each(|line| assert!(read(line).is_ok()));
    assert_eq!(read(&line("2 2250000")), Ok((true, false)));
    assert_eq!(read(&line("3 2250000")), Ok((false, true)));
    assert_eq!(read(&line("2 2250000")), Ok((false, false)));
}

#[test]
fn what_is_no_time_where_one_should_be_is_told() {
    let combined = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let json = r#"{"msec":1714557601.250,"remote_addr":"192.0.2.1","request":"GET /a HTTP/1.1","status":200"#;
    let caddy = r#"{"ts":1693840791.75,"request":{"remote_ip":"192.0.2.1","method":"GET","uri":"/a"},"status":200"#;
    let custom: FormatChoice = r#"%h %l %u %t "%r" %>s %b %D"#.parse().expect("a format");
    let common = combined.trim_end_matches(r#" "-" "A/1""#);
    for (reader, line, is_unreadable) in [
        (Reader::default(), combined.to_owned(), false),
        (Reader::default(), format!("{combined} rt=0.5 urt=-"), false),
        (Reader::default(), format!("{combined} rt=fast"), true),
        (Reader::default(), format!("{combined} rt=0.5 urt=\"0.1, fast\""), true),
        (Reader::default(), format!(r#"{json},"request_time":"0.005"}}"#), false),
        (Reader::default(), format!(r#"{json},"request_time":"","upstream_response_time":"-"}}"#), false),
        (Reader::default(), format!(r#"{json},"request_time":"fast"}}"#), true),
        (Reader::default(), format!(r#"{caddy},"duration":"fast"}}"#), true),
        (Reader::of(custom.clone()), format!("{common} 1500"), false),
        (Reader::of(custom.clone()), format!("{common} -"), false),
        (Reader::of(custom), format!("{common} 1500us"), true),
    ] {
        let mut reader = reader;
        let entry = reader.read(line.as_bytes()).expect("a line");
        assert_eq!(entry.is_duration_unreadable, is_unreadable, "{line}");
    }
}

#[test]
fn lighttpd_has_the_host_in_the_second_field() {
    check(
        &[r#"192.0.2.1 www.example.org - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#],
        "vhost-combined | 1431857103.000000 | 192.0.2.1 | - | GET | www.example.org | /a | - | HTTP/1.1 | 200 | 5 | 0ns | 0ns | A/1 | -",
    );
}

#[test]
fn envoy_in_both_ways() {
    check(
        &[
            r#"[2016-04-15T20:17:00.310Z] "POST /a HTTP/2" 204 - 154 9 226 100 "203.0.113.7, 192.0.2.1" "A/1" "cc21d9b0" "example.org:8443" "tcp://198.51.100.1:80""#,
        ],
        "envoy | 1460751420.310000 | 192.0.2.1 | 203.0.113.7, 192.0.2.1 | POST | example.org | /a | - | HTTP/2.0 | 204 | 9 | 226ms | 100ms | A/1 | -",
    );
    check(
        &[
            r#"{":authority":"example.org","bytes_sent":121258,"downstream_remote_address":"[2001:db8::1]:59292","duration":11,"method":"GET","protocol":"HTTP/2","response_code":200,"start_time":"2025-12-31T16:37:40.479Z","user-agent":"A/1","x-envoy-origin-path":"/a?b","x-envoy-upstream-service-time":"9"}"#,
        ],
        "envoy | 1767199060.479000 | 2001:db8::1 | - | GET | example.org | /a | b | HTTP/2.0 | 200 | 121258 | 11ms | 9ms | A/1 | -",
    );
}

#[test]
fn envoy_as_istio_has_it() {
    let line = |forwarded: &str| {
        format!(
            r#"[2020-11-25T21:26:18.409Z] "GET /status/418?a HTTP/1.1" 418 - via_upstream - "-" 0 135 4 3 "{forwarded}" "curl/7.73" "84961386" "httpbin:8000" "198.51.100.23:80" inbound|8000|| 127.0.0.1:41854 198.51.100.23:80 192.0.2.27:37652 outbound_.8000 default"#
        )
    };
    let read = |client: &str, forwarded: &str| {
        format!(
            "envoy | 1606339578.409000 | {client} | {forwarded} | GET | httpbin | /status/418 | a | HTTP/1.1 | 418 | 135 | 4ms | 3ms | curl/7.73 | -"
        )
    };
    check(&[&line("-")], &read("192.0.2.27", "-"));
    check(&[&line("203.0.113.7,192.0.2.1")], &read("192.0.2.1", "203.0.113.7,192.0.2.1"));
    check(
        &[
            r#"{"authority":"httpbin:8000","bytes_received":0,"bytes_sent":135,"downstream_remote_address":"192.0.2.27:37652","duration":4,"method":"GET","path":"/status/418?a","protocol":"HTTP/1.1","response_code":418,"start_time":"2020-11-25T21:26:18.409Z","upstream_service_time":"3","user_agent":"curl/7.73","x_forwarded_for":null}"#,
        ],
        &read("192.0.2.27", "-"),
    );
}

#[test]
fn nginx_proxy_manager() {
    check(
        &[
            r#"[01/Oct/2025:14:32:15 +0000] HIT 200 304 - GET https example.org "/a?b" [Client 192.0.2.1] [Length 1543] [Gzip 2.45] [Sent-to 198.51.100.15:8080] "A/1" "https://a.example/""#,
        ],
        "nginx-proxy-manager | 1759329135.000000 | 192.0.2.1 | - | GET | example.org | /a | b | HTTP/1.1 | 304 | 1543 | 0ns | 0ns | A/1 | https://a.example/",
    );
    check(
        &[
            r#"[01/Oct/2025:14:32:15 +0530] - 200 200 - GET https example.org "/a" [Client 2001:db8::1] [Length 1543] [Gzip 2.45] [Sent-to [2001:db8::2]:8080] "A/1" "-""#,
        ],
        "nginx-proxy-manager | 1759309335.000000 | 2001:db8::1 | - | GET | example.org | /a | - | HTTP/1.1 | 200 | 1543 | 0ns | 0ns | A/1 | -",
    );
    check(
        &[
            r#"[24/Jan/2022:13:40:19 +0000] 444 - GET https 198.51.100.1 "/.env" [Client 192.0.2.1] [Length 0] [Gzip -] "A/1" "-""#,
        ],
        "nginx-proxy-manager | 1643031619.000000 | 192.0.2.1 | - | GET | 198.51.100.1 | /.env | - | HTTP/1.1 | 444 | 0 | 0ns | 0ns | A/1 | -",
    );
}

#[test]
fn amazon() {
    check(
        &[
            "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query x-host-header time-taken cs-protocol-version",
            "2024-05-01\t12:00:01\tFRA50\t512\t192.0.2.1\tGET\td111.cloudfront.net\t/a\t200\t-\tMozilla/5.0%20(X11)\tb=c\texample.org\t0.25\tHTTP/2.0",
        ],
        "w3c | 1714564801.000000 | 192.0.2.1 | - | GET | example.org | /a | b=c | HTTP/2.0 | 200 | 512 | 250ms | 250ms | Mozilla/5.0 (X11) | -",
    );
    check(
        &[
            r#"https 2023-04-26T12:23:00.186641Z app/name/id 192.0.2.1:44740 198.51.100.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://www.example.org:443/a?b HTTP/1.1" "curl/7.46.0" ECDHE TLSv1.2 arn "Root=1""#,
        ],
        "aws-load-balancer | 1682511780.186641 | 192.0.2.1 | - | GET | www.example.org | /a | b | HTTP/1.1 | 200 | 57 | 171ms | 48ms | curl/7.46.0 | -",
    );
    check(
        &[
            r#"2015-05-13T23:39:43.945958Z name 192.0.2.1:2817 - -1 -1 -1 503 0 0 29 "GET http://example.org:80/ HTTP/1.1" "-" - -"#,
        ],
        "aws-load-balancer | 1431560383.945958 | 192.0.2.1 | - | GET | example.org | / | - | HTTP/1.1 | 503 | 29 | 0ns | 0ns | - | -",
    );
    check(
        &[
            r#"79a59df900b949e55d96 bucket [06/Feb/2019:00:00:38 -0330] 192.0.2.3 79a59df 3E57427F3 REST.GET.OBJECT key "GET /key?b HTTP/1.1" 200 - 2662 3462 70 10 "-" "S3Console/0.4" -"#,
        ],
        "aws-s3 | 1549423838.000000 | 192.0.2.3 | - | GET | bucket | /key | b | HTTP/1.1 | 200 | 2662 | 70ms | 10ms | S3Console/0.4 | -",
    );
}

#[test]
fn squid() {
    check(
        &[
            "1286536308.779    180 192.0.2.224 TCP_MISS/200 411 GET http://example.org/a?b - DIRECT/198.51.100.7 text/html",
        ],
        "squid | 1286536308.779000 | 192.0.2.224 | - | GET | example.org | /a | b | HTTP/1.1 | 200 | 411 | 180ms | 180ms | - | -",
    );
}

/// What is no HTTP has neither method nor path, but counts.
#[test]
fn what_servers_write_of_malformed_requests() {
    for (request, host) in [
        ("- http://my-lb-1.eu-west-1.elb.amazonaws.com:80- -", "my-lb-1.eu-west-1.elb.amazonaws.com"),
        ("- https://my-lb:443- -", "my-lb"),
        ("- - - ", ""),
    ] {
        check(
            &[&format!(
                r#"http 2023-04-26T12:23:00.186641Z app/name/id 192.0.2.1:44740 - -1 -1 -1 400 - 0 272 "{request}" "-" - - -"#
            )],
            &format!(
                "aws-load-balancer | 1682511780.186641 | 192.0.2.1 | - |  | {host} |  | - | HTTP/0.9 | 400 | 272 | 0ns | 0ns | - | -"
            ),
        );
    }
    for request in ["NONE error:transaction-end-before-headers", "- error:invalid-request", "GET error:invalid-request"]
    {
        check(
            &[&format!("1286536308.779    180 192.0.2.224 NONE/400 411 {request} - HIER_NONE/- -")],
            "squid | 1286536308.779000 | 192.0.2.224 | - |  |  |  | - | HTTP/0.9 | 400 | 411 | 180ms | 180ms | - | -",
        );
    }
    check(
        &["1286536308.779    180 192.0.2.224 NONE/400 411 - /a?b - HIER_NONE/- -"],
        "squid | 1286536308.779000 | 192.0.2.224 | - |  |  | /a | b | HTTP/1.1 | 400 | 411 | 180ms | 180ms | - | -",
    );
}

#[test]
fn names_that_goaccess_has_for_formats() {
    let combined = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    let cloud_storage = r#""1431857103250000","192.0.2.1","1","","GET","/a?b","200","0","512","82000","a.example","","A/1","AAANsUmq","GET_Object","bucket","a""#;
    let balancer = r#"http 2023-04-26T12:23:00.186641Z app/name/id 192.0.2.1:44740 198.51.100.1:80 0.086 0.048 0.037 200 200 0 57 "GET http://a.example:80/a HTTP/1.1" "A/1" - - arn "Root=1""#;
    let fields = "#Fields: date time c-ip cs-uri-stem";
    let s3 = r#"79a5 bucket [06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a59df 3E57 REST.GET.OBJECT key "GET /key HTTP/1.1" 200 - 2662 3462 70 10 "-" "A/1" -"#;
    for (name, line, format) in [
        ("COMBINED", combined, "combined"),
        ("Combined", combined, "combined"),
        ("VCOMBINED", &format!("a.example:80 {combined}"), "vhost-combined"),
        ("COMMON", &combined[..combined.len() - 10], "common"),
        ("VCOMMON", &format!("a.example:80 {}", &combined[..combined.len() - 10]), "vhost-common"),
        ("W3C", "2024-05-01 12:00:01 192.0.2.1 /a", "w3c"),
        ("CLOUDFRONT", "2024-05-01 12:00:01 192.0.2.1 /a", "w3c"),
        ("AWSELB", balancer, "aws-load-balancer"),
        ("AWSALB", balancer, "aws-load-balancer"),
        ("AWSS3", s3, "aws-s3"),
        ("SQUID", "1286536308.779    180 192.0.2.224 TCP_MISS/200 411 GET http://a.example/a - DIRECT/- -", "squid"),
        (
            "CADDY",
            r#"{"ts":1693840791.75,"request":{"remote_ip":"192.0.2.9","method":"GET","uri":"/a"},"status":200}"#,
            "caddy",
        ),
        ("TRAEFIKCLF", &format!(r#"{combined} 500 "r@docker" "http://198.51.100.3:80" 42ms"#), "combined"),
        ("CLOUDSTORAGE", cloud_storage, "custom"),
        // What people call what writes them.
        ("iis", "2024-05-01 12:00:01 192.0.2.1 /a", "w3c"),
        ("cloudfront", "2024-05-01 12:00:01 192.0.2.1 /a", "w3c"),
        ("alb", balancer, "aws-load-balancer"),
        ("elb", balancer, "aws-load-balancer"),
        ("s3", s3, "aws-s3"),
    ] {
        let mut reader = Reader::of(name.parse().expect("a format"));
        let _ = reader.read(fields.as_bytes());
        let read = reader.read(line.as_bytes()).map(|entry| entry.format.name());
        assert_eq!(read, Ok(format), "{name}: {line}");
    }
    let mut reader = Reader::of("CLOUDSTORAGE".parse().expect("a format"));
    let entry = reader.read(cloud_storage.as_bytes()).expect("a line");
    let Observation { at, client, request, cost, .. } = entry.observation;
    assert_eq!(
        (at.as_micros(), cost.bytes, cost.connection_time),
        (1_431_857_103_250_000, 512, Duration::from_millis(82))
    );
    assert_eq!(client.map(|client| client.ip().to_string()).as_deref(), Some("192.0.2.1"));
    assert_eq!((request.host, request.path, request.query), (&b"a.example"[..], &b"/a"[..], Some(&b"b"[..])));
    assert_eq!((request.referer, request.user_agent), (None, Some(&b"A/1"[..])));
    assert!(!entry.is_peer, "it is connected to Google");
}

#[test]
fn a_format_that_is_named_is_the_only_one() {
    let line = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "A/1""#;
    for (name, read) in [("combined", Ok(())), ("caddy", Err(Reason::OtherFormat)), ("%h %l %u %t \"%r\"", Ok(()))] {
        let mut reader = Reader::of(name.parse().expect("a format"));
        let line = if name.contains('%') { line.split(" 200").next().unwrap_or_default() } else { line };
        assert_eq!(reader.read(line.as_bytes()).map(|_| ()), read, "{name}");
    }
    let error = "domino".parse::<FormatChoice>().map(|_| ()).expect_err("no format").to_string();
    assert!(error.starts_with("there is no format \"domino\"; there are combined, common, "), "{error}");
}
