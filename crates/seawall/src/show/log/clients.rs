//! What clients are called in a report: pseudonyms, unless the operator asked for addresses.
//!
//! A pseudonym is a keyed hash. The key is drawn for each run and kept nowhere, so that a pseudonym cannot be turned back
//! by trying all addresses, and those of two reports cannot be compared.

use std::hash::Hasher as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use seawall_engine::observation::log::addresses;
use siphasher::sip::SipHasher24;

/// Names clients.
pub struct Clients {
    names: Names,
}

enum Names {
    Pseudonyms(SipHasher24),
    Addresses,
}

impl Clients {
    /// Names clients by pseudonyms under this key.
    pub fn by_pseudonym(key: &[u8; 16]) -> Self {
        Self { names: Names::Pseudonyms(SipHasher24::new_with_key(key)) }
    }

    /// Names clients by their addresses.
    pub fn by_address() -> Self {
        Self { names: Names::Addresses }
    }

    /// Whether addresses are shown.
    pub(in crate::show) fn shows_addresses(&self) -> bool {
        matches!(self.names, Names::Addresses)
    }

    /// The name of the client with this [`ClientAddress::client_key`].
    pub(in crate::show) fn label(&self, client_key: u128) -> String {
        match &self.names {
            Names::Pseudonyms(hasher) => {
                let mut hasher = *hasher;
                hasher.write(&client_key.to_be_bytes());
                // 40 bits: of the few rows that are shown, no two will have the same.
                format!("client-{:010x}", hasher.finish() >> 24)
            }
            Names::Addresses => address_text(client_key),
        }
    }

    /// The text with every address in it replaced by its client's name. For lines that could not be read, where nobody
    /// knows which field is the client. Of a text that is only the beginning of one (`is_cut`), an address that may go on
    /// after the cut is taken off.
    pub(in crate::show) fn mask(&self, text: &[u8], is_cut: bool) -> Vec<u8> {
        if matches!(self.names, Names::Addresses) {
            return text.to_vec();
        }
        let text = if is_cut { without_unfinished(text) } else { text };
        let mut masked = Vec::with_capacity(text.len());
        let mut rest = 0;
        for found in addresses(text) {
            masked.extend_from_slice(text.get(rest..found.range.start).unwrap_or_default());
            masked.extend_from_slice(self.label(found.address.client_key()).as_bytes());
            rest = found.range.end;
        }
        masked.extend_from_slice(text.get(rest..).unwrap_or_default());
        masked
    }
}

/// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
const ADDRESS_BYTES_MAX: usize = 45;

/// The text without the address that it may end in the middle of.
fn without_unfinished(text: &[u8]) -> &[u8] {
    let is_ours = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':');
    let length = text.iter().rev().take_while(is_ours).count();
    if length > ADDRESS_BYTES_MAX { text } else { text.get(..text.len() - length).unwrap_or_default() }
}

/// The address that a client key stands for: the inverse of [`ClientAddress::client_key`].
fn address_text(client_key: u128) -> String {
    match u32::try_from(client_key) {
        Ok(address) => Ipv4Addr::from(address).to_string(),
        Err(_) => format!("{}/64", Ipv6Addr::from(client_key << 64)),
    }
}

#[cfg(test)]
mod tests {
    use seawall_engine::address::ClientAddress;

    use super::*;

    fn key(address: &str) -> u128 {
        ClientAddress::new(address.parse().expect("an address")).client_key()
    }

    #[test]
    fn addresses_are_those_that_were_logged() {
        let clients = Clients::by_address();
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
            ("ffff:ffff:ffff:ffff::1", "ffff:ffff:ffff:ffff::/64"),
            ("0.0.0.0", "0.0.0.0"),
        ] {
            assert_eq!(clients.label(key(address)), expected);
        }
    }

    #[test]
    fn pseudonyms_depend_on_client_and_key_and_hold_neither() {
        let (one, other) = (Clients::by_pseudonym(&[1; 16]), Clients::by_pseudonym(&[2; 16]));
        let name = one.label(key("192.0.2.1"));
        assert_eq!(name, one.label(key("192.0.2.1")));
        assert_ne!(name, one.label(key("192.0.2.2")));
        assert_ne!(name, other.label(key("192.0.2.1")));
        assert!(name.len() == "client-".len() + 10 && !name.contains("192"), "{name}");
    }

    #[test]
    fn no_address_is_left_in_a_masked_text() {
        let clients = Clients::by_pseudonym(&[7; 16]);
        let one = clients.label(key("192.0.2.1"));
        let six = clients.label(key("2001:db8::1"));
        for (text, expected) in [
            ("192.0.2.1 - - broken", format!("{one} - - broken")),
            ("from 192.0.2.1:443, then", format!("from {one}:443, then")),
            ("[192.0.2.1]", format!("[{one}]")),
            ("the 192.0.2.1.", format!("the {one}.")),
            ("ip:192.0.2.1", format!("ip:{one}")),
            ("e:192.0.2.1:2001:db8::1", format!("e:{one}:{six}")),
            ("x=2001:db8::1&y", format!("x={six}&y")),
            ("[2001:db8::1]:443", format!("[{six}]:443")),
            ("host 2001:db8::1: gone", format!("host {six}: gone")),
            ("Chrome/32.0.170.77 10:05:03 1.2", "Chrome/32.0.170.77 10:05:03 1.2".to_owned()),
            ("SSL routines::no shared cipher", "SSL routines::no shared cipher".to_owned()),
        ] {
            assert_eq!(String::from_utf8_lossy(&clients.mask(text.as_bytes(), false)), expected);
        }
        assert_eq!(clients.mask(b"x 192.0.2.1", true), b"x ");
        assert_eq!(clients.mask(&[b'a'; 256], true), [b'a'; 256]);
        assert_eq!(Clients::by_address().mask(b"192.0.2.1", true), b"192.0.2.1");
    }
}
