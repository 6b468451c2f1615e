//! Thousands of viewers of the clock at once: what each takes of memory and of a core. The guard serves its own clock; its
//! peers pass on the streams of a clock that runs on the load's core, since they have none themselves.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use socket2::{Domain, Socket, Type};

use super::contenders::{self, Contender, take_turns};
use super::figure::{Figure, Goal};
use super::load::{Load, Reuse, client_address};
use super::{Bench, check};
use crate::Failure;

/// Viewers at once, as the operator of the original had them.
const STREAMS: usize = 6_000;

/// Files that a peer needs for each stream (viewer and origin), and files for all else.
const FILES_EACH: usize = 2;
const FILES_RESERVED: usize = 512;

/// Goals for each stream, in KiB, and for all 6,000, in percent of a core.
const MEMORY_MAX: f64 = 4.0;
const CORE_MAX: f64 = 5.0;

/// After the last viewer has come: everybody is in step then.
const SETTLING_TIME: Duration = Duration::from_secs(3);

const EVENTS_AT_ONCE: usize = 1_024;

/// How often the viewers look for frames. None waits in the kernel: over loopback it would be woken in the middle of the
/// sender's system call and at its cost, for each frame, which no viewer on another machine does.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Memory and processor time of the streams.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let open_files = seawall::host::open_files::raise();
    let count = STREAMS.min(open_files.saturating_sub(FILES_RESERVED) / FILES_EACH);
    let _origin = contenders::origin(bench)?;
    let watching = bench.seconds(15).max(Duration::from_secs(5));
    let [memory, core, whole] = take_turns(bench, |contender| {
        let _streams = (contender != Contender::Seawall).then(|| contenders::streams(bench)).transpose()?;
        let program = contender.start(bench)?;
        warm(bench, contender)?;
        let before = program.resident_bytes();
        let failed = |error: io::Error| Failure::Bench(format!("the viewers failed: {error}"));
        let mut viewers = Viewers::open(contender.proxy(), host(contender), count).map_err(failed)?;
        viewers.watch(bench, SETTLING_TIME).map_err(failed)?;
        viewers.forget();
        let used_before = program.cpu_time();
        let start = bench.clock.uptime();
        viewers.watch(bench, watching).map_err(failed)?;
        let (used, elapsed) = (program.cpu_time() - used_before, bench.clock.uptime() - start);
        let resident = program.resident_bytes();
        viewers.check(contender.name(), watching)?;
        Ok([
            resident.saturating_sub(before) as f64 / 1024.0 / count as f64,
            used.as_secs_f64() / elapsed.as_secs_f64() * 100.0,
            resident as f64 / 1_048_576.0,
        ])
    })?;
    let mut notes = vec![
        "Resident memory beyond that after some thousand ordinary requests; what the kernel keeps for sockets is not in it, and is twice as \
         much for a proxy, which has two for each stream."
            .to_owned(),
    ];
    if count < STREAMS {
        notes.push(format!("Only {count} streams, since the limit on open files here is {open_files}."));
    }
    let what = format!("{count} clock streams at one frame a second");
    Ok(vec![
        Figure {
            what: format!("{what}: memory for each"),
            unit: "KiB",
            goal: Goal::AtMost(MEMORY_MAX),
            series: memory,
            notes,
        },
        Figure {
            what: format!("{what}: share of a core"),
            unit: "%",
            goal: Goal::AtMost(CORE_MAX * count as f64 / STREAMS as f64),
            series: core,
            notes: vec![],
        },
        Figure {
            what: format!("{what}: memory of the whole program"),
            unit: "MiB",
            goal: Goal::None,
            series: whole,
            notes: vec!["The guard's is mostly tables of detection, of which the others have none.".to_owned()],
        },
    ])
}

/// Lets ordinary requests pass first, from as many addresses: tables that have a fixed size become resident when they are
/// first used, and are no part of what a stream takes.
fn warm(bench: &Bench, contender: Contender) -> Result<(), Failure> {
    let load = Load {
        target: contender.proxy(),
        request: format!("GET / HTTP/1.1\r\nHost: {}\r\nUser-Agent: Mozilla/5.0\r\n\r\n", host(contender)),
        connections: 64,
        reuse: Reuse::NewConnection,
        rate: Some(3_000.0),
        duration: bench.seconds(3),
        beside: None,
        answers_at: None,
        has_core: true,
    };
    let outcome = load.run().map_err(|error| Failure::Bench(format!("the load failed: {error}")))?;
    check(contender.name(), &outcome, 200, 0.0)
}

fn host(contender: Contender) -> &'static str {
    match contender {
        Contender::Seawall => "clock.example",
        Contender::Nginx | Contender::Haproxy => "example.org",
    }
}

/// Open streams, and how often bytes have come on each.
struct Viewers {
    epoll: OwnedFd,
    sockets: Vec<TcpStream>,
    received: Vec<u32>,
    ended: usize,
}

impl Viewers {
    /// Opens the streams, each from an address of its own.
    fn open(target: SocketAddr, host: &str, count: usize) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut viewers = Self { epoll, sockets: Vec::with_capacity(count), received: vec![0; count], ended: 0 };
        let request = format!("GET /time.gif HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0\r\n\r\n");
        for number in 0..count {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(client_address(number as u32).into(), 0).into())?;
            socket.connect(&target.into())?;
            socket.set_nonblocking(true)?;
            let mut socket = TcpStream::from(socket);
            socket.write_all(request.as_bytes())?;
            epoll::add(&viewers.epoll, &socket, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
            viewers.sockets.push(socket);
            // So that the server, which shares this machine, keeps up with accepting.
            if number % 100 == 99 {
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(viewers)
    }

    /// Reads what comes for so long.
    fn watch(&mut self, bench: &Bench, time: Duration) -> io::Result<()> {
        let start = bench.clock.uptime();
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        let mut buffer = [0; 4096];
        while bench.clock.uptime() - start < time {
            events.clear();
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&Timespec::default()))?;
            if events.is_empty() {
                thread::sleep(LOOK_INTERVAL);
            }
            for event in &events {
                let number = event.data.u64() as usize;
                let (Some(socket), Some(received)) = (self.sockets.get_mut(number), self.received.get_mut(number))
                else {
                    continue;
                };
                match socket.read(&mut buffer) {
                    Ok(0) => {
                        epoll::delete(&self.epoll, &*socket)?;
                        self.ended += 1;
                    }
                    Ok(_) => *received += 1,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.received.fill(0);
    }

    /// That every viewer has had a frame a second.
    fn check(&self, name: &str, time: Duration) -> Result<(), Failure> {
        // One may fall just outside at either end.
        let expected = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).saturating_sub(2);
        let starved = self.received.iter().filter(|received| **received < expected).count();
        if starved == 0 && self.ended == 0 {
            return Ok(());
        }
        Err(Failure::Bench(format!(
            "{name} did not carry {} streams: {} ended, {starved} had fewer than {expected} frames in {time:?}",
            self.received.len(),
            self.ended
        )))
    }
}
