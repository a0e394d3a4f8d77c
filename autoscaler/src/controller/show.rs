//! How things are, for people and for gateways.

use proto::v1;

use super::Controller;
use crate::{
    asked::Asked,
    clock::timestamp,
    decide::{Decision, InstanceState, Observation},
    shared::View,
    wire,
};

impl Controller {
    /// Shows how things are: to people, and to gateways.
    pub(super) fn publish(&self, decision: Option<&Decision>) {
        let observation = self.observe();
        let next_ready_time = self.roster.next_ready(observation.at).map(timestamp);
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
        };
        self.shared.capacity.send_if_modified(|last| {
            let changed = *last != capacity;
            *last = capacity;
            changed
        });
        let status = v1::GetStatusResponse {
            cloud_calls: self.cloud_calls(),
            policy: Some(wire::policy(&self.policy)),
            want: decision.map_or_else(|| self.last_want(), |decision| decision.want),
            last_change: self.shared.log.last_change().map(|decision| (*decision).clone()),
            leader: self.leading.is_some(),
            paused: shown.paused,
            predicted_p95: None,
            next_ready_time,
            cost_per_hour_usd: 0.0,
            warnings: self.warnings(&observation),
            actual_p95: None,
            pause_in_force: None,
            override_in_force: None,
            observation: Some(shown),
        };
        let view = View { status, instances: self.roster.shown() };
        self.shared.view.send_if_modified(|last| {
            let changed = !is_same(last, &view);
            *last = view;
            changed
        });
    }

    /// What was wanted last, by us or by whoever leads.
    fn last_want(&self) -> u32 {
        match self.leading {
            Some(_) => self.shared.view.borrow().status.want,
            None => self.shared.log.last().map_or(0, |decision| decision.want),
        }
    }

    fn cloud_calls(&self) -> Vec<v1::CloudCalls> {
        #[cfg(feature = "aws")]
        self.shared.calls().report("autoscaler", &platform::aws::calls());
        self.shared.calls().totals()
    }

    fn warnings(&self, observation: &Observation) -> Vec<String> {
        let mut warnings: Vec<_> =
            [&self.fleet_problem, &self.log_problem].into_iter().flatten().cloned().collect();
        warnings.extend(self.breaker.warning(observation.at));
        warnings.extend(self.fleet.warnings());
        warnings.extend(self.asked.as_ref().and_then(Asked::warning));
        match observation.queue.as_of {
            _ if self.epoch().is_none() => {
                warnings.push(
                    "another autoscaler leads: this one shows what it decided, and does nothing".to_owned(),
                );
            }
            None => warnings.push("no gateway is connected: the fleet is held as it is".to_owned()),
            Some(as_of) => {
                let age = observation.at.saturating_sub(as_of);
                if age > self.policy.stale_after {
                    let age = age.as_secs_f64();
                    warnings.push(format!(
                        "a gateway's counts are {age:.0} s old: nothing is stopped on their word"
                    ));
                }
            }
        }
        let lost = observation.instances.iter().filter(|one| one.state == InstanceState::Lost).count();
        if lost > 0 {
            warnings.push(format!("{lost} workers are lost and being stopped"));
        }
        warnings
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
