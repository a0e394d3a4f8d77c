//! What is seen at one moment: the fleet, the workers, the load, and what operators said.

use super::Controller;
use crate::{
    asked::Asked,
    decide::{Boot, InstanceState, Observation, Supply},
};

impl Controller {
    /// Takes in how the fleet is. False when it does not say.
    pub(super) async fn look(&mut self) -> bool {
        let machines = match self.fleet.list().await {
            Ok(machines) => machines,
            Err(error) => {
                tracing::warn!(%error, "list instances");
                self.fleet_problem = Some(format!("the fleet cannot be listed: {error}"));
                return false;
            }
        };
        self.fleet_problem = None;
        let at = self.shared.clock.now();
        let changes = self.roster.update(at, &machines, &mut self.shared.members());
        if let Some(asked) = &mut self.asked {
            asked.look(at, &self.roster.instances(&self.shared.members()));
        }
        if self.leading.is_some() {
            for change in changes {
                self.settle(at, change).await;
            }
        }
        true
    }

    pub(super) fn observe(&self) -> Observation {
        let at = self.shared.clock.now();
        let (queue, arrivals, late_ratio) = {
            let mut load = self.shared.load();
            (load.observe(at), load.arrivals(at), load.late_ratio(at))
        };
        let (service, mut instances) = {
            let mut members = self.shared.members();
            (members.service(), self.roster.instances(&members))
        };
        if let Some(asked) = &self.asked {
            asked.show(&mut instances);
        }
        let starting = instances.iter().filter(|instance| instance.state == InstanceState::Starting).count();
        let starting = u32::try_from(starting).unwrap_or(u32::MAX);
        let fleet = self.fleet.supply();
        let supply = Supply {
            launchable: fleet.launchable,
            start_tokens: fleet.start_tokens.min(self.breaker.tokens(at, starting)),
            start_tokens_per_second: fleet.start_tokens_per_second.min(self.breaker.tokens_per_second()),
            stopped_max: fleet.stopped_max,
            paid_min: self.roster.paid_min(),
        };
        let asked_boot =
            self.asked.as_ref().and_then(Asked::boot).map(|boot| Boot { warm: boot, cold: boot });
        let boot = asked_boot.unwrap_or_else(|| self.roster.boot());
        let paused = self.words.paused();
        let asked = self.words.asked();
        Observation { at, queue, arrivals, service, late_ratio, boot, instances, supply, paused, asked }
    }
}
