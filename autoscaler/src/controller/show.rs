//! How things are, for people and for gateways.

use proto::v1;

use super::Controller;
use crate::{
    asked::Asked,
    clock::timestamp,
    decide::{Decision, Instance, InstanceState, Observation, Rule, SLOW_WINDOW},
    members::Member,
    shared::View,
    wire,
};

impl Controller {
    /// Shows how things are: to people, and to gateways.
    pub(super) fn publish(&self, decision: Option<&Decision>) {
        let observation = self.observe();
        let asked = self.asked.as_ref();
        let ready_asked = asked.and_then(|asked| asked.ready_times(observation.at, observation.boot.warm));
        let ready_times = self.roster.ready_times(observation.at).or(ready_asked);
        let next_ready_time = ready_times.map(|(next, _)| timestamp(next));
        let shown = wire::observation(&observation);
        let fleet = shown.fleet.clone().unwrap_or_default();
        let (images_per_second, worker_images_per_second) = self.rates(&observation);
        let boot = asked.and_then(Asked::boot).or_else(|| self.roster.measured_boot());
        let capacity = proto::internal::v1::GatewaySessionResponse {
            ready: fleet.ready,
            starting: fleet.starting,
            next_ready_time,
            images_per_second,
            latency_target: match &self.words.policy().rule {
                Rule::Latency(latency) => Some(platform::time::to_proto(latency.target)),
                Rule::Step(_) | Rule::Backlog(_) | Rule::Fixed(_) => None,
            },
            boot: boot.map(platform::time::to_proto),
            worker_images_per_second,
            all_ready_time: ready_times.map(|(_, all)| timestamp(all)),
            // Each gateway is told its own.
            others_waiting: 0,
        };
        self.shared.capacity.send_if_modified(|last| {
            let changed = *last != capacity;
            *last = capacity;
            changed
        });
        let last_minute = observation.at.saturating_sub(SLOW_WINDOW);
        let latencies = self.shared.load().latency(last_minute, observation.at);
        let actual_p50 = latencies.map(|latencies| platform::time::to_proto(latencies.p50));
        let actual_p95 = latencies.map(|latencies| platform::time::to_proto(latencies.p95));
        let instances = self.roster.shown();
        let billed = instances.iter().filter(|instance| instance.billed_since.is_some()).count();
        let mut status = v1::GetStatusResponse {
            cloud_calls: self.cloud_calls(),
            policy: Some(wire::policy(self.words.policy())),
            want: decision.map_or_else(|| self.last().want, |decision| decision.want),
            last_change: self.shared.log.last_change().map(|decision| (*decision).clone()),
            leader: self.leading.is_some(),
            paused: shown.paused,
            predicted_p95: match decision {
                Some(decision) => decision.prediction.p95.map(platform::time::to_proto),
                None => self.last().predicted_p95,
            },
            next_ready_time,
            cost_per_hour_usd: billed as f64 * self.price_per_hour_usd,
            warnings: self.warnings(&observation),
            actual_p95,
            skipped: Some(self.shared.members().skipped()),
            actual_p50,
            pause_in_force: self.words.shown_pause(),
            override_in_force: self.words.shown_override(),
            observation: Some(shown),
        };
        if self.leading.is_none() {
            self.show_leaders(&mut status);
        }
        let view = View { status, instances };
        // To compare two views of thousands of instances takes longer than to decide.
        let watched = self.shared.view.receiver_count() > 0;
        self.shared.view.send_if_modified(|last| {
            let changed = watched && !is_same(last, &view);
            *last = view;
            changed
        });
    }

    /// Images a second: of the ready workers together, and of one; 0 until one was measured.
    fn rates(&self, observation: &Observation) -> (f64, f64) {
        let mut members = self.shared.members();
        let each = members.measured_rate();
        let ready = observation.instances.iter().filter(|one| one.state == InstanceState::Ready);
        // One that has not measured yet is taken for one like the others.
        let rate = |one: &Instance| members.get(&one.instance_id).and_then(Member::rate).or(each);
        (ready.filter_map(rate).sum(), each.unwrap_or(0.0))
    }

    /// What was shown last.
    fn last(&self) -> v1::GetStatusResponse {
        self.shared.view.borrow().status.clone()
    }

    /// What the leader decided last, and what it is told by operators: it keeps that where we read it.
    fn show_leaders(&self, status: &mut v1::GetStatusResponse) {
        let Some(last) = self.shared.log.last() else { return };
        status.want = last.want;
        status.policy.clone_from(&last.policy);
        status.predicted_p95 = last.predicted_p95;
        if let Some(seen) = &last.observation {
            status.paused = seen.paused;
            status.pause_in_force.clone_from(&seen.pause_in_force);
            status.override_in_force.clone_from(&seen.override_in_force);
        }
    }

    fn cloud_calls(&self) -> Vec<v1::CloudCalls> {
        #[cfg(feature = "aws")]
        self.shared.calls().report("autoscaler", &platform::aws::calls());
        self.shared.calls().totals()
    }
}

/// Whether two views say the same, whatever the time they were taken.
fn is_same(last: &View, now: &View) -> bool {
    let timeless = |view: &View| {
        let mut view = view.clone();
        // Counted all the time, and nobody waits for it.
        view.status.cloud_calls.clear();
        if let Some(observation) = &mut view.status.observation {
            observation.time = None;
            if let Some(queue) = &mut observation.queue {
                queue.as_of = None;
            }
        }
        for instance in &mut view.instances {
            instance.heartbeat_time = None;
        }
        view
    };
    timeless(last) == timeless(now)
}
