//! Who has voted: so that one client that asks again and again is told from many, at 40 bytes for each rule.

use std::time::Duration;

use crate::address::ClientAddress;
use crate::units::Timestamp;

/// For how long a client has voted.
const VOTE_PERIOD: Duration = Duration::from_secs(60);

/// Clients are told apart by a hash of so many values. Those beyond share votes: there are only fewer than there were clients.
const WORDS: usize = 4;

/// Odd, with bits that follow no pattern (the golden ratio): neighbouring clients get bits far apart.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// The clients that have voted in the present period.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Voters {
    began: Timestamp,
    voted: [u64; WORDS],
}

impl Voters {
    /// Has a client vote, and says whether it had not yet.
    pub(super) fn vote(&mut self, client: ClientAddress, now: Timestamp) -> bool {
        if now.since(self.began) >= VOTE_PERIOD {
            *self = Self { began: now, voted: [0; WORDS] };
        }
        self.vote_for_good(client)
    }

    /// The same without an end of the period.
    pub(super) fn vote_for_good(&mut self, client: ClientAddress) -> bool {
        let key = client.client_key();
        let hash = ((key >> 64) as u64 ^ key as u64).wrapping_mul(MULTIPLIER);
        let (word, bit) = ((hash >> 62) as usize, hash >> 56 & 63);
        let voted = &mut self.voted[word % WORDS];
        let is_new = *voted >> bit & 1 == 0;
        *voted |= 1 << bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn a_client_has_one_vote_in_a_minute() {
        let mut voters = Voters::default();
        let at = |second: u64| Timestamp::from_seconds(1_700_000_000 + second);
        let client = |number: u8| ClientAddress::from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)));
        let mut votes = |second, number| voters.vote(client(number), at(second));
        assert!(votes(0, 1) && !votes(1, 1) && votes(2, 2) && !votes(59, 1));
        assert!(votes(60, 1) && !votes(119, 1));
        let many = (0..=50).filter(|number| votes(200, *number)).count();
        assert!(many >= 40, "{many} of 51");
    }
}
