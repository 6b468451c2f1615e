//! What is counted of the requests that one rule matches.

use std::collections::BTreeMap;

use hashbrown::DefaultHashBuilder;
use seawall_engine::decision::expression::Answer;
use seawall_engine::observation::Request;
use seawall_engine::units::Timestamp;

use super::hours::Hours;
use crate::show::log::table::{Budget, Count, Table};

/// The tables of each rule get no memory beyond what every table has: only the few most frequent values are shown.
const BUDGET: Budget = Budget::new(0);

/// The longest value that is counted as it is, as the guard's rules cut it.
const VALUE_BYTES_MAX: usize = seawall_engine::observation::attribute::VALUE_BYTES_MAX;

/// Counts of matched requests.
pub(super) struct Tally {
    pub(super) total: Count,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    pub(super) hours: Hours,
    /// By the status that the server gave; `None` where it gave no answer.
    pub(super) statuses: BTreeMap<Option<u16>, u64>,
    pub(super) user_agents: Table,
    pub(super) paths: Table,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            total: Count::default(),
            first: None,
            last: None,
            hours: Hours::new(),
            statuses: BTreeMap::new(),
            user_agents: Table::new(DefaultHashBuilder::default()),
            paths: Table::new(DefaultHashBuilder::default()),
        }
    }

    pub(super) fn add(&mut self, at: Timestamp, request: &Request<'_>, answer: Answer) {
        let count = Count::of_bytes(answer.bytes);
        self.total.add(count);
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
        self.hours.add(at.as_seconds());
        *self.statuses.entry(answer.status).or_default() += 1;
        self.user_agents.add(request.user_agent.map(cut), count, 0, &mut { BUDGET });
        self.paths.add(Some(cut(request.path)), count, 0, &mut { BUDGET });
    }
}

fn cut(value: &[u8]) -> &[u8] {
    value.get(..VALUE_BYTES_MAX).unwrap_or(value)
}
