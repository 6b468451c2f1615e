//! Hits by path of what is not there (404, 410).

use super::{Kind, Order, Panel, TEXTS, TablePanel, Value, ValueOf};

pub(super) const PANEL: Panel = Panel {
    name: "not_found",
    title: "Not found",
    kind: Kind::Table(TablePanel {
        absent: "(not HTTP)",
        order: Order::Hits,
        value: ValueOf::Request(|seen, _| match seen.status {
            Some(404 | 410) => Value::of(seen.path()),
            _ => Value::Outside,
        }),
        wording: TEXTS,
    }),
};
