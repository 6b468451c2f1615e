//! Connections to upstreams: each worker has its own, keeps them for reuse, and drives them from the task of the request
//! that uses them, so that an answer needs no hand-over between tasks.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use seawall_engine::units::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::{BodyError, RequestBody};
use super::deadlines::Deadline;
use super::worker::Worker;
use crate::config::Upstream;

/// An idle connection is not kept longer: most servers close theirs after 60 or 75 seconds, and a connection that is
/// closed while a request is on its way costs a retry.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// The largest amount of an answer that is read ahead of its client.
const READ_AHEAD_BYTES_MAX: usize = 64 * 1024;

/// Requests of one worker that may wait for a free connection to one upstream; more are refused at once.
const WAITING_MAX: usize = 1_024;

/// Why an upstream did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError {
    /// The connection could not be made.
    #[error("failed to connect: {0}")]
    Connect(io::Error),
    /// It was not made in time.
    #[error("no connection within the bound")]
    ConnectTime,
    /// The connection ended, or what came was no HTTP answer.
    #[error("no answer: {0}")]
    Exchange(hyper::Error),
    /// No answer came in time.
    #[error("no answer within the bound")]
    AnswerTime,
    /// All connections are in use and too many requests wait for one.
    #[error("all connections are in use")]
    Saturated,
    /// The client fell silent in the middle of its body.
    #[error("the client fell silent")]
    ClientSilent,
    /// The client's body is no clear HTTP, or broke off.
    #[error("the client's body broke off")]
    Client,
}

/// The pools of one worker, one for each upstream.
#[derive(Default)]
pub(super) struct Pools {
    /// Few, so that comparing pointers beats hashing names.
    pools: RefCell<Vec<Rc<Pool>>>,
}

/// Connections of one worker to one upstream.
pub(super) struct Pool {
    upstream: Arc<Upstream>,
    idle: RefCell<Vec<IdleConnection>>,
    permits: Arc<Semaphore>,
    connections_max: usize,
    waiting: Cell<usize>,
}

struct IdleConnection {
    connection: Box<UpstreamConnection>,
    since: Timestamp,
}

type Driver = http1::Connection<TokioIo<UpstreamStream>, RequestBody>;

/// One connection, driven by whoever uses it.
pub(super) struct UpstreamConnection {
    sender: SendRequest<RequestBody>,
    driver: Driver,
    /// Whether the driver has finished and must not be polled again.
    is_done: bool,
    wakes: Arc<Wakes>,
    /// Leads to `wakes`, and is given to all parts of the connection.
    waker: Waker,
}

/// Where the wakes of a connection's parts go. They run in one task and wake each other at every step: while that task polls
/// them, it need not be woken to poll them once more.
#[derive(Default)]
struct Wakes {
    task: AtomicWaker,
    is_polling: AtomicBool,
    is_woken: AtomicBool,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_polling.load(Ordering::Relaxed) {
            self.is_woken.store(true, Ordering::Relaxed);
        } else {
            self.task.wake();
        }
    }
}

/// How often the parts of a connection may wake each other before other tasks get their turn.
const ROUNDS_MAX: usize = 4;

impl Pools {
    /// The pool for `upstream`, with at most `connections_max` connections.
    pub(super) fn get(&self, upstream: &Arc<Upstream>, connections_max: usize) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        let is_wanted = |pool: &&Rc<Pool>| Arc::ptr_eq(&pool.upstream, upstream);
        if let Some(pool) = pools.iter().find(is_wanted) {
            return Rc::clone(pool);
        }
        let pool = Rc::new(Pool {
            upstream: Arc::clone(upstream),
            idle: RefCell::default(),
            permits: Arc::new(Semaphore::new(connections_max)),
            connections_max,
            waiting: Cell::new(0),
        });
        pools.push(Rc::clone(&pool));
        pool
    }

    /// Closes what has been idle for too long.
    pub(super) fn close_idle(&self, now: Timestamp) {
        self.pools.borrow_mut().retain(|pool| {
            let mut idle = pool.idle.borrow_mut();
            idle.retain(|entry| now.since(entry.since) < IDLE_TIME_MAX);
            // A reload makes new pools; an old one falls out of use, and then out of the table.
            !idle.is_empty() || Rc::strong_count(pool) > 1 || pool.permits.available_permits() < pool.connections_max
        });
    }
}

impl Pool {
    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// When no answer comes within the worker's limits.
    pub(super) async fn send(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        request: http::Request<RequestBody>,
        deadline: &Rc<Deadline>,
    ) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        let (connect_time, answer_time, idle_time) = worker.limits(|limits| {
            (limits.upstream_connect_time_max, limits.upstream_answer_time_max, limits.upstream_idle_time_max)
        });
        let permit = self.permit(worker, connect_time).await?;
        let mut request = request;
        // Sent once more, it goes out on a connection that nobody has had: a request that makes the site close must not do so
        // to each kept connection in turn.
        let mut is_repeated = false;
        let had_request_body = !request.body().is_end_stream();
        loop {
            let kept = if is_repeated { None } else { self.take_idle() };
            let (mut connection, is_fresh) = match kept {
                Some(connection) => (connection, false),
                None => (self.connect(connect_time).await?, true),
            };
            worker.deadlines.set(deadline, answer_time);
            let again = if is_fresh { None } else { again(&request) };
            match connection.exchange(request, deadline).await {
                Ok(response) => {
                    worker.deadlines.set(deadline, idle_time);
                    let (parts, incoming) = response.into_parts();
                    let mut body = UpstreamBody {
                        is_ended: incoming.is_end_stream(),
                        had_request_body,
                        incoming,
                        connection: Some(connection),
                        pool: Rc::clone(self),
                        worker: Rc::clone(worker),
                        deadline: Rc::clone(deadline),
                        idle_time,
                        permit: Some(permit),
                    };
                    if body.is_ended && parts.status != http::StatusCode::SWITCHING_PROTOCOLS {
                        body.release();
                    }
                    return Ok(http::Response::from_parts(parts, body));
                }
                // The upstream closed a connection that it had kept, before it saw the request: nothing has happened
                // yet, so another connection is tried.
                Err(Unanswered { unsent: Some(unsent), .. }) if !is_fresh => request = unsent,
                Err(Unanswered { error: UpstreamError::Exchange(error), .. }) if !error.is_parse() => match again {
                    Some(again) => (request, is_repeated) = (again, true),
                    None => return Err(UpstreamError::Exchange(error)),
                },
                Err(Unanswered { error, .. }) => return Err(error),
            }
        }
    }

    async fn permit(&self, worker: &Worker, time: Duration) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Ok(permit);
        }
        if self.waiting.get() >= WAITING_MAX {
            return Err(UpstreamError::Saturated);
        }
        self.waiting.set(self.waiting.get() + 1);
        let start = worker.shared.clock.now();
        let permit = tokio::time::timeout(time, permits.acquire_owned()).await;
        self.waiting.set(self.waiting.get() - 1);
        let waited = worker.shared.clock.now().since(start);
        worker.traffic.upstream_wait_micros.add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
        permit.ok().and_then(Result::ok).ok_or(UpstreamError::Saturated)
    }

    /// The connection that was used last and is still open: the others may grow old and be closed.
    fn take_idle(&self) -> Option<Box<UpstreamConnection>> {
        loop {
            let mut connection = self.idle.borrow_mut().pop()?.connection;
            if connection.is_usable() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self, time: Duration) -> Result<Box<UpstreamConnection>, UpstreamError> {
        let connecting = async {
            Ok(match &*self.upstream {
                Upstream::Http { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    UpstreamStream::Tcp(stream)
                }
                Upstream::Unix { path } => UpstreamStream::Unix(UnixStream::connect(path).await?),
            })
        };
        let stream = match tokio::time::timeout(time, connecting).await {
            Ok(result) => result.map_err(UpstreamError::Connect)?,
            Err(_elapsed) => return Err(UpstreamError::ConnectTime),
        };
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(READ_AHEAD_BYTES_MAX)
            .writev(false)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(UpstreamError::Exchange)?;
        Ok(Box::new(UpstreamConnection::new(sender, driver)))
    }
}

/// The same request, to be sent on another connection if the upstream closes a kept one while this is on its way. Only for
/// what may be done twice and has no body (RFC 9110, section 9.2.2).
fn again(request: &http::Request<RequestBody>) -> Option<http::Request<RequestBody>> {
    let body = request.body().again().filter(|_| request.method().is_safe())?;
    let mut again = http::Request::new(body);
    request.method().clone_into(again.method_mut());
    request.uri().clone_into(again.uri_mut());
    request.headers().clone_into(again.headers_mut());
    Some(again)
}

/// An exchange that failed, with the request if no byte of it was sent.
struct Unanswered {
    error: UpstreamError,
    unsent: Option<http::Request<RequestBody>>,
}

impl UpstreamConnection {
    fn new(sender: SendRequest<RequestBody>, driver: Driver) -> Self {
        let wakes = Arc::new(Wakes::default());
        Self { sender, driver, is_done: false, waker: Waker::from(Arc::clone(&wakes)), wakes }
    }

    /// Whether the connection can take a request: looks, without waiting, whether the upstream has closed it.
    fn is_usable(&mut self) -> bool {
        self.drive();
        !self.is_done && self.sender.is_ready()
    }

    fn drive(&mut self) {
        if !self.is_done {
            self.is_done = self.driver.poll_without_shutdown(&mut Context::from_waker(&self.waker)).is_ready();
        }
    }

    /// Polls what the connection is to bring forth, and the connection, in turn for as long as one wakes the other.
    fn poll<T>(&mut self, context: &Context<'_>, mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.wakes.task.register(context.waker());
        self.wakes.is_polling.store(true, Ordering::Relaxed);
        let mut polled = Poll::Pending;
        for _ in 0..ROUNDS_MAX {
            self.wakes.is_woken.store(false, Ordering::Relaxed);
            polled = wanted(&mut Context::from_waker(&self.waker));
            if polled.is_ready() {
                break;
            }
            self.drive();
            if !self.wakes.is_woken.load(Ordering::Relaxed) {
                break;
            }
        }
        self.wakes.is_polling.store(false, Ordering::Relaxed);
        if polled.is_pending() && self.wakes.is_woken.load(Ordering::Relaxed) {
            context.waker().wake_by_ref();
        }
        polled
    }

    async fn exchange(
        &mut self,
        request: http::Request<RequestBody>,
        deadline: &Deadline,
    ) -> Result<http::Response<Incoming>, Unanswered> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            if let Poll::Ready(answer) = self.poll(context, |context| answer.as_mut().poll(context)) {
                return Poll::Ready(answer.map_err(|mut failed| {
                    let unsent = failed.take_message();
                    let error = failed.into_error();
                    let error = match error.source().and_then(|cause| cause.downcast_ref()) {
                        Some(BodyError::ClientSilent) => UpstreamError::ClientSilent,
                        Some(_) => UpstreamError::Client,
                        None => UpstreamError::Exchange(error),
                    };
                    Unanswered { error, unsent }
                }));
            }
            if deadline.is_expired(context) {
                return Poll::Ready(Err(Unanswered { error: UpstreamError::AnswerTime, unsent: None }));
            }
            Poll::Pending
        })
        .await
    }
}

/// The body of an upstream's answer. It drives the connection, and gives it back when it is through.
pub(super) struct UpstreamBody {
    incoming: Incoming,
    is_ended: bool,
    had_request_body: bool,
    /// Boxed when it is made, since it changes hands several times for each request and is large.
    connection: Option<Box<UpstreamConnection>>,
    pool: Rc<Pool>,
    worker: Rc<Worker>,
    deadline: Rc<Deadline>,
    idle_time: Duration,
    permit: Option<OwnedSemaphorePermit>,
}

impl UpstreamBody {
    /// Puts the connection back for the next request.
    fn release(&mut self) {
        self.deadline.clear();
        // Whether the upstream keeps it open is looked at when the next request wants it: looking now as well would be work
        // done twice. Only when there was a body to send may the answer have come before the end of it; then the
        // connection is of no further use, and keeping it would keep the rest of the body waiting.
        if let Some(mut connection) = self.connection.take()
            && !connection.is_done
            && (!self.had_request_body || connection.is_usable())
        {
            // It is nobody's now, and would keep the memory of the task that had it.
            drop(connection.wakes.task.take());
            let since = self.worker.shared.clock.now();
            self.pool.idle.borrow_mut().push(IdleConnection { connection, since });
        }
        self.permit = None;
    }

    /// After 101: the socket, and what of the other protocol has been read with the answer.
    pub(super) async fn into_tunnel(mut self) -> Option<(UpstreamStream, Bytes)> {
        let mut connection = self.connection.take()?;
        if !connection.is_done {
            poll_fn(|context| connection.driver.poll_without_shutdown(context)).await.ok()?;
        }
        let parts = connection.driver.into_parts();
        Some((parts.io.into_inner(), parts.read_buf))
    }

    pub(super) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let incoming = &mut self.incoming;
        let polled = match &mut self.connection {
            Some(connection) => connection.poll(context, |context| Pin::new(&mut *incoming).poll_frame(context)),
            None => Pin::new(incoming).poll_frame(context),
        };
        match polled {
            Poll::Pending if self.deadline.is_expired(context) => {
                self.connection = None;
                Poll::Ready(Some(Err(BodyError::Silent)))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Err(error))) => {
                self.connection = None;
                Poll::Ready(Some(Err(BodyError::Upstream(error))))
            }
            Poll::Ready(frame) => {
                self.is_ended = frame.is_none() || self.incoming.is_end_stream();
                if self.is_ended {
                    self.release();
                } else {
                    self.worker.deadlines.set(&self.deadline, self.idle_time);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Upstream)))
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.is_ended
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // An answer that was not read to its end leaves the connection in the middle of it: it is closed.
        if self.incoming.is_end_stream() {
            self.release();
        }
        self.deadline.clear();
    }
}

/// A socket to an upstream.
pub(super) enum UpstreamStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for UpstreamStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
