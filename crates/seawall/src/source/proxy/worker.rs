//! One worker: a thread with its own runtime, listeners, gate, upstream connections and clock viewers. Workers share
//! nothing that is written, so they never wait for each other.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use seawall_engine::address::{AddressSet, ClientAddress};
use seawall_engine::gate::{Awaited, BanSet, ClientSlot, Gate, Judged, Offence, TableFull};
use seawall_engine::observation::Request;
use seawall_engine::observation::attribute::Attribute;
use seawall_engine::silence::Peers;
use seawall_engine::units::Timestamp;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use super::answers::{Answer, Answers, DATE_BYTES, Reply};
use super::buffers::Buffers;
use super::connection::Connection;
use super::deadlines::{Deadlines, SWEEP_INTERVAL};
use super::listener;
use super::settings::Settings;
use super::streams::Streams;
use super::traffic::Traffic;
use super::under_way::AllUnderWay;
use super::upstream::{Pools, UpstreamError};
use crate::config::{Limits, Upstream};
use crate::enforcement::HandDown;
use crate::enforcement::telling::Told;
use crate::source::record::Sampler;
use crate::source::shared::{CLIENT_ENTRIES, Shared};

/// How long a worker waits before it accepts again when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the clock's viewers may take to say goodbye.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(3);

/// What the daemon tells a worker.
#[derive(Debug)]
pub enum Order {
    /// Accept from this socket, bound to this address.
    Listen(SocketAddr, OwnedFd),
    /// Accept who already waits at this address, then nobody any more.
    StopListening(SocketAddr),
    /// Accept no more, finish what is under way within this time, and end.
    Drain(Duration),
    /// Finish nothing more.
    Cut,
}

/// One worker. Everything in it belongs to one thread.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) deadlines: Deadlines,
    pub(super) pools: Pools,
    pub(super) sampler: RefCell<Sampler>,
    pub(super) under_way: AllUnderWay,
    /// From whom requests came since that was last handed over.
    pub(super) peers: RefCell<Peers>,
    pub(super) streams: Streams,
    /// Whether the worker finishes what is under way and takes nothing new. A channel, so that streams can wait for it.
    pub(super) draining: watch::Sender<bool>,
    gate: RefCell<Gate>,
    /// Whether a rule asks which country or system a client belongs to; it is looked up for none else.
    needs_networks: Cell<bool>,
    settings: RefCell<Arc<Settings>>,
    never_ban: RefCell<Arc<AddressSet>>,
    bans: RefCell<Arc<BanSet>>,
    /// Clients for the kernel.
    handed_down: RefCell<rtrb::Producer<HandDown>>,
    /// What it is told of its clients.
    told: RefCell<rtrb::Consumer<Told>>,
    answers: RefCell<Answers>,
    generation: Cell<u64>,
    pub(super) buffers: Buffers,
    /// When the last failure of an upstream was logged, and how many came since.
    failures: Cell<(u64, u64)>,
    pub(super) workers: usize,
}

/// How to start a worker.
pub struct Start {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Where it counts.
    pub traffic: Arc<Traffic>,
    /// Where its observations go.
    pub sampler: Sampler,
    /// Where clients go that the kernel is to drop.
    pub handed_down: rtrb::Producer<HandDown>,
    /// What it is told of its clients.
    pub told: rtrb::Consumer<Told>,
    /// The key of its tables; the same for every worker is as good.
    pub seed: u64,
    /// Which of the workers it is, from 0.
    pub number: usize,
    /// How many workers there are.
    pub workers: usize,
}

/// Runs a worker until it is told to drain. Blocks the thread.
///
/// # Errors
/// When the runtime cannot be made: no file descriptor is left for it.
pub fn run(start: Start, mut orders: tokio::sync::mpsc::UnboundedReceiver<Order>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let worker = Worker::new(start);
        let housekeeping = tokio::task::spawn_local(housekeep(Rc::clone(&worker)));
        let streaming = tokio::task::spawn_local(super::streams::run(Rc::clone(&worker)));
        let mut accepting: Vec<(SocketAddr, oneshot::Sender<()>)> = Vec::new();
        let drain_time = loop {
            match orders.recv().await {
                Some(Order::Listen(address, socket)) => {
                    let (stop, stopped) = oneshot::channel();
                    tokio::task::spawn_local(accept(Rc::clone(&worker), socket, stopped));
                    accepting.push((address, stop));
                }
                // Dropping the sender is what stops the task.
                Some(Order::StopListening(address)) => accepting.retain(|(listening, _)| *listening != address),
                Some(Order::Drain(time)) => break time,
                Some(Order::Cut) | None => break Duration::ZERO,
            }
        };
        drop(accepting);
        let draining = async {
            worker.drain(drain_time).await;
            // It ends by itself once the worker drains, after a last word to each viewer.
            let _ = tokio::time::timeout(GOODBYE_TIME_MAX, streaming).await;
        };
        tokio::select! {
            () = draining => {}
            () = cut(&mut orders) => {}
        }
        housekeeping.abort();
    });
    Ok(())
}

impl Worker {
    fn new(start: Start) -> Rc<Self> {
        let settings = start.shared.settings.load_full();
        let date = http_date(crate::host::clock::wall_clock());
        Rc::new(Self {
            traffic: start.traffic,
            deadlines: Deadlines::default(),
            pools: Pools::default(),
            sampler: RefCell::new(start.sampler),
            under_way: AllUnderWay::default(),
            peers: RefCell::default(),
            streams: Streams::new(),
            draining: watch::Sender::new(false),
            gate: RefCell::new(
                Gate::new(start.workers, CLIENT_ENTRIES / start.workers.max(1), start.seed)
                    .numbered(start.number)
                    .sharing(Arc::clone(&start.shared.allowances)),
            ),
            needs_networks: Cell::new(false),
            settings: RefCell::new(settings),
            never_ban: RefCell::new(start.shared.never_ban.load_full()),
            bans: RefCell::default(),
            handed_down: RefCell::new(start.handed_down),
            told: RefCell::new(start.told),
            answers: RefCell::new(Answers::new(date)),
            // Never equal to a generation in use, so that the first look takes rules and settings in.
            generation: Cell::new(u64::MAX),
            buffers: Buffers::default(),
            failures: Cell::default(),
            workers: start.workers,
            shared: start.shared,
        })
    }

    /// The configuration in use; a new one from the moment that it was put in force.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.refresh();
        Arc::clone(&self.settings.borrow())
    }

    /// How many connections this worker may hold: its share, with some to spare for an uneven spread.
    fn connections_max(&self, settings: &Settings) -> u64 {
        let share = settings.connections_max / self.workers.max(1);
        (share + share / 8).min(settings.connections_max) as u64
    }

    /// Judges a request, with the rules as they are this moment.
    pub(super) fn judge(
        &self,
        request: &Request<'_>,
        client: Option<ClientAddress>,
        is_proxied: bool,
        now: Timestamp,
    ) -> Judged {
        self.refresh();
        let mut request = *request;
        if self.needs_networks.get() {
            self.settings.borrow().networks.locate(client, &mut request);
        }
        let judged = self.gate.borrow_mut().judge(&request, client, now);
        self.hand_over(judged.offence, is_proxied);
        judged
    }

    /// A request was answered: limits that ask for the answer count it now.
    pub(super) fn answered(&self, awaited: Awaited, client: Option<ClientAddress>, is_proxied: bool, status: u16) {
        if let Some(client) = client.filter(|_| !awaited.is_nothing()) {
            let offence = self.gate.borrow_mut().answered(awaited, client, status, self.shared.clock.now());
            self.hand_over(offence, is_proxied);
        }
    }

    /// Hands over a client that has gone beyond a limit.
    fn hand_over(&self, offence: Option<Offence>, is_proxied: bool) {
        if let Some(offence) = offence {
            // When the queue is full the client is refused what the limit is about, and no more.
            let _ = self.handed_down.borrow_mut().push(HandDown::beyond(&offence, is_proxied, offence.length));
        }
    }

    /// A client was told to come back later, by the site or by the guard.
    pub(super) fn told_to_wait(&self, client: Option<ClientAddress>) {
        if let Some(client) = client {
            self.gate.borrow_mut().told_to_wait(client, self.shared.clock.now());
        }
    }

    /// Uses the answer for `reply`.
    pub(super) fn answer<T>(&self, reply: Reply, with: impl FnOnce(&Answer) -> T) -> T {
        with(self.answers.borrow_mut().get(reply))
    }

    /// Takes new rules and settings into use when there are any.
    pub(super) fn refresh(&self) {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation == self.generation.get() {
            return;
        }
        self.generation.set(generation);
        *self.settings.borrow_mut() = self.shared.settings.load_full();
        *self.never_ban.borrow_mut() = self.shared.never_ban.load_full();
        let rules = self.shared.rules.load_full();
        let mut gate = self.gate.borrow_mut();
        let bans = self.shared.bans.load_full();
        gate.install_bans(Arc::clone(&bans));
        if !Arc::ptr_eq(gate.rules(), &rules) {
            self.answers.borrow_mut().set_rules(rules.refusals());
            let mut counts = self.shared.counts();
            self.needs_networks.set(rules.asks_for(Attribute::Country) || rules.asks_for(Attribute::Asn));
            gate.install(rules, |rule, count| counts.rules.push((rule, count)));
        }
        drop(gate);
        if !Arc::ptr_eq(&bans, &self.bans.replace(Arc::clone(&bans))) {
            self.cut_banned(&bans);
        }
    }

    /// Ends the connections of clients that are banned. Those of a trusted proxy are other clients' as well: there each request is
    /// refused.
    fn cut_banned(&self, bans: &BanSet) {
        if bans.is_empty() {
            return;
        }
        let (never_ban, now) = (self.never_ban.borrow(), self.shared.clock.now());
        let is_banned = |client| bans.contains(client, now) && !never_ban.contains(client);
        self.deadlines.cut(is_banned);
        self.streams.cut(is_banned);
    }

    /// Looks at the limits in use.
    pub(super) fn limits<T>(&self, with: impl FnOnce(&Limits) -> T) -> T {
        with(&self.settings.borrow().limits)
    }

    /// A buffer for one head.
    pub(super) fn take_buffer(&self) -> Vec<u8> {
        self.buffers.take_head(self.limits(|limits| limits.head_bytes_max))
    }

    /// The present date, as HTTP writes it.
    pub(super) fn date(&self) -> [u8; DATE_BYTES] {
        self.answers.borrow().date()
    }

    /// The client has a connection less.
    pub(super) fn release(&self, client: Option<ClientSlot>) {
        if let Some(client) = client {
            self.gate.borrow_mut().clients.disconnect(client);
        }
    }

    /// Whether the worker takes nothing new.
    pub(super) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// The share of its connections that the worker uses, 0 to 1.
    pub(super) fn connections_used(&self) -> f32 {
        let max = self.connections_max(&self.settings.borrow()).max(1);
        (self.traffic.connections.get() + self.traffic.streams.get()) as f32 / max as f32
    }

    /// A rule refused a request of this client. One that goes on is dropped by the kernel from now on, or refused at the edge if a
    /// proxy named it, where there is one that can.
    pub(super) fn hand_down_if_due(&self, client: ClientAddress, is_proxied: bool, now: Timestamp) {
        // Other workers are to drop it, too, whether there is a kernel that does or not.
        if self.takes(is_proxied) || (self.workers > 1 && !is_proxied) {
            let slot = self.gate.borrow().clients.slot(client);
            self.hand_down(client, is_proxied, slot, now);
        }
    }

    /// Whether anything further down takes clients: the kernel sees the peer, and a proxy's is not the client's.
    fn takes(&self, is_proxied: bool) -> bool {
        let taker = if is_proxied { &self.shared.takes_proxied } else { &self.shared.takes_clients };
        taker.load(Ordering::Relaxed)
    }

    fn hand_down(&self, client: ClientAddress, is_proxied: bool, slot: ClientSlot, now: Timestamp) {
        let Some(dropped) = self.gate.borrow_mut().drop_left(slot, now) else { return };
        let handed = HandDown::goes_on(client, is_proxied, dropped, now);
        // When the queue is full its next connection hands it down again.
        let _ = self.handed_down.borrow_mut().push(handed);
    }

    /// Drops whom other workers drop, and frees whom somebody has freed.
    fn take_told(&self, now: Timestamp) {
        let (mut told, mut gate) = (self.told.borrow_mut(), self.gate.borrow_mut());
        while let Ok(told) = told.pop() {
            told.apply(&mut gate, now);
        }
    }

    /// Decides on the address alone whether a new connection is taken. Returns the client to release at its end.
    fn admit(&self, peer: ClientAddress, is_peer: bool) -> Result<Option<ClientSlot>, Unread> {
        self.refresh();
        let settings = self.settings.borrow();
        let connections = self.traffic.connections.get() + self.traffic.streams.get();
        let max = self.connections_max(&settings);
        // A trusted proxy's address is many clients at once, and a protected one is never turned away for what it does.
        if self.never_ban.borrow().contains(peer) {
            return if connections < max { Ok(None) } else { Err(Unread) };
        }
        let now = self.shared.clock.now();
        let mut gate = self.gate.borrow_mut();
        let slot = gate.clients.slot(peer);
        // The last tenth is kept for clients of good standing.
        let is_tight = connections >= max - max / 10;
        if connections >= max || gate.is_banned(peer, now) {
            return Err(Unread);
        }
        if gate.turns_away(slot, now) {
            drop(gate);
            if self.takes(!is_peer) {
                self.hand_down(peer, !is_peer, slot, now);
            }
            return Err(Unread);
        }
        if is_tight && !gate.clients.is_known(slot, now) {
            return Err(Unread);
        }
        match gate.clients.connect(slot, settings.limits.connections_per_client_max, now) {
            Ok(true) => Ok(Some(slot)),
            Ok(false) => Err(Unread),
            Err(TableFull) => Ok(None),
        }
    }

    /// As [`Self::admit`] for a client that a trusted proxy has named in the PROXY protocol: its connection is one client's,
    /// unlike the proxy's others, whose requests may be anybody's.
    pub(super) fn admit_announced(&self, client: Option<ClientAddress>) -> Result<Option<ClientSlot>, Unread> {
        client.map_or(Ok(None), |client| self.admit(client, false))
    }

    /// Notes that an upstream failed, and tells the log, at most once a second: in a flood there may be thousands, and writing each
    /// down would cost more than refusing it.
    pub(super) fn note_failure(&self, upstream: &Upstream, error: &UpstreamError) {
        self.pools.note_failure(upstream, error);
        let second = self.shared.clock.now().as_seconds();
        let (noted_at, unnoted) = self.failures.get();
        if second == noted_at {
            self.failures.set((noted_at, unnoted + 1));
            return;
        }
        self.failures.set((second, 0));
        tracing::warn!(%upstream, %error, unnoted, "an upstream failed");
    }

    async fn drain(&self, time: Duration) {
        self.draining.send_replace(true);
        self.deadlines.wake_all();
        let emptied = async {
            while self.traffic.connections.get() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                self.deadlines.wake_all();
            }
        };
        // What is not done by then is cut off: that is what the bound means.
        let _ = tokio::time::timeout(time, emptied).await;
    }
}

/// Waits until nothing more is to be finished.
async fn cut(orders: &mut tokio::sync::mpsc::UnboundedReceiver<Order>) {
    while !matches!(orders.recv().await, Some(Order::Cut) | None) {}
}

/// The connection is closed without reading from it.
pub(super) struct Unread;

/// Accepts until told to stop, then whoever already waits: to the client those are connections made.
async fn accept(worker: Rc<Worker>, socket: OwnedFd, mut stopped: oneshot::Receiver<()>) {
    #[expect(deprecated, reason = "the replacement is unsafe; an OwnedFd that nobody else has keeps its promise")]
    let listener = match AsyncFd::new(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "failed to watch a listening socket"),
    };
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stopped => break,
            accepted = listener::accept(&listener) => accepted,
        };
        match accepted {
            Ok((connection, peer)) => take(&worker, connection, peer),
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while let Some((connection, peer)) = listener::accept_waiting(listener.get_ref()) {
        take(&worker, connection, peer);
    }
}

fn take(worker: &Rc<Worker>, connection: OwnedFd, peer: IpAddr) {
    worker.traffic.accepted.add(1);
    let peer = ClientAddress::new(peer);
    match worker.admit(peer, true) {
        Ok(slot) => {
            worker.traffic.connections.add(1);
            Connection::start(worker, connection, peer, slot);
        }
        Err(Unread) => {
            worker.traffic.closed_unread.add(1);
            listener::reset(connection);
        }
    }
}

/// What is due four times a second whatever the traffic: deadlines, rules, counts, the date.
async fn housekeep(worker: Rc<Worker>) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut date_second = 0;
    loop {
        interval.tick().await;
        worker.deadlines.sweep();
        if worker.pools.are_short() {
            // Who is waited for is looked at again, whether it keeps others waiting.
            worker.deadlines.wake_all();
        }
        worker.under_way.sweep(worker.shared.clock.now(), &mut worker.sampler.borrow_mut());
        worker.refresh();
        worker.streams.count(&worker);
        let now = worker.shared.clock.now();
        worker.take_told(now);
        worker.pools.tell(&worker.shared.health, now);
        worker.pools.close_idle(now);
        let now = crate::host::clock::wall_clock();
        if now.as_seconds() != date_second {
            date_second = now.as_seconds();
            worker.answers.borrow_mut().set_date(http_date(now));
        }
        worker.shared.take_counts(&mut worker.gate.borrow_mut());
        worker.shared.counts().peers.add(&worker.peers.take());
    }
}

/// The date as HTTP writes it (RFC 9110, section 5.6.7).
fn http_date(now: Timestamp) -> [u8; DATE_BYTES] {
    let seconds = i64::try_from(now.as_seconds()).unwrap_or_default();
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let text = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    text.as_bytes().try_into().unwrap_or(*b"Thu, 01 Jan 1970 00:00:00 GMT")
}
