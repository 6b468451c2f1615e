//! Traffic that is seen beside the server, in its logs: the watching thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use seawall_engine::silence::Reading;

use super::intake::Intake;
use super::{Prepared, Sensor, StartError, Started, spawn};
use crate::enforcement;
use crate::source::proxy::traffic::Traffic;
use crate::source::record;
use crate::source::watch::report::Report;
use crate::source::watch::{Orders, Sources, Start, Watch};

/// The thread that reads logs, as the daemon sees it.
pub(super) struct Watching {
    orders: Arc<Orders>,
    traffic: Arc<Traffic>,
    reports: Arc<ArcSwap<Vec<Report>>>,
    /// Whether a private copy is written.
    copies: bool,
}

impl Watching {
    /// Opens what is to be watched and starts the thread. `named` is told what is watched.
    pub(super) fn start(
        prepared: &Prepared<'_>,
        watch: Watch,
        named: impl FnOnce(Vec<String>) -> Vec<String>,
    ) -> Result<Started, StartError> {
        let copies = watch.copy.is_some();
        let now = prepared.shared.clock.now();
        let mut sources = Sources::open(watch, &prepared.config.state_directory, now)?;
        named(sources.names());
        let (sampler, queue) = record::queue();
        let (handed_down, taken) = enforcement::queue();
        let (tell, told) = enforcement::telling::queue();
        let (orders, traffic) = (Arc::new(Orders::default()), Arc::new(Traffic::default()));
        let reports = Arc::new(ArcSwap::from_pointee(sources.reports(now)));
        let start = Start {
            shared: Arc::clone(prepared.shared),
            traffic: Arc::clone(&traffic),
            sampler,
            handed_down,
            told,
            seed: prepared.seed,
            orders: Arc::clone(&orders),
            reports: Arc::clone(&reports),
        };
        let stop = Arc::clone(prepared.stop);
        let thread = spawn("watcher", move || {
            sources.run(start);
            // Where everything has ended there is nothing to guard.
            stop.notify_one();
        })?;
        let intake = Intake::Logs(Self { orders, traffic, reports, copies });
        Ok(Started {
            intake,
            threads: vec![thread],
            queues: vec![queue],
            handed_down: vec![taken],
            told: vec![tell],
            visitors: Vec::new(),
        })
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
    pub(super) fn readings(&self) -> Vec<(String, Reading)> {
        self.reports.load().iter().map(|report| (report.name.clone(), report.reading)).collect()
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
