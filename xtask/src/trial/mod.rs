//! `cargo xtask trial`: floods and crowds in simulation against the engine, over many seeds.
//!
//! The floods and crowds themselves are the crate `seawall-trial`'s; here they are run over backgrounds and seeds, and what
//! they came to becomes rows ([`row`]) of a table, each figure beside the one that must be reached.

mod kept;
mod row;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use seawall_trial::background::{Background, Replayed, Synthetic};
use seawall_trial::trial::{Grown, Outcome};
use seawall_trial::{control, family};

use crate::Failure;
use kept::{Kept, Run};
use row::Row;

/// The crowd that is played, in the same folder.
const CORPUS_CROWD: &str = "crowd/worldcup98-requests-per-minute.csv";

/// How many of a row's runs are repeated one at a time where the detector took too long beside others: two that share a core
/// take up to twice as long each.
const ALONE_RUNS: usize = 20;

/// How often each of those is run, until it is quick enough: all do the same work, so what takes longer is the machine's.
const ALONE_TIMES: usize = 3;

/// The log that is replayed, in the folder that `SEAWALL_CORPUS` names.
const CORPUS_LOG: &str = "logs/apache-combined-10k.log";

/// Run floods and crowds in simulation against the engine, and print what became of them
///
/// Exits with 1 when a figure is missed. The real log is replayed when SEAWALL_CORPUS names the folder that holds it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds to run each with
    #[arg(long, value_name = "N", default_value_t = 200)]
    seeds: u64,
    /// The first of the seeds
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first_seed: u64,
    /// Only those whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// None whose name contains this
    #[arg(long, value_name = "NAME")]
    except: Option<String>,
    /// Only on this background: synthetic or replayed
    #[arg(long, value_name = "NAME")]
    background: Option<String>,
    /// Say of each run that missed something what the engine made of it
    #[arg(long)]
    explain: bool,
    /// How many runs to do at once, as many as there are processors unless given. Where the detector takes too long so, some are
    /// repeated one at a time, since two may share a core
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Keep every run in this file as soon as it has ended, and do none again that is there: a trial of hours can be broken off and gone on
    /// with. All runs of a file are of one engine, committed
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

impl Arguments {
    fn threads(&self) -> usize {
        let available = || thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(available, NonZeroUsize::get)
    }

    /// The seeds with which this is run.
    fn seeds_of(&self, subject: &Subject) -> Vec<u64> {
        let numbers = (0..self.seeds).filter(|number| number.is_multiple_of(subject.one_seed_in()));
        numbers.map(|number| self.first_seed + number).collect()
    }
}

/// What is run.
enum Subject {
    /// A week of ordinary traffic.
    Week,
    Family(family::Family),
    Control(control::Control),
    Recorded(control::Recorded),
}

impl Subject {
    const fn name(&self) -> &'static str {
        match self {
            Self::Week => "an ordinary week",
            Self::Family(family) => family.name,
            Self::Control(control) => control.name,
            Self::Recorded(recorded) => recorded.name,
        }
    }

    /// It is run with one seed in so many.
    const fn one_seed_in(&self) -> u64 {
        match self {
            Self::Family(family) => family.one_seed_in,
            Self::Control(control) => control.one_seed_in,
            Self::Recorded(recorded) => recorded.one_seed_in,
            Self::Week => 1,
        }
    }

    fn run(&self, grown: &Grown) -> Outcome {
        match self {
            Self::Week => grown.week().clone(),
            Self::Family(family) => grown.family(family),
            Self::Control(control) => grown.control(control),
            Self::Recorded(recorded) => grown.recorded(recorded),
        }
    }

    const fn is_for(&self, background: &Background) -> bool {
        match self {
            Self::Week | Self::Recorded(_) => true,
            Self::Family(family) => background.has_headers() || !family.needs_headers,
            // The programs that a real log knows are not those of the made-up site.
            Self::Control(control) => background.has_headers() || !control.knows_programs,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let backgrounds = backgrounds(arguments)?;
    let is_asked_for = |name: &str| {
        arguments.only.as_deref().is_none_or(|only| name.contains(only))
            && arguments.except.as_deref().is_none_or(|except| !name.contains(except))
    };
    let families = family::ALL.into_iter().map(Subject::Family);
    let subjects: Vec<Subject> = [Subject::Week]
        .into_iter()
        .chain(families)
        .chain(control::ALL.into_iter().map(Subject::Control))
        .chain(recorded()?.into_iter().map(Subject::Recorded))
        .filter(|subject| is_asked_for(subject.name()))
        .collect();
    if subjects.is_empty() || backgrounds.is_empty() {
        let asked =
            [&arguments.only, &arguments.except, &arguments.background].into_iter().flatten().map(String::as_str);
        let asked = asked.collect::<Vec<_>>().join(", ");
        return Err(Failure::Bench(format!("nothing of the trial has this name: {asked}")));
    }
    let kept = Mutex::new(match &arguments.results {
        Some(path) => Kept::in_file(path)?,
        None => Kept::default(),
    });
    run_all(arguments, &backgrounds, &subjects, &kept)?;
    let mut missed = false;
    for background in &backgrounds {
        println!("{} background, {} seeds from {}", background.name(), arguments.seeds, arguments.first_seed);
        println!("{}", row::HEADER);
        for subject in subjects.iter().filter(|subject| subject.is_for(background)) {
            let seeds = arguments.seeds_of(subject);
            let of_row = locked(&kept).of_row(background.name(), subject.name(), &seeds);
            let mut row = Row::new(subject, of_row.iter().map(|(_, outcome)| outcome));
            if row.is_slow() && arguments.threads() > 1 {
                let slow = seeds.iter().take(ALONE_RUNS);
                let again = slow.map(|seed| alone(background, subject, *seed, &kept)).collect::<Result<Vec<_>, _>>()?;
                row.time_again(&again);
            }
            println!("{row}");
            missed |= row.is_missed();
            for (seed, outcome) in
                of_row.iter().filter(|(_, outcome)| arguments.explain && row::is_missed(subject, outcome))
            {
                println!("    seed {seed}: {}", row::explained(outcome));
            }
        }
        println!();
    }
    if missed { Err(Failure::Bench("some figures were missed; they are marked with !".to_owned())) } else { Ok(()) }
}

fn backgrounds(arguments: &Arguments) -> Result<Vec<Background>, Failure> {
    let mut backgrounds = vec![Background::Synthetic(Synthetic::default())];
    match std::env::var_os("SEAWALL_CORPUS") {
        Some(folder) => {
            let path = PathBuf::from(folder).join(CORPUS_LOG);
            let log = Replayed::read(&path)
                .map_err(|error| Failure::Bench(format!("failed to replay {}: {error}", path.display())))?;
            backgrounds.push(Background::Replayed(log));
        }
        None => eprintln!("SEAWALL_CORPUS is not set, so no real log is replayed"),
    }
    backgrounds.retain(|background| arguments.background.as_deref().is_none_or(|only| background.name() == only));
    Ok(backgrounds)
}

/// The crowds of the corpus, if there is one.
fn recorded() -> Result<Vec<control::Recorded>, Failure> {
    let Some(folder) = std::env::var_os("SEAWALL_CORPUS") else {
        eprintln!("SEAWALL_CORPUS is not set, so no real crowd is played");
        return Ok(Vec::new());
    };
    let path = PathBuf::from(folder).join(CORPUS_CROWD);
    control::Recorded::read(&path)
        .map_err(|error| Failure::Bench(format!("failed to play {}: {error}", path.display())))
}

/// Every seed on every background, on all cores.
fn run_all(
    arguments: &Arguments,
    backgrounds: &[Background],
    subjects: &[Subject],
    kept: &Mutex<Kept>,
) -> Result<(), Failure> {
    let next = AtomicU64::new(0);
    let work = || -> Result<(), Failure> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= arguments.seeds {
                return Ok(());
            }
            eprint!("\rseed {} of {} ", number + 1, arguments.seeds);
            let seed = arguments.first_seed + number;
            for background in backgrounds {
                let is_missing = |subject: &&Subject| {
                    let is_due = subject.is_for(background) && number.is_multiple_of(subject.one_seed_in());
                    is_due && locked(kept).outcome(background.name(), subject.name(), seed).is_none()
                };
                let missing: Vec<&Subject> = subjects.iter().filter(is_missing).collect();
                if missing.is_empty() {
                    continue;
                }
                let grown = Grown::new(background, seed);
                for subject in missing {
                    let run = Run::new(background.name(), subject.name(), seed, false, subject.run(&grown));
                    locked(kept).keep(run)?;
                }
            }
        }
    };
    let ended = thread::scope(|scope| {
        let working: Vec<_> = (0..arguments.threads()).map(|_| scope.spawn(work)).collect();
        working.into_iter().map(|thread| thread.join()).collect::<Result<Vec<_>, _>>()
    });
    eprintln!();
    // A run that panicked is no run that came to nothing.
    let ended = ended.map_err(|_| Failure::Bench("the engine panicked in a run; what it said is above".to_owned()))?;
    ended.into_iter().collect()
}

/// A run by itself: of at most three the one in which the detector took least.
fn alone(background: &Background, subject: &Subject, seed: u64, kept: &Mutex<Kept>) -> Result<Outcome, Failure> {
    if let Some(outcome) = locked(kept).alone(background.name(), subject.name(), seed) {
        return Ok(outcome);
    }
    let grown = Grown::new(background, seed);
    let mut least = subject.run(&grown);
    for _ in 1..ALONE_TIMES {
        if !row::is_slow(&least) {
            break;
        }
        let again = subject.run(&grown);
        least.busiest_second = least.busiest_second.min(again.busiest_second);
        least.busiest_quiet_second = least.busiest_quiet_second.min(again.busiest_quiet_second);
    }
    locked(kept).keep(Run::new(background.name(), subject.name(), seed, true, least.clone()))?;
    Ok(least)
}

/// A thread that panicked has kept whole runs only.
fn locked(kept: &Mutex<Kept>) -> std::sync::MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
