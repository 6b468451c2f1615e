//! The operator's wish to end a drill, as signals: caught from before the guard is started until it is gone, since a
//! process that dies of a signal cannot stop what it has started.

use std::io;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, a request to terminate, or the terminal going away.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    /// Catches them from now on. Must be called where a runtime is entered.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the first.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Waits for `time`, or less when interrupted; whether it was.
    pub(crate) fn pause(&mut self, runtime: &Runtime, time: Duration) -> bool {
        runtime.block_on(async { tokio::time::timeout(time, self.next()).await.is_ok() })
    }
}
