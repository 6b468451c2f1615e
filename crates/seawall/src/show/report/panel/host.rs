//! Hits by host, where the log's format has it or the client's target named it.

use super::{Kind, Order, Panel, TEXTS, TablePanel, Value};

pub(super) const PANEL: Panel = Panel {
    name: "hosts",
    title: "Hosts",
    kind: Kind::Table(TablePanel {
        absent: "(no host)",
        order: Order::Hits,
        value: |seen, _| {
            let host = seen.request.observation.request.host;
            match host.is_empty() {
                false => Value::of(Some(host)),
                true if seen.request.fields.host => Value::Absent,
                true => Value::NotRecorded,
            }
        },
        wording: TEXTS,
    }),
};
