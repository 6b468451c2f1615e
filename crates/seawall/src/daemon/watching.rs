//! Traffic that is seen beside the server, in its logs: the watching thread.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use seawall_engine::silence::Reading;

use super::intake::Intake;
use super::silences::Heard;
use super::threads::End;
use super::{Prepared, Sensor, StartError, Started};
use crate::enforcement::telling::Told;
use crate::enforcement::{self, HandDown};
use crate::source::proxy::traffic::Traffic;
use crate::source::record;
use crate::source::shared::Shared;
use crate::source::watch::report::Report;
use crate::source::watch::{Orders, Sources, Start, Watch, WatchError};

/// The thread that reads logs, as the daemon sees it.
pub(super) struct Watching {
    orders: Arc<Orders>,
    traffic: Arc<Traffic>,
    reports: Arc<ArcSwap<Vec<Report>>>,
    /// Whether a private copy is written.
    copies: bool,
}

/// Opened, for somebody to watch it.
pub(super) struct Opened {
    pub(super) sources: Sources,
    pub(super) start: Start,
    /// What sees the traffic once that is so.
    pub(super) intake: Watching,
    pub(super) queue: rtrb::Consumer<record::Record>,
    handed_down: rtrb::Consumer<HandDown>,
    told: rtrb::Producer<Told>,
}

impl Watching {
    /// Opens what is to be watched, for a thread that is still to be started. `named` is told what is watched.
    pub(super) fn start(
        prepared: &Prepared<'_>,
        watch: Watch,
        named: impl FnOnce(Vec<String>) -> Vec<String>,
    ) -> Result<Started, StartError> {
        let Opened { sources, start, intake, queue, handed_down, told } =
            Self::open(prepared.shared, watch, &prepared.config.state_directory, prepared.seed)?;
        named(sources.names());
        // Where everything has ended there is nothing to guard, however it ended.
        let end = End::of("watcher", prepared.stop);
        let watch = move || {
            let _end = end;
            sources.run(start);
        };
        Ok(Started {
            intake: Intake::Logs(intake),
            threads: Vec::new(),
            queues: vec![queue],
            handed_down: vec![handed_down],
            told: vec![told],
            visitors: Vec::new(),
            last: Some(Box::new(watch)),
        })
    }

    /// Opens what is to be watched.
    pub(super) fn open(
        shared: &Arc<Shared>,
        watch: Watch,
        state_directory: &Path,
        seed: u64,
    ) -> Result<Opened, WatchError> {
        let copies = watch.copy.is_some();
        let now = shared.clock.now();
        let mut sources = Sources::open(watch, state_directory, now)?;
        let (sampler, queue) = record::queue();
        let (handed_down, taken) = enforcement::queue();
        let (tell, told) = enforcement::telling::queue();
        let (orders, traffic) = (Arc::new(Orders::default()), Arc::new(Traffic::default()));
        let reports = Arc::new(ArcSwap::from_pointee(sources.reports(now)));
        let start = Start {
            shared: Arc::clone(shared),
            traffic: Arc::clone(&traffic),
            sampler,
            handed_down,
            told,
            seed,
            orders: Arc::clone(&orders),
            reports: Arc::clone(&reports),
        };
        let intake = Self { orders, traffic, reports, copies };
        Ok(Opened { sources, start, intake, queue, handed_down: taken, told: tell })
    }

    pub(super) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    pub(super) fn sensors(&self) -> Vec<Sensor> {
        let sensor = |report: &Report| Sensor {
            name: report.kind.to_owned(),
            address: report.name.clone(),
            log: Some(report.log.clone()),
        };
        self.reports.load().iter().map(sensor).collect()
    }

    /// By what each reads: sensors come and go between two looks.
    pub(super) fn readings(&self) -> Vec<Heard> {
        let heard = |report: &Report| {
            let trouble = report.log.trouble.clone();
            let is_out_of_reach = trouble.is_some();
            let is_barred = is_out_of_reach && !report.is_absent;
            let reading = Reading { is_out_of_reach, is_barred, ..report.reading };
            Heard { name: report.name.clone(), reading, peers: report.peers, trouble }
        };
        self.reports.load().iter().map(heard).collect()
    }

    pub(super) fn stop(&self) {
        tracing::info!("stopping: what has been written is read, and how far it was is kept");
        self.orders.stop.store(true, Ordering::Release);
    }

    pub(super) fn reopen(&self) -> bool {
        self.orders.reopen.store(true, Ordering::Release);
        self.copies
    }
}
