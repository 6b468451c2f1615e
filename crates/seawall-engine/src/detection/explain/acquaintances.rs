//! Who was here before: when each client of a log was first seen.

use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::address::ClientAddress;

/// Clients whose first request is remembered, to know the returning ones.
const CLIENTS_MAX: usize = 1 << 20;

/// A client that was here this long before is an old acquaintance.
pub const RETURNING: Duration = Duration::from_secs(3600);

/// The first second of each client.
#[derive(Debug, Default)]
pub(super) struct Acquaintances {
    first_seen: FxHashMap<u64, u32>,
}

impl Acquaintances {
    /// Remembers a client that is here at this second, and says whether it is an old acquaintance as far as was read.
    pub(super) fn meet(&mut self, client: ClientAddress, second: u32) -> bool {
        let client = hash(client);
        if let Some(first) = self.first_seen.get_mut(&client) {
            // Rotated logs may be read newest first.
            *first = (*first).min(second);
            return u64::from(second - *first) >= RETURNING.as_secs();
        }
        if self.first_seen.len() < CLIENTS_MAX {
            self.first_seen.insert(client, second);
        }
        false
    }

    /// Whether a client is an old acquaintance at this second.
    pub(super) fn is_returning(&self, client: ClientAddress, second: u32) -> bool {
        let first = self.first_seen.get(&hash(client));
        first.is_some_and(|first| u64::from(second.saturating_sub(*first)) >= RETURNING.as_secs())
    }

    /// How many clients are known.
    pub(super) fn len(&self) -> usize {
        self.first_seen.len()
    }
}

/// Bits good enough for tables; whoever chooses addresses can at most spoil an estimate about themselves.
pub(super) fn hash(client: ClientAddress) -> u64 {
    let key = client.client_key();
    let folded = (key as u64) ^ ((key >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    folded.wrapping_mul(0xFF51_AFD7_ED55_8CCD) ^ folded >> 32
}
