//! Which table is whose: two guards on one machine must not fight over one, and nobody is to remove one that is in use.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Guards on one machine.
const GUARDS_MAX: usize = 16;

/// Where root's guards keep their claims. Nobody else can make it, so that no user can take the names of all tables.
const RUNTIME_FOLDER: &str = "/run/seawall";

/// What a claim tells of its guard, in bytes.
const TOLD_BYTES_MAX: u64 = 4_096;

/// A name that no other guard of this network namespace has: a file that is locked for as long as the process lives, however it
/// ends. Nobody but its owner can open it, and so nobody else can lock it.
#[derive(Debug)]
pub(crate) struct Claim {
    table: String,
    _held: File,
}

/// Where claims of a guard with this state directory are: root's in one place, a service's where its service manager says
/// (`RuntimeDirectory=`), and of any other user in the state directory, where they tell apart no guards but of that one.
pub(crate) fn folder(state: &Path) -> PathBuf {
    if rustix::process::geteuid().is_root() && make_runtime_folder().is_ok() {
        return RUNTIME_FOLDER.into();
    }
    let given = std::env::var("RUNTIME_DIRECTORY").ok();
    let given = given.as_deref().and_then(|folders| folders.split(':').next()).filter(|folder| !folder.is_empty());
    given.map_or_else(|| state.to_owned(), PathBuf::from)
}

fn make_runtime_folder() -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(RUNTIME_FOLDER) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Claim {
    /// Claims `name`, or the first free of `name-2`, `name-3` and so on, for the guard with this state directory.
    ///
    /// # Errors
    /// When all are taken, or the folder of claims cannot be used.
    pub(crate) fn take(name: &str, folder: &Path, state: &Path) -> io::Result<Self> {
        let names =
            (1..=GUARDS_MAX).map(|number| if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
        for table in names {
            let mut held = open(&path(folder, &table), true)?;
            match held.try_lock() {
                Ok(()) => {
                    // For people alone: whoever cannot be told whose it is finds it locked all the same.
                    let _ = held.set_len(0).and_then(|()| held.write_all(state.to_string_lossy().as_bytes()));
                    return Ok(Self { table, _held: held });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other(format!("{GUARDS_MAX} other guards have the tables {name}, {name}-2 and so on")))
    }

    /// The table's name.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }
}

/// Whose a table is.
#[derive(Debug)]
pub(super) enum Holder {
    /// No guard's that runs; nobody can claim it while this is kept.
    Nobody { _held: Option<File> },
    /// A guard's, with this state directory as far as it is known.
    Guard { state: String },
    /// Whether a guard of another user has it cannot be told from here. Whoever may not even look must not remove it either.
    Untold { why: String },
}

/// Whose a table is, by the claims in these folders.
pub(super) fn holder(table: &str, folders: &[PathBuf]) -> Holder {
    let mut kept = None;
    for folder in folders {
        let mut claim = match open(&path(folder, table), false) {
            Ok(claim) => claim,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Holder::Untold { why: format!("cannot open {}: {error}", path(folder, table).display()) };
            }
        };
        match claim.try_lock() {
            Ok(()) => kept = Some(claim),
            Err(_) => {
                let mut state = String::new();
                let told = claim.rewind().and_then(|()| claim.take(TOLD_BYTES_MAX).read_to_string(&mut state));
                return Holder::Guard { state: if told.is_ok() { state } else { "unknown".to_owned() } };
            }
        }
    }
    Holder::Nobody { _held: kept }
}

/// The folders that may hold claims on tables that whoever uses this state directory can reach.
pub(super) fn folders(state: &Path) -> Vec<PathBuf> {
    // Of services that run as other users: /run/seawall-blog and the like.
    let is_ours = |folder: &PathBuf| folder.to_string_lossy().starts_with(RUNTIME_FOLDER) && folder.is_dir();
    let parent = Path::new(RUNTIME_FOLDER).parent().unwrap_or(Path::new("/"));
    let runtime = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_ours);
    let folders: BTreeSet<PathBuf> = runtime.chain([folder(state), state.to_owned()]).collect();
    folders.into_iter().collect()
}

/// The file of a claim. Tables belong to a network namespace, and so do claims.
fn path(folder: &Path, table: &str) -> PathBuf {
    let namespace = fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.ino());
    folder.join(format!("table-{namespace}-{table}.lock"))
}

fn open(path: &Path, is_made: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // A link would have it make or empty another file, and a pipe in its place would have it wait for ever.
    options
        .read(true)
        .write(true)
        .create(is_made)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    options.open(path)
}

/// Whether `table` is one that guards who are told `name` make.
pub(crate) fn is_of(table: &str, name: &str) -> bool {
    let number = table.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
    table == name || number.is_some_and(|number| number.parse().is_ok_and(|number| (2..=GUARDS_MAX).contains(&number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_guard_gets_another_table_and_a_name_is_free_once_its_guard_has_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let take = || Claim::take("seawall", folder.path(), Path::new("/var/lib/one")).expect("one is free");
        let (first, second) = (take(), take());
        assert_eq!((first.table(), second.table()), ("seawall", "seawall-2"));
        let whose = || holder("seawall", &[folder.path().to_owned()]);
        assert!(matches!(whose(), Holder::Guard { state } if state == "/var/lib/one"));
        drop(first);
        assert!(matches!(whose(), Holder::Nobody { _held: Some(_) }));
        assert_eq!(take().table(), "seawall");
    }

    #[test]
    fn a_claim_that_cannot_be_looked_at_is_neither_a_guards_nor_nobodys() {
        let folder = tempfile::tempdir().expect("a folder");
        // Root opens every file, but no folder as one.
        fs::create_dir(path(folder.path(), "seawall")).expect("room");
        assert!(
            matches!(holder("seawall", &[folder.path().to_owned()]), Holder::Untold { why } if why.contains(".lock: "))
        );
    }

    #[test]
    fn a_claim_is_nobody_elses_to_open_and_no_link_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let claim = Claim::take("seawall", folder.path(), folder.path()).expect("it is free");
        assert_eq!(claim._held.metadata().expect("a file").mode() & 0o777, 0o600);
        let target = folder.path().join("target");
        std::os::unix::fs::symlink(&target, path(folder.path(), "other")).expect("room");
        assert!(Claim::take("other", folder.path(), folder.path()).is_err());
        assert!(!target.exists());
    }

    #[test]
    fn tables_of_other_programs_are_not_ours() {
        for (table, expected) in
            [("seawall", true), ("seawall-2", true), ("seawall-17", false), ("seawall-x", false), ("filter", false)]
        {
            assert_eq!(is_of(table, "seawall"), expected, "{table}");
        }
    }
}
