//! One look into an open incident: mines each cost that exceeds what is normal, asks whether it is a crowd, and says
//! what the excess is. It changes nothing; what it finds goes to the ladder.
//!
//! The search of each cost is in `searching`, what is told of crowds in `crowds`, and how a finding is put in `evidence`.

mod crowds;
mod evidence;
mod searching;

use std::time::Duration;

use crate::address::AddressSet;
use crate::decision::{Condition, CostKind, Finding, NamedShape, RuleId, Shape, Told, Verdict};
use crate::units::Timestamp;

use crowds::is_mostly_crowd;

use super::assets::Assets;
use super::before::Before;
use super::cover::joint_coverage;
use super::crowd::{Crowd, Ordinary, crowd};
use super::marked::Marked;
use super::material::Material;
use super::mining::{Candidate, Mining};
use super::people::People;
use super::readers::Readers;
use super::recent::{Answered, Sampled};
use super::seasonal::SAMPLE_SECONDS;
use super::seen::Seen;
use super::shapes::{Rhythms, Scene, shapes};
use super::trigger::Reading;
use super::values::{Item, Keys, Texts};
use super::verdict::explanation;
use super::waiting::{Usual, Waiting};

/// How much ordinary growth may explain.
const GROWTH_MAX: f64 = 1.5;

/// Normal requests of returning clients below which growth is not estimated.
const GROWTH_REQUESTS_MIN: f64 = 20.0;

/// An excess of which this share is already answered (foreign hosts, limits) needs no rule.
const ANSWERED_SHARE: f64 = 0.7;

/// An excess of less than this part of what is normal has no structure worth a rule.
const EXCESS_MIN: f64 = 0.5;

/// What is left of the requests is searched again when it is more than the unevenness of ordinary traffic. Below this many times
/// as much, a rule has to name what nobody has had in 28 days: the rest may be visitors at work.
const REST_UNEVEN: f64 = 2.0;

/// *Explained*: this share of the excess, and at most this share of normal traffic.
pub(crate) const EXPLAINED_SHARE: f64 = 0.8;
const EXPLAINED_COLLATERAL: f64 = 0.01;

/// Before this much time nothing is called not separable.
const DECISION_TIME: Duration = Duration::from_secs(5);

/// Everything that a look needs.
pub(crate) struct Inquiry<'a> {
    pub(crate) material: Material<'a>,
    pub(crate) costs: &'a [CostKind],
    pub(crate) readings: &'a [Reading],
    /// Which values were ever seen, where that is known.
    pub(crate) seen: Option<&'a Seen>,
    pub(crate) texts: &'a Texts,
    pub(crate) keys: &'a Keys,
    pub(crate) marked: &'a Marked,
    pub(crate) never_ban: &'a AddressSet,
    pub(crate) rhythms: &'a Rhythms,
    /// Who came just before, where the normal traffic does not tell.
    pub(crate) before: Option<&'a Before>,
    /// The values of the rules that stand already.
    pub(crate) standing: &'a [Vec<Item>],
    /// Those of them that are in force and hurt hardly anybody: what they hit is explained.
    pub(crate) kept: &'a [Vec<Item>],
    pub(crate) in_force: &'a [InForce],
    /// Where a crowd was seen in this incident: who has read since.
    pub(crate) crowd: Option<CrowdBefore<'a>>,
    /// Whether there was one until just now, of which this may be what is left.
    pub(crate) was_crowd: bool,
    /// Whether it was noticed only just now, by clients who arrive with one agent that ordinary visitors do not have: in the
    /// first requests others have as much in common by chance, so a rule has to name something that ordinary visitors hardly have.
    pub(crate) is_of_newcomers: bool,
}

/// A rule in force of which it is to be said what they do who are given something by the site.
pub(crate) struct InForce {
    pub(crate) rule: RuleId,
    pub(crate) items: Vec<Item>,
    pub(crate) since: Timestamp,
}

/// What a look has found.
#[derive(Debug)]
pub(crate) struct Insight {
    pub(crate) verdict: Verdict,
    pub(crate) shapes: Vec<NamedShape>,
    pub(crate) explanation: String,
    /// What could become rules, with the values behind the conditions.
    pub(crate) findings: Vec<Found>,
    /// What turned out to be a crowd, or a side of one.
    pub(crate) spared: Vec<Spared>,
    /// What they tell of rules in force, to whom the site has given something.
    pub(crate) told: Vec<(RuleId, Told)>,
    pub(crate) crowd_seen: CrowdSeen,
}

/// A crowd that was seen before.
#[derive(Clone, Copy)]
pub(crate) struct CrowdBefore<'a> {
    /// Who has read meanwhile.
    pub(crate) readers: &'a Readers,
    /// When it was last known by what all of it did.
    pub(crate) seen: Timestamp,
}

/// Whether a crowd is seen, and not only what may be left of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CrowdSeen {
    /// Whether there is one by what all of it does, be it beside more that is none.
    pub(crate) by_all: bool,
    /// Whether, by that or by those who have read before, it is most of what there is that is not to be enforced against.
    pub(crate) goes_on: bool,
}

/// What is not to be enforced against.
#[derive(Debug)]
pub(crate) struct Spared {
    pub(crate) conditions: Vec<Condition>,
    /// Whether it is only a side of a crowd, or of what may be left of one.
    pub(crate) is_side: bool,
}

/// A rule that is proposed, with the values behind its conditions.
type Found = (Vec<Item>, Finding);

/// What a look reckons with throughout.
struct View<'a> {
    growth: f64,
    waiting: Waiting,
    ordinary: Ordinary,
    people: People<'a>,
    assets: Assets<'a>,
}

/// What one cost's search has chosen.
struct Choice {
    candidate: Candidate,
    crowd: Crowd,
    /// The share of the whole excess of its cost that it explains. The candidate's own is of what was searched, which may be what
    /// other choices have left.
    share: f64,
}

impl<'a> Inquiry<'a> {
    pub(crate) fn look(&self) -> Insight {
        let view = self.view();
        let mut choices: Vec<Choice> = Vec::new();
        let mut covered = 0.0_f64;
        let mut external = false;
        let mut excess_of_requests = 0.0;
        // Requests are searched twice: beside a large part of an excess, one that would be an excess by itself looks small.
        let passes = |cost| if cost == CostKind::Requests { 2 } else { 1 };
        for (cost, pass) in self.mined_costs().flat_map(|cost| (0..passes(cost)).map(move |pass| (cost, pass))) {
            let is_rest = pass > 0;
            // Where the first search has found nothing the second would look at the same.
            if is_rest && choices.is_empty() {
                continue;
            }
            let column = self.column(cost, &view, &choices);
            let is_worth = if is_rest {
                self.is_rest_beyond(&column, 1.0)
            } else {
                self.is_worth_mining(cost, &column, &view, !choices.is_empty() || !self.standing.is_empty())
            };
            if column.offered.is_empty() || !is_worth {
                continue;
            }
            let mining = Mining::new(&column);
            let chosen = self.mine(cost, &mining, &view);
            if cost == CostKind::Requests && !is_rest {
                excess_of_requests = mining.excess();
            }
            let part = if is_rest && excess_of_requests > 0.0 { mining.excess() / excess_of_requests } else { 1.0 };
            let is_slight = is_rest && !self.is_rest_beyond(&column, REST_UNEVEN);
            let mut against = Vec::new();
            for candidate in chosen.into_iter().filter(|candidate| !is_slight || candidate.is_unheard_of) {
                if cost != CostKind::Requests && !self.asks_more(&candidate, &view) {
                    external = true;
                    continue;
                }
                if choices.len() < super::cover::RULES_MAX {
                    let crowd = self.crowd_of(&candidate, &view);
                    if crowd.is_none() {
                        against.push(candidate.clone());
                    }
                    let share = candidate.score.coverage * part;
                    choices.push(Choice { candidate, crowd, share });
                }
            }
            if !is_rest {
                covered = covered.max(joint_coverage(&against, &mining));
            }
        }

        let scene = Scene {
            rows: self.material.rows().to_vec(),
            marked: self.marked,
            texts: self.texts,
            expected: self.rate(CostKind::Requests) * view.growth * self.material.seconds(),
            rhythms: self.rhythms,
        };
        let mut shapes = shapes(&scene);
        let answered =
            scene.requests(|sampled| matches!(sampled.row.answered, Answered::Misdirected | Answered::Otherwise));
        let is_answered = answered >= ANSWERED_SHARE * scene.excess() && answered >= 10.0;
        // Without more requests than usual there is no crowd, whatever else is dear; and what rules hit already is none.
        let is_left = |sampled: &Sampled<'_>| !self.standing.iter().any(|items| sampled.row.marks.has_all(items));
        let left = scene.requests(is_left) - scene.expected;
        let more = left >= EXCESS_MIN * scene.expected && self.readings.first().is_some_and(|now| !now.calm);
        let whole = if choices.is_empty() && !is_answered && more && self.costs.contains(&CostKind::Requests) {
            let mineable = self.material.since_onset().iter().filter(|sampled| sampled.row.is_mineable());
            let left = mineable.filter(|sampled| is_left(sampled)).copied();
            crowd(&[], left, self.material.now, &view.assets, view.ordinary, false)
        } else {
            Crowd::No
        };
        let verdict = self.verdict(&choices, covered, is_answered, external, whole);
        let (findings, spared) = self.findings(&choices, &view, verdict);
        let told = self.told(&view);
        let has_met_people = told.iter().any(|(_, told)| *told == Told::People);
        let is_seen =
            choices.iter().map(|choice| choice.crowd).chain([whole]).any(|crowd| matches!(crowd, Crowd::Yes(_)));
        let crowd_seen = CrowdSeen {
            by_all: is_seen || has_met_people,
            goes_on: verdict == Verdict::Crowd || has_met_people || is_mostly_crowd(&choices, &findings),
        };
        let is_leftover = self.was_crowd && findings.is_empty() && (!spared.is_empty() || has_met_people);
        let verdict = if is_leftover { Verdict::Crowd } else { verdict };
        let crowd_reason = choices.iter().map(|choice| choice.crowd).chain([whole]).find_map(Crowd::reason);
        if verdict == Verdict::Crowd {
            let evidence = crowd_reason.unwrap_or("what is left of a crowd").to_owned();
            shapes.push(NamedShape { shape: Shape::Crowd, evidence });
            shapes.retain(|named| named.shape != Shape::Distributed);
        }
        let explanation = explanation(
            verdict,
            self.costs.first().copied().unwrap_or(CostKind::Requests),
            self.readings,
            &findings.iter().map(|(_, finding)| finding).collect::<Vec<_>>(),
            answered / scene.requests(|_| true).max(1.0),
            crowd_reason,
        );
        Insight { verdict, shapes, explanation, findings, spared, told, crowd_seen }
    }

    /// What of the choices could become rules, and what is a crowd or a side of one.
    fn findings(&self, choices: &[Choice], view: &View<'_>, verdict: Verdict) -> (Vec<Found>, Vec<Spared>) {
        let mut findings = Vec::new();
        let mut spared = Vec::new();
        // A crowd has many sides; while one of them is seen, and for a while after, none is enforced against, but for what is no
        // side of it: the mark of a sender whom nobody has seen in ordinary traffic.
        let is_beside_crowd = verdict == Verdict::Crowd || self.was_crowd;
        for choice in choices {
            let Some(conditions) = self.conditions(&choice.candidate.items, self.material.rows()) else { continue };
            match choice.crowd {
                Crowd::Yes(_) | Crowd::Reading => spared.push(Spared { conditions, is_side: false }),
                Crowd::No | Crowd::Unanswered | Crowd::TooEarly => {
                    let finding = Finding {
                        conditions,
                        evidence: self.evidence(&choice.candidate, view),
                        normal_rate: self.normal_rate(&choice.candidate.items) * view.growth,
                        of_left: choice.candidate.score.coverage as f32,
                        cleared: choice.crowd.is_none() && !self.is_side(choice, choices),
                        is_unanswered: choice.crowd == Crowd::Unanswered,
                        has_foreign_mark: self.has_foreign_mark(&choice.candidate.items),
                        is_beside_crowd,
                    };
                    if is_beside_crowd && !self.is_apart(choice, &finding) {
                        spared.push(Spared { conditions: finding.conditions, is_side: true });
                    } else {
                        findings.push((choice.candidate.items.clone(), finding));
                    }
                }
            }
        }
        (findings, spared)
    }

    fn view(&self) -> View<'_> {
        let Material { around, reference, .. } = &self.material;
        let rows = self.material.rows();
        View {
            growth: self.growth(rows),
            waiting: self.waiting(),
            ordinary: reference.ordinary(),
            people: People::new(rows, around.iter().copied(), reference),
            assets: Assets::new(self.marked, reference.files(), self.material.since_onset()),
        }
    }

    /// How long requests wait before the site works on them.
    fn waiting(&self) -> Waiting {
        if !self.costs.iter().any(|cost| matches!(cost, CostKind::UpstreamTime | CostKind::ConnectionTime)) {
            return Waiting::default();
        }
        let usual = self.material.reference.answers();
        let usual = Usual { rate: usual.rate * self.rate(CostKind::Requests), ..usual };
        let time = |sampled: &Sampled<'_>| match sampled.row.under_way {
            true => 0.0,
            false => f64::from(sampled.row.whole(CostKind::UpstreamTime as usize)),
        };
        // From before the onset, too: an empty moment is bridged from its neighbours.
        Waiting::new(&self.material.around, time, usual)
    }

    /// Requests first: what they explain needs no other reason.
    fn mined_costs(&self) -> impl Iterator<Item = CostKind> + '_ {
        CostKind::ALL.into_iter().filter(|cost| self.costs.contains(cost))
    }

    /// What is normal of this cost, per second.
    fn rate(&self, cost: CostKind) -> f64 {
        self.readings.get(cost as usize).map_or(0.0, |reading| reading.normal.median / SAMPLE_SECONDS as f64)
    }

    /// How much more than usual the old acquaintances ask for: ordinary growth, as at the beginning of the week.
    fn growth(&self, rows: &[Sampled<'_>]) -> f64 {
        let share = self.material.reference.returning_share();
        let expected = self.rate(CostKind::Requests) * share * self.material.seconds();
        if expected < GROWTH_REQUESTS_MIN {
            return 1.0;
        }
        let found: f64 = rows.iter().filter(|sampled| sampled.row.returning).map(|sampled| sampled.cost(0)).sum();
        (found / expected).clamp(1.0, GROWTH_MAX)
    }

    fn verdict(&self, choices: &[Choice], covered: f64, is_answered: bool, external: bool, whole: Crowd) -> Verdict {
        let coverage = |wanted: fn(&Crowd) -> bool| -> f64 {
            choices.iter().filter(|choice| wanted(&choice.crowd)).map(|choice| choice.share).sum()
        };
        let crowd = coverage(|crowd| crowd.reason().is_some());
        let early = coverage(|crowd| *crowd == Crowd::TooEarly);
        let flood = coverage(|crowd| crowd.is_none());
        // Before the crowd: what is left beside strays of many kinds may look like one.
        if is_answered && flood == 0.0 {
            return Verdict::Explained;
        }
        if crowd > flood || whole.reason().is_some() {
            return Verdict::Crowd;
        }
        if early > flood {
            return Verdict::Undecided;
        }
        if flood > 0.0 {
            let collateral: f64 = choices.iter().map(|choice| choice.candidate.collateral).sum();
            return if covered >= EXPLAINED_SHARE && collateral <= EXPLAINED_COLLATERAL {
                Verdict::Explained
            } else {
                Verdict::Partial
            };
        }
        if !self.standing.is_empty() {
            // Between pulses there is nothing to explain; what it was remains what it was.
            return Verdict::Undecided;
        }
        let requests_are_normal = self.readings.first().is_some_and(|reading| reading.calm && !reading.exceeds);
        if external || (requests_are_normal && self.costs.iter().any(|cost| *cost != CostKind::Requests)) {
            return Verdict::External;
        }
        if self.material.now.since(self.material.onset) < DECISION_TIME || !self.material.reference.is_telling() {
            Verdict::Undecided
        } else {
            Verdict::NotSeparable
        }
    }
}
