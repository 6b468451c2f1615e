//! A relay that looks at nothing: each byte is written on as it was read, on one core, from one thread. No proxy can do less,
//! so what it adds is what the machine itself adds to anything that stands in between.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::{Timespec, epoll};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The event of the listener; those of connections count from zero.
const LISTENER: u64 = u64::MAX;

/// How soon it notices that it is to stop.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

const READ_BYTES_MAX: usize = 16 * 1024;

/// A relay at work. Dropping it stops it.
pub(crate) struct BareRelay {
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// Both ends of what it carries: an even number is a client's end, the next odd one the end at the origin.
struct Relaying {
    epoll: OwnedFd,
    listener: TcpListener,
    origin: SocketAddr,
    ends: Vec<Option<TcpStream>>,
}

impl BareRelay {
    /// Listens on `address` and relays to `origin`, on this core alone.
    ///
    /// # Errors
    /// When the address is taken.
    pub(crate) fn start(address: SocketAddr, origin: SocketAddr, core: usize) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let mut relaying = Relaying { epoll, listener, origin, ends: Vec::new() };
        let stops = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stops);
        let thread = thread::spawn(move || {
            let mut set = CpuSet::new();
            set.set(core);
            sched_setaffinity(None, &set)?;
            relaying.relay_until(&is_over)
        });
        Ok(Self { stops, thread: Some(thread) })
    }
}

impl Drop for BareRelay {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        if let Some(Err(error)) = self.thread.take().and_then(|thread| thread.join().ok()) {
            eprintln!("the bare relay failed: {error}");
        }
    }
}

impl Relaying {
    fn relay_until(&mut self, is_over: &AtomicBool) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        let mut buffer = vec![0; READ_BYTES_MAX];
        while !is_over.load(Ordering::Relaxed) {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&WAIT)) {
                Err(error) if error != rustix::io::Errno::INTR => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    end => self.pass_on(end as usize, &mut buffer),
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((client, _)) = self.listener.accept() {
            for end in [client, TcpStream::connect(self.origin)?] {
                end.set_nonblocking(true)?;
                end.set_nodelay(true)?;
                let number = epoll::EventData::new_u64(self.ends.len() as u64);
                epoll::add(&self.epoll, &end, number, epoll::EventFlags::IN)?;
                self.ends.push(Some(end));
            }
        }
        Ok(())
    }

    /// Reads what there is at one end and writes it to the other. Messages are far smaller than a socket's buffer, so that a
    /// write is whole or the connection broken.
    fn pass_on(&mut self, end: usize, buffer: &mut [u8]) {
        let other = end ^ 1;
        let Some(Some(from)) = self.ends.get_mut(end) else { return };
        let received = match from.read(buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        let message = buffer.get(..received).unwrap_or_default();
        let is_open = received > 0
            && self.ends.get_mut(other).and_then(Option::as_mut).is_some_and(|to| to.write_all(message).is_ok());
        if !is_open {
            for end in [end, other] {
                if let Some(slot) = self.ends.get_mut(end) {
                    *slot = None;
                }
            }
        }
    }
}
