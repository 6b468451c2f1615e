//! The clock site: an image that always shows the present time (UTC), and a page that shows the image.
//!
//! The image never ends, so a server that spends a task, a timer or a buffer on each viewer is soon out of something. Here
//! one frame is made each second ([`frame`]) and sent to everybody from one place ([`broadcast`]), driven by one task for
//! each worker ([`beat`]); a viewer costs its socket and 32 bytes.
//!
//! [`route`] says what a request gets. It reads no bodies and judges nobody: the gate has done so.

pub mod beat;
pub mod broadcast;
pub mod frame;
pub mod page;

use std::sync::LazyLock;

pub use beat::run;
pub use broadcast::{Broadcaster, Counters, End, Finished, Full, Limits, VIEWERS_MAX_DEFAULT};

/// What a request to the clock site gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The endless image: hand the socket to [`Broadcaster::adopt`], which sends the head too.
    Stream,
    /// These bytes, a whole HTTP response; then the connection is closed.
    Ready(&'static [u8]),
}

/// What a request with this method and this target (as it stands in the request line, in origin form) gets.
///
/// Every answer closes its connection. A browser would otherwise ask for the image on the connection that it got the page
/// on, where a HTTP library already holds the socket and the broadcaster cannot have it.
pub fn route(method: &str, target: &str) -> Answer {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    match (path, method) {
        ("/time.gif", "GET") => Answer::Stream,
        ("/time.gif", "HEAD") => Answer::Ready(broadcast::RESPONSE_HEAD),
        ("/", "GET") => Answer::Ready(&PAGE.bytes),
        ("/", "HEAD") => Answer::Ready(PAGE.head()),
        ("/" | "/time.gif", _) => Answer::Ready(METHOD_NOT_ALLOWED),
        (_, "HEAD") => Answer::Ready(NOT_FOUND_HEAD),
        _ => Answer::Ready(NOT_FOUND),
    }
}

const METHOD_NOT_ALLOWED: &[u8] = b"HTTP/1.1 405 Method Not Allowed\r\n\
    Allow: GET, HEAD\r\nContent-Type: text/plain\r\nContent-Length: 19\r\nConnection: close\r\n\r\nMethod not allowed\n";

const NOT_FOUND_HEAD: &[u8] = b"HTTP/1.1 404 Not Found\r\n\
    Content-Type: text/plain\r\nContent-Length: 10\r\nConnection: close\r\n\r\n";

const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\n\
    Content-Type: text/plain\r\nContent-Length: 10\r\nConnection: close\r\n\r\nNot found\n";

/// The page as a whole response, made once.
static PAGE: LazyLock<PageResponse> = LazyLock::new(PageResponse::new);

struct PageResponse {
    bytes: Vec<u8>,
    head_length: usize,
}

impl PageResponse {
    fn new() -> Self {
        let head = format!(
            "HTTP/1.1 200 OK\r\n\
             Content-Type: text/html; charset=utf-8\r\n\
             Content-Length: {}\r\n\
             Cache-Control: public, max-age=300\r\n\
             Content-Security-Policy: {}\r\n\
             X-Content-Type-Options: nosniff\r\n\
             Connection: close\r\n\r\n",
            page::HTML.len(),
            page::CONTENT_SECURITY_POLICY,
        );
        let head_length = head.len();
        Self { bytes: [head.as_bytes(), page::HTML.as_bytes()].concat(), head_length }
    }

    fn head(&self) -> &[u8] {
        &self.bytes[..self.head_length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(method: &str, target: &str) -> String {
        match route(method, target) {
            Answer::Stream => panic!("{method} {target} is the stream"),
            Answer::Ready(bytes) => String::from_utf8(bytes.to_vec()).expect("responses are text"),
        }
    }

    /// The length that the head announces, and the length of what follows it.
    fn lengths(response: &str) -> (Option<usize>, usize) {
        let (head, body) = response.split_once("\r\n\r\n").expect("a head ends in an empty line");
        let announced = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        (announced.map(|length| length.parse().expect("a number")), body.len())
    }

    #[test]
    fn the_image_is_streamed_whatever_its_query_says() {
        assert_eq!(route("GET", "/time.gif"), Answer::Stream);
        assert_eq!(route("GET", "/time.gif?from=somewhere"), Answer::Stream);
    }

    #[test]
    fn ready_answers_are_framed_correctly() {
        for (method, target, status) in [
            ("GET", "/", "200"),
            ("GET", "/?utm=1", "200"),
            ("GET", "/favicon.ico", "404"),
            ("POST", "/nothing", "404"),
            ("POST", "/", "405"),
            ("POST", "/time.gif", "405"),
        ] {
            let response = ready(method, target);
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {target}: {response}");
            assert!(response.contains("\r\nConnection: close\r\n"));
            let (announced, sent) = lengths(&response);
            assert_eq!(announced, Some(sent), "{method} {target}");
        }
        assert!(ready("POST", "/time.gif").contains("\r\nAllow: GET, HEAD\r\n"));
    }

    #[test]
    fn a_head_request_gets_the_head_alone() {
        assert_eq!(lengths(&ready("HEAD", "/")), (Some(page::HTML.len()), 0));
        assert_eq!(lengths(&ready("HEAD", "/nothing")), (Some(10), 0));
        assert_eq!(lengths(&ready("HEAD", "/time.gif")), (None, 0));
    }
}
