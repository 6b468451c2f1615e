//! What one worker knows of its clients: a set-associative table of fixed size. A flood of new clients competes for the
//! entries that other newcomers hold; clients of good standing keep theirs.

use std::hash::Hasher as _;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::address::ClientAddress;
use crate::observation::ClientHistory;
use crate::units::Timestamp;

/// Entries that share a place; a client can lie in any of them.
const WAYS: usize = 8;

/// Half the span of [`ClientHistory::requests_recent`], in seconds.
const RECENT_SECONDS: u32 = 30;

/// A client is of good standing after this many served requests, …
const GOOD_SERVED_MIN: u32 = 5;

/// … this long after it was first seen, with nothing refused, …
const GOOD_AGE_SECONDS: u32 = 60;

/// … until it has not been seen for this long.
const GOOD_IDLE_SECONDS: u32 = 24 * 60 * 60;

/// This many refusals in about a minute, all to one user agent, and nothing served, and the client is not answered at all for
/// a while: a refusal costs a hundred times what closing does. More than one agent may be more than one visitor behind one
/// address, of whom only one is refused.
const DROP_REFUSED_MIN: u16 = 32;

/// A client goes on when it was refused this often before, in about a minute.
const GOES_ON_REFUSED_MIN: u16 = 8;

/// How long it is not answered the first time; each time doubles it, up to [`DROP_SECONDS_MAX`]. Whoever else comes from the
/// address waits as long to be seen, so it is short.
const DROP_SECONDS_MIN: u32 = 10;
const DROP_SECONDS_MAX: u32 = 40;

/// The place of a client has no entry to spare: all are in use or of good standing. The client is then served without
/// being remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFull;

/// Where a client would lie: its keyed hash, computed once for all that is done for one request or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSlot {
    tag: u64,
}

impl ClientSlot {
    /// As a number that is never 0, for where a slot must be kept small.
    pub const fn into_bits(self) -> u64 {
        self.tag
    }

    /// The slot of a number from [`Self::into_bits`]; none for 0.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits == 0 { None } else { Some(Self { tag: bits }) }
    }
}

/// 40 bytes. Times are seconds since the Unix epoch, cut to 32 bits (good until 2106).
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    first_seen: u32,
    last_seen: u32,
    /// The start of the present half minute, its requests and those of the one before.
    window: u32,
    requests: u16,
    requests_before: u16,
    refused: u16,
    refused_before: u16,
    served: u32,
    connections: u32,
    drop_until: u32,
    drops: u8,
    /// [`agent_mark`] of the first user agent, and whether there was another.
    agent: u8,
    has_agents: bool,
}

/// The entries of one place. Their tags lie together in one cache line, so that a look-up touches two lines, not all.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Set {
    /// Keyed hash of each entry's client; 0 for a free entry. The addresses themselves are not kept.
    tags: [u64; WAYS],
    entries: [Entry; WAYS],
}

/// Clients, each under a keyed hash, in a fixed number of entries.
#[derive(Clone, Debug)]
pub struct ClientTable {
    sets: Vec<Set>,
    seed: u64,
}

impl ClientTable {
    /// A table for `entries` clients, rounded up to a power of two, at least 64. Places are found by a hash keyed with
    /// `seed`, so that nobody outside can aim at one.
    pub fn new(entries: usize, seed: u64) -> Self {
        let sets = entries.div_ceil(WAYS).max(8).next_power_of_two();
        Self { sets: vec![Set::default(); sets], seed }
    }

    /// The memory that it takes, whatever it holds.
    pub fn memory_bytes(&self) -> usize {
        self.sets.len() * size_of::<Set>()
    }

    /// Where `client` would lie in this table.
    pub fn slot(&self, client: ClientAddress) -> ClientSlot {
        let mut hasher = SipHasher13::new_with_keys(self.seed, 0);
        hasher.write_u128(client.client_key());
        ClientSlot { tag: hasher.finish().max(1) }
    }

    /// Whether connections of this client are closed without an answer at present.
    pub fn is_dropped(&mut self, client: ClientSlot, now: Timestamp) -> bool {
        let now = seconds(now);
        self.find(client).is_some_and(|entry| entry.drop_until > now)
    }

    /// Counts a new connection, unless the client already has `connections_max`. Every `Ok(true)` must be followed by
    /// one [`Self::disconnect`].
    ///
    /// # Errors
    /// [`TableFull`] when the client cannot be remembered; then there is nothing to disconnect.
    pub fn connect(&mut self, client: ClientSlot, connections_max: u32, now: Timestamp) -> Result<bool, TableFull> {
        let entry = self.find_or_insert(client, seconds(now)).ok_or(TableFull)?;
        if entry.connections >= connections_max {
            return Ok(false);
        }
        entry.connections += 1;
        Ok(true)
    }

    /// Undoes one [`Self::connect`].
    pub fn disconnect(&mut self, client: ClientSlot) {
        if let Some(entry) = self.find(client) {
            entry.connections = entry.connections.saturating_sub(1);
        }
    }

    /// Counts a request and says what was known of the client, and whether it is of good standing: served often enough,
    /// for long enough, with nothing refused.
    pub fn request(&mut self, client: ClientSlot, user_agent: &[u8], now: Timestamp) -> (ClientHistory, bool) {
        let now = seconds(now);
        let Some(entry) = self.find_or_insert(client, now) else { return Default::default() };
        entry.turn(now);
        let agent = agent_mark(user_agent);
        if entry.requests == 0 && entry.requests_before == 0 && entry.served == 0 && !entry.has_agents {
            entry.agent = agent;
        }
        entry.has_agents |= entry.agent != agent;
        entry.requests = entry.requests.saturating_add(1);
        let history = ClientHistory {
            requests_recent: u32::from(entry.requests) + u32::from(entry.requests_before),
            age: Duration::from_secs(u64::from(now.saturating_sub(entry.first_seen))),
            served: entry.served,
        };
        (history, entry.is_good(now))
    }

    /// Whether the client is of good standing, without counting anything.
    pub fn is_known(&mut self, client: ClientSlot, now: Timestamp) -> bool {
        let now = seconds(now);
        self.find(client).is_some_and(|entry| entry.is_good(now))
    }

    /// Notes that a request of the client was let through.
    pub fn served(&mut self, client: ClientSlot) {
        if let Some(entry) = self.find(client) {
            entry.served = entry.served.saturating_add(1);
            entry.drops = 0;
        }
    }

    /// Notes that a rule refused a request of the client, and says whether it goes on after many refusals. One that goes on
    /// for longer is dropped for a while.
    pub fn refused(&mut self, client: ClientSlot, now: Timestamp) -> bool {
        let now = seconds(now);
        let Some(entry) = self.find(client) else { return false };
        entry.turn(now);
        let goes_on = entry.refused.saturating_add(entry.refused_before) >= GOES_ON_REFUSED_MIN;
        entry.refused = entry.refused.saturating_add(1);
        if entry.served == 0
            && !entry.has_agents
            && entry.refused.saturating_add(entry.refused_before) >= DROP_REFUSED_MIN
        {
            let doubled = DROP_SECONDS_MIN.checked_shl(u32::from(entry.drops)).unwrap_or(DROP_SECONDS_MAX);
            entry.drop_until = now.saturating_add(doubled.min(DROP_SECONDS_MAX));
            entry.drops = entry.drops.saturating_add(1).min(16);
            (entry.refused, entry.refused_before) = (0, 0);
        }
        goes_on
    }

    fn place(&self, client: ClientSlot) -> usize {
        (client.tag >> 32) as usize & (self.sets.len() - 1)
    }

    fn find(&mut self, client: ClientSlot) -> Option<&mut Entry> {
        let place = self.place(client);
        let set = self.sets.get_mut(place)?;
        let index = set.tags.iter().position(|tag| *tag == client.tag)?;
        set.entries.get_mut(index)
    }

    fn find_or_insert(&mut self, client: ClientSlot, now: u32) -> Option<&mut Entry> {
        let place = self.place(client);
        let Set { tags, entries } = self.sets.get_mut(place)?;
        let index = match tags.iter().position(|tag| *tag == client.tag) {
            Some(index) => index,
            None => {
                let slots = tags.iter_mut().zip(entries.iter_mut()).enumerate();
                let (index, (tag, entry)) = slots
                    .filter(|(_, (tag, entry))| **tag == 0 || (entry.connections == 0 && !entry.is_good(now)))
                    .min_by_key(|(_, (tag, entry))| if **tag == 0 { 0 } else { entry.last_seen })?;
                *tag = client.tag;
                *entry = Entry { first_seen: now, window: now, ..Entry::default() };
                index
            }
        };
        let entry = entries.get_mut(index)?;
        entry.last_seen = now;
        Some(entry)
    }
}

impl Entry {
    /// Moves on to the half minute that `now` lies in.
    fn turn(&mut self, now: u32) {
        let passed = now.saturating_sub(self.window) / RECENT_SECONDS;
        if passed == 0 {
            return;
        }
        self.window = now;
        let recent = passed == 1;
        self.requests_before = if recent { self.requests } else { 0 };
        self.refused_before = if recent { self.refused } else { 0 };
        (self.requests, self.refused) = (0, 0);
    }

    fn is_good(&self, now: u32) -> bool {
        self.served >= GOOD_SERVED_MIN
            && self.refused == 0
            && self.refused_before == 0
            && now.saturating_sub(self.first_seen) >= GOOD_AGE_SECONDS
            && now.saturating_sub(self.last_seen) <= GOOD_IDLE_SECONDS
    }
}

/// Tells most agents apart by their length and three of their bytes, which takes no pass over them.
fn agent_mark(user_agent: &[u8]) -> u8 {
    let sample = |at: usize| user_agent.get(at).copied().unwrap_or_default();
    let last = user_agent.len().wrapping_sub(1);
    (user_agent.len() as u8).wrapping_mul(31)
        ^ sample(0)
        ^ sample(user_agent.len() / 2).rotate_left(3)
        ^ sample(last).rotate_left(5)
}

fn seconds(now: Timestamp) -> u32 {
    u32::try_from(now.as_seconds()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// Slots depend on the seed alone, so one table's slots serve any other of the same seed.
    fn client(number: u32) -> ClientSlot {
        ClientTable::new(64, SEED).slot(address(number))
    }

    const SEED: u64 = 7;

    fn address(number: u32) -> ClientAddress {
        ClientAddress::new(Ipv4Addr::from_bits(number).into())
    }

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

    #[test]
    fn requests_of_about_a_minute_are_counted() {
        let mut table = ClientTable::new(64, SEED);
        for _ in 0..9 {
            table.request(client(1), b"a/1", START);
        }
        let (history, _) = table.request(client(1), b"a/1", START);
        assert_eq!((history.requests_recent, history.age), (10, Duration::ZERO));
        assert_eq!(table.request(client(1), b"a/1", START + Duration::from_secs(40)).0.requests_recent, 11);
        assert_eq!(table.request(client(1), b"a/1", START + Duration::from_secs(200)).0.requests_recent, 1);
    }

    #[test]
    fn connections_are_limited_for_each_client() {
        let mut table = ClientTable::new(64, SEED);
        assert_eq!(table.connect(client(1), 2, START), Ok(true));
        assert_eq!(table.connect(client(1), 2, START), Ok(true));
        assert_eq!(table.connect(client(1), 2, START), Ok(false));
        assert_eq!(table.connect(client(2), 2, START), Ok(true));
        table.disconnect(client(1));
        assert_eq!(table.connect(client(1), 2, START), Ok(true));
    }

    #[test]
    fn a_flood_of_newcomers_does_not_push_out_the_good_old_ones() {
        let mut table = ClientTable::new(4096, SEED);
        let good: Vec<ClientSlot> = (0..500).map(client).collect();
        for old in &good {
            for _ in 0..GOOD_SERVED_MIN {
                table.request(*old, b"a/1", START);
                table.served(*old);
            }
        }
        let memory_bytes = table.memory_bytes();
        let later = START + Duration::from_secs(u64::from(GOOD_AGE_SECONDS));
        for newcomer in 1_000_000..2_000_000 {
            table.request(client(newcomer), b"a/1", later);
        }
        let kept = good.iter().filter(|old| table.is_known(**old, later)).count();
        assert_eq!(kept, good.len());
        assert_eq!(table.memory_bytes(), memory_bytes);
    }

    #[test]
    fn a_full_place_serves_without_remembering() {
        let mut table = ClientTable::new(64, SEED);
        let mut full = 0;
        for number in 0..1_000 {
            full += usize::from(table.connect(client(number), 1, START) == Err(TableFull));
        }
        assert_eq!(full, 1_000 - 64);
    }

    #[test]
    fn whoever_goes_on_after_refusals_is_dropped_for_longer_and_longer() {
        let mut table = ClientTable::new(64, SEED);
        let mut now = START;
        for expected in [10, 20, 40, 40] {
            for _ in 0..DROP_REFUSED_MIN {
                assert!(!table.is_dropped(client(1), now));
                table.request(client(1), b"a/1", now);
                table.refused(client(1), now);
            }
            assert!(table.is_dropped(client(1), now + Duration::from_secs(expected - 1)));
            now = now + Duration::from_secs(expected);
            assert!(!table.is_dropped(client(1), now));
        }
        // Where another agent has been seen, it may be another visitor.
        table.request(client(3), b"browser/2", now);
        for _ in 0..1_000 {
            table.request(client(3), b"a/1", now);
            table.refused(client(3), now);
        }
        assert!(!table.is_dropped(client(3), now));
        // Whoever is served at times, as some visitor behind a shared address, is never dropped unread.
        table.request(client(2), b"a/1", now);
        table.served(client(2));
        for _ in 0..1_000 {
            table.refused(client(2), now);
        }
        assert!(!table.is_dropped(client(2), now));
    }
}
