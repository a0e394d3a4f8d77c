//! What nobody can beat without letting images wait: a fleet that knows the whole load beforehand.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    clock::{Micros, NEVER, micros, seconds},
    random::{LogNormal, Purpose, Stream},
    scenario::Scenario,
    tally::quantile,
};

/// Times are in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bound {
    pub p95: f64,
    pub instance_hours: f64,
    /// What the work alone takes.
    pub work_hours: f64,
    pub starts: u64,
}

/// An instance from when its first image comes until its last one is done.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Micros,
    until: Micros,
}

/// Every instance is ready at the moment it is needed, and nobody waits unless all of them are busy.
/// One that is idle for less than a boot stays: it costs less than to start it again. Only for workers
/// that take one image at a time.
pub fn clairvoyant(scenario: &Scenario, seed: u64) -> Bound {
    let mut arrivals = scenario.arrivals.generate(&scenario.name, seed);
    let service = LogNormal::new(scenario.service.mean, scenario.service.variation);
    let mut stream = Stream::new(&scenario.name, seed, Purpose::Service);
    let mut fleet =
        Fleet { boot: micros(scenario.boot.warm), least: micros(scenario.billed_min), ..Fleet::default() };
    let most = usize::try_from(scenario.max_instances).unwrap_or(usize::MAX);
    let (mut latencies, mut worked) = (Vec::new(), 0);
    loop {
        let at = arrivals.next();
        if at == NEVER {
            break;
        }
        let takes = micros(service.draw(&mut stream));
        worked += takes;
        let done = fleet.take(at, takes, most);
        #[allow(clippy::cast_possible_truncation, reason = "only sorted")]
        latencies.push(seconds(done - at) as f32);
    }
    fleet.end();
    Bound {
        p95: quantile(&mut latencies, 0.95),
        instance_hours: seconds(fleet.billed) / 3600.0,
        work_hours: seconds(worked) / 3600.0,
        starts: fleet.starts,
    }
}

#[derive(Default)]
struct Fleet {
    boot: Micros,
    /// Paid for each start.
    least: Micros,
    instances: Vec<Span>,
    /// The lowest number first, so that the highest ones have the longest pauses.
    idle: BinaryHeap<Reverse<usize>>,
    /// By when they are done.
    busy: BinaryHeap<Reverse<(Micros, usize)>>,
    billed: Micros,
    starts: u64,
}

impl Fleet {
    /// When an image is done.
    fn take(&mut self, at: Micros, takes: Micros, most: usize) -> Micros {
        while let Some(&Reverse((until, instance))) = self.busy.peek()
            && until <= at
        {
            self.busy.pop();
            self.idle.push(Reverse(instance));
        }
        let (from, instance) = if let Some(Reverse(instance)) = self.idle.pop() {
            (at, instance)
        } else if self.instances.len() < most {
            self.instances.push(Span { from: at, until: at });
            (at, self.instances.len() - 1)
        } else if let Some(Reverse((until, instance))) = self.busy.pop() {
            (until, instance)
        } else {
            // A fleet of none: nothing is ever done.
            return NEVER;
        };
        let span = self.instances[instance];
        if from - span.until >= self.boot && span.until > span.from {
            self.pay(span);
            self.instances[instance].from = from;
        }
        self.instances[instance].until = from + takes;
        self.busy.push(Reverse((from + takes, instance)));
        from + takes
    }

    fn end(&mut self) {
        for span in std::mem::take(&mut self.instances) {
            self.pay(span);
        }
    }

    fn pay(&mut self, span: Span) {
        self.billed += (span.until - span.from + self.boot).max(self.least);
        self.starts += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Arrivals, find};

    #[test]
    fn nobody_waits_and_each_start_is_paid_with_its_boot() {
        let mut scenario = Scenario::new("bound", "", Arrivals::trace("0\n1\n20\n1000\n"));
        scenario.service.variation = 0.0;
        let bound = clairvoyant(&scenario, 1);
        assert_eq!(bound.p95, 3.0);
        // Two at first, each for a minute at least: 63 s and 60 s. And one of them again.
        assert_eq!((bound.starts, bound.instance_hours * 3600.0), (3, 63.0 + 60.0 + 60.0));
        assert_eq!(bound.work_hours * 3600.0, 12.0);
    }

    #[test]
    fn burst_is_bounded_as_the_trial_says() {
        let bound = clairvoyant(&find("burst").unwrap(), 1);
        assert!((bound.p95 - 14.2).abs() < 0.3, "{bound:?}");
        assert!((bound.instance_hours - 0.333).abs() < 0.001, "{bound:?}");
    }
}
