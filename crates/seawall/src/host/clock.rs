//! The one place that reads the clock. Everything else is told the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use seawall_engine::units::Timestamp;

/// A clock that is anchored to the wall clock once and then runs monotonically, so that time never steps back while the
/// guard runs, whatever is done to the machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock anchored now.
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
    pub fn start() -> Self {
        Self { anchor: wall_clock(), started: Instant::now() }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.anchor + self.started.elapsed()
    }

    /// How long the clock has run.
    pub fn uptime(&self) -> Duration {
        self.now().since(self.anchor)
    }
}

/// What the machine's wall clock shows, for what people read (the clock image) rather than for measuring.
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH + since_epoch
}
