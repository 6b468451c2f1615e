//! The control socket: how the other commands talk to a running guard. JSON over HTTP on a unix socket that only the
//! guard's owner can open.

mod rules;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::reloading::Reloader;
use super::state::{StateDirectory, StateError};
use super::{Command, Daemon, Snapshot};
use crate::enforcement::edge::{Edge, PlanView};
use crate::enforcement::{
    BanRequest, BanView, Banned, Confirmed, NeverBanView, Order, Panicked, UnbanRequest, Unbanned,
};
use crate::host::clock::Clock;
use crate::show::notify::Trial;
pub use rules::{RuleRemoval, RuleRequest, TakenBack, rule_withheld};

/// The name of the socket in the state directory.
pub const SOCKET_NAME: &str = "control.sock";

/// In which header a command says from where the operator is logged in who gives it, as SSH says.
pub const OPERATOR_HEADER: &str = "seawall-operator";

/// The largest request: a million networks at once, which one transaction is made of. Only the guard's user can send it.
const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a reload did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// How many sites are guarded now.
    pub sites: usize,
    /// Where the guard listens now.
    pub listening: Vec<SocketAddr>,
    /// Settings that changed in the file and take effect only at the next start.
    pub needs_restart: Vec<String>,
    /// When the configuration of before comes back unless this one is confirmed.
    #[serde(default)]
    pub confirm_until: Option<Timestamp>,
    /// What whoever wrote it should know of its rules.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What is answered when something cannot be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// Why, for people.
    pub error: String,
}

/// Makes the socket. One that a dead guard left behind is replaced; a live guard's is not.
///
/// # Errors
/// When another guard answers on it, or it cannot be made.
pub(super) fn bind(state: &StateDirectory) -> Result<(UnixListener, SocketFile), StateError> {
    let path = state.path().join(SOCKET_NAME);
    if UnixStream::connect(&path).is_ok() {
        return Err(StateError::InUse { path: state.path().to_owned() });
    }
    let bind = || -> io::Result<UnixListener> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    match bind() {
        Ok(listener) => Ok((listener, SocketFile { path })),
        Err(error) => Err(StateError::Socket { path, error }),
    }
}

/// The socket in the file system. It goes when the guard does, so that nobody takes the guard for a running one.
pub(super) struct SocketFile {
    path: PathBuf,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Whatever is in its way now is not the guard's to repair.
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers until the guard ends.
pub(super) async fn serve(daemon: Arc<Daemon>, listener: UnixListener) {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
        .route("/v1/stop", post(stop))
        .route("/v1/rules", get(rules::list).post(rules::add))
        .route("/v1/rules/{id}/remove", post(rules::remove))
        .route("/v1/rules/{id}/veto", delete(rules::lift_veto))
        .route("/v1/bans", get(bans).post(ban))
        .route("/v1/bans/remove", post(unban))
        .route("/v1/never-ban", get(never_ban))
        .route("/v1/confirm", post(confirm))
        .route("/v1/panic", post(panic))
        .route("/v1/edge/plan", post(edge_plan))
        .route("/v1/edge/apply", post(edge_apply))
        .route("/v1/edge/clear", post(edge_clear))
        .route("/v1/edge/set-up", post(edge_set_up))
        .route("/v1/notify/test", post(try_notifications))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&daemon), note_operator))
        .with_state(daemon);
    let served = match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => axum::serve(listener, router).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the control socket failed; the guard goes on without it");
    }
}

/// Has whoever gives a command put on the never-ban list before it is obeyed.
async fn note_operator(State(daemon): State<Arc<Daemon>>, request: Request, next: Next) -> Response {
    let address = request.headers().get(OPERATOR_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(address) = address {
        let _ = daemon.enforcement.orders.send(Order::Operator(address));
    }
    next.run(request).await
}

type Answer<T> = Result<Json<T>, (StatusCode, Json<Problem>)>;

fn problem(status: StatusCode, error: impl Into<String>) -> (StatusCode, Json<Problem>) {
    (status, Json(Problem { error: error.into() }))
}

async fn status(State(daemon): State<Arc<Daemon>>) -> Json<Snapshot> {
    Json(daemon.snapshot())
}

/// What is asked of a reload.
#[derive(Deserialize)]
struct ReloadAsked {
    /// Go back to the configuration of before after so many seconds unless this one is confirmed.
    confirm_seconds: Option<u64>,
}

/// How long a reload waits to say how it is with its rules: an `nft` that hangs has them wait.
const RULES_TIME_MAX: Duration = Duration::from_secs(5);

async fn reload(State(daemon): State<Arc<Daemon>>, Query(asked): Query<ReloadAsked>) -> Answer<Reloaded> {
    let confirm = asked.confirm_seconds.map(Duration::from_secs);
    let (reloaded, of_rules) = daemon
        .reload_and_log(Reloader::Command(confirm))
        .map_err(|problems| problem(StatusCode::UNPROCESSABLE_ENTITY, problems))?;
    let warnings = tokio::time::timeout(RULES_TIME_MAX, of_rules).await.ok().and_then(Result::ok);
    let warnings = warnings.unwrap_or_else(|| {
        vec![
            "its rules are not in force yet, since the kernel takes long; `seawall rules list` shows when they are"
                .into(),
        ]
    });
    Ok(Json(Reloaded { warnings, ..reloaded }))
}

/// Who is to be tried.
#[derive(Deserialize)]
struct Tried {
    name: Option<String>,
}

async fn try_notifications(State(daemon): State<Arc<Daemon>>, Query(tried): Query<Tried>) -> Answer<Vec<Trial>> {
    let sent = tokio::task::spawn_blocking(move || daemon.try_notifications(tried.name.as_deref())).await;
    sent.map(Json).map_err(|error| problem(StatusCode::INTERNAL_SERVER_ERROR, format!("sending failed: {error}")))
}

async fn stop(State(daemon): State<Arc<Daemon>>) -> StatusCode {
    daemon.stop();
    StatusCode::NO_CONTENT
}

/// What is asked of the list of bans.
#[derive(Deserialize)]
struct BansAsked {
    /// Whether with addresses in the clear.
    #[serde(default)]
    addresses: bool,
}

/// What is asked of a panic.
#[derive(Deserialize, Serialize)]
pub struct PanicAsked {
    /// Whether everything is to go out, or to go on.
    pub on: bool,
}

/// Asks the detecting thread for something.
async fn detect<T>(
    daemon: &Daemon,
    command: impl FnOnce(tokio::sync::oneshot::Sender<T>) -> Command,
) -> Result<T, (StatusCode, Json<Problem>)> {
    let (done, is_done) = tokio::sync::oneshot::channel();
    let gone = || problem(StatusCode::INTERNAL_SERVER_ERROR, "the detecting thread does not answer");
    if daemon.command(command(done)) { is_done.await.map_err(|_| gone()) } else { Err(gone()) }
}

/// Asks the enforcing thread for something.
async fn enforce<T>(
    daemon: &Daemon,
    order: impl FnOnce(tokio::sync::oneshot::Sender<T>) -> Order,
) -> Result<T, (StatusCode, Json<Problem>)> {
    let (done, is_done) = tokio::sync::oneshot::channel();
    let gone = || problem(StatusCode::INTERNAL_SERVER_ERROR, "the enforcing thread does not answer");
    daemon.enforcement.orders.send(order(done)).map_err(|_| gone())?;
    is_done.await.map_err(|_| gone())
}

async fn bans(State(daemon): State<Arc<Daemon>>, Query(asked): Query<BansAsked>) -> Answer<Vec<BanView>> {
    enforce(&daemon, |done| Order::List(asked.addresses, done)).await.map(Json)
}

async fn ban(State(daemon): State<Arc<Daemon>>, Json(request): Json<BanRequest>) -> Answer<Banned> {
    enforce(&daemon, |done| Order::Ban(request, done)).await.map(Json)
}

async fn unban(State(daemon): State<Arc<Daemon>>, Json(request): Json<UnbanRequest>) -> Answer<Unbanned> {
    enforce(&daemon, |done| Order::Unban(request, done)).await.map(Json)
}

async fn never_ban(State(daemon): State<Arc<Daemon>>) -> Answer<Vec<NeverBanView>> {
    enforce(&daemon, Order::NeverBan).await.map(Json)
}

async fn confirm(State(daemon): State<Arc<Daemon>>) -> Answer<Confirmed> {
    let (done, is_done) = tokio::sync::oneshot::channel();
    let rules = if daemon.command(Command::Confirm(done)) { is_done.await.unwrap_or_default() } else { 0 };
    let Confirmed { changes } = enforce(&daemon, Order::Confirm).await?;
    // Whoever looks next sees that it waits no longer.
    detect(&daemon, Command::Show).await?;
    Ok(Json(Confirmed { changes: changes + rules + usize::from(daemon.confirm_reload()) }))
}

fn edge(daemon: &Daemon) -> Result<&Edge, (StatusCode, Json<Problem>)> {
    let off = "this guard has no edge: name the CDN with `provider` in [edge] of its configuration";
    daemon.edge.as_ref().ok_or_else(|| problem(StatusCode::CONFLICT, off))
}

/// The answer of the thread of the edge.
fn of_edge<T>(answer: Result<T, String>) -> Answer<T> {
    answer.map(Json).map_err(|error| problem(StatusCode::BAD_GATEWAY, error))
}

async fn edge_plan(State(daemon): State<Arc<Daemon>>) -> Answer<PlanView> {
    of_edge(edge(&daemon)?.plan().await)
}

async fn edge_apply(State(daemon): State<Arc<Daemon>>) -> Answer<PlanView> {
    of_edge(edge(&daemon)?.apply().await)
}

async fn edge_clear(State(daemon): State<Arc<Daemon>>) -> Answer<PlanView> {
    of_edge(edge(&daemon)?.clear().await)
}

async fn edge_set_up(State(daemon): State<Arc<Daemon>>) -> Answer<String> {
    of_edge(edge(&daemon)?.set_up().await)
}

/// How long a panic waits for the CDN, once everything is out here. Its API takes some seconds for a long list.
const EDGE_TIME_MAX: Duration = Duration::from_secs(5);

/// What is still refused at the CDN and why, if anything is.
async fn out_of_edge(is_out: tokio::sync::oneshot::Receiver<Result<(), String>>) -> Option<String> {
    let why = match tokio::time::timeout(EDGE_TIME_MAX, is_out).await {
        Ok(Ok(Ok(()))) => return None,
        Ok(Ok(Err(why))) => why,
        Ok(Err(_)) => "`seawall panic --over` ended the panic before it was out there".to_owned(),
        Err(_) => format!("its API was not done within {} s", EDGE_TIME_MAX.as_secs()),
    };
    Some(format!("what is at the CDN may still be refused there: {why} (by hand: seawall edge clear)"))
}

/// Takes every rule and ban out of every layer, or goes on.
async fn panic(State(daemon): State<Arc<Daemon>>, Json(asked): Json<PanicAsked>) -> Answer<Panicked> {
    let clock = Clock::start();
    // Of one that the guard has ended its mark may be left, which a restart would take for a panic.
    let was_on = daemon.enforcement.status.load().panicked || daemon.state.is_panicked();
    if !asked.on && !was_on {
        return Ok(Json(Panicked { is_none: true, ..Panicked::default() }));
    }
    let bans = daemon.enforcement.status.load().bans as usize;
    // The slowest begins first, and is waited for last.
    let edge = daemon.edge.as_ref().filter(|_| asked.on).map(Edge::take_out);
    let (done, is_done) = tokio::sync::oneshot::channel();
    let is_told = daemon.command(Command::Panic(asked.on, done));
    let (done, is_out) = tokio::sync::oneshot::channel();
    let is_ordered = daemon.enforcement.panic(asked.on, done);
    let kernel = async { if is_ordered { is_out.await.ok() } else { None } };
    let rules = async { if is_told { is_done.await.ok() } else { None } };
    let (kernel, rules) = tokio::join!(kernel, rules);
    let unkept = daemon.keep_panic(asked.on);
    let gone =
        |thread: &str| problem(StatusCode::INTERNAL_SERVER_ERROR, format!("the {thread} thread does not answer"));
    if let Some(edge) = daemon.edge.as_ref().filter(|_| !asked.on) {
        edge.go_on();
    }
    let kernel = kernel.ok_or_else(|| gone("enforcing"))?;
    let rules = rules.ok_or_else(|| gone("detecting"))?;
    let milliseconds = || clock.uptime().as_millis() as u64;
    let mut panicked = Panicked { rules, bans, milliseconds: milliseconds(), unkept, ..Panicked::default() };
    let mut remains: Vec<String> =
        kernel.err().map(|why| format!("{why} (by hand: nft delete table inet NAME)")).into_iter().collect();
    if let Some(is_out) = edge {
        match out_of_edge(is_out).await {
            None => panicked.edge_milliseconds = Some(milliseconds()),
            Some(left) => remains.push(left),
        }
    }
    panicked.remains = (!remains.is_empty()).then(|| remains.join("; and "));
    // Whoever looks next sees it.
    detect(&daemon, Command::Show).await?;
    Ok(Json(panicked))
}
