//! Fastly: two access lists and a dynamic VCL snippet of a service.
//!
//! The lists (`seawall` and `seawall_never`) and the snippet belong to a version of the service; their contents do not, and can be
//! changed without another version. So they are made once, by [`Provider::set_up`] and only when told to, and after that only
//! contents change. Who is never refused is asked first, as in the kernel's table.
//!
//! Sources: www.fastly.com/documentation/reference/api, ACL, ACL entry, VCL snippet, version, and rate limiting (1,000 changes an
//! hour; batches of 1,000 entries; 1,000 entries in a list by default).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use http::{Method, StatusCode};
use ipnet::IpNet;
use seawall_engine::decision::Rule;
use seawall_engine::units::Timestamp;
use serde_json::{Value, json};

use super::cloudflare::{text, unexpected};
use super::http::{Answer, Api, Content, EdgeError, Manner};
use super::plan::{Changes, Entry, Held, Installed, LeftOut, Note, Pool, Statement, Target};
use super::target::{Lengths, Wanted, entries, rule_name, spared, statements};
use super::{Limits, Provider, say};

/// Entries that are changed in one request, and that a page of a list has.
const BATCH_ENTRIES_MAX: usize = 1_000;
const PAGE_ENTRIES: usize = 100;

/// Networks that a list takes: any.
const LENGTHS: Lengths = Lengths { least_v4: 0, least_v6: 0 };

/// A snippet that does nothing.
const IDLE: &str = "# seawall refuses nobody";

/// Of the never-ban list, the most: a list of its own has as much room as the other.
const SPARED_MAX: usize = 1_000;

/// Fastly.
pub(super) struct Fastly {
    api: Api,
    service: String,
    name: String,
    limits: Limits,
    /// What is known of the service since it was last read.
    parts: Option<Parts>,
}

/// The parts of the active version that are ours, by their ids.
struct Parts {
    banned: String,
    spared: String,
    snippet: String,
}

/// What a version has of ours.
struct Found {
    banned: Option<String>,
    spared: Option<String>,
    snippet: Option<String>,
}

impl Fastly {
    pub(super) fn new(api: Api, service: &str, name: &str, limits: Limits) -> Self {
        Self { api, service: service.to_owned(), name: name.to_owned(), limits, parts: None }
    }

    fn path(&self, rest: &str) -> String {
        format!("/service/{}/{rest}", self.service)
    }

    fn spared_name(&self) -> String {
        format!("{}_never", self.name)
    }

    fn get(&mut self, rest: &str, tried: &str) -> Result<Answer, EdgeError> {
        self.api.call(&Method::GET, &self.path(rest), Content::None, tried)
    }

    /// The number of the version that is in force.
    fn active_version(&mut self) -> Result<u64, EdgeError> {
        let tried = "read the versions of the service";
        let answer = self.get("version", tried)?;
        let versions = answer.body.as_array().ok_or_else(|| unexpected(tried, "no list"))?;
        let active = versions.iter().find(|version| version.get("active").and_then(Value::as_bool) == Some(true));
        let number = active.and_then(|version| version.get("number")?.as_u64());
        number.ok_or_else(|| EdgeError::NotReady("the service has no active version: activate it first".to_owned()))
    }

    /// The id of a part of a version, by the name of the part.
    fn part(&mut self, version: u64, kind: &str, name: &str) -> Result<Option<String>, EdgeError> {
        let tried = format!("read the {kind} {name} of the service");
        match self.get(&format!("version/{version}/{kind}/{name}"), &tried) {
            Err(EdgeError::Answered { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
            Ok(Answer { body, .. }) => {
                let is_dynamic = body.get("dynamic").is_none_or(|dynamic| number(dynamic) == Some(1));
                if !is_dynamic {
                    return Err(EdgeError::NotReady(format!(
                        "the snippet {name} of the service is not dynamic, so it is somebody else's; name another with `name` in [edge]"
                    )));
                }
                let id = text(&body, "id").ok_or_else(|| unexpected(&tried, "no id"))?;
                Ok(Some(id.to_owned()))
            }
        }
    }

    fn find(&mut self, version: u64) -> Result<Found, EdgeError> {
        let (name, spared) = (self.name.clone(), self.spared_name());
        Ok(Found {
            banned: self.part(version, "acl", &name)?,
            spared: self.part(version, "acl", &spared)?,
            snippet: self.part(version, "snippet", &name)?,
        })
    }

    /// The parts; an error when they are not there.
    fn parts(&mut self) -> Result<&Parts, EdgeError> {
        let version = self.active_version()?;
        let Found { banned: Some(banned), spared: Some(spared), snippet: Some(snippet) } = self.find(version)? else {
            return Err(EdgeError::NotReady(format!(
                "the active version {version} of the service has not all of the access lists {} and {} and the snippet {}; \
                 `seawall edge set-up` adds them in a new version",
                self.name,
                self.spared_name(),
                self.name
            )));
        };
        Ok(self.parts.insert(Parts { banned, spared, snippet }))
    }

    fn read_entries(&mut self, pool: Pool, list: &str) -> Result<Vec<Entry>, EdgeError> {
        let tried = "read the access lists of the service";
        let mut found = Vec::new();
        let pages_max = 2 * self.limits.entries_max.max(SPARED_MAX).div_ceil(PAGE_ENTRIES) + 8;
        for page in 1..=pages_max {
            let answer = self.get(&format!("acl/{list}/entries?per_page={PAGE_ENTRIES}&page={page}"), tried)?;
            let entries = answer.body.as_array().ok_or_else(|| unexpected(tried, "no list"))?;
            for entry in entries {
                let id = text(entry, "id").ok_or_else(|| unexpected(tried, "an entry without id"))?;
                // One that takes somebody out of the list is none of ours.
                let is_plain = entry.get("negated").is_none_or(|negated| number(negated).unwrap_or(0) == 0);
                found.push(Entry {
                    pool,
                    id: id.to_owned(),
                    network: network(entry).filter(|_| is_plain),
                    note: Note::parse(text(entry, "comment").unwrap_or_default()),
                });
            }
            let links = answer.headers.get("link").and_then(|link| link.to_str().ok());
            let has_more = match links {
                Some(links) => links.contains("rel=\"next\""),
                None => entries.len() >= PAGE_ENTRIES,
            };
            if !has_more || entries.is_empty() {
                return Ok(found);
            }
        }
        Err(unexpected(tried, &format!("more than {pages_max} pages")))
    }

    fn change_entries(&mut self, changes: &Changes) -> Result<(), EdgeError> {
        let Some(parts) = &self.parts else { return Ok(()) };
        let lists = [(Pool::Spared, parts.spared.clone()), (Pool::Banned, parts.banned.clone())];
        for (pool, list) in lists {
            let removed = changes.removed.iter().filter(|entry| entry.pool == pool);
            let removed = removed.map(|entry| json!({ "op": "delete", "id": entry.id }));
            let added = changes.added.iter().filter(|added| added.pool == pool).map(|added| match &added.id {
                Some(id) => json!({ "op": "update", "id": id, "comment": added.note.to_string() }),
                None => {
                    let (address, length) = (added.network.addr(), added.network.prefix_len());
                    let comment = added.note.to_string();
                    json!({ "op": "create", "ip": address, "subnet": length, "negated": 0, "comment": comment })
                }
            });
            // What goes makes room for what comes.
            let operations: Vec<Value> = removed.chain(added).collect();
            for batch in operations.chunks(BATCH_ENTRIES_MAX) {
                let tried = format!("change {} entries of an access list", batch.len());
                let path = self.path(&format!("acl/{list}/entries"));
                self.api.call(&Method::PATCH, &path, Content::Json(json!({ "entries": batch })), &tried)?;
            }
        }
        Ok(())
    }

    fn change_snippet(&mut self, content: &str) -> Result<(), EdgeError> {
        let Some(parts) = &self.parts else { return Ok(()) };
        let path = self.path(&format!("snippet/{}", parts.snippet));
        let content = Content::Form(vec![("content", content.to_owned())]);
        self.api.call(&Method::PUT, &path, content, "change the snippet of the service").map(|_| ())
    }

    /// A copy of the active version with what is missing of ours.
    fn add_parts(&mut self, active: u64, found: &Found) -> Result<u64, EdgeError> {
        let tried = "copy the active version of the service";
        let path = self.path(&format!("version/{active}/clone"));
        let answer = self.api.call(&Method::PUT, &path, Content::None, tried)?;
        let version = answer.body.get("number").and_then(Value::as_u64);
        let version = version.ok_or_else(|| unexpected(tried, "no number of the copy"))?;
        let lists = [(&found.spared, self.spared_name()), (&found.banned, self.name.clone())];
        for (_, name) in lists.into_iter().filter(|(present, _)| present.is_none()) {
            let path = self.path(&format!("version/{version}/acl"));
            let tried = format!("add the access list {name} to the version {version} of the service");
            self.api.call(&Method::POST, &path, Content::Form(vec![("name", name)]), &tried)?;
        }
        if found.snippet.is_none() {
            let path = self.path(&format!("version/{version}/snippet"));
            let tried = format!("add the snippet {} to the version {version} of the service", self.name);
            let fields = [("name", self.name.as_str()), ("type", "recv"), ("dynamic", "1"), ("content", IDLE)];
            let fields = fields.map(|(name, value)| (name, value.to_owned())).to_vec();
            self.api.call(&Method::POST, &path, Content::Form(fields), &tried)?;
        }
        let tried = format!("check the version {version} of the service");
        let answer = self.get(&format!("version/{version}/validate"), &tried)?;
        if text(&answer.body, "status") != Some("ok") {
            let reason = text(&answer.body, "msg").unwrap_or("no reason is given");
            return Err(EdgeError::NotReady(format!(
                "Fastly finds fault with the version {version} of the service, a copy of {active} with the parts of the guard, and it is \
                 not activated: {reason}"
            )));
        }
        let path = self.path(&format!("version/{version}/activate"));
        self.api.call(&Method::PUT, &path, Content::None, &format!("activate the version {version} of the service"))?;
        Ok(version)
    }
}

impl Provider for Fastly {
    fn read(&mut self) -> Result<Installed, EdgeError> {
        let Parts { banned, spared, snippet } = self.parts()?;
        let (banned, spared, snippet) = (banned.clone(), spared.clone(), snippet.clone());
        let mut entries = self.read_entries(Pool::Spared, &spared)?;
        entries.extend(self.read_entries(Pool::Banned, &banned)?);
        let answer = self.get(&format!("snippet/{snippet}"), "read the snippet of the service")?;
        let content = text(&answer.body, "content").unwrap_or_default().to_owned();
        let beginning = format!("# {}: ", self.name);
        let rules = content.lines().filter(|line| line.trim_start().starts_with(&beginning)).count();
        let statement = Statement { name: self.name.clone(), text: content };
        let statements = vec![Held { id: snippet, statement, is_in_force: true }];
        Ok(Installed { entries, statements, rules, foreign_rules: 0 })
    }

    fn target(&self, wanted: &Wanted, _installed: &Installed, now: Timestamp) -> Target {
        let mut left_out = Vec::new();
        let mut entries = entries(wanted, &LENGTHS, self.limits.entries_max, now, &mut left_out);
        let no_room = format!("the snippet has room for {} rules (rules-max in [edge])", self.limits.rules_max);
        let say = |rule: &Rule| Ok(Statement { name: rule_name(&self.name, rule.id), text: say::vcl(rule)? });
        let mut rules = statements(wanted, self.limits.rules_max, &no_room, say, &mut left_out);
        let spared: BTreeMap<_, _> = spared(wanted).map(|network| ((Pool::Spared, network), Note::default())).collect();
        if spared.len() > SPARED_MAX && !(entries.is_empty() && rules.is_empty()) {
            // Better nobody is refused than somebody who never is to be.
            let why =
                format!("the never-ban list has {} networks, and an access list room for {SPARED_MAX}", spared.len());
            left_out = vec![LeftOut { what: "all bans and rules".to_owned(), why }];
            entries.clear();
            rules.clear();
        }
        let has_bans = !entries.is_empty();
        if has_bans || !rules.is_empty() {
            entries.extend(spared);
        }
        let text = self.snippet(has_bans, &rules);
        Target { entries, statements: vec![Statement { name: self.name.clone(), text }], left_out }
    }

    fn apply(&mut self, changes: &Changes) -> Result<(), EdgeError> {
        self.change_entries(changes)?;
        match changes.statements_changed.first() {
            Some((_, statement)) => self.change_snippet(&statement.text),
            None => Ok(()),
        }
    }

    fn clear(&mut self, installed: &Installed) -> Result<(), EdgeError> {
        // The one request by which nobody is refused any more.
        if installed.statements.iter().any(|held| held.statement.text != IDLE) {
            self.change_snippet(IDLE)?;
        }
        self.change_entries(&Changes { removed: installed.entries.clone(), ..Changes::default() })
    }

    fn set_up(&mut self) -> Result<String, EdgeError> {
        let active = self.active_version()?;
        let found = self.find(active)?;
        if let Found { banned: Some(_), spared: Some(_), snippet: Some(_) } = found {
            return Ok(format!("The active version {active} of the service has everything already."));
        }
        let version = self.add_parts(active, &found)?;
        Ok(format!(
            "The service now has the access lists {} and {} and the snippet {}, in its version {version}, which is active; the one \
             before was {active}.",
            self.name,
            self.spared_name(),
            self.name
        ))
    }

    fn api(&mut self) -> &mut Api {
        &mut self.api
    }
}

impl Fastly {
    /// What the snippet says. A request is looked at where it comes in, and not where it is passed on within Fastly, where the client
    /// is another of its machines.
    fn snippet(&self, has_bans: bool, rules: &[Statement]) -> String {
        if !has_bans && rules.is_empty() {
            return IDLE.to_owned();
        }
        let mut text = format!(
            "# Written by seawall, which overwrites what is changed here.\n\
             if (fastly.ff.visits_this_service == 0 && client.ip !~ {}) {{\n",
            self.spared_name()
        );
        if has_bans {
            text += &format!("  if (client.ip ~ {}) {{ error 403 \"Refused\"; }}\n", self.name);
        }
        for Statement { name, text: statement } in rules {
            text += &format!("  # {name}\n  {statement}\n");
        }
        text + "}"
    }
}

/// How Fastly wants to be asked.
pub(super) struct FastlyManner;

impl Manner for FastlyManner {
    fn authorization(&self, token: &str) -> (&'static str, String) {
        ("Fastly-Key", token.to_owned())
    }

    /// Its headers say what is left, of changes alone.
    fn budget(&self) -> Option<(usize, Duration)> {
        None
    }

    fn message(&self, body: &Value) -> (String, Option<u64>) {
        let parts: Vec<&str> = ["msg", "detail"].iter().filter_map(|name| text(body, name)).collect();
        (if parts.is_empty() { "without a reason".to_owned() } else { parts.join(": ") }, None)
    }

    fn advice(&self, status: StatusCode, _path: &str) -> Option<&'static str> {
        match status {
            StatusCode::UNAUTHORIZED => Some("the token is not known to Fastly, or it has ended"),
            StatusCode::FORBIDDEN => Some(
                "the token needs the scope global, of a user with the role engineer for this service (`service` in [edge])",
            ),
            StatusCode::NOT_FOUND => Some("is `service` in [edge] the number of your service?"),
            _ => None,
        }
    }
}

/// Numbers come as such or as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn network(entry: &Value) -> Option<IpNet> {
    let address: IpAddr = text(entry, "ip")?.parse().ok()?;
    match entry.get("subnet").filter(|subnet| !subnet.is_null()) {
        None => Some(IpNet::from(address)),
        Some(subnet) => IpNet::new(address, u8::try_from(number(subnet)?).ok()?).ok().map(|network| network.trunc()),
    }
}
