//! A pattern of log files: which match it, and why none does.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::access::denied;
use super::tail::{begins_compressed, is_compressed};

/// What makes a name a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// A pattern of log files.
pub(super) struct Pattern {
    pattern: glob::Pattern,
    /// Those that matched when any last did: one that was renamed a moment ago is still read.
    matched: BTreeSet<PathBuf>,
    /// Why none does now.
    trouble: Option<String>,
}

impl Pattern {
    pub(super) fn new(pattern: glob::Pattern) -> Self {
        Self { pattern, matched: BTreeSet::new(), trouble: None }
    }

    pub(super) fn name(&self) -> &str {
        self.pattern.as_str()
    }

    /// The folder that all that can match is below.
    pub(super) fn folder(&self) -> &Path {
        let fixed = self.name().split(WILDCARDS).next().unwrap_or_default();
        Path::new(match fixed.rsplit_once('/') {
            Some(("", _)) => "/",
            Some((folder, _)) => folder,
            None => ".",
        })
    }

    /// The log files that match now.
    pub(super) fn find(&mut self) -> BTreeSet<PathBuf> {
        let (compressed, found): (BTreeSet<_>, BTreeSet<_>) =
            paths(self.name()).filter(|path| path.is_file()).partition(|path| self.is_compressed(path));
        if found.is_empty() {
            self.trouble = Some(self.explain(!compressed.is_empty()));
        } else {
            (self.matched, self.trouble) = (found.clone(), None);
        }
        found
    }

    /// Whether nothing is written to a file any more, by its name or its content; the latter of one that was not there before.
    fn is_compressed(&self, path: &Path) -> bool {
        let begins_compressed = || fs::File::open(path).is_ok_and(|file| begins_compressed(&file));
        is_compressed(path) || (!self.matched.contains(path) && begins_compressed())
    }

    /// Why nothing of it is read, unless something is: `is_followed` says of which files that is so.
    pub(super) fn trouble(&self, is_followed: impl Fn(&Path) -> bool) -> Option<&str> {
        self.trouble.as_deref().filter(|_| !self.matched.iter().any(|path| is_followed(path)))
    }

    fn explain(&self, has_compressed: bool) -> String {
        if let Some(folder) = self.barred() {
            return denied(&folder);
        }
        let folder = self.folder();
        let none = if has_compressed {
            "no file matches it yet but compressed ones, to which nothing is written any more".to_owned()
        } else if folder.is_dir() {
            "no file matches it yet".to_owned()
        } else {
            format!("no file matches it yet: there is no folder {}", folder.display())
        };
        format!("{none}; what comes to match is read from its beginning")
    }

    /// A folder that may not be entered, or not listed where that is needed, so that nobody knows what matches in it.
    fn barred(&self) -> Option<PathBuf> {
        // What is in a folder that cannot be entered does not seem to be there: the last of the path that does is looked at.
        let steps = || Path::new(self.name()).ancestors();
        for (below, above) in steps().zip(steps().skip(1)) {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            let text = above.to_string_lossy();
            let folders: Vec<PathBuf> = if is_pattern(&text) {
                paths(&text).collect()
            } else {
                above.exists().then(|| above.to_owned()).into_iter().collect()
            };
            if !folders.is_empty() {
                let is_listed = below.file_name().is_none_or(|name| is_pattern(&name.to_string_lossy()));
                return folders.into_iter().find(|folder| is_barred(folder, is_listed));
            }
        }
        None
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(WILDCARDS)
}

/// What matches, as far as it may be seen.
fn paths(pattern: &str) -> impl Iterator<Item = PathBuf> {
    glob::glob(pattern).into_iter().flatten().flatten()
}

fn is_barred(folder: &Path, is_listed: bool) -> bool {
    let is_denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    fs::metadata(folder.join(".")).is_err_and(is_denied) || (is_listed && fs::read_dir(folder).is_err_and(is_denied))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(glob::Pattern::new(text).expect("a pattern"))
    }

    #[test]
    fn a_pattern_says_why_nothing_matches_until_something_does() {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = directory.path().display();
        let mut logs = pattern(&format!("{folder}/logs/*.log*"));
        let mut expect = |expected: Option<&str>| {
            logs.find();
            let trouble = logs.trouble(|_| false);
            assert_eq!(trouble.is_some(), expected.is_some(), "{trouble:?}");
            assert!(trouble.unwrap_or_default().starts_with(expected.unwrap_or_default()), "{trouble:?}");
        };
        expect(Some(&format!("no file matches it yet: there is no folder {folder}/logs; ")));
        let logs = directory.path().join("logs");
        fs::create_dir(&logs).expect("made");
        expect(Some("no file matches it yet; "));
        // No file of that name is one.
        fs::create_dir(logs.join("folder.log")).expect("made");
        expect(Some("no file matches it yet; "));
        fs::write(logs.join("a.log.1.gz"), "").expect("written");
        expect(Some("no file matches it yet but compressed ones"));
        fs::remove_file(logs.join("a.log.1.gz")).expect("removed");
        fs::write(logs.join("b.log"), [0x1F, 0x8B, 8, 0, 0]).expect("written");
        expect(Some("no file matches it yet but compressed ones"));
        fs::write(logs.join("a.log"), "").expect("written");
        expect(None);
        fs::remove_file(logs.join("a.log")).expect("removed");
        expect(Some("no file matches it yet but compressed ones"));
    }

    #[test]
    fn what_was_renamed_and_is_still_read_is_not_missed() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("a.log");
        fs::write(&log, "").expect("written");
        let mut logs = pattern(&format!("{}/*.log", directory.path().display()));
        assert_eq!(logs.find(), [log.clone()].into());
        fs::rename(&log, directory.path().join("a.log.1")).expect("renamed");
        logs.find();
        assert_eq!(logs.trouble(|path| path == log), None);
        assert!(logs.trouble(|_| false).is_some());
    }

    #[test]
    fn the_folder_is_what_stands_before_the_first_wildcard() {
        for (text, folder) in
            [("/var/log/nginx/*.log", "/var/log/nginx"), ("/srv/a*/logs/b", "/srv"), ("/*.log", "/"), ("*.log", ".")]
        {
            assert_eq!(pattern(text).folder(), Path::new(folder), "{text}");
        }
    }
}
