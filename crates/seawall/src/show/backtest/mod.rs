//! What rules would have refused, from logs: how much, when, and whom it would have hurt.
//!
//! A [`Backtest`] asks every rule of every request, in memory that does not grow with the logs, and changes nothing; its
//! [`Summary`] is what is shown, the same for people ([`terminal`]) and for programs (JSON). Client addresses leave it only as
//! pseudonyms unless it was made to show them. A request whose log does not record what a rule asks for is not judged by it.

mod hours;
mod summary;
mod tally;
pub mod terminal;
mod visitors;

use std::ops::ControlFlow;

use seawall_engine::decision::expression::{Answer, Comparison, Expression};

use super::log::inputs::Inputs;
use super::log::read::{LogRequest, read_inputs};
use super::log::recorded::{Attributes, unrecorded};
use super::log::{Clients, Logs, Progress};
use crate::source::follow::{InputError, LineBreak};

pub use summary::Summary;

use tally::Tally;
use visitors::Visitors;

/// The most rules that are tried at once.
pub const RULES_MAX: usize = 64;

/// A rule that is to be tried.
pub struct Candidate {
    /// What it is called, if anything.
    pub name: Option<String>,
    /// Where it comes from, for people: a line of a file, an option.
    pub place: String,
    /// What it asks.
    pub expression: Expression,
}

/// What is known so far.
pub struct Backtest {
    rules: Vec<TriedRule>,
    /// Requests that any of the rules matches.
    together: Tally,
    visitors: Visitors,
    clients: Clients,
    inputs: Inputs,
}

/// A rule, and what it matched.
struct TriedRule {
    candidate: Candidate,
    asked: Attributes,
    conditions: Vec<Comparison>,
    /// One bit for each condition, in order, that a judged request has met by itself. Kept until the rule matches: it is to
    /// say why a rule matches nothing.
    met: u64,
    tally: Tally,
    not_judged: u64,
    /// Why not.
    unrecorded: Attributes,
}

impl Backtest {
    /// Tries at most [`RULES_MAX`] rules, further ones are left out, and names clients in this way.
    pub fn new(candidates: Vec<Candidate>, clients: Clients) -> Self {
        let rules: Vec<TriedRule> = candidates.into_iter().take(RULES_MAX).map(TriedRule::new).collect();
        let visitors = Visitors::new(rules.len() + 1);
        Self { rules, together: Tally::new(), visitors, clients, inputs: Inputs::default() }
    }

    /// Whether any rule asks where clients are, so that the networks of clients are needed.
    pub fn asks_for_networks(&self) -> bool {
        self.rules.iter().any(|rule| rule.asked.holds_networks())
    }

    /// Asks the rules of every request of every input. Each matched line is given to `matched`, byte for byte, until that
    /// breaks off. An input that cannot be read, or not whole, does not keep the others out: it is given to `failed` at
    /// once, and named in the summary.
    pub fn collect(
        &mut self,
        logs: &Logs<'_>,
        progress: &mut Progress,
        mut matched: impl FnMut(&[u8], LineBreak) -> ControlFlow<()>,
        failed: impl FnMut(&InputError),
    ) {
        let Self { rules, together, visitors, inputs, .. } = self;
        let visit = |request: &LogRequest<'_>| {
            if try_rules(rules, together, visitors, request) {
                matched(request.line, request.line_break)
            } else {
                ControlFlow::Continue(())
            }
        };
        read_inputs(inputs, logs, progress, visit, failed);
    }
}

/// Asks every rule of a request, and says whether any matches.
fn try_rules(
    rules: &mut [TriedRule],
    together: &mut Tally,
    visitors: &mut Visitors,
    log_request: &LogRequest<'_>,
) -> bool {
    let observation = log_request.observation;
    let answer = Answer::new(observation.outcome, observation.cost.bytes);
    let is_answered = answer.status.is_some_and(|status| (200..400).contains(&status));
    // Good until 2106; a later second is taken for the last one.
    let second = u32::try_from(observation.at.as_seconds()).unwrap_or(u32::MAX);
    let seen = observation.client.map(|client| visitors.see(client.client_key(), second));
    let mut is_matched = false;
    for (number, rule) in (0..).zip(rules.iter_mut()) {
        if rule.judge(log_request, answer) {
            is_matched = true;
            rule.tally.add(observation.at, &observation.request, answer);
            if let Some(seen) = seen {
                visitors.hit(seen, number, second, is_answered);
            }
        }
    }
    if is_matched {
        together.add(observation.at, &observation.request, answer);
        if let (Some(seen), Ok(number)) = (seen, u32::try_from(rules.len())) {
            visitors.hit(seen, number, second, is_answered);
        }
    }
    is_matched
}

impl TriedRule {
    fn new(candidate: Candidate) -> Self {
        let conditions: Vec<Comparison> = candidate.expression.conditions().into_iter().cloned().collect();
        let asked = Attributes::asked_by(&candidate.expression);
        let (tally, unrecorded) = (Tally::new(), Attributes::default());
        Self { candidate, asked, conditions, met: 0, tally, not_judged: 0, unrecorded }
    }

    /// Whether it matches a request; not where the log does not record what it asks for.
    fn judge(&mut self, log_request: &LogRequest<'_>, answer: Answer) -> bool {
        let unrecorded = unrecorded(self.asked, log_request);
        if !unrecorded.is_empty() {
            self.not_judged += 1;
            self.unrecorded.extend(unrecorded);
            return false;
        }
        let observation = log_request.observation;
        let (request, client) = (&observation.request, observation.client);
        if self.candidate.expression.matches(request, client, answer) {
            return true;
        }
        if self.tally.total.hits == 0 {
            for (number, condition) in self.conditions.iter().enumerate() {
                let bit = 1 << number;
                if self.met & bit == 0 && condition.matches(request, client, answer) {
                    self.met |= bit;
                }
            }
        }
        false
    }

    /// The conditions that no judged request met by itself; of use only where the rule matched nothing.
    fn never_met(&self) -> impl Iterator<Item = &Comparison> {
        let numbered = self.conditions.iter().enumerate();
        numbered.filter(|(number, _)| self.met & 1 << number == 0).map(|(_, condition)| condition)
    }
}
