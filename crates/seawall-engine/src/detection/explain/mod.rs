//! Explains the surges of a whole log afterwards, with the search of the live guard.
//!
//! A log is read three times, so that nothing of it has to be kept: [`SurgeFinder`] finds when there was more than usual;
//! [`Explainer`] takes a sample of each surge and of all that lies outside, and mines them; [`Trace`] counts exactly whom
//! the rules that were found hit, inside the surges and outside, and since when. Memory is bounded whatever the log.

mod edges;
mod surges;
mod time_zone;
mod trace;

use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::address::{AddressSet, ClientAddress};
use crate::decision::{Condition, CostKind, Evidence, Shape, Verdict};
use crate::observation::Observation;
use crate::observation::attribute::{Attribute, cut};

use super::baseline::Baseline;
use super::crowd::Marked;
use super::inquiry::Inquiry;
use super::material::Material;
use super::random::Random;
use super::recent::{Bucket, Row, Sampled};
use super::reference::{ROWS_MAX, Reference};
use super::seasonal::{Normal, SAMPLE_SECONDS};
use super::shapes::{Retries, Rhythms};
use super::trigger::Reading;
use super::values::{Keys, Texts};
use super::{COSTS, importance, observed_costs, outcome};

pub use surges::{Level, Surge, SurgeFinder};
pub use time_zone::TimeZone;
pub use trace::{Trace, Traced};

/// Clients whose first request is remembered, to know the returning ones.
const CLIENTS_MAX: usize = 1 << 20;

/// A client that was here this long before is an old acquaintance.
const RETURNING: Duration = Duration::from_secs(3600);

/// In how many parts of a surge a rule must hold. In a flood whose addresses take turns, each has a part of its own, and only
/// what all of them share has them all.
const PARTS: u32 = 8;

/// What is thought of one surge.
#[derive(Clone, Debug)]
pub struct Explained {
    /// When and how much.
    pub surge: Surge,
    /// What it is.
    pub verdict: Verdict,
    /// The well-known shapes that it shows.
    pub shapes: Vec<Shape>,
    /// The verdict in a sentence.
    pub explanation: String,
    /// The rules that explain it, the best first.
    pub rules: Vec<(Vec<Condition>, Evidence)>,
    /// Different clients out of a sample of what the rules match, of the whole surge when there are none: to see where they
    /// are.
    pub clients: Vec<ClientAddress>,
}

/// Takes samples of surges and of what is normal.
#[derive(Debug)]
pub struct Explainer {
    keys: Keys,
    marked: Marked,
    random: Random,
    baseline: Baseline,
    rhythms: Rhythms,
    normal_texts: Texts,
    surges: Vec<Sampling>,
    first_seen: FxHashMap<u32, u32>,
    typical: [f64; COSTS],
}

/// The sample of one surge.
#[derive(Debug)]
struct Sampling {
    surge: Surge,
    bucket: Bucket,
    texts: Texts,
    retries: Retries,
}

impl Explainer {
    /// For these surges. `seed` is that of sampling; the same seed gives the same result.
    pub fn new(surges: Vec<Surge>, seed: u64) -> Self {
        let keys = Keys::new(seed);
        let sampling =
            |surge| Sampling { surge, bucket: Bucket::new(ROWS_MAX), texts: Texts::new(), retries: Retries::default() };
        Self {
            marked: Marked::new(&keys),
            keys,
            random: Random::new(seed),
            baseline: Baseline::new(),
            rhythms: Rhythms::new(),
            normal_texts: Texts::new(),
            surges: surges.into_iter().map(sampling).collect(),
            first_seen: FxHashMap::default(),
            typical: super::TYPICAL,
        }
    }

    /// Takes one observation of the second reading.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        let second = observation.at.as_seconds();
        let client_hash = observation.client.map_or(0, |client| self.keys.client(client));
        let returning = client_hash != 0 && self.is_returning(client_hash, second as u32);
        let costs = observed_costs(observation);
        let path = self.keys.value(Attribute::Path, Some(cut(observation.request.path)));
        self.rhythms.arrive(path, observation.at);
        let (answered, status) = outcome(observation.outcome);
        let surge = self.surges.iter_mut().position(|sampling| sampling.surge.contains(observation.at));
        let importance = importance(&costs, &self.typical);
        let priority = importance / self.random.uniform();
        let texts = match surge {
            Some(at) => {
                let sampling = &mut self.surges[at];
                if client_hash != 0 {
                    sampling.retries.observe(client_hash, path, observation.at, status, costs[0]);
                }
                if !sampling.bucket.wants(priority) {
                    sampling.bucket.pass(priority);
                    return;
                }
                &mut sampling.texts
            }
            None => &mut self.normal_texts,
        };
        let row = Row {
            marks: texts.marks(&self.keys, &observation.request, observation.client, second as u32),
            client: observation.client,
            client_hash,
            costs: costs.map(|cost| cost as f32),
            importance,
            priority,
            at: observation.at,
            status,
            answered,
            returning,
            ..Row::default()
        };
        match surge {
            Some(at) => self.surges[at].bucket.offer(row),
            None => {
                let sampled = Sampled { row: &row, at: observation.at, factor: 1.0 };
                self.baseline.learn(second, &mut std::iter::once(sampled), &mut self.random, |_, _| true);
            }
        }
    }

    /// What the surges were.
    pub fn explain(&self) -> Vec<Explained> {
        self.surges.iter().map(|sampling| self.explain_one(sampling)).collect()
    }

    fn explain_one(&self, sampling: &Sampling) -> Explained {
        let surge = &sampling.surge;
        let mut rows: Vec<Sampled<'_>> = sampling.bucket.sampled().collect();
        rows.sort_by_key(|sampled| std::cmp::Reverse(sampled.at));
        let part = surge.until.since(surge.from) / PARTS;
        let windows = (0..PARTS).map(|number| (surge.from + part * number, surge.from + part * (number + 1)));
        let costs: Vec<CostKind> = surge.levels.iter().map(|level| level.cost).collect();
        let readings = CostKind::ALL.map(|cost| reading(surge, cost));
        let normal = self.baseline.normal(surge.from, ROWS_MAX);
        let reference = Reference::new(&normal, &self.marked);
        let inquiry = Inquiry {
            material: Material {
                from: surge.from,
                now: surge.until,
                onset: surge.from,
                around: rows,
                windows: windows.collect(),
                reference: &reference,
            },
            costs: &costs,
            readings: &readings,
            seen: None,
            texts: &sampling.texts,
            keys: &self.keys,
            marked: &self.marked,
            never_ban: &AddressSet::default(),
            rhythms: &self.rhythms,
            standing: &[],
            was_crowd: false,
        };
        let mut insight = inquiry.look();
        let requests = surge.levels.iter().find(|level| level.cost == CostKind::Requests);
        if requests.is_some_and(|level| sampling.retries.is_storm(level.excess))
            && !insight.shapes.contains(&Shape::RetryStorm)
        {
            insight.shapes.push(Shape::RetryStorm);
        }
        let is_matched = |sampled: &Sampled<'_>| {
            insight.findings.is_empty() || insight.findings.iter().any(|(items, _)| sampled.row.marks.has_all(items))
        };
        let matched = sampling.bucket.sampled().filter(is_matched);
        let clients: FxHashSet<ClientAddress> = matched.filter_map(|sampled| sampled.row.client).collect();
        let rules = insight.findings.into_iter().map(|(_, finding)| (finding.conditions, finding.evidence));
        Explained {
            surge: surge.clone(),
            verdict: insight.verdict,
            shapes: insight.shapes,
            explanation: insight.explanation,
            rules: rules.collect(),
            clients: clients.into_iter().collect(),
        }
    }

    fn is_returning(&mut self, client_hash: u32, second: u32) -> bool {
        if let Some(first) = self.first_seen.get_mut(&client_hash) {
            // Rotated logs may be read newest first.
            *first = (*first).min(second);
            return u64::from(second - *first) >= RETURNING.as_secs();
        }
        if self.first_seen.len() < CLIENTS_MAX {
            self.first_seen.insert(client_hash, second);
        }
        false
    }
}

/// What the surge had of a cost, as the live guard reads it.
fn reading(surge: &Surge, cost: CostKind) -> Reading {
    let Some(level) = surge.levels.iter().find(|level| level.cost == cost) else {
        return Reading { normal: ten_seconds(surge.usual[cost as usize]), calm: true, ..Reading::default() };
    };
    Reading {
        offered: level.mean * SAMPLE_SECONDS as f64,
        normal: ten_seconds(level.normal),
        exceeds: true,
        calm: false,
    }
}

fn ten_seconds(rate: f64) -> Normal {
    let median = rate * SAMPLE_SECONDS as f64;
    Normal { median, upper: median, spread: 0.0 }
}
