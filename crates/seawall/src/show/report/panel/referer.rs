//! Hits by the page that led to them, without its query.

use super::{Kind, Order, Panel, TEXTS, TablePanel, Value, ValueOf};

pub(super) const PANEL: Panel = Panel {
    name: "referers",
    title: "Referers",
    kind: Kind::Table(TablePanel {
        absent: "(none sent)",
        order: Order::Hits,
        value: ValueOf::Request(|seen, _| match seen.request.observation.request.referer {
            Some(referer) => {
                Value::of(memchr::memchr2(b'?', b'#', referer).map_or(Some(referer), |end| referer.get(..end)))
            }
            None if seen.request.fields.referer => Value::Absent,
            None => Value::NotRecorded,
        }),
        wording: TEXTS,
    }),
};
