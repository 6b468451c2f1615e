//! What one worker knows of its clients: a set-associative table of fixed size. A flood of new clients competes for the
//! entries that other newcomers hold; clients of good standing keep theirs. What they have done speaks for or against them
//! ([`Reputation`]); those that go on after refusals are not answered for a while ([`super::drops`]).

use std::hash::Hasher as _;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use super::reputation::{
    EXEMPT_MAX, IMPATIENT, PATIENT, POSTED_TO_STATIC, REFUSED, Reputation, SERVED, SERVED_IN_NEW_HOUR, SPARED,
};
use super::revisit::{AWAY_SECONDS_MIN, Revisit};
use crate::address::ClientAddress;
use crate::decision::RuleId;
use crate::observation::ClientHistory;
use crate::units::Timestamp;

/// Entries that share a place; a client can lie in any of them.
const WAYS: usize = 8;

/// Half the span of [`ClientHistory::requests_recent`], in seconds.
pub(super) const RECENT_SECONDS: u32 = 30;

/// A client is of good standing after this many served requests, …
const GOOD_SERVED_MIN: u32 = 5;

/// … this long after it was first seen, with nothing refused, …
const GOOD_AGE_SECONDS: u32 = 60;

/// … until it has not been seen for this long.
const GOOD_IDLE_SECONDS: u32 = 24 * 60 * 60;

/// … and unless what speaks against it is more than this.
const GOOD_SUM_MAX: f32 = 0.5;

/// Until the table has met clients for this long nobody can have proven anything in it, and good standing must do.
const YOUNG_SECONDS: u32 = 4 * 60 * 60;

/// A client goes on when it was refused this often before, in about a minute.
const GOES_ON_REFUSED_MIN: u16 = 8;

/// A client of good name is exempt from rules up to this many requests in about a minute, a few pages with their parts:
/// beyond that it takes part in a flood, whatever it did before.
const EXEMPT_REQUESTS_MAX: u32 = 120;

/// The least time that an answer of the guard tells a client to wait for; the answers differ upwards.
pub const RETRY_AFTER_MIN: Duration = Duration::from_secs(5);
const RETRY_AFTER_SECONDS: u32 = RETRY_AFTER_MIN.as_secs() as u32;

/// What comes this soon after a refusal was under way already, as the parts of a page are, in seconds.
const UNDER_WAY_SECONDS: u32 = 1;

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

/// 56 bytes. Times are seconds since the Unix epoch, cut to 32 bits (good until 2106).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) first_seen: u32,
    pub(super) last_seen: u32,
    /// The start of the present half minute, its requests and those of the one before.
    pub(super) window: u32,
    requests: u16,
    requests_before: u16,
    pub(super) refused: u16,
    pub(super) refused_before: u16,
    served: u16,
    connections: u16,
    pub(super) reputation: Reputation,
    /// Until when it has been told to wait; 0 when it has not.
    wait_until: u32,
    /// The last hour in which it was served, cut to 16 bits.
    served_hour: u16,
    pub(super) revisit: Revisit,
    /// Until when its connections are not answered, how often that was so, and the [`rule_mark`] of the rule that said so.
    pub(super) drop_until: u32,
    pub(super) drops: u8,
    pub(super) drop_rule: u8,
    /// [`agent_mark`] of the first user agent.
    agent: u8,
    flags: Flags,
}

/// What is true or false of a client.
#[derive(Clone, Copy, Debug, Default)]
struct Flags(u8);

impl Flags {
    /// More than one user agent: perhaps more than one visitor behind one address.
    const AGENTS: u8 = 1;
    /// It was served in this half minute, and in the one before; in line, since it was refused.
    const SERVED: u8 = 2;
    const SERVED_BEFORE: u8 = 4;
    /// It did not wait when it was told to.
    const IMPATIENT: u8 = 8;

    const fn has(self, any: u8) -> bool {
        self.0 & any != 0
    }

    const fn set(&mut self, flag: u8, to: bool) {
        self.0 = if to { self.0 | flag } else { self.0 & !flag };
    }
}

/// What is known of a client that asks for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acquaintance {
    /// For detection, and for rules.
    pub history: ClientHistory,
    /// Whether a rule that matches it is likely wrong: it is of good standing, and was so in several different hours where the
    /// table is old enough to know.
    pub is_known: bool,
    /// Whether it is of good standing and was so in several different hours, however young the table.
    pub is_proven: bool,
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
    /// When it met its first client, in seconds; 0 before.
    begun: u32,
}

impl ClientTable {
    /// A table for `entries` clients, rounded up to a power of two, at least 64. Places are found by a hash keyed with
    /// `seed`, so that nobody outside can aim at one.
    pub fn new(entries: usize, seed: u64) -> Self {
        let sets = entries.div_ceil(WAYS).max(8).next_power_of_two();
        Self { sets: vec![Set::default(); sets], seed, begun: 0 }
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

    /// Counts a new connection, unless the client already has `connections_max`. Every `Ok(true)` must be followed by
    /// one [`Self::disconnect`].
    ///
    /// # Errors
    /// [`TableFull`] when the client cannot be remembered; then there is nothing to disconnect.
    pub fn connect(&mut self, client: ClientSlot, connections_max: u32, now: Timestamp) -> Result<bool, TableFull> {
        let entry = self.find_or_insert(client, seconds(now)).ok_or(TableFull)?;
        if u32::from(entry.connections) >= connections_max.min(u32::from(u16::MAX)) {
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

    /// Counts a request and says what was known of the client.
    pub fn request(&mut self, client: ClientSlot, user_agent: &[u8], now: Timestamp) -> Acquaintance {
        let now = seconds(now);
        if self.begun == 0 {
            self.begun = now;
        }
        let is_young = now.saturating_sub(self.begun) < YOUNG_SECONDS;
        let Some(entry) = self.find_or_insert(client, now) else { return Acquaintance::default() };
        entry.turn(now);
        entry.note_agent(agent_mark(user_agent));
        entry.note_patience(now);
        entry.requests = entry.requests.saturating_add(1);
        let requests_recent = u32::from(entry.requests) + u32::from(entry.requests_before);
        let history = ClientHistory {
            requests_recent,
            age: Duration::from_secs(u64::from(now.saturating_sub(entry.first_seen))),
            served: u32::from(entry.served),
            is_of_good_name: requests_recent <= EXEMPT_REQUESTS_MAX && entry.reputation.sum(now) < EXEMPT_MAX,
        };
        let is_good = entry.is_good(now);
        let is_proven = is_good && entry.reputation.is_of_long_standing(now);
        Acquaintance { history, is_known: is_proven || (is_good && is_young), is_proven }
    }

    /// Whether the client is of good standing: served often enough, for long enough, with nothing refused. Counts nothing.
    pub fn is_known(&mut self, client: ClientSlot, now: Timestamp) -> bool {
        let now = seconds(now);
        self.find(client).is_some_and(|entry| entry.is_good(now))
    }

    /// Notes that a request of the client was let through.
    pub fn served(&mut self, client: ClientSlot, now: Timestamp) {
        let now = seconds(now);
        let Some(entry) = self.find(client) else { return };
        // What a banned client gets as a probe is no sign of a visitor.
        if entry.drop_until > now {
            return;
        }
        entry.turn(now);
        entry.served = entry.served.saturating_add(1);
        entry.flags.set(Flags::SERVED, true);
        entry.reputation.add(SERVED, now);
        let hour = (now / 3600) as u16;
        if entry.served_hour != hour {
            entry.served_hour = hour;
            entry.reputation.add(SERVED_IN_NEW_HOUR, now);
        }
        if entry.drops > 0 && entry.reputation.sum(now) <= 0.0 {
            entry.drops = 0;
        }
    }

    /// Notes that a rule refused a request of the client, and says whether it goes on after many refusals. One that goes on
    /// for longer is dropped for a while.
    pub fn refused(&mut self, client: ClientSlot, rule: RuleId, now: Timestamp) -> bool {
        if let Some(entry) = self.find(client) {
            entry.turn(seconds(now));
            if entry.refused == 0 && entry.refused_before == 0 {
                // What was served before the first refusal may be the flood itself, while no rule met it yet.
                entry.flags.set(Flags::SERVED, false);
                entry.flags.set(Flags::SERVED_BEFORE, false);
            }
        }
        self.would_be_refused(client, rule, now)
    }

    /// The same beside the traffic, where nobody has told the client anything: whatever was served in the last minute speaks for it.
    pub(super) fn would_be_refused(&mut self, client: ClientSlot, rule: RuleId, now: Timestamp) -> bool {
        let now = seconds(now);
        let Some(entry) = self.find(client) else { return false };
        entry.turn(now);
        let goes_on = entry.refused.saturating_add(entry.refused_before) >= GOES_ON_REFUSED_MIN;
        entry.refused = entry.refused.saturating_add(1);
        entry.reputation.add(REFUSED, now);
        if !entry.may_be_several() {
            entry.drop_if_due(rule, now);
        }
        goes_on
    }

    /// Notes that a rule matched a request of the client and was not applied, for its good name.
    pub fn spared(&mut self, client: ClientSlot, now: Timestamp) {
        if let Some(entry) = self.find(client) {
            entry.reputation.add(SPARED, seconds(now));
        }
    }

    /// Whether more than one visitor may be behind the client, or one of long standing: what it does too much of is no reason to
    /// keep it away from everything.
    pub(super) fn is_to_be_spared(&mut self, client: ClientSlot, now: Timestamp) -> bool {
        let now = seconds(now);
        self.find(client).is_some_and(|entry| {
            entry.has_agents() || (entry.is_good(now) && entry.reputation.is_of_long_standing(now))
        })
    }

    /// For how long the client is to be kept away that has gone beyond a limit.
    pub(super) fn time_away(&mut self, client: ClientSlot, now: Timestamp) -> Duration {
        let now = seconds(now);
        let seconds = self
            .find(client)
            .map_or(AWAY_SECONDS_MIN, |entry| entry.revisit.away_seconds(now.saturating_sub(entry.first_seen)));
        Duration::from_secs(u64::from(seconds))
    }

    /// Notes that the client is kept away, so that its next visit is a return.
    pub(super) fn kept_away(&mut self, client: ClientSlot) {
        if let Some(entry) = self.find(client) {
            entry.drops = entry.drops.saturating_add(1).min(16);
        }
    }

    /// Notes that the client was told to come back later: [`RETRY_AFTER_MIN`] or more.
    pub fn told_to_wait(&mut self, client: ClientSlot, now: Timestamp) {
        let now = seconds(now);
        if let Some(entry) = self.find(client).filter(|entry| entry.wait_until <= now) {
            entry.wait_until = now.saturating_add(RETRY_AFTER_SECONDS);
            entry.flags.set(Flags::IMPATIENT, false);
        }
    }

    /// Notes that the client posted to a static file.
    pub fn posted_to_static(&mut self, client: ClientSlot, now: Timestamp) {
        if let Some(entry) = self.find(client) {
            entry.reputation.add(POSTED_TO_STATIC, seconds(now));
        }
    }

    pub(super) fn entries(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.sets.iter_mut().flat_map(|set| &mut set.entries)
    }

    fn place(&self, client: ClientSlot) -> usize {
        (client.tag >> 32) as usize & (self.sets.len() - 1)
    }

    pub(super) fn find(&mut self, client: ClientSlot) -> Option<&mut Entry> {
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
                *entry = Entry { first_seen: now, last_seen: now, window: now, ..Entry::default() };
                index
            }
        };
        let entry = entries.get_mut(index)?;
        entry.seen(now);
        Some(entry)
    }
}

impl Entry {
    /// Notes when it was last seen, and whether that was another visit.
    pub(super) fn seen(&mut self, now: u32) -> bool {
        let pause = now.saturating_sub(self.last_seen);
        self.last_seen = now;
        self.revisit.pause(pause, self.drops > 0)
    }

    /// Moves on to the half minute that `now` lies in.
    pub(super) fn turn(&mut self, now: u32) {
        let passed = now.saturating_sub(self.window) / RECENT_SECONDS;
        if passed == 0 {
            return;
        }
        self.window = now;
        let recent = passed == 1;
        self.requests_before = if recent { self.requests } else { 0 };
        self.refused_before = if recent { self.refused } else { 0 };
        self.flags.set(Flags::SERVED_BEFORE, recent && self.flags.has(Flags::SERVED));
        self.flags.set(Flags::SERVED, false);
        (self.requests, self.refused) = (0, 0);
    }

    fn note_agent(&mut self, agent: u8) {
        if self.requests == 0 && self.requests_before == 0 && self.served == 0 && self.drops == 0 && !self.has_agents()
        {
            self.agent = agent;
        }
        if self.agent != agent {
            self.flags.set(Flags::AGENTS, true);
            // Someone else is behind the address after all.
            self.drop_until = 0;
        }
    }

    fn note_patience(&mut self, now: u32) {
        if self.wait_until == 0 {
            return;
        }
        if now >= self.wait_until {
            self.wait_until = 0;
            if !self.flags.has(Flags::IMPATIENT) {
                self.reputation.add(PATIENT, now);
            }
        } else if now.saturating_add(RETRY_AFTER_SECONDS) > self.wait_until.saturating_add(UNDER_WAY_SECONDS) {
            self.flags.set(Flags::IMPATIENT, true);
            self.reputation.add(IMPATIENT, now);
        }
    }

    /// Whether more than one visitor may be behind it, or one who was served since it was refused.
    pub(super) const fn may_be_several(&self) -> bool {
        self.flags.has(Flags::AGENTS | Flags::SERVED | Flags::SERVED_BEFORE)
    }

    const fn has_agents(&self) -> bool {
        self.flags.has(Flags::AGENTS)
    }

    fn is_good(&self, now: u32) -> bool {
        u32::from(self.served) >= GOOD_SERVED_MIN
            && self.refused == 0
            && self.refused_before == 0
            && self.drops == 0
            && self.reputation.sum_then() <= GOOD_SUM_MAX
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

pub(super) fn seconds(now: Timestamp) -> u32 {
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
        let history = table.request(client(1), b"a/1", START).history;
        assert_eq!((history.requests_recent, history.age), (10, Duration::ZERO));
        assert_eq!(table.request(client(1), b"a/1", START + Duration::from_secs(40)).history.requests_recent, 11);
        assert_eq!(table.request(client(1), b"a/1", START + Duration::from_secs(200)).history.requests_recent, 1);
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
                table.served(*old, START);
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
    fn an_entry_stays_as_small_as_it_is_said_to_be() {
        assert_eq!(size_of::<Entry>(), 56);
        assert_eq!(size_of::<Set>(), 512);
    }

    #[test]
    fn whoever_behaves_for_hours_is_exempt_until_it_floods_or_is_spared_too_often() {
        let mut table = ClientTable::new(64, SEED);
        let at = |hour: u64| START + Duration::from_secs(3600 * hour);
        for hour in 0..6 {
            for _ in 0..20 {
                assert!(!table.request(client(1), b"a/1", at(hour)).history.is_of_good_name || hour >= 3);
                table.served(client(1), at(hour));
            }
        }
        assert!(table.request(client(1), b"a/1", at(6)).history.is_of_good_name);
        let exempt = (0..400).filter(|_| table.request(client(1), b"a/1", at(6)).history.is_of_good_name).count();
        assert!(exempt < 120, "{exempt} of 400 within a minute");
        let mut spared = 0;
        while table.request(client(1), b"a/1", at(7) + Duration::from_secs(60 * spared)).history.is_of_good_name {
            table.spared(client(1), at(7) + Duration::from_secs(60 * spared));
            spared += 1;
        }
        assert!(spared < 40, "{spared}");
    }

    #[test]
    fn known_good_takes_hours_once_there_were_hours() {
        let mut table = ClientTable::new(64, SEED);
        let mut is_known_after_minutes = |client: ClientSlot, begin: Timestamp| {
            for minute in 0..10 {
                let now = begin + Duration::from_secs(60 * minute);
                table.request(client, b"a/1", now);
                table.served(client, now);
            }
            table.request(client, b"a/1", begin + Duration::from_secs(600)).is_known
        };
        assert!(is_known_after_minutes(client(1), START), "after a restart");
        assert!(!is_known_after_minutes(client(2), START + Duration::from_secs(86_400)));
    }

    #[test]
    fn a_few_minutes_of_behaving_buy_nothing() {
        let mut table = ClientTable::new(64, SEED);
        for second in 0..1_800 {
            let now = START + Duration::from_secs(second);
            assert!(!table.request(client(1), b"a/1", now).history.is_of_good_name);
            table.served(client(1), now);
        }
    }

    #[test]
    fn waiting_as_told_speaks_for_a_client_and_not_waiting_against() {
        let mut table = ClientTable::new(64, SEED);
        let mut sum = |client: ClientSlot, seconds: &[u64]| {
            table.request(client, b"a/1", START);
            table.told_to_wait(client, START);
            for second in seconds {
                table.request(client, b"a/1", START + Duration::from_secs(*second));
            }
            table.find(client).map(|entry| entry.reputation.sum_then())
        };
        assert!(sum(client(1), &[0, 1]) == Some(0.0), "what was under way");
        assert!(sum(client(2), &[2, 3, 4, 6]) > Some(0.0));
        assert!(sum(client(3), &[6]) < Some(0.0));
    }
}
