//! Where the clients of a surge are: countries, autonomous systems, and kinds of networks, each client with its part of
//! the excess.

use std::collections::HashMap;
use std::hash::Hash;

use seawall_engine::address::ClientAddress;
use serde::Serialize;

use crate::networks::Networks;
use crate::show::text::escape;

/// How many of each are named.
const NAMED_MAX: usize = 5;

/// Fewer than one in so many are not worth a name.
const SHARE_MIN: f64 = 100.0;

/// A part of the clients.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    /// A country's code, a system's name, or a kind of network.
    pub(super) name: String,
    /// The number of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) asn: Option<u32>,
    /// The share of the excess, 0 to 1.
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
    /// Of clients, each with how much of the excess it has.
    pub(super) fn of(clients: &[(ClientAddress, f64)], networks: &Networks) -> Self {
        if clients.is_empty() {
            return Self::default();
        }
        let found: Vec<_> = clients.iter().map(|(client, excess)| (networks.lookup(*client), *excess)).collect();
        let all: f64 = clients.iter().map(|(_, excess)| excess).sum();
        let system = |asn: u32| {
            let name = networks.asn_name(asn).map_or_else(|| format!("AS{asn}"), |name| escape(name.as_bytes()));
            (name, Some(asn))
        };
        let countries = found.iter().filter_map(|(network, excess)| Some((network.country()?, *excess)));
        let systems = || found.iter().filter_map(|(network, excess)| Some((network.asn()?, *excess)));
        let kinds = systems().map(|(asn, excess)| (networks.kind(asn), excess));
        Self {
            sampled_clients: clients.len(),
            countries: parts(countries, all, |country| (country.to_string(), None)),
            systems: parts(systems(), all, system),
            kinds: parts(kinds, all, |kind| (kind.to_string(), None)),
        }
    }
}

fn parts<T: Copy + Eq + Hash + Ord>(
    values: impl Iterator<Item = (T, f64)>,
    all: f64,
    name: impl Fn(T) -> (String, Option<u32>),
) -> Vec<Part> {
    let mut sums: HashMap<T, f64> = HashMap::new();
    values.for_each(|(value, excess)| *sums.entry(value).or_default() += excess);
    let mut sums: Vec<(T, f64)> = sums.into_iter().collect();
    sums.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    sums.retain(|(_, sum)| sum * SHARE_MIN >= all);
    sums.truncate(NAMED_MAX);
    let part = |(value, sum): (T, f64)| {
        let (name, asn) = name(value);
        Part { name, asn, share: sum / all.max(f64::MIN_POSITIVE) }
    };
    sums.into_iter().map(part).collect()
}
