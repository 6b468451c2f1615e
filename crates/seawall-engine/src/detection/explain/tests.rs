//! Whole logs through all three readings.

use super::*;
use crate::observation::{ClientHistory, Cost, Outcome, Request};
use crate::units::Timestamp;

/// A Monday.
const START: u64 = 1_600_041_600;

const DAY: u64 = 86_400;

/// Ordinary agents; visitors have one each.
const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
];

/// One line of a log.
#[derive(Clone)]
struct Entry {
    second: u64,
    client: u32,
    method: &'static str,
    path: String,
    agent: Option<String>,
    bytes: u64,
}

/// A log, in any order.
struct Log {
    entries: Vec<Entry>,
    random: Random,
}

impl Log {
    /// A day of visitors, who load pages with their parts; half of them come back.
    fn ordinary() -> Self {
        let mut log = Self { entries: Vec::new(), random: Random::new(3) };
        for number in 0..DAY / 20 {
            let (second, visitor) = (number * 20 + log.below(20), log.below(2500));
            let (client, agent) = (0x5101_0000 + visitor as u32 * 61, AGENTS[visitor as usize % AGENTS.len()]);
            let page = format!("/wiki/Page{}", log.below(200));
            log.add(second, client, &page, Some(agent), 9000);
            for part in ["/static/a.css", "/static/b.js", "/static/logo.png"] {
                log.add(second + 1, client, part, Some(agent), 2000);
            }
        }
        log
    }

    fn below(&mut self, bound: usize) -> u64 {
        self.random.below(bound) as u64
    }

    fn add(&mut self, second: u64, client: u32, path: &str, agent: Option<&str>, bytes: u64) {
        let agent = agent.map(str::to_owned);
        self.entries.push(Entry { second, client, method: "GET", path: path.to_owned(), agent, bytes });
    }

    /// A client that nobody else has.
    fn stranger(&mut self) -> u32 {
        0x7000_0000 + self.random.below(1 << 24) as u32
    }

    fn traced(&self) -> Vec<TracedSurge> {
        let read = |take: &mut dyn FnMut(&Observation<'_>)| {
            for entry in &self.entries {
                take(&Observation {
                    at: Timestamp::from_seconds(START + entry.second),
                    client: Some(ClientAddress::new(std::net::Ipv4Addr::from_bits(entry.client).into())),
                    request: Request {
                        method: entry.method.as_bytes(),
                        path: entry.path.as_bytes(),
                        user_agent: entry.agent.as_ref().map(String::as_bytes),
                        ..Request::default()
                    },
                    outcome: Outcome::Served { status: 200 },
                    cost: Cost { requests: 1, bytes: entry.bytes, ..Cost::default() },
                    weight: 1.0,
                    history: ClientHistory::default(),
                });
            }
        };
        let mut finder = SurgeFinder::default();
        read(&mut |observation| finder.add(observation));
        let mut explainer = Explainer::new(finder.find(), 1);
        read(&mut |observation| explainer.observe(observation, &|_| {}));
        let mut trace = explainer.explain();
        read(&mut |observation| trace.observe(observation));
        trace.finish()
    }

    /// The only surge.
    #[track_caller]
    fn surge(&self) -> TracedSurge {
        let mut surges = self.traced();
        assert_eq!(surges.len(), 1, "{surges:#?}");
        surges.remove(0)
    }

    /// The only rule of the only surge, which it explains.
    #[track_caller]
    fn rule(&self) -> Traced {
        let mut surge = self.surge();
        assert_eq!((surge.explained.verdict, surge.rules.len()), (Verdict::Explained, 1), "{surge:#?}");
        surge.rules.remove(0)
    }
}

#[test]
fn a_slow_ramp_is_explained_and_its_beginning_hurts_nobody() {
    for hours in [1.0, 2.0, 5.0] {
        let mut log = Log::ordinary();
        for number in 0..8000 {
            let second = 40_000 + (hours * 3600.0 * (f64::from(number) / 8000.0).sqrt()) as u64;
            let client = log.stranger();
            log.add(second, client, &format!("/r{}", number % 3), Some("Ramp/1"), 100);
        }
        let rule = log.rule();
        assert_eq!(rule.rule.to_string(), "user-agent = \"Ramp/1\"");
        assert_eq!(rule.outside, 0, "{rule:#?}");
        assert_eq!(rule.within.requests + rule.beside + rule.own, 8000, "{rule:#?}");
    }
}

#[test]
fn a_sender_that_goes_on_all_day_is_not_normal_but_a_popular_page_is() {
    let mut log = Log::ordinary();
    for number in 0..5500 {
        let second = if number < 4000 { 30_000 + number / 20 } else { log.below(DAY as usize) };
        let client = log.stranger();
        log.add(second, client, "/edit", Some("Spam/1"), 100);
    }
    let rule = log.rule();
    assert_eq!(rule.rule.to_string(), "user-agent = \"Spam/1\"");
    assert_eq!(rule.outside, 0);
    assert!(rule.own > 1000, "{rule:#?}");

    let mut log = Log::ordinary();
    for number in 0..5500_u64 {
        let second = if number < 4000 { 30_000 + number / 20 } else { log.below(DAY as usize) };
        let (client, agent) = (log.stranger(), AGENTS[number as usize % AGENTS.len()]);
        log.add(second, client, "/popular", Some(agent), 9000);
    }
    let surge = log.surge();
    assert!(surge.explained.own.is_empty(), "{surge:#?}");
    assert!(surge.rules.iter().all(|rule| rule.outside > 1000), "{surge:#?}");
}

#[test]
fn a_few_addresses_that_take_turns_cover_all_and_do_not_stay() {
    let mut log = Log::ordinary();
    log.entries.iter_mut().for_each(|entry| entry.agent = None);
    for number in 0..20_000_u64 {
        // Letters, of which nothing tells what was made up.
        let path: String = std::iter::once('/').chain((0..8).map(|_| char::from(b'a' + log.below(26) as u8))).collect();
        log.add(50_000 + number / 10, 0xAC10_0500 + (number / 7_000) as u32, &path, None, 200);
    }
    let rule = log.rule();
    assert!(rule.rule.text_with_networks().ends_with("client-prefix = \"172.16.5.0/24\""), "{rule:#?}");
    assert!(rule.steady > 0.9, "{rule:#?}");
    assert!(rule.turnover.is_some_and(|turnover| turnover > 0.5), "{rule:#?}");
}

#[test]
fn a_log_has_no_later_to_decide_in() {
    let mut log = Log::ordinary();
    for number in 0..400_u64 {
        let (client, agent) = (log.stranger(), AGENTS[number as usize % AGENTS.len()]);
        log.add(30_000 + number * 5, client, &format!("/files/big{}.iso", number % 30), Some(agent), 50_000_000);
    }
    let rule = log.rule();
    assert_eq!((rule.within.requests, rule.outside), (400, 0));
    assert!(!log.surge().explained.explanation.contains("too early"));
}

#[test]
fn the_bound_of_the_harm_is_of_the_same_requests_as_the_count_in_any_order() {
    let mut log = Log::ordinary();
    for number in 0..5000_u64 {
        let (client, agent) = (log.stranger(), format!("{} x{}", AGENTS[number as usize % AGENTS.len()], number * 977));
        log.add(50_000 + number / 10, client, "/wiki/Page7", Some(&agent), 100);
    }
    let rule = log.rule();
    let readers = log.entries.iter().filter(|entry| entry.path == "/wiki/Page7" && entry.bytes == 9000).count() as u64;
    assert!(rule.outside > 0 && rule.outside + rule.beside <= readers, "{rule:#?}");
    assert!(rule.outside_share > 0.0 && rule.outside_share < rule.outside_share_upper, "{rule:#?}");
    assert!(rule.outside_returning > 0 && rule.precursor.is_none(), "readers foretell nothing: {rule:#?}");
    log.entries.reverse();
    let reversed = log.rule();
    assert_eq!(
        (reversed.outside, reversed.outside_returning, reversed.outside_share_upper),
        (rule.outside, rule.outside_returning, rule.outside_share_upper)
    );
}

#[test]
fn many_agents_behind_one_address_are_not_said_to_be_many_clients() {
    let mut log = Log::ordinary();
    for number in 0..3000_u64 {
        let (second, agent) = (30_000 + number / 3, format!("{} v{}", AGENTS[number as usize % 6], number % 5));
        let (agent, page) = (agent.as_str(), format!("/wiki/Page{}", log.below(200)));
        log.add(second, 0x7588_0009, &page, Some(agent), 9000);
        for part in ["/static/a.css", "/static/b.js", "/static/logo.png"] {
            log.add(second + 1, 0x7588_0009, part, Some(agent), 2000);
        }
    }
    let surge = log.surge();
    assert_eq!(surge.explained.verdict, Verdict::Crowd, "{surge:#?}");
    let heaviest = surge.explained.heaviest.as_ref().expect("a network");
    assert!(heaviest.is_gateway() && heaviest.share > 0.9 && heaviest.agents == 30, "{heaviest:?}");
    assert!(surge.explained.explanation.contains("one address with many user agents"), "{surge:#?}");
    assert!(surge.within.requests >= 12_000 && surge.within.clients < 100, "{:?}", surge.within);
    let most = surge.explained.clients.iter().map(|(_, excess)| *excess).fold(0.0, f64::max);
    assert!(most > 0.9 * surge.explained.clients.iter().map(|(_, excess)| excess).sum::<f64>());
}

#[test]
fn what_all_of_a_flood_has_foretells_it_when_its_rule_does_not() {
    let mut log = Log::ordinary();
    for number in 0..3 {
        let client = log.stranger();
        log.add(3600 + number * 60, client, "/a", Some("QQGameHall"), 100);
    }
    for number in 0..20_000_u64 {
        let client = log.stranger();
        log.add(70_000 + number / 50, client, "/ca/cacert.pem", Some("QQGameHall"), 100);
    }
    let rule = log.rule();
    assert_eq!(rule.rule.to_string(), "path = \"/ca/cacert.pem\"");
    let precursor = rule.precursor.expect("it was tried out");
    assert_eq!((precursor.at, precursor.requests), (Timestamp::from_seconds(START + 3600), 3));
    assert_eq!(precursor.sign.map(|sign| sign.to_string()).as_deref(), Some("user-agent = \"QQGameHall\""));
}

/// Ten minutes in which one address asks for pages with so many agents, and for their parts if `browses`.
fn behind_one_address(agents: usize, browses: bool) -> Log {
    let mut log = Log::ordinary();
    for number in 0..1500_u64 {
        let (second, agent) = (30_000 + number * 2 / 5, AGENTS[number as usize % agents]);
        let page = format!("/wiki/Page{}", log.below(200));
        log.add(second, 0x7588_0009, &page, Some(agent), 9000);
        for part in ["/static/a.css", "/static/b.js", "/static/logo.png"] {
            let part = if browses { part.to_owned() } else { format!("/wiki/Page{}", log.below(200)) };
            log.add(second + 1, 0x7588_0009, &part, Some(agent), 2000);
        }
    }
    log
}

#[test]
fn people_behind_one_address_are_a_crowd_and_a_program_with_their_agents_is_not() {
    let office = behind_one_address(5, true).surge();
    assert_eq!((office.explained.verdict, office.rules.len()), (Verdict::Crowd, 0), "{office:#?}");
    assert!(office.explained.explanation.contains("one address with many user agents"), "{office:#?}");
    let program = behind_one_address(5, false).surge();
    assert_ne!(program.explained.verdict, Verdict::Crowd, "{program:#?}");
}

#[test]
fn one_address_that_fetches_a_single_file_is_no_office() {
    let mut log = behind_one_address(1, true);
    for entry in &mut log.entries {
        if entry.client == 0x7588_0009 {
            entry.path = "/static/cacert.css".to_owned();
        }
    }
    let surge = log.surge();
    assert!(surge.explained.heaviest.as_ref().is_some_and(|heaviest| !heaviest.browses), "{surge:#?}");
    assert_eq!((surge.explained.verdict, surge.rules.len()), (Verdict::Explained, 1), "{surge:#?}");
}

#[test]
fn a_program_that_changes_its_agent_is_no_gateway_where_nobody_asks_for_parts() {
    let mut log = behind_one_address(5, false);
    for entry in &mut log.entries {
        if entry.client == 0x7588_0009 || entry.path == "/static/a.css" {
            entry.path = "/api/items".to_owned();
        } else if entry.path.starts_with("/static/") {
            entry.path = format!("/wiki/Page{}", entry.second % 200);
        }
    }
    let surge = log.surge();
    let heaviest = surge.explained.heaviest.as_ref();
    assert!(heaviest.is_some_and(|heaviest| heaviest.is_gateway() && !heaviest.browses), "{surge:#?}");
    assert_ne!(surge.explained.verdict, Verdict::Crowd, "{surge:#?}");
    let rules: Vec<String> = surge.rules.iter().map(|traced| traced.rule.text_with_networks()).collect();
    assert!(rules.iter().any(|rule| rule.contains("117.136.0.9/32")), "{rules:?}");
}

#[test]
fn one_address_that_fetches_parts_beside_a_target_of_its_own_keeps_its_rule() {
    let mut log = behind_one_address(5, true);
    for entry in &mut log.entries {
        if entry.client == 0x7588_0009 {
            let name = if entry.path.starts_with("/static/") { "a.css" } else { "login" };
            entry.path = format!("/admin/{name}");
        }
    }
    // Of others, too few for the target alone to be the rule, and too many to be next to nothing.
    for number in 0..600 {
        let (second, visitor) = (log.below(DAY as usize), log.below(2500));
        log.add(second, 0x5101_0000 + visitor as u32 * 61, "/admin/login", Some(AGENTS[number % 6]), 900);
    }
    let surge = log.surge();
    let heaviest = surge.explained.heaviest.as_ref();
    assert!(heaviest.is_some_and(|heaviest| heaviest.is_gateway() && heaviest.browses), "{surge:#?}");
    assert_ne!(surge.explained.verdict, Verdict::Crowd, "{surge:#?}");
    let rules: Vec<String> = surge.rules.iter().map(|traced| traced.rule.text_with_networks()).collect();
    assert!(rules.iter().any(|rule| rule.contains("/admin")), "{rules:?}");
}

#[test]
fn one_address_with_an_agent_that_strangers_have_too_is_named_by_the_address() {
    let mut log = Log::ordinary();
    for number in 0..6000_u64 {
        let page = format!("/wiki/Page{}", log.below(200));
        log.add(40_000 + number / 20, 0x2D09_1405, &page, Some("curl/8.5.0"), 900);
    }
    for _ in 0..300 {
        let (second, client) = (log.below(DAY as usize), log.stranger());
        let page = format!("/wiki/Page{}", log.below(200));
        log.add(second, client, &page, Some("curl/8.5.0"), 900);
    }
    let rule = log.rule();
    assert_eq!(rule.rule.text_with_networks(), "client-prefix = \"45.9.20.5/32\"", "{rule:#?}");
    assert!(log.surge().explained.own.is_empty());
}

#[test]
fn too_little_ordinary_traffic_leaves_it_undecided() {
    // Also where the flood was tried out before.
    for tried in [0, 3] {
        let mut log = Log::ordinary();
        log.entries.retain(|entry| (30_000..30_360).contains(&entry.second));
        for number in 0..tried {
            let client = log.stranger();
            log.add(30_020 + 20 * number, client, "/", Some("Flood/1"), 900);
        }
        for number in 0..1200_u64 {
            let (client, page) = (log.stranger(), format!("/wiki/Page{}", log.below(200)));
            log.add(30_240 + number / 20, client, &page, Some("Flood/1"), 900);
        }
        let surge = log.surge();
        assert_eq!(surge.explained.verdict, Verdict::Undecided, "{surge:#?}");
        assert!(surge.explained.explanation.ends_with("to say whom a rule would hurt"), "{surge:#?}");
        assert_eq!(surge.rules.len(), 1);
        assert_eq!(surge.rules[0].rule.to_string(), "user-agent = \"Flood/1\"");
        assert_eq!((surge.rules[0].within.requests, surge.rules[0].outside), (1200, tried));
    }
}

#[test]
fn a_flood_is_foretold_by_where_it_comes_from() {
    let mut log = Log::ordinary();
    for number in 0..6000_u64 {
        let (client, page) = (0xAF2D_B001 + log.below(250) as u32, format!("/wiki/Page{}", log.below(200)));
        log.add(40_000 + number / 20, client, &page, Some("Evil/2"), 900);
    }
    for number in 0..30_u32 {
        log.add(20_000 + u64::from(number) * 2, 0xAF2D_B001 + number * 8, "/wiki/Page1", Some("Evil/1"), 900);
    }
    let rule = log.rule();
    assert_eq!(rule.rule.to_string(), "user-agent = \"Evil/2\"");
    let precursor = rule.precursor.expect("it was tried out");
    assert_eq!((precursor.at, precursor.requests), (Timestamp::from_seconds(START + 20_000), 30));
    assert_eq!(precursor.sign.map(|sign| sign.to_string()).as_deref(), Some("client-prefix = (an IPv4 /24)"));
}

#[test]
fn two_addresses_with_an_agent_of_visitors_are_named_each() {
    let mut log = Log::ordinary();
    for number in 0..8000 {
        let page = format!("/wiki/Page{}", log.below(200));
        log.add(40_000 + number / 12, 0x2d0c_0309 + number as u32 % 2 * 0x2000_0000, &page, Some(AGENTS[2]), 9000);
    }
    let surge = log.surge();
    assert_eq!((surge.explained.verdict, surge.rules.len()), (Verdict::Explained, 2), "{surge:#?}");
    for traced in &surge.rules {
        assert!(traced.rule.to_string().starts_with("client-prefix = "), "{surge:#?}");
        assert_eq!((traced.outside, traced.within.clients), (0, 1));
    }
}

#[test]
fn a_flood_that_comes_back_is_known_again() {
    let mut log = Log::ordinary();
    for number in 0..8000 {
        let client = log.stranger();
        log.add([20_000, 60_000][number as usize % 2] + number / 20, client, "/edit", Some("Spam/1"), 100);
    }
    let mut surges = log.traced();
    surges.sort_by_key(|surge| surge.explained.surge.from);
    assert_eq!(surges.len(), 2, "{surges:#?}");
    let recurs: Vec<Option<Timestamp>> = surges.iter().map(|surge| surge.rules[0].recurs).collect();
    assert_eq!(recurs, [None, Some(surges[0].explained.surge.from)]);
    assert!(surges.iter().all(|surge| surge.rules[0].precursor.is_none()), "{surges:#?}");
    // What is said of it is what was counted.
    let clients = format!("({} clients)", surges[0].rules[0].within.clients);
    assert!(surges[0].explained.explanation.contains(&clients), "{surges:#?}");
}
