//! How many calls to AWS an image takes: counted by the SDK's own metrics in all processes, summed by the autoscaler.
#![allow(clippy::unwrap_used)]

mod aws_world;

use std::time::Duration;

use aws_world::{Cloud, classify_many};
use platform::aws::stand_in::{self, Fauxqs};

const IMAGES: usize = 1000;
const AT_ONCE: usize = 100;
const IMAGE_BYTES: usize = 60_000;

/// Calls for each of a thousand images under load, after a first hundred.
async fn calls_per_image(gateway: &[&str], worker: &[&str]) -> Option<f64> {
    let fauxqs = Fauxqs::start().await?;
    let cloud = Cloud::make(&stand_in::config(&fauxqs.endpoint()), fauxqs.endpoint()).await;
    let _gateway = cloud.gateway(gateway);
    let worker = [&["--model=stub:0"], worker].concat();
    let _autoscaler = cloud
        .local_autoscaler(&worker, &["--policy=fixed", "--instances=2", "--max-instances=2", "--tick=500ms"]);
    classify_many(&cloud, 100, 10, IMAGE_BYTES).await;
    // Heartbeats and reports come once a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = cloud.calls().await;
    classify_many(&cloud, IMAGES, AT_ONCE, IMAGE_BYTES).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = cloud.status().await;
    let after = status.cloud_calls.iter().map(|calls| calls.count).sum::<u64>();
    println!("{:?}", status.cloud_calls);
    #[allow(clippy::cast_precision_loss)]
    Some((after - before) as f64 / IMAGES as f64)
}

#[tokio::test(flavor = "multi_thread")]
async fn image_in_its_message_takes_at_most_one_call() {
    let Some(calls) = calls_per_image(&[], &[]).await else { return };
    println!("{calls} calls an image");
    assert!(calls > 0.1, "they are counted");
    assert!(calls <= 1.0, "{calls} calls an image");
}

#[tokio::test(flavor = "multi_thread")]
async fn image_and_result_in_s3_take_at_most_three_calls() {
    let gateway = ["--store=s3://images/in", "--inline-bytes-max=0", "--keep-results"];
    let worker = ["--store=s3://images/in", "--results=s3://results/out"];
    let Some(calls) = calls_per_image(&gateway, &worker).await else { return };
    println!("{calls} calls an image");
    assert!(calls >= 2.0, "one to read and one to keep the result at least");
    assert!(calls <= 3.0, "{calls} calls an image");
}
