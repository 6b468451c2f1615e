//! Everything people look at.

pub mod report;
pub mod status;
pub mod text;
pub mod web;
