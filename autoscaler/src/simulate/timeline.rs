//! What a plot of one run is made from.

use super::{
    clock::{Micros, seconds},
    outcome::Sample,
    tally::quantile,
    world::{Phase, Timer, World},
};

/// With more samples than this it is thinned out, and ends with at least half of them.
const SAMPLES_MAX: usize = 1200;

const FIRST_PERIOD: Micros = 2_000_000;

pub(super) struct Timeline {
    samples: Vec<Sample>,
    period: Micros,
    /// Answers that the samples cover.
    covered: usize,
}

impl Timeline {
    pub(super) fn new(world: &mut World<'_>) -> Self {
        world.after(FIRST_PERIOD, Timer::Sample);
        Self { samples: Vec::new(), period: FIRST_PERIOD, covered: 0 }
    }

    pub(super) fn sample(&mut self, world: &mut World<'_>, want: u32) {
        let mut answers = world.tally.latencies[self.covered..].to_vec();
        self.covered = world.tally.latencies.len();
        self.samples.push(Sample {
            at: seconds(world.now),
            queue: world.work.waiting() as u64 + world.work.in_flight,
            want,
            ready: world.count(Phase::Ready),
            starting: world.count(Phase::Starting),
            p95: quantile(&mut answers, 0.95),
        });
        if self.samples.len() > SAMPLES_MAX {
            self.thin_out();
        }
        world.after(self.period, Timer::Sample);
    }

    pub(super) fn into_samples(self) -> Vec<Sample> {
        self.samples
    }

    /// Two samples become one, with the worse of what they show.
    fn thin_out(&mut self) {
        let one_of = |pair: &[Sample]| {
            let last = pair[pair.len() - 1];
            pair.iter().fold(last, |worst, sample| Sample {
                queue: worst.queue.max(sample.queue),
                p95: worst.p95.max(sample.p95),
                ..worst
            })
        };
        self.samples = self.samples.chunks(2).map(one_of).collect();
        self.period *= 2;
    }
}
