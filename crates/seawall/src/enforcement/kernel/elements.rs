//! Changes made by messages to the kernel, without starting a program: whom the table's sets hold, a hundred thousand clients in the
//! time that `nft` needs for a few thousand, and the removal of a table, which must not depend on whether a program can be run. As
//! with `nft`, a change is made whole or not at all.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use rustix::net::SendFlags;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sendto;
use rustix::net::sockopt::set_socket_send_buffer_size_force;

use super::netlink::{HEADER_BYTES, NLM_F_ACK, NLM_F_REQUEST, open, receive};
use super::table::{Changes, Place};

/// linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h.
const NLM_F_CREATE: u16 = 0x400;
const NLA_F_NESTED: u16 = 0x8000;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_DELTABLE: u16 = (NFNL_SUBSYS_NFTABLES << 8) | 2;
const NFT_MSG_NEWSETELEM: u16 = (NFNL_SUBSYS_NFTABLES << 8) | 12;
const NFT_MSG_DELSETELEM: u16 = (NFNL_SUBSYS_NFTABLES << 8) | 14;
const NFPROTO_UNSPEC: u8 = 0;
pub(super) const NFPROTO_INET: u8 = 1;
pub(super) const NFTA_TABLE_NAME: u16 = 1;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_DATA_VALUE: u16 = 1;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;

/// Elements of one message: their list has a length of 16 bits, and one of IPv6 takes 44 bytes.
const MESSAGE_ELEMENTS: usize = 1_000;
const ELEMENT_BYTES: usize = 44;

/// An element of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Element {
    key: IpAddr,
    /// For how long it is put in.
    duration: Option<Duration>,
    /// Whether it is the address after the last of the network before it, in a tree.
    is_end: bool,
}

impl Element {
    fn client(network: IpNet, duration: Option<Duration>) -> Self {
        Self { key: network.addr(), duration, is_end: false }
    }

    /// A network in a tree: where it begins, and what follows it, unless it goes on to the last address. An end has no time of its own.
    fn network(network: IpNet, duration: Duration) -> impl Iterator<Item = Self> {
        let after = match network.broadcast() {
            IpAddr::V4(last) => last.to_bits().checked_add(1).map(|bits| IpAddr::from(bits.to_be_bytes())),
            IpAddr::V6(last) => last.to_bits().checked_add(1).map(|bits| IpAddr::from(bits.to_be_bytes())),
        };
        let begin = Self { key: network.network(), duration: Some(duration), is_end: false };
        std::iter::once(begin).chain(after.map(|key| Self { key, duration: None, is_end: true }))
    }
}

/// Makes the changes to whom the sets hold in one transaction; whether there were any.
///
/// # Errors
/// What the kernel says; nothing is changed then. `NotFound` when the table is not there.
pub(super) fn change(table: &str, changes: &Changes) -> io::Result<bool> {
    let mut batch = Batch::begin();
    batch.bytes.reserve(ELEMENT_BYTES * (changes.added.len() + 2 * (changes.removed.len() + changes.renewed.len())));
    for (place, _) in Place::ALL {
        let of_place = |network: &&IpNet| Place::of(**network) == place;
        let added = changes.added.iter().filter(|(network, _)| of_place(network));
        if place.is_tree() {
            if changes.emptied.contains(&place) {
                batch.empty(table, place);
            }
            let added = added.flat_map(|(network, duration)| Element::network(*network, *duration));
            batch.push(NFT_MSG_NEWSETELEM, table, place, added);
            continue;
        }
        // What is added first can be removed whether it was there or not, and what is removed first can be added with a new
        // time: an element may end at any moment by itself, and one failure would fail all.
        let gone = || changes.removed.union(&changes.renewed).filter(of_place);
        let untimed = || gone().map(|network| Element::client(*network, None));
        batch.push(NFT_MSG_NEWSETELEM, table, place, untimed());
        batch.push(NFT_MSG_DELSETELEM, table, place, untimed());
        let added = added.map(|(network, duration)| Element::client(*network, Some(*duration)));
        batch.push(NFT_MSG_NEWSETELEM, table, place, added);
    }
    if batch.last.is_none() {
        return Ok(false);
    }
    batch.commit().map(|()| true)
}

/// Removes a table with all that is in it; whether it was there or not.
///
/// # Errors
/// What the kernel says: above all that the right is missing, or that the table is another program's alone (`flags owner`).
pub(super) fn remove_table(table: &str) -> io::Result<()> {
    let mut batch = Batch::begin();
    batch.last = Some(batch.bytes.len());
    batch.message(NFT_MSG_DELTABLE, NLM_F_REQUEST, NFPROTO_INET, 0, |bytes| text(bytes, NFTA_TABLE_NAME, table));
    match batch.commit() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Messages of one transaction.
struct Batch {
    bytes: Vec<u8>,
    /// Where the last message that changes something begins.
    last: Option<usize>,
    messages: u32,
}

impl Batch {
    fn begin() -> Self {
        let mut batch = Self { bytes: Vec::new(), last: None, messages: 0 };
        batch.message(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES, |_| {});
        batch
    }

    /// Has the kernel make all of it, or nothing.
    fn commit(self) -> io::Result<()> {
        let bytes = self.end();
        let socket = open(netlink::NETFILTER)?;
        // A message that is larger than the buffer is refused.
        set_socket_send_buffer_size_force(&socket, bytes.len().saturating_add(64 * 1024))?;
        sendto(&socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        receive(&socket, |_, _| false)
    }

    /// The whole, of which the kernel answers the last message: by then all of them were taken in.
    fn end(mut self) -> Vec<u8> {
        if let Some(flags) = self.last.and_then(|start| self.bytes.get_mut(start + 6..start + 8)) {
            let asked = <[u8; 2]>::try_from(&*flags).map_or(NLM_F_REQUEST, u16::from_ne_bytes);
            flags.copy_from_slice(&(asked | NLM_F_ACK).to_ne_bytes());
        }
        self.message(NFNL_MSG_BATCH_END, NLM_F_REQUEST, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES, |_| {});
        self.bytes
    }

    /// Takes everything out of a set.
    fn empty(&mut self, table: &str, place: Place) {
        self.last = Some(self.bytes.len());
        // Without a list it is about all.
        self.message(NFT_MSG_DELSETELEM, NLM_F_REQUEST, NFPROTO_INET, 0, |bytes| {
            text(bytes, NFTA_SET_ELEM_LIST_TABLE, table);
            text(bytes, NFTA_SET_ELEM_LIST_SET, place.name());
        });
    }

    fn push(&mut self, kind: u16, table: &str, place: Place, elements: impl IntoIterator<Item = Element>) {
        let mut elements = elements.into_iter().peekable();
        while elements.peek().is_some() {
            self.last = Some(self.bytes.len());
            self.message(kind, NLM_F_REQUEST | NLM_F_CREATE, NFPROTO_INET, 0, |bytes| {
                text(bytes, NFTA_SET_ELEM_LIST_TABLE, table);
                text(bytes, NFTA_SET_ELEM_LIST_SET, place.name());
                nested(bytes, NFTA_SET_ELEM_LIST_ELEMENTS, |bytes| {
                    for one in elements.by_ref().take(MESSAGE_ELEMENTS) {
                        nested(bytes, NFTA_LIST_ELEM, |bytes| element(bytes, one));
                    }
                });
            });
        }
    }

    fn message(&mut self, kind: u16, flags: u16, family: u8, resource: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        fill(&mut self.bytes);
        let length = (self.bytes.len() - start) as u32;
        self.messages += 1;
        let header = [
            &length.to_ne_bytes()[..],
            &kind.to_ne_bytes(),
            &flags.to_ne_bytes(),
            &self.messages.to_ne_bytes(),
            &[0; 4],
        ];
        if let Some(place) = self.bytes.get_mut(start..start + HEADER_BYTES) {
            place.copy_from_slice(&header.concat());
        }
    }
}

fn element(bytes: &mut Vec<u8>, element: Element) {
    nested(bytes, NFTA_SET_ELEM_KEY, |bytes| match element.key {
        IpAddr::V4(address) => put(bytes, NFTA_DATA_VALUE, &address.octets()),
        IpAddr::V6(address) => put(bytes, NFTA_DATA_VALUE, &address.octets()),
    });
    if element.is_end {
        put(bytes, NFTA_SET_ELEM_FLAGS, &NFT_SET_ELEM_INTERVAL_END.to_be_bytes());
    }
    if let Some(duration) = element.duration {
        let milliseconds = duration.as_secs().max(1).saturating_mul(1_000);
        put(bytes, NFTA_SET_ELEM_TIMEOUT, &milliseconds.to_be_bytes());
    }
}

/// A text with the NUL that ends it.
pub(super) fn text(bytes: &mut Vec<u8>, kind: u16, value: &str) {
    put(bytes, kind, &[value.as_bytes(), &[0]].concat());
}

/// An attribute: its length and kind, its value, and zeros up to a multiple of four.
pub(super) fn put(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// An attribute made of others.
fn nested(bytes: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    put(bytes, kind | NLA_F_NESTED, &[]);
    fill(bytes);
    let length = (bytes.len() - start) as u16;
    if let Some(place) = bytes.get_mut(start..start + 2) {
        place.copy_from_slice(&length.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    #[test]
    fn messages_are_whole_and_none_is_too_long() {
        let clients = |count: u32| (0..count).map(|number| IpNet::from(IpAddr::from(number.to_be_bytes())));
        let changes = Changes {
            removed: [network("192.0.2.1/32")].into(),
            renewed: [network("2001:db8:1:2::/64")].into(),
            added: clients(2_500).map(|network| (network, Duration::from_millis(1_500))).collect(),
            ..Changes::default()
        };
        let mut batch = Batch::begin();
        batch.push(NFT_MSG_NEWSETELEM, "seawall", Place::Clients4, [Element::client(network("192.0.2.1/32"), None)]);
        let added = changes.added.iter().map(|(network, duration)| Element::client(*network, Some(*duration)));
        batch.push(NFT_MSG_NEWSETELEM, "seawall", Place::Clients4, added);
        let bytes = batch.end();
        let (mut rest, mut kinds) = (bytes.as_slice(), Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_ne_bytes(*length) as usize;
            kinds.push((u16::from_ne_bytes([after[0], after[1]]), u16::from_ne_bytes([after[2], after[3]])));
            assert!(length.is_multiple_of(4) && length < usize::from(u16::MAX));
            rest = &rest[length..];
        }
        let plain = NLM_F_REQUEST | NLM_F_CREATE;
        let expected = [
            (NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST),
            (NFT_MSG_NEWSETELEM, plain),
            (NFT_MSG_NEWSETELEM, plain),
            (NFT_MSG_NEWSETELEM, plain),
            (NFT_MSG_NEWSETELEM, plain | NLM_F_ACK),
            (NFNL_MSG_BATCH_END, NLM_F_REQUEST),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn an_element_is_its_address_and_its_time() {
        let mut bytes = Vec::new();
        element(&mut bytes, Element::client(network("192.0.2.1/32"), Some(Duration::from_secs(60))));
        let expected = [
            &12_u16.to_ne_bytes()[..],
            &(NFTA_SET_ELEM_KEY | NLA_F_NESTED).to_ne_bytes(),
            &8_u16.to_ne_bytes(),
            &NFTA_DATA_VALUE.to_ne_bytes(),
            &[192, 0, 2, 1],
            &12_u16.to_ne_bytes(),
            &NFTA_SET_ELEM_TIMEOUT.to_ne_bytes(),
            &60_000_u64.to_be_bytes(),
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn a_network_is_where_it_begins_and_what_follows_it() {
        let minute = Duration::from_secs(60);
        let keys = |text: &str| -> Vec<(String, bool)> {
            Element::network(network(text), minute).map(|element| (element.key.to_string(), element.is_end)).collect()
        };
        let pair = |begin: &str, end: &str| vec![(begin.to_owned(), false), (end.to_owned(), true)];
        assert_eq!(keys("203.0.113.0/24"), pair("203.0.113.0", "203.0.114.0"));
        assert_eq!(keys("2001:db8::/32"), pair("2001:db8::", "2001:db9::"));
        // Nothing follows the last address.
        assert_eq!(keys("255.255.254.0/23"), [("255.255.254.0".to_owned(), false)]);
        assert_eq!(keys("fe00::/7"), [("fe00::".to_owned(), false)]);
        assert_eq!(keys("0.0.0.0/0"), [("0.0.0.0".to_owned(), false)]);
        // Both together are shorter than what is reckoned with for two.
        let mut bytes = Vec::new();
        for part in Element::network(network("2001:db8::/32"), minute) {
            nested(&mut bytes, NFTA_LIST_ELEM, |bytes| element(bytes, part));
        }
        assert!(bytes.len() <= 2 * ELEMENT_BYTES, "{}", bytes.len());
    }
}
