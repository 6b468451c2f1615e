//! The control socket: how the other commands talk to a running guard. JSON over HTTP on a unix socket that only the
//! guard's owner can open.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use seawall_engine::decision::{RuleId, RuleStatus};
use serde::{Deserialize, Serialize};

use super::state::{StateDirectory, StateError};
use super::{Command, Daemon, Snapshot};
use crate::show::notify::Trial;

/// The name of the socket in the state directory.
pub const SOCKET_NAME: &str = "control.sock";

/// What a reload did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// How many sites are guarded now.
    pub sites: usize,
    /// Where the guard listens now.
    pub listening: Vec<SocketAddr>,
    /// Settings that changed in the file and take effect only at the next start.
    pub needs_restart: Vec<String>,
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
        .route("/v1/rules", get(rules))
        .route("/v1/rules/{id}", delete(remove_rule))
        .route("/v1/notify/test", post(try_notifications))
        .with_state(daemon);
    let served = match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => axum::serve(listener, router).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the control socket failed; the guard goes on without it");
    }
}

type Answer<T> = Result<Json<T>, (StatusCode, Json<Problem>)>;

fn problem(status: StatusCode, error: impl Into<String>) -> (StatusCode, Json<Problem>) {
    (status, Json(Problem { error: error.into() }))
}

async fn status(State(daemon): State<Arc<Daemon>>) -> Json<Snapshot> {
    Json(Snapshot::clone(&daemon.snapshot()))
}

async fn reload(State(daemon): State<Arc<Daemon>>) -> Answer<Reloaded> {
    match daemon.reload_and_log() {
        Ok(reloaded) => Ok(Json(reloaded)),
        Err(problems) => Err(problem(StatusCode::UNPROCESSABLE_ENTITY, problems)),
    }
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

async fn rules(State(daemon): State<Arc<Daemon>>) -> Json<Vec<RuleStatus>> {
    Json(daemon.snapshot().detection.rules.clone())
}

async fn remove_rule(State(daemon): State<Arc<Daemon>>, Path(id): Path<u32>) -> Answer<RuleStatus> {
    let id = RuleId(id);
    let Some(rule) = daemon.snapshot().detection.rules.iter().find(|rule| rule.id == id).cloned() else {
        return Err(problem(StatusCode::NOT_FOUND, format!("there is no rule {id}")));
    };
    let (done, is_done) = tokio::sync::oneshot::channel();
    if !daemon.command(Command::Withdraw(id, done)) || is_done.await.is_err() {
        return Err(problem(StatusCode::INTERNAL_SERVER_ERROR, "the detecting thread does not answer"));
    }
    Ok(Json(rule))
}
