//! A small world for the engine: a site with its ordinary visitors, floods beside them, a gate that does what the rules
//! say, and a label on every request. Everything follows from a seed.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::address::{AddressSet, ClientAddress};
use seawall_engine::decision::{Action, Enforce, Event, Rule, RuleId, Stage, Status};
use seawall_engine::detection::{Detector, Pressure, RuleTraffic, Settings, Surroundings};
use seawall_engine::observation::{ClientHistory, Cost, Observation, Outcome, Refusal, Request, Version};
use seawall_engine::units::Timestamp;

/// A Monday, 00:00 UTC.
pub(crate) const START: u64 = 1_600_041_600;

pub(crate) const TICK: Duration = Duration::from_millis(250);

/// One request with its label.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) wanted: bool,
    pub(crate) client: IpAddr,
    pub(crate) method: &'static str,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) referer: Option<String>,
    pub(crate) bytes: u64,
    pub(crate) upstream: Duration,
    pub(crate) status: u16,
    pub(crate) misdirected: bool,
}

impl Sent {
    pub(crate) fn get(client: IpAddr, path: impl Into<String>, user_agent: impl Into<String>) -> Self {
        Self {
            wanted: false,
            client,
            method: "GET",
            host: "example.org".to_owned(),
            path: path.into(),
            query: None,
            user_agent: Some(user_agent.into()),
            referer: None,
            bytes: 8_000,
            upstream: Duration::from_millis(4),
            status: 200,
            misdirected: false,
        }
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            method: self.method.as_bytes(),
            host: self.host.as_bytes(),
            path: self.path.as_bytes(),
            query: self.query.as_deref().map(str::as_bytes),
            version: Version::Http11,
            user_agent: self.user_agent.as_deref().map(str::as_bytes),
            referer: self.referer.as_deref().map(str::as_bytes),
        }
    }
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x1234_5678)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// How many of a Poisson process with this mean.
    pub(crate) fn poisson(&mut self, mean: f64) -> usize {
        let (limit, mut product, mut count) = ((-mean).exp(), self.uniform(), 0);
        while product > limit {
            product *= self.uniform();
            count += 1;
        }
        count
    }

    /// A small number, small ones more often.
    pub(crate) fn zipf(&mut self, bound: usize) -> usize {
        ((bound as f64).powf(self.uniform()) - 1.0) as usize
    }

    /// An address out of the ones that a pool of this number has; pools do not share /16 networks.
    pub(crate) fn address(&mut self, pool: u8, count: usize) -> IpAddr {
        address(pool, self.below(count))
    }
}

/// The address of a number, spread over many networks.
pub(crate) fn address(pool: u8, number: usize) -> IpAddr {
    let mixed = (number as u32).wrapping_mul(0x9e37_79b1);
    IpAddr::V4(Ipv4Addr::new(
        pool.wrapping_add((mixed >> 24) as u8 & 7),
        (mixed >> 16) as u8,
        (mixed >> 8) as u8,
        number as u8,
    ))
}

/// Thirty agents as they are.
pub(crate) fn browsers() -> Vec<String> {
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

/// What a run came to, since the onset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) unwanted: u64,
    pub(crate) unwanted_refused: u64,
    pub(crate) unwanted_after_rule: u64,
    pub(crate) unwanted_refused_after_rule: u64,
    pub(crate) wanted: u64,
    pub(crate) wanted_refused: u64,
    /// Seconds from the onset to the first rule in force.
    pub(crate) time_to_rule: Option<f64>,
    pub(crate) events: Vec<Event>,
}

impl Tally {
    pub(crate) fn recall(&self) -> f64 {
        self.unwanted_refused_after_rule as f64 / self.unwanted_after_rule.max(1) as f64
    }
}

/// The site, its visitors, and the guard.
pub(crate) struct World {
    pub(crate) detector: Detector,
    pub(crate) dice: Dice,
    pub(crate) now: Timestamp,
    pub(crate) pressure: Pressure,
    /// Everything takes this many times as long.
    pub(crate) slowness: u32,
    pub(crate) tally: Tally,
    /// Whether the guard has a gate; without one, rules are counted from what was observed.
    pub(crate) has_gate: bool,
    browsers: Vec<String>,
    ahead: VecDeque<(Timestamp, Sent)>,
    known: HashMap<IpAddr, (Timestamp, u32)>,
    rules: Vec<Rule>,
    generation: u64,
    matched: HashMap<RuleId, u64>,
    traffic: HashMap<RuleId, RuleTraffic>,
    tokens: HashMap<RuleId, f64>,
    crawl_until: Timestamp,
    onset: Option<Timestamp>,
    pub(crate) observed: u64,
}

impl World {
    pub(crate) fn new(seed: u64, enforce: Enforce) -> Self {
        let never_ban = AddressSet::new(["127.0.0.0/8".parse::<IpNet>().expect("a network")]);
        Self {
            detector: Detector::new(Settings { enforce, never_ban, seed }),
            dice: Dice::new(seed),
            now: Timestamp::from_seconds(START),
            pressure: Pressure::default(),
            slowness: 1,
            tally: Tally::default(),
            has_gate: true,
            browsers: browsers(),
            ahead: VecDeque::new(),
            known: HashMap::new(),
            rules: Vec::new(),
            generation: 0,
            matched: HashMap::new(),
            traffic: HashMap::new(),
            tokens: HashMap::new(),
            crawl_until: Timestamp::EPOCH,
            onset: None,
            observed: 0,
        }
    }

    /// Seven days, ten seconds out of each five minutes, then five whole minutes.
    pub(crate) fn warm(seed: u64, enforce: Enforce) -> Self {
        let mut world = Self::new(seed, enforce);
        for slot in 0..2016 {
            world.now = Timestamp::from_seconds(START + slot * 300);
            world.ahead.clear();
            world.run(Duration::from_secs(10), |_, _| Vec::new());
        }
        world.now = Timestamp::from_seconds(START + 7 * 86_400 + 36_000);
        world.run(Duration::from_secs(300), |_, _| Vec::new());
        assert!(world.tally.events.is_empty(), "ordinary traffic: {:#?}", world.tally.events);
        assert!(!world.detector.status(world.now).cold);
        world
    }

    /// From here on time to rule and recall are taken.
    pub(crate) fn begin(&mut self) {
        self.onset = Some(self.now);
        self.tally = Tally::default();
    }

    pub(crate) fn status(&self) -> Status {
        self.detector.status(self.now)
    }

    /// Goes on for this long, a tick at a time. `more` says what is sent beside the ordinary traffic in the tick that
    /// begins now; it is told the seconds since the beginning.
    pub(crate) fn run(&mut self, time: Duration, mut more: impl FnMut(&mut Dice, f64) -> Vec<Sent>) {
        let begin = self.now;
        while self.now.since(begin) < time {
            self.plan_ordinary();
            let sent = more(&mut self.dice, self.now.since(begin).as_secs_f64());
            let count = sent.len().max(1) as u32;
            for (index, sent) in sent.into_iter().enumerate() {
                self.plan(TICK * index as u32 / count, sent);
            }
            let until = self.now + TICK;
            self.ahead.make_contiguous().sort_by_key(|(at, _)| *at);
            while self.ahead.front().is_some_and(|(at, _)| *at < until) {
                if let Some((at, sent)) = self.ahead.pop_front() {
                    self.serve(at, &sent);
                }
            }
            self.now = until;
            self.tick();
        }
    }

    pub(crate) fn plan(&mut self, after: Duration, sent: Sent) {
        self.ahead.push_back((self.now + after, sent));
    }

    /// A page and what it needs, as a browser loads it.
    pub(crate) fn page_load(
        dice: &mut Dice,
        client: IpAddr,
        user_agent: &str,
        page: &str,
        referer: Option<&str>,
    ) -> Vec<(Duration, Sent)> {
        let mut load = Vec::new();
        let mut first = Sent::get(client, page, user_agent);
        first.referer = referer.map(str::to_owned);
        first.wanted = true;
        first.bytes = 12_000;
        first.upstream = Duration::from_millis(80);
        load.push((Duration::ZERO, first));
        let assets = 3 + dice.zipf(14);
        for asset in 0..assets {
            let path = match asset {
                0 => "/style/main.css".to_owned(),
                1 => "/script/site.js".to_owned(),
                2 => "/favicon.ico".to_owned(),
                _ => format!("/images/{}.png", dice.below(200)),
            };
            let mut sent = Sent::get(client, path, user_agent);
            sent.referer = Some(format!("https://example.org{page}"));
            sent.wanted = true;
            sent.bytes = 4_000 + dice.next() % 30_000;
            sent.upstream = Duration::from_millis(1);
            load.push((Duration::from_millis(200 + dice.next() % 1500), sent));
        }
        load
    }

    /// A page of the site, popular ones more often.
    pub(crate) fn page(dice: &mut Dice) -> String {
        match dice.zipf(60) {
            0 => "/".to_owned(),
            number if number % 3 == 0 => format!("/wiki/page-{number}"),
            number => format!("/blog/2023/entry-{number}.html"),
        }
    }

    /// Browsers, feed readers, a crawler, and the few that fetch a certificate bundle.
    fn plan_ordinary(&mut self) {
        let seconds = TICK.as_secs_f64();
        for _ in 0..self.dice.poisson(0.6 * seconds) {
            let client = self.dice.address(20, 3000);
            // A client keeps its agent.
            let agent = self.browsers[agent_of(client) % self.browsers.len()].clone();
            let page = Self::page(&mut self.dice);
            let referer = match self.dice.below(4) {
                0 => Some("https://www.google.com/"),
                1 => Some("https://duckduckgo.com/"),
                _ => None,
            };
            for (after, sent) in Self::page_load(&mut self.dice, client, &agent, &page, referer) {
                self.plan(after, sent);
            }
        }
        for _ in 0..self.dice.poisson(0.25 * seconds) {
            let number = self.dice.below(80);
            let mut sent =
                Sent::get(address(60, number), "/feed.xml", format!("FeedReader{}/2.{}", number % 15, number % 7));
            sent.wanted = true;
            self.plan(Duration::ZERO, sent);
        }
        for _ in 0..self.dice.poisson(0.05 * seconds) {
            let client = self.dice.address(20, 3000);
            let mut sent = Sent::get(client, "/ca/cacert.pem", "curl/7.68.0");
            sent.wanted = true;
            sent.bytes = 225_000;
            self.plan(Duration::ZERO, sent);
        }
        if self.dice.chance(seconds / 900.0) {
            self.crawl_until = self.now + Duration::from_secs(30);
        }
        if self.now < self.crawl_until && self.dice.chance(3.0 * seconds) {
            let page = Self::page(&mut self.dice);
            let agent = "Mozilla/5.0 (compatible; Examplebot/2.1; +http://www.example.com/bot.html)";
            let mut sent = Sent::get(address(90, 1), page, agent);
            sent.wanted = true;
            self.plan(Duration::ZERO, sent);
        }
    }

    fn serve(&mut self, at: Timestamp, sent: &Sent) {
        let client = ClientAddress::new(sent.client);
        let request = sent.request();
        let known = self.known.get(&sent.client).copied();
        let is_known = known.is_some_and(|(since, served)| at.since(since) > Duration::from_secs(3600) && served >= 5);
        let refused = self.judge(&request, client, is_known);
        let (outcome, cost) = if let Some(rule) = refused {
            (Outcome::Refused(Refusal::Rule(rule)), Cost { requests: 1, bytes: 150, ..Cost::default() })
        } else if sent.misdirected {
            (Outcome::Refused(Refusal::Misdirected), Cost { requests: 1, bytes: 120, ..Cost::default() })
        } else {
            let entry = self.known.entry(sent.client).or_insert((at, 0));
            entry.1 += 1;
            let upstream_time = sent.upstream * self.slowness;
            let cost = Cost { requests: 1, bytes: sent.bytes, upstream_time, connection_time: upstream_time };
            (Outcome::Served { status: sent.status }, cost)
        };
        let (since, served) = known.unwrap_or((at, 0));
        self.detector.observe(&Observation {
            at,
            client: Some(client),
            request,
            outcome,
            cost,
            weight: 1.0,
            history: ClientHistory { requests_recent: 1, age: at.since(since), served },
        });
        self.observed += 1;
        let in_force = self.tally.time_to_rule.is_some();
        let tally = &mut self.tally;
        if sent.wanted {
            tally.wanted += 1;
            tally.wanted_refused += u64::from(refused.is_some());
        } else {
            tally.unwanted += 1;
            tally.unwanted_refused += u64::from(refused.is_some());
            tally.unwanted_after_rule += u64::from(in_force);
            tally.unwanted_refused_after_rule += u64::from(in_force && refused.is_some());
        }
    }

    fn judge(&mut self, request: &Request<'_>, client: ClientAddress, is_known: bool) -> Option<RuleId> {
        let mut refused = None;
        for rule in &self.rules {
            let traffic = self.traffic.entry(rule.id).or_insert(RuleTraffic {
                rule: rule.id,
                matched: 0,
                refused: 0,
                canaries: 0,
                matched_known: 0,
                known: 0,
            });
            traffic.known += u64::from(is_known);
            if !rule.matches(request, Some(client)) {
                continue;
            }
            traffic.matched += 1;
            traffic.matched_known += u64::from(is_known);
            let matched = self.matched.entry(rule.id).or_default();
            *matched += 1;
            if rule.stage != Stage::Enforced || refused.is_some() {
                continue;
            }
            if rule.canary_interval > 0 && (*matched).is_multiple_of(u64::from(rule.canary_interval)) {
                traffic.canaries += 1;
                continue;
            }
            if let Action::Throttle { .. } = rule.action {
                let tokens = self.tokens.entry(rule.id).or_insert(1.0);
                if *tokens >= 1.0 {
                    *tokens -= 1.0;
                    continue;
                }
            }
            traffic.refused += 1;
            refused = Some(rule.id);
        }
        refused
    }

    fn tick(&mut self) {
        let rule_traffic =
            if self.has_gate { self.traffic.drain().map(|(_, traffic)| traffic).collect() } else { Vec::new() };
        let surroundings = Surroundings { pressure: self.pressure, rule_traffic };
        let events = self.detector.tick(self.now, &surroundings);
        self.tally.events.extend(events);
        if self.generation != self.detector.generation() {
            self.generation = self.detector.generation();
            self.rules = self.detector.rules();
        }
        for rule in &self.rules {
            if let Action::Throttle { rate } = rule.action {
                let tokens = self.tokens.entry(rule.id).or_insert(1.0);
                *tokens = (*tokens + f64::from(rate) * TICK.as_secs_f64()).min(f64::from(rate).max(1.0));
            }
        }
        if let Some(onset) = self.onset
            && self.tally.time_to_rule.is_none()
            && self.rules.iter().any(|rule| rule.stage == Stage::Enforced)
        {
            self.tally.time_to_rule = Some(self.now.since(onset).as_secs_f64());
        }
    }
}

/// A number that belongs to an address.
fn agent_of(client: IpAddr) -> usize {
    match client {
        IpAddr::V4(ip) => (ip.to_bits().wrapping_mul(0x85eb_ca6b) >> 8) as usize,
        IpAddr::V6(ip) => ip.to_bits() as usize,
    }
}

/// A server in trouble.
pub(crate) fn stressed() -> Pressure {
    Pressure { cpu_used: 0.98, ..Pressure::default() }
}
