//! Ten million simulated requests on up to 5,000 instances: to take less than 5 s of CPU.

use std::hint::black_box;

use autoscaler::simulate::{self, Contender, RunOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn ten_million(criterion: &mut Criterion) {
    let scenario = simulate::find("ten_million").expect("a scenario of that name");
    let latency = Contender::latency(scenario.target);
    let mut group = criterion.benchmark_group("simulate");
    group.sample_size(10).throughput(Throughput::Elements(10_000_000));
    group.bench_function("ten_million", |bencher| {
        bencher.iter(|| {
            let player = latency.player(&scenario, 1);
            black_box(simulate::run(&scenario, player, 1, RunOptions::default()))
        });
    });
    group.finish();
}

criterion_group!(benches, ten_million);
criterion_main!(benches);
