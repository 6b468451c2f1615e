//! Who has read while there was a crowd. A crowd is one while it is seen to read; but whoever asks for a page again and again (a ticker,
//! the comments) fetches its parts once, and a site that has come down under a crowd gives hardly anybody anything. So those are
//! remembered who have fetched parts of pages: as long as enough of those to whom the site gives something have, the crowd goes on. A
//! flood that has sent readers first is found soon after they are over.

use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

use super::assets::Assets;
use super::crowd::{ASSET_DELAY, LOOKING_SHARE, given};
use super::recent::{Answered, Row, Sampled};
use super::reference::ROWS_MAX;
use super::values::Item;

/// Readers that are remembered: as many as fit in 8,192 places of a table.
const READERS_MAX: usize = 7_168;

/// The most thinly that they are: one in so many.
const EVERY_MAX: u32 = 1 << 20;

/// Of those whom the site gives something so many have read, at least, and this share.
const READING_MIN: usize = 3;
const READING_SHARE: f64 = 0.3;

/// Of those who ask so many are given something, or they tell of the others for a while only: others may hang up, and visitors read
/// whatever comes beside them.
const GIVEN_SHARE_MIN: f64 = 1.0 / 16.0;
const FEW_GIVEN: Duration = Duration::from_secs(600);

/// Requests of each in a minute: a browser that asks every two seconds whether a page has changed.
const REQUESTS_MAX: f64 = 30.0;

/// One client with one agent, since many people may be behind one address: their hashes, mixed.
type Who = u32;

/// The readers of one incident.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    incident: u32,
    /// Until when what came was looked at.
    noted: Timestamp,
    who: FxHashSet<Who>,
    /// Of how many one is remembered, a power of two; of the others nothing is known.
    every: u32,
}

impl Readers {
    pub(crate) fn new() -> Self {
        let who = FxHashSet::with_capacity_and_hasher(READERS_MAX, Default::default());
        Self { incident: 0, noted: Timestamp::EPOCH, who, every: 1 }
    }

    /// Since when what comes in this incident is still to be [noted](Self::note).
    pub(crate) fn noted(&self, incident: u32) -> Timestamp {
        if self.incident == incident { self.noted } else { Timestamp::EPOCH }
    }

    /// Remembers who fetches parts of pages in these rows, and forgets other incidents.
    pub(crate) fn note(&mut self, incident: u32, rows: &[Sampled<'_>], assets: &Assets<'_>) {
        if self.incident != incident {
            (self.incident, self.noted, self.every) = (incident, Timestamp::EPOCH, 1);
            self.who.clear();
        }
        for Sampled { row, at, .. } in rows.iter().filter(|sampled| sampled.row.is_mineable()) {
            self.noted = self.noted.max(*at);
            if row.answered == Answered::BySite
                && assets.is_asset(&row.marks)
                && let Some(who) = who(row)
            {
                self.remember(who);
            }
        }
    }

    fn remember(&mut self, who: Who) {
        if !self.is_kept(who) || self.who.contains(&who) {
            return;
        }
        if self.who.len() >= READERS_MAX && self.every < EVERY_MAX {
            self.every *= 2;
            // Emptied and filled anew: a table with gaps would grow with the next that comes.
            let kept: Vec<Who> = self.who.drain().filter(|who| who.is_multiple_of(self.every)).collect();
            self.who.extend(kept);
        }
        if self.who.len() < READERS_MAX && self.is_kept(who) {
            self.who.insert(who);
        }
    }

    const fn is_kept(&self, who: Who) -> bool {
        who.is_multiple_of(self.every)
    }

    /// Whether those who ask for `items` are readers still: enough of those to whom the site gives something have read. `seen` is when a
    /// crowd was last known by what all of it did.
    pub(crate) fn read_on(
        &self,
        items: &[Item],
        rows: &[Sampled<'_>],
        now: Timestamp,
        seen: Timestamp,
        assets: &Assets<'_>,
    ) -> bool {
        let every = self.every.max((rows.len() / ROWS_MAX) as u32 + 1).next_power_of_two();
        let mut asked: FxHashMap<Who, Asked> = FxHashMap::default();
        let (mut all, mut looking, mut refused) = (0, 0, 0);
        for sampled in rows.iter().filter(|sampled| sampled.row.is_mineable() && !sampled.row.of_good_name) {
            let row = sampled.row;
            let Some(who) = who(row).filter(|who| who.is_multiple_of(every)) else { continue };
            if row.marks.has_all(items) && !assets.is_asset(&row.marks) {
                all += 1;
                looking += u32::from(assets.marked().is_looking(&row.marks));
                refused += u32::from(row.answered == Answered::ByRule);
                asked.entry(who).or_default().count(sampled, now);
            }
        }
        // Whom a rule in force lets pass are few, and tell for themselves.
        if 2 * refused > all || f64::from(looking) < LOOKING_SHARE * f64::from(all) {
            return false;
        }
        let requests: f64 = asked.values().map(|asked| asked.requests).sum();
        // One who asks without end is told by its address.
        let most = asked.values().map(|asked| asked.requests).fold(0.0, f64::max);
        let given: Vec<&Who> = asked.iter().filter(|(_, asked)| asked.is_given).map(|(who, _)| who).collect();
        let read = given.iter().filter(|who| self.who.contains(who)).count();
        let is_told = given.len() as f64 >= GIVEN_SHARE_MIN * asked.len() as f64 || now.since(seen) <= FEW_GIVEN;
        is_told
            && requests - most <= REQUESTS_MAX * asked.len() as f64
            && read * every as usize >= READING_MIN
            && read as f64 >= READING_SHARE * given.len() as f64
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.who.capacity() * size_of::<Who>()
    }
}

/// What one has asked for.
#[derive(Default)]
struct Asked {
    /// The first by itself, and for how many the others stand: of those who ask once and are seen by chance nobody asked often.
    requests: f64,
    /// Whether the site gave it something long enough ago to have read.
    is_given: bool,
}

impl Asked {
    fn count(&mut self, sampled: &Sampled<'_>, now: Timestamp) {
        if sampled.row.requests() > 0.0 {
            let is_first = self.requests == 0.0;
            self.requests += if is_first { 1.0 } else { sampled.cost(0) };
        }
        self.is_given |= given(sampled.row).is_some() && now.since(sampled.at) >= ASSET_DELAY;
    }
}

/// Who sent this; `None` where the client is not known.
fn who(row: &Row) -> Option<Who> {
    (row.client_hash != 0).then(|| row.client_hash ^ row.marks.one(Attribute::UserAgent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::assets::Files;
    use crate::detection::marked::Marked;
    use crate::detection::values::Keys;

    const PAGE: Item = Item { attribute: Attribute::Path, hash: 7 };
    const SEEN: Timestamp = Timestamp::from_seconds(1_000);

    /// What a client asks for, and the status of the answer.
    fn row(client: u32, agent: u32, path: u32, status: u16, keys: &Keys) -> Row {
        let mut row = Row { client_hash: client, costs: [1.0, 0.0, 0.0, 0.0], status, ..Row::default() };
        row.marks.of_mut(Attribute::UserAgent)[0] = agent;
        row.marks.of_mut(Attribute::Path)[0] = path;
        row.marks.of_mut(Attribute::Method)[0] = keys.value(Attribute::Method, Some(b"GET"));
        let extension: &[u8] = if path == PAGE.hash { b"html" } else { b"css" };
        row.marks.of_mut(Attribute::Extension)[0] = keys.value(Attribute::Extension, Some(extension));
        row
    }

    struct Crowd {
        keys: Keys,
        marked: Marked,
        readers: Readers,
    }

    impl Crowd {
        fn new() -> Self {
            let keys = Keys::new(1);
            Self { marked: Marked::new(&keys), keys, readers: Readers::new() }
        }

        /// Clients who fetch parts, each with this agent.
        fn read(&mut self, incident: u32, clients: std::ops::Range<u32>, agent: impl Fn(u32) -> u32) {
            let rows: Vec<Row> = clients.map(|client| row(client, agent(client), 50, 200, &self.keys)).collect();
            let sampled: Vec<Sampled<'_>> =
                rows.iter().map(|row| Sampled { row, at: Timestamp::from_seconds(990), factor: 1.0 }).collect();
            let files = Files::new(&self.marked, &[]);
            self.readers.note(incident, &sampled, &Assets::new(&self.marked, &files, &sampled));
        }

        /// Whether those are readers still who ask for the page so many times each, and get this status, so long after it was a crowd.
        fn reads_on(&self, clients: &[(std::ops::Range<u32>, u16, usize)], after: u64) -> bool {
            let rows: Vec<Row> = clients
                .iter()
                .flat_map(|(clients, status, times)| clients.clone().map(move |client| (client, *status, *times)))
                .flat_map(|(client, status, times)| vec![row(client, 3, PAGE.hash, status, &self.keys); times])
                .collect();
            let now = SEEN + Duration::from_secs(after);
            let at = now - Duration::from_secs(5);
            let sampled: Vec<Sampled<'_>> = rows.iter().map(|row| Sampled { row, at, factor: 1.0 }).collect();
            let files = Files::new(&self.marked, &[]);
            self.readers.read_on(&[PAGE], &sampled, now, SEEN, &Assets::new(&self.marked, &files, &sampled))
        }
    }

    #[test]
    fn three_in_ten_of_those_who_are_given_something_have_read() {
        let mut crowd = Crowd::new();
        crowd.read(1, 1..101, |_| 3);
        assert!(crowd.reads_on(&[(1..50, 200, 6)], 3600), "a ticker");
        assert!(crowd.reads_on(&[(1..50, 200, 30)], 3600));
        assert!(crowd.reads_on(&[(1..50, 200, 6), (60..61, 200, 3_000)], 3600), "and one program");
        assert!(!crowd.reads_on(&[(1..50, 200, 32)], 3600), "as often as no reader asks");
        assert!(crowd.reads_on(&[(1..50, 200, 1), (200..314, 200, 1)], 3600));
        assert!(!crowd.reads_on(&[(1..50, 200, 1), (200..315, 200, 1)], 3600), "others are more");
        assert!(!crowd.reads_on(&[(1..3, 200, 1)], 3600), "two are too few to tell");
        assert!(!crowd.reads_on(&[(1..50, 0, 1)], 60), "nobody is given anything");
        crowd.read(2, 500..600, |_| 3);
        assert!(!crowd.reads_on(&[(1..50, 200, 6)], 3600), "of another incident");
    }

    #[test]
    fn who_posts_or_is_refused_is_no_reader() {
        let mut crowd = Crowd::new();
        crowd.read(1, 1..101, |_| 3);
        let reads_on = |change: &dyn Fn(&mut Row, usize)| {
            let rows = (1..101).enumerate().map(|(number, client)| {
                let mut row = row(client, 3, PAGE.hash, 200, &crowd.keys);
                change(&mut row, number);
                row
            });
            let rows: Vec<Row> = rows.collect();
            let sampled: Vec<Sampled<'_>> =
                rows.iter().map(|row| Sampled { row, at: SEEN - Duration::from_secs(5), factor: 1.0 }).collect();
            let files = Files::new(&crowd.marked, &[]);
            let assets = Assets::new(&crowd.marked, &files, &sampled);
            crowd.readers.read_on(&[PAGE], &sampled, SEEN, SEEN, &assets)
        };
        let refuse = |row: &mut Row| (row.answered, row.status) = (Answered::ByRule, 0);
        let post = |row: &mut Row| {
            row.marks.of_mut(Attribute::Method)[0] = crowd.keys.value(Attribute::Method, Some(b"POST"));
        };
        assert!(reads_on(&|_, _| ()));
        assert!(reads_on(&|row, number| if number < 50 {
            refuse(row);
        }));
        assert!(!reads_on(&|row, number| if number < 51 {
            refuse(row);
        }));
        assert!(reads_on(&|row, number| if number < 5 {
            post(row);
        }));
        assert!(!reads_on(&|row, number| if number < 6 {
            post(row);
        }));
        assert!(!reads_on(&|row, _| row.of_good_name = true), "rules spare these");
    }

    #[test]
    fn few_who_are_answered_speak_for_the_others_for_ten_minutes() {
        let mut crowd = Crowd::new();
        crowd.read(1, 1..101, |_| 3);
        for (few, lasts) in [(3, false), (20, true)] {
            let kinds = [(1..1 + few, 200, 1), (1_000..1_200, 504, 1)];
            assert!(crowd.reads_on(&kinds, 600), "{few}");
            assert_eq!(crowd.reads_on(&kinds, 601), lasts, "{few}");
        }
    }

    #[test]
    fn too_many_are_thinned_by_client_and_agent() {
        let mut crowd = Crowd::new();
        let max = READERS_MAX as u32;
        crowd.read(1, 1..max + 1, |_| 3);
        assert_eq!((crowd.readers.every, crowd.readers.who.len()), (1, READERS_MAX));
        crowd.read(1, 1..max + 1, |_| 3);
        assert_eq!(crowd.readers.every, 1, "who is known is not counted twice");
        crowd.read(1, max + 1..4 * max, |_| 3);
        assert_eq!(crowd.readers.every, 4);
        assert!(crowd.reads_on(&[(1..50, 200, 1)], 3600) && !crowd.reads_on(&[(5 * max..5 * max + 50, 200, 1)], 3600));
        // One client with many agents is as many, and takes no more of the table than any.
        for agents in 0..8 {
            let rows: Vec<Row> =
                (0..max).map(|agent| row(9, 1_000 + agents * max + agent, 50, 200, &crowd.keys)).collect();
            let sampled: Vec<Sampled<'_>> =
                rows.iter().map(|row| Sampled { row, at: Timestamp::EPOCH, factor: 1.0 }).collect();
            let files = Files::new(&crowd.marked, &[]);
            crowd.readers.note(1, &sampled, &Assets::new(&crowd.marked, &files, &sampled));
        }
        assert!(crowd.readers.who.len() > READERS_MAX / 4 && crowd.readers.every <= 16, "{}", crowd.readers.every);
        assert!(crowd.reads_on(&[(1..200, 200, 1)], 3600));
        assert_eq!(crowd.readers.memory_bytes(), Readers::new().memory_bytes());
    }
}
