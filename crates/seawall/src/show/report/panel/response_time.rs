//! How long requests took.

use super::{DistributionPanel, Kind, Panel, Unit};

pub(super) const PANEL: Panel = Panel {
    name: "response_times",
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
