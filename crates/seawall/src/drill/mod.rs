//! Replays of real incidents against a guard on this machine.
//!
//! The path of a drill: a [`scenario`] gives a [`population`] and its visits; [`history`] gives the guard something to
//! remember; an [`origin`] and a [`guard`] are started on loopback; the [`load`] sends; the [`tally`] says what became of
//! it. Nothing here can be aimed at another machine: the only addresses that exist are of loopback, and the load refuses
//! any other. Labels are known to the drill alone; the guard sees addresses and requests, as in the real world.

mod agents;
mod answer;
mod arrivals;
mod gif;
mod guard;
mod history;
mod interrupt;
mod kernel;
mod load;
mod origin;
mod population;
mod scenario;
mod table;
mod tally;
mod visit;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::host::clock::{Clock, wall_clock};
use guard::{Guard, usage};
use interrupt::Interrupts;
use load::{Counters, Harvest, Load, LoopbackTarget};
use origin::RunningOrigin;
use population::{Population, Visit, mix, visits};
use scenario::{CLIENTS_AT_ONCE_MAX, OriginKind, Scenario};
use tally::{Seen, Watched};

pub use kernel::Escalation;
pub use tally::{Generator, Outcome, RuleFound, Share, Streams, Target, Traffic};

/// Between the end of the preparations and the first request.
const LEAD: Duration = Duration::from_millis(300);

/// How often the guard is asked how it stands, and progress is shown.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// How long after the end answers are waited for before the drill is given up as stuck.
const FINISH_TIME_MAX: Duration = Duration::from_secs(90);

/// Visits a second beyond which the load takes two threads.
const VISITS_FOR_TWO_THREADS: f64 = 600.0;

/// Open files that are kept for other things than clients.
const OPEN_FILES_RESERVE: u64 = 1024;

/// The drills that come with the program.
const BUILT_IN: &[(&str, &str)] = &[
    ("cacert", include_str!("../../../../drills/cacert.toml")),
    ("misdirected", include_str!("../../../../drills/misdirected.toml")),
    ("announce", include_str!("../../../../drills/announce.toml")),
    ("clock", include_str!("../../../../drills/clock.toml")),
    ("wiki-spam", include_str!("../../../../drills/wiki-spam.toml")),
    ("wiki-slow", include_str!("../../../../drills/wiki-slow.toml")),
    ("wiki-friendica", include_str!("../../../../drills/wiki-friendica.toml")),
    ("tracker", include_str!("../../../../drills/tracker.toml")),
    ("link", include_str!("../../../../drills/link.toml")),
];

/// Why a drill could not be held.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The scenario is not valid.
    #[error("{0}")]
    Scenario(String),
    /// There is no drill of that name.
    #[error("there is no drill named {0:?}; there are {names}, and `--scenario FILE` for your own", names = names())]
    Unknown(String),
    /// The machine refused something.
    #[error("failed to {0}: {1}")]
    Machine(&'static str, #[source] io::Error),
    /// The guard did not do its part.
    #[error("the drill's guard failed: {reason}; the last that it said:{said}")]
    Guard {
        /// What happened.
        reason: String,
        /// The end of its log.
        said: String,
    },
    /// The operator ended it.
    #[error("interrupted; the drill's guard was stopped")]
    Interrupted,
    /// It cannot be held in this way.
    #[error("{0}")]
    Impossible(&'static str),
    /// The load failed.
    #[error("the load of the drill failed: {0}")]
    Load(String),
}

/// A drill, ready to be held.
#[derive(Clone, Debug)]
pub struct Drill(Scenario);

/// How to hold it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed; the scenario's own when not said.
    pub seed: Option<u64>,
    /// Whether a guard stands before the origin.
    pub guarded: bool,
    /// Whether the guard may use the kernel's packet filter, in a network namespace of the drill's own.
    pub kernel: bool,
    /// Whether the folder with the guard's configuration, log and state is left behind.
    pub keep: bool,
    /// The program whose `serve` is the guard.
    pub program: PathBuf,
}

/// How far a drill has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Before the first request.
    Preparing(&'static str),
    /// Under way.
    Running {
        /// Since the first request.
        elapsed: Duration,
        /// Requests sent.
        sent: u64,
        /// Requests served.
        served: u64,
        /// Requests refused or dropped.
        refused: u64,
        /// Connections open.
        connections: usize,
    },
    /// Where the folder was left.
    Kept(PathBuf),
}

impl Drill {
    /// The drills that come with the program.
    pub fn built_in() -> Vec<Self> {
        // That each is valid is tested.
        BUILT_IN.iter().filter_map(|(name, text)| Self::parse(text, name).ok()).collect()
    }

    /// The built-in drill of this name.
    ///
    /// # Errors
    ///
    /// [`DrillError::Unknown`] when there is none.
    pub fn named(name: &str) -> Result<Self, DrillError> {
        let (_, text) =
            BUILT_IN.iter().find(|(known, _)| *known == name).ok_or_else(|| DrillError::Unknown(name.to_owned()))?;
        Self::parse(text, name)
    }

    /// Reads a scenario; `file` is its name in messages.
    ///
    /// # Errors
    ///
    /// [`DrillError::Scenario`] with every problem, each with file, line and column.
    pub fn parse(text: &str, file: &str) -> Result<Self, DrillError> {
        scenario::parse(text, file).map(Self).map_err(|error| DrillError::Scenario(error.to_string()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The incident in one line.
    pub fn incident(&self) -> &str {
        &self.0.incident
    }

    /// How long traffic is sent.
    pub fn duration(&self) -> Duration {
        self.0.duration.0
    }

    /// Holds the drill.
    ///
    /// # Errors
    ///
    /// When it could not be held; a drill that was held and missed its targets is an [`Outcome`].
    pub fn hold(&self, options: &Options, mut progress: impl FnMut(Progress)) -> Result<Outcome, DrillError> {
        let mut scenario = self.0.clone();
        if scenario.origin.kind == OriginKind::Clock && !options.guarded {
            return Err(DrillError::Impossible(
                "this scenario's origin is the guard's own clock, so it cannot be held without a guard",
            ));
        }
        if options.kernel {
            kernel::enter_namespace()?;
        }
        let seed = options.seed.unwrap_or(scenario.seed);
        let mut remarks = Vec::new();
        let open_files = raise_open_files();
        fit(&mut scenario, open_files, &mut remarks);
        let scenario = Arc::new(scenario);
        let directory = tempfile::Builder::new()
            .prefix("seawall-drill-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| DrillError::Machine("make a folder for the drill", error))?;
        let path = directory.path().to_owned();
        // A folder to be kept stays whatever happens from here on; another goes when `directory` does.
        let directory = if options.keep { Err(directory.keep()) } else { Ok(directory) };
        let outcome = Self::hold_in(&scenario, seed, options, &path, open_files, remarks, &mut progress);
        if let Err(kept) = directory {
            progress(Progress::Kept(kept));
        }
        outcome
    }

    fn hold_in(
        scenario: &Arc<Scenario>,
        seed: u64,
        options: &Options,
        directory: &Path,
        open_files: u64,
        remarks: Vec<String>,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Outcome, DrillError> {
        let machine = |what: &'static str| move |error: io::Error| DrillError::Machine(what, error);
        let clock = Clock::start();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(machine("start a runtime"))?;
        let mut interrupts = {
            let _entered = runtime.enter();
            Interrupts::catch().map_err(machine("listen for signals"))?
        };
        progress(Progress::Preparing("clients"));
        let population = Arc::new(Population::new(scenario, seed));
        let visits = visits(scenario, seed);
        let origin = match scenario.origin.kind {
            OriginKind::Server => {
                Some(RunningOrigin::start(&scenario.origin, clock).map_err(machine("start the origin"))?)
            }
            OriginKind::Clock => None,
        };
        let state = directory.join("state");
        make_private_folder(&state).map_err(machine("make the guard's state folder"))?;
        let mut guard = None;
        if options.guarded {
            if scenario.history.days > 0 {
                progress(Progress::Preparing("history"));
                let learned = history::baseline(scenario, &population, seed, wall_clock());
                fs::write(state.join("baseline"), learned).map_err(machine("write the guard's baseline"))?;
            }
            progress(Progress::Preparing("guard"));
            let upstream = origin.as_ref().map(|origin| origin.address);
            let pause = |time| interrupts.pause(&runtime, time);
            guard = Some(Guard::start(&options.program, scenario, directory, upstream, options.kernel, pause)?);
        }
        let target = guard.as_ref().map(|guard| guard.address).or(origin.as_ref().map(|origin| origin.address));
        let load = Arc::new(Load {
            scenario: Arc::clone(scenario),
            population: Arc::clone(&population),
            seed,
            target: target
                .and_then(LoopbackTarget::new)
                .ok_or(DrillError::Impossible("a drill sends to loopback only"))?,
            clock,
            starts: clock.now() + LEAD,
            counters: Counters::default(),
            connections_max: usize::try_from(open_files.saturating_sub(OPEN_FILES_RESERVE)).unwrap_or(usize::MAX),
        });
        let (harvest, watched, cpu) = runtime.block_on(watch(&load, visits, &mut guard, &mut interrupts, progress))?;
        let arrivals = origin.as_ref().map(RunningOrigin::arrivals);
        if let Some(guard) = guard {
            guard.stop();
        }
        let mut remarks = remarks;
        if let Some(reason) =
            watched.as_ref().and_then(|watched| watched.kernel.reason.as_ref()).filter(|_| options.kernel)
        {
            remarks.push(format!("the kernel was not used: {reason}"));
        }
        let seen = Seen {
            starts: load.starts,
            ended: load.starts + scenario.duration.0,
            harvest,
            arrivals,
            guard: watched,
            connections_peak: load.counters.connections_peak.load(Ordering::Relaxed),
            cpu,
            remarks,
        };
        Ok(tally::tally(scenario, seed, &population, seen))
    }
}

/// Prints an outcome as people read it.
pub fn render(outcome: &Outcome) -> String {
    table::render(outcome)
}

fn names() -> String {
    BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Runs the load to its end, watching the guard meanwhile.
async fn watch(
    load: &Arc<Load>,
    visits: Vec<Visit>,
    guard: &mut Option<Guard>,
    interrupts: &mut Interrupts,
    progress: &mut impl FnMut(Progress),
) -> Result<(Harvest, Option<Watched>, Duration), DrillError> {
    let before = guard.as_ref().map(|guard| usage(guard.process())).unwrap_or_default();
    let own_before = usage(std::process::id());
    let mut threads = Vec::new();
    for (index, visits) in share_out(visits, load).into_iter().enumerate() {
        let load = Arc::clone(load);
        let run = move || load::run(load, visits);
        let thread = thread::Builder::new().name(format!("drill-load-{index}")).spawn(run);
        threads.push(thread.map_err(|error| DrillError::Machine("start a thread", error))?);
    }
    let mut watched = guard.as_ref().map(|_| Watched::default());
    let mut interval = tokio::time::interval(WATCH_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let gives_up = load.starts + load.scenario.duration.0 + FINISH_TIME_MAX;
    while !threads.iter().all(thread::JoinHandle::is_finished) {
        tokio::select! {
            _ = interval.tick() => {}
            () = interrupts.next() => return Err(DrillError::Interrupted),
        }
        if let (Some(guard), Some(watched)) = (guard.as_mut(), watched.as_mut()) {
            if let Some(status) = guard.has_ended() {
                return Err(guard.failed(&format!("it ended in the middle of the drill ({status})")));
            }
            // A guard too busy to answer now is asked again in a moment.
            if let Ok(status) = guard.status() {
                watched.update(status);
                watched.sample(load.clock.now(), usage(guard.process()).cpu);
            }
        }
        let now = load.clock.now();
        if now > gives_up {
            return Err(DrillError::Load("it did not come to an end".to_owned()));
        }
        let counters = &load.counters;
        progress(Progress::Running {
            elapsed: now.since(load.starts),
            sent: counters.sent.load(Ordering::Relaxed),
            served: counters.served.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            connections: counters.connections.load(Ordering::Relaxed),
        });
    }
    let cpu = usage(std::process::id()).cpu.saturating_sub(own_before.cpu);
    if let (Some(guard), Some(watched)) = (guard.as_mut(), watched.as_mut()) {
        let status = guard
            .status()
            .map_err(|error| guard.failed(&format!("it does not answer at the end of the drill: {error}")))?;
        watched.update(status);
        watched.usage = usage(guard.process());
        watched.usage.cpu = watched.usage.cpu.saturating_sub(before.cpu);
    }
    let mut harvest = Harvest::default();
    for thread in threads {
        let part = thread.join().map_err(|_| DrillError::Load("a thread panicked".to_owned()))?;
        let part = part.map_err(|error| DrillError::Machine("run the load", error))?;
        harvest.sent.extend(part.sent);
        harvest.lags.extend(part.lags);
        harvest.visits_withheld += part.visits_withheld;
        harvest.local_failures += part.local_failures;
    }
    Ok((harvest, watched, cpu))
}

/// The visits of each load thread. A client stays with one, which remembers what it has loaded.
fn share_out(visits: Vec<Visit>, load: &Load) -> Vec<Vec<Visit>> {
    let rate = visits.len() as f64 / load.scenario.duration.0.as_secs_f64();
    let threads = if rate > VISITS_FOR_TWO_THREADS { 2 } else { 1 };
    let mut shares = vec![Vec::new(); threads];
    for visit in visits {
        let client = mix(u64::from(visit.client.group), u64::from(visit.client.number));
        if let Some(share) = shares.get_mut(usize::try_from(client % threads as u64).unwrap_or(0)) {
            share.push(visit);
        }
    }
    shares
}

fn make_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Raises the limit on open files as far as it goes, and says how far that is.
fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, what there is must do.
    _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Scales groups of streams down to what the open-files limit can hold, and says so.
fn fit(scenario: &mut Scenario, open_files: u64, remarks: &mut Vec<String>) {
    let room = open_files.saturating_sub(OPEN_FILES_RESERVE).min(CLIENTS_AT_ONCE_MAX as u64) as f64;
    let streaming: f64 =
        scenario.groups.iter().filter(|group| group.streams()).map(|group| f64::from(group.clients)).sum();
    if streaming <= room || streaming <= 0.0 {
        return;
    }
    let factor = room / streaming;
    for group in scenario.groups.iter_mut().filter(|group| group.streams()) {
        group.clients = ((f64::from(group.clients) * factor) as u32).max(1);
        group.networks = group.networks.map(|networks| networks.min(group.clients));
        group.arrivals = group.arrivals.scaled(factor);
    }
    if let Some(least) = scenario.targets.streams_at_once_min.as_mut() {
        *least = (*least as f64 * factor) as u64;
    }
    remarks.push(format!(
        "scaled down to {:.0}% of its streams: only {open_files} files may be open (ulimit -n)",
        factor * 100.0
    ));
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn every_built_in_drill_and_the_example_are_valid() {
        for (name, text) in BUILT_IN {
            let drill = Drill::parse(text, name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(drill.name(), *name);
        }
        let example = include_str!("../../../../examples/scenario.toml");
        Drill::parse(example, "examples/scenario.toml").unwrap_or_else(|error| panic!("{error}"));
    }

    #[test]
    fn nothing_but_loopback_is_a_target() {
        for (address, expected) in [
            ("127.0.0.1:80", true),
            ("127.200.3.4:8080", true),
            ("[::1]:80", true),
            ("192.0.2.1:80", false),
            ("0.0.0.0:80", false),
            ("[2001:db8::1]:80", false),
        ] {
            let address: SocketAddr = address.parse().expect("an address");
            assert_eq!(LoopbackTarget::new(address).is_some(), expected, "{address}");
        }
    }
}
