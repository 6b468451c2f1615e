//! What a connection is doing, and how long it may.

use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use super::super::deadlines::Deadline;
use super::Connection;

/// Who takes or sends less than this many bytes a second, after this part of the time that silence is borne for (10 s unless
/// configured otherwise), is cut off when others wait for a connection to a site. Bad mobile networks are faster.
const SLOW_RATE: f64 = 8.0 * 1024.0;
const SLOW_TIME_SHARE: u32 = 3;

/// With this share of the connections in use, idle ones are kept only for [`IDLE_TIME_TIGHT`].
const CONNECTIONS_TIGHT: f32 = 0.75;
const IDLE_TIME_TIGHT: Duration = Duration::from_secs(5);

/// What a connection is doing, which decides what its deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Phase {
    /// Waiting for the first byte of a request.
    Idle,
    /// Receiving a head.
    Head,
    /// A request is under way.
    Exchange,
    /// Bytes of another protocol go both ways.
    Tunnel,
}

impl Connection {
    pub(in super::super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Enters a phase and sets the deadline that belongs to it.
    pub(in super::super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        match phase {
            Phase::Idle => {
                let is_tight = self.worker.connections_used() > CONNECTIONS_TIGHT;
                let time = self.worker.limits(|limits| limits.idle_time_max);
                self.set_deadline(if is_tight { time.min(IDLE_TIME_TIGHT) } else { time });
            }
            Phase::Head => self.set_deadline(self.worker.limits(|limits| limits.head_time_max)),
            Phase::Tunnel => self.set_deadline(self.worker.limits(|limits| limits.upstream_idle_time_max)),
            Phase::Exchange => self.deadline.clear(),
        }
    }

    /// Bytes have come from the client.
    pub(in super::super) fn has_read(&self) {
        match self.phase.get() {
            Phase::Idle => self.enter(Phase::Head),
            Phase::Tunnel => self.enter(Phase::Tunnel),
            Phase::Head | Phase::Exchange => {}
        }
    }

    /// A request goes on to a site.
    pub(in super::super) fn begin_exchange(&self) {
        self.waited_since.set(None);
    }

    /// The client is waited for. What it was sent before lies in the kernel, and tells nothing of how fast it takes it.
    pub(super) fn begin_waiting(&self) {
        if self.waited_since.get().is_none() {
            self.waited_since.set(Some(self.worker.shared.clock.now()));
            self.waited_bytes.set(0);
        }
    }

    /// Bytes of the exchange's bodies have gone to the client or come from it.
    pub(in super::super) fn count_exchanged(&self, bytes: usize) {
        self.waited_bytes.set(self.waited_bytes.get() + bytes as u64);
    }

    /// Whether a client that is waited for takes or sends so little that those go first who wait for the connection to a site
    /// that it holds. A few of its kind could otherwise hold them all.
    pub(in super::super) fn keeps_others_waiting(&self) -> bool {
        let Some(since) = self.waited_since.get().filter(|_| self.phase.get() == Phase::Exchange) else { return false };
        if !self.worker.pools.are_short() {
            return false;
        }
        let time = self.worker.limits(|limits| limits.body_idle_time_max) / SLOW_TIME_SHARE;
        let elapsed = self.worker.shared.clock.now().since(since);
        elapsed > time && (self.waited_bytes.get() as f64) < SLOW_RATE * elapsed.as_secs_f64()
    }

    /// The client has taken bytes.
    pub(in super::super) fn has_written(&self, bytes: usize) {
        self.worker.traffic.bytes_sent.add(bytes as u64);
        self.count_exchanged(bytes);
        if self.is_write_blocked.replace(false) {
            self.deadline.clear();
        }
        if self.phase.get() == Phase::Tunnel {
            self.enter(Phase::Tunnel);
        }
    }

    /// The client takes no more for now.
    pub(in super::super) fn is_blocked(&self) {
        if !self.is_write_blocked.replace(true) {
            self.begin_waiting();
            self.set_deadline(self.worker.limits(|limits| limits.body_idle_time_max));
        }
    }

    /// Something is waited for from the client, or no longer.
    pub(in super::super) fn set_body_deadline(&self, is_waiting: bool) {
        match is_waiting {
            true => {
                self.begin_waiting();
                self.set_deadline(self.worker.limits(|limits| limits.body_idle_time_max));
            }
            false => self.deadline.clear(),
        }
    }

    /// Whether the connection's deadline has passed; its task is woken when it does.
    pub(in super::super) fn is_expired(&self, context: &Context<'_>) -> bool {
        self.deadline.is_expired(context)
    }

    /// The deadline for waiting on a site.
    pub(in super::super) fn upstream_deadline(&self) -> Rc<Deadline> {
        Rc::clone(self.upstream_deadline.get_or_init(|| self.worker.deadlines.add()))
    }

    pub(super) fn set_deadline(&self, time: Duration) {
        self.worker.deadlines.set(&self.deadline, time);
    }
}
