//! Cloudflare's lists and rulesets, as developers.cloudflare.com/api describes them.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Api, Asked, Fake, Reply, TOKEN};

pub(crate) const ACCOUNT: &str = "023e105f4ecef8ad9ca31a8372d0c353";
pub(crate) const ZONE: &str = "9a7806061c88ada191ed06f989cc3dac";

/// The limits of the free plan.
const RULES_MAX: usize = 5;
const EXPRESSION_CHARACTERS_MAX: usize = 4_096;

/// An item of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) ip: String,
    pub(crate) comment: String,
}

/// A custom rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) description: String,
    pub(crate) expression: String,
    pub(crate) action: String,
    pub(crate) enabled: bool,
}

/// A change of items that is not yet made.
enum Change {
    Add(Vec<(String, String)>),
    Remove(Vec<String>),
}

struct Operation {
    change: Option<Change>,
    /// How often it is asked for before it is done.
    polls: usize,
    error: Option<String>,
}

/// What others do between two requests of the guard.
type Meddling = Box<dyn FnMut(&mut Cloudflare) + Send>;

/// The account and its zone.
pub(crate) struct Cloudflare {
    /// The list, as (id, name), once there is one.
    pub(crate) list: Option<(String, String)>,
    pub(crate) items: Vec<Item>,
    /// The custom rules, once there is an entry point.
    pub(crate) rules: Option<Vec<Rule>>,
    operations: HashMap<String, Operation>,
    next: u32,
    /// Items of a page.
    pub(crate) page_max: usize,
    /// Whether each page begins with the last item of the one before.
    pub(crate) repeats: bool,
    /// Whether operations fail.
    pub(crate) operations_fail: bool,
    /// Items in the list at most.
    pub(crate) items_max: usize,
    /// What the token may not: `lists` or `waf`.
    pub(crate) forbidden: Option<&'static str>,
    /// Done once, after an operation is over.
    pub(crate) meddling: Option<Meddling>,
}

impl Cloudflare {
    pub(crate) fn start() -> Fake<Self> {
        Fake::start(Self {
            list: None,
            items: Vec::new(),
            rules: None,
            operations: HashMap::new(),
            next: 1,
            page_max: 500,
            repeats: false,
            operations_fail: false,
            items_max: 10_000,
            forbidden: None,
            meddling: None,
        })
    }

    /// With a list that another guard has left, and these items.
    pub(crate) fn leave(&mut self, ips: &[&str]) {
        self.list = Some(("l0".to_owned(), "seawall".to_owned()));
        for ip in ips {
            let id = self.id("i");
            self.items.push(Item { id, ip: (*ip).to_owned(), comment: "until 2020-01-01T00:00:00Z".to_owned() });
        }
    }

    /// With these rules of others.
    pub(crate) fn with_others(&mut self, descriptions: &[&str]) {
        let rules = descriptions.iter().map(|description| Rule {
            id: self.id("r"),
            description: (*description).to_owned(),
            expression: "(http.host eq \"old.example\")".to_owned(),
            action: "managed_challenge".to_owned(),
            enabled: true,
        });
        self.rules = Some(rules.collect());
    }

    /// The addresses in the list, sorted.
    pub(crate) fn ips(&self) -> Vec<&str> {
        let mut ips: Vec<&str> = self.items.iter().map(|item| item.ip.as_str()).collect();
        ips.sort_unstable();
        ips
    }

    /// What the rules are called, in their order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.rules.iter().flatten().map(|rule| rule.description.as_str()).collect()
    }

    pub(crate) fn rule(&self, description: &str) -> Option<&Rule> {
        self.rules.iter().flatten().find(|rule| rule.description == description)
    }

    pub(crate) fn id(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}{}", self.next)
    }

    fn lists(&mut self, asked: &Asked<'_>, rest: &[&str]) -> Reply {
        let lists = |cloudflare: &Self| -> Vec<Value> {
            let items = cloudflare.items.len();
            cloudflare
                .list
                .iter()
                .map(|(id, name)| json!({ "id": id, "name": name, "kind": "ip", "num_items": items }))
                .collect()
        };
        match (asked.method, rest) {
            ("GET", []) => done(&json!(lists(self))),
            ("POST", []) => {
                if self.list.is_some() {
                    return refused(400, 10_019, "maximum number of lists reached");
                }
                let (id, name) = (self.id("l"), asked.json()["name"].as_str().unwrap_or_default().to_owned());
                self.list = Some((id, name));
                done(&lists(self).remove(0))
            }
            ("GET", ["bulk_operations", id]) => self.operation(id),
            (method, [list, rest @ ..]) => {
                if self.list.as_ref().is_none_or(|(id, _)| id != list) {
                    return refused(404, 10_001, "list not found");
                }
                match (method, rest) {
                    ("DELETE", []) => self.delete_list(),
                    ("GET", ["items"]) => self.page(asked),
                    ("POST", ["items"]) => {
                        let item = |item: &Value| {
                            let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
                            (text("ip"), text("comment"))
                        };
                        let items = asked.json().as_array().into_iter().flatten().map(item).collect();
                        self.begin(Change::Add(items))
                    }
                    ("DELETE", ["items"]) => {
                        let body = asked.json();
                        let ids = body["items"].as_array().into_iter().flatten();
                        let ids = ids.filter_map(|item| Some(item["id"].as_str()?.to_owned())).collect();
                        self.begin(Change::Remove(ids))
                    }
                    _ => refused(405, 10_000, "method not allowed"),
                }
            }
            _ => refused(405, 10_000, "method not allowed"),
        }
    }

    fn delete_list(&mut self) -> Reply {
        let name = self.list.as_ref().map(|(_, name)| format!("${name}")).unwrap_or_default();
        if self.rules.iter().flatten().any(|rule| rule.expression.contains(&name)) {
            return refused(400, 10_021, "list is referenced by a filter");
        }
        self.list = None;
        self.items.clear();
        done(&json!({ "id": "gone" }))
    }

    fn page(&mut self, asked: &Asked<'_>) -> Reply {
        // What nobody asks for any more is done all the same.
        let begun: Vec<Change> = self.operations.values_mut().filter_map(|operation| operation.change.take()).collect();
        for change in begun {
            let _ = self.make(change);
        }
        let size = asked.number("per_page").unwrap_or(25).min(self.page_max);
        let start =
            asked.parameter("cursor").and_then(|cursor| cursor.strip_prefix('c')?.parse().ok()).unwrap_or(0_usize);
        let begin = if self.repeats { start.saturating_sub(1) } else { start };
        let end = (start + size).min(self.items.len());
        let items: Vec<Value> = self.items[begin.min(end)..end]
            .iter()
            .map(|item| json!({ "id": item.id, "ip": item.ip, "comment": item.comment, "created_on": "2026-01-01T00:00:00Z" }))
            .collect();
        let cursors = if end < self.items.len() { json!({ "after": format!("c{end}") }) } else { json!({}) };
        Reply::new(
            200,
            json!({ "success": true, "errors": [], "messages": [], "result": items, "result_info": { "cursors": cursors } }),
        )
    }

    fn begin(&mut self, change: Change) -> Reply {
        // One at a time in an account.
        if self.operations.values().any(|operation| operation.change.is_some()) {
            return refused(429, 10_046, "another operation is being processed");
        }
        let id = self.id("0a").replace('a', "f");
        self.operations.insert(id.clone(), Operation { change: Some(change), polls: 2, error: None });
        done(&json!({ "operation_id": id }))
    }

    fn operation(&mut self, id: &str) -> Reply {
        let Some(mut operation) = self.operations.remove(id) else {
            return refused(404, 10_001, "operation not found");
        };
        let status = match (operation.polls, operation.change.take()) {
            (0, Some(change)) => {
                operation.error = self.make(change).err();
                if let Some(mut meddling) = self.meddling.take() {
                    meddling(self);
                }
                if operation.error.is_some() { "failed" } else { "completed" }
            }
            (0, None) => {
                if operation.error.is_some() {
                    "failed"
                } else {
                    "completed"
                }
            }
            (polls, change) => {
                operation.change = change;
                operation.polls -= 1;
                if polls == 1 { "running" } else { "pending" }
            }
        };
        let answer = done(&json!({ "id": id, "status": status, "error": operation.error }));
        self.operations.insert(id.to_owned(), operation);
        answer
    }

    fn make(&mut self, change: Change) -> Result<(), String> {
        if self.operations_fail {
            return Err("the list is being migrated".to_owned());
        }
        match change {
            Change::Remove(ids) => self.items.retain(|item| !ids.contains(&item.id)),
            Change::Add(items) => {
                let new = items.iter().filter(|(ip, _)| self.items.iter().all(|item| item.ip != *ip)).count();
                if self.items.len() + new > self.items_max {
                    return Err(format!("the list would have more than {} items", self.items_max));
                }
                for (ip, comment) in items {
                    // Items of the same address are merged.
                    match self.items.iter_mut().find(|item| item.ip == ip) {
                        Some(item) => item.comment = comment,
                        None => {
                            let id = self.id("i");
                            self.items.push(Item { id, ip, comment });
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn rulesets(&mut self, asked: &Asked<'_>, rest: &[&str]) -> Reply {
        match (asked.method, rest) {
            ("GET", ["phases", "http_request_firewall_custom", "entrypoint"]) => match &self.rules {
                Some(_) => self.ruleset(),
                None => {
                    refused(404, 10_003, "could not find entrypoint ruleset in the http_request_firewall_custom phase")
                }
            },
            ("POST", []) => {
                let body = asked.json();
                if self.rules.is_some() || body["phase"] != "http_request_firewall_custom" || body["kind"] != "zone" {
                    return refused(400, 20_000, "the zone has such a ruleset already, or none can be");
                }
                self.rules = Some(Vec::new());
                let rules = body["rules"].as_array().cloned().unwrap_or_default();
                rules.iter().map(|rule| self.put_rule(None, rule)).next_back().unwrap_or_else(|| self.ruleset())
            }
            ("POST", ["s1", "rules"]) => self.put_rule(None, &asked.json()),
            ("PATCH", ["s1", "rules", id]) => self.put_rule(Some(id), &asked.json()),
            ("DELETE", ["s1", "rules", id]) => {
                let Some(at) = self.rules.iter().flatten().position(|rule| rule.id == *id) else {
                    return refused(404, 10_004, "could not find rule");
                };
                self.rules.as_mut().expect("one was found").remove(at);
                self.ruleset()
            }
            _ => refused(404, 10_003, "could not find ruleset"),
        }
    }

    fn put_rule(&mut self, id: Option<&str>, body: &Value) -> Reply {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let (expression, named) = (text("expression"), self.list.as_ref().map(|(_, name)| format!("${name}")));
        if expression.len() > EXPRESSION_CHARACTERS_MAX {
            return refused(400, 20_127, "expression is too long");
        }
        if expression.contains('$') && named.is_none_or(|name| !expression.contains(&name)) {
            return refused(400, 20_120, "the expression names a list that does not exist");
        }
        let fresh = self.id("r");
        let Some(rules) = &mut self.rules else { return refused(404, 10_003, "could not find ruleset") };
        let enabled = body["enabled"].as_bool().unwrap_or(true);
        let rule = |id| Rule { id, description: text("description"), expression, action: text("action"), enabled };
        match id {
            None if rules.len() >= RULES_MAX => return refused(400, 20_217, "exceeded the maximum number of rules"),
            None => rules.push(rule(fresh)),
            Some(id) => match rules.iter_mut().find(|rule| rule.id == id) {
                Some(present) => *present = rule(id.to_owned()),
                None => return refused(404, 10_004, "could not find rule"),
            },
        }
        self.ruleset()
    }

    fn ruleset(&self) -> Reply {
        let rule = |rule: &Rule| {
            json!({
                "id": rule.id, "version": "1", "action": rule.action, "expression": rule.expression,
                "description": rule.description, "enabled": rule.enabled, "ref": rule.id,
            })
        };
        let rules: Vec<Value> = self.rules.iter().flatten().map(rule).collect();
        let phase = "http_request_firewall_custom";
        done(&json!({ "id": "s1", "name": "default", "kind": "zone", "phase": phase, "version": "7", "rules": rules }))
    }
}

impl Api for Cloudflare {
    fn answer(&mut self, asked: &Asked<'_>) -> Reply {
        if asked.header("authorization") != format!("Bearer {TOKEN}") {
            return refused(401, 10_000, "Authentication error");
        }
        let path = asked.path.clone();
        match path.as_slice() {
            ["client", "v4", "accounts", account, "rules", "lists", rest @ ..] if *account == ACCOUNT => {
                if self.forbidden == Some("lists") {
                    return refused(403, 10_000, "Authentication error");
                }
                self.lists(asked, rest)
            }
            ["client", "v4", "zones", zone, "rulesets", rest @ ..] if *zone == ZONE => {
                if self.forbidden == Some("waf") {
                    return refused(403, 10_000, "request is not authorized");
                }
                self.rulesets(asked, rest)
            }
            _ => refused(404, 7_003, "Could not route to that path, perhaps your object identifier is invalid?"),
        }
    }

    fn refusal(&self, status: u16) -> Value {
        json!({
            "success": false, "messages": [], "result": null,
            "errors": [{ "code": status, "message": format!("a fault of the test, {status}") }],
        })
    }
}

fn done(result: &Value) -> Reply {
    Reply::new(200, json!({ "success": true, "errors": [], "messages": [], "result": result }))
}

fn refused(status: u16, code: u32, message: &str) -> Reply {
    let errors = json!([{ "code": code, "message": message }]);
    Reply::new(status, json!({ "success": false, "errors": errors, "messages": [], "result": null }))
}
