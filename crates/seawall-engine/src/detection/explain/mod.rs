//! Explains the surges of a whole log afterwards, with the search of the live guard.
//!
//! A log is read three times, so that nothing of it has to be kept: [`SurgeFinder`] finds when there was more than usual;
//! [`Explainer`] takes a sample of each surge and of all that lies outside, and mines them; [`Trace`] counts exactly whom
//! the rules that were found hit, inside the surges and outside, and since when. Memory is bounded whatever the log. A log without
//! a surge may be a flood from end to end: [`Majority`] knows what more than half of it has.

mod acquaintances;
mod counted;
mod edges;
mod found;
mod habits;
mod own;
mod parts;
mod prevalent;
mod runs;
mod senders;
mod settled;
mod stretches;
mod surges;
mod time_zone;
mod trace;
mod unsure;
mod usual;

use crate::address::{AddressSet, ClientAddress};
use crate::decision::{Condition, CostKind, Evidence, NamedShape, Shape, Verdict};
use crate::observation::Observation;
use crate::observation::attribute::{Attribute, cut};

use super::baseline::{Baseline, NormalRow, STRATA, stratum};
use super::inquiry::Inquiry;
use super::marked::Marked;
use super::material::Material;
use super::observing::{importance, observed_costs, outcome};
use super::random::Random;
use super::recent::{Bucket, Row, Sampled};
use super::reference::{ROWS_MAX, Reference};
use super::seasonal::{Normal, SAMPLE_SECONDS};
use super::shapes::{Retries, Rhythms};
use super::trigger::Reading;
use super::values::{Item, Keys, Texts};

use acquaintances::Acquaintances;
use counted::Clients;
use own::own_marks;
use parts::{PARTS, Parts, window};
use senders::Senders;
use settled::{settled, signs};
use unsure::{candidate, is_unsure};

pub use acquaintances::RETURNING;
pub use counted::Counted;
pub use found::{FarRequests, Found, Zone};
pub use habits::Habit;
pub use prevalent::{Majority, Prevalence, Prevalent};
pub use senders::Heaviest;
pub use surges::{Level, Surge, SurgeFinder};
pub use time_zone::TimeZone;
pub use trace::{Precursor, Program, Trace, Traced, TracedSurge};

/// With more clients than this only every second one, then every third, is asked what is normal, with all that it did: many
/// more votes than are kept.
const VOTERS_MAX: usize = 1 << 15;

/// What is thought of one surge.
#[derive(Clone, Debug)]
pub struct Explained {
    /// When and how much.
    pub surge: Surge,
    /// What it is; [`Verdict::Undecided`] only where there is too little ordinary traffic to say whom a rule would hurt, since a
    /// log has no later.
    pub verdict: Verdict,
    /// The well-known shapes that it shows.
    pub shapes: Vec<NamedShape>,
    /// The verdict in a sentence.
    pub explanation: String,
    /// How much there was and what is usual, with which that begins.
    amounts: String,
    /// The rules that explain it, the best first; where nothing may be a rule, what most of it has.
    pub rules: Vec<Proposed>,
    /// Marks of its senders that are also seen outside surges, and are not normal there.
    pub own: Vec<Condition>,
    /// Clients out of a sample of what the rules match, of the whole surge when there are none, with how much of the excess each
    /// has: to see where it comes from.
    pub clients: Vec<(ClientAddress, f64)>,
    /// The network with most of that, where the log has addresses.
    pub heaviest: Option<Heaviest>,
}

impl Explained {
    /// Whether it shows this shape.
    pub fn has_shape(&self, shape: Shape) -> bool {
        self.shapes.iter().any(|named| named.shape == shape)
    }
}

/// A rule that explains a surge.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// What it asks for.
    pub conditions: Vec<Condition>,
    /// What speaks for it.
    pub evidence: Evidence,
    /// What else all that it matches have, and next to nothing in normal traffic.
    pub signs: Vec<Condition>,
    /// Whether most of its senders say in their user agents where they come from, as search engines do.
    pub says_whence: bool,
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
    found: Found,
    surges: Vec<Sampling>,
    acquaintances: Acquaintances,
    /// Requests outside in each stratum of the week.
    outside: [u64; STRATA],
    /// Those who sent them.
    outside_clients: Clients,
}

/// The sample of one surge.
#[derive(Debug)]
struct Sampling {
    bucket: Bucket,
    texts: Texts,
    retries: Retries,
    parts: Parts,
}

impl Explainer {
    /// For these surges. `seed` is that of sampling; the same seed gives the same result.
    pub fn new(found: Found, seed: u64) -> Self {
        let keys = Keys::new(seed);
        let sampling = |_: &Surge| Sampling {
            bucket: Bucket::new(ROWS_MAX),
            texts: Texts::new(),
            retries: Retries::default(),
            parts: Parts::default(),
        };
        Self {
            marked: Marked::new(&keys),
            keys,
            random: Random::new(seed),
            baseline: Baseline::new(),
            rhythms: Rhythms::new(),
            normal_texts: Texts::new(),
            surges: found.surges.iter().map(sampling).collect(),
            found,
            acquaintances: Acquaintances::default(),
            outside: [0; STRATA],
            outside_clients: Clients::default(),
        }
    }

    /// Takes one observation of the second reading. `locate` says where its client is, which is asked of a part of them only.
    pub fn observe(&mut self, observation: &Observation<'_>, locate: &dyn Fn(&mut Observation<'_>)) {
        let second = observation.at.as_seconds();
        let client_hash = observation.client.map_or(0, |client| self.keys.client(client));
        let returning = observation.client.is_some_and(|client| self.acquaintances.meet(client, second as u32));
        let path = self.keys.value(Attribute::Path, Some(cut(observation.request.path)));
        self.rhythms.arrive(path, observation.at);
        let surge = match self.found.zone(observation.at) {
            Zone::Within(surge) => Some(surge),
            Zone::Beside => return,
            Zone::Outside => None,
        };
        let costs = observed_costs(observation);
        let (answered, status) = outcome(observation.outcome);
        let importance = importance(&costs, &super::TYPICAL);
        let priority = importance / self.random.uniform();
        let texts = match surge {
            Some(at) => {
                let (sampling, surge) = (&mut self.surges[at], &self.found.surges[at]);
                sampling.parts.add(surge, observation.at, costs[surge.strongest() as usize]);
                if client_hash != 0 {
                    sampling.retries.observe(client_hash, path, observation.at, status, costs[0]);
                }
                if !sampling.bucket.wants(priority) {
                    sampling.bucket.pass(priority);
                    return;
                }
                &mut sampling.texts
            }
            None => {
                self.outside[stratum(observation.at)] += 1;
                if let Some(client) = observation.client {
                    self.outside_clients.add(acquaintances::hash(client));
                }
                let every = (self.acquaintances.len() / VOTERS_MAX) as u32 + 1;
                if !client_hash.is_multiple_of(every) {
                    return;
                }
                &mut self.normal_texts
            }
        };
        let mut observation = *observation;
        locate(&mut observation);
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

    /// What the surges were, to be counted in the third reading.
    pub fn explain(self) -> Trace {
        let own_of = |sampling: &Sampling| {
            let rows: Vec<Sampled<'_>> = sampling.bucket.sampled().collect();
            own_marks(&rows, &self.baseline, &self.outside, &self.marked)
        };
        let own: Vec<Vec<Item>> = self.surges.iter().map(own_of).collect();
        let all: Vec<Item> = own.iter().flatten().copied().collect();
        let explained: Vec<Explained> =
            (0..self.surges.len()).map(|number| self.explain_one(number, &own[number], &all)).collect();
        Trace::new(explained, self.found, self.acquaintances, self.outside_clients.count())
    }

    /// `own` are the marks of its senders that are seen outside as well, `not_normal` those of all surges.
    fn explain_one(&self, number: usize, own: &[Item], not_normal: &[Item]) -> Explained {
        let (surge, sampling) = (&self.found.surges[number], &self.surges[number]);
        let mut rows: Vec<Sampled<'_>> = sampling.bucket.sampled().collect();
        rows.sort_by_key(|sampled| std::cmp::Reverse(sampled.at));
        let exceeding = sampling.parts.exceeding(surge);
        let parts = if exceeding.is_empty() { (0..PARTS).collect() } else { exceeding };
        let costs: Vec<CostKind> = surge.levels.iter().map(|level| level.cost).collect();
        let readings = CostKind::ALL.map(|cost| reading(surge, cost));
        let mut normal = self.baseline.normal(surge.from, STRATA * super::baseline::STRATUM_ROWS_MAX);
        normal.retain(|row: &&NormalRow| !not_normal.iter().any(|item| row.marks.has(*item)));
        normal.truncate(ROWS_MAX);
        let reference = Reference::new(&normal, &self.marked);
        let inquiry = Inquiry {
            material: Material {
                from: surge.from,
                now: surge.until,
                onset: surge.from,
                around: rows.clone(),
                windows: parts.into_iter().map(|part| window(surge, part)).collect(),
                tried_max: ROWS_MAX,
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
            // The log's other hours are what is normal, those before the surge with them.
            before: None,
            standing: &[],
            kept: &[],
            in_force: &[],
            crowd: None,
            was_crowd: false,
            is_of_newcomers: false,
        };
        let mut insight = inquiry.look();
        let requests = surge.levels.iter().find(|level| level.cost == CostKind::Requests);
        let is_named = insight.shapes.iter().any(|named| named.shape == Shape::RetryStorm);
        let storm = requests.and_then(|level| sampling.retries.storm(level.excess)).filter(|_| !is_named);
        insight.shapes.extend(storm);
        let matching = |items: &[Item]| -> Vec<Sampled<'_>> {
            rows.iter().filter(|sampled| sampled.row.marks.has_all(items)).copied().collect()
        };
        let condition = |item: Item| sampling.texts.condition(&self.keys, item, rows.iter().map(|sampled| sampled.row));
        let cost = surge.strongest() as usize;
        let senders = if insight.findings.is_empty() {
            let usual = surge.usual[cost] * surge.until.since(surge.from).as_secs_f64();
            Senders::of(&rows, cost, usual, &reference, &self.marked)
        } else {
            let is_matched =
                |sampled: &&Sampled<'_>| insight.findings.iter().any(|(items, _)| sampled.row.marks.has_all(items));
            let matched: Vec<Sampled<'_>> = rows.iter().filter(is_matched).copied().collect();
            Senders::of(&matched, cost, 0.0, &reference, &self.marked)
        };
        let (mut verdict, mut explanation) =
            settled(&insight, surge, &rows, &readings, &reference, senders.heaviest.as_ref());
        if verdict == Verdict::Crowd && insight.verdict != Verdict::Crowd {
            insight.findings.clear();
        }
        let proposed = |items: &[Item], conditions: Vec<Condition>, evidence: Evidence| {
            let matching = matching(items);
            let named = matching.iter().filter(|sampled| self.marked.is_named(&sampled.row.marks)).count();
            Proposed {
                conditions,
                evidence,
                signs: signs(items, &matching, &reference).into_iter().filter_map(condition).collect(),
                says_whence: named * 2 > matching.len(),
            }
        };
        let found = insight.findings.iter();
        let mut rules: Vec<Proposed> = found
            .map(|(items, finding)| proposed(items, finding.conditions.clone(), finding.evidence.clone()))
            .collect();
        if verdict == Verdict::NotSeparable
            && rules.is_empty()
            && let Some((item, coverage)) = candidate(surge, &rows, &reference, &self.marked)
            && let Some(condition) = condition(item)
        {
            let (collateral, upper) = reference.collateral(&[item]);
            let evidence = Evidence {
                coverage: coverage as f32,
                collateral: collateral as f32,
                collateral_upper: upper as f32,
                ..Evidence::default()
            };
            rules.push(proposed(&[item], vec![condition], evidence));
            if is_unsure(&reference) {
                verdict = Verdict::Undecided;
                explanation = settled::unsure(surge, &readings);
            }
        }
        Explained {
            surge: surge.clone(),
            verdict,
            explanation,
            amounts: settled::amounts(surge, &readings),
            rules,
            shapes: insight.shapes,
            own: own.iter().filter_map(|item| condition(*item)).collect(),
            clients: senders.clients,
            heaviest: senders.heaviest,
        }
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

#[cfg(test)]
mod tests;
