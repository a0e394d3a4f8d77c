//! `external:` - workers that somebody else starts and stops, such as a Kubernetes Deployment that KEDA scales: we say how
//! many there should be, and they are whatever registers.

use std::time::Duration;

use async_trait::async_trait;
use platform::Result;

use super::{Failure, Fleet, FleetSupply, Launch, Launched, Machine, Outcome, Stop, TOKENS_UNLIMITED};

#[derive(Debug, Clone, Copy, Default)]
pub struct ExternalFleet;

#[async_trait]
impl Fleet for ExternalFleet {
    /// Nothing is ours: the workers are known by their sessions alone.
    async fn list(&self) -> Result<Vec<Machine>> {
        Ok(Vec::new())
    }

    /// As many as the policy allows: whether there is room for them is not for us to know.
    fn supply(&self) -> FleetSupply {
        FleetSupply {
            launchable: u32::MAX,
            start_tokens: TOKENS_UNLIMITED,
            start_tokens_per_second: TOKENS_UNLIMITED,
            stopped_max: u32::MAX,
        }
    }

    async fn start(&self, instance_ids: &[String]) -> Vec<Outcome> {
        refused(instance_ids.len())
    }

    async fn launch(&self, _: &Launch) -> Launched {
        Launched { instance_ids: Vec::new(), failure: Some(not_ours()) }
    }

    async fn stop(&self, stops: &[Stop]) -> Vec<Outcome> {
        refused(stops.len())
    }

    async fn terminate(&self, instance_ids: &[String]) -> Vec<Outcome> {
        refused(instance_ids.len())
    }

    fn is_external(&self) -> bool {
        true
    }

    fn outlives_us(&self) -> bool {
        true
    }

    async fn changed(&self) {
        std::future::pending::<()>().await;
    }

    async fn close(&self, _: Duration) {}
}

fn refused(count: usize) -> Vec<Outcome> {
    vec![Err(not_ours()); count]
}

fn not_ours() -> Failure {
    Failure::failed("this fleet is started and stopped by somebody else")
}
