//! The keys of the days: made at random, kept in `keys/` of the state directory, deleted when their time is over.
//!
//! Each is a file named after its day, readable by its owner alone. A key is on the disk before it is used, whole and under its name at
//! once, so that any number of processes that need the same one agree on it. Keys of days whose time is over, or that have not
//! come, are never written: they are derived from a secret that lives as long as the [`KeyStore`].

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use ipcrypt_rs::Ipcrypt;

use super::Day;

/// For how many days a key is kept unless the operator says otherwise: as long as web servers' logs are looked at for
/// attacks, and no longer.
pub const RETENTION_DAYS_DEFAULT: u16 = 7;

/// The longest time that a key can be kept, in days: who keeps one for longer hides nobody.
pub const RETENTION_DAYS_MAX: u16 = 366;

/// The folder within the state directory.
const FOLDER: &str = "keys";

/// What a key's file is called after its day.
const ENDING: &str = ".key";

/// How a key's file begins. What follows is the secret and nothing else.
const BEGINNING: &[u8] = b"seawall-key-1\n";

const SECRET_BYTES: usize = 16;

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The folder cannot be made, entered or listed.
    #[error(
        "failed to use the folder of keys {}: {error}; choose another state directory, or keep no keys with a retention of 0", path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said, or is wrong with it.
        error: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error(
        "{} is open to others (mode {mode:04o}): its keys may be known; delete it, so that new pseudonyms are made, or close it with `chmod {} {}` if nobody has looked", path.display(), if *is_folder { "700" } else { "600" }, path.display()
    )]
    Open {
        /// The file or the folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Whether it is the folder.
        is_folder: bool,
    },
    /// A file is no key.
    #[error(
        "{} is no key: {found}; delete it, so that lines of that day get new pseudonyms", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it is in place of one.
        found: &'static str,
    },
    /// A file cannot be read, written or deleted.
    #[error("failed to {action} the key {}: {error}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The system gave no random bytes.
    #[error("cannot draw a random key: {0}")]
    Random(getrandom::Error),
}

/// What a key is used for. Each purpose has keys of its own, so that nothing that one gives away helps against another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// Pseudonyms that share nothing with their address.
    Pseudonym = 1,
    /// Pseudonyms that keep networks together: two keys.
    Networks = 2,
    /// Keys of days that are not kept, from the secret of a run.
    Day = 3,
}

/// The key of a day.
#[derive(Clone)]
pub struct DayKey {
    secret: [u8; SECRET_BYTES],
}

impl DayKey {
    /// The key for a purpose, of several the one with this number: a block encrypted under the secret, as of a key derivation
    /// in counter mode (NIST SP 800-108). Different blocks give different keys.
    pub(super) fn derive(&self, purpose: Purpose, number: u64) -> [u8; SECRET_BYTES] {
        let mut block = [0; SECRET_BYTES];
        let (head, tail) = block.split_at_mut(SECRET_BYTES / 2);
        if let Some(first) = head.first_mut() {
            *first = purpose as u8;
        }
        tail.copy_from_slice(&number.to_be_bytes());
        Ipcrypt::new(self.secret).encrypt_ip16(&mut block);
        block
    }

    fn random() -> Result<Self, KeyError> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(KeyError::Random)?;
        Ok(Self { secret })
    }
}

/// The keys of all days.
pub struct KeyStore {
    /// None when none are kept.
    folder: Option<PathBuf>,
    retention_days: u16,
    /// For days whose key is not kept.
    of_run: DayKey,
}

impl KeyStore {
    /// The store within a state directory, both made if they are not there. A key is kept for `retention_days`, its own day
    /// included; with 0 nothing is read, written or deleted.
    ///
    /// # Errors
    /// When the folder cannot be made, belongs to somebody else, or is open to others.
    pub fn open(state_directory: &Path, retention_days: u16) -> Result<Self, KeyError> {
        let of_run = DayKey::random()?;
        if retention_days == 0 {
            return Ok(Self { folder: None, retention_days, of_run });
        }
        let path = state_directory.join(FOLDER);
        let failed = |error| KeyError::Folder { path: path.clone(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        for owned in [state_directory, &path] {
            // Root could read everybody's, but what it writes the others could not.
            if fs::metadata(owned).map_err(failed)?.uid() != rustix::process::geteuid().as_raw() {
                let message = format!("{} belongs to another user; run as that user", owned.display());
                return Err(failed(io::Error::other(message)));
            }
        }
        let mode = fs::metadata(&path).map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { path, mode, is_folder: true });
        }
        Ok(Self { folder: Some(path), retention_days, of_run })
    }

    /// The key of a day. One that is to be kept is made if it is not there. For tomorrow too, since clocks differ.
    ///
    /// # Errors
    /// When the file cannot be read or written, is open to others, or is no key.
    pub fn key(&self, day: Day, today: Day) -> Result<DayKey, KeyError> {
        let is_kept = match day.age(today) {
            Some(age) => age < u64::from(self.retention_days),
            None => today.age(day) == Some(1),
        };
        match &self.folder {
            Some(folder) if is_kept => kept_or_made(folder, day),
            _ => Ok(DayKey { secret: self.of_run.derive(Purpose::Day, day.number()) }),
        }
    }

    /// The key that is kept for a day, whatever the date is now; none when there is none, and none is made.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others, or is no key.
    pub fn kept(&self, day: Day) -> Result<Option<DayKey>, KeyError> {
        self.folder.as_deref().map_or(Ok(None), |folder| read(&path_of(folder, day)))
    }

    /// Whether keys are kept at all.
    pub const fn keeps_any(&self) -> bool {
        self.folder.is_some()
    }

    /// Whether the time of a day's key is over.
    pub fn is_over(&self, day: Day, today: Day) -> bool {
        day.age(today).is_some_and(|age| age >= u64::from(self.retention_days))
    }

    /// Deletes the keys whose time is over.
    ///
    /// # Errors
    /// When one cannot be deleted: then whom it hid can still be told.
    pub fn forget(&self, today: Day) -> Result<(), KeyError> {
        self.delete(|day| self.is_over(day, today))
    }

    /// Deletes the keys of days after this one, which a clock that was ahead has made.
    ///
    /// # Errors
    /// When one cannot be deleted.
    pub fn forget_after(&self, last: Day) -> Result<(), KeyError> {
        self.delete(|day| day > last)
    }

    fn delete(&self, is_to_go: impl Fn(Day) -> bool) -> Result<(), KeyError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let failed = |error| KeyError::Folder { path: folder.clone(), error };
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let day = name.to_str().and_then(|name| name.strip_suffix(ENDING)).and_then(|day| day.parse::<Day>().ok());
            if !day.is_some_and(&is_to_go) {
                continue;
            }
            match fs::remove_file(entry.path()) {
                // Another process was quicker.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(KeyError::File { action: "delete", path: entry.path(), error });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

fn path_of(folder: &Path, day: Day) -> PathBuf {
    folder.join(format!("{day}{ENDING}"))
}

/// The key that is kept for a day, made if there is none.
fn kept_or_made(folder: &Path, day: Day) -> Result<DayKey, KeyError> {
    let path = path_of(folder, day);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    let key = DayKey::random()?;
    match write(folder, &path, &key) {
        Ok(()) => Ok(key),
        // Another process was quicker, and its key is the one.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(&path)?.ok_or_else(|| {
            let error = io::Error::other("it comes and goes while it is made; is the machine's clock being set?");
            KeyError::File { action: "make", path, error }
        }),
        Err(error) => Err(KeyError::File { action: "write", path, error }),
    }
}

/// The key in a file; none when there is no such file.
fn read(path: &Path) -> Result<Option<DayKey>, KeyError> {
    let failed = |error| KeyError::File { action: "read", path: path.to_owned(), error };
    let damaged = |found| KeyError::Damaged { path: path.to_owned(), found };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(damaged("it is no file"));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode, is_folder: false });
    }
    let mut content = Vec::new();
    file.take((BEGINNING.len() + SECRET_BYTES + 1) as u64).read_to_end(&mut content).map_err(failed)?;
    let secret = content.strip_prefix(BEGINNING).ok_or_else(|| damaged("it begins as none does"))?;
    let secret = secret.try_into().map_err(|_| damaged("it is not as long as one"))?;
    Ok(Some(DayKey { secret }))
}

/// Writes a key under its name, whole or not at all, unless there is one already.
fn write(folder: &Path, path: &Path, key: &DayKey) -> io::Result<()> {
    // Only its owner can read it, from the first moment on.
    let mut file = tempfile::Builder::new().prefix("unfinished-").tempfile_in(folder)?;
    file.write_all(BEGINNING)?;
    file.write_all(&key.secret)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let state = tempfile::tempdir().expect("a folder");
        let directory = state.path().join("new/state");
        let today = day("2024-05-17");
        let key = KeyStore::open(&directory, 7).and_then(|keys| keys.key(today, today)).expect("a key");
        let again = KeyStore::open(&directory, 7).expect("a store");
        assert_eq!(again.key(today, today).expect("the same").secret, key.secret);
        assert_ne!(again.key(day("2024-05-16"), today).expect("another").secret, key.secret);
        assert_ne!(key.secret, [0; SECRET_BYTES]);
        let file = directory.join("keys/2024-05-17.key");
        assert_eq!((mode(&directory), mode(&directory.join("keys")), mode(&file)), (0o700, 0o700, 0o600));
        assert_eq!(fs::read_dir(directory.join("keys")).expect("a folder").count(), 2, "nothing unfinished is left");
    }

    #[test]
    fn keys_are_kept_for_so_many_days_and_then_deleted() {
        let state = tempfile::tempdir().expect("a folder");
        let keys = KeyStore::open(state.path(), 3).expect("a store");
        let today = day("2024-05-17");
        let days = ["2024-05-10", "2024-05-14", "2024-05-15", "2024-05-17", "2024-05-18", "2024-05-19"].map(day);
        let before = days.map(|day| keys.key(day, today).expect("a key").secret);
        let names = || {
            let entries = fs::read_dir(state.path().join(FOLDER)).expect("a folder");
            let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["2024-05-15.key", "2024-05-17.key", "2024-05-18.key"]);
        let again = days.map(|day| keys.key(day, today).expect("a key").secret);
        assert_eq!(before, again, "also those that are not kept stay while the store does");
        let other = KeyStore::open(state.path(), 3).expect("a store").key(days[0], today).expect("a key");
        assert_ne!(other.secret, before[0], "and go with it");

        // What is there can be read whatever the date, and nothing is made by asking.
        let of_day = |day: Day| keys.kept(day).expect("it can be read").map(|key| key.secret);
        assert_eq!((of_day(days[2]), of_day(days[1])), (Some(before[2]), None));
        assert!(keys.is_over(days[1], today) && !keys.is_over(days[2], today) && !keys.is_over(today, days[0]));

        fs::write(state.path().join("keys/notes"), "not a key").expect("room");
        keys.forget(day("2024-05-18")).expect("deleted");
        assert_eq!(names(), ["2024-05-17.key", "2024-05-18.key", "notes"]);
        assert_ne!(keys.key(days[2], day("2024-05-18")).expect("a key").secret, before[2]);
    }

    #[test]
    fn with_no_retention_nothing_is_touched() {
        let keys = KeyStore::open(Path::new("/proc/nothing/here"), 0).expect("no folder is needed");
        let today = day("2024-05-17");
        assert_eq!(keys.key(today, today).expect("a key").secret, keys.key(today, today).expect("a key").secret);
        keys.forget(today).expect("nothing to delete");
    }

    #[test]
    fn what_is_open_or_damaged_is_refused_with_advice() {
        let state = tempfile::tempdir().expect("a folder");
        let today = day("2024-05-17");
        let keys = KeyStore::open(state.path(), 7).expect("a store");
        keys.key(today, today).expect("a key");
        let (folder, file) = (state.path().join("keys"), state.path().join("keys/2024-05-17.key"));
        let error = || keys.key(today, today).map(|_| ()).expect_err("refused").to_string();

        set_mode(&file, 0o640);
        let (shown, message) = (file.display(), error());
        assert!(message.starts_with(&format!("{shown} is open to others (mode 0640)")), "{message}");
        assert!(message.contains(&format!("`chmod 600 {shown}`")), "{message}");
        set_mode(&file, 0o600);

        let content = fs::read(&file).expect("a key");
        for damaged in [&content[..content.len() - 1], &[0; 30], b"", &[&content[..], b"x"].concat()] {
            fs::write(&file, damaged).expect("room");
            assert!(error().contains("is no key: it "), "{}", error());
        }
        fs::remove_file(&file).expect("ours");
        fs::create_dir(&file).expect("room");
        assert!(error().contains("no file"), "{}", error());

        set_mode(&folder, 0o755);
        let message = KeyStore::open(state.path(), 7).map(|_| ()).expect_err("refused").to_string();
        assert!(message.contains("mode 0755") && message.contains("`chmod 700"), "{message}");
        let message = KeyStore::open(Path::new("/proc/nothing"), 7).map(|_| ()).expect_err("refused").to_string();
        assert!(message.starts_with("failed to use the folder of keys /proc/nothing/keys: "), "{message}");
    }

    #[test]
    fn all_who_need_a_key_at_once_get_the_same() {
        let state = tempfile::tempdir().expect("a folder");
        let today = day("2024-05-17");
        for _ in 0..20 {
            let keys: Vec<_> = (0..8).map(|_| KeyStore::open(state.path(), 7).expect("a store")).collect();
            let found: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = keys.iter().map(|keys| scope.spawn(|| keys.key(today, today))).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic").expect("a key").secret).collect()
            });
            assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
            fs::remove_file(state.path().join("keys/2024-05-17.key")).expect("it was made");
        }
    }

    #[test]
    fn purposes_have_keys_of_their_own() {
        let key = DayKey { secret: [7; SECRET_BYTES] };
        let derived = [
            key.derive(Purpose::Pseudonym, 0),
            key.derive(Purpose::Networks, 0),
            key.derive(Purpose::Networks, 1),
            key.derive(Purpose::Day, 0),
            key.secret,
        ];
        for (index, one) in derived.iter().enumerate() {
            assert!(!derived[..index].contains(one));
        }
        assert_eq!(key.derive(Purpose::Pseudonym, 0), derived[0]);
    }
}
