//! Addresses as they are written: under the key of the day (ipcrypt), which is deleted in time. Whoever has the file and not the
//! keys learns nothing but which networks are the same, and how large they are.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use seawall_engine::address::ClientAddress;
use seawall_engine::units::Timestamp;

use crate::privacy::{Cipher, Day, KeyError, KeyStore, Scheme};

/// Encrypted beside the addresses of a day, so that another key is known for such: the first of the documentation addresses.
const PROOF: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0));

/// Writes and reads addresses.
pub(super) struct Addresses {
    keys: KeyStore,
    days: Vec<(Day, Cipher)>,
}

/// Ciphers that are held.
const DAYS_MAX: usize = 4;

impl Addresses {
    pub(super) const fn new(keys: KeyStore) -> Self {
        Self { keys, days: Vec::new() }
    }

    /// Deletes the keys whose time is over.
    pub(super) fn forget(&self, today: Day) -> Result<(), KeyError> {
        self.keys.forget(today)
    }

    fn cipher(&mut self, day: Day, today: Day) -> Result<&Cipher, KeyError> {
        if let Some(place) = self.days.iter().position(|(held, _)| *held == day) {
            return Ok(&self.days[place].1);
        }
        let cipher = Cipher::new(&self.keys.key(day, today)?, Scheme::Deterministic);
        if self.days.len() >= DAYS_MAX {
            self.days.remove(0);
        }
        self.days.push((day, cipher));
        Ok(&self.days[self.days.len() - 1].1)
    }

    /// What proves the key of a day.
    pub(super) fn proof(&mut self, day: Day, today: Day) -> Result<[u8; 16], KeyError> {
        Ok(bytes(self.cipher(day, today)?.pseudonym(ClientAddress::new(PROOF))))
    }

    /// A network under today's key.
    pub(super) fn hide(&mut self, network: IpNet, today: Day) -> Result<[u8; 16], KeyError> {
        Ok(bytes(self.cipher(today, today)?.pseudonym(ClientAddress::new(network.addr()))))
    }

    /// The network that was hidden under the key of a day, if that key is still there.
    pub(super) fn reveal(
        &mut self,
        hidden: [u8; 16],
        length: u8,
        day: Day,
        proof: &[u8],
        now: Timestamp,
    ) -> Option<IpNet> {
        let today = Day::of(now);
        if self.proof(day, today).ok()? != *proof {
            return None;
        }
        let address = self.cipher(day, today).ok()?.reveal(IpAddr::V6(Ipv6Addr::from(hidden)));
        IpNet::new(address.ip(), length).ok().map(|network| network.trunc())
    }
}

fn bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
