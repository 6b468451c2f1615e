//! Since when there are requests that a rule matches: the first of them, wherever they are in the files.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use seawall_engine::decision::expression::{Answer, Expression};
use seawall_engine::distinct::Distinct;
use seawall_engine::units::Timestamp;
use siphasher::sip::SipHasher13;

use super::{Cell, Column, ViewTable, Viewer, name, number, text};
use crate::show::log::inputs::Inputs;
use crate::show::log::moment;
use crate::show::log::page::requests_text;
use crate::show::log::read::{LogRequest, Visitor};
use crate::show::log::recorded::{Attributes, unrecorded};
use crate::show::report::Options;
use crate::show::text::{byte_count, escape, grouped};

/// How much of a text is kept, in bytes.
const TEXT_BYTES_MAX: usize = seawall_engine::observation::attribute::VALUE_BYTES_MAX;

/// The column that says in which file a request is.
const INPUT: &str = "input";

const COLUMNS: [Column; 9] = [
    name("time", "time (UTC)"),
    text(INPUT, "file"),
    number("line", "line"),
    name("client", "client"),
    name("method", "method"),
    text("host", ""),
    text("path", "path"),
    number("status", "status"),
    text("user_agent", "user agent"),
];

/// What matched.
pub(super) struct FirstSeen {
    rule: Expression,
    asked: Attributes,
    kept_max: usize,
    /// By time, then where they are.
    first: BTreeMap<(Timestamp, usize, u64), Seen>,
    last: Timestamp,
    requests: u64,
    bytes: u64,
    clients: Distinct,
    hasher: SipHasher13,
    not_judged: u64,
    unrecorded: Attributes,
}

struct Seen {
    client: Option<u128>,
    method: Vec<u8>,
    host: Vec<u8>,
    path: Vec<u8>,
    status: Option<u16>,
    user_agent: Option<Vec<u8>>,
}

impl FirstSeen {
    pub(super) fn new(rule: Expression, kept_max: usize) -> Self {
        Self {
            asked: Attributes::asked_by(&rule),
            rule,
            kept_max,
            first: BTreeMap::new(),
            last: Timestamp::EPOCH,
            requests: 0,
            bytes: 0,
            clients: Distinct::new(),
            hasher: SipHasher13::new_with_keys(1, 2),
            not_judged: 0,
            unrecorded: Attributes::default(),
        }
    }
}

impl Visitor for FirstSeen {
    fn visit(&mut self, log_request: &LogRequest<'_>) -> ControlFlow<()> {
        let observation = log_request.observation;
        let unrecorded = unrecorded(self.asked, log_request);
        if !unrecorded.is_empty() {
            self.not_judged += 1;
            self.unrecorded.extend(unrecorded);
            return ControlFlow::Continue(());
        }
        let (request, client) = (&observation.request, observation.client);
        let answer = Answer::of(observation, log_request.is_timed);
        if !self.rule.matches(request, client, answer) {
            return ControlFlow::Continue(());
        }
        self.requests += 1;
        self.bytes = self.bytes.saturating_add(observation.cost.bytes);
        self.last = self.last.max(observation.at);
        let client = client.map(|client| client.client_key());
        if let Some(client) = client {
            self.clients.add(self.hasher.hash(&client.to_be_bytes()));
        }
        let key = (observation.at, log_request.input, log_request.number);
        if self.first.len() >= self.kept_max && self.first.last_key_value().is_none_or(|(last, _)| *last <= key) {
            return ControlFlow::Continue(());
        }
        let cut = |text: &[u8]| text.get(..TEXT_BYTES_MAX).unwrap_or(text).to_vec();
        let seen = Seen {
            client,
            method: cut(request.method),
            host: cut(request.host),
            path: cut(request.path),
            status: answer.status,
            user_agent: request.user_agent.map(cut),
        };
        self.first.insert(key, seen);
        if self.first.len() > self.kept_max {
            self.first.pop_last();
        }
        ControlFlow::Continue(())
    }
}

impl Viewer for FirstSeen {
    fn table(self: Box<Self>, inputs: &Inputs, options: &Options<'_>, _: usize) -> ViewTable {
        let row = |((at, input, line), seen): (&(Timestamp, usize, u64), &Seen)| {
            let at = moment(at.as_seconds());
            let input = inputs.inputs.get(*input).map_or_else(String::new, |input| escape(input.name.as_bytes()));
            vec![
                Cell::new(at.to_string(), at.strftime("%F %T").to_string()),
                Cell::text(input),
                Cell::new(*line, grouped(*line)),
                seen.client.map_or_else(Cell::none, |client| Cell::text(options.clients.label(client))),
                Cell::text(escape(&seen.method)),
                Cell::text(escape(&seen.host)),
                Cell::text(escape(&seen.path)),
                seen.status.map_or_else(Cell::none, |status| Cell::new(status, status.to_string())),
                seen.user_agent.as_ref().map_or_else(Cell::none, |agent| Cell::text(escape(agent))),
            ]
        };
        let mut notes = Vec::new();
        match self.first.first_key_value() {
            None => notes.push("No request matches.".to_owned()),
            Some(((first, ..), _)) => {
                let time = |at: Timestamp| moment(at.as_seconds()).strftime("%F %T").to_string();
                let clients = match self.clients.estimate() {
                    0 => "nobody whose address is known".to_owned(),
                    1 => "one client".to_owned(),
                    clients => format!("about {} clients", grouped(clients)),
                };
                notes.push(format!(
                    "{} {}, {} to {clients}, from {} to {} UTC.",
                    requests_text(self.requests),
                    if self.requests == 1 { "matches" } else { "match" },
                    byte_count(self.bytes),
                    time(*first),
                    time(self.last)
                ));
            }
        }
        if self.not_judged > 0 {
            let names = self.unrecorded.names().join(", ");
            notes.push(format!("{} are of logs that do not record {names}.", requests_text(self.not_judged)));
        }
        // Of one file everybody knows which it is: the others have its room.
        let is_told = |column: &Column| column.name != INPUT || inputs.inputs.len() > 1;
        let columns = COLUMNS.map(|column| if is_told(&column) { column } else { text(column.name, "") });
        ViewTable { columns: columns.to_vec(), rows: self.first.iter().map(row).collect(), notes }
    }
}
