//! The machine that the guard runs on.

pub mod clock;
pub mod open_files;
pub mod pressure;
