//! What detection is told of the world around it at each tick: how hard the server is pressed, and whom the rules in
//! the gate have met. It never asks for any of it itself.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decision::RuleId;

/// How hard the server is pressed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// How long a request waits before the server begins with it.
    pub queue_delay: Duration,
    /// The share of requests that the site failed to answer, 0 to 1.
    pub failure_share: f32,
    /// The share of the connections that the guard can hold which are in use, 0 to 1.
    pub connections_used: f32,
    /// The share of all cores that is busy, 0 to 1.
    pub cpu_used: f32,
    /// The share of memory that is used, 0 to 1.
    pub memory_used: f32,
}

/// A wait that people notice: a tenth of a second (Nielsen, Usability Engineering, 1993).
const QUEUE_DELAY_STRESS: Duration = Duration::from_millis(100);

/// One failed request in twenty.
const FAILURE_SHARE_STRESS: f32 = 0.05;

/// Four fifths of the connections: at the growth of a flood the rest is gone within seconds.
const CONNECTIONS_STRESS: f32 = 0.8;

/// Nine tenths of the processor or the memory.
const USED_STRESS: f32 = 0.9;

impl Pressure {
    /// What the server is in trouble with, or about to be; of several the one that visitors notice first.
    pub fn stress(&self) -> Option<Stress> {
        let each = [
            (self.failure_share >= FAILURE_SHARE_STRESS, Stress::Failures),
            (self.queue_delay >= QUEUE_DELAY_STRESS, Stress::Queue),
            (self.connections_used >= CONNECTIONS_STRESS, Stress::Connections),
            (self.memory_used >= USED_STRESS, Stress::Memory),
            (self.cpu_used >= USED_STRESS, Stress::Processor),
        ];
        each.into_iter().find_map(|(is_so, stress)| is_so.then_some(stress))
    }
}

/// What a server under stress is short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stress {
    /// The site fails to answer.
    Failures,
    /// Requests wait before the site begins with them.
    Queue,
    /// Connections.
    Connections,
    /// Memory.
    Memory,
    /// Processor time.
    Processor,
    /// The site takes several times as long as usual.
    Slowness,
}

/// As the end of "under stress: ".
impl fmt::Display for Stress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Failures => "one request in twenty fails",
            Self::Queue => "requests wait for a connection to the site",
            Self::Connections => "four fifths of the connections are taken",
            Self::Memory => "nine tenths of the memory are used",
            Self::Processor => "nine tenths of the processor time are used",
            Self::Slowness => "the site takes five times as long as usual",
        })
    }
}

/// What the gate counted for one rule since the last tick. In shadow `refused` stays zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleTraffic {
    /// The rule.
    pub rule: RuleId,
    /// Requests that it matched.
    pub matched: u64,
    /// Of these, one of each client in a minute.
    pub votes: u64,
    /// Requests that it refused.
    pub refused: u64,
    /// Of these, those of clients that had been refused several times within the minute before.
    pub refused_again: u64,
    /// Matching requests that were let through as probes.
    pub canaries: u64,
    /// Of the matching requests, one in a minute of each client that the gate's table holds for known good.
    pub matched_known: u64,
    /// How many such clients were matched for the first time.
    pub known_clients: u64,
    /// One request in a minute of each such client, matching or not.
    pub known: u64,
    /// Matching requests that it did not act on, for the good name of the client.
    pub spared: u64,
    /// Connections closed unread, of clients that go on although it refuses them.
    pub closed: u64,
    /// Requests that it matched and that the server beside which the guard is had refused.
    pub refused_by_server: u64,
}

impl RuleTraffic {
    /// That the rule met nothing.
    pub const fn none(rule: RuleId) -> Self {
        Self {
            rule,
            matched: 0,
            votes: 0,
            refused: 0,
            refused_again: 0,
            canaries: 0,
            matched_known: 0,
            known_clients: 0,
            known: 0,
            spared: 0,
            closed: 0,
            refused_by_server: 0,
        }
    }
}

/// Everything that a tick is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// How hard the server is pressed.
    pub pressure: Pressure,
    /// The gate's counts, one entry for each rule that it has. A rule without an entry (a replayed log has no gate) is
    /// counted from the sample.
    pub rule_traffic: Vec<RuleTraffic>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_pressure_is_stress_by_itself() {
        assert_eq!(Pressure::default().stress(), None);
        let calm = Pressure { cpu_used: 0.7, memory_used: 0.8, connections_used: 0.5, ..Pressure::default() };
        assert_eq!(calm.stress(), None);
        for (pressure, stress) in [
            (Pressure { queue_delay: Duration::from_millis(150), ..calm }, Stress::Queue),
            (Pressure { failure_share: 0.1, ..calm }, Stress::Failures),
            (Pressure { connections_used: 0.9, ..calm }, Stress::Connections),
            (Pressure { cpu_used: 0.97, ..calm }, Stress::Processor),
            (Pressure { memory_used: 0.95, ..calm }, Stress::Memory),
        ] {
            assert_eq!(pressure.stress(), Some(stress), "{pressure:?}");
        }
    }
}
