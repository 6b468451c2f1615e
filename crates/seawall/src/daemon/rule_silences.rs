//! Watches over the rules that were said by people: an alarm when one can match nothing, since no log tells what it asks for, and when one
//! that used to match no longer does while traffic goes on.
//!
//! Those that detection makes fall silent with the flood that they are about, so they are not watched.

use std::collections::HashMap;
use std::time::Duration;

use seawall_engine::decision::expression::Expression;
use seawall_engine::decision::{Event, EventKind};
use seawall_engine::silence::{
    Field, Reading, RuleAlarm, RuleChange, RuleReading, RuleSilence, Surrounding, unmatchable,
};
use seawall_engine::units::Timestamp;

/// How often the rules are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A rule of the configuration, or of the operator.
pub(super) struct Said {
    /// What tells it from all others, for people.
    pub(super) name: String,
    /// What it asks for.
    pub(super) expression: Expression,
    /// What it has met.
    pub(super) reading: RuleReading,
}

/// The watch over them: one for each that there is, of which the gate takes a bounded number.
#[derive(Default)]
pub(super) struct RuleSilences {
    watched: HashMap<String, Watched>,
    looked: Timestamp,
}

#[derive(Default)]
struct Watched {
    silence: RuleSilence,
    alarm: Option<RuleAlarm>,
    /// Whether the alarm says that it can match nothing.
    is_unmatchable: bool,
}

impl RuleSilences {
    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now.since(self.looked) >= LOOK_INTERVAL
    }

    /// Looks at the rules. `requests` have come in all; `readings` are those of the logs, where logs are read.
    pub(super) fn look(&mut self, now: Timestamp, said: &[Said], requests: u64, readings: &[Reading]) -> Vec<Event> {
        self.looked = now;
        let surrounding = Surrounding { requests, logged: logged(readings) };
        let mut events = Vec::new();
        self.watched.retain(|name, watched| {
            let is_there = said.iter().any(|rule| rule.name == *name);
            if !is_there && watched.alarm.is_some() {
                events.push(heard(now, format!("{name} is not missed any more: it is not there")));
            }
            is_there
        });
        for Said { name, expression, reading } in said {
            let Watched { silence, alarm, is_unmatchable } = self.watched.entry(name.clone()).or_default();
            match (unmatchable(expression, readings), *is_unmatchable) {
                (Some(_), true) => continue,
                // One that has fallen silent is told of already.
                (Some(text), false) if alarm.is_none() => {
                    *is_unmatchable = true;
                    *alarm = Some(raise(&mut events, now, name, text));
                    continue;
                }
                (None, true) => {
                    (*alarm, *is_unmatchable) = (None, false);
                    events.push(heard(now, format!("{name} can match now: what it asks for is in a log")));
                }
                _ => {}
            }
            let asked = expression.conditions().into_iter().filter_map(|condition| condition.subject().attribute());
            let fields: Vec<Field> = asked.filter_map(Field::of).collect();
            match silence.look(now, reading, &surrounding, &fields) {
                Some(RuleChange::Raised(text)) => {
                    *alarm = Some(raise(&mut events, now, name, text));
                }
                Some(RuleChange::Cleared) => {
                    *alarm = None;
                    events.push(heard(now, format!("{name} matches again")));
                }
                Some(RuleChange::Forgotten(why)) => {
                    *alarm = None;
                    events.push(heard(now, format!("{name} is not missed any more: {why}")));
                }
                None => {}
            }
        }
        events
    }

    /// What is wrong now, the oldest first.
    pub(super) fn alarms(&self) -> Vec<RuleAlarm> {
        let mut alarms: Vec<RuleAlarm> = self.watched.values().filter_map(|watched| watched.alarm.clone()).collect();
        alarms.sort_by(|one, other| (one.since, &one.rule).cmp(&(other.since, &other.rule)));
        alarms
    }
}

const fn heard(at: Timestamp, text: String) -> Event {
    Event { at, kind: EventKind::RuleHeard, text }
}

/// Tells of an alarm.
fn raise(events: &mut Vec<Event>, now: Timestamp, name: &str, text: String) -> RuleAlarm {
    events.push(Event { at: now, kind: EventKind::RuleSilent, text: format!("{name} {text}") });
    RuleAlarm { rule: name.to_owned(), since: now, text }
}

/// The requests of all logs, and how many had each field; none where no log is read.
fn logged(readings: &[Reading]) -> Option<(u64, [u64; Field::ALL.len()])> {
    let mut with = [0; Field::ALL.len()];
    for reading in readings {
        with.iter_mut().zip(reading.with).for_each(|(sum, with)| *sum += with);
    }
    (!readings.is_empty()).then(|| (readings.iter().map(|reading| reading.read).sum(), with))
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::expression::{Lists, Use};

    use super::*;

    fn said(matched: u64) -> Said {
        let text = r#"host = "example.org" and status = 404"#;
        Said {
            name: "limit \"probes\"".to_owned(),
            expression: Expression::parse(text, Use::Filter, &Lists::default()).expect("a filter"),
            reading: RuleReading { matched, votes: matched, kept_away: 0 },
        }
    }

    #[test]
    fn a_rule_is_alarmed_until_it_matches_again_and_only_while_it_is_there() {
        let mut silences = RuleSilences::default();
        let at = |second| Timestamp::from_seconds(1_700_000_000 + second);
        let reading = |read: u64, hosts: u64| {
            let with = Field::ALL.map(|field| if field == Field::Host { hosts } else { read });
            [Reading { read, with, ..Reading::default() }]
        };
        for second in 0..400 {
            let count = 10 * second;
            assert_eq!(silences.look(at(second), &[said(second)], count, &reading(count, count)), []);
        }
        let mut events = Vec::new();
        for second in 400..460 {
            events.extend(silences.look(at(second), &[said(399)], 10 * second, &reading(10 * second, 4_000)));
        }
        let told: Vec<_> = events.iter().map(|event| (event.kind, event.text.as_str())).collect();
        let [(EventKind::RuleSilent, text)] = told.as_slice() else { panic!("{told:?}") };
        assert!(text.starts_with("limit \"probes\" has matched nothing for"), "{text}");
        assert!(text.contains("the host is in none of the last"), "{text}");
        assert_eq!(silences.alarms().len(), 1);
        let events = silences.look(at(460), &[said(400)], 4_600, &reading(4_600, 4_600));
        assert_eq!(events.first().map(|event| event.kind), Some(EventKind::RuleHeard));
        assert_eq!(silences.alarms(), []);
        for second in 461..1_000 {
            silences.look(at(second), &[said(second)], 10 * second, &[]);
        }
        for second in 1_000..1_100 {
            silences.look(at(second), &[said(999)], 10 * second, &[]);
        }
        assert_eq!(silences.alarms().len(), 1);
        let events = silences.look(at(1_100), &[], 11_000, &[]);
        assert_eq!(
            events.first().map(|event| event.kind),
            Some(EventKind::RuleHeard),
            "whoever was told hears of the end"
        );
        assert!(silences.watched.is_empty());
    }
}
