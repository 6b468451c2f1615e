//! What is counted while logs are read, in memory that does not grow with them.

use std::ops::ControlFlow;

use hashbrown::DefaultHashBuilder;
use hdrhistogram::Histogram;
use seawall_engine::decision::expression::Answer;
use seawall_engine::detection::explain::SurgeFinder;

use super::located::Waiting;
use super::panel::{DistributionPanel, Kind, Panel, Scratch, Seen, TablePanel, Value, ValueOf};
use super::traffic::{OutcomeClass, Traffic};
use crate::agents::{Agents, RecentAgents};
use crate::networks::Networks;
use crate::show::log::read::{Collector, LogRequest, Visitor};
use crate::show::log::table::{Budget, Count, Table};

/// What all tables of a report may hold beyond the 1,024 values that each always may, in bytes: some 200,000 addresses. With four times
/// as much a log of a million clients took twice the time, most of it waiting for memory. Merging may need as much again for a
/// moment.
const TABLE_BYTES: usize = 24 << 20;

/// The digits to which a distribution is exact.
const DISTRIBUTION_DIGITS: u8 = 2;

/// What one thread has counted.
pub(super) struct Collection<'a> {
    budget: Budget,
    agents: RecentAgents,
    networks: &'a Networks,
    /// What is not counted by client yet.
    waiting: Waiting,
    pub(super) counters: Vec<Counter>,
}

/// What is counted for one panel.
pub(super) struct Counter {
    pub(super) panel: &'static Panel,
    pub(super) counted: Counted,
}

/// What was counted.
pub(super) enum Counted {
    Table(TableCounter),
    Distribution(DistributionCounter),
    Traffic(Box<Traffic>),
    Surges(SurgeFinder),
    /// What another panel counts is enough.
    Elsewhere,
}

pub(super) struct TableCounter {
    pub(super) panel: &'static TablePanel,
    pub(super) table: Table,
    /// Requests whose log has no room for the value.
    pub(super) unrecorded: Count,
}

pub(super) struct DistributionCounter {
    pub(super) panel: &'static DistributionPanel,
    pub(super) amounts: Histogram<u64>,
    pub(super) unrecorded: u64,
}

impl<'a> Collection<'a> {
    /// So many collections, for as many threads, of these panels.
    pub(super) fn several(panels: &[&'static Panel], networks: &'a Networks, threads: usize) -> Vec<Self> {
        let hasher = DefaultHashBuilder::default();
        let threads = threads.max(1);
        let one = || Self {
            budget: Budget::new(TABLE_BYTES / threads),
            agents: RecentAgents::new(Agents::built_in()),
            networks,
            waiting: Waiting::default(),
            counters: panels.iter().map(|panel| Counter::new(panel, hasher.clone())).collect(),
        };
        (0..threads).map(|_| one()).collect()
    }

    /// Counts by client what waits for that. To be called after the last request.
    pub(super) fn count_waiting(&mut self) {
        let Self { budget, networks, waiting, counters, .. } = self;
        waiting.locate(networks);
        for counter in counters {
            if let Counted::Table(counter) = &mut counter.counted {
                counter.add_located(waiting, budget);
            }
        }
        waiting.clear();
    }
}

impl Counter {
    fn new(panel: &'static Panel, hasher: DefaultHashBuilder) -> Self {
        let counted = match &panel.kind {
            Kind::Table(panel) => {
                Counted::Table(TableCounter { panel, table: Table::new(hasher), unrecorded: Count::default() })
            }
            Kind::Distribution(panel) => {
                Counted::Distribution(DistributionCounter { panel, amounts: amounts(panel), unrecorded: 0 })
            }
            Kind::Traffic => Counted::Traffic(Box::default()),
            Kind::Surges => Counted::Surges(SurgeFinder::default()),
            Kind::Derived(_) => Counted::Elsewhere,
        };
        Self { panel, counted }
    }
}

/// A histogram from 1 to the largest amount. The bounds are those of the panels, which a test makes.
fn amounts(panel: &DistributionPanel) -> Histogram<u64> {
    Histogram::new_with_bounds(1, panel.most.max(2), DISTRIBUTION_DIGITS)
        .unwrap_or_else(|error| unreachable!("the bounds of a panel are right: {error}"))
}

impl Visitor for Collection<'_> {
    #[inline]
    fn visit(&mut self, request: &LogRequest<'_>) -> ControlFlow<()> {
        if self.waiting.is_full() {
            self.count_waiting();
        }
        let Self { budget, agents, waiting, counters, .. } = self;
        let observation = request.observation;
        let count = request.count();
        let family = observation.request.user_agent.map(|agent| agents.family_of(agent));
        let seen = Seen { request, family, status: Answer::new(observation.outcome, 0).status };
        let outcome = OutcomeClass::of(seen.status);
        waiting.add(observation.client, count, outcome as usize);
        for counter in counters {
            match &mut counter.counted {
                Counted::Table(counter) => counter.add(&seen, count, outcome as usize, budget),
                Counted::Distribution(counter) => counter.add(request),
                Counted::Traffic(traffic) => traffic.add(observation.at.as_seconds(), outcome, count),
                Counted::Surges(finder) => finder.add(observation),
                Counted::Elsewhere => {}
            }
        }
        ControlFlow::Continue(())
    }
}

impl TableCounter {
    #[inline]
    fn add(&mut self, seen: &Seen<'_>, count: Count, kind: usize, budget: &mut Budget) {
        let ValueOf::Request(value) = self.panel.value else { return };
        let mut scratch = Scratch::default();
        match value(seen, &mut scratch) {
            Value::Is(value) => self.table.add(Some(value), count, kind, budget),
            Value::Absent => self.table.add(None, count, kind, budget),
            Value::NotRecorded => self.unrecorded.add(count),
            Value::Outside => {}
        }
    }

    /// Counts all that waited, if it is by client that the panel counts.
    fn add_located(&mut self, waiting: &Waiting, budget: &mut Budget) {
        let ValueOf::Client(value) = self.panel.value else { return };
        self.table.add_all(waiting.located().map(|(located, count, kind)| (value(&located), count, kind)), budget);
    }
}

impl DistributionCounter {
    #[inline]
    fn add(&mut self, request: &LogRequest<'_>) {
        match (self.panel.value)(request) {
            Some(amount) => self.amounts.saturating_record(amount),
            None => self.unrecorded += 1,
        }
    }
}

impl Collector for Collection<'_> {
    fn merge(&mut self, mut others: Vec<Self>) {
        self.count_waiting();
        others.iter_mut().for_each(Self::count_waiting);
        let mut others: Vec<_> = others.into_iter().map(|other| other.counters.into_iter()).collect();
        for counter in &mut self.counters {
            let same: Vec<Counted> = others.iter_mut().filter_map(Iterator::next).map(|other| other.counted).collect();
            counter.counted.merge(same);
        }
    }
}

impl Counted {
    /// Adds what others of the same panel counted.
    fn merge(&mut self, others: Vec<Self>) {
        if let Self::Table(counter) = self {
            let tables = others.into_iter().filter_map(|other| match other {
                Self::Table(other) => {
                    counter.unrecorded.add(other.unrecorded);
                    Some(other.table)
                }
                _ => None,
            });
            let tables = tables.collect();
            return counter.table.merge(tables);
        }
        for other in others {
            match (&mut *self, other) {
                (Self::Distribution(counter), Self::Distribution(other)) => {
                    counter.unrecorded += other.unrecorded;
                    // Both have the same bounds.
                    let _ = counter.amounts.add(&other.amounts);
                }
                (Self::Traffic(traffic), Self::Traffic(other)) => traffic.merge(&other),
                (Self::Surges(finder), Self::Surges(other)) => finder.merge(other),
                _ => {}
            }
        }
    }
}

impl Collection<'_> {
    /// What is to find the surges, if they are asked for.
    pub(super) fn take_surges(&mut self) -> Option<SurgeFinder> {
        self.counters.iter_mut().find_map(|counter| match &mut counter.counted {
            Counted::Surges(finder) => Some(std::mem::take(finder)),
            _ => None,
        })
    }
}
