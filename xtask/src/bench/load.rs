//! The load: HTTP requests over many connections from one thread, either as fast as answers come or at a constant rate.
//!
//! At a constant rate the time of a request counts from when it was due, not from when a connection was free to carry it
//! (G. Tene, "How NOT to Measure Latency"), so that a server which stalls cannot hide what it kept waiting. Every answer's
//! status is counted, and whatever was cut off counts as failed.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use seawall::host::clock::Clock;
use seawall_engine::units::Timestamp;
use socket2::{Domain, Socket, Type};

use super::answering::Answering;

/// How long answers are waited for after the last request.
const LAST_ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

const ANSWER_BYTES_MAX: usize = 16 * 1024;

const EVENTS_AT_ONCE: usize = 256;

/// Where the events of [`Answering`] begin: no connection's generation is as high.
const ANSWERING: u64 = 1 << 63;

/// Whether a connection is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// For as long as the server lets it.
    KeepAlive,
    /// Each request comes on a connection of its own, from an address of loopback that changes.
    NewConnection,
}

/// What to send, where and how fast.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) target: SocketAddr,
    pub(crate) request: String,
    /// Connections at once, each with one request under way.
    pub(crate) connections: usize,
    pub(crate) reuse: Reuse,
    /// Requests a second; as fast as answers come when `None`.
    pub(crate) rate: Option<f64>,
    pub(crate) duration: Duration,
    /// What else is asked meanwhile, to compare.
    pub(crate) beside: Option<Beside>,
    /// Where the load is the origin as well.
    pub(crate) answers_at: Option<SocketAddr>,
    /// Whether its core is its own, so that it need not sleep between the requests of a rate.
    pub(crate) has_core: bool,
}

/// The same request sent to another server within the same load, so that whatever disturbs the machine delays both alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside {
    pub(crate) target: SocketAddr,
    /// One request in so many goes there.
    pub(crate) one_in: u64,
    /// Over so many connections of its own.
    pub(crate) connections: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Whole answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Requests that were cut off, or not answered in HTTP.
    pub(crate) failed: u64,
    /// Requests that were due and never sent because no connection was free: the rate was too high.
    pub(crate) unsent: u64,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Microseconds from when each was due to its whole answer, in order of size.
    pub(crate) delays: Vec<u32>,
    /// The same of those that went to [`Load::beside`].
    pub(crate) delays_beside: Vec<u32>,
}

impl Outcome {
    /// Whole answers.
    pub(crate) fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Whole answers with this status.
    pub(crate) fn with_status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }
}

/// The delay that this share of the requests stayed below, in microseconds. `delays` are in order of size.
pub(crate) fn percentile(delays: &[u32], share: f64) -> f64 {
    let rank = (delays.len() as f64 * share).ceil() as usize;
    delays.get(rank.saturating_sub(1)).copied().unwrap_or(0).into()
}

impl Load {
    /// Sends it all and waits for the answers.
    ///
    /// # Errors
    /// When this side fails: no socket, no port.
    pub(crate) fn run(&self) -> io::Result<Outcome> {
        let mut run = Run::new(self)?;
        run.send_all()?;
        run.outcome.delays.sort_unstable();
        run.outcome.delays_beside.sort_unstable();
        Ok(run.outcome)
    }
}

/// One connection, present or to come.
#[derive(Debug, Default)]
struct Connection {
    socket: Option<TcpStream>,
    /// Told apart from those that had the same number before, of which events may still be waiting.
    generation: u32,
    /// When the request under way was due; `None` when there is none.
    due: Option<Timestamp>,
    sent: usize,
    received: Vec<u8>,
}

struct Run<'l> {
    load: &'l Load,
    clock: Clock,
    epoll: OwnedFd,
    /// Those to the target, then those to the other one.
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    idle_beside: VecDeque<usize>,
    opened: u32,
    answering: Option<Answering>,
    outcome: Outcome,
}

impl<'l> Run<'l> {
    fn new(load: &'l Load) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let all = load.connections + load.beside.map_or(0, |beside| beside.connections);
        let listen = |address| Answering::listen(address, &epoll, ANSWERING);
        let answering = load.answers_at.map(listen).transpose()?;
        Ok(Self {
            load,
            clock: Clock::start(),
            answering,
            epoll,
            connections: (0..all).map(|_| Connection::default()).collect(),
            idle: (0..load.connections).collect(),
            idle_beside: (load.connections..all).collect(),
            opened: 0,
            outcome: Outcome::default(),
        })
    }

    fn send_all(&mut self) -> io::Result<()> {
        let start = self.clock.now();
        let end = start + self.load.duration;
        let (mut due, mut due_beside) = (VecDeque::new(), VecDeque::new());
        // Reckoned from the start each time, so that rounding to microseconds does not change the rate.
        let mut planned: u64 = 0;
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            let now = self.clock.now();
            let is_sending = now < end;
            if let Some(rate) = self.load.rate {
                // To the very end, however late it is noticed: what a busy machine could not send was due all the same.
                let until = now.min(end).since(start).as_secs_f64() * rate;
                while (planned as f64) < until {
                    let is_beside = self.load.beside.is_some_and(|beside| planned.is_multiple_of(beside.one_in));
                    let queue = if is_beside { &mut due_beside } else { &mut due };
                    queue.push_back(start + Duration::from_secs_f64(planned as f64 / rate));
                    planned += 1;
                }
            }
            match self.load.rate {
                Some(_) if is_sending => {
                    while !due.is_empty() && !self.idle.is_empty() {
                        if let (Some(due), Some(index)) = (due.pop_front(), self.idle.pop_front()) {
                            self.begin(index, due)?;
                        }
                    }
                    while !due_beside.is_empty() && !self.idle_beside.is_empty() {
                        if let (Some(due), Some(index)) = (due_beside.pop_front(), self.idle_beside.pop_front()) {
                            self.begin(index, due)?;
                        }
                    }
                }
                None if is_sending => {
                    while let Some(index) = self.idle.pop_front() {
                        self.begin(index, now)?;
                    }
                }
                _ if self.under_way() == 0 => break,
                _ if now > end + LAST_ANSWER_TIME_MAX => {
                    self.outcome.failed += self.under_way() as u64;
                    break;
                }
                _ => {}
            }
            events.clear();
            // On a core of its own it does not sleep between the requests of a rate: a timer for each and being woken for each
            // answer took nine tenths of that core, and the requests' wait for it was measured as the server's.
            let tv_nsec = match (self.load.rate, self.load.has_core) {
                (Some(_), true) => 0,
                (Some(_), false) => 1_000_000,
                (None, _) => 50_000_000,
            };
            let wait = Timespec { tv_sec: 0, tv_nsec };
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let data = event.data.u64();
                if let Some(answering) = &mut self.answering
                    && answering.go_on(data, &self.epoll)?
                {
                    continue;
                }
                let (generation, index) = ((data >> 32) as u32, data as u32);
                self.go_on(index as usize, generation);
            }
        }
        self.outcome.unsent = (due.len() + due_beside.len()) as u64;
        self.outcome.elapsed = self.clock.now().since(start);
        Ok(())
    }

    /// Requests that wait for their answers.
    fn under_way(&self) -> usize {
        self.connections.len() - self.idle.len() - self.idle_beside.len()
    }

    /// The connection has no request any more.
    fn rest(&mut self, index: usize) {
        let idle = if index < self.load.connections { &mut self.idle } else { &mut self.idle_beside };
        idle.push_back(index);
    }

    /// Begins a request on a connection without one.
    fn begin(&mut self, index: usize, due: Timestamp) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        connection.due = Some(due);
        connection.sent = 0;
        connection.received.clear();
        if connection.socket.is_none() {
            self.opened = self.opened.wrapping_add(1);
            let socket = open(self.load, self.opened, index)?;
            connection.generation = self.opened;
            let data = epoll::EventData::new_u64(u64::from(self.opened) << 32 | index as u64);
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP;
            epoll::add(&self.epoll, &socket, data, flags | epoll::EventFlags::ET)?;
            connection.socket = Some(socket);
        }
        self.send(index);
        Ok(())
    }

    /// Sends what can be sent of the request under way; false when there is still something to wait for.
    fn send(&mut self, index: usize) -> bool {
        let Some(connection) = self.connections.get_mut(index) else { return false };
        let Some(socket) = &mut connection.socket else { return false };
        let request = self.load.request.as_bytes();
        while connection.due.is_some() && connection.sent < request.len() {
            match socket.write(request.get(connection.sent..).unwrap_or_default()) {
                Ok(sent) => connection.sent += sent,
                Err(error) if is_wait(&error) => return false,
                Err(_) => {
                    self.cut_off(index);
                    return false;
                }
            }
        }
        true
    }

    /// Sends and receives what can be.
    fn go_on(&mut self, index: usize, generation: u32) {
        let is_current = self.connections.get(index).is_some_and(|connection| connection.generation == generation);
        if !is_current || !self.send(index) {
            return;
        }
        let Some(connection) = self.connections.get_mut(index) else { return };
        let Some(socket) = &mut connection.socket else { return };
        let mut buffer = [0; ANSWER_BYTES_MAX];
        loop {
            match socket.read(&mut buffer) {
                Ok(0) => return self.cut_off(index),
                Ok(length) => {
                    connection.received.extend_from_slice(buffer.get(..length).unwrap_or_default());
                    // Less than there was room for: all has been read, and more would be announced.
                    if length < buffer.len() {
                        break;
                    }
                }
                Err(error) if is_wait(&error) => break,
                Err(_) => return self.cut_off(index),
            }
        }
        let Some(due) = connection.due else {
            // Nothing was asked, so nothing may come.
            if !connection.received.is_empty() {
                self.cut_off(index);
            }
            return;
        };
        match answer(&connection.received) {
            Answer::Partial => {}
            Answer::Foreign => self.cut_off(index),
            Answer::Whole { status, closes } => {
                connection.due = None;
                connection.received.clear();
                if closes || self.load.reuse == Reuse::NewConnection {
                    connection.socket = None;
                }
                *self.outcome.statuses.entry(status).or_default() += 1;
                let delay = self.clock.now().since(due).as_micros();
                let is_beside = index >= self.load.connections;
                let delays = if is_beside { &mut self.outcome.delays_beside } else { &mut self.outcome.delays };
                delays.push(u32::try_from(delay).unwrap_or(u32::MAX));
                self.rest(index);
            }
        }
    }

    /// The connection has ended. A request that was under way has failed.
    fn cut_off(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.socket = None;
        if connection.due.take().is_some() {
            self.outcome.failed += 1;
            self.rest(index);
        }
    }
}

/// Opens a connection from an address of loopback: its own for each connection, or one out of a thousand that change, so
/// that no address runs out of ports.
fn open(load: &Load, opened: u32, index: usize) -> io::Result<TcpStream> {
    let number = match load.reuse {
        Reuse::KeepAlive => index as u32,
        Reuse::NewConnection => opened % 1_000,
    };
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::new(IpAddr::V4(client_address(number)), 0).into())?;
    socket.set_nonblocking(true)?;
    let beside = load.beside.filter(|_| index >= load.connections);
    match socket.connect(&beside.map_or(load.target, |beside| beside.target).into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// The address of a client by its number: 127.16.0.1, 127.16.0.2, … with 250 in each network of 256.
pub(crate) fn client_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x7f10_0000 | (number / 250) << 8 | (number % 250 + 1))
}

/// Whether there is nothing to do but wait: for the peer, or for the connection to be made.
fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected | io::ErrorKind::Interrupted)
}

/// What has been received of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Partial,
    Foreign,
    Whole { status: u16, closes: bool },
}

fn answer(received: &[u8]) -> Answer {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Answer::Partial,
        Err(_) => return Answer::Foreign,
    };
    let value = |name: &str| response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let length = value("content-length").and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    // Every answer that is measured has a length; one that has none cannot be told from one that was cut off.
    let (Some(status), Some(length)) = (response.code, length) else { return Answer::Foreign };
    let whole: usize = head.saturating_add(length);
    match received.len().cmp(&whole) {
        std::cmp::Ordering::Less => Answer::Partial,
        std::cmp::Ordering::Greater => Answer::Foreign,
        std::cmp::Ordering::Equal => {
            let closes = value("connection").is_some_and(|header| header.value.eq_ignore_ascii_case(b"close"));
            Answer::Whole { status, closes }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn answers_are_whole_partial_or_foreign() {
        let head = "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\n";
        for (received, expected) in [
            ("HTTP/1.1 403", Answer::Partial),
            (head, Answer::Partial),
            (&format!("{head}abc"), Answer::Whole { status: 403, closes: false }),
            (&format!("{head}abcd"), Answer::Foreign),
            ("SSH-2.0-OpenSSH\r\n", Answer::Foreign),
            ("HTTP/1.1 200 OK\r\n\r\n", Answer::Foreign),
            (
                "HTTP/1.1 421 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                Answer::Whole { status: 421, closes: true },
            ),
        ] {
            assert_eq!(answer(received.as_bytes()), expected, "{received:?}");
        }
    }

    /// A server that answers so many requests on each connection and cuts the next one off.
    fn server(answers: usize) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
                    for _ in 0..answers {
                        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                        let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                    }
                    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                });
            }
        });
        address
    }

    /// What [`load`] has to send at 1,000/s. A busy machine sends fewer of them in time, and no test may depend on that.
    const PLANNED: u64 = 200;

    fn load(target: SocketAddr, rate: f64) -> Load {
        Load {
            target,
            request: "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            connections: 4,
            reuse: Reuse::KeepAlive,
            rate: Some(rate),
            duration: Duration::from_millis(200),
            beside: None,
            answers_at: None,
            has_core: false,
        }
    }

    #[test]
    fn a_constant_rate_is_kept_and_every_answer_is_counted() {
        let outcome = load(server(usize::MAX), 1_000.0).run().expect("a run");
        assert_eq!(outcome.failed, 0);
        assert_eq!(outcome.with_status(200) + outcome.unsent, PLANNED, "{outcome:?}");
        assert_eq!(outcome.delays.len() as u64, outcome.answers());
    }

    #[test]
    fn what_is_cut_off_counts_as_failed() {
        let outcome = load(server(9), 1_000.0).run().expect("a run");
        let sent = outcome.answers() + outcome.failed;
        assert_eq!(sent + outcome.unsent, PLANNED, "{outcome:?}");
        assert!(outcome.failed.abs_diff(sent / 10) <= 4, "{outcome:?}");
    }

    #[test]
    fn some_go_to_the_other_server() {
        let beside = Beside { target: server(usize::MAX), one_in: 10, connections: 2 };
        let outcome = Load { beside: Some(beside), ..load(server(usize::MAX), 1_000.0) }.run().expect("a run");
        assert_eq!(outcome.failed, 0);
        assert_eq!(outcome.answers() + outcome.unsent, PLANNED, "{outcome:?}");
        let (target, other) = (outcome.delays.len() as u64, outcome.delays_beside.len() as u64);
        assert!(other <= PLANNED / 10 && other + outcome.unsent >= PLANNED / 10, "{outcome:?}");
        assert!(target <= PLANNED * 9 / 10 && target + outcome.unsent >= PLANNED * 9 / 10, "{outcome:?}");
    }

    #[test]
    fn the_load_answers_itself() {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = address.expect("a free port");
        let outcome = Load { answers_at: Some(address), ..load(address, 1_000.0) }.run().expect("a run");
        assert_eq!(outcome.failed, 0);
        assert_eq!(outcome.with_status(200) + outcome.unsent, PLANNED, "{outcome:?}");
    }

    #[test]
    fn percentiles_are_taken_from_above() {
        let delays: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&delays, 0.99), 99.0);
        assert_eq!(percentile(&delays, 1.0), 100.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn client_addresses_are_loopback_and_differ() {
        let addresses: std::collections::HashSet<_> = (0..6_000).map(client_address).collect();
        assert_eq!(addresses.len(), 6_000);
        assert!(addresses.iter().all(|address| address.is_loopback() && !matches!(address.octets()[3], 0 | 255)));
    }
}
