//! Paths by how long a request for them took on average.

use super::{DerivedPanel, Kind, Panel};

pub(super) const PANEL: Panel = Panel {
    name: "slowest_paths",
    title: "Slowest paths",
    kind: Kind::Derived(DerivedPanel {
        of: "paths",
        key: |row| row.count.mean_micros().unwrap_or(0),
        hits_min_per: Some(10_000),
    }),
};
