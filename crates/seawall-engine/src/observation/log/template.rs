//! Format strings, as the configurations of nginx and Apache and of GoAccess write them, for logs that are like no other.
//!
//! ```text
//! $remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent $request_time
//! %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D
//! %h %^[%d:%t %^] "%r" %s %b "%R" "%u"
//! {"ts":"%x","request":{"remote_ip":"%h","uri":"%U"},"status":"%s"}
//! ```

mod calendar;
mod compile;
mod listed;
mod object;

use std::time::Duration;

use thiserror::Error;

use super::fields::{self, Unit};
use super::{Encoding, Entry, Format, Parts, Reason, Unrecorded, json, request_line, time};
use crate::address::ClientAddress;
use crate::observation::{Request, Version};
use crate::units::Timestamp;
use calendar::{Calendar, Part};
use object::Node;

/// Pieces of one format string.
const PIECES_MAX: usize = 128;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    /// The client's address as the server knows it, with a port or without: the peer's unless the server believes a header.
    Client,
    /// Whoever is connected, whatever a header says.
    Peer,
    /// The client's address as a header names it.
    NamedClient,
    ForwardedFor,
    /// A moment in any of the ways that it can be told from the text itself.
    Moment,
    /// `17/May/2015` or `2015-05-17`.
    Date,
    /// `10:05:03`
    Clock,
    /// What stands behind the latter: its zone if it looks like one, `+0200`.
    ClockZone,
    /// A part of a time.
    Calendar(Part),
    RequestLine,
    Method,
    /// Path and query.
    Target,
    Path,
    /// The question mark, where there is a query.
    QuestionMark,
    Query,
    /// The path, and the query if there is one: what the server made of the target, maybe.
    PathAndQuery,
    Version,
    /// The host that was asked for.
    Host,
    /// What the server calls the site that answered.
    ServerName,
    Port,
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

    /// Whether it begins with a slash, so that it can follow what holds none.
    const fn begins_with_slash(self) -> bool {
        matches!(self, Self::Target | Self::Path | Self::PathAndQuery)
    }

    const fn holds_no_slash(self) -> bool {
        matches!(self, Self::Host | Self::ServerName | Self::Port)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Field(Field),
    /// White space, as much as there is.
    Spaces,
    /// Addresses that a client came by, with any of these characters around them and between them.
    Addresses(Vec<u8>),
}

/// A compiled format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    form: Form,
    /// Whether clients are connected to another machine, whose log it is.
    is_remote: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Line(Vec<Piece>),
    /// The line is JSON.
    Object(Node),
}

/// Google Cloud Storage, as GoAccess has it (`CLOUDSTORAGE`), with the host.
const CLOUD_STORAGE: &str = r#""%x","%h",%^,%^,"%m","%U","%s",%^,"%b","%D","%v","%R","%u""#;

/// Why a format string cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// It is a line of a configuration.
    #[error(
        "\"{name}\" begins a whole directive of a configuration: give only the format in it, without names and quotes around it"
    )]
    WholeDirective {
        /// What the directive is called.
        name: &'static str,
    },
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
    /// A directive that GoAccess does not have.
    #[error(
        "column {column}: GoAccess has no such directive; there are %x %d %t (time), %h ~h{{, }} (client), %r %m %U %q %H (request), %v, %s, %b, \
         %R, %u, %D %T %L %n (durations), %e %C %M %K %k %^ (passed over) and %~ (spaces)"
    )]
    UnknownDirective {
        /// Where it begins, from 1.
        column: usize,
    },
    /// It begins as JSON does, and is none.
    #[error(
        "the format begins with a brace and is no JSON object; write one whose texts are formats of the values at their places: \
         {{\"ts\":\"%x\",\"request\":{{\"remote_ip\":\"%h\",\"uri\":\"%U\"}},\"status\":\"%s\"}}"
    )]
    NotJson,
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

    /// The format of Google Cloud Storage's access logs.
    pub(super) fn cloud_storage() -> Result<Self, TemplateError> {
        Ok(Self { is_remote: true, ..Self::parse(CLOUD_STORAGE)? })
    }

    /// Reads a line.
    pub(super) fn read<'a>(&self, line: &'a [u8]) -> Result<Entry<'a>, Reason> {
        let mut values = Values::default();
        values.parts.unrecorded = Unrecorded::ALL;
        match &self.form {
            Form::Line(pieces) => values.take_pieces(pieces, line)?,
            Form::Object(node) => {
                values.is_json = true;
                node.read_line(line.trim_ascii(), &mut values)?;
            }
        }
        let mut entry = values.finish()?;
        entry.is_peer &= !self.is_remote;
        Ok(entry)
    }
}

/// The length of a time stamp of the common log format, which holds a space, with its brackets if it has them.
fn common_length(rest: &[u8]) -> Option<usize> {
    let (brackets, text) = rest.strip_prefix(b"[").map_or((0, rest), |text| (2, text));
    time::is_common_shape(text.first_chunk()?).then_some(time::COMMON_BYTES + brackets)
}

/// Where a target begins that follows a host at once. Without one, as in requests that are no HTTP, the host ends with its field.
fn slash(rest: &[u8]) -> usize {
    let is_end = |byte: &u8| matches!(byte, b'/' | b'*' | b'"') || byte.is_ascii_whitespace();
    rest.iter().position(is_end).unwrap_or(rest.len())
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
    /// By how much it is ahead of UTC.
    clock_zone_seconds: i64,
    calendar: Option<Calendar>,
    clients: Clients<'a>,
    /// As the target, the request's header and the server name it: the first that does is right (RFC 9112, section 3.2.2).
    hosts: [&'a [u8]; 3],
    /// Whether the target is known as the client sent it: a path or a query by itself may be what the server made of it.
    has_target: bool,
    is_escaped: bool,
    is_json: bool,
}

/// Who asked, as each field that says so has it: none where there is no such field, and no address where it holds none.
#[derive(Default)]
struct Clients<'a> {
    known: Option<Option<ClientAddress>>,
    peer: Option<Option<ClientAddress>>,
    /// By a header that anybody may send.
    named: Option<&'a [u8]>,
    /// By the last entry of a list.
    listed: Option<Option<ClientAddress>>,
}

impl<'a> Clients<'a> {
    /// Says who the client is, whether it is the other end of the connection, and who came by it if it is a proxy.
    fn settle(&self, parts: &mut Parts<'a>) {
        let Some(client) = self.known.or(self.peer) else {
            let listed = || self.listed.unwrap_or_else(|| parts.forwarded_for.and_then(fields::last_forwarded));
            parts.client = self.named.and_then(fields::address_with_port).or_else(listed);
            parts.is_peer = self.named.is_none() && parts.client.is_none();
            return;
        };
        (parts.client, parts.is_peer) = (client, self.peer.is_none_or(|peer| client == peer));
        parts.forwarded_for = parts.forwarded_for.or(self.named.and_then(fields::present));
    }
}

impl<'a> Values<'a> {
    /// Takes what a text says, piece by piece.
    fn take_pieces(&mut self, pieces: &[Piece], text: &'a [u8]) -> Result<(), Reason> {
        let mut rest = text;
        for (index, piece) in pieces.iter().enumerate() {
            let next = &pieces[index + 1..];
            match piece {
                Piece::Text(text) => rest = rest.strip_prefix(text.as_slice()).ok_or(Reason::TooFewFields)?,
                Piece::Spaces => rest = rest.trim_ascii_start(),
                Piece::Addresses(around) => {
                    let (found, after) = listed::read(rest, around, next).ok_or(Reason::TooFewFields)?;
                    self.is_escaped |= found.list.is_some_and(|list| memchr::memchr(b'\\', list).is_some());
                    self.parts.forwarded_for = found.list;
                    self.clients.listed = Some(found.last);
                    rest = after;
                }
                Piece::Field(field) => {
                    let stamp = || common_length(rest).filter(|_| *field == Field::Moment);
                    let end = match (field.length().or_else(stamp), next.first()) {
                        (Some(length), _) => length,
                        (None, Some(Piece::Text(text))) => find_end(rest, text).ok_or(Reason::TooFewFields)?,
                        (None, Some(Piece::Field(_))) => slash(rest),
                        (None, Some(Piece::Spaces | Piece::Addresses(_))) => {
                            rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len())
                        }
                        (None, None) => rest.len(),
                    };
                    let (value, after) = rest.split_at_checked(end).ok_or(Reason::TooFewFields)?;
                    self.take(*field, value)?;
                    rest = after;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, field: Field, text: &'a [u8]) -> Result<(), Reason> {
        let request = &mut self.parts.request;
        self.is_escaped |= memchr::memchr(b'\\', text).is_some();
        match field {
            // Of several the first that is an address: `%h` may be a name, `%a` is none.
            Field::Client => {
                let known = &mut self.clients.known;
                *known = Some(known.flatten().or_else(|| fields::address_with_port(text)));
            }
            Field::Peer => self.clients.peer = Some(fields::address_with_port(text)),
            Field::NamedClient => self.clients.named = Some(text),
            Field::ForwardedFor => self.parts.forwarded_for = fields::present(text),
            Field::Moment => self.parts.at = Some(moment(text).ok_or(Reason::WrongTimestamp)?),
            Field::Date => self.date = Some(text),
            Field::Clock => self.clock = Some(text),
            Field::ClockZone => self.clock_zone_seconds = time::zone(text).unwrap_or(0),
            Field::Calendar(part) => {
                self.calendar.get_or_insert_default().take(part, text).ok_or(Reason::WrongTimestamp)?;
            }
            Field::RequestLine => {
                let (user_agent, referer) = (request.user_agent, request.referer);
                let named = request_line::read(text);
                self.hosts[0] = named.host;
                self.has_target |= !named.path.is_empty();
                self.parts.unrecorded.version = false;
                *request = Request { user_agent, referer, ..named };
            }
            Field::Method => request.method = text,
            Field::Target => {
                self.has_target = true;
                (request.path, request.query) = Request::split_target(text);
            }
            Field::Path | Field::Query | Field::PathAndQuery if self.has_target => {}
            Field::Path => request.path = text,
            Field::PathAndQuery => (request.path, request.query) = Request::split_target(text),
            // Apache writes the question mark too.
            Field::Query => request.query = fields::present(text.strip_prefix(b"?").unwrap_or(text)),
            Field::Version => {
                self.parts.unrecorded.version = false;
                request.version = Version::parse(text).unwrap_or_default();
            }
            Field::Host | Field::ServerName => {
                self.parts.unrecorded.host = false;
                let host = &mut self.hosts[if field == Field::Host { 1 } else { 2 }];
                *host = fields::present(text).map_or(*host, request_line::without_port);
            }
            Field::Status => {
                self.parts.unrecorded.status = false;
                self.parts.outcome = fields::status(text)?;
            }
            Field::Bytes => {
                self.parts.unrecorded.bytes = false;
                self.parts.bytes = fields::size(text)?;
            }
            Field::UserAgent => {
                self.parts.unrecorded.user_agent = false;
                request.user_agent = fields::present(text);
            }
            Field::Referer => {
                self.parts.unrecorded.referer = false;
                request.referer = fields::present(text);
            }
            Field::RequestTime(unit) => self.parts.take_request_time(text, unit),
            Field::UpstreamTime(unit) => self.parts.take_upstream_time(text, unit),
            Field::QuestionMark | Field::Port | Field::Other => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Entry<'a>, Reason> {
        if let (Some(date), Some(clock)) = (self.date, self.clock) {
            let at = date_and_clock(date, clock).and_then(|shown| in_utc(shown, self.clock_zone_seconds));
            self.parts.at = Some(at.ok_or(Reason::WrongTimestamp)?);
        }
        // Where there is a whole moment as well, the parts are those of another.
        if let (None, Some(calendar)) = (self.parts.at, self.calendar) {
            self.parts.at = Some(calendar.moment().ok_or(Reason::WrongTimestamp)?);
        }
        self.clients.settle(&mut self.parts);
        self.parts.request.host = self.hosts.into_iter().find(|host| !host.is_empty()).unwrap_or_default();
        let encoding = match (self.is_escaped, self.is_json) {
            (false, _) => Encoding::Plain,
            (true, false) => Encoding::Backslash,
            (true, true) => Encoding::Json,
        };
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

/// The moment at which a clock shows this that is so many seconds ahead of UTC; none before 1970.
fn in_utc(shown: Timestamp, ahead_seconds: i64) -> Option<Timestamp> {
    let offset = Duration::from_secs(ahead_seconds.unsigned_abs());
    match ahead_seconds {
        ..0 => Some(shown + offset),
        _ if shown.since(Timestamp::EPOCH) < offset => None,
        _ => Some(shown - offset),
    }
}

#[cfg(test)]
mod tests;
