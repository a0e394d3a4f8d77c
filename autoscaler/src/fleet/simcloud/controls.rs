//! What happens to a cloud from outside: for tests and trials.

use tokio::time::Instant;

use super::{Api, SimCloud, SimInstance};
use crate::fleet::cloud::{CloudInstance, CloudState, LaunchOrder, Market, Offering, Tags};

impl SimCloud {
    /// Every instance as it is now, with or without the fleet's tag, terminated ones included.
    pub fn instances(&self) -> Vec<CloudInstance> {
        let now = Instant::now();
        self.state().instances.values().filter_map(|instance| instance.at(now)).cloned().collect()
    }

    pub fn count(&self, state: CloudState) -> usize {
        self.instances().iter().filter(|instance| instance.state == state).count()
    }

    /// Adds a stopped instance with these tags, as somebody else would have made it.
    pub fn add_stopped(&self, tags: Tags) -> String {
        let order = LaunchOrder {
            count: 1,
            client_token: String::new(),
            market: Market::OnDemand,
            offerings: Vec::new(),
            tags,
        };
        let mut state = self.state();
        let instance_id = self.make(&mut state, &Offering::default(), &order);
        if let Some(instance) = state.instances.get_mut(&instance_id) {
            instance.change(Instant::now(), |instance| instance.state = CloudState::Stopped);
        }
        instance_id
    }

    /// How many of an offering can run at once from now on.
    pub fn set_capacity(&self, offering: Offering, capacity: usize) {
        self.state().capacity.insert(offering, capacity);
    }

    /// The next `count` calls of this kind are refused.
    pub fn refuse(&self, api: Api, count: u32) {
        self.state().throttle.refuse.insert(api, count);
    }

    /// Calls of this kind so far.
    pub fn calls(&self, api: Api) -> u64 {
        self.state().throttle.calls.get(&api).copied().unwrap_or(0)
    }

    /// The next launch is done, and its answer never comes.
    pub fn swallow_next_launch(&self) {
        self.state().silent_launches = 1;
    }

    /// From now on no call gets through, or all do again.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.state().unreachable = unreachable;
    }

    /// Ends it at once, as a host that fails or a spot interruption does: on-demand instances are stopped, spot ones
    /// terminated.
    pub fn kill(&self, instance_id: &str) {
        let now = Instant::now();
        if let Some(instance) = self.state().instances.get_mut(instance_id) {
            let spot = instance.market == Market::Spot;
            instance.change(now, |instance| {
                instance.state = if spot { CloudState::Terminated } else { CloudState::Stopped };
                let reason = if spot {
                    "Server.SpotInstanceTermination: Spot instance termination"
                } else {
                    "Server.InternalError: Internal error on launch"
                };
                reason.clone_into(&mut instance.reason);
            });
        }
    }

    /// From now on no call knows it, though `describe` goes on listing it.
    pub fn remove(&self, instance_id: &str) {
        self.state().removed.insert(instance_id.to_owned());
    }

    pub fn set_console(&self, instance_id: &str, output: &str) {
        self.state().consoles.insert(instance_id.to_owned(), output.to_owned());
    }

    pub fn state_of(&self, instance_id: &str) -> Option<CloudState> {
        let now = Instant::now();
        self.state().instances.get(instance_id).map(|instance: &SimInstance| instance.state(now))
    }
}
