//! Hits by path, without the query.

use super::{Order, Panel, cut, text};

pub(super) const PANEL: Panel = Panel {
    name: "paths",
    title: "Paths",
    // A request line that is no HTTP has no method, and what stands in for its path is different each time: a handshake,
    // a key exchange. All of them together are what is worth a row.
    absent: "(not HTTP)",
    order: Order::Hits,
    is_recorded: |_| true,
    value: |observation, _| Some(observation.request.path).filter(|_| !observation.request.method.is_empty()).map(cut),
    text,
    label: None,
};
