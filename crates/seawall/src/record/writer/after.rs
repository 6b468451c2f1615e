//! How the traffic was a minute after what was done: measured when that is over, told from the counts of the minutes where the writer
//! was held up then, or the guard ended in between.

use std::collections::VecDeque;
use std::time::Duration;

use rusqlite::{Connection, params};
use seawall_engine::units::Timestamp;

use super::super::rollup::{FAILED, NO_REQUESTS, REFUSED};
use super::super::{Measure, Situation, micros};
use crate::host::clock::Step;

/// How long after something its effect is looked at.
const AFTER: Duration = Duration::from_secs(60);

/// What is measured is the traffic of the last ten seconds: that late it can still be, and after a start that long it takes.
const MEASURED_SPAN: Duration = Duration::from_secs(10);

/// How much of a minute has to be counted at least, in seconds.
const COUNTED_SECONDS_MIN: u64 = 10;

/// What was done before a start is measured as soon as it can be, unless it is longer ago than that: other things have changed by then.
const LATE_MAX: Duration = Duration::from_secs(600);

/// Groups of entries whose effect is waited for at once. Of each table there is one for each second.
const WAITING_MAX: usize = 512;

/// The tables whose entries say it.
const TABLES: [&str; 2] = ["journal", "decision"];

/// Entries whose effect is not known yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    groups: VecDeque<Group>,
}

/// Entries of one table, of those that are numbered from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Group {
    table: &'static str,
    first: i64,
    last: i64,
    /// When it is looked at, in the guard's time.
    due: Timestamp,
}

impl Waiting {
    /// Whether anything is due.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.groups.iter().any(|group| group.due <= now)
    }

    /// Nothing is waited for any more: the file is another one.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
    }

    /// Takes in what was written. There are several batches in a second, of which all are one group.
    pub(super) fn add(&mut self, written: Written) {
        for group in written.groups {
            take_in(&mut self.groups, group);
        }
    }

    /// Writes how the traffic is after what is due; [`Self::done`] forgets that, once it is committed.
    pub(super) fn write(
        &self,
        connection: &Connection,
        measure: &Measure,
        (step, now): (Step, Timestamp),
    ) -> rusqlite::Result<()> {
        let mut measured = None;
        for group in self.groups.iter().filter(|group| group.due <= now) {
            let situation = if now.since(group.due) <= MEASURED_SPAN {
                Some(*measured.get_or_insert_with(|| measure.now()))
            } else {
                counted(connection, step.to_machine(group.due), step.to_machine(now))?
            };
            if let Some(situation) = situation {
                let sql = format!(
                    "UPDATE {} SET after = ? WHERE id BETWEEN ? AND ? AND before IS NOT NULL AND after IS NULL",
                    group.table
                );
                connection.prepare_cached(&sql)?.execute(params![json(&situation), group.first, group.last])?;
            }
        }
        Ok(())
    }

    /// Forgets what was due, and the earliest of what is too much.
    pub(super) fn done(&mut self, now: Timestamp) {
        self.groups.retain(|group| group.due > now);
        let too_many = self.groups.len().saturating_sub(WAITING_MAX);
        self.groups.drain(..too_many);
    }

    /// Takes up what was done before a start and waits for its effect; `counted_until` is how far that guard had counted its traffic.
    pub(super) fn take_up(
        &mut self,
        connection: &mut Connection,
        counted_until: Option<Timestamp>,
        (step, now): (Step, Timestamp),
    ) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        let machine = step.to_machine(now);
        let oldest = counted_until.unwrap_or(machine).min(machine) - LATE_MAX;
        let mut written = Written::default();
        for table in TABLES {
            let sql = format!(
                "SELECT id, at FROM {table} WHERE at >= ? AND at <= ? AND before IS NOT NULL AND after IS NULL ORDER BY id"
            );
            let mut statement = transaction.prepare(&sql)?;
            let mut rows = statement.query(params![micros(oldest), micros(machine)])?;
            while let Some(row) = rows.next()? {
                let (id, at) = (row.get(0)?, Timestamp::from_micros(row.get::<_, i64>(1)?.unsigned_abs()));
                let due = at + AFTER;
                let found = match counted_until {
                    Some(until) if due <= machine => counted(&transaction, due, until)?,
                    Some(_) | None => None,
                };
                if let Some(situation) = found {
                    let sql = format!("UPDATE {table} SET after = ? WHERE id = ?");
                    transaction.prepare_cached(&sql)?.execute(params![json(&situation), id])?;
                } else if machine.since(due) <= LATE_MAX {
                    written.wait(table, id, step.to_guard(due).max(now + MEASURED_SPAN));
                }
            }
        }
        transaction.commit()?;
        self.add(written);
        self.done(Timestamp::EPOCH);
        Ok(())
    }
}

/// What of a batch has an effect to be waited for.
#[derive(Debug, Default)]
pub(super) struct Written {
    groups: VecDeque<Group>,
}

impl Written {
    /// Notes what was written of something that was done.
    pub(super) fn add(&mut self, table: &'static str, id: i64, at: Timestamp) {
        self.wait(table, id, at + AFTER);
    }

    fn wait(&mut self, table: &'static str, id: i64, due: Timestamp) {
        take_in(&mut self.groups, Group { table, first: id, last: id, due });
    }
}

/// Adds a group to the last one of its table, or behind all.
fn take_in(groups: &mut VecDeque<Group>, added: Group) {
    // The first of a second says when, so that no group goes on and on.
    let is_same = |group: &&mut Group| group.last < added.first && group.due.as_seconds() == added.due.as_seconds();
    match groups.iter_mut().rev().find(|group| group.table == added.table).filter(is_same) {
        Some(group) => group.last = added.last,
        None => groups.push_back(added),
    }
}

/// How the traffic was in the minute that a moment lies in, by what was counted of it until then; none when that is too little.
fn counted(connection: &Connection, at: Timestamp, until: Timestamp) -> rusqlite::Result<Option<Situation>> {
    let minute = at.as_seconds() / 60;
    let seconds = until.as_seconds().saturating_sub(60 * minute).min(60);
    if seconds < COUNTED_SECONDS_MIN {
        return Ok(None);
    }
    let list = |outcomes: &[&str]| format!("'{}'", outcomes.join("', '"));
    let sql = format!(
        "SELECT sum(requests) FILTER (WHERE outcome NOT IN ({})), sum(requests) FILTER (WHERE outcome = 'served'),
             sum(requests) FILTER (WHERE outcome IN ({})), sum(requests) FILTER (WHERE outcome IN ({}))
         FROM minute WHERE at = ?",
        list(&NO_REQUESTS),
        list(&REFUSED),
        list(&FAILED)
    );
    let rate = |row: &rusqlite::Row<'_>, column: usize| -> rusqlite::Result<f64> {
        Ok(row.get::<_, Option<f64>>(column)?.unwrap_or_default() / seconds as f64)
    };
    connection.prepare_cached(&sql)?.query_row(params![minute.cast_signed()], |row| {
        Ok(Some(Situation {
            requests: rate(row, 0)?,
            served: rate(row, 1)?,
            refused: rate(row, 2)?,
            failed: rate(row, 3)?,
            would_refuse: None,
            cpu_used: None,
        }))
    })
}

/// A situation as it is written.
pub(super) fn json(situation: &Situation) -> String {
    serde_json::to_string(situation).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_steady_decisions_is_waited_for_whole() {
        let start = Timestamp::from_seconds(1_700_000_000);
        let mut waiting = Waiting::default();
        // A batch each quarter of a second, with an entry of each table.
        for quarter in 0..240_u32 {
            let at = start + quarter * Duration::from_millis(250);
            let mut written = Written::default();
            for (number, table) in TABLES.into_iter().enumerate() {
                written.add(table, i64::from(quarter) * 2 + number as i64, at);
            }
            waiting.add(written);
            waiting.done(at);
        }
        assert_eq!(waiting.groups.len(), 120, "a group of each table for each second");
        let first = Group { table: "journal", first: 0, last: 6, due: start + AFTER };
        assert_eq!(waiting.groups.front(), Some(&first));
        assert!(waiting.is_due(start + AFTER));
    }
}
