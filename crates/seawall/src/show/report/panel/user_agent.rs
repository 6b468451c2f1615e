//! Hits by user agent, exactly as sent.

use super::{Kind, Order, Panel, TEXTS, TablePanel, Value, ValueOf, Wording};

pub(super) const PANEL: Panel = Panel {
    name: "user_agents",
    title: "User agents",
    kind: Kind::Table(TablePanel {
        absent: "(none sent)",
        order: Order::Hits,
        value: ValueOf::Request(|seen, _| match seen.request.observation.request.user_agent {
            None if !seen.request.fields.user_agent => Value::NotRecorded,
            agent => Value::of(agent),
        }),
        wording: Wording {
            label: Some(
                |value, names| if value.is_empty() { "(empty)".to_owned() } else { (TEXTS.text)(value, names) },
            ),
            ..TEXTS
        },
    }),
};
