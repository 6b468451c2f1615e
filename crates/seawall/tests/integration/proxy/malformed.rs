//! Requests that are no clear HTTP: refused with the right status, and the connection closed.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use crate::support::client::Client;
use crate::support::guard::{Guard, Setup};
use crate::support::origin::Origin;

const LIMITS: &str = "head-bytes-max = \"8 KiB\"\nhead-time-max = \"300ms\"\nidle-time-max = \"5s\"";

/// Sends `bytes` on a new connection and on one that has served a request, and expects each to be refused and closed.
fn check(guard: &Guard, bytes: &[u8], status: u16) {
    for is_first in [true, false] {
        let mut client = guard.connect();
        if !is_first {
            assert_eq!(client.fetch("/before").status, 200);
        }
        client.send(bytes);
        expect_refusal(
            client,
            status,
            &format!("{:?}, first: {is_first}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)])),
        );
    }
}

fn expect_refusal(mut client: Client, status: u16, what: &str) {
    let answer = client.try_answer(false).unwrap_or_else(|why| panic!("{what}: {why:?}"));
    assert_eq!(answer.status, status, "{what}");
    client.expect_close();
}

/// The site must have seen nothing but what went before.
fn expect_unseen(origin: &Origin) {
    let (requests, begun) = origin.requests();
    assert!(requests.iter().all(|request| request.target == "/before"), "{requests:?}");
    assert!(begun.is_empty(), "{begun:?}");
}

#[test]
fn what_is_no_http_gets_400() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).limits(LIMITS).start();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\0\0\0\0",
        b"\xff\xfe\xfd",
        b"hello there, this is no request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"GET / HTTP/3.0\r\nHost: example.org\r\n\r\n",
        b"GET / ICAP/1.0\r\nHost: example.org\r\n\r\n",
        b"GET /\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n",
    ] {
        check(&guard, bytes, 400);
    }
    expect_unseen(&origin);
}

#[test]
fn heads_that_can_be_read_in_two_ways_get_400() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).limits(LIMITS).start();
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\nHost: example.org\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\nhost: evil.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org, evil.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@example.org\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org:80:90\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : example.org\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\nX: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\n folded: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\nX: a\rb\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: example.org\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\n: no name\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET http://example.org/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET http://evil.example@example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET ftp://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET example.org HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3, 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: -3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        check(&guard, head.as_bytes(), 400);
    }
    expect_unseen(&origin);
}

/// Until a connection brings a request with a body the guard reads heads with its own eyes. Later hyper has settled these, in
/// the way of RFC 9112, and what goes on is framed anew: see [`super::smuggling`].
#[test]
fn what_hyper_would_settle_is_refused_where_it_has_no_part() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).limits(LIMITS).start();
    for head in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\nHost: example.org\n\n",
        "GET / HTTP/1.1\r\nHost: example.org\nX: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.org\r\n\n",
        "GET /#fragment HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        let mut client = guard.connect();
        client.send(head);
        expect_refusal(client, 400, head);
    }
    expect_unseen(&origin);
}

#[test]
fn a_large_head_gets_431() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).limits(LIMITS).start();
    let start = "GET / HTTP/1.1\r\nHost: example.org\r\n";
    check(&guard, format!("{start}X: {}\r\n\r\n", "x".repeat(9_000)).as_bytes(), 431);
    check(&guard, format!("{start}{}\r\n", "X: y\r\n".repeat(100)).as_bytes(), 431);
    // More than the kernel takes at once: the answer must arrive all the same.
    check(&guard, format!("{start}X: {}\r\n\r\n", "x".repeat(200_000)).as_bytes(), 431);
    let mut client = guard.connect();
    client.send(format!("GET /{} HTTP/1.1\r\nHost: example.org\r\n\r\n", "x".repeat(9_000)));
    expect_refusal(client, 431, "a long target");
    expect_unseen(&origin);
}

#[test]
fn a_slow_head_gets_408() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).limits(LIMITS).start();
    thread::scope(|scope| {
        for is_first in [true, false] {
            for is_dribbling in [true, false] {
                let guard = &guard;
                scope.spawn(move || {
                    let mut client = guard.connect();
                    if !is_first {
                        assert_eq!(client.fetch("/before").status, 200);
                    }
                    client.send("GET / HTTP/1.1\r\n");
                    if is_dribbling {
                        let mut stream = client.stream().try_clone().expect("a socket");
                        // Sending a little all the time must not help. This is the slow client itself, so it sleeps.
                        thread::spawn(move || {
                            while stream.write_all(b"X: y\r\n").is_ok() {
                                thread::sleep(Duration::from_millis(20));
                            }
                        });
                    }
                    let answer = client.try_answer(false).unwrap_or_else(|why| panic!("first: {is_first}: {why:?}"));
                    assert_eq!(answer.status, 408, "first: {is_first}");
                    client.expect_end();
                });
            }
        }
    });
    expect_unseen(&origin);
    assert!(guard.connect().fetch("/before").status == 200);
}

#[test]
fn refusals_are_counted() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).limits(LIMITS).start();
    check(&guard, b"\x16\x03\x01\x02\x00\x01\x00\x01", 400);
    crate::support::eventually("both are counted", || guard.count("malformed") == 2);
}
