//! No work for nobody: a task is looked at when it is received, after its image was fetched, and before its pass. The
//! pass itself is looked at in `pipeline/threads.rs`.

use std::{path::Path, process::Command};

use platform::error::from_rpc_status;
use proto::v1::{ImageState, SkippedImages};

use super::{gateway::Gateway, *};

/// A worker with a store in this folder, whose only thread is busy for good, so that nothing is skipped there.
async fn busy_worker(folder: &Path, queue: &Arc<MemoryQueue>, gateway: &Gateway) -> (Running, Arc<Status>) {
    let store = Some(format!("file://{}", folder.display()));
    let worker = Worker::with_queue(Options { store, ..options("stub:1h") }, queue.clone()).await.unwrap();
    let status = worker.pipeline.status();
    let running = Running::of(worker);
    queue.send(vec![task("busy", &gateway.url())]).await.unwrap();
    eventually("the thread is busy", async || gateway.started() == ["busy"]).await;
    (running, status)
}

/// An image whose fetching lasts until somebody writes it.
fn slow_image(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("slow");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn image_that_expired_before_it_was_received_is_not_even_fetched() {
    let (queue, gateway, folder) = (queue(), Gateway::start().await, tempfile::tempdir().unwrap());
    let (worker, status) = busy_worker(folder.path(), &queue, &gateway).await;
    let late = Task {
        input: Some(Input::StoreKey("nothing/there".to_owned())),
        deadline: Some(platform::time::now()),
        ..task("late", &gateway.url())
    };
    queue.send(vec![late]).await.unwrap();
    eventually("it is answered", async || gateway.result("late").is_some()).await;
    assert_eq!(gateway.result("late").unwrap().state(), ImageState::Expired);
    assert_eq!(status.pace.figures().skipped, SkippedImages { cancelled: 0, expired: 1 });
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn image_that_is_cancelled_while_it_is_fetched_is_acked_and_goes_to_no_thread() {
    let (queue, gateway, folder) = (queue(), Gateway::start().await, tempfile::tempdir().unwrap());
    let (worker, status) = busy_worker(folder.path(), &queue, &gateway).await;
    let slow = slow_image(folder.path());
    gateway.withdraw("gone");
    let gone = Task { input: Some(Input::StoreKey("slow".to_owned())), ..task("gone", &gateway.url()) };
    queue.send(vec![gone]).await.unwrap();
    eventually("it is begun", async || gateway.started().contains(&"gone".to_owned())).await;
    tokio::fs::write(&slow, b"an image").await.unwrap();
    eventually("it is acked", async || queue.counts().await.unwrap().leased == 1).await;
    assert_eq!(status.pace.figures().skipped, SkippedImages { cancelled: 1, expired: 0 });
    assert!(gateway.result("gone").is_none());
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn image_that_expires_while_it_is_fetched_is_answered_and_goes_to_no_thread() {
    let (queue, gateway, folder) = (queue(), Gateway::start().await, tempfile::tempdir().unwrap());
    let (worker, status) = busy_worker(folder.path(), &queue, &gateway).await;
    let slow = slow_image(folder.path());
    let late = Task {
        input: Some(Input::StoreKey("slow".to_owned())),
        deadline: Some(platform::time::in_future(Duration::from_millis(300))),
        ..task("late", &gateway.url())
    };
    queue.send(vec![late]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await; // until its deadline, by the wall clock
    tokio::fs::write(&slow, b"an image").await.unwrap();
    eventually("it is answered", async || gateway.result("late").is_some()).await;
    let result = gateway.result("late").unwrap();
    let error = from_rpc_status(result.error.as_ref().unwrap());
    assert_eq!((result.state(), error.kind()), (ImageState::Expired, platform::Kind::ExpiredInQueue));
    assert_eq!(status.pace.figures().skipped, SkippedImages { cancelled: 0, expired: 1 });
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn image_that_is_cancelled_or_expires_in_the_line_has_no_pass() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    gateway.withdraw("gone");
    let worker = Worker::with_queue(options("stub:500ms"), queue.clone()).await.unwrap();
    let status = worker.pipeline.status();
    let worker = Running::of(worker);
    // The first keeps the only thread busy meanwhile.
    let late = Task {
        deadline: Some(platform::time::in_future(Duration::from_millis(300))),
        ..task("late", &gateway.url())
    };
    queue.send(vec![task("first", &gateway.url())]).await.unwrap();
    eventually("the first is begun", async || gateway.started() == ["first"]).await;
    queue.send(vec![late]).await.unwrap();
    eventually("all are acked", async || is_empty(&queue).await).await;
    queue.send(vec![task("second", &gateway.url()), task("gone", &gateway.url())]).await.unwrap();
    eventually("all are acked", async || is_empty(&queue).await).await;
    let figures = status.pace.figures();
    assert_eq!(figures.skipped, SkippedImages { cancelled: 1, expired: 1 });
    let states = gateway.results().into_iter().map(|(id, result)| (id, result.state())).collect::<Vec<_>>();
    assert_eq!(
        states,
        [
            ("first".to_owned(), ImageState::Succeeded),
            ("late".to_owned(), ImageState::Expired),
            ("second".to_owned(), ImageState::Succeeded)
        ]
    );
    worker.stop().await;
}
