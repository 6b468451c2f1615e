//! What clients are called in a report: pseudonyms, unless the operator asked for addresses.
//!
//! A pseudonym is a keyed hash. The key is drawn for each run and kept nowhere, so that a pseudonym cannot be turned back
//! by trying all addresses, and those of two reports cannot be compared.

use std::hash::Hasher as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use seawall_engine::address::ClientAddress;
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

    /// The name of the client with this [`ClientAddress::client_key`].
    pub(super) fn label(&self, client_key: u128) -> String {
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
    /// knows which field is the client.
    pub(super) fn mask(&self, text: &[u8]) -> Vec<u8> {
        if matches!(self.names, Names::Addresses) {
            return text.to_vec();
        }
        let mut masked = Vec::with_capacity(text.len());
        for run in text.chunk_by(|a, b| is_address_byte(*a) == is_address_byte(*b)) {
            match find_address(run) {
                Some((before, address, after)) => {
                    masked.extend_from_slice(before);
                    masked.extend_from_slice(self.label(ClientAddress::new(address).client_key()).as_bytes());
                    masked.extend_from_slice(after);
                }
                None => masked.extend_from_slice(run),
            }
        }
        masked
    }
}

fn is_address_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':')
}

/// The address that a run of address bytes is, or holds between its marks, as in `192.0.2.1:443` or `192.0.2.1.`.
fn find_address(run: &[u8]) -> Option<(&[u8], IpAddr, &[u8])> {
    let is_mark = |byte: &u8| matches!(byte, b'.' | b':');
    if run.iter().filter(|byte| is_mark(byte)).count() < 2 {
        return None;
    }
    let parse = |text: &[u8]| str::from_utf8(text).ok()?.parse::<IpAddr>().ok();
    if let Some(address) = parse(run) {
        return Some((&[], address, &[]));
    }
    let ends_of = |run: &[u8]| memchr::memchr_iter(b':', run).chain(memchr::memrchr(b'.', run)).collect::<Vec<_>>();
    for end in ends_of(run) {
        let (address, after) = run.split_at(end);
        let start = address.iter().position(|byte| !is_mark(byte)).unwrap_or(0);
        let (before, address) = address.split_at(start);
        if let Some(address) = parse(address) {
            return Some((before, address, after));
        }
    }
    None
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
            ("x=2001:db8::1&y", format!("x={six}&y")),
            ("[2001:db8::1]:443", format!("[{six}]:443")),
            ("host 2001:db8::1: gone", format!("host {six}: gone")),
            ("Chrome/32.0.1700.77 10:05:03 1.2", "Chrome/32.0.1700.77 10:05:03 1.2".to_owned()),
        ] {
            assert_eq!(String::from_utf8_lossy(&clients.mask(text.as_bytes())), expected);
        }
        assert_eq!(Clients::by_address().mask(b"192.0.2.1 x"), b"192.0.2.1 x");
    }
}
