//! The pseudonyms of many days, quickly: most lines of a log are about few addresses.

use std::fmt::Write as _;
use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use seawall_engine::address::ClientAddress;

use super::{Cipher, Day, KeyError, KeyStore, Scheme};

/// How many days' ciphers are held at once. Rotated logs that are read one after the other need two.
const CIPHERS_MAX: usize = 8;

/// How many pseudonyms are held at once: about a MiB. A new one takes the place of another.
const PLACES: usize = 1 << 14;

/// `ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff`
const TEXT_BYTES_MAX: usize = 39;

/// Makes pseudonyms of addresses of any day.
pub struct Pseudonyms {
    keys: KeyStore,
    scheme: Scheme,
    /// The last one used is the last.
    ciphers: Vec<(Day, Cipher)>,
    hasher: DefaultHashBuilder,
    held: Vec<Option<Held>>,
}

/// A pseudonym that was made before.
#[derive(Clone)]
struct Held {
    day: Day,
    address: ClientAddress,
    text: Text,
}

/// An address as it is written.
#[derive(Clone)]
struct Text {
    bytes: [u8; TEXT_BYTES_MAX],
    length: usize,
}

impl Pseudonyms {
    /// Pseudonyms under these keys.
    pub fn new(keys: KeyStore, scheme: Scheme) -> Self {
        let hasher = DefaultHashBuilder::default();
        Self { keys, scheme, ciphers: Vec::new(), hasher, held: vec![None; PLACES] }
    }

    /// Deletes the keys whose time is over, and forgets what was made with them: a late line of their days is linked to nobody's.
    ///
    /// # Errors
    /// When one cannot be deleted.
    pub fn forget(&mut self, today: Day) -> Result<(), KeyError> {
        // Those of other days are made again; that is once a day.
        self.ciphers.clear();
        self.held.fill(None);
        self.keys.forget(today)
    }

    /// The pseudonym of an address in a line of `day`.
    ///
    /// # Errors
    /// When the key of the day cannot be had.
    #[inline]
    pub fn of(&mut self, day: Day, today: Day, address: ClientAddress) -> Result<&[u8], KeyError> {
        let place = self.hasher.hash_one((day, address)) as usize % PLACES;
        let is_held = self
            .held
            .get(place)
            .is_some_and(|held| held.as_ref().is_some_and(|held| held.day == day && held.address == address));
        if !is_held {
            let text = self.make(day, today, address)?;
            if let Some(held) = self.held.get_mut(place) {
                *held = Some(Held { day, address, text });
            }
        }
        let text = self.held.get(place).and_then(Option::as_ref).map(|held| &held.text);
        Ok(text.and_then(|text| text.bytes.get(..text.length)).unwrap_or_default())
    }

    #[cold]
    fn make(&mut self, day: Day, today: Day, address: ClientAddress) -> Result<Text, KeyError> {
        match self.ciphers.iter().rposition(|(of, _)| *of == day) {
            Some(place) if place + 1 == self.ciphers.len() => {}
            Some(place) => {
                let cipher = self.ciphers.remove(place);
                self.ciphers.push(cipher);
            }
            None => {
                let cipher = Cipher::new(&self.keys.key(day, today)?, self.scheme);
                if self.ciphers.len() == CIPHERS_MAX {
                    self.ciphers.remove(0);
                }
                self.ciphers.push((day, cipher));
            }
        }
        let mut text = Text { bytes: [0; TEXT_BYTES_MAX], length: 0 };
        if let Some((_, cipher)) = self.ciphers.last() {
            // It has room for any address, so writing to it cannot fail.
            let _ = write!(text, "{}", cipher.pseudonym(address));
        }
        Ok(text)
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let place = self.bytes.get_mut(self.length..self.length + part.len()).ok_or(std::fmt::Error)?;
        place.copy_from_slice(part.as_bytes());
        self.length += part.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_held_is_what_would_be_made() {
        let keys = || KeyStore::open(Path::new("unused"), 0).expect("no folder is needed");
        let mut pseudonyms = Pseudonyms::new(keys(), Scheme::PrefixPreserving);
        let days = ["2024-05-15", "2024-05-16", "2024-05-17"].map(|day| day.parse::<Day>().expect("a day"));
        let today = days[2];
        let ciphers =
            days.map(|day| Cipher::new(&pseudonyms.keys.key(day, today).expect("a key"), Scheme::PrefixPreserving));
        // Far more than are held, and the first again.
        for number in (0..3 * PLACES as u32).chain(0..10) {
            let address = ClientAddress::new(IpAddr::V4(Ipv4Addr::from_bits(number)));
            let which = number as usize % days.len();
            let expected = ciphers[which].pseudonym(address).to_string();
            assert_eq!(pseudonyms.of(days[which], today, address).expect("a key"), expected.as_bytes());
        }
    }

    #[test]
    fn what_was_made_with_a_key_goes_with_it() {
        let state = tempfile::tempdir().expect("a folder");
        let mut pseudonyms = Pseudonyms::new(KeyStore::open(state.path(), 2).expect("a store"), Scheme::Deterministic);
        let days = ["2024-05-15", "2024-05-16", "2024-05-17"].map(|day| day.parse::<Day>().expect("a day"));
        let addresses = [1, 2].map(|number| ClientAddress::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))));
        let mut of = |day: Day, today: Day, which: usize| {
            if which == 0 {
                pseudonyms.forget(today).expect("deleted");
            }
            pseudonyms.of(day, today, addresses[which]).expect("a key").to_vec()
        };
        let before = [of(days[0], days[0], 0), of(days[0], days[0], 1), of(days[1], days[1], 0)];
        // The second day's is still there on the third, the first day's is not: neither what was looked up, nor what is made anew.
        assert_eq!(of(days[1], days[2], 0), before[2]);
        assert_ne!(of(days[0], days[2], 0), before[0]);
        assert_ne!(of(days[0], days[2], 1), before[1]);
    }

    #[test]
    fn days_without_end_take_no_more_room() {
        let mut pseudonyms =
            Pseudonyms::new(KeyStore::open(Path::new("unused"), 0).expect("a store"), Scheme::Deterministic);
        let address = ClientAddress::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut found = std::collections::HashSet::new();
        for day in 0..100 {
            let day = Day::of(seawall_engine::units::Timestamp::from_seconds(day * 86_400));
            found.insert(pseudonyms.of(day, day, address).expect("a key").to_vec());
        }
        assert_eq!((found.len(), pseudonyms.ciphers.len()), (100, CIPHERS_MAX));
    }
}
