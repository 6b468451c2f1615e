//! Paths by the bytes that were sent for them.

use super::{DerivedPanel, Kind, Panel};

pub(super) const PANEL: Panel = Panel {
    name: "paths_by_bytes",
    title: "Paths by bytes",
    kind: Kind::Derived(DerivedPanel { of: "paths", key: |row| row.count.bytes, hits_min_per: None }),
};
