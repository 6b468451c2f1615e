//! Addresses as they are written: under the key of the day (ipcrypt), which is deleted in time. Whoever has the file and not the
//! keys learns nothing but which networks are the same, and how large they are.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use seawall_engine::address::ClientAddress;

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

    /// Deletes the keys whose time is over, and those of days after the one that is given.
    pub(super) fn forget(&mut self, today: Day, later: Option<Day>) -> Result<(), KeyError> {
        self.days.retain(|(day, _)| *day == today);
        self.keys.forget(today)?;
        later.map_or(Ok(()), |later| self.keys.forget_after(later))
    }

    /// Whether the time of a day's key is over.
    pub(super) fn is_over(&self, day: Day, today: Day) -> bool {
        self.keys.is_over(day, today)
    }

    /// Sees to it that today's key is there to write with.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub(super) fn begin(&mut self, today: Day) -> Result<(), KeyError> {
        if self.held(today).is_none() {
            let cipher = Cipher::new(&self.keys.key(today, today)?, Scheme::Deterministic);
            self.hold(today, cipher);
        }
        Ok(())
    }

    /// What proves the key of a day; none when there is no such key. None is made.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn proof(&mut self, day: Day) -> Result<Option<[u8; 16]>, KeyError> {
        if self.held(day).is_none() {
            let Some(key) = self.keys.kept(day)? else { return Ok(None) };
            self.hold(day, Cipher::new(&key, Scheme::Deterministic));
        }
        Ok(self.held(day).map(|cipher| bytes(cipher.pseudonym(ClientAddress::new(PROOF)))))
    }

    /// A network under the key of a day; none when that cannot be had.
    pub(super) fn hide(&mut self, network: IpNet, day: Day) -> Option<[u8; 16]> {
        self.proof(day).ok()??;
        Some(bytes(self.held(day)?.pseudonym(ClientAddress::new(network.addr()))))
    }

    /// The network that was hidden under the key of a day, which is the one that `proof` is of.
    pub(super) fn reveal(&mut self, hidden: [u8; 16], length: u8, day: Day, proof: &[u8]) -> Option<IpNet> {
        self.proof(day).ok()?.filter(|held| held == proof)?;
        let address = self.held(day)?.reveal(IpAddr::V6(Ipv6Addr::from(hidden)));
        IpNet::new(address.ip(), length).ok().map(|network| network.trunc())
    }

    fn held(&self, day: Day) -> Option<&Cipher> {
        self.days.iter().find(|(held, _)| *held == day).map(|(_, cipher)| cipher)
    }

    fn hold(&mut self, day: Day, cipher: Cipher) {
        if self.days.len() >= DAYS_MAX {
            self.days.remove(0);
        }
        self.days.push((day, cipher));
    }
}

fn bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
