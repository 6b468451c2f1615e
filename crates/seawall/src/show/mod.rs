//! Everything people look at.

pub mod status;
pub mod web;
