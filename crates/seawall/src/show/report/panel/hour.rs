//! Hits by hour, in UTC.

use super::{Kind, Order, Panel, TablePanel, Value, ValueOf, Wording};
use crate::show::log::moment;

pub(super) const PANEL: Panel = Panel {
    name: "hours",
    title: "Hours (UTC)",
    kind: Kind::Table(TablePanel {
        absent: "(no time)",
        order: Order::Time,
        value: ValueOf::Request(|seen, scratch| {
            let hour = seen.request.observation.at.as_seconds() / 3600;
            Value::number(hour.to_be_bytes(), scratch)
        }),
        wording: Wording {
            text: |value, _| beginning(value).to_string(),
            label: Some(|value, _| beginning(value).strftime("%F %H:%M").to_string()),
            detail: None,
        },
    }),
};

fn beginning(value: &[u8]) -> jiff::Timestamp {
    let hour = value.try_into().map_or(0, u64::from_be_bytes);
    moment(hour.saturating_mul(3600))
}
