//! Hits by client: an IPv4 address, or an IPv6 /64.

use super::{Order, Panel};

pub(super) const PANEL: Panel = Panel {
    name: "clients",
    title: "Clients",
    absent: "(no address in the log)",
    order: Order::Hits,
    is_recorded: |_| true,
    value: |observation, scratch| {
        let client = observation.client?;
        *scratch = client.client_key().to_be_bytes();
        Some(scratch)
    },
    text: |value, clients| clients.label(value.try_into().map_or(0, u128::from_be_bytes)),
    label: None,
};
