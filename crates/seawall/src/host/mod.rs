//! The machine that the guard runs on, and how it reaches others.

pub(crate) mod client;
pub mod clock;
pub mod open_files;
pub mod pressure;
