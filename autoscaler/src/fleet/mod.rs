//! The instances that workers run on: one trait, one file per kind. A URL picks the kind.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use platform::Result;

mod budget;
pub mod cloud;
mod cloud_fleet;
mod external;
mod local;
mod open;
mod process;
pub mod simcloud;
mod url;

pub use cloud_fleet::{CloudFleet, CloudFleetOptions};
pub use external::ExternalFleet;
pub use local::{LocalFleet, LocalOptions};
pub use open::adopt;
pub(crate) use open::{is_external, open_cloud, open_fleet};
pub use url::FleetUrl;

/// The methods that change something answer for each instance they were given, in that order.
#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    /// Everything it owns, stopped ones included, in the order of the ids.
    async fn list(&self) -> Result<Vec<Machine>>;

    /// What could be had beside what is there.
    fn supply(&self) -> FleetSupply;

    /// Starts stopped instances and returns without waiting for their workers. One that is pending
    /// or running already is left alone. A failure means that it was not started.
    async fn start(&self, instance_ids: &[String]) -> Vec<Outcome>;

    /// Makes new instances and returns without waiting for their workers. The same order again gives
    /// the same instances.
    async fn launch(&self, order: &Launch) -> Launched;

    /// Stops instances and returns without waiting for them to be gone. Only for those whose worker
    /// holds nothing or is lost. One that is stopping or stopped already is left alone.
    async fn stop(&self, stops: &[Stop]) -> Vec<Outcome>;

    /// Ends stopped instances for good.
    async fn terminate(&self, instance_ids: &[String]) -> Vec<Outcome>;

    /// Writes on instances that they were asked to drain, and by which decision; `None` takes it off. For whoever leads
    /// after us: a failure costs a drain that has to be decided again, and no more.
    async fn mark_draining(&self, _instance_ids: &[String], _decision_id: Option<&str>) {}

    /// What has to be done now and then and needs no decision. Only the leader calls it.
    async fn tend(&self) {}

    /// What a person should know.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether somebody else starts and stops its workers, and we only say how many there should be.
    fn is_external(&self) -> bool {
        false
    }

    /// Whether its instances go on without this process.
    fn outlives_us(&self) -> bool;

    /// Returns once an instance changed by itself since the last call: it died, or is gone.
    async fn changed(&self);

    /// This process ends: lets go of what cannot outlive it. Processes are asked, given `limit` and
    /// then ended; cloud instances stay.
    async fn close(&self, limit: Duration);
}

#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    pub instance_id: String,
    pub state: MachineState,
    pub instance_type: String,
    pub zone: String,
    pub spot: bool,
    /// Start of the billed period it is in, since the Unix epoch.
    pub billed_since: Option<Duration>,
    /// How its last run ended, if it ended by itself.
    pub exit: Option<String>,
    /// Decision that asked it to drain, as far as it is written on the instance.
    pub draining: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    Pending,
    Running,
    Stopping,
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FleetSupply {
    /// New instances that could be made.
    pub launchable: u32,
    /// Starts and launches that will be taken now, and how many more each second.
    pub start_tokens: f64,
    pub start_tokens_per_second: f64,
    /// Stopped instances that may be kept.
    pub stopped_max: u32,
}

/// Start calls in one decision where nothing limits them: no number worth recording.
pub const TOKENS_UNLIMITED: f64 = 1_000_000.0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    pub count: u32,
    /// Of this order alone, and the same when it is tried again.
    pub client_token: String,
    pub decision_id: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launched {
    pub instance_ids: Vec<String>,
    /// Why there are fewer than asked for.
    pub failure: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub instance_id: String,
    pub why: StopWhy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopWhy {
    /// Its worker confirmed that it holds nothing.
    Drained,
    /// Its worker has not been heard of for too long.
    Lost,
    /// Its worker never came.
    BootFailed,
}

pub type Outcome = std::result::Result<(), Failure>;

/// What did not happen, for the record of the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    pub error: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Held back, by the cloud or by us so that the cloud need not.
    Throttled,
    NoCapacity,
    /// It is on its way to where that can be done: again later.
    NotYet,
    Failed,
}

impl Failure {
    pub fn new(kind: FailureKind, error: impl Into<String>) -> Self {
        Self { kind, error: error.into() }
    }

    pub fn failed(error: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}
