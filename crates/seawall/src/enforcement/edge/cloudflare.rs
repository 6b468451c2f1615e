//! Cloudflare: one list of the account, and custom rules of the zone, through the lists and rulesets API.
//!
//! The list is the one of our name; rules are ours whose descriptions begin with the name and a colon. Rules are changed one by
//! one, by their ids, so that those of others and the order of all stay as they are. Items of a list are changed by operations
//! that Cloudflare carries out later, one at a time in an account: each is waited for.
//!
//! Sources: developers.cloudflare.com, Lists API, Rulesets API, and the limits of both (1,200 requests in five minutes; a
//! million changes of items in twelve hours; expressions of 4,096 characters).

use std::time::Duration;

use http::{Method, StatusCode};
use ipnet::IpNet;
use seawall_engine::units::Timestamp;
use serde_json::{Value, json};

use super::http::{Answer, Api, Content, EdgeError, Manner};
use super::plan::{Changes, Entry, Held, Installed, LeftOut, Note, Pool, Statement, Target};
use super::target::{Lengths, Wanted, entries, rule_name, spared, statements};
use super::{Limits, Provider, say};
use crate::export::short;

/// The phase of custom rules.
const PHASE: &str = "http_request_firewall_custom";

/// The longest expression.
const EXPRESSION_CHARACTERS_MAX: usize = 4_096;

/// Networks that a list takes.
const LENGTHS: Lengths = Lengths { least_v4: 8, least_v6: 12 };

/// Half of what a user may send: his other programs are counted with the guard.
const REQUESTS_MAX: usize = 600;
const REQUESTS_WINDOW: Duration = Duration::from_secs(300);

/// Items of a page, the most that there can be.
const PAGE_ITEMS: usize = 500;

/// Items that are changed in one operation.
const OPERATION_ITEMS_MAX: usize = 1_000;

/// How often an operation is asked for: at first soon, since most are done at once, then less often.
const POLL_MIN: Duration = Duration::from_millis(200);
const POLL_MAX: Duration = Duration::from_secs(3);

/// How long an operation may take before it is given up; it may still be done.
const OPERATION_TIME_MAX: Duration = Duration::from_secs(60);

/// There is no entry point: nobody has made a custom rule yet.
const NO_ENTRY_POINT: u64 = 10_003;

/// Cloudflare.
pub(super) struct Cloudflare {
    api: Api,
    account: String,
    zone: String,
    name: String,
    limits: Limits,
    /// What is known of the account and the zone since they were last read.
    list: Option<String>,
    ruleset: Option<String>,
}

impl Cloudflare {
    pub(super) fn new(api: Api, account: &str, zone: &str, name: &str, limits: Limits) -> Self {
        let (account, zone, name) = (account.to_owned(), zone.to_owned(), name.to_owned());
        Self { api, account, zone, name, limits, list: None, ruleset: None }
    }

    fn lists(&self) -> String {
        format!("/accounts/{}/rules/lists", self.account)
    }

    fn rules(&self, ruleset: &str) -> String {
        format!("/zones/{}/rulesets/{ruleset}/rules", self.zone)
    }

    /// What the rule is called that refuses who is on the list.
    fn bans_name(&self) -> String {
        format!("{}: bans", self.name)
    }

    fn read_list(&mut self) -> Result<Vec<Entry>, EdgeError> {
        let tried = "read the lists of the account";
        let lists = self.lists();
        let answer = self.api.call(&Method::GET, &lists, Content::None, tried)?;
        let found = results(&answer, tried)?;
        let of_name = |list: &&Value| text(list, "name") == Some(&self.name);
        let Some(list) = found.iter().find(of_name) else {
            self.list = None;
            return Ok(Vec::new());
        };
        if text(list, "kind") != Some("ip") {
            return Err(EdgeError::NotReady(format!(
                "the list {} of the account is no list of addresses, so it is somebody else's; name another with `name` in [edge]",
                self.name
            )));
        }
        let id = text(list, "id").ok_or_else(|| unexpected(tried, "a list without id"))?.to_owned();
        let entries = self.read_items(&id)?;
        self.list = Some(id);
        Ok(entries)
    }

    fn read_items(&mut self, list: &str) -> Result<Vec<Entry>, EdgeError> {
        let tried = format!("read the list {}", self.name);
        let mut entries = Vec::new();
        let mut cursor: Option<String> = None;
        // Others may fill the list while it is read; that it ends is not up to them.
        let pages_max = 2 * self.limits.entries_max.div_ceil(PAGE_ITEMS) + 8;
        for _ in 0..pages_max {
            let page = cursor.as_deref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let path = format!("{}/{list}/items?per_page={PAGE_ITEMS}{page}", self.lists());
            let answer = self.api.call(&Method::GET, &path, Content::None, &tried)?;
            for item in results(&answer, &tried)? {
                let id = text(item, "id").ok_or_else(|| unexpected(&tried, "an item without id"))?;
                entries.push(Entry {
                    pool: Pool::Banned,
                    id: id.to_owned(),
                    network: text(item, "ip").and_then(network),
                    note: Note::parse(text(item, "comment").unwrap_or_default()),
                });
            }
            let after = answer.body.pointer("/result_info/cursors/after").and_then(Value::as_str);
            let after = after.filter(|after| !after.is_empty() && after.bytes().all(is_cursor)).map(str::to_owned);
            if after.is_none() {
                return Ok(entries);
            }
            cursor = after;
        }
        Err(unexpected(&tried, &format!("more than {pages_max} pages")))
    }

    fn read_rules(&mut self) -> Result<(Vec<Held>, usize), EdgeError> {
        let tried = "read the custom rules of the zone";
        let path = format!("/zones/{}/rulesets/phases/{PHASE}/entrypoint", self.zone);
        let answer = match self.api.call(&Method::GET, &path, Content::None, tried) {
            Err(EdgeError::Answered { code: Some(NO_ENTRY_POINT), .. }) => {
                self.ruleset = None;
                return Ok((Vec::new(), 0));
            }
            answer => answer?,
        };
        let ruleset = answer.body.get("result").ok_or_else(|| unexpected(tried, "no ruleset"))?;
        self.ruleset = Some(text(ruleset, "id").ok_or_else(|| unexpected(tried, "a ruleset without id"))?.to_owned());
        let empty = Vec::new();
        // A ruleset without rules may have no array of them either.
        let rules = ruleset.get("rules").and_then(Value::as_array).unwrap_or(&empty);
        let beginning = format!("{}:", self.name);
        let is_ours = |rule: &&Value| text(rule, "description").is_some_and(|text| text.starts_with(&beginning));
        let held = |rule: &Value| {
            Some(Held {
                id: text(rule, "id")?.to_owned(),
                statement: Statement {
                    name: text(rule, "description")?.to_owned(),
                    text: text(rule, "expression")?.to_owned(),
                },
                is_in_force: text(rule, "action") == Some("block")
                    && rule.get("enabled").and_then(Value::as_bool).unwrap_or(true),
            })
        };
        let ours: Option<Vec<Held>> = rules.iter().filter(is_ours).map(held).collect();
        let ours = ours.ok_or_else(|| unexpected(tried, "a rule without id or expression"))?;
        let others = rules.len() - ours.len();
        Ok((ours, others))
    }

    /// The list, made if it is not there.
    fn ensure_list(&mut self) -> Result<String, EdgeError> {
        if let Some(list) = &self.list {
            return Ok(list.clone());
        }
        let tried = format!("make the list {}", self.name);
        let content = json!({ "name": self.name, "kind": "ip", "description": "who is banned by seawall" });
        let answer = self.api.call(&Method::POST, &self.lists(), Content::Json(content), &tried)?;
        let id = answer.body.pointer("/result/id").and_then(Value::as_str);
        let id = id.ok_or_else(|| unexpected(&tried, "a list without id"))?.to_owned();
        self.list = Some(id.clone());
        Ok(id)
    }

    fn change_rules(&mut self, changes: &Changes) -> Result<(), EdgeError> {
        let body = |statement: &Statement| {
            json!({
                "action": "block",
                "description": statement.name,
                "enabled": true,
                "expression": statement.text,
            })
        };
        if let Some(ruleset) = self.ruleset.clone() {
            for held in &changes.statements_removed {
                let tried = format!("remove the custom rule {:?}", held.statement.name);
                let path = format!("{}/{}", self.rules(&ruleset), held.id);
                gone(self.api.call(&Method::DELETE, &path, Content::None, &tried))?;
            }
            for (id, statement) in &changes.statements_changed {
                let tried = format!("change the custom rule {:?}", statement.name);
                let path = format!("{}/{id}", self.rules(&ruleset));
                self.api.call(&Method::PATCH, &path, Content::Json(body(statement)), &tried)?;
            }
        }
        for statement in &changes.statements_added {
            let tried = format!("add the custom rule {:?}", statement.name);
            if let Some(ruleset) = &self.ruleset {
                let path = self.rules(ruleset);
                self.api.call(&Method::POST, &path, Content::Json(body(statement)), &tried)?;
                continue;
            }
            let path = format!("/zones/{}/rulesets", self.zone);
            let content = json!({ "name": "default", "kind": "zone", "phase": PHASE, "rules": [body(statement)] });
            let answer = self.api.call(&Method::POST, &path, Content::Json(content), &tried)?;
            self.ruleset = answer.body.pointer("/result/id").and_then(Value::as_str).map(str::to_owned);
        }
        Ok(())
    }

    fn change_items(&mut self, changes: &Changes) -> Result<(), EdgeError> {
        if let Some(list) = self.list.clone() {
            let path = format!("{}/{list}/items", self.lists());
            for removed in changes.removed.chunks(OPERATION_ITEMS_MAX) {
                let items: Vec<Value> = removed.iter().map(|entry| json!({ "id": entry.id })).collect();
                let tried = format!("remove {} entries from the list {}", removed.len(), self.name);
                let content = Content::Json(json!({ "items": items }));
                let begun = self.api.call(&Method::DELETE, &path, content, &tried)?;
                self.wait_for(&begun, &tried)?;
            }
        }
        for added in changes.added.chunks(OPERATION_ITEMS_MAX) {
            let path = format!("{}/{}/items", self.lists(), self.ensure_list()?);
            // An item of the same address is merged with what is there, so a comment that changes is written in the same way.
            let item = |network: IpNet, note: Note| json!({ "ip": short(network), "comment": note.to_string() });
            let items: Vec<Value> = added.iter().map(|added| item(added.network, added.note)).collect();
            let tried = format!("put {} entries into the list {}", added.len(), self.name);
            let begun = self.api.call(&Method::POST, &path, Content::Json(Value::Array(items)), &tried)?;
            self.wait_for(&begun, &tried)?;
        }
        Ok(())
    }

    /// Waits until an operation is done.
    fn wait_for(&mut self, begun: &Answer, tried: &str) -> Result<(), EdgeError> {
        let operation = begun.body.pointer("/result/operation_id").and_then(Value::as_str);
        let operation = operation.filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        let operation = operation.ok_or_else(|| unexpected(tried, "no operation_id"))?.to_owned();
        let path = format!("{}/bulk_operations/{operation}", self.lists());
        let until = self.api.now() + OPERATION_TIME_MAX;
        let mut pause = POLL_MIN;
        loop {
            let answer = self.api.call(&Method::GET, &path, Content::None, tried)?;
            let result = answer.body.get("result").unwrap_or(&Value::Null);
            match text(result, "status") {
                Some("completed") => return Ok(()),
                Some("failed") => {
                    let reason = text(result, "error").unwrap_or("no reason is given").to_owned();
                    let reason = format!("Cloudflare took the operation {operation} and it failed: {reason}");
                    return Err(EdgeError::Unreachable { tried: tried.to_owned(), reason });
                }
                Some("pending" | "running") if self.api.now() < until => self.api.pause(pause)?,
                Some("pending" | "running") => {
                    let seconds = OPERATION_TIME_MAX.as_secs();
                    let reason = format!("the operation {operation} was not done after {seconds} s");
                    return Err(EdgeError::Unreachable { tried: tried.to_owned(), reason });
                }
                other => return Err(unexpected(tried, &format!("an operation of status {other:?}"))),
            }
            pause = (pause * 2).min(POLL_MAX);
        }
    }
}

impl Provider for Cloudflare {
    fn read(&mut self) -> Result<Installed, EdgeError> {
        let entries = self.read_list()?;
        let (statements, foreign_rules) = self.read_rules()?;
        let of_bans = self.bans_name();
        let rules = statements.iter().filter(|held| held.statement.name != of_bans).count();
        Ok(Installed { entries, statements, rules, foreign_rules })
    }

    fn target(&self, wanted: &Wanted, installed: &Installed, now: Timestamp) -> Target {
        let mut left_out = Vec::new();
        let spared: Vec<IpNet> = spared(wanted).collect();
        let room = self.limits.rules_max.saturating_sub(installed.foreign_rules);
        let no_room = format!(
            "the zone has room for {} custom rules (rules-max in [edge]), of which others have {}",
            self.limits.rules_max, installed.foreign_rules
        );
        let mut entries = entries(wanted, &LENGTHS, self.limits.entries_max, now, &mut left_out);
        let mut found = Vec::new();
        if !entries.is_empty() {
            // Only of banned networks can somebody be spared.
            let within = |network: &IpNet| entries.keys().any(|(_, banned)| banned.contains(network));
            let inside: Vec<IpNet> = spared.iter().copied().filter(within).collect();
            let expression = unless(&format!("ip.src in ${}", self.name), &inside);
            match expression.filter(|_| room > 0) {
                Some(text) => found.push(Statement { name: self.bans_name(), text }),
                None => {
                    let why = if room == 0 { no_room.clone() } else { too_long() };
                    left_out.clear();
                    left_out.push(LeftOut { what: "all bans".to_owned(), why });
                    entries.clear();
                }
            }
        }
        let say = |rule: &seawall_engine::decision::Rule| {
            let text = unless(&say::cloudflare(rule)?, &spared).ok_or_else(too_long)?;
            Ok(Statement { name: rule_name(&self.name, rule.id), text })
        };
        found.extend(statements(wanted, room - found.len(), &no_room, say, &mut left_out));
        Target { entries, statements: found, left_out }
    }

    fn apply(&mut self, changes: &Changes) -> Result<(), EdgeError> {
        // A rule may only name a list that is there.
        if !changes.added.is_empty() {
            self.ensure_list()?;
        }
        // Who is spared stands in the rules, so they come first.
        self.change_rules(changes)?;
        self.change_items(changes)
    }

    fn clear(&mut self, installed: &Installed) -> Result<(), EdgeError> {
        let statements_removed = installed.statements.clone();
        self.change_rules(&Changes { statements_removed, ..Changes::default() })?;
        let Some(list) = self.list.take() else { return Ok(()) };
        // Its items go with it, so that nothing need be waited for.
        let tried = format!("remove the list {}", self.name);
        gone(self.api.call(&Method::DELETE, &format!("{}/{list}", self.lists()), Content::None, &tried))
    }

    fn set_up(&mut self) -> Result<String, EdgeError> {
        self.read()?;
        Ok("Cloudflare needs no set-up: the list and the rules are made when there is something to refuse.".to_owned())
    }

    fn api(&mut self) -> &mut Api {
        &mut self.api
    }
}

/// What holds of `condition`, unless the client is one of these; nothing if that is too long.
fn unless(condition: &str, spared: &[IpNet]) -> Option<String> {
    let text = if spared.is_empty() {
        format!("({condition})")
    } else {
        let networks: Vec<String> = spared.iter().map(|network| short(*network)).collect();
        format!("({condition} and not ip.src in {{{}}})", networks.join(" "))
    };
    (text.chars().count() <= EXPRESSION_CHARACTERS_MAX).then_some(text)
}

fn too_long() -> String {
    format!("with who is never refused it is longer than the {EXPRESSION_CHARACTERS_MAX} characters of an expression")
}

/// What was to be removed and is not there is removed.
fn gone(answer: Result<Answer, EdgeError>) -> Result<(), EdgeError> {
    match answer {
        Ok(_) | Err(EdgeError::Answered { status: 404, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// How Cloudflare wants to be asked.
pub(super) struct CloudflareManner;

impl Manner for CloudflareManner {
    fn authorization(&self, token: &str) -> (&'static str, String) {
        ("Authorization", format!("Bearer {token}"))
    }

    fn budget(&self) -> Option<(usize, Duration)> {
        Some((REQUESTS_MAX, REQUESTS_WINDOW))
    }

    fn message(&self, body: &Value) -> (String, Option<u64>) {
        let errors = body.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let messages: Vec<&str> = errors.iter().filter_map(|error| text(error, "message")).collect();
        let code = errors.first().and_then(|error| error.get("code")?.as_u64());
        (if messages.is_empty() { "without a reason".to_owned() } else { messages.join("; ") }, code)
    }

    fn advice(&self, status: StatusCode, path: &str) -> Option<&'static str> {
        let is_account = path.starts_with("/accounts/");
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_account => {
                Some("the token needs the permission Account Filter Lists: Edit for this account (`account` in [edge])")
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Some("the token needs the permission Zone WAF: Edit for this zone (`zone` in [edge])")
            }
            StatusCode::NOT_FOUND if is_account => Some("is `account` in [edge] the number of your account?"),
            StatusCode::NOT_FOUND => Some("is `zone` in [edge] the number of your zone?"),
            _ => None,
        }
    }
}

fn results<'a>(answer: &'a Answer, tried: &str) -> Result<&'a [Value], EdgeError> {
    match answer.body.get("result") {
        Some(Value::Array(results)) => Ok(results),
        // An account without lists, a list without items.
        Some(Value::Null) => Ok(&[]),
        _ => Err(unexpected(tried, "no result")),
    }
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

pub(super) fn unexpected(tried: &str, found: &str) -> EdgeError {
    EdgeError::Unexpected { tried: tried.to_owned(), found: found.to_owned() }
}

/// An address or a network.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let address = text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    address.or_else(|| text.parse().ok()).map(|network: IpNet| network.trunc())
}

/// What may stand in a query as it came.
fn is_cursor(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~=".contains(&byte)
}
