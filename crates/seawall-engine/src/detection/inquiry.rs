//! One look into an open incident: mines each cost that exceeds what is normal, asks whether it is a crowd, and says
//! what the excess is. It changes nothing; what it finds goes to the ladder.

use std::cell::RefCell;
use std::time::Duration;

use ipnet::IpNet;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::address::AddressSet;
use crate::decision::{Condition, CostKind, Evidence, Finding, Shape, Verdict};
use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

use super::baseline::{Baseline, NormalRow};
use super::cover::{cover, joint_coverage};
use super::crowd::{Crowd, Marked, Ordinary, crowd};
use super::mining::{Candidate, Column, Mining, ROWS_MAX, Vote, Weighed};
use super::recent::{Answered, Recent, Sampled};
use super::seasonal::{SAMPLE_SECONDS, Seasonal};
use super::shapes::{Scene, shapes};
use super::statistics::effective_kinds;
use super::trigger::Reading;
use super::values::{ABSENT, Item, Keys, Texts};
use super::verdict::explanation;

/// The longest stretch that is mined.
const WINDOW_MAX: Duration = Duration::from_secs(10);

/// The shortest.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// Normal rows below which the ten minutes before are asked as well.
const NORMAL_ROWS_MIN: usize = 500;

/// How much ordinary growth may explain.
const GROWTH_MAX: f64 = 1.5;

/// Normal requests of returning clients below which growth is not estimated.
const GROWTH_REQUESTS_MIN: f64 = 20.0;

/// How many conjunctions are tried on other windows.
const STABILITY_CANDIDATES_MAX: usize = 48;

/// Rows of one window that are looked at for that.
const STABILITY_ROWS_MAX: usize = 2048;

/// The windows, in seconds.
const STABILITY_WINDOWS: [f64; 3] = [1.0, 10.0, 60.0];

/// A window has excess when it has this many times what is normal, and this many rows.
const WINDOW_EXCESS: f64 = 1.3;
const WINDOW_ROWS_MIN: usize = 10;

/// An excess of which this share is already answered (foreign hosts, limits) needs no rule.
const ANSWERED_SHARE: f64 = 0.7;

/// An excess of less than this part of what is normal has no structure worth a rule.
const EXCESS_MIN: f64 = 0.5;

/// What must be left of a cost after the rules found so far, as a share of all that is offered, for a search of its own.
const LEFT_SHARE: f64 = 0.3;

/// A rule for time or bytes must hit something that is asked for this many times as often as usual; otherwise the
/// requests are as ever and their cost comes from elsewhere.
const REQUESTS_LIFT_MIN: f64 = 2.0;

/// The requests of fewer clients than this, all told, may be a few browsers at work:
const CLIENTS_FEW: f64 = 8.0;

/// they count once each client has sent more than the largest page has parts, over this many busy seconds,
const SUSTAINED_REQUESTS: f64 = 100.0;
const SUSTAINED_SECONDS: usize = 3;

/// or, since the onset, more than someone who looks at a few pages in a minute.
const PERSISTENT_REQUESTS: f64 = 150.0;

/// A second is busy with this many requests more than is normal.
const BUSY_REQUESTS: f64 = 5.0;

/// *Explained*: this share of the excess, and at most this share of normal traffic.
const EXPLAINED_SHARE: f64 = 0.8;
const EXPLAINED_COLLATERAL: f64 = 0.01;

/// Before this much time nothing is called not separable.
const DECISION_TIME: Duration = Duration::from_secs(5);

/// Whose requests all share a value when this share does.
const CLOSURE_SHARE: f64 = 0.98;
const CLOSURE_MAX: usize = 8;

/// Everything that a look needs.
pub(crate) struct Inquiry<'a> {
    pub(crate) now: Timestamp,
    pub(crate) onset: Timestamp,
    pub(crate) costs: &'a [CostKind],
    pub(crate) readings: &'a [Reading],
    pub(crate) recent: &'a Recent,
    pub(crate) baseline: &'a Baseline,
    pub(crate) seasonal: &'a Seasonal,
    pub(crate) texts: &'a Texts,
    pub(crate) keys: &'a Keys,
    pub(crate) marked: &'a Marked,
    pub(crate) never_ban: &'a AddressSet,
    /// The values of the rules that stand already.
    pub(crate) standing: &'a [Vec<Item>],
}

/// What a look has found.
#[derive(Debug)]
pub(crate) struct Insight {
    pub(crate) verdict: Verdict,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) explanation: String,
    /// What could become rules, with the values behind the conditions.
    pub(crate) findings: Vec<(Vec<Item>, Finding)>,
    /// What turned out to be a crowd.
    pub(crate) crowds: Vec<Vec<Condition>>,
}

/// What one cost's search has chosen.
struct Choice {
    candidate: Candidate,
    crowd: Crowd,
}

impl Inquiry<'_> {
    pub(crate) fn look(&self) -> Insight {
        let from = self.onset.max(self.now - WINDOW_MAX).min(self.now - WINDOW_MIN);
        let seconds = self.now.since(from).as_secs_f64();
        let rows: Vec<Sampled<'_>> = self.recent.since(from).collect();
        let since_onset: Vec<Sampled<'_>> = self.recent.since(from.min(self.onset)).collect();
        let normal = self.normal_rows();
        let growth = self.growth(&rows, &normal, seconds);
        let ordinary = ordinary(&normal, self.marked);

        let mut choices: Vec<Choice> = Vec::new();
        let mut covered = 0.0_f64;
        let mut external = false;
        for cost in self.mined_costs() {
            let explained = !choices.is_empty() || !self.standing.is_empty();
            let column = self.column(cost, &rows, &normal, growth, seconds, &choices);
            if column.offered.is_empty() || !self.is_worth_mining(cost, &column, seconds, explained) {
                continue;
            }
            let mining = Mining::new(&column);
            let chosen = self.mine(cost, &mining, &rows, &since_onset, &normal, growth);
            covered = covered.max(joint_coverage(&chosen, &mining));
            for candidate in chosen {
                if cost != CostKind::Requests && !self.asks_more(&candidate, &rows, &normal, growth, seconds) {
                    external = true;
                    continue;
                }
                if choices.len() < super::cover::RULES_MAX {
                    let crowd = self.crowd_of(&candidate, &since_onset, &normal, ordinary);
                    choices.push(Choice { candidate, crowd });
                }
            }
        }

        let scene = Scene {
            rows: rows.clone(),
            marked: self.marked,
            expected: self.rate(CostKind::Requests) * growth * seconds,
        };
        let mut shapes = shapes(&scene);
        let answered =
            scene.requests(|sampled| matches!(sampled.row.answered, Answered::Misdirected | Answered::Otherwise));
        let is_answered = answered >= ANSWERED_SHARE * scene.excess() && answered >= 10.0;
        // Without more requests than usual there is no crowd, whatever else is dear.
        let more = scene.excess() >= EXCESS_MIN * scene.expected && self.readings.first().is_some_and(|now| !now.calm);
        let whole = if choices.is_empty() && !is_answered && more && self.costs.contains(&CostKind::Requests) {
            let mineable = since_onset.iter().filter(|sampled| sampled.row.is_mineable());
            crowd(&[], mineable.copied(), self.now, self.marked, ordinary)
        } else {
            Crowd::No
        };
        let verdict = self.verdict(&choices, covered, is_answered, external, whole);
        if verdict == Verdict::Crowd {
            shapes.push(Shape::Crowd);
            shapes.retain(|shape| *shape != Shape::Distributed);
        }

        let mut findings = Vec::new();
        let mut crowds = Vec::new();
        for choice in &choices {
            let Some(conditions) = self.conditions(&choice.candidate.items, &rows) else { continue };
            match choice.crowd {
                Crowd::Yes(_) => crowds.push(conditions),
                Crowd::No | Crowd::TooEarly => {
                    let finding = Finding {
                        conditions,
                        evidence: self.evidence(&choice.candidate, &rows),
                        normal_rate: self.normal_rate(&choice.candidate.items, &normal) * growth,
                        cleared: choice.crowd == Crowd::No,
                    };
                    findings.push((choice.candidate.items.clone(), finding));
                }
            }
        }
        // A crowd has many sides; while one of them is seen, none is enforced against.
        if verdict == Verdict::Crowd {
            crowds.extend(findings.drain(..).map(|(_, finding)| finding.conditions));
        }
        let crowd_reason = choices.iter().map(|choice| choice.crowd).chain([whole]).find_map(|crowd| match crowd {
            Crowd::Yes(reason) => Some(reason),
            Crowd::No | Crowd::TooEarly => None,
        });
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

    /// Requests first: what they explain needs no other reason.
    fn mined_costs(&self) -> impl Iterator<Item = CostKind> + '_ {
        CostKind::ALL.into_iter().filter(|cost| self.costs.contains(cost))
    }

    fn normal_rows(&self) -> Vec<&NormalRow> {
        if self.seasonal.is_cold() {
            return self.baseline.before(self.now);
        }
        let mut rows = self.baseline.normal(self.now, ROWS_MAX);
        if rows.len() < NORMAL_ROWS_MIN {
            rows.extend(self.baseline.before(self.now));
        }
        rows
    }

    /// What is normal of this cost, per second.
    fn rate(&self, cost: CostKind) -> f64 {
        self.readings.get(cost as usize).map_or(0.0, |reading| reading.normal.median / SAMPLE_SECONDS as f64)
    }

    /// How much more than usual the old acquaintances ask for: ordinary growth, as at the beginning of the week.
    fn growth(&self, rows: &[Sampled<'_>], normal: &[&NormalRow], seconds: f64) -> f64 {
        let amount = |rows: &mut dyn Iterator<Item = &&NormalRow>| rows.map(|row| row.cost(0)).sum::<f64>();
        let share = amount(&mut normal.iter().filter(|row| row.returning)) / amount(&mut normal.iter()).max(1.0);
        let expected = self.rate(CostKind::Requests) * share * seconds;
        if expected < GROWTH_REQUESTS_MIN {
            return 1.0;
        }
        let found: f64 = rows.iter().filter(|sampled| sampled.row.returning).map(|sampled| sampled.cost(0)).sum();
        (found / expected).clamp(1.0, GROWTH_MAX)
    }

    fn column<'c>(
        &self,
        cost: CostKind,
        rows: &'c [Sampled<'c>],
        normal: &'c [&'c NormalRow],
        growth: f64,
        seconds: f64,
        choices: &[Choice],
    ) -> Column<'c> {
        let weighed =
            |sampled: &'c Sampled<'c>| Weighed { marks: &sampled.row.marks, weight: sampled.cost(cost as usize) };
        let explained =
            |sampled: &Sampled<'_>| choices.iter().any(|choice| sampled.row.marks.has_all(&choice.candidate.items));
        Column {
            offered: rows
                .iter()
                .filter(|sampled| sampled.row.is_mineable() && !explained(sampled))
                .map(weighed)
                .filter(|row| row.weight > 0.0)
                .collect(),
            normal: normal
                .iter()
                .map(|row| Weighed { marks: &row.marks, weight: row.cost(cost as usize) })
                .filter(|row| row.weight > 0.0)
                .collect(),
            votes: votes(normal),
            expected: self.rate(cost) * growth * seconds,
        }
    }

    /// Whether what is left of this cost, after the rules found for another, is worth a search of its own: more than
    /// the unevenness of ordinary traffic, in a cost that is not calm.
    fn is_worth_mining(&self, cost: CostKind, column: &Column<'_>, seconds: f64, explained: bool) -> bool {
        let Some(reading) = self.readings.get(cost as usize) else { return false };
        let excess = column.excess();
        let uneven = (reading.normal.upper - reading.normal.median).max(0.0) * seconds / SAMPLE_SECONDS as f64;
        let left = !explained || (!reading.calm && excess > uneven && excess >= LEFT_SHARE * reading.offered);
        left && excess >= EXCESS_MIN * column.expected && excess > 0.0
    }

    fn mine(
        &self,
        cost: CostKind,
        mining: &Mining<'_>,
        rows: &[Sampled<'_>],
        since_onset: &[Sampled<'_>],
        normal: &[&NormalRow],
        growth: f64,
    ) -> Vec<Candidate> {
        let permitted = |item: Item| self.is_permitted(item);
        let known = RefCell::new(FxHashMap::default());
        let users = |items: &[Item]| {
            let named = |item: &&Item| item.attribute == Attribute::ClientPrefix;
            let networks: Vec<Item> = items.iter().filter(named).copied().collect();
            *known.borrow_mut().entry(networks).or_insert_with_key(|networks| self.users(networks, normal))
        };
        let mut candidates = mining.candidates(self.standing, &permitted, &users);
        candidates.truncate(STABILITY_CANDIDATES_MAX);
        candidates.retain(|candidate| {
            let rate = self.normal_rate(&candidate.items, normal);
            is_sustained(&candidate.items, rows, rate, SUSTAINED_REQUESTS)
                || is_sustained(&candidate.items, since_onset, rate, PERSISTENT_REQUESTS)
        });
        let windows = self.windows(cost, growth);
        let seconds = self.now.since(self.onset.max(self.now - WINDOW_MAX).min(self.now - WINDOW_MIN)).as_secs_f64();
        for candidate in &mut candidates {
            let rate = candidate.expected / seconds;
            let coverage = windows.iter().map(|window| window.coverage(&candidate.items, rate)).fold(1.0, f64::min);
            // Only a rule that names clients loses what it has when the clients change.
            let names_clients = candidate.items.iter().any(|item| item.attribute == Attribute::ClientPrefix);
            let lost = if names_clients { self.turnover(&candidate.items) } else { 0.0 };
            candidate.score.stability = (coverage - lost).clamp(0.0, 1.0);
        }
        cover(&candidates, mining, self.standing)
    }

    /// The windows that have excess. Pulses are empty between bursts, and those windows say nothing.
    fn windows(&self, cost: CostKind, growth: f64) -> Vec<Window<'_>> {
        let mut windows = Vec::new();
        for seconds in STABILITY_WINDOWS {
            let from = self.now - Duration::from_secs_f64(seconds);
            let rows = || {
                let mineable = self.recent.since(from).filter(|sampled| sampled.row.is_mineable());
                mineable.filter(|sampled| sampled.cost(cost as usize) > 0.0)
            };
            let count = rows().count();
            let stride = count.div_ceil(STABILITY_ROWS_MAX).max(1);
            let offered: f64 = rows().map(|sampled| sampled.cost(cost as usize)).sum();
            let expected = self.rate(cost) * growth * seconds;
            if count >= WINDOW_ROWS_MIN && offered > WINDOW_EXCESS * expected {
                let rows: Vec<(Sampled<'_>, f64)> =
                    rows().step_by(stride).map(|sampled| (sampled, sampled.cost(cost as usize))).collect();
                let kept: f64 = rows.iter().map(|(_, cost)| cost).sum();
                windows.push(Window { rows, scale: offered / kept, excess: offered - expected, seconds });
            }
        }
        windows
    }

    /// The share of the later half of a rule's requests whose clients were not in the earlier half, since the first of
    /// them: the onset is an estimate, and before the first there was nobody to come back.
    fn turnover(&self, items: &[Item]) -> f64 {
        let rows = || {
            let mineable = self.recent.since(self.onset).filter(|sampled| sampled.row.is_mineable());
            mineable.filter(|sampled| sampled.row.marks.has_all(items))
        };
        let from = rows().map(|sampled| sampled.at).min().unwrap_or(self.now);
        let middle = from + self.now.since(from) / 2;
        let earlier: FxHashSet<u32> =
            rows().filter(|sampled| sampled.at < middle).map(|sampled| sampled.row.client_hash).collect();
        let (mut later, mut returned) = (0.0, 0.0);
        for sampled in rows().filter(|sampled| sampled.at >= middle) {
            later += sampled.cost(0);
            if earlier.contains(&sampled.row.client_hash) {
                returned += sampled.cost(0);
            }
        }
        if later > 0.0 { 1.0 - returned / later } else { 0.0 }
    }

    /// Whether a rule may name this value: no network that holds anyone on the never-ban list.
    fn is_permitted(&self, item: Item) -> bool {
        if item.attribute != Attribute::ClientPrefix {
            return true;
        }
        let row = self.recent.since(Timestamp::EPOCH).find(|sampled| sampled.row.marks.has(item));
        let text = row.and_then(|found| self.texts.text(self.keys, item, &found.row.marks, found.row.client));
        let network = text.and_then(|text| std::str::from_utf8(&text).ok()?.parse::<IpNet>().ok());
        network.is_some_and(|network| !self.never_ban.overlaps(network))
    }

    /// How many people are behind all of these networks: by the different user agents seen from there.
    fn users(&self, networks: &[Item], normal: &[&NormalRow]) -> f64 {
        let recent = self.recent.since(Timestamp::EPOCH).map(|sampled| &sampled.row.marks);
        let marks = recent.chain(normal.iter().map(|row| &row.marks));
        let agents: FxHashSet<u32> =
            marks.filter(|marks| marks.has_all(networks)).map(|marks| marks.one(Attribute::UserAgent)).collect();
        agents.len() as f64
    }

    /// Whether the requests that a rule matches are more than usual, and not only dearer.
    fn asks_more(
        &self,
        candidate: &Candidate,
        rows: &[Sampled<'_>],
        normal: &[&NormalRow],
        growth: f64,
        seconds: f64,
    ) -> bool {
        let asked: f64 =
            rows.iter().filter(|sampled| sampled.row.marks.has_all(&candidate.items)).map(|row| row.cost(0)).sum();
        asked >= REQUESTS_LIFT_MIN * self.normal_rate(&candidate.items, normal) * growth * seconds
    }

    /// Requests a second that normal traffic has of this.
    fn normal_rate(&self, items: &[Item], normal: &[&NormalRow]) -> f64 {
        let amount = |all: bool| -> f64 {
            normal.iter().filter(|row| all || row.marks.has_all(items)).map(|row| row.cost(0)).sum()
        };
        self.rate(CostKind::Requests) * amount(false) / amount(true).max(1.0)
    }

    fn crowd_of(
        &self,
        candidate: &Candidate,
        since_onset: &[Sampled<'_>],
        normal: &[&NormalRow],
        ordinary: Ordinary,
    ) -> Crowd {
        let rows = || since_onset.iter().filter(|sampled| sampled.row.is_mineable()).copied();
        let verdict = crowd(&candidate.items, rows(), self.now, self.marked, ordinary);
        if verdict != Crowd::No {
            return verdict;
        }
        // One agent out of a crowd is as alike as a bot. An agent that ordinary visitors have is judged with the others.
        let is_agent = |item: &Item| matches!(item.attribute, Attribute::UserAgent | Attribute::UserAgentWord);
        let agents: Vec<Item> = candidate.items.iter().copied().filter(is_agent).collect();
        let is_ordinary = !agents.is_empty() && normal.iter().any(|row| row.marks.has_all(&agents));
        if is_ordinary && candidate.score.coverage < 0.5 {
            let others: Vec<Item> = candidate.items.iter().copied().filter(|item| !is_agent(item)).collect();
            return crowd(&others, rows(), self.now, self.marked, ordinary);
        }
        Crowd::No
    }

    fn verdict(&self, choices: &[Choice], covered: f64, is_answered: bool, external: bool, whole: Crowd) -> Verdict {
        let coverage = |wanted: fn(&Crowd) -> bool| -> f64 {
            choices.iter().filter(|choice| wanted(&choice.crowd)).map(|choice| choice.candidate.score.coverage).sum()
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
        if self.now.since(self.onset) < DECISION_TIME { Verdict::Undecided } else { Verdict::NotSeparable }
    }

    /// The conditions of a rule, in words; `None` when a text is no longer known.
    fn conditions(&self, items: &[Item], rows: &[Sampled<'_>]) -> Option<Vec<Condition>> {
        items.iter().map(|item| self.condition(*item, rows)).collect()
    }

    fn condition(&self, item: Item, rows: &[Sampled<'_>]) -> Option<Condition> {
        if item.hash == ABSENT {
            return Some(Condition::absent(item.attribute));
        }
        let mut having = rows.iter().filter(|sampled| sampled.row.marks.has(item));
        let text = having.find_map(|found| self.texts.text(self.keys, item, &found.row.marks, found.row.client))?;
        Some(Condition::new(item.attribute, &text))
    }

    fn evidence(&self, candidate: &Candidate, rows: &[Sampled<'_>]) -> Evidence {
        let matched: Vec<Sampled<'_>> =
            rows.iter().filter(|sampled| sampled.row.marks.has_all(&candidate.items)).copied().collect();
        let clients: FxHashSet<u32> = matched.iter().map(|sampled| sampled.row.client_hash).collect();
        Evidence {
            coverage: candidate.score.coverage as f32,
            collateral: candidate.collateral as f32,
            collateral_upper: candidate.score.collateral_upper as f32,
            stability: candidate.score.stability as f32,
            score: candidate.score.total() as f32,
            rows: candidate.rows,
            clients: clients.len() as u32,
            closure: self.closure(&candidate.items, &matched),
        }
    }

    /// What all matched requests share beyond the rule. Networks are left out: they would show addresses.
    fn closure(&self, items: &[Item], matched: &[Sampled<'_>]) -> Vec<String> {
        let Some(first) = matched.first() else { return Vec::new() };
        let implied =
            |item: &Item| items.iter().any(|named| named == item || item.attribute.is_ancestor_of(named.attribute));
        let shared = |item: &Item| {
            let having = matched.iter().filter(|sampled| sampled.row.marks.has(*item)).count();
            having as f64 >= CLOSURE_SHARE * matched.len() as f64
        };
        let mut closure: Vec<Item> = Vec::new();
        let values = first.row.marks.items().filter(|item| item.attribute != Attribute::ClientPrefix);
        for item in values.filter(|item| !implied(item)).filter(shared) {
            if !closure.iter().any(|kept| item.attribute.is_ancestor_of(kept.attribute)) {
                closure.push(item);
            }
        }
        closure.truncate(CLOSURE_MAX);
        closure.into_iter().filter_map(|item| self.condition(item, matched)).map(|shown| shown.to_string()).collect()
    }
}

/// One of the windows in which a rule is tried.
struct Window<'a> {
    rows: Vec<(Sampled<'a>, f64)>,
    scale: f64,
    excess: f64,
    seconds: f64,
}

impl Window<'_> {
    /// The share of this window's excess that has these values; `rate` is what normal traffic has of them in a second.
    fn coverage(&self, items: &[Item], rate: f64) -> f64 {
        let having = self.rows.iter().filter(|(sampled, _)| sampled.row.marks.has_all(items));
        let offered: f64 = having.map(|(_, cost)| cost).sum::<f64>() * self.scale;
        ((offered - rate * self.seconds) / self.excess).clamp(0.0, 1.0)
    }
}

/// Whether requests that have these values are more than a few browsers loading pages.
fn is_sustained(items: &[Item], rows: &[Sampled<'_>], normal_rate: f64, requests_min: f64) -> bool {
    let matched = || rows.iter().filter(|sampled| sampled.row.is_mineable() && sampled.row.marks.has_all(items));
    let kinds = |rows: &mut dyn Iterator<Item = &Sampled<'_>>| {
        let mut clients: FxHashMap<u32, f64> = FxHashMap::default();
        for sampled in rows {
            // Without addresses every request may be a client.
            let client = if sampled.row.client_hash == 0 { clients.len() as u32 } else { sampled.row.client_hash };
            *clients.entry(client).or_default() += sampled.cost(0);
        }
        effective_kinds(clients.values().copied())
    };
    // Of a distributed flood the first hundred rows say enough.
    if kinds(&mut matched().take(100)) >= CLIENTS_FEW {
        return true;
    }
    let clients = kinds(&mut matched());
    if clients >= CLIENTS_FEW {
        return true;
    }
    let mut seconds: FxHashMap<u64, f64> = FxHashMap::default();
    matched().for_each(|sampled| *seconds.entry(sampled.at.as_seconds()).or_default() += sampled.cost(0));
    let busy = seconds.values().filter(|requests| **requests >= normal_rate + BUSY_REQUESTS).count();
    let requests: f64 = seconds.values().sum();
    busy >= SUSTAINED_SECONDS && requests >= requests_min * clients.max(1.0)
}

fn votes<'a>(normal: &[&'a NormalRow]) -> Vec<Vote<'a>> {
    normal
        .iter()
        .filter(|row| row.costs[0] > 0.0)
        .map(|row| Vote { marks: &row.marks, returning: row.returning })
        .collect()
}

fn ordinary(normal: &[&NormalRow], marked: &Marked) -> Ordinary {
    let (mut all, mut assets) = (0.0, 0.0);
    let mut networks = FxHashMap::default();
    for row in normal {
        all += row.cost(0);
        if marked.is_static(row.marks.one(Attribute::Extension)) {
            assets += row.cost(0);
        }
        if row.has_networks() {
            let network = row.marks.of(Attribute::ClientPrefix).get(1).copied().unwrap_or_default();
            *networks.entry(network).or_insert(0.0) += 1.0;
        }
    }
    let diversity = (!networks.is_empty()).then(|| effective_kinds(networks.values().copied()));
    Ordinary { asset_share: if all > 0.0 { assets / all } else { 0.0 }, networks: diversity }
}
