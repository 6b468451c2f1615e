//! Tables of the file and the settings in them.
//!
//! A setting is declared once, in [`super::settings`], by one expression that both reads it and describes it:
//!
//! ```text
//! table.setting("head-bytes-max", Size { range: KIB..=MIB }).why("The largest …").default(16 * KIB)
//! ```
//!
//! Reading an empty document gives the defaults, and the descriptions that are gathered on the way are the reference
//! page. So key, kind, range, default and documentation cannot differ from what is read. Nothing here stops at the
//! first problem: a setting that is refused counts as its default, and reading goes on.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kind::{Kind, LIKENESS_MIN, show_found};
use super::problem::Problem;

/// Keys that are called otherwise on the command line.
const OPTIONS: [(&str, &str); 3] = [("state", "state-directory"), ("to", "upstream"), ("host", "hosts")];

/// Something that is wrong, at a place in the text.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) offset: usize,
    pub(super) message: String,
    /// Whether something is absent, which in a file that is not valid TOML proves nothing.
    pub(super) absence: bool,
}

/// What a kind refuses about one value.
#[derive(Debug, Default)]
pub(super) struct Refusals(pub(super) Vec<(usize, String)>);

impl Refusals {
    pub(super) fn add(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.0.push((span.start, message.into()));
    }
}

/// One setting, as the reference page shows it.
#[derive(Clone, Debug)]
pub(super) struct SettingDescription {
    pub(super) key: &'static str,
    /// What it is, with its unit: `size`, `number of connections`.
    pub(super) kind: String,
    pub(super) range: Option<String>,
    /// The words that it can be, with what each means.
    pub(super) choices: Vec<(&'static str, &'static str)>,
    pub(super) absent: Absent,
    /// A value in TOML, for the commented example.
    pub(super) example: String,
    /// Whether the example uses it rather than showing it as a comment.
    pub(super) in_use: bool,
    pub(super) why: &'static str,
}

/// What holds when the setting is absent.
#[derive(Clone, Debug)]
pub(super) enum Absent {
    /// This value, in TOML.
    Value(String),
    /// What these words say.
    Words(&'static str),
    /// Nothing: it must be given.
    Refused,
}

/// One table, as the reference page shows it.
#[derive(Clone, Debug)]
pub(super) struct TableDescription {
    /// Its header, `[limits]` or `[[site]]`; empty for the top.
    pub(super) header: &'static str,
    pub(super) why: &'static str,
    pub(super) settings: Vec<SettingDescription>,
}

/// What reading gathers: problems and descriptions.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) refusals: Vec<Refusal>,
    pub(super) tables: Vec<TableDescription>,
    /// Problems of files that this one includes.
    pub(super) elsewhere: Vec<Problem>,
    /// The text itself.
    source: String,
    unknown: Vec<UnknownKey>,
}

#[derive(Debug)]
struct UnknownKey {
    offset: usize,
    table: usize,
    key: String,
}

impl Report {
    /// What is gathered of this text.
    pub(super) fn of(source: &str) -> Self {
        Self { source: source.to_owned(), ..Self::default() }
    }

    /// Where in the document a character of a string stands: `span` is the string as it is written there, `text` what it says, and
    /// `line` and `column` count in that from 1.
    pub(super) fn offset_within(&self, span: &Range<usize>, text: &str, line: usize, column: usize) -> usize {
        let before: usize = text.split_inclusive('\n').take(line - 1).map(|line| line.chars().count()).sum();
        let written = self.source.get(span.clone()).unwrap_or_default();
        span.start + offset_in_string(written, before + column - 1)
    }

    /// Adds a problem at `span`.
    pub(super) fn refuse(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.refusals.push(Refusal { offset: span.start, message: message.into(), absence: false });
    }

    /// All problems, in the order of the text.
    pub(super) fn into_refusals(mut self) -> Vec<Refusal> {
        let unknown: Vec<Refusal> = self.unknown.iter().map(|unknown| self.judge_unknown(unknown)).collect();
        self.refusals.extend(unknown);
        self.refusals.sort_by_key(|refusal| refusal.offset);
        self.refusals
    }

    /// Says that a key is unknown, and which was probably meant: one of this table that is spelled alike, else one of
    /// another table that is spelled the same.
    fn judge_unknown(&self, unknown: &UnknownKey) -> Refusal {
        let spelled = unknown.key.to_lowercase().replace('_', "-");
        let spelled =
            OPTIONS.iter().find(|(option, _)| *option == spelled).map_or(spelled, |(_, key)| (*key).to_owned());
        let here = self.tables.get(unknown.table);
        let near = here.into_iter().flat_map(|table| self.names(table)).map(|name| {
            let likeness = strsim::jaro(&spelled, &name);
            (likeness, name)
        });
        let nearest =
            near.max_by(|left, right| left.0.total_cmp(&right.0)).filter(|(likeness, _)| *likeness > LIKENESS_MIN);
        let elsewhere = || {
            self.tables.iter().find(|table| table.settings.iter().any(|setting| setting.key == spelled)).map(|table| {
                match table.header {
                    "" => "at the top of the file, before the first table".to_owned(),
                    header => format!("in {header}"),
                }
            })
        };
        let own_table = self.tables.iter().find(|table| !table.header.is_empty() && bare(table.header) == spelled);
        let place = match here.map_or("", |table| table.header) {
            "" => "at the top of the file".to_owned(),
            header => format!("in {header}"),
        };
        let key = unknown.key.escape_debug();
        let advice = match (nearest, elsewhere()) {
            _ if own_table.is_some() && here.is_some_and(|table| !table.header.is_empty()) => {
                let header = own_table.map_or("", |table| table.header);
                format!("; {header} is a table of its own, beside this one")
            }
            (Some((likeness, name)), _) if likeness > 0.999 => format!("; did you mean `{name}`?"),
            (_, Some(place)) => format!("; `{spelled}` belongs {place}"),
            (Some((_, name)), None) => format!("; did you mean `{name}`?"),
            (None, None) => {
                let names: Vec<String> = here.into_iter().flat_map(|table| self.names(table)).collect();
                format!("; known are {}", names.join(", "))
            }
        };
        Refusal { offset: unknown.offset, message: format!("unknown key `{key}` {place}{advice}"), absence: false }
    }

    /// The keys that a table can have.
    fn names(&self, table: &TableDescription) -> impl Iterator<Item = String> {
        let settings: Vec<String> = table.settings.iter().map(|setting| setting.key.to_owned()).collect();
        let is_at_top = |table: &&TableDescription| !table.header.is_empty() && !table.header.contains('.');
        let tables = table
            .header
            .is_empty()
            .then(|| self.tables.iter().filter(is_at_top).map(|table| bare(table.header).to_owned()));
        settings.into_iter().chain(tables.into_iter().flatten().collect::<BTreeSet<String>>())
    }
}

/// One table of the document, or an absent one.
pub(super) struct Section<'r, 'd> {
    pub(super) report: &'r mut Report,
    table: usize,
    given: Option<&'d DeTable<'d>>,
    /// Where its header is, to which what it lacks is laid.
    header: Range<usize>,
    known: Vec<&'static str>,
}

impl<'r, 'd> Section<'r, 'd> {
    /// The top of a document, or of none.
    pub(super) fn top(report: &'r mut Report, why: &'static str, given: Option<&'d DeTable<'d>>) -> Self {
        Self::new(report, "", why, given, 0..0)
    }

    fn new(
        report: &'r mut Report,
        header: &'static str,
        why: &'static str,
        given: Option<&'d DeTable<'d>>,
        place: Range<usize>,
    ) -> Self {
        let table = report.tables.iter().position(|table| table.header == header).unwrap_or_else(|| {
            report.tables.push(TableDescription { header, why, settings: Vec::new() });
            report.tables.len() - 1
        });
        Self { report, table, given, header: place, known: Vec::new() }
    }

    /// Where the table begins.
    pub(super) fn place(&self) -> Range<usize> {
        self.header.clone()
    }

    /// Whether there is a document at all, rather than only a description to be made.
    pub(super) fn is_given(&self) -> bool {
        self.given.is_some()
    }

    /// Adds a problem of what is absent from this table.
    pub(super) fn lacks(&mut self, message: impl Into<String>) {
        if self.is_given() {
            self.report.refusals.push(Refusal { offset: self.header.start, message: message.into(), absence: true });
        }
    }

    /// Refuses a key that may stand elsewhere.
    pub(super) fn forbid(&mut self, key: &'static str, message: &str) {
        self.known.push(key);
        if let Some((key, _)) = self.given.and_then(|table| table.get_key_value(key)) {
            self.report.refuse(&key.span(), message);
        }
    }

    /// A setting of this table, read by `kind`; to be completed by what holds when it is absent.
    pub(super) fn setting<K: Kind>(&mut self, key: &'static str, kind: K) -> Setting<'_, 'r, 'd, K> {
        self.known.push(key);
        let found = self.given.and_then(|table| table.get(key));
        let mut refusals = Refusals::default();
        let value = found.map(|found| kind.read(found, &mut refusals));
        let header = self.report.tables.get(self.table).map_or("", |table| table.header);
        let name = if header.is_empty() { format!("`{key}`") } else { format!("`{key}` in {header}") };
        for (offset, message) in refusals.0 {
            self.report.refusals.push(Refusal { offset, message: format!("{name}: {message}"), absence: false });
        }
        Setting { section: self, key, name, kind, value, example: None, in_use: false, why: "" }
    }

    /// A table within this one, given at most once. `read` is called in any case: what is absent has its defaults.
    pub(super) fn table<T>(
        &mut self,
        header: &'static str,
        why: &'static str,
        read: impl FnOnce(&mut Section<'_, 'd>) -> T,
    ) -> T {
        self.known.push(bare(header));
        let found = self.given.and_then(|table| table.get_key_value(bare(header)));
        let (given, place) = match found {
            None => (None, 0..0),
            Some((key, value)) => match value.get_ref() {
                DeValue::Table(table) => (Some(table), key.span()),
                other => {
                    let message =
                        format!("`{}`: found {}, where a table {header} belongs", bare(header), show_found(other));
                    self.report.refuse(&value.span(), message);
                    (None, 0..0)
                }
            },
        };
        Section::new(self.report, header, why, given, place).read(read)
    }

    /// Tables within this one, any number of them; `None` when something else stands there.
    pub(super) fn tables<T>(
        &mut self,
        header: &'static str,
        why: &'static str,
        mut read: impl FnMut(&mut Section<'_, 'd>) -> T,
    ) -> Option<Vec<T>> {
        self.known.push(bare(header));
        let Some((key, found)) = self.given.and_then(|table| table.get_key_value(bare(header))) else {
            // Read once all the same, for the description.
            Section::new(self.report, header, why, None, 0..0).read(&mut read);
            return Some(Vec::new());
        };
        let mut values = Vec::new();
        let wrong = |report: &mut Report, found: &Spanned<DeValue<'_>>| {
            let message =
                format!("`{}`: found {}, where tables {header} belong", bare(header), show_found(found.get_ref()));
            report.refuse(&found.span(), message);
        };
        match found.get_ref() {
            DeValue::Array(array) => {
                for element in array.iter() {
                    match element.get_ref() {
                        DeValue::Table(table) => {
                            let section = Section::new(self.report, header, why, Some(table), element.span());
                            values.push(section.read(&mut read));
                        }
                        _ => wrong(self.report, element),
                    }
                }
            }
            DeValue::Table(table) => {
                // The commonest slip, [site] for [[site]]: what is in it is read too, so that all problems show at once.
                let message = format!("[{0}] is one table; write [[{0}]], since there can be several", bare(header));
                self.report.refuse(&key.span(), message);
                values.push(Section::new(self.report, header, why, Some(table), key.span()).read(&mut read));
            }
            _ => {
                wrong(self.report, found);
                return None;
            }
        }
        Some(values)
    }

    /// Reads the table and then looks for keys that nobody asked for.
    pub(super) fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let value = read(&mut self);
        for (key, _) in self.given.into_iter().flatten() {
            let name: &str = key.get_ref();
            if !self.known.contains(&name) {
                self.report.unknown.push(UnknownKey {
                    offset: key.span().start,
                    table: self.table,
                    key: name.to_owned(),
                });
            }
        }
        value
    }
}

/// A setting that was looked for, to be completed by one of the methods that return its value.
#[must_use = "a setting is described only once it is said what holds when it is absent"]
pub(super) struct Setting<'s, 'r, 'd, K: Kind> {
    section: &'s mut Section<'r, 'd>,
    key: &'static str,
    name: String,
    kind: K,
    /// `None` when absent, `Some(None)` when refused.
    value: Option<Option<K::Value>>,
    example: Option<&'static str>,
    in_use: bool,
    why: &'static str,
}

impl<K: Kind> Setting<'_, '_, '_, K> {
    /// What it is for, and why the default is what it is.
    pub(super) fn why(mut self, why: &'static str) -> Self {
        self.why = why;
        self
    }

    /// What the commented example shows, in TOML, when the default would say nothing.
    pub(super) fn example(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }

    /// As [`Self::example`], and the example uses it.
    pub(super) fn example_in_use(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self.in_use = true;
        self
    }

    /// The value, or `default`.
    pub(super) fn default(mut self, default: K::Value) -> K::Value {
        let shown = self.kind.show(&default);
        self.describe(Absent::Value(shown.clone()), shown);
        self.value.take().flatten().unwrap_or(default)
    }

    /// The value, or `default`, which depends on something and is described by `words`.
    pub(super) fn default_in_words(mut self, default: K::Value, words: &'static str) -> K::Value {
        self.describe(Absent::Words(words), self.kind.show(&default));
        self.value.take().flatten().unwrap_or(default)
    }

    /// The value if it is given; `words` say what holds when it is not.
    pub(super) fn optional(mut self, words: &'static str) -> Option<Option<K::Value>> {
        self.describe(Absent::Words(words), String::new());
        self.value.take()
    }

    /// The value, whose absence is a problem; then `instead` counts, so that reading can go on.
    pub(super) fn required(mut self, instead: K::Value) -> K::Value {
        if self.value.is_none() {
            let example = self.example.unwrap_or_default();
            let message = format!("{} is missing; write, for example, {} = {example}", self.name, self.key);
            self.section.lacks(message);
        }
        self.describe(Absent::Refused, String::new());
        self.value.take().flatten().unwrap_or(instead)
    }

    fn describe(&mut self, absent: Absent, example: String) {
        let Some(table) = self.section.report.tables.get_mut(self.section.table) else { return };
        if table.settings.iter().any(|setting| setting.key == self.key) {
            return;
        }
        table.settings.push(SettingDescription {
            key: self.key,
            kind: self.kind.name(),
            range: self.kind.range(),
            choices: self.kind.choices(),
            absent,
            example: self.example.map_or(example, str::to_owned),
            in_use: self.in_use,
            why: self.why,
        });
    }
}

/// `limits` of `[limits]`, `test` of `[[limit.test]]`.
fn bare(header: &'static str) -> &'static str {
    let name = header.trim_matches(['[', ']']);
    name.rsplit_once('.').map_or(name, |(_, name)| name)
}

/// Where the character of this number begins in a string as TOML writes it, with its quotes.
fn offset_in_string(written: &str, number: usize) -> usize {
    let quotes = if written.starts_with("\"\"\"") || written.starts_with("'''") { 3 } else { 1 };
    let is_literal = written.starts_with('\'');
    let mut rest = written.get(quotes..).unwrap_or_default();
    if quotes == 3 {
        rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
    }
    // A backslash at the end of a line says nothing, nor does the white space after it.
    let go_on = |rest: &'_ str| match rest.strip_prefix('\\').map(|after| (after, after.trim_start())) {
        Some((after, trimmed)) if !is_literal && after.len() > trimmed.len() => rest.len() - trimmed.len(),
        _ => 0,
    };
    for _ in 0..number {
        rest = rest.get(go_on(rest)..).unwrap_or_default();
        let mut characters = rest.chars();
        let length = match (characters.next(), characters.next()) {
            (Some('\\'), Some(escape)) if !is_literal => match escape {
                'u' => 6,
                'U' => 10,
                'x' => 4,
                _ => 2,
            },
            (Some(character), _) => character.len_utf8(),
            (None, _) => break,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    rest = rest.get(go_on(rest)..).unwrap_or_default();
    written.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_strings_are_found_where_they_are_written() {
        for (written, number, expected) in [
            ("\"abc\"", 0, 1),
            ("\"abc\"", 2, 3),
            ("'a\\b'", 2, 3),
            ("\"a\\\"b\"", 2, 4),
            ("\"\\u00fcb\"", 1, 7),
            ("\"üb\"", 1, 3),
            ("'''\nab'''", 1, 5),
            ("\"\"\"a \\\n  b\"\"\"", 2, 9),
            ("\"a\"", 9, 3),
            ("", 3, 0),
        ] {
            assert_eq!(offset_in_string(written, number), expected, "{written} {number}");
        }
    }
}
