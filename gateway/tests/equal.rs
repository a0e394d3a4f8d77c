//! Equal images: answered from what was kept, or by one task for all who wait.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proto::v1::{
    BatchClassifyRequest, Classification, ClassifyOptions, ClassifyRequest, ClassifyStreamRequest,
    ClassifyStreamResponse, Image, ImageResult, ImageState, Priority, classify_stream_response::Event,
};
use support::{JPEG, System, image, labelled, start};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;

mod support;

const CACHED: [&str; 4] = ["--cache-bytes", "1000000", "--serve-model", "test@1"];

fn request(image: Image, options: ClassifyOptions) -> ClassifyRequest {
    ClassifyRequest { image: Some(image), options: Some(options), ..ClassifyRequest::default() }
}

/// A caller that waits.
async fn calls(system: &System, name: &str, options: ClassifyOptions) -> JoinHandle<ImageResult> {
    let mut client = system.client().await;
    let request = request(image(name, JPEG), options);
    tokio::spawn(async move { client.classify(request).await.unwrap().into_inner().result.unwrap() })
}

/// Until that many images wait at the gateway for a worker or for one that works.
async fn counted(system: &System, what: &str, images: u64) {
    for _ in 0..500 {
        if system.counted(what) >= images {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // until the server has taken it in
    }
    panic!("{what}: {} and not {images}", system.counted(what));
}

fn is_cached(result: &ImageResult) -> bool {
    result.execution.as_ref().unwrap().cached
}

#[tokio::test]
async fn equal_image_is_answered_without_a_worker_and_says_so() {
    let system = start(&CACHED).await;
    let worker = system.working_worker().await;
    let first = calls(&system, "cat.jpg", ClassifyOptions::default()).await.await.unwrap();
    assert!(!is_cached(&first));
    worker.abort();
    let again = calls(&system, "dog.jpg", ClassifyOptions::default()).await.await.unwrap();
    assert!(is_cached(&again));
    assert_eq!((again.custom_id.as_str(), again.classifications[0].label.as_str()), ("dog.jpg", "cat"));
    assert_eq!(again.execution.unwrap().queue_duration, None, "no time went anywhere");
    assert_eq!((system.counted("cache_hit"), system.counted("cache_miss")), (1, 1));
    let totals = system.gateway_totals();
    assert_eq!(totals, (1, 1), "what is answered from memory never was in the queue");
    system.stop().await;
}

#[tokio::test]
async fn no_cache_classifies_again_and_still_fills() {
    let system = start(&CACHED).await;
    let worker = system.working_worker().await;
    let anew = || ClassifyOptions { no_cache: true, ..ClassifyOptions::default() };
    for name in ["one.jpg", "two.jpg"] {
        let result = calls(&system, name, anew()).await.await.unwrap();
        assert!(!is_cached(&result));
        assert_eq!(result.classifications[0].label, name.split_once('.').unwrap().0);
    }
    let result = calls(&system, "three.jpg", ClassifyOptions::default()).await.await.unwrap();
    assert!(is_cached(&result));
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn each_caller_gets_its_cut_of_the_one_answer() {
    let system = start(&CACHED).await;
    let mut worker = system.worker().await;
    let wanting = |top_k, min_score| ClassifyOptions { top_k, min_score, ..ClassifyOptions::default() };
    let first = calls(&system, "a", wanting(2, 0.0)).await;
    let held = worker.receive(1).await;
    assert_eq!((held[0].task.top_k, held[0].task.min_score), (10, 0.0));
    let second = calls(&system, "b", wanting(10, 0.75)).await;
    counted(&system, "coalesced", 1).await;
    let class = |class_id: u32, score| Classification { class_id, label: class_id.to_string(), score };
    let classifications = (0..10_u16).map(|i| class(u32::from(i), 1.0 - 0.1 * f32::from(i))).collect();
    worker.start(&held[0]).await;
    worker.reply(&held[0], ImageResult { classifications, ..labelled("", 1) }).await;
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first.classifications.len(), second.classifications.len()), (2, 3));
    assert_eq!((first.custom_id.as_str(), second.custom_id.as_str()), ("a", "b"));
    assert_eq!(calls(&system, "c", wanting(7, 0.0)).await.await.unwrap().classifications.len(), 7);
    // More than the worker was asked for is not there.
    let more = calls(&system, "d", wanting(11, 0.0)).await;
    let held = worker.receive(1).await;
    assert_eq!(held[0].task.top_k, 11);
    worker.answer(&held[0]).await;
    assert!(!is_cached(&more.await.unwrap()));
    system.stop().await;
}

#[tokio::test]
async fn a_hundred_equal_images_in_flight_are_classified_once() {
    let system = start(&CACHED).await;
    let mut worker = system.worker().await;
    let mut callers = Vec::new();
    for i in 0..40 {
        callers.push(calls(&system, &format!("one-{i}"), ClassifyOptions::default()).await);
    }
    let images = (0..60).map(|i| image(&format!("many-{i}"), JPEG)).collect();
    let many = ClassifyStreamRequest { images, include_progress: true, ..Default::default() };
    let events = system.client().await.classify_stream(many).await.unwrap().into_inner();
    counted(&system, "coalesced", 99).await;
    let held = worker.receive(8).await;
    assert_eq!(held.len(), 1, "one task");
    worker.answer(&held[0]).await;
    for (i, caller) in callers.into_iter().enumerate() {
        let result = caller.await.unwrap();
        assert!(!is_cached(&result));
        assert_eq!(result.custom_id, format!("one-{i}"));
    }
    let events: Vec<ClassifyStreamResponse> = events.map(Result::unwrap).collect().await;
    let mut indexes = Vec::new();
    let mut begun = 0;
    for event in events {
        match event.event.unwrap() {
            Event::Result(result) => indexes.push(result.index),
            Event::Progress(progress) => begun += usize::from(progress.state() == ImageState::Running),
            _ => {}
        }
    }
    indexes.sort_unstable();
    assert_eq!(indexes, (0..60).collect::<Vec<_>>());
    assert_eq!(begun, 60, "each is told that a worker began");
    assert_eq!(system.gateway_totals(), (1, 1));
    system.stop().await;
}

#[tokio::test]
async fn task_goes_on_while_one_caller_is_left_and_is_withdrawn_with_the_last() {
    let system = start(&CACHED).await;
    let first = calls(&system, "a", ClassifyOptions::default()).await;
    let worker = system.worker().await;
    counted(&system, "cache_miss", 1).await;
    let second = calls(&system, "b", ClassifyOptions::default()).await;
    counted(&system, "coalesced", 1).await;
    first.abort();
    counted(&system, "withdrawn", 1).await;
    assert_eq!(system.queue().counts().await.unwrap().visible, 1, "the other waits for it");
    let third = calls(&system, "c", ClassifyOptions::default()).await;
    counted(&system, "coalesced", 2).await;
    second.abort();
    third.abort();
    counted(&system, "withdrawn", 3).await;
    assert_eq!(system.queue().counts().await.unwrap().visible, 0);
    drop(worker);
    system.stop().await;
}

#[tokio::test]
async fn caller_whose_time_is_over_hears_so_while_others_wait_on() {
    let system = start(&CACHED).await;
    let patient = calls(&system, "patient", ClassifyOptions::default()).await;
    counted(&system, "cache_miss", 1).await;
    let mut client = system.client().await;
    let longest = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
    let hasty = ClassifyOptions { max_queue_duration: longest, ..ClassifyOptions::default() };
    let status = client.classify(request(image("hasty", JPEG), hasty)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    assert_eq!(system.counted("coalesced"), 1);
    let worker = system.working_worker().await;
    assert_eq!(patient.await.unwrap().state(), ImageState::Succeeded);
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn urgent_image_does_not_wait_for_one_that_is_not() {
    let system = start(&CACHED).await;
    let of = |priority: Priority| ClassifyOptions { priority: priority.into(), ..ClassifyOptions::default() };
    let slow = calls(&system, "slow", of(Priority::Batch)).await;
    counted(&system, "cache_miss", 1).await;
    let urgent = calls(&system, "urgent", of(Priority::Interactive)).await;
    counted(&system, "cache_miss", 2).await;
    for _ in 0..200 {
        if system.queue().counts().await.unwrap().visible == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // until it is queued
    }
    assert_eq!(system.queue().counts().await.unwrap().visible, 2, "a task of its own");
    let also = calls(&system, "also", of(Priority::Batch)).await;
    counted(&system, "coalesced", 1).await;
    let worker = system.working_worker().await;
    for caller in [slow, urgent, also] {
        assert_eq!(caller.await.unwrap().state(), ImageState::Succeeded);
    }
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn failure_is_every_callers_and_is_not_kept() {
    let system = start(&CACHED).await;
    let images = vec![image("a", JPEG), image("b", JPEG)];
    let mut client = system.client().await;
    let request = BatchClassifyRequest { images, ..BatchClassifyRequest::default() };
    let both = tokio::spawn(async move { client.batch_classify(request).await.unwrap().into_inner() });
    let worker = system.worker().await;
    for _ in 1..=3 {
        let held = worker.receive(1).await;
        worker.queue.release(&[held[0].lease.clone()]).await.unwrap();
    }
    for result in both.await.unwrap().results {
        let error = platform::error::from_rpc_status(result.error.as_ref().unwrap());
        assert_eq!(error.kind(), platform::Kind::MaxAttempts);
    }
    let worker = system.working_worker().await;
    let again = calls(&system, "c", ClassifyOptions::default()).await.await.unwrap();
    assert!(!is_cached(&again));
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn new_version_of_the_model_answers_anew() {
    let system = start(&CACHED).await;
    let worker = system.working_worker().await;
    calls(&system, "old", ClassifyOptions::default()).await.await.unwrap();
    worker.abort();
    let mut next = system.worker_of("test", "2").await;
    let caller = calls(&system, "new", ClassifyOptions::default()).await;
    let held = next.receive(1).await;
    let mut result = labelled("new", 1);
    result.execution.as_mut().unwrap().model_version = "2".to_owned();
    next.start(&held[0]).await;
    next.reply(&held[0], result).await;
    assert_eq!(caller.await.unwrap().classifications[0].label, "new");
    let pinned = |model: &str| ClassifyOptions { model: model.to_owned(), ..ClassifyOptions::default() };
    for (model, label) in [("", "new"), ("test", "new"), ("test@1", "old"), ("test@2", "new")] {
        let result = calls(&system, "x", pinned(model)).await.await.unwrap();
        assert_eq!((is_cached(&result), result.classifications[0].label.as_str()), (true, label), "{model}");
    }
    system.stop().await;
}

#[tokio::test]
async fn where_results_are_kept_under_names_another_name_is_another_image() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    let course = ["--profile", "cse546", "--store", &store, "--cache-bytes", "1000000"];
    let system = start(&[&course[..], &["--serve-model", "test@1"]].concat()).await;
    let worker = system.working_worker().await;
    for (name, cached) in [("a.jpg", false), ("b.jpg", false), ("a.jpg", true), ("b.jpg", true)] {
        let result = calls(&system, name, ClassifyOptions::default()).await.await.unwrap();
        assert_eq!((is_cached(&result), result.classifications[0].label.as_str()), (cached, &name[..1]));
    }
    worker.abort();
    system.stop().await;
}

#[tokio::test]
async fn restarted_gateway_finds_results_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    let flags = [&CACHED[..], &["--store", &store, "--cache-store"]].concat();
    let system = start(&flags).await;
    let worker = system.working_worker().await;
    calls(&system, "first", ClassifyOptions::default()).await.await.unwrap();
    let kept = folder.path().join("results");
    while std::fs::read_dir(&kept).map_or(0, |files| files.count()) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await; // it is written behind the answer
    }
    worker.abort();
    system.stop().await;
    let system = start(&flags).await;
    let again = calls(&system, "second", ClassifyOptions::default()).await.await.unwrap();
    assert!(is_cached(&again));
    assert_eq!(again.classifications[0].label, "first");
    system.stop().await;
}
