//! Hits by status.

use super::{Kind, Order, Panel, TablePanel, Value, ValueOf, Wording};

pub(super) const PANEL: Panel = Panel {
    name: "status",
    title: "Status",
    kind: Kind::Table(TablePanel {
        absent: "(no answer)",
        order: Order::Hits,
        value: ValueOf::Request(|seen, scratch| match seen.status {
            Some(status) => Value::number(status.to_be_bytes(), scratch),
            None if seen.request.fields.status => Value::Absent,
            None => Value::NotRecorded,
        }),
        wording: Wording {
            text: |value, _| number(value).to_string(),
            label: None,
            detail: Some(|value, _| {
                let status = number(value);
                // What nginx logs beyond the registered ones.
                match status {
                    444 => Some("No Response (nginx)"),
                    499 => Some("Client Closed Request (nginx)"),
                    _ => http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()),
                }
                .map(str::to_owned)
            }),
        },
    }),
};

fn number(value: &[u8]) -> u16 {
    value.try_into().map_or(0, u16::from_be_bytes)
}
