//! The account of a request that goes on: what is told to detection and to the counters, when it arrives and when it is over.

use std::rc::Rc;

use seawall_engine::observation::{Cost, Observation, Outcome, Request};
use seawall_engine::units::Timestamp;

use super::connection::{Connection, Phase, Sender};
use crate::source::record::Record;

/// What nginx writes down for a client that went away before its answer.
const CLIENT_GONE: u16 = 499;

/// What is still to be told about a request when its answer is through.
pub(super) struct Account {
    pub(super) connection: Rc<Connection>,
    /// When the request arrived, and when the head of the answer came; until it does, the site works on it.
    pub(super) arrived: Timestamp,
    pub(super) answered: Option<Timestamp>,
    pub(super) outcome: Outcome,
    pub(super) bytes: u64,
    /// There when the request was selected for detection.
    pub(super) record: Option<Box<Record>>,
}

impl Account {
    /// Opens the account of a request: its arrival is handed to detection at once. Until there is an answer, it counts as one
    /// that its client does not wait for.
    pub(super) fn open(connection: &Rc<Connection>, request: &Request<'_>, sender: Sender, arrived: Timestamp) -> Self {
        connection.begin_exchange();
        let mut account = Self::without_record(connection, arrived);
        account.outcome = Outcome::Served { status: CLIENT_GONE };
        let mut sampler = connection.worker.sampler.borrow_mut();
        account.record = sampler.select(arrived).map(|weight| {
            let record = Box::new(Record::new(&Observation {
                at: arrived,
                client: sender.client,
                request: *request,
                outcome: Outcome::Arrived,
                cost: Cost { requests: 1, ..Cost::default() },
                weight,
                history: sender.history,
            }));
            sampler.push(Record::clone(&record));
            record
        });
        drop(sampler);
        account
    }

    /// The account of a request whose observation has been made already, or that is not worth one.
    pub(super) fn without_record(connection: &Rc<Connection>, arrived: Timestamp) -> Self {
        Self {
            connection: Rc::clone(connection),
            arrived,
            answered: None,
            outcome: Outcome::Arrived,
            bytes: 0,
            record: None,
        }
    }

    /// The site's answer broke off after its head.
    pub(super) fn fail(&mut self) {
        if let Outcome::Served { status } = self.outcome {
            self.outcome = Outcome::Failed { status };
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let worker = &self.connection.worker;
        match self.outcome {
            // A site that answers with errors of its own fails no less than one that does not answer.
            Outcome::Failed { .. } | Outcome::Served { status: 500.. } => worker.traffic.failed.add(1),
            Outcome::Served { status: CLIENT_GONE } => worker.traffic.gone.add(1),
            Outcome::Served { .. } => worker.traffic.served.add(1),
            Outcome::Arrived | Outcome::Refused(_) => {}
        }
        if matches!(self.outcome, Outcome::Failed { status: 503 } | Outcome::Served { status: 429 | 503 }) {
            worker.told_to_wait(self.connection.asking.get());
        }
        if let Some(mut record) = self.record.take() {
            let now = worker.shared.clock.now();
            let cost = Cost {
                requests: 0,
                bytes: self.bytes,
                upstream_time: self.answered.unwrap_or(now).since(self.arrived),
                connection_time: now.since(self.arrived),
            };
            record.finish(now, self.outcome, cost);
            worker.sampler.borrow_mut().push(*record);
        }
        if self.connection.phase() == Phase::Exchange {
            self.connection.enter(Phase::Idle);
        }
    }
}
