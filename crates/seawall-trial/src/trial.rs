//! One run: a family or control beside a background, from a seed, and what it came to.

use std::time::Duration;

use seawall_engine::decision::{Enforce, Event, EventKind, Verdict};
use seawall_engine::units::Timestamp;
use serde::{Deserialize, Serialize};

use crate::background::Background;
use crate::control::{Control, Recorded};
use crate::family::Family;
use crate::tally::{RuleTally, Work};
use crate::world::{TICK, World, stressed};

/// How long a guard has known the site when a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// A week.
    Week,
    /// Ten minutes.
    TenMinutes,
    /// Ten minutes, of a site with a request in three seconds.
    TenMinutesOfLittle,
    /// It is started in the middle of it.
    Nothing,
}

/// The ten minutes.
const COLD: Duration = Duration::from_secs(600);

/// Requests a second of the site with little traffic.
const LITTLE: f64 = 0.3;

/// Requests a second that no server notices: where there is less ordinary traffic, the strength of a flood that grows is held against
/// this.
const SLIGHT: f64 = 3.0;

/// A rule that comes back within this after it left has flapped.
const FLAP: Duration = Duration::from_secs(60);

/// What a run came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Seconds from the onset until the right rules were in force; none when they never were.
    pub time_to_rule: Option<f64>,
    /// Of a flood that grows, how strong it was then, in ordinary traffic.
    pub strength: Option<f64>,
    /// The share of unwanted requests refused from then on.
    pub recall: f64,
    /// Wanted requests, and those refused.
    pub wanted: (u64, u64),
    /// Every rule that was in force.
    pub rules: Vec<RuleTally>,
    /// Rules that left and came back within a minute.
    pub flaps: usize,
    /// What was thought of it at the end; none without an incident.
    pub verdict: Option<Verdict>,
    /// Everything that the engine said of it.
    pub explanation: String,
    /// The most time that the detector took in one second of an incident.
    pub busiest_second: Duration,
    /// The same outside any.
    pub busiest_quiet_second: Duration,
    /// What opened each incident, and what else the engine said of it, each with the seconds since the run began.
    pub incidents: Vec<Vec<String>>,
    /// The memory of the engine, in bytes.
    pub memory_bytes: usize,
}

/// A guard that has known this site for a week, two that have for ten minutes, and one that is new. Runs begin with copies
/// of them.
#[derive(Clone)]
pub struct Grown {
    warm: World,
    cold: World,
    cold_little: World,
    new: World,
    week: Outcome,
}

impl Grown {
    /// Lets them grow.
    pub fn new(background: &Background, seed: u64) -> Self {
        let mut warm = World::with(background.clone(), seed, Enforce::OnExcess);
        warm.know_ordinary();
        warm.grow_warm();
        let week = outcome(&mut warm, 0.0);
        let new = new(background, seed);
        let little = background.clone().with_share(LITTLE / new.ordinary_rate());
        Self { cold: cold(new.clone()), cold_little: cold(self::new(&little, seed)), warm, new, week }
    }

    /// What came of a week of nothing but ordinary traffic.
    pub const fn week(&self) -> &Outcome {
        &self.week
    }

    /// Runs a flood.
    pub fn family(&self, family: &Family) -> Outcome {
        let mut world = self.world(family.known);
        world.pressure = stressed();
        world.begin();
        world.run_beside(Duration::from_secs(u64::from(family.seconds)), &mut *(family.traffic)());
        let ordinary_rate = world.ordinary_rate().max(SLIGHT);
        let outcome = outcome(&mut world, family.onset);
        let strength = family.growth.zip(outcome.time_to_rule).map(|(rate, time)| rate(time) / ordinary_rate);
        Outcome { strength, ..outcome }
    }

    /// Runs what must not be blocked.
    pub fn control(&self, control: &Control) -> Outcome {
        let mut world = self.world(control.known);
        world.pressure = stressed();
        world.begin();
        world.run_beside(Duration::from_secs(u64::from(control.seconds)), &mut *(control.traffic)());
        outcome(&mut world, 0.0)
    }

    /// Runs a recorded crowd.
    pub fn recorded(&self, recorded: &Recorded) -> Outcome {
        let mut world = self.world(Known::Week);
        world.pressure = stressed();
        world.begin();
        let mut traffic = recorded.traffic(world.ordinary_rate());
        world.run_beside(Duration::from_secs(recorded.seconds()), &mut *traffic);
        outcome(&mut world, 0.0)
    }

    fn world(&self, known: Known) -> World {
        match known {
            Known::Week => self.warm.clone(),
            Known::TenMinutes => self.cold.clone(),
            Known::TenMinutesOfLittle => self.cold_little.clone(),
            Known::Nothing => self.new.clone(),
        }
    }
}

/// A guard that has seen nothing, on a morning.
fn new(background: &Background, seed: u64) -> World {
    let mut new = World::with(background.clone(), seed, Enforce::OnExcess);
    new.know_ordinary();
    new.now = new.now + Duration::from_secs(36_000);
    new
}

/// Ten minutes later.
fn cold(mut new: World) -> World {
    new.run(COLD, |_, _| Vec::new());
    new
}

/// The time of the busiest second, in an incident or outside any.
fn busiest(work: &[Work], in_incident: bool) -> Duration {
    let per_second = (Duration::from_secs(1).as_secs_f64() / TICK.as_secs_f64()).round() as usize;
    let seconds = work.chunks(per_second).filter(|second| second.iter().any(|work| work.in_incident) == in_incident);
    seconds.map(|second| second.iter().map(|work| work.time).sum()).max().unwrap_or_default()
}

fn outcome(world: &mut World, onset: f64) -> Outcome {
    let status = world.status();
    let memory_bytes = world.memory_bytes();
    let tally = &world.tally;
    let right = tally.right_tick();
    let opened = |at| tally.events.iter().any(|event| event.kind == EventKind::IncidentOpened && event.at == at);
    let incident = status.incidents.first().filter(|incident| opened(incident.opened));
    Outcome {
        time_to_rule: right.map(|tick| (tick as f64 * TICK.as_secs_f64() - onset).max(0.0)),
        strength: None,
        recall: right.map_or(0.0, |tick| tally.recall_since(tick)),
        wanted: (tally.wanted, tally.wanted_refused),
        rules: tally.rules.values().filter(|rule| !rule.text.is_empty()).cloned().collect(),
        flaps: flaps(&tally.events),
        verdict: incident.map(|incident| incident.verdict),
        explanation: incident.map_or_else(String::new, |incident| incident.explanation.clone()),
        busiest_second: busiest(&tally.work, true),
        busiest_quiet_second: busiest(&tally.work, false),
        incidents: told(&tally.events, world.began()),
        memory_bytes,
    }
}

/// How many rules left and came back within a minute, under the same number or with the same text.
fn flaps(events: &[Event]) -> usize {
    fn number(event: &Event) -> Option<&str> {
        event.text.split(' ').next()
    }
    fn rule(event: &Event) -> Option<&str> {
        event.text.split_once(": ").map(|(_, rule)| rule)
    }
    let is_same = |one: &Event, other: &Event| number(one) == number(other) || rule(one) == rule(other);
    let enforced = || events.iter().filter(|event| event.kind == EventKind::RuleEnforced);
    // What was in shadow only has not been in force.
    let was_in_force = |left: &&Event| enforced().any(|event| event.at <= left.at && is_same(event, left));
    let comes_back = |left: &&Event| {
        enforced().any(|event| event.at > left.at && event.at.since(left.at) < FLAP && is_same(event, left))
    };
    let left = events.iter().filter(|event| matches!(event.kind, EventKind::RuleRetired | EventKind::RuleWithdrawn));
    left.filter(was_in_force).filter(comes_back).count()
}

/// The events of each incident in words.
fn told(events: &[Event], began: Timestamp) -> Vec<Vec<String>> {
    let mut incidents: Vec<Vec<String>> = Vec::new();
    for event in events {
        let told = format!("{:.2} s: {}", event.at.since(began).as_secs_f64(), event.text);
        match incidents.last_mut() {
            Some(last) if event.kind != EventKind::IncidentOpened => last.push(told),
            _ => incidents.extend((event.kind == EventKind::IncidentOpened).then(|| vec![told])),
        }
    }
    incidents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_comes_back_within_a_minute_has_flapped() {
        let event =
            |seconds, kind, text: &str| Event { at: Timestamp::from_seconds(seconds), kind, text: text.to_owned() };
        let enforced = event(10, EventKind::RuleEnforced, "R1 refuses with 403, explains 90%: path = \"/a\"");
        let left = event(20, EventKind::RuleRetired, "R1 retired, another explains more: path = \"/a\"");
        let armed = |seconds| {
            let text = "R1 refuses with 403, armed again: the flood is back: path = \"/a\"";
            event(seconds, EventKind::RuleEnforced, text)
        };
        let anew = event(70, EventKind::RuleEnforced, "R2 refuses with 403, explains 80%: path = \"/a\"");
        let other = event(30, EventKind::RuleEnforced, "R3 refuses with 403, explains 80%: path = \"/b\"");
        assert_eq!(flaps(&[enforced.clone(), left.clone(), armed(25)]), 1);
        assert_eq!(flaps(&[enforced.clone(), left.clone(), anew]), 1);
        assert_eq!(flaps(&[enforced.clone(), left.clone(), armed(80)]), 0);
        assert_eq!(flaps(&[enforced, left.clone(), other]), 0);
        assert_eq!(flaps(&[left, armed(25)]), 0, "it was not in force before");
    }
}
