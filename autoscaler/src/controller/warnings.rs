//! What a person should know.

use std::time::Duration;

use super::Controller;
use crate::{
    asked::Asked,
    decide::{Instance, InstanceState, Observation, Rule},
};

/// A worker that takes twice as long as others do to come is one to look after.
const LATE_BOOTS: u32 = 2;

impl Controller {
    pub(super) fn warnings(&self, observation: &Observation) -> Vec<String> {
        if self.epoch().is_none() {
            let follows = "another autoscaler leads: this one shows what it decided, and does nothing";
            let ours = self.fleet_problem.iter().cloned().chain(self.fleet.warnings());
            return ours.chain([follows.to_owned()]).collect();
        }
        let problems = [&self.fleet_problem, &self.log_problem, &self.memory.problem];
        let mut warnings: Vec<_> = problems.into_iter().flatten().cloned().collect();
        warnings.extend(self.words.warnings());
        warnings.extend(self.breaker.warning(observation.at));
        warnings.extend(self.fleet.warnings());
        warnings.extend(self.shared.load().warnings());
        warnings.extend(self.asked.as_ref().and_then(Asked::warning));
        warnings.extend(self.stale_counts(observation));
        warnings.extend(silent_workers(observation));
        warnings.extend(self.infeasible_target(observation));
        warnings
    }

    /// Counts that are too old to stop anything on their word, or are not there.
    fn stale_counts(&self, observation: &Observation) -> Option<String> {
        let Some(as_of) = observation.queue.as_of else {
            return Some("no gateway is connected: the fleet is held as it is".to_owned());
        };
        if observation.queue.approximate {
            let own = "not all gateways have reported: the queue's own counts stand in";
            return Some(format!("{own}, and nothing is stopped on their word"));
        }
        let age = observation.at.saturating_sub(as_of);
        let age = (age > self.words.policy().stale_after).then_some(age.as_secs_f64())?;
        Some(format!("a gateway's counts are {age:.0} s old: nothing is stopped on their word"))
    }

    /// A target that an image misses whenever it has to wait for an instance to start.
    fn infeasible_target(&self, observation: &Observation) -> Option<String> {
        let Rule::Latency(latency) = &self.words.policy().rule else { return None };
        let (boot, service) = (observation.boot.warm, observation.service.p95);
        (latency.target < boot + service).then(|| {
            format!(
                "the target of {} is shorter than a start ({}) and an image ({}): what finds no worker ready is late; \
                 min_instances or a schedule keeps some ready",
                seconds(latency.target),
                seconds(boot),
                seconds(service)
            )
        })
    }
}

/// Workers that are lost, and those that should have come by now.
fn silent_workers(observation: &Observation) -> impl Iterator<Item = String> {
    let count =
        |fits: &dyn Fn(&Instance) -> bool| observation.instances.iter().filter(|one| fits(one)).count();
    let lost = count(&|one| one.state == InstanceState::Lost);
    let late = count(&|one| {
        let boot = if one.cold { observation.boot.cold } else { observation.boot.warm };
        one.state == InstanceState::Starting && observation.at.saturating_sub(one.since) > boot * LATE_BOOTS
    });
    let lost = (lost > 0).then(|| format!("{lost} workers are lost and being stopped"));
    let late = (late > 0)
        .then(|| format!("{late} workers have not registered, long after their instances were started"));
    lost.into_iter().chain(late)
}

fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}
