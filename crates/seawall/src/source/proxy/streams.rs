//! Viewers of the clock: taken over from their connections with nothing but the socket.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use seawall_engine::gate::ClientSlot;
use seawall_engine::observation::Request;

use super::answers::Reply;
use super::worker::Worker;

/// What a request for the clock site gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClockRequest {
    /// An answer made beforehand.
    Reply(Reply),
    /// The stream.
    Stream,
    /// The head of the stream, for a HEAD request.
    StreamHead,
}

impl ClockRequest {
    /// The status of the answer.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Reply(Reply::NotFound) => 404,
            Self::Reply(Reply::MethodNotAllowed) => 405,
            _ => 200,
        }
    }
}

/// Says what a request for the clock site gets.
pub(super) fn clock_request(request: &Request<'_>) -> ClockRequest {
    match (request.path, request.method) {
        (b"/time.gif", b"GET") => ClockRequest::Stream,
        (b"/time.gif", b"HEAD") => ClockRequest::StreamHead,
        (b"/", b"GET" | b"HEAD") => ClockRequest::Reply(Reply::ClockPage),
        (b"/" | b"/time.gif", _) => ClockRequest::Reply(Reply::MethodNotAllowed),
        _ => ClockRequest::Reply(Reply::NotFound),
    }
}

#[derive(Default)]
pub(super) struct Streams;
impl Streams {
    pub(super) fn adopt(
        &self,
        _worker: &Rc<Worker>,
        _socket: OwnedFd,
        _request: ClockRequest,
        _slot: Option<ClientSlot>,
    ) {
    }
}
pub(super) async fn run(_worker: Rc<Worker>) {
    std::future::pending::<()>().await
}
