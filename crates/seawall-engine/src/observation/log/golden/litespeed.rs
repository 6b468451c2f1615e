//! LiteSpeed: OpenLiteSpeed and CyberPanel write the quotes around their format as well.

use super::*;

#[test]
fn lines_in_quotes_are_read_without_them() {
    check(
        &[r#""192.0.2.1 - - [08/Jun/2022:22:44:58 +0200] "GET /a?b=c HTTP/2" 200 195 "https://a.example/" "A/1""#],
        "unclosed-quote",
    );
    let inside = r#"192.0.2.1 - - [08/Jun/2022:22:44:58 +0200] "GET /a?b=c HTTP/2" 200 195 "-" "A/1 (X)""#;
    check(
        &[&format!("\"{inside}\"")],
        "combined | 1654721098.000000 | 192.0.2.1 | - | GET |  | /a | b=c | HTTP/2.0 | 200 | 195 | 0ns | 0ns | A/1 (X) | -",
    );
    check(
        &[r#""example.com 192.0.2.1 - - [08/Jun/2022:22:44:58 -0500] "POST /b HTTP/1.1" 200 10540""#],
        "vhost-common | 1654746298.000000 | 192.0.2.1 | - | POST | example.com | /b | - | HTTP/1.1 | 200 | 10540 | 0ns | 0ns | - | -",
    );
    check(
        &[r#""2001:db8::1 - bob [08/Jun/2022:20:44:58 +0000] "GET / HTTP/1.1" 304 -""#],
        "common | 1654721098.000000 | 2001:db8::1 | - | GET |  | / | - | HTTP/1.1 | 304 | 0 | 0ns | 0ns | - | -",
    );
    check(
        &[
            r#""example.com 192.0.2.1 - - [08/Jun/2022:22:44:58 +0200] "GET /a HTTP/3" 404 7 "https://a.example/b" "A/1 (X)"""#,
        ],
        "vhost-combined | 1654721098.000000 | 192.0.2.1 | - | GET | example.com | /a | - | HTTP/3.0 | 404 | 7 | 0ns | 0ns | A/1 (X) | https://a.example/b",
    );
}

#[test]
fn the_client_of_a_line_in_quotes_is_whom_the_server_saw() {
    let mut reader = Reader::default();
    let line = r#""192.0.2.1 - - [08/Jun/2022:22:44:58 +0200] "GET /a HTTP/2" 200 195 "-" "A/1"""#;
    assert!(reader.read(line.as_bytes()).expect("a line").is_peer);
}

#[test]
fn a_host_that_begins_with_a_quote_hides_no_request() {
    let line = r#""x 192.0.2.1 - - [08/Jun/2022:22:44:58 +0200] "GET /a HTTP/1.1" 200 195 "-" "A/1""#;
    let plain = line.replacen('"', "", 1);
    let shown = show(&[&plain]).replace(" | x | ", " | \"x | ");
    check(&[&plain, line], &shown);
}
