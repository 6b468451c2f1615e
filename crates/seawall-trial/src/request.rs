//! One request with its label.

use std::net::IpAddr;
use std::time::Duration;

use seawall_engine::observation::{Request, Version};

/// One request with its label, and what the site would say.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Whether it is from someone the site is for.
    pub wanted: bool,
    /// Who sends it.
    pub client: IpAddr,
    /// The method.
    pub method: String,
    /// The host.
    pub host: String,
    /// The path.
    pub path: String,
    /// The query.
    pub query: Option<String>,
    /// The user agent.
    pub user_agent: Option<String>,
    /// The referer.
    pub referer: Option<String>,
    /// The order of its headers; `None` where the guard would not see it, as in a log.
    pub header_order: Option<&'static str>,
    /// Bytes of the answer.
    pub bytes: u64,
    /// How long the site works on it.
    pub upstream: Duration,
    /// How long the client takes over the answer after that.
    pub taking: Duration,
    /// The status of the answer.
    pub status: u16,
    /// Whether the host is not one of the site's.
    pub misdirected: bool,
}

impl Sent {
    /// A GET without label, from whoever has this user agent.
    pub fn get(client: IpAddr, path: impl Into<String>, user_agent: impl Into<String>) -> Self {
        let user_agent = user_agent.into();
        Self {
            wanted: false,
            client,
            method: "GET".to_owned(),
            host: "example.org".to_owned(),
            path: path.into(),
            query: None,
            header_order: Some(header_order(&user_agent)),
            user_agent: Some(user_agent),
            referer: None,
            bytes: 8_000,
            upstream: Duration::from_millis(4),
            taking: Duration::ZERO,
            status: 200,
            misdirected: false,
        }
    }

    /// As the engine sees it.
    pub fn request(&self) -> Request<'_> {
        let network = network(self.client);
        Request {
            method: self.method.as_bytes(),
            host: self.host.as_bytes(),
            path: self.path.as_bytes(),
            query: self.query.as_deref().map(str::as_bytes),
            version: Version::Http11,
            user_agent: self.user_agent.as_deref().map(str::as_bytes),
            referer: self.referer.as_deref().map(str::as_bytes),
            header_order: self.header_order.map(str::as_bytes),
            ja4: None,
            country: Some(network.0),
            asn: Some(network.1),
        }
    }
}

/// The order in which programs write headers, by what they call themselves.
fn header_order(user_agent: &str) -> &'static str {
    let orders = [
        (
            "Chrome/",
            "host connection sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform user-agent accept accept-encoding \
             accept-language",
        ),
        ("Firefox/", "host user-agent accept accept-language accept-encoding connection"),
        ("Safari/", "host connection accept user-agent accept-language accept-encoding"),
        ("bot", "host accept from user-agent accept-encoding connection"),
        ("curl/", "host user-agent accept"),
    ];
    let found = orders.into_iter().find(|(mark, _)| user_agent.contains(mark));
    found.map_or("host user-agent accept-encoding accept connection", |(_, order)| order)
}

/// Country and autonomous system of an address: a made-up world in which each /16 is a provider's, and every eighth of
/// the address space a country's.
fn network(client: IpAddr) -> ([u8; 2], u32) {
    const COUNTRIES: [[u8; 2]; 8] = [*b"US", *b"DE", *b"BR", *b"IN", *b"CN", *b"FR", *b"NL", *b"JP"];
    let high = match client {
        IpAddr::V4(ip) => ip.to_bits() >> 16,
        IpAddr::V6(ip) => (ip.to_bits() >> 96) as u32,
    };
    (COUNTRIES[(high.wrapping_mul(0x9e37_79b1) >> 29) as usize], 64_512 + high % 1023)
}
