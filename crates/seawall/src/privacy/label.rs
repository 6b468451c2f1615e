//! Pseudonyms of banned clients and networks as they are shown, and as operators type them: `client-9f03ab71`, `network-9f03ab00/24`.
//! They hold for a day. No address looks like that, so that nobody takes one for an address and has a packet filter drop a stranger.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use seawall_engine::address::ClientAddress;
use seawall_engine::decision::{ban_network, client_network};

use super::{Cipher, DayKey, Scheme};

const CLIENT: &str = "client-";
const NETWORK: &str = "network-";

/// Hexadecimal digits of an IPv4 address, and of the half of an IPv6 address by which clients are told apart.
const IPV4_DIGITS: usize = 8;
const IPV6_DIGITS: usize = 16;

/// Makes labels under the key of a day, and tells whom they mean.
pub struct Labels {
    /// It keeps networks together: what a network's label has of a pseudonym can be turned back, whatever comes behind it.
    cipher: Cipher,
}

impl Labels {
    /// The labels of a day.
    pub fn new(key: &DayKey) -> Self {
        Self { cipher: Cipher::new(key, Scheme::PrefixPreserving) }
    }

    /// The label of a network, as it is banned: the same part of the pseudonym of its first address.
    pub fn of(&self, network: IpNet) -> String {
        let network = ban_network(network);
        let (address, length) = (ClientAddress::new(network.addr()), network.prefix_len());
        let digits = match ClientAddress::new(self.cipher.pseudonym(address)).prefix(length).addr() {
            IpAddr::V4(part) => format!("{:0IPV4_DIGITS$x}", part.to_bits()),
            IpAddr::V6(part) => format!("{:0IPV6_DIGITS$x}", part.to_bits() >> 64),
        };
        if client_network(address) == network {
            format!("{CLIENT}{digits}")
        } else {
            format!("{NETWORK}{digits}/{length}")
        }
    }

    /// The network that a label of the same day means; none when it is no label.
    pub fn network(&self, label: &str) -> Option<IpNet> {
        let (digits, length) = match label.strip_prefix(CLIENT) {
            Some(digits) => (digits, None),
            None => {
                let (digits, length) = label.strip_prefix(NETWORK)?.split_once('/')?;
                (digits, Some(length.parse::<u8>().ok()?))
            }
        };
        let bits = u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
        let part: IpAddr = match digits.len() {
            IPV4_DIGITS => Ipv4Addr::from_bits(u32::try_from(bits).ok()?).into(),
            IPV6_DIGITS => Ipv6Addr::from_bits(u128::from(bits) << 64).into(),
            _ => return None,
        };
        let address = self.cipher.reveal(part);
        Some(length.map_or_else(|| client_network(address), |length| ban_network(address.prefix(length))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::privacy::{Day, KeyStore};

    fn labels() -> Labels {
        let day: Day = "2024-05-17".parse().expect("a day");
        let key = KeyStore::open(std::path::Path::new("unused"), 0).and_then(|keys| keys.key(day, day));
        Labels::new(&key.expect("a key"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_label_means_its_network_and_is_no_address(bits in any::<u128>(), length in 0_u8..=64) {
            let labels = labels();
            let v4 = IpAddr::V4(Ipv4Addr::from_bits(bits as u32));
            let v6 = IpAddr::V6(Ipv6Addr::from_bits(bits | 1 << 127));
            for (address, length) in [(v4, length.min(32)), (v4, 32), (v6, length), (v6, 64)] {
                let network = ClientAddress::new(address).prefix(length);
                let label = labels.of(network);
                prop_assert_eq!(labels.network(&label), Some(network), "{}", label);
                prop_assert!(label.parse::<IpAddr>().is_err() && label.parse::<IpNet>().is_err());
            }
        }
    }

    #[test]
    fn what_is_no_label_means_nobody() {
        let labels = labels();
        for text in [
            "",
            "client-",
            "client-+9f03ab7",
            "client-9f03ab7",
            "client-9f03ab7g",
            "network-9f03ab71",
            "network-9f03ab71/x",
            "9f03ab71",
            "192.0.2.1",
        ] {
            assert_eq!(labels.network(text), None, "{text}");
        }
        let looks = |network: &str| {
            let label = labels.of(network.parse().expect("a network"));
            let start = label.find('-').expect("a word before it") + 1;
            let digits = label[start..].bytes().take_while(u8::is_ascii_hexdigit).count();
            (label[..start].to_owned(), digits, label[start + digits..].to_owned())
        };
        let like = |word: &str, digits, length: &str| (word.to_owned(), digits, length.to_owned());
        assert_eq!(looks("192.0.2.1/32"), like("client-", 8, ""));
        assert_eq!(looks("192.0.2.0/24"), like("network-", 8, "/24"));
        assert_eq!(looks("2001:db8::/64"), like("client-", 16, ""));
        assert_eq!(looks("2001:db8::7/128"), like("client-", 16, ""));
        assert_eq!(looks("2001:db8::/32"), like("network-", 16, "/32"));
    }
}
