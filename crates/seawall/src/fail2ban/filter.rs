//! Reads a filter: an INI file with continued lines, files before and after it, `%(name)s` and `<name>`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How deep files may name others, and texts others.
const DEPTH_MAX: usize = 16;

/// The longest text that comes of putting in what it names.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Names that stand for what was found in a line, and are put in later.
const TAGS: [&str; 6] = ["HOST", "ADDR", "IP4", "IP6", "SUBNET", "CIDR"];

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The system says so.
    #[error("failed to read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is not what it should be.
    #[error("{}:{line}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// A regular expression of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// The line of its file that it begins on, from 1.
    pub line: usize,
    /// With everything put in that it names.
    pub text: String,
}

/// What a filter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its name: that of the file, without what follows the dot.
    pub name: String,
    /// Its file's name.
    pub file: String,
    /// What counts.
    pub expressions: Vec<Expression>,
    /// What counts for nothing although it is met.
    pub ignored: Vec<Expression>,
    /// Whether the brackets around a time are taken out of lines with it.
    pub cuts_brackets: bool,
}

/// The values of a section, each with the lines that it stands on.
pub(super) type Values = HashMap<String, Vec<(usize, String)>>;

/// The sections of a file and of those that it names.
pub(super) type Sections = HashMap<String, Values>;

impl Filter {
    /// Reads a filter and the files that it names.
    ///
    /// # Errors
    /// When one of them cannot be read, or it is none.
    pub fn read(path: &Path) -> Result<Self, FilterError> {
        let sections = read_with_local(path)?;
        let content = |line: usize, reason: String| FilterError::Content { path: path.to_owned(), line, reason };
        let empty = Values::new();
        let definition = sections.get("Definition").unwrap_or(&empty);
        let put_in = PutIn { sections: &sections };
        let expressions = |key: &str| -> Result<Vec<Expression>, FilterError> {
            let lines = definition.get(key).map(Vec::as_slice).unwrap_or_default();
            let mut found = Vec::new();
            for (line, text) in lines.iter().filter(|(_, text)| !text.trim().is_empty()) {
                let text = put_in.complete(text, 0).map_err(|reason| content(*line, reason))?;
                // One name may stand for several lines.
                let texts = text.lines().map(str::trim).filter(|text| !text.is_empty());
                found.extend(texts.map(|text| Expression { line: *line, text: text.to_owned() }));
            }
            Ok(found)
        };
        if definition.contains_key("prefregex") {
            let line = definition.get("prefregex").and_then(|lines| lines.first()).map_or(1, |(line, _)| *line);
            let reason = "`prefregex` takes a prefix from lines that are no access log's; there is nothing to convert"
                .to_owned();
            return Err(content(line, reason));
        }
        let (expressions, ignored) = (expressions("failregex")?, expressions("ignoreregex")?);
        if expressions.is_empty() {
            return Err(content(1, "there is no `failregex` in [Definition], so it is no filter".to_owned()));
        }
        let date: String = definition.get("datepattern").into_iter().flatten().map(|(_, text)| text.as_str()).collect();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
        Ok(Self {
            name: stem.chars().map(plain).take(64).collect(),
            file: path.file_name().unwrap_or_default().to_string_lossy().escape_debug().to_string(),
            expressions,
            ignored,
            cuts_brackets: date.contains("(\\["),
        })
    }
}

/// The sections of a file `NAME.conf` and of what fail2ban reads over it, where users keep what is theirs: `NAME.d/*.conf`, `NAME.local`
/// and `NAME.d/*.local`.
pub(super) fn read_with_local(path: &Path) -> Result<Sections, FilterError> {
    let mut sections = read_with_others(path, 0)?;
    if path.extension().is_some_and(|extension| extension == "conf") {
        let parts = |extension: &str| -> Vec<PathBuf> {
            let entries = fs::read_dir(path.with_extension("d")).into_iter().flatten().flatten();
            let is_part = |path: &PathBuf| path.extension().is_some_and(|other| other == extension);
            let mut parts: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_part).collect();
            parts.sort_unstable();
            parts
        };
        let local = Some(path.with_extension("local")).filter(|local| local.exists());
        for over in parts("conf").into_iter().chain(local).chain(parts("local")) {
            overlay(&mut sections, read_with_others(&over, 0)?);
        }
    }
    Ok(sections)
}

/// The sections of a file, with those that it wants before it and after it.
fn read_with_others(path: &Path, depth: usize) -> Result<Sections, FilterError> {
    if depth > DEPTH_MAX {
        let reason = "files name each other without end".to_owned();
        return Err(FilterError::Content { path: path.to_owned(), line: 1, reason });
    }
    let own = read_sections(path)?;
    let named = |key: &str| -> Vec<PathBuf> {
        let lines = own.get("INCLUDES").and_then(|includes| includes.get(key)).into_iter().flatten();
        let names = lines.map(|(_, name)| name.trim()).filter(|name| !name.is_empty());
        names.map(|name| path.parent().unwrap_or(Path::new("")).join(name)).collect()
    };
    let mut sections = Sections::new();
    for before in named("before") {
        overlay(&mut sections, read_with_others(&before, depth + 1)?);
    }
    let after = named("after");
    overlay(&mut sections, own);
    // What comes after is what somebody may have changed, and need not be there.
    for after in after.into_iter().filter(|after| after.exists()) {
        overlay(&mut sections, read_with_others(&after, depth + 1)?);
    }
    Ok(sections)
}

fn overlay(sections: &mut Sections, others: Sections) {
    for (name, values) in others {
        sections.entry(name).or_default().extend(values);
    }
}

fn read_sections(path: &Path) -> Result<Sections, FilterError> {
    use io::Read as _;
    let failed = |error| FilterError::Read { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::other("it is larger than 1 MiB, so it is no filter")));
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let content = |line, reason: &str| FilterError::Content { path: path.to_owned(), line, reason: reason.to_owned() };
    let (mut sections, mut section, mut key) = (Sections::new(), None, None);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.strip_prefix('\u{FEFF}').unwrap_or(line);
        if line.trim_start().starts_with(['#', ';']) || line.trim().is_empty() {
            continue;
        }
        // What follows a semicolon after a space is a comment.
        let line = line.split_once(" ;").map_or(line, |(line, _)| line);
        if line.starts_with([' ', '\t']) {
            if let (Some(section), Some(key)) = (&section, &key) {
                let values: &mut Values = sections.entry(String::clone(section)).or_default();
                values.entry(String::clone(key)).or_default().push((number, line.trim().to_owned()));
                continue;
            }
            return Err(content(number, "this line goes on from none"));
        }
        if let Some(name) = line.trim().strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            (section, key) = (Some(name.to_owned()), None);
            sections.entry(name.to_owned()).or_default();
            continue;
        }
        let (Some(name), Some((left, right))) = (&section, line.split_once(['=', ':'])) else {
            return Err(content(number, "this is neither a section, as [Definition], nor a value, as failregex = …"));
        };
        let left = left.trim().to_owned();
        let values: &mut Values = sections.entry(String::clone(name)).or_default();
        values.insert(left.clone(), vec![(number, right.trim().to_owned())]);
        key = Some(left);
    }
    Ok(sections)
}

/// Puts in what texts name.
pub(super) struct PutIn<'a> {
    pub(super) sections: &'a Sections,
}

impl PutIn<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let sections = ["Definition", "Init", "DEFAULT"];
        let lines = sections.iter().find_map(|section| self.sections.get(*section)?.get(name))?;
        Some(lines.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n"))
    }

    /// The text with `%(name)s` and `<name>` put in, where they are known, and `%%` as `%`.
    pub(super) fn complete(&self, text: &str, depth: usize) -> Result<String, String> {
        if depth > DEPTH_MAX {
            return Err("values name each other without end".to_owned());
        }
        let mut put_in = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['%', '<']) {
            put_in.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("%%") {
                put_in.push('%');
                rest = after;
            } else if let Some((name, after)) = rest.strip_prefix("%(").and_then(|rest| rest.split_once(")s")) {
                let value = self.value(name).ok_or_else(|| format!("%({name})s is said nowhere"))?;
                put_in.push_str(&self.complete(&value, depth + 1)?);
                rest = after;
            } else if let Some((name, after)) = self.tag(rest, depth)? {
                match self.value(&name).filter(|_| !TAGS.contains(&name.as_str())) {
                    Some(value) => put_in.push_str(&self.complete(&value, depth + 1)?),
                    None => put_in.push_str(&rest[..rest.len() - after.len()]),
                }
                rest = after;
            } else {
                let first = rest.chars().next().map_or(1, char::len_utf8);
                put_in.push_str(&rest[..first]);
                rest = &rest[first..];
            }
            if put_in.len() > TEXT_BYTES_MAX {
                return Err("what it names makes it longer than 64 KiB".to_owned());
            }
        }
        put_in.push_str(rest);
        Ok(put_in)
    }

    /// The name in `<name>`, which may itself hold others, and what follows; none where it is no name.
    fn tag<'t>(&self, text: &'t str, depth: usize) -> Result<Option<(String, &'t str)>, String> {
        let Some(inner) = text.strip_prefix('<') else { return Ok(None) };
        let mut open = 1;
        for (at, character) in inner.char_indices() {
            match character {
                '<' => open += 1,
                '>' => open -= 1,
                _ if character.is_ascii_alphanumeric() || "_-/".contains(character) => {}
                _ => return Ok(None),
            }
            if open == 0 {
                let name = &inner[..at];
                let name = if name.contains('<') { self.complete(name, depth + 1)? } else { name.to_owned() };
                return Ok(Some((name, &inner[at + 1..])));
            }
        }
        Ok(None)
    }

    /// The names of the sections that are jails.
    pub(super) fn jails(&self) -> HashSet<&str> {
        self.sections.keys().map(String::as_str).filter(|name| !["INCLUDES", "DEFAULT"].contains(name)).collect()
    }
}
