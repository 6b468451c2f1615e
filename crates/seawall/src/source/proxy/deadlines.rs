//! Deadlines of connections, and whose connections these are, so that those of a client can be ended. Kept coarse: one sweep every quarter second wakes what is overdue. Setting one is a store,
//! so that a request sets several for less than one timer would cost.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use seawall_engine::address::ClientAddress;
use tokio::task::AbortHandle;

/// How often the deadlines are swept, and so how late one can be noticed.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

const NEVER: u64 = u64::MAX;

/// One connection's deadline.
#[derive(Debug)]
pub(super) struct Deadline {
    /// The sweep at which it expires.
    at: Cell<u64>,
    expired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Whose connection it is; none where it carries requests of several clients, or where nobody knows yet.
    client: Cell<Option<ClientAddress>>,
    /// The task that serves it.
    task: OnceCell<AbortHandle>,
    is_cut: Cell<bool>,
}

/// All deadlines of one worker.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    sweep: Cell<u64>,
    entries: RefCell<Vec<Rc<Deadline>>>,
}

impl Deadlines {
    /// A deadline that is not set yet, swept until the last other holder lets it go.
    pub(super) fn add(&self) -> Rc<Deadline> {
        let deadline = Rc::new(Deadline {
            at: Cell::new(NEVER),
            expired: Cell::new(false),
            waker: RefCell::new(None),
            client: Cell::new(None),
            task: OnceCell::new(),
            is_cut: Cell::new(false),
        });
        self.entries.borrow_mut().push(Rc::clone(&deadline));
        deadline
    }

    /// Sets `deadline` to `after` from now.
    pub(super) fn set(&self, deadline: &Deadline, after: Duration) {
        let sweeps = after.as_millis().div_ceil(SWEEP_INTERVAL.as_millis());
        deadline.at.set(self.sweep.get() + u64::try_from(sweeps).unwrap_or(NEVER / 2));
        deadline.expired.set(false);
    }

    /// Called every [`SWEEP_INTERVAL`]: wakes what is overdue and forgets what nobody holds.
    pub(super) fn sweep(&self) {
        let now = self.sweep.get() + 1;
        self.sweep.set(now);
        self.entries.borrow_mut().retain(|deadline| {
            if deadline.at.get() < now {
                deadline.at.set(NEVER);
                deadline.expired.set(true);
                deadline.wake();
            }
            Rc::strong_count(deadline) > 1
        });
    }

    /// Ends the connections of these clients, whatever they are in the middle of.
    pub(super) fn cut(&self, is_banned: impl Fn(ClientAddress) -> bool) {
        for deadline in self.entries.borrow().iter().filter(|deadline| deadline.client.get().is_some_and(&is_banned)) {
            deadline.cut();
            if let Some(task) = deadline.task.get() {
                task.abort();
            }
        }
    }

    /// Wakes every connection, so that each notices that the worker is draining.
    pub(super) fn wake_all(&self) {
        self.entries.borrow().iter().for_each(|deadline| deadline.wake());
    }
}

impl Deadline {
    /// It is of a connection of this client alone.
    pub(super) fn belongs_to(&self, client: ClientAddress) {
        self.client.set(Some(client));
    }

    /// The connection ends with this task.
    pub(super) fn ends(&self, task: AbortHandle) {
        // A connection is served by one task for all its life.
        let _ = self.task.set(task);
    }

    /// Has the connection's socket be closed with a reset.
    pub(super) fn cut(&self) {
        self.is_cut.set(true);
    }

    /// Whether it is to be closed with a reset.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Takes the deadline away.
    pub(super) fn clear(&self) {
        self.at.set(NEVER);
        self.expired.set(false);
    }

    /// Whether the deadline has passed; the task of `context` is woken when it does, and when the worker drains.
    pub(super) fn is_expired(&self, context: &Context<'_>) -> bool {
        if self.expired.get() {
            return true;
        }
        let mut waker = self.waker.borrow_mut();
        match waker.as_ref() {
            Some(known) if known.will_wake(context.waker()) => {}
            _ => *waker = Some(context.waker().clone()),
        }
        false
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_expires_once_and_not_early() {
        let deadlines = Deadlines::default();
        let deadline = deadlines.add();
        let context = Context::from_waker(Waker::noop());
        deadlines.set(&deadline, Duration::from_secs(1));
        for _ in 0..4 {
            deadlines.sweep();
            assert!(!deadline.is_expired(&context));
        }
        deadlines.sweep();
        assert!(deadline.is_expired(&context));
        deadlines.set(&deadline, Duration::from_secs(1));
        assert!(!deadline.is_expired(&context));
        deadline.clear();
        (0..100).for_each(|_| deadlines.sweep());
        assert!(!deadline.is_expired(&context));
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let deadlines = Deadlines::default();
        drop(deadlines.add());
        let held = deadlines.add();
        deadlines.sweep();
        assert_eq!(deadlines.entries.borrow().len(), 1);
        drop(held);
    }
}
