//! One log file, followed by its name: through renaming, emptying (copytruncate), deletion and recreation.
//!
//! A file that was renamed is read on before the new one, as long as its server still writes to it. One that was emptied is read to
//! the end of the copy that was made of it, if there is one. What cannot be read in time is passed over, oldest first, and counted.

mod followed;
mod resume;

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use seawall_engine::units::Timestamp;

use super::access::denied;
use super::fingerprint::{FileId, Fingerprint};
use super::positions::Position;
use crate::source::follow::rotated::are_one_log;
use crate::source::follow::{Compression, MAGIC_BYTES_MAX, Piece};
use followed::{Followed, Place};
use resume::Left;

/// A renamed file is read on for this long after something was last written to it.
const OLD_TIME_MAX: Duration = Duration::from_secs(90);

/// Renamed files that are read on at once; the oldest are given up.
const OLD_MAX: usize = 4;

/// How often files are looked for again that came and went while another was opened.
const LOOKS_BETWEEN_MAX: usize = 3;

/// What is read of one file before the others have their turn, in bytes.
const TURN_BYTES: u64 = 4 << 20;

/// A file whose end has not been reached for this long comes faster than it can be read.
const BEHIND_MAX: Duration = Duration::from_secs(5);

/// What was appended to a file that was read to its end no longer ago than this is fresh.
const FRESH: Duration = Duration::from_secs(2);

/// Files of other names that are remembered at each path, so that their next name is known; and files that were read and let go of.
const FOREIGN_MAX: usize = 16;

/// How and when a piece came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// When it was read.
    pub(super) at: Timestamp,
    /// Whether it was appended just now.
    pub(super) is_fresh: bool,
    /// For how many like it it stands, where others were passed over.
    pub(super) weight: f32,
}

/// What is given of a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'p> {
    /// The next line, or a piece of one.
    Piece(Piece<'p>),
    /// Nothing: lines were passed over before what follows.
    Gap,
    /// A line or two before those that follow, which name their columns and perhaps their day, and were passed over.
    Directive(&'p [u8]),
    /// Lines before those that follow, which hold the first parts of a line whose rest is yet to come, and were read before.
    Parts(&'p [u8]),
}

/// Where to begin with a file.
#[derive(Clone, Debug)]
pub(super) enum Start {
    /// At its end: what is in it is history.
    End,
    /// At its beginning: it is new.
    Beginning,
    /// Where it was left, with the older files of the same name.
    Saved(Vec<Position>),
}

/// One log file that is followed.
pub(super) struct Tail {
    path: PathBuf,
    current: Option<Followed>,
    /// Renamed, or copies, the oldest first.
    old: VecDeque<Followed>,
    /// Files that were at the path and are not to be read, since they are read under another name, the newest last. What they
    /// are is told by how they begin as well: once one is gone, its number is another file's.
    foreign: VecDeque<(FileId, Fingerprint)>,
    /// What another process left to other names, as long as it is not known who reads it now.
    unsettled: Vec<Position>,
    /// Those that were read to their ends and let go of, the newest last, told by the same.
    done: VecDeque<(FileId, Fingerprint)>,
    /// What the present file has taken the place of, as long as files may have come and gone in between that are not known yet.
    left: Option<Left>,
    /// Why nothing can be read now, and whether it is only that nothing is there.
    trouble: Option<String>,
    is_absent: bool,
    /// Since when the end has not been reached.
    behind_since: Option<Timestamp>,
    /// When it was last.
    at_end: Option<Timestamp>,
    passed_over: u64,
    start: Option<Start>,
}

impl Tail {
    /// Follows what is, or will be, at `path`.
    pub(super) fn new(path: PathBuf, start: Start) -> Self {
        Self {
            path,
            current: None,
            old: VecDeque::new(),
            foreign: VecDeque::new(),
            unsettled: Vec::new(),
            done: VecDeque::new(),
            left: None,
            trouble: None,
            is_absent: false,
            behind_since: None,
            at_end: None,
            passed_over: 0,
            start: Some(start),
        }
    }

    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Why nothing can be read now, if so.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether that is only since nothing is at the path.
    pub(super) fn is_absent(&self) -> bool {
        self.trouble.is_some() && self.is_absent
    }

    /// Bytes that were passed over since there were too many.
    pub(super) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Since when the end has not been reached, if it has not.
    pub(super) fn behind_since(&self) -> Option<Timestamp> {
        self.behind_since
    }

    /// Bytes that have been written and not been read.
    pub(super) fn behind_bytes(&self) -> u64 {
        let behind = |followed: &Followed| {
            let size = followed.file().metadata().map_or(0, |metadata| metadata.len());
            size.saturating_sub(followed.pieces.input().offset)
        };
        self.followed().map(behind).sum()
    }

    /// Whether it follows the file that is at `path`, or has just followed one of the same log that began like it: then this is its
    /// copy. Other logs may well begin with the same line.
    pub(super) fn knows(&self, path: &Path, id: FileId, file: &File) -> bool {
        // A rotated file goes on from name to name.
        self.has_as_foreign(id, file) || self.reads(path, id, file)
    }

    /// Whether it follows that file, or a copy of it, now.
    pub(super) fn reads(&self, path: &Path, id: FileId, file: &File) -> bool {
        let is_own = are_one_log(path, &self.path);
        self.follows(id)
            || (is_own && self.followed().any(|followed| followed.fingerprint.matches(file).unwrap_or(false)))
    }

    fn follows(&self, id: FileId) -> bool {
        self.followed().any(|followed| followed.id == id)
    }

    /// The oldest first.
    fn followed(&self) -> impl Iterator<Item = &Followed> {
        self.old.iter().chain(&self.current)
    }

    fn has_as_foreign(&self, id: FileId, file: &File) -> bool {
        is_among(&self.foreign, id, file)
    }

    /// Whether the place where it is to begin was found.
    pub(super) fn has_begun(&self) -> bool {
        self.start.is_none()
    }

    /// Whether nothing is left of it: its file is gone and was read to its end.
    pub(super) fn is_gone(&self) -> bool {
        self.current.is_none() && self.old.is_empty() && self.start.is_none() && !self.path.exists()
    }

    /// How far it was read, the oldest file first; last, what is at the path and read under another name.
    pub(super) fn positions(&self) -> Vec<Position> {
        if let Some(Start::Saved(positions)) = &self.start {
            return positions.clone();
        }
        let own = self.old.iter().map(Followed::position_left).chain(self.current.as_ref().map(Followed::position));
        own.chain(self.position_of_others()).chain(self.unsettled.iter().cloned()).collect()
    }

    /// How far the file at the path goes, if it is read under another name: by then that name may be forgotten, and its lines
    /// would be taken for new.
    fn position_of_others(&self) -> Option<Position> {
        if self.foreign.is_empty() {
            return None;
        }
        let metadata = fs::metadata(&self.path).ok()?;
        let id = FileId::of(&metadata);
        if self.follows(id) {
            return None;
        }
        let (_, fingerprint) = self.foreign.iter().find(|(known, _)| *known == id)?;
        Some(Position { id, fingerprint: *fingerprint, offset: metadata.len(), is_others: true, is_done: false })
    }

    /// The beginning of the present file, which tells its format, and its head where it has one.
    pub(super) fn beginning(&self) -> Vec<u8> {
        let mut beginning = vec![0; 64 << 10];
        let read = self.current.as_ref().and_then(|followed| followed.file().read_at(&mut beginning, 0).ok());
        beginning.truncate(read.unwrap_or(0));
        beginning
    }

    /// Reads what is new. `is_others` tells which files are read under another name. Returns whether there is more to be read at
    /// once.
    pub(super) fn look(
        &mut self,
        now: Timestamp,
        is_others: &dyn Fn(FileId, &File) -> bool,
        deliver: &mut dyn FnMut(Given<'_>, Arrival),
    ) -> bool {
        if !self.has_begun() {
            return false;
        }
        let behind = self.behind_since.map(|since| now.since(since));
        let is_fresh = self.at_end.is_some_and(|at_end| now.since(at_end) <= FRESH);
        let mut arrival = Arrival { at: now, is_fresh, weight: 1.0 };
        let weight = match behind {
            Some(behind) if behind > BEHIND_MAX => self.pass_over(),
            _ => Ok(1.0),
        };
        let result = weight.and_then(|weight| {
            arrival.weight = weight;
            self.read(now, arrival, is_others, deliver)
        });
        match result {
            Ok(true) => {
                self.at_end = Some(now);
                self.behind_since = None;
                false
            }
            Ok(false) => {
                self.behind_since.get_or_insert(now);
                true
            }
            Err(error) => {
                self.note_trouble(&error);
                // What is open may never be readable again, as on a file server that was started anew: it is opened anew by name, and
                // goes on where it was.
                if self.current.is_some() {
                    self.start = Some(Start::Saved(self.positions()));
                    (self.current, self.old) = (None, VecDeque::new());
                }
                false
            }
        }
    }

    /// Finds the place where it is to begin; to be called before each look.
    pub(super) fn begin(&mut self, now: Timestamp, is_others: &dyn Fn(FileId, &File) -> bool) {
        let begun = match self.start.take() {
            Some(Start::Saved(positions)) => self.resume(positions, now, is_others),
            Some(Start::End) => {
                self.at_end = Some(now);
                let begun = self.open(now, is_others, |metadata| metadata.len());
                // What appears later is new. What is there and cannot be read yet is not.
                if begun.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
                    self.start = Some(Start::End);
                }
                begun
            }
            Some(Start::Beginning) | None => Ok(()),
        };
        if let Err(error) = begun {
            self.note_trouble(&error);
        }
    }

    /// Reads the old files, then the present one, then what has taken its place. Whether all ends were reached.
    fn read(
        &mut self,
        now: Timestamp,
        arrival: Arrival,
        is_others: &dyn Fn(FileId, &File) -> bool,
        deliver: &mut dyn FnMut(Given<'_>, Arrival),
    ) -> io::Result<bool> {
        while self.old.len() > OLD_MAX {
            self.let_go_of_oldest(arrival, deliver);
        }
        let mut index = 0;
        while let Some(followed) = self.old.get_mut(index) {
            let is_overwritten = followed.file().metadata().and_then(|metadata| followed.is_emptied(&metadata));
            if is_overwritten.unwrap_or(false) {
                // What the log was copied over, once more, has nothing left that was not read.
                self.old.remove(index);
                continue;
            }
            match followed.read(TURN_BYTES, arrival, deliver) {
                Ok(true) => index += 1,
                Ok(false) => return Ok(false),
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "failed to read on in what the log was before");
                    self.old.remove(index);
                }
            }
        }
        while self.old.front().is_some_and(|followed| now.since(followed.grown) > OLD_TIME_MAX) {
            self.let_go_of_oldest(arrival, deliver);
        }
        if let Some(current) = &mut self.current {
            let metadata = current.file().metadata()?;
            if current.is_emptied(&metadata)? {
                self.begin_again(now, is_others)?;
                return Ok(false);
            }
            if current.fingerprint.is_partial() {
                current.fingerprint = Fingerprint::of(current.file())?;
            }
            self.trouble = None;
            if !current.read(TURN_BYTES, arrival, deliver)? {
                return Ok(false);
            }
            let metadata = match fs::metadata(&self.path) {
                // It was renamed or deleted and nothing has taken its place yet: its server may still write to it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if now.since(current.grown) > OLD_TIME_MAX
                        && let Some(current) = self.current.take()
                    {
                        self.old.push_back(current);
                        while !self.old.is_empty() {
                            self.let_go_of_oldest(arrival, deliver);
                        }
                    }
                    return Ok(true);
                }
                other => other?,
            };
            if FileId::of(&metadata) == current.id {
                return Ok(true);
            }
            if let Some(left) = self.current.take() {
                self.left = Some(self.leave(left, FileId::of(&metadata), now, is_others));
            }
        }
        self.open(now, is_others, |_| 0)?;
        self.look_between(now, is_others);
        Ok(self.current.is_none())
    }

    /// Reads on in what was at the path, and then in what came and went there since it was looked at. `at_path` is what was there last.
    fn leave(
        &mut self,
        left: Followed,
        at_path: FileId,
        now: Timestamp,
        is_others: &dyn Fn(FileId, &File) -> bool,
    ) -> Left {
        let known = self.left_behind(&left, at_path, now);
        self.old.push_back(left);
        let between = self.come_and_gone(&known, now, is_others);
        self.old.extend(between);
        known
    }

    /// What was at the path when the others were looked for is not what was opened there: it was rotated away in between, and maybe more
    /// than it. So they are looked for again, until nothing else has come meanwhile.
    fn look_between(&mut self, now: Timestamp, is_others: &dyn Fn(FileId, &File) -> bool) {
        let Some(mut left) = self.left.take() else { return };
        for _ in 0..LOOKS_BETWEEN_MAX {
            let at_path = fs::metadata(&self.path).map(|metadata| FileId::of(&metadata)).ok();
            let Some(at_path) = at_path.or(self.current.as_ref().map(|current| current.id)) else {
                // Nothing is there now: what comes next may have come after others.
                self.left = Some(left);
                return;
            };
            if at_path == left.at_path {
                break;
            }
            left.at_path = at_path;
            let between = self.come_and_gone(&left, now, is_others);
            self.old.extend(between);
        }
    }

    fn let_go_of_oldest(&mut self, arrival: Arrival, deliver: &mut dyn FnMut(Given<'_>, Arrival)) {
        let Some(followed) = self.old.pop_front() else { return };
        if self.done.len() >= FOREIGN_MAX {
            self.done.pop_front();
        }
        let fingerprint = Fingerprint::of(followed.file()).unwrap_or(followed.fingerprint);
        self.done.push_back((followed.id, fingerprint));
        followed.finish(arrival, deliver);
    }

    /// Opens what is at the path, and begins at `offset`.
    fn open(
        &mut self,
        now: Timestamp,
        is_others: &dyn Fn(FileId, &File) -> bool,
        offset: impl FnOnce(&Metadata) -> u64,
    ) -> io::Result<()> {
        let (file, metadata) = open(&self.path)?;
        let id = FileId::of(&metadata);
        if is_others(id, &file) {
            self.note_foreign(id, Fingerprint::of(&file)?);
            return Ok(());
        }
        if self.has_as_foreign(id, &file) {
            return Ok(());
        }
        if begins_compressed(&file) {
            return Err(io::Error::other(COMPRESSED));
        }
        self.trouble = None;
        self.current = Some(Followed::new(file, &metadata, offset(&metadata), now)?);
        Ok(())
    }

    fn note_foreign(&mut self, id: FileId, fingerprint: Fingerprint) {
        self.foreign.retain(|(known, _)| *known != id);
        if self.foreign.len() >= FOREIGN_MAX {
            self.foreign.pop_front();
        }
        self.foreign.push_back((id, fingerprint));
    }

    /// The present file was emptied: the rest of what was in it may be in a copy, and it begins anew.
    fn begin_again(&mut self, now: Timestamp, is_others: &dyn Fn(FileId, &File) -> bool) -> io::Result<()> {
        let Some(mut emptied) = self.current.take() else { return Ok(()) };
        let file = emptied.file().try_clone()?;
        let metadata = file.metadata()?;
        let position = emptied.position();
        let copy = resume::siblings(&self.path).into_iter().find(|(path, _)| resume::begins_like(&position, path));
        match copy.and_then(|(path, _)| open(&path).ok()) {
            Some((copy, metadata)) => {
                let offset = emptied.pieces.input().offset;
                emptied.pieces.replace_input(Place { file: copy, offset });
                (emptied.id, emptied.grown) = (FileId::of(&metadata), now);
                let at_path = FileId::of(&file.metadata()?);
                self.leave(emptied, at_path, now, is_others);
            }
            None => tracing::info!(
                path = %self.path.display(),
                "the log was emptied, and there is no copy of it: what was written between the last look and then is lost"
            ),
        }
        // A server that does not append goes on where it was, behind a hole that reads as NULs.
        let start = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap_or(0);
        self.current = Some(Followed::new(file, &metadata, start, now)?);
        Ok(())
    }

    /// Passes over the oldest of what is unread, so that the newest is read in time. Returns for how many bytes each that is read
    /// stands.
    fn pass_over(&mut self) -> io::Result<f32> {
        for followed in &mut self.old {
            let size = followed.file().metadata()?.len();
            // One that is at its end has nothing to be passed over, and what is appended to it is whole lines. The few lines
            // that may come next do not stand for all of it: they would be taken for a flood.
            if size > followed.pieces.input().offset {
                self.passed_over += followed.jump(size)?;
            }
        }
        let Some(current) = &mut self.current else { return Ok(1.0) };
        let size = current.file().metadata()?.len();
        let unread = size.saturating_sub(current.pieces.input().offset);
        if unread <= TURN_BYTES {
            return Ok(1.0);
        }
        self.passed_over += current.jump(size - TURN_BYTES)?;
        Ok(unread as f32 / TURN_BYTES as f32)
    }

    fn note_trouble(&mut self, error: &io::Error) {
        self.is_absent = error.kind() == io::ErrorKind::NotFound;
        self.trouble = Some(match error.kind() {
            io::ErrorKind::NotFound => "it does not exist yet; it is read as soon as it does".to_owned(),
            io::ErrorKind::PermissionDenied => denied(&self.path),
            _ => error.to_string(),
        });
    }
}

/// Whether a file is one of these.
fn is_among(files: &VecDeque<(FileId, Fingerprint)>, id: FileId, file: &File) -> bool {
    files.iter().any(|(known, fingerprint)| *known == id && fingerprint.matches(file).unwrap_or(false))
}

/// Whether a name says that a file was compressed, so that it is no log that grows.
pub(super) fn is_compressed(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    matches!(extension, "gz" | "bz2" | "xz" | "zst" | "Z" | "lz4" | "zip")
}

/// What is said of such a file, and of one whose content says it.
pub(super) const COMPRESSED: &str = "it is compressed, so nothing is written to it any more; `seawall report` reads it";

/// Whether a file begins as compressed ones do.
pub(super) fn begins_compressed(file: &File) -> bool {
    let mut beginning = [0; MAGIC_BYTES_MAX];
    let read = file.read_at(&mut beginning, 0).unwrap_or(0);
    Compression::of(beginning.get(..read).unwrap_or_default()) != Compression::None
}

/// Opens a regular file, and waits for nobody.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let no_wait = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = fs::OpenOptions::new().read(true).custom_flags(no_wait).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "a directory; name the log files in it" } else { "no regular file" };
        return Err(io::Error::other(format!("it is {kind}")));
    }
    Ok((file, metadata))
}

#[cfg(test)]
mod tests;
