//! Which files are read, and in which order: patterns are resolved, rotated sets put in the order of time, and a file that is named
//! twice is read once.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::source::follow::rotated::{Age, set_and_age};

/// The files to be read for these arguments, in the order in which they are read.
#[derive(Debug, Default)]
pub struct Files {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// Those that were left out, since another name of theirs is among the others; with that name.
    pub doubled: Vec<(PathBuf, PathBuf)>,
}

impl Files {
    /// Resolves the arguments. What exists is taken as it is, whatever characters are in its name, and so is a pattern that stands
    /// for no file, as shells do it: that it cannot be opened is said when that is tried.
    pub fn find(arguments: &[PathBuf]) -> Self {
        let mut paths = Vec::new();
        for argument in arguments {
            let is_pattern = |text: &&str| text.contains(['*', '?', '[']) && fs::symlink_metadata(argument).is_err();
            let found = argument.to_str().filter(is_pattern).map(resolve).unwrap_or_default();
            if found.is_empty() {
                paths.push(argument.clone());
            }
            paths.extend(found);
        }
        let mut found = Self::default();
        let mut seen: HashMap<(u64, u64), PathBuf> = HashMap::new();
        let mut is_input_seen = false;
        for path in in_order_of_time(&paths) {
            if path == Path::new("-") {
                if std::mem::replace(&mut is_input_seen, true) {
                    found.doubled.push((path.clone(), path));
                } else {
                    found.paths.push(path);
                }
                continue;
            }
            let metadata = fs::metadata(&path).ok();
            match metadata.map(|metadata| seen.entry((metadata.dev(), metadata.ino()))) {
                Some(std::collections::hash_map::Entry::Occupied(known)) => {
                    found.doubled.push((path, known.get().clone()));
                }
                Some(std::collections::hash_map::Entry::Vacant(free)) => {
                    free.insert(path.clone());
                    found.paths.push(path);
                }
                // What cannot be opened is said when that is tried.
                None => found.paths.push(path),
            }
        }
        found
    }
}

/// The files that a pattern stands for. Folders that cannot be read, and folders that it matches beside files, are passed over.
fn resolve(pattern: &str) -> Vec<PathBuf> {
    let matches = glob::glob(pattern).into_iter().flatten().flatten();
    matches.filter(|path| !path.is_dir()).collect()
}

/// The files with each rotated set in the order of time, where the first of the set stands.
fn in_order_of_time(paths: &[PathBuf]) -> Vec<PathBuf> {
    let keys: Vec<(PathBuf, Age)> = paths.iter().map(|path| set_and_age(path)).collect();
    let mut sets: HashMap<&Path, Vec<usize>> = HashMap::new();
    for (number, (set, _)) in keys.iter().enumerate() {
        sets.entry(set).or_default().push(number);
    }
    let mut done = HashSet::new();
    let mut order = Vec::new();
    for (set, _) in &keys {
        if done.insert(set)
            && let Some(mut members) = sets.remove(set.as_path())
        {
            members.sort_by_key(|member| keys.get(*member).map(|(_, age)| age));
            order.extend(members);
        }
    }
    order.into_iter().filter_map(|number| paths.get(number).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &[&str], expected: &[&str]) {
        let paths: Vec<PathBuf> = given.iter().map(PathBuf::from).collect();
        let found: Vec<_> = in_order_of_time(&paths).iter().map(|path| path.to_string_lossy().into_owned()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rotated_sets_are_in_the_order_of_time() {
        check(
            &["access.log", "access.log.1", "access.log.10.gz", "access.log.2.gz"],
            &["access.log.10.gz", "access.log.2.gz", "access.log.1", "access.log"],
        );
        check(
            &["a/access.log", "a/access.log-20240602.gz", "a/access.log-20240601.gz"],
            &["a/access.log-20240601.gz", "a/access.log-20240602.gz", "a/access.log"],
        );
        check(
            &["access-2024-06-02.log", "access.log", "access-2024-06-01.log.xz"],
            &["access-2024-06-01.log.xz", "access-2024-06-02.log", "access.log"],
        );
    }

    #[test]
    fn what_is_no_set_stays_where_it_is() {
        check(&["b.log", "a.log", "-", "a.log.1"], &["b.log", "a.log.1", "a.log", "-"]);
        check(&["one/access.log", "other/access.log.1"], &["one/access.log", "other/access.log.1"]);
        check(&["host-192.0.2.1", "12345678"], &["host-192.0.2.1", "12345678"]);
    }

    #[test]
    fn a_file_is_read_once_whatever_its_names() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("access.log"), "x").expect("room");
        fs::write(path("odd[1]*.log"), "x").expect("room");
        std::os::unix::fs::symlink(path("access.log"), path("link")).expect("room");
        let files = Files::find(&[path("access.log"), path("./access.log"), path("link"), path("acc*")]);
        assert_eq!(files.paths, [path("access.log")]);
        assert_eq!(files.doubled.len(), 3);
        // A name that exists is no pattern, and neither is one that stands for nothing.
        for name in ["odd[1]*.log", "missing", "none*", "[unclosed", "a***"] {
            assert_eq!(Files::find(&[path(name)]).paths, [path(name)], "{name}");
        }
    }
}
