//! What a backtest says, ready to be shown. Its serialised form is the output of `--json`, whose names are kept stable and
//! described in `docs/backtest.md`. Every text in it has been made safe for a terminal.

use serde::Serialize;

use super::tally::Tally;
use super::visitors::{CLIENTS_MAX, ClientsHit};
use super::{Backtest, TriedRule};
use crate::show::log::moment;
use crate::show::log::summary::{InputSummary, Timeline, Totals, UnreadSummary, share};
use crate::show::log::table::Table;
use crate::show::text::escape;

/// How many user agents, paths and clients are named for each rule.
const NAMED_MAX: usize = 3;

/// What a backtest says.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub(super) totals: Totals,
    /// How many clients can be known one by one.
    pub(super) clients_max: usize,
    pub(super) rules: Vec<RuleSummary>,
    /// All rules together: what at least one of them matches.
    pub(super) together: Matches,
    pub(super) inputs: Vec<InputSummary>,
    pub(super) unread: Vec<UnreadSummary>,
}

#[derive(Debug, Serialize)]
pub(super) struct RuleSummary {
    pub(super) name: Option<String>,
    /// Where it was written.
    pub(super) place: String,
    /// Its canonical text.
    pub(super) text: String,
    /// Requests whose log does not record what it asks for.
    pub(super) not_judged: u64,
    /// What that is.
    pub(super) not_recorded: Vec<&'static str>,
    /// When it matched nothing: those of its conditions that matched nothing by themselves either.
    pub(super) conditions_never_met: Vec<String>,
    /// How many conditions it has.
    pub(super) conditions: usize,
    #[serde(flatten)]
    pub(super) matches: Matches,
}

/// Matched requests.
#[derive(Debug, Serialize)]
pub(super) struct Matches {
    pub(super) requests: u64,
    pub(super) requests_share: f64,
    pub(super) bytes: u64,
    pub(super) bytes_share: f64,
    /// Distinct clients that sent them.
    pub(super) clients: u64,
    pub(super) clients_share: f64,
    /// Whether `clients` and what is said of returning ones are exact; else `clients` is an estimate, and there are at least
    /// so many returning ones.
    pub(super) clients_exact: bool,
    pub(super) returning_clients: u64,
    /// Matched requests of returning clients.
    pub(super) returning_requests: u64,
    /// How many of them had been answered with 2xx or 3xx.
    pub(super) returning_requests_answered: u64,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) span_seconds: u64,
    /// By the status that the server gave, `None` for no answer, most first.
    pub(super) statuses: Vec<StatusSummary>,
    pub(super) user_agents: Vec<ValueSummary>,
    /// Matched requests that have none, or whose log has no room for one.
    pub(super) without_user_agent: u64,
    pub(super) paths: Vec<ValueSummary>,
    pub(super) most_hit_returning_clients: Vec<ReturningSummary>,
    pub(super) timeline: Option<Timeline>,
}

#[derive(Debug, Serialize)]
pub(super) struct StatusSummary {
    pub(super) status: Option<u16>,
    pub(super) requests: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct ValueSummary {
    pub(super) value: String,
    pub(super) requests: u64,
    /// By how much that may be too many.
    pub(super) requests_error: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct ReturningSummary {
    pub(super) client: String,
    pub(super) requests: u32,
    pub(super) requests_answered: u32,
}

impl Backtest {
    /// What the backtest says.
    pub fn summary(&self) -> Summary {
        let (clients, clients_exact) = self.visitors.clients();
        let mut hit = self.visitors.hit_clients(NAMED_MAX);
        let together = hit.pop().unwrap_or_default();
        let rules = self.rules.iter().zip(&hit);
        Summary {
            totals: self.inputs.totals(clients, clients_exact),
            clients_max: CLIENTS_MAX,
            rules: rules.map(|(rule, hit)| self.rule(rule, hit)).collect(),
            together: self.matches(&self.together, &together),
            inputs: self.inputs.summaries(),
            unread: self.inputs.unread_summaries(&self.clients),
        }
    }

    fn rule(&self, rule: &TriedRule, hit: &ClientsHit) -> RuleSummary {
        let judged = self.inputs.total.hits > rule.not_judged;
        let never_met = rule.never_met().filter(|_| judged && rule.tally.total.hits == 0);
        RuleSummary {
            name: rule.candidate.name.as_ref().map(|name| escape(name.as_bytes())),
            place: escape(rule.candidate.place.as_bytes()),
            // The canonical text is printable ASCII already.
            text: rule.candidate.expression.to_string(),
            not_judged: rule.not_judged,
            not_recorded: rule.unrecorded.names(),
            conditions_never_met: never_met.map(ToString::to_string).collect(),
            conditions: rule.conditions.len(),
            matches: self.matches(&rule.tally, hit),
        }
    }

    fn matches(&self, tally: &Tally, hit: &ClientsHit) -> Matches {
        let all = &self.inputs;
        let (clients, clients_exact) = self.visitors.clients();
        let time = |at: Option<seawall_engine::units::Timestamp>| at.map(|at| moment(at.as_seconds()).to_string());
        let mut statuses: Vec<StatusSummary> = tally
            .statuses
            .iter()
            .map(|(status, requests)| StatusSummary { status: *status, requests: *requests })
            .collect();
        statuses.sort_by_key(|status| std::cmp::Reverse(status.requests));
        let span = all.first.zip(all.last).filter(|_| tally.total.hits > 0);
        let returning = |client: &super::visitors::Returning| ReturningSummary {
            client: self.clients.label(client.key),
            requests: client.requests,
            requests_answered: client.answered,
        };
        Matches {
            requests: tally.total.hits,
            requests_share: share(tally.total.hits, all.total.hits),
            bytes: tally.total.bytes,
            bytes_share: share(tally.total.bytes, all.total.bytes),
            clients: hit.clients,
            // Two estimates can say that there are more of a part than of the whole.
            clients_share: share(hit.clients.min(clients), clients),
            clients_exact: clients_exact && hit.is_exact,
            returning_clients: hit.returning,
            returning_requests: hit.returning_requests,
            returning_requests_answered: hit.returning_answered,
            from: time(tally.first),
            to: time(tally.last),
            span_seconds: tally.first.zip(tally.last).map_or(0, |(first, last)| last.since(first).as_secs()),
            statuses,
            user_agents: most_frequent(&tally.user_agents),
            without_user_agent: tally.user_agents.absent().hits,
            paths: most_frequent(&tally.paths),
            most_hit_returning_clients: hit.most_hit.iter().map(returning).collect(),
            timeline: span.and_then(|(first, last)| tally.hours.timeline(first.as_seconds(), last.as_seconds())),
        }
    }
}

fn most_frequent(table: &Table) -> Vec<ValueSummary> {
    let rows = table.top(NAMED_MAX).into_iter();
    rows.map(|row| ValueSummary { value: escape(&row.value), requests: row.count.hits, requests_error: row.hits_error })
        .collect()
}
