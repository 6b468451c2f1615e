//! Tells a thread that waits that it need not any more.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whether the guard stops, or what is under way is to be left for something that cannot wait; shared by who says so and who waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<(Mutex<Told>, Condvar)>);

#[derive(Debug, Default)]
struct Told {
    is_stopping: bool,
    is_urged: bool,
}

impl Stop {
    /// The guard stops.
    pub(super) fn tell(&self) {
        self.told().is_stopping = true;
        self.0.1.notify_all();
    }

    /// What is under way is to be left.
    pub(super) fn urge(&self) {
        self.told().is_urged = true;
        self.0.1.notify_all();
    }

    /// It is left, and what cannot wait is done next.
    pub(super) fn answer_urge(&self) {
        self.told().is_urged = false;
    }

    /// Whether the guard stops.
    pub(super) fn is_told(&self) -> bool {
        self.told().is_stopping
    }

    /// Whether nothing new is to be begun.
    pub(super) fn is_cut(&self) -> bool {
        let told = self.told();
        told.is_stopping || told.is_urged
    }

    /// Waits for so long; true as soon as what is under way is to end.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let is_waiting = |told: &mut Told| !told.is_stopping && !told.is_urged;
        let waited = self.0.1.wait_timeout_while(self.told(), time, is_waiting);
        let (told, _) = waited.unwrap_or_else(PoisonError::into_inner);
        told.is_stopping || told.is_urged
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
