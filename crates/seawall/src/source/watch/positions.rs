//! How far each source was read, kept over restarts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fingerprint::{FileId, Fingerprint};

/// The file in the state directory.
const NAME: &str = "positions.json";

/// A file of positions is never larger; a larger one is none.
const BYTES_MAX: u64 = 4 << 20;

/// How far one file was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Which file.
    pub(super) id: FileId,
    /// How it begins.
    pub(super) fingerprint: Fingerprint,
    /// The first byte that was not read: the beginning of a line.
    pub(super) offset: u64,
    /// Whether it was read under another name, as far as the offset or less.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_others: bool,
    /// Whether it had been left for another file, and was read to its end: whoever does not find it again has missed nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_done: bool,
}

/// How far everything was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Positions {
    /// For each path the files that were read under it, the oldest first: a renamed one may not be at its end.
    #[serde(default)]
    pub(super) files: BTreeMap<String, Vec<Position>>,
    /// For each unit of the journal, `""` for all, the cursor of the last entry.
    #[serde(default)]
    pub(super) journal: BTreeMap<String, String>,
}

/// Where the positions are kept.
#[derive(Clone, Debug)]
pub(super) struct PositionFile {
    path: PathBuf,
    saved: Positions,
}

impl PositionFile {
    /// The positions in a state directory; none where there are none that can be read, which is told.
    pub(super) fn open(state_directory: &Path) -> Self {
        let path = state_directory.join(NAME);
        let read = || -> io::Result<Positions> {
            if fs::metadata(&path)?.len() > BYTES_MAX {
                return Err(io::Error::other("it is too large"));
            }
            Ok(serde_json::from_slice(&fs::read(&path)?)?)
        };
        let saved = read().unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "failed to read the positions; logs are read from their ends");
            }
            Positions::default()
        });
        Self { path, saved }
    }

    /// What was saved last.
    pub(super) fn saved(&self) -> &Positions {
        &self.saved
    }

    /// Keeps the positions. The file is replaced whole or not at all.
    ///
    /// # Errors
    /// What the system says; the old file is still there then.
    pub(super) fn save(&mut self, positions: Positions) -> io::Result<()> {
        if positions == self.saved {
            return Ok(());
        }
        let unfinished = self.path.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(&serde_json::to_vec(&positions)?)?;
        fs::rename(&unfinished, &self.path)?;
        self.saved = positions;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_kept_and_damaged_ones_are_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut file = PositionFile::open(directory.path());
        assert_eq!(file.saved(), &Positions::default());
        let log = fs::File::open(std::env::current_exe().expect("this program")).expect("readable");
        let position = Position {
            id: FileId::of(&log.metadata().expect("there")),
            fingerprint: Fingerprint::of(&log).expect("readable"),
            offset: 7,
            is_others: false,
            is_done: false,
        };
        let others = Position { is_others: true, ..position };
        let files = BTreeMap::from([("/var/log/a.log".to_owned(), vec![position, others])]);
        let positions = Positions { files, journal: BTreeMap::from([(String::new(), "s=1".to_owned())]) };
        file.save(positions.clone()).expect("saved");
        assert_eq!(PositionFile::open(directory.path()).saved(), &positions);
        fs::write(directory.path().join(NAME), "{\"files\":3}").expect("written");
        assert_eq!(PositionFile::open(directory.path()).saved(), &Positions::default());
    }
}
