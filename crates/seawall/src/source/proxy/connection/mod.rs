//! One client's connection, from accepting it to closing it.
//!
//! The head of each request is read here and judged. What the guard can answer by itself is answered here too, so that a
//! refused request costs a read and a write. What goes on to a site is sent by [`super::relay`]; with the first request that
//! is not plain enough for that the connection goes to hyper for good ([`super::forward`]), where later requests are
//! judged as well.
//!
//! Whether a request is let in is in `admission`, how answers are sent in `sending`, and how long all that may take in `phase`.

mod admission;
mod phase;
mod sending;

use std::cell::{Cell, OnceCell};
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use seawall_engine::address::ClientAddress;
use seawall_engine::gate::{Awaited, ClientSlot};
use seawall_engine::observation::{ClientHistory, Outcome, Version};
use seawall_engine::units::Timestamp;
use tokio::net::TcpStream;

use super::account::Account;
use super::answers::Reply;
use super::client::Client;
use super::client_address::{self, ProxyHeader};
use super::client_socket::ClientSocket;
use super::deadlines::Deadline;
use super::forward;
use super::head::{BodyLength, Head, HeadError, HeadScanner, header_room};
use super::relay::Outbound;
use super::settings::Destination;
use super::stream::ClientStream;
use super::streams::ClockRequest;
use super::worker::{Unread, Worker};
use crate::config::ClientAddressSource;

pub(super) use admission::Refused;
pub(super) use phase::Phase;

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

    /// Gives the socket to the clock's broadcaster, which counts it from now on.
    fn watch(&self, socket: ClientSocket) {
        if let Ok(socket) = socket.into_viewer() {
            self.worker.streams.adopt(&self.worker, socket, self.slot.take());
        }
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
