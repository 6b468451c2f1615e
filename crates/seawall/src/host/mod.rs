//! The machine that the guard runs on, and how it reaches others.

pub(crate) mod client;
pub mod clock;
pub(crate) mod memory;
pub mod open_files;
pub mod pressure;
