//! What every AWS driver stands on: the configuration of the SDK, how its errors become ours, and how its
//! calls are counted.

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sqs::config::SharedHttpClient;
use aws_smithy_http_client::{Builder, tls};

use crate::{Error, Kind, Result};

mod calls;
pub mod errors;
#[cfg(feature = "contract")]
pub mod stand_in;

pub use calls::calls;

/// Attempts at one call, the first included; the SDK backs off in between.
const ATTEMPTS_MAX: u32 = 4;

/// How long a connection may take. Within one region it takes a millisecond.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The SDK's own features would bring a second HTTP stack and a second crypto library.
pub fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
}

/// The configuration that all clients share: region, credentials and endpoint as the SDK finds them
/// (environment, profile, instance role). The calls of clients made from it are counted.
pub async fn config() -> Result<SdkConfig> {
    calls::count();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .retry_config(retries())
        .timeout_config(timeouts())
        .load()
        .await;
    if config.region().is_none() {
        return Err(no_region());
    }
    Ok(config)
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build()
}

pub(crate) fn no_region() -> Error {
    Error::new(
        Kind::Config,
        "no AWS region: set AWS_REGION, or region in ~/.aws/config; on an instance it is known by itself",
    )
}
