//! Requests, bytes and clients, counted exactly as far as memory allows.

use rustc_hash::FxHashSet;

use super::acquaintances::hash;
use crate::decision::CostKind;
use crate::distinct::Distinct;
use crate::observation::Observation;

use super::super::COSTS;
use super::super::observing::observed_costs;

/// Clients that are counted one by one; of more, the number is an estimate.
const EXACT_MAX: usize = 4096;

/// Different clients.
#[derive(Clone, Debug)]
pub(super) enum Clients {
    Exact(FxHashSet<u64>),
    About(Distinct),
}

impl Default for Clients {
    fn default() -> Self {
        Self::Exact(FxHashSet::default())
    }
}

impl Clients {
    pub(super) fn add(&mut self, client: u64) {
        match self {
            Self::Exact(clients) => {
                clients.insert(client);
                if clients.len() > EXACT_MAX {
                    let mut distinct = Distinct::new();
                    clients.iter().for_each(|client| distinct.add(*client));
                    *self = Self::About(distinct);
                }
            }
            Self::About(distinct) => distinct.add(client),
        }
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Exact(clients) => clients.len() as u64,
            Self::About(distinct) => distinct.estimate(),
        }
    }
}

/// How much there was of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests.
    pub requests: u64,
    /// Bytes of answers to them.
    pub bytes: u64,
    /// Different clients that sent them; zero when the log has no addresses.
    pub clients: u64,
    /// Whether that is exact; else it is an estimate (HyperLogLog, 0.8%).
    pub clients_exact: bool,
}

impl Counted {
    /// Requests for each client.
    pub fn each(&self) -> f64 {
        self.requests as f64 / self.clients.max(1) as f64
    }
}

/// Counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Counting {
    requests: u64,
    costs: [f64; COSTS],
    clients: Clients,
}

impl Counting {
    pub(super) fn add(&mut self, observation: &Observation<'_>) {
        self.requests += 1;
        self.costs.iter_mut().zip(observed_costs(observation)).for_each(|(sum, cost)| *sum += cost);
        if let Some(client) = observation.client {
            self.clients.add(hash(client));
        }
    }

    /// How much of a cost there was.
    pub(super) fn cost(&self, cost: CostKind) -> f64 {
        self.costs[cost as usize]
    }

    pub(super) fn counted(&self) -> Counted {
        // No request has two.
        let clients = self.clients.count().min(self.requests);
        let clients_exact = matches!(self.clients, Clients::Exact(_));
        let bytes = self.costs[CostKind::Bytes as usize] as u64;
        Counted { requests: self.requests, bytes, clients, clients_exact }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::ClientAddress;
    use crate::observation::{ClientHistory, Cost, Outcome, Request};
    use crate::units::Timestamp;

    #[test]
    fn there_are_never_more_clients_than_requests() {
        for requests in [0, 1, 4096, 5000, 20_000_u32] {
            let mut counting = Counting::default();
            for number in 0..requests {
                let address = std::net::Ipv4Addr::from_bits(number.wrapping_mul(0x9E37_79B1));
                counting.add(&Observation {
                    at: Timestamp::EPOCH,
                    client: Some(ClientAddress::new(address.into())),
                    request: Request::default(),
                    outcome: Outcome::Served { status: 200 },
                    cost: Cost { requests: 1, bytes: 10, ..Cost::default() },
                    weight: 1.0,
                    history: ClientHistory::default(),
                });
            }
            let counted = counting.counted();
            assert_eq!((counted.requests, counted.bytes), (u64::from(requests), u64::from(requests) * 10));
            assert_eq!(counted.clients_exact, requests <= 4096);
            assert!(counted.clients <= counted.requests, "{counted:?}");
            assert!(!counted.clients_exact || counted.clients == counted.requests, "{counted:?}");
        }
    }
}
