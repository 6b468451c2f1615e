//! Log lines that come as syslog messages, over UDP, TCP or a unix socket.
//!
//! The engine takes the envelope off (RFC 3164, RFC 5424); here are the sockets and how a stream is cut into messages: by their
//! length (RFC 6587, octet counting) or by line.

use std::fs;
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use seawall_engine::observation::log::LINE_BYTES_MAX;
use seawall_engine::units::Timestamp;
use socket2::{SockRef, TcpKeepalive};

use super::report::Report;
use super::sampling::Sampling;
use super::sensor::Sensor;
use super::tail::Arrival;
use super::watcher::Watcher;

/// Messages that are taken before others have their turn.
const TURN_MESSAGES: usize = 10_000;

/// Senders over connections at once. When another comes, the one that has been silent for longest goes.
const SENDERS_MAX: usize = 64;

/// After so long a silence a sender is asked whether it is still there, and again in this interval: one that was cut off says nothing.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// What the kernel is asked to hold of datagrams, in bytes: those of a moment in which nobody reads.
const RECEIVE_BYTES: usize = 4 << 20;

/// What a sender's unfinished message may take.
const BUFFER_BYTES: usize = 2 * LINE_BYTES_MAX;

/// The digits of a message's length.
const LENGTH_DIGITS_MAX: usize = 7;

/// A place to which messages are sent.
pub(super) struct Syslog {
    socket: Socket,
    sensor: Sensor,
    buffer: Vec<u8>,
    sampling: Sampling,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram, PathBuf),
    Connections(Listener, Vec<Sender>),
}

/// Where connections come in.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// What comes over a connection.
trait Stream: io::Read + AsFd + Send {}

impl<S: io::Read + AsFd + Send> Stream for S {}

struct Sender {
    stream: Box<dyn Stream>,
    frames: Frames,
    /// Whether it has sent anything, and when it last did, or came.
    has_spoken: bool,
    heard: Timestamp,
}

impl Syslog {
    pub(super) fn udp(address: SocketAddr, sensor: Sensor) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        // Less than asked for is no failure.
        let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BYTES);
        Ok(Self::new(Socket::Udp(socket), sensor))
    }

    pub(super) fn tcp(address: SocketAddr, sensor: Sensor) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self::new(Socket::Connections(Listener::Tcp(listener), Vec::new()), sensor))
    }

    /// A socket in the file system for datagrams, which its owner and group may write to.
    pub(super) fn unix(path: &Path, sensor: Sensor) -> io::Result<Self> {
        make_way(path)?;
        let socket = UnixDatagram::bind(path)?;
        open_to_group(path)?;
        socket.set_nonblocking(true)?;
        let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BYTES);
        Ok(Self::new(Socket::Unix(socket, path.to_owned()), sensor))
    }

    /// The same for connections.
    pub(super) fn unix_stream(path: &Path, sensor: Sensor) -> io::Result<Self> {
        make_way(path)?;
        let listener = UnixListener::bind(path)?;
        open_to_group(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self::new(Socket::Connections(Listener::Unix(listener, path.to_owned()), Vec::new()), sensor))
    }

    fn new(socket: Socket, sensor: Sensor) -> Self {
        let mut socket = Self { socket, sensor, buffer: vec![0; LINE_BYTES_MAX + 1], sampling: Sampling::default() };
        socket.sensor.is_own = socket.local_address().is_none_or(|address| address.ip().is_loopback());
        socket
    }

    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match &self.socket {
            Socket::Udp(socket) => vec![socket.as_fd()],
            Socket::Unix(socket, _) => vec![socket.as_fd()],
            Socket::Connections(listener, senders) => {
                std::iter::once(listener.as_fd()).chain(senders.iter().map(|sender| sender.stream.as_fd())).collect()
            }
        }
    }

    /// Where it is, with the port that the system chose.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Udp(socket) => socket.local_addr().ok(),
            Socket::Connections(Listener::Tcp(listener), _) => listener.local_addr().ok(),
            Socket::Connections(Listener::Unix(..), _) | Socket::Unix(..) => None,
        }
    }

    pub(super) fn sensor(&self) -> &Sensor {
        &self.sensor
    }

    /// Takes what has come, and says whether there is more.
    pub(super) fn look(&mut self, watcher: &mut Watcher, now: Timestamp) -> bool {
        let has_more = self.take(watcher, now);
        self.sampling.note(has_more, now);
        has_more
    }

    fn take(&mut self, watcher: &mut Watcher, now: Timestamp) -> bool {
        let Self { socket, sensor, buffer, sampling } = self;
        let interval = sampling.interval(now);
        let arrival = Arrival { at: now, is_fresh: true, weight: interval as f32 };
        let mut take = |message: &[u8]| {
            if sampling.is_next(interval, message.len()) {
                watcher.line(sensor, message.trim_ascii_end(), arrival);
            }
        };
        if let Socket::Connections(listener, senders) = socket {
            let mut has_more = false;
            senders.retain_mut(|sender| sender.read(buffer, now, &mut take, &mut has_more));
            // Those who come are read at the next look, which their first message brings about.
            accept(listener, senders, now, &mut take);
            return has_more;
        }
        for _ in 0..TURN_MESSAGES {
            let received = match socket {
                Socket::Udp(socket) => socket.recv(buffer),
                Socket::Unix(socket, _) => socket.recv(buffer),
                Socket::Connections(..) => return false,
            };
            match received {
                Ok(length) => take(buffer.get(..length).unwrap_or_default()),
                Err(_) => return false,
            }
        }
        true
    }

    pub(super) fn report(&mut self, now: Timestamp) -> Report {
        let mut report = self.sensor.report(now);
        report.log.lag_seconds = self.sampling.lag_seconds(now);
        report.log.passed_over_bytes = self.sampling.passed_over_bytes();
        if let Socket::Udp(socket) = &self.socket {
            report.log.dropped_datagrams = dropped(socket);
        }
        report
    }
}

/// Takes in who has connected. Nobody is left waiting: whoever holds all places and says nothing would shut out those who do.
fn accept(listener: &Listener, senders: &mut Vec<Sender>, now: Timestamp, take: &mut impl FnMut(&[u8])) {
    for _ in 0..SENDERS_MAX {
        let Ok(stream) = listener.accept() else { return };
        // Strangers who never said anything go before a server that has nothing to say at night.
        let idle =
            (0..senders.len()).min_by_key(|index| senders.get(*index).map(|sender| (sender.has_spoken, sender.heard)));
        if let Some(index) = idle.filter(|_| senders.len() >= SENDERS_MAX) {
            senders.swap_remove(index).frames.finish(take);
        }
        senders.push(Sender { stream, frames: Frames::default(), has_spoken: false, heard: now });
    }
}

impl Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }

    /// A connection from which is read only what has come.
    fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
                // Without it a sender that was cut off only stays for longer.
                let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                Ok(Box::new(stream))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// Removes the socket that a dead guard left behind, of either kind: one at which nobody receives refuses whoever connects, before it is
/// asked of which kind it is.
fn make_way(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return Ok(());
    }
    match UnixDatagram::unbound()?.connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another program receives there")),
    }
}

fn open_to_group(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
}

/// Datagrams that the kernel has dropped since nobody read them in time; 0 where it does not tell.
fn dropped(socket: &UdpSocket) -> u64 {
    let Ok(status) = rustix::fs::fstat(socket) else { return 0 };
    let table = match socket.local_addr() {
        Ok(address) if address.is_ipv6() => "/proc/net/udp6",
        _ => "/proc/net/udp",
    };
    drops_in(&fs::read_to_string(table).unwrap_or_default(), status.st_ino).unwrap_or(0)
}

/// The last column of the line of a socket, as proc(5) has it: its inode is the tenth.
fn drops_in(table: &str, inode: u64) -> Option<u64> {
    let mut sockets = table.lines().skip(1).map(|line| line.split_whitespace());
    sockets.find_map(|mut columns| {
        let found = columns.nth(9)?.parse::<u64>().ok()?;
        columns.last()?.parse().ok().filter(|_| found == inode)
    })
}

impl Drop for Syslog {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) | Socket::Connections(Listener::Unix(_, path), _) = &self.socket {
            // Whatever is in its way now is not the guard's to repair.
            let _ = fs::remove_file(path);
        }
    }
}

impl Sender {
    /// Takes what it has sent. False when it has gone, or sends what is no stream of messages.
    fn read(&mut self, buffer: &mut [u8], now: Timestamp, take: &mut impl FnMut(&[u8]), has_more: &mut bool) -> bool {
        for _ in 0..TURN_MESSAGES / 100 {
            match self.stream.read(buffer) {
                Ok(0) => {
                    self.frames.finish(take);
                    return false;
                }
                Ok(length) => {
                    (self.has_spoken, self.heard) = (true, now);
                    self.frames.add(buffer.get(..length).unwrap_or_default(), take);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        *has_more = true;
        true
    }
}

/// Cuts a stream into messages.
#[derive(Default)]
struct Frames {
    buffer: Vec<u8>,
    /// Bytes of a message that is too long and passed over; `usize::MAX` for all up to the end of a line.
    passes_over: usize,
}

impl Frames {
    fn add(&mut self, mut bytes: &[u8], take: &mut impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            if self.passes_over > 0 {
                bytes = self.pass_over(bytes);
                continue;
            }
            let room = BUFFER_BYTES.saturating_sub(self.buffer.len());
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(now);
            bytes = later;
            self.give(take);
            if self.buffer.len() >= BUFFER_BYTES {
                self.give_up(take);
            }
        }
    }

    /// Gives every whole message.
    fn give(&mut self, take: &mut impl FnMut(&[u8])) {
        let mut start = 0;
        while let Some(rest) = self.buffer.get(start..).filter(|rest| !rest.is_empty()) {
            let (message, used) = match counted(rest) {
                Counted::Length { digits, length } => match rest.get(digits + 1..digits + 1 + length) {
                    Some(message) => (message, digits + 1 + length),
                    None => break,
                },
                Counted::Unknown => break,
                Counted::No => match memchr::memchr2(b'\n', 0, rest) {
                    Some(end) => (rest.get(..end).unwrap_or_default(), end + 1),
                    None => break,
                },
            };
            if !message.trim_ascii().is_empty() {
                take(message);
            }
            start += used;
        }
        self.buffer.drain(..start);
    }

    /// A message is longer than any line that is read: it is counted, and its rest passed over.
    fn give_up(&mut self, take: &mut impl FnMut(&[u8])) {
        self.passes_over = match counted(&self.buffer) {
            Counted::Length { digits, length } => (digits + 1 + length).saturating_sub(self.buffer.len()),
            Counted::Unknown | Counted::No => usize::MAX,
        };
        take(&self.buffer);
        self.buffer.clear();
    }

    fn pass_over<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let end = if self.passes_over == usize::MAX {
            memchr::memchr(b'\n', bytes).map(|at| at + 1)
        } else {
            Some(self.passes_over).filter(|left| *left <= bytes.len())
        };
        match end {
            Some(end) => {
                self.passes_over = 0;
                bytes.get(end..).unwrap_or_default()
            }
            None => {
                if self.passes_over != usize::MAX {
                    self.passes_over -= bytes.len();
                }
                &[]
            }
        }
    }

    fn finish(&mut self, take: &mut impl FnMut(&[u8])) {
        if self.passes_over == 0 && !self.buffer.is_empty() {
            take(&self.buffer);
        }
        self.buffer.clear();
    }
}

/// Whether a message begins with its length.
enum Counted {
    /// With so many digits, a space after them.
    Length {
        digits: usize,
        length: usize,
    },
    /// Only digits are here so far.
    Unknown,
    No,
}

fn counted(text: &[u8]) -> Counted {
    let digits = text.iter().take(LENGTH_DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > LENGTH_DIGITS_MAX || text.first() == Some(&b'0') {
        return Counted::No;
    }
    match text.get(digits..digits + 2) {
        // What follows is a priority: else the digits are the beginning of an address.
        Some(b" <") => {
            let length = text.iter().take(digits).fold(0, |length, digit| 10 * length + usize::from(digit - b'0'));
            Counted::Length { digits, length }
        }
        Some(_) => Counted::No,
        None => Counted::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(stream: &[u8], at_once: usize) -> Vec<String> {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        let mut take = |message: &[u8]| found.push(String::from_utf8_lossy(message).into_owned());
        for part in stream.chunks(at_once) {
            frames.add(part, &mut take);
        }
        frames.finish(&mut take);
        found
    }

    #[test]
    fn what_the_kernel_drops_is_read_of_the_own_socket() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             1: 0100007F:158A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 3\n\
             2: 0100007F:158B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 98\n";
        assert_eq!((drops_in(table, 4712), drops_in(table, 4711)), (Some(98), Some(3)));
        assert_eq!((drops_in(table, 1), drops_in("nothing", 1)), (None, None));
    }

    #[test]
    fn only_a_socket_at_which_nobody_receives_makes_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        make_way(&path).expect("nothing is there");
        let is_taken = || make_way(&path).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
        let datagrams = UnixDatagram::bind(&path).expect("a socket");
        assert!(is_taken());
        drop(datagrams);
        make_way(&path).expect("it is dead");
        let connections = UnixListener::bind(&path).expect("the way is free");
        assert!(is_taken() && path.exists());
        drop(connections);
        make_way(&path).expect("it is dead");
        assert!(!path.exists());
    }

    #[test]
    fn messages_are_cut_by_length_and_by_line() {
        for at_once in [1, 7, 1_000] {
            assert_eq!(cut(b"<1>a b\n\n<2>c\0<3>d", at_once), ["<1>a b", "<2>c", "<3>d"]);
            assert_eq!(cut(b"6 <1>a\nb10 <2>0123456<3>line\n", at_once), ["<1>a\nb", "<2>0123456", "<3>line"]);
            // No length, but an address.
            assert_eq!(cut(b"192.0.2.1 - -\n12 x\n", at_once), ["192.0.2.1 - -", "12 x"]);
        }
    }

    #[test]
    fn messages_too_long_are_passed_over_and_take_no_memory() {
        let long = [&b"<1>"[..], &vec![b'x'; 10_000_000], b"\n<2>after\n"].concat();
        let found = cut(&long, 50_000);
        assert_eq!((found.len(), found[1].as_str()), (2, "<2>after"));
        let counted = [&b"9999999 <1>"[..], &vec![b'\n'; 9_999_996], b"8 <2>after"].concat();
        let found = cut(&counted, 50_000);
        assert_eq!(found.last().map(String::as_str), Some("<2>after"));
        assert_eq!(found.len(), 2);
    }

    /// Messages, and what is nearly one.
    fn nearly_messages() -> impl Strategy<Value = Vec<u8>> {
        let message = "[ -~]{0,30}";
        let part = prop_oneof![
            message.prop_map(|text| format!("<13>{text}\n").into_bytes()),
            message.prop_map(|text| format!("{} <13>{text}", text.len() + 4).into_bytes()),
            "[0-9]{1,9} ?<?".prop_map(String::into_bytes),
            Just(b"\0".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(vec![b'x'; 2 * BUFFER_BYTES]),
            Just(format!("{} <13>", 3 * BUFFER_BYTES).into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ];
        proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// In whatever parts a stream comes, it is cut into the same messages, and no more is held than one may take.
        #[test]
        fn a_stream_is_cut_alike_in_whatever_parts_it_comes(stream in nearly_messages(), at_once in 16_usize..5_000) {
            let mut frames = Frames::default();
            let mut given = 0;
            for part in stream.chunks(at_once) {
                frames.add(part, &mut |message| given += message.len());
                prop_assert!(frames.buffer.len() < BUFFER_BYTES);
            }
            prop_assert!(given <= stream.len());
            prop_assert_eq!(cut(&stream, at_once), cut(&stream, usize::MAX));
        }

        /// What is well formed is given as it was sent, whichever way each message ends.
        #[test]
        fn messages_are_given_as_they_were_sent(messages in proptest::collection::vec(("[ -~]{1,40}", any::<bool>()), 0..10), at_once in 1_usize..50) {
            let framed = |(text, is_counted): &(String, bool)| {
                let message = format!("<13>{text}");
                if *is_counted { format!("{} {message}", message.len()) } else { format!("{message}\n") }
            };
            let stream: String = messages.iter().map(framed).collect();
            let expected: Vec<String> = messages.iter().map(|(text, _)| format!("<13>{text}")).collect();
            prop_assert_eq!(cut(stream.as_bytes(), at_once), expected);
        }
    }
}
