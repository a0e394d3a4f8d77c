//! What all services stand on. Knows nothing about decoding or classifying images.

pub mod auth;
#[cfg(feature = "aws")]
pub mod aws;
mod changes;
pub mod error;
#[cfg(feature = "contract")]
pub mod faults;
pub mod gather;
pub mod id;
pub mod latency;
pub mod options;
pub mod program;
pub mod queue;
pub mod retry;
pub mod serve;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod time;

/// What this process has called in the cloud since it started; nothing without AWS.
pub fn cloud_calls() -> Vec<proto::v1::CloudCalls> {
    #[cfg(feature = "aws")]
    return aws::calls();
    #[cfg(not(feature = "aws"))]
    Vec::new()
}

/// Why a URL of a driver for AWS is refused.
#[cfg(not(feature = "aws"))]
fn without_aws(what: &str) -> Error {
    let have = "the gateway, classifier-worker and autoscaler programs have it";
    Error::new(Kind::Config, format!("{what}: this program was built without AWS; {have}"))
}

pub use error::{Error, Kind, Result};
