//! Who sent a request, whether it is let in, and what detection is told of one that goes no further.

use std::time::Duration;

use seawall_engine::address::ClientAddress;
use seawall_engine::gate::{DROPPED_STATUS, Judged, Judgement};
use seawall_engine::observation::{Cost, Observation, Outcome, Refusal, Request};
use seawall_engine::silence::Sent;
use seawall_engine::units::Timestamp;

use super::super::answers::Reply;
use super::super::claims::{Belief, Claims};
use super::super::client_address;
use super::super::settings::{Destination, Settings};
use super::{Connection, Sender};
use crate::config::ClientAddressSource;
use crate::source::record::Record;

/// Requests of which it is noted who sent them, between two times that this is handed over, four a second: enough to tell a share, and
/// nothing in a flood.
const NOTED_MAX: u32 = 64;

/// How a request is turned away.
pub(in super::super) enum Refused {
    /// With an answer.
    With(Reply),
    /// With a reset.
    Silently,
}

impl Connection {
    /// Routes and judges a request, and counts what comes of it. Used for the first request on a connection and, by
    /// [`super::super::forward`], for all later ones.
    pub(in super::super) fn admit(
        &self,
        settings: &Settings,
        request: &Request<'_>,
        client: Option<ClientAddress>,
        now: Timestamp,
    ) -> Result<(Destination, Sender), Refused> {
        let traffic = &self.worker.traffic;
        traffic.requests.add(1);
        let Some(destination) = settings.destination(request.host) else {
            traffic.misdirected.add(1);
            self.report(request, Sender::unjudged(client), Outcome::Refused(Refusal::Misdirected), now);
            return Err(Refused::With(Reply::Misdirected));
        };
        let Judged { judgement, history, awaited, .. } = self.worker.judge(request, client, self.peer_is_trusted, now);
        let sender = Sender { client, history, awaited };
        self.asking.set(client);
        let (refusal, refused) = match judgement {
            Judgement::Pass => return Ok((destination.clone(), sender)),
            Judgement::Refuse { rule, status } => {
                traffic.refused_rule.add(1);
                (Refusal::Rule(rule), Refused::With(Reply::Rule(rule, status)))
            }
            // Closing the connection of a proxy would take the requests of its other clients with it.
            Judgement::Drop { rule } if self.is_shared(settings) => {
                traffic.refused_rule.add(1);
                (Refusal::Rule(rule), Refused::With(Reply::Rule(rule, DROPPED_STATUS)))
            }
            Judgement::Drop { rule } => {
                traffic.dropped_rule.add(1);
                (Refusal::Rule(rule), Refused::Silently)
            }
            Judgement::ClientLimit => {
                traffic.client_limited.add(1);
                (Refusal::ClientLimit, Refused::With(Reply::ClientLimit))
            }
        };
        if matches!(refusal, Refusal::Rule(_)) {
            match client {
                _ if !self.peer_is_trusted => self.worker.hand_down_if_due(self.peer, false, now),
                Some(client) => self.worker.hand_down_if_due(client, true, now),
                None => {}
            }
        }
        self.report(request, sender, Outcome::Refused(refusal), now);
        Err(refused)
    }

    /// Whether requests of several clients come over this connection.
    fn is_shared(&self, settings: &Settings) -> bool {
        self.peer_is_trusted && settings.client_address != ClientAddressSource::ProxyProtocol
    }

    /// Who sent a request: the peer, or whom a trusted peer names.
    pub(in super::super) fn client<'a, I>(
        &self,
        settings: &Settings,
        values: impl FnOnce(&'static str) -> I,
    ) -> Option<ClientAddress>
    where
        I: DoubleEndedIterator<Item = &'a [u8]>,
    {
        if !self.peer_is_trusted {
            return Some(self.peer);
        }
        match settings.client_address {
            ClientAddressSource::ProxyProtocol => self.announced.get(),
            source => client_address::from_headers(source, &settings.trusted, values),
        }
    }

    /// Notes who sent a request, as far as it tells whether clients can be told apart.
    pub(in super::super) fn note_sender<'a, I>(
        &self,
        request: &Request<'_>,
        client: Option<ClientAddress>,
        values: impl Fn(&'static str) -> I,
    ) where
        I: Iterator<Item = &'a [u8]>,
    {
        let mut peers = self.worker.peers.borrow_mut();
        if peers.requests() >= NOTED_MAX {
            return;
        }
        // A trusted proxy that names nobody leaves its clients as one.
        let is_known = self.peer_is_trusted && client.is_some();
        let named = if self.peer_is_trusted { None } else { client_address::claimed(self.peer, values) };
        peers.count((!is_known).then_some(Sent { peer: self.peer, named, agent: request.user_agent }));
    }

    /// What a site is told of who asks.
    pub(in super::super) fn claims(&self, settings: &Settings, client: Option<ClientAddress>) -> Claims {
        let belief = match settings.client_address {
            _ if !self.peer_is_trusted => Belief::Nothing,
            // Who speaks the PROXY protocol does not look at headers: they are the client's own.
            ClientAddressSource::ProxyProtocol => Belief::Nothing,
            ClientAddressSource::XForwardedFor | ClientAddressSource::Forwarded => Belief::Forwarded,
            ClientAddressSource::CfConnectingIp => Belief::ForwardedAnd("cf-connecting-ip"),
            ClientAddressSource::FastlyClientIp => Belief::ForwardedAnd("fastly-client-ip"),
        };
        Claims { belief, client, peer: self.peer }
    }

    /// Hands an observation of a request that is over at once to detection.
    pub(super) fn report(&self, request: &Request<'_>, sender: Sender, outcome: Outcome, now: Timestamp) {
        self.observe(request, sender, outcome, Duration::ZERO, now);
    }

    /// The same of a head that never became a request; this is its answer.
    pub(super) fn report_unread(&self, reply: Reply) {
        let (refusal, held) = match reply {
            Reply::TooSlow => (Refusal::Unfinished, self.worker.limits(|limits| limits.head_time_max)),
            _ => (Refusal::Malformed, Duration::ZERO),
        };
        let client = if self.peer_is_trusted { self.announced.get() } else { Some(self.peer) };
        let sender = Sender::unjudged(client);
        let now = self.worker.shared.clock.now();
        self.observe(&Request::default(), sender, Outcome::Refused(refusal), held, now);
    }

    fn observe(&self, request: &Request<'_>, sender: Sender, outcome: Outcome, held: Duration, now: Timestamp) {
        let mut sampler = self.worker.sampler.borrow_mut();
        if let Some(weight) = sampler.select(now) {
            sampler.push(Record::new(&Observation {
                at: now,
                client: sender.client,
                request: *request,
                outcome,
                cost: Cost { requests: 1, connection_time: held, ..Cost::default() },
                weight,
                history: sender.history,
            }));
        }
    }
}
