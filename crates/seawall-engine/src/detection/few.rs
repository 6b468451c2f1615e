//! What a few busy visitors have of a cost. Someone who opens one page after another, or loads a gallery, is several times a
//! small site's ordinary traffic for ten seconds: nothing is wrong, and `sustained` would let no rule come of it. So what a
//! handful of clients may have is left out before ten seconds are compared with what is normal; those who go on are found by
//! the sum over minutes, and one that floods by itself has a trigger of its own.

use std::cell::OnceCell;

use rustc_hash::FxHashMap;

use crate::decision::CostKind;
use crate::units::Timestamp;

use super::recent::{Recent, Sampled};

/// How many clients are left out.
const CLIENTS: usize = 3;

/// What one visitor may ask for in ten seconds: a page or two with all their parts.
const REQUESTS: f64 = 50.0;

/// The most requests that visitors may have, and so the most of any that are left out.
const REQUESTS_MAX: f64 = CLIENTS as f64 * REQUESTS;

/// A client of fewer requests than this in ten seconds may have each as dear as it likes: a page that takes long, a download.
const REQUESTS_IF_DEAR: f64 = 10.0;

/// What visitors may have of each cost, in some rows of the sample: these are only looked at where that may decide, and once.
pub(crate) struct Visitors<'r> {
    recent: &'r Recent,
    from: Timestamp,
    costs: OnceCell<[f64; CostKind::ALL.len()]>,
}

impl<'r> Visitors<'r> {
    /// In what came since `from`.
    pub(crate) const fn since(from: Timestamp, recent: &'r Recent) -> Self {
        Self { recent, from, costs: OnceCell::new() }
    }

    /// Whether what is offered of a cost is beyond what is normal without what they may have of it.
    pub(crate) fn leave(&self, cost: CostKind, offered: f64, is_beyond: impl Fn(f64) -> bool) -> bool {
        is_beyond(offered)
            && (cost == CostKind::Requests && is_beyond(offered - REQUESTS_MAX) || {
                let costs = self.costs.get_or_init(|| visitors_costs(self.recent.since(self.from)));
                is_beyond(offered - costs[cost as usize])
            })
    }
}

/// How much of each cost the heaviest clients among these have that visitors may have.
fn visitors_costs<'a>(rows: impl Iterator<Item = Sampled<'a>>) -> [f64; CostKind::ALL.len()] {
    let mut clients: FxHashMap<u32, [f64; CostKind::ALL.len()]> = FxHashMap::default();
    // Without addresses nobody is one client.
    for sampled in rows.filter(|sampled| sampled.row.client_hash != 0) {
        let sums = clients.entry(sampled.row.client_hash).or_default();
        sums.iter_mut().enumerate().for_each(|(cost, sum)| *sum += sampled.cost(cost));
    }
    let mut heaviest = [[0.0_f64; CLIENTS]; CostKind::ALL.len()];
    for sums in clients.into_values() {
        let requests = sums[CostKind::Requests as usize];
        for ((cost, sum), heaviest) in CostKind::ALL.into_iter().zip(sums).zip(&mut heaviest) {
            let mut allowed = match cost {
                CostKind::Requests => sum.min(REQUESTS),
                _ if requests < REQUESTS_IF_DEAR => sum,
                _ => 0.0,
            };
            for kept in heaviest {
                if allowed > *kept {
                    std::mem::swap(&mut allowed, kept);
                }
            }
        }
    }
    heaviest.map(|heaviest| heaviest.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::recent::Row;

    #[test]
    fn rows_are_only_asked_where_they_decide() {
        let mut recent = Recent::new();
        let at = Timestamp::from_seconds(100);
        recent.advance(100, |_, _| {});
        for number in 0..200 {
            recent.offer(100, Row { client_hash: 1 + number % 2, costs: [1.0, 10.0, 0.0, 0.0], at, ..Row::default() });
        }
        let leave = |cost, offered: f64, most: f64| {
            let visitors = Visitors::since(Timestamp::from_seconds(90), &recent);
            (visitors.leave(cost, offered, |offered| offered > most), visitors.costs.get().is_some())
        };
        assert_eq!(leave(CostKind::Requests, 200.0, 250.0), (false, false), "it is not beyond with them");
        assert_eq!(leave(CostKind::Requests, 200.0, 40.0), (true, false), "more than visitors may have");
        // Two clients may have fifty each.
        assert_eq!(leave(CostKind::Requests, 200.0, 99.0), (true, true));
        assert_eq!(leave(CostKind::Requests, 200.0, 101.0), (false, true));
        assert_eq!(
            leave(CostKind::Bytes, 2000.0, 1999.0),
            (true, true),
            "whoever asks often may have none of the bytes"
        );
    }

    #[test]
    fn a_few_visitors_are_left_out_and_many_or_heavy_ones_are_not() {
        let check = |clients: u32, requests: u32, bytes: f32, cost: CostKind| {
            let row = |number: u32| Row {
                client_hash: 1 + number % clients,
                costs: [1.0, bytes, 0.0, 0.0],
                ..Row::default()
            };
            let rows: Vec<Row> = (0..clients * requests).map(row).collect();
            let sampled = rows.iter().map(|row| Sampled { row, at: Timestamp::EPOCH, factor: 1.0 });
            let all: f64 = sampled.clone().map(|sampled| sampled.cost(cost as usize)).sum();
            all - visitors_costs(sampled)[cost as usize]
        };
        assert_eq!(check(3, 40, 0.0, CostKind::Requests), 0.0);
        assert_eq!(check(1, 400, 0.0, CostKind::Requests), 350.0);
        assert_eq!(check(40, 3, 0.0, CostKind::Requests), 111.0);
        assert_eq!(check(2, 5, 1e6, CostKind::Bytes), 0.0);
        assert_eq!(check(1, 20, 1e6, CostKind::Bytes), 2e7);
        assert_eq!(check(40, 1, 1e6, CostKind::Bytes), 3.7e7);
    }
}
