//! What becomes of a line: it is read, judged to count what rules would refuse, and handed to detection. A client that rules in
//! force would refuse again and again is handed down to the kernel, where there is one that drops: nothing else can help beside a
//! server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use seawall_engine::address::ClientAddress;
use seawall_engine::decision::RuleId;
use seawall_engine::gate::{Gate, Judged, Judgement, LimitAction, Offence};
use seawall_engine::observation::attribute::Attribute;
use seawall_engine::observation::log::{Encoding, restore};
use seawall_engine::observation::{CLIENT_GONE, Observation, Outcome, Refusal, Version};
use seawall_engine::silence::{Claim, Field, Sent};
use seawall_engine::units::Timestamp;

use super::sensor::Sensor;
use super::tail::Arrival;
use crate::config::ClientAddressSource;
use crate::enforcement::HandDown;
use crate::enforcement::telling::Told;
use crate::source::proxy::client_address;
use crate::source::proxy::settings::Settings;
use crate::source::proxy::traffic::Traffic;
use crate::source::record::{Record, Sampler};
use crate::source::shared::{CLIENT_ENTRIES, Shared};

/// How servers refuse what a rule says: 403 in every export, 410 or, with nginx, 444 where the operator would rather have that.
const FORBIDDEN: u16 = 403;
const GONE: u16 = 410;
const NO_ANSWER: u16 = 444;

/// The judge of all lines.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    traffic: Arc<Traffic>,
    sampler: Sampler,
    handed_down: rtrb::Producer<HandDown>,
    told: rtrb::Consumer<Told>,
    gate: Gate,
    settings: Arc<Settings>,
    generation: u64,
    /// Whether a rule asks which country or system a client belongs to; it is looked up for none else.
    needs_networks: bool,
    restored: Vec<u8>,
    /// The key of what clients are hashed with.
    seed: u64,
}

impl Watcher {
    pub(super) fn new(
        shared: Arc<Shared>,
        traffic: Arc<Traffic>,
        sampler: Sampler,
        (handed_down, told): (rtrb::Producer<HandDown>, rtrb::Consumer<Told>),
        seed: u64,
    ) -> Self {
        let settings = shared.settings.load_full();
        let gate = Gate::new(1, CLIENT_ENTRIES, seed).sharing(Arc::clone(&shared.allowances)).beside();
        Self {
            shared,
            traffic,
            sampler,
            handed_down,
            told,
            gate,
            settings,
            // Never equal to a generation in use, so that the first look takes rules and settings in.
            generation: u64::MAX,
            needs_networks: false,
            restored: Vec::new(),
            seed,
        }
    }

    /// Takes new rules and settings into use when there are any, and tells what rules have done.
    pub(super) fn keep_house(&mut self, delay: Duration) {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.settings = self.shared.settings.load_full();
            let rules = self.shared.rules.load_full();
            if !Arc::ptr_eq(self.gate.rules(), &rules) {
                self.needs_networks = rules.asks_for(Attribute::Country) || rules.asks_for(Attribute::Asn);
                let mut counts = self.shared.counts();
                self.gate.install(rules, |rule, count| counts.rules.push((rule, count)));
            }
        }
        let now = self.shared.clock.now();
        while let Ok(told) = self.told.pop() {
            told.apply(&mut self.gate, now);
        }
        let takes_proxied = self.shared.takes_proxied.load(Ordering::Relaxed);
        self.gate.set_hands_down(takes_proxied || self.shared.takes_clients.load(Ordering::Relaxed));
        self.shared.take_counts(&mut self.gate);
        self.shared.delay.store(u64::try_from(delay.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Takes a line, without its line break.
    pub(super) fn line(&mut self, sensor: &mut Sensor, line: &[u8], arrival: Arrival) {
        let Sensor { reader, timeline, counts, voters, peers, is_own, .. } = sensor;
        counts.reading.lines += 1;
        let entry = match reader.read(line) {
            Ok(entry) => entry,
            Err(reason) => {
                // What does not begin a line may begin within an address or a query, which nothing in it tells.
                let shown = if reader.is_rest() { b"" } else { line };
                return counts.add_unread(reason, shown);
            }
        };
        counts.add_format(entry.format);
        counts.unread_durations += u64::from(entry.is_duration_unreadable);
        let observation = &entry.observation;
        let is_plain = entry.encoding == Encoding::Plain;
        let mut request = if is_plain {
            observation.request
        } else {
            restore(&observation.request, entry.encoding, &mut self.restored)
        };
        let client = client(&self.settings, observation.client, entry.forwarded_for);
        // The kernel sees whoever is connected to this machine: nobody whom a proxy or a header names.
        let is_peer = *is_own && entry.is_peer && client == observation.client;
        // The edge sees whom it has named itself.
        let is_proxied = *is_own && entry.is_peer && client != observation.client;
        let cost = observation.cost;
        let has = Field::ALL.map(|field| match field {
            Field::ClientAddress => client.is_some(),
            Field::Host => !request.host.is_empty(),
            Field::UserAgent => request.user_agent.is_some(),
            Field::Referer => request.referer.is_some(),
            // nginx writes 0.000 for what takes less than a millisecond.
            Field::RequestTime => entry.is_timed,
            Field::Method => !request.method.is_empty(),
            Field::Path => !request.path.is_empty(),
            Field::Query => request.query.is_some(),
            Field::Status => !entry.unrecorded.status,
            Field::Bytes => !entry.unrecorded.bytes,
            // What is no HTTP has the version of requests that name none.
            Field::Protocol => !entry.unrecorded.version && request.version != Version::Http09,
        });
        for (count, field) in counts.reading.without_room.iter_mut().zip(Field::ALL) {
            *count += u64::from(!field.has_room_in(entry.format));
        }
        voters.count(&mut counts.reading, client, has, arrival.at, self.seed);
        (counts.reading.read, counts.reading.unread_run) = (counts.reading.read + 1, 0);
        match timeline.place(observation.at, arrival.at, arrival.is_fresh) {
            None => counts.reading.late += 1,
            Some(at) => {
                let is_known = client != observation.client;
                peers.count(arrival.at, client.filter(|_| !is_known).map(|peer| sent(peer, entry.forwarded_for)));
                let traffic = &self.traffic;
                traffic.requests.add(1);
                traffic.bytes_sent.add(cost.bytes);
                if self.needs_networks {
                    self.settings.networks.locate(client, &mut request);
                }
                let Judged { judgement, in_force, history, awaited, offence } = self.gate.judge(&request, client, at);
                let outcome = outcome(observation.outcome, in_force);
                match outcome {
                    outcome if outcome.is_failure() => traffic.failed.add(1),
                    Outcome::Served { status: CLIENT_GONE } => traffic.gone.add(1),
                    Outcome::Refused(Refusal::Rule(rule)) => {
                        traffic.refused_rule.add(1);
                        self.gate.refused_by_server(rule);
                    }
                    _ => traffic.served.add(1),
                }
                let would_refuse = matches!(judgement, Judgement::Refuse { .. } | Judgement::Drop { .. });
                let is_refused = matches!(outcome, Outcome::Refused(_));
                traffic.would_refuse.add(u64::from(would_refuse && !is_refused));
                if let (true, Some(client)) = (would_refuse, client)
                    && (is_peer || is_proxied)
                {
                    hand_down_if_due(&mut self.gate, &mut self.handed_down, client, is_proxied, at);
                }
                let answered = match (outcome, client) {
                    (Outcome::Served { status } | Outcome::Failed { status }, Some(client)) => {
                        self.gate.answered(awaited, client, status, at)
                    }
                    _ => None,
                };
                for offence in offence.into_iter().chain(answered) {
                    let taker = if is_proxied { &self.shared.takes_proxied } else { &self.shared.takes_clients };
                    let drops = (is_peer || is_proxied) && taker.load(Ordering::Relaxed);
                    hand_over(&mut self.handed_down, offence, (is_proxied, drops), self.shared.clock.now());
                }
                if let (Outcome::Served { status: 429 | 503 }, Some(client)) = (outcome, client) {
                    self.gate.told_to_wait(client, at);
                }
                if let Some(weight) = self.sampler.select(arrival.at) {
                    let weight = weight * arrival.weight;
                    self.sampler.push(Record::new(&Observation {
                        at,
                        client,
                        request,
                        outcome,
                        cost,
                        weight,
                        history,
                    }));
                }
            }
        }
        sensor.settle();
    }
}

/// What became of a request: what a rule in force matches and the server refused, it refused for that rule, which the operator has handed
/// to it ([`crate::export`]). It is no page served and no offence, and nothing to learn of what is normal.
const fn outcome(logged: Outcome, in_force: Option<RuleId>) -> Outcome {
    match (logged, in_force) {
        (Outcome::Served { status: FORBIDDEN | GONE | NO_ANSWER }, Some(rule)) => Outcome::Refused(Refusal::Rule(rule)),
        (logged, _) => logged,
    }
}

/// Hands a client down that goes on with what rules in force refuse.
fn hand_down_if_due(
    gate: &mut Gate,
    queue: &mut rtrb::Producer<HandDown>,
    client: ClientAddress,
    is_proxied: bool,
    at: Timestamp,
) {
    let slot = gate.clients.slot(client);
    let Some(dropped) = gate.drop_left(slot, at) else { return };
    // When the queue is full its next line hands it down again.
    let _ = queue.push(HandDown::goes_on(client, is_proxied, dropped, at));
}

/// Hands over a client that has gone beyond a limit. Where nothing drops it, it is only said.
fn hand_over(
    queue: &mut rtrb::Producer<HandDown>,
    offence: Offence,
    (is_proxied, drops): (bool, bool),
    now: Timestamp,
) {
    // Only a ban is something that can be done beside a server.
    let action = if drops && offence.action == LimitAction::Ban { offence.action } else { LimitAction::Log };
    // What was long ago when it was read is over.
    let left = (offence.at + offence.length).since(now);
    if !left.is_zero() {
        // When the queue is full it is met by its next offence.
        let _ = queue.push(HandDown::beyond(&Offence { action, ..offence }, is_proxied, left));
    }
}

/// Who a log says has sent a request, where it may have been somebody else.
fn sent(peer: ClientAddress, forwarded_for: Option<&[u8]>) -> Sent<'static> {
    let named = client_address::claimed_in_list(peer, forwarded_for.into_iter());
    Sent { peer, named: named.map(|client| (Claim::XForwardedFor, client)), agent: None }
}

/// Who asked: the one that a trusted proxy names, where it is a trusted proxy that the server saw.
fn client(settings: &Settings, seen: Option<ClientAddress>, forwarded_for: Option<&[u8]>) -> Option<ClientAddress> {
    let Some(forwarded_for) = forwarded_for.filter(|_| seen.is_some_and(|seen| settings.trusted.contains(seen))) else {
        return seen;
    };
    let values = |_| std::iter::once(forwarded_for);
    client_address::from_headers(ClientAddressSource::XForwardedFor, &settings.trusted, values).or(seen)
}
