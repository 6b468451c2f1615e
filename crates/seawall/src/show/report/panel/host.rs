//! Hits by host, where the log's format has it or the client's target named it.

use super::{Kind, Order, Panel, TablePanel, VALUE_BYTES_MAX, Value, ValueOf, Wording};

pub(super) const PANEL: Panel = Panel {
    name: "hosts",
    title: "Hosts",
    kind: Kind::Table(TablePanel {
        absent: "(no host)",
        order: Order::Hits,
        value: ValueOf::Request(|seen, _| {
            let host = seen.request.observation.request.host;
            match host.is_empty() {
                false => Value::of(Some(host)),
                true if seen.request.fields.host => Value::Absent,
                true => Value::NotRecorded,
            }
        }),
        // Where a client was forwarded, or a log has fields in another order than any other, it may be the client that stands there.
        wording: Wording {
            text: |value, names| crate::show::text::escape(&names.clients.mask(value, value.len() == VALUE_BYTES_MAX)),
            label: None,
            detail: None,
        },
    }),
};
