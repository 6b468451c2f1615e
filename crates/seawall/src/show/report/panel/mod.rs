//! The tables of a report, one file each.
//!
//! To add one: a file with its `PANEL`, and its entry in [`PANELS`].

mod client;
mod host;
mod hour;
mod path;
mod status;
mod user_agent;

use seawall_engine::observation::Observation;
use seawall_engine::observation::log::Fields;

use crate::show::log::Clients;

/// Every panel, in the order shown.
pub(super) const PANELS: [&Panel; 6] =
    [&hour::PANEL, &host::PANEL, &path::PANEL, &status::PANEL, &user_agent::PANEL, &client::PANEL];

/// A table of a report: requests counted by one thing that they have.
pub(super) struct Panel {
    /// The name in JSON.
    pub(super) name: &'static str,
    /// What people read above it.
    pub(super) title: &'static str,
    /// What the requests are called that have no value.
    pub(super) absent: &'static str,
    /// How its rows are ordered.
    pub(super) order: Order,
    /// Whether a format records the value at all.
    pub(super) is_recorded: fn(Fields) -> bool,
    /// The value of a request, borrowed from it or written into the scratch space. Values of numbers are written with
    /// their highest byte first, so that their order as bytes is their order as numbers.
    pub(super) value: for<'a> fn(&Observation<'a>, &'a mut Scratch) -> Option<&'a [u8]>,
    /// What programs read for a value; safe for a terminal all the same.
    pub(super) text: fn(&[u8], &Clients) -> String,
    /// What people read for it, where that is something else.
    pub(super) label: Option<fn(&[u8]) -> String>,
}

/// Room for a value that has to be written down to be counted.
pub(super) type Scratch = [u8; 16];

/// How the rows of a panel are ordered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Most hits first.
    Hits,
    /// The busiest are chosen, and shown in order of time, under a line that shows the whole span.
    Time,
}

/// The longest value that is counted as it is; longer ones are cut here, as the guard's rules cut them.
const VALUE_BYTES_MAX: usize = seawall_engine::observation::attribute::VALUE_BYTES_MAX;

fn cut(value: &[u8]) -> &[u8] {
    value.get(..VALUE_BYTES_MAX).unwrap_or(value)
}

/// A value that is text, as programs read it.
fn text(value: &[u8], _: &Clients) -> String {
    crate::show::text::escape(value)
}
