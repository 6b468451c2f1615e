//! HAProxy's lines, whole and cut.

use super::check;

#[test]
fn haproxy() {
    check(
        &[
            r#"Feb 25 16:19:49 198.51.100.2 haproxy[7]: 192.0.2.1:53332 [25/Feb/2019:16:19:48.143] in~ bk/srv 0/0/7/1457/1487 200 11394 - - ---- 2/1/0/0/0 0/0 {https://a.example/|Mozilla/5.0 (X11)} {} "GET /a?b HTTP/1.1""#,
        ],
        "haproxy | 1551111588.143000 | 192.0.2.1 | - | GET |  | /a | b | HTTP/1.1 | 200 | 11394 | 1.487s | 1.457s | Mozilla/5.0 (X11) | -",
    );
    check(
        &[
            r#"[2001:db8::1]:53332 [25/Feb/2019:16:19:48.143] in bk/<NOSRV> -1/-1/-1/-1/5 503 +212 - - SC-- 2/1/0/0/0 0/0 "GET / HTTP/1.0""#,
        ],
        "haproxy | 1551111588.143000 | 2001:db8::1 | - | GET |  | / | - | HTTP/1.0 | 503 | 212 | 5ms | 5ms | - | -",
    );
    check(
        &[
            r#"unix:1 [25/Feb/2019:16:19:48.143] in bk/srv 0/0/7/1457/1487 200 11394 - - ---- 2/1/0/0/0 0/0 {|A/1#7C} "GET /a#22?b#23 HTTP/1.1""#,
        ],
        "haproxy | 1551111588.143000 | - | - | GET |  | /a\" | b# | HTTP/1.1 | 200 | 11394 | 1.487s | 1.457s | A/1| | -",
    );
    check(&["192.0.2.1:50033 [28/Feb/2025:02:43:10.123] in/1: SSL handshake failure"], "not-a-request");
}

#[test]
fn lines_that_were_cut_in_the_request() {
    let line = |request: &str| {
        format!(
            r#"<134>Feb 25 16:19:49 haproxy[7]: 192.0.2.1:53332 [25/Feb/2019:16:19:48.143] in bk/srv 0/0/7/1457/1487 200 5 - - ---- 2/1/0/0/0 0/0 {{A/1}} {request}"#
        )
    };
    let read = |method: &str, path: &str, query: &str| {
        format!(
            "haproxy | 1551111588.143000 | 192.0.2.1 | - | {method} |  | {path} | {query} | HTTP/1.1 | 200 | 5 | 1.487s | 1.457s | A/1 | -"
        )
    };
    check(&[&line(r#""GET /aaaa"#)], &read("GET", "/aaaa", "-"));
    check(&[&line(r#""GET /aaaa?b=c#2"#)], &read("GET", "/aaaa", "b=c#2"));
    for version in ["", "H", "HTTP/", "HTTP/1.", "HTTP/1.1"] {
        check(&[&line(&format!("\"POST /a {version}"))], &read("POST", "/a", "-"));
    }
    check(&[&line("")], "no-request");
}

#[test]
fn as_others_write_it() {
    let line = |times: &str| {
        format!(
            r#"<134>Feb 25 16:19:49 haproxy[7]: 192.0.2.1 - - [25/Feb/2019:16:19:48 +0000] "GET /a HTTP/1.1" 200 5 "" "" 53332 143 "in~" "bk" "srv" {times} ---- 2 1 0 0 0 0 0 "" """#
        )
    };
    let read = |times: &str| {
        format!("combined | 1551111588.000000 | 192.0.2.1 | - | GET |  | /a | - | HTTP/1.1 | 200 | 5 | {times} | - | -")
    };
    check(&[&line("0 0 7 1457 1487")], &read("1.487s | 1.457s"));
    check(&[&line("-1 -1 -1 -1 +5")], &read("5ms | 5ms"));
}
