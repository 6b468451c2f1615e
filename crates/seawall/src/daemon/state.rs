//! The state directory: the control socket and what the guard has learnt. Only its owner can look into it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::record::BASELINE_NAME;

/// A saved baseline is never larger; a larger file is not one.
const BASELINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The file that says that the operator has taken everything out.
pub const PANIC_NAME: &str = "panic";

/// The file that says what a guard could not take out of the kernel when it stopped, and why.
pub const LEFT_NAME: &str = "left-in-kernel";

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be made or entered.
    #[error("failed to use the state directory {}: {error}; choose another with --state DIR", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another guard uses it.
    #[error("another guard is running with the state directory {}; stop it with `seawall stop`, or choose another with --state DIR", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Its path is too long for a socket.
    #[error("failed to make the control socket {}: {error}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The state directory of one guard.
#[derive(Clone, Debug)]
pub(super) struct StateDirectory {
    path: PathBuf,
}

impl StateDirectory {
    /// Makes the directory if it is not there, and keeps everybody else out of it.
    ///
    /// # Errors
    /// When it cannot be made, or belongs to somebody else.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let open = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            let metadata = fs::metadata(path)?;
            if metadata.uid() != rustix::process::geteuid().as_raw() {
                return Err(io::Error::other("it belongs to another user"));
            }
            // A folder that others use, as /tmp, would be taken from them by what follows.
            if metadata.mode() & 0o022 != 0 {
                return Err(io::Error::other("others may write in it"));
            }
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        };
        open().map_err(|error| StateError::Directory { path: path.to_owned(), error })?;
        Ok(Self { path: path.to_owned() })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the operator has taken everything out, and not yet said that it goes on.
    pub(super) fn is_panicked(&self) -> bool {
        self.path.join(PANIC_NAME).exists()
    }

    /// Keeps over a restart whether everything is out. Without it a guard that its service manager starts again would lock
    /// out whoever had just asked to be let in.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn set_panicked(&self, is_on: bool) -> io::Result<()> {
        let path = self.path.join(PANIC_NAME);
        if is_on {
            return fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map(|_| ());
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Tells whoever stopped the guard, and is not its parent, that something of it is still in force.
    pub(super) fn note_left(&self, left: Option<&str>) {
        let path = self.path.join(LEFT_NAME);
        let noted = match left {
            Some(left) => fs::write(path, left),
            None => fs::remove_file(path),
        };
        if let Err(error) = noted
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "failed to note in the state directory what is left in the kernel");
        }
    }

    /// What was learnt before, if anything was.
    pub(super) fn load_baseline(&self) -> Option<Vec<u8>> {
        let path = self.baseline_path();
        let read = || -> io::Result<Vec<u8>> {
            if fs::metadata(&path)?.len() > BASELINE_BYTES_MAX {
                return Err(io::Error::other("it is too large to be one"));
            }
            fs::read(&path)
        };
        match read() {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "failed to read the baseline; learning anew");
                None
            }
        }
    }

    /// Keeps what was learnt. The file is replaced whole or not at all.
    ///
    /// # Errors
    /// What the system says; the old file is still there then.
    pub(super) fn save_baseline(&self, bytes: &[u8]) -> io::Result<()> {
        let (path, unfinished) = (self.baseline_path(), self.path.join("baseline.new"));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    }

    /// Moves a baseline that cannot be used out of the way, where it can be looked at.
    pub(super) fn set_baseline_aside(&self) {
        let aside = self.path.join("baseline.damaged");
        if let Err(error) = fs::rename(self.baseline_path(), &aside) {
            tracing::warn!(%error, "failed to set the damaged baseline aside");
        }
    }

    fn baseline_path(&self) -> PathBuf {
        self.path.join(BASELINE_NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_is_kept_privately_and_read_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDirectory::open(&directory.path().join("a/b")).expect("usable");
        assert_eq!(state.load_baseline(), None);
        state.save_baseline(b"learnt").expect("saved");
        assert_eq!(state.load_baseline().as_deref(), Some(&b"learnt"[..]));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(state.path()), mode(&state.baseline_path())), (0o700, 0o600));
        state.set_baseline_aside();
        assert_eq!(state.load_baseline(), None);
        assert!(state.path().join("baseline.damaged").exists());
    }

    #[test]
    fn a_directory_that_others_use_is_left_to_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let shared = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(directory.path(), shared.clone()).expect("ours");
        let error = StateDirectory::open(directory.path()).expect_err("others may write there");
        assert!(error.to_string().contains("others may write"), "{error}");
        let mode = fs::metadata(directory.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, shared.mode());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let error = StateDirectory::open(Path::new("/proc/nothing/here")).expect_err("no such place");
        assert!(error.to_string().contains("/proc/nothing/here"), "{error}");
    }
}
