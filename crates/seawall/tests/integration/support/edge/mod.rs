//! Servers that behave as the APIs of CDNs are documented to, with faults that can be switched on.

pub(crate) mod cloudflare;
pub(crate) mod fastly;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::Value;
use tokio::sync::oneshot;

/// The token that both know.
pub(crate) const TOKEN: &str = "sesame-open-4711";

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This status, with the body that goes with it.
    Status(u16),
    /// 429 with this Retry-After, in seconds.
    TooMany(u64),
    /// The connection ends in the middle of the answer.
    Half,
    /// No answer.
    Hang,
}

/// An answer.
pub(crate) struct Reply {
    status: u16,
    body: Value,
    headers: Vec<(&'static str, String)>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self { status, body, headers: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What was asked.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// The parts of the path.
    pub(crate) path: Vec<&'a str>,
    query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

impl Asked<'_> {
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }

    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.parameter(name)?.parse().ok()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// An API.
pub(crate) trait Api: Send + 'static {
    fn answer(&mut self, asked: &Asked<'_>) -> Reply;

    /// The body of a refusal.
    fn refusal(&self, status: u16) -> Value;
}

struct Shared<A> {
    api: Mutex<A>,
    /// What goes wrong, with requests whose `METHOD /path` holds the text.
    fault: Mutex<Option<(String, Fault)>>,
    /// `METHOD /path` of all requests.
    seen: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running API. It ends when dropped.
pub(crate) struct Fake<A> {
    address: SocketAddr,
    shared: Arc<Shared<A>>,
    _end: oneshot::Sender<()>,
}

impl<A: Api> Fake<A> {
    pub(crate) fn start(api: A) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { api: Mutex::new(api), fault: Mutex::default(), seen: Mutex::default() });
        let (end, ended) = oneshot::channel::<()>();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
                let answer = move |method, uri, headers, body| answer(Arc::clone(&served), method, uri, headers, body);
                let serve = axum::serve(listener, Router::new().fallback(answer));
                tokio::select! { _ = async { serve.await } => {}, _ = ended => {} }
            });
        });
        Self { address, shared, _end: end }
    }

    /// As the guard is told it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What is there.
    pub(crate) fn api(&self) -> MutexGuard<'_, A> {
        lock(&self.shared.api)
    }

    /// From now on this goes wrong with requests whose `METHOD /path` holds `with`.
    pub(crate) fn fail(&self, with: &str, fault: Fault) {
        *lock(&self.shared.fault) = Some((with.to_owned(), fault));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn mend(&self) {
        *lock(&self.shared.fault) = None;
    }

    /// How many requests came whose `METHOD /path` holds `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        lock(&self.shared.seen).iter().filter(|seen| seen.contains(text)).count()
    }

    /// How many changes were asked for.
    pub(crate) fn changes(&self) -> usize {
        lock(&self.shared.seen).iter().filter(|seen| !seen.starts_with("GET ")).count()
    }
}

async fn answer<A: Api>(shared: Arc<Shared<A>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let name = format!("{method} {}", uri.path());
    lock(&shared.seen).push(name.clone());
    let fault = || lock(&shared.fault).clone().filter(|(with, _)| name.contains(with.as_str())).map(|(_, fault)| fault);
    // Until it is mended, or whoever asked has gone.
    while fault() == Some(Fault::Hang) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let reply = match fault() {
        Some(Fault::Status(status)) => Reply::new(status, lock(&shared.api).refusal(status)),
        Some(Fault::TooMany(seconds)) => {
            Reply::new(429, lock(&shared.api).refusal(429)).header("retry-after", seconds.to_string())
        }
        _ => {
            let path = uri.path().split('/').filter(|part| !part.is_empty()).collect();
            let query = uri.query().unwrap_or_default();
            let asked = Asked { method: method.as_str(), path, query, headers: &headers, body: &body };
            lock(&shared.api).answer(&asked)
        }
    };
    let text = reply.body.to_string();
    let body = if fault() == Some(Fault::Half) {
        let half = Bytes::from(text[..text.len() / 2].to_owned());
        Body::from_stream(futures_util::stream::iter([Ok(half), Err(std::io::Error::other("cut off"))]))
    } else {
        Body::from(text)
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).expect("a status");
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, HeaderValue::from_str(&value).expect("a header"));
    }
    response
}
