//! Counts from whom requests come, as far as it tells whether clients can be told apart at all: a proxy that is not trusted makes one
//! client of all of its own.
//!
//! What is counted has a fixed size, whoever comes: ordinary visitors have no entry, only addresses that none of them can have and
//! those that name somebody else.

use std::hash::Hasher as _;
use std::time::Duration;

use ipnet::IpNet;
use siphasher::sip::SipHasher13;

use crate::address::ClientAddress;
use crate::units::Timestamp;

/// Peers that are counted one by one. Who is nearly all of the traffic is among the first of them.
const PEERS_MAX: usize = 16;

/// The network that a public peer is counted by: a CDN comes from many addresses, of few networks.
const PUBLIC_V4_BITS: u8 = 16;
const PUBLIC_V6_BITS: u8 = 32;

/// Traffic is counted by spans of this length, and so many of them are kept: the last minute.
const SPAN: Duration = Duration::from_secs(15);
const SPANS: usize = 4;

/// A header in which proxies name the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
    /// `CF-Connecting-IP`, which Cloudflare sets.
    CfConnectingIp,
    /// `Fastly-Client-IP`
    FastlyClientIp,
    /// `X-Real-IP`, which nothing here reads.
    XRealIp,
}

impl Claim {
    /// Every header.
    pub const ALL: [Self; 5] =
        [Self::XForwardedFor, Self::Forwarded, Self::CfConnectingIp, Self::FastlyClientIp, Self::XRealIp];

    /// Its name, as it is usually written.
    pub const fn header(self) -> &'static str {
        match self {
            Self::XForwardedFor => "X-Forwarded-For",
            Self::Forwarded => "Forwarded",
            Self::CfConnectingIp => "CF-Connecting-IP",
            Self::FastlyClientIp => "Fastly-Client-IP",
            Self::XRealIp => "X-Real-IP",
        }
    }
}

/// Who sent a request, when its client may be somebody else.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The other end of the connection, which is taken for the client.
    pub peer: ClientAddress,
    /// Whom it names as its client, when that is somebody else with a public address, and where.
    pub named: Option<(Claim, ClientAddress)>,
    /// Its user agent; none where it has none, or none is needed to tell clients apart.
    pub agent: Option<&'a [u8]>,
}

/// Requests by who sent them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peers {
    requests: u32,
    peers: [Option<Peer>; PEERS_MAX],
}

/// What came from one peer: an address that no visitor can have, or the network of a public one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) network: IpNet,
    pub(super) is_local: bool,
    pub(super) requests: u32,
    /// Those that named somebody else, by header, in the order of [`Claim::ALL`].
    pub(super) named: [u32; Claim::ALL.len()],
    /// A bit for each of those whom it named, or else for each user agent, by their hashes.
    voices: u64,
}

impl Peer {
    /// Requests that named somebody else, in whatever header.
    pub(super) fn named(&self) -> u32 {
        self.named.iter().fold(0, |sum, named| sum.saturating_add(*named))
    }

    /// How many different ones speak through it; no more than 64.
    pub(super) const fn voices(&self) -> u32 {
        self.voices.count_ones()
    }
}

impl Peers {
    /// Counts a request; none where it is known who its client is, as a trusted proxy names him.
    pub fn count(&mut self, sent: Option<Sent<'_>>) {
        self.requests = self.requests.saturating_add(1);
        let Some(Sent { peer, named, agent }) = sent else { return };
        let is_local = peer.is_local();
        let bits = match peer.ip() {
            _ if is_local => u8::MAX,
            std::net::IpAddr::V4(_) => PUBLIC_V4_BITS,
            std::net::IpAddr::V6(_) => PUBLIC_V6_BITS,
        };
        // Ordinary visitors, who name nobody, take no entry from those who do.
        let makes_entry = is_local || named.is_some();
        let Some(peer) = self.entry(peer.prefix(bits), is_local, makes_entry) else { return };
        peer.requests = peer.requests.saturating_add(1);
        let voice = match (named, agent) {
            (Some((_, client)), _) => Some(hash(&client.client_key().to_le_bytes())),
            (None, Some(agent)) if is_local => Some(hash(agent)),
            _ => None,
        };
        peer.voices |= voice.map_or(0, |voice| 1 << (voice % 64));
        for (known, count) in Claim::ALL.into_iter().zip(&mut peer.named) {
            *count = count.saturating_add(u32::from(named.is_some_and(|(claim, _)| claim == known)));
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        for other in other.peers.iter().flatten() {
            let Some(peer) = self.entry(other.network, other.is_local, true) else { continue };
            peer.requests = peer.requests.saturating_add(other.requests);
            peer.voices |= other.voices;
            for (count, other) in peer.named.iter_mut().zip(other.named) {
                *count = count.saturating_add(other);
            }
        }
    }

    /// All requests.
    pub const fn requests(&self) -> u32 {
        self.requests
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().flatten()
    }

    /// The entry of a peer; a new one where there is room, if it may be made.
    fn entry(&mut self, network: IpNet, is_local: bool, may_make: bool) -> Option<&mut Peer> {
        let is_its = |entry: &Option<Peer>| entry.is_none_or(|entry| entry.network == network);
        let entry = self.peers.iter_mut().find(|entry| is_its(entry))?;
        if entry.is_none() && !may_make {
            return None;
        }
        let none = Peer { network, is_local, requests: 0, named: [0; Claim::ALL.len()], voices: 0 };
        Some(entry.get_or_insert(none))
    }
}

/// Whoever chose values that collide would only be counted as fewer.
fn hash(value: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(value);
    hasher.finish()
}

/// The requests of the last minute by who sent them.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecentPeers {
    spans: [Span; SPANS],
    /// Which span of all time the newest is.
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    peers: Peers,
    /// When its first and its last request came.
    from: Option<Timestamp>,
    to: Timestamp,
}

impl RecentPeers {
    /// Counts a request; see [`Peers::count`].
    pub fn count(&mut self, now: Timestamp, sent: Option<Sent<'_>>) {
        self.span(now).peers.count(sent);
    }

    /// Adds requests that were counted elsewhere just now.
    pub fn add(&mut self, now: Timestamp, peers: &Peers) {
        if peers.requests() > 0 {
            self.span(now).peers.add(peers);
        }
    }

    /// All of them, and over how long they came.
    pub(super) fn sum(&self, now: Timestamp) -> (Peers, Duration) {
        let oldest = number(now).saturating_sub(SPANS as u64 - 1);
        let (mut sum, mut from, mut to) = (Peers::default(), None::<Timestamp>, Timestamp::EPOCH);
        for (index, span) in self.spans.iter().enumerate() {
            // Nothing may have come since, so that what is too old still lies there.
            let age = (self.newest + SPANS as u64 - index as u64) % SPANS as u64;
            let Some(first) = span.from.filter(|_| self.newest.saturating_sub(age) >= oldest) else { continue };
            sum.add(&span.peers);
            from = Some(from.map_or(first, |from| from.min(first)));
            to = to.max(span.to);
        }
        (sum, from.map_or(Duration::ZERO, |from| to.since(from)))
    }

    /// The span of this moment, for one request more.
    fn span(&mut self, now: Timestamp) -> &mut Span {
        // A clock that steps back a little counts where it was.
        let number = number(now).max(self.newest);
        let passed = (number - self.newest).min(SPANS as u64);
        for back in 0..passed {
            self.spans[(number - back) as usize % SPANS] = Span::default();
        }
        self.newest = number;
        let span = &mut self.spans[number as usize % SPANS];
        span.from.get_or_insert(now);
        span.to = span.to.max(now);
        span
    }
}

const fn number(at: Timestamp) -> u64 {
    at.as_seconds() / SPAN.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn sent(peer: &str, named: Option<&str>) -> Option<Sent<'static>> {
        let address = |text: &str| ClientAddress::new(text.parse().expect("an address"));
        let named = named.map(|named| (Claim::XForwardedFor, address(named)));
        Some(Sent { peer: address(peer), named, agent: Some(b"curl/8.5.0") })
    }

    #[test]
    fn visitors_take_no_entry_from_those_who_name_others() {
        let mut peers = Peers::default();
        for visitor in 0..200 {
            peers.count(sent(&format!("198.51.{visitor}.1"), None));
        }
        assert_eq!((peers.requests(), peers.peers().count()), (200, 0));
        for number in 0..200 {
            peers.count(sent(&format!("10.0.0.{number}"), None));
            peers.count(sent(&format!("203.{number}.113.{number}"), Some("192.0.2.1")));
        }
        assert_eq!((peers.requests(), peers.peers().count()), (600, PEERS_MAX));
    }

    #[test]
    fn public_peers_are_counted_by_network_and_local_ones_by_address() {
        let mut peers = Peers::default();
        peers.count(sent("203.0.113.1", Some("192.0.2.1")));
        peers.count(sent("203.0.2.1", Some("192.0.2.2")));
        // It names nobody, and is of a network that does.
        peers.count(sent("203.0.9.1", None));
        peers.count(sent("10.0.0.1", None));
        peers.count(sent("10.0.0.2", Some("192.0.2.2")));
        peers.count(None);
        let mut sum = Peers::default();
        sum.add(&peers);
        sum.add(&peers);
        let seen: Vec<_> =
            sum.peers().map(|peer| (peer.is_local, peer.requests, peer.named(), peer.voices())).collect();
        assert_eq!(seen, [(false, 6, 4, 2), (true, 2, 0, 1), (true, 2, 2, 1)]);
        assert_eq!(sum.requests(), 12);
    }

    #[test]
    fn what_is_older_than_a_minute_is_forgotten() {
        let mut recent = RecentPeers::default();
        for second in 0..600 {
            let now = START + Duration::from_secs(second);
            recent.count(now, sent("127.0.0.1", None));
            let (sum, over) = recent.sum(now);
            let expected = (second + 1).min(60);
            assert!((expected.saturating_sub(15)..=expected).contains(&u64::from(sum.requests())), "{second}");
            assert_eq!(over.as_secs() + 1, u64::from(sum.requests()));
        }
        for (second, left) in [(599, 45..=60), (630, 15..=30), (700, 0..=0)] {
            let (sum, _) = recent.sum(START + Duration::from_secs(second));
            assert!(left.contains(&sum.requests()), "{second}: {}", sum.requests());
        }
        recent.count(START + Duration::from_secs(10_000), None);
        assert_eq!(recent.sum(START + Duration::from_secs(10_000)).0.requests(), 1);
    }
}
