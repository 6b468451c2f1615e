//! Judges one request at once.
//!
//! - [`RuleSet`]: the rules in force and in shadow and the limits for each client, compiled once and then immutable, so
//!   that every worker can hold the same one.
//! - [`Limit`]: how much each client may send of what, and what happens to whoever sends more; [`Allowances`] are what is left of it.
//! - [`ClientTable`]: what one worker knows of its clients, in a fixed number of entries.
//! - [`BanSet`]: who is banned, whatever they ask for.
//! - [`Gate`]: one worker's judge: the present rule set, the client table and the counts.
//!
//! Judging takes no lock, allocates nothing and reads no clock. On doubt it lets the request pass.

mod allowances;
mod bans;
mod buckets;
mod clients;
mod drops;
mod judge;
mod limit;
mod limiting;
mod reputation;
mod revisit;
mod rules;
mod voters;

pub use allowances::Allowances;
pub use bans::BanSet;
pub use clients::{Acquaintance, ClientSlot, ClientTable, RETRY_AFTER_MIN, TableFull};
pub use judge::{Gate, Judged, Judgement, RuleCount};
pub use limit::{Awaited, Limit, LimitAction, LimitCounts, LimitId, LimitKey, LimitStatus, Offence};
pub use rules::{DROPPED_STATUS, LIMITS_MAX, RULES_MAX, RuleSet, RuleSetError};
