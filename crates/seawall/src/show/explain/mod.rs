//! The surges of a log, each explained. The engine finds and explains them ([`seawall_engine::detection::explain`]); here the
//! log is read, three times, and the result is made ready to be shown ([`Summary`]), for people by [`terminal`].

mod advice;
mod origins;
pub(super) mod summary;
pub mod terminal;

use std::ops::ControlFlow;

use seawall_engine::detection::explain::{Explained, Explainer, Surge, SurgeFinder, Trace, Traced};
use seawall_engine::observation::Observation;
use seawall_engine::units::Timestamp;

use super::log::inputs::Inputs;
use super::log::read::{LogRequest, read_inputs};
use super::log::{Clients, Logs, Progress};
use crate::networks::Networks;
use crate::source::follow::InputError;

pub use summary::Summary;

/// A line that is this much older than the one before it runs backwards, in seconds.
const BACKWARDS_SECONDS: u64 = 60;

/// The surges of some logs.
pub struct Explanation {
    pub(super) inputs: Inputs,
    pub(super) notes: Notes,
    pub(super) surges: Traces,
}

/// Surges, each with the rules that explain it and whom they hit.
pub(super) type Traces = Vec<(Explained, Vec<Traced>)>;

/// What the logs do not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notes {
    without_client: u64,
    without_agent: u64,
    backwards: u64,
    newest: Timestamp,
}

/// Reads logs and explains their surges. `failed` is told of inputs that cannot be read, or not whole; `seed` is that of
/// sampling.
pub fn explain(
    logs: &Logs<'_>,
    networks: &Networks,
    seed: u64,
    progress: &mut Progress,
    failed: impl FnMut(&InputError),
) -> Explanation {
    let (mut inputs, mut notes, mut finder) = (Inputs::default(), Notes::default(), SurgeFinder::default());
    let first = |request: &LogRequest<'_>| {
        notes.take(request);
        finder.add(&request.observation);
        ControlFlow::Continue(())
    };
    read_inputs(&mut inputs, logs, progress, first, failed);
    let logs = Logs { networks: Some(networks), ..*logs };
    Explanation { inputs, notes, surges: explain_surges(finder.surges(), &logs, seed, progress) }
}

/// Explains surges that were found in these logs, by reading them twice more. `seed` is that of sampling.
pub(super) fn explain_surges(surges: Vec<Surge>, logs: &Logs<'_>, seed: u64, progress: &mut Progress) -> Traces {
    if surges.is_empty() {
        return Vec::new();
    }
    let mut explainer = Explainer::new(surges, seed);
    read_again(logs, progress, |observation| explainer.observe(observation));
    let explained = explainer.explain();
    let is_traced = explained.iter().any(|explained| !explained.rules.is_empty());
    let mut trace = Trace::new(explained);
    if is_traced {
        read_again(logs, progress, |observation| trace.observe(observation));
    }
    trace.finish()
}

impl Explanation {
    /// Ready to be shown, with clients' networks in the rules if `show_addresses`.
    pub fn summary(&self, networks: &Networks, clients: &Clients, show_addresses: bool) -> Summary {
        Summary::new(self, networks, clients, show_addresses)
    }

    /// The rules that were found, as a file that `seawall backtest` reads.
    pub fn rules_file(&self) -> String {
        let mut text =
            String::from("# Rules that explain the surges of a log. Try them: seawall backtest --rules FILE LOG\n");
        for (explained, rules) in &self.surges {
            for traced in rules {
                let when = super::log::moment(explained.surge.from.as_seconds());
                text += &format!(
                    "\n# {when}: {:.0}% of the excess, {} requests from about {} clients; at most {:.2}% of normal traffic\n\
                     surge-{}: {}\n",
                    traced.evidence.coverage * 100.0,
                    traced.requests,
                    traced.clients,
                    traced.evidence.collateral_upper * 100.0,
                    traced.rule.id.0,
                    traced.rule.text_with_networks(),
                );
            }
        }
        text
    }
}

impl Notes {
    fn take(&mut self, request: &LogRequest<'_>) {
        let observation = &request.observation;
        self.without_client += u64::from(observation.client.is_none());
        self.without_agent += u64::from(observation.request.user_agent.is_none());
        self.backwards += u64::from(observation.at.as_seconds() + BACKWARDS_SECONDS < self.newest.as_seconds());
        self.newest = self.newest.max(observation.at);
    }
}

/// Reads the logs again; what could not be read was said the first time.
fn read_again(logs: &Logs<'_>, progress: &mut Progress, mut visit: impl FnMut(&Observation<'_>)) {
    let again = |request: &LogRequest<'_>| {
        visit(&request.observation);
        ControlFlow::Continue(())
    };
    read_inputs(&mut Inputs::default(), logs, progress, again, |_| {});
}
