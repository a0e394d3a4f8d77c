//! What the decision is made from: plain numbers, taken at one moment. Times are since the Unix epoch.

use std::time::Duration;

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

/// Images a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Arrivals {
    /// Over [`FAST_WINDOW`].
    pub fast: f64,
    /// Over [`SLOW_WINDOW`].
    pub slow: f64,
}

pub const FAST_WINDOW: Duration = Duration::from_secs(10);
pub const SLOW_WINDOW: Duration = Duration::from_secs(60);

/// How long one image keeps one slot of a worker busy.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    pub instance_id: String,
    pub state: InstanceState,
    /// When it came into this state.
    pub since: Duration,
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
}

/// What a person has forbidden for now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paused {
    pub scale_out: bool,
    pub scale_in: bool,
}

/// How many instances are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    pub ready: u32,
    pub starting: u32,
    pub draining: u32,
    pub stopped: u32,
    /// Ready or starting, and not ours to stop.
    pub not_owned: u32,
}

impl Census {
    pub fn of(instances: &[Instance]) -> Self {
        let mut census = Self::default();
        for instance in instances {
            match instance.state {
                InstanceState::Ready => census.ready += 1,
                InstanceState::Starting => census.starting += 1,
                InstanceState::Draining => census.draining += 1,
                InstanceState::Stopped => census.stopped += 1,
                InstanceState::Drained | InstanceState::Stopping | InstanceState::Lost => {}
            }
            if !instance.owned && matches!(instance.state, InstanceState::Ready | InstanceState::Starting) {
                census.not_owned += 1;
            }
        }
        census
    }

    /// What there is to serve with: ready or on its way.
    pub fn current(&self) -> u32 {
        self.ready + self.starting
    }
}
