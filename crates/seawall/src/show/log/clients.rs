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
        let mut masked = Vec::with_capacity(text.len());
        let mut runs = text.chunk_by(|a, b| is_address_byte(*a) == is_address_byte(*b)).peekable();
        while let Some(run) = runs.next() {
            let may_go_on = is_cut && runs.peek().is_none();
            match run.first() {
                Some(first) if !is_address_byte(*first) => masked.extend_from_slice(run),
                _ if may_go_on && run.len() <= ADDRESS_BYTES_MAX => {}
                _ => self.mask_run(run, &mut masked),
            }
        }
        masked
    }

    /// Masks the addresses in a run of the bytes that addresses are made of: `192.0.2.1:443`, or `:192.0.2.1.`.
    fn mask_run(&self, run: &[u8], masked: &mut Vec<u8>) {
        let is_mark = |index: &usize| run.get(*index).is_some_and(|byte| matches!(byte, b'.' | b':'));
        let marks: Vec<usize> = (0..run.len()).filter(is_mark).collect();
        let mut rest = 0;
        // An address begins at the beginning, at a mark (`::1`) or after one, and ends at one, after one (`2001:db8::`)
        // or at the end.
        let edges: Vec<usize> =
            [0].into_iter().chain(marks.iter().flat_map(|at| [*at, at + 1])).chain([run.len()]).collect();
        for (index, start) in edges.iter().enumerate() {
            if *start < rest || marks.len() < 2 {
                continue;
            }
            let ends = edges.iter().skip(index).rev().filter(|end| *end - start <= ADDRESS_BYTES_MAX);
            let found = ends.filter_map(|end| Some((*end, parse(run.get(*start..*end)?)?))).next();
            if let Some((end, address)) = found {
                masked.extend_from_slice(run.get(rest..*start).unwrap_or_default());
                masked.extend_from_slice(self.label(ClientAddress::new(address).client_key()).as_bytes());
                rest = end;
            }
        }
        masked.extend_from_slice(run.get(rest..).unwrap_or_default());
    }
}

/// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
const ADDRESS_BYTES_MAX: usize = 45;

fn parse(text: &[u8]) -> Option<IpAddr> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn is_address_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':')
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
            ("ip:192.0.2.1", format!("ip:{one}")),
            ("e:192.0.2.1:2001:db8::1", format!("e:{one}:{six}")),
            ("x=2001:db8::1&y", format!("x={six}&y")),
            ("[2001:db8::1]:443", format!("[{six}]:443")),
            ("host 2001:db8::1: gone", format!("host {six}: gone")),
            ("Chrome/32.0.1700.77 10:05:03 1.2", "Chrome/32.0.1700.77 10:05:03 1.2".to_owned()),
        ] {
            assert_eq!(String::from_utf8_lossy(&clients.mask(text.as_bytes(), false)), expected);
        }
        assert_eq!(clients.mask(b"x 192.0.2.1", true), b"x ");
        assert_eq!(clients.mask(&[b'a'; 256], true), [b'a'; 256]);
        assert_eq!(Clients::by_address().mask(b"192.0.2.1", true), b"192.0.2.1");
    }
}
