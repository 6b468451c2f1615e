//! Log files, by name or by pattern.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use seawall_engine::observation::log::FormatChoice;
use seawall_engine::units::Timestamp;

use super::fingerprint::FileId;
use super::pattern::Pattern;
use super::positions::{Position, Positions};
use super::report::{LogSensor, Report};
use super::sensor::Sensor;
use super::tail::{Arrival, Given, Start, Tail};
use super::wake::Wake;
use super::watcher::Watcher;

/// Files that are followed at once.
const FILES_MAX: usize = 256;

/// Files that are remembered after they were let go of.
const LEFT_MAX: usize = 4_096;

/// The log files that are followed.
pub(super) struct Files {
    named: Vec<PathBuf>,
    patterns: Vec<Pattern>,
    followed: Vec<(Tail, Sensor)>,
    /// How far those were read that are not followed any more since others were written later.
    left: BTreeMap<PathBuf, Vec<Position>>,
    format: Option<FormatChoice>,
    is_full: bool,
}

/// All files that are followed but one.
struct Others<'f> {
    before: &'f [(Tail, Sensor)],
    after: &'f [(Tail, Sensor)],
}

impl Others<'_> {
    /// Whether the one at `path` is read under another name.
    fn knows(&self, path: &Path, id: FileId, file: &File) -> bool {
        self.before.iter().chain(self.after).any(|(other, _)| other.knows(path, id, file))
    }

    /// Whether it is read now, and not only known to have been.
    fn read(&self, path: &Path, id: FileId, file: &File) -> bool {
        self.before.iter().chain(self.after).any(|(other, _)| other.reads(path, id, file))
    }
}

impl Files {
    pub(super) fn new(format: Option<FormatChoice>) -> Self {
        Self {
            named: Vec::new(),
            patterns: Vec::new(),
            followed: Vec::new(),
            left: BTreeMap::new(),
            format,
            is_full: false,
        }
    }

    /// Follows a file. However often and in whatever way one is named, it is followed once.
    pub(super) fn add(&mut self, path: &Path) {
        if !self.is_named(path) {
            self.named.push(path.to_owned());
        }
    }

    fn is_named(&self, path: &Path) -> bool {
        let is_same = |named: &PathBuf| {
            named == path
                || (named.file_name() == path.file_name() && canonical_folder(named) == canonical_folder(path))
        };
        self.named.iter().any(is_same)
    }

    /// Follows the files whose paths match.
    pub(super) fn add_pattern(&mut self, pattern: glob::Pattern) {
        self.patterns.push(Pattern::new(pattern));
    }

    /// Begins with what is there: where it was left, or at the end; at the beginning if `from_start`.
    pub(super) fn begin(&mut self, saved: &Positions, from_start: bool, now: Timestamp) {
        let start = |path: &Path| match saved.files.get(&*path.to_string_lossy()) {
            Some(positions) => Start::Saved(positions.clone()),
            None if from_start => Start::Beginning,
            None => Start::End,
        };
        self.find(start);
        // At once: what is written after somebody was told that they are watched is new.
        for index in 0..self.followed.len() {
            let Some(((tail, _), others)) = self.one_and_others(index) else { continue };
            let path = tail.path().to_owned();
            tail.begin(now, &|id, file| others.knows(&path, id, file));
        }
        for index in 0..self.followed.len() {
            let Some(((tail, _), others)) = self.one_and_others(index) else { continue };
            let path = tail.path().to_owned();
            tail.settle(now, &|id, file| others.read(&path, id, file));
        }
    }

    /// Finds files that match and are new: they are read from their beginnings. Lets go of those that are gone.
    pub(super) fn find_new(&mut self) {
        let named = &self.named;
        self.followed.retain(|(tail, _)| named.iter().any(|path| path == tail.path()) || !tail.is_gone());
        self.find(|_| Start::Beginning);
    }

    fn find(&mut self, start: impl Fn(&Path) -> Start) {
        let matching: BTreeSet<PathBuf> = self.patterns.iter_mut().flat_map(Pattern::find).collect();
        let mut paths: Vec<PathBuf> = matching.into_iter().filter(|path| !self.is_named(path)).collect();
        let room = FILES_MAX.saturating_sub(self.named.len());
        if paths.len() > room {
            self.choose(&mut paths, room);
        }
        for path in self.named.iter().cloned().chain(paths) {
            if self.followed.iter().any(|(tail, _)| tail.path() == path) {
                continue;
            }
            let start = self.left.remove(&path).map_or_else(|| start(&path), Start::Saved);
            let sensor = Sensor::new("file", path.to_string_lossy().into_owned(), self.format.as_ref());
            self.followed.push((Tail::new(path, start), sensor));
        }
    }

    /// Of more files than there is room for those that were written last. Others are let go of once they are read to their ends, and
    /// read on should they be written again.
    fn choose(&mut self, paths: &mut Vec<PathBuf>, room: usize) {
        if !self.is_full {
            tracing::warn!("{} files match; the {room} that were written last are followed", paths.len());
        }
        self.is_full = true;
        let written = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        paths.sort_by_cached_key(|path| std::cmp::Reverse(written(path)));
        paths.truncate(room);
        let is_chosen = |path: &Path| self.named.iter().chain(&*paths).any(|chosen| chosen == path);
        let (kept, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.followed)
            .into_iter()
            .partition(|(tail, _)| is_chosen(tail.path()) || tail.behind_bytes() > 0);
        for (tail, _) in left {
            if self.left.len() < LEFT_MAX {
                self.left.insert(tail.path().to_owned(), tail.positions());
            }
        }
        self.followed = kept;
    }

    /// Reads what is new, and says whether there is more.
    pub(super) fn look(&mut self, watcher: &mut Watcher, now: Timestamp) -> bool {
        self.read(now, &mut |sensor, given, arrival| match given {
            Given::Piece(piece) if piece.begins_line => {
                let line = piece.text.strip_suffix(b"\n").unwrap_or(piece.text);
                watcher.line(sensor, line.strip_suffix(b"\r").unwrap_or(line), arrival);
            }
            Given::Piece(_) => {}
            Given::Gap => sensor.reader.pass_over_unknown(),
            Given::Parts(lines) => sensor.reader.go_on_from(lines),
            Given::Directive(lines) => lines.split(|byte| *byte == b'\n').for_each(|line| sensor.remember(line)),
        })
    }

    fn read(&mut self, now: Timestamp, deliver: &mut dyn FnMut(&mut Sensor, Given<'_>, Arrival)) -> bool {
        let mut has_more = false;
        for index in 0..self.followed.len() {
            let Some(((tail, sensor), others)) = self.one_and_others(index) else { continue };
            let path = tail.path().to_owned();
            let is_others = |id: FileId, file: &File| others.knows(&path, id, file);
            tail.begin(now, &is_others);
            tail.settle(now, &|id, file| others.read(&path, id, file));
            if !sensor.is_primed() {
                sensor.prime(&tail.beginning());
            }
            has_more |= tail.look(now, &is_others, &mut |given, arrival| deliver(sensor, given, arrival));
        }
        has_more
    }

    fn one_and_others(&mut self, index: usize) -> Option<(&mut (Tail, Sensor), Others<'_>)> {
        let (before, rest) = self.followed.split_at_mut(index);
        let (one, after) = rest.split_first_mut()?;
        Some((one, Others { before, after }))
    }

    /// The folders in which something may change.
    pub(super) fn watch(&self, wake: &mut Wake) {
        for (tail, _) in &self.followed {
            let folder = tail.path().parent().filter(|folder| !folder.as_os_str().is_empty());
            wake.watch(folder.unwrap_or(Path::new(".")));
        }
        for pattern in &self.patterns {
            wake.watch(pattern.folder());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.patterns.is_empty()
    }

    /// The patterns of which nothing is read, each with the reason.
    pub(super) fn unmatched(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_followed =
            |path: &Path| self.followed.iter().any(|(tail, _)| tail.path() == path) || self.is_named(path);
        self.patterns.iter().filter_map(move |pattern| Some((pattern.name(), pattern.trouble(is_followed)?)))
    }

    pub(super) fn sensors(&self) -> impl Iterator<Item = &Sensor> {
        self.followed.iter().map(|(_, sensor)| sensor)
    }

    pub(super) fn reports(&mut self, now: Timestamp) -> Vec<Report> {
        let report = |(tail, sensor): &mut (Tail, Sensor)| {
            let mut report = sensor.report(now);
            report.log.behind_bytes = tail.behind_bytes();
            report.log.lag_seconds = tail.behind_since().map_or(0.0, |since| now.since(since).as_secs_f64());
            report.log.passed_over_bytes = tail.passed_over();
            report.log.trouble = tail.trouble().map(str::to_owned);
            report.is_absent = tail.is_absent();
            report
        };
        let mut reports: Vec<Report> = self.followed.iter_mut().map(report).collect();
        // Whoever mistyped a pattern is told as whoever mistyped a name is.
        reports.extend(self.unmatched().map(|(name, trouble)| Report {
            kind: "file",
            name: name.to_owned(),
            log: LogSensor { trouble: Some(trouble.to_owned()), ..LogSensor::default() },
            ..Report::default()
        }));
        reports
    }

    pub(super) fn note_positions(&self, positions: &mut Positions) {
        // Of one that has not begun there is nothing to go on from: it begins at its end in the next process as well.
        for (tail, _) in self.followed.iter().filter(|(tail, _)| tail.has_begun()) {
            positions.files.insert(tail.path().to_string_lossy().into_owned(), tail.positions());
        }
    }
}

/// The folder that a file is in, by its one name; none if there is no such folder. The file itself may be a link that is changed with
/// each rotation.
fn canonical_folder(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::canonicalize(folder.unwrap_or(Path::new("."))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    /// How many files are read of those that are followed.
    fn read(files: &Files) -> (usize, usize) {
        let is_read = |tail: &Tail| tail.positions().iter().any(|position| !position.is_others);
        let read = files.followed.iter().filter(|(tail, _)| is_read(tail)).count();
        (read, files.followed.len())
    }

    /// A folder of logs, and a guard that watches some of them and is started anew.
    struct Folder {
        directory: tempfile::TempDir,
        files: Files,
        now: Timestamp,
    }

    impl Folder {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().expect("a directory"), files: Files::new(None), now: NOW }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn append(&self, name: &str, text: &str) {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(self.path(name)).expect("a log");
            std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
        }

        /// What another process goes on with that watches what matches `pattern`.
        fn restart(&mut self, pattern: &str) {
            let mut saved = Positions::default();
            self.files.note_positions(&mut saved);
            self.files = Files::new(None);
            let pattern = self.path(pattern).display().to_string();
            self.files.add_pattern(glob::Pattern::new(&pattern).expect("a pattern"));
            self.files.begin(&saved, false, self.now);
        }

        /// The lines that are read after so many seconds.
        fn read_after(&mut self, seconds: u64) -> String {
            self.now = self.now + std::time::Duration::from_secs(seconds);
            self.files.find_new();
            let mut found = String::new();
            loop {
                let has_more = self.files.read(self.now, &mut |_, given, _| {
                    let Given::Piece(piece) = given else { return };
                    found.push_str(&String::from_utf8_lossy(piece.text));
                });
                if !has_more {
                    return found;
                }
            }
        }
    }

    #[test]
    fn a_rotated_file_that_matches_as_well_is_not_read_again_after_a_restart() {
        let mut folder = Folder::new();
        folder.append("access.log", "of before\n");
        folder.restart("access.log*");
        folder.append("access.log", "line 0\nline 1\n");
        assert_eq!(folder.read_after(1), "line 0\nline 1\n");
        // As logrotate does it with `delaycompress`.
        fs::rename(folder.path("access.log"), folder.path("access.log.1")).expect("renamed");
        folder.append("access.log", "line 2\n");
        assert_eq!(folder.read_after(1), "line 2\n");
        // After this the tail that read it has let go of it.
        assert_eq!(folder.read_after(91), "");
        for _ in 0..2 {
            folder.restart("access.log*");
            assert_eq!(folder.read_after(1), "");
        }
        folder.append("access.log.1", "line 3\n");
        folder.append("access.log", "line 4\n");
        assert_eq!(folder.read_after(1), "line 4\nline 3\n");
    }

    #[test]
    fn what_is_no_longer_watched_by_another_name_is_read_on_by_its_own() {
        let mut folder = Folder::new();
        folder.append("access.2026-11-27.log", "of before\n");
        fs::hard_link(folder.path("access.2026-11-27.log"), folder.path("current.log")).expect("linked");
        folder.restart("*.log");
        folder.append("current.log", "line 0\n");
        assert_eq!(folder.read_after(1), "line 0\n");
        folder.restart("current*");
        folder.append("current.log", "line 1\n");
        assert_eq!(folder.read_after(1), "line 1\n");
    }

    #[test]
    fn a_log_that_came_while_nobody_watched_is_read_from_its_beginning() {
        let mut folder = Folder::new();
        folder.files.add(&folder.path("access.log"));
        folder.files.begin(&Positions::default(), false, NOW);
        assert_eq!(folder.read_after(1), "");
        folder.append("access.log", "line 0\n");
        folder.restart("access.log");
        assert_eq!(folder.read_after(1), "line 0\n");
    }

    #[test]
    fn a_file_of_several_names_is_read_under_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        fs::write(path("access.2026-11-27.log"), "line\n").expect("written");
        // As rotatelogs keeps a name for the present log.
        fs::hard_link(path("access.2026-11-27.log"), path("current.log")).expect("linked");
        let pattern = format!("{}/*.log", directory.path().display());
        let pattern = glob::Pattern::new(&pattern).expect("a pattern");
        let mut saved = Positions::default();
        for _ in 0..2 {
            let mut files = Files::new(None);
            files.add_pattern(pattern.clone());
            files.begin(&saved, false, NOW);
            assert_eq!(read(&files), (1, 2));
            saved = Positions::default();
            files.note_positions(&mut saved);
        }
        // As if both had been read.
        let position = saved.files.values().flatten().find(|position| !position.is_others).cloned();
        let position = position.expect("one is read");
        saved.files.values_mut().for_each(|positions| *positions = vec![position.clone()]);
        let mut files = Files::new(None);
        files.add_pattern(pattern);
        files.begin(&saved, false, NOW);
        assert_eq!(read(&files), (1, 2));
    }

    #[test]
    fn a_file_that_is_named_in_two_ways_is_followed_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = directory.path().display();
        fs::write(directory.path().join("a.log"), "line\n").expect("written");
        let mut files = Files::new(None);
        for path in [format!("{folder}/a.log"), format!("{folder}/./a.log"), format!("{folder}//a.log")] {
            files.add(Path::new(&path));
        }
        fs::create_dir(directory.path().join("other")).expect("made");
        files.add_pattern(glob::Pattern::new(&format!("{folder}/other/../*.log")).expect("a pattern"));
        files.begin(&Positions::default(), false, NOW);
        assert_eq!(read(&files), (1, 1));
    }

    #[test]
    fn what_has_not_begun_is_not_taken_for_read() {
        let directory = tempfile::tempdir().expect("a directory");
        // A folder is no log, as long as it is one.
        let log = directory.path().join("access.log");
        fs::create_dir(&log).expect("made");
        let mut files = Files::new(None);
        files.add(&log);
        files.begin(&Positions::default(), false, NOW);
        let mut positions = Positions::default();
        files.note_positions(&mut positions);
        assert_eq!(positions, Positions::default());
    }
}
