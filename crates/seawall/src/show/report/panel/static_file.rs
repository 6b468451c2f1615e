//! Hits by path of what is fetched by itself or as part of a page: pictures, style sheets, feeds.

use seawall_engine::observation::is_static;

use super::{Kind, Order, Panel, TEXTS, TablePanel, Value, ValueOf};

pub(super) const PANEL: Panel = Panel {
    name: "static_files",
    title: "Static files",
    kind: Kind::Table(TablePanel {
        absent: "(not HTTP)",
        order: Order::Hits,
        value: ValueOf::Request(|seen, _| match seen.path() {
            Some(path) if is_static(path) => Value::of(Some(path)),
            _ => Value::Outside,
        }),
        wording: TEXTS,
    }),
};
