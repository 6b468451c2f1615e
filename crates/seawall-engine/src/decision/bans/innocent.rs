//! Where visitors are served: weights of networks in a table of fixed size, so that a merged ban can be told from one that
//! would hit people.

use ipnet::IpNet;

use crate::address::{AddressSet, ClientAddress};
use crate::decision::Collateral;
use crate::detection::statistics::share_upper_95;

/// Networks that are remembered; 256 KiB.
const PLACES: usize = 1 << 14;

/// Requests from which on it can be told whom a ban would hit: of none among these, 1% is the upper bound at 95% confidence.
const REQUESTS_MIN: f64 = 300.0;

/// As many networks have to be among them: what a few visitors ask for, however much it is, says nothing of all others.
const NETWORKS_MIN: usize = 60;

/// The size of network that traffic is counted by: what one household, office or mobile gateway has at most.
const LENGTH_V4: u8 = 24;
const LENGTH_V6: u8 = 48;

/// Traffic that was served, by network. Networks compete for places: one that is not seen again gives way. Where there are many more networks
/// than places most traffic has none, and the shares are those of what has one: which networks meet in a place is chance.
#[derive(Clone, Debug)]
pub struct Innocent {
    places: Vec<Option<(IpNet, f32)>>,
}

impl Default for Innocent {
    fn default() -> Self {
        Self::new()
    }
}

impl Innocent {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { places: vec![None; PLACES] }
    }

    /// Notes that requests of this weight of a client were served.
    pub fn serve(&mut self, client: ClientAddress, weight: f32) {
        let network = client.prefix(if client.ip().is_ipv4() { LENGTH_V4 } else { LENGTH_V6 });
        let key = client.client_key() >> if client.ip().is_ipv4() { 8 } else { 16 };
        // Whoever fills it with networks of his own makes himself look innocent at the most, which costs him being served.
        let place = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize % PLACES;
        match self.places.get_mut(place) {
            Some(Some((present, sum))) if *present == network => *sum += weight,
            Some(Some((_, sum))) if *sum > weight => *sum -= weight,
            Some(entry) => *entry = Some((network, weight)),
            None => {}
        }
    }

    /// Halves everything: what was long ago counts less.
    pub fn fade(&mut self) {
        for entry in &mut self.places {
            if let Some((_, sum)) = entry {
                *sum /= 2.0;
                if *sum < 0.01 {
                    *entry = None;
                }
            }
        }
    }

    /// The traffic that has a place.
    fn known(&self) -> f64 {
        self.places.iter().flatten().map(|(_, sum)| f64::from(*sum)).sum()
    }

    /// Whether enough was served to tell whom a ban would hit.
    pub fn is_known(&self) -> bool {
        self.known() >= REQUESTS_MIN
    }

    /// What of the traffic that was served would be kept away with all of `banned`; none when too little was served to tell, or to too
    /// few networks. A network that is banned in part counts whole.
    pub fn within(&self, banned: &AddressSet) -> Option<Collateral> {
        let total = self.known();
        if total < REQUESTS_MIN || self.places.iter().flatten().count() < NETWORKS_MIN {
            return None;
        }
        let hit = self.places.iter().flatten().filter(|(network, _)| banned.overlaps(*network));
        let hit: f64 = hit.map(|(_, sum)| f64::from(*sum)).sum();
        Some(Collateral { share: (hit / total).min(1.0) as f32, upper: share_upper_95(hit, total) as f32 })
    }

    /// Every network with its share of all that was served, 0 to 1.
    pub fn shares(&self) -> impl Iterator<Item = (IpNet, f32)> + '_ {
        let total = (self.known() as f32).max(f32::MIN_POSITIVE);
        self.places.iter().flatten().map(move |(network, sum)| (*network, sum / total))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_is_served_often_stays_in_a_table_of_fixed_size() {
        let mut innocent = Innocent::new();
        let visitor = ClientAddress::new("198.51.100.7".parse().expect("an address"));
        for number in 0..200_000_u32 {
            innocent.serve(ClientAddress::new(Ipv4Addr::from_bits(number << 8).into()), 0.1);
            innocent.serve(visitor, 1.0);
        }
        let shares: Vec<(IpNet, f32)> = innocent.shares().collect();
        assert!(shares.len() <= PLACES);
        let share = shares.iter().find(|(network, _)| *network == visitor.prefix(24)).expect("it is there").1;
        assert!(share > 0.8, "{share}");
        let within = |network: &str| {
            let banned = AddressSet::new([network.parse().expect("a network")]);
            innocent.within(&banned).expect("enough was served")
        };
        let (all, none) = (within("198.51.100.0/22"), within("203.0.113.0/24"));
        assert!((all.share - share).abs() < 1e-6 && all.upper >= all.share, "{all:?}");
        assert!(none.share < 0.001 && none.upper < 0.001, "{none:?}");
        // Of a part of a network it is not known who is in it.
        assert_eq!(within("198.51.100.128/25"), all);
        assert_eq!(Innocent::new().within(&AddressSet::default()), None);
        let mut few = Innocent::new();
        for number in 0..10_000_u32 {
            few.serve(ClientAddress::new(Ipv4Addr::from_bits((number % 59) << 8).into()), 1.0);
        }
        assert_eq!(few.within(&AddressSet::default()), None, "whom else it would hit is not known");
        few.serve(visitor, 1.0);
        assert!(few.within(&AddressSet::default()).is_some());
        for _ in 0..40 {
            innocent.fade();
        }
        assert_eq!(innocent.shares().count(), 0);
    }

    #[test]
    fn whom_a_ban_hits_is_told_of_many_more_networks_than_there_are_places() {
        let mut innocent = Innocent::new();
        for _ in 0..3 {
            for number in 0..131_072_u32 {
                // In no order: who came last would have all places else.
                let network = number.wrapping_mul(0x9E37_79B1) % 131_072;
                innocent.serve(ClientAddress::new(Ipv4Addr::from_bits(network << 8).into()), 1.0);
            }
        }
        let half = AddressSet::new(["0.0.0.0/8".parse().expect("a network")]);
        let Collateral { share, upper } = innocent.within(&half).expect("enough was served");
        assert!((share - 0.5).abs() < 0.02 && (0.5..0.53).contains(&upper), "{share} {upper}");
        assert!((innocent.shares().map(|(_, share)| share).sum::<f32>() - 1.0).abs() < 0.01);
    }
}
