//! Hits by method.

use super::{Kind, Order, Panel, TEXTS, TablePanel, Value, ValueOf};

pub(super) const PANEL: Panel = Panel {
    name: "methods",
    title: "Methods",
    kind: Kind::Table(TablePanel {
        absent: "(not HTTP)",
        order: Order::Hits,
        value: ValueOf::Request(|seen, _| {
            Value::of(Some(seen.request.observation.request.method).filter(|method| !method.is_empty()))
        }),
        wording: TEXTS,
    }),
};
