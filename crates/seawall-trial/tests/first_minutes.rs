//! Floods that come when the guard has only just begun to learn: rows of requests are known a minute later than their numbers.

use std::time::Duration;

use seawall_engine::decision::{Enforce, Verdict};
use seawall_trial::background::{Background, Synthetic, browsers};
use seawall_trial::world::{TICK, World, stressed};
use seawall_trial::{Dice, Sent};

/// A guard that has known a site for so long, and a flood of posts with an agent of its own, for forty seconds.
fn flooded(background: &Background, seed: u64, known: Duration) -> World {
    let mut world = World::with(background.clone(), seed, Enforce::OnExcess);
    world.know_ordinary();
    world.now = world.now + Duration::from_secs(36_000);
    world.run(known, |_, _| Vec::new());
    world.pressure = stressed();
    world.begin();
    world.run(Duration::from_secs(40), |dice, _| posts(dice));
    world
}

/// What one tick has of it.
fn posts(dice: &mut Dice) -> Vec<Sent> {
    let one = |dice: &mut Dice| {
        let mut sent = Sent::get(dice.address(120, 5000), "/ca/cacert.pem", "QQGameHall");
        sent.method = "POST".to_owned();
        sent
    };
    (0..dice.poisson(50.0 * TICK.as_secs_f64())).map(|_| one(dice)).collect()
}

fn is_called_not_separable(world: &World) -> bool {
    let incidents = &world.status().incidents;
    incidents.iter().any(|incident| incident.verdict == Verdict::NotSeparable)
        || world.tally.events.iter().any(|event| event.text.contains("nothing tells it"))
}

#[test]
fn a_flood_in_the_second_minute_is_found_as_soon_as_the_first_is_known() {
    let background = Background::Synthetic(Synthetic::default());
    for (known, seed) in [60, 65, 70, 85].into_iter().flat_map(|known| (1..=3).map(move |seed| (known, seed))) {
        let world = flooded(&background, seed, Duration::from_secs(known));
        let tally = &world.tally;
        let time = tally.time_to_rule.unwrap_or_else(|| panic!("{known} s, seed {seed}: {:#?}", tally.events));
        // A few seconds' visitors are enough, and those come in a minute late.
        assert!(time <= if known < 85 { 12.0 } else { 2.5 }, "{known} s, seed {seed}: {time}");
        assert_eq!(tally.wanted_refused, 0, "{known} s, seed {seed}");
        assert!(!is_called_not_separable(&world), "{known} s, seed {seed}: {:#?}", tally.events);
    }
}

#[test]
fn where_hardly_anything_is_known_nothing_is_called_not_separable() {
    let whole = Background::Synthetic(Synthetic::default());
    let mut world = World::with(whole.clone(), 1, Enforce::OnExcess);
    world.know_ordinary();
    let quiet = whole.with_share(0.1 / world.ordinary_rate());
    for seed in 1..=3 {
        let world = flooded(&quiet, seed, Duration::from_secs(70));
        assert!(!world.status().incidents.is_empty(), "seed {seed}: nothing was noticed");
        assert!(!is_called_not_separable(&world), "seed {seed}: {:#?}", world.tally.events);
    }
}

#[test]
fn a_new_guard_takes_no_visitors_for_newcomers() {
    let usual = Background::Synthetic(Synthetic::default());
    for times in [1.0, 3.0, 10.0, 30.0] {
        for seed in 1..=20_u64 {
            let mut world = World::with(usual.clone().with_share(times), seed, Enforce::OnExcess);
            // Whatever the moment in a second, and the second in ten, at which it was started.
            world.now = world.now + Duration::from_millis(36_000_000 + seed * 750);
            world.begin();
            world.run(Duration::from_secs(180), |_, _| Vec::new());
            assert!(world.tally.events.is_empty(), "{times} times, seed {seed}: {:#?}", world.tally.events);
        }
    }
}

#[test]
fn a_second_flood_that_is_only_dear_is_found_beside_the_first() {
    let background = Background::Synthetic(Synthetic::default());
    for seed in 1..=3 {
        let mut world = flooded(&background, seed, Duration::from_secs(600));
        world.run(Duration::from_secs(60), |dice, _| {
            // Less than five a second, and less than all that is normal: only the two seconds that each takes are much.
            let dear = |dice: &mut Dice| {
                let agent = dice.pick(&browsers()).clone();
                let mut sent = Sent::get(dice.address(121, 5000), "/wiki/edit", agent);
                sent.method = "POST".to_owned();
                sent.upstream = Duration::from_secs(2);
                sent
            };
            let mut sent = posts(dice);
            sent.extend((0..dice.poisson(4.0 * TICK.as_secs_f64())).map(|_| dear(dice)));
            sent
        });
        let rules: Vec<_> = world.status().rules.iter().map(|rule| rule.text.clone()).collect();
        assert!(
            rules.iter().any(|rule| rule.contains("/wiki/edit")),
            "seed {seed}: {rules:#?}\n{:#?}",
            world.tally.events
        );
        assert_eq!(world.tally.wanted_refused, 0, "seed {seed}");
    }
}
