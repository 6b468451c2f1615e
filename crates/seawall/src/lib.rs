//! Seawall, the program: everything that touches the world.
//!
//! The path, which the modules follow (what decides is in [`seawall_engine`]):
//!
//! source -> observation -> gate -> detection -> decision -> enforcement -> record -> show

pub mod agents;
mod cli;
pub mod config;
pub mod daemon;
pub mod drill;
pub mod enforcement;
pub mod export;
pub mod fail2ban;
#[cfg(test)]
mod fixtures;
pub mod host;
pub mod networks;
pub mod origin;
pub mod privacy;
pub mod record;
pub mod show;
pub mod source;

pub use cli::{command, run};

/// The files of the project that are made from the program itself, by path and content: the references of settings,
/// commands and rules, and the commented example. `cargo xtask generate` writes them.
pub fn generated_files() -> Vec<(&'static str, String)> {
    vec![
        ("docs/commands.md", cli::reference::page()),
        ("docs/configuration.md", config::reference::page()),
        ("docs/rules.md", cli::rule_reference::page()),
        ("examples/seawall.toml", config::reference::example()),
    ]
}
