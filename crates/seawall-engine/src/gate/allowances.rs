//! What each client has left of each limit, for the whole guard, in a table of fixed size.
//!
//! A limit of so many requests in a period is kept as one moment for each client: when its allowance will be whole again (the generic
//! cell rate algorithm, ITU-T I.371, the same as a token bucket that holds that many). Whoever is found to have sent too
//! much has then truly sent more than that many within some such period, though up to twice as many can pass in one before.
//! Since that is a single number, all workers share one table without a lock: five wrong passwords are five, over whichever
//! of them they came.
//!
//! The allowances of one client for several hosts lie near each other, so that all of them can be given back by whoever does not
//! know the hosts. When a place is full, the client that has its allowance back soonest is given up: it starts with a whole one the next time,
//! so the error is in the client's favour. Those whose allowance is withheld go last, so a flood of others does not set them
//! free. Two threads that take the same place at once may miscount one request.

use std::hash::Hasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use siphasher::sip::SipHasher13;

use super::limit::LimitId;
use crate::units::Timestamp;

const WAYS: usize = 4;

/// Places of the table; 4,096 × 4 × 16 bytes are 256 KiB.
const SETS: usize = 4_096;

/// So many bits of a tag are of the host, and over so many sets the hosts of one client are spread.
const HOST_BITS: u32 = 20;
const HOST_SETS: usize = 8;

/// How much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    /// The time after which one more request is allowed, in microseconds; at least 1.
    interval: u64,
    /// As many of these as requests are allowed at once.
    whole: u64,
}

impl Quota {
    pub(super) fn new(requests: u32, period: Duration) -> Self {
        let micros = u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
        let interval = (micros / u64::from(requests.max(1))).max(1);
        Self { interval, whole: interval.saturating_mul(u64::from(requests)) }
    }
}

/// What came of counting a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was allowed.
    Within,
    /// It was too much.
    Over,
    /// The client's allowance is withheld, since it had too much before.
    Withheld,
}

/// Who counts: keyed hash of client and limit, and beside it some of the host; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    /// What it has of client and limit.
    const fn client(self) -> u64 {
        self.0 >> HOST_BITS
    }

    /// The set in which it lies.
    const fn set(self) -> usize {
        (self.client() as usize ^ (self.0 as usize % HOST_SETS)) % SETS
    }

    /// The sets in which the client's allowances for any host lie.
    fn sets(self) -> impl Iterator<Item = usize> {
        (0..HOST_SETS).map(move |host| (self.client() as usize ^ host) % SETS)
    }
}

/// One client's allowance of one limit.
#[derive(Debug, Default)]
struct Allowance {
    tag: AtomicU64,
    /// When it is whole again, in microseconds. Further away than a whole one takes means that it is withheld.
    whole_at: AtomicU64,
}

/// The table. See the module.
#[derive(Debug)]
pub struct Allowances {
    sets: Vec<[Allowance; WAYS]>,
    seed: u64,
}

impl Allowances {
    /// A table in which all allowances are whole. Places are found by a hash keyed with `seed`, so that nobody outside can
    /// aim at one.
    pub fn new(seed: u64) -> Self {
        Self { sets: (0..SETS).map(|_| Default::default()).collect(), seed }
    }

    /// The memory that it takes, whatever it holds.
    pub const fn memory_bytes() -> usize {
        SETS * size_of::<[Allowance; WAYS]>()
    }

    /// Whose the allowance is: a client's, as its number, for a host or for all (0).
    pub(super) fn tag(&self, limit: LimitId, number: u128, host: u64) -> Tag {
        let mut hasher = SipHasher13::new_with_keys(self.seed, limit.0);
        hasher.write_u128(number);
        let host = host & ((1 << HOST_BITS) - 1);
        Tag((hasher.finish() << HOST_BITS | host).max(1))
    }

    /// Takes one request from an allowance.
    pub(super) fn take(&self, tag: Tag, quota: Quota, now: Timestamp) -> Taken {
        let now = now.as_micros();
        let Some(allowance) = self.find_or_insert(tag, now) else { return Taken::Within };
        let taken = allowance.whole_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |whole_at| {
            let next = whole_at.max(now).saturating_add(quota.interval);
            (next - now <= quota.whole).then_some(next)
        });
        match taken {
            Ok(_) => Taken::Within,
            Err(whole_at) if whole_at.saturating_sub(now) > quota.whole => Taken::Withheld,
            Err(_) => Taken::Over,
        }
    }

    /// What would come of counting one more request. Of a limit that allows none it would always be too much, but nobody is kept away
    /// who has not offended: that is only said once the allowance is withheld.
    pub(super) fn would_take(&self, tag: Tag, quota: Quota, now: Timestamp) -> Taken {
        let whole_at = self.find(tag).map_or(0, |allowance| allowance.whole_at.load(Ordering::Relaxed));
        match whole_at.saturating_sub(now.as_micros()) {
            used if used > quota.whole => Taken::Withheld,
            used if quota.whole > 0 && used > quota.whole.saturating_sub(quota.interval) => Taken::Over,
            _ => Taken::Within,
        }
    }

    /// Allows nothing for so long.
    pub(super) fn withhold(&self, tag: Tag, quota: Quota, length: Duration, now: Timestamp) {
        if let Some(allowance) = self.find_or_insert(tag, now.as_micros()) {
            let length = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
            let until = now.as_micros().saturating_add(quota.whole).saturating_add(length);
            allowance.whole_at.fetch_max(until, Ordering::Relaxed);
        }
    }

    /// Makes a client's allowances whole, whatever the host. Says whether one was withheld.
    pub(super) fn forget(&self, tag: Tag, quota: Quota, now: Timestamp) -> bool {
        let mut was_withheld = false;
        for allowance in tag.sets().filter_map(|set| self.sets.get(set)).flatten() {
            if Tag(allowance.tag.load(Ordering::Relaxed)).client() == tag.client() {
                let whole_at = allowance.whole_at.swap(0, Ordering::Relaxed);
                was_withheld |= whole_at.saturating_sub(now.as_micros()) > quota.whole;
            }
        }
        was_withheld
    }

    /// Makes all allowances whole.
    pub fn forget_all(&self) {
        for allowance in self.sets.iter().flatten() {
            allowance.whole_at.store(0, Ordering::Relaxed);
        }
    }

    fn set(&self, tag: Tag) -> Option<&[Allowance; WAYS]> {
        self.sets.get(tag.set())
    }

    fn find(&self, tag: Tag) -> Option<&Allowance> {
        self.set(tag)?.iter().find(|allowance| allowance.tag.load(Ordering::Relaxed) == tag.0)
    }

    fn find_or_insert(&self, tag: Tag, now: u64) -> Option<&Allowance> {
        if let Some(found) = self.find(tag) {
            return Some(found);
        }
        // What is whole already is as good as free.
        let least = |allowance: &&Allowance| allowance.whole_at.load(Ordering::Relaxed).max(now);
        let given_up = self.set(tag)?.iter().min_by_key(least)?;
        given_up.whole_at.store(0, Ordering::Relaxed);
        given_up.tag.store(tag.0, Ordering::Relaxed);
        Some(given_up)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);
    const LIMIT: LimitId = LimitId(1);

    fn at(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn an_allowance_comes_back_with_time_and_belongs_to_one_client_and_limit() {
        let table = Allowances::new(1);
        let quota = Quota::new(2, Duration::from_secs(10));
        let take = |client, limit, now| table.take(table.tag(limit, client, 0), quota, now);
        assert_eq!(
            [take(1, LIMIT, at(0)), take(1, LIMIT, at(0)), take(1, LIMIT, at(0))],
            [Taken::Within, Taken::Within, Taken::Over]
        );
        assert_eq!(take(2, LIMIT, at(0)), Taken::Within);
        assert_eq!(take(1, LimitId(2), at(0)), Taken::Within);
        assert_eq!(take(1, LIMIT, at(5)), Taken::Within);
        assert_eq!(take(1, LIMIT, at(5)), Taken::Over);
        // A step back in time neither brings any back nor panics.
        assert_ne!(take(1, LIMIT, START - Duration::from_secs(9)), Taken::Within);
    }

    #[test]
    fn what_is_withheld_comes_back_by_itself_and_can_be_given_back() {
        let table = Allowances::new(1);
        for requests in [0, 3] {
            let quota = Quota::new(requests, Duration::from_secs(60));
            let tag = table.tag(LimitId(u64::from(requests)), 7, 0);
            assert_eq!(table.would_take(tag, quota, at(0)), Taken::Within, "nobody has done anything yet");
            table.withhold(tag, quota, Duration::from_secs(600), at(0));
            assert_eq!(table.take(tag, quota, at(599)), Taken::Withheld);
            assert_eq!(table.would_take(tag, quota, at(599)), Taken::Withheld);
            assert_ne!(table.take(tag, quota, at(601)), Taken::Withheld);
            assert_eq!(table.would_take(tag, quota, at(700)), Taken::Within);
            table.withhold(tag, quota, Duration::from_secs(600), at(700));
            assert!(table.forget(tag, quota, at(700)));
            assert!(!table.forget(tag, quota, at(700)), "once is enough");
            assert_eq!(table.would_take(tag, quota, at(700)), Taken::Within);
        }
        let none = Quota::new(0, Duration::from_secs(60));
        assert_eq!(table.take(table.tag(LIMIT, 8, 0), none, at(0)), Taken::Over, "one is too many");
    }

    #[test]
    fn a_client_is_given_back_all_its_hosts_and_nobody_else_anything() {
        let table = Allowances::new(1);
        let quota = Quota::new(1, Duration::from_secs(60));
        let host = |number: u64| crate::gate::limit::host_mark(&number.to_le_bytes());
        let tags = |client| (0..8).map(move |number| (client, number));
        let tag = |(client, number)| table.tag(LIMIT, client, host(number));
        let withheld =
            |client| tags(client).filter(|one| table.take(tag(*one), quota, at(1)) == Taken::Withheld).count();
        for one in tags(7).chain(tags(8)) {
            table.withhold(tag(one), quota, Duration::from_secs(600), at(0));
        }
        assert_eq!((withheld(7), withheld(8)), (8, 8), "each host has a place of its own");
        assert!(table.forget(table.tag(LIMIT, 7, 0), quota, at(1)));
        assert_eq!((withheld(7), withheld(8)), (0, 8));
        table.forget_all();
        assert_eq!(withheld(8), 0);
    }

    #[test]
    fn a_flood_of_others_does_not_set_those_free_whose_allowance_is_withheld() {
        let table = Allowances::new(1);
        let quota = Quota::new(5, Duration::from_secs(60));
        let held: Vec<Tag> = (0..500).map(|client| table.tag(LIMIT, client, 0)).collect();
        held.iter().for_each(|tag| table.withhold(*tag, quota, Duration::from_secs(600), at(0)));
        for client in 1_000..200_000 {
            table.take(table.tag(LIMIT, client, 0), quota, at(1));
        }
        let still = held.iter().filter(|tag| table.take(**tag, quota, at(2)) == Taken::Withheld).count();
        // More than four of them in one place cannot be held from the beginning.
        assert!(still >= 499, "{still}");
        assert_eq!(Allowances::memory_bytes(), 256 * 1024);
    }

    #[test]
    fn threads_that_count_at_once_allow_no_more_between_them() {
        let table = Allowances::new(1);
        let quota = Quota::new(1_000, Duration::from_secs(86_400));
        let tag = table.tag(LIMIT, 7, 0);
        table.take(tag, quota, START);
        let count = || (0..1_000).filter(|_| table.take(tag, quota, START) == Taken::Within).count();
        let allowed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it counts")).sum()
        });
        assert_eq!(allowed, 999);
    }

    proptest! {
        /// Whoever is over the limit has sent more than that many within a period, and nobody sends twice as many unseen.
        #[test]
        fn nobody_is_over_a_limit_who_kept_to_it(
            requests in 1_u32..6,
            gaps in prop::collection::vec(0_u64..40, 1..200),
        ) {
            let table = Allowances::new(3);
            let period = Duration::from_secs(60);
            let quota = Quota::new(requests, period);
            let tag = table.tag(LIMIT, 7, 0);
            let (mut now, mut sent, mut allowed) = (0, VecDeque::new(), VecDeque::new());
            for gap in gaps {
                now += gap;
                sent.push_back(now);
                let is_within = table.take(tag, quota, at(now)) == Taken::Within;
                if is_within {
                    allowed.push_back(now);
                }
                // Of all times, one in which so many came within a period.
                let is_too_much = sent.iter().enumerate().any(|(index, first)| {
                    sent.get(index + requests as usize).is_some_and(|last| last - first <= period.as_secs())
                });
                prop_assert!(is_within || is_too_much);
                let recent = allowed.iter().filter(|at| now - **at < period.as_secs()).count();
                prop_assert!(recent <= 2 * requests as usize, "{recent} of {requests}");
            }
        }
    }
}
