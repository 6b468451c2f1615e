//! Requests with a body, changes of protocol, and whatever else hyper is to settle: sent by its client, over a connection
//! of the pool.

use std::error::Error as _;
use std::future::poll_fn;
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
use tokio::sync::OwnedSemaphorePermit;

use super::super::body::{BodyError, RequestBody};
use super::super::deadlines::Deadline;
use super::super::worker::Worker;
use super::{Pool, UpstreamError, UpstreamStream};

/// The largest amount of an answer that is read ahead of its client.
const READ_AHEAD_BYTES_MAX: usize = 64 * 1024;

type Driver = http1::Connection<TokioIo<UpstreamStream>, RequestBody>;

/// A connection that hyper has for one exchange, driven by whoever waits for the answer.
struct UpstreamConnection {
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

impl Pool {
    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// When no answer comes within the worker's limits.
    pub(in super::super) async fn send(
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
        loop {
            let kept = if is_repeated { None } else { self.take_idle() };
            let (stream, is_fresh) = match kept {
                Some(stream) => (stream, false),
                None => (self.connect(connect_time).await?, true),
            };
            let mut connection = UpstreamConnection::new(stream).await?;
            worker.deadlines.set(deadline, answer_time);
            let again = if is_fresh { None } else { again(&request) };
            match connection.exchange(request, deadline).await {
                Ok(response) => {
                    worker.deadlines.set(deadline, idle_time);
                    let (parts, incoming) = response.into_parts();
                    let mut body = UpstreamBody {
                        is_ended: incoming.is_end_stream(),
                        incoming,
                        connection: Some(Box::new(connection)),
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
    async fn new(stream: UpstreamStream) -> Result<Self, UpstreamError> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(READ_AHEAD_BYTES_MAX)
            .writev(false)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(UpstreamError::Exchange)?;
        let wakes = Arc::new(Wakes::default());
        Ok(Self { sender, driver, is_done: false, waker: Waker::from(Arc::clone(&wakes)), wakes })
    }

    /// The socket, if it can take another request: the upstream keeps it open, and all of this request's body was sent. An
    /// answer may come before that; then the rest of the body would have to be waited for.
    fn into_reusable(mut self) -> Option<UpstreamStream> {
        self.drive();
        if self.is_done || !self.sender.is_ready() {
            return None;
        }
        let parts = self.driver.into_parts();
        parts.read_buf.is_empty().then(|| parts.io.into_inner())
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
pub(in super::super) struct UpstreamBody {
    incoming: Incoming,
    is_ended: bool,
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
        if let Some(stream) = self.connection.take().and_then(|connection| connection.into_reusable()) {
            self.pool.keep(stream, self.worker.shared.clock.now());
        }
        self.permit = None;
    }

    /// After 101: the socket, and what of the other protocol has been read with the answer.
    pub(in super::super) async fn into_tunnel(mut self) -> Option<(UpstreamStream, Bytes)> {
        let mut connection = self.connection.take()?;
        if !connection.is_done {
            poll_fn(|context| connection.driver.poll_without_shutdown(context)).await.ok()?;
        }
        let parts = connection.driver.into_parts();
        Some((parts.io.into_inner(), parts.read_buf))
    }

    pub(in super::super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
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

    pub(in super::super) fn is_end_stream(&self) -> bool {
        self.is_ended
    }

    pub(in super::super) fn size_hint(&self) -> SizeHint {
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
