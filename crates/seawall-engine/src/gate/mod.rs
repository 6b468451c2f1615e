//! Judges one request at once.
//!
//! - [`RuleSet`]: the rules in force and in shadow and the limits for each client, compiled once and then immutable, so
//!   that every worker can hold the same one.
//! - [`ClientTable`]: what one worker knows of its clients, in a fixed number of entries.
//! - [`BanSet`]: who is banned, whatever they ask for.
//! - [`Gate`]: one worker's judge: the present rule set, the client table, the token buckets and the counts.
//!
//! Judging takes no lock, allocates nothing and reads no clock. On doubt it lets the request pass.

mod bans;
mod buckets;
mod clients;
mod drops;
mod judge;
mod reputation;
mod revisit;
mod rules;

pub use bans::BanSet;
pub use clients::{Acquaintance, ClientSlot, ClientTable, RETRY_AFTER_MIN, TableFull};
pub use judge::{Gate, Judgement, RuleCount};
pub use rules::{CLIENT_LIMITS_MAX, ClientLimit, DROPPED_STATUS, RULES_MAX, RuleSet, RuleSetError};
