//! Fastly's versions, access lists and snippets, as www.fastly.com/documentation/reference/api describes them.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use seawall::host::clock::wall_clock;
use serde_json::{Value, json};

use super::{Api, Asked, Fake, Reply, TOKEN};

pub(crate) const SERVICE: &str = "SU1Z0isxPaozGVKXdv0eY";

/// The most operations in one batch.
const BATCH_MAX: usize = 1_000;

/// An entry of an access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) ip: String,
    pub(crate) subnet: Option<u64>,
    pub(crate) negated: bool,
    pub(crate) comment: String,
}

/// A version of the service: what it has, by name, with the ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    pub(crate) number: u64,
    pub(crate) is_active: bool,
    pub(crate) lists: BTreeMap<String, String>,
    pub(crate) snippets: BTreeMap<String, String>,
}

/// The service.
pub(crate) struct Fastly {
    pub(crate) versions: Vec<Version>,
    /// The entries of each list, by its id.
    pub(crate) entries: BTreeMap<String, Vec<Entry>>,
    /// The content of each snippet, by its id.
    pub(crate) contents: BTreeMap<String, String>,
    next: u32,
    /// Entries in a list at most.
    pub(crate) entries_max: usize,
    /// Entries of a page at most.
    pub(crate) page_max: usize,
    /// Changes that are left in this hour.
    pub(crate) changes_left: u64,
    /// Whether the check finds fault with a version.
    pub(crate) is_invalid: bool,
}

impl Fastly {
    /// With one version that has an access list of somebody else's.
    pub(crate) fn start() -> Fake<Self> {
        let lists = BTreeMap::from([("office".to_owned(), "a0".to_owned())]);
        let office = Entry {
            id: "e0".to_owned(),
            ip: "192.0.2.99".to_owned(),
            subnet: None,
            negated: false,
            comment: String::new(),
        };
        Fake::start(Self {
            versions: vec![Version { number: 7, is_active: true, lists, ..Version::default() }],
            entries: BTreeMap::from([("a0".to_owned(), vec![office])]),
            contents: BTreeMap::new(),
            next: 1,
            entries_max: 1_000,
            page_max: 100,
            changes_left: 1_000,
            is_invalid: false,
        })
    }

    pub(crate) fn active(&self) -> &Version {
        self.versions.iter().find(|version| version.is_active).expect("an active version")
    }

    /// The entries of a list of the active version, as text, sorted.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let entries = self.active().lists.get(name).and_then(|id| self.entries.get(id)).into_iter().flatten();
        let text = |entry: &Entry| match entry.subnet {
            Some(subnet) => format!("{}{}/{subnet}", if entry.negated { "!" } else { "" }, entry.ip),
            None => entry.ip.clone(),
        };
        let mut texts: Vec<String> = entries.map(text).collect();
        texts.sort_unstable();
        texts
    }

    /// The content of a snippet of the active version.
    pub(crate) fn snippet(&self, name: &str) -> &str {
        self.active().snippets.get(name).and_then(|id| self.contents.get(id)).map_or("", String::as_str)
    }

    pub(crate) fn id(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}{}", self.next)
    }

    fn version(&mut self, asked: &Asked<'_>, number: u64, rest: &[&str]) -> Reply {
        let Some(at) = self.versions.iter().position(|version| version.number == number) else { return not_found() };
        let version = self.versions[at].clone();
        match (asked.method, rest) {
            ("PUT", ["clone"]) => {
                let number = self.versions.iter().map(|version| version.number).max().unwrap_or(0) + 1;
                self.versions.push(Version { number, is_active: false, ..version });
                Reply::new(200, json!({ "number": number, "service_id": SERVICE, "active": false, "locked": false }))
            }
            ("GET", ["validate"]) if self.is_invalid => {
                Reply::new(200, json!({ "status": "error", "msg": "Syntax error at office.vcl line 3" }))
            }
            ("GET", ["validate"]) => Reply::new(200, json!({ "status": "ok", "msg": null })),
            ("PUT", ["activate"]) => {
                self.versions.iter_mut().for_each(|version| version.is_active = version.number == number);
                Reply::new(200, json!({ "number": number, "active": true, "locked": true }))
            }
            ("GET", ["acl", name]) => match version.lists.get(*name) {
                Some(id) => Reply::new(
                    200,
                    json!({ "id": id, "name": name, "service_id": SERVICE, "version": number.to_string() }),
                ),
                None => not_found(),
            },
            ("GET", ["snippet", name]) => match version.snippets.get(*name) {
                Some(id) => Reply::new(
                    200,
                    json!({ "id": id, "name": name, "dynamic": "1", "type": "recv", "content": null, "priority": "100" }),
                ),
                None => not_found(),
            },
            // What is in force is locked.
            ("POST", _) if version.is_active => bad(&format!("Version '{number}' is locked")),
            ("POST", ["acl"]) => {
                let (id, name) = (self.id("a"), field(asked, "name"));
                self.versions[at].lists.insert(name.clone(), id.clone());
                self.entries.insert(id.clone(), Vec::new());
                Reply::new(200, json!({ "id": id, "name": name }))
            }
            ("POST", ["snippet"]) if field(asked, "dynamic") == "1" && field(asked, "type") == "recv" => {
                let (id, name) = (self.id("s"), field(asked, "name"));
                self.versions[at].snippets.insert(name.clone(), id.clone());
                self.contents.insert(id.clone(), field(asked, "content"));
                Reply::new(200, json!({ "id": id, "name": name, "dynamic": 1, "content": null }))
            }
            _ => bad("no such request"),
        }
    }

    fn page(&self, asked: &Asked<'_>, list: &str) -> Reply {
        let Some(entries) = self.entries.get(list) else { return not_found() };
        let size = asked.number("per_page").unwrap_or(20).min(self.page_max);
        let page = asked.number("page").unwrap_or(1).max(1);
        let shown: Vec<Value> = entries
            .iter()
            .skip((page - 1) * size)
            .take(size)
            .map(|entry| {
                let negated = if entry.negated { "1" } else { "0" };
                json!({
                    "id": entry.id, "acl_id": list, "service_id": SERVICE, "ip": entry.ip, "subnet": entry.subnet,
                    "negated": negated, "comment": entry.comment,
                })
            })
            .collect();
        let is_last = page * size >= entries.len();
        let first = format!("<https://api.fastly.com/x?page=1&per_page={size}>; rel=\"first\"");
        let next = format!(", <https://api.fastly.com/x?page={}&per_page={size}>; rel=\"next\"", page + 1);
        Reply::new(200, json!(shown)).header("link", if is_last { first } else { first + &next })
    }

    fn batch(&mut self, asked: &Asked<'_>, list: &str) -> Reply {
        let body = asked.json();
        let operations = body["entries"].as_array().cloned().unwrap_or_default();
        if operations.len() > BATCH_MAX {
            return bad(&format!("Exceeding max batch size of {BATCH_MAX}"));
        }
        let Some(mut entries) = self.entries.get(list).cloned() else { return not_found() };
        for operation in operations {
            let text = |name: &str| operation[name].as_str().unwrap_or_default().to_owned();
            let place = entries.iter().position(|entry| entry.id == text("id"));
            match (operation["op"].as_str(), place) {
                (Some("create"), _) => {
                    let (subnet, negated) = (operation["subnet"].as_u64(), operation["negated"] == 1);
                    // Another of the same address is refused.
                    if entries.iter().any(|entry| entry.ip == text("ip") && entry.subnet == subnet) {
                        return bad("Duplicate record: the entry exists already");
                    }
                    entries.push(Entry { id: self.id("e"), ip: text("ip"), subnet, negated, comment: text("comment") });
                }
                (Some("update"), Some(place)) => entries[place].comment = text("comment"),
                (Some("delete"), Some(place)) => drop(entries.remove(place)),
                _ => return not_found(),
            }
        }
        if entries.len() > self.entries_max {
            return bad(&format!("Exceeding max_acl_entries: {}", self.entries_max));
        }
        self.entries.insert(list.to_owned(), entries);
        Reply::new(200, json!({ "status": "ok" }))
    }
}

impl Api for Fastly {
    fn answer(&mut self, asked: &Asked<'_>) -> Reply {
        if asked.header("fastly-key") != TOKEN {
            return Reply::new(401, json!({ "msg": "Provided credentials are missing or invalid" }));
        }
        if asked.method != "GET" {
            self.changes_left = self.changes_left.saturating_sub(1);
        }
        let path = asked.path.clone();
        let reply = match (asked.method, path.as_slice()) {
            (_, ["service", service, ..]) if *service != SERVICE => not_found(),
            ("GET", [_, _, "version"]) => {
                let version = |version: &Version| json!({ "number": version.number, "active": version.is_active, "locked": version.is_active });
                Reply::new(200, json!(self.versions.iter().map(version).collect::<Vec<_>>()))
            }
            (_, [_, _, "version", number, rest @ ..]) => self.version(asked, number.parse().unwrap_or(0), rest),
            ("GET", [_, _, "acl", list, "entries"]) => self.page(asked, list),
            ("PATCH", [_, _, "acl", list, "entries"]) => self.batch(asked, list),
            ("GET", [_, _, "snippet", id]) => match self.contents.get(*id) {
                Some(content) => {
                    Reply::new(200, json!({ "snippet_id": id, "service_id": SERVICE, "content": content }))
                }
                None => not_found(),
            },
            ("PUT", [_, _, "snippet", id]) if self.contents.contains_key(*id) => {
                self.contents.insert((*id).to_owned(), field(asked, "content"));
                Reply::new(200, json!({ "snippet_id": id, "content": field(asked, "content") }))
            }
            _ => not_found(),
        };
        let reset = (wall_clock().as_seconds() + 2).to_string();
        reply
            .header("fastly-ratelimit-remaining", self.changes_left.to_string())
            .header("fastly-ratelimit-reset", reset)
    }

    fn refusal(&self, status: u16) -> Value {
        json!({ "msg": format!("a fault of the test, {status}"), "detail": "" })
    }
}

fn field(asked: &Asked<'_>, name: &str) -> String {
    let form = String::from_utf8_lossy(asked.body).into_owned();
    let value = form.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
    let value = value.map(|(_, value)| value.to_owned()).unwrap_or_default();
    percent_decode_str(&value).decode_utf8_lossy().into_owned()
}

fn not_found() -> Reply {
    Reply::new(404, json!({ "msg": "Record not found", "detail": "Couldn't find it" }))
}

fn bad(detail: &str) -> Reply {
    Reply::new(400, json!({ "msg": "Bad request", "detail": detail }))
}
