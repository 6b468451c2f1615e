//! Asks an API, within the limits that its provider sets.
//!
//! Owns the connection, the token on its way, and the pace: how many requests are left, and until when none is to be sent. A
//! request is bounded in time and its answer in size. It knows nothing of lists or rules.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use seawall_engine::units::Timestamp;
use serde_json::Value;
use ureq::Agent;

use super::stop::Stop;
use crate::config::Secret;
use crate::host::client;
use crate::host::clock::Clock;

/// The longest that one request may take.
pub(super) const CALL_TIME_MAX: Duration = Duration::from_secs(8);

/// The largest answer: a page of a list is 100 KiB.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How long to wait when an API says that it is asked too often and not for how long.
const PAUSE_DEFAULT: Duration = Duration::from_secs(10);

/// The longest pause that an API is believed.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// What is shown of a message of an API.
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// What stands as it is in a form (RFC 3986, unreserved).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why something could not be done at the edge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EdgeError {
    /// The token cannot be had.
    #[error("the API was not asked: {0}")]
    Token(String),
    /// No whole answer came.
    #[error("failed to {tried}: {reason}")]
    Unreachable { tried: String, reason: String },
    /// The API says no.
    #[error("failed to {tried}: the API answered {status}: {message}{}", advice.map(|advice| format!("; {advice}")).unwrap_or_default())]
    Answered {
        tried: String,
        status: u16,
        /// The provider's own number of the error.
        code: Option<u64>,
        message: String,
        advice: Option<&'static str>,
    },
    /// It has been asked too often.
    #[error("{reason}; it is asked again in {seconds} s")]
    Limited { until: Timestamp, seconds: u64, reason: String },
    /// The answer is not what is documented.
    #[error("failed to {tried}: the API answered something else than is documented: {found}")]
    Unexpected { tried: String, found: String },
    /// Something is there or missing that only the operator can change.
    #[error("{0}")]
    NotReady(String),
    /// The guard stops, or is to take everything out at once.
    #[error("it was left, since the guard stops or everything is taken out")]
    Stopped,
}

impl EdgeError {
    /// Whether what was known of the edge may have changed meanwhile: reading it again may be all that is needed.
    pub(super) const fn is_stale(&self) -> bool {
        matches!(self, Self::Answered { status: 404 | 409 | 412, .. })
    }
}

/// What goes along with a request.
pub(super) enum Content {
    /// Nothing.
    None,
    /// JSON.
    Json(Value),
    /// The fields of a form.
    Form(Vec<(&'static str, String)>),
}

/// An answer that is no refusal.
pub(super) struct Answer {
    /// The body, as JSON; null where there is none.
    pub(super) body: Value,
    /// The headers.
    pub(super) headers: HeaderMap,
}

/// How a provider wants to be asked.
pub(super) trait Manner: Send {
    /// The header that carries the token, and its value.
    fn authorization(&self, token: &str) -> (&'static str, String);
    /// How many requests may be sent within how long, if that is limited by number.
    fn budget(&self) -> Option<(usize, Duration)>;
    /// The message and the number in a refusal.
    fn message(&self, body: &Value) -> (String, Option<u64>);
    /// What would help against a refusal.
    fn advice(&self, status: StatusCode, path: &str) -> Option<&'static str>;
}

/// An API.
pub(super) struct Api {
    base: String,
    token: Secret,
    manner: Box<dyn Manner>,
    agent: OnceLock<Agent>,
    clock: Clock,
    stop: Stop,
    /// When the last requests were sent, oldest first, where their number is limited.
    sent: VecDeque<Timestamp>,
    /// Before this nothing is sent.
    not_before: Timestamp,
    /// Before this nothing is changed: what is left of the provider's allowance is left to others.
    no_changes_before: Timestamp,
    /// Whether what the guard leaves to others may be used: to let somebody in again.
    uses_reserves: bool,
    /// When all has to be done, once the guard stops.
    deadline: Option<Timestamp>,
    requests: u64,
}

impl Api {
    pub(super) fn new(base: String, token: Secret, manner: Box<dyn Manner>, clock: Clock, stop: Stop) -> Self {
        Self {
            base,
            token,
            manner,
            agent: OnceLock::new(),
            clock,
            stop,
            sent: VecDeque::new(),
            not_before: Timestamp::EPOCH,
            no_changes_before: Timestamp::EPOCH,
            uses_reserves: false,
            deadline: None,
            requests: 0,
        }
    }

    /// Requests since the start.
    pub(super) const fn requests(&self) -> u64 {
        self.requests
    }

    /// Whether requests may be sent that the guard leaves to others at other times. A pause that the API asks for is kept all the same.
    pub(super) const fn use_reserves(&mut self, is_used: bool) {
        self.uses_reserves = is_used;
    }

    /// From now on all has to be done by then, though the guard stops.
    pub(super) const fn finish_by(&mut self, deadline: Timestamp) {
        self.deadline = Some(deadline);
    }

    /// The present moment.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits, unless that is cut short meanwhile.
    pub(super) fn pause(&self, time: Duration) -> Result<(), EdgeError> {
        match self.deadline {
            None if self.stop.wait(time) => Err(EdgeError::Stopped),
            None => Ok(()),
            Some(deadline) if deadline.since(self.clock.now()) <= time => Err(EdgeError::Stopped),
            Some(_) => {
                // It is known to stop; this is what it waits for.
                std::thread::sleep(time);
                Ok(())
            }
        }
    }

    /// Asks, and reads the answer. `tried` completes "failed to …".
    ///
    /// # Errors
    /// When the answer is a refusal, or none, or it is too early to ask.
    pub(super) fn call(
        &mut self,
        method: &Method,
        path: &str,
        content: Content,
        tried: &str,
    ) -> Result<Answer, EdgeError> {
        let now = self.clock.now();
        let is_change = *method != Method::GET;
        let time = self.time_left(now)?;
        self.check_pace(now, is_change)?;
        let secret_path = if let Secret::File(path) = &self.token { client::lies_open(path) } else { None };
        if let Some(wrong) = secret_path {
            return Err(EdgeError::Token(format!("the token is not used: {wrong}")));
        }
        let token = client::reveal(&self.token, "the token").map_err(EdgeError::Token)?;
        let (name, value) = self.manner.authorization(&token);
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        request = request.header("User-Agent", "Seawall").header("Accept", "application/json").header(name, value);
        let (kind, body) = match content {
            Content::None => (None, String::new()),
            Content::Json(value) => (Some("application/json"), value.to_string()),
            Content::Form(fields) => (Some("application/x-www-form-urlencoded"), form(&fields)),
        };
        if let Some(kind) = kind {
            request = request.header("Content-Type", kind);
        }
        // A token with bytes that no header can hold; the library's error would show it.
        let request =
            request.body(body).map_err(|_| EdgeError::Token("the token cannot stand in a header".to_owned()))?;
        self.requests += 1;
        self.sent.push_back(now);
        let unreachable = |error: &ureq::Error| EdgeError::Unreachable {
            tried: tried.to_owned(),
            reason: client::without_url(error, time),
        };
        let agent = self.agent.get_or_init(|| client::agent(CALL_TIME_MAX));
        // Everything but a reading has a body, if an empty one: Cloudflare takes what is to be deleted in that of a DELETE.
        let sent = if is_change {
            agent.run(agent.configure_request(request).timeout_global(Some(time)).build())
        } else {
            agent.run(agent.configure_request(request.map(|_| ())).timeout_global(Some(time)).build())
        };
        let mut answer = sent.map_err(|error| unreachable(&error))?;
        let read = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let bytes = read.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                EdgeError::Unexpected { tried: tried.to_owned(), found: "more than 8 MiB".to_owned() }
            }
            error => unreachable(&error),
        })?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        self.note_pace(&headers, self.clock.now());
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(self.too_many(&headers, tried));
        }
        let body = serde_json::from_slice(&bytes);
        if !status.is_success() {
            // A refusal by something in between may be anything.
            let (message, code) = self.manner.message(&body.unwrap_or_default());
            return Err(EdgeError::Answered {
                tried: tried.to_owned(),
                status: status.as_u16(),
                code,
                message: printable(&message),
                advice: self.manner.advice(status, path),
            });
        }
        match body {
            Ok(body) => Ok(Answer { body, headers }),
            Err(_) if bytes.is_empty() => Ok(Answer { body: Value::Null, headers }),
            Err(error) => Err(EdgeError::Unexpected { tried: tried.to_owned(), found: format!("no JSON ({error})") }),
        }
    }

    /// How long a request may take, if there is time for one.
    fn time_left(&self, now: Timestamp) -> Result<Duration, EdgeError> {
        match self.deadline {
            None if self.stop.is_cut() => Err(EdgeError::Stopped),
            None => Ok(CALL_TIME_MAX),
            Some(deadline) if deadline <= now => Err(EdgeError::Stopped),
            Some(deadline) => Ok(deadline.since(now).min(CALL_TIME_MAX)),
        }
    }

    fn check_pace(&mut self, now: Timestamp, is_change: bool) -> Result<(), EdgeError> {
        let limited = |until: Timestamp, reason: &str| {
            Err(EdgeError::Limited { until, seconds: until.since(now).as_secs() + 1, reason: reason.to_owned() })
        };
        if now < self.not_before {
            return limited(self.not_before, "the API has asked for a pause");
        }
        if is_change && now < self.no_changes_before && !self.uses_reserves {
            return limited(self.no_changes_before, "little is left of the changes that the provider allows");
        }
        let Some((requests, window)) = self.manner.budget() else {
            self.sent.clear();
            return Ok(());
        };
        while self.sent.front().is_some_and(|sent| now.since(*sent) >= window) {
            self.sent.pop_front();
        }
        match self.sent.front().filter(|_| self.sent.len() >= requests && !self.uses_reserves) {
            Some(first) => limited(*first + window, "as many requests were sent as the provider allows a guard"),
            None => Ok(()),
        }
    }

    /// Notes what the headers of any answer say of what is left (Fastly's do).
    fn note_pace(&mut self, headers: &HeaderMap, now: Timestamp) {
        /// Of a thousand changes an hour, those that are left to the operator and his other programs.
        const RESERVED: u64 = 100;
        let number = |name| headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        if let (Some(left), Some(reset)) = (number("fastly-ratelimit-remaining"), number("fastly-ratelimit-reset")) {
            let reset = Timestamp::from_seconds(reset).min(now + PAUSE_MAX);
            self.no_changes_before = if left <= RESERVED { reset } else { Timestamp::EPOCH };
        }
    }

    fn too_many(&mut self, headers: &HeaderMap, tried: &str) -> EdgeError {
        let now = self.clock.now();
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let after = text("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let reset = text("fastly-ratelimit-reset").and_then(|text| text.parse().ok()).map(Timestamp::from_seconds);
        let pause = after.or(reset.map(|reset| reset.since(now))).unwrap_or(PAUSE_DEFAULT).min(PAUSE_MAX);
        self.not_before = now + pause;
        EdgeError::Limited {
            until: self.not_before,
            seconds: pause.as_secs(),
            reason: format!("failed to {tried}: the API answered 429, it was asked too often"),
        }
    }
}

/// A message of somebody else, as it can be shown anywhere.
fn printable(message: &str) -> String {
    message.chars().filter(|character| !character.is_control()).take(MESSAGE_CHARACTERS_MAX).collect()
}

fn form(fields: &[(&'static str, String)]) -> String {
    let field = |(name, value): &(&str, String)| format!("{name}={}", utf8_percent_encode(value, FORM));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain {
        budget: Option<(usize, Duration)>,
    }

    impl Manner for Plain {
        fn authorization(&self, token: &str) -> (&'static str, String) {
            ("Authorization", token.to_owned())
        }

        fn budget(&self) -> Option<(usize, Duration)> {
            self.budget
        }

        fn message(&self, _body: &Value) -> (String, Option<u64>) {
            (String::new(), None)
        }

        fn advice(&self, _status: StatusCode, _path: &str) -> Option<&'static str> {
            None
        }
    }

    /// An API that nobody answers for.
    fn api(budget: Option<(usize, Duration)>, token: &str) -> Api {
        let token = Secret::Given(token.to_owned());
        Api::new("http://127.0.0.1:1".to_owned(), token, Box::new(Plain { budget }), Clock::start(), Stop::default())
    }

    fn ask(api: &mut Api, method: &Method) -> EdgeError {
        api.call(method, "/", Content::None, "look").err().expect("nobody answers")
    }

    #[test]
    fn no_more_is_sent_than_the_provider_allows() {
        let mut api = api(Some((2, Duration::from_secs(300))), "token");
        for _ in 0..2 {
            assert!(matches!(ask(&mut api, &Method::GET), EdgeError::Unreachable { .. }));
        }
        let EdgeError::Limited { seconds, .. } = ask(&mut api, &Method::GET) else { panic!("it was sent") };
        assert!((290..=300).contains(&seconds), "{seconds}");
        assert_eq!(api.requests(), 2);
    }

    #[test]
    fn the_pause_that_an_answer_asks_for_is_kept() {
        let headers = |pairs: &[(&'static str, String)]| {
            let pair =
                |(name, value): &(&'static str, String)| (http::HeaderName::from_static(name), value.parse().ok());
            let pairs = pairs.iter().map(pair).filter_map(|(name, value)| Some((name, value?)));
            pairs.collect::<HeaderMap>()
        };
        let mut api = api(None, "token");
        let now = api.now();
        let reset = (now.as_seconds() + 60).to_string();
        let left = |left: u64| {
            headers(&[("fastly-ratelimit-remaining", left.to_string()), ("fastly-ratelimit-reset", reset.clone())])
        };
        api.note_pace(&left(100), now);
        assert!(matches!(ask(&mut api, &Method::PUT), EdgeError::Limited { .. }));
        assert!(matches!(ask(&mut api, &Method::GET), EdgeError::Unreachable { .. }), "reading is not limited");
        api.note_pace(&left(101), now);
        assert!(matches!(ask(&mut api, &Method::PUT), EdgeError::Unreachable { .. }));

        for (asked, expected) in [("7", 7), ("soon", 10), ("999999", 3_600)] {
            let error = api.too_many(&headers(&[("retry-after", asked.to_owned())]), "look");
            let EdgeError::Limited { seconds, .. } = error else { panic!("{error}") };
            assert_eq!(seconds, expected);
            assert!(matches!(ask(&mut api, &Method::GET), EdgeError::Limited { .. }));
        }
    }

    #[test]
    fn to_let_somebody_in_again_all_is_sent_that_the_api_itself_takes() {
        let mut api = api(Some((1, Duration::from_secs(300))), "token");
        ask(&mut api, &Method::GET);
        api.no_changes_before = api.now() + Duration::from_secs(60);
        assert!(matches!(ask(&mut api, &Method::PUT), EdgeError::Limited { .. }));
        api.use_reserves(true);
        assert!(matches!(ask(&mut api, &Method::PUT), EdgeError::Unreachable { .. }), "it is sent");
        let _ = api.too_many(&HeaderMap::new(), "look");
        assert!(matches!(ask(&mut api, &Method::PUT), EdgeError::Limited { .. }), "it asked for a pause");
    }

    #[test]
    fn no_error_shows_the_token() {
        for token in ["sesame", "sesame\u{e9}\u{7f}", ""] {
            let error = ask(&mut api(None, token), &Method::GET);
            assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
        }
    }

    #[test]
    fn a_form_takes_any_text() {
        assert_eq!(form(&[("a", "x y&z=%".to_owned()), ("b", String::new())]), "a=x%20y%26z%3D%25&b=");
    }
}
