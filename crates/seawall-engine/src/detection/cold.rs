//! The first day of a guard. What it has seen may itself be a flood, so under stress the present is held against what web
//! traffic is like in general (`prior`), too, and what is against all that is slowed down. Such an incident is one of its own
//! kind: the search by what is normal here has no part in it until there is something to compare with.

use std::time::Duration;

use crate::decision::{Event, Evidence, Finding, Permit, Verdict};
use crate::units::{Timestamp, counted};

use super::Detector;
use super::assets::{Assets, Files};
use super::incident::{Incident, Judgement};
use super::inquiry::CrowdSeen;
use super::prior::{Outlook, Suspect};
use super::recent::Sampled;
use super::score::SCORE_MIN;
use super::shapes::{Scene, shapes};
use super::values::Item;

/// How often it is looked, and how often on end the same must be seen.
const INTERVAL: Duration = Duration::from_millis(500);
const HELD: u32 = 2;

/// Learning for so long, in seconds, says what is the site's own, however odd it is.
const OWN_SECONDS: u64 = 3600;

/// What was suspect so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suspicion {
    looked: Timestamp,
    held: u32,
}

impl Detector {
    /// Looks for what is like no site's ordinary traffic, while less than a day is known and the server is under stress.
    pub(super) fn look_by_prior(&mut self, now: Timestamp, permit: Permit) -> Vec<Event> {
        let is_asked = match self.incidents.open() {
            Some(open) => open.is_by_prior(),
            None => self.stress(now).is_some(),
        };
        if !is_asked || !self.seasonal.is_cold() || now.since(self.suspicion.looked) < INTERVAL {
            return Vec::new();
        }
        self.suspicion.looked = now;
        let minute = self.recent.since(Timestamp::EPOCH).filter(|sampled| sampled.row.is_mineable());
        let minute: Vec<Sampled<'_>> = minute.collect();
        let is_own = self.seasonal.learned_seconds() >= OWN_SECONDS;
        let known = if is_own { self.baseline.before(now) } else { Vec::new() };
        let files = Files::new(&self.marked, &known);
        let assets = Assets::new(&self.marked, &files, &minute);
        let suspects = Outlook { minute: &minute, now, assets: &assets, known: &known }.suspects();
        let findings: Vec<(Vec<Item>, Finding)> =
            suspects.iter().filter_map(|suspect| self.finding(suspect, &minute)).collect();
        self.suspicion.held = if findings.is_empty() { 0 } else { self.suspicion.held.saturating_add(1) };
        if self.suspicion.held < HELD {
            return Vec::new();
        }
        let is_suspect = |row: &Sampled<'_>| suspects.iter().any(|suspect| row.row.marks.has_all(&suspect.items));
        let others = minute.iter().filter(|sampled| !is_suspect(sampled)).map(|sampled| sampled.cost(0)).sum();
        let (marked, texts, rhythms) = (&self.marked, &self.texts, &self.rhythms);
        let shapes = shapes(&Scene { rows: minute, marked, texts, expected: others, rhythms });

        let mut events: Vec<Event> = self.incidents.suspected(now, self.trigger.readings()).into_iter().collect();
        let Some(id) = self.incidents.open().map(|open: &Incident| open.id) else { return events };
        let explanation = explanation(&findings, self.ladder.is_beside());
        events.extend(self.take(now, id, findings, permit));
        let enforcing = self.ladder.is_enforcing();
        let judgement = Judgement {
            verdict: Verdict::Partial,
            shapes,
            explanation,
            crowd_seen: CrowdSeen::default(),
            is_cleared: true,
            is_news: true,
            explained_in_force: 0.0,
        };
        events.extend(self.incidents.judged(now, judgement, enforcing));
        events
    }

    /// What a suspect becomes: a rule whose harm is not measured, but reckoned by what is ordinary elsewhere.
    fn finding(&self, suspect: &Suspect, rows: &[Sampled<'_>]) -> Option<(Vec<Item>, Finding)> {
        let rows = || rows.iter().map(|sampled| sampled.row);
        let conditions = suspect.items.iter().map(|item| self.texts.condition(&self.keys, *item, rows()));
        let harm = suspect.ordinary_share as f32;
        let finding = Finding {
            conditions: conditions.collect::<Option<Vec<_>>>()?,
            evidence: Evidence {
                coverage: suspect.share as f32,
                collateral: harm,
                collateral_upper: harm,
                stability: 1.0,
                score: SCORE_MIN as f32,
                rows: suspect.rows,
                clients: suspect.clients,
                closure: Vec::new(),
            },
            normal_rate: suspect.ordinary_rate(),
            of_left: suspect.share as f32,
            cleared: true,
            is_unanswered: false,
            has_foreign_mark: false,
            is_beside_crowd: false,
        };
        Some((suspect.items.clone(), finding))
    }
}

/// What is suspect, in a sentence.
fn explanation(findings: &[(Vec<Item>, Finding)], beside: bool) -> String {
    let each = findings.iter().map(|(_, finding)| {
        let conditions: Vec<String> = finding.conditions.iter().map(ToString::to_string).collect();
        let (share, ordinary) = (finding.evidence.coverage * 100.0, finding.evidence.collateral * 100.0);
        let clients = counted(u64::from(finding.evidence.clients), "client");
        format!("{share:.0}% has {} ({clients}), where {ordinary:.0}% is much elsewhere", conditions.join(" and "))
    });
    let each: Vec<String> = each.collect();
    let slowed = if beside { "it would be slowed down" } else { "slowed down" };
    format!("what is normal here is not known yet; {}; {slowed} for a minute at a time", each.join("; "))
}
