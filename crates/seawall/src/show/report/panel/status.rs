//! Hits by status.

use seawall_engine::observation::Outcome;

use super::{Order, Panel};

pub(super) const PANEL: Panel = Panel {
    name: "status",
    title: "Status",
    absent: "(no answer)",
    order: Order::Hits,
    is_recorded: |_| true,
    value: |observation, scratch| {
        let (Outcome::Served { status } | Outcome::Failed { status }) = observation.outcome else { return None };
        let (value, _) = scratch.split_first_chunk_mut()?;
        *value = status.to_be_bytes();
        Some(value)
    },
    text: |value, _| number(value).to_string(),
    label: Some(|value| {
        let status = number(value);
        // What nginx logs beyond the registered ones.
        let name = match status {
            444 => Some("No Response (nginx)"),
            499 => Some("Client Closed Request (nginx)"),
            _ => http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()),
        };
        name.map_or_else(|| status.to_string(), |name| format!("{status} {name}"))
    }),
};

fn number(value: &[u8]) -> u16 {
    value.try_into().map_or(0, u16::from_be_bytes)
}
