//! The site behind the guard: a small server that answers by path, has only so much room, and breaks when flooded.
//!
//! It counts what reaches it for each client. It never learns which clients are wanted.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use seawall_engine::units::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::LocalSet;

use super::answer::ORIGIN_SERVER;
use super::scenario::{Answer, Origin, SIZE_MAX, WhenFull};
use crate::host::clock::Clock;

/// A request that reached the origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Timestamp,
    /// Who sent it, as far as the origin can tell.
    pub(crate) client: Option<Ipv4Addr>,
}

/// The origin while it runs; dropping it stops it.
pub(crate) struct RunningOrigin {
    pub(crate) address: SocketAddr,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    _stop: oneshot::Sender<Infallible>,
}

/// The most arrivals that are noted; a drill sends fewer requests, and a guard that retries may double them.
const ARRIVALS_MAX: usize = 500_000;

/// Connections that the origin holds at once.
const CONNECTIONS_MAX: usize = 8_000;

impl RunningOrigin {
    /// Starts it on a free port of loopback, in a thread of its own.
    pub(crate) fn start(origin: &Origin, clock: Clock) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let site = Site::new(origin.clone(), clock, Arc::clone(&arrivals));
        thread::Builder::new().name("drill-origin".to_owned()).spawn(move || {
            LocalSet::new().block_on(&runtime, async move {
                tokio::select! {
                    _ = accept(listener, Rc::new(site)) => {}
                    // Only ever ends by the sender being dropped.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, arrivals, _stop: stop })
    }

    /// Everything that has reached it so far.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: std::net::TcpListener, site: Rc<Site>) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Without room, clients wait in the kernel's queue, as they do before any full server.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { std::future::pending().await };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let site = Rc::clone(&site);
                tokio::task::spawn_local(async move {
                    site.serve(stream, peer).await;
                    drop(place);
                });
            }
            // Out of files for a moment: the next connection that ends makes room.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

struct Site {
    origin: Origin,
    clock: Clock,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    places: Semaphore,
    waiting: Cell<usize>,
    /// What every body is a piece of.
    content: Bytes,
    /// While it has crashed: when it is back.
    away_until: Cell<Option<Timestamp>>,
    /// Tells all who wait that it has crashed.
    crashed: Notify,
}

/// The server has crashed: no answer, and the connection closes.
#[derive(Debug, thiserror::Error)]
#[error("the server has crashed")]
struct Crashed;

impl Site {
    fn new(origin: Origin, clock: Clock, arrivals: Arc<Mutex<Vec<Arrival>>>) -> Self {
        let largest = origin.answers.iter().map(size).max().unwrap_or(0).min(SIZE_MAX);
        let content: Vec<u8> =
            b"All work and no play makes a quiet server.\n".iter().copied().cycle().take(largest as usize).collect();
        let places = Semaphore::new(origin.requests_at_once_max);
        Self {
            origin,
            clock,
            arrivals,
            places,
            waiting: Cell::new(0),
            content: content.into(),
            away_until: Cell::new(None),
            crashed: Notify::new(),
        }
    }

    async fn serve(self: Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        if self.is_away() {
            return;
        }
        let service = service_fn(|request| self.answer(request, peer));
        // A client that goes away in the middle is its own affair.
        _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Result<Response<Full<Bytes>>, Crashed> {
        if self.is_away() {
            return Err(Crashed);
        }
        {
            let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            if arrivals.len() < ARRIVALS_MAX {
                arrivals.push(Arrival { at: self.clock.now(), client: client(&request, peer) });
            }
        }
        let Some(answer) = self.origin.find(request.uri().path(), request.uri().query()) else {
            return Ok(self.respond(StatusCode::NOT_FOUND, "text/plain", 10));
        };
        let Ok(place) = self.places.try_acquire() else {
            return self.wait(answer, &request).await;
        };
        let response = self.work(answer, &request).await;
        drop(place);
        Ok(response)
    }

    /// What a full server does.
    async fn wait(&self, answer: &Answer, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, Crashed> {
        let unavailable = || self.respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", 10);
        if self.waiting.get() >= self.origin.waiting_max {
            match self.origin.when_full {
                WhenFull::Refuse => return Ok(unavailable()),
                WhenFull::Hang => std::future::pending::<()>().await,
                WhenFull::Crash => {
                    self.away_until.set(Some(self.clock.now() + self.origin.restart_time.0));
                    self.crashed.notify_waiters();
                    return Err(Crashed);
                }
            }
        }
        let waiting = Waiting::begin(&self.waiting);
        let place = tokio::select! {
            place = tokio::time::timeout(self.origin.waiting_time_max.0, self.places.acquire()) => place,
            () = self.crashed.notified() => return Err(Crashed),
        };
        drop(waiting);
        match place {
            Ok(Ok(_place)) => Ok(self.work(answer, request).await),
            _ => Ok(unavailable()),
        }
    }

    /// Whether it has crashed and is not back yet.
    fn is_away(&self) -> bool {
        self.away_until.get().is_some_and(|until| self.clock.now() < until)
    }

    async fn work(&self, answer: &Answer, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if let Some(time) = answer.service_time {
            tokio::time::sleep(time.0).await;
        }
        if request.headers().contains_key(header::IF_NONE_MATCH) && answer.status == 200 {
            return self.respond(StatusCode::NOT_MODIFIED, &answer.content_type, 0);
        }
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
        self.respond(status, &answer.content_type, size(answer))
    }

    fn respond(&self, status: StatusCode, content_type: &str, size: u64) -> Response<Full<Bytes>> {
        let length = usize::try_from(size).unwrap_or(usize::MAX).min(self.content.len());
        let mut response = Response::new(Full::new(self.content.slice(..length)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::SERVER, HeaderValue::from_static(ORIGIN_SERVER));
        if let Ok(value) = HeaderValue::from_str(content_type) {
            headers.insert(header::CONTENT_TYPE, value);
        }
        if status == StatusCode::OK {
            headers.insert(header::ETAG, HeaderValue::from_static("\"d1\""));
        }
        response
    }
}

fn size(answer: &Answer) -> u64 {
    answer.size.map_or(2_000, |size| size.0)
}

/// Who sent a request: the last address that the guard wrote, or the peer when nobody stands between.
fn client(request: &Request<Incoming>, peer: SocketAddr) -> Option<Ipv4Addr> {
    let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back();
    let address = match forwarded {
        Some(value) => value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()?,
        None => peer.ip(),
    };
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    }
}

/// Counts a request that waits, also when its client goes away meanwhile.
struct Waiting<'c>(&'c Cell<usize>);

impl<'c> Waiting<'c> {
    fn begin(count: &'c Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
