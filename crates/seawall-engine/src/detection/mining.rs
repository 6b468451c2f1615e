//! Finds the conjunctions of values that tell an excess from what is normal.
//!
//! The rows of the excess and of the normal traffic become bitsets, one for each value that could matter; a conjunction
//! is an AND, its coverage and its harm are population counts. A beam search goes from one condition to four. Sampling
//! and weights are dealt with before: rows are drawn in proportion to their cost, so that each drawn row stands for the
//! same amount.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::observation::attribute::Attribute;

use super::score::{Score, shared_address_risk};
use super::statistics::{benjamini_hochberg, effective_count, effective_kinds, g_test, share_upper_95};
use super::values::{Item, Marks, UNUSED};

/// Normal rows that are asked at most.
pub(crate) const ROWS_MAX: usize = 8192;

/// Rows that are drawn at most, of the excess and of the amount of normal traffic each.
const DRAWN_MAX: usize = 2048;

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

/// How many conjunctions are judged exactly.
const FINALISTS_MAX: usize = 64;

/// How many conjunctions and different values are held at once, so that the memory of a search is bounded.
const FOUND_MAX: usize = 4096;
const NEXT_MAX: usize = 4 * BEAM;
const VALUES_MAX: usize = 65_536;

/// Bits of the filter before the table of values, 4 KiB of them.
const FILTER_BITS: usize = 1 << 15;

/// The share of the believed findings that may be chance.
const FALSE_DISCOVERY_RATE: f64 = 0.01;

/// How many times a returning client's vote counts.
const RETURNING_WEIGHT: f64 = 4.0;

/// One row, with what it weighs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weighed<'a> {
    pub(crate) marks: &'a Marks,
    pub(crate) weight: f64,
}

/// The vote of one normal client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vote<'a> {
    pub(crate) marks: &'a Marks,
    pub(crate) returning: bool,
}

impl Vote<'_> {
    const fn weight(&self) -> f64 {
        if self.returning { RETURNING_WEIGHT } else { 1.0 }
    }
}

/// Everything that one search looks at: one cost of one window.
#[derive(Debug)]
pub(crate) struct Column<'a> {
    /// What was offered in the window and a rule could change.
    pub(crate) offered: Vec<Weighed<'a>>,
    /// What normal traffic looks like, by its share of this cost.
    pub(crate) normal: Vec<Weighed<'a>>,
    /// Whom a rule would hurt.
    pub(crate) votes: Vec<Vote<'a>>,
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
}

/// A set of drawn rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn new(length: usize) -> Self {
        Self(vec![0; length.div_ceil(64)])
    }

    pub(crate) fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The places that are set, in order.
    pub(crate) fn into_places(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(word, bits)| {
            let mut left = bits;
            std::iter::from_fn(move || {
                let at = (left != 0).then(|| word * 64 + left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(at)
            })
        })
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(first, second)| first & second).collect())
    }

    pub(crate) fn count_and(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(first, second)| (first & second).count_ones()).sum()
    }

    pub(crate) fn count_without(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(first, second)| (first & !second).count_ones()).sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }
}

/// The three sets of rows that a value or conjunction matches.
#[derive(Clone, Debug)]
struct Matches {
    offered: Bits,
    normal: Bits,
    votes: Bits,
}

impl Matches {
    fn and(&self, other: &Self) -> Self {
        Self {
            offered: self.offered.and(&other.offered),
            normal: self.normal.and(&other.normal),
            votes: self.votes.and(&other.votes),
        }
    }
}

/// A search over one column.
pub(crate) struct Mining<'a> {
    column: &'a Column<'a>,
    offered: Vec<&'a Marks>,
    normal: Vec<&'a Marks>,
    /// How much one drawn row of the excess stands for.
    unit: f64,
    excess: f64,
    /// Whether a row may have been drawn more than once, so that the drawn ones are no evidence by number.
    repeats: bool,
    /// How many different rows there are as evidence.
    evidence: usize,
    returning: Bits,
    /// The sum of the votes' weights and their effective number, of all.
    votes: (f64, f64),
    /// The same for the votes that know an attribute that may be unknown.
    votes_knowing: Vec<(Attribute, (f64, f64))>,
}

impl<'a> Mining<'a> {
    pub(crate) fn new(column: &'a Column<'a>) -> Self {
        let offered = draw(&column.offered);
        let normal = draw(&column.normal);
        let total: f64 = column.offered.iter().map(|row| row.weight).sum();
        let mut returning = Bits::new(column.votes.len());
        column.votes.iter().enumerate().filter(|(_, vote)| vote.returning).for_each(|(at, _)| returning.set(at));
        let votes = |knows: &dyn Fn(&Vote<'_>) -> bool| {
            let weights = column.votes.iter().filter(|vote| knows(vote)).map(Vote::weight);
            let (sum, squares) =
                weights.fold((0.0, 0.0), |(sum, squares), weight| (sum + weight, squares + weight * weight));
            (sum, effective_count(sum, squares))
        };
        let may_be_unknown = Attribute::ALL.into_iter().filter(|attribute| attribute.may_be_unknown());
        let step = total / offered.len().max(1) as f64;
        let repeats = column.offered.iter().any(|row| row.weight > step * 1.001);
        Self {
            evidence: if repeats { column.offered.len() } else { offered.len() },
            repeats,
            unit: total / offered.len().max(1) as f64,
            excess: column.excess(),
            offered,
            normal,
            returning,
            votes: votes(&|_| true),
            votes_knowing: may_be_unknown
                .map(|attribute| (attribute, votes(&|vote| vote.marks.one(attribute) != UNUSED)))
                .collect(),
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
        let mut found: FxHashMap<Vec<usize>, f64> = FxHashMap::default();
        let mut beam: Vec<Followed> = Vec::new();
        for (index, matches) in matches.iter().enumerate() {
            if let Some((rank, collateral, score)) = self.glance(&[items[index]], matches) {
                found.insert(vec![index], score);
                beam.push((vec![index], matches.clone(), rank, collateral));
            }
        }
        for _ in 1..CONDITIONS_MAX {
            beam.sort_by(by_rank);
            beam.truncate(BEAM);
            let mut next: Vec<Followed> = Vec::new();
            let mut seen: FxHashSet<Vec<usize>> = FxHashSet::default();
            for (members, parent, _, parent_collateral) in &beam {
                for (index, item) in items.iter().enumerate() {
                    if members.contains(&index) || members.iter().any(|member| !may_join(items[*member], *item)) {
                        continue;
                    }
                    let both = parent.offered.count_and(&matches[index].offered);
                    if f64::from(both) * self.unit < COVERAGE_MIN * self.excess || both < ROWS_MIN {
                        continue;
                    }
                    let mut members = members.clone();
                    members.push(index);
                    members.sort_unstable();
                    if !seen.insert(members.clone()) {
                        continue;
                    }
                    let joined = parent.and(&matches[index]);
                    let conjunction: Vec<Item> = members.iter().map(|member| items[*member]).collect();
                    if let Some((rank, collateral, score)) = self.glance(&conjunction, &joined)
                        && collateral <= parent_collateral * COLLATERAL_CUT
                    {
                        if found.len() >= FOUND_MAX {
                            keep_best(&mut found);
                        }
                        found.insert(members.clone(), score);
                        next.push((members, joined, rank, collateral));
                        if next.len() >= NEXT_MAX {
                            next.sort_by(by_rank);
                            next.truncate(BEAM);
                        }
                    }
                }
            }
            beam = next;
        }
        let mut finalists: Vec<(Vec<usize>, f64)> = found.into_iter().collect();
        finalists.sort_by(|first, second| second.1.total_cmp(&first.1).then_with(|| first.0.cmp(&second.0)));
        finalists.truncate(FINALISTS_MAX);
        let mut sets: Vec<(Vec<Item>, Matches)> = Vec::with_capacity(finalists.len() + standing.len());
        for (members, _) in &finalists {
            let Some((first, others)) = members.split_first() else { continue };
            let joined = others.iter().fold(matches[*first].clone(), |joined, member| joined.and(&matches[*member]));
            sets.push((members.iter().map(|member| items[*member]).collect(), joined));
        }
        for standing in standing.iter().filter(|standing| standing.iter().all(|item| permitted(*item))) {
            sets.push((standing.clone(), self.matches_of(standing)));
        }
        for (set, _) in &mut sets {
            set.sort_unstable_by_key(|item| (preference(item.attribute), item.hash));
        }
        let mut seen = FxHashSet::default();
        sets.retain(|(set, _)| seen.insert(set.clone()));
        self.judge(sets, users)
    }

    /// Judges these conjunctions exactly and keeps the significant ones.
    fn judge(&self, sets: Vec<(Vec<Item>, Matches)>, users: &dyn Fn(&[Item]) -> f64) -> Vec<Candidate> {
        let mut judged = Vec::new();
        for (items, matches) in sets {
            let offered = f64::from(matches.offered.count()) * self.unit;
            let expected = self.expected(&matches);
            let coverage = ((offered - expected) / self.excess).clamp(0.0, 1.0);
            if coverage < COVERAGE_MIN || offered < expected * LIFT_MIN {
                continue;
            }
            let rows = self.rows(&items, &matches);
            if rows < ROWS_MIN {
                continue;
            }
            let Some(risk) = shared_address_risk(&items, users) else { continue };
            let (collateral, effective) = self.collateral(&items, &matches);
            let chance = g_test((f64::from(rows), self.evidence as f64), (collateral * effective, effective));
            let score = Score {
                coverage,
                collateral_upper: share_upper_95(collateral * effective, effective),
                conditions: items.len(),
                stability: 1.0,
                shared_address_risk: risk,
            };
            let candidate = Candidate { items, score, collateral, matched: matches.offered, rows, expected };
            judged.push((candidate, chance));
        }
        let believed = benjamini_hochberg(judged.iter().map(|(_, chance)| *chance).collect(), FALSE_DISCOVERY_RATE);
        let mut candidates: Vec<Candidate> =
            judged.into_iter().filter(|(_, chance)| *chance <= believed).map(|(candidate, _)| candidate).collect();
        candidates.sort_by(|first, second| second.score.total().total_cmp(&first.score.total()));
        candidates
    }

    /// Rank in the beam, rough upper bound of the harm, rough score; `None` when it covers too little.
    fn glance(&self, items: &[Item], matches: &Matches) -> Option<(f64, f64, f64)> {
        let offered = matches.offered.count();
        if offered < ROWS_MIN {
            return None;
        }
        let coverage = (f64::from(offered) * self.unit - self.expected(matches)) / self.excess;
        let least = if items.len() == 1 { ITEM_COVERAGE_MIN } else { COVERAGE_MIN };
        if coverage < least {
            return None;
        }
        let coverage = coverage.min(1.0);
        let (collateral, effective) = self.collateral(items, matches);
        // Three expected events are the bound when none was seen (the rule of three); good enough to rank by.
        let upper = (collateral + (3.0 + 1.645 * (collateral * effective).sqrt()) / effective.max(1.0)).min(1.0);
        Some((coverage - upper, upper, coverage - 10.0 * upper - 0.01 * items.len() as f64))
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

    /// How many different rows a conjunction matches, of those that count as evidence. Where some weigh much more than
    /// others, as one large file does, that is as many as equally heavy ones would say as much.
    fn rows(&self, items: &[Item], matches: &Matches) -> u32 {
        if self.repeats {
            let matched = self.column.offered.iter().filter(|row| row.marks.has_all(items));
            return effective_kinds(matched.map(|row| row.weight)) as u32;
        }
        matches.offered.count()
    }

    fn expected(&self, matches: &Matches) -> f64 {
        self.column.expected * f64::from(matches.normal.count()) / self.normal.len().max(1) as f64
    }

    /// The share of normal traffic that is hurt, by votes or by amount, whichever is more, and the effective number of
    /// votes behind it. A rule that names what may be unknown, as a network, is judged by the votes that know it.
    fn collateral(&self, items: &[Item], matches: &Matches) -> (f64, f64) {
        let knowing =
            self.votes_knowing.iter().filter(|(attribute, _)| items.iter().any(|item| item.attribute == *attribute));
        let fewest = knowing.map(|(_, votes)| *votes).min_by(|first, second| first.1.total_cmp(&second.1));
        let (total, effective) = fewest.unwrap_or(self.votes);
        let hurt = f64::from(matches.votes.count())
            + (RETURNING_WEIGHT - 1.0) * f64::from(matches.votes.count_and(&self.returning));
        let by_votes = if total > 0.0 { (hurt / total).min(1.0) } else { 0.0 };
        let by_amount = f64::from(matches.normal.count()) / self.normal.len().max(1) as f64;
        (by_votes.max(by_amount), effective)
    }

    /// The values with enough of the excess, at most 32 of each attribute.
    fn items(&self, permitted: &dyn Fn(Item) -> bool) -> Vec<Item> {
        let mut counts: FxHashMap<Item, u32> = FxHashMap::default();
        for marks in &self.offered {
            for item in marks.items() {
                // What is in every twentieth row is met long before the table is full of what is in one.
                if counts.len() < VALUES_MAX || counts.contains_key(&item) {
                    *counts.entry(item).or_default() += 1;
                }
            }
        }
        let least = (ITEM_COVERAGE_MIN * self.excess / self.unit).max(f64::from(ROWS_MIN));
        let mut counts: Vec<(Item, u32)> = counts.into_iter().filter(|(_, count)| f64::from(*count) >= least).collect();
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
        let index: FxHashMap<Item, usize> = items.iter().enumerate().map(|(index, item)| (*item, index)).collect();
        // Nearly all values of a row are none of these, which a few bits tell without a look into the table.
        let mut filter = Bits::new(FILTER_BITS);
        items.iter().for_each(|item| filter.set(item.hash as usize % FILTER_BITS));
        let mut matches: Vec<Matches> = items.iter().map(|_| self.matches_none()).collect();
        let mut fill = |rows: &mut dyn Iterator<Item = &Marks>, part: fn(&mut Matches) -> &mut Bits| {
            for (at, marks) in rows.enumerate() {
                for item in marks.items().filter(|item| filter.has(item.hash as usize % FILTER_BITS)) {
                    if let Some(index) = index.get(&item) {
                        part(&mut matches[*index]).set(at);
                    }
                }
            }
        };
        fill(&mut self.offered.iter().copied(), |matches| &mut matches.offered);
        fill(&mut self.normal.iter().copied(), |matches| &mut matches.normal);
        fill(&mut self.column.votes.iter().map(|vote| vote.marks), |matches| &mut matches.votes);
        matches
    }

    fn matches_of(&self, items: &[Item]) -> Matches {
        let mut matches = self.matches_none();
        let fill = |rows: &mut dyn Iterator<Item = &Marks>, bits: &mut Bits| {
            rows.enumerate().filter(|(_, marks)| marks.has_all(items)).for_each(|(at, _)| bits.set(at));
        };
        fill(&mut self.offered.iter().copied(), &mut matches.offered);
        fill(&mut self.normal.iter().copied(), &mut matches.normal);
        fill(&mut self.column.votes.iter().map(|vote| vote.marks), &mut matches.votes);
        matches
    }

    fn matches_none(&self) -> Matches {
        Matches {
            offered: Bits::new(self.offered.len()),
            normal: Bits::new(self.normal.len()),
            votes: Bits::new(self.column.votes.len()),
        }
    }
}

/// A conjunction that is followed: its members, what it matches, its rank, and the bound of its harm.
type Followed = (Vec<usize>, Matches, f64, f64);

fn by_rank(first: &Followed, second: &Followed) -> std::cmp::Ordering {
    second.2.total_cmp(&first.2).then_with(|| first.0.cmp(&second.0))
}

/// Keeps the best quarter of what was found.
fn keep_best(found: &mut FxHashMap<Vec<usize>, f64>) {
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

/// Draws rows in proportion to their weight (systematic sampling), so that all drawn rows weigh the same. Rows of equal
/// weight are taken as they are while they are few enough.
fn draw<'a>(rows: &[Weighed<'a>]) -> Vec<&'a Marks> {
    let total: f64 = rows.iter().map(|row| row.weight).sum();
    let Some(first) = rows.first() else { return Vec::new() };
    if rows.len() <= DRAWN_MAX && rows.iter().all(|row| (row.weight - first.weight).abs() <= 1e-6 * first.weight) {
        return rows.iter().map(|row| row.marks).collect();
    }
    let count = rows.len().clamp(1024, DRAWN_MAX);
    let step = total / count as f64;
    let mut drawn = Vec::with_capacity(count);
    let mut next = step / 2.0;
    let mut sum = 0.0;
    for row in rows {
        sum += row.weight;
        while next < sum && drawn.len() < count {
            drawn.push(row.marks);
            next += step;
        }
    }
    drawn
}
