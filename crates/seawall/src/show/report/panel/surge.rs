//! Times with much more than is usual, each explained.

use super::{Kind, Panel};

pub(super) const PANEL: Panel = Panel { name: "surges", title: "Surges", kind: Kind::Surges };
