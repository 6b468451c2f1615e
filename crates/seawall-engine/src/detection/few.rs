//! What a few busy visitors have of a cost. Someone who opens one page after another, or loads a gallery, is several times a
//! small site's ordinary traffic for ten seconds: nothing is wrong, and `sustained` would let no rule come of it. So what a
//! handful of clients may have is left out before ten seconds are compared with what is normal; those who go on are found by
//! the sum over minutes, and one that floods by itself has a trigger of its own.

use rustc_hash::FxHashMap;

use crate::decision::CostKind;

use super::recent::Sampled;

/// How many clients are left out.
const CLIENTS: usize = 3;

/// What one visitor may ask for in ten seconds: a page or two with all their parts.
const REQUESTS: f64 = 50.0;

/// A client of fewer requests than this in ten seconds may have each as dear as it likes: a page that takes long, a download.
const REQUESTS_IF_DEAR: f64 = 10.0;

/// How much of this cost the heaviest clients among these have that visitors may have.
pub(crate) fn visitors_cost<'a>(rows: impl Iterator<Item = Sampled<'a>>, cost: CostKind) -> f64 {
    let mut clients: FxHashMap<u32, (f64, f64)> = FxHashMap::default();
    // Without addresses nobody is one client.
    for sampled in rows.filter(|sampled| sampled.row.client_hash != 0) {
        let (requests, sum) = clients.entry(sampled.row.client_hash).or_default();
        *requests += sampled.cost(CostKind::Requests as usize);
        *sum += sampled.cost(cost as usize);
    }
    let allowed = |(requests, sum): (f64, f64)| match cost {
        CostKind::Requests => sum.min(REQUESTS),
        _ if requests < REQUESTS_IF_DEAR => sum,
        _ => 0.0,
    };
    let mut heaviest = [0.0_f64; CLIENTS];
    for mut allowed in clients.into_values().map(allowed) {
        for kept in &mut heaviest {
            if allowed > *kept {
                std::mem::swap(&mut allowed, kept);
            }
        }
    }
    heaviest.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::recent::Row;
    use crate::units::Timestamp;

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
            all - visitors_cost(sampled, cost)
        };
        assert_eq!(check(3, 40, 0.0, CostKind::Requests), 0.0);
        assert_eq!(check(1, 400, 0.0, CostKind::Requests), 350.0);
        assert_eq!(check(40, 3, 0.0, CostKind::Requests), 111.0);
        assert_eq!(check(2, 5, 1e6, CostKind::Bytes), 0.0);
        assert_eq!(check(1, 20, 1e6, CostKind::Bytes), 2e7);
        assert_eq!(check(40, 1, 1e6, CostKind::Bytes), 3.7e7);
    }
}
