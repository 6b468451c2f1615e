//! The thread of one recipient: gathers, sends, tries again.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use seawall_engine::decision::Event;

use super::message::{Message, Sender as Origin};
use super::outbox::Outbox;
use super::{Notified, Send};
use crate::daemon::Snapshot;
use crate::host::clock::Clock;

/// How long to wait when nothing is due.
const IDLE: Duration = Duration::from_secs(3_600);

/// One recipient's thread.
pub(super) struct Sender {
    way: Box<dyn Send>,
    origin: Origin,
    outbox: Outbox,
    clock: Clock,
    snapshot: Arc<ArcSwap<Snapshot>>,
    state: Arc<Mutex<Notified>>,
}

impl Sender {
    pub(super) fn new(
        way: Box<dyn Send>,
        origin: Origin,
        interval_min: Duration,
        clock: Clock,
        snapshot: Arc<ArcSwap<Snapshot>>,
        state: Arc<Mutex<Notified>>,
    ) -> Self {
        Self { way, origin, outbox: Outbox::new(interval_min), clock, snapshot, state }
    }

    /// Sends until nobody can hand anything over any more; what waits then is tried once.
    pub(super) fn run(mut self, events: &Receiver<Event>) {
        loop {
            let wait = self.outbox.due().map_or(IDLE, |due| due.since(self.clock.now()));
            let is_over = match events.recv_timeout(wait) {
                Ok(event) => {
                    self.outbox.add(event, self.clock.now());
                    // What came while a message was sent is taken in before the next is.
                    events.try_iter().for_each(|event| self.outbox.add(event, self.clock.now()));
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if self.outbox.due().is_some_and(|due| is_over || due <= self.clock.now()) {
                self.send();
            }
            self.tell(|_| {});
            if is_over {
                return;
            }
        }
    }

    fn send(&mut self) {
        let (events, left_out) = self.outbox.message(self.clock.now());
        if events.is_empty() {
            return;
        }
        let message = Message::new(&self.origin, events, left_out, &self.snapshot.load());
        let result = self.way.send(&message);
        let now = self.clock.now();
        match result {
            Ok(()) => {
                self.outbox.sent(now);
                self.tell(|state| {
                    state.sent += 1;
                    state.last_sent = Some(now);
                    state.trouble = None;
                });
            }
            Err(error) => {
                self.outbox.failed(now);
                self.tell(|state| {
                    // Once for each trouble, and not for each attempt.
                    if state.trouble.as_ref() != Some(&error) {
                        tracing::warn!(recipient = %state.name, "failed to notify: {error}; it is tried again");
                    }
                    state.failed += 1;
                    state.trouble = Some(error);
                });
            }
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Notified)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.waiting = self.outbox.waiting();
        state.left_out = self.outbox.thrown_ever();
    }
}
