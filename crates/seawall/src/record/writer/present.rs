//! Which date the record believes. A machine's clock may be far ahead, for a minute at its start, say, when the battery of its clock is
//! empty; what is deleted by age, or ends, would be gone for good. So nothing is, before the clock has gone on for a while as the
//! guard's own does: minutes where the date is near what the record has seen, an hour where it is far ahead of that. One that is behind
//! deletes too little at worst. What the record has seen may be wrong itself, after a first start under a wrong date, say: a clock that
//! is set back takes it back, and so does one that is far behind it for half a day.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use seawall_engine::units::Timestamp;

use super::super::micros;
use crate::host::clock::{Behind, CLOCK_SET_MIN};

/// The name of the latest date that was believed, among the values that are kept. Its time is all it says.
pub(super) const NAME: &str = "present";

/// A date is doubted that is further ahead of the last one: few machines are off for longer than a week. What was seen is doubted as much
/// ahead of the present date.
const AHEAD_MAX: Duration = Duration::from_secs(8 * 86_400);

/// How long a clock has to have stood before anything is deleted for its date: one that is to be set over the network at a machine's start
/// has been by then.
const STOOD_MIN: Duration = Duration::from_secs(300);

/// The same of a date that is doubted.
const DOUBTED_FOR: Duration = Duration::from_secs(3_600);

/// How long a clock has to have stood before what was written under later dates is wrong. Believing a clock that is behind costs the dates of
/// all that was written since, and waiting costs nothing: a machine whose network is down for hours is to keep them.
const BEHIND_FOR: Duration = Duration::from_secs(12 * 3_600);

/// The date that is believed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Present {
    /// The latest that was, in the machine's time; none before anything was written. It is what the present date is at least, whatever
    /// the machine's clock begins with.
    seen: Option<Timestamp>,
    /// What it was when the guard began.
    before: Option<Timestamp>,
    /// Since when the clock has stood, in the guard's time: it was not set since then.
    stood_since: Option<Timestamp>,
    /// How long that is, and whether the date is doubted.
    stood: Duration,
    is_doubted: bool,
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
        let seen = seen.map(|at| Timestamp::from_micros(at.unsigned_abs())).filter(|seen| *seen >= CLOCK_SET_MIN);
        Ok(Self { seen, before: seen, ..Self::default() })
    }

    /// The latest date that was believed.
    pub(super) const fn seen(&self) -> Option<Timestamp> {
        self.seen
    }

    /// How far the machine's clock is behind what the record has seen.
    pub(super) fn behind(&self, machine: Timestamp) -> Behind {
        Behind::new(machine, self.seen.unwrap_or(machine))
    }

    /// The machine's clock was set, and shows this now. Where it is set back, it was wrong, and what was seen of it is.
    pub(super) fn was_set(&mut self, machine: Timestamp) {
        self.stood_since = None;
        self.seen = self.seen.min(self.before.max(Some(machine)));
    }

    /// Looks at the date.
    pub(super) fn follow(&mut self, machine: Timestamp, now: Timestamp) {
        if machine < CLOCK_SET_MIN {
            // There is no clock yet, and nothing to be learnt from it.
            (self.stood_since, self.stood, self.is_doubted) = (None, Duration::ZERO, false);
            return;
        }
        self.stood = now.since(*self.stood_since.get_or_insert(now));
        let is_far_ahead = self.seen.is_some_and(|seen| machine.since(seen) > AHEAD_MAX);
        self.is_doubted = is_far_ahead && self.stood < DOUBTED_FOR;
        if self.is_doubted {
            return;
        }
        let is_far_behind = self.seen.is_some_and(|seen| seen.since(machine) > AHEAD_MAX);
        if is_far_behind && self.is_certain() {
            (self.seen, self.before) = (Some(machine), Some(machine));
        }
        self.seen = self.seen.max(Some(machine));
    }

    /// Whether what the date says is over is: it is believed, and the clock has stood.
    pub(super) fn has_settled(&self) -> bool {
        !self.is_doubted && self.stood >= STOOD_MIN
    }

    /// Whether what is written under later dates is wrong.
    pub(super) fn is_certain(&self) -> bool {
        !self.is_doubted && self.stood >= BEHIND_FOR
    }

    /// What people are told of a date that is not believed.
    pub(super) fn problem(&self, machine: Timestamp) -> Option<String> {
        let seen = self.seen.filter(|_| self.is_doubted)?;
        let days = machine.since(seen).as_secs() / 86_400;
        Some(format!(
            "the machine's clock is {days} days ahead of what was written last: nothing is deleted for its age, nor what has \
             ended by it, until it is set back or has stood so for an hour"
        ))
    }

    /// Writes it.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(seen) = self.seen else { return Ok(()) };
        let sql = "INSERT OR REPLACE INTO state (name, at, value) VALUES (?, ?, 'null')";
        connection.prepare_cached(sql)?.execute(params![NAME, micros(seen)]).map(|_| ())
    }
}
