//! One decision about 5,000 instances: to take less than 2 ms.

use std::{hint::black_box, time::Duration};

use autoscaler::decide::{
    Arrivals, Boot, Instance, InstanceState, Latency, Observation, Paused, Policy, Queue, Rule, Service,
    State, Supply, decide,
};
use criterion::{Criterion, criterion_group, criterion_main};

const INSTANCES: u32 = 5000;

/// Any moment will do.
const START: Duration = Duration::from_secs(1_704_067_200);

/// As many decisions as leave a state that remembers all it can of the last minutes.
const EARLIER: u32 = 600;

fn bench(criterion: &mut Criterion) {
    let policy = Policy {
        rule: Rule::Latency(Latency {
            target: Duration::from_secs(60),
            quantile: 0.95,
            hold_max: Duration::from_secs(300),
        }),
        min_instances: 0,
        max_instances: INSTANCES,
        hold: None,
        keep: Duration::from_secs(120),
        stale_after: Duration::from_secs(15),
        floors: Vec::new(),
        version: 1,
    };
    let mut state = State::default();
    for tick in 0..EARLIER {
        state = decide(&observation(tick, 2500.0, 0), &state, &policy).1;
    }
    let cases = [
        ("5000_instances_quiet", observation(EARLIER, 2500.0, 0)),
        ("5000_instances_in_a_crowd", observation(EARLIER, 4000.0, 60_000)),
        ("5000_instances_to_shrink", observation(EARLIER, 300.0, 0)),
    ];
    for (name, seen) in cases {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| black_box(decide(black_box(&seen), &state, &policy)));
        });
    }
}

/// 3,000 ready, 500 starting, the others stopped; 1.2 s an image.
fn observation(tick: u32, rate: f64, visible: u64) -> Observation {
    let at = START + Duration::from_secs(2) * tick;
    let instance = |number: u32| {
        let (state, since) = match number % 10 {
            0..6 => (InstanceState::Ready, Duration::from_secs(300)),
            6 => (InstanceState::Starting, Duration::from_millis(u64::from(number) % 40_000)),
            _ => (InstanceState::Stopped, Duration::from_secs(600)),
        };
        Instance {
            instance_id: format!("i-{number:017}").into(),
            state,
            since: at - since,
            cold: false,
            paid_until: at - since + Duration::from_secs(60),
            busy_slots: u32::from(state == InstanceState::Ready),
            owned: true,
            given_up: false,
        }
    };
    let total = u64::from(tick) * 5000;
    let second = Duration::from_secs(1);
    Observation {
        at,
        queue: Queue {
            visible,
            in_flight: 3000,
            oldest_age: second * 10,
            as_of: Some(at),
            ..Queue::default()
        },
        arrivals: Arrivals {
            latest: rate,
            fast: rate,
            slow: 2500.0,
            total,
            completed: total.saturating_sub(3000),
            late: 0,
        },
        service: Service { mean: second.mul_f64(1.2), p95: second.mul_f64(1.7), slots: 1.0 },
        late_ratio: 0.0,
        boot: Boot { warm: second * 40, cold: second * 90 },
        instances: (0..INSTANCES).map(instance).collect(),
        supply: Supply {
            launchable: 0,
            start_tokens: 1000.0,
            start_tokens_per_second: 2.0,
            stopped_max: INSTANCES,
            paid_min: second * 60,
        },
        paused: Paused::default(),
        asked: None,
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
