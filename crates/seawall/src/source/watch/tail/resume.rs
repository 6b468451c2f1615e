//! Going on where another process was: finding the files again that it read, and those that were rotated away since.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seawall_engine::units::Timestamp;

use super::super::fingerprint::FileId;
use super::super::positions::Position;
use super::followed::PARTS_DISTANCE_MAX;
use super::{Followed, OLD_MAX, Start, Tail, is_among, is_compressed, open};
use crate::source::follow::rotated::are_one_log;
use crate::source::follow::{Compression, Input};

/// By how much the clock of a file system may be behind.
const CLOCKS_APART: Duration = Duration::from_secs(1);

/// Files beside a log that are looked at for older parts of it.
const SIBLINGS_MAX: usize = 4096;

/// What is unpacked of one compressed file at most, so that no disk is filled; of more, the rest is passed over and said.
const UNPACKED_MAX: u64 = 256 << 20;

impl Tail {
    /// Finds the files again that were read by another process, and those that were rotated away since. `is_others` tells which
    /// files are read under another name.
    pub(super) fn resume(
        &mut self,
        positions: Vec<Position>,
        now: Timestamp,
        is_others: &dyn Fn(FileId, &File) -> bool,
    ) -> io::Result<()> {
        let present = match open(&self.path) {
            Ok(opened) => Some(opened),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Nothing is known of what is there: it is tried again.
            Err(error) => {
                self.start = Some(Start::Saved(positions));
                return Err(error);
            }
        };
        let (others, positions): (Vec<_>, Vec<_>) = positions.into_iter().partition(|position| position.is_others);
        self.unsettled = others;
        let mut siblings = siblings(&self.path);
        siblings.sort_by_key(|(_, metadata)| metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        let mut newest_old = None;
        for position in &positions {
            // It has come to be read under another name.
            let is_foreign = |(file, metadata): &(File, Metadata)| {
                FileId::of(metadata) == position.id && is_others(position.id, file)
            };
            if present.as_ref().is_some_and(is_foreign) {
                continue;
            }
            if let Some((file, metadata)) = &present
                && FileId::of(metadata) == position.id
                && (position.fingerprint.is_empty() || position.fingerprint.matches(file)?)
                && metadata.len() >= position.offset
            {
                self.current = Some(Followed::new(file.try_clone()?, metadata, position.offset, now)?);
                continue;
            }
            let is_same = |(path, metadata): &(PathBuf, Metadata)| {
                // Of a file that was empty there is nothing but its number.
                let was_empty = position.fingerprint.is_empty() && position.offset == 0;
                FileId::of(metadata) == position.id && (was_empty || begins_like(position, path))
            };
            let is_copy = |(path, _): &(PathBuf, Metadata)| {
                // Another log may begin with the same line, but not with the same lines.
                let is_sure = are_one_log(path, &self.path) || !position.fingerprint.is_partial();
                is_sure && (begins_like(position, path) || is_packed(position, path))
            };
            let found = siblings.iter().position(is_same).or_else(|| siblings.iter().position(is_copy));
            let opened = found.and_then(|index| {
                let path = &siblings.get(index)?.0;
                let part = part(path, position.offset, now);
                part.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "failed to read on")).ok()
            });
            match opened {
                Some(part) => {
                    newest_old = newest_old.max(found);
                    self.old.push_back(part);
                }
                None if position.is_done => {}
                None => tracing::warn!(
                    path = %self.path.display(),
                    "the log was rotated while nobody watched, and what it was is no longer there: it was read as far as byte {}",
                    position.offset
                ),
            }
        }
        // What was rotated away in between, whole.
        if self.current.is_none()
            && let Some(index) = newest_old
        {
            let is_read =
                |path: &Path| open(path).is_ok_and(|(file, metadata)| is_others(FileId::of(&metadata), &file));
            let later = siblings.iter().skip(index + 1).map(|(path, _)| path);
            let later: Vec<&PathBuf> = later.filter(|path| are_one_log(path, &self.path) && !is_read(path)).collect();
            // Of more than are read on at once, the oldest are given up: they need not be unpacked.
            for path in later.iter().skip(later.len().saturating_sub(OLD_MAX)) {
                match part(path, 0, now) {
                    Ok(part) => self.old.push_back(part),
                    Err(error) => {
                        tracing::warn!(path = %path.display(), %error, "failed to read what was rotated away");
                    }
                }
            }
        }
        Ok(())
    }
}

impl Tail {
    /// Goes on with the file that another process read under another name, if nobody reads it by that name now. `is_read` tells
    /// which files are read under another name; to be called once all have begun.
    pub(in crate::source::watch) fn settle(&mut self, now: Timestamp, is_read: &dyn Fn(FileId, &File) -> bool) {
        if self.unsettled.is_empty() {
            return;
        }
        let present = match open(&self.path) {
            Ok(opened) => Some(opened),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Nothing is known of what is there: it is tried again.
            Err(_) => return,
        };
        for position in std::mem::take(&mut self.unsettled) {
            let is_at_path = |(file, metadata): &&(File, Metadata)| {
                FileId::of(metadata) == position.id
                    && metadata.len() >= position.offset
                    && position.fingerprint.matches(file).unwrap_or(false)
            };
            let followed = match present.as_ref().filter(is_at_path) {
                Some((file, metadata)) if self.current.is_none() && !is_read(position.id, file) => {
                    file.try_clone().and_then(|file| Followed::new(file, metadata, position.offset, now)).ok()
                }
                _ => None,
            };
            match followed {
                Some(followed) => self.current = Some(followed),
                None if self.follows(position.id) => {}
                // Whoever has it at another path by now is told that it was read.
                None => self.note_foreign(position.id, position.fingerprint),
            }
        }
    }
}

/// A file that was left for another at its path.
pub(super) struct Left {
    position: Position,
    /// What was made later than this may have come after it.
    since: SystemTime,
    /// What was at the path when files were looked for that came and went there.
    pub(super) at_path: FileId,
}

impl Tail {
    /// What is to be known of a file that is left, now that `at_path` is where it was.
    pub(super) fn left_behind(&self, left: &Followed, at_path: FileId, now: Timestamp) -> Left {
        let system_time = |at: Timestamp| UNIX_EPOCH + Duration::from_micros(at.as_micros());
        let since = match self.at_end {
            Some(at_end) => system_time(at_end) - CLOCKS_APART,
            None => left.file().metadata().and_then(|metadata| metadata.created()).unwrap_or(system_time(now)),
        };
        Left { position: left.position(), since, at_path }
    }

    /// Files of the same log that came to be after the end of what is followed was last reached, and are not at its path any more: it was
    /// rotated more than once since. Whole, the oldest first; of more than are read on at once, the newest.
    pub(super) fn come_and_gone(
        &self,
        left: &Left,
        now: Timestamp,
        is_others: &dyn Fn(FileId, &File) -> bool,
    ) -> Vec<Followed> {
        let Left { position, since, .. } = left;
        // What is open keeps its number; that of one that is gone may be another's by now.
        let is_open = |id: FileId| self.old.iter().chain(&self.current).any(|followed| followed.id == id);
        let is_new = |id: FileId, file: &File| !is_among(&self.done, id, file) && !is_others(id, file);
        let mut between: Vec<(SystemTime, PathBuf)> = siblings(&self.path)
            .into_iter()
            .filter(|(path, _)| are_one_log(path, &self.path) && !is_compressed(path))
            .filter_map(|(path, metadata)| Some((metadata.created().ok()?, path, FileId::of(&metadata))))
            .filter(|(born, path, id)| born > since && !is_open(*id) && !begins_like(position, path))
            .filter(|(_, path, id)| open(path).is_ok_and(|(file, _)| is_new(*id, &file)))
            .map(|(born, path, _)| (born, path))
            .collect();
        between.sort_unstable();
        let given_up = between.len().saturating_sub(OLD_MAX - 1);
        if given_up > 0 {
            tracing::warn!(
                path = %self.path.display(),
                "the log was rotated {} times between two looks: {given_up} files of it, the oldest, are not read",
                between.len() + 1
            );
        }
        let parts = between.iter().skip(given_up).filter_map(|(_, path)| {
            let part = part(path, 0, now);
            part.inspect_err(
                |error| tracing::warn!(path = %path.display(), %error, "failed to read what was rotated away"),
            )
            .ok()
        });
        parts.collect()
    }
}

/// Files whose names begin like the log's: rotated ones, and copies.
pub(super) fn siblings(log: &Path) -> Vec<(PathBuf, Metadata)> {
    let name = log.file_name().unwrap_or_default();
    let stem = log.file_stem().unwrap_or_default().as_encoded_bytes();
    let folder = log.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(SIBLINGS_MAX);
    let rotated = entries.filter(|entry| {
        let other = entry.file_name();
        other != name && other.as_encoded_bytes().starts_with(stem)
    });
    let files = rotated.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
    files.filter(|(_, metadata)| metadata.is_file()).collect()
}

/// Whether the file at `path` begins as the one of a position did, and goes on at least as far.
pub(super) fn begins_like(position: &Position, path: &Path) -> bool {
    let matches = |(file, metadata): (File, Metadata)| {
        metadata.len() >= position.offset && position.fingerprint.matches(&file).unwrap_or(false)
    };
    open(path).is_ok_and(matches)
}

/// Whether the file at `path` is compressed and what is in it begins as the file of a position did.
fn is_packed(position: &Position, path: &Path) -> bool {
    let matches = |mut input: Input| position.fingerprint.matches_read(&mut input).unwrap_or(false);
    is_compressed(path) && unpack(path).is_ok_and(matches)
}

fn unpack(path: &Path) -> io::Result<Input> {
    // Also sees to it that it is a file that can be read without waiting.
    open(path)?;
    let input = Input::open(path).map_err(io::Error::other)?;
    if input.compression() == Compression::None {
        return Err(io::Error::other("it is compressed in a way that cannot be read"));
    }
    Ok(input)
}

/// A part of the log, from `offset` on. A compressed one is unpacked into a file without a name, which goes with the last who has
/// it open.
fn part(path: &Path, offset: u64, now: Timestamp) -> io::Result<Followed> {
    if !is_compressed(path) {
        let (file, metadata) = open(path)?;
        return Followed::new(file, &metadata, offset, now);
    }
    let mut input = unpack(path)?;
    let mut file = tempfile::tempfile()?;
    // What comes before is left out but for the beginning, which tells which file it is, and for what may be parts of the next line.
    let mut beginning = Vec::new();
    (&mut input).take(BEGINNING_BYTES.min(offset)).read_to_end(&mut beginning)?;
    io::Write::write_all(&mut file, &beginning)?;
    let left_out = offset.saturating_sub(beginning.len() as u64 + PARTS_DISTANCE_MAX);
    io::copy(&mut (&mut input).take(left_out), &mut io::sink())?;
    let begun = beginning.len() as u64 + left_out;
    file.seek(io::SeekFrom::Start(begun))?;
    io::copy(&mut (&mut input).take(offset.saturating_sub(begun)), &mut file)?;
    file.seek(io::SeekFrom::Start(offset))?;
    if io::copy(&mut (&mut input).take(UNPACKED_MAX), &mut file)? == UNPACKED_MAX {
        tracing::warn!(path = %path.display(), "only the first {UNPACKED_MAX} bytes that are new in it are read");
    }
    let metadata = file.metadata()?;
    Followed::new(file, &metadata, offset, now)
}

/// More than a fingerprint is made of.
const BEGINNING_BYTES: u64 = 4096;
