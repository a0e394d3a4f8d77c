//! One service by itself: the same as its own binary, so that one program is enough on a machine.

use std::time::Duration;

use platform::{
    Result,
    options::{Check, Problems, exit},
    shutdown::Shutdown,
    telemetry::LogOptions,
};

use crate::failure::{Failure, Outcome};

/// `dunlin gateway`, `dunlin worker`, `dunlin autoscaler`.
#[derive(Debug, clap::Args)]
// The service's own options have the group of that name.
#[group(skip)]
pub(crate) struct Options<T: clap::Args> {
    #[command(flatten)]
    log: LogOptions,
    #[command(flatten)]
    service: T,
}

impl<T: clap::Args + Check> Check for Options<T> {
    fn check(&self, problems: &mut Problems) {
        self.service.check(problems);
    }
}

pub(crate) async fn gateway(options: Options<gateway::Options>) -> Outcome {
    options.log.start()?;
    let grace = options.service.grace;
    run(grace, async |shutdown| {
        let gateway = gateway::Gateway::bind(options.service).await?;
        tracing::info!(public = %gateway.public_address(), internal = %gateway.internal_address(), "listening");
        gateway.run(&shutdown).await
    })
    .await
}

pub(crate) async fn autoscaler(options: Options<autoscaler::Options>) -> Outcome {
    options.log.start()?;
    let grace = options.service.grace;
    run(grace, async |shutdown| {
        let autoscaler = autoscaler::Autoscaler::bind(options.service).await?;
        tracing::info!(address = %autoscaler.address(), "listening");
        autoscaler.run(&shutdown).await
    })
    .await
}

pub(crate) async fn worker(options: Options<classifier_worker::Options>) -> Outcome {
    options.log.start()?;
    let grace = options.service.grace;
    run(grace, async |shutdown| {
        let worker = tokio::select! {
            worker = classifier_worker::Worker::new(options.service) => worker?,
            () = shutdown.stop.cancelled() => return Ok(()),
        };
        worker.run(&shutdown).await
    })
    .await
}

async fn run(grace: Duration, service: impl AsyncFnOnce(Shutdown) -> Result<()>) -> Outcome {
    /// The service stops what it started within its own grace; then this much is left.
    const MORE: Duration = Duration::from_secs(5);
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let told = shutdown.clone();
    shutdown.run(grace + MORE, Box::pin(service(told))).await.map_err(|error| match error.kind() {
        platform::Kind::Config => Failure::new(exit::CONFIG, error.to_string()),
        _ => Failure::new(exit::FAILED, error.to_string()),
    })?;
    Ok(0)
}
