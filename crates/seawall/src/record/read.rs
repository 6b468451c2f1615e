//! Reading the record, also while a guard writes it and when none runs.

use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use rusqlite::{Connection, params};
use seawall_engine::decision::EventKind;
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::addresses::Addresses;
use super::schema::{self, RecordError};
use super::{Situation, micros, name, path};
use crate::privacy::{Day, KeyStore};

/// How far ahead of the reader's clock what was counted may be. What is further was written while the machine's showed another time.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalLine {
    /// When.
    pub at: Timestamp,
    /// Who: `operator`, `signal`, `guard`, `import`.
    pub actor: String,
    /// What, as [`super::Action`] is written in JSON, or the kind of a decision.
    pub action: String,
    /// About whom or what, for people.
    pub detail: String,
    /// How the traffic was just then; none where no guard ran.
    pub before: Option<Situation>,
    /// How it was a minute later; none as long as that is not over, and where no guard saw it.
    pub after: Option<Situation>,
}

/// Requests of one kind in one [`Span`].
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficCount {
    /// Its start, in seconds since the Unix epoch.
    pub at: u64,
    /// The site; empty for hosts of none.
    pub site: String,
    /// What became of them.
    pub outcome: String,
    /// The number of the rule that refused them; 0 for none.
    pub rule: u32,
    /// How many, estimated where they were sampled.
    pub requests: f64,
}

/// By what time requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Each minute.
    Minute,
    /// Each hour, so that a report of a month need not add up every minute of it.
    Hour,
}

impl Span {
    /// How long it is.
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }
}

/// That a rule went into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleDecision {
    /// When.
    pub at: Timestamp,
    /// Its number.
    pub rule: u32,
    /// What was said.
    pub detail: String,
}

/// An incident, as far as it lies in the time that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordedIncident {
    /// Its number.
    pub incident: u32,
    /// When it was opened; none when that was before.
    pub opened: Option<Timestamp>,
    /// When it was closed; none when it had not been.
    pub closed: Option<Timestamp>,
    /// What was said of it last.
    pub detail: String,
}

/// The bans that were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedBans {
    /// When each was made, and of whom, oldest first.
    pub bans: Vec<(Timestamp, IpNet)>,
    /// How many more there were, of whom no key tells any more.
    pub keyless: u64,
}

/// A record, opened for reading.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: std::path::PathBuf,
}

impl Reader {
    /// The record of a state directory.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open(state_directory: &Path) -> Result<Self, RecordError> {
        let path = path(state_directory);
        Ok(Self { connection: schema::open_to_read(&path)?, path })
    }

    /// The last `count` lines of the journal and of what was decided, in the order in which they were written, whatever dates the machine's
    /// clock gave them. Whom one is about is told where the keys tell it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn journal(&self, count: u32, keys: Option<KeyStore>) -> Result<Vec<JournalLine>, RecordError> {
        let mut addresses = keys.map(Addresses::new);
        let mut read = || -> rusqlite::Result<Vec<JournalLine>> {
            // The record of a guard that has not been started with this version names nobody apart.
            let layout = schema::layout(&self.connection)?;
            let (about, keys) = if schema::has_addresses_in_journal(layout) {
                ("address, length, journal.day, proof", "LEFT JOIN day ON number = journal.day")
            } else {
                ("NULL, NULL, NULL, NULL", "")
            };
            let situations = if schema::has_situations_of_decisions(layout) { "before, after" } else { "NULL, NULL" };
            let order = if schema::is_numbered_together(layout) { "id" } else { "at" };
            let mut statement = self.connection.prepare(&format!(
                "SELECT at, actor, action, detail, before, after, {about}, journal.{order} AS place
                 FROM journal {keys} UNION ALL
                 SELECT at, 'guard', kind, detail, {situations}, NULL, NULL, NULL, NULL, {order} FROM decision
                 ORDER BY place DESC LIMIT ?",
            ))?;
            let situation = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
            let lines = statement.query_map(params![count], |row| {
                let mut detail: String = row.get(3)?;
                if let Some(length) = row.get::<_, Option<u8>>(7)? {
                    let hidden = (row.get::<_, Option<[u8; 16]>>(6)?, row.get::<_, Option<u32>>(8)?);
                    let proof = row.get::<_, Option<Vec<u8>>>(9)?.unwrap_or_default();
                    let network =
                        addresses.as_mut().zip(hidden.0.zip(hidden.1)).and_then(|(addresses, (hidden, day))| {
                            addresses.reveal(hidden, length, Day::of_number(day.into()), &proof)
                        });
                    let whom = network.map_or_else(|| format!("(a /{length} whose key is gone)"), |it| it.to_string());
                    detail.insert_str(0, &whom);
                }
                Ok(JournalLine {
                    at: Timestamp::from_micros(row.get::<_, i64>(0)?.unsigned_abs()),
                    actor: row.get(1)?,
                    action: row.get(2)?,
                    detail,
                    before: situation(row.get(4)?),
                    after: situation(row.get(5)?),
                })
            })?;
            lines.collect()
        };
        let mut lines = read().map_err(|error| self.failed(error))?;
        lines.reverse();
        Ok(lines)
    }

    /// The counts of every minute or hour since a moment, until now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn traffic(&self, span: Span, since: Timestamp, now: Timestamp) -> Result<Vec<TrafficCount>, RecordError> {
        let read = || -> rusqlite::Result<Vec<TrafficCount>> {
            let table = span.table();
            let sql = format!("SELECT at, site, outcome, rule, requests FROM {table} WHERE at BETWEEN ? AND ?");
            let mut statement = self.connection.prepare(&sql)?;
            let number = |at: Timestamp| (at.as_seconds() / span.seconds()).cast_signed();
            let counts = statement.query_map(params![number(since), number(now + AHEAD_MAX)], |row| {
                Ok(TrafficCount {
                    at: row.get::<_, i64>(0)?.unsigned_abs().saturating_mul(span.seconds()),
                    site: row.get(1)?,
                    outcome: row.get(2)?,
                    rule: row.get(3)?,
                    requests: row.get(4)?,
                })
            })?;
            counts.collect()
        };
        read().map_err(|error| self.failed(error))
    }

    /// What was decided about rules since a moment, until now: that each went into force, or up a step.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn rule_decisions(&self, since: Timestamp, now: Timestamp) -> Result<Vec<RuleDecision>, RecordError> {
        let read = || -> rusqlite::Result<Vec<RuleDecision>> {
            let sql = "SELECT at, detail FROM decision WHERE kind = 'rule-enforced' AND at BETWEEN ? AND ?";
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query(params![micros(since), micros(now + AHEAD_MAX)])?;
            let mut decisions = Vec::new();
            while let Some(row) = rows.next()? {
                let detail: String = row.get(1)?;
                let number = detail.strip_prefix('R').and_then(|text| text.split([' ', ':']).next()?.parse().ok());
                if let Some(rule) = number {
                    let at = Timestamp::from_micros(row.get::<_, i64>(0)?.unsigned_abs());
                    decisions.push(RuleDecision { at, rule, detail });
                }
            }
            Ok(decisions)
        };
        read().map_err(|error| self.failed(error))
    }

    /// The incidents since a moment, until now, in their order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn incidents(&self, since: Timestamp, now: Timestamp) -> Result<Vec<RecordedIncident>, RecordError> {
        let read = || -> rusqlite::Result<Vec<RecordedIncident>> {
            let (opened, closed) = (name(&EventKind::IncidentOpened), name(&EventKind::IncidentClosed));
            let sql =
                "SELECT at, kind, detail FROM decision WHERE kind IN (?, ?, ?) AND at BETWEEN ? AND ? ORDER BY id";
            let mut statement = self.connection.prepare(sql)?;
            let values =
                params![opened, name(&EventKind::VerdictChanged), closed, micros(since), micros(now + AHEAD_MAX)];
            let mut rows = statement.query(values)?;
            let mut incidents: Vec<RecordedIncident> = Vec::new();
            while let Some(row) = rows.next()? {
                let at = Timestamp::from_micros(row.get::<_, i64>(0)?.unsigned_abs());
                let (kind, detail): (String, String) = (row.get(1)?, row.get(2)?);
                let number =
                    detail.strip_prefix("incident ").and_then(|text| text.split([' ', ':']).next()?.parse().ok());
                let Some(incident) = number else { continue };
                // Guards of earlier versions began with the same numbers, each with an opening of its own.
                if kind == opened || incidents.last().is_none_or(|last| last.incident != incident) {
                    incidents.push(RecordedIncident { incident, opened: None, closed: None, detail: String::new() });
                }
                if let Some(last) = incidents.last_mut() {
                    if kind == opened {
                        last.opened = Some(at);
                    } else if kind == closed {
                        last.closed = Some(at);
                    }
                    last.detail = detail;
                }
            }
            Ok(incidents)
        };
        read().map_err(|error| self.failed(error))
    }

    /// Every ban that was made until now, with whom it was about where the keys still tell it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn bans_made(&self, keys: KeyStore, now: Timestamp) -> Result<RecordedBans, RecordError> {
        let mut addresses = Addresses::new(keys);
        let mut read = || -> rusqlite::Result<RecordedBans> {
            let mut statement = self.connection.prepare(
                "SELECT at, address, length, day, proof FROM ban_made LEFT JOIN day ON number = day WHERE at <= ? ORDER BY at",
            )?;
            let mut rows = statement.query(params![micros(now + AHEAD_MAX)])?;
            let mut made = RecordedBans::default();
            while let Some(row) = rows.next()? {
                let (hidden, length) = (row.get(1)?, row.get(2)?);
                let proof = row.get::<_, Option<Vec<u8>>>(4)?;
                let day = u64::try_from(row.get::<_, i64>(3)?).ok().map(Day::of_number);
                let network = day.zip(proof).and_then(|(day, proof)| addresses.reveal(hidden, length, day, &proof));
                let Some(network) = network else {
                    made.keyless += 1;
                    continue;
                };
                made.bans.push((Timestamp::from_micros(row.get::<_, i64>(0)?.unsigned_abs()), network));
            }
            Ok(made)
        };
        read().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> RecordError {
        RecordError::Database { action: "read", path: self.path.clone(), error }
    }
}
