//! Ten million simulated requests on up to 5,000 instances: to take less than 5 s of CPU.

use std::{hint::black_box, time::Duration};

use autoscaler::{
    decide::{Latency, Policy, Rule},
    simulate::{self, Player, RunOptions},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn ten_million(criterion: &mut Criterion) {
    let scenario = simulate::find("ten_million").expect("a scenario of that name");
    let target = Duration::from_secs_f64(scenario.target);
    let policy = Policy {
        rule: Rule::Latency(Latency { target, quantile: 0.95, hold_max: Duration::from_secs(300) }),
        min_instances: scenario.min_instances,
        max_instances: scenario.max_instances,
        hold: None,
        keep: Duration::from_secs(120),
        stale_after: target / 4,
        floors: Vec::new(),
        version: 1,
    };
    let mut group = criterion.benchmark_group("simulate");
    group.sample_size(10).throughput(Throughput::Elements(10_000_000));
    group.bench_function("ten_million", |bencher| {
        bencher.iter(|| {
            let player = Player::Ours(policy.clone());
            black_box(simulate::run(&scenario, player, 1, RunOptions::default()))
        });
    });
    group.finish();
}

criterion_group!(benches, ten_million);
criterion_main!(benches);
