//! The cost of one look into an incident with as many requests as the sample holds: trigger, search, crowd test, ladder. Each is after a
//! minute of a thousand requests a second in which nothing tells the flood, so that looks go on every second.
//!
//! Limit: 20 ms, which is what detection may take in a second.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use seawall_engine::decision::Enforce;
use seawall_engine::detection::Surroundings;
use seawall_trial::world::{Traffic, World, stressed};
use seawall_trial::{control, family};

/// How long after the last look the next one is due.
const INTERVAL: Duration = Duration::from_secs(1);

fn look(criterion: &mut Criterion) {
    let flood = family::ALL.iter().find(|family| family.name == "1,000/s: copies").map(|family| family.traffic);
    let crowd = control::ALL.iter().find(|control| control.name == "crowd: 1,000/s").map(|control| control.traffic);
    for (name, traffic) in [("copies", flood), ("a crowd", crowd)] {
        let mut traffic: Box<dyn Traffic> = traffic.map(|traffic| traffic()).expect("the trial has it");
        let mut world = World::warm(1, Enforce::OnExcess);
        world.pressure = stressed();
        world.run_beside(Duration::from_secs(90), &mut *traffic);
        assert!(!world.detector().is_calm(), "an incident is open");
        criterion.bench_function(&format!("look at {name}, 1,000 requests a second"), |bencher| {
            bencher.iter_batched_ref(
                || world.clone(),
                |world| {
                    let now = world.now + INTERVAL;
                    black_box(world.detector().tick(now, &Surroundings::default()))
                },
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = look
}
criterion_main!(benches);
