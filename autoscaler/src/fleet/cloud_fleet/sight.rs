//! What the fleet looks like: the last listing, corrected by what was done since and cannot show in it yet.

use std::{collections::BTreeMap, time::Duration};

use platform::{Error, Kind, Result};

use super::drains::DRAIN_TAG;
use crate::fleet::{
    Machine, MachineState,
    cloud::{CloudInstance, CloudState},
};

/// How long a listing is good when nothing is under way, and when something is.
const QUIET_PERIOD: Duration = Duration::from_secs(15);
const BUSY_PERIOD: Duration = Duration::from_secs(3);

/// How far the cloud's listing may be behind what was done: a started instance that is not seen yet is starting.
pub(super) const LAG: Duration = Duration::from_secs(60);

/// A listing this old says nothing about the fleet any more.
const USABLE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Sight {
    instances: BTreeMap<String, CloudInstance>,
    listed: Option<Duration>,
    /// Something was done since it was listed.
    outdated: bool,
    done: BTreeMap<String, (Done, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Launched { spot: bool },
    Started,
    Stopped,
    Terminated,
}

impl Sight {
    pub fn is_due(&self, at: Duration) -> bool {
        let Some(listed) = self.listed else { return true };
        let period = if self.is_busy() { BUSY_PERIOD } else { QUIET_PERIOD };
        self.outdated || at.saturating_sub(listed) >= period
    }

    /// Fine while the last listing is not too old.
    pub fn usable(&self, at: Duration) -> Result<()> {
        match self.listed {
            Some(listed) if at.saturating_sub(listed) < USABLE => Ok(()),
            _ => Err(Error::new(
                Kind::ServiceUnavailable,
                "the cloud refuses to list instances: too many calls",
            )),
        }
    }

    pub fn see(&mut self, at: Duration, instances: Vec<CloudInstance>) {
        self.instances = instances.into_iter().map(|one| (one.instance_id.clone(), one)).collect();
        self.listed = Some(at);
        self.outdated = false;
        self.done.retain(|_, (_, when)| *when + LAG > at);
    }

    pub fn launched(&mut self, instance_id: &str, spot: bool, at: Duration) {
        self.note(instance_id, Done::Launched { spot }, at);
    }

    pub fn started(&mut self, instance_id: &str, at: Duration) {
        self.note(instance_id, Done::Started, at);
    }

    pub fn stopped_by_us(&mut self, instance_id: &str, at: Duration) {
        self.note(instance_id, Done::Stopped, at);
    }

    pub fn terminated(&mut self, instance_id: &str, at: Duration) {
        self.note(instance_id, Done::Terminated, at);
    }

    /// The cloud says that there is no such instance, whatever it lists.
    pub fn unknown(&mut self, instance_id: &str) {
        self.instances.remove(instance_id);
        self.done.remove(instance_id);
    }

    /// Whether it has our tag, or was made by us a moment ago.
    pub fn is_ours(&self, instance_id: &str) -> bool {
        self.instances.contains_key(instance_id)
            || matches!(self.done.get(instance_id), Some((Done::Launched { .. }, _)))
    }

    pub fn is_spot(&self, instance_id: &str) -> bool {
        match self.instances.get(instance_id) {
            Some(instance) => instance.spot,
            None => matches!(self.done.get(instance_id), Some((Done::Launched { spot: true }, _))),
        }
    }

    /// The drain that is listed with it; empty for none.
    pub fn drain_tag(&self, instance_id: &str) -> &str {
        self.instances.get(instance_id).map_or("", drain_tag)
    }

    pub fn stopped(&self) -> u32 {
        let stopped = self.instances.values().filter(|one| one.state == CloudState::Stopped);
        u32::try_from(stopped.count()).unwrap_or(u32::MAX)
    }

    pub fn instances(&self) -> impl Iterator<Item = &CloudInstance> {
        self.instances.values().filter(|one| one.state != CloudState::Terminated)
    }

    /// What there is, in the order of the ids. `roomless`: stopped, and not to be had for now.
    pub fn machines(&mut self, at: Duration, roomless: impl Fn(&str) -> bool) -> Vec<Machine> {
        self.done.retain(|_, (_, when)| *when + LAG > at);
        let mut machines: BTreeMap<&str, Machine> = BTreeMap::new();
        for (instance_id, instance) in &self.instances {
            let done = self.done.get(instance_id).map(|(done, _)| *done);
            let Some(mut state) = state(instance.state, done) else { continue };
            // Nothing to start: for whoever decides it is as good as on its way out.
            if state == MachineState::Stopped && roomless(instance_id) {
                state = MachineState::Stopping;
            }
            machines.insert(instance_id, machine(instance, state));
        }
        for (instance_id, (done, when)) in &self.done {
            if let Done::Launched { spot } = done {
                machines.entry(instance_id).or_insert_with(|| Machine {
                    instance_id: instance_id.clone(),
                    state: MachineState::Pending,
                    instance_type: String::new(),
                    zone: String::new(),
                    spot: *spot,
                    billed_since: Some(*when),
                    exit: None,
                    draining: None,
                });
            }
        }
        machines.into_values().collect()
    }

    fn is_busy(&self) -> bool {
        use CloudState::{Pending, Running, ShuttingDown, Stopped, Stopping};
        let moves = |one: &CloudInstance| matches!(one.state, Pending | Stopping | ShuttingDown);
        let shows = |instance_id: &String, done: Done| {
            let listed = self.instances.get(instance_id).map(|one| one.state);
            match done {
                Done::Launched { .. } => listed.is_some(),
                Done::Started => listed == Some(Running),
                Done::Stopped => listed != Some(Running),
                Done::Terminated => !matches!(listed, Some(Running | Stopped)),
            }
        };
        self.instances.values().any(moves) || self.done.iter().any(|(id, (done, _))| !shows(id, *done))
    }

    fn note(&mut self, instance_id: &str, done: Done, at: Duration) {
        self.done.insert(instance_id.to_owned(), (done, at));
        self.outdated = true;
    }
}

/// A listing from before the call counts as what the call will make of it. `None`: it is gone.
fn state(listed: CloudState, done: Option<Done>) -> Option<MachineState> {
    use CloudState::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
    Some(match (listed, done) {
        (Terminated, _) => return None,
        (ShuttingDown, _) => MachineState::Stopping,
        (Stopped | Stopping, Some(Done::Started)) => MachineState::Pending,
        (Pending | Running, Some(Done::Stopped)) => MachineState::Stopping,
        (_, Some(Done::Terminated)) => MachineState::Stopping,
        (Pending, _) => MachineState::Pending,
        (Running, _) => MachineState::Running,
        (Stopping, _) => MachineState::Stopping,
        (Stopped, _) => MachineState::Stopped,
    })
}

fn machine(instance: &CloudInstance, state: MachineState) -> Machine {
    let billed = matches!(state, MachineState::Pending | MachineState::Running);
    Machine {
        instance_id: instance.instance_id.clone(),
        state,
        instance_type: instance.instance_type.clone(),
        zone: instance.zone.clone(),
        spot: instance.spot,
        billed_since: billed.then_some(instance.launch_time),
        exit: (!instance.reason.is_empty()).then(|| instance.reason.clone()),
        draining: Some(drain_tag(instance)).filter(|written| !written.is_empty()).map(str::to_owned),
    }
}

fn drain_tag(instance: &CloudInstance) -> &str {
    instance.tags.get(DRAIN_TAG).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::cloud::Tags;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    fn instance(state: CloudState) -> CloudInstance {
        CloudInstance {
            instance_id: "i-1".to_owned(),
            state,
            instance_type: String::new(),
            zone: String::new(),
            spot: false,
            launch_time: at(0),
            tags: Tags::new(),
            reason: String::new(),
        }
    }

    fn seen(sight: &mut Sight, seconds: u64) -> Option<MachineState> {
        sight.machines(at(seconds), |_| false).first().map(|machine| machine.state)
    }

    #[test]
    fn launched_instance_that_is_not_listed_is_starting_for_a_minute() {
        let mut sight = Sight::default();
        sight.see(at(0), Vec::new());
        sight.launched("i-1", false, at(0));
        assert!(sight.is_due(at(0)));
        sight.see(at(1), Vec::new());
        assert_eq!(seen(&mut sight, 59), Some(MachineState::Pending));
        assert_eq!(seen(&mut sight, 60), None);
    }

    #[test]
    fn listing_from_before_a_call_is_not_believed() {
        for (listed, act, expected) in [
            (CloudState::Stopped, Sight::started as fn(&mut Sight, &str, Duration), MachineState::Pending),
            (CloudState::Running, Sight::stopped_by_us, MachineState::Stopping),
            (CloudState::Stopped, Sight::terminated, MachineState::Stopping),
        ] {
            let mut sight = Sight::default();
            act(&mut sight, "i-1", at(0));
            sight.see(at(2), vec![instance(listed)]);
            assert_eq!(seen(&mut sight, 2), Some(expected));
            assert!(!sight.is_due(at(4)) && sight.is_due(at(5)));
            assert_ne!(seen(&mut sight, 60), Some(expected));
        }
    }

    #[test]
    fn quiet_fleet_is_listed_four_times_a_minute() {
        let mut sight = Sight::default();
        assert!(sight.is_due(at(0)));
        sight.see(at(0), vec![instance(CloudState::Stopped)]);
        assert!(!sight.is_due(at(14)));
        assert!(sight.is_due(at(15)));
        assert!(sight.usable(at(59)).is_ok() && sight.usable(at(60)).is_err());
    }
}
