//! Hits by user agent, exactly as sent.

use super::{Order, Panel, cut, text};

pub(super) const PANEL: Panel = Panel {
    name: "user_agents",
    title: "User agents",
    absent: "(none sent)",
    order: Order::Hits,
    is_recorded: |fields| fields.user_agent,
    value: |observation, _| observation.request.user_agent.map(cut),
    text,
    label: Some(|value| if value.is_empty() { "(empty)".to_owned() } else { crate::show::text::escape(value) }),
};
