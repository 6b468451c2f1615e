//! Who has gone beyond limits, as the journal and the log are told: once a second for each limit, however many clients that were, so
//! that a flood fills neither.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seawall_engine::gate::{Limit, LimitAction};

use crate::config::quantity::show_duration;
use crate::record::{Action, Actor, Record};

/// What is still to be told.
#[derive(Debug, Default)]
pub(super) struct Offences {
    /// By limit and by what happened.
    entries: BTreeMap<(Arc<str>, LimitAction), Entry>,
}

#[derive(Debug)]
struct Entry {
    /// What was too much.
    said: String,
    clients: u64,
    shortest: Duration,
    longest: Duration,
}

impl Offences {
    /// Notes one more.
    pub(super) fn add(&mut self, limit: &Limit, action: LimitAction, length: Duration) {
        let new = || Entry { said: limit.to_string(), clients: 0, shortest: length, longest: length };
        let entry = self.entries.entry((Arc::clone(&limit.name), action)).or_insert_with(new);
        entry.clients += 1;
        entry.shortest = entry.shortest.min(length);
        entry.longest = entry.longest.max(length);
    }

    /// Tells what has been noted, and forgets it.
    pub(super) fn tell(&mut self, record: &Record) {
        for ((name, action), entry) in std::mem::take(&mut self.entries) {
            let text = entry.text(&name, action);
            tracing::info!("{text}");
            let kind = if action == LimitAction::Ban { Action::Ban } else { Action::Decide };
            record.journal(Actor::Guard, kind, text);
        }
    }
}

impl Entry {
    fn text(&self, name: &str, action: LimitAction) -> String {
        let Self { said, clients, shortest, longest } = self;
        let who = if *clients == 1 { "a client".to_owned() } else { format!("{clients} clients") };
        let time = if shortest == longest {
            show_duration(*longest)
        } else {
            format!("{} to {}", show_duration(*shortest), show_duration(*longest))
        };
        match action {
            LimitAction::Ban => format!("limit {name} bans {who} for {time}: {said}"),
            LimitAction::Refuse | LimitAction::Limit => format!("limit {name} refuses {who} for {time}: {said}"),
            LimitAction::Log => format!("limit {name} was exceeded by {who}, and nothing was done: {said}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use seawall_engine::gate::LimitKey;

    use super::*;

    #[test]
    fn many_clients_of_one_limit_are_one_line() {
        let limit = Limit {
            name: "login".into(),
            rule: None,
            requests: 5,
            period: Duration::from_secs(600),
            key: LimitKey::Client,
            action: LimitAction::Ban,
            length: None,
            spares: true,
            counts: Arc::default(),
        };
        let mut offences = Offences::default();
        offences.add(&limit, LimitAction::Ban, Duration::from_secs(600));
        offences.add(&limit, LimitAction::Ban, Duration::from_secs(3_600));
        offences.add(&limit, LimitAction::Log, Duration::from_secs(600));
        let texts: Vec<String> =
            offences.entries.iter().map(|((name, action), entry)| entry.text(name, *action)).collect();
        assert_eq!(
            texts,
            [
                "limit login was exceeded by a client, and nothing was done: more than 5 in 10m of any requests",
                "limit login bans 2 clients for 10m to 1h: more than 5 in 10m of any requests",
            ]
        );
    }
}
