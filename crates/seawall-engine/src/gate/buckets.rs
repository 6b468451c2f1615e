//! Token buckets for the limits of single clients, in a table of fixed size.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use super::rules::CompiledLimit;
use crate::address::ClientAddress;
use crate::units::Timestamp;

const WAYS: usize = 4;

/// Sets of buckets; 4,096 × 4 × 24 bytes are 384 KiB.
const SETS: usize = 4_096;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Keyed hash of client and limit; 0 for a free bucket.
    tag: u64,
    last: Timestamp,
    tokens: f32,
}

/// One bucket for each client and limit that are in use. When a place is full, the bucket that was used longest ago is
/// given up: its client starts with a full bucket the next time, so the error is in the client's favour.
#[derive(Clone, Debug)]
pub(super) struct BucketTable {
    sets: Vec<[Bucket; WAYS]>,
    seed: u64,
}

impl BucketTable {
    pub(super) fn new(seed: u64) -> Self {
        Self { sets: vec![[Bucket::default(); WAYS]; SETS], seed }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.sets.len() * size_of::<[Bucket; WAYS]>()
    }

    /// Takes a token from the client's bucket for the limit numbered `index`; false when there is none.
    pub(super) fn take(&mut self, client: ClientAddress, index: usize, limit: CompiledLimit, now: Timestamp) -> bool {
        let mut hasher = SipHasher13::new_with_keys(self.seed, index as u64);
        hasher.write_u128(client.client_key());
        let tag = hasher.finish().max(1);
        let place = tag as usize % self.sets.len();
        let Some(set) = self.sets.get_mut(place) else { return true };
        let found = set.iter().position(|bucket| bucket.tag == tag);
        let oldest = || (0..WAYS).min_by_key(|way| set[*way].last).unwrap_or(0);
        let way = found.unwrap_or_else(oldest);
        let bucket = &mut set[way];
        if found.is_none() {
            *bucket = Bucket { tag, last: now, tokens: limit.burst };
        }
        take(&mut bucket.tokens, &mut bucket.last, limit.rate, limit.burst, now)
    }
}

/// Refills a bucket for the time passed, then takes a token if there is one. `rate` is in tokens a microsecond.
pub(super) fn take(tokens: &mut f32, last: &mut Timestamp, rate: f32, burst: f32, now: Timestamp) -> bool {
    let passed = now.since(*last).as_micros() as f32;
    *tokens = (*tokens + passed * rate).min(burst);
    *last = now.max(*last);
    let has_token = *tokens >= 1.0;
    if has_token {
        *tokens -= 1.0;
    }
    has_token
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_refills_with_time_and_belongs_to_one_client_and_limit() {
        let mut table = BucketTable::new(1);
        let limit = CompiledLimit { rate: 2.0 / 1_000_000.0, burst: 2.0 };
        let client = |number| ClientAddress::new(Ipv4Addr::from_bits(number).into());
        let start = Timestamp::from_seconds(1_700_000_000);
        let mut take = |number, index, now| table.take(client(number), index, limit, now);
        assert_eq!([take(1, 0, start), take(1, 0, start), take(1, 0, start)], [true, true, false]);
        assert!(take(2, 0, start));
        assert!(take(1, 1, start));
        assert!(take(1, 0, start + Duration::from_millis(500)));
        assert!(!take(1, 0, start + Duration::from_millis(500)));
        // A step back in time neither refills nor panics.
        assert!(!take(1, 0, start - Duration::from_secs(9)));
    }
}
