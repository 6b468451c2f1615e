//! Clients that the kernel drops and that come all the same: it sees somebody else, a proxy or a CDN whose addresses a log no longer shows, or
//! they come to a port that is not guarded. Beside a server nothing but this tells that a ban keeps nobody away.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::units::Timestamp;

/// What comes later than this after the kernel began to drop its client was not on its way by then: connections are ended within five
/// seconds, and a line of a log counts for twelve.
const ON_ITS_WAY: Duration = Duration::from_secs(20);

/// When none has come for so long, those of before count no more.
const MEMORY: Duration = Duration::from_secs(600);

/// Clients that are looked at. Where some come all the same, all do.
const CLIENTS_MAX: usize = 256;

/// Counts them.
#[derive(Debug, Default)]
pub(super) struct Undropped {
    /// Since when the kernel drops them.
    clients: HashMap<IpNet, Timestamp>,
    requests: u64,
    last: Timestamp,
}

impl Undropped {
    /// A client that is to be dropped has come, and is dropped from now on if it was not yet (`is_banned`).
    pub(super) fn came(&mut self, client: IpNet, is_banned: bool, now: Timestamp) {
        match self.clients.get_mut(&client) {
            Some(since) if is_banned => {
                if now.since(*since) >= ON_ITS_WAY {
                    self.requests += 1;
                    self.last = now;
                }
            }
            // Its ban had ended.
            Some(since) => *since = now,
            None => {
                if self.clients.len() >= CLIENTS_MAX {
                    self.clients.retain(|_, since| now.since(*since) < MEMORY);
                }
                // Since when an older ban has been in the kernel is not known.
                if self.clients.len() < CLIENTS_MAX {
                    self.clients.insert(client, now);
                }
            }
        }
    }

    /// How many came of late.
    pub(super) fn lately(&mut self, now: Timestamp) -> u64 {
        if now.since(self.last) >= MEMORY {
            self.requests = 0;
        }
        self.requests
    }

    /// Nobody is dropped, so nothing is to be said.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn at(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    fn client(host: u32) -> IpNet {
        IpNet::new(std::net::Ipv4Addr::from_bits(0xCB00_7100 + host).into(), 32).expect("a client")
    }

    #[test]
    fn whoever_comes_while_the_kernel_drops_him_is_counted() {
        let mut undropped = Undropped::default();
        undropped.came(client(1), false, at(0));
        (1..20).for_each(|second| undropped.came(client(1), true, at(second)));
        assert_eq!(undropped.lately(at(20)), 0, "that was on its way");
        (20..30).for_each(|second| undropped.came(client(1), true, at(second)));
        assert_eq!(undropped.lately(at(30)), 10);
        // A ban that had ended says nothing.
        undropped.came(client(1), false, at(40));
        (41..50).for_each(|second| undropped.came(client(1), true, at(second)));
        assert_eq!(undropped.lately(at(50)), 10);
        assert_eq!(undropped.lately(at(29) + MEMORY), 0);
    }

    #[test]
    fn few_are_looked_at_of_many() {
        let mut undropped = Undropped::default();
        (0..2_000).for_each(|host| undropped.came(client(host), false, at(0)));
        assert_eq!(undropped.clients.len(), CLIENTS_MAX);
        undropped.came(client(5_000), false, at(700));
        assert_eq!(undropped.clients.len(), 1);
    }
}
