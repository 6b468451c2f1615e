//! Traffic that is seen in line: the workers of the reverse proxy and the addresses that they listen on.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::intake::Intake;
use super::{Prepared, StartError, Started, spawn};
use crate::config::Config;
use crate::enforcement;
use crate::source::proxy::traffic::Traffic;
use crate::source::proxy::{listener, worker};
use crate::source::record;

/// The workers of a guard in line.
pub(super) struct Proxying {
    workers: Vec<WorkerHandle>,
    listening: Mutex<Vec<SocketAddr>>,
    /// Bound, and not yet served at.
    closed: Mutex<Vec<(SocketAddr, Vec<OwnedFd>)>>,
}

struct WorkerHandle {
    orders: mpsc::UnboundedSender<worker::Order>,
    traffic: Arc<Traffic>,
}

/// Where a new configuration listens beside the one in use, and where no more.
#[derive(Default)]
pub(super) struct NewListeners {
    added: Vec<(SocketAddr, Vec<OwnedFd>)>,
    removed: Vec<SocketAddr>,
}

impl Proxying {
    /// Binds the addresses and starts the workers. Who comes waits until it is [`open`](Self::open).
    pub(super) fn start(prepared: &Prepared<'_>) -> Result<Started, StartError> {
        let config = prepared.config;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let worker_count = config.workers.unwrap_or(cores).max(1);
        let mut sockets = Vec::new();
        for address in &config.listen {
            sockets.push(bind(*address, worker_count)?);
        }
        let (mut workers, mut threads, mut queues) = (Vec::new(), Vec::new(), Vec::new());
        let (mut handed_down, mut told) = (Vec::new(), Vec::new());
        for index in 0..worker_count {
            let (sampler, queue) = record::queue();
            let (orders, received) = mpsc::unbounded_channel();
            let (hand_down, taken) = enforcement::queue();
            handed_down.push(taken);
            let (tell, heard) = enforcement::telling::queue();
            told.push(tell);
            let traffic = Arc::new(Traffic::default());
            let start = worker::Start {
                shared: Arc::clone(prepared.shared),
                traffic: Arc::clone(&traffic),
                sampler,
                handed_down: hand_down,
                told: heard,
                seed: prepared.seed,
                number: index,
                workers: worker_count,
            };
            threads.push(spawn(&format!("worker-{index}"), move || {
                if let Err(error) = worker::run(start, received) {
                    tracing::error!(%error, "a worker failed to start");
                }
            })?);
            workers.push(WorkerHandle { orders, traffic });
            queues.push(queue);
        }
        let visitors: Vec<SocketAddr> = sockets.iter().map(|(address, _)| *address).collect();
        let proxying = Self { workers, listening: Mutex::new(visitors.clone()), closed: Mutex::new(sockets) };
        Ok(Started { intake: Intake::Proxy(proxying), threads, queues, handed_down, told, visitors, last: None })
    }

    /// Serves visitors.
    pub(super) fn open(&self) {
        let closed = std::mem::take(&mut *self.closed.lock().unwrap_or_else(PoisonError::into_inner));
        for (address, sockets) in closed {
            self.listen(address, sockets);
        }
    }

    pub(super) fn traffic(&self) -> Vec<Arc<Traffic>> {
        self.workers.iter().map(|worker| Arc::clone(&worker.traffic)).collect()
    }

    pub(super) fn listening(&self) -> Vec<SocketAddr> {
        self.lock_listening().clone()
    }

    fn lock_listening(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn prepare(&self, config: &Config, current: &Config) -> Result<NewListeners, StartError> {
        let mut added = Vec::new();
        for address in config.listen.iter().filter(|address| !current.listen.contains(address)) {
            added.push(bind(*address, self.workers.len())?);
        }
        let removed = current.listen.iter().filter(|address| !config.listen.contains(address)).copied().collect();
        Ok(NewListeners { added, removed })
    }

    pub(super) fn take(&self, NewListeners { added, removed }: NewListeners) -> Vec<SocketAddr> {
        let mut listening = self.lock_listening();
        for address in removed {
            listening.retain(|kept| *kept != address);
            self.order(|| worker::Order::StopListening(address));
        }
        for (address, sockets) in added {
            listening.push(address);
            self.listen(address, sockets);
        }
        listening.clone()
    }

    pub(super) fn drain(&self, time: Duration) {
        tracing::info!(?time, "stopping: no new visitors, waiting for those under way");
        self.order(|| worker::Order::Drain(time));
    }

    pub(super) fn cut(&self) {
        self.order(|| worker::Order::Cut);
    }

    fn order(&self, order: impl Fn() -> worker::Order) {
        for worker in &self.workers {
            // One that has ended needs no orders.
            let _ = worker.orders.send(order());
        }
    }

    fn listen(&self, address: SocketAddr, sockets: Vec<OwnedFd>) {
        for (worker, socket) in self.workers.iter().zip(sockets) {
            let _ = worker.orders.send(worker::Order::Listen(address, socket));
        }
    }
}

/// A listening socket for each worker, on one address.
pub(super) fn bind(address: SocketAddr, workers: usize) -> Result<(SocketAddr, Vec<OwnedFd>), StartError> {
    let bound = listener::bind(address, workers).and_then(|sockets| {
        let first = sockets.first().map(listener::local_address).transpose()?;
        Ok((first.unwrap_or(address), sockets))
    });
    bound.map_err(|error| StartError::Listen { address, error })
}
