//! Which date the record believes. A machine's clock may be far ahead, for a minute at its start, say, when the battery of its clock is
//! empty; what is deleted by age would be gone for good. A date is believed unless it is far ahead of what the record has seen, and then
//! once it has stood for a while. One that is behind deletes too little at worst, and says nothing of the date that it is.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use seawall_engine::units::Timestamp;

use super::super::micros;
use crate::host::clock::{Behind, CLOCK_SET_MIN};

/// The name of the latest date that was believed, among the values that are kept. Its time is all it says.
pub(super) const NAME: &str = "present";

/// A date is doubted that is further ahead of the last one: few machines are off for longer than a week.
const AHEAD_MAX: Duration = Duration::from_secs(8 * 86_400);

/// How long it is: a clock that is to be set over the network has been by then.
const DOUBTED_FOR: Duration = Duration::from_secs(3_600);

/// The date that is believed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Present {
    /// The latest that was, in the machine's time; none before anything was written. It never steps back: it is what the present date is
    /// at least, whatever the machine's clock begins with.
    seen: Option<Timestamp>,
    /// Since when the present one is not, in the guard's time.
    doubted: Option<Timestamp>,
}

impl Present {
    /// What the file says.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT at FROM state WHERE name = ?";
        let mut seen: Option<i64> = connection.query_row(sql, params![NAME], |row| row.get(0)).optional()?;
        if seen.is_none() {
            // That of an earlier version does not say it, but when it was written last.
            seen = connection.query_row("SELECT max(at) FROM state", [], |row| row.get(0))?;
        }
        let seen = seen.map(|at| Timestamp::from_micros(at.unsigned_abs()));
        Ok(Self { seen: seen.filter(|seen| *seen >= CLOCK_SET_MIN), doubted: None })
    }

    /// The latest date that was believed.
    pub(super) const fn seen(&self) -> Option<Timestamp> {
        self.seen
    }

    /// How far the machine's clock is behind what the record has seen.
    pub(super) fn behind(&self, machine: Timestamp) -> Behind {
        Behind::new(machine, self.seen.unwrap_or(machine))
    }

    /// Looks at the date, and says whether it is believed.
    pub(super) fn follow(&mut self, machine: Timestamp, now: Timestamp) -> bool {
        if machine < CLOCK_SET_MIN {
            // There is no clock yet, and nothing to be learnt from it.
            self.doubted = None;
            return false;
        }
        let is_near = self.seen.is_none_or(|seen| machine.since(seen) <= AHEAD_MAX);
        if !is_near && now.since(*self.doubted.get_or_insert(now)) < DOUBTED_FOR {
            return false;
        }
        (self.seen, self.doubted) = (self.seen.max(Some(machine)), None);
        true
    }

    /// What people are told of a date that is not believed.
    pub(super) fn problem(&self, machine: Timestamp) -> Option<String> {
        let (seen, _) = self.seen.zip(self.doubted)?;
        let days = machine.since(seen).as_secs() / 86_400;
        Some(format!(
            "the machine's clock is {days} days ahead of what was written last: nothing is deleted for its age until it is set back or has \
             stood so for an hour"
        ))
    }

    /// Writes it.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(seen) = self.seen else { return Ok(()) };
        let sql = "INSERT OR REPLACE INTO state (name, at, value) VALUES (?, ?, 'null')";
        connection.prepare_cached(sql)?.execute(params![NAME, micros(seen)]).map(|_| ())
    }
}
