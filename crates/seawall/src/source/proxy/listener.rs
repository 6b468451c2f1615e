//! Listening sockets: one for each worker on the same address, so that the kernel spreads the connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::unix::AsyncFd;

/// The length of the queue of connections not yet accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// A peer that vanished without a word is noticed after this long.
const KEEPALIVE_TIME: Duration = Duration::from_secs(120);

/// Binds one socket for each of `workers` to `address`. What accepted connections inherit is set here once, not on each.
///
/// # Errors
/// What the system says; the caller names the address.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<OwnedFd>> {
    // First without SO_REUSEPORT: with it, a second guard would be let in beside the first and take half its visitors.
    let probe = socket(address)?;
    probe.bind(&address.into())?;
    let bound = probe.local_addr()?;
    drop(probe);
    (0..workers)
        .map(|_| {
            let socket = socket(address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&bound)?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE_TIME))?;
    if address.is_ipv6() {
        // `[::]:80` and `0.0.0.0:80` can then be listened on together, and neither speaks for the other.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// The address that a socket is bound to.
///
/// # Errors
/// What the system says.
pub fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let address = SockRef::from(socket).local_addr()?;
    address.as_socket().ok_or_else(|| io::Error::other("not an internet socket"))
}

/// Waits for the next connection. It is not known to the runtime yet: whoever is turned away at once costs no more than
/// accepting and closing.
///
/// # Errors
/// What the system says; most often that the process has too many open files.
pub(super) async fn accept(listener: &AsyncFd<OwnedFd>) -> io::Result<(OwnedFd, IpAddr)> {
    loop {
        let mut ready = listener.readable().await?;
        let accepted = ready.try_io(|listener| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            acceptfrom_with(listener, flags).map_err(io::Error::from)
        });
        match accepted {
            Ok(Ok((connection, peer))) => {
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                // A connection without a peer address was closed before it was accepted.
                if let Some(peer) = peer {
                    return Ok((connection, peer.ip()));
                }
            }
            // The client gave up while it waited: not an error of ours.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Ok(Err(error)) => return Err(error),
            Err(_would_block) => {}
        }
    }
}

/// The next connection that already waits, if any.
pub(super) fn accept_waiting(listener: &OwnedFd) -> Option<(OwnedFd, IpAddr)> {
    let (connection, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).ok()?;
    Some((connection, SocketAddr::try_from(peer?).ok()?.ip()))
}

/// Closes a connection with a reset: nothing waits, nothing lingers.
pub(super) fn reset(connection: OwnedFd) {
    // If the option cannot be set the connection is closed all the same, only less abruptly.
    let _ = SockRef::from(&connection).set_linger(Some(Duration::ZERO));
    drop(connection);
}
