//! Every viewer of the clock of one worker: who is sent which picture, and who is let go.
//!
//! A viewer is a socket and a cursor into pictures that all viewers share, 32 bytes in all. Once a second one picture is made
//! and one `send` is done for each viewer; there is no task, no timer and no buffer for a viewer, and its socket is in no
//! readiness list. That a viewer has left is learnt from the next `send`.
//!
//! A viewer that does not take all of a picture is owed the rest of it, since a decoder cannot do with less. It is never
//! owed more: when it has taken the rest, it is sent the newest picture, whole, and what lies between is lost to it.
//!
//! The core here is synchronous and is told the time; [`super::beat`] drives it. It never reads from a socket, never waits,
//! and never looks at who a viewer is: the caller's token comes back when the viewer is gone.
//!
//! # Framing
//! The image is sent as it is until the connection closes, with neither a length nor chunks. Chromium 156 shows every second
//! under either framing, and curl receives the same pictures; chunks would cost 6 bytes more for each (13% of the mean),
//! and HTTP/1.0 clients could not be served.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};
use seawall_engine::units::Timestamp;
use thiserror::Error;

use super::frame::{self, TimeOfDay};

/// The response head that every viewer gets, and all that a HEAD request gets.
///
/// `no-transform` and `X-Accel-Buffering: no` keep caches and proxies from waiting for the end of an image that has none.
pub const RESPONSE_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: image/gif\r\n\
    Cache-Control: no-store, no-transform\r\n\
    X-Accel-Buffering: no\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Connection: close\r\n\r\n";

/// Viewers of one worker when the caller has no better number: 64 Ki, two MiB of cursors.
pub const VIEWERS_MAX_DEFAULT: usize = 65_536;

/// What a viewer's socket may hold that its client has not yet acknowledged, in bytes; the kernel doubles it. The kernel's
/// default grows to megabytes that cannot be swapped out, for a client that may have gone out of reach.
const SEND_BUFFER_BYTES: usize = 4_096;

/// What a client may send to a socket that nobody reads, in bytes. The kernel raises it to its own minimum.
const RECEIVE_BUFFER_BYTES: usize = 1_024;

/// Bounds on the viewers of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Viewers at a time, those included whose end was not yet reported.
    pub viewers_max: usize,
    /// How long a viewer may take nothing at all before it is let go, to the second.
    pub stall_time_max: Duration,
    /// How long a viewer may stay, to the second. Its image is then ended properly; a page that wants more asks again.
    pub lifetime_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            viewers_max: VIEWERS_MAX_DEFAULT,
            stall_time_max: Duration::from_secs(30),
            lifetime_max: Duration::from_secs(6 * 3_600),
        }
    }
}

/// There is no room for another viewer. The socket comes back untouched, for another answer.
#[derive(Debug, Error)]
#[error("the clock has {viewers_max} viewers on this worker already, which is its limit")]
pub struct Full {
    /// The socket that was to be adopted.
    pub socket: OwnedFd,
    /// The limit.
    pub viewers_max: usize,
}

/// Why a viewer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its client closed the connection, or is out of reach.
    Left,
    /// It took nothing for longer than [`Limits::stall_time_max`].
    TooSlow,
    /// It had stayed for [`Limits::lifetime_max`].
    LifetimeReached,
    /// The guard stopped.
    Stopped,
    /// The caller has it ended at once.
    Cut,
}

/// A viewer that is gone, and whose socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What the caller gave to [`Broadcaster::adopt`].
    pub token: u64,
    /// Bytes sent to it, the response head included.
    pub bytes: u64,
    /// How long it stayed, to the second.
    pub lived: Duration,
    /// Why it is gone.
    pub end: End,
}

/// What the broadcaster of one worker has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Viewers now.
    pub viewers: usize,
    /// Viewers adopted.
    pub adopted_total: u64,
    /// Viewers refused since there was no room.
    pub refused_total: u64,
    /// Viewers let go since they took nothing.
    pub slow_total: u64,
    /// Whole pictures sent to viewers that had missed one.
    pub resynchronised_total: u64,
    /// Bytes sent.
    pub bytes_total: u64,
}

/// The viewers of one worker and the pictures that they share.
#[derive(Debug)]
pub struct Broadcaster {
    limits: Limits,
    /// [`RESPONSE_HEAD`] and what the image begins with.
    opening: Box<[u8]>,
    pictures: Pictures,
    /// In no order: the last takes the place of one that is gone.
    viewers: Vec<Viewer>,
    /// The next viewer of the pass under way.
    position: usize,
    finished: Vec<Finished>,
    counters: Counters,
}

impl Broadcaster {
    /// A broadcaster without viewers that shows the time of `now`.
    pub fn new(limits: Limits, now: Timestamp) -> Self {
        // A picture that a viewer holds a part of must be there until the viewer is let go.
        let kept = limits.stall_time_max.as_secs().saturating_add(2);
        Self {
            limits,
            opening: [RESPONSE_HEAD, &frame::preamble()].concat().into(),
            pictures: Pictures::new(now, usize::try_from(kept).unwrap_or(usize::MAX)),
            viewers: Vec::new(),
            position: 0,
            finished: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Takes over the socket of a client that asked for the image, and sends the response head and the present time.
    ///
    /// The socket must be non-blocking and registered with no event loop. Whatever becomes of the viewer is reported by
    /// [`Self::drain_finished`] under `token`.
    ///
    /// # Errors
    /// [`Full`], with the socket, when [`Limits::viewers_max`] is reached.
    pub fn adopt(&mut self, socket: OwnedFd, token: u64) -> Result<(), Full> {
        if self.viewers.len() + self.finished.len() >= self.limits.viewers_max {
            self.counters.refused_total += 1;
            return Err(Full { socket, viewers_max: self.limits.viewers_max });
        }
        limit_kernel_memory(&socket, self.limits.stall_time_max);
        self.counters.adopted_total += 1;
        let newest = self.pictures.newest;
        let mut viewer = Viewer {
            token,
            socket,
            adopted: newest,
            accepted: newest,
            picture: newest,
            bytes: 0,
            offset: 0,
            part: Part::Opening,
        };
        let greeting = [&*self.opening, self.pictures.get(newest).map_or(&[][..], |picture| &picture.whole)].concat();
        match send(&viewer.socket, &greeting) {
            Ok(sent) => {
                viewer.record(sent, &mut self.counters);
                (viewer.part, viewer.offset) = match sent.checked_sub(self.opening.len()) {
                    None => (Part::Opening, sent as u16),
                    Some(within) if sent < greeting.len() => (Part::Whole, within as u16),
                    Some(_) => (Part::Nothing, 0),
                };
            }
            Err(Errno::AGAIN) => {}
            Err(_) => {
                self.finished.push(viewer.finish(newest, End::Left));
                return Ok(());
            }
        }
        self.viewers.push(viewer);
        Ok(())
    }

    /// Makes the picture of `now` and begins a pass over the viewers, which [`Self::send_slice`] does. Does nothing within
    /// the same second. A pass that is not done is given up; whom it did not reach gets a whole picture.
    pub fn tick(&mut self, now: Timestamp) {
        if self.pictures.advance(now) {
            self.position = 0;
        }
    }

    /// Sends to the next `count` viewers of the pass. True while there are more.
    pub fn send_slice(&mut self, count: usize) -> bool {
        let newest = self.pictures.newest;
        for _ in 0..count {
            let Some(viewer) = self.viewers.get_mut(self.position) else { return false };
            let end = match viewer.advance(&self.opening, &self.pictures, &mut self.counters) {
                Progress::UpToDate if viewer.age(newest) < self.limits.lifetime_max => None,
                Progress::UpToDate => {
                    say_goodbye(viewer, &mut self.counters);
                    Some(End::LifetimeReached)
                }
                Progress::Stalled(time) if time <= self.limits.stall_time_max => None,
                Progress::Stalled(_) => {
                    self.counters.slow_total += 1;
                    Some(End::TooSlow)
                }
                Progress::Gone => Some(End::Left),
            };
            match end {
                None => self.position += 1,
                Some(end) => self.remove(self.position, end),
            }
        }
        self.position < self.viewers.len()
    }

    /// Ends the image of up to `count` viewers and closes their sockets. Those that still owe the rest of a picture to
    /// a full socket are kept unless `forced`. Returns how many remain.
    pub fn finish(&mut self, count: usize, forced: bool) -> usize {
        let mut kept = 0;
        for _ in 0..count {
            let Some(viewer) = self.viewers.get_mut(kept) else { break };
            match viewer.complete(&self.opening, &self.pictures, &mut self.counters) {
                Progress::UpToDate => say_goodbye(viewer, &mut self.counters),
                Progress::Stalled(_) if !forced => {
                    kept += 1;
                    continue;
                }
                Progress::Stalled(_) | Progress::Gone => {}
            }
            self.remove(kept, End::Stopped);
        }
        // The ones looked at go to the back, so that the next call begins with others.
        self.viewers.rotate_left(kept);
        self.viewers.len()
    }

    /// Ends the viewers whose sockets `is_over` names, with a reset. Whom a pass under way does not reach for that gets a whole picture
    /// with the next.
    pub fn cut(&mut self, is_over: impl Fn(&OwnedFd) -> bool) {
        let mut position = 0;
        while let Some(viewer) = self.viewers.get(position) {
            if is_over(&viewer.socket) {
                // If it cannot be set the connection is closed all the same, only less abruptly.
                let _ = sockopt::set_socket_linger(&viewer.socket, Some(Duration::ZERO));
                self.remove(position, End::Cut);
            } else {
                position += 1;
            }
        }
    }

    /// Reports every viewer that is gone since the last call.
    pub fn drain_finished(&mut self, report: impl FnMut(Finished)) {
        self.finished.drain(..).for_each(report);
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        Counters { viewers: self.viewers.len(), ..self.counters }
    }

    fn remove(&mut self, position: usize, end: End) {
        let viewer = self.viewers.swap_remove(position);
        self.finished.push(viewer.finish(self.pictures.newest, end));
    }
}

/// The pictures of the last seconds, numbered in the order in which they were made.
///
/// Time for the viewers is counted in these numbers, one a second, and so runs on evenly when the wall clock is set.
#[derive(Debug)]
struct Pictures {
    /// The newest last.
    kept: VecDeque<Picture>,
    kept_max: usize,
    /// The number of the newest.
    newest: u32,
    /// The second that the newest shows, since the epoch.
    second: u64,
}

#[derive(Debug)]
struct Picture {
    whole: Box<[u8]>,
    change: Box<[u8]>,
}

impl Pictures {
    fn new(now: Timestamp, kept_max: usize) -> Self {
        let first = Picture { whole: frame::whole(now.into()).into(), change: Box::default() };
        Self { kept: VecDeque::from([first]), kept_max, newest: 0, second: now.as_seconds() }
    }

    fn advance(&mut self, now: Timestamp) -> bool {
        if now.as_seconds() == self.second {
            return false;
        }
        let (before, after): (TimeOfDay, TimeOfDay) = (Timestamp::from_seconds(self.second).into(), now.into());
        if self.kept.len() >= self.kept_max {
            self.kept.pop_front();
        }
        self.kept.push_back(Picture { whole: frame::whole(after).into(), change: frame::change(before, after).into() });
        self.newest = self.newest.wrapping_add(1);
        self.second = now.as_seconds();
        true
    }

    fn get(&self, number: u32) -> Option<&Picture> {
        let age = self.newest.wrapping_sub(number) as usize;
        self.kept.len().checked_sub(age + 1).and_then(|position| self.kept.get(position))
    }
}

/// What a viewer is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Nothing: it has its picture.
    Nothing,
    /// The opening, with the whole picture to follow.
    Opening,
    /// The whole picture.
    Whole,
    /// The picture's difference from the one before it.
    Change,
}

#[derive(Debug)]
struct Viewer {
    token: u64,
    socket: OwnedFd,
    /// The number of the picture that was the newest when it came.
    adopted: u32,
    /// The number of the picture that was the newest when it last took a byte.
    accepted: u32,
    /// The number of the picture that it has, or is in the middle of.
    picture: u32,
    /// Bytes sent, which a lifetime at 100 bytes a second would take 500 days to bring to the limit of this type.
    bytes: u32,
    /// Where in `part` it is.
    offset: u16,
    part: Part,
}

const _: () = assert!(size_of::<Viewer>() <= 32, "a viewer is a socket and a cursor, nothing else");

/// How far a viewer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It has the newest picture.
    UpToDate,
    /// Its socket takes no more at present, and has taken nothing for this long.
    Stalled(Duration),
    /// The connection is no more.
    Gone,
}

impl Viewer {
    /// Sends the rest of what it is in the middle of, and then the newest picture: the change alone where it has the one
    /// before, and otherwise whole.
    fn advance(&mut self, opening: &[u8], pictures: &Pictures, counters: &mut Counters) -> Progress {
        match self.complete(opening, pictures, counters) {
            Progress::UpToDate => {}
            hindrance => return hindrance,
        }
        let missed = pictures.newest.wrapping_sub(self.picture);
        if missed == 0 {
            return Progress::UpToDate;
        }
        let Some(newest) = pictures.get(pictures.newest) else { return Progress::Gone };
        let (part, bytes) = if missed == 1 { (Part::Change, &newest.change) } else { (Part::Whole, &newest.whole) };
        match send(&self.socket, bytes) {
            Ok(sent) => {
                self.accepted = pictures.newest;
                self.picture = pictures.newest;
                self.record(sent, counters);
                counters.resynchronised_total += u64::from(part == Part::Whole);
                if sent == bytes.len() {
                    return Progress::UpToDate;
                }
                (self.part, self.offset) = (part, sent as u16);
                Progress::Stalled(Duration::ZERO)
            }
            // Not a byte of the picture is sent, so the viewer is not bound to it.
            Err(Errno::AGAIN) => Progress::Stalled(self.stalled(pictures.newest)),
            Err(_) => Progress::Gone,
        }
    }

    /// Sends the rest of what it is in the middle of.
    fn complete(&mut self, opening: &[u8], pictures: &Pictures, counters: &mut Counters) -> Progress {
        while self.part != Part::Nothing {
            // A picture is kept for as long as a viewer may stall on it.
            let Some(picture) = pictures.get(self.picture) else { return Progress::Stalled(Duration::MAX) };
            let (bytes, next) = match self.part {
                Part::Opening => (opening, Part::Whole),
                Part::Whole => (&*picture.whole, Part::Nothing),
                Part::Change | Part::Nothing => (&*picture.change, Part::Nothing),
            };
            let owed = bytes.get(usize::from(self.offset)..).unwrap_or_default();
            match send(&self.socket, owed) {
                Ok(sent) => {
                    self.accepted = pictures.newest;
                    self.record(sent, counters);
                    if sent < owed.len() {
                        self.offset += sent as u16;
                        return Progress::Stalled(Duration::ZERO);
                    }
                    (self.part, self.offset) = (next, 0);
                }
                Err(Errno::AGAIN) => return Progress::Stalled(self.stalled(pictures.newest)),
                Err(_) => return Progress::Gone,
            }
        }
        Progress::UpToDate
    }

    fn record(&mut self, sent: usize, counters: &mut Counters) {
        self.bytes = self.bytes.saturating_add(u32::try_from(sent).unwrap_or(u32::MAX));
        counters.bytes_total += sent as u64;
    }

    fn stalled(&self, newest: u32) -> Duration {
        Duration::from_secs(newest.wrapping_sub(self.accepted).into())
    }

    fn age(&self, newest: u32) -> Duration {
        Duration::from_secs(newest.wrapping_sub(self.adopted).into())
    }

    /// Closes the socket.
    fn finish(self, newest: u32, end: End) -> Finished {
        Finished { token: self.token, bytes: self.bytes.into(), lived: self.age(newest), end }
    }
}

/// One `send` that neither waits nor raises a signal. Never `Ok(0)`: nothing here sends nothing.
fn send(socket: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT))
}

/// Ends the image of a viewer that is owed nothing, in a way that the trailer arrives before the end of the connection.
fn say_goodbye(viewer: &mut Viewer, counters: &mut Counters) {
    if let Ok(sent) = send(&viewer.socket, frame::TRAILER) {
        viewer.record(sent, counters);
    }
    let _unsent = rustix::net::shutdown(&viewer.socket, Shutdown::Write);
    // Closing a socket with unread bytes resets the connection, which would overtake what was just sent.
    let mut unread = [0; 2_048];
    let _nothing_to_read = rustix::net::recv(&viewer.socket, &mut unread, RecvFlags::DONTWAIT);
}

/// Bounds what a viewer costs in kernel memory, and for how long when its client is out of reach.
///
/// A socket that is not TCP refuses some of this, and a viewer is worth serving without; so failures are of no interest.
fn limit_kernel_memory(socket: &OwnedFd, stall_time_max: Duration) {
    let unacknowledged_time_max = u32::try_from(stall_time_max.as_millis()).unwrap_or(u32::MAX);
    let _optional = sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER_BYTES);
    let _optional = sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BUFFER_BYTES);
    let _optional = sockopt::set_tcp_user_timeout(socket, unacknowledged_time_max);
    let _optional = sockopt::set_tcp_nodelay(socket, true);
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::os::unix::net::UnixStream;

    use super::*;

    /// 12 October 2024, 09:59:50 UTC, and some milliseconds.
    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_728_727_190 + seconds)
    }

    struct Watcher {
        stream: UnixStream,
        received: Vec<u8>,
    }

    impl Watcher {
        /// Takes everything that is there; true when the other end is closed.
        fn take(&mut self) -> bool {
            let mut piece = [0; 4_096];
            loop {
                match self.stream.read(&mut piece) {
                    Ok(0) => return true,
                    Ok(length) => self.received.extend_from_slice(&piece[..length]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                    Err(error) => panic!("{error}"),
                }
            }
        }

        /// The image, without the response head.
        fn image(&self) -> &[u8] {
            self.received.strip_prefix(RESPONSE_HEAD).expect("the response begins with the head")
        }
    }

    fn adopt(broadcaster: &mut Broadcaster, token: u64) -> Watcher {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket can be non-blocking");
        theirs.set_nonblocking(true).expect("a socket can be non-blocking");
        broadcaster.adopt(ours.into(), token).expect("there is room");
        Watcher { stream: theirs, received: Vec::new() }
    }

    fn pass(broadcaster: &mut Broadcaster, now: Timestamp) {
        broadcaster.tick(now);
        while broadcaster.send_slice(2) {}
    }

    fn drain(broadcaster: &mut Broadcaster) -> Vec<Finished> {
        let mut finished = Vec::new();
        broadcaster.drain_finished(|one| finished.push(one));
        finished
    }

    /// The delays of the pictures of an image that an independent decoder finds whole from beginning to end.
    fn delays(image: &[u8]) -> Vec<u16> {
        let mut options = gif::DecodeOptions::new();
        options.check_lzw_end_code(true);
        let mut decoder = options.read_info(image).expect("a GIF begins here");
        std::iter::from_fn(|| decoder.read_next_frame().expect("every picture is whole").map(|picture| picture.delay))
            .collect()
    }

    fn whole(now: Timestamp) -> Vec<u8> {
        frame::whole(now.into())
    }

    fn change(before: Timestamp, after: Timestamp) -> Vec<u8> {
        frame::change(before.into(), after.into())
    }

    #[test]
    fn a_viewer_gets_the_present_time_at_once_and_then_the_changes() {
        let mut broadcaster = Broadcaster::new(Limits::default(), at(0));
        let mut watcher = adopt(&mut broadcaster, 1);
        watcher.take();
        assert_eq!(watcher.image(), [frame::preamble(), whole(at(0))].concat());
        for second in 1..=11 {
            pass(&mut broadcaster, at(second));
        }
        watcher.take();
        let changes = (1..=11).flat_map(|second| change(at(second - 1), at(second)));
        assert_eq!(
            watcher.image(),
            [frame::preamble(), whole(at(0))].concat().into_iter().chain(changes).collect::<Vec<_>>()
        );
        assert_eq!(broadcaster.counters().bytes_total, watcher.received.len() as u64);
    }

    #[test]
    fn one_second_has_one_picture_however_often_it_ticks() {
        let mut broadcaster = Broadcaster::new(Limits::default(), at(0));
        let mut watcher = adopt(&mut broadcaster, 1);
        for milliseconds in [1_000, 1_400, 1_999] {
            pass(&mut broadcaster, at(0) + Duration::from_millis(milliseconds));
        }
        watcher.take();
        assert!(watcher.image().ends_with(&[whole(at(0)), change(at(0), at(1))].concat()));
    }

    #[test]
    fn a_slow_viewer_gets_the_rest_of_its_picture_and_then_the_newest_whole() {
        let mut broadcaster =
            Broadcaster::new(Limits { stall_time_max: Duration::from_secs(100_000), ..Limits::default() }, at(0));
        let mut watcher = adopt(&mut broadcaster, 1);
        let mut second = 0;
        // It takes nothing until its socket is full, which is seen by the bytes that go out no more.
        loop {
            let before = broadcaster.counters().bytes_total;
            second += 1;
            pass(&mut broadcaster, at(second));
            if broadcaster.counters().bytes_total == before {
                break;
            }
        }
        for _ in 0..20 {
            second += 1;
            pass(&mut broadcaster, at(second));
        }
        assert_eq!(broadcaster.counters().resynchronised_total, 0);
        watcher.take();
        let sent_before = watcher.received.len();
        pass(&mut broadcaster, at(second + 1));
        pass(&mut broadcaster, at(second + 2));
        watcher.take();
        assert_eq!(broadcaster.counters().resynchronised_total, 1);
        assert!(watcher.received.ends_with(&[whole(at(second + 1)), change(at(second + 1), at(second + 2))].concat()));
        assert!(watcher.received.len() > sent_before);
        assert_eq!(broadcaster.finish(1, false), 0);
        watcher.take();
        assert!(delays(watcher.image()).len() >= 4, "what was cut is whole again");
    }

    #[test]
    fn a_picture_cut_anywhere_is_completed_from_the_shared_one() {
        // What stream sockets cut where is up to the kernel, so the cursor is set by hand: in the opening, in a whole
        // picture and in a change, at every place.
        let limits = Limits::default();
        let opening_length = RESPONSE_HEAD.len() + frame::preamble().len();
        for (part, length) in [
            (Part::Opening, opening_length),
            (Part::Whole, whole(at(0)).len()),
            (Part::Change, change(at(0), at(1)).len()),
        ] {
            for offset in 0..length {
                let mut broadcaster = Broadcaster::new(limits, at(0));
                let mut watcher = adopt(&mut broadcaster, 1);
                watcher.take();
                watcher.received.clear();
                broadcaster.tick(at(1));
                let picture = u32::from(part == Part::Change);
                let viewer = &mut broadcaster.viewers[0];
                (viewer.part, viewer.offset, viewer.picture) = (part, offset as u16, picture);
                for second in 2..5 {
                    pass(&mut broadcaster, at(second));
                }
                watcher.take();
                let opening = [RESPONSE_HEAD, &frame::preamble(), &whole(at(0))].concat();
                let rest = match part {
                    Part::Opening => [&opening[offset..], &whole(at(2))].concat(),
                    Part::Whole => [&whole(at(0))[offset..], &whole(at(2))].concat(),
                    _ => [&change(at(0), at(1))[offset..], &change(at(1), at(2))].concat(),
                };
                let wanted = [rest, change(at(2), at(3)), change(at(3), at(4))].concat();
                assert_eq!(watcher.received, wanted, "{part:?} cut at {offset}");
            }
        }
    }

    #[test]
    fn a_viewer_that_takes_nothing_is_let_go_and_one_that_takes_a_little_is_not() {
        let mut broadcaster = Broadcaster::new(Limits::default(), at(0));
        let idle = adopt(&mut broadcaster, 7);
        let mut slow = adopt(&mut broadcaster, 8);
        let mut second = 0;
        while broadcaster.counters().viewers == 2 {
            second += 1;
            pass(&mut broadcaster, at(second));
            if second % 25 == 0 {
                slow.take();
            }
            assert!(second < 10_000, "the idle viewer is let go some time");
        }
        let finished = drain(&mut broadcaster);
        assert_eq!(finished.len(), 1);
        assert_eq!((finished[0].token, finished[0].end), (7, End::TooSlow));
        assert_eq!(finished[0].lived, Duration::from_secs(second));
        assert_eq!(broadcaster.counters().slow_total, 1);
        drop(idle);
        assert!(!slow.take());
    }

    #[test]
    fn a_viewer_that_left_is_noticed_and_reported_under_its_token() {
        let mut broadcaster = Broadcaster::new(Limits::default(), at(0));
        let mut watchers: Vec<_> = (0..5).map(|token| adopt(&mut broadcaster, token)).collect();
        watchers.remove(3);
        watchers.remove(0);
        pass(&mut broadcaster, at(1));
        let mut finished = drain(&mut broadcaster);
        finished.sort_by_key(|one| one.token);
        assert_eq!(
            finished.iter().map(|one| (one.token, one.end)).collect::<Vec<_>>(),
            [(0, End::Left), (3, End::Left)]
        );
        assert!(drain(&mut broadcaster).is_empty());
        assert_eq!(broadcaster.counters().viewers, 3);
        for watcher in &mut watchers {
            watcher.take();
            assert!(watcher.received.ends_with(&change(at(0), at(1))), "the others miss nothing");
        }
    }

    #[test]
    fn one_who_left_before_the_first_byte_is_reported_too() {
        let mut broadcaster = Broadcaster::new(Limits::default(), at(0));
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        drop(theirs);
        broadcaster.adopt(ours.into(), 5).expect("there is room");
        assert_eq!(drain(&mut broadcaster), [Finished { token: 5, bytes: 0, lived: Duration::ZERO, end: End::Left }]);
    }

    #[test]
    fn the_image_of_one_who_stays_for_ever_is_ended_properly() {
        let limits = Limits { lifetime_max: Duration::from_secs(4), ..Limits::default() };
        let mut broadcaster = Broadcaster::new(limits, at(0));
        let mut watcher = adopt(&mut broadcaster, 1);
        for second in 1..=3 {
            pass(&mut broadcaster, at(second));
            assert!(!watcher.take());
        }
        pass(&mut broadcaster, at(4));
        assert!(watcher.take(), "the connection is closed");
        assert_eq!(delays(watcher.image()), [2, 100, 100, 100, 100]);
        assert_eq!(watcher.image().last(), Some(&b';'));
        let bytes = watcher.received.len() as u64;
        let lived = limits.lifetime_max;
        assert_eq!(drain(&mut broadcaster), [Finished { token: 1, bytes, lived, end: End::LifetimeReached }]);
    }

    #[test]
    fn a_stop_ends_every_image_and_waits_for_nobody_when_forced() {
        let mut broadcaster = Broadcaster::new(Limits::default(), at(0));
        let mut watchers: Vec<_> = (0..5).map(|token| adopt(&mut broadcaster, token)).collect();
        let full = adopt(&mut broadcaster, 9);
        let viewer = broadcaster.viewers.last_mut().expect("it was adopted");
        while send(&viewer.socket, &[0; 4_096]).is_ok() {}
        while send(&viewer.socket, &[0]).is_ok() {}
        (viewer.part, viewer.offset) = (Part::Whole, 3);
        assert_eq!(broadcaster.finish(4, false), 3);
        assert_eq!(broadcaster.finish(4, false), 1);
        assert_eq!(broadcaster.finish(4, false), 1);
        assert_eq!(broadcaster.finish(4, true), 0);
        for watcher in &mut watchers {
            assert!(watcher.take());
            assert_eq!(delays(watcher.image()), [2]);
        }
        let finished = drain(&mut broadcaster);
        assert_eq!(finished.len(), 6);
        assert!(finished.iter().all(|one| one.end == End::Stopped));
        drop(full);
    }

    #[test]
    fn a_full_house_gives_the_socket_back() {
        let mut broadcaster = Broadcaster::new(Limits { viewers_max: 1, ..Limits::default() }, at(0));
        let watcher = adopt(&mut broadcaster, 1);
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        let full = broadcaster.adopt(ours.into(), 2).expect_err("there is no room");
        assert_eq!(broadcaster.counters().refused_total, 1);
        send(&full.socket, b"no").expect("the socket is open still");
        let mut answer = [0; 2];
        theirs.read_exact(&mut answer).expect("the caller's answer arrives");
        assert_eq!(&answer, b"no");
        drop(watcher);
        pass(&mut broadcaster, at(1));
        let (ours, _theirs) = UnixStream::pair().expect("a pair of sockets");
        broadcaster.adopt(ours.into(), 3).expect_err("an end that was not reported still counts");
        drain(&mut broadcaster);
        let (ours, _theirs) = UnixStream::pair().expect("a pair of sockets");
        broadcaster.adopt(ours.into(), 3).expect("there is room again");
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on_and_ages_nobody() {
        let limits = Limits { lifetime_max: Duration::from_secs(10), ..Limits::default() };
        let mut broadcaster = Broadcaster::new(limits, at(1_000));
        let mut watcher = adopt(&mut broadcaster, 1);
        pass(&mut broadcaster, at(3));
        pass(&mut broadcaster, at(5_000));
        assert!(!watcher.take());
        let changes = [change(at(1_000), at(3)), change(at(3), at(5_000))].concat();
        assert!(watcher.image().ends_with(&changes));
    }
}
