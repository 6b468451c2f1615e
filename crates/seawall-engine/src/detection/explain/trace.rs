//! Counts exactly whom the rules that were found hit in a log: inside their surges and outside, how many clients, at which
//! hours, and since when.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::{CLIENTS_MAX, Explained, RETURNING, TimeZone};
use crate::decision::{Action, Evidence, Rule, RuleId, Stage};
use crate::distinct::Distinct;
use crate::observation::Observation;
use crate::units::Timestamp;

/// What came this long before a surge belongs to its beginning and is no precursor.
const BEGINNING: Duration = Duration::from_secs(600);

/// A time zone is told from votes in so many hours of the day, of which one has at most one in so many.
const HOURS_MIN: usize = 16;
const HOUR_SHARE_MAX: u64 = 4;

/// What a rule has met.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The rule.
    pub rule: Rule,
    /// What spoke for it.
    pub evidence: Evidence,
    /// Requests within its surge, and bytes of answers to them.
    pub requests: u64,
    /// Bytes of answers to them.
    pub bytes: u64,
    /// Different clients that sent them, about.
    pub clients: u64,
    /// Requests outside all surges that it would have hit too.
    pub outside: u64,
    /// Of these, from clients that had been there an hour before.
    pub outside_returning: u64,
    /// The share of all requests outside all surges.
    pub outside_share: f64,
    /// The first request that it matches before the surge, if any, and how many there were.
    pub precursor: Option<(Timestamp, u64)>,
    /// Where those who send it sleep.
    pub time_zone: Option<TimeZone>,
}

/// Counts for every rule of every surge.
#[derive(Debug)]
pub struct Trace {
    explained: Vec<Explained>,
    counted: Vec<Vec<Counted>>,
    requests_outside: u64,
    first_seen: FxHashMap<u64, u32>,
}

#[derive(Clone, Debug)]
struct Counted {
    rule: Rule,
    requests: u64,
    bytes: u64,
    clients: Distinct,
    outside: u64,
    outside_returning: u64,
    before: u64,
    first_before: Option<Timestamp>,
    /// Clients by the hour of UTC, each once in each hour of each day.
    hours: Vec<Distinct>,
}

impl Trace {
    /// For the rules of these surges.
    pub fn new(explained: Vec<Explained>) -> Self {
        let mut number = 0;
        let mut counted = |conditions: &[_]| {
            number += 1;
            let rule = Rule {
                id: RuleId(number),
                conditions: conditions.to_vec(),
                action: Action::Refuse { status: 403 },
                stage: Stage::Proposed,
                canary_interval: 0,
            };
            Counted {
                rule,
                requests: 0,
                bytes: 0,
                clients: Distinct::new(),
                outside: 0,
                outside_returning: 0,
                before: 0,
                first_before: None,
                hours: vec![Distinct::small(); 24],
            }
        };
        Self {
            counted: explained
                .iter()
                .map(|one| one.rules.iter().map(|(conditions, _)| counted(conditions)).collect())
                .collect(),
            explained,
            requests_outside: 0,
            first_seen: FxHashMap::default(),
        }
    }

    /// Takes one observation of the third reading.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        let at = observation.at;
        let client = observation.client.map(|client| client_hash(client.client_key()));
        let is_outside = !self.explained.iter().any(|one| one.surge.contains(at));
        self.requests_outside += u64::from(is_outside);
        let returning = client.is_some_and(|client| self.is_returning(client, at));
        for (one, rules) in self.explained.iter().zip(&mut self.counted) {
            let is_within = one.surge.contains(at);
            for counted in rules.iter_mut().filter(|_| is_within || is_outside) {
                if !counted.rule.matches(&observation.request, observation.client) {
                    continue;
                }
                if let Some(client) = client {
                    let hours = at.as_seconds() / 3600;
                    if let Some(hour) = counted.hours.get_mut((hours % 24) as usize) {
                        hour.add(client ^ hours.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                    }
                    if is_within {
                        counted.clients.add(client);
                    }
                }
                if is_within {
                    counted.requests += 1;
                    counted.bytes += observation.cost.bytes;
                    continue;
                }
                counted.outside += 1;
                counted.outside_returning += u64::from(returning);
                if at + BEGINNING < one.surge.from {
                    counted.before += 1;
                    counted.first_before = Some(counted.first_before.map_or(at, |first| first.min(at)));
                }
            }
        }
    }

    /// What was counted, surge by surge.
    pub fn finish(self) -> Vec<(Explained, Vec<Traced>)> {
        let outside = self.requests_outside.max(1) as f64;
        let traced = |counted: Counted, evidence: Evidence| Traced {
            requests: counted.requests,
            bytes: counted.bytes,
            clients: counted.clients.estimate(),
            outside: counted.outside,
            outside_returning: counted.outside_returning,
            outside_share: counted.outside as f64 / outside,
            precursor: counted.first_before.map(|first| (first, counted.before)),
            time_zone: votes(&counted.hours).and_then(|votes| TimeZone::of(&votes, 1)),
            rule: counted.rule,
            evidence,
        };
        let of_one = |(explained, counted): (Explained, Vec<Counted>)| {
            let evidence: Vec<Evidence> = explained.rules.iter().map(|(_, evidence)| evidence.clone()).collect();
            let traced = counted.into_iter().zip(evidence).map(|(counted, evidence)| traced(counted, evidence));
            (explained, traced.collect())
        };
        self.explained.into_iter().zip(self.counted).map(of_one).collect()
    }

    fn is_returning(&mut self, client: u64, at: Timestamp) -> bool {
        let second = at.as_seconds() as u32;
        if let Some(first) = self.first_seen.get_mut(&client) {
            *first = (*first).min(second);
            return u64::from(second - *first) >= RETURNING.as_secs();
        }
        if self.first_seen.len() < CLIENTS_MAX {
            self.first_seen.insert(client, second);
        }
        false
    }
}

/// Votes by hour, when there are any in two thirds of the day and no hour has most of them: a source that was seen for a few
/// hours only has no rhythm to be seen.
fn votes(hours: &[Distinct]) -> Option<[u64; 24]> {
    let mut votes: [u64; 24] = [0; 24];
    votes.iter_mut().zip(hours).for_each(|(votes, hour)| *votes = hour.estimate());
    let is_spread = votes.iter().filter(|votes| **votes > 0).count() >= HOURS_MIN;
    let most = votes.iter().max().copied().unwrap_or_default();
    (is_spread && most * HOUR_SHARE_MAX <= votes.iter().sum()).then_some(votes)
}

/// Bits good enough for tables; whoever chooses addresses can at most spoil an estimate about themselves.
fn client_hash(key: u128) -> u64 {
    let folded = (key as u64) ^ ((key >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    folded.wrapping_mul(0xFF51_AFD7_ED55_8CCD) ^ folded >> 32
}
