//! Where the clients of a surge are: countries, autonomous systems, and kinds of networks, one vote for each client.

use std::collections::HashMap;
use std::hash::Hash;

use seawall_engine::address::ClientAddress;
use serde::Serialize;

use crate::networks::Networks;
use crate::show::text::escape;

/// How many of each are named.
const NAMED_MAX: usize = 5;

/// Fewer than one in so many are not worth a name.
const SHARE_MIN: usize = 100;

/// A part of the clients.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    /// A country's code, a system's name, or a kind of network.
    pub(super) name: String,
    /// The number of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) asn: Option<u32>,
    /// The share of the clients, 0 to 1.
    pub(super) share: f64,
}

/// Where clients are.
#[derive(Debug, Default, Serialize)]
pub(super) struct Origins {
    /// How many clients these shares are of.
    pub(super) sampled_clients: usize,
    pub(super) countries: Vec<Part>,
    pub(super) systems: Vec<Part>,
    pub(super) kinds: Vec<Part>,
}

impl Origins {
    pub(super) fn of(clients: &[ClientAddress], networks: &Networks) -> Self {
        if clients.is_empty() {
            return Self::default();
        }
        let found: Vec<_> = clients.iter().map(|client| networks.lookup(*client)).collect();
        let system = |asn: u32| {
            let name = networks.asn_name(asn).map_or_else(|| format!("AS{asn}"), |name| escape(name.as_bytes()));
            (name, Some(asn))
        };
        let count = clients.len();
        Self {
            sampled_clients: count,
            countries: parts(found.iter().filter_map(|network| network.country), count, |country| {
                (country.to_string(), None)
            }),
            systems: parts(found.iter().filter_map(|network| network.asn), count, system),
            kinds: parts(found.iter().filter_map(|network| network.asn).map(|asn| networks.kind(asn)), count, |kind| {
                (kind.to_string(), None)
            }),
        }
    }
}

fn parts<T: Copy + Eq + Hash + Ord>(
    values: impl Iterator<Item = T>,
    all: usize,
    name: impl Fn(T) -> (String, Option<u32>),
) -> Vec<Part> {
    let mut counts: HashMap<T, usize> = HashMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let mut counts: Vec<(T, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(value, count)| (usize::MAX - count, *value));
    counts.retain(|(_, count)| count * SHARE_MIN >= all);
    counts.truncate(NAMED_MAX);
    let part = |(value, count): (T, usize)| {
        let (name, asn) = name(value);
        Part { name, asn, share: count as f64 / all as f64 }
    };
    counts.into_iter().map(part).collect()
}
