//! What the kernel saves the guard in a drill: the same scenarios with so many requests from so many clients that each goes on
//! after its refusals and is handed down, in a network namespace of their own. The guard's processor time in a second is compared
//! before the first client is handed down and once nearly all are.

use std::fs;
use std::process::Command;

use seawall::host::open_files;
use serde::Deserialize;
use toml::{Table, Value};

use super::Bench;
use super::drills::valid;
use super::figure::{Figure, Goal, OURS, Series};
use crate::Failure;

/// The scenarios, which are read where the program itself has them from.
const SCENARIOS: [(&str, &str); 3] = [
    ("cacert", include_str!("../../../drills/cacert.toml")),
    ("announce", include_str!("../../../drills/announce.toml")),
    ("wiki-spam", include_str!("../../../drills/wiki-spam.toml")),
];

/// Unwanted requests a second, and from how many clients: each sends 32 in five seconds.
const REQUESTS: f64 = 2_400.0;
const CLIENTS: f64 = 400.0;

/// Time enough for the first to be handed down, and then for the rest.
const DURATION: &str = "60s";

/// How long a client waits to be connected. It is not answered once the kernel drops it, and its socket is there as long.
const ANSWER_TIME_MAX: &str = "1s";

/// What the guard may take of a processor once the kernel drops the flood, as a share of what it took before.
const AFTER_MAX: f64 = 0.2;

/// What is read of a drill's outcome.
#[derive(Debug, Deserialize)]
struct Outcome {
    remarks: Vec<String>,
    wanted: Wanted,
    escalation: Option<Escalation>,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    sent: u64,
    refused: u64,
    dropped: u64,
}

#[derive(Debug, Deserialize)]
struct Escalation {
    settled_seconds: f64,
    clients: u64,
    cpu_before: f64,
    cpu_after: f64,
}

/// Holds each drill once for each repetition, and again where it is not valid.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    open_files::raise();
    let folder = bench.folder("kernel-drills")?;
    let mut figures = Vec::new();
    for (name, text) in SCENARIOS {
        let path = folder.join(format!("{name}.toml"));
        fs::write(&path, heavier(name, text)?).map_err(|source| Failure::Write { path: path.clone(), source })?;
        let mut values = Vec::new();
        let mut notes = Vec::new();
        for _ in 0..bench.repetitions {
            let mut drill = Command::new(&bench.guard);
            drill.args(["drill", "--kernel", "--json", "--scenario"]).arg(&path);
            let outcome: Outcome = valid(bench, name, drill)?;
            let wanted = &outcome.wanted;
            let escalation = outcome.escalation.ok_or_else(|| {
                Failure::Bench(format!(
                    "the drill {name} handed nobody down to the kernel: {}",
                    outcome.remarks.join("; ")
                ))
            })?;
            values.push(escalation.cpu_after / escalation.cpu_before);
            notes.push(format!(
                "{:.0} ms/s of a processor before, {:.0} after; {} clients within {:.0} s of the rule; {} of {} wanted requests \
                 refused.",
                escalation.cpu_before,
                escalation.cpu_after,
                escalation.clients,
                escalation.settled_seconds,
                wanted.refused + wanted.dropped,
                wanted.sent,
            ));
            bench.say(&format!("{name}: {}", notes.last().map_or("", String::as_str)));
        }
        figures.push(Figure {
            what: format!("Drill {name} with {REQUESTS:.0} unwanted requests/s: the guard's processor time once the kernel drops them"),
            unit: "of before",
            goal: Goal::AtMost(AFTER_MAX),
            series: vec![Series { name: OURS.to_owned(), values }],
            notes,
        });
    }
    Ok(figures)
}

/// The scenario with a flood that is heavier, from fewer clients, each of whom goes on.
fn heavier(name: &str, text: &str) -> Result<String, Failure> {
    let invalid = |what: String| Failure::Bench(format!("failed to change the drill {name}: {what}"));
    let mut scenario: Table = text.parse().map_err(|error| invalid(format!("{error}")))?;
    scenario.remove("targets");
    scenario.insert("duration".to_owned(), Value::String(DURATION.to_owned()));
    let groups = scenario.get_mut("group").and_then(Value::as_array_mut);
    let groups = groups.ok_or_else(|| invalid("it has no groups".to_owned()))?;
    let mut unwanted: Vec<&mut Table> =
        groups.iter_mut().filter_map(Value::as_table_mut).filter(|group| is_unwanted(group)).collect();
    let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
    let visits = |group: &Table| {
        let arrivals = group.get("arrivals")?;
        arrivals.get("rate-end").or_else(|| arrivals.get("rate")).and_then(number)
    };
    let pages = |group: &Table| group.get("pages-min").and_then(number).unwrap_or(1.0);
    let all: f64 = unwanted.iter().filter_map(|group| Some(visits(group)? * pages(group))).sum();
    for group in &mut unwanted {
        let share = visits(group).ok_or_else(|| invalid("a group has no rate".to_owned()))? * pages(group) / all;
        let rate = REQUESTS * share / pages(group);
        let arrivals = Table::from_iter([
            ("kind".to_owned(), Value::String("constant".to_owned())),
            ("rate".to_owned(), Value::Float(rate)),
        ]);
        group.insert("arrivals".to_owned(), Value::Table(arrivals));
        group.insert("clients".to_owned(), Value::Integer((CLIENTS * share) as i64));
        group.insert("order".to_owned(), Value::String("random".to_owned()));
        group.insert("after-refusal".to_owned(), Value::String("ignores".to_owned()));
        group.insert("answer-time-max".to_owned(), Value::String(ANSWER_TIME_MAX.to_owned()));
        ["networks", "retry-interval", "retries-max"].into_iter().for_each(|key| {
            group.remove(key);
        });
    }
    Ok(scenario.to_string())
}

fn is_unwanted(group: &Table) -> bool {
    group.get("label").and_then(Value::as_str) == Some("unwanted")
}
