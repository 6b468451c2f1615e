//! Which requests are for parts of pages and other static files. An extension alone is whatever the sender likes, and those who
//! load pages with their parts count as people, so it is believed only as far as normal traffic and the site's answers agree.
//!
//! A file that ordinary visitors ask for is what it is called. Among pages that have no files (`/wiki/x.css` where all of
//! `/wiki/` is pages) nothing is; nor is what the site does not have. In a place of which nothing is known, and next to the root
//! where everything lies, the extension is believed: an error there would ban people.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::observation::attribute::Attribute;

use super::baseline::NormalRow;
use super::marked::Marked;
use super::recent::Sampled;
use super::values::{Marks, UNUSED, ValueHash};

/// Votes from which on a path is known: a client has one in an hour, so that one client cannot make it known.
const PATH_VOTES_MIN: u32 = 3;

/// Votes from which on it is known what a directory holds, and the share of files in it below which it holds none.
const DIRECTORY_VOTES_MIN: u32 = 20;
const FILES_SHARE_MIN: f64 = 0.02;

/// What normal traffic asks for in one directory.
#[derive(Clone, Copy, Debug, Default)]
struct Directory {
    votes: u32,
    files: u32,
}

/// What normal traffic says of the site's static files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    paths: FxHashMap<ValueHash, u32>,
    directories: FxHashMap<ValueHash, Directory>,
}

impl Files {
    pub(crate) fn new(marked: &Marked, normal: &[&NormalRow]) -> Self {
        let mut paths: FxHashMap<ValueHash, u32> = FxHashMap::default();
        let mut directories: FxHashMap<ValueHash, Directory> = FxHashMap::default();
        for marks in normal.iter().map(|row| &row.marks) {
            let is_file = marked.is_static(marks.one(Attribute::Extension));
            if is_file {
                *paths.entry(marks.one(Attribute::Path)).or_default() += 1;
            }
            for directory in inside(marks) {
                let directory = directories.entry(directory).or_default();
                directory.votes += 1;
                directory.files += u32::from(is_file);
            }
        }
        Self { paths, directories }
    }
}

/// What is known of the site's static files.
#[derive(Debug)]
pub(crate) struct Assets<'a> {
    marked: &'a Marked,
    files: &'a Files,
    /// What the site does not have.
    missing: FxHashSet<ValueHash>,
}

impl<'a> Assets<'a> {
    /// By normal traffic, and by the answers to what is looked at.
    pub(crate) fn new(marked: &'a Marked, files: &'a Files, rows: &[Sampled<'_>]) -> Self {
        let is_missing = |sampled: &&Sampled<'_>| matches!(sampled.row.status, 404 | 410);
        let missing = rows.iter().filter(is_missing).map(|sampled| sampled.row.marks.one(Attribute::Path)).collect();
        Self { marked, files, missing }
    }

    /// The values that tell people from programs.
    pub(crate) const fn marked(&self) -> &'a Marked {
        self.marked
    }

    /// Whether a request is for a static file.
    pub(crate) fn is_asset(&self, marks: &Marks) -> bool {
        if !self.marked.is_static(marks.one(Attribute::Extension)) {
            return false;
        }
        let path = marks.one(Attribute::Path);
        if self.files.paths.get(&path).is_some_and(|votes| *votes >= PATH_VOTES_MIN) {
            return true;
        }
        let known = |directory: &ValueHash| {
            self.files.directories.get(directory).filter(|directory| directory.votes >= DIRECTORY_VOTES_MIN)
        };
        let holds_files =
            |directory: &Directory| f64::from(directory.files) >= FILES_SHARE_MIN * f64::from(directory.votes);
        // The innermost of which anything is known.
        let directory = inside(marks).filter_map(|directory| known(&directory)).last();
        !self.missing.contains(&path) && directory.is_none_or(holds_files)
    }
}

/// The directories that a path lies in, outermost first.
fn inside(marks: &Marks) -> impl Iterator<Item = ValueHash> + '_ {
    marks.of(Attribute::PathPrefix).iter().copied().filter(|directory| *directory != UNUSED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::recent::Row;
    use crate::detection::values::{Keys, Texts};
    use crate::observation::Request;
    use crate::units::Timestamp;

    #[test]
    fn an_extension_is_believed_where_nothing_speaks_against_it() {
        let (keys, mut texts) = (Keys::new(1), Texts::new());
        let mut marks =
            |path: &str| texts.marks(&keys, &Request { path: path.as_bytes(), ..Request::default() }, None, 1);
        let votes = (0..60).flat_map(|number| {
            let own = [format!("/wiki/page-{number}"), format!("/images/{number}.png")];
            own.into_iter().chain(
                ["/favicon.ico".to_owned(), "/about".to_owned(), "/wiki/common.css".to_owned()]
                    .into_iter()
                    .filter(move |_| number < 3),
            )
        });
        let normal: Vec<NormalRow> =
            votes.map(|path| NormalRow::saved(marks(&path), [1.0, 0.0, 0.0, 0.0], 1.0, false)).collect();
        let missing = Row { marks: marks("/images/no.png"), status: 404, ..Row::default() };
        let rows = [Sampled { row: &missing, at: Timestamp::EPOCH, factor: 1.0 }];
        let marked = Marked::new(&keys);
        let normal: Vec<&NormalRow> = normal.iter().filter(|row| row.marks != marks("/wiki/common.css")).collect();
        let files = Files::new(&marked, &normal);
        let assets = Assets::new(&marked, &files, &rows);
        for (path, expected) in [
            ("/favicon.ico", true),
            ("/images/new.png", true),
            ("/time.gif", true),
            ("/campaign/style.css", true),
            ("/wiki/x.css", false),
            ("/wiki/page-3/x.css", false),
            ("/images/no.png", false),
            ("/images/no", false),
        ] {
            assert_eq!(assets.is_asset(&marks(path)), expected, "{path}");
        }
    }

    #[test]
    fn three_visitors_make_a_file_known_and_one_does_not() {
        let (keys, mut texts) = (Keys::new(1), Texts::new());
        let marked = Marked::new(&keys);
        for (votes, expected) in [(1, false), (3, true)] {
            let mut marks =
                |path: String| texts.marks(&keys, &Request { path: path.as_bytes(), ..Request::default() }, None, 1);
            let paths =
                (0..200).map(|number| format!("/wiki/{number}")).chain((0..votes).map(|_| "/wiki/a.css".to_owned()));
            let normal: Vec<NormalRow> =
                paths.map(|path| NormalRow::saved(marks(path), [1.0, 0.0, 0.0, 0.0], 1.0, false)).collect();
            let files = Files::new(&marked, &normal.iter().collect::<Vec<_>>());
            let assets = Assets::new(&marked, &files, &[]);
            assert_eq!(assets.is_asset(&marks("/wiki/a.css".to_owned())), expected, "{votes}");
        }
    }
}
