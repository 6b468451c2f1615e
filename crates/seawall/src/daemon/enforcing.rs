//! Starts the threads that enforce, here and at the CDN, and that write the record, and tells them of each other.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use seawall_engine::decision::{Innocent, OwnRule};

use super::state::StateDirectory;
use super::{Command, Snapshot, StartError, random_seed, spawn};
use crate::config::Config;
use crate::enforcement::{Edge, Enforcement, Enforcer, HandDown, Parts};
use crate::privacy::KeyStore;
use crate::record::{self, Record, Situation, Writer};
use crate::source::shared::Shared;

/// The threads, which end in this order.
pub(super) struct Threads {
    enforcer: JoinHandle<Result<(), String>>,
    writer: JoinHandle<()>,
}

impl Threads {
    /// Waits for both, once the enforcing one was told to stop.
    ///
    /// # Errors
    /// What is still in force, for people.
    pub(super) fn join(self, record: &Record) -> Result<(), String> {
        let left = self.enforcer.join().unwrap_or_else(|_| {
            tracing::error!("the enforcing thread had panicked");
            Ok(())
        });
        record.stop();
        if self.writer.join().is_err() {
            tracing::error!("the thread that writes the record had panicked");
        }
        left
    }
}

/// What was started.
pub(super) struct Begun {
    pub(super) enforcement: Enforcement,
    pub(super) edge: Option<Edge>,
    pub(super) record: Record,
    pub(super) innocent: Arc<Mutex<Innocent>>,
    /// The operator's rules of before.
    pub(super) rules: Vec<OwnRule>,
    pub(super) threads: Threads,
}

/// Opens the record, takes up who was banned, and starts the threads.
pub(super) fn start(
    config: &Config,
    state: &StateDirectory,
    shared: &Arc<Shared>,
    snapshot: &Arc<ArcSwap<Snapshot>>,
    queues: Vec<rtrb::Consumer<HandDown>>,
    ports: Vec<u16>,
    detector: Sender<Command>,
) -> Result<Begun, StartError> {
    let keys = || match KeyStore::open(state.path(), config.privacy.key_retention_days) {
        Ok(keys) => Some(keys),
        Err(error) => {
            tracing::warn!(%error, "bans of this run are not kept over a restart");
            None
        }
    };
    let (record, inbox) = Record::new(shared.clock);
    let seen = Arc::clone(snapshot);
    let situation = Box::new(move || Situation::of(&seen.load()));
    let path = record::path(state.path());
    let (writer, restored) = Writer::open(inbox, path, config.record.clone(), keys(), shared.clock, situation);
    let rules = writer.kept(record::RULES).and_then(|rules| serde_json::from_str(&rules).ok()).unwrap_or_default();
    let writer = spawn("record", move || writer.run())?;
    let seed = random_seed()?;
    let start_edge = |settings| Edge::start(settings, state.is_panicked(), shared.clock, seed);
    let edge = config.edge.as_ref().map(start_edge).transpose().map_err(StartError::Thread)?;
    let (status, hurry) = (Arc::<ArcSwap<_>>::default(), Arc::default());
    let innocent = Arc::<Mutex<Innocent>>::default();
    let (orders, received) = std::sync::mpsc::channel();
    let parts = Parts {
        shared: Arc::clone(shared),
        queues,
        innocent: Arc::clone(&innocent),
        kernel: config.kernel.clone(),
        // Told to whoever looks for the guard from elsewhere.
        state: std::path::absolute(state.path()).unwrap_or_else(|_| state.path().to_owned()),
        edge: edge.clone().zip(config.edge.clone()),
        never_ban: config.never_ban_entries(),
        ports,
        record: record.clone(),
        restored,
        keys: keys(),
        never_ban_changed: Box::new(move |never_ban| {
            // A detector that has ended ends the guard with it.
            let _ = detector.send(Command::NeverBan(never_ban.clone()));
        }),
        panicked: state.is_panicked(),
        hurry: Arc::clone(&hurry),
        status: Arc::clone(&status),
    };
    // The right is a thread's own, so it is asked for where it is used.
    let enforcer = spawn("enforcer", move || Enforcer::new(parts).run(&received))?;
    let enforcement = Enforcement { orders, status, hurry };
    Ok(Begun { enforcement, edge, record, innocent, rules, threads: Threads { enforcer, writer } })
}

impl Situation {
    fn of(snapshot: &Snapshot) -> Self {
        let rates = &snapshot.rates;
        Self {
            requests: rates.requests,
            served: rates.served,
            refused: rates.refused + rates.closed_unread,
            failed: rates.failed,
            cpu_used: snapshot.limits.cpu_used,
        }
    }
}
