//! Requests without a body that ask for no other protocol, nearly all there are: sent on and answered without hyper, at
//! less cost (`cargo xtask bench proxied`). What goes out on either side is written anew from what was read ([`request`],
//! [`answer`], [`body`]), never passed on as it came; whatever is unusual in a request goes to hyper ([`super::forward`]).
//!
//! An exchange holds one buffer for each side and no more: it reads from the site only when the client has taken what
//! came before. The site's connection is free again as soon as the last of the answer is read, before the client has it.

mod answer;
mod body;
mod chunks;
#[cfg(test)]
mod mutations;
mod request;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use seawall_engine::observation::Outcome;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::account::Account;
use super::claims::Claims;
use super::client::Client;
use super::connection::{Connection, Next};
use super::deadlines::Deadline;
use super::head::Head;
use super::upstream::{Pool, UpstreamError, UpstreamStream};
use crate::config::Upstream;
use answer::{Answer, Asked};
use body::Taken;

/// A request ready to be sent to a site.
pub(super) struct Outbound {
    upstream: Arc<Upstream>,
    /// Its head, as the site gets it.
    text: Vec<u8>,
    is_head_request: bool,
    /// Whether it may be sent twice (RFC 9110, section 9.2.1).
    is_safe: bool,
    keep_alive: bool,
    account: Account,
}

/// Why there is no answer, or none any more.
enum Failure {
    /// The client is gone, or has begun to get an answer that broke off: its connection can only be closed.
    Cut,
    /// The site failed, and the client can be told.
    Upstream(UpstreamError),
}

/// Why a connection to a site brought no answer.
enum Unanswered {
    ClientGone,
    /// It broke before any byte of an answer.
    Broken {
        error: io::Error,
        is_sent: bool,
    },
    TooLate,
}

/// The site's side of an exchange.
struct Source {
    stream: UpstreamStream,
    pool: Rc<Pool>,
    permit: OwnedSemaphorePermit,
    /// What was received: this many bytes of it.
    received: Vec<u8>,
    filled: usize,
}

impl Outbound {
    /// The request of `head`, which must be plain ([`Head::is_plain`]), for `upstream`.
    pub(super) fn new(head: &Head<'_>, upstream: Arc<Upstream>, claims: &Claims, account: Account) -> Self {
        let mut text = account.connection.worker.buffers.take_text();
        request::write(head, claims, &mut text);
        Self {
            upstream,
            text,
            is_head_request: head.method() == b"HEAD",
            is_safe: matches!(head.method(), b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE"),
            keep_alive: head.keep_alive,
            account,
        }
    }
}

impl Connection {
    /// Sends a request to its site and the answer to the client, and says how the connection goes on.
    pub(super) async fn relay(self: &Rc<Self>, client: &mut Client, mut outbound: Outbound) -> Next {
        let deadline = self.upstream_deadline();
        let result = self.exchange(client, &mut outbound, &deadline).await;
        deadline.clear();
        self.worker.buffers.return_text(std::mem::take(&mut outbound.text));
        let after = if outbound.keep_alive { Next::Again(0) } else { Next::Close };
        match result {
            Ok(()) => after,
            Err(Failure::Cut) => Next::Close,
            Err(Failure::Upstream(error)) => {
                let reply = error.reply();
                self.worker.note_failure(&outbound.upstream, &error);
                outbound.account.fail_with(&error, self.worker.answer(reply, |answer| answer.status));
                let is_sent = self.send_before(&after, &client.socket, reply, outbound.is_head_request).await;
                if is_sent { after } else { Next::Close }
            }
        }
    }

    async fn exchange(&self, client: &mut Client, outbound: &mut Outbound, deadline: &Deadline) -> Result<(), Failure> {
        let worker = &self.worker;
        let mut source = self.ask(client, outbound, deadline).await?;
        // The request has been sent, and its room serves for the answer.
        let text = &mut outbound.text;
        text.clear();
        let asked = Asked {
            is_head_request: outbound.is_head_request,
            closes: !outbound.keep_alive || worker.is_draining(),
            date: worker.date(),
        };
        outbound.keep_alive = !asked.closes;
        let mut answer = source.head(self, client, deadline, &asked, text).await?;
        // What came with the head is looked at before that is sent, while the client can still be told.
        let first = answer.body.take(source.received.get_mut(answer.length..source.filled).unwrap_or_default());
        let first = first.ok_or(Failure::Upstream(UpstreamError::Malformed(BROKEN_BODY)))?;
        source.pool.note_answer();
        outbound.account.answer();
        outbound.account.outcome = Outcome::Served { status: answer.status };
        let result = source.pass_on(self, client, deadline, (answer, first), text, &outbound.account).await;
        result.map_err(|broken| {
            if let Broken::BySite(error) = broken {
                worker.note_failure(&outbound.upstream, &error);
                outbound.account.fail();
            }
            Failure::Cut
        })
    }

    /// Sends the request and waits for the first bytes of the answer.
    async fn ask(&self, client: &mut Client, outbound: &Outbound, deadline: &Deadline) -> Result<Source, Failure> {
        let worker = &self.worker;
        let (connect_time, answer_time, connections_max) = worker.limits(|limits| {
            (limits.upstream_connect_time_max, limits.upstream_answer_time_max, limits.upstream_connections_max)
        });
        let pool = worker.pools.get(&outbound.upstream, connections_max.div_ceil(worker.workers).max(1));
        let permit = self.while_there(client, pool.permit(worker, connect_time)).await?;
        // Sent once more, it goes out on a connection that nobody has had: a request that makes the site close must not do so
        // to each kept connection in turn.
        let mut is_repeated = false;
        loop {
            let kept = if is_repeated { None } else { pool.take_idle() };
            let is_fresh = kept.is_none();
            let mut stream = match kept {
                Some(stream) => stream,
                None => self.while_there(client, pool.connect(connect_time)).await?,
            };
            worker.deadlines.set(deadline, answer_time);
            match self.ask_over(&mut stream, client, &outbound.text, deadline).await {
                Ok((received, filled)) => return Ok(Source { stream, pool, permit, received, filled }),
                Err(Unanswered::ClientGone) => return Err(Failure::Cut),
                Err(Unanswered::TooLate) => return Err(Failure::Upstream(UpstreamError::AnswerTime)),
                // The site closed a connection that it had kept, before it saw the request: nothing has happened yet, so
                // another connection is tried.
                Err(Unanswered::Broken { is_sent: false, .. }) if !is_fresh => {}
                Err(Unanswered::Broken { .. }) if !is_fresh && outbound.is_safe => is_repeated = true,
                Err(Unanswered::Broken { error, .. }) => return Err(Failure::Upstream(UpstreamError::Closed(error))),
            }
        }
    }

    /// Waits for something that the site's side brings, for as long as the client is there: nobody works for who has left.
    async fn while_there<T>(
        &self,
        client: &mut Client,
        wanted: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, Failure> {
        let mut wanted = pin!(wanted);
        poll_fn(|context| {
            if client.poll_gone(&self.worker, context) {
                return Poll::Ready(Err(Failure::Cut));
            }
            wanted.as_mut().poll(context).map_err(Failure::Upstream)
        })
        .await
    }

    async fn ask_over(
        &self,
        stream: &mut UpstreamStream,
        client: &mut Client,
        text: &[u8],
        deadline: &Deadline,
    ) -> Result<(Vec<u8>, usize), Unanswered> {
        let mut sent = 0;
        while let Some(rest) = text.get(sent..).filter(|rest| !rest.is_empty()) {
            let written = poll_fn(|context| match Pin::new(&mut *stream).poll_write(context, rest) {
                Poll::Pending if deadline.is_expired(context) => Poll::Ready(Err(Unanswered::TooLate)),
                polled => polled.map_err(|error| Unanswered::Broken { error, is_sent: sent > 0 }),
            });
            sent += written.await?;
        }
        let mut received = Vec::new();
        let filled = poll_fn(|context| {
            ready!(self.poll_source(stream, client, deadline, context))?;
            if received.is_empty() {
                received = self.worker.buffers.take_answer();
            }
            read(stream, context, &mut received).map_err(|error| Unanswered::Broken { error, is_sent: true })
        });
        match filled.await {
            Ok(0) => {
                self.worker.buffers.return_answer(received);
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed");
                Err(Unanswered::Broken { error, is_sent: true })
            }
            Ok(filled) => Ok((received, filled)),
            Err(unanswered) => Err(unanswered),
        }
    }

    /// Waits until the site has sent something, for as long as the client is there.
    fn poll_source(
        &self,
        stream: &UpstreamStream,
        client: &mut Client,
        deadline: &Deadline,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Unanswered>> {
        if client.poll_gone(&self.worker, context) {
            return Poll::Ready(Err(Unanswered::ClientGone));
        }
        match stream.poll_read_ready(context) {
            Poll::Pending if deadline.is_expired(context) => Poll::Ready(Err(Unanswered::TooLate)),
            polled => polled.map_err(|error| Unanswered::Broken { error, is_sent: true }),
        }
    }
}

/// What a body that is framed wrongly is called.
const BROKEN_BODY: &str = "its body is framed wrongly";

/// Why the rest of an answer did not go through.
enum Broken {
    ByClient,
    BySite(UpstreamError),
}

impl From<Unanswered> for Broken {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::ClientGone => Self::ByClient,
            Unanswered::Broken { error, .. } => Self::BySite(UpstreamError::Closed(error)),
            Unanswered::TooLate => Self::BySite(UpstreamError::AnswerTime),
        }
    }
}

impl Source {
    /// Reads until the head of the answer is whole, and writes the client's to `text`.
    async fn head(
        &mut self,
        connection: &Connection,
        client: &mut Client,
        deadline: &Deadline,
        asked: &Asked,
        text: &mut Vec<u8>,
    ) -> Result<Answer, Failure> {
        let mut looked_at = 0;
        loop {
            let received = self.received.get(..self.filled).unwrap_or_default();
            // A head that comes byte by byte is not read again for each: it ends with a line.
            let may_end = looked_at == 0 || received.iter().skip(looked_at).any(|byte| *byte == b'\n');
            looked_at = self.filled;
            match if may_end { answer::translate(received, asked, text) } else { Ok(None) } {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) if self.filled == self.received.len() => {
                    return Err(Failure::Upstream(UpstreamError::Malformed("its head is larger than 32 KiB")));
                }
                Ok(None) => {}
                Err(why) => return Err(Failure::Upstream(UpstreamError::Malformed(why))),
            }
            match self.read_more(connection, client, deadline).await {
                Ok(0) => return Err(Failure::Upstream(UpstreamError::Malformed("its head broke off"))),
                Ok(_) => {}
                Err(Unanswered::ClientGone) => return Err(Failure::Cut),
                Err(Unanswered::TooLate) => return Err(Failure::Upstream(UpstreamError::AnswerTime)),
                Err(Unanswered::Broken { error, .. }) => return Err(Failure::Upstream(UpstreamError::Closed(error))),
            }
        }
    }

    /// Sends `text`, the head, then what was taken of the body already, and the rest as it comes. The
    /// account counts bytes of the body.
    async fn pass_on(
        mut self,
        connection: &Connection,
        client: &mut Client,
        deadline: &Deadline,
        (mut answer, mut taken): (Answer, Taken),
        text: &mut Vec<u8>,
        account: &Account,
    ) -> Result<(), Broken> {
        let worker = &connection.worker;
        let idle_time = worker.limits(|limits| limits.upstream_idle_time_max);
        let mut start = answer.length;
        loop {
            let data = self.received.get(start..start + taken.data).unwrap_or_default();
            account.count(data.len());
            if taken.is_ended {
                answer.body.write(data, true, text);
                // Before the client has it all: a slow one does not keep the connection from others.
                deadline.clear();
                if answer.keep_alive && !taken.has_surplus {
                    self.pool.keep(self.stream, worker.shared.clock.now());
                }
                drop(self.permit);
                worker.buffers.return_answer(self.received);
                return if connection.write(&client.socket, text).await { Ok(()) } else { Err(Broken::ByClient) };
            }
            let is_sent = if text.is_empty() && !answer.body.needs_chunks() {
                connection.write(&client.socket, data).await
            } else {
                answer.body.write(data, false, text);
                connection.write(&client.socket, text).await
            };
            if !is_sent {
                return Err(Broken::ByClient);
            }
            text.clear();
            (start, self.filled) = (0, 0);
            worker.deadlines.set(deadline, idle_time);
            let length = self.read_more(connection, client, deadline).await?;
            if length == 0 {
                taken = answer
                    .body
                    .end()
                    .ok_or_else(|| Broken::BySite(UpstreamError::Closed(io::ErrorKind::UnexpectedEof.into())))?;
                continue;
            }
            let received = self.received.get_mut(..length).unwrap_or_default();
            taken = answer.body.take(received).ok_or(Broken::BySite(UpstreamError::Malformed(BROKEN_BODY)))?;
        }
    }

    /// Reads into what is free of the buffer.
    async fn read_more(
        &mut self,
        connection: &Connection,
        client: &mut Client,
        deadline: &Deadline,
    ) -> Result<usize, Unanswered> {
        let length = poll_fn(|context| {
            ready!(connection.poll_source(&self.stream, client, deadline, context))?;
            let free = self.received.get_mut(self.filled..).unwrap_or_default();
            read(&mut self.stream, context, free).map_err(|error| Unanswered::Broken { error, is_sent: true })
        });
        let length = length.await?;
        self.filled += length;
        Ok(length)
    }
}

fn read(stream: &mut UpstreamStream, context: &mut Context<'_>, free: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut room = ReadBuf::new(free);
    let polled = ready!(Pin::new(stream).poll_read(context, &mut room));
    Poll::Ready(polled.map(|()| room.filled().len()))
}
