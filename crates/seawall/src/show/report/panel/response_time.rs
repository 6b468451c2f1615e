//! How long requests took.

use super::{DistributionPanel, Kind, Panel, Unit};

/// The name of the panel.
pub(in super::super) const NAME: &str = "response_times";

pub(super) const PANEL: Panel = Panel {
    name: NAME,
    title: "Response times",
    kind: Kind::Distribution(DistributionPanel {
        value: |request| {
            let time = request.observation.cost.connection_time;
            request.is_timed.then(|| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        },
        // A day.
        most: 86_400_000_000,
        unit: Unit::Microseconds,
    }),
};
