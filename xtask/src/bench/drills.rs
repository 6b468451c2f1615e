//! The drills: whole floods from onset to rule, as `seawall drill` holds them. They start guard, origin and load by
//! themselves, on both cores.

use std::process::Command;

use seawall::host::open_files;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::figure::{Figure, Goal, OURS, Series};
use super::{Bench, REPETITIONS};
use crate::Failure;

/// How often a drill is held that turns out not to be valid.
const TRIES: usize = 3;

/// What says of any drill whether it is valid.
#[derive(Debug, Deserialize)]
struct Validity {
    valid: bool,
    remarks: Vec<String>,
}

/// What is read of a drill's outcome.
#[derive(Debug, Deserialize)]
struct Outcome {
    wanted: Traffic,
    unwanted_after_rule: Share,
    onset_to_rule_seconds: Option<f64>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Traffic {
    sent: u64,
    served: u64,
    refused: u64,
    dropped: u64,
}

#[derive(Debug, Deserialize)]
struct Share {
    count: u64,
    of: u64,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    wanted: String,
    found: String,
    met: bool,
}

/// Every drill that has goals of its own.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    open_files::raise();
    let repetitions = if bench.is_quick { 1 } else { REPETITIONS };
    let cacert = (0..repetitions).map(|_| hold(bench, "cacert")).collect::<Result<Vec<_>, _>>()?;
    let mut figures = vec![
        figure("Drill cacert: onset to enforced rule", "s", Goal::AtMost(3.0), &cacert, |outcome| {
            outcome.onset_to_rule_seconds.unwrap_or(f64::INFINITY)
        }),
        figure(
            "Drill cacert: unwanted requests that reach the origin after the rule",
            "%",
            Goal::AtMost(1.0),
            &cacert,
            |outcome| percent(outcome.unwanted_after_rule.count, outcome.unwanted_after_rule.of),
        ),
    ];
    let misdirected = [hold(bench, "misdirected")?];
    let clock = [hold(bench, "clock")?];
    for (name, outcomes) in [("cacert", &cacert[..]), ("misdirected", &misdirected), ("clock", &clock)] {
        let refused = |outcome: &Outcome| (outcome.wanted.refused + outcome.wanted.dropped) as f64;
        let what = format!("Drill {name}: wanted requests refused");
        let mut refused = figure(&what, "requests", Goal::AtMost(0.0), outcomes, refused);
        for target in outcomes.iter().flat_map(|outcome| &outcome.targets).filter(|target| !target.met) {
            refused.notes.push(format!("Missed: {}: wanted {}, found {}.", target.name, target.wanted, target.found));
        }
        figures.push(refused);
        if name != "clock" {
            let what = format!("Drill {name}: wanted requests served");
            figures.push(figure(&what, "%", Goal::AtLeast(99.9), outcomes, |outcome| {
                percent(outcome.wanted.served, outcome.wanted.sent)
            }));
        }
    }
    Ok(figures)
}

fn percent(count: u64, of: u64) -> f64 {
    count as f64 * 100.0 / of.max(1) as f64
}

fn figure(what: &str, unit: &'static str, goal: Goal, outcomes: &[Outcome], value: impl Fn(&Outcome) -> f64) -> Figure {
    let values = outcomes.iter().map(value).collect();
    Figure {
        what: what.to_owned(),
        unit,
        goal,
        series: vec![Series { name: OURS.to_owned(), values }],
        notes: Vec::new(),
    }
}

/// Holds a drill on all cores. That it misses its own targets is a result, not a failure.
fn hold(bench: &Bench, name: &str) -> Result<Outcome, Failure> {
    let cores = format!("{},{}", bench.cores.server, bench.cores.load);
    let mut drill = Command::new("taskset");
    drill.args(["--cpu-list", &cores]).arg(&bench.guard).args(["drill", name, "--json"]);
    let outcome: Outcome = valid(bench, name, drill)?;
    bench.say(&format!("{name}: rule after {:?} s, wanted {:?}", outcome.onset_to_rule_seconds, outcome.wanted));
    Ok(outcome)
}

/// The outcome of a drill. One that is not valid is held again, a few times: when others use the machine the load falls behind its plan, which says
/// nothing about the guard.
pub(super) fn valid<O: DeserializeOwned>(bench: &Bench, name: &str, mut drill: Command) -> Result<O, Failure> {
    let mut remarks = String::new();
    for _ in 0..TRIES {
        let output =
            drill.output().map_err(|source| Failure::Start { command: format!("seawall drill {name}"), source })?;
        let unreadable = |error: serde_json::Error| {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Failure::Bench(format!("the drill {name} gave no outcome ({error}); it said: {said}"))
        };
        let validity: Validity = serde_json::from_slice(&output.stdout).map_err(unreadable)?;
        if validity.valid {
            return serde_json::from_slice(&output.stdout).map_err(unreadable);
        }
        remarks = validity.remarks.join("; ");
        bench.say(&format!("{name} was not valid: {remarks}"));
    }
    Err(Failure::Bench(format!("the drill {name} was not valid, {TRIES} times in a row; the last time: {remarks}")))
}
