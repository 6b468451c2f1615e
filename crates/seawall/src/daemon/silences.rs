//! Watches over the sensors: an alarm when one no longer tells what it is there to tell, and which rules match nothing for it.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use seawall_engine::address::AddressSet;
use seawall_engine::decision::{Event, EventKind, Rule, RuleId};
use seawall_engine::silence::{
    Alarm, Change, Elsewhere, Field, MergedClients, Place, Reading, RecentPeers, Silence, Trouble,
};
use seawall_engine::units::Timestamp;

use super::{Sensor, merged_clients};

/// How often the sensors are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The watch over all sensors, by what they read.
#[derive(Default)]
pub(super) struct Silences {
    sensors: HashMap<String, Watched>,
    looked: Timestamp,
}

/// What a sensor tells.
pub(super) struct Heard {
    /// What it reads.
    pub(super) name: String,
    /// Its counts.
    pub(super) reading: Reading,
    /// From whom its requests came.
    pub(super) peers: RecentPeers,
    /// Why nothing can be read at present.
    pub(super) trouble: Option<String>,
}

/// A limit that has matched something.
pub(super) struct MatchedLimit {
    /// What it is called.
    pub(super) name: String,
    /// The fields without which it can match nothing.
    pub(super) fields: Vec<Field>,
}

/// A sensor that is watched.
#[derive(Default)]
struct Watched {
    silence: Silence,
    clients: MergedClients,
    /// Which rules and limits matched nothing any more when something was first wrong, as the end of a sentence.
    dependent: Vec<(Trouble, String)>,
}

impl Silences {
    /// Looks at the sensors when it is time. `has_matched` says which of the rules have matched something, `limits` which limits.
    pub(super) fn look(
        &mut self,
        now: Timestamp,
        readings: &[Heard],
        trusted: &AddressSet,
        rules: &[Rule],
        has_matched: impl Fn(RuleId) -> bool,
        limits: impl Fn() -> Vec<MatchedLimit>,
    ) -> Vec<Event> {
        if readings.is_empty() || now.since(self.looked) < LOOK_INTERVAL {
            return Vec::new();
        }
        self.looked = now;
        let accepted = accepted_connections();
        let lines: u64 = readings.iter().map(|heard| heard.reading.timely()).sum();
        let mut events = Vec::new();
        self.sensors.retain(|name, watched| {
            let is_there = readings.iter().any(|heard| heard.name == *name);
            // A file that is gone, or a pattern that files match by now: whoever was told hears of the end.
            if !is_there && !watched.silence.alarms().is_empty() {
                let text = format!("{name} is not missed any more: nothing is read by this name now");
                events.push(Event { at: now, kind: EventKind::SensorHeard, text });
            }
            if !is_there && watched.clients.alarm().is_some() {
                let text = format!("{name}: nothing is read by this name now");
                events.push(Event { at: now, kind: EventKind::ClientsApart, text });
            }
            is_there
        });
        for Heard { name, reading, peers, trouble } in readings {
            let Watched { silence, clients, dependent } = self.sensors.entry(name.clone()).or_default();
            let elsewhere = Elsewhere { lines: lines - reading.timely(), accepted };
            for change in silence.look(now, reading, elsewhere) {
                events.push(match change {
                    Change::Raised(alarm) => {
                        let rules = dependents(&alarm, rules, &has_matched, &limits());
                        let why = trouble
                            .as_ref()
                            .filter(|_| matches!(alarm.trouble, Trouble::Stopped | Trouble::OutOfReach));
                        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                        let text = format!("{name}: {}{why}{rules}", alarm.text);
                        dependent.push((alarm.trouble, rules));
                        Event { at: now, kind: EventKind::SensorSilent, text }
                    }
                    Change::Cleared(alarm) => {
                        dependent.retain(|(trouble, _)| *trouble != alarm.trouble);
                        let text = format!("{name} tells again: {}", cleared(&alarm));
                        Event { at: now, kind: EventKind::SensorHeard, text }
                    }
                });
            }
            let change = clients.look(now, peers, trusted, Place::Log);
            events.extend(change.map(|change| merged_clients::event(now, Some(name), change)));
        }
        events
    }

    /// Writes into the sensors what is wrong with each.
    pub(super) fn tell(&self, sensors: &mut [Sensor]) {
        for sensor in sensors {
            if let (Some(log), Some(watched)) = (&mut sensor.log, self.sensors.get(&sensor.address)) {
                log.alarms = watched.silence.alarms().iter().chain(watched.clients.alarm()).cloned().collect();
                for alarm in &mut log.alarms {
                    let rules = watched.dependent.iter().find(|(trouble, _)| *trouble == alarm.trouble);
                    alarm.text += rules.map_or("", |(_, rules)| rules);
                }
            }
        }
    }
}

/// Which rules and limits that matched before can match nothing any more.
fn dependents(alarm: &Alarm, rules: &[Rule], has_matched: impl Fn(RuleId) -> bool, limits: &[MatchedLimit]) -> String {
    let asks_for_it = |rule: &&Rule| match alarm.trouble {
        Trouble::Missing(field) => {
            rule.conditions.iter().any(|condition| Field::of(condition.attribute) == Some(field))
        }
        Trouble::Unread | Trouble::Stopped | Trouble::OutOfReach => true,
        Trouble::ClientsMerged => false,
    };
    let rules: Vec<String> =
        rules.iter().filter(asks_for_it).filter(|rule| has_matched(rule.id)).map(|rule| rule.id.to_string()).collect();
    let needs_it = |limit: &&MatchedLimit| match alarm.trouble {
        Trouble::Missing(field) => limit.fields.contains(&field),
        Trouble::Unread | Trouble::Stopped | Trouble::OutOfReach => true,
        Trouble::ClientsMerged => false,
    };
    let limits: Vec<String> = limits.iter().filter(needs_it).map(|limit| format!("\"{}\"", limit.name)).collect();
    let named = |thing: &str, names: &[String]| match names {
        [] => None,
        [name] => Some(format!("{thing} {name}")),
        names => Some(format!("{thing}s {}", names.join(", "))),
    };
    let all: Vec<String> = named("rule", &rules).into_iter().chain(named("limit", &limits)).collect();
    match rules.len() + limits.len() {
        0 => String::new(),
        1 => format!("; {} matches nothing any more", all.join("")),
        _ => format!("; {} match nothing any more", all.join(" and ")),
    }
}

fn cleared(alarm: &Alarm) -> String {
    match alarm.trouble {
        Trouble::Unread => "its lines can be read".to_owned(),
        Trouble::Missing(field) => format!("the {field} is there"),
        Trouble::Stopped => "lines come".to_owned(),
        Trouble::OutOfReach => "it can be read".to_owned(),
        Trouble::ClientsMerged => merged_clients::APART.to_owned(),
    }
}

/// TCP connections that this machine has accepted since it started, whatever for; 0 where the kernel does not tell.
fn accepted_connections() -> u64 {
    passive_opens(&fs::read_to_string("/proc/net/snmp").unwrap_or_default()).unwrap_or(0)
}

fn passive_opens(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let index = names.split_whitespace().position(|name| name == "PassiveOpens")?;
    values.split_whitespace().nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use seawall_engine::address::ClientAddress;
    use seawall_engine::silence::Sent;

    use super::*;

    #[test]
    fn whoever_was_told_of_a_sensor_hears_when_it_is_gone() {
        let mut silences = Silences::default();
        let mut look = |second: u64, heard: &[Heard]| {
            let now = Timestamp::from_seconds(1_700_000_000 + second);
            silences.look(now, heard, &AddressSet::default(), &[], |_| false, Vec::new)
        };
        let heard = |name: &str, reading| Heard {
            name: name.to_owned(),
            reading,
            peers: RecentPeers::default(),
            trouble: None,
        };
        let unread = Reading { lines: 20, unread_run: 20, ..Reading::default() };
        let wrong = || heard("/logs/*.log", unread);
        let other = || heard("/other.log", Reading::default());
        look(0, &[wrong(), other()]);
        let raised = look(1, &[wrong(), other()]);
        assert_eq!(raised.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::SensorSilent]);
        let [Event { kind: EventKind::SensorHeard, text, .. }] = &look(2, &[other()])[..] else { panic!("no end") };
        assert!(text.starts_with("/logs/*.log is not missed any more"), "{text}");
        assert_eq!(look(3, &[heard("/last.log", Reading::default())]), [], "nobody was told of it");
    }

    #[test]
    fn whoever_was_told_of_clients_that_are_one_hears_when_their_log_is_gone() {
        let (mut silences, mut peers) = (Silences::default(), RecentPeers::default());
        let start = Timestamp::from_seconds(1_700_000_000);
        let mut events = Vec::new();
        for second in 0..40 {
            let now = start + Duration::from_secs(second);
            let peer = ClientAddress::new(std::net::Ipv4Addr::LOCALHOST.into());
            (0..5).for_each(|_| peers.count(now, Some(Sent { peer, named: None, agent: None })));
            let heard = Heard { name: "a.log".to_owned(), reading: Reading::default(), peers, trouble: None };
            events.extend(silences.look(now, &[heard], &AddressSet::default(), &[], |_| false, Vec::new));
        }
        let other = Heard {
            name: "b.log".to_owned(),
            reading: Reading::default(),
            peers: RecentPeers::default(),
            trouble: None,
        };
        let now = start + Duration::from_secs(40);
        events.extend(silences.look(now, &[other], &AddressSet::default(), &[], |_| false, Vec::new));
        let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::ClientsMerged, EventKind::ClientsApart], "{events:?}");
        assert!(events.iter().all(|event| event.text.starts_with("a.log: ")), "{events:?}");
    }

    /// Few clients meet most limits, so that their own silence says nothing.
    #[test]
    fn limits_that_can_match_nothing_any_more_are_named() {
        let limits = || {
            let limit = |name: &str, field| MatchedLimit { name: name.to_owned(), fields: vec![Field::Path, field] };
            vec![limit("login", Field::Method), limit("probes", Field::Status), limit("http-auth", Field::Status)]
        };
        // As of a log that never had a status.
        let mut reading = Reading { lines: 40, read: 40, ..Reading::default() };
        reading.runs[Field::Status as usize] = 40;
        reading.clients_without[Field::Status as usize] = 20;
        let mut silences = Silences::default();
        let mut events = Vec::new();
        for second in 0..2 {
            let now = Timestamp::from_seconds(1_700_000_000 + second);
            let heard = Heard { name: "a.log".to_owned(), reading, peers: RecentPeers::default(), trouble: None };
            events.extend(silences.look(now, &[heard], &AddressSet::default(), &[], |_| false, limits));
        }
        let [Event { kind: EventKind::SensorSilent, text, .. }] = events.as_slice() else { panic!("{events:?}") };
        assert!(text.ends_with("; limits \"probes\", \"http-auth\" match nothing any more"), "{text}");
        let alarm = |trouble| Alarm { trouble, since: Timestamp::EPOCH, text: String::new() };
        let dependents = |trouble| dependents(&alarm(trouble), &[], |_| true, &limits());
        let one = dependents(Trouble::Missing(Field::Method));
        assert_eq!(one, "; limit \"login\" matches nothing any more");
        assert_eq!(dependents(Trouble::Missing(Field::Query)), "");
        assert_eq!(dependents(Trouble::Stopped).matches('"').count(), 6);
        assert_eq!(dependents(Trouble::ClientsMerged), "");
    }

    #[test]
    fn accepted_connections_are_read() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: RtoMin ActiveOpens PassiveOpens\nTcp: 200 7 12\nUdp: a\n";
        assert_eq!(passive_opens(text), Some(12));
        assert_eq!(passive_opens("nothing"), None);
    }
}
