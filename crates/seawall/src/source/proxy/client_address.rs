//! Who the client is when the connection comes from a trusted proxy.
//!
//! A header is believed only when the peer is trusted, and a list of addresses is read from the right, past further
//! trusted proxies: whatever stands further left was written by the client.

use std::net::{IpAddr, SocketAddr};

use seawall_engine::address::{AddressSet, ClientAddress};
use seawall_engine::silence::Claim;

use crate::config::ClientAddressSource;

/// The client that a trusted proxy names in its headers; `None` when it names none, or nothing that can be read.
/// `values` gives the values of the headers of a name, in the order sent.
pub(in crate::source) fn from_headers<'a, I>(
    source: ClientAddressSource,
    trusted: &AddressSet,
    values: impl FnOnce(&'static str) -> I,
) -> Option<ClientAddress>
where
    I: DoubleEndedIterator<Item = &'a [u8]>,
{
    match source {
        ClientAddressSource::XForwardedFor => {
            let entries = values("x-forwarded-for").rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
            first_untrusted(entries.map(address), trusted)
        }
        ClientAddressSource::Forwarded => {
            let elements = values("forwarded").rev().flat_map(|value| {
                let mut elements: Vec<&[u8]> = split_outside_quotes(value, b',').collect();
                elements.reverse();
                elements
            });
            first_untrusted(elements.map(|element| forwarded_for(element).and_then(address)), trusted)
        }
        ClientAddressSource::CfConnectingIp => values("cf-connecting-ip").next_back().and_then(address),
        ClientAddressSource::FastlyClientIp => values("fastly-client-ip").next_back().and_then(address),
        ClientAddressSource::ProxyProtocol => None,
    }
}

/// Whom a peer that nobody trusts names as its client, if that is somebody else with a public address. It is not believed: only that it
/// is said counts. `values` gives the values of the headers of a name.
pub(super) fn claimed<'a, I>(peer: ClientAddress, values: impl Fn(&'static str) -> I) -> Option<(Claim, ClientAddress)>
where
    I: Iterator<Item = &'a [u8]>,
{
    // What a proxy next to the guard sets itself counts before what it may pass on; a CDN sets its own beside the usual one.
    let usual = [Claim::XForwardedFor, Claim::Forwarded, Claim::CfConnectingIp, Claim::FastlyClientIp, Claim::XRealIp];
    let of_cdn = [Claim::CfConnectingIp, Claim::FastlyClientIp, Claim::XForwardedFor, Claim::Forwarded, Claim::XRealIp];
    let order = if peer.is_local() { usual } else { of_cdn };
    order.into_iter().find_map(|claim| {
        let client = match claim {
            Claim::XForwardedFor => claimed_in_list(peer, values("x-forwarded-for")),
            Claim::Forwarded => {
                let elements = values("forwarded").flat_map(|value| split_outside_quotes(value, b','));
                other_client(peer, elements.filter_map(|element| forwarded_for(element).and_then(address)))
            }
            Claim::CfConnectingIp => claimed_in_list(peer, values("cf-connecting-ip")),
            Claim::FastlyClientIp => claimed_in_list(peer, values("fastly-client-ip")),
            Claim::XRealIp => claimed_in_list(peer, values("x-real-ip")),
        };
        Some((claim, client?))
    })
}

/// The same for one list of addresses, as `X-Forwarded-For` has it.
pub(in crate::source) fn claimed_in_list<'a>(
    peer: ClientAddress,
    values: impl Iterator<Item = &'a [u8]>,
) -> Option<ClientAddress> {
    other_client(peer, values.flat_map(|value| value.split(|byte| *byte == b',')).filter_map(address))
}

/// The first with a public address. None where a public peer is named itself: it is the client, and the server in between has put it into
/// its proxy's place. Local ones may be several on one machine.
fn other_client(peer: ClientAddress, mut named: impl Iterator<Item = ClientAddress>) -> Option<ClientAddress> {
    let client = named.find(|client| !client.is_local())?;
    (client != peer && named.all(|client| client != peer || peer.is_local())).then_some(client)
}

/// What a PROXY protocol header at the start of a connection says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProxyHeader {
    /// More bytes are needed.
    Partial,
    /// The header has this length and names this client; none for health checks (`LOCAL`, `UNKNOWN`).
    Complete(usize, Option<ClientAddress>),
    /// There is no such header.
    Invalid,
}

/// Reads a PROXY protocol header, version 1 or 2.
pub(super) fn proxy_header(buffer: &[u8]) -> ProxyHeader {
    use ppp::{HeaderResult, PartialResult, v1, v2};
    let parsed = HeaderResult::parse(buffer);
    if parsed.is_incomplete() {
        return ProxyHeader::Partial;
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => {
            let client = match header.addresses {
                v1::Addresses::Tcp4(addresses) => Some(IpAddr::V4(addresses.source_address)),
                v1::Addresses::Tcp6(addresses) => Some(IpAddr::V6(addresses.source_address)),
                v1::Addresses::Unknown => None,
            };
            ProxyHeader::Complete(header.header.len(), client.map(ClientAddress::new))
        }
        HeaderResult::V2(Ok(header)) => {
            let client = match header.addresses {
                _ if header.command == v2::Command::Local => None,
                v2::Addresses::IPv4(addresses) => Some(IpAddr::V4(addresses.source_address)),
                v2::Addresses::IPv6(addresses) => Some(IpAddr::V6(addresses.source_address)),
                v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
            };
            ProxyHeader::Complete(header.len(), client.map(ClientAddress::new))
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => ProxyHeader::Invalid,
    }
}

/// The first entry that is no trusted proxy; the last one when all are. An entry that cannot be read ends the search:
/// nothing left of it can be believed.
fn first_untrusted(
    entries: impl Iterator<Item = Option<ClientAddress>>,
    trusted: &AddressSet,
) -> Option<ClientAddress> {
    let mut last = None;
    for entry in entries {
        last = Some(entry?);
        if last.is_some_and(|client| !trusted.contains(client)) {
            break;
        }
    }
    last
}

/// An address as proxies write it: bare, with a port, or in brackets with or without a port.
fn address(text: &[u8]) -> Option<ClientAddress> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(ClientAddress::new)
}

/// The value of `for=` in one element of a Forwarded header (RFC 7239), without its quotes.
fn forwarded_for(element: &[u8]) -> Option<&[u8]> {
    let pairs = split_outside_quotes(element, b';').map(<[u8]>::trim_ascii);
    let value =
        pairs.filter_map(|pair| pair.split_at_checked(4)).find(|(name, _)| name.eq_ignore_ascii_case(b"for="))?.1;
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// Splits at a separator that does not stand in a quoted string.
fn split_outside_quotes(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |byte| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'\\' if quoted && !was_escaped => escaped = true,
            b'"' if !was_escaped => quoted = !quoted,
            _ => {}
        }
        *byte == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Option<ClientAddress> {
        Some(ClientAddress::new(text.parse().expect("a test address")))
    }

    fn check(source: ClientAddressSource, headers: &[&str], expected: Option<ClientAddress>) {
        let trusted = AddressSet::new(["10.0.0.0/8", "2001:db8:cd::/48"].map(|net| net.parse().expect("a network")));
        let values: Vec<&[u8]> = headers.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(from_headers(source, &trusted, |_| values.into_iter()), expected, "{headers:?}");
    }

    #[test]
    fn forwarded_lists_are_read_from_the_right_past_trusted_proxies() {
        let source = ClientAddressSource::XForwardedFor;
        check(source, &["192.0.2.1"], client("192.0.2.1"));
        check(source, &["203.0.113.9, 192.0.2.1, 10.0.0.7"], client("192.0.2.1"));
        check(source, &["203.0.113.9", "192.0.2.1", "10.0.0.7,10.0.0.8"], client("192.0.2.1"));
        check(source, &["10.0.0.7"], client("10.0.0.7"));
        check(source, &["192.0.2.1:4711"], client("192.0.2.1"));
        check(source, &["[2001:db8::1]:4711, 2001:db8:cd::2"], client("2001:db8::1"));
        check(source, &["::ffff:192.0.2.1"], client("192.0.2.1"));
        check(source, &["192.0.2.1, unknown, 10.0.0.7"], None);
        check(source, &["", ""], None);
        check(source, &[], None);
    }

    #[test]
    fn the_standard_header_is_read_with_its_quotes() {
        let source = ClientAddressSource::Forwarded;
        check(source, &["for=192.0.2.1"], client("192.0.2.1"));
        check(source, &["for=203.0.113.9, For=\"[2001:db8::1]:4711\";proto=https;by=10.0.0.1"], client("2001:db8::1"));
        check(source, &["by=\"a,for=203.0.113.9\";for=192.0.2.1, for=10.0.0.2"], client("192.0.2.1"));
        check(source, &["for=_hidden, for=10.0.0.2"], None);
        check(source, &["proto=https"], None);
    }

    #[test]
    fn single_address_headers_take_the_last_value() {
        check(ClientAddressSource::CfConnectingIp, &["203.0.113.9", "192.0.2.1"], client("192.0.2.1"));
        check(ClientAddressSource::FastlyClientIp, &["2001:db8::1"], client("2001:db8::1"));
        check(ClientAddressSource::FastlyClientIp, &["nonsense"], None);
    }

    #[test]
    fn who_is_named_by_somebody_who_is_not_trusted_is_somebody_else_with_a_public_address() {
        let local = "127.0.0.1";
        let public = "192.0.2.77";
        for (peer, headers, expected) in [
            (local, &[("x-forwarded-for", "203.0.113.9")][..], Some((Claim::XForwardedFor, "203.0.113.9"))),
            (local, &[("x-forwarded-for", "203.0.113.9, 10.0.0.7")], Some((Claim::XForwardedFor, "203.0.113.9"))),
            (local, &[("x-forwarded-for", "203.0.113.9, 127.0.0.1")], Some((Claim::XForwardedFor, "203.0.113.9"))),
            (local, &[("x-forwarded-for", "10.0.0.7, unknown")], None),
            (local, &[("forwarded", "for=\"[2001:db8::1]:80\";by=10.0.0.1")], Some((Claim::Forwarded, "2001:db8::1"))),
            (
                local,
                &[("x-real-ip", "203.0.113.9"), ("forwarded", "for=_hidden")],
                Some((Claim::XRealIp, "203.0.113.9")),
            ),
            (public, &[("x-forwarded-for", "192.0.2.77")], None),
            (public, &[("x-forwarded-for", "203.0.113.9, 192.0.2.77")], None),
            (public, &[("x-forwarded-for", "203.0.113.9")], Some((Claim::XForwardedFor, "203.0.113.9"))),
            (local, &[], None),
        ] {
            let values =
                |name| headers.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_bytes());
            let found = claimed(client(peer).expect("an address"), values);
            assert_eq!(found, expected.and_then(|(claim, named)| Some((claim, client(named)?))), "{headers:?}");
        }
        // Cloudflare sets both, and what is next to the guard may pass on what it has not set.
        let both = |name| {
            (name != "x-real-ip").then_some(&b"203.0.113.9"[..]).into_iter().filter(move |_| name != "forwarded")
        };
        let claim = |peer| claimed(client(peer).expect("an address"), both).map(|(claim, _)| claim);
        assert_eq!((claim(local), claim(public)), (Some(Claim::XForwardedFor), Some(Claim::CfConnectingIp)));
    }

    #[test]
    fn proxy_protocol_of_both_versions() {
        let text = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\nGET / HTTP/1.1\r\n";
        assert_eq!(proxy_header(text), ProxyHeader::Complete(40, client("192.0.2.1")));
        assert_eq!(proxy_header(&text[..20]), ProxyHeader::Partial);
        assert_eq!(proxy_header(b"PROXY UNKNOWN\r\n"), ProxyHeader::Complete(15, None));
        let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x12\x67\0\x50rest";
        assert_eq!(proxy_header(binary), ProxyHeader::Complete(28, client("192.0.2.1")));
        assert_eq!(proxy_header(&binary[..17]), ProxyHeader::Partial);
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        assert_eq!(proxy_header(local), ProxyHeader::Complete(16, None));
        assert_eq!(proxy_header(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ProxyHeader::Invalid);
    }
}
