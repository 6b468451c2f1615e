//! A request goes to the site in one of two ways: by the guard itself, or by hyper when its connection brought a body before.
//! Neither the site nor the client may be able to tell which.

use crate::support::guard::{Guard, Setup};
use crate::support::message::{Answer, Headers};
use crate::support::origin::Origin;

/// The heads of requests, without the end, for `PATH`.
const REQUESTS: &[&str] = &[
    "GET PATH HTTP/1.1\r\nHost: example.org\r\n",
    "GET PATH?a=b&c=%20d HTTP/1.1\r\nhOST: Example.ORG:8080\r\nAccept: */*\r\nX-Empty:\r\nX-Spaces:  a b \r\n",
    "GET PATH HTTP/1.1\r\nHost: example.org\r\nCookie: a=b\r\nCookie: c=d\r\nAccept-Encoding: gzip, br\r\n",
    "GET PATH HTTP/1.1\r\nHost: example.org\r\nX-Latin: caf\u{e9}\r\nUser-Agent: A/1\r\nReferer: https://a.example/\r\n",
    "GET PATH HTTP/1.1\r\nHost: example.org\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: close\r\n",
    "GET PATH HTTP/1.1\r\nHost: example.org\r\nConnection: x-named, close\r\nX-Named: 1\r\n",
    "GET PATH HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-For: 192.0.2.7\r\nX_Forwarded_For: 192.0.2.7\r\nX-Real-IP: 192.0.2.7\r\n",
    "GET PATH HTTP/1.1\r\nHost: example.org\r\nX-Original-URL: /admin\r\nX-HTTP-Method-Override: DELETE\r\nX.Real.IP: 192.0.2.7\r\n",
    "GET PATH HTTP/1.1\r\nHost: example.org\r\nForwarded: for=192.0.2.7\r\nCF-Connecting-IP: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n",
    "GET PATH HTTP/1.1\r\nHost: example.org\r\nContent-Length: 0\r\n",
    "POST PATH HTTP/1.1\r\nHost: example.org\r\nContent-Length: 0\r\n",
    "POST PATH HTTP/1.1\r\nHost: example.org\r\n",
    "DELETE PATH HTTP/1.1\r\nHost: example.org\r\nIf-Match: \"a\"\r\n",
    "OPTIONS PATH HTTP/1.1\r\nHost: example.org\r\nOrigin: https://a.example\r\n",
    "PROPFIND PATH HTTP/1.1\r\nHost: example.org\r\nDepth: 1\r\n",
    "GET PATH HTTP/1.1\r\nHost: example.org\r\nUpgrade: h2c\r\nConnection: upgrade\r\n",
    "GET http://example.orgPATH HTTP/1.1\r\nHost: example.org\r\n",
];

/// Answers of a site, each with how the client asks for it.
const ANSWERS: &[(&str, &str)] = &[
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-a\r\n\r\n3\r\nhel\r\n2;e=f\r\nlo\r\n0\r\nx-a: b\r\n\r\n",
    ),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-gone\r\nX-Gone: 1\r\nKeep-Alive: 5\r\nContent-Length: 1\r\n\r\na",
    ),
    ("GET", "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"),
    ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
    ("GET", "HTTP/1.1 404 Nothing Like It\r\nContent-Length: 4\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nnone"),
    ("GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"),
    ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("GET", "HTTP/1.1 301 Moved\r\nLocation: /b\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n"),
    ("GET", "HTTP/1.1 500 Oh\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno"),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    ("GET", "HTTP/1.1 200 OK\r\nX-Latin: caf\u{e9}\r\nContent-Length: 0\r\n\r\n"),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello"),
    ("GET", "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    ("GET", "HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello"),
];

/// Sends a request on a connection of its own, after one with a body if hyper is to send it.
fn exchange(guard: &Guard, by_hyper: bool, head: &str, is_head_request: bool) -> Answer {
    let mut client = guard.connect();
    if by_hyper {
        client.send("POST /before HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1\r\n\r\na");
        assert_eq!(client.answer().status, 200);
    }
    client.send(format!("{head}\r\n"));
    client.try_answer(is_head_request).unwrap_or_else(|why| panic!("{head:?}, by hyper: {by_hyper}: {why:?}"))
}

/// Every header in lower case, in the order of names: that of a message's different headers means nothing.
fn comparable(headers: &Headers) -> Vec<(String, String)> {
    let mut lines: Vec<_> =
        headers.lines().map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    lines.sort_by(|left, right| left.0.cmp(&right.0));
    lines
}

#[test]
fn the_site_sees_the_same() {
    let origin = Origin::echoing();
    let guard = Setup::to(&origin.url()).start();
    for (number, request) in REQUESTS.iter().enumerate() {
        let seen = [false, true].map(|by_hyper| {
            let path = format!("/{number}-{by_hyper}");
            let answer = exchange(&guard, by_hyper, &request.replace("PATH", &path), false);
            assert_eq!(answer.status, 200, "{request:?}, by hyper: {by_hyper}");
            let seen = origin.last_request();
            assert_eq!(seen.target.split('?').next(), Some(path.as_str()), "{request:?}");
            (seen.method.clone(), seen.target.replace(&path, "PATH"), comparable(&seen.headers), seen.body)
        });
        assert_eq!(seen[0], seen[1], "{request:?}");
    }
}

#[test]
fn the_client_sees_the_same() {
    let origin = Origin::start(|mut visit| {
        while let Ok(Some(request)) = visit.request() {
            match request.target.trim_start_matches('/').parse::<usize>() {
                Ok(number) => {
                    let answer = ANSWERS[number].1;
                    visit.send(answer);
                    if answer.contains("close") || answer.starts_with("HTTP/1.0") {
                        return;
                    }
                }
                Err(_) => visit.answer("other"),
            }
        }
    });
    let guard = Setup::to(&origin.url()).start();
    for (number, (method, answer)) in ANSWERS.iter().enumerate() {
        let head = format!("{method} /{number} HTTP/1.1\r\nHost: example.org\r\n");
        let seen = [false, true].map(|by_hyper| {
            let seen = exchange(&guard, by_hyper, &head, *method == "HEAD");
            let mut headers = comparable(&seen.headers);
            headers.retain(|(name, _)| name != "date" || answer.contains("Date"));
            (seen.status, headers, seen.body)
        });
        assert_eq!(seen[0], seen[1], "{answer:?}");
    }
}
