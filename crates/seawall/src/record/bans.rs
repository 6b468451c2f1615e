//! Who is banned, as the file holds it: each network under the key of a day. Rows are deleted when their ban is over, or its
//! key is; what only cannot be read at the moment stays, is counted, and is taken up when it can be.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension as _, params};
use seawall_engine::decision::{Ban, BanCause};
use seawall_engine::units::{Timestamp, counted};

use super::addresses::Addresses;
use super::micros;
use crate::host::clock::{Behind, CLOCK_SET_MIN, Step};
use crate::privacy::{Day, KeyStore};

/// Keys of days that are further ahead were made under a wrong date: another program may begin its day a little earlier.
const DAY_AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// Which bans are read, by their end in the machine's time.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Those that have not ended.
    After(Timestamp),
    /// Those that end after one date and not after another.
    Between(Timestamp, Timestamp),
}

/// Writes and reads bans.
pub(super) struct BanTable {
    addresses: Addresses,
    /// The days whose rows the guard knows: what is over is erased under the keys of all of them.
    days: BTreeSet<Day>,
    /// The day whose key is written with, once the file has its proof.
    written: Option<Day>,
    /// Rows that cannot be read at present.
    unreadable: u64,
    /// What is said of them.
    problem: Option<String>,
}

impl BanTable {
    /// Under these keys; none where bans are not to outlive the guard.
    pub(super) fn new(keys: KeyStore) -> Option<Self> {
        let addresses = keys.keeps_any().then(|| Addresses::new(keys))?;
        Some(Self { addresses, days: BTreeSet::new(), written: None, unreadable: 0, problem: None })
    }

    /// Another file is written now, of which nothing is known.
    pub(super) fn begin_anew(&mut self) {
        self.days.clear();
        (self.written, self.unreadable, self.problem) = (None, 0, None);
    }

    /// Whether there are bans that cannot be read at present.
    pub(super) const fn has_unreadable(&self) -> bool {
        self.unreadable > 0
    }

    /// What is wrong with the keys.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Whether bans have to be written anew under today's key.
    pub(super) fn is_of_another_day(&self, today: Day) -> bool {
        self.days.iter().any(|day| *day != today)
    }

    /// The bans that have not ended, of every day that was not read before and whose key can be had.
    pub(super) fn read(
        &mut self,
        connection: &Connection,
        now: Timestamp,
        behind: Behind,
        step: Step,
    ) -> rusqlite::Result<Vec<Ban>> {
        (self.unreadable, self.problem) = (0, None);
        let mut bans = Vec::new();
        for (day, proof) in days(connection)? {
            if self.days.contains(&day) {
                continue;
            }
            let why = match self.addresses.proof(day) {
                Ok(Some(held)) if proof.as_deref() == Some(&held) => {
                    let before = bans.len();
                    let rows = self.read_day(connection, (day, &held), Ending::After(now), (behind, step), &mut bans);
                    if let Err(error) = rows {
                        bans.truncate(before);
                        return Err(error);
                    }
                    self.days.insert(day);
                    continue;
                }
                Ok(Some(_)) => "another key has the place of theirs".to_owned(),
                Ok(None) => "their key is not there".to_owned(),
                Err(error) => error.to_string(),
            };
            let sql = "SELECT count(*) FROM ban WHERE day = ? AND (expires > ? OR since < ?)";
            let values = params![number(day), micros(now), micros(CLOCK_SET_MIN)];
            let rows = connection.query_row(sql, values, |row| row.get::<_, i64>(0))?.unsigned_abs();
            if rows > 0 {
                self.unreadable += rows;
                self.problem.get_or_insert_with(|| {
                    let bans = counted(rows, "ban");
                    format!(
                        "{bans} written on {day} cannot be read, and will be in force only when that changes: {why}"
                    )
                });
            }
        }
        Ok(bans)
    }

    /// The bans that had ended by a date that turned out to be wrong, and by the present one have not.
    pub(super) fn read_again(
        &mut self,
        connection: &Connection,
        (now, wrong): (Timestamp, Timestamp),
        step: Step,
    ) -> rusqlite::Result<Vec<Ban>> {
        let mut bans = Vec::new();
        for (day, proof) in days(connection)? {
            if let Some(proof) = proof.filter(|proof| self.is_proof_of(day, proof)) {
                let found = (Behind::default(), step);
                self.read_day(connection, (day, &proof), Ending::Between(now, wrong), found, &mut bans)?;
                self.days.insert(day);
            }
        }
        Ok(bans)
    }

    fn is_proof_of(&mut self, day: Day, proof: &[u8]) -> bool {
        self.addresses.proof(day).is_ok_and(|held| held.is_some_and(|held| held == proof))
    }

    fn read_day(
        &mut self,
        connection: &Connection,
        (day, proof): (Day, &[u8]),
        ending: Ending,
        (behind, step): (Behind, Step),
        bans: &mut Vec<Ban>,
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(
            "SELECT address, length, since, expires, cause, reason FROM ban
             WHERE day = ? AND (expires > ? AND expires <= ? OR since < ?) LIMIT 1000000",
        )?;
        // What was made before the clock was set has no end that a clock could tell.
        let (now, until, undated) = match ending {
            Ending::After(now) => (now, i64::MAX, micros(CLOCK_SET_MIN)),
            Ending::Between(now, until) => (now, micros(until), 0),
        };
        let mut rows = statement.query(params![number(day), micros(now), until, undated])?;
        while let Some(row) = rows.next()? {
            let Some(network) = self.addresses.reveal(row.get(0)?, row.get(1)?, day, proof) else { continue };
            let Ok(cause) = serde_json::from_str::<BanCause>(&row.get::<_, String>(4)?) else { continue };
            let at = |micros: i64| Timestamp::from_micros(micros.unsigned_abs());
            let written = at(row.get(2)?);
            let (since, expires) = behind.to_machine(written, at(row.get(3)?));
            if written >= CLOCK_SET_MIN && expires <= now {
                continue;
            }
            bans.push(Ban {
                network,
                since: step.to_guard(since),
                expires: step.to_guard(expires),
                cause,
                reason: row.get::<_, Option<String>>(5)?.map(Into::into),
            });
        }
        Ok(())
    }

    /// Sees to it that today's key is there and that the file has its proof. Says whether that is so; where it is not, no address can
    /// be written, and `waiting` changes have to wait.
    pub(super) fn begin(&mut self, connection: &Connection, today: Day, waiting: usize) -> rusqlite::Result<bool> {
        if self.written == Some(today) {
            return Ok(true);
        }
        let proof = match self.addresses.begin(today).and_then(|()| self.addresses.proof(today)) {
            Ok(proof) => proof.unwrap_or_default(),
            Err(error) => {
                if waiting > 0 {
                    let changes = counted(waiting as u64, "change");
                    self.problem = Some(format!("{changes} of bans cannot be written: {error}"));
                }
                return Ok(false);
            }
        };
        if !self.has_unreadable() {
            self.problem = None;
        }
        let sql = "SELECT proof FROM day WHERE number = ?";
        let found: Option<Vec<u8>> = connection.query_row(sql, params![number(today)], |row| row.get(0)).optional()?;
        if found.as_deref() == Some(&proof) && !self.days.contains(&today) {
            // Bans that were written today and could not be read yet are taken up before there are others beside them.
            let sql = "SELECT EXISTS (SELECT 1 FROM ban WHERE day = ?)";
            if connection.query_row(sql, params![number(today)], |row| row.get(0))? {
                return Ok(false);
            }
        } else if found.as_deref() != Some(&proof) {
            // The key of today was lost, and with it whom these were about; under the new proof they would be others.
            let gone = connection.execute("DELETE FROM ban WHERE day = ?", params![number(today)])?;
            // That they were made still counts; of no day, they are of whom no key tells.
            connection.execute("UPDATE ban_made SET day = -1 WHERE day = ?", params![number(today)])?;
            connection.execute("UPDATE journal SET day = NULL WHERE day = ?", params![number(today)])?;
            if gone > 0 {
                let gone = counted(gone as u64, "ban");
                tracing::warn!("{gone} cannot be told any more: the key of {today} was deleted, and another was made");
            }
            let sql = "INSERT OR REPLACE INTO day (number, proof) VALUES (?, ?)";
            connection.execute(sql, params![number(today), proof])?;
        }
        self.written = Some(today);
        self.days.insert(today);
        Ok(true)
    }

    /// What was begun was not written after all.
    pub(super) const fn roll_back(&mut self) {
        self.written = None;
    }

    /// A network under today's key.
    pub(super) fn hide(&mut self, network: IpNet, today: Day) -> Option<[u8; 16]> {
        self.addresses.hide(network, today)
    }

    /// Writes what became of a network: its ban, or that it is over.
    pub(super) fn put(
        &mut self,
        connection: &Connection,
        (network, ban): (IpNet, Option<&Ban>),
        today: Day,
        step: Step,
    ) -> rusqlite::Result<()> {
        let length = network.prefix_len();
        for day in self.days.iter().filter(|day| ban.is_none() || **day != today) {
            if let Some(hidden) = self.addresses.hide(network, *day) {
                let sql = "DELETE FROM ban WHERE address = ? AND length = ?";
                connection.prepare_cached(sql)?.execute(params![hidden, length])?;
            }
        }
        let (Some(ban), Some(hidden)) = (ban, self.addresses.hide(network, today)) else { return Ok(()) };
        let sql = "INSERT OR REPLACE INTO ban (address, length, day, since, expires, cause, reason) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let cause = serde_json::to_string(&ban.cause).unwrap_or_default();
        connection.prepare_cached(sql)?.execute(params![
            hidden,
            length,
            number(today),
            micros(step.to_machine(ban.since)),
            micros(step.to_machine(ban.expires)),
            cause,
            ban.reason.as_deref(),
        ])?;
        Ok(())
    }

    /// Deletes every ban that the guard knows, to write all there are in their place. What was passed over, since it had ended by a date
    /// that may yet be wrong, stays.
    pub(super) fn clear(&mut self, connection: &Connection, passed_over: Option<Timestamp>) -> rusqlite::Result<()> {
        let sql = "DELETE FROM ban WHERE day = ? AND NOT (expires <= ? AND since >= ?)";
        for day in &self.days {
            let values = params![number(*day), passed_over.map_or(-1, micros), micros(CLOCK_SET_MIN)];
            connection.execute(sql, values)?;
        }
        Ok(())
    }

    /// All bans are under today's key now.
    pub(super) fn is_all_of(&mut self, today: Day) {
        self.days = BTreeSet::from([today]);
    }

    /// Notes that somebody was banned, for those who rank clients by it.
    pub(super) fn note_made(
        &mut self,
        connection: &Connection,
        (network, at): (IpNet, Timestamp),
        today: Day,
    ) -> rusqlite::Result<()> {
        let Some(hidden) = self.addresses.hide(network, today) else { return Ok(()) };
        let sql = "INSERT INTO ban_made (at, address, length, day) VALUES (?, ?, ?, ?)";
        let values = params![micros(at), hidden, network.prefix_len(), number(today)];
        connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// Deletes the keys whose time is over, and the bans that only they could tell; not before those that go on have another. Where the
    /// date is certain, keys of later days go, too: they were made under a wrong one, and their time would not be over for as long.
    pub(super) fn forget(&mut self, connection: &Connection, now: Timestamp, is_certain: bool) -> rusqlite::Result<()> {
        let today = Day::of(now);
        // A date from before there were guards says nothing about what is over.
        if now < CLOCK_SET_MIN || self.is_of_another_day(today) {
            return Ok(());
        }
        let later = is_certain.then(|| Day::of(now + DAY_AHEAD_MAX));
        if let Err(error) = self.addresses.forget(today, later) {
            tracing::warn!(%error, "failed to delete the keys whose time is over");
        }
        for (day, _) in days(connection)? {
            let is_gone = !self.days.contains(&day)
                && (self.addresses.is_over(day, today) || later.is_some_and(|later| day > later))
                && self.addresses.proof(day).is_ok_and(|proof| proof.is_none());
            if is_gone {
                let gone = connection.execute("DELETE FROM ban WHERE day = ?", params![number(day)])?;
                tracing::warn!(
                    "{} written on {day} cannot be told any more: their key's time is over",
                    counted(gone as u64, "ban")
                );
            }
        }
        Ok(())
    }
}

/// The days of all bans, with the proof of the key of each.
fn days(connection: &Connection) -> rusqlite::Result<Vec<(Day, Option<Vec<u8>>)>> {
    let mut statement =
        connection.prepare("SELECT DISTINCT ban.day, proof FROM ban LEFT JOIN day ON number = ban.day")?;
    let days =
        statement.query_map([], |row| Ok((Day::of_number(row.get::<_, i64>(0)?.unsigned_abs()), row.get(1)?)))?;
    days.collect()
}

/// A day as it is written.
pub(super) fn number(day: Day) -> i64 {
    i64::try_from(day.number()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema;

    const NOON: Timestamp = Timestamp::from_seconds(1_700_000_000 / 86_400 * 86_400 + 43_200);
    const DAY: Duration = Duration::from_secs(86_400);

    fn ban(text: &str) -> Ban {
        let network = text.parse().expect("a network");
        Ban { network, since: NOON, expires: NOON + 9 * DAY, cause: BanCause::Operator, reason: None }
    }

    fn table(folder: &std::path::Path) -> BanTable {
        BanTable::new(KeyStore::open(folder, 3).expect("a folder")).expect("keys are kept")
    }

    fn put(bans: &mut BanTable, connection: &Connection, network: &str, is_banned: bool, at: Timestamp) {
        assert!(bans.begin(connection, Day::of(at), 1).expect("room"));
        let ban = ban(network);
        let change = (ban.network, is_banned.then_some(&ban));
        bans.put(connection, change, Day::of(at), Step::default()).expect("room");
    }

    fn read(folder: &std::path::Path, connection: &Connection, at: Timestamp) -> Vec<String> {
        let bans = table(folder).read(connection, at, Behind::default(), Step::default()).expect("readable");
        bans.iter().map(|ban| ban.network.to_string()).collect()
    }

    #[test]
    fn after_midnight_a_ban_of_yesterday_is_lifted_and_renewed_as_one_of_today() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = schema::open(&folder.path().join("record.db")).expect("a database");
        let (mut bans, tomorrow) = (table(folder.path()), NOON + DAY);
        put(&mut bans, &connection, "192.0.2.7/32", true, NOON);
        put(&mut bans, &connection, "192.0.2.8/32", true, NOON);
        put(&mut bans, &connection, "192.0.2.7/32", false, tomorrow);
        put(&mut bans, &connection, "192.0.2.8/32", true, tomorrow);
        assert_eq!(read(folder.path(), &connection, tomorrow), ["192.0.2.8/32"]);
        assert!(bans.is_of_another_day(Day::of(tomorrow)));
        // The key goes only once there is none under it.
        let late = NOON + 3 * DAY;
        bans.forget(&connection, late, false).expect("room");
        assert_eq!(read(folder.path(), &connection, late), ["192.0.2.8/32"]);
        bans.begin(&connection, Day::of(late), 1).expect("room");
        bans.clear(&connection, None).expect("room");
        put(&mut bans, &connection, "192.0.2.8/32", true, late);
        bans.is_all_of(Day::of(late));
        bans.forget(&connection, late, false).expect("room");
        assert_eq!(std::fs::read_dir(folder.path().join("keys")).expect("a folder").count(), 2);
        assert_eq!(read(folder.path(), &connection, late), ["192.0.2.8/32"]);
    }

    #[test]
    fn bans_without_their_key_stay_until_its_time_or_theirs_is_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = schema::open(&folder.path().join("record.db")).expect("a database");
        put(&mut table(folder.path()), &connection, "192.0.2.7/32", true, NOON);
        let key = folder.path().join(format!("keys/{}.key", Day::of(NOON)));
        let away = folder.path().join("away");
        std::fs::rename(&key, &away).expect("ours");
        let rows =
            || connection.query_row("SELECT count(*) FROM ban", [], |row| row.get::<_, u32>(0)).expect("a number");
        let mut bans = table(folder.path());
        for (at, expected) in [(NOON + DAY, 1), (NOON - 90 * DAY, 1), (Timestamp::from_seconds(9), 1)] {
            assert_eq!(bans.read(&connection, at, Behind::default(), Step::default()).expect("readable"), []);
            assert!(bans.problem().is_some_and(|problem| problem.contains("1 ban written on ")));
            bans.forget(&connection, at, false).expect("room");
            assert_eq!(rows(), expected);
        }
        std::fs::rename(&away, &key).expect("ours");
        // Whatever the date is.
        assert_eq!(read(folder.path(), &connection, Timestamp::from_seconds(9)), ["192.0.2.7/32"]);
        std::fs::remove_file(&key).expect("ours");
        table(folder.path()).forget(&connection, NOON + 3 * DAY, false).expect("room");
        assert_eq!(rows(), 0);
    }
}
