//! Seawall, the program: everything that touches the world.
//!
//! The path, which the modules follow (what decides is in [`seawall_engine`]):
//!
//! source -> observation -> gate -> detection -> decision -> enforcement -> record -> show

mod cli;
pub mod config;
pub mod drill;
pub mod host;
pub mod origin;
pub mod show;
pub mod source;

pub use cli::{command, run};
