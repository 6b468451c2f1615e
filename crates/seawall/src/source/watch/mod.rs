//! The source beside the traffic: the logs that another server writes, followed as they grow.
//!
//! The path of a line, in the order of the modules:
//!
//! - [`place`]: what can be watched: files by name or pattern, pipes, the journal, syslog sockets.
//! - [`files`] and [`tail`]: log files, by name or [`pattern`], through every kind of rotation; a file is known again by its [`fingerprint`], and how far it
//!   was read is kept in [`positions`]. [`stream`]: pipes, with the [`copy`] that is written on. [`journal`] (of a [`mod@unit`] that there is), [`syslog`]. Of what comes too fast a part is judged ([`sampling`]).
//! - [`sensor`]: one log, with its format, its clock and its counts (by [`voters`], where one client must not decide); [`report`] is what it tells.
//! - [`unjudged`]: standard input while the guard cannot start.
//! - [`watcher`]: reads a line, has it judged, and hands it to detection as the proxy does.
//!
//! One thread does all that, and waits in [`wake`]. Nothing that a log holds can make it panic or grow; whatever cannot be read
//! is counted.

mod access;
mod copy;
mod files;
mod fingerprint;
mod journal;
mod pattern;
pub mod place;
mod positions;
pub mod report;
mod sampling;
mod sensor;
mod stream;
mod syslog;
mod tail;
mod unit;
pub mod unjudged;
mod voters;
mod wake;
mod watcher;

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use seawall_engine::observation::log::FormatChoice;
use seawall_engine::units::Timestamp;

use crate::enforcement::HandDown;
use crate::enforcement::telling::Told;
use crate::host::clock::Clock;
use crate::privacy::Anonymizer;
use crate::source::proxy::traffic::Traffic;
use crate::source::record::Sampler;
use crate::source::shared::Shared;
use copy::PrivateCopy;
use files::Files;
use journal::Journal;
use place::Place;
use positions::{PositionFile, Positions};
use report::Report;
use sensor::Sensor;
use stream::Stream;
use syslog::Syslog;
use wake::Wake;
use watcher::Watcher;

/// How often rules are taken in and counts handed over.
const HOUSE_INTERVAL: Duration = Duration::from_millis(250);

/// How often new files are looked for and positions are kept.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What is to be watched, and how.
pub struct Watch {
    /// Where lines come from.
    pub places: Vec<Place>,
    /// The format of all of them, when it is not to be recognised.
    pub format: Option<FormatChoice>,
    /// Whether to look at files four times a second instead of being told by the kernel.
    pub polls: bool,
    /// Whether files that were never read are read from their beginnings.
    pub from_start: bool,
    /// Where standard input is written on, and what makes its addresses private.
    pub copy: Option<(PathBuf, Anonymizer)>,
}

/// Why something cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {place}: {reason}")]
pub struct WatchError {
    place: String,
    reason: String,
}

/// What the daemon tells the watching thread.
#[derive(Debug, Default)]
pub struct Orders {
    /// End.
    pub stop: AtomicBool,
    /// Write copies to files made anew.
    pub reopen: AtomicBool,
}

/// What is open.
pub struct Sources {
    files: Files,
    streams: Vec<Stream>,
    journals: Vec<Journal>,
    sockets: Vec<Syslog>,
    wake: Wake,
    positions: PositionFile,
}

/// Where the watching thread gets and puts things.
pub struct Start {
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Where it counts.
    pub traffic: Arc<Traffic>,
    /// Where its observations go.
    pub sampler: Sampler,
    /// Where clients go that are to be dropped further down.
    pub handed_down: rtrb::Producer<HandDown>,
    /// What it is told of its clients.
    pub told: rtrb::Consumer<Told>,
    /// The key of its tables.
    pub seed: u64,
    /// What it is told.
    pub orders: Arc<Orders>,
    /// What it tells.
    pub reports: Arc<ArcSwap<Vec<Report>>>,
}

impl Sources {
    /// Opens what is to be watched.
    ///
    /// # Errors
    /// What can never be watched, or not by this user. A file that is not there yet can.
    pub fn open(watch: Watch, state_directory: &Path, now: Timestamp) -> Result<Self, WatchError> {
        let positions = PositionFile::open(state_directory);
        let Watch { places, format, polls, from_start, mut copy } = watch;
        let mut files = Files::new(format.clone());
        let (mut streams, mut journals, mut sockets) = (Vec::new(), Vec::new(), Vec::new());
        for place in &places {
            let failed = |reason: String| WatchError { place: place.to_string(), reason };
            let io_failed = |error: io::Error| failed(error.to_string());
            let sensor = |kind| Sensor::new(kind, place.to_string(), format.as_ref());
            match place {
                Place::File(path) => match check(path).map_err(failed)? {
                    Kind::Regular => files.add(path),
                    Kind::Fifo => streams.push(Stream::fifo(path, sensor("pipe")).map_err(io_failed)?),
                },
                Place::Pattern(pattern) => {
                    files.add_pattern(glob::Pattern::new(pattern).map_err(|error| failed(error.to_string()))?);
                }
                Place::Input => {
                    let copy = match copy.take() {
                        Some((path, anonymizer)) => Some(PrivateCopy::open(&path, anonymizer).map_err(|error| {
                            failed(format!("its private copy {} cannot be written: {error}", path.display()))
                        })?),
                        None => None,
                    };
                    streams.push(Stream::input(sensor("pipe"), copy).map_err(io_failed)?);
                }
                Place::Journal(unit) => {
                    if let Some(unit) = unit {
                        unit::warn_if_unknown(unit);
                    }
                    let journal = Journal::open(unit.clone(), sensor("journal"), positions.saved());
                    let explain = |error| failed(format!("failed to start journalctl: {error}; is systemd installed?"));
                    journals.push(journal.map_err(explain)?);
                }
                Place::Udp(address) => sockets.push(Syslog::udp(*address, sensor("syslog")).map_err(io_failed)?),
                Place::Tcp(address) => sockets.push(Syslog::tcp(*address, sensor("syslog")).map_err(io_failed)?),
                Place::Unix(path) => sockets.push(Syslog::unix(path, sensor("syslog")).map_err(io_failed)?),
                Place::UnixStream(path) => {
                    sockets.push(Syslog::unix_stream(path, sensor("syslog")).map_err(io_failed)?);
                }
            }
        }
        files.begin(positions.saved(), from_start, now);
        Ok(Self { files, streams, journals, sockets, wake: Wake::new(polls), positions })
    }

    /// What is watched, as a person names it.
    pub fn names(&self) -> Vec<String> {
        let socket = |socket: &Syslog| {
            let name = socket.sensor().name.clone();
            match (name.split_once("://"), socket.local_address()) {
                (Some((scheme, _)), Some(address)) => format!("{scheme}://{address}"),
                _ => name,
            }
        };
        let files = self.files.sensors().map(|sensor| sensor.name.clone());
        let others = self.streams.iter().map(|stream| stream.sensor().name.clone());
        let journals = self.journals.iter().map(|journal| journal.sensor().name.clone());
        files
            .chain(self.files.unmatched().map(|(name, _)| name.to_owned()))
            .chain(others)
            .chain(journals)
            .chain(self.sockets.iter().map(socket))
            .collect()
    }

    /// Watches until told to stop, or until everything has ended. Blocks the thread.
    pub fn run(self, start: Start) {
        let mut watching = self.begin(start);
        loop {
            match watching.turn() {
                Next::Turn => {}
                Next::Wait => watching.wait(),
                Next::End => break,
            }
        }
    }

    /// Makes ready to watch.
    pub fn begin(self, start: Start) -> Watching {
        let Start { shared, traffic, sampler, handed_down, told, seed, orders, reports } = start;
        let clock = shared.clock;
        let watcher = Watcher::new(shared, traffic, sampler, (handed_down, told), seed);
        Watching { sources: self, watcher, clock, orders, reports, house_at: clock.now(), keep_at: clock.now() }
    }

    /// Whether nothing can ever come any more.
    fn is_over(&self) -> bool {
        let has_others = !self.files.is_empty() || !self.journals.is_empty() || !self.sockets.is_empty();
        !has_others && self.streams.iter().all(Stream::is_over)
    }

    fn look(&mut self, watcher: &mut Watcher, clock: &Clock) -> bool {
        let mut has_more = false;
        // Pipes first: whoever writes to one waits.
        for stream in &mut self.streams {
            has_more |= stream.look(watcher, clock.now());
        }
        for socket in &mut self.sockets {
            has_more |= socket.look(watcher, clock.now());
        }
        for journal in &mut self.journals {
            has_more |= journal.look(watcher, clock.now());
        }
        self.files.look(watcher, clock.now()) || has_more
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let streams = self.streams.iter().filter_map(Stream::descriptor);
        let journals = self.journals.iter().filter_map(Journal::descriptor);
        streams.chain(journals).chain(self.sockets.iter().flat_map(Syslog::descriptors)).collect()
    }

    /// By how much the slowest log comes late.
    fn delay(&self) -> Duration {
        let others = self.streams.iter().map(Stream::sensor).chain(self.journals.iter().map(Journal::sensor));
        let sensors = self.files.sensors().chain(others).chain(self.sockets.iter().map(Syslog::sensor));
        sensors.map(|sensor| sensor.timeline.delay()).max().unwrap_or_default()
    }

    /// What each sensor tells of itself.
    pub fn reports(&mut self, now: Timestamp) -> Vec<Report> {
        let mut reports = self.files.reports(now);
        reports.extend(self.streams.iter_mut().map(|stream| stream.report(now)));
        reports.extend(self.journals.iter_mut().map(|journal| journal.report(now)));
        reports.extend(self.sockets.iter_mut().map(|socket| socket.report(now)));
        reports
    }

    fn keep_positions(&mut self) {
        let mut positions = Positions::default();
        self.files.note_positions(&mut positions);
        self.journals.iter().for_each(|journal| journal.note_position(&mut positions));
        if let Err(error) = self.positions.save(positions) {
            tracing::warn!(%error, "failed to keep how far the logs were read; it is tried again");
        }
    }
}

/// What is open, while it is watched.
pub struct Watching {
    sources: Sources,
    watcher: Watcher,
    clock: Clock,
    orders: Arc<Orders>,
    reports: Arc<ArcSwap<Vec<Report>>>,
    /// When rules are next taken in and counts handed over.
    house_at: Timestamp,
    /// When new files are next looked for and positions are kept.
    keep_at: Timestamp,
}

/// What follows a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another at once: there is more to be read.
    Turn,
    /// Another once something has come.
    Wait,
    /// Nothing more.
    End,
}

impl Watching {
    /// Does what it is time for, and reads what has come.
    pub fn turn(&mut self) -> Next {
        let Self { sources, watcher, clock, orders, reports, house_at, keep_at } = self;
        let now = clock.now();
        if now >= *house_at {
            *house_at = now + HOUSE_INTERVAL;
            watcher.keep_house(sources.delay());
            reports.store(Arc::new(sources.reports(now)));
            if orders.reopen.swap(false, Ordering::Relaxed) {
                sources.streams.iter().for_each(Stream::reopen);
            }
        }
        if now >= *keep_at {
            *keep_at = now + KEEP_INTERVAL;
            sources.files.find_new();
            sources.files.watch(&mut sources.wake);
            sources.keep_positions();
        }
        let is_told = orders.stop.load(Ordering::Acquire);
        let has_more = sources.look(watcher, clock);
        if is_told || sources.is_over() {
            watcher.keep_house(sources.delay());
            reports.store(Arc::new(sources.reports(clock.now())));
            sources.keep_positions();
            return Next::End;
        }
        if has_more { Next::Turn } else { Next::Wait }
    }

    /// Waits until something may have come.
    fn wait(&mut self) {
        self.sources.wake.wait(&self.sources.descriptors());
    }
}

/// What can be followed at a path.
enum Kind {
    Regular,
    Fifo,
}

/// What is at `path`; why it can never be followed, or not by this user.
fn check(path: &Path) -> Result<Kind, String> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // It is read as soon as it is there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kind::Regular),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(access::denied(path)),
        Err(error) => return Err(error.to_string()),
    };
    let kind = metadata.file_type();
    if kind.is_dir() {
        let path = path.display().to_string();
        let path = path.trim_end_matches('/');
        return Err(format!("it is a directory; name the log files in it, as '{path}/*.log'"));
    }
    if kind.is_fifo() {
        return Ok(Kind::Fifo);
    }
    if !kind.is_file() {
        return Err("it is neither a file nor a named pipe".to_owned());
    }
    if tail::is_compressed(path) {
        return Err(tail::COMPRESSED.to_owned());
    }
    match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(access::denied(path)),
        Err(error) => Err(error.to_string()),
        Ok(file) if tail::begins_compressed(&file) => Err(tail::COMPRESSED.to_owned()),
        Ok(_) => Ok(Kind::Regular),
    }
}
