//! Notices when nearly all requests come through a proxy that is not trusted, so that all their clients are one.
//!
//! Such a guard is calm for ever: no flood can be told from visitors, and nobody may be banned. It only says so. Whom to trust is for
//! people to say, since anybody can send the headers that speak for it.

use std::time::Duration;

use ipnet::IpNet;

use super::peers::{Claim, Peer, Peers, RecentPeers};
use super::{Alarm, Change, Trouble};
use crate::address::AddressSet;
use crate::units::Timestamp;

/// So many requests within the last minute tell who nearly all come from, and they come over so long a time: a look at one's own site is
/// neither.
const REQUESTS_MIN: u32 = 100;
const LASTED_MIN: Duration = Duration::from_secs(30);

/// Of fewer than this it is not seen that it is over.
const REQUESTS_LEFT: u32 = 20;

/// Proxies that name their clients may be so many, and public ones are of so many networks at most: a flood whose headers are made up comes
/// from more.
const LOCAL_MAX: usize = 8;
const NETWORKS_MAX: usize = 5;

/// Of what comes from addresses that no visitor has, this share names somebody else where there is a proxy. The rest may be visitors of
/// the same network, and checks of this machine.
const NAMED_SHARE: f64 = 0.5;

/// Of the requests of a proxy this share names other clients, where all do but for its own.
const NAMES_ALL: f64 = 0.95;

/// What must hold.
struct Need {
    /// This share of all requests is nearly all.
    share: f64,
    /// So many user agents are no single program that asks from this machine.
    agents: u32,
    /// So many different clients are named by a proxy: a visitor behind one of his own is one.
    named: u32,
}

/// For an alarm.
const FOR_ALARM: Need = Need { share: 0.95, agents: 5, named: 8 };

/// And for it to go on, so that what comes and goes is told once. At night few come.
const TO_GO_ON: Need = Need { share: 0.8, agents: 0, named: 0 };

/// Where requests are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In line, with all their headers.
    InLine,
    /// In a log, which may have `X-Forwarded-For` and no other of them.
    Log,
}

/// Watches whether clients can be told apart.
#[derive(Clone, Debug, Default)]
pub struct MergedClients {
    alarm: Option<Alarm>,
    /// Once all of these are trusted it is over; none where that alone does not help.
    ends_with: Vec<IpNet>,
}

/// Through whom nearly all requests come.
#[derive(Debug)]
enum Through<'a> {
    /// Through these local addresses, which name their clients.
    Naming(Vec<&'a Peer>),
    /// Through this one local address, which does not.
    Silent(&'a Peer),
    /// Through public networks, which name other clients.
    Public(Vec<&'a Peer>),
}

impl MergedClients {
    /// Looks at what has come in the last minute, about once a second.
    pub fn look(&mut self, now: Timestamp, recent: &RecentPeers, trusted: &AddressSet, place: Place) -> Option<Change> {
        let (sum, lasted) = recent.sum(now);
        let view = View { sum: &sum, trusted, place };
        if self.alarm.is_none() {
            if sum.requests() < REQUESTS_MIN || lasted < LASTED_MIN {
                return None;
            }
            let (through, share) = view.through(&FOR_ALARM)?;
            self.ends_with = match &through {
                Through::Naming(peers) | Through::Public(peers) => peers.iter().map(|peer| peer.network).collect(),
                Through::Silent(_) => Vec::new(),
            };
            let alarm = Alarm { trouble: Trouble::ClientsMerged, since: now, text: view.text(&through, share) };
            return Some(Change::Raised(self.alarm.insert(alarm).clone()));
        }
        let is_trusted = !self.ends_with.is_empty() && self.ends_with.iter().all(|network| trusted.overlaps(*network));
        let is_over = sum.requests() >= REQUESTS_LEFT && view.through(&TO_GO_ON).is_none();
        if is_trusted || is_over { self.alarm.take().map(Change::Cleared) } else { None }
    }

    /// What is wrong now.
    pub const fn alarm(&self) -> Option<&Alarm> {
        self.alarm.as_ref()
    }
}

/// What has come, and who is trusted.
struct View<'a> {
    sum: &'a Peers,
    trusted: &'a AddressSet,
    place: Place,
}

impl<'a> View<'a> {
    /// Through whom nearly all requests come, and the share that does.
    fn through(&self, need: &Need) -> Option<(Through<'a>, f64)> {
        let share = |peers: &[&Peer]| {
            let share = requests(peers) / f64::from(self.sum.requests().max(1));
            (share >= need.share).then_some(share)
        };
        let local = self.most(LOCAL_MAX, |peer| peer.is_local && !self.is_believed(peer));
        let named: f64 = local.iter().map(|peer| f64::from(peer.named())).sum();
        if let Some(share) = share(&local)
            && named >= NAMED_SHARE * requests(&local)
        {
            let proxies = local.into_iter().filter(|peer| names(peer, NAMED_SHARE)).collect();
            return Some((Through::Naming(proxies), share));
        }
        if let Some(peer) = local.first()
            && let Some(share) = share(&[peer])
            // A log need not have agents, and what a server logs is not its operator's try.
            && (self.place == Place::Log || peer.voices() >= need.agents)
        {
            return Some((Through::Silent(peer), share));
        }
        let public = self.most(NETWORKS_MAX, |peer| !peer.is_local && names(peer, NAMES_ALL));
        let voices: u32 = public.iter().map(|peer| peer.voices()).sum();
        let share = share(&public).filter(|_| self.trusted.is_empty() && voices >= need.named)?;
        Some((Through::Public(public), share))
    }

    /// Whether what it says is believed by now: it is trusted, and says it.
    fn is_believed(&self, peer: &Peer) -> bool {
        self.trusted.overlaps(peer.network) && names(peer, NAMED_SHARE)
    }

    /// Of these, those with the most requests.
    fn most(&self, count: usize, is_one: impl Fn(&Peer) -> bool) -> Vec<&'a Peer> {
        let mut peers: Vec<&Peer> = self.sum.peers().filter(|peer| is_one(peer)).collect();
        peers.sort_by_key(|peer| std::cmp::Reverse(peer.requests));
        peers.truncate(count);
        peers
    }

    fn text(&self, through: &Through<'_>, share: f64) -> String {
        let share = format!("{:.0}% of the last {} requests", (100.0 * share).floor(), self.sum.requests());
        match through {
            Through::Naming(peers) => {
                let (addresses, claim) = (addresses(peers).join(", "), claim(peers));
                let (trust, blind) = (self.trust(peers), blind(peers));
                let write = match (claim, client_address(claim)) {
                    (Claim::XRealIp, _) => {
                        format!("have it send X-Forwarded-For, since X-Real-IP is not read, and {trust}")
                    }
                    (_, None) => trust,
                    (_, Some(line)) => format!("{trust} and `{line}`"),
                };
                let header = claim.header();
                format!(
                    "{share} come from {addresses} and name other clients in {header}, which is not believed, {blind}; if that is \
                     your proxy, {write}"
                )
            }
            Through::Silent(peer) => {
                let is_trusted = self.trusted.overlaps(peer.network);
                let (address, trust, blind) = (peer.network.addr(), self.trust(&[peer]), blind(&[peer]));
                match (self.place, is_trusted) {
                    (Place::Log, _) => {
                        let trust = if is_trusted { String::new() } else { format!(" and {trust}") };
                        format!(
                            "{share} have the client {address}, {blind}; if the server is behind a proxy, have it log whom that names \
                             (set_real_ip_from in nginx, mod_remoteip in Apache), or have $http_x_forwarded_for at the end of \
                             the line{trust}"
                        )
                    }
                    (Place::InLine, true) => format!(
                        "{share} come from {address}, which is trusted, without the header that client-address of [trust] names, {blind}; \
                         have your proxy send it"
                    ),
                    (Place::InLine, false) => format!(
                        "{share} come from {address}, of many user agents and without a header that names other clients, {blind}; if that \
                         is your proxy, have it send X-Forwarded-For and {trust}"
                    ),
                }
            }
            Through::Public(peers) => {
                let (claim, count) = (claim(peers), peers.len());
                let networks = if count == 1 { "one network".to_owned() } else { format!("{count} networks") };
                let line = client_address(claim).map_or_else(String::new, |line| format!(", with `{line}`"));
                let header = claim.header();
                format!(
                    "is there a proxy or a CDN in front? {share} come from {networks} and name other clients in {header}, which is not \
                     believed; if it is yours, write its networks into `proxies` of [trust]{line}. Anybody can send that header: \
                     trust no network that is not your proxy's"
                )
            }
        }
    }

    /// What to write into the configuration to trust these local addresses.
    fn trust(&self, peers: &[&Peer]) -> String {
        let addresses: Vec<String> = addresses(peers).iter().map(|address| format!("\"{address}\"")).collect();
        let addresses = addresses.join(", ");
        if self.trusted.is_empty() {
            format!("write `[trust] proxies = [{addresses}]`")
        } else {
            format!("add {addresses} to `proxies` of [trust]")
        }
    }
}

/// Whether this share of its requests name somebody else.
fn names(peer: &Peer, share: f64) -> bool {
    f64::from(peer.named()) >= share * f64::from(peer.requests)
}

fn requests(peers: &[&Peer]) -> f64 {
    peers.iter().map(|peer| f64::from(peer.requests)).sum()
}

/// The header that most name their clients in.
fn claim(peers: &[&Peer]) -> Claim {
    let count = |index: usize| -> u64 { peers.iter().map(|peer| u64::from(peer.named[index])).sum() };
    let counts = Claim::ALL.into_iter().enumerate().map(|(index, claim)| (claim, count(index)));
    counts.rev().max_by_key(|(_, count)| *count).map_or(Claim::XForwardedFor, |(claim, _)| claim)
}

/// What it means that these are all clients there are. Loopback is never banned.
fn blind(peers: &[&Peer]) -> &'static str {
    if peers.iter().all(|peer| peer.network.addr().is_loopback()) {
        "so all visitors are one client: no flood can be told, and nobody can be banned"
    } else {
        "so all visitors are one client: no flood can be told, and a ban would keep everybody away"
    }
}

/// The addresses of local peers, which are no visitor's.
fn addresses(peers: &[&Peer]) -> Vec<String> {
    peers.iter().map(|peer| peer.network.addr().to_string()).collect()
}

/// The line of `[trust]` that a header needs, where it is not the one that is read by itself.
const fn client_address(claim: Claim) -> Option<&'static str> {
    match claim {
        Claim::XForwardedFor | Claim::XRealIp => None,
        Claim::Forwarded => Some("client-address = \"forwarded\""),
        Claim::CfConnectingIp => Some("client-address = \"cf-connecting-ip\""),
        Claim::FastlyClientIp => Some("client-address = \"fastly-client-ip\""),
    }
}

#[cfg(test)]
mod tests;
