//! Hits by the country of the client's network.

use super::{Kind, Order, Panel, TEXTS, TablePanel, ValueOf};
use crate::show::log::table::ShortValue;

pub(super) const PANEL: Panel = Panel {
    name: "countries",
    title: "Countries",
    kind: Kind::Table(TablePanel {
        absent: "(unknown)",
        order: Order::Hits,
        value: ValueOf::Client(|located| located.network.country().map(|country| ShortValue::new(country.letters()))),
        wording: TEXTS,
    }),
};
