//! Finds the conjunctions of values that tell an excess from what is normal.
//!
//! The rows of the excess and of the normal traffic become bitsets, one for each value that could matter; a conjunction
//! is an AND, its coverage and its harm are population counts. A beam search goes from one condition to four. Sampling
//! and weights are dealt with before: rows are drawn in proportion to their cost, so that each drawn row stands for the
//! same amount.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::decision::CostKind;
use crate::observation::attribute::Attribute;

use super::bits::Bits;
use super::cover::RULES_MAX;
use super::having::Having;
use super::reference::{RETURNING_WEIGHT, Reference};
use super::score::{Score, shared_address_risk};
use super::seen::Seen;
use super::statistics::{benjamini_hochberg, effective_kinds, g_test, share_upper_95};
use super::values::{Item, Marks, PRESENT, ValueHash};

/// Rows that are drawn at most, of the excess and of the amount of normal traffic each.
pub(super) const DRAWN_MAX: usize = 2048;

/// Values of one attribute that are considered.
const ITEMS_PER_ATTRIBUTE_MAX: usize = 32;

/// A value that covers less of the excess cannot be part of a rule that matters.
const ITEM_COVERAGE_MIN: f64 = 0.05;

/// A conjunction that covers less is not followed.
pub(crate) const COVERAGE_MIN: f64 = 0.10;

/// Fewer rows than this prove nothing.
const ROWS_MIN: u32 = 10;

/// A conjunction must have this many times what the normal traffic would have of it.
const LIFT_MIN: f64 = 5.0;

/// How many conjunctions are followed from one depth to the next.
const BEAM: usize = 64;

/// Conditions in one rule.
const CONDITIONS_MAX: usize = 4;

/// A further condition must cut the harm to this part, or it says nothing new.
const COLLATERAL_CUT: f64 = 0.8;

/// The bound of the harm when none was seen, in votes (the rule of three); good enough to rank by.
const NONE_SEEN: f64 = 3.0;

/// How many conjunctions are judged exactly.
const FINALISTS_MAX: usize = 64;

/// How many conjunctions and different values are held at once, so that the memory of a search is bounded.
const FOUND_MAX: usize = 4096;
const NEXT_MAX: usize = 4 * BEAM;
const VALUES_MAX: usize = 65_536;

/// The counters before the counts of values.
const COUNTERS: usize = 1 << 13;

/// The share of the believed findings that may be chance.
const FALSE_DISCOVERY_RATE: f64 = 0.01;

/// A value that this share of normal traffic has tells nobody apart.
const COMMON_SHARE: f64 = 0.5;

/// That there is any value says nothing more than values that explain this share of it.
const VALUES_SHARE: f64 = 0.9;

/// Of fewer rows a half is too few to say what the other half has.
const HALVES_MIN: usize = 40;

/// Votes of normal traffic from which on what none of them has is nobody's.
const VOTES_ENOUGH: f64 = 500.0;

/// One row, with what it weighs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weighed<'a> {
    pub(crate) marks: &'a Marks,
    pub(crate) weight: f64,
}

/// Everything that one search looks at: one cost of one window.
#[derive(Debug)]
pub(crate) struct Column<'a> {
    pub(crate) cost: CostKind,
    /// What was offered in the window and a rule could change.
    pub(crate) offered: Vec<Weighed<'a>>,
    /// What normal traffic looks like, and whom a rule would hurt.
    pub(crate) normal: &'a Reference,
    /// Which values were ever seen, where that is known.
    pub(crate) seen: Option<&'a Seen>,
    /// How much of this cost the window would have normally.
    pub(crate) expected: f64,
}

impl Column<'_> {
    /// What was offered beyond what is normal.
    pub(crate) fn excess(&self) -> f64 {
        self.offered.iter().map(|row| row.weight).sum::<f64>() - self.expected
    }
}

/// A conjunction, and what speaks for and against it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// 1 to 4 values, in the order of [`Attribute::ALL`].
    pub(crate) items: Vec<Item>,
    pub(crate) score: Score,
    /// The share of normal votes that it matches.
    pub(crate) collateral: f64,
    /// Drawn rows of the excess that it matches.
    pub(crate) matched: Bits,
    /// Rows that it matches, before drawing.
    pub(crate) rows: u32,
    /// How much of the cost normal traffic has of it, in the window.
    pub(crate) expected: f64,
    /// Whether it names a value that nobody has had in 28 days.
    pub(crate) is_unheard_of: bool,
}

/// How surely a conjunction names a sender, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sender {
    /// By a mark that is nobody else's.
    Mark,
    /// By its one address.
    Address,
    /// Others could send the same.
    Anyone,
}

/// Whether the commonest of these values, as many as there may be rules, are nearly all of the others.
fn are_said(values: &[ValueHash], others: &[ValueHash]) -> bool {
    let mut counts: FxHashMap<ValueHash, usize> = FxHashMap::default();
    values.iter().for_each(|value| *counts.entry(*value).or_default() += 1);
    let mut counts: Vec<(usize, ValueHash)> = counts.into_iter().map(|(value, count)| (count, value)).collect();
    counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
    counts.truncate(RULES_MAX);
    let said = others.iter().filter(|other| counts.iter().any(|(_, value)| value == *other)).count();
    said as f64 >= VALUES_SHARE * others.len() as f64
}

/// The three sets of rows that a value or conjunction matches.
#[derive(Clone, Debug)]
struct Matches {
    offered: Bits,
    normal: Arc<Bits>,
    votes: Arc<Bits>,
}

impl Matches {
    fn and(&self, other: &Self) -> Self {
        Self {
            offered: self.offered.and(&other.offered),
            normal: Arc::new(self.normal.and(&other.normal)),
            votes: Arc::new(self.votes.and(&other.votes)),
        }
    }

    /// What all of these match; `None` of none.
    fn all_of(matches: &[&Self]) -> Option<Self> {
        let [one] = matches else {
            let all = |set: fn(&Self) -> &Bits| Bits::all_of(matches.iter().map(|matches| set(matches)));
            return Some(Self {
                offered: all(|matches| &matches.offered)?,
                normal: Arc::new(all(|matches| &matches.normal)?),
                votes: Arc::new(all(|matches| &matches.votes)?),
            });
        };
        Some((*one).clone())
    }
}

/// The members of a conjunction, by their places among the values that are considered, from one on and in order; zero where
/// there are fewer.
type Members = [u16; CONDITIONS_MAX];

/// The places of the members.
fn places(members: &Members) -> impl Iterator<Item = usize> + '_ {
    members.iter().filter(|member| **member > 0).map(|member| usize::from(*member) - 1)
}

/// The same conjunction with one more; `None` when it is full.
fn with(members: &Members, place: usize) -> Option<Members> {
    let (mut joined, new) = (*members, place as u16 + 1);
    *joined.iter_mut().find(|member| **member == 0)? = new;
    joined.sort_unstable_by_key(|member| if *member == 0 { u16::MAX } else { *member });
    Some(joined)
}

/// What a glance at a conjunction says: its rank in the beam, a rough upper bound of its harm, a rough score.
#[derive(Clone, Copy, Debug)]
struct Glance {
    rank: f64,
    collateral: f64,
    score: f64,
}

/// A conjunction that is followed.
struct Followed {
    members: Members,
    matches: Matches,
    glance: Glance,
}

/// A conjunction that may be followed: by its place the one that it comes from, if any, and the value that it has more.
struct Step {
    members: Members,
    glance: Glance,
    parent: Option<usize>,
    place: usize,
}

/// A search over one column.
pub(crate) struct Mining<'a> {
    column: &'a Column<'a>,
    offered: Vec<&'a Marks>,
    /// How much one drawn row of the excess stands for.
    unit: f64,
    excess: f64,
    /// Whether a row may have been drawn more than once, so that the drawn ones are no evidence by number.
    repeats: bool,
    /// How many different rows there are as evidence.
    evidence: usize,
    /// How many rows of normal traffic were drawn.
    normal: usize,
}

impl<'a> Mining<'a> {
    pub(crate) fn new(column: &'a Column<'a>) -> Self {
        let offered = draw(column.offered.iter().map(|row| (row.marks, row.weight)));
        let total: f64 = column.offered.iter().map(|row| row.weight).sum();
        let step = total / offered.len().max(1) as f64;
        let repeats = column.offered.iter().any(|row| row.weight > step * 1.001);
        Self {
            evidence: if repeats { column.offered.len() } else { offered.len() },
            repeats,
            unit: step,
            excess: column.excess(),
            offered,
            normal: column.normal.drawn_count(column.cost),
            column,
        }
    }

    /// How much one drawn row stands for.
    pub(crate) const fn unit(&self) -> f64 {
        self.unit
    }

    pub(crate) const fn excess(&self) -> f64 {
        self.excess
    }

    /// How many rows were drawn.
    pub(crate) fn drawn(&self) -> usize {
        self.offered.len()
    }

    /// Every conjunction that could be a rule, the best first, judged exactly except for stability. `permitted` says
    /// which values a rule may name at all; `users` estimates how many people share the networks that it names.
    pub(crate) fn candidates(
        &self,
        standing: &[Vec<Item>],
        permitted: &dyn Fn(Item) -> bool,
        users: &dyn Fn(&[Item]) -> f64,
    ) -> Vec<Candidate> {
        if self.excess <= 0.0 || self.offered.is_empty() {
            return Vec::new();
        }
        let items = self.items(permitted);
        let matches = self.matches(&items);
        let mut sets: Vec<(Vec<Item>, Matches)> = Vec::new();
        for members in self.finalists(&items, &matches) {
            let of_members: Vec<&Matches> = places(&members).map(|place| &matches[place]).collect();
            let joined = Matches::all_of(&of_members);
            sets.extend(joined.map(|joined| (places(&members).map(|place| items[place]).collect(), joined)));
        }
        // Of what a few addresses send in equal parts, each explains less than all that they have in common with others.
        let is_address = |item: &Item| item.attribute == Attribute::ClientPrefix && self.breadth(&[*item]) == 0;
        let addresses = items.iter().zip(&matches).filter(|(item, _)| is_address(item));
        sets.extend(addresses.map(|(item, matches)| (vec![*item], matches.clone())));
        for standing in standing.iter().filter(|standing| standing.iter().all(|item| permitted(*item))) {
            sets.push((standing.clone(), self.matches_of(standing)));
        }
        for (set, _) in &mut sets {
            set.sort_unstable_by_key(|item| (preference(item.attribute), item.hash));
        }
        let mut seen = FxHashSet::default();
        sets.retain(|(set, _)| seen.insert(set.clone()));
        let mut candidates = self.judge(sets, users);
        self.drop_said(&mut candidates, standing);
        candidates
    }

    /// Drops what asks for any value on all pages, and where a few others, each for one value, match nearly all of its rows.
    fn drop_said(&self, candidates: &mut Vec<Candidate>, standing: &[Vec<Item>]) {
        let is_said = |candidate: &Candidate| {
            let Some(any) = candidate.items.iter().find(|item| item.hash == PRESENT) else { return false };
            // That there is a query says nothing of what is asked for: with a page it is refused there alone. Pages of one kind are
            // everywhere.
            let is_of_page = |item: &Item| {
                item.attribute == Attribute::Path
                    || (item.attribute.is_ancestor_of(Attribute::Path) && item.attribute != Attribute::Extension)
            };
            if !candidate.items.iter().any(is_of_page) {
                return true;
            }
            // The most that any candidate with each value has of its rows.
            let mut values: FxHashMap<ValueHash, (u32, &Bits)> = FxHashMap::default();
            for other in candidates.iter() {
                let value = other.items.iter().find(|item| item.attribute == any.attribute && item.hash > PRESENT);
                let Some(value) = value else { continue };
                let both = other.matched.count_and(&candidate.matched);
                let most = values.entry(value.hash).or_insert((both, &other.matched));
                if both > most.0 {
                    *most = (both, &other.matched);
                }
            }
            let mut values: Vec<(u32, &Bits)> = values.into_values().collect();
            values.sort_by_key(|(both, _)| std::cmp::Reverse(*both));
            let mut theirs = Bits::new(self.offered.len());
            values.iter().take(RULES_MAX).for_each(|(_, matched)| theirs.add(matched));
            let left = f64::from(candidate.matched.count_without(&theirs));
            left <= (1.0 - VALUES_SHARE) * f64::from(candidate.matched.count()) && self.stay(candidate, any.attribute)
        };
        let said: Vec<bool> = candidates.iter().map(|one| is_said(one) && !standing.contains(&one.items)).collect();
        let mut said = said.into_iter();
        candidates.retain(|_| !said.next().unwrap_or_default());
    }

    /// Whether the values that the older rows of a candidate have say the newer ones, and the other way round: a sender that goes on to
    /// another value every few seconds would only ever be told by what it has left behind.
    fn stay(&self, candidate: &Candidate, attribute: Attribute) -> bool {
        let places = candidate.matched.clone().into_places();
        let values: Vec<ValueHash> =
            places.filter_map(|at| self.offered.get(at)).map(|marks| marks.one(attribute)).collect();
        let (first, second) = values.split_at(values.len() / 2);
        values.len() < HALVES_MIN || are_said(first, second) && are_said(second, first)
    }

    /// The beam search: the conjunctions of these values that look best.
    fn finalists(&self, items: &[Item], matches: &[Matches]) -> Vec<Members> {
        let mut found: FxHashMap<Members, f64> = FxHashMap::default();
        let mut steps: Vec<Step> = Vec::new();
        for (place, own) in matches.iter().enumerate() {
            let glance = self.glance(&[items[place]], own.offered.count(), own.normal.count(), &|| {
                (own.votes.count(), own.votes.count_and(self.column.normal.returning()))
            });
            if let (Some(glance), Some(members)) = (glance, with(&Members::default(), place)) {
                found.insert(members, glance.score);
                steps.push(Step { members, glance, parent: None, place });
            }
        }
        // Which values each value may stand with.
        let company: Vec<Bits> = items.iter().map(|item| company(*item, items)).collect();
        let mut seen: FxHashSet<Members> = FxHashSet::default();
        let mut beam: Vec<Followed> = Vec::new();
        for _ in 1..CONDITIONS_MAX {
            keep_foremost(&mut steps);
            // Only what is followed is laid out.
            let lay_out = |Step { members, glance, parent, place }| {
                let parent = parent.and_then(|parent| beam.get(parent));
                let matches = parent.map_or_else(|| matches[place].clone(), |from| from.matches.and(&matches[place]));
                Followed { members, matches, glance }
            };
            beam = steps.drain(..).map(lay_out).collect();
            seen.clear();
            for (at, parent) in beam.iter().enumerate().filter(|(_, parent)| self.may_improve(parent, items)) {
                let joining = Bits::all_of(places(&parent.members).map(|member| &company[member]));
                for place in joining.unwrap_or_default().into_places() {
                    let own = &matches[place];
                    let both = parent.matches.offered.count_and(&own.offered);
                    if f64::from(both) * self.unit < COVERAGE_MIN * self.excess || both < ROWS_MIN {
                        continue;
                    }
                    let Some(members) = with(&parent.members, place).filter(|members| seen.insert(*members)) else {
                        continue;
                    };
                    let mut conjunction = [items[place]; CONDITIONS_MAX];
                    let count = places(&members).zip(&mut conjunction).map(|(place, to)| *to = items[place]).count();
                    let most = parent.glance.collateral * COLLATERAL_CUT;
                    let votes = || {
                        let votes = parent.matches.votes.count_and(&own.votes);
                        let returning = self.column.normal.returning();
                        (votes, parent.matches.votes.count_and_and(&own.votes, returning))
                    };
                    let normal = parent.matches.normal.count_and(&own.normal);
                    // The harm by amount alone says of most that they cut nothing, without a look at the votes.
                    if f64::from(normal) > most * self.normal as f64 {
                        continue;
                    }
                    let glance = self.glance(&conjunction[..count], both, normal, &votes);
                    if let Some(glance) = glance
                        && glance.collateral <= most
                    {
                        if found.len() >= FOUND_MAX {
                            keep_best(&mut found);
                        }
                        found.insert(members, glance.score);
                        steps.push(Step { members, glance, parent: Some(at), place });
                        if steps.len() >= NEXT_MAX {
                            keep_foremost(&mut steps);
                        }
                    }
                }
            }
        }
        let mut finalists: Vec<(Members, f64)> = found.into_iter().collect();
        let by_score = |first: &(Members, f64), second: &(Members, f64)| {
            second.1.total_cmp(&first.1).then_with(|| first.0.cmp(&second.0))
        };
        if finalists.len() > FINALISTS_MAX {
            finalists.select_nth_unstable_by(FINALISTS_MAX, by_score);
            finalists.truncate(FINALISTS_MAX);
        }
        finalists.sort_unstable_by(by_score);
        finalists.into_iter().map(|(members, _)| members).collect()
    }

    /// Whether a further condition could cut the harm enough: not below the bound of what was never seen, which is no lower for
    /// more conditions.
    fn may_improve(&self, parent: &Followed, items: &[Item]) -> bool {
        let conjunction: Vec<Item> = places(&parent.members).map(|place| items[place]).collect();
        let least = NONE_SEEN / self.column.normal.votes(&conjunction).effective.max(1.0);
        least.min(1.0) <= parent.glance.collateral * COLLATERAL_CUT
    }

    /// Judges these conjunctions exactly and keeps the significant ones.
    fn judge(&self, sets: Vec<(Vec<Item>, Matches)>, users: &dyn Fn(&[Item]) -> f64) -> Vec<Candidate> {
        let mut judged = Vec::new();
        let offered = self.repeats.then(|| {
            let items = sets.iter().flat_map(|(items, _)| items).copied();
            Having::new(items, self.column.offered.len(), self.column.offered.iter().map(|row| row.marks))
        });
        for (items, matches) in sets {
            let amount = f64::from(matches.offered.count()) * self.unit;
            let expected = self.expected(matches.normal.count());
            let coverage = ((amount - expected) / self.excess).clamp(0.0, 1.0);
            if coverage < COVERAGE_MIN || amount < expected * LIFT_MIN {
                continue;
            }
            let rows = match &offered {
                Some(offered) => self.rows_among(&offered.all_of(&items).unwrap_or_default()),
                None => matches.offered.count(),
            };
            if rows < ROWS_MIN {
                continue;
            }
            // What most of normal traffic has adds nothing to an address.
            let is_telling =
                |item: &Item| item.attribute.is_network() || self.column.normal.share(*item) < COMMON_SHARE;
            let telling: Vec<Item> = items.iter().copied().filter(is_telling).collect();
            let Some(risk) = shared_address_risk(&telling, users) else { continue };
            let votes = (matches.votes.count(), matches.votes.count_and(self.column.normal.returning()));
            let (collateral, effective) = self.collateral(&items, matches.normal.count(), votes);
            let chance = g_test((f64::from(rows), self.evidence as f64), (collateral * effective, effective));
            let score = Score {
                coverage,
                collateral_upper: share_upper_95(collateral * effective, effective),
                conditions: items.len(),
                stability: 1.0,
                shared_address_risk: risk,
            };
            // What nobody has had yet of all that there may be, somebody may have tomorrow.
            let is_unheard_of = items
                .iter()
                .filter(|item| item.hash != PRESENT)
                .any(|item| self.column.seen.and_then(|seen| seen.share(*item)) == Some(0.0));
            let candidate =
                Candidate { items, score, collateral, matched: matches.offered, rows, expected, is_unheard_of };
            judged.push((candidate, chance));
        }
        let believed = benjamini_hochberg(judged.iter().map(|(_, chance)| *chance).collect(), FALSE_DISCOVERY_RATE);
        let mut candidates: Vec<Candidate> =
            judged.into_iter().filter(|(_, chance)| *chance <= believed).map(|(candidate, _)| candidate).collect();
        candidates.sort_by(|first, second| second.score.total().total_cmp(&first.score.total()));
        candidates
    }

    /// Looks at a conjunction by the number of rows of the excess, of normal traffic, and of votes (all, and old
    /// acquaintances') that it matches, the votes asked for last; `None` when it covers too little.
    fn glance(&self, items: &[Item], offered: u32, normal: u32, votes: &dyn Fn() -> (u32, u32)) -> Option<Glance> {
        if offered < ROWS_MIN {
            return None;
        }
        let coverage = (f64::from(offered) * self.unit - self.expected(normal)) / self.excess;
        let least = if items.len() == 1 { ITEM_COVERAGE_MIN } else { COVERAGE_MIN };
        if coverage < least {
            return None;
        }
        let coverage = coverage.min(1.0);
        let (collateral, effective) = self.collateral(items, normal, votes());
        let upper = (collateral + (NONE_SEEN + 1.645 * (collateral * effective).sqrt()) / effective.max(1.0)).min(1.0);
        let score = coverage - 10.0 * upper - 0.01 * items.len() as f64;
        Some(Glance { rank: coverage - upper, collateral: upper, score })
    }

    /// How wide the networks are that a rule names, 0 for the address itself: of networks that say the same the narrowest
    /// is named, since the neighbours have done nothing.
    pub(crate) fn breadth(&self, items: &[Item]) -> usize {
        let networks = items.iter().filter(|item| item.attribute == Attribute::ClientPrefix);
        let breadth = |item: &Item| {
            let place = |marks: &&Marks| marks.of(item.attribute).iter().position(|hash| *hash == item.hash);
            self.offered.iter().find_map(place).unwrap_or_default()
        };
        networks.map(breadth).sum()
    }

    /// Whether so much of normal traffic is known that what none of it has is nobody's.
    pub(crate) fn is_known(&self, items: &[Item]) -> bool {
        self.column.normal.votes(items).effective >= VOTES_ENOUGH
    }

    /// How common the words of a conjunction are in normal traffic, in hundredths all told; of a word by itself it is its harm,
    /// and nothing here.
    pub(crate) fn commonness(&self, items: &[Item]) -> u32 {
        if items.len() == 1 {
            return 0;
        }
        let words = items.iter().filter(|item| item.attribute == Attribute::UserAgentWord);
        words.map(|word| (self.column.normal.share(*word) * 100.0) as u32).sum()
    }

    /// How surely these name a sender: by a mark that nobody in normal traffic has, by one address, or not.
    pub(crate) fn sender(&self, items: &[Item]) -> Sender {
        let is_known = self.is_known(items);
        let is_foreign = |item: &Item| is_known && item.attribute.is_mark() && !self.column.normal.has_all(&[*item]);
        let names_address = items.iter().any(|item| item.attribute == Attribute::ClientPrefix);
        if items.iter().any(is_foreign) {
            Sender::Mark
        } else if names_address && self.breadth(items) == 0 {
            Sender::Address
        } else {
            Sender::Anyone
        }
    }

    /// How many equally heavy rows would say as much as these: where some weigh much more than others, as one large file does, a row
    /// may have been drawn several times.
    fn rows_among(&self, matched: &Bits) -> u32 {
        let rows = matched.clone().into_places().filter_map(|at| self.column.offered.get(at));
        effective_kinds(rows.map(|row| row.weight)) as u32
    }

    /// How much of the cost normal traffic has of what matches so many of its drawn rows.
    fn expected(&self, normal: u32) -> f64 {
        self.column.expected * f64::from(normal) / self.normal.max(1) as f64
    }

    /// The share of normal traffic that is hurt, by votes or by amount or by all votes of 28 days, whichever is most, and the
    /// effective number of
    /// votes behind it. A rule that names what may be unknown, as a network, is judged by the votes that know it.
    fn collateral(&self, items: &[Item], normal: u32, (votes, returning): (u32, u32)) -> (f64, f64) {
        let all = self.column.normal.votes(items);
        let hurt = f64::from(votes) + (RETURNING_WEIGHT - 1.0) * f64::from(returning);
        let by_votes = if all.sum > 0.0 { (hurt / all.sum).min(1.0) } else { 0.0 };
        let by_amount = f64::from(normal) / self.normal.max(1) as f64;
        // None of a few thousand rows is not never. How often several values came together is not counted.
        let [item] = items else { return (by_votes.max(by_amount), all.effective) };
        let by_memory = self.column.seen.and_then(|seen| seen.share(*item)).unwrap_or_default();
        (by_votes.max(by_amount).max(by_memory), all.effective)
    }

    /// The values with enough of the excess, at most 32 of each attribute.
    fn items(&self, permitted: &dyn Fn(Item) -> bool) -> Vec<Item> {
        let least = (ITEM_COVERAGE_MIN * self.excess / self.unit).max(f64::from(ROWS_MIN));
        // Most values are in few rows, which a counter that they share with others tells before any is looked up.
        let counter = |item: Item| (item.hash ^ (item.attribute as u32).wrapping_mul(0x9e37_79b1)) as usize % COUNTERS;
        let mut counters = vec![0_u32; COUNTERS];
        self.offered.iter().flat_map(|marks| marks.placed()).for_each(|item| counters[counter(item)] += 1);
        let mut counts: FxHashMap<Item, u32> = FxHashMap::default();
        for item in self.offered.iter().flat_map(|marks| marks.placed()) {
            if f64::from(counters[counter(item)]) < least {
                continue;
            }
            // What is in every twentieth row is met long before the table is full of what is in one.
            if let Some(count) = counts.get_mut(&item) {
                *count += 1;
            } else if counts.len() < VALUES_MAX {
                counts.insert(item, 1);
            }
        }
        let mut counts: Vec<(Item, u32)> = counts.into_iter().filter(|(_, count)| f64::from(*count) >= least).collect();
        let explained = |(item, count): &(Item, u32)| {
            let (normal, _) = self.column.normal.known(*item, self.column.cost);
            f64::from(*count) * self.unit - self.expected(normal.count())
        };
        let is_said = |any: &&(Item, u32)| {
            let enough = VALUES_SHARE * explained(any);
            // Few values are in as many rows; only of these it is asked how usual they are.
            let mut values = counts.iter().filter(|(item, count)| {
                item.attribute == any.0.attribute && item.hash > PRESENT && f64::from(*count) * self.unit >= enough
            });
            values.any(|value| explained(value) >= enough)
        };
        let said: Vec<Item> =
            counts.iter().filter(|(item, _)| item.hash == PRESENT).filter(is_said).map(|(item, _)| *item).collect();
        counts.retain(|(item, _)| !said.contains(item));
        counts.sort_unstable_by_key(|(item, count)| (preference(item.attribute), u32::MAX - count, item.hash));
        let mut items: Vec<Item> = Vec::new();
        for (item, _) in counts {
            let before = items.iter().rev().take_while(|kept| kept.attribute == item.attribute).count();
            if before < ITEMS_PER_ATTRIBUTE_MAX && permitted(item) {
                items.push(item);
            }
        }
        items
    }

    fn matches(&self, items: &[Item]) -> Vec<Matches> {
        let having = Having::new(items.iter().copied(), self.offered.len(), self.offered.iter().copied());
        let matches = having.into_sets().into_iter().zip(items).map(|(offered, item)| {
            let (normal, votes) = self.column.normal.known(*item, self.column.cost);
            Matches { offered, normal, votes }
        });
        matches.collect()
    }

    fn matches_of(&self, items: &[Item]) -> Matches {
        let mut offered = Bits::new(self.offered.len());
        let matching = self.offered.iter().enumerate().filter(|(_, marks)| marks.has_all(items));
        matching.for_each(|(at, _)| offered.set(at));
        let having = self.column.normal.having_all(items);
        let normal = Arc::new(self.column.normal.drawn_of(self.column.cost, &having));
        Matches { offered, normal, votes: Arc::new(self.column.normal.votes_of(&having)) }
    }
}

/// Keeps as many as are followed, those of the highest rank.
fn keep_foremost(steps: &mut Vec<Step>) {
    let by_rank = |first: &Step, second: &Step| {
        second.glance.rank.total_cmp(&first.glance.rank).then_with(|| first.members.cmp(&second.members))
    };
    steps.sort_by(by_rank);
    steps.truncate(BEAM);
}

/// Keeps the best quarter of what was found.
fn keep_best(found: &mut FxHashMap<Members, f64>) {
    let mut scores: Vec<f64> = found.values().copied().collect();
    scores.sort_by(f64::total_cmp);
    let least = scores.get(scores.len() * 3 / 4).copied().unwrap_or(f64::NEG_INFINITY);
    found.retain(|_, score| *score > least);
}

/// The place of an attribute in the order in which ties are broken.
pub(crate) fn preference(attribute: Attribute) -> usize {
    Attribute::ALL.iter().position(|other| *other == attribute).unwrap_or(Attribute::COUNT)
}

/// Whether two values may stand in one rule: not two values of a single-valued attribute, not a value and a part of it,
/// not nested directories or networks.
fn may_join(first: Item, second: Item) -> bool {
    if first.attribute == second.attribute {
        return first.attribute == Attribute::UserAgentWord && first.hash != second.hash;
    }
    !first.attribute.is_ancestor_of(second.attribute) && !second.attribute.is_ancestor_of(first.attribute)
}

/// The places of the values with which a value may stand in one rule.
fn company(item: Item, items: &[Item]) -> Bits {
    let mut company = Bits::new(items.len());
    items.iter().enumerate().filter(|(_, other)| may_join(item, **other)).for_each(|(place, _)| company.set(place));
    company
}

/// Draws rows in proportion to their weight (systematic sampling), so that all drawn rows weigh the same. Rows of equal
/// weight are taken as they are while they are few enough.
pub(crate) fn draw<T: Copy>(rows: impl Iterator<Item = (T, f64)> + Clone) -> Vec<T> {
    let Some((_, first)) = rows.clone().next() else { return Vec::new() };
    let (length, total) = rows.clone().fold((0, 0.0), |(length, total), (_, weight)| (length + 1, total + weight));
    if length <= DRAWN_MAX && rows.clone().all(|(_, weight)| (weight - first).abs() <= 1e-6 * first) {
        return rows.map(|(row, _)| row).collect();
    }
    let count = length.clamp(1024, DRAWN_MAX);
    let step = total / count as f64;
    let mut drawn = Vec::with_capacity(count);
    let mut next = step / 2.0;
    let mut sum = 0.0;
    for (row, weight) in rows {
        sum += weight;
        while next < sum && drawn.len() < count {
            drawn.push(row);
            next += step;
        }
    }
    drawn
}
