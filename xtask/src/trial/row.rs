//! One row of the table: what the runs of one family or control came to, and what must be reached.

use std::fmt;

use seawall_engine::decision::Verdict;
use seawall_trial::RuleTally;
use seawall_trial::family::Right;
use seawall_trial::trial::Outcome;

use super::Subject;

/// What must be reached. How strong a flood that grows may be when the right rules are in force, in ordinary traffic.
const STRENGTH_MEDIAN_MAX: f64 = 1.0;
const STRENGTH_95_MAX: f64 = 1.25;
const WANTED_REFUSED_MAX: f64 = 0.001;
const NOT_SEPARABLE_MIN: f64 = 0.95;
const BOUND_HOLDS_MIN: f64 = 0.95;
const RULES_MAX: usize = 5;
/// Milliseconds of a processor that the detector may take in a second of an incident, and of any other: there is no search
/// then, but what comes is still compared with what is normal.
const DETECTOR_MAX: f64 = 20.0;
const DETECTOR_QUIET_MAX: f64 = 1.0;
/// MiB.
const MEMORY_MAX: f64 = 32.0;
const MIB: f64 = (1 << 20) as f64;
/// Incidents in an ordinary week.
const INCIDENTS_MAX: f64 = 1.0;

/// Of a flood that grows the two times are its strength, in ordinary traffic. Recall, and what the detector takes of a
/// processor, are those of the twentieth run from the worst.
pub(super) const HEADER: &str = "family or control       runs    right   time p50       p95  recall p5   wanted refused   rules  flaps  \
                                 incidents   bound holds  predicted    found  detector ms/s  outside  MiB";

/// Whether the detector took too long in this run.
pub(super) fn is_slow(outcome: &Outcome) -> bool {
    let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    milliseconds(outcome.busiest_second) > DETECTOR_MAX
        || milliseconds(outcome.busiest_quiet_second) > DETECTOR_QUIET_MAX
}

/// What some runs came to.
pub(super) struct Row {
    name: String,
    runs: usize,
    /// The share of the runs with the right end: rules, none, or *not separable*.
    right: Figure,
    time_median: Option<Figure>,
    time_95: Option<Figure>,
    /// Whether the two are not seconds but how strong it was.
    grows: bool,
    /// What nineteen of twenty runs reach.
    recall: Option<Figure>,
    wanted_refused: Figure,
    rules: Figure,
    flaps: Figure,
    /// Incidents in a run, on average.
    incidents: Figure,
    bound_holds: Option<Figure>,
    /// The share of normal traffic that a rule was predicted to hurt at most, and the share that it was found to, on average.
    collateral: Option<(f64, f64)>,
    /// Milliseconds in the busiest second of an incident, in nineteen of twenty runs at most.
    detector: Option<Figure>,
    /// The same outside incidents.
    detector_quiet: Figure,
    /// How many runs these two are of, where they are of runs that were repeated one at a time.
    alone: Option<usize>,
    /// MiB that the engine takes at most.
    memory: Figure,
}

/// A figure, and whether it reaches what it must.
#[derive(Clone, Copy)]
struct Figure {
    value: f64,
    is_reached: bool,
}

impl Row {
    pub(super) fn new<'a>(subject: &Subject, outcomes: impl Iterator<Item = &'a Outcome>) -> Self {
        let outcomes: Vec<&Outcome> = outcomes.collect();
        let count = outcomes.len().max(1) as f64;
        let share =
            |is: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count() as f64 / count;
        let (mut wanted, mut refused) = (0, 0);
        outcomes.iter().for_each(|outcome| {
            wanted += outcome.wanted.0;
            refused += outcome.wanted.1;
        });
        let refused = refused as f64 / wanted.max(1) as f64;
        let grows = matches!(subject, Subject::Family(family) if family.growth.is_some());
        let time = |outcome: &Outcome| if grows { outcome.strength } else { outcome.time_to_rule };
        let quantile_of = |share: f64, value: &dyn Fn(&Outcome) -> f64| {
            quantile(outcomes.iter().map(|outcome| value(outcome)), share)
        };
        let rules: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.rules).collect();
        let holding = rules.iter().filter(|rule| rule.bound_holds()).count();
        let most_rules = outcomes.iter().map(|outcome| outcome.rules.len()).max().unwrap_or_default();
        let flaps: usize = outcomes.iter().map(|outcome| outcome.flaps).sum();
        let right = share(&|outcome| is_right(subject, outcome));
        let (expects_rules, right_min) = match subject {
            Subject::Family(family) => (expects_rules(family.right), NOT_SEPARABLE_MIN),
            Subject::Control(_) | Subject::Recorded(_) | Subject::Week => (false, 1.0),
        };
        let figure = |value: f64, is_reached: bool| Figure { value, is_reached };
        let timed = |share: f64, most: f64| {
            // A run in which the right rules never came took longer than any other.
            let value = quantile_of(share, &|outcome| time(outcome).unwrap_or(f64::INFINITY));
            expects_rules.then_some(at_most(value, most))
        };
        let (median_max, most_95) = times_max(subject);
        Self {
            name: subject.name().to_owned(),
            runs: outcomes.len(),
            right: figure(right, right >= right_min),
            time_median: timed(0.5, median_max),
            time_95: timed(0.95, most_95),
            grows,
            recall: expects_rules.then(|| {
                // Without rules nothing was refused.
                let recall = quantile_of(0.05, &|outcome| outcome.recall);
                figure(recall, recall >= recall_min(subject))
            }),
            wanted_refused: at_most(refused, WANTED_REFUSED_MAX),
            rules: figure(most_rules as f64, most_rules <= RULES_MAX),
            flaps: figure(flaps as f64, flaps == 0),
            incidents: {
                let mean = outcomes.iter().map(|outcome| outcome.incidents.len()).sum::<usize>() as f64 / count;
                figure(mean, mean <= INCIDENTS_MAX || !matches!(subject, Subject::Week))
            },
            bound_holds: (!rules.is_empty()).then(|| {
                let share = holding as f64 / rules.len() as f64;
                figure(share, share >= BOUND_HOLDS_MIN)
            }),
            collateral: (!rules.is_empty()).then(|| {
                let mean = |value: &dyn Fn(&RuleTally) -> f64| {
                    rules.iter().map(|rule| value(rule)).sum::<f64>() / rules.len() as f64
                };
                (mean(&|rule| f64::from(rule.predicted)), mean(&RuleTally::actual))
            }),
            detector: detector(&outcomes),
            detector_quiet: detector_quiet(&outcomes),
            alone: None,
            memory: at_most(quantile_of(1.0, &|outcome| outcome.memory_bytes as f64 / MIB), MEMORY_MAX),
        }
    }

    /// Whether the detector took too long.
    pub(super) fn is_slow(&self) -> bool {
        self.detector.into_iter().chain([self.detector_quiet]).any(|figure| !figure.is_reached)
    }

    /// Takes what the detector takes from these runs, which nothing else ran beside.
    pub(super) fn time_again(&mut self, outcomes: &[Outcome]) {
        let outcomes: Vec<&Outcome> = outcomes.iter().collect();
        self.detector = detector(&outcomes);
        self.detector_quiet = detector_quiet(&outcomes);
        self.alone = Some(outcomes.len());
    }

    pub(super) fn is_missed(&self) -> bool {
        let optional = [self.time_median, self.time_95, self.recall, self.bound_holds, self.detector];
        let always =
            [self.right, self.wanted_refused, self.rules, self.flaps, self.incidents, self.detector_quiet, self.memory];
        optional.into_iter().flatten().chain(always).any(|figure| !figure.is_reached)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |figure: &Figure| if figure.is_reached { ' ' } else { '!' };
        let percent = |figure: Figure, digits: usize| format!("{:.digits$}%{}", figure.value * 100.0, mark(&figure));
        let seconds = |figure: Figure| {
            let value = match self.grows {
                _ if !figure.value.is_finite() => "never".to_owned(),
                true => format!("{:.2} ×", figure.value),
                false => format!("{:.2} s", figure.value),
            };
            format!("{value}{}", mark(&figure))
        };
        let plain = |figure: Figure, digits: usize| format!("{:.digits$}{}", figure.value, mark(&figure));
        let none = || "– ".to_owned();
        write!(
            formatter,
            "{:23}{:>5}{:>9}{:>11}{:>10}{:>11}{:>17}{:>8}{:>7}{:>11}{:>14}{:>11}{:>9}{:>15}{:>9}{:>5}",
            self.name,
            self.runs,
            percent(self.right, 1),
            self.time_median.map_or_else(none, seconds),
            self.time_95.map_or_else(none, seconds),
            self.recall.map_or_else(none, |recall| percent(recall, 1)),
            percent(self.wanted_refused, 3),
            plain(self.rules, 0),
            plain(self.flaps, 0),
            plain(self.incidents, 2),
            self.bound_holds.map_or_else(none, |share| percent(share, 1)),
            self.collateral.map_or_else(none, |(predicted, _)| format!("{:.3}% ", predicted * 100.0)),
            self.collateral.map_or_else(none, |(_, found)| format!("{:.3}% ", found * 100.0)),
            self.detector.map_or_else(none, |detector| plain(detector, 1)),
            plain(self.detector_quiet, 2),
            plain(self.memory, 0),
        )?;
        match self.alone {
            Some(runs) => write!(formatter, "\n    time of the detector: {runs} of the runs repeated one at a time"),
            None => Ok(()),
        }
    }
}

const fn at_most(value: f64, most: f64) -> Figure {
    Figure { value, is_reached: value <= most }
}

/// Milliseconds in the busiest second of an incident, in nineteen of twenty runs at most. None where there was no incident.
fn detector(outcomes: &[&Outcome]) -> Option<Figure> {
    let has_incidents = outcomes.iter().any(|outcome| !outcome.incidents.is_empty());
    let busiest = outcomes.iter().map(|outcome| outcome.busiest_second.as_secs_f64() * 1e3);
    has_incidents.then(|| at_most(quantile(busiest, 0.95), DETECTOR_MAX))
}

/// The same outside incidents.
fn detector_quiet(outcomes: &[&Outcome]) -> Figure {
    let busiest = outcomes.iter().map(|outcome| outcome.busiest_quiet_second.as_secs_f64() * 1e3);
    at_most(quantile(busiest, 0.95), DETECTOR_QUIET_MAX)
}

/// How long until the right rules, or how strong a flood that grows may be by then: the median, and in nineteen of twenty runs.
const fn times_max(subject: &Subject) -> (f64, f64) {
    match subject {
        Subject::Family(family) if family.growth.is_some() => (STRENGTH_MEDIAN_MAX, STRENGTH_95_MAX),
        Subject::Family(family) => family.time_max,
        Subject::Control(_) | Subject::Recorded(_) | Subject::Week => (f64::INFINITY, f64::INFINITY),
    }
}

/// The share of its requests to be refused.
const fn recall_min(subject: &Subject) -> f64 {
    match subject {
        Subject::Family(family) => family.recall_min,
        Subject::Control(_) | Subject::Recorded(_) | Subject::Week => 0.0,
    }
}

/// Whether rules have to come.
const fn expects_rules(right: Right) -> bool {
    matches!(right, Right::Rules | Right::Address)
}

/// Whether a run came to its right end.
fn is_right(subject: &Subject, outcome: &Outcome) -> bool {
    match subject {
        Subject::Family(family) => match family.right {
            Right::Rules => outcome.time_to_rule.is_some(),
            Right::Address => outcome.time_to_rule.is_some() && outcome.rules.iter().all(|rule| rule.names_address),
            Right::Neighbours => outcome.rules.iter().all(|rule| rule.wanted_refused == 0),
            Right::NotSeparable => outcome.verdict == Some(Verdict::NotSeparable) && outcome.rules.is_empty(),
        },
        Subject::Control(_) | Subject::Recorded(_) | Subject::Week => outcome.rules.is_empty(),
    }
}

/// Whether a run by itself misses what it should reach.
pub(super) fn is_missed(subject: &Subject, outcome: &Outcome) -> bool {
    let refused = outcome.wanted.1 as f64 / outcome.wanted.0.max(1) as f64;
    let grows = matches!(subject, Subject::Family(family) if family.growth.is_some());
    let time = if grows { outcome.strength } else { outcome.time_to_rule };
    let slow = time.is_some_and(|time| time > times_max(subject).1);
    !is_right(subject, outcome)
        || (matches!(subject, Subject::Week) && !outcome.incidents.is_empty())
        || refused > WANTED_REFUSED_MAX
        || slow
        || outcome.flaps > 0
        || outcome.rules.len() > RULES_MAX
        || (outcome.time_to_rule.is_some() && outcome.recall < recall_min(subject))
        || outcome.rules.iter().any(|rule| !rule.bound_holds())
}

/// What the engine made of a run.
pub(super) fn explained(outcome: &Outcome) -> String {
    let verdict = outcome.verdict.map_or_else(|| "no incident".to_owned(), |verdict| format!("{verdict:?}"));
    let mut said = format!("{} incidents, {verdict}: {}", outcome.incidents.len(), outcome.explanation);
    if let Some(time) = outcome.time_to_rule {
        said += &format!("; right after {time:.2} s, recall {:.1}%", outcome.recall * 100.0);
    }
    if let Some(strength) = outcome.strength {
        said += &format!(", {strength:.2} times as strong as ordinary traffic");
    }
    for told in outcome.incidents.iter().flatten() {
        said += &format!("\n        {told}");
    }
    for rule in &outcome.rules {
        said += &format!(
            "\n        {} (at most {:.3}% predicted, {:.3}% of wanted requests found)",
            rule.text,
            rule.predicted * 100.0,
            rule.actual() * 100.0
        );
    }
    said
}

/// The value below which this share lies.
fn quantile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((share * last as f64).round() as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use seawall_trial::family;

    /// That a row of the first family, most runs of which are good, misses something just when `is_missed`.
    fn check(is_missed: bool, runs: usize, others: usize, other: impl Fn(&mut Outcome)) {
        let mut outcomes: Vec<Outcome> =
            (0..runs).map(|_| Outcome { time_to_rule: Some(2.0), recall: 0.99, ..Outcome::default() }).collect();
        outcomes.iter_mut().take(others).for_each(other);
        let row = Row::new(&Subject::Family(family::ALL[0]), outcomes.iter());
        assert_eq!(row.is_missed(), is_missed, "{row}");
    }

    #[test]
    fn one_run_in_twenty_may_miss_and_no_more() {
        let without_rules = |outcome: &mut Outcome| (outcome.time_to_rule, outcome.recall) = (None, 0.0);
        check(false, 100, 4, without_rules);
        check(true, 100, 6, without_rules);
        let forgetful = |outcome: &mut Outcome| outcome.recall = 0.9;
        check(false, 100, 4, forgetful);
        check(true, 100, 6, forgetful);
    }

    #[test]
    fn time_and_memory_are_limits() {
        let busy = |outcome: &mut Outcome| {
            outcome.incidents = vec![Vec::new()];
            outcome.busiest_second = Duration::from_millis(21);
        };
        check(false, 100, 4, busy);
        check(true, 100, 6, busy);
        check(true, 100, 6, |outcome| outcome.busiest_quiet_second = Duration::from_millis(2));
        check(true, 100, 1, |outcome| outcome.memory_bytes = 33 << 20);
    }

    #[test]
    fn what_takes_too_long_beside_others_is_timed_alone() {
        let run = |milliseconds: u64| Outcome {
            time_to_rule: Some(2.0),
            recall: 0.99,
            incidents: vec![Vec::new()],
            busiest_second: Duration::from_millis(milliseconds),
            ..Outcome::default()
        };
        let beside_others = [run(30), run(31)];
        let mut row = Row::new(&Subject::Family(family::ALL[0]), beside_others.iter());
        assert!(row.is_slow() && row.is_missed());
        row.time_again(&[run(15)]);
        assert!(!row.is_slow() && !row.is_missed());
        assert!(row.to_string().ends_with("1 of the runs repeated one at a time"), "{row}");
        row.time_again(&[run(25)]);
        assert!(row.is_missed());
    }
}
