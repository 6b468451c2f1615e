//! Format strings, as the configurations of nginx and Apache and of GoAccess write them, for logs that are like no other.
//!
//! ```text
//! $remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent $request_time
//! %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D
//! %h %^[%d:%t %^] "%r" %s %b "%R" "%u"
//! ```

mod calendar;
mod compile;

use thiserror::Error;

use super::fields::{self, Unit};
use super::{Encoding, Entry, Format, Parts, Reason, request_line, time};
use crate::observation::{Request, Version};
use crate::units::Timestamp;
use calendar::{Calendar, Part};

/// Pieces of one format string.
const PIECES_MAX: usize = 128;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    /// The client's address, with a port or without.
    Client,
    /// The same, as a header names it.
    NamedClient,
    ForwardedFor,
    /// A moment in any of the ways that it can be told from the text itself.
    Moment,
    /// `17/May/2015` or `2015-05-17`.
    Date,
    /// `10:05:03`
    Clock,
    /// A part of a time.
    Calendar(Part),
    RequestLine,
    Method,
    /// Path and query.
    Target,
    Path,
    Query,
    Version,
    Host,
    Status,
    Bytes,
    UserAgent,
    Referer,
    RequestTime(Unit),
    UpstreamTime(Unit),
    /// Whatever it is, it is passed over.
    Other,
}

impl Field {
    /// In bytes, where it is the same in every line.
    const fn length(self) -> Option<usize> {
        match self {
            Self::Calendar(part) => Some(part.length()),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Field(Field),
}

/// A compiled format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// Why a format string cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// Nothing in it is a field.
    #[error(
        "the format names no field; write it as in the configuration of nginx ($remote_addr …), Apache (%h …) or GoAccess"
    )]
    NoField,
    /// Without a time nothing can be said.
    #[error(
        "the format has no time: $time_local, $time_iso8601 or $msec of nginx, %t of Apache, %d and %t or %x of GoAccess"
    )]
    NoTime,
    /// Nothing says what was asked.
    #[error("the format has no request: $request or $request_uri of nginx, %r or %U of Apache, %r or %U of GoAccess")]
    NoRequest,
    /// Where one ends and the next begins could not be told.
    #[error("column {column}: two fields follow each other with nothing between them")]
    NothingBetween {
        /// Where the second begins, from 1.
        column: usize,
    },
    /// A directive that is not complete.
    #[error("column {column}: the directive that begins here does not end")]
    Unfinished {
        /// Where it begins, from 1.
        column: usize,
    },
    /// A time that is written in a way in which it cannot be read.
    #[error(
        "column {column}: of the time that begins here not all can be read; there are %a %b %c %d %D %e %F %H %m %M %R %s %S %T %y %Y %z, or \
         sec, msec, usec, msec_frac, usec_frac"
    )]
    UnknownTime {
        /// Where it begins, from 1.
        column: usize,
    },
    /// It has more parts than any log.
    #[error("the format has more than {PIECES_MAX} parts")]
    TooLong,
}

impl Template {
    /// Compiles a format string. Whose it is is told by what stands in it: `$name` is nginx's, `%^`, `%d` and `%x` are
    /// GoAccess's, other directives with `%` are Apache's.
    ///
    /// # Errors
    /// When it cannot be used, with the column.
    pub fn parse(format: &str) -> Result<Self, TemplateError> {
        compile::compile(format)
    }

    /// Reads a line.
    pub(super) fn read<'a>(&self, line: &'a [u8]) -> Result<Entry<'a>, Reason> {
        let mut values = Values::default();
        let mut rest = line;
        let mut pieces = self.pieces.iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Text(text) => rest = rest.strip_prefix(text.as_slice()).ok_or(Reason::TooFewFields)?,
                Piece::Field(field) => {
                    let stamp = || common_length(rest).filter(|_| *field == Field::Moment);
                    let end = match (field.length().or_else(stamp), pieces.peek()) {
                        (Some(length), _) => length,
                        (None, Some(Piece::Text(text))) => find_end(rest, text).ok_or(Reason::TooFewFields)?,
                        (None, _) => rest.len(),
                    };
                    let (value, after) = rest.split_at_checked(end).ok_or(Reason::TooFewFields)?;
                    values.take(*field, value)?;
                    rest = after;
                }
            }
        }
        values.finish()
    }
}

/// The length of a time stamp of the common log format, which holds a space, with its brackets if it has them.
fn common_length(rest: &[u8]) -> Option<usize> {
    let (brackets, text) = rest.strip_prefix(b"[").map_or((0, rest), |text| (2, text));
    time::is_common_shape(text.first_chunk()?).then_some(time::COMMON_BYTES + brackets)
}

/// Where `text` comes next. A quote with a backslash before it ends nothing.
fn find_end(rest: &[u8], text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memmem::find(rest.get(from..)?, text)?;
        let backslashes = rest[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        if text.first() != Some(&b'"') || backslashes.is_multiple_of(2) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[derive(Default)]
struct Values<'a> {
    parts: Parts<'a>,
    date: Option<&'a [u8]>,
    clock: Option<&'a [u8]>,
    calendar: Option<Calendar>,
    /// Whether the target is known as the client sent it: a path or a query by itself may be what the server made of it.
    has_target: bool,
    is_escaped: bool,
}

impl<'a> Values<'a> {
    fn take(&mut self, field: Field, text: &'a [u8]) -> Result<(), Reason> {
        let request = &mut self.parts.request;
        self.is_escaped |= memchr::memchr(b'\\', text).is_some();
        match field {
            Field::Client => self.parts.client = fields::address_with_port(text),
            Field::NamedClient => {
                self.parts.client = fields::address_with_port(text);
                self.parts.is_peer = false;
            }
            Field::ForwardedFor => self.parts.forwarded_for = fields::present(text),
            Field::Moment => self.parts.at = Some(moment(text).ok_or(Reason::WrongTimestamp)?),
            Field::Date => self.date = Some(text),
            Field::Clock => self.clock = Some(text),
            Field::Calendar(part) => {
                self.calendar.get_or_insert_default().take(part, text).ok_or(Reason::WrongTimestamp)?;
            }
            Field::RequestLine => {
                let (host, user_agent, referer) = (request.host, request.user_agent, request.referer);
                let named = request_line::read(text);
                let host = if named.host.is_empty() { host } else { named.host };
                self.has_target |= !named.path.is_empty();
                *request = Request { host, user_agent, referer, ..named };
            }
            Field::Method => request.method = text,
            Field::Target => {
                self.has_target = true;
                (request.path, request.query) = Request::split_target(text);
            }
            Field::Path | Field::Query if self.has_target => {}
            Field::Path => request.path = text,
            // Apache writes the question mark too.
            Field::Query => request.query = fields::present(text.strip_prefix(b"?").unwrap_or(text)),
            Field::Version => request.version = Version::parse(text).unwrap_or_default(),
            Field::Host => request.host = fields::present(text).map(request_line::without_port).unwrap_or_default(),
            Field::Status => self.parts.outcome = fields::status(text)?,
            Field::Bytes => self.parts.bytes = fields::size(text)?,
            Field::UserAgent => request.user_agent = fields::present(text),
            Field::Referer => request.referer = fields::present(text),
            Field::RequestTime(unit) => self.parts.request_time = fields::duration(text, unit),
            Field::UpstreamTime(unit) => self.parts.upstream_time = fields::duration(text, unit),
            Field::Other => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Entry<'a>, Reason> {
        if let (Some(date), Some(clock)) = (self.date, self.clock) {
            self.parts.at = Some(date_and_clock(date, clock).ok_or(Reason::WrongTimestamp)?);
        }
        // Where there is a whole moment as well, the parts are those of another.
        if let (None, Some(calendar)) = (self.parts.at, self.calendar) {
            self.parts.at = Some(calendar.moment().ok_or(Reason::WrongTimestamp)?);
        }
        let encoding = if self.is_escaped { Encoding::Backslash } else { Encoding::Plain };
        self.parts.into_entry(Format::Custom, encoding)
    }
}

fn moment(text: &[u8]) -> Option<Timestamp> {
    let text = text.strip_prefix(b"[").unwrap_or(text);
    let text = text.strip_suffix(b"]").unwrap_or(text);
    let common = || text.try_into().ok().and_then(time::common);
    common().or_else(|| time::iso(text)).or_else(|| time::epoch(text)).or_else(|| time::zoneless(text))
}

fn date_and_clock(date: &[u8], clock: &[u8]) -> Option<Timestamp> {
    if memchr::memchr(b'/', date).is_none() {
        return time::date_and_time(date, clock);
    }
    let mut text = *b"00/Jan/0000:00:00:00";
    text.get_mut(..date.len())?.copy_from_slice(date);
    text.get_mut(12..12 + clock.len())?.copy_from_slice(clock);
    time::zoneless(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Outcome;

    fn read<T>(format: &str, line: &str, with: impl FnOnce(&Entry<'_>) -> T) -> Result<T, Reason> {
        let template = Template::parse(format).unwrap_or_else(|error| panic!("{format}: {error}"));
        template.read(line.as_bytes()).map(|entry| with(&entry))
    }

    #[test]
    fn each_of_the_three_languages_is_understood() {
        let line = r#"192.0.2.1 - bob [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 512 "-" "A\"/1.0""#;
        for format in [
            r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#,
            r#"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\""#,
            r#"%h %^ %^ [%d:%t %^] "%r" %s %b "%R" "%u""#,
        ] {
            let read = read(format, line, |entry| {
                let observation = &entry.observation;
                let client = observation.client.map(|client| client.ip().to_string());
                assert_eq!(client.as_deref(), Some("192.0.2.1"), "{format}");
                assert_eq!(observation.at.as_seconds(), 1_431_857_103, "{format}");
                assert_eq!(observation.request.path, b"/a", "{format}");
                assert_eq!(observation.request.query, Some(&b"b"[..]), "{format}");
                assert_eq!(observation.request.user_agent, Some(&br#"A\"/1.0"#[..]), "{format}");
                assert_eq!((observation.request.referer, observation.cost.bytes), (None, 512), "{format}");
                assert_eq!(observation.outcome, Outcome::Served { status: 200 }, "{format}");
                assert_eq!(entry.encoding, Encoding::Backslash, "{format}");
            });
            assert_eq!(read, Ok(()), "{format}");
        }
    }

    #[test]
    fn times_are_in_the_units_of_their_makers() {
        for (format, line, micros) in [
            ("$msec $request_method $request_uri $request_time", "1431857103.250 GET /a 0.005", 5_000),
            ("%{%Y-%m-%dT%H:%M:%S%z}t %m %U%q %D", "2015-05-17T10:05:03+0000 GET /a?b 5000", 5_000),
            ("%t %m %U %T", "[17/May/2015:10:05:03 +0000] GET /a 2", 2_000_000),
            ("%t %m %U %{ms}T", "[17/May/2015:10:05:03 +0000] GET /a 2", 2_000),
            ("[%{%d/%b/%Y:%H:%M:%S}t.%{msec_frac}t] %m %U %D", "[17/May/2015:10:05:03.250] GET /a 5000", 5_000),
            // The example of mod_log_config.
            ("[%{%d/%b/%Y %T}t.%{msec_frac}t %{%z}t] %m %U %D", "[17/May/2015 12:05:03.250 +0200] GET /a 5000", 5_000),
            ("%{%F}t %{%T}t.%{usec_frac}t%{%z}t %m %U %D", "2015-05-17 10:05:03.250000+0000 GET /a 5000", 5_000),
            ("%{begin:%c}t %m %U %D", "Sun May 17 10:05:03 2015 GET /a 5000", 5_000),
            ("%{%y%m%d%H%M%S}t %m %U %D", "150517100503 GET /a 5000", 5_000),
            ("%{sec}t %m %U %D", "1431857103 GET /a 5000", 5_000),
            ("%{msec}t %m %U %D", "1431857103250 GET /a 5000", 5_000),
            ("%{usec}t %m %U %D", "1431857103250000 GET /a 5000", 5_000),
            ("%{%s}t.%{msec_frac}t %m %U %D", "1431857103.250 GET /a 5000", 5_000),
            (r"%t\t%m\t%U\t%D", "[17/May/2015:10:05:03 +0000]\tGET\t/a\t5000", 5_000),
            (r#"%t %m "%U" \\ %D\n"#, r#"[17/May/2015:10:05:03 +0000] GET "/a" \ 5000"#, 5_000),
            ("%x %m %U %L", "2015-05-17T10:05:03Z GET /a 7", 7_000),
        ] {
            let read = read(format, line, |entry| {
                assert_eq!(entry.observation.at.as_seconds(), 1_431_857_103, "{format}");
                entry.observation.cost.connection_time.as_micros()
            });
            assert_eq!(read, Ok(micros), "{format}");
        }
    }

    #[test]
    fn what_the_client_sent_goes_before_what_the_server_made_of_it() {
        let request = r#""GET /wp-login.php?a HTTP/1.1""#;
        for (format, line) in [
            (r#""$request" $uri $args $msec"#, format!("{request} /index.php q=1 1431857103.250")),
            (r#"$uri $args "$request" $msec"#, format!("/index.php q=1 {request} 1431857103.250")),
            ("$request_uri $uri $msec", "/wp-login.php?a /index.php 1431857103.250".to_owned()),
            (r#"%U%q "%r" %{sec}t"#, format!("/index.php?q=1 {request} 1431857103")),
        ] {
            let path = read(format, &line, |entry| {
                let request = entry.observation.request;
                assert_eq!(request.query, Some(&b"a"[..]), "{format}");
                request.path.to_vec()
            });
            assert_eq!(path.as_deref(), Ok(&b"/wp-login.php"[..]), "{format}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_where() {
        for (format, error) in [
            ("", TemplateError::NoField),
            ("just words", TemplateError::NoField),
            ("$remote_addr $request", TemplateError::NoTime),
            ("$remote_addr [$time_local]", TemplateError::NoRequest),
            ("$time_local$request", TemplateError::NothingBetween { column: 12 }),
            ("%t %r %{Referer", TemplateError::Unfinished { column: 7 }),
            ("%r %{%I:%M %p}t", TemplateError::UnknownTime { column: 4 }),
            ("%r %{%d/%b/%Y}t", TemplateError::NoTime),
            ("%r %{msec_frac}t", TemplateError::NoTime),
            (r"%r\t%{%Z}t", TemplateError::UnknownTime { column: 5 }),
            ("%t %r %", TemplateError::Unfinished { column: 7 }),
        ] {
            assert_eq!(Template::parse(format), Err(error), "{format}");
        }
        assert_eq!(Template::parse(&"$status ".repeat(100)), Err(TemplateError::TooLong));
    }

    #[test]
    fn other_lines_are_refused() {
        let format = r#"[$time_local] "$request" $status"#;
        for line in ["", "[17/May/2015:10:05:03 +0000] \"GET /", "[yesterday] \"GET / HTTP/1.1\" 200", "x"] {
            assert!(read(format, line, |_| ()).is_err(), "{line}");
        }
    }
}
