//! What the table has dropped, asked of the kernel directly: for the counters alone `nft` reads every element of every set first, which
//! are seconds of a processor with a hundred thousand clients.

use std::io;

use rustix::net::netlink;
use serde::{Deserialize, Serialize};

use super::elements::{NFPROTO_INET, put, text};
use super::netlink::{NLM_F_DUMP, NLM_F_REQUEST, attribute, open, receive, send};

/// linux/netfilter/nf_tables.h.
const NFT_MSG_NEWOBJ: u16 = (10 << 8) | 18;
const NFT_MSG_GETOBJ: u16 = (10 << 8) | 19;
const NFTA_OBJ_TABLE: u16 = 1;
const NFTA_OBJ_TYPE: u16 = 3;
const NFTA_OBJ_DATA: u16 = 4;
const NFT_OBJECT_COUNTER: u32 = 1;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;

/// Packets and bytes that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Adds up what one table after the other has dropped: each begins to count from nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// By the tables before.
    before: Dropped,
    /// By the table there is, when it was read last.
    last: Dropped,
}

impl Tally {
    /// Takes what the table there is has counted, and says what was dropped in all. What one counted after it was read last is lost
    /// with it.
    pub(super) fn read(&mut self, now: Dropped) -> Dropped {
        if now.packets < self.last.packets {
            self.before.packets += self.last.packets;
            self.before.bytes += self.last.bytes;
        }
        self.last = now;
        Dropped { packets: self.before.packets + now.packets, bytes: self.before.bytes + now.bytes }
    }
}

/// What was dropped since the table was made: the sum of its counters. Costs the same however many are banned.
///
/// # Errors
/// What the kernel says.
pub(super) fn dropped(table: &str) -> io::Result<Dropped> {
    let socket = open(netlink::NETFILTER)?;
    let mut asked = vec![NFPROTO_INET, 0, 0, 0];
    text(&mut asked, NFTA_OBJ_TABLE, table);
    put(&mut asked, NFTA_OBJ_TYPE, &NFT_OBJECT_COUNTER.to_be_bytes());
    send(&socket, NFT_MSG_GETOBJ, NLM_F_REQUEST | NLM_F_DUMP, &asked)?;
    let mut dropped = Dropped::default();
    receive(&socket, |kind, payload| {
        if kind == NFT_MSG_NEWOBJ
            && let Some(counted) = counted(payload.get(4..).unwrap_or_default(), table)
        {
            dropped.packets += counted.packets;
            dropped.bytes += counted.bytes;
        }
        false
    })?;
    Ok(dropped)
}

/// What a counter of the table has counted; none where it is something else.
fn counted(object: &[u8], table: &str) -> Option<Dropped> {
    let of_table = attribute(object, NFTA_OBJ_TABLE)?;
    let is_counter = attribute(object, NFTA_OBJ_TYPE)? == NFT_OBJECT_COUNTER.to_be_bytes();
    if !is_counter || of_table.strip_suffix(&[0]) != Some(table.as_bytes()) {
        return None;
    }
    let data = attribute(object, NFTA_OBJ_DATA)?;
    let number = |kind| attribute(&data, kind)?.try_into().ok().map(u64::from_be_bytes);
    Some(Dropped { packets: number(NFTA_COUNTER_PACKETS)?, bytes: number(NFTA_COUNTER_BYTES)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_begins_anew_takes_nothing_from_what_was_dropped_before() {
        let of = |packets: u64| Dropped { packets, bytes: 60 * packets };
        let mut tally = Tally::default();
        let read: Vec<u64> = [3, 7, 1, 1, 5, 0, 2].map(|packets| tally.read(of(packets)).packets).to_vec();
        assert_eq!(read, [3, 7, 8, 8, 12, 12, 14]);
        assert_eq!(tally.read(of(2)), of(14));
    }

    #[test]
    fn only_counters_of_the_table_are_counted() {
        let object = |table: &str, kind: u32, packets: u64| {
            let (mut bytes, mut data) = (Vec::new(), Vec::new());
            put(&mut data, NFTA_COUNTER_BYTES, &(60 * packets).to_be_bytes());
            put(&mut data, NFTA_COUNTER_PACKETS, &packets.to_be_bytes());
            text(&mut bytes, NFTA_OBJ_TABLE, table);
            put(&mut bytes, NFTA_OBJ_TYPE, &kind.to_be_bytes());
            put(&mut bytes, NFTA_OBJ_DATA, &data);
            bytes
        };
        let found = counted(&object("seawall", NFT_OBJECT_COUNTER, 7), "seawall");
        assert_eq!(found, Some(Dropped { packets: 7, bytes: 420 }));
        assert_eq!(counted(&object("seawall2", NFT_OBJECT_COUNTER, 7), "seawall"), None);
        assert_eq!(counted(&object("seawall", NFT_OBJECT_COUNTER + 1, 7), "seawall"), None);
        assert_eq!(counted(&object("seawall", NFT_OBJECT_COUNTER, 7)[..40], "seawall"), None);
    }
}
