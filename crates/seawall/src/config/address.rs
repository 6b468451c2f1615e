//! Socket addresses and networks as people write them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::kind::Text;

/// An address and port to listen on.
pub(super) struct SocketAddress;

impl Text for SocketAddress {
    type Value = SocketAddr;
    const NAME: &'static str = "address with port";
    const EXAMPLE: &'static str = "\"127.0.0.1:8080\"";

    fn parse(&self, text: &str) -> Result<SocketAddr, String> {
        if text.contains('%') {
            return Err(
                "an IPv6 zone, which is not supported; listen on an address without zone, or on [::]".to_owned()
            );
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address);
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        // `::1:80` is an address too, and hardly ever meant as one.
        if let (Ok(ip), Ok(port)) = (host.parse::<Ipv6Addr>(), port.parse::<u16>()) {
            return Err(format!("an IPv6 address without brackets; write \"[{ip}]:{port}\""));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Err(format!("which lacks a port; write, for example, \"{}\"", SocketAddr::new(ip, 8080)));
        }
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match (host, port.parse::<u16>()) {
            ("" | "*", Ok(port)) => Err(format!(
                "which names no address; write \"127.0.0.1:{port}\" for this machine alone, \"0.0.0.0:{port}\" or \"[::]:{port}\" for all"
            )),
            (_, Err(_)) if is_number => Err("whose port is larger than 65535".to_owned()),
            ("localhost", Ok(port)) => Err(format!("which is a name; write \"127.0.0.1:{port}\"")),
            (_, Ok(port)) => {
                Err(format!("which is no IP address with a port; write, for example, \"127.0.0.1:{port}\""))
            }
            (_, Err(_)) => Err(format!("which is no IP address with a port; write, for example, {}", Self::EXAMPLE)),
        }
    }

    fn show_text(&self, value: &SocketAddr) -> String {
        value.to_string()
    }
}

/// A network, or one address.
pub(super) struct Network;

impl Text for Network {
    type Value = IpNet;
    const NAME: &'static str = "network";
    const EXAMPLE: &'static str = "\"192.0.2.0/24\"";

    fn parse(&self, text: &str) -> Result<IpNet, String> {
        if text.contains('%') {
            return Err("an IPv6 zone, which is not supported; write the network without it".to_owned());
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(IpNet::from(ip.to_canonical()));
        }
        let Ok(network) = text.parse::<IpNet>() else {
            let length_max = text.split_once('/').and_then(|(ip, length)| {
                let ip: IpAddr = ip.parse().ok()?;
                length.parse::<u32>().ok()?;
                Some(if ip.is_ipv4() { 32 } else { 128 })
            });
            return Err(match length_max {
                Some(length_max) => format!("whose length is larger than {length_max}"),
                None => "which is no network; write an address, or one with a length, such as \"192.0.2.0/24\" or \"2001:db8::/32\""
                    .to_owned(),
            });
        };
        if network != network.trunc() {
            return Err(format!("which has bits beyond its length; write \"{}\"", network.trunc()));
        }
        Ok(canonical(network))
    }

    fn show_text(&self, value: &IpNet) -> String {
        value.to_string()
    }
}

/// Networks of IPv4-mapped IPv6 addresses as the IPv4 networks that they stand for, as client addresses are.
fn canonical(network: IpNet) -> IpNet {
    let IpAddr::V6(ip) = network.network() else { return network };
    let mapped = ip.to_ipv4_mapped().zip(network.prefix_len().checked_sub(96));
    let mapped = mapped.and_then(|(ip, length)| Ipv4Net::new(ip, length).ok());
    mapped.map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_in_canonical_form() {
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("::1", "::1/128"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(Network.parse(text).map(|network| network.to_string()).as_deref(), Ok(expected));
        }
        for (text, expected) in [
            ("10.0.0.1/8", "write \"10.0.0.0/8\""),
            ("10.0.0.0/33", "larger than 32"),
            ("2001:db8::/129", "larger than 128"),
            ("fe80::1%eth0", "zone"),
            ("example.org", "no network"),
            ("", "no network"),
        ] {
            let message = Network.parse(text).expect_err(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn socket_addresses_that_are_none_say_what_would_be() {
        assert_eq!(SocketAddress.parse("[::1]:8080"), Ok("[::1]:8080".parse().expect("a test address")));
        for (text, expected) in [
            ("127.0.0.1", "lacks a port; write, for example, \"127.0.0.1:8080\""),
            (":80", "\"0.0.0.0:80\""),
            ("8080", "\"0.0.0.0:8080\""),
            ("localhost:80", "write \"127.0.0.1:80\""),
            ("::1:80", "write \"[::1]:80\""),
            ("::1", "write, for example, \"[::1]:8080\""),
            ("127.0.0.1:99999", "larger than 65535"),
            ("[fe80::1%eth0]:80", "zone"),
            ("example.org:80", "no IP address"),
            ("unix:/run/seawall.sock", "no IP address"),
            ("", "no IP address"),
        ] {
            let message = SocketAddress.parse(text).expect_err(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
