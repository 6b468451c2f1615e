//! The file: opening it, its tables, and how an older layout becomes the present one.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long a statement waits for another process that reads or writes.
const LOCKED_TIME_MAX: Duration = Duration::from_millis(500);

/// What the log beside the file (`-wal`) is cut back to once it was carried over. It grows with the largest transaction.
const LOG_BYTES: u32 = 1 << 20;

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
    // Whom a line is about, as bans are written.
    "ALTER TABLE journal ADD COLUMN address BLOB;
     ALTER TABLE journal ADD COLUMN length INTEGER;
     ALTER TABLE journal ADD COLUMN day INTEGER;",
    // How the traffic was when something was decided, and a minute later, as of what people do.
    "ALTER TABLE decision ADD COLUMN before TEXT;
     ALTER TABLE decision ADD COLUMN after TEXT;
     -- What was counted since a start is told by the counts of the minutes and hours, over every start.
     DELETE FROM state WHERE name = 'counters';",
    // What was done and what was decided are numbered together, in the order in which they were written.
    "CREATE TABLE numbered AS
         SELECT of, id, (SELECT max(id) FROM (SELECT id FROM journal UNION ALL SELECT id FROM decision))
             + row_number() OVER (ORDER BY at, id) AS number
         FROM (SELECT 'journal' AS of, id, at FROM journal UNION ALL SELECT 'decision', id, at FROM decision);
     UPDATE journal SET id = number FROM numbered WHERE of = 'journal' AND numbered.id = journal.id;
     UPDATE decision SET id = number FROM numbered WHERE of = 'decision' AND numbered.id = decision.id;
     DROP TABLE numbered;",
];

/// The number of the next line of the journal or decision.
pub(super) const NEXT_NUMBER: &str =
    "(SELECT 1 + max((SELECT coalesce(max(id), 0) FROM journal), (SELECT coalesce(max(id), 0) FROM decision)))";

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
    let failed = |error| failure("open", path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(LOCKED_TIME_MAX).map_err(failed)?;
    // Before the first table is made, so that deleted rows can give their room back.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    // In WAL mode a killed process loses nothing that was committed, and a power cut nothing of the file.
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES).map_err(failed)?;
    check(&connection, path)?;
    let version = layout(&connection).map_err(failed)?;
    if version > MIGRATIONS.len() {
        return Err(RecordError::Newer { path: path.to_owned(), found: version, known: MIGRATIONS.len() });
    }
    // Where nothing has to be changed, nothing is written: the disk may be full.
    if version == MIGRATIONS.len() {
        return Ok(connection);
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

/// Opens the file to read it before it is known whether it can be written, and so that nothing is.
///
/// # Errors
/// When there is none, or it cannot be read.
pub(super) fn open_to_restore(path: &Path) -> Result<Connection, RecordError> {
    let connection = open_to_read(path)?;
    let Err(error) = layout(&connection) else { return Ok(connection) };
    if is_damage(&error) {
        return Err(failure("read", path, error));
    }
    drop(connection);
    // What readers and writers share needs room on the disk. Alone, it can be in memory; and leaving, nothing is tidied up.
    let failed = |error| failure("read", path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(LOCKED_TIME_MAX).map_err(failed)?;
    leave_as_it_is(&connection);
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
    layout(&connection).map_err(failed)?;
    Ok(connection)
}

/// The layout of the file; 0 when there is nothing in it.
pub(super) fn layout(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Whether the present version can read a file of this layout.
pub(super) const fn is_known(layout: usize) -> bool {
    layout >= 1 && layout <= MIGRATIONS.len()
}

/// Whether the journal of this layout has addresses of its own.
pub(super) const fn has_addresses_in_journal(layout: usize) -> bool {
    layout >= 3
}

/// Whether decisions of this layout say how the traffic was.
pub(super) const fn has_situations_of_decisions(layout: usize) -> bool {
    layout >= 4
}

/// Whether the journal and the decisions of this layout are numbered together.
pub(super) const fn is_numbered_together(layout: usize) -> bool {
    layout >= 5
}

/// Looks through the file as it is on the disk, into which something was written before.
///
/// # Errors
/// When it is damaged, or emptied, or cannot be read.
pub(super) fn check_on_disk(path: &Path) -> Result<(), RecordError> {
    let connection = open_to_read(path)?;
    check(&connection, path)?;
    match layout(&connection) {
        Ok(0) => {
            Err(RecordError::Damaged { path: path.to_owned(), found: "there is nothing in it any more".to_owned() })
        }
        Ok(_) => Ok(()),
        Err(error) => Err(failure("read", path, error)),
    }
}

fn check(connection: &Connection, path: &Path) -> Result<(), RecordError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| failure("read", path, error))?;
    // It names what is wrong with a page in lines of its own.
    let found = found.trim().replace('\n', "; ");
    if found == "ok" { Ok(()) } else { Err(RecordError::Damaged { path: path.to_owned(), found }) }
}

/// Lets go of a file that is no longer the record's, so that nothing is written into what is there now or deleted beside it.
pub(super) fn leave_as_it_is(connection: &Connection) {
    // At worst the log beside it is carried over, as it would be without.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

/// Whether an error says that the file is damaged, and not only that it cannot be used at the moment.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn failure(action: &'static str, path: &Path, error: rusqlite::Error) -> RecordError {
    let path = path.to_owned();
    if is_damage(&error) {
        RecordError::Damaged { path, found: error.to_string() }
    } else {
        RecordError::Database { action, path, error }
    }
}

/// Which file it is, and when it was last changed: others do neither while the guard has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    file: (u64, u64),
    log: Option<(u64, u64)>,
    changed: (i64, i64),
    bytes: u64,
    log_bytes: u64,
}

impl Seen {
    /// The file as it is now; none when there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let log = fs::metadata(beside(path, "-wal")).ok();
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            log: log.as_ref().map(|log| (log.dev(), log.ino())),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
            bytes: metadata.len(),
            log_bytes: log.map_or(0, |log| log.len()),
        })
    }

    /// Whether it is still the same file, with the log that it had.
    pub(super) fn is_same(&self, before: &Self) -> bool {
        self.file == before.file && (before.log.is_none() || self.log == before.log)
    }

    /// Whether its content is what it was.
    pub(super) const fn is_unchanged(&self, before: &Self) -> bool {
        self.changed.0 == before.changed.0 && self.changed.1 == before.changed.1
    }

    /// Its bytes, with those of its log.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes + self.log_bytes
    }

    /// The bytes of its log alone.
    pub(super) const fn log_bytes(&self) -> u64 {
        self.log_bytes
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Moves a file that cannot be used out of the way, where it can be looked at, with what belongs to it. One that was damaged before it is
/// kept as well, and of more than two the latest two: none of a disk that damages files is to fill it.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = beside(path, ".damaged");
    for (from, to) in [(aside.clone(), beside(path, ".damaged.1")), (path.to_owned(), aside.clone())] {
        for ending in ["-wal", "-shm"] {
            match fs::rename(beside(&from, ending), beside(&to, ending)) {
                // What belonged to the one whose place this takes says nothing of it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let _ = fs::remove_file(beside(&to, ending));
                }
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
        match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && from != path => {}
            moved => moved?,
        }
    }
    Ok(aside)
}
