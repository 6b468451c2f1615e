//! What of the present state the file does not hold yet. Unlike what is journalled, none of it may be lost: it is kept by
//! network and by name, so that it needs no more room than the tables that it is about, however long nothing can be written.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;
use seawall_engine::decision::Ban;
use seawall_engine::units::Timestamp;

/// Networks whose changes are kept one by one: as many as are banned at most, as it comes. In place of more stand all bans there are.
const CHANGES_MAX: usize = 131_072;

/// The state that is still to be written.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// Whether the bans here are all that there are, so that every other one in the file is over.
    pub(super) is_whole: bool,
    /// Each network with its ban; none where it is over.
    pub(super) bans: HashMap<IpNet, Option<Ban>>,
    /// Values by name.
    pub(super) values: BTreeMap<&'static str, (Timestamp, String)>,
}

impl Unwritten {
    /// How much it is.
    pub(super) fn len(&self) -> usize {
        self.bans.len() + self.values.len()
    }

    /// Whether there is nothing to be written.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_whole && self.len() == 0
    }

    /// Makes room for so many changes at once.
    pub(super) fn expect(&mut self, changes: usize) {
        self.bans.reserve(changes.min(CHANGES_MAX));
    }

    /// Takes in what became of a network. Says whether these are now more changes than are kept: then none is, and all bans there are
    /// have to be asked for.
    pub(super) fn change(&mut self, network: IpNet, ban: Option<Ban>) -> bool {
        if self.is_whole && ban.is_none() {
            self.bans.remove(&network);
        } else {
            self.bans.insert(network, ban);
        }
        let is_too_much = !self.is_whole && self.bans.len() > CHANGES_MAX;
        if is_too_much {
            self.bans = HashMap::new();
        }
        is_too_much
    }

    /// Takes in all bans that there are.
    pub(super) fn replace(&mut self, bans: Vec<Ban>) {
        self.is_whole = true;
        self.bans = bans.into_iter().map(|ban| (ban.network, Some(ban))).collect();
    }

    /// Puts back what could not be written; what has come since goes before it. Says whether that is too much, as
    /// [`Self::change`] does.
    pub(super) fn put_back(&mut self, older: Self) -> bool {
        let newer = std::mem::replace(self, older);
        self.values.extend(newer.values);
        if newer.is_whole {
            (self.is_whole, self.bans) = (true, newer.bans);
            return false;
        }
        newer.bans.into_iter().fold(false, |is_too_much, (network, ban)| self.change(network, ban) || is_too_much)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use seawall_engine::decision::BanCause;

    use super::*;

    fn network(host: u32) -> IpNet {
        IpNet::new(std::net::Ipv4Addr::from_bits(host).into(), 32).expect("a client")
    }

    fn ban(host: u32) -> Ban {
        let since = Timestamp::from_seconds(1_700_000_000);
        let expires = since + Duration::from_secs(60);
        Ban { network: network(host), since, expires, cause: BanCause::Operator, reason: None }
    }

    #[test]
    fn the_last_word_about_a_network_is_kept_whatever_could_not_be_written() {
        let mut unwritten = Unwritten::default();
        unwritten.change(network(1), Some(ban(1)));
        unwritten.change(network(2), Some(ban(2)));
        let failed = std::mem::take(&mut unwritten);
        unwritten.change(network(1), None);
        assert!(!unwritten.put_back(failed));
        assert_eq!(unwritten.bans, [(network(1), None), (network(2), Some(ban(2)))].into());

        // All there are go before all that came earlier, and what comes later changes them.
        let failed = std::mem::take(&mut unwritten);
        unwritten.replace(vec![ban(3), ban(4)]);
        unwritten.change(network(4), None);
        unwritten.put_back(failed);
        let failed = std::mem::take(&mut unwritten);
        unwritten.change(network(5), Some(ban(5)));
        unwritten.put_back(failed);
        assert!(unwritten.is_whole);
        assert_eq!(unwritten.bans, [(network(3), Some(ban(3))), (network(5), Some(ban(5)))].into());
    }

    #[test]
    fn changes_without_end_take_no_more_room_than_all_bans() {
        let mut unwritten = Unwritten::default();
        let asked = (0..=CHANGES_MAX as u32).filter(|host| unwritten.change(network(*host), None)).count();
        assert_eq!((asked, unwritten.len()), (1, 0));
    }
}
