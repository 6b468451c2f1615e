//! A made-up site: browsers that load pages with their parts, people who sign in, feed readers, a crawler, monitors, and the
//! few that fetch a certificate bundle.

use std::net::IpAddr;
use std::time::Duration;

use seawall_engine::units::Timestamp;

use super::Plan;
use crate::dice::{Dice, address};
use crate::request::Sent;

/// The crawler, which has a name and an address of its own.
pub(crate) const CRAWLER: &str = "Mozilla/5.0 (compatible; Examplebot/2.1; +http://www.example.com/bot.html)";

/// What looks whether the site is up.
pub(crate) const MONITOR: &str = "Mozilla/5.0+(compatible; UptimeProbe/2.0; http://uptime.example/)";

/// A network of which one in seven visitors is, and how many people there.
pub(super) const NETWORK: [u8; 3] = [131, 57, 9];
pub(crate) const NETWORK_VISITORS: usize = 100;

/// What feed readers ask for, and some browsers.
pub(super) const FEED: &str = "/feed.xml";

/// The page that visitors read most.
pub(super) const FRONT: &str = "/";

/// Where people sign in: a page that few ask for.
pub(super) const LOGIN: &str = "/login";

/// Address pools: ordinary visitors, feed readers, crawlers, monitors.
pub(crate) const VISITORS: (u8, usize) = (20, 3000);
pub(crate) const READERS: (u8, usize) = (60, 80);
pub(crate) const CRAWLERS: (u8, usize) = (90, 12);
pub(crate) const MONITORS: (u8, usize) = (100, 10);

/// The made-up site.
#[derive(Clone, Debug)]
pub struct Synthetic {
    browsers: Vec<String>,
    /// How much of everything comes, in the usual.
    share: f64,
    crawl_until: Timestamp,
}

impl Default for Synthetic {
    fn default() -> Self {
        Self { browsers: browsers(), share: 1.0, crawl_until: Timestamp::EPOCH }
    }
}

impl Synthetic {
    /// The same site with this share of its traffic.
    pub(super) fn with_share(self, share: f64) -> Self {
        Self { share, ..self }
    }

    pub(super) fn plan(&mut self, dice: &mut Dice, now: Timestamp, tick: Duration, plan: &mut Plan) {
        let mut apart = dice.apart();
        self.sign_in(&mut apart, tick, plan);
        self.visit_from_network(&mut apart, tick, plan);
        let seconds = tick.as_secs_f64() * self.share;
        for _ in 0..dice.poisson(0.6 * seconds) {
            let client = dice.address(VISITORS.0, VISITORS.1);
            // A client keeps its agent.
            let agent = &self.browsers[agent_of(client) % self.browsers.len()];
            let page = Self::page(dice);
            let referer = match dice.below(4) {
                0 => Some("https://www.google.com/"),
                1 => Some("https://duckduckgo.com/"),
                _ => None,
            };
            plan.extend(Self::visit(dice, client, agent, &page, referer));
        }
        for _ in 0..dice.poisson(0.25 * seconds) {
            let number = dice.below(READERS.1);
            plan.push((Duration::ZERO, reader(number)));
        }
        for _ in 0..dice.poisson(0.05 * seconds) {
            let client = dice.address(VISITORS.0, VISITORS.1);
            let mut sent = Sent::get(client, "/ca/cacert.pem", "curl/7.68.0");
            sent.wanted = true;
            sent.bytes = 225_000;
            plan.push((Duration::ZERO, sent));
        }
        if dice.chance(seconds / 900.0) {
            self.crawl_until = now + Duration::from_secs(30);
        }
        if now < self.crawl_until && dice.chance(3.0 * seconds) {
            let client = dice.address(CRAWLERS.0, CRAWLERS.1);
            let mut sent = Sent::get(client, Self::page(dice), CRAWLER);
            sent.wanted = true;
            plan.push((Duration::ZERO, sent));
        }
        if dice.chance(MONITORS.1 as f64 * seconds / 60.0) {
            let number = dice.below(MONITORS.1);
            plan.push((Duration::ZERO, probe(number)));
        }
    }

    /// Visitors from one network in numbers, as from a university.
    fn visit_from_network(&self, dice: &mut Dice, tick: Duration, plan: &mut Plan) {
        for _ in 0..dice.poisson(0.1 * tick.as_secs_f64() * self.share) {
            let (client, agent) = network_visitor(NETWORK, dice.below(NETWORK_VISITORS));
            let agent = agent.map_or(&self.browsers[0], |agent| &self.browsers[agent % self.browsers.len()]);
            let page = Self::page(dice);
            plan.extend(Self::visit(dice, client, agent, &page, None));
        }
    }

    /// People who sign in, and some who look at the feed in a browser.
    fn sign_in(&self, dice: &mut Dice, tick: Duration, plan: &mut Plan) {
        for _ in 0..dice.poisson(0.08 * tick.as_secs_f64() * self.share) {
            let client = dice.address(VISITORS.0, VISITORS.1);
            let agent = &self.browsers[agent_of(client) % self.browsers.len()];
            let shown = Sent { wanted: true, ..Sent::get(client, FEED, agent) };
            if dice.chance(0.25) {
                plan.push((Duration::ZERO, shown));
                continue;
            }
            plan.extend(Self::visit(dice, client, agent, LOGIN, None));
            let posted = Sent { method: "POST".to_owned(), path: LOGIN.to_owned(), status: 303, ..shown };
            plan.push((Duration::from_millis(4000 + dice.bits() % 8000), posted));
        }
    }

    pub(super) fn copy(dice: &mut Dice) -> Sent {
        let (agents, page) = (browsers(), Self::page(dice));
        let referer = dice.chance(0.25).then_some("https://www.google.com/");
        let agent = dice.pick(&agents).clone();
        let visit = Self::visit(dice, address(0, 0), &agent, &page, referer);
        dice.pick(&visit).1.clone()
    }

    /// A page, popular ones more often.
    pub fn page(dice: &mut Dice) -> String {
        match dice.zipf(60) {
            0 => FRONT.to_owned(),
            number if number % 3 == 0 => format!("/wiki/page-{number}"),
            number => format!("/blog/2023/entry-{number}.html"),
        }
    }

    /// A page and what it needs, as a browser loads it.
    pub fn visit(dice: &mut Dice, client: IpAddr, user_agent: &str, page: &str, referer: Option<&str>) -> Plan {
        let mut visit = Plan::new();
        let mut first = Sent::get(client, page, user_agent);
        first.referer = referer.map(str::to_owned);
        first.wanted = true;
        first.bytes = 12_000;
        first.upstream = Duration::from_millis(80);
        visit.push((Duration::ZERO, first));
        for asset in 0..3 + dice.zipf(14) {
            let path = match asset {
                0 => "/style/main.css".to_owned(),
                1 => "/script/site.js".to_owned(),
                2 => "/favicon.ico".to_owned(),
                _ => format!("/images/{}.png", dice.below(200)),
            };
            let mut sent = Sent::get(client, path, user_agent);
            // As sites have it that would have browsers fetch a new version at once.
            sent.query = (asset < 2).then(|| "ver=6.4.2".to_owned());
            sent.referer = Some(format!("https://example.org{page}"));
            sent.wanted = true;
            sent.bytes = 4_000 + dice.bits() % 30_000;
            sent.upstream = Duration::from_millis(1);
            visit.push((Duration::from_millis(200 + dice.bits() % 1500), sent));
        }
        visit
    }
}

/// The address of this visitor in a network, of which the lower half is not theirs, and which agent they have: one in four
/// the commonest.
pub(crate) fn network_visitor([first, second, third]: [u8; 3], number: usize) -> (IpAddr, Option<usize>) {
    let client = IpAddr::from([first, second, third, 128 + number as u8]);
    (client, (!number.is_multiple_of(4)).then_some(number))
}

/// What the feed reader of this number asks for.
pub(crate) fn reader(number: usize) -> Sent {
    let agent = format!("FeedReader{}/2.{}", number % 15, number % 7);
    let mut sent = Sent::get(address(READERS.0, number), FEED, agent);
    sent.wanted = true;
    sent
}

/// What the monitor of this number asks for.
pub(crate) fn probe(number: usize) -> Sent {
    let mut sent = Sent::get(address(MONITORS.0, number), "/", MONITOR);
    sent.method = "HEAD".to_owned();
    sent.wanted = true;
    sent.bytes = 300;
    sent
}

/// Thirty agents as they are.
pub fn browsers() -> Vec<String> {
    let mut agents = Vec::new();
    for version in 118..126 {
        for system in ["Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64"] {
            agents.push(format!(
                "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
            ));
        }
    }
    for version in 119..124 {
        agents.push(format!("Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"));
    }
    agents.push(
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 \
         Mobile/15E148 Safari/604.1"
            .to_owned(),
    );
    agents
}

/// A number that belongs to an address.
fn agent_of(client: IpAddr) -> usize {
    match client {
        IpAddr::V4(ip) => (ip.to_bits().wrapping_mul(0x85eb_ca6b) >> 8) as usize,
        IpAddr::V6(ip) => ip.to_bits() as usize,
    }
}
