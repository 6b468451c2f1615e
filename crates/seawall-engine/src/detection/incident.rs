//! Incidents: when one opens, what is thought of it, when it is over, and what may not be learned meanwhile.

use std::time::Duration;

use crate::decision::{CostKind, Event, EventKind, IncidentStatus, Ladder, NamedShape, Verdict};
use crate::units::Timestamp;

use super::inquiry::{CrowdSeen, EXPLAINED_SHARE};
use super::mining::DRAWN_MAX;
use super::seasonal::SAMPLE_SECONDS;
use super::trigger::{Exceeded, Reading, Sign};

/// Incidents that are remembered.
const REMEMBERED_MAX: usize = 32;

/// Everything must have been calm for this long, all told, since it last exceeded what is normal, for an incident to be over.
/// A busy moment that exceeds nothing does not count, and does not start it anew: on a small site there is one in most
/// minutes.
const CALM: Duration = Duration::from_secs(60);

/// What came this long before the onset may belong to it and is not learned, in seconds.
const BEFORE_ONSET_SECONDS: u64 = 5;

/// An incident that nothing was done about for this long is what is normal now: learning goes on, within its bounds.
const ACCEPTED_AFTER: Duration = Duration::from_secs(6 * 3600);

/// In its first seconds an incident is looked into with every tick, unless it is a crowd or all that was found is cleared; then
/// this often, and later this often. Where there are so many rows to look at that a search draws out of them, each look costs several times
/// as much, and in its first seconds it is taken twice a second, then once.
const EAGER: Duration = Duration::from_secs(3);
const KEEN: Duration = Duration::from_secs(10);
const KEEN_INTERVAL: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_secs(1);
const ROWS_MANY: usize = DRAWN_MAX;

/// After that, while what was found explains it and is being done, this often: the search then only confirms, and on one core it takes
/// from the visitors. A second flood beside the first is found that much later.
const SETTLED_INTERVAL: Duration = Duration::from_secs(3);

/// How long before it was noticed what is like no ordinary traffic has begun, at least.
const SUSPECT: Duration = Duration::from_secs(60);

/// How long a new verdict must hold before it replaces one that was already given, so that it does not flicker.
const VERDICT_HOLD: Duration = Duration::from_secs(1);

/// What has been a crowd for this long leaves its sides behind when it goes, for this long: what is left of a crowd looks like many
/// things.
const CROWD: Duration = Duration::from_secs(5);
const CROWD_LEAVES: Duration = Duration::from_secs(60);

/// One incident.
#[derive(Clone, Debug)]
pub(crate) struct Incident {
    pub(crate) id: u32,
    pub(crate) opened: Timestamp,
    pub(crate) onset: Timestamp,
    closed: Option<Timestamp>,
    /// The costs that exceeded what is normal, the first one first.
    pub(crate) costs: Vec<CostKind>,
    verdict: Verdict,
    /// A verdict that is not yet believed, and since when it was given.
    next_verdict: Option<(Verdict, Timestamp)>,
    /// Since when the verdict stands.
    since: Timestamp,
    /// When a crowd was last known by what all of it did.
    crowd_seen: Option<Timestamp>,
    /// When it was last a crowd, and had been one for a while.
    crowd_until: Option<Timestamp>,
    shapes: Vec<NamedShape>,
    explanation: String,
    offered_rate: f64,
    offered_peak: f64,
    normal_rate: f64,
    judged: Timestamp,
    /// Whether the last look has found rules, and knows of each that it hits no crowd.
    is_cleared: bool,
    /// For how long it has been calm, as of `settled`.
    calm: Duration,
    settled: Timestamp,
    /// Whether anything is being done about it.
    enforcing: bool,
    /// By what it was noticed; `None` for one that exceeds nothing, but is like no site's ordinary traffic.
    sign: Option<Sign>,
}

impl Incident {
    /// Whether it is time to look into it, where there are so many rows since its onset.
    pub(crate) fn is_due(&self, now: Timestamp, rows: usize) -> bool {
        let is_settled =
            self.verdict == Verdict::Explained && self.next_verdict.is_none() && self.enforcing && self.is_cleared;
        let interval = match now.since(self.opened) {
            age if is_settled && age >= KEEN => SETTLED_INTERVAL,
            age if age < EAGER && rows <= ROWS_MANY / 2 && !self.is_cleared && self.verdict != Verdict::Crowd => {
                Duration::ZERO
            }
            age if age < KEEN && rows <= ROWS_MANY => KEEN_INTERVAL,
            _ => INTERVAL,
        };
        now.since(self.judged) >= interval
    }

    /// Whether it was opened only just now because of an agent that ordinary visitors do not have.
    pub(crate) fn is_of_newcomers(&self, now: Timestamp) -> bool {
        self.sign == Some(Sign::Newcomers) && now.since(self.opened) < KEEN
    }

    /// Whether it is one because it is like no site's ordinary traffic, and not because it exceeds what is normal here.
    pub(crate) const fn is_by_prior(&self) -> bool {
        self.sign.is_none()
    }

    /// Whether it is time to look for what has only just begun.
    pub(crate) fn is_due_for_newcomers(&self, now: Timestamp) -> bool {
        now.since(self.opened) >= EAGER && now.since(self.judged) >= KEEN_INTERVAL
    }

    /// When a crowd was last known by what all of it did, be it beside a flood.
    pub(crate) const fn crowd_seen(&self) -> Option<Timestamp> {
        self.crowd_seen
    }

    /// Whether it was a crowd until just now.
    pub(crate) fn was_crowd(&self, now: Timestamp) -> bool {
        self.crowd_until.is_some_and(|until| now.since(until) <= CROWD_LEAVES)
    }

    fn status(&self, ladder: &Ladder) -> IncidentStatus {
        IncidentStatus {
            id: self.id,
            opened: self.opened,
            closed: self.closed,
            cost: self.costs.first().copied().unwrap_or(CostKind::Requests),
            offered_rate: if self.closed.is_some() { self.offered_peak } else { self.offered_rate },
            normal_rate: self.normal_rate,
            verdict: self.verdict,
            shapes: self.shapes.clone(),
            explanation: self.explanation.clone(),
            rules: ladder.of_incident(self.id),
        }
    }
}

/// What a look into an incident has come to.
#[derive(Clone, Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) shapes: Vec<NamedShape>,
    pub(crate) explanation: String,
    /// Whether it has found rules, and knows of each that it hits no crowd.
    pub(crate) is_cleared: bool,
    pub(crate) crowd_seen: CrowdSeen,
    /// Whether there is a rule among them that does not stand yet.
    pub(crate) is_news: bool,
    /// The share of the excess that the rules in force have explained, each of what those before it left.
    pub(crate) explained_in_force: f32,
}

/// The open incident, if any, and those before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incidents {
    open: Option<Incident>,
    closed: Vec<Incident>,
    last_id: u32,
    /// Seconds of the last incident, from a little before its onset to its end.
    tainted: Option<(u64, u64)>,
}

impl Incidents {
    pub(crate) const fn open(&self) -> Option<&Incident> {
        self.open.as_ref()
    }

    /// The last number that was given to one.
    pub(crate) const fn last_number(&self) -> u32 {
        self.last_id
    }

    /// Goes on after this number, which another had before a restart.
    pub(crate) fn number_after(&mut self, last: u32) {
        self.last_id = self.last_id.max(last);
    }

    /// Whether what was seen in this second may teach what is normal.
    pub(crate) fn may_learn(&self, second: u64) -> bool {
        if self.tainted.is_some_and(|(from, until)| (from..=until).contains(&second)) {
            return false;
        }
        self.open.as_ref().is_none_or(|open| {
            let accepted = !open.enforcing && second > (open.opened + ACCEPTED_AFTER).as_seconds();
            accepted || second + BEFORE_ONSET_SECONDS < open.onset.as_seconds()
        })
    }

    /// Opens an incident, or adds costs to the open one.
    pub(crate) fn exceeded(&mut self, now: Timestamp, exceeded: &[Exceeded], readings: &[Reading]) -> Option<Event> {
        let first = exceeded.first()?;
        if let Some(open) = &mut self.open {
            for exceeded in exceeded {
                if !open.costs.contains(&exceeded.cost) {
                    open.costs.push(exceeded.cost);
                }
            }
            return None;
        }
        let costs = exceeded.iter().map(|exceeded| exceeded.cost).collect();
        let why = first.sign.describe(first.cost);
        Some(self.begin(now, first.onset, costs, readings, Some(first.sign), &why))
    }

    /// Opens an incident for what is like no site's ordinary traffic, unless one is open.
    pub(crate) fn suspected(&mut self, now: Timestamp, readings: &[Reading]) -> Option<Event> {
        if self.open.is_some() {
            return None;
        }
        let why = "the server is under stress, and what comes is like no site's ordinary traffic";
        Some(self.begin(now, now - SUSPECT, vec![CostKind::Requests], readings, None, why))
    }

    fn begin(
        &mut self,
        now: Timestamp,
        onset: Timestamp,
        costs: Vec<CostKind>,
        readings: &[Reading],
        sign: Option<Sign>,
        why: &str,
    ) -> Event {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let cost = costs.first().copied().unwrap_or(CostKind::Requests);
        let reading = readings.get(cost as usize).copied().unwrap_or_default();
        let seconds = SAMPLE_SECONDS as f64;
        self.open = Some(Incident {
            id: self.last_id,
            opened: now,
            onset,
            closed: None,
            costs,
            verdict: Verdict::Undecided,
            next_verdict: None,
            since: now,
            crowd_seen: None,
            crowd_until: None,
            shapes: Vec::new(),
            explanation: "too early to say what it is".to_owned(),
            offered_rate: reading.offered / seconds,
            offered_peak: reading.offered / seconds,
            normal_rate: reading.normal.median / seconds,
            judged: Timestamp::EPOCH,
            is_cleared: false,
            calm: Duration::ZERO,
            settled: now,
            enforcing: false,
            sign,
        });
        let text = format!("incident {} opened: {why}", self.last_id);
        Event { at: now, kind: EventKind::IncidentOpened, text }
    }

    /// Takes what a look has found.
    pub(crate) fn judged(&mut self, now: Timestamp, judgement: Judgement, enforcing: bool) -> Option<Event> {
        let Judgement { verdict, shapes, explanation, is_cleared, crowd_seen, is_news, explained_in_force } = judgement;
        let open = self.open.as_mut()?;
        open.judged = now;
        open.is_cleared = is_cleared;
        open.enforcing = enforcing;
        if crowd_seen.by_all {
            open.crowd_seen = Some(now);
        }
        let was_for_a_while = open.verdict == Verdict::Crowd && now.since(open.since) >= CROWD;
        if crowd_seen.goes_on && (was_for_a_while || open.was_crowd(now)) {
            open.crowd_until = Some(now);
        }
        // What rules refuse costs the site nothing, so of a cost no look sees any more how much of it they explain: it is told by
        // what each explained when it was put in force, and only something new says anything else.
        let is_by_cost = open.costs.first().is_some_and(|cost| *cost != CostKind::Requests);
        let is_spared = is_by_cost && enforcing && !is_news;
        let verdict = if is_spared && verdict != Verdict::Undecided {
            match open.verdict {
                Verdict::Explained => Verdict::Explained,
                _ if explained_in_force >= EXPLAINED_SHARE as f32 => Verdict::Explained,
                Verdict::Partial => Verdict::Partial,
                _ => verdict,
            }
        } else {
            verdict
        };
        // When the excess is gone, what it was remains what it was.
        if !open.calm.is_zero() && open.verdict != Verdict::Undecided {
            return None;
        }
        if verdict == open.verdict {
            open.next_verdict = None;
            // Nor does a look see any more what the excess had in common.
            if !is_spared {
                open.explanation = explanation;
                open.shapes = shapes;
            }
            return None;
        }
        if verdict == Verdict::Undecided {
            return None;
        }
        let since = match open.next_verdict {
            Some((next, since)) if next == verdict => since,
            _ => now,
        };
        open.next_verdict = Some((verdict, since));
        if open.verdict != Verdict::Undecided && now.since(since) < VERDICT_HOLD {
            return None;
        }
        open.verdict = verdict;
        open.since = now;
        open.next_verdict = None;
        open.shapes = shapes;
        open.explanation = explanation;
        let text = format!("incident {}: {}", open.id, open.explanation);
        Some(Event { at: now, kind: EventKind::VerdictChanged, text })
    }

    /// What a rule in force met is a crowd: that the site had peace while it was refused is no end of the incident, and its other sides
    /// are not to be refused next.
    pub(crate) fn note_crowd(&mut self, now: Timestamp) {
        if let Some(open) = &mut self.open {
            open.calm = Duration::ZERO;
            (open.crowd_seen, open.crowd_until) = (Some(now), Some(now));
        }
    }

    /// Follows the rates of the open incident, and closes it when it is over.
    pub(crate) fn settle(&mut self, now: Timestamp, readings: &[Reading], enforcing: bool) -> Option<Event> {
        let open = self.open.as_mut()?;
        let cost = open.costs.first().copied().unwrap_or(CostKind::Requests);
        if let Some(reading) = readings.get(cost as usize) {
            open.offered_rate = reading.offered / SAMPLE_SECONDS as f64;
            open.offered_peak = open.offered_peak.max(open.offered_rate);
            open.normal_rate = reading.normal.median / SAMPLE_SECONDS as f64;
        }
        open.enforcing = enforcing;
        let passed = now.since(open.settled);
        open.settled = now;
        if readings.iter().any(|reading| reading.exceeds) {
            open.calm = Duration::ZERO;
        } else if readings.iter().all(|reading| reading.calm) {
            open.calm += passed;
        }
        if open.calm < CALM || enforcing {
            return None;
        }
        self.close(now)
    }

    /// Closes the open incident, whatever comes: the guard stops.
    pub(crate) fn stop(&mut self, now: Timestamp) -> Option<Event> {
        let open = self.open.as_mut()?;
        open.explanation = format!("the guard stopped; until then {}", open.explanation);
        self.close(now)
    }

    fn close(&mut self, now: Timestamp) -> Option<Event> {
        let mut incident = self.open.take()?;
        incident.closed = Some(now);
        let from = incident.onset.as_seconds().saturating_sub(BEFORE_ONSET_SECONDS);
        // An incident soon after another keeps the older one's rows out as well: they are still in the sample.
        let from = self.tainted.filter(|(_, until)| until + 60 >= from).map_or(from, |(older, _)| older);
        self.tainted = Some((from, now.as_seconds()));
        let text = format!("incident {} is over: {}", incident.id, incident.explanation);
        self.closed.insert(0, incident);
        self.closed.truncate(REMEMBERED_MAX);
        Some(Event { at: now, kind: EventKind::IncidentClosed, text })
    }

    pub(crate) fn status(&self, ladder: &Ladder) -> Vec<IncidentStatus> {
        self.open.iter().chain(&self.closed).map(|incident| incident.status(ladder)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_rarer_where_they_see_more() {
        let opened = Timestamp::from_seconds(1000);
        let millis = Duration::from_millis;
        // How long after a look, so long after it was opened, the next is due.
        let interval = |age: u64, rows: usize| {
            let mut incidents = Incidents::default();
            incidents.suspected(opened, &[Reading::default()]);
            let looked = opened + millis(age);
            let judgement = Judgement {
                explained_in_force: 0.0,
                verdict: Verdict::Undecided,
                shapes: Vec::new(),
                explanation: String::new(),
                is_cleared: false,
                crowd_seen: CrowdSeen::default(),
                is_news: false,
            };
            incidents.judged(looked, judgement, false);
            let open = incidents.open().expect("it was opened");
            (0..).map(|tick| tick * 250).find(|after| open.is_due(looked + millis(*after), rows))
        };
        for (age, rows, expected) in [
            (1000, 100, 0),
            (1000, ROWS_MANY / 2, 0),
            (1000, ROWS_MANY / 2 + 1, 500),
            (1000, ROWS_MANY + 1, 1000),
            (5000, ROWS_MANY, 500),
            (5000, ROWS_MANY + 1, 1000),
            (20_000, 100, 1000),
        ] {
            assert_eq!(interval(age, rows), Some(expected), "after {age} ms, {rows} rows");
        }
    }
}
