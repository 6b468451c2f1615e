//! People who come in numbers.

use std::ops::Range;
use std::time::Duration;

use crate::background::{Plan, browsers};
use crate::dice::address;
use crate::request::Sent;
use crate::world::{Scene, TICK, Traffic};

/// The page that a link is to.
pub const LINKED: &str = "/blog/2023/entry-55.html";

/// Readers who load pages with all their parts, each once.
pub struct Link {
    /// Visits a second, by the seconds since the beginning.
    rate: Box<dyn Fn(f64) -> f64>,
    agents: Vec<String>,
    /// The share of visitors with the last of the agents; the others have any.
    newest_share: f64,
    /// The page that all come for; any when there is none.
    page: Option<String>,
    number: usize,
}

impl Link {
    /// A link to one page that brings as many readers all the time.
    pub fn steady(rate: f64, agents: Vec<String>) -> Self {
        Self { rate: Box::new(move |_| rate), agents, newest_share: 0.0, page: Some(LINKED.to_owned()), number: 0 }
    }

    /// The same to this page.
    pub(crate) fn to(self, page: &str) -> Self {
        Self { page: Some(page.to_owned()), ..self }
    }

    /// A link on a big site: it brings ten readers a second within a minute and fades with a half-life of two. That is
    /// much faster than the peaks of the 1998 World Cup site, which [`Recorded`](super::Recorded) plays: those take hours to
    /// grow tenfold and ten minutes to an hour to halve.
    pub(super) fn crowd() -> Self {
        let rate = |seconds: f64| {
            if seconds < 60.0 { 10.0 * seconds / 60.0 } else { 10.0 * (-(seconds - 60.0) / 173.0).exp() }
        };
        Self { rate: Box::new(rate), ..Self::steady(0.0, browsers()) }
    }

    /// Readers of all pages, this many visits a second by the seconds since the beginning.
    pub(super) fn of_rate(rate: Box<dyn Fn(f64) -> f64>, agents: Vec<String>) -> Self {
        Self { rate, page: None, ..Self::steady(0.0, agents) }
    }

    /// A link that brings so many readers a second within a minute, and goes on.
    pub(super) fn lasting(most: f64) -> Self {
        Self { rate: Box::new(move |seconds| most * (seconds / 60.0).min(1.0)), ..Self::steady(0.0, browsers()) }
    }

    /// A link to one page whose readers nearly all have the same browser.
    pub(super) fn of_one_browser() -> Self {
        Self { newest_share: 0.67, ..Self::steady(10.0, browsers()) }
    }

    /// A busy hour after a browser's release.
    pub(super) fn new_release() -> Self {
        let newest = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
        let mut agents = browsers();
        agents.push(newest.to_owned());
        Self { newest_share: 0.34, page: None, ..Self::steady(3.0, agents) }
    }
}

/// Readers of a page that changes, whose browsers ask for it again and again.
pub(super) struct Ticker {
    link: Link,
    /// What they ask for again, and when.
    again: Vec<(f64, Sent)>,
}

/// How long readers come, and how often each asks again, in seconds.
const TICKER_COMES: f64 = 30.0;
const TICKER_INTERVAL: f64 = 10.0;

impl Default for Ticker {
    fn default() -> Self {
        Self { link: Link::steady(4.0, browsers()), again: Vec::new() }
    }
}

impl Traffic for Ticker {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        let now = scene.seconds;
        for (due, page) in self.again.iter_mut().filter(|(due, _)| *due <= now) {
            plan.push((scene.moment(), page.clone()));
            *due += TICKER_INTERVAL;
        }
        if now < TICKER_COMES {
            let mut visits = Plan::new();
            self.link.send(scene, &mut visits);
            let pages = visits.iter().filter(|(_, sent)| Some(&sent.path) == self.link.page.as_ref());
            self.again.extend(pages.map(|(_, page)| (now + TICKER_INTERVAL, page.clone())));
            plan.extend(visits);
        }
    }
}

/// Where the site is down, one page in fifty comes, after so long; of those who get an error half ask once more, so long after they did.
const ANSWERED_SHARE: f64 = 0.02;
const ANSWERED_AFTER: Duration = Duration::from_secs(8);
const RELOADED_SHARE: f64 = 0.5;
const RELOADED_AFTER: Duration = Duration::from_secs(12);

/// A link that brings more readers than the site can serve. Who gets no page asks for none of its parts.
pub struct Overwhelming {
    link: Link,
    /// From when to when the site is down, in seconds since the beginning.
    down: Range<f64>,
    /// The status that nearly all get then, and after how long.
    error: (u16, Duration),
    /// What readers ask for once they have their pages, and when.
    next: Vec<(f64, Plan)>,
}

impl Overwhelming {
    /// A proxy waits for the site, and gives up.
    pub fn given_up(down: Range<f64>) -> Self {
        Self { link: Link::lasting(10.0), down, error: (504, Duration::from_secs(30)), next: Vec::new() }
    }

    /// The same with so many readers a second at most.
    pub fn of_few(most: f64, down: Range<f64>) -> Self {
        Self { link: Link::lasting(most), ..Self::given_up(down) }
    }

    /// It is said at once that there is too much.
    pub fn turned_away(down: Range<f64>) -> Self {
        Self { error: (503, Duration::from_millis(2)), ..Self::given_up(down) }
    }
}

impl Traffic for Overwhelming {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        let now = scene.seconds;
        for (_, parts) in self.next.extract_if(.., |(due, _)| *due <= now) {
            plan.extend(parts.into_iter().filter(|(_, part)| !scene.refused.contains(&part.client)));
        }
        let mut visits = Plan::new();
        self.link.send(scene, &mut visits);
        let (pages, parts): (Plan, Plan) =
            visits.into_iter().partition(|(_, sent)| Some(&sent.path) == self.link.page.as_ref());
        for (after, mut page) in pages {
            let is_down = self.down.contains(&now);
            if is_down && !scene.dice.chance(ANSWERED_SHARE) {
                (page.status, page.upstream) = self.error;
                if scene.dice.chance(RELOADED_SHARE) {
                    plan.push((after + RELOADED_AFTER, page.clone()));
                }
            } else {
                page.upstream = if is_down { ANSWERED_AFTER } else { page.upstream };
                let own = parts.iter().filter(|(_, part)| part.client == page.client).cloned().collect();
                self.next.push((now + page.upstream.max(TICK).as_secs_f64(), own));
            }
            plan.push((after, page));
        }
    }
}

impl Traffic for Link {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        for _ in 0..scene.count((self.rate)(scene.seconds)) {
            self.number += 1;
            let newest = self.agents.len() - 1;
            let agent = if scene.dice.chance(self.newest_share) { newest } else { scene.dice.below(newest.max(1)) };
            let begin = scene.moment();
            let client = address(150, self.number);
            let visit = scene.background.visit(scene.dice, client, &self.agents[agent], self.page.as_deref());
            plan.extend(visit.into_iter().map(|(after, sent)| (begin + after, sent)));
        }
    }
}
