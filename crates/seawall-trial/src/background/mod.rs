//! The ordinary traffic of a site.

mod replayed;
mod synthetic;

use std::net::IpAddr;
use std::time::Duration;

use seawall_engine::units::Timestamp;

use crate::dice::Dice;
use crate::request::Sent;

pub use replayed::{CorpusError, Replayed};
pub use synthetic::{Synthetic, browsers};

/// The programs that the made-up site knows.
pub(crate) mod known {
    pub(crate) use super::synthetic::{
        CRAWLER, CRAWLERS, MONITORS, NETWORK_VISITORS, READERS, network_visitor, probe, reader,
    };
}

/// Requests, each with how long after the beginning of the tick it is sent.
pub type Plan = Vec<(Duration, Sent)>;

/// The ordinary traffic of a site.
#[derive(Clone, Debug)]
pub enum Background {
    /// Made up, with everything that a guard in line sees.
    Synthetic(Synthetic),
    /// The lines of a real log, with nothing but what a log shows.
    Replayed(Replayed),
}

impl Background {
    /// The name in tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Synthetic(_) => "synthetic",
            Self::Replayed(_) => "replayed",
        }
    }

    /// Whether the guard sees the headers of requests.
    pub const fn has_headers(&self) -> bool {
        matches!(self, Self::Synthetic(_))
    }

    /// What ordinary visitors send in this tick.
    pub fn plan(&mut self, dice: &mut Dice, now: Timestamp, tick: Duration, plan: &mut Plan) {
        match self {
            Self::Synthetic(site) => site.plan(dice, now, tick, plan),
            Self::Replayed(log) => log.plan(dice, now, tick, plan),
        }
    }

    /// A request such as ordinary visitors send, but from this address: without any mark of its own.
    pub fn copy(&mut self, dice: &mut Dice, client: IpAddr) -> Sent {
        let sent = match self {
            Self::Synthetic(_) => Synthetic::copy(dice),
            Self::Replayed(log) => log.copy(dice),
        };
        Sent { wanted: false, client, ..sent }
    }

    /// A visit to a page: the page, then what it needs. `page` is chosen by popularity when not given.
    pub fn visit(&self, dice: &mut Dice, client: IpAddr, user_agent: &str, page: Option<&str>) -> Plan {
        match self {
            Self::Synthetic(_) => {
                let page = page.map_or_else(|| Synthetic::page(dice), str::to_owned);
                Synthetic::visit(dice, client, user_agent, &page, None)
            }
            Self::Replayed(log) => log.visit(dice, client, user_agent, page),
        }
    }

    /// A page, popular ones more often.
    pub fn page(&self, dice: &mut Dice) -> String {
        match self {
            Self::Synthetic(_) => Synthetic::page(dice),
            Self::Replayed(log) => log.page(dice),
        }
    }

    /// The same site with this share of its traffic.
    pub fn with_share(self, share: f64) -> Self {
        match self {
            Self::Synthetic(site) => Self::Synthetic(site.with_share(share)),
            Self::Replayed(log) => Self::Replayed(log.with_share(share)),
        }
    }

    /// A page that many ask for: the feed of the made-up site, the commonest page of a log.
    pub fn busy_page(&self) -> &str {
        match self {
            Self::Synthetic(_) => synthetic::FEED,
            Self::Replayed(log) => log.busy_page(),
        }
    }

    /// The page for people that most ask for.
    pub fn front_page(&self) -> &str {
        match self {
            Self::Synthetic(_) => synthetic::FRONT,
            Self::Replayed(log) => log.busy_page(),
        }
    }

    /// A page that few ask for: where people sign in on the made-up site, one in hundreds of requests of a log.
    pub fn quiet_page(&self) -> &str {
        match self {
            Self::Synthetic(_) => synthetic::LOGIN,
            Self::Replayed(log) => log.quiet_page(),
        }
    }

    /// A network (/24) that many visitors come from.
    pub fn network(&self) -> [u8; 3] {
        match self {
            Self::Synthetic(_) => synthetic::NETWORK,
            Self::Replayed(log) => log.network(),
        }
    }

    /// The user agent that most visitors have.
    pub fn commonest_agent(&self) -> String {
        match self {
            Self::Synthetic(_) => browsers()[0].clone(),
            Self::Replayed(log) => log.commonest_agent().to_owned(),
        }
    }
}
