//! Sites that are closed, hang, break off or talk rubbish: the visitor gets 502 or 504 at once or at its bound, and the
//! guard goes on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::Duration;

use seawall::host::clock::Clock;
use socket2::{Domain, Socket, Type};

use crate::support::client::NoAnswer;
use crate::support::guard::{Guard, Setup};
use crate::support::origin::{Origin, Visit};
use crate::support::{PATIENCE, eventually, free_address};

const LIMITS: &str =
    "upstream-connect-time-max = \"300ms\"\nupstream-answer-time-max = \"300ms\"\nupstream-idle-time-max = \"300ms\"";

/// A site whose first connection is served by `first`, and all later ones as they should be.
fn site(first: impl Fn(Visit) + Send + Sync + 'static) -> (Origin, Guard) {
    let origin = Origin::start(move |mut visit| {
        if visit.number == 0 {
            return first(visit);
        }
        while let Ok(Some(request)) = visit.request() {
            visit.answer(&format!("{} {}", request.target, request.body.len()));
        }
    });
    let guard = Setup::to(&origin.url()).limits(LIMITS).start();
    (origin, guard)
}

/// The guard must go on after a failure, on a connection made before it and on a new one.
fn expect_service(guard: &Guard) {
    assert_eq!(guard.connect().fetch("/after").text(), "/after 0");
}

#[test]
fn a_closed_site_is_502_at_once() {
    let guard = Setup::to(&format!("http://{}", free_address())).start();
    let clock = Clock::start();
    let mut client = guard.connect();
    for _ in 0..3 {
        assert_eq!(client.fetch("/").status, 502);
    }
    assert!(clock.uptime() < Duration::from_secs(1), "{:?}", clock.uptime());
}

#[test]
fn a_site_that_does_not_accept_is_504_at_its_bound() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&free_address().into()).expect("a free port");
    socket.listen(0).expect("a socket");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("its address");
    // Fills the queue, so that the kernel drops what comes after.
    let queue: Vec<TcpStream> =
        (0..4).filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok()).collect();
    assert!(queue.len() < 4, "the queue is not full");
    let guard = Setup::to(&format!("http://{address}")).limits(LIMITS).start();
    let clock = Clock::start();
    assert_eq!(guard.connect().fetch("/").status, 504);
    assert!((Duration::from_millis(250)..Duration::from_secs(2)).contains(&clock.uptime()), "{:?}", clock.uptime());
}

#[test]
fn a_silent_site_is_504_at_its_bound() {
    let (_origin, guard) = site(|mut visit| {
        visit.head();
        visit.wait_for_guard();
    });
    let mut client = guard.connect();
    let clock = Clock::start();
    assert_eq!(client.fetch("/").status, 504);
    assert!((Duration::from_millis(250)..Duration::from_secs(2)).contains(&clock.uptime()), "{:?}", clock.uptime());
    assert_eq!(client.fetch("/again").text(), "/again 0");
    expect_service(&guard);
}

#[test]
fn a_site_that_resets_or_closes_before_its_answer_is_502() {
    for resets in [true, false] {
        let (_origin, guard) = site(move |mut visit| {
            visit.head();
            if resets {
                visit.reset();
            }
        });
        let mut client = guard.connect();
        assert_eq!(client.fetch("/").status, 502);
        assert_eq!(client.fetch("/again").text(), "/again 0");
        expect_service(&guard);
    }
}

#[test]
fn rubbish_is_502() {
    for rubbish in [
        "hello\r\n\r\n",
        "\0\0\0\0",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "<html>an answer of HTTP/0.9</html>\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabcd",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
    ] {
        let (_origin, guard) = site(move |mut visit| {
            visit.head();
            visit.send(rubbish);
            visit.wait_for_end();
        });
        let mut client = guard.connect();
        client.get("/");
        let answer = client.try_answer(false).unwrap_or_else(|why| panic!("{rubbish:?}: {why:?}"));
        assert_eq!(answer.status, 502, "{rubbish:?}");
        assert_eq!(client.fetch("/again").text(), "/again 0", "{rubbish:?}");
    }
    let (_origin, guard) = site(|mut visit| {
        visit.head();
        visit.send(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000)));
        visit.wait_for_end();
    });
    assert_eq!(guard.connect().fetch("/").status, 502);
    expect_service(&guard);
}

#[test]
fn an_answer_framed_twice_is_framed_once() {
    // By its chunks, whatever the length says: too little, too much, and before or after.
    for headers in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 300\r\nTransfer-Encoding: chunked",
    ] {
        let origin = Origin::start(move |mut visit| {
            while let Ok(Some(_)) = visit.request() {
                visit.send(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"));
            }
        });
        let guard = Setup::to(&origin.url()).start();
        let mut client = guard.connect();
        for _ in 0..3 {
            assert_eq!(client.fetch("/").text(), "helloworld", "{headers}");
        }
        // A connection on which that came is not trusted with another request.
        assert_eq!(origin.connections(), 3, "{headers}");
    }
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    for (start, resets) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true),
    ] {
        let (go, gone) = mpsc::channel();
        let gone = std::sync::Mutex::new(gone);
        let (_origin, guard) = site(move |mut visit| {
            visit.head();
            visit.send(start);
            // What was sent before a reset may be lost with it, so it waits until the client has it.
            let _ = gone.lock().expect("one visit").recv();
            if resets {
                visit.reset();
            }
        });
        let mut client = guard.connect();
        client.get("/");
        client.expect_bytes(b"hello");
        go.send(()).expect("the site waits");
        match client.try_answer(false) {
            Err(NoAnswer::Closed(length)) => assert!(length > 0, "{start:?}"),
            other => panic!("{start:?}, reset: {resets}: {other:?}"),
        }
        expect_service(&guard);
    }
    // Broken from within, before anything was passed on.
    let (_origin, guard) = site(|mut visit| {
        visit.head();
        visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nz\r\n0\r\n\r\n");
        visit.wait_for_guard();
    });
    assert_eq!(guard.connect().fetch("/").status, 502);
    expect_service(&guard);
    // Falling silent is breaking off, at its bound.
    let (_origin, guard) = site(|mut visit| {
        visit.head();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
        visit.wait_for_guard();
    });
    let mut client = guard.connect();
    client.get("/");
    assert!(matches!(client.try_answer(false), Err(NoAnswer::Closed(_))));
    expect_service(&guard);
}

#[test]
fn an_answer_that_nobody_asked_for_reaches_nobody() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine";
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for (is_later, extra) in [
        (false, poison),
        (true, poison),
        (false, "x"),
        (true, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"),
    ] {
        let (go, gone) = mpsc::channel();
        let (done, is_done) = mpsc::channel();
        let gone = std::sync::Mutex::new(gone);
        let (_origin, guard) = site(move |mut visit| {
            visit.head();
            if is_later {
                visit.send(answer);
                let _ = gone.lock().expect("one visit").recv();
                visit.send(extra);
            } else {
                visit.send(format!("{answer}{extra}"));
            }
            let _ = done.send(());
            // Answers wrongly for as long as anybody asks here.
            while visit.receive().is_ok_and(|length| length > 0) {
                visit.send(poison);
            }
        });
        let mut client = guard.connect();
        assert_eq!(client.fetch("/first").text(), "mine");
        let _ = go.send(());
        is_done.recv().expect("the site has sent it");
        assert_eq!(client.fetch("/second").text(), "/second 0");
        expect_service(&guard);
    }
}

#[test]
fn a_body_after_an_answer_that_has_none_reaches_nobody() {
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
        let (_origin, guard) = site(move |mut visit| {
            visit.head();
            visit.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 6\r\n\r\npoison"));
            visit.wait_for_end();
        });
        let mut client = guard.connect();
        client.send(format!("{method} / HTTP/1.1\r\nHost: example.org\r\n\r\n"));
        assert_eq!(client.try_answer(method == "HEAD").expect("an answer").status, status);
        assert_eq!(client.fetch("/second").text(), "/second 0");
    }
}

#[test]
fn a_kept_connection_that_the_site_closed_is_not_noticed_by_the_visitor() {
    let (closed, is_closed) = mpsc::channel();
    let (origin, guard) = site(move |mut visit| {
        visit.head();
        visit.answer("first");
        drop(visit);
        let _ = closed.send(());
    });
    let mut client = guard.connect();
    assert_eq!(client.fetch("/").text(), "first");
    is_closed.recv().expect("the site has closed");
    client.send("POST /second HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.answer().text(), "/second 5");
    assert_eq!(origin.connections(), 2);
    let (requests, begun) = origin.requests();
    assert_eq!((requests.len(), begun.len()), (2, 0));
}

#[test]
fn a_safe_request_that_meets_a_closing_connection_is_sent_once_more_and_no_other_is() {
    for (request, status) in [
        ("GET /second HTTP/1.1\r\nHost: example.org\r\n\r\n", 200),
        ("POST /second HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\nhello", 502),
    ] {
        // It closes when the request is on its way already.
        let (origin, guard) = site(|mut visit| {
            visit.head();
            visit.answer("first");
            visit.head();
        });
        let mut client = guard.connect();
        assert_eq!(client.fetch("/").text(), "first");
        client.send(request);
        assert_eq!(client.answer().status, status, "{request}");
        assert_eq!(origin.connections(), if status == 200 { 2 } else { 1 });
        expect_service(&guard);
    }
}

#[test]
fn a_client_that_leaves_is_not_waited_for() {
    let (ended, has_ended) = mpsc::channel();
    let origin = Origin::start(move |mut visit| {
        visit.head();
        visit.wait_for_guard();
        let _ = ended.send(());
    });
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    client.get("/");
    eventually("the site has the request", || origin.received().iter().any(|bytes| !bytes.is_empty()));
    drop(client);
    has_ended.recv_timeout(PATIENCE).expect("the guard lets the site go");
}

/// A site with one connection that a request for `/slow` keeps until `go` is told.
fn busy_site(limits: &str) -> (Origin, Guard, mpsc::Sender<()>) {
    let (go, gone) = mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::start(move |mut visit| {
        while let Ok(Some(request)) = visit.request() {
            if request.target == "/slow" {
                let _ = gone.lock().expect("one at a time").recv();
            }
            visit.answer(&request.target);
        }
    });
    let limits = format!("upstream-connections-max = 1\n{limits}");
    let guard = Setup::to(&origin.url()).limits(&limits).start();
    (origin, guard, go)
}

#[test]
fn who_leaves_while_waiting_for_the_site_is_forgotten() {
    let (origin, guard, go) = busy_site("connections-per-client-max = 10000\nupstream-connect-time-max = \"8s\"");
    let mut slow = guard.connect();
    slow.get("/slow");
    eventually("the site is busy", || origin.requests().0.len() == 1);
    // More than may wait at once, in turns: places that are given up must become free.
    for turn in 0..3_u64 {
        let clients: Vec<_> = (0..400)
            .map(|number| {
                let mut client = guard.connect();
                match number % 2 {
                    0 => client.get("/left"),
                    _ => client.send("POST /left HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1\r\n\r\na"),
                }
                client
            })
            .collect();
        eventually("they wait", || guard.count("requests") == 1 + 400 * (turn + 1));
        drop(clients);
        eventually("they are forgotten", || guard.count("gone") == 400 * (turn + 1));
    }
    let mut waiting = guard.connect();
    waiting.get("/waiting");
    eventually("it has arrived", || guard.count("requests") == 1 + 1_200 + 1);
    go.send(()).expect("the site waits");
    assert_eq!((slow.answer().text(), waiting.answer().text()), ("/slow", "/waiting"));
    let seen: Vec<String> = origin.requests().0.into_iter().map(|request| request.target).collect();
    assert_eq!(seen, ["/slow", "/waiting"]);
    eventually("both are counted", || guard.count("served") == 2);
}

#[test]
fn a_reload_does_not_lift_the_limit_of_an_upstream() {
    let (origin, guard, go) = busy_site("upstream-connect-time-max = \"300ms\"");
    let mut slow = guard.connect();
    slow.get("/slow");
    eventually("the site is busy", || origin.requests().0.len() == 1);
    assert!(guard.command(&["reload"]).status.success());
    assert_eq!(guard.connect().fetch("/refused").status, 503);
    go.send(()).expect("the site waits");
    assert_eq!(slow.answer().text(), "/slow");
    assert_eq!(guard.connect().fetch("/after").text(), "/after");
    assert_eq!(origin.connections(), 1);
}

static LARGE: LazyLock<String> = LazyLock::new(|| "a".repeat(64 << 20));

#[test]
fn who_takes_nothing_goes_when_others_wait_and_stays_when_none_do() {
    let origin = Origin::start(|mut visit| {
        while let Ok(Some(request)) = visit.request() {
            visit.answer(if request.target == "/large" { &LARGE } else { &request.target });
        }
    });
    let limits = "upstream-connections-max = 1\nupstream-connect-time-max = \"8s\"\nbody-idle-time-max = \"8s\"";
    let guard = Setup::to(&origin.url()).limits(limits).start();
    let mut slow = guard.connect();
    slow.get("/large");
    // More is on its way than fits in between.
    eventually("the guard waits for the client", || guard.count("bytes_sent") > 0);
    let clock = Clock::start();
    assert_eq!(guard.connect().fetch("/waiting").text(), "/waiting");
    // A third of the time that silence is borne for when nobody waits.
    assert!((Duration::from_millis(2_000)..Duration::from_secs(6)).contains(&clock.uptime()), "{:?}", clock.uptime());
}

#[test]
fn answers_that_break_off_are_failures() {
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Some(502)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", None),
    ] {
        let (_origin, guard) = site(move |mut visit| {
            visit.head();
            visit.send(answer);
        });
        let mut client = guard.connect();
        client.get("/");
        assert_eq!(client.try_answer(false).ok().map(|answer| answer.status), status, "{answer}");
        eventually("it is counted as failed", || guard.count("failed") == 1 && guard.count("served") == 0);
        expect_service(&guard);
    }
}

#[test]
fn requests_with_and_without_a_body_use_the_same_connections() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    for _ in 0..3 {
        assert_eq!(guard.connect().fetch("/plain").text(), "GET /plain 0");
        let mut client = guard.connect();
        client.send("POST /body HTTP/1.1\r\nHost: example.org\r\nContent-Length: 2\r\n\r\nab");
        assert_eq!(client.answer().text(), "POST /body 2");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_answer_may_have_many_headers_up_to_a_bound() {
    for (count, status) in [(200, 200), (2_000, 502)] {
        let (_origin, guard) = site(move |mut visit| {
            visit.head();
            let lines: String = (0..count).map(|number| format!("X-{number}: a\r\n")).collect();
            visit.send(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n"));
            visit.wait_for_end();
        });
        assert_eq!(guard.connect().fetch("/").status, status);
        expect_service(&guard);
    }
}

#[test]
fn a_request_that_makes_the_site_close_does_not_do_so_to_every_kept_connection() {
    let deaths = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&deaths);
    // Every connection answers its first request, after all of them have come, and dies of the deadly one.
    let origin = Origin::start(move |mut visit| {
        visit.head();
        thread::sleep(Duration::from_millis(200));
        visit.answer("first");
        if visit.head().contains("/deadly") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let guard = Setup::to(&origin.url()).start();
    let mut clients: Vec<_> = (0..6).map(|_| guard.connect()).collect();
    clients.iter_mut().for_each(|client| client.get("/"));
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().status, 200));
    assert_eq!(clients[0].fetch("/deadly").status, 200);
    assert_eq!(deaths.load(Ordering::SeqCst), 1);
}

#[test]
fn a_body_may_take_longer_than_an_answer() {
    let origin = Origin::echoing();
    let limits = LIMITS.replace("upstream-answer-time-max = \"300ms\"", "upstream-answer-time-max = \"1s\"");
    let guard = Setup::to(&origin.url()).limits(&limits).start();
    let mut client = guard.connect();
    client.send("POST /large HTTP/1.1\r\nHost: example.org\r\nContent-Length: 40\r\n\r\n");
    for _ in 0..8 {
        // Slow is what is tested; each piece is well within the bound, all together are twice beyond it.
        thread::sleep(Duration::from_millis(250));
        client.send("hello");
    }
    assert_eq!(client.answer().status, 200);
}

#[test]
fn an_answer_before_the_end_of_the_request_arrives() {
    let (_origin, guard) = site(|mut visit| {
        visit.head();
        visit.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge");
        visit.wait_for_end();
    });
    let mut client = guard.connect();
    client.send("POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1000000\r\n\r\nthe beginning");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (413, "large"));
    client.expect_end();
    expect_service(&guard);
}

#[test]
fn another_protocol_goes_both_ways() {
    let (_origin, guard) = site(|mut visit| {
        let head = visit.head().to_ascii_lowercase();
        assert!(head.contains("\r\nupgrade: websocket") && head.contains("\r\nconnection: upgrade"), "{head}");
        // The other protocol begins in the same packet.
        visit.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n");
        visit.send("welcome ");
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = visit.stream().read(&mut buffer) {
            visit.send(&buffer[..length]);
        }
        visit.send(" goodbye");
    });
    let mut client = guard.connect();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: example.org\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Key: x\r\n\r\nearly ",
    );
    let answer = client.answer();
    assert_eq!(answer.status, 101);
    assert!(answer.headers.one("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")));
    assert_eq!(answer.headers.one("connection"), Some("upgrade"));
    assert_eq!(answer.headers.one("sec-websocket-accept"), Some("x"));
    assert_eq!(client.bytes("welcome early ".len()), b"welcome early ");
    client.send("ping");
    assert_eq!(client.bytes(4), b"ping");
    let large = vec![b'x'; 1_000_000];
    let mut sender = client.stream().try_clone().expect("a socket");
    let sent = large.clone();
    let sending = thread::spawn(move || sender.write_all(&sent));
    assert!(client.bytes(large.len()) == large);
    sending.join().expect("a thread").expect("sent");
    client.finish();
    assert_eq!(client.bytes(8), b" goodbye");
    client.expect_close();
    expect_service(&guard);
}

#[test]
fn a_site_that_stays_with_http_is_served_as_ever() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    let mut client = guard.connect();
    client.send("GET /chat HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.answer().text(), "GET /chat 0");
    assert_eq!(client.fetch("/next").text(), "GET /next 0");
}

#[test]
fn a_silent_tunnel_is_closed() {
    let (_origin, guard) = site(|mut visit| {
        visit.head();
        visit.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        visit.wait_for_guard();
    });
    let mut client = guard.connect();
    client.send("GET / HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.answer().status, 101);
    client.expect_end();
}

#[test]
fn a_site_on_a_unix_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("site.sock");
    let guard = Setup::to(&format!("unix:{}", path.display())).start();
    let mut client = guard.connect();
    assert_eq!(client.fetch("/").status, 502);
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut received = Vec::new();
        while memchr::memmem::find(&received, b"\r\n\r\n").is_none() {
            let mut buffer = [0; 4_096];
            let length = stream.read(&mut buffer).expect("a request");
            received.extend_from_slice(&buffer[..length]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix").expect("the guard reads");
    });
    assert_eq!(client.fetch("/").text(), "unix");
}
