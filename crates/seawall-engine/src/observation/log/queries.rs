//! Where the queries of a line stand: those of its target and its referer, wherever a format has them, and of whatever else is
//! a URL.
//!
//! A line that can be read says which text is its query. All others, and further URLs, are told by their looks: a word that
//! begins with a slash or a scheme and holds a question mark, up to its end.

use std::ops::Range;

use super::json::{self, Value};
use super::{Entry, Reader};

/// How far before a question mark the beginning of its word is looked for, in bytes. What goes on for longer is a URL.
const WORD_BYTES_MAX: usize = 2048;

/// A query in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundQuery {
    /// Where it stands, its question mark included.
    pub range: Range<usize>,
    /// Whether it is a field of its own, without a question mark.
    pub is_field: bool,
}

/// Finds the queries of lines, which may come in pieces.
#[derive(Debug, Default)]
pub struct Queries {
    reader: Reader,
    /// How the query ends with which the last piece did, when it goes on.
    open: Option<Opening>,
}

/// What stands before a word, which decides what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// A quote: the word may be the whole of a quoted field.
    Quote,
    /// What HAProxy puts around and between captured headers.
    Capture,
    /// Anything else.
    Other,
}

impl Queries {
    /// Finds the queries of a line, or of a piece of one, given with or without its line break. `found` is emptied first; what is
    /// found there is in order and apart.
    pub fn find(&mut self, text: &[u8], begins_line: bool, found: &mut Vec<FoundQuery>) {
        found.clear();
        if begins_line {
            self.open = None;
            let line = text.trim_ascii_end();
            match self.reader.read(line) {
                Ok(entry) => of_entry(line, &entry, found),
                Err(_) => {
                    let query = self.reader.query(line).and_then(|query| place(line, query));
                    found.extend(query.map(|range| FoundQuery { range, is_field: true }));
                }
            }
            of_members(line, found);
        }
        self.scan(text, found);
        found.sort_by_key(|query| query.range.start);
        found.dedup_by(|next, query| {
            let overlap = next.range.start < query.range.end;
            if overlap {
                query.range.end = query.range.end.max(next.range.end);
            }
            overlap
        });
    }

    /// Finds what looks like a query.
    fn scan(&mut self, text: &[u8], found: &mut Vec<FoundQuery>) {
        let mut from = 0;
        if let Some(opening) = self.open.take() {
            from = self.add(text, 0, opening, found);
        }
        while let Some(at) = text.get(from..).and_then(|rest| memchr::memchr(b'?', rest)) {
            let mark = from + at;
            let before = text.get(..mark).unwrap_or_default();
            from = match url_before(before) {
                Some(opening) => self.add(text, mark, opening, found),
                // Nor is what follows in the same word.
                None => {
                    mark + text
                        .get(mark..)
                        .and_then(|rest| rest.iter().position(is_opening))
                        .unwrap_or(text.len() - mark)
                }
            };
        }
    }

    /// Adds the query that begins at `start`, and says where it ends.
    fn add(&mut self, text: &[u8], start: usize, opening: Opening, found: &mut Vec<FoundQuery>) -> usize {
        let rest = text.get(start..).unwrap_or_default();
        let length = end(rest, opening);
        self.open = length.is_none().then_some(opening);
        let range = start..start + length.unwrap_or(rest.len());
        let end = range.end;
        if !range.is_empty() {
            found.push(FoundQuery { range, is_field: false });
        }
        end
    }
}

/// The queries that a line says it has.
fn of_entry(line: &[u8], entry: &Entry<'_>, found: &mut Vec<FoundQuery>) {
    let request = &entry.observation.request;
    if let Some(Range { start, end }) = request.query.and_then(|query| place(line, query)) {
        let has_mark = line.get(..start).is_some_and(|before| before.ends_with(b"?"));
        let range = if has_mark { start - 1..end } else { start..end };
        if !range.is_empty() {
            found.push(FoundQuery { range, is_field: !has_mark });
        }
    }
    if let Some(Range { start, end }) = request.referer.and_then(|referer| place(line, referer))
        && let Some(mark) = line.get(start..end).and_then(|referer| memchr::memchr(b'?', referer))
    {
        found.push(FoundQuery { range: start + mark..end, is_field: false });
    }
}

/// The members of a JSON object that are queries by their names: there may be others than the request was read from.
fn of_members(line: &[u8], found: &mut Vec<FoundQuery>) {
    if !line.starts_with(b"{") {
        return;
    }
    let mut take = |text| {
        if let Some(range) = place(line, text).filter(|range| !range.is_empty()) {
            found.push(FoundQuery { range, is_field: true });
        }
    };
    json::members(line, |key, value| match (key, value) {
        (b"args" | b"query_string" | b"query" | b"queryString" | b"url.query", Value::Text(text)) => take(text),
        (b"url", Value::Object(url)) => {
            json::members(url, |key, value| {
                if let (b"query", Value::Text(text)) = (key, value) {
                    take(text);
                }
            });
        }
        // As Node has it: each parameter by itself.
        (b"req", Value::Object(request)) => {
            json::members(request, |key, value| {
                if let (b"query", Value::Object(parameters)) = (key, value) {
                    take(parameters);
                }
            });
        }
        _ => {}
    });
}

/// Where `part` stands in `line`; none when it was unwrapped into a text of its own.
fn place(line: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(line.as_ptr().addr())?;
    let range = start..start + part.len();
    line.get(range.clone()).map(|_| range)
}

/// Whether a word can begin behind a byte.
fn is_opening(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'(' | b'<' | b'{' | b'|' | b',')
}

/// What stands before the word that a text ends with, if that is the beginning of a URL.
fn url_before(text: &[u8]) -> Option<Opening> {
    let from = text.len().saturating_sub(WORD_BYTES_MAX);
    let near = text.get(from..)?;
    let Some(before) = near.iter().rposition(is_opening) else {
        return (from > 0 || is_url(near)).then_some(Opening::Other);
    };
    if !is_url(near.get(before + 1..)?) {
        return None;
    }
    Some(match near.get(before)? {
        b'"' => Opening::Quote,
        b'{' | b'|' => Opening::Capture,
        _ => Opening::Other,
    })
}

/// Whether a word begins as a target or a URL does; JSON may have a backslash before each slash.
fn is_url(word: &[u8]) -> bool {
    let letters = word.iter().take(9).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let after_scheme = word.get(letters..).unwrap_or_default();
    word.starts_with(b"/")
        || word.starts_with(b"\\/")
        || letters > 0 && (after_scheme.starts_with(b"://") || after_scheme.starts_with(b":\\/\\/"))
}

/// The length of the query that a text begins with; none when it goes on.
fn end(text: &[u8], opening: Opening) -> Option<usize> {
    let mut from = 0;
    loop {
        let is_end = |byte: &u8| {
            byte.is_ascii_whitespace() || *byte == b'"' || opening == Opening::Capture && matches!(byte, b'|' | b'}')
        };
        let at = from + text.get(from..)?.iter().position(is_end)?;
        let (query, rest) = text.split_at_checked(at)?;
        match rest {
            [b'"', after @ ..] => match query {
                // An escaped quote is the query's own, unless it ends a field of a line within JSON.
                [.., b'\\'] if !matches!(after, [] | [b' ' | b',' | b'}' | b']' | b'\n' | b'\r', ..]) => from = at + 1,
                [.., b'\\'] => return Some(at - 1),
                _ => return Some(at),
            },
            [b' ', ..] => return Some(at + spaces_within(rest, opening)),
            _ => return Some(at),
        }
    }
}

/// How much of a text that begins with a space belongs to a query before it: targets with raw spaces in them go on to the
/// version, and a quoted field to its quote.
fn spaces_within(text: &[u8], opening: Opening) -> usize {
    let quote = memchr::memchr2(b'"', b'\n', text).filter(|at| text.get(*at) == Some(&b'"'));
    let Some(quote) = quote else { return 0 };
    let field = text.get(..quote).unwrap_or_default();
    match memchr::memmem::find(field, b" HTTP/") {
        Some(version) => version,
        None if opening == Opening::Quote => field.strip_suffix(b"\\").unwrap_or(field).len(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines with every query in braces, those that are fields in angle brackets.
    fn mark(lines: &[&str]) -> String {
        let (mut queries, mut found) = (Queries::default(), Vec::new());
        let mut marked = Vec::new();
        for line in lines {
            queries.find(line.as_bytes(), true, &mut found);
            marked = mark_found(line.as_bytes(), &found);
        }
        String::from_utf8_lossy(&marked).into_owned()
    }

    fn mark_found(line: &[u8], found: &[FoundQuery]) -> Vec<u8> {
        let (mut marked, mut rest) = (Vec::new(), 0);
        for FoundQuery { range, is_field } in found {
            marked.extend_from_slice(&line[rest..range.start]);
            marked.extend_from_slice(if *is_field { "«".as_bytes() } else { "‹".as_bytes() });
            marked.extend_from_slice(&line[range.clone()]);
            marked.extend_from_slice(if *is_field { "»".as_bytes() } else { "›".as_bytes() });
            rest = range.end;
        }
        marked.extend_from_slice(&line[rest..]);
        marked
    }

    #[track_caller]
    fn check(before: &[&str], expected: &str) {
        let line = expected.replace(['‹', '›', '«', '»'], "");
        assert_eq!(mark(&[before, &[&line]].concat()), expected);
    }

    #[test]
    fn targets_and_referers_of_every_kind_of_line() {
        for expected in [
            r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a‹?b=c?d› HTTP/1.1" 200 5 "https://a.example/‹?q=r›" "A/1 ?""#,
            r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a‹?b c d› HTTP/1.1" 200 5 "https://a.example/‹?q=r s›" "A/1""#,
            r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a‹?b=\" c› HTTP/1.1" 200 5 "-" "A/1 (+http://b.example/?c)""#,
            r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a‹?b›"#,
            r#"2024/05/01 12:00:01 [error] 7#7: *1 open() "/a" failed, request: "GET /a‹?b› HTTP/1.1", referrer: "http://a.example/‹?b›""#,
            r#"{"time":"2024-05-01T12:00:01Z","uri":"/a‹?b=\"c\"›","args":"«b=\"c\"»","http_referer":"https:\/\/a.example\/‹?q›"}"#,
            r#"{"log":"192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET /a‹?b› HTTP/1.1\" 200 5 \"https://a/‹?q›\" \"A/1\"\n","stream":"stdout","time":"2015-05-17T10:05:03Z"}"#,
            "1286536308.779    180 192.0.2.224 TCP_MISS/200 411 GET http://example.org/a‹?b› - DIRECT/198.51.100.7 text/html",
            r#"{"url":{"original":"/a‹?b=c›","path":"/a","query":"«b=c»"},"req":{"url":"/a‹?b›","query":«{"b":""}»},"queryString":"«d»"}"#,
            "what? /a‹?b› why?",
            "{https://a.example/‹?q›|Mozilla/5.0 (X11)} {/b‹?c›}",
            "",
        ] {
            check(&[], expected);
        }
        check(
            &["#Fields: date time c-ip cs-method cs-uri-stem cs-uri-query sc-status cs(Referer)"],
            "2024-05-01 12:00:01 192.0.2.1 GET /a «b=c» 200 https://a.example/‹?q›",
        );
        check(
            &["#Date: 2024-05-01 00:00:00", "#Fields: time c-ip cs-method cs-uri"],
            "12:00:01 192.0.2.1 GET /a‹?b=c›",
        );
        // Also of lines that cannot be read.
        check(&["#Fields: time cs-method cs-uri-query"], "12:00:01 GET «b=c»");
    }

    #[test]
    fn a_query_goes_on_in_the_next_piece() {
        let (mut queries, mut found) = (Queries::default(), Vec::new());
        let ranges =
            |found: &[FoundQuery]| found.iter().map(|query| (query.range.start, query.range.end)).collect::<Vec<_>>();
        queries.find(b"\"GET /a?b", true, &mut found);
        assert_eq!(ranges(&found), [(7, 9)]);
        queries.find(b"cde", false, &mut found);
        assert_eq!(ranges(&found), [(0, 3)]);
        queries.find(b"f HTTP/1.1\" 200 \"/x?y\"\n", false, &mut found);
        assert_eq!(ranges(&found), [(0, 1), (19, 21)]);
        queries.find(b"plain", false, &mut found);
        assert!(found.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_found_is_in_order_and_apart(text in "[a/? \"\\\\{|,:HTP1.-]{0,120}", begins in any::<bool>()) {
            let (mut queries, mut found) = (Queries::default(), Vec::new());
            for _ in 0..2 {
                queries.find(text.as_bytes(), begins, &mut found);
                let mut rest = 0;
                for FoundQuery { range, .. } in &found {
                    prop_assert!(range.start >= rest && range.start < range.end && range.end <= text.len());
                    rest = range.end;
                }
            }
        }
    }
}
