//! Who sends an excess: clients with what each has of it, and the network with most.

use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};

use super::super::crowd::ASSET_SHARE_MIN;
use super::super::marked::Marked;
use super::super::recent::Sampled;
use super::super::reference::Reference;
use super::super::values::{Item, Marks, UNUSED, ValueHash};
use crate::address::ClientAddress;
use crate::observation::attribute::{Attribute, client_prefixes};

/// A network is named for a wider one around it when it has this share of what that has.
const NARROWER_SHARE: f64 = 0.8;

/// The network with most of an excess.
#[derive(Clone, Debug, PartialEq)]
pub struct Heaviest {
    /// One address, or a network of 256 or 65,536 of them (IPv6: a /64 or /48).
    pub network: IpNet,
    /// The share of the excess that it has, 0 to 1.
    pub share: f64,
    /// How many different user agents it has in the sample.
    pub agents: usize,
    /// Whether it is seen to ask as people do: to look at something, for pages, and for the parts of pages as others on the site. Where others
    /// ask for none, nothing shows it.
    pub browses: bool,
}

/// From so many user agents on one address with this share is a gateway, or a program that changes its name.
const GATEWAY_AGENTS_MIN: usize = 4;
const GATEWAY_SHARE_MIN: f64 = 0.5;

impl Heaviest {
    /// Whether it is one address (IPv6: one /64) behind which many people may be.
    pub fn is_gateway(&self) -> bool {
        let is_one = self.network.prefix_len() == if self.network.addr().is_ipv4() { 32 } else { 64 };
        is_one && self.agents >= GATEWAY_AGENTS_MIN && self.share >= GATEWAY_SHARE_MIN
    }
}

/// People look, with this share of their requests; and ask for parts of pages at least half as often as others do, who do so with
/// [`ASSET_SHARE_MIN`]: of an API, or a site with its parts elsewhere, a program asks for no fewer. And they ask for pages, a quarter as
/// often as others: who only fetches files is none of them.
const LOOKING_SHARE: f64 = 0.95;
const PARTS_SHARE: f64 = 0.5;
const PAGES_SHARE: f64 = 0.25;

/// Who sends an excess.
#[derive(Clone, Debug, Default)]
pub(super) struct Senders {
    /// Clients, with how much of the excess each has in the sample.
    pub(super) clients: Vec<(ClientAddress, f64)>,
    pub(super) heaviest: Option<Heaviest>,
}

impl Senders {
    /// Of these rows and this cost. Where `usual` of it in all is expected, each system has its own part of that taken off: it
    /// is of bystanders.
    pub(super) fn of(rows: &[Sampled<'_>], cost: usize, usual: f64, reference: &Reference, marked: &Marked) -> Self {
        let system = |sampled: &Sampled<'_>| sampled.row.marks.one(Attribute::Asn);
        let all: f64 = rows.iter().map(|sampled| sampled.cost(cost)).sum();
        let mut offered: FxHashMap<ValueHash, f64> = FxHashMap::default();
        for sampled in rows {
            *offered.entry(system(sampled)).or_default() += sampled.cost(cost);
        }
        let more = |(hash, offered): (&ValueHash, &f64)| {
            let usual_share = match *hash {
                UNUSED => offered / all.max(f64::MIN_POSITIVE),
                hash => reference.requests_share(&[Item { attribute: Attribute::Asn, hash }]),
            };
            (*hash, (1.0 - usual * usual_share / offered.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0))
        };
        let more: FxHashMap<ValueHash, f64> = offered.iter().map(more).collect();
        let weight =
            |sampled: &Sampled<'_>| sampled.cost(cost) * more.get(&system(sampled)).copied().unwrap_or_default();
        let mut clients: FxHashMap<ClientAddress, f64> = FxHashMap::default();
        for sampled in rows {
            if let Some(client) = sampled.row.client {
                *clients.entry(client).or_default() += weight(sampled);
            }
        }
        let mut clients: Vec<(ClientAddress, f64)> = clients.into_iter().filter(|(_, weight)| *weight > 0.0).collect();
        clients.sort_unstable_by_key(|(client, _)| *client);
        Self { heaviest: heaviest(rows, &weight, reference, marked), clients }
    }
}

fn heaviest(
    rows: &[Sampled<'_>],
    weight: &dyn Fn(&Sampled<'_>) -> f64,
    reference: &Reference,
    marked: &Marked,
) -> Option<Heaviest> {
    let all: f64 = rows.iter().map(weight).sum();
    let mut best: Option<(usize, ValueHash, f64)> = None;
    // From the widest to one address.
    for place in [2, 1, 0] {
        let mut weights: FxHashMap<ValueHash, f64> = FxHashMap::default();
        for sampled in rows {
            let hash = sampled.row.marks.of(Attribute::ClientPrefix).get(place).copied().unwrap_or(UNUSED);
            *weights.entry(hash).or_default() += weight(sampled);
        }
        weights.remove(&UNUSED);
        let most = weights.into_iter().max_by(|one, other| one.1.total_cmp(&other.1).then(other.0.cmp(&one.0)));
        if let Some((hash, most)) = most
            && best.is_none_or(|(_, _, wider)| most >= NARROWER_SHARE * wider)
        {
            best = Some((place, hash, most));
        }
    }
    let (place, hash, most) = best.filter(|(_, _, most)| *most > 0.0)?;
    let of_it =
        || rows.iter().filter(|sampled| sampled.row.marks.of(Attribute::ClientPrefix).get(place) == Some(&hash));
    let client = of_it().find_map(|sampled| sampled.row.client)?;
    let network = client_prefixes(client).nth(place)?;
    let agents: FxHashSet<ValueHash> = of_it().map(|sampled| sampled.row.marks.one(Attribute::UserAgent)).collect();
    let network = std::str::from_utf8(network.as_bytes()).ok()?.parse().ok()?;
    let requests = |is_meant: &dyn Fn(&Marks) -> bool| -> f64 {
        of_it().filter(|sampled| is_meant(&sampled.row.marks)).map(|sampled| sampled.cost(0)).sum()
    };
    let count = requests(&|_| true);
    let parts = requests(&|marks| marked.is_static(marks.one(Attribute::Extension)));
    let usual_parts = reference.ordinary().asset_share;
    let browses = requests(&|marks| marked.is_looking(marks)) >= LOOKING_SHARE * count
        && usual_parts >= ASSET_SHARE_MIN
        && parts >= PARTS_SHARE * usual_parts * count
        && count - parts >= PAGES_SHARE * (1.0 - usual_parts) * count;
    Some(Heaviest { network, share: (most / all).min(1.0), agents: agents.len(), browses })
}
