//! The surges of the logs: found while they are read for the report, and explained by reading them again.

use seawall_engine::detection::explain::{Found, SurgeFinder, TracedSurge};

use crate::show::explain::explain_surges;
use crate::show::log::{Logs, Progress};

/// Sampling is the same in each run, so that the same logs are explained in the same way.
const SEED: u64 = 1;

/// What was found.
#[derive(Default)]
pub(super) struct Surges {
    /// All, explained or not.
    pub(super) found: Found,
    /// With their explanations, unless that was not wanted or not possible.
    pub(super) explained: Option<Vec<TracedSurge>>,
}

impl Surges {
    /// Finds the surges, and explains them if that is wanted and the logs can be read again.
    pub(super) fn find(finder: SurgeFinder, logs: &Logs<'_>, explains: bool, progress: &mut Progress) -> Self {
        let found = finder.find();
        // Standard input and pipes are gone once they are read.
        let is_file = |path: &std::path::PathBuf| std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        let can_be_read_again =
            logs.paths.iter().all(|path| is_file(path) || !path.exists() && path.as_os_str() != "-");
        let explained = match found.surges.is_empty() {
            true => Some(Vec::new()),
            false if explains && can_be_read_again => {
                Some(explain_surges(found.clone(), logs, SEED, progress, &mut |_| {}))
            }
            false => None,
        };
        Self { found, explained }
    }
}
