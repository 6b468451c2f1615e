//! The clients that took most bytes, and how they come: how often, in which bursts, with what success, from where.

use std::collections::HashMap;
use std::ops::ControlFlow;

use seawall_engine::decision::expression::Answer;
use seawall_engine::network::NetworkKind;

use super::{Cell, Column, ViewTable, Viewer, name, number, text};
use crate::show::log::inputs::Inputs;
use crate::show::log::read::{LogRequest, Visitor};
use crate::show::log::summary::share;
use crate::show::report::Options;
use crate::show::report::traffic::OutcomeClass;
use crate::show::text::{byte_count, escape, grouped, percent};

/// The most clients that are kept: about 40 MiB. When there are more, those with the fewest bytes are forgotten.
const CLIENTS_MAX: usize = 1 << 18;

const COLUMNS: [Column; 15] = [
    name("client", "client"),
    number("hits", "hits"),
    number("hits_share", ""),
    number("bytes", "bytes"),
    number("bytes_share", "share"),
    number("mean_interval_seconds", "every"),
    number("burst_hits_per_minute", "burst"),
    number("answered", "2xx"),
    number("redirected", "3xx"),
    number("client_error", "4xx"),
    number("server_error", "5xx"),
    number("unanswered", ""),
    text("country", ""),
    text("asn", ""),
    text("network", "network"),
];

/// What each client did.
#[derive(Default)]
pub(super) struct Leech {
    clients: HashMap<u128, Activity>,
    /// What a client that was forgotten had at most.
    forgotten_bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Activity {
    hits: u64,
    bytes: u64,
    first: u64,
    last: u64,
    /// The minute of its last request, and how many it sent in it,
    minute: u64,
    minute_hits: u32,
    /// and the most of any minute.
    burst: u32,
    outcomes: [u64; OutcomeClass::ALL.len()],
    country: Option<[u8; 2]>,
    asn: Option<u32>,
}

impl Visitor for Leech {
    fn visit(&mut self, request: &LogRequest<'_>) -> ControlFlow<()> {
        let observation = request.observation;
        let Some(client) = observation.client else { return ControlFlow::Continue(()) };
        if self.clients.len() >= CLIENTS_MAX {
            self.forget();
        }
        let second = observation.at.as_seconds();
        let activity = self.clients.entry(client.client_key()).or_insert_with(|| Activity {
            first: second,
            country: observation.request.country,
            asn: observation.request.asn,
            ..Activity::default()
        });
        activity.hits += 1;
        activity.bytes = activity.bytes.saturating_add(observation.cost.bytes);
        activity.first = activity.first.min(second);
        activity.last = activity.last.max(second);
        let minute = second / 60;
        activity.minute_hits = if activity.minute == minute { activity.minute_hits.saturating_add(1) } else { 1 };
        activity.minute = minute;
        activity.burst = activity.burst.max(activity.minute_hits);
        let class = OutcomeClass::of(Answer::new(observation.outcome, 0).status) as usize;
        if let Some(hits) = activity.outcomes.get_mut(class) {
            *hits += 1;
        }
        ControlFlow::Continue(())
    }
}

impl Leech {
    /// Forgets the half with the fewest bytes.
    #[cold]
    fn forget(&mut self) {
        let mut bytes: Vec<u64> = self.clients.values().map(|activity| activity.bytes).collect();
        let middle = bytes.len() / 2;
        let (_, median, _) = bytes.select_nth_unstable(middle);
        let median = *median;
        self.clients.retain(|_, activity| activity.bytes > median);
        self.forgotten_bytes = self.forgotten_bytes.saturating_add(median);
    }
}

impl Viewer for Leech {
    fn table(self: Box<Self>, inputs: &Inputs, options: &Options<'_>, top: usize) -> ViewTable {
        let mut clients: Vec<(u128, Activity)> = self.clients.into_iter().collect();
        clients
            .sort_unstable_by_key(|(client, activity)| (std::cmp::Reverse((activity.bytes, activity.hits)), *client));
        clients.truncate(top);
        let total = inputs.total;
        let row = |(client, activity): (u128, Activity)| {
            let Activity { hits, bytes, .. } = activity;
            let seconds = activity.last - activity.first;
            let interval = hits.checked_sub(1).filter(|gaps| *gaps > 0).map(|gaps| seconds as f64 / gaps as f64);
            let network = activity.asn.map(|asn| {
                let name = options.networks.asn_name(asn).map_or_else(String::new, |name| escape(name.as_bytes()));
                match options.networks.kind(asn) {
                    NetworkKind::Unknown => format!("AS{asn} {name}"),
                    kind => format!("AS{asn} {name}, {kind}"),
                }
            });
            let country = activity.country.map(|country| escape(&country));
            let label = match (&network, &country) {
                (Some(network), Some(country)) => format!("{country} {network}"),
                (None, Some(only)) | (Some(only), None) => only.clone(),
                (None, None) => "-".to_owned(),
            };
            let mut cells = vec![
                Cell::text(options.clients.label(client)),
                Cell::new(hits, grouped(hits)),
                Cell::new(share(hits, total.hits), String::new()),
                Cell::new(bytes, byte_count(bytes)),
                Cell::new(share(bytes, total.bytes), percent(bytes, total.bytes)),
                interval.map_or_else(Cell::none, |interval| {
                    Cell::new((interval * 1000.0).round() / 1000.0, interval_text(interval))
                }),
                Cell::new(activity.burst, format!("{}/min", grouped(u64::from(activity.burst)))),
            ];
            cells.extend(activity.outcomes.map(|hits| Cell::new(hits, grouped(hits))));
            cells.push(country.map_or_else(Cell::none, Cell::text));
            cells.push(activity.asn.map_or_else(Cell::none, |asn| Cell::new(asn, String::new())));
            cells.push(network.map_or_else(Cell::none, |network| Cell::new(network, label)));
            cells
        };
        let mut notes = Vec::new();
        if self.forgotten_bytes > 0 {
            notes.push(format!(
                "There are more clients than the {} that are kept: what a row counts may be too little, by at most {}.",
                grouped(CLIENTS_MAX as u64),
                byte_count(self.forgotten_bytes)
            ));
        }
        ViewTable { columns: COLUMNS.to_vec(), rows: clients.into_iter().map(row).collect(), notes }
    }
}

/// A time between two hits, in the largest unit of which there are two: one line with a wrong year makes it centuries.
fn interval_text(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.1} s"),
        ..7_200.0 => format!("{:.1} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        ..63_072_000.0 => format!("{:.1} d", seconds / 86_400.0),
        _ => format!("{:.0} y", seconds / 31_536_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_short_however_long_they_are() {
        for (seconds, text) in [
            (1.25, "1.2 s"),
            (600.0, "10.0 min"),
            (36_000.0, "10.0 h"),
            (864_000.0, "10.0 d"),
            (23_325_842.3 * 3_600.0, "2663 y"),
        ] {
            assert_eq!(interval_text(seconds), text);
        }
    }
}
