//! Where the status page is served. In line an address that cannot be had ends the start, as that of a site does. Beside a server
//! the page is all that the guard listens for, and no reason not to guard: it is said, and tried again.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Daemon, StartError, proxying};
use crate::show::web;

/// How often an address that another has is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The page, bound or not.
#[derive(Default)]
pub(super) enum StatusPage {
    /// There is none.
    #[default]
    Off,
    /// It can be served.
    Bound(SocketAddr, Vec<OwnedFd>),
    /// It cannot, for this reason.
    Unbound(SocketAddr, String),
}

/// Has the page listen.
///
/// # Errors
/// When the address cannot be had.
pub(super) fn bind(address: SocketAddr) -> Result<StatusPage, StartError> {
    proxying::bind(address, 1).map(|(address, sockets)| StatusPage::Bound(address, sockets))
}

/// The same, but for that an address that cannot be had is only told of. It never fails.
pub(super) fn bind_or_try_again(address: SocketAddr) -> Result<StatusPage, StartError> {
    bind(address).or_else(|error| {
        let StartError::Listen { error, .. } = error else { return Err(error) };
        let trouble = trouble(address, &error);
        tracing::warn!("{trouble}");
        Ok(StatusPage::Unbound(address, trouble))
    })
}

fn trouble(address: SocketAddr, error: &std::io::Error) -> String {
    let who = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(", perhaps another guard (`ss -ltnp sport = :{}` tells)", address.port())
        }
        _ => String::new(),
    };
    format!(
        "the status page cannot be served on {address}: {error}{who}; give it another address with `--admin`, or `--admin off`, or \
         with `admin` in the configuration. It is tried again, and the guard runs without it"
    )
}

impl StatusPage {
    /// Where it is.
    pub(super) const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Bound(address, _) => Some(*address),
            Self::Off | Self::Unbound(..) => None,
        }
    }

    /// Why it is not where it should be.
    pub(super) fn trouble(&self) -> Option<String> {
        match self {
            Self::Unbound(_, trouble) => Some(trouble.clone()),
            Self::Off | Self::Bound(..) => None,
        }
    }

    /// Serves it until the guard ends, as soon as it can be.
    pub(super) async fn serve(self, daemon: Arc<Daemon>) {
        let sockets = match self {
            Self::Off => return,
            Self::Bound(_, sockets) => sockets,
            Self::Unbound(address, _) => loop {
                tokio::time::sleep(RETRY_PAUSE).await;
                if let Ok((address, sockets)) = proxying::bind(address, 1) {
                    tracing::info!("the status page is served on {address} now");
                    *daemon.page_trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    break sockets;
                }
            },
        };
        for socket in sockets {
            tokio::spawn(web::serve(Arc::clone(&daemon), socket.into()));
        }
    }
}
