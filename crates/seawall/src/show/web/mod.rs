//! The status page: one page that shows the state of the guard and renews itself. It can only look, not change anything:
//! what changes something goes through the control socket.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::daemon::{Daemon, Snapshot};

mod listener;

const PAGE: &str = include_str!("page.html");

/// Only what the page itself brings may run or be shown, and nobody may frame it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";

/// Serves the page until the guard ends.
pub async fn serve(daemon: Arc<Daemon>, listener: std::net::TcpListener) {
    let router = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/v1/status", get(status))
        .layer(middleware::from_fn(protect))
        .with_state(daemon);
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => axum::serve(listener::Bounded::new(listener), router).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the status page failed; the guard goes on without it");
    }
}

async fn status(State(daemon): State<Arc<Daemon>>) -> Json<Snapshot> {
    Json(daemon.snapshot())
}

/// Refuses requests under a name that is not this machine's own: a page elsewhere could otherwise have its name resolve
/// to this address and read the status through a visitor's browser (DNS rebinding).
async fn protect(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_local_name(host) {
        let text = "The status page is served under an IP address or as localhost only.\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn is_local_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_local_names() {
        for host in ["127.0.0.1:8081", "localhost", "LOCALHOST:8081", "[::1]:8081", "192.0.2.1"] {
            assert!(is_local_name(host), "{host}");
        }
        for host in ["", "attacker.example", "attacker.example:8081", "127.0.0.1.attacker.example", "localhost.example"]
        {
            assert!(!is_local_name(host), "{host}");
        }
    }
}
