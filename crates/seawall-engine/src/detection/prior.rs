//! What web traffic is like in general, for a guard that has known its site for less than a day and may have been started in
//! the middle of a flood: then the flood is most of what it has seen, and nothing exceeds it.
//!
//! Two things hold of ordinary traffic nearly everywhere. The commonest user agent is a browser's, on about a quarter of the
//! visitors, and who has it fetches what pages need. And most of what is asked for is read: what is written is a twentieth,
//! and seldom all to one place. Where more than half of all that comes is against this, and is no crowd, it is suspect. This
//! is asked under stress only, and whoever is suspect is slowed down for a minute at a time.
//!
//! It is wrong of a site that one program uses, or that all write to. So from the first hour on what the minutes so far had as
//! well is the site's own; and programs that say where they come from, those that fetch a file, and browsers on a site without
//! parts of pages are not suspect at all.

use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

use super::assets::Assets;
use super::baseline::NormalRow;
use super::crowd::{ASSET_SHARE_MIN, Ordinary, crowd};
use super::recent::Sampled;
use super::values::{Item, ValueHash};

/// How much of the present is looked at, and how long what is suspect must have gone on in it: a herd of one program is over
/// sooner.
const WINDOW: Duration = Duration::from_secs(10);
const GOING_ON: Duration = Duration::from_secs(5);

/// More than this share of the visitors with one agent, or of the requests to one place, is against what is ordinary.
const SHARE_MAX: f64 = 0.5;

/// What has fewer requests in the window, or clients, proves nothing.
const REQUESTS_MIN: f64 = 50.0;
const CLIENTS_MIN: usize = 30;

/// The share of visitors that one browser has, that one program has, and that write to one place, on an ordinary site.
const BROWSER_SHARE: f64 = 0.25;
const PROGRAM_SHARE: f64 = 0.05;
const WRITING_SHARE: f64 = 0.05;

/// Programs that say where they come from, or that fetch files, are told by this share of their requests.
const NAMED_SHARE: f64 = 0.5;
const FILES_SHARE: f64 = 0.8;

/// Requests of the others from which on they tell whether the site's pages have parts.
const OTHERS_MIN: f64 = 20.0;

/// What the minutes so far had in half this proportion is the site's own.
const OWN_PROPORTION: f64 = 0.5;

/// How many are suspect at once, at most.
const SUSPECTS_MAX: usize = 3;

/// All that is looked at.
pub(super) struct Outlook<'a> {
    /// The last minute, newest first, as far as a rule could change anything about it.
    pub(super) minute: &'a [Sampled<'a>],
    pub(super) now: Timestamp,
    pub(super) assets: &'a Assets<'a>,
    /// What the minutes so far had, once they say what is the site's own.
    pub(super) known: &'a [&'a NormalRow],
}

/// What is against all that is ordinary.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Suspect {
    pub(super) items: Vec<Item>,
    /// The share of the requests that it has.
    pub(super) share: f64,
    /// The share of visitors that has it on an ordinary site.
    pub(super) ordinary_share: f64,
    /// Requests a second of all others.
    pub(super) others: f64,
    pub(super) rows: u32,
    pub(super) clients: u32,
}

impl Suspect {
    /// Requests a second that it would have on an ordinary site, beside the others that there are.
    pub(super) fn ordinary_rate(&self) -> f64 {
        self.others * self.ordinary_share / (1.0 - self.ordinary_share)
    }
}

impl Outlook<'_> {
    /// Everything that is suspect, the largest part first.
    pub(super) fn suspects(&self) -> Vec<Suspect> {
        let newest = self.minute.iter().filter(|sampled| self.now.since(sampled.at) <= WINDOW);
        let mut left: Vec<Sampled<'_>> = newest.copied().collect();
        let all = requests(&left);
        let mut suspects = Vec::new();
        while suspects.len() < SUSPECTS_MAX {
            let candidates = [self.one_agent(&left), self.one_target(&left)];
            let judged = candidates.into_iter().flatten().find_map(|candidate| self.judged(candidate, &left, all));
            let Some(suspect) = judged else { break };
            left.retain(|sampled| !sampled.row.marks.has_all(&suspect.items));
            suspects.push(suspect);
        }
        suspects
    }

    /// The agent of most visitors, if it is on too many, with the share of visitors who would have it.
    fn one_agent(&self, rows: &[Sampled<'_>]) -> Option<(Vec<Item>, f64)> {
        let agent = |sampled: &Sampled<'_>| sampled.row.marks.one(Attribute::UserAgent);
        let visitors: FxHashSet<(u32, ValueHash)> =
            rows.iter().map(|sampled| (sampled.row.client_hash, agent(sampled))).collect();
        let mut counts: FxHashMap<ValueHash, usize> = FxHashMap::default();
        visitors.iter().for_each(|(_, agent)| *counts.entry(*agent).or_default() += 1);
        let (hash, count) = counts.into_iter().max_by_key(|(hash, count)| (*count, *hash))?;
        if (count as f64) < SHARE_MAX * visitors.len() as f64 {
            return None;
        }
        let marked = self.assets.marked();
        let having: Vec<Sampled<'_>> = rows.iter().filter(|sampled| agent(sampled) == hash).copied().collect();
        let all = requests(&having);
        let share = |is: &dyn Fn(&Sampled<'_>) -> bool| {
            having.iter().filter(|sampled| is(sampled)).map(|sampled| sampled.cost(0)).sum::<f64>() / all.max(1.0)
        };
        let is_named = share(&|sampled| marked.is_named(&sampled.row.marks)) >= NAMED_SHARE;
        let fetches = |sampled: &Sampled<'_>| {
            marked.is_looking(&sampled.row.marks) && marked.is_static(sampled.row.marks.one(Attribute::Extension))
        };
        if is_named || share(&fetches) >= FILES_SHARE {
            return None;
        }
        let items = vec![Item { attribute: Attribute::UserAgent, hash }];
        if having.first().is_some_and(|sampled| marked.claims_browser(&sampled.row.marks)) {
            let has_parts = self.ordinary(&items).asset_share >= ASSET_SHARE_MIN;
            return has_parts.then_some((items, BROWSER_SHARE));
        }
        Some((items, PROGRAM_SHARE))
    }

    /// The place that most is written to, if that is most of all requests.
    fn one_target(&self, rows: &[Sampled<'_>]) -> Option<(Vec<Item>, f64)> {
        let marked = self.assets.marked();
        let mut targets: FxHashMap<(ValueHash, ValueHash), f64> = FxHashMap::default();
        for sampled in rows.iter().filter(|sampled| !marked.is_looking(&sampled.row.marks)) {
            let marks = &sampled.row.marks;
            *targets.entry((marks.one(Attribute::Method), marks.one(Attribute::Path))).or_default() += sampled.cost(0);
        }
        let ((method, path), most) = targets.into_iter().max_by(|one, other| one.1.total_cmp(&other.1))?;
        let items = [(Attribute::Method, method), (Attribute::Path, path)];
        let items = items.map(|(attribute, hash)| Item { attribute, hash }).to_vec();
        (most >= SHARE_MAX * requests(rows)).then_some((items, WRITING_SHARE))
    }

    /// What is suspect after all: enough of it, not the site's own, and no crowd.
    fn judged(&self, (items, ordinary_share): (Vec<Item>, f64), rows: &[Sampled<'_>], all: f64) -> Option<Suspect> {
        let having: Vec<Sampled<'_>> =
            rows.iter().filter(|sampled| sampled.row.marks.has_all(&items)).copied().collect();
        let clients: FxHashSet<u32> = having.iter().map(|sampled| sampled.row.client_hash).collect();
        let first = having.iter().map(|sampled| sampled.at).min()?;
        let offered = requests(&having);
        if offered < REQUESTS_MIN || clients.len() < CLIENTS_MIN || self.now.since(first) < GOING_ON {
            return None;
        }
        let share = offered / all;
        let known = self.known.iter().filter(|row| row.marks.has_all(&items)).count();
        if known as f64 >= OWN_PROPORTION * share * self.known.len().max(1) as f64 {
            return None;
        }
        let rows = self.minute.iter().copied();
        let verdict = crowd(&items, rows, self.now, self.assets, self.ordinary(&items), true);
        verdict.is_none().then(|| Suspect {
            share,
            ordinary_share,
            others: (all - offered).max(0.0) / WINDOW.as_secs_f64(),
            rows: having.len() as u32,
            clients: clients.len() as u32,
            items,
        })
    }

    /// What the traffic of all others is like. Of too few it is not known whether pages have parts.
    fn ordinary(&self, items: &[Item]) -> Ordinary {
        let others = || self.minute.iter().filter(|sampled| !sampled.row.marks.has_all(items));
        let all: f64 = others().map(|sampled| sampled.cost(0)).sum();
        let parts = others().filter(|sampled| self.assets.is_asset(&sampled.row.marks));
        let parts: f64 = parts.map(|sampled| sampled.cost(0)).sum();
        Ordinary { asset_share: if all >= OTHERS_MIN { parts / all } else { 0.0 }, networks: None, agents: None }
    }
}

fn requests(rows: &[Sampled<'_>]) -> f64 {
    rows.iter().map(|sampled| sampled.cost(0)).sum()
}
