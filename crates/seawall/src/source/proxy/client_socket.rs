//! A client's socket. It is closed with a reset once its client is banned, wherever its task is just then: what lies in the kernel to
//! be sent is not sent any more.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::deadlines::Deadline;

/// A client's socket.
pub(super) struct ClientSocket {
    socket: TcpStream,
    deadline: Rc<Deadline>,
}

impl ClientSocket {
    /// Of the connection that has this deadline.
    pub(super) const fn new(socket: TcpStream, deadline: Rc<Deadline>) -> Self {
        Self { socket, deadline }
    }

    /// Closes it with a reset: nothing waits, nothing lingers.
    pub(super) fn reset(self) {
        self.deadline.cut();
    }

    /// The same connection for somebody else to serve; no event loop knows it.
    pub(super) fn into_viewer(self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }
}

impl Deref for ClientSocket {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.socket
    }
}

impl DerefMut for ClientSocket {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }
}

impl Drop for ClientSocket {
    fn drop(&mut self) {
        if self.deadline.is_cut() {
            // If the option cannot be set the connection is closed all the same, only less abruptly.
            let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        }
    }
}
