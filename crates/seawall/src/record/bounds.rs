//! Keeps the file within its bounds: what is too old goes, and the oldest of the rest while the file is too large. Bans and values
//! are not touched: they end by themselves.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use seawall_engine::decision::BanCause;
use seawall_engine::units::Timestamp;

use super::micros;
use crate::config::{Retention, quantity};
use crate::host::clock::CLOCK_SET_MIN;

/// The share of the oldest rows that goes at once when the file is too large: one in so many.
const TRIM_SHARE: u32 = 8;

/// How often that is done in a row at most, until what is left is another table's or nothing.
const TRIMS_MAX: usize = 64;

/// The share of the greatest size that is left free by it, so that not every batch has to trim: one in so many.
const FREE_SHARE: u64 = 16;

/// The share of the greatest size that history keeps even if bans take more than the rest: one in so many. Were it to make room for them,
/// it would be gone, and the file still too large.
const HISTORY_SHARE: u64 = 4;

/// How long it takes at most until the end of a ban is written.
const JUST_NOW: Duration = Duration::from_secs(10);

/// What is further ahead of the present date was written under a wrong one.
const AHEAD_MAX: Duration = Duration::from_secs(3_600);

/// What is there for people to look at, with the column of its time.
const HISTORY: [&str; 5] = ["journal", "decision", "minute", "hour", "ban_made"];

/// Deletes what is older than it may get.
pub(super) fn delete_old(connection: &mut Connection, retention: &Retention, now: Timestamp) -> rusqlite::Result<()> {
    let oldest = now.as_seconds().saturating_sub(86_400 * u64::from(retention.days));
    let transaction = connection.transaction()?;
    for table in HISTORY {
        let oldest = match table {
            "minute" => (oldest / 60).cast_signed(),
            "hour" => (oldest / 3_600).cast_signed(),
            _ => micros(Timestamp::from_seconds(oldest)),
        };
        transaction.execute(&format!("DELETE FROM {table} WHERE at < ?"), params![oldest])?;
    }
    transaction.commit()
}

/// Gives what is dated later the present date, so that it goes when it is too old. What was counted then is in no report, and goes at once.
pub(super) fn date_back(connection: &mut Connection, now: Timestamp) -> rusqlite::Result<()> {
    let latest = now + AHEAD_MAX;
    let transaction = connection.transaction()?;
    for table in HISTORY {
        match table {
            "minute" | "hour" => {
                let seconds = if table == "minute" { 60 } else { 3_600 };
                let latest = (latest.as_seconds() / seconds).cast_signed();
                transaction.execute(&format!("DELETE FROM {table} WHERE at > ?"), params![latest])?
            }
            _ => {
                let values = params![micros(now), micros(latest)];
                transaction.execute(&format!("UPDATE {table} SET at = ? WHERE at > ?"), values)?
            }
        };
    }
    transaction.commit()
}

/// Deletes bans that have ended. Returns how many of these an operator had said: a guard that runs takes a ban out when it ends, so that
/// they ended while none did.
pub(super) fn delete_ended(connection: &mut Connection, now: Timestamp) -> rusqlite::Result<u64> {
    let transaction = connection.transaction()?;
    // What has ended just now may be still on its way here.
    let ended = micros(now - JUST_NOW);
    let operators = serde_json::to_string(&BanCause::Operator).unwrap_or_default();
    let sql = "SELECT count(*) FROM ban WHERE expires < ? AND since >= ? AND cause = ?";
    let values = params![ended, micros(CLOCK_SET_MIN), operators];
    let said = transaction.query_row(sql, values, |row| row.get::<_, i64>(0))?.unsigned_abs();
    let sql = "DELETE FROM ban WHERE expires < ? AND since >= ?";
    transaction.execute(sql, params![ended, micros(CLOCK_SET_MIN)])?;
    transaction.commit()?;
    Ok(said)
}

/// Deletes the oldest while the file is larger than `size_max`, and gives what is free back to the system. Says what is wrong when it
/// stays larger. Costs three look-ups when it is not.
pub(super) fn keep_within(connection: &mut Connection, size_max: usize) -> rusqlite::Result<Option<String>> {
    let size = size_max as u64;
    let page = pages(connection, "page_size")?;
    let used = |connection: &Connection| -> rusqlite::Result<u64> {
        Ok((pages(connection, "page_count")? - pages(connection, "freelist_count")?) * page)
    };
    if pages(connection, "page_count")? * page <= size {
        return Ok(None);
    }
    let lasting = lasting_bytes(connection)?;
    let room = size.saturating_sub(lasting).max(size / HISTORY_SHARE);
    if used(connection)? - lasting > room {
        let wanted = room - room / FREE_SHARE;
        for _ in 0..TRIMS_MAX {
            if used(connection)?.saturating_sub(lasting) <= wanted || !delete_oldest(connection)? {
                break;
            }
            vacuum(connection)?;
        }
    }
    if pages(connection, "freelist_count")? > 0 {
        vacuum(connection)?;
    }
    let used = used(connection)?;
    let is_beyond = used > size && lasting + room > size;
    Ok(is_beyond.then(|| {
        format!(
            "the file has {:.1} MiB, more than `[record] size-max` ({}), since the bans in it take {:.1} MiB and a part of the history \
             is kept beside them; make it {:.0} MiB or more",
            mebibytes(used),
            quantity::show_size(size_max),
            mebibytes(lasting),
            (2.0 * mebibytes(lasting)).ceil()
        )
    }))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// How much of the file is bans and values, which stay.
fn lasting_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE aggregate = TRUE AND name IN ('ban', 'day', 'state')";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// Deletes an eighth of each table; says whether there was any.
fn delete_oldest(connection: &mut Connection) -> rusqlite::Result<bool> {
    let transaction = connection.transaction()?;
    let mut deleted = 0;
    for table in HISTORY {
        let middle =
            format!("SELECT at FROM {table} ORDER BY at LIMIT 1 OFFSET (SELECT count(*) / {TRIM_SHARE} FROM {table})");
        let until: Option<i64> = transaction.query_row(&middle, [], |row| row.get(0)).optional()?;
        if let Some(until) = until {
            deleted += transaction.execute(&format!("DELETE FROM {table} WHERE at <= ?"), params![until])?;
        }
    }
    transaction.commit()?;
    Ok(deleted > 0)
}

/// Gives free pages back.
fn vacuum(connection: &Connection) -> rusqlite::Result<()> {
    // Each page that is given back is a row of the answer.
    let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    carry_log_over(connection)
}

/// Writes into the file what is in the log beside it, which is empty then.
pub(super) fn carry_log_over(connection: &Connection) -> rusqlite::Result<()> {
    // Readers may hold it up; the next one gets further.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn pages(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}
