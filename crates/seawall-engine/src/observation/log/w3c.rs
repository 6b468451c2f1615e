//! W3C extended logs, as IIS and CloudFront write them: a directive names the columns of the lines that follow, and may come
//! again with others.
//!
//! ```text
//! #Fields: date time c-ip cs-method cs-uri-stem cs-uri-query sc-status sc-bytes time-taken cs(User-Agent)
//! 2024-05-01 12:00:01 192.0.2.1 GET /a - 200 512 15 Mozilla/5.0+(X11)
//! ```

use super::fields::{self, Unit};
use super::{Encoding, Entry, Format, Parts, Reason, Unrecorded, json, request_line, time};
use crate::observation::Request;

/// Columns in one log.
const COLUMNS_MAX: usize = 64;

/// The format that [`read_object`] reads.
pub(super) const OBJECT_FORMATS: &[Format] = &[Format::W3c];

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Date,
    Time,
    Client,
    ForwardedFor,
    Method,
    Path,
    /// Path and query in one.
    Target,
    Query,
    Host,
    Version,
    Status,
    Bytes,
    TimeTaken,
    UserAgent,
    Referer,
    Other,
}

/// A line that says something of the lines which follow it.
#[derive(Clone, Debug)]
pub(super) enum Directive {
    /// Their columns, whether they are enough or not: what was named before holds no longer.
    Columns(Columns),
    /// The day of those that name none, as `2024-05-01`.
    Date([u8; 10]),
    /// Nothing that is needed to read them.
    Other,
}

/// What directives are called besides `#Fields:`.
const OTHER_DIRECTIVES: [&[u8]; 7] =
    [b"Software", b"Version", b"Date", b"Remark", b"Start-Date", b"End-Date", b"GMT-Offset"];

/// The directive that a line is. A log that begins its lines with something of the client's, as a host, has lines that look like
/// the beginning of one; but what the server adds is no name, and holds a quote.
pub(super) fn directive(line: &[u8]) -> Option<Directive> {
    let text = line.strip_prefix(b"#")?;
    let (name, rest) = text.split_at_checked(memchr::memchr(b':', text)?)?;
    if name == b"Fields" {
        let words = rest[1..].split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let is_directive = words.clone().all(is_name);
        return is_directive.then(|| Directive::Columns(Columns::new(words)));
    }
    if name == b"Date"
        && let Some(date) = rest[1..].trim_ascii_start().first_chunk()
        && time::date_and_time(date, b"00:00:00").is_some()
    {
        return Some(Directive::Date(*date));
    }
    let is_directive = OTHER_DIRECTIVES.contains(&name) && memchr::memchr(b'"', rest).is_none();
    is_directive.then_some(Directive::Other)
}

/// Whether a line names the columns of those that follow it.
pub fn names_columns(line: &[u8]) -> bool {
    matches!(directive(line), Some(Directive::Columns(_)))
}

/// Whether a word is the name of a column: `cs(User-Agent)`, `time-taken`.
fn is_name(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_alphabetic)
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'(' | b')' | b'.'))
}

/// The columns of the lines that follow a directive.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    /// Why lines of these columns cannot be read.
    missing: Option<Reason>,
    /// CloudFront parts them by tabs, writes headers as URLs are written, and times in seconds.
    is_cloudfront: bool,
}

impl Columns {
    fn new<'n>(names: impl Iterator<Item = &'n [u8]> + Clone) -> Self {
        let columns: Vec<Column> = names.clone().take(COLUMNS_MAX).map(column).collect();
        let is_cloudfront = names.into_iter().any(|name| name == b"x-edge-location");
        let missing = if !columns.contains(&Column::Time) {
            Some(Reason::NoTimeColumn)
        } else if !columns.contains(&Column::Path) && !columns.contains(&Column::Target) {
            Some(Reason::NoTargetColumn)
        } else {
            None
        };
        Self { columns, missing, is_cloudfront }
    }

    /// The query of a line, also of one that cannot be read.
    pub(super) fn query<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let column = self.columns.iter().position(|column| *column == Column::Query)?;
        self.words(line).nth(column).map(|word| without_quotes(word).0).and_then(fields::present)
    }

    /// The columns of a line, with their quotes where they have some. IIS writes quotes as they came, and a client could join columns
    /// with them: so they hold columns together only in a line that would have too many otherwise.
    fn words<'a>(&self, line: &'a [u8]) -> Words<'a> {
        // What stands first is the server's own in practice, and no client has a tab or a space written into it.
        let first = memchr::memchr2(b' ', b'\t', line).and_then(|at| line.get(at)).filter(|_| !self.is_cloudfront);
        let plain = Words { rest: Some(line), separator: *first.unwrap_or(&b'\t'), is_quoted: false };
        let quoted = Words { is_quoted: true, ..plain };
        let is_quoted = memchr::memchr(b'"', line).is_some()
            && plain.count() > self.columns.len()
            && quoted.count() == self.columns.len();
        if is_quoted { quoted } else { plain }
    }

    /// Reads a line; `date` is the day of those that name none.
    pub(super) fn read<'a>(&self, line: &'a [u8], date: Option<[u8; 10]>) -> Result<Entry<'a>, Reason> {
        if let Some(missing) = self.missing {
            return Err(missing);
        }
        let mut values = Values::new(self.is_cloudfront);
        let words = self.words(line);
        // Who parts columns otherwise, or quotes them, can write spaces as they are.
        let mut encoding = match (self.is_cloudfront, words.separator) {
            (true, _) => Encoding::PercentHeaders,
            (false, b'\t') => Encoding::Plain,
            (false, _) => Encoding::PlusHeaders,
        };
        let mut count = 0;
        for (column, word) in self.columns.iter().zip(words) {
            count += 1;
            let (word, was_quoted) = without_quotes(word);
            if was_quoted && matches!(column, Column::UserAgent | Column::Referer) {
                encoding = Encoding::Plain;
            }
            values.take(*column, word)?;
        }
        if count < self.columns.len() {
            return Err(Reason::TooFewFields);
        }
        values.finish(date, encoding)
    }
}

/// Reads a line of CloudFront's that is a JSON object, whose members are called as columns are (standard logging, version 2).
pub(super) fn read_object(line: &[u8]) -> Result<Entry<'_>, Reason> {
    let mut values = Values::new(true);
    let mut result = Ok(());
    let mut is_ours = false;
    json::members(line.trim_ascii(), |key, value| {
        let Some(text) = value.scalar() else { return };
        is_ours |= matches!(key, b"c-ip" | b"cs-uri-stem" | b"x-edge-location");
        if matches!(key, b"timestamp" | b"timestamp(ms)") {
            values.parts.at = values.parts.at.or_else(|| time::epoch(text));
        } else if result.is_ok() {
            result = values.take(column(key), text);
        }
    })
    .filter(|_| is_ours)
    .ok_or(Reason::NoTimestamp)?;
    result?;
    if values.parts.at.is_none() && (values.date.is_none() || values.clock.is_none()) {
        return Err(Reason::NoTimestamp);
    }
    let has_escapes = json::has_escapes(&values.parts.request);
    values.finish(None, if has_escapes { Encoding::JsonPercentHeaders } else { Encoding::PercentHeaders })
}

/// What the columns of a line say.
struct Values<'a> {
    parts: Parts<'a>,
    date: Option<&'a [u8]>,
    clock: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
    is_cloudfront: bool,
}

impl<'a> Values<'a> {
    fn new(is_cloudfront: bool) -> Self {
        let parts = Parts { is_peer: !is_cloudfront, unrecorded: Unrecorded::ALL, ..Parts::default() };
        Self { parts, date: None, clock: None, status: None, is_cloudfront }
    }

    fn take(&mut self, column: Column, word: &'a [u8]) -> Result<(), Reason> {
        let Self { parts, date, clock, status, is_cloudfront } = self;
        let request = &mut parts.request;
        match column {
            Column::Date => *date = Some(word),
            Column::Time => *clock = Some(word),
            Column::Client => parts.client = fields::address(word),
            Column::ForwardedFor => parts.forwarded_for = fields::present(word),
            Column::Method => request.method = word,
            Column::Path => request.path = word,
            Column::Target => {
                let (host, target) = match word {
                    [b'/', ..] => (&word[..0], word),
                    _ => request_line::split_authority(request.method, word),
                };
                let (path, query) = Request::split_target(target);
                (request.path, request.query) = (if path.is_empty() { b"/" } else { path }, query);
                if !host.is_empty() {
                    request.host = host;
                }
            }
            Column::Query => request.query = fields::present(word),
            Column::Host => {
                parts.unrecorded.host = false;
                request.host = request_line::without_port(fields::present(word).unwrap_or_default());
            }
            // In JSON it may have a backslash before its slash.
            Column::Version => {
                parts.unrecorded.version = false;
                request.version = json::version(word).unwrap_or_default();
            }
            Column::Status => {
                parts.unrecorded.status = false;
                *status = Some(word);
            }
            Column::Bytes => {
                parts.unrecorded.bytes = false;
                parts.bytes = fields::size(word)?;
            }
            Column::TimeTaken => {
                let unit = if *is_cloudfront { Unit::Seconds } else { Unit::Milliseconds };
                parts.take_request_time(word, unit);
            }
            Column::UserAgent => {
                parts.unrecorded.user_agent = false;
                request.user_agent = fields::present(word);
            }
            Column::Referer => {
                parts.unrecorded.referer = false;
                request.referer = fields::present(word);
            }
            Column::Other => {}
        }
        Ok(())
    }

    /// `date` is the day of those that name none.
    fn finish(mut self, date: Option<[u8; 10]>, encoding: Encoding) -> Result<Entry<'a>, Reason> {
        if self.parts.at.is_none() {
            let date = self.date.or(date.as_ref().map(<[u8; 10]>::as_slice)).ok_or(Reason::NoDateColumn)?;
            let clock = self.clock.ok_or(Reason::NoTimeColumn)?;
            self.parts.at = Some(time::date_and_time(date, clock).ok_or(Reason::WrongTimestamp)?);
        }
        if self.parts.request.path.is_empty() {
            return Err(Reason::NoRequest);
        }
        if let Some(status) = self.status {
            self.parts.outcome = fields::status(status)?;
        }
        self.parts.into_entry(Format::W3c, encoding)
    }
}

/// Goes through the columns of a line.
#[derive(Clone, Copy)]
struct Words<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
    /// Whether a separator between quotes parts nothing.
    is_quoted: bool,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let quoted_end = if self.is_quoted { quoted_end(rest, self.separator) } else { None };
        let end = quoted_end.or_else(|| memchr::memchr(self.separator, rest)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        self.rest = after.get(1..);
        Some(word)
    }
}

/// Where the quoted text ends that `rest` begins with: with a quote before a separator that is not doubled, as it is within.
fn quoted_end(rest: &[u8], separator: u8) -> Option<usize> {
    let mut from = rest.starts_with(b"\"").then_some(1)?;
    loop {
        let quote = from + memchr::memchr(b'"', rest.get(from..)?)?;
        match rest.get(quote + 1) {
            Some(b'"') => from = quote + 2,
            Some(after) if *after != separator => from = quote + 1,
            _ => return Some(quote + 1),
        }
    }
}

/// What is between quotes, and whether there are any.
fn without_quotes(word: &[u8]) -> (&[u8], bool) {
    match word {
        [b'"', inside @ .., b'"'] => (inside, true),
        _ => (word, false),
    }
}

fn column(name: &[u8]) -> Column {
    let lower = name.to_ascii_lowercase();
    match lower.as_slice() {
        b"date" => Column::Date,
        b"time" => Column::Time,
        b"c-ip" => Column::Client,
        b"x-forwarded-for" | b"cs(x-forwarded-for)" => Column::ForwardedFor,
        b"cs-method" => Column::Method,
        b"cs-uri-stem" => Column::Path,
        b"cs-uri" => Column::Target,
        b"cs-uri-query" => Column::Query,
        // CloudFront's own `cs(Host)` names the distribution, not what visitors ask for.
        b"x-host-header" | b"cs-host" => Column::Host,
        b"cs-version" | b"cs-protocol-version" => Column::Version,
        b"sc-status" => Column::Status,
        b"sc-bytes" => Column::Bytes,
        b"time-taken" => Column::TimeTaken,
        b"cs(user-agent)" => Column::UserAgent,
        b"cs(referer)" | b"cs(referrer)" => Column::Referer,
        _ => Column::Other,
    }
}

/// The part of a request that the log's makers spoil by replacing spaces, restored with the rest.
pub(super) fn has_headers(request: &Request<'_>) -> bool {
    request.user_agent.is_some() || request.referer.is_some()
}
