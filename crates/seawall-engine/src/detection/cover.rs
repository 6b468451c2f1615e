//! Chooses the few conjunctions that together explain the excess: greedy weighted set cover, with ties broken by what
//! lasts.

use crate::observation::attribute::Attribute;

use super::bits::Bits;
use super::mining::{COVERAGE_MIN, Candidate, Mining, Sender, preference};
use super::score::SCORE_MIN;
use super::values::{ABSENT, Item};

/// Rules for one incident.
pub(crate) const RULES_MAX: usize = 5;

/// Scores this close are a tie, and scores that so many rows of the excess make up for: one or two ordinary requests are always
/// among them.
const TIE: f64 = 0.03;
const TIE_ROWS: f64 = 2.0;

/// The same between one address and what others might send as well, while too little of normal traffic is known to say that nobody
/// else does.
const TIE_UNKNOWN: f64 = 0.2;

/// Harm this close is a tie: one row in 8,192. A mark that ordinary visitors have as well is no sender's mark.
const COLLATERAL_TIE: f64 = 0.000_15;

/// The same between conjunctions of the same attributes that others could send as well: then what lasts is worth as much.
const COLLATERAL_TIE_ANYONE: f64 = 0.000_5;

/// Conjunctions that share this part of their rows, or all but [`TIE_ROWS`], say the same.
const SAME_ROWS: f64 = 0.9;

/// A few addresses that send this share of what a wider conjunction explains go before it.
const FEW_SHARE: f64 = 0.9;

/// A rule that stands already is kept unless another is better by this, so that rules do not take turns.
const STANDING_BONUS: f64 = 0.05;

/// The most harm of a rule that is only a part of a set.
const PART_COLLATERAL_MAX: f64 = 0.01;

/// The least score of a set with such a rule, and the rows that it must match.
const FOREIGN_SCORE_MIN: f64 = 0.15;
const FOREIGN_ROWS_MIN: u32 = 50;

/// When this little of the excess is left, what is left is the unevenness of ordinary traffic.
const LEFT_MIN: f64 = 0.2;

/// Chooses at most five of the candidates; empty when nothing tells the excess from what is normal.
///
/// `standing` are the rules there are, and `kept` those of them that are in force and hurt hardly anybody.
pub(crate) fn cover(
    candidates: &[Candidate],
    mining: &Mining<'_>,
    standing: &[Vec<Item>],
    kept: &[Vec<Item>],
) -> Vec<Candidate> {
    let mut chosen: Vec<Candidate> = Vec::new();
    let mut covered = Bits::new(mining.drawn());
    let is_standing = |candidate: &Candidate| standing.contains(&candidate.items);
    while chosen.len() < RULES_MAX {
        let left = mining.excess() - f64::from(covered.count()) * mining.unit();
        if left < LEFT_MIN * mining.excess() {
            break;
        }
        // What a rule adds is judged against what is left to explain.
        let score = |candidate: &Candidate| {
            let added = f64::from(candidate.matched.count_without(&covered)) * mining.unit() - candidate.expected;
            let coverage = (added / left).clamp(0.0, 1.0);
            let bonus = if is_standing(candidate) { STANDING_BONUS } else { 0.0 };
            (added >= COVERAGE_MIN * mining.excess()).then(|| candidate.score.with_coverage(coverage) + bonus)
        };
        let acceptable = |candidate: &Candidate, score: f64| {
            let harmless = candidate.score.collateral_upper <= PART_COLLATERAL_MAX;
            if chosen.is_empty() { score >= SCORE_MIN || (score > 0.0 && harmless) } else { score > 0.0 && harmless }
        };
        let scored: Vec<(&Candidate, f64)> = candidates
            .iter()
            .filter_map(|candidate| Some((candidate, score(candidate)?)))
            .filter(|(candidate, score)| acceptable(candidate, *score))
            .collect();
        // First what is in force and hurts nobody: something wider explains a little more of any excess, by chance.
        let is_kept = |candidate: &Candidate| kept.contains(&candidate.items);
        let by_score = |first: &&(&Candidate, f64), second: &&(&Candidate, f64)| first.1.total_cmp(&second.1);
        if let Some((first, _)) = scored.iter().filter(|(candidate, _)| is_kept(candidate)).max_by(by_score) {
            covered.add(&first.matched);
            chosen.push((*first).clone());
            continue;
        }
        let Some((best, best_score)) = scored.iter().max_by(by_score) else {
            break;
        };
        // What a few addresses send is refused by these, though one rule says as much about what all visitors have. Not what rules leave that
        // are about more: of that a few may have most, by chance.
        let names_address = |items: &[Item]| items.len() == 1 && mining.sender(items) == Sender::Address;
        if mining.sender(&best.items) == Sender::Anyone
            && chosen.iter().all(|candidate| names_address(&candidate.items))
            && kept.iter().all(|items| names_address(items))
            && let Some(address) = one_of_few(&scored, best, &covered, RULES_MAX - chosen.len(), mining)
        {
            covered.add(&address.matched);
            chosen.push(address.clone());
            continue;
        }
        let same = |candidate: &Candidate| {
            let both = f64::from(candidate.matched.count_and(&best.matched));
            let either = f64::from(candidate.matched.count() + best.matched.count()) - both;
            both >= SAME_ROWS * either || either - both <= TIE_ROWS
        };
        let is_unknown = !mining.is_known(&best.items) && mining.sender(&best.items) == Sender::Anyone;
        let tie = |candidate: &Candidate| {
            let is_address = is_unknown && mining.sender(&candidate.items) == Sender::Address;
            if is_address { TIE_UNKNOWN } else { TIE.max(TIE_ROWS * mining.unit() / left) }
        };
        let tied: Vec<&Candidate> = scored
            .iter()
            .filter(|(candidate, score)| *score >= best_score - tie(candidate) && same(candidate))
            .map(|(candidate, _)| *candidate)
            .collect();
        let least = tied.iter().min_by(|first, second| first.collateral.total_cmp(&second.collateral)).unwrap_or(best);
        // The sender's mark before its target, the target before its network: marks are what a sender keeps. A rule lasts
        // as long as its weakest condition. But what one address asks for others ask for as well: without a mark that is the
        // sender's alone, the address goes before it. Before all, what names something that nobody has had in weeks: it hurts no rare visitor.
        // Of words that all say the same beside other conditions, the commonest: a flood that goes on to another browser's agent
        // keeps it.
        let rank = |candidate: &Candidate| {
            let weakest = candidate.items.last().map_or(usize::MAX, |item| preference(item.attribute));
            let breadth = mining.breadth(&candidate.items);
            (
                !is_standing(candidate),
                !candidate.is_unheard_of,
                mining.sender(&candidate.items),
                weakest,
                candidate.items.len(),
                breadth,
                std::cmp::Reverse(mining.commonness(&candidate.items)),
                candidate.items.clone(),
            )
        };
        let is_alike = |candidate: &Candidate| {
            mining.sender(&least.items) == Sender::Anyone
                && mining.sender(&candidate.items) == Sender::Anyone
                && attributes(candidate).eq(attributes(least))
        };
        let harmless = tied.iter().filter(|candidate| {
            let tie = if is_alike(candidate) { COLLATERAL_TIE_ANYONE } else { COLLATERAL_TIE };
            candidate.collateral <= least.collateral + tie
        });
        let pick = harmless.min_by_key(|candidate| rank(candidate)).map_or(*best, |candidate| *candidate);
        covered.add(&pick.matched);
        chosen.push(pick.clone());
    }
    // Parts are believed only if the whole is as good as one good rule; less of an excess suffices where it has the mark of a
    // sender whom nobody has seen in ordinary traffic, as a flood does that comes during a crowd.
    let least = if chosen.iter().any(is_foreign) { FOREIGN_SCORE_MIN } else { SCORE_MIN };
    if joint_score(&chosen, mining) >= least { chosen } else { Vec::new() }
}

/// The busiest of at most `most` addresses, none of them shared by many, that together send nearly all of what `wide` explains of the
/// rest: only where it would hurt more than they do.
fn one_of_few<'a>(
    scored: &[(&'a Candidate, f64)],
    wide: &Candidate,
    covered: &Bits,
    most: usize,
    mining: &Mining<'_>,
) -> Option<&'a Candidate> {
    let is_address = |candidate: &&Candidate| {
        candidate.items.len() == 1
            && mining.sender(&candidate.items) == Sender::Address
            && candidate.collateral + COLLATERAL_TIE < wide.collateral
    };
    let mut addresses: Vec<&Candidate> = scored.iter().map(|(candidate, _)| *candidate).filter(is_address).collect();
    addresses.sort_by_key(|address| std::cmp::Reverse(address.matched.count_without(covered)));
    addresses.truncate(most);
    let mut theirs = covered.clone();
    addresses.iter().for_each(|address| theirs.add(&address.matched));
    let added = f64::from(wide.matched.count_without(covered));
    let missed = f64::from(wide.matched.count_without(&theirs));
    // What ordinary visitors send of it is among what is missed.
    let ordinary = wide.expected / mining.unit();
    let is_nearly_all = missed <= (1.0 - FEW_SHARE) * added + ordinary;
    addresses.first().copied().filter(|_| is_nearly_all)
}

/// What a candidate is about.
fn attributes(candidate: &Candidate) -> impl Iterator<Item = Attribute> + '_ {
    candidate.items.iter().map(|item| item.attribute)
}

/// Whether a candidate names the mark of a sender of whom there is much now and was nothing before.
fn is_foreign(candidate: &Candidate) -> bool {
    candidate.collateral == 0.0
        && candidate.rows >= FOREIGN_ROWS_MIN
        && candidate.items.iter().any(|item| item.attribute.is_mark() && item.hash != ABSENT)
}

/// The share of the excess that these explain together.
pub(crate) fn joint_coverage(chosen: &[Candidate], mining: &Mining<'_>) -> f64 {
    let mut covered = Bits::new(mining.drawn());
    chosen.iter().for_each(|candidate| covered.add(&candidate.matched));
    let expected: f64 = chosen.iter().map(|candidate| candidate.expected).sum();
    ((f64::from(covered.count()) * mining.unit() - expected) / mining.excess()).clamp(0.0, 1.0)
}

fn joint_score(chosen: &[Candidate], mining: &Mining<'_>) -> f64 {
    let coverage = joint_coverage(chosen, mining);
    // Each rule's own penalties add up; its coverage is counted once, in the whole.
    coverage + chosen.iter().map(|candidate| candidate.score.with_coverage(0.0)).sum::<f64>()
}
