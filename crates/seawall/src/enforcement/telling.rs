//! What the workers are told of their clients: whom the others drop, and whom somebody has freed. Each has a table of its own, so that
//! none waits for another.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use seawall_engine::address::ClientAddress;
use seawall_engine::decision::RuleId;
use seawall_engine::gate::Gate;
use seawall_engine::units::Timestamp;

/// What one worker can be told before it listens.
const QUEUE_TOLD: usize = 4_096;

/// How long after the last worker was told whom it is to free one may still have handed them down.
const LATE: Duration = Duration::from_secs(1);

/// What a worker is told.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// Another drops this client until then, for this rule.
    Dropped {
        /// Whom.
        client: ClientAddress,
        /// Until when.
        until: Timestamp,
        /// Why.
        rule: RuleId,
    },
    /// Somebody took back the ban of this client: what spoke against it is forgotten.
    Freed(ClientAddress),
    /// The same of all: which of them a ban of a whole network was about, no table can tell.
    FreedAll,
}

impl Told {
    /// Does in this gate what is told.
    pub fn apply(self, gate: &mut Gate, now: Timestamp) {
        match self {
            Self::Dropped { client, until, rule } => {
                gate.dropped_elsewhere(gate.clients.slot(client), until, rule, now);
            }
            Self::Freed(client) => gate.free(gate.clients.slot(client)),
            Self::FreedAll => gate.free_all(),
        }
    }
}

/// The queue to one worker.
pub fn queue() -> (rtrb::Producer<Told>, rtrb::Consumer<Told>) {
    rtrb::RingBuffer::new(QUEUE_TOLD)
}

/// All workers.
#[derive(Debug)]
pub(super) struct Telling {
    workers: Vec<Worker>,
    freed: HashSet<ClientAddress>,
    has_freed_all: bool,
    /// When there was last somebody to free.
    freed_at: Timestamp,
}

#[derive(Debug)]
struct Worker {
    queue: rtrb::Producer<Told>,
    /// Whom it is to free and has not been told of, since its queue was full.
    waiting: VecDeque<Told>,
}

impl Telling {
    pub(super) fn new(queues: Vec<rtrb::Producer<Told>>) -> Self {
        let workers = queues.into_iter().map(|queue| Worker { queue, waiting: VecDeque::new() }).collect();
        Self { workers, freed: HashSet::new(), has_freed_all: false, freed_at: Timestamp::EPOCH }
    }

    /// Tells all others whom this one drops. One whose queue is full sees for itself.
    pub(super) fn dropped(&mut self, by: usize, client: ClientAddress, until: Timestamp, rule: RuleId) {
        for (_, worker) in self.workers.iter_mut().enumerate().filter(|(other, _)| *other != by) {
            let _ = worker.queue.push(Told::Dropped { client, until, rule });
        }
    }

    /// Frees one client everywhere, or all. Nobody is forgotten, however full the queues are.
    pub(super) fn freed(&mut self, client: Option<ClientAddress>, now: Timestamp) {
        let told = client.map_or(Told::FreedAll, Told::Freed);
        match client {
            Some(client) => drop(self.freed.insert(client)),
            None => self.has_freed_all = true,
        }
        self.freed_at = now;
        self.workers.iter_mut().for_each(|worker| worker.waiting.push_back(told));
        self.go_on(now);
    }

    /// Tells what has to wait.
    pub(super) fn go_on(&mut self, now: Timestamp) {
        for Worker { queue, waiting } in &mut self.workers {
            while let Some(told) = waiting.front() {
                self.freed_at = now;
                if queue.push(*told).is_err() {
                    break;
                }
                waiting.pop_front();
            }
        }
        if (self.has_freed_all || !self.freed.is_empty()) && now > self.freed_at + LATE {
            self.freed.clear();
            self.has_freed_all = false;
        }
    }

    /// Whether this client was freed just now, so that a worker that drops it does not yet know.
    pub(super) fn is_freed(&self, client: ClientAddress) -> bool {
        self.has_freed_all || self.freed.contains(&client)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client(number: u32) -> ClientAddress {
        ClientAddress::new(Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn the_others_hear_whom_one_drops_and_all_hear_whom_somebody_frees() {
        let (queues, mut heard): (Vec<_>, Vec<_>) = (0..3).map(|_| queue()).unzip();
        let mut telling = Telling::new(queues);
        let now = Timestamp::from_seconds(1_000);
        telling.dropped(1, client(1), now + Duration::from_secs(15), RuleId(3));
        telling.freed(Some(client(1)), now);
        let mut all = |worker: usize| std::iter::from_fn(|| heard[worker].pop().ok()).collect::<Vec<_>>();
        for (worker, expected) in [(0, 2), (1, 1), (2, 2)] {
            let told = all(worker);
            assert_eq!(told.len(), expected, "{worker}: {told:?}");
            assert!(matches!(told.last(), Some(Told::Freed(freed)) if *freed == client(1)));
        }
        assert!(telling.is_freed(client(1)) && !telling.is_freed(client(2)));
        telling.go_on(now + LATE);
        assert!(telling.is_freed(client(1)));
        telling.go_on(now + LATE + Duration::from_millis(1));
        assert!(!telling.is_freed(client(1)));
        telling.freed(None, now);
        assert!(telling.is_freed(client(2)));
    }

    #[test]
    fn nobody_who_is_freed_is_lost_where_a_queue_is_full() {
        let (producer, mut heard) = queue();
        let mut telling = Telling::new(vec![producer]);
        let mut now = Timestamp::from_seconds(1_000);
        let all = QUEUE_TOLD as u32 + 10;
        (0..all).for_each(|number| telling.freed(Some(client(number)), now));
        now = now + LATE * 2;
        telling.go_on(now);
        assert!(telling.is_freed(client(all - 1)), "its worker does not know");
        let mut told = 0;
        while heard.pop().is_ok() {
            told += 1;
        }
        telling.go_on(now);
        while heard.pop().is_ok() {
            told += 1;
        }
        assert_eq!(told, all);
        telling.go_on(now + LATE * 2);
        assert!(!telling.is_freed(client(all - 1)));
    }
}
