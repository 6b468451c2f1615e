//! What waits to be sent to one recipient, and when it is time. Pure: time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use seawall_engine::decision::Event;
use seawall_engine::units::Timestamp;

/// What follows an event within this time is told with it: a flood opens an incident, and some seconds later a rule is found.
const GATHER: Duration = Duration::from_secs(4);

/// Events that are kept; the oldest make room.
pub(super) const EVENTS_MAX: usize = 32;

/// What is older is no news.
const AGE_MAX: Duration = Duration::from_secs(12 * 3_600);

/// After a failure it is tried again after the first time, and after each further one after twice as long, up to the second.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// The waiting events of one recipient.
pub(super) struct Outbox {
    events: VecDeque<Event>,
    /// When the oldest came in that belongs to the next message.
    since: Timestamp,
    /// Events that were thrown away since the last message, and ever.
    thrown: u64,
    thrown_ever: u64,
    interval_min: Duration,
    /// Before this nothing is sent.
    not_before: Timestamp,
    failures: u32,
}

impl Outbox {
    pub(super) fn new(interval_min: Duration) -> Self {
        Self {
            events: VecDeque::new(),
            since: Timestamp::EPOCH,
            thrown: 0,
            thrown_ever: 0,
            interval_min,
            not_before: Timestamp::EPOCH,
            failures: 0,
        }
    }

    pub(super) fn add(&mut self, event: Event, now: Timestamp) {
        if self.events.is_empty() {
            self.since = now;
        }
        self.events.push_back(event);
        while self.events.len() > EVENTS_MAX {
            self.throw_oldest();
        }
    }

    /// When the next message is due, if one is.
    pub(super) fn due(&self) -> Option<Timestamp> {
        (!self.events.is_empty()).then(|| (self.since + GATHER).max(self.not_before))
    }

    /// What the next message tells, oldest first, and how many events it leaves out.
    pub(super) fn message(&mut self, now: Timestamp) -> (Vec<Event>, u64) {
        while self.events.front().is_some_and(|event| now.since(event.at) > AGE_MAX) {
            self.throw_oldest();
        }
        (self.events.iter().cloned().collect(), self.thrown)
    }

    /// The message was taken.
    pub(super) fn sent(&mut self, now: Timestamp) {
        self.events.clear();
        self.thrown = 0;
        self.failures = 0;
        self.not_before = now + self.interval_min;
    }

    /// It was not; its events are told with the next attempt.
    pub(super) fn failed(&mut self, now: Timestamp) {
        let wait = RETRY_MIN.saturating_mul(2_u32.saturating_pow(self.failures)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + wait;
    }

    pub(super) fn waiting(&self) -> u64 {
        self.events.len() as u64
    }

    pub(super) fn thrown_ever(&self) -> u64 {
        self.thrown_ever
    }

    fn throw_oldest(&mut self) {
        if self.events.pop_front().is_some() {
            self.thrown += 1;
            self.thrown_ever += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::EventKind;

    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn event(at: Timestamp) -> Event {
        Event { at, kind: EventKind::IncidentOpened, text: "incident 1 opened".to_owned() }
    }

    fn after(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn what_comes_together_is_one_message_and_the_next_waits() {
        let mut outbox = Outbox::new(Duration::from_secs(60));
        assert_eq!(outbox.due(), None);
        for seconds in 0..3 {
            outbox.add(event(after(seconds)), after(seconds));
        }
        assert_eq!(outbox.due(), Some(after(4)));
        assert_eq!(outbox.message(after(4)).0.len(), 3);
        outbox.sent(after(4));
        assert_eq!((outbox.due(), outbox.waiting()), (None, 0));
        outbox.add(event(after(5)), after(5));
        assert_eq!(outbox.due(), Some(after(64)), "a minute after the last");
    }

    #[test]
    fn failures_are_tried_again_later_and_later_and_lose_nothing() {
        let mut outbox = Outbox::new(Duration::from_secs(60));
        outbox.add(event(START), START);
        let mut now = after(4);
        let mut waits = Vec::new();
        for _ in 0..9 {
            outbox.failed(now);
            let due = outbox.due().expect("it still waits");
            waits.push(due.since(now).as_secs());
            now = due;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        outbox.add(event(now), now);
        assert_eq!(outbox.message(now).0.len(), 2, "the next attempt tells what came since");
        outbox.sent(now);
        outbox.add(event(now), now);
        outbox.failed(now + Duration::from_secs(60));
        assert_eq!(outbox.due(), Some(now + Duration::from_secs(65)), "after a success it begins anew");
    }

    #[test]
    fn a_flood_of_events_is_bounded_and_counted() {
        let mut outbox = Outbox::new(Duration::from_secs(60));
        for _ in 0..1_000 {
            outbox.add(event(START), START);
        }
        let (events, left_out) = outbox.message(after(4));
        assert_eq!((events.len(), left_out), (EVENTS_MAX, 1_000 - EVENTS_MAX as u64));
        outbox.sent(after(4));
        assert_eq!(outbox.message(after(5)), (Vec::new(), 0));
        assert_eq!(outbox.thrown_ever(), 1_000 - EVENTS_MAX as u64);
    }

    #[test]
    fn what_is_half_a_day_old_is_no_news() {
        let mut outbox = Outbox::new(Duration::from_secs(60));
        outbox.add(event(START), START);
        assert_eq!(outbox.message(after(13 * 3_600)), (Vec::new(), 1));
        assert_eq!(outbox.due(), None);
    }
}
