//! One request as a source saw it. The proxy in line and a followed log make the same type; everything after is the
//! same code.

pub mod attribute;
mod header_order;
pub mod log;
pub(crate) mod path_template;
mod progress;
mod request;
pub(crate) mod static_file;
pub mod timeline;

use std::time::Duration;

use crate::address::ClientAddress;
use crate::decision::RuleId;
use crate::units::Timestamp;

pub use header_order::HeaderOrder;
pub use progress::{Progress, Spent};
pub use request::{Request, Version};
pub use static_file::is_static;

/// One request, when it came or when it was done. Everything is borrowed: making one allocates nothing.
///
/// A source that sees a request end long after it began (a proxied stream) reports it twice: on arrival with
/// `cost.requests == 1` and [`Outcome::Arrived`], and at its end with `cost.requests == 0`, the outcome and the rest of
/// the cost. In between it may tell parts of the cost, with [`Outcome::UnderWay`] ([`Progress`] says when). Sums over
/// observations are then right at any moment. A log line is one observation with everything.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// When the request arrived, or ended.
    pub at: Timestamp,
    /// Who sent it; `None` when the source does not know, as with logs that hold no addresses.
    pub client: Option<ClientAddress>,
    /// What was asked.
    pub request: Request<'a>,
    /// What became of it.
    pub outcome: Outcome,
    /// What it cost.
    pub cost: Cost,
    /// How many observations this one stands for: 1 unless the source had to sample.
    pub weight: f32,
    /// What the source's client table knew of this client at the time.
    pub history: ClientHistory,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has been let through and is not done.
    Arrived,
    /// It goes on, and has cost something meanwhile.
    UnderWay,
    /// The site answered, with this status.
    Served {
        /// The HTTP status, 100 to 599.
        status: u16,
    },
    /// Seawall answered in place of the site.
    Refused(Refusal),
    /// The site did not answer as it should: closed, silent past the bound, or not HTTP.
    Failed {
        /// The status that the client got instead: 502, 503 or 504.
        status: u16,
    },
}

/// What the log of a server has of a request whose client left before the answer, and so the guard's own.
pub const CLIENT_GONE: u16 = 499;

impl Outcome {
    /// Whether the site failed: it did not answer, or answered with an error of its own, which helps nobody more.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Served { status: 500.. })
    }
}

/// Why Seawall answered in place of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A rule matched.
    Rule(RuleId),
    /// The Host is not one of the sites' (421).
    Misdirected,
    /// The head was not acceptable HTTP (400, 431).
    Malformed,
    /// The head did not come to an end in time (408).
    Unfinished,
    /// This client has reached a limit of its own.
    ClientLimit,
    /// The guard has reached a limit that all share.
    Overload,
}

/// What a request cost. Each is a series of its own for detection, since the trouble may be in any one of them: a flood
/// of hits, a few slow pages, or a handful of large files.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// 1 when this observation counts the request, 0 when an earlier one did.
    pub requests: u32,
    /// Bytes of answer sent to the client.
    pub bytes: u64,
    /// Time that the site worked on it.
    pub upstream_time: Duration,
    /// Time that it held a connection.
    pub connection_time: Duration,
    /// What earlier observations have told of the same request.
    pub before: Spent,
}

/// What the source's client table knew when the request came. All zero for a client never seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientHistory {
    /// Requests from this client in about the last minute, this one included.
    pub requests_recent: u32,
    /// Time since the client was first seen, as far as the table remembers.
    pub age: Duration,
    /// Requests that were served to this client, ever, as far as the table remembers.
    pub served: u32,
    /// Whether its name is so good that no rule is to refuse it.
    pub is_of_good_name: bool,
}
