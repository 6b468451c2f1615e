//! One transaction: what was journalled and counted, and what of the present state the file did not hold yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, params};
use seawall_engine::decision::RuleId;
use seawall_engine::units::Timestamp;

use super::super::bans::number;
use super::super::schema::{NEXT_NUMBER, is_damage};
use super::super::unwritten::Unwritten;
use super::super::{Action, Actor, Entry, MinuteCount, micros, name};
use super::after::{Written, json};
use super::{Bans, Writer, present};
use crate::host::clock::Step;
use crate::privacy::Day;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// The file is damaged.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It cannot be used at the moment.
    #[error("{0}")]
    Other(String),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) { Self::Damaged(error.to_string()) } else { Self::Other(error.to_string()) }
    }
}

/// Values by name, with when each was last changed.
type Values = BTreeMap<&'static str, (Timestamp, String)>;

/// Site, outcome and rule of what is counted in a minute.
type Counted = (Arc<str>, &'static str, Option<RuleId>);

impl Writer {
    /// Writes a batch, and the state that has changed; says whether there was anything. What of the state cannot be written stays
    /// unwritten.
    pub(super) fn write(&mut self, batch: &[Entry], now: Timestamp) -> Result<bool, Failed> {
        let mut unwritten = std::mem::take(&mut *self.inbox.shared.unwritten());
        for (name, value) in &unwritten.values {
            self.values.insert((*name).to_owned(), value.clone());
        }
        if batch.is_empty() && unwritten.is_empty() && !self.waiting.is_due(now) {
            return Ok(false);
        }
        let Some(mut connection) = self.connection.take() else {
            self.put_back(unwritten);
            return Err(Failed::Other("it is not open".to_owned()));
        };
        // Nothing takes the place of what was not read.
        let values = if self.is_read { std::mem::take(&mut unwritten.values) } else { BTreeMap::new() };
        let result = self.write_to(&mut connection, batch, (&unwritten, &values), now);
        self.connection = Some(connection);
        let mut written = batch.len() + values.len();
        if matches!(result, Ok(false)) {
            // Without a key they cannot be written, and unlike the bans that there are nobody has them any more.
            let lost: usize = batch.iter().map(Entry::bans_made).sum();
            self.note(|status| status.lost += lost as u64);
        }
        let left = match &result {
            Ok(true) if matches!(self.bans, Bans::Forgotten) => None,
            Ok(true) => {
                written += unwritten.bans.len();
                None
            }
            Ok(false) => Some(unwritten),
            Err(_) => {
                unwritten.values.extend(values);
                Some(unwritten)
            }
        };
        if let Some(left) = left {
            self.put_back(left);
        }
        match result {
            Ok(_) => {
                self.note(|status| status.written += written as u64);
                Ok(true)
            }
            Err(error) => {
                if let Bans::Kept(bans) = &mut self.bans {
                    bans.roll_back();
                }
                Err(error.into())
            }
        }
    }

    fn put_back(&self, unwritten: Unwritten) {
        if self.inbox.shared.unwritten().put_back(unwritten) {
            self.inbox.shared.want_bans();
        }
    }

    /// Says whether bans were written, too: without today's key they cannot be, and in the clear they are not.
    fn write_to(
        &mut self,
        connection: &mut Connection,
        batch: &[Entry],
        (unwritten, values): (&Unwritten, &Values),
        now: Timestamp,
    ) -> rusqlite::Result<bool> {
        let step = self.step;
        let today = Day::of(step.to_machine(now));
        let transaction = connection.transaction()?;
        let is_for_nothing = matches!(self.bans, Bans::Forgotten);
        let passed_over = self.passed_over;
        let mut bans = match &mut self.bans {
            Bans::Kept(bans) => bans.begin(&transaction, today, unwritten.bans.len())?.then_some(bans),
            Bans::Forgotten | Bans::Waiting(_) => None,
        };
        let mut written = Written::default();
        for entry in batch {
            match entry {
                Entry::Journal { moment, actor, action, network, detail } => {
                    let sql = format!(
                        "INSERT INTO journal (id, at, actor, action, detail, before, address, length, day)
                         VALUES ({NEXT_NUMBER}, ?, ?, ?, ?, ?, ?, ?, ?)"
                    );
                    let hidden = network.zip(bans.as_mut()).and_then(|(network, bans)| bans.hide(network, today));
                    let length = network.map(|network| network.prefix_len());
                    let day = hidden.map(|_| number(today));
                    let (at, before) = (micros(step.to_machine(moment.at)), json(&moment.before));
                    let values = params![at, name(actor), name(action), detail, before, hidden, length, day];
                    transaction.prepare_cached(&sql)?.execute(values)?;
                    written.add("journal", transaction.last_insert_rowid(), moment.at);
                }
                Entry::Decision { event, before, evidence } => {
                    let sql = format!(
                        "INSERT INTO decision (id, at, kind, detail, before, evidence) VALUES ({NEXT_NUMBER}, ?, ?, ?, ?, ?)"
                    );
                    let evidence = evidence.as_ref().and_then(|evidence| serde_json::to_string(evidence).ok());
                    let at = micros(step.to_machine(event.at));
                    let values = params![at, name(&event.kind), event.text, json(before), evidence];
                    transaction.prepare_cached(&sql)?.execute(values)?;
                    written.add("decision", transaction.last_insert_rowid(), event.at);
                }
                Entry::Minute { minute, counts } => {
                    let minute = step.to_machine(Timestamp::from_seconds(60 * minute)).as_seconds() / 60;
                    for (table, at) in [("minute", minute), ("hour", minute / 60)] {
                        let sql = format!(
                            "INSERT INTO {table} (at, site, outcome, rule, requests) VALUES (?1, ?2, ?3, ?4, ?5)
                             ON CONFLICT DO UPDATE SET requests = requests + ?5"
                        );
                        for count in counts {
                            let rule = count.rule.map_or(0, |rule| i64::from(rule.0));
                            let values = params![at.cast_signed(), count.site, count.outcome, rule, count.requests];
                            transaction.prepare_cached(&sql)?.execute(values)?;
                        }
                    }
                }
                Entry::BansMade(made) => {
                    for (network, at) in made {
                        if let Some(bans) = &mut bans {
                            bans.note_made(&transaction, (*network, step.to_machine(*at)), today)?;
                        }
                    }
                }
                Entry::Stop => {}
            }
        }
        for (name, value) in values {
            write_value(&transaction, name, value, step)?;
        }
        let are_bans_written = bans.is_some() || is_for_nothing;
        if let Some(bans) = &mut bans {
            if unwritten.is_whole {
                bans.clear(&transaction, passed_over)?;
            }
            // In the order of their pseudonyms: in any other, each of a hundred thousand lies on another page of the table, of which
            // most would be written several times.
            let mut changes: Vec<_> =
                unwritten.bans.iter().map(|(network, ban)| (bans.hide(*network, today), network, ban)).collect();
            changes.sort_unstable_by_key(|(hidden, network, _)| (*hidden, *network));
            for (_, network, ban) in changes {
                bans.put(&transaction, (*network, ban.as_ref()), today, step)?;
            }
        }
        let mut waiting = self.waiting.clone();
        waiting.add(written);
        waiting.write(&transaction, &self.inbox.shared.measure, (step, now))?;
        if self.is_read {
            self.present.write(&transaction)?;
        }
        transaction.commit()?;
        if unwritten.is_whole
            && let Some(bans) = &mut bans
        {
            bans.is_all_of(today);
        }
        waiting.done(now);
        self.waiting = waiting;
        Ok(are_bans_written)
    }
}

/// Adds up what was counted in the same minute: while nothing can be written that is one entry for each, where the portions of minutes
/// would take the room of what cannot be told again.
pub(super) fn add_up_minutes(batch: &mut Vec<Entry>) {
    let mut minutes: BTreeMap<u64, BTreeMap<Counted, f64>> = BTreeMap::new();
    batch.retain_mut(|entry| {
        let Entry::Minute { minute, counts } = entry else { return true };
        let sums = minutes.entry(*minute).or_default();
        for MinuteCount { site, outcome, rule, requests } in counts.drain(..) {
            *sums.entry((site, outcome, rule)).or_default() += requests;
        }
        false
    });
    batch.extend(minutes.into_iter().map(|(minute, sums)| {
        let counts = sums.into_iter();
        let counts = counts.map(|((site, outcome, rule), requests)| MinuteCount { site, outcome, rule, requests });
        Entry::Minute { minute, counts: counts.collect() }
    }));
}

/// Adds a line to the journal of a guard that does not run.
pub(in crate::record) fn add_to_journal(
    connection: &Connection,
    at: Timestamp,
    actor: Actor,
    action: Action,
    detail: &str,
) -> rusqlite::Result<()> {
    let sql = format!("INSERT INTO journal (id, at, actor, action, detail) VALUES ({NEXT_NUMBER}, ?, ?, ?, ?)");
    connection.execute(&sql, params![micros(at), name(&actor), name(&action), detail]).map(|_| ())
}

/// Writes all values.
pub(super) fn write_values(
    connection: &Connection,
    values: &BTreeMap<String, (Timestamp, String)>,
    step: Step,
) -> rusqlite::Result<()> {
    values.iter().try_for_each(|(name, value)| write_value(connection, name, value, step))
}

fn write_value(
    connection: &Connection,
    name: &str,
    (at, value): &(Timestamp, String),
    step: Step,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO state (name, at, value) VALUES (?, ?, ?)";
    connection.execute(sql, params![name, micros(step.to_machine(*at)), value]).map(|_| ())
}

/// Reads all values.
pub(super) fn read_values(
    connection: &Connection,
    step: Step,
) -> rusqlite::Result<BTreeMap<String, (Timestamp, String)>> {
    let mut statement = connection.prepare("SELECT name, at, value FROM state WHERE name != ?")?;
    let values = statement.query_map([present::NAME], |row| {
        let at = Timestamp::from_micros(row.get::<_, i64>(1)?.unsigned_abs());
        Ok((row.get(0)?, (step.to_guard(at), row.get(2)?)))
    })?;
    values.collect()
}
