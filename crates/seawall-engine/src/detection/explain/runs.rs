//! When a cost exceeds what is usual, found at one length of stretches after the other, and what those say together.
//!
//! A run that was found in short stretches has sharper edges than the longer ones in which it is found again, and those pause for
//! hours: two floods in one afternoon are a single run of hours. So what was found before stands, and a longer run says
//! something new only by the excess that it has besides.

use super::super::COSTS;
use super::stretches::Stretches;
use super::usual::Usual;
use crate::decision::CostKind;

/// A run is as long as pauses within are shorter than this many stretches, and seconds.
const PAUSE_STRETCHES: u64 = 3;
const PAUSE_SECONDS: u64 = 60;

/// It is worth an explanation with this many times the floor in excess.
pub(super) const EXCESS_FLOORS: f64 = 6.0;

/// Between two runs it was not over when there was this share of the excess a second of the weaker.
const BETWEEN_SHARE_MIN: f64 = 0.25;

/// So many runs, with less than a longer stretch between them, are pulses of one.
const PULSES_MIN: usize = 5;

/// A longer run that has this share of its excess outside of those that were found in it is what lasted, and they its bursts.
const BESIDES_SHARE_MIN: f64 = 0.5;

/// A time in which a cost exceeds what is usual, in seconds.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) from: u64,
    pub(super) until: u64,
    /// How long the stretches are in which it was found: it may begin or end that much beside them.
    pub(super) scale: u64,
    pub(super) cost: CostKind,
    /// What is usual of each cost, in units a second.
    pub(super) usual: [f64; COSTS],
    /// When what came is of other runs.
    pub(super) without: Vec<(u64, u64)>,
}

impl Run {
    fn overlaps(&self, other: &Self) -> bool {
        self.from < other.until && other.from < self.until
    }

    /// How much more than usual there was between two seconds.
    fn excess(&self, log: &Stretches, from: u64, until: u64) -> f64 {
        log.between(from, until, self.cost) - self.usual[self.cost as usize] * until.saturating_sub(from) as f64
    }
}

/// The runs of a cost by enough to be explained.
pub(super) fn runs(log: &Stretches, usual: &Usual, cost: CostKind) -> Vec<Run> {
    let exceeds = |stretch: &u64| log.sum_of_many(*stretch, cost) > usual.at(*stretch).most[cost as usize];
    let mut exceeding: Vec<u64> = log.sums.keys().copied().filter(exceeds).collect();
    exceeding.sort_unstable();
    let pause = PAUSE_STRETCHES.max(PAUSE_SECONDS / log.seconds);
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for stretch in exceeding {
        match runs.last_mut() {
            Some(run) if stretch < run.1 + pause => run.1 = stretch + 1,
            _ => runs.push((stretch, stretch + 1)),
        }
    }
    let floor = log.floor(cost as usize);
    let run = |(from, until): (u64, u64)| {
        let offered: f64 = (from..until).map(|stretch| log.sum_of_many(stretch, cost)).sum();
        let expected: f64 = (from..until).map(|stretch| usual.at(stretch).median[cost as usize]).sum();
        let mut mean = [0.0; COSTS];
        for stretch in from..until {
            let medians = usual.at(stretch).median;
            mean.iter_mut().zip(medians).for_each(|(mean, median)| *mean += median);
        }
        let usual = mean.map(|sum| sum / ((until - from) * log.seconds) as f64);
        let (from, until) = (from * log.seconds, until * log.seconds);
        let run = Run { from, until, scale: log.seconds, cost, usual, without: Vec::new() };
        (offered - expected >= EXCESS_FLOORS * floor).then_some(run)
    };
    runs.into_iter().filter_map(run).collect()
}

/// What was found in stretches of every length.
#[derive(Debug, Default)]
pub(super) struct Runs {
    pub(super) whole: Vec<Run>,
    /// Those with an excess besides what others have that were found in them.
    pub(super) rests: Vec<Run>,
}

impl Runs {
    /// Takes a run of stretches that are no shorter than those before. `finest` has what came, and `floor` is what the run must
    /// exceed at least.
    pub(super) fn join(&mut self, run: Run, finest: &Stretches, floor: f64) {
        let is_within = |known: &Run| known.cost == run.cost && known.overlaps(&run);
        let (mut within, others): (Vec<Run>, Vec<Run>) = self.whole.drain(..).partition(is_within);
        self.whole = others;
        within.sort_unstable_by_key(|known| known.from);
        let within = pulses(bridged(within, finest), run.scale);
        let excess = run.excess(finest, run.from, run.until);
        let inside = |part: &Run| run.excess(finest, part.from.max(run.from), part.until.min(run.until)).max(0.0);
        let besides = excess - within.iter().map(inside).sum::<f64>();
        if besides >= BESIDES_SHARE_MIN * excess {
            let from = within.iter().map(|part| part.from).fold(run.from, u64::min);
            let until = within.iter().map(|part| part.until).fold(run.until, u64::max);
            self.whole.push(Run { from, until, ..run });
            return;
        }
        if besides >= EXCESS_FLOORS * floor {
            let without = within.iter().map(|part| (part.from, part.until)).collect();
            self.rests.push(Run { without, ..run });
        }
        self.whole.extend(within);
    }

    /// Whether a run of this cost is in this time, in seconds.
    pub(super) fn exceeds(&self, cost: CostKind, from: u64, until: u64) -> bool {
        self.whole.iter().chain(&self.rests).any(|run| run.cost == cost && run.from < until && from < run.until)
    }
}

/// Neighbours between which it was not over are one.
fn bridged(within: Vec<Run>, finest: &Stretches) -> Vec<Run> {
    // With the excess of each, since summing it anew for every neighbour would take as long as there are pulses.
    let mut bridged: Vec<(Run, f64)> = Vec::new();
    for run in within {
        let excess = run.excess(finest, run.from, run.until);
        if let Some((last, last_excess)) = bridged.last_mut() {
            let gap = run.from.saturating_sub(last.until);
            let between = run.excess(finest, last.until, run.from);
            let rate = |excess: f64, run: &Run| excess / (run.until - run.from).max(1) as f64;
            let weaker = rate(*last_excess, last).min(rate(excess, &run));
            if gap == 0 || between / gap as f64 >= BETWEEN_SHARE_MIN * weaker {
                last.until = last.until.max(run.until);
                last.scale = last.scale.max(run.scale);
                *last_excess += between + excess;
                continue;
            }
        }
        bridged.push((run, excess));
    }
    bridged.into_iter().map(|(run, _)| run).collect()
}

/// Many neighbours between which there is never a whole stretch of this many seconds are one.
fn pulses(within: Vec<Run>, scale: u64) -> Vec<Run> {
    let mut groups: Vec<Vec<Run>> = Vec::new();
    for run in within {
        match groups.last_mut() {
            Some(group) if group.last().is_some_and(|last| run.from <= last.until + scale) => group.push(run),
            _ => groups.push(vec![run]),
        }
    }
    let united = |group: Vec<Run>| match (group.first(), group.last()) {
        (Some(first), Some(last)) if group.len() >= PULSES_MIN => {
            let (scale, until) = (group.iter().map(|run| run.scale).fold(first.scale, u64::max), last.until);
            vec![Run { until, scale, ..first.clone() }]
        }
        _ => group,
    };
    groups.into_iter().flat_map(united).collect()
}
