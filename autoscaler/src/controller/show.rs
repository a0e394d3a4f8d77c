//! How things are, for people and for gateways.

use proto::v1;

use super::Controller;
use crate::{
    clock::timestamp,
    decide::{Decision, InstanceState, Rule, SLOW_WINDOW},
    shared::View,
    wire,
};

impl Controller {
    /// Shows how things are: to people, and to gateways.
    pub(super) fn publish(&self, decision: Option<&Decision>) {
        let observation = self.observe();
        let asked = self.asked.as_ref();
        let next_asked = asked.and_then(|asked| asked.next_ready(observation.at, observation.boot.warm));
        let next_ready_time = self.roster.next_ready(observation.at).or(next_asked).map(timestamp);
        let shown = wire::observation(&observation);
        let fleet = shown.fleet.clone().unwrap_or_default();
        let images_per_second = {
            let members = self.shared.members();
            let ready = observation.instances.iter().filter(|one| one.state == InstanceState::Ready);
            ready.filter_map(|one| members.get(&one.instance_id)?.rate()).sum()
        };
        let capacity = proto::internal::v1::GatewaySessionResponse {
            ready: fleet.ready,
            starting: fleet.starting,
            next_ready_time,
            images_per_second,
            latency_target: match &self.words.policy().rule {
                Rule::Latency(latency) => Some(platform::time::to_proto(latency.target)),
                Rule::Step(_) | Rule::Backlog(_) | Rule::Fixed(_) => None,
            },
        };
        self.shared.capacity.send_if_modified(|last| {
            let changed = *last != capacity;
            *last = capacity;
            changed
        });
        let last_minute = observation.at.saturating_sub(SLOW_WINDOW);
        let latencies = self.shared.load().latency(last_minute, observation.at);
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
