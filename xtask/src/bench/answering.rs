//! An origin within the load: the same thread that sends requests answers those that come back through whoever is measured.
//! With an origin of its own the load would share a core with it, and each would wait for the other's time slice, which is
//! longer than what is to be measured.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::event::epoll;

/// What it answers to everything: 100 bytes.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n";
const BODY_BYTES: usize = 100;

/// Connections that it takes.
const CONNECTIONS_MAX: usize = 4_096;

/// A site that answers 100 bytes.
#[derive(Debug)]
pub(super) struct Answering {
    listener: TcpListener,
    connections: Vec<Option<TcpStream>>,
    /// Where its events begin; those of the listener come first.
    first_event: u64,
    answer: Vec<u8>,
}

impl Answering {
    /// Listens at `address`. Events that are its own are numbered from `first_event`.
    pub(super) fn listen(address: SocketAddr, epoll: &OwnedFd, first_event: u64) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        epoll::add(epoll, &listener, epoll::EventData::new_u64(first_event), epoll::EventFlags::IN)?;
        let answer = [ANSWER.as_bytes(), &[b'a'; BODY_BYTES]].concat();
        Ok(Self { listener, connections: Vec::new(), first_event, answer })
    }

    /// Does what an event asks for; false when it is another's.
    pub(super) fn go_on(&mut self, event: u64, epoll: &OwnedFd) -> io::Result<bool> {
        let Some(number) = event.checked_sub(self.first_event) else { return Ok(false) };
        if number == 0 {
            self.accept(epoll)?;
            return Ok(true);
        }
        let Some(slot) = self.connections.get_mut(number as usize - 1) else { return Ok(false) };
        let is_open = slot.as_mut().is_some_and(|socket| answer_all(socket, &self.answer));
        if !is_open {
            *slot = None;
        }
        Ok(true)
    }

    fn accept(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        while let Ok((socket, _)) = self.listener.accept() {
            if self.connections.len() >= CONNECTIONS_MAX {
                return Err(io::Error::other("whoever is measured opens a connection for nearly each request"));
            }
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let event = self.first_event + 1 + self.connections.len() as u64;
            epoll::add(epoll, &socket, epoll::EventData::new_u64(event), epoll::EventFlags::IN)?;
            self.connections.push(Some(socket));
        }
        Ok(())
    }
}

/// Answers each request that has come; false when the connection is at its end. Heads come whole: they are small, and sent
/// at once.
fn answer_all(socket: &mut TcpStream, answer: &[u8]) -> bool {
    let mut buffer = [0; 16 * 1024];
    match socket.read(&mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            let received = buffer.get(..length).unwrap_or_default();
            let heads = received.windows(4).filter(|window| window == b"\r\n\r\n");
            heads.map(|_| socket.write_all(answer)).all(|sent| sent.is_ok())
        }
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
