//! Client addresses where they may be kept or passed on: as pseudonyms, under keys that are forgotten.
//!
//! There is one key for each day ([`Day`], in UTC). [`KeyStore`] makes the keys, keeps them in the state directory for as many days
//! as the operator says, and deletes them: from then on nobody can tell whom a pseudonym of that day meant. A [`Cipher`] turns
//! addresses into pseudonyms under one key. [`Pseudonyms`] does so for lines of many days, quickly; [`Anonymizer`] rewrites lines
//! with it, and [`filter()`] whole logs. [`Labels`] are for who is banned. What is about the looks of a line, which of its texts are addresses and queries and when
//! it was written, is the engine's to tell.
//!
//! No address and no key is ever shown, or part of an error.

mod anonymizer;
mod cipher;
mod day;
mod filter;
mod keys;
mod label;
mod pseudonyms;

pub use anonymizer::{Anonymizer, Treatment};
pub use cipher::{Cipher, Scheme};
pub use day::Day;
pub use filter::{FilterError, filter};
pub use keys::{DayKey, KeyError, KeyStore, RETENTION_DAYS_DEFAULT, RETENTION_DAYS_MAX};
pub use label::Labels;
pub use pseudonyms::Pseudonyms;
