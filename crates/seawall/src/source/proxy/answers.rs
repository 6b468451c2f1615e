//! Answers made beforehand: what a refusal says is composed once and sent as it stands. Each is below 250 bytes.

use seawall_engine::decision::RuleId;
use seawall_engine::gate::{DROPPED_STATUS, RETRY_AFTER_MIN};

use crate::origin::clock::{broadcast, page};

/// Retry-After values that overload answers are spread over, in seconds: ±50% around ten, so that clients told to wait
/// do not return together. The gate holds clients to the least of them.
const RETRY_AFTER_SECONDS: std::ops::RangeInclusive<u64> = RETRY_AFTER_MIN.as_secs()..=15;

/// The length of an HTTP date.
pub(super) const DATE_BYTES: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

/// What the guard answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// 400: not clear HTTP.
    Malformed,
    /// 408: the head came too slowly.
    TooSlow,
    /// 431: the head is too large.
    TooLarge,
    /// 421: the Host is none of ours.
    Misdirected,
    /// 404 of the guard's own pages.
    NotFound,
    /// 405 where only reading makes sense.
    MethodNotAllowed,
    /// 200: the page of the clock.
    ClockPage,
    /// 200: the head of the clock's image, which has no length.
    ClockHead,
    /// 307: the same again on a connection of its own.
    OnceMore,
    /// 502: the upstream is closed, or its answer is no HTTP.
    BadGateway,
    /// 504: the upstream is silent.
    GatewayTimeout,
    /// 503: too much at once.
    Overload,
    /// 429: too much from one client.
    ClientLimit,
    /// 403 or as the rule says.
    Rule(RuleId, u16),
}

/// An answer ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// Whether the connection is closed after it.
    pub(super) close: bool,
    bytes: Vec<u8>,
    head_length: usize,
    date_at: usize,
}

impl Answer {
    /// Composes an answer. `headers` are whole lines, each with its CRLF.
    fn new(status: u16, headers: &str, body: &str, close: bool) -> Self {
        let reason = http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
        let start = format!("HTTP/1.1 {status} {}\r\nDate: ", reason.unwrap_or("Refused"));
        let connection = if close { "Connection: close\r\n" } else { "" };
        let head = format!("{start}{:DATE_BYTES$}\r\n{headers}{connection}Content-Length: {}\r\n\r\n", "", body.len());
        Self {
            status,
            close,
            head_length: head.len(),
            date_at: start.len(),
            bytes: [head.as_bytes(), body.as_bytes()].concat(),
        }
    }

    /// A head that stands as it is, and ends the connection.
    fn verbatim(status: u16, head: &[u8]) -> Self {
        Self { status, close: true, bytes: head.to_vec(), head_length: head.len(), date_at: usize::MAX - DATE_BYTES }
    }

    /// A short answer in plain text that no cache keeps.
    fn text(status: u16, headers: &str, body: &str, close: bool) -> Self {
        Self::new(status, &format!("Content-Type: text/plain\r\nCache-Control: no-store\r\n{headers}"), body, close)
    }

    /// The bytes to send; a HEAD request gets the head alone.
    pub(super) fn bytes(&self, is_head_request: bool) -> &[u8] {
        if is_head_request { &self.bytes[..self.head_length] } else { &self.bytes }
    }

    /// The same with the word that nothing more comes on the connection.
    pub(super) fn closing_bytes(&self, is_head_request: bool) -> Vec<u8> {
        let bytes = self.bytes(is_head_request);
        if self.close {
            return bytes.to_vec();
        }
        // Before the empty line that ends the head.
        let (head, rest) = bytes.split_at(self.head_length.saturating_sub(2));
        [head, b"Connection: close\r\n", rest].concat()
    }

    /// The same answer for hyper to send.
    pub(super) fn to_response(&self) -> http::Response<bytes::Bytes> {
        let body = bytes::Bytes::copy_from_slice(&self.bytes[self.head_length..]);
        let mut response = http::Response::new(body);
        *response.status_mut() = http::StatusCode::from_u16(self.status).unwrap_or(http::StatusCode::FORBIDDEN);
        let lines = self.bytes[..self.head_length].split(|byte| *byte == b'\n').skip(1);
        for (name, value) in lines.filter_map(|line| line.split_at_checked(memchr::memchr(b':', line)?)) {
            let name = http::HeaderName::from_bytes(name);
            let value = http::HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }

    fn set_date(&mut self, date: [u8; DATE_BYTES]) {
        if let Some(place) = self.bytes.get_mut(self.date_at..self.date_at + DATE_BYTES) {
            place.copy_from_slice(&date);
        }
    }
}

/// To a banned client behind a proxy, whose connection cannot be closed on it alone.
const BANNED: Reply = Reply::Rule(RuleId::BANNED, DROPPED_STATUS);

/// All the answers of one worker.
#[derive(Debug)]
pub(super) struct Answers {
    fixed: Vec<(Reply, Answer)>,
    overload: Vec<Answer>,
    client_limit: Vec<Answer>,
    rules: Vec<(Reply, Answer)>,
    next: usize,
    date: [u8; DATE_BYTES],
}

impl Answers {
    /// The answers without any rule's.
    pub(super) fn new(date: [u8; DATE_BYTES]) -> Self {
        let fixed = [
            (Reply::Malformed, Answer::text(400, "", "This is not a clear HTTP request.\n", true)),
            (Reply::TooSlow, Answer::text(408, "", "The request took too long to arrive.\n", true)),
            (Reply::TooLarge, Answer::text(431, "", "The request head is too large.\n", true)),
            (Reply::Misdirected, Answer::text(421, "", "No such host here.\n", true)),
            (BANNED, Answer::text(DROPPED_STATUS, "", "Refused by Seawall: this address is banned.\n", false)),
            (Reply::NotFound, Answer::text(404, "", "Not found.\n", false)),
            (Reply::MethodNotAllowed, Answer::text(405, "Allow: GET, HEAD\r\n", "Read only.\n", false)),
            (Reply::ClockPage, Answer::new(200, &clock_page_headers(), page::HTML, false)),
            (Reply::ClockHead, Answer::verbatim(200, broadcast::RESPONSE_HEAD)),
            (Reply::OnceMore, Answer::text(307, "Location: /time.gif\r\n", "", true)),
            (Reply::BadGateway, Answer::text(502, "", "The site does not answer as it should.\n", false)),
            (Reply::GatewayTimeout, Answer::text(504, "", "The site does not answer.\n", false)),
        ];
        let waiting = |status, body| {
            let header = |seconds| format!("Retry-After: {seconds}\r\n");
            RETRY_AFTER_SECONDS.map(|seconds| Answer::text(status, &header(seconds), body, false)).collect()
        };
        let mut answers = Self {
            fixed: fixed.into(),
            overload: waiting(503, "Too busy just now. Please come back shortly.\n"),
            client_limit: waiting(429, "Too many requests from your address.\n"),
            rules: Vec::new(),
            next: 0,
            date,
        };
        answers.set_date(date);
        answers
    }

    /// Makes the answers of the rules that can refuse now, each with its status. The number of the rule is in it, so that
    /// whoever is refused can ask about it.
    pub(super) fn set_rules(&mut self, refusals: impl IntoIterator<Item = (RuleId, u16)>) {
        let made = refusals.into_iter().map(|(rule, status)| {
            // Whoever is only slowed down is told when to come back.
            let waiting = format!("Retry-After: {}\r\n", RETRY_AFTER_SECONDS.end());
            let headers = if status == 429 { waiting.as_str() } else { "" };
            let mut answer = Answer::text(status, headers, &format!("Refused by Seawall, rule {rule}.\n"), false);
            answer.set_date(self.date);
            (Reply::Rule(rule, status), answer)
        });
        self.rules = made.collect();
    }

    /// Writes the present date into all of them.
    pub(super) fn set_date(&mut self, date: [u8; DATE_BYTES]) {
        self.date = date;
        let named = self.fixed.iter_mut().chain(&mut self.rules).map(|(_, answer)| answer);
        named.chain(&mut self.overload).chain(&mut self.client_limit).for_each(|answer| answer.set_date(date));
    }

    /// The date in them.
    pub(super) const fn date(&self) -> [u8; DATE_BYTES] {
        self.date
    }

    /// The answer for `reply`. Those that ask to wait differ from one to the next.
    pub(super) fn get(&mut self, reply: Reply) -> &Answer {
        let varied = match reply {
            Reply::Overload => Some(&self.overload),
            Reply::ClientLimit => Some(&self.client_limit),
            _ => None,
        };
        if let Some(varied) = varied {
            self.next = (self.next + 7) % varied.len();
            return &varied[self.next];
        }
        let named = if matches!(reply, Reply::Rule(..)) && reply != BANNED { &self.rules } else { &self.fixed };
        let found = named.iter().find(|(name, _)| *name == reply).map(|(_, answer)| answer);
        // A rule that has gone since it was consulted is answered like a limit: come back later.
        found.unwrap_or(&self.client_limit[0])
    }
}

fn clock_page_headers() -> String {
    format!(
        "Content-Type: text/html; charset=utf-8\r\nCache-Control: max-age=60\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: {}\r\n",
        page::CONTENT_SECURITY_POLICY
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Answers {
        let mut answers = Answers::new(*b"Sun, 06 Nov 1994 08:49:37 GMT");
        answers.set_rules([(RuleId(12), 403), (RuleId(4_000_000_000), 429)]);
        answers
    }

    #[test]
    fn refusals_are_short_whole_and_name_the_rule() {
        let mut answers = answers();
        let answer = answers.get(Reply::Rule(RuleId(12), 403));
        let text = String::from_utf8(answer.bytes(false).to_vec()).expect("text");
        assert!(text.starts_with("HTTP/1.1 403 Forbidden\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nRefused by Seawall, rule R12.\n"), "{text}");
        assert!(text.len() < 200, "{}", text.len());
        assert!(answers.get(Reply::Rule(RuleId(4_000_000_000), 429)).bytes(false).len() < 200);
    }

    #[test]
    fn a_head_request_gets_the_head_alone() {
        let mut answers = answers();
        let answer = answers.get(Reply::Misdirected);
        assert!(answer.bytes(true).ends_with(b"Content-Length: 19\r\n\r\n"));
        assert!(answer.close);
    }

    #[test]
    fn an_answer_can_say_that_it_is_the_last() {
        let mut answers = answers();
        for (reply, is_head_request) in
            [(Reply::BadGateway, false), (Reply::BadGateway, true), (Reply::Misdirected, false)]
        {
            let answer = answers.get(reply);
            let text = String::from_utf8(answer.closing_bytes(is_head_request)).expect("text");
            assert_eq!(text.matches("Connection: close\r\n").count(), 1, "{text}");
            let plain = String::from_utf8_lossy(answer.bytes(is_head_request)).replace("Connection: close\r\n", "");
            assert_eq!(text.replace("Connection: close\r\n", ""), plain);
        }
    }

    #[test]
    fn those_told_to_wait_are_told_different_times() {
        let mut answers = answers();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..11 {
            seen.insert(answers.get(Reply::Overload).bytes(false).to_vec());
        }
        assert_eq!(seen.len(), 11);
    }

    #[test]
    fn the_date_is_renewed_in_all() {
        let mut answers = answers();
        answers.set_date(*b"Mon, 07 Nov 1994 08:49:37 GMT");
        for reply in [Reply::Malformed, Reply::Overload, Reply::ClientLimit, Reply::Rule(RuleId(12), 403)] {
            let text = String::from_utf8(answers.get(reply).bytes(true).to_vec()).expect("text");
            assert!(text.contains("Mon, 07 Nov 1994"), "{text}");
        }
    }

    #[test]
    fn hyper_sends_the_same() {
        let mut answers = answers();
        let response = answers.get(Reply::MethodNotAllowed).to_response();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET, HEAD");
        assert_eq!(response.headers()["content-length"], "11");
        assert_eq!(response.body().as_ref(), b"Read only.\n");
    }
}
