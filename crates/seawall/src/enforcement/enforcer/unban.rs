//! Takes bans back: by network, by pseudonym, by where they are, or by the file that names them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering;

use ipnet::IpNet;
use seawall_engine::address::{AddressSet, ClientAddress};
use seawall_engine::decision::{Ban, ban_network, client_network};
use seawall_engine::gate::{Allowances, RuleSet};
use seawall_engine::units::{Timestamp, counted};

use super::super::orders::{BanView, UnbanRequest, Unbanned, Within};
use super::super::{asked, printable};
use super::Enforcer;
use super::recorded::JOURNALLED_MAX;
use crate::record::{Action, Actor};

/// Of so many names that are not banned themselves it is said which networks they are banned with.
const WITHIN_MAX: usize = 32;

/// Of more than this all clients are freed at the workers, rather than one after the other.
const FREED_MAX: usize = 4_096;

/// Of networks with more clients than this the allowances of all clients become whole, rather than theirs one after the other.
const FORGOTTEN_MAX: u64 = 4_096;

impl Enforcer {
    pub(super) fn unban(&mut self, request: &UnbanRequest, now: Timestamp) -> Unbanned {
        let UnbanRequest { names, countries, systems, list, reason } = request;
        let mut unbanned = Unbanned { remains: self.kernel.left(now), ..Unbanned::default() };
        let mut gone = Vec::new();
        let is_of_places = !countries.is_empty() || !systems.is_empty();
        // What has given way to what waits to be confirmed is not to come back either.
        let within = if let Some(list) = list {
            // As they were banned: neighbours as one.
            Some(AddressSet::new(list.networks.iter().copied().map(ban_network)))
        } else if is_of_places {
            let settings = self.parts.shared.settings.load();
            Some(AddressSet::new(asked::of_places(countries, systems, &settings.networks)))
        } else {
            None
        };
        if let Some(within) = &within {
            let is_there = |ban: &&Ban| within.around(ban.network).is_some();
            gone.extend(self.bans.iter().chain(self.proxied.iter()).filter(is_there).map(|ban| ban.network));
            self.unconfirmed.forget_before(|ban| is_there(&ban));
        } else if names.is_empty() {
            self.unconfirmed.forget_before(|_| true);
            gone.extend(self.bans.iter().chain(self.proxied.iter()).map(|ban| ban.network));
        }
        let mut frees_all = (names.is_empty() && within.is_none()) || names.len().max(gone.len()) > FREED_MAX;
        let (mut few, mut pseudonyms) = (Vec::new(), Vec::new());
        let labels = self.labels(now);
        let rules = self.parts.shared.rules.load_full();
        let forget = |network: IpNet| forget(network, &rules, &self.parts.shared.allowances, now);
        for (index, name) in names.iter().enumerate() {
            // Whoever calls a panic does not wait for the end of a long list.
            if self.parts.hurry.load(Ordering::Acquire) {
                unbanned.left = names.len() - index;
                break;
            }
            let network = read(name);
            let is_banned = |network: &IpNet| self.bans.get(*network).or_else(|| self.proxied.get(*network)).is_some();
            let by_pseudonym = || labels.as_ref()?.network(name).filter(is_banned);
            let typed = network.map(ban_network).filter(is_banned);
            if let Some(network) = typed.or_else(by_pseudonym) {
                // Whom a pseudonym means was not said.
                if few.len() + pseudonyms.len() < JOURNALLED_MAX && !gone.contains(&network) {
                    match typed {
                        Some(typed) => few.push(typed),
                        None => pseudonyms.push(printable(name)),
                    }
                }
                gone.push(network);
                continue;
            }
            if let Some(network) = network {
                self.unconfirmed.forget(ban_network(network));
                // Where nothing can be handed down the workers drop clients without a ban, and know them by hashes only.
                let client = ClientAddress::new(network.addr());
                if client_network(client) == ban_network(network) {
                    if !frees_all {
                        self.telling.freed(Some(client), now);
                    }
                    // Whom a limit refuses is in no list of bans.
                    if forget(network) {
                        unbanned.freed.push(name.clone());
                        if few.len() + pseudonyms.len() < JOURNALLED_MAX {
                            few.push(ban_network(network));
                        }
                        continue;
                    }
                }
            }
            unbanned.unknown.push(name.clone());
            if unbanned.within.len() < WITHIN_MAX {
                let around = network.map(|network| self.around(network, now)).unwrap_or_default();
                unbanned.within.extend((!around.is_empty()).then(|| Within { name: name.clone(), around }));
            }
        }
        let mut forgotten = 0_u64;
        for network in &gone {
            self.unconfirmed.forget(*network);
            let is_proxied = self.proxied.remove(*network).is_some();
            let here = self.bans.remove(*network);
            unbanned.removed += usize::from(here.is_some() || is_proxied);
            let client = ClientAddress::new(network.addr());
            // The workers may drop it as well, and would hand it down again, also where another ban took the place of that for it. One
            // network may stand for many clients.
            let is_one = client_network(client) == *network;
            frees_all |= !is_one && (is_proxied || here.as_ref().is_some_and(|ban| ban.cause.rule().is_some()));
            if is_one && !frees_all {
                self.telling.freed(Some(client), now);
            }
            // It begins anew, or its next request would be too much again: also where another ban took the place of that of a limit.
            if is_one || here.is_some_and(|ban| ban.cause.is_guards()) {
                forgotten = forgotten.saturating_add(clients(*network));
                if !frees_all && forgotten <= FORGOTTEN_MAX {
                    forget(*network);
                }
            }
        }
        // To name them all would take longer than a few wrong passwords more of others are worth.
        if frees_all || forgotten > FORGOTTEN_MAX {
            self.parts.shared.allowances.forget_all();
        }
        if frees_all {
            self.telling.freed(None, now);
        }
        if unbanned.removed > 0 || !unbanned.freed.is_empty() {
            let reason = reason.as_deref().map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
            if few.len() + pseudonyms.len() == unbanned.removed + unbanned.freed.len() {
                self.journal_each(&few, Actor::Operator, Action::Unban, &reason);
                for pseudonym in pseudonyms {
                    self.parts.record.journal(Actor::Operator, Action::Unban, format!("{pseudonym}{reason}"));
                }
                return unbanned;
            }
            let bans = counted(unbanned.removed as u64, "ban");
            let text = match (names.as_slice(), list) {
                ([], Some(list)) => format!("{bans} of {}", printable(&list.source)),
                ([], None) if is_of_places => format!("{bans} of {}", asked::places(countries, systems)),
                ([], None) => format!("all, {bans}"),
                _ => bans,
            };
            self.parts.record.journal(Actor::Operator, Action::Unban, format!("{text}{reason}"));
        }
        unbanned
    }

    /// The bans of larger networks that this one lies in.
    fn around(&self, network: IpNet, now: Timestamp) -> Vec<BanView> {
        let network = ban_network(network);
        let larger = (0..network.prefix_len()).filter_map(|length| IpNet::new(network.addr(), length).ok());
        let around: Vec<&Ban> = larger.filter_map(|larger| self.bans.get(larger.trunc())).collect();
        self.views(around.into_iter(), false, now)
    }
}

/// How many clients a network has.
fn clients(network: IpNet) -> u64 {
    let length = client_network(ClientAddress::new(network.addr())).prefix_len();
    1_u64.checked_shl(length.saturating_sub(network.prefix_len()).into()).unwrap_or(u64::MAX)
}

/// Gives the clients of a network back what they have used of every limit. Says whether one of the limits kept any of them away.
fn forget(network: IpNet, rules: &RuleSet, allowances: &Allowances, now: Timestamp) -> bool {
    let client = |number: u64| match network {
        IpNet::V4(net) => IpAddr::from(Ipv4Addr::from_bits(net.network().to_bits().saturating_add(number as u32))),
        IpNet::V6(net) => IpAddr::from(Ipv6Addr::from_bits(net.network().to_bits() + (u128::from(number) << 64))),
    };
    let is_freed = |number: u64| rules.forget(ClientAddress::new(client(number)), allowances, now);
    (0..clients(network)).map(is_freed).fold(false, |before, is_freed| before | is_freed)
}

/// An address or a network as people write it.
fn read(name: &str) -> Option<IpNet> {
    name.parse::<IpAddr>().ok().map(IpNet::from).or_else(|| name.parse().ok())
}
