//! Tells the autoscaler the load, and learns what capacity there is and on its way.

use std::{sync::Arc, time::Duration};

use platform::{Result, auth::Link, retry::Backoff};
use proto::internal::v1::{
    GatewaySessionRequest, GatewaySessionResponse, LatencyCount, control_service_client::ControlServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{core::Core, counters::Counted};

/// Reports are sent this often, and at once when the queue stops being empty.
const PERIOD: Duration = Duration::from_secs(1);

/// Keeps one session with the autoscaler open. Runs until dropped; without an autoscaler the
/// gateway works on and count limits alone apply.
pub async fn report(core: Arc<Core>, link: Link) {
    let mut client = ControlServiceClient::new(link);
    let gateway_id = platform::id::new();
    let mut backoff = Backoff::for_connections();
    let mut was_connected = true;
    loop {
        let ended = session(&core, &mut client, &gateway_id, &mut backoff).await;
        let connected = core.capacity.send_replace(None).is_some();
        if was_connected || connected {
            let error = ended.err().map(|error| error.to_string());
            tracing::warn!(error, "no autoscaler; going on without");
        }
        was_connected = connected;
        tokio::time::sleep(backoff.pause()).await;
    }
}

async fn session(
    core: &Core,
    client: &mut ControlServiceClient<Link>,
    gateway_id: &str,
    backoff: &mut Backoff,
) -> Result<()> {
    let (reports, receiver) = mpsc::channel(1);
    let mut answers = client.gateway_session(ReceiverStream::new(receiver)).await?.into_inner();
    backoff.reset();
    tracing::debug!("connected to the autoscaler");
    tokio::select! {
        ended = send(core, gateway_id, &reports) => ended,
        ended = learn(core, &mut answers) => ended,
    }
}

async fn send(core: &Core, gateway_id: &str, reports: &mpsc::Sender<GatewaySessionRequest>) -> Result<()> {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = core.pending.no_longer_empty.notified() => {}
        }
        let totals = core.pending.totals();
        let counts = core.counts().await;
        let report = GatewaySessionRequest {
            gateway_id: gateway_id.to_owned(),
            enqueued_total: totals.enqueued,
            completed_total: totals.completed,
            late_total: totals.late,
            waiting: totals.waiting,
            in_flight: counts.leased,
            oldest_age: Some(platform::time::to_proto(totals.oldest_age)),
            cloud_calls: platform::cloud_calls(),
            latencies: core.pending.latencies().into_iter().map(latency_count).collect(),
            refused_total: core.counters.get(Counted::RefusedWait),
        };
        if reports.send(report).await.is_err() {
            return Ok(());
        }
    }
}

fn latency_count((bucket, count): (usize, u64)) -> LatencyCount {
    LatencyCount { bucket: u32::try_from(bucket).unwrap_or(u32::MAX), count }
}

async fn learn(core: &Core, answers: &mut Streaming<GatewaySessionResponse>) -> Result<()> {
    while let Some(capacity) = answers.message().await? {
        if let Some(target) = platform::time::from_proto(capacity.latency_target.as_ref()) {
            core.pending.set_latency_target(target);
        }
        core.capacity.send_replace(Some(capacity));
    }
    Ok(())
}
