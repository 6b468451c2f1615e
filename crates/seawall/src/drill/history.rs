//! What the guard knows from before: the scenario's own wanted traffic, lived through in fast motion.
//!
//! Ten seconds of every five minutes are enough to learn what is normal at that time of the week. The result is what a
//! guard writes when it stops, so the guard of the drill starts as one that has stood there for days.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use fastrand::Rng;
use seawall_engine::address::ClientAddress;
use seawall_engine::decision::Enforce;
use seawall_engine::detection::{Detector, Settings, Surroundings};
use seawall_engine::observation::{ClientHistory, Cost, Observation, Outcome, Request, Version};
use seawall_engine::units::Timestamp;

use super::agents::Agent;
use super::arrivals::{exponential, rate};
use super::population::{ClientId, Population, client_seed, draw_client, mix};
use super::scenario::{Group, HttpVersion, Label, Origin, Scenario};
use super::visit::{Cache, Page, Question, pages};

/// How often traffic is looked at, and for how long each time.
const SLOT: Duration = Duration::from_secs(300);
const WINDOW: Duration = Duration::from_secs(10);

/// Visits that began this long before a window may still be going on in it.
const VISIT_TIME_MAX: Duration = Duration::from_secs(20);

/// One request of the past.
struct Past {
    at: Timestamp,
    client: ClientId,
    question: Question,
}

/// What a guard that has seen the scenario's wanted traffic for its days of history would have saved at `now`.
pub(crate) fn baseline(scenario: &Scenario, population: &Population, seed: u64, now: Timestamp) -> Vec<u8> {
    let mut detector =
        Detector::new(Settings { enforce: Enforce::Never, seed: mix(seed, 0xBA5E), ..Settings::default() });
    let mut random = Rng::with_seed(mix(seed, 0x4157));
    let mut memory = Memory { clients: HashMap::new(), visits: vec![0; scenario.groups.len()] };
    let day = Duration::from_secs(86_400);
    let first = (now - day * scenario.history.days).as_seconds() / SLOT.as_secs();
    let last = now.as_seconds() / SLOT.as_secs();
    for slot in first..last {
        let opens = Timestamp::from_seconds(slot * SLOT.as_secs()) + SLOT / 2;
        let mut past = Vec::new();
        for (index, group) in (0_u16..).zip(&scenario.groups) {
            if group.label == Label::Wanted && group.begins(scenario.onset) < scenario.onset.0 {
                memory.visit(scenario, group, index, opens, &mut random, &mut past);
            }
        }
        past.sort_by_key(|request| request.at);
        let mut past = past.iter().peekable();
        for second in 0..=WINDOW.as_secs() {
            let until = opens + Duration::from_secs(second);
            while let Some(request) = past.next_if(|request| request.at < until) {
                memory.observe(scenario, population, seed, request, &mut detector);
            }
            detector.tick(until, &Surroundings::default());
        }
    }
    detector.tick(now, &Surroundings::default());
    detector.save()
}

/// What is remembered of each client from one visit to the next.
struct Memory {
    clients: HashMap<ClientId, Known>,
    /// Visits so far, for each group.
    visits: Vec<usize>,
}

#[derive(Default)]
struct Known {
    cache: Cache,
    agent: Option<Agent>,
    first_seen: Option<Timestamp>,
    served: u32,
}

impl Memory {
    /// The requests of one group in the window that opens at `opens`.
    fn visit(
        &mut self,
        scenario: &Scenario,
        group: &Group,
        index: u16,
        opens: Timestamp,
        random: &mut Rng,
        past: &mut Vec<Past>,
    ) {
        let length = group.ends.map_or(scenario.duration.0, |ends| ends.0);
        let usual = rate(group.arrivals, Duration::ZERO, length);
        if usual <= 0.0 {
            return;
        }
        let mut at = opens - VISIT_TIME_MAX;
        let closes = opens + WINDOW;
        loop {
            at = at + Duration::from_secs_f64(exponential(random) / usual);
            if at >= closes {
                return;
            }
            let Some(visits) = self.visits.get_mut(usize::from(index)) else { return };
            let client = ClientId { group: index, number: draw_client(group, *visits, random) };
            *visits += 1;
            let known = self.clients.entry(client).or_default();
            let mut when = at;
            for Page { think_time, page, assets } in pages(group, &scenario.site, random, &mut known.cache) {
                when = when + think_time;
                // A browser asks for what a page needs as soon as it has read the page.
                let questions = std::iter::once(page).chain(assets).enumerate();
                past.extend(questions.filter_map(|(place, question)| {
                    let at = when + Duration::from_millis(20 * place as u64);
                    (opens..closes).contains(&at).then_some(Past { at, client, question })
                }));
            }
        }
    }

    fn observe(
        &mut self,
        scenario: &Scenario,
        population: &Population,
        seed: u64,
        past: &Past,
        detector: &mut Detector,
    ) {
        let Some(group) = scenario.groups.get(usize::from(past.client.group)) else { return };
        let known = self.clients.entry(past.client).or_default();
        let agent =
            known.agent.get_or_insert_with(|| Agent::draw(group, &mut Rng::with_seed(client_seed(seed, past.client))));
        let first_seen = *known.first_seen.get_or_insert(past.at);
        let question = &past.question;
        let (status, bytes, upstream_time) = answer(&scenario.origin, question);
        detector.observe(&Observation {
            at: past.at,
            client: population.address(past.client).map(|address| ClientAddress::new(IpAddr::V4(address))),
            request: Request {
                method: question.method.as_bytes(),
                host: question.host.as_bytes(),
                path: question.path.as_bytes(),
                query: question.query.as_deref().map(str::as_bytes),
                version: match question.version {
                    HttpVersion::Http10 => Version::Http10,
                    HttpVersion::Http11 => Version::Http11,
                },
                user_agent: agent.user_agent.as_deref().map(str::as_bytes),
                referer: question.referer.as_deref().map(str::as_bytes),
                ..Request::default()
            },
            outcome: Outcome::Served { status },
            cost: Cost { requests: 1, bytes, upstream_time, connection_time: upstream_time, ..Cost::default() },
            weight: 1.0,
            history: ClientHistory {
                requests_recent: 1,
                age: past.at.since(first_seen),
                served: known.served,
                ..ClientHistory::default()
            },
        });
        known.served = known.served.saturating_add(1);
    }
}

/// What the origin would say: status, bytes and time.
fn answer(origin: &Origin, question: &Question) -> (u16, u64, Duration) {
    match origin.find(&question.path, question.query.as_deref()) {
        None => (404, 10, Duration::from_millis(1)),
        Some(answer) => {
            let time = answer.service_time.map_or(Duration::from_millis(1), |time| time.0);
            if question.conditional && answer.status == 200 {
                return (304, 0, time);
            }
            let bytes = if question.method == "HEAD" { 0 } else { answer.size.map_or(2_000, |size| size.0) };
            (answer.status, bytes, time)
        }
    }
}
