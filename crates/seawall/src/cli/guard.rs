//! How commands talk to a running guard: over the control socket in its state directory.

use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::Failure;
use crate::config::Environment;
use crate::daemon::{OPERATOR_HEADER, Problem, SOCKET_NAME};
use crate::enforcement::own_session;

/// Which guard.
#[derive(clap::Args)]
pub(crate) struct Guard {
    /// The state directory of the guard.
    #[arg(long, value_name = "DIR", default_value_os_t = Environment::of_process().default_state_directory())]
    state: PathBuf,
}

impl Guard {
    /// Asks the guard and reads its answer.
    pub(crate) fn ask<T: DeserializeOwned>(&self, method: http::Method, path: &str) -> Result<T, Failure> {
        self.answer(self.exchange(method, path, Vec::new())?)
    }

    /// Tells the guard something and reads its answer.
    pub(crate) fn ask_with<T: DeserializeOwned>(&self, path: &str, request: &impl Serialize) -> Result<T, Failure> {
        let request = serde_json::to_vec(request).map_err(Failure::machine)?;
        self.answer(self.exchange(http::Method::POST, path, request)?)
    }

    /// The state directory.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    fn answer<T: DeserializeOwned>(&self, (status, body): (http::StatusCode, Vec<u8>)) -> Result<T, Failure> {
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                Failure::no_guard(format!("failed to read the guard's answer: {error}; is it of another version?"))
            });
        }
        let problem = serde_json::from_slice::<Problem>(&body).map(|problem| problem.error);
        let problem = problem.unwrap_or_else(|_| format!("the guard answered {status}"));
        Err(match status {
            // What was named is not there, has to be meant, or something stands in its way.
            http::StatusCode::NOT_FOUND | http::StatusCode::PRECONDITION_REQUIRED | http::StatusCode::FORBIDDEN => {
                Failure::negative(problem)
            }
            // What was typed is wrong, as the text of a rule.
            http::StatusCode::BAD_REQUEST => Failure::usage(problem),
            // What was given is not valid, or the configuration has nothing for it.
            http::StatusCode::UNPROCESSABLE_ENTITY | http::StatusCode::CONFLICT => Failure::invalid(problem),
            _ => Failure::machine(problem),
        })
    }

    /// Tells the guard something that has no answer.
    pub(crate) fn tell(&self, method: http::Method, path: &str) -> Result<(), Failure> {
        self.exchange(method, path, Vec::new()).map(|_| ())
    }

    /// Whether there is still a guard.
    pub(crate) fn answers(&self) -> bool {
        std::os::unix::net::UnixStream::connect(self.state.join(SOCKET_NAME)).is_ok()
    }

    fn exchange(
        &self,
        method: http::Method,
        path: &str,
        content: Vec<u8>,
    ) -> Result<(http::StatusCode, Vec<u8>), Failure> {
        let socket = self.state.join(SOCKET_NAME);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(Failure::machine)?;
        runtime.block_on(async {
            let stream = UnixStream::connect(&socket).await.map_err(|error| {
                let hint = "is `seawall serve` running, as this user? --state DIR names another state directory";
                Failure::no_guard(format!("failed to reach a guard on {}: {error}; {hint}", socket.display()))
            })?;
            let answer = async {
                let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                let mut request = http::Request::builder().method(method).uri(path).header("host", "seawall");
                // Whoever commands the guard must not be locked out by it.
                if let Some(operator) = own_session() {
                    request = request.header(OPERATOR_HEADER, operator.to_string());
                }
                if !content.is_empty() {
                    request = request.header("content-type", "application/json");
                }
                let request = request.body(Full::new(bytes::Bytes::from(content)));
                let exchange = async {
                    match request {
                        Ok(request) => {
                            let response = sender.send_request(request).await?;
                            let status = response.status();
                            Ok(Some((status, response.into_body().collect().await?.to_bytes().to_vec())))
                        }
                        Err(_) => Ok(None),
                    }
                };
                // The exchange tells how it went, even when the guard closed right behind its answer, as on a stop.
                let driven = async {
                    let _ = connection.await;
                    std::future::pending().await
                };
                tokio::select! { answer = exchange => answer, never = driven => never }
            };
            let answer: Result<_, hyper::Error> = answer.await;
            let failed = |reason: String| Failure::no_guard(format!("failed to ask the guard: {reason}"));
            answer.map_err(|error| failed(error.to_string()))?.ok_or_else(|| failed(format!("{path} is no path")))
        })
    }
}
