//! A caller that stops reading its answers costs what its answers take, and nobody else waits for it.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use process::Process;
use proto::v1::{Classification, ClassifyRequest, ClassifyStreamRequest, classify_stream_response::Event};
use support::{JPEG, System, image, labelled};
use tokio::task::JoinHandle;

mod process;
mod support;

const IMAGES: usize = 1000;
/// Classes in each answer, with labels of 40 bytes: 1,000 answers are 6 MB, more than all windows of
/// a connection take.
const CLASSES: u32 = 100;

/// Answers everything with many classes.
async fn talkative_worker(system: &System) -> JoinHandle<()> {
    let mut worker = system.worker().await;
    tokio::spawn(async move {
        loop {
            for delivery in worker.receive(64).await {
                let mut result = labelled(&delivery.task.custom_id, 1);
                let class = |class_id| Classification {
                    class_id,
                    label: format!("a label of forty bytes, number {class_id:09}"),
                    score: 0.001,
                };
                result.classifications.extend((0..CLASSES).map(class));
                worker.reply(&delivery, result).await;
            }
        }
    })
}

/// The median of some calls, one after the other.
async fn latency(system: &System) -> Duration {
    let mut client = system.client().await;
    let mut times = Vec::new();
    for _ in 0..50 {
        let since = Instant::now();
        let request = ClassifyRequest { image: Some(image("cat.jpg", JPEG)), ..Default::default() };
        client.classify(request).await.unwrap();
        times.push(since.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
async fn slow_reader_does_not_grow_memory_or_slow_others() {
    /// All answers of one caller as the gateway holds them, several times over.
    const GROWTH_MAX: u64 = 64 * 1024 * 1024;
    let process = Process::start(&[]);
    let system = process.system();
    let worker = talkative_worker(&system).await;
    let alone = latency(&system).await;
    let mut slow = Vec::new();
    let before = process.resident();
    let mut client = system.client().await;
    let images = (0..IMAGES).map(|i| image(&format!("{i}.jpg"), JPEG)).collect();
    let request = ClassifyStreamRequest { images, include_progress: true, ..Default::default() };
    let mut events = client.classify_stream(request).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    // Read no further. When all are answered, others find nothing in front of them.
    while system.queue().counts().await.unwrap().visible > 0 {
        slow.push(process.resident());
        tokio::time::sleep(Duration::from_millis(20)).await; // the workers are at it
    }
    let beside = latency(&system).await;
    slow.push(process.resident());
    let peak = slow.into_iter().max().unwrap();
    eprintln!("resident {before} -> {peak}; median {alone:?} alone, {beside:?} beside a slow reader");
    assert!(peak < before + GROWTH_MAX, "{before} -> {peak}");
    assert!(beside < alone * 5 + Duration::from_millis(20), "{alone:?} -> {beside:?}");
    // It may go on at any time, and nothing is lost.
    let mut results = 0;
    while let Some(event) = events.message().await.unwrap() {
        results += usize::from(matches!(event.event, Some(Event::Result(_))));
    }
    assert_eq!(results, IMAGES);
    worker.abort();
}
