//! Hits by the country of the client's network.

use super::{Kind, Order, Panel, TEXTS, TablePanel, Value};

pub(super) const PANEL: Panel = Panel {
    name: "countries",
    title: "Countries",
    kind: Kind::Table(TablePanel {
        absent: "(unknown)",
        order: Order::Hits,
        value: |seen, scratch| match seen.request.observation.request.country {
            Some(country) => Value::number(country, scratch),
            None => Value::Absent,
        },
        wording: TEXTS,
    }),
};
