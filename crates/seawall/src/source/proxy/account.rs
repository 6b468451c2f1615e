//! The account of a request that goes on: what is told to detection and to the counters, when it arrives and when it is over.

use std::rc::Rc;

use seawall_engine::address::ClientAddress;
use seawall_engine::gate::Awaited;
use seawall_engine::observation::{CLIENT_GONE, Cost, Observation, Outcome, Request};
use seawall_engine::units::Timestamp;

use super::connection::{Connection, Phase, Sender};
use super::under_way::UnderWay;
use super::upstream::UpstreamError;
use crate::source::record::Record;

/// What is still to be told about a request when its answer is through.
pub(super) struct Account {
    pub(super) connection: Rc<Connection>,
    pub(super) outcome: Outcome,
    /// Whether it was refused for want of a connection to the site. To detection that is a failure of the site.
    is_overload: bool,
    /// There when the request was selected for detection.
    under_way: Option<Rc<UnderWay>>,
    /// What limits have still to see, and whose request it is.
    awaited: Awaited,
    client: Option<ClientAddress>,
}

impl Account {
    /// Opens the account of a request: its arrival is handed to detection at once. Until there is an answer, it counts as one
    /// that its client does not wait for.
    pub(super) fn open(connection: &Rc<Connection>, request: &Request<'_>, sender: Sender, arrived: Timestamp) -> Self {
        connection.begin_exchange();
        let mut account = Self::without_record(connection);
        account.outcome = Outcome::Served { status: CLIENT_GONE };
        (account.awaited, account.client) = (sender.awaited, sender.client);
        let mut sampler = connection.worker.sampler.borrow_mut();
        account.under_way = sampler.select(arrived).map(|weight| {
            let record = Record::new(&Observation {
                at: arrived,
                client: sender.client,
                request: *request,
                outcome: Outcome::Arrived,
                cost: Cost { requests: 1, ..Cost::default() },
                weight,
                history: sender.history,
            });
            sampler.push(record.clone());
            connection.worker.under_way.add(UnderWay::new(arrived, record))
        });
        drop(sampler);
        account
    }

    /// The account of a request whose observation has been made already, or that is not worth one.
    pub(super) fn without_record(connection: &Rc<Connection>) -> Self {
        Self {
            connection: Rc::clone(connection),
            outcome: Outcome::Arrived,
            is_overload: false,
            under_way: None,
            awaited: Awaited::default(),
            client: None,
        }
    }

    /// The head of the answer has come, or it is certain that none will: the site works on it no longer.
    pub(super) fn answer(&self) {
        if let Some(under_way) = &self.under_way {
            under_way.answer(self.connection.worker.shared.clock.now());
        }
    }

    /// So many more bytes of the answer are on their way to the client.
    pub(super) fn count(&self, bytes: usize) {
        if let Some(under_way) = &self.under_way {
            under_way.count(bytes as u64);
        }
    }

    /// There is no answer from the site, and the client is told so with `status`.
    pub(super) fn fail_with(&mut self, error: &UpstreamError, status: u16) {
        self.is_overload = matches!(error, UpstreamError::Saturated);
        self.outcome = if error.is_the_clients() { Outcome::Served { status } } else { Outcome::Failed { status } };
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
            Outcome::Failed { .. } if self.is_overload => worker.traffic.overloaded.add(1),
            outcome if outcome.is_failure() => worker.traffic.failed.add(1),
            Outcome::Served { status: CLIENT_GONE } => worker.traffic.gone.add(1),
            Outcome::Served { .. } => worker.traffic.served.add(1),
            Outcome::Arrived | Outcome::UnderWay | Outcome::Refused(_) | Outcome::Failed { .. } => {}
        }
        if matches!(self.outcome, Outcome::Failed { status: 503 } | Outcome::Served { status: 429 | 503 }) {
            worker.told_to_wait(self.connection.asking.get());
        }
        if let Outcome::Failed { status } | Outcome::Served { status } = self.outcome {
            worker.answered(self.awaited, self.client, self.connection.peer_is_trusted, status);
        }
        if let Some(under_way) = self.under_way.take() {
            let record = under_way.end(worker.shared.clock.now(), self.outcome);
            worker.sampler.borrow_mut().push(record);
        }
        if self.connection.phase() == Phase::Exchange {
            self.connection.enter(Phase::Idle);
        }
    }
}
