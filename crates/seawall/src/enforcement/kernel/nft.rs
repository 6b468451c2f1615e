//! The kernel's table through `nft -j`: writing a transaction, reading the table back, running the program.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::units::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::table::{Changes, Installed, Place};
use crate::host::clock::Clock;

/// Where Debian keeps it, beside what PATH names: services often run without /usr/sbin.
const FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// The longest that one transaction may take. 100,000 elements take half a second.
const TIME_MAX: Duration = Duration::from_secs(10);

/// How often a running program is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// What is kept of an error message: nft quotes the whole command, which may be megabytes.
const MESSAGE_BYTES_MAX: u64 = 64 * 1024;
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// No listing of a table of ours is larger.
const LISTING_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The counters: packets and bytes dropped.
pub(crate) const COUNTERS: [&str; 2] = ["dropped_clients", "dropped_networks"];

/// The program.
#[derive(Clone, Debug)]
pub(crate) struct Nft {
    program: PathBuf,
}

/// Why a transaction or a reading failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NftError {
    /// The program is not there.
    #[error("nft is not installed (Debian's package nftables)")]
    Missing,
    /// It cannot be started, fed or waited for.
    #[error("failed to run {}: {error}", program.display())]
    Run { program: PathBuf, error: io::Error },
    /// It took too long and was ended.
    #[error("nft did not finish within {TIME_MAX:?} and was ended")]
    Slow,
    /// It said no.
    #[error("nft refused it: {message}")]
    Refused { message: String },
    /// The kernel said no to what was said to it directly.
    #[error("the kernel refused to change the elements of its table: {0}")]
    Elements(io::Error),
    /// What it printed cannot be read.
    #[error("failed to read what nft printed: {0}")]
    Listing(serde_json::Error),
}

impl NftError {
    /// Whether the table, or something in it, is not there.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Refused { message } if message.contains("No such file or directory"))
    }
}

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

/// Packets and bytes that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Dropped {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Nft {
    /// Finds the program.
    pub(crate) fn find() -> Result<Self, NftError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
        let program = folders.find_map(|folder| Some(folder.join("nft")).filter(|program| program.is_file()));
        program.map(|program| Self { program }).ok_or(NftError::Missing)
    }

    /// Makes the table anew, with these changes to an empty one in it but for those of its hashes ([`super::elements`]), in place of
    /// whatever was there under its name. In one transaction: no packet meets a table that is half made.
    pub(crate) fn rebuild(&self, table: &str, changes: &Changes, size: usize) -> Result<(), NftError> {
        let name = json!({ "family": "inet", "name": table });
        let mut batch = Batch::default();
        batch.push(&json!({ "add": { "table": &name } }));
        batch.push(&json!({ "delete": { "table": &name } }));
        for object in layout(table, size) {
            batch.push(&json!({ "add": object }));
        }
        batch.changes(table, changes);
        self.transact(batch)
    }

    /// Makes the changes but for those of the hashes, all or none.
    pub(crate) fn apply(&self, table: &str, changes: &Changes) -> Result<(), NftError> {
        let mut batch = Batch::default();
        batch.changes(table, changes);
        self.transact(batch)
    }

    /// Takes the table away, if it is there.
    pub(crate) fn remove(&self, table: &str) -> Result<(), NftError> {
        let name = json!({ "family": "inet", "name": table });
        let mut batch = Batch::default();
        // Deleting what is not there would be an error.
        batch.push(&json!({ "add": { "table": &name } }));
        batch.push(&json!({ "delete": { "table": &name } }));
        self.transact(batch)
    }

    /// Reads the table; none when there is none of that name.
    pub(crate) fn read(&self, table: &str, now: Timestamp) -> Result<Option<Found>, NftError> {
        match self.run(&["-j", "list", "table", "inet", table], None) {
            Ok(listing) => read(&listing, now).map(Some).map_err(NftError::Listing),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was dropped since the table was made. Unlike [`Self::read`] this costs the same however many are banned.
    pub(crate) fn dropped(&self, table: &str) -> Result<Dropped, NftError> {
        let listing = self.run(&["-j", "list", "counters", "table", "inet", table], None)?;
        let listing: Listing = serde_json::from_slice(&listing).map_err(NftError::Listing)?;
        let mut dropped = Dropped::default();
        for counter in listing.nftables.iter().filter_map(|object| object.get("counter")) {
            let number = |key: &str| counter.get(key).and_then(Value::as_u64).unwrap_or_default();
            dropped.packets += number("packets");
            dropped.bytes += number("bytes");
        }
        Ok(dropped)
    }

    /// The names of the tables of our family.
    pub(crate) fn tables(&self) -> Result<Vec<String>, NftError> {
        let listing = self.run(&["-j", "list", "tables", "inet"], None)?;
        let listing: Listing = serde_json::from_slice(&listing).map_err(NftError::Listing)?;
        let name = |object: &Value| object.get("table")?.get("name")?.as_str().map(str::to_owned);
        Ok(listing.nftables.iter().filter_map(name).collect())
    }

    fn transact(&self, batch: Batch) -> Result<(), NftError> {
        self.run(&["-j", "-f", "-"], Some(batch.finish())).map(|_| ())
    }

    /// Runs the program with this input and returns what it printed.
    fn run(&self, arguments: &[&str], input: Option<String>) -> Result<Vec<u8>, NftError> {
        let failed = |error| NftError::Run { program: self.program.clone(), error };
        let mut command = Command::new(&self.program);
        command.args(arguments).env("LC_ALL", "C");
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let clock = Clock::start();
        std::thread::scope(|scope| {
            // It may stop reading when it has found an error, which it then tells itself.
            scope.spawn(move || stdin.zip(input).map(|(mut stdin, input)| stdin.write_all(input.as_bytes())));
            let printed = scope.spawn(move || read_some(stdout, LISTING_BYTES_MAX));
            let said = scope.spawn(move || read_some(stderr, MESSAGE_BYTES_MAX));
            let status = loop {
                match child.try_wait() {
                    Ok(Some(status)) => break Ok(status),
                    Ok(None) if clock.uptime() > TIME_MAX => {
                        // It may have ended by itself in between.
                        let _ = child.kill();
                        let _ = child.wait();
                        break Err(NftError::Slow);
                    }
                    Ok(None) => std::thread::sleep(LOOK_INTERVAL),
                    Err(error) => break Err(failed(error)),
                }
            };
            let (printed, said) = (printed.join().unwrap_or_default(), said.join().unwrap_or_default());
            if status?.success() { Ok(printed) } else { Err(NftError::Refused { message: first_line(&said) }) }
        })
    }
}

/// Reads up to `bytes_max`, and what is beyond to nowhere, so that the program can end.
fn read_some(source: Option<impl io::Read>, bytes_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(source) = source {
        let mut source = source.take(bytes_max);
        // What could be read is what there is to tell.
        let _ = source.read_to_end(&mut bytes);
        let _ = io::copy(&mut source.into_inner(), &mut io::sink());
    }
    bytes
}

/// The first line of an error, without what could act on a terminal. Messages name the place and the reason; what follows is
/// the command itself, with addresses in it.
fn first_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().next().unwrap_or("it said nothing");
    line.chars().filter(|character| !character.is_control()).take(MESSAGE_CHARACTERS_MAX).collect()
}

/// Commands of one transaction. Elements are written as text, since building a hundred thousand values of them first takes
/// longer than everything else.
struct Batch {
    text: String,
}

impl Default for Batch {
    fn default() -> Self {
        Self { text: "{\"nftables\":[".to_owned() }
    }
}

impl Batch {
    fn push(&mut self, command: &Value) {
        self.separate();
        // Writing to a string cannot fail; here and below.
        let _ = write!(self.text, "{command}");
    }

    fn separate(&mut self) {
        if !self.text.ends_with('[') {
            self.text.push(',');
        }
    }

    fn finish(mut self) -> String {
        self.text.push_str("]}");
        self.text
    }

    fn changes(&mut self, table: &str, changes: &Changes) {
        let set = |name: &str| json!({ "family": "inet", "table": table, "name": name });
        if let Some(ports) = &changes.ports {
            self.push(&json!({ "flush": { "set": set("ports") } }));
            self.elements(table, "ports", ports.iter().map(ToString::to_string));
        }
        if let Some(never_ban) = &changes.never_ban {
            for (name, is_v4) in [("never4", true), ("never6", false)] {
                self.push(&json!({ "flush": { "set": set(name) } }));
                let networks = never_ban.iter().filter(|network| network.addr().is_ipv4() == is_v4);
                self.elements(table, name, networks.map(|network| prefix(*network)));
            }
        }
        for place in &changes.emptied {
            self.push(&json!({ "flush": { "set": set(place.name()) } }));
        }
        for (place, name) in Place::ALL.into_iter().filter(|(place, _)| place.is_tree()) {
            let added = changes.added.iter().filter(|(network, _)| Place::of(**network) == place);
            let added = added.map(|(network, duration)| {
                let (prefix, seconds) = (prefix(*network), duration.as_secs().max(1));
                format!("{{\"elem\":{{\"val\":{prefix},\"timeout\":{seconds}}}}}")
            });
            self.elements(table, name, added);
        }
    }

    fn elements(&mut self, table: &str, set: &str, elements: impl Iterator<Item = String>) {
        let mut elements = elements.peekable();
        if elements.peek().is_none() {
            return;
        }
        self.separate();
        let _ = write!(
            self.text,
            "{{\"add\":{{\"element\":{{\"family\":\"inet\",\"table\":\"{table}\",\"name\":\"{set}\",\"elem\":["
        );
        for (index, element) in elements.enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            self.text.push_str(&element);
        }
        self.text.push_str("]}}}");
    }
}

fn prefix(network: IpNet) -> String {
    format!("{{\"prefix\":{{\"addr\":\"{}\",\"len\":{}}}}}", network.addr(), network.prefix_len())
}

/// The table without elements, in the order in which it is made. Its chain lies before connection tracking and before the
/// ports of containers are translated, so that a dropped packet costs nearly nothing and containers are covered.
///
/// The sets of networks do not merge by themselves (`auto-merge`): nft would give neighbours one remaining time, whichever
/// comes first, and end a long ban with a short one.
fn layout(table: &str, size: usize) -> Vec<Value> {
    let set = |name: &str, kind: &str, flags: &[&str]| {
        let mut set = json!({ "family": "inet", "table": table, "name": name, "type": kind });
        if !flags.is_empty() {
            set["flags"] = json!(flags);
        }
        if name.starts_with("clients") {
            set["size"] = json!(size);
        }
        json!({ "set": set })
    };
    let lookup = |family: &str, set: &str| {
        json!({ "match": { "op": "==", "left": { "payload": { "protocol": family, "field": "saddr" } },
                           "right": format!("@{set}") } })
    };
    let lookup_64 = json!({ "match": { "op": "==", "left": { "&": [
        { "payload": { "protocol": "ip6", "field": "saddr" } }, "ffff:ffff:ffff:ffff::" ] }, "right": "@clients6" } });
    let foreign_port = json!({ "match": { "op": "!=", "left": { "payload": { "protocol": "th", "field": "dport" } },
                                          "right": "@ports" } });
    let rule = |expressions: Vec<Value>| json!({ "rule": { "family": "inet", "table": table, "chain": "guard", "expr": expressions } });
    let accept = || json!({ "accept": null });
    let [clients, networks] = COUNTERS;
    let drop =
        |lookup: Value, counter: &str| rule(vec![lookup, json!({ "counter": counter }), json!({ "drop": null })]);
    let mut objects = vec![json!({ "table": { "family": "inet", "name": table } })];
    for counter in COUNTERS {
        objects.push(json!({ "counter": { "family": "inet", "table": table, "name": counter } }));
    }
    objects.extend([
        set("ports", "inet_service", &[]),
        set("never4", "ipv4_addr", &["interval"]),
        set("never6", "ipv6_addr", &["interval"]),
        set("clients4", "ipv4_addr", &["timeout"]),
        set("clients6", "ipv6_addr", &["timeout"]),
        set("networks4", "ipv4_addr", &["interval", "timeout"]),
        set("networks6", "ipv6_addr", &["interval", "timeout"]),
        json!({ "chain": { "family": "inet", "table": table, "name": "guard", "type": "filter", "hook": "prerouting",
                           "prio": -300, "policy": "accept" } }),
        rule(vec![lookup("ip", "never4"), accept()]),
        rule(vec![lookup("ip6", "never6"), accept()]),
        // Without a comparison of the protocol: TCP, UDP and SCTP have their ports in one place, and what has none, as ICMP,
        // is kept out by the next line.
        rule(vec![
            json!({ "match": { "op": "!=", "left": { "meta": { "key": "l4proto" } }, "right": { "set": ["tcp", "udp"] } } }),
            accept(),
        ]),
        rule(vec![foreign_port, accept()]),
        drop(lookup("ip", "clients4"), clients),
        drop(lookup_64, clients),
        drop(lookup("ip", "networks4"), networks),
        drop(lookup("ip6", "networks6"), networks),
    ]);
    objects
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Value>,
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
fn read(listing: &[u8], now: Timestamp) -> Result<Found, serde_json::Error> {
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
    fn a_transaction_is_json_and_trees_are_written_whole() {
        let network = |text: &str| text.parse::<IpNet>().expect("a network");
        let changes = Changes {
            ports: Some([443].into()),
            never_ban: None,
            emptied: [Place::Networks4].into(),
            removed: [network("192.0.2.1/32")].into(),
            renewed: [network("2001:db8:1:2::/64")].into(),
            added: BTreeMap::from([
                (network("203.0.113.0/24"), Duration::from_secs(60)),
                (network("2001:db8:1:2::/64"), Duration::from_millis(1_500)),
            ]),
        };
        let mut batch = Batch::default();
        batch.changes("seawall", &changes);
        let text = batch.finish();
        let value: Value = serde_json::from_str(&text).expect("JSON");
        insta::assert_snapshot!(serde_json::to_string_pretty(&value["nftables"]).expect("JSON"));
    }

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

    #[test]
    fn an_error_is_one_short_line_without_the_command() {
        let said = format!("internal:0:0-0: Error: No such\x1b[2J file\nadd element {}\n", "192.0.2.1, ".repeat(9_999));
        assert_eq!(first_line(said.as_bytes()), "internal:0:0-0: Error: No such[2J file");
        assert_eq!(first_line(b""), "it said nothing");
    }
}
