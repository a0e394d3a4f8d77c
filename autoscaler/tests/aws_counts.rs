//! The queue's own counts, from a stand-in for SQS, where no gateway has counted.
#![allow(clippy::unwrap_used)]

mod aws_world;

use std::time::Duration;

use aws_world::{Cloud, QUEUE};
use platform::aws::stand_in::{self, Moto};
use proto::{
    internal::v1::{GatewaySessionRequest, control_service_client::ControlServiceClient},
    v1::{GetStatusResponse, QueueObservation},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const ARGUMENTS: [&str; 5] =
    ["--fleet=simcloud:", "--policy=step", "--max-instances=9", "--tick=200ms", "--queue"];

fn queue(status: &GetStatusResponse) -> QueueObservation {
    status.observation.clone().and_then(|observation| observation.queue).unwrap_or_default()
}

#[tokio::test]
async fn queues_counts_stand_in_until_all_gateways_have_had_time_to_report() {
    let Some(moto) = Moto::start().await else { return };
    let config = stand_in::config(&moto.endpoint());
    stand_in::make_queues(&config, "dunlin").await;
    let sqs = aws_sdk_sqs::Client::new(&config);
    for (name, count) in [("dunlin", 7), ("dunlin-batch", 5)] {
        let url = sqs.get_queue_url().queue_name(name).send().await.unwrap().queue_url.unwrap();
        for _ in 0..count {
            sqs.send_message().queue_url(&url).message_body("left by a gateway").send().await.unwrap();
        }
    }
    let cloud = Cloud::with(moto.endpoint());
    let arguments = [&ARGUMENTS[..], &[QUEUE]].concat();
    let autoscaler = cloud.cloud_autoscaler(&arguments);
    cloud
        .until("counted", |status| {
            queue(status).visible == 12 && queue(status).approximate && status.want == 3
        })
        .await;

    // One gateway waits for two of them. For a while there may be others; then its word is enough.
    let url = format!("http://127.0.0.1:{}", cloud.autoscaler);
    let mut control = ControlServiceClient::connect(url).await.unwrap();
    let (reports, receiver) = mpsc::channel(1);
    let _answers = control.gateway_session(ReceiverStream::new(receiver)).await.unwrap();
    let report = GatewaySessionRequest {
        gateway_id: "one".to_owned(),
        waiting: 2,
        ..GatewaySessionRequest::default()
    };
    let reporting = tokio::spawn(async move {
        while reports.send(report.clone()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seen = queue(&cloud.status().await);
    assert_eq!((seen.visible, seen.approximate), (12, true));
    cloud.until("exact", |status| queue(status).visible == 2 && !queue(status).approximate).await;
    reporting.abort();
    assert_eq!(autoscaler.stop().await, Some(0));
}

#[tokio::test]
async fn queue_that_is_not_there_is_told_at_the_start() {
    let Some(moto) = Moto::start().await else { return };
    let cloud = Cloud::with(moto.endpoint());
    let arguments = [&ARGUMENTS[..], &["sqs://us-east-1/missing"]].concat();
    let mut autoscaler = cloud.cloud_autoscaler(&arguments);
    assert_eq!(autoscaler.ended().await, Some(78), "{}", autoscaler.said());
    let said = autoscaler.said();
    assert!(said.contains("open --queue") && said.contains("missing"), "{said}");
}
