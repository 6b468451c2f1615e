//! Access logs: one line of a web server's log becomes an [`Observation`].
//!
//! Owns which formats are known, how a log's format is recognised from its first lines, and how a line of each is read.
//! A [`Reader`] reads the lines of one log, since what one line says (the columns of those that follow) may decide how others
//! are read. Reading borrows from the line and allocates nothing for each. It never guesses: what cannot be read is refused
//! with a [`Reason`], for the caller to count and show. Beside that, and also for lines that cannot be read: where [`addresses`] and
//! [`Queries`] stand, and when a line was written ([`Reader::moment`]). Files, compression and line splitting are not known here.
//!
//! To add a format: a file beside `combined.rs`, its variants in [`Format`], its entry in `FAMILIES`.

mod addresses;
mod aws;
mod combined;
mod cursor;
mod envelope;
mod envoy;
mod fields;
mod format;
mod further;
mod haproxy;
mod json;
mod layout;
mod moment;
mod numbers;
mod proxy_manager;
mod queries;
mod reader;
mod reason;
mod recognise;
mod request_line;
mod restore;
mod split;
mod squid;
mod template;
pub(crate) mod time;
mod w3c;

use std::time::Duration;

use super::{ClientHistory, Cost, Observation, Outcome, Request, Spent};
use crate::address::ClientAddress;
use crate::units::Timestamp;
use fields::Unit;
use layout::Layout;

pub use addresses::{Addresses, CONTEXT_BYTES, FoundAddress, addresses};
pub use format::{Fields, Format};
pub use queries::{FoundQuery, Queries};
pub use reader::{FormatChoice, FormatChoiceError, Reader};
pub use reason::Reason;
pub use recognise::{RECOGNITION_LINES_MAX, Recognition, recognise};
pub use restore::restore;
pub use split::unfinished_line;
pub use template::{Template, TemplateError};
pub use w3c::names_columns;

/// The longest line that is read, in bytes. Web servers bound a request's head to 8 KiB or 16 KiB, and escaping can make
/// four bytes of one; whatever is longer is damage, or an attack on the reader.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// A line that was read.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What the line says.
    pub observation: Observation<'a>,
    /// The line, where it was put together from what a container runtime split.
    pub joined: Option<&'a [u8]>,
    /// The addresses by which the client came, as it or proxies wrote them (`X-Forwarded-For`).
    pub forwarded_for: Option<&'a [u8]>,
    /// Whether the client is the other end of the connection as the server saw it: nobody that a header named, and nobody who
    /// was connected to another machine.
    pub is_peer: bool,
    /// Whether the line says how long the request took; else the times of its cost are zero.
    pub is_timed: bool,
    /// Whether something that is no time stands where its format has how long the request took.
    pub is_duration_unreadable: bool,
    /// Whether the line ends with a number that may be how long the request took: nothing says what it is.
    pub has_unknown_number: bool,
    /// What the line has no place for.
    pub unrecorded: Unrecorded,
    /// The format that the line is in.
    pub format: Format,
    /// How the request's texts were written down. Unless it is [`Encoding::Plain`], [`restore`] gives the request as the gate
    /// would have seen it.
    pub encoding: Encoding,
}

/// What a line has no place for, where its format may or may not have one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unrecorded {
    /// The status of the answer.
    pub status: bool,
    /// How many bytes it had.
    pub bytes: bool,
    /// The version of HTTP.
    pub version: bool,
    /// The virtual host.
    pub host: bool,
    /// The `User-Agent` header.
    pub user_agent: bool,
    /// The `Referer` header.
    pub referer: bool,
}

impl Unrecorded {
    /// As long as none of it was found in a line that has all that its log has room for.
    const ALL: Self = Self { host: true, user_agent: true, referer: true, ..Self::UNLESS_LEFT_OUT };
    /// The same of a line in which what a client did not send may be left out.
    const UNLESS_LEFT_OUT: Self =
        Self { status: true, bytes: true, version: true, host: false, user_agent: false, referer: false };
}

impl Entry<'_> {
    /// Which attributes the line has a place for.
    pub const fn fields(&self) -> Fields {
        let Fields { host, user_agent, referer, status, bytes } = self.format.fields();
        let unrecorded = &self.unrecorded;
        Fields {
            host: host && !unrecorded.host,
            user_agent: user_agent && !unrecorded.user_agent,
            referer: referer && !unrecorded.referer,
            status: status && !unrecorded.status,
            bytes: bytes && !unrecorded.bytes,
        }
    }
}

/// How a log wrote down the texts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Byte for byte, and the host in lower case.
    Plain,
    /// With a backslash before what has another meaning: `\x22` (nginx), `\"` and the letters of C (Apache).
    Backslash,
    /// As JSON has it.
    Json,
    /// With `#22` and the like for what could end a field (HAProxy).
    Hash,
    /// With `+` for each space in headers (IIS).
    PlusHeaders,
    /// With `%20` and the like in headers (CloudFront).
    PercentHeaders,
    /// The same within JSON.
    JsonPercentHeaders,
}

/// What a line says, before it is an observation.
#[derive(Clone, Copy, Debug)]
struct Parts<'a> {
    at: Option<Timestamp>,
    client: Option<ClientAddress>,
    forwarded_for: Option<&'a [u8]>,
    is_peer: bool,
    request: Request<'a>,
    outcome: Outcome,
    bytes: u64,
    request_time: Option<Duration>,
    upstream_time: Option<Duration>,
    is_duration_unreadable: bool,
    has_unknown_number: bool,
    unrecorded: Unrecorded,
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Self {
            at: None,
            client: None,
            forwarded_for: None,
            is_peer: true,
            request: Request::default(),
            outcome: Outcome::Arrived,
            bytes: 0,
            request_time: None,
            upstream_time: None,
            is_duration_unreadable: false,
            has_unknown_number: false,
            unrecorded: Unrecorded::default(),
        }
    }
}

impl<'a> Parts<'a> {
    fn take_request_time(&mut self, field: &[u8], unit: Unit) {
        let time = fields::duration_if_any(field, unit);
        self.request_time = time.unwrap_or_default();
        self.is_duration_unreadable |= time.is_err();
    }

    fn take_upstream_time(&mut self, field: &[u8], unit: Unit) {
        let time = fields::duration_if_any(field, unit);
        self.upstream_time = time.unwrap_or_default();
        self.is_duration_unreadable |= time.is_err();
    }

    fn into_entry(self, format: Format, encoding: Encoding) -> Result<Entry<'a>, Reason> {
        let is_timed = self.request_time.is_some();
        let request_time = self.request_time.unwrap_or_default();
        let observation = Observation {
            at: self.at.ok_or(Reason::NoTimestamp)?,
            client: self.client,
            request: self.request,
            outcome: self.outcome,
            cost: Cost {
                requests: 1,
                bytes: self.bytes,
                // Where a log tells only how long it all took, that is the best there is.
                upstream_time: self.upstream_time.unwrap_or(request_time),
                connection_time: request_time,
                before: Spent::default(),
            },
            weight: 1.0,
            history: ClientHistory::default(),
        };
        let is_other_case = self.request.host.iter().any(|byte| byte.is_ascii_uppercase() || *byte == b'\\');
        let encoding = match encoding {
            Encoding::Plain if is_other_case => Encoding::Backslash,
            Encoding::PlusHeaders | Encoding::PercentHeaders if !w3c::has_headers(&self.request) => Encoding::Plain,
            other => other,
        };
        let Self { forwarded_for, is_peer, is_duration_unreadable, has_unknown_number, unrecorded, .. } = self;
        let joined = None;
        Ok(Entry {
            observation,
            joined,
            forwarded_for,
            is_peer,
            is_timed,
            is_duration_unreadable,
            has_unknown_number,
            unrecorded,
            format,
            encoding,
        })
    }
}

/// Formats that one function reads, because they are told apart only while reading.
struct Family {
    formats: &'static [Format],
    read: for<'a> fn(&'a [u8], &mut Layout) -> Result<Entry<'a>, Reason>,
}

/// Every format that a line of it is enough for, in the order in which they are tried on a line of an unknown one.
const FAMILIES: &[Family] = &[
    Family { formats: combined::FORMATS, read: combined::read },
    Family { formats: json::FORMATS, read: |line, _| json::read(line) },
    Family { formats: w3c::OBJECT_FORMATS, read: |line, _| w3c::read_object(line) },
    Family { formats: haproxy::FORMATS, read: |line, _| haproxy::read(line) },
    Family { formats: proxy_manager::FORMATS, read: |line, _| proxy_manager::read(line) },
    Family { formats: envoy::FORMATS, read: |line, _| envoy::read(line) },
    Family { formats: aws::LOAD_BALANCER_FORMATS, read: |line, _| aws::read_load_balancer(line) },
    Family { formats: aws::S3_FORMATS, read: |line, _| aws::read_s3(line) },
    Family { formats: squid::FORMATS, read: |line, _| squid::read(line) },
];

/// Reads one line in the family of the `expected` format first, then in the others, since logs are joined and servers
/// reconfigured. `layout` is what is known of the log. When no format fits, the reason is that of the one that came furthest.
fn read_by_itself<'a>(line: &'a [u8], expected: Option<Format>, layout: &mut Layout) -> Result<Entry<'a>, Reason> {
    let is_expected = |family: &&Family| expected.is_some_and(|format| family.formats.contains(&format));
    let expected_first = FAMILIES.iter().filter(is_expected);
    let others = FAMILIES.iter().filter(|family| !is_expected(family));
    let mut furthest = Reason::Empty;
    for family in expected_first.chain(others) {
        // An entry is large: it is passed on as it came, and not taken apart.
        let result = (family.read)(line, layout);
        match &result {
            Ok(_) => return result,
            Err(reason) => furthest = furthest.max(*reason),
        }
    }
    Err(furthest)
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
