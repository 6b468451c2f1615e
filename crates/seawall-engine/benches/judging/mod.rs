//! A gate as it stands in a long flood of many kinds, sixteen rules and sixty-four limits, and requests for it to judge.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use seawall_engine::address::{AddressSet, ClientAddress};
use seawall_engine::decision::expression::{Expression, Lists, Use};
use seawall_engine::decision::{Action, Condition, Rule, RuleId, Stage};
use seawall_engine::gate::{Gate, Judgement, Limit, LimitAction, LimitKey, RuleSet};
use seawall_engine::observation::attribute::Attribute;
use seawall_engine::observation::{Request, Version};
use seawall_engine::units::Timestamp;

const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// Clients that take turns: more than a processor's nearest caches hold entries of.
const CLIENTS: u32 = 4_096;

/// Entries of the client table, as one worker of two has them.
const CLIENT_ENTRIES: usize = 32_768;

/// A request as a browser sends it, which no rule and no limit is about.
pub(crate) const ORDINARY: Request<'static> = Request {
    method: b"GET",
    host: b"example.org",
    path: b"/wiki/2019/Front",
    query: Some(b"action=view&id=7"),
    version: Version::Http11,
    user_agent: Some(
        b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36",
    ),
    referer: Some(b"https://news.example/item?id=1"),
    header_order: Some(b"host connection user-agent accept accept-encoding accept-language"),
    ja4: None,
    country: Some(*b"DE"),
    asn: Some(3320),
};

/// What the last rule is about.
pub(crate) const LAST_RULE: Request<'static> =
    Request { path: b"/ca/cacert.pem", query: None, user_agent: Some(b"QQGameHall"), referer: None, ..ORDINARY };

/// What the last limit is about, for a client that has used it up.
pub(crate) const LIMITED: Request<'static> = Request { method: b"POST", path: b"/login", query: None, ..ORDINARY };

/// The gate, its clients and its time.
pub(crate) struct Judging {
    gate: Gate,
    now: Timestamp,
    turn: u32,
}

impl Judging {
    /// The gate with all its clients known, and the limits of [`LIMITED`] used up.
    pub(crate) fn new() -> Self {
        let mut gate = Gate::new(1, CLIENT_ENTRIES, 1);
        let set = RuleSet::compile(&rules(), &limits(), AddressSet::default()).expect("few enough rules");
        gate.install(Arc::new(set), |_, _| ());
        let mut judging = Self { gate, now: START, turn: 0 };
        for _ in 0..4 * CLIENTS {
            judging.judge(&LIMITED);
        }
        judging
    }

    /// Judges a request by the next client, fifty microseconds after the last.
    pub(crate) fn judge(&mut self, request: &Request<'_>) -> Judgement {
        self.turn = (self.turn + 1) % CLIENTS;
        self.now = self.now + Duration::from_micros(50);
        let client = Ipv4Addr::from_bits(0xcb00_7100 + self.turn * 7);
        self.gate.judge(request, Some(ClientAddress::new(client.into())), self.now).judgement
    }
}

fn rules() -> Vec<Rule> {
    use Attribute::{ClientPrefix, Method, Path, PathPrefix, QueryKeys, RefererOrigin, UserAgent, UserAgentWord};
    let conditions: [&[(Attribute, &str)]; 16] = [
        &[(UserAgent, "Bittorrent")],
        &[(UserAgent, "uTorrent/342(109415286)(35702)")],
        &[(UserAgent, "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)"), (Path, "/index.php")],
        &[(UserAgentWord, "Friendica"), (Method, "HEAD")],
        &[(UserAgentWord, "MicroMessenger"), (Path, "/time.gif")],
        &[(UserAgentWord, "Mastodon"), (PathPrefix, "/wiki/")],
        &[(Path, "/xmlrpc.php"), (Method, "POST")],
        &[(Path, "/announce")],
        &[(PathPrefix, "/wp-admin/")],
        &[(PathPrefix, "/wiki/"), (QueryKeys, "action&title&diff&oldid")],
        &[(QueryKeys, "info_hash&peer_id&port&uploaded&downloaded&left")],
        &[(RefererOrigin, "https://spam.example")],
        &[(ClientPrefix, "198.51.100.0/24"), (Path, "/search")],
        &[(ClientPrefix, "192.0.2.77/32")],
        &[(ClientPrefix, "198.18.0.0/16"), (UserAgentWord, "Chrome")],
        &[(UserAgent, "QQGameHall"), (Path, "/ca/cacert.pem")],
    ];
    let rule = |(number, conditions): (u32, &[(Attribute, &str)])| Rule {
        id: RuleId(number),
        conditions: conditions.iter().map(|(name, value)| Condition::new(*name, value.as_bytes())).collect(),
        action: Action::Refuse { status: 403 },
        stage: Stage::Enforced,
        canary_interval: 100,
        is_asking: false,
    };
    (1..).zip(conditions).map(rule).collect()
}

/// Forms and searches that each client may ask for so often; the last is met by [`LIMITED`].
fn limits() -> Vec<Limit> {
    let limit = |path: String, requests| Limit {
        name: path.as_str().into(),
        rule: Expression::parse(&format!("method = POST and path = {path}"), Use::Limit, &Lists::default()).ok(),
        requests,
        period: Duration::from_secs(86_400),
        key: LimitKey::Client,
        action: LimitAction::Limit,
        length: None,
        spares: false,
        counts: Arc::default(),
    };
    let others = (1..64).map(|number| limit(format!("/form/{number}"), 20));
    others.chain([limit("/login".to_owned(), 1)]).collect()
}
