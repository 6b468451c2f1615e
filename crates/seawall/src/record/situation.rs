//! How the traffic was at a moment: what the journal compares before and after what was done.

use std::fmt;

use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

/// How the traffic was at a moment. Each number means the same whether it was measured or is told from the counts of a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Situation {
    /// Requests a second whose head was read.
    pub requests: f64,
    /// Of these, answered by the site.
    pub served: f64,
    /// Refused or dropped by a rule or a limit of the client, or closed unread, a second.
    pub refused: f64,
    /// That the site failed to answer, was too busy to be asked, or answered with an error of its own (5xx), a second.
    pub failed: f64,
    /// Beside a server: that rules would have refused, a second; none in line, or where it is told from counts of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_refuse: Option<f64>,
    /// The share of all processors in use, 0 to 1; none where it is told from counts of requests.
    pub cpu_used: Option<f32>,
}

/// When something was done, and how the traffic was just then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    pub(super) at: Timestamp,
    pub(super) before: Situation,
}

/// Says how the traffic is.
pub struct Measure(Box<dyn Fn() -> Situation + Send + Sync>);

impl Measure {
    /// By this function, which has to be quick: it is called by whoever has done something.
    pub fn by(measure: impl Fn() -> Situation + Send + Sync + 'static) -> Self {
        Self(Box::new(measure))
    }

    pub(super) fn now(&self) -> Situation {
        (self.0)()
    }
}

impl fmt::Debug for Measure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Measure").field(&self.now()).finish()
    }
}
