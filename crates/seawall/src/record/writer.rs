//! The one thread that writes: takes entries in batches, each a transaction, and keeps the file within its bounds.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension as _, params};
use seawall_engine::decision::{Ban, BanCause};
use seawall_engine::units::Timestamp;

use super::addresses::Addresses;
use super::schema::{self, RecordError};
use super::{Action, Actor, Entry, Inbox, Situation, name};
use crate::config::Retention;
use crate::host::clock::Clock;
use crate::privacy::{Day, KeyStore};

/// What comes within this time is one transaction. A killed guard loses no more than that.
const BATCH_INTERVAL: Duration = Duration::from_millis(250);

/// Entries of one transaction, and those that are kept while nothing can be written.
const BATCH_ENTRIES_MAX: usize = 4_096;

/// How long it waits after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How often the file is brought back within its bounds.
const TRIM_INTERVAL: Duration = Duration::from_secs(600);

/// The share of the oldest rows that goes when the file is too large: one in so many.
const TRIM_SHARE: u32 = 8;

/// How long after an action its effect is looked at.
const AFTER: Duration = Duration::from_secs(60);

/// Actions whose effect is waited for at once.
const PENDING_MAX: usize = 256;

/// Pages given back to the system at once.
const VACUUM_PAGES: u32 = 4_096;

/// The writer, until its guard ends.
pub struct Writer {
    inbox: Inbox,
    path: PathBuf,
    retention: Retention,
    /// None when the keys cannot be had; then no address is written.
    addresses: Option<Addresses>,
    connection: Option<Connection>,
    clock: Clock,
    situation: Box<dyn Fn() -> Situation + Send>,
    /// Actions whose effect is not known yet.
    pending: VecDeque<(Timestamp, i64)>,
    proven: Option<Day>,
}

impl Writer {
    /// Opens the file, or begins another when it is damaged, and reads who was banned. When nothing can be opened it is tried
    /// again later; the guard goes on in any case.
    pub fn open(
        inbox: Inbox,
        path: PathBuf,
        retention: Retention,
        keys: Option<KeyStore>,
        clock: Clock,
        situation: Box<dyn Fn() -> Situation + Send>,
    ) -> (Self, Vec<Ban>) {
        let addresses = keys.map(Addresses::new);
        let mut writer = Self {
            inbox,
            path,
            retention,
            addresses,
            connection: None,
            clock,
            situation,
            pending: VecDeque::new(),
            proven: None,
        };
        writer.reopen();
        let bans = writer.restore();
        (writer, bans)
    }

    /// A value that was kept, as JSON.
    pub fn kept(&self, name: &str) -> Option<String> {
        let connection = self.connection.as_ref()?;
        connection.query_row("SELECT value FROM state WHERE name = ?", params![name], |row| row.get(0)).ok()
    }

    fn reopen(&mut self) {
        let mut opened = schema::open(&self.path);
        if let Err(error @ (RecordError::Damaged { .. } | RecordError::Newer { .. })) = &opened {
            let aside = schema::set_aside(&self.path);
            let problem = match &aside {
                Ok(aside) => format!("{error}; it is kept as {} and another was begun", aside.display()),
                Err(failed) => format!("{error}; failed to set it aside: {failed}"),
            };
            tracing::warn!("{problem}");
            self.note(|status| status.problem = Some(problem));
            if aside.is_ok() {
                opened = schema::open(&self.path);
            }
        }
        match opened {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn note(&self, change: impl FnOnce(&mut super::RecordStatus)) {
        change(&mut self.inbox.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes a failure, and tells the log of each kind once.
    fn fail(&self, problem: &str) {
        self.note(|status| {
            if status.problem.as_deref() != Some(problem) {
                tracing::warn!("the record cannot be written, the guard goes on without: {problem}");
            }
            status.failures += 1;
            status.problem = Some(problem.to_owned());
        });
    }

    /// Writes until every [`super::Record`] is gone.
    pub fn run(mut self) {
        let mut batch: Vec<Entry> = Vec::new();
        let mut trim_at = self.clock.now();
        loop {
            let received = self.inbox.received.recv_timeout(BATCH_INTERVAL);
            let mut is_over = matches!(received, Err(RecvTimeoutError::Disconnected) | Ok(Entry::Stop));
            batch.extend(received);
            // What is a batch in itself need not wait for more.
            let is_full = matches!(batch.last(), Some(Entry::Bans(bans)) if bans.len() >= BATCH_ENTRIES_MAX);
            if !is_over && !batch.is_empty() && !is_full {
                std::thread::sleep(BATCH_INTERVAL);
            }
            while batch.len() < BATCH_ENTRIES_MAX
                && let Ok(entry) = self.inbox.received.try_recv()
            {
                is_over |= matches!(entry, Entry::Stop);
                batch.push(entry);
            }
            batch.retain(|entry| !matches!(entry, Entry::Stop));
            let now = self.clock.now();
            if self.connection.is_none() {
                self.reopen();
            }
            let written = self.write(&batch, now);
            match written {
                Ok(()) => {
                    let count = batch.len() as u64;
                    batch.clear();
                    if count > 0 {
                        let bytes = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
                        self.note(|status| {
                            status.written += count;
                            status.bytes = bytes;
                            // A file that was set aside stays worth knowing.
                            if status.failures > 0 {
                                status.problem = None;
                            }
                        });
                    }
                    if now >= trim_at {
                        trim_at = now + TRIM_INTERVAL;
                        self.trim(now);
                    }
                }
                Err(error) => {
                    self.fail(&error);
                    if is_over {
                        let lost = batch.len() as u64;
                        self.note(|status| status.lost += lost);
                    } else {
                        std::thread::sleep(RETRY_PAUSE);
                    }
                }
            }
            if is_over {
                return;
            }
        }
    }

    fn write(&mut self, batch: &[Entry], now: Timestamp) -> Result<(), String> {
        let has_news = self.pending.front().is_some_and(|(due, _)| *due <= now);
        if batch.is_empty() && !has_news {
            return Ok(());
        }
        let Some(mut connection) = self.connection.take() else { return Err("it is not open".to_owned()) };
        let proven = self.proven;
        let result = self.write_to(&mut connection, batch, now);
        if result.is_err() {
            // What was rolled back proves nothing.
            self.proven = proven;
        }
        self.connection = Some(connection);
        result
    }

    fn write_to(&mut self, connection: &mut Connection, batch: &[Entry], now: Timestamp) -> Result<(), String> {
        let said = |error: rusqlite::Error| error.to_string();
        let transaction = connection.transaction().map_err(said)?;
        let situation = (self.situation)();
        let situation = serde_json::to_string(&situation).unwrap_or_default();
        let mut pending = Vec::new();
        for entry in batch {
            match entry {
                Entry::Journal { at, actor, action, detail } => {
                    add_to_journal(&transaction, *at, *actor, *action, detail, Some(&situation)).map_err(said)?;
                    pending.push((*at + AFTER, transaction.last_insert_rowid()));
                }
                Entry::Decision { event, evidence } => {
                    let sql = "INSERT INTO decision (at, kind, detail, evidence) VALUES (?, ?, ?, ?)";
                    let evidence = evidence.as_ref().and_then(|evidence| serde_json::to_string(evidence).ok());
                    let values = params![micros(event.at), name(&event.kind), event.text, evidence];
                    transaction.prepare_cached(sql).and_then(|mut sql| sql.execute(values)).map_err(said)?;
                }
                Entry::Minute { minute, counts } => {
                    for (table, at) in [("minute", *minute), ("hour", *minute / 60)] {
                        let sql = format!(
                            "INSERT INTO {table} (at, site, outcome, rule, requests) VALUES (?1, ?2, ?3, ?4, ?5)
                             ON CONFLICT DO UPDATE SET requests = requests + ?5"
                        );
                        for count in counts {
                            let rule = count.rule.map_or(0, |rule| i64::from(rule.0));
                            let values = params![at as i64, count.site, count.outcome, rule, count.requests];
                            transaction.prepare_cached(&sql).and_then(|mut sql| sql.execute(values)).map_err(said)?;
                        }
                    }
                }
                Entry::Bans(bans) => self.write_bans(&transaction, bans, now, true).map_err(said)?,
                Entry::Stop => {}
                Entry::Unban(network) => self.erase_ban(&transaction, *network, now).map_err(said)?,
                Entry::State { at, name, value } => {
                    let sql = "INSERT OR REPLACE INTO state (name, at, value) VALUES (?, ?, ?)";
                    transaction.execute(sql, params![name, micros(*at), value]).map_err(said)?;
                }
            }
        }
        let due = self.pending.iter().take_while(|(due, _)| *due <= now).count();
        for (_, id) in self.pending.iter().take(due) {
            transaction.execute("UPDATE journal SET after = ? WHERE id = ?", params![situation, id]).map_err(said)?;
        }
        transaction.commit().map_err(said)?;
        self.pending.drain(..due);
        self.pending.extend(pending);
        while self.pending.len() > PENDING_MAX {
            self.pending.pop_front();
        }
        Ok(())
    }

    /// Writes bans under today's key. In the order of their pseudonyms: in any other, each of a hundred thousand is put on another page
    /// of the table, of which most would be written several times.
    fn write_bans(
        &mut self,
        connection: &Connection,
        bans: &[Ban],
        now: Timestamp,
        is_new: bool,
    ) -> rusqlite::Result<()> {
        let today = Day::of(now);
        // Without keys nobody could undo the pseudonym, and in the clear it is not written.
        let Some(addresses) = self.addresses.as_mut().filter(|_| !bans.is_empty()) else { return Ok(()) };
        let Ok(proof) = addresses.proof(today, today) else { return Ok(()) };
        if self.proven != Some(today) {
            let sql = "INSERT OR REPLACE INTO day (number, proof) VALUES (?, ?)";
            connection.execute(sql, params![today.number() as i64, proof])?;
            self.proven = Some(today);
        }
        let mut hidden: Vec<([u8; 16], &Ban)> =
            bans.iter().filter_map(|ban| Some((addresses.hide(ban.network, today).ok()?, ban))).collect();
        // Of two bans of one network the later stays.
        hidden.sort_by_key(|(hidden, _)| *hidden);
        let sql = "INSERT OR REPLACE INTO ban (address, length, day, since, expires, cause, reason) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let mut ban_now = connection.prepare_cached(sql)?;
        let sql = "INSERT INTO ban_made (at, address, length, day) VALUES (?, ?, ?, ?)";
        let mut ban_made = connection.prepare_cached(sql)?;
        for (hidden, ban) in hidden {
            let (length, day) = (ban.network.prefix_len(), today.number() as i64);
            let cause = serde_json::to_string(&ban.cause).unwrap_or_default();
            let (since, expires, reason) = (micros(ban.since), micros(ban.expires), ban.reason.as_deref());
            ban_now.execute(params![hidden, length, day, since, expires, cause, reason])?;
            if is_new {
                ban_made.execute(params![since, hidden, length, day])?;
            }
        }
        Ok(())
    }

    /// Erases the ban of a network under every key that it may have been written with.
    fn erase_ban(&mut self, connection: &Connection, network: IpNet, now: Timestamp) -> rusqlite::Result<()> {
        let Some(addresses) = &mut self.addresses else { return Ok(()) };
        // Bans of earlier days are written anew under today's key at every start and every new day.
        if let Ok(hidden) = addresses.hide(network, Day::of(now)) {
            let sql = "DELETE FROM ban WHERE address = ? AND length = ?";
            connection.prepare_cached(sql)?.execute(params![hidden, network.prefix_len()])?;
        }
        Ok(())
    }

    /// The bans that have not ended and whose keys are still there; they are written anew under today's key, unless all are under it.
    fn restore(&mut self) -> Vec<Ban> {
        let now = self.clock.now();
        let Some(mut connection) = self.connection.take() else { return Vec::new() };
        let bans = self.read_bans(&connection, now).and_then(|(bans, is_of_today)| {
            self.proven = None;
            if is_of_today {
                self.proven = Some(Day::of(now)).filter(|_| !bans.is_empty());
                return Ok(bans);
            }
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM ban", [])?;
            self.write_bans(&transaction, &bans, now, false)?;
            transaction.commit()?;
            Ok(bans)
        });
        self.connection = Some(connection);
        bans.unwrap_or_else(|error| {
            self.fail(&format!("failed to read who was banned: {error}"));
            Vec::new()
        })
    }

    /// Who is banned, and whether all that are in the table could be read and are under today's key.
    fn read_bans(&mut self, connection: &Connection, now: Timestamp) -> rusqlite::Result<(Vec<Ban>, bool)> {
        let Some(addresses) = &mut self.addresses else { return Ok((Vec::new(), false)) };
        let mut statement = connection.prepare(
            "SELECT address, length, ban.day, proof, since, expires, cause, reason FROM ban JOIN day ON number = ban.day
             WHERE expires > ? LIMIT 1000000",
        )?;
        let mut rows = statement.query(params![micros(now)])?;
        let (mut bans, mut is_of_today) = (Vec::new(), true);
        while let Some(row) = rows.next()? {
            let (hidden, proof): ([u8; 16], Vec<u8>) = (row.get(0)?, row.get(3)?);
            let day = Day::of(Timestamp::from_seconds(86_400 * u64::from(row.get::<_, u32>(2)?)));
            let network = addresses.reveal(hidden, row.get(1)?, day, &proof, now);
            let cause = serde_json::from_str::<BanCause>(&row.get::<_, String>(6)?).ok();
            let Some((network, cause)) = network.zip(cause) else {
                is_of_today = false;
                continue;
            };
            is_of_today &= day == Day::of(now);
            bans.push(Ban {
                network,
                since: Timestamp::from_micros(row.get::<_, i64>(4)?.unsigned_abs()),
                expires: Timestamp::from_micros(row.get::<_, i64>(5)?.unsigned_abs()),
                cause,
                reason: row.get::<_, Option<String>>(7)?.map(Into::into),
            });
        }
        Ok((bans, is_of_today))
    }

    /// Deletes what is too old, and the oldest of the rest while the file is too large. Bans get today's key with each new day.
    fn trim(&mut self, now: Timestamp) {
        if self.proven.is_some_and(|day| day != Day::of(now)) {
            self.restore();
        }
        // Only now, so that bans that last longer than their key have another.
        if let Some(Err(error)) = self.addresses.as_ref().map(|addresses| addresses.forget(Day::of(now))) {
            tracing::warn!(%error, "failed to delete the keys whose time is over");
        }
        let Some(connection) = &mut self.connection else { return };
        let trimmed = || -> rusqlite::Result<()> {
            let oldest = now.as_seconds().saturating_sub(86_400 * u64::from(self.retention.days));
            let oldest_micros = micros(Timestamp::from_seconds(oldest));
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM journal WHERE at < ?", params![oldest_micros])?;
            transaction.execute("DELETE FROM decision WHERE at < ?", params![oldest_micros])?;
            transaction.execute("DELETE FROM minute WHERE at < ?", params![(oldest / 60) as i64])?;
            transaction.execute("DELETE FROM hour WHERE at < ?", params![(oldest / 3_600) as i64])?;
            transaction.execute("DELETE FROM ban_made WHERE at < ?", params![oldest_micros])?;
            transaction.execute("DELETE FROM ban WHERE expires < ?", params![micros(now)])?;
            let pages = |name: &str| transaction.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
            let used = (pages("page_count")? - pages("freelist_count")?) * pages("page_size")?;
            if used > i64::try_from(self.retention.size_max).unwrap_or(i64::MAX) {
                for table in ["journal", "decision", "minute", "hour", "ban_made"] {
                    let middle = format!(
                        "SELECT at FROM {table} ORDER BY at LIMIT 1 OFFSET (SELECT count(*) / {TRIM_SHARE} FROM {table})"
                    );
                    let until: Option<i64> = transaction.query_row(&middle, [], |row| row.get(0)).optional()?;
                    if let Some(until) = until {
                        transaction.execute(&format!("DELETE FROM {table} WHERE at <= ?"), params![until])?;
                    }
                }
            }
            transaction.commit()?;
            connection
                .execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES}); PRAGMA wal_checkpoint(TRUNCATE);"))
        };
        let mut trimmed = trimmed;
        if let Err(error) = trimmed() {
            self.fail(&format!("failed to delete what is too old: {error}"));
        }
    }
}

/// Adds a line to the journal, with how the traffic is where that is known.
pub(super) fn add_to_journal(
    connection: &Connection,
    at: Timestamp,
    actor: Actor,
    action: Action,
    detail: &str,
    situation: Option<&str>,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO journal (at, actor, action, detail, before) VALUES (?, ?, ?, ?, ?)";
    let values = params![micros(at), name(&actor), name(&action), detail, situation];
    connection.prepare_cached(sql)?.execute(values).map(|_| ())
}

fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
