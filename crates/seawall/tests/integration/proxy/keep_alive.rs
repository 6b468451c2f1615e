//! Connections that carry several requests, on both sides of the guard.

use crate::support::client::NoAnswer;
use crate::support::guard::Setup;
use crate::support::origin::Origin;

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    let post = "POST /2 HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 5\r\n\r\nhello";
    client.send(format!("{}{post}{}", get("/1", "example.org"), get("/3", "EXAMPLE.org:80")));
    for expected in ["GET /1 0", "POST /2 5", "GET /3 0"] {
        assert_eq!(client.answer().text(), expected);
    }
    // Cut at every place, the same requests mean the same.
    let all = format!("{}{post}{}", get("/1", "example.org"), get("/3", "example.org"));
    for cut in (1..all.len()).step_by(7) {
        let mut client = guard.connect();
        client.send(&all[..cut]);
        client.send(&all[cut..]);
        for expected in ["GET /1 0", "POST /2 5", "GET /3 0"] {
            assert_eq!(client.answer().text(), expected, "cut at {cut}");
        }
    }
}

#[test]
fn a_refusal_among_pipelined_requests_ends_the_connection() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    for before in 0..3 {
        let mut client = guard.connect();
        let requests: String = (0..before).map(|_| get("/ours", "example.org")).collect();
        client.send(format!("{requests}{}{}", get("/", "evil.example"), get("/never", "example.org")));
        for _ in 0..before {
            assert_eq!(client.answer().text(), "GET /ours 0");
        }
        let answer = client.answer();
        assert_eq!((answer.status, answer.headers.one("connection")), (421, Some("close")));
        client.expect_close();
    }
    let (requests, begun) = origin.requests();
    assert!(begun.is_empty() && requests.iter().all(|request| request.target == "/ours"), "{requests:?}");
}

#[test]
fn a_refused_body_does_not_become_a_request() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    let hidden = get("/hidden", "example.org");
    for is_first in [true, false] {
        for (framing, body) in [
            (format!("Content-Length: {}", hidden.len()), hidden.clone()),
            ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len())),
        ] {
            let mut client = guard.connect();
            if !is_first {
                assert_eq!(client.fetch("/ours").status, 200);
            }
            client.send(format!("POST / HTTP/1.1\r\nHost: evil.example\r\n{framing}\r\n\r\n{body}"));
            assert_eq!(client.answer().status, 421);
            assert!(matches!(client.try_answer(false), Err(NoAnswer::Closed(0) | NoAnswer::Reset)));
        }
    }
    let (requests, _) = origin.requests();
    assert!(requests.iter().all(|request| request.target == "/ours"), "{requests:?}");
}

#[test]
fn upstream_connections_are_used_again() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    for number in 0..20 {
        assert_eq!(client.fetch(&format!("/{number}")).text(), format!("GET /{number} 0"));
        assert_eq!(guard.connect().fetch("/other").text(), "GET /other 0");
        client.send(
            "POST /post HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        );
        assert_eq!(client.answer().text(), "POST /post 3");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_site_that_closes_after_each_answer_does_not_close_the_visitors_connection() {
    let origin = Origin::start(|mut visit| {
        visit.head();
        visit.send("HTTP/1.1 200 OK\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nok");
    });
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    for _ in 0..3 {
        let answer = client.fetch("/");
        assert_eq!(answer.text(), "ok");
        for name in ["connection", "x-secret", "keep-alive"] {
            assert!(answer.headers.all(name).is_empty(), "{answer:?}");
        }
    }
    assert_eq!(origin.connections(), 3);
}

#[test]
fn the_client_says_whether_its_connection_stays() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    for (version, connection, stays) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, Close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
    ] {
        let mut client = guard.connect();
        for _ in 0..if stays { 2 } else { 1 } {
            client.send(format!("GET / HTTP/{version}\r\nHost: example.org\r\n{connection}\r\n"));
            let answer = client.answer();
            assert_eq!(answer.text(), "GET / 0", "{version} {connection}");
            if version == "1.0" && stays {
                assert_eq!(
                    answer.headers.one("connection").map(str::to_ascii_lowercase).as_deref(),
                    Some("keep-alive")
                );
            }
        }
        if !stays {
            client.expect_close();
        }
    }
}

#[test]
fn a_client_of_http_1_0_without_a_host_is_served_where_every_host_is() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).hosts("*").start();
    let mut client = guard.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().text(), "GET / 0");
    // What goes on is HTTP/1.1, which has a Host, if an empty one.
    assert_eq!(origin.last_request().headers.one("host"), Some(""));
}

#[test]
fn a_target_in_absolute_form_goes_on_as_a_path() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    for _ in 0..2 {
        client.send("GET http://Example.org:8080/a?b=c HTTP/1.1\r\nHost: example.org:8080\r\n\r\n");
        assert_eq!(client.answer().text(), "GET /a?b=c 0");
        assert_eq!(origin.last_request().headers.one("host"), Some("Example.org:8080"));
        client.send("GET http://example.org?b=c HTTP/1.1\r\nHost: example.org\r\n\r\n");
        assert_eq!(client.answer().text(), "GET /?b=c 0");
        client.send("OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n");
        assert_eq!(client.answer().text(), "OPTIONS * 0");
    }
}
