//! How a log file is known again under another name, in another process, or as a copy of itself.

use std::fs::{File, Metadata};
use std::hash::Hasher as _;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// How many of the first bytes are looked at: the first line or two, which hold a time.
const BYTES_MAX: usize = 256;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// That of a file.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// How a file begins. Another one with the same inode, or this one after it was emptied, begins otherwise; a copy begins the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    /// How many bytes were looked at.
    bytes: u64,
    /// A hash of them that does not change from one version of the program to another.
    hash: u64,
}

impl Fingerprint {
    /// Of a file as it is now.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Self::of_first(file, BYTES_MAX)
    }

    /// Whether a file begins like that. Nothing at all is no beginning.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn matches(&self, file: &File) -> io::Result<bool> {
        let bytes = usize::try_from(self.bytes).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        Ok(bytes > 0 && Self::of_first(file, bytes)? == *self)
    }

    /// Whether what `input` gives begins like that.
    ///
    /// # Errors
    /// What reading it comes to.
    pub(super) fn matches_read(&self, input: &mut impl Read) -> io::Result<bool> {
        let mut beginning = Vec::new();
        input.take(self.bytes.min(BYTES_MAX as u64)).read_to_end(&mut beginning)?;
        Ok(!beginning.is_empty() && Self::of_bytes(&beginning) == *self)
    }

    /// Whether more could be looked at if the file had it.
    pub(super) fn is_partial(&self) -> bool {
        self.bytes < BYTES_MAX as u64
    }

    /// Whether nothing was looked at.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn of_first(file: &File, bytes: usize) -> io::Result<Self> {
        let mut buffer = [0; BYTES_MAX];
        let room = buffer.get_mut(..bytes).unwrap_or_default();
        let mut filled = 0;
        while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self::of_bytes(room.get(..filled).unwrap_or_default()))
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(bytes);
        Self { bytes: bytes.len() as u64, hash: hasher.finish() }
    }
}
