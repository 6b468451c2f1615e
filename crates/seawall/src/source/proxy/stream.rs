//! A client's connection as hyper sees it: first the bytes that were read for judging, then the socket, with the
//! worker's deadlines on every wait.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answers::Reply;
use super::client_socket::ClientSocket;
use super::connection::{Connection, Phase};

/// A client's connection.
pub(super) struct ClientStream {
    socket: ClientSocket,
    /// What was read before hyper came in: from `taken` to `filled`.
    read_ahead: Vec<u8>,
    taken: usize,
    filled: usize,
    connection: Rc<Connection>,
}

impl ClientStream {
    /// The first `filled` bytes of `read_ahead` were read and not consumed; the buffer goes back to the worker once hyper
    /// has had them.
    pub(super) fn new(socket: ClientSocket, read_ahead: Vec<u8>, filled: usize, connection: Rc<Connection>) -> Self {
        Self { socket, filled: filled.min(read_ahead.len()), read_ahead, taken: 0, connection }
    }

    /// The socket, to be closed or used for another protocol.
    pub(super) fn into_socket(self) -> ClientSocket {
        self.socket
    }

    /// On an expired deadline: a client in the middle of a head is told so, everybody else is left without a word.
    fn expire(&self) -> io::Error {
        if self.connection.phase() == Phase::Head {
            // Nothing else is under way in this phase, so the answer cannot fall into another one. A client that does
            // not take it at once does not get it.
            let _ = self.connection.worker.answer(Reply::TooSlow, |answer| self.socket.try_write(answer.bytes(false)));
        }
        io::ErrorKind::TimedOut.into()
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken < this.filled {
            let rest = &this.read_ahead[this.taken..this.filled];
            let length = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..length]);
            this.taken += length;
            if this.taken == this.filled {
                (this.taken, this.filled) = (0, 0);
                this.connection.worker.buffers.return_head(std::mem::take(&mut this.read_ahead));
            }
            return Poll::Ready(Ok(()));
        }
        // In an exchange the deadlines are those of whoever waits: the request's body, or the writing of the answer. The task is
        // to be woken all the same, since the exchange may end, and idle time begin, without another read.
        if this.connection.is_expired(context) && this.connection.phase() != Phase::Exchange {
            return Poll::Ready(Err(this.expire()));
        }
        if this.connection.phase() == Phase::Idle && this.connection.worker.is_draining() {
            return Poll::Ready(Ok(()));
        }
        let filled = buffer.filled().len();
        let result = Pin::new(&mut *this.socket).poll_read(context, buffer);
        if buffer.filled().len() > filled {
            this.connection.has_read();
        }
        result
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut *this.socket).poll_write(context, bytes);
        this.after_write(context, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut *this.socket).poll_write_vectored(context, slices);
        this.after_write(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().socket).poll_shutdown(context)
    }
}

impl ClientStream {
    fn after_write(&mut self, context: &Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(written)) => {
                self.connection.has_written(written);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => {
                self.connection.is_blocked();
                if self.connection.is_expired(context) || self.connection.keeps_others_waiting() {
                    return Poll::Ready(Err(self.expire()));
                }
                Poll::Pending
            }
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}
