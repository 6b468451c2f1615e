//! One client's connection, from accepting it to closing it.
//!
//! The head of each request is read here and judged. What the guard can answer by itself is answered here too, so that a
//! refused request costs a read and a write. What goes on to a site is sent by [`super::relay`]; with the first request that
//! is not plain enough for that the connection goes to hyper for good ([`super::forward`]), where later requests are
//! judged as well.

use std::cell::{Cell, OnceCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use seawall_engine::address::ClientAddress;
use seawall_engine::gate::{Awaited, ClientSlot, DROPPED_STATUS, Judged, Judgement};
use seawall_engine::observation::{ClientHistory, Cost, Observation, Outcome, Refusal, Request, Version};
use seawall_engine::silence::Sent;
use seawall_engine::units::Timestamp;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::account::Account;
use super::answers::Reply;
use super::claims::{Belief, Claims};
use super::client::Client;
use super::client_address::{self, ProxyHeader};
use super::client_socket::ClientSocket;
use super::deadlines::Deadline;
use super::forward;
use super::head::{BodyLength, Head, HeadError, HeadScanner, header_room};
use super::relay::Outbound;
use super::settings::{Destination, Settings};
use super::stream::ClientStream;
use super::streams::ClockRequest;
use super::worker::{Unread, Worker};
use crate::config::ClientAddressSource;
use crate::source::record::Record;

/// Bytes and time for which a client that was answered in the middle of its body may go on sending before the connection
/// is cut: closing at once would reset it, and the answer with it.
const LINGER_BYTES_MAX: usize = 256 * 1024;
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);

/// Who takes or sends less than this many bytes a second, after this part of the time that silence is borne for (10 s unless
/// configured otherwise), is cut off when others wait for a connection to a site. Bad mobile networks are faster.
const SLOW_RATE: f64 = 8.0 * 1024.0;
const SLOW_TIME_SHARE: u32 = 3;

/// With this share of the connections in use, idle ones are kept only for [`IDLE_TIME_TIGHT`].
const CONNECTIONS_TIGHT: f32 = 0.75;
const IDLE_TIME_TIGHT: Duration = Duration::from_secs(5);

/// Requests of which it is noted who sent them, between two times that this is handed over, four a second: enough to tell a share, and
/// nothing in a flood.
const NOTED_MAX: u32 = 64;

/// What a connection is doing, which decides what its deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for the first byte of a request.
    Idle,
    /// Receiving a head.
    Head,
    /// A request is under way.
    Exchange,
    /// Bytes of another protocol go both ways.
    Tunnel,
}

/// Who sent a request, once that is settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) client: Option<ClientAddress>,
    pub(super) history: ClientHistory,
    /// What limits have still to see of the request.
    pub(super) awaited: Awaited,
}

impl Sender {
    /// Of a request that nobody has judged.
    fn unjudged(client: Option<ClientAddress>) -> Self {
        Self { client, history: ClientHistory::default(), awaited: Awaited::default() }
    }
}

/// What is kept of a connection while it is open.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    /// The TCP peer.
    pub(super) peer: ClientAddress,
    /// Whether the peer's word about the client is believed.
    pub(super) peer_is_trusted: bool,
    /// The client as the PROXY protocol named it.
    announced: Cell<Option<ClientAddress>>,
    /// To be released at the end; none for peers that are not counted.
    slot: Cell<Option<ClientSlot>>,
    phase: Cell<Phase>,
    deadline: Rc<Deadline>,
    /// For waiting on a site, where `deadline` is for waiting on the client; made when it is first needed.
    upstream_deadline: OnceCell<Rc<Deadline>>,
    is_write_blocked: Cell<bool>,
    /// When the exchange under way first had to wait for the client, and what has gone to it or come from it since.
    waited_since: Cell<Option<Timestamp>>,
    waited_bytes: Cell<u64>,
    /// The sender of the request that was judged here and that hyper will read again.
    pub(super) judged: Cell<Option<Sender>>,
    /// Who sent the request that is under way.
    pub(super) asking: Cell<Option<ClientAddress>>,
}

/// What to do with the connection after a request.
pub(super) enum Next {
    /// Read the next request; so many bytes of the buffer are done with.
    Again(usize),
    /// Give it to hyper, beginning with what is in the buffer.
    Forward,
    /// Let the client finish sending, then close.
    Linger,
    /// Close.
    Close,
    /// Close with a reset.
    Reset,
    /// Make it a viewer of the clock.
    Watch,
}

/// What comes of a request whose head has been read. No part of the head is in it, so that waiting for the client to take
/// an answer holds none.
enum Handled {
    /// It is answered here, and then goes on like this.
    Answer { reply: Reply, is_head_request: bool, next: Next },
    /// It goes on to its site; so many bytes of the buffer were its head.
    Relay(Box<Outbound>, usize),
    /// Neither.
    Otherwise(Next),
}

impl Connection {
    /// Serves a connection that was just accepted and counted; `slot` is released at its end.
    pub(super) fn start(worker: &Rc<Worker>, socket: OwnedFd, peer: ClientAddress, slot: Option<ClientSlot>) {
        let connection = Rc::new(Self {
            peer,
            peer_is_trusted: worker.settings().trusted.contains(peer),
            announced: Cell::new(None),
            slot: Cell::new(slot),
            phase: Cell::new(Phase::Idle),
            deadline: worker.deadlines.add(),
            upstream_deadline: OnceCell::new(),
            is_write_blocked: Cell::new(false),
            waited_since: Cell::new(None),
            waited_bytes: Cell::new(0),
            judged: Cell::new(None),
            asking: Cell::new(None),
            worker: Rc::clone(worker),
        });
        match TcpStream::from_std(socket.into()) {
            Ok(socket) => {
                let deadline = Rc::clone(&connection.deadline);
                if !connection.peer_is_trusted {
                    deadline.belongs_to(peer);
                }
                let socket = ClientSocket::new(socket, Rc::clone(&deadline));
                deadline.ends(tokio::task::spawn_local(connection.serve(socket)).abort_handle());
            }
            Err(error) => tracing::warn!(%error, "failed to watch a new connection"),
        }
    }

    async fn serve(self: Rc<Self>, socket: ClientSocket) {
        let mut client = Client::new(socket);
        let mut expects_proxy_header =
            self.peer_is_trusted && self.worker.settings().client_address == ClientAddressSource::ProxyProtocol;
        let next = loop {
            let read = if expects_proxy_header {
                self.read_proxy_header(&mut client).await
            } else {
                self.read_head(&mut client).await
            };
            let next = match read {
                Ok(()) if std::mem::take(&mut expects_proxy_header) => {
                    match self.worker.admit_announced(self.announced.get()) {
                        Ok(slot) => {
                            self.slot.set(slot);
                            continue;
                        }
                        Err(Unread) => {
                            self.worker.traffic.closed_unread.add(1);
                            break Next::Reset;
                        }
                    }
                }
                Ok(()) => match self.handle(client.received()) {
                    Handled::Otherwise(next) => next,
                    Handled::Relay(outbound, length) => {
                        client.consume(length, &self.worker);
                        self.relay(&mut client, *outbound).await
                    }
                    Handled::Answer { reply, is_head_request, next } => {
                        let is_sent = self.send_before(&next, &client.socket, reply, is_head_request).await;
                        if is_sent { next } else { Next::Close }
                    }
                },
                Err(Ended::Closed) => break Next::Close,
                Err(Ended::Refused(reply)) => {
                    self.worker.traffic.malformed.add(1);
                    self.report_unread(reply);
                    let is_sent = self.send(&client.socket, reply, false).await;
                    break if is_sent { Next::Linger } else { Next::Close };
                }
            };
            match next {
                Next::Again(done) => client.consume(done, &self.worker),
                other => break other,
            }
        };
        let Client { socket, buffer, filled } = client;
        match next {
            Next::Forward => {
                let stream = ClientStream::new(socket, buffer, filled, Rc::clone(&self));
                if let Some(stream) = forward::serve(&self, stream).await {
                    self.linger(stream.into_socket()).await;
                }
                return;
            }
            Next::Watch => self.watch(socket),
            Next::Linger => self.linger(socket).await,
            Next::Reset => socket.reset(),
            Next::Close | Next::Again(_) => {}
        }
        self.worker.buffers.return_head(buffer);
    }

    /// Reads until the buffer holds a whole head.
    async fn read_head(&self, client: &mut Client) -> Result<(), Ended> {
        let mut scanner = HeadScanner::default();
        self.enter(if client.filled == 0 { Phase::Idle } else { Phase::Head });
        loop {
            let received = client.received();
            if !received.is_empty() && scanner.is_complete(received).map_err(Ended::from)? {
                return Ok(());
            }
            self.read_more(client).await?;
        }
    }

    /// Reads the PROXY protocol header that a trusted proxy must begin with.
    async fn read_proxy_header(&self, client: &mut Client) -> Result<(), Ended> {
        self.enter(Phase::Idle);
        loop {
            self.read_more(client).await?;
            match client_address::proxy_header(client.received()) {
                ProxyHeader::Partial => {}
                ProxyHeader::Invalid => return Err(Ended::Refused(Reply::Malformed)),
                ProxyHeader::Complete(length, announced) => {
                    self.announced.set(announced);
                    if let Some(client) = announced {
                        self.deadline.belongs_to(client);
                    }
                    client.consume(length, &self.worker);
                    return Ok(());
                }
            }
        }
    }

    async fn read_more(&self, client: &mut Client) -> Result<(), Ended> {
        let length = poll_fn(|context| {
            ready!(self.poll_readable(&client.socket, context))?;
            if !client.has_room() {
                return Poll::Ready(Err(Ended::Refused(Reply::TooLarge)));
            }
            client.poll_read(&self.worker, context).map_err(|_reset| Ended::Closed)
        });
        match length.await? {
            0 => Err(Ended::Closed),
            _ => {
                self.has_read();
                Ok(())
            }
        }
    }

    fn poll_readable(&self, socket: &TcpStream, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        if self.is_expired(context) {
            let is_head = self.phase.get() == Phase::Head;
            return Poll::Ready(Err(if is_head { Ended::Refused(Reply::TooSlow) } else { Ended::Closed }));
        }
        if self.phase.get() == Phase::Idle && self.worker.is_draining() {
            return Poll::Ready(Err(Ended::Closed));
        }
        socket.poll_read_ready(context).map_err(|_| Ended::Closed)
    }

    /// Judges and routes one request, and says what comes of it.
    fn handle(self: &Rc<Self>, received: &[u8]) -> Handled {
        let mut room = header_room();
        let head = match Head::parse(received, &mut room) {
            Ok(head) => head,
            Err(error) => {
                self.worker.traffic.malformed.add(1);
                self.report_unread(error.into());
                return Handled::Answer { reply: error.into(), is_head_request: false, next: Next::Linger };
            }
        };
        self.phase.set(Phase::Exchange);
        self.deadline.clear();
        let settings = self.worker.settings();
        let request = head.request();
        let client = self.client(&settings, |name| head.values(name));
        self.note_sender(&request, client, |name| head.values(name));
        let now = self.worker.shared.clock.now();
        let reply = match self.admit(&settings, &request, client, now) {
            Ok((Destination::Upstream(upstream), sender)) if head.is_plain() => {
                let claims = self.claims(&settings, sender.client);
                let account = Account::open(self, &request, sender, now);
                let outbound = Outbound::new(&head, upstream, &claims, account);
                return Handled::Relay(Box::new(outbound), head.length);
            }
            Ok((Destination::Upstream(_) | Destination::Files(_), sender)) => {
                self.judged.set(Some(sender));
                return Handled::Otherwise(Next::Forward);
            }
            Ok((Destination::Clock, sender)) => {
                let clock = ClockRequest::new(&request);
                self.report(&request, sender, Outcome::Served { status: clock.status() }, now);
                self.worker.answered(sender.awaited, sender.client, self.peer_is_trusted, clock.status());
                self.worker.traffic.served.add(1);
                match clock {
                    ClockRequest::Reply(reply) => reply,
                    ClockRequest::Stream => return Handled::Otherwise(Next::Watch),
                }
            }
            Err(Refused::Silently) => return Handled::Otherwise(Next::Reset),
            Err(Refused::With(reply)) => reply,
        };
        let next = after_answer(&head, received.len(), self.worker.answer(reply, |answer| answer.close));
        Handled::Answer { reply, is_head_request: request.method == b"HEAD", next }
    }

    /// Routes and judges a request, and counts what comes of it. Used for the first request on a connection and, by
    /// [`super::forward`], for all later ones.
    pub(super) fn admit(
        &self,
        settings: &Settings,
        request: &Request<'_>,
        client: Option<ClientAddress>,
        now: Timestamp,
    ) -> Result<(Destination, Sender), Refused> {
        let traffic = &self.worker.traffic;
        traffic.requests.add(1);
        let Some(destination) = settings.destination(request.host) else {
            traffic.misdirected.add(1);
            self.report(request, Sender::unjudged(client), Outcome::Refused(Refusal::Misdirected), now);
            return Err(Refused::With(Reply::Misdirected));
        };
        let Judged { judgement, history, awaited, .. } = self.worker.judge(request, client, self.peer_is_trusted, now);
        let sender = Sender { client, history, awaited };
        self.asking.set(client);
        let (refusal, refused) = match judgement {
            Judgement::Pass => return Ok((destination.clone(), sender)),
            Judgement::Refuse { rule, status } => {
                traffic.refused_rule.add(1);
                (Refusal::Rule(rule), Refused::With(Reply::Rule(rule, status)))
            }
            // Closing the connection of a proxy would take the requests of its other clients with it.
            Judgement::Drop { rule } if self.is_shared(settings) => {
                traffic.refused_rule.add(1);
                (Refusal::Rule(rule), Refused::With(Reply::Rule(rule, DROPPED_STATUS)))
            }
            Judgement::Drop { rule } => {
                traffic.dropped_rule.add(1);
                (Refusal::Rule(rule), Refused::Silently)
            }
            Judgement::ClientLimit => {
                traffic.client_limited.add(1);
                (Refusal::ClientLimit, Refused::With(Reply::ClientLimit))
            }
        };
        if matches!(refusal, Refusal::Rule(_)) {
            match client {
                _ if !self.peer_is_trusted => self.worker.hand_down_if_due(self.peer, false, now),
                Some(client) => self.worker.hand_down_if_due(client, true, now),
                None => {}
            }
        }
        self.report(request, sender, Outcome::Refused(refusal), now);
        Err(refused)
    }

    /// Whether requests of several clients come over this connection.
    fn is_shared(&self, settings: &Settings) -> bool {
        self.peer_is_trusted && settings.client_address != ClientAddressSource::ProxyProtocol
    }

    /// Who sent a request: the peer, or whom a trusted peer names.
    pub(super) fn client<'a, I>(
        &self,
        settings: &Settings,
        values: impl FnOnce(&'static str) -> I,
    ) -> Option<ClientAddress>
    where
        I: DoubleEndedIterator<Item = &'a [u8]>,
    {
        if !self.peer_is_trusted {
            return Some(self.peer);
        }
        match settings.client_address {
            ClientAddressSource::ProxyProtocol => self.announced.get(),
            source => client_address::from_headers(source, &settings.trusted, values),
        }
    }

    /// Notes who sent a request, as far as it tells whether clients can be told apart.
    pub(super) fn note_sender<'a, I>(
        &self,
        request: &Request<'_>,
        client: Option<ClientAddress>,
        values: impl Fn(&'static str) -> I,
    ) where
        I: Iterator<Item = &'a [u8]>,
    {
        let mut peers = self.worker.peers.borrow_mut();
        if peers.requests() >= NOTED_MAX {
            return;
        }
        // A trusted proxy that names nobody leaves its clients as one.
        let is_known = self.peer_is_trusted && client.is_some();
        let named = if self.peer_is_trusted { None } else { client_address::claimed(self.peer, values) };
        peers.count((!is_known).then_some(Sent { peer: self.peer, named, agent: request.user_agent }));
    }

    /// What a site is told of who asks.
    pub(super) fn claims(&self, settings: &Settings, client: Option<ClientAddress>) -> Claims {
        let belief = match settings.client_address {
            _ if !self.peer_is_trusted => Belief::Nothing,
            // Who speaks the PROXY protocol does not look at headers: they are the client's own.
            ClientAddressSource::ProxyProtocol => Belief::Nothing,
            ClientAddressSource::XForwardedFor | ClientAddressSource::Forwarded => Belief::Forwarded,
            ClientAddressSource::CfConnectingIp => Belief::ForwardedAnd("cf-connecting-ip"),
            ClientAddressSource::FastlyClientIp => Belief::ForwardedAnd("fastly-client-ip"),
        };
        Claims { belief, client, peer: self.peer }
    }

    /// Hands an observation of a request that is over at once to detection.
    fn report(&self, request: &Request<'_>, sender: Sender, outcome: Outcome, now: Timestamp) {
        self.observe(request, sender, outcome, Duration::ZERO, now);
    }

    /// The same of a head that never became a request; this is its answer.
    fn report_unread(&self, reply: Reply) {
        let (refusal, held) = match reply {
            Reply::TooSlow => (Refusal::Unfinished, self.worker.limits(|limits| limits.head_time_max)),
            _ => (Refusal::Malformed, Duration::ZERO),
        };
        let client = if self.peer_is_trusted { self.announced.get() } else { Some(self.peer) };
        let sender = Sender::unjudged(client);
        let now = self.worker.shared.clock.now();
        self.observe(&Request::default(), sender, Outcome::Refused(refusal), held, now);
    }

    fn observe(&self, request: &Request<'_>, sender: Sender, outcome: Outcome, held: Duration, now: Timestamp) {
        let mut sampler = self.worker.sampler.borrow_mut();
        if let Some(weight) = sampler.select(now) {
            sampler.push(Record::new(&Observation {
                at: now,
                client: sender.client,
                request: *request,
                outcome,
                cost: Cost { requests: 1, connection_time: held, ..Cost::default() },
                weight,
                history: sender.history,
            }));
        }
    }

    /// Sends an answer made beforehand, after which the connection goes on as `next` says: the last one says that it is. False
    /// when the client does not take it.
    pub(super) async fn send_before(
        &self,
        next: &Next,
        socket: &TcpStream,
        reply: Reply,
        is_head_request: bool,
    ) -> bool {
        if matches!(next, Next::Again(_)) || self.worker.answer(reply, |answer| answer.close) {
            return self.send(socket, reply, is_head_request).await;
        }
        let bytes = self.worker.answer(reply, |answer| answer.closing_bytes(is_head_request));
        self.write(socket, &bytes).await
    }

    /// Sends an answer made beforehand as it is.
    async fn send(&self, socket: &TcpStream, reply: Reply, is_head_request: bool) -> bool {
        let mut rest = Vec::new();
        let sent = self.worker.answer(reply, |answer| {
            let bytes = answer.bytes(is_head_request);
            let sent = self.try_write(socket, bytes)?;
            rest.extend_from_slice(bytes.get(sent..).unwrap_or_default());
            Ok::<(), io::Error>(())
        });
        sent.is_ok() && (rest.is_empty() || self.write(socket, &rest).await)
    }

    /// Sends all of `bytes`; false when the client does not take them.
    pub(super) async fn write(&self, socket: &TcpStream, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.try_write(socket, rest) {
                Ok(0) => {
                    let writable = poll_fn(|context| match self.is_expired(context) || self.keeps_others_waiting() {
                        true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                        false => socket.poll_write_ready(context),
                    });
                    if writable.await.is_err() {
                        return false;
                    }
                }
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(_) => return false,
            }
        }
        true
    }

    /// Sends what the client takes at once; 0 when it takes nothing for now.
    fn try_write(&self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        match socket.try_write(bytes) {
            Ok(sent) => {
                self.has_written(sent);
                Ok(sent)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_blocked();
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// Closes after an answer without cutting it off: says that nothing more comes, then reads on for a bounded while.
    async fn linger(&self, mut socket: ClientSocket) {
        if socket.shutdown().await.is_err() {
            return;
        }
        // Nothing is under way any more, so a drain need not wait for it.
        self.phase.set(Phase::Idle);
        self.set_deadline(LINGER_TIME_MAX);
        let mut buffer = self.worker.take_buffer();
        let mut read = 0;
        while read < LINGER_BYTES_MAX {
            match poll_fn(|context| self.poll_readable(&socket, context)).await {
                Ok(()) => match socket.try_read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => read += length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                },
                Err(_) => break,
            }
        }
        self.worker.buffers.return_head(buffer);
    }

    /// Gives the socket to the clock's broadcaster, which counts it from now on.
    fn watch(&self, socket: ClientSocket) {
        if let Ok(socket) = socket.into_viewer() {
            self.worker.streams.adopt(&self.worker, socket, self.slot.take());
        }
    }

    // ----- phases and deadlines -----

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Enters a phase and sets the deadline that belongs to it.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        match phase {
            Phase::Idle => {
                let is_tight = self.worker.connections_used() > CONNECTIONS_TIGHT;
                let time = self.worker.limits(|limits| limits.idle_time_max);
                self.set_deadline(if is_tight { time.min(IDLE_TIME_TIGHT) } else { time });
            }
            Phase::Head => self.set_deadline(self.worker.limits(|limits| limits.head_time_max)),
            Phase::Tunnel => self.set_deadline(self.worker.limits(|limits| limits.upstream_idle_time_max)),
            Phase::Exchange => self.deadline.clear(),
        }
    }

    /// Bytes have come from the client.
    pub(super) fn has_read(&self) {
        match self.phase.get() {
            Phase::Idle => self.enter(Phase::Head),
            Phase::Tunnel => self.enter(Phase::Tunnel),
            Phase::Head | Phase::Exchange => {}
        }
    }

    /// A request goes on to a site.
    pub(super) fn begin_exchange(&self) {
        self.waited_since.set(None);
    }

    /// The client is waited for. What it was sent before lies in the kernel, and tells nothing of how fast it takes it.
    fn begin_waiting(&self) {
        if self.waited_since.get().is_none() {
            self.waited_since.set(Some(self.worker.shared.clock.now()));
            self.waited_bytes.set(0);
        }
    }

    /// Bytes of the exchange's bodies have gone to the client or come from it.
    pub(super) fn count_exchanged(&self, bytes: usize) {
        self.waited_bytes.set(self.waited_bytes.get() + bytes as u64);
    }

    /// Whether a client that is waited for takes or sends so little that those go first who wait for the connection to a site
    /// that it holds. A few of its kind could otherwise hold them all.
    pub(super) fn keeps_others_waiting(&self) -> bool {
        let Some(since) = self.waited_since.get().filter(|_| self.phase.get() == Phase::Exchange) else { return false };
        if !self.worker.pools.are_short() {
            return false;
        }
        let time = self.worker.limits(|limits| limits.body_idle_time_max) / SLOW_TIME_SHARE;
        let elapsed = self.worker.shared.clock.now().since(since);
        elapsed > time && (self.waited_bytes.get() as f64) < SLOW_RATE * elapsed.as_secs_f64()
    }

    /// The client has taken bytes.
    pub(super) fn has_written(&self, bytes: usize) {
        self.worker.traffic.bytes_sent.add(bytes as u64);
        self.count_exchanged(bytes);
        if self.is_write_blocked.replace(false) {
            self.deadline.clear();
        }
        if self.phase.get() == Phase::Tunnel {
            self.enter(Phase::Tunnel);
        }
    }

    /// The client takes no more for now.
    pub(super) fn is_blocked(&self) {
        if !self.is_write_blocked.replace(true) {
            self.begin_waiting();
            self.set_deadline(self.worker.limits(|limits| limits.body_idle_time_max));
        }
    }

    /// Something is waited for from the client, or no longer.
    pub(super) fn set_body_deadline(&self, is_waiting: bool) {
        match is_waiting {
            true => {
                self.begin_waiting();
                self.set_deadline(self.worker.limits(|limits| limits.body_idle_time_max));
            }
            false => self.deadline.clear(),
        }
    }

    /// Whether the connection's deadline has passed; its task is woken when it does.
    pub(super) fn is_expired(&self, context: &Context<'_>) -> bool {
        self.deadline.is_expired(context)
    }

    /// The deadline for waiting on a site.
    pub(super) fn upstream_deadline(&self) -> Rc<Deadline> {
        Rc::clone(self.upstream_deadline.get_or_init(|| self.worker.deadlines.add()))
    }

    fn set_deadline(&self, time: Duration) {
        self.worker.deadlines.set(&self.deadline, time);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.traffic.connections.subtract(1);
        self.worker.release(self.slot.get());
    }
}

/// How a connection goes on after an answer, when `received` bytes beginning with the head are in the buffer.
fn after_answer(head: &Head<'_>, received: usize, closes: bool) -> Next {
    let done = match head.body {
        BodyLength::None => Some(head.length),
        BodyLength::Known(length) => usize::try_from(length).ok().and_then(|length| head.length.checked_add(length)),
        BodyLength::Chunked => None,
    };
    match done.filter(|done| *done <= received) {
        None => Next::Linger,
        Some(_) if closes => Next::Close,
        // A client of HTTP/1.0 expects a word about it when the connection stays, and these answers have none.
        Some(_) if !head.keep_alive || head.request().version != Version::Http11 => Next::Close,
        Some(done) => Next::Again(done),
    }
}

/// How reading ended, other than with something to read.
enum Ended {
    /// The client closed or fell silent, or the worker drains.
    Closed,
    /// What came is not acceptable: this is the answer.
    Refused(Reply),
}

impl From<HeadError> for Ended {
    fn from(error: HeadError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<HeadError> for Reply {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed => Self::Malformed,
            HeadError::TooLarge => Self::TooLarge,
        }
    }
}

/// How a request is turned away.
pub(super) enum Refused {
    /// With an answer.
    With(Reply),
    /// With a reset.
    Silently,
}
