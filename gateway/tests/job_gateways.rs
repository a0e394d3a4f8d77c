//! Several gateways on one store, and what a gateway finds in the store when it starts.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use platform::auth::{KeyFile, NewKey, Scope, Secret};
use proto::v1::{
    CancelJobRequest, CreateJobRequest, GetJobRequest, JobState, ListJobsRequest, WatchJobRequest,
    watch_job_response::Event,
};
use support::jobs::{cancel, create, get, of_count, reason, results, sorted, start_in, states, watch};

mod support;

#[tokio::test]
async fn job_of_a_dead_gateway_is_taken_over_and_any_gateway_answers_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (first, mut at_first) = start_in(folder.path(), &[]).await;
    let (second, mut at_second) = start_in(folder.path(), &[]).await;
    let request = CreateJobRequest { request_id: "one".to_owned(), ..of_count(100) };
    let job = create(&mut at_first, request.clone()).await;
    assert_eq!(create(&mut at_second, request).await.name, job.name);
    // Whichever of them has it.
    let mut at_other = at_second.clone();
    let watching = tokio::spawn({
        let name = job.name.clone();
        async move { watch(&mut at_other, &name, 0).await }
    });
    let mut worker = first.worker().await;
    for delivery in worker.receive(20).await {
        worker.answer(&delivery).await;
    }
    first.running.abort();
    let _ = first.running.await;
    let working = second.working_worker().await;
    let events = watching.await.unwrap();
    assert_eq!(sorted(results(&events)), (0..100).collect::<Vec<_>>());
    assert_eq!(states(&events), [JobState::Queued, JobState::Running, JobState::Succeeded]);
    working.abort();
    second.stop().await;
}

#[tokio::test]
async fn cancel_reaches_the_gateway_that_runs_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let (first, mut at_first) = start_in(folder.path(), &[]).await;
    let job = create(&mut at_first, of_count(300)).await;
    while get(&mut at_first, &job.name).await.state() != JobState::Running {
        tokio::time::sleep(Duration::from_millis(10)).await; // the server takes it up
    }
    let (second, mut at_second) = start_in(folder.path(), &[]).await;
    assert_eq!(cancel(&mut at_second, &job.name).await.state(), JobState::Running);
    let events = watch(&mut at_second, &job.name, 0).await;
    assert_eq!(sorted(results(&events)), (0..300).collect::<Vec<_>>());
    assert_eq!(get(&mut at_first, &job.name).await.state(), JobState::Cancelled);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn stopped_gateway_gives_its_jobs_up_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (first, mut client) = start_in(folder.path(), &[]).await;
    let job = create(&mut client, of_count(50)).await;
    let mut worker = first.worker().await;
    for delivery in worker.receive(8).await {
        worker.answer(&delivery).await;
    }
    let mut stream = client
        .watch_job(WatchJobRequest { name: job.name.clone(), ..WatchJobRequest::default() })
        .await
        .unwrap()
        .into_inner();
    drop(worker);
    let stopping = tokio::spawn(first.stop());
    let told = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert_eq!(told.unwrap_err().code(), tonic::Code::Unavailable);
    stopping.await.unwrap();
    let (second, mut client) = start_in(folder.path(), &[]).await;
    let working = second.working_worker().await;
    assert_eq!(sorted(results(&watch(&mut client, &job.name, 0).await)), (0..50).collect::<Vec<_>>());
    working.abort();
    second.stop().await;
}

#[tokio::test]
async fn creation_that_was_broken_off_is_not_seen_and_swept() {
    let folder = tempfile::tempdir().unwrap();
    let id = "01J00000000000000000000000";
    let jobs = folder.path().join("jobs");
    for file in
        ["open/ID", "ID/pages/000000", "ID/bundles/000000"].map(|file| jobs.join(file.replace("ID", id)))
    {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "half").unwrap();
    }
    let (system, mut client) = start_in(folder.path(), &[]).await;
    let listed = client.list_jobs(ListJobsRequest::default()).await.unwrap().into_inner();
    assert!(listed.jobs.is_empty());
    let since = std::time::Instant::now();
    while jobs.exists() {
        assert!(since.elapsed() < Duration::from_secs(30), "it is still there");
        tokio::time::sleep(Duration::from_millis(20)).await; // the server sweeps by its own clock
    }
    system.stop().await;
}

#[tokio::test]
async fn slow_watcher_holds_up_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (system, mut client) = start_in(folder.path(), &[]).await;
    let working = system.working_worker().await;
    let job = create(&mut client, of_count(2000)).await;
    let request = WatchJobRequest { name: job.name.clone(), include_progress: true, ..Default::default() };
    let mut slow = client.watch_job(request).await.unwrap().into_inner();
    assert!(slow.message().await.unwrap().is_some());
    let events = watch(&mut client, &job.name, 0).await;
    assert_eq!(results(&events).len(), 2000);
    let mut left = 0;
    while let Some(event) = slow.message().await.unwrap() {
        left += usize::from(matches!(event.event, Some(Event::Result(_))));
    }
    assert_eq!(left, 2000, "it misses nothing");
    working.abort();
    system.stop().await;
}

#[tokio::test]
async fn job_is_seen_by_the_key_it_was_created_with_and_by_administrators() {
    let (folder, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = beside.path().join("keys.toml");
    std::fs::write(&path, "").unwrap();
    let keys = KeyFile::new(path.clone());
    let key = |name: &str, scope: Scope| {
        let new = NewKey { name: name.to_owned(), scopes: vec![scope], rate: None, expires_in: None };
        keys.create(new).unwrap().0
    };
    let (ann, bob, admin) =
        (key("ann", Scope::Classify), key("bob", Scope::Classify), key("admin", Scope::Admin));
    let (system, client) = start_in(folder.path(), &["--keys", path.to_str().unwrap()]).await;
    fn with<T>(message: T, key: &Secret) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let value = format!("Bearer {}", key.reveal()).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    }
    let request = CreateJobRequest { request_id: "same".to_owned(), ..of_count(3) };
    let create = async |key: &Secret| {
        let created = client.clone().create_job(with(request.clone(), key)).await.unwrap();
        created.into_inner().job.unwrap().name
    };
    let (of_ann, of_bob) = (create(&ann).await, create(&bob).await);
    assert_ne!(of_ann, of_bob, "a request id belongs to its key");
    let get = async |key: &Secret| {
        let asked = GetJobRequest { name: of_ann.clone() };
        client.clone().get_job(with(asked, key)).await
    };
    assert!(get(&ann).await.is_ok() && get(&admin).await.is_ok());
    assert_eq!(reason(&get(&bob).await.unwrap_err()), "JOB_NOT_FOUND");
    let asked = CancelJobRequest { name: of_ann.clone() };
    let refused = client.clone().cancel_job(with(asked, &bob)).await.unwrap_err();
    assert_eq!(reason(&refused), "JOB_NOT_FOUND");
    let count = async |key: &Secret| {
        let listed = client.clone().list_jobs(with(ListJobsRequest::default(), key)).await;
        listed.unwrap().into_inner().jobs.len()
    };
    assert_eq!((count(&ann).await, count(&bob).await, count(&admin).await), (1, 1, 2));
    system.stop().await;
}
