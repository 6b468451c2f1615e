//! The running guard: starts what sees traffic and the detecting thread, and carries out what the operator asks.
//!
//! Threads: those that see traffic ([`intake`]), one that detects ([`detector`]), and the main thread, which
//! waits for signals and serves the control socket ([`control`]) and the status page ([`crate::show::web`]). Nothing that
//! the main thread does can hold up a request.

mod carried_out;
mod control;
mod detector;
mod enforcing;
mod intake;
mod merged_clients;
mod proxying;
mod reloading;
mod rule_silences;
mod silences;
mod snapshot;
mod state;
mod status_page;
mod threads;
mod watching;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::config::{Config, Origin, Upstream};
use crate::enforcement::telling::Told;
use crate::enforcement::{Edge, Enforcement, HandDown, Order};
use crate::host::clock::Clock;
use crate::host::{memory, open_files};
use crate::record::{Action, Actor, Record};
use crate::show::notify::{self, Notifications, Trial};
use crate::source::proxy::settings::{Settings, SettingsError};
use crate::source::record as observations;
use crate::source::shared::Shared;
use crate::source::watch::{Watch, WatchError};

use intake::Intake;
use proxying::Proxying;
use state::StateDirectory;
use status_page::StatusPage;
use threads::{Restoring, spawn, spawn_vital};
use watching::Watching;

pub use control::{
    OPERATOR_HEADER, PanicAsked, Problem, Reloaded, RuleRemoval, RuleRequest, SOCKET_NAME, TakenBack, rule_withheld,
};
pub use detector::{AddedRule, Command, KeptRules, Withdrawn};
pub use snapshot::{Limits, Rates, Sensor, SiteState, SiteStatus, Snapshot};
pub use state::{LEFT_NAME, PANIC_NAME};

/// How long visitors wait, after a start, for what was in force before.
const RESTORE_MAX: Duration = Duration::from_secs(5);

/// Where the configuration of a running guard came from.
#[derive(Clone, Debug)]
pub enum ConfigSource {
    /// A file, which a reload reads again.
    File {
        /// The file.
        path: PathBuf,
        /// The state directory of the command line, which goes before the file's.
        state_directory: Option<PathBuf>,
        /// Where the command line says that the status page is, which goes before the file's.
        admin: Option<Option<SocketAddr>>,
    },
    /// The command line, or nothing at all.
    CommandLine,
}

/// Why the guard cannot start, or did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("failed to listen on {address}: {error}{}", port_hint(*.address, .error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] state::StateError),
    /// The configuration names something that cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A log cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// A thread, a runtime or a random key cannot be had.
    #[error("failed to start: {0}")]
    Thread(std::io::Error),
    /// It ran and has stopped, and something of it is still in force.
    #[error("stopped, but {0}")]
    Left(String),
    /// It had to stop, since a part of it had failed.
    #[error("stopped: {} failed, and the log has the reason", .0.join(" and "))]
    Failed(Vec<&'static str>),
}

impl StartError {
    /// Whether the guard ran before that.
    pub const fn is_of_the_end(&self) -> bool {
        matches!(self, Self::Left(_) | Self::Failed(_))
    }
}

fn port_hint(address: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "; another program listens there: see `ss -ltnp sport = :{}`, or choose another with --listen, \
                 for the status page with --admin",
                address.port()
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE".to_owned()
        }
        std::io::ErrorKind::AddrNotAvailable => "; this machine does not have that address".to_owned(),
        _ => String::new(),
    }
}

/// The running guard, as its control socket and status page see it.
pub struct Daemon {
    shared: Arc<Shared>,
    source: ConfigSource,
    config: Mutex<Config>,
    /// The configuration of before, where the one in force waits to be confirmed.
    unconfirmed: Mutex<Option<reloading::Unconfirmed>>,
    /// The one that was not confirmed in time, which the file may still have.
    undone: Mutex<Option<Config>>,
    intake: Arc<Intake>,
    detector: std::sync::mpsc::Sender<Command>,
    enforcement: Enforcement,
    edge: Option<Edge>,
    record: Record,
    state: StateDirectory,
    /// What a restart would make of the last panic or its end, where the state directory could not be told of it.
    panic_unkept: Mutex<Option<String>>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    notifications: Arc<ArcSwap<Notifications>>,
    open_files: usize,
    /// Why the status page cannot be served, while that is so.
    page_trouble: Mutex<Option<String>>,
    stop: Arc<Notify>,
    is_stopping: AtomicBool,
}

/// Runs a guard until it is told to stop. `ready` is called with the addresses once visitors can come.
///
/// # Errors
/// When something that it needs cannot be had; nothing is running then.
pub fn run(config: Config, source: ConfigSource, ready: impl FnOnce(&Addresses)) -> Result<(), StartError> {
    run_with(config, source, status_page::bind, Proxying::start, ready)
}

/// Runs a guard beside another server, on its logs, until it is told to stop or they end. `ready` is called with what is watched,
/// and the addresses.
///
/// # Errors
/// When something that it needs cannot be had, or a log cannot be watched; nothing is running then.
pub fn watch(
    mut config: Config,
    source: ConfigSource,
    watch: Watch,
    ready: impl FnOnce(&[String], &Addresses),
) -> Result<(), StartError> {
    // What is guarded is another server's business.
    config.sites.clear();
    let names = RefCell::new(Vec::new());
    let start = |prepared: &Prepared<'_>| Watching::start(prepared, watch, |found| names.replace(found));
    run_with(config, source, status_page::bind_or_try_again, start, |addresses| ready(&names.borrow(), addresses))
}

/// What is there before traffic is seen.
struct Prepared<'p> {
    config: &'p Config,
    shared: &'p Arc<Shared>,
    stop: &'p Arc<Notify>,
    seed: u64,
}

/// What sees traffic, once it does.
struct Started {
    intake: Intake,
    threads: Vec<JoinHandle<()>>,
    queues: Vec<rtrb::Consumer<observations::Record>>,
    /// Clients that are to be dropped further down.
    handed_down: Vec<rtrb::Consumer<HandDown>>,
    /// To each of those who hand down.
    told: Vec<rtrb::Producer<Told>>,
    /// Where visitors are served.
    visitors: Vec<SocketAddr>,
    /// A thread that begins once all else is there: what it reads of a pipe would be lost to a guard that could not start.
    last: Option<Box<dyn FnOnce() + Send>>,
}

fn run_with(
    config: Config,
    source: ConfigSource,
    bind_page: impl FnOnce(SocketAddr) -> Result<StatusPage, StartError>,
    start: impl FnOnce(&Prepared<'_>) -> Result<Started, StartError>,
    ready: impl FnOnce(&Addresses),
) -> Result<(), StartError> {
    let state = StateDirectory::open(&config.state_directory)?;
    let (control_socket, _socket_file) = control::bind(&state)?;
    memory::without_huge_pages();
    let open_files = open_files::raise();
    let settings = Settings::new(&config, connections_max(&config, open_files))?;
    settings.networks.prepare();
    let (seed, stop) = (random_seed()?, Arc::new(Notify::new()));
    let shared = Arc::new(Shared::new(settings, config.never_ban_set(), Clock::start(), seed));
    let page = config.admin.map(bind_page).transpose()?.unwrap_or_default();
    let Started { intake, mut threads, queues, handed_down, told, visitors, last } =
        start(&Prepared { config: &config, shared: &shared, stop: &stop, seed })?;
    let intake = Arc::new(intake);
    let addresses = Addresses { visitors, admin: page.address() };
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::at_start(intake.is_beside(), intake.sensors())));
    let notifications = Notifications::start(&config, shared.clock, &snapshot).map_err(StartError::Thread)?;
    let notifications = Arc::new(ArcSwap::from_pointee(notifications));
    let (commands, received) = std::sync::mpsc::channel();
    let ports = intake.guarded_ports(&addresses.visitors);
    state.note_left(None);
    let (restoring, restored) = Restoring::begin();
    let detector_restores = restoring.clone();
    let ways = enforcing::Ways { handed_down, told, detector: commands.clone(), restoring, stop: Arc::clone(&stop) };
    let begun = enforcing::start((&config, &source), &state, &shared, &snapshot, ports, ways)?;
    let enforcing::Begun { enforcement, edge, record, innocent, rules, threads: enforcing_threads } = begun;
    record.journal(Actor::Guard, Action::Start, format!("version {}", env!("CARGO_PKG_VERSION")));
    let detecting = detector::Detecting {
        shared: Arc::clone(&shared),
        traffic: intake.traffic(),
        queues,
        snapshot: Arc::clone(&snapshot),
        state: state.clone(),
        enforcement: enforcement.clone(),
        edge: edge.clone(),
        record: record.clone(),
        innocent,
        rules,
        configured: config.rules.clone(),
        is_panicked: state.is_panicked(),
        enforce: config.policy.enforce,
        open_files,
        intake: Arc::clone(&intake),
        notifications: Arc::clone(&notifications),
        seed,
    };
    let detector_thread = spawn_vital("detector", &stop, move || detecting.run(&received, detector_restores))?;
    // In a flood that has brought the guard down, all of it would be served meanwhile. Who comes waits in the kernel's queue.
    if !restored.wait(RESTORE_MAX) {
        tracing::warn!(
            "bans and rules of before are not in force after {RESTORE_MAX:?}: visitors are served without them for now"
        );
    }
    intake.open();
    let daemon = Arc::new(Daemon {
        shared,
        source,
        config: Mutex::new(config),
        unconfirmed: Mutex::default(),
        undone: Mutex::default(),
        intake,
        detector: commands,
        enforcement,
        edge,
        record,
        state,
        panic_unkept: Mutex::default(),
        snapshot,
        notifications,
        open_files,
        page_trouble: Mutex::new(page.trouble()),
        stop,
        is_stopping: AtomicBool::new(false),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let served = runtime.block_on(async {
        // Watched before anybody is told that the guard runs: until then a signal would simply kill it.
        let mut signals = Signals::watch()?;
        if let Some(run) = last {
            threads.push(std::thread::Builder::new().name("watcher".to_owned()).spawn(run)?);
        }
        ready(&addresses);
        daemon.wait(&mut signals, control_socket, page).await?;
        // Waiting for the threads elsewhere leaves the control socket and the status page answering to the end.
        let draining = Arc::clone(&daemon);
        let mut drained =
            tokio::task::spawn_blocking(move || draining.drain(threads, detector_thread, enforcing_threads));
        tokio::select! {
            ended = &mut drained => return Ok(ended?),
            () = signals.stop() => daemon.cut(),
        }
        Ok(drained.await?)
    });
    served.map_err(StartError::Thread)?
}

/// The signals that the guard obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn watch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Where a guard can be reached.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// For visitors.
    pub visitors: Vec<SocketAddr>,
    /// The status page.
    pub admin: Option<SocketAddr>,
}

impl Daemon {
    /// Serves the operator until a signal or a command ends it.
    async fn wait(
        self: &Arc<Self>,
        signals: &mut Signals,
        control_socket: std::os::unix::net::UnixListener,
        page: StatusPage,
    ) -> std::io::Result<()> {
        tokio::spawn(control::serve(Arc::clone(self), control_socket));
        tokio::spawn(page.serve(Arc::clone(self)));
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                () = self.stop.notified() => break,
                _ = signals.hang_up.recv() => self.hang_up(),
            }
        }
        self.is_stopping.store(true, Ordering::Release);
        Ok(())
    }

    /// Sends a trial message, and waits until it is taken or not.
    pub fn try_notifications(&self, only: Option<&str>) -> Vec<Trial> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        notify::test(&config, only, self.shared.clock)
    }

    /// The present state.
    pub fn snapshot(&self) -> Snapshot {
        let known = |told: &Mutex<Option<String>>| told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Snapshot {
            // Whoever has just banned somebody may ask at once; the rest is made once a second.
            enforcement: (**self.enforcement.status.load()).clone(),
            confirm_until: self.confirm_until(),
            page_trouble: known(&self.page_trouble),
            panic_unkept: known(&self.panic_unkept),
            ..Snapshot::clone(&self.snapshot.load())
        }
    }

    /// Keeps over a restart whether everything is out. Returns what a restart makes of it where that fails, which is shown until the next
    /// panic or its end.
    fn keep_panic(&self, is_on: bool) -> Option<String> {
        let failed = self.state.set_panicked(is_on).err();
        let unkept = failed.map(|error| {
            let path = self.state.path().join(PANIC_NAME);
            let (becomes, how) = if is_on {
                ("a restart ends the panic", "written")
            } else {
                ("a restart takes everything out again", "deleted")
            };
            format!("{becomes}: its mark {} cannot be {how} ({error}); say it again once it can", path.display())
        });
        if let Some(unkept) = &unkept {
            tracing::warn!("{unkept}");
        }
        self.panic_unkept.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&unkept);
        unkept
    }

    /// Ends the guard as SIGTERM does.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// Asks the detecting thread for something. False when it is gone.
    pub fn command(&self, command: Command) -> bool {
        self.detector.send(command).is_ok()
    }

    /// Stops waiting for what is under way.
    fn cut(&self) {
        tracing::info!("told to stop once more: whoever is under way is cut off");
        self.intake.cut();
    }

    /// Ends everything. What could not be taken out of the kernel is an error, and so is a part that had failed.
    fn drain(
        &self,
        threads: Vec<JoinHandle<()>>,
        detector: JoinHandle<()>,
        enforcing: enforcing::Threads,
    ) -> Result<(), StartError> {
        let time = self.config.lock().unwrap_or_else(PoisonError::into_inner).limits.drain_time_max;
        self.intake.drain(time);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread that sees traffic had panicked");
            }
        }
        let _ = self.detector.send(Command::Stop);
        let mut failed = Vec::new();
        if detector.join().is_err() {
            failed.push("the detecting thread");
        }
        self.record.journal(Actor::Guard, Action::Stop, self.left_unconfirmed());
        // One that is gone needs not be told.
        let _ = self.enforcement.urge(Order::Stop);
        let left = enforcing.join(self.edge.as_ref(), &self.record, &mut failed);
        self.state.note_left(left.as_ref().err().map(String::as_str));
        left.map_err(StartError::Left)?;
        if failed.is_empty() { Ok(()) } else { Err(StartError::Failed(failed)) }
    }
}

fn connections_max(config: &Config, open_files: usize) -> usize {
    let mut upstreams: Vec<&Upstream> = Vec::new();
    for site in &config.sites {
        if let Origin::Upstream(upstream) = &site.origin
            && !upstreams.contains(&upstream)
        {
            upstreams.push(upstream);
        }
    }
    open_files::connections_max(open_files, upstreams.len() * config.limits.upstream_connections_max)
}

/// The key of all tables that outsiders' values are hashed into. From the kernel, so that nobody can guess it.
fn random_seed() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| StartError::Thread(std::io::Error::other(error)))
}
