//! One open file, and how far it was read.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use seawall_engine::observation::log::unfinished_line;
use seawall_engine::units::Timestamp;

use super::super::fingerprint::{FileId, Fingerprint};
use super::super::positions::Position;
use super::{Arrival, Given};
use crate::source::follow::{Pieces, last_directive};

/// How far back the line is looked for that names the columns, in bytes: servers write it when they start, and the log of a day of
/// a busy one is not read whole for it. Farther back only the log's beginning is looked at.
const DIRECTIVE_DISTANCE_MAX: u64 = 256 << 20;

/// What is looked through at once, in bytes.
const SEARCH_BYTES: u64 = 1 << 20;

/// How far back the parts of a line are looked for whose rest is yet to come, in bytes: whole lines of twice the greatest length, each byte
/// of them escaped.
pub(super) const PARTS_DISTANCE_MAX: u64 = 1 << 20;

/// The longest line that names columns, in bytes: names of sixty-four take two thousand.
const DIRECTIVE_BYTES_MAX: u64 = 8 << 10;

/// An open file and how far it was read.
pub(super) struct Followed {
    pub(super) pieces: Pieces<Place>,
    pub(super) id: FileId,
    pub(super) fingerprint: Fingerprint,
    /// The end of the last piece that was given.
    pub(super) taken: u64,
    /// When something was last read from it.
    pub(super) grown: Timestamp,
    /// Whether the next piece is the rest of a line that was passed over.
    pub(super) is_cut: bool,
    /// Whether lines were passed over before it, which is to be said first.
    has_gap: bool,
    /// What names the columns of what comes next, if it was passed over and is to be given first.
    directive: Option<Vec<u8>>,
    /// The first parts of a line whose rest is in what comes next.
    unfinished: Option<Vec<u8>>,
}

/// A file read from a place, whatever others do with it.
pub(super) struct Place {
    pub(super) file: File,
    pub(super) offset: u64,
}

impl Read for Place {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Followed {
    pub(super) fn new(file: File, metadata: &Metadata, offset: u64, now: Timestamp) -> io::Result<Self> {
        let (id, fingerprint) = (FileId::of(metadata), Fingerprint::of(&file)?);
        let directive = directive_before(&file, 0, offset)?;
        let before = before(&file, offset)?;
        let pieces = Pieces::growing(Place { file, offset });
        let (grown, is_cut, has_gap, unfinished) = (now, before.is_cut, before.is_unknown, before.unfinished);
        Ok(Self { pieces, id, fingerprint, taken: offset, grown, is_cut, has_gap, directive, unfinished })
    }

    pub(super) fn file(&self) -> &File {
        &self.pieces.input().file
    }

    /// Reads at most about `budget` bytes; whether the end was reached.
    pub(super) fn read(
        &mut self,
        budget: u64,
        arrival: Arrival,
        deliver: &mut dyn FnMut(Given<'_>, Arrival),
    ) -> io::Result<bool> {
        let stop = self.pieces.input().offset.saturating_add(budget);
        loop {
            self.give(arrival, deliver);
            if self.pieces.input().offset >= stop {
                return Ok(false);
            }
            if !self.pieces.fill()? {
                return Ok(true);
            }
            self.grown = arrival.at;
        }
    }

    fn give(&mut self, arrival: Arrival, deliver: &mut dyn FnMut(Given<'_>, Arrival)) {
        if std::mem::take(&mut self.has_gap) {
            deliver(Given::Gap, arrival);
        }
        if let Some(directive) = self.directive.take() {
            deliver(Given::Directive(&directive), arrival);
        }
        if let Some(unfinished) = self.unfinished.take() {
            deliver(Given::Parts(&unfinished), arrival);
        }
        while let Some(piece) = self.pieces.ready() {
            self.taken += piece.text.len() as u64;
            if self.is_cut {
                self.is_cut = !piece.text.ends_with(b"\n");
            } else {
                deliver(Given::Piece(piece), arrival);
            }
        }
    }

    /// Gives what is left as a line: nothing more will come.
    pub(super) fn finish(mut self, arrival: Arrival, deliver: &mut dyn FnMut(Given<'_>, Arrival)) {
        self.pieces.finish();
        self.give(arrival, deliver);
    }

    /// Goes on at a place further on, which may be in the middle of a line.
    pub(super) fn jump(&mut self, offset: u64) -> io::Result<u64> {
        let file = self.file().try_clone()?;
        let passed = offset.saturating_sub(self.taken);
        self.directive = directive_before(&file, self.taken, offset)?.or_else(|| self.directive.take());
        self.pieces = Pieces::growing(Place { file, offset });
        self.taken = offset;
        (self.is_cut, self.has_gap, self.unfinished) = (true, true, None);
        Ok(passed)
    }

    /// Whether the file no longer is what it was: it was emptied, and may have grown since.
    pub(super) fn is_emptied(&self, metadata: &Metadata) -> io::Result<bool> {
        if metadata.len() < self.pieces.input().offset {
            return Ok(true);
        }
        Ok(!self.fingerprint.is_empty() && !self.fingerprint.matches(self.file())?)
    }

    pub(super) fn position(&self) -> Position {
        let Self { id, fingerprint, taken, .. } = *self;
        Position { id, fingerprint, offset: taken, is_others: false, is_done: false }
    }

    /// The same of one that was left for another.
    pub(super) fn position_left(&self) -> Position {
        let is_done = self.file().metadata().is_ok_and(|metadata| metadata.len() <= self.taken);
        Position { is_done, ..self.position() }
    }
}

/// What the place stands behind where a file is begun.
#[derive(Debug, Default, PartialEq, Eq)]
struct Before {
    /// The lines from the first part of a line on whose rest is yet to come.
    unfinished: Option<Vec<u8>>,
    /// Whether there are more parts of it than are looked through.
    is_unknown: bool,
    /// Whether the place is in the middle of a line: what its rest holds may be a client's.
    is_cut: bool,
}

fn before(file: &File, offset: u64) -> io::Result<Before> {
    let start = offset.saturating_sub(PARTS_DISTANCE_MAX);
    let mut text = vec![0; usize::try_from(offset - start).unwrap_or_default()];
    let read = file.read_at(&mut text, start)?;
    text.truncate(read);
    // Behind a hole, which reads as NULs, a line begins.
    let is_cut = text.last().is_some_and(|byte| !matches!(byte, b'\n' | 0));
    text.truncate(memchr::memrchr(b'\n', &text).map_or(0, |last| last + 1));
    let Some(at) = unfinished_line(&text) else { return Ok(Before { is_cut, ..Before::default() }) };
    let is_first = start > 0 && memchr::memchr(b'\n', &text).is_none_or(|first| at <= first + 1);
    let unfinished = if is_first { None } else { text.get(at..).map(<[u8]>::to_vec) };
    Ok(Before { unfinished, is_unknown: is_first, is_cut })
}

/// The last line between `from` and `offset` that names the columns of those that follow it, as [`last_directive`] gives it. Only a log that begins with a
/// directive has any: others are not read twice.
fn directive_before(file: &File, from: u64, offset: u64) -> io::Result<Option<Vec<u8>>> {
    let mut text = vec![0; 1];
    if offset == 0 || file.read_at(&mut text, 0)? == 0 || text != b"#" {
        return Ok(None);
    }
    let from = from.max(offset.saturating_sub(DIRECTIVE_DISTANCE_MAX));
    let mut end = offset;
    while end > from {
        let start = end.saturating_sub(SEARCH_BYTES).max(from);
        // A line that begins in this part may end in the next.
        let length = (end + DIRECTIVE_BYTES_MAX).min(offset) - start;
        text.resize(usize::try_from(length).unwrap_or_default(), 0);
        let read = file.read_at(&mut text, start)?;
        let whole = text.get(..read).unwrap_or_default();
        let whole = memchr::memrchr(b'\n', whole).and_then(|last| whole.get(..=last)).unwrap_or_default();
        // What comes before the first break began in the part before, which reaches as far.
        let begun = if start == from { Some(0) } else { memchr::memchr(b'\n', whole).map(|first| first + 1) };
        let lines = begun.and_then(|begun| whole.get(begun..)).unwrap_or_default();
        if let Some(directive) = last_directive(lines) {
            return Ok(Some(directive.to_owned()));
        }
        end = start;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_place_stands_behind_is_known() {
        let line = |stream: &str, mark: &str, bytes: usize| {
            format!("2025-12-31T17:37:40Z {stream} {mark} {}\n", "x".repeat(bytes))
        };
        let parts = line("stdout", "P", 16_384) + &line("stderr", "F", 10) + &line("stdout", "P", 16_384);
        let bare = "line\n".repeat(1 << 18);
        let unknown = Before { is_unknown: true, ..Before::default() };
        let unfinished = || Before { unfinished: Some(parts.clone().into_bytes()), ..Before::default() };
        for (text, expected) in [
            (String::new(), Before::default()),
            ("\0\0\0".to_owned(), Before::default()),
            (bare.clone(), Before::default()),
            (format!("{bare}half a "), Before { is_cut: true, ..Before::default() }),
            (parts.clone(), unfinished()),
            (bare.clone() + &line("stdout", "F", 10) + &parts, unfinished()),
            (bare.clone() + &parts + &line("stdout", "F", 10), Before::default()),
            (format!("{bare}{parts}half a "), Before { is_cut: true, ..unfinished() }),
            (line("stdout", "P", 1 << 19).repeat(4), unknown),
        ] {
            let file = tempfile::tempfile().expect("a file");
            file.write_all_at(text.as_bytes(), 0).expect("written");
            let found = before(&file, text.len() as u64).expect("read");
            assert_eq!(found, expected, "{}", text.get(..80).unwrap_or(&text));
        }
    }

    #[test]
    fn the_last_directive_before_a_place_is_found() {
        let file = tempfile::tempfile().expect("a file");
        let part = |fields: &str, bytes: usize| {
            format!("#Fields: {fields}\r\n{}", "2024-06-01 12:00:00 /\n".repeat(bytes / 22))
        };
        // One lies across the border of two parts that are looked through.
        let parts = [part("date time cs-uri-stem", 3 << 20), part("time date cs-uri-stem", (1 << 20) - 10)];
        let text = parts.concat() + "#Fields: date time cs-ur";
        file.write_all_at(text.as_bytes(), 0).expect("written");
        let (first, length) = (parts[0].len() as u64, text.len() as u64);
        let one = Some(b"#Fields: date time cs-uri-stem".to_vec());
        let other = Some(b"#Fields: time date cs-uri-stem".to_vec());
        for (from, offset, expected) in [
            (0, 0, &None),
            (0, first, &one),
            (0, first + 10, &one),
            (0, first + 200, &other),
            (0, length, &other),
            (first, length, &other),
            (first + 40, length, &None),
        ] {
            assert_eq!(&directive_before(&file, from, offset).expect("read"), expected, "{from} {offset}");
        }
        // A line of a client may begin in this way as well, and a log that begins otherwise has no columns.
        file.write_all_at(b"1", 0).expect("written");
        assert_eq!(directive_before(&file, 0, length).expect("read"), None);
    }
}
