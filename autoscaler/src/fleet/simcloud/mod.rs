//! `simcloud:` - EC2 as it behaves, inside this process: instances that take time, client tokens, throttling, missing
//! capacity, listings that lag. Time is tokio's, so that tests can pause it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::cloud::{
    Cloud, CloudError, CloudErrorKind, CloudInstance, CloudState, FLEET_TAG, LaunchOrder, Launched, Market,
    Offering, Result, Tags,
};
use crate::clock::Clock;
use instance::SimInstance;
use throttle::Throttle;

mod controls;
mod instance;
mod launch;
#[cfg(test)]
mod tests;
mod throttle;

/// How the model behaves. The defaults are what EC2 was seen to do with a small Linux image.
#[derive(Debug, Clone, PartialEq)]
pub struct SimOptions {
    /// From a start to running.
    pub boot: Duration,
    /// From a stop to stopped.
    pub stop: Duration,
    /// How far `describe` is behind.
    pub lag: Duration,
    /// Instances of each offering that can run at once.
    pub capacity: usize,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            boot: Duration::from_secs(40),
            stop: Duration::from_secs(15),
            lag: Duration::from_secs(2),
            capacity: 1000,
        }
    }
}

/// A call that can be throttled or counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    Describe,
    Start,
    Stop,
    Terminate,
    Launch,
    ConsoleOutput,
    Tag,
}

pub struct SimCloud {
    options: SimOptions,
    fleet: String,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    instances: BTreeMap<String, SimInstance>,
    made: u64,
    /// What each client token was used for, and what came of it.
    tokens: BTreeMap<String, (LaunchOrder, Launched)>,
    capacity: BTreeMap<Offering, usize>,
    throttle: Throttle,
    /// Instances whose worker does not come up are said so by their console.
    consoles: BTreeMap<String, String>,
    /// Launches that are done and never answered, from now on.
    silent_launches: u32,
    unreachable: bool,
    /// Gone without a trace: unknown to every call, listed for a moment longer.
    removed: BTreeSet<String>,
}

impl SimCloud {
    pub fn new(fleet: &str, options: SimOptions) -> Self {
        Self { options, fleet: fleet.to_owned(), clock: Clock::start(), state: Mutex::default() }
    }

    /// The time that goes with it.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub fn fleet(&self) -> &str {
        &self.fleet
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the call and takes its tokens.
    fn enter(&self, api: Api, cost: usize) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.unreachable {
            return Err(CloudError::new(CloudErrorKind::Other, "connect: connection timed out"));
        }
        if state.throttle.take(api, cost, Instant::now()) {
            return Ok(state);
        }
        Err(CloudError::new(CloudErrorKind::Throttled, "RequestLimitExceeded: Request limit exceeded."))
    }
}

impl State {
    fn free(&self, offering: &Offering, capacity: usize) -> usize {
        let now = Instant::now();
        let taken =
            self.instances.values().filter(|one| one.offering == *offering && one.occupies(now)).count();
        self.capacity.get(offering).copied().unwrap_or(capacity).saturating_sub(taken)
    }

    /// One unknown id fails the whole call, as does one in a state that `fits` refuses.
    fn check(&self, instance_ids: &[String], fits: impl Fn(CloudState) -> bool) -> Result<()> {
        let now = Instant::now();
        for instance_id in instance_ids {
            let Some(instance) =
                self.instances.get(instance_id).filter(|_| !self.removed.contains(instance_id))
            else {
                return Err(CloudError::new(
                    CloudErrorKind::NotFound,
                    format!("InvalidInstanceID.NotFound: The instance ID '{instance_id}' does not exist"),
                ));
            };
            if !fits(instance.state(now)) {
                return Err(CloudError::new(
                    CloudErrorKind::WrongState,
                    format!(
                        "IncorrectInstanceState: The instance '{instance_id}' is not in a state for this"
                    ),
                ));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Cloud for SimCloud {
    async fn describe(&self) -> Result<Vec<CloudInstance>> {
        let state = self.enter(Api::Describe, 1)?;
        let Some(seen) = Instant::now().checked_sub(self.options.lag) else { return Ok(Vec::new()) };
        let listed = state.instances.values().filter_map(|instance| instance.at(seen));
        Ok(listed.filter(|one| one.tags.get(FLEET_TAG) == Some(&self.fleet)).cloned().collect())
    }

    async fn find(&self, instance_ids: &[String]) -> Result<Vec<CloudInstance>> {
        let state = self.enter(Api::Describe, 1)?;
        state.check(instance_ids, |_| true)?;
        let now = Instant::now();
        Ok(instance_ids.iter().filter_map(|id| state.instances.get(id)?.at(now)).cloned().collect())
    }

    async fn start(&self, instance_ids: &[String]) -> Result<()> {
        use CloudState::{Pending, Running, Stopped};
        let mut state = self.enter(Api::Start, instance_ids.len())?;
        state.check(instance_ids, |one| matches!(one, Pending | Running | Stopped))?;
        let now = Instant::now();
        let mut wanted: BTreeMap<Offering, usize> = BTreeMap::new();
        for instance in instance_ids.iter().filter_map(|id| state.instances.get(id)) {
            if instance.state(now) == Stopped {
                *wanted.entry(instance.offering.clone()).or_default() += 1;
            }
        }
        for (offering, count) in &wanted {
            if state.free(offering, self.options.capacity) < *count {
                return Err(no_capacity(offering));
            }
        }
        for instance_id in instance_ids {
            let Some(instance) = state.instances.get_mut(instance_id) else { continue };
            if instance.state(now) == Stopped {
                instance.go(now, Pending, Running, self.options.boot);
                instance.restarted(self.clock.now());
            }
        }
        Ok(())
    }

    async fn stop(&self, instance_ids: &[String]) -> Result<()> {
        use CloudState::{Pending, Running, Stopped, Stopping};
        let mut state = self.enter(Api::Stop, 1)?;
        state.check(instance_ids, |one| matches!(one, Pending | Running | Stopping | Stopped))?;
        for instance_id in instance_ids {
            let spot = |one: &SimInstance| one.market == Market::Spot;
            if state.instances.get(instance_id).is_some_and(spot) {
                return Err(CloudError::new(
                    CloudErrorKind::Other,
                    "UnsupportedOperation: You can't stop the Spot Instance; its request is one-time.",
                ));
            }
        }
        let now = Instant::now();
        for instance_id in instance_ids {
            let Some(instance) = state.instances.get_mut(instance_id) else { continue };
            if matches!(instance.state(now), Pending | Running) {
                instance.go(now, Stopping, Stopped, self.options.stop);
            }
        }
        Ok(())
    }

    async fn terminate(&self, instance_ids: &[String]) -> Result<()> {
        use CloudState::{ShuttingDown, Terminated};
        let mut state = self.enter(Api::Terminate, 1)?;
        state.check(instance_ids, |_| true)?;
        let now = Instant::now();
        for instance_id in instance_ids {
            let Some(instance) = state.instances.get_mut(instance_id) else { continue };
            if !matches!(instance.state(now), ShuttingDown | Terminated) {
                instance.go(now, ShuttingDown, Terminated, self.options.stop);
            }
        }
        Ok(())
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<Launched> {
        let launched = {
            let mut state = self.enter(Api::Launch, order.count as usize)?;
            match state.tokens.get(&order.client_token) {
                Some((first, launched)) if first == order => launched.clone(),
                Some(_) => {
                    return Err(CloudError::new(
                        CloudErrorKind::TokenMismatch,
                        "IdempotentParameterMismatch: the client token was used with other parameters",
                    ));
                }
                None => {
                    let launched = self.launch_new(&mut state, order);
                    state.tokens.insert(order.client_token.clone(), (order.clone(), launched.clone()));
                    launched
                }
            }
        };
        let silent = {
            let mut state = self.state();
            let silent = state.silent_launches > 0;
            state.silent_launches = state.silent_launches.saturating_sub(1);
            silent
        };
        if silent {
            std::future::pending::<()>().await;
        }
        Ok(launched)
    }

    async fn console_output(&self, instance_id: &str) -> Result<String> {
        let state = self.enter(Api::ConsoleOutput, 1)?;
        state.check(&[instance_id.to_owned()], |_| true)?;
        Ok(state.consoles.get(instance_id).cloned().unwrap_or_default())
    }

    async fn tag(&self, instance_ids: &[String], tags: &Tags) -> Result<()> {
        let mut state = self.enter(Api::Tag, 1)?;
        state.check(instance_ids, |_| true)?;
        for instance_id in instance_ids {
            let Some(instance) = state.instances.get_mut(instance_id) else { continue };
            for (name, value) in tags {
                instance.tag(name, value);
            }
        }
        Ok(())
    }
}

fn no_capacity(offering: &Offering) -> CloudError {
    CloudError::new(
        CloudErrorKind::NoCapacity,
        format!("InsufficientInstanceCapacity: there is no capacity of {offering} at the moment"),
    )
}
