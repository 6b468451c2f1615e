//! When there was more than usual, with edges as sharp as the log allows.

use std::time::Duration;

use super::super::COSTS;
use super::edges::surging;
use super::found::Found;
use super::habits::Habits;
use super::runs::{EXCESS_FLOORS, Run, Runs, runs};
use super::stretches::{COARSER_SECONDS, FLOORS, LONGEST_SECONDS, Stretches};
use super::usual::Usual;
use crate::decision::CostKind;
use crate::observation::Observation;
use crate::units::Timestamp;

/// A stretch is long enough when half of them have this many requests.
const REQUESTS_MIN: f64 = 3.0;

/// Where fewer come, a page with its parts is most of what there is in a shorter one than this, in seconds.
const QUIET_SECONDS_MIN: u64 = 60;

/// Surges that are explained; of more, the strongest.
const SURGES_MAX: usize = 8;

/// Of a surge that a stronger one overlaps, what is outside of that is another when it has this share of the excess.
const ANOTHER_SHARE_MIN: f64 = 0.5;

/// Surges of one cost that are no further apart are one.
const TOUCHING: Duration = Duration::from_secs(60);

/// How much there was of one cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The cost.
    pub cost: CostKind,
    /// What is usual at that time, in units a second.
    pub normal: f64,
    /// What there was on average, in units a second.
    pub mean: f64,
    /// What there was in the strongest stretch, in units a second.
    pub peak: f64,
    /// How much more than usual there was, all told, in units.
    pub excess: f64,
}

/// A time in which there was more than usual.
#[derive(Clone, Debug, PartialEq)]
pub struct Surge {
    /// When it began.
    pub from: Timestamp,
    /// When it was over.
    pub until: Timestamp,
    /// The costs that exceeded what is usual, the strongest first.
    pub levels: Vec<Level>,
    /// What is usual of each cost, in units a second, in the order of [`CostKind::ALL`].
    pub usual: [f64; COSTS],
    /// The strongest cost over the surge and as long before and after, in units a second.
    pub curve: Vec<f64>,
    /// Over how many seconds each of these is.
    pub curve_seconds: u64,
}

impl Surge {
    /// Whether a moment is within.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    /// The cost that exceeds what is usual most.
    pub fn strongest(&self) -> CostKind {
        self.levels.first().map_or(CostKind::Requests, |level| level.cost)
    }

    /// How many times what is usual there was of the strongest cost.
    pub fn strength(&self) -> f64 {
        self.levels.first().map_or(0.0, |level| level.excess / FLOORS[level.cost as usize])
    }
}

/// Sums costs and finds surges.
#[derive(Debug, Default)]
pub struct SurgeFinder {
    stretches: Stretches,
}

impl SurgeFinder {
    /// Takes one observation of the first reading.
    pub fn add(&mut self, observation: &Observation<'_>) {
        self.stretches.add(observation);
    }

    /// Takes what another finder took of other observations.
    pub fn merge(&mut self, other: Self) {
        self.stretches.merge(other.stretches);
    }

    /// The surges. They are looked for at every scale at which there are requests enough: a burst shows at ten seconds, and what
    /// is weaker and lasts for hours only where the bursts of ordinary traffic have levelled out. Where there are not enough,
    /// hours say what is usual in a minute.
    pub fn find(self) -> Found {
        let mut finest = self.stretches;
        let far = finest.set_aside_far();
        let mut stretches = finest.clone();
        let mut found = Runs::default();
        let (mut of_hours, mut habits) = (None, Habits::default());
        let coarser = COARSER_SECONDS.into_iter().filter(|coarser| *coarser > finest.seconds);
        for seconds in [finest.seconds].into_iter().chain(coarser) {
            if seconds > stretches.seconds {
                stretches.coarsen(seconds);
            }
            let is_quiet = stretches.median_requests() < REQUESTS_MIN && seconds < LONGEST_SECONDS;
            if is_quiet && seconds < QUIET_SECONDS_MIN {
                continue;
            }
            let usual = if is_quiet {
                Usual::quiet(&stretches, of_hours.get_or_insert_with(|| Usual::new(&hours(&stretches))))
            } else {
                Usual::new(&stretches)
            };
            if !is_quiet {
                habits.look(&stretches);
            }
            for cost in CostKind::ALL {
                for run in runs(&stretches, &usual, cost) {
                    found.join(run, &finest, stretches.floor(cost as usize));
                }
            }
        }
        let finder = Edges { finest: &finest, runs: &found };
        let mut surges = finder.surges();
        let left_out = surges.split_off(surges.len().min(SURGES_MAX));
        let at = |stretch: u64| Timestamp::from_seconds(stretch * finest.seconds);
        let amounts: Vec<(Timestamp, f64)> =
            finest.sums.iter().map(|(stretch, sums)| (at(*stretch), sums[CostKind::Requests as usize])).collect();
        let habits = habits.finish(&surges, &left_out);
        let mut found = Found::new(surges, left_out, &amounts, &far);
        found.habits = habits;
        found
    }
}

/// Finds where in their runs surges begin and end.
struct Edges<'a> {
    finest: &'a Stretches,
    runs: &'a Runs,
}

impl Edges<'_> {
    /// All surges, the strongest first.
    fn surges(&self) -> Vec<Surge> {
        let mut found: Vec<(Surge, &Run)> = Vec::new();
        for run in &self.runs.whole {
            found.extend(self.parts(run).into_iter().map(|surge| (surge, run)));
        }
        // What goes on before and after a surge is the same one, of which only the strongest stood out.
        for run in &self.runs.rests {
            for part in self.parts(run) {
                let (mut from, mut until) = (part.from, part.until);
                found.retain(|(surge, known)| {
                    let touches = known.cost == run.cost
                        && surge.from <= part.until + TOUCHING
                        && part.from <= surge.until + TOUCHING;
                    if touches {
                        (from, until) = (from.min(surge.from), until.max(surge.until));
                    }
                    !touches
                });
                found.push((self.surge(run, from.as_seconds(), until.as_seconds()), run));
            }
        }
        found.sort_by(|(first, _), (second, _)| second.strength().total_cmp(&first.strength()));
        // What two neighbours both reach into belongs to the stronger.
        let mut surges: Vec<Surge> = Vec::new();
        for (surge, run) in found {
            let rest = outside(&surge, &surges);
            if rest == [(surge.from.as_seconds(), surge.until.as_seconds())] {
                surges.push(surge);
                continue;
            }
            let rest: Vec<Surge> = rest.into_iter().map(|(from, until)| self.surge(run, from, until)).collect();
            if rest.iter().map(Surge::strength).sum::<f64>() >= ANOTHER_SHARE_MIN * surge.strength() {
                surges.extend(rest.into_iter().filter(|rest| rest.strength() >= EXCESS_FLOORS));
            }
        }
        surges.sort_by(|first, second| second.strength().total_cmp(&first.strength()));
        surges
    }

    /// The surges in a run. One that was found in longer stretches may begin or end beside those, or be several.
    fn parts(&self, run: &Run) -> Vec<Surge> {
        let (log, cost) = (self.finest, run.cost);
        let usual = run.usual[cost as usize] * log.seconds as f64;
        let beside = if run.scale > log.seconds { run.scale } else { 0 };
        let first = run.from.saturating_sub(beside) / log.seconds;
        let last = (run.until + beside).div_ceil(log.seconds);
        let sum = |stretch: u64| {
            let second = stretch * log.seconds;
            let is_of_another = run.without.iter().any(|(from, until)| (*from..*until).contains(&second));
            if is_of_another { usual.min(log.sum(stretch, cost)) } else { log.sum(stretch, cost) }
        };
        let sums: Vec<f64> = (first..last).map(sum).collect();
        surging(&sums, usual, FLOORS[cost as usize] / 10.0, SURGES_MAX)
            .into_iter()
            .map(|part| ((first + part.start as u64) * log.seconds, (first + part.end as u64) * log.seconds))
            .filter(|(from, until)| *from < run.until && run.from < *until)
            .map(|(from, until)| self.surge(run, from, until))
            .filter(|surge| surge.strength() >= EXCESS_FLOORS)
            .collect()
    }

    /// What there was of each cost of which a run overlaps this time.
    fn surge(&self, run: &Run, from: u64, until: u64) -> Surge {
        let (log, seconds) = (self.finest, (until - from) as f64);
        let exceeds = |cost: CostKind| self.runs.exceeds(cost, from, until);
        let mut levels: Vec<Level> = CostKind::ALL
            .into_iter()
            .filter(|cost| exceeds(*cost))
            .map(|cost| {
                let sums = || (from / log.seconds..until / log.seconds).map(|stretch| log.sum(stretch, cost));
                let offered: f64 = sums().sum();
                let normal = run.usual[cost as usize];
                let peak = sums().fold(0.0, f64::max) / log.seconds as f64;
                Level { cost, normal, mean: offered / seconds, peak, excess: offered - normal * seconds }
            })
            .collect();
        let strength = |level: &Level| level.excess / FLOORS[level.cost as usize];
        // Of several surges in a run, each has its own costs.
        levels.retain(|level| strength(level) >= 1.0);
        levels.sort_by(|first, second| strength(second).total_cmp(&strength(first)));
        let strongest = levels.first().map_or(CostKind::Requests, |level| level.cost);
        let (curve, curve_seconds) = self.curve(from, until, strongest);
        Surge {
            from: Timestamp::from_seconds(from),
            until: Timestamp::from_seconds(until),
            curve,
            curve_seconds,
            levels,
            usual: run.usual,
        }
    }

    /// A cost in sixty parts of the surge and as long before and after, and how long these are in seconds.
    fn curve(&self, from: u64, until: u64, cost: CostKind) -> (Vec<f64>, u64) {
        const PARTS: u64 = 60;
        let log = self.finest;
        let length = (until - from).max(log.seconds);
        let begin = from.saturating_sub(length);
        let part = (3 * length).div_ceil(PARTS).div_ceil(log.seconds) * log.seconds;
        let curve = (0..(3 * length).div_ceil(part))
            .map(|number| {
                let first = (begin + number * part) / log.seconds;
                let stretches = part / log.seconds;
                let sum: f64 = (first..first + stretches).map(|stretch| log.sum(stretch, cost)).sum();
                sum / (stretches * log.seconds) as f64
            })
            .collect();
        (curve, part)
    }
}

/// What came by the hour.
fn hours(stretches: &Stretches) -> Stretches {
    let mut hours = stretches.clone();
    hours.coarsen(LONGEST_SECONDS);
    hours
}

/// When a surge was and none of the others, in seconds.
fn outside(surge: &Surge, others: &[Surge]) -> Vec<(u64, u64)> {
    let mut rest = vec![(surge.from.as_seconds(), surge.until.as_seconds())];
    for other in others {
        let (begin, end) = (other.from.as_seconds(), other.until.as_seconds());
        let parts = |(from, until): (u64, u64)| [(from, until.min(begin)), (from.max(end), until)];
        rest = rest
            .into_iter()
            .flat_map(|part| if part.0 < end && begin < part.1 { parts(part).to_vec() } else { vec![part] })
            .filter(|(from, until)| from < until)
            .collect();
    }
    rest
}

#[cfg(test)]
mod tests;
