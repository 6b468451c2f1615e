//! What is normal, laid out as a search asks for it: one column for each place of a value, so that the normal requests that
//! have a value are found by one pass over numbers that lie side by side. The rows of one user agent stand together, so what
//! is part of an agent, its words, is looked for once for each agent. It is made once for an
//! incident and an hour, since nothing is learned meanwhile, and serves every look into it and every cost.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::decision::CostKind;
use crate::observation::attribute::{Attribute, USER_AGENT_WORDS_MAX};

use super::assets::Files;
use super::baseline::NormalRow;
use super::bits::Bits;
use super::crowd::Ordinary;
use super::marked::Marked;
use super::mining::draw;
use super::score::{COLLATERAL_WEIGHT, SCORE_MIN};
use super::statistics::{effective_count, effective_kinds, quantile, share_upper_95};
use super::values::{ABSENT, Item, Marks, UNUSED, ValueHash};
use super::waiting::{QUICK_SHARE, Usual};

/// Normal rows that are asked at most.
pub(crate) const ROWS_MAX: usize = 8192;

/// Values whose number of rows is remembered at most.
const COUNTED_MAX: usize = 1024;

/// Values whose rows are remembered at most: as many as one search can ask for.
const KNOWN_MAX: usize = 512;

/// How many times a returning client's vote counts.
pub(crate) const RETURNING_WEIGHT: f64 = 4.0;

/// What a place of a normal row holds, for all rows; empty when none has anything there.
type Column = Vec<ValueHash>;

/// Votes, by the sum of their weights and by how many equally heavy ones would say as much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Votes {
    pub(crate) sum: f64,
    pub(crate) effective: f64,
}

/// The rows of one user agent, which stand together, and its words.
#[derive(Clone, Debug)]
struct Agent {
    hash: ValueHash,
    rows: Range<usize>,
    words: [ValueHash; USER_AGENT_WORDS_MAX],
}

/// Normal requests in columns.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    rows: usize,
    agents: Vec<Agent>,
    columns: Vec<Column>,
    /// How many requests each row stands for.
    requests: Vec<f64>,
    /// Rows that are a vote: the beginning of a request, of one client in one hour.
    voting: Bits,
    /// Of these the ones of old acquaintances.
    returning: Bits,
    votes: Votes,
    /// The same of the votes that know an attribute that may be unknown.
    votes_knowing: Vec<(Attribute, Votes)>,
    /// For each cost, rows drawn in proportion to it.
    drawn: [Vec<u16>; CostKind::ALL.len()],
    returning_share: f64,
    answers: Usual,
    ordinary: Ordinary,
    files: Files,
    /// In how many rows values were found: each look asks for the same ones again, and each of its candidates.
    counted: RefCell<FxHashMap<Item, u32>>,
    /// Which of the rows that were drawn for a cost have a value, and which of the votes.
    known: RefCell<FxHashMap<(Item, CostKind), Known>>,
}

/// Of the rows that were drawn for a cost, and of the votes, those that have a value.
type Known = (Arc<Bits>, Arc<Bits>);

impl Reference {
    /// Of these rows, at most [`ROWS_MAX`].
    pub(crate) fn new(rows: &[&NormalRow], marked: &Marked) -> Self {
        let mut rows = rows.get(..ROWS_MAX).unwrap_or(rows).to_vec();
        rows.sort_by_key(|row| row.marks.one(Attribute::UserAgent));
        let rows = rows.as_slice();
        let requests: Vec<f64> = rows.iter().map(|row| row.cost(CostKind::Requests as usize)).collect();
        let (mut voting, mut returning) = (Bits::new(rows.len()), Bits::new(rows.len()));
        for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.costs[0] > 0.0) {
            voting.set(at);
            if row.returning {
                returning.set(at);
            }
        }
        let votes = |knows: &dyn Fn(&NormalRow) -> bool| {
            let voting = rows.iter().filter(|row| row.costs[0] > 0.0 && knows(row));
            let weights = voting.map(|row| if row.returning { RETURNING_WEIGHT } else { 1.0 });
            let (sum, squares) =
                weights.fold((0.0, 0.0), |(sum, squares), weight| (sum + weight, squares + weight * weight));
            Votes { sum, effective: effective_count(sum, squares) }
        };
        let may_be_unknown = Attribute::ALL.into_iter().filter(|attribute| attribute.may_be_unknown());
        let all: f64 = requests.iter().sum();
        let of_returning: f64 =
            rows.iter().zip(&requests).filter(|(row, _)| row.returning).map(|(_, requests)| requests).sum();
        Self {
            rows: rows.len(),
            agents: agents(rows),
            columns: columns(rows),
            voting,
            returning,
            votes: votes(&|_| true),
            votes_knowing: may_be_unknown
                .map(|attribute| (attribute, votes(&|row| row.marks.one(attribute) != UNUSED)))
                .collect(),
            drawn: CostKind::ALL.map(|cost| {
                let weights = rows.iter().enumerate().map(|(at, row)| (at as u16, row.cost(cost as usize)));
                draw(weights.filter(|(_, weight)| *weight > 0.0))
            }),
            returning_share: of_returning / all.max(1.0),
            answers: answers(rows, all),
            ordinary: ordinary(rows, marked),
            files: Files::new(marked, rows),
            requests,
            counted: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// How many rows have this value.
    fn count(&self, item: Item) -> u32 {
        let mut counted = self.counted.borrow_mut();
        if let Some(count) = counted.get(&item) {
            return *count;
        }
        if counted.len() >= COUNTED_MAX {
            counted.clear();
        }
        let count = self.having(item).count();
        counted.insert(item, count);
        count
    }

    /// Which of the rows that were drawn for a cost have this value, and which of the votes. The values of an excess are asked for again
    /// with each look.
    pub(crate) fn known(&self, item: Item, cost: CostKind) -> Known {
        let mut known = self.known.borrow_mut();
        if let Some(found) = known.get(&(item, cost)) {
            return found.clone();
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        let having = self.having(item);
        let found = (Arc::new(self.drawn_of(cost, &having)), Arc::new(self.votes_of(&having)));
        known.insert((item, cost), found.clone());
        found
    }

    /// The rows that have this value.
    pub(crate) fn having(&self, item: Item) -> Bits {
        let mut having = Bits::new(self.rows);
        if item.attribute == Attribute::UserAgentWord {
            let agents = self.agents.iter().filter(|agent| agent.words.contains(&item.hash));
            agents.for_each(|agent| having.set_range(agent.rows.clone()));
            return having;
        }
        for column in self.columns.get(Marks::places(item.attribute)).unwrap_or_default() {
            having.add_where(column, item.hash);
        }
        having
    }

    /// The rows that have all of these values.
    pub(crate) fn having_all(&self, items: &[Item]) -> Bits {
        let all = items.iter().map(|item| self.having(*item)).reduce(|all, having| all.and(&having));
        all.unwrap_or_else(|| Bits::full(self.rows))
    }

    /// Whether any row has all of these values.
    pub(crate) fn has_all(&self, items: &[Item]) -> bool {
        match items {
            [item] => self.count(*item) > 0,
            _ => self.having_all(items).count() > 0,
        }
    }

    /// The share of the rows that have this value.
    pub(crate) fn share(&self, item: Item) -> f64 {
        f64::from(self.count(item)) / self.rows.max(1) as f64
    }

    /// The share of the requests that have all of these values.
    pub(crate) fn requests_share(&self, items: &[Item]) -> f64 {
        let places = self.having_all(items).into_places();
        let matched: f64 = places.filter_map(|at| self.requests.get(at)).sum();
        matched / self.requests.iter().sum::<f64>().max(1.0)
    }

    /// The rows that are a vote, of these.
    pub(crate) fn votes_of(&self, having: &Bits) -> Bits {
        having.and(&self.voting)
    }

    /// The votes of old acquaintances.
    pub(crate) const fn returning(&self) -> &Bits {
        &self.returning
    }

    /// All votes, or the fewest of those that know one of the attributes of these values.
    pub(crate) fn votes(&self, items: &[Item]) -> Votes {
        let knowing =
            self.votes_knowing.iter().filter(|(attribute, _)| items.iter().any(|item| item.attribute == *attribute));
        let fewest =
            knowing.map(|(_, votes)| *votes).min_by(|first, second| first.effective.total_cmp(&second.effective));
        fewest.unwrap_or(self.votes)
    }

    /// The share of the votes that these values would hurt, and its upper bound at 95% confidence.
    pub(crate) fn collateral(&self, items: &[Item]) -> (f64, f64) {
        let voting = self.votes_of(&self.having_all(items));
        let hurt = f64::from(voting.count()) + (RETURNING_WEIGHT - 1.0) * f64::from(voting.count_and(&self.returning));
        let all = self.votes(items);
        let share = if all.sum > 0.0 { (hurt / all.sum).min(1.0) } else { 0.0 };
        (share, share_upper_95(share * all.effective, all.effective))
    }

    /// Whether so much is known that a rule which hits none of it can be put in force, with room for what else speaks against one.
    pub(crate) fn is_telling(&self) -> bool {
        1.0 - COLLATERAL_WEIGHT * share_upper_95(0.0, self.votes.effective) >= 2.0 * SCORE_MIN
    }

    /// How many rows were drawn for a cost.
    pub(crate) fn drawn_count(&self, cost: CostKind) -> usize {
        self.drawn[cost as usize].len()
    }

    /// Those of the rows drawn for a cost that are among these.
    pub(crate) fn drawn_of(&self, cost: CostKind, having: &Bits) -> Bits {
        let drawn = &self.drawn[cost as usize];
        let mut found = Bits::new(drawn.len());
        for (at, row) in drawn.iter().enumerate() {
            if having.has(usize::from(*row)) {
                found.set(at);
            }
        }
        found
    }

    /// The share of requests that old acquaintances send.
    pub(crate) const fn returning_share(&self) -> f64 {
        self.returning_share
    }

    /// How many answers of the site there are for each request, and how long the quickest take.
    pub(crate) const fn answers(&self) -> Usual {
        self.answers
    }

    /// Whether any row has this user agent.
    pub(crate) fn has_agent(&self, agent: ValueHash) -> bool {
        self.agents.binary_search_by_key(&agent, |known| known.hash).is_ok()
    }

    /// Hands each network of a client to `take`, with the client's user agent.
    pub(crate) fn each_network(&self, mut take: impl FnMut(ValueHash, ValueHash)) {
        let columns = self.columns.get(Marks::places(Attribute::ClientPrefix)).unwrap_or_default();
        for agent in &self.agents {
            for networks in columns.iter().filter_map(|column| column.get(agent.rows.clone())) {
                networks.iter().filter(|network| **network != UNUSED).for_each(|network| take(*network, agent.hash));
            }
        }
    }

    /// What is known of the site's files.
    pub(crate) const fn files(&self) -> &Files {
        &self.files
    }

    /// What ordinary traffic is like, for the crowd test.
    pub(crate) const fn ordinary(&self) -> Ordinary {
        self.ordinary
    }
}

/// What is usual of the time until the site's answer. `all` is how many requests the rows stand for.
fn answers(rows: &[&NormalRow], all: f64) -> Usual {
    let time = |row: &&&NormalRow| row.costs[CostKind::UpstreamTime as usize];
    let mut times: Vec<f32> = rows.iter().map(|row| time(&row)).filter(|time| *time > 0.0).collect();
    times.sort_by(f32::total_cmp);
    let answered: f64 = rows.iter().filter(|row| time(row) > 0.0).map(|row| row.answers()).sum();
    Usual { rate: answered / all.max(1.0), quick: f64::from(quantile(&times, QUICK_SHARE)) }
}

/// The agents of rows that are in the order of their agents.
fn agents(rows: &[&NormalRow]) -> Vec<Agent> {
    let mut from = 0;
    let same = |one: &&NormalRow, other: &&NormalRow| {
        one.marks.one(Attribute::UserAgent) == other.marks.one(Attribute::UserAgent)
    };
    let mut agents = Vec::new();
    for run in rows.chunk_by(same) {
        let mut words = [UNUSED; USER_AGENT_WORDS_MAX];
        words.copy_from_slice(run[0].marks.of(Attribute::UserAgentWord));
        agents.push(Agent { hash: run[0].marks.one(Attribute::UserAgent), rows: from..from + run.len(), words });
        from += run.len();
    }
    agents
}

fn columns(rows: &[&NormalRow]) -> Vec<Column> {
    // Words come last among the places, and are kept with their agents.
    let mut columns: Vec<Column> = (0..Marks::places(Attribute::UserAgentWord).start).map(|_| Vec::new()).collect();
    for (at, row) in rows.iter().enumerate() {
        for (column, hash) in columns.iter_mut().zip(row.marks.hashes()) {
            if *hash != UNUSED {
                // Rows before the first that has anything here have nothing.
                if column.is_empty() {
                    column.resize(rows.len(), UNUSED);
                }
                column[at] = *hash;
            }
        }
    }
    columns
}

fn ordinary(normal: &[&NormalRow], marked: &Marked) -> Ordinary {
    let (mut all, mut assets) = (0.0, 0.0);
    let (mut networks, mut agents) = (FxHashMap::default(), FxHashMap::default());
    for row in normal {
        all += row.cost(0);
        if marked.is_static(row.marks.one(Attribute::Extension)) {
            assets += row.cost(0);
        }
        if row.has_networks() {
            let network = row.marks.of(Attribute::ClientPrefix).get(1).copied().unwrap_or_default();
            *networks.entry(network).or_insert(0.0) += 1.0;
        }
        let agent = row.marks.one(Attribute::UserAgent);
        if ![ABSENT, UNUSED].contains(&agent) {
            *agents.entry(agent).or_insert(0.0) += 1.0;
        }
    }
    let diversity =
        |counts: &FxHashMap<ValueHash, f64>| (!counts.is_empty()).then(|| effective_kinds(counts.values().copied()));
    let (networks, agents) = (diversity(&networks), diversity(&agents));
    Ordinary { asset_share: if all > 0.0 { assets / all } else { 0.0 }, networks, agents }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::values::Keys;

    fn rows() -> Vec<NormalRow> {
        let row = |number: u32| {
            let mut marks = Marks::default();
            marks.of_mut(Attribute::Path)[0] = 10 + number % 3;
            marks.of_mut(Attribute::UserAgent)[0] = 10 + number % 7;
            marks.of_mut(Attribute::UserAgentWord)[(number % 7) as usize] = 10 + number % 7 / 2;
            if number.is_multiple_of(2) {
                marks.of_mut(Attribute::Country)[0] = 7;
            }
            let begins = f32::from(u8::from(!number.is_multiple_of(10)));
            NormalRow::saved(marks, [begins, 0.0, 1.0, 0.0], 1.0, number.is_multiple_of(4))
        };
        (0..300).map(row).collect()
    }

    #[test]
    fn it_finds_what_a_walk_over_the_rows_would() {
        let rows = rows();
        let reference = Reference::new(&rows.iter().collect::<Vec<_>>(), &Marked::new(&Keys::new(1)));
        let path = Item { attribute: Attribute::Path, hash: 11 };
        let word = Item { attribute: Attribute::UserAgentWord, hash: 12 };
        let country = Item { attribute: Attribute::Country, hash: 7 };
        let foreign = Item { attribute: Attribute::UserAgent, hash: 99 };
        for items in [&[path][..], &[path, word], &[word, country], &[foreign], &[]] {
            let walked: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].marks.has_all(items)).collect();
            assert_eq!(reference.having_all(items).count() as usize, walked.len(), "{items:?}");
            assert_eq!(reference.has_all(items), !walked.is_empty());
            let voting = walked.iter().filter(|at| rows[**at].costs[0] > 0.0).count();
            assert_eq!(reference.votes_of(&reference.having_all(items)).count() as usize, voting);
            assert!((reference.requests_share(items) - voting as f64 / 270.0).abs() < 1e-9);
        }
        let all = reference.votes(&[path]);
        let knowing = reference.votes(&[path, country]);
        assert!(knowing.sum < all.sum && knowing.effective < all.effective);
        let drawn = |cost| reference.drawn_of(cost, &reference.having(path)).count() as f64;
        assert_eq!(reference.drawn_count(CostKind::Bytes), 0);
        for cost in [CostKind::Requests, CostKind::UpstreamTime] {
            let share = drawn(cost) / reference.drawn_count(cost) as f64;
            assert!((share - 1.0 / 3.0).abs() < 0.01, "{share}");
        }
    }
}
