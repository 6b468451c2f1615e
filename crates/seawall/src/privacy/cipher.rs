//! Pseudonyms under one key: ipcrypt (draft-denis-ipcrypt), which makes another address of an address.

use std::net::IpAddr;

use ipcrypt_rs::{Ipcrypt, IpcryptPfx};
use seawall_engine::address::ClientAddress;

use super::DayKey;
use super::keys::Purpose;

/// How pseudonyms are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Any address becomes an IPv6 address that tells nothing but that it is the same one again (`ipcrypt-deterministic`).
    Deterministic,
    /// Addresses that begin with the same bits become addresses that do, too, each of its own family, so that networks stay
    /// together (`ipcrypt-pfx`).
    PrefixPreserving,
}

/// Makes pseudonyms under one key.
pub struct Cipher(Kind);

enum Kind {
    Deterministic(Box<Ipcrypt>),
    PrefixPreserving(Box<IpcryptPfx>),
}

impl Cipher {
    /// The cipher under the key of a day.
    pub fn new(key: &DayKey, scheme: Scheme) -> Self {
        Self(match scheme {
            Scheme::Deterministic => Kind::Deterministic(Box::new(Ipcrypt::new(key.derive(Purpose::Pseudonym, 0)))),
            Scheme::PrefixPreserving => {
                // It needs two keys that differ, which different blocks under one key always are.
                let (mut keys, second) = ([0; IpcryptPfx::KEY_BYTES], key.derive(Purpose::Networks, 1));
                let (one, other) = keys.split_at_mut(second.len());
                one.copy_from_slice(&key.derive(Purpose::Networks, 0));
                other.copy_from_slice(&second);
                Kind::PrefixPreserving(Box::new(IpcryptPfx::new(keys)))
            }
        })
    }

    /// The pseudonym of an address.
    pub fn pseudonym(&self, address: ClientAddress) -> IpAddr {
        match &self.0 {
            Kind::Deterministic(cipher) => cipher.encrypt_ipaddr(address.ip()),
            Kind::PrefixPreserving(cipher) => cipher.encrypt_ipaddr(address.ip()),
        }
    }

    /// The address that a pseudonym under the same key stands for; some other address, if the key was another.
    pub fn reveal(&self, pseudonym: IpAddr) -> ClientAddress {
        ClientAddress::new(match &self.0 {
            Kind::Deterministic(cipher) => cipher.decrypt_ipaddr(pseudonym),
            Kind::PrefixPreserving(cipher) => cipher.decrypt_ipaddr(pseudonym),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::privacy::KeyStore;

    fn key() -> DayKey {
        let day = "2024-05-17".parse().expect("a day");
        KeyStore::open(std::path::Path::new("unused"), 0).and_then(|keys| keys.key(day, day)).expect("a key")
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(|bytes| IpAddr::from(bytes).to_canonical())
        ]
    }

    /// How many bits two addresses of one family have in common at their beginning.
    fn common_bits(one: IpAddr, other: IpAddr) -> u32 {
        match (one, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => panic!("of two families"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_same_address_has_the_same_pseudonym_under_a_key_and_another_under_another(address in any_address()) {
            let address = ClientAddress::new(address);
            for scheme in [Scheme::Deterministic, Scheme::PrefixPreserving] {
                let (one, other) = (key(), key());
                let pseudonym = Cipher::new(&one, scheme).pseudonym(address);
                prop_assert_eq!(pseudonym, Cipher::new(&one, scheme).pseudonym(address));
                prop_assert_eq!(Cipher::new(&one, scheme).reveal(pseudonym), address);
                // That 32 bits are the same by chance is possible for IPv4; not four times.
                let others = [other, key(), key(), key()].map(|key| Cipher::new(&key, scheme).pseudonym(address));
                prop_assert!(others.iter().any(|other| *other != pseudonym));
            }
        }

        #[test]
        fn networks_stay_together(bytes in any::<[u8; 16]>(), bit in 0_u32..128) {
            let cipher = Cipher::new(&key(), Scheme::PrefixPreserving);
            let bits = u128::from_be_bytes(bytes);
            let v6 = [bits, bits ^ (1 << bit)].map(std::net::Ipv6Addr::from_bits);
            let v4 = [bits as u32, bits as u32 ^ (1 << (bit % 32))].map(std::net::Ipv4Addr::from_bits);
            for [one, other] in [v6.map(IpAddr::V6), v4.map(IpAddr::V4)] {
                if one.to_canonical() != one || other.to_canonical() != other {
                    continue;
                }
                let [first, second] = [one, other].map(|address| cipher.pseudonym(ClientAddress::new(address)));
                // An IPv6 address that comes out as one that stands for IPv4 is shown as that.
                if first.is_ipv4() == one.is_ipv4() && second.is_ipv4() == one.is_ipv4() {
                    prop_assert_eq!(common_bits(first, second), common_bits(one, other));
                }
            }
        }
    }

    #[test]
    fn both_ways_to_write_an_ipv4_address_have_one_pseudonym() {
        let key = key();
        let address = |text: &str| ClientAddress::new(text.parse().expect("an address"));
        for scheme in [Scheme::Deterministic, Scheme::PrefixPreserving] {
            let cipher = Cipher::new(&key, scheme);
            assert_eq!(cipher.pseudonym(address("192.0.2.1")), cipher.pseudonym(address("::ffff:192.0.2.1")));
            assert_ne!(cipher.pseudonym(address("192.0.2.1")), cipher.pseudonym(address("192.0.2.2")));
        }
        assert!(Cipher::new(&key, Scheme::PrefixPreserving).pseudonym(address("192.0.2.1")).is_ipv4());
    }
}
