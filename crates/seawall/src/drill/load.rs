//! The clients: each visit is a task that connects from its client's own address, asks, reads, and notes what became of
//! every request.
//!
//! It never sends to anything but loopback, never begins a page that is due after the end of the drill, and never sends more
//! than the scenario's caps; when it cannot keep the schedule it says so, since a flood that was not sent proves nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use seawall_engine::units::Timestamp;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;

use super::agents::Agent;
use super::answer::{Body, Head, parse_head, rule_named};
use super::gif::FrameCounter;
use super::population::{ClientId, Population, Visit, client_seed};
use super::scenario::{AfterRefusal, CLIENTS_AT_ONCE_MAX, Connection, Group, Label, REQUESTS_MAX, Scenario};
use super::visit::{Cache, Question, pages};
use crate::host::clock::Clock;

/// For how long after the end of the drill a page that was due before it may still be completed. The schedule decides what is
/// asked, not the moment: one seed sends the same requests on a fast and on a slow machine.
const COMPLETION_TIME_MAX: Duration = Duration::from_secs(2);

/// The shortest look at an endless answer: time enough to see that it is one.
const WATCH_TIME_MIN: Duration = Duration::from_millis(100);

/// Where requests go: this machine, and nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoopbackTarget(SocketAddr);

impl LoopbackTarget {
    /// `None` for an address that is not this machine's loopback.
    pub(crate) fn new(address: SocketAddr) -> Option<Self> {
        address.ip().is_loopback().then_some(Self(address))
    }
}

/// What became of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) label: Label,
    pub(crate) address: Ipv4Addr,
    pub(crate) at: Timestamp,
    pub(crate) end: End,
    pub(crate) status: u16,
    /// Until the head of the answer.
    pub(crate) latency: Duration,
    pub(crate) bytes: u64,
    pub(crate) stream: Option<Stream>,
}

/// How an endless answer was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) frames: u32,
    pub(crate) watched: Duration,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer came whole.
    Served,
    /// The guard answered in place of the site, by this rule if it named one.
    Refused { rule: Option<u32> },
    /// The connection was closed or reset without an answer.
    Dropped,
    /// No answer in time, a server error, or an answer cut short.
    Failed,
}

/// What all load threads share.
pub(crate) struct Load {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) population: Arc<Population>,
    pub(crate) seed: u64,
    pub(crate) target: LoopbackTarget,
    pub(crate) clock: Clock,
    pub(crate) starts: Timestamp,
    pub(crate) counters: Counters,
    /// Connections that may be open at once.
    pub(crate) connections_max: usize,
}

/// Numbers to watch while it runs.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) served: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) connections: AtomicUsize,
    pub(crate) connections_peak: AtomicUsize,
}

/// What one load thread brings back.
#[derive(Default)]
pub(crate) struct Harvest {
    pub(crate) sent: Vec<Sent>,
    /// How late each visit began.
    pub(crate) lags: Vec<Duration>,
    /// Visits that were not made since a cap was reached.
    pub(crate) visits_withheld: u64,
    /// Connections that this machine refused to make: no port, no file.
    pub(crate) local_failures: u64,
}

/// Runs the visits of one thread to their end.
pub(crate) fn run(load: Arc<Load>, visits: Vec<Visit>) -> io::Result<Harvest> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let worker = Rc::new(Worker {
        load,
        harvest: RefCell::default(),
        caches: RefCell::default(),
        buffer: RefCell::new(vec![0; 64 * 1024]),
    });
    let local = LocalSet::new();
    let dispatcher = Rc::clone(&worker);
    local.spawn_local(async move {
        for visit in visits {
            let due = dispatcher.load.starts + visit.at;
            let now = dispatcher.load.clock.now();
            if now < due {
                tokio::time::sleep(due.since(now)).await;
            }
            let lag = dispatcher.load.clock.now().since(due);
            dispatcher.harvest.borrow_mut().lags.push(lag);
            tokio::task::spawn_local(Rc::clone(&dispatcher).visit(visit));
        }
    });
    // A LocalSet is done when all its tasks are.
    runtime.block_on(local);
    drop(runtime);
    Ok(Rc::into_inner(worker).map(|worker| worker.harvest.into_inner()).unwrap_or_default())
}

struct Worker {
    load: Arc<Load>,
    harvest: RefCell<Harvest>,
    caches: RefCell<HashMap<ClientId, Cache>>,
    /// Read into by every connection of this thread in turn, so that thousands of streams need no buffers.
    buffer: RefCell<Vec<u8>>,
}

/// A client in the midst of a visit.
struct Client<'w> {
    worker: &'w Worker,
    group: &'w Group,
    address: Ipv4Addr,
    agent: &'w Agent,
}

/// What a client does next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Leave,
}

impl Worker {
    async fn visit(self: Rc<Self>, visit: Visit) {
        let scenario = Arc::clone(&self.load.scenario);
        let (Some(group), Some(address)) =
            (scenario.groups.get(usize::from(visit.client.group)), self.load.population.address(visit.client))
        else {
            return;
        };
        let agent = Agent::draw(group, &mut Rng::with_seed(client_seed(self.load.seed, visit.client)));
        let mut random = Rng::with_seed(visit.seed);
        let pages = {
            let mut caches = self.caches.borrow_mut();
            pages(group, &scenario.site, &mut random, caches.entry(visit.client).or_default())
        };
        let client = Client { worker: &self, group, address, agent: &agent };
        let mut connection = None;
        let mut due = self.load.starts + visit.at;
        for page in pages {
            due = due + page.think_time;
            if !page.think_time.is_zero() {
                tokio::time::sleep(page.think_time).await;
            }
            if client.ask(&mut connection, &page.page, due, &mut random).await == Next::Leave {
                return;
            }
            client.load_assets(&mut connection, &page.assets, due, &mut random).await;
        }
    }

    /// Until when requests may be sent.
    fn ends(&self) -> Timestamp {
        self.load.starts + self.load.scenario.duration.0
    }
}

impl Client<'_> {
    /// The assets of a page, over as many connections as the group's browsers open.
    async fn load_assets(
        &self,
        connection: &mut Option<OpenConnection>,
        assets: &[Question],
        due: Timestamp,
        random: &mut Rng,
    ) {
        let lanes = self.group.parallel_connections as usize;
        let mut others: Vec<_> = (1..lanes).map(|lane| (lane, None, random.fork())).collect();
        let first = async {
            for asset in assets.iter().step_by(lanes) {
                if self.ask(connection, asset, due, random).await == Next::Leave {
                    return;
                }
            }
        };
        let rest = others.iter_mut().map(|(lane, connection, random)| async move {
            for asset in assets.iter().skip(*lane).step_by(lanes) {
                if self.ask(connection, asset, due, random).await == Next::Leave {
                    return;
                }
            }
        });
        tokio::join!(first, join_all(rest));
    }

    /// Asks until there is an answer that the client accepts, as its group does after refusals. `due` is when the schedule has
    /// the page that this belongs to.
    async fn ask(
        &self,
        connection: &mut Option<OpenConnection>,
        question: &Question,
        due: Timestamp,
        random: &mut Rng,
    ) -> Next {
        let worker = self.worker;
        for attempt in 0..=self.group.retries_max {
            let now = worker.load.clock.now();
            let scheduled = if attempt == 0 { due } else { now };
            if scheduled >= worker.ends() || now >= worker.ends() + COMPLETION_TIME_MAX {
                return Next::Leave;
            }
            if worker.load.counters.sent.fetch_add(1, Ordering::Relaxed) >= REQUESTS_MAX {
                worker.load.counters.sent.fetch_sub(1, Ordering::Relaxed);
                worker.harvest.borrow_mut().visits_withheld += 1;
                return Next::Leave;
            }
            let Some((sent, retry_after)) = self.exchange(connection, question, random).await else {
                worker.load.counters.sent.fetch_sub(1, Ordering::Relaxed);
                return Next::Leave;
            };
            match sent.end {
                End::Served => worker.load.counters.served.fetch_add(1, Ordering::Relaxed),
                End::Refused { .. } | End::Dropped => worker.load.counters.refused.fetch_add(1, Ordering::Relaxed),
                End::Failed => 0,
            };
            worker.harvest.borrow_mut().sent.push(sent);
            if sent.end == End::Served {
                return Next::GoOn;
            }
            let pause = match self.group.after_refusal {
                AfterRefusal::GivesUp => return Next::Leave,
                AfterRefusal::Ignores => return Next::GoOn,
                AfterRefusal::ObeysRetryAfter => match retry_after {
                    Some(seconds) => Duration::from_secs(u64::from(seconds)),
                    None => return Next::Leave,
                },
                AfterRefusal::Retries => self.group.retry_interval.0,
            };
            // What would be due after the end is not waited for.
            if worker.load.clock.now() + pause >= worker.ends() {
                return Next::Leave;
            }
            if attempt < self.group.retries_max {
                tokio::time::sleep(pause).await;
            }
        }
        Next::Leave
    }

    /// One request and its answer. `None` when this machine could not even make the connection.
    async fn exchange(
        &self,
        connection: &mut Option<OpenConnection>,
        question: &Question,
        random: &mut Rng,
    ) -> Option<(Sent, Option<u32>)> {
        let worker = self.worker;
        let bytes = question.to_bytes(self.agent, self.group.connection);
        let at = worker.load.clock.now();
        let watch = self.group.streams().then(|| self.watch_time(random));
        let mut sent = Sent {
            label: self.group.label,
            address: self.address,
            at,
            end: End::Dropped,
            status: 0,
            latency: Duration::ZERO,
            bytes: 0,
            stream: None,
        };
        // A kept connection may have been closed by the other side meanwhile: then a client tries once more on a new one.
        loop {
            let reused = connection.is_some();
            let mut open = match connection.take() {
                Some(open) => open,
                None => match self.connect().await {
                    Ok(Some(open)) => open,
                    Ok(None) => return Some((sent, None)),
                    Err(_) => {
                        worker.harvest.borrow_mut().local_failures += 1;
                        return None;
                    }
                },
            };
            let answer = self.converse(&mut open, &bytes, &question.method, at, watch, &mut sent).await;
            match answer {
                Ok(head) => {
                    let keep = head.as_ref().is_some_and(|head| head.keep_alive);
                    if keep && self.group.connection == Connection::KeepAlive && sent.end != End::Dropped {
                        *connection = Some(open);
                    }
                    return Some((sent, head.and_then(|head| head.retry_after)));
                }
                Err(Lost) if reused => {}
                Err(Lost) => return Some((sent, None)),
            }
        }
    }

    /// How long an endless answer is watched: log-uniform, since some look for a moment and some for hours.
    fn watch_time(&self, random: &mut Rng) -> Duration {
        let least = self.group.stream_time_min.map_or(Duration::ZERO, |time| time.0).max(WATCH_TIME_MIN).as_secs_f64();
        let most = self.group.stream_time_max.map_or(86_400.0, |time| time.0.as_secs_f64()).max(least);
        Duration::from_secs_f64(least * (most / least).powf(random.f64()))
    }

    /// A connection from the client's own address; `None` when the other side would not have it.
    async fn connect(&self) -> io::Result<Option<OpenConnection>> {
        let load = &self.worker.load;
        let mut open = OpenConnection::count(load)?;
        let socket = TcpSocket::new_v4()?;
        if let Some(rate) = self.group.read_bytes_per_second {
            // What a slow reader has not read must not hide in a large buffer.
            socket.set_recv_buffer_size(u32::try_from(rate.0.clamp(2048, 65_536)).unwrap_or(65_536))?;
        }
        socket.bind(SocketAddr::new(IpAddr::V4(self.address), 0))?;
        match tokio::time::timeout(self.group.answer_time_max.0, socket.connect(load.target.0)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                open.stream = Some(stream);
                Ok(Some(open))
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::AddrNotAvailable => Err(error),
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }

    /// Sends the request and reads the answer to its end. [`Lost`] when the connection was gone before any answer.
    async fn converse(
        &self,
        open: &mut OpenConnection,
        request: &[u8],
        method: &str,
        at: Timestamp,
        watch: Option<Duration>,
        sent: &mut Sent,
    ) -> Result<Option<Head>, Lost> {
        let worker = self.worker;
        let stream = open.stream.as_ref().ok_or(Lost)?;
        write_all(stream, request, self.group.answer_time_max.0).await.map_err(|_| Lost)?;
        let mut begun = Vec::new();
        let (head, length) = loop {
            match parse_head(&begun, method) {
                Ok(Some((head, length))) if (100..200).contains(&head.status) => {
                    begun.drain(..length);
                }
                Ok(Some(found)) => break found,
                Ok(None) => {
                    let read =
                        self.receive(stream, self.group.answer_time_max.0, |bytes| begun.extend_from_slice(bytes));
                    match read.await {
                        Ok(0) | Err(Silence::Lost) if begun.is_empty() => return Err(Lost),
                        Ok(0) | Err(Silence::Lost | Silence::TooLong) => {
                            sent.end = if begun.is_empty() { End::Failed } else { End::Dropped };
                            return Ok(None);
                        }
                        Ok(_) => {}
                    }
                }
                Err(_) => {
                    sent.end = End::Failed;
                    return Ok(None);
                }
            }
        };
        let now = worker.load.clock.now();
        sent.latency = now.since(at);
        sent.status = head.status;
        let mut body = Body::new(&head);
        let mut frames = FrameCounter::default();
        let watched = watch.filter(|_| head.status == 200);
        let deadline = watched.map(|watch| (now + watch).min(worker.ends().max(now + WATCH_TIME_MIN)));
        let mut good = body.feed(begun.get(length..).unwrap_or_default(), |bytes| frames.feed(bytes)).is_ok();
        let mut finished = false;
        while good && !body.is_complete() {
            let patience = match deadline {
                Some(deadline) => {
                    let left = deadline.since(worker.load.clock.now());
                    if left.is_zero() {
                        finished = true;
                        break;
                    }
                    left.min(self.group.answer_time_max.0)
                }
                None => self.group.answer_time_max.0,
            };
            let mut fed = Ok(());
            match self.receive(stream, patience, |bytes| fed = body.feed(bytes, |content| frames.feed(content))).await {
                Ok(0) => {
                    good = body.may_end_by_close();
                    break;
                }
                Ok(_) => good = fed.is_ok(),
                Err(Silence::Lost) => good = false,
                // Silence until the moment at which the viewer leaves anyway is no failure.
                Err(Silence::TooLong) => good = deadline.is_some_and(|deadline| worker.load.clock.now() >= deadline),
            }
        }
        sent.bytes = body.bytes;
        if watched.is_some() {
            sent.stream = Some(Stream { frames: frames.frames, watched: worker.load.clock.now().since(now) });
            good &= finished && frames.is_gif();
        }
        sent.end = end(&head, &body, good);
        let mut head = head;
        head.keep_alive &= body.is_complete();
        Ok(Some(head))
    }

    /// The next bytes from the other side, as fast as this client reads.
    async fn receive(
        &self,
        stream: &TcpStream,
        patience: Duration,
        take: impl FnOnce(&[u8]),
    ) -> Result<usize, Silence> {
        let most = match self.group.read_bytes_per_second {
            Some(rate) => {
                let piece = (rate.0 / 10).max(1);
                tokio::time::sleep(Duration::from_secs_f64(piece as f64 / rate.0 as f64)).await;
                usize::try_from(piece).unwrap_or(usize::MAX)
            }
            None => usize::MAX,
        };
        let read = async {
            loop {
                stream.readable().await?;
                let mut buffer = self.worker.buffer.borrow_mut();
                let room = buffer.len().min(most);
                match stream.try_read(&mut buffer[..room]) {
                    Ok(count) => {
                        take(&buffer[..count]);
                        return Ok(count);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        };
        match tokio::time::timeout(patience, read).await {
            Err(_) => Err(Silence::TooLong),
            Ok(read) => read.map_err(|_: io::Error| Silence::Lost),
        }
    }
}

/// Writes everything, within `patience`.
async fn write_all(stream: &TcpStream, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
    let write = async {
        while !bytes.is_empty() {
            match stream.try_write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    tokio::time::timeout(patience, write).await?
}

/// How an answered request ended.
fn end(head: &Head, body: &Body, complete: bool) -> End {
    if let Some(rule) = rule_named(&body.kept)
        && !head.from_origin
        && head.status >= 400
    {
        return End::Refused { rule: Some(rule) };
    }
    match head.status {
        _ if head.from_origin && head.status >= 500 => End::Failed,
        403 | 405 | 410 | 421 | 429 if !head.from_origin => End::Refused { rule: None },
        // Shedding asks to come back; a dead site does not.
        503 if head.retry_after.is_some() => End::Refused { rule: None },
        200..=399 | 404 if complete => End::Served,
        _ if head.from_origin && complete => End::Served,
        _ => End::Failed,
    }
}

/// The connection was gone before any answer.
struct Lost;

/// Nothing came.
enum Silence {
    /// The connection broke.
    Lost,
    /// Not in time.
    TooLong,
}

/// A connection, counted for as long as it lives.
struct OpenConnection {
    stream: Option<TcpStream>,
    load: Arc<Load>,
}

impl OpenConnection {
    fn count(load: &Arc<Load>) -> io::Result<Self> {
        let open = load.counters.connections.fetch_add(1, Ordering::Relaxed) + 1;
        load.counters.connections_peak.fetch_max(open, Ordering::Relaxed);
        let counted = Self { stream: None, load: Arc::clone(load) };
        if open > load.connections_max.min(CLIENTS_AT_ONCE_MAX) {
            return Err(io::Error::other("the drill's own cap on connections is reached"));
        }
        Ok(counted)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.load.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
