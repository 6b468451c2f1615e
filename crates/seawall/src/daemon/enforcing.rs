//! Starts the threads that enforce, here and at the CDN, and that write the record, and tells them of each other.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use seawall_engine::decision::{Innocent, OwnRule};

use super::state::StateDirectory;
use super::{Command, ConfigSource, Snapshot, StartError, random_seed, spawn};
use crate::config::Config;
use crate::enforcement::edge::Notes;
use crate::enforcement::{Edge, Enforcement, Enforcer, HandDown, Parts};
use crate::privacy::KeyStore;
use crate::record::{self, Record, Situation, Writer};
use crate::source::shared::Shared;

/// The threads, which end in this order.
pub(super) struct Threads {
    enforcer: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Threads {
    /// Waits for all, once the enforcing one was told to stop. The record is the last, since the others write into its journal.
    pub(super) fn join(self, edge: Option<&Edge>, record: &Record) {
        if self.enforcer.join().is_err() {
            tracing::error!("the enforcing thread had panicked");
        }
        if let Some(edge) = edge {
            edge.stop();
        }
        record.stop();
        if self.writer.join().is_err() {
            tracing::error!("the thread that writes the record had panicked");
        }
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
    (config, source): (&Config, &ConfigSource),
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
    let config_file = match source {
        ConfigSource::File { path, .. } => std::path::absolute(path).ok(),
        ConfigSource::CommandLine => None,
    };
    let notes = Notes { record: record.clone(), state_directory: state.path().to_owned(), config: config_file };
    let start_edge = |settings| Edge::start(settings, notes, state.is_panicked(), shared.clock, seed);
    let edge = config.edge.as_ref().map(start_edge).transpose().map_err(StartError::Thread)?;
    let status = Arc::<ArcSwap<_>>::default();
    let innocent = Arc::<Mutex<Innocent>>::default();
    let (orders, received) = std::sync::mpsc::channel();
    let parts = Parts {
        shared: Arc::clone(shared),
        queues,
        innocent: Arc::clone(&innocent),
        kernel: config.kernel.clone(),
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
        status: Arc::clone(&status),
    };
    // The right is a thread's own, so it is asked for where it is used.
    let enforcer = spawn("enforcer", move || Enforcer::new(parts).run(&received))?;
    let enforcement = Enforcement { orders, status };
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
