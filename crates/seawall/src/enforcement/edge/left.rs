//! The note in the state directory that there may be something of the guard's at a CDN, and which configuration says where: for `seawall
//! panic` after the guard was killed. It holds no address and no token.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// The file in the state directory.
const FILE_NAME: &str = "edge";

/// A path and a word are never longer.
const NOTE_BYTES_MAX: u64 = 16 * 1024;

/// What a guard may have left at a CDN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The provider, as people call it.
    pub provider: String,
    /// The configuration that says where.
    pub config: PathBuf,
}

impl Left {
    /// What the guard of a state directory has left, and whether the note is this user's own. What another user has written there must not
    /// decide which files this one reads and where it sends a token.
    pub fn of(state_directory: &Path) -> Option<(Self, bool)> {
        // Whose it is is asked of what is read, which may be another file than its name leads to a moment later.
        let mut options = fs::OpenOptions::new();
        options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(state_directory.join(FILE_NAME)).ok()?;
        let owner = file.metadata().ok()?.uid();
        let left = serde_json::from_reader(file.take(NOTE_BYTES_MAX)).ok()?;
        Some((left, owner == rustix::process::geteuid().as_raw()))
    }

    /// Takes the note away, once nothing is left.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget(state_directory: &Path) -> io::Result<()> {
        match fs::remove_file(state_directory.join(FILE_NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Notes it.
    pub(super) fn note(&self, state_directory: &Path) -> io::Result<()> {
        fs::write(state_directory.join(FILE_NAME), serde_json::to_vec(self)?)
    }
}
