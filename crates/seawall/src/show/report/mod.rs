//! What happened, from logs: totals, then who asked for what, when, and what it cost.
//!
//! A [`Report`] reads the logs, block by block on every core, in memory that does not grow with them; its [`Summary`] is what is
//! shown, the same for people ([`terminal`], [`html`]) and for programs (JSON, [`csv`]). Client addresses leave it only as
//! pseudonyms unless it was made to show them. What operators ask for besides, about single clients or rules, are [`views`].

mod collection;
pub mod csv;
pub mod html;
mod located;
mod panel;
mod summary;
mod surges;
pub mod terminal;
mod traffic;
pub mod views;

use super::log::inputs::Inputs;
use super::log::read::read_parallel;
use super::log::{Clients, Logs, Progress};
use crate::networks::Networks;
use crate::source::follow::InputError;

pub use summary::Summary;

use collection::Collection;
use panel::{Kind, PANELS, Panel};
use surges::Surges;

/// The most threads that read: each has tables of its own, and what they may hold is divided among them.
const THREADS_MAX: usize = 4;

/// What is to be reported, and how.
pub struct Options<'a> {
    /// How clients are named.
    pub clients: Clients,
    /// Where they are.
    pub networks: &'a Networks,
    /// The panels; every one if there are none.
    pub panels: Vec<&'static str>,
    /// Whether surges are explained, for which the logs are read again.
    pub explains: bool,
    /// How many threads read.
    pub threads: usize,
}

/// What happened.
pub struct Report<'a> {
    options: Options<'a>,
    inputs: Inputs,
    collection: Option<Collection<'a>>,
    surges: Surges,
    filter: Option<String>,
}

/// The names of all panels, in the order shown.
pub fn panel_names() -> impl Iterator<Item = &'static str> {
    PANELS.iter().map(|panel| panel.name)
}

impl<'a> Report<'a> {
    /// Reads every input. One that cannot be read, or not whole, does not keep the others out: it is given to `failed` at once,
    /// and named in the report.
    pub fn read(
        logs: &Logs<'_>,
        options: Options<'a>,
        progress: &mut Progress,
        failed: impl FnMut(&InputError),
    ) -> Self {
        let logs = &Logs { networks: Some(options.networks), ..*logs };
        let mut inputs = Inputs::default();
        let panels = with_sources(&options.panels);
        let collections = Collection::several(&panels, options.networks, options.threads.clamp(1, THREADS_MAX));
        // Only a filter asks of a single request where its client is; a collection looks up many at once.
        let read = &Logs { networks: logs.networks.filter(|_| logs.filter.is_some()), ..*logs };
        let mut collection = read_parallel(&mut inputs, read, progress, collections, failed);
        collection.iter_mut().for_each(Collection::count_waiting);
        let finder = collection.as_mut().and_then(Collection::take_surges);
        let surges = finder.map(|finder| Surges::find(finder, logs, options.explains, progress)).unwrap_or_default();
        Self { options, inputs, collection, surges, filter: logs.filter.map(|filter| filter.text()) }
    }
}

/// The panels of these names, and those whose tables they are made of; all if there are none.
fn with_sources(names: &[&str]) -> Vec<&'static Panel> {
    let is_named = |name: &str| names.is_empty() || names.contains(&name);
    let is_source = |name: &str| {
        PANELS.iter().any(|panel| match &panel.kind {
            Kind::Derived(derived) => derived.of == name && is_named(panel.name),
            _ => false,
        })
    };
    // Clients are counted for the totals, whatever is shown.
    let is_needed = |panel: &&Panel| is_named(panel.name) || is_source(panel.name) || panel.name == "clients";
    PANELS.into_iter().filter(is_needed).collect()
}

#[cfg(test)]
mod tests;
