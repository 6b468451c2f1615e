//! The note in the state directory that there may be a table of the guard's in the kernel, for whoever comes after one that was killed:
//! `seawall panic`, and the next guard, which may not be able to change it or not want any. It holds no address.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use seawall_engine::units::Timestamp;

use super::claim::{self, Holder};
use super::table::LEASE;
use super::{removal, right};

/// The file in the state directory.
const FILE_NAME: &str = "kernel-table";

/// No name of a table is longer.
const NOTE_BYTES_MAX: u64 = 256;

/// The table that the guard of a state directory may have left, and whether the note is this user's own. What another user has written
/// there must not decide which table this one removes.
pub(super) fn noted(state: &Path) -> Option<(String, bool)> {
    let mut options = fs::OpenOptions::new();
    options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    let file = options.open(state.join(FILE_NAME)).ok()?;
    let owner = file.metadata().ok()?.uid();
    let mut table = String::new();
    file.take(NOTE_BYTES_MAX).read_to_string(&mut table).ok()?;
    let is_name = !table.is_empty() && table.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    is_name.then(|| (table, owner == rustix::process::geteuid().as_raw()))
}

/// Notes it.
pub(super) fn note(state: &Path, table: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options.open(state.join(FILE_NAME))?.write_all(table.as_bytes())
}

/// Takes the note away, once there is no table.
pub(super) fn forget(state: &Path) {
    if let Err(error) = fs::remove_file(state.join(FILE_NAME))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "failed to note in the state directory that the kernel has no table of the guard's");
    }
}

/// What the guard before this one has left, until it is gone.
#[derive(Debug)]
pub(super) struct Left {
    table: Option<String>,
    /// When the last entry of it has ended by itself.
    ends: Option<Timestamp>,
    /// Why it could not be removed.
    why: String,
}

impl Left {
    /// As it is noted.
    pub(super) fn of(state: &Path) -> Self {
        let table = noted(state).filter(|(_, is_own)| *is_own).map(|(table, _)| table);
        Self { table, ends: None, why: String::new() }
    }

    /// This table is the guard's now.
    pub(super) fn take_over(&mut self, table: &str) {
        self.table.take_if(|left| left == table);
    }

    /// Removes it, for which no program is needed.
    pub(super) fn remove(&mut self, state: &Path, now: Timestamp) {
        let Some(table) = &self.table else { return };
        self.ends.get_or_insert(now + LEASE);
        let removed = match claim::holder(table, &claim::folders(state)) {
            // Another guard has taken the name, and the table with it.
            Holder::Guard { .. } => Ok(()),
            Holder::Untold { why } => Err(format!("whether another guard has it now cannot be told: {why}")),
            Holder::Nobody { _held } => {
                right::obtain().map_err(|missing| missing.to_string()).and_then(|()| removal::remove(None, table))
            }
        };
        match removed {
            Ok(()) => {
                tracing::info!("the table inet {table} of the guard before this one is gone");
                self.table = None;
                forget(state);
            }
            Err(why) => self.why = why,
        }
    }

    /// What may still be in force, and why.
    pub(super) fn words(&self, now: Timestamp) -> Option<String> {
        let table = self.table.as_ref().filter(|_| self.ends.is_none_or(|ends| now < ends))?;
        Some(format!(
            "the table inet {table} of the guard before this one may still drop whoever is in it: {}",
            self.why
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_a_table_and_nothing_else() {
        let state = tempfile::tempdir().expect("a folder");
        assert_eq!(noted(state.path()), None);
        note(state.path(), "gate-2").expect("room");
        assert_eq!(noted(state.path()), Some(("gate-2".to_owned(), true)));
        for text in ["", "gate 2", "a; flush ruleset"] {
            note(state.path(), text).expect("room");
            assert_eq!(noted(state.path()), None, "{text}");
        }
        forget(state.path());
        std::os::unix::fs::symlink("/etc/hostname", state.path().join(FILE_NAME)).expect("room");
        assert!(noted(state.path()).is_none() && note(state.path(), "gate").is_err());
    }

    #[test]
    fn a_table_of_whom_nothing_can_be_told_is_not_called_gone() {
        let state = tempfile::tempdir().expect("a folder");
        note(state.path(), "gate-left").expect("room");
        let namespace = fs::metadata("/proc/thread-self/ns/net").expect("a namespace").ino();
        fs::create_dir(state.path().join(format!("table-{namespace}-gate-left.lock"))).expect("room");
        let (mut left, now) = (Left::of(state.path()), Timestamp::from_seconds(1_700_000_000));
        left.remove(state.path(), now);
        assert!(left.words(now).is_some_and(|words| words.contains("cannot be told")), "{left:?}");
        assert!(noted(state.path()).is_some());
    }

    #[test]
    fn what_was_left_is_told_until_its_last_entry_has_ended() {
        let now = Timestamp::from_seconds(1_700_000_000);
        let left = Left { table: Some("gate".to_owned()), ends: Some(now + LEASE), why: "no right".to_owned() };
        assert!(left.words(now).is_some_and(|words| words.contains("inet gate") && words.contains("no right")));
        assert_eq!(left.words(now + LEASE), None);
    }
}
