//! One look into an open incident: mines each cost that exceeds what is normal, asks whether it is a crowd, and says
//! what the excess is. It changes nothing; what it finds goes to the ladder.

use std::time::Duration;

use ipnet::IpNet;

use rustc_hash::FxHashSet;

use crate::address::AddressSet;
use crate::decision::{Condition, CostKind, Evidence, Finding, NamedShape, Shape, Verdict};
use crate::observation::attribute::Attribute;

use super::RARE_SHARE;
use super::assets::Assets;
use super::before::Before;
use super::bits::Bits;
use super::cover::{cover, joint_coverage};
use super::crowd::{Crowd, Marked, Ordinary, crowd, nobody_browses};
use super::index::{Matching, RowIndex};
use super::material::Material;
use super::mining::{Candidate, Column, Mining, Weighed};
use super::people::People;
use super::recent::{Answered, Sampled};
use super::score::USERS_MAX;
use super::seasonal::SAMPLE_SECONDS;
use super::seen::Seen;
use super::shapes::{Rhythms, Scene, shapes};
use super::stability::{Stability, turnover};
use super::sustained::is_sustained;
use super::trigger::Reading;
use super::values::{ABSENT, Item, Keys, Texts};
use super::verdict::explanation;
use super::waiting::{Usual, Waiting};

/// How much ordinary growth may explain.
const GROWTH_MAX: f64 = 1.5;

/// Normal requests of returning clients below which growth is not estimated.
const GROWTH_REQUESTS_MIN: f64 = 20.0;

/// How many rows of other windows are looked at.
const INDEXED_ROWS_MAX: usize = 8192;

/// Fewer requests than this prove nothing, in however many parts they have told what they cost.
const REQUESTS_MIN: f64 = 6.0;

/// How many conjunctions are tried on other windows.
const STABILITY_CANDIDATES_MAX: usize = 48;

/// An excess of which this share is already answered (foreign hosts, limits) needs no rule.
const ANSWERED_SHARE: f64 = 0.7;

/// An excess of less than this part of what is normal has no structure worth a rule.
const EXCESS_MIN: f64 = 0.5;

/// What must be left of a cost after the rules found so far, as a share of all that is offered, for a search of its own.
const LEFT_SHARE: f64 = 0.3;

/// What is left of the requests is searched again when it is more than the unevenness of ordinary traffic. Below this many times
/// as much, a rule has to name what nobody has had in 28 days: the rest may be visitors at work.
const REST_UNEVEN: f64 = 2.0;

/// A rule for time or bytes must hit something that is asked for this many times as often as usual; otherwise the
/// requests are as ever and their cost comes from elsewhere.
const REQUESTS_LIFT_MIN: f64 = 2.0;

/// A cost that is at most this many times as much for each request as usual follows the requests.
const DEARER_FACTOR: f64 = 1.5;

/// *Explained*: this share of the excess, and at most this share of normal traffic.
pub(crate) const EXPLAINED_SHARE: f64 = 0.8;
const EXPLAINED_COLLATERAL: f64 = 0.01;

/// Before this much time nothing is called not separable.
const DECISION_TIME: Duration = Duration::from_secs(5);

/// A program is disguised when this share of its requests has the agent of an ordinary visitor.
const DISGUISED_SHARE: f64 = 0.8;

/// Senders are known by their history when old acquaintances send this share, and are no more than so many.
const KNOWN_SHARE: f64 = 0.8;
const KNOWN_CLIENTS_MAX: usize = 256;

/// What has this share of its requests in common with what may be a crowd is a side of it.
const SIDE_SHARE: f64 = 0.3;

/// Rules in force take care of what a further rule is about when they hit this share of it.
const TAKEN_CARE_SHARE: f64 = 0.8;

/// On a guard's first day a further rule must be about more requests a second than a crawler has that comes for the first time,
/// besides being about as many as all that is normal.
const FURTHER_RATE_MIN: f64 = 5.0;

/// Whose requests all share a value when this share does.
const CLOSURE_SHARE: f64 = 0.98;
const CLOSURE_MAX: usize = 8;

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
    /// Whether it was a crowd until just now.
    pub(crate) was_crowd: bool,
    /// Whether it was noticed only just now, by clients who arrive with one agent that ordinary visitors do not have: in the
    /// first requests others have as much in common by chance, so a rule has to name something that ordinary visitors hardly have.
    pub(crate) is_of_newcomers: bool,
}

/// What a look has found.
#[derive(Debug)]
pub(crate) struct Insight {
    pub(crate) verdict: Verdict,
    pub(crate) shapes: Vec<NamedShape>,
    pub(crate) explanation: String,
    /// What could become rules, with the values behind the conditions.
    pub(crate) findings: Vec<Found>,
    /// What turned out to be a crowd.
    pub(crate) crowds: Vec<Vec<Condition>>,
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
                    if crowd == Crowd::No {
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
        let (findings, crowds) = self.findings(&choices, &view, verdict);
        let is_leftover = self.was_crowd && findings.is_empty() && !crowds.is_empty();
        let verdict = if is_leftover { Verdict::Crowd } else { verdict };
        let crowd_reason = choices.iter().map(|choice| choice.crowd).chain([whole]).find_map(|crowd| match crowd {
            Crowd::Yes(reason) => Some(reason),
            Crowd::No | Crowd::TooEarly => None,
        });
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
        Insight { verdict, shapes, explanation, findings, crowds }
    }

    /// What of the choices could become rules, and what is a crowd or a side of one.
    fn findings(&self, choices: &[Choice], view: &View<'_>, verdict: Verdict) -> (Vec<Found>, Vec<Vec<Condition>>) {
        let mut findings = Vec::new();
        let mut crowds = Vec::new();
        for choice in choices {
            let Some(conditions) = self.conditions(&choice.candidate.items, self.material.rows()) else { continue };
            match choice.crowd {
                Crowd::Yes(_) => crowds.push(conditions),
                Crowd::No | Crowd::TooEarly => {
                    let finding = Finding {
                        conditions,
                        evidence: self.evidence(&choice.candidate, view),
                        normal_rate: self.normal_rate(&choice.candidate.items) * view.growth,
                        of_left: choice.candidate.score.coverage as f32,
                        cleared: choice.crowd == Crowd::No && !self.is_side(choice, choices),
                        has_foreign_mark: self.has_foreign_mark(&choice.candidate.items),
                    };
                    findings.push((choice.candidate.items.clone(), finding));
                }
            }
        }
        // A crowd has many sides; while one of them is seen, and for a while after, none is enforced against, but for what is no
        // side of it: the mark of a sender whom nobody has seen in ordinary traffic.
        if verdict == Verdict::Crowd || self.was_crowd {
            let sides = findings.extract_if(.., |(items, finding)| !self.is_apart(items, finding, view));
            crowds.extend(sides.map(|(_, finding)| finding.conditions));
        }
        (findings, crowds)
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

    /// How much of a cost a row stands for. What a request waits behind others is no work of its own.
    fn own_cost(&self, cost: CostKind, sampled: &Sampled<'_>, view: &View<'_>) -> f64 {
        let row = sampled.row;
        let waited = match cost {
            CostKind::Requests | CostKind::Bytes => 0.0,
            CostKind::UpstreamTime | CostKind::ConnectionTime => {
                // A request begins with waiting: of a later part of its time, less is.
                let time = CostKind::UpstreamTime as usize;
                let waited = view.waiting.of(sampled).min(f64::from(row.whole(time))) - f64::from(row.before[time]);
                waited.max(0.0) * f64::from(row.weight) * f64::from(sampled.factor)
            }
        };
        (sampled.cost(cost as usize) - waited).max(0.0)
    }

    /// The share of what is offered of a cost that is not waiting.
    fn own_share(&self, cost: CostKind, view: &View<'_>) -> f64 {
        let rows = || self.material.rows().iter().filter(|sampled| sampled.row.is_mineable());
        let all: f64 = rows().map(|sampled| sampled.cost(cost as usize)).sum();
        let own: f64 = rows().map(|sampled| self.own_cost(cost, sampled, view)).sum();
        if all > 0.0 { own / all } else { 1.0 }
    }

    fn column(&self, cost: CostKind, view: &View<'_>, choices: &[Choice]) -> Column<'a> {
        let weighed =
            |sampled: &Sampled<'a>| Weighed { marks: &sampled.row.marks, weight: self.own_cost(cost, sampled, view) };
        let explained =
            |sampled: &Sampled<'_>| choices.iter().any(|choice| sampled.row.marks.has_all(&choice.candidate.items));
        Column {
            cost,
            offered: self
                .material
                .rows()
                .iter()
                .filter(|sampled| sampled.row.is_mineable() && !explained(sampled))
                .map(weighed)
                .filter(|row| row.weight > 0.0)
                .collect(),
            normal: self.material.reference,
            seen: self.seen,
            expected: self.rate(cost) * view.growth * self.material.seconds(),
        }
    }

    /// Whether what is left of this cost, after the rules found for another, is worth a search of its own: more than
    /// the unevenness of ordinary traffic, in a cost that is not calm.
    fn is_worth_mining(&self, cost: CostKind, column: &Column<'_>, view: &View, explained: bool) -> bool {
        let Some(reading) = self.readings.get(cost as usize) else { return false };
        let excess = column.excess();
        // The reading is of ten seconds, what is mined of fewer or more.
        let part = self.material.seconds() / SAMPLE_SECONDS as f64;
        let uneven = (reading.normal.upper - reading.normal.median).max(0.0) * part;
        let offered = reading.offered * part * self.own_share(cost, view);
        let left = !explained || (!reading.calm && excess > uneven && excess >= LEFT_SHARE * offered);
        left && excess >= EXCESS_MIN * column.expected && excess > 0.0 && !self.follows_requests(cost)
    }

    /// Whether what the rules found so far leave of the requests is itself beyond what is normal, by more than this many times
    /// the unevenness of ordinary traffic.
    fn is_rest_beyond(&self, column: &Column<'_>, uneven_times: f64) -> bool {
        self.readings.first().is_some_and(|reading| {
            let uneven = (reading.normal.upper - reading.normal.median).max(0.0) * self.material.seconds();
            !reading.calm
                && column.excess() > uneven_times * uneven / SAMPLE_SECONDS as f64
                && column.excess() >= column.expected
        })
    }

    /// Whether a cost exceeds what is normal only because there are more requests, each as dear as ever: searching for what
    /// the requests have in common was then enough.
    fn follows_requests(&self, cost: CostKind) -> bool {
        let offered =
            |cost: CostKind| self.material.rows().iter().map(|sampled| sampled.cost(cost as usize)).sum::<f64>();
        let (requests, usual) = (offered(CostKind::Requests), self.rate(CostKind::Requests));
        cost != CostKind::Requests
            && self.costs.contains(&CostKind::Requests)
            && offered(cost) * usual <= DEARER_FACTOR * self.rate(cost) * requests
    }

    fn mine(&self, cost: CostKind, mining: &Mining<'_>, view: &View<'_>) -> Vec<Candidate> {
        let permitted = |item: Item| self.is_permitted(item);
        let mut candidates = mining.candidates(self.standing, &permitted, &|items| view.people.users(items));
        candidates.truncate(STABILITY_CANDIDATES_MAX);
        let conjunctions = candidates.iter().map(|candidate| candidate.items.as_slice());
        let mineable = self.material.around.iter().filter(|sampled| sampled.row.is_mineable()).copied();
        let around = RowIndex::new(mineable.collect(), INDEXED_ROWS_MAX, conjunctions);
        let stability = Stability::new(around.rows(), &self.material.windows, cost, self.rate(cost) * view.growth);
        let onset = self.material.onset.min(self.material.from);
        let mut parts_of_pages = Bits::new(around.rows().len());
        let since_onset = around.rows().partition_point(|sampled| sampled.at >= onset);
        for (at, sampled) in around.rows().iter().take(since_onset).enumerate() {
            if view.assets.is_asset(&sampled.row.marks) {
                parts_of_pages.set(at);
            }
        }
        candidates.retain_mut(|candidate| {
            let items = &candidate.items;
            // Both are the beginning of what matches, the newest first.
            let matching: Vec<_> = around.matching(items).collect();
            let since = |from| &matching[..matching.partition_point(|found| found.sampled.at >= from)];
            let (window, since_onset) = (since(self.material.from), since(onset));
            let requests = since_onset.iter().map(|found| found.sampled.cost(CostKind::Requests as usize));
            if requests.sum::<f64>() < REQUESTS_MIN {
                return false;
            }
            let rate = self.rate(CostKind::Requests) * candidate.collateral;
            if !is_sustained(cost, window, since_onset, &parts_of_pages, rate) {
                return false;
            }
            let names_clients = items.iter().any(|item| item.attribute == Attribute::ClientPrefix);
            let parts = since_onset.iter().filter(|found| parts_of_pages.has(found.place)).count();
            let names_few = names_clients && view.people.users(items) <= USERS_MAX;
            if 2 * parts >= since_onset.len() && !names_few && self.may_be_of_pages(items) {
                return false;
            }
            let is_new = candidate.is_unheard_of || self.has_rare_word(items);
            if self.is_of_newcomers && !is_new
                || self.is_taken_care_of(cost, items, window)
                || self.may_be_first_visit(cost, items, window, view)
            {
                return false;
            }
            if let Some((share, upper)) = self.before.and_then(|before| before.hit(items, self.has_rare_mark(items))) {
                candidate.collateral = candidate.collateral.max(share);
                candidate.score.collateral_upper = candidate.score.collateral_upper.max(upper);
            }
            // Only a rule that names clients loses what it has when the clients change.
            let lost = if names_clients { turnover(since_onset, self.material.now) } else { 0.0 };
            let coverage = stability.coverage(&matching, candidate.expected / self.material.seconds());
            candidate.score.stability = (coverage - lost).clamp(0.0, 1.0);
            true
        });
        cover(&candidates, mining, self.standing, self.kept)
    }

    /// Whether requests for parts of pages that have this in common may come with the pages of ordinary visitors: these say which
    /// page they come with, and all is seen of them in normal traffic.
    fn may_be_of_pages(&self, items: &[Item]) -> bool {
        let may_have = |item: &Item| match item.attribute {
            Attribute::RefererOrigin => item.hash != ABSENT && self.material.reference.has_all(&[*item]),
            attribute => attribute.is_network() || self.material.reference.has_all(&[*item]),
        };
        !self.has_rare_word(items) && items.iter().all(may_have)
    }

    /// Whether rules in force hit nearly all of a cost that a further rule would hit. One ordinary request beside what they hit
    /// makes something wider explain more; and what they let pass to see what comes, with what a refusal costs, stands out in time
    /// and bytes as the flood did.
    fn is_taken_care_of(&self, cost: CostKind, items: &[Item], matching: &[Matching<'_, '_>]) -> bool {
        if self.kept.is_empty() || self.standing.iter().any(|standing| standing == items) {
            return false;
        }
        let is_hit = |sampled: &&Sampled<'_>| self.kept.iter().any(|rule| sampled.row.marks.has_all(rule));
        let rows = || matching.iter().map(|found| found.sampled);
        let all: f64 = rows().map(|sampled| sampled.cost(cost as usize)).sum();
        let hit: f64 = rows().filter(is_hit).map(|sampled| sampled.cost(cost as usize)).sum();
        hit > 0.0 && hit >= TAKEN_CARE_SHARE * all
    }

    /// Whether what a further rule would be about may be a first visit: on the first day that nobody had this before says little, and
    /// a crawler that comes beside a flood is much of what the rules in force have left. It is not as dear as all that is normal.
    fn may_be_first_visit(
        &self,
        cost: CostKind,
        items: &[Item],
        matching: &[Matching<'_, '_>],
        view: &View<'_>,
    ) -> bool {
        if self.seen.is_some() || self.kept.is_empty() || self.standing.iter().any(|standing| standing == items) {
            return false;
        }
        let is_left = |sampled: &&Sampled<'_>| !self.kept.iter().any(|rule| sampled.row.marks.has_all(rule));
        let left = matching.iter().map(|found| found.sampled).filter(is_left);
        let left: f64 = left.map(|sampled| sampled.cost(cost as usize)).sum();
        let usual = self.rate(cost) * view.growth;
        let enough = if cost == CostKind::Requests { usual.max(FURTHER_RATE_MIN) } else { DEARER_FACTOR * usual };
        left < enough * self.material.seconds()
    }

    /// Whether a rule may name this value: no word of any address in an agent, and no network that holds anyone on the
    /// never-ban list.
    fn is_permitted(&self, item: Item) -> bool {
        if self.marked.is_of_address(item) {
            return false;
        }
        if item.attribute != Attribute::ClientPrefix {
            return true;
        }
        let row = self.material.since_onset().iter().find(|sampled| sampled.row.marks.has(item));
        let text = row.and_then(|found| self.texts.text(self.keys, item, &found.row.marks, found.row.client));
        let network = text.and_then(|text| std::str::from_utf8(&text).ok()?.parse::<IpNet>().ok());
        network.is_some_and(|network| !self.never_ban.overlaps(network))
    }

    /// Whether the requests that a rule matches are more than usual, and not only dearer.
    fn asks_more(&self, candidate: &Candidate, view: &View<'_>) -> bool {
        let matched = self.material.rows().iter().filter(|sampled| sampled.row.marks.has_all(&candidate.items));
        let usual = self.normal_rate(&candidate.items) * view.growth * self.material.seconds();
        matched.map(|row| row.cost(0)).sum::<f64>() >= REQUESTS_LIFT_MIN * usual
    }

    /// Requests a second that normal traffic has of this.
    fn normal_rate(&self, items: &[Item]) -> f64 {
        self.rate(CostKind::Requests) * self.material.reference.requests_share(items)
    }

    fn crowd_of(&self, candidate: &Candidate, view: &View<'_>) -> Crowd {
        if self.is_disguised(candidate, view) {
            return Crowd::No;
        }
        if self.is_known_by_history(candidate) {
            return Crowd::TooEarly;
        }
        let rows = || self.material.since_onset().iter().filter(|sampled| sampled.row.is_mineable()).copied();
        let is_foreign = candidate.collateral == 0.0;
        let verdict = crowd(&candidate.items, rows(), self.material.now, &view.assets, view.ordinary, is_foreign);
        if verdict != Crowd::No {
            return verdict;
        }
        // One agent out of a crowd is as alike as a bot. An agent that ordinary visitors have is judged with the others.
        let is_agent = |item: &Item| matches!(item.attribute, Attribute::UserAgent | Attribute::UserAgentWord);
        let agents: Vec<Item> = candidate.items.iter().copied().filter(is_agent).collect();
        let is_ordinary = !agents.is_empty() && self.material.reference.has_all(&agents);
        let others: Vec<Item> = candidate.items.iter().copied().filter(|item| !is_agent(item)).collect();
        if is_ordinary && candidate.score.coverage < 0.5 && !others.is_empty() {
            return crowd(&others, rows(), self.material.now, &view.assets, view.ordinary, false);
        }
        Crowd::No
    }

    /// Whether much of what a rule hits is also hit by another that may yet turn out to be a crowd.
    fn is_side(&self, choice: &Choice, choices: &[Choice]) -> bool {
        if choice.candidate.collateral == 0.0 || self.has_rare_mark(&choice.candidate.items) {
            return false;
        }
        let others: Vec<&[Item]> = choices
            .iter()
            .filter(|other| other.crowd != Crowd::No)
            .map(|other| other.candidate.items.as_slice())
            .collect();
        let (mut all, mut shared) = (0.0, 0.0);
        for sampled in self.material.rows().iter().filter(|row| row.row.marks.has_all(&choice.candidate.items)) {
            all += sampled.cost(0);
            if others.iter().any(|items| sampled.row.marks.has_all(items)) {
                shared += sampled.cost(0);
            }
        }
        shared >= SIDE_SHARE * all
    }

    /// Whether the rule is about a program's agent that ordinary traffic has, and nearly all who send it now have been here before: a
    /// search engine or a monitor that asks for more than usual, from few addresses. Such a rule is shown and not put in force. To have been
    /// here once an hour ago is cheap, so an agent that hardly anybody has, or that browsers have, is not known by it.
    fn is_known_by_history(&self, candidate: &Candidate) -> bool {
        let is_agent = |item: &&Item| matches!(item.attribute, Attribute::UserAgent | Attribute::UserAgentWord);
        let mut agents = candidate.items.iter().filter(is_agent).peekable();
        if candidate.collateral == 0.0 || agents.peek().is_none() || agents.any(|agent| self.is_rare(*agent)) {
            return false;
        }
        let matched = || self.material.since_onset().iter().filter(|row| row.row.marks.has_all(&candidate.items));
        let is_browser =
            |row: &&Sampled<'_>| self.marked.claims_browser(&row.row.marks) && !self.marked.is_named(&row.row.marks);
        let clients: FxHashSet<u32> = matched().map(|row| row.row.client_hash).collect();
        if clients.len() > KNOWN_CLIENTS_MAX || 2 * matched().filter(is_browser).count() > matched().count() {
            return false;
        }
        let returning: f64 = matched().filter(|sampled| sampled.row.returning).map(|sampled| sampled.cost(0)).sum();
        returning >= KNOWN_SHARE * matched().map(|sampled| sampled.cost(0)).sum::<f64>()
    }

    /// Whether the requests call themselves what ordinary visitors do, but were written by a program that no ordinary visitor has:
    /// an order of headers, or a handshake.
    fn is_disguised(&self, candidate: &Candidate, view: &View<'_>) -> bool {
        let is_hand = |item: &&Item| matches!(item.attribute, Attribute::HeaderOrder | Attribute::Ja4);
        let Some(hand) = candidate.items.iter().find(is_hand) else { return false };
        if self.material.reference.has_all(&[*hand]) {
            return false;
        }
        let matched =
            || self.material.since_onset().iter().filter(|sampled| sampled.row.marks.has_all(&candidate.items));
        let claiming = matched().filter(|sampled| view.people.is_ordinary(sampled.row.marks.one(Attribute::UserAgent)));
        claiming.count() as f64 >= DISGUISED_SHARE * matched().count() as f64
    }

    /// Whether the mark of a sender is among these that no normal request has.
    fn has_foreign_mark(&self, items: &[Item]) -> bool {
        let mut marks = items.iter().filter(|item| item.attribute.is_mark() && item.hash != ABSENT);
        marks.any(|mark| !self.material.reference.has_all(&[*mark]))
    }

    /// Whether this is so far from ordinary visitors that it is no side of a crowd: by the mark of its sender, or because none of those
    /// who send it looks at what they get.
    fn is_apart(&self, items: &[Item], finding: &Finding, view: &View<'_>) -> bool {
        let rows = || self.material.since_onset().iter().filter(|sampled| sampled.row.is_mineable()).copied();
        finding.cleared
            && f64::from(finding.evidence.collateral) <= RARE_SHARE
            && (self.has_rare_mark(items)
                || nobody_browses(items, rows(), self.material.now, &view.assets, view.ordinary))
    }

    /// Whether the mark of a sender is among these that hardly any normal request has: what grows slowly has taught a little of its
    /// own before it is noticed.
    fn has_rare_mark(&self, items: &[Item]) -> bool {
        items.iter().any(|item| item.attribute.is_mark() && self.is_rare(*item))
    }

    /// The same of a word of its agent, too.
    fn has_rare_word(&self, items: &[Item]) -> bool {
        let is_word = |item: &&Item| item.attribute == Attribute::UserAgentWord;
        self.has_rare_mark(items) || items.iter().filter(is_word).any(|word| self.is_rare(*word))
    }

    fn is_rare(&self, item: Item) -> bool {
        let is_rare = match self.seen.and_then(|seen| seen.share(item)) {
            Some(share) => share <= RARE_SHARE,
            None => !self.material.reference.has_all(&[item]),
        };
        item.hash != ABSENT && is_rare
    }

    fn verdict(&self, choices: &[Choice], covered: f64, is_answered: bool, external: bool, whole: Crowd) -> Verdict {
        let coverage = |wanted: fn(&Crowd) -> bool| -> f64 {
            choices.iter().filter(|choice| wanted(&choice.crowd)).map(|choice| choice.share).sum()
        };
        let crowd = coverage(|crowd| matches!(crowd, Crowd::Yes(_)));
        let early = coverage(|crowd| *crowd == Crowd::TooEarly);
        let flood = coverage(|crowd| *crowd == Crowd::No);
        // Before the crowd: what is left beside strays of many kinds may look like one.
        if is_answered && flood == 0.0 {
            return Verdict::Explained;
        }
        if crowd > flood || matches!(whole, Crowd::Yes(_)) {
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

    /// The conditions of a rule, in words; `None` when a text is no longer known.
    fn conditions(&self, items: &[Item], rows: &[Sampled<'_>]) -> Option<Vec<Condition>> {
        items.iter().map(|item| self.condition(*item, rows)).collect()
    }

    fn condition(&self, item: Item, rows: &[Sampled<'_>]) -> Option<Condition> {
        self.texts.condition(self.keys, item, rows.iter().map(|sampled| sampled.row))
    }

    /// The share that these explain of the whole excess of the cost that was exceeded first, whatever else was found.
    fn share_of_excess(&self, items: &[Item], view: &View<'_>) -> f64 {
        let cost = self.costs.first().copied().unwrap_or(CostKind::Requests);
        let (mut offered, mut matched) = (0.0, 0.0);
        for sampled in self.material.rows().iter().filter(|sampled| sampled.row.is_mineable()) {
            let own = self.own_cost(cost, sampled, view);
            offered += own;
            if sampled.row.marks.has_all(items) {
                matched += own;
            }
        }
        let expected = self.rate(cost) * view.growth * self.material.seconds();
        let normal = expected * self.material.reference.requests_share(items);
        if offered > expected { ((matched - normal) / (offered - expected)).clamp(0.0, 1.0) } else { 0.0 }
    }

    fn evidence(&self, candidate: &Candidate, view: &View<'_>) -> Evidence {
        let rows = self.material.rows();
        let matched: Vec<Sampled<'_>> =
            rows.iter().filter(|sampled| sampled.row.marks.has_all(&candidate.items)).copied().collect();
        let clients: FxHashSet<u32> = matched.iter().map(|sampled| sampled.row.client_hash).collect();
        Evidence {
            coverage: self.share_of_excess(&candidate.items, view) as f32,
            collateral: candidate.collateral as f32,
            collateral_upper: candidate.score.collateral_upper as f32,
            stability: candidate.score.stability as f32,
            score: candidate.score.total() as f32,
            rows: candidate.rows,
            clients: clients.len() as u32,
            closure: self.closure(&candidate.items, &matched),
        }
    }

    /// What all matched requests share beyond the rule, and not all the others too. Networks are left out: they would show
    /// addresses.
    fn closure(&self, items: &[Item], matched: &[Sampled<'_>]) -> Vec<String> {
        let Some(first) = matched.first() else { return Vec::new() };
        let implied =
            |item: &Item| items.iter().any(|named| named == item || item.attribute.is_ancestor_of(named.attribute));
        let shared = |item: &Item| {
            let having = matched.iter().filter(|sampled| sampled.row.marks.has(*item)).count();
            having as f64 >= CLOSURE_SHARE * matched.len() as f64
        };
        let is_common = |item: &Item| self.material.reference.share(*item) >= CLOSURE_SHARE;
        let mut closure: Vec<Item> = Vec::new();
        let values = first.row.marks.items().filter(|item| item.attribute != Attribute::ClientPrefix);
        for item in values.filter(|item| !implied(item)).filter(shared).filter(|item| !is_common(item)) {
            if !closure.iter().any(|kept| item.attribute.is_ancestor_of(kept.attribute)) {
                closure.push(item);
            }
        }
        closure.truncate(CLOSURE_MAX);
        closure.into_iter().filter_map(|item| self.condition(item, matched)).map(|shown| shown.to_string()).collect()
    }
}
