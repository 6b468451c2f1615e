//! The cost of one observation, and of learning a week.
//!
//! Limits: 1 µs on average for an observation, 1 s for a week of 400,000 sampled observations.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use seawall_engine::address::ClientAddress;
use seawall_engine::decision::Enforce;
use seawall_engine::detection::{Detector, Settings};
use seawall_engine::observation::{ClientHistory, Cost, Observation, Outcome};
use seawall_engine::units::Timestamp;
use seawall_trial::background::{Synthetic, browsers};
use seawall_trial::world::{self, World};
use seawall_trial::{Dice, Sent};

fn requests(count: usize) -> Vec<Sent> {
    let (mut dice, agents) = (Dice::new(1), browsers());
    let one = |dice: &mut Dice| {
        let page = Synthetic::page(dice);
        let mut sent = Sent::get(dice.address(20, 3000), page, agents[dice.below(agents.len())].clone());
        sent.referer = Some("https://www.google.com/search?q=seawall".to_owned());
        sent.query = dice.chance(0.3).then(|| format!("id={}&page=2", dice.below(1000)));
        sent
    };
    (0..count).map(|_| one(&mut dice)).collect()
}

fn observation(sent: &Sent, at: Timestamp) -> Observation<'_> {
    Observation {
        at,
        client: Some(ClientAddress::new(sent.client)),
        request: sent.request(),
        outcome: Outcome::Served { status: sent.status },
        cost: Cost {
            requests: 1,
            bytes: sent.bytes,
            upstream_time: sent.upstream,
            connection_time: sent.upstream,
            ..Cost::default()
        },
        weight: 1.0,
        history: ClientHistory::default(),
    }
}

/// Observations at this rate: at 1,000/s every one is kept, at 20,000/s one in twenty.
fn observe(criterion: &mut Criterion) {
    let sent = requests(4096);
    for rate in [1_000_u64, 5_000, 20_000] {
        let mut detector = Detector::new(Settings::default());
        let mut at = Timestamp::from_seconds(world::START);
        let mut number = 0;
        criterion.bench_function(&format!("observe at {rate}/s"), |bencher| {
            bencher.iter(|| {
                number = (number + 1) % sent.len();
                at = at + Duration::from_micros(1_000_000 / rate);
                detector.observe(black_box(&observation(&sent[number], at)));
            });
        });
    }
}

/// A week, ten seconds out of each five minutes, with ticks; the time of making up the traffic is part of it.
fn learn(criterion: &mut Criterion) {
    let world = World::warm(1, Enforce::Never);
    let mut group = criterion.benchmark_group("learn");
    group.sample_size(10);
    group.bench_function(format!("a week of {} observations", world.tally.wanted), |bencher| {
        bencher.iter(|| World::warm(1, Enforce::Never).tally.wanted);
    });
}

criterion_group!(benches, observe, learn);
criterion_main!(benches);
