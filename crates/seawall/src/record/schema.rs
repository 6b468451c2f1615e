//! The file: opening it, its tables, and how an older layout becomes the present one.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long a statement waits for another process that reads or writes.
const LOCKED_TIME_MAX: Duration = Duration::from_millis(500);

/// What makes each layout of the one before; the number of those that were carried out is the file's `user_version`.
const MIGRATIONS: &[&str] = &[
    "CREATE TABLE journal (
         id INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, detail TEXT NOT NULL,
         before TEXT, after TEXT) STRICT;
     CREATE INDEX journal_at ON journal (at);
     CREATE TABLE decision (
         id INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL, evidence TEXT) STRICT;
     CREATE INDEX decision_at ON decision (at);
     CREATE TABLE minute (
         at INTEGER NOT NULL, site TEXT NOT NULL, outcome TEXT NOT NULL, rule INTEGER NOT NULL, requests REAL NOT NULL,
         PRIMARY KEY (at, site, outcome, rule)) STRICT, WITHOUT ROWID;
     CREATE TABLE day (number INTEGER PRIMARY KEY, proof BLOB NOT NULL) STRICT;
     CREATE TABLE ban (
         address BLOB NOT NULL, length INTEGER NOT NULL, day INTEGER NOT NULL, since INTEGER NOT NULL, expires INTEGER NOT NULL,
         cause TEXT NOT NULL, reason TEXT, PRIMARY KEY (address, length)) STRICT, WITHOUT ROWID;
     CREATE TABLE ban_made (
         id INTEGER PRIMARY KEY, at INTEGER NOT NULL, address BLOB NOT NULL, length INTEGER NOT NULL,
         day INTEGER NOT NULL) STRICT;
     CREATE INDEX ban_made_at ON ban_made (at);
     CREATE TABLE state (name TEXT PRIMARY KEY, at INTEGER NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    // A report of a month need not add up every minute of it.
    "CREATE TABLE hour (
         at INTEGER NOT NULL, site TEXT NOT NULL, outcome TEXT NOT NULL, rule INTEGER NOT NULL, requests REAL NOT NULL,
         PRIMARY KEY (at, site, outcome, rule)) STRICT, WITHOUT ROWID;
     INSERT INTO hour SELECT at / 60, site, outcome, rule, sum(requests) FROM minute GROUP BY 1, 2, 3, 4;",
];

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is none.
    #[error("there is no record at {}; a guard that has run with this state directory makes one", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened, read or written.
    #[error("failed to {action} the record {}: {error}", path.display())]
    Database {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the database said.
        error: rusqlite::Error,
    },
    /// It cannot be made.
    #[error("failed to make the record {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is of a later version.
    #[error("the record {} has layout {found}, where this version knows up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: usize,
        /// The latest known.
        known: usize,
    },
    /// It is of another version than whoever only adds to it.
    #[error("the record {} has layout {found}, where this version writes {present}; the guard brings it there when it starts", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: usize,
        /// The present one.
        present: usize,
    },
    /// It is damaged.
    #[error("the record {} is damaged: {found}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
}

/// Opens the file for writing, made if it is not there, in the present layout.
///
/// # Errors
/// When it cannot be; [`RecordError::Damaged`] and [`RecordError::Newer`] when another one should be begun.
pub(super) fn open(path: &Path) -> Result<Connection, RecordError> {
    // Made here, so that nobody else may read it.
    let made = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.map_err(|error| RecordError::File { path: path.to_owned(), error })?;
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            RecordError::Damaged { path: path.to_owned(), found: error.to_string() }
        }
        _ => RecordError::Database { action: "open", path: path.to_owned(), error },
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(LOCKED_TIME_MAX).map_err(failed)?;
    // Before the first table is made, so that deleted rows can give their room back.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    // In WAL mode a killed process loses nothing that was committed, and a power cut nothing of the file.
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if found != "ok" {
        return Err(RecordError::Damaged { path: path.to_owned(), found });
    }
    let version: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if version > MIGRATIONS.len() {
        return Err(RecordError::Newer { path: path.to_owned(), found: version, known: MIGRATIONS.len() });
    }
    let transaction = connection.transaction().map_err(failed)?;
    for migration in MIGRATIONS.iter().skip(version) {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len()).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(connection)
}

/// Opens the file for reading only.
///
/// # Errors
/// When there is none, or it cannot be read.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, RecordError> {
    open_as_it_is(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Opens the file to add a few rows, also beside a guard: neither looked through nor brought into another layout.
///
/// # Errors
/// When there is none, or it is of another layout than the present one.
pub(super) fn open_to_append(path: &Path) -> Result<Connection, RecordError> {
    let connection = open_as_it_is(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW)?;
    let found: usize = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| RecordError::Database { action: "read", path: path.to_owned(), error })?;
    match found == MIGRATIONS.len() {
        true => Ok(connection),
        false => Err(RecordError::Other { path: path.to_owned(), found, present: MIGRATIONS.len() }),
    }
}

fn open_as_it_is(path: &Path, flags: OpenFlags) -> Result<Connection, RecordError> {
    if !path.exists() {
        return Err(RecordError::Missing { path: path.to_owned() });
    }
    let failed = |error| RecordError::Database { action: "open", path: path.to_owned(), error };
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    connection.busy_timeout(LOCKED_TIME_MAX).map_err(failed)?;
    Ok(connection)
}

/// Moves a file that cannot be used out of the way, where it can be looked at, with what belongs to it.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let aside = beside(".damaged");
    for ending in ["-wal", "-shm"] {
        match fs::rename(beside(ending), beside(&format!(".damaged{ending}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(path, &aside)?;
    Ok(aside)
}
