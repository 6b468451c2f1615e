//! The client's side of a connection that hyper does not have: its socket, and what was read of it and not yet used.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead as _, ReadBuf};

use super::client_socket::ClientSocket;
use super::worker::Worker;

/// A client's socket, with what was read ahead.
pub(super) struct Client {
    pub(super) socket: ClientSocket,
    /// Empty while nothing was read.
    pub(super) buffer: Vec<u8>,
    /// Bytes of the buffer that were read and not yet used.
    pub(super) filled: usize,
}

impl Client {
    pub(super) const fn new(socket: ClientSocket) -> Self {
        Self { socket, buffer: Vec::new(), filled: 0 }
    }

    /// What was read and not yet used.
    pub(super) fn received(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// So many bytes of it are used. An empty buffer goes back to the worker.
    pub(super) fn consume(&mut self, length: usize, worker: &Worker) {
        let used = length.min(self.filled);
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        if self.filled == 0 {
            worker.buffers.return_head(std::mem::take(&mut self.buffer));
        }
    }

    /// Reads what has come, as far as there is room: the number of bytes, 0 at the end.
    pub(super) fn poll_read(&mut self, worker: &Worker, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.buffer.is_empty() {
            self.buffer = worker.take_buffer();
        }
        let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
        // Unlike `try_read`, this takes a read that leaves room for the last one there is, and so spares the system call
        // that would say so.
        let mut room = ReadBuf::new(free);
        let polled = Pin::new(&mut *self.socket).poll_read(context, &mut room);
        polled.map_ok(|()| {
            let length = room.filled().len();
            self.filled += length;
            length
        })
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        self.buffer.is_empty() || self.filled < self.buffer.len()
    }

    /// Whether the client has gone away while it is to be answered; the task of `context` is woken when it does. What it sends
    /// meanwhile is kept for later, and beyond that waits in the kernel.
    pub(super) fn poll_gone(&mut self, worker: &Worker, context: &mut Context<'_>) -> bool {
        while self.has_room() {
            match self.socket.poll_read_ready(context) {
                Poll::Pending => return false,
                Poll::Ready(Err(_)) => return true,
                Poll::Ready(Ok(())) => match self.poll_read(worker, context) {
                    Poll::Pending => {
                        self.consume(0, worker);
                        return false;
                    }
                    Poll::Ready(Ok(length)) if length > 0 => {}
                    Poll::Ready(_) => return true,
                },
            }
        }
        false
    }
}
