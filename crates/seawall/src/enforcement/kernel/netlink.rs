//! What is asked of the kernel directly: which tables its packet filter has, whether it has changed, which `nft` does not tell
//! without reading everything, and to end connections of clients that were just banned. The messages of [`super::elements`] go the same way.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use super::elements::{NFPROTO_INET, NFTA_TABLE_NAME};

/// The kernel answers at once.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);

/// As large as the kernel's own messages.
const MESSAGE_BYTES: usize = 32 * 1024;

/// linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h, linux/sock_diag.h, linux/inet_diag.h.
pub(super) const HEADER_BYTES: usize = 16;
pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_ACK: u16 = 0x4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 0x2;
const NLMSG_DONE: u16 = 0x3;
const NFT_MSG_NEWTABLE: u16 = 10 << 8;
const NFT_MSG_GETTABLE: u16 = (10 << 8) | 1;
const NFT_MSG_GETGEN: u16 = (10 << 8) | 16;
const NFT_MSG_NEWGEN: u16 = (10 << 8) | 15;
const NFTA_GEN_ID: u16 = 1;
const TCPDIAG_GETSOCK: u16 = 18;
const SOCK_DESTROY: u16 = 21;
const IPPROTO_TCP: u8 = 6;
/// Every state of a connection but LISTEN (10) and TIME_WAIT (6), in which nobody serves it any more.
const STATES: u32 = 0xFFF & !(1 << 10) & !(1 << 6);
const SOCKET_ID_BYTES: usize = 48;
const REQUEST_BYTES: usize = 56;
const DUMP_BYTES: usize = 60;
/// In the message of a connection.
const STATE_AT: usize = 1;
const ESTABLISHED: u8 = 1;

/// A connection as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    family: u8,
    id: [u8; SOCKET_ID_BYTES],
    pub(crate) local_port: u16,
    pub(crate) peer: IpAddr,
    pub(crate) peer_port: u16,
    pub(crate) is_established: bool,
}

/// The number of the packet filter's present state: each transaction of anybody raises it.
///
/// # Errors
/// When the kernel has no nf_tables, or the right is missing.
pub(crate) fn generation() -> io::Result<u32> {
    let socket = open(netlink::NETFILTER)?;
    // family, version, resource: unspecific.
    send(&socket, NFT_MSG_GETGEN, NLM_F_REQUEST, &[0, 0, 0, 0])?;
    let mut found = None;
    receive(&socket, |kind, payload| {
        if kind == NFT_MSG_NEWGEN {
            found = attribute(payload.get(4..).unwrap_or_default(), NFTA_GEN_ID);
        }
        found.is_some()
    })?;
    let bytes = found.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    bytes.map(u32::from_be_bytes).ok_or_else(|| io::Error::other("the kernel's answer holds no generation"))
}

/// The names of the tables of the family inet.
///
/// # Errors
/// When the kernel has no nf_tables, or the right is missing.
pub(crate) fn tables() -> io::Result<Vec<String>> {
    let socket = open(netlink::NETFILTER)?;
    send(&socket, NFT_MSG_GETTABLE, NLM_F_REQUEST | NLM_F_DUMP, &[NFPROTO_INET, 0, 0, 0])?;
    let mut found = Vec::new();
    receive(&socket, |kind, payload| {
        if kind == NFT_MSG_NEWTABLE
            && let Some(name) = attribute(payload.get(4..).unwrap_or_default(), NFTA_TABLE_NAME)
        {
            found.push(String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(&name)).into_owned());
        }
        false
    })?;
    Ok(found)
}

/// The TCP connections of this network namespace, of both families; only those to one local port, if one is given.
///
/// The kernel goes through its whole table of connections for it, which is large though few are in it. So it is asked by the older of its
/// two messages, which is about both families at once, and does not write down what nobody asks for.
///
/// # Errors
/// What the kernel says.
pub(crate) fn connections(local_port: Option<u16>) -> io::Result<Vec<Connection>> {
    let socket = open(netlink::SOCK_DIAG)?;
    send(&socket, TCPDIAG_GETSOCK, NLM_F_REQUEST | NLM_F_DUMP, &dump(local_port))?;
    let mut found = Vec::new();
    receive(&socket, |kind, payload| {
        if kind == TCPDIAG_GETSOCK {
            found.extend(connection(payload));
        }
        false
    })?;
    Ok(found)
}

/// Ends a connection: both sides see a reset.
///
/// # Errors
/// When it has ended by itself (`NotFound`), the right is missing, or the kernel was built without it (`Unsupported`).
pub(crate) fn destroy(connection: &Connection) -> io::Result<()> {
    let socket = open(netlink::SOCK_DIAG)?;
    send(&socket, SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, &request(connection.family, &connection.id))?;
    receive(&socket, |_, _| false)
}

/// A socket that waits for an answer no longer than [`ANSWER_TIME_MAX`].
pub(super) fn open(protocol: Protocol) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIME_MAX))?;
    Ok(socket)
}

pub(super) fn send(socket: &OwnedFd, kind: u16, flags: u16, payload: &[u8]) -> io::Result<()> {
    let mut message = Vec::with_capacity(HEADER_BYTES + payload.len());
    message.extend_from_slice(&((HEADER_BYTES + payload.len()) as u32).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    // The sequence number, of one question on one socket, and the sender, which the kernel fills in.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(payload);
    sendto(socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    Ok(())
}

/// Hands each message to `take` until that says that it has enough, or the kernel says that this was all.
pub(super) fn receive(socket: &OwnedFd, mut take: impl FnMut(u16, &[u8]) -> bool) -> io::Result<()> {
    let mut buffer = vec![0; MESSAGE_BYTES];
    loop {
        let (received, _) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = buffer.get(..received).unwrap_or_default();
        while let Some((kind, payload, after)) = message(rest) {
            let code = || payload.get(..4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(i32::from_ne_bytes);
            match kind {
                // A list that could not be made ends with the reason, and is otherwise no different from an empty one.
                NLMSG_DONE => {
                    return code()
                        .filter(|code| *code < 0)
                        .map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(-code)));
                }
                NLMSG_ERROR => {
                    return match code() {
                        Some(0) => Ok(()),
                        Some(code) => Err(io::Error::from_raw_os_error(-code)),
                        None => Err(io::Error::other("an error without a code")),
                    };
                }
                kind if take(kind, payload) => return Ok(()),
                _ => {}
            }
            rest = after;
        }
    }
}

/// The first message: its kind, its payload, and what follows.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let payload = bytes.get(HEADER_BYTES..length)?;
    Some((kind, payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The value of the first attribute of a kind.
pub(super) fn attribute(mut bytes: &[u8], wanted: u16) -> Option<Vec<u8>> {
    loop {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        if kind & 0x3FFF == wanted {
            return Some(value.to_vec());
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

/// struct inet_diag_req_v2
fn request(family: u8, id: &[u8; SOCKET_ID_BYTES]) -> [u8; REQUEST_BYTES] {
    let mut request = [0; REQUEST_BYTES];
    request[0] = family;
    request[1] = IPPROTO_TCP;
    request[4..8].copy_from_slice(&STATES.to_ne_bytes());
    request[8..].copy_from_slice(id);
    request
}

/// struct inet_diag_req, of every family (AF_UNSPEC, 0).
fn dump(local_port: Option<u16>) -> [u8; DUMP_BYTES] {
    let mut request = [0; DUMP_BYTES];
    request[4..6].copy_from_slice(&local_port.unwrap_or(0).to_be_bytes());
    request[52..56].copy_from_slice(&STATES.to_ne_bytes());
    request
}

/// struct inet_diag_msg, as far as it is needed.
fn connection(payload: &[u8]) -> Option<Connection> {
    let family = *payload.first()?;
    let id: [u8; SOCKET_ID_BYTES] = payload.get(4..4 + SOCKET_ID_BYTES)?.try_into().ok()?;
    let port = |at: usize| Some(u16::from_be_bytes(id.get(at..at + 2)?.try_into().ok()?));
    let peer = if family == AddressFamily::INET.as_raw() as u8 {
        IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(id.get(20..24)?).ok()?))
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(id.get(20..36)?).ok()?)).to_canonical()
    };
    let is_established = *payload.get(STATE_AT)? == ESTABLISHED;
    Some(Connection { family, id, local_port: port(0)?, peer, peer_port: port(2)?, is_established })
}

#[cfg(test)]
impl Connection {
    /// One for tests of what is chosen; the kernel knows none such.
    pub(crate) const fn between(peer: IpAddr, local_port: u16) -> Self {
        Self { family: 0, id: [0; SOCKET_ID_BYTES], local_port, peer, peer_port: 0, is_established: true }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_of_both_families_are_listed_with_both_ports() {
        for here in ["127.0.0.1", "::1"] {
            let here: IpAddr = here.parse().expect("an address");
            // Not every machine has both.
            let Ok(listener) = TcpListener::bind((here, 0)) else { continue };
            let port = listener.local_addr().expect("an address").port();
            let client = TcpStream::connect((here, port)).expect("it listens");
            let (_accepted, _) = listener.accept().expect("one comes");
            let peer_port = client.local_addr().expect("an address").port();
            for asked in [None, Some(port)] {
                let found = connections(asked).expect("a list");
                let is_it =
                    |connection: &&Connection| connection.local_port == port && connection.peer_port == peer_port;
                let connection = found.iter().find(is_it).expect("it is there");
                assert_eq!((connection.peer, connection.is_established), (here, true));
                let is_other = |connection: &Connection| connection.local_port != port;
                assert_eq!(found.iter().any(is_other), asked.is_none(), "the client's own end is on another port");
            }
        }
    }

    #[test]
    fn a_list_that_could_not_be_made_is_no_empty_one() {
        const SOCK_DIAG_BY_FAMILY: u16 = 20;
        let socket = open(netlink::SOCK_DIAG).expect("a socket");
        // The kernel takes any protocol of a dump, and tells at its end that it knows none such.
        let mut asked = request(AddressFamily::INET.as_raw() as u8, &[0; SOCKET_ID_BYTES]);
        asked[1] = 254;
        let sent = send(&socket, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, &asked);
        assert!(sent.and_then(|()| receive(&socket, |_, _| false)).is_err());
    }

    #[test]
    fn messages_that_are_cut_short_are_none() {
        for bytes in [&[][..], &[1, 2, 3], &[255, 0, 0, 0, 2, 0, 0, 0], &[0; 16]] {
            assert!(message(bytes).is_none_or(|(_, payload, _)| payload.is_empty()), "{bytes:?}");
            assert!(attribute(bytes, 1).is_none());
            assert!(connection(bytes).is_none());
        }
    }
}
