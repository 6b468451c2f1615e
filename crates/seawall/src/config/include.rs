//! Files of limits and rules that a configuration includes: some that come with the program, and the operator's own.
//!
//! An included file holds `[[limit]]`s and `[[rule]]`s, and includes nothing itself. Anything that is wrong with one refuses the configuration, with the
//! file's own name, line and column.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use seawall_engine::decision::expression::Lists;
use toml::Spanned;

use super::kind::Text;
use super::section::Report;
use super::{FILE_BYTES_MAX, document};
use super::{limit, rule};

/// What these files are for.
pub(super) const WHY: &str = "Files of limits and rules that belong to the configuration: they are read with it, checked with it, and read again at a reload.";

/// What begins the name of a file that comes with the program.
const SHIPPED_PREFIX: &str = "shipped:";

/// The files that come with the program, by name.
pub(crate) const SHIPPED: [(&str, &str); 3] = [
    ("wordpress", include_str!("../../data/limits/wordpress.toml")),
    ("probes", include_str!("../../data/limits/probes.toml")),
    ("http-auth", include_str!("../../data/limits/http-auth.toml")),
];

/// The most files that one pattern may stand for.
const FILES_MAX: usize = 256;

/// What was found in the configuration and its files, and checked.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) limits: limit::Checked,
    pub(super) rules: rule::Checked,
}

/// What is to be included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A file that comes with the program: its name and its text.
    Shipped(&'static str, &'static str),
    /// A file, or all that a pattern stands for.
    Files(PathBuf),
}

/// How a source is written.
pub(super) struct IncludeSource;

impl Text for IncludeSource {
    type Value = Source;
    const NAME: &'static str = "file of limits or rules";
    const EXAMPLE: &'static str = "\"shipped:wordpress\"";

    fn parse(&self, text: &str) -> Result<Source, String> {
        let Some(name) = text.strip_prefix(SHIPPED_PREFIX) else {
            if text.is_empty() || text.contains('\0') {
                return Err("which is no path".to_owned());
            }
            return glob::Pattern::new(text)
                .map(|_| Source::Files(text.into()))
                .map_err(|error| format!("which is no pattern of paths: {error}"));
        };
        let known = SHIPPED.iter().find(|(known, _)| *known == name);
        known.map(|(name, text)| Source::Shipped(name, text)).ok_or_else(|| {
            let names: Vec<String> = SHIPPED.iter().map(|(name, _)| format!("\"{SHIPPED_PREFIX}{name}\"")).collect();
            format!("which does not come with Seawall; there are {}", names.join(", "))
        })
    }

    fn show_text(&self, value: &Source) -> String {
        match value {
            Source::Shipped(name, _) => format!("{SHIPPED_PREFIX}{name}"),
            Source::Files(path) => path.display().to_string(),
        }
    }
}

/// Reads everything that is to be included; relative paths are taken from `folder`. What is good is added to `checked`.
pub(super) fn read(
    report: &mut Report,
    sources: &[Spanned<Source>],
    folder: &Path,
    lists: &Lists,
    checked: &mut Checked,
) {
    let mut read = HashSet::new();
    for source in sources {
        match source.get_ref() {
            Source::Shipped(name, text) => {
                let name = format!("{SHIPPED_PREFIX}{name}");
                // What two lines name is meant once.
                if read.insert(PathBuf::from(&name)) {
                    read_text(report, text, &name, lists, checked);
                }
            }
            Source::Files(path) => {
                for path in files(report, source, &folder.join(path)) {
                    if !read.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
                        continue;
                    }
                    match text(&path) {
                        Ok(text) => read_text(report, &text, &shown(&path), lists, checked),
                        Err(error) => {
                            let message = format!("`limits` in [include]: failed to read {}: {error}", shown(&path));
                            report.refuse(&source.span(), message);
                        }
                    }
                }
            }
        }
    }
}

/// The files that a path or pattern stands for, in the order of their names.
fn files(report: &mut Report, source: &Spanned<Source>, path: &Path) -> Vec<PathBuf> {
    let text = path.to_string_lossy();
    if !text.contains(['*', '?', '[']) {
        return vec![path.to_owned()];
    }
    let mut refuse = |message: String| {
        report.refuse(&source.span(), format!("`limits` in [include]: {message}"));
        Vec::new()
    };
    // An empty folder is an ordinary one; of a folder that is not there nobody would see that nothing is read.
    let fixed: PathBuf =
        path.components().take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '['])).collect();
    let fixed = if fixed.as_os_str().is_empty() { Path::new(".") } else { &fixed };
    match std::fs::metadata(fixed) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return refuse(format!("{} is no folder, so nothing in it can be read", shown(fixed))),
        Err(error) => return refuse(format!("failed to look into the folder {}: {error}", shown(fixed))),
    }
    let found = match glob::glob(&text) {
        Ok(found) => found,
        Err(error) => return refuse(format!("{text:?} is no pattern of paths: {error}")),
    };
    match found.take(FILES_MAX + 1).collect::<Result<Vec<PathBuf>, _>>() {
        Ok(files) if files.len() > FILES_MAX => refuse(format!("{text:?} stands for more than {FILES_MAX} files")),
        Ok(files) => files,
        Err(error) => refuse(format!("failed to look into the folder {}: {}", shown(error.path()), error.error())),
    }
}

/// A path as it can be shown anywhere.
fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// The text of a file.
fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 1 MiB, so it is no file of limits or rules"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

fn read_text(report: &mut Report, text: &str, name: &str, lists: &Lists, checked: &mut Checked) {
    let ((), problems) = document(text, name, limit::WHY, |top| {
        top.forbid("include", "an included file includes no others; name it in [include] of the configuration");
        let limits = top.tables("[[limit]]", limit::WHY, limit::read).unwrap_or_default();
        let rules = top.tables("[[rule]]", rule::WHY, rule::read).unwrap_or_default();
        if limits.is_empty() && rules.is_empty() {
            top.lacks("this file holds no [[limit]] and no [[rule]]");
        }
        limit::check(top.report, limits, lists, &mut checked.limits);
        rule::check(top.report, rules, lists, &mut checked.rules);
    });
    report.elsewhere.extend(problems);
}

/// Reads `text` as an included file, for what writes such files.
///
/// # Errors
/// Every problem of it.
pub(crate) fn check(text: &str, name: &str) -> Result<usize, super::Problems> {
    let (mut report, mut checked) = (Report::default(), Checked::default());
    read_text(&mut report, text, name, &Lists::default(), &mut checked);
    super::Problems::new(report.elsewhere).map_or(Ok(checked.limits.limits.len()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_comes_with_the_program_holds_limits_whose_cases_are_met() {
        for (name, text) in SHIPPED {
            let limits = check(text, name).unwrap_or_else(|problems| panic!("{problems}"));
            assert!(limits > 0, "{name}");
            let (yes, no) = (text.matches("matches = true").count(), text.matches("matches = false").count());
            assert!(yes >= limits && no >= limits, "{name}: a limit without a case of each kind");
        }
    }
}
