//! New instances in the model of the cloud.

use tokio::time::Instant;

use super::{SimCloud, SimInstance, State};
use crate::fleet::cloud::{CloudInstance, CloudState, LaunchOrder, Launched, Market, Offering};

impl SimCloud {
    /// One offering after the other, as far as each of them goes.
    pub(super) fn launch_new(&self, state: &mut State, order: &LaunchOrder) -> Launched {
        let template = [Offering::default()];
        let offerings = if order.offerings.is_empty() { &template[..] } else { &order.offerings };
        let mut launched = Launched::default();
        for offering in offerings {
            let missing = order.count as usize - launched.instance_ids.len();
            let free = state.free(offering, self.options.capacity);
            for _ in 0..missing.min(free) {
                launched.instance_ids.push(self.make(state, offering, order));
            }
            if free < missing {
                launched.exhausted.push(offering.clone());
            }
        }
        launched
    }

    pub(super) fn make(&self, state: &mut State, offering: &Offering, order: &LaunchOrder) -> String {
        state.made += 1;
        let instance_id = format!("i-{:017x}", state.made);
        let instance = CloudInstance {
            instance_id: instance_id.clone(),
            state: CloudState::Pending,
            instance_type: offering.instance_type.clone().unwrap_or_else(|| "sim.small".to_owned()),
            zone: offering.subnet.clone().unwrap_or_else(|| "sim-1a".to_owned()),
            spot: order.market == Market::Spot,
            launch_time: self.clock.now(),
            tags: order.tags.clone(),
            reason: String::new(),
        };
        let now = Instant::now();
        let mut made = SimInstance::new(offering.clone(), order.market, now, instance);
        made.go(now, CloudState::Pending, CloudState::Running, self.options.boot);
        state.instances.insert(instance_id.clone(), made);
        instance_id
    }
}
