//! Requests that go on: what each takes is told to detection in parts, in the coarse sweep, so that a flood on a page that
//! hangs is seen before the page answers. Only those that were selected for detection are here.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use seawall_engine::observation::{Outcome, Progress, Spent};
use seawall_engine::units::Timestamp;

use crate::source::record::{Record, Sampler};

/// Parts that one sweep hands over at most: a fifth of what a worker does in all. When more are due the others' cost goes
/// with these.
const PARTS_MAX: usize = 100;

/// One request that goes on.
#[derive(Debug)]
pub(super) struct UnderWay {
    arrived: Timestamp,
    /// When the head of the answer came; until it does, the site works on it.
    answered: Cell<Option<Timestamp>>,
    bytes: Cell<u64>,
    progress: Cell<Progress>,
    record: RefCell<Record>,
}

impl UnderWay {
    pub(super) fn new(arrived: Timestamp, record: Record) -> Self {
        Self {
            arrived,
            answered: Cell::new(None),
            bytes: Cell::new(0),
            progress: Cell::default(),
            record: RefCell::new(record),
        }
    }

    /// The site works on it no longer.
    pub(super) fn answer(&self, now: Timestamp) {
        self.answered.set(Some(now));
    }

    /// So many more bytes of the answer are on their way.
    pub(super) fn count(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// The record of its end, with what has not been told yet.
    pub(super) fn end(&self, now: Timestamp, outcome: Outcome) -> Record {
        self.tell(now, outcome)
    }

    fn spent(&self, now: Timestamp) -> Spent {
        Spent {
            bytes: self.bytes.get(),
            upstream_time: self.answered.get().unwrap_or(now).since(self.arrived),
            connection_time: now.since(self.arrived),
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.progress.get().is_due(&self.spent(now))
    }

    fn tell(&self, now: Timestamp, outcome: Outcome) -> Record {
        let mut progress = self.progress.get();
        let cost = progress.tell(self.spent(now));
        self.progress.set(progress);
        let mut record = self.record.borrow_mut();
        record.finish(now, outcome, cost);
        record.clone()
    }
}

/// All of one worker.
#[derive(Debug, Default)]
pub(super) struct AllUnderWay {
    entries: RefCell<Vec<Rc<UnderWay>>>,
    /// Where the choice of parts begins, so that it is not always the same requests that speak for the others.
    turn: Cell<usize>,
}

impl AllUnderWay {
    /// Adds one, until its other holder lets it go.
    pub(super) fn add(&self, under_way: UnderWay) -> Rc<UnderWay> {
        let under_way = Rc::new(under_way);
        self.entries.borrow_mut().push(Rc::clone(&under_way));
        under_way
    }

    /// Called every quarter second: hands over parts of what goes on, and forgets what is over.
    pub(super) fn sweep(&self, now: Timestamp, sampler: &mut Sampler) {
        let mut entries = self.entries.borrow_mut();
        entries.retain(|under_way| Rc::strong_count(under_way) > 1);
        let due = entries.iter().filter(|under_way| under_way.is_due(now)).count();
        let interval = due.div_ceil(PARTS_MAX).max(1);
        let mut turn = self.turn.get();
        for under_way in entries.iter().filter(|under_way| under_way.is_due(now)) {
            // All have told; one of so many speaks.
            let record = under_way.tell(now, Outcome::UnderWay);
            turn = (turn + 1) % interval;
            if turn == 0 {
                sampler.push(record.standing_for(interval as f32));
            }
        }
        self.turn.set(turn);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use seawall_engine::observation::{ClientHistory, Cost, Observation, Request};

    use super::*;
    use crate::source::record::queue;

    /// The most that a request may take before its first part is told: what [`Progress`] waits for, and a sweep.
    const TOLD_WITHIN: Duration = Duration::from_millis(750);

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn under_way() -> UnderWay {
        let record = Record::new(&Observation {
            at: START,
            client: None,
            request: Request { method: b"GET", path: b"/slow", ..Request::default() },
            outcome: Outcome::Arrived,
            cost: Cost { requests: 1, ..Cost::default() },
            weight: 2.0,
            history: ClientHistory::default(),
        });
        UnderWay::new(START, record)
    }

    #[test]
    fn what_hangs_is_told_before_it_ends_and_the_end_tells_the_rest() {
        let (all, (mut sampler, mut consumer)) = (AllUnderWay::default(), queue());
        let hanging = all.add(under_way());
        let mut first = None;
        let mut told = Duration::ZERO;
        for sweep in 1..=20_u32 {
            all.sweep(START + Duration::from_millis(250) * sweep, &mut sampler);
            while let Ok(record) = consumer.pop() {
                let observation = record.observation();
                assert_eq!((observation.outcome, observation.cost.requests), (Outcome::UnderWay, 0));
                assert_eq!((observation.request.path, observation.weight), (&b"/slow"[..], 2.0));
                first.get_or_insert(observation.at);
                told += observation.cost.upstream_time;
            }
        }
        assert!(first.expect("a part").since(START) <= TOLD_WITHIN);
        hanging.answer(START + Duration::from_secs(5));
        hanging.count(700);
        let end = hanging.end(START + Duration::from_secs(7), Outcome::Served { status: 200 });
        let cost = end.observation().cost;
        assert_eq!(told + cost.upstream_time, Duration::from_secs(5));
        assert_eq!((cost.requests, cost.bytes, cost.before.upstream_time), (0, 700, told));
        drop(hanging);
        all.sweep(START + Duration::from_secs(60), &mut sampler);
        assert!(consumer.pop().is_err() && all.entries.borrow().is_empty());
    }

    #[test]
    fn many_parts_are_sampled_and_their_cost_kept() {
        let (all, (mut sampler, mut consumer)) = (AllUnderWay::default(), queue());
        let held: Vec<_> = (0..10_050).map(|_| all.add(under_way())).collect();
        let (mut records, mut told) = (0, 0.0);
        for sweep in 1..=2_u32 {
            all.sweep(START + Duration::from_millis(500) * sweep, &mut sampler);
            while let Ok(record) = consumer.pop() {
                let observation = record.observation();
                records += 1;
                told += observation.cost.upstream_time.as_secs_f64() * f64::from(observation.weight);
            }
        }
        assert!(records <= 2 * PARTS_MAX, "{records}");
        let all_of_it = 2.0 * held.len() as f64;
        assert!((told - all_of_it).abs() < 0.02 * all_of_it, "{told} of {all_of_it}");
    }
}
