//! Watches over whether the clients of a guard in line can be told apart: an alarm when nearly all come through a proxy that is not
//! trusted. Those of logs are watched with their sensors.

use std::time::Duration;

use seawall_engine::address::AddressSet;
use seawall_engine::decision::{Event, EventKind};
use seawall_engine::silence::{Alarm, Change, MergedClients as Watch, Peers, Place, RecentPeers};
use seawall_engine::units::Timestamp;

/// How often they are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is said once clients are no longer one.
pub(super) const APART: &str = "clients are told apart again";

/// The watch over them.
#[derive(Default)]
pub(super) struct MergedClients {
    watch: Watch,
    recent: RecentPeers,
    looked: Timestamp,
}

impl MergedClients {
    /// Takes in from whom requests have come, and looks at them when it is time.
    pub(super) fn look(&mut self, now: Timestamp, peers: &Peers, trusted: &AddressSet) -> Option<Event> {
        self.recent.add(now, peers);
        if now.since(self.looked) < LOOK_INTERVAL {
            return None;
        }
        self.looked = now;
        let change = self.watch.look(now, &self.recent, trusted, Place::InLine);
        change.map(|change| event(now, None, change))
    }

    /// What is wrong now.
    pub(super) const fn alarm(&self) -> Option<&Alarm> {
        self.watch.alarm()
    }
}

/// What people are told of clients that are one, or no longer; of those of a log with its name.
pub(super) fn event(at: Timestamp, log: Option<&str>, change: Change) -> Event {
    let (kind, text) = match change {
        Change::Raised(alarm) => (EventKind::ClientsMerged, alarm.text),
        Change::Cleared(_) => (EventKind::ClientsApart, APART.to_owned()),
    };
    let text = match log {
        Some(log) => format!("{log}: {text}"),
        None => text,
    };
    Event { at, kind, text }
}
