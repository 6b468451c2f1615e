//! Everything people look at.

pub mod report;
pub mod text;
