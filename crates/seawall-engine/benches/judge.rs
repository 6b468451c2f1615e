//! The cost of one judgement with sixteen rules and sixty-four limits. Limit: 300 ns.

mod judging;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use judging::{Judging, LAST_RULE, LIMITED, ORDINARY};
use seawall_engine::gate::Judgement;

fn judge(criterion: &mut Criterion) {
    let mut judging = Judging::new();
    // What is measured is what it is called.
    assert_eq!(judging.judge(&ORDINARY), Judgement::Pass);
    assert!(matches!(judging.judge(&LAST_RULE), Judgement::Refuse { .. }));
    assert_eq!(judging.judge(&LIMITED), Judgement::ClientLimit);
    for (name, request) in
        [("judge ordinary", ORDINARY), ("judge last rule", LAST_RULE), ("judge limited client", LIMITED)]
    {
        criterion.bench_function(name, |bencher| bencher.iter(|| judging.judge(black_box(&request))));
    }
}

criterion_group!(benches, judge);
criterion_main!(benches);
