//! The clock site in line: what its requests get, and how a viewer's socket gets to the broadcaster, which keeps nothing
//! else of it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use seawall_engine::address::ClientAddress;
use seawall_engine::gate::ClientSlot;
use seawall_engine::observation::Request;

use super::answers::Reply;
use super::listener;
use super::worker::Worker;
use crate::host::clock::wall_clock;
use crate::origin::clock::{self, Broadcaster, Full, Limits};

/// What a request for the clock site gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClockRequest {
    /// An answer made beforehand.
    Reply(Reply),
    /// The image, which never ends.
    Stream,
}

impl ClockRequest {
    /// Says what a request gets.
    pub(super) fn new(request: &Request<'_>) -> Self {
        match (request.path, request.method) {
            (b"/time.gif", b"GET") => Self::Stream,
            (b"/time.gif", b"HEAD") => Self::Reply(Reply::ClockHead),
            (b"/", b"GET" | b"HEAD") => Self::Reply(Reply::ClockPage),
            (b"/" | b"/time.gif", _) => Self::Reply(Reply::MethodNotAllowed),
            _ => Self::Reply(Reply::NotFound),
        }
    }

    /// The status of the answer.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Reply(Reply::NotFound) => 404,
            Self::Reply(Reply::MethodNotAllowed) => 405,
            Self::Reply(_) | Self::Stream => 200,
        }
    }
}

/// The viewers of one worker.
pub(super) struct Streams {
    broadcaster: Rc<RefCell<Broadcaster>>,
    /// Bytes that the worker's traffic has counted already.
    counted: Cell<u64>,
}

impl Streams {
    /// No viewers yet.
    pub(super) fn new() -> Self {
        let broadcaster = Broadcaster::new(Limits::default(), wall_clock());
        Self { broadcaster: Rc::new(RefCell::new(broadcaster)), counted: Cell::new(0) }
    }

    /// Makes a client a viewer. `slot` is released when it is gone.
    pub(super) fn adopt(&self, worker: &Worker, socket: OwnedFd, slot: Option<ClientSlot>) {
        let token = slot.map_or(0, ClientSlot::into_bits);
        match self.broadcaster.borrow_mut().adopt(socket, token) {
            Ok(()) => worker.traffic.streams.add(1),
            Err(Full { socket, .. }) => {
                worker.traffic.overloaded.add(1);
                worker.release(slot);
                listener::reset(socket);
            }
        }
    }

    /// Ends the images of these clients.
    pub(super) fn cut(&self, is_banned: impl Fn(ClientAddress) -> bool) {
        let peer = |socket: &OwnedFd| SocketAddr::try_from(rustix::net::getpeername(socket).ok()??).ok();
        self.broadcaster
            .borrow_mut()
            .cut(|socket| peer(socket).is_some_and(|peer| is_banned(ClientAddress::new(peer.ip()))));
    }

    /// Counts the bytes sent since the last time.
    pub(super) fn count(&self, worker: &Worker) {
        let total = self.broadcaster.borrow().counters().bytes_total;
        worker.traffic.bytes_sent.add(total - self.counted.replace(total));
    }
}

/// Sends the time to all viewers until the worker drains, then ends their images.
pub(super) async fn run(worker: Rc<Worker>) {
    let mut draining = worker.draining.subscribe();
    // An error means that the worker is gone, which is a reason to stop as well.
    let stop = async move { drop(draining.wait_for(|is_draining| *is_draining).await) };
    clock::run(Rc::clone(&worker.streams.broadcaster), stop, |finished| {
        worker.traffic.streams.subtract(1);
        worker.release(ClientSlot::from_bits(finished.token));
    })
    .await;
}
