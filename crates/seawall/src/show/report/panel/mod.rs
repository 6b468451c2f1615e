//! The panels of a report, one file each.
//!
//! To add one: a file with its `PANEL`, and its entry in [`PANELS`].

mod agent_family;
mod answer_size;
mod client;
mod country;
mod host;
mod hour;
mod largest_path;
mod method;
mod network;
mod not_found;
mod path;
mod referer;
mod response_time;
mod slowest_path;
mod static_file;
mod status;
mod surge;
mod traffic;
mod user_agent;

pub(super) use response_time::NAME as RESPONSE_TIMES;

use super::located::Located;
use crate::agents::Agents;
use crate::networks::Networks;
use crate::show::log::Clients;
use crate::show::log::read::LogRequest;
use crate::show::log::table::{Row, ShortValue};

/// Every panel, in the order shown.
pub(super) const PANELS: [&Panel; 19] = [
    &traffic::PANEL,
    &surge::PANEL,
    &hour::PANEL,
    &host::PANEL,
    &path::PANEL,
    &static_file::PANEL,
    &not_found::PANEL,
    &largest_path::PANEL,
    &slowest_path::PANEL,
    &response_time::PANEL,
    &answer_size::PANEL,
    &method::PANEL,
    &status::PANEL,
    &agent_family::PANEL,
    &user_agent::PANEL,
    &referer::PANEL,
    &country::PANEL,
    &network::PANEL,
    &client::PANEL,
];

/// A part of a report.
pub(super) struct Panel {
    /// The name in JSON and CSV, and for `--view`.
    pub(super) name: &'static str,
    /// What people read above it.
    pub(super) title: &'static str,
    /// What is counted, and how.
    pub(super) kind: Kind,
}

/// What a panel is made of.
pub(super) enum Kind {
    /// Requests over time, by outcome.
    Traffic,
    /// Times with much more than is usual.
    Surges,
    /// Requests by one thing that they have.
    Table(TablePanel),
    /// The rows of another table in another order.
    Derived(DerivedPanel),
    /// How an amount is spread over the requests.
    Distribution(DistributionPanel),
}

/// Requests counted by one thing that they have.
pub(super) struct TablePanel {
    /// What the requests are called that have no value.
    pub(super) absent: &'static str,
    /// How its rows are ordered.
    pub(super) order: Order,
    pub(super) value: ValueOf,
    pub(super) wording: Wording,
}

/// What tells the value of a request. Values of numbers are written with their highest byte first, so that their order as bytes is
/// their order as numbers.
pub(super) enum ValueOf {
    /// The request itself: the value is borrowed from it, or written into the scratch space.
    Request(for<'a> fn(&Seen<'a>, &'a mut Scratch) -> Value<'a>),
    /// Its client, which is looked up with many others; `None` where it has no value.
    Client(fn(&Located) -> Option<ShortValue>),
}

/// How the values of a table are written.
#[derive(Clone, Copy)]
pub(super) struct Wording {
    /// What programs read for a value; safe for a terminal all the same.
    pub(super) text: fn(&[u8], &Names<'_>) -> String,
    /// What people read for it, where that is something else.
    pub(super) label: Option<fn(&[u8], &Names<'_>) -> String>,
    /// What there is to say about it besides.
    pub(super) detail: Option<Detail>,
}

/// What there is to say about a value.
type Detail = fn(&[u8], &Names<'_>) -> Option<String>;

/// The rows of another table in another order.
pub(super) struct DerivedPanel {
    /// The name of the panel whose table it is.
    pub(super) of: &'static str,
    /// What the rows have most of that come first; rows without any are left out.
    pub(super) key: fn(&Row) -> u64,
    /// How many hits a row must have, for each so many of all: one slow request does not make a slow path.
    pub(super) hits_min_per: Option<u64>,
}

/// How an amount is spread over the requests.
pub(super) struct DistributionPanel {
    /// The amount, in whole units.
    pub(super) value: fn(&LogRequest<'_>) -> Option<u64>,
    /// The largest amount that is told from others.
    pub(super) most: u64,
    pub(super) unit: Unit,
}

/// What an amount is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Microseconds,
    Bytes,
}

/// A request, with what several panels ask for.
pub(super) struct Seen<'a> {
    pub(super) request: &'a LogRequest<'a>,
    /// The number of its agent's family; `None` without an agent.
    pub(super) family: Option<u16>,
    /// The status of the answer, if there was one.
    pub(super) status: Option<u16>,
}

/// What a panel makes of a request.
pub(super) enum Value<'a> {
    /// It has this value.
    Is(&'a [u8]),
    /// It has none.
    Absent,
    /// Its log has no room for one.
    NotRecorded,
    /// It is none of those that the panel is about.
    Outside,
}

/// What names are looked up in.
pub(super) struct Names<'a> {
    pub(super) clients: &'a Clients,
    pub(super) networks: &'a Networks,
    pub(super) agents: &'a Agents,
}

/// Room for a value that has to be written down to be counted.
pub(super) type Scratch = [u8; 16];

/// How the rows of a panel are ordered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Most hits first.
    Hits,
    /// The busiest are chosen, and shown in order of time.
    Time,
}

/// The longest value that is counted as it is; longer ones are cut here, as the guard's rules cut them.
const VALUE_BYTES_MAX: usize = seawall_engine::observation::attribute::VALUE_BYTES_MAX;

fn cut(value: &[u8]) -> &[u8] {
    value.get(..VALUE_BYTES_MAX).unwrap_or(value)
}

/// Values that are texts as they came.
const TEXTS: Wording = Wording { text: |value, _| crate::show::text::escape(value), label: None, detail: None };

impl<'a> Value<'a> {
    /// A value that may be missing.
    fn of(value: Option<&'a [u8]>) -> Self {
        value.map_or(Self::Absent, |value| Self::Is(cut(value)))
    }

    /// A number, written into the scratch space.
    fn number<const N: usize>(number: [u8; N], scratch: &'a mut Scratch) -> Self {
        match scratch.split_first_chunk_mut::<N>() {
            Some((value, _)) => {
                *value = number;
                Self::Is(value)
            }
            None => Self::Absent,
        }
    }
}

impl<'a> Seen<'a> {
    /// Its path, unless it is no HTTP: what stands in for the path is different each time then, a handshake or a key exchange.
    fn path(&self) -> Option<&'a [u8]> {
        let request = &self.request.observation.request;
        (!request.method.is_empty()).then_some(request.path)
    }
}
