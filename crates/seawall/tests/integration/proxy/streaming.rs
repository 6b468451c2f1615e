//! Bodies pass through as they come, in both directions, and nothing is collected on the way.

use std::hash::{DefaultHasher, Hasher as _};
use std::io::{Read as _, Write as _};
use std::sync::{Mutex, mpsc};
use std::thread;

use crate::support::client::NoAnswer;
use crate::support::eventually;
use crate::support::guard::{Guard, Setup};
use crate::support::origin::Origin;

const LARGE: usize = 50_000_000;

/// The guard's memory may grow by this much while a large body passes through: a third of the body. Most of what it does grow
/// by, about 8 MiB, is the engine's tables being touched for the first time.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

/// A piece of a body that differs from place to place.
fn piece(number: usize) -> [u8; 50_000] {
    let mut bytes = [0; 50_000];
    let mut state = number as u64 + 1;
    for byte in &mut bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    bytes
}

/// What the guard takes once the tables of its engine are there, in KiB.
fn memory_at_rest(guard: &Guard) -> u64 {
    eventually("the tables are made", || guard.status()["limits"]["engine_bytes"].as_u64() > Some(0));
    guard.memory("VmHWM")
}

fn hash_of_large() -> u64 {
    let mut hasher = DefaultHasher::new();
    (0..LARGE / 50_000).for_each(|number| hasher.write(&piece(number)));
    hasher.finish()
}

/// Reads so many bytes, or all there are.
fn hash(stream: &mut impl std::io::Read, length: usize) -> (usize, u64) {
    // Like the writer's: the hash of std depends on how what is hashed was cut.
    let (mut hasher, mut buffer, mut read) = (DefaultHasher::new(), [0; 50_000], 0);
    while read < length && stream.read_exact(&mut buffer).is_ok() {
        hasher.write(&buffer);
        read += buffer.len();
    }
    (read, hasher.finish())
}

#[test]
fn a_large_upload_passes_through() {
    let origin = Origin::start(|mut visit| {
        // The head alone, byte by byte, so that the rest can be read past the record.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if visit.stream().read_exact(&mut byte).is_err() {
                return;
            }
            head.push(byte[0]);
        }
        let (read, hash) = hash(visit.stream(), LARGE);
        visit.answer(&format!("{read} {hash}"));
    });
    let guard = Setup::to(&origin.url()).start();
    let before = memory_at_rest(&guard);
    let mut client = guard.connect();
    client.send(format!("PUT /large HTTP/1.1\r\nHost: example.org\r\nContent-Length: {LARGE}\r\n\r\n"));
    (0..LARGE / 50_000).for_each(|number| client.send(piece(number)));
    assert_eq!(client.answer().text(), format!("{LARGE} {}", hash_of_large()));
    let growth = guard.memory("VmHWM") - before;
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB");
}

#[test]
fn a_large_download_passes_through() {
    let origin = Origin::start(|mut visit| {
        while let Ok(Some(_)) = visit.request() {
            visit.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
            (0..LARGE / 50_000).for_each(|number| visit.send(piece(number)));
        }
    });
    let guard = Setup::to(&origin.url()).start();
    let before = memory_at_rest(&guard);
    let mut client = guard.connect();
    client.get("/large");
    let head = client.bytes_until(b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let ahead = client.bytes(0);
    let mut stream = ahead.as_slice().chain(client.stream());
    assert_eq!(hash(&mut stream, LARGE), (LARGE, hash_of_large()));
    let growth = guard.memory("VmHWM") - before;
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB");
}

#[test]
fn chunks_go_both_ways() {
    let origin = Origin::start(|mut visit| {
        while let Ok(Some(request)) = visit.request() {
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n".to_vec();
            for piece in request.body.chunks(7) {
                answer.extend_from_slice(format!("{:x};x=y\r\n", piece.len()).as_bytes());
                answer.extend_from_slice(piece);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"0\r\nX-Sum: 1\r\n\r\n");
            visit.send(answer);
        }
    });
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\nTE: trailers\r\n\r\n");
        client.send("5\r\nhello\r\n7;a=b\r\n, world\r\n0\r\nX-A: b\r\nHost: evil.example\r\n\r\n");
        assert_eq!(client.answer().text(), "hello, world");
    }
    // Fields of a trailer never become headers.
    let (requests, _) = origin.requests();
    assert!(requests.iter().all(|request| request.headers.all("x-a").is_empty()), "{requests:?}");
}

#[test]
fn answers_without_a_body_end_where_they_should() {
    let origin = Origin::start(|mut visit| {
        while let Ok(Some(request)) = visit.request() {
            visit.send(match request.target.as_str() {
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"a\"\r\n\r\n",
                "/chunked-head" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: \"a\"\r\n\r\n",
                "/empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                "/103" => {
                    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate"
                }
                _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            });
        }
    });
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    for (method, path, status, length, body) in [
        ("HEAD", "/head", 200, Some("1234"), ""),
        ("HEAD", "/chunked-head", 200, None, ""),
        ("GET", "/204", 204, None, ""),
        ("GET", "/304", 304, None, ""),
        ("GET", "/empty", 200, Some("0"), ""),
        ("GET", "/103", 200, Some("4"), "late"),
    ] {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: example.org\r\n\r\n"));
        let answer = client.try_answer(method == "HEAD").unwrap_or_else(|why| panic!("{path}: {why:?}"));
        assert_eq!((answer.status, answer.text()), (status, body), "{path}");
        if length.is_some() {
            assert_eq!(answer.headers.one("content-length"), length, "{path}");
        }
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole() {
    let origin = Origin::start(|mut visit| {
        visit.head();
        visit.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello from the past");
    });
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    for _ in 0..2 {
        assert_eq!(client.fetch("/").text(), "hello from the past");
    }
}

#[test]
fn a_client_that_asks_before_sending_is_told_to() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    let head = "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    for _ in 0..2 {
        client.send(head);
        assert_eq!(client.bytes_until(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");
        client.send("hello");
        assert_eq!(client.answer().text(), "POST / 5");
    }
    assert!(origin.last_request().headers.all("expect").is_empty());
    // Who is refused is not asked for the body.
    client.send(head.replace("example.org", "evil.example"));
    assert!(client.bytes_until(b"\r\n").starts_with(b"HTTP/1.1 421 "));
    let mut client = guard.connect();
    client.send(head.replace("example.org", "evil.example"));
    assert!(client.bytes_until(b"\r\n").starts_with(b"HTTP/1.1 421 "));
}

#[test]
fn pieces_arrive_as_they_are_sent() {
    let (go, gone) = mpsc::channel();
    let gone = Mutex::new(gone);
    let origin = Origin::start(move |mut visit| {
        visit.head();
        visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in ["5\r\nfirst\r\n", "6\r\nsecond\r\n", "0\r\n\r\n"] {
            visit.send(piece);
            let _ = gone.lock().expect("one visit").recv();
        }
    });
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    client.get("/");
    for piece in [&b"first\r\n"[..], b"second\r\n", b"0\r\n\r\n"] {
        client.bytes_until(piece);
        go.send(()).expect("the site waits");
    }
}

#[test]
fn pieces_of_an_upload_arrive_as_they_are_sent() {
    let (seen, is_seen) = mpsc::channel();
    let origin = Origin::start(move |mut visit| {
        visit.head();
        let mut received = Vec::new();
        for piece in [&b"first"[..], b"second"] {
            while memchr::memmem::find(&received, piece).is_none() {
                let mut buffer = [0; 1_024];
                match visit.stream().read(&mut buffer) {
                    Ok(length @ 1..) => received.extend_from_slice(&buffer[..length]),
                    _ => return,
                }
            }
            let _ = seen.send(());
        }
        visit.answer("done");
    });
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    client.send("POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 11\r\n\r\n");
    for piece in ["first", "second"] {
        // The wait of the site's head may have taken the beginning with it, so the piece comes after it is on its way.
        eventually("the site has the head", || origin.connections() == 1 && !origin.received()[0].is_empty());
        client.send(piece);
        is_seen.recv_timeout(crate::support::PATIENCE).expect("the piece arrives");
    }
    assert_eq!(client.answer().text(), "done");
}

#[test]
fn a_client_that_stops_reading_is_cut() {
    let (ended, is_ended) = mpsc::channel();
    let origin = Origin::start(move |mut visit| {
        visit.head();
        visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        while visit.stream().write_all(chunk.as_bytes()).is_ok() {}
        let _ = ended.send(());
    });
    let guard = Setup::to(&origin.url()).limits("body-idle-time-max = \"300ms\"").start();
    let mut client = guard.connect();
    client.get("/endless");
    is_ended.recv_timeout(crate::support::PATIENCE).expect("the site is let go");
    eventually("the connection is closed", || guard.count("connections") == 0);
    drop(client);
}

fn check_silent_upload(guard: &Guard, framing: &str) {
    let mut client = guard.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: example.org\r\n{framing}\r\n\r\n5\r\nhello\r\n"));
    match client.try_answer(false) {
        Ok(answer) => assert_eq!(answer.status, 408, "{framing}"),
        Err(why @ NoAnswer::Closed(_) | why @ NoAnswer::Reset) => panic!("{framing}: {why:?}"),
    }
    client.expect_end();
}

#[test]
fn a_client_that_stops_sending_gets_408() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).limits("body-idle-time-max = \"300ms\"").start();
    thread::scope(|scope| {
        for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
            let guard = &guard;
            scope.spawn(move || check_silent_upload(guard, framing));
        }
    });
    assert_eq!(guard.connect().fetch("/after").text(), "GET /after 0");
    let (requests, begun) = origin.requests();
    assert_eq!((requests.len(), begun.len()), (1, 2));
}
