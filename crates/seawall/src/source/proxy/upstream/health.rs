//! Whether the upstreams answer, for people. A worker notes it in its pools, where it costs a store, and tells the daemon
//! with each sweep.

use std::cell::{Cell, RefCell};
use std::sync::{Mutex, PoisonError};

use seawall_engine::units::Timestamp;

use crate::config::Upstream;

/// What a pool has met since the last sweep.
#[derive(Debug, Default)]
pub(super) struct Notes {
    answered: Cell<bool>,
    failures: Cell<u64>,
    error: RefCell<String>,
}

impl Notes {
    /// The upstream has answered.
    pub(super) fn answer(&self) {
        self.answered.set(true);
    }

    /// It has not, and why.
    pub(super) fn fail(&self, error: &dyn std::fmt::Display) {
        self.failures.set(self.failures.get() + 1);
        if self.failures.get() == 1 {
            *self.error.borrow_mut() = error.to_string();
        }
    }
}

/// How each upstream does, as all workers together see it.
#[derive(Debug, Default)]
pub struct Health(Mutex<Vec<UpstreamHealth>>);

/// How one upstream does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamHealth {
    /// Which.
    pub upstream: Upstream,
    /// When it answered last.
    pub answered: Option<Timestamp>,
    /// The first failure since its last answer.
    pub failing_since: Option<Timestamp>,
    /// Why it failed last.
    pub error: String,
}

impl Health {
    /// Takes what a pool has met, and empties it.
    pub(super) fn take(&self, upstream: &Upstream, notes: &Notes, now: Timestamp) {
        let (answered, failures) = (notes.answered.take(), notes.failures.take());
        if !answered && failures == 0 {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = all.iter().position(|health| health.upstream == *upstream).unwrap_or_else(|| {
            let (upstream, error) = (upstream.clone(), String::new());
            all.push(UpstreamHealth { upstream, answered: None, failing_since: None, error });
            all.len() - 1
        });
        let Some(health) = all.get_mut(index) else { return };
        if failures > 0 {
            health.failing_since.get_or_insert(now);
            health.error = notes.error.take();
        }
        if answered {
            health.answered = Some(now);
            health.failing_since = None;
        }
    }

    /// How `upstream` does; `None` before the first request to it.
    pub fn of(&self, upstream: &Upstream) -> Option<UpstreamHealth> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|health| health.upstream == *upstream).cloned()
    }

    /// Forgets upstreams that no site has any more.
    pub fn retain(&self, is_used: impl Fn(&Upstream) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|health| is_used(&health.upstream));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(port: u16) -> Upstream {
        Upstream::Http { host: "127.0.0.1".to_owned(), port }
    }

    #[test]
    fn an_upstream_fails_from_its_first_failure_until_its_next_answer() {
        let (health, notes, upstream) = (Health::default(), Notes::default(), upstream(3000));
        let at = Timestamp::from_seconds;
        health.take(&upstream, &notes, at(1));
        assert_eq!(health.of(&upstream), None);
        notes.fail(&"refused");
        notes.fail(&"reset");
        health.take(&upstream, &notes, at(2));
        notes.fail(&"reset");
        health.take(&upstream, &notes, at(3));
        let failing = health.of(&upstream).expect("it was asked");
        assert_eq!((failing.failing_since, failing.answered), (Some(at(2)), None));
        assert_eq!(failing.error, "reset");
        // One answer among failures: it is there.
        notes.fail(&"reset");
        notes.answer();
        health.take(&upstream, &notes, at(4));
        let answering = health.of(&upstream).expect("it was asked");
        assert_eq!((answering.failing_since, answering.answered), (None, Some(at(4))));
    }

    #[test]
    fn what_no_site_has_any_more_is_forgotten() {
        let (health, notes) = (Health::default(), Notes::default());
        for port in [3000, 3001] {
            notes.answer();
            health.take(&upstream(port), &notes, Timestamp::from_seconds(1));
        }
        health.retain(|used| *used == upstream(3001));
        assert_eq!(health.of(&upstream(3000)), None);
        assert!(health.of(&upstream(3001)).is_some());
    }
}
