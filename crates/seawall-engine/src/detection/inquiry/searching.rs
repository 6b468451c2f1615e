//! What is searched of a cost, and which of what the search offers may become a rule.

use ipnet::IpNet;

use crate::decision::{CostKind, HARMLESS_COLLATERAL};
use crate::observation::attribute::Attribute;

use super::super::bits::Bits;
use super::super::cover::{RULES_MAX, cover};
use super::super::index::{Matching, RowIndex};
use super::super::mining::{Candidate, Column, Mining, Sender, Weighed};
use super::super::recent::Sampled;
use super::super::score::USERS_MAX;
use super::super::seasonal::SAMPLE_SECONDS;
use super::super::stability::{Stability, turnover};
use super::super::sustained::is_sustained;
use super::super::values::{ABSENT, Item, PRESENT};
use super::{Choice, EXCESS_MIN, Inquiry, View};

/// Fewer requests than this prove nothing, in however many parts they have told what they cost.
const REQUESTS_MIN: f64 = 6.0;

/// How many conjunctions are tried on other windows.
const STABILITY_CANDIDATES_MAX: usize = 48;

/// What must be left of a cost after the rules found so far, as a share of all that is offered, for a search of its own.
const LEFT_SHARE: f64 = 0.3;

/// A rule for time or bytes must hit something that is asked for this many times as often as usual; otherwise the
/// requests are as ever and their cost comes from elsewhere.
const REQUESTS_LIFT_MIN: f64 = 2.0;

/// A cost that is at most this many times as much for each request as usual follows the requests.
const DEARER_FACTOR: f64 = 1.5;

/// Rules in force take care of what a further rule is about when they hit this share of it.
const TAKEN_CARE_SHARE: f64 = 0.8;

/// On a guard's first day a further rule must be about more requests a second than a crawler has that comes for the first time,
/// besides being about as many as all that is normal.
const FURTHER_RATE_MIN: f64 = 5.0;

impl<'a> Inquiry<'a> {
    /// How much of a cost a row stands for. What a request waits behind others is no work of its own.
    pub(super) fn own_cost(&self, cost: CostKind, sampled: &Sampled<'_>, view: &View<'_>) -> f64 {
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

    pub(super) fn column(&self, cost: CostKind, view: &View<'_>, choices: &[Choice]) -> Column<'a> {
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
    pub(super) fn is_worth_mining(&self, cost: CostKind, column: &Column<'_>, view: &View, explained: bool) -> bool {
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
    pub(super) fn is_rest_beyond(&self, column: &Column<'_>, uneven_times: f64) -> bool {
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

    pub(super) fn mine(&self, cost: CostKind, mining: &Mining<'_>, view: &View<'_>) -> Vec<Candidate> {
        let permitted = |item: Item| self.is_permitted(item);
        let mut candidates = mining.candidates(self.standing, &permitted, &|items| view.people.users(items));
        let is_address =
            |candidate: &Candidate| candidate.items.len() == 1 && mining.sender(&candidate.items) == Sender::Address;
        // Several addresses may say together what none of them says by itself.
        let further = candidates.split_off(candidates.len().min(STABILITY_CANDIDATES_MAX));
        candidates.extend(further.into_iter().filter(is_address).take(RULES_MAX));
        let conjunctions = candidates.iter().map(|candidate| candidate.items.as_slice());
        let mineable = self.material.around.iter().filter(|sampled| sampled.row.is_mineable()).copied();
        let around = RowIndex::new(mineable.collect(), self.material.tried_max, conjunctions);
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
            let requests = |found: &Matching<'_, '_>| found.sampled.cost(CostKind::Requests as usize);
            let all = since_onset.iter().map(requests).sum::<f64>();
            if all < REQUESTS_MIN {
                return false;
            }
            let rate = self.rate(CostKind::Requests) * candidate.collateral;
            if !is_sustained(cost, window, since_onset, &parts_of_pages, rate, || self.are_known_programs(since_onset))
            {
                return false;
            }
            let names_clients = items.iter().any(|item| item.attribute == Attribute::ClientPrefix);
            let parts = since_onset.iter().filter(|found| parts_of_pages.has(found.place)).map(requests).sum::<f64>();
            let names_few = names_clients && view.people.users(items) <= USERS_MAX;
            if 2.0 * parts >= all && !names_few && self.may_be_of_pages(items) {
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
        // What would only be shown is not to stand in the way of what can be put in force, though it explains more.
        let is_shown_only = |candidate: &Candidate| {
            candidate.items.iter().any(|item| item.hash == PRESENT)
                && candidate.score.collateral_upper > f64::from(HARMLESS_COLLATERAL)
                && !self.has_foreign_mark(&candidate.items)
        };
        let (shown, mut candidates): (Vec<_>, Vec<_>) = candidates.into_iter().partition(is_shown_only);
        let chosen = cover(&candidates, mining, self.standing, self.kept);
        if !chosen.is_empty() || shown.is_empty() {
            return chosen;
        }
        candidates.extend(shown);
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
    pub(super) fn asks_more(&self, candidate: &Candidate, view: &View<'_>) -> bool {
        let matched = self.material.rows().iter().filter(|sampled| sampled.row.marks.has_all(&candidate.items));
        let usual = self.normal_rate(&candidate.items) * view.growth * self.material.seconds();
        matched.map(|row| row.cost(0)).sum::<f64>() >= REQUESTS_LIFT_MIN * usual
    }

    /// Requests a second that normal traffic has of this.
    pub(super) fn normal_rate(&self, items: &[Item]) -> f64 {
        self.rate(CostKind::Requests) * self.material.reference.requests_share(items)
    }
}
