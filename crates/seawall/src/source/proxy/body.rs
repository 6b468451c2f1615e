//! Bodies on their way through: none is held back or collected. The answer's body also keeps the account of its request
//! and settles it at the end, whether that is the last byte, an error, or a client that went away.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use super::account::Account;
use super::connection::Connection;
use super::deadlines::Deadline;
use super::upstream::UpstreamBody;
use crate::origin::files;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The client fell silent in the middle of it.
    #[error("the client fell silent in the middle of its body")]
    ClientSilent,
    /// The client's part of the connection failed.
    #[error("failed to receive the client's body: {0}")]
    Client(hyper::Error),
    /// The upstream fell silent in the middle of it.
    #[error("the upstream fell silent in the middle of its answer")]
    Silent,
    /// The upstream's part failed.
    #[error("failed to receive the upstream's answer: {0}")]
    Upstream(hyper::Error),
    /// A file could not be read on.
    #[error("failed to read a file: {0}")]
    File(std::io::Error),
}

/// The body of a request on its way to an upstream.
pub(super) struct RequestBody {
    /// None for a request without a body.
    incoming: Option<Incoming>,
    connection: Rc<Connection>,
    is_waiting: bool,
    /// The deadline of the answer, which begins anew with each piece: a site need not answer before it has the whole body.
    answer: Rc<Deadline>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, connection: Rc<Connection>, answer: Rc<Deadline>) -> Self {
        let incoming = (!incoming.is_end_stream()).then_some(incoming);
        Self { incoming, connection, is_waiting: false, answer }
    }

    /// The same once more, when there is nothing in it.
    pub(super) fn again(&self) -> Option<Self> {
        let (connection, answer) = (Rc::clone(&self.connection), Rc::clone(&self.answer));
        self.incoming.is_none().then_some(Self { incoming: None, connection, is_waiting: false, answer })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(context);
        if polled.is_pending() != this.is_waiting {
            this.is_waiting = polled.is_pending();
            this.connection.set_body_deadline(this.is_waiting);
        }
        let is_slow = || this.connection.is_expired(context) || this.connection.keeps_others_waiting();
        if this.is_waiting && is_slow() {
            return Poll::Ready(Some(Err(BodyError::ClientSilent)));
        }
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            this.connection.count_exchanged(frame.data_ref().map_or(0, Bytes::len));
            let worker = &this.connection.worker;
            worker.deadlines.set(&this.answer, worker.limits(|limits| limits.upstream_answer_time_max));
        }
        polled.map_err(BodyError::Client)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Where the bytes of an answer come from.
pub(super) enum AnswerSource {
    /// They are there.
    Full(Full<Bytes>),
    /// An upstream.
    Upstream(UpstreamBody),
    /// A file.
    Files(files::Body),
}

/// The body of an answer on its way to the client, with the account of its request.
pub(super) struct AnswerBody {
    source: AnswerSource,
    account: Account,
}

impl AnswerBody {
    pub(super) fn new(source: AnswerSource, account: Account) -> Self {
        Self { source, account }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let polled = match &mut this.source {
            AnswerSource::Full(body) => {
                Pin::new(body).poll_frame(context).map_err(|never: std::convert::Infallible| match never {})
            }
            AnswerSource::Upstream(body) => body.poll_frame(context),
            AnswerSource::Files(body) => Pin::new(body).poll_frame(context).map_err(BodyError::File),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.account.count(frame.data_ref().map_or(0, |data| data.len()));
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "an answer broke off");
                this.account.fail();
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            AnswerSource::Full(body) => body.is_end_stream(),
            AnswerSource::Upstream(body) => body.is_end_stream(),
            AnswerSource::Files(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            AnswerSource::Full(body) => body.size_hint(),
            AnswerSource::Upstream(body) => body.size_hint(),
            AnswerSource::Files(body) => body.size_hint(),
        }
    }
}
