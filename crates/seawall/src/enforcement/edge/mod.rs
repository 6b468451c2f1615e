//! The edge: a reconciler for what the CDN in front of the guard refuses.
//!
//! Clients that come through a CDN cannot be dropped by the kernel, which sees the CDN. What is wanted there ([`target`]) is
//! compared with what is there ([`plan`](mod@plan), pure), the difference is made ([`cloudflare`], [`fastly`], over [`http`]), and what
//! is there is read back. [`reconciler`] is the thread that does so; it is told the latest that is wanted ([`Edge`]) and what an
//! operator asks. Nothing here waits for a request, and no request, no ban and no rule waits for this: an API that hangs holds
//! up that thread alone.
//!
//! By default it only plans. It never touches what is not its own: a list of its name, rules whose descriptions begin with it.
//! To add a provider: a file here with its [`Provider`], its arm in [`provider`], and what it needs in `config/edge.rs`.

mod cloudflare;
mod fastly;
mod http;
mod left;
mod plan;
mod reconciler;
mod say;
mod stop;
mod target;
mod view;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use seawall_engine::units::Timestamp;
use tokio::sync::oneshot;

use crate::config::{self, EdgePlace};
use crate::host::clock::Clock;
use crate::record::Record;
use http::{Api, EdgeError};
use plan::{Changes, Installed, Target};
use reconciler::Reconciler;
use stop::Stop;
use target::Wanted;

pub use left::Left;
pub use plan::LeftOut;
pub use target::{WantedBans, WantedRule};
pub use view::{EdgeState, EdgeStatus, PlanView, RuleView};

/// What waits to be done by the thread; all but wishes of an operator are "look again".
const ORDERS_MAX: usize = 16;

/// How long a stop waits until everything is taken out of the edge.
const CLEAR_TIME_MAX: Duration = Duration::from_secs(6);

/// The most that a provider allows.
#[derive(Clone, Copy, Debug)]
struct Limits {
    rules_max: usize,
    entries_max: usize,
}

/// A provider's API, as the reconciler needs it.
trait Provider: Send {
    /// What is there of ours.
    fn read(&mut self) -> Result<Installed, EdgeError>;

    /// What should be there, given what is and what is wanted.
    fn target(&self, wanted: &Wanted, installed: &Installed, now: Timestamp) -> Target;

    /// Makes changes to what was read last.
    fn apply(&mut self, changes: &Changes) -> Result<(), EdgeError>;

    /// Takes away everything of ours, as fast as can be.
    fn clear(&mut self, installed: &Installed) -> Result<(), EdgeError>;

    /// Makes what has to be there before anything can be refused; says what was done.
    fn set_up(&mut self) -> Result<String, EdgeError>;

    /// How it is asked.
    fn api(&mut self) -> &mut Api;
}

/// The provider that is configured.
fn provider(settings: &config::Edge, clock: Clock, stop: Stop) -> Box<dyn Provider> {
    let limits = Limits { rules_max: settings.rules_max, entries_max: settings.entries_max };
    let api = |manner| Api::new(settings.api.clone(), settings.token.clone(), manner, clock, stop);
    match &settings.place {
        EdgePlace::Cloudflare { account, zone } => {
            let api = api(Box::new(cloudflare::CloudflareManner));
            Box::new(cloudflare::Cloudflare::new(api, account, zone, &settings.name, limits))
        }
        EdgePlace::Fastly { service } => {
            let api = api(Box::new(fastly::FastlyManner));
            Box::new(fastly::Fastly::new(api, service, &settings.name, limits))
        }
    }
}

/// What an operator asks of the thread, and where the answer goes.
#[derive(Debug)]
enum Order {
    /// Something that is wanted has changed.
    Look,
    /// Read what is there and say what would be done.
    Plan(oneshot::Sender<Result<PlanView, String>>),
    /// Do it, once.
    Apply(oneshot::Sender<Result<PlanView, String>>),
    /// Take everything away; answered with what there was.
    Clear(oneshot::Sender<Result<PlanView, String>>),
    /// Make what has to be there first.
    SetUp(oneshot::Sender<Result<String, String>>),
}

/// The latest that is wanted. Unknown until both threads that know have said so: before that nothing is changed, or whatever a
/// killed guard left would be taken out and put back.
#[derive(Debug, Default)]
struct Latest {
    bans: Option<Arc<WantedBans>>,
    rules: Option<Arc<Vec<WantedRule>>>,
    is_panicked: bool,
    /// Whether that was only now, and is not yet tried.
    is_urgent: bool,
    /// Who waits to be told what the first attempt to take everything out came to.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    /// Whether anything of ours may be there. It is noted here before it is put, and where everything is out nothing is: so whoever takes
    /// everything out knows at once whether there is anything to wait for, though the thread waits for an API that hangs.
    may_hold: bool,
    /// Raised with each change.
    generation: u64,
}

/// Where the thread notes what it does.
#[derive(Clone, Debug)]
pub struct Notes {
    /// The record, for its journal.
    pub record: Record,
    /// The state directory, for [`Left`].
    pub state_directory: PathBuf,
    /// The configuration that says where the edge is; none where it comes from no file.
    pub config: Option<PathBuf>,
}

/// How others reach the thread.
#[derive(Clone, Debug)]
pub struct Edge {
    orders: SyncSender<Order>,
    latest: Arc<Mutex<Latest>>,
    status: Arc<ArcSwap<EdgeStatus>>,
    stop: Stop,
    ended: Arc<Mutex<Receiver<()>>>,
}

impl Edge {
    /// Starts the thread. `seed` spreads the attempts of several guards after a failure that all of them see.
    ///
    /// # Errors
    /// When the thread cannot be had.
    pub fn start(
        settings: &config::Edge,
        notes: Notes,
        is_panicked: bool,
        clock: Clock,
        seed: u64,
    ) -> std::io::Result<Self> {
        let (orders, received) = sync_channel(ORDERS_MAX);
        let (end, ended) = sync_channel(1);
        let stop = Stop::default();
        // Something may have been left there by one that was killed.
        let may_hold = Left::of(&notes.state_directory).is_some();
        let latest = Arc::new(Mutex::new(Latest { is_panicked, may_hold, ..Latest::default() }));
        let status = Arc::new(ArcSwap::from_pointee(EdgeStatus::new(settings)));
        let provider = provider(settings, clock, stop.clone());
        let shared = (Arc::clone(&latest), Arc::clone(&status));
        let reconciler = Reconciler::new(provider, settings.clone(), notes, clock, shared, seed);
        let told = stop.clone();
        std::thread::Builder::new().name("edge".to_owned()).spawn(move || {
            reconciler.run(&received, &told);
            // Whoever waits may have given up.
            let _ = end.send(());
        })?;
        Ok(Self { orders, latest, status, stop, ended: Arc::new(Mutex::new(ended)) })
    }

    /// How it is.
    pub fn status(&self) -> Arc<EdgeStatus> {
        self.status.load_full()
    }

    /// Who is to be refused. Waits for nothing.
    pub fn set_bans(&self, bans: WantedBans) {
        self.change(|latest| latest.bans = Some(Arc::new(bans)));
    }

    /// The rules in force. Waits for nothing.
    pub fn set_rules(&self, rules: Vec<WantedRule>) {
        self.change(|latest| latest.rules = Some(Arc::new(rules)));
    }

    /// The operator takes everything out: whatever is under way is left for it. The answer says what may still be refused there and
    /// why; it comes once that was tried, or at once where nothing was put, and never if the guard goes on before.
    pub fn take_out(&self) -> oneshot::Receiver<Result<(), String>> {
        let (done, is_done) = oneshot::channel();
        self.change(|latest| {
            (latest.is_panicked, latest.is_urgent) = (true, true);
            if latest.may_hold {
                latest.waiting.push(done);
            } else {
                // Whoever asked may have gone.
                let _ = done.send(Ok(()));
            }
        });
        self.stop.urge();
        is_done
    }

    /// The operator lets it go on.
    pub fn go_on(&self) {
        self.change(|latest| {
            (latest.is_panicked, latest.is_urgent) = (false, false);
            latest.waiting.clear();
        });
    }

    fn change(&self, change: impl FnOnce(&mut Latest)) {
        {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut latest);
            latest.generation += 1;
        }
        // When it is full the thread has something to do, and looks afterwards.
        let _ = self.orders.try_send(Order::Look);
    }

    /// What would be done.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub async fn plan(&self) -> Result<PlanView, String> {
        self.ask(Order::Plan).await
    }

    /// Does it, once.
    ///
    /// # Errors
    /// Why not.
    pub async fn apply(&self) -> Result<PlanView, String> {
        self.ask(Order::Apply).await
    }

    /// Takes everything away, until the next change where the edge is on.
    ///
    /// # Errors
    /// Why not.
    pub async fn clear(&self) -> Result<PlanView, String> {
        self.ask(Order::Clear).await
    }

    /// Makes what has to be there first.
    ///
    /// # Errors
    /// Why not.
    pub async fn set_up(&self) -> Result<String, String> {
        self.ask(Order::SetUp).await
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Order) -> Result<T, String> {
        /// A list of ten thousand changes within it, where the API answers at all.
        const ANSWER_TIME_MAX: Duration = Duration::from_secs(90);
        let (done, is_done) = oneshot::channel();
        let busy = "the thread of the edge has more to do than it can; see `seawall edge status`";
        self.orders.try_send(order(done)).map_err(|error| match error {
            TrySendError::Full(_) => busy.to_owned(),
            TrySendError::Disconnected(_) => "the thread of the edge has ended".to_owned(),
        })?;
        match tokio::time::timeout(ANSWER_TIME_MAX, is_done).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err("the guard stops".to_owned())),
            Err(_) => Err(format!(
                "it was not done after {} s, and goes on in the guard; see `seawall edge status`",
                ANSWER_TIME_MAX.as_secs()
            )),
        }
    }

    /// Ends the thread, which takes everything out of the edge before, within a bound.
    pub fn stop(&self) {
        self.stop.tell();
        let _ = self.orders.try_send(Order::Look);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // One request may be under way.
        if ended.recv_timeout(http::CALL_TIME_MAX + CLEAR_TIME_MAX).is_err() {
            tracing::warn!(
                "the API of the edge does not answer; what is there stays until the next start or `seawall edge clear`"
            );
        }
    }
}

/// What a configuration's edge has of a guard that does not run: as [`Edge::plan`] where nothing is wanted.
///
/// # Errors
/// Why that cannot be said.
pub fn plan_without_guard(settings: &config::Edge, clock: Clock) -> Result<PlanView, String> {
    let mut provider = provider(settings, clock, Stop::default());
    let installed = provider.read().map_err(|error| error.to_string())?;
    let target = provider.target(&Wanted::default(), &installed, clock.now());
    Ok(PlanView::new(settings, &plan::plan(&target, &installed), &target, &installed))
}

/// Takes everything of a guard that does not run out of a configuration's edge.
///
/// # Errors
/// Why not.
pub fn clear_without_guard(settings: &config::Edge, clock: Clock) -> Result<PlanView, String> {
    let mut provider = provider(settings, clock, Stop::default());
    provider.api().use_reserves(true);
    let installed = provider.read().map_err(|error| error.to_string())?;
    provider.clear(&installed).map_err(|error| error.to_string())?;
    Ok(PlanView::removed(settings, &installed))
}

/// Makes what has to be there first, without a guard.
///
/// # Errors
/// Why not.
pub fn set_up_without_guard(settings: &config::Edge, clock: Clock) -> Result<String, String> {
    provider(settings, clock, Stop::default()).set_up().map_err(|error| error.to_string())
}
