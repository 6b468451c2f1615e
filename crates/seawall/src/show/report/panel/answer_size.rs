//! How large the answers were.

use super::{DistributionPanel, Kind, Panel, Unit};

pub(super) const PANEL: Panel = Panel {
    name: "answer_sizes",
    title: "Sizes of answers",
    kind: Kind::Distribution(DistributionPanel {
        value: |request| Some(request.observation.cost.bytes),
        // A tebibyte.
        most: 1 << 40,
        unit: Unit::Bytes,
    }),
};
