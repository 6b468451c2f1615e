//! Where requests are seen.

pub mod follow;
