//! The surges of a log, each explained. The engine finds and explains them ([`seawall_engine::detection::explain`]); here the
//! log is read, three times, and the result is made ready to be shown ([`Summary`]), for people by [`terminal`].

mod advice;
mod origins;
mod outline;
pub(super) mod summary;
pub mod terminal;

use std::collections::HashMap;
use std::ops::ControlFlow;

use seawall_engine::detection::explain::{
    Explainer, FarRequests, Found, Habit, Majority, Prevalence, Prevalent, Surge, SurgeFinder, Trace, Traced,
    TracedSurge, Zone,
};
use seawall_engine::observation::Observation;
use seawall_engine::units::Timestamp;

use super::log::inputs::Inputs;
use super::log::read::{LogRequest, Visitor, read_inputs};
use super::log::{Clients, Logs, Progress};
use crate::networks::Networks;
use crate::show::text::percent_at_most;
use crate::source::follow::{Block, InputError};

use outline::{Outlines, Passing};

pub use summary::Summary;

/// A line that is this much older than those before it runs backwards, in seconds.
const BACKWARDS_SECONDS: u64 = 60;

/// How the comment begins that stands before a rule that is advised against, in a file of rules.
pub(crate) const NOT_ADVISED: &str = "# not advised: ";

/// The surges of some logs.
pub struct Explanation {
    pub(super) inputs: Inputs,
    pub(super) notes: Notes,
    pub(super) surges: Vec<TracedSurge>,
    /// Those that were too many to be explained.
    pub(super) left_out: Vec<Surge>,
    /// What has dates that are most likely wrong.
    pub(super) far: Option<FarRequests>,
    /// What comes at the same hour on about half of the days or more, and so is no surge.
    pub(super) habits: Vec<Habit>,
    /// What more than half of all that is outside them has.
    pub(super) prevalent: Vec<Prevalent>,
}

/// What the logs do not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notes {
    without_client: u64,
    without_agent: u64,
    backwards: u64,
    /// An input, and the newest time in it since it last ran backwards.
    newest: Option<(usize, Timestamp)>,
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
    let (mut inputs, mut notes) = (Inputs::default(), Notes::default());
    let (mut finder, mut majority) = (SurgeFinder::default(), Majority::default());
    let first = |request: &LogRequest<'_>| {
        notes.take(request);
        finder.add(request.observation);
        majority.add(request.observation);
        ControlFlow::Continue(())
    };
    read_inputs(&mut inputs, logs, progress, first, failed);
    let logs = Logs { networks: Some(networks), ..*logs };
    let found = finder.find();
    let (zones, left_out, far, habits) = (found.clone(), found.left_out.clone(), found.far, found.habits.clone());
    let mut prevalence = majority.count();
    let mut outside = |observation: &Observation<'_>| {
        if let Some(prevalence) = &mut prevalence
            && !matches!(zones.zone(observation.at), Zone::Within(_))
        {
            prevalence.observe(observation);
        }
    };
    let surges = if found.surges.is_empty() {
        read_again(&Logs { networks: None, ..logs }, progress, outside);
        Vec::new()
    } else {
        explain_surges(found, &logs, seed, progress, &mut outside)
    };
    let prevalent = prevalence.map(Prevalence::finish).unwrap_or_default();
    Explanation { inputs, notes, surges, left_out, far, habits, prevalent }
}

/// Explains surges that were found in these logs, by reading them twice more, of which `second` is shown the first. `seed` is that
/// of sampling.
pub(super) fn explain_surges(
    found: Found,
    logs: &Logs<'_>,
    seed: u64,
    progress: &mut Progress,
    second: &mut dyn FnMut(&Observation<'_>),
) -> Vec<TracedSurge> {
    if found.surges.is_empty() {
        return Vec::new();
    }
    // Most requests need not be located.
    let (networks, logs) = (logs.networks, Logs { networks: None, ..*logs });
    let locate = |observation: &mut Observation<'_>| {
        if let Some(networks) = networks {
            networks.locate(observation.client, &mut observation.request);
        }
    };
    let zones = found.clone();
    let mut explaining = Explaining {
        outlines: Outlines::default(),
        zones,
        explainer: Explainer::new(found, seed),
        second,
        locate: &locate,
    };
    read_inputs(&mut Inputs::default(), &logs, progress, &mut explaining, |_| {});
    let Explaining { outlines, explainer, .. } = explaining;
    let trace = explainer.explain();
    let mut tracing = Tracing {
        passing: outlines.passing(&trace),
        asks_for_networks: trace.asks_for_networks(),
        trace,
        locate: &locate,
    };
    read_inputs(&mut Inputs::default(), &logs, progress, &mut tracing, |_| {});
    tracing.trace.finish()
}

/// Says where the client of a request is.
type Locate<'a> = &'a dyn Fn(&mut Observation<'_>);

/// The second reading.
struct Explaining<'a> {
    zones: Found,
    outlines: Outlines,
    explainer: Explainer,
    /// Who else is shown the requests.
    second: &'a mut dyn FnMut(&Observation<'_>),
    locate: Locate<'a>,
}

impl Visitor for &mut Explaining<'_> {
    fn wants(&mut self, block: &Block) -> bool {
        self.outlines.begin(block);
        true
    }

    fn visit(&mut self, request: &LogRequest<'_>) -> ControlFlow<()> {
        let observation = request.observation;
        (self.second)(observation);
        self.outlines.note(observation, self.zones.zone(observation.at));
        self.explainer.observe(observation, self.locate);
        ControlFlow::Continue(())
    }
}

/// The third reading.
struct Tracing<'a> {
    trace: Trace,
    passing: Passing,
    asks_for_networks: bool,
    locate: Locate<'a>,
}

impl Visitor for &mut Tracing<'_> {
    fn wants(&mut self, block: &Block) -> bool {
        match self.passing.pass(block) {
            Some(outside) => {
                self.trace.pass(outside);
                false
            }
            None => true,
        }
    }

    fn visit(&mut self, request: &LogRequest<'_>) -> ControlFlow<()> {
        if self.asks_for_networks {
            let mut observation = *request.observation;
            (self.locate)(&mut observation);
            self.trace.observe(&observation);
        } else {
            self.trace.observe(request.observation);
        }
        ControlFlow::Continue(())
    }
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
        let mut written: HashMap<String, String> = HashMap::new();
        for surge in &self.surges {
            for traced in &surge.rules {
                let when = super::log::moment(surge.explained.surge.from.as_seconds());
                // Where the log has no addresses there is nothing to say of clients.
                let from = match traced.within.clients {
                    0 => String::new(),
                    clients => format!(" from {}", clients_text(clients, traced.within.clients_exact)),
                };
                text += &format!(
                    "\n# {when}: {:.0}% of the excess, {} requests{from}; at most {:.2}% of normal traffic\n",
                    traced.coverage * 100.0,
                    traced.within.requests,
                    percent_at_most(traced.outside_share_upper),
                );
                let (name, rule) = (rule_name(traced), traced.rule.text_with_networks());
                if let Some(same) = written.get(&rule) {
                    text += &format!("# the same rule as {same}\n");
                    continue;
                }
                // Whoever puts the file to use as it is refuses nothing that the advice says not to.
                let objection = advice::objection(surge, traced).map(|why| format!("{NOT_ADVISED}{why}\n# "));
                if objection.is_none() {
                    written.insert(rule.clone(), name.clone());
                }
                text += &format!("{}{name}: {rule}\n", objection.unwrap_or_default());
            }
        }
        text
    }
}

impl Notes {
    fn take(&mut self, request: &LogRequest<'_>) {
        let observation = request.observation;
        self.without_client += u64::from(observation.client.is_none());
        self.without_agent += u64::from(observation.request.user_agent.is_none());
        let at = observation.at;
        // Each input begins anew, since several may be of the same time; and so does what comes after a line that ran backwards,
        // for one with a wrong date shall not count against all that follow.
        let newest = self.newest.filter(|(input, _)| *input == request.input).map_or(at, |(_, newest)| newest);
        let is_backwards = at.as_seconds() + BACKWARDS_SECONDS < newest.as_seconds();
        self.backwards += u64::from(is_backwards);
        self.newest = Some((request.input, if is_backwards { at } else { at.max(newest) }));
    }
}

/// What a rule is called.
fn rule_name(traced: &Traced) -> String {
    format!("rule-{}", traced.rule.id.0)
}

/// How many clients.
fn clients_text(clients: u64, is_exact: bool) -> String {
    match clients {
        1 => "one client".to_owned(),
        _ => format!("{}{} clients", if is_exact { "" } else { "about " }, super::text::grouped(clients)),
    }
}

/// Reads the logs again; what could not be read was said the first time.
fn read_again(logs: &Logs<'_>, progress: &mut Progress, mut visit: impl FnMut(&Observation<'_>)) {
    let again = |request: &LogRequest<'_>| {
        visit(request.observation);
        ControlFlow::Continue(())
    };
    read_inputs(&mut Inputs::default(), logs, progress, again, |_| {});
}
