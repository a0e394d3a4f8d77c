//! One answer, with real processes that are killed: a repeat of the call, and images that share a task.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proto::v1::{ClassifyRequest, ClassifyStreamRequest, InstanceState, classify_stream_response::Event};
use rustix::process::{Signal, kill_process};
use world::{JPEG, Up, image, images, until, until_async};

mod world;

const FIXED: [&str; 6] = ["--policy", "fixed", "--instances", "1", "--model", "stub:20ms"];

#[tokio::test]
async fn answered_call_is_known_after_the_gateway_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let request = ClassifyRequest {
        image: Some(image("cat.jpg", JPEG)),
        request_id: "r1".to_owned(),
        ..ClassifyRequest::default()
    };
    let mut up = Up::stub_in(folder.path(), &FIXED);
    let first = up.client().await.classify(request.clone()).await.unwrap().into_inner().result.unwrap();
    // It is written down behind the answer; until then a restarted gateway waits for the claim to end.
    up.signal(Signal::KILL);
    up.wait();
    let up = Up::stub_in(folder.path(), &FIXED);
    let again = up.client().await.classify(request.clone()).await.unwrap().into_inner().result.unwrap();
    assert_eq!(again.classifications, first.classifications);
    let third = up.client().await.classify(request).await.unwrap().into_inner().result.unwrap();
    assert_eq!(third.execution, again.execution, "answered once");
}

#[tokio::test]
async fn equal_images_of_a_killed_worker_are_each_answered_once() {
    let flags = ["--model", "stub:1s", "--cache-bytes", "1000000"];
    let up = Up::stub(&[&["--policy", "fixed", "--instances", "1"][..], &flags].concat());
    until_async("a worker", async || (up.instances(InstanceState::Ready).await == 1).then_some(())).await;
    let request = ClassifyStreamRequest { images: images(40), include_progress: true, ..Default::default() };
    let mut events = up.client().await.classify_stream(request).await.unwrap().into_inner();
    let (mut answers, mut killed) = (vec![0; 40], false);
    while let Some(event) =
        tokio::time::timeout(Duration::from_secs(60), events.message()).await.unwrap().unwrap()
    {
        match event.event.unwrap() {
            Event::Progress(progress) if !progress.worker_id.is_empty() && !killed => {
                let victim = until("the worker", || up.workers().first().copied());
                kill_process(victim, Signal::KILL).unwrap();
                killed = true;
            }
            Event::Result(result) => {
                assert!(killed);
                assert_eq!(result.custom_id, format!("{}.jpg", result.index));
                assert_eq!(result.execution.unwrap().attempt, 2, "by the next worker");
                answers[result.index as usize] += 1;
            }
            _ => {}
        }
    }
    assert_eq!(answers, vec![1; 40]);
}
