//! The lines of a real log, in their order. Their moments are made up, since logs are cut and shifted before they are
//! published: visits come as a Poisson process whose rate follows the hour of the day, and the lines of one visit, which
//! stand together in the log, come together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use seawall_engine::observation::log::{self, Reader};
use seawall_engine::observation::{Outcome, attribute};
use seawall_engine::units::Timestamp;

use super::Plan;
use crate::dice::{Dice, address};
use crate::request::Sent;

/// Requests a second, on average over the day.
const RATE: f64 = 3.0;

/// How many lines a visit has at most.
const VISIT_LINES: usize = 12;

/// A page is quiet that so many lines at most are for.
const QUIET: usize = 40;

/// Extensions of what pages are made of.
const PARTS: [&[u8]; 8] = [b"css", b"js", b"png", b"jpg", b"gif", b"ico", b"svg", b"jpeg"];

/// Why a log cannot be replayed.
#[derive(Debug)]
pub enum CorpusError {
    /// It cannot be read.
    Unreadable(std::io::Error),
    /// It is of no known format, or too little of it is.
    Unknown,
}

impl std::fmt::Display for CorpusError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => write!(formatter, "read it: {error}"),
            Self::Unknown => formatter.write_str("it has fewer than 100 lines in a known format"),
        }
    }
}

/// A log, on its way round and round.
#[derive(Clone, Debug)]
pub struct Replayed {
    log: Arc<Log>,
    at: usize,
    /// How much comes, in the usual.
    share: f64,
}

#[derive(Debug)]
struct Log {
    lines: Vec<Sent>,
    pages: Vec<String>,
    parts: Vec<String>,
    commonest_agent: String,
    network: [u8; 3],
    busy_page: String,
    quiet_page: String,
    /// Where most requests say they come from: the site itself.
    origin: String,
}

impl Replayed {
    /// The log in this file.
    ///
    /// # Errors
    /// When it cannot be read or is of no known format.
    pub fn read(path: &Path) -> Result<Self, CorpusError> {
        let text = std::fs::read(path).map_err(CorpusError::Unreadable)?;
        let lines: Vec<Sent> = text.split(|byte| *byte == b'\n').filter_map(sent).collect();
        if lines.len() < 100 {
            return Err(CorpusError::Unknown);
        }
        let is_part = |sent: &&Sent| {
            let mut buffer = [0; 12];
            attribute::extension(sent.path.as_bytes(), &mut buffer).is_some_and(|found| PARTS.contains(&found))
        };
        let paths = |part: bool| -> Vec<String> {
            let kept = lines.iter().filter(|sent| sent.status == 200 && is_part(sent) == part);
            kept.map(|sent| sent.path.clone()).collect()
        };
        let origin =
            |referer: &str| String::from_utf8_lossy(attribute::referer_origin(referer.as_bytes())).into_owned();
        let pages = paths(false);
        let is_plain = |sent: &&Sent| sent.status == 200 && !is_part(sent) && sent.query.is_none();
        let plain_pages: Vec<String> = lines.iter().filter(is_plain).map(|sent| sent.path.clone()).collect();
        let log = Log {
            network: network(&lines),
            busy_page: commonest(plain_pages.iter().cloned()),
            quiet_page: asked_for(&plain_pages, QUIET),
            pages,
            parts: paths(true),
            commonest_agent: commonest(lines.iter().filter_map(|sent| sent.user_agent.clone())),
            origin: commonest(lines.iter().filter_map(|sent| sent.referer.as_deref()).map(origin)),
            lines,
        };
        Ok(Self { log: Arc::new(log), at: 0, share: 1.0 })
    }

    /// The same log with this share of its traffic.
    pub(super) fn with_share(self, share: f64) -> Self {
        Self { share, ..self }
    }

    pub(super) fn plan(&mut self, dice: &mut Dice, now: Timestamp, tick: Duration, plan: &mut Plan) {
        let hour = (now.as_seconds() % 86_400) as f64 / 3600.0;
        // Fewest at four in the morning, most twelve hours later.
        let rate = RATE * (1.0 - 0.6 * ((hour - 4.0) / 24.0 * std::f64::consts::TAU).cos());
        // The mean length of a visit, so that the rate comes out about right.
        for _ in 0..dice.poisson(rate / 3.0 * self.share * tick.as_secs_f64()) {
            let mut after = Duration::ZERO;
            let client = self.log.lines[self.at].client;
            for _ in 0..VISIT_LINES {
                plan.push((after, self.log.lines[self.at].clone()));
                self.at = (self.at + 1) % self.log.lines.len();
                after += Duration::from_millis(50 + dice.bits() % 700);
                if self.log.lines[self.at].client != client {
                    break;
                }
            }
        }
    }

    pub(super) fn copy(&self, dice: &mut Dice) -> Sent {
        dice.pick(&self.log.lines).clone()
    }

    pub(super) fn page(&self, dice: &mut Dice) -> String {
        dice.pick(&self.log.pages).clone()
    }

    pub(super) fn commonest_agent(&self) -> &str {
        &self.log.commonest_agent
    }

    pub(super) fn network(&self) -> [u8; 3] {
        self.log.network
    }

    pub(super) fn busy_page(&self) -> &str {
        &self.log.busy_page
    }

    pub(super) fn quiet_page(&self) -> &str {
        &self.log.quiet_page
    }

    pub(super) fn visit(&self, dice: &mut Dice, client: IpAddr, user_agent: &str, page: Option<&str>) -> Plan {
        let page = page.map_or_else(|| self.page(dice), str::to_owned);
        let mut first = Sent { wanted: true, header_order: None, ..Sent::get(client, page.clone(), user_agent) };
        first.upstream = Duration::from_millis(80);
        let mut visit = vec![(Duration::ZERO, first)];
        for _ in 0..3 + dice.zipf(10) {
            let mut part = Sent::get(client, dice.pick(&self.log.parts).clone(), user_agent);
            part.wanted = true;
            part.header_order = None;
            part.referer = Some(format!("{}{page}", self.log.origin));
            part.upstream = Duration::from_millis(1);
            visit.push((Duration::from_millis(200 + dice.bits() % 1500), part));
        }
        visit
    }
}

fn commonest(values: impl Iterator<Item = String>) -> String {
    let mut counts: HashMap<String, u32> = HashMap::new();
    values.filter(|value| value.len() > 1).for_each(|value| *counts.entry(value).or_default() += 1);
    counts.into_iter().max_by_key(|(value, count)| (*count, value.clone())).map(|(value, _)| value).unwrap_or_default()
}

/// The network from which most lines of browsers are.
fn network(lines: &[Sent]) -> [u8; 3] {
    let mut counts: HashMap<[u8; 3], u32> = HashMap::new();
    for sent in lines {
        let agent = sent.user_agent.as_deref().unwrap_or_default();
        // Crawlers say where they belong.
        if let IpAddr::V4(ip) = sent.client
            && agent.starts_with("Mozilla/5.0")
            && !agent.contains("http")
        {
            let [first, second, third, _] = ip.octets();
            *counts.entry([first, second, third]).or_default() += 1;
        }
    }
    counts.into_iter().max_by_key(|(network, count)| (*count, *network)).map(|(network, _)| network).unwrap_or_default()
}

/// The value that comes most often of those that come at most so often.
fn asked_for(values: &[String], at_most: usize) -> String {
    let mut sorted: Vec<&String> = values.iter().collect();
    sorted.sort();
    let few = sorted.chunk_by(|one, other| one == other).filter(|same| same.len() <= at_most);
    few.max_by_key(|same| same.len()).and_then(<[_]>::first).map(|value| (*value).clone()).unwrap_or_default()
}

/// The request of one line; none for what no server would have answered.
fn sent(line: &[u8]) -> Option<Sent> {
    let mut reader = Reader::default();
    let entry = reader.read(line).ok()?;
    let mut buffer = Vec::new();
    let request = log::restore(&entry.observation.request, entry.encoding, &mut buffer);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Outcome::Served { status } = entry.observation.outcome else { return None };
    let client = entry.observation.client.map_or(address(20, 0), |client| client.ip());
    Some(Sent {
        wanted: true,
        client,
        method: text(request.method),
        host: "example.org".to_owned(),
        path: text(request.path),
        query: request.query.map(text),
        user_agent: request.user_agent.map(text),
        referer: request.referer.map(text),
        header_order: None,
        bytes: entry.observation.cost.bytes,
        upstream: Duration::from_millis(4),
        status,
        taking: Duration::ZERO,
        misdirected: false,
    })
}
