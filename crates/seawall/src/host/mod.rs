//! The machine that the guard runs on.

pub mod clock;
