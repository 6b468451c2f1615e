//! Floods and crowds against the engine, with labels: how fast is a rule in force, what does it catch, whom does it hurt.

use std::time::Duration;

use seawall_engine::decision::{Action, CostKind, Enforce, EventKind, Shape, Stage, Status, Verdict};
use seawall_engine::detection::Pressure;
use seawall_trial::background::{Synthetic, browsers};
use seawall_trial::world::{self, World, stressed};
use seawall_trial::{Dice, Sent, address};

/// Those that every change is tried on. `SEAWALL_SEEDS=201,202` tries others.
const SEEDS: [u64; 5] = [1, 2, 12, 13, 107];

fn seeds() -> Vec<u64> {
    match std::env::var("SEAWALL_SEEDS") {
        Ok(seeds) => seeds.split(',').map(|seed| seed.trim().parse().expect("a number")).collect(),
        Err(_) => SEEDS.to_vec(),
    }
}

/// This many requests for one tick of a flood of this rate.
fn count(dice: &mut Dice, rate: f64) -> usize {
    dice.poisson(rate * world::TICK.as_secs_f64())
}

fn in_force(status: &Status) -> Vec<String> {
    status.rules.iter().filter(|rule| rule.stage == Stage::Enforced).map(|rule| rule.text.clone()).collect()
}

/// That a flood is stopped: in time, completely, and without harm. Returns the rules in force.
fn stopped(name: &str, world: &World, seconds: f64, recall: f64) -> Vec<String> {
    let (tally, status) = (&world.tally, world.status());
    let time = tally.time_to_rule.unwrap_or_else(|| panic!("{name}: no rule\n{status:#?}\n{:#?}", tally.events));
    println!(
        "{name}: {time:.2} s, recall {:.4}, wanted refused {} of {}, {:?}, {:?}",
        tally.recall(),
        tally.wanted_refused,
        tally.wanted,
        status.incidents[0].verdict,
        in_force(&status)
    );
    assert!(time <= seconds, "{name}: {time} s\n{:#?}", tally.events);
    assert!(tally.recall() >= recall, "{name}: recall {}\n{status:#?}", tally.recall());
    assert_eq!(tally.wanted_refused, 0, "{name}: {status:#?}");
    in_force(&status)
}

/// That nobody is enforced against, then or since.
fn spared(name: &str, world: &World) {
    let tally = &world.tally;
    let enforced: Vec<_> = tally.events.iter().filter(|event| event.kind == EventKind::RuleEnforced).collect();
    println!(
        "{name}: {:?}",
        world.status().incidents.first().map(|incident| (incident.verdict, &incident.explanation))
    );
    assert!(enforced.is_empty(), "{name}: {enforced:#?}");
    assert_eq!((tally.wanted_refused, tally.unwanted_refused), (0, 0), "{name}");
}

fn cacert(dice: &mut Dice, rate: f64) -> Vec<Sent> {
    let one = |dice: &mut Dice| {
        let mut sent = Sent::get(dice.address(120, 5000), "/ca/cacert.pem", "QQGameHall");
        sent.method = "POST".to_owned();
        sent.bytes = 225_000;
        sent
    };
    (0..count(dice, rate)).map(|_| one(dice)).collect()
}

#[test]
fn posts_to_one_file_from_thousands_of_addresses_name_the_agent() {
    let mut times = Vec::new();
    for seed in seeds() {
        for rate in [20.0, 50.0] {
            let mut world = World::warm(seed, Enforce::UnderStress);
            world.pressure = stressed();
            world.begin();
            world.run(Duration::from_secs(60), |dice, _| cacert(dice, rate));
            let rules = stopped("cacert", &world, 5.0, 0.985);
            assert!(rules.iter().any(|rule| rule.contains("QQGameHall")), "{rules:?}");
            let incident = &world.status().incidents[0];
            assert_eq!(incident.verdict, Verdict::Explained);
            assert!(incident.has_shape(Shape::PostToStatic), "{incident:?}");
            times.push(world.tally.time_to_rule.expect("a rule"));
        }
    }
    times.sort_by(f64::total_cmp);
    assert!(times[times.len() / 2] <= 3.0, "time to rule: {times:?}");
}

#[test]
fn a_fixed_agent_from_rotating_addresses_is_named_and_not_its_addresses() {
    for seed in seeds() {
        let mut world = World::warm(seed, Enforce::OnExcess);
        world.begin();
        world.run(Duration::from_secs(120), |dice, seconds| {
            let client = address(120, (seconds / 20.0) as usize);
            let one = |dice: &mut Dice| {
                Sent::get(client, format!("/{}/{}.php", dice.below(50), dice.below(1000)), "scanner/1.0 (probe)")
            };
            (0..count(dice, 40.0)).map(|_| one(dice)).collect()
        });
        let rules = stopped("rotating", &world, 8.0, 0.985);
        assert!(rules.iter().any(|rule| rule.contains("user-agent") && rule.contains("scanner")), "{rules:?}");
    }
}

#[test]
fn one_address_with_a_common_agent_is_named_by_its_address() {
    for seed in seeds() {
        let agent = browsers()[3].clone();
        let mut world = World::warm(seed, Enforce::OnExcess);
        world.begin();
        world.run(Duration::from_secs(60), |dice, _| {
            (0..count(dice, 40.0)).map(|_| Sent::get(address(120, 7), Synthetic::page(dice), agent.clone())).collect()
        });
        let rules = stopped("one address", &world, 10.0, 0.985);
        assert!(rules.iter().any(|rule| rule.contains("client-prefix") && rule.contains("/32")), "{rules:?}");
    }
}

#[test]
fn one_page_asked_for_once_from_each_address_is_named_by_its_target() {
    for seed in seeds() {
        let agents = browsers();
        let mut world = World::warm(seed, Enforce::UnderStress);
        world.pressure = stressed();
        world.begin();
        let mut number = 0;
        world.run(Duration::from_secs(60), |dice, _| {
            let mut one = |dice: &mut Dice| {
                number += 1;
                let agent = agents[dice.below(agents.len())].clone();
                let mut sent = Sent::get(address(120, number), "/wiki/page-3", agent);
                sent.query = Some(format!("search={}", dice.bits()));
                sent.upstream = Duration::from_millis(80);
                sent
            };
            (0..count(dice, 40.0)).map(|_| one(dice)).collect()
        });
        let rules = stopped("one page", &world, 8.0, 0.985);
        assert!(rules.iter().all(|rule| rule.contains("path") || rule.contains("query-keys")), "{rules:?}");
    }
}

#[test]
fn random_targets_with_the_commonest_agent_are_separated() {
    for seed in seeds() {
        let agent = browsers()[0].clone();
        let mut world = World::warm(seed, Enforce::UnderStress);
        world.pressure = stressed();
        world.begin();
        world.run(Duration::from_secs(60), |dice, _| {
            let one = |dice: &mut Dice| {
                let mut sent = Sent::get(dice.address(120, 5000), format!("/{:x}", dice.bits()), agent.clone());
                sent.query = Some(format!("{:x}={:x}", dice.bits(), dice.bits()));
                sent.status = 404;
                sent
            };
            (0..count(dice, 40.0)).map(|_| one(dice)).collect()
        });
        let tally = &world.tally;
        println!("random targets: {:?} {:?}", tally.time_to_rule, in_force(&world.status()));
        let harm = tally.wanted_refused as f64 / tally.wanted as f64;
        // Pages asked for with the very same agent: what the rule foretold, and no more.
        assert!(harm <= 0.01, "{harm}: {:#?}", world.status());
        if tally.time_to_rule.is_none() {
            let verdict = world.status().incidents[0].verdict;
            assert_eq!(verdict, Verdict::NotSeparable, "{:#?}", world.status());
        } else {
            assert!(tally.recall() >= 0.95, "{}", tally.recall());
        }
    }
}

#[test]
fn copies_of_ordinary_requests_are_not_separable() {
    for seed in seeds() {
        let agents = browsers();
        let mut world = World::warm(seed, Enforce::OnExcess);
        world.pressure = stressed();
        world.begin();
        let mut number = 0;
        world.run(Duration::from_secs(60), |dice, _| {
            let mut sent = Vec::new();
            for _ in 0..count(dice, 40.0) {
                number += 1;
                let (agent, page) = (agents[dice.below(agents.len())].clone(), Synthetic::page(dice));
                let referer = dice.chance(0.25).then_some("https://www.google.com/");
                let load = Synthetic::visit(dice, address(120, number), &agent, &page, referer);
                let copied = dice.below(load.len());
                sent.extend(load.into_iter().nth(copied).map(|(_, sent)| Sent { wanted: false, ..sent }));
            }
            sent
        });
        spared("copies", &world);
        let incident = &world.status().incidents[0];
        assert_eq!(incident.verdict, Verdict::NotSeparable, "{incident:?}");
    }
}

#[test]
fn a_link_on_a_big_site_is_a_crowd() {
    for seed in seeds() {
        let agents = browsers();
        let mut world = World::warm(seed, Enforce::OnExcess);
        world.pressure = stressed();
        world.begin();
        let mut number = 0;
        let mut loading: Vec<(f64, Sent)> = Vec::new();
        world.run(Duration::from_secs(90), |dice, seconds| {
            for _ in 0..count(dice, 8.0) {
                number += 1;
                let agent = agents[dice.below(agents.len())].clone();
                let referer = Some("https://news.ycombinator.com/");
                let load = Synthetic::visit(dice, address(150, number), &agent, "/blog/2023/entry-55.html", referer);
                loading.extend(load.into_iter().map(|(after, sent)| (seconds + after.as_secs_f64(), sent)));
            }
            let (due, later) = loading.drain(..).partition(|(at, _)| *at <= seconds);
            loading = later;
            let due: Vec<(f64, Sent)> = due;
            due.into_iter().map(|(_, sent)| sent).collect()
        });
        spared("crowd", &world);
        let incident = &world.status().incidents[0];
        assert_eq!(incident.verdict, Verdict::Crowd, "{incident:?}");
        assert!(incident.has_shape(Shape::Crowd));
    }
}

#[test]
fn phones_that_show_a_clock_are_a_crowd() {
    for seed in seeds() {
        let mut world = World::warm(seed, Enforce::OnExcess);
        world.pressure = stressed();
        world.begin();
        let mut number = 0;
        world.run(Duration::from_secs(90), |dice, _| {
            let mut one = |dice: &mut Dice| {
                number += 1;
                let agent = format!(
                    "Mozilla/5.0 (Linux; Android {}.1.0; V{}A Build/OPM1.{}; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Version/4.0 Chrome/66.0.3359.126 MQQBrowser/6.2 TBS/0446{} Mobile Safari/537.36 MMWEBID/{} \
                     MicroMessenger/7.0.4.1420(0x2700043A) Process/tools NetType/WIFI Language/zh_CN",
                    6 + dice.below(4),
                    dice.below(2000),
                    dice.below(999_999),
                    dice.below(99),
                    dice.below(9999),
                );
                let mut sent = Sent::get(address(170, number), "/time.gif", agent);
                sent.wanted = true;
                sent
            };
            (0..count(dice, 35.0)).map(|_| one(dice)).collect()
        });
        spared("clock", &world);
        let incident = &world.status().incidents[0];
        assert_eq!(incident.verdict, Verdict::Crowd, "{incident:?}");
        assert!(world.status().rules.is_empty(), "{:#?}", world.status().rules);
    }
}

#[test]
fn traffic_for_others_is_explained_without_a_rule() {
    for seed in seeds() {
        let mut world = World::warm(seed, Enforce::OnExcess);
        world.pressure = stressed();
        world.begin();
        world.run(Duration::from_secs(60), |dice, _| {
            let one = |dice: &mut Dice| {
                let mut sent =
                    Sent::get(dice.address(120, 20_000), format!("/{:x}", dice.bits()), "Mozilla/5.0 (Windows)");
                sent.host = format!("host{}.example.net", dice.below(3000));
                sent.misdirected = true;
                sent
            };
            (0..count(dice, 70.0)).map(|_| one(dice)).collect()
        });
        spared("misdirected", &world);
        let incident = &world.status().incidents[0];
        assert_eq!(incident.verdict, Verdict::Explained, "{incident:?}");
        assert!(incident.has_shape(Shape::Misdirected), "{incident:?}");
    }
}

#[test]
fn pulses_meet_the_same_rule_again() {
    for seed in seeds() {
        let mut world = World::warm(seed, Enforce::UnderStress);
        world.pressure = stressed();
        world.begin();
        let pulse = |dice: &mut Dice, seconds: f64, pause: f64| {
            if seconds % (5.0 + pause) < 5.0 { cacert(dice, 60.0) } else { Vec::new() }
        };
        world.run(Duration::from_secs(350), |dice, seconds| pulse(dice, seconds, 30.0));
        let enforced = world.tally.events.iter().filter(|event| event.kind == EventKind::RuleEnforced).count();
        assert_eq!(enforced, 1, "one rule, which stays: {:#?}", world.tally.events);
        stopped("pulses", &world, 5.0, 0.985);
        // Pauses in which the rule retires: it is back within a window of each pulse.
        world.run(Duration::from_secs(200), |_, _| Vec::new());
        assert!(in_force(&world.status()).is_empty());
        world.begin();
        world.run(Duration::from_secs(5), |dice, seconds| pulse(dice, seconds, 30.0));
        stopped("pulse after a pause", &world, 1.25, 0.97);
    }
}

#[test]
fn a_flood_that_goes_on_after_refusals_is_dropped_and_still_probed() {
    for seed in seeds() {
        let mut world = World::warm(seed, Enforce::UnderStress);
        world.pressure = stressed();
        world.begin();
        // A hundred addresses that ask once in two and a half seconds each, whatever they are told.
        world.run(Duration::from_secs(120), |dice, _| {
            let one = |dice: &mut Dice| Sent::get(dice.address(120, 100), "/wiki/page-3", "BadReader/1.0 (probe)");
            (0..count(dice, 40.0)).map(|_| one(dice)).collect()
        });
        stopped("going on", &world, 5.0, 0.985);
        let rule = world.status().rules[0].clone();
        assert_eq!(rule.action, Action::Drop, "{rule:?}");
        assert!(rule.canaries > 5, "{rule:?}");
        // When it ends the rule goes down step by step, and is gone after three minutes.
        world.begin();
        world.run(Duration::from_secs(260), |_, _| Vec::new());
        let softened = world.tally.events.iter().filter(|event| event.kind == EventKind::RuleRetired).count();
        assert_eq!(softened, 3, "{:#?}", world.tally.events);
        assert!(in_force(&world.status()).is_empty());
    }
}

#[test]
fn senders_that_have_behaved_before_are_stopped_all_the_same() {
    for seed in seeds() {
        let agents = browsers();
        let mut world = World::warm(seed, Enforce::UnderStress);
        // Each of two hundred loads a page of the site every three minutes, as its visitors do.
        world.run(Duration::from_secs(900), |dice, _| {
            let mut sent = Vec::new();
            for _ in 0..count(dice, 1.0) {
                let (client, page) = (dice.below(200), Synthetic::page(dice));
                let visit = Synthetic::visit(dice, address(120, client), &agents[client % agents.len()], &page, None);
                sent.extend(visit.into_iter().map(|(_, sent)| sent));
            }
            sent
        });
        world.pressure = stressed();
        world.begin();
        world.run(Duration::from_secs(60), |dice, _| {
            let one = |dice: &mut Dice| Sent::get(dice.address(120, 200), "/wiki/page-3", "BadReader/1.0 (probe)");
            (0..count(dice, 40.0)).map(|_| one(dice)).collect()
        });
        stopped("prepared", &world, 5.0, 0.985);
    }
}

/// Whether the latest incident shows this shape.
fn shows(world: &World, shape: Shape) -> bool {
    world.status().incidents.first().is_some_and(|incident| incident.has_shape(shape))
}

/// Traffic of one kind for half a minute.
fn half_a_minute(rate: f64, mut one: impl FnMut(&mut Dice, usize) -> Sent) -> World {
    let mut world = World::warm(1, Enforce::Never);
    world.pressure = stressed();
    world.begin();
    let mut number = 0;
    world.run(Duration::from_secs(30), |dice, _| {
        let mut next = |dice: &mut Dice| {
            number += 1;
            one(dice, number)
        };
        (0..count(dice, rate)).map(|_| next(dice)).collect()
    });
    world
}

#[test]
fn clients_that_do_not_wait_are_told_from_people_who_press_reload() {
    let told_to_wait = |clients: usize| {
        half_a_minute(30.0, move |dice, _| Sent {
            status: 503,
            ..Sent::get(dice.address(120, clients), Synthetic::page(dice), "Sync/3.1")
        })
    };
    assert!(shows(&told_to_wait(15), Shape::IgnoresRefusals));
    assert!(!shows(&told_to_wait(600), Shape::IgnoresRefusals));
}

#[test]
fn held_connections_are_told_from_a_stream_that_many_watch() {
    let held = |clients: usize, status: u16, bytes: u64| {
        half_a_minute(20.0, move |_, number| Sent {
            status,
            bytes,
            upstream: Duration::from_secs(20),
            ..Sent::get(address(120, number % clients), "/time.gif", browsers()[number % 20].clone())
        })
    };
    assert!(shows(&held(5000, 408, 0), Shape::SlowConnections), "heads that never end");
    assert!(shows(&held(20, 200, 2_000), Shape::SlowConnections), "answers that are hardly taken");
    assert!(!shows(&held(5000, 200, 7_000), Shape::SlowConnections), "a clock");
}

#[test]
fn a_herd_is_told_from_a_crowd_on_the_same_page() {
    let reader = |dice: &mut Dice, number: usize| {
        let agent = format!("FeedReader{}/2.{}", number % 15, number % 7);
        let mut sent = Sent::get(address(60, number), "/blog/feed.xml", agent);
        sent.wanted = true;
        (dice.uniform() * 15.0, sent)
    };
    for comes_back in [true, false] {
        let mut world = World::warm(1, Enforce::Never);
        let start = world.now;
        for quarter in 1..=5 {
            world.now = start + Duration::from_secs(900 * quarter);
            world.begin();
            let mut loading: Vec<(f64, Sent)> = Vec::new();
            world.run(Duration::from_secs(40), |dice, seconds| {
                if seconds == 0.0 && (comes_back || quarter == 5) {
                    loading = (0..300).map(|number| reader(dice, number)).collect();
                }
                let (due, later): (Vec<_>, Vec<_>) = loading.drain(..).partition(|(at, _)| *at <= seconds);
                loading = later;
                due.into_iter().map(|(_, sent)| sent).collect()
            });
        }
        assert_eq!(shows(&world, Shape::FeedHerd), comes_back, "{:#?}", world.status().incidents);
    }
}

#[test]
fn a_cold_guard_throttles_at_most() {
    for seed in seeds() {
        let mut world = World::new(seed, Enforce::OnExcess);
        world.run(Duration::from_secs(600), |_, _| Vec::new());
        world.begin();
        world.run(Duration::from_secs(20), |dice, _| cacert(dice, 50.0));
        spared("cold without stress", &world);
        world.pressure = stressed();
        world.run(Duration::from_secs(30), |dice, _| cacert(dice, 50.0));
        let status = world.status();
        assert!(status.cold);
        let rules: Vec<_> = status.rules.iter().filter(|rule| rule.stage == Stage::Enforced).collect();
        assert!(!rules.is_empty(), "{status:#?}");
        for rule in rules {
            assert!(matches!(rule.action, Action::Throttle { .. }), "{rule:?}");
            let life = rule.expires.expect("an end").since(rule.enforced.expect("a beginning"));
            assert!(life <= Duration::from_secs(60), "{rule:?}");
        }
        assert_eq!(world.tally.wanted_refused, 0);
    }
}

#[test]
fn a_guard_started_in_a_flood_slows_it_down_and_nobody_else() {
    for seed in seeds() {
        let mut world = World::new(seed, Enforce::UnderStress);
        world.pressure = stressed();
        world.begin();
        world.run(Duration::from_secs(90), |dice, _| cacert(dice, 50.0));
        let rules = stopped("started in the flood", &world, 10.0, 0.95);
        assert!(rules.iter().any(|rule| rule.contains("QQGameHall")), "{rules:?}");
        let status = world.status();
        assert!(status.cold && status.incidents[0].has_shape(Shape::PostToStatic), "{status:#?}");
        for rule in status.rules.iter().filter(|rule| rule.stage == Stage::Enforced) {
            assert!(matches!(rule.action, Action::Throttle { .. }), "{rule:?}");
            assert!(rule.expires.is_some_and(|expires| expires.since(world.now) <= Duration::from_secs(60)));
        }
        // When it ends so does the incident, and the guard begins to learn.
        world.run(Duration::from_secs(300), |_, _| Vec::new());
        assert!(world.status().is_calm() && in_force(&world.status()).is_empty(), "{:#?}", world.status());
        assert!(world.status().learned_seconds > 0);
    }
}

#[test]
fn a_guard_that_has_known_an_odd_site_for_an_hour_lets_it_be() {
    for seed in seeds() {
        let mut world = World::new(seed, Enforce::UnderStress);
        // All come with one program and post to one path: a site for programs.
        let call = |dice: &mut Dice| {
            let mut sent = Sent::get(dice.address(120, 5000), "/api", "okhttp/4.9.3");
            sent.method = "POST".to_owned();
            sent.wanted = true;
            sent
        };
        let calls = |dice: &mut Dice, _: f64| (0..count(dice, 20.0)).map(|_| call(dice)).collect();
        let start = world.now;
        for slot in 0..14 {
            world.now = start + Duration::from_secs(300 * slot);
            world.run(Duration::from_secs(20), calls);
        }
        world.pressure = stressed();
        world.begin();
        world.run(Duration::from_secs(60), calls);
        spared("an odd site", &world);
    }
}

#[test]
fn servers_that_preview_a_page_are_a_crowd_and_those_that_go_through_a_feed_are_not() {
    for seed in seeds() {
        let names: Vec<String> = (0..400).map(|number| format!("https://social{number}.example")).collect();
        let server = |number: usize, path: String| {
            let agent = format!("Friendica 'Giant Rhubarb' 2019.05-1310; {}", names[number % names.len()]);
            Sent::get(address(120, number), path, agent)
        };
        for goes_on in [false, true] {
            let mut world = World::warm(seed, Enforce::OnExcess);
            world.pressure = stressed();
            world.begin();
            let mut servers: Vec<f64> = Vec::new();
            world.run(Duration::from_secs(30), |dice, seconds| {
                servers.extend((0..count(dice, 10.0)).map(|_| seconds));
                let asks = |(number, began): (usize, &f64)| {
                    // The feed, and then one page after another, two and a half requests a second.
                    let before = ((seconds - began) * 2.5).ceil() as usize;
                    let after = ((seconds + world::TICK.as_secs_f64() - began) * 2.5).ceil() as usize;
                    // Those that were refused at their first request have given up.
                    let most = if goes_on && *began < 3.0 { 20 } else { 1 };
                    let path = |step: usize| format!("/blog/2023/entry-{}.html", step.div_ceil(3));
                    let mut sent: Vec<Sent> =
                        (before.min(most)..after.min(most)).map(|step| server(number, path(step))).collect();
                    sent.iter_mut().for_each(|sent| sent.wanted = !goes_on);
                    sent
                };
                servers.iter().enumerate().flat_map(asks).collect()
            });
            if goes_on {
                stopped("going through a feed", &world, 5.0, 0.95);
                assert_eq!(world.status().incidents[0].verdict, Verdict::Explained);
            } else {
                spared("previews", &world);
            }
        }
    }
}

#[test]
fn a_slow_backend_is_external() {
    for seed in seeds() {
        let mut world = World::warm(seed, Enforce::OnExcess);
        world.pressure = stressed();
        world.slowness = 10;
        world.begin();
        world.run(Duration::from_secs(120), |_, _| Vec::new());
        spared("slow backend", &world);
        let incident = &world.status().incidents[0];
        assert_eq!(incident.verdict, Verdict::External, "{incident:?}");
        assert_ne!(incident.cost, CostKind::Requests);
    }
}

#[test]
fn when_the_flood_ends_so_do_rule_and_incident() {
    for seed in seeds() {
        let mut world = World::warm(seed, Enforce::UnderStress);
        world.pressure = stressed();
        world.begin();
        world.run(Duration::from_secs(60), |dice, _| cacert(dice, 30.0));
        assert!(!world.status().is_calm());
        world.pressure = Pressure::default();
        world.run(Duration::from_secs(240), |_, _| Vec::new());
        let status = world.status();
        assert!(status.is_calm(), "{status:#?}");
        assert!(in_force(&status).is_empty(), "{status:#?}");
        let kinds: Vec<EventKind> = world.tally.events.iter().map(|event| event.kind).collect();
        assert!(kinds.contains(&EventKind::RuleRetired) && kinds.contains(&EventKind::IncidentClosed), "{kinds:?}");
    }
}

#[test]
fn half_an_hour_of_ordinary_bursts_enforces_nothing() {
    for seed in seeds() {
        let mut world = World::warm(seed, Enforce::OnExcess);
        world.pressure = stressed();
        world.begin();
        let agents = browsers();
        let mut loading: Vec<(f64, Sent)> = Vec::new();
        world.run(Duration::from_secs(1800), |dice, seconds| {
            // A page of forty parts now and then, and a herd of feed readers every ten minutes.
            if dice.chance(0.01) {
                let client = dice.address(20, 3000);
                for image in 0..40 {
                    let mut sent = Sent::get(client, format!("/images/{image}.png"), agents[5].clone());
                    sent.wanted = true;
                    loading.push((seconds + f64::from(image) * 0.05, sent));
                }
            }
            if seconds % 600.0 < 0.25 {
                for reader in 0..80 {
                    let agent = format!("FeedReader{}/2.{}", reader % 15, reader % 7);
                    let mut sent = Sent::get(address(60, reader), "/feed.xml", agent);
                    sent.wanted = true;
                    loading.push((seconds + dice.uniform() * 15.0, sent));
                }
            }
            let (due, later): (Vec<_>, Vec<_>) = loading.drain(..).partition(|(at, _)| *at <= seconds);
            loading = later;
            due.into_iter().map(|(_, sent)| sent).collect()
        });
        spared("bursts", &world);
    }
}

#[test]
fn without_stress_rules_are_proposed_and_without_a_gate_they_are_counted_all_the_same() {
    let mut world = World::warm(1, Enforce::UnderStress);
    world.remove_gate();
    world.begin();
    world.run(Duration::from_secs(20), |dice, _| cacert(dice, 40.0));
    spared("proposed", &world);
    assert!(world.status().rules.iter().any(|rule| rule.stage == Stage::Proposed), "{:#?}", world.status());
    world.pressure = stressed();
    world.run(Duration::from_secs(5), |dice, _| cacert(dice, 40.0));
    let status = world.status();
    assert!(status.rules.iter().any(|rule| rule.stage == Stage::Enforced && rule.matched > 0), "{status:#?}");
}

#[test]
fn what_is_small_beside_a_larger_flood_is_stopped_soon_as_well() {
    for seed in seeds() {
        let mut world = World::warm(seed, Enforce::OnExcess);
        world.begin();
        for tick in 0..80_u32 {
            let seconds = f64::from(tick) * world::TICK.as_secs_f64();
            world.run(world::TICK, |dice, _| {
                let rate = 90.0 + 295.0 * (seconds / 4.0).min(1.0);
                let one = |dice: &mut Dice| {
                    let number = dice.below(5000);
                    let (path, kind) = match dice.uniform() {
                        share if share < 0.09 => ("/scrape", "uTorrent"),
                        share if share < 0.6 => ("/announce", "Bittorrent"),
                        _ => ("/announce", "uTorrent"),
                    };
                    let agent = format!("{kind}/3{}({})", dice.below(40), dice.below(9000));
                    let mut sent = Sent::get(address(120, number), path, agent);
                    let more = if path == "/scrape" { "" } else { "&peer_id=abc&port=6881&left=0&compact=1" };
                    sent.query = Some(format!("info_hash={}{more}", dice.word(20)));
                    sent.status = 403;
                    sent.upstream = Duration::from_millis(40);
                    sent
                };
                (0..count(dice, rate)).map(|_| one(dice)).collect()
            });
        }
        stopped("small beside large", &world, 3.0, 0.99);
    }
}
