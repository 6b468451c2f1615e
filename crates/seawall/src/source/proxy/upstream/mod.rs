//! Connections to upstreams: each worker has its own, keeps them for reuse, and drives them from the task of the request
//! that uses them, so that an answer needs no hand-over between tasks.
//!
//! What is kept is a socket and nothing else, so that requests that go through hyper ([`exchange`]) and those that do not
//! ([`super::relay`]) use the same connections.

mod exchange;
mod health;
mod stream;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use seawall_engine::units::Timestamp;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answers::Reply;
use super::worker::Worker;
use crate::config::Upstream;
use health::Notes;

pub use health::{Health, UpstreamHealth};

pub(super) use exchange::UpstreamBody;
pub(super) use stream::UpstreamStream;

/// An idle connection is not kept longer: most servers close theirs after 60 or 75 seconds, and a connection that is
/// closed while a request is on its way costs a retry.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

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
    /// The connection ended before an answer.
    #[error("no answer: {0}")]
    Closed(io::Error),
    /// What came was no HTTP answer, or can be read in more than one way.
    #[error("no answer: {0}")]
    Malformed(&'static str),
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

impl UpstreamError {
    /// What the client is told.
    pub(super) const fn reply(&self) -> Reply {
        match self {
            Self::Connect(_) | Self::Exchange(_) | Self::Closed(_) | Self::Malformed(_) => Reply::BadGateway,
            Self::ConnectTime | Self::AnswerTime => Reply::GatewayTimeout,
            Self::Saturated => Reply::Overload,
            Self::ClientSilent => Reply::TooSlow,
            Self::Client => Reply::Malformed,
        }
    }

    /// Whether it is the client that failed, and not the site.
    pub(super) const fn is_the_clients(&self) -> bool {
        matches!(self, Self::Client | Self::ClientSilent)
    }
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
    notes: Notes,
}

struct IdleConnection {
    stream: UpstreamStream,
    since: Timestamp,
}

/// A request that waits for a connection, counted until it does not: because it has one, or is given up.
struct Waiting<'p>(&'p Cell<usize>);

impl<'p> Waiting<'p> {
    fn begin(count: &'p Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Pools {
    /// The pool for `upstream`, with at most `connections_max` connections.
    pub(super) fn get(&self, upstream: &Arc<Upstream>, connections_max: usize) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        // A reload makes the same upstream anew, whose connections are limited as before.
        let is_same = |pool: &Pool| Arc::ptr_eq(&pool.upstream, upstream) || *pool.upstream == **upstream;
        if let Some(pool) = pools.iter().find(|pool| is_same(pool) && pool.connections_max == connections_max) {
            return Rc::clone(pool);
        }
        let pool = Rc::new(Pool {
            upstream: Arc::clone(upstream),
            idle: RefCell::default(),
            permits: Arc::new(Semaphore::new(connections_max)),
            connections_max,
            waiting: Cell::new(0),
            notes: Notes::default(),
        });
        pools.push(Rc::clone(&pool));
        pool
    }

    /// Whether requests wait for a connection that others have.
    pub(super) fn are_short(&self) -> bool {
        self.pools.borrow().iter().any(|pool| pool.waiting.get() > 0)
    }

    /// Notes that a request to `upstream` failed.
    pub(super) fn note_failure(&self, upstream: &Upstream, error: &UpstreamError) {
        let pools = self.pools.borrow();
        pools.iter().filter(|pool| *pool.upstream == *upstream).take(1).for_each(|pool| pool.notes.fail(error));
    }

    /// Tells what was noted since the last time.
    pub(super) fn tell(&self, health: &Health, now: Timestamp) {
        self.pools.borrow().iter().for_each(|pool| health.take(&pool.upstream, &pool.notes, now));
    }

    /// Closes what has been idle for too long.
    pub(super) fn close_idle(&self, now: Timestamp) {
        self.pools.borrow_mut().retain(|pool| {
            let mut idle = pool.idle.borrow_mut();
            idle.retain(|entry| now.since(entry.since) < IDLE_TIME_MAX);
            // One that a reload took away falls out of use, and then out of the table.
            !idle.is_empty() || Rc::strong_count(pool) > 1 || pool.permits.available_permits() < pool.connections_max
        });
    }
}

impl Pool {
    /// Leave to use one connection; waits for it when all are in use.
    ///
    /// # Errors
    /// [`UpstreamError::Saturated`] when none becomes free within `time`, or too many wait already.
    pub(super) async fn permit(&self, worker: &Worker, time: Duration) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Ok(permit);
        }
        if self.waiting.get() >= WAITING_MAX {
            return Err(UpstreamError::Saturated);
        }
        let start = worker.shared.clock.now();
        let permit = {
            let _waiting = Waiting::begin(&self.waiting);
            tokio::time::timeout(time, permits.acquire_owned()).await
        };
        let waited = worker.shared.clock.now().since(start);
        worker.traffic.upstream_wait_micros.add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
        permit.ok().and_then(Result::ok).ok_or(UpstreamError::Saturated)
    }

    /// Notes that the upstream has answered.
    pub(super) fn note_answer(&self) {
        self.notes.answer();
    }

    /// The connection that was used last and is still open: the others may grow old and be closed.
    pub(super) fn take_idle(&self) -> Option<UpstreamStream> {
        loop {
            let stream = self.idle.borrow_mut().pop()?.stream;
            if stream.is_quiet() {
                return Some(stream);
            }
        }
    }

    /// Keeps a connection for the next request, unless the upstream has closed it or sent what nobody asked for.
    pub(super) fn keep(&self, stream: UpstreamStream, now: Timestamp) {
        if stream.is_quiet() {
            self.idle.borrow_mut().push(IdleConnection { stream, since: now });
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// When it is not made within `time`.
    pub(super) async fn connect(&self, time: Duration) -> Result<UpstreamStream, UpstreamError> {
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
        match tokio::time::timeout(time, connecting).await {
            Ok(result) => result.map_err(UpstreamError::Connect),
            Err(_elapsed) => Err(UpstreamError::ConnectTime),
        }
    }
}
