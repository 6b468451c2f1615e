//! Which files are one log: the one that is written, and those that it was before, by their names.

use std::path::{Path, PathBuf};

/// How old the content of a rotated file is; older is less.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// Named by the day, and perhaps the time, on which it was rotated.
    Dated(String),
    /// Named by how often it was rotated since.
    Rotated(std::cmp::Reverse<u32>),
    /// The one that is written.
    Present,
}

/// The set that a file belongs to, and its age there: of `access.log.2.gz`, `access.log` and twice rotated. Dates may stand at the
/// end or before the extension: `access.log-20240601`, `access-2024-06-01.log`, and in seconds since 1970 `access.log.1717200000`.
pub fn set_and_age(path: &Path) -> (PathBuf, Age) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return (path.to_owned(), Age::Present) };
    let stem = ["gz", "bz2", "xz", "zst"].iter().find_map(|extension| name.strip_suffix(extension)?.strip_suffix('.'));
    let stem = stem.unwrap_or(name);
    if let Some((base, number)) = stem.rsplit_once('.')
        && let (false, Ok(number)) = (number.len() > 4, number.parse())
    {
        return (path.with_file_name(base), Age::Rotated(std::cmp::Reverse(number)));
    }
    let extension = if stem.ends_with(".log") { ".log" } else { "" };
    let before = stem.strip_suffix(extension).unwrap_or(stem);
    for (text, extension) in [(stem, ""), (before, extension)] {
        let length = text
            .bytes()
            .rev()
            .take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b'T'))
            .count();
        let (base, date) = text.split_at(text.len() - length);
        let digits: String = date.chars().filter(char::is_ascii_digit).collect();
        // A year of this or the last century, then month and day, at least.
        let is_date = digits.len() >= 8 && (digits.starts_with("20") || digits.starts_with("19"));
        // Seconds since 1970, of the years up to 2033.
        let is_epoch = digits.len() == 10 && digits.starts_with('1') && date.ends_with(&digits);
        if (is_date || is_epoch) && !base.is_empty() {
            return (path.with_file_name(format!("{base}{extension}")), Age::Dated(digits));
        }
    }
    (path.with_file_name(stem), Age::Present)
}

/// Whether two files are of one rotated set.
pub fn are_one_log(first: &Path, second: &Path) -> bool {
    set_and_age(first).0 == set_and_age(second).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_told_from_others_whose_names_begin_the_same() {
        let is_same = |other: &str| are_one_log(Path::new("/logs/access.log"), &Path::new("/logs").join(other));
        for same in [
            "access.log",
            "access.log.1",
            "access.log.12.gz",
            "access.log-20261126",
            "access-2026-11-26.log.xz",
            "access.log.1717200000",
            "access.log-1717200000.gz",
            "access-1717200000.log",
        ] {
            assert!(is_same(same), "{same}");
        }
        for other in [
            "access_api.log",
            "access.log_api",
            "access",
            "error.log",
            "access.log.old",
            "../x/access.log",
            "access.log.3717200000",
            "access.log.171720000",
            "access-10.123.45.678.log",
        ] {
            assert!(!is_same(other), "{other}");
        }
    }

    #[test]
    fn seconds_since_1970_are_in_the_order_of_time() {
        let names = ["access.log.1717200000.gz", "access.log.1717286400", "access.log"];
        let ages: Vec<Age> = names.iter().map(|name| set_and_age(Path::new(name)).1).collect();
        assert!(ages.is_sorted() && ages.first() == Some(&Age::Dated("1717200000".to_owned())), "{ages:?}");
    }
}
