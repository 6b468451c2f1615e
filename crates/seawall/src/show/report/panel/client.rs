//! Hits by client: an IPv4 address, or an IPv6 /64.

use super::{Kind, Order, Panel, TablePanel, ValueOf, Wording};
use crate::show::log::table::ShortValue;

pub(super) const PANEL: Panel = Panel {
    name: "clients",
    title: "Clients",
    kind: Kind::Table(TablePanel {
        absent: "(no address in the log)",
        order: Order::Hits,
        value: ValueOf::Client(|located| {
            located.client.map(|client| ShortValue::new(client.client_key().to_be_bytes()))
        }),
        wording: Wording {
            text: |value, names| names.clients.label(value.try_into().map_or(0, u128::from_be_bytes)),
            label: None,
            detail: None,
        },
    }),
};
