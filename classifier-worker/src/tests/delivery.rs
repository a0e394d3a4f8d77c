//! From the queue to the gateway: one answer for each image, whatever happens in between.

use async_trait::async_trait;
use platform::{
    Kind, Result,
    error::from_rpc_status,
    queue::{Delivery, Lease, Receive},
    store,
};
use prost::Message as _;
use proto::v1::{ImageResult, ImageState};
use tokio_util::sync::CancellationToken;

use super::{gateway::Gateway, *};

fn kind(result: &ImageResult) -> Option<Kind> {
    result.error.as_ref().map(|error| from_rpc_status(error).kind())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_task_is_answered_then_acked() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    let tasks = (0..50).map(|i| task(&format!("task-{i}"), &gateway.url())).collect::<Vec<_>>();
    queue.send(tasks).await.unwrap();
    let worker = Running::start(options("stub:0"), queue.clone()).await;
    eventually("all are acked", async || is_empty(&queue).await).await;
    worker.stop().await;
    assert_eq!(gateway.results().len(), 50);
    let result = gateway.result("task-7").unwrap();
    assert_eq!(result.state(), ImageState::Succeeded);
    assert_eq!(result.custom_id, "task-7.jpg");
    assert_eq!(result.classifications[0].label, "task-7");
    let execution = result.execution.unwrap();
    assert_eq!((execution.worker_id.as_str(), execution.instance_id.as_str()), ("worker-1", "slot-1"));
    assert_eq!((execution.model.as_str(), execution.model_version.as_str()), ("stub", "1"));
    assert_eq!(execution.attempt, 1);
    assert!((1..=8).contains(&execution.batch_size));
    assert!(
        execution.enqueue_time.is_some() && execution.start_time.is_some() && execution.end_time.is_some()
    );
    assert!(execution.queue_duration.is_some() && execution.decode_duration.is_some());
    assert!(execution.inference_duration.is_some() && execution.fetch_duration.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_task_is_answered_without_being_classified() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    let mut late = task("late", &gateway.url());
    late.deadline = Some(platform::time::now());
    queue.send(vec![late]).await.unwrap();
    let worker = Running::start(options("stub:0"), queue.clone()).await;
    eventually("it is acked", async || is_empty(&queue).await).await;
    worker.stop().await;
    let result = gateway.result("late").unwrap();
    assert_eq!(result.state(), ImageState::Expired);
    assert_eq!(kind(&result), Some(Kind::ExpiredInQueue));
    assert!(from_rpc_status(result.error.as_ref().unwrap()).metadata().contains_key("queue_ms"));
    assert_eq!(result.execution.unwrap().batch_size, 0);
    assert!(gateway.started().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_task_is_acked_and_not_classified() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    gateway.withdraw("gone");
    // The first keeps the only thread busy while the word about the second arrives.
    queue.send(vec![task("first", &gateway.url()), task("gone", &gateway.url())]).await.unwrap();
    let worker = Running::start(options("stub:300ms"), queue.clone()).await;
    eventually("both are acked", async || is_empty(&queue).await).await;
    worker.stop().await;
    let mut started = gateway.started();
    started.sort();
    assert_eq!(started, ["first", "gone"]);
    assert_eq!(gateway.results().len(), 1);
    assert!(gateway.result("first").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn task_for_another_model_is_refused() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    let of = |id: &str, model: &str| Task { model: model.to_owned(), ..task(id, &gateway.url()) };
    queue.send(vec![of("a", "stub"), of("b", "stub@1"), of("c", "stub@2"), of("d", "other")]).await.unwrap();
    let worker = Running::start(options("stub:0"), queue.clone()).await;
    eventually("all are acked", async || is_empty(&queue).await).await;
    worker.stop().await;
    let check =
        |id: &str, wanted: Option<Kind>| assert_eq!(kind(&gateway.result(id).unwrap()), wanted, "{id}");
    check("a", None);
    check("b", None);
    check("c", Some(Kind::ModelNotFound));
    check("d", Some(Kind::ModelNotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn task_without_an_image_or_with_a_strange_uri_is_an_error_of_that_image() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    let of = |id: &str, input: Option<Input>| Task { input, ..task(id, &gateway.url()) };
    let uri = Input::Uri("ftp://host/cat.jpg".to_owned());
    queue.send(vec![of("none", None), of("ftp", Some(uri))]).await.unwrap();
    let worker = Running::start(options("stub:0"), queue.clone()).await;
    eventually("both are acked", async || is_empty(&queue).await).await;
    worker.stop().await;
    assert_eq!(kind(&gateway.result("none").unwrap()), Some(Kind::ImageEmpty));
    assert_eq!(kind(&gateway.result("ftp").unwrap()), Some(Kind::UriSchemeUnsupported));
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_waits_for_a_gateway_that_restarts() {
    let (queue, mut gateway) = (queue(), Gateway::start().await);
    queue.send(vec![task("before", &gateway.url())]).await.unwrap();
    let worker = Running::start(options("stub:300ms"), queue.clone()).await;
    eventually("it is begun", async || gateway.started() == ["before"]).await;
    gateway.crash();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!is_empty(&queue).await, "acked before its answer was taken");
    gateway.restart().await;
    eventually("it is acked", async || is_empty(&queue).await).await;
    worker.stop().await;
    assert_eq!(gateway.results().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn task_of_a_killed_worker_is_answered_by_another() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    queue.send(vec![task("orphan", &gateway.url())]).await.unwrap();
    let slow = Options { lease: Duration::from_secs(1), ..options("stub:1h") };
    let worker = Running::start(slow, queue.clone()).await;
    eventually("it is begun", async || gateway.started() == ["orphan"]).await;
    worker.kill().await;
    let worker = Running::start(options("stub:0"), queue.clone()).await;
    eventually("it is acked", async || is_empty(&queue).await).await;
    worker.stop().await;
    assert_eq!(gateway.result("orphan").unwrap().execution.unwrap().attempt, 2);
    assert_eq!(gateway.results().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_is_kept_alive_while_work_goes_on() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    queue.send(vec![task("long", &gateway.url())]).await.unwrap();
    let short = Options { lease: Duration::from_millis(300), ..options("stub:1200ms") };
    let worker = Running::start(short, queue.clone()).await;
    eventually("it is acked", async || is_empty(&queue).await).await;
    worker.stop().await;
    assert_eq!(gateway.results().len(), 1);
    assert_eq!(gateway.result("long").unwrap().execution.unwrap().attempt, 1);
}

/// A queue that says of every lease it is asked to extend that it has ended.
struct Forgetful(Arc<MemoryQueue>);

#[async_trait]
impl Queue for Forgetful {
    async fn send(&self, tasks: Vec<Task>) -> Result<()> {
        self.0.send(tasks).await
    }
    async fn receive(&self, receive: Receive) -> Result<Vec<Delivery>> {
        self.0.receive(receive).await
    }
    async fn extend(&self, leases: &[Lease], _by: Duration) -> Result<Vec<Lease>> {
        Ok(leases.to_vec())
    }
    async fn ack(&self, leases: &[Lease]) -> Result<()> {
        self.0.ack(leases).await
    }
    async fn release(&self, leases: &[Lease]) -> Result<()> {
        self.0.release(leases).await
    }
    async fn stop_receiving(&self) -> Result<()> {
        self.0.stop_receiving().await
    }
    async fn counts(&self) -> Result<Counts> {
        self.0.counts().await
    }
    fn dead_letters(&self) -> Option<Arc<dyn Queue>> {
        self.0.dead_letters()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_to_a_lost_lease_is_dropped() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    let lease = Duration::from_millis(600);
    queue.send(vec![task("lost", &gateway.url())]).await.unwrap();
    let forgetful = Options { lease, ..options("stub:500ms") };
    let worker = Running::start(forgetful, Arc::new(Forgetful(queue.clone()))).await;
    // Each attempt is lost in the middle of its work; after the third it is a dead letter.
    let dead_letters = queue.dead_letters().unwrap();
    eventually("it is a dead letter", async || {
        // The memory queue looks at the ends of leases when it is asked for something.
        queue.counts().await.unwrap();
        dead_letters.counts().await.unwrap().visible == 1
    })
    .await;
    worker.stop().await;
    assert_eq!(gateway.started(), ["lost", "lost", "lost"]);
    assert!(gateway.results().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn image_and_result_can_be_in_the_store() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let store = store::open(&url).await.unwrap();
    store.put("images/1", "an image".into()).await.unwrap();
    let of = |id: &str, key: &str| Task {
        input: Some(Input::StoreKey(key.to_owned())),
        result_key: format!("results/{id}"),
        ..task(id, &gateway.url())
    };
    queue.send(vec![of("there", "images/1"), of("missing", "images/2")]).await.unwrap();
    let worker = Running::start(Options { store: Some(url), ..options("stub:0") }, queue.clone()).await;
    eventually("both are acked", async || is_empty(&queue).await).await;
    worker.stop().await;
    let there = gateway.result("there").unwrap();
    assert_eq!(there.classifications[0].label, "there");
    assert!(there.execution.as_ref().unwrap().fetch_duration.is_some());
    assert_eq!(ImageResult::decode(store.get("results/there").await.unwrap()).unwrap(), there);
    assert_eq!(kind(&gateway.result("missing").unwrap()), Some(Kind::ObjectNotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn result_is_left_for_a_repeat_of_the_call_when_the_gateway_is_gone() {
    let (queue, mut gateway) = (queue(), Gateway::start().await);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let store = store::open(&url).await.unwrap();
    let soon = Some(platform::time::in_future(Duration::from_millis(500)));
    let of = |id: &str| Task {
        deadline: soon,
        fallback_key: format!("requests/x/{id}"),
        ..task(id, &gateway.url())
    };
    queue.send(vec![of("1")]).await.unwrap();
    let worker = Running::start(Options { store: Some(url), ..options("stub:200ms") }, queue.clone()).await;
    eventually("it is begun", async || !gateway.started().is_empty()).await;
    gateway.crash();
    eventually("it is acked", async || is_empty(&queue).await).await;
    worker.stop().await;
    let left = ImageResult::decode(store.get("requests/x/1").await.unwrap()).unwrap();
    assert_eq!(left.classifications[0].label, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn task_with_a_useless_reply_address_becomes_a_dead_letter() {
    let queue = queue();
    queue.send(vec![task("nowhere", "nonsense"), task("elsewhere", "kafka://replies")]).await.unwrap();
    let worker = Running::start(options("stub:0"), queue.clone()).await;
    let dead_letters = queue.dead_letters().unwrap();
    eventually("both are dead letters", async || dead_letters.counts().await.unwrap().visible == 2).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_worker_finishes_what_it_has_begun_and_gives_back_the_rest() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    let tasks = (0..10).map(|i| task(&format!("task-{i}"), &gateway.url())).collect::<Vec<_>>();
    queue.send(tasks).await.unwrap();
    let worker = Running::start(options("stub:300ms"), queue.clone()).await;
    eventually("one is begun", async || !gateway.started().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    worker.stop().await;
    let Counts { visible, leased, .. } = queue.counts().await.unwrap();
    assert_eq!((visible, leased), (9, 0));
    assert_eq!(gateway.results().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphaned_worker_does_not_wait_for_a_gateway_that_is_gone() {
    let (queue, mut gateway) = (queue(), Gateway::start().await);
    queue.send(vec![task("orphan", &gateway.url())]).await.unwrap();
    let worker = Worker::with_queue(options("stub:200ms"), queue.clone()).await.unwrap();
    let (shutdown, orphaned) = (Shutdown::new(), CancellationToken::new());
    let (for_run, parent) = (shutdown.clone(), orphaned.clone());
    let running = tokio::spawn(async move { worker.pipeline.run(&for_run, &parent).await });
    eventually("it is begun", async || !gateway.started().is_empty()).await;
    gateway.crash();
    orphaned.cancel();
    shutdown.stop.cancel();
    tokio::time::timeout(PATIENCE, running).await.expect("worker ends").unwrap().unwrap();
    assert!(!is_empty(&queue).await, "not acked, since nobody took its answer");
}
