//! Where the guard's traffic is seen. Everything after an observation is the same code, whichever it is.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::proxying::{NewListeners, Proxying};
use super::silences::Heard;
use super::watching::Watching;
use super::{Sensor, StartError};
use crate::config::Config;
use crate::enforcement::ssh_ports;
use crate::source::proxy::traffic::Traffic;

/// Where web servers are: HTTP and HTTPS.
const WEB_PORTS: [u16; 2] = [80, 443];

/// What sees the traffic.
pub(super) enum Intake {
    /// The reverse proxy, in line.
    Proxy(Proxying),
    /// The logs of another server, beside the traffic.
    Logs(Watching),
}

impl Intake {
    /// The counts of each thread.
    pub(super) fn traffic(&self) -> Vec<Arc<Traffic>> {
        match self {
            Self::Proxy(proxying) => proxying.traffic(),
            Self::Logs(watching) => vec![watching.traffic()],
        }
    }

    /// Lets those in who have waited until what was in force before is again. A log waits by itself.
    pub(super) fn open(&self) {
        match self {
            Self::Proxy(proxying) => proxying.open(),
            Self::Logs(_) => {}
        }
    }

    /// Where traffic is seen now.
    pub(super) fn sensors(&self) -> Vec<Sensor> {
        match self {
            Self::Proxy(proxying) => Sensor::of_proxy(&proxying.listening()),
            Self::Logs(watching) => watching.sensors(),
        }
    }

    /// Does of a change of configuration what can fail.
    pub(super) fn prepare(&self, config: &Config, current: &Config) -> Result<NewListeners, StartError> {
        match self {
            Self::Proxy(proxying) => proxying.prepare(config, current),
            Self::Logs(_) => Ok(NewListeners::default()),
        }
    }

    /// Does the rest, and tells where visitors are served now.
    pub(super) fn take(&self, prepared: NewListeners) -> Vec<SocketAddr> {
        match self {
            Self::Proxy(proxying) => proxying.take(prepared),
            Self::Logs(_) => Vec::new(),
        }
    }

    /// Takes nothing new, and finishes what is under way within this time.
    pub(super) fn drain(&self, time: Duration) {
        match self {
            Self::Proxy(proxying) => proxying.drain(time),
            Self::Logs(watching) => watching.stop(),
        }
    }

    /// Finishes nothing more.
    pub(super) fn cut(&self) {
        match self {
            Self::Proxy(proxying) => proxying.cut(),
            Self::Logs(_) => {}
        }
    }

    /// The ports on which a banned client is dropped, when visitors are served at these addresses. Where another server listens
    /// its log does not say, so it is where web servers do, but for where sshd is.
    pub(super) fn guarded_ports(&self, visitors: &[SocketAddr]) -> Vec<u16> {
        match self {
            Self::Proxy(_) => visitors.iter().map(SocketAddr::port).collect(),
            Self::Logs(_) => {
                let ssh = ssh_ports(Path::new("/"));
                for port in WEB_PORTS.iter().filter(|port| ssh.contains(port)) {
                    tracing::warn!("sshd listens on {port}, which is never closed to anybody: nobody is dropped on it");
                }
                WEB_PORTS.into_iter().filter(|port| !ssh.contains(port)).collect()
            }
        }
    }

    /// Whether it is beside another server.
    pub(super) fn is_beside(&self) -> bool {
        matches!(self, Self::Logs(_))
    }

    /// Files that are written are to be made anew, as after a rotation. Whether there are such.
    pub(super) fn reopen(&self) -> bool {
        match self {
            Self::Proxy(_) => false,
            Self::Logs(watching) => watching.reopen(),
        }
    }

    /// What tells whether each sensor still does its work.
    pub(super) fn readings(&self) -> Vec<Heard> {
        match self {
            // It is in line: whatever comes, it sees.
            Self::Proxy(_) => Vec::new(),
            Self::Logs(watching) => watching.readings(),
        }
    }
}
