//! The task of each worker that lets its broadcaster send once a second, at the beginning of the wall clock's second.
//!
//! It owns the rhythm and nothing else. A pass over many viewers is cut into slices, between which everything else on the
//! worker has its turn.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use super::broadcast::{Broadcaster, Finished};
use crate::host::clock::wall_clock;

/// Viewers sent to in one go. At about 6 microseconds each, other work of the worker waits less than a millisecond.
const SLICE_VIEWERS: usize = 128;

/// How long viewers in the middle of a picture are waited for when the guard stops.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(2);

/// How often they are tried meanwhile.
const GOODBYE_PERIOD: Duration = Duration::from_millis(50);

/// Sends a picture to every viewer each second until `stop`, then ends every image, within two seconds. `report` learns of
/// every viewer that is gone, within a second of its going.
///
/// For a current-thread runtime with its timer enabled. `broadcaster` is borrowed only between two awaits, never across
/// one, so that viewers can be adopted at any time; none may be once `stop` is ready.
pub async fn run(
    broadcaster: Rc<RefCell<Broadcaster>>,
    stop: impl Future<Output = ()>,
    mut report: impl FnMut(Finished),
) {
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = tokio::time::sleep(until_next_second()) => {}
        }
        broadcaster.borrow_mut().tick(wall_clock());
        while broadcaster.borrow_mut().send_slice(SLICE_VIEWERS) {
            tokio::task::yield_now().await;
        }
        broadcaster.borrow_mut().drain_finished(&mut report);
    }
    say_goodbye(&broadcaster, &mut report).await;
}

async fn say_goodbye(broadcaster: &RefCell<Broadcaster>, report: &mut impl FnMut(Finished)) {
    let mut time_left = GOODBYE_TIME_MAX;
    loop {
        let mut unseen = broadcaster.borrow().counters().viewers;
        while unseen > 0 {
            broadcaster.borrow_mut().finish(SLICE_VIEWERS, time_left.is_zero());
            unseen = unseen.saturating_sub(SLICE_VIEWERS);
            tokio::task::yield_now().await;
        }
        broadcaster.borrow_mut().drain_finished(&mut *report);
        if broadcaster.borrow().counters().viewers == 0 {
            return;
        }
        tokio::time::sleep(GOODBYE_PERIOD).await;
        time_left = time_left.saturating_sub(GOODBYE_PERIOD);
    }
}

/// The timer rounds up to its next millisecond, so the second has begun when it fires.
fn until_next_second() -> Duration {
    Duration::from_micros(1_000_000 - wall_clock().as_micros() % 1_000_000)
}
