//! Hits by hour, in UTC.

use super::{Order, Panel};
use crate::show::log::moment;

pub(super) const PANEL: Panel = Panel {
    name: "hours",
    title: "Hours (UTC)",
    absent: "(no time)",
    order: Order::Time,
    is_recorded: |_| true,
    value: |observation, scratch| {
        let hour = observation.at.as_seconds() / 3600;
        let (value, _) = scratch.split_first_chunk_mut()?;
        *value = hour.to_be_bytes();
        Some(value)
    },
    text: |value, _| beginning(value).to_string(),
    label: Some(|value| beginning(value).strftime("%F %H:%M").to_string()),
};

fn beginning(value: &[u8]) -> jiff::Timestamp {
    let hour = value.try_into().map_or(0, u64::from_be_bytes);
    moment(hour.saturating_mul(3600))
}
