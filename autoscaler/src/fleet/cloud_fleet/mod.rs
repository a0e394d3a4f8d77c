//! A fleet of cloud instances. The cloud's listing by tag is the only truth: what is kept here are notes on calls whose
//! effect the listing does not show yet, so a restart loses nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use platform::{Error, Kind, Result};

use super::{
    Failure, FailureKind, Fleet, FleetSupply, Launch, Launched, Machine, Outcome, Stop, StopWhy,
    budget::{Budget, Hourly},
    cloud::{Cloud, CloudErrorKind, FLEET_TAG, Market, Offering, Tags},
};
use crate::clock::Clock;
use sight::Sight;

mod adopt;
mod batch;
mod boot_failure;
mod drains;
mod launch;
mod names;
mod sight;
mod warnings;

pub use adopt::adopt;
use batch::Call;

#[derive(Debug, Clone)]
pub struct CloudFleetOptions {
    /// Value of the tag that makes an instance ours.
    pub fleet: String,
    /// What launched instances are called, with a number after it.
    pub name_prefix: String,
    pub instance_types: Vec<String>,
    pub subnets: Vec<String>,
    /// How many of a hundred new instances are to be spot.
    pub spot_percent: u32,
    pub stopped_max: u32,
    pub starts_per_hour_max: u32,
    pub clock: Clock,
}

/// An offering without capacity is left alone this long: what others give back takes minutes to show.
const EXHAUSTED_FOR: Duration = Duration::from_secs(180);

/// After this many boots without a worker, an instance is ended rather than tried again.
const BOOT_FAILURES_MAX: u32 = 2;

/// Instances beyond any fleet: whoever decides has a lower limit.
const LAUNCHABLE: u32 = 100_000;

pub struct CloudFleet {
    cloud: Arc<dyn Cloud>,
    options: CloudFleetOptions,
    state: Mutex<State>,
}

struct State {
    sight: Sight,
    budgets: Budgets,
    hourly: Hourly,
    /// Until when each offering is not asked for again.
    exhausted: BTreeMap<(Market, Offering), Duration>,
    /// Stopped instances that the cloud had no room for, and until when they are not tried again.
    roomless: BTreeMap<String, Duration>,
    /// No launches until then: an earlier one may have made instances that are not listed yet.
    launches_held_until: Duration,
    boot_failures: BTreeMap<String, u32>,
    /// What the last failed boot left behind.
    last_boot_failure: Option<String>,
    /// Names given and not listed yet.
    names: BTreeMap<String, u32>,
    /// Drains written on instances by us.
    drains: BTreeMap<String, String>,
}

/// EC2's documented numbers for an account (facts: RunInstances and StartInstances count instances).
struct Budgets {
    describe: Budget,
    start: Budget,
    launch: Budget,
    other: Budget,
}

impl CloudFleet {
    pub fn new(cloud: Arc<dyn Cloud>, options: CloudFleetOptions) -> Self {
        let state = State {
            sight: Sight::default(),
            budgets: Budgets {
                describe: Budget::new(100.0, 20.0),
                start: Budget::new(1000.0, 2.0),
                launch: Budget::new(1000.0, 2.0),
                other: Budget::new(100.0, 5.0),
            },
            hourly: Hourly::new(options.starts_per_hour_max),
            exhausted: BTreeMap::new(),
            roomless: BTreeMap::new(),
            launches_held_until: Duration::ZERO,
            boot_failures: BTreeMap::new(),
            last_boot_failure: None,
            names: BTreeMap::new(),
            drains: BTreeMap::new(),
        };
        Self { cloud, options, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Notes are taken whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.options.clock.now()
    }

    /// Lists again, if it is time.
    async fn refresh(&self) -> Result<()> {
        let at = self.now();
        {
            let mut state = self.state();
            if !state.sight.is_due(at) {
                return Ok(());
            }
            if state.budgets.describe.take(at, 1) == 0 {
                return state.sight.usable(at);
            }
        }
        match self.cloud.describe().await {
            Ok(mut instances) => {
                // Said again where it matters: nothing without our tag is ever touched.
                instances.retain(|one| self.is_ours(&one.tags));
                let mut state = self.state();
                state.budgets.describe.accepted();
                state.sight.see(at, instances);
                Ok(())
            }
            Err(error) if error.kind == CloudErrorKind::Throttled => {
                let mut state = self.state();
                state.budgets.describe.refused(at);
                state.sight.usable(at)
            }
            Err(error) => Err(Error::new(Kind::ServiceUnavailable, error.message)),
        }
    }

    /// Tagged with the fleet's name, and not as something beside its workers.
    fn is_ours(&self, tags: &Tags) -> bool {
        tags.get(FLEET_TAG) == Some(&self.options.fleet)
            && tags.get(launch::ROLE_TAG).is_none_or(|role| role == launch::WORKER_ROLE)
    }
}

#[async_trait]
impl Fleet for CloudFleet {
    async fn list(&self) -> Result<Vec<Machine>> {
        self.refresh().await?;
        let at = self.now();
        let mut state = self.state();
        state.roomless.retain(|_, until| *until > at);
        let State { sight, roomless, drains, .. } = &mut *state;
        drains.retain(|instance_id, _| sight.is_ours(instance_id));
        Ok(sight.machines(at, |instance_id| roomless.contains_key(instance_id)))
    }

    fn supply(&self) -> FleetSupply {
        let at = self.now();
        let state = self.state();
        let can_launch = at >= state.launches_held_until
            && self.offerings().iter().any(|offering| !state.is_exhausted(Market::OnDemand, offering, at));
        let budgets = &state.budgets;
        // A start takes from one budget, a launch from the other, and starts come first.
        let starts = budgets.start.tokens(at).min(f64::from(state.sight.stopped()));
        let tokens = (starts + budgets.launch.tokens(at)).min(f64::from(state.hourly.left(at)));
        FleetSupply {
            launchable: if can_launch { LAUNCHABLE } else { 0 },
            start_tokens: tokens,
            start_tokens_per_second: budgets.start.per_second(),
            stopped_max: self.options.stopped_max,
        }
    }

    async fn start(&self, instance_ids: &[String]) -> Vec<Outcome> {
        let at = self.now();
        let allowed = {
            let mut state = self.state();
            let count = u32::try_from(instance_ids.len()).unwrap_or(u32::MAX).min(state.hourly.left(at));
            let allowed = state.budgets.start.take(at, count);
            state.hourly.add(at, allowed);
            allowed as usize
        };
        let (now, later) = instance_ids.split_at(allowed.min(instance_ids.len()));
        let mut outcomes = self.each(Call::Start, now).await;
        let held = Failure::new(FailureKind::Throttled, "starts are held back for the cloud's limits");
        outcomes.extend(later.iter().map(|_| Err(held.clone())));
        let mut state = self.state();
        for (instance_id, outcome) in instance_ids.iter().zip(&outcomes) {
            match outcome {
                Ok(()) => state.sight.started(instance_id, at),
                Err(failure) if failure.kind == FailureKind::NoCapacity => {
                    state.roomless.insert(instance_id.clone(), at + EXHAUSTED_FOR);
                }
                Err(_) => {}
            }
        }
        outcomes
    }

    async fn launch(&self, order: &Launch) -> Launched {
        self.launch_all(order).await
    }

    async fn stop(&self, stops: &[Stop]) -> Vec<Outcome> {
        let mut ends = Vec::new();
        for stop in stops {
            let instance_id = &stop.instance_id;
            let mut failures = 0;
            match stop.why {
                StopWhy::BootFailed => {
                    self.note_boot_failure(instance_id).await;
                    let mut state = self.state();
                    let count = state.boot_failures.entry(instance_id.clone()).or_default();
                    *count += 1;
                    failures = *count;
                }
                StopWhy::Drained => {
                    self.state().boot_failures.remove(instance_id);
                }
                StopWhy::Lost => {}
            }
            // A one-time spot instance cannot be stopped.
            ends.push(failures >= BOOT_FAILURES_MAX || self.state().sight.is_spot(instance_id));
        }
        let of = |ended: bool| -> Vec<String> {
            let chosen = stops.iter().zip(&ends).filter(|(_, end)| **end == ended);
            chosen.map(|(stop, _)| stop.instance_id.clone()).collect()
        };
        let mut stopped = self.end(Call::Stop, &of(false)).await.into_iter();
        let mut terminated = self.end(Call::Terminate, &of(true)).await.into_iter();
        let answer = |end: &bool| if *end { terminated.next() } else { stopped.next() };
        ends.iter().filter_map(answer).collect()
    }

    async fn terminate(&self, instance_ids: &[String]) -> Vec<Outcome> {
        self.end(Call::Terminate, instance_ids).await
    }

    async fn mark_draining(&self, instance_ids: &[String], decision_id: Option<&str>) {
        self.write_drains(instance_ids, decision_id).await;
    }

    async fn tend(&self) {
        self.give_names().await;
    }

    fn warnings(&self) -> Vec<String> {
        self.what_is_wrong()
    }

    fn outlives_us(&self) -> bool {
        true
    }

    async fn changed(&self) {
        // It is listed at each tick, as often as the listing is worth it.
        std::future::pending::<()>().await;
    }

    async fn close(&self, _: Duration) {}
}

impl CloudFleet {
    async fn end(&self, call: Call, instance_ids: &[String]) -> Vec<Outcome> {
        let outcomes = self.each(call, instance_ids).await;
        let at = self.now();
        let mut state = self.state();
        for (instance_id, outcome) in instance_ids.iter().zip(&outcomes) {
            if outcome.is_ok() {
                match call {
                    Call::Terminate => state.sight.terminated(instance_id, at),
                    Call::Start | Call::Stop => state.sight.stopped_by_us(instance_id, at),
                }
            }
        }
        outcomes
    }
}

impl State {
    fn is_exhausted(&self, market: Market, offering: &Offering, at: Duration) -> bool {
        self.exhausted.get(&(market, offering.clone())).is_some_and(|until| *until > at)
    }
}
