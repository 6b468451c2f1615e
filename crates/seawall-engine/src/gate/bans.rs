//! Who is banned, as the gate looks it up: immutable once made, so that every worker can hold the same one.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::address::ClientAddress;
use crate::decision::{Ban, ban_network};
use crate::units::Timestamp;

/// The bans, compiled. One look-up by client, and one by network where there are any.
#[derive(Clone, Debug, Default)]
pub struct BanSet {
    /// Single clients, by [`ClientAddress::client_key`], and when each ban ends, in seconds. The keyed hash of the standard
    /// library, since outsiders choose the keys.
    clients: HashMap<u128, u32>,
    /// Larger networks by length, the shortest first: a look-up asks once for each length.
    networks: Vec<(bool, u8, HashMap<u128, u32>)>,
}

impl BanSet {
    /// The look-up form of `bans`.
    pub fn new<'a>(bans: impl IntoIterator<Item = &'a Ban>) -> Self {
        let mut set = Self::default();
        for ban in bans {
            let network = ban_network(ban.network);
            let (address, is_v4, length) = (network.addr(), network.addr().is_ipv4(), network.prefix_len());
            let expires = seconds(ban.expires);
            let client = ClientAddress::new(address);
            let is_client = length == if is_v4 { 32 } else { 64 };
            let map = if is_client {
                &mut set.clients
            } else {
                let place = set.networks.iter().position(|(v4, of, _)| (*v4, *of) == (is_v4, length));
                let place = place.unwrap_or_else(|| {
                    set.networks.push((is_v4, length, HashMap::new()));
                    set.networks.len() - 1
                });
                match set.networks.get_mut(place) {
                    Some((_, _, map)) => map,
                    None => continue,
                }
            };
            let key = if is_client { client.client_key() } else { bits(network) };
            let until = map.entry(key).or_default();
            *until = (*until).max(expires);
        }
        set
    }

    /// Whether nobody is banned.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.networks.is_empty()
    }

    /// Whether a client is banned at this moment.
    pub fn contains(&self, client: ClientAddress, now: Timestamp) -> bool {
        if self.is_empty() {
            return false;
        }
        let now = seconds(now);
        let is_v4 = client.ip().is_ipv4();
        self.clients.get(&client.client_key()).is_some_and(|until| *until > now)
            || self.networks.iter().any(|(v4, length, map)| {
                *v4 == is_v4 && map.get(&bits(client.prefix(*length))).is_some_and(|until| *until > now)
            })
    }
}

fn bits(network: IpNet) -> u128 {
    match network {
        IpNet::V4(net) => u128::from(net.network().to_bits()),
        IpNet::V6(net) => net.network().to_bits(),
    }
}

/// Good until 2106.
fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.as_seconds()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::decision::BanCause;

    #[test]
    fn clients_and_networks_are_banned_until_their_time_is_over() {
        let now = Timestamp::from_seconds(1_700_000_000);
        let ban = |text: &str, seconds| Ban {
            network: text.parse().expect("a network"),
            since: now,
            expires: now + Duration::from_secs(seconds),
            cause: BanCause::Operator,
            reason: None,
        };
        let bans = [
            ban("192.0.2.7/32", 10),
            ban("198.51.100.0/24", 20),
            ban("2001:db8:1:2::/64", 10),
            ban("2001:db8:8000::/33", 10),
        ];
        let set = BanSet::new(&bans);
        let client = |text: &str| ClientAddress::new(text.parse().expect("an address"));
        for (text, after, expected) in [
            ("192.0.2.7", 0, true),
            ("::ffff:192.0.2.7", 9, true),
            ("192.0.2.7", 10, false),
            ("192.0.2.8", 0, false),
            ("198.51.100.255", 19, true),
            ("198.51.101.0", 0, false),
            ("2001:db8:1:2:ffff::1", 0, true),
            ("2001:db8:1:3::1", 0, false),
            ("2001:db8:ffff::1", 0, true),
            ("2001:db8:7fff::1", 0, false),
        ] {
            assert_eq!(
                set.contains(client(text), now + Duration::from_secs(after)),
                expected,
                "{text} after {after} s"
            );
        }
        assert!(!BanSet::default().contains(client("192.0.2.7"), now));
    }
}
