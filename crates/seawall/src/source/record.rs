//! How observations get from the threads that serve to the one thread that detects.
//!
//! A record is an observation with its texts copied into it, of fixed size, so that the queue between the threads is
//! allocated once. A worker hands over so many each second at most and samples the rest; what is left out is carried as
//! weight, so that sums stay right however fast a flood is.

use seawall_engine::address::ClientAddress;
use seawall_engine::observation::attribute::{METHOD_BYTES_MAX, VALUE_BYTES_MAX};
use seawall_engine::observation::{ClientHistory, Cost, Observation, Outcome, Request, Version};
use seawall_engine::units::Timestamp;

/// Records that fit into one worker's queue, 2 MiB of them: at the most that a worker hands over, those of 750 ms.
const QUEUE_RECORDS: usize = 1_536;

/// Records that a worker hands over in [`WINDOW_MICROS`] before it samples.
const WINDOW_RECORDS: u32 = 200;

/// The time over which a worker measures how much it must leave out.
const WINDOW_MICROS: u64 = 100_000;

/// The texts of a request, in the order in which they lie in a record: method, host, path, user agent, query, referer, header
/// order.
const FIELDS: usize = 7;

/// How much of each is kept: all that the engine looks at, so that detection sees what the gate does.
const FIELD_BYTES_MAX: [usize; FIELDS] = [
    METHOD_BYTES_MAX,
    VALUE_BYTES_MAX,
    VALUE_BYTES_MAX,
    VALUE_BYTES_MAX,
    VALUE_BYTES_MAX,
    VALUE_BYTES_MAX,
    VALUE_BYTES_MAX,
];

/// Room for the texts of one record; real requests take 200 to 400 bytes.
const TEXT_BYTES: usize = METHOD_BYTES_MAX + 6 * VALUE_BYTES_MAX;

/// One observation that owns its texts.
#[derive(Clone, Debug)]
pub struct Record {
    at: Timestamp,
    client: Option<ClientAddress>,
    version: Version,
    outcome: Outcome,
    cost: Cost,
    weight: f32,
    history: ClientHistory,
    /// The end of each text; [`ABSENT`] in the top bit of those that are not there.
    ends: [u16; FIELDS],
    text: [u8; TEXT_BYTES],
}

const ABSENT: u16 = 1 << 15;

impl Record {
    /// Copies an observation, cutting what is too long.
    pub fn new(observation: &Observation<'_>) -> Self {
        let request = &observation.request;
        let fields: [Option<&[u8]>; FIELDS] = [
            Some(request.method),
            Some(request.host),
            Some(request.path),
            request.user_agent,
            request.query,
            request.referer,
            request.header_order,
        ];
        let mut record = Self {
            at: observation.at,
            client: observation.client,
            version: request.version,
            outcome: observation.outcome,
            cost: observation.cost,
            weight: observation.weight,
            history: observation.history,
            ends: [0; FIELDS],
            text: [0; TEXT_BYTES],
        };
        let mut used = 0;
        for ((field, max), end) in fields.into_iter().zip(FIELD_BYTES_MAX).zip(&mut record.ends) {
            let value = field.unwrap_or_default();
            let length = value.len().min(max);
            record.text[used..used + length].copy_from_slice(&value[..length]);
            used += length;
            // At most TEXT_BYTES, far below the flag.
            *end = used as u16 | if field.is_none() { ABSENT } else { 0 };
        }
        record
    }

    /// The observation, borrowed from the record.
    pub fn observation(&self) -> Observation<'_> {
        let field = |index: usize| {
            let start = if index == 0 { 0 } else { usize::from(self.ends[index - 1] & !ABSENT) };
            let end = self.ends[index];
            (end & ABSENT == 0).then(|| &self.text[start..usize::from(end)])
        };
        Observation {
            at: self.at,
            client: self.client,
            request: Request {
                method: field(0).unwrap_or_default(),
                host: field(1).unwrap_or_default(),
                path: field(2).unwrap_or_default(),
                user_agent: field(3),
                query: field(4),
                referer: field(5),
                header_order: field(6),
                // Nobody knows the handshake yet, and the detecting thread looks up the network.
                ja4: None,
                country: None,
                asn: None,
                version: self.version,
            },
            outcome: self.outcome,
            cost: self.cost,
            weight: self.weight,
            history: self.history,
        }
    }

    /// The same, as one that speaks for so many.
    #[must_use]
    pub fn standing_for(mut self, records: f32) -> Self {
        self.weight *= records;
        self
    }

    /// Turns the record of a request's arrival into that of a part of what it costs, or of its end.
    pub fn finish(&mut self, at: Timestamp, outcome: Outcome, cost: Cost) {
        (self.at, self.outcome, self.cost) = (at, outcome, cost);
    }
}

/// The serving end of a queue.
#[derive(Debug)]
pub struct Sampler {
    queue: rtrb::Producer<Record>,
    window_start: Timestamp,
    /// Requests in the present window and the one before.
    requests: u32,
    requests_before: u32,
    /// One request in this many is handed over.
    interval: u32,
    since_last: u32,
    /// The weight of requests left out since the last that was handed over.
    carried: f32,
}

/// A queue and its two ends.
pub fn queue() -> (Sampler, rtrb::Consumer<Record>) {
    let (producer, consumer) = rtrb::RingBuffer::new(QUEUE_RECORDS);
    let sampler = Sampler {
        queue: producer,
        window_start: Timestamp::EPOCH,
        requests: 0,
        requests_before: 0,
        interval: 1,
        since_last: 0,
        carried: 0.0,
    };
    (sampler, consumer)
}

impl Sampler {
    /// Called once for each request: the weight with which it is to be handed over, or none when it is left out.
    pub fn select(&mut self, now: Timestamp) -> Option<f32> {
        let passed = now.as_micros().saturating_sub(self.window_start.as_micros());
        if passed >= WINDOW_MICROS {
            self.requests_before = if passed < 2 * WINDOW_MICROS { self.requests } else { 0 };
            (self.requests, self.window_start) = (0, now);
        }
        self.requests += 1;
        // What the last window needed, or at once what this one turns out to need.
        self.interval = self.requests_before.max(self.requests).div_ceil(WINDOW_RECORDS).max(1);
        self.since_last += 1;
        if self.since_last < self.interval {
            self.carried += 1.0;
            return None;
        }
        self.since_last = 0;
        Some(1.0 + std::mem::take(&mut self.carried))
    }

    /// Hands a record over. When the detecting thread lags, its weight goes to the next.
    pub fn push(&mut self, record: Record) {
        if let Err(rtrb::PushError::Full(record)) = self.queue.push(record) {
            self.carried += if record.cost.requests > 0 { record.weight } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use seawall_engine::observation::attribute::{Attribute, each_value};

    use super::*;

    fn observation<'a>(path: &'a [u8], user_agent: Option<&'a [u8]>) -> Observation<'a> {
        Observation {
            at: Timestamp::from_seconds(5),
            client: None,
            request: Request { method: b"GET", host: b"example.org", path, user_agent, ..Request::default() },
            outcome: Outcome::Arrived,
            cost: Cost { requests: 1, ..Cost::default() },
            weight: 1.0,
            history: ClientHistory::default(),
        }
    }

    #[test]
    fn a_record_gives_back_what_it_was_made_of() {
        for user_agent in [Some(&b"curl/8.5.0"[..]), Some(b""), None] {
            let made = observation(b"/a/b", user_agent);
            let record = Record::new(&made);
            assert_eq!(record.observation().request, made.request);
        }
    }

    #[test]
    fn long_texts_are_cut_and_stay_within_the_record() {
        let long = vec![b'a'; 70_000];
        let mut made = observation(&long, Some(&long));
        made.request.query = Some(&long);
        made.request.referer = Some(&long);
        made.request.host = &long;
        let record = Record::new(&made);
        let request = record.observation().request;
        assert_eq!((request.path.len(), request.host.len()), (256, 256));
        assert_eq!(request.user_agent.map(<[u8]>::len), Some(256));
        assert_eq!(request.referer.map(<[u8]>::len), Some(256));
    }

    proptest! {
        /// Else a rule would not hit what its evidence counted.
        #[test]
        fn detection_sees_every_value_that_the_gate_does(
            method in "[A-Z]{1,40}",
            host in "[a-z.]{0,300}",
            path in "/[a-z/.]{0,400}",
            query in prop::option::of("([a-z]{1,90}=[a-z]{0,200}&){0,6}"),
            user_agent in prop::option::of("[a-zA-Z0-9/ ;]{0,400}"),
            referer in prop::option::of("https://[a-z.]{1,300}/[a-z]{0,300}"),
            header_order in prop::option::of("[a-z -]{0,300}"),
        ) {
            let bytes = |text: &'_ Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
            let (query, user_agent, referer) = (bytes(&query), bytes(&user_agent), bytes(&referer));
            let request = Request {
                method: method.as_bytes(),
                host: host.as_bytes(),
                path: path.as_bytes(),
                query: query.as_deref(),
                user_agent: user_agent.as_deref(),
                referer: referer.as_deref(),
                version: Version::Http10,
                header_order: header_order.as_deref().map(str::as_bytes),
                ..Request::default()
            };
            let record = Record::new(&Observation { request, ..observation(b"/", None) });
            for attribute in Attribute::ALL {
                let values = |request: &Request<'_>| {
                    let mut values = Vec::new();
                    each_value(attribute, request, None, |value| values.push(value.map(<[u8]>::to_vec)));
                    values
                };
                prop_assert_eq!(values(&request), values(&record.observation().request), "{}", attribute.name());
            }
        }
    }

    #[test]
    fn a_flood_is_sampled_and_its_weight_kept() {
        let (mut sampler, mut consumer) = queue();
        let start = Timestamp::from_seconds(100);
        let (sent, mut received, mut weight) = (100_000_u32, 0_u32, 0.0);
        for number in 0..sent {
            let now = start + Duration::from_micros(u64::from(number) * 10);
            if let Some(share) = sampler.select(now) {
                let mut made = observation(b"/", None);
                made.weight = share;
                sampler.push(Record::new(&made));
            }
            if number % 1_000 == 0 {
                while let Ok(record) = consumer.pop() {
                    received += 1;
                    weight += f64::from(record.weight);
                }
            }
        }
        while let Ok(record) = consumer.pop() {
            received += 1;
            weight += f64::from(record.weight);
        }
        assert!(received <= 11 * 2 * WINDOW_RECORDS, "{received} handed over in one second");
        assert!((weight - f64::from(sent)).abs() < 1_000.0, "{weight} of {sent}");
    }

    #[test]
    fn a_full_queue_loses_no_weight() {
        let (mut sampler, mut consumer) = queue();
        for number in 0..QUEUE_RECORDS as u64 + 500 {
            let now = Timestamp::from_seconds(100 + number);
            if let Some(weight) = sampler.select(now) {
                sampler.push(Record::new(&Observation { weight, ..observation(b"/", None) }));
            }
        }
        while consumer.pop().is_ok() {}
        assert_eq!(sampler.select(Timestamp::from_seconds(9_999)), Some(501.0));
    }
}
