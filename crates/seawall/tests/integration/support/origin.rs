//! The site behind the guard. It keeps every byte that it got.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use socket2::SockRef;

use super::PATIENCE;
use super::message::{Parsed, Request, parse_request};

/// A site on a port of its own.
pub(crate) struct Origin {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    is_stopped: Arc<AtomicBool>,
}

/// One of its connections.
pub(crate) struct Visit {
    stream: TcpStream,
    /// Which connection it is, from 0.
    pub(crate) number: usize,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    /// How much of what was received has been taken as requests.
    taken: usize,
}

impl Origin {
    /// A site that does with each connection what `serve` does.
    pub(crate) fn start(serve: impl Fn(Visit) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let origin = Self { address, received: Arc::default(), is_stopped: Arc::default() };
        let (received, is_stopped) = (Arc::clone(&origin.received), Arc::clone(&origin.is_stopped));
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_stopped.load(Ordering::Relaxed) {
                    break;
                }
                stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
                stream.set_nodelay(true).expect("a socket");
                let number = {
                    let mut connections = received.lock().unwrap_or_else(PoisonError::into_inner);
                    connections.push(Vec::new());
                    connections.len() - 1
                };
                let (received, serve) = (Arc::clone(&received), Arc::clone(&serve));
                thread::spawn(move || serve(Visit { stream, number, received, taken: 0 }));
            }
        });
        origin
    }

    /// A site that answers every request with what it understood: method, target and the length of the body.
    pub(crate) fn echoing() -> Self {
        Self::start(|mut visit| {
            while let Ok(Some(request)) = visit.request() {
                visit.answer(&format!("{} {} {}", request.method, request.target, request.body.len()));
            }
        })
    }

    /// As the guard is told it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came on each connection.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// All whole requests that came, and the beginnings of others.
    pub(crate) fn requests(&self) -> (Vec<Request>, Vec<Vec<u8>>) {
        let (mut requests, mut begun) = (Vec::new(), Vec::new());
        for connection in self.received() {
            let mut rest = connection.as_slice();
            while !rest.is_empty() {
                match parse_request(rest)
                    .unwrap_or_else(|why| panic!("{why} in {:?}", String::from_utf8_lossy(&connection)))
                {
                    Parsed::Whole(request, length) => {
                        requests.push(request);
                        rest = &rest[length..];
                    }
                    Parsed::Partial => {
                        begun.push(rest.to_vec());
                        break;
                    }
                }
            }
        }
        (requests, begun)
    }

    /// The last whole request.
    pub(crate) fn last_request(&self) -> Request {
        self.requests().0.pop().expect("a request")
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

impl Visit {
    /// The socket.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads the next request; none when the connection ends before it.
    pub(crate) fn request(&mut self) -> Result<Option<Request>, String> {
        loop {
            let parsed =
                self.with_received(|received, taken| parse_request(received.get(taken..).unwrap_or_default()))?;
            if let Parsed::Whole(request, length) = parsed {
                self.taken += length;
                return Ok(Some(request));
            }
            if self.receive().unwrap_or(0) == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads until the head of the next request is there, and no further than it happens to.
    pub(crate) fn head(&mut self) -> String {
        loop {
            let rest = self.with_received(|received, taken| received[taken..].to_vec());
            if let Some(end) = memchr::memmem::find(&rest, b"\r\n\r\n") {
                self.taken += end + 4;
                return String::from_utf8_lossy(&rest[..end]).into_owned();
            }
            assert!(self.receive().expect("a head") > 0, "the guard closed before a whole head");
        }
    }

    /// Reads once, whatever comes; 0 at the end.
    pub(crate) fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 65_536];
        let length = self.stream.read(&mut buffer)?;
        let number = self.number;
        let mut connections = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        connections[number].extend_from_slice(&buffer[..length]);
        Ok(length)
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The guard may have gone, which the test sees on its own side.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends an ordinary answer.
    pub(crate) fn answer(&mut self, body: &str) {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).expect("a socket");
    }

    /// Waits until the guard ends the connection.
    pub(crate) fn wait_for_end(mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        while matches!(self.receive(), Ok(1..)) {}
    }

    /// Holds the connection open until the guard ends it, without a word.
    pub(crate) fn wait_for_guard(mut self) {
        while matches!(self.receive(), Ok(1..)) {}
    }

    fn with_received<T>(&self, with: impl FnOnce(&[u8], usize) -> T) -> T {
        let connections = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        with(&connections[self.number], self.taken)
    }
}
