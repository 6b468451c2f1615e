//! Threads, and what becomes of the guard when one that it cannot do without ends before it is told to.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use super::StartError;

/// Starts a thread.
///
/// # Errors
/// When none can be had.
pub(super) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(StartError::Thread)
}

/// Starts a thread whose end is the guard's, however it comes: one that detects or obeys nothing any more would go on refusing as it
/// did last. Its service manager starts it anew.
///
/// # Errors
/// When none can be had.
pub(super) fn spawn_vital<T: Send + 'static>(
    name: &'static str,
    stop: &Arc<Notify>,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    let end = End::of(name, stop);
    spawn(name, move || {
        let _end = end;
        run()
    })
}

/// What a thread has until it has put in force again what was before a restart, or has ended.
#[derive(Clone)]
pub(super) struct Restoring {
    _held: Sender<Infallible>,
}

/// That every [`Restoring`] is gone.
pub(super) struct Restored(Receiver<Infallible>);

impl Restoring {
    pub(super) fn begin() -> (Self, Restored) {
        let (held, all) = channel();
        (Self { _held: held }, Restored(all))
    }
}

impl Restored {
    /// Waits until it is so, for this long at most, and says whether it is.
    pub(super) fn wait(&self, most: Duration) -> bool {
        matches!(self.0.recv_timeout(most), Err(RecvTimeoutError::Disconnected))
    }
}

/// Ends the guard when it is dropped.
pub(super) struct End {
    name: &'static str,
    stop: Arc<Notify>,
}

impl End {
    /// For the thread of this name to hold.
    pub(super) fn of(name: &'static str, stop: &Arc<Notify>) -> Self {
        Self { name, stop: Arc::clone(stop) }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the thread {} has failed, and the guard ends with it", self.name);
        }
        // A guard that stops already hears nothing of it.
        self.stop.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_told(stop: &Notify) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(Duration::from_millis(10), stop.notified()).await.is_ok() })
    }

    #[test]
    fn all_is_restored_once_nobody_restores() {
        let (restoring, restored) = Restoring::begin();
        let other = restoring.clone();
        drop(restoring);
        assert!(!restored.wait(Duration::from_millis(10)), "one is still at it");
        drop(other);
        assert!(restored.wait(Duration::from_secs(10)));
    }

    #[test]
    fn a_thread_that_is_needed_ends_the_guard_with_it_and_another_does_not() {
        let stop = Arc::<Notify>::default();
        let fail = || panic!("a fault of the test");
        assert!(spawn("record", fail).expect("a thread").join().is_err());
        assert!(!is_told(&stop));
        assert!(spawn_vital("detector", &stop, fail).expect("a thread").join().is_err());
        assert!(is_told(&stop));
        spawn_vital("enforcer", &stop, || {}).expect("a thread").join().expect("it ended by itself");
        assert!(is_told(&stop));
    }
}
