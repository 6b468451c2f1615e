//! Requests made to be read differently by the guard and by the site, so that one gets past the judge. Whatever the guard
//! makes of them, the site must get only what was judged, each request framed in one clear way.

use std::thread;

use crate::support::eventually;
use crate::support::guard::{Guard, Setup};
use crate::support::origin::Origin;

/// What an attacker wants the site to see and the judge not. Its host is none of ours, so a guard that sees it answers
/// 421 and forwards nothing.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: evil.example\r\n\r\n";

/// What should become of the request that a variant begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Forwarded whole, with a body of this length.
    Forwarded(usize),
    /// Refused with 400; the site sees nothing of it, or a body that breaks off.
    Refused,
}
use Fate::{Forwarded, Refused};

struct Variant {
    bytes: Vec<u8>,
    /// Where the guard reads requests itself: the first of a connection, and those after others that were plain.
    own: Fate,
    /// After a request with a body, where hyper reads them.
    hyper: Fate,
}

/// What came before on the connection.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    Plain,
    Body,
}

/// Every variant has `PATH` for its path.
fn variants() -> Vec<Variant> {
    let mut variants = Vec::new();
    let mut add = |bytes: String, own, hyper| variants.push(Variant { bytes: bytes.into_bytes(), own, hyper });
    let hidden = HIDDEN.len();
    let post = |headers: &str, body: &str| format!("POST PATH HTTP/1.1\r\nHost: example.org\r\n{headers}\r\n{body}");
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);

    // Both lengths. Where hyper decides, the chunks count, as RFC 9112 (6.3) has it.
    for headers in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"]
    {
        add(post(headers, &format!("0\r\n\r\n{HIDDEN}")), Refused, Forwarded(0));
    }
    let both = format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 5 + hidden);
    add(post(&both, &format!("0\r\n\r\n{HIDDEN}")), Refused, Forwarded(0));
    add(
        post("Content-Length: 4\r\ntRANSFER-eNCODING: chunked\r\n", &format!("{hidden:x}\r\n{HIDDEN}\r\n0\r\n\r\n")),
        Refused,
        Forwarded(hidden),
    );
    add(post("Content-Length: 0\r\nTransfer-Encoding: identity\r\n", HIDDEN), Refused, Refused);
    add(post("Transfer-Encoding: chunked\r\nContent-Length: 5, 5\r\n", "0\r\n\r\n"), Refused, Forwarded(0));

    // Codings that one side takes for chunked and the other does not.
    for coding in [
        ": xchunked",
        ": chunkedx",
        ": \"chunked\"",
        ": chunked;q=1",
        ": chunked, identity",
        ": identity, chunked",
        ": gzip, chunked",
        ": chunked, chunked",
        ": chunked,",
        ": ,chunked",
        ": ",
        ": identity",
        ": \x0bchunked",
        ": chunked\x0b",
        ": \x0cchunked",
        " : chunked",
        "\t: chunked",
        ":\r\n chunked",
        ": chunked\r\n , identity",
        ": chunked\r\nTransfer-Encoding: identity",
        ": identity\r\nTransfer-Encoding: chunked",
        ": chunked\r\nTransfer-Encoding: chunked",
        ": chunked\r\nTransfer-encoding: x",
        ": \0chunked",
        ": chunked\0",
        "\0: chunked",
        ": ch\u{fc}nked",
        ": chunked\r",
    ] {
        for length in ["", "Content-Length: 5\r\n"] {
            let headers = format!("{length}Transfer-Encoding{coding}\r\n");
            add(post(&headers, &format!("0\r\n\r\n{HIDDEN}")), Refused, Refused);
        }
    }
    for coding in [":chunked", ":\tchunked", ": chunked\t", ":   chunked   ", ": Chunked", ": CHUNKED"] {
        let headers = format!("Transfer-Encoding{coding}\r\n");
        add(
            post(&headers, &format!("{hidden:X}\r\n{HIDDEN}\r\n0\r\n\r\n{HIDDEN}")),
            Forwarded(hidden),
            Forwarded(hidden),
        );
    }
    // A header that only looks like it, to some.
    for name in
        ["Transfer_Encoding", "X-Transfer-Encoding", "Transfer-Encoding-", "TransferEncoding", "!Transfer-Encoding"]
    {
        add(
            post(&format!("Content-Length: {hidden}\r\n{name}: chunked\r\n"), HIDDEN),
            Forwarded(hidden),
            Forwarded(hidden),
        );
    }
    for line in [
        "X: a\r\n Transfer-Encoding: chunked",
        "X: a\rTransfer-Encoding: chunked",
        "X: a\r\n\tTransfer-Encoding: chunked",
        "X\r\nTransfer-Encoding: chunked",
    ] {
        add(post(&format!("{line}\r\nContent-Length: {hidden}\r\n"), HIDDEN), Refused, Refused);
    }
    add(post("X: a\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{HIDDEN}")), Refused, Forwarded(0));

    // Lengths that are read differently.
    for length in [
        ": +5",
        ": -5",
        ": 0x5",
        ": 5,5",
        ": 5, 5",
        ": 5;5",
        ": 5 5",
        ": 5.0",
        ": 1e1",
        ": 5\x0b",
        ": \x0b5",
        ": ",
        ": five",
        ": 5\0",
        ": 5\r\n 0",
        " : 5",
        ": 18446744073709551616",
        ": 18446744073709551621",
        ": 99999999999999999999999",
        ": 5\r\nContent-Length: 6",
        ": 6\r\nContent-Length: 5",
        ": 0\r\nContent-Length: 5",
        ": \u{665}",
        ": 5\r",
    ] {
        add(post(&format!("Content-Length{length}\r\n"), &format!("hello{HIDDEN}")), Refused, Refused);
    }
    add(post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), Refused, Forwarded(5));
    for length in [":5", ":\t5", ": 5 ", ": 005"] {
        add(post(&format!("Content-Length{length}\r\n"), &format!("hello{HIDDEN}")), Forwarded(5), Forwarded(5));
    }
    add(post(&format!("Content-Length: {hidden}\r\n"), HIDDEN), Forwarded(hidden), Forwarded(hidden));
    add(post("Content-Length: 0\r\n", HIDDEN), Forwarded(0), Forwarded(0));
    add(post("", HIDDEN), Forwarded(0), Forwarded(0));
    add(
        post(&format!("Content_Length: 3\r\nContent-Length: {hidden}\r\n"), HIDDEN),
        Forwarded(hidden),
        Forwarded(hidden),
    );

    // Methods that some give no body.
    for method in ["GET", "DELETE", "OPTIONS", "get", "FOO"] {
        let head = |framing: &str| format!("{method} PATH HTTP/1.1\r\nHost: example.org\r\n{framing}\r\n\r\n");
        add(format!("{}{HIDDEN}", head(&format!("Content-Length: {hidden}"))), Forwarded(hidden), Forwarded(hidden));
        let body = format!("{hidden:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
        add(format!("{}{body}", head("Transfer-Encoding: chunked")), Forwarded(hidden), Forwarded(hidden));
    }

    // Taking the framing away between here and there.
    for option in
        ["Content-Length", "Transfer-Encoding", "Host", "Content-Length, Host", "close, Transfer-Encoding", "Expect"]
    {
        add(
            post(&format!("Connection: {option}\r\nContent-Length: {hidden}\r\n"), HIDDEN),
            Forwarded(hidden),
            Forwarded(hidden),
        );
        let body = format!("{hidden:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
        add(
            post(&format!("Connection: {option}\r\nTransfer-Encoding: chunked\r\n"), &body),
            Forwarded(hidden),
            Forwarded(hidden),
        );
    }
    add(
        post(&format!("Expect: 100-continue\r\nContent-Length: {hidden}\r\n"), HIDDEN),
        Forwarded(hidden),
        Forwarded(hidden),
    );
    add(
        post(&format!("Expect: 100-continue, x\r\nContent-Length: {hidden}\r\n"), HIDDEN),
        Forwarded(hidden),
        Forwarded(hidden),
    );
    add(
        post(&format!("TE: trailers, chunked\r\nTrailer: Content-Length\r\nContent-Length: {hidden}\r\n"), HIDDEN),
        Forwarded(hidden),
        Forwarded(hidden),
    );

    // Chunks.
    for body in [
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n",
        "005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n000\r\n\r\n",
        "5\r\nhello\r\n0;last\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n",
        "5\r\nhello\r\n0\r\nHost: evil.example\r\nContent-Length: 9\r\n\r\n",
        "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t;a\r\nhello\r\n0\r\n\r\n",
    ] {
        add(chunked(&format!("{body}{HIDDEN}")), Forwarded(5), Forwarded(5));
    }
    for body in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;\ra\r\nhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\rX",
        "5\0\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        "5\r\nhello\r\n0\r\n\0: x\r\n\r\n",
    ] {
        add(chunked(&format!("{body}{HIDDEN}")), Refused, Refused);
    }
    let long = "x".repeat(100_000);
    add(chunked(&format!("5;{long}\r\nhello\r\n0\r\n\r\n")), Refused, Refused);
    add(chunked(&format!("5\r\nhello\r\n0\r\nX: {long}\r\n\r\n")), Refused, Refused);

    // Versions.
    let with_version = |version: &str, headers: &str, body: &str| {
        format!("POST PATH {version}\r\nHost: example.org\r\n{headers}\r\n{body}")
    };
    add(with_version("HTTP/1.0", "Transfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{HIDDEN}")), Refused, Refused);
    add(
        with_version("HTTP/1.0", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{HIDDEN}")),
        Refused,
        Refused,
    );
    add(
        with_version("HTTP/1.0", &format!("Connection: keep-alive\r\nContent-Length: {hidden}\r\n"), HIDDEN),
        Forwarded(hidden),
        Forwarded(hidden),
    );
    for version in ["HTTP/1.2", "HTTP/1.10", "HTTP/01.1", "http/1.1", "HTTP/2", "HTTP/0.9", "HTTP/1.1 HTTP/1.1", ""] {
        add(with_version(version, "Content-Length: 0\r\n", HIDDEN), Refused, Refused);
    }

    // Lines and the request line.
    add(format!("\r\nGET PATH HTTP/1.1\r\nHost: example.org\r\n\r\n{HIDDEN}"), Forwarded(0), Forwarded(0));
    add(format!("GET PATH HTTP/1.1\r\nHost: example.org\r\n\r\n\r\n{HIDDEN}"), Forwarded(0), Forwarded(0));
    add(format!("GET PATH HTTP/1.1\nHost: example.org\n\n{HIDDEN}"), Refused, Forwarded(0));
    add(format!("GET PATH HTTP/1.1\r\nHost: example.org\r\n\n{HIDDEN}"), Refused, Forwarded(0));
    for (start, end) in [
        ("GET PATH HTTP/1.1\rHost: example.org", "\r\n\r\n"),
        ("GET PATH HTTP/1.1\r\nHost: example.org", "\r\r\n\r\n"),
        ("GET PATH HTTP/1.1\r\nHost: example.org", "\r\n\r\r\n"),
        ("GET\tPATH\tHTTP/1.1\r\nHost: example.org", "\r\n\r\n"),
        ("GET PATH\x0bHTTP/1.1\r\nHost: example.org", "\r\n\r\n"),
        ("GET PATH HTTP/1.1\r\nHost: example.org\r\nA B: c", "\r\n\r\n"),
        ("GET PATH HTTP/1.1\r\nHost: example.org\r\n\x00", "\r\n\r\n"),
        ("GET PATH HTTP/1.1\r\nHost: example.org\r\nX: \x7f", "\r\n\r\n"),
        ("GET PATH HTTP/1.1\r\n Host: example.org\r\nHost: example.org", "\r\n\r\n"),
        ("GET PATH HTTP/1.1\r\nHost: evil.example\r\nHost: example.org", "\r\n\r\n"),
        ("GET PATH HTTP/1.1\r\nHost: example.org evil.example", "\r\n\r\n"),
        ("GET PATH HTTP/1.1\r\nHost: example.org#@evil.example", "\r\n\r\n"),
        ("GET http://evil.examplePATH HTTP/1.1\r\nHost: example.org", "\r\n\r\n"),
        ("GET http://example.org:80@evil.examplePATH HTTP/1.1\r\nHost: example.org", "\r\n\r\n"),
        ("CONNECT example.org:80 HTTP/1.1\r\nHost: example.org:80", "\r\n\r\n"),
        ("CONNECT PATH HTTP/1.1\r\nHost: example.org", "\r\n\r\n"),
        ("GET example.org HTTP/1.1\r\nHost: example.org", "\r\n\r\n"),
    ] {
        add(format!("{start}{end}{HIDDEN}"), Refused, Refused);
    }
    add(format!("GET PATH#a HTTP/1.1\r\nHost: example.org\r\n\r\n{HIDDEN}"), Refused, Forwarded(0));
    add(
        format!("GET http://Example.ORG.PATH HTTP/1.1\r\nHost: example.org\r\n\r\n{HIDDEN}"),
        Forwarded(0),
        Forwarded(0),
    );
    add(
        format!("GET http://example.org:8080PATH HTTP/1.1\r\nHost: example.org:8080\r\n\r\n{HIDDEN}"),
        Forwarded(0),
        Forwarded(0),
    );

    // Another protocol, which the judge does not speak.
    for upgrade in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\nUpgrade: HTTP/1.1\r\n",
    ] {
        add(format!("GET PATH HTTP/1.1\r\nHost: example.org\r\n{upgrade}\r\n{HIDDEN}"), Forwarded(0), Forwarded(0));
    }
    // Closing, with more behind it.
    add(
        format!("GET PATH HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n{HIDDEN}"),
        Forwarded(0),
        Forwarded(0),
    );
    variants
}

/// Sends one variant on a connection of its own and returns the answers, in their order.
fn send(guard: &Guard, bytes: &[u8], before: Before) -> Vec<(u16, String)> {
    let mut client = guard.connect();
    let text = match before {
        Before::Nothing => "",
        Before::Plain => "GET /before HTTP/1.1\r\nHost: example.org\r\n\r\n",
        Before::Body => "POST /before HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1\r\n\r\na",
    };
    if !text.is_empty() {
        client.send(text);
        assert_eq!(client.answer().status, 200);
    }
    client.send(bytes);
    let mut answers = Vec::new();
    while let Ok(answer) = client.try_answer(false) {
        answers.push((answer.status, answer.text().to_owned()));
    }
    answers
}

#[test]
fn the_site_gets_exactly_what_was_judged() {
    let origin = Origin::echoing();
    let limits = "idle-time-max = \"300ms\"\nhead-time-max = \"300ms\"\nbody-idle-time-max = \"500ms\"\nconnections-per-client-max = 10000\n\
                  upstream-answer-time-max = \"2s\"";
    let guard = Setup::to(&origin.url()).limits(limits).start();
    let variants = variants();
    let cases: Vec<(String, Vec<u8>, Before, Fate)> = variants
        .iter()
        .enumerate()
        .flat_map(|(number, variant)| {
            let places = [Before::Nothing, Before::Plain, Before::Body].into_iter();
            places.zip([variant.own, variant.own, variant.hyper]).map(move |(before, fate)| {
                let path = format!("/v{number}-after-{before:?}").to_lowercase();
                let bytes = String::from_utf8_lossy(&variant.bytes).replace("PATH", &path).into_bytes();
                (path, bytes, before, fate)
            })
        })
        .collect();
    let answers: Vec<Vec<(u16, String)>> = thread::scope(|scope| {
        let threads: Vec<_> =
            cases.iter().map(|(_, bytes, before, _)| scope.spawn(|| send(&guard, bytes, *before))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
    });

    // Strictly parsed: anything doubtful fails here.
    let (requests, begun) = origin.requests();
    let mut wrong = Vec::new();
    for ((path, bytes, _, fate), answers) in cases.iter().zip(&answers) {
        let seen: Vec<String> = requests
            .iter()
            .filter(|request| request.target == *path)
            .map(|request| format!("{} {} {}", request.method, request.target, request.body.len()))
            .collect();
        let served: Vec<&str> =
            answers.iter().filter(|(status, _)| *status == 200).map(|(_, text)| text.as_str()).collect();
        let is_as_expected = match fate {
            Forwarded(length) => seen.len() == 1 && seen[0].ends_with(&format!(" {length}")),
            Refused => {
                seen.is_empty()
                    && answers.len() == 1
                    && answers[0].0 == if bytes.len() > 50_000 { answers[0].0 } else { 400 }
            }
        };
        if !is_as_expected || served != seen {
            let text = String::from_utf8_lossy(bytes);
            let text: String = text.chars().take(300).collect();
            wrong.push(format!("{text:?}\n  should be {fate:?}; the site saw {seen:?}; the client got {answers:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));

    for request in &requests {
        let host = request.headers.one("host").expect("a host").trim_end_matches(":8080");
        assert!(host.trim_end_matches('.').eq_ignore_ascii_case("example.org"), "{request:?}");
        assert_eq!(request.headers.all("upgrade"), [""; 0], "{request:?}");
        assert_eq!(request.headers.all("connection"), [""; 0], "{request:?}");
        assert!(request.target.starts_with("/v") || request.target == "/before", "{request:?}");
    }
    // What broke off was begun for a request that was judged too.
    let begun_heads = begun.iter().filter(|bytes| bytes.starts_with(b"POST /v")).count();
    assert_eq!(begun_heads, begun.len(), "{begun:?}");
    eventually("every request at the site is one that the guard counted", || {
        let status = guard.status();
        let count = |name: &str| status["traffic"][name].as_u64().expect("a count") as usize;
        let at_site = requests.len() + begun.len();
        count("served") + count("failed") >= at_site
            && count("requests") >= at_site + count("misdirected")
            && count("connections") == 0
    });
    let hidden_seen = answers.iter().flatten().filter(|(status, _)| *status == 421).count() as u64;
    assert_eq!(guard.count("misdirected"), hidden_seen);
}
