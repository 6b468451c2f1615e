//! People who come in numbers.

use crate::background::{Plan, browsers};
use crate::dice::address;
use crate::world::{Scene, Traffic};

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
        let page = Some("/blog/2023/entry-55.html".to_owned());
        Self { rate: Box::new(move |_| rate), agents, newest_share: 0.0, page, number: 0 }
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
