//! Hits by path, without the query.

use super::{Kind, Order, Panel, TEXTS, TablePanel, Value, ValueOf};

pub(super) const PANEL: Panel = Panel {
    name: "paths",
    title: "Paths",
    kind: Kind::Table(TablePanel {
        absent: "(not HTTP)",
        order: Order::Hits,
        value: ValueOf::Request(|seen, _| Value::of(seen.path())),
        wording: TEXTS,
    }),
};
