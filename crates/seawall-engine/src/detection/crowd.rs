//! Is it many people? The score of a rule cannot tell a crowd from a flood, so this stands before any enforcement.
//!
//! A crowd is a link on a big site, a picture passed on, a post that a thousand federated servers preview. It asks with
//! GET, its agents and networks are many, each client asks for little, and browsers that came for a page fetch what the
//! page needs. Whoever sends one page request from each address and never fetches a style sheet is no browser. A single
//! static file has nothing to fetch: browsers that ask for it and nothing else are a crowd, to be held cheaply.
//!
//! An error here to one side bans people, to the other it lets a flood be shed instead of refused. What cannot be told
//! is therefore a crowd.

use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::decision::{CostKind, Told};
use crate::observation::CLIENT_GONE;
use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

use super::assets::Assets;
use super::recent::{Answered, Row, Sampled};
use super::reference::ROWS_MAX;
use super::statistics::effective_kinds;
use super::values::{ABSENT, Item, UNUSED, ValueHash};

/// What the crowd test says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// Many people; with why, for the explanation.
    Yes(&'static str),
    /// The same by what they did before.
    Reading,
    /// No crowd.
    No,
    /// None by what they did, but hardly any of them was given a page whose parts it could have fetched: the site does not answer, or a
    /// rule refuses them. It may be a crowd that the site has not borne.
    Unanswered,
    /// Too few clients, or too little time for a browser to have gone on.
    TooEarly,
}

impl Crowd {
    /// Why it is a crowd, where it is one.
    pub(crate) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Yes(reason) => Some(reason),
            Self::Reading => Some("many different clients loaded pages with what the pages need, and ask again"),
            Self::No | Self::Unanswered | Self::TooEarly => None,
        }
    }

    /// Whether nothing speaks for a crowd.
    pub(crate) fn is_none(self) -> bool {
        matches!(self, Self::No | Self::Unanswered)
    }
}

/// Methods of people who look at something: nearly all of a crowd's.
pub(super) const LOOKING_SHARE: f64 = 0.95;

/// As diverse as this many equally common agents, and networks of 256 addresses; or half as diverse as ordinary visitors are, where that is less:
/// browsers tell less and less of themselves. But never
const KINDS_MIN: f64 = 6.0;

/// fewer agents than this.
const AGENT_KINDS_MIN: f64 = 3.0;

/// No crowd has one agent on more clients than this.
pub(crate) const AGENT_SHARE_MAX: f64 = 0.5;

/// Clients that must be seen before anything is said for a crowd.
const CLIENTS_MIN: usize = 12;

/// People's browsers fetch a page and its parts; a client that asks for more is no reader,
const REQUESTS_PER_CLIENT_MAX: f64 = 20.0;

/// unless these are parts of pages, and then up to this.
const REQUESTS_PER_VISIT_MAX: f64 = 300.0;

/// Nobody crowds in front of errors.
const ERROR_SHARE_MAX: f64 = 0.5;

/// One kind of target when this share of the requests is for it.
const STATIC_SHARE: f64 = 0.8;

/// A file that is passed on has this share of the requests; the parts of many pages have not.
const TARGET_SHARE: f64 = 0.5;

/// How long a browser may take from the page to its first asset. The median of the web is below 1 s; on a pressed
/// server it is longer, but a third of the clients suffices.
pub(super) const ASSET_DELAY: Duration = Duration::from_millis(1500);

/// Parts that a page has at least, as a rule.
const PARTS_OF_PAGE: i32 = 5;

/// Clients that had the time to fetch an asset, before their share says anything.
const FOLLOWERS_MIN: usize = 8;

/// The share of page clients that fetch assets in a crowd; the rest has them in its cache.
const FOLLOWING_SHARE: f64 = 0.3;

/// The same of those whom a rule lets pass: some visitors are among whoever it meets, and eight are few.
const DRAWN_FOLLOWING_SHARE: f64 = 0.5;

/// So many readers among those whom a rule lets pass are a reason to let more pass and see.
const SUSPICIOUS_MIN: f64 = 2.0;

/// Of those who come to a site that answers hardly any, so many at least must have been given something to speak for the others: it may
/// be one out of a few whom a flood sends first to be taken for them. Of those whom a rule lets pass it does not matter, since the guard
/// chooses these.
const GIVEN_SHARE_MIN: f64 = 1.0 / 16.0;

/// A site of which fewer requests than this are for assets has no pages with parts.
pub(crate) const ASSET_SHARE_MIN: f64 = 0.05;

/// Fewer than this share that call themselves browsers are programs.
const BROWSERS_FEW: f64 = 0.2;

/// A server that has asked so often, and for more than one page, goes on.
const GOING_ON_REQUESTS: f64 = 4.0;

/// Programs that say where they come from (`Mastodon/1.5.0; +https://instance.example`).
const NAMED_SHARE: f64 = 0.5;

/// What ordinary traffic is like, for comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordinary {
    /// The share of requests for static files.
    pub(crate) asset_share: f64,
    /// How diverse the networks of ordinary clients are; `None` when they are not known.
    pub(crate) networks: Option<f64>,
    /// The same of their agents.
    pub(crate) agents: Option<f64>,
}

/// What one visitor did: one user agent of one client, since many people may be behind one address.
#[derive(Debug, Default)]
struct Visitor {
    network: ValueHash,
    claims_browser: bool,
    /// Its requests out of those that are asked about.
    requests: f64,
    /// How many of them it has sent, as far as can be told of one who was seen: that row is one, and each further one stands for what the
    /// sample has left out as well.
    sent: f64,
    /// When it first asked for a page out of those.
    page: Option<Timestamp>,
    /// The page that it came for, and whether it asked for another.
    came_for: ValueHash,
    went_on: bool,
    /// Whether a rule refused it anything: then it need not go on.
    refused: bool,
    /// When the site first gave it something for one of those, and whether that was a page.
    given: Option<Timestamp>,
    is_page_given: bool,
    /// Whether it is an old acquaintance, which may have the parts of pages, and one whom rules spare.
    returning: bool,
    of_good_name: bool,
    /// Whether it asked for any page, and for any asset.
    loaded_page: bool,
    fetched_asset: bool,
    /// All its requests, asked about or not, and those for static files.
    all: f64,
    assets: f64,
}

impl Visitor {
    fn give(&mut self, at: Timestamp, is_page: bool) {
        let first = self.given.get_or_insert(at);
        *first = (*first).min(at);
        self.is_page_given |= is_page;
    }

    /// Whether what it did next tells something of those who were given nothing: it was given a page as one of them might have been, and
    /// had time to go on. Who goes on tells as much also if it was here before, or was only sent to another address.
    fn is_telling(&self, now: Timestamp) -> bool {
        let might_go_on = self.is_page_given && !self.returning;
        (might_go_on || self.fetched_asset) && self.given.is_some_and(|given| now.since(given) >= ASSET_DELAY)
    }

    /// Whether it was given something and did not go on, and might not have, were it one of them.
    fn is_silent(&self, now: Timestamp) -> bool {
        !self.is_telling(now) && self.given.is_some_and(|given| now.since(given) >= ASSET_DELAY)
    }
}

/// Everything that the test looks at.
#[derive(Debug, Default)]
struct Seen {
    /// Those who sent any of the requests that are asked about, by client and agent.
    visitors: FxHashMap<(u32, ValueHash), Visitor>,
    /// Requests that are asked about, and how many rows stand for them.
    requests: f64,
    rows: f64,
    /// Of these: by a method of people who look, for static files, by programs that say where they come from.
    looking: f64,
    statics: f64,
    named: f64,
    /// Of these: answered, and with an error.
    answered: f64,
    errors: f64,
    /// How many come from nobody knows whom.
    unknown: u32,
    /// The requests for the target that has most.
    top_target: f64,
}

/// Whether the requests that have all of `items` come from a crowd; with no items, all of them. `rows` is everything
/// since the onset, `now` the present; `is_foreign` says that ordinary traffic has nothing like it.
pub(crate) fn crowd<'a>(
    items: &[Item],
    rows: impl Iterator<Item = Sampled<'a>> + Clone,
    now: Timestamp,
    assets: &Assets<'_>,
    ordinary: Ordinary,
    is_foreign: bool,
) -> Crowd {
    Seen::of_many(items, rows, assets, None).verdict(now, ordinary, is_foreign)
}

/// What they tell of those whom a rule about `items` refuses, to whom the site has given something since `enforced`.
pub(crate) fn told<'a>(
    items: &[Item],
    rows: impl Iterator<Item = Sampled<'a>> + Clone,
    now: Timestamp,
    assets: &Assets<'_>,
    ordinary: Ordinary,
    enforced: Timestamp,
) -> Told {
    let seen = Seen::of_many(items, rows, assets, Some(enforced));
    let is_drawn = |visitor: &&Visitor| !visitor.of_good_name && visitor.page.is_some_and(|page| page >= enforced);
    let drawn = || seen.visitors.values().filter(is_drawn).filter(|visitor| visitor.given.is_some());
    let count = |of: fn(&Visitor, Timestamp) -> bool| drawn().filter(|visitor| of(visitor, now)).count();
    let (telling, silent) = (count(Visitor::is_telling), count(Visitor::is_silent));
    let following = count(|visitor, now| visitor.is_telling(now) && visitor.fetched_asset) as f64;
    let browses = following >= DRAWN_FOLLOWING_SHARE * seen.seen_share() * (telling + silent) as f64
        && seen.asset_share(|visitor| is_drawn(&visitor) && visitor.is_telling(now)) >= ordinary.asset_share / 2.0;
    let is_enough = telling >= FOLLOWERS_MIN;
    if is_enough && browses && seen.visitors.len() >= CLIENTS_MIN && seen.each() <= REQUESTS_PER_VISIT_MAX {
        return Told::People;
    }
    match is_enough && following < FOLLOWING_SHARE * seen.seen_share() * telling as f64 {
        true => Told::NoPeople,
        false
            if !is_enough
                && following >= SUSPICIOUS_MIN
                && following >= DRAWN_FOLLOWING_SHARE * seen.seen_share() * (telling + silent) as f64 =>
        {
            Told::LittleOfReaders
        }
        false if drawn().next().is_some() => Told::Little,
        false => Told::Nothing,
    }
}

impl Seen {
    /// Of more rows than can be looked at, every second, third, … client is, with all that it did, unless those that matter are few.
    /// With `drawn` only what the site has given since then counts as given, to those whom the guard has let pass.
    fn of_many<'a>(
        items: &[Item],
        rows: impl Iterator<Item = Sampled<'a>> + Clone,
        assets: &Assets<'_>,
        drawn: Option<Timestamp>,
    ) -> Self {
        let count = rows.clone().count();
        let every = (count / ROWS_MAX) as u32 + 1;
        let seen = Self::new(items, rows.clone(), assets, (every, count), drawn);
        if every > 1 && seen.visitors.len() < CLIENTS_MIN {
            return Self::new(items, rows, assets, (1, count), drawn);
        }
        seen
    }

    fn new<'a>(
        items: &[Item],
        rows: impl Iterator<Item = Sampled<'a>>,
        assets: &Assets<'_>,
        (every, count): (u32, usize),
        drawn: Option<Timestamp>,
    ) -> Self {
        let marked = assets.marked();
        let mut seen = Self::default();
        // In a flood of many clients each has a request or two.
        seen.visitors.reserve(count / every as usize / 2);
        let mut targets: FxHashMap<ValueHash, f64> = FxHashMap::default();
        for sampled in rows.filter(|sampled| sampled.row.client_hash.is_multiple_of(every)) {
            let marks = &sampled.row.marks;
            let is_static = assets.is_asset(marks);
            let matches = marks.has_all(items);
            let factor = f64::from(sampled.factor);
            // Who did not wait was told nothing.
            if matches && sampled.row.status > 0 && sampled.row.status != CLIENT_GONE {
                seen.answered += factor;
                let status = sampled.row.status;
                if (400..500).contains(&status) && status != 429 {
                    seen.errors += factor;
                }
            }
            let given = if matches && !is_static { given(sampled.row) } else { None };
            let given = given.filter(|_| drawn.is_none_or(|drawn| sampled.at >= drawn));
            if sampled.row.requests() <= 0.0 {
                // A request that takes its time is told of again while it is answered, and then.
                if let Some(is_page) = given
                    && sampled.row.client_hash != 0
                {
                    let who = (sampled.row.client_hash, marks.one(Attribute::UserAgent));
                    seen.visitors.entry(who).or_default().give(sampled.at, is_page);
                }
                continue;
            }
            let client = match sampled.row.client_hash {
                // Without addresses each request is taken for a client of its own.
                0 => {
                    seen.unknown += u32::from(matches);
                    seen.unknown
                }
                known => known,
            };
            let weight = f64::from(sampled.row.requests()) * factor;
            let visitor = seen.visitors.entry((client, marks.one(Attribute::UserAgent))).or_default();
            visitor.fetched_asset |= is_static;
            visitor.loaded_page |= !is_static;
            visitor.all += weight;
            visitor.assets += if is_static { weight } else { 0.0 };
            if !matches {
                continue;
            }
            seen.requests += weight;
            seen.rows += 1.0;
            seen.looking += if marked.is_looking(marks) { weight } else { 0.0 };
            seen.statics += if is_static { weight } else { 0.0 };
            seen.named += if marked.is_named(marks) { weight } else { 0.0 };
            *targets.entry(marks.one(Attribute::Path)).or_default() += weight;
            visitor.network = marks.of(Attribute::ClientPrefix).get(1).copied().unwrap_or_default();
            visitor.claims_browser |= marked.claims_browser(marks);
            visitor.sent += if visitor.requests > 0.0 { weight } else { 1.0 };
            visitor.requests += weight;
            visitor.refused |= sampled.row.answered == Answered::ByRule;
            visitor.returning |= sampled.row.returning;
            visitor.of_good_name |= sampled.row.of_good_name;
            if let Some(is_page) = given {
                visitor.give(sampled.at, is_page);
            }
            if !is_static {
                let first = visitor.page.get_or_insert(sampled.at);
                *first = (*first).min(sampled.at);
                let path = marks.one(Attribute::Path);
                visitor.went_on |= visitor.came_for != UNUSED && visitor.came_for != path;
                visitor.came_for = path;
            }
        }
        seen.visitors.retain(|_, visitor| visitor.requests > 0.0);
        seen.top_target = targets.values().copied().fold(0.0, f64::max);
        seen
    }

    fn verdict(&self, now: Timestamp, ordinary: Ordinary, is_foreign: bool) -> Crowd {
        let count = self.visitors.len();
        if count == 0 {
            return Crowd::TooEarly;
        }
        if self.looking < LOOKING_SHARE * self.requests
            || (self.answered >= CLIENTS_MIN as f64 && self.errors > ERROR_SHARE_MAX * self.answered)
        {
            return Crowd::No;
        }
        let has_assets = ordinary.asset_share >= ASSET_SHARE_MIN;
        let paging = self.visitors.values().filter(|visitor| visitor.page.is_some()).count();
        let had_time = |visitor: &&Visitor| visitor.page.is_some_and(|page| now.since(page) >= ASSET_DELAY);
        let (mut followers, mut following, mut free, mut going_on) = (0, 0, 0, 0);
        let (mut given, mut given_following, mut silent, mut known) = (0, 0, 0, 0);
        for visitor in self.visitors.values().filter(had_time) {
            followers += 1;
            following += usize::from(visitor.fetched_asset);
            free += usize::from(!visitor.refused);
            let is_given = visitor.is_telling(now);
            given += usize::from(is_given);
            given_following += usize::from(is_given && visitor.fetched_asset);
            silent += usize::from(visitor.is_silent(now));
            known += usize::from(visitor.is_silent(now) && visitor.returning);
            let goes_on = !visitor.refused && visitor.went_on && visitor.requests >= GOING_ON_REQUESTS;
            going_on += usize::from(goes_on);
        }
        let (each, seen_share) = (self.each(), self.seen_share());
        let follow = has_assets && following as f64 >= FOLLOWING_SHARE * seen_share * followers as f64;
        // That nothing followed tells nothing of those to whom the site or a rule gave nothing: the others tell, once they are enough.
        let is_cut_off = self.addresses_known() && 2 * given < followers - known;
        let given_follow =
            is_cut_off && given_following as f64 >= FOLLOWING_SHARE * seen_share * (given + silent) as f64;
        let is_unanswered = has_assets
            && is_cut_off
            && (is_little_told(given, followers)
                || given_following as f64 >= FOLLOWING_SHARE * seen_share * given as f64);
        let is_moderate = each <= REQUESTS_PER_VISIT_MAX;
        let browses = self.is_browsing(follow && followers >= FOLLOWERS_MIN, ordinary, |_| true)
            || has_assets
                && !is_little_told(given, followers)
                && self.is_browsing(given_follow, ordinary, |visitor| visitor.is_telling(now));
        if count >= CLIENTS_MIN && is_moderate && browses {
            return Crowd::Yes("many different clients load pages and then what the pages need");
        }
        let browsers = self.visitors.values().filter(|visitor| visitor.claims_browser).count();
        let is_too_early_for_browsers =
            has_assets && 2 * browsers >= count && 2 * paging >= count && followers < FOLLOWERS_MIN.min(paging);
        let (agents, top_agent) = self.agents();
        if count < CLIENTS_MIN {
            let may_be_browsing =
                follow && following > 0 && is_moderate && self.asset_share(|_| true) >= ordinary.asset_share / 2.0;
            // A handful of clients that look alike is no crowd; a handful that does not may become one.
            let alike = top_agent > AGENT_SHARE_MAX || agents == 0.0 || each > 5.0;
            if alike && is_unanswered && each <= REQUESTS_PER_CLIENT_MAX && followers >= FOLLOWERS_MIN {
                return Crowd::Unanswered;
            }
            return if alike && !may_be_browsing && !is_too_early_for_browsers { Crowd::No } else { Crowd::TooEarly };
        }
        if each > REQUESTS_PER_CLIENT_MAX {
            return Crowd::No;
        }
        if !self.is_diverse(agents, top_agent, ordinary) {
            // One browser that nobody had before is people too, once they fetch what pages need.
            return match is_unanswered {
                _ if is_too_early_for_browsers => Crowd::TooEarly,
                true => Crowd::Unanswered,
                false => Crowd::No,
            };
        }
        if !self.addresses_known() {
            return Crowd::Yes("agents are many, and without addresses nobody can tell more");
        }
        if self.statics >= STATIC_SHARE * self.requests && self.top_target >= TARGET_SHARE * self.requests {
            return Crowd::Yes("many different clients ask for a static file and little else");
        }
        if self.named >= NAMED_SHARE * self.requests && self.top_target >= TARGET_SHARE * self.requests {
            // Whoever makes a preview looks at one page; whoever goes through a feed has begun with one as well.
            if free < FOLLOWERS_MIN {
                return Crowd::TooEarly;
            }
            if 2 * going_on < free {
                return Crowd::Yes("many servers that say who they are look at one page");
            }
        }
        if !has_assets && is_foreign && (browsers as f64) < BROWSERS_FEW * count as f64 {
            // Programs that ask what nobody has asked before, on a site for programs.
            return Crowd::No;
        }
        if !has_assets {
            return Crowd::Yes(
                "many different clients, and the site has no parts of pages by which browsers could be told",
            );
        }
        match followers {
            ..FOLLOWERS_MIN => Crowd::TooEarly,
            _ if is_unanswered => Crowd::Unanswered,
            _ => Crowd::No,
        }
    }

    /// How many requests each visitor has sent.
    fn each(&self) -> f64 {
        self.visitors.values().map(|visitor| visitor.sent).sum::<f64>() / self.visitors.len() as f64
    }

    /// How likely a part of a page was seen: of a large sample both are thinned alike, rows and visitors.
    fn seen_share(&self) -> f64 {
        1.0 - (1.0 - self.rows / self.requests.max(self.rows)).powi(PARTS_OF_PAGE)
    }

    /// Whether these are browsers at work, whatever they call themselves: pages, and assets in about the proportion that is
    /// ordinary; or the parts of many pages, asked for by those who asked for pages.
    fn is_browsing(&self, follow: bool, ordinary: Ordinary, of: impl Fn(&Visitor) -> bool) -> bool {
        if follow && self.asset_share(of) >= ordinary.asset_share / 2.0 {
            return true;
        }
        // Of a large sample a page is seen as likely as any request, at least: what is dear is rather kept.
        let visited = self.visitors.values().filter(|visitor| visitor.loaded_page && visitor.fetched_asset).count();
        let most = FOLLOWING_SHARE * self.visitors.len() as f64;
        let least = most * self.rows / self.requests.max(self.rows);
        self.statics >= STATIC_SHARE * self.requests
            && self.top_target < TARGET_SHARE * self.requests
            && visited as f64 >= least.max(most.min(FOLLOWERS_MIN as f64))
    }

    /// The share of assets in all that visitors of a kind asked for, whether it is asked about or not.
    fn asset_share(&self, of: impl Fn(&Visitor) -> bool) -> f64 {
        let sum =
            |part: fn(&Visitor) -> f64| self.visitors.values().filter(|visitor| of(visitor)).map(part).sum::<f64>();
        sum(|visitor| visitor.assets) / sum(|visitor| visitor.all).max(1.0)
    }

    /// How diverse the agents are, and the share of visitors with the commonest.
    fn agents(&self) -> (f64, f64) {
        let agents = tally(self.visitors.keys().map(|(_, agent)| *agent).filter(|agent| *agent != ABSENT));
        let top = agents.values().copied().fold(0.0, f64::max) / self.visitors.len().max(1) as f64;
        (effective_kinds(agents.values().copied()), top)
    }

    fn is_diverse(&self, agents: f64, top_agent: f64, ordinary: Ordinary) -> bool {
        let networks = tally(self.visitors.values().map(|visitor| visitor.network));
        let kinds_min = |ordinary: Option<f64>| ordinary.map_or(KINDS_MIN, |kinds| KINDS_MIN.min(kinds / 2.0));
        let (networks_min, agents_min) =
            (kinds_min(ordinary.networks), kinds_min(ordinary.agents).max(AGENT_KINDS_MIN));
        let are_networks_diverse =
            !self.addresses_known() || effective_kinds(networks.values().copied()) >= networks_min;
        agents >= agents_min && top_agent <= AGENT_SHARE_MAX && are_networks_diverse
    }

    fn addresses_known(&self) -> bool {
        (self.unknown as usize) < self.visitors.len() / 2
    }
}

/// Whether so many out of those who had time tell too little of the others.
fn is_little_told(given: usize, followers: usize) -> bool {
    given < FOLLOWERS_MIN || (given as f64) < GIVEN_SHARE_MIN * followers as f64
}

/// Whether the site has given what was asked for, or is giving it; `false` where it has only said to look elsewhere.
pub(super) fn given(row: &Row) -> Option<bool> {
    match row.status {
        200..=299 | 304 => Some(true),
        300..=399 => Some(false),
        _ => (row.under_way && row.costs[CostKind::Bytes as usize] > 0.0).then_some(true),
    }
}

fn tally(values: impl Iterator<Item = ValueHash>) -> FxHashMap<ValueHash, f64> {
    let mut counts = FxHashMap::default();
    values.for_each(|value| *counts.entry(value).or_default() += 1.0);
    counts
}

#[cfg(test)]
mod tests {
    use super::super::assets::Files;
    use super::super::marked::Marked;
    use super::super::values::Keys;
    use super::*;

    const ORDINARY: Ordinary = Ordinary { asset_share: 0.6, networks: None, agents: None };
    const PAGE: Item = Item { attribute: Attribute::Path, hash: 7 };

    /// What came of a page.
    #[derive(Clone, Copy)]
    enum Came {
        /// Nothing, or an error, after a while.
        Status(u16),
        /// A rule refused it.
        Refused,
        /// It was given, and so many parts of it were asked for.
        Given(u32),
        /// The same, and it is an old acquaintance.
        GivenAgain(u32),
        /// It was given with three parts, since it has a good name.
        Spared,
        /// It was said to look elsewhere, and so many parts were asked for.
        Elsewhere(u32),
    }

    /// What a client asks for that has one of so many agents, and is given.
    fn asked(keys: &Keys, client: u32, path: ValueHash, agents: u32) -> Row {
        let mut row = Row { client_hash: client, costs: [1.0; 4], status: 200, ..Row::default() };
        row.marks.of_mut(Attribute::Method)[0] = keys.value(Attribute::Method, Some(b"GET"));
        row.marks.of_mut(Attribute::UserAgent)[0] = 3 + client % agents;
        row.marks.of_mut(Attribute::ClientPrefix)[1] = 100 + client;
        row.marks.of_mut(Attribute::Path)[0] = path;
        row
    }

    /// What is said of so many clients, who asked for a page ten seconds ago, of each kind; and what they tell of a rule that has been in
    /// force since they did.
    fn both(kinds: &[(u32, Came)]) -> (Crowd, Told) {
        of_agents(8, kinds)
    }

    /// The same of so many different agents.
    fn of_agents(agents: u32, kinds: &[(u32, Came)]) -> (Crowd, Told) {
        beside(ORDINARY, agents, kinds)
    }

    /// The same beside such ordinary traffic.
    fn beside(ordinary: Ordinary, agents: u32, kinds: &[(u32, Came)]) -> (Crowd, Told) {
        let keys = Keys::new(1);
        let marked = Marked::new(&keys);
        let mut rows: Vec<(Row, Timestamp)> = Vec::new();
        let mut clients = 1..;
        for (count, came) in kinds {
            for client in clients.by_ref().take(*count as usize) {
                let set = |row: &mut Row, attribute: Attribute, value: &[u8]| {
                    row.marks.of_mut(attribute)[0] = keys.value(attribute, Some(value));
                };
                let mut row = Row { costs: [1.0, 0.0, 0.0, 0.0], ..asked(&keys, client, PAGE.hash, agents) };
                set(&mut row, Attribute::UserAgentWord, b"Mozilla");
                set(&mut row, Attribute::Extension, b"html");
                (row.status, row.answered) = match came {
                    Came::Status(status) => (*status, Answered::BySite),
                    Came::Refused => (0, Answered::ByRule),
                    Came::Given(_) | Came::GivenAgain(_) | Came::Spared => (200, Answered::BySite),
                    Came::Elsewhere(_) => (301, Answered::BySite),
                };
                row.returning = matches!(came, Came::GivenAgain(_));
                row.of_good_name = matches!(came, Came::Spared);
                rows.push((row, Timestamp::from_seconds(100)));
                let parts = match came {
                    Came::Given(parts) | Came::GivenAgain(parts) | Came::Elsewhere(parts) => *parts,
                    Came::Spared => 3,
                    Came::Status(_) | Came::Refused => 0,
                };
                for part in 0..parts {
                    row.marks.of_mut(Attribute::Path)[0] = 1_000 + part;
                    set(&mut row, Attribute::Extension, b"css");
                    rows.push((row, Timestamp::from_seconds(101)));
                }
            }
        }
        let sampled: Vec<Sampled<'_>> = rows.iter().map(|(row, at)| Sampled { row, at: *at, factor: 1.0 }).collect();
        let files = Files::new(&marked, &[]);
        let assets = Assets::new(&marked, &files, &sampled);
        let (rows, now) = (sampled.iter().copied(), Timestamp::from_seconds(110));
        let told = |enforced| told(&[PAGE], rows.clone(), now, &assets, ordinary, Timestamp::from_seconds(enforced));
        assert!(matches!(told(105), Told::Nothing | Told::People), "what was given before tells nothing");
        (crowd(&[PAGE], rows.clone(), now, &assets, ordinary, false), told(100))
    }

    fn said(kinds: &[(u32, Came)]) -> Crowd {
        both(kinds).0
    }

    #[test]
    fn who_is_given_nothing_tells_nothing() {
        assert!(matches!(said(&[(60, Came::Given(3))]), Crowd::Yes(_)));
        assert_eq!(said(&[(60, Came::Given(0))]), Crowd::No);
        for nothing in [Came::Status(0), Came::Status(504), Came::Refused] {
            assert_eq!(said(&[(60, nothing)]), Crowd::Unanswered);
            assert_eq!(said(&[(60, nothing), (7, Came::Given(3))]), Crowd::Unanswered);
            assert!(matches!(said(&[(60, nothing), (8, Came::Given(3))]), Crowd::Yes(_)));
            assert_eq!(said(&[(60, nothing), (8, Came::Given(0))]), Crowd::No);
        }
        // Nobody crowds in front of pages that are not there, but who gave up waiting was not told so.
        assert_eq!(said(&[(60, Came::Status(404))]), Crowd::No);
        assert_eq!(said(&[(60, Came::Status(499))]), Crowd::Unanswered);
        // Few are not known either, however alike.
        assert_eq!(of_agents(1, &[(9, Came::Status(0))]).0, Crowd::Unanswered);
        assert_eq!(of_agents(1, &[(9, Came::Given(0))]).0, Crowd::No);
    }

    /// On a site without parts of pages only their agents tell.
    #[test]
    fn people_need_not_be_more_diverse_than_visitors_are() {
        let crowd_of = |agents, ordinary| {
            let ordinary = Ordinary { asset_share: 0.0, networks: None, agents: ordinary };
            beside(ordinary, agents, &[(60, Came::Given(0))]).0
        };
        assert!(matches!(crowd_of(6, None), Crowd::Yes(_)));
        assert_eq!(crowd_of(4, None), Crowd::No);
        assert_eq!(crowd_of(4, Some(20.0)), Crowd::No);
        assert!(matches!(crowd_of(4, Some(7.0)), Crowd::Yes(_)));
        // However alike visitors are, two agents are no crowd.
        assert_eq!(crowd_of(2, Some(2.0)), Crowd::No);
    }

    #[test]
    fn of_old_acquaintances_and_who_was_sent_elsewhere_only_those_tell_who_go_on() {
        let nothing = (60, Came::Status(504));
        for came in [Came::GivenAgain, Came::Elsewhere] {
            assert_eq!(both(&[nothing, (8, came(0))]), (Crowd::Unanswered, Told::Little));
            assert!(matches!(both(&[nothing, (8, came(3))]), (Crowd::Yes(_), Told::People)));
            // But few do not speak for many who did not.
            assert_eq!(both(&[nothing, (8, came(3)), (40, came(0))]), (Crowd::Unanswered, Told::Little));
        }
        // A flood may have come an hour ago as well.
        assert_eq!(said(&[(60, Came::GivenAgain(0))]), Crowd::No);
    }

    #[test]
    fn few_readers_speak_for_many_only_where_the_guard_has_chosen_them() {
        let kinds = |given| [(400, Came::Status(504)), (given, Came::Given(3)), (12, Came::Given(0))];
        assert_eq!(both(&kinds(12)), (Crowd::Unanswered, Told::People));
        assert!(matches!(said(&kinds(20)), Crowd::Yes(_)));
        assert_eq!(both(&[(400, Came::Refused), (12, Came::Given(0))]), (Crowd::Unanswered, Told::NoPeople));
        assert_eq!(both(&[(400, Came::Refused), (7, Came::Given(3))]).1, Told::LittleOfReaders);
        assert_eq!(both(&[(400, Came::Refused)]).1, Told::Nothing);
        // Visitors among whom a rule meets are no crowd, nor does one of a good name tell of it.
        assert_eq!(both(&[(400, Came::Refused), (3, Came::Given(3)), (5, Came::Given(0))]).1, Told::Little);
        assert_eq!(both(&[(400, Came::Refused), (12, Came::Spared)]).1, Told::Nothing);
    }

    /// Of a large sample what is dear is rather kept, as pages are: that a third of who is left asked for one is no sign of browsers.
    #[test]
    fn who_asks_once_is_no_browser_however_the_sample_was_drawn() {
        let keys = Keys::new(1);
        let marked = Marked::new(&keys);
        let row = |client: u32, number: u32, is_page: bool| {
            let mut row = asked(&keys, client, 1000 + number % 40, 8);
            let extension: &[u8] = if is_page { b"html" } else { b"css" };
            row.marks.of_mut(Attribute::Extension)[0] = keys.value(Attribute::Extension, Some(extension));
            row
        };
        let said = |parts_of: u32| {
            let pages = (0..40).map(|number| (row(10 + number, number, true), 1.0));
            let parts = (0..80).map(|number| {
                // Of those who loaded a page, or of others.
                let client = if number < parts_of { 10 + number % 40 } else { 500 + number };
                (row(client, 100 + number, false), 4.0)
            });
            let rows: Vec<(Row, f32)> = pages.chain(parts).collect();
            let at = Timestamp::from_seconds(100);
            let sampled: Vec<Sampled<'_>> =
                rows.iter().map(|(row, factor)| Sampled { row, at, factor: *factor }).collect();
            let files = Files::new(&marked, &[]);
            let assets = Assets::new(&marked, &files, &sampled);
            crowd(&[], sampled.iter().copied(), Timestamp::from_seconds(110), &assets, ORDINARY, false)
        };
        assert_eq!(said(0), Crowd::No);
        assert!(matches!(said(30), Crowd::Yes(_)));
    }

    /// Three rows of a client in a sample of one in ten stand for twenty-one requests: the one by which it is known, and what the others
    /// stand for.
    #[test]
    fn who_asks_often_is_no_reader_however_few_of_its_requests_the_sample_holds() {
        let keys = Keys::new(1);
        let marked = Marked::new(&keys);
        let said = |each: u32, factor: f32| {
            let row = |number: u32| asked(&keys, 10 + number / each, 1000 + number % 40, 8);
            let rows: Vec<Row> = (0..40 * each).map(row).collect();
            let at = Timestamp::from_seconds(100);
            let sampled: Vec<Sampled<'_>> = rows.iter().map(|row| Sampled { row, at, factor }).collect();
            let files = Files::new(&marked, &[]);
            let assets = Assets::new(&marked, &files, &sampled);
            let without_parts = Ordinary { asset_share: 0.0, ..ORDINARY };
            crowd(&[], sampled.iter().copied(), Timestamp::from_seconds(110), &assets, without_parts, false)
        };
        assert!(matches!(said(3, 1.0), Crowd::Yes(_)));
        assert!(matches!(said(1, 10.0), Crowd::Yes(_)), "each may have asked once");
        assert_eq!(said(3, 10.0), Crowd::No);
    }
}
