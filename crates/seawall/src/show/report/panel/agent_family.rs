//! Hits by what the user agent says that it is: browsers, crawlers, feed readers, libraries.

use super::{Kind, Order, Panel, TablePanel, Value, ValueOf, Wording};
use crate::agents::AgentKind;

pub(super) const PANEL: Panel = Panel {
    name: "agent_families",
    title: "Families of user agents",
    kind: Kind::Table(TablePanel {
        absent: "(none sent)",
        order: Order::Hits,
        value: ValueOf::Request(|seen, scratch| match seen.family {
            Some(family) => Value::number(family.to_be_bytes(), scratch),
            None if seen.request.fields.user_agent => Value::Absent,
            None => Value::NotRecorded,
        }),
        wording: Wording {
            text: |value, names| names.agents.family(number(value)).name.to_owned(),
            label: None,
            detail: Some(|value, names| match names.agents.family(number(value)).kind {
                AgentKind::Unknown | AgentKind::Robot => None,
                kind => Some(kind.as_str().replace('-', " ")),
            }),
        },
    }),
};

fn number(value: &[u8]) -> u16 {
    value.try_into().map_or(0, u16::from_be_bytes)
}
