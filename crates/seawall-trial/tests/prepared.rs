//! Floods whose senders know the guard: they were there before, change their names, or come before a crowd does.

use std::time::Duration;

use seawall_engine::decision::{Enforce, EventKind, Stage};
use seawall_trial::background::{Plan, browsers};
use seawall_trial::control::{LINKED, Link};
use seawall_trial::family;
use seawall_trial::world::{Scene, TICK, Traffic, World, stressed};
use seawall_trial::{Dice, Sent, address};

/// Agents that have nothing in common.
const NAMES: [&str; 12] = [
    "anchor", "barge", "cutter", "dinghy", "ensign", "frigate", "galley", "halyard", "ironclad", "jib", "ketch",
    "lugger",
];

const PAGE: &str = LINKED;

/// A guard that has known the site for a week.
fn warm(seed: u64) -> World {
    World::warm(seed, Enforce::OnExcess)
}

/// Has the flood begin.
fn begin(world: &mut World) {
    world.pressure = stressed();
    world.begin();
}

/// So many of these requests a second.
fn rate(dice: &mut Dice, rate: f64, mut one: impl FnMut(&mut Dice) -> Sent) -> Vec<Sent> {
    (0..dice.poisson(rate * TICK.as_secs_f64())).map(|_| one(dice)).collect()
}

/// Everybody with an address and an agent of his own, for one page.
fn made_up(dice: &mut Dice) -> Sent {
    let agent = format!("{}/{}.0", dice.word(8), dice.below(20));
    Sent::get(dice.address(120, 50_000), PAGE, agent)
}

#[test]
fn a_flood_that_goes_on_under_other_names_does_not_use_up_all_rules() {
    for seed in 1..=2 {
        let mut world = warm(seed);
        begin(&mut world);
        world.run(Duration::from_secs(120), |dice, seconds| {
            let agent = NAMES[(seconds / 10.0) as usize % NAMES.len()];
            let page = format!("/wiki/page-{}", dice.below(60));
            rate(dice, 40.0, |dice| Sent::get(dice.address(120, 5000), page.clone(), agent))
        });
        let late = world.tally.ticks.len() / 2;
        let recall = world.tally.recall_since(late);
        assert!(recall >= 0.6, "seed {seed}: {recall} {:#?}", world.tally.events);
        assert_eq!(world.tally.wanted_refused, 0, "seed {seed}");
    }
}

#[test]
fn an_agent_that_was_seen_before_is_told_beside_a_crowd() {
    let flood = family::ALL.into_iter().find(|family| family.name == "during a crowd").expect("there is one");
    for seed in 1..=2 {
        let mut world = warm(seed);
        let mut asked = 0;
        world.run(Duration::from_secs(300), |dice, seconds| {
            let is_due = seconds >= 60.0 * f64::from(asked);
            asked += u32::from(is_due);
            is_due.then(|| Sent::get(dice.address(121, 9), "/ca/cacert.pem", "QQGameHall")).into_iter().collect()
        });
        begin(&mut world);
        world.run_beside(Duration::from_secs(90), &mut *(flood.traffic)());
        let recall = world.tally.right_tick().map_or(0.0, |tick| world.tally.recall_since(tick));
        assert!(recall >= 0.95, "seed {seed}: {recall} {:#?}", world.tally.events);
        assert_eq!(world.tally.wanted_refused, 0, "seed {seed}");
    }
}

#[test]
fn to_have_been_there_an_hour_before_is_no_history() {
    for seed in 1..=2 {
        let mut world = warm(seed);
        let one = |dice: &mut Dice, number: usize| {
            let page = format!("/wiki/page-{}", dice.below(60));
            Sent::get(address(120, number), page, "Mozilla/5.0 (X11; Haiku) WebPositive/1.3")
        };
        let mut number = 0;
        world.run(Duration::from_secs(1200), |dice, _| {
            rate(dice, 0.5, |dice| {
                number += 1;
                one(dice, number)
            })
        });
        world.run(Duration::from_secs(3600), |_, _| Vec::new());
        begin(&mut world);
        world.run(Duration::from_secs(60), |dice, _| {
            rate(dice, 40.0, |dice| {
                let sender = dice.below(number);
                one(dice, sender)
            })
        });
        let recall = world.tally.recall_since(40);
        assert!(recall >= 0.95, "seed {seed}: {recall} {:#?}", world.tally.events);
        assert_eq!(world.tally.wanted_refused, 0, "seed {seed}");
    }
}

#[test]
fn a_flood_that_brought_the_site_down_is_known_once_the_site_answers_some_of_it() {
    let asking = |world: &World| world.status().rules.first().map(|rule| (rule.stage, rule.asking));
    for seed in 1..=2 {
        let mut world = warm(seed);
        begin(&mut world);
        let mut number = 0;
        let mut flood = |world: &mut World, seconds: u64, status: u16, answer: u64| {
            world.run(Duration::from_secs(seconds), |dice, _| {
                rate(dice, 20.0, |dice| {
                    number += 1;
                    let agent = dice.pick(&browsers()).clone();
                    let upstream = Duration::from_millis(answer);
                    Sent { status, upstream, ..Sent::get(address(120, number), "/wiki/export", agent) }
                })
            });
        };
        flood(&mut world, 50, 504, 30_000);
        assert_eq!(asking(&world), Some((Stage::Enforced, Some(32))), "seed {seed}: {:#?}", world.tally.events);
        // Less and less of it passes as long as nobody is given anything,
        flood(&mut world, 60, 504, 30_000);
        assert_eq!(asking(&world), Some((Stage::Enforced, Some(64))), "seed {seed}");
        // and hardly any once it is known that nobody reads.
        flood(&mut world, 60, 200, 100);
        assert_eq!(asking(&world), Some((Stage::Enforced, None)), "seed {seed}: {:#?}", world.tally.events);
        assert_eq!(world.tally.wanted_refused, 0, "seed {seed}");
    }
}

/// A flood of one page, for a minute, against which there is a rule about the page.
fn flooded(seed: u64) -> World {
    let mut world = warm(seed);
    begin(&mut world);
    world.run(Duration::from_secs(60), |dice, _| rate(dice, 40.0, made_up));
    assert!(world.tally.rules.values().any(|rule| rule.text.contains(PAGE)), "seed {seed}: {:#?}", world.tally.events);
    world
}

#[test]
fn readers_of_a_page_that_was_flooded_do_not_keep_its_rule_in_force() {
    for seed in 1..=2 {
        let mut world = flooded(seed);
        // A reader in three seconds, who would have been enough.
        let mut number = 0;
        let mut read = |world: &mut World, minutes: u64| {
            let before = world.tally.wanted_refused;
            world.run(Duration::from_secs(60 * minutes), |dice, _| {
                rate(dice, 0.3, |_| {
                    number += 1;
                    let agents = browsers();
                    let agent = agents[number % agents.len()].clone();
                    Sent { wanted: true, ..Sent::get(address(150, number), PAGE, agent) }
                })
            });
            world.tally.wanted_refused - before
        };
        read(&mut world, 5);
        assert_eq!(read(&mut world, 5), 0, "seed {seed}: {:#?}", world.tally.events);
    }
}

/// A flood, and readers beside it.
struct Beside {
    readers: Link,
    flood: f64,
}

impl Traffic for Beside {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        self.readers.send(scene, plan);
        for _ in 0..scene.count(self.flood) {
            plan.push((scene.moment(), made_up(scene.dice)));
        }
    }
}

#[test]
fn a_crowd_that_comes_while_a_smaller_flood_of_its_page_goes_on_is_let_in() {
    for (seed, readers, flood) in [(1, 30.0, 15.0), (2, 12.0, 4.0)] {
        let mut world = flooded(seed);
        let mut beside = Beside { readers: Link::steady(readers, browsers()), flood };
        world.run_beside(Duration::from_secs(240), &mut beside);
        let (wanted, refused) = (world.tally.wanted, world.tally.wanted_refused);
        world.run_beside(Duration::from_secs(60), &mut beside);
        let told = &world.tally.events;
        assert!(told.iter().any(|event| event.text.contains("what it meets is a crowd")), "seed {seed}: {told:#?}");
        let (wanted, refused) = (world.tally.wanted - wanted, world.tally.wanted_refused - refused);
        assert!(refused <= wanted / 50, "seed {seed}: {refused} of {wanted} {told:#?}");
    }
}

/// A flood of one page, of which one in each second reads: the first that is not refused.
#[derive(Default)]
struct Reading {
    asked: Vec<Sent>,
    read: f64,
}

impl Traffic for Reading {
    fn send(&mut self, scene: &mut Scene<'_>, plan: &mut Plan) {
        let given = self.asked.drain(..).find(|sent| !scene.refused.contains(&sent.client));
        if let Some(page) = given.filter(|_| scene.seconds >= self.read + 1.0 || scene.seconds == 0.0) {
            self.read = scene.seconds;
            let part = |number: usize| Sent { path: format!("/static/{number}.css"), ..page.clone() };
            plan.extend((0..6).map(|number| (TICK / 4, part(number))));
        }
        for _ in 0..scene.count(40.0) {
            let page = Sent { client: scene.dice.address(120, 16_000_000), ..made_up(scene.dice) };
            self.asked.push(page.clone());
            plan.push((scene.moment(), page));
        }
    }
}

/// Senders who read whatever they are given have its rule let go, but less and less often.
#[test]
fn a_flood_that_reads_only_what_passes_is_refused_for_longer_each_time() {
    for seed in 1..=2 {
        let mut world = flooded(seed);
        let mut traffic = Reading::default();
        let mut refused_share = |world: &mut World, seconds: u64| {
            let (all, refused) = (world.tally.unwanted, world.tally.unwanted_refused);
            world.run_beside(Duration::from_secs(seconds), &mut traffic);
            (world.tally.unwanted_refused - refused) as f64 / (world.tally.unwanted - all) as f64
        };
        let (first, later) = (refused_share(&mut world, 600), refused_share(&mut world, 1200));
        assert!(world.tally.events.iter().any(|event| event.text.contains("is a crowd")), "seed {seed}");
        assert!(first >= 0.6 && later >= 0.9, "seed {seed}: {first} {later} {:#?}", world.tally.events);
    }
}

/// What makes it a crowd is over after a minute, whatever the site answers.
#[test]
fn a_flood_that_sends_readers_first_is_one_once_they_are_over() {
    for (seed, status) in [(1, 200), (2, 200), (1, 504), (2, 504)] {
        let mut world = warm(seed);
        begin(&mut world);
        world.run_beside(Duration::from_secs(20), &mut Link::steady(8.0, browsers()));
        let mut number = 0;
        let mut flood = |world: &mut World, seconds: u64| {
            world.run(Duration::from_secs(seconds), |dice, _| {
                rate(dice, 40.0, |dice| {
                    number += 1;
                    let agent = dice.pick(&browsers()).clone();
                    let upstream = Duration::from_millis(if status == 200 { 50 } else { 30_000 });
                    Sent { status, upstream, ..Sent::get(address(120, number), PAGE, agent) }
                })
            });
        };
        flood(&mut world, 120);
        let late = world.tally.ticks.len();
        flood(&mut world, 60);
        let recall = world.tally.recall_since(late);
        assert!(recall >= 0.95, "seed {seed}, {status}: {recall} {:#?}", world.tally.events);
    }
}

#[test]
fn a_crowd_that_comes_after_a_flood_of_the_same_page_is_let_in() {
    for seed in 1..=2 {
        let mut world = flooded(seed);
        world.run(Duration::from_secs(3600), |_, _| Vec::new());
        let before = world.tally.wanted_refused;
        begin(&mut world);
        world.run_beside(Duration::from_secs(60), &mut Link::steady(10.0, browsers()));
        let enforced = world.tally.events.iter().filter(|event| event.kind == EventKind::RuleEnforced);
        assert_eq!(enforced.count(), 0, "seed {seed}: {:#?}", world.tally.events);
        assert_eq!(world.tally.wanted_refused.saturating_sub(before), 0, "seed {seed}");
    }
}
