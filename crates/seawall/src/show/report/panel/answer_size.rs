//! How large the answers were.

use super::{DistributionPanel, Kind, Panel, Unit};

pub(super) const PANEL: Panel = Panel {
    name: "answer_sizes",
    title: "Sizes of answers",
    kind: Kind::Distribution(DistributionPanel {
        value: |request| request.fields.bytes.then_some(request.observation.cost.bytes),
        // A tebibyte.
        most: 1 << 40,
        unit: Unit::Bytes,
    }),
};
