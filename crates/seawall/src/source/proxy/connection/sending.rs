//! Sends answers that were made beforehand, and closes without cutting them off.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::super::answers::Reply;
use super::super::client_socket::ClientSocket;
use super::{Connection, Next, Phase};

/// Bytes and time for which a client that was answered in the middle of its body may go on sending before the connection
/// is cut: closing at once would reset it, and the answer with it.
const LINGER_BYTES_MAX: usize = 256 * 1024;
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);

impl Connection {
    /// Sends an answer made beforehand, after which the connection goes on as `next` says: the last one says that it is. False
    /// when the client does not take it.
    pub(in super::super) async fn send_before(
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
    pub(super) async fn send(&self, socket: &TcpStream, reply: Reply, is_head_request: bool) -> bool {
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
    pub(in super::super) async fn write(&self, socket: &TcpStream, bytes: &[u8]) -> bool {
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
    pub(super) async fn linger(&self, mut socket: ClientSocket) {
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
}
