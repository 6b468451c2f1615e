//! A client that sends exactly the bytes it is told to, and reads answers strictly.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::message::{Answer, Parsed, parse_answer};

/// A connection to a guard.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// Why there is no whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The connection was closed after so many bytes of it.
    Closed(usize),
    /// The connection was reset.
    Reset,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("the guard listens"))
    }

    /// Connects from another of this machine's addresses.
    pub(crate) fn connect_from(source: &str, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let source: SocketAddr = format!("{source}:0").parse().expect("an address");
        socket.bind(&source.into()).expect("an address of loopback");
        socket.connect(&address.into()).expect("the guard listens");
        Self::new(socket.into())
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, received: Vec::new() }
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are. That the other side has closed shows in its answer.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a plain GET request.
    pub(crate) fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: example.org\r\n\r\n"));
    }

    /// Reads the next answer; interim ones are passed over.
    pub(crate) fn try_answer(&mut self, to_head: bool) -> Result<Answer, NoAnswer> {
        let mut is_closed = false;
        loop {
            match parse_answer(&self.received, to_head, is_closed).unwrap_or_else(|why| panic!("a bad answer: {why}")) {
                Parsed::Whole(answer, length) => {
                    self.received.drain(..length);
                    if (100..200).contains(&answer.status) && answer.status != 101 {
                        continue;
                    }
                    return Ok(answer);
                }
                Parsed::Partial if is_closed => return Err(NoAnswer::Closed(self.received.len())),
                Parsed::Partial => is_closed = self.read_more()? == 0,
            }
        }
    }

    /// Reads the next answer, to anything but HEAD.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer(false).unwrap_or_else(|why| panic!("no answer: {why:?}"))
    }

    /// Sends a plain GET request and reads its answer.
    pub(crate) fn fetch(&mut self, path: &str) -> Answer {
        self.get(path);
        self.answer()
    }

    /// Bytes that have come and are no answer yet, at least `length`.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            assert!(self.read_more().expect("more bytes") > 0, "closed after {:?}", self.received);
        }
        std::mem::take(&mut self.received)
    }

    /// Bytes up to and with `end`, as they came.
    pub(crate) fn bytes_until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.received, end) {
                return self.received.drain(..at + end.len()).collect();
            }
            assert!(self.read_more().expect("more bytes") > 0, "closed after {:?}", self.received);
        }
    }

    /// Waits until these bytes have come, and leaves them to be read.
    pub(crate) fn expect_bytes(&mut self, bytes: &[u8]) {
        while memchr::memmem::find(&self.received, bytes).is_none() {
            assert!(self.read_more().expect("more bytes") > 0, "closed after {:?}", self.received);
        }
    }

    /// Waits until the connection is closed in order, and fails when more bytes come before.
    pub(crate) fn expect_close(&mut self) {
        let length = self.read_more().unwrap_or_else(|why| panic!("not closed in order: {why:?}"));
        assert_eq!((length, self.received.len()), (0, 0), "{}", String::from_utf8_lossy(&self.received));
    }

    /// Waits until the connection is closed in whatever way.
    pub(crate) fn expect_end(&mut self) {
        while matches!(self.read_more(), Ok(1..)) {}
    }

    /// Everything until the end, and whether the end was in order.
    pub(crate) fn rest(mut self) -> (Vec<u8>, bool) {
        loop {
            match self.read_more() {
                Ok(0) => return (self.received, true),
                Ok(_) => {}
                Err(_reset) => return (self.received, false),
            }
        }
    }

    fn read_more(&mut self) -> Result<usize, NoAnswer> {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(length) => {
                self.received.extend_from_slice(&buffer[..length]);
                Ok(length)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!(
                    "neither bytes nor a close within {PATIENCE:?}; so far {:?}",
                    String::from_utf8_lossy(&self.received)
                )
            }
            Err(_reset) => Err(NoAnswer::Reset),
        }
    }
}
