//! What once had a rule against it that it should not have had, from the seeds in which it was found.

use std::time::Duration;

use seawall_engine::decision::{Enforce, EventKind, Verdict};
use seawall_trial::background::{Background, Plan, Synthetic, browsers};
use seawall_trial::control::{self, Control, Overwhelming};
use seawall_trial::family::{self, Family};
use seawall_trial::trial::Grown;
use seawall_trial::world::{Scene, TICK, Traffic, World, stressed};
use seawall_trial::{Sent, address};

fn control(name: &str) -> Control {
    control::ALL.into_iter().find(|control| control.name == name).expect("there is one")
}

fn family(name: &str) -> Family {
    family::ALL.into_iter().find(|family| family.name == name).expect("there is one")
}

fn grown(seed: u64) -> Grown {
    Grown::new(&Background::Synthetic(Synthetic::default()), seed)
}

#[test]
fn what_is_left_of_a_herd_of_servers_is_still_a_herd() {
    let herd = control("federated herd");
    for seed in [65, 130] {
        let outcome = grown(seed).control(&herd);
        assert!(outcome.rules.is_empty(), "seed {seed}: {:#?}\n{:#?}", outcome.rules, outcome.incidents);
    }
}

#[test]
fn a_crawler_that_comes_beside_a_flood_on_the_first_day_is_let_be() {
    for (name, seed) in [("cold start", 123), ("cold few clients", 43), ("cold few clients", 170)] {
        let outcome = grown(seed).family(&family(name));
        assert_eq!(outcome.rules.len(), 1, "{name} {seed}: {:#?}\n{:#?}", outcome.rules, outcome.incidents);
        assert_eq!(outcome.wanted.1, 0, "{name} {seed}: {:#?}", outcome.incidents);
    }
}

/// Nobody of it can be seen to read pages as long as none comes. It was refused for as long as it came.
#[test]
fn a_crowd_that_finds_the_site_down_is_let_be_once_the_site_answers() {
    let crowd = control("crowd: no answer");
    let given_up = Control { traffic: || Box::new(Overwhelming::given_up(0.0..90.0)), ..crowd };
    let turned_away = Control { traffic: || Box::new(Overwhelming::turned_away(0.0..90.0)), ..crowd };
    // Of fewer readers more are let through, so that it takes no longer.
    let few = Control { traffic: || Box::new(Overwhelming::of_few(2.0, 0.0..90.0)), ..crowd };
    for (seed, crowd) in [(1, given_up), (2, given_up), (1, turned_away), (4, turned_away), (1, few), (4, few)] {
        let outcome = grown(seed).control(&crowd);
        let told = outcome.incidents.concat();
        let last = told.iter().find(|told| told.contains("R1 retired")).map(String::as_str).unwrap_or_default();
        assert_eq!(told.iter().filter(|told| told.contains("R1 refuses")).count(), 1, "seed {seed}: {told:#?}");
        assert!(last.contains("what it meets is a crowd"), "seed {seed}: {told:#?}");
        let second: f64 = last.split(' ').next().and_then(|second| second.parse().ok()).unwrap_or(f64::INFINITY);
        assert!(second < 90.0 + 45.0, "seed {seed}: {last}");
        assert!(outcome.wanted.1 < outcome.wanted.0 / 10, "seed {seed}: {:?}", outcome.wanted);
    }
}

/// A crowd, and from its fortieth second on a flood of another kind beside it.
struct Beside(Box<dyn Traffic>, Box<dyn Traffic>);

impl Traffic for Beside {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        self.0.send(scene, plan);
        if scene.seconds >= 40.0 {
            self.1.send(scene, plan);
        }
    }
}

/// A rule against what is beside them is a finding in each look.
#[test]
fn readers_who_only_ask_again_are_let_be_beside_a_flood_of_another_kind() {
    for (seed, name) in [(1, "crowd: ticker"), (2, "crowd: ticker"), (1, "crowd: no answer"), (2, "crowd: no answer")] {
        let mut world = World::warm(seed, Enforce::OnExcess);
        world.pressure = stressed();
        world.begin();
        let mut beside = Beside((control(name).traffic)(), (family("cold start").traffic)());
        world.run_beside(Duration::from_secs(300), &mut beside);
        let tally = &world.tally;
        assert_eq!(tally.wanted_refused, 0, "seed {seed}: {:#?}", tally.events);
        assert!(tally.recall_since(4 * 50) >= 0.98, "seed {seed}: {:#?}", tally.events);
    }
}

#[test]
fn who_came_in_the_minute_before_is_not_hit_for_an_agent_or_a_network_that_a_flood_shares() {
    let neighbours = family("network of visitors");
    for seed in [3, 6] {
        let outcome = grown(seed).family(&neighbours);
        assert!(outcome.incidents.len() == 1, "seed {seed}: the flood is noticed");
        assert_eq!(outcome.wanted.1, 0, "seed {seed}: {:#?}", outcome.incidents);
    }
}

#[test]
fn people_behind_one_address_who_load_the_parts_of_pages_are_let_be() {
    let office = control("office");
    for seed in [50, 61] {
        let outcome = grown(seed).control(&office);
        assert!(outcome.rules.is_empty(), "seed {seed}: {:#?}\n{:#?}", outcome.rules, outcome.incidents);
    }
}

#[test]
fn a_flood_that_grows_slowly_is_told_by_its_agent_and_not_by_what_its_first_requests_share_with_others() {
    for (name, seed) in [("ramp of half an hour", 6), ("ramp of six hours", 21)] {
        let ramp = family(name);
        let outcome = grown(seed).family(&ramp);
        let rules: Vec<&str> = outcome.rules.iter().map(|rule| rule.text.as_str()).collect();
        assert_eq!(rules, [r#"user-agent = "QQGameHall""#], "{name}: {:#?}", outcome.incidents);
    }
}

#[test]
fn one_address_stays_slowed_down_on_the_first_day_while_its_connections_are_closed() {
    let cold = family("cold single address");
    for seed in [5, 8] {
        let outcome = grown(seed).family(&cold);
        assert!(outcome.recall >= 0.98, "seed {seed}: {} {:#?}", outcome.recall, outcome.incidents);
    }
}

/// One client that asks for so many pictures of so many bytes, `at_once` in a quarter of a second.
fn pictures(seed: u64, count: usize, at_once: usize, bytes: u64) -> World {
    let mut world = World::warm(seed, Enforce::OnExcess);
    world.pressure = stressed();
    world.begin();
    let mut sent = 0;
    world.run(Duration::from_secs(60), |_, _| {
        let picture = |number: usize| {
            let path = format!("/slides/images/{number}.png");
            let mut picture = Sent::get(address(120, 1), path, "Mozilla/5.0 (X11; Linux) AppleWebKit/537.36");
            picture.bytes = bytes;
            picture
        };
        let now = sent..count.min(sent + at_once);
        sent = now.end;
        now.map(picture).collect()
    });
    world
}

#[test]
fn who_looks_through_pictures_is_let_be_and_who_takes_them_without_end_is_not() {
    for seed in [1, 2] {
        let in_force = |world: &World| {
            world.tally.events.iter().filter(|event| event.kind == EventKind::RuleEnforced).cloned().collect::<Vec<_>>()
        };
        for (count, at_once, bytes) in [(80, 1, 2_000_000), (200, 4, 20_000)] {
            let visitor = in_force(&pictures(seed, count, at_once, bytes));
            assert!(visitor.is_empty(), "{visitor:#?}");
            let leech = pictures(seed, usize::MAX, at_once, bytes);
            assert!(!in_force(&leech).is_empty(), "{:#?}", leech.tally.events);
        }
    }
}

/// What was in force on a site with a request a second while one client asked it for a page, or `path`, in so many ticks of four for five
/// minutes.
fn paced(seed: u64, ticks_of_four: usize, path: Option<&str>) -> World {
    let mut world = World::with(Background::Synthetic(Synthetic::default()).with_share(0.2), seed, Enforce::OnExcess);
    world.grow_warm();
    world.pressure = stressed();
    world.begin();
    let mut ticks = 0;
    world.run(Duration::from_secs(300), |dice, _| {
        ticks += 1;
        let count = usize::from(ticks % 4 < ticks_of_four);
        let page = path.map_or_else(|| Synthetic::page(dice), str::to_owned);
        vec![Sent::get(address(150, 1), page, browsers()[0].clone()); count]
    });
    world
}

#[test]
fn who_turns_pages_is_let_be_and_who_goes_on_faster_than_anybody_reads_is_not() {
    for seed in [1, 2] {
        for (ticks, path) in [(1, None), (2, None), (4, Some("/api/status"))] {
            let let_be = paced(seed, ticks, path);
            assert!(let_be.tally.rules.is_empty(), "seed {seed}, {path:?}: {:#?}", let_be.tally.events);
        }
        let patient = paced(seed, 4, None);
        let rules = &patient.tally.rules;
        assert!(!rules.is_empty(), "seed {seed}: {:#?}", patient.tally.events);
        assert!(rules.values().all(|rule| rule.names_address), "seed {seed}: {rules:#?}");
        assert_eq!(patient.tally.wanted_refused, 0, "seed {seed}");
    }
}

/// A flood of the front page in which each request has a parameter of so many names, on a site whose pages have parts with queries; or
/// of one name at a time, another every two seconds.
#[test]
fn parameters_are_told_by_their_names_where_these_are_few_and_else_by_there_being_any() {
    for (names, every, expected) in [
        (1, 0, r#"query-keys = ""#),
        (4, 0, "query-keys"),
        (15, 0, "!= none"),
        (1 << 30, 0, "!= none"),
        (1, 2, "!= none"),
    ] {
        let mut world = World::warm(3, Enforce::OnExcess);
        world.pressure = stressed();
        world.begin();
        let agents = browsers();
        let (mut number, mut tick) = (0, 0);
        world.run(Duration::from_secs(40), |dice, _| {
            let count = dice.poisson(40.0 * TICK.as_secs_f64());
            tick += 1;
            let turn = if every > 0 { tick / (4 * every) } else { 0 };
            let mut sent = || {
                number += 1;
                let query = format!("n{turn}x{}=1", dice.below(names));
                Sent {
                    query: Some(query),
                    ..Sent::get(address(120, number), "/", agents[dice.below(agents.len())].clone())
                }
            };
            (0..count).map(|_| sent()).collect()
        });
        let rules: Vec<&str> = world.tally.rules.values().map(|rule| rule.text.as_str()).collect();
        assert!(!rules.is_empty(), "{names}: {:#?}", world.tally.events);
        // Of one name at a time the first is told by itself, before there is another.
        let expected_ones = rules.iter().filter(|rule| rule.contains(expected)).count();
        let enough = if every > 0 { 1 } else { rules.len() };
        assert!(expected_ones >= enough, "{names}, {every}: {rules:#?}");
        // That there is a query is asked of the one page alone.
        let mut of_any = rules.iter().filter(|rule| rule.contains("!= none"));
        assert!(of_any.all(|rule| rule.contains("path = \"/\"")), "{names}: {rules:#?}");
        assert_eq!(world.tally.wanted_refused, 0, "{names}: {rules:#?}");
        assert!(world.tally.recall_since(4 * 10) >= 0.95, "{names}: {rules:#?}");
    }
}

#[test]
fn a_crowd_that_the_server_refuses_is_not_proved_to_be_a_flood_by_it() {
    for seed in 1..=2 {
        let mut world = World::beside(seed, Enforce::OnExcess);
        world.grow_warm();
        world.pressure = stressed();
        world.begin();
        let agents = browsers();
        world.run(Duration::from_secs(60), |dice, _| {
            let count = dice.poisson(20.0 * TICK.as_secs_f64());
            let mut picture = || {
                let agent = agents[dice.below(agents.len())].clone();
                Sent { status: 403, ..Sent::get(dice.address(150, 50_000), "/img/passed-on.jpg", agent) }
            };
            (0..count).map(|_| picture()).collect()
        });
        assert!(world.tally.events.iter().any(|event| event.kind == EventKind::IncidentOpened), "seed {seed}");
        let enforced = world.tally.events.iter().filter(|event| event.kind == EventKind::RuleEnforced);
        assert_eq!(enforced.count(), 0, "seed {seed}: {:#?}", world.tally.events);
    }
}

/// Of a thousand requests a second a part is looked at, in which pages are more than their share.
#[test]
fn copies_of_all_that_browsers_ask_for_are_no_crowd_when_they_come_in_thousands() {
    let outcome = grown(1).family(&family("1,000/s: copies"));
    assert_eq!(outcome.verdict, Some(Verdict::NotSeparable), "{:#?}", outcome.incidents);
    assert!(outcome.rules.is_empty(), "{:#?}", outcome.rules);
}
