//! Hits by the autonomous system of the client's network.

use seawall_engine::network::NetworkKind;

use super::{Kind, Order, Panel, TablePanel, ValueOf, Wording};
use crate::show::log::table::ShortValue;
use crate::show::text::escape;

pub(super) const PANEL: Panel = Panel {
    name: "networks",
    title: "Networks",
    kind: Kind::Table(TablePanel {
        absent: "(unknown)",
        order: Order::Hits,
        value: ValueOf::Client(|located| located.network.asn().map(|asn| ShortValue::new(asn.to_be_bytes()))),
        wording: Wording {
            text: |value, _| format!("AS{}", number(value)),
            label: None,
            detail: Some(|value, names| {
                let asn = number(value);
                let name = names.networks.asn_name(asn).map(|name| escape(name.as_bytes()))?;
                Some(match names.networks.kind(asn) {
                    NetworkKind::Unknown => name,
                    kind => format!("{name}, {kind}"),
                })
            }),
        },
    }),
};

fn number(value: &[u8]) -> u32 {
    value.try_into().map_or(0, u32::from_be_bytes)
}
