//! What the decision is made from: plain numbers, taken at one moment. Times are since the Unix epoch.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// Everything `decide` is told. Two equal observations are the same question.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    pub at: Duration,
    pub queue: Queue,
    pub arrivals: Arrivals,
    pub service: Service,
    /// Share of the last minute's answers that came after the target.
    pub late_ratio: f64,
    pub boot: Boot,
    /// All instances of the fleet, in the order of their ids.
    pub instances: Vec<Instance>,
    pub supply: Supply,
    pub paused: Paused,
    /// What a person set for a while over the policy's limits.
    pub asked: Option<Override>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Queue {
    /// Waiting for a worker.
    pub visible: u64,
    /// Held by a worker.
    pub in_flight: u64,
    /// Sent, and not to be seen by workers yet.
    pub delayed: u64,
    /// Of the images not answered yet.
    pub oldest_age: Duration,
    /// When the oldest of the counts in here was true; `None` when nobody has said anything yet.
    pub as_of: Option<Duration>,
    /// Whether the counts are a queue's own estimates.
    pub approximate: bool,
}

impl Queue {
    /// Images there are to do. One that is being worked on is half done, on average.
    pub fn work(&self) -> f64 {
        self.visible as f64 + self.in_flight as f64 / 2.0
    }
}

/// Images a second, and exact counts of them. Of the counts only differences matter.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Arrivals {
    /// Over [`LATEST_WINDOW`].
    pub latest: f64,
    /// Over [`FAST_WINDOW`].
    pub fast: f64,
    /// Over [`SLOW_WINDOW`].
    pub slow: f64,
    /// Arrived since some moment.
    pub total: u64,
    /// Answered since that moment.
    pub completed: u64,
    /// Of those, the ones answered after the target.
    pub late: u64,
}

pub const LATEST_WINDOW: Duration = Duration::from_secs(4);
pub const FAST_WINDOW: Duration = Duration::from_secs(10);
pub const SLOW_WINDOW: Duration = Duration::from_secs(60);

/// How long one image keeps one slot of a worker busy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub mean: Duration,
    pub p95: Duration,
    /// Images one worker works on at once; at least 1.
    pub slots: f64,
}

impl Service {
    /// Images a second of one worker that always has one to do.
    pub fn rate(&self) -> f64 {
        self.slots / self.mean.as_secs_f64().max(1e-6)
    }
}

/// How long it takes from asking for an instance until its worker takes images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Boot {
    /// Of a stopped instance.
    pub warm: Duration,
    /// Of a new one.
    pub cold: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    pub instance_id: Arc<str>,
    pub state: InstanceState,
    /// When it came into this state.
    pub since: Duration,
    /// Launched new, so that its boot takes as long as a new one's.
    pub cold: bool,
    /// Until then it is paid for, whether it runs or not; zero where nothing is paid ahead.
    pub paid_until: Duration,
    pub busy_slots: u32,
    /// Ours to start and stop. A worker that somebody started by hand is capacity and no more.
    pub owned: bool,
    /// Lost for so long that nobody waits for it any more.
    pub given_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceState {
    /// Asked for; its worker has not registered yet.
    Starting,
    Ready,
    /// Told to finish and take nothing new. Can still be told to stay.
    Draining,
    /// Confirmed that it takes nothing and holds nothing: may be stopped.
    Drained,
    /// On its way out and not to be had back.
    Stopping,
    Stopped,
    /// Not heard of for too long, and the fleet still lists it.
    Lost,
}

/// What can be had.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Supply {
    /// New instances that can be launched beside the stopped ones.
    pub launchable: u32,
    /// Start calls that will be taken now, and how many more each second.
    pub start_tokens: f64,
    pub start_tokens_per_second: f64,
    /// Stopped instances that are kept; more are ended.
    pub stopped_max: u32,
    /// What a start costs at least: an instance that is stopped sooner is paid for this long.
    pub paid_min: Duration,
}

/// What a person has forbidden for now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    pub scale_out: bool,
    pub scale_in: bool,
    /// When it ends by itself.
    pub until: Option<Duration>,
}

impl Paused {
    /// What of it holds at `at`.
    pub fn at(self, at: Duration) -> Self {
        if self.until.is_some_and(|until| until <= at) { Self::default() } else { self }
    }
}

/// Limits that a person set for a while. They take the place of the policy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    pub min: Option<u32>,
    pub max: Option<u32>,
    /// Exactly so many.
    pub instances: Option<u32>,
    pub until: Duration,
}

/// How many instances are in which state: what `want` is made from. Which instances they are matters
/// only for what to do about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    pub ready: u32,
    pub starting: u32,
    pub draining: u32,
    pub stopped: u32,
    /// Ready or starting, and not ours to stop.
    pub not_owned: u32,
    /// Ready or starting, ours, and paid for until later anyway.
    pub paid: u32,
    /// The starting ones by when they should be ready, the soonest first.
    pub arrivals: Vec<Due>,
}

/// Starting instances that should be ready at about the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub ready_in: Duration,
    pub count: u32,
}

/// Instances that are ready within such a time of each other are one group, so that a record of
/// thousands that start stays small.
const DUE_STEP: Duration = Duration::from_millis(100);

impl Census {
    pub fn of(observation: &Observation) -> Self {
        let mut census = Self::default();
        let mut due = BTreeMap::<u128, u32>::new();
        for instance in &observation.instances {
            match instance.state {
                InstanceState::Ready => census.ready += 1,
                InstanceState::Starting => {
                    census.starting += 1;
                    let ready_in = observation.boot.left(instance, observation.at);
                    *due.entry(ready_in.as_nanos().div_ceil(DUE_STEP.as_nanos())).or_default() += 1;
                }
                InstanceState::Draining => census.draining += 1,
                InstanceState::Stopped => census.stopped += 1,
                InstanceState::Drained | InstanceState::Stopping | InstanceState::Lost => {}
            }
            if matches!(instance.state, InstanceState::Ready | InstanceState::Starting) {
                census.not_owned += u32::from(!instance.owned);
                census.paid += u32::from(instance.owned && instance.paid_until > observation.at);
            }
        }
        let group = |(step, count): (u128, u32)| Due {
            ready_in: DUE_STEP * u32::try_from(step).unwrap_or(u32::MAX),
            count,
        };
        census.arrivals = due.into_iter().map(group).collect();
        census
    }

    /// What there is to serve with: ready or on its way.
    pub fn current(&self) -> u32 {
        self.ready + self.starting
    }
}

impl Boot {
    /// How long a starting instance should still take; nothing once it is overdue.
    fn left(&self, instance: &Instance, at: Duration) -> Duration {
        let whole = if instance.cold { self.cold } else { self.warm };
        whole.saturating_sub(at.saturating_sub(instance.since))
    }
}
