//! Hits by host, where the log's format has it or the client's target named it.

use super::{Order, Panel, cut, text};

pub(super) const PANEL: Panel = Panel {
    name: "hosts",
    title: "Hosts",
    absent: "(no host)",
    order: Order::Hits,
    is_recorded: |fields| fields.host,
    value: |observation, _| Some(observation.request.host).filter(|host| !host.is_empty()).map(cut),
    text,
    label: None,
};
