//! `cargo xtask bench`: the project's figures, measured on this machine beside nginx and HAProxy in the same run.
//!
//! Each benchmark is a file of its own and stands in [`BENCHMARKS`]; what each measures, and how to read it, is told in
//! bench/README.md. Whoever is measured has one core to itself ([`contenders`], [`program`]), the load has the other
//! ([`load`]). What is found becomes [`figure`]s. Nothing here is hidden when we lose.

mod answering;
mod bare_relay;
mod contenders;
mod drills;
mod enforcement;
mod engine;
mod figure;
mod frame;
mod kernel_drills;
mod load;
mod logs;
mod machine;
mod past;
mod program;
mod proxied;
mod record;
mod refused;
mod streams;
mod watch;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use seawall::host::clock::Clock;
use serde::Serialize;
use tempfile::TempDir;

use crate::packages::{self, Needed};
use crate::test::run_command;
use crate::{Failure, root};
use figure::Figure;
use load::Outcome;
use machine::{Cores, Machine};

const NEEDED: &[Needed] = &[
    Needed { program: "nginx", package: "nginx-light", why: "a peer, and the origin behind all" },
    Needed { program: "haproxy", package: "haproxy", why: "a peer" },
    Needed { program: "taskset", package: "util-linux", why: "keeps each program on one core" },
    Needed { program: "chrt", package: "util-linux", why: "keeps a core awake with work that gives way to any other" },
];

/// Repetitions of each measurement; with `--quick` only enough to see that it works.
const REPETITIONS: usize = 5;
const REPETITIONS_QUICK: usize = 1;

/// One benchmark.
struct Benchmark {
    name: &'static str,
    what: &'static str,
    run: fn(&Bench) -> Result<Vec<Figure>, Failure>,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark { name: "refused", what: "CPU for each request refused by a rule", run: refused::by_rule },
    Benchmark { name: "misdirected", what: "CPU for each request for a foreign host", run: refused::misdirected },
    Benchmark { name: "proxied", what: "proxied requests a second on one core", run: proxied::throughput },
    Benchmark {
        name: "latency",
        what: "latency added at half of the peak rate, and at little load",
        run: proxied::latency,
    },
    Benchmark { name: "streams", what: "memory and processor time of 6,000 clock streams", run: streams::run },
    Benchmark { name: "frame", what: "bytes for a clock frame", run: frame::run },
    Benchmark { name: "engine", what: "time of judge and observe", run: engine::time },
    Benchmark { name: "memory", what: "memory of the engine, whatever the number of clients", run: engine::memory },
    Benchmark { name: "logs", what: "a report of a large log, and the reading of lines", run: logs::run },
    Benchmark { name: "watch", what: "lines of followed logs a second", run: watch::run },
    Benchmark {
        name: "enforcement",
        what: "milliseconds until who is banned is dropped, and what the record takes",
        run: enforcement::run,
    },
    Benchmark { name: "drills", what: "seconds from onset to rule, and whom it hits", run: drills::run },
];

/// Measure the project's figures beside nginx and HAProxy
///
/// A whole run (no NAME, no --quick) is kept in bench/runs under its date. Needs two cores that nobody else uses, and
/// installs nginx and HAProxy from Debian where it may. bench/README.md tells what each benchmark measures.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these
    #[arg(value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(BENCHMARKS.iter().map(|benchmark| {
        clap::builder::PossibleValue::new(benchmark.name).help(benchmark.what)
    })))]
    names: Vec<String>,

    /// One short repetition of each, to see that they work; the figures are worth little
    #[arg(long)]
    quick: bool,

    /// Print the figures as one JSON object instead
    #[arg(long)]
    json: bool,
}

/// What every benchmark needs to know.
pub(crate) struct Bench {
    pub(crate) repetitions: usize,
    pub(crate) cores: Cores,
    pub(crate) clock: Clock,
    /// The program that is measured.
    pub(crate) guard: PathBuf,
    is_quick: bool,
    folder: TempDir,
}

/// All that a run found.
#[derive(Serialize)]
struct Run<'r> {
    date: String,
    command: String,
    machine: &'r Machine,
    figures: &'r [Figure],
    failures: &'r [String],
}

/// Runs the task.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    packages::install_missing(NEEDED)?;
    let cores = Cores::find()?;
    let guard = build()?;
    let _only_run = program::only_run()?;
    machine::go_first();
    let machine = Machine::describe();
    let folder = TempDir::new().map_err(|source| Failure::Write { path: std::env::temp_dir(), source })?;
    cores.keep_to_load()?;
    let repetitions = if arguments.quick { REPETITIONS_QUICK } else { REPETITIONS };
    let bench = Bench { repetitions, cores, clock: Clock::start(), guard, is_quick: arguments.quick, folder };
    let (mut figures, mut failures) = (Vec::new(), Vec::new());
    for benchmark in BENCHMARKS {
        if !arguments.names.is_empty() && !arguments.names.iter().any(|name| name == benchmark.name) {
            continue;
        }
        bench.say(&format!("==> {}: {}", benchmark.name, benchmark.what));
        match (benchmark.run)(&bench) {
            Ok(found) => figures.extend(found),
            // The others are worth having all the same.
            Err(failure) => {
                bench.say(&format!("failed: {failure}"));
                failures.push(format!("{}: {failure}", benchmark.name));
            }
        }
    }
    let date = jiff::Zoned::now().strftime("%Y-%m-%d").to_string();
    let command = std::iter::once("cargo xtask".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>();
    let run = Run { date, command: command.join(" "), machine: &machine, figures: &figures, failures: &failures };
    if arguments.json {
        let text = serde_json::to_string_pretty(&run).map_err(|error| Failure::Bench(error.to_string()))?;
        println!("{text}");
    } else {
        println!("{}", run.markdown());
    }
    if arguments.names.is_empty() && !arguments.quick {
        run.keep()?;
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::Bench(failures.join("\n"))) }
}

impl Bench {
    /// Says how it goes; results alone go to the standard output.
    pub(crate) fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    /// How long to measure: this many seconds, or one in a quick run.
    pub(crate) fn seconds(&self, seconds: u64) -> Duration {
        Duration::from_secs(if self.is_quick { 1 } else { seconds })
    }

    /// A folder for this run that is gone afterwards.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).map_err(|source| Failure::Write { path: path.clone(), source })?;
        Ok(path)
    }
}

/// That the answers were what was measured for: all of one status, but for a share that passed as probes.
pub(crate) fn check(name: &str, outcome: &Outcome, status: u16, others_max: f64) -> Result<(), Failure> {
    let (expected, all) = (outcome.with_status(status), outcome.answers());
    let others = (all - expected) as f64;
    if expected > 0 && outcome.failed == 0 && others <= all as f64 * others_max {
        return Ok(());
    }
    let found = format!("{:?} and {} failed", outcome.statuses, outcome.failed);
    Err(Failure::Bench(format!("{name} was to answer {status} to everything; it answered {found}")))
}

/// Builds the guard as it is shipped.
fn build() -> Result<PathBuf, Failure> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--quiet", "--package", "seawall"]);
    run_command(cargo)?;
    Ok(release_folder().join("seawall"))
}

/// Where cargo puts what is built as it is shipped.
fn release_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    root().join(target).join("release")
}

impl Run<'_> {
    fn markdown(&self) -> String {
        let mut text = format!("# Benchmarks of {}\n\n`{}`\n\n", self.date, self.command);
        text.push_str(&format!("{}\n{}\n", self.machine.markdown(), figure::overview(self.figures)));
        for failure in self.failures {
            text.push_str(&format!("Not measured: {failure}\n\n"));
        }
        let figures: Vec<String> = self.figures.iter().map(Figure::markdown).collect();
        text + &figures.join("\n")
    }

    fn keep(&self) -> Result<(), Failure> {
        let folder = root().join("bench/runs");
        let path = folder.join(format!("{}-{}.md", self.date, self.machine.slug()));
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, self.markdown()))
            .map_err(|source| Failure::Write { path: path.clone(), source })?;
        eprintln!("kept in {}", path.display());
        Ok(())
    }
}
