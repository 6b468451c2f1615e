//! Whether requests are more than a few browsers loading pages: the requests of many clients always are, those of a few only
//! when they go on.

use rustc_hash::FxHashMap;

use crate::decision::CostKind;
use crate::observation::attribute::Attribute;

use super::bits::Bits;
use super::index::Matching;
use super::statistics::effective_kinds;
use super::values::ValueHash;

/// The requests of fewer clients than this, all told, may be a few browsers at work:
const CLIENTS_FEW: f64 = 8.0;

/// they count once each client has sent more than the largest pages have parts, over this many busy seconds;
const REQUESTS: f64 = 300.0;
const SECONDS: usize = 3;

/// far fewer when less than this share is for static files, since the parts of pages are, or as many are for one and the same
/// target, since a page has each part once;
const REQUESTS_FOR_PAGES: f64 = 50.0;
const SECONDS_FOR_PAGES: usize = 2;
const STATIC_SHARE: f64 = 0.3;
const TARGET_SHARE: f64 = 0.7;

/// or, since the onset, more than someone who looks at a few pages in a minute.
const PERSISTENT_REQUESTS_FOR_PAGES: f64 = 150.0;

/// Or as many, of different paths, over at least this time, in half of whose seconds or more there is one: for longer than anybody
/// turns page after page. What a page asks for again and again has few paths.
const STEADY_SECONDS: f64 = 40.0;
const STEADY_SHARE: f64 = 0.5;
const STEADY_TARGETS: usize = 4;

/// Where it is not their number that is too much, but what they cost, so many from each over so many seconds;
const DEAR_REQUESTS: f64 = 10.0;
const DEAR_SECONDS: usize = 5;

/// for parts of pages so many, over so many: a page of large pictures, or a walk through a series of them, is dear too.
const DEAR_PARTS: f64 = 100.0;
const DEAR_PARTS_SECONDS: usize = 10;

/// A second is busy with this many requests more than is normal.
const BUSY_REQUESTS: f64 = 5.0;

/// Of a distributed flood the first rows say enough.
const ROWS_ENOUGH: usize = 100;

/// Whether these requests are more than a few browsers loading pages. `now` are those of the window that is mined,
/// `since_onset` all since the onset; `parts` are the places of those for parts of pages, and `normal_rate` is what normal traffic has of
/// them in a second. `are_known` says whether they are of programs that come here ordinarily: to go on evenly is what these do.
pub(super) fn is_sustained(
    cost: CostKind,
    now: &[Matching<'_, '_>],
    since_onset: &[Matching<'_, '_>],
    parts: &Bits,
    normal_rate: f64,
    are_known: impl Fn() -> bool,
) -> bool {
    let few = |rows: &[Matching<'_, '_>]| -> Option<Few> {
        if clients(rows.iter().take(ROWS_ENOUGH)) >= CLIENTS_FEW {
            return None;
        }
        let clients = clients(rows.iter());
        (clients < CLIENTS_FEW).then(|| Few::new(clients.max(1.0), rows, parts))
    };
    let is_all = now.len() == since_onset.len();
    let Some(now) = few(now) else { return true };
    let earlier = if is_all { None } else { Some(few(since_onset)) };
    let Some(all) = earlier.as_ref().map_or(Some(&now), Option::as_ref) else { return true };
    if cost != CostKind::Requests {
        let (requests, seconds) =
            if all.is_paging() { (DEAR_REQUESTS, DEAR_SECONDS) } else { (DEAR_PARTS, DEAR_PARTS_SECONDS) };
        return all.requests >= requests * all.clients && all.seconds.len() >= seconds;
    }
    let persistent = if all.is_paging() { PERSISTENT_REQUESTS_FOR_PAGES } else { REQUESTS };
    let is_much = all.requests >= persistent * all.clients;
    now.goes_on(normal_rate)
        || is_much && all.busy_seconds(normal_rate) >= SECONDS
        || is_much && all.is_steady(normal_rate) && !are_known()
}

/// The requests of a few clients.
struct Few {
    clients: f64,
    requests: f64,
    statics: f64,
    /// Requests for the target that has most, and for those few that have.
    top_target: f64,
    top_targets: f64,
    seconds: Vec<(u64, f64)>,
}

impl Few {
    fn new(clients: f64, rows: &[Matching<'_, '_>], parts: &Bits) -> Self {
        let mut few =
            Self { clients, requests: 0.0, statics: 0.0, top_target: 0.0, top_targets: 0.0, seconds: Vec::new() };
        let mut targets: FxHashMap<ValueHash, f64> = FxHashMap::default();
        for Matching { place, sampled } in rows {
            let requests = sampled.cost(0);
            few.requests += requests;
            if parts.has(*place) {
                few.statics += requests;
            }
            // Mostly they come second by second.
            let second = sampled.at.as_seconds();
            match few.seconds.last_mut().filter(|(last, _)| *last == second) {
                Some((_, sum)) => *sum += requests,
                None => few.seconds.push((second, requests)),
            }
            *targets.entry(sampled.row.marks.one(Attribute::Path)).or_default() += requests;
        }
        few.seconds.sort_unstable_by_key(|(second, _)| *second);
        few.seconds.dedup_by(|(second, requests), (before, sum)| {
            let is_same = second == before;
            *sum += if is_same { *requests } else { 0.0 };
            is_same
        });
        let mut targets: Vec<f64> = targets.into_values().collect();
        targets.sort_unstable_by(|one, other| other.total_cmp(one));
        few.top_target = targets.first().copied().unwrap_or_default();
        few.top_targets = targets.iter().take(STEADY_TARGETS).sum();
        few
    }

    fn busy_seconds(&self, normal_rate: f64) -> usize {
        self.seconds.iter().filter(|(_, requests)| *requests >= normal_rate + BUSY_REQUESTS).count()
    }

    /// Whether they have come evenly for long, beyond what is normal. Visits come in bursts, between which someone reads.
    fn is_steady(&self, normal_rate: f64) -> bool {
        let seconds = || self.seconds.iter().map(|(second, _)| *second);
        let (Some(first), Some(last)) = (seconds().min(), seconds().max()) else { return false };
        let span = (last - first + 1) as f64;
        span >= STEADY_SECONDS
            && self.seconds.len() as f64 >= STEADY_SHARE * span
            && self.requests >= 2.0 * normal_rate * span
            && self.top_targets < TARGET_SHARE * self.requests
    }

    /// Whether hardly any of them are for parts of pages.
    fn is_paging(&self) -> bool {
        self.statics < STATIC_SHARE * self.requests || self.top_target >= TARGET_SHARE * self.requests
    }

    fn goes_on(&self, normal_rate: f64) -> bool {
        let (requests, seconds) =
            if self.is_paging() { (REQUESTS_FOR_PAGES, SECONDS_FOR_PAGES) } else { (REQUESTS, SECONDS) };
        self.requests >= requests * self.clients && self.busy_seconds(normal_rate) >= seconds
    }
}

/// How many equally busy clients would be as many.
fn clients<'s>(rows: impl Iterator<Item = &'s Matching<'s, 's>>) -> f64 {
    let mut clients: FxHashMap<u32, f64> = FxHashMap::default();
    for Matching { sampled, .. } in rows {
        // Without addresses every request may be a client.
        let client = if sampled.row.client_hash == 0 { clients.len() as u32 } else { sampled.row.client_hash };
        *clients.entry(client).or_default() += sampled.cost(0);
    }
    effective_kinds(clients.values().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Few =
        Few { clients: 1.0, requests: 0.0, statics: 0.0, top_target: 0.0, top_targets: 0.0, seconds: Vec::new() };

    #[test]
    fn what_comes_evenly_for_long_and_for_different_targets_goes_on() {
        // So long, in so many seconds of four; the share of one target, and what is normal a second.
        for (span, busy, top_share, normal_rate, expected) in [
            (60, 4, 0.1, 0.0, true),
            (40, 4, 0.1, 0.0, true),
            (39, 4, 0.1, 0.0, false),
            (60, 2, 0.1, 0.0, true),
            (60, 1, 0.1, 0.0, false),
            (60, 4, 0.9, 0.0, false),
            (60, 4, 0.1, 1.4, true),
            (60, 4, 0.1, 2.0, false),
        ] {
            let seconds: Vec<(u64, f64)> = (0..span).filter(|at| at % 4 < busy).map(|at| (at, 3.0)).collect();
            let requests: f64 = seconds.iter().map(|(_, requests)| requests).sum();
            let few = Few { clients: 1.0, requests, top_targets: top_share * requests, seconds, ..NOTHING };
            assert_eq!(few.is_steady(normal_rate), expected, "{span} s, {busy} of 4, {top_share}, {normal_rate}");
        }
        assert!(!NOTHING.is_steady(0.0));
    }
}
