//! The instances that workers run on: one trait, one file per kind. A URL picks the kind.

use std::time::Duration;

use async_trait::async_trait;
use platform::Result;

mod local;
mod process;

pub use local::{LocalFleet, LocalOptions};

#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    /// Everything it owns, stopped ones included, in the order of the ids.
    async fn list(&self) -> Result<Vec<Machine>>;

    /// New instances that could be made beside those listed.
    fn launchable(&self) -> u32;

    /// Starts a stopped instance and returns without waiting for its worker. One that is pending
    /// or running already is left alone. An error means that it was not started.
    async fn start(&self, instance_id: &str) -> Result<()>;

    /// Stops an instance and returns without waiting for it to be gone. Only for one whose worker
    /// holds nothing or is lost. One that is stopping or stopped already is left alone.
    async fn stop(&self, instance_id: &str) -> Result<()>;

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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    Pending,
    Running,
    Stopping,
    Stopped,
}
