//! Stopping in stages: stop taking work, finish what is held within the grace, then go.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{Error, Kind, Result};

/// Exit code of a process that was told twice to stop (128 + SIGINT).
pub const EXIT_INTERRUPTED: i32 = 130;

/// The word to stop, and the word that waiting is over. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take nothing new; finish what is held.
    pub stop: CancellationToken,
    /// The grace is over: drop what is left.
    pub abort: CancellationToken,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `service` until it ends by itself. After `stop`, it has `grace` to end; then `abort`
    /// is set and it has one more second.
    ///
    /// Dropping this future drops the service.
    pub async fn run<T>(&self, grace: Duration, service: impl Future<Output = Result<T>>) -> Result<T> {
        const LAST: Duration = Duration::from_secs(1);
        tokio::pin!(service);
        tokio::select! {
            ended = &mut service => return ended,
            () = self.stop.cancelled() => {}
        }
        if let Ok(ended) = tokio::time::timeout(grace, &mut service).await {
            return ended;
        }
        tracing::warn!(?grace, "grace is over, dropping what is left");
        self.abort.cancel();
        tokio::time::timeout(LAST, service)
            .await
            .unwrap_or_else(|_| Err(Error::new(Kind::Internal, "did not stop within the grace")))
    }

    /// Sets `stop` at the first SIGINT or SIGTERM and ends the process at the second.
    ///
    /// Spawned, and ends with the runtime.
    pub fn on_signals(&self) -> Result<()> {
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let stop = self.stop.clone();
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            tracing::info!("stopping; a second signal stops at once");
            stop.cancel();
            either(&mut interrupt, &mut terminate).await;
            std::process::exit(EXIT_INTERRUPTED);
        });
        Ok(())
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| Error::internal(error).context("listen for signals"))
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn service_that_stops_in_time_is_not_aborted() {
        let shutdown = Shutdown::new();
        shutdown.stop.cancel();
        let stop = shutdown.stop.clone();
        let service = async move {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_secs(4)).await;
            Ok(7)
        };
        assert_eq!(shutdown.run(Duration::from_secs(5), service).await.unwrap(), 7);
        assert!(!shutdown.abort.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn service_that_hangs_is_aborted_after_the_grace() {
        let shutdown = Shutdown::new();
        shutdown.stop.cancel();
        let abort = shutdown.abort.clone();
        let service = async move {
            abort.cancelled().await;
            Ok("aborted")
        };
        assert_eq!(shutdown.run(Duration::from_secs(5), service).await.unwrap(), "aborted");
    }
}
