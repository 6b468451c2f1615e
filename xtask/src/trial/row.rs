//! One row of the table: what the runs of one family or control came to, and what must be reached.

use std::fmt;

use seawall_engine::decision::Verdict;
use seawall_trial::family::Right;
use seawall_trial::trial::Outcome;

use super::Subject;

/// What must be reached.
const TIME_MEDIAN_MAX: f64 = 3.0;
const TIME_95_MAX: f64 = 10.0;
const RECALL_MIN: f64 = 0.95;
const WANTED_REFUSED_MAX: f64 = 0.001;
const NOT_SEPARABLE_MIN: f64 = 0.95;
const BOUND_HOLDS_MIN: f64 = 0.95;
const RULES_MAX: usize = 5;
/// Incidents in an ordinary week.
const INCIDENTS_MAX: f64 = 1.0;

pub(super) const HEADER: &str = "family or control        right   time p50     p95   recall   wanted refused   rules  flaps  incidents  \
                                 bound holds   detector ms/s";

/// What some runs came to.
pub(super) struct Row {
    name: &'static str,
    /// The share of the runs with the right end: rules, none, or *not separable*.
    right: Figure,
    time_median: Option<Figure>,
    time_95: Option<Figure>,
    recall: Option<Figure>,
    wanted_refused: Figure,
    rules: Figure,
    flaps: Figure,
    /// Incidents in a run, on average.
    incidents: Figure,
    bound_holds: Option<Figure>,
    detector: f64,
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
        // A run in which the right rules never came took longer than any other.
        let mut times: Vec<f64> =
            outcomes.iter().map(|outcome| outcome.time_to_rule.unwrap_or(f64::INFINITY)).collect();
        let mut found: Vec<f64> =
            outcomes.iter().filter(|outcome| outcome.time_to_rule.is_some()).map(|outcome| outcome.recall).collect();
        let mut detector: Vec<f64> =
            outcomes.iter().map(|outcome| outcome.detector_second_max.as_secs_f64() * 1e3).collect();
        let rules: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.rules).collect();
        let holding = rules.iter().filter(|rule| rule.actual() <= f64::from(rule.predicted)).count();
        let most_rules = outcomes.iter().map(|outcome| outcome.rules.len()).max().unwrap_or_default();
        let flaps: usize = outcomes.iter().map(|outcome| outcome.flaps).sum();
        let right = share(&|outcome| is_right(subject, outcome));
        let (expects_rules, right_min) = match subject {
            Subject::Family(family) if family.right == Right::Rules => (true, NOT_SEPARABLE_MIN),
            Subject::Family(_) => (false, NOT_SEPARABLE_MIN),
            Subject::Control(_) | Subject::Week => (false, 1.0),
        };
        let figure = |value: f64, is_reached: bool| Figure { value, is_reached };
        let timed = |share: f64, most: f64, times: &mut Vec<f64>| {
            let value = quantile(times, share);
            expects_rules.then_some(figure(value, value <= most))
        };
        Self {
            name: subject.name(),
            right: figure(right, right >= right_min),
            time_median: timed(0.5, TIME_MEDIAN_MAX, &mut times),
            time_95: timed(0.95, TIME_95_MAX, &mut times),
            recall: (expects_rules && !found.is_empty()).then(|| {
                let median = quantile(&mut found, 0.5);
                figure(median, median >= RECALL_MIN)
            }),
            wanted_refused: figure(refused, refused <= WANTED_REFUSED_MAX),
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
            detector: quantile(&mut detector, 0.5),
        }
    }

    pub(super) fn is_missed(&self) -> bool {
        let optional = [self.time_median, self.time_95, self.recall, self.bound_holds];
        let always = [self.right, self.wanted_refused, self.rules, self.flaps, self.incidents];
        optional.into_iter().flatten().chain(always).any(|figure| !figure.is_reached)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |figure: &Figure| if figure.is_reached { ' ' } else { '!' };
        let percent = |figure: Figure, digits: usize| format!("{:.digits$}%{}", figure.value * 100.0, mark(&figure));
        let seconds = |figure: Figure| {
            let value = if figure.value.is_finite() { format!("{:.2}", figure.value) } else { "never".to_owned() };
            format!("{value} s{}", mark(&figure))
        };
        let none = || "– ".to_owned();
        write!(
            formatter,
            "{:22}{:>9}{:>11}{:>9}{:>9}{:>17}{:>8}{:>7}{:>11}{:>14}{:>16.1}",
            self.name,
            percent(self.right, 1),
            self.time_median.map_or_else(none, seconds),
            self.time_95.map_or_else(none, seconds),
            self.recall.map_or_else(none, |recall| percent(recall, 1)),
            percent(self.wanted_refused, 3),
            format!("{}{}", self.rules.value, mark(&self.rules)),
            format!("{}{}", self.flaps.value, mark(&self.flaps)),
            format!("{:.2}{}", self.incidents.value, mark(&self.incidents)),
            self.bound_holds.map_or_else(none, |share| percent(share, 1)),
            self.detector,
        )
    }
}

/// Whether a run came to its right end.
fn is_right(subject: &Subject, outcome: &Outcome) -> bool {
    match subject {
        Subject::Family(family) if family.right == Right::Rules => outcome.time_to_rule.is_some(),
        Subject::Family(_) => outcome.verdict == Some(Verdict::NotSeparable) && outcome.rules.is_empty(),
        Subject::Control(_) | Subject::Week => outcome.rules.is_empty(),
    }
}

/// Whether a run by itself misses what it should reach.
pub(super) fn is_missed(subject: &Subject, outcome: &Outcome) -> bool {
    let refused = outcome.wanted.1 as f64 / outcome.wanted.0.max(1) as f64;
    let slow = outcome.time_to_rule.is_some_and(|time| time > TIME_95_MAX);
    !is_right(subject, outcome)
        || (matches!(subject, Subject::Week) && !outcome.incidents.is_empty())
        || refused > WANTED_REFUSED_MAX
        || slow
        || outcome.flaps > 0
        || outcome.rules.len() > RULES_MAX
        || (outcome.time_to_rule.is_some() && outcome.recall < RECALL_MIN)
}

/// What the engine made of a run.
pub(super) fn explained(outcome: &Outcome) -> String {
    let verdict = outcome.verdict.map_or_else(|| "no incident".to_owned(), |verdict| format!("{verdict:?}"));
    let mut said = format!("{} incidents, {verdict}: {}", outcome.incidents.len(), outcome.explanation);
    if let Some(time) = outcome.time_to_rule {
        said += &format!("; right after {time:.2} s, recall {:.1}%", outcome.recall * 100.0);
    }
    for told in outcome.incidents.iter().flatten() {
        said += &format!("\n        {told}");
    }
    for rule in &outcome.rules {
        said += &format!(
            "\n        {} (at most {:.3}% predicted, {:.3}% of {} ordinary requests found)",
            rule.text,
            rule.predicted * 100.0,
            rule.actual() * 100.0,
            rule.ordinary.0
        );
    }
    said
}

/// The value below which this share lies.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((share * last as f64).round() as usize).copied().unwrap_or_default()
}
