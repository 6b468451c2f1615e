//! Requests over time, by what became of them.

use super::{Kind, Panel};

pub(super) const PANEL: Panel = Panel { name: "traffic", title: "Traffic (UTC)", kind: Kind::Traffic };
