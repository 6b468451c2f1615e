//! Where the guard's traffic is seen. Everything after an observation is the same code, whichever it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::proxying::{NewListeners, Proxying};
use super::{Sensor, StartError};
use crate::config::Config;
use crate::source::proxy::traffic::Traffic;

/// What sees the traffic.
pub(super) enum Intake {
    /// The reverse proxy, in line.
    Proxy(Proxying),
}

impl Intake {
    /// The counts of each thread.
    pub(super) fn traffic(&self) -> Vec<Arc<Traffic>> {
        match self {
            Self::Proxy(proxying) => proxying.traffic(),
        }
    }

    /// Where traffic is seen now.
    pub(super) fn sensors(&self) -> Vec<Sensor> {
        match self {
            Self::Proxy(proxying) => Sensor::of_proxy(&proxying.listening()),
        }
    }

    /// Does of a change of configuration what can fail.
    pub(super) fn prepare(&self, config: &Config, current: &Config) -> Result<NewListeners, StartError> {
        match self {
            Self::Proxy(proxying) => proxying.prepare(config, current),
        }
    }

    /// Does the rest, and tells where visitors are served now.
    pub(super) fn take(&self, prepared: NewListeners) -> Vec<SocketAddr> {
        match self {
            Self::Proxy(proxying) => proxying.take(prepared),
        }
    }

    /// Takes nothing new, and finishes what is under way within this time.
    pub(super) fn drain(&self, time: Duration) {
        match self {
            Self::Proxy(proxying) => proxying.drain(time),
        }
    }

    /// Finishes nothing more.
    pub(super) fn cut(&self) {
        match self {
            Self::Proxy(proxying) => proxying.cut(),
        }
    }
}
