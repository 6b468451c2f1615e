//! Who has spoken of what a log records: each client once a minute, in a bounded number of bits.

use std::hash::Hasher as _;
use std::time::Duration;

use seawall_engine::address::ClientAddress;
use seawall_engine::silence::{Field, Reading};
use seawall_engine::units::Timestamp;
use siphasher::sip::SipHasher13;

/// How long a vote counts.
const VOTE_SPAN: Duration = Duration::from_secs(60);

/// Bits for those who have voted. When they are all set nobody votes for the rest of the minute: by then thousands have.
const VOTE_BITS: usize = 4_096;

/// Bits for those who have been there since a field was last.
const RUN_BITS: usize = 256;

/// The voters of one log.
#[derive(Clone, Debug)]
pub(super) struct Voters {
    voted: [u64; VOTE_BITS / 64],
    since: Timestamp,
    without: [[u64; RUN_BITS / 64]; Field::ALL.len()],
}

impl Default for Voters {
    fn default() -> Self {
        Self { voted: [0; VOTE_BITS / 64], since: Timestamp::EPOCH, without: [[0; RUN_BITS / 64]; Field::ALL.len()] }
    }
}

impl Voters {
    /// Counts a request that had these fields.
    pub(super) fn count(
        &mut self,
        reading: &mut Reading,
        client: Option<ClientAddress>,
        has: [bool; Field::ALL.len()],
        now: Timestamp,
        seed: u64,
    ) {
        if now.since(self.since) >= VOTE_SPAN {
            self.since = now;
            self.voted = [0; VOTE_BITS / 64];
        }
        let hash = client.map(|client| {
            let mut hasher = SipHasher13::new_with_keys(seed, 0);
            hasher.write_u128(client.client_key());
            hasher.finish() as usize
        });
        let votes = hash.is_none_or(|hash| set(&mut self.voted, hash));
        reading.votes += u64::from(votes);
        for (index, has) in has.into_iter().enumerate() {
            reading.with[index] += u64::from(has);
            reading.runs[index] = if has { 0 } else { reading.runs[index] + 1 };
            reading.votes_with[index] += u64::from(has && votes);
            if has {
                if reading.clients_without[index] > 0 {
                    reading.clients_without[index] = 0;
                    self.without[index] = [0; RUN_BITS / 64];
                }
            } else if hash.is_none_or(|hash| set(&mut self.without[index], hash)) {
                reading.clients_without[index] = reading.clients_without[index].saturating_add(1);
            }
        }
    }
}

/// Sets the bit of a hash; whether it was not set.
fn set(bits: &mut [u64], hash: usize) -> bool {
    let bit = hash % (bits.len() * 64);
    let Some(word) = bits.get_mut(bit / 64) else { return false };
    let is_new = *word & (1 << (bit % 64)) == 0;
    *word |= 1 << (bit % 64);
    is_new
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn a_client_has_one_vote_a_minute_and_counts_once_in_a_run() {
        let (mut voters, mut reading) = (Voters::default(), Reading::default());
        let client = |number: u8| Some(ClientAddress::from(IpAddr::from(Ipv4Addr::new(192, 0, 2, number))));
        let now = Timestamp::from_seconds(1_700_000_000);
        let (all, none) = ([true; Field::ALL.len()], [false; Field::ALL.len()]);
        for _ in 0..1_000 {
            voters.count(&mut reading, client(1), none, now, 7);
        }
        assert_eq!((reading.votes, reading.clients_without), (1, [1; Field::ALL.len()]));
        for number in 0..20 {
            voters.count(&mut reading, client(number), none, now, 7);
        }
        assert!((17..=20).contains(&reading.votes) && reading.clients_without[0] >= 17, "{reading:?}");
        let votes = reading.votes;
        voters.count(&mut reading, client(1), all, now, 7);
        assert_eq!((reading.votes, reading.clients_without), (votes, [0; Field::ALL.len()]));
        voters.count(&mut reading, client(1), all, now + VOTE_SPAN, 7);
        assert_eq!((reading.votes, reading.votes_with), (votes + 1, [1; Field::ALL.len()]));
    }
}
