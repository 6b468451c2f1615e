//! Takes observations in, and learns from those that are a minute old.

use std::time::Duration;

use crate::observation::attribute::Attribute;
use crate::observation::{Observation, Outcome, Refusal};
use crate::units::Timestamp;

use super::recent::{self, Answered, Row};
use super::series::{self, Passed, Series};
use super::values::{Item, UNUSED};
use super::{COSTS, Detector, RARE_SHARE};

/// A client known for this long, or served this often, is an old acquaintance.
const RETURNING_AGE: Duration = Duration::from_secs(3600);
const RETURNING_SERVED: u32 = 50;

/// A single observation is never more important than this many ordinary requests, so that one large file does not push
/// all else out of a sample.
const IMPORTANCE_MAX: f64 = 1000.0;

/// The status of what a rule refuses.
const FORBIDDEN: u16 = 403;

impl Detector {
    /// Takes one observation. Every cost is counted exactly; the observation itself is kept if the sample has room for
    /// its like. Allocates nothing but at the end of a second.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        if Series::step(observation.at) > self.series.newest() {
            self.advance(observation.at);
        }
        let weight = if observation.weight.is_finite() { observation.weight.clamp(0.0, 1e6) } else { 1.0 };
        let costs = observed_costs(observation).map(|cost| cost * f64::from(weight));
        self.series.add(observation.at, &costs);
        let client_hash = observation.client.map_or(0, |client| self.keys.client(client));
        let arrives =
            client_hash != 0 && observation.cost.requests > 0 && self.series.add_client(client_hash, f64::from(weight));
        let importance = importance(&costs, &self.typical);
        let priority = importance / self.random.uniform();
        let at = self.moment(observation.at);
        let second = at.as_seconds();
        if !self.recent.wants(second, priority) {
            self.recent.pass(second, priority);
            return;
        }
        let (history, before) = (&observation.history, &observation.cost.before);
        let (answered, mut status) = outcome(observation.outcome);
        // Beside a server it may be that of a rule which is not in force here any more, since the guard was started anew, say. It would prove
        // itself right: nobody crowds in front of errors.
        if status == FORBIDDEN && self.ladder.is_beside() {
            status = 0;
        }
        let row = Row {
            marks: self.texts.marks(&self.keys, &observation.request, observation.client, second as u32),
            client: observation.client,
            client_hash,
            costs: costs.map(|cost| cost as f32),
            before: spent(0, before.bytes, before.upstream_time, before.connection_time).map(|cost| cost as f32),
            weight,
            importance,
            priority,
            at,
            status,
            answered,
            under_way: observation.outcome == Outcome::UnderWay,
            returning: history.age >= RETURNING_AGE || history.served >= RETURNING_SERVED,
            of_good_name: history.is_of_good_name,
            exempt: observation.client.is_some_and(|client| self.never_ban.contains(client)),
        };
        // What hardly anybody has can only be told where somebody was seen. What most visitors have arrives often as well.
        if arrives && row.is_mineable() && self.seen.is_telling() {
            let (step, seen) = (self.series.newest(), &self.seen);
            let is_ordinary = |item| seen.share(item).is_none_or(|share| share > RARE_SHARE);
            for attribute in [Attribute::UserAgent, Attribute::UserAgentWord] {
                for hash in row.marks.of(attribute).iter().copied().take_while(|hash| *hash != UNUSED) {
                    self.newcomers.arrive(Item { attribute, hash }, step, weight, is_ordinary);
                }
            }
        }
        if observation.cost.requests > 0 {
            self.rhythms.arrive(row.marks.one(Attribute::Path), observation.at);
        }
        self.recent.offer(second, row);
    }

    /// The moment under which an observation is kept: its own, or the present for one that comes more than a minute late.
    fn moment(&self, at: Timestamp) -> Timestamp {
        let newest = self.series.newest() / series::STEPS_PER_SECOND;
        if at.as_seconds() + recent::SECONDS as u64 <= newest || at.as_seconds() > newest {
            return Timestamp::from_seconds(newest);
        }
        at
    }

    /// Goes on to `to`: seconds that end teach what is normal, and so do requests of a minute ago.
    pub(super) fn advance(&mut self, to: Timestamp) {
        let Self { series, seasonal, trigger, incidents, baseline, seen, composition, recent, random, typical, .. } =
            self;
        let restraint = &mut self.restraint;
        let is_cold = seasonal.is_cold();
        series.advance(to, |passed| match passed {
            Passed::Second(second, sums) if incidents.may_learn(second) => {
                for cost in 1..COSTS {
                    if sums[0] > 0.0 {
                        // An exponential mean over about a thousand seconds.
                        typical[cost] = (typical[cost] * 0.999 + sums[cost] / sums[0] * 0.001).max(1e-6);
                    }
                }
                if let Some(sample) = seasonal.learn(second, &sums) {
                    trigger.sample(Timestamp::from_seconds(second), &sample, seasonal);
                }
            }
            Passed::Second(..) => seasonal.discard_sample(),
            Passed::Gap => {
                seasonal.gap(to.as_seconds());
                trigger.reset();
            }
        });
        recent.advance(to.as_seconds(), |second, rows| {
            if incidents.may_learn(second) {
                baseline.learn(second, rows, random, |marks, is_vote| {
                    if is_vote {
                        composition.vote(second, marks);
                    }
                    // On the first day everything is new.
                    let is_learned = is_cold || !is_vote || restraint.admits(second, marks, seen);
                    if is_learned {
                        seen.learn(second, marks, is_vote);
                    }
                    is_learned
                });
            }
        });
    }
}

/// What an observation cost, in the unit of each cost.
pub(super) const fn observed_costs(observation: &Observation<'_>) -> [f64; COSTS] {
    let cost = &observation.cost;
    spent(cost.requests, cost.bytes, cost.upstream_time, cost.connection_time)
}

/// Costs in the unit of each.
const fn spent(requests: u32, bytes: u64, upstream_time: Duration, connection_time: Duration) -> [f64; COSTS] {
    [requests as f64, bytes as f64, upstream_time.as_secs_f64(), connection_time.as_secs_f64()]
}

/// How much an observation counts among others when not all can be kept: by all its costs, each beside a typical one.
pub(super) fn importance(costs: &[f64; COSTS], typical: &[f64; COSTS]) -> f32 {
    let each = costs.iter().zip(typical).map(|(cost, typical)| (cost / typical).min(IMPORTANCE_MAX));
    (each.sum::<f64>() as f32).max(0.01)
}

/// Who answered, and with which status.
pub(super) const fn outcome(outcome: Outcome) -> (Answered, u16) {
    match outcome {
        Outcome::Arrived | Outcome::UnderWay => (Answered::BySite, 0),
        Outcome::Served { status } | Outcome::Failed { status } => (Answered::BySite, status),
        Outcome::Refused(Refusal::Rule(_)) => (Answered::ByRule, 0),
        Outcome::Refused(Refusal::Misdirected) => (Answered::Misdirected, 421),
        Outcome::Refused(Refusal::Malformed) => (Answered::Otherwise, 400),
        Outcome::Refused(Refusal::Unfinished) => (Answered::Otherwise, 408),
        Outcome::Refused(Refusal::ClientLimit) => (Answered::Otherwise, 429),
        Outcome::Refused(Refusal::Overload) => (Answered::Otherwise, 503),
    }
}
