//! What `nft -j` lists of a table.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::units::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::table::{Installed, Place};

/// How the table is laid out, apart from what is in its sets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout(Vec<(String, serde_json::Map<String, Value>)>);

/// What a table was found to be.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) layout: Layout,
    pub(crate) installed: Installed,
    /// Elements that are none that we write, as ranges: their set is to be written anew.
    pub(crate) is_foreign: bool,
}

/// The listing of a table. Elements of its sets are read as they come: as values, a hundred thousand take a hundred megabytes.
#[derive(Deserialize)]
struct TableListing {
    nftables: Vec<BTreeMap<String, Object>>,
}

/// What an object of a table holds, its elements apart.
struct Object {
    fields: serde_json::Map<String, Value>,
    elements: Vec<Element>,
}

/// An element of a set, as far as it is one that we write.
struct Element {
    given: Option<Given>,
    /// What is left of its time.
    seconds: Option<u64>,
}

enum Given {
    Port(u16),
    Address(IpAddr),
    Network(IpNet),
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object of a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Object { fields: serde_json::Map::new(), elements: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    if name == "elem" {
                        object.elements = map.next_value::<Elements>()?.0;
                    } else {
                        object.fields.insert(name, map.next_value()?);
                    }
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

struct Elements(Vec<Element>);

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Elements;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("the elements of a set")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Elements, A::Error> {
                let mut elements = Vec::new();
                while let Some(value) = list.next_element::<Value>()? {
                    elements.push(Element::read(&value));
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Each)
    }
}

impl Element {
    fn read(element: &Value) -> Self {
        match element.get("elem") {
            Some(timed) => Self {
                given: timed.get("val").and_then(Given::read),
                seconds: timed.get("expires").and_then(Value::as_u64),
            },
            None => Self { given: Given::read(element), seconds: None },
        }
    }
}

impl Given {
    fn read(value: &Value) -> Option<Self> {
        if let Some(number) = value.as_u64() {
            return u16::try_from(number).ok().map(Self::Port);
        }
        if let Some(prefix) = value.get("prefix") {
            let address: IpAddr = prefix.get("addr")?.as_str()?.parse().ok()?;
            let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
            return IpNet::new(address, length).ok().map(Self::Network);
        }
        value.as_str()?.parse().ok().map(Self::Address)
    }
}

/// Reads a listing of the whole table.
pub(super) fn read(listing: &[u8], now: Timestamp) -> Result<Found, serde_json::Error> {
    let listing: TableListing = serde_json::from_slice(listing)?;
    let mut found = Found { layout: Layout(Vec::new()), installed: Installed::default(), is_foreign: false };
    for (kind, Object { mut fields, elements }) in listing.nftables.into_iter().flatten() {
        if kind == "metainfo" {
            continue;
        }
        let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
        for element in &elements {
            found.is_foreign |= found.installed.take(name, element, now).is_none();
        }
        for volatile in ["handle", "packets", "bytes"] {
            fields.remove(volatile);
        }
        found.layout.0.push((kind, fields));
    }
    Ok(found)
}

impl Installed {
    /// Takes in what was found in a set; none when it is nothing that we put there.
    fn take(&mut self, set: &str, element: &Element, now: Timestamp) -> Option<()> {
        let network = match element.given.as_ref()? {
            Given::Port(port) if set == "ports" => {
                self.ports.insert(*port);
                return Some(());
            }
            Given::Port(_) => return None,
            Given::Network(network) => *network,
            Given::Address(address) => {
                let length = if set == "clients6" { 64 } else { IpNet::from(*address).max_prefix_len() };
                IpNet::new(*address, length).ok()?
            }
        };
        if set.starts_with("never") {
            self.never_ban.insert(network);
            return Some(());
        }
        // Elements of the wrong set, or without an end, are none of ours.
        let until = now + Duration::from_secs(element.seconds?);
        (Place::of(network).name() == set).then(|| self.insert(network, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    #[test]
    fn elements_of_others_are_known_for_such() {
        let listing = |elements: &str, set: &str| {
            format!("{{\"nftables\":[{{\"metainfo\":{{}}}},{{\"set\":{{\"name\":\"{set}\",\"elem\":[{elements}]}}}}]}}")
        };
        let timed = |value: &str| format!("{{\"elem\":{{\"val\":{value},\"timeout\":60,\"expires\":59}}}}");
        for (set, elements, is_foreign) in [
            ("clients4", timed("\"192.0.2.1\""), false),
            ("clients4", "\"192.0.2.1\"".to_owned(), true),
            ("networks4", timed("{\"prefix\":{\"addr\":\"192.0.2.0\",\"len\":24}}"), false),
            ("networks4", timed("{\"range\":[\"192.0.2.0\",\"192.0.2.9\"]}"), true),
            ("networks4", timed("\"192.0.2.1\""), true),
            ("clients6", timed("\"2001:db8:1:2::\""), false),
            ("never4", "\"192.0.2.1\"".to_owned(), false),
            ("ports", "80".to_owned(), false),
            ("ports", "{\"range\":[1,9]}".to_owned(), true),
            ("ports", "\"\\u001b[2J\"".to_owned(), true),
        ] {
            let found = read(listing(&elements, set).as_bytes(), NOW).expect("a listing");
            assert_eq!(found.is_foreign, is_foreign, "{set} {elements}");
        }
        assert!(read(b"no JSON", NOW).is_err());
    }
}
