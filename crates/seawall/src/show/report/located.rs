//! Requests that wait until their clients are looked up, many at once.

use seawall_engine::address::ClientAddress;
use seawall_engine::network::Network;

use crate::networks::Networks;
use crate::show::log::table::Count;

/// Requests that wait at most: a few groups of what tables and the networks look up together.
const WAITING_MAX: usize = 256;

/// The client of a request, and its network.
#[derive(Clone, Copy)]
pub(super) struct Located {
    pub(super) client: Option<ClientAddress>,
    pub(super) network: Network,
}

/// Requests whose clients are not looked up yet.
#[derive(Default)]
pub(super) struct Waiting {
    clients: Vec<Option<ClientAddress>>,
    counted: Vec<(Count, usize)>,
    networks: Vec<Network>,
}

impl Waiting {
    /// Adds a request of this kind.
    #[inline]
    pub(super) fn add(&mut self, client: Option<ClientAddress>, count: Count, kind: usize) {
        self.clients.push(client);
        self.counted.push((count, kind));
    }

    pub(super) fn is_full(&self) -> bool {
        self.clients.len() >= WAITING_MAX
    }

    /// Looks all up in `networks`.
    pub(super) fn locate(&mut self, networks: &Networks) {
        networks.lookup_all(self.clients.iter().copied(), &mut self.networks);
    }

    /// The requests that were located, each with what is counted of it and its kind.
    pub(super) fn located(&self) -> impl Iterator<Item = (Located, Count, usize)> {
        let located = self.clients.iter().zip(&self.networks).zip(&self.counted);
        located
            .map(|((client, network), (count, kind))| (Located { client: *client, network: *network }, *count, *kind))
    }

    /// Nothing waits any more.
    pub(super) fn clear(&mut self) {
        self.clients.clear();
        self.counted.clear();
        self.networks.clear();
    }
}
