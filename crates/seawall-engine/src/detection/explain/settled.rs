//! A verdict for good. The live guard may wait whether a crowd turns out to be one; in a log nothing more will come, so what
//! is no crowd by now is none.

use super::super::inquiry::{EXPLAINED_SHARE, Insight};
use super::super::recent::Sampled;
use super::super::reference::Reference;
use super::super::trigger::Reading;
use super::super::values::{ABSENT, Item, UNUSED};
use super::super::verdict::explanation;
use super::senders::Heaviest;
use super::surges::Surge;
use crate::decision::{Finding, Verdict};
use crate::observation::attribute::Attribute;

/// *Explained*: at most this share of normal traffic is hit.
pub(super) const COLLATERAL_MAX: f64 = 0.01;

/// A sign is on this share of what a rule matches, and on at most that of normal traffic: who tried a flood out beforehand is in it.
const SIGN_SHARE_MIN: f64 = 0.98;
const SIGN_NORMAL_MAX: f64 = 0.01;

/// The same of a system, which has many clients. Of the networks around a client only one address and 256 are signs.
const SIGN_NORMAL_SYSTEM_MAX: f64 = 0.001;
const SIGN_NETWORKS: usize = 2;

/// What a gateway has in common with anybody, others have at least this often for each time that the surge has it: people of one
/// office differ a little in their browsers and in what they read.
const ORDINARY_SHARE: f64 = 0.25;

/// How many signs are traced for each rule.
const SIGNS_MAX: usize = 4;

/// The verdict, and what is said of it.
pub(super) fn settled(
    insight: &Insight,
    surge: &Surge,
    rows: &[Sampled<'_>],
    readings: &[Reading],
    reference: &Reference,
    heaviest: Option<&Heaviest>,
) -> (Verdict, String) {
    let findings: Vec<&Finding> = insight.findings.iter().map(|(_, finding)| finding).collect();
    let said = |verdict, crowd| explanation(verdict, surge.strongest(), readings, &findings, 0.0, crowd);
    let gateway = "one address with many user agents, as of a provider's gateway";
    match insight.verdict {
        Verdict::Undecided | Verdict::Explained | Verdict::Partial
            if is_gateway_alone(insight, rows, reference, heaviest) =>
        {
            let said = explanation(Verdict::Crowd, surge.strongest(), readings, &[], 0.0, Some(gateway));
            (Verdict::Crowd, said)
        }
        Verdict::Undecided => {
            let verdict = decided(insight, surge, rows, reference);
            (verdict, said(verdict, None))
        }
        Verdict::Crowd if heaviest.is_some_and(Heaviest::is_gateway) => {
            (Verdict::Crowd, said(Verdict::Crowd, Some(gateway)))
        }
        verdict => (verdict, insight.explanation.clone()),
    }
}

/// How much there was and what is usual.
pub(super) fn amounts(surge: &Surge, readings: &[Reading]) -> String {
    explanation(Verdict::Explained, surge.strongest(), readings, &[], 0.0, None)
}

/// What is said where there is too little ordinary traffic.
pub(super) fn unsure(surge: &Surge, readings: &[Reading]) -> String {
    let amounts = amounts(surge, readings);
    format!("{amounts}; there is too little ordinary traffic to say whom a rule would hurt")
}

/// Whether all rules do no more than name the gateway of people who browse, or what these have in common with anybody. A rule with
/// a target that others seldom ask for is about what is done there.
fn is_gateway_alone(
    insight: &Insight,
    rows: &[Sampled<'_>],
    reference: &Reference,
    heaviest: Option<&Heaviest>,
) -> bool {
    let requests = |is_meant: &dyn Fn(&Sampled<'_>) -> bool| -> f64 {
        rows.iter().filter(|row| is_meant(row)).map(|row| row.cost(0)).sum()
    };
    let all = requests(&|_| true);
    let is_ordinary = |item: &Item| {
        let share = requests(&|sampled| sampled.row.marks.has(*item)) / all.max(f64::MIN_POSITIVE);
        reference.requests_share(&[*item]) >= ORDINARY_SHARE * share
    };
    let names_network_alone = |items: &[Item]| {
        let (networks, others): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| item.attribute.is_network());
        !networks.is_empty() && others.into_iter().all(is_ordinary)
    };
    heaviest.is_some_and(|heaviest| heaviest.is_gateway() && heaviest.browses)
        && !insight.findings.is_empty()
        && insight.findings.iter().all(|(items, _)| names_network_alone(items))
}

/// What the rules that were found say together.
fn decided(insight: &Insight, surge: &Surge, rows: &[Sampled<'_>], reference: &Reference) -> Verdict {
    if insight.findings.is_empty() {
        return Verdict::NotSeparable;
    }
    let cost = surge.strongest() as usize;
    let matched = |sampled: &&Sampled<'_>| insight.findings.iter().any(|(items, _)| sampled.row.marks.has_all(items));
    let offered: f64 = rows.iter().map(|sampled| sampled.cost(cost)).sum();
    let matching: f64 = rows.iter().filter(matched).map(|sampled| sampled.cost(cost)).sum();
    let usual = surge.usual[cost] * surge.until.since(surge.from).as_secs_f64();
    let hit: f64 = insight.findings.iter().map(|(items, _)| reference.requests_share(items)).sum();
    let covered = (matching - usual * hit) / (offered - usual).max(f64::MIN_POSITIVE);
    let collateral: f64 = insight.findings.iter().map(|(_, finding)| f64::from(finding.evidence.collateral)).sum();
    let is_explained = covered >= EXPLAINED_SHARE && collateral <= COLLATERAL_MAX;
    if is_explained { Verdict::Explained } else { Verdict::Partial }
}

/// What all that a rule matches have besides, and normal traffic has next to nothing of.
pub(super) fn signs(items: &[Item], matching: &[Sampled<'_>], reference: &Reference) -> Vec<Item> {
    let Some(first) = matching.first() else { return Vec::new() };
    let is_telling = |item: &Item| {
        let telling = item.attribute.is_mark()
            || matches!(item.attribute, Attribute::UserAgentWord | Attribute::Path | Attribute::RefererOrigin);
        telling && item.hash != ABSENT && !items.contains(item)
    };
    let is_shared = |item: &Item| {
        let having = matching.iter().filter(|sampled| sampled.row.marks.has(*item)).count();
        having as f64 >= SIGN_SHARE_MIN * matching.len() as f64
    };
    let mut signs: Vec<Item> = first
        .row
        .marks
        .items()
        .filter(is_telling)
        .filter(is_shared)
        .filter(|item| reference.share(*item) <= SIGN_NORMAL_MAX)
        .collect();
    // Whoever tries a flood out may do so under another name, from where the flood comes later.
    if !items.iter().any(|item| item.attribute.is_network()) {
        let narrow = first.row.marks.of(Attribute::ClientPrefix).iter().take(SIGN_NETWORKS);
        let prefixes = narrow.map(|hash| (Attribute::ClientPrefix, *hash, SIGN_NORMAL_MAX));
        let system = (Attribute::Asn, first.row.marks.one(Attribute::Asn), SIGN_NORMAL_SYSTEM_MAX);
        let mut networks = prefixes.chain([system]).filter_map(|(attribute, hash, normal_max)| {
            let item = Item { attribute, hash };
            (![UNUSED, ABSENT].contains(&hash) && is_shared(&item) && reference.share(item) <= normal_max)
                .then_some(item)
        });
        signs.extend(networks.next());
    }
    let named: Vec<Attribute> = signs.iter().chain(items).map(|item| item.attribute).collect();
    signs.retain(|item| !named.iter().any(|named| item.attribute.is_ancestor_of(*named)));
    signs.truncate(SIGNS_MAX);
    signs
}
